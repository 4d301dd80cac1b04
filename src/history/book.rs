//! What all who have something to write, or to read, hold of the history.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::backlog::{Backlog, ROOM, Room};
use super::{Entry, HistoryError, Note, Query, Reader};
use crate::health::{Listener, News};

/// Who hears of entries as they come; whether it wants to hear more.
type Hearer = Box<dyn Fn(&[Arc<Entry>]) -> bool + Send + Sync>;

/// The history: takes notes, tells those who listen, and finds what was. All clones are the same one.
#[derive(Clone, Debug)]
pub struct Book(pub(super) Arc<Shared>);

/// What the book and the thread that writes share.
pub(super) struct Shared {
    /// None where there is memory only.
    pub(super) file: Option<PathBuf>,
    state: Mutex<State>,
    pub(super) wake: Condvar,
}

pub(super) struct State {
    pub(super) backlog: Backlog,
    hearers: Vec<Hearer>,
    pub(super) tally: Tally,
    /// No more is to come.
    pub(super) is_over: bool,
    /// Nobody writes any more.
    pub(super) has_ended: bool,
}

/// What became of entries since the start, where there is a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// In the file.
    pub written: u64,
    /// Nowhere: they found no room while the file could not be written.
    pub lost: u64,
    /// In memory, on their way into the file.
    pub waiting: usize,
    /// Attempts to write that failed.
    pub failures: u64,
}

impl Shared {
    pub(super) fn new(file: Option<PathBuf>, room: Room) -> Arc<Self> {
        let state = State {
            backlog: Backlog::new(room),
            hearers: Vec::new(),
            tally: Tally::default(),
            is_over: false,
            has_ended: false,
        };
        Arc::new(Self { file, state: Mutex::new(state), wake: Condvar::new() })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    /// One that ends with the program, and holds so many entries at most.
    #[must_use]
    pub fn in_memory(limit: usize) -> Self {
        Self(Shared::new(None, Room { entries: limit, bytes: ROOM }))
    }

    /// Where it is kept; none for one in memory.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.0.file.as_deref()
    }

    /// Takes a note of what happens now. Waits for no disk.
    pub fn record(&self, note: Note) {
        self.record_all([note]);
    }

    /// The same of several things at once.
    pub fn record_all(&self, notes: impl IntoIterator<Item = Note>) {
        let notes: Vec<Note> = notes.into_iter().collect();
        if notes.is_empty() {
            return;
        }
        let now = Timestamp::now();
        let mut state = self.0.lock();
        let entries: Vec<Arc<Entry>> = notes.into_iter().map(|note| state.backlog.push(now, note)).collect();
        if self.0.file.is_none() {
            // There is nowhere else that they could be.
            state.backlog.take_lost();
        }
        // With the lock, so that all hear of all in their order.
        state.hearers.retain(|hear| hear(&entries));
        drop(state);
        self.0.wake.notify_all();
    }

    /// Has `hear` called with entries as they come, the oldest first, until it gives false. It must not block, nor take
    /// notes: whoever does is waiting for it.
    pub fn subscribe(&self, hear: impl Fn(&[Arc<Entry>]) -> bool + Send + Sync + 'static) {
        self.0.lock().hearers.push(Box::new(hear));
    }

    /// What is asked for, the newest first: also what is not in the file yet. Blocks for some seconds at most.
    pub fn recent(&self, query: &Query) -> Result<Vec<Entry>, HistoryError> {
        let (mut entries, first) = self.waiting(query);
        let Some(file) = self.0.file.as_ref().filter(|_| entries.len() < query.limit) else {
            return Ok(entries);
        };
        let before = [query.before, first].into_iter().flatten().min();
        let rest = Query { before, limit: query.limit - entries.len(), ..query.clone() };
        match Reader::open(file) {
            // None could be begun yet.
            Err(HistoryError::Missing(_)) => {}
            reader => entries.extend(reader?.read(&rest)?),
        }
        Ok(entries)
    }

    /// Those in memory, and the id of the first that is there.
    fn waiting(&self, query: &Query) -> (Vec<Entry>, Option<i64>) {
        let state = self.0.lock();
        let found = state.backlog.newest().filter(|entry| query.matches(entry)).take(query.limit);
        (found.map(|entry| (**entry).clone()).collect(), state.backlog.first_id())
    }

    /// What became of entries; none where there is no file.
    #[must_use]
    pub fn tally(&self) -> Option<Tally> {
        self.0.file.as_ref()?;
        let state = self.0.lock();
        let lost = state.tally.lost + state.backlog.lost().map_or(0, |lost| lost.count);
        Some(Tally { lost, waiting: state.backlog.len(), ..state.tally })
    }
}

impl Listener for Book {
    fn hear(&self, news: &[News]) {
        self.record_all(news.iter().filter_map(Note::of));
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("file", &self.file).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::tests::note;
    use super::*;

    fn ids(entries: &[Entry]) -> Vec<i64> {
        entries.iter().map(|entry| entry.id).collect()
    }

    #[test]
    fn one_in_memory_gives_the_newest_first_and_has_an_end() {
        let book = Book::in_memory(5);
        (0..9).for_each(|_| book.record(note("app/web1")));
        let query = Query { limit: 3, before: Some(9), ..Query::default() };
        assert_eq!(ids(&book.recent(&query).unwrap()), [8, 7, 6]);
        assert_eq!(ids(&book.recent(&Query { limit: 99, ..Query::default() }).unwrap()), [9, 8, 7, 6, 5]);
        assert_eq!((book.file(), book.tally()), (None, None));
    }

    #[test]
    fn those_who_listen_hear_all_in_order_until_they_have_enough() {
        let book = Book::in_memory(5);
        let heard = Arc::new(Mutex::new(Vec::new()));
        let ear = Arc::clone(&heard);
        book.subscribe(move |entries| {
            let mut heard = ear.lock().unwrap();
            heard.extend(entries.iter().map(|entry| entry.id));
            heard.len() < 3
        });
        book.record(note("a/1"));
        book.record_all([note("a/2"), note("a/3")]);
        book.record(note("a/4"));
        assert_eq!(*heard.lock().unwrap(), [1, 2, 3]);
    }
}
