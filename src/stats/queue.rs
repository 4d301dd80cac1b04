//! What waits in a spool, seen from outside: nothing is made, locked, moved or removed, so that whoever may read it
//! may look.

use std::fs;
use std::io;
use std::path::Path;
use std::time::UNIX_EPOCH;

use super::spool::{SpoolError, quarantines, snapshots, system};

/// A spool at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Snapshots that some destination has not yet.
    pub waiting: usize,
    /// When the oldest of them was pulled, in epoch seconds.
    pub oldest: Option<u64>,
    /// When a snapshot has come or gone last, in epoch seconds.
    pub changed: u64,
    /// What was set aside because it could not be understood.
    pub quarantined: usize,
}

impl Queue {
    /// Looks at the spool at this path. Fails where there is none, or where it or its quarantine cannot be read.
    pub fn look(ready: &Path) -> Result<Self, SpoolError> {
        let waiting = snapshots(ready)?;
        let [beside, within] = quarantines(ready);
        Ok(Self {
            waiting: waiting.len(),
            oldest: waiting.first().map(|snapshot| snapshot.time),
            changed: changed(ready)?,
            quarantined: entries(&beside)? + entries(&within)?,
        })
    }
}

/// Each rename into a directory or out of it is noted there (rename(2)).
fn changed(directory: &Path) -> Result<u64, SpoolError> {
    let modified = fs::metadata(directory).and_then(|data| data.modified());
    let modified = modified.map_err(system(directory, "cannot be looked at"))?;
    Ok(modified.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
}

/// A quarantine is made when it is needed.
fn entries(directory: &Path) -> Result<usize, SpoolError> {
    match fs::read_dir(directory) {
        Ok(entries) => Ok(entries.count()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(system(directory, "cannot be read")(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::spool::Spool;
    use super::*;

    #[test]
    fn a_queue_is_what_waits_and_what_was_set_aside() {
        let directory = tempfile::tempdir().unwrap();
        let (ready, drafts) = (directory.path().join("ready"), directory.path().join("tmp"));
        let spool = Spool::open(&ready, &drafts).unwrap();
        let empty = Queue::look(&ready).unwrap();
        assert_eq!((empty.waiting, empty.oldest, empty.quarantined), (0, None, 0));
        for time in [3000, 1000, 2000] {
            spool.add(spool.draft(time).unwrap()).unwrap();
        }
        let oldest = spool.snapshots().unwrap().remove(0);
        spool.set_aside(&oldest, "a_stat: row 3: it is cut off").unwrap();
        spool.remove(&spool.snapshots().unwrap()[0]).unwrap();
        let queue = Queue::look(&ready).unwrap();
        assert_eq!((queue.waiting, queue.oldest, queue.quarantined), (1, Some(3000), 1));
        assert!(queue.changed >= empty.changed);
    }

    #[test]
    fn a_quarantine_within_the_spool_counts_as_well() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("ready/.quarantine/1000")).unwrap();
        assert_eq!(Queue::look(&directory.path().join("ready")).unwrap().quarantined, 1);
    }

    #[test]
    fn looking_makes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("ready");
        let error = Queue::look(&missing).unwrap_err().to_string();
        assert!(error.contains("cannot be read: No such file or directory"), "{error}");
        assert!(!missing.exists());
    }
}
