//! What each outlet sends of one small snapshot.

use std::fs;
use std::io::Read;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::stats::Snapshot;
use crate::stats::aggregate::Scope;
use crate::stats::settings::{self, Protocol};

const STAT: &str = "# pxname,svname,scur,type,weight,\n\
    www.a,FRONTEND,3,0,,\napp.1,s.1,-2,2,7,\napp.1,BACKEND,5,1,7,\nb,s.1,1,2,8,\n\n";

const GROUPS: &str = "[graphite]\ngroup-namespace=groups\ngroup-namespace-double-writes=true\n\
    [backend-groups]\nblue=^app_1\n";

fn snapshot() -> (TempDir, Snapshot) {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("a_stat"), STAT).unwrap();
    let path = directory.path().to_owned();
    (directory, Snapshot { time: 1000, number: 0, path })
}

fn settings(text: &str) -> Settings {
    Settings::parse(Path::new("test.conf"), text).unwrap().0
}

fn graphite(address: SocketAddr, protocol: Protocol, tags: bool, text: &str) -> GraphiteOutlet {
    let settings = settings(text);
    let graphite = settings::Graphite { port: address.port(), protocol, tags, ..settings.graphite.unwrap() };
    GraphiteOutlet::new(&graphite, Naming::new(&settings.naming, "lb-1.example.com"))
}

fn statsd(address: SocketAddr, options: &str) -> StatsdOutlet {
    let settings =
        settings(&format!("{GROUPS}[statsd]\nport={}\nnamespace=st.atsd\n{options}", address.port()));
    let statsd = settings.statsd.unwrap();
    let naming = Naming::new(&settings.naming, "lb-1.example.com").within(&statsd.namespace);
    StatsdOutlet::new(&statsd, naming)
}

fn deliver(outlet: &mut dyn for<'r> Outlet<Reading<'r>>) -> Result<(), SinkError> {
    let (_directory, snapshot) = snapshot();
    let scope = Scope { aggr_server_metrics: true, ..Scope::default() };
    outlet.deliver(&Reading::of(&snapshot, &scope).unwrap())
}

/// What arrives over TCP.
fn stream(protocol: Protocol, tags: bool, text: &str) -> Vec<u8> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let reader = thread::spawn(move || {
        let mut bytes = Vec::new();
        listener.accept().unwrap().0.read_to_end(&mut bytes).unwrap();
        bytes
    });
    deliver(&mut graphite(address, protocol, tags, text)).unwrap();
    reader.join().unwrap()
}

/// What has arrived over UDP, each datagram by itself.
fn datagrams(outlet: impl FnOnce(SocketAddr) -> Box<dyn for<'r> Outlet<Reading<'r>>>) -> Vec<String> {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    deliver(&mut *outlet(socket.local_addr().unwrap())).unwrap();
    // On one machine, nothing is on its way now.
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut buffer = [0; 4096];
    std::iter::from_fn(|| socket.recv(&mut buffer).ok().map(|count| buffer[..count].to_vec()))
        .map(|packet| String::from_utf8(packet).unwrap())
        .collect()
}

/// The lines of these metrics, sorted.
fn some(text: &str, marks: [&str; 2]) -> Vec<String> {
    let lines = text.lines().filter(|line| marks.iter().any(|mark| line.contains(mark)));
    let mut lines: Vec<String> = lines.map(str::to_owned).collect();
    lines.sort();
    lines
}

/// Those of `scur` in [`STAT`], of a member of a group twice.
const PATHS: [&str; 8] = [
    "backend.app_1.scur",
    "backend.app_1.server.s_1.scur",
    "backend.b.server.s_1.scur",
    "frontend.www_a.scur",
    "groups.blue.backend.app_1.scur",
    "groups.blue.backend.app_1.server.s_1.scur",
    "haproxystats.MetricsServer",
    "server.s_1.scur",
];

#[test]
fn each_section_has_a_lane() {
    let names = |text: &str| -> Vec<&str> {
        lanes(&settings(text), "lb-1.example.com").iter().map(|lane| lane.name).collect()
    };
    assert_eq!(names(""), ["graphite"]);
    assert_eq!(names("[statsd]\n"), ["statsd"]);
    assert_eq!(names("[graphite]\n[statsd]\n"), ["graphite", "statsd"]);
}

#[test]
fn graphite_has_haproxystats_paths() {
    let text = String::from_utf8(stream(Protocol::Tcp, false, GROUPS)).unwrap();
    let values = [5, -2, 1, 3, 5, -2, 9, -1];
    let expected = PATHS
        .iter()
        .zip(values)
        .map(|(path, value)| format!("loadbalancers.lb-1_example_com.haproxy.{path} {value} 1000"));
    assert_eq!(some(&text, [".scur ", ".MetricsServer "]), expected.collect::<Vec<_>>());
    let udp = datagrams(|address| Box::new(graphite(address, Protocol::Udp, false, GROUPS)));
    let without_times = |text: &str| -> Vec<String> {
        text.lines().filter(|line| !line.contains("WallClockTime")).map(str::to_owned).collect()
    };
    assert_eq!(without_times(&udp.concat()), without_times(&text));
}

#[test]
fn tags_take_the_place_of_names_and_groups() {
    let text = String::from_utf8(stream(Protocol::Tcp, true, GROUPS)).unwrap();
    assert_eq!(
        some(&text, [".scur;", ".MetricsServer;"]),
        [
            "loadbalancers.haproxy.backend.scur;host=lb-1.example.com;backend=app.1;group=blue 5 1000",
            "loadbalancers.haproxy.backend.server.scur;host=lb-1.example.com;backend=app.1;server=s.1;group=blue -2 1000",
            "loadbalancers.haproxy.backend.server.scur;host=lb-1.example.com;backend=b;server=s.1 1 1000",
            "loadbalancers.haproxy.frontend.scur;host=lb-1.example.com;frontend=www.a 3 1000",
            "loadbalancers.haproxy.haproxystats.MetricsServer;host=lb-1.example.com 9 1000",
            "loadbalancers.haproxy.server.scur;host=lb-1.example.com;server=s.1 -1 1000",
        ]
    );
    let without_host = stream(Protocol::Tcp, true, "[graphite]\nprefix-hostname=false\n");
    let text = String::from_utf8(without_host).unwrap();
    assert_eq!(
        some(&text, ["frontend.scur", "Server "])[0],
        "loadbalancers.haproxy.frontend.scur;frontend=www.a 3 1000"
    );
}

#[test]
fn pickles_have_the_names_of_lines() {
    for tags in [false, true] {
        let lines = String::from_utf8(stream(Protocol::Tcp, tags, GROUPS)).unwrap();
        let pickles = stream(Protocol::Pickle, tags, GROUPS);
        let is_there = |name: &str| pickles.windows(name.len()).any(|window| window == name.as_bytes());
        for name in lines.lines().map(|line| line.split(' ').next().unwrap()) {
            assert!(is_there(name), "{name}");
        }
    }
}

#[test]
fn statsd_has_the_same_paths_within_its_own_namespace() {
    let text = datagrams(|address| Box::new(statsd(address, ""))).join("\n");
    let values = ["5", "-2", "1", "3", "5", "-2", "9", "-1"];
    let mut expected = Vec::new();
    for (path, value) in PATHS.iter().zip(values) {
        let path = format!("st.atsd.lb-1_example_com.haproxy.{path}");
        expected.push(format!("{path}:{value}|g"));
        if value.starts_with('-') {
            expected.push(format!("{path}:0|g"));
        }
    }
    assert_eq!(some(&text, [".scur:", ".MetricsServer:"]), expected);
}

#[test]
fn statsd_may_have_tags() {
    let text = datagrams(|address| Box::new(statsd(address, "tags=yes\n"))).join("\n");
    assert_eq!(
        some(&text, ["backend.server.scur:", ".MetricsServer:"]),
        [
            "st.atsd.haproxy.backend.server.scur:-2|g|#host:lb-1.example.com,backend:app.1,server:s.1,group:blue",
            "st.atsd.haproxy.backend.server.scur:0|g|#host:lb-1.example.com,backend:app.1,server:s.1,group:blue",
            "st.atsd.haproxy.backend.server.scur:1|g|#host:lb-1.example.com,backend:b,server:s.1",
            "st.atsd.haproxy.haproxystats.MetricsServer:9|g|#host:lb-1.example.com",
        ]
    );
}

#[test]
fn no_datagram_is_longer_than_it_may_be() {
    for (options, limit) in [("packet-size=512\n", 512), ("", 1432)] {
        let packets = datagrams(|address| Box::new(statsd(address, options)));
        let longest = packets.iter().map(String::len).max().unwrap();
        assert!(longest <= limit && longest > limit - 200, "{longest} of {limit}");
    }
}

#[test]
fn a_statsd_that_is_not_there_is_an_error() {
    let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
    let error = deliver(&mut statsd(nobody, "")).unwrap_err().to_string();
    assert!(error.starts_with(&format!("statsd {nobody}: the connection broke after ")), "{error}");
}
