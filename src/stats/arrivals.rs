//! Word from the kernel that something arrived in a directory (inotify(7)). It may be lost, where too much comes at
//! once or the directory is on another machine: who waits for it looks by himself from time to time.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

/// Becomes readable when a name is moved into a directory.
#[derive(Debug)]
pub struct Arrivals(Inotify);

impl Arrivals {
    /// Begins to watch.
    pub fn watch(directory: &Path) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        inotify.add_watch(directory, AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_ONLYDIR)?;
        Ok(Self(inotify))
    }

    /// Reads all that there is, so that only what comes later is readable. Which names they are is of no interest:
    /// the directory says that.
    pub fn forget(&self) -> io::Result<()> {
        loop {
            match self.0.read_events() {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl AsFd for Arrivals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
