//! The threads that send: one for what the operator wants told, one for what others ask for with ticks, so that those
//! hold up nothing. Each has a queue with an end, and what is not sent is logged.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use log::{debug, error, warn};

use super::digest::{Change, Digest, Summary};
use super::message::{Destination, Event, Format, Message, SIGNATURE, Signer};
use super::post::{Setback, System, Wire};
use super::queue::{Ended, Item, Patience, Queue};
use super::schedule::{Alarm, Schedule};
use super::tick::{Bucket, Guards, Source, Tick, TickFault, TickOrder};
use crate::haproxy::info_and_stat;
use crate::health::{Listener, News, Watch};
use crate::history::{self, Book, Note};
use crate::net::HttpUrl;
use crate::stats::Report;

/// Whom to tell what.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What receivers are to call this HAProxy.
    pub source: String,
    /// Who may ask for reports, and of what; none is nobody.
    pub ticks: Option<Guards>,
    /// Who gets a report when it is due.
    pub reports: Vec<Destination>,
    /// When that is.
    pub every: Schedule,
    /// Who is told what changes.
    pub alerts: Vec<Destination>,
    /// Changes within it are one message.
    pub window: Duration,
    /// What generic receivers know this program by.
    pub signer: Option<Signer>,
}

/// For a look-up, and again for an answer: chats take a second or two.
const ANSWER: Duration = Duration::from_secs(10);
/// What the operator wants told: for some minutes without a receiver, in the order in which it was.
const OWN: Patience = Patience { room: 256, attempts: 10 };
/// What others ask for is asked for again with the next tick.
const ASKED: Patience = Patience { room: 32, attempts: 5 };
/// When a client may come again that found no room.
const COME_BACK: Duration = Duration::from_secs(30);
/// A clock that was set is noticed so soon.
const CLOCK: Duration = Duration::from_secs(30);
/// Where there is nothing to wait for, and somebody will notify.
const HOUR: Duration = Duration::from_secs(60 * 60);
/// What waits at the end has so long to be sent, and a bit more to be logged.
const LAST: Duration = Duration::from_secs(4);
const GRACE: Duration = Duration::from_secs(5);

/// How many messages ended how: by kind and result.
pub type Tally = BTreeMap<(&'static str, &'static str), u64>;

#[derive(Debug)]
enum Job {
    /// With what was made of it, so that the next attempt sends the same.
    Tick(Tick, Option<Box<Message>>),
    Message(Destination, Arc<Message>),
}

impl Job {
    fn kind(&self) -> &'static str {
        match self {
            Self::Tick(..) => "tick",
            Self::Message(_, message) if message.event == Event::Report => "report",
            Self::Message(..) => "alert",
        }
    }

    fn url(&self) -> &HttpUrl {
        match self {
            Self::Tick(tick, _) => &tick.return_url,
            Self::Message(to, _) => &to.url,
        }
    }
}

/// What a thread and those who give it work share.
#[derive(Debug)]
struct Shared {
    state: Mutex<Inside>,
    wake: Condvar,
    tally: Mutex<Tally>,
}

#[derive(Debug)]
struct Inside {
    queue: Queue<Job>,
    digest: Digest,
    alarm: Option<Alarm>,
    is_over: bool,
    has_ended: bool,
}

impl Shared {
    fn new(patience: Patience, window: Duration, alarm: Option<Alarm>) -> Arc<Self> {
        let (queue, digest) = (Queue::new(patience), Digest::new(window));
        let state = Inside { queue, digest, alarm, is_over: false, has_ended: false };
        Arc::new(Self { state: Mutex::new(state), wake: Condvar::new(), tally: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, kind: &'static str, result: &'static str) {
        *self.tally.lock().unwrap_or_else(PoisonError::into_inner).entry((kind, result)).or_default() += 1;
    }

    fn wait<'a>(&self, inside: MutexGuard<'a, Inside>, time: Duration) -> MutexGuard<'a, Inside> {
        self.wake.wait_timeout(inside, time).unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Listener for Shared {
    fn hear(&self, news: &[News]) {
        let now = Instant::now();
        let mut inside = self.lock();
        news.iter().filter_map(Change::of).for_each(|change| inside.digest.add(now, change));
        self.wake.notify_all();
    }
}

/// What is to be sent, before anything is.
#[derive(Debug)]
pub struct Outbox {
    settings: Arc<Settings>,
    own: Arc<Shared>,
    asked: Arc<Shared>,
}

impl Outbox {
    /// Begins nothing yet: the monitor has to be told first who listens.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let alarm =
            (!settings.reports.is_empty()).then(|| Alarm::new(settings.every.clone(), Timestamp::now()));
        let own = Shared::new(OWN, settings.window, alarm);
        Self { own, asked: Shared::new(ASKED, Duration::ZERO, None), settings: Arc::new(settings) }
    }

    /// Who hears what changes; nobody, where nobody is told.
    #[must_use]
    pub fn listener(&self) -> Option<Arc<dyn Listener>> {
        let own: Arc<dyn Listener> = Arc::clone(&self.own) as Arc<dyn Listener>;
        (!self.settings.alerts.is_empty()).then_some(own)
    }

    /// Where ticks go, if there are any.
    #[must_use]
    pub fn ticks(&self) -> Option<Ticks> {
        let guards = self.settings.ticks.clone()?;
        let bucket = Arc::new(Mutex::new(Bucket::new(Instant::now())));
        Some(Ticks { guards, bucket, shared: Arc::clone(&self.asked) })
    }

    /// What is counted.
    #[must_use]
    pub fn tallies(&self) -> Tallies {
        Tallies([Arc::clone(&self.own), Arc::clone(&self.asked)])
    }

    /// Begins to send: in no thread where there is nothing to be sent, ever. What is lost is noted in the history.
    pub fn start(self, watch: &Arc<Watch>, book: &Book) -> io::Result<Desk> {
        let Self { settings, own, asked } = self;
        let has_own = !(settings.reports.is_empty() && settings.alerts.is_empty());
        let parts = [("alerts", own, has_own), ("ticks", asked, settings.ticks.is_some())];
        let mut threads = Vec::new();
        for (name, shared, _) in parts.into_iter().filter(|(.., is_needed)| *is_needed) {
            let sender = Sender {
                settings: Arc::clone(&settings),
                shared: Arc::clone(&shared),
                watch: Arc::clone(watch),
                book: book.clone(),
                wire: Wire { resolver: Arc::new(System), time: ANSWER },
            };
            thread::Builder::new().name(name.into()).spawn(move || sender.run())?;
            threads.push(shared);
        }
        Ok(Desk { threads })
    }
}

/// Counters of all that is sent.
#[derive(Clone, Debug)]
pub struct Tallies([Arc<Shared>; 2]);

impl Tallies {
    /// As of now.
    #[must_use]
    pub fn sum(&self) -> Tally {
        // No kind of message is sent by both threads.
        let tally =
            |shared: &Arc<Shared>| shared.tally.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.0.iter().flat_map(tally).collect()
    }
}

/// Where ticks go.
#[derive(Clone, Debug)]
pub struct Ticks {
    guards: Guards,
    bucket: Arc<Mutex<Bucket>>,
    shared: Arc<Shared>,
}

impl Ticks {
    /// Takes a tick; its report is made and sent later. Does not block.
    pub fn accept(&self, order: &TickOrder) -> Result<(), TickFault> {
        let result = self.take(order);
        self.shared.count("tick", if result.is_ok() { "accepted" } else { "refused" });
        result
    }

    fn take(&self, order: &TickOrder) -> Result<(), TickFault> {
        let tick = Tick::read(order, &self.guards)?;
        let now = Instant::now();
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        bucket.take(now).map_err(TickFault::TooMany)?;
        let receiver = tick.return_url.to_string();
        let pushed = self.shared.lock().queue.push(now, receiver, Job::Tick(tick, None));
        self.shared.wake.notify_all();
        pushed.map_err(|_| TickFault::Full(COME_BACK))
    }
}

/// The threads.
#[derive(Debug)]
pub struct Desk {
    threads: Vec<Arc<Shared>>,
}

impl Desk {
    /// Ends them. What waits is tried once more; blocks for some seconds at most.
    pub fn end(self) {
        for shared in &self.threads {
            shared.lock().is_over = true;
            shared.wake.notify_all();
        }
        let deadline = Instant::now() + GRACE;
        for shared in self.threads {
            let mut inside = shared.lock();
            while !inside.has_ended {
                let Some(rest) = deadline.checked_duration_since(Instant::now()) else {
                    warn!("a message that is being sent is not waited for");
                    break;
                };
                inside = shared.wait(inside, rest);
            }
        }
    }
}

struct Sender {
    settings: Arc<Settings>,
    shared: Arc<Shared>,
    watch: Arc<Watch>,
    book: Book,
    wire: Wire,
}

impl Sender {
    fn run(mut self) {
        loop {
            self.collect();
            let mut inside = self.shared.lock();
            if inside.is_over {
                break;
            }
            let now = Instant::now();
            if let Some(item) = inside.queue.next(now) {
                drop(inside);
                self.send(item);
            } else {
                let rest = rest(&inside, now);
                drop(self.shared.wait(inside, rest));
            }
        }
        self.leave();
    }

    /// What is due becomes messages.
    fn collect(&self) {
        let mut inside = self.shared.lock();
        let summary = inside.digest.take(Instant::now());
        let rings = inside.alarm.as_mut().is_some_and(|alarm| alarm.rings(Timestamp::now()));
        drop(inside);
        if let Some(summary) = summary {
            self.alert(&summary);
        }
        if rings {
            self.push(&self.settings.reports, self.own_report());
        }
    }

    fn alert(&self, summary: &Summary) {
        let message = Message::alert(id(), Timestamp::now(), &self.settings.source, summary);
        self.push(&self.settings.alerts, message);
    }

    fn push(&self, receivers: &[Destination], message: Message) {
        let message = Arc::new(message);
        for to in receivers {
            let job = Job::Message(to.clone(), Arc::clone(&message));
            let pushed = self.shared.lock().queue.push(Instant::now(), to.url.to_string(), job);
            if let Err(job) = pushed {
                self.lose(&job, &format!("too many wait already: {:?}", message.text));
            }
        }
    }

    // --- making

    fn own_report(&self) -> Message {
        let health = self.watch.latest();
        let why = health.check.as_ref().and_then(|check| check.error.as_deref());
        let report = match &health.reading {
            Some(reading) => Ok(&reading.report),
            None => Err(why.unwrap_or("HAProxy was not asked yet")),
        };
        Message::report(id(), Timestamp::now(), &self.settings.source, report)
    }

    fn asked_report(&self, tick: &Tick, guards: &Guards) -> Message {
        let url = match &tick.source {
            Source::Socket => return self.own_report(),
            Source::Page(url) => url,
        };
        let report = self.wire.fetch(&guards.sources, url).and_then(|page| read(&page));
        if let Err(why) = &report {
            warn!("statistics of {}: {why}", url.origin());
        }
        let report = report.as_ref().map_err(String::as_str);
        Message::report(id(), Timestamp::now(), &format!("{}:{}", url.host(), url.port()), report)
    }

    // --- sending

    fn send(&self, mut item: Item<Job>) {
        let result = self.attempt(&mut item.job);
        let (kind, to) = (item.job.kind(), item.job.url().origin());
        match result {
            Ok(()) => {
                self.shared.count(kind, "delivered");
                debug!("{kind} sent to {to}");
            }
            Err(Setback::Never(why)) => self.lose(&item.job, &why),
            Err(Setback::Later(why, asked)) => self.put_off(item, &why, asked),
        }
    }

    fn put_off(&self, item: Item<Job>, why: &str, asked: Option<Duration>) {
        let (kind, to, is_first) = (item.job.kind(), item.job.url().origin(), item.is_first());
        let ended = self.shared.lock().queue.failed(Instant::now(), item, asked);
        match ended {
            Ended::Later(pause) if is_first => {
                self.shared.count(kind, "retried");
                warn!("{kind} for {to}: {why}; it is tried again in {pause:?}");
            }
            Ended::Later(pause) => {
                self.shared.count(kind, "retried");
                debug!("{kind} for {to}: {why}; it is tried again in {pause:?}");
            }
            Ended::GivenUp(job) => self.lose(&job, why),
        }
    }

    /// Says it wherever somebody may look for it.
    fn lose(&self, job: &Job, why: &str) {
        let (kind, to) = (job.kind(), job.url().origin());
        self.shared.count(kind, "lost");
        error!("{kind} for {to} is lost: {why}");
        self.book.record(Note {
            kind: history::Kind::Message,
            subject: to,
            from: kind.into(),
            to: "lost".into(),
            why: Some(why.to_owned()),
        });
    }

    fn attempt(&self, job: &mut Job) -> Result<(), Setback> {
        let no_ticks = || Setback::Never("there are no ticks".into());
        match job {
            Job::Message(to, message) => self.post(None, to, message),
            Job::Tick(tick, made) => {
                let guards = self.settings.ticks.as_ref().ok_or_else(no_ticks)?;
                let message = made.get_or_insert_with(|| self.asked_report(tick, guards).into());
                let to = Destination { format: Format::Telex, url: tick.return_url.clone() };
                self.post(Some(guards), &to, message)
            }
        }
    }

    fn post(&self, guards: Option<&Guards>, to: &Destination, message: &Message) -> Result<(), Setback> {
        let body = message.body(to.format);
        let mut headers =
            vec![("Content-Type", body.kind.to_owned()), ("Accept", "application/json".to_owned())];
        if let Some(signer) = self.settings.signer.as_ref().filter(|_| to.format == Format::Json) {
            headers.push((SIGNATURE, signer.sign(&body.bytes)));
        }
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.wire.post(guards.map(|guards| &guards.receivers), &to.url, &headers, &body.bytes)
    }

    // --- leaving

    /// What waits is tried once, as far as there is time for it; the rest is logged.
    fn leave(&mut self) {
        let deadline = Instant::now() + LAST;
        let summary = self.shared.lock().digest.rest(Instant::now());
        if let Some(summary) = summary {
            self.alert(&summary);
        }
        let jobs: Vec<Job> = self.shared.lock().queue.drain().collect();
        for mut job in jobs {
            let rest = deadline.checked_duration_since(Instant::now());
            self.wire.time = rest.unwrap_or_default();
            let is_sent = rest.is_some() && self.attempt(&mut job).is_ok();
            if is_sent {
                self.shared.count(job.kind(), "delivered");
            } else {
                self.lose(&job, "the program ends");
            }
        }
        self.shared.lock().has_ended = true;
        self.shared.wake.notify_all();
    }
}

/// Until there is something to do, as far as is known.
fn rest(inside: &Inside, now: Instant) -> Duration {
    let due = inside.queue.due().into_iter().chain(inside.digest.due()).min();
    let due = due.map(|due| due.saturating_duration_since(now));
    let clock = inside.alarm.as_ref().and_then(|alarm| alarm.rest(Timestamp::now()));
    let clock = clock.map(|rest| rest.min(CLOCK));
    due.into_iter().chain(clock).min().unwrap_or(HOUR)
}

/// Reads the statistics page as CSV.
fn read(page: &[u8]) -> Result<Report, String> {
    let text = String::from_utf8_lossy(page);
    let report = info_and_stat(&text).and_then(|(_, stat)| Report::read(stat, 100.0));
    report.map_err(|_| "this is not HAProxy's statistics page with `;csv` at its end".to_owned())
}

/// What no other message of this or another program has.
fn id() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{:x}-{:x}-{count:x}", Timestamp::now().as_microsecond(), std::process::id())
}
