//! `status`, `ready`, `drain`, `maint`, `hold`, `release` and `check` between a real supervisord and a real
//! HAProxy.

use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::{Haproxy, Program, Run, Running, World, eventually, free_port};

/// An app, and its server's line with health checks.
fn app(name: &str) -> (Program, String) {
    let port = free_port();
    (Program::app(name, port, 0.0), format!("{name} 127.0.0.1:{port} check inter 100ms rise 2 fall 2"))
}

/// Apps that are up, and whose listener has seen it. Until then it takes what others set for a state that HAProxy
/// has lost in a reload, and sets its own again.
fn apps(names: &[&str], options: &str) -> World {
    let world = World::apps(names, options);
    for name in names {
        settled(&world, &world.haproxy, name, "UP");
    }
    world
}

/// Waits until this is how the listener has seen a server last.
#[track_caller]
fn settled(world: &World, haproxy: &Haproxy, server: &str, status: &str) {
    let subject = format!("haproxy unix://{}: `app/{server}` went from ", haproxy.socket.display());
    eventually(&format!("the listener to see `{server}` {status}"), || {
        let log = world.supervisord.log();
        let last = log.lines().rfind(|line| line.contains(&subject))?;
        last.contains(&format!(" to {status} after ")).then_some(())
    });
}

/// A request that takes a while, once its session is on `web1`.
fn request_on_web1(world: &World, path: &str) -> std::thread::JoinHandle<Result<(), String>> {
    world.run(&["drain", "web2"]).expect(0);
    let mut request = world.get_aside(path);
    eventually("the session", || {
        // One that was over before it was seen is of no use.
        if request.is_finished() {
            request = world.get_aside(path);
        }
        (world.sessions("web1") == 1).then_some(())
    });
    request
}

fn user() -> String {
    nix::unistd::User::from_uid(nix::unistd::getuid()).unwrap().unwrap().name
}

// --- status

#[test]
fn status_shows_each_server_beside_its_program() {
    let world = apps(&["web1", "web2"], "");
    let header =
        ["PROGRAM", "STATE", "FOR", "SERVER", "ADMIN", "STATUS", "CHECK", "SESSIONS", "QUEUE", "SINCE"];
    let run = world.run(&["status"]).expect(0).has_row(&header);
    assert_eq!((run.out.lines().count(), run.err.as_str()), (3, ""), "{run:?}");
    let run = run.has_row(&["ready", "UP", "L4OK", "0", "0"]).omits("!").omits("\x1b").omits("HAPROXY");
    assert!(run.out.lines().nth(1).unwrap().starts_with("  web1     RUNNING  "), "{run:?}");

    for target in ["web1", "web1:web1", "web1:*", "*1", "app/web1", "*/web1"] {
        world.run(&["status", target]).expect(0).says("app/web1").omits("web2");
    }
    world.run(&["status", "web2", "all"]).expect(0).says("app/web1").says("app/web2");
    world
        .run(&["status", "web3", "app/wob1"])
        .expect(2)
        .complains("error: `web3` is no program that a server stands for; there are `web1`, `web2`")
        .complains(
            "error: `app/wob1` is no server that stands for a program; there are `app/web1`, `app/web2`",
        );

    world.supervisord.ctl(&["stop", "web2"]);
    world.haproxy.expect("web2", "maint");
    world.run(&["status"]).expect(0).has_row(&["app/web2", "maint", "MAINT"]).has_row(&["web2", "STOPPED"]);

    // As an operator would at HAProxy's own socket.
    world.haproxy.ask("set server app/web1 state drain");
    let run = world.run(&["status", "web1"]).expect(1).has_row(&["app/web1", "drain", "DRAIN"]);
    assert!(run.out.lines().nth(1).unwrap().starts_with("!  web1 "), "{run:?}");
    run.says("!: app/web1: its program runs, but it is drained, set by hand or left behind by a command")
        .says("`supervisor-haproxy ready app/web1` puts it right");

    let json = world.run(&["status", "--json"]).expect(1).json();
    assert_eq!(json["problems"], Value::Array(Vec::new()));
    let [drained, stopped] = &json["servers"].as_array().unwrap()[..] else { panic!("{json}") };
    for (field, value) in [
        ("program", "web1"),
        ("group", "web1"),
        ("state", "RUNNING"),
        ("server", "app/web1"),
        ("admin", "drain"),
        ("status", "DRAIN"),
        ("check", "L4OK"),
        ("last_check", ""),
    ] {
        assert_eq!(drained[field], value, "{field} of {drained}");
    }
    assert_eq!(drained["pid"], world.supervisord.pid("web1").as_raw());
    assert_eq!(drained["haproxy"], format!("unix://{}", world.haproxy.socket.display()));
    assert!(
        ["uptime", "sessions", "queue", "since"].iter().all(|field| drained[field].is_u64()),
        "{drained}"
    );
    assert!(drained["hold"].is_null() && drained["agrees"] == false, "{drained}");
    assert!(
        drained["remark"].as_str().unwrap().starts_with("its program runs, but it is drained"),
        "{drained}"
    );
    assert!(["pid", "uptime", "hold", "remark"].iter().all(|field| stopped[field].is_null()), "{stopped}");
    assert!(stopped["state"] == "STOPPED" && stopped["agrees"] == true, "{stopped}");
    assert_eq!(drained.as_object().unwrap().len(), 17, "{drained}");
}

#[test]
fn status_watches_and_has_colours_where_they_are_wanted() {
    let world = apps(&["web1"], "");
    let green = "\x1b[32mUP\x1b[0m";
    world.run_with(&["status"], &[("CLICOLOR_FORCE", "1")]).expect(0).says(green);
    world.run_with(&["status"], &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]).expect(0).omits("\x1b");
    let command = ["status", "-c", "supervisord.conf"];
    Running::start_on_terminal(world.directory(), &command, &[]).wait().expect(0).says(green);
    Running::start_on_terminal(world.directory(), &command, &[("NO_COLOR", "1")])
        .wait()
        .expect(0)
        .omits("\x1b");

    let watch = ["status", "--watch", "-c", "supervisord.conf"];
    let mut terminal = Running::start_on_terminal(world.directory(), &watch, &[("NO_COLOR", "1")]);
    terminal.lines().expect("\x1b[H\x1b[J");
    terminal.signal(Signal::SIGTERM);

    let began = Instant::now();
    let mut people = world.start(&["status", "--watch"]);
    let mut machine = world.start(&["status", "--watch", "--json"]);
    let (pages, lines) = (people.lines(), machine.lines());
    pages.expect("UP");
    for _ in 0..3 {
        let line = lines.expect("{");
        let json: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(json["servers"][0]["status"], "UP");
    }
    assert!(began.elapsed() >= Duration::from_secs(2), "one line each second");
    world.haproxy.ask("set server app/web1 state maint");
    pages.expect("MAINT");
    lines.expect("\"status\":\"MAINT\"");
    for watch in [people, machine] {
        watch.signal(Signal::SIGINT);
        watch.wait().expect(0);
    }
}

#[test]
fn a_peer_that_is_gone_is_named_and_the_other_one_is_shown() {
    let mut world = apps(&["web1", "web2"], "");
    world.haproxy.stop();
    let haproxy = format!("haproxy unix://{}: cannot connect: ", world.haproxy.socket.display());
    world.run(&["status"]).expect(1).has_row(&["?", "web1", "RUNNING"]).says(&format!("!: {haproxy}"));
    world.run(&["check"]).expect(2).says("fail  haproxy unix://").says("cannot connect: ").omits("disagree");
    world.run(&["check", "--nagios"]).expect(2).says("HAPROXY CRITICAL - haproxy unix://").says("'up'=0");
    world.run(&["drain", "web1"]).expect(1).complains(&format!("error: {haproxy}"));
    world
        .run(&["hold", "web2", "--reason", "x"])
        .expect(0)
        .says("app/web2  held in maint")
        .complains(&format!("warn: {haproxy}"))
        .complains("; the listener sets it when this HAProxy answers");
    world.haproxy.launch();
    world.haproxy.expect_status("web1", "UP");
    world.haproxy.expect("web2", "maint");
    world.run(&["release", "web2"]).expect(0);
    world.haproxy.expect_status("web2", "UP");

    world.supervisord.signal(Signal::SIGTERM);
    world.supervisord.wait();
    world
        .run(&["status"])
        .expect(1)
        .has_row(&["?", "web1", "?", "app/web1", "maint", "MAINT"])
        .has_row(&["?", "web2", "?", "app/web2", "maint", "MAINT"])
        .says(&format!("!: supervisord unix://{}/s.sock: cannot connect: ", world.directory().display()));
    let json = world.run(&["status", "--json"]).expect(1).json();
    assert!(json["problems"][0].as_str().unwrap().starts_with("supervisord unix://"), "{json}");
    assert!(json["servers"][0]["agrees"].is_null() && json["servers"][0]["state"].is_null(), "{json}");
    world.run(&["check"]).expect(2).says("fail  supervisord unix://").says("cannot connect: ");

    // What HAProxy has can be set all the same, though the mapping has a wildcard.
    world
        .run(&["drain", "app/web1"])
        .expect(0)
        .complains("warn: supervisord unix://")
        .complains("; what the programs do is not known, and is not looked at");
    assert_eq!((world.haproxy.admin("web1"), world.haproxy.admin("web2")), ("drain", "maint"));
    world.run(&["ready", "web2"]).expect(0);
    assert_eq!(world.haproxy.admin("web2"), "ready");
    world
        .run(&["maint", "app/web3"])
        .expect(2)
        .complains("`app/web3` is no server that stands for a program; there are `app/web1`, `app/web2`")
        .complains("error: supervisord unix://");
    world.run(&["hold", "app/web1", "--reason", "x"]).expect(4).complains("error: supervisord unix://");
}

#[test]
fn two_haproxies_are_shown_and_set_side_by_side() {
    let [(web1, first), (web2, second)] = ["web1", "web2"].map(app);
    let servers = [first.as_str(), &second];
    let listener = "SOCKET,%(here)s/other.sock *=app/*";
    let world = World::edited("", &servers, &[web1, web2], listener, |_, configuration| configuration);
    let mut other = Haproxy::start_as(world.directory(), "other", "", &servers);
    for haproxy in [&world.haproxy, &other] {
        settled(&world, haproxy, "web1", "UP");
        settled(&world, haproxy, "web2", "UP");
    }
    let [here, there] =
        [&world.haproxy, &other].map(|haproxy| format!("unix://{}", haproxy.socket.display()));
    world
        .run(&["status", "web1"])
        .expect(0)
        .has_row(&["SERVER", "HAPROXY", "ADMIN"])
        .has_row(&["app/web1", &here, "ready", "UP"])
        .has_row(&["app/web1", &there, "ready", "UP"]);

    world
        .run(&["drain", "app/web1"])
        .expect(0)
        .says(&format!("app/web1  {here}  DRAIN\n"))
        .says(&format!("app/web1  {there}  DRAIN\n"))
        .omits("web2");
    for haproxy in [&world.haproxy, &other] {
        assert_eq!((haproxy.admin("web1"), haproxy.admin("web2")), ("drain", "ready"));
    }
    world.run(&["ready", "web*", "--wait"]).expect(0).says(&format!("app/web1  {there}  UP\n"));

    // What only one of them has is set there, and what one of them shows differently is marked there.
    other.ask("set server app/web2 state drain");
    world.run(&["status"]).expect(1).has_row(&["!", "web2"]).has_row(&["app/web2", &there, "drain", "DRAIN"]);
    other.stop();
    world
        .run(&["maint", "app/web1"])
        .expect(1)
        .says(&format!("app/web1  {here}  MAINT\n"))
        .complains(&format!("error: haproxy {there}: cannot connect: "));
    assert_eq!(world.haproxy.admin("web1"), "maint");
    world
        .run(&["status", "web2"])
        .expect(1)
        .has_row(&["app/web2", &here, "ready", "UP"])
        .has_row(&["?", "web2"]);
}

// --- ready, drain and maint

#[test]
fn a_drain_waits_for_its_session_and_nobody_comes_in_between() {
    let world = apps(&["web1", "web2"], "");
    let request = request_on_web1(&world, "/6");
    let mut drain = world.start(&["drain", "web1", "--wait"]);
    world.haproxy.expect("web1", "drain");
    let owner = format!("pid {} (`", drain.id());
    world
        .run(&["status", "web1"])
        .expect(1)
        .says(&format!("!: app/web1: in the hands of {owner}"))
        .says(" drain web1 --wait -c supervisord.conf`)");
    world
        .run(&["maint", "web2", "web1"])
        .expect(4)
        .complains(&format!("error: `web1` is in the hands of another command: {owner}"))
        .complains(" drain web1 --wait -c supervisord.conf`); wait for its end, or interrupt it");
    assert_eq!(world.haproxy.admin("web2"), "drain", "all or nothing");
    assert_eq!(world.sessions("web1"), 1);
    assert!(!drain.has_ended());
    drain
        .wait()
        .expect(0)
        .says("app/web1  DRAIN\n")
        .complains("warn: backend `app` has no server left that takes new requests");
    assert_eq!(request.join().unwrap(), Ok(()));

    let request = request_on_web1_after_ready(&world, "/6");
    let drain = world.start(&["drain", "web1", "--wait"]);
    world.haproxy.expect("web1", "drain");
    drain.signal(Signal::SIGINT);
    drain
        .wait()
        .expect(130)
        .says("app/web1  DRAIN, 1 session\n")
        .complains("warn: interrupted; what was set stays set");
    assert_eq!(world.haproxy.admin("web1"), "drain");
    assert_eq!(request.join().unwrap(), Ok(()));
}

fn request_on_web1_after_ready(world: &World, path: &str) -> std::thread::JoinHandle<Result<(), String>> {
    world.run(&["ready", "web1", "--wait"]).expect(0);
    request_on_web1(world, path)
}

#[test]
fn a_drain_that_takes_too_long_ends_with_75_and_may_close_the_sessions() {
    let world = apps(&["web1", "web2"], "");
    let request = request_on_web1(&world, "/30");
    world
        .run(&["drain", "web1", "--wait", "--timeout", "300ms"])
        .expect(75)
        .says("app/web1  DRAIN, 1 session\n")
        .complains("error: not reached within 300ms: 1 session\n");
    let on_terminal = ["drain", "web1", "--wait", "--timeout", "2", "-c", "supervisord.conf"];
    Running::start_on_terminal(world.directory(), &on_terminal, &[("NO_COLOR", "1")])
        .wait()
        .expect(75)
        .says("waiting for 1 of 1 (1 session)\r\x1b[Kapp/web1  DRAIN, 1 session\r\n");
    assert_eq!(world.sessions("web1"), 1);
    world
        .run(&["drain", "web1", "--wait", "--timeout", "300ms", "--shutdown-sessions"])
        .expect(0)
        .says("app/web1  DRAIN\n");
    assert_eq!(world.sessions("web1"), 0);
    assert!(request.join().unwrap().is_err(), "it was cut off");
    world.run(&["maint", "app/web1", "--wait"]).expect(0).says("app/web1  MAINT\n");
    world.run(&["ready", "app/web1", "--wait"]).expect(0).says("app/web1  UP\n");
    world.run(&["drain", "web1", "--shutdown-sessions"]).expect(2).complains("--wait");
}

#[test]
fn servers_are_taken_out_and_put_back_without_losing_a_request() {
    let world = apps(&["web1", "web2"], "");
    let load = world.load(4);
    for server in ["app/web1", "app/web2"] {
        world.run(&["drain", server, "--wait"]).expect(0);
        let run = world.run(&["maint", server]).expect(0);
        assert_eq!(run.err, "", "the other one takes requests");
        world.run(&["ready", server, "--wait"]).expect(0);
    }
    load.lost_nothing();
    assert_eq!(world.get("/0"), Ok(()));
}

#[test]
fn what_nobody_would_answer_is_not_made_ready() {
    let (web1, server) = app("web1");
    let deaf = format!("deaf 127.0.0.1:{} check inter 100ms fall 1", free_port());
    let programs = [web1, Program::idle("deaf")];
    let world = World::with_servers(&[&server, &deaf], &programs, "", "*=app/*");
    settled(&world, &world.haproxy, "web1", "UP");
    settled(&world, &world.haproxy, "deaf", "DOWN");

    world
        .run(&["status", "deaf"])
        .expect(1)
        .says("!: app/deaf: its program runs, but HAProxy has it DOWN (L4CON");
    world
        .run(&["ready", "deaf", "--wait", "--timeout", "300ms"])
        .expect(75)
        .says("app/deaf  DOWN until its checks pass\n")
        .complains("error: not reached within 300ms: app/deaf is DOWN (L4CON");
    // It never shows DRAIN, and is not waited for.
    world
        .run(&["drain", "deaf", "--wait", "--timeout", "20"])
        .expect(0)
        .says("app/deaf  DOWN, and drained when it comes up\n");
    assert_eq!(world.haproxy.admin("deaf"), "drain");

    world.run(&["maint", "web1"]).expect(0).says("app/web1  MAINT\n");
    settled(&world, &world.haproxy, "web1", "MAINT");
    world.run(&["ready", "web1", "--wait"]).expect(0).says("app/web1  UP\n");
    assert_eq!(world.haproxy.statuses()["web1"], "UP");

    settled(&world, &world.haproxy, "web1", "UP");
    world.supervisord.ctl(&["stop", "web1"]);
    world.haproxy.expect("web1", "maint");
    world
        .run(&["ready", "web1"])
        .expect(4)
        .complains("error: `web1` is STOPPED: nobody would answer; start it\n")
        .complains("error: --force does it all the same\n");
    settled(&world, &world.haproxy, "web1", "MAINT");
    assert_eq!(world.haproxy.admin("web1"), "maint");
    world.run(&["ready", "web1", "--force"]).expect(0).says("app/web1  DOWN until its checks pass\n");
    assert_eq!(world.haproxy.admin("web1"), "ready");
    world
        .run(&["status", "web1"])
        .expect(1)
        .says("its program does not run, but it is ready and not maint; `supervisor-haproxy maint app/web1` puts it right");
}

// --- settings

#[test]
fn settings_come_from_included_files_variables_and_a_server_with_a_password() {
    let port = free_port();
    let (web1, server) = app("web1");
    let edit = |directory: &std::path::Path, text: String| {
        let (head, section) = text.split_once("[eventlistener:").unwrap();
        let (section, programs) = section.split_once("[program:").unwrap();
        let variables =
            "environment=SUPERVISOR_HAPROXY_ENFORCE=\"1\",SUPERVISOR_HAPROXY_ACTION=\"STOPPED=drain\"";
        fs::create_dir(directory.join("conf.d")).unwrap();
        let section = format!("[eventlistener:{section}\nprocess_name=hook\n{variables}\n");
        fs::write(directory.join("conf.d/listener.conf"), section).unwrap();
        let head = head
            .replace("serverurl=unix://%(here)s/s.sock", &format!("serverurl=http://127.0.0.1:{port}"))
            .replace("[supervisord]\n", "[supervisord]\nenvironment=WHERE=\"%(here)s\"\n");
        format!(
            "{head}[inet_http_server]\nport=127.0.0.1:{port}\nusername=me\npassword=s3cret\n\
             [include]\nfiles=%(here)s/conf.d/*.conf\n[program:{programs}"
        )
    };
    let listener = "%(ENV_WHERE)s/haproxy.sock,%(here)s/../haproxy.sock web*=app/web*";
    let world = World::edited("", &[&server], &[web1], listener, edit);
    world.haproxy.expect_status("web1", "UP");

    let url = format!("http://me:s3cret@127.0.0.1:{port}");
    world
        .run(&["status"])
        .expect(0)
        .has_row(&["app/web1", &format!("unix://{}", world.haproxy.socket.display())]);
    world.run(&["status", "--supervisor-url", &url]).expect(0);
    world.run(&["check"]).expect(0).says(&format!("supervisord tcp://127.0.0.1:{port}")).says("4.");
    world
        .run(&["status", "--supervisor-url", &url.replace("s3cret", "wrong")])
        .expect(1)
        .says(&format!("!: supervisord tcp://127.0.0.1:{port}: user name and password are needed or wrong; give"))
        .says("`username` and `password` in [supervisorctl], or --supervisor-url http://USER:PASSWORD@HOST:PORT")
        .omits("wrong:")
        .omits("s3cret");

    world
        .run(&["drain", "web1"])
        .expect(4)
        .complains("error: the listener runs with --enforce and would set `web1` back to ready; use `hold`")
        .complains("error: --force does it all the same");
    assert_eq!(world.haproxy.admin("web1"), "ready");
    world.run(&["ready", "web1"]).expect(0).says("app/web1  ");
    world.run(&["hold", "web1", "--reason", "as it says"]).expect(0).says("app/web1  held in maint");
    world.run(&["release", "web1"]).expect(0);
    world.haproxy.expect("web1", "ready");

    world.rewrite("[supervisorctl]\n", "[supervisorctl]\nusername=me\npassword=wrong\n");
    let run = world.run(&["drain", "web1"]);
    // The listener may have set it back before the command has looked at it again.
    assert!([0, 1].contains(&run.code), "{run:#?}");
    run.complains("warn: supervisord tcp://127.0.0.1:").complains("are needed or wrong");
    world.haproxy.expect("web1", "ready");
    world
        .run(&["hold", "web1", "--reason", "x"])
        .expect(4)
        .complains("user name and password are needed or wrong");
    world.rewrite("[supervisorctl]\nusername=me\npassword=wrong\n", "[supervisorctl]\n");

    world.supervisord.ctl(&["-s", &format!("unix://{}/s.sock", world.directory().display()), "stop", "web1"]);
    world.haproxy.expect("web1", "drain");
    world.run(&["status"]).expect(0).has_row(&["web1", "STOPPED"]).has_row(&["app/web1"]);
}

// --- hold and release

#[test]
fn a_hold_outlasts_restarts_of_the_program_and_of_the_listener() {
    let world = apps(&["web1", "web2"], "--holds-file %(here)s/kept");
    let kept = world.directory().join("kept");
    let long = "x".repeat(1025);
    for (reason, complaint) in [
        ("new\ndisk", "error: `reason` holds a control character"),
        (long.as_str(), "error: `reason` is longer than 1024 characters"),
    ] {
        world.run(&["hold", "web1", "--reason", reason]).expect(2).complains(complaint);
    }
    world.run(&["hold", "web1"]).expect(2).complains("--reason");
    world.run(&["release", "web1"]).expect(4).complains("error: none of these servers is held");
    assert!(!kept.exists());

    world.run(&["hold", "web1", "--reason", "new disk"]).expect(0).says("app/web1  held in maint\n");
    assert_eq!(world.haproxy.admin("web1"), "maint");
    assert!(fs::read_to_string(&kept).unwrap().contains("new disk"), "where the listener's command says");
    let held = format!("app/web1 is held by {} since 20", user());
    world
        .run(&["status"])
        .expect(0)
        .has_row(&["app/web1", "maint", "(held)", "MAINT"])
        .says(&held)
        .says("Z: new disk\n");
    let json = world.run(&["status", "web1", "--json"]).expect(0).json();
    assert_eq!(json["servers"][0]["hold"]["reason"], "new disk", "{json}");
    world.run(&["check"]).expect(0).says("ok  server app/web1").says("held by ").says(": new disk");
    world.run(&["check", "--nagios"]).expect(0).says("'held'=1");

    for command in ["ready", "drain"] {
        world
            .run(&[command, "web1"])
            .expect(4)
            .complains(&format!("error: {held}"))
            .complains(": new disk; `release` it first\n");
    }
    assert_eq!(world.haproxy.admin("web1"), "maint");

    let pids = ["web1", "listener"].map(|name| world.supervisord.pid(name));
    world.supervisord.ctl(&["restart", "web1", "listener"]);
    let again = ["web1", "listener"].map(|name| world.supervisord.pid(name));
    assert!(pids.iter().zip(&again).all(|(one, other)| one != other));
    world.supervisord.ctl(&["restart", "web1", "web2"]);
    // The listener hears of one after the other.
    world.haproxy.expect_status("web2", "UP");
    world.supervisord.expect("web1", "RUNNING");
    world.run(&["status"]).expect(0).has_row(&["app/web1", "maint", "(held)", "MAINT"]).says(&held);

    world
        .run(&["hold", "app/web2", "--reason", "too"])
        .expect(0)
        .says("app/web2  held in maint\n")
        .omits("web1");
    settled(&world, &world.haproxy, "web2", "MAINT");
    world.run(&["release", "all"]).expect(0).says("app/web1  released\n").says("app/web2  released\n");
    world.haproxy.expect_status("web1", "UP");
    world.haproxy.expect_status("web2", "UP");
    world.run(&["status"]).expect(0).omits("held");
    world.run(&["release", "web1"]).expect(4);

    settled(&world, &world.haproxy, "web2", "UP");
    world.run(&["hold", "web2", "--reason", "too"]).expect(0);
    settled(&world, &world.haproxy, "web2", "MAINT");
    world.run(&["ready", "web2", "--force", "--wait"]).expect(0).says("app/web2  UP");
    let astray = ", but it is UP";
    world.run(&["status", "web2"]).expect(1).says("!: app/web2: held by ").says(astray);
    world.run(&["check"]).expect(2).says("fail  server app/web2").says(astray);
    world.run(&["release", "web2"]).expect(0);
    let last = "warn: backend `app` has no server left that takes new requests";
    world.run(&["hold", "all", "--reason", "night"]).expect(0).complains(last);
    world.run(&["release", "all"]).expect(0);

    fs::write(&kept, "{").unwrap();
    let damaged = format!("holds file `{}`: is damaged: EOF while parsing", kept.display());
    world.run(&["status"]).expect(1).says(&format!("!: {damaged}")).says("; repair or remove it");
    world.run(&["check"]).expect(2).says("fail  holds").says(&damaged);
    world.run(&["release", "web1"]).expect(1).complains(&format!("error: {damaged}"));
    fs::remove_file(&kept).unwrap();
    fs::create_dir(&kept).unwrap();
    world.run(&["status"]).expect(1).says("is no regular file; name another one with `--holds-file`");
    world.run(&["check"]).expect(2).says("fail  holds").says("is no regular file");
}

#[test]
fn a_hold_without_a_listener_that_hears_of_it_is_refused() {
    let world = apps(&["web1"], "");
    let hold = ["hold", "web1", "--reason", "x"];
    let release = ["release", "web1"];
    let (haproxy, supervisord) = (world.haproxy.socket.clone(), world.directory().join("s.sock"));
    let url = format!("unix://{}", supervisord.display());
    let by_hand = ["--socket", haproxy.to_str().unwrap(), "--map", "web1:app/web1", "--supervisor-url", &url];
    let unknown = "error: no listener is known, and without one nobody keeps a hold; pass supervisord's configuration with -c";
    for command in [&hold[..], &release] {
        Run::of(world.directory(), &[command, &by_hand].concat()).expect(4).complains(unknown);
    }

    world.rewrite(",REMOTE_COMMUNICATION", "");
    for command in [&hold[..], &release] {
        world
            .run(command)
            .expect(4)
            .complains("error: the listener `listener` does not hear of holds: add REMOTE_COMMUNICATION to its `events=`");
    }
    world.rewrite("SUPERVISOR_STATE_CHANGE", "SUPERVISOR_STATE_CHANGE,REMOTE_COMMUNICATION");

    world.supervisord.ctl(&["stop", "listener"]);
    for command in [&hold[..], &release] {
        world
            .run(command)
            .expect(4)
            .complains("error: the listener `listener` is STOPPED, and nobody else keeps a hold; start it");
    }
    assert_eq!(world.haproxy.admin("web1"), "ready");
    world
        .run(&["check"])
        .expect(2)
        .says("fail  listener `listener`")
        .says("is STOPPED; `supervisorctl start listener`");
    world.run(&["status"]).expect(0);
}

// --- check

/// Runs `check` and expects its code and one finding.
#[track_caller]
fn check(world: &World, code: i32, level: &str, subject: &str, text: &str) {
    let run = world.run(&["check"]).expect(code);
    let found = run.out.lines().any(|line| {
        line.starts_with(level)
            && line[level.len()..].trim_start().starts_with(subject)
            && line.contains(text)
    });
    assert!(found, "no {level} {subject} {text} in {run:#?}");
}

#[test]
fn check_finds_nothing_where_all_is_well_and_each_fault_of_the_configuration() {
    let world = apps(&["web1", "web2"], "");
    let run = world.run(&["check"]).expect(0).omits("warn").omits("fail");
    assert_eq!((run.out.lines().count(), run.err.as_str()), (5, ""), "{run:?}");
    let nagios = world.run(&["check", "--nagios"]).expect(0);
    assert_eq!(
        nagios.out,
        "HAPROXY OK - 2 servers agree with their programs | 'servers'=2 'up'=2 'drain'=0 'maint'=0 'held'=0 'disagree'=0\n"
    );

    let listener = "listener `listener`";
    for (from, to, code, level, text) in [
        ("PROCESS_STATE,", "TICK_5,", 2, "fail", "is not subscribed to PROCESS_STATE: it never hears"),
        ("PROCESS_GROUP,", "", 1, "warn", "is not subscribed to PROCESS_GROUP: it learns of added"),
        ("SUPERVISOR_STATE_CHANGE,", "", 1, "warn", "is not subscribed to SUPERVISOR_STATE_CHANGE"),
        (",REMOTE_COMMUNICATION", "", 1, "warn", "`hold` cannot reach it, and `restart` may be taken for"),
        (
            "buffer_size=256",
            "buffer_size=10",
            1,
            "warn",
            "has room for 10 events, and a start of everything may need 70; set buffer_size=70",
        ),
        ("buffer_size=256", "buffer_size=256\nnumprocs=2", 2, "fail", "runs several times (numprocs): "),
        ("buffer_size=256", "buffer_size=256\nautorestart=false", 1, "warn", "set autorestart=true"),
        ("buffer_size=256", "buffer_size=256\nredirect_stderr=true", 2, "fail", "has redirect_stderr=true: "),
        ("stdout_logfile=NONE\nstderr_logfile=%", "stderr_logfile=%", 1, "warn", "set stdout_logfile=NONE"),
    ] {
        world.rewrite(from, to);
        check(&world, code, level, listener, text);
        if to.is_empty() {
            world.rewrite("events=", &format!("events={},", from.trim_matches(',')));
        } else {
            world.rewrite(to, from);
        }
    }
    world.run(&["check"]).expect(0);

    let [typo, lacking] = ["wob1:app/web1 web2:app/web2", "web1:app/web1 web2:app/wob2"];
    world.rewrite("*=app/*", typo);
    check(
        &world,
        2,
        "fail",
        "mapping `wob1:app/web1`",
        "stands for no program of supervisord; there are `listener`, `web1`, `web2`",
    );
    world.rewrite(typo, lacking);
    check(
        &world,
        2,
        "fail",
        "server app/wob2",
        "HAProxy has no server `app/wob2`; backend `app` has `web1`, `web2`",
    );
    world.run(&["status"]).expect(1).says("!: app/wob2: HAProxy has no server `app/wob2`; backend `app` has");
    world.run(&["drain", "web2"]).expect(1).complains("error: no HAProxy has a server `app/wob2`");
    world
        .run(&["hold", "web2", "--reason", "x"])
        .expect(0)
        .complains("warn: no HAProxy has a server `app/wob2`");
    world.run(&["release", "web2"]).expect(0);
    world.rewrite(lacking, "*=app/*");

    world.rewrite("[eventlistener:listener]", "[eventlistener:other]");
    check(
        &world,
        2,
        "fail",
        "listener `other`",
        "is in the configuration, but supervisord does not run it; `supervisorctl update`",
    );
    world.rewrite("[eventlistener:other]", "[eventlistener:listener]");

    world.run(&["drain", "web1"]).expect(0);
    check(&world, 1, "warn", "server app/web1", "its program runs, but it is drained, set by hand");
    let nagios = world.run(&["check", "--nagios"]).expect(1);
    assert!(
        nagios.out.starts_with("HAPROXY WARNING - server app/web1: its program runs, but "),
        "{nagios:?}"
    );
    assert!(
        nagios.out.ends_with(" | 'servers'=2 'up'=1 'drain'=1 'maint'=0 'held'=0 'disagree'=1\n"),
        "{nagios:?}"
    );
    assert_eq!(nagios.out.lines().count(), 1);
    world.supervisord.ctl(&["stop", "web2"]);
    world.haproxy.expect("web2", "maint");
    check(&world, 1, "warn", "program web2", "is STOPPED; `supervisor-haproxy start web2` brings it back");

    let json = world.run(&["check", "--json"]).expect(1).json();
    assert_eq!(json["level"], "warn");
    let findings = json["findings"].as_array().unwrap();
    assert!(
        findings.iter().any(|finding| finding["level"] == "warn" && finding["subject"] == "program web2")
    );
    assert!(findings.iter().all(|finding| finding["text"].is_string()), "{json}");
    let counts = &json["counts"];
    let [servers, up, drain, maint] = ["servers", "up", "drain", "maint"].map(|name| counts[name].as_u64());
    assert_eq!((servers, up, drain, maint), (Some(2), Some(0), Some(1), Some(1)), "{json}");
    world.run(&["check", "--json", "--nagios"]).expect(2).complains("cannot be used with");
}

#[test]
fn check_finds_faults_of_haproxy_and_of_programs() {
    let server = |name: &str| format!("{name} 127.0.0.1:{}", free_port());
    let servers = ["web1", "bad"].map(server);
    let bad = Program::new("bad", "/bin/false").with("startretries=0");
    let world = World::edited(
        "stats socket operator",
        &servers.each_ref().map(String::as_str),
        &[Program::idle("web1"), bad],
        "SOCKET *=app/*",
        |_, configuration| configuration,
    );
    world.supervisord.expect("web1", "RUNNING");
    world.supervisord.expect("bad", "FATAL");
    check(
        &world,
        2,
        "fail",
        "haproxy unix://",
        "its socket has level operator, which may set nothing; write `level admin`",
    );
    check(&world, 2, "fail", "program bad", "is FATAL; `supervisorctl tail bad stderr` may tell why");
    check(&world, 2, "warn", "server app/web1", "has no health check: ");
    for command in ["ready", "drain", "maint"] {
        world
            .run(&[command, "web1"])
            .expect(1)
            .complains("permission denied; give the `stats socket` line of HAProxy `level admin`");
    }
}

#[test]
fn without_a_unix_socket_a_hold_works_and_says_how_long_it_lasts() {
    let port = free_port();
    let (web1, server) = app("web1");
    let edit = |_: &std::path::Path, text: String| {
        text.replace("[unix_http_server]\nfile=%(here)s/s.sock", &format!("[inet_http_server]\nport={port}"))
            .replace("serverurl=unix://%(here)s/s.sock", &format!("serverurl=http://localhost:{port}"))
    };
    let world = World::edited("", &[&server], &[web1], "%(here)s/haproxy.sock *=app/*", edit);
    world.haproxy.expect_status("web1", "UP");
    world.run(&["hold", "web1", "--reason", "x"]).expect(0).says("app/web1  held in maint").complains(
        "the hold ends with the listener: it has no file to keep it in; give it --holds-file PATH",
    );
    world.run(&["release", "web1"]).expect(0).says("app/web1  released");
    world.haproxy.expect_status("web1", "UP");
}
