//! Orders of the program's own commands, over pipes: what HAProxy is told, what is said, and what outlives the
//! listener.

use std::fs;
use std::path::Path;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::support::{FakeHaproxy, Listener, eventually};

const HOLD: &str = r#"{"hold":{"servers":["app/a1"],"by":"root","reason":"new disk","since":1760000000}}"#;
const RELEASE: &str = r#"{"release":{"servers":["app/a1"],"by":"root"}}"#;
const UNCLAIM: &str = r#"{"unclaim":{"servers":["app/a1"],"by":"update 7"}}"#;

fn claim(state: &str, seconds: u32) -> String {
    format!(r#"{{"claim":{{"servers":["app/a1"],"state":"{state}","by":"update 7","seconds":{seconds}}}}}"#)
}

/// A listener for `a1` to `a3` of the group `app` that never looks at HAProxy by itself.
fn start(directory: &Path, fake: &FakeHaproxy, options: &[&str]) -> Listener {
    let always = ["--poll-interval", "0", fake.path.to_str().unwrap(), "a*=app/a*"];
    Listener::start(directory, &[options, &always].concat())
}

/// Waits until HAProxy was told last that `a1` is to be this: what is wanted in between it need not be told.
#[track_caller]
fn told(fake: &FakeHaproxy, state: &str) {
    fake.expect_last(&format!("set server app/a1 state {state}"));
}

fn place() -> (TempDir, FakeHaproxy) {
    let directory = tempfile::tempdir().unwrap();
    let fake = FakeHaproxy::start(directory.path());
    (directory, fake)
}

#[test]
fn a_held_server_is_in_maint_whatever_its_program_does_until_its_release() {
    let (directory, fake) = place();
    let mut listener = start(directory.path(), &fake, &[]);
    listener.process("a1", "RUNNING");
    told(&fake, "ready");
    listener.order(HOLD);
    let held = ["set server app/a1 state ready", "set server app/a1 state maint"];
    fake.expect_all(held);
    for state in ["STOPPING", "STOPPED", "STARTING", "RUNNING"] {
        listener.process("a1", state);
    }
    fake.expect_all(held);
    listener.order(RELEASE);
    told(&fake, "ready");
    listener.process("a1", "STOPPING");
    told(&fake, "drain");
    let log = listener.finish();
    for expected in [
        "info: held by root: new disk: app/a1",
        "info: released by root: app/a1",
        "warn: holds are not kept across a restart of this listener: supervisord has no unix socket",
    ] {
        assert!(log.contains(expected), "{expected}\n{log}");
    }
}

#[test]
fn a_claimed_server_is_less_available_until_its_command_says_so() {
    let (directory, fake) = place();
    let mut listener = start(directory.path(), &fake, &[]);
    listener.process("a1", "RUNNING");
    told(&fake, "ready");
    listener.order(&claim("drain", 300));
    told(&fake, "drain");
    listener.order(&claim("drain", 300));
    listener.process("a1", "STOPPED");
    told(&fake, "maint");
    listener.process("a1", "RUNNING");
    told(&fake, "drain");
    listener.order(UNCLAIM);
    let states = ["ready", "drain", "maint", "drain", "ready"];
    fake.expect_all(states.map(|state| format!("set server app/a1 state {state}")));
    let log = listener.finish();
    assert_eq!(log.matches("info: claimed by update 7: app/a1 drain, for 300 s").count(), 1, "{log}");
    assert_eq!(log.matches("debug: claimed by update 7: app/a1 drain, for 300 s").count(), 1, "{log}");
    assert!(log.contains("info: claimed by update 7 no longer: app/a1"), "{log}");
}

#[test]
fn a_claim_that_is_not_renewed_expires() {
    let (directory, fake) = place();
    let mut listener = start(directory.path(), &fake, &[]);
    listener.process("a1", "RUNNING");
    told(&fake, "ready");
    listener.order(&claim("maint", 1));
    eventually("the end of the claim", || (fake.setters().len() == 3).then_some(()));
    fake.expect_all(["ready", "maint", "ready"].map(|state| format!("set server app/a1 state {state}")));
    listener.expect_log(
        "warn: the claim of update 7 on app/a1 has expired: its command ended without a word; following the \
         programs again",
    );
    listener.finish();
}

#[test]
fn what_is_no_order_is_warned_of_and_what_is_for_others_is_none_of_ours() {
    let (directory, fake) = place();
    let mut listener = start(directory.path(), &fake, &[]);
    for (order, cause) in [
        ("", "an order cannot be read and is not followed: EOF while parsing a value"),
        (r#"{"stop":{}}"#, "unknown variant `stop`"),
        (r#"{"hold":{"servers":["app/a1;x"],"by":"","reason":"","since":1}}"#, "holds ';'"),
        (&claim("ready", 5), "a claim of ready, expected `drain` or `maint`"),
        (&HOLD.replace("new", &"n".repeat(2 << 20)), "characters is not followed: 1048576 bytes are kept"),
    ] {
        listener.order(order);
        listener.expect_log(cause);
    }
    let warnings = listener.log().matches("warn: ").count();
    for (kind, data) in [("other", HOLD), ("supervisor-haproxy 2", HOLD), ("x", "secret"), ("", "")] {
        listener.event("REMOTE_COMMUNICATION", &format!("type:{kind}\n{data}"));
    }
    listener.event("REMOTE_COMMUNICATION", &format!("type:x\n{}", "x".repeat(2 << 20)));
    listener.event("REMOTE_COMMUNICATION", "supervisor-haproxy");
    assert_eq!(fake.setters(), [""; 0]);
    let log = listener.finish();
    assert_eq!(log.matches("warn: ").count(), warnings, "{log}");
    assert!(!log.contains("secret"), "what others say is theirs: {log}");
}

#[test]
fn an_order_that_comes_again_is_not_followed_again() {
    let (directory, fake) = place();
    let mut listener = start(directory.path(), &fake, &[]);
    let payload = |order: &str| format!("type:supervisor-haproxy\n{order}");
    listener.process("a1", "RUNNING");
    told(&fake, "ready");
    listener.numbered(5, "REMOTE_COMMUNICATION", &payload(HOLD));
    told(&fake, "maint");
    listener.numbered(6, "REMOTE_COMMUNICATION", &payload(RELEASE));
    told(&fake, "ready");
    listener.numbered(5, "REMOTE_COMMUNICATION", &payload(HOLD));
    listener.finish();
    fake.expect_count(3);
}

#[test]
fn a_server_that_no_program_stands_for_is_held_and_then_left_as_it_is() {
    let (directory, fake) = place();
    let mut listener = start(directory.path(), &fake, &[]);
    listener.order(&HOLD.replace("a1", "x1"));
    fake.expect_all(["set server app/x1 state maint"]);
    listener.order(&RELEASE.replace("a1", "x1"));
    listener.expect_log("warn: left as they are, for no program is known that they stand for: app/x1");
    // Everything that is wanted is told again, and this is not.
    listener.process("a2", "STOPPED");
    listener.expect_log("`app/a2` set to maint");
    listener.signal(Signal::SIGHUP);
    eventually("the second round", || (fake.setters().len() == 3).then_some(()));
    assert_eq!(fake.setters()[1..], ["set server app/a2 state maint", "set server app/a2 state maint"]);
    listener.finish();
}

#[test]
fn a_hold_outlives_the_listener_and_a_claim_does_not() {
    let (directory, fake) = place();
    let file = directory.path().join("holds");
    let options = ["--holds-file", file.to_str().unwrap()];
    let mut listener = start(directory.path(), &fake, &options);
    listener.order(HOLD);
    listener.order(&claim("drain", 300).replace("a1", "a2"));
    assert!(fs::read_to_string(&file).unwrap().contains("new disk"), "it is answered when it is kept");
    listener.finish();

    let mut listener = start(directory.path(), &fake, &options);
    listener.expect_log("info: still held by root: new disk: app/a1");
    listener.process("a1", "RUNNING");
    listener.process("a2", "RUNNING");
    eventually("all setters", || (fake.setters().len() == 4).then_some(()));
    let setters = ["a1 state maint", "a2 state drain", "a1 state maint", "a2 state ready"];
    fake.expect_all(setters.map(|setter| format!("set server app/{setter}")));
    listener.order(RELEASE);
    told(&fake, "ready");
    listener.finish();

    let log = start(directory.path(), &fake, &options).finish();
    assert!(!log.contains("held"), "{log}");
    assert_eq!(
        fs::read_dir(directory.path()).unwrap().count(),
        3,
        "the fake's socket, the log and the holds"
    );
}

#[test]
fn a_damaged_file_is_not_overwritten() {
    let (directory, fake) = place();
    let file = directory.path().join("holds");
    fs::write(&file, r#"{"version":1,"holds":[{"server":"app/a2""#).unwrap();
    let mut listener = start(directory.path(), &fake, &["--holds-file", file.to_str().unwrap()]);
    listener.expect_log("warn: holds file `");
    listener.expect_log("`: is damaged: EOF while parsing");
    listener.process("a1", "RUNNING");
    let aside = directory.path().join("holds.damaged");
    assert!(file.exists() && !aside.exists(), "nothing is touched without need");
    listener.order(HOLD);
    listener.expect_log("holds.damaged`");
    assert!(fs::read_to_string(&aside).unwrap().ends_with("app/a2\""));
    assert!(fs::read_to_string(&file).unwrap().contains("app/a1"));
    listener.finish();
}

#[test]
fn a_file_that_cannot_be_written_is_warned_of_and_the_hold_stands() {
    let (directory, fake) = place();
    let device = ("/dev/null", "is no regular file");
    let missing = directory.path().join("missing/holds");
    for (path, cause) in [(missing.to_str().unwrap(), "cannot be written: No such file"), device] {
        let mut listener = start(directory.path(), &fake, &["--holds-file", path]);
        listener.process("a1", "RUNNING");
        listener.order(HOLD);
        told(&fake, "maint");
        listener.expect_log(&format!("warn: holds file `{path}`: {cause}"));
        listener.expect_log("a restart of this listener will not know of this hold; ");
        listener.expect_log("`--holds-file`");
        listener.finish();
    }
}
