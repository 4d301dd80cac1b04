//! Entries that are in memory: those that wait for the file, or all, where there is no file. It has an end in bytes; what
//! finds no room pushes out the oldest, which is counted. Pure: `now` is a parameter.

use std::collections::VecDeque;
use std::sync::Arc;

use jiff::Timestamp;

use super::entry::Entry;
use super::{Kind, Note};

/// So much may wait: a change of each of 100,000 servers has less.
pub(super) const ROOM: usize = 32 * 1024 * 1024;

/// How much may wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    pub(super) entries: usize,
    pub(super) bytes: usize,
}

/// Entries that were pushed out since it was told last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lost {
    pub(super) count: u64,
    first: Timestamp,
    last: Timestamp,
}

impl Lost {
    /// For the history itself.
    pub(super) fn note(&self, why: &str) -> Note {
        let Self { count, first, last } = self;
        Note {
            kind: Kind::Message,
            subject: "history".into(),
            from: "waiting".into(),
            to: "lost".into(),
            why: Some(format!("{count} entries from {first:.3} to {last:.3} were lost: {why}")),
        }
    }
}

#[derive(Debug)]
pub(super) struct Backlog {
    room: Room,
    entries: VecDeque<Arc<Entry>>,
    bytes: usize,
    /// Of the first ones, that are being written and will not be lost.
    in_hand: usize,
    next_id: i64,
    lost: Option<Lost>,
}

impl Backlog {
    pub(super) fn new(room: Room) -> Self {
        Self { room, entries: VecDeque::new(), bytes: 0, in_hand: 0, next_id: 1, lost: None }
    }

    /// Takes it, whatever goes for it.
    pub(super) fn push(&mut self, now: Timestamp, note: Note) -> Arc<Entry> {
        let entry = Arc::new(Entry::new(self.next_id, now, note));
        self.next_id += 1;
        self.bytes += entry.bytes();
        self.entries.push_back(Arc::clone(&entry));
        while self.is_over_full() {
            let Some(gone) = self.entries.remove(self.in_hand) else { break };
            self.bytes -= gone.bytes();
            let lost = self.lost.get_or_insert(Lost { count: 0, first: gone.time, last: gone.time });
            lost.count += 1;
            lost.last = gone.time;
        }
        entry
    }

    fn is_over_full(&self) -> bool {
        // One that is alone stays, whatever it takes.
        let others = self.entries.len().saturating_sub(self.in_hand);
        others > 1 && (self.entries.len() > self.room.entries || self.bytes > self.room.bytes)
    }

    /// The oldest ones, so many at most; they stay until [`Self::written`] or [`Self::put_back`].
    pub(super) fn take(&mut self, most: usize) -> Vec<Arc<Entry>> {
        self.in_hand = most.min(self.entries.len());
        self.entries.iter().take(self.in_hand).cloned().collect()
    }

    /// Those that were taken are in the file.
    pub(super) fn written(&mut self) {
        for entry in self.entries.drain(..std::mem::take(&mut self.in_hand)) {
            self.bytes -= entry.bytes();
        }
    }

    /// Those that were taken are not in the file.
    pub(super) fn put_back(&mut self) {
        self.in_hand = 0;
    }

    /// All that there are get greater ids than this one: another file may have turned up that has it already.
    pub(super) fn raise_above(&mut self, id: i64) {
        let first = self.first_id().unwrap_or(self.next_id);
        let lift = (id + 1).saturating_sub(first).max(0);
        for entry in self.entries.iter_mut().filter(|_| lift > 0) {
            Arc::make_mut(entry).id += lift;
        }
        self.next_id += lift;
    }

    /// What was pushed out since the last time.
    pub(super) fn take_lost(&mut self) -> Option<Lost> {
        self.lost.take()
    }

    pub(super) fn lost(&self) -> Option<&Lost> {
        self.lost.as_ref()
    }

    /// The newest first.
    pub(super) fn newest(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.entries.iter().rev()
    }

    /// The id of the oldest.
    pub(super) fn first_id(&self) -> Option<i64> {
        self.entries.front().map(|entry| entry.id)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::entry::tests::note;
    use super::*;

    fn backlog(entries: usize) -> Backlog {
        Backlog::new(Room { entries, bytes: usize::MAX })
    }

    fn push(backlog: &mut Backlog, count: usize) {
        (0..count).for_each(|_| drop(backlog.push(Timestamp::now(), note("a/b"))));
    }

    fn ids(entries: &[Arc<Entry>]) -> Vec<i64> {
        entries.iter().map(|entry| entry.id).collect()
    }

    #[test]
    fn what_is_taken_stays_until_it_is_written() {
        let mut backlog = backlog(9);
        push(&mut backlog, 3);
        assert_eq!(ids(&backlog.take(2)), [1, 2]);
        backlog.put_back();
        assert_eq!(ids(&backlog.take(2)), [1, 2]);
        backlog.written();
        assert_eq!((ids(&backlog.take(2)), backlog.lost()), (vec![3], None));
    }

    #[test]
    fn what_finds_no_room_pushes_out_the_oldest_that_is_not_being_written() {
        let mut backlog = backlog(4);
        let at = |second| Timestamp::from_second(second).unwrap();
        (0..4).for_each(|second| drop(backlog.push(at(second), note("a/b"))));
        assert_eq!(ids(&backlog.take(1)), [1]);
        (4..6).for_each(|second| drop(backlog.push(at(second), note("a/b"))));
        backlog.written();
        assert_eq!(ids(&backlog.take(9)), [4, 5, 6]);
        assert_eq!(
            backlog.take_lost().unwrap().note("no space").why.unwrap(),
            "2 entries from 1970-01-01T00:00:01.000Z to 1970-01-01T00:00:02.000Z were lost: no space"
        );
        assert_eq!(backlog.take_lost(), None);
    }

    #[test]
    fn another_file_raises_the_ids() {
        let mut backlog = backlog(9);
        push(&mut backlog, 2);
        backlog.raise_above(0);
        assert_eq!(ids(&backlog.take(9)), [1, 2]);
        backlog.raise_above(7);
        push(&mut backlog, 1);
        assert_eq!(ids(&backlog.take(9)), [8, 9, 10]);
        backlog.written();
        backlog.raise_above(100);
        push(&mut backlog, 1);
        assert_eq!(ids(&backlog.take(9)), [101]);
    }

    proptest! {
        #[test]
        fn it_never_takes_more_than_its_room_and_counts_what_goes(
            lengths in proptest::collection::vec((0_usize..600, any::<bool>()), 1..100), bytes in 2000_usize..9000)
        {
            let mut backlog = Backlog::new(Room { entries: usize::MAX, bytes });
            let (mut written, mut pushed) = (0, 0);
            for (length, writes) in lengths {
                backlog.push(Timestamp::now(), note(&"x".repeat(length)));
                pushed += 1;
                prop_assert!(backlog.bytes <= bytes || backlog.len() <= 2);
                if writes {
                    written += backlog.take(2).len();
                    backlog.written();
                }
            }
            let lost = backlog.lost().map_or(0, |lost| usize::try_from(lost.count).unwrap());
            prop_assert_eq!(written + lost + backlog.len(), pushed);
            let sum: usize = backlog.entries.iter().map(|entry| entry.bytes()).sum();
            prop_assert_eq!(sum, backlog.bytes);
        }
    }
}
