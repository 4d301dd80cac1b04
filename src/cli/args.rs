//! What may be typed. Checking beyond the form of single words is done by the command itself, so that all
//! problems are told at once.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Parser, ValueEnum, ValueHint};

use super::commands::Command;

const SUMMARY: &str = "Keeps HAProxy's servers in step with the programs that supervisord runs";

const ABOUT: &str = "Keeps HAProxy's servers in step with the programs that supervisord runs.

supervisord starts this program as an event listener (an [eventlistener:NAME] section). Whenever a program starts, \
stops or dies, its server in HAProxy is set to ready, drain or maint, over HAProxy's admin socket. The commands are for operators: they show what both sides have, and take \
programs out and bring them back without losing a request.";

const AFTER: &str = "\
Example, in supervisord's configuration:
  [eventlistener:haproxy]
  command = supervisor-haproxy /run/haproxy/admin.sock web1:app/web1 web2:app/web2
  events = PROCESS_STATE,PROCESS_GROUP,SUPERVISOR_STATE_CHANGE,REMOTE_COMMUNICATION
  buffer_size = 256
  stdout_logfile = NONE

HAProxy needs `stats socket /run/haproxy/admin.sock level admin` in its `global` section.

States: RUNNING sets ready, STOPPING drain, all others (STARTING, BACKOFF, EXITED, STOPPED, FATAL, UNKNOWN) maint.
Signals: SIGHUP sets all states again; SIGTERM and SIGINT end the listener.
Exit codes: 0 ended by supervisord or a signal, 1 failure, 2 wrong arguments.";

/// The whole command line.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "supervisor-haproxy",
    version,
    about = SUMMARY,
    long_about = ABOUT,
    after_help = AFTER,
    max_term_width = 110,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    disable_help_subcommand = true
)]
pub struct Args {
    #[command(subcommand)]
    pub(super) command: Option<Command>,
    #[command(flatten)]
    pub(super) listen: Option<ListenArgs>,
    #[command(flatten)]
    pub(super) logging: LoggingArgs,
}

/// The listener's own arguments, as typed.
#[derive(Clone, Debug, clap::Args)]
// What is typed is on or off, and its doc comments are help texts.
#[allow(clippy::struct_excessive_bools, clippy::doc_markdown, rustdoc::broken_intra_doc_links)]
pub(super) struct ListenArgs {
    /// HAProxy's admin socket: tcp://HOST:PORT, tcp://[IPV6]:PORT, unix:///PATH or /PATH; several, separated
    /// by commas, are independent HAProxies that are all told the same
    #[arg(value_name = "SOCKET")]
    pub(super) socket: String,

    /// Which program stands for which server: program:backend/server, or [group:]program=backend/server,
    /// where a * in the program matches any text and each * on the right repeats it (web_*=app/web*)
    #[arg(value_name = "PROGRAM", required = true)]
    pub(super) programs: Vec<String>,

    /// How often HAProxy is looked at, to report servers that go up or down and to notice its restart (0: never)
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = duration,
          env = "SUPERVISOR_HAPROXY_POLL_INTERVAL")]
    pub(super) poll_interval: Duration,

    /// How long one command of HAProxy may take
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = duration,
          env = "SUPERVISOR_HAPROXY_TIMEOUT")]
    pub(super) timeout: Duration,

    /// Another server state for a program state, as in STOPPING=maint; may be repeated or separated by commas
    #[arg(
        long = "action",
        value_name = "STATE=ACTION",
        value_delimiter = ',',
        env = "SUPERVISOR_HAPROXY_ACTION"
    )]
    pub(super) actions: Vec<String>,

    /// Set back what somebody else has set in HAProxy, instead of only reporting it
    #[arg(long, value_parser = switch, env = "SUPERVISOR_HAPROXY_ENFORCE")]
    pub(super) enforce: bool,

    /// Let HAProxy send requests to a started program at once, without waiting for its health checks to pass
    #[arg(long, value_parser = switch, env = "SUPERVISOR_HAPROXY_NO_GATE")]
    pub(super) no_gate: bool,

    /// Do not use supervisord's XML-RPC: work from events alone
    #[arg(long, value_parser = switch, env = "SUPERVISOR_HAPROXY_NO_SYNC")]
    pub(super) no_sync: bool,

    /// How often supervisord is asked for all states, in case events were lost unnoticed (0: only when needed)
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = duration,
          env = "SUPERVISOR_HAPROXY_SYNC_INTERVAL")]
    pub(super) sync_interval: Duration,

    /// Report HAProxy's other servers, too, which stand for no program
    #[arg(long, value_parser = switch, env = "SUPERVISOR_HAPROXY_REPORT_ALL")]
    pub(super) report_all: bool,

    /// Send nothing that changes HAProxy; log what would be sent
    #[arg(long, value_parser = switch, env = "SUPERVISOR_HAPROXY_DRY_RUN")]
    pub(super) dry_run: bool,

    /// Where holds are kept across restarts; by default beside supervisord's unix socket, with `.holds` at the end
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath, env = "SUPERVISOR_HAPROXY_HOLDS_FILE")]
    pub(super) holds_file: Option<String>,

    /// Tell there what was done, for Prometheus: for node exporter's textfile collector, where it ends in `.prom`, or
    /// for `serve`
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, env = "SUPERVISOR_HAPROXY_METRICS_FILE")]
    pub(super) metrics_file: Option<PathBuf>,

    /// After how many failures in a row HAProxy is left alone for a while (circuit breaker)
    #[arg(long, value_name = "COUNT", default_value = "3", value_parser = clap::value_parser!(u32).range(1..),
          env = "SUPERVISOR_HAPROXY_BREAKER_THRESHOLD")]
    pub(super) breaker_threshold: u32,

    /// How long HAProxy is left alone before it is tried again
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = duration,
          env = "SUPERVISOR_HAPROXY_BREAKER_RESET")]
    pub(super) breaker_reset: Duration,
}

/// How much is logged, and in which form.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct LoggingArgs {
    /// Form of the log on stderr
    #[arg(
        long,
        value_enum,
        value_name = "FORMAT",
        default_value = "text",
        env = "SUPERVISOR_HAPROXY_LOG_FORMAT"
    )]
    pub(super) log_format: LogFormat,

    /// Log more; twice for all there is
    #[arg(short, long, action = ArgAction::Count, value_parser = count, env = "SUPERVISOR_HAPROXY_VERBOSE")]
    pub(super) verbose: u8,

    /// Log warnings and errors only; twice for errors only
    #[arg(short, long, action = ArgAction::Count, value_parser = count, env = "SUPERVISOR_HAPROXY_QUIET")]
    pub(super) quiet: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    /// Lines for people
    Text,
    /// One JSON object a line
    Json,
}

/// The longest time that an option takes; beyond it, a number was meant for something else.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Reads seconds, as in `5` or `0.5`, or with a unit: `500ms`, `5s`, `2m`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let unit = |suffix: &str, seconds: f64| Some((text.strip_suffix(suffix)?, seconds));
    let (number, seconds) =
        unit("ms", 0.001).or_else(|| unit("s", 1.0)).or_else(|| unit("m", 60.0)).unwrap_or((text, 1.0));
    let value: f64 =
        number.parse().map_err(|_| "expected seconds, as in `5` or `0.5`, or `500ms`, `2m`".to_owned())?;
    match Duration::try_from_secs_f64(value * seconds) {
        Ok(duration) if duration <= LONGEST => Ok(duration),
        _ => Err("expected a time from 0 to 24 hours".into()),
    }
}

/// Reads the value of a switch's environment variable; an empty one is as good as none.
pub(super) fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "0" | "false" | "no" | "off" | "" => Ok(false),
        _ => Err("expected `1`, `true`, `yes` or `on`, or `0`, `false`, `no` or `off`".into()),
    }
}

/// Reads the value of a counter's environment variable; an empty one is as good as none.
fn count(text: &str) -> Result<u8, String> {
    if text.is_empty() {
        Ok(0)
    } else {
        text.parse().map_err(|_| "expected a count, as in `1` or `2`".into())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_declarations_are_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn every_option_is_an_environment_variable_too() {
        for argument in Args::command().get_arguments().filter(|argument| !argument.is_positional()) {
            let Some(long) = argument.get_long().filter(|long| !["help", "version"].contains(long)) else {
                continue;
            };
            let expected = format!("SUPERVISOR_HAPROXY_{}", long.to_ascii_uppercase().replace('-', "_"));
            assert_eq!(argument.get_env().and_then(|name| name.to_str()), Some(expected.as_str()));
        }
    }

    #[test]
    fn switches_and_counters_take_what_people_write() {
        for (text, value) in
            [("1", true), ("TRUE", true), ("on", true), ("0", false), ("no", false), ("", false)]
        {
            assert_eq!(switch(text), Ok(value), "{text}");
        }
        assert!(switch("maybe").is_err());
        assert_eq!((count(""), count("2")), (Ok(0), Ok(2)));
        assert!(count("-1").is_err());
    }

    #[test]
    fn durations_are_seconds_or_have_a_unit() {
        assert_eq!(duration("5"), Ok(Duration::from_secs(5)));
        assert_eq!(duration("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        for text in ["", "x", "-1", "inf", "nan", "1e300", "25h", "90000"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
