//! Reading a snapshot: its files, added up.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use thiserror::Error;

use super::aggregate::{Aggregate, Datapoint, Number, Scope, Sink, SnapshotError, Subject};
use super::spool::Snapshot;

/// What one snapshot says.
#[derive(Clone, Debug)]
pub struct Reading<'s> {
    /// When it was pulled, in epoch seconds.
    pub time: u64,
    /// Its number among those of the same second.
    pub number: u32,
    /// Whose it is, where it is not this machine's: the name of another, or of a cluster.
    pub origin: Option<String>,
    /// Whether that is a cluster: the sum over its machines.
    pub is_cluster: bool,
    aggregate: Aggregate<'s>,
    took: Took,
    /// Where that is known.
    failed_sockets: Option<usize>,
}

/// How long the reading took.
#[derive(Clone, Copy, Debug, Default)]
struct Took {
    infos: Duration,
    stats: Duration,
}

/// Why a snapshot was not read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// It will never be better.
    #[error("{0}")]
    Bad(String),
    /// Somebody else took it away.
    #[error("it is gone")]
    Gone,
    /// The system refuses, for now.
    #[error("`{}`: cannot be read: {source}", path.display())]
    System {
        /// What.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
}

/// Bytes of a dump; as many as `pull` takes. 10,000 servers need 3 MiB.
pub const MAX_DUMP: usize = 64 << 20;

const NO_FILE: &str = "it is no plain file";

/// The file that tells whose a snapshot is, where it is not this machine's: a line with a name, and then, where it
/// is a cluster's name, a line [`CLUSTER`].
pub(super) const ORIGIN: &str = ".origin";

/// The file of a snapshot that was kept although sockets may have failed: a line for each that has.
pub(super) const FAILED: &str = ".failed";

/// No more of a strange name is quoted.
const QUOTED: usize = 64;

/// See [`ORIGIN`].
pub(super) const CLUSTER: &str = "cluster";

/// How the files of a snapshot are named, after the name of the socket.
const ENDS: [&str; 2] = ["_info", "_stat"];

impl<'s> Reading<'s> {
    /// Reads all files of a snapshot, one after the other, in the order of their names.
    pub fn of(snapshot: &Snapshot, scope: &'s Scope) -> Result<Self, ReadError> {
        let [infos, stats] = dumps(&snapshot.path)?;
        let mut aggregate = Aggregate::new(scope);
        let mut text = Vec::new();
        let begun = Instant::now();
        for path in &infos {
            aggregate.add_info(load(path, &mut text)?).map_err(|error| bad(path, &error))?;
        }
        let between = Instant::now();
        for path in &stats {
            aggregate.add_stat(load(path, &mut text)?).map_err(|error| bad(path, &error))?;
        }
        let took = Took { infos: between - begun, stats: between.elapsed() };
        let (origin, is_cluster) = origin(&snapshot.path)?;
        let (time, number) = (snapshot.time, snapshot.number);
        let failed_sockets = failed_sockets(&snapshot.path)?;
        Ok(Self { time, number, origin, is_cluster, aggregate, took, failed_sockets })
    }

    /// Tells all datapoints, as [`Aggregate::emit`] does, how long the reading took and how many sockets failed.
    pub fn emit<E>(&self, sink: &mut Sink<'_, E>) -> Result<(), E> {
        self.aggregate.emit(sink)?;
        let failed = self.failed_sockets.and_then(|count| i64::try_from(count).ok());
        let failed = failed.map(|count| Datapoint { metric: "FailedSockets", value: Number::Integer(count) });
        sink(Subject::Own, &self.took.datapoints().into_iter().chain(failed).collect::<Vec<_>>())
    }
}

impl Took {
    /// haproxystats' own names. Rows of all kinds are read in one pass, whose time is each kind's.
    fn datapoints(self) -> [Datapoint; 5] {
        let at = |metric, time: Duration| Datapoint { metric, value: Number::seconds(time) };
        [
            at("WallClockTimeHAProxy", self.infos),
            at("WallClockTimeFrontends", self.stats),
            at("WallClockTimeBackends", self.stats),
            at("WallClockTimeServers", self.stats),
            at("WallClockTimeAllStats", self.infos + self.stats),
        ]
    }
}

/// The files of a snapshot, by kind; names that begin with a dot are not the snapshot's.
pub(super) fn dumps(directory: &Path) -> Result<[Vec<PathBuf>; 2], ReadError> {
    let mut found = [Vec::new(), Vec::new()];
    for entry in fs::read_dir(directory).map_err(system(directory))? {
        let path = entry.map_err(system(directory))?.path();
        let name = file_name(&path);
        if name.starts_with('.') {
            continue;
        }
        let kind = ENDS.iter().position(|end| name.len() > end.len() && name.ends_with(end));
        let Some(files) = kind.and_then(|kind| found.get_mut(kind)) else {
            return Err(ReadError::Bad(format!(
                "`{}` is foreign: a snapshot holds NAME_info and NAME_stat",
                name.escape_debug()
            )));
        };
        if !fs::symlink_metadata(&path).map_err(system(&path))?.is_file() {
            return Err(ReadError::Bad(format!("{name}: {NO_FILE}")));
        }
        files.push(path);
    }
    if found.iter().all(Vec::is_empty) {
        return Err(ReadError::Bad("it holds no NAME_info and no NAME_stat".into()));
    }
    for files in &mut found {
        files.sort();
    }
    Ok(found)
}

/// A whole file as text. Whatever is no plain file is refused unopened: a pipe would never end.
fn load<'t>(path: &Path, text: &'t mut Vec<u8>) -> Result<&'t str, ReadError> {
    let refuse = |why: &str| Err(ReadError::Bad(format!("{}: {why}", file_name(path))));
    if !fs::symlink_metadata(path).map_err(system(path))?.is_file() {
        return refuse(NO_FILE);
    }
    text.clear();
    let file = File::open(path).map_err(system(path))?;
    file.take(MAX_DUMP as u64 + 1).read_to_end(text).map_err(system(path))?;
    if text.len() > MAX_DUMP {
        return refuse("it is larger than 64 MiB");
    }
    match str::from_utf8(text) {
        Ok(text) => Ok(text),
        Err(error) => refuse(&format!("it is not UTF-8 at byte {}", error.valid_up_to() + 1)),
    }
}

fn failed_sockets(directory: &Path) -> Result<Option<usize>, ReadError> {
    let mut text = Vec::new();
    match load(&directory.join(FAILED), &mut text) {
        Ok(text) => Ok(Some(text.lines().count())),
        Err(ReadError::Gone) => Ok(None),
        Err(error) => Err(error),
    }
}

fn origin(directory: &Path) -> Result<(Option<String>, bool), ReadError> {
    let mut text = Vec::new();
    let mut lines = match load(&directory.join(ORIGIN), &mut text) {
        Ok(text) => text.lines(),
        Err(ReadError::Gone) => return Ok((None, false)),
        Err(error) => return Err(error),
    };
    let name = lines.next().unwrap_or_default();
    // It becomes a part of paths, and so of lines.
    if name.is_empty() || name.contains(|letter: char| letter.is_whitespace() || letter.is_control()) {
        let start: String = name.chars().take(QUOTED).collect();
        return Err(ReadError::Bad(format!("{ORIGIN}: `{}` is no name", start.escape_debug())));
    }
    Ok((Some(name.to_owned()), lines.next() == Some(CLUSTER)))
}

fn bad(path: &Path, error: &SnapshotError) -> ReadError {
    ReadError::Bad(format!("{}: {}", file_name(path), error.fault))
}

fn system(path: &Path) -> impl FnOnce(io::Error) -> ReadError {
    let path = path.to_owned();
    move |source| match source.kind() {
        io::ErrorKind::NotFound => ReadError::Gone,
        _ => ReadError::System { path, source },
    }
}

fn file_name(path: &Path) -> Cow<'_, str> {
    path.file_name().unwrap_or_default().to_string_lossy()
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;

    const INFO: &str = "Name: HAProxy\nProcess_num: 1\nCurrConns: 3\n\n";
    const STAT: &str = "# pxname,svname,scur,type,\nfe,FRONTEND,3,0,\n\n";

    fn snapshot(files: &[(&str, &str)]) -> (TempDir, Snapshot) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("1000");
        fs::create_dir(&path).unwrap();
        for (name, text) in files {
            fs::write(path.join(name), text).unwrap();
        }
        (directory, Snapshot { time: 1000, number: 0, path })
    }

    fn read(snapshot: &Snapshot) -> Result<Vec<String>, String> {
        let scope = Scope::default();
        let reading = Reading::of(snapshot, &scope).map_err(|error| error.to_string())?;
        let mut told = Vec::new();
        let Ok(()) = reading.emit::<Infallible>(&mut |subject, datapoints| {
            told.extend(datapoints.iter().map(|point| format!("{} {}", subject.kind(), point.metric)));
            Ok(())
        });
        Ok(told)
    }

    #[test]
    fn all_files_are_added_up_and_the_time_is_told() {
        let (_directory, snapshot) =
            snapshot(&[("a_info", INFO), ("a_stat", STAT), ("b_info", INFO), (".taken", "x")]);
        let told = read(&snapshot).unwrap();
        for expected in ["daemon CurrConns", "frontend scur", "haproxystats MetricsHAProxy"] {
            assert_eq!(told.iter().filter(|name| *name == expected).count(), 1, "{expected}: {told:?}");
        }
        let own: Vec<&str> = told.iter().filter_map(|name| name.strip_prefix("haproxystats Wall")).collect();
        assert_eq!(
            own,
            [
                "ClockTimeHAProxy",
                "ClockTimeFrontends",
                "ClockTimeBackends",
                "ClockTimeServers",
                "ClockTimeAllStats"
            ]
        );
    }

    #[test]
    fn failed_sockets_are_counted_where_they_are_known() {
        for (text, count) in [(None, None), (Some(""), Some("0")), (Some("b: x\nc: y\n"), Some("2"))] {
            let (_directory, snapshot) = snapshot(&[("a_info", INFO)]);
            if let Some(text) = text {
                fs::write(snapshot.path.join(FAILED), text).unwrap();
            }
            let scope = Scope::default();
            let mut told = None;
            let Ok(()) = Reading::of(&snapshot, &scope).unwrap().emit::<Infallible>(&mut |_, points| {
                let mut points = points.iter();
                told =
                    points.find(|point| point.metric == "FailedSockets").map(|point| point.value.to_string());
                Ok(())
            });
            assert_eq!(told.as_deref(), count);
        }
    }

    #[test]
    fn a_snapshot_of_another_machine_says_whose_it_is() {
        let (_directory, snapshot) = snapshot(&[("a_info", INFO), (ORIGIN, "lb-02.example.com\n")]);
        let scope = Scope::default();
        let reading = Reading::of(&snapshot, &scope).unwrap();
        assert_eq!((reading.origin.as_deref(), reading.is_cluster), (Some("lb-02.example.com"), false));
        fs::write(snapshot.path.join(ORIGIN), "edge\ncluster\n").unwrap();
        let reading = Reading::of(&snapshot, &scope).unwrap();
        assert_eq!((reading.origin.as_deref(), reading.is_cluster), (Some("edge"), true));
    }

    #[test]
    fn whose_a_snapshot_is_must_be_a_name_in_a_plain_file() {
        for (name, shown) in [("", ""), ("a b", "a b"), ("a\tb\nc", "a\\tb")] {
            let (_directory, snapshot) = snapshot(&[("a_info", INFO), (ORIGIN, name)]);
            assert_eq!(read(&snapshot).unwrap_err(), format!(".origin: `{shown}` is no name"));
        }
        let (_directory, snapshot) = snapshot(&[("a_info", INFO)]);
        symlink("/dev/zero", snapshot.path.join(ORIGIN)).unwrap();
        assert_eq!(read(&snapshot).unwrap_err(), ".origin: it is no plain file");
    }

    #[test]
    fn half_of_it_is_read_as_well() {
        for (name, text) in [("a_info", INFO), ("a_stat", STAT)] {
            let (_directory, snapshot) = snapshot(&[(name, text)]);
            assert!(read(&snapshot).is_ok(), "{name}");
        }
    }

    #[test]
    fn what_will_never_be_better_says_which_file_it_is() {
        for (files, reason) in [
            (&[][..], "it holds no NAME_info and no NAME_stat"),
            (&[("x", "")], "`x` is foreign: a snapshot holds NAME_info and NAME_stat"),
            (&[("_info", INFO)], "`_info` is foreign: a snapshot holds NAME_info and NAME_stat"),
            (&[("a_info", INFO), ("a_stat", "")], "a_stat: it is empty"),
            (&[("a_info", &INFO[..20])], "a_info: it is cut off: the empty line at its end is missing"),
            (&[("a_stat", "# pxname,svname,scur,type,\nfe,FRONT")], "a_stat: row 1: it is cut off"),
        ] {
            let (_directory, snapshot) = snapshot(files);
            assert_eq!(read(&snapshot).unwrap_err(), reason, "{files:?}");
        }
    }

    #[test]
    fn what_is_no_text_or_no_file_is_never_opened_or_shown() {
        let (_directory, snapshot) = snapshot(&[("a_info", INFO)]);
        fs::write(snapshot.path.join("b_info"), b"Name: \xff\n\n").unwrap();
        assert_eq!(read(&snapshot).unwrap_err(), "b_info: it is not UTF-8 at byte 7");
        fs::remove_file(snapshot.path.join("b_info")).unwrap();
        symlink("/dev/zero", snapshot.path.join("b_info")).unwrap();
        assert_eq!(read(&snapshot).unwrap_err(), "b_info: it is no plain file");
        fs::remove_dir_all(&snapshot.path).unwrap();
        assert_eq!(read(&snapshot).unwrap_err(), "it is gone");
    }
}
