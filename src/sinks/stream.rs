//! Bytes over TCP: each wait under a deadline, and an end that tells whether all of it was read.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use super::{Fault, Timeouts, is_timeout};
use crate::net::{self, Address, Endpoint, Phase, addresses_within};

/// What is written under one deadline: a peer that reads slowly is waited for, one that hardly reads at all is not.
const CHUNK: usize = 64 * 1024;

/// A connection that is only written to.
#[derive(Debug)]
pub(super) struct Stream {
    peer: TcpStream,
    timeouts: Timeouts,
    sent: usize,
}

impl Stream {
    /// Connects; blocks for `timeouts.connect` at most.
    pub(super) fn open(endpoint: &Endpoint, timeouts: Timeouts) -> Result<Self, Fault> {
        let deadline = Instant::now() + timeouts.connect;
        let mut last = net::Fault::Connect(io::Error::other("no address to connect to"));
        for address in addresses_within(endpoint, timeouts.connect)? {
            match connect(&address, deadline) {
                Ok(peer) => return Ok(Self { peer, timeouts, sent: 0 }),
                Err(error) if is_timeout(&error) => {
                    last = net::Fault::Timeout(Phase::Connecting, timeouts.connect);
                }
                Err(error) => last = net::Fault::Connect(error),
            }
        }
        Err(last.into())
    }

    /// On success, the kernel has them.
    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        bytes.chunks(CHUNK).try_for_each(|chunk| self.send_chunk(chunk))
    }

    fn send_chunk(&mut self, mut chunk: &[u8]) -> Result<(), Fault> {
        let deadline = Instant::now() + self.timeouts.write;
        while !chunk.is_empty() {
            let written =
                self.peer.set_write_timeout(Some(left(deadline))).and_then(|()| self.peer.write(chunk));
            match written {
                Ok(count) => {
                    self.sent += count;
                    chunk = chunk.get(count..).unwrap_or_default();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_timeout(&error) => {
                    return Err(Fault::Stalled { sent: self.sent, within: self.timeouts.write });
                }
                Err(source) => return Err(self.broken(source)),
            }
        }
        Ok(())
    }

    /// Waits, for `timeouts.close` at most, until the peer has ended the connection, too. It does so when it has read
    /// all; that the kernels have agreed on it would say nothing about a peer that hangs. One that is ended itself, and
    /// has nothing more to read just then, ends the connection in the same way while the rest is on its way.
    pub(super) fn close(mut self) -> Result<(), Fault> {
        let deadline = Instant::now() + self.timeouts.close;
        self.peer.shutdown(Shutdown::Write).map_err(|source| self.broken(source))?;
        let mut ignored = [0; 1024];
        while Instant::now() < deadline {
            let read =
                self.peer.set_read_timeout(Some(left(deadline))).and_then(|()| self.peer.read(&mut ignored));
            match read {
                Ok(0) => return self.is_over().map_err(|source| self.broken(source)),
                Err(error) if is_timeout(&error) => break,
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(self.broken(error)),
                _ => {}
            }
        }
        Err(Fault::Unconfirmed { sent: self.sent, within: self.timeouts.close })
    }

    /// Fails where the peer's end has come before it had all. The kernel names a peer until both sides have ended, and
    /// each has acknowledged all of the other's.
    fn is_over(&self) -> io::Result<()> {
        match (self.peer.take_error()?, self.peer.peer_addr()) {
            (Some(reset), _) => Err(reset),
            (None, Err(error)) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            (None, _) => Err(io::Error::other("it was ended before all was read")),
        }
    }

    fn broken(&self, source: io::Error) -> Fault {
        Fault::Broken { sent: self.sent, source }
    }
}

fn connect(address: &Address, deadline: Instant) -> io::Result<TcpStream> {
    match address {
        Address::Tcp(address) => TcpStream::connect_timeout(address, left(deadline)),
        Address::Unix(_) => Err(io::Error::other("graphite is at HOST:PORT, not at a unix socket")),
    }
}

/// Never nothing, which would mean no limit at all.
fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
}
