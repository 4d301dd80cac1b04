//! What HAProxy's statistics say: texts in, values out. Nothing here opens a socket; see [`crate::sinks`].

mod columns;
mod push;

pub use push::{Point, points};
