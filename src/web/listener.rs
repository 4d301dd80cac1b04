//! Where clients connect: a port of this machine or a unix socket.

use std::fmt;
use std::fs;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use thiserror::Error;

use crate::net::Endpoint;

/// An address to listen at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// `127.0.0.1:8000`, `[::1]:8000`, `localhost:8000`.
    Tcp(SocketAddr),
    /// `/run/x.sock`, `unix:///run/x.sock`.
    Unix(PathBuf),
}

/// Why a text is no address to listen at.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ListenError {
    /// Neither.
    #[error("expected `IP:PORT`, `[IPV6]:PORT`, `localhost:PORT`, `unix:///PATH` or `/PATH`")]
    Form,
    /// No path of a unix socket.
    #[error(transparent)]
    Path(crate::net::EndpointError),
}

impl FromStr for Listen {
    type Err = ListenError;

    fn from_str(text: &str) -> Result<Self, ListenError> {
        if text.starts_with('/') || text.starts_with("unix://") {
            return match text.parse::<Endpoint>() {
                Ok(Endpoint::Unix(path)) => Ok(Self::Unix(path)),
                Ok(Endpoint::Tcp { .. }) => Err(ListenError::Form),
                Err(error) => Err(ListenError::Path(error)),
            };
        }
        let authority = text.strip_prefix("tcp://").unwrap_or(text);
        let numeric = authority.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
        let address = numeric.as_deref().unwrap_or(authority).parse();
        address.map(Self::Tcp).map_err(|_| ListenError::Form)
    }
}

impl Listen {
    /// Whether others than this machine's own programs may connect.
    #[must_use]
    pub fn is_exposed(&self) -> bool {
        matches!(self, Self::Tcp(address) if !address.ip().to_canonical().is_loopback())
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

/// A socket that listens.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

/// The same in tokio's hands.
pub(super) enum Accepting {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener, PathBuf),
}

impl Listener {
    pub(super) fn bind(listen: &Listen, mode: u32) -> io::Result<Self> {
        let bound = match listen {
            Listen::Tcp(address) => TcpListener::bind(address).map(Self::Tcp),
            Listen::Unix(path) => unix(path, mode).map(|listener| Self::Unix(listener, path.clone())),
        };
        bound.map_err(|error| io::Error::new(error.kind(), format!("--listen {listen}: {error}")))
    }

    pub(super) fn address(&self) -> String {
        match self {
            Self::Tcp(listener) => {
                listener.local_addr().map_or_else(|_| String::new(), |at| format!("http://{at}"))
            }
            Self::Unix(_, path) => format!("unix://{}", path.display()),
        }
    }

    /// To be called within a runtime.
    pub(super) fn into_tokio(self) -> io::Result<Accepting> {
        match self {
            Self::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                tokio::net::TcpListener::from_std(listener).map(Accepting::Tcp)
            }
            Self::Unix(listener, path) => {
                listener.set_nonblocking(true)?;
                tokio::net::UnixListener::from_std(listener).map(|listener| Accepting::Unix(listener, path))
            }
        }
    }
}

impl Drop for Accepting {
    fn drop(&mut self) {
        if let Self::Unix(_, path) = self {
            // What is left is taken away at the next start.
            let _ = fs::remove_file(path);
        }
    }
}

/// A socket's file outlives its process; one that nobody listens at any more is taken away, and nothing else is.
fn unix(path: &Path, mode: u32) -> io::Result<UnixListener> {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    if is_socket && UnixStream::connect(path).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    {
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, bind, socket};

    use super::*;

    fn read(text: &str) -> Result<(String, bool), ListenError> {
        text.parse::<Listen>().map(|listen| (listen.to_string(), listen.is_exposed()))
    }

    #[test]
    fn an_address_tells_whether_others_may_connect() {
        for (text, shown, is_exposed) in [
            ("127.0.0.1:8000", "127.0.0.1:8000", false),
            ("tcp://127.9.9.9:1", "127.9.9.9:1", false),
            ("localhost:8000", "127.0.0.1:8000", false),
            ("[::1]:8000", "[::1]:8000", false),
            ("[::ffff:127.0.0.1]:1", "[::ffff:127.0.0.1]:1", false),
            ("0.0.0.0:8000", "0.0.0.0:8000", true),
            ("[::]:8000", "[::]:8000", true),
            ("10.0.0.1:8000", "10.0.0.1:8000", true),
            ("/run/x.sock", "unix:///run/x.sock", false),
            ("unix:///run/x.sock", "unix:///run/x.sock", false),
        ] {
            assert_eq!(read(text), Ok((shown.to_owned(), is_exposed)), "{text}");
        }
        for text in ["", "8000", ":8000", "localhost", "127.0.0.1", "web.example.com:80", "127.0.0.1:70000"] {
            assert_eq!(read(text), Err(ListenError::Form), "{text}");
        }
        assert!(matches!(read("unix://x"), Err(ListenError::Path(_))));
    }

    #[test]
    fn only_a_socket_that_nobody_listens_at_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        // One that never listens: a child that another test starts meanwhile has it until its exec.
        let silent = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
        bind(silent.as_raw_fd(), &UnixAddr::new(&path).unwrap()).unwrap();
        let listen = Listen::Unix(path.clone());
        let listener = Listener::bind(&listen, 0o600).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let taken = Listener::bind(&listen, 0o600).unwrap_err().to_string();
        assert!(taken.starts_with(&format!("--listen {listen}: Address")), "{taken}");
        drop(listener);
        fs::remove_file(&path).unwrap();
        fs::write(&path, "precious").unwrap();
        Listener::bind(&listen, 0o600).unwrap_err();
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }
}
