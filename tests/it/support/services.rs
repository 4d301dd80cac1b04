//! Real receivers of statistics: Debian's carbon-cache, and statsd from npm.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::{DEADLINE, eventually, free_port};

/// One at a time: they take all of a core for a while, and some tests beside expect an answer within milliseconds.
static TURN: Mutex<()> = Mutex::new(());

/// The turn of a test, which may have several of them.
type Turn = Rc<MutexGuard<'static, ()>>;

/// Waits for its turn: before ports are looked for, which would not stay free for so long.
fn turn() -> Turn {
    Rc::new(TURN.lock().unwrap_or_else(PoisonError::into_inner))
}

/// A process in a directory of its own, which both end with this.
#[derive(Debug)]
struct Service {
    command: Command,
    child: Child,
    directory: TempDir,
    turn: Turn,
}

impl Service {
    fn start(turn: Turn, directory: TempDir, mut command: Command, install: &str) -> Self {
        let log = File::options().create(true).append(true).open(directory.path().join("out")).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}; {install}"));
        Self { command, child, directory, turn }
    }

    /// Kills it without a word.
    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn start_again(&mut self) {
        self.child = self.command.spawn().unwrap();
    }

    /// Waits until it answers; one that has ended says why.
    #[track_caller]
    fn await_port(&mut self, port: u16) {
        self.await_it(|| TcpStream::connect(("127.0.0.1", port)).ok());
    }

    #[track_caller]
    fn await_it<T>(&mut self, mut probe: impl FnMut() -> Option<T>) {
        eventually("the service listens", || {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("it ended: {status}: {}", self.output());
            }
            probe()
        });
    }

    fn output(&self) -> String {
        fs::read_to_string(self.directory.path().join("out")).unwrap()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the kernel tells of a socket.
struct Socket {
    local: u16,
    remote: u16,
    /// Whether no process has it any more.
    is_orphan: bool,
}

/// All sockets of IPv4.
fn sockets(protocol: &str) -> Vec<Socket> {
    let table = fs::read_to_string(format!("/proc/net/{protocol}")).unwrap();
    let rows = table.lines().skip(1).map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let port = |address: &str| u16::from_str_radix(address.split_once(':').unwrap().1, 16).unwrap();
        Socket { local: port(words[1]), remote: port(words[2]), is_orphan: words[9] == "0" }
    });
    rows.collect()
}

/// A carbon that keeps what it gets in files of whisper.
#[derive(Debug)]
pub(crate) struct Carbon {
    service: Service,
    pub(crate) lines: u16,
    pub(crate) datagrams: u16,
    pub(crate) pickles: u16,
}

/// Debian's, for which its packages are; the first `python3` in the path may be another.
const PYTHON: &str = "/usr/bin/python3";
const CARBON: &str = "/usr/bin/carbon-cache";
const INSTALL_CARBON: &str = "run: sudo apt-get install graphite-carbon";

/// Prints `name value time` of all datapoints below a directory. Names of series with tags are stored with `_DOT_` for
/// each dot.
const WHISPER: &str = r#"
import os, sys, whisper
root = sys.argv[1]
for directory, _, names in os.walk(root):
    for name in names:
        path = os.path.join(directory, name)
        series = os.path.relpath(path, root)[:-len(".wsp")]
        if series.startswith("_tagged/"):
            series = os.path.basename(series).replace("_DOT_", ".")
        else:
            series = series.replace("/", ".")
        (begin, _, step), values = whisper.fetch(path, 0)
        for number, value in enumerate(values):
            if value is not None:
                print(series, repr(value), begin + number * step)
"#;

impl Carbon {
    pub(crate) fn start() -> Self {
        let (turn, directory) = (turn(), tempfile::tempdir().unwrap());
        let [lines, datagrams, pickles, query] = std::array::from_fn(|_| free_port());
        let here = directory.path().display();
        let config = format!(
            "[cache]\nSTORAGE_DIR={here}\nCONF_DIR={here}\nLOG_DIR={here}\nPID_DIR={here}\n\
             LOCAL_DATA_DIR={here}/whisper\nUSER=\n\
             LINE_RECEIVER_INTERFACE=127.0.0.1\nLINE_RECEIVER_PORT={lines}\n\
             ENABLE_UDP_LISTENER=True\nUDP_RECEIVER_INTERFACE=127.0.0.1\nUDP_RECEIVER_PORT={datagrams}\n\
             PICKLE_RECEIVER_INTERFACE=127.0.0.1\nPICKLE_RECEIVER_PORT={pickles}\n\
             CACHE_QUERY_INTERFACE=127.0.0.1\nCACHE_QUERY_PORT={query}\n\
             MAX_CREATES_PER_MINUTE=inf\nMAX_UPDATES_PER_SECOND=inf\n\
             ENABLE_TAGS=False\nTAG_HASH_FILENAMES=False\n"
        );
        fs::write(directory.path().join("carbon.conf"), config).unwrap();
        // A datapoint for each second, and small files.
        let schemas = "[all]\npattern = .*\nretentions = 1s:10m\n";
        fs::write(directory.path().join("storage-schemas.conf"), schemas).unwrap();
        assert!(Path::new(CARBON).exists(), "{CARBON} is missing; {INSTALL_CARBON}");
        let mut command = Command::new(PYTHON);
        command.arg(CARBON).arg(format!("--config={here}/carbon.conf")).args(["--nodaemon", "start"]);
        let service = Service::start(turn, directory, command, INSTALL_CARBON);
        let mut carbon = Self { service, lines, datagrams, pickles };
        carbon.await_ports();
        carbon
    }

    fn await_ports(&mut self) {
        for port in [self.lines, self.pickles] {
            self.service.await_port(port);
        }
    }

    /// Kills it without a word: what it has not written is gone.
    pub(crate) fn kill(&mut self) {
        self.service.kill();
    }

    /// Starts it again after a kill, at the same ports and with the same files.
    pub(crate) fn start_again(&mut self) {
        self.service.start_again();
        self.await_ports();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.service.child.id()).unwrap()), signal).unwrap();
    }

    /// Whether somebody has a connection to its port for lines; one that was given up does not count.
    pub(crate) fn has_client(&self) -> bool {
        sockets("tcp").iter().any(|socket| socket.remote == self.lines && !socket.is_orphan)
    }

    /// How many series it has files for: a look that costs little.
    pub(crate) fn files(&self) -> usize {
        fn count(directory: &Path) -> usize {
            let Ok(entries) = fs::read_dir(directory) else { return 0 };
            let paths = entries.map(|entry| entry.unwrap().path());
            paths.map(|path| if path.is_dir() { count(&path) } else { 1 }).sum()
        }
        count(&self.whisper())
    }

    fn whisper(&self) -> PathBuf {
        self.service.directory.path().join("whisper")
    }

    /// All that it has written, by time and by the names of the series; nothing of what it tells of itself.
    pub(crate) fn points(&self) -> BTreeMap<u64, BTreeMap<String, f64>> {
        let output = Command::new(PYTHON).args(["-c", WHISPER]).arg(self.whisper()).output().unwrap();
        // A file that is being made has no header yet, or has gone.
        let text = String::from_utf8(output.stdout).unwrap();
        let mut points: BTreeMap<u64, BTreeMap<String, f64>> = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with("carbon.")) {
            let [name, value, time] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
            let values = points.entry(time.parse().unwrap()).or_default();
            assert_eq!(values.insert(name.to_owned(), value.parse().unwrap()), None, "{line}");
        }
        points
    }

    /// What it complains of.
    pub(crate) fn complaints(&self) -> String {
        let output = self.service.output();
        output.lines().filter(|line| line.contains("nvalid") || line.contains("rror")).collect()
    }
}

/// A statsd that keeps what it gets until it is asked.
#[derive(Debug)]
pub(crate) struct Statsd {
    service: Service,
    pub(crate) port: u16,
    management: u16,
}

impl Statsd {
    pub(crate) fn start() -> Self {
        Self::start_in(turn())
    }

    /// Starts it in the same test.
    pub(crate) fn beside(carbon: &Carbon) -> Self {
        Self::start_in(Rc::clone(&carbon.service.turn))
    }

    fn start_in(turn: Turn) -> Self {
        const INSTALL: &str =
            "`./run-tests` installs it, or: npm install --prefix target/statsd statsd@0.9.0";
        let stats = statsd_directory().join("node_modules/statsd/stats.js");
        assert!(stats.exists(), "{} is missing; {INSTALL}", stats.display());
        let directory = tempfile::tempdir().unwrap();
        let [port, management] = [free_port(), free_port()];
        let config = format!(
            "{{ address: '127.0.0.1', port: {port}, mgmt_address: '127.0.0.1', mgmt_port: {management},\n\
             flushInterval: 3600000, backends: [] }}\n"
        );
        fs::write(directory.path().join("config.js"), config).unwrap();
        let mut command = Command::new("node");
        command.arg(stats).arg(directory.path().join("config.js"));
        let service = Service::start(turn, directory, command, "install nodejs");
        let mut statsd = Self { service, port, management };
        statsd.await_ports();
        statsd
    }

    fn await_ports(&mut self) {
        self.service.await_port(self.management);
        let port = self.port;
        self.service.await_it(|| sockets("udp").iter().any(|socket| socket.local == port).then_some(()));
    }

    /// Kills it without a word: what it knows is gone.
    pub(crate) fn kill(&mut self) {
        self.service.kill();
    }

    /// Starts it again after a kill, at the same port.
    pub(crate) fn start_again(&mut self) {
        self.service.start_again();
        self.await_ports();
    }

    fn ask(&self, command: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.management)).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        // In one write: what comes alone is a command by itself.
        stream.write_all(format!("{command}\n").as_bytes()).unwrap();
        let (mut reply, mut buffer) = (Vec::new(), [0; 4096]);
        while !reply.ends_with(b"END\n\n") {
            let count = stream.read(&mut buffer).unwrap();
            assert!(count > 0, "{command}: {}", self.service.output());
            reply.extend_from_slice(&buffer[..count]);
        }
        String::from_utf8(reply).unwrap()
    }

    /// What it has of a kind, by name. As `util.inspect` of node writes an object: `  'name': value,`, a line each.
    fn values(&self, kind: &str) -> BTreeMap<String, f64> {
        let reply = self.ask(kind);
        let pairs = reply.split(['\n', '{', '}', ',']).filter_map(|pair| pair.rsplit_once(": "));
        let values = pairs.map(|(name, value)| {
            let value = value.parse().unwrap_or_else(|_| panic!("{name}: {value}"));
            (name.trim().trim_matches('\'').to_owned(), value)
        });
        values.collect()
    }

    /// All gauges.
    pub(crate) fn gauges(&self) -> BTreeMap<String, f64> {
        let gauges = self.values("gauges").into_iter();
        gauges.filter(|(name, _)| !name.starts_with("statsd.")).collect()
    }

    /// How many lines it has read since its start.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub(crate) fn received(&self) -> usize {
        self.values("counters")["statsd.metrics_received"] as usize
    }

    /// How many lines it could not read.
    pub(crate) fn bad_lines(&self) -> u32 {
        let reply = self.ask("stats");
        let count = reply.lines().find_map(|line| line.strip_prefix("messages.bad_lines_seen: "));
        count.unwrap_or_else(|| panic!("{reply}")).parse().unwrap()
    }
}

/// Where npm has installed it.
fn statsd_directory() -> PathBuf {
    let here = || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/statsd");
    std::env::var_os("STATSD_DIR").map_or_else(here, PathBuf::from)
}

/// Asserts that Prometheus has nothing to say against a file.
#[track_caller]
pub(crate) fn check_metrics(file: &Path) {
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(File::open(file).unwrap()).stdout(Stdio::piped());
    let output = command.stderr(Stdio::piped()).spawn().and_then(std::process::Child::wait_with_output);
    let output = output.unwrap_or_else(|error| {
        panic!("promtool: {error}; it is in Debian's package `prometheus`, and run-tests installs it")
    });
    let said = [output.stdout, output.stderr].concat();
    assert_eq!((output.status.code(), String::from_utf8_lossy(&said)), (Some(0), "".into()));
}
