//! `process`: what lies in the spool, added up and sent on. It takes the place of haproxystats-process.

use std::time::Instant;

use log::info;
use sd_notify::NotifyState;

use super::commands::{ProcessArgs, Way};
use super::delivering::{Post, finish, leave};
use super::pipeline::{Begin, begin, host_name, notify};
use super::{Failure, kafka};
use crate::control::Vigil;
use crate::stats::delivery::{Delivery, Event};
use crate::stats::settings::{Part, Settings};
use crate::stats::{Reading, Snapshot, outlets};

pub(super) fn run(args: &ProcessArgs) -> Result<u8, Failure> {
    let begun = begin(&args.pipeline, args.dir.as_deref(), Part::Process)?;
    let Begin::With(settings) = begun else { return Ok(0) };
    let (directory, mut vigil) = (&settings.process.src_dir, Vigil::new()?);
    if args.pipeline.once {
        check_once(args.from)?;
        let delivery = deliver(&settings, &Post::take(directory)?, false, |_| ())?;
        return finish(&delivery, &mut vigil);
    }
    let Some(mut post) = Post::wait(directory, &mut vigil)? else { return Ok(0) };
    match args.from {
        Way::Spool => go_on(&settings, &mut post, &mut vigil),
        Way::Kafka => kafka::process(&settings, &mut post, &mut vigil),
    }
}

/// Others may ship at any time, and brokers take seconds to let a member read: there is no moment at which all is done.
fn check_once(from: Way) -> Result<(), Failure> {
    match from {
        Way::Spool => Ok(()),
        Way::Kafka => Err(Failure::Usage(vec![
            "--from kafka goes on until a signal; without it, `--once` delivers what is in the spool".into(),
        ])),
    }
}

/// Begins to deliver readings to all destinations of a configuration.
pub(super) fn deliver(
    settings: &Settings,
    post: &Post<'_>,
    endures: bool,
    tell: impl Fn(&Event<'_>) + Send + Sync + 'static,
) -> Result<Delivery<Reading<'static>>, Failure> {
    // Readings refer to it for as long as any thread lives, which is until the end.
    let scope = Box::leak(Box::new(settings.process.scope()));
    let read = |snapshot: &Snapshot| Reading::of(snapshot, scope);
    let lanes = outlets::lanes(settings, &host_name());
    post.deliver(lanes, (settings.process.workers, endures), read, tell)
}

/// Delivers what is there and what comes, until a signal.
fn go_on(settings: &Settings, post: &mut Post<'_>, vigil: &mut Vigil) -> Result<u8, Failure> {
    post.watch(vigil)?;
    let delivery = deliver(settings, post, true, |_| ())?;
    notify(NotifyState::Ready);
    while !post.wait_for_more(vigil, Instant::now() + settings.process.liveness_check_interval)? {
        delivery.refresh();
    }
    info!("ended by a signal");
    leave(&delivery, vigil)?;
    Ok(0)
}
