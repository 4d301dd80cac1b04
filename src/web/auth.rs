//! Who is let in: a token in `Authorization: Bearer`, and for what changes something a second key in `X-Admin-Key`.

use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use subtle::ConstantTimeEq;
use thiserror::Error;

use super::App;
use super::problem::{Kind, Problem};

/// A token or a key. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// Why a text is no secret.
#[derive(Debug, Error)]
pub enum SecretError {
    /// Too easy to guess.
    #[error("it has fewer than {SHORTEST} characters; `openssl rand -hex 32` makes a good one")]
    Short,
    /// Clients could not send it.
    #[error("it holds a character that no HTTP header can carry: letters, digits and `-._~+/=` are good")]
    Character,
    /// There is no file, or it may not be read.
    #[error("cannot be read: {0}")]
    File(#[from] std::io::Error),
    /// Anybody on the machine could read it.
    #[error("anybody on this machine may read it; `chmod o= FILE`")]
    Public,
}

/// 16 characters of `openssl rand -hex` are 64 bits, which nobody tries out over a network.
const SHORTEST: usize = 16;
const ADMIN_KEY: &str = "x-admin-key";

impl Secret {
    /// Takes it as it stands.
    pub fn new(text: &str) -> Result<Self, SecretError> {
        if text.len() < SHORTEST {
            return Err(SecretError::Short);
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(SecretError::Character);
        }
        Ok(Self(text.to_owned()))
    }

    /// The first line of a file that not everybody may read.
    pub fn read(path: &Path) -> Result<Self, SecretError> {
        let text = fs::read_to_string(path)?;
        if fs::metadata(path)?.permissions().mode() & 0o004 != 0 {
            return Err(SecretError::Public);
        }
        Self::new(text.lines().next().unwrap_or_default().trim())
    }

    /// For those who make a signature with it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// In the same time for all texts of the same length.
    fn is(&self, text: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(text).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What clients have to show.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    /// For what not everybody may see.
    pub token: Option<Secret>,
    /// For what changes something, beside the token.
    pub admin_key: Option<Secret>,
}

/// Proof that the client has shown the token.
pub(super) struct Authorized;

impl FromRequestParts<Arc<App>> for Authorized {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let Some(token) = &app.keys.token else {
            return Err(Kind::Closed.because("serve has no token: start it with --token-file FILE"));
        };
        match bearer(parts) {
            Some(shown) if token.is(shown) => Ok(Self),
            Some(_) => Err(Kind::Unauthorized.because("the token is wrong")),
            None => Err(Kind::Unauthorized.because("a token is missing: send `Authorization: Bearer TOKEN`")),
        }
    }
}

/// Proof that the client may read: it has shown the token, or there is none to show.
pub(super) struct Reader;

impl FromRequestParts<Arc<App>> for Reader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        if app.keys.token.is_some() {
            Authorized::from_request_parts(parts, app).await?;
        }
        Ok(Self)
    }
}

/// Proof that the client has shown the token and the admin key.
pub(super) struct Admin;

impl FromRequestParts<Arc<App>> for Admin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let Authorized = Authorized::from_request_parts(parts, app).await?;
        let Some(key) = &app.keys.admin_key else {
            return Err(Kind::Closed.because("serve has no admin key: start it with --admin-key-file FILE"));
        };
        let mut shown = parts.headers.get_all(ADMIN_KEY).iter();
        match (shown.next(), shown.next()) {
            (Some(shown), None) if key.is(shown.as_bytes()) => Ok(Self),
            (None, _) => Err(Kind::Forbidden.because("the key is missing: send `X-Admin-Key: KEY`, too")),
            _ => Err(Kind::Forbidden.because("the admin key is wrong")),
        }
    }
}

/// What stands behind `Bearer` (RFC 6750, 2.1; the word's case does not matter, RFC 9110, 11.1). Of two headers,
/// none counts.
fn bearer(parts: &Parts) -> Option<&[u8]> {
    let mut values = parts.headers.get_all(AUTHORIZATION).iter();
    let (value, None) = (values.next()?.as_bytes(), values.next()) else { return None };
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn shown(values: &[&str]) -> Option<Vec<u8>> {
        let mut request = Request::builder();
        for value in values {
            request = request.header(AUTHORIZATION, *value);
        }
        bearer(&request.body(()).unwrap().into_parts().0).map(<[u8]>::to_vec)
    }

    #[test]
    fn a_token_stands_behind_the_word_bearer() {
        assert_eq!(shown(&["Bearer abc"]), Some(b"abc".to_vec()));
        assert_eq!(shown(&["bEARER abc"]), Some(b"abc".to_vec()));
        assert_eq!(shown(&["Bearer "]), Some(b"".to_vec()));
        for values in [&[][..], &["Bearer"], &["Basic abc"], &["abc"], &["Bearer a", "Bearer a"]] {
            assert_eq!(shown(values), None, "{values:?}");
        }
    }

    #[test]
    fn a_secret_is_long_and_can_be_sent() {
        let secret = Secret::new("0123456789abcdef").unwrap();
        assert!(secret.is(b"0123456789abcdef"));
        for other in [&b"0123456789abcdeF"[..], b"", b"0123456789abcde", b"0123456789abcdef0"] {
            assert!(!secret.is(other), "{other:?}");
        }
        assert_eq!(format!("{secret:?}"), "Secret(…)");
        assert!(matches!(Secret::new("0123456789abcde"), Err(SecretError::Short)));
        assert!(matches!(Secret::new("0123456789 abcdef"), Err(SecretError::Character)));
    }

    #[test]
    fn a_file_that_everybody_may_read_keeps_no_secret() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        fs::write(&path, "0123456789abcdef\nrest\n").unwrap();
        let with_mode = |mode| {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            Secret::read(&path)
        };
        assert!(matches!(with_mode(0o644), Err(SecretError::Public)));
        assert!(with_mode(0o640).unwrap().is(b"0123456789abcdef"));
    }
}
