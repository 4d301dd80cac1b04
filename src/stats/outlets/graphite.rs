//! Graphite: a line for each datapoint, with haproxystats' paths.

use super::Outlet;
use crate::net::Endpoint;
use crate::sinks::{Graphite, Protocol, SinkError, Timeouts};
use crate::stats::{Naming, Reading, settings};

/// Sends readings to a carbon, each over a connection of its own: only its end tells that all of it was read.
#[derive(Debug)]
pub struct GraphiteOutlet {
    endpoint: Endpoint,
    protocol: Protocol,
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
    pub fn new(endpoint: Endpoint, protocol: Protocol, timeouts: Timeouts, naming: Naming) -> Self {
        Self { endpoint, protocol, timeouts, naming }
    }
}

impl GraphiteOutlet {
    /// As a configuration says.
    #[must_use]
    pub fn of(settings: &settings::Graphite, naming: Naming) -> Self {
        let timeouts = Timeouts { connect: settings.connect_timeout, write: settings.write_timeout };
        Self::new(settings.endpoint(), Protocol::Tcp, timeouts, naming)
    }
}

impl Outlet<Reading<'_>> for GraphiteOutlet {
    fn deliver(&mut self, reading: &Reading<'_>) -> Result<(), SinkError> {
        let mut graphite = Graphite::open(&self.endpoint, self.protocol, self.timeouts)?;
        let mut lines = self.naming.lines(reading);
        let mut out = Vec::with_capacity(ROOM);
        reading.emit(&mut |subject, datapoints| {
            lines.write(subject, datapoints, &mut out);
            if out.len() >= CHUNK {
                graphite.send(&out)?;
                out.clear();
            }
            Ok(())
        })?;
        graphite.send(&out)?;
        graphite.close()
    }
}
