//! The file: an SQLite database with a rollback journal, so that whoever may read it can, without a right to write beside
//! it, while `serve` writes and when it is gone. One writer, kept to one by a lock, and any number of readers.
//!
//! The file is never opened but through SQLite: closing it by another way would end SQLite's own locks in this process.

use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use log::{debug, error};
use rusqlite::types::Type;
use rusqlite::{Connection, ErrorCode, OpenFlags, Row, TransactionBehavior, ffi, params};
use rustix::fs::{Access, access};

use super::entry::Entry;
use super::{HistoryError, Kind, Query};

/// What makes each form of the database of the one before. Those that were released are never changed.
const FORMS: &[&str] = &["CREATE TABLE entry (
    id INTEGER PRIMARY KEY,
    time INTEGER NOT NULL, -- milliseconds since 1970
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    was TEXT NOT NULL,
    became TEXT NOT NULL,
    why TEXT
) STRICT"];
/// `SHAP`, by which `file` and others tell our databases (`PRAGMA application_id`).
const APPLICATION: i32 = 0x5348_4150;
/// How long a reader waits for the writer and the other way round: a batch takes milliseconds on a disk that works.
const BUSY: Duration = Duration::from_secs(5);
/// Of files that were set aside, the first ones are kept, and the last one.
const SET_ASIDE: u32 = 3;

const SELECT: &str = "SELECT id, time, kind, subject, was, became, why FROM entry \
    WHERE id < ?1 AND id > ?2 AND time >= ?3 AND (?4 IS NULL OR kind = ?4) AND (?5 IS NULL OR subject = ?5) \
    ORDER BY id DESC";
const INSERT: &str =
    "INSERT INTO entry (id, time, kind, subject, was, became, why) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
const TRIM: &str = "DELETE FROM entry WHERE id IN (SELECT id FROM entry ORDER BY id LIMIT ?1)";

// --- reading

/// Somebody who reads the file, and never changes it.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    connection: Connection,
    file: (u64, u64),
    /// Whether anything was ever written into it.
    is_begun: bool,
}

impl Reader {
    /// Opens the file; blocks for some seconds at most.
    pub fn open(path: &Path) -> Result<Self, HistoryError> {
        let open = |flags| {
            let metadata = look(path)?.ok_or_else(|| HistoryError::Missing(path.to_owned()))?;
            let connection = connect(path, flags)?;
            let form = form(path, &connection, FORMS)?;
            let file = identity(&metadata);
            Ok(Self { path: path.to_owned(), connection, file, is_begun: form > 0 })
        };
        match open(OpenFlags::SQLITE_OPEN_READ_ONLY) {
            // What a writer has left behind, whoever may write puts right.
            Err(HistoryError::CutOff(_)) => open(OpenFlags::SQLITE_OPEN_READ_WRITE),
            result => result,
        }
    }

    /// Opens the file anew that has this name now; blocks for some seconds at most.
    pub fn reopen(&mut self) -> Result<(), HistoryError> {
        *self = Self::open(&self.path)?;
        Ok(())
    }

    /// The newest first. Blocks for some seconds at most.
    pub fn read(&self, query: &Query) -> Result<Vec<Entry>, HistoryError> {
        if !self.is_begun {
            return Ok(Vec::new());
        }
        self.select(query).map_err(|cause| fault(&self.path, cause))
    }

    fn select(&self, query: &Query) -> rusqlite::Result<Vec<Entry>> {
        let mut statement = self.connection.prepare(SELECT)?;
        let subject = query.subject.as_ref().and_then(super::Pattern::exact);
        let rows = statement.query_map(
            params![
                query.before.unwrap_or(i64::MAX),
                query.after.unwrap_or(i64::MIN),
                query.since.map_or(i64::MIN, Timestamp::as_millisecond),
                query.kind.map(Kind::word),
                subject,
            ],
            entry,
        )?;
        rows.filter(|entry| entry.as_ref().map_or(true, |entry| query.matches(entry)))
            .take(query.limit)
            .collect()
    }

    /// Whether the file is still the one that has this name.
    #[must_use]
    pub fn is_current(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|metadata| identity(&metadata) == self.file)
    }
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let wrong = |column, kind, why: Box<dyn std::error::Error + Send + Sync>| {
        rusqlite::Error::FromSqlConversionFailure(column, kind, why)
    };
    let time = Timestamp::from_millisecond(row.get(1)?);
    let kind = Kind::from_str(row.get_ref(2)?.as_str()?);
    Ok(Entry {
        id: row.get(0)?,
        time: time.map_err(|error| wrong(1, Type::Integer, error.into()))?,
        kind: kind.map_err(|error| wrong(2, Type::Text, error.into()))?,
        subject: row.get(3)?,
        from: row.get(4)?,
        to: row.get(5)?,
        why: row.get(6)?,
    })
}

// --- writing

/// The one who writes the file.
#[derive(Debug)]
pub(super) struct Writer {
    path: PathBuf,
    connection: Connection,
    file: (u64, u64),
    limit: usize,
    count: usize,
    newest: i64,
}

impl Writer {
    /// Opens the file, or begins one; what is damaged is set aside. Blocks for some seconds at most.
    pub(super) fn open(path: &Path, limit: usize) -> Result<Self, HistoryError> {
        match Self::open_sound(path, limit) {
            Err(HistoryError::Damaged { path, what }) => {
                let aside = set_aside(&path)?;
                error!(
                    "history file `{}`: is damaged: {what}; it is kept as `{}`, and a new one is begun",
                    path.display(),
                    aside.display()
                );
                Self::open_sound(&path, limit)
            }
            result => result,
        }
    }

    fn open_sound(path: &Path, limit: usize) -> Result<Self, HistoryError> {
        look(path)?;
        let mut connection =
            connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
        let wrong = |cause| fault(path, cause);
        if connection.is_readonly("main").map_err(wrong)? {
            return Err(HistoryError::ReadOnly(path.to_owned()));
        }
        let form = form(path, &connection, FORMS)?;
        if form > 0 {
            check(path, &connection)?;
        }
        migrate(&mut connection, form, FORMS).map_err(wrong)?;
        let select = "SELECT count(*), ifnull(max(id), 0) FROM entry";
        let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let (count, newest) = connection.query_row(select, [], read).map_err(wrong)?;
        let metadata = look(path)?.ok_or_else(|| HistoryError::Missing(path.to_owned()))?;
        let file = identity(&metadata);
        Ok(Self { path: path.to_owned(), connection, file, limit, count, newest })
    }

    /// Writes what is there already, so that somebody who may not learns it now; and what is too much goes.
    pub(super) fn prove(&mut self) -> Result<(), HistoryError> {
        self.try_prove().map_err(|cause| match cause.sqlite_error_code() {
            Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly) => HistoryError::ReadOnly(self.path.clone()),
            _ => fault(&self.path, cause),
        })
    }

    fn try_prove(&mut self) -> rusqlite::Result<()> {
        self.connection.pragma_update(None, "application_id", APPLICATION)?;
        let excess = self.count.saturating_sub(self.limit);
        if excess > 0 {
            self.connection.execute(TRIM, [excess])?;
            self.count -= excess;
            // A smaller file is nice to have.
            if let Err(error) = self.connection.execute_batch("VACUUM") {
                debug!("history file `{}`: stays as large as it is: {error}", self.path.display());
            }
        }
        Ok(())
    }

    /// The greatest id in it; 0 where there is none.
    pub(super) fn newest(&self) -> i64 {
        self.newest
    }

    /// Whether the file is still the one that has this name.
    pub(super) fn is_current(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|metadata| identity(&metadata) == self.file)
    }

    /// Appends all or none; the oldest entries go.
    pub(super) fn append(&mut self, entries: &[Arc<Entry>]) -> Result<(), HistoryError> {
        self.try_append(entries).map_err(|cause| fault(&self.path, cause))
    }

    fn try_append(&mut self, entries: &[Arc<Entry>]) -> rusqlite::Result<()> {
        let skipped = entries.len().saturating_sub(self.limit);
        let total = self.count + entries.len() - skipped;
        let excess = total.saturating_sub(self.limit);
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        {
            // Before the others come, so that they find the room.
            transaction.execute(TRIM, [excess])?;
            let mut insert = transaction.prepare(INSERT)?;
            for entry in entries.iter().skip(skipped) {
                let Entry { id, time, kind, subject, from, to, why } = &**entry;
                insert.execute(params![id, time.as_millisecond(), kind.word(), subject, from, to, why])?;
            }
        }
        transaction.commit()?;
        self.count = total - excess;
        self.newest = entries.last().map_or(self.newest, |entry| entry.id);
        Ok(())
    }
}

// --- the database

/// What stands there; `None` where nothing does.
fn look(path: &Path) -> Result<Option<Metadata>, HistoryError> {
    let system = |cause| HistoryError::System { path: path.to_owned(), cause };
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => Ok(Some(metadata)),
        Ok(_) => Err(system(io::Error::other("is no regular file; name a file"))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(system(error)),
    }
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, HistoryError> {
    let connect = || {
        let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        connection.busy_timeout(BUSY)?;
        // Others may have made the file.
        connection.pragma_update(None, "trusted_schema", false)?;
        Ok(connection)
    };
    connect().map_err(|cause| fault(path, cause))
}

/// Which form it has, from 1; 0 where it is empty. What is none of ours, or of a later version, is refused.
fn form(path: &Path, connection: &Connection, forms: &[&str]) -> Result<usize, HistoryError> {
    let number = |query: &str| connection.query_row(query, [], |row| row.get::<_, i64>(0));
    let read = || {
        Ok((
            number("PRAGMA application_id")?,
            number("PRAGMA user_version")?,
            number("SELECT count(*) FROM sqlite_schema")?,
        ))
    };
    let (application, found, tables) = read().map_err(|cause| fault(path, cause))?;
    let known = i64::try_from(forms.len()).unwrap_or(i64::MAX);
    match (application, usize::try_from(found)) {
        (0, Ok(0)) if tables == 0 => Ok(0),
        (application, Ok(form)) if application == i64::from(APPLICATION) => {
            if form > forms.len() {
                Err(HistoryError::Newer { path: path.to_owned(), found, known })
            } else {
                Ok(form)
            }
        }
        _ => Err(HistoryError::Foreign(path.to_owned())),
    }
}

/// From this form to the newest, wholly or not at all.
fn migrate(connection: &mut Connection, form: usize, forms: &[&str]) -> rusqlite::Result<()> {
    connection.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))?;
    if form == forms.len() {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for step in forms.iter().skip(form) {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", i64::try_from(forms.len()).unwrap_or(i64::MAX))?;
    transaction.commit()
}

/// Whether all of it can be read.
fn check(path: &Path, connection: &Connection) -> Result<(), HistoryError> {
    let found = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
    match found.map_err(|cause| fault(path, cause))? {
        found if found == "ok" => Ok(()),
        found => Err(HistoryError::Damaged { path: path.to_owned(), what: found.replace('\n', " ") }),
    }
}

/// Gives the file, and what belongs to it, another name.
fn set_aside(path: &Path) -> Result<PathBuf, HistoryError> {
    let with_end = |path: &Path, end: &str| {
        let mut name = OsString::from(path);
        name.push(end);
        PathBuf::from(name)
    };
    let names = (1..=SET_ASIDE).map(|number| with_end(path, &format!(".damaged-{number}")));
    let mut names = names.collect::<Vec<_>>().into_iter().peekable();
    let mut aside = with_end(path, ".damaged");
    while aside.exists() && names.peek().is_some() {
        aside = names.next().unwrap_or(aside);
    }
    let moved = fs::rename(path, &aside).and_then(|()| {
        // A new file must not find what was to be done with the old one.
        match fs::rename(with_end(path, "-journal"), with_end(&aside, "-journal")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    });
    moved.map_err(|cause| HistoryError::System { path: path.to_owned(), cause })?;
    Ok(aside)
}

/// SQLite's error in the words of those who have to do something about it.
fn fault(path: &Path, cause: rusqlite::Error) -> HistoryError {
    let path = path.to_owned();
    let extended = cause.sqlite_error().map(|error| error.extended_code);
    match cause.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            HistoryError::Damaged { path, what: cause.to_string() }
        }
        Some(ErrorCode::ReadOnly) if extended == Some(ffi::SQLITE_READONLY_ROLLBACK) => {
            HistoryError::CutOff(path)
        }
        Some(ErrorCode::ReadOnly) => HistoryError::ReadOnly(path),
        Some(ErrorCode::CannotOpen) => match refusal(&path) {
            Some(refusal) => HistoryError::System { path, cause: refusal },
            None => HistoryError::Sqlite { path, cause },
        },
        _ => HistoryError::Sqlite { path, cause },
    }
}

/// Why a file cannot be opened, where the system tells: SQLite does not.
fn refusal(path: &Path) -> Option<io::Error> {
    let of = |path: &Path, access_to| access(path, access_to).err().map(io::Error::from);
    if path.exists() {
        return of(path, Access::READ_OK);
    }
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty())?;
    of(directory, Access::WRITE_OK | Access::EXEC_OK).map(|error| {
        io::Error::new(error.kind(), format!("cannot be made in `{}`: {error}", directory.display()))
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::super::entry::tests::note;
    use super::*;

    struct Stage {
        directory: TempDir,
    }

    impl Stage {
        fn new() -> Self {
            Self { directory: tempfile::tempdir().unwrap() }
        }

        fn path(&self) -> PathBuf {
            self.directory.path().join("h.sqlite")
        }

        fn writer(&self, limit: usize) -> Writer {
            let mut writer = Writer::open(&self.path(), limit).unwrap();
            writer.prove().unwrap();
            writer
        }

        fn size(&self) -> u64 {
            fs::metadata(self.path()).unwrap().len()
        }

        fn ids(&self, query: &Query) -> Vec<i64> {
            let entries = Reader::open(&self.path()).unwrap().read(query).unwrap();
            entries.iter().map(|entry| entry.id).collect()
        }

        fn files(&self) -> Vec<String> {
            let entries = fs::read_dir(self.directory.path()).unwrap();
            let mut names: Vec<String> =
                entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        }
    }

    fn all() -> Query {
        Query { limit: usize::MAX, ..Query::default() }
    }

    fn entries(ids: impl IntoIterator<Item = i64>) -> Vec<Arc<Entry>> {
        let entry = |id| {
            let time = Timestamp::from_second(id).unwrap();
            Arc::new(Entry::new(id, time, note(&format!("app/web{}", id % 10))))
        };
        ids.into_iter().map(entry).collect()
    }

    #[test]
    fn what_is_written_is_read_the_newest_first() {
        let stage = Stage::new();
        let mut writer = stage.writer(100);
        writer.append(&entries(1..=3)).unwrap();
        let read = Reader::open(&stage.path()).unwrap().read(&all()).unwrap();
        let expected: Vec<Entry> = entries([3, 2, 1]).iter().map(|entry| (**entry).clone()).collect();
        assert_eq!(read, expected);
        drop(writer);
        assert_eq!(stage.writer(100).newest(), 3);
    }

    #[test]
    fn a_query_finds_what_it_asks_for() {
        let stage = Stage::new();
        stage.writer(100).append(&entries(1..=30)).unwrap();
        let limited = Query { limit: 2, ..Query::default() };
        assert_eq!(stage.ids(&limited), [30, 29]);
        assert_eq!(stage.ids(&Query { before: Some(3), ..all() }), [2, 1]);
        assert_eq!(stage.ids(&Query { after: Some(28), ..all() }), [30, 29]);
        assert_eq!(stage.ids(&Query { since: Timestamp::from_second(30).ok(), ..all() }), [30]);
        assert_eq!(stage.ids(&Query { subject: "app/web7".parse().ok(), ..all() }), [27, 17, 7]);
        assert_eq!(stage.ids(&Query { subject: "*/web7".parse().ok(), ..limited.clone() }), [27, 17]);
        assert_eq!(stage.ids(&Query { kind: Some(Kind::Haproxy), ..all() }), [0; 0]);
        let injected = "' OR 1=1 --".parse().ok();
        assert_eq!(stage.ids(&Query { subject: injected, ..all() }), [0; 0]);
    }

    #[test]
    fn it_has_no_more_entries_than_its_limit_and_grows_no_further() {
        let stage = Stage::new();
        let mut writer = stage.writer(500);
        let mut append = |from: i64, to: i64| {
            for first in (from..to).step_by(50) {
                writer.append(&entries(first..first + 50)).unwrap();
            }
        };
        append(1, 1001);
        let size = stage.size();
        append(1001, 20_001);
        assert_eq!(stage.ids(&all()), (19_501..=20_000).rev().collect::<Vec<_>>());
        // Rows of other lengths take other pages: some more, but not forty times as many.
        assert!(stage.size() <= size + 8 * 4096, "{} bytes, {size} at first", stage.size());
        writer.append(&entries(20_001..21_001)).unwrap();
        assert_eq!(stage.ids(&all()).len(), 500, "a batch may be longer than the limit");
    }

    #[test]
    fn a_smaller_limit_makes_it_smaller_at_the_next_start() {
        let stage = Stage::new();
        stage.writer(5000).append(&entries(1..=5000)).unwrap();
        let size = stage.size();
        stage.writer(10);
        assert_eq!(stage.ids(&all()), (4991..=5000).rev().collect::<Vec<_>>());
        assert!(stage.size() < size / 10, "{} of {size}", stage.size());
    }

    #[test]
    fn an_older_form_becomes_the_newest_with_all_that_is_in_it() {
        let stage = Stage::new();
        let forms = ["CREATE TABLE a (x) ", "ALTER TABLE a ADD COLUMN y", "CREATE TABLE b (z)"];
        let mut connection = Connection::open(stage.path()).unwrap();
        migrate(&mut connection, 0, &forms[..1]).unwrap();
        connection.execute_batch("INSERT INTO a VALUES (7)").unwrap();
        assert_eq!(form(&stage.path(), &connection, &forms).unwrap(), 1);
        migrate(&mut connection, 1, &forms).unwrap();
        assert_eq!(form(&stage.path(), &connection, &forms).unwrap(), 3);
        let row = connection.query_row("SELECT x, y, (SELECT count(*) FROM b) FROM a", [], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, Option<i64>>(1)?, row.get::<_, i64>(2)?))
        });
        assert_eq!(row.unwrap(), (7, None, 0));
        let broken = [
            "CREATE TABLE a (x) ",
            "ALTER TABLE a ADD COLUMN y",
            "CREATE TABLE b (z)",
            "CREATE TABLE c (x)",
            "no",
        ];
        assert!(migrate(&mut connection, 3, &broken).is_err());
        assert_eq!(form(&stage.path(), &connection, &forms).unwrap(), 3, "wholly or not at all");
        let error = form(&stage.path(), &connection, &forms[..2]).unwrap_err();
        assert!(matches!(error, HistoryError::Newer { found: 3, known: 2, .. }), "{error}");
    }

    #[test]
    fn what_a_newer_version_has_written_is_left_alone() {
        let stage = Stage::new();
        let writer = stage.writer(10);
        writer.connection.pragma_update(None, "user_version", 99).unwrap();
        drop(writer);
        let before = fs::read(stage.path()).unwrap();
        for error in [Writer::open(&stage.path(), 10).unwrap_err(), Reader::open(&stage.path()).unwrap_err()]
        {
            let text = error.to_string();
            assert!(
                text.contains("a newer version of this program (form 99, and this one knows 1)"),
                "{text}"
            );
            assert!(!error.may_pass());
        }
        assert_eq!((stage.files(), fs::read(stage.path()).unwrap()), (vec!["h.sqlite".into()], before));
    }

    #[test]
    fn a_database_of_another_program_is_left_alone() {
        let stage = Stage::new();
        let connection = Connection::open(stage.path()).unwrap();
        connection.execute_batch("CREATE TABLE mails (x)").unwrap();
        for error in [Writer::open(&stage.path(), 10).unwrap_err(), Reader::open(&stage.path()).unwrap_err()]
        {
            assert!(error.to_string().contains("is the database of another program"), "{error}");
        }
        assert_eq!(stage.files(), ["h.sqlite"]);
    }

    #[test]
    fn what_is_damaged_is_set_aside_and_a_new_one_begun() {
        let stage = Stage::new();
        stage.writer(5000).append(&entries(1..=3000)).unwrap();
        let mut bytes = fs::read(stage.path()).unwrap();
        bytes[4096 * 3..4096 * 9].fill(0x55);
        for (content, expected) in [
            (b"this is no database, but a text that somebody has put here".to_vec(), "h.sqlite.damaged"),
            (bytes, "h.sqlite.damaged-1"),
            (vec![0x55; 100_000], "h.sqlite.damaged-2"),
            (vec![0x56; 100_000], "h.sqlite.damaged-3"),
            (vec![0x57; 100_000], "h.sqlite.damaged-3"),
        ] {
            fs::write(stage.path(), &content).unwrap();
            let error = Reader::open(&stage.path()).and_then(|reader| reader.read(&all()));
            assert!(error.is_err_and(|error| error.to_string().contains("is damaged")), "{expected}");
            stage.writer(10).append(&entries([1])).unwrap();
            assert_eq!(stage.ids(&all()), [1]);
            assert!(fs::read(stage.directory.path().join(expected)).unwrap() == content, "{expected}");
        }
    }

    #[test]
    fn an_empty_file_is_one_that_nothing_was_written_into() {
        let stage = Stage::new();
        assert!(matches!(Reader::open(&stage.path()), Err(HistoryError::Missing(_))));
        fs::write(stage.path(), "").unwrap();
        assert_eq!(stage.ids(&all()), [0; 0]);
        stage.writer(10).append(&entries([1])).unwrap();
        assert_eq!(stage.ids(&all()), [1]);
    }

    #[test]
    fn what_is_no_file_is_refused_and_nothing_is_waited_for() {
        let stage = Stage::new();
        nix::unistd::mkfifo(&stage.path(), nix::sys::stat::Mode::S_IRWXU).unwrap();
        for path in [stage.path(), stage.directory.path().to_owned()] {
            let (writer, reader) = (Writer::open(&path, 10).unwrap_err(), Reader::open(&path).unwrap_err());
            for error in [writer, reader] {
                assert!(error.to_string().ends_with("is no regular file; name a file"), "{error}");
            }
        }
        let nowhere = stage.directory.path().join("no/h.sqlite");
        let text = Writer::open(&nowhere, 10).unwrap_err().to_string();
        assert!(text.contains("No such file or directory"), "{text}");
        let link = stage.directory.path().join("link");
        symlink(stage.directory.path().join("real"), &link).unwrap();
        Writer::open(&link, 10).unwrap();
        assert!(stage.files().contains(&"real".into()), "a link leads where it leads");
    }

    /// A copy of a file into which a transaction was half written, with its journal: what a power cut leaves.
    fn cut_off() -> Stage {
        let (stage, copy) = (Stage::new(), Stage::new());
        let mut writer = stage.writer(100_000);
        writer.append(&entries(1..=20_000)).unwrap();
        writer
            .connection
            .execute_batch(
                "PRAGMA cache_size = 1; BEGIN IMMEDIATE; UPDATE entry SET why = 'half a transaction'",
            )
            .unwrap();
        for name in stage.files() {
            fs::copy(stage.directory.path().join(&name), copy.directory.path().join(&name)).unwrap();
        }
        assert_eq!(copy.files(), ["h.sqlite", "h.sqlite-journal"]);
        let bytes = fs::read(copy.path()).unwrap();
        assert!(bytes.windows(18).any(|window| window == b"half a transaction"), "it is in the file already");
        copy
    }

    #[test]
    fn what_was_cut_off_is_undone_by_the_next_who_comes() {
        for open in [true, false] {
            let stage = cut_off();
            if open {
                stage.writer(100_000);
            }
            let read = Reader::open(&stage.path()).unwrap().read(&all()).unwrap();
            assert_eq!(read.len(), 20_000);
            assert!(read.iter().all(|entry| entry.why.as_deref() == Some("L4CON")));
            assert_eq!(stage.files(), ["h.sqlite"]);
        }
    }

    #[test]
    fn the_journal_of_a_damaged_file_goes_with_it() {
        let stage = cut_off();
        let journal = fs::read(stage.directory.path().join("h.sqlite-journal")).unwrap();
        set_aside(&stage.path()).unwrap();
        assert_eq!(stage.files(), ["h.sqlite.damaged", "h.sqlite.damaged-journal"]);
        assert!(fs::read(stage.directory.path().join("h.sqlite.damaged-journal")).unwrap() == journal);
    }

    #[test]
    fn a_file_that_was_replaced_is_noticed() {
        let stage = Stage::new();
        let writer = stage.writer(10);
        let reader = Reader::open(&stage.path()).unwrap();
        assert!(writer.is_current() && reader.is_current());
        fs::rename(stage.path(), stage.directory.path().join("other")).unwrap();
        assert!(!writer.is_current() && !reader.is_current());
        stage.writer(10);
        assert!(!writer.is_current() && !reader.is_current());
    }
}
