//! The one thread that asks HAProxy: every so often, through the circuit breaker. It publishes what it found, and
//! restarts HAProxy when that is due or asked for. Whoever reads what was published waits for nobody.

use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use log::{debug, error, info, warn};

use super::bell::Bell;
use super::metrics::write_servers;
use super::recovery::{Attempt, Cause, Outcome, Recovery, RecoverySettings, Verdict};
use super::state::{Check, CircuitView, Counters, Health, Ordered, RecoveryView, Refused, RouteCount};
use super::validation::{Imprint, validate};
use super::{Action, Reading, Status, judge};
use crate::agent::{Breaker, BreakerChange, BreakerSettings, Circuit};
use crate::exec::Configuration;
use crate::haproxy::Command;
use crate::net::{Endpoint, Fault, Limits, Peer, Phase, Question, Switchboard};
use crate::stats::outlets::Exposition;
use crate::watch::{Transition, Transitions};

/// Whom to ask, how often, and what to do about it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// HAProxy's admin socket.
    pub haproxy: Endpoint,
    /// For one answer.
    pub timeout: Duration,
    /// From the beginning of a check to that of the next.
    pub interval: Duration,
    /// When HAProxy is left alone.
    pub breaker: BreakerSettings,
    /// What HAProxy is started with, where that is known.
    pub configuration: Option<Configuration>,
    /// How HAProxy is restarted; none is never.
    pub action: Option<Action>,
    /// When it is.
    pub recovery: RecoverySettings,
    /// How long a restart may take, and then HAProxy to answer.
    pub recovery_time: Duration,
    /// Who counts routes, where there are any.
    pub routes: Option<Arc<dyn RouteTable>>,
    /// Who hears what changes, by the monitor's thread.
    pub listeners: Vec<Arc<dyn Listener>>,
}

/// Somebody who wants to know what changes. Must not block.
pub trait Listener: std::fmt::Debug + Send + Sync {
    /// A check has found this, at least one change.
    fn hear(&self, news: &[News]);
}

/// Somebody who counts routes. Must not block for long.
pub trait RouteTable: std::fmt::Debug + Send + Sync {
    /// How many there are now.
    fn count(&self) -> RouteCount;
}

/// What has changed between two checks, or was done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// A server of HAProxy's.
    Server(Transition),
    /// HAProxy itself: it answers, or it does not any more.
    Haproxy {
        /// What it was.
        from: Status,
        /// What it is.
        to: Status,
        /// Why; empty where all is well.
        why: String,
    },
    /// The circuit breaker before HAProxy.
    Circuit {
        /// What it was.
        from: Circuit,
        /// What it is.
        to: Circuit,
        /// Why HAProxy gave no answer; empty where it gave one, or where nothing but time has passed.
        why: String,
    },
    /// An attempt of recovery has ended.
    Recovery(Attempt<Timestamp>),
}

/// The largest reply that is taken: `show stat` of 100,000 servers has 35 MB.
const MAX_REPLY: usize = 64 * 1024 * 1024;
/// Between two questions to an HAProxy that was restarted.
const VERIFY: Duration = Duration::from_millis(200);
/// Metrics are written ahead for as long as somebody has asked for them lately.
const SCRAPED_LATELY: Duration = Duration::from_secs(5 * 60);

/// What others see of the monitor.
#[derive(Debug)]
pub struct Watch {
    latest: RwLock<Arc<Health>>,
    orders: SyncSender<Order>,
    stop: AtomicBool,
    exposition: Exposition,
    scraped: Mutex<Option<Instant>>,
    bell: Bell,
    /// How long an order may take, validation included.
    patience: Duration,
}

enum Order {
    Recover { asked: Instant, reason: Option<String>, reply: Box<dyn FnOnce(Ordered) + Send> },
    Leave,
}

impl Watch {
    /// What was published last. Does not block.
    #[must_use]
    pub fn latest(&self) -> Arc<Health> {
        Arc::clone(&self.latest.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Has HAProxy restarted. `reply` is called once, by the monitor's thread; it must not block.
    pub fn recover(&self, reason: Option<String>, reply: impl FnOnce(Ordered) + Send + 'static) {
        let order = Order::Recover { asked: Instant::now(), reason, reply: Box::new(reply) };
        if let Err(TrySendError::Full(order) | TrySendError::Disconnected(order)) =
            self.orders.try_send(order)
            && let Order::Recover { reply, .. } = order
        {
            reply(Ordered::Refused(Refused::Busy));
        }
    }

    /// How long [`Self::recover`] may take.
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.patience
    }

    /// HAProxy's metrics as text; empty where it does not answer. Writing them takes a moment where there are many
    /// servers, so it is done ahead for those who ask again and again.
    #[must_use]
    pub fn exposition(&self, health: &Health) -> Arc<[u8]> {
        *self.scraped.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        Arc::clone(health.exposition.get_or_init(|| self.write(health)))
    }

    fn write(&self, health: &Health) -> Arc<[u8]> {
        let mut out = Vec::new();
        if let Some(reading) = &health.reading {
            write_servers(reading, &mut out);
            // A text that the report has taken is whole.
            let _ = self.exposition.write(&reading.info_text, &reading.stat_text, &mut out);
        }
        out.into()
    }

    fn publish(&self, health: Health) {
        let scraped = *self.scraped.lock().unwrap_or_else(PoisonError::into_inner);
        if scraped.is_some_and(|at| at.elapsed() < SCRAPED_LATELY) {
            health.exposition.get_or_init(|| self.write(&health));
        }
        *self.latest.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(health);
        self.bell.ring();
    }

    /// Rings when something was published; whoever wants those who wait to look again may ring it, too.
    #[must_use]
    pub fn bell(&self) -> &Bell {
        &self.bell
    }
}

/// The thread.
#[derive(Debug)]
pub struct Monitor {
    watch: Arc<Watch>,
    thread: JoinHandle<()>,
}

impl Monitor {
    /// Begins at once. Fails where the kernel refuses a thread or a poll.
    pub fn start(settings: Settings) -> io::Result<Self> {
        // One who asks waits for the check under way to end; for more there is no reason.
        let (orders, received) = sync_channel(1);
        let restart = settings.recovery_time.saturating_mul(2);
        let watch = Arc::new(Watch {
            latest: RwLock::default(),
            orders,
            stop: AtomicBool::new(false),
            exposition: Exposition::default(),
            scraped: Mutex::default(),
            bell: Bell::default(),
            patience: restart + settings.timeout.saturating_mul(2) + Duration::from_secs(35),
        });
        let mut rounds = Rounds::new(settings, Arc::clone(&watch))?;
        let thread = thread::Builder::new().name("monitor".into()).spawn(move || rounds.run(&received))?;
        Ok(Self { watch, thread })
    }

    /// What it publishes.
    #[must_use]
    pub fn watch(&self) -> Arc<Watch> {
        Arc::clone(&self.watch)
    }

    /// Ends it: what it has started is killed. Blocks for one answer of HAProxy at most.
    pub fn end(self) {
        self.watch.stop.store(true, Ordering::Relaxed);
        // A full queue wakes it as well.
        let _ = self.watch.orders.try_send(Order::Leave);
        let _ = self.thread.join();
    }
}

/// Why HAProxy gave no whole answer.
struct Silence {
    why: String,
    process_running: Option<bool>,
}

struct Rounds {
    settings: Settings,
    watch: Arc<Watch>,
    board: Switchboard,
    peer: Peer,
    breaker: Breaker,
    circuit_changed: Timestamp,
    last_failure: Option<Timestamp>,
    check: Option<Check>,
    reading: Option<Arc<Reading>>,
    /// Which process, its errors, and when it told them.
    errors: Option<(Option<u32>, u64, Instant)>,
    error_rate: Option<f64>,
    /// Checks in a row that found it unhealthy.
    unhealthy: u32,
    transitions: Transitions,
    counters: Counters,
    recovery: Recovery<Timestamp>,
    imprint: Imprint,
    /// Of the files with that imprint.
    configuration: Option<Result<(), String>>,
    container_running: Option<bool>,
    /// When the last recovery ended.
    recovered: Option<Instant>,
    said: (Status, Verdict),
}

impl Rounds {
    fn new(settings: Settings, watch: Arc<Watch>) -> io::Result<Self> {
        let mut board = Switchboard::new()?;
        Ok(Self {
            peer: board.connect(settings.haproxy.clone()),
            board,
            breaker: Breaker::new(settings.breaker),
            circuit_changed: Timestamp::now(),
            last_failure: None,
            check: None,
            reading: None,
            errors: None,
            error_rate: None,
            unhealthy: 0,
            transitions: Transitions::default(),
            counters: Counters::default(),
            recovery: Recovery::new(settings.recovery),
            imprint: Imprint::default(),
            configuration: None,
            container_running: None,
            recovered: None,
            said: (Status::Unknown, Verdict::Rest),
            settings,
            watch,
        })
    }

    fn run(&mut self, orders: &Receiver<Order>) {
        self.publish();
        while !self.is_over() {
            let due = Instant::now() + self.settings.interval;
            self.round();
            while !self.is_over() {
                match orders.recv_timeout(due.saturating_duration_since(Instant::now())) {
                    Ok(Order::Recover { asked, reason, reply }) => reply(self.obey(asked, reason)),
                    Ok(Order::Leave) | Err(RecvTimeoutError::Disconnected) => return,
                    Err(RecvTimeoutError::Timeout) => break,
                }
            }
        }
    }

    fn is_over(&self) -> bool {
        self.watch.stop.load(Ordering::Relaxed)
    }

    /// One check, and what follows from it.
    fn round(&mut self) {
        self.look_at_configuration();
        if self.breaker.allows(Instant::now()) {
            // What came of it is kept in `check`.
            let _ = self.ask();
        } else {
            *self.counters.checks.entry("left_alone").or_default() += 1;
        }
        self.look_at_container();
        let verdict = self.verdict();
        self.say(verdict);
        self.publish();
        if verdict == Verdict::Try {
            self.recover(Cause::Unhealthy(self.unhealthy));
        }
    }

    fn verdict(&self) -> Verdict {
        if self.settings.action.is_none() {
            return Verdict::Rest;
        }
        self.recovery.verdict(self.unhealthy, Instant::now())
    }

    // --- asking

    /// Asks HAProxy once, whatever the breaker says; gives why it did not answer.
    fn ask(&mut self) -> Result<(), String> {
        let circuit = self.breaker.circuit();
        if let Some(change) = self.breaker.begin() {
            self.circuit(circuit, change, "");
            self.publish();
        }
        let begun = Instant::now();
        let answer = self.exchange();
        let took = begun.elapsed();
        self.tell_breaker(answer.as_ref().map(|_| ()).map_err(|silence| &*silence.why));
        let status = judge(Some(answer.as_ref().map_err(|silence| &*silence.why))).status;
        *self.counters.checks.entry(word(status)).or_default() += 1;
        self.unhealthy = if status == Status::Unhealthy { self.unhealthy.saturating_add(1) } else { 0 };
        let (error, process_running) = self.keep(answer);
        let result = error.clone().map_or(Ok(()), Err);
        self.check = Some(Check { at: Timestamp::now(), status, process_running, error, took });
        result
    }

    /// Whether there was an answer, or why not.
    fn tell_breaker(&mut self, answer: Result<(), &str>) {
        let circuit = self.breaker.circuit();
        let change = if answer.is_ok() {
            self.breaker.succeeded()
        } else {
            self.last_failure = Some(Timestamp::now());
            self.breaker.failed(Instant::now())
        };
        if let Some(change) = change {
            self.circuit(circuit, change, answer.err().unwrap_or_default());
        }
    }

    fn exchange(&mut self) -> Result<Reading, Silence> {
        let question = Question {
            request: Command::Statistics.line().into_bytes(),
            limits: Limits { time: self.settings.timeout, bytes: MAX_REPLY },
            ..Question::default()
        };
        let outcome = self.board.ask(self.peer, question);
        let outcome = outcome.map_err(|error| Silence { why: error.to_string(), process_running: None })?;
        let reply = outcome.map_err(|fault| Silence {
            why: format!("haproxy {}: {fault}", self.settings.haproxy),
            process_running: process_running(&fault),
        })?;
        let silence = |why: String| Silence { why, process_running: Some(true) };
        let place = format!("haproxy {}: {}", self.settings.haproxy, Command::Statistics);
        let reading = Reading::parse(&reply).map_err(|error| silence(format!("{place}: {error}")))?;
        if reading.info.stopping {
            return Err(silence(format!("{place}: the process that answers is on its way out")));
        }
        Ok(reading)
    }

    /// Keeps what was told; gives why nothing was, and whether a process is there.
    fn keep(&mut self, answer: Result<Reading, Silence>) -> (Option<String>, Option<bool>) {
        (self.reading, self.error_rate) = (None, None);
        let reading = match answer {
            Ok(reading) => reading,
            Err(Silence { why, process_running }) => return (Some(why), process_running),
        };
        let now = Instant::now();
        let transitions = self.transitions.observe(now, &reading.rows);
        for transition in &transitions {
            debug!("haproxy {}: {transition}", self.settings.haproxy);
            *self.counters.transitions.entry(transition.to.kind.word()).or_default() += 1;
        }
        self.tell(&transitions.into_iter().map(News::Server).collect::<Vec<_>>());
        self.error_rate = self.compare_errors(&reading, now);
        self.reading = Some(Arc::new(reading));
        (None, Some(true))
    }

    /// Errors a second since the last answer of the same process.
    fn compare_errors(&mut self, reading: &Reading, now: Instant) -> Option<f64> {
        let (pid, errors) = (reading.info.pid, reading.errors());
        let (before, count, at) = self.errors.replace((pid, errors, now))?;
        let more = errors.checked_sub(count).filter(|_| pid == before)?;
        // A rate is no exact thing.
        #[allow(clippy::cast_precision_loss)]
        let rate = more as f64 / (now - at).as_secs_f64();
        rate.is_finite().then_some(rate)
    }

    fn circuit(&mut self, from: Circuit, change: BreakerChange, why: &str) {
        self.circuit_changed = Timestamp::now();
        let to = self.breaker.circuit();
        *self.counters.circuits.entry(to.word()).or_default() += 1;
        match change {
            BreakerChange::Opened { .. } => warn!("haproxy {}: {change}", self.settings.haproxy),
            BreakerChange::Closed => info!("haproxy {}: {change}", self.settings.haproxy),
            BreakerChange::HalfOpened | BreakerChange::Reopened { .. } => {
                debug!("haproxy {}: {change}", self.settings.haproxy);
            }
        }
        self.tell(&[News::Circuit { from, to, why: why.to_owned() }]);
    }

    fn tell(&self, news: &[News]) {
        if !news.is_empty() {
            self.settings.listeners.iter().for_each(|listener| listener.hear(news));
        }
    }

    /// Says what is new.
    fn say(&mut self, verdict: Verdict) {
        let answer = self.answer();
        let judgement = judge(answer);
        let now = (judgement.status, verdict);
        let before = std::mem::replace(&mut self.said, now);
        let place = &self.settings.haproxy;
        if before.0 != now.0 {
            let why = judgement.problems.first().map(|why| format!(": {why}")).unwrap_or_default();
            match now.0 {
                Status::Healthy => info!("haproxy {place} is {}", now.0.word()),
                status => warn!("haproxy {place} is {}{why}", status.word()),
            }
            let why = judgement.problems.first().cloned().unwrap_or_default();
            self.tell(&[News::Haproxy { from: before.0, to: now.0, why }]);
        }
        if let Verdict::Exhausted(_) = verdict
            && !matches!(before.1, Verdict::Exhausted(_))
        {
            error!(
                "haproxy {place} is not restarted any more: there were {} restarts within an hour",
                self.settings.recovery.per_hour
            );
        }
    }

    fn answer(&self) -> Option<Result<&Reading, &str>> {
        let check = self.check.as_ref()?;
        match (&self.reading, &check.error) {
            (Some(reading), None) => Some(Ok(reading)),
            (_, error) => Some(Err(error.as_deref().unwrap_or_default())),
        }
    }

    // --- recovering

    /// Looks whether HAProxy takes its configuration, if it is another than at the last look.
    fn look_at_configuration(&mut self) {
        let Some(configuration) = &self.settings.configuration else { return };
        let imprint = Imprint::of(configuration);
        if self.configuration.is_some() && imprint == self.imprint {
            return;
        }
        let (is_first, was_valid) = (self.configuration.is_none(), self.is_configuration_valid());
        self.validate();
        if !is_first {
            self.recovery.configuration_changed();
        }
        match &self.configuration {
            Some(Err(why)) => warn!("HAProxy's configuration is not valid: {why}"),
            Some(Ok(())) if was_valid == Some(false) => info!("HAProxy's configuration is valid again"),
            _ => {}
        }
    }

    fn is_configuration_valid(&self) -> Option<bool> {
        self.configuration.as_ref().map(Result::is_ok)
    }

    fn validate(&mut self) {
        let Some(configuration) = &self.settings.configuration else { return };
        // First: what changes while HAProxy reads it is looked at again.
        self.imprint = Imprint::of(configuration);
        self.configuration = Some(validate(configuration, &self.watch.stop));
    }

    /// Recovers because somebody asks for it.
    fn obey(&mut self, asked: Instant, reason: Option<String>) -> Ordered {
        if self.settings.action.is_none() {
            return Ordered::Refused(Refused::NotConfigured);
        }
        // Of two who ask at the same time, one is enough for HAProxy.
        if self.recovered.is_some_and(|ended| asked < ended) {
            return Ordered::Refused(Refused::Busy);
        }
        let now = Instant::now();
        if let Some(until) = self.recovery.exhausted_until(now) {
            return Ordered::Refused(Refused::Exhausted(until - now));
        }
        Ordered::Ended(self.recover(Cause::Asked(reason)))
    }

    fn recover(&mut self, cause: Cause) -> Outcome {
        let (at, begun) = (Timestamp::now(), Instant::now());
        match &cause {
            Cause::Unhealthy(checks) => {
                warn!("recovery begins: HAProxy was unhealthy in {checks} checks in a row");
            }
            Cause::Asked(None) => info!("recovery begins: it was asked for"),
            Cause::Asked(Some(reason)) => {
                info!("recovery begins: it was asked for: {}", reason.escape_debug());
            }
        }
        let outcome = self.restart();
        match &outcome {
            Outcome::Recovered => info!("recovery ended: {outcome}"),
            _ => error!("recovery ended: {outcome}"),
        }
        *self.counters.recoveries.entry(outcome.word()).or_default() += 1;
        let attempt = Attempt { at, cause, outcome: outcome.clone(), took: begun.elapsed() };
        self.tell(&[News::Recovery(attempt.clone())]);
        let now = Instant::now();
        self.recovery.ended(attempt, begun, now);
        self.recovered = Some(now);
        self.look_at_container();
        let verdict = self.verdict();
        self.say(verdict);
        self.publish();
        outcome
    }

    fn restart(&mut self) -> Outcome {
        self.validate();
        if let Some(Err(why)) = &self.configuration {
            return Outcome::Invalid(why.clone());
        }
        let Some(action) = &self.settings.action else { return Outcome::Failed("no action".into()) };
        if let Err(why) = action.perform(self.settings.recovery_time, &self.watch.stop) {
            return Outcome::Failed(why);
        }
        self.verify()
    }

    /// Asks until HAProxy answers: whether it does is what the breaker's one try is for.
    fn verify(&mut self) -> Outcome {
        let deadline = Instant::now() + self.settings.recovery_time;
        loop {
            let Err(why) = self.ask() else { return Outcome::Recovered };
            if Instant::now() >= deadline || self.is_over() {
                return Outcome::Silent(why);
            }
            if let Err(error) = self.board.pause(VERIFY) {
                return Outcome::Silent(error.to_string());
            }
        }
    }

    fn look_at_container(&mut self) {
        let action = self.settings.action.as_ref();
        self.container_running = action.and_then(|action| action.container_running(&self.watch.stop));
    }

    // --- telling

    fn publish(&self) {
        self.watch.publish(Health {
            judgement: judge(self.answer()),
            circuit: CircuitView {
                circuit: self.breaker.circuit(),
                failures: self.breaker.failures(),
                threshold: self.settings.breaker.threshold,
                changed: Some(self.circuit_changed),
                last_failure: self.last_failure,
                retry_at: self.breaker.wake_at().filter(|_| self.breaker.circuit() == Circuit::Open),
            },
            check: self.check.clone(),
            reading: self.reading.clone(),
            error_rate: self.error_rate,
            container_running: self.container_running,
            configuration_valid: self.is_configuration_valid(),
            recovery: RecoveryView {
                action: self.settings.action.as_ref().map(ToString::to_string),
                attempts: self.recovery.attempts().cloned().collect(),
                count: self.recovery.count(),
                verdict: Some(self.said.1),
            },
            counters: self.counters.clone(),
            routes: self.settings.routes.as_ref().map(|routes| routes.count()),
            exposition: std::sync::OnceLock::new(),
        });
    }
}

fn word(status: Status) -> &'static str {
    match status {
        Status::Healthy => "healthy",
        Status::Degraded => "degraded",
        Status::Unhealthy => "unhealthy",
        Status::Unknown => "unknown",
    }
}

/// Whether a process is there that did not answer. A unix socket's file outlives its process, so a refusal tells; a
/// file that is not there does not: somebody may have removed it. Who accepts and says nothing hangs.
fn process_running(fault: &Fault) -> Option<bool> {
    match fault {
        Fault::Connect(error) if error.kind() == ErrorKind::ConnectionRefused => Some(false),
        Fault::Busy | Fault::Timeout(Phase::Answering(_), _) => Some(true),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whether_a_process_is_there_is_told_only_where_it_can_be() {
        let connect = |kind: ErrorKind| process_running(&Fault::Connect(kind.into()));
        assert_eq!(connect(ErrorKind::ConnectionRefused), Some(false));
        assert_eq!(connect(ErrorKind::NotFound), None);
        let timeout = |phase| process_running(&Fault::Timeout(phase, Duration::ZERO));
        assert_eq!((timeout(Phase::Answering(0)), timeout(Phase::Connecting)), (Some(true), None));
    }
}
