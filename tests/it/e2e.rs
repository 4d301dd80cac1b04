//! A real supervisord and a real HAProxy with the listener between them.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};

use crate::support::{BINARY, Haproxy, Program, Supervisord, World, eventually, for_a_while, free_port};

// --- every row of the table

#[test]
fn a_program_that_runs_is_ready_and_one_that_starts_is_in_maint() {
    let slow = Program::idle("slow").with("startsecs=4").with("autostart=false");
    let world = World::new(&[Program::idle("web"), slow], "", "*=app/*");
    world.expect_running("web");
    world.haproxy.expect("slow", "maint");
    world.supervisord.ctl(&["start", "slow"]);
    world.expect_running("slow");
}

#[test]
fn a_program_that_stops_is_drained_and_a_stopped_one_is_in_maint() {
    let stubborn =
        Program::new("web", "/bin/sh -c \"trap '' TERM; : > %(here)s/deaf; while :; do sleep 0.1; done\"");
    let world = World::new(&[stubborn.with("stopwaitsecs=3").with("killasgroup=true")], "", "*=app/*");
    world.expect_running("web");
    eventually("a program that does not hear", || fs::metadata(world.directory().join("deaf")).ok());
    std::thread::scope(|scope| {
        scope.spawn(|| world.supervisord.ctl(&["stop", "web"]));
        world.haproxy.expect("web", "drain");
        assert_eq!(world.supervisord.state("web"), "STOPPING");
    });
    world.haproxy.expect("web", "maint");
    world.supervisord.expect("web", "STOPPED");
    world.supervisord.ctl(&["start", "web"]);
    world.expect_running("web");
}

#[test]
fn a_program_that_ends_by_itself_is_in_maint() {
    let command = "/bin/sh -c \"until test -e %(here)s/enough; do sleep 0.1; done\"";
    let brief = Program::new("web", command).with("autorestart=unexpected");
    let world = World::new(&[brief], "", "*=app/*");
    world.expect_running("web");
    fs::write(world.directory().join("enough"), "").unwrap();
    world.supervisord.expect("web", "EXITED");
    world.haproxy.expect("web", "maint");
    // It was ready while it ran.
    world.supervisord.expect_log("`app/web` set to ready");
}

#[test]
fn a_program_that_cannot_be_started_goes_from_backoff_to_fatal_and_stays_in_maint() {
    let world = World::new(&[Program::new("web", "/bin/false").with("startretries=2")], "", "*=app/*");
    world.haproxy.expect("web", "maint");
    world.supervisord.expect("web", "FATAL");
    world.supervisord.expect_log("program `web` is BACKOFF");
    world.supervisord.expect_log("program `web` is FATAL");
    assert_eq!(world.haproxy.admin("web"), "maint");
    assert!(!world.supervisord.log().contains("set to ready"), "{}", world.supervisord.log());
}

// --- crashes

#[test]
fn a_crash_is_followed_by_maint_and_the_restart_by_ready() {
    let world = World::idle(&["web"]);
    world.expect_running("web");
    let old = world.supervisord.pid("web");
    kill(old, Signal::SIGKILL).unwrap();
    world.supervisord.expect_log(&format!("program `web` has ended (pid {old})"));
    world.supervisord.expect_log("`app/web` set to maint");
    eventually("a new process", || (world.supervisord.pid("web") != old).then_some(()));
    world.expect_running("web");
}

#[test]
fn a_crash_is_known_before_supervisord_tells() {
    let world = World::idle(&["web"]);
    world.expect_running("web");
    world.supervisord.expect_log("program `web` is RUNNING");
    world.supervisord.expect_log("`app/web` set to ready");
    kill(world.supervisord.pid("web"), Signal::SIGKILL).unwrap();
    world.supervisord.expect_log("event PROCESS_STATE_EXITED");
    let log = world.supervisord.log();
    let at = |text: &str| log.find(text).unwrap();
    assert!(at("has ended (pid") < at("event PROCESS_STATE_EXITED"));
}

#[test]
fn a_program_that_dies_before_it_is_up_is_never_ready() {
    // Without pipes to its output, supervisord notices its death a second late and calls it RUNNING first.
    let code = "/bin/sh -c 'exec >/dev/null 2>&1; sleep 0.1; exit 1'";
    // Where supervisord is woken, its time is long enough for a machine that is slow to end the program.
    for (options, lines) in [("", "startsecs=3\nstartretries=1000"), ("--no-sync", "startretries=1000")] {
        let world = World::new(&[Program::new("web", code).with(lines)], options, "*=app/*");
        world.supervisord.expect_log("program `web` is STARTING");
        if options == "--no-sync" {
            // Nothing wakes supervisord up, so it tells of a success that never was.
            world.supervisord.expect_log("program `web` is RUNNING, but its process has ended already");
        }
        for_a_while(Duration::from_secs(4), || assert_eq!(world.haproxy.admin("web"), "maint"));
        assert!(!world.supervisord.log().contains("set to ready"), "{}", world.supervisord.log());
    }
}

// --- the ready gate

#[test]
fn a_running_program_that_does_not_listen_yet_gets_no_traffic() {
    let port = free_port();
    let server = format!("web 127.0.0.1:{port} check inter 100ms rise 2");
    let world = World::with_servers(&[&server], &[Program::web("web", port, 4.0)], "", "*=app/*");
    world.supervisord.expect("web", "RUNNING");
    world.supervisord.expect_log("`app/web` set to ready, DOWN until its checks pass");
    assert_eq!(world.haproxy.admin("web"), "ready");
    assert!(world.haproxy.statuses()["web"].starts_with("DOWN"), "{:?}", world.haproxy.statuses());
    world.haproxy.expect_status("web", "UP");
}

#[test]
fn without_the_gate_it_counts_as_up_before_its_checks_pass() {
    // Behind the gate, it would be DOWN for the minute between two checks that pass.
    let site = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = format!("web {} check inter 60s rise 2", site.local_addr().unwrap());
    let world = World::with_servers(&[&server], &[Program::idle("web")], "--no-gate", "*=app/*");
    world.supervisord.expect_log("`app/web` set to ready");
    assert!(world.haproxy.statuses()["web"].starts_with("UP"), "{:?}", world.haproxy.statuses());
    assert!(!world.supervisord.log().contains("DOWN until its checks pass"));
}

#[test]
fn a_server_without_checks_of_its_own_is_never_left_down() {
    let ports: Vec<u16> = (0..4).map(|_| free_port()).collect();
    let servers = [
        format!("plain 127.0.0.1:{}", ports[0]),
        format!("agent 127.0.0.1:{} agent-check agent-port {} agent-inter 60s", ports[1], ports[3]),
        format!("leader 127.0.0.1:{} check inter 100ms", ports[2]),
        format!("tracker 127.0.0.1:{} track app/leader", ports[3]),
    ];
    let servers: Vec<&str> = servers.iter().map(String::as_str).collect();
    let mut programs: Vec<Program> = ["plain", "agent", "tracker"].map(Program::idle).to_vec();
    programs.push(Program::web("leader", ports[2], 0.0));
    let world = World::with_servers(&servers, &programs, "", "*=app/*");
    for program in ["plain", "agent", "leader", "tracker"] {
        world.expect_running(program);
    }
    for (server, status) in
        [("plain", "no check"), ("agent", "no check"), ("leader", "UP"), ("tracker", "UP")]
    {
        world.haproxy.expect_status(server, status);
    }
}

// --- leaving

#[test]
fn stop_all_leaves_every_server_in_maint() {
    let world = World::idle(&["web1", "web2"]);
    world.expect_running("web1");
    world.expect_running("web2");
    world.supervisord.ctl(&["stop", "all"]);
    world.haproxy.expect("web1", "maint");
    world.haproxy.expect("web2", "maint");
    world.supervisord.expect("listener", "STOPPED");
}

#[test]
fn a_shutdown_of_supervisord_leaves_every_server_in_maint() {
    let mut world = World::idle(&["web1", "web2", "web3"]);
    for program in ["web1", "web2", "web3"] {
        world.expect_running(program);
    }
    world.supervisord.signal(Signal::SIGTERM);
    world.supervisord.wait();
    for program in ["web1", "web2", "web3"] {
        assert_eq!(world.haproxy.admin(program), "maint", "{program}");
    }
}

#[test]
fn stopping_the_listener_alone_changes_nothing() {
    let world = World::idle(&["web"]);
    world.expect_running("web");
    world.supervisord.ctl(&["stop", "listener"]);
    world.supervisord.expect("listener", "STOPPED");
    assert_eq!(world.haproxy.admin("web"), "ready");
}

#[test]
fn a_killed_supervisord_leaves_servers_as_they_are_and_ends_the_listener() {
    let world = World::idle(&["web"]);
    world.expect_running("web");
    let (listener, program) = (world.supervisord.pid("listener"), world.supervisord.pid("web"));
    world.supervisord.signal(Signal::SIGKILL);
    eventually("the end of the listener", || kill(listener, None).is_err().then_some(()));
    assert_eq!(world.haproxy.admin("web"), "ready");
    kill(program, Signal::SIGKILL).unwrap();
}

#[test]
fn a_restart_of_supervisord_ends_with_every_server_ready() {
    let world = World::idle(&["web1", "web2"]);
    world.expect_running("web1");
    let old = world.supervisord.pid("web1");
    world.supervisord.ctl(&["reload"]);
    eventually("new processes", || {
        let state = world.supervisord.state("web1");
        (state == "RUNNING" && world.supervisord.pid("web1") != old).then_some(())
    });
    world.expect_running("web1");
    world.expect_running("web2");
}

// --- losses

#[test]
fn a_killed_listener_catches_up() {
    let world = World::idle(&["web1", "web2"]);
    world.expect_running("web1");
    world.expect_running("web2");
    let before = world.supervisord.pid("listener");
    kill(before, Signal::SIGKILL).unwrap();
    world.supervisord.ctl(&["stop", "web1"]);
    world.haproxy.expect("web1", "maint");
    world.supervisord.expect("listener", "RUNNING");
    world.supervisord.ctl(&["stop", "web2"]);
    world.haproxy.expect("web2", "maint");
}

#[test]
fn a_restarted_listener_never_touches_a_server_that_is_ready() {
    let port = free_port();
    let server = format!("web 127.0.0.1:{port} check inter 100ms");
    let world = World::with_servers(&[&server], &[Program::app("web", port, 0.0)], "", "*=app/*");
    world.haproxy.expect_status("web", "UP");
    world.supervisord.expect("listener", "RUNNING");
    let before = world.supervisord.pid("listener");
    kill(before, Signal::SIGKILL).unwrap();
    let until = Instant::now() + Duration::from_secs(4);
    eventually("another listener", || (world.supervisord.pid("listener") != before).then_some(()));
    for_a_while(until.saturating_duration_since(Instant::now()), || {
        assert_eq!(world.haproxy.statuses()["web"], "UP");
    });
    world.supervisord.expect_log("`app/web` is ready already");
}

#[test]
fn sixty_programs_at_once_overflow_the_default_buffer_and_every_server_is_right() {
    let names: Vec<String> = (0..60).map(|number| format!("web{number:02}")).collect();
    // A busy supervisord sees an end seconds late, and has called the program RUNNING before.
    let dies = |name: &str| Program::new(name, "/bin/false").with("startsecs=30");
    let programs: Vec<Program> = names
        .iter()
        .enumerate()
        .map(|(at, name)| if at % 6 == 5 { dies(name) } else { Program::idle(name) })
        .collect();
    let directory = tempfile::tempdir().unwrap();
    let servers: Vec<String> = names.iter().map(|name| format!("{name} 127.0.0.1:9")).collect();
    let servers: Vec<&str> = servers.iter().map(String::as_str).collect();
    let haproxy = Haproxy::start(directory.path(), &servers);
    let listener = format!("{} *=app/*", haproxy.socket.display());
    let http = "[unix_http_server]\nfile=%(here)s/s.sock\n";
    Supervisord::write(directory.path(), http, &listener, "events=PROCESS_STATE\n", &programs);
    let supervisord = Supervisord::start(directory.path());
    for (at, name) in names.iter().enumerate() {
        let (state, admin) = if at % 6 == 5 { ("FATAL", "maint") } else { ("RUNNING", "ready") };
        supervisord.expect(name, state);
        haproxy.expect(name, admin);
    }
    supervisord.expect_log("events came before the first that reached this listener");
    let log = fs::read_to_string(directory.path().join("supervisord.log")).unwrap();
    assert!(log.contains("event buffer overflowed"), "the test does not show what it is for");
}

#[test]
fn haproxy_gone_for_thirty_seconds_is_right_when_it_is_back() {
    let mut world = World::idle(&["web1", "web2", "web3"]);
    for program in ["web1", "web2", "web3"] {
        world.expect_running(program);
    }
    world.haproxy.stop();
    let gone = Instant::now();
    world.supervisord.ctl(&["stop", "web1"]);
    kill(world.supervisord.pid("web2"), Signal::SIGKILL).unwrap();
    world.supervisord.ctl(&["stop", "web3"]);
    world.supervisord.ctl(&["start", "web3"]);
    world.supervisord.expect_log("circuit breaker open");
    for_a_while(Duration::from_secs(30).saturating_sub(gone.elapsed()), || {});
    world.haproxy.launch();
    world.haproxy.expect("web1", "maint");
    world.expect_running("web2");
    world.expect_running("web3");
    world.supervisord.expect_log("circuit breaker closed");
    assert_eq!(world.supervisord.state("listener"), "RUNNING");
}

#[test]
fn a_reload_of_haproxy_is_noticed_and_all_states_are_set_again() {
    let world = World::new(&["web1", "web2"].map(Program::idle), "--poll-interval 0.2", "*=app/*");
    world.expect_running("web1");
    world.expect_running("web2");
    world.supervisord.ctl(&["stop", "web1"]);
    world.haproxy.expect("web1", "maint");
    world.haproxy.reload();
    world.supervisord.expect_log("HAProxy was restarted or reloaded");
    world.haproxy.expect("web2", "ready");
    assert_eq!(world.haproxy.admin("web1"), "maint");
}

#[test]
fn a_frozen_haproxy_holds_nobody_up_and_is_right_when_it_thaws() {
    let world = World::new(&["web1", "web2"].map(Program::idle), "--timeout 1", "*=app/*");
    world.expect_running("web1");
    world.expect_running("web2");
    world.haproxy.signal_worker(Signal::SIGSTOP);
    world.supervisord.ctl(&["stop", "web1"]);
    world.supervisord.ctl(&["restart", "web2"]);
    world.supervisord.expect_log("no complete reply within 1s");
    world.supervisord.expect("web2", "RUNNING");
    world.haproxy.signal_worker(Signal::SIGCONT);
    world.haproxy.expect("web1", "maint");
    world.haproxy.expect("web2", "ready");
}

// --- orders

#[test]
fn a_held_server_stays_in_maint_through_restarts_until_its_release() {
    let world = World::idle(&["web1", "web2"]);
    world.expect_running("web1");
    world.expect_running("web2");
    world.supervisord.remote("note: to all", "nothing");
    let hold = r#"{"hold":{"servers":["app/web1"],"by":"root","reason":"<&> dis\u00e9","since":1760000000}}"#;
    world.supervisord.remote("supervisor-haproxy", hold);
    world.haproxy.expect("web1", "maint");
    world.supervisord.expect_log("held by root: <&> dis\u{e9}: app/web1");

    let again = "program `web1` is RUNNING";
    let before = world.supervisord.log().matches(again).count();
    world.supervisord.ctl(&["restart", "web1"]);
    eventually("its restart", || (world.supervisord.log().matches(again).count() > before).then_some(()));
    for_a_while(Duration::from_secs(1), || assert_eq!(world.haproxy.admin("web1"), "maint"));

    world.supervisord.ctl(&["restart", "listener"]);
    world.supervisord.expect_log("still held by root: <&> dis\u{e9}: app/web1");
    world.supervisord.expect("listener", "RUNNING");
    for_a_while(Duration::from_secs(2), || assert_eq!(world.haproxy.admin("web1"), "maint"));
    assert_eq!(world.haproxy.admin("web2"), "ready");

    world.supervisord.remote("supervisor-haproxy", r#"{"release":{"servers":["app/web1"],"by":"root"}}"#);
    world.expect_running("web1");
}

#[test]
fn a_claimed_server_is_drained_until_its_command_ends_or_was_killed() {
    let world = World::idle(&["web"]);
    world.expect_running("web");
    let claim = r#"{"claim":{"servers":["app/web"],"state":"drain","by":"test","seconds":2}}"#;
    world.supervisord.remote("supervisor-haproxy", claim);
    world.haproxy.expect("web", "drain");
    world.supervisord.expect_log("the claim of test on app/web has expired");
    world.haproxy.expect("web", "ready");
    world.supervisord.remote("supervisor-haproxy", &claim.replace("2}", "200}"));
    world.haproxy.expect("web", "drain");
    world.supervisord.remote("supervisor-haproxy", r#"{"unclaim":{"servers":["app/web"],"by":"test"}}"#);
    world.haproxy.expect("web", "ready");
}

// --- groups, names, changes of the configuration

#[test]
fn two_programs_of_one_name_in_two_groups_are_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let haproxy =
        Haproxy::start(directory.path(), &["blue 127.0.0.1:9", "green 127.0.0.1:9", "both 127.0.0.1:9"]);
    let mapping = "blue:web_*=app/blue green:web_*=app/green web_1:app/both web_2:app/both";
    let listener = format!("{} {mapping}", haproxy.socket.display());
    let programs = [Program::idle("web_1"), Program::idle("web_2")];
    Supervisord::configure(directory.path(), &listener, &programs);
    let path = directory.path().join("supervisord.conf");
    let groups = "[group:blue]\nprograms=web_1\n[group:green]\nprograms=web_2\n";
    fs::write(&path, fs::read_to_string(&path).unwrap() + groups).unwrap();
    let supervisord = Supervisord::start(directory.path());
    for server in ["blue", "green", "both"] {
        haproxy.expect(server, "ready");
    }
    supervisord.ctl(&["stop", "green:web_2"]);
    haproxy.expect("green", "maint");
    haproxy.expect("both", "maint");
    assert_eq!(haproxy.admin("blue"), "ready");
}

#[test]
fn update_adds_and_removes_programs() {
    let directory = tempfile::tempdir().unwrap();
    let servers = ["web1 127.0.0.1:9", "web2 127.0.0.1:9", "web3 127.0.0.1:9"];
    let haproxy = Haproxy::start(directory.path(), &servers);
    let listener = format!("{} *=app/*", haproxy.socket.display());
    Supervisord::configure(directory.path(), &listener, &["web1", "web2"].map(Program::idle));
    let supervisord = Supervisord::start(directory.path());
    haproxy.expect("web1", "ready");
    haproxy.expect("web2", "ready");
    Supervisord::configure(directory.path(), &listener, &["web2", "web3"].map(Program::idle));
    supervisord.ctl(&["reread"]);
    assert_eq!(haproxy.admin("web1"), "ready", "reread alone changes nothing");
    supervisord.ctl(&["update"]);
    haproxy.expect("web1", "maint");
    haproxy.expect("web3", "ready");
    assert_eq!(haproxy.admin("web2"), "ready");
}

#[test]
fn names_outside_ascii_work() {
    let name = "gr\u{fc}\u{df}e-\u{1f980}";
    let mapping = format!("{name}:app/cafe");
    let world = World::with_servers(&["cafe 127.0.0.1:9"], &[Program::idle(name)], "", &mapping);
    world.haproxy.expect("cafe", "ready");
    world.supervisord.ctl(&["stop", "all"]);
    world.haproxy.expect("cafe", "maint");
    let log = world.supervisord.log();
    assert!(log.contains("program `gr\u{fc}\u{df}e-\u{1f980}` is RUNNING"), "{log}");
}

#[test]
fn numbered_processes_of_one_program_are_mapped_with_a_wildcard() {
    let servers = ["app0 127.0.0.1:9", "app1 127.0.0.1:9", "app2 127.0.0.1:9"];
    let web = Program::idle("web").with("numprocs=3").with("process_name=%(program_name)s_%(process_num)d");
    let world = World::with_servers(&servers, &[web], "", "web:web_*=app/app*");
    for server in ["app0", "app1", "app2"] {
        world.haproxy.expect(server, "ready");
    }
    world.supervisord.ctl(&["stop", "web:web_1"]);
    world.haproxy.expect("app1", "maint");
    assert_eq!((world.haproxy.admin("app0"), world.haproxy.admin("app2")), ("ready", "ready"));
}

// --- XML-RPC

#[test]
fn without_xml_rpc_events_alone_do_the_work() {
    let directory = tempfile::tempdir().unwrap();
    let haproxy = Haproxy::start(directory.path(), &["web 127.0.0.1:9", "dies 127.0.0.1:9"]);
    let listener = format!("{} *=app/*", haproxy.socket.display());
    let dies = Program::new("dies", "/bin/sleep 3").with("autorestart=false");
    let options = "events=PROCESS_STATE\nbuffer_size=100\n";
    Supervisord::write(directory.path(), "", &listener, options, &[Program::idle("web"), dies]);
    let supervisord = Supervisord::start(directory.path());
    haproxy.expect("web", "ready");
    supervisord.expect_log("set to ready");
    supervisord.expect_log("program `dies` has ended");
    haproxy.expect("dies", "maint");
    let told = supervisord.log().matches("supervisord's XML-RPC is not used").count();
    assert_eq!(told, 1, "{}", supervisord.log());
}

#[test]
fn xml_rpc_over_http_with_a_password_works_and_without_it_is_explained() {
    for (environment, expected) in [
        (
            "environment=SUPERVISOR_USERNAME=me,SUPERVISOR_PASSWORD=secret\n",
            "called: supervisor.getAllProcessInfo()",
        ),
        ("", "user name and password are needed or wrong; set SUPERVISOR_USERNAME"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let haproxy = Haproxy::start(directory.path(), &["web 127.0.0.1:9"]);
        let listener = format!("{} *=app/*", haproxy.socket.display());
        let port = free_port();
        let http = format!("[inet_http_server]\nport=127.0.0.1:{port}\nusername=me\npassword=secret\n");
        let options = format!("events=PROCESS_STATE\nbuffer_size=100\n{environment}");
        Supervisord::write(directory.path(), &http, &listener, &options, &[Program::idle("web")]);
        let supervisord = Supervisord::start(directory.path());
        eventually(expected, || {
            (supervisord.log() + &supervisord.own_log()).contains(expected).then_some(())
        });
        haproxy.expect("web", "ready");
        assert!(!supervisord.log().contains("secret"), "no log tells a password");
    }
}

#[test]
fn supervisord_is_woken_while_something_is_in_transition_and_never_otherwise() {
    let slow = Program::idle("slow").with("startsecs=3").with("autostart=false");
    let world = World::new(&[slow], "", "*=app/*");
    world.supervisord.expect("listener", "RUNNING");
    let calls = || world.supervisord.own_log().matches("supervisor.getState()").count();
    let before = calls();
    for_a_while(Duration::from_secs(1), || {});
    assert_eq!(calls(), before, "nothing is in transition");
    world.supervisord.ctl(&["start", "slow"]);
    world.haproxy.expect("slow", "ready");
    let during = calls() - before;
    assert!((10..100).contains(&during), "{during} calls in 3 s");
    world.supervisord.expect("slow", "RUNNING");
    let after = calls();
    for_a_while(Duration::from_secs(1), || {});
    assert_eq!(calls(), after, "the transition is over");
}

#[test]
fn in_a_pid_namespace_of_its_own_the_listener_says_so_once_and_follows_events() {
    let directory = tempfile::tempdir().unwrap();
    let haproxy = Haproxy::start(directory.path(), &["web1 127.0.0.1:9", "web2 127.0.0.1:9"]);
    let listener = format!("{} *=app/*", haproxy.socket.display());
    Supervisord::configure(directory.path(), &listener, &["web1", "web2"].map(Program::idle));
    let path = directory.path().join("supervisord.conf");
    // Who is not root may do so as root of a user namespace.
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    let user = if is_root { "" } else { "--user --map-root-user" };
    let apart = format!("command=unshare {user} --pid --fork --kill-child ");
    let config =
        fs::read_to_string(&path).unwrap().replace(&format!("command={BINARY}"), &format!("{apart}{BINARY}"));
    fs::write(&path, config).unwrap();
    let supervisord = Supervisord::start(directory.path());
    haproxy.expect("web1", "ready");
    haproxy.expect("web2", "ready");
    kill(supervisord.pid("web1"), Signal::SIGKILL).unwrap();
    supervisord.expect_log("program `web1` is EXITED");
    supervisord.ctl(&["stop", "web2"]);
    haproxy.expect("web2", "maint");
    haproxy.expect("web1", "ready");
    let log = supervisord.log();
    assert_eq!(
        log.matches("processes cannot be watched: its parent is in another pid namespace").count(),
        1,
        "{log}"
    );
    assert!(!log.contains("has ended"), "{log}");
}

// --- sockets and mistakes

#[test]
fn every_form_of_address_works_and_several_haproxies_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let (v4, v6) = (free_port(), free_port());
    let global =
        format!("  stats socket ipv4@127.0.0.1:{v4} level admin\n  stats socket ipv6@::1:{v6} level admin\n");
    let first = Haproxy::start_as(directory.path(), "first", "", &["web 127.0.0.1:9"]);
    let second = Haproxy::start_as(directory.path(), "second", &global, &["web 127.0.0.1:9"]);
    for address in [
        format!("tcp://localhost:{v4}"),
        format!("tcp://[::1]:{v6}"),
        format!("unix://{}", second.socket.display()),
    ] {
        let listener = format!("{},{address} web:app/web", first.socket.display());
        Supervisord::configure(directory.path(), &listener, &[Program::idle("web")]);
        let mut supervisord = Supervisord::start(directory.path());
        first.expect("web", "ready");
        second.expect("web", "ready");
        supervisord.expect("listener", "RUNNING");
        supervisord.signal(Signal::SIGTERM);
        supervisord.wait();
        first.expect("web", "maint");
        second.expect("web", "maint");
    }
}

#[test]
fn mistakes_in_the_mapping_are_explained() {
    let servers = ["web1 127.0.0.1:9", "web2 127.0.0.1:9"];
    let mapping = "web:app/web9 web:apps/web1 ghost:app/web1";
    let world = World::with_servers(&servers, &[Program::idle("web").with("autostart=false")], "", mapping);
    world.supervisord.expect_log("`app/web9` state maint: no such server; backend `app` has `web1`, `web2`");
    world.supervisord.expect_log("`apps/web1` state maint: no such backend; there are `app`");
    world.supervisord.expect_log("supervisord has no program for `ghost:app/web1`; it has `web`");
    assert_eq!(world.haproxy.admin("web1"), "maint", "no program stands for it: it is left alone");
}

#[test]
fn a_socket_below_level_admin_is_explained_once() {
    let directory = tempfile::tempdir().unwrap();
    let servers = ["web1 127.0.0.1:9", "web2 127.0.0.1:9"];
    let haproxy = Haproxy::start_with(directory.path(), "stats socket operator", &servers);
    let listener = format!("{} *=app/*", haproxy.socket.display());
    Supervisord::configure(directory.path(), &listener, &["web1", "web2"].map(Program::idle));
    let supervisord = Supervisord::start(directory.path());
    supervisord.expect_log("permission denied; give the `stats socket` line of HAProxy `level admin`");
    supervisord.expect("web2", "RUNNING");
    assert_eq!(supervisord.log().matches("permission denied").count(), 1, "{}", supervisord.log());
    assert_eq!(supervisord.state("listener"), "RUNNING");
}

// --- what HAProxy shows

#[test]
fn servers_that_go_down_and_up_are_reported() {
    let port = free_port();
    let server = format!("web 127.0.0.1:{port} check inter 100ms rise 20");
    let world =
        World::with_servers(&[&server], &[Program::web("web", port, 0.0)], "--poll-interval 0.2", "*=app/*");
    world.haproxy.expect_status("web", "UP");
    world.supervisord.expect_log("to UP after");
    // Twenty checks bring it back, so that a survey sees it.
    world.haproxy.ask("set server app/web health down");
    world.supervisord.expect_log("`app/web` went from UP to DOWN");
}

#[test]
fn a_state_set_by_hand_is_told_once_and_kept_unless_enforced() {
    for enforce in [false, true] {
        let options = format!("--poll-interval 0.2{}", if enforce { " --enforce" } else { "" });
        let world = World::new(&[Program::idle("web")], &options, "*=app/*");
        world.expect_running("web");
        world.supervisord.expect_log("`app/web` set to ready");
        // Only what a survey has shown once can be said to have been changed.
        world.supervisord.expect_log("`app/web` went from MAINT to no check");
        world.haproxy.ask("set server app/web state maint");
        world.supervisord.expect_log("`app/web` is MAINT, wanted is ready: set by somebody else");
        if enforce {
            world.haproxy.expect("web", "ready");
        } else {
            for_a_while(Duration::from_secs(1), || assert_eq!(world.haproxy.admin("web"), "maint"));
            world.supervisord.ctl(&["signal", "HUP", "listener"]);
            world.haproxy.expect("web", "ready");
        }
        assert_eq!(world.supervisord.log().matches("set by somebody else").count(), 1);
    }
}

#[test]
fn statuses_of_every_kind_are_told_apart() {
    let ports: BTreeMap<&str, u16> = ["web", "up", "plain"].map(|name| (name, free_port())).into();
    let servers = [
        format!("web 127.0.0.1:{} check inter 100ms", ports["web"]),
        format!("up 127.0.0.1:{} track app/web", ports["up"]),
        format!("plain 127.0.0.1:{}", ports["plain"]),
    ];
    let servers: Vec<&str> = servers.iter().map(String::as_str).collect();
    let web = Program::web("web", ports["web"], 0.0);
    let world = World::with_servers(&servers, &[web], "--poll-interval 0.2 --report-all", "web:app/web");
    world.haproxy.expect_status("up", "UP");
    world.supervisord.expect_log("`app/up` went from MAINT (via app/web) to ");
    world.supervisord.ctl(&["stop", "web"]);
    world.supervisord.expect_log("to MAINT (via app/web) after");
    world.haproxy.ask("set server app/plain state ready");
    world.supervisord.expect_log("`app/plain` went from MAINT to no check after");
    world.haproxy.ask("set server app/plain state drain");
    world.supervisord.expect_log("`app/plain` went from no check to DRAIN after");
}
