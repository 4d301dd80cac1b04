//! A spool on a disk: snapshots that wait beside it and are renamed into it, and are seen to leave.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::snapshot::{self, Size};
use super::{Outcome, wait_until};

/// The two directories that a configuration names.
#[derive(Clone, Debug)]
pub(crate) struct Spool {
    pub(crate) ready: PathBuf,
    pub(crate) drafts: PathBuf,
}

impl Spool {
    pub(crate) fn make(directory: &Path) -> Outcome<Self> {
        let spool = Self { ready: directory.join("ready"), drafts: directory.join("drafts") };
        for path in [&spool.ready, &spool.drafts] {
            fs::create_dir_all(path)?;
        }
        Ok(spool)
    }
}

/// The files of a snapshot, to be had as often as one likes.
#[derive(Debug)]
pub(crate) struct Stock {
    directory: PathBuf,
    pub(crate) processes: usize,
    pub(crate) size: Size,
    pub(crate) bytes: usize,
}

impl Stock {
    pub(crate) fn write(directory: &Path, processes: usize, size: Size) -> Outcome<Self> {
        let directory = directory.join(format!("{processes}-times-{}", size.rows()));
        fs::create_dir(&directory)?;
        let bytes = snapshot::write(&directory, processes, size)?;
        Ok(Self { directory, processes, size, bytes })
    }

    pub(crate) fn rows(&self) -> usize {
        self.processes * self.size.rows()
    }

    /// In the order of their names.
    pub(crate) fn files(&self) -> Outcome<Vec<PathBuf>> {
        let entries = fs::read_dir(&self.directory)?.map(|entry| Ok(entry?.path()));
        let mut files = entries.collect::<Outcome<Vec<_>>>()?;
        files.sort();
        Ok(files)
    }

    /// Makes a snapshot of a time, and gives what puts it into the spool.
    pub(crate) fn draft(&self, spool: &Spool, time: u64) -> Outcome<Draft> {
        let draft =
            Draft { from: spool.drafts.join(time.to_string()), to: spool.ready.join(time.to_string()) };
        fs::create_dir(&draft.from)?;
        for file in self.files()? {
            fs::hard_link(&file, draft.from.join(file.file_name().ok_or("no name")?))?;
        }
        Ok(draft)
    }
}

/// A snapshot that is not in the spool yet.
#[derive(Debug)]
pub(crate) struct Draft {
    from: PathBuf,
    to: PathBuf,
}

impl Draft {
    pub(crate) fn put(&self) -> Outcome<()> {
        Ok(fs::rename(&self.from, &self.to)?)
    }

    /// Gives the time from its arrival in the spool until it has left.
    pub(crate) fn pass(&self) -> Outcome<Duration> {
        let begun = Instant::now();
        self.put()?;
        wait_until("a snapshot that leaves the spool", || Ok((!self.to.exists()).then(|| begun.elapsed())))
    }
}
