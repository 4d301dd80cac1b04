//! Kafka, through librdkafka: how a client is set up, and what is listened to while it works. The producer is in
//! `producer.rs`; [`crate::stats::collect`] consumes.
//!
//! librdkafka has threads of its own and reconnects by itself. It writes to nobody: its log lines are ours at the
//! level `debug`, as it repeats each failed try, and the last of its errors is kept for those who wait in vain.

mod producer;

use std::sync::{Mutex, MutexGuard, PoisonError};

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

pub use producer::{Batch, Message, Producer};

/// Brokers, and what is needed to speak to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Some of them, as `HOST:PORT`, separated by commas.
    pub brokers: String,
    /// What they call this client.
    pub client_id: String,
    /// Further options of librdkafka, such as those of TLS and SASL.
    pub options: Vec<(String, String)>,
}

/// What this program's promises rest on, and what it has options of its own for.
const OWN: [&str; 20] = [
    "acks",
    "auto.offset.reset",
    "bootstrap.servers",
    "client.id",
    "compression.codec",
    "compression.type",
    "delivery.timeout.ms",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.gapless.guarantee",
    "enable.idempotence",
    "enable.partition.eof",
    "group.id",
    "log_level",
    "message.timeout.ms",
    "metadata.broker.list",
    "partition.assignment.strategy",
    "request.required.acks",
    "statistics.interval.ms",
    "transactional.id",
];

/// Whether librdkafka, as it was built, knows this option and takes this value; says why not.
pub fn check_option(key: &str, value: &str) -> Result<(), String> {
    if OWN.contains(&key) {
        return Err("this is set by the program itself; take the option out".to_owned());
    }
    let mut config = ClientConfig::new();
    match config.set(key, value).create_native_config() {
        Ok(_) => Ok(()),
        Err(KafkaError::ClientConfig(_, reason, ..)) => Err(format!("librdkafka says: {reason}")),
        Err(error) => Err(format!("librdkafka says: {error}")),
    }
}

impl Cluster {
    /// What producers and consumers have in common.
    #[must_use]
    pub fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers).set("client.id", &self.client_id);
        // Who waits for ten seconds before it tries again is late for what has a deadline of five.
        config.set("reconnect.backoff.max.ms", "1000");
        // Its lines are for who looks for a fault; see `Trouble::heard`.
        config.set_log_level(RDKafkaLogLevel::Info);
        for (key, value) in &self.options {
            config.set(key, value);
        }
        config
    }
}

/// The last error that a client has told of; it may be over.
#[derive(Debug, Default)]
pub struct Trouble(Mutex<Option<String>>);

impl Trouble {
    /// The last one, which is forgotten by this.
    pub fn take(&self) -> Option<String> {
        locked(&self.0).take()
    }

    /// To be called by [`rdkafka::ClientContext::error`].
    pub fn heard(&self, error: &KafkaError, reason: &str) {
        // That all are down follows the reasons of each, and says less.
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::AllBrokersDown) {
            *locked(&self.0) = Some(reason.to_owned());
        }
    }
}

/// A line of librdkafka; to be called by [`rdkafka::ClientContext::log`].
pub fn log(facility: &str, message: &str) {
    log::debug!("librdkafka: {facility}: {message}");
}

/// What a mutex holds, whatever happened to another holder: it is replaced as a whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_is_refused_with_librdkafkas_words_or_ours() {
        assert_eq!(check_option("socket.keepalive.enable", "true"), Ok(()));
        let error = check_option("socket.keepalive.enabled", "true").unwrap_err();
        assert!(error.contains("No such configuration property: \"socket.keepalive.enabled\""), "{error}");
        let error = check_option("socket.timeout.ms", "soon").unwrap_err();
        assert!(error.starts_with("librdkafka says: Invalid value"), "{error}");
        for key in OWN {
            assert!(check_option(key, "1").unwrap_err().contains("set by the program itself"), "{key}");
        }
    }
}
