//! Faults of HAProxy that a real one cannot be made to show.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::{Act, FakeHaproxy, Listener, event, eventually, for_a_while, servers_state, survey};

fn reply(text: &str) -> Act {
    Act::Reply(text.as_bytes().to_vec())
}

/// A listener with a time limit that keeps tests of silence short, and is long for a busy machine; and without surveys, unless asked.
fn start(options: &[&str]) -> (Listener, FakeHaproxy, tempfile::TempDir) {
    start_with(options, |_| {})
}

/// The same, with a HAProxy that has its part before the listener looks at it first.
fn start_with(
    options: &[&str],
    prepare: impl FnOnce(&FakeHaproxy),
) -> (Listener, FakeHaproxy, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let fake = FakeHaproxy::start(directory.path());
    prepare(&fake);
    let socket = fake.path.to_str().unwrap().to_owned();
    let always = ["--timeout", "2s", "--breaker-reset", "200ms"];
    let listener = Listener::start(directory.path(), &[&always, options, &[&socket, "a*=app/a*"]].concat());
    (listener, fake, directory)
}

const UNPOLLED: &[&str] = &["--poll-interval", "0"];

/// A fault, then health: the state arrives, and the listener has said what happened.
fn recovers_from(fault: Act, message: &str) {
    let (mut listener, fake, _directory) = start(UNPOLLED);
    fake.on("set server app/a1", [fault, reply("\n")]);
    listener.process("a1", "STOPPED");
    eventually("a second try", || (fake.setters().len() == 2).then_some(()));
    listener.expect_log("`app/a1` set to maint");
    assert!(listener.log().contains(message), "{message}\n{}", listener.log());
    listener.finish();
}

#[test]
fn silence_is_overcome() {
    recovers_from(Act::Hang(Vec::new()), "no complete reply within 2s (0 bytes so far)");
}

#[test]
fn half_a_reply_is_overcome() {
    // The line end is there, and the end of the connection is not: HAProxy always closes.
    recovers_from(Act::Hang(b"\n".to_vec()), "no complete reply within 2s (1 bytes so far)");
}

#[test]
fn a_reset_is_overcome() {
    recovers_from(Act::Reset, "set server app/a1 state maint: ");
}

#[test]
fn an_empty_reply_is_no_success() {
    recovers_from(reply(""), "the connection was closed without a reply");
}

#[test]
fn a_disabled_proxy_is_tried_again() {
    recovers_from(
        reply("Proxy is disabled.\n\n"),
        "the proxy is disabled, or this HAProxy process is being replaced",
    );
}

#[test]
fn a_megabyte_of_nonsense_is_quoted_briefly() {
    recovers_from(Act::Flood(1 << 20), "HAProxy says `xxxx");
}

#[test]
fn another_service_on_the_port_does_no_harm() {
    recovers_from(
        reply("HTTP/1.1 400 Bad Request\r\n\r\n"),
        "this is a web port, not HAProxy's admin socket: it says `HTTP/1.1 400 Bad Request`",
    );
}

#[test]
fn refusals_for_good_are_told_once_and_not_repeated() {
    for (text, message) in [
        ("No such server.\n\n", "no such server; backend `app` has `a1`, `a2`, `a3`"),
        ("No such backend.\n\n", "no such backend; backend `app` has"),
        ("Permission denied\n\n", "permission denied; give the `stats socket` line of HAProxy `level admin`"),
        (
            "Unknown command. Please enter one of\n help\n\n",
            "unknown command; this is no HAProxy admin socket",
        ),
        ("[3]: No such server.\n\n", "no such server"),
    ] {
        let (mut listener, fake, _directory) = start_with(&["--poll-interval", "100ms"], |fake| {
            // The server is not among those that surveys show: else its appearance would be a reason to try again.
            fake.on("show info", [reply(&survey("UP").replace(",a1,", ",b1,"))]);
            fake.on("set server app/a1", [reply(text)]);
        });
        listener.process("a1", "STOPPED");
        listener.expect_log(message);
        fake.expect_count(1);
        for_a_while(Duration::from_millis(500), || assert_eq!(fake.setters().len(), 1, "{text}"));
        let told = listener.log().lines().filter(|line| line.contains("error: ")).count();
        assert_eq!(told, 1, "{}", listener.log());
        listener.finish();
    }
}

#[test]
fn the_circuit_breaker_opens_probes_and_closes() {
    let (mut listener, fake, _directory) = start(UNPOLLED);
    fake.on("set server", [Act::Reset]);
    listener.process("a1", "STOPPED");
    listener.expect_log("circuit breaker open after 3 failures; next try in 200ms");
    listener.expect_log("circuit breaker half-open: trying once");
    listener.expect_log("circuit breaker open again");
    fake.on("set server", [reply("\n")]);
    listener.expect_log("circuit breaker closed: HAProxy answers again");
    listener.expect_log("`app/a1` set to maint");
    listener.finish();
}

#[test]
fn a_hanging_haproxy_never_holds_up_supervisord() {
    let directory = tempfile::tempdir().unwrap();
    let fake = FakeHaproxy::start(directory.path());
    fake.on("set server", [Act::Hang(Vec::new())]);
    let socket = fake.path.to_str().unwrap();
    let patient = ["--poll-interval", "0", "--timeout", "20s", socket, "a*=app/a*"];
    let mut listener = Listener::start(directory.path(), &patient);
    listener.process("a1", "STOPPED");
    let start = Instant::now();
    for _ in 0..100 {
        listener.process("a2", "STARTING");
        listener.process("a2", "STOPPED");
    }
    // Two hundred events would take more than an hour if each waited for its command.
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    fake.expect_count(1);
}

#[test]
fn a_slow_haproxy_gets_the_latest_wish_only() {
    let (mut listener, fake, _directory) = start(UNPOLLED);
    fake.on("set server app/a1 state maint", [Act::Hang(Vec::new()), reply("\n")]);
    listener.process("a1", "STOPPED");
    for state in ["STARTING", "RUNNING", "STOPPING", "STOPPED", "STARTING", "RUNNING"] {
        listener.process("a2", state);
    }
    fake.expect("set server app/a2 state ready");
    let setters = fake.setters();
    let second: Vec<&String> = setters.iter().filter(|line| line.contains("a2")).collect();
    assert_eq!(second, ["set server app/a2 state ready"]);
    listener.finish();
}

#[test]
fn a_slow_accept_is_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let fake = FakeHaproxy::start_slow(directory.path(), Duration::from_millis(200));
    let arguments = ["--poll-interval", "0", "--timeout", "20s", fake.path.to_str().unwrap(), "a*=app/a*"];
    let mut listener = Listener::start(directory.path(), &arguments);
    listener.process("a1", "STOPPED");
    listener.process("a2", "STOPPED");
    fake.expect("set server app/a2 state maint");
    let log = listener.finish();
    assert!(!log.contains("warn: haproxy"), "{log}");
    fake.expect_count(2);
}

#[test]
fn a_missing_socket_is_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("fake.sock");
    let arguments = ["--breaker-reset", "100ms", socket.to_str().unwrap(), "a*=app/a*"];
    let mut listener = Listener::start(directory.path(), &arguments);
    listener.process("a1", "STOPPED");
    listener.expect_log("cannot connect: No such file or directory");
    let fake = FakeHaproxy::start(directory.path());
    fake.expect("set server app/a1 state maint");
    listener.finish();
}

#[test]
fn at_the_end_what_haproxy_did_not_take_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let mut listener = Listener::start(directory.path(), &["/nonexistent/socket", "a1:app/a1"]);
    listener.process("a1", "STOPPED");
    let start = Instant::now();
    let log = listener.finish();
    assert!(start.elapsed() >= Duration::from_secs(2), "it tried until the end");
    assert!(log.contains("`app/a1` was not set to maint"), "{log}");
}

#[test]
fn an_event_whose_command_hangs_is_answered_before_the_end() {
    let (mut listener, fake, _directory) = start(UNPOLLED);
    fake.on("set server", [Act::Hang(Vec::new())]);
    let payload = "processname:a1 groupname:app from_state:RUNNING";
    listener.write(event(0, "PROCESS_STATE_STOPPED", payload).as_bytes());
    fake.expect("set server app/a1 state maint");
    listener.signal(Signal::SIGTERM);
    let (status, answer) = listener.wait();
    assert!(status.success(), "{status}");
    assert!(["RESULT 2\nOK", "RESULT 2\nOKREADY\n"].contains(&answer.as_str()), "{answer:?}");
}

#[test]
fn xml_rpc_that_fails_in_any_way_holds_nobody_up() {
    for (fault, message) in [
        (Act::Hang(Vec::new()), "no complete reply within 2s (0 bytes so far)"),
        (
            Act::Hang(b"HTTP/1.0 200 OK\r\nContent-Length: 99\r\n\r\n<meth".to_vec()),
            "no complete reply within 2s",
        ),
        (Act::Reset, "supervisor.getPID: "),
        (reply("HTTP/1.0 200 OK\r\n\r\n<methodResponse><params>"), "the document ends too early"),
        (reply("HTTP/1.0 500 Internal Server Error\r\n\r\n"), "HTTP status 500"),
        (Act::Flood(1 << 20), "no HTTP reply"),
    ] {
        let (directory, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (fake, rpc) = (FakeHaproxy::start(directory.path()), FakeHaproxy::start(other.path()));
        rpc.on("POST /RPC2", [fault]);
        let url = format!("unix://{}", rpc.path.display());
        let variables = [("SUPERVISOR_SERVER_URL", url.as_str())];
        let arguments = [fake.path.to_str().unwrap(), "a*=app/a*"];
        let mut listener = Listener::start_with(directory.path(), &arguments, &variables);
        listener.process("a1", "STOPPED");
        fake.expect("set server app/a1 state maint");
        listener.expect_log(message);
        listener.expect_log("going on with events alone, and trying again");
        listener.signal(Signal::SIGTERM);
        assert!(listener.wait().0.success());
        assert!(listener.log().contains("servers are left as they are"), "{}", listener.log());
    }
}

#[test]
fn several_haproxies_are_independent() {
    let directory = tempfile::tempdir().unwrap();
    let fake = FakeHaproxy::start(directory.path());
    let sockets = format!("/nonexistent/socket,{}", fake.path.display());
    let mut listener = Listener::start(directory.path(), &["--timeout", "2s", &sockets, "a*=app/a*"]);
    listener.process("a1", "STOPPED");
    fake.expect("set server app/a1 state maint");
    listener.expect_log("haproxy unix:///nonexistent/socket: ");
}

#[test]
fn a_replaced_haproxy_is_told_everything_again() {
    let (mut listener, fake, _directory) = start(&["--poll-interval", "100ms"]);
    listener.process("a1", "STOPPED");
    listener.process("a2", "STOPPED");
    fake.expect_count(2);
    // Who asks again has understood the answer before: it knows whom to compare with.
    fake.expect_asked("show info", 3);
    fake.on("show info", [reply(&survey("UP").replace("Start_time_sec: 1000", "Start_time_sec: 1060"))]);
    listener.expect_log("HAProxy was restarted or reloaded (pid 7, now 7)");
    eventually("both again", || (fake.setters().len() >= 4).then_some(()));
    listener.finish();
}

#[test]
fn a_process_on_its_way_out_does_not_fool_the_poller() {
    let (mut listener, fake, _directory) = start(&["--poll-interval", "100ms"]);
    listener.process("a1", "STOPPED");
    fake.on(
        "show info",
        [
            reply(&survey("MAINT").replace("Stopping: 0", "Stopping: 1").replace("Pid: 7", "Pid: 6")),
            reply(&survey("MAINT")),
        ],
    );
    fake.expect_count(1);
    for_a_while(Duration::from_millis(500), || assert_eq!(fake.setters().len(), 1));
    assert!(!listener.log().contains("restarted"), "{}", listener.log());
    listener.finish();
}

#[test]
fn a_cut_or_foreign_survey_changes_nothing() {
    for text in [
        "Pid: 9\n\n# pxname,svname,qcur,scur,status,lastchg,type,check_status,last_chk,\napp,a1,0,0,UP,5,2,,,\n",
        "x\n\n",
    ] {
        let (mut listener, fake, _directory) = start(&["--poll-interval", "100ms"]);
        listener.process("a1", "STOPPED");
        fake.on("show info", [reply(text)]);
        listener.expect_log("show info;show stat -1 4 -1: ");
        fake.expect_count(1);
        listener.finish();
    }
}

#[test]
fn surveys_that_get_no_answer_hold_up_no_state() {
    for act in [Act::Hang(Vec::new()), reply("Pid: 7\n\n# pxname,svname\n")] {
        let polled = &["--poll-interval", "100ms"];
        let (mut listener, fake, _directory) = start_with(polled, |fake| fake.on("show info", [act]));
        listener.expect_log("show info;show stat -1 4 -1: ");
        listener.process("a1", "STOPPED");
        listener.process("a2", "RUNNING");
        fake.expect_all(["set server app/a1 state maint", "set server app/a2 state ready"]);
        listener.finish();
    }
}

#[test]
fn a_gate_is_asked_for_only_when_a_checked_server_leaves_maint() {
    for (admin, check, expected) in [
        (1, 14, "set server app/a1 state ready;set server app/a1 health down"),
        (1, 0, "set server app/a1 state ready"),
        (8, 6, "set server app/a1 state ready"),
    ] {
        let (mut listener, fake, _directory) = start(UNPOLLED);
        let state = servers_state(admin).replace(&format!("{admin} 0\n"), &format!("{admin} {check}\n"));
        fake.on("show servers state", [reply(&state)]);
        fake.on("set server", [reply("\n\n")]);
        listener.process("a1", "RUNNING");
        fake.expect_all([expected]);
        listener.finish();
    }
}

#[test]
fn more_processes_behind_one_socket_are_warned_of() {
    let (listener, fake, _directory) = start(&["--poll-interval", "100ms"]);
    fake.on("show info", [reply(&survey("UP").replace("Pid: 7", "Nbproc: 4\nPid: 7"))]);
    listener.expect_log("4 processes share this socket");
    listener.finish();
}
