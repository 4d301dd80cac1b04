//! Statistics: the pipeline of `pull` and `process`, and what the dumps say.

pub mod aggregate;
mod arrivals;
mod capture;
#[cfg(feature = "kafka")]
pub mod collect;
mod columns;
pub mod delivery;
mod naming;
pub mod outlets;
mod pull;
mod push;
mod queue;
mod reading;
mod report;
pub mod settings;
mod sources;
mod spool;

pub use arrivals::Arrivals;
pub use capture::{Miss, Patience, Source, capture};
pub use columns::Rows;
pub use naming::Naming;
pub use pull::{PullError, Pulled, Puller, Tick};
pub use push::{Point, points};
pub use queue::Queue;
pub use reading::{MAX_DUMP, ReadError, Reading};
pub use report::{Errors, Health, Proxy, Report, Server, Side, Totals};
pub use sources::{SourcesError, sources};
pub use spool::{Draft, Snapshot, Spool, SpoolError, SpoolLock};
