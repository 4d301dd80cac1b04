//! What there is to say about a delivery.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use log::Level;

use crate::sinks::SinkError;
use crate::stats::{ReadError, Snapshot, SpoolError};

/// Something that an operator may want to know.
#[derive(Debug)]
pub enum Event<'e> {
    /// A destination has all of a snapshot.
    Taken {
        /// The destination's name.
        lane: &'e str,
        /// What it has.
        snapshot: &'e Snapshot,
        /// How many it still has to take.
        waiting: usize,
    },
    /// A destination did not take a snapshot; it will be offered again.
    Failed {
        /// Why.
        error: &'e SinkError,
        /// How many it has to take.
        waiting: usize,
        /// When it is tried again; `None` for not any more.
        next: Option<Duration>,
        /// Whether it was said before, and lately.
        is_old: bool,
    },
    /// A destination takes again.
    Recovered {
        /// Its name.
        lane: &'e str,
        /// How often it had failed.
        failures: u32,
        /// How many it still has to take.
        waiting: usize,
    },
    /// All destinations have it, or it is of no use: it is about to leave the spool.
    Finished(&'e Snapshot),
    /// It cannot be understood, and is kept elsewhere.
    SetAside {
        /// What.
        snapshot: &'e Snapshot,
        /// Why.
        reason: &'e str,
        /// Where it is now.
        to: &'e Path,
    },
    /// It cannot be read for now.
    Unreadable {
        /// What.
        snapshot: &'e Snapshot,
        /// Why.
        error: &'e ReadError,
    },
    /// The spool cannot be used for now.
    Spool(&'e SpoolError),
    /// It can be looked at again.
    SpoolBack,
}

impl Event<'_> {
    /// How much it matters.
    #[must_use]
    pub fn level(&self) -> Level {
        match self {
            Self::Taken { .. } | Self::Finished(_) | Self::Failed { is_old: true, .. } => Level::Debug,
            Self::Recovered { .. } | Self::SpoolBack => Level::Info,
            Self::Failed { .. } | Self::Unreadable { .. } => Level::Warn,
            Self::SetAside { .. } | Self::Spool(_) => Level::Error,
        }
    }
}

impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken { lane, snapshot, waiting } => {
                write!(f, "{lane}: took snapshot {}; {}", snapshot.time, Wait(*waiting))
            }
            Self::Failed { error, waiting, next: Some(next), .. } => {
                write!(f, "{error}; {}, next try in {next:?}", Wait(*waiting))
            }
            Self::Failed { error, waiting, next: None, .. } => {
                write!(f, "{error}; {}, given up", Wait(*waiting))
            }
            Self::Recovered { lane, failures, waiting } => {
                let times = if *failures == 1 { "failure" } else { "failures" };
                write!(f, "{lane}: takes again after {failures} {times}; {}", Wait(*waiting))
            }
            Self::Finished(snapshot) => write!(f, "snapshot {} is done with", snapshot.time),
            Self::SetAside { snapshot, reason, to } => {
                write!(
                    f,
                    "snapshot `{}` is of no use and now at `{}`: {reason}",
                    snapshot.path.display(),
                    to.display()
                )
            }
            Self::Unreadable { snapshot, error } => {
                write!(f, "snapshot `{}`: {error}; it is tried again", snapshot.path.display())
            }
            Self::Spool(error) => write!(f, "spool: {error}"),
            Self::SpoolBack => f.write_str("spool: it can be read again"),
        }
    }
}

/// How many wait, in words.
struct Wait(usize);

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("no snapshot waits"),
            1 => f.write_str("1 snapshot waits in the spool"),
            count => write!(f, "{count} snapshots wait in the spool"),
        }
    }
}
