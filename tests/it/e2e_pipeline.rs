//! `pull` and `process` beside a real HAProxy, with a Graphite that counts what arrives.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::support::{
    Act, BINARY, DEADLINE, Daemon, Delivery, FakeHaproxy, Files, Haproxy, Manner, Pipeline, Run, Sink,
    eventually, for_a_while, free_port, instant_haproxy, names, snapshot,
};

type Values = BTreeMap<String, f64>;

// --- a real HAProxy, and what is expected of it

/// A web server that says yes to all, for as long as the tests run.
fn web() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nok");
        }
    });
    port
}

fn get(front: &Path) -> String {
    let mut stream = UnixStream::connect(front).unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    reply
}

/// An HAProxy whose names have dots, and that has served so many requests from a server that works, and as many
/// from a backend half of whose servers do not.
fn haproxy(directory: &Path, name: &str, further: &str, requests: u64) -> Haproxy {
    let (port, dotted) = (web(), directory.join(format!("{name}.dotted")));
    let site = format!(
        "{further}\nfrontend my.front\n  mode http\n  timeout client 9s\n  bind {} mode 666\n  default_backend api.v1\n\
         backend api.v1\n  mode http\n  timeout connect 9s\n  timeout server 9s\n  retries 0\n\
         server a.1 127.0.0.1:{port} weight 7\n  server b.2 127.0.0.1:1\n",
        dotted.display()
    );
    let servers = [&*format!("web1 127.0.0.1:{port}"), "web.2 127.0.0.1:1"];
    let haproxy = Haproxy::start_as(directory, name, &site, &servers);
    haproxy.ask("set server app/web1 state ready");
    haproxy.expect_status("web1", "no check");
    for _ in 0..requests {
        assert!(get(&haproxy.socket.with_extension("front")).starts_with("HTTP/1.0 200 "));
        get(&dotted);
    }
    // HAProxy counts an answer after it has given it.
    eventually("all answers counted", || (haproxy.count("front", 1, "hrsp_2xx") == requests).then_some(()));
    haproxy
}

/// The words of haproxystats for what it knows of a kind of thing, as those who know it have seen them.
fn known_metrics() -> BTreeMap<&'static str, BTreeSet<String>> {
    let mut metrics: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for line in known("default.expected").lines() {
        let path = line.split(' ').next().unwrap();
        let words: Vec<&str> = path.split('.').skip(3).collect();
        let (kind, metric) = match words[..] {
            ["daemon", metric] => ("daemon", metric),
            ["frontend", _, metric] => ("frontend", metric),
            ["backend", _, metric] => ("backend", metric),
            ["backend", _, "server", _, metric] => ("server", metric),
            ["haproxystats", metric] => ("own", metric),
            _ => panic!("{line}"),
        };
        metrics.entry(kind).or_default().insert(metric.to_owned());
    }
    metrics
}

fn known(name: &str) -> String {
    fs::read_to_string(data().join(name)).unwrap()
}

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/haproxystats")
}

/// What the dumps say, by the rules of haproxystats, worked out by other means than the program's.
fn expected(files: &Files, prefix: &str) -> Values {
    let metrics = known_metrics();
    let texts = |end: &str| -> Vec<&str> {
        let dumps = files.iter().filter(|(name, _)| name.ends_with(end));
        dumps.map(|(_, bytes)| std::str::from_utf8(bytes).unwrap()).collect()
    };
    let mut values = daemon(&texts("_info"), &metrics["daemon"]);
    values.extend(sites(&texts("_stat"), &metrics));
    values.into_iter().map(|(path, value)| (format!("{prefix}haproxy.{path}"), value)).collect()
}

fn daemon(infos: &[&str], known: &BTreeSet<String>) -> Values {
    let mut sums: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    for line in infos.iter().flat_map(|info| info.lines()) {
        let Some((key, value)) = line.split_once(": ") else { continue };
        if let (true, Ok(value)) = (known.contains(key), value.parse::<i64>()) {
            let sum = sums.entry(key).or_default();
            *sum = (sum.0 + real(value), sum.1 + 1.0);
        }
    }
    let value = |(key, (sum, count)): (&str, (f64, f64))| {
        let value = if ["Idle_pct", "Uptime_sec"].contains(&key) { sum / count } else { sum };
        (format!("daemon.{key}"), value)
    };
    sums.into_iter().map(value).collect()
}

#[allow(clippy::cast_precision_loss)]
fn real(value: i64) -> f64 {
    value as f64
}

fn sites(stats: &[&str], known: &BTreeMap<&str, BTreeSet<String>>) -> Values {
    /// Sum, rows, and rows that have had something to measure.
    type Sum = (f64, f64, f64);
    let mut sums: BTreeMap<(String, String), Sum> = BTreeMap::new();
    let mut servers: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for stat in stats {
        let mut reader =
            csv::ReaderBuilder::new().flexible(true).from_reader(stat.trim_start_matches("# ").as_bytes());
        let columns: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
        for row in reader.records().map(Result::unwrap) {
            let field = |name: &str| &row[columns.iter().position(|column| column == name).unwrap()];
            let (proxy, server) = (field("pxname").replace('.', "_"), field("svname").replace('.', "_"));
            let (kind, path) = match field("type") {
                "0" => ("frontend", format!("frontend.{proxy}")),
                "1" => ("backend", format!("backend.{proxy}")),
                "2" => ("server", format!("backend.{proxy}.server.{server}")),
                _ => continue,
            };
            if kind == "server" {
                servers.entry(proxy).or_default().insert(server);
            }
            let is_busy = kind != "frontend" && !["", "0"].contains(&field("lbtot"));
            for (metric, field) in
                columns.iter().zip(&row).filter(|(metric, _)| known[kind].contains(*metric))
            {
                let sum = sums.entry((path.clone(), metric.clone())).or_default();
                let value = if field.is_empty() { 0.0 } else { field.parse().unwrap() };
                if is_busy || !MEASURED.contains(&metric.as_str()) {
                    sum.0 += value;
                }
                *sum = (sum.0, sum.1 + 1.0, sum.2 + if is_busy { 1.0 } else { 0.0 });
            }
        }
    }
    let value = |((path, metric), (sum, rows, busy)): ((String, String), Sum)| {
        let value = match metric.as_str() {
            "act" | "bck" | "weight" | "throttle" => sum / rows,
            metric if MEASURED.contains(&metric) => sum / busy,
            _ => sum,
        };
        (format!("{path}.{metric}"), value)
    };
    let total = |(backend, servers): (String, BTreeSet<String>)| {
        (format!("backend.{backend}.TotalServers"), f64::from(u32::try_from(servers.len()).unwrap()))
    };
    let values = sums.into_iter().map(value).chain(servers.into_iter().map(total));
    values.filter(|(_, value)| !value.is_nan()).collect()
}

/// What only a server that has had requests has measured.
const MEASURED: [&str; 4] = ["qtime", "ctime", "rtime", "ttime"];

/// What differs between what arrived and what was expected, and nothing of what the program tells of itself.
#[track_caller]
fn agrees(delivery: &Delivery, expected: &Values) {
    let is_own = |path: &str| path.contains(".haproxystats.") || path.ends_with("CpuUsagePct");
    let told: Values = delivery
        .values
        .iter()
        .filter(|(path, _)| !is_own(path))
        .map(|(path, value)| (path.clone(), *value))
        .collect();
    let is_same =
        |one: Option<&f64>, other: f64| one.is_some_and(|one| (one - other).abs() <= 1e-9 * other.abs());
    let differing = |one: &Values, other: &Values| -> Vec<String> {
        let differs = |(path, value): &(&String, &f64)| !is_same(other.get(*path), **value);
        one.iter().filter(differs).map(|(path, value)| format!("{path} {value}")).collect()
    };
    assert_eq!((differing(expected, &told), differing(&told, expected)), (vec![], vec![]));
}

fn prefix() -> String {
    format!("lb.{}.", node().replace('.', "_"))
}

/// This machine's name, with its dots.
fn node() -> String {
    rustix::system::uname().nodename().to_str().unwrap().to_owned()
}

fn servers_line(servers: &[&str]) -> String {
    format!("servers = {}", servers.join(","))
}

fn unix(path: &Path) -> String {
    format!("unix://{}", path.display())
}

#[test]
fn what_a_haproxy_says_arrives_with_all_names_and_values_at_the_time_of_its_pull() {
    let (directory, sink) = (tempfile::tempdir().unwrap(), Sink::start());
    let haproxy = haproxy(directory.path(), "haproxy", "", 5);
    let pipeline = Pipeline::new(&sink);
    let pull = format!("{}\npull-interval = 2", servers_line(&[&unix(&haproxy.socket)]));
    pipeline.configure(&sink, &pull, "", "prefix-hostname = true");
    let puller = pipeline.start("pull");
    let waiting = eventually("two snapshots", || Some(pipeline.waiting()).filter(|names| names.len() >= 2));
    puller.end();
    let dumps: Vec<Files> = waiting.iter().map(|name| pipeline.files(name)).collect();
    let waiting = pipeline.waiting();
    let process = pipeline.start("process");
    sink.wait_for(waiting.len());
    process.end();
    pipeline.is_clean();

    let deliveries = sink.deliveries();
    let times: Vec<u64> = waiting.iter().map(|name| name.parse().unwrap()).collect();
    assert_eq!(sink.times(), times, "in their order, with the times of their directories");
    assert!(times.iter().all(|time| time.is_multiple_of(2)), "{times:?}");
    for (delivery, files) in deliveries.iter().zip(&dumps) {
        agrees(delivery, &expected(files, &prefix()));
        for own in &known_metrics()["own"] {
            let path = format!("{}haproxy.haproxystats.{own}", prefix());
            assert!(delivery.values.contains_key(&path), "{path}");
        }
    }

    let path = |path: &str| format!("{}haproxy.{path}", prefix());
    let value = |name: &str| deliveries[0].values[&path(name)];
    for (path, expected) in [
        ("frontend.front.hrsp_2xx", 5.0),
        ("frontend.front.stot", 5.0),
        ("frontend.my_front.stot", 5.0),
        ("backend.app.server.web1.stot", 5.0),
        ("backend.app.server.web_2.stot", 0.0),
        ("backend.app.TotalServers", 2.0),
        ("backend.api_v1.server.a_1.weight", 7.0),
        ("backend.api_v1.act", 2.0),
        ("daemon.Maxconn", deliveries[1].values[&path("daemon.Maxconn")]),
    ] {
        assert!((value(path) - expected).abs() < 1e-9, "{path}: {}", value(path));
    }
    let is_told = |name: &str| deliveries[0].values.contains_key(&path(name));
    for measured in MEASURED {
        assert!(is_told(&format!("backend.app.server.web1.{measured}")), "{measured}");
        assert!(!is_told(&format!("backend.app.server.web_2.{measured}")), "it had nothing to measure");
    }
}

#[test]
fn several_haproxies_are_added_up() {
    let (directory, sink) = (tempfile::tempdir().unwrap(), Sink::start());
    let one = haproxy(directory.path(), "one", "", 2);
    let two = haproxy(directory.path(), "two", "", 7);
    let pipeline = Pipeline::new(&sink);
    pipeline.configure(&sink, &servers_line(&[&unix(&one.socket), &unix(&two.socket)]), "", "");
    pipeline.once("pull").expect(0);
    let files = pipeline.files(&pipeline.wait_for(1)[0]);
    assert_eq!(
        files.keys().collect::<Vec<_>>(),
        ["one.sock_info", "one.sock_stat", "two.sock_info", "two.sock_stat"]
    );
    pipeline.once("process").expect(0);
    let deliveries = sink.deliveries();
    assert_eq!(deliveries.len(), 1);
    agrees(&deliveries[0], &expected(&files, "lb."));
    let value = |path: &str| deliveries[0].values[&format!("lb.haproxy.{path}")];
    assert!((value("frontend.front.hrsp_2xx") - 9.0).abs() < 1e-9, "of both");
    assert!((value("backend.api_v1.TotalServers") - 2.0).abs() < 1e-9, "the same ones");
    for percentile in ["25Percentile", "50Percentile", "75Percentile", "95Percentile", "99Percentile", "Std"]
    {
        let usage = value(&format!("daemon.{percentile}CpuUsagePct"));
        assert!((0.0..=100.0).contains(&usage), "{percentile} {usage}");
    }
}

#[test]
fn sockets_come_from_a_directory_and_from_a_list_and_name_the_files() {
    let (directory, sink) = (tempfile::tempdir().unwrap(), Sink::start());
    let sockets = directory.path().join("sockets");
    fs::create_dir(&sockets).unwrap();
    fs::write(sockets.join("haproxy.pid"), "7\n").unwrap();
    let (four, six, folder) = (free_port(), free_port(), sockets.display());
    let further = format!(
        "  stats socket {folder}/any.sock mode 666 level user\n  stats socket {folder}/op.sock mode 666 level operator\n  \
         stats socket 127.0.0.1:{four} level user\n  stats socket ipv6@::1:{six} level user\n"
    );
    let haproxy = haproxy(directory.path(), "haproxy", &further, 1);
    let pipeline = Pipeline::new(&sink);
    let list = servers_line(&[
        &format!("tcp://127.0.0.1:{four}"),
        &format!("tcp://[::1]:{six}"),
        &unix(&haproxy.socket),
    ]);
    pipeline.configure(&sink, &format!("socket-dir = {folder}\n{list}"), "", "");
    pipeline.once("pull").expect(0);
    let files = pipeline.files(&pipeline.wait_for(1)[0]);
    let sources = [
        format!("127.0.0.1:{four}"),
        format!("[::1]:{six}"),
        "any.sock".into(),
        "haproxy.sock".into(),
        "op.sock".into(),
    ];
    let named: BTreeSet<String> =
        sources.iter().flat_map(|name| [format!("{name}_info"), format!("{name}_stat")]).collect();
    assert_eq!(files.keys().cloned().collect::<BTreeSet<_>>(), named);
    pipeline.once("process").expect(0);
    agrees(&sink.deliveries()[0], &expected(&files, "lb."));
}

// --- how a pull goes

#[test]
fn pulls_wait_while_the_spool_is_full() {
    let (directory, sink) = (tempfile::tempdir().unwrap(), Sink::start());
    let haproxy = haproxy(directory.path(), "haproxy", "", 0);
    let pipeline = Pipeline::new(&sink);
    let pull = format!("{}\nqueue-size = 2", servers_line(&[&unix(&haproxy.socket)]));
    pipeline.configure(&sink, &pull, "", "");
    let puller = pipeline.start("pull");
    puller.expect_log("suspended: 2 snapshots wait in `");
    let full = pipeline.waiting();
    for_a_while(Duration::from_millis(2100), || assert_eq!(pipeline.waiting(), full));
    assert_eq!(puller.said("suspended: "), 1, "once");
    let process = pipeline.start("process");
    sink.wait_for(4);
    puller.expect_log("pulls are whole again");
    puller.end();
    process.end();
    let times = sink.times();
    assert!(times.is_sorted_by(|one, other| one < other), "{times:?}");
    assert_eq!(full, times[..2].iter().map(u64::to_string).collect::<Vec<_>>());
    assert_eq!(names(&pipeline.tmp()), [""; 0]);
}

#[test]
fn one_dead_socket_drops_the_whole_snapshot_unless_partial_ones_are_kept() {
    let (directory, sink) = (tempfile::tempdir().unwrap(), Sink::start());
    let haproxy = haproxy(directory.path(), "haproxy", "", 1);
    let pipeline = Pipeline::new(&sink);
    let list = servers_line(&[&unix(&haproxy.socket), "unix:///dead.sock"]);
    pipeline.configure(&sink, &format!("{list}\nretries = 0"), "", "");
    let dead = "haproxy unix:///dead.sock: show info and show stat: cannot connect: No such file or directory (os error 2)";
    pipeline.once("pull").expect(1).complains(&format!("error: nothing kept: {dead}"));
    assert_eq!((pipeline.waiting(), names(&pipeline.tmp())), (vec![], vec![]));

    pipeline.configure(&sink, &format!("{list}\nretries = 0\nkeep-partial = true"), "", "");
    pipeline.once("pull").expect(1).complains(&format!("error: kept without what failed: {dead}"));
    let mut files = pipeline.files(&pipeline.wait_for(1)[0]);
    let failed = files.remove(".failed").unwrap();
    assert!(failed.starts_with(b"dead.sock: show info: cannot connect: "), "{}", failed.escape_ascii());
    assert_eq!(files.keys().collect::<Vec<_>>(), ["haproxy.sock_info", "haproxy.sock_stat"]);
    pipeline.once("process").expect(0);
    agrees(&sink.deliveries()[0], &expected(&files, "lb."));
}

// --- signals and the service manager

const ENDINGS: [Signal; 3] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];

#[test]
fn a_signal_ends_pull_after_the_pull_under_way() {
    for signal in ENDINGS {
        let (directory, sink) = (tempfile::tempdir().unwrap(), Sink::start());
        let silent = FakeHaproxy::start(directory.path());
        for command in ["show info", "show stat"] {
            silent.on(command, [Act::Hang(vec![])]);
        }
        let pipeline = Pipeline::new(&sink);
        let pull = format!("{}\npull-timeout = 1\nretries = 0", servers_line(&[&unix(&silent.path)]));
        pipeline.configure(&sink, &pull, "", "");
        let mut puller = pipeline.start("pull");
        eventually("a pull under way", || (!names(&pipeline.tmp()).is_empty()).then_some(()));
        puller.signal(signal);
        puller.expect_log("nothing kept: ");
        puller.expect_log("ended by a signal");
        assert_eq!(puller.wait(), Some(0), "{signal}");
        pipeline.is_clean();
    }
}

#[test]
fn a_signal_ends_process_after_the_snapshot_in_hand() {
    for signal in ENDINGS {
        let sink = Sink::with("127.0.0.1:0", &[Manner::ReadSlowly]);
        let pipeline = Pipeline::new(&sink);
        let files = snapshot(1000);
        for name in ["1000", "2000"] {
            pipeline.feed(name, &files);
        }
        let mut process = pipeline.start("process");
        eventually("a delivery under way", || (sink.accepted() > 0).then_some(()));
        process.signal(signal);
        process.expect_log("ended by a signal");
        assert_eq!(process.wait(), Some(0), "{signal}");
        let delivered = sink.deliveries();
        assert_eq!(delivered.len() + pipeline.waiting().len(), 2, "none twice, none lost");
        assert!(delivered.iter().all(|delivery| delivery.values.len() == delivered[0].values.len()));
        assert!(delivered[0].values.contains_key("lb.haproxy.backend.app.server.s999.weight"), "whole");
    }
}

/// `process` that has a snapshot in hand whose destination does not read, and would wait for ten seconds; ended by two
/// signals.
#[track_caller]
fn ended_twice(arguments: &[&str]) -> (Option<i32>, String) {
    let sink = Sink::with("127.0.0.1:0", &[Manner::Hang]);
    let pipeline = Pipeline::new(&sink);
    pipeline.configure(&sink, "", "", "write-timeout = 600");
    pipeline.feed("1000", &snapshot(10_000));
    let mut process = pipeline.start_with("process", arguments, &[]);
    eventually("a delivery under way", || (sink.accepted() > 0).then_some(()));
    process.signal(Signal::SIGTERM);
    for_a_while(Duration::from_secs(1), || assert!(process.is_running(), "it has a snapshot in hand"));
    let second = Instant::now();
    process.signal(Signal::SIGTERM);
    let code = process.wait();
    assert!(second.elapsed() < Duration::from_secs(8), "at once");
    assert_eq!(
        process.said("a snapshot in hand is not finished; it is delivered again at the next start"),
        1
    );
    assert_eq!(pipeline.waiting(), ["1000"]);
    (code, process.log())
}

#[test]
fn a_second_signal_ends_process_at_once() {
    let (code, log) = ended_twice(&[]);
    assert!(code == Some(0) && log.contains("ended by a signal"), "{code:?} {log}");
    let (code, log) = ended_twice(&["--once"]);
    let left = "error: 1 snapshot is not delivered and stays in the spool";
    assert!(code == Some(1) && log.contains(left), "{code:?} {log}");
}

/// systemd's end of `sd_notify(3)`.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    fn new(pipeline: &Pipeline) -> Self {
        let path = pipeline.path("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        Self { socket, path }
    }

    fn start(&self, pipeline: &Pipeline, command: &str) -> Daemon {
        // It wants a sign of life each 300 ms.
        let wanted = [("NOTIFY_SOCKET", &*self.path), ("WATCHDOG_USEC", Path::new("300000"))];
        pipeline.start_with(command, &[], &wanted)
    }

    /// Waits for a state; passes over those that come again and again.
    #[track_caller]
    fn expect(&self, state: &str) {
        let mut bytes = [0; 100];
        loop {
            let count = self.socket.recv(&mut bytes).unwrap_or_else(|error| panic!("no {state}: {error}"));
            let told = std::str::from_utf8(&bytes[..count]).unwrap().trim_end();
            if told == state {
                return;
            }
            assert!(["READY=1", "WATCHDOG=1"].contains(&told), "{told}");
        }
    }
}

#[test]
fn the_service_manager_is_told_of_readiness_of_life_and_of_the_end() {
    let (sink, directory) = (Sink::start(), tempfile::tempdir().unwrap());
    instant_haproxy(&directory.path().join("a.sock"), 3);
    for command in ["pull", "process"] {
        let pipeline = Pipeline::new(&sink);
        let servers = servers_line(&[&unix(&directory.path().join("a.sock"))]);
        pipeline.configure(
            &sink,
            &format!("{servers}\npull-interval = 3600\npull-timeout = 2"),
            "liveness-check-interval = 3600",
            "",
        );
        let manager = Manager::new(&pipeline);
        let mut daemon = manager.start(&pipeline, command);
        for state in ["READY=1", "WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1"] {
            manager.expect(state);
        }
        daemon.signal(Signal::SIGTERM);
        manager.expect("STOPPING=1");
        assert_eq!(daemon.wait(), Some(0));
    }
}

#[test]
fn the_service_manager_hears_of_one_that_waits_for_the_spool() {
    let pipeline = Pipeline::new(&Sink::start());
    let first = pipeline.start("process");
    first.expect_log("delivering from `");
    let manager = Manager::new(&pipeline);
    let second = manager.start(&pipeline, "process");
    for state in ["READY=1", "WATCHDOG=1", "WATCHDOG=1"] {
        manager.expect(state);
    }
    second.expect_log("another process delivers from `");
    second.end();
    first.end();
}

// --- in the place of haproxystats

/// The binary under a name of haproxystats.
fn called(pipeline: &Pipeline, name: &str) -> PathBuf {
    let path = pipeline.path(name);
    symlink(BINARY, &path).unwrap();
    path
}

fn run(program: &Path, directory: &Path, arguments: &[&str]) -> Run {
    let output = Command::new(program).args(arguments).current_dir(directory).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Run { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

#[test]
fn the_names_of_haproxystats_take_its_options() {
    let sink = Sink::start();
    let pipeline = Pipeline::new(&sink);
    let (pull, process) = (called(&pipeline, "haproxystats-pull"), called(&pipeline, "haproxystats-process"));
    for (program, own, others) in [(&pull, "[pull]", "[process]"), (&process, "[graphite]", "[pull]")] {
        let run = |arguments: &[&str]| run(program, pipeline.directory(), arguments).expect(0);
        assert!(run(&["-v"]).out.starts_with("supervisor-haproxy "));
        run(&["--help"]).says("--file").says("--print-conf");
        run(&["-p"]).says(own).omits(others).says("loglevel = info");
        run(&["-f", "h.conf", "-P"]).says(own).omits(others);
    }
    run(&pull, pipeline.directory(), &["-p"]).says("pull-interval = 10");
    run(&pull, pipeline.directory(), &["-f", "h.conf", "-P"]).says("pull-interval = 1\n");

    let further = pipeline.path("further");
    fs::create_dir(&further).unwrap();
    fs::write(further.join("20.conf"), "[graphite]\nnamespace = last\n").unwrap();
    fs::write(further.join("10.conf"), "[graphite]\nnamespace = first\n").unwrap();
    fs::write(further.join("no.txt"), "nonsense").unwrap();
    run(&process, pipeline.directory(), &["-f", "h.conf", "-d", "further", "-P"])
        .expect(0)
        .says("namespace = last\n");

    instant_haproxy(&pipeline.path("a.sock"), 3);
    pipeline.configure(&sink, &servers_line(&[&unix(&pipeline.path("a.sock"))]), "", "");
    let puller = Daemon::start(&pull, pipeline.directory(), &["-f", "h.conf"], &[]);
    let processor = Daemon::start(&process, pipeline.directory(), &["-f", "h.conf", "-d", "further"], &[]);
    sink.wait_for(2);
    puller.end();
    processor.end();
    assert!(sink.deliveries()[0].values.contains_key("last.haproxy.frontend.front.scur"));
}

#[test]
fn a_wrong_configuration_is_refused_with_all_that_is_wrong() {
    let pipeline = Pipeline::new(&Sink::start());
    let text = "[pull]\npull-interval = 0\ntimeout = soon\nservers = http://h:1\n\n[process]\nworkers = many\n\
                frontend-metrics = scurr stot\n[graphite]\nport = 99999\nprotocol = carrier-pigeon\n";
    fs::write(pipeline.path("h.conf"), text).unwrap();
    for name in ["pull", "process", "haproxystats-pull", "haproxystats-process"] {
        let run = match name {
            "pull" | "process" => Run::of(pipeline.directory(), &[name, "-f", "h.conf"]),
            _ => run(&called(&pipeline, name), pipeline.directory(), &["-f", "h.conf"]),
        };
        let run = run.expect(2);
        assert_eq!(run.out, "");
        let faults: Vec<&str> = run.err.lines().filter(|line| line.starts_with("error: ")).collect();
        for (fault, expected) in faults.iter().zip([
            "error: h.conf:2: [pull] pull-interval: expected a whole number from 1 to 31536000, found `0`",
            "error: h.conf:3: [pull] timeout: expected a number of seconds, above 0 and up to 31536000, found `soon`",
            "error: h.conf:4: [pull] servers: `http://h:1`: ",
            "error: h.conf:7: [process] workers: expected a whole number from 1 to 256, found `many`",
            "error: h.conf:8: [process] frontend-metrics: unknown metrics, in a list that white space separates: `scurr`",
            "error: h.conf:10: [graphite] port: expected a whole number from 1 to 65535, found `99999`",
            "error: h.conf:11: [graphite] protocol: expected `tcp`, `udp` or `pickle`, found `carrier-pigeon`",
        ]) {
            assert!(fault.starts_with(expected), "{fault}\nis not\n{expected}");
        }
        assert_eq!(faults.len(), 7, "{run:#?}");
    }
    assert!(!pipeline.incoming().exists(), "nothing was begun");
    fs::write(pipeline.path("h.conf"), "").unwrap();
    Run::of(pipeline.directory(), &["pull", "-f", "h.conf"])
        .expect(2)
        .complains("error: [pull] has neither `socket-dir`");
}

/// What haproxystats made of the known snapshot on `lb-01.example.com`, as if it had been on this machine.
fn known_values(name: &str, theirs: &str, ours: &str) -> (Values, BTreeSet<String>) {
    let (mut values, mut clocks) = (Values::new(), BTreeSet::new());
    for line in known(name).lines() {
        let [path, value, time] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
        assert_eq!(time, "1457298067");
        let path = path.replacen(&format!(".{theirs}."), &format!(".{ours}."), 1);
        let value: f64 = value.parse().unwrap();
        if path.contains("WallClockTime") {
            clocks.insert(path);
        } else if !value.is_nan() {
            values.insert(path, value);
        }
    }
    (values, clocks)
}

#[test]
fn the_known_snapshot_arrives_as_haproxystats_sent_it() {
    let node = node();
    let (fqdn, short) = (node.replace('.', "_"), node.split('.').next().unwrap());
    for (configuration, theirs, ours) in
        [("default", "lb-01_example_com", fqdn.as_str()), ("all-options", "lb-01", short)]
    {
        let sink = Sink::start();
        let pipeline = Pipeline::new(&sink);
        let directory = data().join("1457298067");
        let read = |name: String| (name.clone(), fs::read(directory.join(name)).unwrap());
        pipeline.feed("1457298067", &names(&directory).into_iter().map(read).collect());
        let own: TempDir = tempfile::tempdir().unwrap();
        let text = format!(
            "[process]\nsrc-dir = {}\n[graphite]\nserver = {}\nport = {}\n",
            pipeline.incoming().display(),
            sink.address.ip(),
            sink.address.port()
        );
        fs::write(own.path().join("own.conf"), text).unwrap();
        let file = data().join(format!("{configuration}.conf"));
        let (file, folder) = (file.to_str().unwrap(), own.path().to_str().unwrap());
        Run::of(pipeline.directory(), &["process", "--once", "-f", file, "-d", folder]).expect(0);
        pipeline.is_clean();

        let deliveries = sink.deliveries();
        let [Delivery { values, time }] = &deliveries[..] else { panic!("{} deliveries", deliveries.len()) };
        assert_eq!(*time, 1_457_298_067);
        let (expected, clocks) = known_values(&format!("{configuration}.expected"), theirs, ours);
        assert!(expected.len() > 500 && clocks.len() == 5);
        let (told_clocks, told): (Values, Values) =
            values.clone().into_iter().partition(|(path, _)| path.contains("WallClockTime"));
        assert_eq!(told_clocks.into_keys().collect::<BTreeSet<_>>(), clocks);
        let differing: Vec<_> =
            expected.iter().filter(|(path, value)| told.get(*path) != Some(value)).collect();
        assert!(differing.is_empty() && told.len() == expected.len(), "{configuration}: {differing:?}");
    }
}
