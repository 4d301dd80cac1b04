//! `pull`: HAProxy's statistics into the spool, again and again. It takes the place of haproxystats-pull.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use log::{info, warn};
use sd_notify::NotifyState;

use super::commands::{PullArgs, Way};
use super::pipeline::{Begin, Said, begin, notify, wait};
use super::{Failure, kafka};
use crate::control::{Vigil, epoch_seconds};
use crate::stats::settings::{self, Part, Retries};
use crate::stats::{MAX_DUMP, Miss, Patience, Pulled, Puller, Source, Spool, SpoolLock, Tick, sources};

pub(super) fn run(args: &PullArgs) -> Result<u8, Failure> {
    let Begin::With(settings) = begin(&args.pipeline, None, Part::Pull)? else { return Ok(0) };
    let pull = Pull::new(&settings.pull)?;
    let (once, mut vigil) = (args.pipeline.once, Vigil::new()?);
    match args.to {
        Way::Kafka => kafka::pull(&settings, &pull, once, &mut vigil),
        Way::Spool if once => pull.once(),
        Way::Spool => pull.go_on(&mut vigil, &|| ()),
    }
}

/// A pull, again and again.
pub(super) struct Pull<'s> {
    settings: &'s settings::Pull,
    puller: Puller,
    _lock: SpoolLock,
}

impl<'s> Pull<'s> {
    fn new(settings: &'s settings::Pull) -> Result<Self, Failure> {
        if settings.socket_dir.is_none() && settings.servers.is_empty() {
            let problem = "[pull] has neither `socket-dir` nor `servers`: there is nobody to pull from";
            return Err(Failure::Usage(vec![problem.into()]));
        }
        let drafts = &settings.tmp_dst_dir;
        let lock = Spool::lock(drafts)?.ok_or_else(|| {
            Failure::Failed(vec![format!("another pull is at work in `{}`", drafts.display())])
        })?;
        let spool = Spool::open(&settings.dst_dir, drafts)?;
        let puller = Puller::new(spool, patience(settings), settings.queue_size, settings.keep_partial);
        Ok(Self { settings, puller, _lock: lock })
    }

    /// Pulls once, now.
    pub(super) fn once(&self) -> Result<u8, Failure> {
        self.run(epoch_seconds()).map(|()| 0).map_err(|problem| Failure::Failed(vec![problem]))
    }

    /// Pulls at each tick until a signal; `after` is done after each pull.
    pub(super) fn go_on(&self, vigil: &mut Vigil, after: &dyn Fn()) -> Result<u8, Failure> {
        let mut said = Said::new("pulls are whole again");
        info!("pulling every {:?} into `{}`", self.settings.pull_interval, self.settings.dst_dir.display());
        notify(NotifyState::Ready);
        loop {
            let tick = Tick::after(since_1970(), self.settings.pull_interval);
            let due = Instant::now() + tick.wait;
            if wait(vigil, due)? {
                break;
            }
            said.tell(self.run(tick.time(since_1970())));
            after();
            let missed = tick.missed(due.elapsed());
            if missed > 0 {
                warn!("the pull took longer than `pull-interval`, and {missed} after it did not take place");
            }
        }
        notify(NotifyState::Stopping);
        info!("ended by a signal");
        Ok(0)
    }

    /// Pulls once; what is not as it should be is told in words.
    fn run(&self, time: u64) -> Result<(), String> {
        let sources = self.sources()?;
        let pulled = self.puller.pull(&sources, time).map_err(|error| error.to_string())?;
        match pulled {
            Pulled::Stored(_, misses) if misses.is_empty() => Ok(()),
            Pulled::Stored(_, misses) => {
                Err(format!("kept without what failed: {}", failed(&sources, &misses)))
            }
            Pulled::Dropped(misses) => Err(format!("nothing kept: {}", failed(&sources, &misses))),
            Pulled::Suspended(waiting) => Err(format!(
                "suspended: {waiting} snapshots wait in `{}`, which is `queue-size`; is `process` running?",
                self.settings.dst_dir.display()
            )),
        }
    }

    fn sources(&self) -> Result<Vec<Source>, String> {
        let directory = self.settings.socket_dir.as_deref();
        let found = sources(directory, &self.settings.servers).map_err(|error| error.to_string())?;
        match directory {
            Some(directory) if found.is_empty() => Err(format!("no socket in `{}`", directory.display())),
            _ => Ok(found),
        }
    }
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn patience(settings: &settings::Pull) -> Patience {
    Patience {
        timeout: settings.timeout,
        retries: match settings.retries {
            Retries::Times(times) => times,
            Retries::Forever => u32::MAX,
        },
        interval: settings.interval,
        // Without a limit of its own, a pull is over when the next one is due.
        total: settings.pull_timeout.unwrap_or(settings.pull_interval),
        bytes: MAX_DUMP,
    }
}

/// Which of them failed, and why. What kept a socket from both dumps is said once.
fn failed(sources: &[Source], misses: &[Miss]) -> String {
    let mut told: Vec<String> = Vec::new();
    for misses in misses.chunk_by(|one, other| (one.source, &one.why) == (other.source, &other.why)) {
        let Some(Miss { source, why, .. }) = misses.first() else { continue };
        let place = sources.get(*source).map(|source| source.endpoint.to_string()).unwrap_or_default();
        let requests = misses.iter().map(|miss| miss.request).collect::<Vec<_>>().join(" and ");
        told.push(format!("haproxy {place}: {requests}: {why}"));
    }
    told.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_keeps_a_socket_from_both_dumps_is_said_once() {
        let source = |name: &str| Source { endpoint: format!("/{name}").parse().unwrap(), name: name.into() };
        let miss = |source, request, why: &str| Miss { source, request, why: why.into() };
        let misses = [
            miss(0, "show info", "refused"),
            miss(0, "show stat", "refused"),
            miss(1, "show info", "refused"),
            miss(1, "show stat", "cut off"),
        ];
        assert_eq!(
            failed(&[source("a"), source("b")], &misses),
            "haproxy unix:///a: show info and show stat: refused; haproxy unix:///b: show info: refused; \
             haproxy unix:///b: show stat: cut off"
        );
    }
}
