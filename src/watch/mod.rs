//! What HAProxy shows over time: servers that go up and down, and whether it is still the same process. Pure;
//! [`crate::listen`] asks HAProxy and logs what comes out.

mod identity;
mod transitions;

pub use identity::{Identity, Observed};
pub use transitions::{Transition, Transitions};
