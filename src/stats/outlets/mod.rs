//! Where the datapoints of a snapshot go: one file for each kind of destination, which puts them into the form that
//! its sink carries. Connecting and sending is [`crate::sinks`]'s, when and how often [`super::delivery`]'s.

mod graphite;
#[cfg(feature = "kafka")]
mod kafka;
mod local_store;
mod names;
mod prometheus;
#[cfg(feature = "kafka")]
mod raw;
mod statsd;

pub use graphite::GraphiteOutlet;
#[cfg(feature = "kafka")]
pub use kafka::KafkaOutlet;
pub use local_store::LocalStoreOutlet;
pub use prometheus::{Exposition, PrometheusOutlet};
#[cfg(feature = "kafka")]
pub use raw::{RawOutlet, RawSnapshot};
pub use statsd::StatsdOutlet;

use super::aggregate::Number;
use super::delivery::{Lane, Retry};
use super::settings::Settings;
use super::{Naming, Reading};
use crate::sinks::{SinkError, Value};

/// A destination of what is read from snapshots, such as [`super::Reading`].
pub trait Outlet<R>: Send {
    /// Hands all of it over. Blocks, each wait under a deadline. On success the destination has taken all of it; after
    /// an error the same is handed over again, whole.
    fn deliver(&mut self, reading: &R) -> Result<(), SinkError>;
}

/// All destinations of a configuration, each with its section's name. `host` is this machine's name.
#[must_use]
pub fn lanes<'s>(settings: &Settings, host: &str) -> Vec<Lane<Reading<'s>>> {
    let naming = Naming::new(&settings.naming, host);
    let mut lanes: Vec<Lane<Reading<'s>>> = Vec::new();
    if let Some(graphite) = &settings.graphite {
        let outlet = Box::new(GraphiteOutlet::new(graphite, naming.clone()));
        lanes.push(Lane { name: "graphite", outlet, retry: graphite.retry() });
    }
    if let Some(statsd) = &settings.statsd {
        let outlet = Box::new(StatsdOutlet::new(statsd, naming.within(&statsd.namespace)));
        lanes.push(Lane { name: "statsd", outlet, retry: Retry::default() });
    }
    if let Some(store) = &settings.local_store {
        let outlet = Box::new(LocalStoreOutlet::new(store, naming.clone()));
        lanes.push(Lane { name: "local-store", outlet, retry: Retry::default() });
    }
    if let Some(prometheus) = &settings.prometheus {
        let outlet = Box::new(PrometheusOutlet::new(prometheus));
        lanes.push(Lane { name: "prometheus", outlet, retry: Retry::default() });
    }
    #[cfg(feature = "kafka")]
    if let Some(kafka) = &settings.kafka
        && let Some(outlet) = KafkaOutlet::new(kafka, host, settings.pull.cluster.as_deref(), naming.clone())
    {
        lanes.push(Lane { name: "kafka", outlet: Box::new(outlet), retry: Retry::default() });
    }
    lanes
}

impl From<Number> for Value {
    fn from(number: Number) -> Self {
        match number {
            Number::Integer(value) => Self::Integer(value),
            Number::Real(value) => Self::Real(value),
        }
    }
}

#[cfg(test)]
mod tests;
