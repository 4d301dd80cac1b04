//! What a real carbon and a real statsd make of a known snapshot.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use supervisor_haproxy::stats::aggregate::Scope;
use supervisor_haproxy::stats::outlets::{GraphiteOutlet, Outlet, StatsdOutlet};
use supervisor_haproxy::stats::settings::{self, Protocol, Settings};
use supervisor_haproxy::stats::{Naming, Reading, Snapshot};

use crate::support::{Carbon, Statsd, eventually};

const HOST: &str = "lb-01.example.com";

/// When the known snapshot was taken.
const TIME: &str = "1457298067";

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/haproxystats").join(name)
}

/// What haproxystats made of the snapshot.
fn expected() -> BTreeMap<String, f64> {
    let text = fs::read_to_string(data("default.expected")).unwrap();
    let points = text.lines().map(|line| {
        let [name, value, _time] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
        (name.to_owned(), value.parse::<f64>().unwrap())
    });
    let expected = points.filter(|(name, value)| !value.is_nan() && !name.contains("WallClockTime"));
    let expected: BTreeMap<_, _> = expected.collect();
    assert!(expected.len() > 500);
    expected
}

/// The names of frontends, backends and servers, by what they are in a path.
fn names() -> BTreeMap<String, String> {
    let texts =
        (1..=3).map(|number| fs::read_to_string(data(&format!("{TIME}/admin{number}.sock_stat"))).unwrap());
    let rows: Vec<String> =
        texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    let names = rows.iter().flat_map(|row| row.split(',').take(2));
    names.map(|name| (name.replace('.', "_"), name.to_owned())).collect()
}

/// The same by the names that series have with tags, which `join` makes of a name and its tags.
fn expected_with_tags(join: impl Fn(&str, &[(&str, String)]) -> String) -> BTreeMap<String, f64> {
    let all = names();
    let dotted = |name: &str| all[name].clone();
    let named = |(path, value): (String, f64)| {
        let path = path.strip_prefix("loadbalancers.lb-01_example_com.haproxy.").unwrap();
        let parts: Vec<&str> = path.split('.').collect();
        let (kind, mut tags, metric) = match parts[..] {
            ["backend", backend, "server", server, metric] => {
                ("backend.server", vec![("backend", dotted(backend)), ("server", dotted(server))], metric)
            }
            [kind @ ("frontend" | "backend"), name, metric] => (kind, vec![(kind, dotted(name))], metric),
            [kind @ ("daemon" | "haproxystats"), metric] => (kind, vec![], metric),
            _ => panic!("{path}"),
        };
        tags.insert(0, ("host", HOST.to_owned()));
        (join(&format!("loadbalancers.haproxy.{kind}.{metric}"), &tags), value)
    };
    expected().into_iter().map(named).collect()
}

/// As carbon keeps it: tags sorted by their names.
fn graphite_name(name: &str, tags: &[(&str, String)]) -> String {
    let mut tags: Vec<String> = tags.iter().map(|(tag, value)| format!(";{tag}={value}")).collect();
    tags.sort();
    name.to_owned() + &tags.concat()
}

/// As statsd keeps it: the first colon of each tag is where its value begins.
fn statsd_name(name: &str, tags: &[(&str, String)]) -> String {
    tags.iter().fold(name.to_owned(), |name, (tag, value)| format!("{name};{tag}={value}"))
}

fn settings(text: &str) -> Settings {
    Settings::parse(Path::new("test.conf"), text).unwrap().0
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Hands a snapshot over, as if it were of this time.
fn deliver(outlet: &mut dyn for<'r> Outlet<Reading<'r>>, path: &Path, time: u64) -> Result<(), String> {
    let scope = Scope::default();
    let snapshot = Snapshot { time, number: 0, path: path.to_owned() };
    outlet.deliver(&Reading::of(&snapshot, &scope).unwrap()).map_err(|error| error.to_string())
}

fn without_own_times(found: BTreeMap<String, f64>) -> BTreeMap<String, f64> {
    found.into_iter().filter(|(name, _)| !name.contains("WallClockTime")).collect()
}

// --- Graphite

/// Sends the known snapshot to a carbon of its own, and waits until it has written what is expected.
fn arrives_in_carbon(protocol: Protocol, tags: bool, expected: &BTreeMap<String, f64>) {
    let carbon = Carbon::start();
    let port = match protocol {
        Protocol::Tcp => carbon.lines,
        Protocol::Udp => carbon.datagrams,
        Protocol::Pickle => carbon.pickles,
    };
    let settings = settings("[graphite]\nconnect-timeout=10\nwrite-timeout=10\n");
    let graphite = settings::Graphite { port, protocol, tags, ..settings.graphite.unwrap() };
    let mut outlet = GraphiteOutlet::new(&graphite, Naming::new(&settings.naming, HOST));
    let time = now();
    // Datagrams are refused until carbon listens for them.
    eventually("carbon takes all", || deliver(&mut outlet, &data(TIME), time).ok());
    eventually("carbon has all files", || (carbon.files() >= expected.len()).then_some(()));
    let mut found = BTreeMap::new();
    eventually("carbon has written all", || {
        found = without_own_times(carbon.written(time));
        (found.len() >= expected.len()).then_some(())
    });
    assert_eq!(&found, expected);
    assert_eq!(carbon.complaints(), "");
}

#[test]
fn carbon_writes_all_lines_that_come_over_tcp() {
    arrives_in_carbon(Protocol::Tcp, false, &expected());
}

#[test]
fn carbon_writes_all_lines_that_come_over_udp() {
    arrives_in_carbon(Protocol::Udp, false, &expected());
}

#[test]
fn carbon_writes_all_pickles() {
    arrives_in_carbon(Protocol::Pickle, false, &expected());
}

#[test]
fn carbon_knows_tags_in_lines() {
    arrives_in_carbon(Protocol::Tcp, true, &expected_with_tags(graphite_name));
}

#[test]
fn carbon_knows_tags_in_pickles() {
    arrives_in_carbon(Protocol::Pickle, true, &expected_with_tags(graphite_name));
}

// --- statsd

fn statsd_outlet(statsd: &Statsd, options: &str) -> StatsdOutlet {
    let settings = settings(&format!("[statsd]\nport={}\n{options}", statsd.port));
    let own = settings.statsd.unwrap();
    let naming = Naming::new(&settings.naming, HOST).within(&own.namespace);
    StatsdOutlet::new(&own, naming)
}

/// Sends a snapshot to a statsd, and waits until it has so many gauges.
fn gauges(statsd: &Statsd, options: &str, path: &Path, count: usize) -> BTreeMap<String, f64> {
    let mut outlet = statsd_outlet(statsd, options);
    eventually("statsd takes all", || deliver(&mut outlet, path, now()).ok());
    eventually("statsd has all gauges", || {
        let found = without_own_times(statsd.gauges());
        (found.len() >= count).then_some(found)
    })
}

#[test]
fn statsd_has_all_gauges() {
    for packet_size in ["", "packet-size=512\n", "packet-size=65507\n"] {
        let (statsd, expected) = (Statsd::start(), expected());
        assert_eq!(gauges(&statsd, packet_size, &data(TIME), expected.len()), expected);
        assert_eq!(statsd.bad_lines(), 0);
    }
}

#[test]
fn statsd_knows_datadogs_tags() {
    let (statsd, expected) = (Statsd::start(), expected_with_tags(statsd_name));
    assert_eq!(gauges(&statsd, "tags=true\n", &data(TIME), expected.len()), expected);
    assert_eq!(statsd.bad_lines(), 0);
}

/// A counter that has fallen below zero, one beyond 64 bits, and one between.
const STAT: &str = "# pxname,svname,scur,stot,slim,type,\n\
    f,FRONTEND,-3,27670116110564327424,9007199254740993,0,\n\n";

#[test]
fn a_gauge_may_be_negative_time_and_again() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("a_stat"), STAT).unwrap();
    let statsd = Statsd::start();
    let path = "loadbalancers.lb-01_example_com.haproxy.frontend.f.";
    let tagged = "loadbalancers.haproxy.frontend.scur;host=lb-01.example.com;frontend=f";
    // The second time, statsd would add to what it has.
    for _ in 0..2 {
        let found = gauges(&statsd, "", directory.path(), 4);
        for (metric, value) in
            [("scur", "-3"), ("stot", "27670116110564327000"), ("slim", "9007199254740992")]
        {
            assert_eq!(found[&format!("{path}{metric}")].to_string(), value, "{metric}");
        }
        let found = gauges(&statsd, "tags=true\n", directory.path(), 8);
        assert_eq!(found[tagged].to_string(), "-3");
    }
    assert_eq!(statsd.bad_lines(), 0);
}

/// 100 backends with 10 servers each: many times what a socket's buffer holds.
#[test]
fn statsd_is_not_overrun() {
    const COLUMNS: [&str; 10] =
        ["bin", "bout", "chkdown", "chkfail", "econ", "eresp", "qcur", "scur", "smax", "stot"];
    let row = |number: u32| {
        let (backend, server) = (number / 10, number % 10);
        format!("backend-number-{backend},server-number-{server},2,1,2,3,4,5,6,7,8,9,10,\n")
    };
    let rows: String = (0..1000).map(row).collect();
    let stat = format!("# pxname,svname,type,{},\n{rows}\n", COLUMNS.join(","));
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("a_stat"), stat).unwrap();
    let statsd = Statsd::start();
    let mut outlet = statsd_outlet(&statsd, "");
    // On a machine that is busy with other things, statsd may not come to read in time; without pauses, the ends of
    // all readings would be lost.
    for _ in 0..5 {
        eventually("statsd takes all", || deliver(&mut outlet, directory.path(), now()).ok());
        let gauges = statsd.gauges();
        if gauges.keys().filter(|name| name.contains(".server-number-")).count() == 10_000 {
            assert_eq!(statsd.bad_lines(), 0);
            return;
        }
    }
    panic!("{} gauges", statsd.gauges().len());
}
