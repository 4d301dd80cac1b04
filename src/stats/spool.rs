//! The spool: a directory with one directory for each snapshot, named by its time. `pull` adds to it and
//! `process` takes from it, and what lies in it is the queue between the two: nothing that is there is lost by
//! whatever ends either of them.
//!
//! A snapshot appears by one rename, whole, and is gone by one rename before it is removed. What cannot be
//! understood is set aside with a word on why.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// A directory of snapshots, and where they are made.
#[derive(Clone, Debug)]
pub struct Spool {
    ready: PathBuf,
    drafts: PathBuf,
}

/// A snapshot that lies in the spool.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Snapshot {
    /// Epoch seconds of its pull.
    pub time: u64,
    /// Its number among those of the same second: the clock may have been set back.
    pub number: u32,
    /// Its directory.
    pub path: PathBuf,
}

/// A snapshot in the making. What is dropped without [`Spool::add`] is removed.
#[derive(Debug)]
pub struct Draft {
    path: PathBuf,
    time: u64,
    is_finished: bool,
}

/// Why the spool cannot be used.
#[derive(Debug, Error)]
pub enum SpoolError {
    /// A directory or file that the system refuses.
    #[error("`{}`: {what}: {source}", path.display())]
    System {
        /// Which.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// What the kernel says.
        source: io::Error,
    },
    /// A rename from one to the other would be a copy, which can be seen half done.
    #[error("`{}` and `{}` are on different file systems; put both on one", drafts.display(), ready.display())]
    TwoFileSystems {
        /// Where snapshots are made.
        drafts: PathBuf,
        /// Where they go.
        ready: PathBuf,
    },
}

/// What is set aside goes here, beside the spool.
pub(super) const QUARANTINE: &str = "quarantine";
/// Why it was.
const REASON: &str = "reason";
/// Snapshots of one second. More of them would be no clock that was set back.
const MAX_NUMBER: u32 = 1000;

fn system(path: &Path, what: &'static str) -> impl FnOnce(io::Error) -> SpoolError {
    let path = path.to_owned();
    move |source| SpoolError::System { path, what, source }
}

impl Spool {
    /// Makes both directories where they are missing, and removes drafts that a crash has left.
    pub fn open(ready: &Path, drafts: &Path) -> Result<Self, SpoolError> {
        for path in [ready, drafts] {
            fs::create_dir_all(path).map_err(system(path, "cannot be made"))?;
        }
        let device = |path: &Path| {
            fs::metadata(path).map(|data| data.dev()).map_err(system(path, "cannot be looked at"))
        };
        let (ready, drafts) = (ready.to_owned(), drafts.to_owned());
        if device(&ready)? != device(&drafts)? {
            return Err(SpoolError::TwoFileSystems { drafts, ready });
        }
        let spool = Self { ready, drafts };
        for draft in snapshots(&spool.drafts)? {
            fs::remove_dir_all(&draft.path).map_err(system(&draft.path, "cannot be removed"))?;
        }
        Ok(spool)
    }

    /// Where things of this name lie that are beside the spool.
    #[cfg(feature = "kafka")]
    pub(super) fn beside(&self, name: &str) -> PathBuf {
        self.ready.parent().unwrap_or(&self.ready).join(name)
    }

    /// All snapshots, the oldest first. Other things that lie in the spool are passed over.
    pub fn snapshots(&self) -> Result<Vec<Snapshot>, SpoolError> {
        snapshots(&self.ready)
    }

    /// Begins a snapshot.
    pub fn draft(&self, time: u64) -> Result<Draft, SpoolError> {
        let path = self.drafts.join(time.to_string());
        fs::create_dir(&path).map_err(system(&path, "cannot be made"))?;
        Ok(Draft { path, time, is_finished: false })
    }

    /// Puts a whole snapshot into the spool, under a name that is not taken.
    pub fn add(&self, mut draft: Draft) -> Result<Snapshot, SpoolError> {
        sync(&draft.path)?;
        let (time, mut number) = (draft.time, 0);
        loop {
            let path = self.ready.join(name(time, number));
            match fs::rename(&draft.path, &path) {
                Ok(()) => {
                    draft.is_finished = true;
                    sync(&self.ready)?;
                    return Ok(Snapshot { time, number, path });
                }
                Err(error) if is_taken(&error) && number < MAX_NUMBER => number += 1,
                Err(error) => return Err(system(&path, "cannot be moved here")(error)),
            }
        }
    }

    /// Removes a snapshot that was delivered. It is renamed first, so that no half of it is ever taken for a
    /// whole one.
    pub fn remove(&self, snapshot: &Snapshot) -> Result<(), SpoolError> {
        let gone = self.drafts.join(name(snapshot.time, snapshot.number));
        fs::rename(&snapshot.path, &gone).map_err(system(&snapshot.path, "cannot be taken away"))?;
        fs::remove_dir_all(&gone).map_err(system(&gone, "cannot be removed"))
    }

    /// Sets a snapshot aside that cannot be understood; gives where it is now.
    pub fn set_aside(&self, snapshot: &Snapshot, reason: &str) -> Result<PathBuf, SpoolError> {
        let quarantine = self.ready.parent().unwrap_or(&self.ready).join(QUARANTINE);
        fs::create_dir_all(&quarantine).map_err(system(&quarantine, "cannot be made"))?;
        let mut number = snapshot.number;
        loop {
            let path = quarantine.join(name(snapshot.time, number));
            match fs::rename(&snapshot.path, &path) {
                Ok(()) => {
                    let file = path.join(REASON);
                    fs::write(&file, format!("{reason}\n")).map_err(system(&file, "cannot be written"))?;
                    return Ok(path);
                }
                Err(error) if is_taken(&error) && number < MAX_NUMBER => number += 1,
                Err(error) => return Err(system(&path, "cannot be moved here")(error)),
            }
        }
    }
}

impl Draft {
    /// Where its files are to be written.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_finished {
            // What stays is removed at the next start.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// `EPOCH`, and `EPOCH.N` for a further one of the same second.
fn name(time: u64, number: u32) -> String {
    if number == 0 { time.to_string() } else { format!("{time}.{number}") }
}

fn read_name(name: &str) -> Option<(u64, u32)> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (time, number) = name.split_once('.').unwrap_or((name, "0"));
    if digits(time) && digits(number) { Some((time.parse().ok()?, number.parse().ok()?)) } else { None }
}

fn snapshots(directory: &Path) -> Result<Vec<Snapshot>, SpoolError> {
    let refused = || system(directory, "cannot be read");
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(refused())? {
        let entry = entry.map_err(refused())?;
        let named = entry.file_name().to_str().and_then(read_name);
        // A name that is gone by now was taken by somebody else.
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if let Some((time, number)) = named.filter(|_| is_directory) {
            found.push(Snapshot { time, number, path: entry.path() });
        }
    }
    found.sort();
    Ok(found)
}

/// A rename onto a directory with files in it is refused in one of these ways (rename(2)).
fn is_taken(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists)
}

/// Makes the names in a directory outlive a loss of power.
fn sync(directory: &Path) -> Result<(), SpoolError> {
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(system(directory, "cannot be synced"))
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn spool() -> (TempDir, Spool) {
        let directory = tempfile::tempdir().unwrap();
        let spool = Spool::open(&directory.path().join("ready"), &directory.path().join("tmp")).unwrap();
        (directory, spool)
    }

    fn add(spool: &Spool, time: u64) -> Snapshot {
        let draft = spool.draft(time).unwrap();
        fs::write(draft.path().join("a_info"), "Pid: 1\n\n").unwrap();
        spool.add(draft).unwrap()
    }

    fn names(spool: &Spool) -> Vec<String> {
        let name = |snapshot: Snapshot| snapshot.path.file_name().unwrap().to_str().unwrap().to_owned();
        spool.snapshots().unwrap().into_iter().map(name).collect()
    }

    #[test]
    fn snapshots_come_out_oldest_first_and_are_gone_when_they_are_removed() {
        let (_directory, spool) = spool();
        for time in [1000, 999, 20_000] {
            add(&spool, time);
        }
        assert_eq!(names(&spool), ["999", "1000", "20000"]);
        spool.remove(&spool.snapshots().unwrap()[0]).unwrap();
        assert_eq!(names(&spool), ["1000", "20000"]);
    }

    #[test]
    fn two_of_one_second_are_two() {
        let (_directory, spool) = spool();
        for _ in 0..3 {
            add(&spool, 1000);
        }
        assert_eq!(names(&spool), ["1000", "1000.1", "1000.2"]);
        assert!(spool.snapshots().unwrap().iter().all(|snapshot| snapshot.time == 1000));
    }

    #[test]
    fn a_draft_is_seen_only_when_it_is_whole_and_is_removed_when_it_never_is() {
        let (directory, spool) = spool();
        let draft = spool.draft(1000).unwrap();
        assert!(names(&spool).is_empty());
        drop(draft);
        assert!(!directory.path().join("tmp/1000").exists());
        let left = directory.path().join("tmp/1001");
        fs::create_dir(&left).unwrap();
        Spool::open(&directory.path().join("ready"), &directory.path().join("tmp")).unwrap();
        assert!(!left.exists(), "a crash has left it");
    }

    #[test]
    fn what_is_no_snapshot_is_passed_over_and_left() {
        let (directory, spool) = spool();
        let ready = directory.path().join("ready");
        for foreign in ["lost+found", "12a", "1000.x", ".1000", "-1", "99999999999999999999999"] {
            fs::create_dir(ready.join(foreign)).unwrap();
        }
        fs::write(ready.join("1000"), "a file").unwrap();
        assert!(names(&spool).is_empty());
        assert!(ready.join("lost+found").exists());
    }

    #[test]
    fn what_is_set_aside_says_why_and_is_not_seen_again() {
        let (directory, spool) = spool();
        for _ in 0..2 {
            let snapshot = add(&spool, 1000);
            spool.set_aside(&snapshot, "a_stat: row 3: it is cut off").unwrap();
        }
        assert!(names(&spool).is_empty());
        let quarantine = directory.path().join("quarantine");
        let reason = fs::read_to_string(quarantine.join("1000.1/reason")).unwrap();
        assert_eq!(reason, "a_stat: row 3: it is cut off\n");
        assert!(quarantine.join("1000/a_info").exists());
    }

    #[test]
    fn what_the_system_refuses_names_the_path() {
        let (directory, _spool) = spool();
        fs::write(directory.path().join("file"), "").unwrap();
        let path = directory.path().join("file/ready");
        let error = Spool::open(&path, directory.path()).unwrap_err().to_string();
        assert!(error.contains("file/ready`: cannot be made: "), "{error}");
        let shm = Path::new("/dev/shm");
        if shm.metadata().is_ok_and(|data| data.dev() != directory.path().metadata().unwrap().dev()) {
            let error = Spool::open(directory.path(), shm).unwrap_err().to_string();
            assert!(error.contains("are on different file systems"), "{error}");
        }
    }
}
