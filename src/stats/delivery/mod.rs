//! Delivery: what lies in the spool is handed to all destinations, the oldest first, and leaves the spool when all of
//! them have it. So the spool is the queue, and whoever ends this program at whatever moment loses nothing.
//!
//! Each destination has a lane: a thread of its own, so that one that is slow or down is in nobody's way. Workers read
//! snapshots for the lanes, a few ahead of them. What is read and taken when is decided in `board.rs`.

mod board;
mod event;
mod retry;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

pub use event::Event;
pub use retry::Retry;

use super::outlets::Outlet;
use super::{ReadError, Snapshot, Spool, SpoolError};
use crate::sinks::SinkError;
use board::{Board, Key, Presence, Taken, key};

/// A destination, and how it is served.
pub struct Lane<R> {
    /// What the mark in a snapshot says that this one took, and others have not: the name of its section.
    pub name: &'static str,
    /// Where things go.
    pub outlet: Box<dyn Outlet<R>>,
    /// When it is tried again.
    pub retry: Retry,
}

/// How snapshots are read.
type Read<R> = dyn Fn(&Snapshot) -> Result<R, ReadError> + Send + Sync;
/// Who is told what happens; from any thread.
type Tell = dyn Fn(&Event<'_>) + Send + Sync;

/// Lanes and workers at work.
pub struct Delivery<R>(Arc<Hall<R>>);

/// Where they meet.
struct Hall<R> {
    spool: Spool,
    /// Of the lanes.
    names: Vec<&'static str>,
    read: Box<Read<R>>,
    tell: Box<Tell>,
    /// Whether a lane that fails is tried for ever.
    endures: bool,
    desk: Mutex<Desk<R>>,
    changed: Condvar,
}

struct Desk<R> {
    board: Board<R>,
    is_leaving: bool,
    /// Lanes that have not ended.
    lanes: usize,
    /// Looks at the spool that failed.
    trouble: Trouble,
    /// Snapshots that can be neither read nor removed, and when that was said.
    stuck: BTreeMap<Key, Instant>,
}

/// The same failure is said again after this long.
const REMINDER: Duration = Duration::from_secs(60);

impl<R: Send + Sync + 'static> Delivery<R> {
    /// Starts a thread for each lane, and `workers` that read. Without `endures`, a lane that has failed as often as
    /// its [`Retry`] has tries is given up.
    pub fn start(
        spool: Spool,
        lanes: Vec<Lane<R>>,
        (workers, endures): (usize, bool),
        read: impl Fn(&Snapshot) -> Result<R, ReadError> + Send + Sync + 'static,
        tell: impl Fn(&Event<'_>) + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let board = Board::new(lanes.len(), workers);
        let hall = Arc::new(Hall {
            spool,
            names: lanes.iter().map(|lane| lane.name).collect(),
            read: Box::new(read),
            tell: Box::new(tell),
            endures,
            desk: Mutex::new(Desk {
                board,
                is_leaving: false,
                lanes: lanes.len(),
                trouble: Trouble::default(),
                stuck: BTreeMap::new(),
            }),
            changed: Condvar::new(),
        });
        for (number, lane) in lanes.into_iter().enumerate() {
            let hall = Arc::clone(&hall);
            thread::Builder::new().name(lane.name.into()).spawn(move || hall.serve(number, lane))?;
        }
        for _ in 0..workers.max(1) {
            let hall = Arc::clone(&hall);
            thread::Builder::new().name("worker".into()).spawn(move || hall.work())?;
        }
        Ok(Self(hall))
    }

    /// Looks at the spool anew.
    pub fn refresh(&self) {
        match self.0.refresh() {
            Ok(()) => {
                let trouble = std::mem::take(&mut self.0.desk().trouble);
                if trouble.failures > 0 {
                    (self.0.tell)(&Event::SpoolBack);
                }
            }
            Err(error) => {
                let is_old = self.0.desk().trouble.meets(&error);
                if !is_old {
                    (self.0.tell)(&Event::Spool(&error));
                }
            }
        }
    }

    /// Waits until nothing is left that anybody could do, for `within` at most; tells whether that is so.
    #[must_use]
    pub fn is_idle(&self, within: Duration) -> bool {
        self.0.wait(within, |desk| desk.board.is_idle())
    }

    /// How many snapshots lie in the spool.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.0.desk().board.count()
    }

    /// Lets lanes finish what they have in hand, and waits for that, for `within` at most. Tells whether all have;
    /// what a lane has not finished is taken again at the next start.
    #[must_use]
    pub fn leave(&self, within: Duration) -> bool {
        self.0.desk().is_leaving = true;
        self.0.changed.notify_all();
        self.0.wait(within, |desk| desk.lanes == 0)
    }
}

impl<R> Hall<R> {
    fn desk(&self) -> MutexGuard<'_, Desk<R>> {
        // Nothing is ever left half done under the lock.
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the board, and wakes all who may wait for that.
    fn change<T>(&self, change: impl FnOnce(&mut Board<R>) -> T) -> T {
        let result = change(&mut self.desk().board);
        self.changed.notify_all();
        result
    }

    fn wait(&self, within: Duration, is_so: impl Fn(&Desk<R>) -> bool) -> bool {
        let desk = self.desk();
        let waited = self.changed.wait_timeout_while(desk, within, |desk| !is_so(desk));
        is_so(&waited.unwrap_or_else(PoisonError::into_inner).0)
    }

    /// Waits for something to do; `None` when it is time to leave.
    fn next<T>(&self, find: impl Fn(&mut Board<R>) -> Option<T>) -> Option<T> {
        let mut desk = self.desk();
        loop {
            if desk.is_leaving {
                return None;
            }
            if let Some(found) = find(&mut desk.board) {
                return Some(found);
            }
            desk = self.changed.wait(desk).unwrap_or_else(PoisonError::into_inner);
        }
    }

    // --- the spool

    fn refresh(&self) -> Result<(), SpoolError> {
        let found = self.spool.snapshots()?;
        self.forget_stuck(&found);
        let new = self.change(|board| board.refresh(found));
        let mut result = Ok(());
        let mut added = Vec::with_capacity(new.len());
        for snapshot in new {
            match self.takers(&snapshot) {
                Ok(taken) => added.push((snapshot, taken)),
                // The others do not wait for it.
                Err(error) => result = result.and(Err(error)),
            }
        }
        self.change(|board| added.into_iter().for_each(|(snapshot, taken)| board.add(snapshot, taken)));
        for snapshot in self.change(Board::taken_by_all) {
            self.remove(&snapshot);
        }
        result
    }

    /// The lanes that took it before this program was started.
    fn takers(&self, snapshot: &Snapshot) -> Result<BTreeSet<usize>, SpoolError> {
        let marks = self.spool.marks(snapshot)?;
        let lanes = self.names.iter().enumerate();
        let takers = lanes.filter(|(_, name)| marks.iter().any(|mark| mark == *name));
        Ok(takers.map(|(number, _)| number).collect())
    }

    fn remove(&self, snapshot: &Snapshot) {
        (self.tell)(&Event::Finished(snapshot));
        match self.spool.remove(snapshot) {
            Ok(()) => self.change(|board| board.removed(key(snapshot))),
            Err(error) => self.retain(snapshot, &error),
        }
    }

    /// It has to leave the spool, and cannot: that is tried again when the spool is looked at again.
    fn retain(&self, snapshot: &Snapshot, error: &SpoolError) {
        self.is_stuck(snapshot, &Event::Spool(error));
    }

    /// It is tried again when the spool is looked at again; until that helps, it is said now and then. What is said
    /// comes first, here as elsewhere: whoever waits for the end may end the program then.
    fn is_stuck(&self, snapshot: &Snapshot, event: &Event<'_>) {
        let key = key(snapshot);
        let last = self.desk().stuck.get(&key).copied();
        if last.is_none_or(|said| said.elapsed() >= REMINDER) {
            (self.tell)(event);
            self.desk().stuck.insert(key, Instant::now());
        }
        self.change(|board| board.unreadable(key));
    }

    /// What is gone is not stuck any more.
    fn forget_stuck(&self, found: &[Snapshot]) {
        let stuck = &mut self.desk().stuck;
        if !stuck.is_empty() {
            let there: BTreeSet<Key> = found.iter().map(key).collect();
            stuck.retain(|key, _| there.contains(key));
        }
    }

    // --- workers

    fn work(&self) {
        while let Some(snapshot) = self.next(Board::next_to_read) {
            let key = key(&snapshot);
            match (self.read)(&snapshot) {
                Ok(reading) => self.change(|board| board.has_read(key, reading)),
                Err(ReadError::Bad(reason)) => self.set_aside(&snapshot, &reason),
                Err(ReadError::Gone) => self.change(|board| board.removed(key)),
                Err(error) => {
                    self.is_stuck(&snapshot, &Event::Unreadable { snapshot: &snapshot, error: &error });
                }
            }
        }
    }

    fn set_aside(&self, snapshot: &Snapshot, reason: &str) {
        self.change(|board| board.condemned(key(snapshot)));
        (self.tell)(&Event::Finished(snapshot));
        match self.spool.set_aside(snapshot, reason) {
            Ok(to) => {
                (self.tell)(&Event::SetAside { snapshot, reason, to: &to });
                self.change(|board| board.removed(key(snapshot)));
            }
            Err(error) => self.retain(snapshot, &error),
        }
    }

    // --- lanes

    fn serve(&self, number: usize, mut lane: Lane<R>) {
        let mut trouble = Trouble::default();
        while let Some((key, reading)) = self.next(|board| board.next_to_take(number)) {
            let delivered = lane.outlet.deliver(&reading);
            drop(reading);
            match delivered {
                Ok(()) => {
                    self.settle(number, key);
                    self.recovered(number, &mut trouble);
                }
                Err(error) => {
                    let next = self.failed(number, &error, &mut trouble, lane.retry);
                    let Some(wait) = next else { break };
                    self.rest(number, wait);
                }
            }
        }
        let mut desk = self.desk();
        desk.lanes -= 1;
        desk.board.is_now(number, Presence::Gone);
        drop(desk);
        self.changed.notify_all();
    }

    fn settle(&self, lane: usize, key: Key) {
        match self.change(|board| board.taken(lane, key)) {
            Some(Taken::ByAll(snapshot)) => {
                self.took(lane, &snapshot);
                self.remove(&snapshot);
            }
            Some(Taken::ByThis(snapshot)) => {
                self.took(lane, &snapshot);
                if let Err(error) = self.spool.mark(&snapshot, self.name(lane)) {
                    (self.tell)(&Event::Spool(&error));
                }
            }
            None => {}
        }
    }

    fn name(&self, lane: usize) -> &'static str {
        self.names.get(lane).copied().unwrap_or_default()
    }

    fn took(&self, lane: usize, snapshot: &Snapshot) {
        let waiting = self.desk().board.waiting(lane);
        (self.tell)(&Event::Taken { lane: self.name(lane), snapshot, waiting });
    }

    fn recovered(&self, lane: usize, trouble: &mut Trouble) {
        let Trouble { failures, .. } = std::mem::take(trouble);
        if failures > 0 {
            let waiting = self.desk().board.waiting(lane);
            (self.tell)(&Event::Recovered { lane: self.name(lane), failures, waiting });
        }
    }

    /// How long to wait before the next try; `None` where there is none.
    fn failed(
        &self,
        lane: usize,
        error: &SinkError,
        trouble: &mut Trouble,
        retry: Retry,
    ) -> Option<Duration> {
        let is_old = trouble.meets(error);
        let is_over = !self.endures && retry.is_over(trouble.failures);
        let next = (!is_over).then(|| retry.wait(trouble.failures));
        let waiting = self.desk().board.waiting(lane);
        (self.tell)(&Event::Failed { error, waiting, next, is_old });
        next
    }

    fn rest(&self, lane: usize, wait: Duration) {
        self.change(|board| board.is_now(lane, Presence::Resting));
        self.wait(wait, |desk| desk.is_leaving);
        self.change(|board| board.is_now(lane, Presence::Awake));
    }
}

/// Failures in a row.
#[derive(Default)]
struct Trouble {
    failures: u32,
    /// What was said last, and when.
    said: Option<(String, Instant)>,
}

impl Trouble {
    /// Counts a failure; tells whether the same was said lately.
    fn meets(&mut self, error: &impl Display) -> bool {
        self.failures = self.failures.saturating_add(1);
        let text = error.to_string();
        let is_old = self.said.as_ref().is_some_and(|(said, at)| *said == text && at.elapsed() < REMINDER);
        if !is_old {
            self.said = Some((text, Instant::now()));
        }
        is_old
    }
}

#[cfg(test)]
mod tests;
