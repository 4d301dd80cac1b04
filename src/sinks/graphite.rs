//! Graphite's protocols: `path value time`, a line each, over TCP or UDP, and pickles of the same.

use std::fmt::Display;
use std::io::Write;

use super::pickle::Pickles;
use super::series::{Series, clean};
use super::stream::Stream;
use super::{Datagrams, Fault, LONGEST_DATAGRAM, Packets, SinkError, Timeouts, Value};
use crate::net::Endpoint;

/// What datapoints travel in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Lines over one connection.
    Tcp,
    /// Datagrams of whole lines.
    Udp,
    /// Pickles over one connection.
    Pickle,
}

/// Appends a line. Characters that would end the path early become underscores.
pub fn write_line(out: &mut Vec<u8>, path: &str, value: impl Display, time: u64) {
    // A vector takes all that it is given.
    let _ = writeln!(out, "{} {value} {time}", clean(path, |_| false));
}

/// Makes the bytes of one snapshot's datapoints: what [`Graphite::send`] takes in the same protocol.
#[derive(Clone, Debug)]
pub struct Encoder {
    time: u64,
    form: Form,
}

#[derive(Clone, Debug)]
enum Form {
    Lines,
    Pickles(Pickles),
}

impl Encoder {
    /// Of datapoints at `time`, in epoch seconds.
    #[must_use]
    pub fn new(protocol: Protocol, time: u64) -> Self {
        let form = match protocol {
            Protocol::Tcp | Protocol::Udp => Form::Lines,
            Protocol::Pickle => Form::Pickles(Pickles::default()),
        };
        Self { time, form }
    }

    /// Takes a datapoint. Appends what is whole to `out`, always so that it can be sent; some waits for more.
    pub fn add(&mut self, series: &Series, metric: &str, value: Value, out: &mut Vec<u8>) {
        let Series { before, after } = series;
        match &mut self.form {
            Form::Pickles(pickles) => pickles.add([before, metric, after], self.time, value, out),
            Form::Lines => {
                // A vector takes all that it is given.
                let _ = writeln!(out, "{before}{metric}{after} {value} {}", self.time);
            }
        }
    }

    /// Appends what waits.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if let Form::Pickles(pickles) = &mut self.form {
            pickles.finish(out);
        }
    }
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
            Protocol::Tcp | Protocol::Pickle => Stream::open(endpoint, timeouts).map(Wire::Tcp),
            Protocol::Udp => Datagrams::open(endpoint, timeouts).map(Wire::Udp),
        };
        match wire {
            Ok(wire) => Ok(Self { endpoint: endpoint.clone(), wire }),
            Err(fault) => Err(error(endpoint, fault)),
        }
    }

    /// Sends whole lines, or whole pickles. Over TCP, success means that the kernel has them; [`Self::close`] tells
    /// more.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), SinkError> {
        let sent = match &mut self.wire {
            Wire::Tcp(stream) => stream.send(bytes),
            Wire::Udp(datagrams) => {
                let mut packets = Packets::new(LONGEST_DATAGRAM);
                for line in bytes.split_inclusive(|byte| *byte == b'\n') {
                    packets.add(|out| out.extend_from_slice(line));
                }
                datagrams.send(packets.iter())
            }
        };
        sent.map_err(|fault| error(&self.endpoint, fault))
    }

    /// Ends the connection and waits, for `timeouts.close` at most, until the peer has done the same, which says that
    /// it has read all: one that went away before resets the connection, one that hangs keeps silent.
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

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{Shutdown, SocketAddr, TcpListener, UdpSocket};
    use std::thread;
    use std::time::Duration;

    use nix::sys::socket::{setsockopt, sockopt};

    use super::super::Dialect;
    use super::*;

    const TIMEOUTS: Timeouts = Timeouts {
        connect: Duration::from_secs(5),
        write: Duration::from_millis(300),
        close: Duration::from_millis(300),
    };
    /// Where nobody is silent.
    const PATIENT: Timeouts =
        Timeouts { write: Duration::from_secs(5), close: Duration::from_secs(5), ..TIMEOUTS };

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
    fn a_datapoint_is_a_line_or_an_item_of_a_pickle() {
        let series = Series::tagged(Dialect::Graphite, "lb.", [("host", "a".into())]);
        let encode = |protocol| {
            let (mut encoder, mut out) = (Encoder::new(protocol, 7), Vec::new());
            encoder.add(&series, "scur", Value::Integer(3), &mut out);
            encoder.add(&series, "rate", Value::Real(0.5), &mut out);
            encoder.finish(&mut out);
            out
        };
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            assert_eq!(encode(protocol), b"lb.scur;host=a 3 7\nlb.rate;host=a 0.5 7\n");
        }
        let mut expected = Vec::new();
        let mut pickles = Pickles::default();
        pickles.add(["lb.", "scur", ";host=a"], 7, Value::Integer(3), &mut expected);
        pickles.add(["lb.", "rate", ";host=a"], 7, Value::Real(0.5), &mut expected);
        pickles.finish(&mut expected);
        assert_eq!(encode(Protocol::Pickle), expected);
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
            let endpoint = Endpoint::tcp(&address.to_string()).unwrap();
            let mut graphite = Graphite::open(&endpoint, Protocol::Tcp, PATIENT).unwrap();
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
    fn a_peer_that_ends_the_connection_before_it_has_read_is_heard_of() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        // Less than what is sent, so that the rest is on its way.
        setsockopt(&listener, sockopt::RcvBuf, &4096).unwrap();
        let mut graphite = open(listener.local_addr().unwrap(), Protocol::Tcp).unwrap();
        let peer = listener.accept().unwrap().0;
        graphite.send(&vec![b'x'; 64 * 1024]).unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        let error = graphite.close().unwrap_err().to_string();
        let expected = ": the connection broke after 65536 bytes: it was ended before all was read";
        assert!(error.ends_with(expected), "{error}");
    }

    #[test]
    fn a_peer_that_keeps_silent_has_not_read() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut graphite = open(listener.local_addr().unwrap(), Protocol::Tcp).unwrap();
        graphite.send(b"a 1 1\n").unwrap();
        let error = graphite.close().unwrap_err().to_string();
        assert!(
            error.ends_with(": it has not closed the connection within 300ms after all 6 bytes"),
            "{error}"
        );
    }

    #[test]
    fn nobody_there_is_said_so() {
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let error = open(address, Protocol::Tcp).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("graphite {address}: cannot connect: Connection refused")),
            "{error}"
        );
    }
}
