//! `process` with destinations of all kinds at once, the real ones: carbon, statsd and files. Some are down, hang, or are
//! on a full disk. What is in the spool reaches all of them in the end, and is in nobody's way before.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::support::known::{self, Values, without_clocks};
use crate::support::{
    Carbon, Daemon, Disk, Files, Pipeline, Statsd, check_metrics, eventually, names, snapshot,
};

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// So many seconds that are just over: carbon keeps a value for each, of the last minutes.
fn seconds(count: u64) -> Vec<u64> {
    let end = now();
    (end - count..end).collect()
}

fn node() -> String {
    rustix::system::uname().nodename().to_str().unwrap().to_owned()
}

fn graphite(port: u16, options: &str) -> String {
    format!(
        "[graphite]\nport = {port}\ninterval = 0.01\nbackoff = 1\ndelay = 0.05\nconnect-timeout = 20\n\
         write-timeout = 20\n{options}"
    )
}

fn statsd(statsd: &Statsd) -> String {
    format!("[statsd]\nport = {}\n", statsd.port)
}

/// What is written to files, in a directory of its own.
struct Shelf(TempDir);

impl Shelf {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// `[local-store]` and `[prometheus]`.
    fn sections(&self) -> String {
        let (store, file) = (self.store(), self.prometheus());
        format!("[local-store]\ndir = {}\n[prometheus]\nfile = {}\n", store.display(), file.display())
    }

    fn store(&self) -> PathBuf {
        self.0.path().join("store")
    }

    fn prometheus(&self) -> PathBuf {
        self.0.path().join("haproxy.prom")
    }

    /// What the local store has of a snapshot: the lines that Graphite gets, one for each name.
    #[track_caller]
    fn stored(&self, time: u64) -> Values {
        let text = fs::read_to_string(self.store().join(format!("{time}/stats"))).unwrap();
        let mut values = Values::new();
        for line in text.lines() {
            let [name, value, told] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
            assert_eq!(told, time.to_string(), "{line}");
            assert_eq!(values.insert(name.to_owned(), value.parse().unwrap()), None, "{line}");
        }
        values
    }

    /// The samples for Prometheus, by their names with their labels.
    #[track_caller]
    fn samples(&self) -> Values {
        check_metrics(&self.prometheus());
        let text = fs::read_to_string(self.prometheus()).unwrap();
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        samples
            .map(|line| line.rsplit_once(' ').unwrap())
            .map(|(name, value)| (name.to_owned(), value.parse().unwrap()))
            .collect()
    }
}

/// The times of what a destination took, in that order, as the log tells.
fn took(log: &str, lane: &str) -> Vec<u64> {
    let begin = format!("debug: {lane}: took snapshot ");
    let rests = log.lines().filter_map(|line| line.split_once(&begin));
    rests.map(|(_, rest)| rest.split_once(';').unwrap().0.parse().unwrap()).collect()
}

/// Waits until destinations have taken these, as the marks say that stay while another one has not.
#[track_caller]
fn is_marked(pipeline: &Pipeline, times: &[u64], lanes: &[&str]) {
    for time in times {
        eventually(&format!("marks of {lanes:?} in {time}"), || {
            (pipeline.taken(&time.to_string()) == lanes).then_some(())
        });
    }
}

/// Waits until carbon has written all of these; gives all that it has written.
#[track_caller]
fn is_written(carbon: &Carbon, expected: &BTreeMap<u64, Values>) -> BTreeMap<u64, Values> {
    let longest = expected.values().map(Values::len).max().unwrap();
    eventually("carbon has made all files", || (carbon.files() >= longest).then_some(()));
    let points = eventually("carbon has written all", || {
        let points = carbon.points();
        let has =
            |time: &u64, name: &String| points.get(time).is_some_and(|values| values.contains_key(name));
        let has_all = |(time, values): (&u64, &Values)| values.keys().all(|name| has(time, name));
        expected.iter().all(has_all).then_some(points)
    });
    for (time, values) in expected {
        is_same(&points[time], values);
    }
    assert_eq!(carbon.complaints(), "");
    points
}

/// Asserts that both are the same, but for what no two readings have in common.
#[track_caller]
fn is_same(found: &Values, expected: &Values) {
    let [found, expected] = [found, expected].map(|values| without_clocks(values.clone()));
    let names: BTreeSet<&String> = found.keys().chain(expected.keys()).collect();
    let differing = names.into_iter().filter(|name| found.get(*name) != expected.get(*name));
    let differing: Vec<_> = differing.map(|name| (name, found.get(name), expected.get(name))).collect();
    assert!(differing.is_empty(), "{} differ: {:?}", differing.len(), &differing[..differing.len().min(5)]);
}

// --- all that there is

/// Feeds the known snapshot to destinations of all kinds, Graphite with a port and options of its own.
#[track_caller]
fn arrives_everywhere(port: fn(&Carbon) -> u16, options: &str, expected: &Values) {
    let (carbon, shelf, time) = (Carbon::start(), Shelf::new(), now());
    let gauges = Statsd::beside(&carbon);
    let pipeline = Pipeline::to(&[graphite(port(&carbon), options), statsd(&gauges), shelf.sections()]);
    pipeline.feed(&time.to_string(), &known::files());
    let process = pipeline.start("process");
    process.expect_log("to graphite, statsd, local-store, prometheus");
    pipeline.wait_for(0);
    let log = process.end();
    for lane in ["graphite", "statsd", "local-store", "prometheus"] {
        assert_eq!(took(&log, lane), [time], "{lane}");
    }
    pipeline.is_clean();

    let own = known::expected(&node());
    let written = is_written(&carbon, &[(time, expected.clone())].into());
    assert!(written.keys().eq([&time]));
    let found = eventually("statsd has all gauges", || {
        Some(gauges.gauges()).filter(|gauges| own.keys().all(|name| gauges.contains_key(name)))
    });
    is_same(&found, &own);
    assert_eq!(gauges.bad_lines(), 0);
    is_same(&shelf.stored(time), &own);
    has_samples(&shelf.samples(), time);
}

/// Some of what Prometheus calls in its own way.
fn prometheus_name(name: &str, tags: &[(&str, String)]) -> String {
    let name = match name.strip_prefix("loadbalancers.haproxy.").unwrap() {
        "daemon.CurrConns" => return "haproxy_process_current_connections".into(),
        "frontend.stot" => "haproxy_frontend_sessions_total",
        "frontend.bin" => "haproxy_frontend_bytes_in_total",
        "backend.stot" => "haproxy_backend_sessions_total",
        "backend.server.bin" => "haproxy_server_bytes_in_total",
        "backend.server.stot" => "haproxy_server_sessions_total",
        _ => return String::new(),
    };
    let [(_, proxy), server @ ..] = &tags[1..] else { panic!("{tags:?}") };
    let server: String = server.iter().map(|(_, server)| format!(",server=\"{server}\"")).collect();
    format!("{name}{{proxy=\"{proxy}\"{server}}}")
}

#[track_caller]
fn has_samples(samples: &Values, time: u64) {
    let mut expected = known::expected_with_tags(&node(), prometheus_name);
    expected.remove("");
    assert!(expected.len() > 20, "{expected:?}");
    #[allow(clippy::cast_precision_loss)]
    expected.insert("haproxystats_snapshot_time_seconds".into(), time as f64);
    for (name, value) in &expected {
        assert_eq!(samples.get(name), Some(value), "{name}");
    }
}

#[test]
fn the_known_snapshot_arrives_everywhere_over_tcp() {
    arrives_everywhere(|carbon| carbon.lines, "", &known::expected(&node()));
}

#[test]
fn the_known_snapshot_arrives_everywhere_over_udp() {
    arrives_everywhere(|carbon| carbon.datagrams, "protocol = udp\n", &known::expected(&node()));
}

#[test]
fn the_known_snapshot_arrives_everywhere_in_pickles() {
    arrives_everywhere(|carbon| carbon.pickles, "protocol = pickle\n", &known::expected(&node()));
}

#[test]
fn the_known_snapshot_arrives_everywhere_with_tags() {
    let expected = known::expected_with_tags(&node(), known::graphite_name);
    arrives_everywhere(|carbon| carbon.lines, "tags = true\n", &expected);
}

#[test]
fn the_known_snapshot_arrives_everywhere_in_pickles_with_tags() {
    let expected = known::expected_with_tags(&node(), known::graphite_name);
    arrives_everywhere(|carbon| carbon.pickles, "protocol = pickle\ntags = true\n", &expected);
}

// --- who is down

const REFUSED: &str = "cannot connect: Connection refused (os error 111)";

/// A snapshot of this number, which is the only value that it has of its own. It is small: statsd loses none of several
/// in a row, however busy the machine is.
fn numbered(number: usize) -> Files {
    let mut files = snapshot(5);
    let info = String::from_utf8(files["a.sock_info"].clone()).unwrap();
    files.insert(
        "a.sock_info".into(),
        info.replace("CurrConns: 3\n", &format!("CurrConns: {number}\n")).into(),
    );
    files
}

/// Four snapshots that a statsd and files have, and that a carbon has not which is down. `process` has ended.
struct Missed {
    carbon: Carbon,
    statsd: Statsd,
    shelf: Shelf,
    pipeline: Pipeline,
    times: Vec<u64>,
    /// What carbon has missed.
    expected: BTreeMap<u64, Values>,
    /// How many gauges statsd has got.
    gauges: usize,
}

impl Missed {
    fn new() -> Self {
        let (mut carbon, shelf, times) = (Carbon::start(), Shelf::new(), seconds(4));
        carbon.kill();
        let gauges = Statsd::beside(&carbon);
        let pipeline = Pipeline::to(&[graphite(carbon.lines, ""), statsd(&gauges), shelf.sections()]);
        let feed = |number: usize| pipeline.feed(&times[number].to_string(), &numbered(number));
        (0..3).for_each(feed);
        let process = pipeline.start("process");
        process.expect_log(&format!(
            "warn: graphite 127.0.0.1:{}: {REFUSED}; 3 snapshots wait in the spool, next try in 10ms",
            carbon.lines
        ));
        feed(3);
        is_marked(&pipeline, &times, &["local-store", "prometheus", "statsd"]);
        process.end();
        let expected: BTreeMap<u64, Values> = times.iter().map(|time| (*time, shelf.stored(*time))).collect();
        let count = expected.values().map(Values::len).sum();
        eventually("all gauges", || (gauges.received() == count).then_some(()));
        // Whatever is written again would be there again.
        fs::remove_dir_all(shelf.store()).unwrap();
        fs::remove_file(shelf.prometheus()).unwrap();
        Self { carbon, statsd: gauges, shelf, pipeline, times, expected, gauges: count }
    }

    /// Asserts that those who had all got nothing again.
    #[track_caller]
    fn is_not_repeated(&self, log: &str) {
        for lane in ["statsd", "local-store", "prometheus"] {
            assert_eq!(took(log, lane), [0; 0], "{lane}");
        }
        assert_eq!(self.statsd.received(), self.gauges);
        assert!(!self.shelf.store().exists() && !self.shelf.prometheus().exists());
    }
}

#[test]
fn who_was_down_gets_all_in_order_after_a_restart_and_the_others_nothing_again() {
    let mut missed = Missed::new();
    let process = missed.pipeline.start("process");
    process.expect_log(&format!("{REFUSED}; 4 snapshots wait in the spool"));
    missed.carbon.start_again();
    missed.pipeline.wait_for(0);
    process.expect_log("info: graphite: takes again after ");
    let log = process.end();
    missed.pipeline.is_clean();
    assert_eq!(took(&log, "graphite"), missed.times);
    missed.is_not_repeated(&log);
    is_written(&missed.carbon, &missed.expected);
}

#[test]
fn nobody_waits_for_who_is_not_in_the_configuration_any_more() {
    let missed = Missed::new();
    missed.pipeline.take_away("graphite");
    let process = missed.pipeline.start("process");
    process.expect_log("to statsd, local-store, prometheus");
    missed.pipeline.wait_for(0);
    let log = process.end();
    missed.pipeline.is_clean();
    assert!(!log.contains("graphite"), "{log}");
    missed.is_not_repeated(&log);
    assert_eq!(missed.carbon.files(), 0);
}

/// Statsd forgets what it knew when it is killed, and loses what it had not read.
#[test]
fn a_statsd_that_was_killed_gets_what_came_meanwhile_when_it_is_started_again() {
    let (mut gauges, shelf) = (Statsd::start(), Shelf::new());
    let pipeline = Pipeline::to(&[statsd(&gauges), shelf.sections()]);
    let process = pipeline.start("process");
    pipeline.feed("1000", &numbered(0));
    pipeline.wait_for(0);
    let count = shelf.stored(1000).len();
    eventually("all gauges", || (gauges.received() == count).then_some(()));
    gauges.kill();
    pipeline.feed("2000", &numbered(1));
    process.expect_log(&format!("warn: statsd 127.0.0.1:{}: the connection broke after ", gauges.port));
    process.expect_log(
        "bytes: Connection refused (os error 111); 1 snapshot waits in the spool, next try in 1.8s",
    );
    pipeline.feed("3000", &numbered(2));
    is_marked(&pipeline, &[2000, 3000], &["local-store", "prometheus"]);
    assert_eq!(pipeline.waiting(), ["2000", "3000"]);
    gauges.start_again();
    pipeline.wait_for(0);
    process.expect_log("info: statsd: takes again after ");
    pipeline.feed("4000", &numbered(3));
    pipeline.wait_for(0);
    let log = process.end();
    pipeline.is_clean();
    assert_eq!(took(&log, "statsd"), [1000, 2000, 3000, 4000]);
    eventually("all gauges", || (gauges.received() == 3 * count).then_some(()));
    is_same(&gauges.gauges(), &shelf.stored(4000));
    assert_eq!(gauges.bad_lines(), 0);
}

// --- who hangs

/// A carbon that hangs, with five snapshots taken, fifteen that it has not read, and files that have all.
struct Hung {
    carbon: Carbon,
    shelf: Shelf,
    pipeline: Pipeline,
    times: Vec<u64>,
}

impl Hung {
    const TAKEN: usize = 5;

    /// With the `process` that is at it.
    fn new() -> (Self, Daemon) {
        let (carbon, shelf, times) = (Carbon::start(), Shelf::new(), seconds(20));
        let graphite = graphite(carbon.lines, "close-timeout = 2\n");
        let pipeline = Pipeline::to(&[graphite, shelf.sections()]);
        let process = pipeline.start("process");
        let feed = |number: usize| pipeline.feed(&times[number].to_string(), &numbered(number));
        feed(0);
        pipeline.wait_for(0);
        // From here on it has all files: one that is killed while it makes a file spoils it.
        is_written(&carbon, &[(times[0], shelf.stored(times[0]))].into());
        (1..Self::TAKEN).for_each(feed);
        pipeline.wait_for(0);
        carbon.signal(Signal::SIGSTOP);
        (Self::TAKEN..times.len()).for_each(feed);
        process.expect_log("it has not closed the connection within 2s after all ");
        is_marked(&pipeline, &times[Self::TAKEN..], &["local-store", "prometheus"]);
        (Self { carbon, shelf, pipeline, times }, process)
    }

    fn expected(&self, times: &[u64]) -> BTreeMap<u64, Values> {
        times.iter().map(|time| (*time, self.shelf.stored(*time))).collect()
    }
}

#[test]
fn a_carbon_that_hangs_for_a_while_has_all_in_the_end() {
    let (hung, process) = Hung::new();
    hung.carbon.signal(Signal::SIGCONT);
    hung.pipeline.wait_for(0);
    process.expect_log("info: graphite: takes again after ");
    is_written(&hung.carbon, &hung.expected(&hung.times));
    assert_eq!(took(&process.end(), "graphite"), hung.times);
    hung.pipeline.is_clean();
}

/// What a carbon that is killed has read and not written is lost: it has said that it has read it.
#[test]
fn a_carbon_that_was_killed_has_all_that_it_had_not_read_when_it_is_started_again() {
    let (mut hung, process) = Hung::new();
    eventually("a delivery under way", || hung.carbon.has_client().then_some(()));
    hung.carbon.kill();
    process.expect_log("the connection broke after ");
    process.expect_log(&format!("{REFUSED}; 15 snapshots wait in the spool"));
    let (read, unread) = hung.times.split_at(Hung::TAKEN);
    assert_eq!(took(&process.log(), "graphite"), read);
    assert_eq!(hung.pipeline.waiting(), unread.iter().map(u64::to_string).collect::<Vec<_>>());
    hung.carbon.start_again();
    hung.pipeline.wait_for(0);
    let written = is_written(&hung.carbon, &hung.expected(unread));
    assert_eq!(took(&process.end(), "graphite"), hung.times);
    hung.pipeline.is_clean();
    // Of what it had read, nothing is wrong, whatever is missing.
    let mut missing = 0;
    for (time, values) in hung.expected(read) {
        let found = written.get(&time).cloned().unwrap_or_default();
        missing += values.len() - found.len();
        is_same(&found, &values.into_iter().filter(|(name, _)| found.contains_key(name)).collect());
    }
    eprintln!("{missing} values that carbon had read are lost");
}

// --- full disks

#[test]
fn a_full_disk_holds_up_nobody_else_and_leaves_what_was_there() {
    let (gauges, shelf) = (Statsd::start(), Shelf::new());
    let disk = Disk::at(shelf.0.path());
    let pipeline = Pipeline::to(&[statsd(&gauges), shelf.sections()]);
    let process = pipeline.start("process");
    pipeline.feed("1000", &numbered(1));
    pipeline.wait_for(0);
    let (stored, samples) = (shelf.stored(1000), shelf.samples());

    let ballast = disk.fill();
    // The first one comes once more, as after a crash, and with other values.
    for (number, name) in ["1000", "2000", "3000"].into_iter().enumerate() {
        pipeline.feed(name, &numbered(10 + number));
    }
    for (place, draft) in [
        (shelf.store(), shelf.store().join("1000/.stats.new")),
        (shelf.prometheus(), shelf.0.path().join(".haproxy.prom.new")),
    ] {
        let (place, draft) = (place.display(), draft.display());
        process.expect_log(&format!(
            " {place}: `{draft}`: cannot be written: No space left on device (os error 28); "
        ));
    }
    // It is not newer than what Prometheus has.
    is_marked(&pipeline, &[1000], &["prometheus", "statsd"]);
    is_marked(&pipeline, &[2000, 3000], &["statsd"]);
    assert_eq!(pipeline.waiting(), ["1000", "2000", "3000"]);
    assert_eq!((shelf.stored(1000), shelf.samples()), (stored, samples));
    assert_eq!(names(&shelf.store()), ["1000"]);

    fs::remove_file(ballast).unwrap();
    pipeline.wait_for(0);
    for lane in ["local-store", "prometheus"] {
        process.expect_log(&format!("info: {lane}: takes again after "));
    }
    process.end();
    pipeline.is_clean();
    for (number, time) in [1000, 2000, 3000].into_iter().enumerate() {
        let path = format!("loadbalancers.{}.haproxy.daemon.CurrConns", node().replace('.', "_"));
        assert_eq!(shelf.stored(time)[&path].to_string(), (10 + number).to_string());
        assert_eq!(names(&shelf.store().join(time.to_string())), ["stats"]);
    }
    assert_eq!(shelf.samples()["haproxystats_snapshot_time_seconds"].to_string(), "3000");
    assert_eq!(names(shelf.0.path()), ["haproxy.prom", "store"]);
    is_same(&gauges.gauges(), &shelf.stored(3000));
}
