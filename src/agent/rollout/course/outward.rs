//! The way out: drain, part, stop; and back, where nothing was stopped.

use std::time::{Duration, Instant};

use super::{Course, Ending, Phase, RESTART_GRACE, Scene};
use crate::agent::rollout::{Action, Verb};
use crate::haproxy::{AdminState, Held};
use crate::supervisor::{Pid, ProcessDetails, ProcessState};

/// Of the time for draining, this much is for persistent sessions to come and go; the rest is for the end of
/// those that are under way when no more are let in.
const DRAIN_SHARE: f64 = 0.75;
/// What was set shows at the next look; a state that does not within this time was set by somebody else.
const SETTLE: Duration = Duration::from_secs(2);
/// HAProxy closes sessions a moment after it was told to.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);
/// supervisord has said yes and shows no sign of it: it is asked again.
const REPEAT: Duration = Duration::from_secs(2);
/// For putting servers back.
const RESTORE_TIMEOUT: Duration = Duration::from_secs(10);

impl Course {
    pub(super) fn drain(&self, scene: &Scene<'_>, actions: &mut Vec<Action>) -> Option<Phase> {
        scene.ensure(AdminState::Drain, actions);
        let over = self.for_how_long(scene.now) >= scene.terms.drain_timeout.mul_f64(DRAIN_SHARE);
        (over || scene.is_drained()).then_some(Phase::Parting { shut_down: None })
    }

    pub(super) fn part(
        &mut self,
        scene: &Scene<'_>,
        shut_down: Option<Instant>,
        actions: &mut Vec<Action>,
    ) -> Option<Phase> {
        scene.ensure(AdminState::Maint, actions);
        let waited = self.elapsed(scene.now);
        let parted = scene.holds_everywhere(Held::Maint);
        if parted && scene.is_idle() {
            return Some(self.parted(waited));
        }
        if waited < scene.terms.drain_timeout {
            return None;
        }
        if parted {
            return self.part_from_the_rest(scene, shut_down, waited, actions);
        }
        // The time may have been too short for a single look at what was set.
        let settling = self.for_how_long(scene.now) < SETTLE;
        (!settling).then(|| Phase::Restoring(Ending::Failed(scene.why_not(Held::Maint))))
    }

    /// The time is over, and sessions are left.
    fn part_from_the_rest(
        &mut self,
        scene: &Scene<'_>,
        shut_down: Option<Instant>,
        waited: Duration,
        actions: &mut Vec<Action>,
    ) -> Option<Phase> {
        match shut_down {
            None if scene.terms.shutdown_sessions => {
                scene.shut_down_sessions(actions);
                let load = scene.sight.load(scene.servers);
                self.remarks.push(format!("{load} closed after {:?}", scene.terms.drain_timeout));
                self.phase = Phase::Parting { shut_down: Some(scene.now) };
                None
            }
            Some(at) if scene.now < at + SHUTDOWN_GRACE => None,
            _ => {
                let load = scene.sight.load(scene.servers);
                self.remarks.push(format!("{load} left after {:?}", scene.terms.drain_timeout));
                Some(self.parted(waited))
            }
        }
    }

    fn parted(&mut self, waited: Duration) -> Phase {
        self.timings.drain = Some(waited);
        Phase::Stopping { sent: None, pid: None }
    }

    pub(super) fn stop(
        &mut self,
        scene: &Scene<'_>,
        sent: Option<Instant>,
        pid: Option<Pid>,
        actions: &mut Vec<Action>,
    ) -> Option<Phase> {
        scene.ensure(AdminState::Maint, actions);
        if let Ok(processes) = &scene.sight.processes {
            let Some(details) = processes.get(&self.member.program) else { return Some(self.vanished()) };
            let replaced = pid.is_some() && details.info.pid.is_some_and(|now| Some(now) != pid);
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
                self.phase = Phase::Stopping { sent: Some(scene.now), pid: details.info.pid };
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

    pub(super) fn restore(
        &mut self,
        scene: &Scene<'_>,
        ending: Ending,
        actions: &mut Vec<Action>,
    ) -> Option<Phase> {
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
