//! What the kernel tells of a process (proc(5)).

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::Outcome;

/// A size of `/proc/PID/status`, in KiB: `VmHWM` is the most memory that it ever had.
pub(crate) fn memory(pid: u32, key: &str) -> Outcome<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    Ok(line.and_then(|line| line.split_whitespace().next()).ok_or("no such size")?.parse()?)
}

/// For how long the threads that it has now have run on a CPU.
pub(crate) fn cpu(pid: u32) -> Outcome<Duration> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"))?;
    tasks.map(|task| run_time(&task?.path())).sum()
}

/// The same of the calling thread alone.
pub(crate) fn own_cpu() -> Outcome<Duration> {
    run_time(Path::new("/proc/thread-self"))
}

fn run_time(task: &Path) -> Outcome<Duration> {
    let text = fs::read_to_string(task.join("schedstat"))?;
    Ok(Duration::from_nanos(text.split_whitespace().next().ok_or("no run time")?.parse()?))
}
