//! `pull` and `process` in a directory of their own: their configuration, their spool, and both as processes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::{BINARY, Run, Sink, eventually};

/// The files of a snapshot, by name.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// A configuration and a spool.
#[derive(Debug)]
pub(crate) struct Pipeline {
    directory: TempDir,
    /// Where the spool is, beside the configuration or elsewhere.
    base: PathBuf,
}

impl Pipeline {
    /// Pulls each second, and sends to a sink that is tried again at once.
    pub(crate) fn new(sink: &Sink) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let base = directory.path().to_owned();
        let pipeline = Self { directory, base };
        pipeline.configure(sink, "", "", "");
        pipeline
    }

    /// With its spool elsewhere.
    pub(crate) fn at(base: &Path, sink: &Sink) -> Self {
        let pipeline = Self { directory: tempfile::tempdir().unwrap(), base: base.to_owned() };
        pipeline.configure(sink, "", "", "");
        pipeline
    }

    /// Only processes, to the destinations of these sections; its log tells all.
    pub(crate) fn to(destinations: &[String]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let base = directory.path().to_owned();
        let pipeline = Self { directory, base };
        let process = format!(
            "[process]\nloglevel = debug\nsrc-dir = {}\nliveness-check-interval = 0.2\n",
            pipeline.incoming().display()
        );
        fs::write(pipeline.path("h.conf"), process + &destinations.concat()).unwrap();
        pipeline
    }

    /// With these lines in `[pull]`, `[process]` and `[graphite]`, in the place of its own or beside them.
    pub(crate) fn configure(&self, sink: &Sink, pull: &str, process: &str, graphite: &str) {
        let (incoming, tmp) = (self.incoming(), self.tmp());
        let with = |own: &str, further: &str| {
            let key = |line: &str| line.split('=').next().unwrap().trim().to_owned();
            let overridden: Vec<String> = further.lines().map(key).collect();
            let kept = own.lines().map(str::trim).filter(|line| !overridden.contains(&key(line)));
            kept.chain(further.lines().map(str::trim)).collect::<Vec<_>>().join("\n")
        };
        let own_pull = format!(
            "dst-dir = {}\ntmp-dst-dir = {}\npull-interval = 1\npull-timeout = 20\ntimeout = 5",
            incoming.display(),
            tmp.display()
        );
        let own_process = format!("src-dir = {}\nliveness-check-interval = 0.2", incoming.display());
        let own_graphite = format!(
            "server = {}\nport = {}\nprefix-hostname = false\nnamespace = lb\ninterval = 0.05\nbackoff = 1\n\
             delay = 0.1\nconnect-timeout = 5\nwrite-timeout = 5",
            sink.address.ip(),
            sink.address.port()
        );
        let text = format!(
            "[pull]\n{}\n[process]\n{}\n[graphite]\n{}\n",
            with(&own_pull, pull),
            with(&own_process, process),
            with(&own_graphite, graphite)
        );
        fs::write(self.path("h.conf"), text).unwrap();
    }

    /// Takes a section away from the configuration.
    #[track_caller]
    pub(crate) fn take_away(&self, section: &str) {
        let text = fs::read_to_string(self.path("h.conf")).unwrap();
        let begin = text.find(&format!("[{section}]")).unwrap();
        let end = text[begin..].find("\n[").map_or(text.len(), |length| begin + length + 1);
        fs::write(self.path("h.conf"), text[..begin].to_owned() + &text[end..]).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Where whole snapshots lie.
    pub(crate) fn incoming(&self) -> PathBuf {
        self.base.join("incoming")
    }

    /// Where snapshots are made.
    pub(crate) fn tmp(&self) -> PathBuf {
        self.base.join("incoming.tmp")
    }

    pub(crate) fn quarantine(&self) -> PathBuf {
        self.base.join("quarantine")
    }

    /// Starts `pull` or `process`.
    #[track_caller]
    pub(crate) fn start(&self, command: &str) -> Daemon {
        self.start_with(command, &[], &[])
    }

    #[track_caller]
    pub(crate) fn start_with(
        &self,
        command: &str,
        arguments: &[&str],
        variables: &[(&str, &Path)],
    ) -> Daemon {
        let arguments = [&[command, "-f", "h.conf"], arguments].concat();
        Daemon::start(Path::new(BINARY), self.directory(), &arguments, variables)
    }

    /// Runs `pull` or `process` with `--once`.
    #[track_caller]
    pub(crate) fn once(&self, command: &str) -> Run {
        Run::of(self.directory(), &[command, "--once", "-f", "h.conf"])
    }

    /// Puts a snapshot into the spool as `pull` does, by one rename.
    pub(crate) fn feed(&self, name: &str, files: &Files) {
        let draft = self.base.join("incoming.fed").join(name);
        for path in [&draft, &self.incoming()] {
            fs::create_dir_all(path).unwrap();
        }
        for (file, bytes) in files {
            fs::write(draft.join(file), bytes).unwrap();
        }
        fs::rename(draft, self.incoming().join(name)).unwrap();
    }

    /// The names in the spool, in order; those that begin with a dot are the program's own.
    pub(crate) fn waiting(&self) -> Vec<String> {
        names(&self.incoming()).into_iter().filter(|name| !name.starts_with('.')).collect()
    }

    /// The names and contents of a snapshot's files.
    pub(crate) fn files(&self, name: &str) -> Files {
        let directory = self.incoming().join(name);
        let read = |name: String| (name.clone(), fs::read(directory.join(name)).unwrap());
        names(&directory).into_iter().map(read).collect()
    }

    /// The destinations that have a snapshot while others have not, in the order of their names.
    pub(crate) fn taken(&self, name: &str) -> Vec<String> {
        let marks = fs::read_to_string(self.incoming().join(name).join(".taken")).unwrap_or_default();
        let mut marks: Vec<String> = marks.lines().map(str::to_owned).collect();
        marks.sort();
        marks
    }

    /// Waits until so many snapshots lie in the spool; gives their names.
    #[track_caller]
    pub(crate) fn wait_for(&self, count: usize) -> Vec<String> {
        eventually(&format!("{count} snapshots in the spool"), || {
            Some(self.waiting()).filter(|names| names.len() == count)
        })
    }

    /// Asserts that nothing is left over anywhere.
    #[track_caller]
    pub(crate) fn is_clean(&self) {
        let rests = [self.incoming(), self.tmp(), self.incoming().join(".done"), self.quarantine()];
        for directory in rests {
            let left: Vec<String> = names(&directory).into_iter().filter(|name| name != ".done").collect();
            assert!(left.is_empty(), "{left:?} in {}", directory.display());
        }
    }
}

/// What a directory holds, in order; nothing where it is not there.
pub(crate) fn names(directory: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A snapshot of one HAProxy with a frontend `front`, and servers `s0` and so on in the backend `app`.
pub(crate) fn snapshot(servers: usize) -> Files {
    let mut stat = String::from(
        "# pxname,svname,qcur,qmax,scur,smax,slim,stot,bin,bout,weight,act,bck,lbtot,type,hrsp_2xx,qtime,ctime,\n\
         front,FRONTEND,,,3,9,2000,100,12345,678901,,,,,0,99,,,\n",
    );
    for number in 0..servers {
        writeln!(stat, "app,s{number},0,1,2,3,,{number},5,6,1,1,0,{number},2,7,8,9,").unwrap();
    }
    stat.push_str("app,BACKEND,0,1,2,3,200,10,5,6,1,1,0,9,1,7,8,9,\n\n");
    let info = "Name: HAProxy\nVersion: 2.6.12\nProcess_num: 1\nPid: 7\nUptime_sec: 50\nCurrConns: 3\nIdle_pct: 99\n\n";
    [("a.sock_info", info.into()), ("a.sock_stat", stat.into_bytes())]
        .map(|(name, bytes)| (name.to_owned(), bytes))
        .into()
}

/// An HAProxy that answers at once with what [`snapshot`] has, for as long as the test runs.
pub(crate) fn instant_haproxy(path: &Path, servers: usize) {
    let files = snapshot(servers);
    let listener = UnixListener::bind(path).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 64];
            let count = std::io::Read::read(&mut stream, &mut request).unwrap_or(0);
            let what = if request[..count].starts_with(b"show info") { "a.sock_info" } else { "a.sock_stat" };
            // Who was killed does not read it.
            let _ = stream.write_all(&files[what]);
        }
    });
}

/// A command that goes on until it is ended, with its log in a file.
#[derive(Debug)]
pub(crate) struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    #[track_caller]
    pub(crate) fn start(
        program: &Path,
        directory: &Path,
        arguments: &[&str],
        variables: &[(&str, &Path)],
    ) -> Self {
        let log = tempfile::Builder::new().prefix("log").tempfile_in(directory).unwrap().keep().unwrap().1;
        let child = Command::new(program)
            .args(arguments)
            .current_dir(directory)
            .env_remove("NOTIFY_SOCKET")
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Self { child, log }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Kills it without a word.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end; gives its code.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> Option<i32> {
        eventually("the end of the command", || self.child.try_wait().unwrap()).code()
    }

    /// Ends it with SIGTERM, which has to go well; gives its log.
    #[track_caller]
    pub(crate) fn end(mut self) -> String {
        self.signal(Signal::SIGTERM);
        assert_eq!(self.wait(), Some(0));
        self.log()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// How many lines of the log hold this text.
    pub(crate) fn said(&self, text: &str) -> usize {
        self.log().lines().filter(|line| line.contains(text)).count()
    }

    /// Waits for a text in the log.
    #[track_caller]
    pub(crate) fn expect_log(&self, text: &str) {
        eventually(&format!("`{text}` in the log"), || (self.said(text) > 0).then_some(()));
    }

    /// A value of `/proc/PID/status` in KiB.
    pub(crate) fn memory(&self, key: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of a daemon\n{}", self.log());
        }
    }
}
