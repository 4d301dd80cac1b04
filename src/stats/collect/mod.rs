//! Raw snapshots from Kafka into the spool, from where they are delivered as if they had been pulled here. Their
//! offsets are committed when that is done, and no sooner: what was not delivered is read again after a crash, by
//! whoever has the partition then. Nothing is lost; after a crash, and when partitions change hands, something may
//! come twice.
//!
//! The loop is `collector.rs`. What a message says is in [`part`], from parts to snapshots it is [`assembler`]'s, how
//! far partitions are done [`ledger`]'s, and clusters are [`windows`]'s: these decide without input and output. What
//! is done on the disk is in `desk.rs` and `shelf.rs`.

pub mod assembler;
mod collector;
mod consumer;
mod desk;
pub mod ledger;
pub mod part;
mod shelf;
pub mod windows;

use std::fmt;
use std::path::PathBuf;

use rdkafka::error::KafkaError;
use thiserror::Error;

use super::spool::{Snapshot, SpoolError};
pub use collector::{Collector, Receipts};

/// Why nothing can be collected.
#[derive(Debug, Error)]
pub enum CollectError {
    /// The client cannot be set up.
    #[error("kafka {brokers}: the client cannot be set up: {source}")]
    Kafka {
        /// Those of the settings.
        brokers: String,
        /// What librdkafka says.
        source: KafkaError,
    },
    /// The spool, or what is beside it, cannot be used.
    #[error(transparent)]
    Spool(#[from] SpoolError),
}

/// Something that is worth a line in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// This lies in the spool now, to be delivered.
    Stored(Snapshot),
    /// A message that is no part of a snapshot was passed over.
    Damaged {
        /// `TOPIC [PARTITION] at offset OFFSET`.
        place: String,
        /// What is wrong with it.
        why: String,
        /// Where its payload is kept; the first hundred are.
        kept: Option<PathBuf>,
    },
    /// A snapshot was set aside, with what there is of it.
    SetAside {
        /// The machine whose it is.
        host: String,
        /// Epoch seconds.
        time: u64,
        /// Why.
        why: String,
        /// Where it is.
        path: PathBuf,
    },
    /// The brokers cannot be reached, or refuse something; told each minute while it lasts. It is tried again by
    /// itself.
    Trouble(String),
    /// Messages come again.
    Recovered,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stored(snapshot) => write!(f, "collected snapshot `{}`", snapshot.path.display()),
            Self::Damaged { place, why, kept: Some(path) } => {
                write!(f, "{place}: no part of a snapshot, kept as `{}`: {why}", path.display())
            }
            Self::Damaged { place, why, kept: None } => {
                write!(f, "{place}: no part of a snapshot, passed over: {why}")
            }
            Self::SetAside { host, time, why, path } => {
                write!(f, "snapshot {time} of {host} is of no use and now at `{}`: {why}", path.display())
            }
            Self::Trouble(why) => f.write_str(why),
            Self::Recovered => f.write_str("kafka: messages come again"),
        }
    }
}

/// What has become of messages and snapshots, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages that were read.
    pub messages: u64,
    /// Messages that were passed over.
    pub damaged: u64,
    /// Snapshots that were put into the spool.
    pub stored: u64,
    /// Snapshots that were set aside.
    pub set_aside: u64,
}
