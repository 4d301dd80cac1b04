//! Programs that are run to their end: under a deadline, killed with all that they have started, and with so much kept
//! of what they say. [`Configuration`] has HAProxy check its configuration.

mod check;
mod child;
#[cfg(test)]
pub(crate) mod played;

pub use check::{CheckFault, Checked, Configuration};
pub use child::{ChildFault, Ended, Patience, run, run_telling};
