//! The files that HAProxy is started with, as `haproxy -f` takes them: files, and directories of `*.cfg`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::files::{self, FileFault};

/// One `-f`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    File(PathBuf),
    /// With the names that HAProxy reads in it.
    Directory(PathBuf, Vec<OsString>),
}

/// All `-f`, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSet(Vec<Entry>);

impl FileSet {
    /// Looks into the directories.
    pub fn read(paths: &[PathBuf]) -> Result<Self, FileFault> {
        let entry = |path: &PathBuf| {
            if !path.is_dir() {
                return Ok(Entry::File(path.clone()));
            }
            let names = files::names(path)?.into_iter().filter(is_read);
            Ok(Entry::Directory(path.clone(), names.collect()))
        };
        paths.iter().map(entry).collect::<Result<_, _>>().map(Self)
    }

    /// The files, in the order in which HAProxy reads them.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let files = |entry: &Entry| match entry {
            Entry::File(path) => vec![path.clone()],
            Entry::Directory(path, names) => names.iter().map(|name| path.join(name)).collect(),
        };
        self.0.iter().flat_map(files).collect()
    }

    /// Whether HAProxy would read such a file, be it there or not.
    #[must_use]
    pub fn takes(&self, path: &Path) -> bool {
        self.files().iter().any(|file| file == path) || self.is_in_a_directory(path)
    }

    /// Whether HAProxy reads it only because it is in a directory, so that it may come and go.
    #[must_use]
    pub fn is_in_a_directory(&self, path: &Path) -> bool {
        let name = path.file_name().map(OsString::from);
        let above = |entry: &Entry| match entry {
            Entry::Directory(directory, _) => path.parent() == Some(directory),
            Entry::File(_) => false,
        };
        name.is_some_and(|name| is_read(&name)) && self.0.iter().any(above)
    }

    /// The files with some of them replaced, added to a directory, or taken away.
    #[must_use]
    pub fn with(&self, changes: &[(PathBuf, Option<PathBuf>)]) -> Vec<PathBuf> {
        let replaced = |path: PathBuf| match changes.iter().find(|(target, _)| *target == path) {
            Some((_, draft)) => draft.clone(),
            None => Some(path),
        };
        let files = |entry: &Entry| match entry {
            Entry::File(path) => vec![path.clone()],
            Entry::Directory(path, names) => {
                let added = changes.iter().map(|(target, _)| target);
                let added =
                    added.filter(|target| target.parent() == Some(path)).filter_map(|t| t.file_name());
                let mut names: Vec<OsString> =
                    names.iter().cloned().chain(added.map(OsString::from)).collect();
                names.retain(is_read);
                names.sort();
                names.dedup();
                names.into_iter().map(|name| path.join(name)).collect()
            }
        };
        self.0.iter().flat_map(files).filter_map(replaced).collect()
    }
}

/// Which names HAProxy reads in a directory (management guide, 3, `-f`).
fn is_read(name: &OsString) -> bool {
    let name = name.as_encoded_bytes();
    name.ends_with(b".cfg") && !name.starts_with(b".")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn directories_are_read_as_haproxy_does() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::create_dir(path("d")).unwrap();
        for name in ["d/b.cfg", "d/a.cfg", "d/.c.cfg", "d/c.cfg.bak", "d/.a.cfg.new", "main.cfg"] {
            fs::write(path(name), "").unwrap();
        }
        let set = FileSet::read(&[path("main.cfg"), path("d")]).unwrap();
        assert_eq!(set.files(), [path("main.cfg"), path("d/a.cfg"), path("d/b.cfg")]);
        assert!(set.takes(&path("d/new.cfg")) && set.takes(&path("main.cfg")));
        assert!(!set.takes(&path("other.cfg")) && !set.takes(&path("d/new.txt")));
        let changes = [
            (path("main.cfg"), Some(path(".main.cfg.new"))),
            (path("d/b.cfg"), None),
            (path("d/aa.cfg"), Some(path("d/.aa.cfg.new"))),
        ];
        assert_eq!(set.with(&changes), [path(".main.cfg.new"), path("d/a.cfg"), path("d/.aa.cfg.new")]);
    }
}
