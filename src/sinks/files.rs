//! A file that is there whole or not at all: it grows beside its place, and is renamed into it when it is on the disk.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::{Fault, SinkError};

/// What is written at once.
const CHUNK: usize = 64 * 1024;

/// A file in the making. Whoever looks at its path sees what was there before, until [`WholeFile::finish`]; what is
/// dropped before that is removed.
#[derive(Debug)]
pub struct WholeFile {
    sink: &'static str,
    place: String,
    path: PathBuf,
    draft: PathBuf,
    file: BufWriter<File>,
    is_finished: bool,
}

impl WholeFile {
    /// Begins what is to be at `path`; the directory has to be there. Errors are those of `sink` at `place`, which is
    /// what was configured. What is no plain file is not replaced: a device may have been meant to be written to.
    pub fn begin(sink: &'static str, place: &Path, path: &Path) -> Result<Self, SinkError> {
        let draft = draft_of(path);
        let place = place.display().to_string();
        let fault = |fault| SinkError { sink, place: place.clone(), fault };
        if fs::metadata(path).is_ok_and(|there| !there.is_file()) {
            let source = io::Error::other("it is no plain file");
            return Err(fault(Fault::file(path, "cannot be replaced", source)));
        }
        let file = create(&draft).map_err(|source| fault(Fault::file(&draft, "cannot be made", source)))?;
        let file = BufWriter::with_capacity(CHUNK, file);
        Ok(Self { sink, place, path: path.to_owned(), draft, file, is_finished: false })
    }

    /// Lets everybody read it (mode 0644), whatever the umask.
    pub fn show_to_all(&self) -> Result<(), SinkError> {
        let shown = self.file.get_ref().set_permissions(Permissions::from_mode(0o644));
        shown.map_err(|source| self.error(&self.draft, "cannot be given its mode", source))
    }

    /// Adds to its end.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), SinkError> {
        self.file.write_all(bytes).map_err(|source| self.error(&self.draft, "cannot be written", source))
    }

    /// Puts it into its place, so that it and its name outlive a loss of power.
    pub fn finish(mut self) -> Result<(), SinkError> {
        let written = self.file.flush().and_then(|()| self.file.get_ref().sync_all());
        written.map_err(|source| self.error(&self.draft, "cannot be written", source))?;
        fs::rename(&self.draft, &self.path)
            .map_err(|source| self.error(&self.path, "cannot be replaced", source))?;
        self.is_finished = true;
        let directory = directory_of(&self.path);
        sync(directory).map_err(|source| self.error(directory, "cannot be synced", source))
    }

    fn error(&self, path: &Path, what: &'static str, source: io::Error) -> SinkError {
        SinkError { sink: self.sink, place: self.place.clone(), fault: Fault::file(path, what, source) }
    }
}

impl Drop for WholeFile {
    fn drop(&mut self) {
        if !self.is_finished {
            // What stays is replaced by the next one.
            let _ = fs::remove_file(&self.draft);
        }
    }
}

/// Makes a directory and those above it, where they are missing, to stay. Errors are as in [`WholeFile::begin`].
pub fn make_directory(sink: &'static str, place: &Path, path: &Path) -> Result<(), SinkError> {
    let error = |path: &Path, what, source| {
        let place = place.display().to_string();
        SinkError { sink, place, fault: Fault::file(path, what, source) }
    };
    let missing: Vec<&Path> = path.ancestors().take_while(|path| !is_there(path)).collect();
    fs::create_dir_all(path).map_err(|source| error(path, "cannot be made", source))?;
    for made in missing {
        let above = directory_of(made);
        sync(above).map_err(|source| error(above, "cannot be synced", source))?;
    }
    Ok(())
}

/// The directory above a relative path of one part has no name.
fn is_there(path: &Path) -> bool {
    path.as_os_str().is_empty() || path.exists()
}

/// Always the same name, so that what a crash leaves is replaced and never becomes a heap. It begins with a dot and
/// ends in its own way: nobody who collects `*.prom` or looks for `stats` takes it for the file.
fn draft_of(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".new");
    path.with_file_name(name)
}

/// A new file, and not one that somebody else has put there, or a link to one.
fn create(draft: &Path) -> io::Result<File> {
    match fs::remove_file(draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).open(draft)
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;

    fn begin(path: &Path) -> Result<WholeFile, SinkError> {
        WholeFile::begin("prometheus", path, path)
    }

    fn names(directory: &TempDir) -> Vec<String> {
        let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
        let mut names: Vec<String> = fs::read_dir(directory).unwrap().map(name).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_seen_when_it_is_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.prom");
        fs::write(&path, "old").unwrap();
        let mut file = begin(&path).unwrap();
        file.write(b"ne").unwrap();
        file.write(b"w").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(names(&directory), [".a.prom.new", "a.prom"]);
        file.finish().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(names(&directory), ["a.prom"]);
    }

    #[test]
    fn what_is_dropped_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let mut file = begin(&directory.path().join("a")).unwrap();
        file.write(b"half").unwrap();
        drop(file);
        assert!(names(&directory).is_empty());
    }

    #[test]
    fn what_a_crash_left_is_replaced_and_a_link_is_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let (path, other) = (directory.path().join("a"), directory.path().join("other"));
        fs::write(&other, "of somebody else").unwrap();
        symlink(&other, directory.path().join(".a.new")).unwrap();
        let mut file = begin(&path).unwrap();
        file.write(b"mine").unwrap();
        file.finish().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
        assert_eq!(fs::read_to_string(&other).unwrap(), "of somebody else");
        assert_eq!(names(&directory), ["a", "other"]);
    }

    #[test]
    fn everybody_can_be_let_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        let file = begin(&path).unwrap();
        file.file.get_ref().set_permissions(Permissions::from_mode(0o600)).unwrap();
        file.show_to_all().unwrap();
        file.finish().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o644);
    }

    #[test]
    fn a_full_disk_is_told_and_leaves_what_was_there() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.prom");
        fs::write(&path, "old").unwrap();
        let mut file = begin(&path).unwrap();
        // The kernel's own full disk: no file system has to be mounted for it.
        file.file = BufWriter::new(OpenOptions::new().write(true).open("/dev/full").unwrap());
        file.write(b"new").unwrap();
        let error = file.finish().unwrap_err();
        let shown = path.display();
        let draft = directory.path().join(".a.prom.new");
        assert_eq!(
            error.to_string(),
            format!(
                "prometheus {shown}: `{}`: cannot be written: No space left on device (os error 28)",
                draft.display()
            )
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(names(&directory), ["a.prom"]);
    }

    #[test]
    fn what_is_no_plain_file_is_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        for path in [directory.path(), Path::new("/dev/null")] {
            let error = begin(path).unwrap_err().to_string();
            assert!(error.ends_with("`: cannot be replaced: it is no plain file"), "{error}");
        }
    }

    #[test]
    fn a_directory_that_is_missing_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("missing/a");
        let error = begin(&path).unwrap_err().to_string();
        assert!(error.ends_with("/missing/.a.new`: cannot be made: No such file or directory (os error 2)"));
        make_directory("local-store", directory.path(), path.parent().unwrap()).unwrap();
        begin(&path).unwrap().finish().unwrap();
        make_directory("local-store", directory.path(), path.parent().unwrap()).unwrap();
        let error = make_directory("local-store", directory.path(), &path.join("below")).unwrap_err();
        assert!(error.to_string().contains("/missing/a/below`: cannot be made: "), "{error}");
    }
}
