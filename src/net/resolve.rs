//! Names become addresses without ever holding up the loop: `getaddrinfo` has no deadline of its own, so a
//! name is looked up in a thread, at most one at a time for each endpoint.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, TryRecvError};
use std::thread;
use std::time::Duration;

use mio::Waker;

use super::{Endpoint, Fault};

/// An address that `connect(2)` takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// An IPv4 or IPv6 address with its port.
    Tcp(SocketAddr),
    /// A unix socket's path.
    Unix(PathBuf),
}

/// Looks one endpoint up and remembers the result until it is told that it was of no use.
#[derive(Debug)]
pub struct Resolver {
    endpoint: Endpoint,
    waker: Arc<Waker>,
    known: Vec<Address>,
    asked: Option<Receiver<io::Result<Vec<Address>>>>,
}

impl Resolver {
    /// `waker` is woken when a look-up that [`Self::addresses`] began has ended.
    #[must_use]
    pub fn new(endpoint: Endpoint, waker: Arc<Waker>) -> Self {
        let known = fixed(&endpoint);
        Self { endpoint, waker, known, asked: None }
    }

    /// The addresses to try in turn; `None` while they are being looked up. Does not block.
    pub fn addresses(&mut self) -> io::Result<Option<&[Address]>> {
        if self.known.is_empty() {
            match self.poll()? {
                Some(found) => self.known = found,
                None => return Ok(None),
            }
        }
        Ok(Some(&self.known))
    }

    /// None of the addresses answered: look the name up again before the next try.
    pub fn forget(&mut self) {
        self.known = fixed(&self.endpoint);
    }

    fn poll(&mut self) -> io::Result<Option<Vec<Address>>> {
        let asked = if let Some(asked) = self.asked.take() {
            asked
        } else {
            let waker = Arc::clone(&self.waker);
            // Where the loop has ended meanwhile, nobody is to be woken.
            look_up(self.endpoint.clone(), move || drop(waker.wake()))?
        };
        match asked.try_recv() {
            Ok(found) => found.map(Some),
            Err(TryRecvError::Disconnected) => Err(no_result()),
            Err(TryRecvError::Empty) => {
                self.asked = Some(asked);
                Ok(None)
            }
        }
    }
}

/// The addresses of an endpoint, at least one, for those who have nothing else to do. Blocks for `time` at most; a
/// look-up that takes longer ends by itself, and nobody hears of it.
pub fn addresses_within(endpoint: &Endpoint, time: Duration) -> Result<Vec<Address>, Fault> {
    let known = fixed(endpoint);
    if !known.is_empty() {
        return Ok(known);
    }
    let asked = look_up(endpoint.clone(), || {}).map_err(Fault::Resolve)?;
    match asked.recv_timeout(time) {
        Ok(found) => found.map_err(Fault::Resolve),
        Err(RecvTimeoutError::Timeout) => Err(Fault::ResolveTimeout(time)),
        Err(RecvTimeoutError::Disconnected) => Err(Fault::Resolve(no_result())),
    }
}

fn no_result() -> io::Error {
    io::Error::other("the look-up ended without a result")
}

/// The addresses that need no look-up; none for a name.
fn fixed(endpoint: &Endpoint) -> Vec<Address> {
    match endpoint {
        Endpoint::Unix(path) => vec![Address::Unix(path.clone())],
        Endpoint::Tcp { host, port } => {
            let tcp = |ip| Address::Tcp(SocketAddr::new(ip, *port));
            match host.parse() {
                Ok(ip) => vec![tcp(ip)],
                // It never means anything else (RFC 6761, 6.3), and small containers have no hosts file.
                Err(_) if host == "localhost" => {
                    vec![tcp(Ipv4Addr::LOCALHOST.into()), tcp(Ipv6Addr::LOCALHOST.into())]
                }
                Err(_) => Vec::new(),
            }
        }
    }
}

fn look_up(
    endpoint: Endpoint,
    done: impl FnOnce() + Send + 'static,
) -> io::Result<Receiver<io::Result<Vec<Address>>>> {
    let (sender, receiver) = mpsc::channel();
    thread::Builder::new().name("resolver".into()).stack_size(256 * 1024).spawn(move || {
        // The loop may have ended meanwhile: then nobody waits for the result, and that is fine.
        let _ = sender.send(ask(&endpoint));
        done();
    })?;
    Ok(receiver)
}

fn ask(endpoint: &Endpoint) -> io::Result<Vec<Address>> {
    let Endpoint::Tcp { host, port } = endpoint else { return Ok(fixed(endpoint)) };
    let found: Vec<Address> = (host.as_str(), *port).to_socket_addrs()?.map(Address::Tcp).collect();
    if found.is_empty() { Err(io::Error::other("the name has no address")) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use mio::{Events, Poll, Token};

    use super::*;

    fn resolver(endpoint: &str) -> (Poll, Resolver) {
        let poll = Poll::new().unwrap();
        let waker = Arc::new(Waker::new(poll.registry(), Token(0)).unwrap());
        (poll, Resolver::new(endpoint.parse().unwrap(), waker))
    }

    #[test]
    fn an_address_needs_no_look_up() {
        let known = |endpoint| resolver(endpoint).1.addresses().unwrap().unwrap().to_vec();
        let tcp = |address: &str| Address::Tcp(address.parse().unwrap());
        assert_eq!(known("tcp://[::1]:80"), [tcp("[::1]:80")]);
        assert_eq!(known("tcp://localhost:80"), [tcp("127.0.0.1:80"), tcp("[::1]:80")]);
        assert_eq!(known("unix:///run/h.sock"), [Address::Unix("/run/h.sock".into())]);
    }

    #[test]
    fn addresses_are_had_without_a_loop_too() {
        let within = |endpoint: &str| addresses_within(&endpoint.parse().unwrap(), Duration::from_secs(30));
        assert_eq!(within("tcp://[::1]:80").unwrap(), [Address::Tcp("[::1]:80".parse().unwrap())]);
        assert!(matches!(within("tcp://no-such-host.invalid:80").unwrap_err(), Fault::Resolve(_)));
        let fault = addresses_within(&"tcp://no-such-host.invalid:80".parse().unwrap(), Duration::ZERO);
        assert_eq!(fault.unwrap_err().to_string(), "the name was not resolved within 0ns");
    }

    #[test]
    fn a_name_is_looked_up_aside_and_the_loop_is_woken() {
        // An address in place of a name: which names there are depends on the machine.
        let (mut poll, mut resolver) = resolver("tcp://[::1]:80");
        resolver.known.clear();
        let mut events = Events::with_capacity(4);
        while resolver.addresses().unwrap().is_none() {
            poll.poll(&mut events, Some(Duration::from_secs(10))).unwrap();
            assert!(!events.is_empty(), "the look-up never ended");
        }
        assert!(!resolver.addresses().unwrap().unwrap().is_empty());
    }

    #[test]
    fn a_name_that_does_not_exist_is_an_error() {
        let (mut poll, mut resolver) = resolver("tcp://no-such-host.invalid:80");
        let mut events = Events::with_capacity(4);
        loop {
            match resolver.addresses() {
                Err(_) => break,
                Ok(found) => assert_eq!(found, None),
            }
            poll.poll(&mut events, Some(Duration::from_secs(30))).unwrap();
            assert!(!events.is_empty(), "the look-up never ended");
        }
    }
}
