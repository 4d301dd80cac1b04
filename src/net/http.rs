//! One GET or POST over HTTP or HTTPS. It blocks; nothing is followed to another place, where credentials might be sent
//! along, and no proxy is asked.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use thiserror::Error;
use ureq::tls::{RootCerts, TlsConfig};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

use super::Limits;

/// `http(s)://[USER[:PASSWORD]@]HOST[:PORT][/PATH]`.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpUrl {
    /// Without user and password: this may be shown.
    shown: String,
    scheme: &'static str,
    host: String,
    port: u16,
    /// Who asks, where the URL says so.
    pub user: Option<String>,
    /// Never shown.
    pub password: Option<String>,
}

/// Why a text is no URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HttpUrlError {
    /// Another scheme.
    #[error("expected `http://HOST:PORT/PATH` or `https://HOST:PORT/PATH`")]
    Scheme,
    /// No host.
    #[error("the host is missing")]
    Host,
    /// No port, or one above 65535.
    #[error("the port must be a number up to 65535")]
    Port,
    /// A space, say.
    #[error("it holds a character that no URL has")]
    Character,
}

impl FromStr for HttpUrl {
    type Err = HttpUrlError;

    fn from_str(text: &str) -> Result<Self, HttpUrlError> {
        let (scheme, rest) = text.split_once("://").ok_or(HttpUrlError::Scheme)?;
        let (scheme, usual_port) = match scheme {
            "http" => ("http", 80),
            "https" => ("https", 443),
            _ => return Err(HttpUrlError::Scheme),
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        if host.is_empty() || host.starts_with(':') {
            return Err(HttpUrlError::Host);
        }
        let shown = format!("{scheme}://{host}{path}");
        let uri: ureq::http::Uri = shown.parse().map_err(|_| HttpUrlError::Character)?;
        let has_port = host.rsplit_once(']').map_or(host, |(_, rest)| rest).contains(':');
        if has_port && uri.port_u16().is_none() {
            return Err(HttpUrlError::Port);
        }
        let (user, password) = match user.map(|user| user.split_once(':').ok_or(user)) {
            Some(Ok((user, password))) => (Some(decoded(user)), Some(decoded(password))),
            Some(Err(user)) => (Some(decoded(user)), None),
            None => (None, None),
        };
        // What ureq connects to is what it reads, so it is what others are to judge.
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_ascii_lowercase();
        let host = host.strip_suffix('.').unwrap_or(&host).to_owned();
        let port = uri.port_u16().unwrap_or(usual_port);
        Ok(Self { shown, scheme, host, port, user, password })
    }
}

impl HttpUrl {
    /// A name in lower case, or an address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The one that is named, or the scheme's.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Scheme, host and port: for those who must not see the path, where webhooks have their secrets.
    #[must_use]
    pub fn origin(&self) -> String {
        let Self { scheme, host, port, .. } = self;
        if host.contains(':') {
            format!("{scheme}://[{host}]:{port}")
        } else {
            format!("{scheme}://{host}:{port}")
        }
    }

    fn authorization(&self) -> Option<String> {
        let user = self.user.as_ref()?;
        let password = self.password.as_deref().unwrap_or_default();
        Some(format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
    }
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HttpUrl({})", self.shown)
    }
}

/// Why there is no page.
#[derive(Debug, Error)]
pub enum HttpFault {
    /// The server wants to know who asks, or knows and does not like it.
    #[error("HTTP status 401: name and password are wanted, or wrong")]
    Unauthorized,
    /// Any other than 200.
    #[error("HTTP status {0}")]
    Status(u16),
    /// The time ran out; in which phase.
    #[error("no complete reply within {1:?} (phase: {0})")]
    Timeout(ureq::Timeout, Duration),
    /// More page than any sane server sends.
    #[error("the reply is longer than {0} bytes")]
    TooLong(u64),
    /// No such host, no connection, a certificate that this host does not trust.
    #[error("{0}")]
    Io(#[source] std::io::Error),
    /// What else ureq says: a reply that is no HTTP, say.
    #[error("{0}")]
    Other(#[source] ureq::Error),
}

/// The page, whole. Blocks for `limits.time` at most; certificates are those that this host trusts.
pub fn get(url: &HttpUrl, limits: Limits) -> Result<Vec<u8>, HttpFault> {
    page(&agent(limits.time, DefaultResolver::default()), url, limits)
}

/// The same, from one of these addresses, whatever the name means by now.
pub fn get_from(addresses: &[SocketAddr], url: &HttpUrl, limits: Limits) -> Result<Vec<u8>, HttpFault> {
    page(&agent(limits.time, Fixed(addresses.to_vec())), url, limits)
}

/// What a server said to a POST; what else it sent is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PostReply {
    /// The status code.
    pub status: u16,
    /// When to come back, where it says so in seconds.
    pub retry_after: Option<Duration>,
}

/// Sends a body to one of these addresses, whatever the name means by now; without any, to where it leads. Blocks for
/// `time` at most.
pub fn post(
    addresses: Option<&[SocketAddr]>,
    url: &HttpUrl,
    headers: &[(&str, &str)],
    body: &[u8],
    time: Duration,
) -> Result<PostReply, HttpFault> {
    let agent = match addresses {
        Some(addresses) => agent(time, Fixed(addresses.to_vec())),
        None => agent(time, DefaultResolver::default()),
    };
    let mut request = agent.post(&url.shown);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    if let Some(authorization) = url.authorization() {
        request = request.header("Authorization", authorization);
    }
    let response = request.send(body).map_err(|error| fault(error, time))?;
    let retry_after =
        response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
    Ok(PostReply { status: response.status().as_u16(), retry_after: retry_after.map(Duration::from_secs) })
}

fn agent(time: Duration, resolver: impl Resolver) -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(time))
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .user_agent("supervisor-haproxy")
        .tls_config(TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build())
        .build();
    ureq::Agent::with_parts(config, DefaultConnector::default(), resolver)
}

/// Addresses that somebody has found good: a name that means something else at the next look-up is not looked up.
#[derive(Debug)]
struct Fixed(Vec<SocketAddr>);

impl Resolver for Fixed {
    fn resolve(
        &self,
        _: &ureq::http::Uri,
        _: &ureq::config::Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut addresses = self.empty();
        // It has room for sixteen, and panics beyond.
        self.0.iter().take(16).for_each(|address| addresses.push(*address));
        if addresses.is_empty() { Err(ureq::Error::HostNotFound) } else { Ok(addresses) }
    }
}

fn fault(error: ureq::Error, time: Duration) -> HttpFault {
    match error {
        ureq::Error::Timeout(phase) => HttpFault::Timeout(phase, time),
        ureq::Error::BodyExceedsLimit(limit) => HttpFault::TooLong(limit),
        ureq::Error::Io(error) => HttpFault::Io(error),
        error => HttpFault::Other(error),
    }
}

fn page(agent: &ureq::Agent, url: &HttpUrl, limits: Limits) -> Result<Vec<u8>, HttpFault> {
    let mut request = agent.get(&url.shown);
    if let Some(authorization) = url.authorization() {
        request = request.header("Authorization", authorization);
    }
    let mut response = request.call().map_err(|error| fault(error, limits.time))?;
    match response.status().as_u16() {
        200 => {}
        401 => return Err(HttpFault::Unauthorized),
        status => return Err(HttpFault::Status(status)),
    }
    let limit = u64::try_from(limits.bytes).unwrap_or(u64::MAX);
    response.body_mut().with_config().limit(limit).read_to_vec().map_err(|error| fault(error, limits.time))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_shown_holds_no_password() {
        let url: HttpUrl = "http://me%40x:se%3Acret@h:81/stats;csv".parse().unwrap();
        assert_eq!(url.to_string(), "http://h:81/stats;csv");
        assert_eq!(format!("{url:?}"), "HttpUrl(http://h:81/stats;csv)");
        assert_eq!((url.user.as_deref(), url.password.as_deref()), (Some("me@x"), Some("se:cret")));
        let url: HttpUrl = "https://me@[::1]/;csv".parse().unwrap();
        assert_eq!((url.user.as_deref(), url.password), (Some("me"), None));
        for (text, host, port, origin) in [
            ("http://me:x@H.Example.:81/secret", "h.example", 81, "http://h.example:81"),
            ("https://h/secret", "h", 443, "https://h:443"),
            ("http://[::1]/", "::1", 80, "http://[::1]:80"),
        ] {
            let url: HttpUrl = text.parse().unwrap();
            assert_eq!((url.host(), url.port(), &*url.origin()), (host, port, origin));
        }
        for (text, error) in [
            ("ftp://h/", HttpUrlError::Scheme),
            ("h:80", HttpUrlError::Scheme),
            ("http:///x", HttpUrlError::Host),
            ("http://me@:80/", HttpUrlError::Host),
            ("http://h/a b", HttpUrlError::Character),
            ("http://h:99999999/", HttpUrlError::Port),
            ("http://[::1]:x/", HttpUrlError::Port),
        ] {
            assert_eq!(text.parse::<HttpUrl>(), Err(error), "{text}");
        }
    }

    /// Asks a server that answers like this, and then keeps the connection open.
    fn ask(reply: &str) -> Result<String, String> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://me:secret@{}/;csv", listener.local_addr().unwrap());
        let reply = reply.to_owned();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") {
                stream.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
            stream.write_all(reply.as_bytes()).unwrap();
            let _ = stream.read(&mut byte);
            String::from_utf8(head).unwrap().to_lowercase()
        });
        let limits = Limits { time: Duration::from_secs(2), bytes: 100 };
        let page = get(&url.parse().unwrap(), limits);
        let head = server.join().unwrap();
        assert!(head.starts_with("get /;csv http/1.1\r\n") && head.contains("basic bwu6c2vjcmv0"), "{head}");
        page.map(|page| String::from_utf8(page).unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_page_is_taken_whole_or_not_at_all() {
        assert_eq!(ask("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"), Ok("abc".into()));
        assert_eq!(ask("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"), Err("HTTP status 404".into()));
        let elsewhere = "HTTP/1.1 302 Found\r\nLocation: http://example.com/\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(ask(elsewhere), Err("HTTP status 302".into()));
        assert!(ask("HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n").unwrap_err().contains("status 401"));
        assert_eq!(
            ask("HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\nabc").unwrap_err(),
            "no complete reply within 2s (phase: global)"
        );
        let endless = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(101));
        assert_eq!(ask(&endless).unwrap_err(), "the reply is longer than 100 bytes");
    }

    #[test]
    fn nobody_there_is_said_so() {
        let limits = Limits { time: Duration::from_secs(5), bytes: 100 };
        let error = get(&"http://127.0.0.1:1/".parse().unwrap(), limits).unwrap_err().to_string();
        assert!(error.contains("Connection refused"), "{error}");
    }
}
