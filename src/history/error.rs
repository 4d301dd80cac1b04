//! Why the history cannot be kept or read.

use std::io;
use std::path::PathBuf;

use rusqlite::ErrorCode;
use thiserror::Error;

/// Why the history cannot be kept or read.
#[derive(Debug, Error)]
pub enum HistoryError {
    /// Nobody has written one.
    #[error("history file `{}`: there is none; `serve` writes it (--history)", .0.display())]
    Missing(PathBuf),
    /// The system refuses it.
    #[error("history file `{}`: {cause}", path.display())]
    System {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// It may be read and not written.
    #[error("history file `{}`: may not be written by this user", .0.display())]
    ReadOnly(PathBuf),
    /// Another `serve` is at work on it.
    #[error("history file `{}`: another `serve` writes it; each needs a file of its own: --history FILE", .0.display())]
    Held(PathBuf),
    /// It is not ours.
    #[error("history file `{}`: is the database of another program; name another file", .0.display())]
    Foreign(PathBuf),
    /// A later version has written it.
    #[error(
        "history file `{}`: was written by a newer version of this program (form {found}, and this one knows {known}); \
         use that version, or name another file",
        path.display()
    )]
    Newer {
        /// Which file.
        path: PathBuf,
        /// The form that it has.
        found: i64,
        /// The newest form that is known here.
        known: i64,
    },
    /// It cannot be a database, or is none any more.
    #[error("history file `{}`: is damaged: {what}; `serve` sets it aside and begins a new one", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Its last change was cut off, and whoever reads it may not finish that.
    #[error(
        "history file `{}`: `serve` was killed while it wrote, and this user may not write; the next start of `serve` \
         puts it right",
        .0.display()
    )]
    CutOff(PathBuf),
    /// SQLite's own words.
    #[error("history file `{}`: {cause}", path.display())]
    Sqlite {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: rusqlite::Error,
    },
}

impl HistoryError {
    /// Whether it may be over by itself: a disk that is full, a reader that takes its time.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        use ErrorCode::{DatabaseBusy, DatabaseLocked, DiskFull, OutOfMemory, SystemIoFailure};
        let Self::Sqlite { cause, .. } = self else { return false };
        let passing = [DatabaseBusy, DatabaseLocked, DiskFull, OutOfMemory, SystemIoFailure];
        cause.sqlite_error_code().is_some_and(|code| passing.contains(&code))
    }
}
