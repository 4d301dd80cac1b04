//! Statistics: the pipeline of `pull` and `process`.

mod capture;
mod spool;

pub use capture::{Miss, Patience, Source, capture};
pub use spool::{Draft, Snapshot, Spool, SpoolError};
