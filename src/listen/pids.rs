//! The processes that are watched: a pidfd becomes readable the moment its process ends, two seconds before
//! supervisord tells of it (`pidfd_open(2)`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::process::{PidfdFlags, pidfd_open};

use crate::agent::Life;
use crate::supervisor::Pid;

/// Watches processes of supervisord.
#[derive(Debug)]
pub(super) struct Pids {
    registry: Registry,
    watched: BTreeMap<Pid, OwnedFd>,
    ancestors: Vec<Pid>,
    namespace: Namespace,
    complaint: Option<String>,
}

/// Whether supervisord's pids mean the same here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Namespace {
    /// Nothing was seen that tells.
    Unverified,
    /// supervisord is one of our ancestors.
    Shared,
    /// supervisord lives elsewhere, as in another container.
    Foreign,
}

/// Pids and tokens share their numbers from here on.
const FIRST_TOKEN: usize = 1 << 20;

impl Pids {
    pub(super) fn new(registry: Registry) -> Self {
        let ancestors = ancestors();
        let namespace = if ancestors.is_empty() { Namespace::Foreign } else { Namespace::Unverified };
        let complaint = ancestors.is_empty().then(|| "its parent is in another pid namespace".to_owned());
        Self { registry, watched: BTreeMap::new(), ancestors, namespace, complaint }
    }

    /// The pid that an event of the poll is about.
    pub(super) fn pid(token: Token) -> Option<Pid> {
        let number = token.0.checked_sub(FIRST_TOKEN)?;
        u32::try_from(number).ok().and_then(Pid::new)
    }

    /// supervisord has told its own pid.
    pub(super) fn identify(&mut self, supervisord: Pid) {
        if self.ancestors.contains(&supervisord) {
            self.namespace = Namespace::Shared;
        } else {
            self.namespace = Namespace::Foreign;
            self.complain(format!("supervisord's pid {supervisord} is none of our ancestors"));
        }
    }

    /// Any process that supervisord names may show that its pids mean the same here: one that is our sibling,
    /// or ourselves.
    pub(super) fn learn(&mut self, pid: Pid) {
        if self.namespace == Namespace::Unverified {
            let is_sibling = parent(pid).is_some_and(|parent| self.is_ancestor(parent));
            if is_sibling || pid.get() == std::process::id() {
                self.namespace = Namespace::Shared;
            }
        }
    }

    /// Why deaths cannot be watched, the first time it is asked for.
    pub(super) fn complaint(&mut self) -> Option<String> {
        self.complaint.as_mut().map(std::mem::take).filter(|complaint| !complaint.is_empty())
    }

    /// Looks at a process of supervisord, and watches it from here on if it is alive.
    pub(super) fn look(&mut self, pid: Pid) -> Life {
        if self.namespace == Namespace::Foreign {
            return Life::Unknown;
        }
        if self.watched.contains_key(&pid) {
            return if self.has_ended(pid) { Life::Dead } else { Life::Alive };
        }
        match open(pid) {
            Ok(fd) => self.meet(pid, fd),
            // Without certainty that this is supervisord's number for it, absence tells nothing.
            Err(rustix::io::Errno::SRCH) if self.namespace == Namespace::Shared => Life::Dead,
            Err(rustix::io::Errno::SRCH) => Life::Unknown,
            Err(error) => {
                self.complain(format!("pidfd_open: {}", io::Error::from(error)));
                Life::Unknown
            }
        }
    }

    /// Whether a watched process has ended; it is watched no longer then.
    pub(super) fn has_ended(&mut self, pid: Pid) -> bool {
        let ended = self.watched.get(&pid).is_some_and(is_readable);
        if ended {
            self.watched.remove(&pid);
        }
        ended
    }

    /// Stops watching all others.
    pub(super) fn retain(&mut self, wanted: &BTreeSet<Pid>) {
        self.watched.retain(|pid, _| wanted.contains(pid));
    }

    fn meet(&mut self, pid: Pid, fd: OwnedFd) -> Life {
        let parent = parent(pid);
        match (parent, self.namespace) {
            (Some(parent), _) if self.is_ancestor(parent) => self.namespace = Namespace::Shared,
            // The number belongs to somebody else by now.
            (Some(_), Namespace::Shared) => return Life::Dead,
            (None, Namespace::Shared) => {}
            (_, _) => {
                let whose = if parent.is_some() { "is not supervisord's" } else { "cannot be looked at" };
                self.complain(format!("the process with pid {pid} {whose}"));
                return Life::Unknown;
            }
        }
        if is_readable(&fd) {
            return Life::Dead;
        }
        self.watch(pid, fd)
    }

    fn is_ancestor(&self, number: i32) -> bool {
        to_pid(number).is_some_and(|pid| self.ancestors.contains(&pid))
    }

    fn watch(&mut self, pid: Pid, fd: OwnedFd) -> Life {
        let Ok(number) = usize::try_from(pid.get()) else { return Life::Unknown };
        let token = Token(FIRST_TOKEN + number);
        match self.registry.register(&mut SourceFd(&fd.as_raw_fd()), token, Interest::READABLE) {
            Ok(()) => {
                self.watched.insert(pid, fd);
                Life::Alive
            }
            Err(error) => {
                self.complain(format!("epoll: {error}"));
                Life::Unknown
            }
        }
    }

    fn complain(&mut self, complaint: String) {
        self.complaint.get_or_insert(complaint);
    }
}

fn open(pid: Pid) -> rustix::io::Result<OwnedFd> {
    let number = i32::try_from(pid.get()).map_err(|_| rustix::io::Errno::INVAL)?;
    let pid = rustix::process::Pid::from_raw(number).ok_or(rustix::io::Errno::INVAL)?;
    pidfd_open(pid, PidfdFlags::NONBLOCK)
}

/// A pidfd is readable once its process has ended, reaped or not.
fn is_readable(fd: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO).is_ok_and(|count| count > 0)
}

/// Our parent, its parent and so on. pid 1 adopts orphans, so it counts only where it is supervisord itself.
fn ancestors() -> Vec<Pid> {
    let direct = to_pid(nix::unistd::getppid().as_raw());
    let chain = std::iter::successors(direct, |pid| to_pid(parent(*pid)?));
    // A process that was moved under a debugger may make a ring of any length.
    chain.take(64).filter(|pid| pid.get() != 1 || direct == Some(*pid) || init_is_supervisord()).collect()
}

fn init_is_supervisord() -> bool {
    fs::read("/proc/1/cmdline").is_ok_and(|line| String::from_utf8_lossy(&line).contains("supervisord"))
}

/// The number of its parent; 0 for a parent outside of our pid namespace, `None` where it cannot be told.
fn parent(pid: Pid) -> Option<i32> {
    // A line of some 300 bytes. One read: whoever reads until the end asks the kernel many times over, for
    // files in /proc have no size.
    let mut line = [0; 1024];
    let length = File::open(format!("/proc/{pid}/stat")).and_then(|mut file| file.read(&mut line)).ok()?;
    let stat = String::from_utf8_lossy(line.get(..length)?);
    // The second field, in parentheses, may hold anything (proc(5)); state and parent follow it.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

fn to_pid(number: i32) -> Option<Pid> {
    u32::try_from(number).ok().and_then(Pid::new)
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use mio::{Events, Poll};

    use super::*;

    /// Watches the children of the test itself, as if it were supervisord.
    fn pids() -> (Poll, Pids) {
        let poll = Poll::new().unwrap();
        let registry = poll.registry().try_clone().unwrap();
        let ancestors = vec![Pid::new(std::process::id()).unwrap()];
        let pids = Pids {
            registry,
            watched: BTreeMap::new(),
            ancestors,
            namespace: Namespace::Unverified,
            complaint: None,
        };
        (poll, pids)
    }

    fn child() -> (Child, Pid) {
        let child = Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = Pid::new(child.id()).unwrap();
        (child, pid)
    }

    #[test]
    fn a_death_wakes_the_poll_and_a_zombie_is_dead() {
        let (mut poll, mut pids) = pids();
        let (mut child, pid) = child();
        assert_eq!(pids.look(pid), Life::Alive);
        child.kill().unwrap();
        let mut events = Events::with_capacity(4);
        poll.poll(&mut events, Some(std::time::Duration::from_secs(10))).unwrap();
        assert_eq!(events.iter().next().and_then(|event| Pids::pid(event.token())), Some(pid));
        assert_eq!(pids.look(pid), Life::Dead, "not reaped yet");
        assert_eq!(pids.look(pid), Life::Dead, "met anew");
        child.wait().unwrap();
        assert_eq!(pids.look(pid), Life::Dead, "reaped");
    }

    #[test]
    fn nothing_is_believed_before_the_namespace_is_verified() {
        let (_poll, mut pids) = pids();
        let (mut child, pid) = child();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(pids.look(pid), Life::Unknown);
        pids.identify(Pid::new(std::process::id()).unwrap());
        assert_eq!(pids.look(pid), Life::Dead);
        assert_eq!(pids.complaint(), None);
    }

    #[test]
    fn a_foreign_namespace_is_told_once() {
        let (_poll, mut pids) = pids();
        let (mut child, pid) = child();
        pids.identify(Pid::new(u32::MAX / 2).unwrap());
        assert_eq!(pids.look(pid), Life::Unknown);
        assert!(pids.complaint().unwrap().contains("none of our ancestors"));
        pids.identify(Pid::new(u32::MAX / 2).unwrap());
        assert_eq!(pids.complaint(), None);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_stranger_is_not_watched() {
        let (_poll, mut pids) = pids();
        assert_eq!(pids.look(Pid::new(1).unwrap()), Life::Unknown);
        assert!(pids.complaint().unwrap().contains("pid 1"));
        pids.identify(Pid::new(std::process::id()).unwrap());
        assert_eq!(pids.look(Pid::new(1).unwrap()), Life::Dead, "the number is somebody else's by now");
    }

    #[test]
    fn what_is_not_wanted_is_dropped() {
        let (_poll, mut pids) = pids();
        let (mut child, pid) = child();
        pids.look(pid);
        pids.retain(&BTreeSet::new());
        assert!(pids.watched.is_empty());
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
