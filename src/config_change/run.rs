//! One program, run to its end under a deadline, and what it said.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{Signal, killpg};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// What people can read of it; HAProxy has been seen to say a megabyte.
const MAX_SAID: u64 = 16 * 1024;

/// How a program has ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// Whether with exit code 0.
    pub(super) is_success: bool,
    /// As in `exit status: 1`.
    pub(super) status: String,
    /// What it wrote, errors and all, its control characters made visible.
    pub(super) said: String,
}

/// Runs it. What it writes goes to memory, so that neither a full disk nor a full pipe is in its way.
pub(super) fn run(command: &mut Command, within: Duration) -> Result<Ended, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let failed = |error: io::Error| format!("`{name}` cannot be run: {error}");
    let memory = memfd_create(c"said", MFdFlags::MFD_CLOEXEC).map_err(|error| failed(error.into()))?;
    let mut said = File::from(memory);
    command.stdin(Stdio::null()).process_group(0);
    command.stdout(said.try_clone().map_err(failed)?).stderr(said.try_clone().map_err(failed)?);
    let mut child = command.spawn().map_err(failed)?;
    if !has_ended(&child, within).map_err(failed)? {
        stop(&mut child);
        let said = read(&mut said);
        return Err(format!(
            "`{name}` did not end within {within:?}{}",
            if said.is_empty() { said } else { format!(":\n{said}") }
        ));
    }
    let status = child.wait().map_err(failed)?;
    Ok(Ended { is_success: status.success(), status: status.to_string(), said: read(&mut said) })
}

fn has_ended(child: &Child, within: Duration) -> io::Result<bool> {
    let pidfd = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    let deadline = Instant::now() + within;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(0) if left.is_zero() => return Ok(false),
            Ok(0) | Err(nix::errno::Errno::EINTR) => {}
            Ok(_) => return Ok(true),
            Err(error) => return Err(error.into()),
        }
    }
}

/// With whatever it has started.
fn stop(child: &mut Child) {
    if let Ok(id) = i32::try_from(child.id()) {
        let _ = killpg(nix::unistd::Pid::from_raw(id), Signal::SIGKILL);
    }
    let _ = child.wait();
}

fn read(said: &mut File) -> String {
    let mut bytes = Vec::new();
    let _ = said.seek(SeekFrom::Start(0)).and_then(|_| said.take(MAX_SAID).read_to_end(&mut bytes));
    let text = String::from_utf8_lossy(&bytes);
    let visible = |line: &str| {
        line.chars().flat_map(|c| if c.is_control() { c.escape_debug().collect() } else { vec![c] }).collect()
    };
    text.lines().map(visible).collect::<Vec<String>>().join("\n").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(text: &str, within: Duration) -> Result<Ended, String> {
        run(Command::new("sh").args(["-c", text]), within)
    }

    #[test]
    fn its_words_and_its_success_are_told() {
        let ended = shell("echo one; printf 'tw\\033o\\n' >&2", Duration::from_secs(30)).unwrap();
        assert_eq!((ended.is_success, ended.said.as_str()), (true, "one\ntw\\u{1b}o"));
        assert!(!shell("exit 1", Duration::from_secs(30)).unwrap().is_success);
        assert!(!shell("kill -9 $$", Duration::from_secs(30)).unwrap().is_success);
        let ended = shell("yes | head -c 1000000", Duration::from_secs(30)).unwrap();
        assert!(ended.is_success && ended.said.len() <= 16 * 1024);
    }

    #[test]
    fn what_takes_too_long_is_ended_with_its_children() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let text = format!("echo before; (sleep 1000; :) > {} & sleep 1000", pipe.display());
        let reader = std::thread::spawn(move || std::fs::read(pipe).unwrap());
        let error = shell(&text, Duration::from_millis(300)).unwrap_err();
        assert_eq!(error, "`sh` did not end within 300ms:\nbefore");
        assert_eq!(reader.join().unwrap(), b"", "its end comes when the last child is gone");
    }

    #[test]
    fn what_is_not_there_is_named() {
        let error = run(&mut Command::new("/nonexistent/haproxy"), Duration::ZERO).unwrap_err();
        assert!(error.starts_with("`/nonexistent/haproxy` cannot be run: No such file"), "{error}");
    }
}
