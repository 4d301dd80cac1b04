//! What is written to files, as others read them: haproxystats' own figures, `promtool`, and HAProxy's own exporter for
//! Prometheus.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use supervisor_haproxy::stats::aggregate::Scope;
use supervisor_haproxy::stats::outlets::{LocalStoreOutlet, Outlet, PrometheusOutlet};
use supervisor_haproxy::stats::settings::{LocalStore, Prometheus, Settings};
use supervisor_haproxy::stats::{Naming, Reading, Snapshot};
use tempfile::TempDir;

use crate::support::{DEADLINE, Haproxy, check_metrics, eventually};

const TIME: u64 = 1_457_298_067;

/// Where snapshots lie and where what is made of them goes.
struct Files {
    directory: TempDir,
    scope: Scope,
}

impl Files {
    fn new() -> Self {
        let scope =
            Scope { aggr_server_metrics: true, per_process: true, percentages: true, ..Scope::default() };
        Self { directory: tempfile::tempdir().unwrap(), scope }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A snapshot of one process.
    fn snapshot(&self, name: &str, info: &str, stat: &str) -> Snapshot {
        let path = self.path(name);
        fs::create_dir(&path).unwrap();
        fs::write(path.join("a_info"), info).unwrap();
        fs::write(path.join("a_stat"), stat).unwrap();
        Snapshot { time: TIME, number: 0, path }
    }

    fn local_store(&self, snapshot: &Snapshot) -> String {
        let (settings, _) = Settings::parse(Path::new("/x.conf"), "").unwrap();
        let naming = Naming::new(&settings.naming, "lb-01.example.com");
        let mut outlet = LocalStoreOutlet::new(&LocalStore { dir: self.path("store") }, naming);
        outlet.deliver(&Reading::of(snapshot, &self.scope).unwrap()).unwrap();
        fs::read_to_string(self.path("store/1457298067/stats")).unwrap()
    }

    /// The Prometheus file, as `promtool` finds it good.
    #[track_caller]
    fn prometheus(&self, snapshots: &[Snapshot]) -> String {
        let file = self.path("haproxy.prom");
        let mut outlet = PrometheusOutlet::new(&Prometheus { file: file.clone() });
        for snapshot in snapshots {
            outlet.deliver(&Reading::of(snapshot, &self.scope).unwrap()).unwrap();
        }
        check_metrics(&file);
        fs::read_to_string(file).unwrap()
    }
}

fn known() -> Snapshot {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/haproxystats");
    Snapshot { time: TIME, number: 0, path: data.join(TIME.to_string()) }
}

/// Name and time of each line, with its number. What no two runs have in common is left out.
fn numbers(text: &str) -> BTreeMap<(&str, &str), f64> {
    let mut all = BTreeMap::new();
    for line in text.lines() {
        let [name, value, time] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
        let value: f64 = value.parse().unwrap();
        if !value.is_nan() && !name.contains("WallClockTime") {
            assert_eq!(all.insert((name, time), value), None, "{line}");
        }
    }
    all
}

#[test]
fn the_local_store_has_the_figures_of_haproxystats() {
    let files = Files { scope: Scope::default(), ..Files::new() };
    let expected = known().path.with_file_name("default.expected");
    let expected = fs::read_to_string(expected).unwrap();
    let told = files.local_store(&known());
    assert_eq!(numbers(&told), numbers(&expected));
    assert_eq!(told.matches("WallClockTime").count(), 5);
}

#[test]
fn promtool_likes_the_known_snapshot_of_several_machines() {
    let files = Files::new();
    let other = files.path("other");
    fs::create_dir(&other).unwrap();
    for entry in fs::read_dir(known().path).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), other.join(entry.file_name())).unwrap();
    }
    fs::write(other.join(".origin"), "lb-02.example.com\n").unwrap();
    let text = files.prometheus(&[known(), Snapshot { path: other, ..known() }]);
    for line in [
        "haproxy_process_current_connections ",
        "haproxy_process_cpu_usage_percent{percentile=\"95\"} ",
        "haproxy_worker_current_connections{host=\"lb-02.example.com\",process=\"1\"} ",
        "haproxystats_snapshot_time_seconds{host=\"lb-02.example.com\"} 1457298067",
    ] {
        assert!(text.lines().any(|found| found.starts_with(line)), "{line}");
    }
}

#[test]
fn promtool_likes_odd_names() {
    let files = Files::new();
    let stat = "# pxname,svname,type,scur,hrsp_2xx,\n\
        \"a\"\"b\\\",FRONTEND,0,1,2,\n{é=\"\"},BACKEND,1,1,2,\n{é=\"\"},\\n\"\",2,1,2,\n\n";
    let snapshot = files.snapshot("odd", "Process_num: 1\nUptime_sec: 1\n\n", stat);
    fs::write(snapshot.path.join(".origin"), "odd\"\\é").unwrap();
    let text = files.prometheus(&[snapshot]);
    for line in [
        r#"haproxy_frontend_current_sessions{host="odd\"\\é",proxy="a\"b\\"} 1"#,
        r#"haproxy_server_current_sessions{host="odd\"\\é",proxy="{é=\"\"}",server="\\n\"\""} 1"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line}: {text}");
    }
}

/// What HAProxy's exporter does not have.
const OWN: &[&str] = &[
    "haproxy_backend_current_session_rate",
    "haproxy_backend_intercepted_requests_total",
    "haproxy_backend_servers",
    "haproxy_frontend_connections_rate_current",
    "haproxy_frontend_current_session_rate",
    "haproxy_frontend_http_requests_rate_current",
    "haproxy_process_connection_rate_used_percent",
    "haproxy_process_connections_used_percent",
    "haproxy_process_ssl_connections_used_percent",
    "haproxy_process_ssl_rate_used_percent",
    "haproxy_server_current_session_rate",
];

fn kinds(text: &str) -> BTreeMap<&str, &str> {
    text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect()
}

fn series(text: &str) -> BTreeMap<&str, f64> {
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(name, value)| (name, value.parse().unwrap()))
        .collect()
}

/// HAProxy's own exporter.
fn exporter(socket: &Path) -> String {
    let reply = eventually("HAProxy's exporter", || {
        let mut stream = UnixStream::connect(socket).ok()?;
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).ok().filter(|count| *count > 0).map(|_| reply)
    });
    let (head, body) = reply.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(" 200 "), "{head}");
    if head.to_lowercase().contains("transfer-encoding: chunked") { unchunked(body) } else { body.to_owned() }
}

/// HAProxy sends chunks whatever version of HTTP is asked for.
fn unchunked(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((length, rest)) = body.split_once("\r\n") {
        let (chunk, rest) = rest.split_at(usize::from_str_radix(length, 16).unwrap());
        whole.push_str(chunk);
        body = rest.strip_prefix("\r\n").unwrap();
    }
    whole
}

#[test]
fn a_live_haproxy_goes_to_both_files_and_has_the_names_of_its_own_exporter() {
    let files = Files::new();
    let metrics = files.path("metrics");
    // A section of its own behind the lines of `global`.
    let exporting = format!(
        "  maxconn 123\nfrontend metrics\n  mode http\n  timeout client 5s\n  bind {} mode 666\n  \
         http-request use-service prometheus-exporter if {{ path /metrics }}\n",
        metrics.display()
    );
    let haproxy =
        Haproxy::start_with(files.directory.path(), &exporting, &["web1 127.0.0.1:1", "web2 127.0.0.1:1"]);
    let theirs = exporter(&metrics);
    let snapshot = files.snapshot("live", &haproxy.ask("show info"), &haproxy.ask("show stat"));
    let lines = files.local_store(&snapshot);
    assert!(lines.contains(".haproxy.backend.app.server.web1.scur 0 1457298067\n"), "{lines}");
    let ours = files.prometheus(&[snapshot]);
    let (their_kinds, our_kinds) = (kinds(&theirs), kinds(&ours));
    let names_are_known = std::env::var("HAPROXY_VERSION").as_deref() != Ok("2.2");
    let mut shared = 0;
    for (name, kind) in &our_kinds {
        match their_kinds.get(name) {
            // HAProxy 3.2 calls its counters of checks gauges, whatever their names end with.
            Some(&"gauge") if name.starts_with("haproxy_server_check_") => {}
            Some(theirs) => assert_eq!(kind, theirs, "{name}"),
            None => assert!(!names_are_known || is_own(name), "{name} is new"),
        }
        shared += usize::from(their_kinds.contains_key(name));
    }
    assert!(shared >= 80, "{shared}");
    assert_same_values(&ours, &theirs);
}

fn is_own(name: &str) -> bool {
    let prefixes = ["haproxy_worker_", "haproxy_server_all_backends_", "haproxystats_"];
    OWN.contains(&name) || prefixes.iter().any(|prefix| name.starts_with(prefix))
}

/// Nobody has used the servers, and so nothing has changed between the two but time. An empty field is no number there,
/// and 0 here, as haproxystats has it; of a server that does not start slowly, HAProxy 2.2 says 100 percent there.
#[track_caller]
fn assert_same_values(ours: &str, theirs: &str) {
    let theirs = series(theirs);
    let changing = ["_downtime_", "_current_throttle"];
    let mut compared = 0;
    for (name, value) in series(ours) {
        let is_still = ["_backend_", "_server_", "max_conn"].iter().any(|part| name.contains(part));
        let their = theirs.get(name).filter(|_| is_still && !changing.iter().any(|part| name.contains(part)));
        if let Some(their) = their.filter(|their| !their.is_nan()) {
            assert!((value - their).abs() < 1e-9, "{name} {value}, not {their}");
            compared += 1;
        }
    }
    assert!(compared >= 60, "{compared}");
}
