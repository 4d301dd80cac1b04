//! What HAProxy says back. It reports failure as text, so a reply is understood only when all of it was read.

use std::borrow::Cow;
use std::fmt;

use thiserror::Error;

use super::DumpError;

/// HAProxy understood us and said no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The backend has no such server.
    NoSuchServer,
    /// There is no such backend.
    NoSuchBackend,
    /// The socket's level is below `admin`.
    PermissionDenied,
    /// This version of HAProxy does not have the command.
    UnknownCommand,
    /// The backend is disabled, or the answering process is on its way out.
    ProxyDisabled,
    /// Anything else, in HAProxy's words.
    Other(String),
}

/// Why a reply is no success.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReplyError {
    /// HAProxy closed without a word: it is starting, stopping or overloaded.
    #[error("the connection was closed without a reply")]
    Nothing,
    /// A dump whose closing empty line never came.
    #[error("the reply is cut off after {0} bytes")]
    Truncated(usize),
    /// A refusal in words.
    #[error("{0}")]
    Refused(Refusal),
    /// A dump that does not parse.
    #[error("unexpected reply: {0}")]
    Dump(#[from] DumpError),
}

impl Refusal {
    /// Whether only a change of HAProxy (its configuration, socket or version) can help.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        !matches!(self, Self::ProxyDisabled | Self::Other(_))
    }

    /// Whether every other server would be refused just the same.
    #[must_use]
    pub fn concerns_all_servers(&self) -> bool {
        matches!(self, Self::PermissionDenied | Self::UnknownCommand)
    }

    fn read(message: &str) -> Self {
        match message {
            "No such server." => Self::NoSuchServer,
            "No such backend." | "Can't find backend." => Self::NoSuchBackend,
            "Proxy is disabled." => Self::ProxyDisabled,
            _ if message.starts_with("Permission denied") => Self::PermissionDenied,
            _ if message.starts_with("Unknown command") => Self::UnknownCommand,
            _ => Self::Other(excerpt(message)),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchServer => f.write_str("no such server"),
            Self::NoSuchBackend => f.write_str("no such backend"),
            Self::PermissionDenied => {
                f.write_str("permission denied; give the `stats socket` line of HAProxy `level admin`")
            }
            Self::UnknownCommand => {
                f.write_str("unknown command; this is no HAProxy admin socket, or HAProxy is older than 1.8")
            }
            Self::ProxyDisabled => {
                f.write_str("the proxy is disabled, or this HAProxy process is being replaced")
            }
            Self::Other(message) if message.starts_with("HTTP/") => {
                write!(f, "this is a web port, not HAProxy's admin socket: it says `{message}`")
            }
            Self::Other(message) => write!(f, "HAProxy says `{message}`"),
        }
    }
}

/// Reads the reply to a command that succeeds in silence: nothing but empty lines.
pub fn accepted(reply: &[u8]) -> Result<(), ReplyError> {
    if reply.is_empty() {
        return Err(ReplyError::Nothing);
    }
    let text = String::from_utf8_lossy(reply);
    match text.lines().map(str::trim).find(|line| !line.is_empty()) {
        None => Ok(()),
        Some(message) => Err(ReplyError::Refused(Refusal::read(without_severity(message)))),
    }
}

/// Reads the reply to a command that answers with a dump: gives its text when it came whole.
///
/// A process that is stopped in the middle of a dump ends it at the end of a row, with a clean end of the
/// connection; only the closing empty line is missing then.
pub fn dump(reply: &[u8]) -> Result<Cow<'_, str>, ReplyError> {
    if reply.is_empty() {
        return Err(ReplyError::Nothing);
    }
    let text = String::from_utf8_lossy(reply);
    let first = without_severity(text.lines().next().unwrap_or_default());
    match Refusal::read(first) {
        Refusal::Other(_) if text.ends_with("\n\n") => Ok(text),
        Refusal::Other(_) => Err(ReplyError::Truncated(reply.len())),
        refusal => Err(ReplyError::Refused(refusal)),
    }
}

/// Reads the reply to [`super::Command::Level`]: `admin`, `operator` or `user`.
pub fn level(reply: &[u8]) -> Result<String, ReplyError> {
    if reply.is_empty() {
        return Err(ReplyError::Nothing);
    }
    let text = String::from_utf8_lossy(reply);
    let word = without_severity(text.lines().next().unwrap_or_default()).trim();
    match word {
        "admin" | "operator" | "user" => Ok(word.to_owned()),
        message => Err(ReplyError::Refused(Refusal::read(message))),
    }
}

/// `severity-output` on the bind line puts `[3]: ` or `[err]: ` before the first line of a message.
fn without_severity(message: &str) -> &str {
    let tagged = message.strip_prefix('[').and_then(|rest| rest.split_once("]: "));
    match tagged {
        Some((tag, rest)) if tag.bytes().all(|byte| byte.is_ascii_alphanumeric()) => rest,
        _ => message,
    }
}

/// As much of a foreign text as belongs into a log line, with its control characters made visible.
fn excerpt(message: &str) -> String {
    const LONGEST: usize = 200;
    message.chars().take(LONGEST).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refusal(reply: &str) -> Refusal {
        match accepted(reply.as_bytes()) {
            Err(ReplyError::Refused(refusal)) => refusal,
            other => panic!("{reply:?}: {other:?}"),
        }
    }

    #[test]
    fn silence_is_consent_but_nothing_at_all_is_not() {
        assert_eq!(accepted(b"\n"), Ok(()));
        assert_eq!(accepted(b"\n\n"), Ok(()), "two commands on one line");
        assert_eq!(accepted(b"\r\n"), Ok(()));
        assert_eq!(accepted(b""), Err(ReplyError::Nothing));
    }

    #[test]
    fn refusals_are_told_apart_in_every_wording() {
        assert_eq!(refusal("No such server.\n\n"), Refusal::NoSuchServer);
        assert_eq!(refusal("\nNo such backend.\n\n"), Refusal::NoSuchBackend);
        assert_eq!(refusal("Proxy is disabled.\n\n"), Refusal::ProxyDisabled);
        assert_eq!(refusal("Permission denied\n\n"), Refusal::PermissionDenied);
        assert_eq!(refusal("[3]: No such server.\n\n"), Refusal::NoSuchServer);
        assert_eq!(refusal("[err]: No such server.\r\n\r\n"), Refusal::NoSuchServer);
        assert_eq!(refusal("Unknown command: 'foo', but maybe one of\n help\n"), Refusal::UnknownCommand);
        assert_eq!(refusal("Unknown command. Please enter one of\n"), Refusal::UnknownCommand);
        assert_eq!(
            refusal("cannot change health on a tracking server.\n\n"),
            Refusal::Other("cannot change health on a tracking server.".into())
        );
    }

    #[test]
    fn a_foreign_peer_is_quoted_and_kept_short() {
        assert_eq!(refusal("SSH-2.0-x\x1b[2J"), Refusal::Other("SSH-2.0-x\\u{1b}[2J".into()));
        let Refusal::Other(text) = refusal(&"x".repeat(1_000_000)) else { panic!() };
        assert_eq!(text.len(), 200);
    }

    #[test]
    fn a_dump_needs_its_closing_empty_line() {
        assert_eq!(dump(b"# a,\nb,\n\n").unwrap(), "# a,\nb,\n\n");
        assert_eq!(dump(b"# a,\nb,\n"), Err(ReplyError::Truncated(8)));
        assert_eq!(dump(b""), Err(ReplyError::Nothing));
        assert_eq!(dump(b"Permission denied\n\n"), Err(ReplyError::Refused(Refusal::PermissionDenied)));
        assert_eq!(dump(b"Can't find backend.\n\n"), Err(ReplyError::Refused(Refusal::NoSuchBackend)));
    }

    proptest! {
        #[test]
        fn no_reply_makes_the_readers_panic(reply in prop::collection::vec(any::<u8>(), 0..300)) {
            let blank = !reply.is_empty() && String::from_utf8_lossy(&reply).trim().is_empty();
            prop_assert_eq!(accepted(&reply).is_ok(), blank);
            let _ = dump(&reply);
        }
    }
}
