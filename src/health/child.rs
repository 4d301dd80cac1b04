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

/// The end of what it says, which is where programs say why they failed.
const KEPT: usize = 4096;
/// How late it is noticed that the whole program is to end.
const SLICE: Duration = Duration::from_millis(100);

/// How it ended, and the last it said on stdout and stderr.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) output: String,
}

/// Why it did not end by itself.
#[derive(Debug, Error)]
pub(crate) enum ChildFault {
    /// It is not there, or is no program.
    #[error("cannot be run: {0}")]
    Start(#[source] io::Error),
    /// The kernel refuses what waiting is made of.
    #[error("cannot be waited for: {0}")]
    Wait(#[source] io::Error),
    /// It was killed.
    #[error("not done within {0:?}, and killed")]
    Overran(Duration),
    /// It was killed, as this program ends.
    #[error("killed, as this program ends")]
    Leaving,
}

impl Ended {
    /// Fails with what it said where it did not succeed.
    pub(crate) fn success(self) -> Result<String, String> {
        let Self { status, output } = self;
        if status.success() { Ok(output) } else { Err(said(status, &output)) }
    }
}

fn said(status: impl Display, output: &str) -> String {
    let lines: Vec<&str> = output.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if lines.is_empty() { status.to_string() } else { format!("{status}: {}", lines.join("; ")) }
}

/// Runs it and waits for its end, for so long, or until `stop` is set.
pub(crate) fn run(command: Command, within: Duration, stop: &AtomicBool) -> Result<Ended, ChildFault> {
    run_telling(command, Patience { within, grace: Duration::ZERO }, stop, &mut |_| {})
}

/// How long a program may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// To its end.
    pub(crate) within: Duration,
    /// From SIGTERM to SIGKILL; without any, it is killed at once.
    pub(crate) grace: Duration,
}

/// The same for one that is asked to end before it is killed. `tell` gets what it says, as it comes.
pub(crate) fn run_telling(
    command: Command,
    patience: Patience,
    stop: &AtomicBool,
    tell: &mut dyn FnMut(&[u8]),
) -> Result<Ended, ChildFault> {
    let Patience { within, grace } = patience;
    let (reader, child) = start(command).map_err(ChildFault::Start)?;
    let mut running = Running { child, reader: Some(reader), output: Vec::new(), grace, tell };
    let waited = running.wait(Instant::now() + within, stop);
    match waited {
        Ok(Some(status)) => {
            let output = String::from_utf8_lossy(&running.output).into_owned();
            Ok(Ended { status, output })
        }
        Ok(None) if stop.load(Ordering::Relaxed) => running.kill(ChildFault::Leaving),
        Ok(None) => running.kill(ChildFault::Overran(within)),
        Err(error) => running.kill(ChildFault::Wait(error)),
    }
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
    output: Vec<u8>,
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

    /// Takes what it has said, and keeps the end of that.
    fn read(&mut self) -> io::Result<()> {
        let mut piece = [0; KEPT];
        while let Some(reader) = &mut self.reader {
            match reader.read(&mut piece) {
                Ok(0) => self.reader = None,
                Ok(count) => {
                    let said = piece.get(..count).unwrap_or_default();
                    (self.tell)(said);
                    self.output.extend_from_slice(said);
                    let excess = self.output.len().saturating_sub(KEPT);
                    self.output.drain(..excess);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Nobody has waited for it yet, so its group's number is still its own.
    fn kill(mut self, fault: ChildFault) -> Result<Ended, ChildFault> {
        if !self.grace.is_zero() {
            self.signal(Signal::SIGTERM);
            // However it ends, what it has started ends with it.
            let _ = self.wait_unburied(Instant::now() + self.grace);
        }
        self.signal(Signal::SIGKILL);
        let _ = self.child.wait();
        Err(fault)
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
        assert_eq!(shell("echo done", LONG).unwrap().success(), Ok("done\n".into()));
        let failed = shell("echo one; echo; echo two >&2; exit 3", LONG).unwrap().success();
        assert_eq!(failed, Err("exit status: 3: one; two".into()));
    }

    #[test]
    fn of_many_words_the_last_are_kept() {
        let said = shell("yes | head -c 1000000; echo end", LONG).unwrap().output;
        assert!(said.len() == KEPT && said.ends_with("y\nend\n"), "{}", said.len());
    }

    #[test]
    fn one_that_overruns_is_killed_with_what_it_has_started() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("pid");
        let script = format!("sleep 1000 & echo $! > {0}.new; mv {0}.new {0}; wait", file.display());
        let fault = shell(&script, Duration::from_secs(1)).unwrap_err();
        assert_eq!(fault.to_string(), "not done within 1s, and killed");
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
        assert_eq!(fault.unwrap_err().to_string(), "killed, as this program ends");
        assert_eq!(String::from_utf8(said).unwrap(), "ready\nbye\n");
    }

    #[test]
    fn one_that_does_not_hear_is_killed_all_the_same() {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "trap '' TERM; echo ready; while :; do sleep 1; done"]);
        let patience = Patience { within: Duration::from_millis(200), grace: Duration::from_millis(200) };
        let fault = run_telling(command, patience, &AtomicBool::new(false), &mut |_| {}).unwrap_err();
        assert_eq!(fault.to_string(), "not done within 200ms, and killed");
    }

    #[test]
    fn what_lives_on_behind_it_is_not_waited_for() {
        let begun = Instant::now();
        let ended = shell("sleep 60 & echo $!", LONG * 2).unwrap();
        assert!(begun.elapsed() < LONG);
        let pid: i32 = ended.output.trim().parse().unwrap();
        let _ = nix::sys::signal::kill(unistd::Pid::from_raw(pid), Signal::SIGKILL);
    }

    #[test]
    fn it_ends_with_this_program_and_what_is_no_program_says_so() {
        let mut command = Command::new("/bin/sleep");
        command.arg("1000");
        let fault = run(command, LONG, &AtomicBool::new(true)).unwrap_err();
        assert_eq!(fault.to_string(), "killed, as this program ends");
        let fault = run(Command::new("/no/such"), LONG, &AtomicBool::new(false)).unwrap_err();
        assert!(fault.to_string().starts_with("cannot be run: No such file"), "{fault}");
    }
}
