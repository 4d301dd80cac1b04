//! `config` and `routes`, as typed.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Subcommand, ValueHint};

use super::duration;

/// What is to be done with HAProxy's configuration.
#[derive(Clone, Debug, Subcommand)]
pub(in crate::cli) enum ConfigCommand {
    /// Put files into HAProxy's configuration: checked, reloaded and seen to work, or not at all
    #[command(after_help = CHANGE)]
    Apply(ApplyArgs),
    /// Have HAProxy check its configuration, or a file that is to go into it
    #[command(after_help = VALIDATE)]
    Validate(ValidateArgs),
    /// Show the versions of the configuration
    #[command(after_help = LOOK)]
    History(HistoryArgs),
    /// Put the whole configuration back as it was in a version
    #[command(after_help = CHANGE)]
    Rollback(RollbackArgs),
    /// Finish or undo a change that was cut off, and do nothing else
    #[command(after_help = RECOVER)]
    Recover(RecoverArgs),
}

/// What is to be done with routes.
#[derive(Clone, Debug, Subcommand)]
pub(in crate::cli) enum RoutesCommand {
    /// Make the files of the routes, so that HAProxy can be started with them
    #[command(after_help = LOOK)]
    Init(InitArgs),
    /// Route the requests for a host to a server
    #[command(after_help = CHANGE)]
    Add(AddArgs),
    /// Take the route of a host away
    #[command(after_help = CHANGE)]
    Remove(RemoveArgs),
    /// Show all routes
    #[command(after_help = LOOK)]
    List(ListArgs),
}

const CHANGE: &str = "\
Exit codes: 0 in force, 1 failed and the configuration of before is in force, 2 wrong arguments, 4 refused or invalid \
and nothing touched, 5 failed and HAProxy did not take the configuration of before either, 75 another change did not \
end in time.";

const RECOVER: &str = "\
Exit codes: 0 nothing is under way any more, 1 failed, 2 wrong arguments, 5 HAProxy does not take the configuration, \
75 another change did not end in time.";

const VALIDATE: &str = "Exit codes: 0 valid, 1 invalid, 2 wrong arguments.";

const LOOK: &str = "Exit codes: 0 done, 1 failed, 2 wrong arguments, 4 refused.";

/// Which files are HAProxy's.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "HAProxy's configuration")]
pub(in crate::cli) struct FilesArgs {
    /// What HAProxy is started with, as its own -f: a file, or a directory of *.cfg; repeated, in the same order
    #[arg(short, long = "file", value_name = "FILE", value_hint = ValueHint::AnyPath,
          default_value = "/etc/haproxy/haproxy.cfg",
          env = "SUPERVISOR_HAPROXY_FILES", value_delimiter = ',')]
    pub(in crate::cli) files: Vec<PathBuf>,

    /// Where the files of the routes are, `backends.cfg` and `hosts.map`
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, default_value = "/etc/haproxy/routes",
          env = "SUPERVISOR_HAPROXY_ROUTES")]
    pub(in crate::cli) routes: PathBuf,

    /// Where versions are kept; by default beside the first FILE, with `.history` at the end
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, env = "SUPERVISOR_HAPROXY_HISTORY")]
    pub(in crate::cli) history: Option<PathBuf>,
}

/// How HAProxy is checked.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "HAProxy's process")]
pub(in crate::cli) struct ProgramArgs {
    /// The program, for `-c`
    #[arg(long, value_name = "PROGRAM", value_hint = ValueHint::ExecutablePath, default_value = "haproxy",
          env = "SUPERVISOR_HAPROXY_PROGRAM")]
    pub(in crate::cli) haproxy: PathBuf,

    /// How long HAProxy may take to check its files, and from a reload until the new worker answers
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = duration)]
    pub(in crate::cli) timeout: Duration,
}

/// The process that runs, and how it is reloaded.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "HAProxy's process")]
pub(in crate::cli) struct ReachArgs {
    /// The admin socket of HAProxy: where a new worker has to answer, and where maps are changed
    #[arg(
        long,
        value_name = "SOCKET",
        default_value = "/run/haproxy/admin.sock",
        env = "SUPERVISOR_HAPROXY_SOCKET"
    )]
    pub(in crate::cli) socket: String,

    /// Reload over the master's socket (`haproxy -S`); without this and the next three, it is
    /// /run/haproxy-master.sock, then the pid in /run/haproxy.pid
    #[arg(long, value_name = "SOCKET", env = "SUPERVISOR_HAPROXY_MASTER_SOCKET")]
    pub(in crate::cli) master_socket: Option<String>,

    /// Otherwise with SIGUSR2 to the master, whose pid is in this file (`haproxy -p`)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, env = "SUPERVISOR_HAPROXY_PID_FILE")]
    pub(in crate::cli) pid_file: Option<PathBuf>,

    /// Otherwise with SIGUSR2 to this process
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(i32).range(2..))]
    pub(in crate::cli) master_pid: Option<i32>,

    /// Otherwise with a command of the shell, as in 'systemctl reload haproxy'
    #[arg(long, value_name = "COMMAND", env = "SUPERVISOR_HAPROXY_RELOAD_COMMAND")]
    pub(in crate::cli) reload_command: Option<String>,

    /// How long another change is waited for
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = duration)]
    pub(in crate::cli) lock_timeout: Duration,

    /// How many versions are kept, of routes and of the rest
    #[arg(long, value_name = "N", default_value = "20", value_parser = at_least_two)]
    pub(in crate::cli) keep: usize,
}

/// All that a change needs.
#[derive(Clone, Debug, clap::Args)]
pub(in crate::cli) struct ChangeArgs {
    #[command(flatten)]
    pub(in crate::cli) files: FilesArgs,
    #[command(flatten)]
    pub(in crate::cli) program: ProgramArgs,
    #[command(flatten)]
    pub(in crate::cli) process: ReachArgs,
}

#[derive(Clone, Debug, clap::Args)]
pub(in crate::cli) struct ApplyArgs {
    /// The new content; - for stdin. Several files are one change, with as many --to
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath, required = true)]
    pub(in crate::cli) sources: Vec<PathBuf>,

    /// Which of HAProxy's files it replaces, where there are several; for several FILE one for each, in their order
    #[arg(long, value_name = "TARGET", value_hint = ValueHint::FilePath)]
    pub(in crate::cli) to: Vec<PathBuf>,

    #[command(flatten)]
    pub(in crate::cli) change: ChangeArgs,
}

#[derive(Clone, Debug, clap::Args)]
pub(in crate::cli) struct ValidateArgs {
    /// A file as it would be put in the place of TARGET
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(in crate::cli) source: Option<PathBuf>,

    /// Which of HAProxy's files it replaces, where there are several
    #[arg(long, value_name = "TARGET", value_hint = ValueHint::FilePath, requires = "source")]
    pub(in crate::cli) to: Option<PathBuf>,

    #[command(flatten)]
    pub(in crate::cli) files: FilesArgs,
    #[command(flatten)]
    pub(in crate::cli) program: ProgramArgs,
}

#[derive(Clone, Debug, clap::Args)]
pub(in crate::cli) struct HistoryArgs {
    /// Print JSON
    #[arg(long)]
    pub(in crate::cli) json: bool,

    #[command(flatten)]
    pub(in crate::cli) files: FilesArgs,
}

#[derive(Clone, Debug, clap::Args)]
pub(in crate::cli) struct RollbackArgs {
    /// The version; by default the one before what is there now
    #[arg(value_name = "N")]
    pub(in crate::cli) number: Option<u64>,

    #[command(flatten)]
    pub(in crate::cli) change: ChangeArgs,
}

#[derive(Clone, Debug, clap::Args)]
pub(in crate::cli) struct RecoverArgs {
    /// Put the files right and leave HAProxy alone, as before its start
    #[arg(long)]
    pub(in crate::cli) files_only: bool,

    #[command(flatten)]
    pub(in crate::cli) change: ChangeArgs,
}

#[derive(Clone, Debug, clap::Args)]
pub(in crate::cli) struct InitArgs {
    #[command(flatten)]
    pub(in crate::cli) files: FilesArgs,
}

#[derive(Clone, Debug, clap::Args)]
pub(in crate::cli) struct AddArgs {
    /// The name as requests have it, without a port
    #[arg(value_name = "HOST")]
    pub(in crate::cli) host: String,

    /// The server: http://HOST:PORT
    #[arg(value_name = "URL")]
    pub(in crate::cli) url: String,

    /// A page that HAProxy asks the server for; without it, the server is taken to be up
    #[arg(long, value_name = "PATH")]
    pub(in crate::cli) check: Option<String>,

    /// Also where the host is routed elsewhere
    #[arg(long)]
    pub(in crate::cli) replace: bool,

    /// Only if the table of routes has this version, as `routes list --json` tells it
    #[arg(long, value_name = "VERSION")]
    pub(in crate::cli) if_match: Option<String>,

    #[command(flatten)]
    pub(in crate::cli) change: ChangeArgs,
}

#[derive(Clone, Debug, clap::Args)]
pub(in crate::cli) struct RemoveArgs {
    /// The name as requests have it, without a port
    #[arg(value_name = "HOST")]
    pub(in crate::cli) host: String,

    /// Only if the table of routes has this version, as `routes list --json` tells it
    #[arg(long, value_name = "VERSION")]
    pub(in crate::cli) if_match: Option<String>,

    #[command(flatten)]
    pub(in crate::cli) change: ChangeArgs,
}

#[derive(Clone, Debug, clap::Args)]
pub(in crate::cli) struct ListArgs {
    /// Print JSON
    #[arg(long)]
    pub(in crate::cli) json: bool,

    #[command(flatten)]
    pub(in crate::cli) files: FilesArgs,

    /// The admin socket of HAProxy, whose running map is compared with the file
    #[arg(
        long,
        value_name = "SOCKET",
        default_value = "/run/haproxy/admin.sock",
        env = "SUPERVISOR_HAPROXY_SOCKET"
    )]
    pub(in crate::cli) socket: String,
}

/// The present one, and the one to go back to.
pub(in crate::cli) fn at_least_two(text: &str) -> Result<usize, &'static str> {
    text.parse().ok().filter(|count| *count >= 2).ok_or("expected a number from 2 on")
}
