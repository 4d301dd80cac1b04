//! What a user types, and what is answered.

use std::process::{Command, Output, Stdio};

use crate::support::BINARY;

fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } =
        Command::new(BINARY).args(arguments).stdin(Stdio::null()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn wrong_arguments_are_all_told_and_end_with_2() {
    let (code, stdout, stderr) = run(&["localhost:8800", "web", "a:b/c d;e"]);
    assert_eq!((code, stdout.as_str()), (Some(2), ""));
    for expected in [
        "error: SOCKET `localhost:8800`: expected `tcp://HOST:PORT`",
        "error: PROGRAM `web`: expected `program:backend/server`",
        "error: PROGRAM `a:b/c d;e`: the server name `c d;e` holds ' '",
        "--help",
    ] {
        assert!(stderr.contains(expected), "{expected}\n{stderr}");
    }
}

#[test]
fn missing_and_unknown_arguments_end_with_2() {
    for arguments in
        [&[][..], &["/run/h.sock"], &["--frobnicate", "/run/h.sock", "a:b/c"], &["--timeout", "x"]]
    {
        let (code, stdout, stderr) = run(arguments);
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(stderr.contains("error: "), "{stderr}");
    }
}

#[test]
fn arguments_that_are_no_text_end_with_2() {
    use std::os::unix::ffi::OsStrExt;
    let odd = std::ffi::OsStr::from_bytes(b"/run/h\xff.sock");
    let output = Command::new(BINARY).arg(odd).arg("a:b/c").stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn help_tells_a_newcomer_what_to_do() {
    let (code, stdout, stderr) = run(&["--help"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    for expected in [
        "[eventlistener:haproxy]",
        "level admin",
        "SOCKET",
        "PROGRAM",
        "--enforce",
        "SUPERVISOR_HAPROXY_TIMEOUT",
        "RUNNING sets ready",
        "Exit codes",
    ] {
        assert!(stdout.contains(expected), "{expected}\n{stdout}");
    }
}

#[test]
fn the_version_is_that_of_the_package() {
    let (code, stdout, _) = run(&["--version"]);
    assert_eq!((code, stdout.trim()), (Some(0), concat!("supervisor-haproxy ", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn options_come_from_the_environment_too() {
    let output = Command::new(BINARY)
        .args(["/run/h.sock", "a:b/c"])
        .env("SUPERVISOR_HAPROXY_ACTION", "STOPPING=maint,FATAL=up")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("--action `FATAL=up`: `up` is none of `ready`, `drain`, `maint`"), "{stderr}");
}
