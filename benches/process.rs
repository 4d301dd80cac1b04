//! One snapshot of four processes with 100 frontends, 1,000 backends and 10,000 servers each: what it costs to add
//! them up and to write all datapoints, beside a plain copy of the same bytes. The rows are as wide as HAProxy 2.6
//! writes them. Bytes go nowhere, or over loopback to a reader that forgets them.

#![allow(clippy::print_stdout, reason = "a table is what a bench is for")]

mod rig;

use std::fmt::Write as _;
use std::fs::{self, File};
use std::hint::black_box;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rig::Outcome;
use rig::figures::{Table, Times, aim, millis, ratio};
use supervisor_haproxy::stats::aggregate::graphite::{Lines, Naming};
use supervisor_haproxy::stats::aggregate::{Aggregate, Scope};

const PROCESSES: usize = 4;
const FRONTENDS: usize = 100;
const BACKENDS: usize = 1_000;
const SERVERS: usize = 10;
const ROUNDS: usize = 20;
const TIME: u64 = 1_763_690_000;
/// What is written at once.
const CHUNK: usize = 64 * 1024;
/// With `WallClockTime…`, which is not this code's to tell, haproxystats sends 364,154.
const DATAPOINTS: usize = 364_149;
const AIM: Duration = Duration::from_millis(60);
const AIM_RATIO: f64 = 4.0;
const AIM_MEMORY: u64 = 32 << 20;

/// What a process is started with to run one pass and tell its peak memory.
const ALONE: &str = "--one-pass-over";

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|argument| argument == ALONE) {
        let directory = arguments.get(at + 1).ok_or("no directory")?;
        process(Path::new(directory), &mut io::sink())?;
        println!("{}", peak_memory()?);
        return Ok(());
    }
    if !rig::is_asked_for() {
        return Ok(());
    }
    let directory = tempfile::tempdir()?;
    let snapshot = Snapshot::write(directory.path())?;
    snapshot.measure()
}

/// Files on a disk, and what is to be written for them.
struct Snapshot {
    directory: PathBuf,
    bytes: usize,
    output: Vec<u8>,
}

impl Snapshot {
    fn write(directory: &Path) -> Outcome<Self> {
        let mut bytes = 0;
        for process in 1..=PROCESSES {
            for (what, text) in [("info", info(process)), ("stat", stat(process)?)] {
                bytes += text.len();
                fs::write(path(directory, process, what), text)?;
            }
        }
        let mut output = Vec::new();
        process(directory, &mut output)?;
        let lines = output.split(|byte| *byte == b'\n').count() - 1;
        if lines != DATAPOINTS {
            return Err(format!("{lines} datapoints").into());
        }
        Ok(Self { directory: directory.to_owned(), bytes, output })
    }

    fn measure(&self) -> Outcome<()> {
        let mut rows = [
            ("in memory", Times::default(), Times::default()),
            ("to nowhere", Times::default(), Times::default()),
            ("over TCP", Times::default(), Times::default()),
        ];
        let texts = self.texts()?;
        let (mut add, mut emit) = (Times::default(), Times::default());
        let mut tcp = forgetful_reader()?;
        let mut null = File::options().write(true).open("/dev/null")?;
        for _ in 0..ROUNDS {
            let [memory, nowhere, over_tcp] = &mut rows;
            let (adding, emitting) = in_memory(&texts)?;
            add.push(adding);
            emit.push(emitting);
            memory.1.push(adding + emitting);
            memory.2.push(timed(|| {
                copy_in_memory(&texts, &self.output);
                Ok(())
            })?);
            nowhere.1.push(timed(|| process(&self.directory, &mut null))?);
            nowhere.2.push(timed(|| self.copy(&mut null))?);
            over_tcp.1.push(timed(|| process(&self.directory, &mut tcp))?);
            over_tcp.2.push(timed(|| self.copy(&mut tcp))?);
        }
        let mut table = Table::new(
            format!(
                "{PROCESSES} × {} rows, {} bytes, to {DATAPOINTS} datapoints, {} bytes",
                FRONTENDS + BACKENDS * (SERVERS + 1),
                self.bytes,
                self.output.len()
            ),
            &["", "median", "min", "max", "plain copy", "ratio"],
        );
        for (what, times) in [("adding up", &add), ("writing lines", &emit)] {
            table.row([
                what.into(),
                millis(times.median()),
                millis(times.min()),
                millis(times.max()),
                String::new(),
                String::new(),
            ]);
        }
        for (what, times, copy) in &rows {
            let share = ratio(times.median(), copy.median());
            table.row([
                (*what).into(),
                millis(times.median()),
                millis(times.min()),
                millis(times.max()),
                millis(copy.median()),
                format!("{share:.2}"),
            ]);
        }
        table.print();
        self.tell_aims(&rows[2].1, &rows[2].2)
    }

    fn tell_aims(&self, times: &Times, copy: &Times) -> Outcome<()> {
        let peak = self.peak()?;
        let share = ratio(times.median(), copy.median());
        println!("\n  over TCP, {}", aim("≤ 60 ms", times.median() <= AIM));
        println!("  over TCP, {}", aim("≤ 4 × the plain copy", share <= AIM_RATIO));
        println!(
            "  peak memory of a pass in a process of its own: {} KiB, {}",
            peak / 1024,
            aim("≤ 32 MiB", peak <= AIM_MEMORY)
        );
        Ok(())
    }

    fn texts(&self) -> Outcome<Vec<[String; 2]>> {
        let read = |process, what| fs::read_to_string(path(&self.directory, process, what));
        (1..=PROCESSES).map(|process| Ok([read(process, "info")?, read(process, "stat")?])).collect()
    }

    /// Reads what is to be read, and writes what is to be written.
    fn copy(&self, to: &mut impl Write) -> Outcome<()> {
        let mut buffer = Vec::new();
        for process in 1..=PROCESSES {
            for what in ["info", "stat"] {
                buffer.clear();
                black_box(File::open(path(&self.directory, process, what))?.read_to_end(&mut buffer)?);
            }
        }
        buffer.clear();
        for chunk in self.output.chunks(CHUNK) {
            buffer.clear();
            buffer.extend_from_slice(chunk);
            to.write_all(black_box(&buffer))?;
        }
        Ok(())
    }

    fn peak(&self) -> Outcome<u64> {
        let output = Command::new(std::env::current_exe()?).arg(ALONE).arg(&self.directory).output()?;
        Ok(String::from_utf8(output.stdout)?.trim().parse()?)
    }
}

fn timed(run: impl FnOnce() -> Outcome<()>) -> Outcome<Duration> {
    let begun = Instant::now();
    run()?;
    Ok(begun.elapsed())
}

const NAMING: Naming<'static> =
    Naming { namespace: "loadbalancers", host: Some("lb-01_example_com"), groups: None };

/// A whole pass: files are read one by one, lines written as soon as there are enough of them.
fn process(directory: &Path, to: &mut impl Write) -> Outcome<()> {
    let scope = Scope::default();
    let mut aggregate = Aggregate::new(&scope);
    let mut text = String::new();
    for process in 1..=PROCESSES {
        text.clear();
        File::open(path(directory, process, "info"))?.read_to_string(&mut text)?;
        aggregate.add_info(&text)?;
        text.clear();
        File::open(path(directory, process, "stat"))?.read_to_string(&mut text)?;
        aggregate.add_stat(&text)?;
    }
    drop(text);
    let (mut lines, mut out) = (Lines::new(NAMING, TIME), Vec::with_capacity(2 * CHUNK));
    aggregate.emit::<io::Error>(&mut |subject, datapoints| {
        lines.write(subject, datapoints, &mut out);
        if out.len() >= CHUNK {
            to.write_all(&out)?;
            out.clear();
        }
        Ok(())
    })?;
    Ok(to.write_all(&out)?)
}

fn in_memory(texts: &[[String; 2]]) -> Outcome<(Duration, Duration)> {
    let scope = Scope::default();
    let begun = Instant::now();
    let mut aggregate = Aggregate::new(&scope);
    for [info, stat] in texts {
        aggregate.add_info(info)?;
        aggregate.add_stat(stat)?;
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

fn copy_in_memory(texts: &[[String; 2]], output: &[u8]) {
    let mut buffer = Vec::with_capacity(CHUNK);
    let inputs = texts.iter().flatten().map(String::as_bytes);
    for chunk in inputs.chain([output]).flat_map(|bytes| bytes.chunks(CHUNK)) {
        buffer.clear();
        buffer.extend_from_slice(chunk);
        black_box(&buffer);
    }
}

/// A connection to somebody who reads all and keeps nothing.
fn forgetful_reader() -> Outcome<TcpStream> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let stream = TcpStream::connect(listener.local_addr()?)?;
    let (mut other, _) = listener.accept()?;
    thread::spawn(move || {
        let mut buffer = vec![0; 4 * CHUNK];
        while other.read(&mut buffer).is_ok_and(|read| read > 0) {}
    });
    Ok(stream)
}

fn peak_memory() -> Outcome<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024)
}

fn path(directory: &Path, process: usize, what: &str) -> PathBuf {
    directory.join(format!("haproxy{process}.sock_{what}"))
}

const KEYS: &str = include_str!("../tests/data/haproxystats/1457298067/admin1.sock_info");

fn info(process: usize) -> String {
    KEYS.replace("Process_num: 1", &format!("Process_num: {process}"))
}

/// As HAProxy 2.6 writes it.
const COLUMNS: &str = "# pxname,svname,qcur,qmax,scur,smax,slim,stot,bin,bout,dreq,dresp,ereq,econ,eresp,wretr,\
wredis,status,weight,act,bck,chkfail,chkdown,lastchg,downtime,qlimit,pid,iid,sid,throttle,lbtot,tracked,type,rate,\
rate_lim,rate_max,check_status,check_code,check_duration,hrsp_1xx,hrsp_2xx,hrsp_3xx,hrsp_4xx,hrsp_5xx,hrsp_other,\
hanafail,req_rate,req_rate_max,req_tot,cli_abrt,srv_abrt,comp_in,comp_out,comp_byp,comp_rsp,lastsess,last_chk,\
last_agt,qtime,ctime,rtime,ttime,agent_status,agent_code,agent_duration,check_desc,agent_desc,check_rise,check_fall,\
check_health,agent_rise,agent_fall,agent_health,addr,cookie,mode,algo,conn_rate,conn_rate_max,conn_tot,intercepted,\
dcon,dses,wrew,connect,reuse,cache_lookups,cache_hits,srv_icur,src_ilim,qtime_max,ctime_max,rtime_max,ttime_max,eint,\
idle_conn_cur,safe_conn_cur,used_conn_cur,need_conn_est,uweight,agg_server_status,agg_server_check_status,\
agg_check_status,-,ssl_sess,ssl_reused_sess,ssl_failed_handshake,h2_headers_rcvd,h2_data_rcvd,h2_settings_rcvd,\
h2_rst_stream_rcvd,h2_goaway_rcvd,h2_detected_conn_protocol_errors,h2_detected_strm_protocol_errors,\
h2_rst_stream_resp,h2_goaway_resp,h2_open_connections,h2_backend_open_streams,h2_total_connections,\
h2_backend_total_streams,h1_open_connections,h1_open_streams,h1_total_connections,h1_total_streams,h1_bytes_in,\
h1_bytes_out,h1_spliced_bytes_in,h1_spliced_bytes_out,";

/// A frontend's fields after its name and type; `{}` stands for a count.
const FRONTEND: &str = ",,{},{},9985,{},{},{},{},0,{},,,,,OPEN,,,,,,,,,1,2,0,,,,0,{},0,{},,,,0,{},{},{},{},0,,{},{},{},,,0,\
0,0,0,,,,,,,,,,,,,,,,,,,,,http,,{},{},{},0,0,0,0,,,0,0,,,,,,,0,,,,,,,,,-,0,0,0,{},{},0,0,0,0,0,0,0,0,0,0,0,{},{},{},{},{},\
{},0,0,";
const SERVER: &str = "0,{},{},{},,{},{},{},,0,,{},0,{},0,UP,100,1,0,{},{},{},{},,1,3,1,,{},,2,{},,{},L7OK,200,1,0,{},{},{},{},0,\
,,,{},0,0,,,,,{},,,0,{},{},{},,,,Layer7 check passed,,2,3,4,,,,127.0.0.1:8080,,http,,,,,,,,0,{},{},,,0,,0,{},{},{},0,0,0,\
0,1,100,,,,-,0,0,0,,,,,,,,,,,,,,,,,,,,,,";
const BACKEND: &str = "0,{},{},{},999,{},{},{},0,0,,{},0,{},0,UP,1000,10,0,,{},{},0,,1,3,0,,{},,1,{},,{},,,,0,{},{},{},{},0,,,,{},\
0,0,0,0,0,0,{},,,0,{},{},{},,,,,,,,,,,,,,http,roundrobin,,,,,,,0,{},{},0,0,,,0,{},{},{},0,,,,,1000,10,0,0,-,0,0,0,0,0,0,0,\
0,0,0,0,0,0,0,0,0,{},{},{},{},{},{},0,0,";

/// Counts of all lengths, the same in each run.
struct Counts(u64);

impl Counts {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let random = self.0 >> 33;
        random % 10_u64.pow(u32::try_from((random >> 20) % 5).unwrap_or_default() * 2)
    }

    fn row(&mut self, text: &mut String, proxy: &str, server: &str, fields: &str) -> Outcome<()> {
        write!(text, "{proxy},{server},")?;
        for (number, part) in fields.split("{}").enumerate() {
            if number > 0 {
                write!(text, "{}", self.next() + 1)?;
            }
            text.push_str(part);
        }
        text.push('\n');
        Ok(())
    }
}

fn stat(process: usize) -> Outcome<String> {
    let mut text = format!("{COLUMNS}\n");
    let mut counts = Counts(process.try_into()?);
    for frontend in 0..FRONTENDS {
        counts.row(&mut text, &format!("frontend-{frontend:03}.example.com"), "FRONTEND", FRONTEND)?;
    }
    for backend in 0..BACKENDS {
        let name = format!("backend-{backend:04}");
        for server in 0..SERVERS {
            counts.row(&mut text, &name, &format!("server-{backend:04}-{server:02}"), SERVER)?;
        }
        counts.row(&mut text, &name, "BACKEND", BACKEND)?;
    }
    text.push('\n');
    Ok(text)
}
