//! The one thread that looks at both peers: after each check of the monitor, and when a job has ended. It publishes what it
//! saw; whoever reads that waits for nobody. While the monitor's circuit is open, it leaves HAProxy alone as well.

use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use jiff::Timestamp;
use log::{error, info, warn};

use super::programs::Past;
use super::{Commands, Desk, Listener, News, Overview, ProgramChange, Sessions};
use crate::control::{Errand, Site};
use crate::haproxy::ServerRef;
use crate::health::{self, Bell, Health};

/// Whom to look at.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// supervisord and the programs behind servers; none where only HAProxy is known.
    pub site: Option<Site>,
    /// How commands are run; none where none is.
    pub commands: Option<Commands>,
    /// From one look to the next, at most.
    pub interval: Duration,
    /// Who hears what changes.
    pub listener: Option<Arc<dyn Listener>>,
}

/// What others see of the observer.
#[derive(Debug)]
pub struct Watch {
    latest: RwLock<Arc<Overview>>,
    desk: Option<Desk>,
    /// Rings when the overview or a job is another.
    bell: Arc<Bell>,
    interval: Duration,
    stop: AtomicBool,
}

impl Watch {
    /// What was published last. Does not block.
    #[must_use]
    pub fn latest(&self) -> Arc<Overview> {
        Arc::clone(&self.latest.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Who runs commands; none where nothing is known of programs.
    #[must_use]
    pub fn desk(&self) -> Option<&Desk> {
        self.desk.as_ref()
    }

    /// Rings when there is something new.
    #[must_use]
    pub fn bell(&self) -> &Bell {
        &self.bell
    }

    /// From one check to the next.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.interval
    }

    fn publish(&self, overview: Overview) {
        *self.latest.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(overview);
        self.bell.ring();
    }
}

/// The thread.
#[derive(Debug)]
pub struct Observer {
    watch: Arc<Watch>,
    health: Arc<health::Watch>,
    thread: JoinHandle<()>,
}

impl Observer {
    /// Begins at once. Fails where the kernel refuses a thread or a poll.
    pub fn start(settings: Settings, health: Arc<health::Watch>) -> io::Result<Self> {
        let Settings { site, commands, interval, listener } = settings;
        let bell = Arc::new(Bell::default());
        let (ring, look_again) = (Arc::clone(&bell), Arc::clone(&health));
        let changed = move |has_ended: bool| {
            ring.ring();
            if has_ended {
                look_again.bell().ring();
            }
        };
        let desk = commands.map(|commands| Desk::new(commands, listener.clone(), Box::new(changed)));
        let (latest, stop) = (RwLock::default(), AtomicBool::new(false));
        let watch = Arc::new(Watch { latest, desk, bell, interval, stop });
        let errand = site.map(|site| Errand::prepare(site, "serve".into(), None)).transpose()?;
        let mut looks = Looks {
            watch: Arc::clone(&watch),
            health: Arc::clone(&health),
            errand,
            listener,
            past: Past::default(),
            known: BTreeSet::new(),
            checked: None,
            sessions: Arc::default(),
            said: None,
        };
        let thread = thread::Builder::new().name("observer".into()).spawn(move || looks.run())?;
        Ok(Self { watch, health, thread })
    }

    /// What it publishes.
    #[must_use]
    pub fn watch(&self) -> Arc<Watch> {
        Arc::clone(&self.watch)
    }

    /// Asks it and all jobs to end, and does not wait for that.
    pub fn stop(&self) {
        self.watch.stop.store(true, Ordering::Relaxed);
        if let Some(desk) = &self.watch.desk {
            desk.stop();
        }
        self.health.bell().ring();
    }

    /// Ends it, and all jobs. A look that is under way is not waited for: it changes nothing.
    pub fn end(self) {
        self.stop();
        if let Some(desk) = &self.watch.desk {
            desk.end();
        }
        if self.thread.is_finished() {
            let _ = self.thread.join();
        }
    }
}

struct Looks {
    watch: Arc<Watch>,
    health: Arc<health::Watch>,
    errand: Option<Errand>,
    listener: Option<Arc<dyn Listener>>,
    past: Past,
    /// The servers that HAProxy had when it last answered.
    known: BTreeSet<ServerRef>,
    /// The check whose sessions were taken last.
    checked: Option<Timestamp>,
    sessions: Arc<Sessions>,
    /// What was said of supervisord.
    said: Option<String>,
}

impl Looks {
    fn run(&mut self) {
        let mut seen = 0;
        loop {
            seen = self.health.bell().wait(seen, self.watch.interval);
            if self.watch.stop.load(Ordering::Relaxed) {
                return;
            }
            let health = self.health.latest();
            self.follow(&health);
            let overview = self.look(&health);
            self.tell_problem(&overview);
            self.watch.publish(Overview { sessions: Arc::clone(&self.sessions), ..overview });
        }
    }

    /// Takes what a check has found, once.
    fn follow(&mut self, health: &Health) {
        let (Some(check), Some(reading)) = (&health.check, &health.reading) else { return };
        if self.checked.replace(check.at) != Some(check.at) {
            Arc::make_mut(&mut self.sessions).push(&reading.rows);
            self.known = reading.rows.iter().map(|row| row.server.clone()).collect();
        }
    }

    fn look(&mut self, health: &Health) -> Overview {
        let Some(errand) = &mut self.errand else { return Overview::of_health(health, &self.known) };
        let looked = match left_alone(health) {
            None => errand.look(),
            Some(why) => errand.look_at_programs(&why),
        };
        if let Err(error) = looked {
            let problems = vec![format!("this machine does not let serve ask its peers: {error}")];
            return Overview { problems, ..Overview::of_health(health, &self.known) };
        }
        let sight = errand.sight();
        if let Some(Ok(look)) = sight.looks.first() {
            self.known = look.servers.keys().cloned().collect();
        }
        let changes =
            sight.processes.as_ref().map(|processes| self.past.observe(processes)).unwrap_or_default();
        let overview = Overview::of_site(errand.site(), sight, &errand.owners(), &self.known);
        let problems = errand.problems();
        self.tell(&changes);
        Overview { problems, ..overview }
    }

    fn tell(&self, changes: &[ProgramChange]) {
        for change in changes {
            if change.is_failure() { warn!("{change}") } else { info!("{change}") }
        }
        let news: Vec<News> = changes.iter().cloned().map(News::Program).collect();
        if let Some(listener) = self.listener.as_ref().filter(|_| !news.is_empty()) {
            listener.hear(&news);
        }
    }

    /// Says once that supervisord does not answer, and that it does again.
    fn tell_problem(&mut self, overview: &Overview) {
        let problem = overview.supervisord.as_ref().and_then(|peer| peer.problem.clone());
        if problem == self.said {
            return;
        }
        match &problem {
            Some(why) => error!("{why}"),
            None => info!("supervisord answers again"),
        }
        self.said = problem;
    }
}

/// Why HAProxy is not to be asked; the breaker is the monitor's, and there is no other.
fn left_alone(health: &Health) -> Option<String> {
    health.circuit.allows().err()?;
    let why = health.check.as_ref().and_then(|check| check.error.clone());
    Some(why.unwrap_or_else(|| "HAProxy is left alone by the circuit breaker".into()))
}
