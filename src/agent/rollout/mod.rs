//! Restarting, stopping and starting programs without losing a request: which program is next, and how far
//! each has come. Everything is decided from what was seen last ([`Sight`]); the actions are carried out, and
//! the next sight taken, by [`crate::control`].
//!
//! What is wanted is asserted at each turn anew. So an HAProxy that was restarted in the middle and has
//! forgotten everything is told again, and so is a supervisord that did not hear.

mod admission;
mod course;
mod scene;

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use self::admission::{Admission, Room};
pub use self::course::{Course, Ending, Timings};
use super::{Holds, Member};
use crate::haproxy::{AdminState, Look, ServerRef};
use crate::supervisor::{ProcessDetails, ProcessName};

/// What is done to each program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Drain, stop, start, make ready.
    Restart,
    /// Drain, stop.
    Stop,
    /// Start, make ready.
    Start,
}

/// What the operator asks for.
#[derive(Clone, Copy, Debug)]
// Each is an option of the command line.
#[allow(clippy::struct_excessive_bools)]
pub struct Terms {
    /// What is done.
    pub verb: Verb,
    /// How many programs at a time; at least 1.
    pub batch: usize,
    /// How many servers of a backend that are up stay up.
    pub min_ready: usize,
    /// Whether to go on in spite of `min_ready` and of an HAProxy that does not answer.
    pub force: bool,
    /// Whether programs are still begun after one has failed.
    pub keep_going: bool,
    /// How long sessions may take to end.
    pub drain_timeout: Duration,
    /// Whether sessions that outlast it are closed by HAProxy before the stop.
    pub shutdown_sessions: bool,
    /// How long a program may take to stop; supervisord kills it after its own `stopwaitsecs`.
    pub stop_timeout: Duration,
    /// How long it may take from its start until HAProxy shows it up.
    pub up_timeout: Duration,
    /// Whether a probe has to succeed before a server gets traffic.
    pub probe: bool,
    /// Whether a server with health checks is DOWN until they pass.
    pub gate: bool,
}

/// What was seen of the peers at one moment; an error says, in words, why nothing was.
#[derive(Clone, Debug)]
pub struct Sight {
    /// All processes of supervisord.
    pub processes: Result<BTreeMap<ProcessName, ProcessDetails>, String>,
    /// Each HAProxy, always in the same order.
    pub looks: Vec<Result<Look, String>>,
    /// Servers that operators hold.
    pub holds: Holds,
    /// What the probes that were asked for gave.
    pub probes: BTreeMap<ProcessName, Result<(), String>>,
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Set a server's state.
    Set {
        /// Number of the HAProxy in [`Sight::looks`].
        haproxy: usize,
        /// Which server.
        server: ServerRef,
        /// Its new state.
        state: AdminState,
        /// See [`crate::haproxy::Command::SetState`].
        gate: bool,
    },
    /// Close a server's sessions.
    ShutdownSessions {
        /// Number of the HAProxy.
        haproxy: usize,
        /// Which server.
        server: ServerRef,
    },
    /// Tell the listener that these servers are in our hands, and not to be more available than this.
    Claim(Vec<ServerRef>, AdminState),
    /// Give them back to it.
    Unclaim(Vec<ServerRef>),
    /// Have the listener keep these servers in maint, and why.
    Hold(Vec<ServerRef>, String),
    /// Stop a program, without waiting.
    Stop(ProcessName),
    /// Start a program, without waiting.
    Start(ProcessName),
    /// See whether a program answers; the result is in the next [`Sight::probes`].
    Probe(ProcessName),
}

/// How an action failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It may succeed when it is tried again; in words.
    Passing(String),
    /// It never will; in words.
    Permanent(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Passing(text) | Self::Permanent(text)) = self;
        f.write_str(text)
    }
}

/// Several programs on their way.
#[derive(Debug)]
pub struct Rollout {
    terms: Terms,
    courses: Vec<Course>,
    interrupted: bool,
    /// When all peers could be seen last.
    seen_all: Option<Instant>,
}

/// A peer that was there before and is not any more is waited for: it may be restarting.
const PATIENCE: Duration = Duration::from_secs(30);

/// How all of it ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Programs that went all the way.
    pub done: usize,
    /// Programs that did not.
    pub failed: usize,
    /// Programs that were refused.
    pub refused: usize,
    /// Programs that were not begun, or put back as they were.
    pub untouched: usize,
}

impl Rollout {
    /// Nothing is begun yet.
    #[must_use]
    pub fn new(now: Instant, terms: Terms, members: Vec<Member>) -> Self {
        let courses = members.into_iter().map(|member| Course::new(now, member)).collect();
        Self { terms, courses, interrupted: false, seen_all: None }
    }

    /// Goes on with every program, and begins further ones where there is room for them.
    pub fn advance(&mut self, now: Instant, sight: &Sight) -> Vec<Action> {
        let terms = self.terms;
        let under_way = self.courses.iter_mut().filter(|course| course.is_under_way());
        let mut actions: Vec<Action> =
            under_way.flat_map(|course| course.advance(now, sight, &terms)).collect();
        self.admit(now, sight, &mut actions);
        actions
    }

    fn admit(&mut self, now: Instant, sight: &Sight, actions: &mut Vec<Action>) {
        if sight.is_whole() {
            self.seen_all = Some(now);
        }
        let patient = self.seen_all.is_some_and(|at| now < at + PATIENCE);
        for next in 0..self.courses.len() {
            if self.has_failed() && !self.terms.keep_going {
                self.courses.iter_mut().for_each(Course::leave_untouched);
            }
            let admission = Admission::new(&self.terms, &self.courses, sight, patient);
            let Some(course) = self.courses.get_mut(next).filter(|course| course.is_waiting()) else {
                continue;
            };
            match admission.room_for(course.member()) {
                // It goes on a turn later: supervisord answers before it has told the listener.
                Room::Now => actions.extend(course.begin(now, sight, &self.terms)),
                // Whoever is behind it waits too: the order is the operator's.
                Room::Later => return,
                Room::Never(why) => course.refuse(why),
            }
        }
    }

    /// Why each program would be refused, if it was the first.
    #[must_use]
    pub fn refusals(&self, sight: &Sight) -> Vec<Option<String>> {
        let admission = Admission::new(&self.terms, &[], sight, false);
        let rooms = self.courses.iter().map(|course| admission.room_for(course.member()));
        rooms.map(|room| if let Room::Never(why) = room { Some(why) } else { None }).collect()
    }

    fn has_failed(&self) -> bool {
        self.courses
            .iter()
            .any(|course| matches!(course.ending(), Some(Ending::Failed(_) | Ending::Refused(_))))
    }

    /// Takes note of an action that [`Self::advance`] asked for and that has failed.
    pub fn failed(&mut self, now: Instant, action: &Action, failure: &Failure) {
        for course in self.courses.iter_mut().filter(|course| course.is_under_way()) {
            course.failed(now, action, failure);
        }
    }

    /// Begins nothing more, puts back what can be put back, and ends what cannot.
    pub fn interrupt(&mut self) {
        self.interrupted = true;
        self.courses.iter_mut().for_each(Course::interrupt);
    }

    /// Whether [`Self::interrupt`] was called.
    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        self.interrupted
    }

    /// Whether nothing is left to do.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.courses.iter().all(|course| course.ending().is_some())
    }

    /// All programs, in their order.
    #[must_use]
    pub fn courses(&self) -> &[Course] {
        &self.courses
    }

    /// How many ended in which way.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for course in &self.courses {
            *match course.ending() {
                Some(Ending::Done) => &mut tally.done,
                Some(Ending::Refused(_)) => &mut tally.refused,
                Some(Ending::Untouched | Ending::Restored) => &mut tally.untouched,
                Some(Ending::Failed(_)) | None => &mut tally.failed,
            } += 1;
        }
        tally
    }
}

#[cfg(test)]
mod tests;
