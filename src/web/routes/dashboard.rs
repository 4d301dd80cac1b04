//! The dashboard: one page that holds all it needs, and no data. What it shows, it asks for over the API, with the token
//! where `serve` has one.

use std::sync::LazyLock;

use axum::body::Bytes;
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};

use crate::web::openapi::Problems;

const HTML: &str = "text/html; charset=utf-8";
const FRAME: &str = include_str!("../dashboard/index.html");
const STYLE: &str = include_str!("../dashboard/style.css");
/// One module in the end: browsers would have to fetch those that import each other, one by one.
const SCRIPT: &str = concat!(
    include_str!("../dashboard/dom.js"),
    include_str!("../dashboard/words.js"),
    include_str!("../dashboard/link.js"),
    include_str!("../dashboard/sessions.js"),
    include_str!("../dashboard/servers.js"),
    include_str!("../dashboard/timeline.js"),
    include_str!("../dashboard/jobs.js"),
    include_str!("../dashboard/actions.js"),
    include_str!("../dashboard/app.js"),
);

static PAGE: LazyLock<Bytes> =
    LazyLock::new(|| FRAME.replace("/*STYLE*/", STYLE).replace("/*SCRIPT*/", SCRIPT).into());

/// Names of servers and reasons of holds are others' texts. Should one of them become markup in spite of all, no
/// script but this one runs, nothing is loaded from anywhere, and no text is taken as HTML at all.
static POLICY: LazyLock<Option<HeaderValue>> = LazyLock::new(|| {
    let policy = format!(
        "default-src 'none'; script-src '{}'; style-src '{}'; connect-src 'self'; img-src data:; \
         frame-ancestors 'none'; base-uri 'none'; form-action 'none'; \
         require-trusted-types-for 'script'; trusted-types 'none'",
        digest(SCRIPT),
        digest(STYLE),
    );
    HeaderValue::try_from(policy).ok()
});

/// What a policy calls a text that it allows (CSP level 3, 2.3.1).
fn digest(text: &str) -> String {
    format!("sha256-{}", BASE64_STANDARD.encode(Sha256::digest(text)))
}

const HEADERS: [(HeaderName, &str); 4] = [
    (CONTENT_TYPE, HTML),
    (REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// The dashboard
///
/// A page for people. It holds no data, and asks for what it shows by the other paths of this document.
#[utoipa::path(get, path = "/", tag = "dashboard",
    responses((status = 200, description = "The page", body = String, content_type = "text/html"), Problems))]
pub(super) async fn dashboard() -> Response {
    let mut response = (HEADERS, PAGE.clone()).into_response();
    match &*POLICY {
        Some(policy) => drop(response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy.clone())),
        // Never without it. It is ASCII, so this does not happen.
        None => return axum::http::StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> String {
        String::from_utf8(PAGE.to_vec()).unwrap()
    }

    #[test]
    fn the_page_is_whole() {
        for text in ["/*STYLE*/", "/*SCRIPT*/"] {
            assert_eq!((FRAME.matches(text).count(), page().matches(text).count()), (1, 0), "{text}");
        }
        assert!(page().contains(STYLE) && page().contains(SCRIPT));
    }

    #[test]
    fn nothing_in_it_ends_the_script_or_the_style_early() {
        for (text, end) in [(SCRIPT, "</script"), (SCRIPT, "<!--"), (STYLE, "</style")] {
            assert!(!text.contains(end), "{end}");
        }
        for word in
            [" onclick=", " onerror=", " onload=", " style=\"", "innerHTML", "insertAdjacentHTML", "eval("]
        {
            assert!(!page().contains(word), "{word}");
        }
    }

    #[test]
    fn the_policy_allows_this_page_and_nothing_else() {
        let policy = POLICY.as_ref().unwrap().to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'sha256-"), "{policy}");
        for word in ["unsafe", "http", "*"] {
            assert!(!policy.contains(word), "{word}: {policy}");
        }
        // `printf x | openssl dgst -sha256 -binary | base64`
        assert_eq!(digest("x"), "sha256-LXEWQrcmsEQBYnyp+6wy9chTD7GQPMTbAiWHF5IaSIE=");
    }

    #[test]
    fn nothing_is_fetched_from_elsewhere() {
        let page = page();
        let urls = page.match_indices("http").map(|(at, _)| page[at..].split(['"', '\'']).next().unwrap());
        let foreign =
            urls.filter(|url| url.contains("://") && !url.starts_with("http://www.w3.org/2000/svg"));
        assert_eq!(foreign.collect::<Vec<_>>(), Vec::<&str>::new());
    }
}
