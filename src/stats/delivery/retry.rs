//! When a destination that failed is tried again.

use std::time::Duration;

/// haproxystats' rule: some tries with growing waits between them, then a longer wait, and so on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Retry {
    /// Tries after the first one, before the longer wait; `None` for never the longer wait.
    pub retries: Option<u32>,
    /// The wait before the second try.
    pub interval: Duration,
    /// By what it grows with each try.
    pub backoff: f64,
    /// The longer wait.
    pub delay: Duration,
}

/// No wait grows beyond this, whatever the factor.
const LONGEST: Duration = Duration::from_secs(300);

impl Default for Retry {
    /// As haproxystats has it for Graphite.
    fn default() -> Self {
        Self {
            retries: Some(3),
            interval: Duration::from_millis(1800),
            backoff: 2.0,
            delay: Duration::from_secs(10),
        }
    }
}

impl Retry {
    /// The wait after so many failures in a row, of which there is at least one.
    #[must_use]
    pub fn wait(&self, failures: u32) -> Duration {
        let tries = self.retries.map(|retries| retries.saturating_add(1));
        let in_turn = tries.map_or(failures, |tries| failures % tries);
        if in_turn == 0 && self.retries.is_some() {
            return self.delay;
        }
        let factor = self.backoff.powi(i32::try_from(in_turn.saturating_sub(1)).unwrap_or(i32::MAX));
        let wait = Duration::try_from_secs_f64(self.interval.as_secs_f64() * factor);
        wait.unwrap_or(LONGEST).min(LONGEST)
    }

    /// Whether so many failures in a row are all that one who does not wait for ever has patience for.
    #[must_use]
    pub fn is_over(&self, failures: u32) -> bool {
        self.retries.is_some_and(|retries| failures > retries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(retry: Retry, count: u32) -> Vec<f64> {
        (1..=count).map(|failures| retry.wait(failures).as_secs_f64()).collect()
    }

    #[test]
    fn waits_grow_until_a_longer_one_and_begin_anew() {
        assert_eq!(waits(Retry::default(), 9), [1.8, 3.6, 7.2, 10.0, 1.8, 3.6, 7.2, 10.0, 1.8]);
    }

    #[test]
    fn without_retries_there_is_only_the_longer_wait() {
        assert_eq!(waits(Retry { retries: Some(0), ..Retry::default() }, 3), [10.0; 3]);
    }

    #[test]
    fn without_an_end_of_retries_waits_grow_to_five_minutes() {
        let retry = Retry { retries: None, ..Retry::default() };
        assert_eq!(waits(retry, 9)[7..], [230.4, 300.0]);
        assert_eq!(retry.wait(u32::MAX), LONGEST);
        assert!(!retry.is_over(u32::MAX));
    }

    #[test]
    fn who_does_not_wait_for_ever_has_had_all_tries_then() {
        let retry = Retry::default();
        assert_eq!([3, 4].map(|failures| retry.is_over(failures)), [false, true]);
    }
}
