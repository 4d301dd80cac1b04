//! `pull` and `process` when things go wrong: they are killed, sinks fail in every way, disks are full, snapshots are
//! bad, HAProxy hangs. Nothing is lost, nothing is half, and memory stays bounded.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, bind, socket};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::support::{
    Act, Disk, FakeHaproxy, Files, Haproxy, Manner, Pipeline, Sink, eventually, for_a_while, free_port,
    instant_haproxy, names, snapshot,
};

/// The paths that a snapshot of so many servers has; their number is what makes a delivery whole.
fn paths(servers: usize) -> BTreeSet<String> {
    let sink = Sink::start();
    let pipeline = Pipeline::new(&sink);
    pipeline.feed("1000", &snapshot(servers));
    pipeline.once("process").expect(0);
    let paths: BTreeSet<String> = sink.deliveries()[0].values.keys().cloned().collect();
    let last = format!("lb.haproxy.backend.app.server.s{}.weight", servers - 1);
    assert!(paths.contains(&last) && paths.len() > 10 * servers, "{paths:?}");
    paths
}

/// Asserts that these snapshots, and no others, arrived whole and once, in this order.
#[track_caller]
fn has_arrived(sink: &Sink, times: &[u64], paths: &BTreeSet<String>) {
    let deliveries = sink.deliveries();
    for delivery in &deliveries {
        assert!(delivery.values.keys().eq(paths), "{}: {} values", delivery.time, delivery.values.len());
    }
    assert_eq!(deliveries.iter().map(|delivery| delivery.time).collect::<Vec<_>>(), times);
}

fn servers(path: &Path) -> String {
    format!("servers = unix://{}\nretries = 0", path.display())
}

// --- kills

/// Rounds in which somebody is killed.
const ROUNDS: u32 = 200;

#[test]
fn whoever_is_killed_at_whatever_moment_no_snapshot_is_lost_or_half() {
    const SERVERS: usize = 150;
    let paths = paths(SERVERS);
    let sink = Sink::start();
    let pipeline = Pipeline::new(&sink);
    instant_haproxy(&pipeline.path("a.sock"), SERVERS);
    pipeline.configure(&sink, &servers(&pipeline.path("a.sock")), "", "");
    let files = snapshot(SERVERS);
    let mut stored: BTreeMap<u64, usize> = BTreeMap::new();
    let lives = ["pull", "process"].map(|command| {
        let begun = Instant::now();
        pipeline.once(command).expect(0);
        begun.elapsed()
    });
    stored.insert(sink.times()[0], 1);
    let (mut pull_kills, mut process_kills, mut pulled) = (0, 0, 0);
    for round in 0..ROUNDS {
        // Spread evenly, in no order, from its start until twice the time that its work takes.
        let [of_pull, of_process] = lives.map(|life| 2 * life * (round * 79 % ROUNDS) / ROUNDS);
        if round % 2 == 0 {
            let before = pipeline.waiting();
            let mut pull = pipeline.start_with("pull", &["--once"], &[]);
            spin(of_pull);
            pull_kills += usize::from(pull.is_running());
            pull.kill();
            // Nobody takes any away meanwhile.
            for name in pipeline.waiting().iter().filter(|name| !before.contains(name)) {
                assert_eq!(pipeline.files(name), files, "{name} is half");
                *stored.entry(time_of(name)).or_default() += 1;
                pulled += 1;
            }
        } else {
            let time = 1_000_000_000 + u64::from(round);
            pipeline.feed(&time.to_string(), &files);
            stored.insert(time, 1);
            let mut process = pipeline.start("process");
            spin(of_process);
            process_kills += usize::from(process.is_running());
            process.kill();
        }
    }
    let before = pipeline.waiting();
    pipeline.once("pull").expect(0);
    let last = pipeline.waiting().into_iter().find(|name| !before.contains(name)).unwrap();
    *stored.entry(time_of(&last)).or_default() += 1;
    pipeline.once("process").expect(0);
    pipeline.is_clean();

    let (mut whole, mut cut): (BTreeMap<u64, usize>, usize) = (BTreeMap::new(), 0);
    for delivery in sink.deliveries() {
        if delivery.values.len() == paths.len() {
            assert!(delivery.values.keys().eq(&paths), "{}", delivery.time);
            *whole.entry(delivery.time).or_default() += 1;
        } else {
            assert!(delivery.values.keys().all(|path| paths.contains(path)), "{}", delivery.time);
            cut += 1;
        }
    }
    let (arrived, expected): (usize, usize) = (whole.values().sum(), stored.values().sum());
    for (time, count) in &stored {
        assert!(whole.get(time) >= Some(count), "{time}: {:?} of {count}", whole.get(time));
    }
    let repeated = arrived - expected;
    eprintln!(
        "{pull_kills} kills of pull, {process_kills} of process: {expected} snapshots ({pulled} pulled) arrived, \
         {repeated} of them twice, {cut} deliveries were cut off"
    );
    assert!(repeated + cut <= process_kills, "one for each kill at most");
    assert!(pull_kills > 0 && process_kills > 0 && pulled > 0, "some were killed, and some came through");
}

/// Waits for less than any sleep would take.
fn spin(length: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < length {
        std::thread::yield_now();
    }
}

fn time_of(name: &str) -> u64 {
    name.split('.').next().unwrap().parse().unwrap()
}

#[test]
fn drafts_of_whoever_was_killed_are_cleaned_up_by_the_next() {
    let sink = Sink::start();
    let pipeline = Pipeline::new(&sink);
    let silent = FakeHaproxy::start(pipeline.directory());
    for command in ["show info", "show stat"] {
        silent.on(command, [Act::Hang(b"Name: ".to_vec())]);
    }
    pipeline.configure(&sink, &servers(&silent.path), "", "");
    let pull = pipeline.start("pull");
    eventually("a draft", || (names(&pipeline.tmp()).len() == 1).then_some(()));
    pull.kill();
    assert_eq!((names(&pipeline.tmp()).len(), pipeline.waiting()), (1, vec![]));
    fs::create_dir_all(pipeline.incoming().join(".done/1000/rest")).unwrap();
    instant_haproxy(&pipeline.path("a.sock"), 3);
    pipeline.configure(&sink, &servers(&pipeline.path("a.sock")), "", "");
    pipeline.once("pull").expect(0);
    assert_eq!((names(&pipeline.tmp()), pipeline.waiting().len()), (vec![], 1));
    pipeline.once("process").expect(0);
    pipeline.is_clean();
}

// --- sinks

#[test]
fn a_sink_that_is_down_gets_all_when_it_is_up() {
    let paths = paths(5);
    let pipeline = Pipeline::new(&Sink::start());
    let port = free_port();
    pipeline.configure(&Sink::start(), "", "", &format!("port = {port}"));
    for name in ["1000", "2000", "3000"] {
        pipeline.feed(name, &snapshot(5));
    }
    let process = pipeline.start("process");
    process.expect_log(&format!(
        "warn: graphite 127.0.0.1:{port}: cannot connect: Connection refused (os error 111); 3 snapshots wait in the spool"
    ));
    pipeline.feed("4000", &snapshot(5));
    for_a_while(Duration::from_millis(500), || assert_eq!(pipeline.waiting().len(), 4));
    let sink = Sink::with(&format!("127.0.0.1:{port}"), &[]);
    sink.wait_for(4);
    process.expect_log("info: graphite: takes again after ");
    process.end();
    has_arrived(&sink, &[1000, 2000, 3000, 4000], &paths);
    pipeline.is_clean();
}

#[test]
fn a_sink_that_reads_slowly_gets_all_at_once() {
    let paths = paths(2000);
    let sink = Sink::with("127.0.0.1:0", &[Manner::ReadSlowly, Manner::ReadSlowly]);
    let pipeline = Pipeline::new(&sink);
    for name in ["1000", "2000"] {
        pipeline.feed(name, &snapshot(2000));
    }
    let process = pipeline.start("process");
    sink.wait_for(2);
    process.end();
    has_arrived(&sink, &[1000, 2000], &paths);
    pipeline.is_clean();
}

#[test]
fn a_sink_that_resets_in_the_midst_of_a_line_gets_all_of_it_again() {
    let paths = paths(500);
    let resets = [1, 100, 5001, 60_007].map(Manner::Reset);
    let sink = Sink::with("127.0.0.1:0", &resets);
    let pipeline = Pipeline::new(&sink);
    for name in ["1000", "2000"] {
        pipeline.feed(name, &snapshot(500));
    }
    let process = pipeline.start("process");
    sink.wait_for(2);
    process.expect_log("graphite: takes again after 4 failures");
    process.end();
    assert_eq!(sink.accepted(), 6, "each failure is one connection");
    has_arrived(&sink, &[1000, 2000], &paths);
    pipeline.is_clean();
}

#[test]
fn a_sink_that_hangs_loses_nothing_and_is_tried_again() {
    // More than the kernel keeps for one that does not read.
    const SERVERS: usize = 10_000;
    let sink = Sink::with("127.0.0.1:0", &[Manner::Hang, Manner::Hang]);
    let pipeline = Pipeline::new(&sink);
    pipeline.configure(&sink, "", "", "write-timeout = 2");
    pipeline.feed("1000", &snapshot(SERVERS));
    let process = pipeline.start("process");
    process.expect_log("it took nothing more within 2s (");
    sink.wait_for(1);
    process.end();
    assert_eq!(sink.accepted(), 3);
    let deliveries = sink.deliveries();
    assert_eq!((deliveries.len(), deliveries[0].time), (1, 1000));
    assert!(deliveries[0].values.contains_key("lb.haproxy.backend.app.server.s9999.weight"));
    pipeline.is_clean();
}

#[test]
fn a_sink_that_has_little_to_read_and_keeps_silent_has_not_taken_it() {
    let sink = Sink::with("127.0.0.1:0", &[Manner::Hang]);
    let pipeline = Pipeline::new(&sink);
    pipeline.configure(&sink, "", "", "close-timeout = 3\nretries = 1\ninterval = 0.1");
    pipeline.feed("1000", &snapshot(5));
    pipeline.once("process").expect(0).complains("it has not closed the connection within 3s after all");
    assert_eq!(sink.accepted(), 2, "it was handed all of it again");
    pipeline.is_clean();
}

// --- the spool

#[test]
fn a_full_disk_is_told_of_and_leaves_no_half_snapshot() {
    const SERVERS: usize = 3000;
    let (directory, sink) = (tempfile::tempdir().unwrap(), Sink::start());
    let _disk = Disk::at(directory.path());
    let pipeline = Pipeline::at(directory.path(), &sink);
    instant_haproxy(&pipeline.path("a.sock"), SERVERS);
    pipeline.configure(&sink, &servers(&pipeline.path("a.sock")), "", "");
    let files = snapshot(SERVERS);
    // So much that not a quarter of it fits a further time.
    let size: usize = files.values().map(Vec::len).sum();
    fs::write(directory.path().join("ballast"), vec![0; (1 << 20) - 2 * size - size / 4]).unwrap();
    let pull = pipeline.start("pull");
    pull.expect_log("nothing kept: haproxy unix://");
    pull.expect_log("show stat: the reply cannot be kept: No space left on device (os error 28)");
    let whole = pipeline.waiting();
    assert!(!whole.is_empty());
    for_a_while(Duration::from_millis(2100), || {
        assert_eq!(pipeline.waiting(), whole);
    });
    for name in &whole {
        assert_eq!(pipeline.files(name), files, "{name} is half");
    }
    assert_eq!(pull.said("No space left"), 1, "once");
    fs::remove_file(directory.path().join("ballast")).unwrap();
    pull.expect_log("pulls are whole again");
    pull.end();
    assert!(pipeline.waiting().len() > whole.len());
    pipeline.once("process").expect(0);
    assert!(sink.deliveries().iter().all(|delivery| delivery.values.len() > 10 * SERVERS));
    pipeline.is_clean();
}

#[test]
fn a_spool_that_is_a_disk_of_its_own_keeps_what_is_bad_within() {
    let (paths, sink) = (paths(3), Sink::start());
    let pipeline = Pipeline::new(&sink);
    fs::create_dir(pipeline.incoming()).unwrap();
    let _disk = Disk::at(&pipeline.incoming());
    for (name, files) in [("1000", snapshot(3)), ("1001", Files::new())] {
        fs::create_dir(pipeline.incoming().join(name)).unwrap();
        for (file, bytes) in files {
            fs::write(pipeline.incoming().join(name).join(file), bytes).unwrap();
        }
    }
    pipeline.once("process").expect(0).complains("is of no use and now at");
    let reason = fs::read_to_string(pipeline.incoming().join(".quarantine/1001/reason")).unwrap();
    assert_eq!(reason, "it holds no NAME_info and no NAME_stat\n");
    assert_eq!(pipeline.waiting(), [""; 0]);
    has_arrived(&sink, &[1000], &paths);
}

#[test]
fn snapshots_are_delivered_in_the_order_of_their_times_even_if_the_clock_was_set_back() {
    let (paths, sink) = (paths(5), Sink::start());
    let pipeline = Pipeline::new(&sink);
    for name in ["20000", "3000", "1000.2", "1000", "1000.10", "999"] {
        pipeline.feed(name, &snapshot(5));
    }
    let process = pipeline.start("process");
    sink.wait_for(6);
    pipeline.feed("500", &snapshot(5));
    sink.wait_for(7);
    pipeline.feed("500.1", &snapshot(5));
    sink.wait_for(8);
    process.end();
    has_arrived(&sink, &[999, 1000, 1000, 1000, 3000, 20_000, 500, 500], &paths);
    pipeline.is_clean();
}

#[test]
fn two_pulls_of_one_second_are_two_snapshots() {
    let (paths, sink) = (paths(5), Sink::start());
    let pipeline = Pipeline::new(&sink);
    instant_haproxy(&pipeline.path("a.sock"), 5);
    pipeline.configure(&sink, &servers(&pipeline.path("a.sock")), "", "");
    // Sooner or later, two fall into one second.
    let twice = eventually("two pulls within a second", || {
        pipeline.once("pull").expect(0);
        pipeline.waiting().into_iter().find(|name| name.ends_with(".1"))
    });
    let time: u64 = twice.strip_suffix(".1").unwrap().parse().unwrap();
    pipeline.once("process").expect(0);
    assert!(sink.times().iter().filter(|told| **told == time).count() >= 2);
    assert!(sink.deliveries().iter().all(|delivery| delivery.values.keys().eq(&paths)));
    pipeline.is_clean();
}

/// Sets the clock that a command reads, while it runs: by so many seconds from the true one.
fn set_clock(path: &Path, seconds: i32) {
    fs::write(path.with_extension("new"), format!("{seconds:+}\n")).unwrap();
    fs::rename(path.with_extension("new"), path).unwrap();
}

/// What stands between a command and the clock.
fn faketime() -> PathBuf {
    let library = format!("/usr/lib/{}-linux-gnu/faketime/libfaketime.so.1", std::env::consts::ARCH);
    assert!(Path::new(&library).exists(), "{library} is missing; run: sudo apt-get install faketime");
    library.into()
}

#[test]
fn a_clock_that_is_set_back_and_on_again_costs_no_snapshot() {
    let (paths, sink) = (paths(5), Sink::start());
    let pipeline = Pipeline::new(&sink);
    instant_haproxy(&pipeline.path("a.sock"), 5);
    pipeline.configure(&sink, &servers(&pipeline.path("a.sock")), "", "");
    let (clock, library) = (pipeline.path("clock"), faketime());
    set_clock(&clock, 0);
    let variables: [(&str, &Path); 4] = [
        ("LD_PRELOAD", &library),
        ("FAKETIME_TIMESTAMP_FILE", &clock),
        ("FAKETIME_NO_CACHE", Path::new("1")),
        ("FAKETIME_DONT_FAKE_MONOTONIC", Path::new("1")),
    ];
    let pull = pipeline.start_with("pull", &[], &variables);
    let whole = |name: &String| name.split('.').next().unwrap().parse::<u64>().unwrap();
    let first = eventually("four pulls", || {
        let names = pipeline.waiting();
        (names.len() >= 4).then(|| names.iter().map(whole).min().unwrap())
    });
    set_clock(&clock, -3);
    eventually("a second that was there before", || {
        pipeline.waiting().iter().any(|name| name.ends_with(".1")).then_some(())
    });
    set_clock(&clock, -7200);
    eventually("two hours before", || {
        pipeline.waiting().iter().any(|name| whole(name) < first - 7000).then_some(())
    });
    set_clock(&clock, 7200);
    eventually("two hours after", || {
        pipeline.waiting().iter().any(|name| whole(name) > first + 7000).then_some(())
    });
    assert!(!pull.end().contains("error"));
    let mut pulled: Vec<u64> = pipeline.waiting().iter().map(whole).collect();
    pulled.sort_unstable();
    pipeline.once("process").expect(0);
    has_arrived(&sink, &pulled, &paths);
    pipeline.is_clean();
}

#[test]
fn a_second_pull_into_the_same_directory_is_refused() {
    let pipeline = Pipeline::new(&Sink::start());
    instant_haproxy(&pipeline.path("a.sock"), 3);
    pipeline.configure(&Sink::start(), &servers(&pipeline.path("a.sock")), "", "");
    let first = pipeline.start("pull");
    first.expect_log("pulling every 1s into `");
    pipeline.once("pull").expect(1).complains("error: another pull is at work in `");
    first.end();
    pipeline.once("pull").expect(0);
}

#[test]
fn a_second_process_waits_and_takes_over_when_the_first_is_killed() {
    let (paths, sink) = (paths(5), Sink::start());
    let pipeline = Pipeline::new(&sink);
    let first = pipeline.start("process");
    first.expect_log("delivering from `");
    let second = pipeline.start("process");
    second.expect_log("another process delivers from `");
    for time in 1000..1020 {
        pipeline.feed(&time.to_string(), &snapshot(5));
    }
    sink.wait_for(20);
    eventually("an empty spool", || pipeline.waiting().is_empty().then_some(()));
    assert_eq!(second.said("delivering from `"), 0);
    first.kill();
    for time in 1020..1040 {
        pipeline.feed(&time.to_string(), &snapshot(5));
    }
    sink.wait_for(40);
    second.expect_log("delivering from `");
    second.end();
    let times: Vec<u64> = (1000..1040).collect();
    has_arrived(&sink, &times, &paths);
    pipeline.is_clean();
}

#[test]
fn one_that_waits_for_the_spool_ends_by_a_signal() {
    let pipeline = Pipeline::new(&Sink::start());
    let first = pipeline.start("process");
    first.expect_log("delivering from `");
    let second = pipeline.start("process");
    second.expect_log("another process delivers from `");
    second.end();
    first.end();
}

/// One that cannot be understood: its name, what it is made of, and why it is refused.
fn bad_snapshots() -> Vec<(&'static str, Files, &'static str)> {
    let with = |change: &dyn Fn(&mut Files)| {
        let mut files = snapshot(3);
        change(&mut files);
        files
    };
    let stat =
        |change: &'static dyn Fn(&mut Vec<u8>)| with(&|files| change(files.get_mut("a.sock_stat").unwrap()));
    let cut_to = |part: &'static str| {
        with(&|files| {
            let text = files.get_mut("a.sock_stat").unwrap();
            let at = text.windows(part.len()).position(|window| window == part.as_bytes()).unwrap();
            text.truncate(at + part.len());
        })
    };
    vec![
        ("1001", cut_to("# pxna"), "a.sock_stat: no header row that begins with `# pxname,`\n"),
        ("1002", cut_to("# pxname,svname,qcur"), "a.sock_stat: row 0: it is cut off\n"),
        (
            "1003",
            cut_to("hrsp_2xx,qtime,ctime,\n"),
            "a.sock_stat: it is cut off: the empty line at its end is missing\n",
        ),
        ("1004", cut_to("front,FRONTEND,,,3"), "a.sock_stat: row 1: it is cut off\n"),
        ("1005", stat(&|text| text.truncate(text.len() - 2)), "a.sock_stat: row 5: it is cut off\n"),
        (
            "1006",
            stat(&|text| text.truncate(text.len() - 1)),
            "a.sock_stat: it is cut off: the empty line at its end is missing\n",
        ),
        (
            "1007",
            stat(&|text| text.extend(b"app,s9,\n")),
            "a.sock_stat: row 6: something follows the empty line",
        ),
        ("1008", stat(&|text| text[200] = 0xff), "a.sock_stat: it is not UTF-8 at byte 201\n"),
        ("1009", stat(&Vec::clear), "a.sock_stat: it is empty\n"),
        (
            "1010",
            with(&|files| files.get_mut("a.sock_info").unwrap().truncate(20)),
            "a.sock_info: it is cut off: ",
        ),
        (
            "1011",
            with(&|files| drop(files.insert("core".into(), vec![0]))),
            "`core` is foreign: a snapshot holds NAME_info and NAME_stat\n",
        ),
        ("1012", Files::new(), "it holds no NAME_info and no NAME_stat\n"),
    ]
}

/// Makes something else than a plain file.
type Make = fn(&Path);

#[test]
fn what_cannot_be_understood_is_set_aside_with_its_reason_and_the_others_go_on() {
    let (paths, sink) = (paths(3), Sink::start());
    let pipeline = Pipeline::new(&sink);
    let bad = bad_snapshots();
    pipeline.feed("1000", &snapshot(3));
    for (name, files, _) in &bad {
        pipeline.feed(name, files);
    }
    let fifo: Make = |path| mkfifo(path, Mode::S_IRWXU).unwrap();
    let odd: [(&str, &str, Make); 5] = [
        ("1013", "a.sock_stat", fifo),
        ("1014", "a.sock_stat", |path| symlink("/dev/zero", path).unwrap()),
        ("1015", "a.sock_stat", |path| fs::create_dir(path).unwrap()),
        ("1016", ".origin", fifo),
        ("1017", "reason", fifo),
    ];
    for (name, file, make) in odd {
        let path = pipeline.path(name);
        fs::create_dir(&path).unwrap();
        fs::write(path.join("a.sock_info"), &snapshot(3)["a.sock_info"]).unwrap();
        make(&path.join(file));
        fs::rename(path, pipeline.incoming().join(name)).unwrap();
    }
    pipeline.feed("2000", &snapshot(3));
    let process = pipeline.start("process");
    sink.wait_for(2);
    eventually("an empty spool", || pipeline.waiting().is_empty().then_some(()));
    pipeline.feed("3000", &snapshot(3));
    sink.wait_for(3);
    let count = bad.len() + odd.len();
    eventually("a word on each", || (process.said(" is of no use and now at ") == count).then_some(()));
    process.end();
    has_arrived(&sink, &[1000, 2000, 3000], &paths);

    let read =
        |name: &str, file: &str| fs::read_to_string(pipeline.quarantine().join(name).join(file)).unwrap();
    let reason = |name: &str| read(name, "reason");
    for (name, files, expected) in &bad {
        assert!(reason(name).starts_with(expected), "{name}: {}", reason(name));
        for (file, bytes) in files {
            assert!(
                fs::read(pipeline.quarantine().join(name).join(file)).unwrap() == *bytes,
                "{name}/{file}"
            );
        }
    }
    for (name, file, _) in &odd[..4] {
        assert_eq!(reason(name), format!("{file}: it is no plain file\n"));
    }
    assert!(read("1017", "reason.1").starts_with("`reason` is foreign: "));
    assert_eq!(names(&pipeline.quarantine()).len(), count);
}

#[test]
fn a_thousand_foreign_things_are_left_alone_and_said_once() {
    let (paths, sink) = (paths(3), Sink::start());
    let pipeline = Pipeline::new(&sink);
    fs::create_dir(pipeline.incoming()).unwrap();
    for number in 0..500 {
        fs::write(pipeline.incoming().join(format!("file{number}")), "mine").unwrap();
        fs::create_dir(pipeline.incoming().join(format!("{number}.d"))).unwrap();
    }
    // A link to a snapshot is none.
    pipeline.feed("1000", &snapshot(3));
    symlink("1000", pipeline.incoming().join("900")).unwrap();
    fs::write(pipeline.incoming().join("800"), "a file with the name of a snapshot").unwrap();
    let foreign: Vec<String> = pipeline.waiting().into_iter().filter(|name| name != "1000").collect();
    let process = pipeline.start("process");
    sink.wait_for(1);
    pipeline.feed("2000", &snapshot(3));
    sink.wait_for(2);
    eventually("the snapshots to be gone", || (pipeline.waiting().len() == 1002).then_some(()));
    assert_eq!(process.said("1002 things in `"), 1, "{}", process.log());
    assert_eq!(process.said("are no snapshots and left alone"), 1);
    process.end();
    assert_eq!(pipeline.waiting(), foreign);
    assert_eq!(fs::read_to_string(pipeline.incoming().join("file7")).unwrap(), "mine");
    has_arrived(&sink, &[1000, 2000], &paths);
}

#[test]
fn a_spool_that_was_taken_away_is_told_of_once_and_used_again_when_it_is_back() {
    let (paths, sink) = (paths(3), Sink::start());
    let pipeline = Pipeline::new(&sink);
    pipeline.feed("1000", &snapshot(3));
    let process = pipeline.start("process");
    sink.wait_for(1);
    eventually("an empty spool", || pipeline.waiting().is_empty().then_some(()));
    let away = pipeline.path("away");
    let missing = "incoming`: cannot be read: No such file or directory";

    // The same one comes back.
    fs::rename(pipeline.incoming(), &away).unwrap();
    process.expect_log(missing);
    for_a_while(Duration::from_millis(700), || assert!(!pipeline.incoming().exists(), "none is made"));
    assert_eq!(process.said(missing), 1, "once");
    fs::rename(&away, pipeline.incoming()).unwrap();
    process.expect_log("it can be read again");
    pipeline.feed("2000", &snapshot(3));
    sink.wait_for(2);

    // Another one comes.
    eventually("an empty spool", || pipeline.waiting().is_empty().then_some(()));
    fs::remove_dir_all(pipeline.incoming()).unwrap();
    eventually("a second word", || (process.said(missing) == 2).then_some(()));
    pipeline.feed("3000", &snapshot(3));
    sink.wait_for(3);
    eventually("an empty spool", || pipeline.waiting().is_empty().then_some(()));
    eventually("it can be read again", || (process.said("it can be read again") == 2).then_some(()));
    // It is looked at before it is locked, perhaps; what comes next is found behind both.
    pipeline.feed("3500", &snapshot(3));
    sink.wait_for(4);
    eventually("an empty spool", || pipeline.waiting().is_empty().then_some(()));
    // It is this process's alone, as the first one was.
    let other = pipeline.start("process");
    other.expect_log("another process delivers from `");
    other.end();

    // There is no directory but a file.
    fs::remove_dir_all(pipeline.incoming()).unwrap();
    fs::write(pipeline.incoming(), "").unwrap();
    process.expect_log("incoming`: cannot be read: Not a directory");
    fs::remove_file(pipeline.incoming()).unwrap();
    pipeline.feed("4000", &snapshot(3));
    sink.wait_for(5);
    process.end();
    has_arrived(&sink, &[1000, 2000, 3000, 3500, 4000], &paths);
    pipeline.is_clean();
}

#[test]
fn a_spool_that_was_taken_away_from_pull_is_told_of_and_used_again_when_it_is_back() {
    let pipeline = Pipeline::new(&Sink::start());
    instant_haproxy(&pipeline.path("a.sock"), 3);
    pipeline.configure(&Sink::start(), &servers(&pipeline.path("a.sock")), "", "");
    let pull = pipeline.start("pull");
    eventually("a snapshot", || (!pipeline.waiting().is_empty()).then_some(()));
    let away = pipeline.path("away");
    for (directory, complaint) in [
        (pipeline.incoming(), "incoming`: cannot be read: No such file"),
        (pipeline.tmp(), "`: cannot be made: No such file"),
    ] {
        fs::rename(&directory, &away).unwrap();
        pull.expect_log(complaint);
        fs::rename(&away, &directory).unwrap();
        let count = pipeline.waiting().len();
        eventually("another snapshot", || (pipeline.waiting().len() > count).then_some(()));
    }
    assert_eq!(pull.end().matches("pulls are whole again").count(), 2);
}

// --- HAProxy

#[test]
fn an_haproxy_that_hangs_costs_a_pull_no_more_than_its_time() {
    let directory = tempfile::tempdir().unwrap();
    let haproxy = Haproxy::start(directory.path(), &["web1 127.0.0.1:1"]);
    let pipeline = Pipeline::new(&Sink::start());
    pipeline.configure(&Sink::start(), &format!("{}\npull-timeout = 1", servers(&haproxy.socket)), "", "");
    haproxy.signal_worker(Signal::SIGSTOP);
    let pull = pipeline.start("pull");
    pull.expect_log("show info and show stat: no complete reply within 1s (0 bytes so far)");
    assert_eq!(pipeline.waiting(), [""; 0]);
    haproxy.signal_worker(Signal::SIGCONT);
    pull.expect_log("pulls are whole again");
    eventually("a snapshot", || (!pipeline.waiting().is_empty()).then_some(()));
    pull.end();
    assert_eq!(names(&pipeline.tmp()), [""; 0]);
}

#[test]
fn what_haproxy_does_not_give_whole_is_no_snapshot() {
    let pipeline = Pipeline::new(&Sink::start());
    let fake = FakeHaproxy::start(pipeline.directory());
    let files = snapshot(100);
    let (info, stat) = (files["a.sock_info"].clone(), files["a.sock_stat"].clone());
    // Nobody ever listens there.
    let deserted = pipeline.path("deserted.sock");
    let silent = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    bind(silent.as_raw_fd(), &UnixAddr::new(&deserted).unwrap()).unwrap();
    let pull = |path: &Path| {
        pipeline.configure(&Sink::start(), &servers(path), "", "");
        let run = pipeline.once("pull").expect(1);
        assert_eq!((pipeline.waiting(), names(&pipeline.tmp())), (vec![], vec![]), "{run:?}");
        run
    };
    pull(&deserted).complains("show info and show stat: cannot connect: Connection refused (os error 111)");
    pull(&PathBuf::from("/no/such.sock"))
        .complains("show info and show stat: cannot connect: No such file or directory");
    fake.on("show info", [Act::Reply(info.clone())]);
    for (act, complaint) in [
        (Act::Reply(stat[..1000].to_vec()), "show stat: the reply is cut off after 1000 bytes"),
        (Act::Reply(stat[..stat.len() - 1].to_vec()), "show stat: the reply is cut off after "),
        (Act::Reply(vec![]), "show stat: the connection was closed without a reply"),
        (
            Act::Reply(b"Permission denied\n\n".to_vec()),
            "the reply begins with `Permission denied` and not with",
        ),
        (Act::Flood(65 << 20), "show stat: the reply is longer than 67108864 bytes"),
    ] {
        fake.on("show stat", [act]);
        pull(&fake.path)
            .complains(complaint)
            .complains(&format!("nothing kept: haproxy unix://{}", fake.path.display()));
    }
    // What fails once is asked for again.
    fake.on("show stat", [Act::Reply(stat[..1000].to_vec()), Act::Reply(stat.clone())]);
    let retry = format!("servers = unix://{}\nretries = 1\ninterval = 0.01", fake.path.display());
    pipeline.configure(&Sink::start(), &retry, "", "");
    pipeline.once("pull").expect(0);
    assert_eq!(pipeline.files(&pipeline.wait_for(1)[0])["fake.sock_stat"], stat);
}

// --- size

/// KiB; a snapshot of 10,000 servers is half a MiB of text here, and a few MiB of sums.
const MOST_MEMORY: u64 = 64 * 1024;

#[test]
fn memory_does_not_grow_with_the_number_of_snapshots_of_ten_thousand_servers() {
    const SNAPSHOTS: usize = 50;
    let sink = Sink::counting();
    let pipeline = Pipeline::new(&sink);
    pipeline.configure(&sink, "", "workers = 1", "");
    let files = snapshot(10_000);
    for number in 0..SNAPSHOTS {
        pipeline.feed(&(1000 + number).to_string(), &files);
    }
    let process = pipeline.start("process");
    // A few at a time: how long all of them take is the machine's affair.
    for count in (5..=SNAPSHOTS).step_by(5) {
        sink.wait_for(count);
    }
    eventually("an empty spool", || pipeline.waiting().is_empty().then_some(()));
    let peak = process.memory("VmHWM");
    eprintln!("{SNAPSHOTS} snapshots of 10,000 servers: a peak of {peak} KiB");
    process.end();
    assert!(peak < MOST_MEMORY, "{peak} KiB");
    pipeline.is_clean();
    assert_eq!(sink.times(), (1000..1050).collect::<Vec<u64>>());
    let counts = sink.counts();
    assert!(counts.iter().all(|count| *count == counts[0]) && counts[0] > 100_000, "{counts:?}");
}
