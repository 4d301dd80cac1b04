//! The loop: messages in, snapshots into the spool, receipts in, offsets out.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use super::assembler::{Assembler, Caps, Collected};
use super::consumer::{Consumer, Received};
use super::desk::{Desk, Task};
use super::ledger::OffsetLedger;
use super::shelf::Shelf;
use super::windows::{Limits, Windows};
use super::{CollectError, Counts, Note};
use crate::stats::settings;
use crate::stats::spool::{Snapshot, SpoolError};

/// Bytes of parts that wait for the rest of their snapshots: the largest dump, some times over.
const PARTS: Caps = Caps { bytes: 256 << 20, patience: Duration::from_secs(60) };

/// Windows of a cluster that are kept for late machines: as many snapshots as a `pull` queues by default while Kafka
/// is away, so that machines may catch up one after the other.
const WINDOWS: usize = 360;

/// Bytes of all windows that are kept.
const WINDOW_BYTES: u64 = 256 << 20;

/// Messages of one turn; the disk, receipts and commits have their turn after that.
const BURST: usize = 256;

/// Between two commits: each is a request to the brokers.
const COMMITS: Duration = Duration::from_millis(500);

/// Between two commits of all positions, new or not: one may have been refused, as while partitions change hands.
const ALL_COMMITS: Duration = Duration::from_secs(5);

/// While the brokers are in trouble, this is said again after so long.
const REPEAT: Duration = Duration::from_secs(60);

/// Beginning of a topic's name in the names of damaged messages' files.
const NAMED: usize = 100;

/// Collects snapshots. See [`Collector::turn`].
pub struct Collector {
    consumer: Consumer,
    place: String,
    queue: usize,
    assembler: Assembler,
    ledger: OffsetLedger,
    desk: Desk,
    receipts: (Sender<PathBuf>, Receiver<PathBuf>),
    is_paused: bool,
    committed: Option<Instant>,
    committed_all: Option<Instant>,
    /// When it was last said.
    trouble: Option<Instant>,
}

/// Tells a [`Collector`] of deliveries, from any thread.
#[derive(Clone, Debug)]
pub struct Receipts(Sender<PathBuf>);

impl Receipts {
    /// A snapshot is done with: all outlets have taken it, or it was found to be of no use. To be called before it is
    /// removed from the spool or set aside, as its place may be another's afterwards. Snapshots of others do no harm.
    pub fn finished(&self, snapshot: &Snapshot) {
        // A collector that is gone reads it again at its next start.
        let _ = self.0.send(snapshot.path.clone());
    }
}

impl Collector {
    /// Joins the group at the first turn. `ready` is the spool that is processed, `[process] src-dir`; `queue` is the
    /// number of snapshots in it at which nothing more is read.
    pub fn open(settings: &settings::Kafka, ready: &Path, queue: usize) -> Result<Self, CollectError> {
        let place = settings.cluster().brokers;
        let shelf = Shelf::open(ready)?;
        let limits = Limits { wait: settings.cluster_wait, windows: WINDOWS, bytes: WINDOW_BYTES };
        let mut windows = Windows::new(limits);
        shelf.restore(&mut windows)?;
        let consumer = Consumer::new(settings)
            .map_err(|source| CollectError::Kafka { brokers: place.clone(), source })?;
        Ok(Self {
            consumer,
            place,
            queue,
            assembler: Assembler::new(PARTS),
            ledger: OffsetLedger::default(),
            desk: Desk::new(shelf, windows),
            receipts: mpsc::channel(),
            is_paused: false,
            committed: None,
            committed_all: None,
            trouble: None,
        })
    }

    /// Where the delivery tells what it is done with.
    #[must_use]
    pub fn receipts(&self) -> Receipts {
        Receipts(self.receipts.0.clone())
    }

    /// The brokers of the settings, for messages to people.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    /// How many partitions are read here; the others are read by other members of the group.
    #[must_use]
    pub fn partitions(&self) -> usize {
        self.consumer.partitions()
    }

    /// What was done so far.
    pub fn counts(&mut self) -> Counts {
        *self.desk.counts()
    }

    /// Waits for messages, for up to `patience`, and does what they ask for. To be called again and again, each five
    /// minutes at least, or the group takes the partitions away. Where the disk refuses something, that is tried again
    /// at the next turn, nothing more is read until then, and what there is to note is told later.
    pub fn turn(&mut self, patience: Duration) -> Result<Vec<Note>, SpoolError> {
        let deadline = Instant::now() + patience;
        let waiting = self.work().and_then(|()| self.desk.waiting());
        self.pause(!waiting.as_ref().is_ok_and(|waiting| *waiting < self.queue));
        self.read(deadline);
        self.look_at_the_clock();
        let worked = waiting.and_then(|_| self.work());
        self.commit();
        worked.map(|()| self.desk.notes())
    }

    /// Commits what is finished and leaves the group, within five seconds. Other threads must have told before what
    /// they are done with.
    pub fn close(mut self) {
        self.take_receipts();
        self.ledger.commit_again();
        let positions = self.ledger.commits();
        self.consumer.close(&positions);
    }

    fn work(&mut self) -> Result<(), SpoolError> {
        let receipts = &self.receipts.1;
        let worked = self.desk.work(&mut |desk| take_receipts(receipts, desk));
        self.take_receipts();
        worked
    }

    fn take_receipts(&mut self) {
        take_receipts(&self.receipts.1, &mut self.desk);
        let finished = self.desk.finished();
        if !finished.is_empty() {
            self.ledger.finish(&finished);
        }
    }

    fn pause(&mut self, pause: bool) {
        if pause || self.is_paused {
            // Each time anew: partitions that came since then are not paused.
            let said = self.consumer.pause(pause);
            self.heard(said.err().map(|error| error.to_string()));
        }
        if self.is_paused && !pause {
            self.assembler.excuse(Instant::now());
        }
        self.is_paused = pause;
    }

    /// Reads until the deadline, or until there is something to do.
    fn read(&mut self, deadline: Instant) {
        let until = deadline.min(self.desk.next_close().unwrap_or(deadline));
        for _ in 0..BURST {
            let polled = self.consumer.poll(until.saturating_duration_since(Instant::now()));
            self.forget_revoked();
            match polled {
                None => break,
                Some(Ok(received)) => self.take(received),
                Some(Err(error)) => {
                    let reason = self.consumer.trouble().unwrap_or_else(|| error.to_string());
                    self.heard(Some(reason));
                }
            }
            if !self.is_paused && !self.desk.is_idle() {
                break;
            }
        }
        let trouble = self.consumer.trouble();
        self.heard(trouble);
    }

    fn forget_revoked(&mut self) {
        for partition in self.consumer.revoked() {
            self.ledger.forget(partition);
            self.assembler.forget(partition);
        }
    }

    fn take(&mut self, Received { partition, offset, part, payload }: Received) {
        self.desk.counts().messages += 1;
        if self.trouble.take().is_some() {
            self.desk.note(Note::Recovered);
        }
        let taken = part.and_then(|part| self.assembler.take(Instant::now(), partition, &part, &payload));
        match taken {
            Ok(taken) => {
                self.ledger.read(partition, offset, Some(taken.ticket));
                if let Some(whole) = taken.whole {
                    self.desk.add_whole(whole);
                }
                self.give_up(taken.given_up, "too much waits for the rest of other snapshots");
            }
            Err(damage) => {
                self.ledger.read(partition, offset, None);
                self.desk.add(self.damaged(partition, offset, damage.to_string(), payload));
            }
        }
    }

    fn damaged(&self, partition: i32, offset: i64, why: String, payload: Vec<u8>) -> Task {
        let topic = self.consumer.topic();
        let named: String = topic.chars().take(NAMED).collect();
        Task::Damaged {
            place: format!("{topic} [{partition}] at offset {offset}"),
            called: format!("{named}-{partition}-{offset}"),
            why,
            payload,
        }
    }

    fn give_up(&mut self, gone: Vec<Collected>, why: &str) {
        for gone in gone {
            self.desk.add(Task::SetAside(gone, why.to_owned()));
        }
    }

    fn look_at_the_clock(&mut self) {
        let now = Instant::now();
        // Nothing can have come where nothing was read.
        if !self.is_paused {
            let late = self.assembler.expire(now);
            self.give_up(late, "the rest of it did not come within a minute");
        }
        self.desk.look_at_the_clock(now);
    }

    fn commit(&mut self) {
        let now = Instant::now();
        let is_after = |last: Option<Instant>, pause| last.is_none_or(|last| now >= last + pause);
        if !is_after(self.committed, COMMITS) {
            return;
        }
        if is_after(self.committed_all, ALL_COMMITS) {
            self.committed_all = Some(now);
            self.ledger.commit_again();
        }
        let positions = self.ledger.commits();
        if positions.is_empty() {
            return;
        }
        self.committed = Some(now);
        if let Err(error) = self.consumer.commit(&positions) {
            self.heard(Some(error.to_string()));
        }
    }

    fn heard(&mut self, trouble: Option<String>) {
        let Some(trouble) = trouble else { return };
        let now = Instant::now();
        if self.trouble.is_none_or(|said| now.saturating_duration_since(said) >= REPEAT) {
            self.trouble = Some(now);
            self.desk.note(Note::Trouble(format!("kafka {}: {trouble}", self.place)));
        }
    }
}

fn take_receipts(receipts: &Receiver<PathBuf>, desk: &mut Desk) {
    for path in receipts.try_iter() {
        desk.delivered(&path);
    }
}
