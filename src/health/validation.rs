//! Whether HAProxy would start with the configuration that is on the disk, and whether that is another one by now.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};

use crate::exec::Configuration;

/// A check of a large configuration with many certificates takes seconds, and one that resolves names may hang.
const WITHIN: Duration = Duration::from_secs(30);

/// What tells one state of the files from another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Imprint(Vec<(PathBuf, Option<(SystemTime, u64)>)>);

/// Fails with HAProxy's own words, or with what kept it from being asked. Blocks for half a minute at most.
pub(super) fn validate(configuration: &Configuration, stop: &AtomicBool) -> Result<(), String> {
    let checked = configuration.check(WITHIN, stop).map_err(|fault| fault.to_string())?;
    if checked.is_valid { Ok(()) } else { Err(checked.why()) }
}

impl Imprint {
    /// Of the files as they are now. What they name in turn (certificates, maps) is not looked at.
    pub(super) fn of(configuration: &Configuration) -> Self {
        let mut files: Vec<PathBuf> =
            configuration.files.iter().flat_map(|file| with_children(file)).collect();
        files.sort();
        let with_state = |file: PathBuf| {
            let state = state(&file);
            (file, state)
        };
        Self(files.into_iter().map(with_state).collect())
    }
}

fn with_children(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    let children = entries.filter(|path| path.extension() == Some(OsStr::new("cfg")));
    std::iter::once(path.to_owned()).chain(children).collect()
}

fn state(file: &Path) -> Option<(SystemTime, u64)> {
    let metadata = fs::metadata(file).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_imprint_changes_with_each_file_of_a_directory() {
        let directory = tempfile::tempdir().unwrap();
        let configuration =
            Configuration { program: "haproxy".into(), files: vec![directory.path().to_owned()] };
        let empty = Imprint::of(&configuration);
        fs::write(directory.path().join("a.cfg"), "global\n").unwrap();
        let one = Imprint::of(&configuration);
        assert_ne!(one, empty);
        assert_eq!(one, Imprint::of(&configuration));
        fs::write(directory.path().join("a.cfg"), "global\n\n").unwrap();
        assert_ne!(one, Imprint::of(&configuration));
    }
}
