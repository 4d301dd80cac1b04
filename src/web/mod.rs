//! The HTTP side of `serve`. Handlers only read what [`crate::health::Monitor`] publishes, so nothing that HAProxy does
//! makes them wait; the one that has HAProxy restarted hands that to the monitor. This is the only place that knows of
//! tokio and axum.

mod auth;
mod changes;
mod connections;
mod documents;
mod events;
mod exposition;
mod listener;
mod listener_file;
mod openapi;
mod overview;
mod preconditions;
mod problem;
mod routes;
mod validator;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub use auth::{Keys, Secret, SecretError};
pub use changes::Routing;
pub use listener::{Listen, ListenError};
pub use openapi::document;

use crate::alerts::{Tallies, Ticks};
use crate::exec::Configuration;
use crate::health::{Bell, Watch};
use crate::history::Book;
use crate::overview::Watch as OverviewWatch;
use changes::Changes;
use connections::Limits;
use events::Feed;
use listener::Listener;
use listener_file::ListenerFile;
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
    /// What this machine is called.
    pub host: String,
    /// HAProxy's admin socket, in words.
    pub haproxy: String,
    /// Where the listener tells its metrics.
    pub listener_metrics: Option<PathBuf>,
    /// What HAProxy is started with, where that is known.
    pub configuration: Option<Configuration>,
    /// How long HAProxy may take to check it.
    pub check_time: Duration,
    /// The routes that may be read and changed, where there are some.
    pub routing: Option<Routing>,
}

/// What there is to tell.
#[derive(Clone, Debug)]
pub struct Sources {
    /// How HAProxy fares.
    pub health: Arc<Watch>,
    /// Programs beside their servers.
    pub overview: Arc<OverviewWatch>,
    /// What has changed so far.
    pub history: Book,
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
/// Each keeps a thread for as long as the disk takes.
const HISTORY_READERS: usize = 2;
/// Requests under way may end for so long.
const GRACE: Duration = Duration::from_secs(5);
/// A change of routes takes a second. supervisord kills what has not ended after ten, and a change that is cut off is
/// finished or undone by the next start, or the next change.
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
    history: Book,
    /// Those who read the history now: what waits for the disk is not to take all threads.
    history_readers: Arc<Semaphore>,
    validator: Option<Validator>,
    changes: Option<Changes>,
    host: String,
    haproxy: String,
    listener_file: Option<ListenerFile>,
    overview: Arc<OverviewWatch>,
    feed: Feed,
    ending: Ending,
    /// Requests by route and status.
    requests: Mutex<BTreeMap<(String, u16), u64>>,
}

/// How those who are at work hear that all is to end.
#[derive(Debug)]
struct Ending {
    /// What is asynchronous: true.
    tasks: watch::Receiver<bool>,
    /// Threads: it rings.
    threads: Bell,
    /// The programs that handlers run: set.
    programs: Arc<AtomicBool>,
}

impl Ending {
    fn new(tasks: watch::Receiver<bool>) -> Self {
        Self { tasks, threads: Bell::default(), programs: Arc::default() }
    }
}

impl App {
    fn new(settings: Settings, sources: Sources, ending: Ending) -> Self {
        let Sources { health: watch, overview, history } = sources;
        let book = history.clone();
        let validator = settings.configuration.map(|configuration| {
            Validator::new(configuration, settings.check_time, Arc::clone(&ending.programs))
        });
        Self {
            watch,
            keys: settings.keys,
            telex: settings.telex,
            tallies: settings.tallies,
            history,
            history_readers: Arc::new(Semaphore::new(HISTORY_READERS)),
            validator,
            changes: settings.routing.map(|routing| Changes::new(routing, &ending.programs, book)),
            host: settings.host,
            haproxy: settings.haproxy,
            listener_file: settings.listener_metrics.map(ListenerFile::new),
            overview,
            feed: Feed::default(),
            ending,
            requests: Mutex::default(),
        }
    }

    /// Ends what is under way without a client.
    async fn end(&self) {
        if let Some(changes) = &self.changes {
            changes.end(CHANGE_GRACE).await;
        }
        self.ending.programs.store(true, Ordering::Relaxed);
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
    telling: thread::JoinHandle<()>,
}

impl Server {
    /// Begins to serve. Fails where the address cannot be had.
    pub fn start(settings: Settings, sources: Sources) -> io::Result<Self> {
        make_room(settings.max_connections)?;
        let listener = Listener::bind(&settings.listen, settings.socket_mode)?;
        let address = listener.address();
        let runtime =
            Builder::new_multi_thread().worker_threads(WORKERS).thread_name("web").enable_all().build()?;
        let limits =
            Limits { connections: settings.max_connections, client_timeout: settings.client_timeout };
        let (stop, stopped) = watch::channel(false);
        let app = Arc::new(App::new(settings, sources, Ending::new(stopped.clone())));
        events::follow(&app);
        let router = routes::router(Arc::clone(&app));
        let telling = {
            let app = Arc::clone(&app);
            thread::Builder::new().name("events".into()).spawn(move || events::tell(&app))?
        };
        let accepting = {
            let _context = runtime.enter();
            runtime.spawn(connections::serve(listener.into_tokio()?, router, limits, stopped))
        };
        runtime.spawn(catch_up(Arc::clone(&app)));
        Ok(Self { app, runtime, stop, accepting, address, telling })
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
        app.ending.threads.ring();
        app.overview.bell().ring();
        self.runtime.block_on(async {
            let (_, ()) = tokio::join!(timeout(GRACE, accepting), app.end());
        });
        self.runtime.shutdown_timeout(Duration::from_secs(1));
        let _ = self.telling.join();
    }
}

async fn catch_up(app: Arc<App>) {
    if let Some(changes) = &app.changes {
        changes.catch_up(|| app.watch.latest().answers()).await;
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
