//! Decisions: which program stands for which server, what is wanted of each server, and what to tell HAProxy
//! next. Everything here is pure: `now` is a parameter, and nothing under this room opens a socket, reads a
//! clock or writes a log. [`crate::listen`] performs what is decided here.

mod actions;
mod breaker;
mod inquiry;
mod mapping;
mod note;
mod reconcile;
pub mod rollout;
mod roster;
mod wanted;

pub use actions::{Actions, Override};
pub use breaker::{Breaker, BreakerChange, BreakerSettings};
pub use inquiry::{Inquiry, Question};
pub use mapping::{Mapping, MappingError, Rule};
pub use note::{Note, similar};
pub use reconcile::{Answer, Reconciler, ReconcilerSettings, Step, Trouble};
pub use roster::{Member, NoSuchTarget, Roster, Target, TargetError};
pub use wanted::{Life, Mark, Reaction, Staleness, SyncOutcome, Wanted, Wish};
