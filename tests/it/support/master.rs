//! A real HAProxy in master-worker mode, whose configuration is what the tests change; installed here, or in Docker.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::haproxy::{ask, docker, docker_image, run_container, value};
use super::{Run, Running, eventually, free_port, write_script};

/// HAProxy, its directory, and what its commands are given.
#[derive(Debug)]
pub(crate) struct Master {
    directory: TempDir,
    pub(crate) port: u16,
    engine: Engine,
}

#[derive(Debug)]
enum Engine {
    Local(Child),
    Docker(String),
}

impl Master {
    /// Runs with routes, and says `one` where there is none.
    pub(crate) fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap())
    }

    pub(crate) fn start_in(directory: TempDir) -> Self {
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let port = free_port();
        let path = directory.path().to_owned();
        fs::write(path.join("haproxy.cfg"), configuration(&path, port, "one")).unwrap();
        fs::create_dir(path.join("routes")).unwrap();
        let routes = path.join("routes").display().to_string();
        Run::of(&path, &["routes", "init", "--routes", &routes])
            .expect(0)
            .says("backends.cfg` is made")
            .says("hosts.map` is made");
        let engine = launch(&path);
        let master = Self { directory, port, engine };
        let program = match &master.engine {
            Engine::Local(_) => "exec haproxy \"$@\"".to_owned(),
            Engine::Docker(name) => format!("exec docker exec {name} haproxy \"$@\""),
        };
        master.script("haproxy", &program);
        eventually("HAProxy", || ask(&master.path("admin.sock"), "show info"));
        eventually("its master", || fs::metadata(master.path("master.sock")).ok());
        master
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The text of the main file that says `word`.
    pub(crate) fn configuration(&self, word: &str) -> String {
        configuration(self.directory.path(), self.port, word)
    }

    /// Writes a program into the directory.
    pub(crate) fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        write_script(&path, text);
        path
    }

    /// Writes a candidate that says `word`; gives its name.
    pub(crate) fn candidate(&self, word: &str) -> String {
        let name = format!("{word}.candidate");
        fs::write(self.path(&name), self.configuration(word)).unwrap();
        name
    }

    /// Runs a command to its end, reloading over the master's socket.
    #[track_caller]
    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        self.begin(arguments).wait()
    }

    pub(crate) fn begin(&self, arguments: &[&str]) -> Running {
        self.begin_with(arguments, &["--master-socket", self.path("master.sock").to_str().unwrap()])
    }

    /// With other ways to reload, or other options.
    pub(crate) fn begin_with(&self, arguments: &[&str], options: &[&str]) -> Running {
        let path = |name: &str| self.path(name).to_str().unwrap().to_owned();
        let mut words: Vec<String> = arguments.iter().map(|word| (*word).to_owned()).collect();
        let knows = |option: &str| match arguments {
            ["config", "history", ..] => ["-f", "--routes"].contains(&option),
            ["config", "validate", ..] => ["-f", "--routes", "--haproxy"].contains(&option),
            ["routes", "list", ..] => ["-f", "--routes", "--socket"].contains(&option),
            _ => true,
        };
        let own = [
            ("-f", path("haproxy.cfg")),
            ("-f", path("routes/backends.cfg")),
            ("--routes", path("routes")),
            ("--socket", path("admin.sock")),
            ("--haproxy", path("haproxy")),
        ];
        for (option, value) in own {
            if knows(option) && !options.contains(&option) {
                words.extend([option.to_owned(), value]);
            }
        }
        if knows("--master-socket") {
            words.extend(options.iter().map(|word| (*word).to_owned()));
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        Running::start(self.directory.path(), &words)
    }

    /// What a shell runs to reload it.
    pub(crate) fn reload_command(&self) -> String {
        match &self.engine {
            Engine::Local(child) => format!("kill -USR2 {}", child.id()),
            Engine::Docker(name) => format!("docker kill --signal USR2 {name} >/dev/null"),
        }
    }

    /// Ends it for good.
    #[cfg(feature = "web")]
    pub(crate) fn stop(&self) {
        match &self.engine {
            Engine::Local(child) => {
                kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
            }
            Engine::Docker(name) => docker(&["stop", name]),
        }
    }

    /// The master's pid, as this side sees it.
    pub(crate) fn pid(&self) -> String {
        match &self.engine {
            Engine::Local(child) => child.id().to_string(),
            Engine::Docker(name) => {
                let output =
                    Command::new("docker").args(["inspect", "-f", "{{.State.Pid}}", name]).output().unwrap();
                String::from_utf8(output.stdout).unwrap().trim().to_owned()
            }
        }
    }

    #[track_caller]
    pub(crate) fn ask(&self, command: &str) -> String {
        eventually(&format!("a reply to `{command}`"), || ask(&self.path("admin.sock"), command))
    }

    pub(crate) fn worker(&self) -> String {
        value(&self.ask("show info"), "Pid")
    }

    pub(crate) fn main_file(&self) -> String {
        fs::read_to_string(self.path("haproxy.cfg")).unwrap()
    }

    /// What is answered to a request for a host.
    pub(crate) fn get(&self, host: &str) -> Result<String, String> {
        get(self.port, host)
    }

    /// Requests without a pause from several clients; each has to be answered with `word`.
    pub(crate) fn traffic(&self, clients: usize, host: &str, word: &str) -> Traffic {
        let (over, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let client = |_| {
            let (port, host, word) = (self.port, host.to_owned(), word.to_owned());
            let (over, count) = (Arc::clone(&over), Arc::clone(&count));
            std::thread::spawn(move || {
                let mut failures = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    let answer = get(port, &host);
                    failures.extend((answer.as_ref() != Ok(&word)).then(|| format!("{answer:?}")));
                    count.fetch_add(1, Ordering::Relaxed);
                }
                failures
            })
        };
        let clients = (0..clients).map(client).collect();
        Traffic { over, count, clients }
    }
}

fn configuration(directory: &Path, port: u16, word: &str) -> String {
    let directory = directory.display();
    format!(
        "global
    stats socket {directory}/admin.sock mode 666 level admin expose-fd listeners

defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s

frontend front
    bind 127.0.0.1:{port}
    use_backend %[req.hdr(host),lower,field(1,:),map({directory}/routes/hosts.map)]
    default_backend fallback

backend fallback
    http-request return status 200 content-type text/plain string {word} if TRUE
"
    )
}

fn launch(directory: &Path) -> Engine {
    let path = |name: &str| directory.join(name).to_str().unwrap().to_owned();
    let arguments = [
        "-W",
        "-db",
        "-S",
        &path("master.sock"),
        "-p",
        &path("pid"),
        "-f",
        &path("haproxy.cfg"),
        "-f",
        &path("routes/backends.cfg"),
    ];
    if let Some(image) = docker_image() {
        return Engine::Docker(run_container(&image, directory, &arguments));
    }
    let log = File::create(directory.join("log")).unwrap();
    let mut command = Command::new("haproxy");
    command.args(arguments).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    Engine::Local(command.spawn().expect("haproxy is not installed"))
}

impl Drop for Master {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of HAProxy\n{}", fs::read_to_string(self.path("log")).unwrap_or_default());
            eprintln!("--- its configuration\n{}", self.main_file());
        }
        match &mut self.engine {
            Engine::Local(child) => {
                let _ = kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM);
                let _ = child.wait();
            }
            Engine::Docker(name) => docker(&["rm", "--force", name]),
        }
    }
}

/// Requests that go on while the test does.
#[derive(Debug)]
pub(crate) struct Traffic {
    over: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Vec<String>>>,
}

impl Traffic {
    /// Ends it; gives the number of requests, and what went wrong how often.
    pub(crate) fn stop(self) -> (usize, BTreeMap<String, usize>) {
        self.over.store(true, Ordering::Relaxed);
        let mut failures = BTreeMap::new();
        for failure in self.clients.into_iter().flat_map(|client| client.join().unwrap()) {
            *failures.entry(failure).or_default() += 1;
        }
        (self.count.load(Ordering::Relaxed), failures)
    }
}

fn get(port: u16, host: &str) -> Result<String, String> {
    let text = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).map_err(text)?;
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(text)?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply).map_err(text)?;
    match reply.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200 ") => Ok(body.to_owned()),
        _ => Err(reply.lines().next().unwrap_or("no reply").to_owned()),
    }
}

/// A web server that answers each request with one word, until the test ends; gives its port.
pub(crate) fn web_server(word: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || answer(stream.unwrap(), word));
        }
    });
    port
}

fn answer(mut stream: TcpStream, word: &str) -> std::io::Result<()> {
    let mut request = Vec::new();
    let mut chunk = [0; 4096];
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read(&mut chunk)? {
            0 => return Ok(()),
            count => request.extend_from_slice(&chunk[..count]),
        }
    }
    let length = word.len();
    stream.write_all(
        format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{word}").as_bytes(),
    )
}
