//! Files that are there whole or not at all: what is written beside its place, put into it, and on the disk before
//! anybody goes on.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// The largest file that is read: far above any configuration, far below what would hurt.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// What could not be done with a file.
#[derive(Debug, Error)]
#[error("`{}`: cannot be {what}: {source}", path.display())]
pub struct FileFault {
    /// Which file.
    pub path: PathBuf,
    /// As in `written`.
    pub what: &'static str,
    /// Why.
    pub source: io::Error,
}

pub(super) type Result<T> = std::result::Result<T, FileFault>;

fn fault<'a>(path: &'a Path, what: &'static str) -> impl Fn(io::Error) -> FileFault + use<'a> {
    move |source| FileFault { path: path.to_owned(), what, source }
}

/// What a file holds; `None` where there is none.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    let fault = fault(path, "read");
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(&fault)?,
    };
    if !file.metadata().map_err(&fault)?.is_file() {
        return Err(fault(io::Error::other("it is no regular file")));
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(&fault)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(fault(io::Error::other(format!("it is longer than {MAX_BYTES} bytes"))));
    }
    Ok(Some(bytes))
}

/// The permissions of a file, or what a new one gets.
pub(super) fn mode(path: &Path) -> u32 {
    fs::metadata(path).map_or(0o644, |metadata| metadata.mode() & 0o7777)
}

/// Where a file is: a link is followed, so that it stays one and what it leads to is replaced.
pub(super) fn real(path: &Path) -> PathBuf {
    let beside = || Some(fs::canonicalize(path.parent()?).ok()?.join(path.file_name()?));
    fs::canonicalize(path).ok().or_else(beside).unwrap_or_else(|| path.to_owned())
}

/// The new content beside its place. HAProxy passes over names that begin with a dot, and over those that do not end in
/// `.cfg`, where it reads a directory.
pub(super) fn draft_of(path: &Path) -> PathBuf {
    beside(path, ".new")
}

/// The old content beside its place, so that putting it back needs no room on the disk.
pub(super) fn spare_of(path: &Path) -> PathBuf {
    beside(path, ".old")
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(end);
    path.with_file_name(name)
}

/// Writes a new file in the place of any other, and has it on the disk. Whoever may read `like` may read this.
pub(super) fn write(path: &Path, bytes: &[u8], mode: u32, like: &Path) -> Result<()> {
    remove(path)?;
    // Nobody may read it before it is known who may.
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let written = opened.and_then(|mut file| {
        file.write_all(bytes)?;
        if let Ok(owner) = fs::metadata(like) {
            // Only root may give files away; others keep their own.
            let _ = fchown(&file, Some(owner.uid()), Some(owner.gid()));
        }
        file.set_permissions(Permissions::from_mode(mode))?;
        file.sync_all()
    });
    written.map_err(|error| {
        // Half a file helps nobody, and what it takes may be what is missing.
        let _ = fs::remove_file(path);
        fault(path, "written")(error)
    })
}

/// Writes a file of our own, so that it appears whole.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let draft = draft_of(path);
    write(&draft, bytes, 0o600, Path::new(""))?;
    rename(&draft, path)
}

/// A second name for a file, or a copy where there are no such names.
pub(super) fn keep(path: &Path, spare: &Path) -> Result<()> {
    remove(spare)?;
    if fs::hard_link(path, spare).is_ok() {
        return Ok(());
    }
    read(path)?.map_or(Ok(()), |bytes| write(spare, &bytes, mode(path), path))
}

/// Puts a file into its place, for good.
pub(super) fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(fault(to, "replaced"))?;
    sync_directory(to)
}

/// Removes a file, which may be missing.
pub(super) fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(fault(path, "removed")(error)),
        _ => Ok(()),
    }
}

/// Makes the names in the directory of a file last.
pub(super) fn sync_directory(path: &Path) -> Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(fault(directory, "synced"))
}

/// A directory that only its owner may look into: configurations hold passwords.
pub(super) fn make_private_directory(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let made = fs::create_dir(path).and_then(|()| fs::set_permissions(path, Permissions::from_mode(0o700)));
    match made {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(fault(path, "made")(error)),
        _ => sync_directory(path),
    }
}

/// The names in a directory, in the order of their bytes, as HAProxy sorts them.
pub(super) fn names(path: &Path) -> Result<Vec<OsString>> {
    let entries = fs::read_dir(path).map_err(fault(path, "read"))?;
    let names: io::Result<Vec<OsString>> = entries.map(|entry| Ok(entry?.file_name())).collect();
    let mut names = names.map_err(fault(path, "read"))?;
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_file_takes_over_who_may_read_the_one_before() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.cfg");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        write(&draft_of(&path), b"new", mode(&path), &path).unwrap();
        rename(&draft_of(&path), &path).unwrap();
        assert_eq!((read(&path).unwrap().unwrap(), mode(&path)), (b"new".to_vec(), 0o640));
        assert_eq!(names(directory.path()).unwrap(), ["a.cfg"]);
    }

    #[test]
    fn a_link_is_followed_to_where_the_file_is() {
        let directory = tempfile::tempdir().unwrap();
        let base = fs::canonicalize(directory.path()).unwrap();
        symlink("real.cfg", base.join("link.cfg")).unwrap();
        assert_eq!(real(&base.join("link.cfg")), base.join("link.cfg"), "where it leads there is nothing");
        fs::write(base.join("real.cfg"), "").unwrap();
        assert_eq!(real(&base.join("link.cfg")), base.join("real.cfg"));
        assert_eq!(real(&base.join("new.cfg")), base.join("new.cfg"));
    }

    #[test]
    fn what_is_no_file_is_an_error_and_what_is_missing_is_nothing() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(read(&directory.path().join("none")).unwrap(), None);
        let error = read(directory.path()).unwrap_err().to_string();
        assert!(error.ends_with("cannot be read: it is no regular file"), "{error}");
    }
}
