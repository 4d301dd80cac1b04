//! Kafka: whole snapshots as they were pulled, for a machine elsewhere that processes them. What a message looks like
//! is in [`crate::stats::collect::part`].

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::Outlet;
use crate::sinks::kafka::{Batch, Message, Producer};
use crate::sinks::{Fault, SinkError};
use crate::stats::collect::part::{Id, PART, Part, plain};
use crate::stats::reading::{MAX_DUMP, ReadError, dumps};
use crate::stats::{Snapshot, settings};

/// A snapshot that is handed over as it is. Its files are read when they are sent, one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawSnapshot {
    /// Epoch seconds of its pull.
    pub time: u64,
    /// Its number among those of the same second.
    pub number: u32,
    files: Vec<PathBuf>,
}

impl RawSnapshot {
    /// Looks which files there are.
    pub fn of(snapshot: &Snapshot) -> Result<Self, ReadError> {
        let files = dumps(&snapshot.path)?.concat();
        Ok(Self { time: snapshot.time, number: snapshot.number, files })
    }
}

/// Sends snapshots to a topic.
#[derive(Debug)]
pub struct RawOutlet {
    producer: Producer,
    host: String,
    cluster: Option<String>,
}

impl RawOutlet {
    /// Connects to nobody yet. `host` is this machine's whole name; characters that no host name has become
    /// underscores.
    #[must_use]
    pub fn new(settings: &settings::Kafka, host: &str, cluster: Option<&str>) -> Self {
        let compression = settings.compression.name();
        let producer =
            Producer::new(settings.cluster(), &settings.raw_topic, compression, settings.message_timeout);
        Self { producer, host: plain(host), cluster: cluster.map(str::to_owned) }
    }
}

impl Outlet<RawSnapshot> for RawOutlet {
    fn deliver(&mut self, snapshot: &RawSnapshot) -> Result<(), SinkError> {
        let id = Id { host: self.host.clone(), time: snapshot.time, number: snapshot.number };
        let files = u32::try_from(snapshot.files.len()).unwrap_or(u32::MAX);
        let mut part =
            Part { id, cluster: self.cluster.clone(), files, file: String::new(), part: 1, parts: 1 };
        let place = self.producer.place().to_owned();
        let mut batch = self.producer.begin()?;
        for path in &snapshot.files {
            part.file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let bytes = load(path).map_err(|source| SinkError {
                sink: "kafka",
                place: place.clone(),
                fault: Fault::File { path: path.clone(), what: "cannot be read", source },
            })?;
            send_file(&mut batch, &mut part, &bytes)?;
        }
        batch.finish()
    }
}

fn load(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_DUMP as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn send_file(batch: &mut Batch<'_>, part: &mut Part, bytes: &[u8]) -> Result<(), SinkError> {
    // An empty file has a part, too.
    let chunks: Vec<&[u8]> = if bytes.is_empty() { vec![&[]] } else { bytes.chunks(PART).collect() };
    part.parts = u32::try_from(chunks.len()).unwrap_or(u32::MAX);
    for (number, payload) in (1..).zip(chunks) {
        part.part = number;
        let headers = part.headers(payload);
        batch.send(Message { key: part.key(), headers: &headers, payload })?;
    }
    Ok(())
}
