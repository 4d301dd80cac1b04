//! The metrics of the listener, which is another process and leaves them in a file.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, SystemTime};

use axum::body::Bytes;
use log::{error, info};

use super::exposition::check_listener;

/// A listener of some hundred HAProxies has less.
const MAX_BYTES: u64 = 1024 * 1024;
/// The listener writes it every fifteen seconds at least.
const FRESH: Duration = Duration::from_secs(60);

/// The file, and what was made of it.
#[derive(Debug)]
pub(super) struct ListenerFile {
    path: PathBuf,
    /// Held by the one who reads: where the disk hangs, only that one does.
    reading: Mutex<()>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// The file's time, and what it held then.
    read: Option<(SystemTime, Bytes)>,
    /// What was said of it.
    problem: Option<String>,
}

impl ListenerFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, reading: Mutex::default(), known: Mutex::default() }
    }

    /// What the listener tells; none where it does not, or not any more. May block for the disk.
    pub(super) fn metrics(&self) -> Option<Bytes> {
        let reading = match self.reading.try_lock() {
            Ok(reading) => reading,
            Err(TryLockError::Poisoned(reading)) => reading.into_inner(),
            // Somebody else reads it, or hangs there.
            Err(TryLockError::WouldBlock) => return self.lock().fresh(SystemTime::now()),
        };
        let known = self.lock().read.clone();
        let result = refresh(&self.path, known, SystemTime::now());
        drop(reading);
        self.lock().keep(result, &self.path)
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn fresh(&self, now: SystemTime) -> Option<Bytes> {
        let (at, text) = self.read.as_ref()?;
        is_fresh(*at, now).then(|| text.clone())
    }

    /// Says what is new about it.
    fn keep(&mut self, result: Result<(SystemTime, Bytes), String>, path: &Path) -> Option<Bytes> {
        let problem = result.as_ref().err().cloned();
        if problem != self.problem {
            match &problem {
                Some(why) => error!("listener metrics {}: {why}", path.display()),
                None => info!("listener metrics {}: fresh again", path.display()),
            }
            self.problem = problem;
        }
        self.read = result.ok();
        self.read.as_ref().map(|(_, text)| text.clone())
    }
}

/// A clock that was set back makes it younger than now.
fn is_fresh(at: SystemTime, now: SystemTime) -> bool {
    now.duration_since(at).map_or(true, |age| age <= FRESH)
}

/// Reads it, unless what is known is of the same time.
fn refresh(
    path: &Path,
    known: Option<(SystemTime, Bytes)>,
    now: SystemTime,
) -> Result<(SystemTime, Bytes), String> {
    let unreadable = |error: io::Error| format!("cannot be read: {error}");
    let metadata = path.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err("is no plain file".into());
    }
    let at = metadata.modified().map_err(unreadable)?;
    if !is_fresh(at, now) {
        let seconds = FRESH.as_secs();
        return Err(format!(
            "was not written for {seconds} seconds: does the listener run, with --metrics-file?"
        ));
    }
    if let Some(known) = known.filter(|(known, _)| *known == at) {
        return Ok(known);
    }
    let text = read(path)?;
    check_listener(&text)?;
    Ok((at, Bytes::from(text)))
}

fn read(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let file = File::open(path).map_err(|error| format!("cannot be read: {error}"))?;
    let count = file.take(MAX_BYTES + 1).read_to_string(&mut text);
    let count = count.map_err(|error| format!("cannot be read: {error}"))?;
    if u64::try_from(count).is_ok_and(|count| count <= MAX_BYTES) {
        Ok(text)
    } else {
        Err(format!("has more than {MAX_BYTES} bytes: it is no listener's"))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn refresh(path: &Path, age: u64) -> Result<Bytes, String> {
        let at = path.metadata().map_or_else(|_| SystemTime::now(), |metadata| metadata.modified().unwrap());
        super::refresh(path, None, at + Duration::from_secs(age)).map(|(_, text)| text)
    }

    #[test]
    fn while_one_reads_others_get_what_is_known() {
        let file = ListenerFile::new("/no/such".into());
        let hanging = file.reading.lock().unwrap();
        assert_eq!(file.metrics(), None);
        file.lock().read = Some((SystemTime::now(), Bytes::from_static(b"a 1\n")));
        assert_eq!(file.metrics().unwrap(), "a 1\n");
        file.lock().read = Some((SystemTime::UNIX_EPOCH, Bytes::from_static(b"a 1\n")));
        assert_eq!(file.metrics(), None, "it is old by now");
        drop(hanging);
    }

    #[test]
    fn what_is_fresh_and_good_is_passed_on() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("l.prom");
        let good = "# HELP supervisor_haproxy_listener_a A.\n# TYPE supervisor_haproxy_listener_a gauge\n\
                    supervisor_haproxy_listener_a 1\n";
        fs::write(&path, good).unwrap();
        assert_eq!(refresh(&path, 60).unwrap(), good);
        assert!(refresh(&path, 61).unwrap_err().starts_with("was not written for 60 seconds"));
        fs::write(&path, good.replace(" 1", " x")).unwrap();
        assert_eq!(refresh(&path, 0).unwrap_err(), "line 3: a value that is none");
        fs::write(&path, [b'\xff']).unwrap();
        assert!(refresh(&path, 0).unwrap_err().starts_with("cannot be read: "));
    }

    #[test]
    fn what_is_too_long_or_no_file_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("l.prom");
        fs::write(&path, vec![b'#'; 1024 * 1024 + 1]).unwrap();
        assert!(refresh(&path, 0).unwrap_err().starts_with("has more than 1048576 bytes"));
        assert_eq!(refresh(Path::new("/dev/zero"), 0).unwrap_err(), "is no plain file");
        assert!(refresh(Path::new("/no/such"), 0).unwrap_err().starts_with("cannot be read: No such file"));
    }
}
