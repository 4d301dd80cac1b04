//! HAProxy always knows what supervisord knows.
//!
//! The library behind the `supervisor-haproxy` binary. Its rooms and the direction of the arrows between
//! them are described in `docs/architecture.md`; a test holds the code to that page.

pub mod agent;
#[cfg(feature = "web")]
pub mod alerts;
pub mod cli;
pub mod config_change;
pub mod control;
pub mod exec;
pub mod haproxy;
pub mod health;
#[cfg(feature = "web")]
pub mod history;
pub mod ini;
pub mod listen;
pub mod net;
pub mod overview;
pub mod sinks;
pub mod stats;
pub mod store;
pub mod supervisor;
pub mod watch;
#[cfg(feature = "web")]
pub mod web;
