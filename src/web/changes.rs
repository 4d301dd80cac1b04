//! Changes of routes for clients: one at a time, each in a thread that may wait for HAProxy. What a change is made of is
//! in [`crate::config_change`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use log::{error, info, warn};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use crate::config_change::{Archive, ChangeError, Desk, Done, Places, Reach, Routes, Running, Setup};
use crate::history::{Book, Kind, Note};

/// Where routes are, and how HAProxy takes them.
#[derive(Clone, Debug)]
pub struct Routing {
    /// Their two files.
    pub places: Places,
    /// HAProxy's configuration and its archive; its time is set for each change.
    pub setup: Setup,
    /// The HAProxy that runs.
    pub reach: Reach,
}

/// Those who wait for the change under way, and the one who makes it.
const CLIENTS: usize = 16;
/// So often it is asked whether HAProxy answers.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// The one place where clients change routes.
#[derive(Debug)]
pub(super) struct Changes {
    routing: Routing,
    clients: Semaphore,
    /// Who has it makes the change.
    turn: Arc<Semaphore>,
    is_ending: AtomicBool,
    /// Where it is written down what became of changes.
    book: Book,
}

/// A change that is in force.
#[derive(Debug)]
pub(super) struct Changed {
    pub(super) done: Done,
    /// The version of the table from now on.
    pub(super) tag: String,
}

/// Why there was no change.
#[derive(Debug)]
pub(super) enum Refused {
    /// By the desk.
    Change(ChangeError),
    /// Others are changing routes, and have not come to an end within that time.
    Busy(Duration),
    /// This program ends.
    Ending,
}

impl Changes {
    /// `stop` ends the programs that a change runs.
    pub(super) fn new(mut routing: Routing, stop: &Arc<AtomicBool>, book: Book) -> Self {
        routing.reach.stop = Arc::clone(stop);
        let turn = Arc::new(Semaphore::new(1));
        Self { routing, clients: Semaphore::new(CLIENTS), turn, is_ending: AtomicBool::new(false), book }
    }

    /// Finishes or undoes what was cut off before this program was started, as soon as HAProxy answers: one that is only
    /// being started is not to read files that change.
    pub(super) async fn catch_up(&self, is_answering: impl Fn() -> bool) {
        if !Archive::at(&self.routing.setup.archive).is_cut_off() {
            return;
        }
        warn!(
            "a change of HAProxy's configuration is unfinished; it is finished or undone as soon as HAProxy answers"
        );
        while !is_answering() {
            sleep(LOOK_AGAIN).await;
        }
        // Who has it for longer finishes it as well.
        let Ok(turn) = self.take_turn().await else { return };
        let routing = self.routing.clone();
        let finish = move || {
            if let Err(why) = routing.open() {
                error!("an unfinished change of HAProxy's configuration: {why}");
            }
            drop(turn);
        };
        let _ = spawn_blocking(finish).await;
    }

    /// The table as its files have it.
    pub(super) async fn look(&self) -> Result<Routes, Refused> {
        let places = self.routing.places.clone();
        let routes = spawn_blocking(move || places.look()).await;
        routes.map_err(|_| Refused::Ending)?.map_err(Refused::Change)
    }

    /// Edits the table and has HAProxy take it. What has begun goes on to its end, whether or not somebody waits for it.
    pub(super) async fn change(
        &self,
        note: String,
        edit: impl FnOnce(&mut Routes) -> Result<(), ChangeError> + Send + 'static,
    ) -> Result<Changed, Refused> {
        let _place = self.clients.try_acquire().map_err(|_| Refused::Busy(Duration::ZERO))?;
        let turn = self.take_turn().await?;
        let (routing, book) = (self.routing.clone(), self.book.clone());
        let change = move || {
            let changed = routing.change(&note, edit);
            drop(turn);
            tell(&note, &changed);
            if let Some(entry) = entry(note, &changed) {
                book.record(entry);
            }
            changed
        };
        spawn_blocking(change).await.map_err(|_| Refused::Ending)?.map_err(Refused::Change)
    }

    async fn take_turn(&self) -> Result<OwnedSemaphorePermit, Refused> {
        let patience = self.routing.setup.lock_timeout;
        let turn = timeout(patience, Arc::clone(&self.turn).acquire_owned()).await;
        let turn = turn.map_err(|_| Refused::Busy(patience))?.map_err(|_| Refused::Ending)?;
        if self.is_ending.load(Ordering::Relaxed) { Err(Refused::Ending) } else { Ok(turn) }
    }

    /// Begins no further change, and waits for the one under way; `within` at most.
    pub(super) async fn end(&self, within: Duration) {
        self.is_ending.store(true, Ordering::Relaxed);
        if timeout(within, self.turn.acquire()).await.is_err() {
            warn!(
                "a change of routes is still under way and is left as it is: the next start, the next change, or \
                 `supervisor-haproxy config recover`, finishes or undoes it"
            );
        }
    }
}

impl Routing {
    fn change(
        &self,
        note: &str,
        edit: impl FnOnce(&mut Routes) -> Result<(), ChangeError>,
    ) -> Result<Changed, ChangeError> {
        let mut desk = self.open()?;
        let mut tag = String::new();
        let done = desk.route(&self.places, note, None, |routes| {
            edit(routes)?;
            tag = routes.tag();
            Ok(())
        })?;
        Ok(Changed { done, tag })
    }

    /// Takes the lock, and finishes or undoes what was cut off.
    fn open(&self) -> Result<Desk<Running>, ChangeError> {
        let running =
            Running::new(self.reach.clone()).map_err(|error| ChangeError::NotReady(error.to_string()))?;
        let at = u64::try_from(Timestamp::now().as_second()).unwrap_or_default();
        let (desk, remark) = Desk::open(Setup { at, ..self.setup.clone() }, running)?;
        if let Some(remark) = remark {
            warn!("{remark}");
        }
        Ok(desk)
    }
}

/// What the history has of a change: nothing where nothing was changed.
fn entry(note: String, changed: &Result<Changed, ChangeError>) -> Option<Note> {
    let (to, why) = match changed {
        Ok(Changed { done, .. }) => ("succeeded", Some(format!("version {}", done.version?))),
        Err(why) if has_reached_haproxy(why) => ("failed", Some(why.to_string())),
        Err(_) => return None,
    };
    Some(Note { kind: Kind::Action, subject: "routes".into(), from: note, to: to.into(), why })
}

fn has_reached_haproxy(error: &ChangeError) -> bool {
    use ChangeError::{Foreign, Halfway, Stuck, Undone};
    matches!(error, Undone(_) | Foreign(_) | Stuck { .. } | Halfway(_))
}

/// What clients ask for in vain is theirs to know; what happens to HAProxy is the operator's, too.
fn tell(note: &str, changed: &Result<Changed, ChangeError>) {
    match changed {
        Ok(Changed { done, .. }) => info!("{}", done.tell(&format!("{note}: it is in force"))),
        Err(why @ (ChangeError::Stuck { .. } | ChangeError::Halfway(_))) => error!("{note}: {why}"),
        Err(why) if has_reached_haproxy(why) => warn!("{note}: {why}"),
        Err(why) => info!("{note}: {why}"),
    }
}
