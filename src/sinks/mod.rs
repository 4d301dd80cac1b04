//! Where statistics go, one file for each destination: connect, encode, send. All of it blocks, each wait under a
//! deadline that the error names. What is sent is made in [`crate::stats`].

mod datagrams;
mod files;
mod graphite;
#[cfg(feature = "kafka")]
pub mod kafka;
mod pickle;
mod prometheus;
mod series;
mod statsd;
mod stream;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

pub use datagrams::{Datagrams, LONGEST_DATAGRAM, Packets};
pub use files::{WholeFile, make_directory};
pub use graphite::{Encoder, Graphite, Protocol, write_line};
pub use prometheus::{MetricKind, write_family, write_label, write_sample};
pub use series::{Dialect, Series};
pub use statsd::{Gauges, Statsd};

use crate::net::{self, Endpoint};

/// How long a destination is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From the look-up of its name until it is connected, over all of its addresses.
    pub connect: Duration,
    /// Until it has taken a datagram, or the next 64 KiB.
    pub write: Duration,
    /// Until it has read the rest and ended its side of a connection.
    pub close: Duration,
}

/// The value of a datapoint, always finite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// Without a fraction.
    Integer(i64),
    /// With one, or beyond 64 bits.
    Real(f64),
}

/// In digits, never with an exponent: not all that speak statsd's protocol know one.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(value) => value.fmt(f),
            // A zero with a sign has none afterwards.
            Self::Real(value) => (value + 0.0).fmt(f),
        }
    }
}

/// A destination did not take what was sent.
#[derive(Debug, Error)]
#[error("{sink} {place}: {fault}")]
pub struct SinkError {
    /// `graphite`, `statsd`, `kafka`, `local-store`, `prometheus`.
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
    /// It has not said that it has read all: it may have, or be about to hang.
    #[error("it has not closed the connection within {within:?} after all {sent} bytes")]
    Unconfirmed {
        /// Bytes that the kernel had taken.
        sent: usize,
        /// How long it was waited for.
        within: Duration,
    },
    /// It does not read.
    #[error("it took nothing more within {within:?} ({sent} bytes so far)")]
    Stalled {
        /// Bytes that the kernel had taken.
        sent: usize,
        /// How long it was waited for.
        within: Duration,
    },
    /// A file or directory that the system refuses.
    #[error("`{}`: {what}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// What the kernel says.
        source: io::Error,
    },
    /// More than anybody can want to have in one file.
    #[error("it would hold more than {limit} {what}")]
    Full {
        /// How many there may be.
        limit: usize,
        /// Of what.
        what: &'static str,
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
}

impl Fault {
    fn file(path: &Path, what: &'static str, source: io::Error) -> Self {
        Self::File { path: path.to_owned(), what, source }
    }
}

/// What the kernel says at the end of a wait that [`std::net`] was given a limit for.
fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
