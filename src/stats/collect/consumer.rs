//! The member of a consumer group: what it reads, pauses, commits, and what is taken from it.

use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::part::{Damage, Part};
use crate::sinks::kafka::{self, Trouble};
use crate::stats::settings;

/// KiB that are fetched ahead: what one partition gives at once, some times over.
const FETCHED: &str = "16384";

/// How long the last commit may take, and to leave the group; the brokers notice a member that is gone all the same.
const FAREWELL: Duration = Duration::from_secs(5);

/// What was read.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) part: Result<Part, Damage>,
    pub(super) payload: Vec<u8>,
}

/// A consumer of one topic.
pub(super) struct Consumer {
    client: Option<BaseConsumer<Watch>>,
    topic: String,
}

/// What happens while the consumer is polled.
#[derive(Default)]
struct Watch {
    trouble: Trouble,
    revoked: Mutex<Vec<i32>>,
}

impl ClientContext for Watch {
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        kafka::log(facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.trouble.heard(&error, reason);
    }
}

impl ConsumerContext for Watch {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Revoke(partitions) = rebalance {
            let gone = partitions.elements().into_iter().map(|element| element.partition());
            self.revoked.lock().unwrap_or_else(PoisonError::into_inner).extend(gone);
        }
    }
}

impl Consumer {
    /// Joins the group, when it is first polled.
    pub(super) fn new(settings: &settings::Kafka) -> KafkaResult<Self> {
        let mut config = settings.cluster().config();
        config
            .set("group.id", &settings.group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "earliest")
            // What stays with a member is not read by it again.
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("allow.auto.create.topics", "true")
            // A topic that is made later is found by then.
            .set("topic.metadata.refresh.interval.ms", "10000")
            .set("queued.max.messages.kbytes", FETCHED)
            // Its log lines would wait in a queue that is not polled; its errors come all the same.
            .set_log_level(RDKafkaLogLevel::Emerg);
        let client: BaseConsumer<Watch> = config.create_with_context(Watch::default())?;
        client.subscribe(&[&settings.raw_topic])?;
        Ok(Self { client: Some(client), topic: settings.raw_topic.clone() })
    }

    pub(super) fn topic(&self) -> &str {
        &self.topic
    }

    /// The next message, if there is one within this time. This is also what keeps the membership alive.
    pub(super) fn poll(&self, wait: Duration) -> Option<KafkaResult<Received>> {
        let message = self.client.as_ref()?.poll(wait)?;
        Some(message.map(|message| received(&message)))
    }

    /// How many partitions are this member's.
    pub(super) fn partitions(&self) -> usize {
        let assignment = self.client.as_ref().and_then(|client| client.assignment().ok());
        assignment.map_or(0, |list| list.count())
    }

    /// Reads nothing on, or again. Partitions that come later are not paused by it.
    pub(super) fn pause(&self, pause: bool) -> KafkaResult<()> {
        let Some(client) = &self.client else { return Ok(()) };
        let all = client.assignment()?;
        match all.count() {
            0 => Ok(()),
            _ if pause => client.pause(&all),
            _ => client.resume(&all),
        }
    }

    /// Commits without waiting for the answer, of which nobody hears: it is to be done again from time to time.
    pub(super) fn commit(&self, positions: &[(i32, i64)]) -> KafkaResult<()> {
        match &self.client {
            Some(client) if !positions.is_empty() => {
                client.commit(&list(&self.topic, positions)?, CommitMode::Async)
            }
            _ => Ok(()),
        }
    }

    /// Commits, waits for the answer, and leaves the group; gives up after five seconds.
    pub(super) fn close(mut self, positions: &[(i32, i64)]) {
        self.leave(list(&self.topic, positions).unwrap_or_default());
    }

    fn leave(&mut self, last: TopicPartitionList) {
        let Some(client) = self.client.take() else { return };
        let (done, wait) = mpsc::channel();
        // The library waits for brokers for as long as it takes, so that it does so aside.
        thread::spawn(move || {
            if last.count() > 0 {
                // What is not committed is read again.
                let _ = client.commit(&last, CommitMode::Sync);
            }
            drop(client);
            let _ = done.send(());
        });
        // Nothing depends on it.
        let _ = wait.recv_timeout(FAREWELL);
    }

    /// Partitions that were taken away since the last time that this was asked.
    pub(super) fn revoked(&self) -> Vec<i32> {
        let Some(client) = &self.client else { return Vec::new() };
        std::mem::take(&mut *client.context().revoked.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The last error of the brokers.
    pub(super) fn trouble(&self) -> Option<String> {
        self.client.as_ref()?.context().trouble.take()
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.leave(TopicPartitionList::new());
    }
}

fn list(topic: &str, positions: &[(i32, i64)]) -> KafkaResult<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    for (partition, offset) in positions {
        list.add_partition_offset(topic, *partition, Offset::Offset(*offset))?;
    }
    Ok(list)
}

fn received(message: &BorrowedMessage<'_>) -> Received {
    let payload = message.payload().unwrap_or_default();
    let headers: Vec<(&str, &[u8])> = match message.headers() {
        Some(headers) => {
            headers.iter().map(|header| (header.key, header.value.unwrap_or_default())).collect()
        }
        None => Vec::new(),
    };
    Received {
        partition: message.partition(),
        offset: message.offset(),
        part: Part::read(&headers, payload),
        payload: payload.to_vec(),
    }
}
