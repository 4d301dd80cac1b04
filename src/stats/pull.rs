//! Pulling into the spool: one snapshot at a time, aligned to the clock, and none while the spool is full.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;
use std::{fs, io};

use thiserror::Error;

use super::capture::{Miss, Patience, Source, capture};
use super::reading::FAILED;
use super::spool::{Snapshot, Spool, SpoolError};

/// How to pull, and where it goes.
#[derive(Clone, Debug)]
pub struct Puller {
    spool: Spool,
    patience: Patience,
    queue_size: usize,
    keeps_partial: bool,
}

/// How a pull ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pulled {
    /// It lies in the spool; where partial ones are kept, dumps may be missing.
    Stored(Snapshot, Vec<Miss>),
    /// It was dropped, for what did not come.
    Dropped(Vec<Miss>),
    /// Nothing was pulled: so many snapshots wait in the spool already.
    Suspended(usize),
}

/// Why nothing can be pulled at all.
#[derive(Debug, Error)]
pub enum PullError {
    /// The spool cannot be used.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The kernel refuses what a pull is made of.
    #[error("pull: {0}")]
    System(#[from] io::Error),
}

impl Puller {
    /// Pulls nothing yet. `queue_size` is the number of snapshots at which pulling is suspended; with
    /// `keeps_partial`, a snapshot in which a dump is missing is stored all the same.
    #[must_use]
    pub fn new(spool: Spool, patience: Patience, queue_size: usize, keeps_partial: bool) -> Self {
        Self { spool, patience, queue_size, keeps_partial }
    }

    /// Pulls once; `time` is in epoch seconds. Blocks for up to [`Patience::total`].
    pub fn pull(&self, sources: &[Source], time: u64) -> Result<Pulled, PullError> {
        let waiting = self.spool.snapshots()?.len();
        if waiting >= self.queue_size {
            return Ok(Pulled::Suspended(waiting));
        }
        let draft = self.spool.draft(time)?;
        let misses = capture(sources, draft.path(), &self.patience)?;
        let is_empty = misses.len() == 2 * sources.len();
        if self.keeps_partial && !is_empty {
            note_failed(draft.path(), sources, &misses)?;
        } else if !misses.is_empty() {
            return Ok(Pulled::Dropped(misses));
        }
        Ok(Pulled::Stored(self.spool.add(draft)?, misses))
    }
}

/// A line for each socket that failed, also where none did: `process` tells how many.
fn note_failed(directory: &Path, sources: &[Source], misses: &[Miss]) -> io::Result<()> {
    let mut text = String::new();
    for misses in misses.chunk_by(|one, other| one.source == other.source) {
        let source = misses.first().and_then(|miss| sources.get(miss.source));
        let name = source.map_or("", |source| source.name.as_str());
        let all: Vec<_> = misses.iter().map(|miss| format!("{}: {}", miss.request, miss.why)).collect();
        let _ = writeln!(text, "{name}: {}", all.join("; ").replace('\n', " "));
    }
    fs::write(directory.join(FAILED), text)
}

/// The next pull: at a multiple of the interval, so that the snapshots of several machines are of the same moments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    /// How long to wait for it.
    pub wait: Duration,
    at: Duration,
    interval: Duration,
}

impl Tick {
    /// The one after `now`, which is the time since 1970.
    #[must_use]
    pub fn after(now: Duration, interval: Duration) -> Self {
        let nanos = interval.as_nanos().max(1);
        let rest = nanos - now.as_nanos() % nanos;
        let wait = Duration::from_nanos(u64::try_from(rest).unwrap_or(u64::MAX));
        Self { wait, at: now + wait, interval }
    }

    /// How many more have come when this one is over, so long after it was due.
    #[must_use]
    pub fn missed(&self, late: Duration) -> u128 {
        late.as_nanos() / self.interval.as_nanos().max(1)
    }

    /// Its time in epoch seconds; where the clock was set in the meantime, that which the clock shows `now`.
    #[must_use]
    pub fn time(&self, now: Duration) -> u64 {
        if now.abs_diff(self.at) < self.interval { self.at.as_secs() } else { now.as_secs() }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixListener;
    use std::thread;

    use super::*;

    const PATIENCE: Patience = Patience {
        timeout: Duration::from_secs(5),
        retries: 0,
        interval: Duration::ZERO,
        total: Duration::from_secs(5),
        bytes: 1000,
    };

    fn haproxy(path: &Path) -> Source {
        let listener = UnixListener::bind(path).unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut bytes = [0; 100];
                let length = stream.read(&mut bytes).unwrap();
                let is_info = bytes[..length].starts_with(b"show info");
                let reply: &[u8] = if is_info { b"Name: HAProxy\n\n" } else { b"# pxname,svname,\n\n" };
                stream.write_all(reply).unwrap();
            }
        });
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        Source { endpoint: crate::net::Endpoint::Unix(path.to_owned()), name }
    }

    fn puller(directory: &Path, keeps_partial: bool) -> Puller {
        let spool = Spool::open(&directory.join("ready"), &directory.join("tmp")).unwrap();
        Puller::new(spool, PATIENCE, 2, keeps_partial)
    }

    fn gone() -> Source {
        Source { endpoint: "/nonexistent/socket".parse().unwrap(), name: "gone".into() }
    }

    #[test]
    fn a_pull_lies_in_the_spool_until_the_spool_is_full() {
        let directory = tempfile::tempdir().unwrap();
        let sources = [haproxy(&directory.path().join("a.sock"))];
        let puller = puller(directory.path(), false);
        let Pulled::Stored(snapshot, misses) = puller.pull(&sources, 1000).unwrap() else { panic!() };
        assert!(misses.is_empty());
        assert_eq!(fs::read_to_string(snapshot.path.join("a.sock_info")).unwrap(), "Name: HAProxy\n\n");
        assert_eq!(fs::read_to_string(snapshot.path.join("a.sock_stat")).unwrap(), "# pxname,svname,\n\n");
        puller.pull(&sources, 1000).unwrap();
        assert_eq!(puller.pull(&sources, 1001).unwrap(), Pulled::Suspended(2));
        puller.spool.remove(&snapshot).unwrap();
        assert!(matches!(puller.pull(&sources, 1002).unwrap(), Pulled::Stored(..)));
    }

    #[test]
    fn one_dead_haproxy_drops_the_snapshot_or_leaves_the_others() {
        let directory = tempfile::tempdir().unwrap();
        let sources = vec![haproxy(&directory.path().join("a.sock")), gone()];
        let strict = puller(directory.path(), false);
        let Pulled::Dropped(misses) = strict.pull(&sources, 1000).unwrap() else { panic!() };
        assert_eq!(misses.iter().map(|miss| miss.source).collect::<Vec<_>>(), [1, 1]);
        assert!(strict.spool.snapshots().unwrap().is_empty());
        let lenient = puller(directory.path(), true);
        let Pulled::Stored(snapshot, misses) = lenient.pull(&sources, 1000).unwrap() else { panic!() };
        assert_eq!((misses.len(), fs::read_dir(&snapshot.path).unwrap().count()), (2, 3));
        let failed = fs::read_to_string(snapshot.path.join(FAILED)).unwrap();
        assert!(failed.starts_with("gone: show info: cannot connect: "), "{failed}");
        assert_eq!(failed.lines().count(), 1, "{failed}");
        assert!(matches!(lenient.pull(&[gone()], 1001).unwrap(), Pulled::Dropped(_)), "nothing is no part");
    }

    #[test]
    fn pulls_are_aligned_to_the_clock() {
        let (ten, millis) = (Duration::from_secs(10), Duration::from_millis);
        let wait = |now| Tick::after(now, ten).wait;
        assert_eq!(wait(millis(1_003_000)), millis(7_000));
        assert_eq!(wait(millis(1_000_000)), ten);
        assert_eq!(wait(millis(1_009_500)), millis(500));
        assert_eq!(Tick::after(Duration::ZERO, Duration::ZERO).wait, Duration::from_nanos(1));
    }

    #[test]
    fn ticks_that_came_during_a_pull_are_missed() {
        let tick = Tick::after(Duration::from_secs(1003), Duration::from_secs(10));
        for (late, missed) in [(0, 0), (9, 0), (10, 1), (35, 3)] {
            assert_eq!(tick.missed(Duration::from_secs(late)), missed, "{late}");
        }
    }

    #[test]
    fn a_pull_has_the_time_that_it_was_due_unless_the_clock_was_set() {
        let tick = Tick::after(Duration::from_secs(1003), Duration::from_secs(10));
        for (now, time) in
            [(1_009_999, 1010), (1_010_000, 1010), (1_012_000, 1010), (900_500, 900), (5_000_000, 5000)]
        {
            assert_eq!(tick.time(Duration::from_millis(now)), time, "{now}");
        }
    }
}
