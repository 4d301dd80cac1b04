//! Programs beside their servers: once, and as events.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::web::App;
use crate::web::auth::Reader;
use crate::web::events::{self, MOST_CLIENTS, StreamEvent};
use crate::web::openapi::Problems;
use crate::web::overview::{OverviewDocument, SessionsDocument};
use crate::web::problem::{Document, Kind, Problem};

const EVENT_STREAM: &str = "text/event-stream";
/// Proxies that gather answers (nginx) are asked not to.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
/// When a client may come again that found no room.
const COME_BACK: Duration = Duration::from_secs(5);

/// Programs beside their servers
///
/// As of the last look, which is made after each check. While the circuit is open, HAProxy is not asked, and what only
/// it knows is null.
#[utoipa::path(get, path = "/api/overview", tag = "overview", security((), ("token" = [])),
    responses((status = 200, description = "All of them", body = OverviewDocument), Problems))]
pub(super) async fn overview(_: Reader, State(app): State<Arc<App>>) -> Json<OverviewDocument> {
    Json(OverviewDocument::of(&app))
}

/// How many sessions each server had at the last checks
#[utoipa::path(get, path = "/api/overview/sessions", tag = "overview", security((), ("token" = [])),
    responses((status = 200, description = "By server", body = SessionsDocument), Problems))]
pub(super) async fn sessions(_: Reader, State(app): State<Arc<App>>) -> Json<SessionsDocument> {
    Json(SessionsDocument::of(&app))
}

/// What changes, as it does
///
/// Server-sent events: `overview` has the document of `/api/overview`, at the beginning and after each check or change,
/// at most one a second. A client that is slow misses those in between. `history` has an entry of `/api/history`, when
/// it happens. The stream ends after less than five minutes, and clients connect anew.
#[utoipa::path(get, path = "/api/events", tag = "overview", security((), ("token" = [])),
    responses(
        (status = 200, description = "Events, until the client or `serve` ends; the `data` of each is a document",
            body = inline(StreamEvent), content_type = "text/event-stream"),
        (status = 503, description = "Too many clients listen", body = Document,
            content_type = "application/problem+json",
            headers(("Retry-After" = u64, description = "When to come again, in seconds"))),
        Problems))]
pub(super) async fn events(_: Reader, State(app): State<Arc<App>>) -> Result<Response, Problem> {
    let body = events::body(&app).ok_or_else(|| {
        Kind::Http(StatusCode::SERVICE_UNAVAILABLE)
            .because(format!("{MOST_CLIENTS} clients listen already"))
            .after(COME_BACK)
    })?;
    Ok(([(CONTENT_TYPE, EVENT_STREAM), (X_ACCEL_BUFFERING, "no")], body).into_response())
}
