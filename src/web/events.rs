//! News for clients that stay connected (server-sent events, HTML Living Standard, 9.2). All of them share the bytes of
//! one event. Of the overview there is only ever the latest: a client that is slow misses what was in between, and nothing
//! is kept for it. Entries of the history come all, or the stream ends.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::Frame;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, watch};
use tokio::time::{Instant, sleep, sleep_until};
use utoipa::ToSchema;

use super::App;
use super::documents::HistoryEntry;
use super::overview::OverviewDocument;

/// Clients at the same time.
pub(super) const MOST_CLIENTS: usize = 64;
/// From one overview to the next.
const PAUSE: Duration = Duration::from_secs(1);
/// So often something is sent, so that proxies and clients know that the connection lives.
const COMMENT_AFTER: Duration = Duration::from_secs(15);
/// A connection has five minutes; a stream that ends before leaves it in order.
const LIFETIME: Duration = Duration::from_secs(270);
/// Entries of the history that a client may be behind.
const ENTRIES: usize = 1024;
/// Where there is nothing to wait for, and somebody will ring.
const HOUR: Duration = Duration::from_secs(60 * 60);
/// When clients connect anew, in milliseconds.
const BEGINNING: &str = "retry: 2000\n\n";
const COMMENT: &[u8] = b":\n\n";

/// The latest event, and room for those who wait for the next.
#[derive(Debug)]
pub(super) struct Feed {
    overview: watch::Sender<Bytes>,
    history: broadcast::Sender<Bytes>,
    room: Arc<Semaphore>,
}

impl Default for Feed {
    fn default() -> Self {
        Self {
            overview: watch::Sender::new(Bytes::new()),
            history: broadcast::Sender::new(ENTRIES),
            room: Arc::new(Semaphore::new(MOST_CLIENTS)),
        }
    }
}

/// One event, as clients understand it.
#[derive(ToSchema)]
pub(super) struct StreamEvent {
    /// `overview` or `history`.
    event: &'static str,
    /// As JSON: the document of `/api/overview`, or an entry of `/api/history`.
    data: String,
}

impl StreamEvent {
    fn new(event: &'static str, document: &impl Serialize) -> Self {
        // A document of texts and numbers can always be written.
        Self { event, data: serde_json::to_string(document).unwrap_or_default() }
    }

    /// As it goes over the wire; JSON has no line ends.
    fn bytes(&self) -> Bytes {
        format!("event: {}\ndata: {}\n\n", self.event, self.data).into()
    }
}

fn event(name: &'static str, document: &impl Serialize) -> Bytes {
    StreamEvent::new(name, document).bytes()
}

/// From now on, each entry of the history is an event. Nobody waits for that.
pub(super) fn follow(app: &App) {
    let history = app.feed.history.clone();
    app.history.subscribe(move |entries| {
        if history.receiver_count() > 0 {
            for entry in entries {
                // The last client may have gone just now.
                let _ = history.send(event("history", &HistoryEntry::from((**entry).clone())));
            }
        }
        true
    });
}

/// Tells all clients of each change, until the end. Blocks, and has a thread of its own.
pub(super) fn tell(app: &App) {
    let mut seen = 0;
    while app.ending.threads.wait(0, Duration::ZERO) == 0 {
        seen = app.overview.bell().wait(seen, HOUR);
        if app.feed.overview.receiver_count() > 0 {
            app.feed.overview.send_replace(event("overview", &OverviewDocument::of(app)));
        }
        // What comes within a second is one event.
        let _ = app.ending.threads.wait(0, PAUSE);
    }
}

/// The body for one more client; none where there are too many.
pub(super) fn body(app: &App) -> Option<Body> {
    let permit = Arc::clone(&app.feed.room).try_acquire_owned().ok()?;
    // Before the first event is made, so that nothing is missed in between.
    let (overview, history) = (app.feed.overview.subscribe(), app.feed.history.subscribe());
    let first = event("overview", &OverviewDocument::of(app));
    let first = Bytes::from([BEGINNING.as_bytes(), &first].concat());
    let (stop, until) = (app.ending.tasks.clone(), Instant::now() + LIFETIME);
    let listener = Listener { overview, history, stop, until, first: Some(first), _permit: permit };
    Some(Body::new(Stream { next: Some(Box::pin(listener.next())) }))
}

/// A client.
struct Listener {
    overview: watch::Receiver<Bytes>,
    history: broadcast::Receiver<Bytes>,
    stop: watch::Receiver<bool>,
    until: Instant,
    first: Option<Bytes>,
    _permit: OwnedSemaphorePermit,
}

impl Listener {
    async fn next(mut self) -> Option<(Self, Bytes)> {
        if let Some(first) = self.first.take() {
            return Some((self, first));
        }
        let bytes = tokio::select! {
            changed = self.overview.changed() => {
                changed.ok()?;
                self.overview.borrow_and_update().clone()
            }
            // One that is too far behind comes anew, and asks for what it has missed.
            entry = self.history.recv() => entry.ok()?,
            _ = self.stop.changed() => return None,
            () = sleep_until(self.until) => return None,
            () = sleep(COMMENT_AFTER) => Bytes::from_static(COMMENT),
        };
        Some((self, bytes))
    }
}

type Next = Pin<Box<dyn Future<Output = Option<(Listener, Bytes)>> + Send>>;

struct Stream {
    /// None once it has ended.
    next: Option<Next>,
}

impl HttpBody for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(next) = &mut self.next else { return Poll::Ready(None) };
        let event = ready!(next.as_mut().poll(context));
        self.next = None;
        Poll::Ready(event.map(|(listener, bytes)| {
            self.next = Some(Box::pin(listener.next()));
            Ok(Frame::data(bytes))
        }))
    }
}
