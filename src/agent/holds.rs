//! Servers that operators have taken out, and the text in which they outlive the listener. Where that text is
//! kept is the business of [`crate::store`].

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use thiserror::Error;

use super::order::{TextError, check_by, check_reason, in_words};
use crate::haproxy::ServerRef;

/// A server that stays in maint, whatever its program does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hold {
    /// Which server.
    pub server: ServerRef,
    /// Who took it out.
    pub by: String,
    /// Why; may be empty.
    pub reason: String,
    /// When, in seconds since 1970.
    pub since: u64,
}

/// All holds, in the order of their servers, of which each is held once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holds(BTreeMap<ServerRef, Hold>);

/// Why a text is no list of holds.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum HoldsError {
    /// No JSON, or not of this form; in words without control characters.
    #[error("{0}")]
    Form(String),
    /// Written by another version of this program.
    #[error("format version {0} is unknown, expected {VERSION}")]
    Version(u64),
    /// A text that no order would have brought.
    #[error("the hold of `{0}`: {1}")]
    Text(ServerRef, #[source] TextError),
}

/// As many holds as a listener takes on: more than one HAProxy has servers, most of the time.
pub const MAX_HOLDS: usize = 10_000;

const VERSION: u64 = 1;

/// What every version has.
#[derive(Deserialize)]
struct Versioned {
    version: u64,
}

/// What this version has.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    #[serde(rename = "version")]
    _version: u64,
    holds: Vec<Hold>,
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "held by {}", self.by)?;
        if let Ok(since) =
            i64::try_from(self.since).map_err(drop).and_then(|s| Timestamp::from_second(s).map_err(drop))
        {
            write!(f, " since {since}")?;
        }
        if self.reason.is_empty() { Ok(()) } else { write!(f, ": {}", self.reason) }
    }
}

impl Holds {
    /// Adds a hold; gives the one that it replaces.
    pub fn insert(&mut self, hold: Hold) -> Option<Hold> {
        self.0.insert(hold.server.clone(), hold)
    }

    /// Takes a hold away.
    pub fn remove(&mut self, server: &ServerRef) -> Option<Hold> {
        self.0.remove(server)
    }

    /// The hold of a server.
    #[must_use]
    pub fn get(&self, server: &ServerRef) -> Option<&Hold> {
        self.0.get(server)
    }

    /// All of them, in the order of their servers.
    pub fn iter(&self) -> impl Iterator<Item = &Hold> {
        self.0.values()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What [`Self::parse`] reads, in one line.
    #[must_use]
    pub fn to_json(&self) -> String {
        json!({ "version": VERSION, "holds": self.iter().collect::<Vec<_>>() }).to_string()
    }

    /// Reads what [`Self::to_json`] gave; of two holds of one server the last counts.
    pub fn parse(text: &str) -> Result<Self, HoldsError> {
        let form = |error: serde_json::Error| HoldsError::Form(in_words(&error));
        let Versioned { version } = serde_json::from_str(text).map_err(form)?;
        if version != VERSION {
            return Err(HoldsError::Version(version));
        }
        let page: Page = serde_json::from_str(text).map_err(form)?;
        for hold in &page.holds {
            let checked = check_by(&hold.by).and_then(|()| check_reason(&hold.reason));
            checked.map_err(|error| HoldsError::Text(hold.server.clone(), error))?;
        }
        Ok(page.holds.into_iter().collect())
    }
}

impl FromIterator<Hold> for Holds {
    fn from_iter<T: IntoIterator<Item = Hold>>(holds: T) -> Self {
        Self(holds.into_iter().map(|hold| (hold.server.clone(), hold)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold(server: &str, by: &str) -> Hold {
        Hold { server: server.parse().unwrap(), by: by.into(), reason: "disk".into(), since: 1_760_000_000 }
    }

    #[test]
    fn holds_survive_the_round_trip() {
        let holds: Holds = [hold("app/b", "root"), hold("app/a", "j\u{f6}rg")].into_iter().collect();
        assert_eq!(Holds::parse(&holds.to_json()), Ok(holds.clone()));
        let servers: Vec<String> = holds.iter().map(|hold| hold.server.to_string()).collect();
        assert_eq!(servers, ["app/a", "app/b"]);
        assert_eq!(Holds::parse(&Holds::default().to_json()), Ok(Holds::default()));
        assert_eq!(Holds::default().to_json(), r#"{"holds":[],"version":1}"#);
    }

    #[test]
    fn a_server_is_held_once() {
        let mut holds = Holds::default();
        assert_eq!(holds.insert(hold("app/a", "root")), None);
        assert_eq!(holds.insert(hold("app/a", "anna")), Some(hold("app/a", "root")));
        assert_eq!(holds.get(&"app/a".parse().unwrap()).map(|hold| hold.by.as_str()), Some("anna"));
        assert!(holds.remove(&"app/a".parse().unwrap()).is_some() && holds.is_empty());
        assert_eq!(holds.remove(&"app/a".parse().unwrap()), None);
    }

    #[test]
    fn damage_and_other_versions_are_named() {
        for (text, cause) in [
            ("", "EOF while parsing"),
            (r#"{"version":1,"holds":[{"server":"app/a","by"#, "EOF while parsing"),
            (r#"{"holds":[]}"#, "missing field `version`"),
            (r#"{"version":1}"#, "missing field `holds`"),
            (r#"{"version":2,"servers":[]}"#, "format version 2 is unknown, expected 1"),
            (r#"{"version":1,"holds":[],"more":1}"#, "unknown field `more`"),
            (
                r#"{"version":1,"holds":[{"server":"a b","by":"","reason":"","since":1}]}"#,
                "expected `backend/server`",
            ),
            (
                r#"{"version":1,"holds":[{"server":"a/b","by":"","reason":"\n","since":1}]}"#,
                "the hold of `a/b`: `reason` holds a control character",
            ),
        ] {
            let error = Holds::parse(text).unwrap_err().to_string();
            assert!(error.contains(cause), "{text}: {error}");
        }
    }
}
