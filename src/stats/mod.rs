//! Statistics: the pipeline of `pull` and `process`.

mod spool;

pub use spool::{Draft, Snapshot, Spool, SpoolError};
