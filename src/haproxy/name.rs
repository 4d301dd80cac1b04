//! Names that may be written into a command line of HAProxy.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A server as HAProxy's commands name it, `backend/server`. It holds nothing but HAProxy's own character
/// set, so it can never end a command, begin another, or escape one. In JSON it is the same text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ServerRef {
    backend: Box<str>,
    server: Box<str>,
}

/// Why two names are no server of HAProxy.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NameError {
    /// No slash between the two.
    #[error("expected `backend/server`")]
    Form,
    /// A name without characters.
    #[error("the {0} name is empty")]
    Empty(&'static str),
    /// A character that HAProxy refuses in names.
    #[error("the {what} name `{}` holds {character:?}; HAProxy's names are made of letters, digits and `_ : . -`", name.escape_debug())]
    Character {
        /// `backend` or `server`.
        what: &'static str,
        /// The name.
        name: String,
        /// Its first bad character.
        character: char,
    },
    /// Longer than a command line may get.
    #[error("the {0} name is longer than {MAX_NAME} bytes")]
    Long(&'static str),
}

/// Two names and a command stay far below [`super::MAX_LINE`].
const MAX_NAME: usize = 1024;

impl ServerRef {
    /// Checks both names against HAProxy's set (configuration manual, 2.2 and "keywords and names").
    pub fn new(backend: &str, server: &str) -> Result<Self, NameError> {
        check("backend", backend)?;
        check("server", server)?;
        Ok(Self { backend: backend.into(), server: server.into() })
    }

    /// The backend's name.
    #[must_use]
    pub fn backend(&self) -> &str {
        &self.backend
    }

    /// The server's name within its backend.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }
}

/// A word made of HAProxy's own character set, so that it is one word in a configuration, a map or a command.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Word(Box<str>);

impl Word {
    /// Checks a text; `what` it is to be is for the words of the error.
    pub fn new(what: &'static str, text: &str) -> Result<Self, NameError> {
        check(what, text).map(|()| Self(text.into()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn check(what: &'static str, name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty(what));
    }
    if name.len() > MAX_NAME {
        return Err(NameError::Long(what));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '.' | '-');
    match name.chars().find(|&c| !allowed(c)) {
        Some(character) => Err(NameError::Character { what, name: name.to_owned(), character }),
        None => Ok(()),
    }
}

impl FromStr for ServerRef {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (backend, server) = text.split_once('/').ok_or(NameError::Form)?;
        Self::new(backend, server)
    }
}

impl TryFrom<String> for ServerRef {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<ServerRef> for String {
    fn from(server: ServerRef) -> Self {
        server.to_string()
    }
}

impl fmt::Display for ServerRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.backend, self.server)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_haproxys_characters_pass() {
        for byte in 0..=255_u8 {
            let name = format!("a{}b", char::from(byte));
            let allowed = byte.is_ascii_alphanumeric() || b"_:.-".contains(&byte);
            assert_eq!(ServerRef::new(&name, "s").is_ok(), allowed, "{byte}");
            assert_eq!(ServerRef::new("b", &name).is_ok(), allowed, "{byte}");
        }
    }

    #[test]
    fn a_second_command_cannot_be_smuggled_in() {
        let error = "app/a1 state ready; set server app/a2".parse::<ServerRef>().unwrap_err();
        assert!(error.to_string().contains("holds ' '"), "{error}");
        assert_eq!("app".parse::<ServerRef>(), Err(NameError::Form));
        assert_eq!("/a1".parse::<ServerRef>(), Err(NameError::Empty("backend")));
        assert_eq!("app/".parse::<ServerRef>(), Err(NameError::Empty("server")));
        assert_eq!(ServerRef::new("b", &"x".repeat(1025)), Err(NameError::Long("server")));
    }
}
