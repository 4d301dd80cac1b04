//! How HAProxy fares, for people and for those who ask whether this program is to get requests.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;

use crate::exec::{CheckFault, ChildFault};
use crate::health::Health;
use crate::web::App;
use crate::web::auth::Authorized;
use crate::web::documents::{HaproxyHealth, HaproxyStatistics, SystemHealth, Validation};
use crate::web::openapi::Problems;
use crate::web::problem::{Document, Kind, Problem};

const PLAIN: &str = "text/plain; charset=utf-8";

/// The system at a glance
#[utoipa::path(get, path = "/api/health/system", tag = "health",
    responses((status = 200, description = "How it fares", body = SystemHealth), Problems))]
pub(super) async fn system(State(app): State<Arc<App>>) -> Json<SystemHealth> {
    Json(SystemHealth::of(&app.watch.latest(), Timestamp::now()))
}

/// HAProxy's health in detail
///
/// The status is in the document: the answer is 200 whatever it is. `/readyz` tells it by its status code.
#[utoipa::path(get, path = "/api/health/haproxy", tag = "health",
    responses((status = 200, description = "How it fares", body = HaproxyHealth), Problems))]
pub(super) async fn haproxy(State(app): State<Arc<App>>) -> Json<HaproxyHealth> {
    Json(HaproxyHealth::of(&app.watch.latest(), Timestamp::now()))
}

/// What HAProxy counts, by server and proxy
#[utoipa::path(get, path = "/api/health/haproxy/stats", tag = "health", security(("token" = [])),
    responses(
        (status = 200, description = "As of the last check", body = HaproxyStatistics),
        (status = 503, description = "HAProxy does not answer", body = crate::web::problem::Document,
            content_type = "application/problem+json",
            headers(("Retry-After" = u64, description = "When to ask again, in seconds"))),
        Problems))]
pub(super) async fn statistics(_: Authorized, State(app): State<Arc<App>>) -> Result<Response, Problem> {
    let health = app.watch.latest();
    match (&health.reading, &health.check) {
        (Some(reading), Some(check)) => Ok(Json(HaproxyStatistics::of(reading, check.at)).into_response()),
        _ => Err(unavailable(&health)),
    }
}

/// Whether HAProxy would start with its configuration
///
/// Its program is asked, with the files on the disk as they are now; the HAProxy that runs is not. The answer is 200
/// whatever it says.
#[utoipa::path(get, path = "/api/health/haproxy/validate", tag = "health", security(("token" = [])),
    responses(
        (status = 200, description = "It would, or it would not", body = Validation),
        (status = 501, description = "`serve` does not know its configuration", body = Document,
            content_type = "application/problem+json"),
        (status = 502, description = "Its program could not be run to its end", body = Document,
            content_type = "application/problem+json"),
        (status = 504, description = "It did not end in time, and was killed", body = Document,
            content_type = "application/problem+json"),
        Problems))]
pub(super) async fn validate(
    _: Authorized,
    State(app): State<Arc<App>>,
) -> Result<Json<Validation>, Problem> {
    let why = "serve was started without --config FILE";
    let validator = app.validator.as_ref().ok_or_else(|| Kind::NotConfigured.because(why))?;
    let answer = validator.validate().await.map_err(|_| Kind::Unchecked.because("serve is ending"))?;
    match &*answer {
        Ok(checked) => Ok(Json(Validation::of(checked))),
        Err(fault @ CheckFault::Child { fault: ChildFault::Overran(..), .. }) => {
            Err(Kind::CheckTimeout.because(fault.to_string()))
        }
        Err(fault) => Err(Kind::Unchecked.because(fault.to_string())),
    }
}

/// Whether this program runs
#[utoipa::path(get, path = "/healthz", tag = "probes",
    responses((status = 200, description = "It does", body = String, content_type = "text/plain"), Problems))]
pub(super) async fn alive() -> Response {
    ([(CONTENT_TYPE, PLAIN)], "ok\n").into_response()
}

/// Whether HAProxy answers
#[utoipa::path(get, path = "/readyz", tag = "probes",
    responses(
        (status = 200, description = "It does", body = String, content_type = "text/plain"),
        (status = 503, description = "It does not", body = crate::web::problem::Document,
            content_type = "application/problem+json",
            headers(("Retry-After" = u64, description = "When to ask again, in seconds"))),
        Problems))]
pub(super) async fn ready(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    let health = app.watch.latest();
    if health.judgement.status.answers() { Ok(alive().await) } else { Err(unavailable(&health)) }
}

/// Why nothing is known of HAProxy, and when there may be more.
fn unavailable(health: &Health) -> Problem {
    let why = health.check.as_ref().and_then(|check| check.error.clone());
    let why = why.unwrap_or_else(|| "HAProxy was not asked yet".into());
    match health.circuit.retry_at {
        Some(at) => Problem::circuit_open(why, Some(at)),
        None => Kind::Unavailable.because(why).after(std::time::Duration::from_secs(1)),
    }
}
