//! Has HAProxy restarted.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::TOO_LONG;
use crate::health::{Ordered, Outcome, Refused};
use crate::web::App;
use crate::web::auth::Admin;
use crate::web::documents::{Recovered, RecoveryOrder};
use crate::web::openapi::Problems;
use crate::web::problem::{Document, Kind, Problem};

/// Have HAProxy restarted
///
/// Its configuration is validated first, where `serve` knows it. The answer comes when HAProxy answers again, or when
/// the time for that is over. What was begun goes on where the client does not wait for it.
#[utoipa::path(post, path = "/api/health/haproxy/recover", tag = "health",
    security(("token" = [], "adminKey" = [])), request_body(content = Option<RecoveryOrder>),
    responses(
        (status = 200, description = "HAProxy answers again", body = Recovered),
        (status = 409, description = "Its configuration is not valid: it was not touched", body = Document,
            content_type = "application/problem+json"),
        (status = 429, description = "The hour has had its restarts", body = Document,
            content_type = "application/problem+json",
            headers(("Retry-After" = u64, description = "When there may be another, in seconds"))),
        (status = 501, description = "Recovery is not configured", body = Document,
            content_type = "application/problem+json"),
        (status = 502, description = "The restart failed, or HAProxy does not answer after it", body = Document,
            content_type = "application/problem+json"),
        (status = 503, description = "Another recovery is under way", body = Document,
            content_type = "application/problem+json"),
        Problems))]
pub(super) async fn recover(
    _: Admin,
    State(app): State<Arc<App>>,
    order: Result<Option<Json<Option<RecoveryOrder>>>, JsonRejection>,
) -> Result<Json<Recovered>, Problem> {
    let order = order.map_err(|rejection| unreadable(&rejection))?;
    let (sender, ended) = oneshot::channel();
    app.watch.recover(order.and_then(|Json(order)| order?.reason), move |ended| {
        // The client may be gone.
        let _ = sender.send(ended);
    });
    match timeout(app.watch.patience(), ended).await {
        Ok(Ok(ended)) => answer(ended),
        _ => Err(Kind::RecoveryFailed.because("the recovery did not end in time; it may go on")),
    }
}

fn unreadable(rejection: &JsonRejection) -> Problem {
    match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Kind::Http(StatusCode::PAYLOAD_TOO_LARGE).because(TOO_LONG),
        status => Kind::Http(status).because(rejection.body_text()),
    }
}

fn answer(ended: Ordered) -> Result<Json<Recovered>, Problem> {
    Err(match ended {
        Ordered::Ended(Outcome::Recovered) => return Ok(Json(Recovered::DONE)),
        Ordered::Ended(Outcome::Invalid(why)) => Kind::InvalidConfiguration.because(why),
        Ordered::Ended(outcome) => Kind::RecoveryFailed.because(outcome.to_string()),
        Ordered::Refused(Refused::NotConfigured) => {
            Kind::NoRecovery.because("serve was started without --recover or one of its like")
        }
        Ordered::Refused(Refused::Exhausted(pause)) => {
            Kind::RecoveriesExhausted.because("no more restarts are made within this hour").after(pause)
        }
        Ordered::Refused(Refused::Busy) => Kind::Busy.because("wait for its end"),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::response::IntoResponse;

    use super::*;

    #[test]
    fn each_end_of_a_recovery_has_its_status() {
        let ended = |outcome| Ordered::Ended(outcome);
        for (ended, status) in [
            (ended(Outcome::Recovered), 200),
            (ended(Outcome::Invalid("x".into())), 409),
            (ended(Outcome::Failed("x".into())), 502),
            (ended(Outcome::Silent("x".into())), 502),
            (Ordered::Refused(Refused::NotConfigured), 501),
            (Ordered::Refused(Refused::Exhausted(Duration::from_secs(9))), 429),
            (Ordered::Refused(Refused::Busy), 503),
        ] {
            assert_eq!(answer(ended).into_response().status(), status);
        }
    }
}
