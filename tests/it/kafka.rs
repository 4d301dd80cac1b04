//! Kafka, with librdkafka's own simulation of brokers: in this process, where faults are wanted, and in kcat's, which
//! is another program that reads what is sent. Not covered by it: TLS, SASL, quotas.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rdkafka::mocking::MockCluster;
use supervisor_haproxy::sinks::kafka::{Cluster, Message, Producer};
use supervisor_haproxy::stats::aggregate::Scope;
use supervisor_haproxy::stats::collect::{Collector, Note};
use supervisor_haproxy::stats::outlets::{KafkaOutlet, Outlet, RawOutlet, RawSnapshot};
use supervisor_haproxy::stats::settings::{Kafka, Settings};
use supervisor_haproxy::stats::{Naming, Reading, Snapshot, Spool};
use tempfile::TempDir;

use crate::support::{Broker, DEADLINE, committed, eventually, pause, read_topic, take_away};

const TURN: Duration = Duration::from_millis(50);
const PARTITIONS: i32 = 4;
const INFO: &str = "Name: HAProxy\nProcess_num: 1\nCurrConns: 3\n\n";
const STAT: &str = "# pxname,svname,scur,type,\nbe,s1,2,2,\nbe,BACKEND,2,1,\nfe,FRONTEND,3,0,\n\n";

fn settings(brokers: &str) -> Kafka {
    // The simulated brokers wait for almost a session before they share partitions out anew.
    let session = "rdkafka.session.timeout.ms = 4000\nrdkafka.heartbeat.interval.ms = 500\n";
    let text = format!(
        "[kafka]\nbrokers = {brokers}\ntopic = haproxystats\ncluster-wait = 1\nmessage-timeout = 20\n{session}"
    );
    Settings::parse(Path::new("/C"), &text).unwrap().0.kafka.unwrap()
}

/// A spool in a directory of its own.
struct Place {
    directory: TempDir,
    spool: Spool,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let spool = Spool::open(&directory.path().join("incoming"), &directory.path().join("tmp")).unwrap();
        Self { directory, spool }
    }

    fn ready(&self) -> PathBuf {
        self.directory.path().join("incoming")
    }

    fn pull(&self, time: u64, files: &[(&str, &str)]) -> Snapshot {
        let draft = self.spool.draft(time).unwrap();
        for (name, text) in files {
            fs::write(draft.path().join(name), text).unwrap();
        }
        self.spool.add(draft).unwrap()
    }
}

/// Hands a snapshot over as a lane of `pull` does.
fn ship(outlet: &mut RawOutlet, time: u64, files: &[(&str, &str)]) {
    let place = Place::new();
    let snapshot = place.pull(time, files);
    outlet.deliver(&RawSnapshot::of(&snapshot).unwrap()).unwrap();
}

/// Whose, when, and which files.
type Delivered = (String, u64, Vec<String>);

/// A collector, and the delivery of what it has collected.
struct Member {
    place: Place,
    collector: Collector,
    delivered: Vec<Delivered>,
}

impl Member {
    fn join(settings: &Kafka, queue: usize) -> Self {
        let place = Place::new();
        let collector = Collector::open(settings, &place.ready(), queue).unwrap();
        Self { place, collector, delivered: Vec::new() }
    }

    fn turn(&mut self) -> Vec<Note> {
        self.collector.turn(TURN).unwrap()
    }

    /// Delivers up to so many.
    fn deliver(&mut self, most: usize) {
        for snapshot in self.place.spool.snapshots().unwrap().into_iter().take(most) {
            // It is understood by whoever reads snapshots.
            let scope = Scope::default();
            let origin = Reading::of(&snapshot, &scope).unwrap().origin.unwrap();
            let names = fs::read_dir(&snapshot.path).unwrap().map(|entry| entry.unwrap().file_name());
            let names: BTreeSet<String> = names.map(|name| name.into_string().unwrap()).collect();
            let dumps = names.into_iter().filter(|name| !name.starts_with('.')).collect();
            self.delivered.push((origin, snapshot.time, dumps));
            self.collector.receipts().finished(&snapshot);
            self.place.spool.remove(&snapshot).unwrap();
        }
    }

    fn waiting(&self) -> usize {
        self.place.spool.snapshots().unwrap().len()
    }
}

fn turn_all(members: &mut [Member]) {
    for member in members {
        member.turn();
    }
}

/// Two members of one group.
fn both_joined(settings: &Kafka) -> [Member; 2] {
    let mut members = [Member::join(settings, 64), Member::join(settings, 64)];
    eventually("both have partitions", || {
        turn_all(&mut members);
        let counts = members.each_ref().map(|member| member.collector.partitions());
        (counts == [2, 2]).then_some(())
    });
    members
}

fn mock() -> (MockCluster<'static, rdkafka::producer::DefaultProducerContext>, Kafka) {
    let mock = MockCluster::new(1).unwrap();
    let settings = settings(&mock.bootstrap_servers());
    mock.create_topic(&settings.raw_topic, PARTITIONS, 1).unwrap();
    (mock, settings)
}

#[test]
fn datapoints_are_json_for_everybody() {
    let broker = Broker::start();
    let settings = settings(&broker.address);
    let (naming, _) = Settings::parse(Path::new("/C"), "").unwrap();
    let naming = Naming::new(&naming.naming, "lb-01.example.com");
    let outlet = KafkaOutlet::new(&settings, "lb-01.example.com", Some("edge"), naming);
    let place = Place::new();
    let snapshot = place.pull(1000, &[("a_info", INFO), ("a_stat", STAT)]);
    let scope = Scope::default();
    let reading = Reading::of(&snapshot, &scope).unwrap();
    outlet.unwrap().deliver(&reading).unwrap();
    let told = read_topic(&broker.address, "haproxystats", "%k %s\n");
    // Another language has to understand it.
    let program = "import json, sys\n\
                   for line in sys.stdin:\n \
                   key, text = line.split(' ', 1)\n \
                   message = json.loads(text, parse_constant=sys.exit)\n \
                   assert key == message['host'] == 'lb-01.example.com' and message['cluster'] == 'edge', line\n \
                   assert message['time'] == 1000 and all(type(v) in (int, float) for v in message['metrics'].values())\n \
                   print(message['kind'], message.get('backend'), message.get('server'), message['metrics'].get('scur'))\n";
    let mut python = Command::new("python3")
        .args(["-c", program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all(told.as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "{told}");
    let kinds: BTreeSet<String> =
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    let expected = [
        "backend be None 2",
        "backend.server be s1 2",
        "daemon None None None",
        "frontend None None 3",
        "haproxystats None None None",
    ];
    assert_eq!(kinds, expected.map(str::to_owned).into(), "{told}");
}

#[test]
fn a_raw_snapshot_says_in_its_headers_what_it_is() {
    let broker = Broker::start();
    let mut outlet = RawOutlet::new(&settings(&broker.address), "lb-01", Some("edge"));
    ship(&mut outlet, 1000, &[("a_info", "123456789"), ("a_stat", "")]);
    let told = read_topic(&broker.address, "haproxystats-raw", "%k %h %S\n");
    let common = "format=1,host=lb-01,time=1000,number=0,files=2";
    let expected = format!(
        "edge {common},file=a_info,parts=1,part=1,crc32=cbf43926,cluster=edge 9\n\
         edge {common},file=a_stat,parts=1,part=1,crc32=00000000,cluster=edge 0\n"
    );
    assert_eq!(told, expected);
}

#[test]
fn two_members_of_a_group_share_the_work_and_clusters_are_added_up() {
    let (_mock, mut settings) = mock();
    settings.cluster_wait = Duration::from_secs(5);
    let mut members = both_joined(&settings);
    let mut expected = BTreeMap::new();
    // More than one part of a file.
    let long = format!("{}{}\n", &STAT[..STAT.len() - 1], "fe,FRONTEND,3,0,\n".repeat(100_000));
    let mut edge = ["a", "b"].map(|host| RawOutlet::new(&settings, host, Some("edge")));
    for time in [1000, 1010, 1020] {
        for outlet in &mut edge {
            ship(outlet, time, &[("x_info", INFO), ("x_stat", STAT)]);
        }
        let files = ["a@x_info", "a@x_stat", "b@x_info", "b@x_stat"].map(str::to_owned).to_vec();
        expected.insert(("edge".to_owned(), time), files);
    }
    for number in 0..8 {
        let host = format!("lb-{number}");
        ship(&mut RawOutlet::new(&settings, &host, None), 1000, &[("x_info", INFO), ("y_stat", &long)]);
        expected.insert((host, 1000), vec!["x_info".to_owned(), "y_stat".to_owned()]);
    }
    eventually("all are there", || {
        turn_all(&mut members);
        (members.iter().map(Member::waiting).sum::<usize>() == expected.len()).then_some(())
    });
    assert!(members.iter().all(|member| member.waiting() > 0), "both have something to do");
    let (group, topic, brokers) = (&settings.group, &settings.raw_topic, settings.brokers.join(","));
    assert_eq!(committed(&brokers, group, topic).0, 0, "nothing is delivered yet");
    let mut delivered = BTreeMap::new();
    for member in &mut members {
        member.deliver(usize::MAX);
        for (origin, time, files) in member.delivered.clone() {
            assert_eq!(delivered.insert((origin, time), files), None, "it came once");
        }
    }
    assert_eq!(delivered, expected);
    eventually("all is committed", || {
        turn_all(&mut members);
        let (committed, there) = committed(&brokers, group, topic);
        (committed == there && there > 0).then_some(())
    });
}

#[test]
fn what_was_not_delivered_when_a_member_ended_comes_to_another() {
    let (_mock, settings) = mock();
    let mut members = both_joined(&settings);
    let hosts: BTreeSet<String> = (0..12).map(|number| format!("lb-{number}")).collect();
    for host in &hosts {
        ship(&mut RawOutlet::new(&settings, host, None), 1000, &[("x_info", INFO)]);
    }
    eventually("all are there", || {
        turn_all(&mut members);
        (members.iter().map(Member::waiting).sum::<usize>() == hosts.len()).then_some(())
    });
    let [mut ended, mut other] = members;
    ended.deliver(1);
    let (brokers, group, topic) = (settings.brokers.join(","), &settings.group, &settings.raw_topic);
    eventually("that is known, where it can be", || {
        ended.turn();
        other.turn();
        (committed(&brokers, group, topic).0 > 0).then_some(())
    });
    let delivered = ended.delivered.clone();
    assert!(ended.waiting() > 0, "something would be lost");
    drop(ended);
    eventually("nothing is lost", || {
        other.turn();
        other.deliver(usize::MAX);
        let hosts_of =
            |delivered: &[Delivered]| delivered.iter().map(|(host, ..)| host.clone()).collect::<Vec<_>>();
        let all: BTreeSet<String> =
            [hosts_of(&delivered), hosts_of(&other.delivered)].concat().into_iter().collect();
        (all == hosts).then_some(())
    });
    other.deliver(usize::MAX);
    other.collector.close();
    let (committed, there) = committed(&brokers, group, topic);
    assert_eq!(committed, there, "the end commits what was finished");
}

#[test]
fn what_is_none_of_ours_is_passed_over_and_kept() {
    let (_mock, settings) = mock();
    let cluster = Cluster { brokers: settings.brokers.join(","), client_id: "x".into(), options: Vec::new() };
    let mut stranger = Producer::new(cluster, &settings.raw_topic, "none", DEADLINE);
    let mut batch = stranger.begin().unwrap();
    batch.send(Message { key: "lb-1", headers: &[], payload: b"hello" }).unwrap();
    batch.finish().unwrap();
    ship(&mut RawOutlet::new(&settings, "lb-1", None), 1000, &[("x_info", INFO)]);
    let mut member = Member::join(&settings, 64);
    let mut notes = Vec::new();
    eventually("the good one is there", || {
        notes.extend(member.turn());
        (member.waiting() == 1).then_some(())
    });
    let damaged = notes.iter().find_map(|note| match note {
        Note::Damaged { place, why, kept } => Some((place, why, kept.clone().unwrap())),
        _ => None,
    });
    let (place, why, kept) = damaged.expect("it is told");
    assert!(place.starts_with("haproxystats-raw [") && place.ends_with("] at offset 0"), "{place}");
    assert_eq!(
        (why.as_str(), fs::read_to_string(kept).unwrap().as_str()),
        ("header `format` is missing", "hello")
    );
    member.deliver(1);
    member.turn();
    member.collector.close();
    assert_eq!(committed(&settings.brokers.join(","), &settings.group, &settings.raw_topic), (2, 2));
}

#[test]
fn nothing_more_is_read_while_enough_waits_for_its_delivery() {
    let (_mock, settings) = mock();
    for time in 0..10 {
        ship(&mut RawOutlet::new(&settings, "lb-1", None), 1000 + time, &[("x_info", INFO)]);
    }
    let mut member = Member::join(&settings, 3);
    eventually("the spool is full", || {
        member.turn();
        (member.waiting() >= 3).then_some(())
    });
    for _ in 0..20 {
        member.turn();
        assert_eq!(member.waiting(), 3);
    }
    eventually("and all come in the end", || {
        member.turn();
        member.deliver(1);
        pause();
        (member.delivered.len() == 10).then_some(())
    });
    let times: Vec<u64> = member.delivered.iter().map(|(_, time, _)| *time).collect();
    assert_eq!(times, (1000..1010).collect::<Vec<_>>());
}

#[test]
fn brokers_that_go_away_are_told_of_and_come_back() {
    let (mock, settings) = mock();
    let mut member = Member::join(&settings, 64);
    eventually("it has joined", || {
        member.turn();
        (member.collector.partitions() == 4).then_some(())
    });
    take_away(&mock);
    eventually("it is told", || member.turn().into_iter().find(|note| matches!(note, Note::Trouble(_))));
    mock.broker_up(1).unwrap();
    ship(&mut RawOutlet::new(&settings, "lb-1", None), 1000, &[("x_info", INFO)]);
    let mut notes = Vec::new();
    eventually("it reads on", || {
        notes.extend(member.turn());
        (member.waiting() == 1).then_some(())
    });
    assert!(notes.contains(&Note::Recovered), "{notes:?}");
    take_away(&mock);
    let begun = Instant::now();
    member.collector.close();
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
}
