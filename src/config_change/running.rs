//! The HAProxy that runs: has a configuration checked, reloads, and looks whether a new worker has come of it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command as Program;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::archive::How;
use super::desk::{Activated, Peer};
use super::files;
use super::lock::pause;
use super::process;
use super::routes::sync;
use crate::exec::{Checked, Configuration, run};
use crate::haproxy::{
    Command, Info, MapContents, MapFile, Processes, Refusal, Reloaded, ReplyError, accepted, dump, reloaded,
};
use crate::net::{self, Endpoint, Limits, Question, Switchboard};

/// A map of a million routes has less.
const MAX_REPLY: usize = 256 * 1024 * 1024;
/// One answer of the admin socket.
const PATIENCE: Duration = Duration::from_secs(5);
/// For the master's word on a reload; where it takes longer, its processes tell.
const RELOAD_PATIENCE: Duration = Duration::from_secs(10);
/// How often a reload is sent that the master does not hear.
const RELOAD_TRIES: usize = 3;
/// After this time a master that answers has not heard of it.
const HEARING: Duration = Duration::from_secs(1);
/// While the master replaces itself, nobody can connect to it, and it hears no signal.
const MASTER_ABSENCE: Duration = Duration::from_secs(10);
/// Between two looks at something that tells nobody when it changes.
const BETWEEN_LOOKS: Duration = Duration::from_millis(25);
/// For a moment after a reload, the old worker may still answer.
const ANSWERS_IN_A_ROW: u32 = 3;
/// How often a map is compared and set right: once does, unless a reload comes between.
const ROUNDS: usize = 20;

/// How to reach it.
#[derive(Clone, Debug)]
pub struct Reach {
    /// The program, for `-c`.
    pub program: PathBuf,
    /// The admin socket.
    pub socket: Endpoint,
    /// How it is reloaded; the first way that leads anywhere is taken.
    pub ways: Vec<Way>,
    /// How long a check may take, and how long a reload until the new worker answers.
    pub timeout: Duration,
    /// Ends the programs that are run for this, where it is set.
    pub stop: Arc<AtomicBool>,
}

/// A way to reload it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// `reload` to the master's socket (`haproxy -S`).
    Master(Endpoint),
    /// SIGUSR2 to the process that this file names (`haproxy -p`).
    PidFile(PathBuf),
    /// SIGUSR2 to this process.
    Pid(i32),
    /// A command of a shell.
    Shell(String),
}

/// HAProxy as it runs.
#[derive(Debug)]
pub struct Running {
    reach: Reach,
    board: Switchboard,
    stats: net::Peer,
}

/// What became of a reload, as far as it is told.
enum Begun {
    /// Only the workers can tell.
    Unsaid,
    /// By a master that can be asked, and that had been reloaded so often before.
    Asked(net::Peer, u64),
    /// It failed.
    Failed(String),
    /// No way leads to it.
    Nowhere(String),
}

/// How a new worker is told from the one before.
enum New {
    /// It has another pid.
    NotThis(Option<u32>),
    /// The master, which had been reloaded so often before, says which one it is. A reload that others have begun a moment
    /// ago brings another worker, too, which this one is not mistaken for.
    After(net::Peer, u64),
}

enum Look {
    New,
    NotYet(String),
    Failed,
}

impl Running {
    /// Fails where the kernel has no epoll or no more file descriptors. Nothing is sent yet.
    pub fn new(reach: Reach) -> io::Result<Self> {
        let mut board = Switchboard::new()?;
        let stats = board.connect(reach.socket.clone());
        Ok(Self { reach, board, stats })
    }

    fn ask(&mut self, peer: net::Peer, command: &Command, time: Duration) -> Result<Vec<u8>, String> {
        let limits = Limits { time, bytes: MAX_REPLY };
        // The master leaves the connection open.
        let is_whole: fn(&[u8]) -> bool = match command {
            Command::Processes => |reply| reply.ends_with(b"\n\n"),
            _ => |_| false,
        };
        let question = Question { request: command.line().into_bytes(), is_whole, limits };
        let answer = self.board.ask(peer, question).map_err(|error| error.to_string())?;
        answer.map_err(|fault| fault.to_string())
    }

    fn info(&mut self) -> Result<Info, String> {
        let reply = self.ask(self.stats, &Command::Info, PATIENCE)?;
        let text = dump(&reply).map_err(|error| error.to_string())?;
        let info = Info::parse(&text);
        if info.pid.is_some() { Ok(info) } else { Err("this is no `show info`".into()) }
    }

    fn says(&self, why: &str) -> String {
        format!("haproxy {}: {why}", self.reach.socket)
    }

    // --- reload

    fn reload(&mut self) -> Begun {
        let mut dead_ends = Vec::new();
        for way in self.reach.ways.clone() {
            match self.go(&way) {
                Begun::Nowhere(why) => dead_ends.push(why),
                begun => return begun,
            }
        }
        Begun::Nowhere(format!("HAProxy cannot be reloaded: {}", dead_ends.join("; ")))
    }

    fn go(&mut self, way: &Way) -> Begun {
        match way {
            Way::Master(endpoint) => self.ask_master(endpoint),
            Way::PidFile(path) => match pid_in(path) {
                Ok(pid) => self.signal(pid, &format!("{}: ", path.display())),
                Err(why) => Begun::Nowhere(why),
            },
            Way::Pid(pid) => self.signal(*pid, ""),
            Way::Shell(text) => self.shell(text),
        }
    }

    fn shell(&mut self, text: &str) -> Begun {
        self.await_master();
        let mut command = Program::new("sh");
        command.args(["-c", text]);
        match run(command, self.reach.timeout, &self.reach.stop) {
            Ok(ended) if ended.status.success() => Begun::Unsaid,
            Ok(ended) => Begun::Failed(format!("`{text}` failed ({}):\n{}", ended.status, ended.said)),
            Err(fault) => Begun::Failed(format!("`{text}` {fault}")),
        }
    }

    /// Most commands send a signal, which a master that replaces itself does not hear.
    fn await_master(&mut self) {
        let worker = self.info().ok().and_then(|info| i32::try_from(info.pid?).ok());
        if let Some(pid) = worker.and_then(|worker| process::master_of(worker, &self.reach.program)) {
            process::hears(pid, MASTER_ABSENCE);
        }
    }

    fn ask_master(&mut self, endpoint: &Endpoint) -> Begun {
        let master = self.board.connect(endpoint.clone());
        let processes = match self.processes(master, endpoint) {
            Ok(reply) => Processes::parse(&String::from_utf8_lossy(&reply)),
            Err(why) => return Begun::Nowhere(format!("master {endpoint}: {why}")),
        };
        let Some(before) = processes else {
            return Begun::Nowhere(format!("master {endpoint}: this is no master's socket (`haproxy -S`)"));
        };
        for _ in 0..RELOAD_TRIES {
            match self
                .ask(master, &Command::Reload, RELOAD_PATIENCE.min(self.reach.timeout))
                .map(|r| reloaded(&r))
            {
                Ok(Reloaded::Worked) => break,
                Ok(Reloaded::Failed(lines)) => {
                    return Begun::Failed(format!("the reload failed:\n{}", lines.join("\n")));
                }
                // It replaces itself, and may break the connection doing so.
                Ok(Reloaded::Unsaid) | Err(_) if self.has_heard(master, before.reloads) => break,
                Ok(Reloaded::Unsaid) | Err(_) => {}
            }
        }
        Begun::Asked(master, before.reloads)
    }

    /// A command that reaches a master in the middle of another reload is lost. One that does not answer now is loading.
    fn has_heard(&mut self, master: net::Peer, before: u64) -> bool {
        let deadline = Instant::now() + HEARING;
        loop {
            let reply = self.ask(master, &Command::Processes, PATIENCE).unwrap_or_default();
            match Processes::parse(&String::from_utf8_lossy(&reply)) {
                Some(now) if now.reloads > before => return true,
                answer if Instant::now() >= deadline => return answer.is_none(),
                _ => pause(BETWEEN_LOOKS),
            }
        }
    }

    /// Somebody's reload may be under way, as that of a change that was cut off. Where there is no socket at all, nobody
    /// comes back to it.
    fn processes(&mut self, master: net::Peer, endpoint: &Endpoint) -> Result<Vec<u8>, String> {
        let deadline = Instant::now() + MASTER_ABSENCE;
        loop {
            let answer = self.ask(master, &Command::Processes, PATIENCE).and_then(|reply| match &reply[..] {
                [] => Err("the connection was closed without a reply".into()),
                _ => Ok(reply),
            });
            let is_missing = matches!(endpoint, Endpoint::Unix(path) if !path.exists());
            if answer.is_ok() || is_missing || Instant::now() >= deadline {
                return answer;
            }
            pause(BETWEEN_LOOKS);
        }
    }

    /// SIGUSR2 ends what does not expect it, so a pid that has become somebody else's is left alone.
    fn signal(&self, pid: i32, source: &str) -> Begun {
        if !process::is_haproxy(pid, &self.reach.program) {
            return Begun::Nowhere(format!("{source}process {pid} is no HAProxy"));
        }
        if !process::hears(pid, MASTER_ABSENCE) {
            let why = "does not take SIGUSR2, so it is no master process (`haproxy -W`)";
            return Begun::Nowhere(format!("{source}process {pid} {why}"));
        }
        match kill(Pid::from_raw(pid), Signal::SIGUSR2) {
            Ok(()) => Begun::Unsaid,
            Err(error) => Begun::Nowhere(format!("{source}process {pid}: {}", error.desc())),
        }
    }

    /// Waits until the new worker answers, and is not on its way out.
    fn await_worker(&mut self, new: &New) -> Activated {
        let deadline = Instant::now() + self.reach.timeout;
        let (mut answers, mut last) = (0, String::new());
        while answers < ANSWERS_IN_A_ROW {
            match self.look(new) {
                Look::New => answers += 1,
                Look::NotYet(why) => (answers, last) = (0, why),
                Look::Failed => {
                    return Activated::Failed("the reload failed; HAProxy's log tells why".into());
                }
            }
            if Instant::now() >= deadline {
                let within = self.reach.timeout;
                return Activated::Failed(self.says(&format!("no new worker within {within:?}: {last}")));
            }
            pause(BETWEEN_LOOKS);
        }
        Activated::Worked
    }

    fn look(&mut self, new: &New) -> Look {
        let is_new: Box<dyn Fn(Option<u32>) -> bool> = match *new {
            New::NotThis(old) => Box::new(move |pid| pid != old),
            New::After(master, before) => match self.since(master, before) {
                None => return Look::NotYet("its master has not reloaded".into()),
                Some(Processes { new_worker: None, .. }) => return Look::Failed,
                Some(Processes { new_worker, .. }) => Box::new(move |pid| pid == new_worker),
            },
        };
        match self.info() {
            Ok(info) if is_new(info.pid) && !info.stopping => Look::New,
            Ok(_) => Look::NotYet("the old worker goes on".into()),
            Err(why) => Look::NotYet(why),
        }
    }

    /// What the master has once it has seen a further reload.
    fn since(&mut self, master: net::Peer, before: u64) -> Option<Processes> {
        let reply = self.ask(master, &Command::Processes, PATIENCE).unwrap_or_default();
        Processes::parse(&String::from_utf8_lossy(&reply)).filter(|now| now.reloads > before)
    }

    fn take_files(&mut self) -> Activated {
        let before = self.info();
        let old = before.as_ref().ok().and_then(|info| info.pid);
        match (self.reload(), before) {
            (Begun::Nowhere(why), Err(also)) => Activated::Nobody(format!("{why}; {}", self.says(&also))),
            (Begun::Nowhere(why) | Begun::Failed(why), _) => Activated::Failed(why),
            (Begun::Unsaid, _) => self.await_worker(&New::NotThis(old)),
            (Begun::Asked(master, before), _) => self.await_worker(&New::After(master, before)),
        }
    }

    // --- the map

    /// What the running map has; in words, why it cannot be told.
    pub fn map(&mut self, map: &MapFile) -> Result<Vec<(String, String)>, String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let reply = self.ask(self.stats, &Command::ShowMap(map.clone()), PATIENCE);
            let reply = reply.map_err(|why| self.says(&why))?;
            match MapContents::parse(&reply) {
                Ok(contents) if !contents.info.stopping => return Ok(contents.entries),
                // The next one is asked by its successor.
                Ok(_) if Instant::now() < deadline => pause(BETWEEN_LOOKS),
                Ok(_) => return Err(self.says("this process is on its way out")),
                Err(ReplyError::Refused(Refusal::Other(text))) if text.starts_with("Unknown map") => {
                    return Err(unused(map));
                }
                Err(error) => return Err(self.says(&error.to_string())),
            }
        }
    }

    /// Leads the running map to its file.
    pub fn sync(&mut self, map: &MapFile) -> Result<(), String> {
        let file = files::read(map.path()).map_err(|error| error.to_string())?.unwrap_or_default();
        let file = String::from_utf8_lossy(&file).into_owned();
        for _ in 0..ROUNDS {
            let commands = sync(map, &file, &self.map(map)?);
            if commands.is_empty() {
                return Ok(());
            }
            for command in commands {
                let reply = self.ask(self.stats, &command, PATIENCE).map_err(|why| self.says(&why))?;
                match accepted(&reply) {
                    // Another worker answers than the one that was looked at: the next round tells.
                    Ok(()) | Err(ReplyError::Refused(Refusal::Other(_)) | ReplyError::Nothing) => {}
                    Err(error) => return Err(self.says(&format!("{command}: {error}"))),
                }
            }
        }
        Err(self.says(&format!("the map {map} does not take what its file has, in {ROUNDS} tries")))
    }
}

fn unused(map: &MapFile) -> String {
    format!(
        "HAProxy does not use the map {map}: add\n  \
         use_backend %[req.hdr(host),lower,field(1,:),map({map})]\n\
         to the frontend in its configuration, then reload it; `docs/configuration.rst` has the whole of it"
    )
}

fn pid_in(path: &Path) -> Result<i32, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let pid = text.lines().next().and_then(|line| line.trim().parse::<i32>().ok()).filter(|pid| *pid > 0);
    pid.ok_or_else(|| format!("{}: it holds no pid", path.display()))
}

impl Peer for Running {
    fn ready(&mut self) -> Result<(), String> {
        let info = self.info().map_err(|why| {
            format!(
                "{}; a change is only made while it can be seen to work; start HAProxy, or pass --socket",
                self.says(&why)
            )
        })?;
        match info.processes {
            1 => Ok(()),
            more => Err(self.says(&format!(
                "{more} processes share this socket (nbproc), so nobody can tell which one answers; use threads"
            ))),
        }
    }

    fn check(&mut self, files: &[PathBuf]) -> Result<Checked, String> {
        let configuration = Configuration { program: self.reach.program.clone(), files: files.to_vec() };
        configuration.check(self.reach.timeout, &self.reach.stop).map_err(|fault| fault.to_string())
    }

    fn activate(&mut self, how: &How) -> Activated {
        match how {
            How::Reload => self.take_files(),
            How::Map(path) => {
                let synced = MapFile::new(path).map_err(|error| error.to_string());
                match synced.and_then(|map| self.sync(&map)) {
                    Ok(()) => Activated::Worked,
                    Err(why) => match self.info() {
                        Ok(_) => Activated::Failed(why),
                        Err(_) => Activated::Nobody(why),
                    },
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running(ways: Vec<Way>) -> Running {
        let socket = "/nonexistent/admin.sock".parse().unwrap();
        let timeout = Duration::from_secs(1);
        Running::new(Reach { program: "haproxy".into(), socket, ways, timeout, stop: Arc::default() })
            .unwrap()
    }

    #[test]
    fn a_pid_of_somebody_else_gets_no_signal() {
        let me = i32::try_from(std::process::id()).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pid");
        fs::write(&path, format!("{me}\n")).unwrap();
        let mut running =
            running(vec![Way::Pid(me), Way::PidFile(path.clone()), Way::PidFile("/none".into())]);
        // The signal would have ended this test.
        let Begun::Nowhere(why) = running.reload() else { panic!() };
        assert!(
            why.contains(&format!("process {me} is no HAProxy; {}: process {me} is no", path.display())),
            "{why}"
        );
    }

    #[test]
    fn where_nobody_runs_that_is_said() {
        let mut running = running(vec![Way::Master("/nonexistent/master.sock".parse().unwrap())]);
        let Activated::Nobody(why) = running.activate(&How::Reload) else { panic!() };
        assert!(why.contains("master unix:///nonexistent/master.sock: cannot connect"), "{why}");
        assert!(why.contains("haproxy unix:///nonexistent/admin.sock: cannot connect"), "{why}");
        assert!(running.ready().unwrap_err().contains("start HAProxy, or pass --socket"));
    }

    #[test]
    fn a_command_that_fails_is_quoted() {
        let mut running = running(vec![Way::Shell("echo no such unit; exit 5".into())]);
        let Activated::Failed(why) = running.activate(&How::Reload) else { panic!() };
        assert_eq!(why, "`echo no such unit; exit 5` failed (exit status: 5):\nno such unit");
    }
}
