//! One change at a time: a lock that ends with its owner, and says who that is.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::poll::{PollTimeout, poll};
use thiserror::Error;

/// Between two tries: the kernel tells nobody when such a lock is free, unless it is waited for without a deadline.
const BETWEEN_TRIES: Duration = Duration::from_millis(20);

/// The lock; given back when dropped.
#[derive(Debug)]
pub struct Lock {
    _file: Flock<File>,
}

/// Why there is no lock.
#[derive(Debug, Error)]
pub enum LockError {
    /// Another command has it.
    #[error(
        "another change is under way, by {owner}; it did not end within {within:?}; wait for its end and try again"
    )]
    Taken {
        /// Who, in words.
        owner: String,
        /// For how long it was waited for.
        within: Duration,
    },
    /// The file is out of reach.
    #[error("`{}`: cannot be locked: {cause}", path.display())]
    System {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
}

impl Lock {
    /// Waits until the lock is free, `within` at most. `owner` is what others are told meanwhile.
    pub fn take(path: &Path, owner: &str, within: Duration) -> Result<Self, LockError> {
        let system = |cause| LockError::System { path: path.to_owned(), cause };
        let options = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
        let mut file = options.map_err(system)?;
        let deadline = Instant::now() + within;
        loop {
            file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(mut file) => {
                    // Only for people, so it may fail: a full disk must not keep anybody from freeing it.
                    let _ = file.set_len(0).and_then(|()| file.write_all(owner.as_bytes()));
                    return Ok(Self { _file: file });
                }
                Err((file, Errno::EWOULDBLOCK)) => file,
                Err((_, error)) => return Err(system(error.into())),
            };
            if Instant::now() >= deadline {
                return Err(LockError::Taken { owner: owner_of(path), within });
            }
            pause(BETWEEN_TRIES);
        }
    }
}

fn owner_of(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let plain: String = text.chars().filter(|c| !c.is_control()).take(200).collect();
    if plain.is_empty() { "somebody who does not tell".into() } else { plain }
}

/// Lets time pass.
pub(super) fn pause(length: Duration) {
    let length = PollTimeout::try_from(length).unwrap_or(PollTimeout::ZERO);
    // A signal ends it early: whoever waits looks again.
    let _ = poll(&mut [], length);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_one_is_told_who_has_it_and_gets_it_afterwards() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let first = Lock::take(&path, "anna (pid 7), a longer text", Duration::ZERO).unwrap();
        let error = Lock::take(&path, "otto", Duration::from_millis(30)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "another change is under way, by anna (pid 7), a longer text; it did not end within 30ms; wait for its \
             end and try again"
        );
        drop(first);
        let _second = Lock::take(&path, "otto", Duration::ZERO).unwrap();
        assert_eq!(owner_of(&path), "otto");
    }

    #[test]
    fn who_waits_gets_it_when_it_is_free() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let first = Lock::take(&path, "anna", Duration::ZERO).unwrap();
        let waiting = {
            let path = path.clone();
            std::thread::spawn(move || Lock::take(&path, "otto", Duration::from_secs(30)))
        };
        drop(first);
        assert!(waiting.join().unwrap().is_ok());
    }
}
