//! `process`: what lies in the spool, added up and sent on. It takes the place of haproxystats-process.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use log::{info, log, warn};
use sd_notify::NotifyState;

use super::Failure;
use super::commands::ProcessArgs;
use super::pipeline::{Begin, begin, host_name, notify, wait};
use crate::control::Vigil;
use crate::stats::delivery::{Delivery, Event};
use crate::stats::settings::{Part, Settings};
use crate::stats::{Arrivals, Reading, Snapshot, Spool, SpoolLock, outlets};

/// How long those who have a snapshot in hand may take to finish it when the end is asked for. What they have not
/// finished they are handed again at the next start.
const LEAVE: Duration = Duration::from_secs(10);
/// How often it is asked whether the other one that has the spool is gone.
const LOCK_INTERVAL: Duration = Duration::from_secs(1);
/// How often it is looked for a signal while all that is there is delivered once.
const GLANCE: Duration = Duration::from_millis(50);

pub(super) fn run(args: &ProcessArgs) -> Result<u8, Failure> {
    let begun = begin(&args.pipeline, args.dir.as_deref(), Part::Process)?;
    let Begin::With(settings) = begun else { return Ok(0) };
    let mut vigil = Vigil::new()?;
    if args.pipeline.once {
        let _lock = Spool::lock(&settings.process.src_dir)?.ok_or_else(|| taken(&settings))?;
        return once(&start(&settings, false)?, &mut vigil);
    }
    let Some(lock) = lock(&settings, &mut vigil)? else { return Ok(0) };
    go_on(&settings, lock, &start(&settings, true)?, &mut vigil)
}

fn taken(settings: &Settings) -> Failure {
    let directory = settings.process.src_dir.display();
    Failure::Failed(vec![format!("another process delivers from `{directory}` already")])
}

/// Waits until nobody else has the spool; `None` where the end was asked for before.
fn lock(settings: &Settings, vigil: &mut Vigil) -> Result<Option<SpoolLock>, Failure> {
    let directory = &settings.process.src_dir;
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

fn start(settings: &Settings, endures: bool) -> Result<Delivery<Reading<'static>>, Failure> {
    let directory = &settings.process.src_dir;
    // What is delivered leaves by way of a directory that is no snapshot's name.
    let spool = Spool::open(directory, &directory.join(".done"))?;
    let foreign = spool.foreign()?;
    if let Some(name) = foreign.first() {
        warn!(
            "{} things in `{}` are no snapshots and left alone, such as `{name}`",
            foreign.len(),
            directory.display()
        );
    }
    let lanes = outlets::lanes(settings, &host_name());
    // Readings refer to it for as long as any thread lives, which is until the end.
    let scope = Box::leak(Box::new(settings.process.scope()));
    let read = |snapshot: &Snapshot| Reading::of(snapshot, scope);
    let tell = |event: &Event<'_>| log!(event.level(), "{event}");
    let destinations: Vec<&str> = lanes.iter().map(|lane| lane.name).collect();
    info!("delivering from `{}` to {}", directory.display(), destinations.join(", "));
    Ok(Delivery::start(spool, lanes, (settings.process.workers, endures), read, tell)?)
}

/// Delivers what is there, and ends.
fn once<R: Send + Sync + 'static>(delivery: &Delivery<R>, vigil: &mut Vigil) -> Result<u8, Failure> {
    delivery.refresh();
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

/// Delivers what is there and what comes, until a signal.
fn go_on<R: Send + Sync + 'static>(
    settings: &Settings,
    mut lock: SpoolLock,
    delivery: &Delivery<R>,
    vigil: &mut Vigil,
) -> Result<u8, Failure> {
    let directory = &settings.process.src_dir;
    let mut arrivals = watch(settings, vigil)?;
    notify(NotifyState::Ready);
    loop {
        // It was taken away, and there is another now, which neither the lock nor the kernel's word is of. Where there
        // is none, none is made: what was mounted there may come back.
        if directory.is_dir() && !lock.is_of(directory) {
            let Some(another) = self::lock(settings, vigil)? else { break };
            lock = another;
            arrivals = watch(settings, vigil)?;
        }
        delivery.refresh();
        if wait(vigil, Instant::now() + settings.process.liveness_check_interval)? {
            break;
        }
        if let Some(arrivals) = &arrivals {
            arrivals.forget()?;
        }
    }
    notify(NotifyState::Stopping);
    info!("ended by a signal");
    leave(delivery, vigil)?;
    Ok(0)
}

/// Word of arrivals, where the kernel gives it.
fn watch(settings: &Settings, vigil: &Vigil) -> Result<Option<Arrivals>, Failure> {
    let directory = &settings.process.src_dir;
    let interval = settings.process.liveness_check_interval;
    match Arrivals::watch(directory) {
        Ok(arrivals) => {
            vigil.watch(arrivals.as_fd())?;
            Ok(Some(arrivals))
        }
        Err(error) => {
            let directory = directory.display();
            warn!("`{directory}` cannot be watched ({error}); it is looked at every {interval:?}");
            Ok(None)
        }
    }
}

/// Lets what is in hand be finished; a further signal ends that at once.
fn leave<R: Send + Sync + 'static>(delivery: &Delivery<R>, vigil: &mut Vigil) -> Result<(), Failure> {
    let end = Instant::now() + LEAVE;
    while !delivery.leave(GLANCE) {
        if vigil.wait(Instant::now())? || Instant::now() >= end {
            warn!("a snapshot in hand is not finished; it is delivered again at the next start");
            break;
        }
    }
    Ok(())
}
