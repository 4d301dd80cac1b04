//! What supervisord calls a process, and the states it may be in.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A process id in supervisord's pid namespace; never 0.
pub type Pid = std::num::NonZeroU32;

/// A process and its group. For a plain `[program:x]` both are `x`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProcessName {
    /// The group's name.
    pub group: String,
    /// The process's name within its group.
    pub process: String,
}

impl fmt::Display for ProcessName {
    /// As supervisorctl shows it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.group == self.process {
            f.write_str(&self.process)
        } else {
            write!(f, "{}:{}", self.group, self.process)
        }
    }
}

/// supervisord's process states (its manual, "Process States").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProcessState {
    /// Stopped on request, or never started.
    Stopped,
    /// Started less than `startsecs` ago.
    Starting,
    /// Up for at least `startsecs`.
    Running,
    /// Died within `startsecs`; will be tried again.
    Backoff,
    /// Was sent its stop signal.
    Stopping,
    /// Ended by itself.
    Exited,
    /// Could not be started.
    Fatal,
    /// supervisord could not tell.
    Unknown,
}

impl ProcessState {
    /// All states, in the order of their codes.
    pub const ALL: [Self; 8] = [
        Self::Stopped,
        Self::Starting,
        Self::Running,
        Self::Backoff,
        Self::Stopping,
        Self::Exited,
        Self::Fatal,
        Self::Unknown,
    ];

    /// supervisord's word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Stopped => "STOPPED",
            Self::Starting => "STARTING",
            Self::Running => "RUNNING",
            Self::Backoff => "BACKOFF",
            Self::Stopping => "STOPPING",
            Self::Exited => "EXITED",
            Self::Fatal => "FATAL",
            Self::Unknown => "UNKNOWN",
        }
    }

    /// Whether a process exists in this state.
    #[must_use]
    pub fn has_process(self) -> bool {
        matches!(self, Self::Starting | Self::Running | Self::Stopping)
    }

    /// From the number that XML-RPC gives.
    #[must_use]
    pub fn from_code(code: i64) -> Option<Self> {
        Some(match code {
            0 => Self::Stopped,
            10 => Self::Starting,
            20 => Self::Running,
            30 => Self::Backoff,
            40 => Self::Stopping,
            100 => Self::Exited,
            200 => Self::Fatal,
            1000 => Self::Unknown,
            _ => return None,
        })
    }
}

impl fmt::Display for ProcessState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for ProcessState {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|state| state.word().eq_ignore_ascii_case(word)).ok_or_else(|| {
            let words = Self::ALL.map(|state| format!("`{state}`")).join(", ");
            format!("`{word}` is none of supervisord's states {words}")
        })
    }
}

/// One process as XML-RPC's `getAllProcessInfo` tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessInfo {
    /// Which process.
    pub name: ProcessName,
    /// Its state.
    pub state: ProcessState,
    /// Its pid while it has one.
    pub pid: Option<Pid>,
}

/// One process with all that `getAllProcessInfo` tells of use to people. Times are epoch seconds by
/// supervisord's clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessDetails {
    /// Which process, and its state.
    pub info: ProcessInfo,
    /// When it was started last.
    pub started: Option<i64>,
    /// When it ended last.
    pub ended: Option<i64>,
    /// The time of the answer.
    pub now: i64,
    /// Why it could not be started; empty where it could.
    pub spawn_error: String,
    /// Its last exit status.
    pub exit_status: i64,
}

impl ProcessDetails {
    /// How long its process has been there.
    #[must_use]
    pub fn uptime(&self) -> Option<Duration> {
        self.since(self.started.filter(|_| self.info.state.has_process()))
    }

    /// How long it has been gone.
    #[must_use]
    pub fn downtime(&self) -> Option<Duration> {
        self.since(self.ended.filter(|_| !self.info.state.has_process()))
    }

    fn since(&self, moment: Option<i64>) -> Option<Duration> {
        u64::try_from(self.now - moment?).ok().map(Duration::from_secs)
    }
}
