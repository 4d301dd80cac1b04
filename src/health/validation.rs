//! Whether HAProxy would start with the configuration that is on the disk: `haproxy -c`.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};

use super::child;

/// A check of a large configuration with many certificates takes seconds, and one that resolves names may hang.
const WITHIN: Duration = Duration::from_secs(30);

/// HAProxy's program and what it is started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// The program, by name or path.
    pub program: PathBuf,
    /// Files, or directories whose files `*.cfg` are read, as `-f` takes them.
    pub files: Vec<PathBuf>,
}

/// What tells one state of the files from another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Imprint(Vec<(PathBuf, Option<(SystemTime, u64)>)>);

impl Configuration {
    /// Fails with HAProxy's own words, or with what kept it from being asked. Blocks for half a minute at most.
    pub(super) fn validate(&self, stop: &AtomicBool) -> Result<(), String> {
        let mut command = Command::new(&self.program);
        command.arg("-c");
        for file in &self.files {
            command.arg("-f").arg(file);
        }
        let ended = child::run(command, WITHIN, stop)
            .map_err(|fault| format!("`{} -c`: {fault}", self.program.display()))?;
        ended.success().map(|_| ()).map_err(|said| alerts(&said))
    }

    /// The files as they are now. What they name in turn (certificates, maps) is not looked at.
    pub(super) fn imprint(&self) -> Imprint {
        let mut files: Vec<PathBuf> = self.files.iter().flat_map(|file| with_children(file)).collect();
        files.sort();
        Imprint(
            files
                .into_iter()
                .map(|file| {
                    let state = state(&file);
                    (file, state)
                })
                .collect(),
        )
    }
}

/// What is wrong, of all that HAProxy says: `[ALERT]    (PID) : config : [FILE:LINE] : what`.
fn alerts(said: &str) -> String {
    let lines = said.split("; ").filter_map(|line| line.split_once("[ALERT]"));
    let lines = lines.map(|(_, line)| line.split_once(" : ").map_or(line, |(_, what)| what).trim());
    let alerts: Vec<&str> = lines.collect();
    if alerts.is_empty() { said.to_owned() } else { alerts.join("; ") }
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

    fn configuration(files: &[&Path]) -> Configuration {
        Configuration {
            program: "/bin/sh".into(),
            files: files.iter().map(|file| file.to_path_buf()).collect(),
        }
    }

    #[test]
    fn the_imprint_changes_with_each_file_of_a_directory() {
        let directory = tempfile::tempdir().unwrap();
        let configuration = configuration(&[directory.path()]);
        let empty = configuration.imprint();
        fs::write(directory.path().join("a.cfg"), "global\n").unwrap();
        let one = configuration.imprint();
        assert_ne!(one, empty);
        assert_eq!(one, configuration.imprint());
        fs::write(directory.path().join("a.cfg"), "global\n\n").unwrap();
        assert_ne!(one, configuration.imprint());
    }

    #[test]
    fn of_what_haproxy_says_the_alerts_are_told() {
        let said = "exit status: 1: [NOTICE]   (7) : haproxy version is 2.6.12; [ALERT]    (7) : config : [/h.cfg:13] : \
                    'server' expects <name>; [WARNING]  (7) : odd; [ALERT]    (7) : config : Fatal errors found";
        assert_eq!(
            alerts(said),
            "config : [/h.cfg:13] : 'server' expects <name>; config : Fatal errors found"
        );
        assert_eq!(alerts("signal: 9 (SIGKILL)"), "signal: 9 (SIGKILL)");
    }

    #[test]
    fn a_program_that_is_not_there_validates_nothing() {
        let configuration = Configuration { program: "/no/haproxy".into(), files: vec!["/x".into()] };
        let why = configuration.validate(&AtomicBool::new(false)).unwrap_err();
        assert!(why.starts_with("`/no/haproxy -c`: cannot be run: No such file"), "{why}");
    }
}
