//! Processes of HAProxy, as the kernel shows them (proc(5), `/proc/PID/status`).

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::lock::pause;

/// Between two looks at something that tells nobody when it changes.
const BETWEEN_LOOKS: Duration = Duration::from_millis(25);

/// What the kernel tells of a process.
struct Status(String);

impl Status {
    /// `None` where there is no such process, or it may not be seen.
    fn of(pid: i32) -> Option<Self> {
        fs::read_to_string(format!("/proc/{pid}/status")).ok().map(Self)
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.0.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    }

    /// By its name, which is that of the program, or what everybody calls it.
    fn is_haproxy(&self, program: &Path) -> bool {
        let program = program.file_name().unwrap_or_default().to_string_lossy();
        self.value("Name").is_some_and(|name| [&*program, "haproxy"].contains(&name))
    }

    fn catches(&self, signal: Signal) -> bool {
        let mask = self.value("SigCgt").and_then(|mask| u64::from_str_radix(mask, 16).ok());
        mask.is_some_and(|mask| mask >> (signal as i32 - 1) & 1 == 1)
    }
}

/// Whether a process is one of HAProxy's.
pub(super) fn is_haproxy(pid: i32, program: &Path) -> bool {
    Status::of(pid).is_some_and(|status| status.is_haproxy(program))
}

/// The master of a worker, where both are seen here: the pids of another namespace are nobody's, or somebody else's.
pub(super) fn master_of(worker: i32, program: &Path) -> Option<i32> {
    let status = Status::of(worker).filter(|status| status.is_haproxy(program))?;
    let parent = status.value("PPid")?.parse().ok()?;
    is_haproxy(parent, program).then_some(parent)
}

/// Waits until SIGUSR2 is heard: a master that replaces itself ignores it for that long, and so do workers always. Blocks
/// for as long as this at most; tells whether it is heard now.
pub(super) fn hears(pid: i32, within: Duration) -> bool {
    let deadline = Instant::now() + within;
    loop {
        let hears = Status::of(pid).is_some_and(|status| status.catches(Signal::SIGUSR2));
        if hears || Instant::now() >= deadline {
            return hears;
        }
        pause(BETWEEN_LOOKS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a master of HAProxy 2.6.
    const MASTER: &str = "Name:\thaproxy\nPPid:\t20387\nSigBlk:\t0000000000000000\nSigIgn:\t0000000004001004\n\
                          SigCgt:\t0000000100716a03\n";
    /// Of its worker.
    const WORKER: &str =
        "Name:\thaproxy\nPPid:\t20389\nSigIgn:\t0000000000001802\nSigCgt:\t0000000100702205\n";

    #[test]
    fn a_master_catches_what_its_worker_ignores() {
        let [master, worker] = [MASTER, WORKER].map(|text| Status(text.into()));
        assert!(master.catches(Signal::SIGUSR2) && !worker.catches(Signal::SIGUSR2));
        assert!(worker.catches(Signal::SIGQUIT));
        assert_eq!((worker.value("PPid"), worker.value("Sig")), (Some("20389"), None));
        assert!(!Status(String::new()).catches(Signal::SIGUSR2));
    }

    #[test]
    fn haproxy_is_known_by_its_name() {
        let status = |name: &str| Status(format!("Name:\t{name}\n"));
        for (name, program, expected) in [
            ("haproxy", "haproxy", true),
            ("haproxy", "/opt/bin/hap-3.2", true),
            ("hap-3.2", "/opt/bin/hap-3.2", true),
            ("sleep", "haproxy", false),
        ] {
            assert_eq!(status(name).is_haproxy(Path::new(program)), expected, "{name} {program}");
        }
        assert!(Status::of(i32::MAX).is_none());
    }
}
