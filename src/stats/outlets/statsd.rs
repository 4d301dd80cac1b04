//! statsd: a gauge for each datapoint, with haproxystats' paths or with Datadog's tags.

use std::time::Duration;

use super::Outlet;
use super::names::Names;
use crate::net::Endpoint;
use crate::sinks::{Dialect, Gauges, SinkError, Statsd, Timeouts};
use crate::stats::aggregate::Datapoint;
use crate::stats::{Naming, Reading, settings};

/// Sends readings to a statsd. Whether one that is on another machine gets them is not known.
#[derive(Debug)]
pub struct StatsdOutlet {
    endpoint: Endpoint,
    packet_size: usize,
    tags: bool,
    naming: Naming,
}

/// There is no option for it: only the look-up of the name takes time.
const TIMEOUTS: Timeouts =
    Timeouts { connect: Duration::from_secs(5), write: Duration::from_secs(5), close: Duration::ZERO };

/// So many bytes of datagrams are made before they are sent.
const CHUNK: usize = 64 * 1024;

impl StatsdOutlet {
    /// `naming` is within statsd's own namespace. Looks nobody up yet.
    #[must_use]
    pub fn new(settings: &settings::Statsd, naming: Naming) -> Self {
        let endpoint = settings.endpoint();
        Self { endpoint, packet_size: settings.packet_size, tags: settings.tags, naming }
    }
}

impl Outlet<Reading<'_>> for StatsdOutlet {
    /// 10,000 servers take 9 seconds: [`crate::sinks::Datagrams`] makes pauses.
    fn deliver(&mut self, reading: &Reading<'_>) -> Result<(), SinkError> {
        let mut statsd = Statsd::open(&self.endpoint, TIMEOUTS)?;
        let mut names = Names::new(Dialect::Statsd, self.tags, &self.naming, reading);
        let mut gauges = Gauges::new(self.packet_size);
        reading.emit(&mut |subject, datapoints| {
            for series in names.of(subject) {
                for Datapoint { metric, value } in datapoints {
                    gauges.set(&series, metric, (*value).into());
                }
            }
            if gauges.bytes() >= CHUNK {
                statsd.send(&gauges)?;
                gauges.clear();
            }
            Ok(())
        })?;
        statsd.send(&gauges)
    }
}
