//! What is wrong with a configuration, and what is odd about it: what, where, and what to do.

use std::fmt;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::ini::{IniFault, InterpolationError};
use crate::net::EndpointError;

/// Something about a configuration. Shown as `PATH:LINE: [section] option: what, and what to do`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark<K> {
    /// The file, or `built-in defaults`.
    pub path: PathBuf,
    /// Its line, from 1; `None` where it is the whole file that is spoken of.
    pub line: Option<usize>,
    /// The section.
    pub section: Option<String>,
    /// The option.
    pub option: Option<String>,
    /// What is to be said.
    pub kind: K,
}

/// Why a configuration is refused.
pub type Fault = Remark<FaultKind>;

/// What is likely not as it was meant, but refused neither here nor by haproxystats.
pub type Warning = Remark<WarningKind>;

impl<K: fmt::Display> fmt::Display for Remark<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.path.display())?;
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        if let Some(section) = &self.section {
            write!(f, " [{section}]")?;
        }
        if let Some(option) = &self.option {
            write!(f, " {option}")?;
        }
        let colon = if self.section.is_some() { ":" } else { "" };
        write!(f, "{colon} {}", self.kind)
    }
}

impl<K: fmt::Debug + fmt::Display> std::error::Error for Remark<K> {}

/// What is wrong with a file, a section or an option.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum FaultKind {
    /// No file of this name.
    #[error("no such file; without `-f`, /etc/haproxystats.conf is read where it exists")]
    Missing,
    /// No folder of this name, or none that can be listed.
    #[error("cannot list this folder: {0}")]
    Folder(String),
    /// Any other error of the system.
    #[error("cannot be read: {0}")]
    Io(String),
    /// Some other encoding.
    #[error("not UTF-8; save the file as UTF-8")]
    Encoding,
    /// No INI.
    #[error(transparent)]
    Ini(#[from] IniFault),
    /// What the value names is not there.
    #[error("{}", reference(error, *elsewhere))]
    Interpolation {
        /// What is wrong.
        error: Box<InterpolationError>,
        /// Whether the text at fault is not the option's own.
        elsewhere: bool,
    },
    /// The option has no default, and the section cannot be without it.
    #[error("the section needs `{key}`, as in `{key} = {example}`")]
    Needed {
        /// The option.
        key: &'static str,
        /// What it could be.
        example: &'static str,
    },
    /// Nothing behind the equals sign.
    #[error("the value is empty; give one, or leave the option out")]
    Empty,
    /// No whole number.
    #[error("expected a whole number {range}, found `{value}`")]
    Whole {
        /// What is allowed.
        range: String,
        /// What is there.
        value: String,
    },
    /// No number, or one outside of what has a meaning.
    #[error("expected a number {range}, found `{value}`")]
    Number {
        /// What is allowed.
        range: &'static str,
        /// What is there.
        value: String,
    },
    /// No truth value.
    #[error("expected `true` or `false` (or yes, no, on, off, 1, 0), found `{0}`")]
    Flag(String),
    /// None of these words.
    #[error("expected {expected}, found `{value}`")]
    Word {
        /// The words.
        expected: &'static str,
        /// What is there.
        value: String,
    },
    /// A NUL byte in a path.
    #[error("the path holds a NUL byte")]
    Nul,
    /// An empty item in a list.
    #[error("an item of the list is empty; take the extra comma away")]
    EmptyItem,
    /// No socket.
    #[error("`{server}`: {error}")]
    Server {
        /// The item.
        server: String,
        /// What is bad about it.
        error: EndpointError,
    },
    /// No host.
    #[error("`{0}` is neither a host name nor an address")]
    Host(String),
    /// A name that would break a line of the output.
    #[error(
        "`{0}`: a name in a metric's path can have no white space, no empty part between dots and no `;`"
    )]
    Name(String),
    /// Names that no metric has.
    #[error("{}", unknown_metrics(_0))]
    Metrics(Vec<(String, Option<&'static str>)>),
    /// No regular expression.
    #[error("the pattern `{pattern}` cannot be used: {reason}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// What is bad about it.
        reason: String,
    },
    /// Snapshots would be moved to where they are.
    #[error("`dst-dir` and `tmp-dst-dir` must be two directories, on one file system")]
    SameDirectory,
    /// A name that Kafka takes for no topic, or that would make a bad path.
    #[error(
        "`{0}`: only letters, digits, `.`, `-` and `_` make a name here, 249 of them at most (100 for a cluster)"
    )]
    Plain(String),
    /// librdkafka does not take it.
    #[error("{0}")]
    Rdkafka(String),
    /// It was left out when this program was built.
    #[error("this build has no Kafka; build it with `--features kafka`, or take the section out")]
    NoKafka,
    /// Nothing to group by.
    #[error(
        "needs at least one of the sections `[frontend-groups]`, `[backend-groups]` and `[server-groups]`"
    )]
    NoGroups,
    /// Nothing to put the groups under.
    #[error("needs `group-namespace` in `[graphite]`, as in `group-namespace = groups`")]
    NoGroupNamespace,
}

impl FaultKind {
    pub(super) fn io(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing,
            _ => Self::Io(error.to_string()),
        }
    }
}

fn reference(error: &InterpolationError, elsewhere: bool) -> String {
    if elsewhere {
        format!("in `{}` of `[{}]`, line {}: {error}", error.key, error.section, error.line)
    } else {
        error.to_string()
    }
}

fn unknown_metrics(names: &[(String, Option<&str>)]) -> String {
    let name = |(name, near): &(String, Option<&str>)| match near {
        Some(near) => format!("`{name}` (did you mean `{near}`?)"),
        None => format!("`{name}`"),
    };
    let names = names.iter().map(name).collect::<Vec<_>>().join(", ");
    format!("unknown metrics, in a list that white space separates: {names}")
}

/// What is odd about a file, a section or an option.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WarningKind {
    /// Nobody reads this section.
    #[error("not a section of this program{}", did_you_mean("[", *.0, "]"))]
    UnknownSection(Option<&'static str>),
    /// Nobody reads this option.
    #[error("not an option of this section{}", did_you_mean("", *.0, ""))]
    UnknownOption(Option<&'static str>),
    /// Sections have a value of their own for it.
    #[error("changes nothing, as in haproxystats; other defaults win over it: set it in {}", listed(_0))]
    NoEffect(Vec<&'static str>),
    /// Nothing names it.
    #[error(
        "changes no other path, as in haproxystats; write `dst-dir = ${{paths:base-dir}}/incoming` and so on"
    )]
    BaseDir,
    /// As haproxystats takes it.
    #[error("below one second there is no limit, as in haproxystats; write 1 or more, or 0 for no limit")]
    NoLimit,
    /// A pull may take longer than the time to the next.
    #[error("`pull-timeout` should be less than `pull-interval`, or pulls are skipped")]
    LongPull,
    /// The same twice.
    #[error("`{0}` is in the list twice; it is asked once")]
    Twice(String),
    /// A file that is named and cannot be read.
    #[error("{} cannot be read, and nothing is excluded: {reason}", path.display())]
    NoExclusions {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Options of `[DEFAULT]` are in every section, and no groups.
    #[error("no group, as `[DEFAULT]` has an option of this name; choose another name")]
    GroupName,
}

fn did_you_mean(before: &str, near: Option<&str>, after: &str) -> String {
    near.map(|near| format!("; did you mean `{before}{near}{after}`?")).unwrap_or_default()
}

fn listed(sections: &[&str]) -> String {
    sections.iter().map(|name| format!("[{name}]")).collect::<Vec<_>>().join(" and ")
}
