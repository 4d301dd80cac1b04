//! `serve` beside a real supervisord, a real HAProxy and the listener: programs beside their servers, events, and the
//! operator's commands over HTTP.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use jiff::Timestamp;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::{
    Answer, BINARY, DEADLINE, Program, Prometheus, Running, Serve, TOKEN, World, copy_program, eventually,
    for_a_while, free_port,
};

/// A world whose listener takes no looks: shortly after its start it takes what others set for a state that HAProxy has
/// lost in a reload, and sets its own again.
fn left_alone(programs: &[&str]) -> World {
    let programs: Vec<Program> = programs.iter().map(|name| Program::idle(name)).collect();
    World::new(&programs, "--poll-interval 0", "*=app/*")
}

/// `serve` that knows the world's programs.
fn serve(world: &World, options: &[&str]) -> Serve {
    let conf = world.directory().join("supervisord.conf").display().to_string();
    let options = [&["--supervisor-conf", &*conf], options].concat();
    Serve::start(world.directory(), &world.haproxy.socket, &options)
}

fn overview(serve: &Serve) -> Value {
    serve.ask_as_admin("GET", "/api/overview", &[], "").expect(200).json()
}

fn server<'d>(document: &'d Value, name: &str) -> &'d Value {
    let servers = document["servers"].as_array().unwrap();
    servers.iter().find(|server| server["server"] == name).unwrap_or(&Value::Null)
}

/// Waits until the overview is as it should be, and gives it.
#[track_caller]
fn expect(serve: &Serve, what: &str, mut is_so: impl FnMut(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    eventually(what, || {
        last = overview(serve);
        is_so(&last).then(|| last.clone())
    })
}

#[track_caller]
fn post(serve: &Serve, path: &str) -> Answer {
    serve.ask_as_admin("POST", path, &[], "")
}

/// Asks for an action, and waits for its end; gives the job.
#[track_caller]
fn act(serve: &Serve, path: &str) -> Value {
    let job = post(serve, path).expect(202).json()["job"].clone();
    assert_eq!(job["state"], "running", "{job}");
    let path = format!("/api/jobs/{}", job["id"]);
    eventually("the end of the job", || {
        let job = serve.ask_as_admin("GET", &path, &[], "").expect(200).json()["job"].clone();
        (job["state"] != "running").then_some(job)
    })
}

/// A client of `/api/events`.
struct Events {
    stream: BufReader<UnixStream>,
}

impl Events {
    /// Reads up to the end of the head.
    fn connect(serve: &Serve) -> Self {
        let mut stream = serve.connect();
        let head = format!("GET /api/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut events = Self { stream: BufReader::new(stream) };
        let status = events.line().unwrap();
        assert!(status.starts_with("HTTP/1.1 200 "), "{status}");
        while !events.line().unwrap().is_empty() {}
        events
    }

    /// `None` at the end of the stream.
    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let count = self.stream.read_line(&mut line).unwrap();
        (count > 0).then(|| line.trim_end().to_owned())
    }

    /// The document of the next overview.
    fn next(&mut self) -> Option<Value> {
        self.next_of("overview")
    }

    /// The document of the next event of this name; lines of the transfer and comments are passed over.
    fn next_of(&mut self, wanted: &str) -> Option<Value> {
        let mut name = String::new();
        loop {
            let line = self.line()?;
            if let Some(event) = line.strip_prefix("event: ") {
                event.clone_into(&mut name);
            }
            if let Some(data) = line.strip_prefix("data: ").filter(|_| name == wanted) {
                return Some(serde_json::from_str(data).unwrap());
            }
        }
    }

    /// The next event that is as it should be.
    #[track_caller]
    fn expect(&mut self, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let begun = std::time::Instant::now();
        loop {
            let event = self.next().unwrap_or_else(|| panic!("the stream ended before {what}"));
            if is_so(&event) {
                return event;
            }
            assert!(begun.elapsed() < DEADLINE, "waited for {what}, have {event:#}");
        }
    }
}

// --- what is seen

#[test]
fn programs_stand_beside_their_servers() {
    let world = World::idle(&["web1", "web2"]);
    world.expect_running("web1");
    world.expect_running("web2");
    let serve = serve(&world, &[]);
    // HAProxy's health is found out by another thread than the servers' states.
    let document = expect(&serve, "both programs, and HAProxy's health", |document| {
        ["web1", "web2"].iter().all(|name| server(document, name)["agrees"] == true)
            && document["haproxy"]["status"] == "HEALTHY"
    });
    let web1 = server(&document, "web1");
    assert_eq!(web1["program"], "web1");
    assert_eq!(web1["programState"], "RUNNING");
    assert_eq!(web1["pid"], world.supervisord.pid("web1").as_raw());
    assert_eq!(
        (&web1["backend"], &web1["wanted"], &web1["admin"]),
        (&json!("app"), &json!("ready"), &json!("ready"))
    );
    assert_eq!(
        (&web1["status"], &web1["check"], &web1["hold"]),
        (&json!("no check"), &json!(""), &Value::Null)
    );
    assert!(web1["programUptime"].is_u64() && web1["sessions"] == 0 && web1["queue"] == 0, "{web1:#}");
    assert_eq!(document["supervisord"]["problem"], Value::Null);
    assert_eq!((&document["problems"], &document["jobs"]), (&json!([]), &json!([])));
    assert_eq!(document["actions"], json!({"allowed": true, "why": null}));
    assert_eq!(
        (&document["haproxy"]["status"], &document["haproxy"]["circuitState"]),
        (&json!("HEALTHY"), &json!("CLOSED"))
    );

    world.supervisord.ctl(&["stop", "web2"]);
    // The listener knows of its death before supervisord does.
    let document = expect(&serve, "a program that is stopped", |document| {
        let web2 = server(document, "web2");
        web2["admin"] == "maint" && web2["programState"] == "STOPPED"
    });
    let web2 = server(&document, "web2");
    assert_eq!(web2["wanted"], "maint");
    assert!(web2["pid"].is_null() && web2["programUptime"].is_null(), "{web2:#}");
    assert!(serve.log().contains("program `web2` went from"), "{}", serve.log());
    let sessions = serve.ask_as_admin("GET", "/api/overview/sessions", &[], "").expect(200).json();
    let counts = sessions["servers"]["app/web1"].as_array().unwrap();
    assert!((1..=60).contains(&counts.len()) && counts.iter().all(|count| *count == 0), "{sessions}");
}

#[test]
fn a_hold_is_shown_with_its_reason() {
    let world = World::idle(&["web1", "web2"]);
    world.expect_running("web1");
    let serve = serve(&world, &[]);
    world.run(&["hold", "web1", "--reason", "a new disk"]).expect(0);
    let document = expect(&serve, "the hold", |document| !server(document, "web1")["hold"].is_null());
    let hold = &server(&document, "web1")["hold"];
    assert_eq!((&hold["by"], &hold["reason"]), (&json!("root"), &json!("a new disk")));
    assert!(hold["since"].as_str().is_some_and(|since| since.ends_with('Z')), "{hold}");
    assert_eq!(server(&document, "web1")["wanted"], "maint");
    let job = act(&serve, "/api/servers/app/web1/ready");
    assert_eq!(job["state"], "failed", "a hold is refused as on the command line");
    let said = job["lines"].to_string();
    assert!(said.contains("`release` it first") && said.contains("exit status: 4"), "{said}");
}

#[test]
fn without_supervisord_servers_are_shown_alone() {
    let world = World::idle(&["web1"]);
    world.expect_running("web1");
    let serve = Serve::start(world.directory(), &world.haproxy.socket, &[]);
    let document = expect(&serve, "the server", |document| server(document, "web1")["status"] == "no check");
    let web1 = server(&document, "web1");
    assert_eq!(
        (&web1["program"], &web1["wanted"], &web1["agrees"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    assert_eq!((&document["supervisord"], &web1["admin"]), (&Value::Null, &json!("ready")));
    assert_eq!(document["actions"]["allowed"], false);
    post(&serve, "/api/servers/app/web1/drain").expect(403).is_problem("--supervisor-conf");
    assert_eq!(world.haproxy.admin("web1"), "ready");
}

#[test]
fn a_supervisord_that_is_gone_takes_nothing_of_haproxy_with_it() {
    let mut world = World::idle(&["web1"]);
    world.expect_running("web1");
    let serve = serve(&world, &[]);
    expect(&serve, "the program", |document| server(document, "web1")["agrees"] == true);
    world.supervisord.signal(Signal::SIGTERM);
    world.supervisord.wait();
    // The listener has set it to maint before it left.
    let document = expect(&serve, "no supervisord", |document| {
        document["supervisord"]["problem"].is_string() && server(document, "web1")["status"] == "MAINT"
    });
    let web1 = server(&document, "web1");
    assert_eq!((&web1["programState"], &web1["agrees"]), (&Value::Null, &Value::Null), "{document:#}");
    assert!(document["problems"][0].as_str().unwrap().starts_with("supervisord unix://"), "{document:#}");
}

// --- what is done

#[test]
fn a_server_is_drained_over_http_and_an_event_tells() {
    let world = left_alone(&["web1", "web2"]);
    world.expect_running("web1");
    world.expect_running("web2");
    let mut serve = serve(&world, &[]);
    let mut events = Events::connect(&serve);
    events.expect("the beginning", |event| server(event, "web1")["agrees"] == true);
    let job = act(&serve, "/api/servers/app/web1/drain");
    assert_eq!(
        (&job["state"], &job["action"], &job["subject"]),
        (&json!("succeeded"), &json!("drain"), &json!("app/web1"))
    );
    assert!(job["lines"][0].as_str().unwrap().starts_with("app/web1"), "{job:#}");
    assert_eq!(world.haproxy.admin("web1"), "drain");
    let event = events.expect("the drain", |event| server(event, "web1")["admin"] == "drain");
    assert_eq!(server(&event, "web1")["agrees"], false, "its program runs");
    events.expect("the job's end", |event| event["jobs"][0]["state"] == "succeeded");
    assert_eq!(act(&serve, "/api/servers/app/web1/ready")["state"], "succeeded");
    events.expect("the server", |event| server(event, "web1")["agrees"] == true);
    assert_eq!(act(&serve, "/api/servers/app/web2/maint")["state"], "succeeded");
    world.haproxy.expect("web2", "maint");
    assert!(serve.log().contains("job 1: drain `app/web1`, asked for by uid "), "{}", serve.log());
    // The end of `serve` is one of the stream, too.
    assert_eq!(serve.end(), Some(0));
    while events.next().is_some() {}
}

#[test]
fn each_entry_of_the_history_is_an_event() {
    let mut world = World::idle(&["web1"]);
    world.expect_running("web1");
    let serve = serve(&world, &[]);
    expect(&serve, "the program", |document| server(document, "web1")["agrees"] == true);
    let mut events = Events::connect(&serve);
    world.haproxy.stop();
    let mut entries = std::iter::from_fn(|| events.next_of("history"));
    // That it is HEALTHY may be an event, too: programs are looked at by another thread.
    let entry = entries.find(|entry| entry["to"] == "UNHEALTHY").expect("an entry");
    assert_eq!((&entry["kind"], &entry["subject"]), (&json!("haproxy"), &json!("haproxy")), "{entry}");
    let told = |kind: &str| {
        let path = format!("/api/history?kind={kind}");
        serve.ask_as_admin("GET", &path, &[], "").expect(200).json()["entries"].clone()
    };
    assert!(told("haproxy").as_array().unwrap().contains(&entry), "{entry} is not in {:#}", told("haproxy"));
}

#[test]
fn programs_and_actions_are_in_the_history() {
    let world = left_alone(&["web1", "web2"]);
    world.expect_running("web1");
    let serve = serve(&world, &[]);
    expect(&serve, "the program", |document| server(document, "web1")["agrees"] == true);
    let told = |kind: &str| {
        let path = format!("/api/history?kind={kind}");
        let entries = serve.ask_as_admin("GET", &path, &[], "").expect(200).json()["entries"].clone();
        let text = |entry: &Value, name: &str| entry[name].as_str().unwrap().to_owned();
        let entries = entries.as_array().unwrap().iter();
        entries
            .map(|entry| ["subject", "from", "to"].map(|name| text(entry, name)).join(" "))
            .collect::<Vec<_>>()
    };
    act(&serve, "/api/servers/app/web1/drain");
    eventually("the end of the action", || (told("action").len() == 2).then_some(()));
    assert_eq!(told("action"), ["app/web1 drain succeeded", "app/web1 drain running"]);
    world.supervisord.ctl(&["stop", "web2"]);
    // A look may fall between the two steps of a stop.
    let is_stop = |line: &String| line.starts_with("web2 ") && line.ends_with(" STOPPED");
    eventually("the stop", || told("program").iter().any(is_stop).then_some(()));
}

#[test]
fn a_restart_over_http_loses_no_request_and_says_how_it_goes() {
    let world = World::apps(&["web1", "web2", "web3"], "");
    let serve = serve(&world, &[]);
    let before = world.supervisord.pid("web2");
    expect(&serve, "the program", |document| server(document, "web2")["agrees"] == true);
    let load = world.load(4);
    let job = act(&serve, "/api/programs/web2/restart");
    load.lost_nothing();
    assert_eq!(job["state"], "succeeded", "{job:#}");
    assert!(job["lines"].to_string().contains("1 of 1 restarted"), "{job:#}");
    let after = world.supervisord.pid("web2");
    assert_ne!(after, before);
    expect(&serve, "the new process", |document| {
        let web2 = server(document, "web2");
        web2["agrees"] == true && web2["pid"] == after.as_raw()
    });
}

#[test]
fn one_action_at_a_time_for_each_and_its_end_is_serves_end() {
    let world = World::apps(&["web1", "web2"], "");
    let mut serve = serve(&world, &[]);
    expect(&serve, "the program", |document| server(document, "web1")["agrees"] == true);
    // A request that keeps a session open, so that the restart waits for it.
    let requests = [world.get_aside("/20"), world.get_aside("/20")];
    let name = eventually("a session", || ["web1", "web2"].into_iter().find(|name| world.sessions(name) > 0));
    let path = format!("/api/programs/{name}/restart");
    let job = post(&serve, &path).expect(202).json()["job"].clone();
    post(&serve, &path).expect(409).is_problem(&format!("job {} is at work on it", job["id"]));
    world.haproxy.expect(name, "drain");
    assert_eq!(serve.end(), Some(0));
    // It was asked to end before it had stopped the program, and has put the server back.
    world.haproxy.expect(name, "ready");
    assert_eq!(world.supervisord.state(name), "RUNNING");
    assert!(serve.log().contains("killed, as this program ends"), "{}", serve.log());
    drop(requests);
}

#[test]
fn actions_go_to_the_sockets_of_the_listener() {
    // One for those who only look, as the page recommends.
    let socket = format!("tcp://127.0.0.1:{}", free_port());
    let line = format!("  stats socket ipv4@{} level user", socket.trim_start_matches("tcp://"));
    let web1 = format!("web1 127.0.0.1:{}", free_port());
    let listener = "--poll-interval 0 SOCKET *=app/*";
    let world = World::edited(&line, &[&web1], &[Program::idle("web1")], listener, |_, text| text);
    world.expect_running("web1");
    let conf = world.directory().join("supervisord.conf").display().to_string();
    let serve = Serve::start(world.directory(), socket.as_ref(), &["--supervisor-conf", &conf]);
    expect(&serve, "the program", |document| server(document, "web1")["agrees"] == true);
    let job = act(&serve, "/api/servers/app/web1/drain");
    assert_eq!(job["state"], "succeeded", "{job:#}");
    assert!(job["lines"][0].as_str().unwrap().starts_with("app/web1"), "{job:#}");
    assert_eq!(world.haproxy.admin("web1"), "drain");
}

#[test]
fn an_upgrade_of_the_file_does_not_change_what_runs() {
    let world = left_alone(&["web1"]);
    world.expect_running("web1");
    let program = world.directory().join("supervisor-haproxy");
    copy_program(BINARY.as_ref(), &program);
    let conf = world.directory().join("supervisord.conf").display().to_string();
    let socket = &world.haproxy.socket;
    let serve = Serve::start_of(&program, world.directory(), socket, &["--supervisor-conf", &conf], &[]);
    expect(&serve, "the program", |document| server(document, "web1")["agrees"] == true);
    std::fs::remove_file(&program).unwrap();
    std::fs::write(&program, "another version, half of it").unwrap();
    let job = act(&serve, "/api/servers/app/web1/drain");
    assert_eq!(job["state"], "succeeded", "{job:#}");
    assert_eq!(world.haproxy.admin("web1"), "drain");
}

#[test]
fn names_that_there_are_not_go_no_further() {
    let world = World::idle(&["web1"]);
    world.expect_running("web1");
    let serve = serve(&world, &[]);
    expect(&serve, "the program", |document| server(document, "web1")["agrees"] == true);
    for path in [
        "/api/programs/all/restart",
        "/api/programs/*/restart",
        "/api/programs/web%2a/restart",
        "/api/programs/--help/restart",
        "/api/programs/-c%2fetc%2fpasswd/restart",
        "/api/programs/web1%00/restart",
        "/api/programs/web1%0adrain/restart",
        "/api/programs/listener/restart",
        "/api/programs/%20web1/restart",
        "/api/servers/app/*/drain",
        "/api/servers/app/web1;set%20server/drain",
        "/api/servers/%2e%2e/web1/drain",
        "/api/servers/app/--force/drain",
        "/api/servers/app%2fweb1/x/maint",
        "/api/servers/app/web1%ff/maint",
    ] {
        let answer = post(&serve, path);
        assert!([400, 404].contains(&answer.status), "{path}: {answer:?}");
        answer.is_problem("");
    }
    for path in ["/api/jobs/1", "/api/jobs/-1", "/api/jobs/99999999999999999999", "/api/jobs/x"] {
        serve.ask_as_admin("GET", path, &[], "").expect(404).is_problem("no job of that number");
    }
    assert_eq!(overview(&serve)["jobs"], json!([]));
    assert_eq!(world.haproxy.admin("web1"), "ready");
}

#[test]
fn without_the_token_nothing_is_shown_and_nothing_done() {
    let world = World::idle(&["web1"]);
    world.expect_running("web1");
    let serve = serve(&world, &[]);
    expect(&serve, "the program", |document| server(document, "web1")["agrees"] == true);
    for path in ["/api/overview", "/api/overview/sessions", "/api/events", "/api/jobs/1"] {
        serve.get(path).expect(401).is_problem("a token is missing");
    }
    for path in ["/api/servers/app/web1/drain", "/api/programs/web1/restart"] {
        serve.ask("POST", path, &[], "").expect(401).is_problem("a token is missing");
        serve.ask("POST", path, &["Authorization: Bearer x"], "").expect(401).is_problem("wrong");
        serve.ask("GET", path, &[], "").expect(405);
    }
    assert_eq!(world.haproxy.admin("web1"), "ready");
}

#[test]
fn a_serve_without_a_token_shows_all_and_does_nothing() {
    let world = World::idle(&["web1"]);
    world.expect_running("web1");
    let socket = world.directory().join("open.sock");
    let words = [
        "serve",
        "--history=off",
        "--listen",
        socket.to_str().unwrap(),
        "--socket",
        world.haproxy.socket.to_str().unwrap(),
        "--supervisor-conf",
        "supervisord.conf",
    ];
    let running = Running::start(world.directory(), &words);
    let document = eventually("the program", || {
        let document = Serve::get_at(&socket, "/api/overview")?.expect(200).json();
        (server(&document, "web1")["agrees"] == true).then_some(document)
    });
    assert_eq!(document["actions"]["why"], "serve has no token: start it with --token-file FILE");
    let mut stream = UnixStream::connect(&socket).unwrap();
    let head = "POST /api/servers/app/web1/drain HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    Answer::parse(&bytes).unwrap().expect(403).is_problem("serve has no token");
    assert_eq!(world.haproxy.admin("web1"), "ready");
    drop(running);
}

#[test]
fn while_the_circuit_is_open_haproxy_is_left_alone_and_programs_are_shown() {
    let mut world = World::idle(&["web1"]);
    world.expect_running("web1");
    let serve = serve(&world, &["--breaker-reset", "600"]);
    expect(&serve, "the program", |document| server(document, "web1")["agrees"] == true);
    let mut events = Events::connect(&serve);
    world.haproxy.stop();
    let document = expect(&serve, "an open circuit", |document| {
        document["haproxy"]["circuitState"] == "OPEN" && server(document, "web1")["status"].is_null()
    });
    let web1 = server(&document, "web1");
    assert_eq!((&web1["programState"], &web1["wanted"]), (&json!("RUNNING"), &json!("ready")));
    assert_eq!(
        (&web1["admin"], &web1["agrees"], &web1["sessions"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    assert!(document["haproxy"]["retryAfter"].as_u64().is_some_and(|rest| rest > 500), "{document:#}");
    events.expect("an open circuit", |event| event["haproxy"]["circuitState"] == "OPEN");
    for path in ["/api/servers/app/web1/drain", "/api/programs/web1/restart"] {
        let refused = post(&serve, path).expect(503);
        refused.is_problem("haproxy");
        assert!(refused.headers["retry-after"].parse::<u64>().unwrap() > 500, "{refused:?}");
    }
    // It is up again, and nobody asks it.
    world.haproxy.launch();
    let connections = || {
        let text = world.haproxy.ask("show info");
        let line = text.lines().find_map(|line| line.strip_prefix("CumConns: ")).unwrap().to_owned();
        line.parse::<u64>().unwrap()
    };
    world.supervisord.ctl(&["stop", "listener"]);
    let (before, mut asked) = (connections(), 0);
    for_a_while(Duration::from_secs(1), || {
        asked += 1;
        assert!(connections() <= before + asked, "somebody else asks");
    });
    world.supervisord.ctl(&["stop", "web1"]);
    let document = expect(&serve, "a program that is stopped", |document| {
        server(document, "web1")["programState"] == "STOPPED"
    });
    assert_eq!(document["haproxy"]["circuitState"], "OPEN");
}

// --- metrics

/// What the listener tells of itself, as `serve` passes it on.
fn metrics(serve: &Serve) -> String {
    serve.get("/metrics").expect(200).body
}

#[test]
fn metrics_tell_programs_servers_and_the_listener() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("listener.prom");
    let options = format!("--metrics-file {}", file.display());
    let world = World::new(&["web1", "web2"].map(Program::idle), &options, "*=app/*");
    world.expect_running("web1");
    world.expect_running("web2");
    // The configuration tells where it is.
    let serve = serve(&world, &[]);
    let wanted = "supervisor_haproxy_server_wanted{proxy=\"app\",server=\"web1\",state=\"ready\"} 1\n";
    let text = eventually("metrics of both", || {
        Some(metrics(&serve)).filter(|text| {
            text.contains(wanted)
                && text.contains("supervisor_haproxy_listener_up 1\n")
                && text.contains("supervisor_haproxy_server_agrees{proxy=\"app\",server=\"web2\"} 1\n")
                && text.contains("event=\"PROCESS_STATE_RUNNING\"} ")
        })
    });
    let place = format!("haproxy=\"unix://{}\"", world.haproxy.socket.display());
    for line in [
        "supervisor_haproxy_server_seen{proxy=\"app\",server=\"web1\",state=\"ready\"} 1\n",
        "supervisor_haproxy_program_state{group=\"web1\",program=\"web1\",state=\"RUNNING\"} 1\n",
        "supervisor_haproxy_supervisord_up 1\n",
        &format!("supervisor_haproxy_listener_breaker_state{{{place},state=\"CLOSED\"}} 1\n"),
        &format!("supervisor_haproxy_listener_servers_wanted{{{place},state=\"ready\"}} 2\n"),
        &format!("supervisor_haproxy_listener_servers_pending{{{place}}} 0\n"),
        &format!("supervisor_haproxy_listener_commands_total{{{place},command=\"set\",result=\"done\"}} "),
        &format!("supervisor_haproxy_listener_reconcile_seconds_bucket{{{place},le=\"+Inf\"}} "),
    ] {
        assert!(text.contains(line), "no {line} in {text}");
    }
    check_metrics(&text);
    is_open_metrics(&open_metrics(&serve));
    // Of a listener that is gone, or of somebody else, nothing is told.
    world.supervisord.ctl(&["stop", "listener"]);
    std::fs::write(&file, "supervisor_haproxy_up 1\n").unwrap();
    let text = metrics(&serve);
    assert!(
        text.contains("supervisor_haproxy_listener_up 0\n") && !text.contains("listener_events_total"),
        "{text}"
    );
    assert!(serve.log().contains("listener.prom: line 1: a sample of another metric"), "{}", serve.log());
    world.supervisord.ctl(&["stop", "web2"]);
    eventually("a program that is stopped, and a server that nobody has set", || {
        let text = metrics(&serve);
        let is_stopped = text.contains("program=\"web2\",state=\"STOPPED\"} 1\n");
        (is_stopped && text.contains("server_agrees{proxy=\"app\",server=\"web2\"} 0\n")).then_some(())
    });
}

fn check_metrics(text: &str) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    crate::support::check_metrics(file.path());
}

fn open_metrics(serve: &Serve) -> String {
    let answer = serve
        .ask("GET", "/metrics", &["Accept: application/openmetrics-text; version=1.0.0"], "")
        .expect(200);
    assert_eq!(answer.headers["content-type"], "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert_eq!(answer.headers["vary"], "Accept");
    answer.body
}

/// Holds a text to the rules of OpenMetrics 1.0 that matter here.
#[track_caller]
fn is_open_metrics(text: &str) {
    let text = text.strip_suffix("# EOF\n").expect("the end is marked");
    let (mut families, mut taken) = (BTreeSet::new(), BTreeSet::new());
    let (mut family, mut kind) = ("", "");
    let mut samples: Vec<String> = Vec::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            family = rest.split_once(' ').unwrap().0;
            assert!(families.insert(family), "{family} is there twice");
            let help = rest.replace("\\\"", "");
            assert!(!help.contains('"'), "a quote is escaped: {line}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, told) = rest.split_once(' ').unwrap();
            assert_eq!(name, family, "{line}");
            kind = told;
            samples = match kind {
                "counter" => {
                    assert!(!family.ends_with("_total"), "{line}");
                    vec![format!("{family}_total")]
                }
                "histogram" => ["_bucket", "_sum", "_count"].map(|end| format!("{family}{end}")).into(),
                "gauge" | "unknown" => vec![family.to_owned()],
                other => panic!("{other}"),
            };
            for sample in &samples {
                assert!(taken.insert(sample.clone()), "{sample} would be of two families");
            }
        } else {
            assert!(!line.is_empty() && !line.starts_with('#'), "{line}");
            let name = line.split(['{', ' ']).next().unwrap();
            assert!(samples.iter().any(|sample| sample == name), "{line} below {family} {kind}");
            let value: f64 = line.rsplit_once(' ').unwrap().1.parse().unwrap();
            assert!(kind != "counter" || value >= 0.0, "{line}");
            if let Some((_, bound)) = line.split_once("le=\"") {
                assert!(
                    bound.starts_with("+Inf") || bound.split('"').next().unwrap().contains('.'),
                    "{line}"
                );
            }
        }
    }
}

#[test]
fn a_real_prometheus_takes_openmetrics() {
    let world = World::idle(&["web1"]);
    world.expect_running("web1");
    let port = free_port();
    let words = [
        "serve",
        "--history=off",
        "--listen",
        &format!("127.0.0.1:{port}"),
        "--socket",
        world.haproxy.socket.to_str().unwrap(),
        "--supervisor-conf",
        "supervisord.conf",
        "--check-interval",
        "0.2",
    ];
    let running = Running::start(world.directory(), &words);
    let prometheus = Prometheus::start(world.directory(), port);
    let is_one = |query: &str| (prometheus.query(query) == ["1"]).then_some(());
    eventually("a scrape", || is_one("up"));
    eventually("what is wanted", || {
        is_one("supervisor_haproxy_server_wanted{server=\"web1\",state=\"ready\"}")
    });
    // A counter under the name that it has in both forms.
    let counter = "supervisor_haproxy_http_requests_total{route=\"/metrics\"}";
    eventually("a counter", || (!prometheus.query(counter).is_empty()).then_some(()));
    // Only in OpenMetrics has its family this name.
    eventually("its family", || {
        let answer = prometheus.get("targets/metadata?metric=supervisor_haproxy_http_requests")?;
        (answer["data"][0]["type"] == "counter").then_some(())
    });
    drop((prometheus, running));
}

// --- many clients, and bad ones

#[test]
fn events_have_room_for_64_clients_and_others_are_told_so() {
    let world = World::idle(&["web1"]);
    world.expect_running("web1");
    let serve = serve(&world, &[]);
    let mut clients: Vec<Events> = (0..64).map(|_| Events::connect(&serve)).collect();
    let head = [&*format!("Authorization: Bearer {TOKEN}")];
    let refused = serve.ask("GET", "/api/events", &head, "").expect(503);
    refused.is_problem("64 clients listen already");
    assert_eq!(refused.headers["retry-after"], "5");
    serve.get("/healthz").expect(200);
    for client in &mut clients {
        client.expect("the beginning", |event| event["haproxy"]["address"].is_string());
    }
    // All hear of a change, and who leaves makes room.
    world.supervisord.ctl(&["stop", "web1"]);
    for client in &mut clients {
        client.expect("the change", |event| server(event, "web1")["programState"] == "STOPPED");
    }
    drop(clients);
    eventually("room again", || {
        let mut stream = serve.connect();
        let head = format!("GET /api/events HTTP/1.1\r\nHost: x\r\n{}\r\n\r\n", head[0]);
        stream.write_all(head.as_bytes()).unwrap();
        let mut bytes = [0; 12];
        stream.read_exact(&mut bytes).unwrap();
        (&bytes == b"HTTP/1.1 200").then_some(())
    });
}

#[test]
fn no_more_than_one_overview_is_sent_in_a_second() {
    let world = World::idle(&["web1"]);
    world.expect_running("web1");
    // Ten checks a second.
    let serve = serve(&world, &[]);
    let mut events = Events::connect(&serve);
    // The beginning is made when the client comes.
    events.next().unwrap();
    let mut made = || events.next().unwrap()["timestamp"].as_str().unwrap().parse::<Timestamp>().unwrap();
    let mut before = made();
    for _ in 0..3 {
        let now = made();
        assert!(now.duration_since(before).as_millis() >= 999, "{before} and {now}");
        before = now;
    }
}
