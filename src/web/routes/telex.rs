//! Reports for Telex: the document that describes this program to it, and the ticks that it sends. Both are open, for
//! Telex has no token to show: what a tick may ask and tell is in the allow-lists.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, HOST};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;

use super::unreadable;
use crate::alerts::TickFault;
use crate::web::documents::{Accepted, Integration, TickRequest};
use crate::web::openapi::Problems;
use crate::web::problem::{Document, Kind, Problem};
use crate::web::{App, Telex};

/// Names the scheme that a proxy in front was asked with.
const FORWARDED_PROTO: &str = "x-forwarded-proto";

/// What Telex is to know of this program
///
/// Its URLs are those of the request: of the `Host` and, behind a proxy, of `X-Forwarded-Proto`.
#[utoipa::path(get, path = "/integration.json", tag = "telex",
    responses(
        (status = 200, description = "The settings, and where ticks go", body = Integration),
        (status = 400, description = "The request has no `Host` that makes a URL", body = Document,
            content_type = "application/problem+json"),
        Problems))]
pub(super) async fn integration(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    let telex = telex(&app)?;
    let base = base(&headers).ok_or_else(|| {
        Kind::Http(StatusCode::BAD_REQUEST)
            .because("send a `Host` with the name that Telex reaches this program by")
    })?;
    // Telex reads it in its users' browsers; there is nothing in it that not everybody may know.
    Ok(([(ACCESS_CONTROL_ALLOW_ORIGIN, "*")], Json(Integration::at(&base, &telex.interval))))
}

/// Have a report sent
///
/// The statistics are fetched, and the report is sent, after the answer. `stats_endpoint` is the URL of HAProxy's
/// statistics as CSV, or `socket` for the HAProxy that this program watches. That URL and `return_url` have to be in the
/// allow-lists that this program was started with.
#[utoipa::path(post, path = "/tick", tag = "telex", request_body = TickRequest,
    responses(
        (status = 202, description = "The report will be made and sent", body = Accepted),
        (status = 400, description = "A setting is missing, or cannot be understood", body = Document,
            content_type = "application/problem+json"),
        (status = 403, description = "A URL is not allowed", body = Document,
            content_type = "application/problem+json"),
        (status = 429, description = "There were too many ticks lately", body = Document,
            content_type = "application/problem+json",
            headers(("Retry-After" = u64, description = "When there may be another, in seconds"))),
        (status = 503, description = "Too many reports wait to be sent", body = Document,
            content_type = "application/problem+json",
            headers(("Retry-After" = u64, description = "When to come again, in seconds"))),
        Problems))]
pub(super) async fn tick(
    State(app): State<Arc<App>>,
    request: Result<Json<TickRequest>, JsonRejection>,
) -> Result<(StatusCode, Json<Accepted>), Problem> {
    let telex = telex(&app)?;
    let Json(request) = request.map_err(|rejection| unreadable(&rejection))?;
    telex.ticks.accept(&request.order()).map_err(|fault| problem(&fault))?;
    Ok((StatusCode::ACCEPTED, Json(Accepted::DONE)))
}

fn telex(app: &App) -> Result<&Telex, Problem> {
    app.telex.as_ref().ok_or_else(|| Kind::Closed.because("serve was started without --telex"))
}

fn problem(fault: &TickFault) -> Problem {
    let text = fault.to_string();
    match fault {
        TickFault::Missing(_) | TickFault::Twice(_) | TickFault::Url(..) => {
            Kind::Http(StatusCode::BAD_REQUEST).because(text)
        }
        TickFault::Refused(..) => Kind::TargetRefused.because(text),
        TickFault::TooMany(pause) => Kind::Http(StatusCode::TOO_MANY_REQUESTS).because(text).after(*pause),
        TickFault::Full(pause) => Kind::Http(StatusCode::SERVICE_UNAVAILABLE).because(text).after(*pause),
    }
}

/// The URL that the request was sent to, without its path; none where its headers make none.
fn base(headers: &HeaderMap) -> Option<String> {
    let one = |name: &str| {
        let mut values = headers.get_all(name).iter();
        let value = values.next()?.to_str().ok()?;
        values.next().is_none().then_some(value)
    };
    let host: Authority = one(HOST.as_str())?.parse().ok()?;
    let is_plain = !host.host().is_empty() && !host.as_str().contains('@');
    let scheme = match one(FORWARDED_PROTO) {
        Some("https") => "https",
        _ => "http",
    };
    is_plain.then(|| format!("{scheme}://{host}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::http::header::RETRY_AFTER;

    use super::*;

    fn base_of(pairs: &[(&'static str, &'static str)]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        base(&headers)
    }

    #[test]
    fn the_base_is_that_of_the_request() {
        assert_eq!(base_of(&[("host", "h:8000")]).unwrap(), "http://h:8000");
        let behind_proxy = [("host", "lb.example.com"), ("x-forwarded-proto", "https")];
        assert_eq!(base_of(&behind_proxy).unwrap(), "https://lb.example.com");
        assert_eq!(
            base_of(&[("host", "[::1]:8000"), ("x-forwarded-proto", "javascript")]).unwrap(),
            "http://[::1]:8000"
        );
    }

    #[test]
    fn a_host_that_makes_no_url_makes_none() {
        assert_eq!(base_of(&[]), None);
        assert_eq!(base_of(&[("host", "a"), ("host", "b")]), None);
        for host in ["", ":80", "a b", "a/b", "user@h", "a\"b", "<h>", "http://h"] {
            let mut headers = HeaderMap::new();
            headers.append("host", host.parse().unwrap());
            assert_eq!(base(&headers), None, "{host}");
        }
    }

    #[test]
    fn each_fault_has_its_status() {
        let pause = Duration::from_secs(7);
        for (fault, status, retry_after) in [
            (TickFault::Missing("username"), 400, None),
            (TickFault::Twice("username"), 400, None),
            (TickFault::Refused("return_url", crate::alerts::Refusal::User), 403, None),
            (TickFault::TooMany(pause), 429, Some("7")),
            (TickFault::Full(pause), 503, Some("7")),
        ] {
            let response = problem(&fault).into_response();
            let told = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
            assert_eq!((response.status().as_u16(), told), (status, retry_after));
        }
    }
}
