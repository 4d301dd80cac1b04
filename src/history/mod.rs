//! What has changed, kept across restarts: an embedded SQLite file that has an end, and the [`Book`] that entries go
//! through on their way into it. `entry.rs`, `query.rs` and `backlog.rs` decide and do no I/O; `file.rs` is the one place
//! that knows of SQLite; [`Keeper`] is the one thread that writes, so that nobody else waits for the disk.

mod backlog;
mod book;
mod entry;
mod error;
mod file;
mod keeper;
mod query;

pub use book::{Book, Tally};
pub use entry::{Entry, Kind, Note};
pub use error::HistoryError;
pub use keeper::{Keeper, Settings};
pub use query::{Pattern, Query};

pub use file::Reader;
