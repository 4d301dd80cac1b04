//! The spool: a directory with one directory for each snapshot, named by its time. `pull` adds to it and
//! `process` takes from it, and what lies in it is the queue between the two: nothing that is there is lost by
//! whatever ends either of them.
//!
//! A snapshot appears by one rename, whole, and is gone by one rename before it is removed. What cannot be
//! understood is set aside with a word on why.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
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

/// The sole right to take snapshots out of a spool.
#[derive(Debug)]
pub struct SpoolLock(Flock<File>);

impl SpoolLock {
    /// Whether it is that of the directory at this path, which may have been taken away and made anew.
    #[must_use]
    pub fn is_of(&self, ready: &Path) -> bool {
        let place = |data: fs::Metadata| (data.dev(), data.ino());
        let locked = self.0.metadata().map(place);
        locked.is_ok_and(|locked| fs::metadata(ready).map(place).is_ok_and(|found| found == locked))
    }
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

/// The directory of what is set aside: see [`quarantines`].
const QUARANTINE: &str = "quarantine";
/// Why it was.
const REASON: &str = "reason";
/// The destinations that have a snapshot, a line each, where others have not. The dot keeps it out of the snapshot.
const MARKS: &str = ".taken";
/// Snapshots of one second. More of them would be no clock that was set back.
const MAX_NUMBER: u32 = 1000;

pub(super) fn system(path: &Path, what: &'static str) -> impl FnOnce(io::Error) -> SpoolError {
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

    /// The quarantine beside the spool.
    #[cfg(feature = "kafka")]
    pub(super) fn quarantine(&self) -> PathBuf {
        let [beside, _] = quarantines(&self.ready);
        beside
    }

    /// All snapshots, the oldest first. Other things that lie in the spool are passed over.
    pub fn snapshots(&self) -> Result<Vec<Snapshot>, SpoolError> {
        snapshots(&self.ready)
    }

    /// What lies in the spool and is no snapshot, by name; those that begin with a dot are meant to be overlooked.
    pub fn foreign(&self) -> Result<Vec<String>, SpoolError> {
        let refused = || system(&self.ready, "cannot be read");
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.ready).map_err(refused())? {
            let entry = entry.map_err(refused())?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_snapshot = read_name(&name).is_some() && entry.file_type().is_ok_and(|kind| kind.is_dir());
            if !is_snapshot && !name.starts_with('.') {
                found.push(name);
            }
        }
        Ok(found)
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
        let drafted = Snapshot { time: draft.time, number: 0, path: draft.path.clone() };
        let path = move_to(&self.ready, &drafted)?;
        draft.is_finished = true;
        sync(&self.ready)?;
        let number =
            path.file_name().and_then(|name| read_name(name.to_str()?)).map_or(0, |(_, number)| number);
        Ok(Snapshot { number, path, ..drafted })
    }

    /// Removes a snapshot that was delivered. It is renamed first, so that no half of it is ever taken for a
    /// whole one.
    pub fn remove(&self, snapshot: &Snapshot) -> Result<(), SpoolError> {
        // It may have been taken away together with the spool.
        fs::create_dir_all(&self.drafts).map_err(system(&self.drafts, "cannot be made"))?;
        let gone = move_to(&self.drafts, snapshot)?;
        fs::remove_dir_all(&gone).map_err(system(&gone, "cannot be removed"))
    }

    /// Keeps others away from the spool, until what is given is dropped or its process ends; `None` while somebody
    /// else does. Those who add snapshots need not ask.
    pub fn lock(ready: &Path) -> Result<Option<SpoolLock>, SpoolError> {
        fs::create_dir_all(ready).map_err(system(ready, "cannot be made"))?;
        let file = File::open(ready).map_err(system(ready, "cannot be opened"))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Some(SpoolLock(lock))),
            Err((_, Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, error)) => Err(system(ready, "cannot be locked")(error.into())),
        }
    }

    /// Notes in a snapshot that a destination has it, for the next start.
    pub fn mark(&self, snapshot: &Snapshot, name: &str) -> Result<(), SpoolError> {
        let path = snapshot.path.join(MARKS);
        let mut file = File::options()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(system(&path, "cannot be opened"))?;
        file.write_all(format!("{name}\n").as_bytes()).map_err(system(&path, "cannot be written"))
    }

    /// The destinations that have a snapshot already.
    pub fn marks(&self, snapshot: &Snapshot) -> Result<Vec<String>, SpoolError> {
        let path = snapshot.path.join(MARKS);
        // A pipe would be waited for.
        let is_plain = fs::symlink_metadata(&path).map(|data| data.is_file());
        let bytes = match is_plain {
            Ok(false) => Err(io::Error::other("it is no plain file")),
            Ok(true) => fs::read(&path),
            Err(error) => Err(error),
        };
        match bytes {
            // The last line was cut off by a crash if it has no end.
            Ok(bytes) => Ok(lines(&String::from_utf8_lossy(&bytes))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(system(&path, "cannot be read")(error)),
        }
    }

    /// Sets a snapshot aside that cannot be understood; gives where it is now.
    pub fn set_aside(&self, snapshot: &Snapshot, reason: &str) -> Result<PathBuf, SpoolError> {
        let into = |quarantine: PathBuf| {
            fs::create_dir_all(&quarantine).map_err(system(&quarantine, "cannot be made"))?;
            move_to(&quarantine, snapshot)
        };
        let [beside, within] = quarantines(&self.ready);
        let path = into(beside).or_else(|_| into(within))?;
        write_reason(&path, &format!("{reason}\n"))?;
        Ok(path)
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

/// Where snapshots are set aside: beside the spool; or else within it, with a dot before the name, as it may be a file
/// system of its own, or what is above it somebody else's.
pub(super) fn quarantines(ready: &Path) -> [PathBuf; 2] {
    let beside = ready.parent().unwrap_or(ready).join(QUARANTINE);
    [beside, ready.join(format!(".{QUARANTINE}"))]
}

/// `EPOCH`, and `EPOCH.N` for a further one of the same second.
pub(super) fn name(time: u64, number: u32) -> String {
    if number == 0 { time.to_string() } else { format!("{time}.{number}") }
}

pub(super) fn read_name(name: &str) -> Option<(u64, u32)> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (time, number) = name.split_once('.').unwrap_or((name, "0"));
    if digits(time) && digits(number) { Some((time.parse().ok()?, number.parse().ok()?)) } else { None }
}

pub(super) fn snapshots(directory: &Path) -> Result<Vec<Snapshot>, SpoolError> {
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

/// Moves a snapshot into another directory, under a name that is not taken there; gives where it is then.
fn move_to(directory: &Path, snapshot: &Snapshot) -> Result<PathBuf, SpoolError> {
    let mut number = snapshot.number;
    loop {
        let path = directory.join(name(snapshot.time, number));
        match fs::rename(&snapshot.path, &path) {
            Ok(()) => return Ok(path),
            Err(error) if is_taken(&error) && number < MAX_NUMBER => number += 1,
            Err(error) => return Err(system(&path, "cannot be moved here")(error)),
        }
    }
}

/// What has the name already is part of what is kept: it is neither written over nor, being a pipe, waited for.
fn write_reason(directory: &Path, text: &str) -> Result<(), SpoolError> {
    let mut number = 0;
    loop {
        let file = match number {
            0 => directory.join(REASON),
            _ => directory.join(format!("{REASON}.{number}")),
        };
        let written = File::options().write(true).create_new(true).open(&file);
        match written.and_then(|mut file| file.write_all(text.as_bytes())) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < MAX_NUMBER => number += 1,
            written => return written.map_err(system(&file, "cannot be written")),
        }
    }
}

fn lines(text: &str) -> Vec<String> {
    text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')).map(str::to_owned).collect()
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

    fn add_by_hand(spool: &Spool, time: u64) -> Snapshot {
        let path = spool.ready.join(time.to_string());
        fs::create_dir(&path).unwrap();
        Snapshot { time, number: 0, path }
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
        assert_eq!(spool.foreign().unwrap().len(), 6, "all but the hidden one");
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
    fn a_reason_takes_the_place_of_nothing() {
        let (directory, spool) = spool();
        let snapshot = add(&spool, 1000);
        fs::write(snapshot.path.join("reason"), "somebody's").unwrap();
        spool.set_aside(&snapshot, "`reason` is foreign").unwrap();
        let read = |name| fs::read_to_string(directory.path().join("quarantine/1000").join(name)).unwrap();
        assert_eq!([read("reason"), read("reason.1")], ["somebody's", "`reason` is foreign\n"]);
    }

    #[test]
    fn what_a_destination_has_is_noted_in_the_snapshot() {
        let (_directory, spool) = spool();
        let snapshot = add(&spool, 1000);
        assert!(spool.marks(&snapshot).unwrap().is_empty());
        spool.mark(&snapshot, "graphite").unwrap();
        spool.mark(&snapshot, "statsd").unwrap();
        assert_eq!(spool.marks(&snapshot).unwrap(), ["graphite", "statsd"]);
        fs::write(snapshot.path.join(MARKS), "graphite\nstat").unwrap();
        assert_eq!(spool.marks(&snapshot).unwrap(), ["graphite"], "a crash has cut it off");
    }

    #[test]
    fn one_has_the_spool_at_a_time() {
        let (directory, _spool) = spool();
        let ready = directory.path().join("ready");
        let lock = Spool::lock(&ready).unwrap();
        assert!(lock.is_some() && Spool::lock(&ready).unwrap().is_none());
        drop(lock);
        assert!(Spool::lock(&ready).unwrap().is_some());
    }

    #[test]
    fn a_lock_is_of_one_directory_whatever_its_name() {
        let (directory, _spool) = spool();
        let (ready, away) = (directory.path().join("ready"), directory.path().join("away"));
        let lock = Spool::lock(&ready).unwrap().unwrap();
        assert!(lock.is_of(&ready));
        fs::rename(&ready, &away).unwrap();
        assert!(lock.is_of(&away) && !lock.is_of(&ready));
        fs::create_dir(&ready).unwrap();
        assert!(!lock.is_of(&ready));
    }

    #[test]
    fn what_an_earlier_removal_has_left_is_in_nobodys_way() {
        let (directory, spool) = spool();
        let snapshot = add(&spool, 1000);
        fs::create_dir_all(directory.path().join("tmp/1000/x")).unwrap();
        spool.remove(&snapshot).unwrap();
        assert!(names(&spool).is_empty());
        fs::remove_dir_all(directory.path().join("tmp")).unwrap();
        spool.remove(&add_by_hand(&spool, 1001)).unwrap();
        assert!(names(&spool).is_empty());
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
