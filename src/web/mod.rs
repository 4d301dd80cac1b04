//! The HTTP side of `serve`. Handlers only read what [`crate::health::Monitor`] publishes, so nothing that HAProxy does
//! makes them wait; the one that has HAProxy restarted hands that to the monitor. This is the only place that knows of
//! tokio and axum.

mod auth;
mod changes;
mod connections;
mod documents;
mod listener;
mod openapi;
mod preconditions;
mod problem;
mod routes;
mod validator;

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub use auth::{Keys, Secret, SecretError};
pub use changes::Routing;
pub use listener::{Listen, ListenError};
pub use openapi::document;

use crate::alerts::{Tallies, Ticks};
use crate::exec::Configuration;
use crate::health::Watch;
use changes::Changes;
use connections::Limits;
use listener::Listener;
use validator::Validator;

/// Whom to serve, and how many of them.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where clients connect.
    pub listen: Listen,
    /// Who may write to a unix socket, as in `chmod`.
    pub socket_mode: u32,
    /// What clients show to be let in.
    pub keys: Keys,
    /// Clients at the same time.
    pub max_connections: usize,
    /// How long a client may take to send the head of a request, or be silent between two.
    pub client_timeout: Duration,
    /// What integrations may ask for; none is nothing.
    pub telex: Option<Telex>,
    /// Messages that were sent, where some are.
    pub tallies: Option<Tallies>,
    /// What HAProxy is started with, where that is known.
    pub configuration: Option<Configuration>,
    /// How long HAProxy may take to check it.
    pub check_time: Duration,
    /// The routes that may be read and changed, where there are some.
    pub routing: Option<Routing>,
}

/// What Telex is told of this program, and where its ticks go.
#[derive(Clone, Debug)]
pub struct Telex {
    /// Where ticks go.
    pub ticks: Ticks,
    /// How often Telex is to send one, unless its users want something else.
    pub interval: String,
}

/// Handlers take microseconds, so two are enough to use two cores.
const WORKERS: usize = 2;
/// Requests under way may end for so long.
const GRACE: Duration = Duration::from_secs(5);
/// A change of routes takes a second. supervisord kills what has not ended after ten, and a change that is cut off is
/// finished or undone by the next one.
const CHANGE_GRACE: Duration = Duration::from_secs(8);
/// Files beside the clients' connections: HAProxy's, supervisord's, polls, pipes.
const OTHER_FILES: u64 = 64;

/// What all handlers share.
#[derive(Debug)]
struct App {
    watch: Arc<Watch>,
    keys: Keys,
    telex: Option<Telex>,
    tallies: Option<Tallies>,
    validator: Option<Validator>,
    changes: Option<Changes>,
    /// Ends the programs that handlers run, where it is set.
    stop: Arc<AtomicBool>,
    /// Requests by route and status.
    requests: Mutex<BTreeMap<(String, u16), u64>>,
}

impl App {
    fn new(watch: Arc<Watch>, settings: Settings) -> Self {
        let Settings { keys, telex, tallies, configuration, check_time, routing, .. } = settings;
        let stop = Arc::new(AtomicBool::new(false));
        let validator =
            configuration.map(|configuration| Validator::new(configuration, check_time, Arc::clone(&stop)));
        let changes = routing.map(|routing| Changes::new(routing, &stop));
        Self { watch, keys, telex, tallies, validator, changes, stop, requests: Mutex::default() }
    }

    /// Ends what is under way without a client.
    async fn end(&self) {
        if let Some(changes) = &self.changes {
            changes.end(CHANGE_GRACE).await;
        }
        self.stop.store(true, Ordering::Relaxed);
    }

    fn count(&self, route: &str, status: u16) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        match requests.iter_mut().find(|((known, code), _)| known == route && *code == status) {
            Some((_, count)) => *count += 1,
            None => drop(requests.insert((route.to_owned(), status), 1)),
        }
    }

    fn requests(&self) -> BTreeMap<(String, u16), u64> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A server that is at work in threads of its own.
#[derive(Debug)]
pub struct Server {
    app: Arc<App>,
    runtime: Runtime,
    stop: watch::Sender<bool>,
    accepting: JoinHandle<()>,
    address: String,
}

impl Server {
    /// Begins to serve. Fails where the address cannot be had.
    pub fn start(settings: Settings, health: Arc<Watch>) -> io::Result<Self> {
        make_room(settings.max_connections)?;
        let listener = Listener::bind(&settings.listen, settings.socket_mode)?;
        let address = listener.address();
        let runtime =
            Builder::new_multi_thread().worker_threads(WORKERS).thread_name("web").enable_all().build()?;
        let limits =
            Limits { connections: settings.max_connections, client_timeout: settings.client_timeout };
        let app = Arc::new(App::new(health, settings));
        let router = routes::router(Arc::clone(&app));
        let (stop, stopped) = watch::channel(false);
        let accepting = {
            let _context = runtime.enter();
            runtime.spawn(connections::serve(listener.into_tokio()?, router, limits, stopped))
        };
        Ok(Self { app, runtime, stop, accepting, address })
    }

    /// Where it listens: a URL, or the path of a unix socket.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Ends it: what is under way may take some seconds more.
    pub fn end(self) {
        let _ = self.stop.send(true);
        let (accepting, app) = (self.accepting, self.app);
        self.runtime.block_on(async {
            let (_, ()) = tokio::join!(timeout(GRACE, accepting), app.end());
        });
        self.runtime.shutdown_timeout(Duration::from_secs(1));
    }
}

/// As many files as clients may come; shells often allow a thousand, and the system many more.
fn make_room(connections: usize) -> io::Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let wanted = u64::try_from(connections).unwrap_or(u64::MAX).saturating_add(OTHER_FILES);
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    if maximum.is_some_and(|maximum| maximum < wanted) {
        let text = format!("{connections} connections need {wanted} open files, and the system allows fewer");
        return Err(io::Error::other(text));
    }
    Ok(setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum })?)
}
