//! What monitoring is told: `check --spool` with a spool, and the definitions in `contrib/nagios/` with the command line.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Parser;
use regex::Regex;
use supervisor_haproxy::cli::Args;
use supervisor_haproxy::stats::Spool;

use crate::recipes::{read, words};
use crate::support::{Daemon, Pipeline, Run, Sink, eventually};
#[cfg(feature = "web")]
use crate::support::{Running, free_port};

/// A spool that got snapshots so many seconds ago.
struct World {
    directory: tempfile::TempDir,
    spool: Spool,
}

impl World {
    fn with(ages: &[u64]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let spool = Spool::open(&path("incoming"), &path("incoming.tmp")).unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        for age in ages {
            spool.add(spool.draft(now - age).unwrap()).unwrap();
        }
        Self { directory, spool }
    }

    #[track_caller]
    fn check(&self, options: &[&str]) -> Run {
        Run::of(self.directory.path(), &[&["check", "--spool", "incoming"], options].concat())
    }

    /// As if nothing had come or gone for as long.
    fn rest(&self, length: Duration) {
        let directory = fs::File::open(self.directory.path().join("incoming")).unwrap();
        directory.set_modified(SystemTime::now() - length).unwrap();
    }
}

/// Nagios' line, with figures that pass while the test does in the place of seconds.
fn line(run: &Run) -> String {
    assert_eq!((run.out.lines().count(), run.err.as_str()), (1, ""), "{run:?}");
    Regex::new(r"\b\d+s\b").unwrap().replace_all(run.out.trim_end(), "Ns").into_owned()
}

#[test]
fn a_queue_that_flows_is_ok_with_figures_and_their_limits() {
    let world = World::with(&[10, 0]);
    let run = world.check(&["--nagios"]).expect(0);
    assert_eq!(
        line(&run),
        "SPOOL OK - 2 snapshots wait, the oldest for Ns | \
         'waiting'=2;30;180 'oldest'=Ns;300;1800 'idle'=Ns;300;1800 'quarantine'=0;0"
    );
    let run = World::with(&[]).check(&["--nagios"]).expect(0);
    assert!(
        line(&run).starts_with("SPOOL OK - nothing waits in `incoming` | 'waiting'=0;30;180 "),
        "{run:?}"
    );
}

#[test]
fn a_queue_that_grows_is_a_warning_and_then_critical() {
    let world = World::with(&[20, 10, 0]);
    let run = world.check(&["--nagios", "--warning", "2"]).expect(1);
    assert!(
        line(&run).starts_with("SPOOL WARNING - queue: 3 snapshots wait; does `process` run? Its log tells "),
        "{run:?}"
    );
    let run = world.check(&["--nagios", "--warning", "1", "--critical", "2"]).expect(2);
    assert!(line(&run).starts_with("SPOOL CRITICAL - queue: 3 snapshots wait; "), "{run:?}");
    assert!(line(&run).contains("'waiting'=3;1;2 "), "{run:?}");
}

#[test]
fn one_old_snapshot_is_enough() {
    let world = World::with(&[3000, 0]);
    let run = world.check(&["--nagios", "--critical-age", "6000"]).expect(1);
    assert!(line(&run).starts_with("SPOOL WARNING - oldest snapshot: waits for 50m"), "{run:?}");
    world.check(&["--nagios"]).expect(2).says("SPOOL CRITICAL - oldest snapshot: waits for 50m");
}

#[test]
fn an_empty_queue_to_which_nothing_comes_is_not_well() {
    let world = World::with(&[]);
    world.rest(Duration::from_secs(600));
    let run = world.check(&["--nagios"]).expect(1);
    assert!(
        line(&run).starts_with("SPOOL WARNING - arrivals: no snapshot has come or gone for 10m"),
        "{run:?}"
    );
    world.rest(Duration::from_secs(7200));
    world.check(&["--nagios"]).expect(2).says("SPOOL CRITICAL - arrivals: ");
}

#[test]
fn what_was_set_aside_is_a_warning_until_it_is_allowed() {
    let world = World::with(&[20, 10]);
    let oldest = world.spool.snapshots().unwrap().remove(0);
    world.spool.set_aside(&oldest, "a_stat: row 3: it is cut off").unwrap();
    let run = world.check(&["--nagios"]).expect(1);
    assert!(
        line(&run).starts_with("SPOOL WARNING - quarantine: has 1, of which nothing was sent; "),
        "{run:?}"
    );
    world.check(&["--nagios", "--allow-quarantine", "1"]).expect(0).says("'quarantine'=1;1");
}

#[test]
fn people_and_programs_are_told_the_same() {
    let world = World::with(&[3000]);
    let run = world.check(&[]).expect(2);
    let run =
        run.has_row(&["ok", "queue", "1", "snapshot", "waits"]).has_row(&["ok", "quarantine", "is", "empty"]);
    run.has_row(&["fail", "oldest", "snapshot", "waits", "for"])
        .has_row(&["ok", "arrivals", "a", "snapshot"]);
    let json = world.check(&["--json"]).expect(2).json();
    assert_eq!((&json["level"], &json["counts"]["waiting"]), (&"fail".into(), &1.into()), "{json}");
    assert!(json["counts"]["oldest"].as_u64().is_some_and(|age| age >= 3000), "{json}");
}

#[test]
fn what_cannot_be_told_is_unknown_and_nothing_is_made() {
    let world = World::with(&[]);
    let unknown = |arguments: &[&str]| {
        let run = Run::of(world.directory.path(), &[&["check", "--nagios"], arguments].concat()).expect(3);
        line(&run)
    };
    assert_eq!(
        unknown(&["--spool", "none"]),
        "SPOOL UNKNOWN - `none`: cannot be read: No such file or directory (os error 2)"
    );
    assert!(!world.directory.path().join("none").exists());
    assert_eq!(
        unknown(&["--spool", "incoming", "--warning", "200"]),
        "SPOOL UNKNOWN - --critical 180 is below --warning 200; expected as many or more"
    );
    world.check(&["--socket", "/h.sock"]).expect(2).complains("cannot be used with");
    Run::of(world.directory.path(), &["check", "--warning", "3"]).expect(2).complains("--spool <DIR>");
}

#[test]
fn an_old_queue_is_critical_until_process_has_taken_it() {
    let sink = Sink::start();
    let pipeline = Pipeline::new(&sink);
    fs::create_dir_all(pipeline.incoming().join("1457298060")).unwrap();
    let run = Run::of(pipeline.directory(), &["check", "--nagios", "--spool", "incoming"]).expect(2);
    assert!(line(&run).starts_with("SPOOL CRITICAL - oldest snapshot: waits for "), "{run:?}");
    // An empty one is of no use, and set aside.
    let _process: Daemon = pipeline.start("process");
    eventually("an empty queue", || {
        let run = Run::of(
            pipeline.directory(),
            &["check", "--nagios", "--spool", "incoming", "--allow-quarantine", "1"],
        );
        (run.code == 0 && run.out.contains("'waiting'=0;")).then_some(())
    });
}

#[cfg(feature = "web")]
#[test]
fn a_serve_that_answers_is_ok_and_one_that_is_gone_is_critical() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let (listen, url) = (format!("127.0.0.1:{port}"), format!("http://127.0.0.1:{port}/"));
    let words = ["serve", "--listen", &listen, "--socket", "/nowhere.sock", "--history", "off"];
    let serve = Running::start(directory.path(), &words);
    let check =
        |options: &[&str]| Run::of(directory.path(), &[&["check", "--serve", &url], options].concat());
    // That HAProxy does not answer is another matter.
    eventually("an answer", || (check(&[]).code == 0).then_some(()));
    let run = check(&["--nagios"]).expect(0);
    let shown = format!("SERVE OK - http://127.0.0.1:{port} answers | 'time'=");
    assert!(line(&run).starts_with(&shown), "{run:?}");
    drop(serve);
    let run = check(&["--nagios"]).expect(2);
    let shown = format!("SERVE CRITICAL - serve: http://127.0.0.1:{port}/healthz: ");
    assert!(line(&run).starts_with(&shown) && line(&run).contains("Connection refused"), "{run:?}");
    let run = Run::of(directory.path(), &["check", "--nagios", "--serve", "127.0.0.1:8000"]).expect(3);
    assert_eq!(
        line(&run),
        "SERVE UNKNOWN - --serve 127.0.0.1:8000: expected `http://HOST:PORT/PATH` or `https://HOST:PORT/PATH`"
    );
}

// --- the definitions

/// What `contrib/nagios/` has Nagios and NRPE run, with the arguments of the services.
fn commands() -> Vec<String> {
    let definitions = read("contrib/nagios/commands.cfg");
    let value = |line: &str, key: &str| Some(line.trim().strip_prefix(key)?.trim().to_owned());
    let of = |key: &str| definitions.lines().filter_map(|line| value(line, key)).collect::<Vec<_>>();
    let lines: Vec<(String, String)> = of("command_name ").into_iter().zip(of("command_line ")).collect();
    let filled = of("check_command ").into_iter().map(|call| {
        let mut arguments = call.split('!');
        let name = arguments.next().unwrap();
        let (_, line) = lines.iter().find(|(known, _)| known == name).unwrap_or_else(|| panic!("no {name}"));
        arguments.enumerate().fold(line.clone(), |line, (at, argument)| {
            let macro_name = format!("$ARG{}$", at + 1);
            assert!(line.contains(&macro_name), "{name} takes no {macro_name}");
            line.replace(&macro_name, argument)
        })
    });
    let nrpe = read("contrib/nagios/nrpe.cfg");
    let nrpe =
        nrpe.lines().filter(|line| line.starts_with("command[")).map(|line| line.split_once('=').unwrap().1);
    filled.chain(nrpe.map(str::to_owned)).collect()
}

#[test]
fn nagios_runs_commands_that_there_are() {
    let commands = commands();
    assert_eq!(commands.len(), 4, "{commands:?}");
    for command in commands {
        assert!(
            command.starts_with("/usr/bin/supervisor-haproxy check --nagios ") && !command.contains('$'),
            "{command}"
        );
        if let Err(error) = Args::try_parse_from(words(&command)) {
            panic!("{command}\n{error}");
        }
    }
}

#[test]
fn icinga_passes_options_that_there_are() {
    let text = read("contrib/nagios/icinga2.conf");
    let options = Regex::new("\"(--[a-z-]+)\" =").unwrap();
    let names = Regex::new("\"\\$([a-z_]+)\\$\"").unwrap();
    let objects: Vec<&str> = text.split("\nobject CheckCommand ").skip(1).collect();
    assert_eq!(objects.len(), 2);
    for object in objects {
        let mut command = "supervisor-haproxy check --nagios".to_owned();
        for option in options.captures_iter(object.split("\napply ").next().unwrap()) {
            command += &[" ", &option[1], " 9000"].concat();
        }
        assert!(command.contains(" 9000"), "{object}");
        if let Err(error) = Args::try_parse_from(words(&command)) {
            panic!("{command}\n{error}");
        }
        // What is asked for is what the command line has as a variable.
        assert!(
            names.captures_iter(object).all(|name| name[1].starts_with("supervisor_haproxy_")),
            "{object}"
        );
    }
}
