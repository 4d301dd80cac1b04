//! What a reconciler has to tell the operator.

use std::fmt;

use log::Level;

use super::BreakerChange;
use crate::haproxy::{AdminState, Refusal, ServerRef};

/// One thing to tell, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// HAProxy took a state.
    Told {
        /// Which server.
        server: ServerRef,
        /// Its state.
        state: AdminState,
        /// Whether it is DOWN until its checks pass.
        gate: bool,
    },
    /// The server was found in the wanted state.
    Already(ServerRef, AdminState),
    /// HAProxy refused.
    Refused {
        /// Which server.
        server: ServerRef,
        /// What was wanted.
        state: AdminState,
        /// Why not.
        refusal: Refusal,
        /// What HAProxy has instead, in words.
        near: String,
    },
    /// A server that was there is not any more.
    Vanished(ServerRef),
    /// HAProxy did not answer.
    Failed {
        /// The command.
        command: String,
        /// What happened.
        cause: String,
    },
    /// The circuit breaker changed its state.
    Breaker(BreakerChange),
    /// HAProxy shows another state than the one it took.
    Drift {
        /// Which server.
        server: ServerRef,
        /// What is wanted.
        wanted: AdminState,
        /// What `show stat` shows.
        seen: String,
        /// Whether it is set right now.
        enforced: bool,
    },
    /// A drift has ended by itself.
    DriftEnded(ServerRef, AdminState),
    /// The server is kept in maintenance by something else than a command.
    Blocked {
        /// Which server.
        server: ServerRef,
        /// What `show stat` shows.
        seen: String,
    },
    /// Whether a server has checks could not be told: it was set ready without the gate.
    NoGate {
        /// Which server.
        server: ServerRef,
        /// Why.
        cause: String,
    },
}

impl Note {
    /// How much it matters.
    #[must_use]
    pub fn level(&self) -> Level {
        match self {
            Self::Already(..) | Self::Breaker(BreakerChange::HalfOpened | BreakerChange::Reopened { .. }) => {
                Level::Debug
            }
            Self::Told { .. } | Self::Breaker(BreakerChange::Closed) | Self::DriftEnded(..) => Level::Info,
            Self::Refused { .. } => Level::Error,
            Self::Vanished(_)
            | Self::Failed { .. }
            | Self::Breaker(BreakerChange::Opened { .. })
            | Self::Drift { .. }
            | Self::Blocked { .. }
            | Self::NoGate { .. } => Level::Warn,
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Told { server, state, gate: false } => write!(f, "`{server}` set to {state}"),
            Self::Told { server, state, gate: true } => {
                write!(f, "`{server}` set to {state}, DOWN until its checks pass")
            }
            Self::Already(server, state) => write!(f, "`{server}` is {state} already"),
            Self::Refused { server, state, refusal, near } => {
                write!(f, "set server `{server}` state {state}: {refusal}{near}")
            }
            Self::Vanished(server) => write!(f, "`{server}` is gone; it is set again when it is back"),
            Self::Failed { command, cause } => write!(f, "{command}: {cause}"),
            Self::Breaker(change) => change.fmt(f),
            Self::Drift { server, wanted, seen, enforced: false } => write!(
                f,
                "`{server}` is {seen}, wanted is {wanted}: set by somebody else; it stays so until the program \
                 changes, or with `--enforce`"
            ),
            Self::Drift { server, wanted, seen, enforced: true } => {
                write!(f, "`{server}` is {seen}, wanted is {wanted}: set by somebody else; setting it back")
            }
            Self::DriftEnded(server, wanted) => write!(f, "`{server}` is {wanted} again, as wanted"),
            Self::Blocked { server, seen } => {
                write!(f, "`{server}` is set to ready, but HAProxy keeps it in {seen}")
            }
            Self::NoGate { server, cause } => {
                write!(f, "`{server}` is set to ready without waiting for its checks: {cause}")
            }
        }
    }
}

/// Tells what HAProxy has in place of a server that it lacks; `""` where nothing is known.
#[must_use]
pub(super) fn near_names(missing: &ServerRef, known: &[ServerRef]) -> String {
    let siblings = known.iter().filter(|server| server.backend() == missing.backend());
    let siblings = similar(missing.server(), siblings.map(ServerRef::server));
    if !siblings.is_empty() {
        return format!("; backend `{}` has {siblings}", missing.backend());
    }
    let mut backends: Vec<&str> = known.iter().map(ServerRef::backend).collect();
    backends.dedup();
    match similar(missing.backend(), backends.into_iter()) {
        backends if backends.is_empty() => String::new(),
        backends => format!("; there are {backends}"),
    }
}

/// Up to five names, the most similar ones, in quotes; `""` where there are none.
pub fn similar<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> String {
    const SHOWN: usize = 5;
    let mut names: Vec<&str> = names.collect();
    let count = names.len();
    names.sort_by_cached_key(|name| strsim::damerau_levenshtein(wanted, name));
    names.truncate(SHOWN);
    names.sort_unstable();
    let list = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    if count > SHOWN { format!("{list} and {} more", count - SHOWN) } else { list }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(names: &[&str]) -> Vec<ServerRef> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    #[test]
    fn a_missing_server_is_answered_with_its_nearest_siblings() {
        let known = servers(&["api/x", "web/web1", "web/web2"]);
        let near = |missing: &str| near_names(&missing.parse().unwrap(), &known);
        assert_eq!(near("web/web9"), "; backend `web` has `web1`, `web2`");
        assert_eq!(near("wbe/web1"), "; there are `api`, `web`");
        assert_eq!(near_names(&"a/b".parse().unwrap(), &[]), "");
    }

    #[test]
    fn long_lists_are_cut() {
        let names: Vec<String> = (10..70).map(|number| format!("web/web{number}")).collect();
        let known = servers(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let near = near_names(&"web/web42x".parse().unwrap(), &known);
        assert!(near.contains("`web42`") && near.ends_with(" and 55 more"), "{near}");
    }
}
