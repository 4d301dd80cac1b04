//! All handlers, a file for each group, and what lies around every one of them.

mod actions;
mod dashboard;
mod health;
mod history;
mod metrics;
mod overview;
mod recovery;
mod routing;
mod telex;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::timeout::{RequestBodyTimeoutLayer, TimeoutLayer};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::problem::{Kind, PROBLEM_JSON, Problem};

/// For handlers that wait for nobody.
const REQUEST: Duration = Duration::from_secs(10);
/// Between two pieces of a body.
const BODY: Duration = Duration::from_secs(10);
/// A body holds a reason for a restart, or the settings of an integration.
const MAX_BODY: usize = 16 * 1024;
/// Of what no handler reads; more than above, so that one who reads it says what is wrong.
const MAX_SENT: usize = 64 * 1024;

/// Of a body.
const TOO_LONG: &str = "the body is longer than 16384 bytes";

/// The handlers with the paths that they have, and what the document says of them.
pub(super) fn handlers() -> OpenApiRouter<Arc<App>> {
    let quick = OpenApiRouter::new()
        .routes(routes!(dashboard::dashboard))
        .routes(routes!(health::system))
        .routes(routes!(health::haproxy))
        .routes(routes!(health::statistics))
        .routes(routes!(health::alive))
        .routes(routes!(health::ready))
        .routes(routes!(overview::overview))
        .routes(routes!(overview::sessions))
        .routes(routes!(overview::events))
        .routes(routes!(actions::ready))
        .routes(routes!(actions::drain))
        .routes(routes!(actions::maint))
        .routes(routes!(actions::restart))
        .routes(routes!(actions::job))
        .routes(routes!(metrics::metrics))
        .routes(routes!(history::history))
        .routes(routes!(telex::integration))
        .routes(routes!(telex::tick))
        .routes(routes!(super::openapi::openapi))
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, REQUEST));
    // What waits for HAProxy has limits of its own.
    quick
        .routes(routes!(recovery::recover))
        .routes(routes!(health::validate))
        .routes(routes!(routing::list, routing::add))
        .routes(routes!(routing::show, routing::replace, routing::remove))
}

/// All of it, ready to be served.
pub(super) fn router(app: Arc<App>) -> Router {
    let (router, _) = handlers().split_for_parts();
    router
        .layer(RequestBodyTimeoutLayer::new(BODY))
        .layer(RequestBodyLimitLayer::new(MAX_SENT))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(from_fn_with_state(Arc::clone(&app), around))
        .with_state(app)
}

/// Counts each request, and makes a problem of each error that was not made by a handler.
async fn around(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    // Paths of their own making are one route, or clients could fill the memory with them.
    let route = request.extensions().get::<MatchedPath>().cloned();
    let mut response = as_problem(next.run(request).await);
    app.count(route.as_ref().map_or("", MatchedPath::as_str), response.status().as_u16());
    let headers = response.headers_mut();
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// What is missing is a bad request, whoever misses it.
fn unreadable(rejection: &JsonRejection) -> Problem {
    match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Kind::Http(StatusCode::PAYLOAD_TOO_LARGE).because(TOO_LONG),
        StatusCode::UNPROCESSABLE_ENTITY => {
            Kind::Http(StatusCode::BAD_REQUEST).because(rejection.body_text())
        }
        status => Kind::Http(status).because(rejection.body_text()),
    }
}

fn as_problem(response: Response) -> Response {
    let status = response.status();
    let is_problem = response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == PROBLEM_JSON);
    if is_problem || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let mut problem = Kind::Http(status).because(detail(status)).into_response();
    if let Some(allowed) = response.headers().get(ALLOW) {
        problem.headers_mut().insert(ALLOW, allowed.clone());
    }
    problem
}

fn detail(status: StatusCode) -> &'static str {
    match status {
        StatusCode::NOT_FOUND => "there is nothing at this path; /openapi.json has those that there are",
        StatusCode::METHOD_NOT_ALLOWED => "the path takes the methods that stand in `Allow`",
        StatusCode::PAYLOAD_TOO_LARGE => TOO_LONG,
        StatusCode::REQUEST_TIMEOUT => "the request took too long",
        _ => "the request could not be answered",
    }
}
