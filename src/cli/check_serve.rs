//! `check --serve`: whether a `serve` answers, for those who have no other program to ask it with: a container.

use std::time::{Duration, Instant};

use super::Failure;
use super::check::{Count, Report, SERVE};
use crate::agent::checkup::{Finding, Level};
use crate::net::{HttpUrl, Limits, get};

/// It answers in a millisecond; who watches it waits for ten seconds or longer.
const TIME: Duration = Duration::from_secs(5);
/// More than any answer of `serve` to this.
const LONGEST: usize = 64 * 1024;

pub(super) fn examine(address: &str) -> Result<Report, Failure> {
    let url = format!("{}/healthz", address.trim_end_matches('/'));
    let url: HttpUrl =
        url.parse().map_err(|error| Failure::Usage(vec![format!("--serve {address}: {error}")]))?;
    let start = Instant::now();
    let finding = match get(&url, Limits { time: TIME, bytes: LONGEST }) {
        Ok(_) => Finding::new(Level::Ok, "serve", format!("{} answers", url.origin())),
        Err(fault) => Finding::new(Level::Fail, "serve", format!("{url}: {fault}")),
    };
    let time = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    let count = Count { name: "time", value: time, unit: "ms", limits: [None; 2] };
    Ok(Report { service: SERVE, summary: finding.text.clone(), findings: vec![finding], counts: vec![count] })
}
