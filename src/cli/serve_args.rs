//! What may be typed behind `serve`.

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueHint;

use super::args::{LogFormat, duration, switch};
use super::commands::at_least_two;

pub(super) const SERVE: &str = "\
Paths: / (the dashboard), /api/health/system, /api/health/haproxy, /api/health/haproxy/stats (token), \
/api/health/haproxy/validate (token, --config), /api/health/haproxy/recover (POST; token and admin key), /api/routes (--routes; token, to change them the \
admin key, too), /api/overview, /api/overview/sessions, /api/events, /api/servers/BACKEND/SERVER/ready, drain and \
maint, /api/programs/PROGRAM/restart (POST; token), /api/jobs/ID, /api/history, /metrics, /healthz, /readyz, \
/integration.json and /tick (--telex), /openapi.json.
The token is in --token-file or in the variable SUPERVISOR_HAPROXY_SERVE_TOKEN, the admin key in --admin-key-file or in \
SUPERVISOR_HAPROXY_SERVE_ADMIN_KEY, the key for signatures in --webhook-secret-file or in \
SUPERVISOR_HAPROXY_SERVE_WEBHOOK_SECRET; never on the command line, which all users of the machine can read.
Signals: SIGTERM, SIGINT and SIGHUP end it, after the answers under way.
Exit codes: 0 ended by a signal, 1 failure, 2 wrong arguments.";

#[derive(Clone, Debug, clap::Args)]
// Its doc comments are help texts.
#[allow(clippy::doc_markdown, rustdoc::broken_intra_doc_links)]
pub(super) struct ServeArgs {
    /// Where clients connect: IP:PORT, [IPV6]:PORT, localhost:PORT, or the path of a unix socket. Others than loopback
    /// need a token
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "127.0.0.1:8000",
        env = "SUPERVISOR_HAPROXY_SERVE_LISTEN"
    )]
    pub(super) listen: String,

    /// Who may write to a unix socket, as for chmod
    #[arg(long, value_name = "MODE", default_value = "660", value_parser = mode,
          env = "SUPERVISOR_HAPROXY_SERVE_SOCKET_MODE")]
    pub(super) socket_mode: u32,

    /// HAProxy's admin socket: tcp://HOST:PORT, unix:///PATH or /PATH
    #[arg(long, value_name = "SOCKET", env = "SUPERVISOR_HAPROXY_SERVE_SOCKET")]
    pub(super) socket: String,

    /// HAProxy's configuration, as it takes it with -f: a file or a directory; several in their order, or separated by
    /// commas
    #[arg(long, value_name = "FILE", value_hint = ValueHint::AnyPath, value_delimiter = ',',
          env = "SUPERVISOR_HAPROXY_SERVE_CONFIG")]
    pub(super) config: Vec<PathBuf>,

    /// The program that is asked whether the configuration is valid, with -c
    #[arg(long, value_name = "PROGRAM", default_value = "haproxy", value_hint = ValueHint::CommandName,
          env = "SUPERVISOR_HAPROXY_SERVE_HAPROXY")]
    pub(super) haproxy: PathBuf,

    /// A file whose first line is the token that clients send as `Authorization: Bearer TOKEN`
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath,
          env = "SUPERVISOR_HAPROXY_SERVE_TOKEN_FILE")]
    pub(super) token_file: Option<PathBuf>,

    /// A file whose first line is the key that clients send as `X-Admin-Key: KEY`, beside the token, to have HAProxy
    /// restarted or its routes changed
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath,
          env = "SUPERVISOR_HAPROXY_SERVE_ADMIN_KEY_FILE")]
    pub(super) admin_key_file: Option<PathBuf>,

    /// How often HAProxy is asked
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = some_time,
          env = "SUPERVISOR_HAPROXY_SERVE_CHECK_INTERVAL")]
    pub(super) check_interval: Duration,

    /// How long HAProxy may take to answer
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = some_time,
          env = "SUPERVISOR_HAPROXY_SERVE_TIMEOUT")]
    pub(super) timeout: Duration,

    /// After how many failures in a row HAProxy is left alone for a while (circuit breaker)
    #[arg(long, value_name = "COUNT", default_value = "3", value_parser = clap::value_parser!(u32).range(1..),
          env = "SUPERVISOR_HAPROXY_SERVE_BREAKER_THRESHOLD")]
    pub(super) breaker_threshold: u32,

    /// How long HAProxy is left alone before it is tried again
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = duration,
          env = "SUPERVISOR_HAPROXY_SERVE_BREAKER_RESET")]
    pub(super) breaker_reset: Duration,

    #[command(flatten)]
    pub(super) way: WayArgs,

    /// supervisord's server, for --recover-program and for the programs of --map: unix:///PATH or http://HOST:PORT;
    /// supervisord tells its own programs. User and password are in SUPERVISOR_USERNAME and SUPERVISOR_PASSWORD
    #[arg(long, value_name = "URL", env = "SUPERVISOR_HAPROXY_SERVE_SUPERVISOR_URL")]
    pub(super) supervisor_url: Option<String>,

    /// Restart HAProxy although nobody knows whether its configuration is valid: without --config
    #[arg(long, value_parser = switch, env = "SUPERVISOR_HAPROXY_SERVE_RECOVER_UNVALIDATED")]
    pub(super) recover_unvalidated: bool,

    /// After how many checks in a row that found HAProxy unhealthy it is restarted
    #[arg(long, value_name = "COUNT", default_value = "3", value_parser = clap::value_parser!(u32).range(1..),
          env = "SUPERVISOR_HAPROXY_SERVE_RECOVER_AFTER")]
    pub(super) recover_after: u32,

    /// From an attempt that did not help to the next; doubled with each further one, up to a quarter of an hour
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = some_time,
          env = "SUPERVISOR_HAPROXY_SERVE_RECOVER_BACKOFF")]
    pub(super) recover_backoff: Duration,

    /// Restarts within an hour, whoever asks for them
    #[arg(long, value_name = "COUNT", default_value = "5", value_parser = clap::value_parser!(u16).range(1..=1000),
          env = "SUPERVISOR_HAPROXY_SERVE_RECOVER_LIMIT")]
    pub(super) recover_limit: u16,

    /// How long a restart may take, and then HAProxy to answer; what takes longer is killed
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = some_time,
          env = "SUPERVISOR_HAPROXY_SERVE_RECOVER_TIMEOUT")]
    pub(super) recover_timeout: Duration,

    /// Clients at the same time; others are sent away with 503
    #[arg(long, value_name = "COUNT", default_value = "1024", value_parser = clap::value_parser!(u32).range(1..=100_000),
          env = "SUPERVISOR_HAPROXY_SERVE_MAX_CONNECTIONS")]
    pub(super) max_connections: u32,

    /// How long a client may take to send the head of a request, be silent between two, and take nothing of an answer
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = some_time,
          env = "SUPERVISOR_HAPROXY_SERVE_CLIENT_TIMEOUT")]
    pub(super) client_timeout: Duration,

    /// Where to keep what changes, an SQLite file; `off` keeps it in memory only. By default history.sqlite in
    /// $STATE_DIRECTORY, else in /var/lib/supervisor-haproxy for root, else in the directory supervisor-haproxy of
    /// $XDG_STATE_HOME or ~/.local/state
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, env = "SUPERVISOR_HAPROXY_SERVE_HISTORY")]
    pub(super) history: Option<PathBuf>,

    /// How many entries the history keeps; the oldest go
    #[arg(long, value_name = "COUNT", default_value = "100000", value_parser = clap::value_parser!(u32).range(1..=1_000_000),
          env = "SUPERVISOR_HAPROXY_SERVE_HISTORY_LIMIT")]
    pub(super) history_limit: u32,

    /// Form of the log on stderr
    #[arg(
        long,
        value_enum,
        value_name = "FORMAT",
        default_value = "text",
        env = "SUPERVISOR_HAPROXY_SERVE_LOG_FORMAT"
    )]
    pub(super) log_format: LogFormat,

    /// Log servers that change, too
    #[arg(short, long, value_parser = switch, env = "SUPERVISOR_HAPROXY_SERVE_VERBOSE")]
    pub(super) verbose: bool,

    #[command(flatten)]
    pub(super) programs: ProgramsArgs,

    #[command(flatten)]
    pub(super) routes: RouteArgs,

    #[command(flatten)]
    pub(super) messages: MessageArgs,
}

/// Which programs stand for HAProxy's servers; without any of them, only HAProxy is known.
#[derive(Clone, Debug, Default, clap::Args)]
// Its doc comments are help texts.
#[allow(clippy::doc_markdown, rustdoc::broken_intra_doc_links)]
#[command(next_help_heading = "Programs behind the servers")]
pub(super) struct ProgramsArgs {
    /// supervisord's configuration, which names supervisord's server and, in the listener's section, the programs
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath,
          env = "SUPERVISOR_HAPROXY_SERVE_SUPERVISOR_CONF")]
    pub(super) supervisor_conf: Option<PathBuf>,

    /// Which [eventlistener:NAME] is meant, where several run this program
    #[arg(long, value_name = "NAME", env = "SUPERVISOR_HAPROXY_SERVE_LISTENER")]
    pub(super) listener: Option<String>,

    /// Which program stands for which server, as the listener's PROGRAM; several, or separated by commas
    #[arg(long, value_name = "PROGRAM", value_delimiter = ',', env = "SUPERVISOR_HAPROXY_SERVE_MAP")]
    pub(super) map: Vec<String>,

    /// The listener's --metrics-file, which becomes part of /metrics; with --supervisor-conf, the listener's section
    /// tells
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath,
          env = "SUPERVISOR_HAPROXY_SERVE_LISTENER_METRICS")]
    pub(super) listener_metrics: Option<PathBuf>,
}

/// Routes that clients may read and, with the admin key, change: as the command `routes` does, with the same files.
#[derive(Clone, Debug, clap::Args)]
// Its doc comments are help texts.
#[allow(clippy::doc_markdown)]
#[command(next_help_heading = "Routes")]
pub(super) struct RouteArgs {
    /// Where the files of the routes are, `backends.cfg` and `hosts.map`: /api/routes reads and changes them. HAProxy's
    /// --socket needs level admin for that, and --config all of its files
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, env = "SUPERVISOR_HAPROXY_SERVE_ROUTES")]
    pub(super) routes: Option<PathBuf>,

    /// Where versions of the configuration are kept, as --history of `config`; by default beside the first --config, with
    /// `.history` at the end
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath,
          env = "SUPERVISOR_HAPROXY_SERVE_CONFIG_HISTORY")]
    pub(super) config_history: Option<PathBuf>,

    /// Reload over the master's socket (`haproxy -S`); without this and the next two, it is /run/haproxy-master.sock,
    /// then the pid in /run/haproxy.pid
    #[arg(long, value_name = "SOCKET", env = "SUPERVISOR_HAPROXY_SERVE_MASTER_SOCKET")]
    pub(super) master_socket: Option<String>,

    /// Otherwise with SIGUSR2 to the master, whose pid is in this file (`haproxy -p`)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath,
          env = "SUPERVISOR_HAPROXY_SERVE_PID_FILE")]
    pub(super) pid_file: Option<PathBuf>,

    /// Otherwise with a command of the shell, as in 'systemctl reload haproxy'
    #[arg(long, value_name = "COMMAND", env = "SUPERVISOR_HAPROXY_SERVE_RELOAD_COMMAND")]
    pub(super) reload_command: Option<String>,

    /// How long HAProxy may take to check its files, and from a reload until the new worker answers
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = some_time,
          env = "SUPERVISOR_HAPROXY_SERVE_CHANGE_TIMEOUT")]
    pub(super) change_timeout: Duration,

    /// How long other changes are waited for
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = duration,
          env = "SUPERVISOR_HAPROXY_SERVE_LOCK_TIMEOUT")]
    pub(super) lock_timeout: Duration,

    /// How many versions are kept, of routes and of the rest
    #[arg(long, value_name = "N", default_value = "20", value_parser = at_least_two,
          env = "SUPERVISOR_HAPROXY_SERVE_KEEP")]
    pub(super) keep: usize,
}

/// Reports and alerts: what is sent without being asked, and what Telex may ask for.
#[derive(Clone, Debug, clap::Args)]
// Its doc comments are help texts.
#[allow(clippy::doc_markdown)]
#[command(next_help_heading = "Reports and alerts")]
pub(super) struct MessageArgs {
    /// Answer Telex: /integration.json and /tick. Ticks need no token, so --allow-host has to name who gets the reports
    #[arg(long, value_parser = switch, env = "SUPERVISOR_HAPROXY_SERVE_TELEX")]
    pub(super) telex: bool,

    /// Who may get the reports that ticks ask for: HOST, *.DOMAIN, ADDRESS or ADDRESS/BITS, with :PORT or :* where it is
    /// not 80 or 443; several separated by commas. A host with an address that is not on the internet needs that
    /// address beside its name
    #[arg(long, value_name = "HOST", value_delimiter = ',', env = "SUPERVISOR_HAPROXY_SERVE_ALLOW_HOST")]
    pub(super) allow_host: Vec<String>,

    /// Whose statistics page ticks may name, in the same form; without any, only `socket`: the HAProxy of --socket
    #[arg(
        long,
        value_name = "HOST",
        value_delimiter = ',',
        env = "SUPERVISOR_HAPROXY_SERVE_TELEX_STATS_ALLOW"
    )]
    pub(super) telex_stats_allow: Vec<String>,

    /// Send a report there when it is due: a URL behind telex+, slack+, discord+, text+ or json+; without any, json+.
    /// Several separated by commas. The URL of a webhook is a secret: set it with the variable
    #[arg(
        long,
        value_name = "[FORMAT+]URL",
        value_delimiter = ',',
        hide_env_values = true,
        env = "SUPERVISOR_HAPROXY_SERVE_REPORT_TO"
    )]
    pub(super) report_to: Vec<String>,

    /// When reports are due: a cron expression, in UTC
    #[arg(long, value_name = "CRON", default_value = "*/30 * * * *", env = "SUPERVISOR_HAPROXY_SERVE_EVERY")]
    pub(super) every: String,

    /// Tell there what changes: servers that go up or down, HAProxy that does not answer; as for --report-to
    #[arg(
        long,
        value_name = "[FORMAT+]URL",
        value_delimiter = ',',
        hide_env_values = true,
        env = "SUPERVISOR_HAPROXY_SERVE_ALERT_TO"
    )]
    pub(super) alert_to: Vec<String>,

    /// What changes within this time is one message
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = some_time,
          env = "SUPERVISOR_HAPROXY_SERVE_DIGEST")]
    pub(super) digest: Duration,

    /// A file whose first line is the key that messages in the form json are signed with
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath,
          env = "SUPERVISOR_HAPROXY_SERVE_WEBHOOK_SECRET_FILE")]
    pub(super) webhook_secret_file: Option<PathBuf>,
}

/// How HAProxy is restarted when it does not answer; without any of them, it is not.
#[derive(Clone, Debug, Default, clap::Args)]
#[group(multiple = false)]
pub(super) struct WayArgs {
    /// Restart HAProxy with this line for /bin/sh when it does not answer
    #[arg(long, value_name = "COMMAND", env = "SUPERVISOR_HAPROXY_SERVE_RECOVER")]
    pub(super) recover: Option<String>,

    /// Restart HAProxy as this program of supervisord: NAME or GROUP:NAME
    #[arg(long, value_name = "PROGRAM", env = "SUPERVISOR_HAPROXY_SERVE_RECOVER_PROGRAM")]
    pub(super) recover_program: Option<String>,

    /// Restart HAProxy as this unit of systemd
    #[arg(long, value_name = "UNIT", env = "SUPERVISOR_HAPROXY_SERVE_RECOVER_UNIT")]
    pub(super) recover_unit: Option<String>,

    /// Restart HAProxy as this container of Docker
    #[arg(long, value_name = "CONTAINER", env = "SUPERVISOR_HAPROXY_SERVE_RECOVER_CONTAINER")]
    pub(super) recover_container: Option<String>,
}

fn some_time(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("expected more than 0".into()),
        time => Ok(time),
    }
}

fn mode(text: &str) -> Result<u32, &'static str> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777);
    mode.ok_or("expected a mode from `000` to `777`")
}

#[cfg(test)]
mod tests {
    use clap::Args;

    use super::*;

    #[test]
    fn every_option_is_an_environment_variable_too() {
        let command = ServeArgs::augment_args(clap::Command::new("serve"));
        for argument in command.get_arguments() {
            let long = argument.get_long().unwrap().to_ascii_uppercase().replace('-', "_");
            let expected = format!("SUPERVISOR_HAPROXY_SERVE_{long}");
            assert_eq!(argument.get_env().and_then(|name| name.to_str()), Some(expected.as_str()));
        }
    }

    #[test]
    fn no_time_and_no_mode_are_refused() {
        assert_eq!(some_time("1"), Ok(Duration::from_secs(1)));
        assert!(some_time("0").is_err() && some_time("x").is_err());
        assert_eq!((mode("660"), mode("0600")), (Ok(0o660), Ok(0o600)));
        assert!(mode("1000").is_err() && mode("8").is_err() && mode("").is_err());
    }
}
