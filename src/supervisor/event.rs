//! One event of supervisord: its header line and, where it matters, its payload.

use super::{Pid, ProcessName, ProcessState, ProtocolError};

/// As much of a payload as is kept where it matters; longer process names do not exist.
const MAX_KEPT: usize = 64 * 1024;

/// The same of a `REMOTE_COMMUNICATION`: names of 10,000 servers with 100 bytes each.
pub const MAX_REMOTE: usize = 1024 * 1024;

/// The header of an event (supervisord's manual, "Header Tokens"); only what is of use here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// As in `PROCESS_STATE_RUNNING`.
    pub event_name: String,
    /// Payload length in code points; the manual says bytes, the program counts characters.
    pub length: usize,
    /// Number of the event among all of this supervisord.
    pub serial: Option<u64>,
    /// Number of the event among those of this listener's pool, from 0.
    pub pool_serial: Option<u64>,
}

/// An event that was read to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its header.
    pub header: Header,
    /// What it is about.
    pub topic: Topic,
}

/// What an event is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topic {
    /// `PROCESS_STATE_*`: a process changed its state.
    Process(ProcessChange),
    /// `PROCESS_GROUP_REMOVED`: a group and its processes are gone.
    GroupRemoved(String),
    /// `PROCESS_GROUP_ADDED`: a group is new.
    GroupAdded(String),
    /// `SUPERVISOR_STATE_CHANGE_STOPPING`: supervisord shuts down or restarts.
    SupervisorStopping,
    /// `REMOTE_COMMUNICATION`: somebody called `supervisor.sendRemoteCommEvent(kind, data)`.
    Remote {
        /// Its first argument; it may hold anything but a line end.
        kind: String,
        /// Its second argument.
        data: String,
    },
    /// The same, but longer than what is kept of it.
    RemoteCut {
        /// Its first argument.
        kind: String,
    },
    /// Anything else.
    Other,
}

/// A change of one process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessChange {
    /// Which process.
    pub name: ProcessName,
    /// Its new state.
    pub state: ProcessState,
    /// Its pid, where the event tells one.
    pub pid: Option<Pid>,
}

impl Header {
    /// Reads `ver:3.0 server:… serial:N pool:P poolserial:N eventname:E len:N`.
    ///
    /// The server's identifier is the one part that users may fill with spaces and colons, and it stands near
    /// the front: so the last token of a name counts, and bare words are passed over.
    pub(super) fn parse(line: &str) -> Result<Self, ProtocolError> {
        let token =
            |key: &str| line.split(' ').rev().find_map(|token| token.strip_prefix(key)?.strip_prefix(':'));
        let required = |key: &'static str| token(key).ok_or_else(|| ProtocolError::missing(key, line));
        let number = |key: &'static str| match token(key) {
            None => Ok(None),
            Some(text) => text.parse().map(Some).map_err(|_| ProtocolError::number(key, text)),
        };
        let length = required("len")?;
        Ok(Self {
            event_name: required("eventname")?.to_owned(),
            length: length.parse().map_err(|_| ProtocolError::number("len", length))?,
            serial: number("serial")?,
            pool_serial: number("poolserial")?,
        })
    }

    /// How many bytes of the payload are kept: none where it does not matter. The rest is read and dropped,
    /// however long.
    pub(super) fn kept(&self) -> usize {
        if self.is_remote() {
            MAX_REMOTE
        } else if self.event_name.starts_with("PROCESS_STATE_")
            || self.event_name.starts_with("PROCESS_GROUP_")
        {
            MAX_KEPT
        } else {
            0
        }
    }

    /// Whether operators and their tools fill the payload, with whatever they like.
    pub(super) fn is_remote(&self) -> bool {
        self.event_name == "REMOTE_COMMUNICATION"
    }
}

impl Topic {
    pub(super) fn parse(event_name: &str, payload: &str) -> Result<Self, ProtocolError> {
        if let Some(state) = event_name.strip_prefix("PROCESS_STATE_") {
            // A state that a later supervisord may add is none of ours.
            return match state.parse() {
                Ok(state) => process_change(state, payload).map(Self::Process),
                Err(_) => Ok(Self::Other),
            };
        }
        match event_name {
            "PROCESS_GROUP_REMOVED" => group_name(payload).map(Self::GroupRemoved),
            "PROCESS_GROUP_ADDED" => group_name(payload).map(Self::GroupAdded),
            "SUPERVISOR_STATE_CHANGE_STOPPING" => Ok(Self::SupervisorStopping),
            _ => Ok(Self::Other),
        }
    }
}

/// Reads `type:T`, a line end and the data. Others send such events too, so nothing in here is an error: bytes
/// that are no text are replaced, and what has no type is none of ours.
pub(super) fn remote(payload: &[u8], is_whole: bool) -> Topic {
    let text = String::from_utf8_lossy(payload);
    match text.strip_prefix("type:").and_then(|rest| rest.split_once('\n')) {
        Some((kind, data)) if is_whole => Topic::Remote { kind: kind.to_owned(), data: data.to_owned() },
        Some((kind, _)) => Topic::RemoteCut { kind: kind.to_owned() },
        None => Topic::Other,
    }
}

/// Reads `processname:P groupname:G from_state:S [tries:N] [expected:B] [pid:N]`. `P` may hold spaces and
/// colons (`process_name=%(ENV_X)s` is checked before it is expanded), so it ends at the last ` groupname:`.
fn process_change(state: ProcessState, payload: &str) -> Result<ProcessChange, ProtocolError> {
    let malformed = || ProtocolError::payload("processname:… groupname:… from_state:…", payload);
    let (names, rest) = payload.rsplit_once(" from_state:").ok_or_else(malformed)?;
    let (process, group) = names
        .strip_prefix("processname:")
        .and_then(|names| names.rsplit_once(" groupname:"))
        .ok_or_else(malformed)?;
    let name = ProcessName { group: group.to_owned(), process: process.to_owned() };
    Ok(ProcessChange { name, state, pid: pid(rest)? })
}

/// `pid:0` stands where there is no process, as in a stop during BACKOFF.
fn pid(tokens: &str) -> Result<Option<Pid>, ProtocolError> {
    let Some(text) = tokens.split_whitespace().find_map(|token| token.strip_prefix("pid:")) else {
        return Ok(None);
    };
    let number: u32 = text.parse().map_err(|_| ProtocolError::number("pid", text))?;
    Ok(Pid::new(number))
}

fn group_name(payload: &str) -> Result<String, ProtocolError> {
    let name = payload.trim_end_matches('\n').strip_prefix("groupname:");
    name.map(str::to_owned).ok_or_else(|| ProtocolError::payload("groupname:…", payload))
}
