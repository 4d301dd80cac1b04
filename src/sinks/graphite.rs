//! Graphite's plaintext protocol: `path value time`, a line each, over TCP or UDP.

use std::fmt::Display;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use super::{Datagrams, Fault, Packets, SinkError, Timeouts, is_timeout, write_path};
use crate::net::{self, Address, Endpoint, Phase, addresses_within};

/// What the lines travel in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// One connection.
    Tcp,
    /// Datagrams of whole lines.
    Udp,
}

/// Appends a line. Characters that would end the path early become underscores.
pub fn write_line(out: &mut Vec<u8>, path: &str, value: impl Display, time: u64) {
    write_path(out, path, |_| false);
    // A vector takes all that it is given.
    let _ = writeln!(out, " {value} {time}");
}

/// A carbon, or what understands the same.
#[derive(Debug)]
pub struct Graphite {
    endpoint: Endpoint,
    wire: Wire,
}

#[derive(Debug)]
enum Wire {
    Tcp(Stream),
    Udp(Datagrams),
}

impl Graphite {
    /// Connects; blocks for `timeouts.connect` at most.
    pub fn open(endpoint: &Endpoint, protocol: Protocol, timeouts: Timeouts) -> Result<Self, SinkError> {
        let wire = match protocol {
            Protocol::Tcp => Stream::open(endpoint, timeouts).map(Wire::Tcp),
            Protocol::Udp => Datagrams::open(endpoint, timeouts).map(Wire::Udp),
        };
        match wire {
            Ok(wire) => Ok(Self { endpoint: endpoint.clone(), wire }),
            Err(fault) => Err(error(endpoint, fault)),
        }
    }

    /// Sends whole lines. Over TCP, success means that the kernel has them; [`Self::close`] tells more.
    pub fn send(&mut self, lines: &[u8]) -> Result<(), SinkError> {
        let sent = match &mut self.wire {
            Wire::Tcp(stream) => stream.send(lines),
            Wire::Udp(datagrams) => {
                let mut packets = Packets::default();
                for line in lines.split_inclusive(|byte| *byte == b'\n') {
                    packets.add(|out| out.extend_from_slice(line));
                }
                datagrams.send(packets.iter())
            }
        };
        sent.map_err(|fault| error(&self.endpoint, fault))
    }

    /// Ends the connection and waits, for `timeouts.write` at most, until the peer has done the same: a peer that
    /// went away before it had read all resets the connection. One that just keeps silent is taken to have read.
    pub fn close(self) -> Result<(), SinkError> {
        match self.wire {
            Wire::Tcp(stream) => stream.close().map_err(|fault| error(&self.endpoint, fault)),
            Wire::Udp(_) => Ok(()),
        }
    }
}

fn error(endpoint: &Endpoint, fault: Fault) -> SinkError {
    SinkError::at("graphite", endpoint, fault)
}

/// What is written under one deadline: a peer that reads slowly is waited for, one that hardly reads at all is not.
const CHUNK: usize = 64 * 1024;

#[derive(Debug)]
struct Stream {
    peer: TcpStream,
    timeouts: Timeouts,
    sent: usize,
}

impl Stream {
    fn open(endpoint: &Endpoint, timeouts: Timeouts) -> Result<Self, Fault> {
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

    fn send(&mut self, bytes: &[u8]) -> Result<(), Fault> {
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

    fn close(mut self) -> Result<(), Fault> {
        let deadline = Instant::now() + self.timeouts.write;
        self.peer.shutdown(Shutdown::Write).map_err(|source| self.broken(source))?;
        let mut ignored = [0; 1024];
        while Instant::now() < deadline {
            let read =
                self.peer.set_read_timeout(Some(left(deadline))).and_then(|()| self.peer.read(&mut ignored));
            match read {
                Ok(0) => break,
                Err(error) if is_timeout(&error) => break,
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(self.broken(error)),
                _ => {}
            }
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener, UdpSocket};
    use std::thread;

    use super::*;

    const TIMEOUTS: Timeouts =
        Timeouts { connect: Duration::from_secs(5), write: Duration::from_millis(300) };

    fn open(address: SocketAddr, protocol: Protocol) -> Result<Graphite, SinkError> {
        Graphite::open(&Endpoint::tcp(&address.to_string()).unwrap(), protocol, TIMEOUTS)
    }

    #[test]
    fn a_line_has_three_words_whatever_its_path() {
        let mut out = Vec::new();
        write_line(&mut out, "a.b", 1.5, 7);
        write_line(&mut out, "a b\nc", -1, 7);
        assert_eq!(String::from_utf8(out).unwrap(), "a.b 1.5 7\na_b_c -1 7\n");
    }

    #[test]
    fn all_lines_arrive_over_tcp() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).unwrap();
            let address = listener.local_addr().unwrap();
            let reader = thread::spawn(move || {
                let mut text = Vec::new();
                listener.accept().unwrap().0.read_to_end(&mut text).unwrap();
                text
            });
            let lines = b"a 1 1\n".repeat(100_000);
            let mut graphite = open(address, Protocol::Tcp).unwrap();
            graphite.send(&lines).unwrap();
            graphite.close().unwrap();
            assert!(reader.join().unwrap() == lines);
        }
    }

    #[test]
    fn all_lines_arrive_over_udp() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let lines = b"a 1 1\n".repeat(300);
        open(socket.local_addr().unwrap(), Protocol::Udp).unwrap().send(&lines).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let (mut text, mut packet) = (Vec::new(), [0; 2000]);
        while text.len() < lines.len() {
            let count = socket.recv(&mut packet).unwrap();
            assert!(packet[..count].ends_with(b"1\n"));
            text.extend_from_slice(&packet[..count]);
        }
        assert_eq!(text, lines);
    }

    #[test]
    fn a_peer_that_does_not_read_is_not_waited_for() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut graphite = open(listener.local_addr().unwrap(), Protocol::Tcp).unwrap();
        let error = graphite.send(&vec![b'x'; 64 * 1024 * 1024]).unwrap_err();
        assert!(matches!(error.fault, Fault::Stalled { sent: 1.., .. }), "{error}");
        assert!(error.to_string().contains(": it took nothing more within 300ms ("), "{error}");
    }

    #[test]
    fn a_peer_that_goes_before_it_has_read_is_heard_of() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut graphite = open(listener.local_addr().unwrap(), Protocol::Tcp).unwrap();
        graphite.send(b"a 1 1\n").unwrap();
        drop(listener.accept().unwrap());
        let error = graphite.close().unwrap_err();
        assert!(matches!(error.fault, Fault::Broken { sent: 6, .. }), "{error}");
    }

    #[test]
    fn nobody_there_is_said_so() {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = open(address, Protocol::Tcp).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("graphite {address}: cannot connect: Connection refused")),
            "{error}"
        );
    }
}
