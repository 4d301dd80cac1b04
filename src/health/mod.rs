//! Whether HAProxy does its work, and what is done when it does not. `judgement.rs` and `recovery.rs` decide and do
//! no I/O; [`Monitor`] is the one thread that asks HAProxy, publishes what it found, and performs recoveries. Who
//! shows that to whom is not known here: see `web`.

mod action;
mod bell;
mod judgement;
mod metrics;
mod monitor;
mod reading;
mod recovery;
mod state;
mod validation;

pub use action::Action;
pub use bell::Bell;
pub use judgement::{Judgement, Status, judge};
pub use metrics::write_own;
pub use monitor::{Listener, Monitor, News, RouteTable, Settings, Watch};
pub use reading::{Reading, ServerFigures};
pub use recovery::{Attempt, Cause, Outcome, Recovery, RecoverySettings, Verdict};
pub use state::{Check, CircuitView, Counters, Health, Ordered, RecoveryView, Refused, RouteCount};
