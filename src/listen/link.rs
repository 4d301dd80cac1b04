//! One HAProxy: performs what its reconciler decides, one exchange at a time, and reports what its surveys
//! show.

use std::sync::Arc;
use std::time::{Duration, Instant};

use log::{debug, info, log, warn};
use mio::{Registry, Token, Waker};

use super::Settings;
use super::tally::LinkTally;
use crate::agent::{Answer, Note, Reconciler, Step, Trouble, Wanted, Wish};
use crate::haproxy::{Info, ServerRef, Survey};
use crate::net::{Caller, Endpoint, Limits, Outcome, Question};
use crate::watch::{Identity, Observed, Transition, Transitions};

/// The largest reply that is taken: `show stat` of 100,000 servers has 25 MB.
const MAX_REPLY: usize = 64 * 1024 * 1024;

/// After this long, an answer to supervisord waits for HAProxy no longer.
pub(super) const PATIENCE: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(super) struct Link {
    name: String,
    caller: Caller,
    limits: Limits,
    dry_run: bool,
    report_all: bool,
    reconciler: Reconciler,
    under_way: Option<Step>,
    identity: Identity,
    transitions: Transitions,
    warned_of_processes: bool,
    tally: LinkTally,
}

impl Link {
    pub(super) fn new(
        endpoint: &Endpoint,
        settings: &Settings,
        now: Instant,
        token: Token,
        waker: Arc<Waker>,
    ) -> Self {
        Self {
            name: format!("haproxy {endpoint}"),
            caller: Caller::new(endpoint.clone(), token, waker),
            limits: Limits { time: settings.timeout, bytes: MAX_REPLY },
            dry_run: settings.reconciler.dry_run,
            report_all: settings.report_all,
            reconciler: Reconciler::new(now, settings.reconciler),
            under_way: None,
            identity: Identity::default(),
            transitions: Transitions::default(),
            warned_of_processes: false,
            tally: LinkTally::new(&endpoint.to_string()),
        }
    }

    pub(super) fn want(&mut self, wish: &Wish) {
        debug!("{}: `{}` should be {}", self.name, wish.server, wish.state);
        self.tally.want(Instant::now(), &wish.server, wish.state);
        self.reconciler.want(wish);
    }

    /// Leaves a server as it is.
    pub(super) fn forget(&mut self, server: &ServerRef) {
        self.tally.forget(server);
        self.reconciler.forget(server);
    }

    /// Tells everything again, and looks what HAProxy makes of it.
    pub(super) fn resync(&mut self, now: Instant) {
        self.reconciler.reapply(now);
        self.reconciler.survey_now(now);
    }

    /// Begins what is due, until an exchange is under way or nothing is.
    pub(super) fn start(&mut self, now: Instant, registry: &Registry, wanted: &Wanted) {
        while self.under_way.is_none()
            && let Some(step) = self.reconciler.next(now)
        {
            let note = self.reconciler.begin();
            self.tell(note);
            if let Some(result) = self.perform(&step, now, registry) {
                self.finish(now, &step, result, wanted);
            } else {
                self.under_way = Some(step);
            }
        }
    }

    fn perform(&mut self, step: &Step, now: Instant, registry: &Registry) -> Option<Result<Answer, Trouble>> {
        let command = step.command();
        if self.dry_run && matches!(step, Step::Set { .. }) {
            info!("{}: dry run, not sent: {command}", self.name);
            return Some(Ok(Answer::Done));
        }
        let request = command.line().into_bytes();
        let question = Question { request, limits: self.limits, ..Question::default() };
        self.caller.call(question, now, registry).map(|outcome| understand(step, outcome))
    }

    /// Goes on after its token was reported, its deadline has passed or a name was resolved.
    pub(super) fn advance(&mut self, now: Instant, registry: &Registry, wanted: &Wanted) {
        if let Some(outcome) = self.caller.advance(now, registry)
            && let Some(step) = self.under_way.take()
        {
            self.finish(now, &step, understand(&step, outcome), wanted);
        }
    }

    fn finish(&mut self, now: Instant, step: &Step, result: Result<Answer, Trouble>, wanted: &Wanted) {
        if let Ok(Answer::Survey(survey)) = &result {
            self.report(now, survey, wanted);
        }
        let dry = self.dry_run && matches!(step, Step::Set { .. });
        if !dry {
            self.tally.command(step, &result);
        }
        let notes = self.reconciler.finish(now, step, result);
        let taken = Instant::now();
        for note in &notes {
            self.tally.note(taken, note);
        }
        self.tell(notes.into_iter().filter(|note| !(dry && matches!(note, Note::Told { .. }))));
    }

    fn report(&mut self, now: Instant, survey: &Survey, wanted: &Wanted) {
        if survey.info.stopping {
            return;
        }
        self.recognize(now, &survey.info);
        if survey.info.processes > 1 && !std::mem::replace(&mut self.warned_of_processes, true) {
            warn!(
                "{}: {} processes share this socket and answer in turn; give each its own (`stats socket … process N`) \
                 and name them all",
                self.name, survey.info.processes
            );
        }
        for transition in self.transitions.observe(now, &survey.rows) {
            if self.report_all || wanted.has_server(&transition.server) {
                self.tally.transition(transition.to.kind);
                self.tell_transition(&transition);
            }
        }
    }

    fn recognize(&mut self, now: Instant, info: &Info) {
        match self.identity.observe(now, info) {
            Observed::Same => {}
            Observed::First => info!("{}: HAProxy {} answers", self.name, shown(info.version.as_ref())),
            Observed::Other { from, to } => {
                let (from, to) = (shown(from), shown(to));
                info!(
                    "{}: HAProxy was restarted or reloaded (pid {from}, now {to}); setting all states again",
                    self.name
                );
                self.reconciler.reapply(now);
            }
        }
    }

    fn tell_transition(&self, transition: &Transition) {
        log!(
            if transition.is_failure() { log::Level::Warn } else { log::Level::Info },
            haproxy = self.name.as_str(),
            server:% = transition.server,
            from:% = transition.from,
            to:% = transition.to,
            check = &*transition.check,
            text = &*transition.text,
            lasted = transition.lasted.as_secs();
            "{}: {transition}", self.name
        );
    }

    fn tell(&self, notes: impl IntoIterator<Item = Note>) {
        for note in notes {
            log!(note.level(), "{}: {note}", self.name);
        }
    }

    /// Whether an answer to supervisord needs no longer to wait for these servers.
    pub(super) fn has_tried(&self, now: Instant, servers: &[ServerRef]) -> bool {
        let is_slow = self.caller.begun().is_some_and(|begun| now >= begun + PATIENCE);
        is_slow || servers.iter().all(|server| self.reconciler.has_tried(now, server))
    }

    /// What was counted, and how things stand.
    pub(super) fn account(&self) -> (&LinkTally, &Reconciler) {
        (&self.tally, &self.reconciler)
    }

    /// Whether HAProxy has taken all that is wanted.
    pub(super) fn is_settled(&self) -> bool {
        self.reconciler.is_settled()
    }

    /// What HAProxy has not taken, in words.
    pub(super) fn leftovers(&self) -> Vec<String> {
        let pending = self.reconciler.pending();
        pending.map(|(server, state)| format!("{}: `{server}` was not set to {state}", self.name)).collect()
    }

    /// When to call [`Self::advance`] or [`Self::start`] at the latest.
    pub(super) fn due_at(&self) -> Option<Instant> {
        if self.caller.is_idle() { self.reconciler.due_at() } else { self.caller.deadline() }
    }
}

fn shown(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "?".to_owned(), |value| value.to_string())
}

fn understand(step: &Step, outcome: Outcome) -> Result<Answer, Trouble> {
    match outcome {
        Ok(reply) => step.read(&reply),
        Err(fault) => Err(Trouble::Silence(fault.to_string())),
    }
}
