//! How long a crash goes unnoticed by HAProxy, and how soon the restarted program has traffic again: a real
//! supervisord, a real HAProxy, and a program that is killed again and again.
//!
//! supervisord has a second listener, which only notes when an event reached it. Without ours beside it, these
//! are the times of any listener that has events alone. With ours they are shorter: its XML-RPC wakes
//! supervisord up, and so does each line that it logs.

#![allow(clippy::print_stdout, reason = "tables are what a bench is for")]

mod rig;

use std::fs::{self, OpenOptions};
use std::io::{self, BufRead, Read, Write};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rig::Outcome;
use rig::figures::{Table, Times, aim, millis};
use rig::haproxy::{self, Haproxy};
use rig::pipes::ACCEPTED;
use rig::supervisord::{self, Supervisord};

const ROUNDS: u32 = 10;
/// supervisord looks around once a second at least; kills come at all phases of that second.
const PHASE: Duration = Duration::from_millis(97);
const IDLE: Duration = Duration::from_millis(1100);

const STARTSECS: Duration = Duration::from_secs(1);
/// Two checks must pass, 100 ms apart.
const CHECKS: Duration = Duration::from_millis(200);
const CRASH_AIM: Duration = Duration::from_millis(20);
const START_AIM: Duration = Duration::from_millis(200);

/// The stage that is as users have it.
const DEFAULT: &str = "listener";

/// Makes the bench's own program be the noting listener; its directory follows.
const NOTER: &str = "--noter";

fn main() -> Outcome<()> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == NOTER) {
        return be_noter(Path::new(&arguments.next().ok_or("no directory")?));
    }
    if !rig::is_asked_for() {
        return Ok(());
    }
    println!("HAProxy {}, supervisord {}", haproxy::version()?, supervisord::version()?);
    println!("startsecs=1, autorestart, check inter 100ms rise 2; each {ROUNDS} times");
    tell_crashes(&[
        (DEFAULT, crashes(Some(""))?),
        ("listener with --no-sync", crashes(Some("--no-sync"))?),
        ("no listener", crashes(None)?),
    ]);
    tell_starts(&Stage::set(Some(""))?.starts()?);
    Ok(())
}

// --- what supervisord runs

/// A program that accepts connections as soon as it can, and ends with its supervisord. It is of Python because
/// what ends in microseconds spares supervisord's events one of the two seconds that real programs cost them.
const PROGRAM: &str = "\
import os, select, socket, sys
directory = sys.argv[1]
path = os.path.join(directory, 'web.sock')
if os.path.exists(path):
    os.unlink(path)
server = socket.socket(socket.AF_UNIX)
server.bind(path)
server.listen(64)
with open(directory + '/web.pid.new', 'w') as file:
    file.write(str(os.getpid()))
os.rename(directory + '/web.pid.new', directory + '/web.pid')
while sys.stdin not in select.select([server, sys.stdin], [], [])[0]:
    server.accept()[0].close()
";

/// The system's own where there is one: others may be scripts that look for an interpreter first.
fn python() -> &'static str {
    let own = "/usr/bin/python3";
    if Path::new(own).exists() { own } else { "python3" }
}

/// A listener that does nothing but write down what came when.
#[allow(clippy::disallowed_methods, reason = "the noter is a program of its own and owns its stdout")]
fn be_noter(directory: &Path) -> Outcome<()> {
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    let mut notes = OpenOptions::new().append(true).create(true).open(directory.join("notes"))?;
    output.write_all(b"READY\n")?;
    let mut header = String::new();
    while input.read_line(&mut header)? > 0 {
        let token = |key: &str| header.split_whitespace().find_map(|token| token.strip_prefix(key));
        let name = token("eventname:PROCESS_STATE_").ok_or("no event name")?;
        let mut payload = vec![0; token("len:").ok_or("no length")?.parse()?];
        input.read_exact(&mut payload)?;
        if String::from_utf8_lossy(&payload).starts_with("processname:web ") {
            notes.write_all(format!("{} {name}\n", now().as_nanos()).as_bytes())?;
        }
        output.write_all(ACCEPTED)?;
        header.clear();
    }
    Ok(())
}

/// By the one clock that all these programs share.
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

// --- the stage

/// HAProxy, supervisord, the program and both listeners.
struct Stage {
    // Ends before the HAProxy that its listener talks to.
    supervisord: Supervisord,
    haproxy: Haproxy,
    has_listener: bool,
}

impl Stage {
    /// Ready when the program is RUNNING and its server up. `flags` are the listener's; `None` leaves it out.
    fn set(flags: Option<&str>) -> Outcome<Self> {
        let haproxy =
            Haproxy::start("backend app\n server web unix@DIR/web.sock check inter 100ms rise 2\n")?;
        fs::write(haproxy.directory().join("web.py"), PROGRAM)?;
        let supervisord = Supervisord::start(&sections(&haproxy, flags)?)?;
        let stage = Self { supervisord, haproxy, has_listener: flags.is_some() };
        stage.wait_for_event("RUNNING", Duration::ZERO)?;
        stage.wait_for_status("UP")?;
        Ok(stage)
    }

    fn wait_for_status(&self, status: &str) -> Outcome<Duration> {
        rig::wait_until(&format!("{status} in HAProxy"), || {
            Ok((self.haproxy.status("web")? == status).then(now))
        })
    }

    /// Waits until the noter has heard of an event later than `since`.
    fn wait_for_event(&self, name: &str, since: Duration) -> Outcome<Duration> {
        rig::wait_until(name, || {
            // There are none before the noter has begun.
            let notes = fs::read_to_string(self.haproxy.directory().join("notes")).unwrap_or_default();
            let times = notes.lines().filter_map(|line| line.strip_suffix(name)?.trim().parse().ok());
            Ok(times.map(Duration::from_nanos).find(|time| *time > since))
        })
    }

    fn pid(&self) -> Outcome<Pid> {
        let text = fs::read_to_string(self.haproxy.directory().join("web.pid"))?;
        Ok(Pid::from_raw(text.parse()?))
    }
}

fn sections(haproxy: &Haproxy, flags: Option<&str>) -> Outcome<String> {
    let own = std::env::current_exe()?;
    let (own, directory) = (own.display(), haproxy.directory().display());
    let listener = |flags| {
        format!(
            "[eventlistener:haproxy]\ncommand={} {flags} {} web:app/web\n\
             events=PROCESS_STATE,PROCESS_GROUP,SUPERVISOR_STATE_CHANGE,REMOTE_COMMUNICATION\nbuffer_size=256\nstdout_logfile=NONE\n",
            env!("CARGO_BIN_EXE_supervisor-haproxy"),
            haproxy.socket().display()
        )
    };
    Ok(format!(
        "[program:web]\ncommand={} {directory}/web.py {directory}\nautorestart=true\n\
         [eventlistener:noter]\ncommand={own} {NOTER} {directory}\n\
         events=PROCESS_STATE\nbuffer_size=256\nstdout_logfile=NONE\n{}",
        python(),
        flags.map(listener).unwrap_or_default()
    ))
}

// --- crashes

/// From the kill to …
#[derive(Default)]
struct Crashes {
    maint: Times,
    exited: Times,
    running: Times,
    up: Times,
}

impl Stage {
    fn crashes(&self) -> Outcome<Crashes> {
        let mut crashes = Crashes::default();
        for round in 0..ROUNDS {
            rig::pause(IDLE + PHASE * round);
            let (pid, begun) = (self.pid()?, now());
            kill(pid, Signal::SIGKILL)?;
            if self.has_listener {
                crashes.maint.push(self.wait_for_status("MAINT")?.saturating_sub(begun));
                crashes.up.push(self.wait_for_status("UP")?.saturating_sub(begun));
            }
            crashes.exited.push(self.wait_for_event("EXITED", begun)?.saturating_sub(begun));
            crashes.running.push(self.wait_for_event("RUNNING", begun)?.saturating_sub(begun));
        }
        Ok(crashes)
    }
}

/// On a stage of their own, which is gone before the next one is set.
fn crashes(flags: Option<&str>) -> Outcome<Crashes> {
    let stage = Stage::set(flags)?;
    stage.crashes()
}

fn tell_crashes(stages: &[(&str, Crashes)]) {
    let header = ["from SIGKILL of the program to …", "median", "min", "max", "aim"];
    let mut table = Table::new("crashes", &header);
    for (stage, crashes) in stages {
        let met = crashes.maint.max() <= CRASH_AIM;
        row(&mut table, &format!("{stage}: server in MAINT"), &crashes.maint, aim("≤ 20 ms", met));
        // Without XML-RPC, RUNNING comes when supervisord thinks of it: nothing is aimed at.
        let aim = if *stage == DEFAULT { start_aim(&crashes.up) } else { String::new() };
        row(&mut table, &format!("{stage}: server UP again"), &crashes.up, aim);
        row(&mut table, &format!("{stage}: event EXITED"), &crashes.exited, String::new());
        row(&mut table, &format!("{stage}: event RUNNING"), &crashes.running, String::new());
    }
    table.print();
}

fn start_aim(up: &Times) -> String {
    aim("≤ startsecs + checks + 200 ms = 1400 ms", up.median() <= STARTSECS + CHECKS + START_AIM)
}

fn row(table: &mut Table, what: &str, times: &Times, aim: String) {
    if times.len() > 0 {
        let [median, min, max] = [times.median(), times.min(), times.max()].map(millis);
        table.row([what.into(), median, min, max, aim]);
    }
}

// --- starts

/// From the return of a start to …
#[derive(Default)]
struct Starts {
    up: Times,
    /// … the server's way out of MAINT, which RUNNING opens.
    open: Times,
    /// From there to UP: HAProxy's checks.
    checks: Times,
}

impl Stage {
    fn starts(&self) -> Outcome<Starts> {
        let mut starts = Starts::default();
        for round in 0..ROUNDS {
            self.supervisord.call("stopProcess", "web", true)?;
            self.wait_for_status("MAINT")?;
            rig::pause(IDLE + PHASE * round);
            self.supervisord.call("startProcess", "web", false)?;
            let begun = now();
            let open = rig::wait_until("the end of MAINT", || {
                Ok((self.haproxy.status("web")? != "MAINT").then(now))
            })?;
            let up = self.wait_for_status("UP")?;
            starts.open.push(open.saturating_sub(begun));
            starts.checks.push(up.saturating_sub(open));
            starts.up.push(up.saturating_sub(begun));
        }
        Ok(starts)
    }
}

fn tell_starts(starts: &Starts) {
    let header = ["from the return of startProcess to …", "median", "min", "max", "aim"];
    let mut table = Table::new("starts", &header);
    row(&mut table, "server UP", &starts.up, start_aim(&starts.up));
    row(&mut table, "of it until the server leaves MAINT (startsecs = 1000 ms)", &starts.open, String::new());
    row(&mut table, "of it until HAProxy's checks have passed (2 × 100 ms)", &starts.checks, String::new());
    table.print();
}
