//! A real HAProxy: the one installed here, or one in Docker.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::eventually;

#[derive(Debug)]
pub(crate) struct Haproxy {
    directory: PathBuf,
    pub(crate) socket: PathBuf,
    engine: Engine,
}

#[derive(Debug)]
enum Engine {
    Local(Option<Child>),
    Docker { image: String, name: Option<String> },
}

impl Haproxy {
    /// Starts one with an admin socket and these servers in the backend `app`: `name address options`. All but
    /// trackers start in maint, so that `ready` shows that the listener has set it.
    pub(crate) fn start(directory: &Path, servers: &[&str]) -> Self {
        Self::start_with(directory, "", servers)
    }

    /// With further lines for the `global` section.
    pub(crate) fn start_with(directory: &Path, global: &str, servers: &[&str]) -> Self {
        Self::start_as(directory, "haproxy", global, servers)
    }

    /// With another name than `haproxy`, where two live in one directory.
    pub(crate) fn start_as(directory: &Path, name: &str, global: &str, servers: &[&str]) -> Self {
        let socket = directory.join(format!("{name}.sock"));
        let engine = match docker_image() {
            Some(image) => Engine::Docker { image, name: None },
            None => Engine::Local(None),
        };
        let directory = directory.join(name);
        fs::create_dir(&directory).unwrap();
        let mut haproxy = Self { directory, socket, engine };
        haproxy.configure(global, servers);
        haproxy.launch();
        haproxy
    }

    pub(crate) fn configure(&self, global: &str, servers: &[&str]) {
        let level = if global.contains("stats socket operator") { "operator" } else { "admin" };
        let socket = self.socket.display();
        let disabled = |line: &str| if line.contains(" track ") { "" } else { " disabled" };
        let servers: String =
            servers.iter().map(|line| format!("  server {line}{}\n", disabled(line))).collect();
        let front = self.socket.with_extension("front").display().to_string();
        let text = format!(
            "global\n  stats socket {socket} mode 666 level {level}\n{}\n\
             defaults\n  mode http\n  retries 0\n  timeout connect 1s\n  timeout client 60s\n  timeout server 60s\n\
             frontend front\n  bind {front} mode 666\n  default_backend app\n\
             backend app\n{servers}",
            global.replace("stats socket operator", ""),
        );
        fs::write(self.config(), text).unwrap();
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.directory.join("haproxy.cfg")
    }

    /// Starts it (again) and waits for its socket.
    pub(crate) fn launch(&mut self) {
        let config = self.config();
        let log = File::options().create(true).append(true).open(self.directory.join("log")).unwrap();
        match &mut self.engine {
            Engine::Local(child) => {
                let mut command = Command::new("haproxy");
                command.args(["-W", "-db", "-f"]).arg(config).stdin(Stdio::null());
                command.stdout(log.try_clone().unwrap()).stderr(log);
                *child = Some(command.spawn().expect("haproxy is not installed"));
            }
            Engine::Docker { image, name } => {
                let (directory, config) = (self.socket.parent().unwrap(), config.display().to_string());
                *name = Some(run_container(image, directory, &["-W", "-db", "-f", &config]));
            }
        }
        let socket = self.socket.clone();
        eventually("HAProxy's socket", || ask(&socket, "show info").map(|_| ()));
    }

    /// Ends it at once.
    pub(crate) fn stop(&mut self) {
        match &mut self.engine {
            Engine::Local(child) => {
                if let Some(mut child) = child.take() {
                    // SIGTERM to the master ends its workers too.
                    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
                    child.wait().unwrap();
                }
            }
            Engine::Docker { name, .. } => {
                if let Some(name) = name.take() {
                    docker(&["rm", "--force", &name]);
                }
            }
        }
        let socket = self.socket.clone();
        eventually("HAProxy's end", || ask(&socket, "show info").is_none().then_some(()));
    }

    /// Kills it, as the kernel does when memory is short.
    #[cfg(feature = "web")]
    pub(crate) fn kill(&mut self) {
        match &mut self.engine {
            Engine::Local(_) => {
                let worker = self.ask("show info");
                if let Engine::Local(Some(mut child)) =
                    std::mem::replace(&mut self.engine, Engine::Local(None))
                {
                    child.kill().unwrap();
                    child.wait().unwrap();
                }
                let _ = kill(Pid::from_raw(value(&worker, "Pid").parse().unwrap()), Signal::SIGKILL);
            }
            Engine::Docker { name, .. } => docker(&["kill", name.as_ref().unwrap()]),
        }
    }

    /// The options with which `serve` brings it back.
    #[cfg(feature = "web")]
    pub(crate) fn recovery(&self) -> [String; 2] {
        match &self.engine {
            Engine::Local(_) => ["--recover".into(), format!("haproxy -D -f {}", self.config().display())],
            Engine::Docker { name, .. } => ["--recover-container".into(), name.clone().unwrap()],
        }
    }

    /// Reloads its configuration, as `systemctl reload` does.
    pub(crate) fn reload(&self) {
        let before = self.worker();
        match &self.engine {
            Engine::Local(child) => {
                let id = child.as_ref().unwrap().id();
                kill(Pid::from_raw(i32::try_from(id).unwrap()), Signal::SIGUSR2).unwrap();
            }
            Engine::Docker { name, .. } => docker(&["kill", "--signal", "USR2", name.as_ref().unwrap()]),
        }
        let after = || self.try_ask("show info").map(|info| value(&info, "Pid"));
        eventually("another worker", || after().filter(|pid| *pid != before));
    }

    fn worker(&self) -> String {
        value(&self.ask("show info"), "Pid")
    }

    /// Freezes or thaws it; for a local one.
    pub(crate) fn signal_worker(&self, signal: Signal) {
        match &self.engine {
            Engine::Local(_) => kill(Pid::from_raw(self.worker_pid()), signal).unwrap(),
            Engine::Docker { name, .. } => {
                let verb = if signal == Signal::SIGSTOP { "pause" } else { "unpause" };
                docker(&[verb, name.as_ref().unwrap()]);
            }
        }
    }

    fn worker_pid(&self) -> i32 {
        let path = self.directory.join("worker");
        if let Ok(text) = fs::read_to_string(&path) {
            return text.parse().unwrap();
        }
        let pid = self.worker();
        fs::write(path, &pid).unwrap();
        pid.parse().unwrap()
    }

    #[track_caller]
    pub(crate) fn ask(&self, command: &str) -> String {
        eventually(&format!("a reply to `{command}`"), || self.try_ask(command))
    }

    fn try_ask(&self, command: &str) -> Option<String> {
        ask(&self.socket, command)
    }

    /// The status of each server of `app`, by name.
    #[track_caller]
    pub(crate) fn statuses(&self) -> BTreeMap<String, String> {
        let text = self.ask("show stat app 4 -1");
        let mut lines = text.lines();
        let header: Vec<&str> = lines.next().unwrap().split(',').collect();
        let status = header.iter().position(|name| *name == "status").unwrap();
        lines
            .map(|line| line.split(',').collect::<Vec<_>>())
            .filter(|fields| fields.len() > status)
            .map(|fields| (fields[1].to_owned(), fields[status].to_owned()))
            .collect()
    }

    /// A count of one proxy: a frontend's are of type 1, a backend's of type 2 (management guide, `show stat`).
    #[track_caller]
    pub(crate) fn count(&self, proxy: &str, kind: u8, name: &str) -> u64 {
        let text = self.ask(&format!("show stat {proxy} {kind} -1"));
        let mut rows = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
        let column = rows.next().unwrap().iter().position(|column| *column == name).unwrap();
        rows.next().unwrap()[column].parse().unwrap()
    }

    /// The administrative state of each server of `app`, beneath what `show stat` shows.
    #[track_caller]
    pub(crate) fn admin(&self, server: &str) -> &'static str {
        let text = self.ask("show servers state app");
        let row = text.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let row = row.into_iter().find(|fields| fields.get(3) == Some(&server));
        let mask: u32 = row.unwrap_or_else(|| panic!("no server {server} in {text}"))[6].parse().unwrap();
        match mask {
            mask if mask & 1 != 0 => "maint",
            mask if mask & 8 != 0 => "drain",
            _ => "ready",
        }
    }

    #[track_caller]
    pub(crate) fn expect(&self, server: &str, admin: &str) {
        eventually(&format!("`{server}` in {admin}"), || (self.admin(server) == admin).then_some(()));
    }

    #[track_caller]
    pub(crate) fn expect_status(&self, server: &str, status: &str) {
        let what = format!("`{server}` with status {status}");
        eventually(&what, || (self.statuses().get(server).map(String::as_str) == Some(status)).then_some(()));
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- HAProxy: {:?}", self.try_ask("show servers state app"));
            eprintln!("--- log of HAProxy\n{}", fs::read_to_string(self.directory.join("log")).unwrap());
        }
        match &mut self.engine {
            Engine::Local(Some(child)) => {
                let _ = kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM);
                let _ = child.wait();
            }
            Engine::Docker { name: Some(name), .. } => docker(&["rm", "--force", name]),
            // Somebody else may have brought it back.
            Engine::Local(None) => {
                let pid = self.try_ask("show info").and_then(|info| value(&info, "Pid").parse().ok());
                if let Some(pid) = pid {
                    let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
                }
            }
            Engine::Docker { name: None, .. } => {}
        }
    }
}

/// Where the tests run with a HAProxy in Docker.
pub(super) fn docker_image() -> Option<String> {
    let version = std::env::var("HAPROXY_VERSION").ok()?;
    Some(format!("supervisor-haproxy/haproxy:{version}"))
}

/// With a directory that is the same inside; gives its name.
pub(super) fn run_container(image: &str, directory: &Path, arguments: &[&str]) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name =
        format!("supervisor-haproxy-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let directory = directory.display();
    let volume = format!("{directory}:{directory}");
    let run = [
        "run",
        "--detach",
        "--network",
        "host",
        "--label",
        "supervisor-haproxy.test=1",
        "--name",
        &name,
        "--volume",
        &volume,
        image,
    ];
    docker(&[&run[..], arguments].concat());
    name
}

#[track_caller]
pub(super) fn docker(arguments: &[&str]) {
    let output = Command::new("docker").args(arguments).output().expect("docker is not installed");
    assert!(output.status.success(), "docker {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

pub(super) fn ask(socket: &Path, command: &str) -> Option<String> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.write_all(format!("{command}\n").as_bytes()).ok()?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply).ok()?;
    Some(reply).filter(|reply| !reply.is_empty())
}

pub(super) fn value(info: &str, key: &str) -> String {
    let prefix = format!("{key}: ");
    info.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap_or_default().to_owned()
}

/// A port that nobody listens on, and that no other test is given. It lies below those that the kernel chooses from
/// (32768 and up): a port of those can become anybody's at any moment.
pub(crate) fn free_port() -> u16 {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    loop {
        // Test programs that run side by side begin far from each other.
        let step = std::process::id() % 20_000 * 1009 + GIVEN.fetch_add(1, Ordering::Relaxed);
        let address = ("127.0.0.1", 12_000 + u16::try_from(step % 20_000).unwrap());
        if TcpStream::connect(address).is_err() && UdpSocket::bind(address).is_ok() {
            return address.1;
        }
    }
}
