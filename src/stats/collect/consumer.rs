//! The member of a consumer group: what it reads, pauses, commits, and what is taken from it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
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

/// How long it may take to leave the group; the brokers notice a member that is gone all the same.
const FAREWELL: Duration = Duration::from_secs(3);

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
    commit_failed: Mutex<Option<String>>,
    /// Commits that were not answered.
    commits: AtomicUsize,
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

    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        self.commits.fetch_sub(1, Ordering::Relaxed);
        if let Err(error) = result {
            *self.commit_failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
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
            .set("queued.max.messages.kbytes", FETCHED);
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

    /// Commits without waiting for the answer.
    pub(super) fn commit(&self, positions: &[(i32, i64)]) -> KafkaResult<()> {
        let mut list = TopicPartitionList::new();
        for (partition, offset) in positions {
            list.add_partition_offset(&self.topic, *partition, Offset::Offset(*offset))?;
        }
        match &self.client {
            Some(client) if !positions.is_empty() => {
                client.commit(&list, CommitMode::Async)?;
                client.context().commits.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Whether all commits were answered.
    pub(super) fn is_settled(&self) -> bool {
        self.client.as_ref().is_none_or(|client| client.context().commits.load(Ordering::Relaxed) == 0)
    }

    /// Why a commit was refused since the last time that this was asked.
    pub(super) fn commit_failed(&self) -> Option<String> {
        let watch = self.client.as_ref()?.context();
        watch.commit_failed.lock().unwrap_or_else(PoisonError::into_inner).take()
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
    /// Leaves the group. The library waits for the brokers for as long as it takes, so that it does so aside.
    fn drop(&mut self) {
        let Some(client) = self.client.take() else { return };
        let (done, wait) = std::sync::mpsc::channel();
        thread::spawn(move || {
            drop(client);
            let _ = done.send(());
        });
        // Nothing depends on it.
        let _ = wait.recv_timeout(FAREWELL);
    }
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
