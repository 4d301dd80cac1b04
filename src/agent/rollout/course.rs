//! One program on its way: drained, parted from HAProxy, stopped, started, probed, up.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::scene::Scene;
use super::{Action, Failure, Sight, Terms, Verb};
use crate::agent::Member;
use crate::haproxy::{AdminState, Held, ServerRef};
use crate::supervisor::{Pid, ProcessDetails, ProcessState};

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

/// Of the time for draining, this much is for persistent sessions to come and go; the rest is for the end of
/// those that are under way when no more are let in.
const DRAIN_SHARE: f64 = 0.75;
/// What was set shows at the next look; a state that does not within this time was set by somebody else.
const SETTLE: Duration = Duration::from_secs(2);
/// HAProxy closes sessions a moment after it was told to.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);
/// After EXITED, supervisord may be about to start the program again.
const RESTART_GRACE: Duration = Duration::from_secs(3);
/// Between two tries of a call that failed.
const RETRY: Duration = Duration::from_millis(500);
/// supervisord has said yes and shows no sign of it: it is asked again.
const REPEAT: Duration = Duration::from_secs(2);
/// A program that is found stopped is started again so many times: supervisord may have been restarted.
const MAX_TRIES: u8 = 3;
/// For putting servers back.
const RESTORE_TIMEOUT: Duration = Duration::from_secs(10);

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

    fn drain(&self, scene: &Scene<'_>, actions: &mut Vec<Action>) -> Option<Phase> {
        scene.ensure(AdminState::Drain, actions);
        let over = self.for_how_long(scene.now) >= scene.terms.drain_timeout.mul_f64(DRAIN_SHARE);
        (over || scene.is_drained()).then_some(Phase::Parting { shut_down: None })
    }

    fn part(
        &mut self,
        scene: &Scene<'_>,
        shut_down: Option<Instant>,
        actions: &mut Vec<Action>,
    ) -> Option<Phase> {
        scene.ensure(AdminState::Maint, actions);
        let waited = self.elapsed(scene.now);
        let parted = scene.holds_everywhere(Held::Maint);
        if parted && scene.is_idle() {
            return Some(self.parted(scene, waited));
        }
        if waited < scene.terms.drain_timeout {
            return None;
        }
        if !parted {
            let settling = self.for_how_long(scene.now) < SETTLE;
            return (!settling).then(|| Phase::Restoring(Ending::Failed(scene.why_not(Held::Maint))));
        }
        match shut_down {
            None if scene.terms.shutdown_sessions => {
                scene.shut_down_sessions(actions);
                self.phase = Phase::Parting { shut_down: Some(scene.now) };
                None
            }
            Some(at) if scene.now < at + SHUTDOWN_GRACE => None,
            _ => {
                let load = scene.sight.load(scene.servers);
                self.remarks.push(format!("{load} left after {:?}", scene.terms.drain_timeout));
                Some(self.parted(scene, waited))
            }
        }
    }

    fn parted(&mut self, scene: &Scene<'_>, waited: Duration) -> Phase {
        self.timings.drain = Some(waited);
        let pid = scene.sight.process(&self.member.program).and_then(|details| details.info.pid);
        Phase::Stopping { sent: None, pid }
    }

    fn stop(
        &mut self,
        scene: &Scene<'_>,
        sent: Option<Instant>,
        pid: Option<Pid>,
        actions: &mut Vec<Action>,
    ) -> Option<Phase> {
        scene.ensure(AdminState::Maint, actions);
        if let Ok(processes) = &scene.sight.processes {
            let Some(details) = processes.get(&self.member.program) else { return Some(self.vanished()) };
            let replaced =
                sent.is_some() && pid.is_some() && details.info.pid.is_some_and(|now| Some(now) != pid);
            if replaced && scene.terms.verb == Verb::Restart {
                // supervisord was restarted, or somebody was faster: a new process is a new process.
                return Some(Phase::Starting { sent: true, tries: 0, quiet: None });
            }
            if is_gone(details, scene.terms.verb) {
                return Some(self.stopped(scene));
            }
            let repeat = sent.is_none_or(|sent| scene.now >= sent + REPEAT);
            if repeat && details.info.state != ProcessState::Stopping && self.may_call(scene.now) {
                actions.push(Action::Stop(self.member.program.clone()));
                self.phase = Phase::Stopping { sent: Some(scene.now), pid };
            }
        }
        (self.for_how_long(scene.now) >= scene.terms.stop_timeout).then(|| self.not_stopped(scene))
    }

    fn stopped(&mut self, scene: &Scene<'_>) -> Phase {
        self.timings.stop = Some(self.for_how_long(scene.now));
        match scene.terms.verb {
            Verb::Stop => Phase::Over(Ending::Done),
            Verb::Restart | Verb::Start => Phase::Starting { sent: false, tries: 0, quiet: None },
        }
    }

    fn not_stopped(&self, scene: &Scene<'_>) -> Phase {
        let state = scene.sight.state(&self.member.program);
        let within = scene.terms.stop_timeout;
        Phase::Over(Ending::Failed(format!(
            "not stopped within {within:?} ({state}); supervisord kills it after its `stopwaitsecs`; its servers \
             stay in maint until it runs again"
        )))
    }

    fn start(
        &mut self,
        scene: &Scene<'_>,
        sent: bool,
        tries: u8,
        quiet: Option<Instant>,
        actions: &mut Vec<Action>,
    ) -> Option<Phase> {
        scene.ensure(AdminState::Maint, actions);
        if let Ok(processes) = &scene.sight.processes {
            let Some(details) = processes.get(&self.member.program) else { return Some(self.vanished()) };
            match details.info.state {
                ProcessState::Running => return Some(self.running(scene)),
                ProcessState::Starting | ProcessState::Backoff => {
                    self.phase = Phase::Starting { sent: true, tries, quiet: None };
                }
                ProcessState::Stopping => {}
                ProcessState::Fatal if sent => return Some(died(details)),
                _ if !sent => self.send_start(scene, tries, actions),
                _ => return self.found_stopped(scene.now, details, tries, quiet),
            }
        }
        self.is_late(scene).then(|| Phase::Over(Ending::Failed(self.not_up(scene))))
    }

    fn send_start(&mut self, scene: &Scene<'_>, tries: u8, actions: &mut Vec<Action>) {
        if self.may_call(scene.now) {
            actions.push(Action::Start(self.member.program.clone()));
            self.phase = Phase::Starting { sent: true, tries: tries + 1, quiet: None };
        }
    }

    /// It was started, and there is no process: supervisord may have been restarted, or be about to start it.
    fn found_stopped(
        &mut self,
        now: Instant,
        details: &ProcessDetails,
        tries: u8,
        quiet: Option<Instant>,
    ) -> Option<Phase> {
        let since = quiet.unwrap_or(now);
        if now < since + RESTART_GRACE {
            self.phase = Phase::Starting { sent: true, tries, quiet: Some(since) };
            None
        } else if tries < MAX_TRIES && details.info.state == ProcessState::Stopped {
            self.phase = Phase::Starting { sent: false, tries, quiet: None };
            None
        } else {
            Some(died(details))
        }
    }

    fn running(&mut self, scene: &Scene<'_>) -> Phase {
        self.timings.start = Some(self.for_how_long(scene.now));
        if scene.terms.probe { Phase::Probing } else { Phase::Rising }
    }

    fn probe(&mut self, scene: &Scene<'_>, actions: &mut Vec<Action>) -> Option<Phase> {
        scene.ensure(AdminState::Maint, actions);
        if let Some(next) = self.no_longer_running(scene) {
            return Some(next);
        }
        if let Some(Ok(())) = scene.sight.probes.get(&self.member.program) {
            return Some(Phase::Rising);
        }
        actions.push(Action::Probe(self.member.program.clone()));
        self.is_late(scene).then(|| Phase::Over(Ending::Failed(self.not_up(scene))))
    }

    fn rise(&mut self, scene: &Scene<'_>, actions: &mut Vec<Action>) -> Option<Phase> {
        if let Some(next) = self.no_longer_running(scene) {
            if matches!(next, Phase::Over(_)) {
                scene.ensure(AdminState::Maint, actions);
            }
            return Some(next);
        }
        scene.ensure(AdminState::Ready, actions);
        if scene.is_up() {
            self.timings.up = Some(self.for_how_long(scene.now));
            self.remarks.extend(scene.held_by());
            return Some(Phase::Over(Ending::Done));
        }
        self.is_late(scene).then(|| Phase::Over(Ending::Failed(self.not_up(scene))))
    }

    fn no_longer_running(&self, scene: &Scene<'_>) -> Option<Phase> {
        let processes = scene.sight.processes.as_ref().ok()?;
        let Some(details) = processes.get(&self.member.program) else { return Some(self.vanished()) };
        match details.info.state {
            ProcessState::Running | ProcessState::Starting => None,
            // Not by itself: supervisord was restarted, or somebody has stopped it.
            ProcessState::Stopped | ProcessState::Stopping => {
                Some(Phase::Starting { sent: true, tries: MAX_TRIES - 1, quiet: None })
            }
            _ => Some(died(details)),
        }
    }

    fn restore(&mut self, scene: &Scene<'_>, ending: Ending, actions: &mut Vec<Action>) -> Option<Phase> {
        if scene.put_back(&self.before, actions) {
            return Some(Phase::Over(ending));
        }
        if self.for_how_long(scene.now) < RESTORE_TIMEOUT {
            return None;
        }
        let why = match ending {
            Ending::Failed(why) => format!("{why}; its servers could not be put back as they were"),
            _ => "its servers could not be put back as they were".to_owned(),
        };
        Some(Phase::Over(Ending::Failed(why)))
    }

    fn may_call(&self, now: Instant) -> bool {
        self.not_before.is_none_or(|at| now >= at)
    }

    fn is_late(&self, scene: &Scene<'_>) -> bool {
        self.started.is_some_and(|started| scene.now >= started + scene.terms.up_timeout)
    }

    fn not_up(&self, scene: &Scene<'_>) -> String {
        let within = scene.terms.up_timeout;
        let program = &self.member.program;
        match (&self.phase, scene.sight.probes.get(program)) {
            (Phase::Probing, result) => {
                let why = result.and_then(|result| result.as_ref().err()).map_or("not asked", String::as_str);
                format!("its probe did not succeed within {within:?}: {why}")
            }
            (Phase::Rising, _) => {
                let statuses = scene.sight.statuses(scene.servers);
                format!("RUNNING, but not up within {within:?}: {statuses}")
            }
            _ => format!("not RUNNING within {within:?}: {}", scene.sight.state(program)),
        }
    }

    fn vanished(&self) -> Phase {
        Phase::Over(Ending::Failed(format!("supervisord has no program `{}`", self.member.program)))
    }
}

fn died(details: &ProcessDetails) -> Phase {
    let state = details.info.state;
    let why = match (details.spawn_error.is_empty(), state) {
        (false, _) => format!(": {}", details.spawn_error),
        (true, ProcessState::Exited) => format!(" with exit status {}", details.exit_status),
        (true, _) => String::new(),
    };
    Phase::Over(Ending::Failed(format!("{state} after its start{why}; its servers are in maint")))
}

/// Whether its process is gone for good. After EXITED, supervisord may start it again by itself; then it has to
/// be stopped once more.
fn is_gone(details: &ProcessDetails, verb: Verb) -> bool {
    match details.info.state {
        ProcessState::Stopped | ProcessState::Fatal => true,
        ProcessState::Exited => {
            verb == Verb::Restart || details.downtime().is_some_and(|since| since >= RESTART_GRACE)
        }
        _ => false,
    }
}
