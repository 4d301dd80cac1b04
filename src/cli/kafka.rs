//! Snapshots by way of Kafka: `pull --to kafka` ships what it pulls, `process --from kafka` delivers what others have
//! shipped.

use std::time::{Duration, Instant};

use log::{error, info, warn};
use sd_notify::NotifyState;

use super::Failure;
use super::delivering::{Post, finish, leave};
use super::pipeline::{Said, host_name, notify, wait};
use super::process::deliver;
use super::pull::Pull;
use crate::control::Vigil;
use crate::stats::collect::{CollectError, Collector, Note};
use crate::stats::delivery::{Event, Lane, Retry};
use crate::stats::outlets::{RawOutlet, RawSnapshot};
use crate::stats::settings::{self, Settings};

/// Snapshots in the spool of `process` at which nothing more is read from Kafka: they are a few for each processor,
/// and the others stay where another one may take them.
const QUEUE: usize = 64;
/// How long messages are waited for at a time; so long may a signal wait.
const TURN: Duration = Duration::from_millis(200);

/// Pulls, and ships snapshots from the spool as they come.
pub(super) fn pull(
    settings: &Settings,
    pull: &Pull<'_>,
    once: bool,
    vigil: &mut Vigil,
) -> Result<u8, Failure> {
    let kafka = section(settings, "--to kafka")?;
    let post = Post::take(&settings.pull.dst_dir)?;
    let outlet = RawOutlet::new(kafka, &host_name(), settings.pull.cluster.as_deref());
    let lanes = vec![Lane { name: "kafka", outlet: Box::new(outlet), retry: Retry::default() }];
    let delivery = post.deliver(lanes, (1, !once), RawSnapshot::of, |_| ())?;
    if once {
        let pulled = pull.once();
        delivery.refresh();
        return finish(&delivery, vigil).and(pulled);
    }
    pull.go_on(vigil, &|| delivery.refresh())?;
    leave(&delivery, vigil)?;
    Ok(0)
}

/// Delivers what comes from Kafka, by way of the spool, until a signal.
pub(super) fn process(settings: &Settings, post: &mut Post<'_>, vigil: &mut Vigil) -> Result<u8, Failure> {
    let kafka = section(settings, "--from kafka")?;
    let mut collector = Collector::open(kafka, &settings.process.src_dir, QUEUE)?;
    let receipts = collector.receipts();
    let delivery = deliver(settings, post, true, move |event| {
        if let Event::Finished(snapshot) = event {
            receipts.finished(snapshot);
        }
    })?;
    info!("collecting from kafka {} as one of `{}`", collector.place(), kafka.group);
    notify(NotifyState::Ready);
    let (mut look, mut said) = (Instant::now(), Said::new("spool: it can be used again"));
    // A wait for no time at all looks for a signal; messages are waited for by the collector.
    while !wait(vigil, Instant::now())? {
        let turn = collector.turn(TURN).map_err(|error| format!("spool: {error}"));
        let notes = turn.as_deref().unwrap_or_default().to_vec();
        said.tell(turn.map(|_| ()));
        let stored = notes.iter().any(|note| matches!(note, Note::Stored(_)));
        notes.iter().for_each(tell);
        if stored || look.elapsed() >= settings.process.liveness_check_interval {
            look = Instant::now();
            delivery.refresh();
        }
    }
    info!("ended by a signal");
    leave(&delivery, vigil)?;
    collector.close();
    Ok(0)
}

fn section<'s>(settings: &'s Settings, option: &str) -> Result<&'s settings::Kafka, Failure> {
    let missing = || Failure::Usage(vec![format!("{option} needs a section `[kafka]` with `brokers`")]);
    settings.kafka.as_ref().ok_or_else(missing)
}

impl From<CollectError> for Failure {
    fn from(error: CollectError) -> Self {
        Self::Failed(vec![error.to_string()])
    }
}

fn tell(note: &Note) {
    match note {
        Note::Stored(_) => log::debug!("{note}"),
        Note::Recovered => info!("{note}"),
        Note::Trouble(_) | Note::Damaged { .. } => warn!("{note}"),
        Note::SetAside { .. } => error!("{note}"),
    }
}
