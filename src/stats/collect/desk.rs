//! What is to be done on the disk with what was assembled, one thing after the other. What the disk refuses stays at
//! the head of the queue.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::assembler::Collected;
use super::ledger::Ticket;
use super::shelf::Shelf;
use super::windows::{Key, Verdict, Windows};
use super::{Counts, Note};
use crate::stats::spool::{Snapshot, SpoolError};

/// The queue, and who waits for what.
#[derive(Debug)]
pub(super) struct Desk {
    shelf: Shelf,
    windows: Windows,
    tasks: VecDeque<Task>,
    /// What waits for its window to be put together.
    entered: BTreeMap<Key, Vec<Ticket>>,
    /// What waits for its delivery, by the snapshot's directory.
    stored: BTreeMap<PathBuf, Vec<Ticket>>,
    /// What waits for nothing any more.
    finished: BTreeSet<Ticket>,
    notes: Vec<Note>,
    counts: Counts,
}

/// Something to do.
#[derive(Debug)]
pub(super) enum Task {
    /// A machine's snapshot goes into the spool.
    Put(Collected),
    /// It goes to the others of its cluster.
    Enter(String, Collected),
    /// A window goes into the spool.
    Close(Key),
    /// A window is not kept any more.
    Forget(Key),
    /// A snapshot is of no use, for this reason.
    SetAside(Collected, String),
    /// A message is none of ours, for this reason.
    Damaged { place: String, called: String, why: String, payload: Vec<u8> },
}

impl Desk {
    pub(super) fn new(shelf: Shelf, windows: Windows) -> Self {
        Self {
            shelf,
            windows,
            tasks: VecDeque::new(),
            entered: BTreeMap::new(),
            stored: BTreeMap::new(),
            finished: BTreeSet::new(),
            notes: Vec::new(),
            counts: Counts::default(),
        }
    }

    pub(super) fn add(&mut self, task: Task) {
        self.tasks.push_back(task);
    }

    /// A whole snapshot goes the way of its kind.
    pub(super) fn add_whole(&mut self, whole: Collected) {
        match whole.cluster.clone() {
            Some(cluster) => self.add(Task::Enter(cluster, whole)),
            None => self.add(Task::Put(whole)),
        }
    }

    /// Closes the windows whose time is over, and forgets those that are too many.
    pub(super) fn look_at_the_clock(&mut self, now: Instant) {
        self.tasks.extend(self.windows.due(now).into_iter().map(Task::Close));
        self.tasks.extend(self.windows.forget().into_iter().map(Task::Forget));
    }

    /// When a window closes by itself.
    pub(super) fn next_close(&self) -> Option<Instant> {
        self.windows.next_close()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Snapshots that wait for their delivery.
    pub(super) fn waiting(&self) -> Result<usize, SpoolError> {
        self.shelf.waiting()
    }

    /// A snapshot was delivered.
    pub(super) fn delivered(&mut self, path: &Path) {
        self.finished.extend(self.stored.remove(path).unwrap_or_default());
    }

    /// What is finished since the last time that this was asked.
    pub(super) fn finished(&mut self) -> BTreeSet<Ticket> {
        std::mem::take(&mut self.finished)
    }

    pub(super) fn note(&mut self, note: Note) {
        self.notes.push(note);
    }

    /// What happened since the last time that this was asked.
    pub(super) fn notes(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.notes)
    }

    pub(super) fn counts(&mut self) -> &mut Counts {
        &mut self.counts
    }

    /// Does what is to be done, up to what the disk refuses. `receipts` gives all that was delivered by now.
    pub(super) fn work(&mut self, receipts: &mut dyn FnMut(&mut Self)) -> Result<(), SpoolError> {
        while let Some(task) = self.tasks.pop_front() {
            match self.perform(&task) {
                Ok(None) => {}
                Ok(Some((snapshot, tickets))) => {
                    // Its directory may have had a snapshot before, which was delivered and removed: those receipts
                    // are for that one.
                    receipts(self);
                    self.was_stored(snapshot, tickets);
                }
                Err(error) => {
                    self.tasks.push_front(task);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Gives what lies in the spool now, and who waits for it.
    fn perform(&mut self, task: &Task) -> Result<Option<(Snapshot, Vec<Ticket>)>, SpoolError> {
        match task {
            Task::Put(collected) => return Ok(Some((self.shelf.put(collected)?, vec![collected.ticket]))),
            Task::Close(key) => {
                let snapshot = self.shelf.put_window(key)?;
                let tickets = self.entered.remove(key).unwrap_or_default();
                return Ok(snapshot.map(|snapshot| (snapshot, tickets)));
            }
            Task::Enter(cluster, collected) => self.enter(cluster, collected)?,
            Task::Forget(key) => self.shelf.forget(key)?,
            Task::SetAside(collected, why) => self.set_aside(collected, why)?,
            Task::Damaged { place, called, why, payload } => {
                let kept = self.shelf.keep_damaged(called, payload)?;
                self.counts.damaged += 1;
                self.note(Note::Damaged { place: place.clone(), why: why.clone(), kept });
            }
        }
        Ok(None)
    }

    fn enter(&mut self, cluster: &str, collected: &Collected) -> Result<(), SpoolError> {
        let (time, host) = (collected.id.time, &collected.id.host);
        if self.windows.is_forgotten(cluster, time) {
            let why = format!("it came too late to be added to the others of cluster {cluster}");
            return self.set_aside(collected, &why);
        }
        let bytes = self.shelf.enter(cluster, collected)?;
        let key = (cluster.to_owned(), time);
        self.entered.entry(key.clone()).or_default().push(collected.ticket);
        if self.windows.arrive(Instant::now(), cluster, time, host, bytes) == Verdict::Closed {
            self.tasks.push_front(Task::Close(key));
        }
        Ok(())
    }

    fn set_aside(&mut self, collected: &Collected, why: &str) -> Result<(), SpoolError> {
        let path = self.shelf.set_aside(collected, why)?;
        self.finished.insert(collected.ticket);
        self.counts.set_aside += 1;
        let (host, time) = (collected.id.host.clone(), collected.id.time);
        self.note(Note::SetAside { host, time, why: why.to_owned(), path });
        Ok(())
    }

    fn was_stored(&mut self, snapshot: Snapshot, tickets: Vec<Ticket>) {
        self.counts.stored += 1;
        self.stored.entry(snapshot.path.clone()).or_default().extend(tickets);
        self.note(Note::Stored(snapshot));
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use tempfile::TempDir;

    use super::super::part::Id;
    use super::super::windows::Limits;
    use super::*;

    fn desk(windows: usize) -> (TempDir, Desk) {
        let directory = tempfile::tempdir().unwrap();
        let shelf = Shelf::open(&directory.path().join("incoming")).unwrap();
        let limits = Limits { wait: Duration::ZERO, windows, bytes: 1000 };
        (directory, Desk::new(shelf, Windows::new(limits)))
    }

    fn whole(ticket: u64, cluster: Option<&str>, host: &str, time: u64) -> Collected {
        Collected {
            ticket: Ticket(ticket),
            id: Id { host: host.into(), time, number: 0 },
            cluster: cluster.map(str::to_owned),
            files: BTreeMap::from([("x_info".to_owned(), vec![b'1'])]),
        }
    }

    fn work(desk: &mut Desk) -> Vec<PathBuf> {
        desk.look_at_the_clock(Instant::now());
        desk.work(&mut |_| {}).unwrap();
        let stored = |note| if let Note::Stored(snapshot) = note { Some(snapshot.path) } else { None };
        desk.notes().into_iter().filter_map(stored).collect()
    }

    fn finished(desk: &mut Desk) -> Vec<u64> {
        desk.finished().into_iter().map(|ticket| ticket.0).collect()
    }

    #[test]
    fn a_snapshot_is_finished_when_it_is_delivered() {
        let (_directory, mut desk) = desk(9);
        desk.add_whole(whole(1, None, "a", 1000));
        desk.add_whole(whole(2, None, "b", 1000));
        let paths = work(&mut desk);
        assert_eq!((paths.len(), desk.waiting().unwrap()), (2, 2));
        assert!(finished(&mut desk).is_empty());
        desk.delivered(Path::new("/elsewhere"));
        desk.delivered(&paths[1]);
        assert_eq!(finished(&mut desk), [2]);
        desk.delivered(&paths[0]);
        desk.delivered(&paths[0]);
        assert_eq!(finished(&mut desk), [1]);
    }

    #[test]
    fn a_cluster_is_finished_by_the_snapshot_that_has_its_machine() {
        let (_directory, mut desk) = desk(9);
        desk.add_whole(whole(1, Some("c"), "a", 1000));
        let first = work(&mut desk);
        desk.add_whole(whole(2, Some("c"), "b", 1000));
        let second = work(&mut desk);
        assert_eq!(fs::read_dir(&second[0]).unwrap().count(), 3, "both machines, and whose they are");
        desk.delivered(&first[0]);
        assert_eq!(finished(&mut desk), [1]);
        desk.delivered(&second[0]);
        assert_eq!(finished(&mut desk), [2]);
    }

    #[test]
    fn a_receipt_for_a_directorys_earlier_snapshot_is_not_the_later_ones() {
        let (_directory, mut desk) = desk(9);
        desk.add_whole(whole(1, None, "a", 1000));
        let path = work(&mut desk).remove(0);
        // It was delivered and removed, but nobody has looked at the receipt.
        fs::remove_dir_all(&path).unwrap();
        desk.add_whole(whole(2, None, "b", 1000));
        let receipt = path.clone();
        desk.work(&mut |desk| desk.delivered(&receipt)).unwrap();
        assert_eq!(finished(&mut desk), [1]);
        desk.delivered(&path);
        assert_eq!(finished(&mut desk), [2]);
    }

    #[test]
    fn who_is_too_late_is_set_aside_and_finished() {
        let (directory, mut desk) = desk(1);
        for (ticket, time) in [(1, 1000), (2, 1010), (3, 1000)] {
            desk.add_whole(whole(ticket, Some("c"), "a", time));
            desk.work(&mut |_| {}).unwrap();
            desk.look_at_the_clock(Instant::now());
        }
        assert_eq!(finished(&mut desk), [3]);
        assert_eq!(desk.counts().set_aside, 1);
        let reason = fs::read_to_string(directory.path().join("quarantine/1000/reason")).unwrap();
        assert_eq!(reason, "it came too late to be added to the others of cluster c\n");
    }

    #[test]
    fn what_the_disk_refuses_is_tried_again() {
        let (directory, mut desk) = desk(9);
        let drafts = directory.path().join("incoming.kafka/drafts");
        fs::create_dir(drafts.join("1000")).unwrap();
        desk.add_whole(whole(1, None, "a", 1000));
        desk.add_whole(whole(2, None, "a", 1010));
        let error = desk.work(&mut |_| {}).unwrap_err().to_string();
        assert!(error.contains("drafts/1000`: cannot be made"), "{error}");
        assert!(!desk.is_idle() && desk.waiting().unwrap() == 0);
        fs::remove_dir(drafts.join("1000")).unwrap();
        assert_eq!(work(&mut desk).len(), 2);
    }

    #[test]
    fn a_window_that_somebody_has_removed_is_left_for_the_next_start() {
        let (directory, mut desk) = desk(9);
        desk.add_whole(whole(1, Some("c"), "a", 1000));
        work(&mut desk);
        fs::remove_dir_all(directory.path().join("incoming.kafka/windows/c")).unwrap();
        desk.add(Task::Close(("c".to_owned(), 1000)));
        assert!(work(&mut desk).is_empty() && finished(&mut desk).is_empty());
    }
}
