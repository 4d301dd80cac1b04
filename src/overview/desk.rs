//! Runs the operator's commands for those who ask over HTTP: each as a child of this very program, so that its locks,
//! claims, refusals and words are those of the command line.

use std::collections::VecDeque;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use log::{error, info, warn};

use super::job::{Action, Job, JobState, Subject, Tail};
use super::{Listener, News};
use crate::exec::{ChildFault, Patience, run_telling};

/// How the command line of this program is called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commands {
    /// The options that tell the command where things are.
    pub options: Vec<String>,
    /// Variables that it gets; the secrets among the options.
    pub variables: Vec<(String, String)>,
}

/// This program, also after its file was replaced: what runs here and what is run are of one version, and see each
/// other's locks.
const PROGRAM: &str = "/proc/self/exe";
const NAME: &str = "supervisor-haproxy";
/// What these variables hold is no child's business.
const OWN_VARIABLES: &str = "SUPERVISOR_HAPROXY_";
/// A restart drains, stops and starts within 210 seconds, unless a program takes longer than it says.
const PATIENCE: Patience = Patience { within: Duration::from_secs(300), grace: Duration::from_secs(4) };
/// Commands at the same time.
const MOST_RUNNING: usize = 4;
/// Jobs that are remembered.
const KEPT: usize = 50;
/// When a client may come again that found too many running.
const COME_BACK: Duration = Duration::from_secs(5);

/// Why nothing was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Declined {
    /// This job is about the same.
    Taken(u64),
    /// So many run already; there may be room after this long.
    Full(Duration),
    /// The system refuses; in words.
    System(String),
}

/// Takes orders, and knows what became of them.
#[derive(Clone, Debug)]
pub struct Desk {
    inside: Arc<Inside>,
}

struct Inside {
    commands: Commands,
    listener: Option<Arc<dyn Listener>>,
    state: Mutex<State>,
    ended: Condvar,
    stop: AtomicBool,
    /// Called when something about a job is new; true when it has ended.
    changed: Box<dyn Fn(bool) + Send + Sync>,
}

impl std::fmt::Debug for Inside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inside").field("state", &self.state).finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct State {
    /// The oldest first.
    jobs: VecDeque<Entry>,
    count: u64,
    /// Those whose end was not told everywhere yet.
    untold: usize,
}

#[derive(Debug)]
struct Entry {
    job: Job,
    tail: Tail,
}

impl Entry {
    fn job(&self) -> Job {
        Job { lines: self.tail.lines(), ..self.job.clone() }
    }

    fn is_running(&self) -> bool {
        self.job.state == JobState::Running
    }
}

impl State {
    /// A new job, unless it has to wait.
    fn admit(
        &mut self,
        action: Action,
        subject: Subject,
        by: String,
        now: Timestamp,
    ) -> Result<Job, Declined> {
        let mut running = self.jobs.iter().filter(|entry| entry.is_running());
        if let Some(same) = running.clone().find(|entry| entry.job.subject == subject) {
            return Err(Declined::Taken(same.job.id));
        }
        if running.nth(MOST_RUNNING - 1).is_some() {
            return Err(Declined::Full(COME_BACK));
        }
        self.count += 1;
        let (id, state) = (self.count, JobState::Running);
        let job = Job { id, action, subject, by, state, started_at: now, ended_at: None, lines: Vec::new() };
        self.jobs.push_back(Entry { job: job.clone(), tail: Tail::default() });
        self.untold += 1;
        self.forget();
        Ok(job)
    }

    /// The oldest that have ended go.
    fn forget(&mut self) {
        while self.jobs.len() > KEPT
            && let Some(oldest) = self.jobs.iter().position(|entry| !entry.is_running())
        {
            self.jobs.remove(oldest);
        }
    }

    fn entry(&mut self, id: u64) -> Option<&mut Entry> {
        self.jobs.iter_mut().find(|entry| entry.job.id == id)
    }
}

impl Desk {
    pub(super) fn new(
        commands: Commands,
        listener: Option<Arc<dyn Listener>>,
        changed: Box<dyn Fn(bool) + Send + Sync>,
    ) -> Self {
        let (state, stop) = (Mutex::default(), AtomicBool::new(false));
        Self { inside: Arc::new(Inside { commands, listener, state, ended: Condvar::new(), stop, changed }) }
    }

    /// Begins what was asked for, in a thread of its own. Does not block.
    pub fn begin(&self, action: Action, subject: Subject, by: String) -> Result<Job, Declined> {
        let job = self.inside.lock().admit(action, subject, by, Timestamp::now())?;
        info!("job {}: {} `{}`, asked for by {}", job.id, action.word(), job.subject, job.by);
        self.inside.tell(&job);
        let (inside, own) = (Arc::clone(&self.inside), job.clone());
        let begun = thread::Builder::new().name("job".into()).spawn(move || inside.work(&own));
        match begun {
            Ok(_) => Ok(job),
            Err(error) => {
                self.inside.end(&job, Err(error.to_string()));
                Err(Declined::System(error.to_string()))
            }
        }
    }

    /// All that are remembered, the newest first.
    #[must_use]
    pub fn jobs(&self) -> Vec<Job> {
        self.inside.lock().jobs.iter().rev().map(Entry::job).collect()
    }

    /// One of them.
    #[must_use]
    pub fn job(&self, id: u64) -> Option<Job> {
        self.inside.lock().entry(id).map(|entry| entry.job())
    }

    /// Asks all that run to end.
    pub fn stop(&self) {
        self.inside.stop.store(true, Ordering::Relaxed);
    }

    /// Waits until none runs any more and the end of each is told: what does not end is killed. Blocks for some five
    /// seconds at most.
    pub fn end(&self) {
        self.stop();
        let inside = &self.inside;
        let waited =
            inside.ended.wait_timeout_while(inside.lock(), PATIENCE.grace * 2, |state| state.untold > 0);
        drop(waited);
    }
}

impl Inside {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self, job: &Job) {
        let mut tell = |piece: &[u8]| {
            if let Some(entry) = self.lock().entry(job.id) {
                entry.tail.add(piece);
            }
            (self.changed)(false);
        };
        let ended = run_telling(self.command(job), PATIENCE, &self.stop, &mut tell);
        let result = match ended {
            Ok(ended) if ended.status.success() => Ok(()),
            Ok(ended) => Err(ended.status.to_string()),
            // What it has said, the job has already.
            Err(ChildFault::Overran(within, _)) => {
                Err(format!("did not end within {within:?}, and was killed"))
            }
            Err(fault) => Err(fault.to_string()),
        };
        self.end(job, result);
    }

    fn command(&self, job: &Job) -> Command {
        let mut command = Command::new(PROGRAM);
        command.arg0(NAME).arg(job.action.word()).args(&self.commands.options);
        // What stands behind it is never taken for an option.
        command.arg("--").arg(job.subject.target());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with(OWN_VARIABLES) {
                command.env_remove(name);
            }
        }
        command.env("NO_COLOR", "1").env_remove("CLICOLOR_FORCE");
        command.envs(self.commands.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    fn end(&self, job: &Job, result: Result<(), String>) {
        let mut state = self.lock();
        let Some(entry) = state.entry(job.id) else { return };
        entry.job.ended_at = Some(Timestamp::now());
        entry.job.state = if result.is_ok() { JobState::Succeeded } else { JobState::Failed };
        if let Err(why) = &result {
            entry.tail.add(format!("\n{why}\n").as_bytes());
        }
        let job = entry.job();
        state.forget();
        drop(state);
        let what = format!("job {}: {} `{}`", job.id, job.action.word(), job.subject);
        match result {
            Ok(()) => info!("{what}: done"),
            Err(why) if why.starts_with("exit status") => warn!("{what}: {}", job.lines.join("; ")),
            Err(why) => error!("{what}: {why}"),
        }
        self.tell(&job);
        self.lock().untold -= 1;
        self.ended.notify_all();
    }

    fn tell(&self, job: &Job) {
        if let Some(listener) = &self.listener {
            listener.hear(&[News::Action(job.clone())]);
        }
        (self.changed)(job.state != JobState::Running);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admit(state: &mut State, subject: &str) -> Result<u64, Declined> {
        let subject = Subject::Server(subject.parse().unwrap());
        state.admit(Action::Drain, subject, "me".into(), Timestamp::UNIX_EPOCH).map(|job| job.id)
    }

    fn finish(state: &mut State, id: u64) {
        state.entry(id).unwrap().job.state = JobState::Succeeded;
    }

    #[test]
    fn one_at_a_time_for_each_and_four_in_all() {
        let mut state = State::default();
        assert_eq!(admit(&mut state, "a/1"), Ok(1));
        assert_eq!(admit(&mut state, "a/1"), Err(Declined::Taken(1)));
        for (id, name) in [(2, "a/2"), (3, "a/3"), (4, "b/1")] {
            assert_eq!(admit(&mut state, name), Ok(id));
        }
        assert_eq!(admit(&mut state, "a/5"), Err(Declined::Full(COME_BACK)));
        finish(&mut state, 1);
        assert_eq!(admit(&mut state, "a/1"), Ok(5));
    }

    #[test]
    fn the_last_are_remembered_and_those_that_run_never_forgotten() {
        let mut state = State::default();
        let running = admit(&mut state, "a/running").unwrap();
        for _ in 0..100 {
            let id = admit(&mut state, "a/other").unwrap();
            finish(&mut state, id);
        }
        assert_eq!(state.jobs.len(), KEPT);
        let ids: Vec<u64> = state.jobs.iter().map(|entry| entry.job.id).collect();
        assert_eq!((ids[0], ids[1], ids[KEPT - 1]), (running, 53, 101));
    }

    #[test]
    fn a_child_gets_its_options_and_no_secret() {
        let commands = Commands {
            options: vec!["-c".into(), "/x".into()],
            variables: vec![("SUPERVISOR_PASSWORD".into(), "secret".into())],
        };
        let desk = Desk::new(commands, None, Box::new(|_| {}));
        let name = crate::supervisor::ProcessName { group: "-g".into(), process: "p".into() };
        let job = desk.inside.lock().admit(
            Action::Restart,
            Subject::Program(name),
            "me".into(),
            Timestamp::UNIX_EPOCH,
        );
        let command = desk.inside.command(&job.unwrap());
        let words: Vec<_> = command.get_args().collect();
        assert_eq!(words, ["restart", "-c", "/x", "--", "-g:p"]);
        assert!(command.get_envs().any(|(name, value)| {
            name == "SUPERVISOR_PASSWORD" && value.is_some_and(|value| value == "secret")
        }));
    }
}
