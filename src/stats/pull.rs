//! Pulling into the spool: one snapshot at a time, aligned to the clock, and none while the spool is full.

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use thiserror::Error;

use super::capture::{Miss, Patience, Source, capture};
use super::spool::{Snapshot, Spool, SpoolError};

/// What is pulled, and where it goes.
#[derive(Clone, Debug)]
pub struct Puller {
    sources: Vec<Source>,
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
    /// Two sources would write the same files.
    #[error("two sockets would both be written to `{0}_info` and `{0}_stat`; give one of them another name")]
    SameName(String),
}

impl Puller {
    /// Pulls nothing yet. `queue_size` is the number of snapshots at which pulling is suspended; with
    /// `keeps_partial`, a snapshot in which a dump is missing is stored all the same.
    pub fn new(
        sources: Vec<Source>,
        spool: Spool,
        patience: Patience,
        queue_size: usize,
        keeps_partial: bool,
    ) -> Result<Self, PullError> {
        let mut names = BTreeSet::new();
        if let Some(twice) = sources.iter().find(|source| !names.insert(&source.name)) {
            return Err(PullError::SameName(twice.name.clone()));
        }
        Ok(Self { sources, spool, patience, queue_size, keeps_partial })
    }

    /// Pulls once; `time` is in epoch seconds. Blocks for up to [`Patience::total`].
    pub fn pull(&self, time: u64) -> Result<Pulled, PullError> {
        let waiting = self.spool.snapshots()?.len();
        if waiting >= self.queue_size {
            return Ok(Pulled::Suspended(waiting));
        }
        let draft = self.spool.draft(time)?;
        let misses = capture(&self.sources, draft.path(), &self.patience)?;
        let is_empty = misses.len() == 2 * self.sources.len();
        if misses.is_empty() || (self.keeps_partial && !is_empty) {
            return Ok(Pulled::Stored(self.spool.add(draft)?, misses));
        }
        Ok(Pulled::Dropped(misses))
    }
}

/// How long to wait for the next multiple of an interval, so that the snapshots of several machines are of the
/// same moments. `now` is the time since 1970.
#[must_use]
pub fn until_next(now: Duration, interval: Duration) -> Duration {
    let interval = interval.as_nanos().max(1);
    let rest = interval - now.as_nanos() % interval;
    Duration::from_nanos(u64::try_from(rest).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixListener;
    use std::path::Path;
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

    fn puller(directory: &Path, sources: Vec<Source>, keeps_partial: bool) -> Puller {
        let spool = Spool::open(&directory.join("ready"), &directory.join("tmp")).unwrap();
        Puller::new(sources, spool, PATIENCE, 2, keeps_partial).unwrap()
    }

    fn gone() -> Source {
        Source { endpoint: "/nonexistent/socket".parse().unwrap(), name: "gone".into() }
    }

    #[test]
    fn a_pull_lies_in_the_spool_until_the_spool_is_full() {
        let directory = tempfile::tempdir().unwrap();
        let source = haproxy(&directory.path().join("a.sock"));
        let puller = puller(directory.path(), vec![source], false);
        let Pulled::Stored(snapshot, misses) = puller.pull(1000).unwrap() else { panic!() };
        assert!(misses.is_empty());
        assert_eq!(fs::read_to_string(snapshot.path.join("a.sock_info")).unwrap(), "Name: HAProxy\n\n");
        assert_eq!(fs::read_to_string(snapshot.path.join("a.sock_stat")).unwrap(), "# pxname,svname,\n\n");
        puller.pull(1000).unwrap();
        assert_eq!(puller.pull(1001).unwrap(), Pulled::Suspended(2));
        puller.spool.remove(&snapshot).unwrap();
        assert!(matches!(puller.pull(1002).unwrap(), Pulled::Stored(..)));
    }

    #[test]
    fn one_dead_haproxy_drops_the_snapshot_or_leaves_the_others() {
        let directory = tempfile::tempdir().unwrap();
        let sources = vec![haproxy(&directory.path().join("a.sock")), gone()];
        let strict = puller(directory.path(), sources.clone(), false);
        let Pulled::Dropped(misses) = strict.pull(1000).unwrap() else { panic!() };
        assert_eq!(misses.iter().map(|miss| miss.source).collect::<Vec<_>>(), [1, 1]);
        assert!(strict.spool.snapshots().unwrap().is_empty());
        let lenient = puller(directory.path(), sources, true);
        let Pulled::Stored(snapshot, misses) = lenient.pull(1000).unwrap() else { panic!() };
        assert_eq!((misses.len(), fs::read_dir(snapshot.path).unwrap().count()), (2, 2));
        let nobody = puller(directory.path(), vec![gone()], true);
        assert!(matches!(nobody.pull(1001).unwrap(), Pulled::Dropped(_)), "nothing is no part");
    }

    #[test]
    fn two_sources_of_one_name_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let spool = Spool::open(&directory.path().join("ready"), &directory.path().join("tmp")).unwrap();
        let error = Puller::new(vec![gone(), gone()], spool, PATIENCE, 1, false).unwrap_err().to_string();
        assert!(error.contains("`gone_info`"), "{error}");
    }

    #[test]
    fn pulls_are_aligned_to_the_clock() {
        let ten = Duration::from_secs(10);
        assert_eq!(until_next(Duration::from_secs(1003), ten), Duration::from_secs(7));
        assert_eq!(until_next(Duration::from_secs(1000), ten), ten);
        assert_eq!(until_next(Duration::from_millis(1_009_500), ten), Duration::from_millis(500));
        assert_eq!(until_next(Duration::ZERO, Duration::ZERO), Duration::from_nanos(1));
    }
}
