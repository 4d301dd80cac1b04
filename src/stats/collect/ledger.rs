//! How far the messages of each partition are dealt with. What is committed for a partition never passes a message
//! whose snapshot is not delivered: whoever reads on after us begins with it.

use std::collections::{BTreeMap, BTreeSet};

/// What some messages wait for, such as the delivery of their snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// The partitions that this consumer reads.
#[derive(Debug, Default)]
pub struct OffsetLedger {
    partitions: BTreeMap<i32, Track>,
}

#[derive(Debug)]
struct Track {
    /// Behind the last message that was read.
    next: i64,
    /// Messages that wait.
    open: BTreeMap<i64, Ticket>,
    /// What was given out to be committed.
    committed: Option<i64>,
}

impl OffsetLedger {
    /// A message was read; without a ticket, nothing has to be waited for.
    pub fn read(&mut self, partition: i32, offset: i64, ticket: Option<Ticket>) {
        let track = self.partitions.entry(partition).or_insert_with(|| Track {
            next: offset,
            open: BTreeMap::new(),
            committed: None,
        });
        track.next = track.next.max(offset.saturating_add(1));
        if let Some(ticket) = ticket {
            track.open.insert(offset, ticket);
        }
    }

    /// What these waited for has happened.
    pub fn finish(&mut self, tickets: &BTreeSet<Ticket>) {
        for track in self.partitions.values_mut() {
            track.open.retain(|_, ticket| !tickets.contains(ticket));
        }
    }

    /// The partition is another's now.
    pub fn forget(&mut self, partition: i32) {
        self.partitions.remove(&partition);
    }

    /// Where partitions are to be read on from, for those for which that is another place than the last time.
    pub fn commits(&mut self) -> Vec<(i32, i64)> {
        let moved = |(partition, track): (&i32, &mut Track)| {
            let position = track.open.keys().next().copied().unwrap_or(track.next);
            let is_new = track.committed.replace(position) != Some(position);
            is_new.then_some((*partition, position))
        };
        self.partitions.iter_mut().filter_map(moved).collect()
    }

    /// What was given out was not committed; all is given out again.
    pub fn commit_again(&mut self) {
        for track in self.partitions.values_mut() {
            track.committed = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set(tickets: &[u64]) -> BTreeSet<Ticket> {
        tickets.iter().copied().map(Ticket).collect()
    }

    #[test]
    fn nothing_passes_a_message_that_waits() {
        let mut ledger = OffsetLedger::default();
        for (offset, ticket) in [(10, Some(1)), (11, Some(2)), (12, Some(1)), (13, None)] {
            ledger.read(0, offset, ticket.map(Ticket));
        }
        ledger.read(1, 5, None);
        assert_eq!(ledger.commits(), [(0, 10), (1, 6)]);
        ledger.finish(&set(&[2]));
        assert_eq!(ledger.commits(), []);
        ledger.finish(&set(&[1]));
        assert_eq!(ledger.commits(), [(0, 14)]);
        assert_eq!(ledger.commits(), []);
        ledger.commit_again();
        assert_eq!(ledger.commits(), [(0, 14), (1, 6)]);
    }

    #[test]
    fn a_partition_that_is_gone_is_never_committed() {
        let mut ledger = OffsetLedger::default();
        ledger.read(0, 10, Some(Ticket(1)));
        ledger.forget(0);
        ledger.finish(&set(&[1]));
        assert_eq!(ledger.commits(), []);
        // It came back, and is read on from where it was committed.
        ledger.read(0, 10, Some(Ticket(2)));
        assert_eq!(ledger.commits(), [(0, 10)]);
    }

    proptest! {
        #[test]
        fn all_before_a_commit_is_finished_and_in_the_end_all_is_committed(
            messages in prop::collection::vec((0..3_i32, prop::option::of(0..9_u64)), 1..60),
            order in prop::collection::vec(0..9_u64, 0..12),
        ) {
            let mut ledger = OffsetLedger::default();
            let mut read: BTreeMap<i32, Vec<Option<u64>>> = BTreeMap::new();
            for (partition, ticket) in messages {
                let track = read.entry(partition).or_default();
                ledger.read(partition, i64::try_from(track.len()).unwrap(), ticket.map(Ticket));
                track.push(ticket);
            }
            let mut done = BTreeSet::new();
            for ticket in order {
                done.insert(ticket);
                ledger.finish(&set(&[ticket]));
                for (partition, position) in ledger.commits() {
                    let before = &read[&partition][..usize::try_from(position).unwrap()];
                    prop_assert!(before.iter().flatten().all(|ticket| done.contains(ticket)));
                }
            }
            ledger.finish(&(0..9).map(Ticket).collect());
            ledger.commit_again();
            for (partition, position) in ledger.commits() {
                prop_assert_eq!(usize::try_from(position).unwrap(), read[&partition].len());
            }
        }
    }
}
