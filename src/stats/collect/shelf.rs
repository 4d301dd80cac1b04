//! Files of what was collected: whole snapshots go into the spool, those of clusters lie on the shelf first, and what
//! is of no use goes beside, into the quarantine.
//!
//! The shelf is `windows/CLUSTER/TIME/HOST@FILE`. A window that is put together is linked into the spool, not copied,
//! and stays for machines that come late, also across a restart.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::assembler::Collected;
use super::windows::{Key, Windows};
use crate::stats::reading::{CLUSTER, ORIGIN};
use crate::stats::spool::{Draft, Snapshot, Spool, SpoolError};

/// In the spool's own file system.
#[derive(Debug)]
pub(super) struct Shelf {
    spool: Spool,
    windows: PathBuf,
    quarantine: PathBuf,
}

/// Damaged messages that are kept: enough to find out what is wrong with whoever writes them.
const MAX_DAMAGED: usize = 100;

/// The newest window of a cluster that is not kept any more: a line with its time.
const FORGOTTEN: &str = ".forgotten";

fn system(path: &Path, what: &'static str) -> impl FnOnce(io::Error) -> SpoolError {
    let path = path.to_owned();
    move |source| SpoolError::System { path, what, source }
}

impl Shelf {
    /// `ready` is the spool that is processed. What is made here is made in a directory of its own beside it, so that
    /// it is in nobody's way who removes snapshots at the same time.
    pub(super) fn open(ready: &Path) -> Result<Self, SpoolError> {
        let mut own = ready.file_name().unwrap_or_default().to_owned();
        own.push(".kafka");
        let own = ready.with_file_name(own);
        let windows = own.join("windows");
        fs::create_dir_all(&windows).map_err(system(&windows, "cannot be made"))?;
        let spool = Spool::open(ready, &own.join("drafts"))?;
        let quarantine = spool.quarantine();
        Ok(Self { spool, windows, quarantine })
    }

    /// Snapshots that wait for their delivery.
    pub(super) fn waiting(&self) -> Result<usize, SpoolError> {
        Ok(self.spool.snapshots()?.len())
    }

    /// Puts a machine's snapshot into the spool.
    pub(super) fn put(&self, collected: &Collected) -> Result<Snapshot, SpoolError> {
        let draft = self.spool.draft(collected.id.time)?;
        write_all(draft.path(), "", &collected.files)?;
        self.add(draft, &format!("{}\n", collected.id.host))
    }

    /// Lays a machine's snapshot on the shelf, in place of an earlier one; gives its bytes.
    pub(super) fn enter(&self, cluster: &str, collected: &Collected) -> Result<u64, SpoolError> {
        let window = self.window(cluster, collected.id.time);
        fs::create_dir_all(&window).map_err(system(&window, "cannot be made"))?;
        let prefix = format!("{}@", collected.id.host);
        for path in entries(&window)?.iter().filter(|path| name(path).starts_with(&prefix)) {
            fs::remove_file(path).map_err(system(path, "cannot be removed"))?;
        }
        write_all(&window, &prefix, &collected.files)?;
        Ok(collected.files.values().map(|bytes| bytes.len() as u64).sum())
    }

    /// Puts a window into the spool as one snapshot of its cluster; `None` where somebody else has removed it.
    pub(super) fn put_window(&self, (cluster, time): &Key) -> Result<Option<Snapshot>, SpoolError> {
        let window = self.window(cluster, *time);
        if !window.exists() {
            return Ok(None);
        }
        let draft = self.spool.draft(*time)?;
        for path in entries(&window)? {
            let link = draft.path().join(name(&path));
            fs::hard_link(&path, &link).map_err(system(&link, "cannot be linked"))?;
        }
        self.add(draft, &format!("{cluster}\n{CLUSTER}\n")).map(Some)
    }

    fn add(&self, draft: Draft, origin: &str) -> Result<Snapshot, SpoolError> {
        let path = draft.path().join(ORIGIN);
        fs::write(&path, origin).map_err(system(&path, "cannot be written"))?;
        self.spool.add(draft)
    }

    /// Takes a window off the shelf.
    pub(super) fn forget(&self, (cluster, time): &Key) -> Result<(), SpoolError> {
        let cluster_directory = self.windows.join(cluster);
        fs::create_dir_all(&cluster_directory).map_err(system(&cluster_directory, "cannot be made"))?;
        let mark = cluster_directory.join(FORGOTTEN);
        fs::write(&mark, format!("{time}\n")).map_err(system(&mark, "cannot be written"))?;
        let window = self.window(cluster, *time);
        match fs::remove_dir_all(&window) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(system(&window, "cannot be removed")(error))
            }
            _ => Ok(()),
        }
    }

    /// What lies on the shelf from before.
    pub(super) fn restore(&self, windows: &mut Windows) -> Result<(), SpoolError> {
        for cluster in entries(&self.windows)? {
            let forgotten = fs::read_to_string(cluster.join(FORGOTTEN)).ok();
            if let Some(time) = forgotten.and_then(|text| text.trim().parse().ok()) {
                windows.add_forgotten(&name(&cluster), time);
            }
            for window in entries(&cluster)? {
                let Ok(time) = name(&window).parse() else { continue };
                for (host, bytes) in hosts(&window)? {
                    windows.add(&name(&cluster), time, &host, bytes);
                }
            }
        }
        Ok(())
    }

    /// Sets a snapshot aside with a word on why; gives where it is.
    pub(super) fn set_aside(&self, collected: &Collected, reason: &str) -> Result<PathBuf, SpoolError> {
        let draft = self.spool.draft(collected.id.time)?;
        write_all(draft.path(), &format!("{}@", collected.id.host), &collected.files)?;
        let snapshot = Snapshot { time: collected.id.time, number: 0, path: draft.path().to_owned() };
        self.spool.set_aside(&snapshot, reason)
    }

    /// Keeps a damaged message; gives where it is, if there is room for it.
    pub(super) fn keep_damaged(&self, called: &str, payload: &[u8]) -> Result<Option<PathBuf>, SpoolError> {
        let directory = self.quarantine.join("kafka");
        fs::create_dir_all(&directory).map_err(system(&directory, "cannot be made"))?;
        if entries(&directory)?.len() >= MAX_DAMAGED {
            return Ok(None);
        }
        let path = directory.join(called);
        fs::write(&path, payload).map_err(system(&path, "cannot be written"))?;
        Ok(Some(path))
    }

    fn window(&self, cluster: &str, time: u64) -> PathBuf {
        self.windows.join(cluster).join(time.to_string())
    }
}

fn write_all(directory: &Path, prefix: &str, files: &BTreeMap<String, Vec<u8>>) -> Result<(), SpoolError> {
    for (name, bytes) in files {
        let path = directory.join(format!("{prefix}{name}"));
        fs::write(&path, bytes).map_err(system(&path, "cannot be written"))?;
    }
    Ok(())
}

/// The machines of a window, with their bytes.
fn hosts(window: &Path) -> Result<BTreeMap<String, u64>, SpoolError> {
    let mut hosts = BTreeMap::new();
    for path in entries(window)? {
        let bytes = fs::metadata(&path).map_err(system(&path, "cannot be looked at"))?.len();
        if let Some((host, _)) = name(&path).split_once('@') {
            *hosts.entry(host.to_owned()).or_default() += bytes;
        }
    }
    Ok(hosts)
}

/// What is in a directory, without hidden names, by name.
fn entries(directory: &Path) -> Result<Vec<PathBuf>, SpoolError> {
    let refused = || system(directory, "cannot be read");
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(refused())? {
        let path = entry.map_err(refused())?.path();
        if !name(&path).starts_with('.') {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use tempfile::TempDir;

    use super::super::ledger::Ticket;
    use super::super::part::Id;
    use super::super::windows::Limits;
    use super::*;

    fn shelf() -> (TempDir, Shelf) {
        let directory = tempfile::tempdir().unwrap();
        let shelf = Shelf::open(&directory.path().join("incoming")).unwrap();
        (directory, shelf)
    }

    fn collected(host: &str, time: u64, files: &[(&str, &str)]) -> Collected {
        let file = |(name, text): &(&str, &str)| ((*name).to_owned(), text.as_bytes().to_vec());
        Collected {
            ticket: Ticket(1),
            id: Id { host: host.into(), time, number: 0 },
            cluster: None,
            files: files.iter().map(file).collect(),
        }
    }

    /// All files of a directory, hidden ones too, with what they say.
    fn content(directory: &Path) -> Vec<String> {
        let mut paths: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths.iter().map(|path| format!("{}={}", name(path), fs::read_to_string(path).unwrap())).collect()
    }

    #[test]
    fn a_machines_snapshot_lies_in_the_spool_and_says_whose_it_is() {
        let (_directory, shelf) = shelf();
        let snapshot = shelf.put(&collected("lb-1", 1000, &[("a_info", "I"), ("a_stat", "S")])).unwrap();
        assert_eq!(content(&snapshot.path), [".origin=lb-1\n", "a_info=I", "a_stat=S"]);
        assert_eq!(shelf.waiting().unwrap(), 1);
    }

    #[test]
    fn a_window_is_one_snapshot_and_once_more_with_who_comes_late() {
        let (directory, shelf) = shelf();
        let key = ("edge".to_owned(), 1000);
        assert_eq!(
            shelf.enter("edge", &collected("a", 1000, &[("x_info", "123"), ("y_info", "")])).unwrap(),
            3
        );
        let first = shelf.put_window(&key).unwrap().unwrap();
        assert_eq!(content(&first.path), [".origin=edge\ncluster\n", "a@x_info=123", "a@y_info="]);
        shelf.enter("edge", &collected("b", 1000, &[("x_info", "B")])).unwrap();
        // What is sent again takes the place of the first.
        shelf.enter("edge", &collected("a", 1000, &[("x_info", "A")])).unwrap();
        let second = shelf.put_window(&key).unwrap().unwrap();
        assert_eq!(content(&second.path), [".origin=edge\ncluster\n", "a@x_info=A", "b@x_info=B"]);
        assert_eq!(content(&first.path)[1], "a@x_info=123", "it is what it was");
        assert_eq!((first.number, second.number), (0, 1));
        shelf.forget(&key).unwrap();
        shelf.forget(&key).unwrap();
        assert!(!directory.path().join("incoming.kafka/windows/edge/1000").exists());
    }

    #[test]
    fn the_shelf_outlives_the_program() {
        let (directory, shelf) = shelf();
        for (host, time) in [("a", 1000), ("b", 1000), ("a", 990)] {
            shelf.enter("edge", &collected(host, time, &[("x_info", "1")])).unwrap();
        }
        shelf.forget(&("edge".to_owned(), 990)).unwrap();
        let shelf = Shelf::open(&directory.path().join("incoming")).unwrap();
        let limits = Limits { wait: Duration::from_secs(5), windows: 9, bytes: 1000 };
        let mut windows = Windows::new(limits);
        shelf.restore(&mut windows).unwrap();
        assert!(windows.is_forgotten("edge", 990) && !windows.is_forgotten("edge", 1000));
        let now = Instant::now();
        let verdict = |windows: &mut Windows, host| windows.arrive(now, "edge", 1010, host, 1);
        assert_eq!(verdict(&mut windows, "b"), super::super::windows::Verdict::Waits);
        assert_eq!(verdict(&mut windows, "a"), super::super::windows::Verdict::Closed);
    }

    #[test]
    fn what_is_of_no_use_is_kept_beside_with_a_reason() {
        let (directory, shelf) = shelf();
        let path = shelf.set_aside(&collected("a", 1000, &[("x_info", "1")]), "too late").unwrap();
        assert_eq!(content(&path), ["a@x_info=1", "reason=too late\n"]);
        shelf.set_aside(&collected("b", 1000, &[("x_info", "1")]), "too late").unwrap();
        for number in 0..MAX_DAMAGED + 5 {
            let kept = shelf.keep_damaged(&format!("t-0-{number}"), b"x").unwrap();
            assert_eq!(kept.is_some(), number < MAX_DAMAGED);
        }
        assert_eq!(content(&directory.path().join("quarantine/kafka")).len(), MAX_DAMAGED);
        assert_eq!(shelf.waiting().unwrap(), 0);
    }
}
