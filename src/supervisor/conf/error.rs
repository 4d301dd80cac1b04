//! Why a configuration cannot be used. Says where, what, and what to do; never a value, which may be a password.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::format::FormatError;
use super::words::WordsError;
use crate::ini::IniFault;
use crate::supervisor::ServerUrlError;

/// A fault and its place. Shown as `PATH:LINE: what, and what to do`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}: {fault}", place(path, *line))]
pub struct ConfError {
    /// The file.
    pub path: PathBuf,
    /// Its line, from 1; `None` where the fault is the whole file's.
    pub line: Option<usize>,
    /// What is wrong.
    pub fault: ConfFault,
}

fn place(path: &Path, line: Option<usize>) -> String {
    let line = line.map(|line| format!(":{line}")).unwrap_or_default();
    format!("{}{line}", path.display())
}

impl ConfError {
    /// The error of reading a file.
    pub(super) fn io(path: &Path, error: &io::Error) -> Self {
        let fault = match error.kind() {
            io::ErrorKind::NotFound => ConfFault::Missing,
            io::ErrorKind::PermissionDenied => ConfFault::Denied,
            _ => ConfFault::Io(error.to_string()),
        };
        Self { path: path.to_owned(), line: None, fault }
    }
}

/// What is wrong with a file, a section or an entry.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfFault {
    /// No file of this name.
    #[error("no such file; name the one that supervisord is started with, as in `supervisord -c FILE`")]
    Missing,
    /// Not for this user.
    #[error("permission denied; run this as root, or as the user that supervisord runs as")]
    Denied,
    /// Any other error of the system.
    #[error("{0}")]
    Io(String),
    /// Some other encoding.
    #[error("not UTF-8, as which supervisor reads it; save the file as UTF-8")]
    Encoding,
    /// No INI.
    #[error(transparent)]
    Ini(#[from] IniFault),
    /// A section without an entry that it needs.
    #[error("`[{section}]` has no `{key}`, which supervisord needs")]
    NoEntry {
        /// The section.
        section: String,
        /// The entry.
        key: &'static str,
    },
    /// A bad `%` directive.
    #[error("`{key}`: {error}")]
    Format {
        /// The entry.
        key: &'static str,
        /// What is bad about it.
        error: FormatError,
    },
    /// A name that is not there.
    #[error("`{key}`: `%({name})s` is not known; there is {known}")]
    UnknownName {
        /// The entry.
        key: &'static str,
        /// The name.
        name: String,
        /// Those that are there, in backticks.
        known: String,
    },
    /// A variable of supervisord's environment that is not in ours.
    #[error(
        "`{key}`: `%(ENV_{variable})s`: {variable} is not set; supervisord's environment is not this one, so set \
         {variable} here to what supervisord has"
    )]
    UnsetVariable {
        /// The entry.
        key: &'static str,
        /// The variable's name.
        variable: String,
    },
    /// `~` without HOME, or `~user`.
    #[error(
        "`{key}`: a `~` stands for HOME, which must be set, and not for any other user's; write the path in full"
    )]
    Tilde {
        /// The entry.
        key: &'static str,
    },
    /// An address that cannot be connected to.
    #[error("`{key}`: {error}")]
    Url {
        /// The entry.
        key: &'static str,
        /// What is bad about it.
        error: ServerUrlError,
    },
    /// `port=` of `[inet_http_server]`.
    #[error("`port` must be `9001`, `*:9001` or `HOST:9001`, with a number from 1 to 65535")]
    Port,
    /// A user without a password or the other way round.
    #[error("`[{section}]` has only one of `username` and `password`; supervisord needs both or neither")]
    Incomplete {
        /// The section.
        section: String,
    },
    /// A listener's name that would break supervisord's protocols.
    #[error("`[{section}]`: the name may hold no space, colon or slash")]
    ListenerName {
        /// The section.
        section: String,
    },
    /// No number.
    #[error("`{key}` must be a whole number")]
    Number {
        /// The entry.
        key: &'static str,
    },
    /// No truth value.
    #[error("`{key}` must be `true` or `false`")]
    Flag {
        /// The entry.
        key: &'static str,
    },
    /// Less than one.
    #[error("`buffer_size` must be at least 1; twice the number of programs and 64 is a good size")]
    BufferSize,
    /// An empty name among the events.
    #[error(
        "`events`: a name is empty; write `events = PROCESS_STATE,PROCESS_GROUP`, without a comma at the end"
    )]
    EmptyEvent,
    /// None of its three values.
    #[error("`autorestart` must be `true`, `false` or `unexpected`")]
    Autorestart,
    /// A command or an environment that cannot be split.
    #[error("`{key}`: {error}")]
    Words {
        /// The entry.
        key: &'static str,
        /// What is bad about it.
        error: WordsError,
    },
    /// A command without words.
    #[error("`command` is empty")]
    EmptyCommand,
}
