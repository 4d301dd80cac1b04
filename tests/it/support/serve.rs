//! `serve`, and a client of it that writes what no library would.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::{BINARY, DEADLINE, eventually};

pub(crate) const TOKEN: &str = "token-0123456789abcdef";
pub(crate) const ADMIN_KEY: &str = "admin-0123456789abcdef";

#[derive(Debug)]
pub(crate) struct Serve {
    child: Child,
    pub(crate) socket: PathBuf,
    log: PathBuf,
}

/// An answer, taken apart.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n")?;
        let mut lines = head.lines();
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers = lines.filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
        Some(Self { status, headers, body: body.to_owned() })
    }

    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:#?}");
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }

    /// Expects problem details whose detail holds this text.
    #[track_caller]
    pub(crate) fn is_problem(&self, detail: &str) -> Value {
        assert_eq!(
            self.headers.get("content-type").map(String::as_str),
            Some("application/problem+json"),
            "{self:#?}"
        );
        let problem = self.json();
        assert_eq!(problem["status"], self.status, "{self:#?}");
        for member in ["type", "title", "detail"] {
            assert!(problem[member].as_str().is_some_and(|text| !text.is_empty()), "{member}: {self:#?}");
        }
        assert!(problem["detail"].as_str().unwrap().contains(detail), "no `{detail}` in {self:#?}");
        problem
    }
}

/// A file that only its owner may read.
pub(crate) fn secret(directory: &Path, name: &str, text: &str) -> PathBuf {
    let path = directory.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

impl Serve {
    /// Listens at `serve.sock` in the directory, with a token and an admin key, and checks ten times a second.
    #[track_caller]
    pub(crate) fn start(directory: &Path, haproxy: &Path, options: &[&str]) -> Self {
        Self::start_of(Path::new(BINARY), directory, haproxy, options, &[])
    }

    /// With these variables as well.
    #[track_caller]
    pub(crate) fn start_with(
        directory: &Path,
        haproxy: &Path,
        options: &[&str],
        variables: &[(&str, &str)],
    ) -> Self {
        Self::start_of(Path::new(BINARY), directory, haproxy, options, variables)
    }

    /// Another copy of the program.
    #[track_caller]
    pub(crate) fn start_of(
        program: &Path,
        directory: &Path,
        haproxy: &Path,
        options: &[&str],
        variables: &[(&str, &str)],
    ) -> Self {
        let socket = directory.join("serve.sock");
        let log = directory.join("serve.log");
        let mut command = Command::new(program);
        command.arg("serve");
        // What a test says itself outweighs a variable.
        for (name, value) in [("CHECK_INTERVAL", "0.1"), ("TIMEOUT", "5"), ("BREAKER_RESET", "0.5")] {
            command.env(format!("SUPERVISOR_HAPROXY_SERVE_{name}"), value);
        }
        command.env("SUPERVISOR_HAPROXY_SERVE_HISTORY", directory.join("history.sqlite"));
        command.arg("--listen").arg(&socket).arg("--socket").arg(haproxy);
        command.arg("--token-file").arg(secret(directory, "token", TOKEN));
        command.arg("--admin-key-file").arg(secret(directory, "key", ADMIN_KEY)).args(options);
        command.envs(variables.iter().copied());
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log).unwrap());
        let serve = Self { child: child.spawn().unwrap(), socket, log };
        eventually("serve", || serve.try_get("/healthz").map(drop));
        serve
    }

    /// One that somebody else has started.
    pub(crate) fn get_at(socket: &Path, path: &str) -> Option<Answer> {
        send(socket, request("GET", path, &[], "").as_bytes())
    }

    pub(crate) fn try_get(&self, path: &str) -> Option<Answer> {
        Self::get_at(&self.socket, path)
    }

    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Answer {
        self.try_get(path).unwrap_or_else(|| panic!("no answer to {path}: {}", self.log()))
    }

    /// With these lines of the head.
    #[track_caller]
    pub(crate) fn ask(&self, method: &str, path: &str, headers: &[&str], body: &str) -> Answer {
        self.send(request(method, path, headers, body).as_bytes())
    }

    /// As somebody who may do all.
    #[track_caller]
    pub(crate) fn ask_as_admin(&self, method: &str, path: &str, headers: &[&str], body: &str) -> Answer {
        let keys = [format!("Authorization: Bearer {TOKEN}"), format!("X-Admin-Key: {ADMIN_KEY}")];
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        self.ask(method, path, &[&keys, headers].concat(), body)
    }

    /// Asks for a restart, of one that somebody else has started.
    pub(crate) fn recover_at(socket: &Path, body: &str) -> Option<Answer> {
        let authorization = format!("Authorization: Bearer {TOKEN}");
        let (key, mut headers) = (format!("X-Admin-Key: {ADMIN_KEY}"), vec![authorization.as_str()]);
        headers.push(&key);
        if !body.is_empty() {
            headers.push("Content-Type: application/json");
        }
        send(socket, request("POST", "/api/health/haproxy/recover", &headers, body).as_bytes())
    }

    /// Asks for a restart.
    #[track_caller]
    pub(crate) fn recover(&self, body: &str) -> Answer {
        Self::recover_at(&self.socket, body).unwrap_or_else(|| panic!("no answer: {}", self.log()))
    }

    /// Sends these bytes, and reads until the connection ends.
    #[track_caller]
    pub(crate) fn send(&self, bytes: &[u8]) -> Answer {
        send(&self.socket, bytes).unwrap_or_else(|| panic!("no answer: {}", self.log()))
    }

    pub(crate) fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(&self.socket).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream
    }

    /// `health` of the document on HAProxy.
    #[track_caller]
    pub(crate) fn health(&self) -> Value {
        self.get("/api/health/haproxy").expect(200).json()["health"].clone()
    }

    /// Waits until the document is as it should be, and gives it.
    #[track_caller]
    pub(crate) fn expect(&self, what: &str, mut is_so: impl FnMut(&Value) -> bool) -> Value {
        eventually(what, || Some(self.health()).filter(|health| is_so(health)))
    }

    #[track_caller]
    pub(crate) fn expect_status(&self, status: &str) -> Value {
        self.expect(&format!("{status} of {}", self.health()), |health| health["status"] == status)
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Memory that it really has, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
        kilobytes * 1024
    }

    /// Ends it as the kernel does when memory is short.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn ask_to_end(&self) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), Signal::SIGTERM).unwrap();
    }

    /// Asks it to end, and gives its exit code.
    #[track_caller]
    pub(crate) fn end(&mut self) -> Option<i32> {
        self.ask_to_end();
        eventually("the end of serve", || self.child.try_wait().unwrap()).code()
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of serve\n{}", self.log());
        }
    }
}

fn request(method: &str, path: &str, headers: &[&str], body: &str) -> String {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
    for header in headers {
        text += header;
        text += "\r\n";
    }
    if !body.is_empty() {
        write!(text, "Content-Length: {}\r\n", body.len()).unwrap();
    }
    text + "\r\n" + body
}

/// What somebody answers at a port of this machine; none where nobody does.
pub(crate) fn ask_port(port: u16, method: &str, path: &str, headers: &[&str]) -> Option<Answer> {
    send_to_port(port, request(method, path, headers, "").as_bytes())
}

pub(super) fn send_to_port(port: u16, bytes: &[u8]) -> Option<Answer> {
    let stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    exchange(stream, bytes)
}

fn send(socket: &Path, bytes: &[u8]) -> Option<Answer> {
    let stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    exchange(stream, bytes)
}

fn exchange(mut stream: impl Read + Write, bytes: &[u8]) -> Option<Answer> {
    // It may have answered and closed before all is written.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    Answer::parse(&answer)
}
