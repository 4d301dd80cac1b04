//! Which snapshot is read next, which lane takes which, and when a snapshot has been taken by all. Decides, and does
//! nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::spool::Snapshot;

/// Time and number: the order of snapshots.
pub(super) type Key = (u64, u32);

/// All that waits.
#[derive(Debug)]
pub(super) struct Board<R> {
    items: BTreeMap<Key, Item<R>>,
    lanes: Vec<Lane>,
    /// How many readings a lane may have in memory: the one that it takes, and those read ahead.
    ahead: usize,
}

#[derive(Debug)]
struct Item<R> {
    snapshot: Snapshot,
    /// Numbers of the lanes that have it.
    taken: BTreeSet<usize>,
    reading: State<R>,
}

#[derive(Debug)]
enum State<R> {
    Unread,
    /// Somebody reads it.
    Busy,
    Ready(Arc<R>),
    /// Not now; until the spool is looked at again.
    Unreadable,
    /// All have it, or it is bad: it is about to leave the spool.
    Leaving,
}

#[derive(Clone, Copy, Debug, Default)]
struct Lane {
    presence: Presence,
    taking: Option<Key>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Presence {
    #[default]
    Awake,
    /// It takes nothing for a while.
    Resting,
    /// It takes nothing any more.
    Gone,
}

/// What follows from a lane's having taken a snapshot.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// Others have not: it is to be marked.
    ByThis(Snapshot),
    /// It is to be removed.
    ByAll(Snapshot),
}

pub(super) fn key(snapshot: &Snapshot) -> Key {
    (snapshot.time, snapshot.number)
}

impl<R> Board<R> {
    pub(super) fn new(lanes: usize, ahead: usize) -> Self {
        Self { items: BTreeMap::new(), lanes: vec![Lane::default(); lanes], ahead: ahead.max(1) }
    }

    // --- what lies in the spool

    /// Takes note of what the spool holds; gives those that are new, for [`Self::add`].
    pub(super) fn refresh(&mut self, found: Vec<Snapshot>) -> Vec<Snapshot> {
        let there: BTreeSet<Key> = found.iter().map(key).collect();
        let lanes = &self.lanes;
        self.items.retain(|key, item| {
            let in_hand = lanes.iter().any(|lane| lane.taking == Some(*key));
            there.contains(key) || in_hand || matches!(item.reading, State::Busy | State::Leaving)
        });
        for item in self.items.values_mut() {
            if matches!(item.reading, State::Unreadable) {
                item.reading = State::Unread;
            }
        }
        found.into_iter().filter(|snapshot| !self.items.contains_key(&key(snapshot))).collect()
    }

    /// A new one; `taken` has the numbers of the lanes that took it before.
    pub(super) fn add(&mut self, snapshot: Snapshot, taken: BTreeSet<usize>) {
        self.items.entry(key(&snapshot)).or_insert(Item { snapshot, taken, reading: State::Unread });
    }

    /// Those that all lanes have taken, which happens where a lane is no longer wanted: they are to be removed.
    pub(super) fn taken_by_all(&mut self) -> Vec<Snapshot> {
        let count = self.lanes.len();
        let all = self.items.values_mut().filter(|item| {
            item.taken.len() >= count && matches!(item.reading, State::Unread | State::Ready(_))
        });
        let leave = |item: &mut Item<R>| {
            item.reading = State::Leaving;
            item.snapshot.clone()
        };
        all.map(leave).collect()
    }

    /// It is not in the spool any more.
    pub(super) fn removed(&mut self, key: Key) {
        self.items.remove(&key);
    }

    /// Whether nothing is left that anybody could do: what is there cannot be read, or those who want it are gone.
    pub(super) fn is_idle(&self) -> bool {
        let in_hand = |item: &Item<R>| matches!(item.reading, State::Busy | State::Leaving);
        let present = |lane: &Lane| lane.presence != Presence::Gone;
        !self.items.values().any(in_hand)
            && self.lanes(present).all(|lane| self.wanted(lane).next().is_none())
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.items.len()
    }

    /// How many a lane has not taken.
    pub(super) fn waiting(&self, lane: usize) -> usize {
        self.wanted(lane).count()
    }

    // --- readings

    /// The oldest that a lane will want soon and that nobody reads; it is that of the caller from now on.
    pub(super) fn next_to_read(&mut self) -> Option<Snapshot> {
        let next =
            self.wished().into_iter().find(|key| self.is(*key, |state| matches!(state, State::Unread)));
        let item = self.items.get_mut(&next?)?;
        item.reading = State::Busy;
        Some(item.snapshot.clone())
    }

    /// The reading is there.
    pub(super) fn has_read(&mut self, key: Key, reading: R) {
        self.set(key, State::Ready(Arc::new(reading)));
        self.forget_unwished();
    }

    /// It cannot be read now.
    pub(super) fn unreadable(&mut self, key: Key) {
        self.set(key, State::Unreadable);
    }

    /// It will never be read.
    pub(super) fn condemned(&mut self, key: Key) {
        self.set(key, State::Leaving);
    }

    // --- lanes

    /// The oldest that a lane has not taken, once it is read.
    pub(super) fn next_to_take(&mut self, lane: usize) -> Option<(Key, Arc<R>)> {
        let next = *self.wanted(lane).next()?;
        let State::Ready(reading) = &self.items.get(&next)?.reading else { return None };
        let reading = Arc::clone(reading);
        self.lane(lane, |lane| lane.taking = Some(next));
        Some((next, reading))
    }

    /// A lane has all of it.
    pub(super) fn taken(&mut self, lane: usize, key: Key) -> Option<Taken> {
        self.lane(lane, |lane| lane.taking = None);
        let count = self.lanes.len();
        let item = self.items.get_mut(&key)?;
        item.taken.insert(lane);
        let snapshot = item.snapshot.clone();
        let taken = if item.taken.len() >= count {
            item.reading = State::Leaving;
            Taken::ByAll(snapshot)
        } else {
            Taken::ByThis(snapshot)
        };
        self.forget_unwished();
        Some(taken)
    }

    /// A lane has failed, and rests for a while or is gone; or it is back.
    pub(super) fn is_now(&mut self, lane: usize, presence: Presence) {
        self.lane(lane, |lane| *lane = Lane { presence, taking: None });
        self.forget_unwished();
    }

    fn lane(&mut self, lane: usize, change: impl FnOnce(&mut Lane)) {
        if let Some(lane) = self.lanes.get_mut(lane) {
            change(lane);
        }
    }

    fn lanes(&self, are: impl Fn(&Lane) -> bool) -> impl Iterator<Item = usize> {
        self.lanes.iter().enumerate().filter(move |(_, lane)| are(lane)).map(|(number, _)| number)
    }

    fn wanted(&self, lane: usize) -> impl Iterator<Item = &Key> {
        let open = move |item: &Item<R>| {
            !item.taken.contains(&lane) && !matches!(item.reading, State::Unreadable | State::Leaving)
        };
        self.items.iter().filter(move |(_, item)| open(item)).map(|(key, _)| key)
    }

    /// What the lanes that are awake take next.
    fn wished(&self) -> BTreeSet<Key> {
        let awake = self.lanes(|lane| lane.presence == Presence::Awake);
        awake.flat_map(|lane| self.wanted(lane).take(self.ahead).copied()).collect()
    }

    fn is(&self, key: Key, is: impl Fn(&State<R>) -> bool) -> bool {
        self.items.get(&key).is_some_and(|item| is(&item.reading))
    }

    fn set(&mut self, key: Key, state: State<R>) {
        if let Some(item) = self.items.get_mut(&key) {
            item.reading = state;
        }
    }

    /// Readings that nobody will want soon make room.
    fn forget_unwished(&mut self) {
        let wished = self.wished();
        for (key, item) in &mut self.items {
            if !wished.contains(key) && matches!(item.reading, State::Ready(_)) {
                item.reading = State::Unread;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn snapshot(time: u64) -> Snapshot {
        Snapshot { time, number: 0, path: PathBuf::from(time.to_string()) }
    }

    fn board(lanes: usize, ahead: usize, times: &[u64]) -> Board<u64> {
        let mut board = Board::new(lanes, ahead);
        for time in times {
            board.add(snapshot(*time), BTreeSet::new());
        }
        board
    }

    /// Reads all that may be read now; gives the times in the order of reading.
    fn read_all(board: &mut Board<u64>) -> Vec<u64> {
        let next = |board: &mut Board<u64>| {
            let snapshot = board.next_to_read()?;
            board.has_read(key(&snapshot), snapshot.time);
            Some(snapshot.time)
        };
        std::iter::from_fn(|| next(board)).collect()
    }

    fn take(board: &mut Board<u64>, lane: usize) -> Option<u64> {
        board.next_to_take(lane).map(|(_, reading)| *reading)
    }

    #[test]
    fn the_oldest_is_first_and_only_what_is_wanted_soon_is_read() {
        let mut board = board(1, 2, &[30, 10, 20, 40]);
        assert_eq!(take(&mut board, 0), None, "not read yet");
        assert_eq!(read_all(&mut board), [10, 20]);
        assert_eq!(take(&mut board, 0), Some(10));
        assert_eq!(board.taken(0, (10, 0)), Some(Taken::ByAll(snapshot(10))));
        assert_eq!(read_all(&mut board), [30], "20 is there");
        assert_eq!(take(&mut board, 0), Some(20));
    }

    #[test]
    fn nobody_reads_what_somebody_reads() {
        let mut board = board(2, 1, &[10, 20]);
        assert_eq!(board.next_to_read(), Some(snapshot(10)));
        assert_eq!(board.next_to_read(), None);
    }

    #[test]
    fn a_snapshot_stays_until_all_lanes_have_it() {
        let mut board = board(2, 1, &[10]);
        read_all(&mut board);
        assert_eq!((take(&mut board, 0), take(&mut board, 1)), (Some(10), Some(10)));
        assert_eq!(board.taken(1, (10, 0)), Some(Taken::ByThis(snapshot(10))));
        assert_eq!((board.waiting(0), board.waiting(1)), (1, 0));
        assert_eq!(board.taken(0, (10, 0)), Some(Taken::ByAll(snapshot(10))));
        assert!(!board.is_idle(), "it is to be removed yet");
        board.removed((10, 0));
        assert!(board.is_idle());
    }

    #[test]
    fn a_lane_that_rests_is_in_nobodys_way() {
        let mut board = board(2, 1, &[10, 20]);
        read_all(&mut board);
        board.is_now(0, Presence::Resting);
        for time in [10, 20] {
            read_all(&mut board);
            assert_eq!(take(&mut board, 1), Some(time));
            assert_eq!(board.taken(1, (time, 0)), Some(Taken::ByThis(snapshot(time))));
        }
        assert_eq!(read_all(&mut board), [0; 0], "nobody wants any");
        assert_eq!(board.waiting(0), 2);
        board.is_now(0, Presence::Awake);
        assert_eq!(read_all(&mut board), [10], "it begins with the oldest");
        assert_eq!(take(&mut board, 0), Some(10));
    }

    #[test]
    fn what_only_a_lane_that_is_gone_wants_is_waited_for_by_nobody() {
        let mut board = board(2, 1, &[10]);
        read_all(&mut board);
        take(&mut board, 1);
        board.taken(1, (10, 0));
        assert!(!board.is_idle());
        board.is_now(0, Presence::Gone);
        assert!(board.is_idle());
    }

    #[test]
    fn what_a_lane_took_before_a_restart_is_not_its_again() {
        let mut board = board(2, 1, &[]);
        board.add(snapshot(10), BTreeSet::from([0]));
        read_all(&mut board);
        assert_eq!((take(&mut board, 0), take(&mut board, 1)), (None, Some(10)));
        board.add(snapshot(20), BTreeSet::from([0, 1]));
        assert_eq!(board.taken_by_all(), [snapshot(20)]);
        assert_eq!(board.taken_by_all(), [], "once");
    }

    #[test]
    fn what_cannot_be_read_now_holds_up_nobody_and_is_tried_again() {
        let mut board = board(1, 1, &[10, 20]);
        assert_eq!(board.next_to_read(), Some(snapshot(10)));
        board.unreadable((10, 0));
        assert_eq!(read_all(&mut board), [20]);
        assert_eq!(take(&mut board, 0), Some(20));
        board.taken(0, (20, 0));
        board.removed((20, 0));
        assert!(board.is_idle());
        assert_eq!(board.refresh(vec![snapshot(10), snapshot(30)]), [snapshot(30)]);
        assert_eq!(read_all(&mut board), [10]);
    }

    #[test]
    fn what_somebody_else_took_away_is_forgotten_unless_it_is_in_hand() {
        let mut board = board(1, 2, &[10, 20, 30]);
        read_all(&mut board);
        assert_eq!(take(&mut board, 0), Some(10));
        assert_eq!(board.refresh(vec![snapshot(30)]), []);
        assert_eq!(board.taken(0, (10, 0)), Some(Taken::ByAll(snapshot(10))));
        board.removed((10, 0));
        read_all(&mut board);
        assert_eq!(take(&mut board, 0), Some(30));
    }

    #[test]
    fn what_is_bad_is_nobodys() {
        let mut board = board(1, 1, &[10, 20]);
        board.next_to_read();
        board.condemned((10, 0));
        assert_eq!(read_all(&mut board), [20]);
        assert_eq!(take(&mut board, 0), Some(20));
    }

    #[test]
    fn memory_holds_no_more_readings_than_lanes_wish_for() {
        let mut board = board(1, 3, &[1, 2, 3, 4, 5, 6]);
        read_all(&mut board);
        let ready = board.items.values().filter(|item| matches!(item.reading, State::Ready(_))).count();
        assert_eq!(ready, 3);
        board.is_now(0, Presence::Resting);
        assert!(!board.items.values().any(|item| matches!(item.reading, State::Ready(_))));
    }
}
