//! One request and its whole reply over a connection of its own, without blocking.
//!
//! Both peers are spoken to in this way: HAProxy closes after each reply, and supervisord does so when it is
//! asked to. The owner registers nothing itself: [`Exchange::start`] does, and a dropped exchange leaves the
//! poll by closing its file descriptor.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};
use thiserror::Error;

use super::Address;

/// What a peer may cost us.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From the start of the connection to the last byte of the reply.
    pub time: Duration,
    /// Bytes of reply.
    pub bytes: usize,
}

/// How far an exchange had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The connection was not accepted yet.
    Connecting,
    /// The request was sent, this many bytes of reply had arrived.
    Answering(usize),
}

/// Why there is no whole reply.
#[derive(Debug, Error)]
pub enum Fault {
    /// The name could not be looked up.
    #[error("the name cannot be resolved: {0}")]
    Resolve(#[source] io::Error),
    /// The look-up took longer than the whole exchange may.
    #[error("the name was not resolved within {0:?}")]
    ResolveTimeout(Duration),
    /// Nobody listens there, or we may not connect.
    #[error("cannot connect: {0}")]
    Connect(#[source] io::Error),
    /// The unix socket's queue of waiting connections is full.
    #[error("cannot connect: the queue of waiting connections is full")]
    Busy,
    /// The connection broke.
    #[error("the connection broke after {received} bytes of reply: {source}")]
    Broken {
        /// Bytes of reply that had arrived.
        received: usize,
        /// What the kernel says.
        source: io::Error,
    },
    /// The time ran out.
    #[error("{}", timeout(*.0, *.1))]
    Timeout(Phase, Duration),
    /// More reply than any sane peer sends.
    #[error("the reply is longer than {0} bytes")]
    TooLong(usize),
    /// The reply could not be written down; the peer is not to blame.
    #[error("the reply cannot be kept: {0}")]
    Unkept(#[source] io::Error),
}

fn timeout(phase: Phase, within: Duration) -> String {
    match phase {
        Phase::Connecting => format!("no connection within {within:?}"),
        Phase::Answering(received) => {
            format!("no complete reply within {within:?} ({received} bytes so far)")
        }
    }
}

impl Fault {
    /// Whether the peer was never reached, so that its address may have changed.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Connect(_) | Self::Timeout(Phase::Connecting, _))
    }
}

/// Takes a reply as it comes, in pieces of any size.
pub trait Receive {
    /// Takes the next piece; fails where it cannot be kept.
    fn take(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Whether this is the whole reply, where the peer may leave the connection open.
    fn is_whole(&self) -> bool {
        false
    }
}

/// A reply in memory.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) bytes: Vec<u8>,
    is_whole: fn(&[u8]) -> bool,
}

impl Kept {
    pub(super) fn new(is_whole: fn(&[u8]) -> bool) -> Self {
        Self { bytes: Vec::new(), is_whole }
    }
}

impl Receive for Kept {
    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn is_whole(&self) -> bool {
        (self.is_whole)(&self.bytes)
    }
}

/// What to send, and when its reply is whole.
#[derive(Clone, Debug)]
pub struct Question {
    /// The bytes to send.
    pub request: Vec<u8>,
    /// Whether these bytes are the whole reply, where the peer may leave the connection open.
    pub is_whole: fn(&[u8]) -> bool,
    /// What it may cost.
    pub limits: Limits,
}

impl Default for Question {
    fn default() -> Self {
        let limits = Limits { time: Duration::ZERO, bytes: 0 };
        Self { request: Vec::new(), is_whole: |_| false, limits }
    }
}

/// An exchange under way.
#[derive(Debug)]
pub struct Exchange<R> {
    stream: Stream,
    is_registered: bool,
    further: VecDeque<Address>,
    token: Token,
    request: Vec<u8>,
    limits: Limits,
    sent: usize,
    reply: Option<R>,
    received: usize,
    deadline: Instant,
}

impl<R: Receive> Exchange<R> {
    /// Connects to the first of `addresses` that does not refuse at once and sends the request in one write
    /// where the connection stands already. The reply is complete when the receiver says so, or at its end.
    pub fn start(
        addresses: &[Address],
        (request, limits): (Vec<u8>, Limits),
        reply: R,
        deadline: Instant,
        (registry, token): (&Registry, Token),
    ) -> Result<Self, Fault> {
        let mut further: VecDeque<Address> = addresses.iter().cloned().collect();
        let stream = connect_any(&mut further)?;
        let mut exchange = Self {
            stream,
            is_registered: false,
            further,
            token,
            request,
            limits,
            sent: 0,
            reply: Some(reply),
            received: 0,
            deadline,
        };
        exchange.send()?;
        exchange.register(registry)?;
        Ok(exchange)
    }

    /// When [`Self::expired`] becomes true.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether there is a connection, and the peer's turn has come.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.sent > 0
    }

    /// Moves the deadline. `time` is how long that is since the beginning, for the words of a fault.
    pub fn allow(&mut self, deadline: Instant, time: Duration) {
        self.deadline = deadline;
        self.limits.time = time;
    }

    /// The fault to report once the deadline has passed.
    #[must_use]
    pub fn expired(&self, now: Instant) -> Option<Fault> {
        let phase = if self.sent == 0 { Phase::Connecting } else { Phase::Answering(self.received) };
        (now >= self.deadline).then_some(Fault::Timeout(phase, self.limits.time))
    }

    /// Goes on after the poll reported this exchange's token; gives the reply once it is whole.
    pub fn advance(&mut self, registry: &Registry) -> Result<Option<R>, Fault> {
        self.send()?;
        self.register(registry)?;
        if self.is_sent() { self.receive() } else { Ok(None) }
    }

    fn is_sent(&self) -> bool {
        self.sent == self.request.len()
    }

    fn register(&mut self, registry: &Registry) -> Result<(), Fault> {
        if std::mem::replace(&mut self.is_registered, true) {
            return Ok(());
        }
        // A stream that only waits for its reply must not wake the loop for being writable.
        let interest =
            if self.is_sent() { Interest::READABLE } else { Interest::READABLE | Interest::WRITABLE };
        self.stream.register(registry, self.token, interest).map_err(Fault::Connect)
    }

    fn send(&mut self) -> Result<(), Fault> {
        while let Some(rest) = self.request.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match self.stream.write(rest) {
                Ok(count) => self.sent += count,
                Err(error) if is_pending(&error) => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if self.sent == 0 && is_refusal(&error) => self.next_address(error)?,
                // The peer may have said why before it closed: what can be read decides.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                    self.sent = self.request.len();
                }
                Err(source) => return Err(Fault::Broken { received: 0, source }),
            }
        }
        Ok(())
    }

    fn next_address(&mut self, refused: io::Error) -> Result<(), Fault> {
        if self.further.is_empty() {
            return Err(Fault::Connect(refused));
        }
        self.stream = connect_any(&mut self.further)?;
        self.is_registered = false;
        Ok(())
    }

    fn receive(&mut self) -> Result<Option<R>, Fault> {
        let mut chunk = [0; 16 * 1024];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return Ok(self.reply.take()),
                Ok(count) => self.take(chunk.get(..count).unwrap_or_default())?,
                Err(error) if is_pending(&error) => return Ok(None),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(source) => return Err(Fault::Broken { received: self.received, source }),
            }
            if self.reply.as_ref().is_some_and(Receive::is_whole) {
                return Ok(self.reply.take());
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.received += bytes.len();
        if self.received > self.limits.bytes {
            return Err(Fault::TooLong(self.limits.bytes));
        }
        self.reply.as_mut().map_or(Ok(()), |reply| reply.take(bytes)).map_err(Fault::Unkept)
    }
}

/// A nonblocking stream that is not connected yet says `ENOTCONN` or `EAGAIN`.
fn is_pending(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected)
}

fn is_refusal(error: &io::Error) -> bool {
    use ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable, TimedOut};
    matches!(error.kind(), ConnectionRefused | HostUnreachable | NetworkUnreachable | TimedOut)
}

fn connect_any(addresses: &mut VecDeque<Address>) -> Result<Stream, Fault> {
    let mut last = Fault::Connect(io::Error::other("no address to connect to"));
    while let Some(address) = addresses.pop_front() {
        match Stream::connect(&address) {
            Ok(stream) => return Ok(stream),
            Err(error) if error.kind() == ErrorKind::WouldBlock => last = Fault::Busy,
            Err(error) => last = Fault::Connect(error),
        }
    }
    Err(last)
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    fn connect(address: &Address) -> io::Result<Self> {
        match address {
            Address::Tcp(address) => TcpStream::connect(*address).map(Self::Tcp),
            Address::Unix(path) => UnixStream::connect(path).map(Self::Unix),
        }
    }

    fn register(&mut self, registry: &Registry, token: Token, interest: Interest) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => registry.register(stream, token, interest),
            Self::Unix(stream) => registry.register(stream, token, interest),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(bytes),
            Self::Unix(stream) => stream.read(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener};
    use std::os::unix::net::UnixListener;
    use std::thread;

    use mio::{Events, Poll};

    use super::*;

    const LIMITS: Limits = Limits { time: Duration::from_secs(5), bytes: 1000 };

    fn run(addresses: &[Address], limits: Limits) -> Result<Vec<u8>, Fault> {
        let mut poll = Poll::new().unwrap();
        let at = Token(1);
        let request = b"ask\n".to_vec();
        let deadline = Instant::now() + limits.time;
        let registry = poll.registry().try_clone().unwrap();
        let kept = Kept::new(|_| false);
        let mut exchange = Exchange::start(addresses, (request, limits), kept, deadline, (&registry, at))?;
        let mut events = Events::with_capacity(4);
        loop {
            if let Some(fault) = exchange.expired(Instant::now()) {
                return Err(fault);
            }
            poll.poll(&mut events, Some(exchange.deadline().saturating_duration_since(Instant::now())))
                .unwrap();
            if let Some(reply) = exchange.advance(&registry)? {
                return Ok(reply.bytes);
            }
        }
    }

    /// A peer that reads one line and then does as it is told.
    fn peer(act: impl FnOnce(&mut std::net::TcpStream) + Send + 'static) -> Address {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address::Tcp(listener.local_addr().unwrap());
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut line = [0; 4];
            stream.read_exact(&mut line).unwrap();
            act(&mut stream);
        });
        address
    }

    #[test]
    fn the_reply_is_read_to_its_end() {
        let address = peer(|stream| {
            for byte in b"slowly but surely\n\n" {
                stream.write_all(&[*byte]).unwrap();
            }
        });
        assert_eq!(run(&[address], LIMITS).unwrap(), b"slowly but surely\n\n");
    }

    #[test]
    fn a_refusing_address_is_passed_over() {
        let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
        let address = peer(|stream| stream.write_all(b"here\n").unwrap());
        assert_eq!(run(&[Address::Tcp(nobody), address], LIMITS).unwrap(), b"here\n");
    }

    #[test]
    fn nobody_there_is_said_so() {
        let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
        let fault = run(&[Address::Tcp(nobody)], LIMITS).unwrap_err();
        assert!(fault.is_unreachable(), "{fault}");
        let missing = Address::Unix("/nonexistent/socket".into());
        assert!(matches!(run(&[missing], LIMITS).unwrap_err(), Fault::Connect(_)));
    }

    #[test]
    fn silence_ends_at_the_deadline_and_says_how_far_it_came() {
        let (until, end) = std::sync::mpsc::channel::<()>();
        let address = peer(move |stream| {
            stream.write_all(b"half").unwrap();
            let _ = end.recv();
        });
        let limits = Limits { time: Duration::from_secs(2), ..LIMITS };
        let fault = run(&[address], limits).unwrap_err();
        assert_eq!(fault.to_string(), "no complete reply within 2s (4 bytes so far)");
        drop(until);
    }

    #[test]
    fn a_reply_without_end_is_cut_off() {
        let address = peer(|stream| while stream.write_all(&[b'x'; 500]).is_ok() {});
        assert!(matches!(run(&[address], LIMITS).unwrap_err(), Fault::TooLong(1000)));
    }

    #[test]
    fn a_full_queue_of_connections_is_a_fault_of_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        nix::sys::socket::listen(&listener, nix::sys::socket::Backlog::new(0).unwrap()).unwrap();
        let _first = std::os::unix::net::UnixStream::connect(&path).unwrap();
        assert!(matches!(run(&[Address::Unix(path)], LIMITS).unwrap_err(), Fault::Busy));
    }
}
