//! Makes one HAProxy agree with what is wanted: decides the next command and learns from its reply.
//!
//! The order of commands: out of traffic first, then a look at HAProxy when it is due, then into traffic.
//! A look that gets no answer is not waited for: what is to be set is tried before the next.
//! A server goes into traffic only after a look at what HAProxy has asked of it so far: one that is ready
//! already is never touched, and only one that leaves maint passes the gate.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::note::near_names;
use super::{Breaker, BreakerSettings, Circuit, Note, Wish};
use crate::haproxy::{
    AdminState, Command, Held, Kind, Refusal, ReplyError, ServerRef, ServerState, StatRow, Survey, accepted,
};

/// What the operator chose.
#[derive(Clone, Copy, Debug)]
pub struct ReconcilerSettings {
    /// Whether a checked server on its way out of maint stays DOWN until its checks pass.
    pub gate: bool,
    /// Whether a state that somebody else set is set back.
    pub enforce: bool,
    /// Whether nothing is sent that changes anything.
    pub dry_run: bool,
    /// Between two surveys; `None` for never.
    pub poll_interval: Option<Duration>,
    /// When to leave HAProxy alone.
    pub breaker: BreakerSettings,
}

/// One exchange with HAProxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Set a state.
    Set {
        /// Which server.
        server: ServerRef,
        /// Its new state.
        state: AdminState,
        /// See [`Command::SetState`].
        gate: bool,
    },
    /// See what was asked of a server and its siblings so far.
    Look(ServerRef),
    /// See which servers there are, to explain why this one is none of them.
    Names(ServerRef, Refusal),
    /// See which process answers and how all servers do.
    Survey,
}

/// A reply that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The command was carried out.
    Done,
    /// To [`Step::Look`] and [`Step::Names`].
    Servers(Vec<ServerState>),
    /// To [`Step::Survey`].
    Survey(Survey),
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// HAProxy did not answer; in words.
    Silence(String),
    /// HAProxy said no.
    Refused(Refusal),
    /// HAProxy said something that is not understood; in words.
    Gibberish(String),
}

impl Step {
    /// What to send.
    #[must_use]
    pub fn command(&self) -> Command {
        match self {
            Self::Set { server, state, gate } => {
                Command::SetState { server: server.clone(), state: *state, gate: *gate }
            }
            Self::Look(server) => Command::ServersState(Some(server.clone())),
            Self::Names(..) => Command::ServersState(None),
            Self::Survey => Command::Survey,
        }
    }

    /// Understands the reply.
    pub fn read(&self, reply: &[u8]) -> Result<Answer, Trouble> {
        let answer = match self {
            Self::Set { .. } => accepted(reply).map(|()| Answer::Done),
            Self::Look(_) | Self::Names(..) => ServerState::parse(reply).map(Answer::Servers),
            Self::Survey => Survey::parse(reply).map(Answer::Survey),
        };
        answer.map_err(|error| match error {
            ReplyError::Refused(refusal) => Trouble::Refused(refusal),
            ReplyError::Dump(_) => Trouble::Gibberish(error.to_string()),
            ReplyError::Nothing | ReplyError::Truncated(_) => Trouble::Silence(error.to_string()),
        })
    }
}

/// Decides for one HAProxy.
#[derive(Debug)]
pub struct Reconciler {
    settings: ReconcilerSettings,
    breaker: Breaker,
    servers: BTreeMap<ServerRef, Server>,
    /// Servers whose refusal waits for an explanation.
    unexplained: VecDeque<(ServerRef, Refusal)>,
    /// A refusal that holds for every server.
    barred: Option<Refusal>,
    survey_at: Option<Instant>,
    /// Until when a state that does not show may have been taken by a process on its way out.
    doubtful_until: Instant,
    /// The last exchange, where it got no answer.
    unanswered: Option<Step>,
    /// Whether it was said already that surveys are not understood.
    survey_failed: bool,
}

#[derive(Debug)]
struct Server {
    wanted: AdminState,
    phase: Phase,
    /// Whether the wanted state was tried at least once.
    tried: bool,
    /// Refusals in a row that may pass by themselves.
    rejections: u32,
    /// How often it was set again because a survey did not show it.
    repeats: u8,
    not_before: Option<Instant>,
    /// Whether a difference was told that goes on.
    differs: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// HAProxy is to be told.
    Pending,
    /// It was looked at and is to be told.
    Looked { gate: bool },
    /// HAProxy took it; a survey may have shown it since.
    Told { shown: bool },
    /// HAProxy refused for good.
    Refused,
}

/// How often a state is set again that HAProxy took but does not show: around a reload, the old process may
/// have taken it.
const MAX_REPEATS: u8 = 3;
/// A reload may be under way for so long after its first sign, or when the listener starts. Later, a state that
/// does not show was set by somebody else.
const DOUBT: Duration = Duration::from_secs(15);
/// After HAProxy was replaced, the next look follows soon.
const SETTLE: Duration = Duration::from_secs(1);
/// The longest pause after refusals that may pass by themselves.
const MAX_REJECTION_PAUSE: Duration = Duration::from_secs(60);

/// How a status of `show stat` relates to what is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Agreement {
    Agrees,
    Differs,
    Blocked,
}

fn agreement(wanted: AdminState, seen: Kind) -> Agreement {
    use Kind::{Down, Drain, Maint, MaintResolution, MaintVia, NoCheck, Nolb, Unknown, Up};
    match (wanted, seen) {
        (_, Unknown)
        | (AdminState::Ready, Up | NoCheck | Nolb | Down)
        // DOWN hides a drain beneath it; inherited maintenance hides everything.
        | (AdminState::Drain, Drain | Down | MaintVia | MaintResolution)
        | (AdminState::Maint, Maint | MaintVia | MaintResolution) => Agreement::Agrees,
        (AdminState::Ready, MaintVia | MaintResolution) => Agreement::Blocked,
        (AdminState::Ready, Drain | Maint)
        | (AdminState::Drain, Up | NoCheck | Nolb | Maint)
        | (AdminState::Maint, Up | NoCheck | Nolb | Down | Drain) => Agreement::Differs,
    }
}

impl Server {
    fn new(wanted: AdminState) -> Self {
        Self {
            wanted,
            phase: Phase::Pending,
            tried: false,
            rejections: 0,
            repeats: 0,
            not_before: None,
            differs: false,
        }
    }

    fn is_pending(&self) -> bool {
        matches!(self.phase, Phase::Pending | Phase::Looked { .. })
    }

    fn due(&self, now: Instant) -> bool {
        self.is_pending() && self.not_before.is_none_or(|at| now >= at)
    }

    fn settle(&mut self, phase: Phase) {
        (self.phase, self.tried, self.rejections, self.not_before) = (phase, true, 0, None);
    }

    fn reject(&mut self, now: Instant) -> u32 {
        let pause = Duration::from_millis(200).saturating_mul(1 << self.rejections.min(12));
        self.not_before = Some(now + pause.min(MAX_REJECTION_PAUSE));
        (self.phase, self.tried) = (Phase::Pending, true);
        self.rejections = self.rejections.saturating_add(1);
        self.rejections
    }
}

impl Reconciler {
    /// Nothing is wanted yet; the first survey is due at once.
    #[must_use]
    pub fn new(now: Instant, settings: ReconcilerSettings) -> Self {
        Self {
            breaker: Breaker::new(settings.breaker),
            servers: BTreeMap::new(),
            unexplained: VecDeque::new(),
            barred: None,
            survey_at: settings.poll_interval.map(|_| now),
            doubtful_until: now + DOUBT,
            unanswered: None,
            survey_failed: false,
            settings,
        }
    }

    /// Something else is wanted of a server.
    pub fn want(&mut self, wish: &Wish) {
        let polled = self.settings.poll_interval.is_some();
        if !polled {
            self.barred = None;
        }
        let phase = match self.servers.get(&wish.server).map(|server| server.phase) {
            // Only a survey can tell that HAProxy has changed; without surveys, each wish is a try.
            Some(Phase::Refused) if polled => Phase::Refused,
            _ if self.barred.is_some() => Phase::Refused,
            _ => Phase::Pending,
        };
        let tried = phase == Phase::Refused;
        self.servers.insert(wish.server.clone(), Server { phase, tried, ..Server::new(wish.state) });
    }

    /// Nothing is wanted of a server any more: it is left as it is.
    pub fn forget(&mut self, server: &ServerRef) {
        self.servers.remove(server);
        self.unexplained.retain(|(unexplained, _)| unexplained != server);
    }

    /// All that is wanted is to be told again: HAProxy was replaced, or the operator asks for it.
    pub fn reapply(&mut self, now: Instant) {
        self.barred = None;
        self.doubtful_until = now + DOUBT;
        self.unexplained.clear();
        for server in self.servers.values_mut() {
            *server = Server { tried: true, ..Server::new(server.wanted) };
        }
        if self.settings.poll_interval.is_some() {
            self.survey_at = Some(now + SETTLE);
        }
    }

    /// The next exchange, if one is due.
    #[must_use]
    pub fn next(&self, now: Instant) -> Option<Step> {
        if !self.breaker.allows(now) {
            return None;
        }
        let survey = || self.survey_at.is_some_and(|at| now >= at).then_some(Step::Survey);
        let explanation =
            || self.unexplained.front().map(|(server, refusal)| Step::Names(server.clone(), refusal.clone()));
        match self.unanswered {
            // What is to be set waits for the next survey no longer.
            Some(Step::Survey) => {
                self.outward(now).or_else(|| self.inward(now)).or_else(explanation).or_else(survey)
            }
            // After a silence, HAProxy may be another process that has forgotten everything.
            Some(_) if self.settings.poll_interval.is_some() => Some(Step::Survey),
            _ => self.outward(now).or_else(survey).or_else(|| self.inward(now)).or_else(explanation),
        }
    }

    /// A server that is to lose traffic; maint goes before drain, then names count.
    fn outward(&self, now: Instant) -> Option<Step> {
        let pending = self.servers.iter().filter(|(_, server)| server.due(now));
        let (name, server) = pending
            .filter(|(_, server)| server.wanted > AdminState::Ready)
            .min_by_key(|(_, server)| Reverse(server.wanted))?;
        Some(Step::Set { server: name.clone(), state: server.wanted, gate: false })
    }

    /// A server that is to get traffic.
    fn inward(&self, now: Instant) -> Option<Step> {
        let due = || self.servers.iter().filter(|(_, server)| server.due(now));
        let looked = due().find_map(|(name, server)| match server.phase {
            Phase::Looked { gate } => Some(Step::Set { server: name.clone(), state: server.wanted, gate }),
            _ => None,
        });
        looked.or_else(|| due().next().map(|(name, _)| Step::Look(name.clone())))
    }

    /// An exchange begins.
    pub fn begin(&mut self) -> Option<Note> {
        self.breaker.begin().map(Note::Breaker)
    }

    /// An exchange has ended.
    pub fn finish(&mut self, now: Instant, step: &Step, result: Result<Answer, Trouble>) -> Vec<Note> {
        let mut notes = Vec::new();
        match result {
            Err(Trouble::Silence(cause)) => self.silence(now, step, cause, &mut notes),
            Err(Trouble::Refused(refusal)) => {
                self.answered(&mut notes);
                self.refused(now, step, refusal, &mut notes);
            }
            Err(Trouble::Gibberish(cause)) => {
                self.answered(&mut notes);
                self.gibberish(now, step, cause, &mut notes);
            }
            Ok(answer) => {
                self.answered(&mut notes);
                self.done(now, step, answer, &mut notes);
            }
        }
        notes
    }

    fn silence(&mut self, now: Instant, step: &Step, cause: String, notes: &mut Vec<Note>) {
        if self.unanswered.replace(step.clone()).is_none() {
            notes.push(Note::Failed { command: step.command().to_string(), cause });
        }
        if *step == Step::Survey {
            // Whoever answers next may be another process.
            self.survey_at = Some(now);
        }
        notes.extend(self.breaker.failed(now).map(Note::Breaker));
        for server in self.servers.values_mut().filter(|server| server.is_pending()) {
            server.tried = true;
        }
    }

    fn answered(&mut self, notes: &mut Vec<Note>) {
        notes.extend(self.breaker.succeeded().map(Note::Breaker));
        let was_failing = self.unanswered.take().is_some();
        if was_failing && self.settings.poll_interval.is_none() {
            // No survey will tell whether this is still the same HAProxy.
            for server in
                self.servers.values_mut().filter(|server| matches!(server.phase, Phase::Told { .. }))
            {
                server.phase = Phase::Pending;
            }
        }
    }

    fn done(&mut self, now: Instant, step: &Step, answer: Answer, notes: &mut Vec<Note>) {
        match (step, answer) {
            (Step::Set { server, state, gate }, Answer::Done) => {
                self.told(now, server, *state);
                notes.push(Note::Told { server: server.clone(), state: *state, gate: *gate });
            }
            (Step::Look(server), Answer::Servers(states)) => self.looked(server, &states, notes),
            (Step::Names(server, refusal), Answer::Servers(states)) => {
                let known: Vec<ServerRef> = states.into_iter().map(|state| state.server).collect();
                let near = near_names(server, &known);
                notes.extend(self.explained(server, refusal, near));
            }
            (Step::Survey, Answer::Survey(survey)) => self.surveyed(now, &survey, notes),
            // `Step::read` gives no other pairs.
            _ => {}
        }
    }

    /// Only what is still wanted was told: the wish may have changed while the command was under way.
    fn told(&mut self, now: Instant, name: &ServerRef, state: AdminState) {
        // What HAProxy took is soon seen, so that what somebody else sets later is not taken for a loss.
        self.survey_at = self.survey_at.map(|at| at.min(now + SETTLE));
        if let Some(server) = self.servers.get_mut(name).filter(|server| server.wanted == state) {
            server.settle(Phase::Told { shown: false });
        }
    }

    fn looked(&mut self, about: &ServerRef, states: &[ServerState], notes: &mut Vec<Note>) {
        let pending = self.servers.iter_mut().filter(|(name, server)| {
            name.backend() == about.backend()
                && server.phase == Phase::Pending
                && server.wanted == AdminState::Ready
        });
        for (name, server) in pending {
            match states.iter().find(|state| state.server == *name) {
                Some(state) if state.held() == Held::Ready => {
                    server.settle(Phase::Told { shown: false });
                    notes.push(Note::Already(name.clone(), server.wanted));
                }
                Some(state) => {
                    let gate = self.settings.gate && state.held() == Held::Maint && state.is_checked();
                    server.phase = Phase::Looked { gate };
                }
                None => {
                    server.settle(Phase::Refused);
                    self.unexplained.push_back((name.clone(), Refusal::NoSuchServer));
                }
            }
        }
    }

    fn refused(&mut self, now: Instant, step: &Step, refusal: Refusal, notes: &mut Vec<Note>) {
        match step {
            Step::Set { server, .. } | Step::Look(server) => {
                self.server_refused(now, server, refusal, notes);
            }
            Step::Names(server, first) => notes.extend(self.explained(server, first, String::new())),
            Step::Survey => self.survey_not_understood(now, refusal.to_string(), notes),
        }
    }

    fn server_refused(&mut self, now: Instant, name: &ServerRef, refusal: Refusal, notes: &mut Vec<Note>) {
        let Some(server) = self.servers.get_mut(name) else { return };
        let state = server.wanted;
        let note = |refusal| Note::Refused { server: name.clone(), state, refusal, near: String::new() };
        if refusal.concerns_all_servers() {
            self.servers.values_mut().for_each(|server| server.settle(Phase::Refused));
            self.barred = Some(refusal.clone());
            notes.push(note(refusal));
        } else if refusal.is_permanent() {
            server.settle(Phase::Refused);
            self.unexplained.push_back((name.clone(), refusal));
        } else if server.reject(now) == 1 {
            notes.push(note(refusal));
        }
    }

    fn explained(&mut self, name: &ServerRef, refusal: &Refusal, near: String) -> Option<Note> {
        self.unexplained.retain(|(server, _)| server != name);
        let state = self.servers.get(name)?.wanted;
        Some(Note::Refused { server: name.clone(), state, refusal: refusal.clone(), near })
    }

    fn gibberish(&mut self, now: Instant, step: &Step, cause: String, notes: &mut Vec<Note>) {
        match step {
            // A server must not stay out of traffic because a later HAProxy writes its state differently.
            Step::Look(name) => {
                if let Some(server) = self.servers.get_mut(name) {
                    server.phase = Phase::Looked { gate: false };
                }
                notes.push(Note::NoGate { server: name.clone(), cause });
            }
            Step::Names(name, refusal) => notes.extend(self.explained(name, refusal, String::new())),
            Step::Survey => self.survey_not_understood(now, cause, notes),
            Step::Set { .. } => {}
        }
    }

    fn survey_not_understood(&mut self, now: Instant, cause: String, notes: &mut Vec<Note>) {
        self.schedule_survey(now);
        if !std::mem::replace(&mut self.survey_failed, true) {
            notes.push(Note::Failed { command: Step::Survey.command().to_string(), cause });
        }
    }

    /// The next survey is due after the interval, unless one is wanted sooner.
    fn schedule_survey(&mut self, now: Instant) {
        let sooner = self.survey_at.filter(|at| *at > now);
        let regular = self.settings.poll_interval.map(|interval| now + interval);
        self.survey_at = regular.map(|at| sooner.map_or(at, |sooner| sooner.min(at)));
    }

    fn surveyed(&mut self, now: Instant, survey: &Survey, notes: &mut Vec<Note>) {
        if std::mem::take(&mut self.survey_failed) {
            // Whoever answered before, it was not this one.
            self.reapply(now);
        }
        if survey.info.stopping {
            // Its successor has the say, and will answer soon.
            self.survey_at = Some(now + SETTLE);
            return;
        }
        self.schedule_survey(now);
        let rows: HashMap<&ServerRef, &StatRow> = survey.rows.iter().map(|row| (&row.server, row)).collect();
        let in_doubt = now < self.doubtful_until;
        for (name, server) in &mut self.servers {
            match rows.get(name) {
                Some(row) => notes.extend(server.compare(name, row, in_doubt, &self.settings)),
                None if matches!(server.phase, Phase::Told { .. }) => {
                    server.settle(Phase::Refused);
                    notes.push(Note::Vanished(name.clone()));
                }
                None => {}
            }
        }
        if self.barred.is_some() {
            self.servers.values_mut().for_each(|server| server.settle(Phase::Refused));
        }
    }

    /// HAProxy is asked to show itself at the next occasion.
    pub fn survey_now(&mut self, now: Instant) {
        self.survey_at = Some(now);
    }

    /// When [`Self::next`] may have a step, if nothing happens before.
    #[must_use]
    pub fn due_at(&self) -> Option<Instant> {
        let pending = self.servers.values().filter(|server| server.is_pending());
        // What is due at once has no moment of its own: it is due since ever.
        let due = pending.map(|server| server.not_before);
        let survey = self.survey_at.map(Some);
        let earliest = due.chain(survey).min()?;
        match (earliest, self.breaker.wake_at()) {
            (Some(at), Some(wake)) => Some(at.max(wake)),
            (at, wake) => at.or(wake),
        }
    }

    /// Whether the wish of a server needs no more waiting for: it was tried, or will not be for a while.
    #[must_use]
    pub fn has_tried(&self, now: Instant, server: &ServerRef) -> bool {
        !self.breaker.allows(now) || self.servers.get(server).is_none_or(|server| server.tried)
    }

    /// Whether HAProxy has taken all that is wanted, or has refused and been asked why.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.pending().next().is_none() && self.unexplained.is_empty()
    }

    /// What the circuit breaker lets through.
    #[must_use]
    pub fn circuit(&self) -> Circuit {
        self.breaker.circuit()
    }

    /// What is wanted of each server.
    pub fn wanted(&self) -> impl Iterator<Item = (&ServerRef, AdminState)> {
        self.servers.iter().map(|(name, server)| (name, server.wanted))
    }

    /// What HAProxy has not taken yet.
    pub fn pending(&self) -> impl Iterator<Item = (&ServerRef, AdminState)> {
        let pending = self.servers.iter().filter(|(_, server)| server.is_pending());
        pending.map(|(name, server)| (name, server.wanted))
    }
}

impl Server {
    /// Holds a row of `show stat` against what is wanted.
    fn compare(
        &mut self,
        name: &ServerRef,
        row: &StatRow,
        in_doubt: bool,
        settings: &ReconcilerSettings,
    ) -> Option<Note> {
        match self.phase {
            Phase::Pending | Phase::Looked { .. } => None,
            // It was refused, and now it is there.
            Phase::Refused => {
                self.phase = Phase::Pending;
                None
            }
            Phase::Told { .. } if settings.dry_run => None,
            Phase::Told { shown } => match agreement(self.wanted, row.status.kind) {
                Agreement::Agrees => {
                    (self.phase, self.repeats) = (Phase::Told { shown: true }, 0);
                    let ended = std::mem::take(&mut self.differs);
                    ended.then(|| Note::DriftEnded(name.clone(), self.wanted))
                }
                Agreement::Blocked => {
                    let is_new = !std::mem::replace(&mut self.differs, true);
                    is_new.then(|| Note::Blocked { server: name.clone(), seen: row.status.to_string() })
                }
                Agreement::Differs if !shown && in_doubt && self.repeats < MAX_REPEATS => {
                    (self.phase, self.repeats) = (Phase::Pending, self.repeats + 1);
                    None
                }
                Agreement::Differs => self.drift(name, row, settings),
            },
        }
    }

    fn drift(&mut self, name: &ServerRef, row: &StatRow, settings: &ReconcilerSettings) -> Option<Note> {
        let is_new = !std::mem::replace(&mut self.differs, true);
        if settings.enforce {
            self.phase = Phase::Pending;
        }
        is_new.then(|| Note::Drift {
            server: name.clone(),
            wanted: self.wanted,
            seen: row.status.to_string(),
            enforced: settings.enforce,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::BreakerChange;
    use crate::haproxy::Info;

    const SETTINGS: ReconcilerSettings = ReconcilerSettings {
        gate: true,
        enforce: false,
        dry_run: false,
        poll_interval: Some(Duration::from_secs(5)),
        breaker: BreakerSettings { threshold: 2, reset: Duration::from_secs(1) },
    };

    /// A reconciler and a model of HAProxy: `admin` and `check` masks for each server, by name.
    struct Bench {
        reconciler: Reconciler,
        servers: BTreeMap<ServerRef, (u32, u32)>,
        now: Instant,
        notes: Vec<String>,
    }

    fn server(name: &str) -> ServerRef {
        name.parse().unwrap()
    }

    impl Bench {
        fn new(settings: ReconcilerSettings, servers: &[(&str, u32, u32)]) -> Self {
            let now = Instant::now();
            let servers =
                servers.iter().map(|(name, admin, check)| (server(name), (*admin, *check))).collect();
            let mut bench =
                Self { reconciler: Reconciler::new(now, settings), servers, now, notes: Vec::new() };
            bench.run();
            bench
        }

        fn want(&mut self, name: &str, state: AdminState) {
            self.reconciler.want(&Wish { server: server(name), state });
        }

        /// Does what is due, as a HAProxy in good health would answer; gives the lines that were sent.
        fn run(&mut self) -> Vec<String> {
            let mut lines = Vec::new();
            while let Some(step) = self.reconciler.next(self.now) {
                assert!(lines.len() < 50, "no end: {lines:?}");
                lines.push(step.command().to_string());
                let answer = self.answer(&step);
                self.finish(&step, answer);
            }
            lines
        }

        /// Does one thing that is due.
        fn step(&mut self) -> String {
            let step = self.reconciler.next(self.now).unwrap();
            let answer = self.answer(&step);
            self.finish(&step, answer);
            step.command().to_string()
        }

        fn finish(&mut self, step: &Step, result: Result<Answer, Trouble>) {
            self.notes.extend(self.reconciler.begin().iter().map(ToString::to_string));
            let notes = self.reconciler.finish(self.now, step, result);
            self.notes.extend(notes.iter().map(ToString::to_string));
        }

        fn answer(&mut self, step: &Step) -> Result<Answer, Trouble> {
            match step {
                Step::Survey => Ok(Answer::Survey(self.survey())),
                Step::Look(_) | Step::Names(..) => Ok(Answer::Servers(self.states())),
                Step::Set { server, state, .. } => match self.servers.get_mut(server) {
                    None => Err(Trouble::Refused(Refusal::NoSuchServer)),
                    Some((admin, _)) => {
                        *admin = match state {
                            AdminState::Ready => 0,
                            AdminState::Drain => 8,
                            AdminState::Maint => 1,
                        };
                        Ok(Answer::Done)
                    }
                },
            }
        }

        fn states(&self) -> Vec<ServerState> {
            let rows = self.servers.iter();
            rows.map(|(name, (admin, check))| ServerState {
                server: name.clone(),
                admin: *admin,
                check: *check,
                address: None,
            })
            .collect()
        }

        fn survey(&self) -> Survey {
            let rows = self.servers.iter().map(|(name, (admin, _))| {
                let status = match admin {
                    0 => "UP",
                    8 => "DRAIN",
                    2 => "MAINT (via be/x)",
                    _ => "MAINT",
                };
                StatRow::example(name.clone(), status)
            });
            Survey { info: Info::default(), rows: rows.collect() }
        }

        /// Goes on to the next survey.
        fn poll(&mut self) -> Vec<String> {
            self.now += Duration::from_secs(5);
            let lines = self.run();
            assert_eq!(lines.first().map(String::as_str), Some("show info;show stat -1 4 -1"));
            lines.into_iter().skip(1).collect()
        }

        fn silence(&mut self) -> Step {
            let step = self.reconciler.next(self.now).unwrap();
            self.finish(&step, Err(Trouble::Silence("connection refused".into())));
            step
        }
    }

    #[test]
    fn what_is_forgotten_is_told_never_again() {
        let mut bench = Bench::new(SETTINGS, &[("be/a", 0, 0), ("be/b", 0, 0)]);
        bench.want("be/a", AdminState::Maint);
        let step = bench.reconciler.next(bench.now).unwrap();
        bench.reconciler.forget(&server("be/a"));
        let answer = bench.answer(&step);
        bench.finish(&step, answer);
        bench.want("be/b", AdminState::Maint);
        bench.reconciler.forget(&server("be/b"));
        bench.reconciler.reapply(bench.now);
        assert!(bench.poll().is_empty() && bench.reconciler.is_settled());
    }

    #[test]
    fn maint_is_set_at_once_and_ready_after_a_look() {
        let mut bench =
            Bench::new(SETTINGS, &[("be/a", 0, 6), ("be/b", 8, 6), ("be/c", 1, 14), ("be/d", 1, 0)]);
        for name in ["be/b", "be/c", "be/d"] {
            bench.want(name, AdminState::Ready);
        }
        bench.want("be/a", AdminState::Maint);
        assert_eq!(
            bench.run(),
            [
                "set server be/a state maint",
                "show servers state be",
                "set server be/b state ready",
                "set server be/c state ready;set server be/c health down",
                "set server be/d state ready",
            ]
        );
    }

    #[test]
    fn a_server_that_is_ready_already_is_never_touched() {
        let mut bench = Bench::new(SETTINGS, &[("be/a", 0, 6)]);
        bench.want("be/a", AdminState::Ready);
        assert_eq!(bench.run(), ["show servers state be"]);
        assert!(bench.run().is_empty());
        assert!(bench.poll().is_empty());
    }

    #[test]
    fn without_the_gate_ready_is_plain() {
        let mut bench = Bench::new(ReconcilerSettings { gate: false, ..SETTINGS }, &[("be/a", 1, 14)]);
        bench.want("be/a", AdminState::Ready);
        assert_eq!(bench.run(), ["show servers state be", "set server be/a state ready"]);
    }

    #[test]
    fn what_a_silent_haproxy_missed_is_told_when_it_is_back() {
        let mut bench = Bench::new(SETTINGS, &[("be/a", 0, 0)]);
        bench.want("be/a", AdminState::Maint);
        bench.silence();
        assert!(bench.reconciler.has_tried(bench.now, &server("be/a")));
        assert_eq!(bench.reconciler.next(bench.now), None, "a pause");
        bench.now += Duration::from_millis(50);
        assert_eq!(bench.silence(), Step::Survey, "it may have been replaced");
        assert_eq!(
            bench.notes,
            [
                "set server be/a state maint: connection refused",
                "circuit breaker open after 2 failures; next try in 1s"
            ]
        );
        bench.notes.clear();
        bench.now += Duration::from_secs(1);
        assert_eq!(bench.run(), ["set server be/a state maint", "show info;show stat -1 4 -1"]);
        assert_eq!(
            bench.notes,
            [
                "circuit breaker half-open: trying once",
                "circuit breaker closed: HAProxy answers again",
                "`be/a` set to maint"
            ]
        );
    }

    #[test]
    fn surveys_that_get_no_answer_hold_up_nothing() {
        let mut bench = Bench::new(SETTINGS, &[("be/a", 0, 0), ("be/b", 1, 0)]);
        bench.now += Duration::from_secs(5);
        assert_eq!(bench.silence(), Step::Survey);
        bench.want("be/a", AdminState::Maint);
        bench.want("be/b", AdminState::Ready);
        bench.now += Duration::from_millis(50);
        assert_eq!(bench.step(), "set server be/a state maint");
        assert_eq!(bench.silence(), Step::Survey);
        bench.now += Duration::from_millis(50);
        assert_eq!(bench.step(), "show servers state be");
        assert_eq!(bench.silence(), Step::Survey);
        bench.now += Duration::from_millis(50);
        assert_eq!(bench.step(), "set server be/b state ready");
        assert_eq!(bench.silence(), Step::Survey);
        assert_eq!(bench.notes.last().unwrap(), "show info;show stat -1 4 -1: connection refused");
        assert_eq!(bench.reconciler.circuit(), Circuit::Closed, "it answers all else");
    }

    #[test]
    fn without_surveys_everything_is_told_again_after_a_silence() {
        let mut bench = Bench::new(
            ReconcilerSettings { poll_interval: None, ..SETTINGS },
            &[("be/a", 0, 0), ("be/b", 0, 0)],
        );
        bench.want("be/a", AdminState::Maint);
        bench.run();
        bench.want("be/b", AdminState::Drain);
        bench.silence();
        bench.now += Duration::from_secs(1);
        assert_eq!(bench.run(), ["set server be/b state drain", "set server be/a state maint"]);
    }

    #[test]
    fn the_latest_wish_counts_when_one_is_overtaken() {
        let mut bench = Bench::new(SETTINGS, &[("be/a", 0, 0)]);
        bench.want("be/a", AdminState::Drain);
        let step = bench.reconciler.next(bench.now).unwrap();
        bench.want("be/a", AdminState::Maint);
        let answer = bench.answer(&step);
        bench.finish(&step, answer);
        assert_eq!(bench.run(), ["set server be/a state maint"]);
    }

    #[test]
    fn a_missing_server_is_explained_once_and_told_when_it_appears() {
        let mut bench = Bench::new(SETTINGS, &[("be/a1", 0, 0)]);
        bench.want("be/a9", AdminState::Maint);
        assert_eq!(bench.run(), ["set server be/a9 state maint", "show servers state"]);
        assert_eq!(bench.notes, ["set server `be/a9` state maint: no such server; backend `be` has `a1`"]);
        assert!(bench.poll().is_empty());
        bench.servers.insert(server("be/a9"), (0, 0));
        assert_eq!(bench.poll(), ["set server be/a9 state maint"]);
    }

    #[test]
    fn a_server_that_was_removed_is_told_when_it_is_back() {
        let mut bench = Bench::new(SETTINGS, &[("be/a", 0, 0)]);
        bench.want("be/a", AdminState::Maint);
        bench.run();
        bench.servers.clear();
        assert!(bench.poll().is_empty());
        assert_eq!(bench.notes.last().unwrap(), "`be/a` is gone; it is set again when it is back");
        bench.servers.insert(server("be/a"), (0, 0));
        assert_eq!(bench.poll(), ["set server be/a state maint"]);
    }

    #[test]
    fn a_socket_without_rights_is_said_once_for_all() {
        let mut bench = Bench::new(SETTINGS, &[("be/a", 0, 0), ("be/b", 0, 0)]);
        bench.want("be/a", AdminState::Maint);
        bench.want("be/b", AdminState::Maint);
        let step = bench.reconciler.next(bench.now).unwrap();
        bench.finish(&step, Err(Trouble::Refused(Refusal::PermissionDenied)));
        assert!(bench.run().is_empty());
        bench.want("be/a", AdminState::Drain);
        assert!(bench.poll().is_empty());
        assert_eq!(bench.notes.len(), 1);
        assert!(bench.notes[0].contains("level admin"), "{:?}", bench.notes);
        bench.reconciler.reapply(bench.now);
        assert_eq!(bench.run(), ["set server be/b state maint", "set server be/a state drain"]);
    }

    #[test]
    fn a_refusal_that_may_pass_is_tried_again_and_holds_up_nobody_else() {
        let mut bench = Bench::new(SETTINGS, &[("be/a", 0, 0), ("zz/b", 0, 0)]);
        bench.want("be/a", AdminState::Drain);
        let step = bench.reconciler.next(bench.now).unwrap();
        bench.finish(&step, Err(Trouble::Refused(Refusal::ProxyDisabled)));
        bench.want("zz/b", AdminState::Drain);
        assert_eq!(bench.run(), ["set server zz/b state drain"]);
        assert_eq!(bench.reconciler.due_at(), Some(bench.now + Duration::from_millis(200)));
        bench.now += Duration::from_millis(200);
        assert_eq!(bench.run(), ["set server be/a state drain"]);
    }

    #[test]
    fn a_state_set_by_hand_is_told_once_and_left() {
        let mut bench = Bench::new(SETTINGS, &[("be/a", 0, 0)]);
        bench.want("be/a", AdminState::Maint);
        bench.run();
        assert!(bench.poll().is_empty());
        bench.notes.clear();
        bench.servers.insert(server("be/a"), (0, 0));
        assert!(bench.poll().is_empty());
        assert!(bench.poll().is_empty());
        assert_eq!(bench.notes.len(), 1);
        assert!(bench.notes[0].starts_with("`be/a` is UP, wanted is maint: set by somebody else"));
        bench.servers.insert(server("be/a"), (1, 0));
        bench.poll();
        assert_eq!(bench.notes[1], "`be/a` is maint again, as wanted");
    }

    #[test]
    fn with_enforce_it_is_set_back() {
        let mut bench = Bench::new(ReconcilerSettings { enforce: true, ..SETTINGS }, &[("be/a", 0, 0)]);
        bench.want("be/a", AdminState::Maint);
        bench.run();
        bench.poll();
        bench.servers.insert(server("be/a"), (8, 0));
        assert_eq!(bench.poll(), ["set server be/a state maint"]);
    }

    #[test]
    fn a_state_that_never_showed_is_repeated_a_few_times_only() {
        let mut bench = Bench::new(SETTINGS, &[("be/a", 0, 0)]);
        bench.want("be/a", AdminState::Maint);
        bench.run();
        for _ in 0..MAX_REPEATS {
            bench.servers.insert(server("be/a"), (0, 0));
            // The reload goes on, or there is another one.
            bench.reconciler.doubtful_until = bench.now + DOUBT;
            assert_eq!(bench.poll(), ["set server be/a state maint"]);
        }
        bench.servers.insert(server("be/a"), (0, 0));
        bench.reconciler.doubtful_until = bench.now + DOUBT;
        assert!(bench.poll().is_empty());
    }

    #[test]
    fn without_a_reload_a_state_that_never_showed_was_set_by_somebody_else() {
        let mut bench = Bench::new(SETTINGS, &[("be/a", 1, 0)]);
        bench.now += DOUBT;
        bench.want("be/a", AdminState::Ready);
        bench.run();
        bench.servers.insert(server("be/a"), (8, 0));
        assert!(bench.poll().is_empty());
        assert!(bench.notes.last().unwrap().contains("set by somebody else"), "{:?}", bench.notes);
    }

    #[test]
    fn inherited_maintenance_is_told_and_not_fought() {
        let mut bench = Bench::new(SETTINGS, &[("be/a", 2, 0)]);
        bench.want("be/a", AdminState::Ready);
        bench.run();
        bench.poll();
        bench.poll();
        let expected = "`be/a` is set to ready, but HAProxy keeps it in MAINT (via be/x)";
        assert_eq!(bench.notes, ["`be/a` is ready already", expected]);
    }

    #[test]
    fn a_state_file_of_another_form_does_not_keep_a_server_out() {
        let mut bench = Bench::new(SETTINGS, &[("be/a", 1, 14)]);
        bench.want("be/a", AdminState::Ready);
        let step = bench.reconciler.next(bench.now).unwrap();
        bench.finish(&step, Err(Trouble::Gibberish("format version `2` is unknown".into())));
        assert_eq!(bench.run(), ["set server be/a state ready"]);
    }

    #[test]
    fn a_replaced_haproxy_is_told_everything_again() {
        let mut bench = Bench::new(SETTINGS, &[("be/a", 0, 0), ("be/b", 0, 0)]);
        bench.want("be/a", AdminState::Maint);
        bench.want("be/b", AdminState::Ready);
        bench.run();
        bench.servers.insert(server("be/a"), (0, 0));
        bench.reconciler.reapply(bench.now);
        assert_eq!(bench.run(), ["set server be/a state maint", "show servers state be"]);
    }

    #[test]
    fn after_a_replaced_haproxy_the_next_look_follows_soon() {
        let mut bench = Bench::new(SETTINGS, &[("be/a", 0, 0)]);
        bench.want("be/a", AdminState::Ready);
        bench.run();
        bench.now += Duration::from_secs(5);
        let step = bench.reconciler.next(bench.now).unwrap();
        // Who reads the survey sees another process, and asks for this before the survey is compared.
        bench.reconciler.reapply(bench.now);
        let survey = bench.survey();
        bench.finish(&step, Ok(Answer::Survey(survey)));
        assert_eq!(bench.run(), ["show servers state be"]);
        assert_eq!(bench.reconciler.due_at(), Some(bench.now + SETTLE));
    }

    #[test]
    fn what_a_process_on_its_way_out_shows_counts_for_nothing() {
        let mut bench = Bench::new(SETTINGS, &[("be/a", 0, 0)]);
        bench.want("be/a", AdminState::Maint);
        bench.run();
        bench.now += Duration::from_secs(5);
        bench.servers.insert(server("be/a"), (0, 0));
        let step = bench.reconciler.next(bench.now).unwrap();
        let mut survey = bench.survey();
        survey.info.stopping = true;
        bench.finish(&step, Ok(Answer::Survey(survey)));
        assert_eq!(bench.reconciler.next(bench.now), None);
        assert_eq!(bench.reconciler.due_at(), Some(bench.now + SETTLE));
    }

    #[test]
    fn after_a_stranger_on_the_socket_everything_is_told_to_haproxy() {
        let mut bench = Bench::new(SETTINGS, &[("be/a", 0, 0)]);
        bench.want("be/a", AdminState::Maint);
        let step = bench.reconciler.next(bench.now).unwrap();
        bench.finish(&step, Err(Trouble::Refused(Refusal::UnknownCommand)));
        bench.now += Duration::from_secs(5);
        let step = bench.reconciler.next(bench.now).unwrap();
        bench.finish(&step, Err(Trouble::Refused(Refusal::UnknownCommand)));
        assert_eq!(bench.reconciler.next(bench.now), None);
        assert_eq!(bench.poll(), ["set server be/a state maint"]);
    }

    #[test]
    fn every_status_has_its_agreement() {
        use Agreement::{Agrees, Blocked, Differs};
        let kinds = [
            Kind::Up,
            Kind::NoCheck,
            Kind::Nolb,
            Kind::Drain,
            Kind::Down,
            Kind::Maint,
            Kind::MaintVia,
            Kind::Unknown,
        ];
        let row = |wanted| kinds.map(|kind| agreement(wanted, kind));
        assert_eq!(
            row(AdminState::Ready),
            [Agrees, Agrees, Agrees, Differs, Agrees, Differs, Blocked, Agrees]
        );
        assert_eq!(
            row(AdminState::Drain),
            [Differs, Differs, Differs, Agrees, Agrees, Differs, Agrees, Agrees]
        );
        assert_eq!(
            row(AdminState::Maint),
            [Differs, Differs, Differs, Differs, Differs, Agrees, Agrees, Agrees]
        );
    }

    #[test]
    fn breaker_changes_are_notes() {
        assert_eq!(
            Note::Breaker(BreakerChange::Closed).to_string(),
            "circuit breaker closed: HAProxy answers again"
        );
    }
}
