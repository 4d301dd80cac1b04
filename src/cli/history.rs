//! `history`: what `serve` has seen change, from its file.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anstyle::Style;
use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

use super::commands::TimelineArgs;
use super::screen::{BAD, DOUBTFUL, GOOD, HEADING, Screen, paint};
use super::{Failure, history_file};
use crate::control::Vigil;
use crate::history::{Entry, HistoryError, Kind, Pattern, Query, Reader};

/// Between two looks of `--follow`.
const REFRESH: Duration = Duration::from_millis(500);

pub(super) fn run(args: &TimelineArgs) -> Result<u8, Failure> {
    let query = query(args, Timestamp::now()).map_err(Failure::Usage)?;
    let mut reader = open(&files(args)).map_err(|error| failed(&error))?;
    // Before there is anything on the screen, so that Ctrl-C ends it in one way only.
    let vigil = args.follow.then(Vigil::new).transpose()?;
    let mut page = Page { screen: Screen::new(), is_json: args.json, subject: 0, change: 0, is_begun: false };
    let entries = reader.read(&query).map_err(|error| failed(&error))?;
    let last = entries.first().map(|entry| entry.id);
    page.show(&entries)?;
    match vigil {
        // Those that `--since` leaves out come no more.
        Some(vigil) => {
            follow(vigil, &mut reader, Query { limit: usize::MAX, after: last, ..query }, &mut page)
        }
        None => Ok(0),
    }
}

fn failed(error: &HistoryError) -> Failure {
    Failure::Failed(vec![error.to_string()])
}

fn follow(mut vigil: Vigil, reader: &mut Reader, mut query: Query, page: &mut Page) -> Result<u8, Failure> {
    if query.after.is_none() {
        query.after = newest(reader)?;
    }
    while !vigil.wait(Instant::now() + REFRESH)? {
        if !reader.is_current() {
            match reader.reopen() {
                // A file that was begun anew counts anew.
                Ok(()) if newest(reader)? < query.after => query.after = None,
                Ok(()) => {}
                // `serve` is about to begin a new one, or does when it has something to write.
                Err(HistoryError::Missing(_)) => continue,
                Err(error) => return Err(failed(&error)),
            }
        }
        match reader.read(&query) {
            Ok(entries) => {
                query.after = entries.first().map_or(query.after, |entry| Some(entry.id));
                page.show(&entries)?;
            }
            Err(error) if error.may_pass() => {}
            Err(error) => return Err(failed(&error)),
        }
    }
    Ok(0)
}

/// The last id that there is, whatever is asked for: what was left out by a limit is none of what comes.
fn newest(reader: &Reader) -> Result<Option<i64>, Failure> {
    let entries = reader.read(&Query { limit: 1, ..Query::default() }).map_err(|error| failed(&error))?;
    Ok(entries.first().map(|entry| entry.id))
}

// --- what is asked for

fn files(args: &TimelineArgs) -> Vec<PathBuf> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let is_root = rustix::process::geteuid().is_root();
    args.file.clone().map_or_else(|| history_file::all(&variable, is_root), |file| vec![file])
}

/// The first that is there; where none is, the error is about the likeliest.
fn open(files: &[PathBuf]) -> Result<Reader, HistoryError> {
    let mut missing = None;
    for file in files {
        match Reader::open(file) {
            Err(HistoryError::Missing(file)) => drop(missing.get_or_insert(file)),
            result => return result,
        }
    }
    Err(HistoryError::Missing(missing.unwrap_or_default()))
}

fn query(args: &TimelineArgs, now: Timestamp) -> Result<Query, Vec<String>> {
    let mut problems = Vec::new();
    let since = args.since.as_ref().and_then(|text| {
        let since = since(text, now);
        since.map_err(|problem| problems.push(format!("--since `{}`: {problem}", text.escape_debug()))).ok()
    });
    let subject = args.subject.as_ref().and_then(|text| {
        let pattern = text.parse::<Pattern>();
        pattern.map_err(|problem| problems.push(format!("--subject: {problem}"))).ok()
    });
    let kind = args.kind.as_ref().and_then(|text| {
        text.parse::<Kind>().map_err(|problem| problems.push(format!("--kind: {problem}"))).ok()
    });
    let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
    if problems.is_empty() {
        Ok(Query { limit, since, kind, subject, ..Query::default() })
    } else {
        Err(problems)
    }
}

/// A moment, a day in UTC, or so long ago.
fn since(text: &str, now: Timestamp) -> Result<Timestamp, &'static str> {
    const EXPECTED: &str = "expected a time as in `2026-11-21T17:00:00Z` or `2026-11-21`, or so long ago, as in `30m`, `12h` or `7d`";
    let utc = |time: DateTime| TimeZone::UTC.to_timestamp(time).ok();
    let moment = || text.parse::<Timestamp>().ok();
    let local = || text.parse::<DateTime>().ok().and_then(utc);
    let day = || text.parse::<Date>().ok().and_then(|date| utc(date.into()));
    let ago = ago(text).and_then(|ago| now.checked_sub(ago).ok());
    ago.or_else(moment).or_else(local).or_else(day).ok_or(EXPECTED)
}

fn ago(text: &str) -> Option<Duration> {
    let unit = |end: &str, seconds: f64| Some((text.strip_suffix(end)?, seconds));
    let (number, seconds) = unit("s", 1.0)
        .or_else(|| unit("m", 60.0))
        .or_else(|| unit("h", 3600.0))
        .or_else(|| unit("d", 86_400.0))?;
    let number: f64 = number.parse().ok()?;
    Duration::try_from_secs_f64(number * seconds).ok()
}

// --- what is shown

/// Lines under each other; columns grow with what comes.
struct Page {
    screen: Screen,
    is_json: bool,
    subject: usize,
    change: usize,
    is_begun: bool,
}

impl Page {
    /// Shows them in the order in which they came; they are given in the other one.
    fn show(&mut self, entries: &[Entry]) -> Result<(), Failure> {
        if self.is_json {
            for entry in entries.iter().rev() {
                self.screen.line(serde_json::to_string(entry).map_err(std::io::Error::from)?);
            }
            return Ok(());
        }
        let rows: Vec<Row> = entries.iter().rev().map(Row::of).collect();
        for row in &rows {
            self.subject = self.subject.max(row.subject.chars().count()).max("SUBJECT".len());
            self.change = self.change.max(row.change.chars().count()).max("CHANGE".len());
        }
        if !self.is_begun && !rows.is_empty() {
            self.is_begun = true;
            let heading = Row {
                time: "TIME".into(),
                kind: "KIND",
                subject: "SUBJECT".into(),
                change: "CHANGE".into(),
                why: "WHY".into(),
                style: Style::new(),
            };
            self.screen.line(paint(HEADING, heading.line(self.subject, self.change)));
        }
        for row in &rows {
            self.screen.line(row.line(self.subject, self.change));
        }
        Ok(())
    }
}

struct Row {
    time: String,
    kind: &'static str,
    subject: String,
    change: String,
    why: String,
    style: Style,
}

impl Row {
    fn of(entry: &Entry) -> Self {
        // Peers' words may hold whatever moves a cursor.
        let plain = |text: &str| text.escape_debug().to_string();
        Self {
            time: format!("{:.3}", entry.time),
            kind: entry.kind.word(),
            subject: plain(&entry.subject),
            change: format!("{} → {}", plain(&entry.from), plain(&entry.to)),
            why: entry.why.as_deref().map(plain).unwrap_or_default(),
            style: style(entry),
        }
    }

    fn line(&self, subject: usize, change: usize) -> String {
        let padding = " ".repeat(change.saturating_sub(self.change.chars().count()));
        let line = format!(
            "{:24}  {:8}  {:subject$}  {}{padding}  {}",
            self.time,
            self.kind,
            self.subject,
            paint(self.style, &self.change),
            self.why
        );
        line.trim_end().to_owned()
    }
}

/// Good is what serves, bad what does not and should.
fn style(entry: &Entry) -> Style {
    let word = entry.to.split(' ').next().unwrap_or_default();
    match word {
        "UP" | "HEALTHY" | "CLOSED" | "RUNNING" | "recovered" | "succeeded" => GOOD,
        "DOWN"
        | "UNHEALTHY"
        | "OPEN"
        | "FATAL"
        | "BACKOFF"
        | "EXITED"
        | "failed"
        | "not-verified"
        | "invalid-configuration"
        | "lost" => BAD,
        _ => DOUBTFUL,
    }
}

#[cfg(test)]
mod tests {
    use super::super::commands::KINDS;
    use super::*;

    #[test]
    fn since_is_a_time_a_day_or_so_long_ago() {
        let now: Timestamp = "2026-11-21T17:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("2026-11-20T12:30:00Z", "2026-11-20T12:30:00Z"),
            ("2026-11-20T12:30:00+02:00", "2026-11-20T10:30:00Z"),
            ("2026-11-20 12:30", "2026-11-20T12:30:00Z"),
            ("2026-11-20", "2026-11-20T00:00:00Z"),
            ("90s", "2026-11-21T16:58:30Z"),
            ("30m", "2026-11-21T16:30:00Z"),
            ("1.5h", "2026-11-21T15:30:00Z"),
            ("7d", "2026-11-14T17:00:00Z"),
        ] {
            assert_eq!(since(text, now).map(|time| time.to_string()).as_deref(), Ok(expected), "{text}");
        }
        for text in ["", "h", "-1h", "nand", "infd", "1e300d", "soon", "5", "2026-13-01"] {
            assert!(since(text, now).is_err(), "{text}");
        }
    }

    #[test]
    fn the_kinds_that_may_be_typed_are_those_that_there_are() {
        assert_eq!(KINDS, Kind::ALL.map(Kind::word));
    }

    #[test]
    fn a_line_holds_nothing_that_moves_a_cursor() {
        let entry = Entry {
            id: 1,
            time: "2026-11-21T17:00:00.5Z".parse().unwrap(),
            kind: Kind::Server,
            subject: "app/web1".into(),
            from: "UP".into(),
            to: "DOWN".into(),
            why: Some("L7STS, \x1b[2Jgone\n".into()),
        };
        let line = Row { style: Style::new(), ..Row::of(&entry) }.line(10, 12);
        assert_eq!(
            line,
            "2026-11-21T17:00:00.500Z  server    app/web1    UP → DOWN     L7STS, \\u{1b}[2Jgone\\n"
        );
    }
}
