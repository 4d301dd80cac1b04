//! What `serve` sees of programs, and is asked to do, goes into the history: the two rooms do not know of each other.

use crate::history::{Book, Kind, Note};
use crate::overview::{Job, JobState, Listener, News, ProgramChange};

/// Writes down what the observer and the desk tell.
#[derive(Debug)]
pub(super) struct Scribe(pub(super) Book);

impl Listener for Scribe {
    fn hear(&self, news: &[News]) {
        self.0.record_all(news.iter().map(note));
    }
}

fn note(news: &News) -> Note {
    match news {
        News::Program(change) => of_program(change),
        News::Action(job) => of_action(job),
    }
}

fn of_program(ProgramChange { program, from, to }: &ProgramChange) -> Note {
    let (from, to) = (from.to_string(), to.to_string());
    Note { kind: Kind::Program, subject: program.to_string(), from, to, why: None }
}

/// Who asked for it; of one that has failed, also the last that it said.
fn of_action(job: &Job) -> Note {
    let to = match job.state {
        JobState::Running => "running",
        JobState::Succeeded => "succeeded",
        JobState::Failed => "failed",
    };
    let by = format!("asked for by {}", job.by);
    let said = job.lines.iter().rev().find(|line| !line.starts_with("exit status"));
    let why = match said.filter(|_| job.state == JobState::Failed) {
        Some(line) => format!("{line}; {by}"),
        None => by,
    };
    let from = job.action.word().to_owned();
    Note { kind: Kind::Action, subject: job.subject.to_string(), from, to: to.into(), why: Some(why) }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::overview::{Action, Subject};
    use crate::supervisor::{ProcessName, ProcessState};

    fn told(note: Note) -> String {
        let Note { kind, subject, from, to, why } = note;
        format!("{kind} {subject}: {from} to {to}: {}", why.unwrap_or_default())
    }

    fn job(state: JobState, lines: &[&str]) -> News {
        News::Action(Job {
            id: 7,
            action: Action::Drain,
            subject: Subject::Server("app/web1".parse().unwrap()),
            by: "uid 0".into(),
            state,
            started_at: Timestamp::now(),
            ended_at: None,
            lines: lines.iter().map(|line| (*line).to_owned()).collect(),
        })
    }

    #[test]
    fn an_action_is_told_at_its_beginning_and_at_its_end() {
        for (news, expected) in [
            (job(JobState::Running, &[]), "action app/web1: drain to running: asked for by uid 0"),
            (job(JobState::Succeeded, &["done"]), "action app/web1: drain to succeeded: asked for by uid 0"),
            (
                job(JobState::Failed, &["first", "no such server", "exit status: 4"]),
                "action app/web1: drain to failed: no such server; asked for by uid 0",
            ),
            (job(JobState::Failed, &[]), "action app/web1: drain to failed: asked for by uid 0"),
        ] {
            assert_eq!(told(note(&news)), expected);
        }
    }

    #[test]
    fn a_program_is_told_by_its_states() {
        let program = ProcessName { group: "web".into(), process: "web1".into() };
        let change = ProgramChange { program, from: ProcessState::Running, to: ProcessState::Backoff };
        assert_eq!(told(note(&News::Program(change))), "program web:web1: RUNNING to BACKOFF: ");
    }
}
