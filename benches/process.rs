//! One snapshot of four processes with 100 frontends, 1,000 backends and 10,000 servers each: what `process` needs with
//! one worker to deliver it to a local carbon that reads and forgets, as a command that ends and while it runs. Beside
//! it a plain copy: the same files read, the same bytes sent over the same kind of connection. The rows are as wide as
//! HAProxy 2.6 writes them. Then how the time grows with the snapshot.
//!
//! `-- --chart FILE` draws the figures, too.

#![allow(clippy::print_stdout, reason = "a table is what a bench is for")]

mod rig;

use std::fs::{self, File};
use std::hint::black_box;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rig::chart::{Chart, Growth};
use rig::command::{Daemon, command};
use rig::figures::{Table, Times, aim, micros, millis, ratio};
use rig::snapshot::LARGE;
use rig::spool::{Draft, Spool, Stock};
use rig::{Outcome, proc, sink};
use supervisor_haproxy::stats::aggregate::graphite::{Lines, Naming};
use supervisor_haproxy::stats::aggregate::{Aggregate, Scope};

const PROCESSES: usize = 4;
const ROUNDS: usize = 30;
const TIME: u64 = 1_763_690_000;
/// What is written at once.
const CHUNK: usize = 64 * 1024;
/// As many as haproxystats sends.
const DATAPOINTS: usize = 364_154;
const AIM: Duration = Duration::from_millis(60);
const AIM_RATIO: f64 = 4.0;
/// In KiB.
const AIM_MEMORY: u64 = 32 << 10;

/// Snapshots of other sizes: how many processes, and how many times the frontends and backends in hundredths.
const SIZES: [(usize, usize); 8] =
    [(1, 100), (2, 100), (4, 100), (8, 100), (4, 25), (4, 50), (4, 200), (4, 400)];
const GROWTH_ROUNDS: usize = 10;
/// CPU time per row of the largest snapshot, as a multiple of that of a quarter of the usual one.
const AIM_GROWTH: f64 = 1.25;

fn main() -> Outcome<()> {
    if !rig::is_asked_for() {
        return Ok(());
    }
    let directory = tempfile::tempdir()?;
    let mut bench = Bench::new(directory.path())?;
    let witness = bench.witness()?;
    bench.parts(&witness.output)?;
    let passes = bench.passes(&witness.output)?;
    let peak = witness.peak.max(passes.peak);
    passes.tell(&bench.stock, &witness);
    tell_aims(&passes, peak);
    let growth = bench.growth()?;
    if let Some(path) = chart_path() {
        let chart = Chart {
            once: passes.once.median(),
            running: passes.running.median(),
            copy: passes.copy.median(),
            peak,
            growth: growth.into_iter().filter(|size| size.processes == PROCESSES).collect(),
        };
        fs::write(path, chart.draw()?)?;
    }
    Ok(())
}

fn chart_path() -> Option<PathBuf> {
    std::env::args_os().skip_while(|argument| argument != "--chart").nth(1).map(PathBuf::from)
}

/// A spool, snapshots for it, and a carbon.
struct Bench {
    directory: PathBuf,
    spool: Spool,
    stock: Stock,
    carbon: u16,
    /// Of the next snapshot.
    time: u64,
}

/// A pass that was looked at.
struct Witness {
    output: Vec<u8>,
    /// In KiB.
    peak: u64,
}

/// What the passes took, in turns.
#[derive(Default)]
struct Passes {
    once: Times,
    running: Times,
    /// On a CPU: who else is at work on this machine hardly changes that.
    running_cpu: Times,
    copy: Times,
    copy_cpu: Times,
    /// In KiB.
    peak: u64,
}

impl Bench {
    fn new(directory: &Path) -> Outcome<Self> {
        Ok(Self {
            directory: directory.to_owned(),
            spool: Spool::make(directory)?,
            stock: Stock::write(directory, PROCESSES, LARGE)?,
            carbon: sink::open(|_| ())?,
            time: TIME,
        })
    }

    /// `process`, with a destination at a port.
    fn command(&self, port: u16) -> Outcome<Command> {
        let ready = self.spool.ready.display();
        let text = format!(
            "[DEFAULT]\nloglevel = warning\n[process]\nsrc-dir = {ready}\nworkers = 1\n[graphite]\nport = {port}\n"
        );
        command("process", &self.directory.join("process.conf"), &text)
    }

    /// One pass whose datapoints are counted, and whose process is looked at when it has sent all of them.
    fn witness(&mut self) -> Outcome<Witness> {
        let (sent, received) = mpsc::channel();
        let (go, gone) = mpsc::channel();
        let mut output = Vec::new();
        let port = sink::open(move |bytes| {
            output.extend_from_slice(bytes);
            if bytes.is_empty() {
                let _ = sent.send(std::mem::take(&mut output));
                let _ = gone.recv();
            }
        })?;
        self.next(None)?.put()?;
        let mut process = self.command(port)?.arg("--once").spawn()?;
        let output = received.recv_timeout(Duration::from_secs(20))?;
        let peak = proc::memory(process.id(), "VmHWM")?;
        go.send(())?;
        let status = process.wait()?;
        let lines = output.split(|byte| *byte == b'\n').count() - 1;
        if !status.success() || lines != DATAPOINTS {
            return Err(format!("{status}, {lines} datapoints").into());
        }
        Ok(Witness { output, peak })
    }

    fn next(&mut self, stock: Option<&Stock>) -> Outcome<Draft> {
        self.time += 1;
        stock.unwrap_or(&self.stock).draft(&self.spool, self.time)
    }

    /// The two halves of the work, without files, threads and connections.
    fn parts(&self, output: &[u8]) -> Outcome<()> {
        let read = |path: PathBuf| Ok((path.to_string_lossy().ends_with("_info"), fs::read_to_string(path)?));
        let texts: Vec<_> = self.stock.files()?.into_iter().map(read).collect::<Outcome<_>>()?;
        let (mut add, mut emit, mut copy) = (Times::default(), Times::default(), Times::default());
        for _ in 0..ROUNDS {
            let (adding, emitting) = in_memory(&texts)?;
            add.push(adding);
            emit.push(emitting);
            let begun = Instant::now();
            copy_in_memory(&texts, output);
            copy.push(begun.elapsed());
        }
        let mut table = Table::new("the parts, in memory", &["", "median", "min", "max"]);
        for (what, times) in [("adding up", &add), ("writing lines", &emit), ("a plain copy", &copy)] {
            table.row([what.into(), millis(times.median()), millis(times.min()), millis(times.max())]);
        }
        table.print();
        Ok(())
    }

    fn passes(&mut self, output: &[u8]) -> Outcome<Passes> {
        let mut all = Passes::default();
        // The first round warms up.
        for round in 0..=ROUNDS {
            let once = self.once()?;
            let (copy, copy_cpu) = self.copy(output)?;
            let mut daemon = Daemon::start(self.command(self.carbon)?)?;
            self.next(None)?.pass()?;
            let (running, running_cpu) = pass(&daemon, &self.next(None)?)?;
            daemon.check()?;
            all.peak = all.peak.max(proc::memory(daemon.pid(), "VmHWM")?);
            if round > 0 {
                all.once.push(once);
                all.running.push(running);
                all.running_cpu.push(running_cpu);
                all.copy.push(copy);
                all.copy_cpu.push(copy_cpu);
            }
        }
        Ok(all)
    }

    /// From the exec to the end.
    fn once(&mut self) -> Outcome<Duration> {
        self.next(None)?.put()?;
        let mut command = self.command(self.carbon)?;
        let begun = Instant::now();
        let status = command.arg("--once").status()?;
        let time = begun.elapsed();
        if status.success() { Ok(time) } else { Err(format!("process --once: {status}").into()) }
    }

    /// Reads what is to be read, and sends what is to be sent; gives the time, and that on a CPU.
    fn copy(&self, output: &[u8]) -> Outcome<(Duration, Duration)> {
        let files = self.stock.files()?;
        let (begun, cpu) = (Instant::now(), proc::own_cpu()?);
        let mut buffer = Vec::new();
        for file in files {
            buffer.clear();
            black_box(File::open(file)?.read_to_end(&mut buffer)?);
        }
        let mut carbon = TcpStream::connect(("127.0.0.1", self.carbon))?;
        for chunk in output.chunks(CHUNK) {
            buffer.clear();
            buffer.extend_from_slice(chunk);
            carbon.write_all(black_box(&buffer))?;
        }
        carbon.shutdown(Shutdown::Write)?;
        // Its end tells that all was read.
        io::copy(&mut carbon, &mut io::sink())?;
        Ok((begun.elapsed(), proc::own_cpu()?.saturating_sub(cpu)))
    }

    /// Snapshots of all sizes, in turns, through one process that runs.
    fn growth(&mut self) -> Outcome<Vec<Growth>> {
        let write = |(processes, percent)| {
            let at = self.directory.join(format!("{processes}-{percent}"));
            fs::create_dir(&at)?;
            Stock::write(&at, processes, LARGE.percent(percent))
        };
        let stocks: Vec<Stock> = SIZES.into_iter().map(write).collect::<Outcome<_>>()?;
        let mut times = vec![(Times::default(), Times::default()); stocks.len()];
        let mut daemon = Daemon::start(self.command(self.carbon)?)?;
        for round in 0..=GROWTH_ROUNDS {
            for (stock, (times, cpus)) in stocks.iter().zip(&mut times) {
                let (time, cpu) = pass(&daemon, &self.next(Some(stock))?)?;
                // The first round warms up.
                if round > 0 {
                    times.push(time);
                    cpus.push(cpu);
                }
                daemon.check()?;
            }
        }
        let growth: Vec<Growth> =
            stocks.iter().zip(&times).map(|(stock, times)| growth(stock, times)).collect();
        tell_growth(&growth);
        Ok(growth)
    }
}

/// From the arrival of a snapshot until it has left; gives the time, and that on a CPU.
fn pass(daemon: &Daemon, draft: &Draft) -> Outcome<(Duration, Duration)> {
    let cpu = proc::cpu(daemon.pid())?;
    let time = draft.pass()?;
    Ok((time, proc::cpu(daemon.pid())?.saturating_sub(cpu)))
}

fn growth(stock: &Stock, (times, cpus): &(Times, Times)) -> Growth {
    Growth {
        processes: stock.processes,
        rows_each: stock.size.rows(),
        time: times.median(),
        cpu: cpus.median(),
    }
}

fn tell_growth(growth: &[Growth]) {
    let mut table =
        Table::new("while it runs, by size", &["", "rows", "median", "CPU time, median", "a row"]);
    for size in growth {
        table.row([
            format!("{} × {}", size.processes, size.rows_each),
            size.rows().to_string(),
            millis(size.time),
            millis(size.cpu),
            micros(size.each()),
        ]);
    }
    table.print();
    let of_four = || growth.iter().filter(|size| size.processes == PROCESSES);
    let small = of_four().min_by_key(|size| size.rows()).map(Growth::each).unwrap_or_default();
    let large = of_four().max_by_key(|size| size.rows()).map(Growth::each).unwrap_or_default();
    let share = ratio(large, small);
    println!(
        "\n  a row of 16 times as many costs {share:.2} times as much: {}",
        aim("≤ 1.25", share <= AIM_GROWTH)
    );
}

impl Passes {
    fn tell(&self, stock: &Stock, witness: &Witness) {
        let mut table = Table::new(
            format!(
                "{PROCESSES} × {} rows, {} bytes, to {DATAPOINTS} datapoints, {} bytes",
                stock.size.rows(),
                stock.bytes,
                witness.output.len()
            ),
            &["", "median", "min", "max", "to the copy"],
        );
        let rows = [
            ("`process --once`, exec to end", &self.once, &self.copy),
            ("`process`, arrival to removal", &self.running, &self.copy),
            ("a plain copy", &self.copy, &self.copy),
            ("`process`, CPU time of a pass", &self.running_cpu, &self.copy_cpu),
            ("a plain copy, CPU time", &self.copy_cpu, &self.copy_cpu),
        ];
        for (what, times, copy) in rows {
            table.row([
                what.into(),
                millis(times.median()),
                millis(times.min()),
                millis(times.max()),
                format!("{:.2}", ratio(times.median(), copy.median())),
            ]);
        }
        table.print();
        println!(
            "\n  peak memory: {} KiB of `process --once`, {} KiB of one that runs",
            witness.peak, self.peak
        );
    }
}

fn tell_aims(passes: &Passes, peak: u64) {
    for (what, times) in [("`process`, a pass", &passes.running), ("`process --once`", &passes.once)] {
        let share = ratio(times.median(), passes.copy.median());
        println!("  {what}, {}", aim("≤ 60 ms", times.median() <= AIM));
        println!("  {what}, {}", aim("≤ 4 × the plain copy", share <= AIM_RATIO));
    }
    println!("  peak memory, {}", aim("≤ 32 MiB", peak <= AIM_MEMORY));
}

const NAMING: Naming<'static> =
    Naming { namespace: "loadbalancers", host: Some("lb-01_example_com"), groups: None };

fn in_memory(texts: &[(bool, String)]) -> Outcome<(Duration, Duration)> {
    let scope = Scope::default();
    let begun = Instant::now();
    let mut aggregate = Aggregate::new(&scope);
    for (is_info, text) in texts {
        if *is_info { aggregate.add_info(text)? } else { aggregate.add_stat(text)? }
    }
    let added = Instant::now();
    let (mut lines, mut out) = (Lines::new(NAMING, TIME), Vec::with_capacity(2 * CHUNK));
    aggregate.emit::<io::Error>(&mut |subject, datapoints| {
        lines.write(subject, datapoints, &mut out);
        if out.len() >= CHUNK {
            black_box(&out);
            out.clear();
        }
        Ok(())
    })?;
    Ok((added - begun, added.elapsed()))
}

fn copy_in_memory(texts: &[(bool, String)], output: &[u8]) {
    let mut buffer = Vec::with_capacity(CHUNK);
    let inputs = texts.iter().map(|(_, text)| text.as_bytes());
    for chunk in inputs.chain([output]).flat_map(|bytes| bytes.chunks(CHUNK)) {
        buffer.clear();
        buffer.extend_from_slice(chunk);
        black_box(&buffer);
    }
}
