//! Clusters: snapshots of one cluster and one time are one, added up. This decides when a window, which is what has come
//! of a cluster for a time, is put together; files are `shelf.rs`'.
//!
//! A window closes when all machines have come that the window before it had, or some time after the first that came.
//! A machine that comes later opens it again, and it is put together as a whole once more: its sums take the place of
//! the first ones, under the same time, rather than the late machine's alone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// The windows of all clusters.
#[derive(Debug)]
pub struct Windows {
    limits: Limits,
    clusters: BTreeMap<String, Cluster>,
    bytes: u64,
}

/// How long is waited, and what is kept.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From the first machine of a window until it closes.
    pub wait: Duration,
    /// Windows of each cluster that are kept for those that come late.
    pub windows: usize,
    /// Bytes of all that is kept.
    pub bytes: u64,
}

#[derive(Debug, Default)]
struct Cluster {
    windows: BTreeMap<u64, Window>,
    /// Time of the newest one that is not kept any more.
    forgotten: Option<u64>,
}

#[derive(Debug, Default)]
struct Window {
    /// Machines that have come, with their bytes.
    hosts: BTreeMap<String, u64>,
    /// When it closes; `None` where it is closed.
    closes: Option<Instant>,
}

/// A cluster's name and a time.
pub type Key = (String, u64);

/// What is to be done about a machine that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Others are waited for.
    Waits,
    /// The window is to be put together, now.
    Closed,
}

impl Windows {
    /// None, yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, clusters: BTreeMap::new(), bytes: 0 }
    }

    /// Whether a window of this time was kept and is not any more: who comes now is too late.
    #[must_use]
    pub fn is_forgotten(&self, cluster: &str, time: u64) -> bool {
        let Some(cluster) = self.clusters.get(cluster) else { return false };
        // An older one may still be open.
        cluster.forgotten.is_some_and(|newest| time <= newest) && !cluster.windows.contains_key(&time)
    }

    /// A machine has come, perhaps once more.
    pub fn arrive(&mut self, now: Instant, cluster: &str, time: u64, host: &str, bytes: u64) -> Verdict {
        self.add(cluster, time, host, bytes);
        let wait = self.limits.wait;
        let Some(cluster) = self.clusters.get_mut(cluster) else { return Verdict::Waits };
        let expected = cluster.expected(time);
        let Some(window) = cluster.windows.get_mut(&time) else { return Verdict::Waits };
        let all =
            expected.is_some_and(|expected| expected.iter().all(|host| window.hosts.contains_key(host)));
        if all || wait.is_zero() {
            window.closes = None;
            return Verdict::Closed;
        }
        window.closes.get_or_insert(now + wait);
        Verdict::Waits
    }

    /// What lay on the shelf when the program started; such a window is closed.
    pub fn add(&mut self, cluster: &str, time: u64, host: &str, bytes: u64) {
        let cluster = self.clusters.entry(cluster.to_owned()).or_default();
        let before = cluster.windows.entry(time).or_default().hosts.insert(host.to_owned(), bytes);
        self.bytes = self.bytes - before.unwrap_or_default() + bytes;
    }

    /// What the shelf says was the newest that it does not have any more.
    pub fn add_forgotten(&mut self, cluster: &str, time: u64) {
        self.clusters.entry(cluster.to_owned()).or_default().forgotten = Some(time);
    }

    /// Windows whose time is over: they are closed by this, and are to be put together.
    pub fn due(&mut self, now: Instant) -> Vec<Key> {
        let mut due = Vec::new();
        for (name, cluster) in &mut self.clusters {
            for (time, window) in &mut cluster.windows {
                if window.closes.take_if(|closes| *closes <= now).is_some() {
                    due.push((name.clone(), *time));
                }
            }
        }
        due
    }

    /// When the next window closes by time.
    #[must_use]
    pub fn next_close(&self) -> Option<Instant> {
        let windows = self.clusters.values().flat_map(|cluster| cluster.windows.values());
        windows.filter_map(|window| window.closes).min()
    }

    /// Closed windows that are not kept any more, the oldest first.
    pub fn forget(&mut self) -> Vec<Key> {
        let mut forgotten = Vec::new();
        while let Some((name, time)) = self.superfluous() {
            let Some(cluster) = self.clusters.get_mut(&name) else { break };
            let window = cluster.windows.remove(&time).unwrap_or_default();
            self.bytes -= window.hosts.values().sum::<u64>();
            cluster.forgotten = cluster.forgotten.max(Some(time));
            forgotten.push((name, time));
        }
        forgotten
    }

    fn superfluous(&self) -> Option<Key> {
        let too_large = self.bytes > self.limits.bytes;
        let over = |cluster: &Cluster| too_large || cluster.windows.len() > self.limits.windows;
        let clusters = self.clusters.iter().filter(|(_, cluster)| over(cluster));
        let oldest = clusters.filter_map(|(name, cluster)| Some((name.clone(), cluster.oldest_closed()?)));
        oldest.min_by_key(|(_, time)| *time)
    }
}

impl Cluster {
    /// Machines of the newest window before this time that is closed. Without one, nobody knows who is to come.
    fn expected(&self, time: u64) -> Option<BTreeSet<String>> {
        let (_, before) = self.windows.range(..time).rev().find(|(_, window)| window.closes.is_none())?;
        Some(before.hosts.keys().cloned().collect())
    }

    /// The newest window stays in any case: it says who is to come to the next.
    fn oldest_closed(&self) -> Option<u64> {
        let newest = self.windows.keys().next_back()?;
        let closed = self.windows.iter().find(|(_, window)| window.closes.is_none());
        closed.map(|(time, _)| *time).filter(|time| time != newest)
    }
}

#[cfg(test)]
mod tests {
    use super::Verdict::{Closed, Waits};
    use super::*;

    const WAIT: Duration = Duration::from_secs(5);

    fn windows() -> Windows {
        Windows::new(Limits { wait: WAIT, windows: 3, bytes: 1000 })
    }

    fn key(time: u64) -> Key {
        ("c".to_owned(), time)
    }

    #[test]
    fn the_first_window_waits_and_the_next_closes_with_the_same_machines() {
        let (mut windows, now) = (windows(), Instant::now());
        assert_eq!(windows.arrive(now, "c", 10, "a", 1), Waits);
        assert_eq!(windows.arrive(now + WAIT / 2, "c", 10, "b", 1), Waits);
        assert_eq!(windows.due(now + WAIT / 2), []);
        assert_eq!(windows.due(now + WAIT), [key(10)]);
        assert_eq!(windows.due(now + WAIT), []);
        assert_eq!(windows.arrive(now, "c", 20, "b", 1), Waits);
        assert_eq!(windows.arrive(now, "other", 20, "a", 1), Waits, "another cluster");
        assert_eq!(windows.arrive(now, "c", 20, "a", 1), Closed);
        assert_eq!(windows.due(now + WAIT * 2), [("other".to_owned(), 20)]);
    }

    #[test]
    fn a_machine_that_is_gone_is_waited_for_once() {
        let (mut windows, now) = (windows(), Instant::now());
        windows.arrive(now, "c", 10, "a", 1);
        windows.arrive(now, "c", 10, "b", 1);
        windows.due(now + WAIT);
        assert_eq!(windows.arrive(now, "c", 20, "a", 1), Waits);
        assert_eq!(windows.due(now + WAIT), [key(20)]);
        assert_eq!(windows.arrive(now, "c", 30, "a", 1), Closed);
    }

    #[test]
    fn one_that_comes_late_opens_its_window_again() {
        let (mut windows, now) = (windows(), Instant::now());
        windows.arrive(now, "c", 10, "a", 1);
        windows.due(now + WAIT);
        assert_eq!(windows.arrive(now, "c", 10, "b", 1), Waits);
        assert_eq!(windows.due(now + WAIT), [key(10)]);
        assert_eq!(windows.arrive(now, "c", 20, "a", 1), Waits);
        assert_eq!(windows.due(now + WAIT), [key(20)]);
        assert_eq!(windows.arrive(now, "c", 20, "b", 1), Closed, "all are there now");
    }

    #[test]
    fn without_a_wait_each_machine_closes_the_window() {
        let mut windows = Windows::new(Limits { wait: Duration::ZERO, windows: 3, bytes: 1000 });
        assert_eq!(windows.arrive(Instant::now(), "c", 10, "a", 1), Closed);
        assert_eq!(windows.arrive(Instant::now(), "c", 10, "b", 1), Closed);
    }

    #[test]
    fn old_windows_are_forgotten_by_number_and_by_bytes_and_then_it_is_too_late() {
        let (mut windows, now) = (windows(), Instant::now());
        for time in [10, 20, 30, 40] {
            windows.arrive(now, "c", time, "a", 300);
            windows.due(now + WAIT);
        }
        assert_eq!(windows.forget(), [key(10)]);
        assert_eq!(windows.bytes, 900);
        // The same again takes no more room.
        windows.arrive(now, "c", 40, "a", 300);
        windows.due(now + WAIT);
        assert_eq!(windows.forget(), []);
        windows.arrive(now, "c", 40, "b", 300);
        windows.due(now + WAIT);
        assert_eq!(windows.forget(), [key(20)]);
        assert!(
            windows.is_forgotten("c", 20) && windows.is_forgotten("c", 5) && !windows.is_forgotten("c", 30)
        );
        assert!(!windows.is_forgotten("other", 5));
    }

    #[test]
    fn an_open_window_and_the_newest_are_never_forgotten() {
        let (mut windows, now) = (windows(), Instant::now());
        windows.arrive(now, "c", 10, "a", 5000);
        assert_eq!(windows.forget(), []);
        windows.due(now + WAIT);
        assert_eq!(windows.forget(), []);
        windows.add("c", 20, "a", 1);
        // One that was there before, and is open again.
        windows.add("c", 5, "a", 1);
        windows.arrive(now, "c", 5, "b", 1);
        assert_eq!(windows.forget(), [key(10)]);
        assert!(!windows.is_forgotten("c", 5) && windows.is_forgotten("c", 4));
        windows.add_forgotten("d", 7);
        assert!(windows.is_forgotten("d", 7) && !windows.is_forgotten("d", 8));
    }
}
