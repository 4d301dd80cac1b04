//! Graphite: lines or pickles, with haproxystats' paths or with tags.

use super::Outlet;
use super::names::Names;
use crate::net::Endpoint;
use crate::sinks::{Dialect, Encoder, Graphite, Protocol, SinkError, Timeouts};
use crate::stats::aggregate::graphite::Lines;
use crate::stats::aggregate::{Datapoint, Subject};
use crate::stats::{Naming, Reading, settings};

/// Sends readings to a carbon, each over a connection of its own: only its end tells that all of it was read.
#[derive(Debug)]
pub struct GraphiteOutlet {
    endpoint: Endpoint,
    protocol: Protocol,
    tags: bool,
    timeouts: Timeouts,
    naming: Naming,
}

/// Enough to be written. With the lines that came last it is still less than the 64 KiB that go out at once; a reading
/// of 10,000 servers has some hundreds of it.
const CHUNK: usize = 56 * 1024;
/// What there is room for.
const ROOM: usize = 64 * 1024;

impl GraphiteOutlet {
    /// Connects to nobody yet.
    #[must_use]
    pub fn new(settings: &settings::Graphite, naming: Naming) -> Self {
        let protocol = match settings.protocol {
            settings::Protocol::Tcp => Protocol::Tcp,
            settings::Protocol::Udp => Protocol::Udp,
            settings::Protocol::Pickle => Protocol::Pickle,
        };
        let timeouts = Timeouts {
            connect: settings.connect_timeout,
            write: settings.write_timeout,
            close: settings.close_timeout,
        };
        Self { endpoint: settings.endpoint(), protocol, tags: settings.tags, timeouts, naming }
    }

    fn form<'a>(&'a self, reading: &'a Reading<'a>) -> Form<'a> {
        match self.protocol {
            Protocol::Tcp | Protocol::Udp if !self.tags => Form::Lines(self.naming.lines(reading)),
            protocol => Form::Any {
                names: Names::new(Dialect::Graphite, self.tags, &self.naming, reading),
                encoder: Encoder::new(protocol, reading.time),
            },
        }
    }
}

impl Outlet<Reading<'_>> for GraphiteOutlet {
    fn deliver(&mut self, reading: &Reading<'_>) -> Result<(), SinkError> {
        let mut graphite = Graphite::open(&self.endpoint, self.protocol, self.timeouts)?;
        let mut form = self.form(reading);
        let mut out = Vec::with_capacity(ROOM);
        reading.emit(&mut |subject, datapoints| {
            form.write(subject, datapoints, &mut out);
            if out.len() >= CHUNK {
                graphite.send(&out)?;
                out.clear();
            }
            Ok(())
        })?;
        form.finish(&mut out);
        graphite.send(&out)?;
        graphite.close()
    }
}

/// How the datapoints of one reading become bytes.
enum Form<'a> {
    /// Lines with paths: what most use, in a third of the time that lines with tags take.
    Lines(Lines<'a>),
    Any {
        names: Names<'a>,
        encoder: Encoder,
    },
}

impl Form<'_> {
    fn write(&mut self, subject: Subject<'_>, datapoints: &[Datapoint], out: &mut Vec<u8>) {
        match self {
            Self::Lines(lines) => lines.write(subject, datapoints, out),
            Self::Any { names, encoder } => {
                for series in names.of(subject) {
                    for Datapoint { metric, value } in datapoints {
                        encoder.add(&series, metric, (*value).into(), out);
                    }
                }
            }
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        if let Self::Any { encoder, .. } = self {
            encoder.finish(out);
        }
    }
}
