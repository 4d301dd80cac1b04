//! Where a peer listens: `tcp://HOST:PORT`, `tcp://[V6]:PORT`, `unix:///PATH` or `/PATH`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use thiserror::Error;

/// A socket to connect to, as the user wrote it. Names are resolved later, see [`super::Resolver`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Endpoint {
    /// A TCP port; the host is a name, an IPv4 address or an IPv6 address without its brackets.
    Tcp {
        /// Name or address.
        host: String,
        /// 1 to 65535.
        port: u16,
    },
    /// A unix socket with an absolute path.
    Unix(PathBuf),
}

/// Why a text is no endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EndpointError {
    /// Neither a known scheme nor an absolute path.
    #[error("expected `tcp://HOST:PORT`, `tcp://[IPV6]:PORT`, `unix:///PATH` or `/PATH`")]
    Form,
    /// No host before the port.
    #[error("the host is missing")]
    Host,
    /// A host with characters that no host name has, or an IPv6 address without brackets.
    #[error("the host has a character that no host name has; an IPv6 address goes into brackets")]
    HostCharacter,
    /// No port, or one outside 1 to 65535.
    #[error("the port must be a number from 1 to 65535")]
    Port,
    /// `unix://` without an absolute path behind it.
    #[error("the path must be absolute, as in `unix:///run/haproxy/admin.sock`")]
    RelativePath,
    /// Longer than the kernel can bind.
    #[error("the path is longer than the {MAX_UNIX_PATH} bytes that a unix socket can have")]
    LongPath,
    /// A NUL byte in the path.
    #[error("the path holds a NUL byte")]
    NulInPath,
}

/// `sun_path` has 108 bytes, the last of which is a NUL (unix(7)).
const MAX_UNIX_PATH: usize = 107;

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        if let Some(path) = text.strip_prefix("unix://") {
            unix(path)
        } else if text.starts_with('/') {
            unix(text)
        } else if let Some(authority) = text.strip_prefix("tcp://") {
            Self::tcp(authority)
        } else {
            Err(EndpointError::Form)
        }
    }
}

impl Endpoint {
    /// Reads `HOST:PORT` or `[V6]:PORT`.
    pub fn tcp(authority: &str) -> Result<Self, EndpointError> {
        let (host, port) = authority.rsplit_once(':').ok_or(EndpointError::Port)?;
        Ok(Self::Tcp { host: host_name(host)?, port: port_number(port)? })
    }

    /// Reads what stands in an `http` URL: the same, or without a port; then it is 80.
    pub fn http(authority: &str) -> Result<Self, EndpointError> {
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
        if has_port { Self::tcp(authority) } else { Self::tcp(&format!("{authority}:80")) }
    }
}

fn unix(path: &str) -> Result<Endpoint, EndpointError> {
    if !path.starts_with('/') {
        return Err(EndpointError::RelativePath);
    }
    if path.len() > MAX_UNIX_PATH {
        return Err(EndpointError::LongPath);
    }
    if path.contains('\0') {
        return Err(EndpointError::NulInPath);
    }
    Ok(Endpoint::Unix(PathBuf::from(path)))
}

fn host_name(host: &str) -> Result<String, EndpointError> {
    if let Some(v6) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return v6.parse::<std::net::Ipv6Addr>().map(|_| v6.to_owned()).map_err(|_| EndpointError::Host);
    }
    if host.is_empty() {
        return Err(EndpointError::Host);
    }
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    if host.chars().all(plain) { Ok(host.to_owned()) } else { Err(EndpointError::HostCharacter) }
}

fn port_number(port: &str) -> Result<u16, EndpointError> {
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse() {
        Ok(number) if digits && number != 0 => Ok(number),
        _ => Err(EndpointError::Port),
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "tcp://[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "tcp://{host}:{port}"),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, EndpointError> {
        text.parse::<Endpoint>().map(|endpoint| endpoint.to_string())
    }

    #[test]
    fn every_form_is_read_and_shown_in_its_long_form() {
        assert_eq!(read("tcp://localhost:8800"), Ok("tcp://localhost:8800".into()));
        assert_eq!(read("tcp://[::1]:8800"), Ok("tcp://[::1]:8800".into()));
        assert_eq!(read("unix:///run/haproxy.sock"), Ok("unix:///run/haproxy.sock".into()));
        assert_eq!(read("/run/haproxy.sock"), Ok("unix:///run/haproxy.sock".into()));
    }

    #[test]
    fn what_cannot_be_connected_to_is_refused() {
        assert_eq!(read("localhost:8800"), Err(EndpointError::Form));
        assert_eq!(read("http://localhost:8800"), Err(EndpointError::Form));
        assert_eq!(read("tcp://:8800"), Err(EndpointError::Host));
        assert_eq!(read("tcp://[::g]:8800"), Err(EndpointError::Host));
        assert_eq!(read("tcp://::1:8800"), Err(EndpointError::HostCharacter));
        assert_eq!(read("tcp://a b:8800"), Err(EndpointError::HostCharacter));
        for port in ["", "0", "65536", "70000", "+1", "x", "1 "] {
            assert_eq!(read(&format!("tcp://localhost:{port}")), Err(EndpointError::Port), "{port:?}");
        }
        assert_eq!(read("tcp://localhost"), Err(EndpointError::Port));
        assert_eq!(read("unix://run/haproxy.sock"), Err(EndpointError::RelativePath));
        assert_eq!(read(&format!("/{}", "x".repeat(107))), Err(EndpointError::LongPath));
        assert_eq!(read("/a\0b"), Err(EndpointError::NulInPath));
    }
}
