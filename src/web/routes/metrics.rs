//! Metrics for Prometheus: this program's own, and HAProxy's under the names of its own exporter.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_TYPE, VARY};
use axum::response::{IntoResponse, Response};
use hyper::body::{Frame, SizeHint};
use tokio::task::spawn_blocking;

use crate::alerts::Tallies;
use crate::health::write_own;
use crate::sinks::{MetricKind, write_family, write_label, write_sample};
use crate::web::App;
use crate::web::exposition::{open_metrics, wants_open_metrics};
use crate::web::listener_file::ListenerFile;
use crate::web::openapi::Problems;

/// What every Prometheus takes, whatever it asks for first.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Metrics for Prometheus
///
/// As OpenMetrics 1.0 for who prefers that, otherwise in Prometheus' text format.
#[utoipa::path(get, path = "/metrics", tag = "metrics",
    responses(
        (status = 200, description = "All of them",
            content((String = "text/plain"), (String = "application/openmetrics-text"))),
        Problems))]
pub(super) async fn metrics(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let is_open = wants_open_metrics(&headers);
    // The first scrape of a check may have to write them, which takes a moment.
    let pieces = spawn_blocking(move || {
        let pieces = pieces(&app);
        if is_open { open_metrics(&pieces) } else { pieces }
    });
    let kind = if is_open { OPEN_METRICS } else { TEXT };
    match pieces.await {
        Ok(pieces) => {
            ([(CONTENT_TYPE, kind), (VARY, "Accept")], Body::new(Pieces(pieces.into()))).into_response()
        }
        Err(_) => axum::http::StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn pieces(app: &App) -> Vec<Bytes> {
    let health = app.watch.latest();
    let mut own = Vec::new();
    write_own(&health, &mut own);
    write_requests(app, &mut own);
    write_messages(app, &mut own);
    write_history(app, &mut own);
    let listener = app.listener_file.as_ref().map(ListenerFile::metrics);
    if let Some(metrics) = &listener {
        write_listener_up(metrics.is_some(), &mut own);
    }
    let overview = Bytes::from_owner(app.overview.latest().exposition());
    let haproxy = Bytes::from_owner(app.watch.exposition(&health));
    [Bytes::from(own), overview].into_iter().chain(listener.flatten()).chain([haproxy]).collect()
}

fn write_listener_up(is_up: bool, out: &mut Vec<u8>) {
    const NAME: &str = "supervisor_haproxy_listener_up";
    write_family(out, NAME, MetricKind::Gauge, "Whether the listener has told its metrics lately.");
    write_sample(out, NAME, [], u8::from(is_up));
}

fn write_requests(app: &App, out: &mut Vec<u8>) {
    const NAME: &str = "supervisor_haproxy_http_requests_total";
    let requests = app.requests();
    if requests.is_empty() {
        return;
    }
    write_family(out, NAME, MetricKind::Counter, "Requests by their route and the status of the answer.");
    for ((route, code), count) in &requests {
        let mut labels = String::new();
        write_label(&mut labels, "route", route);
        write_label(&mut labels, "code", &code.to_string());
        write_sample(out, NAME, [&*labels], count);
    }
}

fn write_messages(app: &App, out: &mut Vec<u8>) {
    const NAME: &str = "supervisor_haproxy_messages_total";
    let tally = app.tallies.as_ref().map(Tallies::sum).unwrap_or_default();
    if tally.is_empty() {
        return;
    }
    write_family(out, NAME, MetricKind::Counter, "Reports and alerts by what became of them.");
    for ((kind, result), count) in &tally {
        let mut labels = String::new();
        write_label(&mut labels, "kind", kind);
        write_label(&mut labels, "result", result);
        write_sample(out, NAME, [&*labels], count);
    }
}

fn write_history(app: &App, out: &mut Vec<u8>) {
    const ENTRIES: &str = "supervisor_haproxy_history_entries_total";
    const WAITING: &str = "supervisor_haproxy_history_waiting_entries";
    const FAILURES: &str = "supervisor_haproxy_history_write_failures_total";
    let Some(tally) = app.history.tally() else { return };
    write_family(out, ENTRIES, MetricKind::Counter, "Entries of the history by what became of them.");
    for (result, count) in [("written", tally.written), ("lost", tally.lost)] {
        let mut label = String::new();
        write_label(&mut label, "result", result);
        write_sample(out, ENTRIES, [&*label], count);
    }
    write_family(out, WAITING, MetricKind::Gauge, "Entries of the history that are not in its file yet.");
    write_sample(out, WAITING, [""], tally.waiting);
    write_family(out, FAILURES, MetricKind::Counter, "Attempts to write the history that failed.");
    write_sample(out, FAILURES, [""], tally.failures);
}

/// A body of pieces that nobody copies: HAProxy's metrics may be many megabytes, and several clients share them.
struct Pieces(VecDeque<Bytes>);

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.iter().map(|piece| u64::try_from(piece.len()).unwrap_or(u64::MAX)).sum())
    }
}
