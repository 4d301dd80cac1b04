//! What somebody asked for, and what became of it.

use std::collections::VecDeque;
use std::fmt;

use glob::Pattern;
use jiff::Timestamp;

use crate::haproxy::ServerRef;
use crate::supervisor::ProcessName;

/// What is to be done: a command of this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A server is to take traffic.
    Ready,
    /// A server is to take no new traffic.
    Drain,
    /// A server is to take no traffic.
    Maint,
    /// A program is to be restarted without losing a request.
    Restart,
}

impl Action {
    /// The command's name.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Drain => "drain",
            Self::Maint => "maint",
            Self::Restart => "restart",
        }
    }
}

/// Whom it is done to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A server.
    Server(ServerRef),
    /// A program.
    Program(ProcessName),
}

impl Subject {
    /// The TARGET that means this one and no other, whatever its name is made of.
    #[must_use]
    pub(super) fn target(&self) -> String {
        let (one, mark, other) = match self {
            Self::Server(server) => (server.backend(), '/', server.server()),
            Self::Program(name) => (&*name.group, ':', &*name.process),
        };
        format!("{}{mark}{}", Pattern::escape(one), Pattern::escape(other))
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(server) => server.fmt(f),
            Self::Program(name) => name.fmt(f),
        }
    }
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobState {
    /// Its command runs.
    Running,
    /// Its command has ended well.
    Succeeded,
    /// Its command has failed, refused, or was killed.
    Failed,
}

impl JobState {
    /// In lower case.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        }
    }
}

/// One thing that somebody asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its number, from 1.
    pub id: u64,
    /// What is done.
    pub action: Action,
    /// To whom.
    pub subject: Subject,
    /// Who asked for it, in words.
    pub by: String,
    /// How far it is.
    pub state: JobState,
    /// When it was begun.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// The last lines of what its command says.
    pub lines: Vec<String>,
}

/// The end of what a command says, line by line.
#[derive(Debug, Default)]
pub(super) struct Tail {
    lines: VecDeque<String>,
    /// What has no end yet.
    begun: Vec<u8>,
}

/// A page has no room for more.
const LINES: usize = 20;
/// Of a line, in bytes; commands break theirs at nothing.
const LINE: usize = 1000;

impl Tail {
    pub(super) fn add(&mut self, piece: &[u8]) {
        for (at, part) in piece.split(|byte| *byte == b'\n').enumerate() {
            if at > 0 {
                self.end_line();
            }
            let room = LINE.saturating_sub(self.begun.len());
            self.begun.extend_from_slice(part.get(..room).unwrap_or(part));
        }
    }

    fn end_line(&mut self) {
        let line = plain(&std::mem::take(&mut self.begun));
        if !line.is_empty() {
            self.lines.push_back(line);
            let excess = self.lines.len().saturating_sub(LINES);
            self.lines.drain(..excess);
        }
    }

    /// All lines; what has no end yet is one.
    pub(super) fn lines(&self) -> Vec<String> {
        let begun = Some(plain(&self.begun)).filter(|line| !line.is_empty());
        let count = self.lines.len() + usize::from(begun.is_some());
        self.lines.iter().cloned().chain(begun).skip(count.saturating_sub(LINES)).collect()
    }
}

/// Without what would move a terminal's cursor.
fn plain(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.trim_end().chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::{Mapping, Roster, Target};

    #[test]
    fn a_target_means_one_program_whatever_its_name() {
        let name = |group: &str, process: &str| ProcessName { group: group.into(), process: process.into() };
        let names =
            [name("web", "web"), name("web", "w[e]b"), name("all", "all"), name("x", "web"), name("*", "*")];
        let rules = vec!["*=app/s1".parse().unwrap()];
        let roster = Roster::new(&Mapping::new(rules), &names);
        for name in names {
            let target: Target = Subject::Program(name.clone()).target().parse().unwrap();
            let members = roster.select(&[target]).unwrap();
            let found: Vec<_> = members.iter().map(|member| &member.program).collect();
            assert_eq!(found, [&name]);
        }
    }

    #[test]
    fn the_last_lines_are_kept_however_they_come() {
        let mut tail = Tail::default();
        for number in 0..30 {
            tail.add(format!("line {number}").as_bytes());
            tail.add(b"\n\n");
        }
        tail.add(b"be");
        tail.add(b"gun");
        let lines = tail.lines();
        assert_eq!((lines.len(), &*lines[0], &*lines[19]), (20, "line 11", "begun"));
        tail.add(b"\n");
        assert_eq!((tail.lines().len(), tail.lines()[19].as_str()), (20, "begun"));
    }

    #[test]
    fn a_line_without_an_end_takes_no_more_room_than_others() {
        let mut tail = Tail::default();
        for _ in 0..1000 {
            tail.add(&[b'x'; 1000]);
        }
        tail.add(b"\n\x1b[31mred\x1b[0m\xff\n");
        let lines = tail.lines();
        assert_eq!((lines.len(), lines[0].len(), &*lines[1]), (2, LINE, "[31mred[0m\u{fffd}"));
    }
}
