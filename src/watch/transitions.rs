//! Servers that change between up, down, drained and maintained.

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

use crate::haproxy::{Kind, ServerRef, StatRow, Status};

/// What each server was at the last look.
#[derive(Debug, Default)]
pub struct Transitions {
    last: HashMap<ServerRef, Past>,
    looks: u64,
}

#[derive(Debug)]
struct Past {
    status: Status,
    since: Instant,
    /// Number of the look that showed it last.
    look: u64,
}

/// A server is something else than at the last look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// Which server.
    pub server: ServerRef,
    /// What it was.
    pub from: Status,
    /// What it is.
    pub to: Status,
    /// How long it had been what it was.
    pub lasted: Duration,
    /// The last health check's result, as in `L4CON`; empty without.
    pub check: Box<str>,
    /// The check's own words; empty without.
    pub text: Box<str>,
}

impl Transitions {
    /// Holds all rows against the last look. The first look at a server is no transition; `UP` and `UP 1/3`
    /// are the same; what became of a server that is gone is not known.
    pub fn observe(&mut self, now: Instant, rows: &[StatRow]) -> Vec<Transition> {
        self.looks += 1;
        let look = self.looks;
        let mut transitions = Vec::new();
        for row in rows {
            if let Some(past) = self.last.get_mut(&row.server) {
                transitions.extend(past.compare(now, row));
                past.look = look;
            } else {
                let past = Past { status: row.status.clone(), since: changed_at(now, row), look };
                self.last.insert(row.server.clone(), past);
            }
        }
        self.last.retain(|_, past| past.look == look);
        transitions
    }
}

impl Past {
    fn compare(&mut self, now: Instant, row: &StatRow) -> Option<Transition> {
        if self.status == row.status {
            return None;
        }
        let from = std::mem::replace(&mut self.status, row.status.clone());
        if from.kind == row.status.kind {
            return None;
        }
        let since = std::mem::replace(&mut self.since, now);
        Some(Transition {
            server: row.server.clone(),
            from,
            to: row.status.clone(),
            lasted: now.saturating_duration_since(since),
            check: row.check_status.clone(),
            text: row.last_check.clone(),
        })
    }
}

impl Transition {
    /// Whether HAProxy took the server out by itself: nobody asked for that.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        self.from.kind.is_serving() && matches!(self.to.kind, Kind::Down | Kind::MaintResolution)
    }
}

/// When HAProxy says that a server's state began.
fn changed_at(now: Instant, row: &StatRow) -> Instant {
    let seconds = row.last_change.unwrap_or_default();
    now.checked_sub(Duration::from_secs(seconds)).unwrap_or(now)
}

impl fmt::Display for Transition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, from, to, .. } = self;
        write!(f, "`{server}` went from {from} to {to} after {} s", self.lasted.as_secs())?;
        match (&*self.check, &*self.text) {
            ("", _) => Ok(()),
            (check, "") => write!(f, "; check {check}"),
            (check, text) => write!(f, "; check {check}: {}", text.escape_debug()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(status: &str, check: &str, last_change: u64) -> StatRow {
        StatRow {
            check_status: check.into(),
            last_check: if check.is_empty() { "".into() } else { "Connection refused".into() },
            last_change: Some(last_change),
            ..StatRow::example("be/s".parse().unwrap(), status)
        }
    }

    #[test]
    fn a_change_is_told_once_with_its_cause_and_duration() {
        let mut transitions = Transitions::default();
        let start = Instant::now() + Duration::from_secs(1000);
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(transitions.observe(start, &[row("UP", "L4OK", 100)]).is_empty());
        assert!(transitions.observe(at(5), &[row("UP 1/3", "L4CON", 105)]).is_empty());
        let told = transitions.observe(at(10), &[row("DOWN", "L4CON", 1)]);
        assert_eq!(told.len(), 1);
        assert_eq!(
            told[0].to_string(),
            "`be/s` went from UP 1/3 to DOWN after 110 s; check L4CON: Connection refused"
        );
        assert!(transitions.observe(at(15), &[row("DOWN 1/2", "L4OK", 6)]).is_empty());
        let told = transitions.observe(at(20), &[row("MAINT", "", 0)]);
        assert_eq!(told[0].to_string(), "`be/s` went from DOWN 1/2 to MAINT after 10 s");
    }

    #[test]
    fn only_what_nobody_asked_for_is_a_failure() {
        let failure = |from, to| {
            let mut transitions = Transitions::default();
            transitions.observe(Instant::now(), &[row(from, "", 0)]);
            transitions.observe(Instant::now(), &[row(to, "", 0)])[0].is_failure()
        };
        assert!(failure("UP", "DOWN"));
        assert!(failure("no check", "MAINT (resolution)"));
        for (from, to) in [("UP", "MAINT"), ("UP", "DRAIN"), ("MAINT", "DOWN"), ("DOWN", "UP")] {
            assert!(!failure(from, to), "{from} {to}");
        }
    }

    #[test]
    fn kinds_of_maintenance_are_told_apart() {
        let mut transitions = Transitions::default();
        let now = Instant::now();
        let statuses = ["MAINT", "MAINT (via be/x)", "MAINT (resolution)", "DRAIN", "NOLB", "no check"];
        let count =
            statuses.iter().flat_map(|status| transitions.observe(now, &[row(status, "", 0)])).count();
        assert_eq!(count, statuses.len() - 1);
    }

    #[test]
    fn a_server_that_was_gone_begins_anew() {
        let mut transitions = Transitions::default();
        let now = Instant::now();
        transitions.observe(now, &[row("UP", "", 0)]);
        transitions.observe(now, &[]);
        assert!(transitions.observe(now, &[row("DOWN", "", 0)]).is_empty());
    }
}
