//! Ctrl-C: what a bench has started must end with it, so the signal is heard and not obeyed at once.

use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::Outcome;

/// Between two looks at a command that runs for seconds.
const LOOK: Duration = Duration::from_millis(2);

/// Whether the bench was asked to end.
#[derive(Clone, Debug)]
pub(crate) struct Ending(Arc<AtomicBool>);

impl Ending {
    /// From now on SIGHUP, SIGINT and SIGTERM end nothing by themselves.
    pub(crate) fn heed() -> io::Result<Self> {
        let asked = Arc::new(AtomicBool::new(false));
        for signal in [SIGHUP, SIGINT, SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&asked))?;
        }
        Ok(Self(asked))
    }

    /// An error once the end was asked for: it takes whoever calls back to `main`, and drops what was started.
    pub(crate) fn check(&self) -> Outcome<()> {
        if self.0.load(Ordering::Relaxed) { Err("ended by a signal".into()) } else { Ok(()) }
    }

    /// Runs a command to its end, or to ours. What it prints goes into `log`.
    pub(crate) fn run(&self, command: &mut Command, log: &Path) -> Outcome<ExitStatus> {
        let output = File::create(log)?;
        let mut child = command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).spawn()?;
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(status);
            }
            if let Err(ending) = self.check() {
                let _ = child.kill();
                let _ = child.wait();
                return Err(ending);
            }
            super::pause(LOOK);
        }
    }
}
