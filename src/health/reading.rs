//! What HAProxy told at one moment, with the figures that the health documents have.

use crate::haproxy::{DumpError, Info, ReplyError, StatRow, Survey, dump, info_and_stat};
use crate::stats::{Report, Rows, Server, Side};

/// One whole reply to `show info;show stat`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// The answering process.
    pub info: Info,
    /// `show info`, as it came.
    pub info_text: String,
    /// `show stat`, as it came.
    pub stat_text: String,
    /// Servers and proxies, and what of them is not well.
    pub report: Report,
    /// In HAProxy's order, as in the report.
    pub servers: Vec<ServerFigures>,
    /// The servers' rows, for those who compare them with earlier ones.
    pub rows: Vec<StatRow>,
    /// Requests of the last second, over all frontends; none where HAProxy has no such column.
    pub request_rate: Option<u64>,
}

/// What the report does not have of a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerFigures {
    /// Connections and responses that failed since HAProxy's start.
    pub errors: u64,
}

impl Reading {
    /// Takes the reply to [`crate::haproxy::Command::Statistics`] apart.
    pub fn parse(reply: &[u8]) -> Result<Self, ReplyError> {
        let text = dump(reply)?;
        let (info, stat) = info_and_stat(&text)?;
        let (servers, request_rate) = figures(stat)?;
        Ok(Self {
            info: Info::parse(info),
            report: Report::read(stat, 100.0)?,
            rows: Survey::parse(reply)?.rows,
            info_text: info.to_owned(),
            stat_text: stat.to_owned(),
            servers,
            request_rate,
        })
    }

    /// A number of `show info`, by HAProxy's name for it.
    #[must_use]
    pub fn number(&self, key: &str) -> Option<u64> {
        let mut lines = self.info_text.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(name, _)| *name == key).and_then(|(_, value)| value.trim().parse().ok())
    }

    /// Each server with its figures.
    pub fn servers(&self) -> impl Iterator<Item = (&Server, ServerFigures)> {
        self.report.servers.iter().zip(self.servers.iter().copied())
    }

    /// How many backends there are.
    #[must_use]
    pub fn backends(&self) -> usize {
        self.report.proxies.iter().filter(|proxy| proxy.side == Side::Backend).count()
    }

    /// Errors since HAProxy's start: requests that could not be read, on the clients' side, and connections and
    /// responses that failed, on the servers'.
    #[must_use]
    pub fn errors(&self) -> u64 {
        let totals = self.report.totals;
        let backends = totals.backends.connection.saturating_add(totals.backends.response);
        totals.frontends.request.saturating_add(backends)
    }
}

fn figures(stat: &str) -> Result<(Vec<ServerFigures>, Option<u64>), DumpError> {
    let mut rows = Rows::read(stat)?;
    let [kind, connection, response, rate] =
        ["type", "econ", "eresp", "req_rate"].map(|name| rows.column(name));
    let (mut servers, mut rates) = (Vec::new(), 0_u64);
    while rows.advance()? {
        let count = |column| rows.get(column).parse::<u64>().unwrap_or(0);
        match &*rows.get(kind) {
            "0" => rates = rates.saturating_add(count(rate)),
            "2" => {
                servers.push(ServerFigures { errors: count(connection).saturating_add(count(response)) });
            }
            _ => {}
        }
    }
    Ok((servers, rate.map(|_| rates)))
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(in crate::health) const REPLY: &str = "Name: HAProxy\nVersion: 2.6.12\nPid: 7\nUptime_sec: 50\nCurrConns: 5\nCumConns: 1000\nMaxconn: 2000\n\n\
         # pxname,svname,qcur,scur,stot,ereq,econ,eresp,status,lastchg,type,check_status,req_rate,last_chk,\n\
         www,FRONTEND,,1,9,3,,,OPEN,,0,,4,,\n\
         app,web1,0,2,7,,5,6,UP,9,2,L4OK,,,\n\
         app,web2,0,0,0,,0,0,MAINT,9,2,,,,\n\
         app,BACKEND,0,2,7,,5,6,UP,9,1,,,,\n\n";

    pub(in crate::health) fn reading(from: &str, to: &str) -> Reading {
        Reading::parse(REPLY.replace(from, to).as_bytes()).unwrap()
    }

    #[test]
    fn a_reply_becomes_the_figures_of_the_documents() {
        let reading = reading("", "");
        assert_eq!((reading.info.pid, reading.backends(), reading.request_rate), (Some(7), 1, Some(4)));
        assert_eq!((reading.number("CurrConns"), reading.number("ConnRate")), (Some(5), None));
        assert_eq!(reading.errors(), 3 + 5 + 6);
        let servers: Vec<_> =
            reading.servers().map(|(server, figures)| (&*server.server, figures.errors)).collect();
        assert_eq!(servers, [("web1", 11), ("web2", 0)]);
        assert_eq!(reading.rows.len(), 2);
    }

    #[test]
    fn without_a_column_for_it_there_is_no_rate() {
        assert_eq!(reading("req_rate", "other").request_rate, None);
    }

    proptest! {
        #[test]
        fn no_reply_makes_the_reader_panic(cut in 0..REPLY.len(), text in "[ -~\n]{0,60}") {
            let _ = Reading::parse(format!("{}{text}", &REPLY[..cut]).as_bytes());
        }
    }
}
