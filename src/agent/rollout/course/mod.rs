//! One program on its way: drained, parted from HAProxy, stopped, started, probed, up.

mod inward;
mod outward;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::scene::Scene;
use super::{Action, Failure, Sight, Terms, Verb};
use crate::agent::Member;
use crate::haproxy::{AdminState, Held, ServerRef};
use crate::supervisor::{Pid, ProcessState};

/// One program on its way.
#[derive(Debug)]
pub struct Course {
    member: Member,
    phase: Phase,
    /// Since when it is in its phase.
    since: Instant,
    began: Option<Instant>,
    ended: Option<Instant>,
    /// When its start began, for [`Terms::up_timeout`].
    started: Option<Instant>,
    /// What each HAProxy held of each server when the program was begun.
    before: BTreeMap<(usize, ServerRef), Held>,
    claimed: bool,
    /// Whether a server was out of maint at the last look, though its program was on its way up.
    was_open: bool,
    /// A call to supervisord has failed and is not repeated before.
    not_before: Option<Instant>,
    /// Where it goes at its next turn, whatever its phase would say.
    diversion: Option<Phase>,
    timings: Timings,
    remarks: Vec<String>,
}

/// How long each part took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// Until no session was left, or the time for that had passed.
    pub drain: Option<Duration>,
    /// From the signal until its process was gone.
    pub stop: Option<Duration>,
    /// From its start until supervisord called it RUNNING.
    pub start: Option<Duration>,
    /// From then until HAProxy showed it up.
    pub up: Option<Duration>,
}

/// How a program's course ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// As asked for.
    Done,
    /// In words, with the state that it is in now.
    Failed(String),
    /// Nothing was touched, and why.
    Refused(String),
    /// Its turn never came.
    Untouched,
    /// It was put back as it was.
    Restored,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Waiting,
    /// No new requests but those of persistent sessions; those under way end.
    Draining,
    /// No requests at all, and a last look that none is left.
    Parting {
        shut_down: Option<Instant>,
    },
    Stopping {
        sent: Option<Instant>,
        /// The process that was sent the stop signal.
        pid: Option<Pid>,
    },
    Starting {
        sent: bool,
        tries: u8,
        quiet: Option<Instant>,
    },
    Probing,
    Rising,
    Restoring(Ending),
    Over(Ending),
}

/// After EXITED, supervisord may be about to start the program again.
const RESTART_GRACE: Duration = Duration::from_secs(3);
/// Between two tries of a call that failed.
const RETRY: Duration = Duration::from_millis(500);

// --- what others see

impl Course {
    /// The program and its servers.
    #[must_use]
    pub fn member(&self) -> &Member {
        &self.member
    }

    /// How it ended, if it did.
    #[must_use]
    pub fn ending(&self) -> Option<&Ending> {
        match &self.phase {
            Phase::Over(ending) => Some(ending),
            _ => None,
        }
    }

    /// Whether it was begun and has not ended.
    #[must_use]
    pub fn is_under_way(&self) -> bool {
        !matches!(self.phase, Phase::Waiting | Phase::Over(_))
    }

    /// What takes its time now.
    #[must_use]
    pub fn activity(&self, sight: &Sight) -> String {
        let state = || sight.state(&self.member.program);
        match &self.phase {
            Phase::Waiting => "waiting".into(),
            Phase::Draining | Phase::Parting { .. } => {
                format!("draining, {}", sight.load(&self.member.servers))
            }
            Phase::Stopping { .. } => format!("stopping, {}", state()),
            Phase::Starting { .. } => format!("starting, {}", state()),
            Phase::Probing => "RUNNING, probing".into(),
            Phase::Rising => format!("RUNNING, {}", sight.statuses(&self.member.servers)),
            Phase::Restoring(_) => "putting back".into(),
            Phase::Over(_) => "over".into(),
        }
    }

    /// Since its begin; until its end, if it has ended.
    #[must_use]
    pub fn elapsed(&self, now: Instant) -> Duration {
        let until = self.ended.unwrap_or(now);
        self.began.map(|began| until.saturating_duration_since(began)).unwrap_or_default()
    }

    /// How long each part took.
    #[must_use]
    pub fn timings(&self) -> Timings {
        self.timings
    }

    /// What is to be said of it besides how it ended.
    #[must_use]
    pub fn remarks(&self) -> &[String] {
        &self.remarks
    }
}

// --- what the rollout does with it

impl Course {
    pub(super) fn new(now: Instant, member: Member) -> Self {
        Self {
            member,
            phase: Phase::Waiting,
            since: now,
            began: None,
            ended: None,
            started: None,
            before: BTreeMap::new(),
            claimed: false,
            was_open: false,
            not_before: None,
            diversion: None,
            timings: Timings::default(),
            remarks: Vec::new(),
        }
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.phase == Phase::Waiting
    }

    pub(super) fn refuse(&mut self, why: String) {
        self.phase = Phase::Over(Ending::Refused(why));
    }

    pub(super) fn leave_untouched(&mut self) {
        if self.is_waiting() {
            self.phase = Phase::Over(Ending::Untouched);
        }
    }

    /// What was not sent a stop signal yet is put back; the rest goes on to its end.
    pub(super) fn interrupt(&mut self) {
        match self.phase {
            Phase::Waiting => self.leave_untouched(),
            Phase::Draining | Phase::Parting { .. } => {
                self.diversion = Some(Phase::Restoring(Ending::Restored));
            }
            _ => {}
        }
    }

    pub(super) fn begin(&mut self, now: Instant, sight: &Sight, terms: &Terms) -> Vec<Action> {
        self.began = Some(now);
        self.before = sight.held(&self.member.servers);
        let state = sight.process(&self.member.program).map(|details| details.info.state);
        let first = match (terms.verb, state) {
            (Verb::Stop | Verb::Restart, Some(ProcessState::Stopping)) => {
                Phase::Stopping { sent: Some(now), pid: None }
            }
            // A drain would let persistent sessions in again.
            (Verb::Stop | Verb::Restart, Some(state)) if state.has_process() && self.was_in_maint() => {
                Phase::Parting { shut_down: None }
            }
            (Verb::Stop | Verb::Restart, Some(state)) if state.has_process() => Phase::Draining,
            (Verb::Stop, _) | (Verb::Restart, Some(ProcessState::Backoff)) => {
                Phase::Stopping { sent: None, pid: None }
            }
            // It may have traffic already, which is not taken from it.
            (Verb::Start, Some(ProcessState::Running)) => Phase::Rising,
            (Verb::Restart | Verb::Start, _) => Phase::Starting { sent: false, tries: 0, quiet: None },
        };
        let mut actions = Vec::new();
        self.enter(now, first, terms, &mut actions);
        actions
    }

    fn was_in_maint(&self) -> bool {
        !self.before.is_empty() && self.before.values().all(|held| *held == Held::Maint)
    }

    pub(super) fn advance(&mut self, now: Instant, sight: &Sight, terms: &Terms) -> Vec<Action> {
        let scene = Scene { now, sight, terms, servers: &self.member.servers.clone() };
        let mut actions = Vec::new();
        if let Some(next) = self.diversion.take() {
            self.enter(now, next, terms, &mut actions);
        }
        while let Some(next) = self.step(&scene, &mut actions) {
            self.enter(now, next, terms, &mut actions);
        }
        actions
    }

    /// An action has failed that [`Self::advance`] asked for.
    pub(super) fn failed(&mut self, now: Instant, action: &Action, failure: &Failure) {
        match (action, failure) {
            (Action::Stop(name) | Action::Start(name), failure) if *name == self.member.program => {
                self.call_failed(now, failure);
            }
            (Action::Set { server, .. }, Failure::Permanent(why)) if self.member.servers.contains(server) => {
                self.diversion = self.doomed(why);
            }
            (Action::ShutdownSessions { server, .. }, Failure::Permanent(why) | Failure::Passing(why))
                if self.member.servers.contains(server) =>
            {
                self.remarks.push(why.clone());
            }
            // What did not arrive shows at the next look, and is told again.
            _ => {}
        }
    }

    fn call_failed(&mut self, now: Instant, failure: &Failure) {
        match failure {
            Failure::Permanent(why) => self.diversion = self.doomed(why),
            Failure::Passing(_) => {
                self.not_before = Some(now + RETRY);
                match &mut self.phase {
                    Phase::Stopping { sent, .. } => *sent = None,
                    Phase::Starting { sent, .. } => *sent = false,
                    _ => {}
                }
            }
        }
    }

    /// Where a failure for good leads: back to where it was, as long as nothing was stopped.
    fn doomed(&self, why: &str) -> Option<Phase> {
        let failed = Ending::Failed(why.to_owned());
        match self.phase {
            Phase::Waiting | Phase::Over(_) => None,
            Phase::Draining | Phase::Parting { .. } | Phase::Stopping { .. } => {
                Some(Phase::Restoring(failed))
            }
            Phase::Restoring(_) | Phase::Starting { .. } | Phase::Probing | Phase::Rising => {
                Some(Phase::Over(failed))
            }
        }
    }
}

// --- its phases

impl Course {
    fn step(&mut self, scene: &Scene<'_>, actions: &mut Vec<Action>) -> Option<Phase> {
        match self.phase.clone() {
            Phase::Waiting | Phase::Over(_) => None,
            Phase::Draining => self.drain(scene, actions),
            Phase::Parting { shut_down } => self.part(scene, shut_down, actions),
            Phase::Stopping { sent, pid } => self.stop(scene, sent, pid, actions),
            Phase::Starting { sent, tries, quiet } => self.start(scene, sent, tries, quiet, actions),
            Phase::Probing => self.probe(scene, actions),
            Phase::Rising => self.rise(scene, actions),
            Phase::Restoring(ending) => self.restore(scene, ending, actions),
        }
    }

    fn enter(&mut self, now: Instant, phase: Phase, terms: &Terms, actions: &mut Vec<Action>) {
        match phase {
            Phase::Draining => self.claim(AdminState::Drain, actions),
            Phase::Parting { .. } => self.claim(AdminState::Maint, actions),
            Phase::Starting { .. } => {
                self.started.get_or_insert(now);
                if terms.probe {
                    self.claim(AdminState::Maint, actions);
                } else {
                    self.unclaim(actions);
                }
            }
            Phase::Rising => {
                self.started.get_or_insert(now);
                self.unclaim(actions);
            }
            Phase::Restoring(_) => self.unclaim(actions),
            Phase::Over(_) => {
                self.unclaim(actions);
                self.ended = Some(now);
            }
            Phase::Waiting | Phase::Stopping { .. } | Phase::Probing => {}
        }
        (self.phase, self.since, self.not_before) = (phase, now, None);
    }

    fn claim(&mut self, state: AdminState, actions: &mut Vec<Action>) {
        self.claimed = true;
        actions.push(Action::Claim(self.member.servers.clone(), state));
    }

    fn unclaim(&mut self, actions: &mut Vec<Action>) {
        if std::mem::take(&mut self.claimed) {
            actions.push(Action::Unclaim(self.member.servers.clone()));
        }
    }

    /// How long it is in its phase.
    fn for_how_long(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }

    fn may_call(&self, now: Instant) -> bool {
        self.not_before.is_none_or(|at| now >= at)
    }

    fn vanished(&self) -> Phase {
        Phase::Over(Ending::Failed(format!("supervisord has no program `{}`", self.member.program)))
    }
}
