//! Files that outlive a process. What stands in them is decided elsewhere: [`crate::agent::Holds`] knows its own
//! text. Everything here blocks, as files do: for as long as the disk takes to write a few kilobytes.

pub mod holds;

pub use holds::{HoldsFile, StoreError};
