//! The file in which holds outlive the listener.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use thiserror::Error;

use crate::agent::{Holds, HoldsError};
use crate::net::Endpoint;

/// The largest file that is read: [`crate::agent::MAX_HOLDS`] with the longest names and reasons have less.
const MAX_BYTES: u64 = 80 * 1024 * 1024;

/// Everybody may see what is held.
const MODE: u32 = 0o644;

/// Others may put files of their own into such a directory, as into `/tmp`.
const WRITABLE_BY_ALL: u32 = 0o002;

/// Where the holds are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldsFile {
    path: PathBuf,
}

/// Why holds were not loaded or saved.
#[derive(Debug, Error)]
pub enum StoreError {
    /// It cannot be read.
    #[error("holds file `{}`: cannot be read: {cause}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// It cannot be written.
    #[error("holds file `{}`: cannot be written: {cause}", path.display())]
    Write {
        /// Which file.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// A directory, a device or the like is in its place.
    #[error("holds file `{}`: is no regular file; name another one with `--holds-file`", .0.display())]
    NoFile(PathBuf),
    /// Somebody else has put it where everybody may.
    #[error(
        "holds file `{}`: belongs to another user and lies in a directory that everybody may write to; remove it, \
         or name a safer place with `--holds-file`",
        .0.display()
    )]
    Foreign(PathBuf),
    /// It was read and not understood.
    #[error("holds file `{}`: is damaged: {cause}; repair or remove it", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        cause: HoldsError,
    },
    /// More than anybody can have written by orders.
    #[error("holds file `{}`: is damaged: it is longer than {MAX_BYTES} bytes; repair or remove it", .0.display())]
    Long(PathBuf),
}

impl HoldsFile {
    /// A file of this name, whether it is there or not.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The file beside supervisord's unix socket, with `.holds` at the end: the place where it is looked for if
    /// nothing else was said. An inet server has nothing beside it.
    #[must_use]
    pub fn beside(supervisord: &Endpoint) -> Option<Self> {
        match supervisord {
            Endpoint::Unix(socket) => Some(Self::new(with_end(socket, ".holds"))),
            Endpoint::Tcp { .. } => None,
        }
    }

    /// Its name.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is held; nothing where there is no file.
    pub fn load(&self) -> Result<Holds, StoreError> {
        self.open()?.map_or_else(|| Ok(Holds::default()), |(file, _)| self.read(file))
    }

    /// The same for whoever acts on it: a file that another user may have planted is refused.
    pub fn load_own(&self) -> Result<Holds, StoreError> {
        let Some((file, metadata)) = self.open()? else { return Ok(Holds::default()) };
        let is_ours = [0, rustix::process::geteuid().as_raw()].contains(&metadata.uid());
        let shared = fs::metadata(directory(&self.path))
            .is_ok_and(|directory| directory.mode() & WRITABLE_BY_ALL != 0);
        if shared && !is_ours { Err(StoreError::Foreign(self.path.clone())) } else { self.read(file) }
    }

    /// Puts a new file in the place of the old one, which is there until the new one is on the disk.
    pub fn save(&self, holds: &Holds) -> Result<(), StoreError> {
        if fs::metadata(&self.path).is_ok_and(|metadata| !metadata.is_file()) {
            return Err(StoreError::NoFile(self.path.clone()));
        }
        // Two listeners may keep their holds in one place.
        let draft = with_end(&self.path, &format!(".{}", std::process::id()));
        let saved = write(&draft, &holds.to_json()).and_then(|()| fs::rename(&draft, &self.path));
        saved.map_err(|cause| {
            // It may be there or not; the first error is the one to tell.
            let _ = fs::remove_file(&draft);
            StoreError::Write { path: self.path.clone(), cause }
        })
    }

    /// Moves a file that cannot be used out of the way, so that [`Self::save`] does not overwrite it; gives its
    /// new name, or `None` where there was no file.
    pub fn set_aside(&self) -> Result<Option<PathBuf>, StoreError> {
        match fs::metadata(&self.path) {
            Ok(metadata) if !metadata.is_file() => return Err(StoreError::NoFile(self.path.clone())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            _ => {}
        }
        let aside = with_end(&self.path, ".damaged");
        let moved = fs::rename(&self.path, &aside);
        moved.map(|()| Some(aside)).map_err(|cause| StoreError::Write { path: self.path.clone(), cause })
    }

    fn open(&self) -> Result<Option<(File, Metadata)>, StoreError> {
        let path = || self.path.clone();
        // A pipe in its place must not be waited for.
        let opened =
            OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(&self.path).and_then(
                |file| {
                    let metadata = file.metadata()?;
                    Ok((file, metadata))
                },
            );
        match opened {
            Ok((_, metadata)) if !metadata.is_file() => Err(StoreError::NoFile(path())),
            Ok(found) => Ok(Some(found)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(StoreError::Read { path: path(), cause }),
        }
    }

    fn read(&self, file: File) -> Result<Holds, StoreError> {
        let path = || self.path.clone();
        let mut bytes = Vec::new();
        let read = file.take(MAX_BYTES + 1).read_to_end(&mut bytes);
        read.map_err(|cause| StoreError::Read { path: path(), cause })?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(StoreError::Long(path()));
        }
        // What is no text is no JSON either, and is refused as that.
        let text = String::from_utf8_lossy(&bytes);
        Holds::parse(&text).map_err(|cause| StoreError::Damaged { path: path(), cause })
    }
}

/// A file that nobody else has a hand in: in a directory that all may write to, a link of somebody else's could
/// lead anywhere, so it must be a new one.
fn write(path: &Path, text: &str) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(path)?;
    file.set_permissions(Permissions::from_mode(MODE))?;
    file.write_all(text.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(end);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{chown, symlink};

    use super::*;
    use crate::agent::Hold;

    fn holds(servers: &[&str]) -> Holds {
        let hold = |server: &&str| Hold {
            server: server.parse().unwrap(),
            by: "root".into(),
            reason: "disk".into(),
            since: 1_760_000_000,
        };
        servers.iter().map(hold).collect()
    }

    /// A directory and a file in it that is not there yet.
    fn place() -> (tempfile::TempDir, HoldsFile) {
        let directory = tempfile::tempdir().unwrap();
        let file = HoldsFile::new(directory.path().join("s.sock.holds"));
        (directory, file)
    }

    fn names(directory: &tempfile::TempDir) -> Vec<String> {
        let entries = fs::read_dir(directory.path()).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn it_is_beside_the_socket_of_supervisord() {
        let beside = |text: &str| HoldsFile::beside(&text.parse().unwrap());
        assert_eq!(beside("unix:///run/s.sock"), Some(HoldsFile::new("/run/s.sock.holds")));
        assert_eq!(beside("tcp://localhost:9001"), None);
    }

    #[test]
    fn what_was_saved_is_loaded_and_nothing_else_is_left_behind() {
        let (directory, file) = place();
        assert_eq!(file.load().unwrap(), Holds::default());
        for servers in [&["app/a", "app/b"][..], &["app/b"], &[]] {
            file.save(&holds(servers)).unwrap();
            assert_eq!(file.load().unwrap(), holds(servers));
            assert_eq!(file.load_own().unwrap(), holds(servers));
        }
        assert_eq!(fs::metadata(file.path()).unwrap().mode() & 0o777, 0o644);
        assert_eq!(names(&directory), ["s.sock.holds"]);
    }

    #[test]
    fn a_damaged_file_is_told_and_can_be_set_aside() {
        let (directory, file) = place();
        assert_eq!(file.set_aside().unwrap(), None);
        fs::write(file.path(), "{\"version\":7}").unwrap();
        let error = file.load().unwrap_err().to_string();
        assert!(error.ends_with(
            "s.sock.holds`: is damaged: format version 7 is unknown, expected 1; repair or remove it"
        ));
        assert!(file.set_aside().unwrap().unwrap().ends_with("s.sock.holds.damaged"));
        file.save(&holds(&["app/a"])).unwrap();
        assert_eq!(names(&directory), ["s.sock.holds", "s.sock.holds.damaged"]);
        fs::write(file.path(), b"\xff\xfe").unwrap();
        assert!(matches!(file.load(), Err(StoreError::Damaged { .. })));
    }

    #[test]
    fn what_is_no_regular_file_is_neither_waited_for_nor_replaced() {
        let (directory, file) = place();
        nix::unistd::mkfifo(file.path(), nix::sys::stat::Mode::S_IRWXU).unwrap();
        for file in [file, HoldsFile::new("/dev/null"), HoldsFile::new(directory.path())] {
            assert!(matches!(file.load(), Err(StoreError::NoFile(_))), "{file:?}");
            assert!(matches!(file.save(&Holds::default()), Err(StoreError::NoFile(_))), "{file:?}");
            assert!(matches!(file.set_aside(), Err(StoreError::NoFile(_))), "{file:?}");
        }
        assert_eq!(names(&directory), ["s.sock.holds"]);
    }

    #[test]
    fn a_place_that_cannot_be_written_is_named() {
        let (directory, _) = place();
        let file = HoldsFile::new(directory.path().join("missing/holds"));
        assert_eq!(file.load().unwrap(), Holds::default());
        let error = file.save(&Holds::default()).unwrap_err().to_string();
        assert!(error.ends_with("missing/holds`: cannot be written: No such file or directory (os error 2)"));
    }

    #[test]
    fn a_link_in_the_way_of_the_draft_is_not_followed() {
        let (directory, file) = place();
        let victim = directory.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        symlink(&victim, with_end(file.path(), &format!(".{}", std::process::id()))).unwrap();
        file.save(&holds(&["app/a"])).unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
        assert_eq!(names(&directory), ["s.sock.holds", "victim"]);
    }

    #[test]
    fn who_acts_on_it_takes_no_file_that_another_user_has_planted() {
        let (directory, file) = place();
        file.save(&holds(&["app/a"])).unwrap();
        if chown(file.path(), Some(12345), None).is_err() {
            return; // Only root can give files away.
        }
        assert_eq!(file.load_own().unwrap(), holds(&["app/a"]), "nobody else may write here");
        fs::set_permissions(directory.path(), Permissions::from_mode(0o1777)).unwrap();
        assert!(matches!(file.load_own(), Err(StoreError::Foreign(_))));
        assert_eq!(file.load().unwrap(), holds(&["app/a"]), "it may be looked at");
    }
}
