//! One route: a host name, and where its requests go. What can be built here can be written into a configuration of
//! HAProxy, a map and a command without being anything else there.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use thiserror::Error;

use super::digest::Digest;
use crate::haproxy::Word;
use crate::net::{Endpoint, EndpointError};

/// The longest name in DNS (RFC 1035, 2.3.4).
const MAX_NAME: usize = 253;
/// The longest label.
const MAX_LABEL: usize = 63;
/// Longer than any path of a health check, and far below HAProxy's longest line.
const MAX_PATH: usize = 512;

/// A host name as requests have it, in lower case and without a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Host(Word);

/// Why a text is no host name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum HostError {
    /// It names a port.
    #[error("a route is for all ports: leave `:` and what follows away")]
    Port,
    /// It stands for several names.
    #[error("one route is one name: `*` is not supported")]
    Wildcard,
    /// A label that no name has.
    #[error(
        "expected a name as in `www.example.com`: labels of letters, digits, `-` and `_` between single dots"
    )]
    Form,
    /// Longer than names can be.
    #[error("it is longer than the {MAX_NAME} characters of a name, or a label than {MAX_LABEL}")]
    Long,
}

impl Host {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The same, for a command.
    #[must_use]
    pub fn word(&self) -> &Word {
        &self.0
    }
}

impl FromStr for Host {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        let name = text.to_ascii_lowercase();
        match () {
            () if name.contains(':') => Err(HostError::Port),
            () if name.contains('*') => Err(HostError::Wildcard),
            () if !name.split('.').all(is_label) => Err(HostError::Form),
            () if name.len() > MAX_NAME || name.split('.').any(|label| label.len() > MAX_LABEL) => {
                Err(HostError::Long)
            }
            () => Word::new("host", &name).map(Self).map_err(|_| HostError::Form),
        }
    }
}

fn is_label(label: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    !label.is_empty() && label.chars().all(allowed) && !label.starts_with('-') && !label.ends_with('-')
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where requests go: a server, and the page by which HAProxy checks it. It is one backend.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    host: String,
    port: u16,
    check: Option<Check>,
}

/// Why a text is no URL of a route.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UrlError {
    /// Another scheme, or none.
    #[error("expected `http://HOST:PORT`; TLS towards a server is not supported")]
    Scheme,
    /// A path, a query, a user.
    #[error("expected `http://HOST:PORT` and nothing behind it: requests keep their own paths")]
    Path,
    /// A name that is none.
    #[error("its host is none: {0}")]
    Host(#[from] HostError),
    /// Numbers that are read differently by different programs, as `127.0.010.1` is.
    #[error(
        "its host is neither a name nor an address: expected four numbers without leading zeros, as in `10.0.0.1`"
    )]
    Numbers,
    /// A host or port that cannot be connected to.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
}

impl Target {
    /// Reads `http://HOST:PORT`, where HOST is a name, an IPv4 address or an IPv6 address in brackets.
    pub fn new(url: &str, check: Option<Check>) -> Result<Self, UrlError> {
        let rest = url.strip_prefix("http://").ok_or(UrlError::Scheme)?;
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['/', '?', '#', '@', '\\']) {
            return Err(UrlError::Path);
        }
        let Endpoint::Tcp { host, port } = Endpoint::http(authority)? else { return Err(UrlError::Scheme) };
        // Written anew from what was understood: no text of the user's gets any further.
        let host = match host.parse::<Ipv6Addr>() {
            Ok(address) => address.to_string(),
            Err(_) => host.parse::<Host>()?.to_string(),
        };
        if ends_in_a_number(&host) && host.parse::<Ipv4Addr>().is_err() {
            return Err(UrlError::Numbers);
        }
        Ok(Self { host, port, check })
    }

    /// As HAProxy takes it. An IPv6 address goes without brackets up to the last colon, as its manual has it.
    pub(super) fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// The page by which it is checked.
    #[must_use]
    pub fn check(&self) -> Option<&Check> {
        self.check.as_ref()
    }

    /// The name of its backend, another one for each address and check: eight digits at the end, which no port has,
    /// stand for the check.
    pub(super) fn backend(&self) -> String {
        let check = self.check.as_ref().map(|check| Digest::of(check.0.as_bytes()).to_string());
        let mut name = format!("route:{}", self.address());
        name.extend(check.iter().filter_map(|digest| digest.get(..8)).map(|digits| format!(":{digits}")));
        name
    }
}

/// What a resolver may take for an address, octal or hexadecimal. No name in use ends so.
fn ends_in_a_number(host: &str) -> bool {
    let last = host.rsplit('.').next().unwrap_or_default();
    let is_hexadecimal =
        last.strip_prefix("0x").is_some_and(|rest| rest.chars().all(|c| c.is_ascii_hexdigit()));
    !host.contains(':') && (last.chars().all(|c| c.is_ascii_digit()) || is_hexadecimal)
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, .. } = self;
        if host.contains(':') {
            write!(f, "http://[{host}]:{port}")
        } else {
            write!(f, "http://{host}:{port}")
        }
    }
}

/// The path of a health check.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Check(String);

/// Why a text is no path of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "expected a path as in `/health`, of ASCII letters, digits and `/ - _ . ~ ? = & + , : @`, {MAX_PATH} at most"
)]
pub struct CheckError;

impl FromStr for Check {
    type Err = CheckError;

    /// Nothing that HAProxy's configuration gives a meaning to: no blank, quote, backslash, `#`, `$`, `%`.
    fn from_str(text: &str) -> Result<Self, CheckError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "/-_.~?=&+,:@".contains(c);
        let is_path = text.starts_with('/') && text.len() <= MAX_PATH && text.chars().all(allowed);
        if is_path { Ok(Self(text.to_owned())) } else { Err(CheckError) }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn url(text: &str) -> Result<String, UrlError> {
        Target::new(text, None).map(|target| format!("{target} {} {}", target.address(), target.backend()))
    }

    #[test]
    fn a_host_is_one_name_in_lower_case_without_a_port() {
        let host = |text: &str| text.parse::<Host>().map(|host| host.to_string());
        assert_eq!(host("WWW.Example.COM"), Ok("www.example.com".into()));
        assert_eq!(host("a_b-c.1"), Ok("a_b-c.1".into()));
        assert_eq!(host("a.b:80"), Err(HostError::Port));
        assert_eq!(host("*.b"), Err(HostError::Wildcard));
        for text in
            ["", ".", "a.", ".a", "a..b", "-a", "a-", "a b", "a\nb", "a/b", "ä.de", "#a", "a;b", "a\\b"]
        {
            assert_eq!(host(text), Err(HostError::Form), "{text:?}");
        }
        assert_eq!(host(&"a".repeat(64)), Err(HostError::Long));
        assert_eq!(host(&["abc"; 64].join(".")), Err(HostError::Long));
    }

    #[test]
    fn a_url_is_a_host_and_a_port() {
        assert_eq!(url("http://App1:8080"), Ok("http://app1:8080 app1:8080 route:app1:8080".into()));
        assert_eq!(url("http://10.0.0.1/"), Ok("http://10.0.0.1:80 10.0.0.1:80 route:10.0.0.1:80".into()));
        assert_eq!(url("http://[::1]:81"), Ok("http://[::1]:81 ::1:81 route:::1:81".into()));
        for text in ["https://a:1", "a:1", "", "unix:///a"] {
            assert_eq!(url(text), Err(UrlError::Scheme), "{text:?}");
        }
        for text in ["http://a:1/b", "http://a:1//", "http://u@a:1", "http://a:1?x", "http://a:1#x"] {
            assert_eq!(url(text), Err(UrlError::Path), "{text:?}");
        }
        for text in ["http://127.0.010.1", "http://1.2.3", "http://1", "http://1.2.3.256:80", "http://a.0x1"]
        {
            assert_eq!(url(text), Err(UrlError::Numbers), "{text:?}");
        }
        for text in
            ["http://", "http://a:0", "http://a:x", "http://a b:1", "http://a:1\nserver b c:1", "http://ä:1"]
        {
            assert!(url(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_check_is_a_path_that_means_nothing_else() {
        for text in ["/", "/health", "/a/b?c=d&e=f", "/~x"] {
            assert_eq!(text.parse::<Check>().unwrap().to_string(), text);
        }
        for text in ["", "health", "/a b", "/a\nb", "/a#b", "/\"", "/'", "/\\", "/$HOME", "/%[env(x)]", "/ä"]
        {
            assert_eq!(text.parse::<Check>(), Err(CheckError), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn two_targets_never_share_a_backend(a in target(), b in target()) {
            prop_assert_eq!(a == b, a.backend() == b.backend());
        }
    }

    fn target() -> impl Strategy<Value = Target> {
        let hosts = prop::sample::select(vec!["a", "[::1]", "[1::]", "[::1:80]", "1.2.3.4", "a.b"]);
        let ports = prop::sample::select(vec![1_u16, 80, 8080]);
        let checks = prop::sample::select(vec![None, Some("/"), Some("/80"), Some("/a")]);
        (hosts, ports, checks).prop_map(|(host, port, check)| {
            Target::new(&format!("http://{host}:{port}"), check.map(|path| path.parse().unwrap())).unwrap()
        })
    }
}
