//! Clients' connections: how many there may be, and for how long each.

use std::convert::Infallible;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Sleep, sleep, timeout};

use super::listener::Accepting;
use super::problem::{Kind, PROBLEM_JSON};

/// What clients may cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) connections: usize,
    pub(super) client_timeout: Duration,
}

/// The head of a request; proxies send heads of up to this size.
const MAX_HEAD: usize = 16 * 1024;
/// A connection that does not end by itself is one whose client does not read. Those that are used are closed after
/// the answer under way, and clients connect anew.
const LIFETIME: Duration = Duration::from_secs(5 * 60);
/// For the answer under way at the end of a lifetime.
const LAST_ANSWER: Duration = Duration::from_secs(30);
/// Clients that are told at the same time that there are too many.
const REFUSALS: usize = 64;
const REFUSAL: Duration = Duration::from_secs(1);
/// After the system has refused a connection.
const PAUSE: Duration = Duration::from_millis(100);

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    /// As far as the kernel knows; behind a proxy, that is the proxy.
    fn client(&self) -> Client {
        let words = match self {
            Self::Tcp(stream) => {
                stream.peer_addr().map(|address| address.ip().to_canonical().to_string()).ok()
            }
            Self::Unix(stream) => stream.peer_cred().ok().map(|peer| match peer.pid() {
                Some(pid) => format!("uid {} (pid {pid})", peer.uid()),
                None => format!("uid {}", peer.uid()),
            }),
        };
        Client(words.unwrap_or_else(|| "somebody".into()).into())
    }
}

/// Who has connected, in words; handlers find it among a request's extensions.
#[derive(Clone, Debug)]
pub(super) struct Client(pub(super) Arc<str>);

/// Tells each request who has sent it.
struct Introduced {
    client: Client,
    service: TowerToHyperService<Router>,
}

impl Service<Request<Incoming>> for Introduced {
    type Response = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Response;
    type Error = Infallible;
    type Future = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Future;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(self.client.clone());
        self.service.call(request)
    }
}

/// A stream whose client is gone when it takes nothing for so long, so that what is written to it is not kept.
struct Patient<S> {
    stream: S,
    patience: Duration,
    /// Since it last took something.
    waits: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    fn judge<T>(&mut self, polled: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.waits = None;
            return polled;
        }
        let patience = self.patience;
        let waits = self.waits.get_or_insert_with(|| Box::pin(sleep(patience)));
        waits.as_mut().poll(context).map(|()| Err(ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.judge(polled, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.judge(polled, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl Accepting {
    async fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // An answer is written at once, and is not to wait for a client's acknowledgement.
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(stream))
            }
            Self::Unix(listener, _) => listener.accept().await.map(|(stream, _)| Stream::Unix(stream)),
        }
    }
}

/// Serves until `stop`, and then until the last answer is out.
pub(super) async fn serve(
    listener: Accepting,
    router: Router,
    limits: Limits,
    mut stop: watch::Receiver<bool>,
) {
    let room = Arc::new(Semaphore::new(limits.connections));
    let refusals = Arc::new(Semaphore::new(REFUSALS));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.changed() => break,
        };
        // Those that have ended are forgotten, so that the set does not grow.
        while connections.try_join_next().is_some() {}
        let Ok(stream) = accepted else {
            sleep(PAUSE).await;
            continue;
        };
        if let Ok(permit) = Arc::clone(&room).try_acquire_owned() {
            let work = connection(stream, router.clone(), limits, stop.clone(), permit);
            connections.spawn(work);
        } else if let Ok(permit) = Arc::clone(&refusals).try_acquire_owned() {
            connections.spawn(refuse(stream, permit));
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn connection(
    stream: Stream,
    router: Router,
    limits: Limits,
    stop: watch::Receiver<bool>,
    permit: OwnedSemaphorePermit,
) {
    let service = Introduced { client: stream.client(), service: TowerToHyperService::new(router) };
    match stream {
        Stream::Tcp(stream) => converse(stream, service, limits, stop).await,
        Stream::Unix(stream) => converse(stream, service, limits, stop).await,
    }
    drop(permit);
}

/// Requests and answers. The time for a head counts from the end of the answer before, so that it is the time a
/// connection may be idle, too.
async fn converse<S>(stream: S, service: Introduced, limits: Limits, mut stop: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(limits.client_timeout).max_buf_size(MAX_HEAD);
    let stream = Patient { stream, patience: limits.client_timeout, waits: None };
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    tokio::select! {
        // How a connection broke is the client's to know.
        _ = connection.as_mut() => return,
        _ = stop.changed() => {}
        () = sleep(LIFETIME) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(LAST_ANSWER, connection).await;
}

/// Says that there are too many. What the client sends is read, or the system would take the answer back.
async fn refuse(stream: Stream, permit: OwnedSemaphorePermit) {
    let answer = match stream {
        Stream::Tcp(stream) => timeout(REFUSAL, turn_away(stream)).await,
        Stream::Unix(stream) => timeout(REFUSAL, turn_away(stream)).await,
    };
    // Whether it was heard is all the same.
    drop((answer, permit));
}

async fn turn_away(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<Infallible> {
    let body = Kind::Http(axum::http::StatusCode::SERVICE_UNAVAILABLE)
        .because("there are too many connections")
        .body();
    let head = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: {PROBLEM_JSON}\r\ncontent-length: {}\r\n\
         retry-after: 1\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.into_bytes(), body].concat()).await?;
    stream.shutdown().await?;
    let mut sink = [0; 1024];
    while stream.read(&mut sink).await? > 0 {}
    Err(io::ErrorKind::UnexpectedEof.into())
}
