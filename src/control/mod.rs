//! What the operator's commands do: look at HAProxy and supervisord, tell them what [`crate::agent`] decides,
//! and wait. Everything here blocks, each exchange under a deadline; [`crate::listen`] does its own waiting.

mod errand;
mod lock;
mod peers;
mod probe;
mod signals;
mod statistics;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use self::errand::Errand;
pub use self::lock::{Lock, LockError};
pub use self::peers::{Looks, Peers};
pub use self::probe::{Probe, ProbeError};
pub use self::signals::{Interrupts, Vigil};
pub use self::statistics::{Statistics, statistics};
use crate::agent::{Actions, Mapping};
use crate::net::Endpoint;
use crate::store::HoldsFile;
use crate::supervisor::{ProcessName, ServerUrl};

/// The time by this host's clock, in seconds since 1970.
#[must_use]
pub fn epoch_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// What the commands work on.
#[derive(Clone, Debug)]
pub struct Site {
    /// One or more, each an independent HAProxy.
    pub haproxies: Vec<Endpoint>,
    /// Which program stands for which server.
    pub mapping: Mapping,
    /// What each state of a program asks for.
    pub actions: Actions,
    /// Whether a server with health checks is DOWN until they pass.
    pub gate: bool,
    /// For one exchange.
    pub timeout: Duration,
    /// supervisord's XML-RPC.
    pub supervisord: ServerUrl,
    /// The listener, where there is one.
    pub listener: Option<ListenerRef>,
    /// Where the listener keeps holds.
    pub holds: Option<HoldsFile>,
}

/// The listener as supervisord's configuration has it.
#[derive(Clone, Debug)]
pub struct ListenerRef {
    /// Its process.
    pub name: ProcessName,
    /// Whether it is subscribed to the events that carry orders.
    pub hears_orders: bool,
    /// Whether it sets back what others set.
    pub enforces: bool,
}
