//! supervisord's XML-RPC interface: where it is, the calls that are made, and what comes back. A call is one
//! HTTP request over a connection of its own; [`crate::net::Exchange`] carries it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

use super::xml::{self, Parameter, Response, Value};
use super::{Pid, ProcessDetails, ProcessInfo, ProcessName, ProcessState};
use crate::net::{Endpoint, EndpointError, Limits, Question};

/// `SUPERVISOR_SERVER_URL`: `unix:///PATH` or `http://[USER:PASSWORD@]HOST:PORT[/PATH]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerUrl {
    /// Where to connect.
    pub endpoint: Endpoint,
    /// Who we are, where the URL says so.
    pub credentials: Option<Credentials>,
}

/// A user's name and password. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The name.
    pub user: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({}, …)", self.user)
    }
}

/// Why a URL cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ServerUrlError {
    /// Another scheme.
    #[error("expected `unix:///PATH` or `http://HOST:PORT`")]
    Scheme,
    /// A bad path, host or port.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
}

impl FromStr for ServerUrl {
    type Err = ServerUrlError;

    fn from_str(url: &str) -> Result<Self, ServerUrlError> {
        if url.starts_with("unix://") {
            return Ok(Self { endpoint: url.parse()?, credentials: None });
        }
        let rest = url.strip_prefix("http://").ok_or(ServerUrlError::Scheme)?;
        let authority = rest.split('/').next().unwrap_or_default();
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        let credentials = user
            .and_then(|user| user.split_once(':'))
            .map(|(user, password)| Credentials { user: user.to_owned(), password: password.to_owned() });
        Ok(Self { endpoint: Endpoint::http(host)?, credentials })
    }
}

/// A call of supervisord's interface (its manual, "XML-RPC API Documentation").
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// `supervisor.getState`: cheap; it wakes supervisord's loop, which then sends its own news.
    State,
    /// `supervisor.getPID`.
    Pid,
    /// `supervisor.getAllProcessInfo`.
    AllProcessInfo,
    /// `supervisor.getSupervisorVersion`.
    Version,
    /// `supervisor.startProcess` without waiting. While the process is still STOPPING, supervisord says yes
    /// and starts nothing.
    Start(ProcessName),
    /// `supervisor.stopProcess` without waiting.
    Stop(ProcessName),
    /// `supervisor.sendRemoteCommEvent`: an event `REMOTE_COMMUNICATION` for every listener that subscribed.
    RemoteCommEvent {
        /// The event's type.
        kind: String,
        /// Its data.
        data: String,
    },
}

/// Why a call gave nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RpcError {
    /// supervisord is shutting down or restarting (fault 6, `SHUTDOWN_STATE`).
    #[error("supervisord is shutting down")]
    ShuttingDown,
    /// HTTP status 401.
    #[error("user name and password are needed or wrong")]
    Unauthorized,
    /// Any other fault.
    #[error("fault {code}: {text}")]
    Fault {
        /// Its code.
        code: i64,
        /// Its words.
        text: String,
    },
    /// A reply that is no XML-RPC.
    #[error("{0}")]
    Malformed(String),
}

/// supervisord answers within milliseconds, unless it is busy or hangs.
const PATIENCE: Duration = Duration::from_secs(5);
/// Far more than the details of ten thousand processes.
const MAX_REPLY: usize = 64 * 1024 * 1024;
/// Faults that say what was wanted is so already (supervisor/xmlrpc.py, `Faults`).
const ALREADY_STARTED: i64 = 60;
const NOT_RUNNING: i64 = 70;

impl RpcError {
    /// Whether a start or a stop was refused because there was nothing to do.
    #[must_use]
    pub fn is_no_change(&self) -> bool {
        matches!(self, Self::Fault { code: ALREADY_STARTED | NOT_RUNNING, .. })
    }
}

impl Call {
    fn method(&self) -> &'static str {
        match self {
            Self::State => "supervisor.getState",
            Self::Pid => "supervisor.getPID",
            Self::AllProcessInfo => "supervisor.getAllProcessInfo",
            Self::Version => "supervisor.getSupervisorVersion",
            Self::Start(_) => "supervisor.startProcess",
            Self::Stop(_) => "supervisor.stopProcess",
            Self::RemoteCommEvent { .. } => "supervisor.sendRemoteCommEvent",
        }
    }

    fn body(&self) -> String {
        match self {
            Self::State | Self::Pid | Self::AllProcessInfo | Self::Version => xml::call(self.method(), &[]),
            Self::Start(name) | Self::Stop(name) => {
                let name = format!("{}:{}", name.group, name.process);
                xml::call(self.method(), &[Parameter::Text(&name), Parameter::Bool(false)])
            }
            Self::RemoteCommEvent { kind, data } => {
                xml::call(self.method(), &[Parameter::Text(kind), Parameter::Text(data)])
            }
        }
    }

    /// The whole HTTP request. HTTP/1.0, so that the server closes and never sends chunks.
    #[must_use]
    pub fn request(&self, credentials: Option<&Credentials>) -> Vec<u8> {
        let body = self.body();
        let authorization = credentials.map(authorization).unwrap_or_default();
        format!(
            "POST /RPC2 HTTP/1.0\r\nHost: localhost\r\n{authorization}Content-Type: text/xml\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    }

    /// The same for those who wait for the answer: five seconds, and 64 MiB at most.
    #[must_use]
    pub fn question(&self, credentials: Option<&Credentials>) -> Question {
        let limits = Limits { time: PATIENCE, bytes: MAX_REPLY };
        Question { request: self.request(credentials), is_whole, limits }
    }
}

fn authorization(Credentials { user, password }: &Credentials) -> String {
    format!("Authorization: Basic {}\r\n", STANDARD.encode(format!("{user}:{password}")))
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(name) | Self::Stop(name) => write!(f, "{} {name}", self.method()),
            _ => f.write_str(self.method()),
        }
    }
}

/// Reads the reply to [`Call::AllProcessInfo`].
pub fn processes(reply: &[u8]) -> Result<Vec<ProcessInfo>, RpcError> {
    Ok(details(reply)?.into_iter().map(|details| details.info).collect())
}

/// Reads the reply to [`Call::AllProcessInfo`], with all that is of use to people.
pub fn details(reply: &[u8]) -> Result<Vec<ProcessDetails>, RpcError> {
    let Value::Array(values) = value(reply)? else { return Err(unexpected("no array")) };
    values.into_iter().map(process).collect()
}

/// Reads the reply to [`Call::Pid`].
pub fn pid(reply: &[u8]) -> Result<Option<Pid>, RpcError> {
    match value(reply)? {
        Value::Int(number) => Ok(to_pid(number)),
        _ => Err(unexpected("no number")),
    }
}

/// Reads the reply to [`Call::Version`].
pub fn version(reply: &[u8]) -> Result<String, RpcError> {
    match value(reply)? {
        Value::Text(version) => Ok(version),
        _ => Err(unexpected("no text")),
    }
}

/// Reads a reply of which only success matters.
pub fn done(reply: &[u8]) -> Result<(), RpcError> {
    value(reply).map(|_| ())
}

fn process(value: Value) -> Result<ProcessDetails, RpcError> {
    let Value::Struct(mut members) = value else { return Err(unexpected("no struct")) };
    let mut text = |key: &str| match members.remove(key) {
        Some(Value::Text(text)) => Ok(text),
        _ => Err(unexpected(&format!("no text `{key}` in a process"))),
    };
    let name = ProcessName { group: text("group")?, process: text("name")? };
    let spawn_error = text("spawnerr").unwrap_or_default();
    let mut number = |key: &str| match members.remove(key) {
        Some(Value::Int(number)) => Ok(number),
        _ => Err(unexpected(&format!("no number `{key}` in a process"))),
    };
    let code = number("state")?;
    let state = ProcessState::from_code(code)
        .ok_or_else(|| unexpected(&format!("unknown state {code} of `{name}`")))?;
    let info = ProcessInfo { name, state, pid: to_pid(number("pid")?) };
    let mut epoch = |key: &str| number(key).ok().filter(|seconds| *seconds > 0);
    Ok(ProcessDetails {
        info,
        started: epoch("start"),
        ended: epoch("stop"),
        now: epoch("now").unwrap_or_default(),
        spawn_error,
        exit_status: number("exitstatus").unwrap_or_default(),
    })
}

fn to_pid(number: i64) -> Option<Pid> {
    u32::try_from(number).ok().and_then(Pid::new)
}

fn unexpected(what: &str) -> RpcError {
    RpcError::Malformed(format!("unexpected reply: {what}"))
}

/// supervisord's fault while it shuts down or restarts.
const SHUTDOWN_STATE: i64 = 6;

fn value(reply: &[u8]) -> Result<Value, RpcError> {
    let (status, body) = body(reply)?;
    match status {
        200 => {}
        401 => return Err(RpcError::Unauthorized),
        other => return Err(RpcError::Malformed(format!("HTTP status {other}"))),
    }
    let text = str::from_utf8(body).map_err(|_| unexpected("not UTF-8"))?;
    match xml::response(text).map_err(|error| RpcError::Malformed(error.to_string()))? {
        Response::Value(value) => Ok(value),
        Response::Fault { code: SHUTDOWN_STATE, .. } => Err(RpcError::ShuttingDown),
        Response::Fault { code, text } => Err(RpcError::Fault { code, text }),
    }
}

/// Splits a reply into its status and a body of the length that its head tells.
fn body(reply: &[u8]) -> Result<(u16, &[u8]), RpcError> {
    if reply.is_empty() {
        return Err(RpcError::Malformed("the connection was closed without a reply".into()));
    }
    let Head { status, start, length } = head(reply)
        .map_err(|error| RpcError::Malformed(format!("no HTTP reply: {error}")))?
        .ok_or_else(|| RpcError::Malformed("the reply is cut off".into()))?;
    let rest = reply.get(start..).unwrap_or_default();
    match length {
        Some(length) if rest.len() < length => {
            Err(RpcError::Malformed(format!("the reply is cut off after {} of {length} bytes", rest.len())))
        }
        Some(length) => Ok((status, rest.get(..length).unwrap_or_default())),
        None => Ok((status, rest)),
    }
}

struct Head {
    status: u16,
    start: usize,
    length: Option<usize>,
}

fn head(reply: &[u8]) -> Result<Option<Head>, httparse::Error> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(start) = response.parse(reply)? else { return Ok(None) };
    let length = response
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"))
        .and_then(|header| str::from_utf8(header.value).ok()?.trim().parse().ok());
    Ok(Some(Head { status: response.code.unwrap_or_default(), start, length }))
}

/// Whether a reply has come to the end that its head tells: supervisord leaves some connections open.
#[must_use]
pub fn is_whole(reply: &[u8]) -> bool {
    match head(reply) {
        Ok(Some(Head { start, length: Some(length), .. })) => reply.len() >= start.saturating_add(length),
        Ok(_) => false,
        Err(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn http(status: &str, body: &str) -> Vec<u8> {
        format!("HTTP/1.0 {status}\r\nServer: Medusa/1.12\r\nContent-Length: {}\r\n\r\n{body}", body.len())
            .into_bytes()
    }

    fn member(name: &str, value: &str) -> String {
        format!("<member>\n<name>{name}</name>\n<value>{value}</value>\n</member>\n")
    }

    fn answer(value: &str) -> Vec<u8> {
        let body = format!(
            "<methodResponse><params><param><value>{value}</value></param></params></methodResponse>"
        );
        http("200 OK", &body)
    }

    #[test]
    fn urls_of_supervisord_are_understood() {
        let read =
            |url: &str| url.parse::<ServerUrl>().map(|url| (url.endpoint.to_string(), url.credentials));
        assert_eq!(read("unix:///run/supervisor.sock"), Ok(("unix:///run/supervisor.sock".into(), None)));
        assert_eq!(read("http://localhost:9001"), Ok(("tcp://localhost:9001".into(), None)));
        assert_eq!(read("http://[::1]:9001/RPC2"), Ok(("tcp://[::1]:9001".into(), None)));
        assert_eq!(read("http://[::1]"), Ok(("tcp://[::1]:80".into(), None)));
        let credentials = Credentials { user: "me".into(), password: "p@ss:word".into() };
        assert_eq!(read("http://me:p@ss:word@h:1"), Ok(("tcp://h:1".into(), Some(credentials))));
        assert_eq!(read("https://h:1"), Err(ServerUrlError::Scheme));
        assert!(matches!(read("http://h:x"), Err(ServerUrlError::Endpoint(_))));
    }

    #[test]
    fn a_request_is_whole_and_carries_the_credentials() {
        let credentials = Credentials { user: "me".into(), password: "secret".into() };
        let request = String::from_utf8(Call::State.request(Some(&credentials))).unwrap();
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("POST /RPC2 HTTP/1.0\r\n"));
        assert!(head.contains("\r\nAuthorization: Basic bWU6c2VjcmV0\r\n"));
        assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())));
        assert!(body.contains("<methodName>supervisor.getState</methodName>"));
        assert!(!format!("{credentials:?}").contains("secret"));
    }

    #[test]
    fn parameters_are_written_as_xml() {
        let web = ProcessName { group: "app".into(), process: "a<b".into() };
        let request = String::from_utf8(Call::Stop(web).request(None)).unwrap();
        assert!(request.contains(
            "<params><param><value><string>app:a&lt;b</string></value></param>\
             <param><value><boolean>0</boolean></value></param></params>"
        ));
        let call = Call::RemoteCommEvent { kind: "k".into(), data: "{\"a\":\"&\"}".into() };
        let request = String::from_utf8(call.request(None)).unwrap();
        assert!(request.contains("<string>{&quot;a&quot;:&quot;&amp;&quot;}</string>"), "{request}");
    }

    #[test]
    fn processes_are_read() {
        let value = format!(
            "<array><data><value><struct>{}{}{}{}</struct></value></data></array>",
            member("name", "<string>web_00</string>"),
            member("group", "<string>web</string>"),
            member("state", "<int>20</int>"),
            member("pid", "<int>77</int>"),
        );
        let name = ProcessName { group: "web".into(), process: "web_00".into() };
        let expected = ProcessInfo { name, state: ProcessState::Running, pid: Pid::new(77) };
        assert_eq!(processes(&answer(&value)), Ok(vec![expected]));
        assert_eq!(details(&answer(&value)).unwrap()[0].uptime(), None, "another supervisord may tell less");
        assert_eq!(pid(&answer("<int>0</int>")), Ok(None));
    }

    #[test]
    fn failures_are_told_apart() {
        let fault = |code: i64| {
            let members = member("faultCode", &format!("<int>{code}</int>"))
                + &member("faultString", "<string>WHY</string>");
            let body = format!(
                "<methodResponse><fault><value><struct>{members}</struct></value></fault></methodResponse>"
            );
            done(&http("200 OK", &body)).unwrap_err()
        };
        assert_eq!(fault(6), RpcError::ShuttingDown);
        assert_eq!(fault(10), RpcError::Fault { code: 10, text: "WHY".into() });
        assert_eq!(done(&http("401 Unauthorized", "")), Err(RpcError::Unauthorized));
        let said = |reply: &[u8]| done(reply).unwrap_err().to_string();
        assert_eq!(said(b""), "the connection was closed without a reply");
        assert_eq!(said(&http("500 Internal Server Error", "")), "HTTP status 500");
        assert_eq!(said(b"SSH-2.0-OpenSSH\r\n\r\n"), "no HTTP reply: invalid HTTP version");
        assert_eq!(
            said(b"HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\nab"),
            "the reply is cut off after 2 of 9 bytes"
        );
    }

    #[test]
    fn a_reply_ends_where_its_head_says() {
        let reply = http("200 OK", "body");
        assert!(is_whole(&reply));
        assert!((0..reply.len()).all(|cut| !is_whole(&reply[..cut])));
        assert!(is_whole(b"SSH-2.0-OpenSSH\r\n"), "this will never be a reply");
    }

    proptest! {
        #[test]
        fn no_reply_makes_the_readers_panic(reply in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = is_whole(&reply);
            let _ = processes(&reply);
            let _ = processes(&[b"HTTP/1.1 200 OK\r\n\r\n<methodResponse><params><param><value>", &reply[..]].concat());
        }
    }
}
