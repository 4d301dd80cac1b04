//! The operator's commands, as typed. What a word means beyond its form is checked by the command itself.

mod config;
mod history;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Subcommand, ValueHint};
use clap_complete::Shell;

use super::args::{LogFormat, duration};
use super::serve_args::{self, ServeArgs};
use crate::agent::Target;
use crate::control::Probe;
pub(super) use config::{
    AddArgs, ApplyArgs, ChangeArgs, ConfigCommand, FilesArgs, HistoryArgs, InitArgs, ListArgs, ProgramArgs,
    ReachArgs, RecoverArgs, RemoveArgs, RollbackArgs, RoutesCommand, ValidateArgs, at_least_two,
};
#[cfg(all(test, feature = "web"))]
pub(super) use history::KINDS;
pub(super) use history::TimelineArgs;

/// What is to be done with programs and their servers.
#[derive(Clone, Debug, Subcommand)]
pub(super) enum Command {
    /// Show each program beside its servers, and where the two disagree
    #[command(after_help = STATUS)]
    Status(StatusArgs),
    /// Let servers take traffic
    #[command(after_help = STATE)]
    Ready(StateArgs),
    /// Let servers finish; of new requests, they get those of persistent sessions only
    #[command(after_help = STATE)]
    Drain(StateArgs),
    /// Take servers out of traffic
    #[command(after_help = STATE)]
    Maint(StateArgs),
    /// Restart programs one after the other without losing a request
    #[command(after_help = RESTART)]
    Restart(RestartArgs),
    /// Stop programs one after the other without losing a request
    #[command(after_help = STOP)]
    Stop(StopArgs),
    /// Start programs one after the other, each with traffic before the next
    #[command(after_help = START)]
    Start(StartArgs),
    /// Keep servers in maint, whatever their programs do, until they are released
    #[command(after_help = HOLD)]
    Hold(HoldArgs),
    /// Let held servers follow their programs again
    #[command(after_help = HOLD)]
    Release(ReleaseArgs),
    /// Look for what keeps HAProxy from following supervisord, and tell what to do
    #[command(after_help = CHECK)]
    Check(CheckArgs),
    /// Send HAProxy's statistics to Graphite or statsd once, as from cron
    #[command(after_help = PUSH, override_usage = PUSH_USAGE)]
    Push(PushArgs),
    /// Fetch HAProxy's statistics into a directory again and again, in the place of haproxystats-pull
    #[command(after_help = PULL)]
    Pull(PullArgs),
    /// Add up what pull has fetched and send it on, in the place of haproxystats-process
    #[command(after_help = PROCESS)]
    Process(ProcessArgs),
    /// Report on the health of HAProxy: servers, queues, response times, errors
    #[command(after_help = REPORT)]
    Report(ReportArgs),
    /// Change HAProxy's configuration: checked, reloaded and seen to work, or put back
    #[command(subcommand)]
    #[command(disable_help_subcommand = true)]
    Config(ConfigCommand),
    /// Route host names to servers, most of the time without a reload
    #[command(subcommand)]
    #[command(disable_help_subcommand = true)]
    Routes(RoutesCommand),
    /// Answer questions about HAProxy's health over HTTP, and restart it when it does not answer
    #[command(after_help = serve_args::SERVE)]
    Serve(Box<ServeArgs>),
    /// Show what `serve` has seen change: servers, HAProxy itself, attempts to bring it back
    #[command(after_help = TIMELINE)]
    History(TimelineArgs),
    /// Print the completions for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

const STATUS: &str = "\
Exit codes: 0 programs and servers agree, 1 they do not or a peer does not answer, 2 wrong arguments.";

const PULL: &str = "\
Each snapshot becomes a directory EPOCH in `dst-dir`, whole or not at all, at each multiple of `pull-interval`.
Signals: SIGTERM, SIGINT and SIGHUP end it, after the pull under way.
Exit codes: 0 ended by a signal, or pulled with --once; 1 failure, 2 wrong arguments or a wrong configuration.";

const PROCESS: &str = "\
A snapshot leaves `src-dir` when all destinations have it; what cannot be understood goes to `quarantine` beside it.
Signals: SIGTERM, SIGINT and SIGHUP end it, after the snapshot in hand; a second one ends it at once.
Exit codes: 0 ended by a signal, or all delivered with --once; 1 failure, 2 wrong arguments or a wrong configuration.";

const STATE: &str = "\
The state lasts until the program changes its own; `hold` lasts until `release`.
Exit codes: 0 done, 1 failed, 2 wrong arguments, 4 refused, 75 time ran out while waiting, 130 ended by Ctrl-C.";

/// What differs between `restart`, `stop` and `start`, and what does not.
macro_rules! rollout_help {
    ($own:literal) => {
        concat!(
            $own,
            "; a second one leaves at once.\nExit codes: 0 all done, 1 failed and none done, 2 wrong arguments, \
             3 some done and some not, 4 refused and nothing touched, 130 ended by Ctrl-C."
        )
    };
}

const RESTART: &str = rollout_help!(
    "Each program: drain, wait until no session is left, maint (after 3/4 of --drain-timeout at the latest), stop, \
     start, wait for RUNNING, ready, wait for UP.
Ctrl-C puts back what is not stopped yet and lets the rest come back"
);

const STOP: &str = rollout_help!(
    "Each program: drain, wait until no session is left, maint (after 3/4 of --drain-timeout at the latest), stop.
Ctrl-C puts back what is not stopped yet"
);

const START: &str = rollout_help!(
    "Each program: start, wait for RUNNING, ready, wait for UP.
Ctrl-C begins no further ones and lets the rest come up"
);

const HOLD: &str = "\
The listener does it: it has to run, and its `events=` to name REMOTE_COMMUNICATION.
Exit codes: 0 done, 1 failed, 2 wrong arguments, 4 refused.";

const TIMELINE: &str = "\
Times are in UTC, the newest stand last. `serve` need not run.
By default the file is /var/lib/supervisor-haproxy/history.sqlite, or history.sqlite in the directory supervisor-haproxy \
of $XDG_STATE_HOME or ~/.local/state, where there is one.
Exit codes: 0 shown, or ended by Ctrl-C with --follow; 1 there is no history, or it cannot be read; 2 wrong arguments.";

const CHECK: &str = "\
Exit codes: 0 all is well, 1 there are warnings, 2 something is wrong, 3 it cannot be told (--nagios only).";

const PUSH_USAGE: &str =
    "supervisor-haproxy push --backend <HOST:PORT::SCOPE> --sockets <SOCKET>... [OPTIONS]";

const PUSH: &str = "\
A program that is called as `hap-monitor`, `hap-monitor-cron` or `hap-monitor-cronTCP` takes these options without \
`push`; the last one sends over TCP.
Names are SCOPE.HOST.PROCESS.PROXY.SERVER.VALUE, with the first label of this host's name.
Exit codes: 0 all was sent, 1 a socket did not answer or not all was sent, 2 wrong arguments.";

const REPORT: &str = "\
Down are servers and backends that HAProxy shows as DOWN, servers whose name does not resolve, and frontends that are \
not OPEN. Connection errors, response errors and 5xx count as errors; request errors and denied requests are the \
clients' own. HAProxy counts since its start.
Exit codes: 0 all is well, 1 something is down, erring or does not answer, 2 wrong arguments.";

/// Where things are, unless supervisord's configuration tells.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Where things are (by default, supervisord's configuration tells)")]
// Its doc comments are help texts.
#[allow(clippy::doc_markdown, rustdoc::broken_intra_doc_links)]
pub(super) struct SiteArgs {
    /// supervisord's configuration; otherwise where supervisorctl looks for it
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) configuration: Option<PathBuf>,

    /// Which [eventlistener:NAME] is meant, where several run this program
    #[arg(long, value_name = "NAME")]
    pub(super) listener: Option<String>,

    /// HAProxy's admin socket, as the listener's SOCKET; several, separated by commas
    #[arg(long, value_name = "SOCKET", value_delimiter = ',')]
    pub(super) socket: Vec<String>,

    /// Which program stands for which server, as the listener's PROGRAM; may be repeated
    #[arg(long, value_name = "PROGRAM")]
    pub(super) map: Vec<String>,

    /// supervisord's server: unix:///PATH or http://[USER:PASSWORD@]HOST:PORT
    #[arg(long, value_name = "URL")]
    pub(super) supervisor_url: Option<String>,
}

#[derive(Clone, Debug, clap::Args)]
pub(super) struct StatusArgs {
    /// A program, group:program, group:*, web*, backend/server, or all (the default)
    #[arg(value_name = "TARGET")]
    pub(super) targets: Vec<Target>,

    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,

    /// Show it again each second, until Ctrl-C
    #[arg(short, long)]
    pub(super) watch: bool,

    #[command(flatten)]
    pub(super) site: SiteArgs,
}

#[derive(Clone, Debug, clap::Args)]
pub(super) struct StateArgs {
    /// A program, group:program, group:*, web*, backend/server, or all
    #[arg(value_name = "TARGET", required = true)]
    pub(super) targets: Vec<Target>,

    /// Wait until HAProxy shows it: for `ready` until it takes traffic, otherwise until no session is left
    #[arg(short, long)]
    pub(super) wait: bool,

    /// How long to wait
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = duration, requires = "wait")]
    pub(super) timeout: Duration,

    /// Have HAProxy close the sessions that are left when the time has run out
    #[arg(long, requires = "wait")]
    pub(super) shutdown_sessions: bool,

    /// Also where a program does not run, where a server is held, or against a listener that enforces
    #[arg(long)]
    pub(super) force: bool,

    #[command(flatten)]
    pub(super) site: SiteArgs,
}

/// What restart, stop and start have in common.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct RolloutArgs {
    /// A program, group:program, group:*, web*, backend/server, or all
    #[arg(value_name = "TARGET", required = true)]
    pub(super) targets: Vec<Target>,

    /// How many programs at a time: a number, or a share of them as in 25%
    #[arg(long, value_name = "N|P%", default_value = "1")]
    pub(super) batch: Batch,

    /// What to do about the rest when a program has failed
    #[arg(long, value_enum, value_name = "WHAT", default_value = "stop")]
    pub(super) on_failure: OnFailure,

    /// Print what would be done, and do nothing
    #[arg(long)]
    pub(super) dry_run: bool,

    /// Go on although too few servers stay up, or an HAProxy does not answer
    #[arg(long)]
    pub(super) force: bool,

    #[command(flatten)]
    pub(super) site: SiteArgs,
}

/// How a program is taken out.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct OutArgs {
    /// How long sessions may take to end; then the program is stopped all the same
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = duration)]
    pub(super) drain_timeout: Duration,

    /// Have HAProxy close the sessions that are left then
    #[arg(long)]
    pub(super) shutdown_sessions: bool,

    /// How long a program may take to stop
    #[arg(long, value_name = "SECONDS", default_value = "120", value_parser = duration)]
    pub(super) stop_timeout: Duration,

    /// How many servers of each backend stay up, at least
    #[arg(long, value_name = "N", default_value = "1")]
    pub(super) min_ready: usize,
}

/// How a program is brought back.
#[derive(Clone, Debug, clap::Args)]
// Its doc comments are help texts.
#[allow(clippy::doc_markdown)]
pub(super) struct InArgs {
    /// How long a program may take from its start until HAProxy shows it up
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = duration)]
    pub(super) up_timeout: Duration,

    /// Ask the program itself before it gets traffic, as in http://{address}/health; {address} is where HAProxy
    /// sends its requests, {backend}, {server}, {group} and {program} are names
    #[arg(long, value_name = "URL")]
    pub(super) probe: Option<Probe>,
}

#[derive(Clone, Debug, clap::Args)]
pub(super) struct RestartArgs {
    #[command(flatten)]
    pub(super) out: OutArgs,
    #[command(flatten)]
    pub(super) back: InArgs,
    // The last one, here and below: the heading over where things are goes on to the end.
    #[command(flatten)]
    pub(super) rollout: RolloutArgs,
}

#[derive(Clone, Debug, clap::Args)]
pub(super) struct StopArgs {
    #[command(flatten)]
    pub(super) out: OutArgs,
    #[command(flatten)]
    pub(super) rollout: RolloutArgs,
}

#[derive(Clone, Debug, clap::Args)]
pub(super) struct StartArgs {
    #[command(flatten)]
    pub(super) back: InArgs,
    #[command(flatten)]
    pub(super) rollout: RolloutArgs,
}

#[derive(Clone, Debug, clap::Args)]
pub(super) struct HoldArgs {
    /// A program, group:program, group:*, web*, backend/server, or all
    #[arg(value_name = "TARGET", required = true)]
    pub(super) targets: Vec<Target>,

    /// Why, for whoever finds the server in maint
    #[arg(short, long, value_name = "TEXT")]
    pub(super) reason: String,

    #[command(flatten)]
    pub(super) site: SiteArgs,
}

#[derive(Clone, Debug, clap::Args)]
pub(super) struct ReleaseArgs {
    /// A program, group:program, group:*, web*, backend/server, or all
    #[arg(value_name = "TARGET", required = true)]
    pub(super) targets: Vec<Target>,

    #[command(flatten)]
    pub(super) site: SiteArgs,
}

#[derive(Clone, Debug, clap::Args)]
pub(super) struct CheckArgs {
    /// Print JSON
    #[arg(long, conflicts_with = "nagios")]
    pub(super) json: bool,

    /// Print one line as Nagios plugins do, with performance data
    #[arg(long)]
    pub(super) nagios: bool,

    /// Look at this spool of the statistics, and at nothing else: what waits in it and for how long, and what was set
    /// aside
    #[arg(
        long,
        value_name = "DIR",
        value_hint = ValueHint::DirPath,
        conflicts_with_all = ["configuration", "listener", "socket", "map", "supervisor_url"]
    )]
    pub(super) spool: Option<PathBuf>,

    /// Ask the `serve` at http://HOST:PORT whether it answers, and look at nothing else
    #[arg(
        long,
        value_name = "URL",
        conflicts_with_all = ["spool", "configuration", "listener", "socket", "map", "supervisor_url"]
    )]
    pub(super) serve: Option<String>,

    #[command(flatten)]
    pub(super) limits: QueueArgs,

    #[command(flatten)]
    pub(super) site: SiteArgs,
}

/// The defaults are 5 and 30 minutes of pulls each ten seconds; the spool takes an hour of them.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct QueueArgs {
    /// With --spool: a warning where more snapshots wait
    #[arg(long, value_name = "N", default_value = "30", requires = "spool")]
    pub(super) warning: usize,

    /// With --spool: it is critical where more snapshots wait
    #[arg(long, value_name = "N", default_value = "180", requires = "spool")]
    pub(super) critical: usize,

    /// With --spool: a warning where the oldest waits for longer, or none has come or gone for longer
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = duration, requires = "spool")]
    pub(super) warning_age: Duration,

    /// With --spool: it is critical where that lasts for longer than this
    #[arg(long, value_name = "SECONDS", default_value = "1800", value_parser = duration, requires = "spool")]
    pub(super) critical_age: Duration,

    /// With --spool: a warning where more snapshots lie in quarantine
    #[arg(long, value_name = "N", default_value = "0", requires = "spool")]
    pub(super) allow_quarantine: usize,
}

/// Texts, so that all that is wrong with them is told at once.
#[derive(Clone, Debug, clap::Args)]
// Its doc comments are help texts.
#[allow(clippy::doc_markdown, rustdoc::broken_intra_doc_links)]
pub(super) struct PushArgs {
    /// Where to send, and what all names begin with: HOST:PORT::SCOPE, an IPv6 address in brackets
    #[arg(long, value_name = "HOST:PORT::SCOPE")]
    pub(super) backend: Option<String>,

    /// What listens there: G for Graphite, S for statsd
    #[arg(long = "type", value_name = "G|S", default_value = "S")]
    pub(super) kind: String,

    /// HAProxy's admin sockets, one for each process: a path, unix:///PATH or tcp://HOST:PORT
    #[arg(long, value_name = "SOCKET", num_args = 1.., value_hint = ValueHint::FilePath)]
    pub(super) sockets: Vec<String>,

    /// How Graphite is sent to: udp (the default) or tcp, which sends `rate`, too; statsd takes udp
    #[arg(long, value_name = "udp|tcp")]
    pub(super) protocol: Option<String>,

    /// How long a socket may take to answer, and the backend to take what is sent
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = duration)]
    pub(super) timeout: Duration,

    /// Print what is sent
    #[arg(long)]
    pub(super) verbose: bool,

    /// Whether it is called as the script of HAP-Monitor that sends over TCP.
    #[arg(skip)]
    pub(super) is_tcp_script: bool,
}

#[derive(Clone, Debug, clap::Args)]
// Its doc comments are help texts.
#[allow(clippy::doc_markdown, rustdoc::broken_intra_doc_links)]
pub(super) struct ReportArgs {
    /// HAProxy's admin socket, or its statistics page as http(s)://HOST:PORT/PATH;csv; by default the sockets of the
    /// listener
    #[arg(value_name = "SOCKET|URL", conflicts_with = "socket")]
    pub(super) source: Option<String>,

    /// Read a saved `show stat`, and ask nobody
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with_all = ["source", "socket"])]
    pub(super) csv: Option<PathBuf>,

    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,

    /// Who asks at URL, unless that tells; the password is in --password-file, or in the variable
    /// SUPERVISOR_HAPROXY_REPORT_PASSWORD
    #[arg(long, value_name = "NAME")]
    pub(super) user: Option<String>,

    /// A file whose first line is the password
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) password_file: Option<PathBuf>,

    /// Which share of a proxy's requests may end in errors of one kind
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = percent)]
    pub(super) tolerate: f64,

    /// How long HAProxy may take to answer
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = duration)]
    pub(super) timeout: Duration,

    #[command(flatten)]
    pub(super) site: SiteArgs,
}

#[derive(Clone, Debug, clap::Args)]
pub(super) struct PipelineArgs {
    /// The configuration; by default /etc/haproxystats.conf, where it exists
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) file: Option<PathBuf>,

    /// Print all options with their defaults, and do nothing else
    #[arg(short = 'p', long = "print", conflicts_with = "print_conf")]
    pub(super) print: bool,

    /// Print the configuration that is in effect, and do nothing else
    #[arg(short = 'P', long = "print-conf")]
    pub(super) print_conf: bool,

    /// Do it once and end, as from cron
    #[arg(long)]
    pub(super) once: bool,

    /// How log lines are written to stderr; how much, is in the configuration
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
    pub(super) log_format: LogFormat,
}

#[derive(Clone, Debug, clap::Args)]
pub(super) struct PullArgs {
    /// Where snapshots go from the spool: nowhere by themselves, or to Kafka for `process --from kafka` on another
    /// machine
    #[arg(long, value_enum, value_name = "WHERE", default_value = "spool")]
    pub(super) to: Way,

    #[command(flatten)]
    pub(super) pipeline: PipelineArgs,
}

/// How snapshots go from `pull` to `process`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Way {
    /// By the spool of one machine
    Spool,
    /// By the topic `raw-topic` of `[kafka]`, too
    Kafka,
}

#[derive(Clone, Debug, clap::Args)]
pub(super) struct ProcessArgs {
    /// A directory whose files *.conf are read after FILE, in the order of their names
    #[arg(short, long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(super) dir: Option<PathBuf>,

    /// Where snapshots come from: a `pull` on this machine, or `pull --to kafka` on others
    #[arg(long, value_enum, value_name = "WHERE", default_value = "spool")]
    pub(super) from: Way,

    #[command(flatten)]
    pub(super) pipeline: PipelineArgs,
}

fn percent(text: &str) -> Result<f64, &'static str> {
    let share = text.strip_suffix('%').unwrap_or(text).parse().ok();
    share.filter(|share| (0.0..=100.0).contains(share)).ok_or("expected a share from `0` to `100`")
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum OnFailure {
    /// Begin no further ones
    Stop,
    /// Go on with the next
    Continue,
}

/// How many at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Batch {
    Count(usize),
    Percent(usize),
}

impl Batch {
    /// Of so many; a share is rounded down, but one it is at least.
    pub(super) fn of(self, count: usize) -> usize {
        match self {
            Self::Count(number) => number,
            Self::Percent(share) => (count * share / 100).max(1),
        }
    }
}

impl std::str::FromStr for Batch {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "expected a number from 1, or a share from `1%` to `100%`";
        let number = |text: &str| text.parse::<usize>().ok().filter(|number| *number > 0).ok_or(EXPECTED);
        match text.strip_suffix('%') {
            None => number(text).map(Self::Count),
            Some(share) => number(share)
                .and_then(|share| if share <= 100 { Ok(Self::Percent(share)) } else { Err(EXPECTED) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_number_up_to_100() {
        assert_eq!((percent("0"), percent("0.5%"), percent("100")), (Ok(0.0), Ok(0.5), Ok(100.0)));
        for text in ["", "-1", "101", "nan", "x", "1%%"] {
            assert!(percent(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_batch_is_a_number_or_a_share() {
        let of = |text: &str, count| text.parse::<Batch>().map(|batch| batch.of(count));
        assert_eq!(of("3", 10), Ok(3));
        assert_eq!(of("25%", 10), Ok(2));
        assert_eq!(of("25%", 3), Ok(1), "never none");
        assert_eq!(of("100%", 7), Ok(7));
        for text in ["0", "0%", "101%", "-1", "x", "%"] {
            assert!(text.parse::<Batch>().is_err(), "{text}");
        }
    }
}
