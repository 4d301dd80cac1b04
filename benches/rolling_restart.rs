//! What restarting all programs in turn costs those who use them: three web apps with a real supervisord, a real
//! HAProxy that tries nothing twice, and load all the time. `supervisorctl restart` against this program's
//! `restart`.
//!
//! `cargo bench --bench rolling-restart -- --requests 1000 --runs 1 --only restart` is a short try.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tables are what a bench is for")]

mod rig;

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rig::Outcome;
use rig::ending::Ending;
use rig::figures::{Table, Times, aim, millis, ratio};
use rig::haproxy::{self, Haproxy};
use rig::supervisord::{self, Supervisord};
use rig::web::{self, Client, Load, Worst};

const APPS: [&str; 3] = ["web1", "web2", "web3"];
const CONNECTIONS: usize = 16;
const BOOT_ROUNDS: usize = 3;

const REQUESTS: u64 = 10_000;
const RUNS: u32 = 5;
const RATIO_AIM: f64 = 1.5;

/// Makes the bench's own program be an app; its port and the file of starts follow.
const APP: &str = "--app";

const USAGE: &str = "arguments, behind `--`:
  --requests N   how many a run has at least (10,000)
  --runs N       how many runs of `restart` in a row (5)
  --only NAME    no-listener, supervisorctl, no-wait, restart, keep-alive or long";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.as_slice() {
        [app, port, starts] if app == APP => be_app(port, starts),
        _ => bench(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn be_app(port: &str, starts: &str) -> Outcome<()> {
    web::serve(port.parse()?, Path::new(starts))
}

fn bench(arguments: &[String]) -> Outcome<()> {
    let plan = Plan::read(arguments)?;
    if !rig::is_asked_for() {
        return Ok(());
    }
    let ending = Ending::heed()?;
    println!("HAProxy {}, supervisord {}", haproxy::version()?, supervisord::version()?);
    println!(
        "{} apps, {} ms for a start and {} ms for a request; {CONNECTIONS} clients; check inter 200ms rise 2 fall 2, \
         no retries; at least {} requests for each run",
        APPS.len(),
        web::BOOT.as_millis(),
        web::WORK.as_millis(),
        plan.requests
    );
    let mut results = Vec::new();
    let outcome = measure(&plan, &ending, &mut results);
    // What was measured before something failed is worth its minutes, too.
    tell(&results, plan.requests);
    outcome
}

fn measure(plan: &Plan, ending: &Ending, results: &mut Vec<(&Variant, u32, RunResult)>) -> Outcome<()> {
    for variant in VARIANTS.iter().filter(|variant| plan.asks_for(variant)) {
        for run in 1..=if variant.is_repeated { plan.runs } else { 1 } {
            let result = Stage::set(variant, ending)?.run(plan.requests)?;
            println!("{}, run {run}: {result}", variant.name);
            results.push((variant, run, result));
        }
    }
    Ok(())
}

// --- what is asked for

struct Plan {
    requests: u64,
    runs: u32,
    only: Option<String>,
}

impl Plan {
    fn read(arguments: &[String]) -> Outcome<Self> {
        let mut plan = Self { requests: REQUESTS, runs: RUNS, only: None };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let mut value =
                || arguments.next().ok_or(format!("argument `{argument}`: has no value\n{USAGE}"));
            match argument.as_str() {
                "--requests" => plan.requests = value()?.parse()?,
                "--runs" => plan.runs = value()?.parse()?,
                "--only" => plan.only = Some(value()?.clone()),
                // Cargo's own.
                "--bench" => {}
                other => return Err(format!("argument `{other}`: not known\n{USAGE}").into()),
            }
        }
        if !VARIANTS.iter().any(|variant| plan.asks_for(variant)) {
            return Err(format!("nothing is named so\n{USAGE}").into());
        }
        Ok(plan)
    }

    fn asks_for(&self, variant: &Variant) -> bool {
        self.only.as_deref().is_none_or(|only| only == variant.name)
    }
}

/// A way to restart, and the load meanwhile.
struct Variant {
    name: &'static str,
    what: &'static str,
    has_listener: bool,
    way: Way,
    keep_alive: bool,
    is_repeated: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Way {
    /// `supervisorctl restart` for one app after the other; whether its server must be UP before the next.
    Supervisorctl { waits: bool },
    /// One command of ours for all.
    Restart,
    /// One command of ours for each app, with a request under way that takes seconds.
    RestartWithLongRequest,
}

const VARIANTS: [Variant; 6] = [
    Variant {
        name: "no-listener",
        what: "supervisorctl restart, no listener",
        has_listener: false,
        way: Way::Supervisorctl { waits: true },
        keep_alive: false,
        is_repeated: false,
    },
    Variant {
        name: "supervisorctl",
        what: "supervisorctl restart",
        has_listener: true,
        way: Way::Supervisorctl { waits: true },
        keep_alive: false,
        is_repeated: false,
    },
    Variant {
        name: "no-wait",
        what: "supervisorctl restart, without waiting for UP",
        has_listener: true,
        way: Way::Supervisorctl { waits: false },
        keep_alive: false,
        is_repeated: false,
    },
    Variant {
        name: "restart",
        what: "restart 'web*'",
        has_listener: true,
        way: Way::Restart,
        keep_alive: false,
        is_repeated: true,
    },
    Variant {
        name: "keep-alive",
        what: "restart 'web*', clients with keep-alive",
        has_listener: true,
        way: Way::Restart,
        keep_alive: true,
        is_repeated: false,
    },
    Variant {
        name: "long",
        what: "restart webN, with a request of 5 s under way",
        has_listener: true,
        way: Way::RestartWithLongRequest,
        keep_alive: false,
        is_repeated: false,
    },
];

// --- the stage

/// HAProxy, supervisord, the listener and the apps.
struct Stage<'a> {
    // Ends before the HAProxy that its listener talks to.
    supervisord: Supervisord,
    haproxy: Haproxy,
    /// HAProxy's, for requests.
    port: u16,
    variant: &'a Variant,
    ending: &'a Ending,
}

impl<'a> Stage<'a> {
    /// Ready when all servers are up.
    fn set(variant: &'a Variant, ending: &'a Ending) -> Outcome<Self> {
        let [port, apps @ ..] = rig::free_ports::<4>()?;
        let haproxy = Haproxy::start(&backend(port, apps))?;
        let supervisord = Supervisord::start(&programs(&haproxy, apps, variant.has_listener)?)?;
        let stage = Self { supervisord, haproxy, port, variant, ending };
        for app in APPS {
            stage.wait_for(app, true)?;
        }
        Ok(stage)
    }

    /// `UP 1/2` is an UP that has failed a check.
    fn is_up(&self, app: &str) -> Outcome<bool> {
        Ok(self.haproxy.status(app)?.starts_with("UP"))
    }

    fn wait_for(&self, app: &str, up: bool) -> Outcome<()> {
        let what = format!("{app} {} in HAProxy", if up { "UP" } else { "out of use" });
        rig::wait_until(&what, || {
            self.ending.check()?;
            Ok((self.is_up(app)? == up).then_some(()))
        })
    }

    /// How often an app was started so far.
    fn starts(&self) -> Outcome<usize> {
        Ok(fs::read_to_string(starts_file(&self.haproxy))?.lines().count())
    }
}

fn backend(port: u16, apps: [u16; 3]) -> String {
    let servers: String = (APPS.iter().zip(apps))
        .map(|(app, port)| {
            let slow = web::SLOW;
            format!(" server {app} 127.0.0.1:{port}\n use-server {app} if {{ path {slow}{app} }}\n")
        })
        .collect();
    format!(
        "frontend www\n timeout client 15s\n bind 127.0.0.1:{port}\n default_backend app\n\
         backend app\n timeout server 15s\n balance roundrobin\n retries 0\n no option redispatch\n \
         option httpchk GET {}\n default-server check inter 200ms rise 2 fall 2\n{servers}",
        web::CHECK
    )
}

fn starts_file(haproxy: &Haproxy) -> std::path::PathBuf {
    haproxy.directory().join("starts")
}

fn programs(haproxy: &Haproxy, apps: [u16; 3], has_listener: bool) -> Outcome<String> {
    let (own, starts) = (std::env::current_exe()?, starts_file(haproxy));
    let (own, starts) = (own.display(), starts.display());
    let programs: String = (APPS.iter().zip(apps))
        .map(|(app, port)| format!("[program:{app}]\ncommand={own} {APP} {port} {starts}\nstartsecs=1\n"))
        .collect();
    let listener = format!(
        "[eventlistener:haproxy]\ncommand={} {} web1:app/web1 web2:app/web2 web3:app/web3\n\
         events=PROCESS_STATE,PROCESS_GROUP,SUPERVISOR_STATE_CHANGE,REMOTE_COMMUNICATION\nbuffer_size=256\n\
         priority=-7\nautorestart=true\nstdout_logfile=NONE\n",
        env!("CARGO_BIN_EXE_supervisor-haproxy"),
        haproxy.socket().display()
    );
    Ok(if has_listener { programs + &listener } else { programs })
}

// --- a run

struct RunResult {
    requests: u64,
    worst: Worst,
    restarts: usize,
    rounds: Times,
    /// What all apps need from their start to UP, one after the other, with nothing else to do.
    boot: Duration,
    long_requests: u64,
}

impl RunResult {
    fn failed(&self) -> u64 {
        self.worst.failures.values().sum()
    }

    fn ratio(&self) -> f64 {
        ratio(self.rounds.median(), self.boot)
    }
}

impl fmt::Display for RunResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} requests, {} failed", self.requests, self.failed())?;
        let how: Vec<String> =
            self.worst.failures.iter().map(|(how, count)| format!("{how}: {count}")).collect();
        if !how.is_empty() {
            write!(f, " ({})", how.join(", "))?;
        }
        let round = millis(self.rounds.median());
        write!(f, "; {} restarts, a round {round}", self.restarts)
    }
}

impl Stage<'_> {
    /// Restarts all apps again and again, until there were enough requests.
    fn run(&self, requests: u64) -> Outcome<RunResult> {
        let boot = self.boot()?;
        let before = self.starts()?;
        let load = Load::start(self.port, CONNECTIONS, self.variant.keep_alive);
        let (mut rounds, mut long) = (Times::default(), Worst::default());
        while load.requests() < requests {
            rounds.push(self.round(&mut long)?);
        }
        let (requests, mut worst) = load.end();
        for (how, count) in long.failures {
            *worst.failures.entry(format!("of 5 s: {how}")).or_default() += count;
        }
        let restarts = self.starts()? - before;
        let expected = rounds.len() * APPS.len();
        if restarts != expected {
            return Err(format!("{restarts} starts of apps were seen, {expected} were asked for").into());
        }
        let is_long = self.variant.way == Way::RestartWithLongRequest;
        let long_requests = if is_long { u64::try_from(restarts)? } else { 0 };
        Ok(RunResult { requests: requests + long_requests, worst, restarts, rounds, boot, long_requests })
    }

    /// What a restart cannot do without: from the start of a program to UP, for all of them. Median of some.
    fn boot(&self) -> Outcome<Duration> {
        let mut times = Times::default();
        for _ in 0..BOOT_ROUNDS {
            let mut total = Duration::ZERO;
            for app in APPS {
                self.supervisord.call("stopProcess", app, true)?;
                self.wait_for(app, false)?;
                let begun = Instant::now();
                self.supervisord.call("startProcess", app, false)?;
                self.wait_for(app, true)?;
                total += begun.elapsed();
            }
            times.push(total);
        }
        Ok(times.median())
    }

    /// Gives what a round takes; long requests that fail go into `long`.
    fn round(&self, long: &mut Worst) -> Outcome<Duration> {
        let begun = Instant::now();
        match self.variant.way {
            Way::Supervisorctl { waits } => {
                for app in APPS {
                    self.supervisorctl(app)?;
                    if waits {
                        self.wait_for(app, true)?;
                    }
                }
            }
            Way::Restart => self.restart("web*")?,
            Way::RestartWithLongRequest => {
                for app in APPS {
                    let request = self.begin_long_request(app)?;
                    self.restart(app)?;
                    if let Err(how) = request.join().map_err(|_| "the client has failed")? {
                        *long.failures.entry(how).or_default() += 1;
                    }
                }
            }
        }
        let time = begun.elapsed();
        // Not of the round: where nobody waited for UP, the next one would begin with servers that are down.
        for app in APPS {
            self.wait_for(app, true)?;
        }
        Ok(time)
    }

    fn supervisorctl(&self, app: &str) -> Outcome<()> {
        let mut command = Command::new("supervisorctl");
        command.arg("-c").arg(self.supervisord.configuration()).args(["restart", app]);
        self.perform(&mut command, &format!("supervisorctl restart {app}"))
    }

    fn restart(&self, target: &str) -> Outcome<()> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_supervisor-haproxy"));
        command.args(["restart", "-c"]).arg(self.supervisord.configuration()).arg(target);
        self.perform(&mut command, &format!("supervisor-haproxy restart {target}"))
    }

    /// A command that fails is the bench's end, with what it said.
    fn perform(&self, command: &mut Command, name: &str) -> Outcome<()> {
        let log = self.haproxy.directory().join("output");
        let status = self.ending.run(command, &log)?;
        if status.success() {
            return Ok(());
        }
        let output = String::from_utf8_lossy(&fs::read(log)?).into_owned();
        Err(format!("{name}: {status}; it says:\n{}", output.trim_end()).into())
    }

    /// Returns when HAProxy has given the request to the app.
    fn begin_long_request(&self, app: &'static str) -> Outcome<JoinHandle<Result<(), String>>> {
        let (port, path) = (self.port, format!("{}{app}", web::SLOW));
        let request = std::thread::spawn(move || Client::new(port, false).get(&path));
        // Well below the 5 s that it takes, and well above what it takes to arrive.
        rig::pause(web::WORK * 4);
        self.ending.check()?;
        Ok(request)
    }
}

// --- what is told

fn tell(results: &[(&Variant, u32, RunResult)], requests: u64) {
    let header = [
        "restarting, under load",
        "run",
        "requests",
        "failed",
        "slowest",
        "restarts",
        "a round",
        "boot and checks",
        "ratio",
        "aim",
    ];
    let mut table = Table::new("rolling restart", &header);
    for (variant, run, result) in results {
        table.row([
            variant.what.into(),
            run.to_string(),
            result.requests.to_string(),
            result.failed().to_string(),
            millis(result.worst.slowest),
            result.restarts.to_string(),
            millis(result.rounds.median()),
            millis(result.boot),
            format!("{:.2}", result.ratio()),
            aims(variant, result, requests),
        ]);
    }
    if !results.is_empty() {
        table.print();
    }
}

/// What others do is measured, and nothing is aimed at.
fn aims(variant: &Variant, result: &RunResult, requests: u64) -> String {
    let none_failed = result.failed() == 0 && result.requests >= requests;
    match variant.way {
        Way::Supervisorctl { .. } => String::new(),
        Way::Restart => aim(
            &format!("0 failed of ≥ {requests}, ratio ≤ {RATIO_AIM}"),
            none_failed && result.ratio() <= RATIO_AIM,
        ),
        Way::RestartWithLongRequest => {
            aim(&format!("0 failed, {} of 5 s among them", result.long_requests), none_failed)
        }
    }
}
