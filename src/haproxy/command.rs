//! The commands this program sends, each as the one line that goes over the wire.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{MapFile, ServerRef, Word};

/// The administrative states of `set server … state`, the most available first. In JSON it is HAProxy's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AdminState {
    /// Takes traffic.
    Ready,
    /// Takes no new traffic, except for persistent sessions.
    Drain,
    /// Takes no traffic at all, and is not checked.
    Maint,
}

impl AdminState {
    /// HAProxy's word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Drain => "drain",
            Self::Maint => "maint",
        }
    }
}

impl fmt::Display for AdminState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for AdminState {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        [Self::Ready, Self::Drain, Self::Maint]
            .into_iter()
            .find(|state| state.word() == word)
            .ok_or_else(|| format!("`{word}` is none of `ready`, `drain`, `maint`"))
    }
}

/// HAProxy takes lines of up to 16,383 bytes, but 2.0 to 2.6 leak a session on lines above 15,360, and 3.2
/// repeats one of exactly 16,384 for ever. No command of ours comes near this limit.
pub const MAX_LINE: usize = 8 * 1024;

/// One line for the admin socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `set server … state`; with `gate`, the server is DOWN until its health checks pass.
    SetState {
        /// Which server.
        server: ServerRef,
        /// Its new state.
        state: AdminState,
        /// Only for a server with health checks on its way out of maint: any other would stay DOWN.
        gate: bool,
    },
    /// `show servers state`, of the server's backend or of all.
    ServersState(Option<ServerRef>),
    /// `show info` and the servers of `show stat`, in one line: both answered by the same process.
    Survey,
    /// `show info`, `show servers state` and the servers of `show stat`, in one line.
    Look,
    /// `show info` and the whole of `show stat`, in one line: both answered by the same process.
    Statistics,
    /// `shutdown sessions server`: closes them; they are gone a moment later.
    ShutdownSessions(ServerRef),
    /// `show cli level`: what this socket may do.
    Level,
    /// `show info`: which process answers.
    Info,
    /// `show info` and the whole of `show map`, in one line: both answered by the same process.
    ShowMap(MapFile),
    /// `add map`; a key that is there already gets a second entry.
    AddMap(MapFile, Word, Word),
    /// `set map`, for a key that is there.
    SetMap(MapFile, Word, Word),
    /// `del map`, for a key that is there.
    DelMap(MapFile, Word),
    /// `show proc`, to the master: its processes.
    Processes,
    /// `reload`, to the master.
    Reload,
}

impl Command {
    /// The line with its end.
    #[must_use]
    pub fn line(&self) -> String {
        let line = format!("{self}\n");
        debug_assert!(line.len() <= MAX_LINE, "{}", line.len());
        line
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SetState { server, state, gate: false } => write!(f, "set server {server} state {state}"),
            Self::SetState { server, state, gate: true } => {
                write!(f, "set server {server} state {state};set server {server} health down")
            }
            Self::ServersState(Some(server)) => write!(f, "show servers state {}", server.backend()),
            Self::ServersState(None) => f.write_str("show servers state"),
            // Any proxy, type bit 4 (servers), any server (management guide, 9.3 "show stat").
            Self::Survey => f.write_str("show info;show stat -1 4 -1"),
            Self::Look => f.write_str("show info;show servers state;show stat -1 4 -1"),
            Self::Statistics => f.write_str("show info;show stat"),
            Self::ShutdownSessions(server) => write!(f, "shutdown sessions server {server}"),
            Self::Level => f.write_str("show cli level"),
            Self::Info => f.write_str("show info"),
            Self::ShowMap(map) => write!(f, "show info;show map {map}"),
            Self::AddMap(map, key, value) => write!(f, "add map {map} {key} {value}"),
            Self::SetMap(map, key, value) => write!(f, "set map {map} {key} {value}"),
            Self::DelMap(map, key) => write!(f, "del map {map} {key}"),
            Self::Processes => f.write_str("show proc"),
            Self::Reload => f.write_str("reload"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_what_the_manual_says() {
        let server: ServerRef = "plone01/plone0101".parse().unwrap();
        let set = |state, gate| Command::SetState { server: server.clone(), state, gate }.line();
        assert_eq!(set(AdminState::Maint, false), "set server plone01/plone0101 state maint\n");
        assert_eq!(
            set(AdminState::Ready, true),
            "set server plone01/plone0101 state ready;set server plone01/plone0101 health down\n"
        );
        assert_eq!(Command::ServersState(Some(server)).line(), "show servers state plone01\n");
        assert_eq!(Command::Survey.line(), "show info;show stat -1 4 -1\n");
        assert_eq!(Command::Look.line(), "show info;show servers state;show stat -1 4 -1\n");
        assert_eq!(Command::Statistics.line(), "show info;show stat\n");
        assert_eq!(
            Command::ShutdownSessions("be/s".parse().unwrap()).line(),
            "shutdown sessions server be/s\n"
        );
    }

    #[test]
    fn the_longest_names_stay_below_the_limit() {
        let server = ServerRef::new(&"b".repeat(1024), &"s".repeat(1024)).unwrap();
        assert!(Command::SetState { server, state: AdminState::Ready, gate: true }.line().len() <= MAX_LINE);
    }

    #[test]
    fn the_least_available_state_is_the_greatest() {
        assert!(AdminState::Maint > AdminState::Drain && AdminState::Drain > AdminState::Ready);
        assert_eq!("drain".parse(), Ok(AdminState::Drain));
        assert!("DRAIN".parse::<AdminState>().is_err());
    }
}
