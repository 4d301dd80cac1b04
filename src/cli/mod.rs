//! The command line: declarations, one file per command, and the only place that prints errors and picks exit
//! codes.

mod args;
mod check;
mod check_serve;
mod check_spool;
mod commands;
mod config;
mod delivering;
#[cfg_attr(not(feature = "web"), path = "no_history.rs")]
mod history;
#[cfg(feature = "web")]
mod history_file;
mod hold;
#[cfg_attr(not(feature = "kafka"), path = "no_kafka.rs")]
mod kafka;
mod listen;
mod logging;
mod pipeline;
mod process;
mod pull;
mod push;
mod report;
mod rollout;
mod routes;
mod screen;
#[cfg_attr(not(feature = "web"), path = "no_web.rs")]
mod serve;
mod serve_args;
#[cfg(feature = "web")]
mod serve_history;
#[cfg(feature = "web")]
mod serve_messages;
#[cfg(feature = "web")]
mod serve_programs;
#[cfg(feature = "web")]
mod serve_routes;
mod site;
mod state;
mod status;

use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};
use log::error;

pub use args::Args;
use commands::Command;

use crate::agent::NoSuchTarget;
use crate::agent::rollout::Verb;
use crate::agent::similar;
use crate::haproxy::AdminState;
use crate::stats::SpoolError;

/// Exit code for a failure.
const FAILED: u8 = 1;
/// Exit code for wrong arguments, as clap has it.
const USAGE: u8 = 2;
/// Exit code where some was done and some was not.
const PARTIAL: u8 = 3;
/// Exit code where nothing was touched, on purpose.
const REFUSED: u8 = 4;
/// Exit code where neither the new nor the old is known to be in force.
const BROKEN: u8 = 5;
/// Exit code where time ran out; `EX_TEMPFAIL` of sysexits.h.
const TIMEOUT: u8 = 75;
/// Exit code after Ctrl-C, as shells have it.
const INTERRUPTED: u8 = 130;

/// Why a command did nothing, or not all.
#[derive(Debug)]
enum Failure {
    /// What was typed, or is in a configuration, is wrong; a line for each problem.
    Usage(Vec<String>),
    /// Nothing was touched.
    Refused(Vec<String>),
    /// It was tried.
    Failed(Vec<String>),
    /// It was tried, and somebody has to look at it.
    Broken(Vec<String>),
    /// Others did not make room in time.
    Late(Vec<String>),
}

impl Failure {
    fn parts(&self) -> (u8, &[String]) {
        match self {
            Self::Usage(problems) => (USAGE, problems),
            Self::Refused(problems) => (REFUSED, problems),
            Self::Failed(problems) => (FAILED, problems),
            Self::Broken(problems) => (BROKEN, problems),
            Self::Late(problems) => (TIMEOUT, problems),
        }
    }
}

impl From<Vec<NoSuchTarget>> for Failure {
    fn from(errors: Vec<NoSuchTarget>) -> Self {
        Self::Usage(errors.iter().map(ToString::to_string).collect())
    }
}

impl From<SpoolError> for Failure {
    fn from(error: SpoolError) -> Self {
        Self::Failed(vec![error.to_string()])
    }
}

impl From<std::io::Error> for Failure {
    /// The kernel refuses something that every command is made of.
    fn from(error: std::io::Error) -> Self {
        Self::Failed(vec![error.to_string()])
    }
}

/// Runs the program: 0 when all went well; `--help` of each command tells the others.
#[must_use]
pub fn main() -> ExitCode {
    let Some(Args { command, listen, logging }) = parse() else { return ExitCode::from(USAGE) };
    match (command, listen) {
        (Some(command), _) => ExitCode::from(operate(command)),
        (None, Some(args)) => {
            logging::start(&logging);
            let code = self::listen(&args);
            log::logger().flush();
            code
        }
        (None, None) => {
            complain(["what is to be done? See `supervisor-haproxy --help`"]);
            ExitCode::from(USAGE)
        }
    }
}

/// What was typed; `None` where that has been complained of.
fn parse() -> Option<Args> {
    let words: Vec<OsString> = std::env::args_os().collect();
    let program = words.first().map(PathBuf::from).unwrap_or_default();
    let script = push::Script::of(&program);
    let words = if script.is_some() { push::as_command(words) } else { words };
    let words = pipeline::as_command(&program, &words).unwrap_or(words);
    let mut declared = Args::command();
    if let Some(first) = words.get(1) {
        if declared.find_subcommand(first).is_some() {
            // The variables are the listener's; a command must not stumble over those of its caller.
            declared = declared.mut_args(|arg| arg.env(None::<&'static str>));
        } else if let Some(problem) = no_command(&declared, first) {
            complain([problem]);
            return None;
        }
    }
    let matches = declared.get_matches_from(words);
    let mut args = Args::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    if let Some(Command::Push(args)) = &mut args.command {
        args.is_tcp_script = script == Some(push::Script::Tcp);
    }
    Some(args)
}

/// Why a word can be neither a command nor a SOCKET, which holds a colon or a slash.
fn no_command(declared: &clap::Command, word: &OsStr) -> Option<String> {
    let word = word.to_str().filter(|word| !word.starts_with('-') && !word.contains(['/', ':']))?;
    let names = similar(word, declared.get_subcommands().map(clap::Command::get_name));
    Some(format!(
        "`{}` is neither a command nor a SOCKET; there are {names}; see `supervisor-haproxy --help`",
        word.escape_debug()
    ))
}

fn listen(args: &args::ListenArgs) -> ExitCode {
    match listen::run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(listen::Error::Usage(problems)) => {
            for problem in problems {
                error!("{problem}");
            }
            error!("see `supervisor-haproxy --help`");
            ExitCode::from(USAGE)
        }
        Err(listen::Error::Run(failure)) => {
            error!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn operate(command: Command) -> u8 {
    let done = match command {
        Command::Status(args) => status::run(&args),
        Command::Ready(args) => state::run(AdminState::Ready, &args),
        Command::Drain(args) => state::run(AdminState::Drain, &args),
        Command::Maint(args) => state::run(AdminState::Maint, &args),
        Command::Restart(args) => {
            rollout::run(Verb::Restart, &args.rollout, Some(&args.out), Some(&args.back))
        }
        Command::Stop(args) => rollout::run(Verb::Stop, &args.rollout, Some(&args.out), None),
        Command::Start(args) => rollout::run(Verb::Start, &args.rollout, None, Some(&args.back)),
        Command::Hold(args) => hold::hold(&args),
        Command::Release(args) => hold::release(&args),
        Command::Check(args) => check::run(&args),
        Command::Pull(args) => pull::run(&args),
        Command::Process(args) => process::run(&args),
        Command::Push(args) => push::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Config(command) => config::run(&command),
        Command::Routes(command) => routes::run(&command),
        Command::Serve(args) => serve::run(&args),
        Command::History(args) => history::run(&args),
        Command::Completions { shell } => completions(shell),
    };
    done.unwrap_or_else(|failure| {
        let (code, problems) = failure.parts();
        complain(problems);
        code
    })
}

/// clap's own writing ends in a panic where nobody reads on.
fn completions(shell: clap_complete::Shell) -> Result<u8, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "supervisor-haproxy", &mut script);
    match stdout().write_all(&script).and_then(|()| stdout().flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::Failed(vec![format!("the completions cannot be written: {error}")]))
        }
        _ => Ok(0),
    }
}

/// stdout of a command; the listener's belongs to supervisord.
#[allow(clippy::disallowed_methods)]
fn stdout() -> std::io::Stdout {
    std::io::stdout()
}

/// Prints errors of a command.
fn complain(problems: impl IntoIterator<Item = impl Display>) {
    tell(screen::BAD, "error", problems);
}

/// Prints warnings of a command.
fn warn(remarks: impl IntoIterator<Item = impl Display>) {
    tell(screen::DOUBTFUL, "warn", remarks);
}

fn tell(style: anstyle::Style, level: &str, lines: impl IntoIterator<Item = impl Display>) {
    let mut stderr = anstream::stderr();
    for line in lines {
        // If nobody reads it, nobody misses it.
        let _ = writeln!(stderr, "{}: {line}", screen::paint(style, level));
    }
}
