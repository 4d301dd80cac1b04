//! When HAProxy is restarted, and when it is left alone: pure, with `now` as a parameter. What a restart is made of is
//! in `action.rs`; `monitor.rs` performs it.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

/// When to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecoverySettings {
    /// After so many checks in a row that found it unhealthy; at least 1.
    pub after: u32,
    /// From the end of an attempt that did not help to the next; doubled with each further one.
    pub backoff: Duration,
    /// Restarts within an hour, whoever asked for them; at least 1.
    pub per_hour: usize,
}

/// The pause between two attempts grows no longer than this.
const LONGEST_BACKOFF: Duration = Duration::from_secs(15 * 60);
const HOUR: Duration = Duration::from_secs(60 * 60);
/// Attempts that are remembered for the documents.
const REMEMBERED: usize = 50;

/// Who wanted it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// So many checks in a row found HAProxy unhealthy.
    Unhealthy(u32),
    /// Somebody asked for it, with these words.
    Asked(Option<String>),
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// HAProxy answers again.
    Recovered,
    /// Nothing was restarted: HAProxy would not start with what its configuration is now.
    Invalid(String),
    /// The restart could not be done.
    Failed(String),
    /// The restart was done, and HAProxy does not answer.
    Silent(String),
}

impl Outcome {
    /// A word for machines.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Recovered => "recovered",
            Self::Invalid(_) => "invalid-configuration",
            Self::Failed(_) => "failed",
            Self::Silent(_) => "not-verified",
        }
    }

    /// What went wrong; empty where nothing did.
    #[must_use]
    pub fn why(&self) -> &str {
        match self {
            Self::Recovered => "",
            Self::Invalid(why) | Self::Failed(why) | Self::Silent(why) => why,
        }
    }

    /// Whether HAProxy was touched.
    fn has_restarted(&self) -> bool {
        !matches!(self, Self::Invalid(_))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recovered => f.write_str("HAProxy answers again"),
            Self::Invalid(why) => write!(f, "not restarted, as its configuration is not valid: {why}"),
            Self::Failed(why) => write!(f, "the restart failed: {why}"),
            Self::Silent(why) => write!(f, "restarted, but it does not answer: {why}"),
        }
    }
}

/// An attempt that has ended. `T` is the time of day, of which nothing is known here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt<T> {
    /// When it began.
    pub at: T,
    /// Who wanted it.
    pub cause: Cause,
    /// How it ended.
    pub outcome: Outcome,
    /// How long it took.
    pub took: Duration,
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing: it has not been unhealthy for long enough.
    Rest,
    /// Nothing before that moment, after an attempt that did not help.
    Backoff(Instant),
    /// Nothing before that moment: the hour has had its restarts.
    Exhausted(Instant),
    /// An attempt.
    Try,
}

/// What was tried, and when there may be more of it.
#[derive(Clone, Debug)]
pub struct Recovery<T> {
    settings: RecoverySettings,
    /// When each restart of the last hour began; no more than an hour may have.
    restarts: VecDeque<Instant>,
    fruitless: u32,
    not_before: Option<Instant>,
    attempts: VecDeque<Attempt<T>>,
    count: u64,
}

impl<T> Recovery<T> {
    /// Nothing was tried yet.
    #[must_use]
    pub fn new(settings: RecoverySettings) -> Self {
        Self {
            settings,
            restarts: VecDeque::new(),
            fruitless: 0,
            not_before: None,
            attempts: VecDeque::new(),
            count: 0,
        }
    }

    /// What is to be done after so many unhealthy checks in a row.
    #[must_use]
    pub fn verdict(&self, unhealthy: u32, now: Instant) -> Verdict {
        if unhealthy < self.settings.after {
            return Verdict::Rest;
        }
        match (self.not_before.filter(|at| now < *at), self.exhausted_until(now)) {
            (_, Some(until)) => Verdict::Exhausted(until),
            (Some(until), None) => Verdict::Backoff(until),
            (None, None) => Verdict::Try,
        }
    }

    /// Until when the hour has had its restarts; `None` where there may be one.
    #[must_use]
    pub fn exhausted_until(&self, now: Instant) -> Option<Instant> {
        let oldest = self.restarts.len().checked_sub(self.settings.per_hour)?;
        let until = *self.restarts.get(oldest)? + HOUR;
        (now < until).then_some(until)
    }

    /// An attempt has ended that began at `begun`.
    pub fn ended(&mut self, attempt: Attempt<T>, begun: Instant, now: Instant) {
        if attempt.outcome.has_restarted() {
            self.restarts.push_back(begun);
            while self.restarts.len() > self.settings.per_hour {
                self.restarts.pop_front();
            }
        }
        if attempt.outcome == Outcome::Recovered {
            (self.fruitless, self.not_before) = (0, None);
        } else {
            self.not_before = Some(now + self.pause());
            self.fruitless = self.fruitless.saturating_add(1);
        }
        self.count += 1;
        self.attempts.push_back(attempt);
        if self.attempts.len() > REMEMBERED {
            self.attempts.pop_front();
        }
    }

    /// Somebody has changed HAProxy's configuration: where that was the fault, there is no reason to wait any more.
    pub fn configuration_changed(&mut self) {
        if self.attempts.back().is_some_and(|last| matches!(last.outcome, Outcome::Invalid(_))) {
            (self.fruitless, self.not_before) = (0, None);
        }
    }

    /// The last ones, the oldest first.
    pub fn attempts(&self) -> impl Iterator<Item = &Attempt<T>> {
        self.attempts.iter()
    }

    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    fn pause(&self) -> Duration {
        self.settings.backoff.saturating_mul(1 << self.fruitless.min(16)).min(LONGEST_BACKOFF)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SETTINGS: RecoverySettings =
        RecoverySettings { after: 3, backoff: Duration::from_secs(10), per_hour: 4 };

    fn attempt(outcome: Outcome) -> Attempt<()> {
        Attempt { at: (), cause: Cause::Unhealthy(3), outcome, took: Duration::ZERO }
    }

    fn silent() -> Attempt<()> {
        attempt(Outcome::Silent("x".into()))
    }

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn it_is_tried_after_so_many_unhealthy_checks() {
        let (recovery, now) = (Recovery::<()>::new(SETTINGS), Instant::now());
        let verdicts = [0, 2, 3, 4].map(|unhealthy| recovery.verdict(unhealthy, now));
        assert_eq!(verdicts, [Verdict::Rest, Verdict::Rest, Verdict::Try, Verdict::Try]);
    }

    #[test]
    fn what_does_not_help_is_tried_again_after_ever_longer_pauses() {
        let (mut recovery, mut now) = (Recovery::new(SETTINGS), Instant::now());
        for pause in [10, 20, 40] {
            recovery.ended(silent(), now, now);
            assert_eq!(recovery.verdict(3, now + seconds(pause - 1)), Verdict::Backoff(now + seconds(pause)));
            now += seconds(pause);
            assert_eq!(recovery.verdict(3, now), Verdict::Try);
        }
        recovery.ended(attempt(Outcome::Recovered), now, now);
        assert_eq!(recovery.verdict(2, now), Verdict::Rest);
        now += seconds(3600);
        assert_eq!(recovery.verdict(3, now), Verdict::Try);
        recovery.ended(silent(), now, now);
        assert_eq!(recovery.verdict(3, now), Verdict::Backoff(now + seconds(10)), "pauses begin anew");
    }

    #[test]
    fn an_hour_has_so_many_restarts_and_no_more() {
        let (mut recovery, start) = (Recovery::new(SETTINGS), Instant::now());
        for minute in 0..4 {
            assert_eq!(recovery.exhausted_until(start + seconds(60 * minute)), None);
            let begun = start + seconds(60 * minute);
            recovery.ended(attempt(Outcome::Recovered), begun, begun);
        }
        let until = start + seconds(3600);
        assert_eq!(recovery.verdict(3, start + seconds(200)), Verdict::Exhausted(until));
        assert_eq!(recovery.verdict(3, until), Verdict::Try);
        assert_eq!(recovery.exhausted_until(until), None, "the oldest no longer counts");
    }

    #[test]
    fn a_configuration_that_is_not_valid_costs_no_restart_and_its_change_ends_the_pause() {
        let (mut recovery, now) = (Recovery::new(SETTINGS), Instant::now());
        for _ in 0..20 {
            recovery.ended(attempt(Outcome::Invalid("line 1".into())), now, now);
        }
        assert_eq!(recovery.verdict(3, now), Verdict::Backoff(now + LONGEST_BACKOFF));
        recovery.configuration_changed();
        assert_eq!(recovery.verdict(3, now), Verdict::Try);
        recovery.ended(silent(), now, now);
        recovery.configuration_changed();
        assert_eq!(recovery.verdict(3, now), Verdict::Backoff(now + seconds(10)), "it was not the fault");
    }

    #[test]
    fn no_more_attempts_are_remembered_than_a_document_can_have() {
        let (mut recovery, now) = (Recovery::new(SETTINGS), Instant::now());
        (0..200).for_each(|_| recovery.ended(silent(), now, now));
        assert_eq!((recovery.attempts().count(), recovery.count()), (REMEMBERED, 200));
    }

    proptest! {
        #[test]
        fn whatever_happens_no_hour_has_more_restarts(
            steps in prop::collection::vec((0_u64..1200, any::<bool>()), 1..200), per_hour in 1_usize..6)
        {
            let mut recovery = Recovery::new(RecoverySettings { per_hour, ..SETTINGS });
            let (mut now, mut restarts) = (Instant::now(), Vec::new());
            for (pause, helps) in steps {
                now += seconds(pause);
                if recovery.verdict(9, now) == Verdict::Try {
                    restarts.push(now);
                    let outcome = if helps { Outcome::Recovered } else { Outcome::Failed("x".into()) };
                    recovery.ended(attempt(outcome), now, now);
                }
            }
            for last in &restarts {
                let within = restarts.iter().filter(|at| *at <= last && *last - **at < HOUR).count();
                prop_assert!(within <= per_hour);
            }
        }
    }
}
