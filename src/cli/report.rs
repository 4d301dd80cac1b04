//! `report`: how HAProxy fares.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anstyle::Style;
use serde::Serialize;

use super::commands::ReportArgs;
use super::screen::{BAD, DOUBTFUL, GOOD, HEADING, Screen, Table, paint};
use super::status::span;
use super::{FAILED, Failure, site};
use crate::control::{Statistics, statistics};
use crate::haproxy::{DumpError, Info, info_and_stat};
use crate::net::{Endpoint, HttpUrl, Limits, get};
use crate::stats::{Errors, Health, Proxy, Report, Server};

/// The largest page that is taken, as over a socket.
const MAX_PAGE: usize = 64 * 1024 * 1024;
/// Where the password may be, so that no list of processes shows it.
const PASSWORD: &str = "SUPERVISOR_HAPROXY_REPORT_PASSWORD";

pub(super) fn run(args: &ReportArgs) -> Result<u8, Failure> {
    let found = Found { reports: Source::of(args)?.read(args)? };
    let mut screen = Screen::new();
    if args.json {
        screen.line(serde_json::to_string(&found.as_json()).map_err(std::io::Error::from)?);
    } else {
        found.lines().into_iter().for_each(|line| screen.line(line));
    }
    Ok(if found.is_well() { 0 } else { FAILED })
}

// --- who is asked

enum Source {
    File,
    Page(HttpUrl),
    Sockets(Vec<Endpoint>),
}

impl Source {
    fn of(args: &ReportArgs) -> Result<Self, Failure> {
        let is_page = args.source.as_ref().is_some_and(|text| text.starts_with("http"));
        let mut problems = Vec::new();
        if !is_page {
            let given = [("--user", args.user.is_some()), ("--password-file", args.password_file.is_some())];
            let given = given.into_iter().filter(|(_, is_given)| *is_given);
            problems.extend(given.map(|(name, _)| format!("{name} goes with a URL, and with nothing else")));
        }
        let source = match &args.source {
            _ if args.csv.is_some() => Ok(Self::File),
            Some(text) if is_page => page(text, args).map(Self::Page),
            Some(text) => match text.parse() {
                Ok(endpoint) => Ok(Self::Sockets(vec![endpoint])),
                Err(error) => Err(format!("SOCKET `{text}`: {error}, or a URL of HAProxy's statistics")),
            },
            None if problems.is_empty() => return site::haproxies(&args.site).map(Self::Sockets),
            None => return Err(Failure::Usage(problems)),
        };
        match source {
            Ok(source) if problems.is_empty() => Ok(source),
            Ok(_) => Err(Failure::Usage(problems)),
            Err(problem) => {
                problems.push(problem);
                Err(Failure::Usage(problems))
            }
        }
    }

    fn read(self, args: &ReportArgs) -> Result<Vec<One>, Failure> {
        let tolerated = args.tolerate;
        match self {
            Self::File => {
                let path = args.csv.as_deref().unwrap_or(Path::new(""));
                let text = fs::read(path)
                    .map_err(|error| Failure::Usage(vec![format!("--csv {}: {error}", path.display())]))?;
                let text = String::from_utf8_lossy(&text);
                Ok(vec![One::of_stat(path.display().to_string(), None, &text, tolerated)])
            }
            Self::Page(url) => {
                let name = url.to_string();
                Ok(vec![match get(&url, Limits { time: args.timeout, bytes: MAX_PAGE }) {
                    Ok(page) => One::of_stat(name, None, &String::from_utf8_lossy(&page), tolerated),
                    Err(fault) => One { report: Err(fault.to_string()), source: name, info: None },
                }])
            }
            Self::Sockets(sockets) => {
                let answers = statistics(&sockets, args.timeout)?.into_iter().zip(&sockets);
                Ok(answers.map(|(answer, socket)| One::of_answer(socket, answer, tolerated)).collect())
            }
        }
    }
}

/// The page, and who asks for it.
fn page(text: &str, args: &ReportArgs) -> Result<HttpUrl, String> {
    let mut url: HttpUrl = text.parse().map_err(|error| format!("URL: {error}"))?;
    if let Some(user) = &args.user {
        if url.user.is_some() {
            return Err("--user: the URL names a user already".into());
        }
        url.user = Some(user.clone());
    }
    match (&url.user, &url.password) {
        (None, _) if args.password_file.is_some() => {
            Err("--password-file: whose password is it? Pass --user NAME".into())
        }
        (Some(_), Some(_)) if args.password_file.is_some() => {
            Err("--password-file: the URL holds a password already".into())
        }
        (Some(user), None) => {
            url.password = Some(password(user, args.password_file.as_deref())?);
            Ok(url)
        }
        _ => Ok(url),
    }
}

fn password(user: &str, file: Option<&Path>) -> Result<String, String> {
    match file {
        Some(path) => {
            let text = fs::read_to_string(path)
                .map_err(|error| format!("--password-file {}: {error}", path.display()))?;
            Ok(text.lines().next().unwrap_or_default().to_owned())
        }
        None => std::env::var(PASSWORD).map_err(|_| {
            format!("the password of `{user}` is missing; pass --password-file FILE, or set {PASSWORD}")
        }),
    }
}

// --- what they told

/// One HAProxy process; in words, why nothing is known of it.
struct One {
    source: String,
    info: Option<Info>,
    report: Result<Report, String>,
}

impl One {
    fn of_stat(source: String, info: Option<Info>, text: &str, tolerated: f64) -> Self {
        let report = info_and_stat(text).and_then(|(_, stat)| Report::read(stat, tolerated));
        let report = report.map_err(|error| match error {
            DumpError::Header(_) => {
                "this is no `show stat`, nor HAProxy's statistics page with `;csv` at its end".to_owned()
            }
            error => error.to_string(),
        });
        Self { source, info, report }
    }

    fn of_answer(socket: &Endpoint, answer: Result<Statistics, String>, tolerated: f64) -> Self {
        let source = socket.to_string();
        match answer {
            Ok(texts) => Self::of_stat(source, Some(Info::parse(&texts.info)), &texts.stat, tolerated),
            Err(why) => Self { source, info: None, report: Err(why) },
        }
    }

    fn problems(&self) -> Vec<String> {
        match &self.report {
            Ok(report) => report.problems.clone(),
            Err(why) => vec![format!("{}: {why}", self.source)],
        }
    }

    fn lines(&self) -> Vec<String> {
        let version = self.info.as_ref().and_then(|info| info.version.clone());
        let uptime = self.info.as_ref().and_then(|info| info.uptime).map(Duration::from_secs);
        let mut heading = format!("HAProxy {}", self.source);
        heading.extend(version.map(|version| format!(", version {version}")));
        heading.extend(uptime.map(|uptime| format!(", up {}", span(uptime))));
        let mut lines = vec![paint(HEADING, heading)];
        if let Ok(report) = &self.report {
            if !report.servers.is_empty() {
                lines.push(String::new());
                lines.extend(servers(&report.servers).lines());
            }
            lines.push(String::new());
            lines.extend(errors(report).lines());
        }
        lines.push(String::new());
        let problems = self.problems();
        if problems.is_empty() {
            lines.push(paint(GOOD, "all is well"));
        }
        lines.extend(problems.iter().map(|problem| format!("{}: {problem}", paint(BAD, "!"))));
        lines
    }
}

struct Found {
    reports: Vec<One>,
}

impl Found {
    fn is_well(&self) -> bool {
        self.reports.iter().all(|one| one.problems().is_empty())
    }

    fn lines(&self) -> Vec<String> {
        let pages: Vec<Vec<String>> = self.reports.iter().map(One::lines).collect();
        pages.join(&String::new())
    }

    fn as_json(&self) -> impl Serialize + '_ {
        #[derive(Serialize)]
        struct All<'a> {
            well: bool,
            reports: Vec<Each<'a>>,
        }
        #[derive(Serialize)]
        struct Each<'a> {
            source: &'a str,
            version: Option<&'a str>,
            uptime_seconds: Option<u64>,
            error: Option<&'a str>,
            #[serde(flatten)]
            report: Option<&'a Report>,
        }
        let reports = self.reports.iter().map(|one| Each {
            source: &one.source,
            version: one.info.as_ref().and_then(|info| info.version.as_deref()),
            uptime_seconds: one.info.as_ref().and_then(|info| info.uptime),
            error: one.report.as_ref().err().map(String::as_str),
            report: one.report.as_ref().ok(),
        });
        All { well: self.is_well(), reports: reports.collect() }
    }
}

// --- for people

fn plain(text: &dyn ToString) -> (String, Style) {
    (text.to_string(), Style::new())
}

fn style(health: Health) -> Style {
    match health {
        Health::Up => GOOD,
        Health::Out => DOUBTFUL,
        Health::Down => BAD,
    }
}

fn servers(servers: &[Server]) -> Table {
    let mut table = Table::headed(&[
        "SERVER", "STATUS", "SINCE", "SESSIONS", "NOW", "CHECK", "FAILED", "QUEUE", "PEAK", "RESPONSE",
    ]);
    for server in servers {
        let since = server.since.map_or_else(String::new, span);
        let failed = server.failed_checks.map_or_else(String::new, |count| count.to_string());
        let response = server.response.map_or_else(String::new, |time| format!("{time}ms"));
        let queue = if server.queue > 0 { DOUBTFUL } else { Style::new() };
        table.row(vec![
            plain(&format!("{}/{}", server.backend, server.server)),
            (server.status.clone(), style(server.health)),
            plain(&since),
            plain(&server.sessions),
            plain(&server.sessions_now),
            plain(&server.check),
            plain(&failed),
            (server.queue.to_string(), queue),
            plain(&server.queue_peak),
            plain(&response),
        ]);
    }
    table
}

fn errors(report: &Report) -> Table {
    let mut table = Table::headed(&[
        "ERRORS",
        "STATUS",
        "REQUESTS",
        "REQUEST",
        "CONNECTION",
        "RESPONSE",
        "DENIED",
        "5XX",
    ]);
    for proxy in &report.proxies {
        table.row(proxy_row(proxy));
    }
    for (name, errors) in [("frontends", report.totals.frontends), ("backends", report.totals.backends)] {
        let mut cells = vec![(format!("all {name}"), HEADING), plain(&""), plain(&"")];
        cells.extend(counts(errors));
        table.row(cells);
    }
    table
}

fn proxy_row(proxy: &Proxy) -> Vec<(String, Style)> {
    let mut cells = vec![
        plain(&format!("{} {}", proxy.side.word(), proxy.name)),
        (proxy.status.clone(), style(proxy.health)),
        plain(&proxy.requests),
    ];
    cells.extend(counts(proxy.errors));
    cells
}

fn counts(errors: Errors) -> [(String, Style); 5] {
    let judged = |count: u64| (count.to_string(), if count > 0 { BAD } else { Style::new() });
    [
        plain(&errors.request),
        judged(errors.connection),
        judged(errors.response),
        plain(&errors.denied),
        judged(errors.status_5xx),
    ]
}
