//! The way in: start, probe, rise.

use std::time::Instant;

use super::{Course, Ending, Phase, RESTART_GRACE, Scene};
use crate::agent::rollout::Action;
use crate::haproxy::AdminState;
use crate::supervisor::{ProcessDetails, ProcessState};

/// A program that is found stopped is started again so many times: supervisord may have been restarted.
const MAX_TRIES: u8 = 3;

impl Course {
    pub(super) fn start(
        &mut self,
        scene: &Scene<'_>,
        sent: bool,
        tries: u8,
        quiet: Option<Instant>,
        actions: &mut Vec<Action>,
    ) -> Option<Phase> {
        if let Ok(processes) = &scene.sight.processes {
            let Some(details) = processes.get(&self.member.program) else { return Some(self.vanished()) };
            self.keep_out(scene, details.info.state, actions);
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

    /// What has no process, or was not probed, is in maint. But a listener may have heard of RUNNING after supervisord was
    /// asked here and before HAProxy was: only what two looks show is nobody's doing.
    fn keep_out(&mut self, scene: &Scene<'_>, state: ProcessState, actions: &mut Vec<Action>) {
        let mut due = Vec::new();
        scene.ensure(AdminState::Maint, &mut due);
        let was_open = std::mem::replace(&mut self.was_open, !due.is_empty());
        let is_due = match state {
            _ if scene.terms.probe => true,
            ProcessState::Running => false,
            ProcessState::Starting | ProcessState::Backoff => was_open,
            _ => true,
        };
        if is_due {
            actions.extend(due);
        }
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

    pub(super) fn probe(&mut self, scene: &Scene<'_>, actions: &mut Vec<Action>) -> Option<Phase> {
        scene.ensure(AdminState::Maint, actions);
        if let Some(next) = self.no_longer_running(scene) {
            return Some(next);
        }
        if let Some(Ok(())) = scene.sight.probes.get(&self.member.program) {
            return Some(Phase::Rising);
        }
        if self.is_late(scene) {
            let why = self.not_up(scene);
            // The listener takes RUNNING for ready, and HAProxy may have no check that would tell.
            actions.push(Action::Hold(self.member.servers.clone(), why.clone()));
            let state = "its servers stay in maint, and where a listener runs, held: `release` lets them in";
            return Some(Phase::Over(Ending::Failed(format!("{why}; {state}"))));
        }
        actions.push(Action::Probe(self.member.program.clone()));
        None
    }

    pub(super) fn rise(&mut self, scene: &Scene<'_>, actions: &mut Vec<Action>) -> Option<Phase> {
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
