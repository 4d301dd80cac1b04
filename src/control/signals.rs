//! Ctrl-C and its like: they are noticed between two looks, never in the middle of a command.

use std::io;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Counts requests to end. A lost terminal is one too: it must not leave a server drained.
#[derive(Debug)]
pub struct Interrupts {
    signals: Signals,
    count: u32,
}

impl Interrupts {
    /// From here on, SIGINT, SIGTERM and SIGHUP are counted and do nothing else.
    pub fn new() -> io::Result<Self> {
        Ok(Self { signals: Signals::new([SIGHUP, SIGINT, SIGTERM])?, count: 0 })
    }

    /// How many came so far. Does not block.
    pub fn count(&mut self) -> u32 {
        let new = self.signals.pending().count();
        self.count = self.count.saturating_add(u32::try_from(new).unwrap_or(u32::MAX));
        self.count
    }
}
