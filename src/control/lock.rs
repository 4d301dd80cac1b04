//! One command at a time on each program.
//!
//! The lock is a socket in the abstract namespace of the kernel (unix(7)): it needs no directory and no rights,
//! it is gone with its owner, however that ends, and the kernel tells who the owner is. It reaches as far as
//! the network namespace, so not from one container to another.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use thiserror::Error;

use crate::net::Endpoint;
use crate::supervisor::ProcessName;

/// The locks of several programs; given back when dropped.
#[derive(Debug)]
pub struct Lock {
    sockets: Vec<UnixListener>,
}

/// Why a program is not ours.
#[derive(Debug, Error)]
pub enum LockError {
    /// Another command is at work on it.
    #[error("`{program}` is in the hands of another command: {owner}; wait for its end, or interrupt it")]
    Taken {
        /// Which program.
        program: ProcessName,
        /// Who, in words.
        owner: String,
    },
    /// The kernel refuses.
    #[error("`{0}` cannot be locked: {1}")]
    System(ProcessName, #[source] io::Error),
}

impl Lock {
    /// Who has locked a program, in words. Does not block.
    #[must_use]
    pub fn owner(supervisord: &Endpoint, program: &ProcessName) -> Option<String> {
        let address = address(supervisord, program).ok()?;
        pid_at(&address).ok().map(in_words)
    }

    /// Takes all of them, or none.
    pub fn take<'a>(
        supervisord: &Endpoint,
        programs: impl Iterator<Item = &'a ProcessName>,
    ) -> Result<Self, LockError> {
        let sockets = programs.map(|program| lock(supervisord, program)).collect::<Result<_, _>>()?;
        Ok(Self { sockets })
    }

    /// Lets those go who have asked for the owner: they fill up the queue otherwise.
    pub fn greet(&self) {
        for socket in &self.sockets {
            while socket.accept().is_ok() {}
        }
    }
}

fn lock(supervisord: &Endpoint, program: &ProcessName) -> Result<UnixListener, LockError> {
    let system = |error| LockError::System(program.clone(), error);
    let address = address(supervisord, program).map_err(system)?;
    match UnixListener::bind_addr(&address) {
        Ok(socket) => socket.set_nonblocking(true).map(|()| socket).map_err(system),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            Err(LockError::Taken { program: program.clone(), owner: owner(&address) })
        }
        Err(error) => Err(system(error)),
    }
}

/// The name has 107 bytes at most, so the parts of any length are hashed. All commands of one machine are of
/// one binary, or fail to see each other's locks after an update: the hash need not outlive a release.
fn address(supervisord: &Endpoint, program: &ProcessName) -> io::Result<SocketAddr> {
    let mut hasher = DefaultHasher::new();
    (supervisord, program).hash(&mut hasher);
    SocketAddr::from_abstract_name(format!("supervisor-haproxy/{:016x}", hasher.finish()))
}

/// The kernel knows who listens there.
fn owner(address: &SocketAddr) -> String {
    match pid_at(address) {
        Ok(pid) => in_words(pid),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => "it does not tell".into(),
        Err(_) => "it has just ended".into(),
    }
}

fn pid_at(address: &SocketAddr) -> io::Result<i32> {
    // Not std's: it would wait for a place in the queue.
    let stream = mio::net::UnixStream::connect_addr(address)?;
    getsockopt(&stream, PeerCredentials).map(|credentials| credentials.pid()).map_err(io::Error::from)
}

fn in_words(pid: i32) -> String {
    match pid {
        // Of another pid namespace.
        0 => "a process that cannot be seen from here".into(),
        pid => format!("pid {pid}{}", command_line(pid)),
    }
}

fn command_line(pid: i32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<String> = bytes
        .split(|byte| *byte == 0)
        .filter(|word| !word.is_empty())
        .map(|word| String::from_utf8_lossy(word).escape_debug().to_string())
        .collect();
    if words.is_empty() { String::new() } else { format!(" (`{}`)", words.join(" ")) }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::{Duration, Instant};

    use super::*;

    fn name(process: &str) -> ProcessName {
        ProcessName { group: "app".into(), process: process.into() }
    }

    #[test]
    fn a_program_is_locked_once_and_free_again_afterwards() {
        let here: Endpoint = format!("/run/lock-test-{}.sock", std::process::id()).parse().unwrap();
        let elsewhere: Endpoint = "/run/other.sock".parse().unwrap();
        let first = Lock::take(&here, [name("a"), name("b")].iter()).unwrap();
        let error = Lock::take(&here, [name("c"), name("b")].iter()).unwrap_err().to_string();
        let pid = std::process::id();
        assert!(
            error.starts_with(&format!("`app:b` is in the hands of another command: pid {pid} (`")),
            "{error}"
        );
        let _ = Lock::take(&here, [name("c")].iter()).unwrap();
        let _ = Lock::take(&elsewhere, [name("a")].iter()).unwrap();
        assert!(Lock::owner(&here, &name("a")).unwrap().starts_with(&format!("pid {pid} (`")));
        for _ in 0..1000 {
            let _ = Lock::owner(&here, &name("a"));
            first.greet();
        }
        assert!(Lock::owner(&here, &name("a")).is_some(), "those who ask do not fill up the queue");
        drop(first);
        // A child that another test starts at this moment has the socket until its exec.
        let begun = Instant::now();
        while let Some(owner) = Lock::owner(&here, &name("a")) {
            assert!(begun.elapsed() < Duration::from_secs(60), "{owner}");
            thread::yield_now();
        }
        let _ = Lock::take(&here, [name("a")].iter()).unwrap();
    }
}
