//! `restart`, `stop` and `start` between a real supervisord and a real HAProxy.

use std::fs;
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::{
    Haproxy, Program, Run, Running, Supervisord, World, eventually, for_a_while, free_port,
};

/// One program is restarted while a request of so many seconds is under way there; gives its name.
fn busy(world: &World, seconds: u32) -> (&'static str, JoinHandle<Result<(), String>>) {
    let path = format!("/{seconds}");
    let mut request = world.get_aside(&path);
    let name = eventually("a session", || {
        // One that was over before it was seen is of no use.
        if request.is_finished() {
            request = world.get_aside(&path);
        }
        ["web1", "web2", "web3"]
            .into_iter()
            .find(|name| world.haproxy.statuses().contains_key(*name) && world.sessions(name) == 1)
    });
    (name, request)
}

/// Two programs that take a while to start, which is when they are to be seen.
fn starting_slowly() -> World {
    let world = World::apps_with(&["web1", "web2"], "", |app| app.with("startsecs=3"));
    for name in ["web1", "web2"] {
        world.haproxy.expect_status(name, "UP");
    }
    world
}

/// What no end of a command may leave behind, unless `status` and `check` say so. (No listener runs, which
/// `check` finds even worse.)
#[track_caller]
fn expect_nothing_hidden(world: &World) {
    let off = ["web1", "web2"].into_iter().any(|name| {
        let (state, admin) = (world.supervisord.state(name), world.haproxy.admin(name));
        state == "RUNNING" && admin != "ready"
    });
    if off {
        world.run(&["status"]).expect(1).says("left behind by a command that was killed");
        world.run(&["check"]).expect(2).says("left behind by a command that was killed");
    }
}

// --- no request is lost

#[test]
fn a_restart_under_load_loses_no_request() {
    let world = World::apps(&["web1", "web2", "web3"], "");
    let load = world.load(8);
    let pids = ["web1", "web2", "web3"].map(|name| world.supervisord.pid(name));
    world.run(&["restart", "web*"]).expect(0).says("3 of 3 restarted");
    load.lost_nothing();
    for (name, pid) in ["web1", "web2", "web3"].into_iter().zip(pids) {
        assert_ne!(world.supervisord.pid(name), pid, "{name}");
        world.haproxy.expect_status(name, "UP");
    }
    // Of the others it hears when supervisord finds the time to tell it, which may be after it has looked.
    assert!(
        !world.supervisord.log().contains("`app/web1` is DRAIN, wanted is ready"),
        "{}",
        world.supervisord.log()
    );
}

#[test]
fn without_a_running_listener_it_loses_none_either() {
    let world = World::apps(&["web1", "web2", "web3"], "");
    world.supervisord.ctl(&["stop", "listener"]);
    let load = world.load(8);
    world.run(&["restart", "all"]).expect(0).says("3 of 3 restarted");
    load.lost_nothing();
}

#[test]
fn a_request_under_way_is_let_end_before_the_stop() {
    let world = World::apps(&["web1", "web2"], "");
    let (name, request) = busy(&world, 3);
    let before = world.supervisord.pid(name);
    world.run(&["restart", name]).expect(0);
    assert_eq!(request.join().unwrap(), Ok(()));
    assert_ne!(world.supervisord.pid(name), before);
}

#[test]
fn a_listener_that_enforces_is_told_and_does_not_set_the_drain_back() {
    // The listener looks each 200 ms, so the drain would not last.
    let world = World::apps(&["web1", "web2"], "--enforce --poll-interval 0.2");
    let (name, request) = busy(&world, 4);
    world.run(&["restart", name]).expect(0);
    assert_eq!(request.join().unwrap(), Ok(()));
    assert!(!world.supervisord.log().contains("is DRAIN, wanted is ready"), "{}", world.supervisord.log());
}

#[test]
fn a_listener_that_enforces_and_does_not_hear_is_not_fought_with() {
    let world = World::apps(&["web1", "web2"], "--enforce");
    let path = world.directory().join("supervisord.conf");
    let text = fs::read_to_string(&path).unwrap().replace(",REMOTE_COMMUNICATION", "");
    fs::write(path, text).unwrap();
    let before = world.supervisord.pid("web1");
    world.run(&["restart", "web1"]).expect(4).complains("add REMOTE_COMMUNICATION to its `events=`");
    assert_eq!(world.supervisord.pid("web1"), before);
}

#[test]
fn where_there_is_no_check_a_probe_keeps_the_server_out_until_the_program_answers() {
    let ports = [free_port(), free_port()];
    let servers = [format!("web1 127.0.0.1:{}", ports[0]), format!("web2 127.0.0.1:{}", ports[1])];
    // RUNNING after one second, answering after two.
    let apps = [Program::app("web1", ports[0], 2.0), Program::app("web2", ports[1], 2.0)];
    let world = World::with_servers(&[&servers[0], &servers[1]], &apps, "", "*=app/*");
    for name in ["web1", "web2"] {
        world.expect_running(name);
    }
    eventually("an answer", || world.get("/0").ok().and_then(|()| world.get("/0").ok()));
    let load = world.load(4);
    world.run(&["restart", "all", "--probe", "http://{address}/0"]).expect(0).says("2 of 2 restarted");
    load.lost_nothing();
    // Without it, there is a warning at least.
    world.run(&["restart", "all", "--dry-run"]).expect(0).complains("`web1` has no health check");
    world.run(&["restart", "all", "--probe", "http://127.0.0.1:9/"]).expect(2).complains("write {address}");
}

#[test]
fn a_program_whose_probe_fails_gets_no_requests_until_it_is_released() {
    let world = World::idle(&["web1", "web2"]);
    world.expect_running("web1");
    world.expect_running("web2");
    let restart = ["restart", "web1", "--probe", "http://{address}/", "--up-timeout", "3"];
    let run = world.run(&restart).expect(1).says("its probe did not succeed within 3s: http://127.0.0.1:");
    assert!(run.out.contains("cannot connect"), "{run:#?}");
    assert_eq!(world.supervisord.state("web1"), "RUNNING");
    for_a_while(Duration::from_secs(1), || assert_eq!(world.haproxy.admin("web1"), "maint"));
    world.supervisord.expect_log("held by root (pid ");
    world.run(&["status"]).expect(0).says("app/web1 is held by root (pid ").says("its probe did not succeed");
    world.run(&["release", "web1"]).expect(0);
    world.haproxy.expect("web1", "ready");
}

#[test]
fn several_haproxies_are_all_drained_and_all_ready_again() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let spare = free_port();
    let servers =
        [format!("web1 127.0.0.1:{port} check inter 100ms"), format!("web2 127.0.0.1:{spare} check")];
    let servers = [&*servers[0], &*servers[1]];
    let first = Haproxy::start_as(directory.path(), "first", "", &servers);
    let second = Haproxy::start_as(directory.path(), "second", "", &servers);
    let listener = format!("{},{} *=app/*", first.socket.display(), second.socket.display());
    // Long enough to be seen in maint.
    let apps = [Program::app("web1", port, 0.0).with("startsecs=3"), Program::app("web2", spare, 0.0)];
    Supervisord::configure(directory.path(), &listener, &apps);
    let supervisord = Supervisord::start(directory.path());
    for haproxy in [&first, &second] {
        haproxy.expect_status("web1", "UP");
        haproxy.expect_status("web2", "UP");
    }
    let command = Running::start(directory.path(), &["restart", "web1"]);
    first.expect("web1", "maint");
    second.expect("web1", "maint");
    command.wait().expect(0);
    assert_eq!((first.admin("web1"), second.admin("web1")), ("ready", "ready"));
    first.expect_status("web1", "UP");
    second.expect_status("web1", "UP");
    drop(supervisord);
}

// --- stop and start

#[test]
fn a_stopped_program_is_in_maint_and_a_started_one_is_up() {
    let world = World::apps(&["web1", "web2"], "");
    let (name, request) = busy(&world, 2);
    world.run(&["stop", name]).expect(0).says("1 of 1 stopped");
    assert_eq!(request.join().unwrap(), Ok(()));
    assert_eq!((&*world.supervisord.state(name), world.haproxy.admin(name)), ("STOPPED", "maint"));
    world.run(&["stop", name]).expect(0);
    world.run(&["start", name]).expect(0).says("1 of 1 started");
    world.haproxy.expect_status(name, "UP");
    world.run(&["start", name]).expect(0).says("1 of 1 started");
}

// --- sessions and programs that do not end

#[test]
fn sessions_that_never_end_are_left_after_the_time_and_told() {
    let world = World::apps(&["web1", "web2"], "");
    let (name, request) = busy(&world, 50);
    world.run(&["restart", name, "--drain-timeout", "2"]).expect(0).says("1 session left after 2s");
    assert!(request.join().unwrap().is_err());
    world.haproxy.expect_status(name, "UP");
    let (name, request) = busy(&world, 50);
    let run = world.run(&["restart", name, "--drain-timeout", "1", "--shutdown-sessions"]).expect(0);
    assert!(!run.out.contains("left after"), "{run:#?}");
    assert!(request.join().unwrap().is_err());
}

#[test]
fn a_program_that_ignores_its_stop_signal_is_waited_for_until_supervisord_kills_it() {
    let world = World::apps_with(&["web1", "web2"], "", |app| app.ignoring_sigterm().with("stopwaitsecs=3"));
    world.haproxy.expect_status("web1", "UP");
    world.haproxy.expect_status("web2", "UP");
    let before = world.supervisord.pid("web1");
    world.run(&["restart", "web1", "--stop-timeout", "1"]).expect(1).says("not stopped within 1s (STOPPING)");
    world.supervisord.expect("web1", "STOPPED");
    world.run(&["start", "web1"]).expect(0);
    world.run(&["restart", "web1"]).expect(0);
    assert_ne!(world.supervisord.pid("web1"), before);
    world.haproxy.expect_status("web1", "UP");
}

// --- failures

#[test]
fn after_a_program_that_crashes_at_its_start_the_next_is_not_touched() {
    let world = World::apps_with(&["web1", "web2", "web3"], "", |app| {
        // Long enough for supervisord to see that it does not last.
        app.unless("broken").with("startretries=1\nstartsecs=3")
    });
    for name in ["web1", "web2", "web3"] {
        world.haproxy.expect_status(name, "UP");
    }
    let untouched = world.supervisord.pid("web2");
    fs::write(world.directory().join("broken"), "").unwrap();
    let run =
        world.run(&["restart", "web*"]).expect(1).says("1/3  web1  failed").says("FATAL after its start");
    assert!(run.out.contains("0 of 3 restarted, 1 failed, 2 not touched"), "{run:#?}");
    assert_eq!(world.supervisord.pid("web2"), untouched);
    assert_eq!(world.haproxy.admin("web1"), "maint");
    world.run(&["check"]).expect(2).says("program web1").says("is FATAL");

    // The second run finds one down already, and may not take a further one below the two that are left.
    world.run(&["restart", "web*", "--min-ready", "2"]).expect(1);
    fs::remove_file(world.directory().join("broken")).unwrap();
    world.run(&["restart", "web*", "--on-failure", "continue"]).expect(0).says("3 of 3 restarted");
}

#[test]
fn with_on_failure_continue_the_rest_goes_on() {
    let world = World::apps_with(&["web1", "web2", "web3"], "", |app| {
        let breaks = if app.name() == "web1" { "broken" } else { "never" };
        app.unless(breaks).with("startretries=0")
    });
    for name in ["web1", "web2", "web3"] {
        world.haproxy.expect_status(name, "UP");
    }
    fs::write(world.directory().join("broken"), "").unwrap();
    world.run(&["restart", "web*", "--on-failure", "continue"]).expect(3).says("2 of 3 restarted, 1 failed");
}

#[test]
fn a_program_that_never_answers_fails_in_time_and_says_what_haproxy_sees() {
    let world = World::apps_with(&["web1", "web2"], "", |app| app.unless("broken"));
    world.haproxy.expect_status("web1", "UP");
    world.haproxy.expect_status("web2", "UP");
    world.haproxy.ask("set server app/web1 addr 127.0.0.2 port 9");
    let run = world.run(&["restart", "web1", "--up-timeout", "3"]).expect(1);
    run.says("RUNNING, but not up within 3s: app/web1 is DOWN (L4CON");
}

// --- peers that go away in the middle

#[test]
fn an_haproxy_that_is_restarted_in_the_middle_is_told_again() {
    let mut world = World::apps(&["web1", "web2"], "");
    let (name, _request) = busy(&world, 50);
    let command = world.start(&["restart", name]);
    world.haproxy.expect(name, "drain");
    world.haproxy.stop();
    world.haproxy.launch();
    command.wait().expect(0);
    world.haproxy.expect_status(name, "UP");
}

#[test]
fn a_reload_of_haproxy_in_the_middle_changes_nothing() {
    let world = starting_slowly();
    let load = world.load(4);
    let command = world.start(&["restart", "web*"]);
    world.haproxy.expect("web1", "maint");
    world.haproxy.reload();
    command.wait().expect(0).says("2 of 2 restarted");
    drop(load.stop());
    world.haproxy.expect_status("web1", "UP");
}

#[test]
fn a_supervisord_that_restarts_in_the_middle_is_waited_for() {
    let world = starting_slowly();
    let command = world.start(&["restart", "web*"]);
    world.haproxy.expect("web1", "maint");
    world.supervisord.ctl(&["reload"]);
    command.wait().expect(0).says("2 of 2 restarted");
    world.haproxy.expect_status("web2", "UP");
}

#[test]
fn a_supervisord_that_hangs_is_said_so() {
    let world = World::apps(&["web1", "web2"], "");
    world.supervisord.signal(Signal::SIGSTOP);
    let run = world.run(&["restart", "web1"]);
    world.supervisord.signal(Signal::SIGCONT);
    run.expect(1).complains("no complete reply within 5s");
    assert_eq!(world.haproxy.admin("web1"), "ready");
}

// --- a command that is killed

#[test]
fn nothing_stays_drained_behind_a_killed_command_where_a_listener_runs() {
    let world = World::apps(&["web1", "web2"], "");
    let (name, request) = busy(&world, 20);
    let command = world.start(&["restart", name]);
    world.haproxy.expect(name, "drain");
    command.signal(Signal::SIGKILL);
    drop(command);
    world.run(&["status"]).expect(1).says("left behind by a command that was killed");
    world.supervisord.expect_log("its command ended without a word");
    world.haproxy.expect(name, "ready");
    world.run(&["status"]).expect(0);
    assert_eq!(request.join().unwrap(), Ok(()));
}

#[test]
fn nothing_stays_hidden_behind_a_command_that_is_killed_at_any_step() {
    let world = World::apps(&["web1", "web2"], "");
    world.supervisord.ctl(&["stop", "listener"]);
    for step in 0..8 {
        let (name, _request) = busy(&world, 1);
        let command = world.start(&["restart", name]);
        // From before its first word to after its last one.
        let mut waited = 0;
        eventually("the time to kill it", || {
            waited += 1;
            (waited > step * 60).then_some(())
        });
        command.signal(Signal::SIGKILL);
        drop(command);
        expect_nothing_hidden(&world);
        world.run(&["restart", name, "--force"]).expect(0);
        assert_eq!(world.haproxy.statuses()[name], "UP", "step {step}");
    }
}

// --- Ctrl-C

#[test]
fn an_interrupt_puts_back_what_is_not_stopped_yet() {
    let world = World::apps(&["web1", "web2"], "");
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let (name, request) = busy(&world, 3);
        let before = world.supervisord.pid(name);
        let command = world.start(&["restart", name, "web*"]);
        world.haproxy.expect(name, "drain");
        command.signal(signal);
        command.wait().expect(130).says("put back as it was").says("not touched");
        // The listener may have heard of its drain only now.
        world.haproxy.expect(name, "ready");
        assert_eq!(world.supervisord.pid(name), before);
        assert_eq!(request.join().unwrap(), Ok(()));
    }
}

#[test]
fn an_interrupt_after_the_stop_lets_the_program_come_back_first() {
    let world = starting_slowly();
    let second = world.supervisord.pid("web2");
    let command = world.start(&["restart", "web*"]);
    world.haproxy.expect("web1", "maint");
    eventually("the stop", || (world.supervisord.state("web1") != "RUNNING").then_some(()));
    command.signal(Signal::SIGINT);
    command.wait().expect(130).says("web1  restarted").says("web2  not touched");
    world.haproxy.expect_status("web1", "UP");
    assert_eq!(world.supervisord.pid("web2"), second);
}

#[test]
fn a_second_interrupt_leaves_at_once_and_says_where_things_are() {
    let world = World::apps_with(&["web1", "web2"], "", |app| app.with("startsecs=8"));
    // They are RUNNING after eight seconds only, so the restart waits in STARTING.
    world.supervisord.expect("web1", "RUNNING");
    world.supervisord.expect("web2", "RUNNING");
    world.haproxy.expect_status("web2", "UP");
    world.haproxy.expect_status("web1", "UP");
    let mut command = world.start(&["restart", "web1"]);
    world.supervisord.expect("web1", "STARTING");
    let lines = command.lines();
    command.signal(Signal::SIGINT);
    lines.expect("interrupted");
    assert!(!command.has_ended());
    command.signal(Signal::SIGINT);
    lines.expect("left in the middle: starting, STARTING");
    command.wait().expect(130);
}

// --- refusals

#[test]
fn the_last_server_of_a_backend_is_not_taken_without_force() {
    let world = World::apps(&["web1"], "");
    let before = world.supervisord.pid("web1");
    let why = "backend `app` would have no server up, and --min-ready asks for 1";
    world.run(&["restart", "web1"]).expect(4).says(why).says("0 of 1 restarted, 1 refused");
    world.run(&["stop", "web1"]).expect(4).says(why);
    world.run(&["restart", "web1", "--dry-run"]).expect(4).says(why).says("nothing was done");
    assert_eq!(world.supervisord.pid("web1"), before);
    world.run(&["restart", "web1", "--force"]).expect(0);
    assert_ne!(world.supervisord.pid("web1"), before);
}

#[test]
fn a_dry_run_touches_nothing_and_shows_the_order() {
    let world = World::apps(&["web1", "web2"], "");
    let pids = ["web1", "web2"].map(|name| world.supervisord.pid(name));
    let run = world.run(&["restart", "web2", "web*", "--dry-run"]).expect(0);
    let run = run.says("1. web2 (RUNNING), app/web2 (0 sessions): drain, maint, stop, start, ready, up");
    run.says("2. web1 (RUNNING)").says("nothing was done");
    assert_eq!(["web1", "web2"].map(|name| world.supervisord.pid(name)), pids);
}

#[test]
fn a_second_command_on_the_same_program_is_told_who_is_at_work() {
    let world = World::apps(&["web1", "web2", "web3"], "");
    let (name, request) = busy(&world, 4);
    let command = world.start(&["restart", name]);
    world.haproxy.expect(name, "drain");
    let id = command.id();
    let run = world.run(&["restart", "all"]).expect(4);
    run.complains(&format!("`{name}` is in the hands of another command: pid {id} (`"))
        .complains(&format!("restart {name}"));
    world.run(&["status"]).expect(1).says(&format!("in the hands of pid {id}"));
    let other = if name == "web1" { "web2" } else { "web1" };
    world.run(&["restart", other]).expect(0);
    command.wait().expect(0);
    assert_eq!(request.join().unwrap(), Ok(()));
}

#[test]
fn a_batch_is_restarted_at_the_same_time_and_enough_stay_up() {
    let names = ["web1", "web2", "web3", "web4"];
    let world = World::apps(&names, "");
    let mut command = world.start(&["restart", "all", "--batch", "50%", "--min-ready", "2"]);
    let (mut fewest, mut most_out) = (4, 0);
    while !command.has_ended() {
        let statuses = world.haproxy.statuses();
        let up = statuses.values().filter(|status| status.starts_with("UP")).count();
        fewest = fewest.min(up);
        most_out = most_out.max(names.len() - up);
    }
    command.wait().expect(0).says("4 of 4 restarted");
    assert_eq!((fewest, most_out), (2, 2));
}

#[test]
fn what_is_no_target_is_said_with_what_there_is() {
    let world = World::apps(&["web1", "web2"], "");
    let run: Run = world.run(&["restart", "web9", "listener"]).expect(2);
    run.complains("`web9` is no program that a server stands for; there are `web1`, `web2`")
        .complains("`listener` is no program that a server stands for");
}
