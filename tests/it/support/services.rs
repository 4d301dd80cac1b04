//! Real receivers of statistics: Debian's carbon-cache, and statsd from npm.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tempfile::TempDir;

use super::{DEADLINE, eventually, free_port};

/// One at a time: they take all of a core for a while, and some tests beside expect an answer within milliseconds.
static TURN: Mutex<()> = Mutex::new(());

/// Waits for its turn: before ports are looked for, which would not stay free for so long.
fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A process in a directory of its own, which both end with this.
#[derive(Debug)]
struct Service {
    child: Child,
    directory: TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl Service {
    fn start(
        turn: MutexGuard<'static, ()>,
        directory: TempDir,
        command: &mut Command,
        install: &str,
    ) -> Self {
        let log = File::create(directory.path().join("out")).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}; {install}"));
        Self { child, directory, _turn: turn }
    }

    /// Waits until it answers; one that has ended says why.
    #[track_caller]
    fn await_port(&mut self, port: u16) {
        eventually("the service listens", || {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("it ended: {status}: {}", self.output());
            }
            TcpStream::connect(("127.0.0.1", port)).ok()
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
        // Small files, which is enough for one datapoint of the present.
        let schemas = "[all]\npattern = .*\nretentions = 1s:2m\n";
        fs::write(directory.path().join("storage-schemas.conf"), schemas).unwrap();
        let mut command = Command::new(PYTHON);
        command.arg(CARBON).arg(format!("--config={here}/carbon.conf")).args(["--nodaemon", "start"]);
        assert!(Path::new(CARBON).exists(), "{CARBON} is missing; run: sudo apt-get install graphite-carbon");
        let mut service =
            Service::start(turn, directory, &mut command, "run: sudo apt-get install graphite-carbon");
        for port in [lines, pickles] {
            service.await_port(port);
        }
        Self { service, lines, datagrams, pickles }
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

    /// All that it has written, by the names of the series; each has one datapoint, of this time.
    pub(crate) fn written(&self, time: u64) -> BTreeMap<String, f64> {
        let output = Command::new(PYTHON).args(["-c", WHISPER]).arg(self.whisper()).output().unwrap();
        // A file that is being made has no header yet, or has gone.
        let text = String::from_utf8(output.stdout).unwrap();
        let mut written = BTreeMap::new();
        for line in text.lines() {
            let [name, value, at] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
            assert_eq!(at, time.to_string(), "{line}");
            assert_eq!(written.insert(name.to_owned(), value.parse().unwrap()), None, "{line}");
        }
        written
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
        const INSTALL: &str =
            "`./run-tests` installs it, or: npm install --prefix target/statsd statsd@0.9.0";
        let stats = statsd_directory().join("node_modules/statsd/stats.js");
        assert!(stats.exists(), "{} is missing; {INSTALL}", stats.display());
        let (turn, directory) = (turn(), tempfile::tempdir().unwrap());
        let [port, management] = [free_port(), free_port()];
        let config = format!(
            "{{ address: '127.0.0.1', port: {port}, mgmt_address: '127.0.0.1', mgmt_port: {management},\n\
             flushInterval: 3600000, backends: [] }}\n"
        );
        fs::write(directory.path().join("config.js"), config).unwrap();
        let mut command = Command::new("node");
        command.arg(stats).arg(directory.path().join("config.js"));
        let mut service = Service::start(turn, directory, &mut command, "install nodejs");
        service.await_port(management);
        Self { service, port, management }
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

    /// All gauges.
    pub(crate) fn gauges(&self) -> BTreeMap<String, f64> {
        let reply = self.ask("gauges");
        // As `util.inspect` of node writes an object: `  'name': value,`, a line each.
        let pairs = reply.split(['\n', '{', '}', ',']).filter_map(|pair| pair.rsplit_once(": "));
        let gauges = pairs.map(|(name, value)| {
            let value = value.parse().unwrap_or_else(|_| panic!("{name}: {value}"));
            (name.trim().trim_matches('\'').to_owned(), value)
        });
        gauges.filter(|(name, _)| !name.starts_with("statsd.")).collect()
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
