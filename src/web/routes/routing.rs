//! The table of routes, read and changed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, ETAG, LOCATION};
use axum::response::{IntoResponse, Response};

use super::unreadable;
use crate::config_change::{ChangeError, Check, Host, LockError, RouteError, Routes, Target};
use crate::web::App;
use crate::web::auth::{Admin, Reader};
use crate::web::changes::{Changed, Changes, Refused};
use crate::web::documents::{
    HostName, IfKnown, IfMatch, IfNoneMatch, NewRoute, NewTarget, Route, RouteChange, RouteTable,
};
use crate::web::openapi::{Problems, Unchanged};
use crate::web::preconditions::Preconditions;
use crate::web::problem::{Document, Kind, Problem};

/// When a client that found others at work is to come again.
const AFTER_OTHERS: Duration = Duration::from_secs(5);

/// All routes
///
/// `ETag` is the version of the table: it is another one for another table.
#[utoipa::path(get, path = "/api/routes", tag = "routes", security((), ("token" = [])),
    params(IfKnown, IfMatch),
    responses(
        (status = 200, description = "The table", body = RouteTable,
            headers(("ETag" = String, description = "The version of the table"))),
        (status = 304, description = "It is the one that is known"),
        (status = 501, description = "`serve` has no routes", body = Document,
            content_type = "application/problem+json"),
        Problems))]
pub(super) async fn list(
    _: Reader,
    State(app): State<Arc<App>>,
    preconditions: Preconditions,
) -> Result<Response, Problem> {
    let routes = desk(&app)?.look().await.map_err(problem)?;
    let table = RouteTable::of(&routes);
    Ok(shown(&preconditions, &routes.tag(), Json(table)))
}

/// The route of one host
///
/// Its `ETag` is that of the table.
#[utoipa::path(get, path = "/api/routes/{host}", tag = "routes", security((), ("token" = [])),
    params(HostName, IfKnown, IfMatch),
    responses(
        (status = 200, description = "The route", body = Route,
            headers(("ETag" = String, description = "The version of the table"))),
        (status = 304, description = "It is the one that is known"),
        (status = 404, description = "The host is not routed", body = Document,
            content_type = "application/problem+json"),
        (status = 501, description = "`serve` has no routes", body = Document,
            content_type = "application/problem+json"),
        Problems))]
pub(super) async fn show(
    _: Reader,
    State(app): State<Arc<App>>,
    Path(host): Path<String>,
    preconditions: Preconditions,
) -> Result<Response, Problem> {
    let desk = desk(&app)?;
    let host = parse_host(&host)?;
    let routes = desk.look().await.map_err(problem)?;
    let target = routes.get(&host).ok_or_else(|| missing(&host))?;
    Ok(shown(&preconditions, &routes.tag(), Json(Route::of(&host, target))))
}

fn shown(preconditions: &Preconditions, tag: &str, document: impl IntoResponse) -> Response {
    if !preconditions.matches(tag, true) {
        return Kind::Http(StatusCode::PRECONDITION_FAILED).because(outdated(tag)).into_response();
    }
    // It may be kept by the client that has it, which asks whether it is still so.
    let headers = [(ETAG, format!("\"{tag}\"")), (CACHE_CONTROL, "private, no-cache".to_owned())];
    if preconditions.is_known(tag, true) {
        (StatusCode::NOT_MODIFIED, headers).into_response()
    } else {
        (headers, document).into_response()
    }
}

/// Route the requests for a host to a server
///
/// HAProxy checks the change, takes it and answers, or all is as it was before. What has begun goes on to its end where
/// the client does not wait for it.
#[utoipa::path(post, path = "/api/routes", tag = "routes", request_body = NewRoute,
    security(("token" = [], "adminKey" = [])),
    params(IfMatch),
    responses(
        (status = 200, description = "The host was routed so already", body = RouteChange),
        (status = 201, description = "It is in force", body = RouteChange,
            headers(("Location" = String, description = "The path of the route"))),
        Unchanged,
        Problems))]
pub(super) async fn add(
    _: Admin,
    State(app): State<Arc<App>>,
    preconditions: Preconditions,
    order: Result<Json<NewRoute>, JsonRejection>,
) -> Result<Response, Problem> {
    let desk = desk(&app)?;
    let Json(NewRoute { host, url, check }) = order.map_err(|rejection| unreadable(&rejection))?;
    let (host, target) = (parse_host(&host)?, parse_target(&url, check.as_deref())?);
    route(&app, desk, preconditions, host, target, false).await
}

/// Route the requests for a host to a server, whatever they go to now
#[utoipa::path(put, path = "/api/routes/{host}", tag = "routes", request_body = NewTarget,
    security(("token" = [], "adminKey" = [])),
    params(HostName, IfMatch, IfNoneMatch),
    responses(
        (status = 200, description = "It is in force", body = RouteChange),
        (status = 201, description = "It is in force, and the host was not routed before", body = RouteChange,
            headers(("Location" = String, description = "The path of the route"))),
        Unchanged,
        Problems))]
pub(super) async fn replace(
    _: Admin,
    State(app): State<Arc<App>>,
    Path(host): Path<String>,
    preconditions: Preconditions,
    order: Result<Json<NewTarget>, JsonRejection>,
) -> Result<Response, Problem> {
    let desk = desk(&app)?;
    let Json(NewTarget { url, check }) = order.map_err(|rejection| unreadable(&rejection))?;
    let (host, target) = (parse_host(&host)?, parse_target(&url, check.as_deref())?);
    route(&app, desk, preconditions, host, target, true).await
}

/// Take the route of a host away
#[utoipa::path(delete, path = "/api/routes/{host}", tag = "routes",
    security(("token" = [], "adminKey" = [])),
    params(HostName, IfMatch),
    responses(
        (status = 200, description = "It is in force", body = RouteChange),
        (status = 404, description = "The host is not routed", body = Document,
            content_type = "application/problem+json"),
        Unchanged,
        Problems))]
pub(super) async fn remove(
    _: Admin,
    State(app): State<Arc<App>>,
    Path(host): Path<String>,
    preconditions: Preconditions,
) -> Result<Json<RouteChange>, Problem> {
    let desk = desk(&app)?;
    let host = parse_host(&host)?;
    app.watch.latest().circuit.allows().map_err(left_alone)?;
    let gone = host.clone();
    let edit = move |routes: &mut Routes| {
        check(&preconditions, routes, routes.get(&gone).is_some())?;
        Ok(routes.remove(&gone)?)
    };
    let changed = desk.change(format!("remove {host}"), edit).await.map_err(problem)?;
    Ok(Json(RouteChange::of(&changed, &format!("`{host}` is not routed"), None)))
}

async fn route(
    app: &App,
    desk: &Changes,
    preconditions: Preconditions,
    host: Host,
    target: Target,
    may_replace: bool,
) -> Result<Response, Problem> {
    app.watch.latest().circuit.allows().map_err(left_alone)?;
    let (name, to) = (host.clone(), target.clone());
    let (sender, existed) = std::sync::mpsc::sync_channel(1);
    let edit = move |routes: &mut Routes| {
        let exists = routes.get(&name).is_some();
        // What `If-Match: *` asks of the table is that there is one.
        check(&preconditions, routes, exists || !may_replace)?;
        let _ = sender.send(exists);
        Ok(routes.add(name, to, may_replace)?)
    };
    let changed = desk.change(format!("route {host} to {target}"), edit).await.map_err(problem)?;
    let is_new = existed.try_recv() == Ok(false);
    Ok(routed(&changed, &host, &target, is_new))
}

fn routed(changed: &Changed, host: &Host, target: &Target, is_new: bool) -> Response {
    let what = format!("`{host}` goes to {target}");
    let document = Json(RouteChange::of(changed, &what, Some(Route::of(host, target))));
    if is_new {
        (StatusCode::CREATED, [(LOCATION, format!("/api/routes/{host}"))], document).into_response()
    } else {
        document.into_response()
    }
}

fn desk(app: &App) -> Result<&Changes, Problem> {
    let why = "serve was started without --routes DIR";
    app.changes.as_ref().ok_or_else(|| Kind::NotConfigured.because(why))
}

// --- what clients send

fn bad(detail: String) -> Problem {
    Kind::Http(StatusCode::BAD_REQUEST).because(detail)
}

fn parse_host(text: &str) -> Result<Host, Problem> {
    text.parse().map_err(|error| bad(format!("host `{}`: {error}", text.escape_debug())))
}

fn parse_target(url: &str, check: Option<&str>) -> Result<Target, Problem> {
    let check = check.map(|text| {
        text.parse::<Check>().map_err(|error| bad(format!("check `{}`: {error}", text.escape_debug())))
    });
    Target::new(url, check.transpose()?)
        .map_err(|error| bad(format!("url `{}`: {error}", url.escape_debug())))
}

fn check(preconditions: &Preconditions, routes: &Routes, exists: bool) -> Result<(), ChangeError> {
    let tag = routes.tag();
    if preconditions.hold(&tag, exists) { Ok(()) } else { Err(ChangeError::Outdated(outdated(&tag))) }
}

fn outdated(tag: &str) -> String {
    format!(
        "the routes are at version \"{tag}\", and the request asks for something else in `If-Match` or `If-None-Match`; \
         look at them again"
    )
}

// --- what clients are told

fn missing(host: &Host) -> Problem {
    Kind::Http(StatusCode::NOT_FOUND)
        .because(format!("`{host}` is not routed; GET /api/routes shows what is"))
}

fn left_alone(until: Option<Instant>) -> Problem {
    Problem::circuit_open("HAProxy does not answer, and is left alone for a while", until)
}

fn problem(refused: Refused) -> Problem {
    match refused {
        Refused::Change(error) => of_change(error),
        Refused::Busy(within) => {
            let text = format!("others are changing routes, and did not come to an end within {within:?}");
            Kind::Locked.because(text).after(AFTER_OTHERS)
        }
        Refused::Ending => Kind::Locked.because("serve is ending; nothing was changed").after(AFTER_OTHERS),
    }
}

fn of_change(error: ChangeError) -> Problem {
    let text = error.to_string();
    match error {
        ChangeError::Route(RouteError::Missing(host)) => missing(&host),
        ChangeError::Route(RouteError::Taken(host, other)) => Kind::RouteTaken.because(format!(
            "`{host}` is routed to {other} already; send PUT /api/routes/{host} to route it anew"
        )),
        ChangeError::Outdated(_) => Kind::Http(StatusCode::PRECONDITION_FAILED).because(text),
        ChangeError::Refused(_) | ChangeError::Routes(_) | ChangeError::Foreign(_) => {
            Kind::Refused.because(text)
        }
        ChangeError::Invalid(_) => Kind::Rejected.because(text),
        ChangeError::Lock(LockError::Taken { .. }) => Kind::Locked.because(text).after(AFTER_OTHERS),
        ChangeError::NotReady(_) => Kind::Unavailable.because(text).after(AFTER_OTHERS),
        ChangeError::Unchecked(_) => Kind::Unchecked.because(text),
        ChangeError::Undone(_) => Kind::Undone.because(text),
        ChangeError::Stuck { .. } | ChangeError::Halfway(_) => Kind::Stuck.because(text),
        ChangeError::Lock(_) | ChangeError::File(_) | ChangeError::Archive(_) => Kind::Storage.because(text),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::header::RETRY_AFTER;

    use super::*;

    fn status(error: ChangeError) -> (u16, bool) {
        let response = of_change(error).into_response();
        (response.status().as_u16(), response.headers().contains_key(RETRY_AFTER))
    }

    #[test]
    fn each_end_of_a_change_has_its_status() {
        let x = || "x".to_owned();
        let host: Host = "a.example".parse().unwrap();
        for (error, expected) in [
            (ChangeError::Route(RouteError::Missing(host.clone())), (404, false)),
            (ChangeError::Route(RouteError::Taken(host, x())), (409, false)),
            (ChangeError::Refused(x()), (409, false)),
            (ChangeError::Foreign(x()), (409, false)),
            (ChangeError::Outdated(x()), (412, false)),
            (ChangeError::Invalid(x()), (422, false)),
            (ChangeError::Stuck { why: x(), then: x() }, (500, false)),
            (ChangeError::Halfway(x()), (500, false)),
            (ChangeError::Undone(x()), (502, false)),
            (ChangeError::Unchecked(x()), (502, false)),
            (ChangeError::NotReady(x()), (503, true)),
            (ChangeError::Lock(LockError::Taken { owner: x(), within: AFTER_OTHERS }), (503, true)),
        ] {
            let text = error.to_string();
            assert_eq!(status(error), expected, "{text}");
        }
    }
}
