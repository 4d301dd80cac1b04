//! Many changes in, few messages out. What changes within a window is told at its end, each subject on one line; what
//! changes again and again is said to be flapping, and then told when it is calm, or every hour. Pure: now is a
//! parameter.
//!
//! Nothing is forgotten: what was told last of a subject is what it is, and the changes that were told add up to those
//! that there were. There is one entry for each subject at most, so it needs no limit of its own.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::haproxy::Kind;
use crate::health::{self, News};
use crate::watch::Transition;

/// So many changes in a window are no way to go down, nor to come back.
const FLAPPING: u64 = 4;
/// That something still flaps is told so often.
const REMINDER: Duration = Duration::from_secs(60 * 60);

/// Something is not what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What: HAProxy itself, or a server.
    pub subject: String,
    /// What it was.
    pub from: State,
    /// What it is.
    pub to: State,
    /// What is known of the reason; empty where nothing is.
    pub why: String,
}

/// How something is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// In HAProxy's words.
    pub word: String,
    /// Whether it does not do what it is there for, and nobody wants that.
    pub is_failing: bool,
}

impl Change {
    /// Of what the monitor tells: none where servers, or HAProxy's own state, tell it better.
    #[must_use]
    pub fn of(news: &News) -> Option<Self> {
        match news {
            News::Server(transition) => Some(Self::of_server(transition)),
            News::Haproxy { from, to, why } => Self::of_haproxy(*from, *to, why),
            // Of an HAProxy that does not answer, and that does again, the line above tells.
            News::Circuit { .. } | News::Recovery(_) => None,
        }
    }

    fn of_server(transition: &Transition) -> Self {
        let Transition { server, from, to, check, text, .. } = transition;
        let state = |status: &crate::haproxy::Status| State {
            word: status.to_string(),
            is_failing: matches!(status.kind, Kind::Down | Kind::MaintResolution),
        };
        let why = [&**check, &**text].map(str::trim).into_iter().filter(|text| !text.is_empty());
        let why = why.collect::<Vec<_>>().join(", ");
        Self { subject: format!("`{server}`"), from: state(from), to: state(to), why }
    }

    fn of_haproxy(from: health::Status, to: health::Status, why: &str) -> Option<Self> {
        let state = |status: health::Status| State {
            word: status.word().to_owned(),
            is_failing: status == health::Status::Unhealthy,
        };
        let (from, to) = (state(from), state(to));
        let why = if to.is_failing { why.to_owned() } else { String::new() };
        // HEALTHY and DEGRADED are what the servers are.
        let is_news = from.is_failing || to.is_failing;
        is_news.then(|| Self { subject: "HAProxy".into(), from, to, why })
    }
}

/// What became of one subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// What: HAProxy itself, or a server.
    pub subject: String,
    /// What it was when it was told last.
    pub from: String,
    /// What it is.
    pub to: String,
    /// How often it changed since.
    pub changes: u64,
    /// How that is to be understood.
    pub course: Course,
    /// Whether it fails now.
    pub failing: bool,
    /// What is known of the reason; empty where nothing is.
    pub why: String,
    #[serde(skip)]
    was_failing: bool,
}

/// How changes are to be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Course {
    /// It was this, and is that.
    Changed,
    /// It changes again and again; told for the first time, or once more.
    Flapping,
    /// It does not any more.
    Calm,
}

/// What is said at the end of a window: at least one line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// What fails first, then by name.
    pub lines: Vec<Line>,
}

impl Summary {
    /// Whether something fails now.
    #[must_use]
    pub fn is_bad(&self) -> bool {
        self.lines.iter().any(|line| line.failing)
    }
}

/// What was not told yet.
#[derive(Debug)]
pub struct Digest {
    window: Duration,
    tracks: BTreeMap<String, Track>,
    /// When the window ends that a first change has opened.
    ends: Option<Instant>,
    /// When something was told last.
    told: Option<Instant>,
}

#[derive(Debug)]
struct Track {
    from: State,
    to: State,
    why: String,
    changes: u64,
    last: Instant,
    /// When it was said to be flapping; none while it is not.
    flaps: Option<Instant>,
}

impl Digest {
    /// Tells at most once in a window.
    #[must_use]
    pub fn new(window: Duration) -> Self {
        Self { window, tracks: BTreeMap::new(), ends: None, told: None }
    }

    /// Takes note.
    pub fn add(&mut self, now: Instant, change: Change) {
        let Change { subject, from, to, why } = change;
        let track = self.tracks.entry(subject).or_insert_with(|| Track {
            to: from.clone(),
            from,
            why: String::new(),
            changes: 0,
            last: now,
            flaps: None,
        });
        (track.to, track.why, track.last) = (to, why, now);
        track.changes += 1;
        if track.flaps.is_none() {
            self.ends.get_or_insert(now + self.window);
        }
    }

    /// When [`Self::take`] has something to do.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        let flapping = self.tracks.values().filter_map(|track| track.release(self.window));
        let due = self.ends.into_iter().chain(flapping).min()?;
        Some(self.told.map_or(due, |told| due.max(told + self.window)))
    }

    /// What is to be told now.
    pub fn take(&mut self, now: Instant) -> Option<Summary> {
        if self.due().is_none_or(|due| due > now) {
            return None;
        }
        let is_end = self.ends.is_some_and(|ends| ends <= now);
        if is_end {
            self.ends = None;
        }
        self.tell(now, |_| is_end)
    }

    /// All that was not told, whatever the time: for the end.
    pub fn rest(&mut self, now: Instant) -> Option<Summary> {
        self.ends = None;
        self.tell(now, |_| true)
    }

    fn tell(&mut self, now: Instant, is_released: impl Fn(&Track) -> bool) -> Option<Summary> {
        let window = self.window;
        let mut lines = Vec::new();
        self.tracks.retain(|subject, track| {
            if track.flaps.is_none() && !is_released(track) {
                return true;
            }
            let Some(course) = track.judge(now, window) else { return !track.is_calm(now, window) };
            lines.push(track.line(subject, course));
            track.begin_anew();
            if course == Course::Flapping {
                track.flaps = Some(now);
            }
            course == Course::Flapping
        });
        lines.sort_by_key(|line| !line.failing);
        if lines.is_empty() {
            return None;
        }
        self.told = Some(now);
        Some(Summary { lines })
    }
}

impl Track {
    /// When there is something to be done about one that flaps.
    fn release(&self, window: Duration) -> Option<Instant> {
        let calm = self.last + window;
        let reminder = self.flaps? + REMINDER;
        Some(if self.changes > 0 { calm.min(reminder) } else { calm })
    }

    fn is_calm(&self, now: Instant, window: Duration) -> bool {
        now >= self.last + window
    }

    fn judge(&self, now: Instant, window: Duration) -> Option<Course> {
        match self.flaps {
            _ if self.changes == 0 => None,
            None if self.changes >= FLAPPING => Some(Course::Flapping),
            None => Some(Course::Changed),
            Some(_) if self.is_calm(now, window) => Some(Course::Calm),
            Some(told) => (now >= told + REMINDER).then_some(Course::Flapping),
        }
    }

    fn line(&self, subject: &str, course: Course) -> Line {
        Line {
            subject: subject.to_owned(),
            from: self.from.word.clone(),
            to: self.to.word.clone(),
            changes: self.changes,
            course,
            failing: self.to.is_failing,
            why: self.why.clone(),
            was_failing: self.from.is_failing,
        }
    }

    fn begin_anew(&mut self) {
        self.from = self.to.clone();
        self.changes = 0;
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { subject, from, to, changes, .. } = self;
        write!(f, "{subject} is {to}")?;
        match self.course {
            Course::Changed if *changes > 1 => write!(f, " after {changes} changes")?,
            Course::Changed if self.was_failing && !self.failing => write!(f, " again (was {from})")?,
            Course::Changed => write!(f, " (was {from})")?,
            Course::Flapping => write!(f, " and flaps: {changes} changes")?,
            Course::Calm => write!(f, " and does not flap any more, after {changes} changes more")?,
        }
        if self.why.is_empty() { Ok(()) } else { write!(f, ": {}", self.why.escape_debug()) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WINDOW: Duration = Duration::from_secs(30);

    fn state(word: &str) -> State {
        State { word: word.into(), is_failing: word == "DOWN" }
    }

    fn change(subject: &str, from: &str, to: &str) -> Change {
        Change { subject: subject.into(), from: state(from), to: state(to), why: String::new() }
    }

    fn texts(summary: Option<Summary>) -> Vec<String> {
        summary.unwrap_or_default().lines.iter().map(ToString::to_string).collect()
    }

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    /// Up and down, once a second, from one second to another.
    fn flap(digest: &mut Digest, start: Instant, range: std::ops::Range<u64>) {
        for second in range {
            let (from, to) = if second % 2 == 0 { ("UP", "DOWN") } else { ("DOWN", "UP") };
            digest.add(start + seconds(second), change("`a/s`", from, to));
        }
    }

    #[test]
    fn what_changes_within_a_window_is_one_message_and_what_fails_comes_first() {
        let (mut digest, start) = (Digest::new(WINDOW), Instant::now());
        digest.add(start, change("`a/1`", "DOWN", "UP"));
        digest.add(start + seconds(10), change("`a/2`", "UP", "DOWN"));
        assert_eq!(digest.due(), Some(start + WINDOW), "the first change opens the window");
        assert_eq!(digest.take(start + seconds(29)), None);
        let summary = digest.take(start + WINDOW).unwrap();
        assert!(summary.is_bad());
        assert_eq!(texts(Some(summary)), ["`a/2` is DOWN (was UP)", "`a/1` is UP again (was DOWN)"]);
        assert_eq!((digest.due(), digest.take(start + seconds(999))), (None, None));
    }

    #[test]
    fn a_recovery_is_told_and_is_good() {
        let (mut digest, start) = (Digest::new(WINDOW), Instant::now());
        digest.add(start, change("`a/s`", "UP", "DOWN"));
        assert!(digest.take(start + WINDOW).unwrap().is_bad());
        digest.add(start + seconds(100), change("`a/s`", "DOWN", "UP"));
        let summary = digest.take(start + seconds(130)).unwrap();
        assert!(!summary.is_bad());
        assert_eq!(texts(Some(summary)), ["`a/s` is UP again (was DOWN)"]);
    }

    #[test]
    fn down_and_up_within_a_window_is_told_all_the_same() {
        let (mut digest, start) = (Digest::new(WINDOW), Instant::now());
        flap(&mut digest, start, 0..2);
        assert_eq!(texts(digest.take(start + WINDOW)), ["`a/s` is UP after 2 changes"]);
    }

    #[test]
    fn a_server_that_flaps_all_day_is_a_message_an_hour_and_one_at_the_end() {
        let (mut digest, start) = (Digest::new(WINDOW), Instant::now());
        let mut told = Vec::new();
        for second in 0..86_400 {
            flap(&mut digest, start, second..second + 1);
            told.extend(texts(digest.take(start + seconds(second))));
        }
        assert_eq!(told.len(), 24, "{told:#?}");
        assert_eq!(told[0], "`a/s` is DOWN and flaps: 31 changes");
        assert_eq!(told[1], "`a/s` is DOWN and flaps: 3600 changes");
        let calm = start + seconds(86_399) + WINDOW;
        assert_eq!(digest.due(), Some(calm));
        assert_eq!(
            texts(digest.take(calm)),
            ["`a/s` is UP and does not flap any more, after 3569 changes more"]
        );
        assert_eq!(digest.due(), None);
    }

    #[test]
    fn a_burst_that_is_over_when_it_is_told_is_told_once() {
        let (mut digest, start) = (Digest::new(WINDOW), Instant::now());
        flap(&mut digest, start, 0..20);
        assert_eq!(texts(digest.take(start + WINDOW)), ["`a/s` is UP and flaps: 20 changes"]);
        assert_eq!(digest.take(start + seconds(1000)), None);
        assert_eq!(digest.due(), None, "it is forgotten");
    }

    #[test]
    fn others_are_told_while_one_flaps() {
        let (mut digest, start) = (Digest::new(WINDOW), Instant::now());
        flap(&mut digest, start, 0..31);
        digest.take(start + WINDOW).unwrap();
        flap(&mut digest, start, 31..70);
        digest.add(start + seconds(65), change("`a/t`", "UP", "DOWN"));
        assert_eq!(texts(digest.take(start + seconds(95))), ["`a/t` is DOWN (was UP)"]);
    }

    #[test]
    fn the_end_leaves_nothing_untold() {
        let (mut digest, start) = (Digest::new(WINDOW), Instant::now());
        digest.add(start, change("`a/s`", "UP", "DOWN"));
        assert_eq!(texts(digest.rest(start)), ["`a/s` is DOWN (was UP)"]);
        assert_eq!(digest.rest(start), None);
    }

    #[test]
    fn what_the_monitor_tells_becomes_a_change_where_it_is_one() {
        use health::Status::{Degraded, Healthy, Unhealthy, Unknown};
        let text = |from, to| {
            let change = Change::of(&News::Haproxy { from, to, why: "it hangs".into() })?;
            let mut digest = Digest::new(Duration::ZERO);
            digest.add(Instant::now(), change);
            Some(texts(digest.rest(Instant::now())).concat())
        };
        assert_eq!(text(Healthy, Unhealthy).unwrap(), "HAProxy is UNHEALTHY (was HEALTHY): it hangs");
        assert_eq!(text(Unhealthy, Degraded).unwrap(), "HAProxy is DEGRADED again (was UNHEALTHY)");
        assert_eq!((text(Unknown, Healthy), text(Healthy, Degraded)), (None, None));
        let transition = Transition {
            server: "app/web1".parse().unwrap(),
            from: "UP".into(),
            to: "DOWN".into(),
            lasted: Duration::ZERO,
            check: "L4CON".into(),
            text: "Connection\nrefused".into(),
        };
        let mut digest = Digest::new(Duration::ZERO);
        digest.add(Instant::now(), Change::of(&News::Server(transition)).unwrap());
        assert_eq!(
            texts(digest.rest(Instant::now())),
            ["`app/web1` is DOWN (was UP): L4CON, Connection\\nrefused"]
        );
    }

    proptest! {
        /// Subjects that go from one state to another at some time, and a look each second.
        #[test]
        fn nothing_is_lost_and_no_window_has_two_messages(
            steps in proptest::collection::vec((0_usize..3, 0_u64..20, any::<bool>()), 1..200),
            window in 0_u64..60,
        ) {
            let (window, mut now) = (seconds(window), Instant::now());
            let mut digest = Digest::new(window);
            let mut is = [0_u64; 3];
            let mut told: [Option<String>; 3] = [const { None }; 3];
            let (mut made, mut counted, mut last) = (0, 0, None::<Instant>);
            let mut hear = |summary: Summary, now: Instant| {
                let is_early = last.replace(now).is_some_and(|last| now < last + window);
                for line in summary.lines {
                    counted += line.changes;
                    told[line.subject.parse::<usize>().unwrap()] = Some(line.to);
                }
                (counted, told.clone(), is_early)
            };
            let mut end = (0, [const { None }; 3], false);
            for (subject, pause, is_change) in steps {
                now += seconds(pause);
                if is_change {
                    let (from, to) = (is[subject], is[subject] + 1);
                    digest.add(now, change(&subject.to_string(), &from.to_string(), &to.to_string()));
                    is[subject] = to;
                    made += 1;
                }
                if let Some(summary) = digest.take(now) {
                    end = hear(summary, now);
                    prop_assert!(!end.2);
                }
            }
            while let Some(due) = digest.due() {
                now = now.max(due);
                if let Some(summary) = digest.take(now) {
                    end = hear(summary, now);
                    prop_assert!(!end.2);
                }
            }
            prop_assert_eq!(end.0, made);
            for (state, told) in is.into_iter().zip(end.1) {
                prop_assert_eq!(told, (state > 0).then(|| state.to_string()));
            }
            prop_assert!(digest.tracks.is_empty());
        }
    }
}
