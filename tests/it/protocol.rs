//! The event protocol over pipes, byte for byte.

use std::fs::{self, File};
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use crate::support::{Act, BINARY, FakeHaproxy, Listener, event, for_a_while};

/// A listener for `a1` to `a3` of the group `app`, and the HAProxy that it tells.
fn start(options: &[&str]) -> (Listener, FakeHaproxy, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let fake = FakeHaproxy::start(directory.path());
    let socket = fake.path.to_str().unwrap().to_owned();
    let listener = Listener::start(directory.path(), &[options, &[&socket, "a*=app/a*"]].concat());
    (listener, fake, directory)
}

#[test]
fn every_row_of_the_table_becomes_a_command() {
    let (mut listener, fake, _directory) = start(&["--poll-interval", "0"]);
    let mut expected = Vec::new();
    for (state, action) in [
        ("STARTING", "maint"),
        ("RUNNING", "ready"),
        ("BACKOFF", "maint"),
        ("RUNNING", "ready"),
        ("EXITED", "maint"),
        ("RUNNING", "ready"),
        ("STOPPING", "drain"),
        ("STOPPED", "maint"),
        ("RUNNING", "ready"),
        ("FATAL", "maint"),
        ("RUNNING", "ready"),
        ("UNKNOWN", "maint"),
    ] {
        listener.process("a1", state);
        expected.push(format!("set server app/a1 state {action}"));
        fake.expect_all(&expected);
    }
    listener.finish();
    assert!(fake.reads().iter().all(|reads| *reads == 1), "each command is one write: {:?}", fake.reads());
}

#[test]
fn the_table_can_be_overridden() {
    let (mut listener, fake, _directory) =
        start(&["--poll-interval", "0", "--action", "STOPPING=maint", "--action", "exited=drain"]);
    listener.process("a1", "STOPPING");
    listener.process("a2", "EXITED");
    fake.expect_all(["set server app/a1 state maint", "set server app/a2 state drain"]);
}

#[test]
fn other_events_are_accepted_and_ignored() {
    let (mut listener, fake, _directory) = start(&[]);
    listener.event("TICK_5", "when:1763690000");
    listener.event("SUPERVISOR_STATE_CHANGE_RUNNING", "");
    listener.event("PROCESS_GROUP_ADDED", "groupname:app\n");
    listener.event("PROCESS_LOG_STDERR", "processname:a1 groupname:app pid:1 channel:stderr\nno\n");
    listener.event("SOMETHING_NEW", "?");
    listener.process("other", "STOPPED");
    assert_eq!(fake.setters(), [""; 0]);
    listener.finish();
}

#[test]
fn events_in_pieces_and_events_in_a_row_are_the_same() {
    let (mut listener, fake, _directory) = start(&[]);
    for byte in
        event(0, "PROCESS_STATE_STOPPED", "processname:a1 groupname:caf\u{e9} from_state:X pid:0").bytes()
    {
        listener.write(&[byte]);
    }
    listener.expect_output("RESULT 2\nOKREADY\n");
    let stopped = |name: &str| format!("processname:{name} groupname:app from_state:X pid:0");
    let two = event(1, "PROCESS_STATE_STOPPED", &stopped("a2"))
        + &event(2, "PROCESS_STATE_STOPPED", &stopped("a3"));
    listener.write(two.as_bytes());
    listener.expect_output("RESULT 2\nOKREADY\nRESULT 2\nOKREADY\n");
    fake.expect_count(3);
    listener.finish();
}

#[test]
fn nothing_is_answered_before_the_whole_payload_was_read() {
    let (mut listener, _fake, _directory) = start(&[]);
    let text = event(0, "REMOTE_COMMUNICATION", &format!("type:x\n{}", "\u{1f980}".repeat(300_000)));
    let (most, last) = text.as_bytes().split_at(text.len() - 1);
    listener.write(most);
    listener.write(last);
    listener.expect_output("RESULT 2\nOKREADY\n");
    listener.finish();
}

#[test]
fn a_huge_payload_takes_no_memory() {
    let (mut listener, _fake, _directory) = start(&[]);
    let before = listener.memory("VmHWM");
    listener.event("REMOTE_COMMUNICATION", &"x".repeat(50 << 20));
    assert!(listener.memory("VmHWM") < before + 4096, "{before} {} KiB", listener.memory("VmHWM"));
    listener.finish();
}

#[test]
fn an_older_or_repeated_event_changes_nothing() {
    let (mut listener, fake, _directory) = start(&[]);
    let payload = "processname:a1 groupname:app from_state:STARTING";
    listener.numbered(7, "PROCESS_STATE_STOPPED", payload);
    listener.numbered(3, "PROCESS_STATE_RUNNING", payload);
    listener.numbered(7, "PROCESS_STATE_STOPPED", payload);
    fake.expect_all(["set server app/a1 state maint"]);
    listener.finish();
}

#[test]
fn the_end_of_stdin_is_a_clean_end() {
    let (listener, _fake, _directory) = start(&[]);
    let log = listener.finish();
    assert!(log.contains("supervisord has closed stdin; servers are left as they are"), "{log}");
}

#[test]
fn an_event_in_hand_is_finished_before_the_end() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let (mut listener, fake, _directory) = start(&[]);
        listener.process("a1", "STOPPED");
        listener.signal(signal);
        listener.signal(signal);
        let (status, rest) = listener.wait();
        assert!(status.success() && rest.is_empty(), "{status} {rest:?}");
        fake.expect_all(["set server app/a1 state maint"]);
        assert!(listener.log().contains("leaving without XML-RPC: servers are left as they are"));
    }
}

#[test]
fn a_closed_stdout_is_a_quiet_end() {
    let directory = tempfile::tempdir().unwrap();
    let (read, write) = nix::unistd::pipe().unwrap();
    drop(read);
    let status = Command::new(BINARY)
        .args(["/nonexistent/socket", "a:b/c"])
        .stdin(Stdio::piped())
        .stdout(Stdio::from(write))
        .stderr(File::create(directory.path().join("log")).unwrap())
        .status()
        .unwrap();
    assert!(status.success(), "{status}");
    let log = fs::read_to_string(directory.path().join("log")).unwrap();
    assert!(!log.contains("panic"), "{log}");
}

#[test]
fn hangup_sets_everything_again_and_other_signals_do_nothing() {
    let (mut listener, fake, _directory) = start(&["--poll-interval", "0"]);
    listener.process("a1", "STOPPED");
    for signal in [Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGPIPE] {
        listener.signal(signal);
    }
    listener.event("TICK_5", "when:5");
    fake.expect_count(1);
    // What is under way as the signal comes needs no repetition.
    listener.expect_log("`app/a1` set to maint");
    listener.signal(Signal::SIGHUP);
    crate::support::eventually("the second setter", || (fake.setters().len() == 2).then_some(()));
    listener.finish();
}

#[test]
fn damaged_events_end_the_listener_with_a_clear_error() {
    for (bytes, expected) in [
        (
            &b"ver:3.0 server:supervisor serial:21\n"[..],
            "error: supervisor event: header `len` missing in `ver:3.0",
        ),
        (b"eventname:A len:99999999999\n", "more than the 268435456 characters"),
        (b"eventname:A len:-1\n", "`len:-1` is not a number from 0 on"),
        (b"\xff\xfe len:0\n", "the header is not UTF-8"),
        (b"eventname:PROCESS_STATE_RUNNING len:3\nabc", "expected `processname:"),
        (b"eventname:PROCESS_STATE_RUNNING len:3\n\xff\xff\xff", "is not UTF-8"),
    ] {
        let (mut listener, _fake, _directory) = start(&[]);
        listener.write(bytes);
        let (status, rest) = listener.wait();
        assert_eq!((status.code(), rest.as_str()), (Some(1), ""), "{expected}");
        assert!(listener.log().contains(expected), "{expected}\n{}", listener.log());
    }
}

#[test]
fn a_header_without_end_and_an_event_cut_short_are_errors() {
    let (mut listener, _fake, _directory) = start(&[]);
    listener.write(&vec![b'x'; 70_000]);
    assert_eq!(listener.wait().0.code(), Some(1));
    assert!(listener.log().contains("no line end within 65536 bytes"));

    let (mut listener, _fake, _directory) = start(&[]);
    listener.write(b"ver:3.0 eventname:TICK_5 len:30\nwhen");
    listener.close();
    assert_eq!(listener.wait().0.code(), Some(1));
    assert!(listener.log().contains("the stream ended within an event, after 4 bytes of it"));
}

#[test]
fn a_regular_file_and_a_device_can_be_stdin() {
    let directory = tempfile::tempdir().unwrap();
    let fake = FakeHaproxy::start(directory.path());
    let file = directory.path().join("events");
    let stopped = event(0, "PROCESS_STATE_STOPPED", "processname:a1 groupname:app from_state:X pid:0");
    fs::write(&file, stopped + &event(1, "TICK_5", "when:5")).unwrap();
    for (stdin, expected) in
        [(file.as_path(), "READY\nRESULT 2\nOKREADY\nRESULT 2\nOKREADY\n"), ("/dev/null".as_ref(), "READY\n")]
    {
        let output = Command::new(BINARY)
            .arg(&fake.path)
            .arg("a1:app/a1")
            .stdin(File::open(stdin).unwrap())
            .output()
            .unwrap();
        let log = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{log}");
        assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
    }
    fake.expect_all(["set server app/a1 state maint"]);
}

#[test]
fn logs_never_reach_stdout_in_either_form() {
    for format in ["text", "json"] {
        let (mut listener, fake, _directory) = start(&["-v", "-v", "--log-format", format]);
        fake.on("set server", [Act::Reply(b"No such server.\n\n".to_vec())]);
        listener.process("a1", "STOPPED");
        listener.expect_log("no such server");
        let log = listener.finish();
        if format == "json" {
            for line in log.lines() {
                let value: serde_json::Value = serde_json::from_str(line).unwrap();
                assert!(
                    value["time"].is_string() && value["level"].is_string() && value["message"].is_string()
                );
            }
        }
    }
}

#[test]
fn whatever_else_writes_to_stdout_ends_up_on_stderr() {
    let (listener, _fake, _directory) = start(&[]);
    let target = |number: u32| fs::read_link(format!("/proc/{}/fd/{number}", listener.pid())).unwrap();
    assert_eq!(target(1), target(2), "a panic, a library or a child cannot reach supervisord");
    listener.finish();
}

#[test]
fn in_a_dry_run_nothing_is_sent_that_changes_haproxy() {
    let (mut listener, fake, _directory) = start(&["--dry-run"]);
    listener.process("a1", "STOPPED");
    listener.process("a2", "RUNNING");
    listener.expect_log("dry run, not sent: set server app/a1 state maint");
    listener.expect_log("dry run, not sent: set server app/a2 state ready");
    for_a_while(std::time::Duration::from_millis(200), || assert_eq!(fake.setters(), [""; 0]));
    listener.finish();
}

#[test]
fn a_switch_can_be_an_environment_variable() {
    let directory = tempfile::tempdir().unwrap();
    let fake = FakeHaproxy::start(directory.path());
    let arguments = [fake.path.to_str().unwrap(), "a1:app/a1"];
    for (value, is_dry) in [("yes", true), ("0", false), ("", false)] {
        let variables = [("SUPERVISOR_HAPROXY_DRY_RUN", value)];
        let mut listener = Listener::start_with(directory.path(), &arguments, &variables);
        listener.process("a1", "STOPPED");
        listener.expect_log(if is_dry { "dry run, not sent: " } else { "`app/a1` set to maint" });
        listener.finish();
    }
    fake.expect_count(2);
}

#[test]
fn lost_events_are_noticed() {
    let (mut listener, _fake, _directory) = start(&[]);
    listener.numbered(0, "TICK_5", "when:5");
    listener.numbered(4, "TICK_5", "when:10");
    listener.expect_log("supervisord dropped 3 events");
    listener.finish();
}
