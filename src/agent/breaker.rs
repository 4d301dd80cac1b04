//! The circuit breaker of one HAProxy: when a peer does not answer, it is left alone for a while.

use std::fmt;
use std::time::{Duration, Instant};

/// When to give up and when to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerSettings {
    /// Failures in a row that open the circuit; at least 1.
    pub threshold: u32,
    /// How long it stays open before one try is let through.
    pub reset: Duration,
}

/// Closed: all is tried, with a growing pause after a failure. Open: nothing is. Half-open: one try decides.
#[derive(Clone, Debug)]
pub struct Breaker {
    settings: BreakerSettings,
    state: State,
    failures: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed { retry_at: Option<Instant> },
    Open { until: Instant },
    HalfOpen,
}

/// What a breaker lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Circuit {
    /// Everything.
    Closed,
    /// Nothing.
    Open,
    /// One try, which decides.
    HalfOpen,
}

impl Circuit {
    /// As monitoring systems write it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Closed => "CLOSED",
            Self::Open => "OPEN",
            Self::HalfOpen => "HALF_OPEN",
        }
    }
}

/// A change to tell the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerChange {
    /// Closed to open.
    Opened {
        /// Failures in a row.
        failures: u32,
        /// Until the next try.
        retry_in: Duration,
    },
    /// The pause is over.
    HalfOpened,
    /// The try failed.
    Reopened {
        /// Until the next try.
        retry_in: Duration,
    },
    /// The try succeeded.
    Closed,
}

/// The first pause after a failure while the circuit is closed; doubled with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

impl Breaker {
    /// A closed breaker.
    #[must_use]
    pub fn new(settings: BreakerSettings) -> Self {
        Self { settings, state: State::Closed { retry_at: None }, failures: 0 }
    }

    /// Whether something may be tried now.
    #[must_use]
    pub fn allows(&self, now: Instant) -> bool {
        self.wake_at().is_none_or(|at| now >= at)
    }

    /// When something may be tried again; `None` when it may be tried at once.
    #[must_use]
    pub fn wake_at(&self) -> Option<Instant> {
        match self.state {
            State::Closed { retry_at } => retry_at,
            State::Open { until } => Some(until),
            State::HalfOpen => None,
        }
    }

    /// Whether the peer is being left alone or only just tried again.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed { .. })
    }

    /// What it lets through.
    #[must_use]
    pub fn circuit(&self) -> Circuit {
        match self.state {
            State::Closed { .. } => Circuit::Closed,
            State::Open { .. } => Circuit::Open,
            State::HalfOpen => Circuit::HalfOpen,
        }
    }

    /// Failures since the last success.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// A try begins.
    pub fn begin(&mut self) -> Option<BreakerChange> {
        let opened = matches!(self.state, State::Open { .. });
        if opened {
            self.state = State::HalfOpen;
        }
        opened.then_some(BreakerChange::HalfOpened)
    }

    /// The peer answered, whatever it said.
    pub fn succeeded(&mut self) -> Option<BreakerChange> {
        let was_closed = self.is_closed();
        self.state = State::Closed { retry_at: None };
        self.failures = 0;
        (!was_closed).then_some(BreakerChange::Closed)
    }

    /// The peer did not answer.
    pub fn failed(&mut self, now: Instant) -> Option<BreakerChange> {
        self.failures = self.failures.saturating_add(1);
        let retry_in = self.settings.reset;
        match self.state {
            State::Closed { .. } if self.failures < self.settings.threshold => {
                self.state = State::Closed { retry_at: Some(now + self.pause()) };
                None
            }
            State::Closed { .. } => {
                self.state = State::Open { until: now + retry_in };
                Some(BreakerChange::Opened { failures: self.failures, retry_in })
            }
            State::Open { .. } | State::HalfOpen => {
                self.state = State::Open { until: now + retry_in };
                Some(BreakerChange::Reopened { retry_in })
            }
        }
    }

    fn pause(&self) -> Duration {
        let doublings = self.failures.saturating_sub(1).min(16);
        FIRST_PAUSE.saturating_mul(1 << doublings).min(self.settings.reset)
    }
}

impl fmt::Display for BreakerChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opened { failures, retry_in } => {
                write!(f, "circuit breaker open after {failures} failures; next try in {retry_in:?}")
            }
            Self::HalfOpened => f.write_str("circuit breaker half-open: trying once"),
            Self::Reopened { retry_in } => write!(f, "circuit breaker open again; next try in {retry_in:?}"),
            Self::Closed => f.write_str("circuit breaker closed: HAProxy answers again"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: BreakerSettings = BreakerSettings { threshold: 3, reset: Duration::from_secs(5) };

    #[test]
    fn it_opens_at_the_threshold_and_closes_after_one_good_try() {
        let start = Instant::now();
        let mut breaker = Breaker::new(SETTINGS);
        assert!(breaker.allows(start));

        assert_eq!(breaker.failed(start), None);
        assert!(!breaker.allows(start) && breaker.allows(start + Duration::from_millis(50)));
        assert_eq!(breaker.failed(start), None);
        assert!(!breaker.allows(start + Duration::from_millis(99)));
        assert!(breaker.allows(start + Duration::from_millis(100)));
        let retry_in = SETTINGS.reset;
        assert_eq!(breaker.failed(start), Some(BreakerChange::Opened { failures: 3, retry_in }));
        assert!(!breaker.allows(start + Duration::from_millis(4999)) && !breaker.is_closed());

        let later = start + SETTINGS.reset;
        assert!(breaker.allows(later));
        assert_eq!((breaker.circuit(), breaker.failures()), (Circuit::Open, 3));
        assert_eq!(breaker.begin(), Some(BreakerChange::HalfOpened));
        assert_eq!(breaker.circuit(), Circuit::HalfOpen);
        assert_eq!(breaker.failed(later), Some(BreakerChange::Reopened { retry_in }));
        assert!(!breaker.allows(later));

        assert_eq!(breaker.begin(), Some(BreakerChange::HalfOpened));
        assert_eq!(breaker.succeeded(), Some(BreakerChange::Closed));
        assert!(breaker.is_closed() && breaker.allows(later));
        assert_eq!((breaker.circuit(), breaker.failures()), (Circuit::Closed, 0));
        assert_eq!(breaker.failed(later), None, "the count starts anew");
    }

    #[test]
    fn the_pause_never_exceeds_the_reset_time() {
        let settings = BreakerSettings { threshold: u32::MAX, reset: Duration::from_secs(1) };
        let mut breaker = Breaker::new(settings);
        let now = Instant::now();
        for _ in 0..100 {
            breaker.failed(now);
        }
        assert!(breaker.allows(now + settings.reset));
    }
}
