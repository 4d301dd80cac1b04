//! How much of supervisord's time the listener takes: its start, each event, its memory, and how that grows.
//! The bench plays supervisord over pipes and has a real HAProxy. Beside the listener run, in turns with it
//! for the machine's moods to hit all alike, the least that any client of HAProxy must do (the bare loop: one
//! connection and one command for each event) and the least that any listener must (the bare listener: the
//! same, asked for and answered over pipes).

#![allow(clippy::print_stdout, reason = "tables are what a bench is for")]

mod rig;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::ops::Range;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rig::Outcome;
use rig::figures::{Table, Times, aim, micros, millis, ratio};
use rig::haproxy::{self, Haproxy};
use rig::pipes::{ACCEPTED, Listener, Size};

const STARTS: usize = 20;
const EVENTS: usize = 2_000;
/// All sides take turns after so many events: some whole lives of programs.
const BLOCK: usize = 40;
const GROWTH_EVENTS: usize = 1_000_000;
/// The growth is measured from this part of all events on.
const GROWTH_FROM: usize = 100;
/// Of so many events, one is of a program that stands for a server.
const MAPPED: usize = 50;

const START_AIM: Duration = Duration::from_millis(5);
const RATIO_AIM: f64 = 1.5;
const MEMORY_AIM: u64 = 6 * 1024;
/// In KiB: some pages. One byte kept for each event would be a megabyte.
const GROWTH_AIM: u64 = 64;

/// Makes the bench's own program be the bare listener; the admin socket follows.
const BARE_LISTENER: &str = "--bare-listener";

/// Checks are answered by HAProxy itself.
const SECTIONS: &str = "\
listen answer
 bind unix@DIR/answer.sock
 http-request return status 200
backend plain
 server-template s 1-8 unix@DIR/answer.sock
backend checked
 default-server check inter 1s
 server-template s 1-8 unix@DIR/answer.sock
";

fn main() -> Outcome<()> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == BARE_LISTENER) {
        return bare_listener(Path::new(&arguments.next().ok_or("no socket")?));
    }
    if !rig::is_asked_for() {
        return Ok(());
    }
    let haproxy = Haproxy::start(SECTIONS)?;
    println!("HAProxy {}", haproxy::version()?);
    starts(&haproxy)?;
    events(&haproxy)?;
    growth(&haproxy)
}

fn starts(haproxy: &Haproxy) -> Outcome<()> {
    let mut times = Times::default();
    for _ in 0..STARTS {
        times.push(listener(haproxy)?.1);
    }
    let title = format!("start-up, exec to READY, {STARTS} times");
    let mut table = Table::new(title, &["", "median", "min", "max", "aim"]);
    let met = times.median() <= START_AIM;
    let [median, min, max] = [times.median(), times.min(), times.max()].map(millis);
    table.row(["listener".into(), median, min, max, aim("≤ 5 ms", met)]);
    table.print();
    Ok(())
}

/// Starts the program under test, as supervisord would without XML-RPC, and with all defaults.
fn listener(haproxy: &Haproxy) -> Outcome<(Listener, Duration)> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_supervisor-haproxy"));
    command.env_clear().arg(haproxy.socket()).args(["plain_*=plain/s*", "checked_*=checked/s*"]);
    Listener::start(command.stderr(File::create(haproxy.directory().join("listener.log"))?))
}

// --- programs

/// What an event makes the listener do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Drain,
    Maint,
    Nothing,
    Ready,
    GatedReady,
}

impl Kind {
    const ALL: [Self; 5] = [Self::Drain, Self::Maint, Self::Nothing, Self::Ready, Self::GatedReady];

    fn words(self) -> &'static str {
        match self {
            Self::Drain => "STOPPING: drain",
            Self::Maint => "STOPPED: maint",
            Self::Nothing => "STARTING: no command, it is in maint",
            Self::Ready => "RUNNING: ready, no checks",
            Self::GatedReady => "RUNNING: ready, gated by checks",
        }
    }
}

/// A step in a program's life: its state, how the event's payload ends (`@` stands for the pid), what is asked
/// of HAProxy, and the mask that HAProxy has for that.
const LIFE: [(&str, &str, &str, &str); 4] = [
    ("STOPPING", "from_state:RUNNING pid:@", "drain", "8"),
    ("STOPPED", "from_state:STOPPING pid:@", "maint", "1"),
    ("STARTING", "from_state:STOPPED tries:0", "maint", "1"),
    ("RUNNING", "from_state:STARTING pid:@", "ready", "0"),
];

/// A supervised program: a server, and a process that does nothing but be there. Only a child of the bench is
/// believed to be supervisord's.
struct Program {
    name: String,
    server: String,
    is_checked: bool,
    process: Child,
}

impl Program {
    fn all() -> Outcome<Vec<Self>> {
        let servers = (1..=8).flat_map(|number| [("plain", number), ("checked", number)]);
        servers.map(|(backend, number)| Self::start(backend, number)).collect()
    }

    fn start(backend: &str, number: usize) -> Outcome<Self> {
        let process = Command::new("sleep").arg("3600").stdin(Stdio::null()).spawn()?;
        let (name, server) = (format!("{backend}_{number}"), format!("{backend}/s{number}"));
        Ok(Self { name, server, is_checked: backend == "checked", process })
    }

    fn life(&self) -> impl Iterator<Item = Step> {
        LIFE.iter().map(|(state, rest, asked, mask)| {
            let rest = rest.replace('@', &self.process.id().to_string());
            let command = format!("set server {} state {asked}", self.server);
            Step { state, payload: payload(&self.name, &rest), kind: self.kind(state), command, mask }
        })
    }

    fn kind(&self, state: &str) -> Kind {
        match state {
            "STOPPING" => Kind::Drain,
            "STOPPED" => Kind::Maint,
            "STARTING" => Kind::Nothing,
            _ if self.is_checked => Kind::GatedReady,
            _ => Kind::Ready,
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn payload(name: &str, rest: &str) -> String {
    format!("processname:{name} groupname:{name} {rest}")
}

/// An event, and the command that comes to the same.
struct Step {
    state: &'static str,
    payload: String,
    kind: Kind,
    command: String,
    mask: &'static str,
}

/// One program's life after the other, without end.
fn lives(programs: &[Program]) -> impl Iterator<Item = Step> {
    programs.iter().cycle().flat_map(Program::life)
}

/// Each program's life once, so that everything is warm; HAProxy must follow.
fn rehearse(listener: &mut Listener, programs: &[Program], haproxy: &Haproxy) -> Outcome<()> {
    for program in programs {
        if let Some(running) = program.life().last() {
            listener.tell(running.state, &running.payload)?;
        }
        for step in program.life() {
            listener.tell(step.state, &step.payload)?;
            let mask = admin_mask(haproxy, &program.server)?;
            if mask != step.mask {
                return Err(format!("{} after {}: mask {mask}", program.server, step.state).into());
            }
        }
    }
    Ok(())
}

/// What was asked of a server, as HAProxy remembers it (management guide, "show servers state").
fn admin_mask(haproxy: &Haproxy, server: &str) -> Outcome<String> {
    let (backend, name) = server.split_once('/').ok_or("a server without backend")?;
    let reply = haproxy::ask(&haproxy.socket(), &format!("show servers state {backend}"))?;
    let mut rows = reply.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let row = rows.find(|row| row.get(3) == Some(&name)).ok_or("no such server")?;
    Ok(row.get(6).copied().unwrap_or_default().to_owned())
}

// --- the cost of an event

/// What one side took for each kind of event.
#[derive(Default)]
struct Costs(BTreeMap<Kind, Times>);

impl Costs {
    fn push(&mut self, kind: Kind, time: Duration) {
        self.0.entry(kind).or_default().push(time);
    }

    fn of(&self, is_wanted: impl Fn(Kind) -> bool) -> Times {
        let mut all = Times::default();
        self.0.iter().filter(|(kind, _)| is_wanted(**kind)).for_each(|(_, times)| all.extend(times));
        all
    }
}

/// All that take turns.
#[derive(Default)]
struct Sides {
    listener: Costs,
    bare_loop: Costs,
    bare_listener: Costs,
}

fn events(haproxy: &Haproxy) -> Outcome<()> {
    let programs = Program::all()?;
    let mut listener = listener(haproxy)?.0;
    rehearse(&mut listener, &programs, haproxy)?;
    let cpu = listener.cpu()?;
    let sides = take_turns(&mut listener, &programs, haproxy)?;
    let cpu = listener.cpu()?.saturating_sub(cpu);
    tell_medians(&sides);
    tell_kinds(&sides);
    tell_whole(&sides.listener.of(|_| true), cpu, listener.memory("VmHWM")?);
    Ok(())
}

fn take_turns(listener: &mut Listener, programs: &[Program], haproxy: &Haproxy) -> Outcome<Sides> {
    let mut command = Command::new(std::env::current_exe()?);
    let mut bare_listener = Listener::start(command.arg(BARE_LISTENER).arg(haproxy.socket()))?.0;
    let mut sides = Sides::default();
    let steps: Vec<Step> = lives(programs).take(EVENTS).collect();
    for block in steps.chunks(BLOCK) {
        for step in block {
            sides.listener.push(step.kind, listener.tell(step.state, &step.payload)?);
        }
        for step in block {
            sides.bare_loop.push(step.kind, bare_command(&haproxy.socket(), &step.command)?);
        }
        for step in block {
            sides.bare_listener.push(step.kind, bare_listener.tell(step.state, &step.command)?);
        }
    }
    Ok(sides)
}

fn bare_command(socket: &Path, command: &str) -> Outcome<Duration> {
    let begun = Instant::now();
    let reply = haproxy::ask(socket, command)?;
    let time = begun.elapsed();
    if reply.trim().is_empty() { Ok(time) } else { Err(reply.into()) }
}

/// A listener to which the command to send is told in place of a payload.
#[allow(clippy::disallowed_methods, reason = "the bare listener is a program of its own and owns its stdout")]
fn bare_listener(socket: &Path) -> Outcome<()> {
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    output.write_all(b"READY\n")?;
    let mut chunk = vec![0; 64 * 1024];
    loop {
        // Each event was written at once and is read at once.
        let count = input.read(&mut chunk)?;
        let event = std::str::from_utf8(chunk.get(..count).unwrap_or_default())?;
        let Some((_, command)) = event.split_once('\n') else { return Ok(()) };
        bare_command(socket, command)?;
        output.write_all(ACCEPTED)?;
    }
}

fn tell_medians(sides: &Sides) {
    let title = format!("from event to answer, {EVENTS} events in realistic order");
    let mut table = Table::new(title, &["", "median", "p99", "per second", "ratio of medians", "aim"]);
    let base = sides.bare_loop.of(|_| true);
    let mut row = |what: &str, side: &Costs, is_aimed_at: bool| {
        let times = side.of(|_| true);
        let ratio = ratio(times.median(), base.median());
        let aim = if is_aimed_at { aim("≤ 1.5", ratio <= RATIO_AIM) } else { String::new() };
        let [median, p99] = [times.median(), times.p99()].map(micros);
        table.row([what.into(), median, p99, per_second(&times), format!("{ratio:.2}"), aim]);
    };
    row("bare loop", &sides.bare_loop, false);
    row("bare listener", &sides.bare_listener, false);
    row("listener", &sides.listener, true);
    table.print();
}

fn tell_kinds(sides: &Sides) {
    let header = ["", "events", "median", "p99", "bare loop", "ratio", "bare listener", "ratio"];
    let mut table = Table::new("the same by what an event leads to; the bare ones by median", &header);
    let mut row = |what: &str, is_wanted: &dyn Fn(Kind) -> bool| {
        let times = sides.listener.of(is_wanted);
        let [bare_loop, bare_listener] =
            [&sides.bare_loop, &sides.bare_listener].map(|side| side.of(is_wanted).median());
        let against = |other| format!("{:.2}", ratio(times.median(), other));
        table.row([
            what.into(),
            times.len().to_string(),
            micros(times.median()),
            micros(times.p99()),
            micros(bare_loop),
            against(bare_loop),
            micros(bare_listener),
            against(bare_listener),
        ]);
    };
    for kind in Kind::ALL {
        row(kind.words(), &|other| other == kind);
    }
    row("all with a command", &|kind| kind != Kind::Nothing);
    table.print();
}

#[allow(clippy::cast_precision_loss, reason = "a few thousand events")]
fn per_second(times: &Times) -> String {
    format!("{:.0}", times.len() as f64 / times.total().as_secs_f64())
}

#[allow(clippy::cast_precision_loss, reason = "a few thousand events")]
fn tell_whole(times: &Times, cpu: Duration, peak: u64) {
    let mut table = Table::new("the listener as a whole", &["", "figure", "aim"]);
    table.row(["CPU per event".into(), micros(cpu.div_f64(times.len() as f64)), String::new()]);
    table.row(["peak memory".into(), kib(peak), aim("≤ 6 MiB", peak <= MEMORY_AIM)]);
    table.print();
}

fn kib(size: u64) -> String {
    format!("{size} KiB")
}

// --- growth

fn growth(haproxy: &Haproxy) -> Outcome<()> {
    let count = match std::env::var("SUPERVISOR_HAPROXY_BENCH_EVENTS") {
        Ok(text) => text.parse().map_err(|error| format!("SUPERVISOR_HAPROXY_BENCH_EVENTS: {error}"))?,
        Err(_) => GROWTH_EVENTS,
    };
    let programs = Program::all()?;
    let mut listener = listener(haproxy)?.0;
    rehearse(&mut listener, &programs, haproxy)?;
    let (first, begun) = (count / GROWTH_FROM, Instant::now());
    let mut mapped = lives(&programs);
    feed(&mut listener, 0..first, &mut mapped)?;
    let before = listener.size()?;
    feed(&mut listener, first..count, &mut mapped)?;
    tell_growth([(first, before), (count, listener.size()?)], begun.elapsed());
    Ok(())
}

/// Events of which few are about servers.
fn feed(
    listener: &mut Listener,
    numbers: Range<usize>,
    mapped: &mut impl Iterator<Item = Step>,
) -> Outcome<()> {
    for number in numbers {
        if number % MAPPED == 0 {
            let step = mapped.next().ok_or("programs have no life")?;
            listener.tell(step.state, &step.payload)?;
        } else {
            let name = format!("other_{}", number % 100);
            listener.tell("STARTING", &payload(&name, "from_state:STOPPED tries:0"))?;
        }
    }
    Ok(())
}

fn tell_growth([before, after]: [(usize, Size); 2], took: Duration) {
    let seconds = took.as_secs();
    let title = format!("growth; one event in {MAPPED} is of a mapped program; {seconds} s in all");
    let mut table = Table::new(title, &["after", "resident", "of it anonymous", "open files", "aim"]);
    let mut row = |(count, size): (usize, Size), aim: String| {
        let [resident, anonymous] = [size.resident, size.anonymous].map(kib);
        table.row([format!("{count} events"), resident, anonymous, size.files.to_string(), aim]);
    };
    let grew = after.1.anonymous > before.1.anonymous + GROWTH_AIM || after.1.files > before.1.files;
    row(before, String::new());
    row(after, aim("no growth", !grew));
    table.print();
}
