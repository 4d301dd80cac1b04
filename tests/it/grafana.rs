//! Each query of the dashboard in `contrib/grafana/` finds something in a real Prometheus, which scrapes a real `serve`
//! beside a listener.

use std::collections::BTreeSet;

use regex::Regex;
use serde_json::Value;

use crate::recipes::read;
use crate::support::{Prometheus, Running, World, ask_port, eventually, free_port};

const FILE: &str = "contrib/grafana/supervisor-haproxy.json";

/// What there is only when HAProxy has been restarted by `serve`, which takes minutes here.
const NOT_SEEN: [&str; 1] = ["supervisor_haproxy_recoveries_total"];

fn dashboard() -> Value {
    serde_json::from_str(&read(FILE)).unwrap()
}

/// The panels that show something, and not only a heading.
fn panels(dashboard: &Value) -> Vec<&Value> {
    dashboard["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] != "row").collect()
}

fn queries(dashboard: &Value) -> Vec<&str> {
    let targets = panels(dashboard).into_iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    targets.map(|target| target["expr"].as_str().unwrap()).collect()
}

/// With what Grafana puts in the place of its variables.
fn filled(query: &str) -> String {
    let query = query.replace("$__rate_interval", "5m").replace("$instance", ".*").replace("$proxy", ".*");
    assert!(!query.contains('$'), "{query}");
    query
}

/// `serve` beside two web servers behind HAProxy, and the listener.
struct Scene {
    _serve: Running,
    world: World,
    port: u16,
    _metrics: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let metrics = tempfile::tempdir().unwrap();
        let file = metrics.path().join("listener.prom");
        let world = World::apps(&["web1", "web2"], &format!("--metrics-file {}", file.display()));
        let port = free_port();
        let listen = format!("127.0.0.1:{port}");
        let socket = world.haproxy.socket.to_str().unwrap();
        let words =
            ["serve", "--listen", &listen, "--socket", socket, "--supervisor-conf", "supervisord.conf"];
        let options = ["--check-interval", "0.2", "--history", "off"];
        let serve = Running::start(world.directory(), &[&words[..], &options].concat());
        Self { _serve: serve, world, port, _metrics: metrics }
    }

    /// Something of all that may be seen: requests, a server that goes and comes back.
    fn live(&self) {
        let load = self.world.load(2);
        self.world.supervisord.ctl(&["stop", "web2"]);
        self.world.haproxy.expect_status("web2", "MAINT");
        self.world.supervisord.ctl(&["start", "web2"]);
        self.world.haproxy.expect_status("web2", "UP");
        load.stop();
    }

    fn metrics(&self) -> Option<String> {
        Some(ask_port(self.port, "GET", "/metrics", &[])?.body)
    }
}

fn names(text: &str) -> BTreeSet<String> {
    let name = Regex::new(r"\b(?:supervisor_)?haproxy_[a-z_]*[a-z]").unwrap();
    name.find_iter(text).map(|found| found.as_str().to_owned()).collect()
}

/// The names of what has a value.
fn samples(metrics: &str) -> BTreeSet<String> {
    let lines = metrics.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split(['{', ' ']).next().unwrap().to_owned()).collect()
}

#[test]
fn each_query_of_the_dashboard_finds_what_serve_tells() {
    let scene = Scene::new();
    eventually("serve", || scene.metrics());
    let prometheus = Prometheus::start(scene.world.directory(), scene.port);
    // What is counted is seen to grow only if it was there before.
    eventually("a scrape", || (prometheus.query("up == 1").len() == 1).then_some(()));
    scene.live();
    let dashboard = dashboard();
    let queries = queries(&dashboard);
    assert!(queries.len() >= 30, "{}", queries.len());
    let expected: BTreeSet<String> = queries.iter().flat_map(|query| names(query)).collect();
    let unseen: BTreeSet<String> = NOT_SEEN.map(str::to_owned).into();
    for name in expected.difference(&unseen) {
        eventually(name, || samples(&scene.metrics()?).contains(name).then_some(()));
    }
    let told = samples(&scene.metrics().unwrap());
    assert_eq!(expected.difference(&told).cloned().collect::<BTreeSet<_>>(), unseen);
    for query in queries {
        let filled = filled(query);
        let may_be_empty = names(query).iter().any(|name| unseen.contains(name));
        eventually(&filled, || (!prometheus.query(&filled).is_empty() || may_be_empty).then_some(()));
    }
    let value = |title: &str| {
        let panel = panels(&dashboard).into_iter().find(|panel| panel["title"] == title).unwrap().clone();
        prometheus.query(&filled(panel["targets"][0]["expr"].as_str().unwrap()))
    };
    for (title, expected) in [
        ("HAProxy", "0"),
        ("Circuit breaker", "0"),
        ("supervisord", "1"),
        ("Listener", "1"),
        ("Servers that disagree", "0"),
        ("Servers DOWN", "0"),
    ] {
        eventually(title, || (value(title) == [expected]).then_some(()));
    }
}

#[test]
fn a_metric_that_no_test_sees_is_on_the_page() {
    let page = names(&read("docs/http.rst"));
    assert!(NOT_SEEN.iter().all(|name| page.contains(*name)));
}

#[test]
fn the_dashboard_is_whole() {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "each panel has a number of its own");
    let mut taken = BTreeSet::new();
    for panel in panels {
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap());
        assert!(x + w <= 24, "{panel}");
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(taken.insert(cell), "two panels share {cell:?}: {}", panel["title"]);
        }
    }
    // Wherever it is imported, the data source is that of the reader's choice.
    for panel in self::panels(&dashboard) {
        assert!(panel["description"].as_str().is_some_and(|text| !text.is_empty()), "{}", panel["title"]);
        for target in panel["targets"].as_array().unwrap() {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{}", panel["title"]);
            assert!(target["expr"].as_str().unwrap().contains("instance=~\"$instance\""), "{target}");
        }
    }
}
