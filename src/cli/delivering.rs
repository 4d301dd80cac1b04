//! Delivery as commands have it: the sole right to a spool, waiting for what comes, and the end.

use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use log::{info, log, warn};
use sd_notify::NotifyState;

use super::Failure;
use super::pipeline::{notify, wait};
use crate::control::Vigil;
use crate::stats::delivery::{Delivery, Event, Lane};
use crate::stats::{Arrivals, ReadError, Snapshot, Spool, SpoolLock};

/// How long those who have a snapshot in hand may take to finish it when the end is asked for. What they have not
/// finished they are handed again at the next start.
const LEAVE: Duration = Duration::from_secs(10);
/// How often it is asked whether the other one that has the spool is gone.
const LOCK_INTERVAL: Duration = Duration::from_secs(1);
/// How often it is looked for a signal while lanes finish.
const GLANCE: Duration = Duration::from_millis(50);

/// The right to deliver from a spool, and word of what comes into it.
pub(super) struct Post<'p> {
    directory: &'p Path,
    lock: SpoolLock,
    arrivals: Option<Arrivals>,
}

impl<'p> Post<'p> {
    /// Fails where somebody else delivers from it.
    pub(super) fn take(directory: &'p Path) -> Result<Self, Failure> {
        let taken = || {
            Failure::Failed(vec![format!("another process delivers from `{}` already", directory.display())])
        };
        let lock = Spool::lock(directory)?.ok_or_else(taken)?;
        Ok(Self { directory, lock, arrivals: None })
    }

    /// Waits until nobody else delivers from it; `None` where the end was asked for before.
    pub(super) fn wait(directory: &'p Path, vigil: &mut Vigil) -> Result<Option<Self>, Failure> {
        let lock = lock(directory, vigil)?;
        Ok(lock.map(|lock| Self { directory, lock, arrivals: None }))
    }

    /// From here on, arrivals end a wait.
    pub(super) fn watch(&mut self, vigil: &Vigil) -> Result<(), Failure> {
        match Arrivals::watch(self.directory) {
            Ok(arrivals) => {
                vigil.watch(arrivals.as_fd())?;
                self.arrivals = Some(arrivals);
            }
            Err(error) => {
                warn!(
                    "`{}` cannot be watched ({error}); it is looked at now and then",
                    self.directory.display()
                );
                self.arrivals = None;
            }
        }
        Ok(())
    }

    /// Waits for what comes, until then at most; tells whether the end was asked for.
    pub(super) fn wait_for_more(&mut self, vigil: &mut Vigil, until: Instant) -> Result<bool, Failure> {
        if wait(vigil, until)? {
            return Ok(true);
        }
        if let Some(arrivals) = &self.arrivals {
            arrivals.forget()?;
        }
        self.follow(vigil)
    }

    /// Where the directory was taken away and there is another now, neither the lock nor the kernel's word is of that.
    /// Where there is none, none is made: what was mounted there may come back. Tells whether the end was asked for.
    fn follow(&mut self, vigil: &mut Vigil) -> Result<bool, Failure> {
        if !self.directory.is_dir() || self.lock.is_of(self.directory) {
            return Ok(false);
        }
        let Some(another) = lock(self.directory, vigil)? else { return Ok(true) };
        self.lock = another;
        self.watch(vigil)?;
        Ok(false)
    }

    /// Begins to deliver what is there. What is told of is logged; `tell` hears of it before.
    pub(super) fn deliver<R: Send + Sync + 'static>(
        &self,
        lanes: Vec<Lane<R>>,
        (workers, endures): (usize, bool),
        read: impl Fn(&Snapshot) -> Result<R, ReadError> + Send + Sync + 'static,
        tell: impl Fn(&Event<'_>) + Send + Sync + 'static,
    ) -> Result<Delivery<R>, Failure> {
        // What is delivered leaves by way of a directory that is no snapshot's name.
        let spool = Spool::open(self.directory, &self.directory.join(".done"))?;
        let (place, foreign) = (self.directory.display(), spool.foreign()?);
        if let Some(name) = foreign.first() {
            warn!("{} things in `{place}` are no snapshots and left alone, such as `{name}`", foreign.len());
        }
        let destinations: Vec<&str> = lanes.iter().map(|lane| lane.name).collect();
        info!("delivering from `{place}` to {}", destinations.join(", "));
        let tell = move |event: &Event<'_>| {
            tell(event);
            log!(event.level(), "{event}");
        };
        let delivery = Delivery::start(spool, lanes, (workers, endures), read, tell)?;
        delivery.refresh();
        Ok(delivery)
    }
}

fn lock(directory: &Path, vigil: &mut Vigil) -> Result<Option<SpoolLock>, Failure> {
    let mut is_said = false;
    loop {
        if let Some(lock) = Spool::lock(directory)? {
            return Ok(Some(lock));
        }
        if !is_said {
            notify(NotifyState::Ready);
            warn!("another process delivers from `{}`; waiting until it is gone", directory.display());
            is_said = true;
        }
        if wait(vigil, Instant::now() + LOCK_INTERVAL)? {
            return Ok(None);
        }
    }
}

/// Waits until all that is there is delivered, or those are given up who do not take it.
pub(super) fn finish<R: Send + Sync + 'static>(
    delivery: &Delivery<R>,
    vigil: &mut Vigil,
) -> Result<u8, Failure> {
    while !delivery.is_idle(GLANCE) {
        if vigil.wait(Instant::now())? {
            break;
        }
    }
    leave(delivery, vigil)?;
    match delivery.waiting() {
        0 => Ok(0),
        1 => Err(Failure::Failed(vec!["1 snapshot is not delivered and stays in the spool".into()])),
        count => {
            Err(Failure::Failed(vec![format!("{count} snapshots are not delivered and stay in the spool")]))
        }
    }
}

/// Lets what is in hand be finished; a further signal ends that at once.
pub(super) fn leave<R: Send + Sync + 'static>(
    delivery: &Delivery<R>,
    vigil: &mut Vigil,
) -> Result<(), Failure> {
    notify(NotifyState::Stopping);
    let end = Instant::now() + LEAVE;
    while !delivery.leave(GLANCE) {
        if vigil.wait(Instant::now())? || Instant::now() >= end {
            warn!("a snapshot in hand is not finished; it is delivered again at the next start");
            break;
        }
    }
    Ok(())
}
