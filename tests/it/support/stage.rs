//! A port before `serve`, for browsers. What a test has documents for comes from the test, all else from `serve`, byte
//! by byte. Each connection is for one request.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use serde_json::Value;

use super::pause;

/// A path below which all is, too.
pub(crate) const BELOW: &str = "/below/this/";

/// It ends with the process: tests are few.
#[derive(Debug)]
pub(crate) struct Stage {
    address: SocketAddr,
    script: Arc<Mutex<Script>>,
}

#[derive(Debug, Default)]
struct Script {
    /// Documents by `METHOD /path`, whatever the query is.
    documents: BTreeMap<String, (u16, String, Value)>,
    /// What a stream of events begins with; without it, streams are those of `serve`.
    overview: Option<Value>,
    streams: Vec<TcpStream>,
    opened: usize,
    /// All connections, so that they can be cut.
    connections: Vec<TcpStream>,
    /// `METHOD /path?query`.
    requests: Vec<String>,
    token: Option<String>,
    /// `METHOD /path` whose answers are on their way.
    held: Option<String>,
    is_down: bool,
}

impl Stage {
    pub(crate) fn before(serve: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stage = Self { address: listener.local_addr().unwrap(), script: Arc::default() };
        let (script, serve) = (Arc::clone(&stage.script), serve.to_owned());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (script, serve) = (Arc::clone(&script), serve.clone());
                thread::spawn(move || answer(stream, &script, &serve));
            }
        });
        stage
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        lock(&self.script)
    }

    /// What `METHOD /path` gives from now on.
    pub(crate) fn set(&self, request: &str, status: u16, document: Value) {
        self.set_with(request, status, "", document);
    }

    /// With a further line of the head.
    pub(crate) fn set_with(&self, request: &str, status: u16, header: &str, document: Value) {
        self.script().documents.insert(request.to_owned(), (status, header.to_owned(), document));
    }

    /// What streams of events say from now on: those that are open at once, others at their beginning.
    pub(crate) fn tell(&self, overview: &Value) {
        let mut script = self.script();
        script.overview = Some(overview.clone());
        send(&mut script.streams, "overview", overview);
    }

    /// An entry of the history that is new.
    pub(crate) fn happen(&self, entry: &Value) {
        send(&mut self.script().streams, "history", entry);
    }

    /// Answers to `METHOD /path` are made from now on, and arrive when they are released.
    pub(crate) fn hold(&self, request: &str) {
        self.script().held = Some(request.to_owned());
    }

    pub(crate) fn release(&self) {
        self.script().held = None;
    }

    /// Asks for this token from now on.
    pub(crate) fn need(&self, token: &str) {
        self.script().token = Some(token.to_owned());
    }

    /// Ends all connections; `is_down` refuses new ones, too.
    pub(crate) fn cut(&self, is_down: bool) {
        let mut script = self.script();
        script.is_down = is_down;
        script.streams.clear();
        for connection in script.connections.drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    /// Ends streams as `serve` does when they are old: the whole of their body was sent.
    pub(crate) fn end_streams(&self) {
        for mut stream in self.script().streams.drain(..) {
            let _ = stream.write_all(b"0\r\n\r\n");
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Lets connections be again.
    pub(crate) fn resume(&self) {
        self.script().is_down = false;
    }

    /// Streams of events so far.
    pub(crate) fn streams(&self) -> usize {
        self.script().opened
    }

    /// All requests so far, as `METHOD /path?query`.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.script().requests.clone()
    }
}

fn lock(script: &Mutex<Script>) -> MutexGuard<'_, Script> {
    script.lock().unwrap_or_else(PoisonError::into_inner)
}

/// To those who still listen.
fn send(streams: &mut Vec<TcpStream>, name: &str, document: &Value) {
    let event = format!("event: {name}\ndata: {document}\n\n");
    streams.retain_mut(|stream| write!(stream, "{:x}\r\n{event}\r\n", event.len()).is_ok());
}

fn answer(mut client: TcpStream, shared: &Mutex<Script>, serve: &Path) {
    let Some(head) = read_head(&mut client) else { return };
    // As a proxy that has `serve` below a path would do it.
    let head = head.replacen(&format!(" {BELOW}"), " /", 1);
    let Ok(copy) = client.try_clone() else { return };
    let target: Vec<&str> = head.split(' ').take(2).collect();
    let request = target.join(" ");
    let path = request.split('?').next().unwrap_or_default().to_owned();
    let mut script = lock(shared);
    if script.is_down {
        return;
    }
    script.connections.push(copy);
    script.requests.push(request);
    if let Some(refusal) = refusal(&script, &path, &head) {
        let _ = client.write_all(refusal.as_bytes());
    } else if path == "GET /api/events" && script.overview.is_some() {
        open_stream(&mut script, client);
    } else if let Some((status, header, document)) = script.documents.get(&path) {
        let reply = reply(*status, header, document);
        while script.held.as_ref() == Some(&path) {
            drop(script);
            pause();
            script = lock(shared);
        }
        let _ = client.write_all(reply.as_bytes());
    } else {
        drop(script);
        bridge(&client, &head, serve);
    }
}

/// The head of a request; a body is none of this server's.
fn read_head(client: &mut TcpStream) -> Option<String> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if client.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    String::from_utf8(head).ok()
}

fn refusal(script: &Script, path: &str, head: &str) -> Option<String> {
    let token = script.token.as_ref().filter(|_| path.contains(" /api/"))?;
    let is_right =
        head.lines().any(|line| line.eq_ignore_ascii_case(&format!("authorization: bearer {token}")));
    let has_one = head.to_ascii_lowercase().contains("\r\nauthorization:");
    let detail = if has_one { "the token is wrong" } else { "a token is missing" };
    (!is_right).then(|| {
        reply(401, "", &serde_json::json!({ "title": "Unauthorized", "status": 401, "detail": detail }))
    })
}

fn reply(status: u16, header: &str, document: &Value) -> String {
    let kind = if status < 400 { "application/json" } else { "application/problem+json" };
    let (body, end) = (document.to_string(), if header.is_empty() { "" } else { "\r\n" });
    format!(
        "HTTP/1.1 {status} x\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n{header}{end}\r\n{body}",
        body.len()
    )
}

fn open_stream(script: &mut Script, mut client: TcpStream) {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\
                Connection: close\r\n\r\n";
    let hello = "retry: 2000\n\n";
    if write!(client, "{head}{:x}\r\n{hello}\r\n", hello.len()).is_err() {
        return;
    }
    let Some(overview) = script.overview.clone() else { return };
    let mut streams = vec![client];
    send(&mut streams, "overview", &overview);
    script.streams.append(&mut streams);
    script.opened += 1;
}

/// The request goes to `serve`, and bytes both ways until one of them ends.
fn bridge(client: &TcpStream, head: &str, serve: &Path) {
    let Ok(mut peer) = UnixStream::connect(serve) else { return };
    let lines = head.trim_end().lines().filter(|line| !line.to_ascii_lowercase().starts_with("connection:"));
    let head = lines.map(|line| format!("{line}\r\n")).collect::<String>() + "Connection: close\r\n\r\n";
    if peer.write_all(head.as_bytes()).is_err() {
        return;
    }
    let (Ok(mut from_client), Ok(mut to_peer)) = (client.try_clone(), peer.try_clone()) else { return };
    thread::spawn(move || {
        let _ = std::io::copy(&mut from_client, &mut to_peer);
        let _ = to_peer.shutdown(Shutdown::Both);
    });
    let mut to_client = client;
    let _ = std::io::copy(&mut peer, &mut to_client);
    let _ = client.shutdown(Shutdown::Both);
}
