//! Ctrl-C and its like: they are noticed between two looks, never in the middle of a command.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Instant;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook_mio::v1_0::Signals as MioSignals;

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

/// Waits for a moment, for something to read, or for a request to end, whichever is first.
pub struct Vigil {
    poll: Poll,
    signals: MioSignals,
    events: Events,
}

const SIGNALS: Token = Token(0);
const WATCHED: Token = Token(1);

impl Vigil {
    /// From here on, SIGINT, SIGTERM and SIGHUP end a wait and do nothing else.
    pub fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut signals = MioSignals::new([SIGHUP, SIGINT, SIGTERM])?;
        poll.registry().register(&mut signals, SIGNALS, Interest::READABLE)?;
        Ok(Self { poll, signals, events: Events::with_capacity(4) })
    }

    /// Ends a wait when something comes to be read here, too.
    pub fn watch(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.poll.registry().register(&mut SourceFd(&fd.as_raw_fd()), WATCHED, Interest::READABLE)
    }

    /// Whether the end was asked for. Otherwise there is something to read, or the moment has come.
    pub fn wait(&mut self, until: Instant) -> io::Result<bool> {
        loop {
            let rest = until.saturating_duration_since(Instant::now());
            match self.poll.poll(&mut self.events, Some(rest)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            }
            if self.signals.pending().next().is_some() {
                return Ok(true);
            }
            if self.events.iter().any(|event| event.token() == WATCHED) || Instant::now() >= until {
                return Ok(false);
            }
        }
    }
}
