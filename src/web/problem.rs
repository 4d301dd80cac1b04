//! What clients are told when something is wrong: problem details (RFC 9457), of one list for all handlers.

use std::time::{Duration, Instant};

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// The media type of all errors.
pub(super) const PROBLEM_JSON: &str = "application/problem+json";

/// What went wrong; each means the same wherever it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// What HTTP itself has a word for.
    Http(StatusCode),
    /// The token is missing or wrong.
    Unauthorized,
    /// The admin key is missing or wrong.
    Forbidden,
    /// Nobody may, as this program was started.
    Closed,
    /// Nobody has allowed to ask or tell that host.
    TargetRefused,
    /// HAProxy would not start with its configuration.
    InvalidConfiguration,
    /// The hour has had its restarts.
    RecoveriesExhausted,
    /// Nobody said how HAProxy is restarted.
    NoRecovery,
    /// This program was started without what is needed for it.
    NotConfigured,
    /// HAProxy was not brought back.
    RecoveryFailed,
    /// HAProxy could not be asked whether it takes its configuration.
    Unchecked,
    /// It did not say so in time.
    CheckTimeout,
    /// The host is routed elsewhere.
    RouteTaken,
    /// A change makes no sense as things stand.
    Refused,
    /// HAProxy would not start with what a change would make.
    Rejected,
    /// HAProxy did not take a change, and has what was there before.
    Undone,
    /// HAProxy took neither a change nor what was there before.
    Stuck,
    /// Files cannot be read or written.
    Storage,
    /// Others are at work on HAProxy's configuration.
    Locked,
    /// Another recovery is under way.
    Busy,
    /// Somebody is at work on the same.
    ActionRunning,
    /// HAProxy is left alone for a while.
    CircuitOpen,
    /// HAProxy does not answer, or was not asked yet.
    Unavailable,
}

impl Kind {
    /// With a sentence on this very case.
    pub(super) fn because(self, detail: impl Into<String>) -> Problem {
        Problem { kind: self, detail: detail.into(), retry_after: None }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::Http(status) => status,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden | Self::Closed | Self::TargetRefused => StatusCode::FORBIDDEN,
            Self::InvalidConfiguration | Self::ActionRunning | Self::RouteTaken | Self::Refused => {
                StatusCode::CONFLICT
            }
            Self::RecoveriesExhausted => StatusCode::TOO_MANY_REQUESTS,
            Self::NoRecovery | Self::NotConfigured => StatusCode::NOT_IMPLEMENTED,
            Self::RecoveryFailed | Self::Unchecked | Self::Undone => StatusCode::BAD_GATEWAY,
            Self::CheckTimeout => StatusCode::GATEWAY_TIMEOUT,
            Self::Rejected => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Stuck | Self::Storage => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Busy | Self::CircuitOpen | Self::Unavailable | Self::Locked => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }

    /// Its name, and what it is in general.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Http(status) => ("about:blank", status.canonical_reason().unwrap_or("Error")),
            Self::Unauthorized => ("urn:supervisor-haproxy:unauthorized", "A valid token is needed"),
            Self::Forbidden => ("urn:supervisor-haproxy:forbidden", "A valid admin key is needed"),
            Self::Closed => ("urn:supervisor-haproxy:closed", "Nobody may do this here"),
            Self::TargetRefused => ("urn:supervisor-haproxy:target-refused", "That host is not allowed"),
            Self::InvalidConfiguration => {
                ("urn:supervisor-haproxy:invalid-configuration", "HAProxy's configuration is not valid")
            }
            Self::RecoveriesExhausted => {
                ("urn:supervisor-haproxy:recoveries-exhausted", "There were too many restarts lately")
            }
            Self::NoRecovery => ("urn:supervisor-haproxy:no-recovery", "Recovery is not configured"),
            Self::RecoveryFailed => {
                ("urn:supervisor-haproxy:recovery-failed", "HAProxy was not brought back")
            }
            Self::NotConfigured => ("urn:supervisor-haproxy:not-configured", "This is not configured"),
            Self::Unchecked => {
                ("urn:supervisor-haproxy:unchecked", "HAProxy could not check its configuration")
            }
            Self::CheckTimeout => {
                ("urn:supervisor-haproxy:check-timeout", "HAProxy did not check its configuration in time")
            }
            Self::RouteTaken => ("urn:supervisor-haproxy:route-taken", "The host is routed elsewhere"),
            Self::Refused => ("urn:supervisor-haproxy:refused", "The change is refused as things stand"),
            Self::Rejected => ("urn:supervisor-haproxy:rejected", "HAProxy does not accept the change"),
            Self::Undone => {
                ("urn:supervisor-haproxy:undone", "HAProxy did not take the change, and it was undone")
            }
            Self::Stuck => {
                ("urn:supervisor-haproxy:stuck", "HAProxy took neither the change nor its undoing")
            }
            Self::Storage => ("urn:supervisor-haproxy:storage", "Files cannot be read or written"),
            Self::Locked => ("urn:supervisor-haproxy:locked", "Another change is under way"),
            Self::Busy => ("urn:supervisor-haproxy:busy", "Another recovery is under way"),
            Self::ActionRunning => {
                ("urn:supervisor-haproxy:action-running", "An action on the same is under way")
            }
            Self::CircuitOpen => ("urn:supervisor-haproxy:circuit-open", "The circuit breaker is open"),
            Self::Unavailable => ("urn:supervisor-haproxy:unavailable", "HAProxy does not answer"),
        }
    }
}

/// One error, as told to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    kind: Kind,
    detail: String,
    retry_after: Option<Duration>,
}

/// Problem details for HTTP APIs (RFC 9457).
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct Document<'a> {
    /// What kind of problem this is; `about:blank` where the status says all.
    #[serde(rename = "type")]
    kind: &'a str,
    /// The same for all problems of the kind.
    title: &'a str,
    /// The HTTP status.
    status: u16,
    /// What is wrong in this case, and what to do about it.
    detail: &'a str,
}

impl Problem {
    /// HAProxy is left alone until then; where that is not known, for a moment.
    pub(super) fn circuit_open(why: impl Into<String>, until: Option<Instant>) -> Self {
        let rest = until.map(|at| at.saturating_duration_since(Instant::now())).unwrap_or_default();
        Kind::CircuitOpen.because(why).after(rest)
    }

    pub(super) fn after(self, pause: Duration) -> Self {
        Self { retry_after: Some(pause), ..self }
    }

    /// The document, with a line end for those who read it in a terminal.
    pub(super) fn body(&self) -> Vec<u8> {
        let (kind, title) = self.kind.words();
        let status = self.kind.status().as_u16();
        // A document of texts and a number can always be written.
        let mut body =
            serde_json::to_vec(&Document { kind, title, status, detail: &self.detail }).unwrap_or_default();
        body.push(b'\n');
        body
    }
}

/// Whole seconds, rounded up: who comes back at that time is not too early.
fn seconds(pause: Duration) -> u64 {
    (pause.as_secs() + u64::from(pause.subsec_nanos() > 0)).max(1)
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.kind.status(), self.body()).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if self.kind == Kind::Unauthorized {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(pause) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds(pause)));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_has_all_members_and_its_headers() {
        let problem = Kind::CircuitOpen.because("wait").after(Duration::from_millis(1500));
        let body: serde_json::Value = serde_json::from_slice(&problem.body()).unwrap();
        let expected = serde_json::json!({
            "type": "urn:supervisor-haproxy:circuit-open",
            "title": "The circuit breaker is open",
            "status": 503,
            "detail": "wait",
        });
        assert_eq!(body, expected);
        let response = problem.into_response();
        assert_eq!(response.headers()[RETRY_AFTER], "2");
        assert_eq!(response.headers()[CONTENT_TYPE], PROBLEM_JSON);
        assert_eq!(Kind::Unauthorized.because("").into_response().headers()[WWW_AUTHENTICATE], "Bearer");
    }

    #[test]
    fn nobody_is_asked_to_come_back_at_once() {
        assert_eq!([0, 1, 1000, 1001].map(|ms| seconds(Duration::from_millis(ms))), [1, 1, 1, 2]);
    }
}
