//! `check --spool`: whether the statistics flow.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Failure;
use super::check::{Count, Report, SPOOL};
use super::commands::QueueArgs;
use super::status::span;
use crate::agent::checkup::{Finding, Level};
use crate::stats::Queue;

pub(super) fn examine(spool: &Path, limits: &QueueArgs) -> Result<Report, Failure> {
    let problems = contradictions(limits);
    if !problems.is_empty() {
        return Err(Failure::Usage(problems));
    }
    // It is what was typed that is wrong, or who has typed it: nothing was found out about the statistics.
    let queue = Queue::look(spool).map_err(|error| Failure::Usage(vec![error.to_string()]))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(report(spool, &Ages::of(&queue, now.as_secs()), &queue, limits))
}

/// What Nagios would never show otherwise.
fn contradictions(limits: &QueueArgs) -> Vec<String> {
    let mut problems = Vec::new();
    if limits.critical < limits.warning {
        let (warning, critical) = (limits.warning, limits.critical);
        problems
            .push(format!("--critical {critical} is below --warning {warning}; expected as many or more"));
    }
    if limits.critical_age < limits.warning_age {
        let (warning, critical) = (limits.warning_age.as_secs_f64(), limits.critical_age.as_secs_f64());
        problems.push(format!(
            "--critical-age {critical} is below --warning-age {warning}; expected as long or longer"
        ));
    }
    problems
}

/// How long ago, in whole seconds; a clock that was set back makes nothing younger than now.
struct Ages {
    oldest: Option<u64>,
    changed: u64,
}

impl Ages {
    fn of(queue: &Queue, now: u64) -> Self {
        let age = |time: u64| now.saturating_sub(time);
        Self { oldest: queue.oldest.map(age), changed: age(queue.changed) }
    }
}

fn report(spool: &Path, ages: &Ages, queue: &Queue, limits: &QueueArgs) -> Report {
    let findings =
        vec![waiting(queue, limits), oldest(ages, limits), flow(ages, limits), quarantine(queue, limits)];
    let summary = match ages.oldest {
        Some(age) => format!("{}, the oldest for {}", snapshots(queue.waiting), seconds(age)),
        None => format!("nothing waits in `{}`", spool.display()),
    };
    Report { service: SPOOL, summary, findings, counts: counts(ages, queue, limits) }
}

fn waiting(queue: &Queue, limits: &QueueArgs) -> Finding {
    let level = level(queue.waiting, limits.warning, limits.critical);
    let text = snapshots(queue.waiting);
    Finding::new(level, "queue", if level == Level::Ok { text } else { format!("{text}; {}", advice()) })
}

fn oldest(ages: &Ages, limits: &QueueArgs) -> Finding {
    let age = ages.oldest.unwrap_or_default();
    let level = level(Duration::from_secs(age), limits.warning_age, limits.critical_age);
    let text = match ages.oldest {
        None => "none waits".to_owned(),
        Some(_) if level == Level::Ok => format!("waits for {}", seconds(age)),
        Some(_) => format!("waits for {}; {}", seconds(age), advice()),
    };
    Finding::new(level, "oldest snapshot", text)
}

/// An empty queue is not well by itself: nothing may come.
fn flow(ages: &Ages, limits: &QueueArgs) -> Finding {
    let level = level(Duration::from_secs(ages.changed), limits.warning_age, limits.critical_age);
    let since = seconds(ages.changed);
    let text = match level {
        Level::Ok => format!("a snapshot came or went {since} ago"),
        _ => format!(
            "no snapshot has come or gone for {since}; does `pull` run? Its log tells whom it cannot ask"
        ),
    };
    Finding::new(level, "arrivals", text)
}

fn quarantine(queue: &Queue, limits: &QueueArgs) -> Finding {
    let count = queue.quarantined;
    if count > limits.allow_quarantine {
        let text = format!("has {count}, of which nothing was sent; see `reason` in each, then remove it");
        return Finding::new(Level::Warn, "quarantine", text);
    }
    Finding::new(
        Level::Ok,
        "quarantine",
        if count == 0 { "is empty".to_owned() } else { format!("has {count}") },
    )
}

fn level<T: Copy + PartialOrd>(value: T, warning: T, critical: T) -> Level {
    if value > critical {
        Level::Fail
    } else if value > warning {
        Level::Warn
    } else {
        Level::Ok
    }
}

fn advice() -> &'static str {
    "does `process` run? Its log tells which destination does not take them"
}

fn snapshots(count: usize) -> String {
    if count == 1 { "1 snapshot waits".to_owned() } else { format!("{count} snapshots wait") }
}

fn seconds(age: u64) -> String {
    span(Duration::from_secs(age))
}

fn counts(ages: &Ages, queue: &Queue, limits: &QueueArgs) -> Vec<Count> {
    let numbers = [limits.warning as u64, limits.critical as u64].map(Some);
    let times = [limits.warning_age, limits.critical_age].map(|limit| Some(limit.as_secs()));
    let count = |name, value, unit, limits| Count { name, value, unit, limits };
    vec![
        count("waiting", queue.waiting as u64, "", numbers),
        count("oldest", ages.oldest.unwrap_or_default(), "s", times),
        count("idle", ages.changed, "s", times),
        count("quarantine", queue.quarantined as u64, "", [Some(limits.allow_quarantine as u64), None]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 10_000;

    fn limits() -> QueueArgs {
        QueueArgs {
            warning: 30,
            critical: 180,
            warning_age: Duration::from_secs(300),
            critical_age: Duration::from_secs(1800),
            allow_quarantine: 0,
        }
    }

    fn well() -> Queue {
        Queue { waiting: 2, oldest: Some(NOW - 13), changed: NOW - 3, quarantined: 0 }
    }

    fn report_of(queue: &Queue) -> Report {
        report(Path::new("/spool"), &Ages::of(queue, NOW), queue, &limits())
    }

    /// The levels of queue, oldest, arrivals and quarantine.
    fn levels(queue: &Queue) -> [Level; 4] {
        let findings = report_of(queue).findings;
        findings.iter().map(|finding| finding.level).collect::<Vec<_>>().try_into().unwrap()
    }

    #[test]
    fn each_thing_is_judged_by_its_own_limit_and_a_limit_itself_is_well() {
        use Level::{Fail, Ok, Warn};
        for (queue, expected) in [
            (well(), [Ok, Ok, Ok, Ok]),
            (Queue { waiting: 30, ..well() }, [Ok, Ok, Ok, Ok]),
            (Queue { waiting: 31, ..well() }, [Warn, Ok, Ok, Ok]),
            (Queue { waiting: 181, ..well() }, [Fail, Ok, Ok, Ok]),
            (Queue { oldest: Some(NOW - 300), ..well() }, [Ok, Ok, Ok, Ok]),
            (Queue { oldest: Some(NOW - 301), ..well() }, [Ok, Warn, Ok, Ok]),
            (Queue { oldest: Some(NOW - 1801), ..well() }, [Ok, Fail, Ok, Ok]),
            (Queue { waiting: 0, oldest: None, changed: NOW - 301, quarantined: 0 }, [Ok, Ok, Warn, Ok]),
            (Queue { waiting: 0, oldest: None, changed: NOW - 1801, quarantined: 0 }, [Ok, Ok, Fail, Ok]),
            (Queue { quarantined: 1, ..well() }, [Ok, Ok, Ok, Warn]),
        ] {
            assert_eq!(levels(&queue), expected, "{queue:?}");
        }
    }

    #[test]
    fn what_is_of_the_future_is_of_now() {
        assert_eq!(
            levels(&Queue { oldest: Some(NOW + 5000), changed: NOW + 5000, ..well() }),
            [Level::Ok; 4]
        );
    }

    #[test]
    fn figures_come_with_their_limits() {
        let data: Vec<String> = report_of(&well()).counts.iter().map(ToString::to_string).collect();
        assert_eq!(
            data,
            ["'waiting'=2;30;180", "'oldest'=13s;300;1800", "'idle'=3s;300;1800", "'quarantine'=0;0"]
        );
    }

    #[test]
    fn limits_that_contradict_each_other_are_told_all_at_once() {
        assert!(contradictions(&limits()).is_empty());
        let turned = QueueArgs { warning: 181, warning_age: Duration::from_secs(3600), ..limits() };
        assert_eq!(
            contradictions(&turned),
            [
                "--critical 180 is below --warning 181; expected as many or more",
                "--critical-age 1800 is below --warning-age 3600; expected as long or longer"
            ]
        );
    }
}
