//! From the texts of one snapshot (`show info` and `show stat` of one or more processes of an HAProxy) to
//! datapoints, by the rules of haproxystats 0.5.2. This owns what is added up and how; who reads the texts and who
//! takes the datapoints is not known here. [`paths`] gives them haproxystats' names, [`graphite`] writes them as lines.
//!
//! One [`Aggregate`] takes the texts one by one and keeps nothing of them but sums and names, so that a caller may
//! read file after file into the same buffer. All texts are read before there is the first datapoint: a damaged
//! snapshot sends nothing, not half.
//!
//! Rules beyond the lists in [`metrics`]:
//!
//! - Columns and keys are found by name. A metric that no text has is left out; where only some processes have a
//!   column, the others count as 0 in it.
//! - An empty field is 0, also in a mean.
//! - Dots and underscores in names are the same: `a.b` and `a_b` are added up under the name that came first.
//! - Servers across backends count all backends, excluded ones too, and all metrics, whatever [`Scope`] chooses.
//! - `Metrics…` counts what could be told, with means that had nothing to measure and without double writes.

mod daemon;
pub mod graphite;
pub mod metrics;
mod number;
pub mod paths;
mod rows;
mod sites;
mod table;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::convert::Infallible;
use std::fmt;

use thiserror::Error;

pub use number::Number;

use daemon::Daemon;
use sites::Sites;

/// What was pulled at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot<'a> {
    /// When, in epoch seconds; what datapoints are stamped with.
    pub time: u64,
    /// Replies to `show info`, one for each process.
    pub infos: Vec<&'a str>,
    /// Replies to `show stat`.
    pub stats: Vec<&'a str>,
}

/// What is told of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Which of [`metrics::FRONTEND`]'s sums; `None` is all of them.
    pub frontend_metrics: Option<Vec<String>>,
    /// Which of [`metrics::BACKEND`]'s sums; means are always told.
    pub backend_metrics: Option<Vec<String>>,
    /// Which of [`metrics::SERVER`]'s sums for servers in their backend; means are always told.
    pub server_metrics: Option<Vec<String>>,
    /// Frontends that are not told of; dots may stand for underscores.
    pub excluded_frontends: Vec<String>,
    /// Backends that are not told of, nor the servers in them; dots may stand for underscores.
    pub excluded_backends: Vec<String>,
    /// Whether servers are told of across all backends, too.
    pub aggr_server_metrics: bool,
    /// Whether each process is told of, too.
    pub per_process: bool,
    /// Whether connections and sessions are told as shares of their limits.
    pub percentages: bool,
}

/// What datapoints are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subject<'a> {
    /// All processes together.
    Daemon,
    /// One process, by its `Process_num`.
    Process(i64),
    /// A frontend, by name.
    Frontend(&'a str),
    /// A backend, by name.
    Backend(&'a str),
    /// A server in its backend.
    Server {
        /// The backend's name.
        backend: &'a str,
        /// The server's name.
        server: &'a str,
    },
    /// All servers of one name, in whichever backend.
    ServerInAll(&'a str),
    /// The pipeline itself.
    Own,
}

impl<'a> Subject<'a> {
    /// The parts of haproxystats' path that say what kind it is of: `daemon`, `backend.server`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Daemon => "daemon",
            Self::Process(_) => "daemon.process",
            Self::Frontend(_) => "frontend",
            Self::Backend(_) => "backend",
            Self::Server { .. } => "backend.server",
            Self::ServerInAll(_) => "server",
            Self::Own => "haproxystats",
        }
    }

    /// What tells it from others of its kind: `backend` and `server`, each with its name as HAProxy has it.
    pub fn labels(&self) -> impl Iterator<Item = (&'static str, Cow<'a, str>)> + use<'a> {
        let (first, second) = match *self {
            Self::Daemon | Self::Own => (None, None),
            Self::Process(number) => (Some(("process", Cow::Owned(number.to_string()))), None),
            Self::Frontend(name) => (Some(("frontend", name.into())), None),
            Self::Backend(name) => (Some(("backend", name.into())), None),
            Self::Server { backend, server } => {
                (Some(("backend", backend.into())), Some(("server", server.into())))
            }
            Self::ServerInAll(name) => (Some(("server", name.into())), None),
        };
        first.into_iter().chain(second)
    }
}

/// One value of a subject.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Datapoint {
    /// HAProxy's own word for it, or one of haproxystats.
    pub metric: &'static str,
    /// Its value.
    pub value: Number,
}

/// Which text of a snapshot; counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Text {
    /// Of [`Snapshot::infos`].
    Info(usize),
    /// Of [`Snapshot::stats`].
    Stat(usize),
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Info(index) => write!(f, "`show info` number {}", index + 1),
            Self::Stat(index) => write!(f, "`show stat` number {}", index + 1),
        }
    }
}

/// A text that is not what HAProxy writes, or not all of it. The same text will never be better.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{text}: {fault}")]
pub struct SnapshotError {
    /// Which one.
    pub text: Text,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with a text. Rows are counted from 1 after the header, which is row 0. What is no UTF-8 cannot be
/// handed in: HAProxy's names and numbers are ASCII, so that a caller refuses such a file.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Fault {
    /// Nothing is in it.
    #[error("it is empty")]
    Empty,
    /// It does not begin with a header.
    #[error("no header row that begins with `# pxname,`")]
    Header,
    /// A column without which rows cannot be told apart.
    #[error("column `{0}` is missing in the header row")]
    Column(&'static str),
    /// A `show info` without a number.
    #[error("no line `Key: number`")]
    NoKeys,
    /// A last row without a line end.
    #[error("row {row}: it is cut off")]
    Cut {
        /// Its number.
        row: usize,
    },
    /// HAProxy ends each reply with an empty line.
    #[error("it is cut off: the empty line at its end is missing")]
    Unfinished,
    /// Something stands after the empty line.
    #[error("row {row}: something follows the empty line that ends a reply")]
    Beyond {
        /// Number of the empty line.
        row: usize,
    },
    /// A row with more or fewer fields than the header.
    #[error("row {row}: {width} fields under a header of {expected}")]
    Width {
        /// Its number.
        row: usize,
        /// Its fields.
        width: usize,
        /// The header's.
        expected: usize,
    },
    /// A field that is no number.
    #[error("row {row}: {column} is `{}`", value.escape_debug())]
    Value {
        /// Number of the row.
        row: usize,
        /// Name of the column.
        column: &'static str,
        /// What stands there, its first characters.
        value: String,
    },
    /// A name that no proxy or server can have.
    #[error("row {row}: `{}` is no name", name.escape_debug())]
    Name {
        /// Number of the row.
        row: usize,
        /// What stands there, its first characters.
        name: String,
    },
}

/// No more of a strange field is quoted.
const QUOTED: usize = 64;

impl Fault {
    fn value(row: usize, column: &'static str, value: &str) -> Self {
        Self::Value { row, column, value: value.chars().take(QUOTED).collect() }
    }

    fn name(row: usize, name: &str) -> Self {
        Self::Name { row, name: name.chars().take(QUOTED).collect() }
    }
}

/// The sums of a snapshot.
#[derive(Clone, Debug)]
pub struct Aggregate<'s> {
    scope: &'s Scope,
    daemon: Daemon,
    sites: Sites<'s>,
    infos: usize,
    stats: usize,
}

impl<'s> Aggregate<'s> {
    /// Of nothing, yet.
    #[must_use]
    pub fn new(scope: &'s Scope) -> Self {
        Self { scope, daemon: Daemon::default(), sites: Sites::new(scope), infos: 0, stats: 0 }
    }

    /// Adds the reply to `show info` of a process. After an error, this aggregate is of no use.
    pub fn add_info(&mut self, text: &str) -> Result<(), SnapshotError> {
        let index = self.infos;
        self.infos += 1;
        self.daemon.add(text).map_err(|fault| SnapshotError { text: Text::Info(index), fault })
    }

    /// Adds the reply to `show stat` of a process. After an error, this aggregate is of no use.
    pub fn add_stat(&mut self, text: &str) -> Result<(), SnapshotError> {
        let index = self.stats;
        self.stats += 1;
        self.sites.add(text).map_err(|fault| SnapshotError { text: Text::Stat(index), fault })
    }

    /// Tells all datapoints, those of one subject at once, and ends with the first error of `sink`. It can be
    /// called again, for another sink: the order is always the same.
    pub fn emit<E>(&self, sink: &mut Sink<'_, E>) -> Result<(), E> {
        let mut own = Vec::new();
        let mut told = |metric, count: usize| {
            let value = Number::Integer(i64::try_from(count).unwrap_or(i64::MAX));
            own.push(Datapoint { metric, value });
        };
        if self.infos > 0 {
            told("MetricsHAProxy", self.daemon.emit(self.scope, sink)? + 1);
        }
        if self.stats > 0 {
            let counts = self.sites.emit(sink)?;
            told("MetricsFrontend", counts.frontends + 1);
            told("MetricsBackend", counts.backends + 1);
            told("MetricsServer", counts.servers + 1);
        }
        sink(Subject::Own, &own)
    }
}

/// Takes the datapoints of one subject.
pub type Sink<'f, E> = dyn FnMut(Subject<'_>, &[Datapoint]) -> Result<(), E> + 'f;

/// Reads a whole snapshot and tells its datapoints; none where any text is damaged.
pub fn aggregate(
    snapshot: &Snapshot<'_>,
    scope: &Scope,
    sink: &mut dyn FnMut(Subject<'_>, &[Datapoint]),
) -> Result<(), SnapshotError> {
    let mut aggregate = Aggregate::new(scope);
    for info in &snapshot.infos {
        aggregate.add_info(info)?;
    }
    for stat in &snapshot.stats {
        aggregate.add_stat(stat)?;
    }
    let Ok(()) = aggregate.emit::<Infallible>(&mut |subject, datapoints| {
        sink(subject, datapoints);
        Ok(())
    });
    Ok(())
}
