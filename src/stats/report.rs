//! The health report: what `show stat` tells of servers, queues and errors, and what of it is not well.

use std::time::Duration;

use serde::Serialize;

use super::columns::Rows;
use crate::haproxy::{DumpError, Kind, Status};

/// One HAProxy process, as its `show stat` has it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// In HAProxy's order.
    pub servers: Vec<Server>,
    /// Frontends and backends, in HAProxy's order.
    pub proxies: Vec<Proxy>,
    /// Sums. A request that fails is counted on either side, so there is no sum of both.
    pub totals: Totals,
    /// What is not well, a line for each.
    pub problems: Vec<String>,
}

/// Errors of all proxies of a side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Towards the clients.
    pub frontends: Errors,
    /// Towards the servers.
    pub backends: Errors,
}

/// A server of a backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Server {
    /// Its backend.
    pub backend: String,
    /// Its name.
    pub server: String,
    /// In HAProxy's words.
    pub status: String,
    /// What that means.
    pub health: Health,
    /// Since the last change between up and down.
    #[serde(rename = "since_seconds", serialize_with = "seconds")]
    pub since: Option<Duration>,
    /// Handled since HAProxy's start.
    pub sessions: u64,
    /// Under way.
    pub sessions_now: u64,
    /// The last check's code, `L4OK`; empty without checks.
    pub check: String,
    /// The last check's own words.
    pub last_check: String,
    /// Checks that failed while it was up; none without checks.
    pub failed_checks: Option<u64>,
    /// Requests that wait for it.
    pub queue: u64,
    /// The most that ever did.
    pub queue_peak: u64,
    /// Mean time to the first byte of a response over the last 1,024 requests; none in TCP mode.
    #[serde(rename = "response_milliseconds")]
    pub response: Option<u64>,
}

/// Whether something does what it is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// It does.
    Up,
    /// It does not, and somebody wants it so.
    Out,
    /// It does not.
    Down,
}

/// A frontend or a backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Proxy {
    /// Its name.
    pub name: String,
    /// Which of the two.
    pub side: Side,
    /// In HAProxy's words.
    pub status: String,
    /// What that means.
    pub health: Health,
    /// Requests since HAProxy's start; in TCP mode, sessions.
    pub requests: u64,
    /// What went wrong with them.
    pub errors: Errors,
}

/// Which side of HAProxy a proxy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// Towards the clients.
    Frontend,
    /// Towards the servers.
    Backend,
}

impl Side {
    /// `frontend`, `backend`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Frontend => "frontend",
            Self::Backend => "backend",
        }
    }
}

/// Errors by kind since HAProxy's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Errors {
    /// Requests that could not be read, by the clients' fault.
    pub request: u64,
    /// Servers that could not be connected to.
    pub connection: u64,
    /// Responses that could not be read or passed on.
    pub response: u64,
    /// Requests and responses that a rule denied.
    pub denied: u64,
    /// Responses of status 500 to 599.
    #[serde(rename = "status_5xx")]
    pub status_5xx: u64,
}

impl Errors {
    fn add(&mut self, other: Self) {
        for (sum, count) in [
            (&mut self.request, other.request),
            (&mut self.connection, other.connection),
            (&mut self.response, other.response),
            (&mut self.denied, other.denied),
            (&mut self.status_5xx, other.status_5xx),
        ] {
            *sum = sum.saturating_add(count);
        }
    }

    /// Those that are not the clients' own.
    fn judged(self) -> [(u64, &'static str); 3] {
        [
            (self.connection, "connection error"),
            (self.response, "response error"),
            (self.status_5xx, "5xx response"),
        ]
    }
}

impl Report {
    /// Reads the text of `show stat`, or of the statistics page as CSV. Errors of a kind count as a problem where
    /// they are more than `tolerated` percent of a proxy's requests.
    pub fn read(stat: &str, tolerated: f64) -> Result<Self, DumpError> {
        let mut rows = Rows::read(stat)?;
        let columns = Columns::find(&rows)?;
        let mut report = Self::default();
        while rows.advance()? {
            let row = Row { rows: &rows, columns: &columns };
            match &*rows.get(Some(columns.kind)) {
                "0" => report.add_proxy(row.proxy(Side::Frontend)),
                "1" => report.add_proxy(row.proxy(Side::Backend)),
                "2" => report.servers.push(row.server()),
                // Listeners; their frontend has all of it.
                _ => {}
            }
        }
        report.problems = report.find_problems(tolerated);
        Ok(report)
    }

    fn add_proxy(&mut self, proxy: Proxy) {
        match proxy.side {
            Side::Frontend => self.totals.frontends.add(proxy.errors),
            Side::Backend => self.totals.backends.add(proxy.errors),
        }
        self.proxies.push(proxy);
    }

    fn find_problems(&self, tolerated: f64) -> Vec<String> {
        let down = self.proxies.iter().filter(|proxy| proxy.health == Health::Down);
        let down = down.map(|proxy| format!("{} `{}` is {}", proxy.side.word(), proxy.name, proxy.status));
        let servers = self.servers.iter().filter(|server| server.health == Health::Down).map(server_problem);
        let erring = self.proxies.iter().filter_map(|proxy| erring(proxy, tolerated));
        down.chain(servers).chain(erring).collect()
    }
}

fn server_problem(server: &Server) -> String {
    let why: Vec<&str> =
        [&*server.check, &*server.last_check].into_iter().filter(|text| !text.is_empty()).collect();
    let why = if why.is_empty() { String::new() } else { format!(": {}", why.join(", ")) };
    format!("server `{}/{}` is {}{why}", server.backend, server.server, server.status)
}

fn erring(proxy: &Proxy, tolerated: f64) -> Option<String> {
    // Counters are far below what a float holds exactly, and a share need not be exact.
    #[allow(clippy::cast_precision_loss)]
    let is_too_many = |count: u64| count > 0 && count as f64 * 100.0 > tolerated * proxy.requests as f64;
    let kinds = proxy.errors.judged().into_iter().filter(|(count, _)| is_too_many(*count));
    let kinds: Vec<String> = kinds.map(|(count, kind)| counted(count, kind)).collect();
    (!kinds.is_empty()).then(|| {
        let (side, requests) = (proxy.side.word(), counted(proxy.requests, "request"));
        format!("{side} `{}` has {} in {requests}", proxy.name, kinds.join(", "))
    })
}

fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

struct Columns {
    kind: usize,
    status: usize,
    since: Option<usize>,
    sessions: Option<usize>,
    sessions_now: Option<usize>,
    check: Option<usize>,
    last_check: Option<usize>,
    failed_checks: Option<usize>,
    queue: Option<usize>,
    queue_peak: Option<usize>,
    response: Option<usize>,
    requests: Option<usize>,
    request_errors: Option<usize>,
    connection_errors: Option<usize>,
    response_errors: Option<usize>,
    denied_requests: Option<usize>,
    denied_responses: Option<usize>,
    status_5xx: Option<usize>,
}

impl Columns {
    fn find(rows: &Rows<'_>) -> Result<Self, DumpError> {
        let needed = |name| rows.column(name).ok_or(DumpError::Column(name));
        Ok(Self {
            kind: needed("type")?,
            status: needed("status")?,
            since: rows.column("lastchg"),
            sessions: rows.column("stot"),
            sessions_now: rows.column("scur"),
            check: rows.column("check_status"),
            last_check: rows.column("last_chk"),
            failed_checks: rows.column("chkfail"),
            queue: rows.column("qcur"),
            queue_peak: rows.column("qmax"),
            response: rows.column("rtime"),
            requests: rows.column("req_tot"),
            request_errors: rows.column("ereq"),
            connection_errors: rows.column("econ"),
            response_errors: rows.column("eresp"),
            denied_requests: rows.column("dreq"),
            denied_responses: rows.column("dresp"),
            status_5xx: rows.column("hrsp_5xx"),
        })
    }
}

struct Row<'r, 'a> {
    rows: &'r Rows<'a>,
    columns: &'r Columns,
}

impl Row<'_, '_> {
    fn text(&self, column: Option<usize>) -> String {
        clean(&self.rows.get(column))
    }

    fn names(&self) -> (String, String) {
        let (proxy, server) = self.rows.names();
        (clean(&proxy), clean(&server))
    }

    fn number(&self, column: Option<usize>) -> Option<u64> {
        self.rows.get(column).parse().ok()
    }

    fn count(&self, column: Option<usize>) -> u64 {
        self.number(column).unwrap_or(0)
    }

    fn server(&self) -> Server {
        let columns = self.columns;
        let (backend, server) = self.names();
        let status = self.text(Some(columns.status));
        let check = self.text(columns.check);
        Server {
            backend,
            server,
            health: server_health(&status),
            status,
            since: self.number(columns.since).map(Duration::from_secs),
            sessions: self.count(columns.sessions),
            sessions_now: self.count(columns.sessions_now),
            // A check that is under way stands before the last result.
            check: check.strip_prefix("* ").unwrap_or(&check).to_owned(),
            last_check: self.text(columns.last_check),
            failed_checks: self.number(columns.failed_checks),
            queue: self.count(columns.queue),
            queue_peak: self.count(columns.queue_peak),
            response: self.number(columns.response),
        }
    }

    fn proxy(&self, side: Side) -> Proxy {
        let columns = self.columns;
        let status = self.text(Some(columns.status));
        Proxy {
            name: self.names().0,
            side,
            health: proxy_health(side, &status),
            status,
            requests: self.number(columns.requests).unwrap_or_default().max(self.count(columns.sessions)),
            errors: Errors {
                request: self.count(columns.request_errors),
                connection: self.count(columns.connection_errors),
                response: self.count(columns.response_errors),
                denied: self
                    .count(columns.denied_requests)
                    .saturating_add(self.count(columns.denied_responses)),
                status_5xx: self.count(columns.status_5xx),
            },
        }
    }
}

/// Without characters that a terminal would obey: a page may come from anywhere.
fn clean(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

fn server_health(status: &str) -> Health {
    match Status::from(status).kind {
        Kind::Up | Kind::NoCheck => Health::Up,
        Kind::Nolb | Kind::Drain | Kind::Maint | Kind::MaintVia => Health::Out,
        Kind::Down | Kind::MaintResolution | Kind::Unknown => Health::Down,
    }
}

/// A frontend is `OPEN`, `FULL`, `PAUSED` or `STOP`, a backend `UP` or `DOWN`.
fn proxy_health(side: Side, status: &str) -> Health {
    let well = match side {
        Side::Frontend => "OPEN",
        Side::Backend => "UP",
    };
    if status == well { Health::Up } else { Health::Down }
}

/// As a number that people and programs can read.
// serde asks for this signature.
#[allow(clippy::ref_option)]
fn seconds<S: serde::Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(|time| time.as_secs()).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEADER: &str = "# pxname,svname,qcur,qmax,scur,stot,dreq,dresp,ereq,econ,eresp,status,chkfail,lastchg,type,\
                          check_status,hrsp_5xx,req_tot,rtime,last_chk,\n";

    fn report(rows: &str, tolerated: f64) -> Report {
        Report::read(&format!("{HEADER}{rows}\n"), tolerated).unwrap()
    }

    #[test]
    fn the_rows_become_servers_and_proxies() {
        let rows = "www,FRONTEND,,,1,100,1,2,3,,,OPEN,,,0,,4,200,,,\n\
                    www,sock-1,,,1,100,1,2,3,,,OPEN,,,3,,4,200,,,\n\
                    app,web1,1,7,2,90,,,,5,6,DOWN 1/2,8,9,2,* L4CON,4,80,12,\"refused, \"\"really\"\"\",\n\
                    app,BACKEND,1,7,2,90,1,,,5,6,UP,,9,1,,4,80,12,,\n";
        let report = report(rows, 0.0);
        let [server] = &report.servers[..] else { panic!("{report:#?}") };
        let expected = Server {
            backend: "app".into(),
            server: "web1".into(),
            status: "DOWN 1/2".into(),
            health: Health::Down,
            since: Some(Duration::from_secs(9)),
            sessions: 90,
            sessions_now: 2,
            check: "L4CON".into(),
            last_check: "refused, \"really\"".into(),
            failed_checks: Some(8),
            queue: 1,
            queue_peak: 7,
            response: Some(12),
        };
        assert_eq!(*server, expected);
        let [www, app] = &report.proxies[..] else { panic!("{report:#?}") };
        let of_www = Errors { request: 3, denied: 3, status_5xx: 4, ..Errors::default() };
        assert_eq!((www.side, www.requests, www.errors), (Side::Frontend, 200, of_www));
        let of_app = Errors { connection: 5, response: 6, denied: 1, status_5xx: 4, request: 0 };
        assert_eq!((app.side, app.requests, app.errors), (Side::Backend, 90, of_app));
        assert_eq!(report.totals, Totals { frontends: of_www, backends: of_app });
        let json = serde_json::to_value(server).unwrap();
        assert_eq!((&json["since_seconds"], &json["health"]), (&9.into(), &"down".into()));
        assert_eq!(
            report.problems,
            [
                "server `app/web1` is DOWN 1/2: L4CON, refused, \"really\"",
                "frontend `www` has 4 5xx responses in 200 requests",
                "backend `app` has 5 connection errors, 6 response errors, 4 5xx responses in 90 requests",
            ]
        );
    }

    #[test]
    fn nothing_is_shown_that_a_terminal_would_obey() {
        let report = report("p\x1b[2J,s,,,,,,,,,,\"DOWN\n\",,,2,,,,,\"a\r\",\n", 0.0);
        assert_eq!(report.problems, ["server `p [2J/s` is DOWN : a "]);
    }

    #[test]
    fn each_status_is_judged() {
        for (kind, status, problem) in [
            ("2", "UP", ""),
            ("2", "UP 1/3", ""),
            ("2", "no check", ""),
            ("2", "MAINT", ""),
            ("2", "DRAIN", ""),
            ("2", "NOLB", ""),
            ("2", "MAINT (via a/b)", ""),
            ("2", "MAINT (resolution)", "server `p/s` is MAINT (resolution)"),
            ("2", "DOWN (agent)", "server `p/s` is DOWN (agent)"),
            ("2", "", "server `p/s` is "),
            ("1", "UP", ""),
            ("1", "DOWN", "backend `p` is DOWN"),
            ("0", "OPEN", ""),
            ("0", "FULL", "frontend `p` is FULL"),
            ("0", "STOP", "frontend `p` is STOP"),
            ("3", "DOWN", ""),
        ] {
            let report = report(&format!("p,s,,,,,,,,,,{status},,,{kind},,,,,,\n"), 0.0);
            assert_eq!(report.problems.concat(), problem, "{kind} {status}");
        }
    }

    #[test]
    fn errors_are_problems_beyond_what_is_tolerated() {
        let problems = |econ: u64, requests: u64, tolerated| {
            report(&format!("p,BACKEND,,,,,9,9,9,{econ},,UP,,,1,,,{requests},,,\n"), tolerated).problems.len()
        };
        assert_eq!(problems(0, 100, 0.0), 0, "denied requests and those that cannot be read are no problem");
        assert_eq!(problems(1, 100, 0.0), 1);
        assert_eq!(problems(1, 100, 1.0), 0);
        assert_eq!(problems(2, 100, 1.0), 1);
        assert_eq!(problems(1, 0, 50.0), 1, "no request, and an error all the same");
    }

    #[test]
    fn columns_that_are_not_there_count_nothing() {
        let report = Report::read("# pxname,svname,status,type,\np,s,UP,2,\n", 0.0).unwrap();
        assert_eq!((report.servers[0].sessions, report.servers[0].response), (0, None));
        let missing = Report::read("# pxname,svname,status,\n", 0.0).unwrap_err();
        assert_eq!(missing, DumpError::Column("type"));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[a0123,\"\n# -]{0,200}", tolerated in -1.0..200.0) {
            let _ = Report::read(&text, tolerated);
            let _ = Report::read(&format!("{HEADER}{text}"), tolerated);
        }
    }
}
