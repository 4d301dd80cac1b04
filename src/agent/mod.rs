//! Decisions: which program stands for which server, what is wanted of each server, and what to tell HAProxy
//! next. Everything here is pure: `now` is a parameter, and nothing under this room opens a socket, reads a
//! clock or writes a log. [`crate::listen`] and [`crate::control`] perform what is decided here.

mod actions;
mod breaker;
pub mod checkup;
mod holds;
mod inquiry;
mod mapping;
mod note;
pub mod order;
mod reconcile;
mod restraints;
pub mod rollout;
mod roster;
mod standing;
mod wanted;

pub use actions::{Actions, Override};
pub use breaker::{Breaker, BreakerChange, BreakerSettings, Circuit};
pub use holds::{Hold, Holds, HoldsError, MAX_HOLDS};
pub use inquiry::{Inquiry, Question};
pub use mapping::{Mapping, MappingError, Rule};
pub use note::{Note, similar};
pub use order::{KIND, Order, OrderError};
pub use reconcile::{Answer, Reconciler, ReconcilerSettings, Step, Trouble};
pub use restraints::{Claim, Expired};
pub use roster::{Member, NoSuchTarget, Roster, Target, TargetError};
pub use standing::{Accord, Standing, roster, standings};
pub use wanted::{Life, Mark, Reaction, Relief, Staleness, SyncOutcome, Wanted, Wish};
