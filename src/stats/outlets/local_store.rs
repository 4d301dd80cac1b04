//! The local store: a directory with one directory for each snapshot, and in it the file `stats` with the lines that
//! Graphite would have. haproxystats never removes any of it, and neither does this.
//!
//! This machine's snapshots are at `DIR/EPOCH/stats`, as haproxystats has them. Those of others are at
//! `DIR/ORIGIN/EPOCH/stats`: several machines tell of the same second. A further snapshot of one second is at
//! `EPOCH.1`, as in the spool; its number is the spool's, so that one which comes again takes its own place.

use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::Outlet;
use crate::sinks::{SinkError, WholeFile, make_directory};
use crate::stats::spool;
use crate::stats::{Naming, Reading, settings};

const SINK: &str = "local-store";
const FILE: &str = "stats";

/// Writes each reading to a file of its own.
#[derive(Debug)]
pub struct LocalStoreOutlet {
    directory: PathBuf,
    naming: Naming,
}

impl LocalStoreOutlet {
    /// Makes nothing yet. Directories are made as they are needed, `dir` itself among them.
    #[must_use]
    pub fn new(settings: &settings::LocalStore, naming: Naming) -> Self {
        Self { directory: settings.dir.clone(), naming }
    }
}

impl Outlet<Reading<'_>> for LocalStoreOutlet {
    fn deliver(&mut self, reading: &Reading<'_>) -> Result<(), SinkError> {
        let directory = place(&self.directory, reading.origin.as_deref(), reading.time, reading.number);
        make_directory(SINK, &self.directory, &directory)?;
        let mut file = WholeFile::begin(SINK, &self.directory, &directory.join(FILE))?;
        let mut lines = self.naming.lines(reading);
        let mut out = Vec::new();
        reading.emit(&mut |subject, datapoints| {
            out.clear();
            lines.write(subject, datapoints, &mut out);
            file.write(&out)
        })?;
        file.finish()
    }
}

fn place(directory: &Path, origin: Option<&str>, time: u64, number: u32) -> PathBuf {
    let own = origin.map(file_name).unwrap_or_default();
    // Nothing is added by an empty part.
    directory.join(own).join(spool::name(time, number))
}

/// What host names are made of, and what people put between words.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

/// A name of one part that no other origin has: no slash, not `..`, no hidden one, and none that a snapshot has. A
/// name that is longer than a file's may be is refused by the kernel.
fn file_name(origin: &str) -> String {
    let name = utf8_percent_encode(origin, ENCODED).to_string();
    match name.bytes().next() {
        None => "%".into(),
        Some(first) if first == b'.' || spool::read_name(&name).is_some() => {
            format!("%{first:02X}{}", name.get(1..).unwrap_or_default())
        }
        Some(_) => name,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::stats::Snapshot;
    use crate::stats::aggregate::Scope;
    use crate::stats::settings::Settings;

    const INFO: &str = "Name: HAProxy\nProcess_num: 1\nCurrConns: 3\n\n";

    fn outlet(directory: &Path) -> LocalStoreOutlet {
        let (settings, _) = Settings::parse(Path::new("/x.conf"), "").unwrap();
        let dir = directory.join("store");
        LocalStoreOutlet::new(&settings::LocalStore { dir }, Naming::new(&settings.naming, "lb"))
    }

    /// A snapshot of this number, read and delivered.
    fn deliver(directory: &Path, number: u32, info: &str, origin: Option<&str>) -> Result<(), SinkError> {
        let path = directory.join("spool");
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("a_info"), info).unwrap();
        if let Some(origin) = origin {
            fs::write(path.join(".origin"), origin).unwrap();
        }
        let scope = Scope::default();
        let reading = Reading::of(&Snapshot { time: 1000, number, path: path.clone() }, &scope).unwrap();
        fs::remove_dir_all(path).unwrap();
        outlet(directory).deliver(&reading)
    }

    fn first_line(directory: &Path, file: &str) -> String {
        let text = fs::read_to_string(directory.join("store").join(file)).unwrap();
        text.lines().next().unwrap().to_owned()
    }

    #[test]
    fn a_snapshot_has_a_directory_by_its_time_and_number_and_replaces_only_itself() {
        let directory = tempfile::tempdir().unwrap();
        for (number, conns) in [(0, 3), (1, 4), (0, 5)] {
            let info = format!("Process_num: 1\nCurrConns: {conns}\n\n");
            deliver(directory.path(), number, &info, None).unwrap();
        }
        let line = "loadbalancers.lb.haproxy.daemon.CurrConns";
        assert_eq!(first_line(directory.path(), "1000/stats"), format!("{line} 5 1000"));
        assert_eq!(first_line(directory.path(), "1000.1/stats"), format!("{line} 4 1000"));
        let left = fs::read_dir(directory.path().join("store/1000")).unwrap().count();
        assert_eq!(left, 1, "the draft is gone");
    }

    #[test]
    fn another_machine_has_a_directory_above_its_snapshots() {
        let directory = tempfile::tempdir().unwrap();
        deliver(directory.path(), 0, INFO, None).unwrap();
        deliver(directory.path(), 0, INFO, Some("lb-02.example.com")).unwrap();
        assert_eq!(
            first_line(directory.path(), "lb-02.example.com/1000/stats"),
            "loadbalancers.lb-02_example_com.haproxy.daemon.CurrConns 3 1000"
        );
        assert!(first_line(directory.path(), "1000/stats").starts_with("loadbalancers.lb.haproxy."));
    }

    #[test]
    fn origins_are_names_of_one_part_and_never_those_of_snapshots() {
        for (origin, name) in [
            ("lb-02_a.example.com", "lb-02_a.example.com"),
            ("10.0.0.1", "10.0.0.1"),
            ("..", "%2E."),
            (".hidden", "%2Ehidden"),
            ("a/../b", "a%2F..%2Fb"),
            ("1457298067", "%31457298067"),
            ("1000.1", "%31000.1"),
            ("%31", "%2531"),
            ("é\0", "%C3%A9%00"),
            ("", "%"),
        ] {
            assert_eq!(file_name(origin), name, "{origin}");
        }
    }

    #[test]
    fn what_cannot_be_made_is_told_with_its_path() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("store"), "a file").unwrap();
        let error = deliver(directory.path(), 0, INFO, None).unwrap_err().to_string();
        let store = directory.path().join("store").display().to_string();
        let expected = format!("local-store {store}: `{store}/1000`: cannot be made: ");
        assert!(error.starts_with(&expected), "{error}");
    }
}
