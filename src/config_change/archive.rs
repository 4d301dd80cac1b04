//! The directory beside the configuration: old versions, the lock, and the journal of the change under way.
//!
//! A content is kept once, under its digest; a version is a list of these. What was cut off half-way is never
//! mistaken for a version: it has another name until it is whole.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::digest::Digest;
use super::files::{self, FileFault};
use super::history::{Kept, Version, expendable};
use super::step::Aim;

/// Where versions and the journal are.
#[derive(Debug)]
pub struct Archive {
    directory: PathBuf,
}

/// What the archive cannot tell.
#[derive(Debug, Error)]
pub enum ArchiveError {
    /// A file is out of reach.
    #[error(transparent)]
    File(#[from] FileFault),
    /// A file that is not what is written here.
    #[error("`{}` is damaged: {cause}; move it out of the way", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        cause: serde_json::Error,
    },
    /// A content that is not there, or another one than it should be.
    #[error("the content {digest} of `{}` is missing in `{}` or damaged", path.display(), directory.display())]
    Lost {
        /// Whose content.
        path: PathBuf,
        /// Which one.
        digest: String,
        /// Where it should be.
        directory: PathBuf,
    },
}

/// The change under way: what the files held, what they are to hold, and how HAProxy takes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Journal {
    pub(super) how: How,
    /// Only the files that change, in the order in which they are put into their places.
    pub(super) files: Vec<Turn>,
    /// What the configuration is afterwards.
    pub(super) version: Version,
}

/// How HAProxy takes a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// By a reload.
    Reload,
    /// At runtime, through this map.
    Map(PathBuf),
}

/// One file on its way from one content to another; `None` where there is no file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Turn {
    /// Where it is, links followed.
    pub(super) path: PathBuf,
    pub(super) old: Option<Digest>,
    pub(super) new: Option<Digest>,
    pub(super) mode: u32,
}

const NEXT: &str = "next.json";

impl Archive {
    /// Opens the directory, which is made where it is missing.
    pub fn open(directory: &Path) -> Result<Self, ArchiveError> {
        let archive = Self { directory: directory.to_owned() };
        files::make_private_directory(directory)?;
        files::make_private_directory(&archive.directory.join("objects"))?;
        Ok(archive)
    }

    /// To look at, not to write to: it may be missing.
    #[must_use]
    pub fn at(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// The lock's file.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.directory.join("lock")
    }

    // --- versions

    /// All versions, oldest first.
    pub fn versions(&self) -> Result<Vec<Version>, ArchiveError> {
        if !self.directory.is_dir() {
            return Ok(Vec::new());
        }
        let names = files::names(&self.directory)?;
        let mut numbers: Vec<u64> =
            names.iter().filter_map(|name| name.to_str()?.strip_suffix(".json")?.parse().ok()).collect();
        numbers.sort_unstable();
        let versions = numbers.into_iter().map(|number| Self::json(&self.version(number)));
        versions.filter_map(Result::transpose).collect()
    }

    /// A content.
    pub(super) fn content(&self, path: &Path, digest: &Digest) -> Result<Vec<u8>, ArchiveError> {
        let bytes = files::read(&self.object(digest))?.filter(|bytes| Digest::of(bytes) == *digest);
        bytes.ok_or_else(|| ArchiveError::Lost {
            path: path.to_owned(),
            digest: digest.short().to_owned(),
            directory: self.directory.join("objects"),
        })
    }

    /// Keeps a content.
    pub(super) fn keep(&self, path: &Path, mode: u32, bytes: &[u8]) -> Result<Kept, ArchiveError> {
        let digest = Digest::of(bytes);
        if self.content(path, &digest).is_err() {
            files::write_whole(&self.object(&digest), bytes)?;
        }
        Ok(Kept { path: path.to_owned(), digest, size: bytes.len() as u64, mode })
    }

    /// A version that is there already.
    pub(super) fn record(&self, version: &Version) -> Result<(), ArchiveError> {
        Self::put_json(&self.version(version.number), version)
    }

    /// Removes what is older than the newest of each sort, and contents that no version has. What is in the way of
    /// that is in nobody else's way.
    pub(super) fn prune(&self, keep: usize) -> Result<(), ArchiveError> {
        let versions = self.versions()?;
        let old = expendable(&versions, keep);
        for number in &old {
            files::remove(&self.version(*number))?;
        }
        let kept = versions.iter().filter(|version| !old.contains(&version.number));
        let used: BTreeSet<String> =
            kept.flat_map(|version| &version.files).map(|file| file.digest.to_string()).collect();
        let objects = self.directory.join("objects");
        for name in files::names(&objects)? {
            if name.to_str().is_none_or(|name| !used.contains(name)) {
                files::remove(&objects.join(name))?;
            }
        }
        Ok(())
    }

    // --- the change under way

    /// The version that is to be, while its change is under way.
    pub(super) fn announce(&self, journal: &Journal) -> Result<(), ArchiveError> {
        Self::put_json(&self.directory.join(NEXT), &journal.version)?;
        Self::put_json(&self.journal(Aim::New), journal)
    }

    /// The change that was cut off, if any.
    pub(super) fn unfinished(&self) -> Result<Option<(Aim, Journal)>, ArchiveError> {
        for aim in [Aim::Old, Aim::New] {
            if let Some(journal) = Self::json(&self.journal(aim))? {
                return Ok(Some((aim, journal)));
            }
        }
        Ok(None)
    }

    /// Whether a change is under way, or was cut off. For those who only look.
    #[must_use]
    pub fn is_cut_off(&self) -> bool {
        [Aim::Old, Aim::New].into_iter().any(|aim| self.journal(aim).exists())
    }

    /// From now on, the old configuration is aimed at.
    pub(super) fn turn_back(&self) -> Result<(), ArchiveError> {
        Ok(files::rename(&self.journal(Aim::New), &self.journal(Aim::Old))?)
    }

    /// The new version is one now. It may be so already, where the journal alone was left.
    pub(super) fn accept(&self, number: u64) -> Result<(), ArchiveError> {
        let (next, version) = (self.directory.join(NEXT), self.version(number));
        if next.exists() { Ok(files::rename(&next, &version)?) } else { Ok(()) }
    }

    /// Removes what was being written when somebody was killed. For whoever has the lock.
    pub(super) fn tidy(&self) -> Result<(), ArchiveError> {
        for directory in [self.directory.clone(), self.directory.join("objects")] {
            let names = files::names(&directory)?;
            let drafts = names.iter().filter(|name| name.as_encoded_bytes().starts_with(b"."));
            for name in drafts {
                files::remove(&directory.join(name))?;
            }
        }
        Ok(())
    }

    /// There is no change under way any more.
    pub(super) fn end(&self) -> Result<(), ArchiveError> {
        files::remove(&self.directory.join(NEXT))?;
        files::remove(&self.journal(Aim::New))?;
        files::remove(&self.journal(Aim::Old))?;
        Ok(files::sync_directory(&self.directory.join(NEXT))?)
    }

    // --- names

    fn version(&self, number: u64) -> PathBuf {
        self.directory.join(format!("{number}.json"))
    }

    fn object(&self, digest: &Digest) -> PathBuf {
        self.directory.join("objects").join(digest.to_string())
    }

    /// Its name is the aim, so that turning back takes no room on the disk.
    pub(super) fn journal(&self, aim: Aim) -> PathBuf {
        self.directory.join(match aim {
            Aim::New => "change.json",
            Aim::Old => "undo.json",
        })
    }

    fn json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, ArchiveError> {
        let Some(bytes) = files::read(path)? else { return Ok(None) };
        let read = serde_json::from_slice(&bytes).map(Some);
        read.map_err(|cause| ArchiveError::Damaged { path: path.to_owned(), cause })
    }

    fn put_json<T: Serialize>(path: &Path, value: &T) -> Result<(), ArchiveError> {
        let text = serde_json::to_vec_pretty(value)
            .map_err(|cause| ArchiveError::Damaged { path: path.to_owned(), cause })?;
        Ok(files::write_whole(path, &text)?)
    }
}
