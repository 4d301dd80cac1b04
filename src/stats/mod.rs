//! Statistics: the pipeline of `pull` and `process`.

mod capture;
mod pull;
mod spool;

pub use capture::{Miss, Patience, Source, capture};
pub use pull::{PullError, Pulled, Puller, until_next};
pub use spool::{Draft, Snapshot, Spool, SpoolError};
