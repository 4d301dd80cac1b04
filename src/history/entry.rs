//! One thing that happened, and what of the monitor's news is one.

use std::fmt::{self, Display};
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use crate::agent::Circuit;
use crate::health::{Attempt, Cause, News};
use crate::watch::Transition;

/// What an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A server of HAProxy's.
    Server,
    /// HAProxy itself.
    Haproxy,
    /// The circuit breaker before it.
    Circuit,
    /// An attempt to bring it back.
    Recovery,
    /// A program of supervisord's.
    Program,
    /// What somebody has asked for.
    Action,
    /// What was not told to somebody, or is not in the history.
    Message,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Server,
        Self::Haproxy,
        Self::Circuit,
        Self::Recovery,
        Self::Program,
        Self::Action,
        Self::Message,
    ];

    /// A word for machines.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Haproxy => "haproxy",
            Self::Circuit => "circuit",
            Self::Recovery => "recovery",
            Self::Program => "program",
            Self::Action => "action",
            Self::Message => "message",
        }
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words = Self::ALL.map(Self::word).join(", ");
        let kind = Self::ALL.into_iter().find(|kind| kind.word() == text);
        kind.ok_or_else(|| format!("`{}` is no kind; there are {words}", text.escape_debug()))
    }
}

/// What is to become an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// What it is about.
    pub kind: Kind,
    /// Which one: `app/web1`, `web:web1`, `haproxy`.
    pub subject: String,
    /// What it was, or what led to it.
    pub from: String,
    /// What it is, or how it ended.
    pub to: String,
    /// What is known of the reason.
    pub why: Option<String>,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Grows from entry to entry, also across restarts. There may be gaps.
    pub id: i64,
    /// When it was noticed, by this machine's clock.
    #[serde(serialize_with = "in_milliseconds")]
    pub time: Timestamp,
    /// What it is about.
    pub kind: Kind,
    /// Which one.
    pub subject: String,
    /// What it was, or what led to it.
    pub from: String,
    /// What it is, or how it ended.
    pub to: String,
    /// What is known of the reason.
    pub why: Option<String>,
}

/// HAProxy itself, as a subject.
const HAPROXY: &str = "haproxy";
/// Names and states are shorter; `haproxy -c` and checks of a user's own may say more.
const LONGEST_WORD: usize = 512;
const LONGEST_REASON: usize = 4096;
/// Beside the texts.
const OVERHEAD: usize = 160;

impl Entry {
    /// Texts that are longer than anybody reads are cut, and show it.
    pub(super) fn new(id: i64, time: Timestamp, note: Note) -> Self {
        let Note { kind, subject, from, to, why } = note;
        let word = |text| cut(text, LONGEST_WORD);
        let why = why.filter(|why| !why.is_empty()).map(|why| cut(why, LONGEST_REASON));
        // As the file has it, so that nobody sees two times for one entry.
        let time = Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time);
        Self { id, time, kind, subject: word(subject), from: word(from), to: word(to), why }
    }

    /// The memory that it takes, about.
    pub(super) fn bytes(&self) -> usize {
        let Self { subject, from, to, why, .. } = self;
        OVERHEAD + subject.len() + from.len() + to.len() + why.as_ref().map_or(0, String::len)
    }
}

fn cut(text: String, longest: usize) -> String {
    if text.len() <= longest {
        return text;
    }
    let end = (0..=longest).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    format!("{}…", text.get(..end).unwrap_or_default())
}

fn in_milliseconds<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{time:.3}"))
}

impl Note {
    /// Of what the monitor tells: none where it would only fill the history.
    #[must_use]
    pub fn of(news: &News) -> Option<Self> {
        match news {
            News::Server(transition) => Some(Self::of_server(transition)),
            News::Haproxy { from, to, why } => {
                Some(Self::of_haproxy(Kind::Haproxy, from.word(), to.word(), why.clone()))
            }
            News::Circuit { from, to, why } => Self::of_circuit(*from, *to, why),
            News::Recovery(attempt) => Some(Self::of_recovery(attempt)),
        }
    }

    fn of_haproxy(kind: Kind, from: &str, to: &str, why: String) -> Self {
        Self { kind, subject: HAPROXY.into(), from: from.into(), to: to.into(), why: Some(why) }
    }

    fn of_server(transition: &Transition) -> Self {
        let Transition { server, from, to, check, text, .. } = transition;
        let why = [&**check, &**text].map(str::trim).into_iter().filter(|text| !text.is_empty());
        Self {
            kind: Kind::Server,
            subject: server.to_string(),
            from: from.to_string(),
            to: to.to_string(),
            why: Some(why.collect::<Vec<_>>().join(", ")),
        }
    }

    /// Of an HAProxy that is away for a day, thousands of tries in between would push out all the rest.
    fn of_circuit(from: Circuit, to: Circuit, why: &str) -> Option<Self> {
        match (from, to) {
            (_, Circuit::Closed) => {
                Some(Self::of_haproxy(Kind::Circuit, Circuit::Open.word(), to.word(), why.to_owned()))
            }
            (Circuit::Closed, Circuit::Open) => {
                Some(Self::of_haproxy(Kind::Circuit, from.word(), to.word(), why.to_owned()))
            }
            _ => None,
        }
    }

    fn of_recovery(attempt: &Attempt<Timestamp>) -> Self {
        let Attempt { cause, outcome, took, .. } = attempt;
        let (from, reason) = match cause {
            Cause::Unhealthy(checks) => ("unhealthy", format!("unhealthy in {checks} checks in a row")),
            Cause::Asked(None) => ("asked", "asked for".into()),
            Cause::Asked(Some(reason)) => ("asked", format!("asked for: {reason}")),
        };
        let why = format!("{reason}; after {:.1} s, {outcome}", took.as_secs_f64());
        Self::of_haproxy(Kind::Recovery, from, outcome.word(), why)
    }
}

impl Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::health::{Outcome, Status};

    /// A server that goes down.
    pub(in crate::history) fn note(subject: &str) -> Note {
        Note {
            kind: Kind::Server,
            subject: subject.into(),
            from: "UP".into(),
            to: "DOWN".into(),
            why: Some("L4CON".into()),
        }
    }

    fn line(news: &News) -> Option<String> {
        let Note { kind, subject, from, to, why } = Note::of(news)?;
        Some(format!("{kind} {subject}: {from} to {to}: {}", why.unwrap_or_default()))
    }

    #[test]
    fn what_the_monitor_tells_becomes_a_note() {
        let transition = Transition {
            server: "app/web1".parse().unwrap(),
            from: "UP 1/3".into(),
            to: "DOWN".into(),
            lasted: Duration::ZERO,
            check: "L4CON".into(),
            text: "Connection refused".into(),
        };
        assert_eq!(
            line(&News::Server(transition)).unwrap(),
            "server app/web1: UP 1/3 to DOWN: L4CON, Connection refused"
        );
        let news = News::Haproxy { from: Status::Unknown, to: Status::Unhealthy, why: "it hangs".into() };
        assert_eq!(line(&news).unwrap(), "haproxy haproxy: UNKNOWN to UNHEALTHY: it hangs");
    }

    #[test]
    fn a_circuit_opens_and_closes_and_what_is_in_between_is_left_out() {
        use Circuit::{Closed, HalfOpen, Open};
        let told = |from, to| line(&News::Circuit { from, to, why: "it hangs".into() });
        assert_eq!(told(Closed, Open).unwrap(), "circuit haproxy: CLOSED to OPEN: it hangs");
        assert_eq!(told(HalfOpen, Closed).unwrap(), "circuit haproxy: OPEN to CLOSED: it hangs");
        assert_eq!((told(Open, HalfOpen), told(HalfOpen, Open)), (None, None));
    }

    #[test]
    fn an_attempt_tells_its_cause_its_outcome_and_how_long_it_took() {
        let told = |cause, outcome| {
            let took = Duration::from_millis(1240);
            line(&News::Recovery(Attempt { at: Timestamp::now(), cause, outcome, took })).unwrap()
        };
        assert_eq!(
            told(Cause::Unhealthy(3), Outcome::Recovered),
            "recovery haproxy: unhealthy to recovered: unhealthy in 3 checks in a row; after 1.2 s, HAProxy answers \
             again"
        );
        assert_eq!(
            told(Cause::Asked(Some("a new certificate".into())), Outcome::Failed("no".into())),
            "recovery haproxy: asked to failed: asked for: a new certificate; after 1.2 s, the restart failed: no"
        );
    }

    #[test]
    fn texts_have_an_end_and_show_where_they_were_cut() {
        let long = Note { subject: "ä".repeat(300), why: Some("x".repeat(5000)), ..note("") };
        let entry = Entry::new(1, Timestamp::now(), long);
        assert_eq!(entry.subject, format!("{}…", "ä".repeat(256)));
        assert_eq!(entry.why.unwrap(), format!("{}…", "x".repeat(4096)));
        let entry = Entry::new(1, Timestamp::now(), Note { why: Some(String::new()), ..note("a/b") });
        assert_eq!((&*entry.subject, entry.why), ("a/b", None));
    }

    #[test]
    fn every_kind_is_read_as_it_is_written() {
        for kind in Kind::ALL {
            assert_eq!(kind.word().parse(), Ok(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.word());
        }
        assert!("Server".parse::<Kind>().unwrap_err().contains("there are server, haproxy, circuit"));
    }
}
