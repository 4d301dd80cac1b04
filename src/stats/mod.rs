//! What HAProxy's statistics say: texts in, values out. Nothing here opens a socket; see [`crate::sinks`].

mod columns;
mod push;
mod report;

pub use push::{Point, points};
pub use report::{Errors, Health, Proxy, Report, Server, Side, Totals};
