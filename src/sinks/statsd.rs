//! statsd's gauges: `path:value|g`, a line each, in UDP datagrams; with tags as Datadog has them, if any.

use std::io::Write;

use super::series::Series;
use super::{Datagrams, Fault, Packets, SinkError, Timeouts, Value};
use crate::net::Endpoint;

/// Gauges, packed into datagrams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gauges(Packets);

impl Gauges {
    /// None yet; a datagram will have `limit` bytes at most, if not one gauge is longer.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self(Packets::new(limit))
    }

    /// Sets a gauge.
    pub fn set(&mut self, series: &Series, metric: &str, value: Value) {
        self.0.add(|out| {
            if is_negative(value) {
                // A value with a sign would be added to the present one; both lines have to come together. With tags,
                // Datadog's own server would set it, and so keeps the last of the two; but statsd, Prometheus'
                // exporter and others that read such tags add it, too.
                write_gauge(out, series, metric, Value::Integer(0));
            }
            write_gauge(out, series, metric, value);
        });
    }

    /// Bytes in all datagrams together.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.bytes()
    }

    /// Forgets them.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The datagrams, without a line end at their end: some servers take what follows it for a bad line.
    pub fn datagrams(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(|packet| packet.strip_suffix(b"\n").unwrap_or(packet))
    }
}

fn is_negative(value: Value) -> bool {
    match value {
        Value::Integer(value) => value < 0,
        Value::Real(value) => value < 0.0,
    }
}

fn write_gauge(out: &mut Vec<u8>, series: &Series, metric: &str, value: Value) {
    let Series { before, after } = series;
    // A vector takes all that it is given.
    let _ = writeln!(out, "{before}{metric}:{value}|g{after}");
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
    use super::super::{Dialect, LONGEST_DATAGRAM};
    use super::*;

    fn plain(path: &str) -> Series {
        Series::plain(Dialect::Statsd, path)
    }

    fn texts(gauges: &Gauges) -> Vec<String> {
        gauges.datagrams().map(|packet| String::from_utf8(packet.to_vec()).unwrap()).collect()
    }

    #[test]
    fn a_gauge_is_set_and_never_added_to() {
        let mut gauges = Gauges::new(LONGEST_DATAGRAM);
        gauges.set(&plain("a."), "b", Value::Real(1.0));
        gauges.set(&plain("a."), "c", Value::Real(-2.5));
        gauges.set(&plain("a:b|c d@e"), "", Value::Real(-0.0));
        assert_eq!(texts(&gauges), ["a.b:1|g\na.c:0|g\na.c:-2.5|g\na_b_c_d_e:0|g"]);
        gauges.clear();
        assert_eq!((gauges.bytes(), texts(&gauges)), (0, Vec::new()));
    }

    #[test]
    fn tags_stand_at_the_end() {
        let mut gauges = Gauges::new(LONGEST_DATAGRAM);
        let series =
            Series::tagged(Dialect::Statsd, "lb.frontend.", [("host", "a".into()), ("frontend", "b".into())]);
        gauges.set(&series, "scur", Value::Integer(3));
        gauges.set(&series, "rate", Value::Integer(-3));
        assert_eq!(
            texts(&gauges),
            ["lb.frontend.scur:3|g|#host:a,frontend:b\n\
              lb.frontend.rate:0|g|#host:a,frontend:b\nlb.frontend.rate:-3|g|#host:a,frontend:b"]
        );
    }

    #[test]
    fn a_value_has_digits_only() {
        for (value, expected) in [
            (Value::Integer(i64::MIN), "-9223372036854775808"),
            (Value::Real(1e21), "1000000000000000000000"),
            (Value::Real(2.5e-7), "0.00000025"),
            (Value::Real(254.0 / 3.0), "84.66666666666667"),
        ] {
            assert_eq!(value.to_string(), expected);
        }
    }

    #[test]
    fn a_negative_gauge_and_the_zero_before_it_share_a_datagram() {
        for limit in [512, LONGEST_DATAGRAM] {
            let mut gauges = Gauges::new(limit);
            for number in 0..500 {
                gauges.set(&plain("some.path."), &number.to_string(), Value::Integer(-number));
            }
            for packet in texts(&gauges) {
                assert!(packet.len() <= limit);
                let lines: Vec<&str> = packet.lines().collect();
                for (at, line) in lines.iter().enumerate().filter(|(_, line)| line.contains(":-")) {
                    let path = line.split(':').next().unwrap();
                    assert_eq!(lines[at - 1], format!("{path}:0|g"));
                }
            }
        }
    }
}
