//! Where statistics go, one file for each destination: connect, encode, send. All of it blocks, each wait under a
//! deadline that the error names. What is sent is made in [`crate::stats`].

mod datagrams;
mod graphite;
#[cfg(feature = "kafka")]
pub mod kafka;
mod statsd;

use std::io;
#[cfg(feature = "kafka")]
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

pub use datagrams::{Datagrams, LONGEST_DATAGRAM, Packets};
pub use graphite::{Graphite, Protocol, write_line};
pub use statsd::{Gauges, Statsd};

use crate::net::{self, Endpoint};

/// How long a destination is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From the look-up of its name until it is connected, over all of its addresses.
    pub connect: Duration,
    /// Until it has taken a datagram, or the next 64 KiB.
    pub write: Duration,
}

/// A destination did not take what was sent.
#[derive(Debug, Error)]
#[error("{sink} {place}: {fault}")]
pub struct SinkError {
    /// `graphite`, `statsd`, `kafka`.
    pub sink: &'static str,
    /// Where it was expected: `HOST:PORT`, or a path.
    pub place: String,
    /// Why.
    #[source]
    pub fault: Fault,
}

impl SinkError {
    fn at(sink: &'static str, endpoint: &Endpoint, fault: Fault) -> Self {
        Self { sink, place: place(endpoint), fault }
    }
}

/// An endpoint as people write it who know what listens there.
#[must_use]
pub fn place(endpoint: &Endpoint) -> String {
    endpoint.to_string().trim_start_matches("tcp://").to_owned()
}

/// Why a destination did not take what was sent.
#[derive(Debug, Error)]
pub enum Fault {
    /// It was not reached.
    #[error(transparent)]
    Unreached(#[from] net::Fault),
    /// It went away, or the kernel refuses to send.
    #[error("the connection broke after {sent} bytes: {source}")]
    Broken {
        /// Bytes that the kernel had taken.
        sent: usize,
        /// What the kernel says.
        source: io::Error,
    },
    /// It does not read.
    #[error("it took nothing more within {within:?} ({sent} bytes so far)")]
    Stalled {
        /// Bytes that the kernel had taken.
        sent: usize,
        /// How long it was waited for.
        within: Duration,
    },
    /// The client cannot be set up as it was asked for.
    #[cfg(feature = "kafka")]
    #[error("the client cannot be set up: {0}")]
    Refused(String),
    /// Kafka's brokers did not acknowledge all messages; those not counted may have been stored.
    #[cfg(feature = "kafka")]
    #[error("{acknowledged} of {of} messages were acknowledged: {why}")]
    Unacknowledged {
        /// Messages that are safe.
        acknowledged: usize,
        /// Messages that were sent.
        of: usize,
        /// Of the first that was not, with what to do about it.
        why: String,
    },
    /// What was to be sent cannot be read.
    #[cfg(feature = "kafka")]
    #[error("`{}` was to be sent and cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
}

/// What the kernel says at the end of a wait that [`std::net`] was given a limit for.
fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// A name as it stands in a path: what would end it early becomes an underscore.
fn write_path(out: &mut Vec<u8>, path: &str, ends: fn(char) -> bool) {
    let mut buffer = [0; 4];
    for character in path.chars() {
        let is_end = character.is_whitespace() || character.is_control() || ends(character);
        let character = if is_end { '_' } else { character };
        out.extend_from_slice(character.encode_utf8(&mut buffer).as_bytes());
    }
}
