//! A small web app, and those who send requests to it: HTTP/1.1 with as little as it takes.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::{Outcome, pause};

/// How long an app takes before it listens.
pub(crate) const BOOT: Duration = Duration::from_secs(1);
/// How long it works on a request.
pub(crate) const WORK: Duration = Duration::from_millis(50);
/// How long it works on one whose path begins with [`SLOW`].
pub(crate) const SLOW_WORK: Duration = Duration::from_secs(5);
pub(crate) const SLOW: &str = "/slow/";
/// Answered at once.
pub(crate) const CHECK: &str = "/check";

/// Enough that a reply may be cut.
const BODY: [u8; 4096] = [b'.'; 4096];
const LONGEST_HEAD: usize = 8192;
/// Longer than HAProxy gives a server: it is HAProxy that gives up first.
const PATIENCE: Duration = Duration::from_secs(20);

// --- the app

/// Notes its start in the file `starts`, boots, and serves until its stdin ends, as it does with supervisord.
/// Like most programs it ends at SIGTERM at once, whatever it is working on.
pub(crate) fn serve(port: u16, starts: &Path) -> Outcome<()> {
    OpenOptions::new().append(true).create(true).open(starts)?.write_all(b"started\n")?;
    pause(BOOT);
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve_connection(stream));
        }
    });
    io::copy(&mut io::stdin().lock(), &mut io::sink())?;
    Ok(())
}

fn serve_connection(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    loop {
        let (head, _) = read_head(&mut stream)?;
        let path = head.split(' ').nth(1).unwrap_or_default();
        if path != CHECK {
            pause(if path.starts_with(SLOW) { SLOW_WORK } else { WORK });
        }
        let mut reply = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", BODY.len()).into_bytes();
        reply.extend_from_slice(&BODY);
        stream.write_all(&reply)?;
        if closes(&head) {
            return Ok(());
        }
    }
}

/// A head in small letters, and what came behind it.
fn read_head(stream: &mut TcpStream) -> io::Result<(String, Vec<u8>)> {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            return Ok((String::from_utf8_lossy(&bytes).to_ascii_lowercase(), rest));
        }
        let count = stream.read(&mut chunk)?;
        if count == 0 || bytes.len() > LONGEST_HEAD {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(chunk.get(..count).unwrap_or_default());
    }
}

fn value<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim()))
}

fn closes(head: &str) -> bool {
    value(head, "connection") == Some("close")
}

// --- a client

/// Sends one request after the other, each on a connection of its own or all on one.
#[derive(Debug)]
pub(crate) struct Client {
    port: u16,
    keep_alive: bool,
    connection: Option<TcpStream>,
}

impl Client {
    pub(crate) fn new(port: u16, keep_alive: bool) -> Self {
        Self { port, keep_alive, connection: None }
    }

    /// An error is anything but a whole reply of status 200. Nothing is tried again.
    pub(crate) fn get(&mut self, path: &str) -> Result<(), String> {
        let mut stream = match self.connection.take() {
            Some(stream) => stream,
            None => self.connect().map_err(|error| format!("no connection: {}", error.kind()))?,
        };
        let reply = exchange(&mut stream, path, self.keep_alive);
        let (head, length) = reply.map_err(|error| format!("no reply: {}", error.kind()))?;
        let status = head.split(' ').nth(1).unwrap_or_default();
        if status != "200" {
            return Err(format!("status {status}"));
        }
        if length != BODY.len() {
            return Err(format!("{length} bytes of {}", BODY.len()));
        }
        if self.keep_alive && !closes(&head) {
            self.connection = Some(stream);
        }
        Ok(())
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(stream)
    }
}

/// The head of a reply, and how much came of its body.
fn exchange(stream: &mut TcpStream, path: &str, keep_alive: bool) -> io::Result<(String, usize)> {
    let connection = if keep_alive { "keep-alive" } else { "close" };
    let request = format!("GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: {connection}\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let (head, rest) = read_head(stream)?;
    let length: usize = value(&head, "content-length").and_then(|text| text.parse().ok()).unwrap_or_default();
    let mut rest_of_body = stream.take(length.saturating_sub(rest.len()) as u64);
    let count = io::copy(&mut rest_of_body, &mut io::sink())?;
    Ok((head, rest.len() + usize::try_from(count).unwrap_or_default()))
}

// --- load

/// Clients that send requests all the time.
#[derive(Debug)]
pub(crate) struct Load {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<()>>,
}

/// What they count.
#[derive(Debug, Default)]
struct Shared {
    requests: AtomicU64,
    ended: AtomicBool,
    worst: Mutex<Worst>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Worst {
    /// How many requests failed how.
    pub(crate) failures: BTreeMap<String, u64>,
    /// Of those that did not fail.
    pub(crate) slowest: Duration,
}

impl Load {
    pub(crate) fn start(port: u16, connections: usize, keep_alive: bool) -> Self {
        let shared = Arc::new(Shared::default());
        let clients = (0..connections).map(|_| {
            let (shared, client) = (Arc::clone(&shared), Client::new(port, keep_alive));
            thread::spawn(move || shared.visit(client))
        });
        let clients = clients.collect();
        Self { shared, clients }
    }

    pub(crate) fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// Lets requests that are under way come to their end; gives their number and the worst of them.
    pub(crate) fn end(mut self) -> (u64, Worst) {
        self.stop();
        (self.requests(), self.shared.worst.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    fn stop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        for client in self.clients.drain(..) {
            let _ = client.join();
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn visit(&self, mut client: Client) {
        while !self.ended.load(Ordering::Relaxed) {
            let begun = Instant::now();
            let outcome = client.get("/");
            let time = begun.elapsed();
            self.requests.fetch_add(1, Ordering::Relaxed);
            let mut worst = self.worst.lock().unwrap_or_else(PoisonError::into_inner);
            match outcome {
                Ok(()) => worst.slowest = worst.slowest.max(time),
                Err(how) => *worst.failures.entry(how).or_default() += 1,
            }
            drop(worst);
            // One that fails at once is not made up for by more requests that may fail.
            pause(WORK.saturating_sub(time));
        }
    }
}
