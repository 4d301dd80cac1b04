//! What the monitor publishes: one value, whole, that nobody changes any more.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::recovery::{Attempt, Outcome, Verdict};
use super::{Judgement, Reading, Status};
use crate::agent::Circuit;

/// All that is known of HAProxy at one moment.
#[derive(Debug, Default)]
pub struct Health {
    /// How it fares.
    pub judgement: Judgement,
    /// The breaker before it.
    pub circuit: CircuitView,
    /// The last time it was asked.
    pub check: Option<Check>,
    /// What it told then; nothing where it did not answer.
    pub reading: Option<Arc<Reading>>,
    /// Errors a second since the check before; none where there is nothing to compare.
    pub error_rate: Option<f64>,
    /// Whether the container runs that HAProxy is in; none without one.
    pub container_running: Option<bool>,
    /// Whether HAProxy takes its configuration's files, as they are now; none without files, or before the first look.
    pub configuration_valid: Option<bool>,
    /// What was done about it.
    pub recovery: RecoveryView,
    /// What was counted since the start.
    pub counters: Counters,
    /// Routes that there are; none where nobody knows of any.
    pub routes: Option<RouteCount>,
    /// HAProxy's own metrics as text, made when they are asked for.
    pub exposition: OnceLock<Arc<[u8]>>,
}

/// How many routes there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteCount {
    /// So many.
    Known(usize),
    /// Their files cannot be understood.
    Unknown,
}

impl Health {
    /// Whether HAProxy did so when it was asked last, and may be asked.
    #[must_use]
    pub fn answers(&self) -> bool {
        self.reading.is_some() && self.circuit.allows().is_ok()
    }

    /// How many routes there are: those of the table where there is one, and otherwise HAProxy's backends.
    #[must_use]
    pub fn route_count(&self) -> Option<usize> {
        match self.routes {
            Some(RouteCount::Known(count)) => Some(count),
            Some(RouteCount::Unknown) => None,
            None => self.reading.as_ref().map(|reading| reading.backends()),
        }
    }
}

/// The breaker, for those who look at it.
#[derive(Clone, Debug)]
pub struct CircuitView {
    /// What it lets through.
    pub circuit: Circuit,
    /// Failures in a row.
    pub failures: u32,
    /// Failures that open it.
    pub threshold: u32,
    /// When it became what it is.
    pub changed: Option<Timestamp>,
    /// When HAProxy last gave no answer.
    pub last_failure: Option<Timestamp>,
    /// When HAProxy is asked again, where it is left alone.
    pub retry_at: Option<Instant>,
}

impl CircuitView {
    /// Whether HAProxy may be asked by others than the monitor, whose one try decides about a circuit that is half open.
    /// Otherwise it gives when it may be, where that is known.
    pub fn allows(&self) -> Result<(), Option<Instant>> {
        if self.circuit == Circuit::Closed { Ok(()) } else { Err(self.retry_at) }
    }
}

impl Default for CircuitView {
    fn default() -> Self {
        Self {
            circuit: Circuit::Closed,
            failures: 0,
            threshold: 0,
            changed: None,
            last_failure: None,
            retry_at: None,
        }
    }
}

/// One question and what came of it.
#[derive(Clone, Debug)]
pub struct Check {
    /// When it ended.
    pub at: Timestamp,
    /// What was made of it.
    pub status: Status,
    /// Whether a process is there, where that can be told.
    pub process_running: Option<bool>,
    /// Why there was no whole answer; none where there was one.
    pub error: Option<String>,
    /// How long it took.
    pub took: Duration,
}

/// What was done about an HAProxy that did not answer.
#[derive(Clone, Debug, Default)]
pub struct RecoveryView {
    /// What a recovery does, in words; none where there is none.
    pub action: Option<String>,
    /// The last attempts, the oldest first.
    pub attempts: Vec<Attempt<Timestamp>>,
    /// How many there were.
    pub count: u64,
    /// What is to be done next, as of then.
    pub verdict: Option<Verdict>,
}

/// What was counted since the start.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// Checks by what they found; those that the breaker kept from being made stand under `left_alone`.
    pub checks: BTreeMap<&'static str, u64>,
    /// Changes of servers between two checks, by what they became.
    pub transitions: BTreeMap<&'static str, u64>,
    /// Changes of the circuit, by what it became.
    pub circuits: BTreeMap<&'static str, u64>,
    /// Attempts of recovery, by how they ended.
    pub recoveries: BTreeMap<&'static str, u64>,
}

/// A recovery that was asked for has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ordered {
    /// In one way or another.
    Ended(Outcome),
    /// It did not begin.
    Refused(Refused),
}

/// Why nothing was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Nobody said how HAProxy is restarted.
    NotConfigured,
    /// The hour has had its restarts; there may be one after this long.
    Exhausted(Duration),
    /// Somebody else has asked for one.
    Busy,
}
