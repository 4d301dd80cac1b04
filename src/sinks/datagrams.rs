//! Lines in UDP datagrams: how they are packed, and the socket that sends them.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use super::{Fault, Timeouts, is_timeout};
use crate::net::{self, Address, Endpoint, addresses_within};

/// What an Ethernet frame carries beside the headers of IPv6 and of a tunnel; a longer datagram would travel in
/// pieces, and be lost with any of them.
pub const LONGEST_DATAGRAM: usize = 1432;

/// Text that is cut into datagrams between lines, and nowhere else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packets {
    limit: usize,
    text: Vec<u8>,
    /// Where each datagram but the last one ends.
    ends: Vec<usize>,
}

impl Packets {
    /// None yet; none will have more than `limit` bytes, if it can be helped.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, text: Vec::new(), ends: Vec::new() }
    }

    /// Adds what stays together in one datagram: a line, or several. What is longer than the limit by itself has a
    /// datagram of its own.
    pub fn add(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let before = self.text.len();
        write(&mut self.text);
        let begin = self.ends.last().copied().unwrap_or(0);
        if before > begin && self.text.len() - begin > self.limit {
            self.ends.push(before);
        }
    }

    /// All of them together.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.text.len()
    }

    /// Forgets them.
    pub fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
    }

    /// The datagrams; each ends with a line end.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let ends = self.ends.iter().copied();
        let begins = std::iter::once(0).chain(ends.clone());
        let ranges = begins.zip(ends.chain([self.text.len()]));
        ranges.filter_map(|(begin, end)| self.text.get(begin..end)).filter(|packet| !packet.is_empty())
    }
}

/// A UDP socket that speaks to one peer, no faster than one that listens can be hoped to read.
#[derive(Debug)]
pub struct Datagrams {
    socket: UdpSocket,
    timeouts: Timeouts,
    sent: usize,
    burst: Burst,
}

/// What is sent without a pause. Linux keeps 208 KiB for a receiver that does not read in time, its own book-keeping
/// included: 92 datagrams of 1432 bytes. What comes beyond that is lost, and nobody is told.
const BURST: usize = 32 * 1024;

/// What a burst takes, with the pause after it: 3 MiB, or 40,000 metrics, are sent in a second. Of 360,000 at once,
/// statsd 0.9 took 9,000 without pauses, and carbon 3,000. At this pace neither lost any, but for the first moments after
/// statsd's start; at twice the pace statsd lost 4,000. At half of it, 10,000 servers would take longer than from one
/// pull to the next.
const PACE: Duration = Duration::from_millis(10);

/// What was sent since the last pause.
#[derive(Debug)]
struct Burst {
    begun: Instant,
    bytes: usize,
}

impl Burst {
    fn new(begun: Instant) -> Self {
        Self { begun, bytes: 0 }
    }

    /// When the next one may begin. One datagram may be larger than a burst.
    fn due(&self) -> Instant {
        let [bytes, burst] = [self.bytes, BURST].map(|bytes| u32::try_from(bytes).unwrap_or(u32::MAX));
        self.begun + PACE * bytes / burst
    }

    /// Kernels end a wait some milliseconds late; the one after it is the shorter for that. What was not sent for
    /// longer is not caught up on.
    fn next(&self, now: Instant) -> Self {
        let due = self.due();
        Self::new(if now < due + PACE { due } else { now })
    }
}

impl Datagrams {
    /// Looks the name up. Whether anybody listens there shows when something is sent, if at all.
    pub fn open(endpoint: &Endpoint, timeouts: Timeouts) -> Result<Self, Fault> {
        let mut last = io::Error::other("no address to send to");
        for address in addresses_within(endpoint, timeouts.connect)? {
            match open(&address, timeouts) {
                Ok(socket) => {
                    return Ok(Self { socket, timeouts, sent: 0, burst: Burst::new(Instant::now()) });
                }
                Err(error) => last = error,
            }
        }
        Err(net::Fault::Connect(last).into())
    }

    /// Sends each as a datagram, with a pause of some milliseconds after every 32 KiB. Fails where the kernel says
    /// that nobody listens; from another machine, that comes too late or never.
    pub fn send<'a>(&mut self, packets: impl IntoIterator<Item = &'a [u8]>) -> Result<(), Fault> {
        for packet in packets {
            self.pause()?;
            self.send_one(packet)?;
        }
        // What the last one met with.
        match self.socket.take_error() {
            Ok(None) => Ok(()),
            Ok(Some(source)) | Err(source) => Err(Fault::Broken { sent: self.sent, source }),
        }
    }

    /// Waits until the next burst may begin, if this one is over. Nobody answers; but that nobody listens ends the
    /// wait at once.
    fn pause(&mut self) -> Result<(), Fault> {
        if self.burst.bytes < BURST {
            return Ok(());
        }
        let due = self.burst.due();
        let left = || Some(due.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero());
        while let Some(left) = left() {
            let heard = self.socket.set_read_timeout(Some(left)).and_then(|()| self.socket.recv(&mut [0]));
            match heard {
                Err(error) if is_timeout(&error) || error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(Fault::Broken { sent: self.sent, source }),
                Ok(_) => {}
            }
        }
        self.burst = self.burst.next(Instant::now());
        Ok(())
    }

    fn send_one(&mut self, packet: &[u8]) -> Result<(), Fault> {
        loop {
            match self.socket.send(packet) {
                Ok(count) => {
                    self.sent += count;
                    self.burst.bytes += count;
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
        let mut packets = Packets::new(LONGEST_DATAGRAM);
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
        assert!(packed(&[]).bytes() == 0 && packed(&[]).iter().next().is_none());
    }

    #[test]
    fn a_refusal_is_heard_of() {
        let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
        let error = to(nobody).send([&b"a 1 1\n"[..]]).unwrap_err().to_string();
        assert!(error.starts_with("the connection broke after 6 bytes: Connection refused"), "{error}");
    }

    /// To whoever is at this address.
    fn to(address: SocketAddr) -> Datagrams {
        let time = Duration::from_secs(5);
        let endpoint = Endpoint::tcp(&address.to_string()).unwrap();
        Datagrams::open(&endpoint, Timeouts { connect: time, write: time, close: time }).unwrap()
    }

    #[test]
    fn a_burst_is_followed_by_a_pause() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut datagrams = to(receiver.local_addr().unwrap());
        let packet = [b'x'; 1024];
        let begun = Instant::now();
        datagrams.send(std::iter::repeat_n(&packet[..], 97)).unwrap();
        assert!(begun.elapsed() >= 2 * PACE, "32 KiB, three times, and one more");
        assert_eq!(datagrams.burst.bytes, 1024);
    }

    #[test]
    fn a_pause_that_was_too_long_shortens_the_next() {
        let begun = Instant::now();
        let next = |bytes, time| Burst { begun, bytes }.next(begun + time).begun - begun;
        assert_eq!(next(BURST, PACE), PACE);
        assert_eq!(next(BURST, PACE + PACE / 2), PACE);
        assert_eq!(next(BURST, 2 * PACE), 2 * PACE);
        assert_eq!(next(2 * BURST, 2 * PACE), 2 * PACE);
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
