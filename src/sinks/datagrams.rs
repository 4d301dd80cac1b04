//! Lines in UDP datagrams: how they are packed, and the socket that sends them.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use super::{Fault, Timeouts, is_timeout};
use crate::net::{self, Address, Endpoint, addresses_within};

/// What an Ethernet frame carries beside the headers of IPv6 and of a tunnel; a longer datagram would travel in
/// pieces, and be lost with any of them.
pub const LONGEST_DATAGRAM: usize = 1432;

/// Text that is cut into datagrams between lines, and nowhere else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packets {
    text: Vec<u8>,
    /// Where each datagram but the last one ends.
    ends: Vec<usize>,
}

impl Packets {
    /// Adds what stays together in one datagram: a line, or several. What is longer than
    /// [`LONGEST_DATAGRAM`] by itself has a datagram of its own.
    pub fn add(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let before = self.text.len();
        write(&mut self.text);
        let begin = self.ends.last().copied().unwrap_or(0);
        if before > begin && self.text.len() - begin > LONGEST_DATAGRAM {
            self.ends.push(before);
        }
    }

    /// Whether there is nothing to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// The datagrams; each ends with a line end.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let ends = self.ends.iter().copied();
        let begins = std::iter::once(0).chain(ends.clone());
        let ranges = begins.zip(ends.chain([self.text.len()]));
        ranges.filter_map(|(begin, end)| self.text.get(begin..end)).filter(|packet| !packet.is_empty())
    }
}

/// A UDP socket that speaks to one peer.
#[derive(Debug)]
pub struct Datagrams {
    socket: UdpSocket,
    timeouts: Timeouts,
    sent: usize,
}

impl Datagrams {
    /// Looks the name up. Whether anybody listens there shows when something is sent, if at all.
    pub fn open(endpoint: &Endpoint, timeouts: Timeouts) -> Result<Self, Fault> {
        let mut last = io::Error::other("no address to send to");
        for address in addresses_within(endpoint, timeouts.connect)? {
            match open(&address, timeouts) {
                Ok(socket) => return Ok(Self { socket, timeouts, sent: 0 }),
                Err(error) => last = error,
            }
        }
        Err(net::Fault::Connect(last).into())
    }

    /// Sends each as a datagram. Fails where the kernel says that nobody listens; from another machine, that
    /// comes too late or never.
    pub fn send<'a>(&mut self, packets: impl IntoIterator<Item = &'a [u8]>) -> Result<(), Fault> {
        for packet in packets {
            self.send_one(packet)?;
        }
        // What the last one met with.
        match self.socket.take_error() {
            Ok(None) => Ok(()),
            Ok(Some(source)) | Err(source) => Err(Fault::Broken { sent: self.sent, source }),
        }
    }

    fn send_one(&mut self, packet: &[u8]) -> Result<(), Fault> {
        loop {
            match self.socket.send(packet) {
                Ok(count) => {
                    self.sent += count;
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_timeout(&error) => {
                    return Err(Fault::Stalled { sent: self.sent, within: self.timeouts.write });
                }
                Err(source) => return Err(Fault::Broken { sent: self.sent, source }),
            }
        }
    }
}

fn open(address: &Address, timeouts: Timeouts) -> io::Result<UdpSocket> {
    let Address::Tcp(address) = address else {
        return Err(io::Error::other("datagrams go to HOST:PORT, not to a unix socket"));
    };
    let any = match address {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let socket = UdpSocket::bind(any)?;
    socket.set_write_timeout(Some(timeouts.write))?;
    socket.connect(address)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packed(units: &[String]) -> Packets {
        let mut packets = Packets::default();
        for unit in units {
            packets.add(|out| out.extend_from_slice(unit.as_bytes()));
        }
        packets
    }

    #[test]
    fn a_datagram_is_filled_up_to_its_limit() {
        let line = format!("{}\n", "x".repeat(715));
        let lines = vec![line.clone(); 5];
        let packets = packed(&lines);
        let lengths: Vec<usize> = packets.iter().map(<[u8]>::len).collect();
        assert_eq!(lengths, [1432, 1432, 716]);
        let long = "y".repeat(2000);
        let packets = packed(&[line.clone(), long, line]);
        let lengths: Vec<usize> = packets.iter().map(<[u8]>::len).collect();
        assert_eq!(lengths, [716, 2000, 716]);
        assert!(packed(&[]).is_empty() && packed(&[]).iter().next().is_none());
    }

    #[test]
    fn a_refusal_is_heard_of() {
        let nobody = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let time = std::time::Duration::from_secs(5);
        let endpoint = Endpoint::tcp(&nobody.to_string()).unwrap();
        let mut datagrams = Datagrams::open(&endpoint, Timeouts { connect: time, write: time }).unwrap();
        let error = datagrams.send([&b"a 1 1\n"[..]]).unwrap_err().to_string();
        assert!(error.starts_with("the connection broke after 6 bytes: Connection refused"), "{error}");
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_cut(lengths in prop::collection::vec(1_usize..1600, 0..40)) {
            let units: Vec<String> =
                lengths.iter().enumerate().map(|(at, length)| format!("{at}{}\n", "x".repeat(*length))).collect();
            let packets = packed(&units);
            let all: Vec<u8> = packets.iter().flatten().copied().collect();
            prop_assert_eq!(all, units.concat().into_bytes());
            for packet in packets.iter() {
                let lines = packet.split_inclusive(|byte| *byte == b'\n').count();
                prop_assert!(packet.ends_with(b"\n") && (packet.len() <= LONGEST_DATAGRAM || lines == 1));
            }
        }
    }
}
