use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::names::GROUPS;
use super::*;
use crate::sinks::MetricKind;
use crate::stats::Snapshot;
use crate::stats::aggregate::{Scope, metrics};

const INFO: &str = "Process_num: 1\nCurrConns: 3\nMemmax_MB: 2\n\n";

/// An outlet, its file, and a place for snapshots.
struct Rig {
    directory: TempDir,
    outlet: PrometheusOutlet,
    start: Instant,
}

impl Rig {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("haproxy.prom");
        let outlet = PrometheusOutlet::new(&settings::Prometheus { file });
        Self { directory, outlet, start: Instant::now() }
    }

    /// Delivers a snapshot of these files, so many seconds after the start.
    fn deliver(&mut self, after: u64, time: u64, files: &[(&str, &str)]) -> Result<(), SinkError> {
        let path = self.directory.path().join("snapshot");
        fs::create_dir(&path).unwrap();
        for (name, text) in files {
            fs::write(path.join(name), text).unwrap();
        }
        let scope = Scope { per_process: true, ..Scope::default() };
        let snapshot = Snapshot { time, number: 0, path: path.clone() };
        let reading = Reading::of(&snapshot, &scope).unwrap();
        fs::remove_dir_all(path).unwrap();
        self.outlet.deliver_at(&reading, self.start + Duration::from_secs(after))
    }

    /// The lines that begin so.
    fn lines(&self, start: &str) -> Vec<String> {
        let text = fs::read_to_string(self.directory.path().join("haproxy.prom")).unwrap();
        text.lines().filter(|line| line.starts_with(start)).map(str::to_owned).collect()
    }

    fn times(&self) -> Vec<String> {
        self.lines("haproxystats_snapshot_time_seconds")
    }
}

fn is_known(subject: &str, metric: &str) -> bool {
    let group = GROUPS.iter().find(|group| group.subject == subject);
    group.is_some_and(|group| group.entries.iter().any(|entry| entry.metric == metric))
}

#[test]
fn every_metric_has_a_name() {
    let lists = [
        ("daemon", metrics::DAEMON.to_vec()),
        ("daemon.process", metrics::DAEMON.to_vec()),
        ("frontend", metrics::FRONTEND.names().collect()),
        ("backend", metrics::BACKEND.names().collect()),
        ("backend.server", metrics::SERVER.names().collect()),
        ("server", metrics::SERVER.names().collect()),
    ];
    for (subject, list) in lists {
        for metric in list {
            assert!(is_known(subject, metric), "{subject} {metric}");
        }
    }
    // And what is derived from them, as a reading with all options tells it.
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/haproxystats/1457298067");
    let scope = Scope { aggr_server_metrics: true, per_process: true, percentages: true, ..Scope::default() };
    let reading = Reading::of(&Snapshot { time: 1_457_298_067, number: 0, path }, &scope).unwrap();
    let mut seen = BTreeSet::new();
    let Ok(()) = reading.emit::<Infallible>(&mut |subject, datapoints| {
        seen.extend(datapoints.iter().map(|point| (subject.kind(), point.metric)));
        Ok(())
    });
    for (subject, metric) in &seen {
        assert!(is_known(subject, metric), "{subject} {metric}");
    }
    for derived in ["95PercentileCpuUsagePct", "StdCpuUsagePct", "ConnPercentage"] {
        assert!(seen.contains(&("daemon", derived)), "{derived}");
    }
}

#[test]
fn names_are_as_prometheus_wants_them() {
    let catalogue = Catalogue::new();
    let mut names: Vec<&str> = catalogue.columns().iter().map(|column| column.name.as_str()).collect();
    names.dedup();
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "each stands in one place");
    let mut series = BTreeSet::new();
    for column in catalogue.columns() {
        let (name, help) = (&column.name, column.entry.help);
        assert_eq!(name.ends_with("_total"), column.entry.kind == MetricKind::Counter, "{name}");
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
        assert!(help.ends_with('.') && !help.contains(['\\', '\n']), "{name}");
        assert!(series.insert((name, &column.label)), "{name} {}", column.label);
    }
}

#[test]
fn a_reading_is_written_by_metric_in_base_units() {
    let mut rig = Rig::new();
    let stat = "# pxname,svname,type,lbtot,rtime,hrsp_2xx,hrsp_5xx,\n\
        web,FRONTEND,0,,,7,1,\n\"we\"\"b\\2\",FRONTEND,0,,,5,0,\nweb,s1,2,4,250,3,0,\n\n";
    rig.deliver(0, 1000, &[("a_info", INFO), ("a_stat", stat)]).unwrap();
    let frontends = rig.lines("haproxy_frontend_");
    assert_eq!(
        frontends,
        [
            r#"haproxy_frontend_http_responses_total{proxy="web",code="2xx"} 7"#,
            r#"haproxy_frontend_http_responses_total{proxy="we\"b\\2",code="2xx"} 5"#,
            r#"haproxy_frontend_http_responses_total{proxy="web",code="5xx"} 1"#,
            r#"haproxy_frontend_http_responses_total{proxy="we\"b\\2",code="5xx"} 0"#,
        ]
    );
    assert_eq!(rig.lines("# HELP haproxy_frontend_").len(), 1);
    assert_eq!(
        rig.lines("haproxy_server_response_time"),
        [r#"haproxy_server_response_time_average_seconds{proxy="web",server="s1"} 0.25"#]
    );
    assert_eq!(rig.lines("haproxy_process_max_memory_bytes"), ["haproxy_process_max_memory_bytes 2097152"]);
    assert_eq!(rig.times(), ["haproxystats_snapshot_time_seconds 1000"]);
}

#[test]
fn the_newest_reading_counts() {
    let mut rig = Rig::new();
    for time in [1000, 1010, 1005] {
        rig.deliver(0, time, &[("a_info", INFO)]).unwrap();
    }
    assert_eq!(rig.times(), ["haproxystats_snapshot_time_seconds 1010"]);
    // A clock that was set back counts after a while.
    rig.deliver(601, 500, &[("a_info", INFO)]).unwrap();
    assert_eq!(rig.times(), ["haproxystats_snapshot_time_seconds 500"]);
}

#[test]
fn each_machine_has_its_newest_reading_until_it_falls_silent() {
    let mut rig = Rig::new();
    rig.deliver(0, 1000, &[("a_info", INFO)]).unwrap();
    rig.deliver(1, 2000, &[("a_info", INFO), (".origin", "a\"1")]).unwrap();
    rig.deliver(2, 900, &[("a_info", INFO), (".origin", "b")]).unwrap();
    assert_eq!(
        rig.times(),
        [
            "haproxystats_snapshot_time_seconds 1000",
            r#"haproxystats_snapshot_time_seconds{host="a\"1"} 2000"#,
            r#"haproxystats_snapshot_time_seconds{host="b"} 900"#,
        ]
    );
    assert_eq!(rig.lines("# TYPE haproxy_process_current_connections ").len(), 1);
    assert_eq!(
        rig.lines("haproxy_worker_current_connections{host=\"b\""),
        [r#"haproxy_worker_current_connections{host="b",process="1"} 3"#]
    );
    rig.deliver(601, 1600, &[("a_info", INFO)]).unwrap();
    assert_eq!(
        rig.times(),
        ["haproxystats_snapshot_time_seconds 1600", r#"haproxystats_snapshot_time_seconds{host="b"} 900"#]
    );
}

#[test]
fn of_two_processes_of_one_number_the_last_one_is_told() {
    let mut rig = Rig::new();
    let other = INFO.replace("CurrConns: 3", "CurrConns: 4");
    rig.deliver(0, 1000, &[("a_info", INFO), ("b_info", &other)]).unwrap();
    assert_eq!(
        rig.lines("haproxy_worker_current_connections"),
        [r#"haproxy_worker_current_connections{process="1"} 4"#]
    );
    assert_eq!(rig.lines("haproxy_process_current_connections"), ["haproxy_process_current_connections 7"]);
}

#[test]
fn what_was_not_written_is_written_when_it_comes_again() {
    let mut rig = Rig::new();
    let file = rig.directory.path().join("haproxy.prom");
    fs::create_dir(&file).unwrap();
    let error = rig.deliver(0, 1000, &[("a_info", INFO)]).unwrap_err().to_string();
    assert!(error.ends_with("haproxy.prom`: cannot be replaced: it is no plain file"), "{error}");
    fs::remove_dir(&file).unwrap();
    rig.deliver(0, 1000, &[("a_info", INFO)]).unwrap();
    assert_eq!(rig.times().len(), 1);
}

#[test]
fn there_is_a_most_of_machines() {
    let mut rig = Rig::new();
    rig.deliver(0, 1000, &[("a_info", INFO)]).unwrap();
    for number in 1..MAX_MACHINES {
        let machine = Machine {
            snapshot: (1000, 0),
            heard: rig.start,
            label: String::new(),
            samples: Samples::default(),
        };
        rig.outlet.machines.insert(Some(number.to_string()), machine);
    }
    rig.deliver(0, 1001, &[("a_info", INFO)]).unwrap();
    let error = rig.deliver(0, 1001, &[("a_info", INFO), (".origin", "new")]).unwrap_err().to_string();
    assert!(error.ends_with("haproxy.prom: it would hold more than 1000 machines"), "{error}");
    rig.deliver(600, 1001, &[("a_info", INFO), (".origin", "new")]).unwrap();
    assert_eq!(rig.times().len(), 1);
}
