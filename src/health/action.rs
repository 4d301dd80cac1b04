//! What a recovery does: how HAProxy is restarted, by whoever runs it.

use std::fmt;
use std::io;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::exec;
use crate::net::{Peer, Switchboard};
use crate::supervisor::{Call, ProcessName, ServerUrl, details, done};

/// How HAProxy is restarted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// By a line for the shell.
    Shell(String),
    /// As a program of supervisord, over XML-RPC.
    Program {
        /// Where supervisord is.
        supervisord: ServerUrl,
        /// The program.
        name: ProcessName,
    },
    /// As a unit of systemd.
    Unit(String),
    /// As a container of Docker.
    Container(String),
}

/// Between two looks at a program that is to stop.
const LOOK: Duration = Duration::from_millis(100);
/// For a look at a container.
const INSPECT: Duration = Duration::from_secs(5);

impl Action {
    /// Does it, and waits for its end, which says nothing of HAProxy yet.
    pub(super) fn perform(&self, within: Duration, stop: &AtomicBool) -> Result<(), String> {
        let Some(command) = self.command() else { return self.restart_program(within, stop) };
        let ended = exec::run(command, within, stop).map_err(|fault| format!("{self} {fault}"))?;
        ended.success().map(|_| ()).map_err(|why| format!("{self}: {why}"))
    }

    /// Whether HAProxy's container runs; none without one, or where Docker does not tell.
    pub(super) fn container_running(&self, stop: &AtomicBool) -> Option<bool> {
        let Self::Container(name) = self else { return None };
        let mut command = Command::new("docker");
        command.args(["inspect", "--format", "{{.State.Running}}", name]);
        let output = exec::run(command, INSPECT, stop).ok()?.success().ok()?;
        output.trim().parse().ok()
    }

    fn command(&self) -> Option<Command> {
        let (program, words): (_, &[&str]) = match self {
            Self::Shell(line) => ("/bin/sh", &["-c", line]),
            Self::Unit(unit) => ("systemctl", &["restart", "--", unit]),
            Self::Container(name) => ("docker", &["restart", "--", name]),
            Self::Program { .. } => return None,
        };
        let mut command = Command::new(program);
        command.args(words);
        Some(command)
    }

    fn restart_program(&self, within: Duration, stop: &AtomicBool) -> Result<(), String> {
        let Self::Program { supervisord, name } = self else { return Ok(()) };
        let deadline = Instant::now() + within;
        let mut calls = Calls::new(supervisord).map_err(|error| error.to_string())?;
        let in_words = |why: String| format!("{self}: {why}");
        calls.change(&Call::Stop(name.clone())).map_err(in_words)?;
        while calls.is_there(name).map_err(in_words)? {
            if Instant::now() >= deadline || stop.load(Ordering::Relaxed) {
                return Err(in_words(format!("it has not stopped within {within:?}")));
            }
            calls.board.pause(LOOK).map_err(|error| error.to_string())?;
        }
        calls.change(&Call::Start(name.clone())).map_err(in_words)
    }
}

struct Calls<'a> {
    supervisord: &'a ServerUrl,
    board: Switchboard,
    peer: Peer,
}

impl<'a> Calls<'a> {
    fn new(supervisord: &'a ServerUrl) -> io::Result<Self> {
        let mut board = Switchboard::new()?;
        let peer = board.connect(supervisord.endpoint.clone());
        Ok(Self { supervisord, board, peer })
    }

    /// Stops or starts; what is so already is no failure.
    fn change(&mut self, call: &Call) -> Result<(), String> {
        match done(&self.ask(call)?) {
            Err(error) if error.is_no_change() => Ok(()),
            result => result.map_err(|error| format!("{call}: {error}")),
        }
    }

    fn is_there(&mut self, name: &ProcessName) -> Result<bool, String> {
        let reply = self.ask(&Call::AllProcessInfo)?;
        let processes = details(&reply).map_err(|error| error.to_string())?;
        let process = processes.iter().find(|process| process.info.name == *name);
        process.map(|process| process.info.state.has_process()).ok_or_else(|| "no such program".into())
    }

    fn ask(&mut self, call: &Call) -> Result<Vec<u8>, String> {
        let question = call.question(self.supervisord.credentials.as_ref());
        let outcome = self.board.ask(self.peer, question).map_err(|error| error.to_string())?;
        outcome.map_err(|fault| format!("supervisord {}: {fault}", self.supervisord.endpoint))
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shell(line) => write!(f, "`{line}`"),
            Self::Program { name, .. } => write!(f, "supervisord's program `{name}`"),
            Self::Unit(unit) => write!(f, "`systemctl restart {unit}`"),
            Self::Container(name) => write!(f, "`docker restart {name}`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WITHIN: Duration = Duration::from_secs(5);

    #[test]
    fn a_name_is_never_taken_for_an_option() {
        for action in [Action::Unit("-x".into()), Action::Container("-x".into())] {
            let command = action.command().unwrap();
            let words: Vec<_> = command.get_args().collect();
            assert_eq!(words, ["restart", "--", "-x"], "{action}");
        }
    }

    #[test]
    fn a_restart_that_fails_says_what_was_done_and_why_it_failed() {
        let action = Action::Shell("echo no such process; exit 7".into());
        let why = action.perform(WITHIN, &AtomicBool::new(false)).unwrap_err();
        assert_eq!(why, "`echo no such process; exit 7`: exit status: 7: no such process");
    }

    #[test]
    fn a_supervisord_that_is_not_there_is_named() {
        let supervisord: ServerUrl = "unix:///no/such.sock".parse().unwrap();
        let name = ProcessName { group: "haproxy".into(), process: "haproxy".into() };
        let why = Action::Program { supervisord, name }.perform(WITHIN, &AtomicBool::new(false)).unwrap_err();
        let expected =
            "supervisord's program `haproxy`: supervisord unix:///no/such.sock: cannot connect: No such";
        assert!(why.starts_with(expected), "{why}");
    }
}
