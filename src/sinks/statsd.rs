//! statsd's gauges: `path:value|g`, a line each, in UDP datagrams.

use std::io::Write;

use super::{Datagrams, Fault, Packets, SinkError, Timeouts, write_path};
use crate::net::Endpoint;

/// Gauges, packed into datagrams.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gauges(Packets);

impl Gauges {
    /// Sets a gauge. Characters that would end the path early become underscores.
    pub fn set(&mut self, path: &str, value: f64) {
        // A zero with a sign has none afterwards.
        let value = value + 0.0;
        self.0.add(|out| {
            if value < 0.0 {
                // A value with a sign would be added to the present one; both lines have to come together.
                write_gauge(out, path, 0.0);
            }
            write_gauge(out, path, value);
        });
    }

    /// The datagrams, without a line end at their end: some servers take what follows it for a bad line.
    pub fn datagrams(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(|packet| packet.strip_suffix(b"\n").unwrap_or(packet))
    }
}

fn write_gauge(out: &mut Vec<u8>, path: &str, value: f64) {
    write_path(out, path, |character| matches!(character, ':' | '|' | '@'));
    // A vector takes all that it is given.
    let _ = writeln!(out, ":{value}|g");
}

/// A statsd, or what understands the same.
#[derive(Debug)]
pub struct Statsd {
    endpoint: Endpoint,
    datagrams: Datagrams,
}

impl Statsd {
    /// Looks the name up; blocks for `timeouts.connect` at most.
    pub fn open(endpoint: &Endpoint, timeouts: Timeouts) -> Result<Self, SinkError> {
        match Datagrams::open(endpoint, timeouts) {
            Ok(datagrams) => Ok(Self { endpoint: endpoint.clone(), datagrams }),
            Err(fault) => Err(error(endpoint, fault)),
        }
    }

    /// Sends them. That nobody listens is heard of on the same machine only.
    pub fn send(&mut self, gauges: &Gauges) -> Result<(), SinkError> {
        self.datagrams.send(gauges.datagrams()).map_err(|fault| error(&self.endpoint, fault))
    }
}

fn error(endpoint: &Endpoint, fault: Fault) -> SinkError {
    SinkError::at("statsd", endpoint, fault)
}

#[cfg(test)]
mod tests {
    use super::super::LONGEST_DATAGRAM;
    use super::*;

    fn texts(gauges: &Gauges) -> Vec<String> {
        gauges.datagrams().map(|packet| String::from_utf8(packet.to_vec()).unwrap()).collect()
    }

    #[test]
    fn a_gauge_is_set_and_never_added_to() {
        let mut gauges = Gauges::default();
        gauges.set("a.b", 1.0);
        gauges.set("a.c", -2.5);
        gauges.set("a:b|c d@e", -0.0);
        assert_eq!(texts(&gauges), ["a.b:1|g\na.c:0|g\na.c:-2.5|g\na_b_c_d_e:0|g"]);
    }

    #[test]
    fn a_negative_gauge_and_the_zero_before_it_share_a_datagram() {
        let mut gauges = Gauges::default();
        for number in 0..500 {
            gauges.set(&format!("some.path.{number}"), -f64::from(number));
        }
        for packet in texts(&gauges) {
            assert!(packet.len() <= LONGEST_DATAGRAM);
            let lines: Vec<&str> = packet.lines().collect();
            for (at, line) in lines.iter().enumerate().filter(|(_, line)| line.contains(":-")) {
                let path = line.split(':').next().unwrap();
                assert_eq!(lines[at - 1], format!("{path}:0|g"));
            }
        }
    }
}
