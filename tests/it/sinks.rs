//! What a real statsd makes of gauges. What `process` brings to it, and to a real carbon, is in `delivery.rs`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use supervisor_haproxy::stats::aggregate::Scope;
use supervisor_haproxy::stats::outlets::{Outlet, StatsdOutlet};
use supervisor_haproxy::stats::settings::Settings;
use supervisor_haproxy::stats::{Naming, Reading, Snapshot};

use crate::support::{Statsd, eventually, known};

const HOST: &str = "lb-01.example.com";

fn settings(text: &str) -> Settings {
    Settings::parse(Path::new("test.conf"), text).unwrap().0
}

/// Hands a snapshot over. A gauge has no time.
fn deliver(outlet: &mut dyn for<'r> Outlet<Reading<'r>>, path: &Path) {
    let scope = Scope::default();
    let snapshot = Snapshot { time: 0, number: 0, path: path.to_owned() };
    outlet.deliver(&Reading::of(&snapshot, &scope).unwrap()).unwrap();
}

fn statsd_outlet(statsd: &Statsd, options: &str) -> StatsdOutlet {
    let settings = settings(&format!("[statsd]\nport={}\n{options}", statsd.port));
    let own = settings.statsd.unwrap();
    let naming = Naming::new(&settings.naming, HOST).within(&own.namespace);
    StatsdOutlet::new(&own, naming)
}

/// Sends a snapshot to a statsd, and waits until it has so many gauges.
fn gauges(statsd: &Statsd, options: &str, path: &Path, count: usize) -> BTreeMap<String, f64> {
    let mut outlet = statsd_outlet(statsd, options);
    deliver(&mut outlet, path);
    eventually("statsd has all gauges", || {
        let found = known::without_clocks(statsd.gauges());
        (found.len() >= count).then_some(found)
    })
}

#[test]
fn statsd_has_all_gauges() {
    for packet_size in ["", "packet-size=512\n", "packet-size=65507\n"] {
        let (statsd, expected) = (Statsd::start(), known::expected(HOST));
        assert_eq!(gauges(&statsd, packet_size, &known::directory(), expected.len()), expected);
        assert_eq!(statsd.bad_lines(), 0);
    }
}

#[test]
fn statsd_knows_datadogs_tags() {
    let (statsd, expected) = (Statsd::start(), known::expected_with_tags(HOST, known::statsd_name));
    assert_eq!(gauges(&statsd, "tags=true\n", &known::directory(), expected.len()), expected);
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
        deliver(&mut outlet, directory.path());
        let gauges = statsd.gauges();
        if gauges.keys().filter(|name| name.contains(".server-number-")).count() == 10_000 {
            assert_eq!(statsd.bad_lines(), 0);
            return;
        }
    }
    panic!("{} gauges", statsd.gauges().len());
}
