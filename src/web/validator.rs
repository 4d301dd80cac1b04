//! One `haproxy -c` at a time, however many ask for it.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tokio::task::{JoinError, spawn_blocking};

use crate::exec::{CheckFault, Checked, Configuration};

/// What HAProxy said, or why it said nothing.
pub(super) type Answer = Arc<Result<Checked, CheckFault>>;

/// Has HAProxy check its configuration.
#[derive(Debug)]
pub(super) struct Validator {
    configuration: Configuration,
    within: Duration,
    /// The last run. Locked while there is one.
    last: Arc<Mutex<Option<Run>>>,
    stop: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Run {
    begun: Instant,
    answer: Answer,
}

impl Validator {
    /// A run may take `within`, and ends where `stop` is set.
    pub(super) fn new(configuration: Configuration, within: Duration, stop: Arc<AtomicBool>) -> Self {
        Self { configuration, within, last: Arc::default(), stop }
    }

    /// Takes two runs at most: the one that is under way, which may have read the files before whoever asks has changed
    /// them, and the one after, which all share who have asked before its beginning.
    pub(super) async fn validate(&self) -> Result<Answer, JoinError> {
        let asked = Instant::now();
        let mut last = Arc::clone(&self.last).lock_owned().await;
        if let Some(run) = last.as_ref().filter(|run| run.begun >= asked) {
            return Ok(Arc::clone(&run.answer));
        }
        let (configuration, within, stop) = (self.configuration.clone(), self.within, Arc::clone(&self.stop));
        // The lock goes with the run, which lasts longer than a client that goes away.
        let run = move || {
            let begun = Instant::now();
            let answer = Arc::new(configuration.check(within, &stop));
            *last = Some(Run { begun, answer: Arc::clone(&answer) });
            answer
        };
        spawn_blocking(run).await
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::exec::played::write_script;

    #[test]
    fn of_many_who_ask_at_once_the_second_has_it_run_for_all_others() {
        let directory = tempfile::tempdir().unwrap();
        let (program, gate) = (directory.path().join("haproxy"), directory.path().join("gate"));
        nix::unistd::mkfifo(&gate, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let script = format!("echo run >> {0}/runs; read line < {0}/gate", directory.path().display());
        write_script(&program, &script);
        let validator = Validator::new(
            Configuration { program, files: Vec::new() },
            Duration::from_secs(60),
            Arc::default(),
        );
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let runs = || fs::read_to_string(directory.path().join("runs")).unwrap_or_default().lines().count();
        let all = async {
            let mut asking = tokio::task::JoinSet::new();
            let validator = Arc::new(validator);
            for run in 1..=2 {
                // One asks first; the others do while its run is under way.
                for _ in 0..if run == 1 { 1 } else { 49 } {
                    let validator = Arc::clone(&validator);
                    asking.spawn(async move {
                        validator.validate().await.unwrap().as_ref().as_ref().unwrap().is_valid
                    });
                }
                let begun = Instant::now();
                while runs() < run {
                    assert!(begun.elapsed() < Duration::from_secs(30), "run {run} does not begin");
                    tokio::task::yield_now().await;
                    if run == 2 && runs() == 1 {
                        open(&gate);
                    }
                }
            }
            while !asking.is_empty() {
                open(&gate);
                tokio::task::yield_now().await;
                if asking.try_join_next().is_some_and(|valid| !valid.unwrap()) {
                    return false;
                }
            }
            true
        };
        assert!(runtime.block_on(all));
        assert_eq!(runs(), 2);
    }

    /// Lets a run go that waits there; where none does, nothing is written.
    fn open(gate: &std::path::Path) {
        use std::io::Write;
        use std::os::unix::fs::OpenOptionsExt;
        let mut options = fs::OpenOptions::new();
        let options = options.write(true).custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits());
        if let Ok(mut file) = options.open(gate) {
            let _ = file.write_all(b"go\n");
        }
    }
}
