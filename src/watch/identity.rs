//! Whether the HAProxy that answers is the one that answered before. A new one has forgotten every state that
//! was set at run time.

use std::fmt;
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

/// One process took another's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Succession {
    from: Option<u32>,
    to: Option<u32>,
}

/// Uptime is told in whole seconds, by a clock that HAProxy corrects now and then.
const SLACK: Duration = Duration::from_secs(3);

impl Identity {
    /// Takes note of who answers; says so if it is another process than the last time. Not to be called for a
    /// process on its way out (`Stopping: 1`): its successor will answer soon.
    pub fn observe(&mut self, now: Instant, info: &Info) -> Option<Succession> {
        let seen = Seen {
            pid: info.pid,
            start_time: info.start_time,
            started: info.uptime.and_then(|uptime| now.checked_sub(Duration::from_secs(uptime))),
        };
        let last = self.last.replace(seen)?;
        last.is_other(&seen).then_some(Succession { from: last.pid, to: seen.pid })
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

impl fmt::Display for Succession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.from, self.to) {
            (Some(from), Some(to)) if from != to => write!(f, "pid {from} became {to}"),
            _ => f.write_str("same pid, new start"),
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
        assert_eq!(identity.observe(now, first), None, "the first one succeeds nobody");
        identity.observe(now + Duration::from_secs(later), second).is_some()
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
    fn a_succession_is_told() {
        let mut identity = Identity::default();
        let now = Instant::now();
        identity.observe(now, &info(7, Some(1), 5));
        assert_eq!(identity.observe(now, &info(9, Some(2), 0)).unwrap().to_string(), "pid 7 became 9");
        assert_eq!(identity.observe(now, &info(9, Some(4), 0)).unwrap().to_string(), "same pid, new start");
    }
}
