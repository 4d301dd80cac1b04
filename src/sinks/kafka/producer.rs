//! Messages to a topic, of which each is acknowledged, or there is an error.
//!
//! The producer is idempotent: what librdkafka sends again by itself is stored once. What a caller hands over again
//! after an error may be stored twice.

use std::fmt;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext};

use super::{Cluster, Trouble, locked};
use crate::sinks::{Fault, SinkError};

/// KiB of messages that wait in memory for the brokers; whoever has more waits himself.
const QUEUE: u32 = 32 * 1024;

/// Between two looks at the delivery reports.
const STEP: Duration = Duration::from_millis(20);

/// Beyond the time that a message has: librdkafka looks only each second for those whose time is over.
const SLACK: Duration = Duration::from_secs(2);

/// Sends to one topic. The client is made when it is first needed, and made anew after each error, so that nothing
/// of what has failed arrives later or is counted then.
pub struct Producer {
    cluster: Cluster,
    topic: String,
    compression: &'static str,
    patience: Duration,
    client: Option<BaseProducer<Reports>>,
}

/// Messages that are acknowledged together: see [`Batch::finish`].
pub struct Batch<'p> {
    producer: &'p mut Producer,
    client: BaseProducer<Reports>,
    sent: usize,
}

/// What is sent.
#[derive(Clone, Copy, Debug)]
pub struct Message<'m> {
    /// Messages of one key are in one partition, in their order.
    pub key: &'m str,
    /// Names and values.
    pub headers: &'m [(&'m str, String)],
    /// The body.
    pub payload: &'m [u8],
}

/// What became of the messages of a batch.
#[derive(Debug, Default)]
struct Tally {
    acknowledged: usize,
    failed: usize,
    /// Of the first that failed.
    why: Option<RDKafkaErrorCode>,
}

#[derive(Debug, Default)]
struct Reports {
    tally: Mutex<Tally>,
    trouble: Trouble,
}

impl ClientContext for Reports {
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        super::log(facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.trouble.heard(&error, reason);
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let mut tally = locked(&self.tally);
        match result {
            Ok(_) => tally.acknowledged += 1,
            Err((error, _)) => {
                tally.failed += 1;
                tally.why = tally.why.or(error.rdkafka_error_code());
            }
        }
    }
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer")
            .field("cluster", &self.cluster)
            .field("topic", &self.topic)
            .finish_non_exhaustive()
    }
}

impl Producer {
    /// Connects to nobody yet. `compression` is in Kafka's words; the brokers have `patience` to acknowledge a
    /// message.
    #[must_use]
    pub fn new(cluster: Cluster, topic: &str, compression: &'static str, patience: Duration) -> Self {
        Self { cluster, topic: topic.to_owned(), compression, patience, client: None }
    }

    /// The brokers, as an error names them.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.cluster.brokers
    }

    /// Begins a batch.
    pub fn begin(&mut self) -> Result<Batch<'_>, SinkError> {
        let client = match self.client.take() {
            Some(client) => client,
            None => self.connect().map_err(|error| self.fault(Fault::Refused(said(&error))))?,
        };
        *locked(&client.context().tally) = Tally::default();
        Ok(Batch { producer: self, client, sent: 0 })
    }

    fn connect(&self) -> Result<BaseProducer<Reports>, KafkaError> {
        let milliseconds = |time: Duration| time.as_millis().to_string();
        let mut config = self.cluster.config();
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("compression.type", self.compression)
            .set("queue.buffering.max.kbytes", QUEUE.to_string())
            .set("message.timeout.ms", milliseconds(self.patience))
            // In time for it to be said why, and long enough for brokers that make a topic when it is asked for.
            .set("topic.metadata.propagation.max.ms", milliseconds(self.patience / 2));
        config.create_with_context(Reports::default())
    }

    fn fault(&self, fault: Fault) -> SinkError {
        SinkError { sink: "kafka", place: self.cluster.brokers.clone(), fault }
    }
}

impl Batch<'_> {
    /// Queues a message. Blocks while the queue is full, for as long as the brokers may take to acknowledge.
    pub fn send(&mut self, message: Message<'_>) -> Result<(), SinkError> {
        let topic = self.producer.topic.clone();
        let mut record =
            BaseRecord::to(&topic).key(message.key).payload(message.payload).headers(owned(message.headers));
        let deadline = Instant::now() + self.producer.patience + SLACK;
        loop {
            match self.client.send(record) {
                Ok(()) => {
                    self.sent += 1;
                    return Ok(());
                }
                Err((error, unsent)) => {
                    let full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
                    if !full || Instant::now() >= deadline {
                        return Err(self.failed(error.rdkafka_error_code()));
                    }
                    record = unsent;
                    // Not `flush`, which would make small batches.
                    self.client.poll(STEP);
                }
            }
        }
    }

    /// Waits until each message was acknowledged, by all brokers that keep it. An error says how many were; the
    /// others may still have been stored.
    pub fn finish(self) -> Result<(), SinkError> {
        let deadline = Instant::now() + self.producer.patience + SLACK;
        // It fails when the time is over before the queue is empty, and for no other reason.
        while self.client.flush(STEP).is_err() && Instant::now() < deadline {}
        if locked(&self.client.context().tally).acknowledged == self.sent {
            self.producer.client = Some(self.client);
            return Ok(());
        }
        Err(self.failed(None))
    }

    /// `why` is of a message that was not even queued.
    fn failed(&self, why: Option<RDKafkaErrorCode>) -> SinkError {
        let context = self.client.context();
        let tally = locked(&context.tally);
        let of = self.sent + usize::from(why.is_some());
        let patience = self.producer.patience;
        let why = match why.or(tally.why) {
            None | Some(RDKafkaErrorCode::MessageTimedOut | RDKafkaErrorCode::QueueFull) => {
                let heard = context.trouble.take().map(|heard| format!(": {heard}")).unwrap_or_default();
                format!("the others were not acknowledged within {patience:?}{heard}")
            }
            Some(code) => reason(code, &self.producer.topic),
        };
        self.producer.fault(Fault::Unacknowledged { acknowledged: tally.acknowledged, of, why })
    }
}

fn owned(headers: &[(&str, String)]) -> OwnedHeaders {
    let all = OwnedHeaders::new_with_capacity(headers.len());
    headers.iter().fold(all, |all, (key, value)| all.insert(Header { key, value: Some(value) }))
}

/// What can be done about it, where there is something.
fn reason(code: RDKafkaErrorCode, topic: &str) -> String {
    use RDKafkaErrorCode as Code;
    match code {
        Code::MessageSizeTooLarge | Code::InvalidMessageSize => {
            format!("a message is too large; raise `max.message.bytes` of the topic `{topic}`")
        }
        Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition => {
            format!("there is no topic `{topic}`, and the brokers do not make it by themselves; create it")
        }
        Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed => {
            format!("this client may not write to the topic `{topic}`; give it the right to")
        }
        Code::Authentication | Code::SaslAuthenticationFailed => {
            "the brokers refuse the credentials; see the options `rdkafka.sasl.…`".to_owned()
        }
        other => other.to_string(),
    }
}

fn said(error: &KafkaError) -> String {
    match error {
        KafkaError::ClientCreation(reason) | KafkaError::ClientConfig(_, reason, ..) => reason.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
