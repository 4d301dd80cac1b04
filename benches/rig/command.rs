//! `pull` or `process` at work, in a directory of its own.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::Outcome;

/// Writes a configuration; gives the command that reads it.
pub(crate) fn command(name: &str, configuration: &Path, text: &str) -> Outcome<Command> {
    fs::write(configuration, text)?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_supervisor-haproxy"));
    command.arg(name).arg("-f").arg(configuration).stdin(Stdio::null()).stdout(Stdio::null());
    Ok(command)
}

/// Ends with its owner.
#[derive(Debug)]
pub(crate) struct Daemon(Child);

impl Daemon {
    pub(crate) fn start(mut command: Command) -> Outcome<Self> {
        Ok(Self(command.spawn()?))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// An error where it has ended by itself.
    pub(crate) fn check(&mut self) -> Outcome<()> {
        match self.0.try_wait()? {
            Some(status) => Err(format!("it ended: {status}").into()),
            None => Ok(()),
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Ok(pid) = i32::try_from(self.0.id()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        let _ = self.0.wait();
    }
}
