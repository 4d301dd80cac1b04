//! `--probe URL`: whether a program answers, asked of itself, where HAProxy has no check that would tell.

use std::fmt;
use std::str::FromStr;
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::haproxy::ServerRef;
use crate::net::{Endpoint, Limits, Question, Switchboard};
use crate::supervisor::ProcessName;

/// A URL that may name the program: `{address}` is where HAProxy sends the server's requests, `{backend}`,
/// `{server}`, `{group}` and `{program}` are names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    template: String,
}

/// Why a text is no URL to probe.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ProbeError {
    /// Another scheme.
    #[error("expected `http://HOST:PORT/PATH`, as in `http://{{address}}/health`")]
    Scheme,
    /// A blank or a line end, which would end the request's line.
    #[error("a URL holds no blanks and no control characters")]
    Blank,
    /// Something else in braces.
    #[error("`{{{0}}}` is none of {{address}}, {{backend}}, {{server}}, {{group}}, {{program}}")]
    Placeholder(String),
}

/// For one try. A page that warms a program up takes its time; a hung one is asked again.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Between two tries that failed at once.
const PAUSE: Duration = Duration::from_millis(200);
/// The head of the answer; what follows is not read.
const MAX_REPLY: usize = 256 * 1024;

const PLACEHOLDERS: [&str; 5] = ["address", "backend", "server", "group", "program"];

impl FromStr for Probe {
    type Err = ProbeError;

    fn from_str(text: &str) -> Result<Self, ProbeError> {
        if !text.starts_with("http://") {
            return Err(ProbeError::Scheme);
        }
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(ProbeError::Blank);
        }
        let braced = text.split('{').skip(1).filter_map(|rest| rest.split_once('}'));
        match braced.map(|(name, _)| name).find(|name| !PLACEHOLDERS.contains(name)) {
            Some(name) => Err(ProbeError::Placeholder(name.to_owned())),
            None => Ok(Self { template: text.to_owned() }),
        }
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.template)
    }
}

impl Probe {
    /// Whether it asks something else for each program.
    #[must_use]
    pub fn names_the_program(&self) -> bool {
        self.template.contains('{')
    }

    /// One GET. Fine are the statuses that HAProxy's `option httpchk` takes for fine, 2xx and 3xx. Blocks for up
    /// to half a minute.
    pub fn ask(
        &self,
        program: &ProcessName,
        server: &ServerRef,
        address: Option<&str>,
    ) -> Result<(), String> {
        let url = self.url(program, server, address)?;
        let (authority, path) = split(&url);
        let endpoint = Endpoint::http(authority).map_err(|error| format!("{url}: {error}"))?;
        let status = get(endpoint, authority, path).map_err(|error| format!("{url}: {error}"))?;
        if (200..400).contains(&status) { Ok(()) } else { Err(format!("{url}: HTTP status {status}")) }
    }

    fn url(
        &self,
        program: &ProcessName,
        server: &ServerRef,
        address: Option<&str>,
    ) -> Result<String, String> {
        if address.is_none() && self.template.contains("{address}") {
            return Err(format!("HAProxy does not tell the address of {server}"));
        }
        let values = [
            address.unwrap_or_default(),
            server.backend(),
            server.server(),
            &program.group,
            &program.process,
        ];
        let pairs = PLACEHOLDERS.iter().zip(values);
        Ok(pairs.fold(self.template.clone(), |url, (name, value)| url.replace(&format!("{{{name}}}"), value)))
    }
}

/// A probe under way, in a thread of its own.
#[derive(Debug)]
pub(super) struct Probing {
    begun: Instant,
    outcome: Option<Receiver<Result<(), String>>>,
}

impl Probing {
    pub(super) fn begin(
        probe: Probe,
        program: ProcessName,
        server: ServerRef,
        address: Option<Box<str>>,
    ) -> Self {
        let (sender, outcome) = mpsc::channel();
        let ask = move || {
            // If nobody waits for it any more, the command has ended.
            let _ = sender.send(probe.ask(&program, &server, address.as_deref()));
        };
        let spawned = thread::Builder::new().name("probe".into()).spawn(ask);
        Self { begun: Instant::now(), outcome: spawned.ok().map(|_| outcome) }
    }

    /// Whether it has ended, and long enough ago to try again.
    pub(super) fn is_stale(&self) -> bool {
        self.outcome.is_none() && self.begun.elapsed() >= PAUSE
    }

    /// Its result, once.
    pub(super) fn result(&mut self) -> Option<Result<(), String>> {
        let result = match self.outcome.as_ref()?.try_recv() {
            Err(TryRecvError::Empty) => return None,
            Err(TryRecvError::Disconnected) => Err("the probe ended without a result".into()),
            Ok(result) => result,
        };
        self.outcome = None;
        Some(result)
    }
}

fn split(url: &str) -> (&str, &str) {
    let rest = url.strip_prefix("http://").unwrap_or(url);
    rest.find('/').map_or((rest, "/"), |at| rest.split_at(at))
}

fn get(endpoint: Endpoint, authority: &str, path: &str) -> Result<u16, String> {
    let request = format!(
        "GET {path} HTTP/1.0\r\nHost: {authority}\r\nUser-Agent: supervisor-haproxy\r\nConnection: close\r\n\r\n"
    );
    let limits = Limits { time: TIMEOUT, bytes: MAX_REPLY };
    let question =
        Question { request: request.into_bytes(), is_whole: |reply| status(reply).is_some(), limits };
    let mut board = Switchboard::new().map_err(|error| error.to_string())?;
    let peer = board.connect(endpoint);
    let reply = board.ask(peer, question).map_err(|error| error.to_string())?;
    let reply = reply.map_err(|fault| fault.to_string())?;
    status(&reply).unwrap_or_else(|| Err("closed without an answer".into()))
}

/// The status, once its line is there.
fn status(reply: &[u8]) -> Option<Result<u16, String>> {
    let mut headers = [httparse::EMPTY_HEADER; 0];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(reply) {
        Ok(_) | Err(httparse::Error::TooManyHeaders) => response.code.map(Ok),
        Err(error) => Some(Err(format!("no HTTP reply: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    fn program() -> ProcessName {
        ProcessName { group: "app".into(), process: "web1".into() }
    }

    fn ask(url: &str, address: Option<&str>) -> Result<(), String> {
        url.parse::<Probe>().unwrap().ask(&program(), &"be/s1".parse().unwrap(), address)
    }

    /// Answers one request; gives its address and what it was asked.
    fn web(answer: &'static str) -> (String, thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut bytes = [0; 1000];
            let count = stream.read(&mut bytes).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8_lossy(&bytes[..count]).into_owned()
        });
        (address, asked)
    }

    #[test]
    fn the_program_is_asked_where_haproxy_would_ask_it() {
        let (address, asked) = web("HTTP/1.1 204 No Content\r\nServer: x\r\n\r\n");
        assert_eq!(ask("http://{address}/up/{backend}/{server}/{group}/{program}", Some(&address)), Ok(()));
        let asked = asked.join().unwrap();
        assert!(asked.starts_with("GET /up/be/s1/app/web1 HTTP/1.0\r\n"), "{asked}");
        assert!(asked.contains(&format!("\r\nHost: {address}\r\n")), "{asked}");
    }

    #[test]
    fn anything_but_a_good_status_is_a_failure() {
        let (address, _) = web("HTTP/1.0 503 Busy\r\n\r\n");
        assert_eq!(
            ask("http://{address}", Some(&address)),
            Err(format!("http://{address}: HTTP status 503"))
        );
        let (address, _) = web("SSH-2.0-x\r\n");
        assert!(ask("http://{address}", Some(&address)).unwrap_err().contains("no HTTP reply"));
        let (address, _) = web("");
        assert!(ask("http://{address}", Some(&address)).unwrap_err().ends_with("closed without an answer"));
        assert_eq!(ask("http://{address}/", None), Err("HAProxy does not tell the address of be/s1".into()));
    }

    #[test]
    fn what_cannot_be_asked_is_refused_at_the_door() {
        let refused = |text: &str| text.parse::<Probe>().unwrap_err();
        assert_eq!(refused("https://h/"), ProbeError::Scheme);
        assert_eq!(refused("http://h/a b"), ProbeError::Blank);
        assert_eq!(refused("http://h/{port}"), ProbeError::Placeholder("port".into()));
        assert_eq!(
            refused("http://h/{port}").to_string(),
            "`{port}` is none of {address}, {backend}, {server}, {group}, {program}"
        );
    }
}
