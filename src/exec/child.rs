//! A program that is run to its end, under a deadline: one that overruns is killed with all that it has started.

use std::fmt::Display;
use std::io::{self, ErrorKind, PipeReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::ioctl_fionbio;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use thiserror::Error;

/// Of what it says first, and as much of what it says last: programs begin with what is wrong, and end with why they
/// give up. HAProxy has been seen to say a megabyte.
const KEPT: usize = 8 * 1024;
/// How much of that is told in a line.
const IN_A_LINE: usize = 4096;
/// How late it is noticed that the whole program is to end.
const SLICE: Duration = Duration::from_millis(100);

/// How it ended, and what it said on stdout and stderr, its control characters made visible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its exit code, or the signal that has ended it.
    pub status: ExitStatus,
    /// 16 KiB at most: what is left out in the middle is counted there.
    pub said: String,
}

/// Why it did not end by itself.
#[derive(Debug, Error)]
pub enum ChildFault {
    /// It is not there, or is no program.
    #[error("cannot be run: {0}")]
    Start(#[source] io::Error),
    /// The kernel refuses what waiting is made of.
    #[error("cannot be waited for: {0}")]
    Wait(#[source] io::Error),
    /// It was killed, and had said this.
    #[error("did not end within {0:?}, and was killed{said}", said = so_far(.1))]
    Overran(Duration, String),
    /// It was killed, as this program ends.
    #[error("was killed, as this program ends")]
    Leaving,
}

fn so_far(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(":\n{said}") }
}

impl Ended {
    /// What it said where it succeeded; otherwise how it ended and the last it said, in one line.
    pub fn success(self) -> Result<String, String> {
        let Self { status, said } = self;
        if status.success() { Ok(said) } else { Err(in_a_line(status, &said)) }
    }
}

fn in_a_line(status: impl Display, said: &str) -> String {
    let start = said.len().saturating_sub(IN_A_LINE);
    let start = (start..=said.len()).find(|at| said.is_char_boundary(*at)).unwrap_or_default();
    let last = said.get(start..).unwrap_or_default();
    let lines: Vec<&str> = last.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if lines.is_empty() { status.to_string() } else { format!("{status}: {}", lines.join("; ")) }
}

/// Runs it and waits for its end, for so long, or until `stop` is set. Then it is killed with what it has started. What
/// lives on behind its end is not waited for.
pub fn run(command: Command, within: Duration, stop: &AtomicBool) -> Result<Ended, ChildFault> {
    run_telling(command, Patience { within, grace: Duration::ZERO }, stop, &mut |_| {})
}

/// How long a program may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// To its end.
    pub within: Duration,
    /// From SIGTERM to SIGKILL; without any, it is killed at once.
    pub grace: Duration,
}

/// The same for one that is asked to end before it is killed. `tell` gets what it says, as it comes.
pub fn run_telling(
    command: Command,
    patience: Patience,
    stop: &AtomicBool,
    tell: &mut dyn FnMut(&[u8]),
) -> Result<Ended, ChildFault> {
    let Patience { within, grace } = patience;
    let (reader, child) = start(command).map_err(ChildFault::Start)?;
    let mut running = Running { child, reader: Some(reader), said: Said::default(), grace, tell };
    let waited = running.wait(Instant::now() + within, stop);
    match waited {
        Ok(Some(status)) => Ok(Ended { status, said: running.said.text() }),
        Ok(None) if stop.load(Ordering::Relaxed) => Err(running.kill(ChildFault::Leaving)),
        Ok(None) => {
            let said = running.said.text();
            Err(running.kill(ChildFault::Overran(within, said)))
        }
        Err(error) => Err(running.kill(ChildFault::Wait(error))),
    }
}

/// The beginning and the end of what is said.
#[derive(Debug, Default)]
struct Said {
    first: Vec<u8>,
    last: Vec<u8>,
    left_out: usize,
}

impl Said {
    fn take(&mut self, piece: &[u8]) {
        let room = KEPT.saturating_sub(self.first.len()).min(piece.len());
        let (first, last) = piece.split_at(room);
        self.first.extend_from_slice(first);
        self.last.extend_from_slice(last);
        let excess = self.last.len().saturating_sub(KEPT);
        self.last.drain(..excess);
        self.left_out += excess;
    }

    fn text(&self) -> String {
        let Self { first, last, left_out } = self;
        if *left_out == 0 {
            return visible(&[&first[..], last].concat());
        }
        format!("{}\n[… {left_out} bytes are left out …]\n{}", visible(first), visible(last))
    }
}

/// Line by line, with what a terminal would act on in Rust's notation.
fn visible(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let plain = |line: &str| {
        line.chars().flat_map(|c| if c.is_control() { c.escape_debug().collect() } else { vec![c] }).collect()
    };
    text.lines().map(plain).collect::<Vec<String>>().join("\n").trim_end().to_owned()
}

/// The command holds the other end of the pipe, so it must not outlive the start.
fn start(mut command: Command) -> io::Result<(PipeReader, Child)> {
    let (reader, writer) = io::pipe()?;
    ioctl_fionbio(&reader, true)?;
    // A group of its own, so that what it starts can be ended with it.
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer).process_group(0);
    Ok((reader, command.spawn()?))
}

struct Running<'t> {
    child: Child,
    /// None once all has been said.
    reader: Option<PipeReader>,
    said: Said,
    grace: Duration,
    tell: &'t mut dyn FnMut(&[u8]),
}

impl Running<'_> {
    /// Its status; `None` where the time is over, or all is to end. What it has started may live on and keep the pipe
    /// open, as a service does that is restarted: that is not waited for.
    fn wait(&mut self, deadline: Instant, stop: &AtomicBool) -> io::Result<Option<ExitStatus>> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::other("no process id"))?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
        loop {
            self.read()?;
            if let Some(status) = self.child.try_wait()? {
                self.read()?;
                return Ok(Some(status));
            }
            let rest = deadline.saturating_duration_since(Instant::now());
            if rest.is_zero() || stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let timeout = Timespec::try_from(rest.min(SLICE)).map_err(io::Error::other)?;
            let mut fds = vec![PollFd::new(&pidfd, PollFlags::IN)];
            fds.extend(self.reader.as_ref().map(|reader| PollFd::new(reader, PollFlags::IN)));
            match poll(&mut fds, Some(&timeout)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Takes what it has said since.
    fn read(&mut self) -> io::Result<()> {
        let mut piece = [0; 4096];
        while let Some(reader) = &mut self.reader {
            match reader.read(&mut piece) {
                Ok(0) => self.reader = None,
                Ok(count) => {
                    let piece = piece.get(..count).unwrap_or_default();
                    (self.tell)(piece);
                    self.said.take(piece);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Nobody has waited for it yet, so its group's number is still its own.
    fn kill(mut self, fault: ChildFault) -> ChildFault {
        if !self.grace.is_zero() {
            self.signal(Signal::SIGTERM);
            // However it ends, what it has started ends with it.
            let _ = self.wait_unburied(Instant::now() + self.grace);
        }
        self.signal(Signal::SIGKILL);
        let _ = self.child.wait();
        fault
    }

    fn signal(&self, signal: Signal) {
        if let Ok(group) = i32::try_from(self.child.id()) {
            // Where it is gone already, there is nothing to do.
            let _ = killpg(unistd::Pid::from_raw(group), signal);
        }
    }

    /// Reads on until it has ended, and does not take its status yet: until then, its group's number stays its own.
    fn wait_unburied(&mut self, deadline: Instant) -> io::Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let pidfd = pidfd_open(pid.ok_or_else(|| io::Error::other("no process id"))?, PidfdFlags::empty())?;
        loop {
            self.read()?;
            let rest = deadline.saturating_duration_since(Instant::now());
            let timeout = Timespec::try_from(rest.min(SLICE)).map_err(io::Error::other)?;
            let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
            match poll(&mut fds, Some(&timeout)) {
                Ok(0) if rest.is_zero() => return Ok(()),
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => return self.read(),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn shell(script: &str, within: Duration) -> Result<Ended, ChildFault> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        run(command, within, &AtomicBool::new(false))
    }

    const LONG: Duration = Duration::from_secs(30);

    #[test]
    fn what_it_says_is_kept_with_how_it_ended() {
        assert_eq!(shell("echo done", LONG).unwrap().success(), Ok("done".into()));
        let failed = shell("echo one; echo; echo two >&2; exit 3", LONG).unwrap().success();
        assert_eq!(failed, Err("exit status: 3: one; two".into()));
        assert!(!shell("kill -9 $$", LONG).unwrap().status.success());
        assert_eq!(shell("printf 'tw\\033o\\n' >&2", LONG).unwrap().said, "tw\\u{1b}o");
    }

    #[test]
    fn of_many_words_the_first_and_the_last_are_kept() {
        let ended = shell("echo first; yes | head -c 1000000; echo last; exit 1", LONG).unwrap();
        let said = &ended.said;
        assert!(said.starts_with("first\ny\n") && said.ends_with("y\nlast"), "{said}");
        assert!(said.contains("\n[… 983627 bytes are left out …]\n") && said.len() < 2 * KEPT + 64, "{said}");
        let line = ended.success().unwrap_err();
        assert!(line.ends_with("y; last") && line.len() < 2 * IN_A_LINE, "{line}");
    }

    #[test]
    fn one_that_overruns_is_killed_with_what_it_has_started() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("pid");
        let script =
            format!("echo before; sleep 1000 & echo $! > {0}.new; mv {0}.new {0}; wait", file.display());
        let fault = shell(&script, Duration::from_secs(3)).unwrap_err();
        assert_eq!(fault.to_string(), "did not end within 3s, and was killed:\nbefore");
        let pid = fs::read_to_string(file).unwrap();
        let stat = format!("/proc/{}/stat", pid.trim());
        let begun = Instant::now();
        // Whoever inherits it may take a moment to bury it.
        while fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
            assert!(begun.elapsed() < LONG, "it lives on");
            std::thread::yield_now();
        }
    }

    #[test]
    fn one_that_is_asked_to_end_may_say_a_last_word() {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.01; done"]);
        let (mut said, stop) = (Vec::new(), AtomicBool::new(false));
        let patience = Patience { within: LONG, grace: LONG };
        let fault = run_telling(command, patience, &stop, &mut |piece| {
            said.extend_from_slice(piece);
            stop.store(true, Ordering::Relaxed);
        });
        assert_eq!(fault.unwrap_err().to_string(), "was killed, as this program ends");
        let said = String::from_utf8(said).unwrap();
        // The shell may say in between that its `sleep` was ended, too.
        assert!(said.starts_with("ready\n") && said.ends_with("bye\n"), "{said}");
    }

    #[test]
    fn one_that_does_not_hear_is_killed_all_the_same() {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "trap '' TERM; echo ready; while :; do sleep 1; done"]);
        let patience = Patience { within: Duration::from_millis(200), grace: Duration::from_millis(200) };
        let fault = run_telling(command, patience, &AtomicBool::new(false), &mut |_| {}).unwrap_err();
        assert!(fault.to_string().starts_with("did not end within 200ms, and was killed"), "{fault}");
    }

    #[test]
    fn what_lives_on_behind_it_is_not_waited_for() {
        let begun = Instant::now();
        let ended = shell("sleep 60 & echo $!", LONG * 2).unwrap();
        assert!(begun.elapsed() < LONG);
        let pid: i32 = ended.said.trim().parse().unwrap();
        let _ = nix::sys::signal::kill(unistd::Pid::from_raw(pid), Signal::SIGKILL);
    }

    #[test]
    fn it_ends_with_this_program_and_what_is_no_program_says_so() {
        let mut command = Command::new("/bin/sleep");
        command.arg("1000");
        let fault = run(command, LONG, &AtomicBool::new(true)).unwrap_err();
        assert_eq!(fault.to_string(), "was killed, as this program ends");
        let fault = run(Command::new("/no/such"), LONG, &AtomicBool::new(false)).unwrap_err();
        assert!(fault.to_string().starts_with("cannot be run: No such file"), "{fault}");
    }
}
