//! The listener over pipes, with the test in supervisord's place.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{DEADLINE, eventually};

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_supervisor-haproxy");

#[derive(Debug)]
pub(crate) struct Listener {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    /// A file that is open can be read when its directory is gone.
    log: File,
    serial: u64,
}

impl Listener {
    /// Starts it without XML-RPC and reads its READY.
    pub(crate) fn start(directory: &Path, arguments: &[&str]) -> Self {
        Self::start_with(directory, arguments, &[])
    }

    pub(crate) fn start_with(directory: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let path = directory.join("listener.log");
        let written = File::create(&path).unwrap();
        let mut child = Command::new(BINARY)
            .arg("-v")
            .args(arguments)
            .env_remove("SUPERVISOR_SERVER_URL")
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(written)
            .spawn()
            .unwrap();
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap());
        let log = File::open(path).unwrap();
        let mut listener = Self { child, input, output, log, serial: 0 };
        listener.expect_output("READY\n");
        listener
    }

    /// Writes bytes as they are.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.input.as_mut().unwrap().write_all(bytes).unwrap();
    }

    /// Sends an event and waits for its answer.
    #[track_caller]
    pub(crate) fn event(&mut self, name: &str, payload: &str) {
        let serial = self.serial;
        self.serial += 1;
        self.numbered(serial, name, payload);
    }

    #[track_caller]
    pub(crate) fn numbered(&mut self, serial: u64, name: &str, payload: &str) {
        self.write(event(serial, name, payload).as_bytes());
        self.expect_output("RESULT 2\nOKREADY\n");
    }

    /// A change of a process of the group `app`.
    #[track_caller]
    pub(crate) fn process(&mut self, process: &str, state: &str) {
        let payload = format!("processname:{process} groupname:app from_state:UNKNOWN");
        self.event(&format!("PROCESS_STATE_{state}"), &payload);
    }

    /// An order of one of the program's own commands.
    #[track_caller]
    pub(crate) fn order(&mut self, order: &str) {
        self.event("REMOTE_COMMUNICATION", &format!("type:supervisor-haproxy\n{order}"));
    }

    /// Waits until stdout holds exactly this.
    #[track_caller]
    pub(crate) fn expect_output(&mut self, expected: &str) {
        let mut bytes = vec![0; expected.len()];
        for byte in &mut bytes {
            self.wait_for_output();
            let one = self.output.fill_buf().unwrap().first().copied();
            *byte = one.unwrap_or_else(|| panic!("stdout ended; log:\n{}", self.log()));
            self.output.consume(1);
        }
        assert_eq!(String::from_utf8_lossy(&bytes), expected);
    }

    #[track_caller]
    fn wait_for_output(&self) {
        if self.output.buffer().is_empty() {
            let timeout = PollTimeout::try_from(DEADLINE).unwrap();
            let mut fds = [PollFd::new(std::os::fd::AsFd::as_fd(self.output.get_ref()), PollFlags::POLLIN)];
            let count = poll(&mut fds, timeout).unwrap();
            assert!(count > 0, "nothing on stdout within {DEADLINE:?}; log:\n{}", self.log());
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    /// Closes stdin.
    pub(crate) fn close(&mut self) {
        self.input = None;
    }

    /// Waits for the end, and gives what was left on stdout.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> (ExitStatus, String) {
        let child = &mut self.child;
        let status = eventually("the end of the listener", || child.try_wait().unwrap());
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        (status, rest)
    }

    /// Closes stdin and expects a clean end.
    #[track_caller]
    pub(crate) fn finish(mut self) -> String {
        self.close();
        let (status, rest) = self.wait();
        assert!(status.success(), "{status}; log:\n{}", self.log());
        assert_eq!(rest, "");
        self.log()
    }

    pub(crate) fn log(&self) -> String {
        let (mut log, mut text) = (&self.log, String::new());
        log.rewind().unwrap();
        log.read_to_string(&mut text).unwrap();
        text
    }

    /// Waits for a text in the log.
    #[track_caller]
    pub(crate) fn expect_log(&self, text: &str) {
        eventually(&format!("`{text}` in the log"), || self.log().contains(text).then_some(()));
    }

    /// A value of `/proc/PID/status` in KiB.
    pub(crate) fn memory(&self, key: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of the listener\n{}", self.log());
        }
    }
}

/// An event as supervisord writes it.
pub(crate) fn event(serial: u64, name: &str, payload: &str) -> String {
    format!(
        "ver:3.0 server:supervisor serial:{serial} pool:haproxy poolserial:{serial} eventname:{name} len:{}\n{payload}",
        payload.chars().count()
    )
}
