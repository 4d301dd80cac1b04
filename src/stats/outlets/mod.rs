//! Where the datapoints of a snapshot go: one file for each kind of destination, which puts them into the form that
//! its sink carries. Connecting and sending is [`crate::sinks`]'s, when and how often [`super::delivery`]'s.

mod graphite;
#[cfg(feature = "kafka")]
mod kafka;
#[cfg(feature = "kafka")]
mod raw;

pub use graphite::GraphiteOutlet;
#[cfg(feature = "kafka")]
pub use kafka::KafkaOutlet;
#[cfg(feature = "kafka")]
pub use raw::{RawOutlet, RawSnapshot};

use crate::sinks::SinkError;

/// A destination of what is read from snapshots, such as [`super::Reading`].
pub trait Outlet<R>: Send {
    /// Hands all of it over. Blocks, each wait under a deadline. On success the destination has taken all of it; after
    /// an error the same is handed over again, whole.
    fn deliver(&mut self, reading: &R) -> Result<(), SinkError>;
}
