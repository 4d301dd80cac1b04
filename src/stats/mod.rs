//! Statistics: the pipeline of `pull` and `process`, and what the dumps say.

pub mod aggregate;
mod capture;
#[cfg(feature = "kafka")]
pub mod collect;
mod columns;
mod naming;
pub mod outlets;
mod pull;
mod push;
mod reading;
mod report;
pub mod settings;
mod spool;

pub use capture::{Miss, Patience, Source, capture};
pub use naming::Naming;
pub use pull::{PullError, Pulled, Puller, until_next};
pub use push::{Point, points};
pub use reading::{ReadError, Reading};
pub use report::{Errors, Health, Proxy, Report, Server, Side, Totals};
pub use spool::{Draft, Snapshot, Spool, SpoolError};
