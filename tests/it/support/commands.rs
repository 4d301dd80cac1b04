//! The operator's commands, run beside a real supervisord and a real HAProxy, with requests through it.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{BINARY, DEADLINE, World, eventually};

/// A command that has ended.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Run {
    /// Runs a command to its end.
    #[track_caller]
    pub(crate) fn of(directory: &Path, arguments: &[&str]) -> Self {
        Running::start(directory, arguments).wait()
    }

    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }

    /// Expects this text on stdout.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        assert!(self.out.contains(text), "no `{text}` in {self:#?}");
        self
    }

    /// Expects that this text is not on stdout.
    #[track_caller]
    pub(crate) fn omits(self, text: &str) -> Self {
        assert!(!self.out.contains(text), "`{text}` in {self:#?}");
        self
    }

    /// Expects a line on stdout that holds all of these texts in this order, with nothing but spaces between.
    #[track_caller]
    pub(crate) fn has_row(self, cells: &[&str]) -> Self {
        let is_row = |line: &str| {
            line.split_whitespace().collect::<Vec<_>>().windows(cells.len()).any(|words| words == cells)
        };
        assert!(self.out.lines().any(is_row), "no row {cells:?} in {self:#?}");
        self
    }

    /// Its stdout as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }

    /// Expects this text on stderr.
    #[track_caller]
    pub(crate) fn complains(self, text: &str) -> Self {
        assert!(self.err.contains(text), "no `{text}` in {self:#?}");
        self
    }
}

/// A command under way.
#[derive(Debug)]
pub(crate) struct Running {
    child: Option<Child>,
}

impl Running {
    #[track_caller]
    pub(crate) fn start(directory: &Path, arguments: &[&str]) -> Self {
        Self::start_with(directory, arguments, &[])
    }

    /// With further variables; none of the test's own counts for colours.
    #[track_caller]
    pub(crate) fn start_with(directory: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        Self::launch(Command::new(BINARY).args(arguments), directory, variables)
    }

    /// On a terminal, whose output comes back as stdout.
    #[track_caller]
    pub(crate) fn start_on_terminal(
        directory: &Path,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Self {
        let script = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";
        Self::launch(
            Command::new("python3").args(["-c", script, BINARY]).args(arguments).env("TERM", "xterm"),
            directory,
            variables,
        )
    }

    #[track_caller]
    fn launch(command: &mut Command, directory: &Path, variables: &[(&str, &str)]) -> Self {
        let child = command
            .env_remove("NO_COLOR")
            .env_remove("CLICOLOR_FORCE")
            .env_remove("CLICOLOR")
            .envs(variables.iter().copied())
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self { child: Some(child) }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.id()).unwrap()), signal).unwrap();
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.as_mut().unwrap().try_wait().unwrap().is_some()
    }

    /// Its lines as they come; [`Self::wait`] gives none then.
    pub(crate) fn lines(&mut self) -> Lines {
        let stdout = self.child.as_mut().unwrap().stdout.take().unwrap();
        let (sender, receiver) = channel();
        std::thread::spawn(move || {
            BufReader::new(stdout).lines().try_for_each(|line| sender.send(line.unwrap()))
        });
        Lines(receiver)
    }

    /// Waits for its end, which has to come in time.
    #[track_caller]
    pub(crate) fn wait(mut self) -> Run {
        let mut child = self.child.take().unwrap();
        // Short enough to stay in the pipes until then.
        let status = eventually("the end of the command", || child.try_wait().unwrap());
        let (mut out, mut err) = (String::new(), String::new());
        if let Some(mut stdout) = child.stdout.take() {
            stdout.read_to_string(&mut out).unwrap();
        }
        child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        Run { code: status.code().unwrap_or(-1), out, err }
    }
}

/// What a command under way prints.
#[derive(Debug)]
pub(crate) struct Lines(Receiver<String>);

impl Lines {
    /// Waits for a line that holds this text.
    #[track_caller]
    pub(crate) fn expect(&self, text: &str) -> String {
        loop {
            let line = self
                .0
                .recv_timeout(DEADLINE)
                .unwrap_or_else(|error| panic!("no line with `{text}`: {error}"));
            if line.contains(text) {
                return line;
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl World {
    /// Runs a command with supervisord's configuration.
    #[track_caller]
    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        self.start(arguments).wait()
    }

    /// Starts a command with supervisord's configuration.
    #[track_caller]
    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        self.start_with(arguments, &[])
    }

    /// Runs a command with supervisord's configuration and further variables.
    #[track_caller]
    pub(crate) fn run_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Run {
        self.start_with(arguments, variables).wait()
    }

    #[track_caller]
    fn start_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Running {
        let arguments = [arguments, &["-c", "supervisord.conf"]].concat();
        Running::start_with(self.directory(), &arguments, variables)
    }

    /// A request through HAProxy.
    pub(crate) fn get(&self, path: &str) -> Result<(), String> {
        get(&self.front(), path)
    }

    /// A request that goes on while the test does.
    pub(crate) fn get_aside(&self, path: &str) -> JoinHandle<Result<(), String>> {
        let (front, path) = (self.front(), path.to_owned());
        std::thread::spawn(move || get(&front, &path))
    }

    /// Requests without a pause from several clients, until [`Load::stop`].
    pub(crate) fn load(&self, clients: usize) -> Load {
        Load::start(&self.front(), clients)
    }

    fn front(&self) -> PathBuf {
        self.directory().join("haproxy.front")
    }

    /// How many sessions HAProxy counts on a server of `app`.
    #[track_caller]
    pub(crate) fn sessions(&self, server: &str) -> u64 {
        let text = self.haproxy.ask("show stat app 4 -1");
        let row = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
        row.into_iter().find(|fields| fields.get(1) == Some(&server)).unwrap()[4].parse().unwrap()
    }
}

/// Requests that go on while the test does.
#[derive(Debug)]
pub(crate) struct Load {
    over: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    fn start(front: &Path, clients: usize) -> Self {
        let (over, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let client = |_| {
            let (front, over, count) = (front.to_owned(), Arc::clone(&over), Arc::clone(&count));
            std::thread::spawn(move || {
                let mut failures = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    failures.extend(get(&front, "/0.02").err());
                    count.fetch_add(1, Ordering::Relaxed);
                }
                failures
            })
        };
        let clients = (0..clients).map(client).collect();
        Self { over, count, clients }
    }

    /// Ends it; gives what went wrong.
    pub(crate) fn stop(self) -> Vec<String> {
        self.over.store(true, Ordering::Relaxed);
        self.clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    }

    /// Ends it when there were enough requests to tell, and expects that none has failed.
    #[track_caller]
    pub(crate) fn lost_nothing(self) {
        let count = eventually("a hundred requests", || {
            Some(self.count.load(Ordering::Relaxed)).filter(|count| *count >= 100)
        });
        let failures = self.stop();
        assert!(failures.is_empty(), "{} of {count} failed: {failures:?}", failures.len());
    }
}

fn get(front: &Path, path: &str) -> Result<(), String> {
    let mut stream = UnixStream::connect(front).map_err(|error| error.to_string())?;
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(|error| error.to_string())?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply).map_err(|error| error.to_string())?;
    if reply.starts_with("HTTP/1.1 200 ") && reply.ends_with("ok\n") {
        Ok(())
    } else {
        Err(reply.lines().next().unwrap_or("no reply").to_owned())
    }
}
