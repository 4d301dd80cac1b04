//! Changes of HAProxy's configuration as transactions: the old one whole or the new one whole, on the disk and in the
//! process that runs, whenever the one who changes it is killed.
//!
//! [`Desk`] is where changes are made. The module `step` decides what is next; [`Running`] is the HAProxy that takes them.
//! What commands look like, and how errors become exit codes, lives in `cli`.

mod archive;
mod desk;
mod digest;
mod files;
mod fileset;
mod history;
mod lock;
mod process;
mod route;
mod routes;
mod routing;
mod running;
mod step;
#[cfg(test)]
mod tests;
mod transaction;

pub use archive::{Archive, ArchiveError, How};
pub use desk::{Activated, ChangeError, Desk, Done, Peer, Setup};
pub use digest::Digest;
pub use files::FileFault;
pub use fileset::FileSet;
pub use history::{Kept, Version, What};
pub use lock::{Lock, LockError};
pub use route::{Check, CheckError, Host, HostError, Target, UrlError};
pub use routes::{RouteError, Routes, RoutesError, Texts};
pub use routing::Places;
pub use running::{Reach, Running, Way};
