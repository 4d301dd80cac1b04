//! `serve`: how long `/metrics` takes with 10,000 servers, from the request to the last byte, and how many `/healthz` it
//! answers in a second while the bench's own clients use the same cores. In place of HAProxy, a thread of the bench sends
//! a dump made before.

#![allow(clippy::print_stdout, reason = "a table is what a bench is for")]

mod rig;

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rig::command::Daemon;
use rig::figures::{Table, Times, aim, millis};
use rig::snapshot::{self, LARGE};
use rig::{Outcome, proc, wait_until};

const SCRAPES: usize = 200;
/// Often enough that scrapes of the bench meet new checks.
const CHECK_INTERVAL: &str = "1";
const SCRAPE_AIM: Duration = Duration::from_millis(50);
const CLIENTS: usize = 16;
const LOAD: Duration = Duration::from_secs(5);
const LOAD_AIM: usize = 20_000;

fn main() -> Outcome<()> {
    if !rig::is_asked_for() {
        return Ok(());
    }
    let directory = tempfile::tempdir()?;
    let socket = directory.path().join("haproxy.sock");
    haproxy(&socket)?;
    let [port] = rig::free_ports()?;
    let address = format!("127.0.0.1:{port}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_supervisor-haproxy"));
    command
        .args([
            "serve",
            "--history",
            "off",
            "--check-interval",
            CHECK_INTERVAL,
            "--listen",
            &address,
            "--socket",
        ])
        .arg(&socket);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut daemon = Daemon::start(command)?;
    wait_until("a first check", || {
        daemon.check()?;
        let Ok(mut client) = Client::connect(&address) else { return Ok(None) };
        Ok(client.get("/readyz").is_ok().then_some(()))
    })?;
    let scrapes = Scrapes::make(&address, daemon.pid())?;
    let (requests, cpu) = load(&address, daemon.pid())?;
    tell(&scrapes, requests, cpu, proc::memory(daemon.pid(), "VmHWM")?);
    Ok(())
}

fn haproxy(socket: &Path) -> Outcome<()> {
    let reply = format!("{}{}", snapshot::info(1), snapshot::stat(1, LARGE)?);
    let listener = UnixListener::bind(socket)?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Who went away has not got it all, and says so.
            let _ = answer(stream, &reply);
        }
    });
    Ok(())
}

fn answer(mut stream: UnixStream, reply: &str) -> io::Result<()> {
    stream.read_exact(&mut [0; "show info;show stat\n".len()])?;
    stream.write_all(reply.as_bytes())
}

/// One that uses its connection again.
struct Client {
    stream: BufReader<TcpStream>,
    body: Vec<u8>,
}

impl Client {
    fn connect(address: &str) -> Outcome<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::with_capacity(256 * 1024, stream), body: Vec::new() })
    }

    /// Gives the length of the body, which has to be there and whole.
    fn get(&mut self, path: &str) -> Outcome<usize> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
        self.stream.get_mut().write_all(request.as_bytes())?;
        let (mut line, mut length, mut is_first) = (String::new(), 0, true);
        loop {
            line.clear();
            self.stream.read_line(&mut line)?;
            if std::mem::take(&mut is_first) && !line.starts_with("HTTP/1.1 200 ") {
                return Err(line.into());
            }
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.trim().parse()?;
            }
            if line.trim().is_empty() {
                break;
            }
        }
        self.body.resize(length, 0);
        self.stream.read_exact(&mut self.body)?;
        Ok(length)
    }
}

struct Scrapes {
    times: Times,
    bytes: usize,
    /// Of the process, for each scrape; checks included.
    cpu: Duration,
}

impl Scrapes {
    fn make(address: &str, pid: u32) -> Outcome<Self> {
        let mut client = Client::connect(address)?;
        // The first one tells it that somebody scrapes.
        let bytes = client.get("/metrics")?;
        rig::pause(Duration::from_secs(2));
        let (mut times, before) = (Times::default(), proc::cpu(pid)?);
        for _ in 0..SCRAPES {
            let begun = Instant::now();
            client.get("/metrics")?;
            times.push(begun.elapsed());
            rig::pause(Duration::from_millis(25));
        }
        let cpu = proc::cpu(pid)?.saturating_sub(before) / u32::try_from(SCRAPES)?;
        Ok(Self { times, bytes, cpu })
    }
}

/// Requests in all, and the CPU time that the process took for them.
fn load(address: &str, pid: u32) -> Outcome<(usize, Duration)> {
    let before = proc::cpu(pid)?;
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let address = address.to_owned();
            thread::spawn(move || requests(&address).map_err(|error| error.to_string()))
        })
        .collect();
    let mut all = 0;
    for client in clients {
        all += client.join().map_err(|_| "a client panicked")??;
    }
    Ok((all, proc::cpu(pid)?.saturating_sub(before)))
}

fn requests(address: &str) -> Outcome<usize> {
    let (mut client, begun, mut count) = (Client::connect(address)?, Instant::now(), 0);
    while begun.elapsed() < LOAD {
        client.get("/healthz")?;
        count += 1;
    }
    Ok(count)
}

fn tell(scrapes: &Scrapes, requests: usize, cpu: Duration, peak: u64) {
    let times = &scrapes.times;
    let mut table = Table::new(
        format!("/metrics with 10,000 servers, {} MB, {SCRAPES} times", scrapes.bytes / 1_000_000),
        &["", "median", "99%", "longest", "CPU each"],
    );
    let cells = [times.median(), times.p99(), times.max(), scrapes.cpu].map(millis);
    let [median, p99, longest, each] = cells;
    table.row(["request to last byte".into(), median, p99, longest, each]);
    table.print();
    let a_second = requests / usize::try_from(LOAD.as_secs()).unwrap_or(1);
    let mut table =
        Table::new(format!("/healthz, {CLIENTS} clients, {LOAD:?}"), &["", "requests/s", "CPU of serve"]);
    table.row(["kept connections".into(), a_second.to_string(), millis(cpu)]);
    table.print();
    println!("\n  peak memory {} MiB", peak >> 10);
    println!("  {}", aim("/metrics within 50 ms (99%)", times.p99() <= SCRAPE_AIM));
    println!("  {}", aim("/healthz at least 20,000 requests/s", a_second >= LOAD_AIM));
}
