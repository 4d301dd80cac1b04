//! The file in which Prometheus finds what the listener has done. A thread of its own writes it and takes the latest text
//! there is, so that a disk that hangs holds up nothing.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use log::{info, warn};

use crate::sinks::{SinkError, WholeFile};

/// From one look at what has changed to the next.
const PERIOD: Duration = Duration::from_secs(5);
/// What is the same is written anew after this long: whoever reads it knows then that the listener lives.
const HEARTBEAT: Duration = Duration::from_secs(15);

#[derive(Debug)]
pub(super) struct MetricsFile {
    desk: Arc<Desk>,
    due_at: Instant,
    last: Vec<u8>,
    handed_at: Option<Instant>,
}

/// Where a text lies until the thread takes it; a later one takes its place.
#[derive(Debug, Default)]
struct Desk {
    text: Mutex<Option<Vec<u8>>>,
    wake: Condvar,
}

impl Desk {
    fn put(&self, text: Vec<u8>) {
        *self.text.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
        self.wake.notify_one();
    }

    fn take(&self) -> Vec<u8> {
        let mut text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(text) = text.take() {
                return text;
            }
            text = self.wake.wait(text).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl MetricsFile {
    /// Due at once. The thread ends with the process.
    pub(super) fn new(path: PathBuf, now: Instant) -> io::Result<Self> {
        let mut said = None;
        Self::with(now, move |text| tell(&mut said, &path, write(&path, text)))
    }

    fn with(now: Instant, mut write: impl FnMut(&[u8]) + Send + 'static) -> io::Result<Self> {
        let desk = Arc::new(Desk::default());
        let own = Arc::clone(&desk);
        thread::Builder::new().name("metrics".into()).spawn(move || {
            loop {
                write(&own.take());
            }
        })?;
        Ok(Self { desk, due_at: now, last: Vec::new(), handed_at: None })
    }

    pub(super) fn due_at(&self) -> Instant {
        self.due_at
    }

    /// Hands the text over, where it is due and another, or the last one is old. Never blocks for the disk.
    pub(super) fn offer(&mut self, now: Instant, text: impl FnOnce() -> Vec<u8>) {
        if now < self.due_at {
            return;
        }
        self.due_at = now + PERIOD;
        let text = text();
        let is_old = self.handed_at.is_none_or(|at| now >= at + HEARTBEAT);
        if is_old || text != self.last {
            self.handed_at = Some(now);
            self.last.clone_from(&text);
            self.desk.put(text);
        }
    }
}

fn write(path: &std::path::Path, text: &[u8]) -> Result<(), SinkError> {
    let mut file = WholeFile::begin("metrics file", path, path)?;
    file.show_to_all()?;
    file.write(text)?;
    file.finish()
}

/// What is wrong is said when it is new.
fn tell(said: &mut Option<String>, path: &std::path::Path, result: Result<(), SinkError>) {
    let problem = result.err().map(|error| error.to_string());
    if problem == *said {
        return;
    }
    match &problem {
        Some(problem) => warn!("{problem}; going on without it, and trying again"),
        None => info!("metrics file {}: written again", path.display()),
    }
    *said = problem;
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn what_is_the_same_is_written_as_a_heartbeat_only() {
        let (sender, written) = channel();
        let start = Instant::now();
        let mut file = MetricsFile::with(start, move |text| sender.send(text.to_vec()).unwrap()).unwrap();
        let mut offer = |seconds, text: &str| {
            let due = file.due_at();
            file.offer(start + Duration::from_secs(seconds), || text.into());
            file.due_at() != due
        };
        assert!(offer(0, "a"));
        assert_eq!(written.recv().unwrap(), b"a");
        assert!(!offer(4, "b"), "too early");
        assert!(offer(5, "a") && offer(10, "b"));
        assert_eq!(written.recv().unwrap(), b"b", "the same was not written again");
        assert!(offer(15, "b") && offer(20, "b") && offer(25, "b"));
        assert_eq!(written.recv().unwrap(), b"b");
        assert!(written.try_recv().is_err(), "one heartbeat");
    }

    #[test]
    fn a_disk_that_hangs_holds_up_nothing_and_gets_the_latest() {
        let (sender, written) = channel();
        let (go_on, gate) = channel::<()>();
        let start = Instant::now();
        let mut file = MetricsFile::with(start, move |text| {
            sender.send(text.to_vec()).unwrap();
            gate.recv().unwrap();
        })
        .unwrap();
        file.offer(start, || b"0".to_vec());
        assert_eq!(written.recv().unwrap(), b"0");
        // It hangs now, and nobody waits.
        for number in 1..10_u64 {
            file.offer(start + PERIOD * u32::try_from(number).unwrap(), || number.to_string().into());
        }
        go_on.send(()).unwrap();
        assert_eq!(written.recv().unwrap(), b"9");
    }

    #[test]
    fn what_cannot_be_written_is_said_once() {
        let path = std::path::Path::new("/no/such/file.prom");
        let mut said = None;
        tell(&mut said, path, write(path, b"x"));
        assert!(
            said.as_ref().is_some_and(|said| said.starts_with("metrics file /no/such/file.prom: ")),
            "{said:?}"
        );
    }
}
