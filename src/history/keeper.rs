//! The thread that writes the history. What cannot be written waits in memory, and what finds no room there is counted and
//! told, in the log and in the history itself.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use log::{debug, error, info, warn};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::backlog::{ROOM, Room};
use super::book::Shared;
use super::file::Writer;
use super::{Book, HistoryError};

/// Where, and how much.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The file.
    pub file: PathBuf,
    /// Entries at most; at least 1.
    pub limit: usize,
}

/// Entries of one transaction: what is read meanwhile waits for no more.
const BATCH: usize = 1000;
/// From an attempt that failed to the next; doubled with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Where there is nothing to wait for, and somebody will notify.
const HOUR: Duration = Duration::from_secs(60 * 60);
/// At the end: more than one attempt takes.
const GRACE: Duration = Duration::from_secs(7);

/// Keeps a history in a file, in a thread of its own.
#[derive(Debug)]
pub struct Keeper {
    book: Book,
}

impl Keeper {
    /// Opens the file, or begins one. What may pass, as a disk that is full, is no reason to fail; blocks for some
    /// seconds at most.
    pub fn start(settings: &Settings) -> Result<Self, HistoryError> {
        let system = |cause| HistoryError::System { path: settings.file.clone(), cause };
        // Names as `:memory:` mean something else to SQLite.
        let path = std::path::absolute(&settings.file).map_err(system)?;
        let lock = lock(&path)?;
        let shared = Shared::new(Some(path.clone()), Room { entries: usize::MAX, bytes: ROOM });
        let mut keeping = Keeping {
            shared: Arc::clone(&shared),
            path,
            limit: settings.limit,
            file: None,
            trouble: None,
            _lock: lock,
        };
        match keeping.make_ready() {
            Err(error) if error.may_pass() => keeping.failed(&error),
            result => result?,
        }
        thread::Builder::new().name("history".into()).spawn(move || keeping.run()).map_err(system)?;
        Ok(Self { book: Book(shared) })
    }

    /// What goes in and comes out.
    #[must_use]
    pub fn book(&self) -> Book {
        self.book.clone()
    }

    /// Writes what waits, and ends. Blocks for some seconds at most.
    pub fn end(self) {
        let shared = self.book.0;
        shared.lock().is_over = true;
        shared.wake.notify_all();
        let is_ended = shared.wake.wait_timeout_while(shared.lock(), GRACE, |state| !state.has_ended);
        let (state, timeout) = is_ended.unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() {
            warn!("the history is not waited for: {} entries may not be in its file", state.backlog.len());
        }
    }
}

/// One writer for each file. A file beside it, as SQLite's own locks end with the first that closes the database.
fn lock(path: &Path) -> Result<Flock<File>, HistoryError> {
    let mut name = OsString::from(path);
    name.push(".lock");
    let system = |cause: io::Error| {
        let cause = io::Error::new(cause.kind(), format!("`{}`: {cause}", Path::new(&name).display()));
        HistoryError::System { path: path.to_owned(), cause }
    };
    let options = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&name);
    match Flock::lock(options.map_err(system)?, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(lock),
        Err((_, Errno::EWOULDBLOCK)) => Err(HistoryError::Held(path.to_owned())),
        Err((_, error)) => Err(system(error.into())),
    }
}

/// What does not work, since when nothing was written.
struct Trouble {
    what: String,
    pause: Duration,
    next: Instant,
    /// Whether it was said that entries are lost.
    has_told_loss: bool,
}

struct Keeping {
    shared: Arc<Shared>,
    path: PathBuf,
    limit: usize,
    file: Option<Writer>,
    trouble: Option<Trouble>,
    _lock: Flock<File>,
}

impl Keeping {
    fn run(mut self) {
        loop {
            let is_over = self.wait();
            if self.shared.lock().backlog.is_empty() {
                break;
            }
            match self.write() {
                Ok(()) => self.succeeded(),
                Err(error) => self.failed(&error),
            }
            if is_over && self.trouble.is_some() {
                break;
            }
        }
        self.leave();
    }

    /// Until there is something to write, and it may be tried; gives whether all is over.
    fn wait(&self) -> bool {
        let mut state = self.shared.lock();
        while !state.is_over {
            let pause =
                self.trouble.as_ref().map(|trouble| trouble.next.saturating_duration_since(Instant::now()));
            let pause = pause.filter(|pause| !pause.is_zero());
            if pause.is_none() && !state.backlog.is_empty() {
                return false;
            }
            let waited = self.shared.wake.wait_timeout(state, pause.unwrap_or(HOUR));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    // --- writing

    fn write(&mut self) -> Result<(), HistoryError> {
        self.make_ready()?;
        let Some(file) = &mut self.file else { return Ok(()) };
        let batch = self.shared.lock().backlog.take(BATCH);
        let result = file.append(&batch);
        let mut state = self.shared.lock();
        if result.is_ok() {
            state.backlog.written();
            state.tally.written += u64::try_from(batch.len()).unwrap_or(u64::MAX);
        } else {
            state.backlog.put_back();
        }
        result
    }

    /// Opens the file where it is not, or where another one has its name now.
    fn make_ready(&mut self) -> Result<(), HistoryError> {
        if self.file.as_ref().is_some_and(Writer::is_current) {
            return Ok(());
        }
        // Closed before the other is opened: two of one file would share its locks.
        self.file = None;
        let mut file = Writer::open(&self.path, self.limit)?;
        self.shared.lock().backlog.raise_above(file.newest());
        let proof = file.prove();
        self.file = Some(file);
        proof
    }

    // --- telling

    fn succeeded(&mut self) {
        let trouble = self.trouble.take();
        if trouble.is_some() {
            info!("history file `{}`: is written again", self.path.display());
        }
        let mut state = self.shared.lock();
        let Some(lost) = state.backlog.take_lost() else { return };
        state.tally.lost += lost.count;
        drop(state);
        let why = trouble.map_or("more came at once than memory has room for".into(), |trouble| trouble.what);
        let note = lost.note(&why);
        error!("history: {}", note.why.as_deref().unwrap_or_default());
        Book(Arc::clone(&self.shared)).record(note);
    }

    fn failed(&mut self, error: &HistoryError) {
        if !error.may_pass() {
            // Whatever it is, the next attempt begins with a look at it.
            self.file = None;
        }
        let mut state = self.shared.lock();
        state.tally.failures += 1;
        let loses = state.backlog.lost().is_some();
        drop(state);
        let (pause, has_told_loss) = match &self.trouble {
            Some(trouble) => ((trouble.pause * 2).min(LONGEST_PAUSE), trouble.has_told_loss),
            None => (FIRST_PAUSE, false),
        };
        if self.trouble.is_none() {
            error!("{error}; entries wait in memory until it can be written");
        } else {
            debug!("{error}");
        }
        if loses && !has_told_loss {
            error!("history: too many entries wait, and the oldest are lost");
        }
        let next = Instant::now() + pause;
        self.trouble =
            Some(Trouble { what: error.to_string(), pause, next, has_told_loss: has_told_loss || loses });
    }

    fn leave(self) {
        if let Some(trouble) = &self.trouble {
            let state = self.shared.lock();
            let lost = state.backlog.lost().map_or(0, |lost| lost.count);
            let count = u64::try_from(state.backlog.len()).unwrap_or(u64::MAX) + lost;
            error!("history: {count} entries are lost: {}", trouble.what);
        }
        let shared = Arc::clone(&self.shared);
        // The file is free before that is told.
        drop(self);
        shared.lock().has_ended = true;
        shared.wake.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rusqlite::Connection;

    use super::super::entry::tests::note;
    use super::super::{Entry, Kind, Query};
    use super::*;

    struct Stage {
        directory: tempfile::TempDir,
    }

    impl Stage {
        fn new() -> Self {
            Self { directory: tempfile::tempdir().unwrap() }
        }

        fn file(&self) -> PathBuf {
            self.directory.path().join("h.sqlite")
        }

        fn start(&self) -> Keeper {
            Keeper::start(&Settings { file: self.file(), limit: 100_000 }).unwrap()
        }
    }

    fn all(book: &Book) -> Vec<Entry> {
        book.recent(&Query { limit: usize::MAX, ..Query::default() }).unwrap()
    }

    #[track_caller]
    fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !is_so() {
            assert!(begun.elapsed() < Duration::from_secs(60), "{what}");
            thread::yield_now();
        }
    }

    fn waits_for_nothing(book: &Book) {
        eventually("all to be written", || book.tally().unwrap().waiting == 0);
    }

    #[test]
    fn what_is_recorded_is_seen_at_once_and_once_and_outlives_the_keeper() {
        let stage = Stage::new();
        let keeper = stage.start();
        let book = keeper.book();
        for count in 1..=50 {
            book.record(note("app/web1"));
            let ids: Vec<i64> = all(&book).iter().map(|entry| entry.id).collect();
            assert_eq!(ids, (1..=count).rev().collect::<Vec<_>>());
        }
        keeper.end();
        let keeper = stage.start();
        keeper.book().record(note("app/web2"));
        let entries = all(&keeper.book());
        assert_eq!((entries.len(), entries[0].id, &*entries[0].subject), (51, 51, "app/web2"));
    }

    #[test]
    fn a_change_of_many_at_once_is_there_to_the_last() {
        let stage = Stage::new();
        let keeper = stage.start();
        let book = keeper.book();
        book.record_all((0..100_000).map(|number| note(&format!("app/web{number}"))));
        waits_for_nothing(&book);
        assert_eq!(book.tally().unwrap().lost, 0);
        let entries = all(&book);
        assert!(entries.iter().rev().enumerate().all(|(at, entry)| entry.subject == format!("app/web{at}")));
        assert_eq!(entries.len(), 100_000);
    }

    #[test]
    fn each_file_has_one_who_writes() {
        let stage = Stage::new();
        let keeper = stage.start();
        let error = Keeper::start(&Settings { file: stage.file(), limit: 1 }).unwrap_err();
        assert!(error.to_string().contains("another `serve` writes it"), "{error}");
        keeper.end();
        stage.start();
    }

    #[test]
    fn what_cannot_be_written_waits_and_is_written_when_it_can() {
        let stage = Stage::new();
        let keeper = stage.start();
        let book = keeper.book();
        // Somebody has the file for longer than it is waited for.
        let other = Connection::open(stage.file()).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        book.record(note("app/web1"));
        eventually("a failure", || book.tally().unwrap().failures > 0);
        assert_eq!(book.tally().unwrap().waiting, 1);
        assert_eq!(all(&book).len(), 1, "it is seen all the same");
        other.execute_batch("ROLLBACK").unwrap();
        waits_for_nothing(&book);
        let tally = book.tally().unwrap();
        assert_eq!((tally.written, tally.lost, all(&book).len()), (1, 0, 1));
    }

    #[test]
    fn what_finds_no_room_is_told_in_the_history_itself() {
        let stage = Stage::new();
        let keeper = stage.start();
        let book = keeper.book();
        let other = Connection::open(stage.file()).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let long = "x".repeat(4000);
        book.record_all(
            (0..12_000).map(|_| super::super::Note { why: Some(long.clone()), ..note("app/web1") }),
        );
        let lost = book.tally().unwrap().lost;
        assert!((1000..11_000).contains(&lost), "{lost}");
        other.execute_batch("ROLLBACK").unwrap();
        waits_for_nothing(&book);
        let told = Query { limit: 9, kind: Some(Kind::Message), ..Query::default() };
        eventually("the loss to be told", || book.recent(&told).unwrap().len() == 1);
        let entry = book.recent(&told).unwrap().remove(0);
        assert_eq!((&*entry.subject, &*entry.to), ("history", "lost"));
        let why = entry.why.unwrap();
        assert!(why.starts_with(&format!("{lost} entries from ")), "{why}");
        assert_eq!(book.tally().unwrap().lost, lost);
    }

    #[test]
    fn a_file_that_is_taken_away_or_replaced_is_begun_anew_and_ids_go_on() {
        let stage = Stage::new();
        let keeper = stage.start();
        let book = keeper.book();
        book.record_all((0..10).map(|_| note("app/web1")));
        waits_for_nothing(&book);
        fs::remove_file(stage.file()).unwrap();
        book.record(note("app/web2"));
        waits_for_nothing(&book);
        assert_eq!(all(&book).iter().map(|entry| entry.id).collect::<Vec<_>>(), [11]);
        fs::write(stage.file(), "damaged").unwrap();
        fs::rename(stage.file(), stage.directory.path().join("x")).unwrap();
        fs::write(stage.file(), "x".repeat(9000)).unwrap();
        book.record(note("app/web3"));
        waits_for_nothing(&book);
        assert_eq!(all(&book).iter().map(|entry| entry.id).collect::<Vec<_>>(), [12]);
        assert!(stage.directory.path().join("h.sqlite.damaged").exists());
    }
}
