//! Prometheus: a text file for node exporter's textfile collector, with the newest reading of this machine and of each
//! other one. What metrics are called is in `names.rs`.
//!
//! Nothing is read back from the file: after a restart it holds what was delivered since, and may show a reading once
//! that is older than what it showed before. `haproxystats_snapshot_time_seconds` tells.

mod live;
mod names;
mod samples;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

pub use live::Exposition;

use super::Outlet;
use crate::sinks::{Fault, SinkError, WholeFile, write_label};
use crate::stats::{Reading, settings};
use samples::{Catalogue, Samples};

const SINK: &str = "prometheus";

/// This one and the others; Prometheus has better ways for so many.
const MAX_MACHINES: usize = 1000;
/// Over all machines: 80 MB of memory, and a file of 400 MB that node exporter would have to read each time.
const MAX_SAMPLES: usize = 5_000_000;

/// A machine that was not heard of for so long is left out. By this process' own clock: those of other machines may be
/// wrong, and one that is ahead must not make all others look old.
const FORGET_AFTER: Duration = Duration::from_secs(600);

/// Writes the newest readings to a file, whole each time.
#[derive(Debug)]
pub struct PrometheusOutlet {
    file: PathBuf,
    catalogue: Catalogue,
    /// By origin; this machine has none.
    machines: BTreeMap<Option<String>, Machine>,
}

#[derive(Debug)]
struct Machine {
    /// Time and number of its snapshot.
    snapshot: (u64, u32),
    heard: Instant,
    /// The label with its name.
    label: String,
    samples: Samples,
}

impl PrometheusOutlet {
    /// Writes nothing yet. The file's directory has to be there.
    #[must_use]
    pub fn new(settings: &settings::Prometheus) -> Self {
        Self { file: settings.file.clone(), catalogue: Catalogue::new(), machines: BTreeMap::new() }
    }

    fn deliver_at(&mut self, reading: &Reading<'_>, now: Instant) -> Result<(), SinkError> {
        self.machines.retain(|_, machine| now.saturating_duration_since(machine.heard) < FORGET_AFTER);
        let snapshot = (reading.time, reading.number);
        if self.machines.get(&reading.origin).is_some_and(|machine| machine.snapshot >= snapshot) {
            return Ok(());
        }
        let machine = Machine {
            snapshot,
            heard: now,
            label: host_label(reading.origin.as_deref()),
            samples: Samples::of(reading, &self.catalogue),
        };
        let before = self.machines.insert(reading.origin.clone(), machine);
        let written = self.check().and_then(|()| self.write());
        if written.is_err() {
            self.put_back(reading.origin.as_ref(), before);
        }
        written
    }

    /// What was not written is not there when it is delivered again.
    fn put_back(&mut self, origin: Option<&String>, before: Option<Machine>) {
        let origin = origin.cloned();
        match before {
            Some(machine) => self.machines.insert(origin, machine),
            None => self.machines.remove(&origin),
        };
    }

    fn check(&self) -> Result<(), SinkError> {
        let samples: usize = self.machines.values().map(|machine| machine.samples.count()).sum();
        let (limit, what) = match (self.machines.len(), samples) {
            (1..=MAX_MACHINES, 0..=MAX_SAMPLES) => return Ok(()),
            (..=MAX_MACHINES, _) => (MAX_SAMPLES, "samples"),
            _ => (MAX_MACHINES, "machines"),
        };
        let place = self.file.display().to_string();
        Err(SinkError { sink: SINK, place, fault: Fault::Full { limit, what } })
    }

    fn write(&self) -> Result<(), SinkError> {
        let mut file = WholeFile::begin(SINK, &self.file, &self.file)?;
        file.show_to_all()?;
        self.write_samples(&mut |text| file.write(text))?;
        file.finish()
    }

    fn write_samples<E>(&self, write: &mut dyn FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let machines = self.machines.values().map(|machine| (&*machine.label, &machine.samples));
        self.catalogue.write(&machines.collect::<Vec<_>>(), write)
    }
}

/// Of this machine, Prometheus knows whose the file is.
fn host_label(origin: Option<&str>) -> String {
    let mut label = String::new();
    if let Some(origin) = origin {
        write_label(&mut label, "host", origin);
    }
    label
}

impl Outlet<Reading<'_>> for PrometheusOutlet {
    /// A reading that is not newer than what is there of its machine is taken and not written.
    fn deliver(&mut self, reading: &Reading<'_>) -> Result<(), SinkError> {
        self.deliver_at(reading, Instant::now())
    }
}
