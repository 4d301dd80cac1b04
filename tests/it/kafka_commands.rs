//! Kafka by the commands: `pull --to kafka` and `process --from kafka` between HAProxy and Graphite. The brokers are
//! librdkafka's simulation, in this process, where they can be taken away, and in kcat's.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use supervisor_haproxy::stats::Snapshot;
use supervisor_haproxy::stats::outlets::{Outlet, RawOutlet, RawSnapshot};
use supervisor_haproxy::stats::settings::Settings;

use crate::support::{
    BINARY, Broker, Daemon, Manner, Pipeline, Run, Sink, committed, eventually, for_a_while, free_port,
    instant_haproxy, names, read_topic, snapshot, take_away,
};

const RAW: &str = "haproxystats-raw";
const GROUP: &str = "haproxystats";
const TO: [&str; 2] = ["--to", "kafka"];
const FROM: [&str; 2] = ["--from", "kafka"];
const SERVERS: usize = 3;
/// The simulated brokers wait for almost as long before they share partitions out anew.
const SESSION: Duration = Duration::from_secs(4);

// --- the peers

/// Brokers in this process.
struct Brokers {
    mock: MockCluster<'static, DefaultProducerContext>,
    address: String,
}

impl Brokers {
    /// With a topic for raw snapshots. If that has one partition, all is read in one order.
    fn start(partitions: i32) -> Self {
        let mock = MockCluster::new(1).unwrap();
        mock.create_topic(RAW, partitions, 1).unwrap();
        let address = mock.bootstrap_servers();
        Self { mock, address }
    }

    fn go_away(&self) {
        take_away(&self.mock);
    }

    fn come_back(&self) {
        self.mock.broker_up(-1).unwrap();
    }
}

/// Host and time of the snapshots in the topic, in its order; each has two files, and what was sent twice at once is
/// there once.
fn shipped(brokers: &str) -> Vec<(String, u64)> {
    let text = read_topic(brokers, RAW, "%h\n");
    let header =
        |line: &str, key: &str| line.split(',').find_map(|pair| pair.strip_prefix(key)).unwrap().to_owned();
    let each = text.lines().map(|line| (header(line, "host="), header(line, "time=").parse().unwrap()));
    let mut shipped: Vec<_> = each.collect();
    shipped.dedup();
    shipped
}

/// Messages that the group has committed, and those that there are.
fn commits(brokers: &str) -> (i64, i64) {
    committed(brokers, GROUP, RAW)
}

/// Waits until the group has committed all that there is.
#[track_caller]
fn wait_for_commits(brokers: &str) {
    eventually("all is committed", || {
        let (committed, there) = commits(brokers);
        (committed == there).then_some(())
    });
}

/// What `pull --to kafka` ships with, on a host of any name.
struct Host(RawOutlet);

impl Host {
    fn new(name: &str, brokers: &str) -> Self {
        let text = format!("[kafka]\nbrokers = {brokers}\nmessage-timeout = 20\n");
        let kafka = Settings::parse(Path::new("/C"), &text).unwrap().0.kafka.unwrap();
        Self(RawOutlet::new(&kafka, name, None))
    }

    fn ship(&mut self, time: u64) {
        let directory = tempfile::tempdir().unwrap();
        for (name, bytes) in snapshot(SERVERS) {
            fs::write(directory.path().join(name), bytes).unwrap();
        }
        let snapshot = Snapshot { time, number: 0, path: directory.path().to_owned() };
        self.0.deliver(&RawSnapshot::of(&snapshot).unwrap()).unwrap();
    }
}

/// Adds `[kafka]` to a configuration.
fn add_kafka(pipeline: &Pipeline, brokers: &str, session: Duration, further: &str) {
    let (session, beat) = (session.as_millis(), session.as_millis() / 8);
    let session = format!("rdkafka.session.timeout.ms = {session}\nrdkafka.heartbeat.interval.ms = {beat}");
    let mut file = OpenOptions::new().append(true).open(pipeline.path("h.conf")).unwrap();
    writeln!(file, "[kafka]\nbrokers = {brokers}\nmessage-timeout = 3\n{session}\n{further}").unwrap();
}

/// A machine that finds nobody to pull from, so that it ships what is laid into its spool and nothing else.
fn machine(brokers: &str, pull: &str) -> Pipeline {
    let nobody = Sink::start();
    let pipeline = Pipeline::new(&nobody);
    let empty = pipeline.path("sockets");
    fs::create_dir(&empty).unwrap();
    pipeline.configure(&nobody, &format!("socket-dir = {}\n{pull}", empty.display()), "", "");
    add_kafka(&pipeline, brokers, SESSION, "");
    pipeline
}

/// A machine that delivers what others have shipped.
fn collector(brokers: &str, sink: &Sink) -> Pipeline {
    let pipeline = Pipeline::new(sink);
    add_kafka(&pipeline, brokers, SESSION, "cluster-wait = 3");
    pipeline
}

fn feed(machine: &Pipeline, times: &[u64]) {
    for time in times {
        machine.feed(&time.to_string(), &snapshot(SERVERS));
    }
}

/// Starts `pull --to kafka` on a machine of this name.
fn pull_as(host: &str, machine: &Pipeline) -> Daemon {
    let own: &[&str] =
        if nix::unistd::geteuid().is_root() { &["--uts"] } else { &["--map-root-user", "--uts"] };
    let named = ["sh", "-c", "hostname \"$0\" && exec \"$@\"", host, BINARY, "pull", "-f", "h.conf"];
    Daemon::start(Path::new("unshare"), machine.directory(), &[own, &named, &TO].concat(), &[])
}

/// Waits until all that a machine had to ship is shipped.
fn wait_until_shipped(machine: &Pipeline) {
    eventually("an empty spool", || machine.waiting().is_empty().then_some(()));
}

// --- what arrived

/// Values by their paths, without namespace and host.
type Values = BTreeMap<String, f64>;

/// What Graphite gets of a snapshot without Kafka. How long something took is never the same.
static EXPECTED: LazyLock<Values> = LazyLock::new(|| {
    let sink = Sink::start();
    let pipeline = Pipeline::new(&sink);
    feed(&pipeline, &[1000]);
    pipeline.once("process").expect(0);
    let values = stripped("lb.", &sink.deliveries()[0].values);
    assert!(values.contains_key("haproxy.backend.app.server.s2.scur") && values.len() > 30, "{values:?}");
    values
});

fn stripped(prefix: &str, values: &Values) -> Values {
    let all = values.iter().map(|(path, value)| (path.strip_prefix(prefix).expect(path).to_owned(), *value));
    all.filter(|(path, _)| !path.contains("WallClockTime")).collect()
}

/// Host, time and values of what came over one connection each.
fn arrived(sink: &Sink) -> Vec<(String, u64, Values)> {
    let of_a_host = |path: &str| path.split('.').nth(1).unwrap().to_owned();
    let deliveries = sink.deliveries().into_iter().filter(|delivery| !delivery.values.is_empty());
    let each = deliveries.map(|delivery| {
        let host = of_a_host(delivery.values.keys().next().unwrap());
        let values = stripped(&format!("lb.{host}."), &delivery.values);
        (host, delivery.time, values)
    });
    each.collect()
}

/// Hosts and times of what arrived, sorted; asserts that it is what the same snapshot gives without Kafka.
#[track_caller]
fn arrived_whole(sink: &Sink) -> Vec<(String, u64)> {
    let all = arrived(sink).into_iter().map(|(host, time, values)| {
        assert_eq!(values, *EXPECTED, "{host} {time}");
        (host, time)
    });
    let mut all: Vec<_> = all.collect();
    all.sort();
    all
}

fn of(host: &str, times: &[u64]) -> Vec<(String, u64)> {
    times.iter().map(|time| (host.to_owned(), *time)).collect()
}

/// Asserts that nothing is left over on a machine that collects.
#[track_caller]
fn is_clean(collector: &Pipeline) {
    collector.is_clean();
    assert_eq!(names(&collector.path("incoming.kafka/drafts")), [""; 0]);
}

// --- the way from machine to machine

#[test]
fn snapshots_of_two_machines_arrive_once_each_under_their_own_hosts() {
    let (brokers, sink) = (Brokers::start(4), Sink::start());
    let collector = collector(&brokers.address, &sink);
    let process = collector.start_with("process", &FROM, &[]);
    let machines = [("lb-1.example.com", [1000, 1010, 1020]), ("lb-2", [1000, 1010, 2000])];
    let pulls = machines.map(|(host, times)| {
        let machine = machine(&brokers.address, "");
        feed(&machine, &times);
        let pull = pull_as(host, &machine);
        (machine, pull)
    });
    sink.wait_for(6);
    for (machine, pull) in pulls {
        wait_until_shipped(&machine);
        pull.end();
        machine.is_clean();
    }
    process.end();
    is_clean(&collector);
    let expected = [of("lb-1_example_com", &[1000, 1010, 1020]), of("lb-2", &[1000, 1010, 2000])];
    assert_eq!(arrived_whole(&sink), expected.concat());
}

#[test]
fn machines_of_a_cluster_are_added_up() {
    let (brokers, sink) = (Brokers::start(4), Sink::start());
    for host in ["lb-1", "lb-2"] {
        let machine = machine(&brokers.address, "cluster = edge");
        feed(&machine, &[1000, 1010]);
        let pull = pull_as(host, &machine);
        wait_until_shipped(&machine);
        pull.end();
    }
    let collector = collector(&brokers.address, &sink);
    let process = collector.start_with("process", &FROM, &[]);
    sink.wait_for(2);
    process.end();
    is_clean(&collector);
    let arrived = arrived(&sink);
    let whose: Vec<_> = arrived.iter().map(|(host, time, _)| (host.clone(), *time)).collect();
    assert_eq!(whose, of("edge", &[1000, 1010]));
    let one = &*EXPECTED;
    let sums = ["frontend.front.scur", "backend.app.server.s2.stot", "backend.app.bin", "daemon.CurrConns"];
    let sums = sums.map(|sum| format!("haproxy.{sum}"));
    let twice = sums.each_ref().map(|path| 2.0 * one[path]);
    assert!(twice.iter().all(|value| *value > 0.0), "{twice:?}");
    for (_, _, both) in &arrived {
        // Of several processes there is more to say.
        assert!(one.keys().all(|path| both.contains_key(path)));
        let pairs = |values: [f64; 4]| sums.clone().into_iter().zip(values).collect::<Values>();
        assert_eq!(pairs(sums.each_ref().map(|path| both[path])), pairs(twice));
    }
}

#[test]
fn while_the_brokers_are_away_snapshots_wait_in_the_spool_and_keep_their_order() {
    let brokers = Brokers::start(1);
    let machine = machine(&brokers.address, "");
    let complaint = format!("warn: kafka {}: ", brokers.address);
    brokers.go_away();
    feed(&machine, &[1000, 2000, 3000]);
    let pull = machine.start_with("pull", &TO, &[]);
    pull.expect_log(&complaint);
    pull.expect_log("; 3 snapshots wait in the spool, next try in ");
    assert_eq!(machine.waiting(), ["1000", "2000", "3000"]);
    brokers.come_back();
    wait_until_shipped(&machine);
    pull.expect_log("info: kafka: takes again after ");

    brokers.go_away();
    feed(&machine, &[4000, 5000]);
    eventually("a further word", || (pull.said(&complaint) > 1).then_some(()));
    assert_eq!(machine.waiting(), ["4000", "5000"]);
    brokers.come_back();
    wait_until_shipped(&machine);
    pull.end();
    let times: Vec<u64> = shipped(&brokers.address).into_iter().map(|(_, time)| time).collect();
    assert_eq!(times, [1000, 2000, 3000, 4000, 5000]);
}

#[test]
fn while_the_brokers_are_away_process_tells_and_reads_on_when_they_are_back() {
    let (brokers, sink) = (Brokers::start(1), Sink::start());
    let collector = collector(&brokers.address, &sink);
    let complaint = format!("warn: kafka {}: ", brokers.address);
    brokers.go_away();
    let process = collector.start_with("process", &FROM, &[]);
    process.expect_log(&complaint);
    brokers.come_back();
    let mut host = Host::new("lb-1", &brokers.address);
    host.ship(1000);
    sink.wait_for(1);
    wait_for_commits(&brokers.address);
    brokers.go_away();
    eventually("a further word", || (process.said(&complaint) > 1).then_some(()));
    brokers.come_back();
    host.ship(2000);
    sink.wait_for(2);
    process.expect_log("info: kafka: messages come again");
    process.end();
    assert_eq!(arrived_whole(&sink), of("lb-1", &[1000, 2000]));
}

#[test]
fn brokers_that_hang_keep_nobody_from_ending() {
    let (broker, sink) = (Broker::start(), Sink::start());
    let collector = collector(&broker.address, &sink);
    let process = collector.start_with("process", &FROM, &[]);
    let machine = machine(&broker.address, "");
    let pull = machine.start_with("pull", &TO, &[]);
    feed(&machine, &[1000]);
    sink.wait_for(1);
    wait_until_shipped(&machine);
    broker.signal(Signal::SIGSTOP);
    feed(&machine, &[2000]);
    pull.expect_log("not acknowledged within 3s");
    pull.end();
    process.end();
    assert_eq!(machine.waiting(), ["2000"]);
}

// --- what is committed

#[test]
fn after_sigterm_nothing_is_delivered_again() {
    let (brokers, sink) = (Brokers::start(1), Sink::start());
    let machine = Pipeline::new(&sink);
    instant_haproxy(&machine.path("a.sock"), SERVERS);
    machine.configure(&sink, &format!("servers = unix://{}", machine.path("a.sock").display()), "", "");
    add_kafka(&machine, &brokers.address, SESSION, "");
    let collector = collector(&brokers.address, &sink);
    let pull = machine.start_with("pull", &TO, &[]);
    let process = collector.start_with("process", &FROM, &[]);
    sink.wait_for(3);
    wait_until_shipped(&machine);
    pull.end();
    let mut arriving = shipped(&brokers.address);
    // It comes faster than it is committed while the process goes on.
    let mut other = Host::new("yy", &brokers.address);
    for time in 8000..8010 {
        other.ship(time);
        arriving.extend(of("yy", &[time]));
    }
    sink.wait_for(arriving.len());
    process.end();
    let (committed, there) = commits(&brokers.address);
    assert_eq!(committed, there, "two messages for each of {arriving:?}");

    // It is read in order: whatever came again would come before this.
    other.ship(9000);
    let process = collector.start_with("process", &FROM, &[]);
    sink.wait_for(arriving.len() + 1);
    wait_for_commits(&brokers.address);
    process.end();
    let mut expected: Vec<_> =
        arriving.into_iter().map(|(host, time)| (host.replace('.', "_"), time)).collect();
    expected.extend(of("yy", &[9000]));
    expected.sort();
    assert_eq!(arrived_whole(&sink), expected);
}

#[test]
fn what_a_sink_that_is_down_has_not_taken_is_not_committed() {
    let brokers = Brokers::start(1);
    let port = free_port();
    let collector = Pipeline::new(&Sink::start());
    collector.configure(&Sink::start(), "", "", &format!("port = {port}"));
    add_kafka(&collector, &brokers.address, SESSION, "");
    let process = collector.start_with("process", &FROM, &[]);
    let times = [1000, 2000, 3000];
    let mut host = Host::new("lb-1", &brokers.address);
    for time in times {
        host.ship(time);
    }
    collector.wait_for(3);
    process.expect_log(&format!("warn: graphite 127.0.0.1:{port}: cannot connect"));
    // It commits twice in a second.
    for_a_while(Duration::from_millis(1200), || assert_eq!(collector.waiting().len(), 3));
    assert_eq!(commits(&brokers.address), (0, 6));

    let sink = Sink::with(&format!("127.0.0.1:{port}"), &[]);
    sink.wait_for(3);
    wait_for_commits(&brokers.address);
    process.end();
    assert_eq!(arrived_whole(&sink), of("lb-1", &times));
    is_clean(&collector);
}

fn ship_all(hosts: &mut [Host], time: u64) {
    for host in hosts {
        host.ship(time);
    }
}

#[test]
fn two_processes_of_a_group_share_hosts_and_deliver_each_snapshot_once() {
    let (brokers, sinks) = (Brokers::start(4), [Sink::start(), Sink::start()]);
    let collectors = sinks.each_ref().map(|sink| collector(&brokers.address, sink));
    let processes = collectors.each_ref().map(|collector| collector.start_with("process", &FROM, &[]));
    let names: Vec<String> = (0..8).map(|number| format!("lb-{number}")).collect();
    let mut hosts: Vec<Host> = names.iter().map(|name| Host::new(name, &brokers.address)).collect();
    let count = || sinks.iter().map(Sink::count).sum::<usize>();
    let mut time = 1000;
    // Only what they deliver shows that both have partitions. Until then, some may come twice.
    eventually("both deliver", || {
        time += 1;
        let before = count();
        ship_all(&mut hosts, time);
        eventually("the round of all hosts", || (count() >= before + hosts.len()).then_some(()));
        sinks.iter().all(|sink| sink.count() > 0).then_some(())
    });
    let shared = time;
    let times: Vec<u64> = (shared + 1..=shared + 5).collect();
    for time in &times {
        ship_all(&mut hosts, *time);
    }
    let new =
        |sink: &Sink| arrived_whole(sink).into_iter().filter(|(_, time)| *time > shared).collect::<Vec<_>>();
    eventually("all arrive", || (sinks.iter().flat_map(new).count() >= 40).then_some(()));
    wait_for_commits(&brokers.address);
    for process in processes {
        process.end();
    }
    let [mut all, other] = sinks.each_ref().map(new);
    assert!(!all.is_empty() && !other.is_empty());
    all.extend(other);
    all.sort();
    assert_eq!(all, names.iter().flat_map(|name| of(name, &times)).collect::<Vec<_>>());
    collectors.iter().for_each(is_clean);
}

// --- kills

/// What arrived whole, by host and time: how often. The rest is the beginning of it: who sends is killed.
fn whole_ones(sink: &Sink) -> BTreeMap<(String, u64), usize> {
    let mut whole = BTreeMap::new();
    for (host, time, values) in arrived(sink) {
        assert!(values.keys().all(|path| EXPECTED.contains_key(path)), "{host} {time}: {values:?}");
        if values == *EXPECTED {
            *whole.entry((host, time)).or_default() += 1;
        }
    }
    whole
}

/// When a `process` is killed.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// All has come, and the sink has taken nothing.
    Stuck,
    /// Something has just come.
    Collected,
    /// It has begun with so many.
    Delivering(usize),
    /// The brokers know of something that it has delivered.
    Committed,
}

/// In each line a group of its own, at the same time: the brokers take seconds to notice that a member is gone.
static MOMENTS: [[Moment; 2]; 3] = [
    [Moment::Stuck, Moment::Collected],
    [Moment::Delivering(4), Moment::Committed],
    [Moment::Committed, Moment::Delivering(3)],
];

#[test]
fn whenever_process_is_killed_all_arrives_and_only_what_was_in_hand_comes_again() {
    let all = thread::scope(|scope| {
        let kill = |moments: &'static [Moment; 2]| {
            [false, true].map(|moves| scope.spawn(move || kill_process(moments, moves)))
        };
        let runs: Vec<_> = MOMENTS.iter().flat_map(kill).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect::<Vec<_>>()
    });
    eprintln!("two kills of process each, snapshots that came again, and those that were in hand: {all:?}");
}

/// Gives the number of snapshots that came again, and that were in hand. If it moves, the next one is on a machine that
/// has nothing of what the one before had on its disk.
fn kill_process(moments: &[Moment], moves: bool) -> (usize, usize) {
    let hangs = moments.iter().filter(|moment| matches!(moment, Moment::Stuck)).map(|_| Manner::Hang);
    let (brokers, sink) = (Brokers::start(1), Sink::with("127.0.0.1:0", &hangs.collect::<Vec<_>>()));
    let mut collector = collector(&brokers.address, &sink);
    let mut host = Host::new("lb-1", &brokers.address);
    let (mut times, mut in_hand) = (1000..1000, 0);
    for moment in moments {
        times.end += 10;
        for time in times.end - 10..times.end {
            host.ship(time);
        }
        let process = collector.start_with("process", &FROM, &[]);
        wait_for_moment(*moment, &brokers.address, &collector, &sink);
        process.kill();
        let (committed, there) = commits(&brokers.address);
        // Each has two messages; and one may be committed that has not left the spool.
        in_hand += usize::try_from(there - committed).unwrap() / 2 + 1;
        if moves {
            collector = self::collector(&brokers.address, &sink);
        }
    }
    let process = collector.start_with("process", &FROM, &[]);
    wait_for_commits(&brokers.address);
    process.end();
    is_clean(&collector);
    let whole = whole_ones(&sink);
    assert!(whole.keys().cloned().eq(of("lb-1", &times.collect::<Vec<_>>())), "{moments:?}: {whole:?}");
    let again = whole.values().sum::<usize>() - whole.len();
    assert!(again <= in_hand, "{moments:?}: {again} of {in_hand}: {whole:?}");
    (again, in_hand)
}

#[track_caller]
fn wait_for_moment(moment: Moment, brokers: &str, collector: &Pipeline, sink: &Sink) {
    let (accepted, committed) = (sink.accepted(), commits(brokers).0);
    eventually(&format!("{moment:?}"), || {
        let is_there = match moment {
            Moment::Stuck => sink.accepted() > accepted && collector.waiting().len() == 10,
            Moment::Collected => !collector.waiting().is_empty() || sink.accepted() > accepted,
            Moment::Delivering(count) => sink.accepted() >= accepted + count,
            Moment::Committed => commits(brokers).0 > committed,
        };
        is_there.then_some(())
    });
}

/// Of `pull`.
const KILLS: usize = 10;

#[test]
fn whenever_pull_is_killed_all_arrives_and_only_what_was_in_hand_comes_again() {
    let (brokers, sink) = (Brokers::start(1), Sink::start());
    let machine = machine(&brokers.address, "");
    let mut times = 1000..1000;
    for round in 0..KILLS {
        feed(&machine, &(times.end..times.end + 5).collect::<Vec<_>>());
        times.end += 5;
        let left = machine.waiting().len() - round % 5;
        let pull = pull_as("lb-1", &machine);
        pull.expect_log("delivering from `");
        eventually("some are shipped", || (machine.waiting().len() <= left).then_some(()));
        pull.kill();
    }
    let pull = pull_as("lb-1", &machine);
    wait_until_shipped(&machine);
    pull.end();
    machine.is_clean();

    let collector = collector(&brokers.address, &sink);
    let process = collector.start_with("process", &FROM, &[]);
    wait_for_commits(&brokers.address);
    process.end();
    is_clean(&collector);
    let whole = whole_ones(&sink);
    assert!(whole.keys().cloned().eq(of("lb-1", &times.collect::<Vec<_>>())), "{whole:?}");
    let repeated = whole.values().sum::<usize>() - whole.len();
    eprintln!("{KILLS} kills of pull: {} snapshots, {repeated} came again", whole.len());
    assert!(repeated <= KILLS, "each had one in hand");
    assert_eq!(sink.count(), whole.len() + repeated, "none was sent in part");
}

// --- once, and what is refused

#[test]
fn pull_once_ships_one_snapshot() {
    let broker = Broker::start();
    let machine = machine(&broker.address, "");
    let socket = machine.path("sockets/a.sock");
    instant_haproxy(&socket, SERVERS);
    Run::of(machine.directory(), &["pull", "--once", "--to", "kafka", "-f", "h.conf"]).expect(0);
    machine.is_clean();
    let told = read_topic(&broker.address, RAW, "%h\n");
    assert_eq!(told.lines().count(), 2, "{told}");
    for (line, file) in told.lines().zip(["a.sock_info", "a.sock_stat"]) {
        assert!(line.contains(&format!("files=2,file={file},parts=1,part=1,")), "{line}");
    }
}

#[test]
fn pull_once_gives_up_brokers_that_are_away_and_keeps_its_snapshot() {
    let brokers = Brokers::start(1);
    brokers.go_away();
    let machine = machine(&brokers.address, "");
    instant_haproxy(&machine.path("sockets/a.sock"), SERVERS);
    Run::of(machine.directory(), &["pull", "--once", "--to", "kafka", "-f", "h.conf"])
        .expect(1)
        .complains(&format!("warn: kafka {}: ", brokers.address))
        .complains("error: 1 snapshot is not delivered and stays in the spool");
    assert_eq!(machine.files(&machine.wait_for(1)[0]), snapshot(SERVERS));
}

#[test]
fn without_the_section_kafka_the_way_is_refused() {
    let pipeline = Pipeline::new(&Sink::start());
    let servers = format!("servers = unix://{}", pipeline.path("a.sock").display());
    pipeline.configure(&Sink::start(), &servers, "", "");
    for (command, option) in [("pull", "--to"), ("process", "--from")] {
        Run::of(pipeline.directory(), &[command, option, "kafka", "-f", "h.conf"])
            .expect(2)
            .complains(&format!("error: {option} kafka needs a section `[kafka]` with `brokers`\n"));
    }
}

#[test]
fn process_from_kafka_is_never_done_and_refuses_once() {
    let pipeline = Pipeline::new(&Sink::start());
    add_kafka(&pipeline, "127.0.0.1:1", SESSION, "");
    feed(&pipeline, &[1000]);
    Run::of(pipeline.directory(), &["process", "--once", "--from", "kafka", "-f", "h.conf"]).expect(2).complains(
        "error: --from kafka goes on until a signal; without it, `--once` delivers what is in the spool\n",
    );
    assert_eq!(pipeline.waiting(), ["1000"]);
}

// --- datapoints

/// A configuration with a topic for datapoints.
fn with_topic(broker: &Broker, sink: &Sink) -> Pipeline {
    let pipeline = Pipeline::new(sink);
    add_kafka(&pipeline, &broker.address, SESSION, "topic = haproxystats");
    feed(&pipeline, &[1000, 2000]);
    pipeline
}

/// The lines of the topic, as Python reads them: kind, backend, server, time and a metric.
fn told(broker: &Broker) -> Vec<String> {
    let program = "import json, sys\n\
                   for line in sys.stdin:\n \
                   message = json.loads(line, parse_constant=sys.exit)\n \
                   print(message['time'], message['kind'], *(message.get(key) for key in ('frontend', 'backend', 'server')), message['metrics'].get('scur'))\n";
    let mut python = Command::new("python3")
        .args(["-c", program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    python
        .stdin
        .take()
        .unwrap()
        .write_all(read_topic(&broker.address, "haproxystats", "%s\n").as_bytes())
        .unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// What is told of both snapshots.
fn expected_lines() -> Vec<String> {
    let of = |time: u64| {
        [
            "daemon None None None None",
            "frontend front None None 3",
            "backend None app None 2",
            "backend.server None app s0 2",
            "backend.server None app s1 2",
            "backend.server None app s2 2",
            "haproxystats None None None None",
        ]
        .map(|line| format!("{time} {line}"))
    };
    [of(1000), of(2000)].concat()
}

#[test]
fn graphite_and_a_topic_of_kafka_both_get_all() {
    let (broker, sink) = (Broker::start(), Sink::start());
    let pipeline = with_topic(&broker, &sink);
    pipeline.once("process").expect(0).complains("incoming` to graphite, kafka\n");
    pipeline.is_clean();
    assert_eq!(sink.times(), [1000, 2000]);
    assert_eq!(told(&broker), expected_lines());
}

#[test]
fn with_a_topic_and_without_its_section_there_is_no_graphite() {
    let (broker, sink) = (Broker::start(), Sink::start());
    let pipeline = with_topic(&broker, &sink);
    let text = fs::read_to_string(pipeline.path("h.conf")).unwrap();
    let (begin, end) = (text.find("[graphite]").unwrap(), text.find("[kafka]").unwrap());
    fs::write(pipeline.path("h.conf"), format!("{}{}", &text[..begin], &text[end..])).unwrap();
    pipeline.once("process").expect(0).complains("incoming` to kafka\n");
    pipeline.is_clean();
    assert_eq!(told(&broker), expected_lines());
}

#[test]
fn without_a_topic_the_section_is_no_destination() {
    let (broker, sink) = (Broker::start(), Sink::start());
    let pipeline = collector(&broker.address, &sink);
    feed(&pipeline, &[1000]);
    pipeline.once("process").expect(0).complains("incoming` to graphite\n");
    assert_eq!(sink.times(), [1000]);
}
