//! The listener: one loop that waits for supervisord's events, deaths of its processes, replies of HAProxy
//! and of XML-RPC, signals and deadlines, and performs what [`crate::agent`] and [`crate::watch`] decide.

mod inquirer;
mod link;
mod metrics_file;
mod orders;
mod pids;
mod sequence;
mod tally;

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::{debug, error, info, log, warn};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook_mio::v1_0::Signals;
use thiserror::Error;

use self::inquirer::{Inquirer, News};
use self::link::{Link, PATIENCE};
use self::metrics_file::MetricsFile;
use self::orders::Orders;
use self::pids::Pids;
use self::sequence::Sequence;
use self::tally::Tally;
use crate::agent::{Actions, Life, Mapping, Mark, ReconcilerSettings, Staleness, Wanted, Wish, similar};
use crate::haproxy::{NameError, ServerRef};
use crate::net::Endpoint;
use crate::store::HoldsFile;
use crate::supervisor::stdio::{Channel, Input};
use crate::supervisor::{
    Event, Pid, ProcessChange, ProcessInfo, ProcessName, ProcessState, ProtocolError, ServerUrl, Topic,
};

/// All that the listener needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// One or more, each an independent HAProxy.
    pub haproxies: Vec<Endpoint>,
    /// Which program stands for which server.
    pub mapping: Mapping,
    /// What each state asks for.
    pub actions: Actions,
    /// How HAProxy is told.
    pub reconciler: ReconcilerSettings,
    /// For one command of HAProxy, from connecting to the end of its reply.
    pub timeout: Duration,
    /// Whether transitions of servers that stand for no program are reported too.
    pub report_all: bool,
    /// XML-RPC; an error says why it is not used.
    pub supervisord: Result<ServerUrl, String>,
    /// Between two lists of all processes; `None` to ask only when something calls for it.
    pub sync_interval: Option<Duration>,
    /// Where holds outlive the listener; `None` where there is no place for them.
    pub holds: Option<HoldsFile>,
    /// Where Prometheus is told what was done.
    pub metrics_file: Option<PathBuf>,
}

/// Why the listener cannot go on. Whatever may pass by itself is no reason.
#[derive(Debug, Error)]
pub enum ListenError {
    /// The stream of events is damaged.
    #[error("supervisor event: {0}")]
    Protocol(#[from] ProtocolError),
    /// The kernel refuses something that the loop is made of.
    #[error("{0}: {1}")]
    System(&'static str, #[source] io::Error),
}

const INPUT: Token = Token(0);
const SIGNALS: Token = Token(1);
const WAKER: Token = Token(2);
const RPC: Token = Token(3);
const FIRST_LINK: usize = 16;

/// Events that are at hand are read on without a look at the poll, up to this many.
const EVENTS_PER_TURN: usize = 64;

/// How long leaving may take. supervisord kills after `stopwaitsecs`, 10 s by default; people wait for less.
const LEAVE_WITHIN: Duration = Duration::from_millis(2500);

/// Runs until supervisord closes stdin or a signal asks to end.
pub fn run(settings: &Settings) -> Result<(), ListenError> {
    Listener::new(settings)?.run()
}

struct Listener {
    poll: Poll,
    channel: Channel,
    signals: Signals,
    links: Vec<Link>,
    inquirer: Option<Inquirer>,
    pids: Pids,
    wanted: Wanted,
    orders: Orders,
    sequence: Sequence,
    /// What is to be said once, and was.
    told: BTreeSet<String>,
    /// stdin may hold more than was read.
    has_input: bool,
    /// stdin is a regular file: it is never waited for.
    input_is_file: bool,
    /// The event that was followed and not answered yet.
    answer: Option<PendingAnswer>,
    supervisord_stops: bool,
    leaving: Option<Leaving>,
    tally: Tally,
    metrics_file: Option<MetricsFile>,
}

struct PendingAnswer {
    servers: Vec<ServerRef>,
    until: Instant,
}

struct Leaving {
    deadline: Instant,
    /// Whether XML-RPC was asked and has not answered.
    awaits_news: bool,
}

/// What a turn of the loop found.
#[derive(Default)]
struct Found {
    signals: bool,
    woken: bool,
    rpc: bool,
    links: Vec<usize>,
    deaths: Vec<Pid>,
}

fn system(what: &'static str) -> impl Fn(io::Error) -> ListenError {
    move |error| ListenError::System(what, error)
}

impl Listener {
    fn new(settings: &Settings) -> Result<Self, ListenError> {
        let poll = Poll::new().map_err(system("epoll"))?;
        let registry = poll.registry();
        let mut signals =
            Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2]).map_err(system("signals"))?;
        registry.register(&mut signals, SIGNALS, Interest::READABLE).map_err(system("epoll"))?;
        let waker = Arc::new(Waker::new(registry, WAKER).map_err(system("eventfd"))?);
        let channel = Channel::take_over().map_err(system("stdin and stdout"))?;
        let input_is_file = register_input(registry, &channel).map_err(system("stdin"))?;
        info!("supervisor-haproxy {}", env!("CARGO_PKG_VERSION"));
        let now = Instant::now();
        let links = settings.haproxies.iter().enumerate().map(|(index, endpoint)| {
            Link::new(endpoint, settings, now, Token(FIRST_LINK + index), Arc::clone(&waker))
        });
        let inquirer = settings
            .supervisord
            .as_ref()
            .ok()
            .map(|url| Inquirer::new(url, settings.sync_interval, now, RPC, Arc::clone(&waker)));
        if let Err(reason) = &settings.supervisord {
            warn!("supervisord's XML-RPC is not used: {reason}; going on with events alone");
        }
        Ok(Self {
            links: links.collect(),
            inquirer,
            pids: Pids::new(registry.try_clone().map_err(system("epoll"))?),
            wanted: Wanted::new(settings.mapping.clone(), settings.actions.clone()),
            orders: Orders::new(settings.holds.clone()),
            sequence: Sequence::default(),
            told: BTreeSet::new(),
            has_input: true,
            input_is_file,
            answer: None,
            supervisord_stops: false,
            leaving: None,
            tally: Tally::default(),
            metrics_file: settings.metrics_file.clone().and_then(|path| metrics_file(path, now)),
            poll,
            channel,
            signals,
        })
    }

    fn run(mut self) -> Result<(), ListenError> {
        self.take_up_holds();
        self.reply(Channel::ready);
        log::logger().flush();
        let mut events = Events::with_capacity(256);
        while !self.is_done(Instant::now()) {
            let timeout = self.timeout(Instant::now());
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    return Err(ListenError::System("epoll", error));
                }
                _ => {}
            }
            let found = self.sort(&events);
            let done = self.turn(Instant::now(), &found);
            // The peers were told; now the log may take its time.
            log::logger().flush();
            done?;
            self.tell_metrics(Instant::now());
        }
        for leftover in self.links.iter().flat_map(Link::leftovers) {
            warn!("{leftover}");
        }
        Ok(())
    }

    fn tell_metrics(&mut self, now: Instant) {
        if let Some(file) = &mut self.metrics_file {
            file.offer(now, || self.tally.text(&self.links));
        }
    }

    fn sort(&mut self, events: &Events) -> Found {
        let mut found = Found::default();
        for event in events {
            match event.token() {
                INPUT => self.has_input = true,
                SIGNALS => found.signals = true,
                WAKER => found.woken = true,
                RPC => found.rpc = true,
                token => match Pids::pid(token) {
                    Some(pid) => found.deaths.push(pid),
                    None => found.links.push(token.0.saturating_sub(FIRST_LINK)),
                },
            }
        }
        found
    }

    /// Deaths come first: an event that speaks of a living process may be true only because that one died.
    fn turn(&mut self, now: Instant, found: &Found) -> Result<(), ListenError> {
        for pid in &found.deaths {
            if self.pids.has_ended(*pid) {
                self.follow_death(*pid);
            }
        }
        if found.signals {
            self.follow_signals(now);
        }
        self.follow_rpc(now, found);
        self.follow_replies(now, found);
        self.expire_claims(now);
        for _ in 0..EVENTS_PER_TURN {
            self.read_event(now)?;
            self.start(now);
            self.save_holds();
            if !self.answer_if_due(now) {
                break;
            }
        }
        Ok(())
    }

    // --- supervisord's events

    fn read_event(&mut self, now: Instant) -> Result<(), ListenError> {
        if !self.may_read() {
            return Ok(());
        }
        match self.channel.next_input().map_err(system("stdin"))?? {
            Input::Nothing => self.has_input = false,
            Input::Event(event) => self.follow_event(now, &event),
            Input::End => self.supervisord_is_gone(now),
        }
        Ok(())
    }

    /// Whether stdin may hold an event, and it is its turn.
    fn may_read(&self) -> bool {
        self.answer.is_none() && self.leaving.is_none() && (self.has_input || self.input_is_file)
    }

    fn follow_event(&mut self, now: Instant, event: &Event) {
        let header = &event.header;
        self.tally.event(&header.event_name);
        debug!("event {} (serial {:?}): {}", header.event_name, header.serial, shown(&event.topic));
        if let Some(gap) = self.sequence.observe(header.pool_serial) {
            log!(gap.level(), "{gap}; asking supervisord for all states");
            self.want_sync(now);
        }
        let servers = match &event.topic {
            Topic::Process(change) => self.follow_change(now, change, header.serial),
            Topic::GroupRemoved(group) => self.follow_removal(group),
            Topic::GroupAdded(_) => {
                self.want_sync(now);
                Vec::new()
            }
            Topic::SupervisorStopping => {
                info!("supervisord shuts down or restarts");
                self.supervisord_stops = true;
                Vec::new()
            }
            Topic::Remote { kind, data } => self.follow_remote(now, kind, data, header.serial),
            Topic::RemoteCut { kind } => {
                orders::tell_cut(kind, header.length);
                Vec::new()
            }
            Topic::Other => Vec::new(),
        };
        self.answer = Some(PendingAnswer { servers, until: now + PATIENCE });
    }

    fn follow_change(&mut self, now: Instant, change: &ProcessChange, serial: Option<u64>) -> Vec<ServerRef> {
        if let Some(pid) = change.pid {
            self.pids.learn(pid);
        }
        if !self.wanted.concerns(&change.name) {
            return Vec::new();
        }
        // Its pidfd may have become readable after this turn's look at the poll.
        if let Some(alive) = self.wanted.alive(&change.name)
            && self.pids.has_ended(alive)
        {
            self.follow_death(alive);
        }
        let life = self.look(change.state, change.pid);
        let reaction = self.wanted.event(now, change, serial, life);
        if reaction.is_new {
            self.want_sync(now);
        }
        match reaction.stale {
            Some(stale) => self.tell_stale(now, change, stale),
            None => info!("program `{}` is {}{}", change.name, change.state, dead_already(change, life)),
        }
        tell_bad_names(&change.name, &reaction.bad_names);
        self.wish(&reaction.wishes);
        reaction.servers
    }

    fn tell_stale(&mut self, now: Instant, change: &ProcessChange, stale: Staleness) {
        match stale {
            Staleness::Serial { latest } => {
                debug!("`{}` {}: not followed, serial {latest} was later", change.name, change.state);
            }
            Staleness::Alive(pid) => {
                debug!("`{}` {}: not followed, pid {pid} is alive", change.name, change.state);
                self.want_sync(now);
            }
        }
    }

    fn follow_removal(&mut self, group: &str) -> Vec<ServerRef> {
        let wishes = self.wanted.group_removed(group);
        self.wish(&wishes);
        wishes.into_iter().map(|wish| wish.server).collect()
    }

    /// Whether an answer was given.
    fn answer_if_due(&mut self, now: Instant) -> bool {
        let is_due = self.answer.as_ref().is_some_and(|answer| {
            now >= answer.until || self.links.iter().all(|link| link.has_tried(now, &answer.servers))
        });
        if is_due {
            self.answer = None;
            let last = self.leaving.is_some();
            self.reply(if last { Channel::accept } else { Channel::accept_and_ready });
        }
        is_due
    }

    fn reply(&mut self, write: impl Fn(&mut Channel) -> io::Result<()>) {
        if let Err(error) = write(&mut self.channel) {
            debug!("stdout: {error}");
            self.supervisord_is_gone(Instant::now());
        }
    }

    // --- processes

    fn follow_death(&mut self, pid: Pid) {
        if let Some((name, wishes)) = self.wanted.died(pid) {
            self.tally.death();
            info!("program `{name}` has ended (pid {pid})");
            self.wish(&wishes);
        }
    }

    fn look(&mut self, state: ProcessState, pid: Option<Pid>) -> Life {
        let Some(pid) = pid.filter(|_| state.has_process()) else { return Life::Unknown };
        let life = self.pids.look(pid);
        if life == Life::Dead {
            // If it was watched, it is not any more: nobody else will tell of its end.
            self.follow_death(pid);
        }
        self.tell_complaint();
        life
    }

    fn wish(&mut self, wishes: &[Wish]) {
        for wish in wishes {
            self.links.iter_mut().for_each(|link| link.want(wish));
        }
    }

    fn tell_complaint(&mut self) {
        if let Some(complaint) = self.pids.complaint() {
            warn!("processes cannot be watched: {complaint}; going on with supervisord's events alone");
        }
    }

    // --- XML-RPC

    fn want_sync(&mut self, now: Instant) {
        if let Some(inquirer) = &mut self.inquirer {
            inquirer.want_sync(now);
        }
    }

    fn follow_rpc(&mut self, now: Instant, found: &Found) {
        let Some(inquirer) = &mut self.inquirer else { return };
        if found.rpc || found.woken || inquirer.due_at().is_some_and(|at| now >= at) {
            let news = inquirer.advance(now, self.poll.registry());
            self.follow_news(now, news);
        }
    }

    fn follow_news(&mut self, now: Instant, news: Option<News>) {
        let Some(news) = news else { return };
        match news {
            News::Identity(pid) => {
                self.pids.identify(pid);
                self.tell_complaint();
            }
            News::Processes(mark, list) => self.follow_list(now, mark, list),
            News::ShuttingDown => self.supervisord_stops = true,
            News::Gone(cause) => warn!("{cause}; servers are left as they are"),
        }
        if let Some(leaving) = self.leaving.as_mut().filter(|leaving| leaving.awaits_news) {
            leaving.awaits_news = false;
            self.give_up_if_supervisord_stops();
        }
    }

    fn follow_list(&mut self, now: Instant, mark: Mark, list: Vec<ProcessInfo>) {
        self.tell_of_list(&list);
        let mut ours = Vec::new();
        for info in list {
            if self.wanted.concerns(&info.name) {
                let life = self.look(info.state, info.pid);
                ours.push((info, life));
            }
        }
        let outcome = self.wanted.sync(now, mark, &ours);
        for error in &outcome.bad_names {
            error!("{error}");
        }
        for wish in &outcome.wishes {
            info!("supervisord's list: `{}` should be {}", wish.server, wish.state);
        }
        self.wish(&outcome.wishes);
        // Who ends is watched no longer anyway; this is for those that were dropped from the configuration.
        self.pids.retain(&self.wanted.all_alive());
        if outcome.doubtful {
            self.want_sync(now);
        }
    }

    fn tell_of_list(&mut self, list: &[ProcessInfo]) {
        let names: Vec<ProcessName> = list.iter().map(|info| info.name.clone()).collect();
        let mapping = self.wanted.mapping();
        let is_own = |name: &&ProcessName| Some(name.group.as_str()) == mapping.own_group();
        for rule in mapping.idle_rules(&names) {
            if self.told.insert(rule.text().to_owned()) {
                let others = names.iter().filter(|name| !is_own(name));
                let known = similar(rule.program(), others.map(|name| name.process.as_str()));
                warn!("supervisord has no program for `{}`; it has {known}", rule.text());
            }
        }
        let own = names.iter().filter(is_own).count();
        self.sequence.share_among(own);
        if own > 1 && self.told.insert("numprocs".into()) {
            warn!("this listener has {own} processes: events reach them out of order; set numprocs=1");
        }
    }

    // --- HAProxy

    fn follow_replies(&mut self, now: Instant, found: &Found) {
        let registry = self.poll.registry();
        for (index, link) in self.links.iter_mut().enumerate() {
            let is_due = link.due_at().is_some_and(|at| now >= at);
            if found.links.contains(&index) || found.woken || is_due {
                link.advance(now, registry, &self.wanted);
            }
        }
    }

    fn start(&mut self, now: Instant) {
        let registry = self.poll.registry();
        for link in &mut self.links {
            link.start(now, registry, &self.wanted);
        }
        if let Some(inquirer) = &mut self.inquirer {
            let in_transition = self.wanted.in_transition(now);
            let news = inquirer.start(now, registry, in_transition, self.wanted.mark());
            self.follow_news(now, news);
        }
    }

    // --- the end

    fn follow_signals(&mut self, now: Instant) {
        let signals: Vec<i32> = self.signals.pending().collect();
        for signal in signals {
            match signal {
                SIGTERM | SIGINT => self.leave(now),
                SIGHUP => {
                    info!("SIGHUP: asking supervisord for all states and setting them again");
                    self.want_sync(now);
                    self.links.iter_mut().for_each(|link| link.resync(now));
                }
                _ => debug!("signal {signal} is ignored"),
            }
        }
    }

    /// A stop of the listener: what becomes of the programs is asked once, for no event will tell.
    fn leave(&mut self, now: Instant) {
        if self.leaving.is_some() {
            return;
        }
        self.wanted.leave();
        let ask = !self.supervisord_stops && self.inquirer.is_some();
        self.leaving = Some(Leaving { deadline: now + LEAVE_WITHIN, awaits_news: ask });
        self.give_up_if_supervisord_stops();
        match &mut self.inquirer {
            Some(inquirer) if ask => {
                let news = inquirer.ask_last(now, self.poll.registry(), self.wanted.mark());
                self.follow_news(now, news);
            }
            None if !self.supervisord_stops => {
                warn!("leaving without XML-RPC: servers are left as they are");
            }
            _ => {}
        }
    }

    fn give_up_if_supervisord_stops(&mut self) {
        if self.supervisord_stops {
            info!("supervisord stops all programs: all servers to maint");
            let wishes = self.wanted.give_up_all();
            self.wish(&wishes);
        }
    }

    fn supervisord_is_gone(&mut self, now: Instant) {
        if self.leaving.is_some() {
            return;
        }
        self.answer = None;
        self.leaving = Some(Leaving { deadline: now + LEAVE_WITHIN, awaits_news: false });
        if self.supervisord_stops {
            self.give_up_if_supervisord_stops();
        } else {
            info!("supervisord has closed stdin; servers are left as they are");
        }
    }

    fn is_done(&self, now: Instant) -> bool {
        self.leaving.as_ref().is_some_and(|leaving| {
            let settled =
                self.answer.is_none() && !leaving.awaits_news && self.links.iter().all(Link::is_settled);
            settled || now >= leaving.deadline
        })
    }

    fn timeout(&self, now: Instant) -> Option<Duration> {
        if self.may_read() {
            return Some(Duration::ZERO);
        }
        let links = self.links.iter().filter_map(Link::due_at);
        let inquirer = self.inquirer.as_ref().and_then(Inquirer::due_at);
        let answer = self.answer.as_ref().map(|answer| answer.until);
        let leaving = self.leaving.as_ref().map(|leaving| leaving.deadline);
        let claims = self.wanted.claims_due_at();
        let metrics = self.metrics_file.as_ref().map(MetricsFile::due_at);
        let due = links.chain(inquirer).chain(answer).chain(leaving).chain(claims).chain(metrics).min()?;
        Some(due.saturating_duration_since(now))
    }
}

fn metrics_file(path: PathBuf, now: Instant) -> Option<MetricsFile> {
    let shown = path.display().to_string();
    MetricsFile::new(path, now).map_err(|error| warn!("metrics file {shown}: no thread for it: {error}")).ok()
}

/// Registers stdin; `true` where it is a regular file or a device, which epoll refuses and which can always be
/// read.
fn register_input(registry: &mio::Registry, channel: &Channel) -> io::Result<bool> {
    match registry.register(&mut SourceFd(&channel.input_fd()), INPUT, Interest::READABLE) {
        Ok(()) => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(true),
        Err(error) => Err(error),
    }
}

/// A topic for the log. What others send is theirs: it may be long, or secret.
fn shown(topic: &Topic) -> String {
    match topic {
        Topic::Remote { kind, data } => format!("Remote({:?}, {} bytes)", orders::brief(kind), data.len()),
        Topic::RemoteCut { kind } => format!("RemoteCut({:?})", orders::brief(kind)),
        topic => format!("{topic:?}"),
    }
}

fn dead_already(change: &ProcessChange, life: Life) -> &'static str {
    if life == Life::Dead && change.state != ProcessState::Stopping {
        ", but its process has ended already"
    } else {
        ""
    }
}

fn tell_bad_names(program: &ProcessName, errors: &[NameError]) {
    for error in errors {
        error!("program `{program}` has no server: {error}");
    }
}
