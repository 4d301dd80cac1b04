//! Whether the HAProxy that answers is the one that answered before. A new one has forgotten every state that
//! was set at run time.

use std::time::{Duration, Instant};

use crate::haproxy::Info;

/// The process that answered last.
#[derive(Debug, Default)]
pub struct Identity {
    last: Option<Seen>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    pid: Option<u32>,
    start_time: Option<u64>,
    /// By our own clock, for versions that do not tell their start: in a container, pids repeat.
    started: Option<Instant>,
}

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observed {
    /// Somebody, for the first time.
    First,
    /// The same process as the last time.
    Same,
    /// A process that took the place of the one of last time.
    Other {
        /// The pid of the one.
        from: Option<u32>,
        /// The pid of the other.
        to: Option<u32>,
    },
}

/// Uptime is told in whole seconds, by a clock that HAProxy corrects now and then.
const SLACK: Duration = Duration::from_secs(3);

impl Identity {
    /// Takes note of who answers; says so if it is another process than the last time. Not to be called for a
    /// process on its way out (`Stopping: 1`): its successor will answer soon.
    pub fn observe(&mut self, now: Instant, info: &Info) -> Observed {
        let seen = Seen {
            pid: info.pid,
            start_time: info.start_time,
            started: info.uptime.and_then(|uptime| now.checked_sub(Duration::from_secs(uptime))),
        };
        match self.last.replace(seen) {
            None => Observed::First,
            Some(last) if last.is_other(&seen) => Observed::Other { from: last.pid, to: seen.pid },
            Some(_) => Observed::Same,
        }
    }
}

impl Seen {
    fn is_other(&self, new: &Self) -> bool {
        if self.pid != new.pid {
            return true;
        }
        match (self.start_time, new.start_time, self.started, new.started) {
            (Some(old), Some(new), ..) => old != new,
            (_, _, Some(old), Some(new)) => new > old + SLACK,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(pid: u32, start_time: Option<u64>, uptime: u64) -> Info {
        Info { pid: Some(pid), start_time, uptime: Some(uptime), processes: 1, ..Info::default() }
    }

    fn second_is_other(first: &Info, later: u64, second: &Info) -> bool {
        let now = Instant::now() + Duration::from_secs(100_000);
        let mut identity = Identity::default();
        assert_eq!(identity.observe(now, first), Observed::First);
        identity.observe(now + Duration::from_secs(later), second) != Observed::Same
    }

    #[test]
    fn pid_and_start_time_tell_processes_apart() {
        let first = info(7, Some(1000), 50);
        assert!(!second_is_other(&first, 5, &info(7, Some(1000), 55)));
        assert!(second_is_other(&first, 5, &info(9, Some(1053), 2)));
        assert!(second_is_other(&first, 5, &info(7, Some(1053), 2)), "a container's pids repeat");
        assert!(!second_is_other(&first, 5, &info(7, Some(1000), 3)), "the start time decides");
    }

    #[test]
    fn without_a_start_time_the_uptime_tells() {
        let first = info(1, None, 50);
        assert!(!second_is_other(&first, 5, &info(1, None, 55)));
        assert!(!second_is_other(&first, 5, &info(1, None, 53)));
        assert!(second_is_other(&first, 5, &info(1, None, 2)));
        assert!(second_is_other(&info(1, None, 1), 60, &info(1, None, 20)));
    }

    #[test]
    fn both_pids_are_told() {
        let mut identity = Identity::default();
        let now = Instant::now();
        identity.observe(now, &info(7, Some(1), 5));
        let other = Observed::Other { from: Some(7), to: Some(9) };
        assert_eq!(identity.observe(now, &info(9, Some(2), 0)), other);
    }
}
