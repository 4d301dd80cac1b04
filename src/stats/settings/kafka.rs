//! `[kafka]`: where statistics go to and where raw snapshots come from, through Kafka.

use std::collections::BTreeMap;
use std::time::Duration;

use super::reader::Reader;
use super::remark::FaultKind;
use super::table::{KAFKA, RDKAFKA};
use super::value;

/// Kafka as a sink of datapoints, and as the way of raw snapshots from machines that pull to those that process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kafka {
    /// Some of the brokers, each as `HOST:PORT`; they tell of the others.
    pub brokers: Vec<String>,
    /// Where datapoints go; `None` where the section is there for raw snapshots only.
    pub topic: Option<String>,
    /// Where raw snapshots go.
    pub raw_topic: String,
    /// The group in which consumers of raw snapshots share the work.
    pub group: String,
    /// How batches of messages are made smaller.
    pub compression: Compression,
    /// How long the brokers may take to acknowledge a message.
    pub message_timeout: Duration,
    /// How long the snapshots of a cluster's machines wait for each other.
    pub cluster_wait: Duration,
    /// How brokers call this client in their logs and quotas.
    pub client_id: String,
    /// Further options of librdkafka, without the `rdkafka.` that they begin with in the file.
    pub options: BTreeMap<String, String>,
}

/// How batches of messages are made smaller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// As in RFC 1952.
    Gzip,
    /// Google's Snappy.
    Snappy,
    /// LZ4: to a tenth of a dump's size, at the least cost.
    #[default]
    Lz4,
}

impl Compression {
    /// Its name, in Kafka's words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
        }
    }
}

impl Kafka {
    /// What a client is set up from.
    #[cfg(feature = "kafka")]
    #[must_use]
    pub fn cluster(&self) -> crate::sinks::kafka::Cluster {
        crate::sinks::kafka::Cluster {
            brokers: self.brokers.join(","),
            client_id: self.client_id.clone(),
            options: self.options.clone().into_iter().collect(),
        }
    }

    pub(super) fn read(reader: &mut Reader) -> Self {
        if cfg!(not(feature = "kafka")) {
            reader.fault_of_section(KAFKA, FaultKind::NoKafka);
        } else if reader.document.get(KAFKA, "brokers").is_none() {
            let example = "kafka-1.example.com:9092";
            reader.fault_of_section(KAFKA, FaultKind::Needed { key: "brokers", example });
        }
        Self {
            brokers: reader.get(KAFKA, "brokers", value::brokers),
            topic: reader.optional(KAFKA, "topic", value::plain),
            raw_topic: reader.get(KAFKA, "raw-topic", value::plain),
            group: reader.get(KAFKA, "group", value::text),
            compression: reader.get(KAFKA, "compression", value::compression),
            message_timeout: reader.get(KAFKA, "message-timeout", value::patience),
            cluster_wait: reader.get(KAFKA, "cluster-wait", value::wait),
            client_id: reader.get(KAFKA, "client-id", value::text),
            options: options(reader),
        }
    }
}

fn options(reader: &mut Reader) -> BTreeMap<String, String> {
    let keys = reader.document.options(KAFKA).map(|(key, ..)| key.to_owned());
    let keys: Vec<String> = keys.filter(|key| key.starts_with(RDKAFKA)).collect();
    let mut options = BTreeMap::new();
    for key in keys {
        let Some(entry) = reader.entry(KAFKA, &key) else { continue };
        let own = key.trim_start_matches(RDKAFKA).to_owned();
        match check(&own, &entry.value) {
            Ok(()) => drop(options.insert(own, entry.value)),
            Err(reason) => reader.fault_at(&entry, KAFKA, &key, FaultKind::Rdkafka(reason)),
        }
    }
    options
}

#[cfg(feature = "kafka")]
fn check(key: &str, value: &str) -> Result<(), String> {
    crate::sinks::kafka::check_option(key, value)
}

/// Nobody is there to ask.
#[cfg(not(feature = "kafka"))]
fn check(_key: &str, _value: &str) -> Result<(), String> {
    Err(FaultKind::NoKafka.to_string())
}
