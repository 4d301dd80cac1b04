//! `config` and `routes` with a real HAProxy in master-worker mode, and requests through it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use supervisor_haproxy::config_change::{Routes, Target};

use crate::support::{Disk, Master, Run, eventually, free_port, web_server};

const NONE: BTreeMap<String, usize> = BTreeMap::new();

/// What the main file says where there is no route, and what HAProxy says.
#[track_caller]
fn in_force(master: &Master) -> String {
    let text = master.main_file();
    let word = text.lines().find_map(|line| line.split(" string ").nth(1)).unwrap();
    let word = word.split(' ').next().unwrap().to_owned();
    assert_eq!(master.get("nobody.example"), Ok(word.clone()), "the file and HAProxy differ");
    assert_eq!(text, master.configuration(&word), "half a file");
    word
}

/// Nothing of a change lies about.
#[track_caller]
fn nothing_is_left(master: &Master) {
    let directories = ["", "routes", "haproxy.cfg.history"].map(|name| master.path(name));
    let entries = directories.iter().filter_map(|path| fs::read_dir(path).ok()).flatten();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let is_left = |name: &String| {
        name.starts_with('.') || ["change.json", "undo.json", "next.json"].contains(&name.as_str())
    };
    let left: Vec<String> = names.filter(is_left).collect();
    assert_eq!(left, Vec::<String>::new());
}

fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

// --- routes

#[test]
fn two_hundred_changes_of_routes_lose_no_request() {
    let master = Master::start();
    let (steady, other) = (url(web_server("steady")), web_server("other"));
    master.run(&["routes", "add", "steady.example", &steady]).expect(0).says("HAProxy was reloaded");
    let traffic = master.traffic(3, "steady.example", "steady");
    let begun = Instant::now();
    for turn in 0..50 {
        let host = format!("h{turn}.example");
        // Four changes: two with a reload, since a backend comes or goes, and two without.
        let other = format!("http://localhost:{other}");
        let changes: [(&[&str], &str, &str); 4] = [
            (&["add", &host, &other], "other", "HAProxy was reloaded"),
            (&["add", &host, &steady, "--replace"], "steady", "HAProxy was reloaded"),
            (&["remove", &host], "one", "no reload was needed"),
            (&["add", &host, &steady], "steady", "no reload was needed"),
        ];
        for (arguments, word, how) in changes {
            master.run(&[&["routes"], arguments].concat()).expect(0).says(how);
            assert_eq!(master.get(&host), Ok(word.into()), "{turn}: {arguments:?}");
        }
    }
    let took = begun.elapsed();
    let (requests, failures) = traffic.stop();
    assert_eq!(failures, NONE, "of {requests} requests");
    assert!(requests > 200, "{requests} requests");
    eprintln!("200 changes of routes in {took:.1?}, beside {requests} requests");
    master.run(&["routes", "list"]).expect(0).has_row(&["h49.example", &steady]);
    nothing_is_left(&master);
}

#[test]
fn a_route_that_needs_no_new_backend_is_added_and_removed_without_a_reload() {
    let master = Master::start();
    let app = url(web_server("app"));
    assert_eq!(master.get("A.example:8080"), Ok("one".into()));
    let run = master.run(&["routes", "add", "a.example", &app]).expect(0);
    assert_eq!(run.out, format!("`a.example` goes to {app}, as version 2; HAProxy was reloaded\n"));
    let worker = master.worker();
    let run = master.run(&["routes", "add", "B.Example", &app]).expect(0);
    assert_eq!(run.out, format!("`b.example` goes to {app}, as version 3; no reload was needed\n"));
    assert_eq!(master.get("b.EXAMPLE:8080"), Ok("app".into()));
    master.run(&["routes", "add", "b.example", &app]).expect(0).says("already; nothing was changed");
    master.run(&["routes", "remove", "a.example"]).expect(0).says("no reload was needed");
    assert_eq!((master.get("a.example"), master.worker()), (Ok("one".into()), worker.clone()));
    // A reload finds the same.
    master.run(&["config", "apply", &master.candidate("two")[..], "--to", "haproxy.cfg"]).expect(0);
    assert_ne!(master.worker(), worker);
    assert_eq!((master.get("b.example"), master.get("a.example")), (Ok("app".into()), Ok("two".into())));

    master
        .run(&["routes", "remove", "a.example"])
        .expect(4)
        .complains("error: `a.example` is not routed; `supervisor-haproxy routes list` shows what is");
    master
        .run(&["routes", "add", "b.example", "http://127.0.0.1:1"])
        .expect(4)
        .complains(&format!("error: `b.example` is routed to {app} already; pass --replace"));
}

#[test]
fn routes_are_listed_with_a_version_that_a_change_can_ask_for() {
    let master = Master::start();
    let app = url(web_server("app"));
    let empty = master.run(&["routes", "list", "--json"]).expect(0).json();
    assert_eq!(empty["routes"].as_array().unwrap().len(), 0);
    let tag = empty["version"].as_str().unwrap();
    master.run(&["routes", "add", "a.example", &app, "--check", "/up", "--if-match", tag]).expect(0);
    let json = master.run(&["routes", "list", "--json"]).expect(0).json();
    assert_eq!(json["routes"][0], serde_json::json!({"host": "a.example", "url": app, "check": "/up"}));
    assert_ne!(json["version"], empty["version"]);
    master
        .run(&["routes", "remove", "a.example", "--if-match", tag])
        .expect(4)
        .complains("the routes are at version");
    let run = master.run(&["routes", "list"]).expect(0).has_row(&["HOST", "URL", "CHECK"]);
    assert_eq!((run.out.lines().count(), run.err.as_str()), (2, ""), "{run:?}");
    run.has_row(&["a.example", &app, "/up"]);
}

#[test]
fn a_running_map_that_differs_from_its_file_is_told_and_put_right() {
    let master = Master::start();
    let app = url(web_server("app"));
    master.run(&["routes", "add", "a.example", &app]).expect(0);
    master.run(&["routes", "add", "b.example", &app]).expect(0);
    let map = master.path("routes/hosts.map").display().to_string();
    // As a command leaves it that was killed between the file and HAProxy.
    master.ask(&format!("del map {map} a.example"));
    master.ask(&format!("add map {map} c.example nowhere"));
    master.ask(&format!("set map {map} b.example nowhere"));
    master
        .run(&["routes", "list"])
        .expect(0)
        .complains("the map of the running HAProxy is another one than its file");
    master.run(&["routes", "add", "a.example", &app]).expect(0).says("nothing was changed");
    assert_eq!((master.get("a.example"), master.get("b.example")), (Ok("app".into()), Ok("app".into())));
    assert!(!master.ask(&format!("show map {map}")).contains("c.example"));
    assert_eq!(master.run(&["routes", "list"]).expect(0).err, "");
}

#[test]
fn a_map_that_haproxy_does_not_use_and_files_it_does_not_read_are_explained() {
    let master = Master::start();
    let routes = master.path("elsewhere").display().to_string();
    fs::create_dir(&routes).unwrap();
    let options = ["--routes", &routes];
    master
        .begin_with(&["routes", "add", "a.example", "http://127.0.0.1:1"], &options)
        .wait()
        .expect(4)
        .complains("HAProxy is not started with `");
    let main = master.path("haproxy.cfg").display().to_string();
    let backends = format!("{routes}/backends.cfg");
    let options = ["--routes", &routes, "-f", &main, "-f", &backends];
    master
        .begin_with(&["routes", "add", "a.example", "http://127.0.0.1:1"], &options)
        .wait()
        .expect(4)
        .complains(&format!("HAProxy does not use the map {routes}/hosts.map: add"))
        .complains(&format!("use_backend %[req.hdr(host),lower,field(1,:),map({routes}/hosts.map)]"));
}

#[test]
fn routes_that_were_changed_by_hand_are_not_overwritten() {
    let master = Master::start();
    let app = url(web_server("app"));
    master.run(&["routes", "add", "a.example", &app]).expect(0);
    let path = master.path("routes/backends.cfg");
    let mine = fs::read_to_string(&path)
        .unwrap()
        .replace("    mode http\n", "    mode http\n    timeout server 1s\n");
    fs::write(&path, &mine).unwrap();
    master
        .run(&["routes", "add", "b.example", &app])
        .expect(4)
        .complains("line 5 of the backends is not what `routes` writes: `    timeout server 1s`");
    assert_eq!(fs::read_to_string(&path).unwrap(), mine);
}

#[test]
fn no_word_smuggles_a_directive_in() {
    let master = Master::start();
    let before = ["routes/backends.cfg", "routes/hosts.map"].map(|name| fs::read(master.path(name)).unwrap());
    for host in
        ["a b", "a\nb c", "a\rb", "a;b", "a\\", "#a", "a:80", "*.a", "", "ä.example", "a\tb", "a'b", "a\"b"]
    {
        master.run(&["routes", "add", host, "http://127.0.0.1:1"]).expect(2).complains("error: HOST `");
    }
    for url in [
        "http://a:1\n    server b c:1",
        "http://a:1 check",
        "http://a:1#",
        "http://a/x",
        "http://$HOME:1",
        "ftp://a:1",
    ] {
        master.run(&["routes", "add", "a.example", url]).expect(2).complains("error: URL `");
    }
    for check in ["/a b", "/\n    server b c:1", "/#", "/\"", "/%[env(x)]", "/$HOME", "health"] {
        let words = ["routes", "add", "a.example", "http://127.0.0.1:1", "--check", check];
        master.run(&words).expect(2).complains("error: --check `");
    }
    assert_eq!(
        before,
        ["routes/backends.cfg", "routes/hosts.map"].map(|name| fs::read(master.path(name)).unwrap())
    );
}

#[test]
fn whatever_is_accepted_is_accepted_by_haproxy_too() {
    let master = Master::start();
    let files = ["haproxy.cfg", "routes/backends.cfg"].map(|name| master.path(name));
    let mut runner =
        TestRunner::new(ProptestConfig { cases: 12, failure_persistence: None, ..Default::default() });
    let outcome = runner.run(&prop::collection::vec(accepted(), 1..30), |list| {
        let mut routes = Routes::default();
        for (host, url, check) in list {
            let check = check.map(|path| path.parse().unwrap());
            routes.add(host.parse().unwrap(), Target::new(&url, check).unwrap(), true).unwrap();
        }
        let texts = routes.texts();
        fs::write(&files[1], texts.backends).unwrap();
        fs::write(master.path("routes/hosts.map"), texts.map).unwrap();
        let output = Command::new(master.path("haproxy"))
            .arg("-c")
            .args(files.each_ref().map(|f| ["-f".into(), f.clone()]).concat())
            .output();
        let output = output.unwrap();
        prop_assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    });
    outcome.unwrap();
}

/// Addresses only: HAProxy looks names up.
fn accepted() -> impl Strategy<Value = (String, String, Option<String>)> {
    let url = "http://(127\\.[0-9]\\.[1-9][0-9]\\.[1-9]|\\[::[1-9a-f]{1,4}(:[1-9a-f]{1,4})?\\])(:[1-9][0-9]{0,3})?/?";
    ("[a-zA-Z0-9]{1,9}([.][a-z0-9_]{1,9}){0,3}", url, prop::option::of("/[a-zA-Z0-9/._~?=&+,:@-]{0,40}"))
}

// --- changes that work, and those that do not

#[test]
fn a_change_is_checked_reloaded_and_kept_and_can_be_rolled_back() {
    let master = Master::start();
    let worker = master.worker();
    let main = master.path("haproxy.cfg").display().to_string();
    let run = master.run(&["config", "apply", &master.candidate("two"), "--to", &main]).expect(0);
    assert_eq!(run.out, format!("`{main}` is in force, as version 2; HAProxy was reloaded\n"));
    assert_eq!(in_force(&master), "two");
    assert_ne!(master.worker(), worker);
    master
        .run(&["config", "apply", &master.candidate("two"), "--to", &main])
        .expect(0)
        .says("nothing was changed");
    master.run(&["config", "apply", &master.candidate("three"), "--to", &main]).expect(0);

    let run = master.run(&["config", "history"]).expect(0).has_row(&["3", "*"]).omits("\x1b");
    let rows: Vec<Vec<&str>> = run.out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["VERSION", "TIME", "BY", "WHAT", "FILES", "SIZE", "DIGEST", "NOTE"]);
    assert_eq!((rows.len(), rows[1][0], rows[2][0], rows[3][0]), (4, "3", "2", "1"), "{run:?}");
    let json = master.run(&["config", "history", "--json"]).expect(0).json();
    assert_eq!(
        (&json[0]["number"], &json[0]["what"], &json[0]["current"]),
        (&3.into(), &"apply".into(), &true.into())
    );
    assert!(json[0]["by"].as_str().unwrap().contains("(pid ") && json[0]["at"].is_u64(), "{json}");
    assert_eq!(json[2]["what"], "found");

    master
        .run(&["config", "rollback"])
        .expect(0)
        .says("the configuration of version 2 is in force, as version 4");
    assert_eq!(in_force(&master), "two");
    master.run(&["config", "rollback", "1"]).expect(0).says("the configuration of version 1 is in force");
    assert_eq!(in_force(&master), "one");
    master
        .run(&["config", "rollback", "77"])
        .expect(4)
        .complains("there is no version 77; there are 1, 2, 3, 4, 5");
    nothing_is_left(&master);
}

#[test]
fn several_files_are_one_change() {
    let master = Master::start();
    let app = url(web_server("app"));
    master.run(&["routes", "add", "a.example", &app]).expect(0);
    let backends = fs::read_to_string(master.path("routes/backends.cfg")).unwrap();
    // Each is valid only beside the other.
    let main = master.configuration("two").replace("default_backend fallback", "default_backend more");
    fs::write(master.path("main"), main).unwrap();
    fs::write(
        master.path("more"),
        backends + "\nbackend more\n    http-request return status 200 content-type text/plain string more if TRUE\n",
    )
    .unwrap();
    let (targets, worker) = (["haproxy.cfg", "routes/backends.cfg"], master.worker());
    let one = ["config", "apply", "main", "--to", targets[0]];
    master.run(&one).expect(4).complains("unable to find required default_backend: 'more'");
    let both = ["config", "apply", "main", "more", "--to", targets[0], "--to", targets[1]];
    let run =
        master.run(&both).expect(0).says("haproxy.cfg`, `").says("backends.cfg` are in force, as version 3");
    assert_eq!((run.out.lines().count(), master.get("nobody.example")), (1, Ok("more".into())), "{run:?}");
    assert_ne!(master.worker(), worker);
    master.run(&both).expect(0).says("already; nothing was changed");
    master.run(&["config", "rollback"]).expect(0).says("the configuration of version 2 is in force");
    assert_eq!(master.get("nobody.example"), Ok("one".into()));
    nothing_is_left(&master);

    master
        .run(&["config", "apply", "main", "more", "--to", targets[0]])
        .expect(2)
        .complains("2 FILE need as many --to");
    let twice = ["config", "apply", "main", "more", "--to", targets[0], "--to", targets[0]];
    master.run(&twice).expect(2).complains("haproxy.cfg` is there twice");
    let stdin = ["config", "apply", "-", "-", "--to", targets[0], "--to", targets[1]];
    master.run(&stdin).expect(2).complains("stdin can be one file only");
}

#[test]
fn an_invalid_change_leaves_what_runs_untouched() {
    let master = Master::start();
    let (worker, main) = (master.worker(), master.path("haproxy.cfg").display().to_string());
    let traffic = master.traffic(1, "nobody.example", "one");
    fs::write(master.path("wrong"), master.configuration("two") + "    frobnicate\n").unwrap();
    let line = master.configuration("two").lines().count() + 1;
    let expected = format!("parsing [{main}:{line}] : unknown keyword 'frobnicate'");
    master
        .run(&["config", "validate", "wrong", "--to", &main])
        .expect(1)
        .complains("unknown keyword 'frobnicate'");
    master
        .run(&["config", "apply", "wrong", "--to", &main])
        .expect(4)
        .complains("error: nothing was changed: HAProxy does not accept it:")
        .complains(&expected);
    assert_eq!((in_force(&master), master.worker()), ("one".into(), worker));
    assert_eq!(traffic.stop().1, NONE);
    nothing_is_left(&master);
    master.run(&["config", "validate"]).expect(0).says("valid");
    let good = master.candidate("two");
    master.run(&["config", "validate", &good, "--to", &main]).expect(0).says("valid");
    assert_eq!(in_force(&master), "one");
}

#[test]
fn what_is_valid_and_fails_at_the_reload_is_put_back() {
    let master = Master::start();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let bind =
        format!("frontend more\n    bind {}\n    default_backend fallback\n", taken.local_addr().unwrap());
    fs::write(master.path("more"), master.configuration("two") + &bind).unwrap();
    master.run(&["config", "validate", "more", "--to", "haproxy.cfg"]).expect(0);
    let run = master.run(&["config", "apply", "more", "--to", "haproxy.cfg"]).expect(1);
    let run = run
        .complains("error: the reload failed")
        .complains("the configuration of before is back in its place and in force");
    if master.ask("show info").contains("Version: 3.") {
        run.complains("cannot bind socket");
    }
    assert_eq!(in_force(&master), "one");
    nothing_is_left(&master);
    let json = master.run(&["config", "history", "--json"]).expect(0).json();
    assert_eq!(json.as_array().unwrap().len(), 1, "what never worked is no version: {json}");
    master.run(&["config", "apply", &master.candidate("two"), "--to", "haproxy.cfg"]).expect(0);
    assert_eq!(in_force(&master), "two");
}

#[test]
fn each_way_to_reload_works_and_the_first_that_leads_anywhere_is_taken() {
    let master = Master::start();
    let pid_file = master.path("the-pid").display().to_string();
    fs::write(&pid_file, master.pid()).unwrap();
    let (pid, command) = (master.pid(), master.reload_command());
    let nowhere = master.path("nowhere.sock").display().to_string();
    let ways: [(&str, &[&str]); 4] = [
        ("two", &["--pid-file", &pid_file]),
        ("three", &["--master-pid", &pid]),
        ("four", &["--reload-command", &command]),
        ("five", &["--master-socket", &nowhere, "--pid-file", &nowhere, "--reload-command", &command]),
    ];
    for (word, way) in ways {
        let candidate = master.candidate(word);
        master.begin_with(&["config", "apply", &candidate, "--to", "haproxy.cfg"], way).wait().expect(0);
        assert_eq!(in_force(&master), word);
    }
    let candidate = master.candidate("six");
    master
        .begin_with(&["config", "apply", &candidate, "--to", "haproxy.cfg"], &["--master-socket", &nowhere])
        .wait()
        .expect(5)
        .complains("HAProxy cannot be reloaded: master unix://")
        .complains("BUT HAPROXY DID NOT TAKE IT");
    assert_eq!(in_force(&master), "five");
    master.run(&["config", "recover"]).expect(0).says("is undone");
    nothing_is_left(&master);
}

#[test]
fn a_master_that_does_not_hear_yet_is_waited_for() {
    let master = Master::start();
    // One that replaces itself ignores the signal for a while. This one takes its time, and passes on what it hears.
    fs::create_dir(master.path("busy")).unwrap();
    let busy = master.script(
        "busy/haproxy",
        &format!(
            "trap '' USR2; sleep 2; trap '{}' USR2; while test -e haproxy.cfg; do sleep 0.1; done",
            master.reload_command()
        ),
    );
    let mut busy = Command::new(busy).current_dir(master.path("")).stdout(Stdio::null()).spawn().unwrap();
    let name = format!("/proc/{}/comm", busy.id());
    eventually("its name", || (fs::read_to_string(&name).ok()? == "haproxy\n").then_some(()));
    let (candidate, pid) = (master.candidate("two"), busy.id().to_string());
    master
        .begin_with(&["config", "apply", &candidate, "--to", "haproxy.cfg"], &["--master-pid", &pid])
        .wait()
        .expect(0);
    assert_eq!(in_force(&master), "two");
    busy.kill().unwrap();
    busy.wait().unwrap();
}

#[test]
fn a_worker_is_no_master() {
    let master = Master::start();
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", master.pid())).unwrap();
    let worker = children.split_whitespace().next().unwrap();
    let candidate = master.candidate("two");
    let apply = ["config", "apply", &candidate, "--to", "haproxy.cfg"];
    let why = format!("process {worker} does not take SIGUSR2, so it is no master process (`haproxy -W`)");
    master.begin_with(&apply, &["--master-pid", worker]).wait().expect(5).complains(&why);
    master.run(&["config", "recover"]).expect(0).says("is undone");
    assert_eq!(in_force(&master), "one");
}

#[test]
fn where_no_haproxy_answers_nothing_is_begun() {
    let master = Master::start();
    let nowhere = master.path("nowhere.sock").display().to_string();
    let candidate = master.candidate("two");
    master
        .begin_with(&["config", "apply", &candidate, "--to", "haproxy.cfg"], &["--socket", &nowhere])
        .wait()
        .expect(4)
        .complains("nothing was changed: haproxy unix://")
        .complains("start HAProxy, or pass --socket");
    assert_eq!(in_force(&master), "one");
}

// --- kill -9

/// Runs `apply` of `word`, which is killed by what it calls.
#[track_caller]
fn killed(master: &Master, word: &str, options: &[&str]) {
    let candidate = master.candidate(word);
    let run = master.begin_with(&["config", "apply", &candidate, "--to", "haproxy.cfg"], options).wait();
    assert_eq!((run.code, run.out.as_str()), (-1, ""), "{run:?}");
}

#[test]
fn killed_while_haproxy_checks_the_old_configuration_stays() {
    let master = Master::start();
    let suicide = master.script("suicide", "kill -9 $PPID").display().to_string();
    let socket = master.path("master.sock").display().to_string();
    killed(&master, "two", &["--haproxy", &suicide, "--master-socket", &socket]);
    assert_eq!(in_force(&master), "one");
    master.run(&["config", "recover"]).expect(0).says("no change was cut off");
    nothing_is_left(&master);
    assert_eq!(in_force(&master), "one");
}

#[test]
fn killed_before_the_reload_the_next_command_finishes_it() {
    let master = Master::start();
    killed(&master, "two", &["--reload-command", "kill -9 $PPID"]);
    assert!(master.main_file().contains("string two "), "the file is whole and new");
    assert_eq!(master.get("nobody.example"), Ok("one".into()), "and HAProxy has not read it");
    let app = url(web_server("app"));
    master
        .run(&["routes", "add", "a.example", &app])
        .expect(0)
        .complains("warn: a change that was cut off (apply haproxy.cfg by ")
        .complains("is finished");
    assert_eq!((in_force(&master), master.get("a.example")), ("two".into(), Ok("app".into())));
    nothing_is_left(&master);
}

#[test]
fn killed_after_the_reload_the_next_command_finishes_it() {
    let master = Master::start();
    let command = format!("{}; kill -9 $PPID", master.reload_command());
    killed(&master, "two", &["--reload-command", &command]);
    eventually("the reload", || (master.get("nobody.example") == Ok("two".into())).then_some(()));
    master.run(&["config", "recover"]).expect(0).says("is finished");
    assert_eq!(in_force(&master), "two");
    master.run(&["config", "recover"]).expect(0).says("no change was cut off");
    nothing_is_left(&master);
}

#[test]
fn killed_while_it_is_undone_it_is_undone_by_the_next_command() {
    let master = Master::start();
    // The first reload fails, the second one is that of the old configuration.
    let mark = master.path("failed").display().to_string();
    let command = format!("test -e {mark} && kill -9 $PPID; touch {mark}; exit 1");
    killed(&master, "two", &["--reload-command", &command]);
    assert_eq!(in_force(&master), "one");
    assert!(master.path("haproxy.cfg.history/undo.json").exists());
    master.run(&["config", "recover"]).expect(0).says("is undone");
    assert_eq!(in_force(&master), "one");
    nothing_is_left(&master);
}

#[test]
fn before_the_start_of_haproxy_the_files_alone_are_put_right() {
    let master = Master::start();
    killed(&master, "two", &["--reload-command", "kill -9 $PPID"]);
    let worker = master.worker();
    master.run(&["config", "recover", "--files-only"]).expect(0).says("is undone");
    assert_eq!((in_force(&master), master.worker()), ("one".into(), worker));
    nothing_is_left(&master);
}

#[test]
fn killed_at_any_moment_one_configuration_is_whole_and_the_next_command_puts_it_in_force() {
    let master = Master::start();
    let app = url(web_server("app"));
    master.run(&["routes", "add", "steady.example", &app]).expect(0);
    let traffic = master.traffic(1, "steady.example", "app");
    let (mut delay, mut words, mut ended) = (Duration::ZERO, BTreeSet::new(), [false; 3]);
    for turn in 0.. {
        let word = format!("w{turn}");
        let candidate = master.candidate(&word);
        let more = url(free_port());
        let host = format!("{word}.example");
        let commands: [&[&str]; 3] = [
            &["config", "apply", &candidate, "--to", "haproxy.cfg"],
            &["routes", "add", &host, &app],
            &["routes", "add", &host, &more],
        ];
        let mut running = master.begin(commands[turn % 3]);
        let begun = Instant::now();
        while begun.elapsed() < delay && !running.has_ended() {
            std::thread::yield_now();
        }
        if running.has_ended() {
            ended[turn % 3] = true;
        } else {
            running.signal(Signal::SIGKILL);
        }
        running.wait();
        master.run(&["config", "recover"]).expect(0);
        words.insert(in_force(&master));
        nothing_is_left(&master);
        assert_eq!(master.run(&["routes", "list"]).expect(0).err, "", "after {delay:?}");
        // Each of them was killed at every stage by now.
        if ended == [true; 3] {
            break;
        }
        delay += Duration::from_millis(7) + delay / 16;
    }
    assert!(words.len() > 1, "one at least was finished: {words:?}");
    assert_eq!(traffic.stop().1, NONE);
}

// --- two at once, no room

#[test]
fn two_writers_at_once_come_one_after_the_other() {
    let master = Master::start();
    let app = url(web_server("app"));
    master.run(&["routes", "add", "first.example", &app]).expect(0);
    let hosts: Vec<String> = (0..6).map(|number| format!("h{number}.example")).collect();
    let candidates = ["two", "three"].map(|word| master.candidate(word));
    let mut running: Vec<_> = hosts.iter().map(|host| master.begin(&["routes", "add", host, &app])).collect();
    running.extend(
        candidates.iter().map(|name| master.begin(&["config", "apply", name, "--to", "haproxy.cfg"])),
    );
    for running in running {
        let run = running.wait().expect(0);
        assert_eq!(run.err, "", "nobody finds anything that was cut off");
    }
    for host in &hosts {
        assert_eq!(master.get(host), Ok("app".into()), "{host}");
    }
    let json = master.run(&["config", "history", "--json"]).expect(0).json();
    let numbers: Vec<u64> = json.as_array().unwrap().iter().map(|v| v["number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=10).rev().collect::<Vec<_>>());
    assert!(["two", "three"].contains(&in_force(&master).as_str()));
}

#[test]
fn who_has_the_lock_is_told_when_it_is_not_free_in_time() {
    let master = Master::start();
    let gate = master.path("gate");
    nix::unistd::mkfifo(&gate, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let slow = master.script(
        "slow",
        &format!("read line < {}; exec {} \"$@\"", gate.display(), master.path("haproxy").display()),
    );
    let socket = master.path("master.sock").display().to_string();
    let candidate = master.candidate("two");
    let arguments = ["config", "apply", &candidate, "--to", "haproxy.cfg"];
    let first =
        master.begin_with(&arguments, &["--haproxy", slow.to_str().unwrap(), "--master-socket", &socket]);
    eventually("the first one at work", || master.path(".haproxy.cfg.new").exists().then_some(()));
    let second = master.candidate("three");
    let owner = format!("(pid {}); it did not end within 100ms", first.id());
    master
        .run(&["config", "apply", &second, "--to", "haproxy.cfg", "--lock-timeout", "0.1"])
        .expect(75)
        .complains("another change is under way, by ")
        .complains(&owner);
    assert_eq!(in_force(&master), "one");
    fs::write(&gate, "go\n").unwrap();
    first.wait().expect(0);
    assert_eq!(in_force(&master), "two");
}

#[test]
fn a_full_disk_changes_nothing_and_keeps_nobody_from_going_on_when_there_is_room() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Disk::at(directory.path());
    let master = Master::start_in(tempfile::tempdir_in(directory.path()).unwrap());
    let candidate = master.candidate("two");
    let arguments = ["config", "apply", &candidate, "--to", "haproxy.cfg"];
    // A little more room each time, until there is enough for the whole of it.
    let mut refused = 0;
    for pages in 0.. {
        let ballast = disk.fill_but(pages);
        let run = master.run(&arguments);
        fs::remove_file(ballast).unwrap();
        if run.code == 0 {
            break;
        }
        refused += 1;
        let run = run.expect(1).complains("nothing was changed").complains("No space left on device");
        assert_eq!(in_force(&master), "one", "{pages} pages: {run:?}");
        master.run(&["config", "recover"]).expect(0).says("no change was cut off");
        nothing_is_left(&master);
    }
    assert!(refused >= 4, "{refused} refusals");
    assert_eq!(in_force(&master), "two");
    nothing_is_left(&master);
    drop(master);
    drop(disk);
}

// --- what is typed

#[test]
fn several_files_need_to_be_told_apart() {
    let master = Master::start();
    master
        .run(&["config", "apply", &master.candidate("two")])
        .expect(2)
        .complains("which file is it to replace? Pass --to with one of `")
        .complains("haproxy.cfg`, `");
    master
        .run(&["config", "apply", "none", "--to", "haproxy.cfg"])
        .expect(2)
        .complains("error: `none`: cannot be read");
    master
        .run(&["config", "apply", "two.candidate", "--to", "other.cfg"])
        .expect(4)
        .complains("other.cfg` is none of the files that HAProxy is started with: `");
    let run = Run::of(Path::new("/"), &["config", "history", "-f", "/nonexistent/haproxy.cfg"]).expect(0);
    assert_eq!(run.out, "no versions yet: the first change keeps what is there as version 1\n");
}
