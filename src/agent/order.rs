//! Orders that the program's own commands give a listener: the data of `REMOTE_COMMUNICATION` events of the
//! type [`KIND`]. Pure text; what an order changes is decided in [`super::Wanted`].

use serde::{Deserialize, Serialize};
use serde_json::json;
use thiserror::Error;

use crate::haproxy::{AdminState, ServerRef};

/// The first argument of `supervisor.sendRemoteCommEvent`, by which a listener knows what is meant for it.
pub const KIND: &str = "supervisor-haproxy";

/// The most servers that one order names; as many as [`crate::supervisor::MAX_REMOTE`] has room for.
pub const MAX_SERVERS: usize = 10_000;

/// The longest name of who gave an order, in characters: a user with its host.
pub const MAX_BY: usize = 256;

/// The longest reason, in characters: it is a part of log lines.
pub const MAX_REASON: usize = 1024;

/// The longest time for which a claim is made; whoever needs longer renews it.
pub const MAX_SECONDS: u32 = 300;

/// One order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Order {
    /// Servers stay in maint, whatever their programs do, until they are released.
    Hold {
        /// Which servers.
        servers: Vec<ServerRef>,
        /// Who says so.
        by: String,
        /// Why; may be empty.
        reason: String,
        /// When it was said, in seconds since 1970.
        since: u64,
    },
    /// Servers follow their programs again.
    Release {
        /// Which servers.
        servers: Vec<ServerRef>,
        /// Who says so.
        by: String,
    },
    /// Servers are not to be more available than `state` for a while: the lease of a command that runs. It is
    /// renewed by being made again, and one of another `by` takes its place.
    Claim {
        /// Which servers.
        servers: Vec<ServerRef>,
        /// Drain or maint.
        state: AdminState,
        /// Which command.
        by: String,
        /// For how long, if it is not renewed.
        seconds: u32,
    },
    /// A command needs servers no longer.
    Unclaim {
        /// Which servers.
        servers: Vec<ServerRef>,
        /// Which command; the claims of others stay.
        by: String,
    },
}

/// Why a text is no order.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OrderError {
    /// No JSON, or not of this form; in words without control characters.
    #[error("{0}")]
    Form(String),
    /// No servers, or too many.
    #[error("it names {0} servers, expected 1 to {MAX_SERVERS}")]
    Servers(usize),
    /// No time, or too long a one.
    #[error("a claim of {0} seconds, expected 1 to {MAX_SECONDS}")]
    Seconds(u32),
    /// A claim that would keep nobody from anything.
    #[error("a claim of ready, expected `drain` or `maint`")]
    Ready,
    /// A text that may not be.
    #[error(transparent)]
    Text(#[from] TextError),
}

/// Why a text may not stand in an order or among the holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TextError {
    /// Too long.
    #[error("`{0}` is longer than {1} characters")]
    Long(&'static str, usize),
    /// A line end, an escape character or the like: it would damage the log.
    #[error("`{0}` holds a control character")]
    Control(&'static str),
}

impl Order {
    /// Reads and checks an order.
    pub fn parse(text: &str) -> Result<Self, OrderError> {
        let order: Self = serde_json::from_str(text).map_err(|error| OrderError::Form(in_words(&error)))?;
        order.check()?;
        Ok(order)
    }

    /// What [`Self::parse`] reads, in one line.
    #[must_use]
    pub fn to_json(&self) -> String {
        json!(self).to_string()
    }

    /// Whether a listener would take it. [`Self::parse`] has checked what it gives.
    pub fn check(&self) -> Result<(), OrderError> {
        let count = self.servers().len();
        if count == 0 || count > MAX_SERVERS {
            return Err(OrderError::Servers(count));
        }
        check_by(self.by())?;
        match self {
            Self::Hold { reason, .. } => Ok(check_reason(reason)?),
            Self::Claim { state: AdminState::Ready, .. } => Err(OrderError::Ready),
            Self::Claim { seconds, .. } if !(1..=MAX_SECONDS).contains(seconds) => {
                Err(OrderError::Seconds(*seconds))
            }
            Self::Claim { .. } | Self::Release { .. } | Self::Unclaim { .. } => Ok(()),
        }
    }

    /// Which servers it is about.
    #[must_use]
    pub fn servers(&self) -> &[ServerRef] {
        match self {
            Self::Hold { servers, .. }
            | Self::Release { servers, .. }
            | Self::Claim { servers, .. }
            | Self::Unclaim { servers, .. } => servers,
        }
    }

    /// Who gave it.
    #[must_use]
    pub fn by(&self) -> &str {
        match self {
            Self::Hold { by, .. }
            | Self::Release { by, .. }
            | Self::Claim { by, .. }
            | Self::Unclaim { by, .. } => by,
        }
    }
}

pub(super) fn check_by(by: &str) -> Result<(), TextError> {
    check_text("by", by, MAX_BY)
}

pub(super) fn check_reason(reason: &str) -> Result<(), TextError> {
    check_text("reason", reason, MAX_REASON)
}

fn check_text(what: &'static str, text: &str, most: usize) -> Result<(), TextError> {
    if text.chars().nth(most).is_some() {
        return Err(TextError::Long(what, most));
    }
    if text.chars().any(char::is_control) { Err(TextError::Control(what)) } else { Ok(()) }
}

/// A complaint of `serde_json`, which quotes what it found: cut, and fit for a log.
pub(super) fn in_words(error: &serde_json::Error) -> String {
    const LONGEST: usize = 300;
    let shown = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    error.to_string().chars().take(LONGEST).map(shown).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn servers(names: &[&str]) -> Vec<ServerRef> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    fn refused(text: &str) -> String {
        Order::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn orders_have_these_forms() {
        for (text, order) in [
            (
                r#"{"hold":{"by":"root","reason":"new disk","servers":["app/web1"],"since":1760000000}}"#,
                Order::Hold {
                    servers: servers(&["app/web1"]),
                    by: "root".into(),
                    reason: "new disk".into(),
                    since: 1_760_000_000,
                },
            ),
            (
                r#"{"release":{"by":"root","servers":["app/web1","app/web2"]}}"#,
                Order::Release { servers: servers(&["app/web1", "app/web2"]), by: "root".into() },
            ),
            (
                r#"{"claim":{"by":"restart 7","seconds":10,"servers":["app/web1"],"state":"drain"}}"#,
                Order::Claim {
                    servers: servers(&["app/web1"]),
                    state: AdminState::Drain,
                    by: "restart 7".into(),
                    seconds: 10,
                },
            ),
            (
                r#"{"unclaim":{"by":"restart 7","servers":["app/web1"]}}"#,
                Order::Unclaim { servers: servers(&["app/web1"]), by: "restart 7".into() },
            ),
        ] {
            assert_eq!(Order::parse(text), Ok(order.clone()), "{text}");
            assert_eq!(order.to_json(), text);
        }
    }

    #[test]
    fn what_is_not_wholly_understood_is_refused_with_its_cause() {
        for (text, cause) in [
            ("", "EOF while parsing a value at line 1 column 0"),
            ("hold", "expected value at line 1 column 1"),
            (r#"{"free":{}}"#, "unknown variant `free`, expected one of `hold`"),
            ("{\"a\\nb\":{}}", "unknown variant `a\\nb`"),
            (r#"{"release":{"by":"root"}}"#, "missing field `servers`"),
            (r#"{"release":{"by":"root","servers":["a/b"],"if":1}}"#, "unknown field `if`"),
            (r#"{"release":{"by":"root","servers":["a/b c"]}}"#, "the server name `b c` holds ' '"),
            (r#"{"release":{"by":"root","servers":[]}}"#, "it names 0 servers, expected 1 to 10000"),
            (r#"{"release":{"by":"a\u001b[2J","servers":["a/b"]}}"#, "`by` holds a control character"),
            (
                r#"{"hold":{"by":"","reason":"a\nb","since":1,"servers":["a/b"]}}"#,
                "`reason` holds a control character",
            ),
            (
                r#"{"claim":{"by":"x","state":"ready","seconds":5,"servers":["a/b"]}}"#,
                "a claim of ready, expected `drain` or `maint`",
            ),
            (
                r#"{"claim":{"by":"x","state":"up","seconds":5,"servers":["a/b"]}}"#,
                "unknown variant `up`, expected one of `ready`, `drain`, `maint`",
            ),
            (
                r#"{"claim":{"by":"x","state":"maint","seconds":0,"servers":["a/b"]}}"#,
                "a claim of 0 seconds, expected 1 to 300",
            ),
            (
                r#"{"claim":{"by":"x","state":"maint","seconds":301,"servers":["a/b"]}}"#,
                "a claim of 301 seconds",
            ),
        ] {
            assert!(refused(text).contains(cause), "{text}: {}", refused(text));
        }
    }

    #[test]
    fn texts_and_lists_have_their_caps() {
        let order = |by: usize, reason: usize, count: usize| Order::Hold {
            servers: vec!["a/b".parse().unwrap(); count],
            by: "\u{e9}".repeat(by),
            reason: "\u{e9}".repeat(reason),
            since: 0,
        };
        let longest = order(MAX_BY, MAX_REASON, MAX_SERVERS);
        assert_eq!(Order::parse(&longest.to_json()), Ok(longest));
        assert_eq!(refused(&order(257, 0, 1).to_json()), "`by` is longer than 256 characters");
        assert_eq!(refused(&order(0, 1025, 1).to_json()), "`reason` is longer than 1024 characters");
        assert_eq!(refused(&order(0, 0, 10_001).to_json()), "it names 10001 servers, expected 1 to 10000");
    }

    proptest! {
        #[test]
        fn an_order_that_is_taken_survives_the_round_trip(by in "\\PC{0,20}", reason in ".{0,40}") {
            let order = Order::Hold { servers: servers(&["a/b"]), by, reason, since: 7 };
            if order.check().is_ok() {
                prop_assert_eq!(Order::parse(&order.to_json()), Ok(order));
            }
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "(?s).{0,80}") {
            if let Err(error) = Order::parse(&text) {
                prop_assert!(!error.to_string().contains(char::is_control));
            }
        }
    }
}
