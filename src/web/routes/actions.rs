//! What changes servers and programs: the operator's commands, run by [`crate::overview::Desk`].

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;

use crate::overview::{Action, Declined, Job, Subject};
use crate::web::App;
use crate::web::auth::{Authorized, Reader};
use crate::web::connections::Client;
use crate::web::openapi::{Accepted, Problems};
use crate::web::overview::{JobAnswer, why_no_actions};
use crate::web::problem::{Document, Kind, Problem};

type Begun = Result<(StatusCode, Json<JobAnswer>), Problem>;

/// Let a server take traffic
///
/// As the command `ready` does it, with its refusals.
#[utoipa::path(post, path = "/api/servers/{backend}/{server}/ready", tag = "actions", security(("token" = [])),
    params(("backend" = String, Path, description = "Its backend"), ("server" = String, Path, description = "Its name")),
    responses(Accepted, Problems))]
pub(super) async fn ready(
    _: Authorized,
    State(app): State<Arc<App>>,
    Extension(client): Extension<Client>,
    Path(names): Path<(String, String)>,
) -> Begun {
    act_on_server(&app, Action::Ready, &names, &client)
}

/// Let a server finish what it has begun
///
/// As the command `drain` does it, with its refusals.
#[utoipa::path(post, path = "/api/servers/{backend}/{server}/drain", tag = "actions", security(("token" = [])),
    params(("backend" = String, Path, description = "Its backend"), ("server" = String, Path, description = "Its name")),
    responses(Accepted, Problems))]
pub(super) async fn drain(
    _: Authorized,
    State(app): State<Arc<App>>,
    Extension(client): Extension<Client>,
    Path(names): Path<(String, String)>,
) -> Begun {
    act_on_server(&app, Action::Drain, &names, &client)
}

/// Take a server out of traffic
///
/// As the command `maint` does it, with its refusals.
#[utoipa::path(post, path = "/api/servers/{backend}/{server}/maint", tag = "actions", security(("token" = [])),
    params(("backend" = String, Path, description = "Its backend"), ("server" = String, Path, description = "Its name")),
    responses(Accepted, Problems))]
pub(super) async fn maint(
    _: Authorized,
    State(app): State<Arc<App>>,
    Extension(client): Extension<Client>,
    Path(names): Path<(String, String)>,
) -> Begun {
    act_on_server(&app, Action::Maint, &names, &client)
}

/// Restart a program without losing a request
///
/// As the command `restart` does it, with its refusals and limits of time.
#[utoipa::path(post, path = "/api/programs/{program}/restart", tag = "actions", security(("token" = [])),
    params(("program" = String, Path, description = "As supervisorctl writes it")),
    responses(Accepted, Problems))]
pub(super) async fn restart(
    _: Authorized,
    State(app): State<Arc<App>>,
    Extension(client): Extension<Client>,
    Path(program): Path<String>,
) -> Begun {
    let overview = app.overview.latest();
    let found = overview.program(&program).cloned();
    begin(&app, Action::Restart, found.map(Subject::Program), &client)
}

/// What became of what somebody asked for
#[utoipa::path(get, path = "/api/jobs/{id}", tag = "actions", security((), ("token" = [])),
    params(("id" = String, Path, description = "Its number")),
    responses(
        (status = 200, description = "How far it is", body = JobAnswer),
        (status = 404, description = "There is none of that number among the last fifty", body = Document,
            content_type = "application/problem+json"),
        Problems))]
pub(super) async fn job(
    _: Reader,
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Json<JobAnswer>, Problem> {
    let found = id.parse().ok().and_then(|id| app.overview.desk()?.job(id));
    let job = found.ok_or_else(|| {
        Kind::Http(StatusCode::NOT_FOUND).because("there is no job of that number among the last fifty")
    })?;
    Ok(Json(job.into()))
}

fn act_on_server(app: &App, action: Action, (backend, server): &(String, String), client: &Client) -> Begun {
    let overview = app.overview.latest();
    let found = overview.server(backend, server).cloned();
    begin(app, action, found.map(Subject::Server), client)
}

/// Nothing that a client wrote goes any further: the subject is one of the overview's own.
fn begin(app: &App, action: Action, subject: Option<Subject>, client: &Client) -> Begun {
    let (Some(desk), None) = (app.overview.desk(), why_no_actions(app)) else {
        return Err(Kind::Closed.because(why_no_actions(app).unwrap_or_default()));
    };
    refuse_while_open(app)?;
    if app.overview.latest().supervisord.is_none() {
        return Err(Kind::Unavailable.because("nothing was looked at yet").after(Duration::from_secs(1)));
    }
    let subject = subject.ok_or_else(|| {
        Kind::Http(StatusCode::NOT_FOUND).because(match action {
            Action::Restart => {
                "there is no such program that a server stands for; /api/overview has those that there are"
            }
            _ => "there is no such server; /api/overview has those that there are",
        })
    })?;
    let begun = desk.begin(action, subject, client.0.to_string());
    begun.map(accepted).map_err(declined)
}

/// One breaker stands before all that is to do with HAProxy.
fn refuse_while_open(app: &App) -> Result<(), Problem> {
    let health = app.watch.latest();
    let why = || health.check.as_ref().and_then(|check| check.error.clone()).unwrap_or_default();
    health.circuit.allows().map_err(|until| Problem::circuit_open(why(), until))
}

fn accepted(job: Job) -> (StatusCode, Json<JobAnswer>) {
    (StatusCode::ACCEPTED, Json(job.into()))
}

fn declined(declined: Declined) -> Problem {
    match declined {
        Declined::Taken(id) => {
            Kind::ActionRunning.because(format!("job {id} is at work on it; wait for its end"))
        }
        Declined::Full(pause) => Kind::Http(StatusCode::TOO_MANY_REQUESTS)
            .because("as many actions as may be are under way")
            .after(pause),
        Declined::System(why) => Kind::Http(StatusCode::INTERNAL_SERVER_ERROR).because(why),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::header::RETRY_AFTER;
    use axum::response::IntoResponse;

    use super::*;

    #[test]
    fn each_reason_has_its_status() {
        for (reason, status, retry_after) in [
            (Declined::Taken(7), 409, None),
            (Declined::Full(Duration::from_secs(5)), 429, Some("5")),
            (Declined::System("no threads".into()), 500, None),
        ] {
            let response = declined(reason).into_response();
            let told = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
            assert_eq!((response.status().as_u16(), told), (status, retry_after));
        }
    }
}
