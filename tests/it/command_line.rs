//! What a user types, and what is answered.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::support::{BINARY, Run, Running};

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
        "  status ",
        "  ready ",
        "  drain ",
        "  maint ",
        "  restart ",
        "  stop ",
        "  start ",
        "  hold ",
        "  release ",
        "  check ",
        "  push ",
        "  report ",
        "  completions ",
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

// --- commands

const COMMANDS: [&str; 13] = [
    "status",
    "ready",
    "drain",
    "maint",
    "restart",
    "stop",
    "start",
    "hold",
    "release",
    "check",
    "push",
    "report",
    "completions",
];

#[test]
fn a_mistyped_command_is_answered_with_those_that_there_are() {
    for arguments in [&["stauts"][..], &["stauts", "web1"]] {
        let (code, stdout, stderr) = run(arguments);
        assert_eq!((code, stdout.as_str()), (Some(2), ""));
        assert!(stderr.contains("error: `stauts` is neither a command nor a SOCKET; there are "), "{stderr}");
        assert!(stderr.contains("`status`"), "{stderr}");
    }
}

#[test]
fn completions_name_all_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let (code, stdout, stderr) = run(&["completions", shell]);
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{shell}");
        for command in COMMANDS {
            assert!(stdout.contains(command), "{shell}: {command}");
        }
    }
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let output = Command::new(BINARY).args(["completions", "bash"]).stdout(full).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.code() == Some(1)
            && said.contains("error: the completions cannot be written: No space"),
        "{said}"
    );
    let mut bash = Command::new("bash").arg("-n").stdin(Stdio::piped()).spawn().unwrap();
    let script = run(&["completions", "bash"]).1;
    std::io::Write::write_all(&mut bash.stdin.take().unwrap(), script.as_bytes()).unwrap();
    assert!(bash.wait().unwrap().success());
}

#[test]
fn each_command_tells_its_exit_codes() {
    for command in &COMMANDS[..12] {
        let (code, stdout, _) = run(&[command, "--help"]);
        assert_eq!(code, Some(0), "{command}");
        assert!(stdout.contains("Exit codes: 0 "), "{command}: {stdout}");
    }
}

// --- where the commands find their settings; nobody answers here, and the complaints name who was asked

const SERVER: &str = "[unix_http_server]\nfile=%(here)s/s.sock\n";

/// A directory with this configuration of supervisord, in which `BINARY` is the program.
fn place(configuration: &str) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), "supervisord.conf", configuration);
    directory
}

fn write(directory: &Path, name: &str, text: &str) {
    fs::write(directory.join(name), text.replace("BINARY", BINARY)).unwrap();
}

fn listener(name: &str, arguments: &str) -> String {
    format!("[eventlistener:{name}]\ncommand=BINARY {arguments}\nevents=PROCESS_STATE\n")
}

/// Runs `status` in a directory and expects it to look there for these peers.
#[track_caller]
fn asks(directory: &Path, arguments: &[&str], haproxy: &str, supervisord: &str) -> Run {
    let run = Run::of(directory, &[&["status"], arguments].concat()).expect(1);
    let here = |text: &str| text.replace("HERE", &directory.display().to_string());
    run.says(&format!("haproxy {}: cannot connect", here(haproxy)))
        .says(&format!("supervisord {}: cannot connect", here(supervisord)))
}

const HAPROXY: &str = "unix://HERE/h.sock";
const SUPERVISORD: &str = "unix://HERE/s.sock";

#[test]
fn the_configuration_in_the_current_directory_is_found() {
    let directory = place(&format!("{SERVER}{}", listener("l", "%(here)s/h.sock web1:app/web1")));
    asks(directory.path(), &[], HAPROXY, SUPERVISORD).has_row(&["?", "web1", "?", "app/web1", "?"]);
    let elsewhere = tempfile::tempdir().unwrap();
    let file = directory.path().join("supervisord.conf");
    Run::of(elsewhere.path(), &["status", "-c", file.to_str().unwrap()])
        .expect(1)
        .says(&format!("unix://{}/h.sock", directory.path().display()));
}

#[test]
fn the_section_may_be_in_an_included_file_and_name_variables() {
    let directory = place(&format!("{SERVER}[include]\nfiles=conf.d/*.conf\n"));
    fs::create_dir(directory.path().join("conf.d")).unwrap();
    write(directory.path(), "conf.d/l.conf", &listener("l", "%(here)s/../%(ENV_WHICH)s.sock web1:app/web1"));
    let run = Running::start_with(directory.path(), &["status"], &[("WHICH", "h")]).wait().expect(1);
    run.says(&format!("haproxy unix://{}/conf.d/../h.sock: cannot connect", directory.path().display()));
    Run::of(directory.path(), &["status"])
        .expect(2)
        .complains("conf.d/l.conf:2: `command`: `%(ENV_WHICH)s`: WHICH is not set");
}

#[test]
fn a_file_that_is_not_there_or_has_no_listener_says_what_to_pass() {
    let directory = place(SERVER);
    Run::of(directory.path(), &["status"])
        .expect(2)
        .complains(
            "error: there is no [eventlistener:…] whose command runs supervisor-haproxy in supervisord.conf",
        )
        .complains("; pass another file with -c, or --socket and --map");
    Run::of(directory.path(), &["status", "-c", "other.conf"])
        .expect(2)
        .complains("error: other.conf: no such file; name the one that supervisord is started with");
}

#[test]
fn of_several_listeners_one_is_picked() {
    let one = listener("one", "%(here)s/h1.sock web1:app/web1");
    let two = listener("two", "%(here)s/h2.sock web1:app/web1");
    let directory = place(&format!("{SERVER}{one}{two}"));
    Run::of(directory.path(), &["status"])
        .expect(2)
        .complains("several listeners run supervisor-haproxy: `one`, `two`; pass --listener NAME");
    asks(directory.path(), &["--listener", "two"], "unix://HERE/h2.sock", SUPERVISORD);
    Run::of(directory.path(), &["status", "--listener", "three"])
        .expect(2)
        .complains("there is no [eventlistener:three] that runs supervisor-haproxy in supervisord.conf");
}

#[test]
fn each_option_overrides_its_part_of_the_configuration_alone() {
    let directory = place(&format!("{SERVER}{}", listener("l", "%(here)s/h.sock web1:app/web1")));
    let asks =
        |arguments: &[&str], haproxy, supervisord| asks(directory.path(), arguments, haproxy, supervisord);
    asks(&["--socket", "/other/h"], "unix:///other/h", SUPERVISORD).has_row(&["web1", "?", "app/web1"]);
    asks(&["--socket", "/a,/b"], "unix:///b", SUPERVISORD).says("haproxy unix:///a: cannot connect");
    asks(&["--supervisor-url", "unix:///other/s"], HAPROXY, "unix:///other/s")
        .has_row(&["web1", "?", "app/web1"]);
    asks(&["--map", "web2:app/web2"], HAPROXY, SUPERVISORD).has_row(&["web2", "?", "app/web2"]).omits("web1");
}

#[test]
fn options_for_everything_need_no_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let all = ["--socket", "/no/h", "--map", "web1:app/web1", "--supervisor-url", "http://127.0.0.1:1"];
    asks(directory.path(), &all, "unix:///no/h", "tcp://127.0.0.1:1").has_row(&["web1", "?", "app/web1"]);
    for (option, wrong, complaint) in [
        ("--socket", "here:1", "error: --socket `here:1`: expected `tcp://HOST:PORT`"),
        ("--map", "web1", "error: --map `web1`: expected `program:backend/server`"),
        ("--supervisor-url", "ftp://x", "error: --supervisor-url: expected `unix:///PATH`"),
    ] {
        let mut arguments = all;
        arguments[all.iter().position(|word| *word == option).unwrap() + 1] = wrong;
        Run::of(directory.path(), &[&["status"][..], &arguments].concat()).expect(2).complains(complaint);
    }
}

#[test]
fn what_is_wrong_in_the_section_is_told_with_its_file_and_line() {
    let directory = place(&format!("{SERVER}{}", listener("l", "/h.sock web1 a:b/c d;e")));
    Run::of(directory.path(), &["status"])
        .expect(2)
        .complains(
            "error: supervisord.conf:3: [eventlistener:l]: PROGRAM `web1`: expected `program:backend/server`",
        )
        .complains("error: supervisord.conf:3: [eventlistener:l]: PROGRAM `d;e`: expected");
    let directory = place(&format!("{SERVER}{}", listener("l", "--enforced /h.sock web1:app/web1")));
    Run::of(directory.path(), &["check"])
        .expect(2)
        .complains("supervisord.conf:3: [eventlistener:l]: error: unexpected argument '--enforced' found");
}

#[test]
fn the_variables_of_the_listener_are_none_of_the_caller() {
    let directory = place(&format!("{SERVER}{}", listener("l", "%(here)s/h.sock web1:app/web1")));
    let variables = [
        ("SUPERVISOR_HAPROXY_ENFORCE", "1"),
        ("SUPERVISOR_HAPROXY_TIMEOUT", "nonsense"),
        ("SUPERVISOR_HAPROXY_LOG_FORMAT", "nonsense"),
    ];
    let run = Running::start_with(directory.path(), &["status"], &variables).wait();
    run.expect(1).has_row(&["web1", "?", "app/web1"]);
}

#[test]
fn what_nagios_cannot_be_told_ends_with_3_in_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let run = Run::of(directory.path(), &["check", "--nagios", "-c", "none.conf"]).expect(3);
    assert!(run.out.starts_with("HAPROXY UNKNOWN - none.conf: no such file; "), "{run:?}");
    assert_eq!((run.out.lines().count(), run.err.as_str()), (1, ""));
}
