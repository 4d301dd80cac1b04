//! The desk at which the configuration is changed, one change at a time: its lock, the archive, and HAProxy. Whoever
//! opens it finds the last change finished or undone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use super::archive::{Archive, ArchiveError, How, Turn};
use super::digest::Digest;
use super::files::{self, FileFault};
use super::fileset::FileSet;
use super::history::{Kept, Version, What};
use super::lock::{Lock, LockError};
use super::routes::{RouteError, RoutesError};
use super::transaction::{Progress, Transaction};
use crate::exec::Checked;
use crate::haproxy::MapFile;

/// Where everything is, and in whose name it is done.
#[derive(Clone, Debug)]
pub struct Setup {
    /// What HAProxy is started with, as for `haproxy -f`.
    pub files: Vec<PathBuf>,
    /// The map of the routes, where there are routes.
    pub map: Option<MapFile>,
    /// Where versions and the journal are.
    pub archive: PathBuf,
    /// How many versions of each sort stay.
    pub keep: usize,
    /// How long another change is waited for.
    pub lock_timeout: Duration,
    /// Who does it.
    pub by: String,
    /// Seconds since the epoch.
    pub at: u64,
}

/// What a change asks of HAProxy.
pub trait Peer {
    /// Why a change cannot even be tried, in words.
    fn ready(&mut self) -> Result<(), String>;
    /// Whether HAProxy would start with these files; in words, why it cannot be told.
    fn check(&mut self, files: &[PathBuf]) -> Result<Checked, String>;
    /// Has it take the files that are there now.
    fn activate(&mut self, how: &How) -> Activated;
}

/// What HAProxy made of its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Activated {
    /// It runs with them.
    Worked,
    /// It does not, for these reasons.
    Failed(String),
    /// There is no HAProxy that runs, for these reasons.
    Nobody(String),
}

/// Why a change is not in force.
#[derive(Debug, Error)]
pub enum ChangeError {
    /// Another one is under way.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A file is out of reach, before anything was changed.
    #[error("nothing was changed: {0}")]
    File(#[from] FileFault),
    /// The archive does not work, before anything was changed.
    #[error("nothing was changed: {0}")]
    Archive(#[from] ArchiveError),
    /// HAProxy is not to be reached, before anything was changed.
    #[error("nothing was changed: {0}")]
    NotReady(String),
    /// HAProxy would not start with it.
    #[error("nothing was changed: HAProxy does not accept it:\n{0}")]
    Invalid(String),
    /// It is not known whether HAProxy would start with it.
    #[error("nothing was changed: {0}")]
    Unchecked(String),
    /// The table of routes is another one by now.
    #[error("nothing was changed: {0}")]
    Outdated(String),
    /// What is asked for makes no sense as things stand.
    #[error("nothing was changed: {0}")]
    Refused(String),
    /// The files of the routes are not ours.
    #[error("nothing was changed: {0}")]
    Routes(#[from] RoutesError),
    /// The table of routes does not allow it.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// The new configuration did not work, the old one does.
    #[error("{0}\nthe configuration of before is back in its place and in force")]
    Undone(String),
    /// The new configuration did not work; HAProxy is not known to have taken the old one.
    #[error(
        "{why}\nTHE CONFIGURATION OF BEFORE IS BACK IN ITS PLACE, BUT HAPROXY DID NOT TAKE IT: {then}\n\
         look at what HAProxy says (its log, `systemctl status haproxy`), start or reload it, then run \
         `supervisor-haproxy config recover`"
    )]
    Stuck {
        /// What was wrong with the new one.
        why: String,
        /// What was wrong with the old one.
        then: String,
    },
    /// Files were changed by others meanwhile.
    #[error(
        "{0} was changed by somebody else while a change was under way, and is left as it is; compare it with \
         `supervisor-haproxy config history`, then apply what is meant"
    )]
    Foreign(String),
    /// Files are neither here nor there.
    #[error(
        "{0}\nrun `supervisor-haproxy config recover` when the cause is gone: it finishes or undoes the change"
    )]
    Halfway(String),
}

/// A change that is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// The version it made; `None` where all was so already.
    pub version: Option<u64>,
    /// Whether HAProxy was reloaded for it.
    pub is_reloaded: bool,
}

impl Done {
    /// What it came to, behind what is so now.
    #[must_use]
    pub fn tell(&self, what: &str) -> String {
        match self.version {
            None => format!("{what} already; nothing was changed"),
            Some(version) if self.is_reloaded => {
                format!("{what}, as version {version}; HAProxy was reloaded")
            }
            Some(version) => format!("{what}, as version {version}; no reload was needed"),
        }
    }
}

/// One change, as it is wanted: what each file is to hold, `None` for a file that is to go, and in this order.
pub(super) struct Wish {
    pub(super) what: What,
    pub(super) note: String,
    pub(super) how: How,
    pub(super) files: Vec<(PathBuf, Option<Content>)>,
}

/// What a file is to hold, and its permissions if they are not those of the file that is there.
pub(super) struct Content {
    pub(super) bytes: Vec<u8>,
    pub(super) mode: Option<u32>,
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, mode: None }
    }
}

/// The desk.
#[derive(Debug)]
pub struct Desk<P> {
    pub(super) setup: Setup,
    pub(super) archive: Archive,
    pub(super) set: FileSet,
    pub(super) peer: P,
    _lock: Lock,
}

impl<P: Peer> Desk<P> {
    /// Takes the lock, and finishes or undoes what was cut off; says so, where there was something. Blocks as long as
    /// others have the lock, and as long as HAProxy takes.
    pub fn open(setup: Setup, peer: P) -> Result<(Self, Option<String>), ChangeError> {
        let mut desk = Self::take(setup, peer)?;
        let remark = desk.recover()?;
        Ok((desk, remark))
    }

    /// Takes the lock, and leaves all as it is.
    pub(super) fn take(setup: Setup, peer: P) -> Result<Self, ChangeError> {
        let archive = Archive::open(&setup.archive)?;
        let lock = Lock::take(&archive.lock(), &setup.by, setup.lock_timeout)?;
        let set = FileSet::read(&setup.files)?;
        Ok(Self { setup, archive, set, peer, _lock: lock })
    }

    fn recover(&mut self) -> Result<Option<String>, ChangeError> {
        self.archive.tidy()?;
        let Some((aim, journal)) = self.archive.unfinished()? else {
            self.sweep()?;
            return Ok(None);
        };
        let what = format!("{} by {}", journal.version.note, journal.version.by);
        let done = self.drive(Transaction::resume(aim, journal));
        self.look_again();
        match done {
            Ok(_) => Ok(Some(format!("a change that was cut off ({what}) is finished"))),
            Err(ChangeError::Undone(_)) => Ok(Some(format!("a change that was cut off ({what}) is undone"))),
            Err(ChangeError::Foreign(file)) => Ok(Some(format!(
                "a change was cut off ({what}), and {file} was changed by somebody else since; all is left as it is"
            ))),
            Err(error) => Err(error),
        }
    }

    /// Files of a directory come and go with a change. What became of that is more important than a directory that
    /// cannot be read any more.
    fn look_again(&mut self) {
        if let Ok(set) = FileSet::read(&self.setup.files) {
            self.set = set;
        }
    }

    /// Removes what a change has left that was cut off before it had begun.
    fn sweep(&self) -> Result<(), ChangeError> {
        for path in self.managed() {
            let path = files::real(&path);
            files::remove(&files::draft_of(&path))?;
            files::remove(&files::spare_of(&path))?;
        }
        Ok(self.archive.end()?)
    }

    /// Begins a change; `None` where all is so already.
    pub(super) fn begin(&mut self, wish: Wish) -> Result<Option<Transaction>, ChangeError> {
        let mut version = Version {
            files: self.record()?,
            number: self.next_number()?,
            at: self.setup.at,
            by: self.setup.by.clone(),
            what: wish.what,
            note: wish.note,
        };
        let (mut turns, mut contents) = (Vec::new(), BTreeMap::new());
        for (path, content) in wish.files {
            let turn = turn(&mut version, &path, content.as_ref());
            if turn.old == turn.new {
                continue;
            }
            contents.extend(content.map(|content| (turn.path.clone(), content.bytes)));
            turns.push((path, turn));
        }
        let is_something = !turns.is_empty();
        Ok(is_something.then(|| Transaction::begin(wish.how, turns, contents, version)))
    }

    /// Carries out a change to its end.
    pub(super) fn drive(&mut self, mut transaction: Transaction) -> Result<Done, ChangeError> {
        loop {
            match transaction.advance(self)? {
                Progress::Going => {}
                Progress::Ended(done) => {
                    // The change is in force: what cannot be tidied up now is tidied up after the next one.
                    let _ = self.archive.prune(self.setup.keep);
                    return Ok(done);
                }
            }
        }
    }

    pub(super) fn change(&mut self, wish: Wish) -> Result<Done, ChangeError> {
        self.peer.ready().map_err(ChangeError::NotReady)?;
        match self.begin(wish)? {
            None => Ok(Done { version: None, is_reloaded: false }),
            Some(transaction) => {
                let done = self.drive(transaction);
                self.look_again();
                done
            }
        }
    }

    /// All files that are there and belong to the configuration.
    pub(super) fn managed(&self) -> Vec<PathBuf> {
        let map = self.setup.map.iter().map(|map| map.path().to_owned());
        self.set.files().into_iter().chain(map).collect()
    }

    /// Keeps what is there as a version, unless the newest one is the same.
    pub(super) fn record(&self) -> Result<Vec<Kept>, ChangeError> {
        let mut present = Vec::new();
        for path in self.managed() {
            if let Some(bytes) = files::read(&path)? {
                present.push(self.archive.keep(&path, files::mode(&path), &bytes)?);
            }
        }
        let versions = self.archive.versions()?;
        if versions.last().is_none_or(|newest| !newest.is_same_as(&present)) {
            let note =
                if versions.is_empty() { "what was there at first" } else { "changed outside of `config`" };
            self.archive.record(&Version {
                number: self.next_number()?,
                at: self.setup.at,
                by: "-".into(),
                what: What::Found,
                note: note.into(),
                files: present.clone(),
            })?;
        }
        Ok(present)
    }

    fn next_number(&self) -> Result<u64, ChangeError> {
        Ok(self.archive.versions()?.last().map_or(1, |newest| newest.number + 1))
    }

    // --- what operators ask for

    /// Puts `bytes` into the place of `target`, one of the files of the configuration.
    pub fn apply(&mut self, target: &Path, bytes: Vec<u8>) -> Result<Done, ChangeError> {
        self.apply_all(vec![(target.to_owned(), bytes)])
    }

    /// The same for several files, as one change: HAProxy is asked about all of them, and reloaded once.
    pub fn apply_all(&mut self, files: Vec<(PathBuf, Vec<u8>)>) -> Result<Done, ChangeError> {
        if let Some((target, _)) = files.iter().find(|(target, _)| !self.set.takes(target)) {
            return Err(ChangeError::Refused(not_in_the_set(target, &self.set)));
        }
        let name = |(target, _): &(PathBuf, _)| {
            target.file_name().unwrap_or_default().to_string_lossy().into_owned()
        };
        let note = format!("apply {}", files.iter().map(name).collect::<Vec<_>>().join(", "));
        let files = files.into_iter().map(|(target, bytes)| (target, Some(bytes.into()))).collect();
        self.change(Wish { what: What::Apply, note, how: How::Reload, files })
    }

    /// Puts the whole configuration back as it was in version `number`; in the one before, where none is named.
    pub fn roll_back(&mut self, number: Option<u64>) -> Result<(u64, Done), ChangeError> {
        self.record()?;
        let versions = self.archive.versions()?;
        let version = match number {
            Some(number) => versions.iter().find(|version| version.number == number),
            None => versions.iter().rev().nth(1),
        };
        let Some(version) = version else {
            let numbers: Vec<String> = versions.iter().map(|version| version.number.to_string()).collect();
            let which =
                number.map_or_else(|| "no version before this one".into(), |n| format!("no version {n}"));
            return Err(ChangeError::Refused(format!("there is {which}; there are {}", numbers.join(", "))));
        };
        let files = self.back_to(version)?;
        let note = format!("back to version {}", version.number);
        let done = self.change(Wish { what: What::Rollback, note, how: How::Reload, files })?;
        Ok((version.number, done))
    }

    fn back_to(&self, version: &Version) -> Result<Vec<(PathBuf, Option<Content>)>, ChangeError> {
        let map = self.setup.map.as_ref().map(MapFile::path);
        let mut files = Vec::new();
        for file in &version.files {
            if !self.set.takes(&file.path) && map != Some(&file.path) {
                return Err(ChangeError::Refused(format!(
                    "version {}: {}; pass the same -f (and --routes) as when it was made",
                    version.number,
                    not_in_the_set(&file.path, &self.set)
                )));
            }
            let bytes = self.archive.content(&file.path, &file.digest)?;
            files.push((file.path.clone(), Some(Content { bytes, mode: Some(file.mode) })));
        }
        let is_in_version = |path: &PathBuf| version.files.iter().any(|file| file.path == *path);
        let added = self.set.files().into_iter().filter(|path| !is_in_version(path));
        files.extend(added.filter(|path| self.set.is_in_a_directory(path)).map(|path| (path, None)));
        Ok(files)
    }
}

/// What is to become of one file; the version has it so from now on.
fn turn(version: &mut Version, path: &Path, content: Option<&Content>) -> Turn {
    let (real, new) = (files::real(path), content.map(|content| Digest::of(&content.bytes)));
    let old = version.files.iter().find(|file| file.path == path).map(|file| file.digest.clone());
    let mode = content.and_then(|content| content.mode).unwrap_or_else(|| files::mode(&real));
    if new != old {
        version.files.retain(|file| file.path != path);
        version.files.extend(content.zip(new.clone()).map(|(content, digest)| Kept {
            path: path.to_owned(),
            digest,
            size: content.bytes.len() as u64,
            mode,
        }));
    }
    Turn { path: real, old, new, mode }
}

fn not_in_the_set(path: &Path, set: &FileSet) -> String {
    let files: Vec<String> = set.files().iter().map(|file| format!("`{}`", file.display())).collect();
    format!("`{}` is none of the files that HAProxy is started with: {}", path.display(), files.join(", "))
}
