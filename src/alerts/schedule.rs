//! When reports are due: a cron expression, in UTC. Pure: now is a parameter.

use std::str::FromStr;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use thiserror::Error;

/// `*/30 * * * *`; with a sixth field in front, seconds.
#[derive(Clone, Debug)]
pub struct Schedule(Cron);

/// Why a text is no schedule.
#[derive(Debug, Error)]
pub enum ScheduleError {
    /// Not cron's language.
    #[error("expected a cron expression, as in `*/30 * * * *`: {0}")]
    Form(#[from] croner::errors::CronError),
    /// The 30th of February.
    #[error("that time never comes")]
    Never,
}

impl FromStr for Schedule {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Self, ScheduleError> {
        let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
        let schedule = Self(parser.parse(text)?);
        schedule.next(Timestamp::UNIX_EPOCH).map(|_| schedule).ok_or(ScheduleError::Never)
    }
}

impl Schedule {
    /// The first time after this one.
    #[must_use]
    pub fn next(&self, now: Timestamp) -> Option<Timestamp> {
        let now = now.to_zoned(TimeZone::UTC);
        self.0.find_next_occurrence(&now, false).ok().map(|next| next.timestamp())
    }
}

/// A schedule beside a clock that somebody may set.
#[derive(Debug)]
pub(super) struct Alarm {
    schedule: Schedule,
    next: Option<Timestamp>,
}

impl Alarm {
    pub(super) fn new(schedule: Schedule, now: Timestamp) -> Self {
        Self { next: schedule.next(now), schedule }
    }

    /// Whether a time has come since the last call. Of several that were missed, one counts.
    pub(super) fn rings(&mut self, now: Timestamp) -> bool {
        let next = self.schedule.next(now);
        let has_come = self.next.is_some_and(|at| at <= now);
        // Sooner than what was waited for: the clock was set back.
        if has_come || next < self.next || self.next.is_none() {
            self.next = next;
        }
        has_come
    }

    /// How long until it rings, as the clock goes.
    pub(super) fn rest(&self, now: Timestamp) -> Option<std::time::Duration> {
        let rest = self.next?.duration_since(now);
        Some(rest.try_into().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn the_next_time_is_after_now_and_in_utc() {
        for (schedule, now, next) in [
            ("*/30 * * * *", "2026-03-29T00:59:59Z", "2026-03-29T01:00:00Z"),
            ("*/30 * * * *", "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"),
            ("0 8 * * MON-FRI", "2026-11-20T08:00:00Z", "2026-11-23T08:00:00Z"),
            ("0 0 29 2 *", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z"),
            ("* * * * * *", "2026-01-01T00:00:00.5Z", "2026-01-01T00:00:01Z"),
            ("@hourly", "2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z"),
        ] {
            let found: Schedule = schedule.parse().unwrap();
            assert_eq!(found.next(at(now)), Some(at(next)), "{schedule} after {now}");
        }
    }

    #[test]
    fn what_never_comes_is_no_schedule() {
        for text in ["", "x", "60 * * * *", "* * * *", "* * * * * * *", "0 0 30 2 *"] {
            assert!(text.parse::<Schedule>().is_err(), "{text}");
        }
    }

    #[test]
    fn it_rings_once_for_each_time_and_once_for_all_that_were_missed() {
        let mut alarm = Alarm::new("0 * * * *".parse().unwrap(), at("2026-01-01T00:30:00Z"));
        assert_eq!(alarm.rest(at("2026-01-01T00:30:00Z")).unwrap().as_secs(), 30 * 60);
        assert!(!alarm.rings(at("2026-01-01T00:59:59Z")));
        assert!(alarm.rings(at("2026-01-01T01:00:00Z")));
        assert!(!alarm.rings(at("2026-01-01T01:00:01Z")));
        assert!(alarm.rings(at("2026-01-01T09:00:01Z")), "the machine slept");
        assert!(!alarm.rings(at("2026-01-01T09:00:02Z")));
    }

    #[test]
    fn a_clock_that_is_set_back_rings_at_its_new_times() {
        let mut alarm = Alarm::new("0 * * * *".parse().unwrap(), at("2026-01-02T00:30:00Z"));
        assert!(!alarm.rings(at("2026-01-01T00:30:00Z")));
        assert!(alarm.rings(at("2026-01-01T01:00:00Z")));
    }

    proptest! {
        #[test]
        fn the_next_time_is_later_and_none_is_left_out(second in 0_i64..4_000_000_000, step in 1_i64..60) {
            let schedule: Schedule = format!("*/{step} * * * *").parse().unwrap();
            let now = Timestamp::from_second(second).unwrap();
            let next = schedule.next(now).unwrap();
            prop_assert!(next > now);
            prop_assert_eq!(next.as_second() % 3600 / 60 % step, 0);
            prop_assert!(next.as_second() - second <= step * 60);
        }

        #[test]
        fn no_text_makes_it_panic(text in "[0-9*/, LW#?@a-z-]{0,30}") {
            let _ = text.parse::<Schedule>();
        }
    }
}
