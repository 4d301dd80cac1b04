//! How many sessions each server had at the last checks.

use std::collections::{BTreeMap, VecDeque};

use crate::haproxy::{ServerRef, StatRow};

/// As many checks are kept: five minutes of them, by default.
const KEPT: usize = 60;

/// The sessions of each server that HAProxy has, the oldest count first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sessions {
    servers: BTreeMap<ServerRef, VecDeque<u64>>,
}

impl Sessions {
    /// A check has found these servers; others are gone.
    pub(super) fn push(&mut self, rows: &[StatRow]) {
        let mut before = std::mem::take(&mut self.servers);
        self.servers = rows
            .iter()
            .map(|row| {
                let mut counts = before.remove(&row.server).unwrap_or_default();
                counts.push_back(row.sessions);
                let excess = counts.len().saturating_sub(KEPT);
                counts.drain(..excess);
                (row.server.clone(), counts)
            })
            .collect();
    }

    /// Each server with its counts.
    pub fn servers(&self) -> impl Iterator<Item = (&ServerRef, &VecDeque<u64>)> {
        self.servers.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, sessions: u64) -> StatRow {
        StatRow { sessions, ..StatRow::example(name.parse().unwrap(), "UP") }
    }

    fn shown(sessions: &Sessions) -> Vec<(String, Vec<u64>)> {
        sessions
            .servers()
            .map(|(name, counts)| (name.to_string(), counts.iter().copied().collect()))
            .collect()
    }

    #[test]
    fn the_oldest_is_first_and_who_is_gone_is_forgotten() {
        let mut sessions = Sessions::default();
        sessions.push(&[row("a/x", 1), row("a/y", 7)]);
        sessions.push(&[row("a/x", 2), row("b/z", 9)]);
        assert_eq!(shown(&sessions), [("a/x".into(), vec![1, 2]), ("b/z".into(), vec![9])]);
    }

    #[test]
    fn no_more_than_the_last_are_kept() {
        let mut sessions = Sessions::default();
        for count in 0..100 {
            sessions.push(&[row("a/x", count)]);
        }
        assert_eq!(shown(&sessions), [("a/x".into(), (40..100).collect())]);
    }
}
