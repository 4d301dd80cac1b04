//! A real supervisord, with the listener in it.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::haproxy::free_port;
use super::{BINARY, Haproxy, eventually};

#[derive(Debug)]
pub(crate) struct Supervisord {
    directory: PathBuf,
    child: Option<Child>,
}

/// A `[program:…]` section.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    name: String,
    command: String,
    lines: String,
}

impl Program {
    pub(crate) fn new(name: &str, command: &str) -> Self {
        Self { name: name.into(), command: command.into(), lines: String::new() }
    }

    /// A process that stays and does nothing.
    pub(crate) fn idle(name: &str) -> Self {
        Self::new(name, "/bin/sleep 1000")
    }

    /// A web server, which listens `delay` seconds after its start.
    pub(crate) fn web(name: &str, port: u16, delay: f64) -> Self {
        let code = format!(
            "import time; time.sleep({delay}); import http.server as h; \
             h.ThreadingHTTPServer((\\'127.0.0.1\\', {port}), h.BaseHTTPRequestHandler).serve_forever()"
        )
        .replace("\\'", "'");
        Self::new(name, &format!("python3 -c \"{code}\""))
    }

    /// A web server that answers `GET /N` after N seconds, and listens `boot` seconds after its start.
    pub(crate) fn app(name: &str, port: u16, boot: f64) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/app.py");
        Self::new(name, &format!("python3 {script} {port} {boot}"))
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// It goes on when it is asked to end.
    pub(crate) fn ignoring_sigterm(self) -> Self {
        self.behind("trap '' TERM")
    }

    /// It ends at once while there is a file of this name beside supervisord's configuration.
    pub(crate) fn unless(self, file: &str) -> Self {
        self.behind(&format!("test ! -e %(here)s/{file} || exit 1"))
    }

    fn behind(self, line: &str) -> Self {
        let command = format!("/bin/sh -c \"{line}; exec {}\"", self.command);
        Self { command, ..self }
    }

    /// A further line of its section.
    pub(crate) fn with(mut self, line: &str) -> Self {
        self.lines += line;
        self.lines.push('\n');
        self
    }

    fn section(&self) -> String {
        let Self { name, command, lines } = self;
        format!("[program:{name}]\ncommand={command}\nstdout_logfile=NONE\nstderr_logfile=NONE\n{lines}\n")
    }
}

impl Supervisord {
    /// The configuration with the listener's recommended settings; `listener` are its arguments.
    pub(crate) fn configure(directory: &Path, listener: &str, programs: &[Program]) {
        let events = "events=PROCESS_STATE,PROCESS_GROUP,SUPERVISOR_STATE_CHANGE,REMOTE_COMMUNICATION\nbuffer_size=256\n\
             priority=-7\n";
        Self::write(directory, "[unix_http_server]\nfile=%(here)s/s.sock\n", listener, events, programs);
    }

    /// `server` is the section of supervisord's own HTTP server, `options` are further lines of the listener's
    /// section.
    pub(crate) fn write(directory: &Path, server: &str, listener: &str, options: &str, programs: &[Program]) {
        let programs: String = programs.iter().map(Program::section).collect();
        let text = format!(
            "[supervisord]\nlogfile=%(here)s/supervisord.log\npidfile=%(here)s/supervisord.pid\nloglevel=trace\n\
             {server}\n\
             [rpcinterface:supervisor]\nsupervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n\
             [supervisorctl]\nserverurl=unix://%(here)s/s.sock\n\
             [eventlistener:listener]\ncommand={BINARY} -v {listener}\nstdout_logfile=NONE\n\
             stderr_logfile=%(here)s/listener.log\n{options}\n{programs}"
        );
        fs::write(directory.join("supervisord.conf"), text).unwrap();
    }

    pub(crate) fn start(directory: &Path) -> Self {
        let log = File::create(directory.join("supervisord.out")).unwrap();
        let child = Command::new("supervisord")
            .args(["--nodaemon", "--configuration"])
            .arg(directory.join("supervisord.conf"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("supervisord is not installed");
        Self { directory: directory.to_owned(), child: Some(child) }
    }

    /// Runs supervisorctl; gives what it prints.
    pub(crate) fn ctl(&self, arguments: &[&str]) -> String {
        let output = Command::new("supervisorctl")
            .arg("--configuration")
            .arg(self.directory.join("supervisord.conf"))
            .args(arguments)
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    }

    /// supervisord's word for a process, `""` where it has none.
    pub(crate) fn state(&self, name: &str) -> String {
        self.info(name, "statename").unwrap_or_default()
    }

    /// A member of `getProcessInfo`. supervisorctl would take a tenth of a second for it.
    fn info(&self, name: &str, member: &str) -> Option<String> {
        let reply = self.call("getProcessInfo", &[name])?;
        let (_, rest) = reply.split_once(&format!("<name>{member}</name>"))?;
        let value = rest.split("</").next()?;
        Some(value.rsplit('>').next()?.to_owned())
    }

    /// Tells all listeners that want `REMOTE_COMMUNICATION`.
    #[track_caller]
    pub(crate) fn remote(&self, kind: &str, data: &str) {
        let reply = self.call("sendRemoteCommEvent", &[kind, data]).unwrap_or_default();
        assert!(reply.contains("<boolean>1</boolean>"), "{reply}");
    }

    /// The reply to a method of XML-RPC that takes texts.
    fn call(&self, method: &str, texts: &[&str]) -> Option<String> {
        let escaped = |text: &&str| text.replace('&', "&amp;").replace('<', "&lt;");
        let parameters: String = texts
            .iter()
            .map(|text| format!("<param><value><string>{}</string></value></param>", escaped(text)))
            .collect();
        let body = format!(
            "<methodCall><methodName>supervisor.{method}</methodName><params>{parameters}</params></methodCall>"
        );
        let mut stream = UnixStream::connect(self.directory.join("s.sock")).ok()?;
        let length = body.len();
        let head =
            format!("POST /RPC2 HTTP/1.0\r\nContent-Type: text/xml\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all((head + &body).as_bytes()).ok()?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply).ok()?;
        Some(reply)
    }

    #[track_caller]
    pub(crate) fn expect(&self, name: &str, state: &str) {
        eventually(&format!("`{name}` in {state}"), || (self.state(name) == state).then_some(()));
    }

    #[track_caller]
    pub(crate) fn pid(&self, name: &str) -> Pid {
        eventually(&format!("the pid of `{name}`"), || {
            let pid: i32 = self.info(name, "pid")?.parse().ok()?;
            (pid > 0).then(|| Pid::from_raw(pid))
        })
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id = self.child.as_ref().unwrap().id();
        kill(Pid::from_raw(i32::try_from(id).unwrap()), signal).unwrap();
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn wait(&mut self) {
        let child = self.child.as_mut().unwrap();
        eventually("the end of supervisord", || child.try_wait().unwrap());
        self.child = None;
    }

    /// What supervisord itself logged.
    pub(crate) fn own_log(&self) -> String {
        fs::read_to_string(self.directory.join("supervisord.log")).unwrap_or_default()
    }

    /// What the listener logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.join("listener.log")).unwrap_or_default()
    }

    #[track_caller]
    pub(crate) fn expect_log(&self, text: &str) {
        eventually(&format!("`{text}` in the listener's log"), || self.log().contains(text).then_some(()));
    }
}

impl Drop for Supervisord {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // All its programs are asked to end, and killed if they do not.
            let _ = kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM);
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- log of the listener\n{}", self.log());
            let log = self.own_log();
            let tail: Vec<&str> = log.lines().rev().take(40).collect();
            eprintln!("--- log of supervisord, newest first\n{}", tail.join("\n"));
        }
    }
}

/// A real supervisord and a real HAProxy with the listener between them, in a directory of their own.
#[derive(Debug)]
pub(crate) struct World {
    // Dropped in this order: supervisord ends its children before HAProxy and the directory go.
    pub(crate) supervisord: Supervisord,
    pub(crate) haproxy: Haproxy,
    directory: TempDir,
}

impl World {
    /// One server for each program, by its name and without checks.
    pub(crate) fn idle(programs: &[&str]) -> Self {
        let programs: Vec<Program> = programs.iter().map(|name| Program::idle(name)).collect();
        Self::new(&programs, "", "*=app/*")
    }

    /// Servers by the programs' names and without checks.
    pub(crate) fn new(programs: &[Program], options: &str, mapping: &str) -> Self {
        let servers: Vec<String> =
            programs.iter().map(|program| format!("{} 127.0.0.1:{}", program.name, free_port())).collect();
        let servers: Vec<&str> = servers.iter().map(String::as_str).collect();
        Self::with_servers(&servers, programs, options, mapping)
    }

    pub(crate) fn with_servers(servers: &[&str], programs: &[Program], options: &str, mapping: &str) -> Self {
        let listener = format!("{options} SOCKET {mapping}");
        Self::edited("", servers, programs, &listener, |_, configuration| configuration)
    }

    /// With further lines for HAProxy's `global` section, and supervisord's configuration as the test writes it
    /// anew. `SOCKET` in the listener's arguments stands for HAProxy's.
    pub(crate) fn edited(
        global: &str,
        servers: &[&str],
        programs: &[Program],
        listener: &str,
        edit: impl FnOnce(&Path, String) -> String,
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let haproxy = Haproxy::start_with(directory.path(), global, servers);
        let listener = listener.replace("SOCKET", &haproxy.socket.display().to_string());
        Supervisord::configure(directory.path(), &listener, programs);
        let path = directory.path().join("supervisord.conf");
        let text = edit(directory.path(), fs::read_to_string(&path).unwrap());
        fs::write(path, text).unwrap();
        let supervisord = Supervisord::start(directory.path());
        Self { supervisord, haproxy, directory }
    }

    /// Web servers of these names behind health checks, all of them up.
    pub(crate) fn apps(names: &[&str], options: &str) -> Self {
        let world = Self::apps_with(names, options, |program| program);
        for name in names {
            world.haproxy.expect_status(name, "UP");
        }
        world
    }

    /// The same, changed by the test, and not waited for.
    pub(crate) fn apps_with(names: &[&str], options: &str, change: impl Fn(Program) -> Program) -> Self {
        let ports: Vec<u16> = names.iter().map(|_| free_port()).collect();
        let servers: Vec<String> = names
            .iter()
            .zip(&ports)
            .map(|(name, port)| format!("{name} 127.0.0.1:{port} check inter 100ms rise 2 fall 2"))
            .collect();
        let servers: Vec<&str> = servers.iter().map(String::as_str).collect();
        let apps = names.iter().zip(&ports).map(|(name, port)| change(Program::app(name, *port, 0.0)));
        Self::with_servers(&servers, &apps.collect::<Vec<_>>(), options, "*=app/*")
    }

    /// Changes the configuration's file, of which supervisord does not hear.
    #[track_caller]
    pub(crate) fn rewrite(&self, from: &str, to: &str) {
        let path = self.directory().join("supervisord.conf");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "no `{from}` in {text}");
        fs::write(path, text.replace(from, to)).unwrap();
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Waits until the program runs and its server is ready.
    #[track_caller]
    pub(crate) fn expect_running(&self, program: &str) {
        self.supervisord.expect(program, "RUNNING");
        self.haproxy.expect(program, "ready");
    }
}
