//! `/api/routes` and `/api/health/haproxy/validate` of `serve` beside a real HAProxy in master-worker mode, with requests
//! through it.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::support::{Answer, Master, Serve, TOKEN, eventually, for_a_while, web_server};

const ROUTES: &str = "/api/routes";
const VALIDATE: &str = "/api/health/haproxy/validate";
const NONE: BTreeMap<String, usize> = BTreeMap::new();

fn text(path: PathBuf) -> String {
    path.into_os_string().into_string().unwrap()
}

fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

/// With the files of the master and these options; what they say outweighs what is said here.
#[track_caller]
fn serve_with(master: &Master, program: &str, options: &[&str]) -> Serve {
    let serve = begin_serve(master, program, options);
    serve.expect_status("HEALTHY");
    serve
}

/// One that may find no HAProxy yet.
fn begin_serve(master: &Master, program: &str, options: &[&str]) -> Serve {
    let path = |name: &str| text(master.path(name));
    let files = format!("{},{}", path("haproxy.cfg"), path("routes/backends.cfg"));
    let (routes, program, socket) = (path("routes"), path(program), path("master.sock"));
    let mut all = vec!["--config", &files, "--routes", &routes, "--haproxy", &program];
    // While HAProxy replaces itself, a check may find nobody.
    if !options.contains(&"--breaker-threshold") {
        all.extend(["--breaker-threshold", "1000"]);
    }
    if !options.contains(&"--reload-command") {
        all.extend(["--master-socket", &socket]);
    }
    Serve::start(
        master.path("admin.sock").parent().unwrap(),
        &master.path("admin.sock"),
        &[&all, options].concat(),
    )
}

fn served() -> (Master, Serve) {
    let master = Master::start();
    let serve = serve_with(&master, "haproxy", &[]);
    (master, serve)
}

/// One that a program of the test's stands for when a change is checked; `before` is what that does first.
fn served_slowly(before: &str, options: &[&str]) -> (Master, Serve) {
    let master = Master::start();
    let (haproxy, here) = (text(master.path("haproxy")), text(master.path("")));
    // The monitor has it check the configuration, too, and is not meant.
    master.script(
        "slow",
        &format!("cd {here}; case \"$*\" in *.new*) {before} ;; esac\nexec {haproxy} \"$@\""),
    );
    let serve = serve_with(&master, "slow", options);
    (master, serve)
}

trait Client {
    fn change(&self, method: &str, path: &str, headers: &[&str], body: &Value) -> Answer;

    fn post(&self, host: &str, url: &str) -> Answer {
        self.change("POST", ROUTES, &[], &json!({"host": host, "url": url}))
    }

    fn put(&self, host: &str, url: &str) -> Answer {
        self.change("PUT", &format!("{ROUTES}/{host}"), &[], &json!({"url": url}))
    }

    fn delete(&self, host: &str) -> Answer {
        self.change("DELETE", &format!("{ROUTES}/{host}"), &[], &Value::Null)
    }

    fn list(&self, headers: &[&str]) -> Answer;
}

impl Client for Serve {
    #[track_caller]
    fn change(&self, method: &str, path: &str, headers: &[&str], body: &Value) -> Answer {
        match body {
            Value::Null => self.ask_as_admin(method, path, headers, ""),
            body => {
                let headers = [&["Content-Type: application/json"], headers].concat();
                self.ask_as_admin(method, path, &headers, &body.to_string())
            }
        }
    }

    #[track_caller]
    fn list(&self, headers: &[&str]) -> Answer {
        self.ask("GET", ROUTES, &[&[&*format!("Authorization: Bearer {TOKEN}")], headers].concat(), "")
    }
}

/// Both files of the routes, and the worker that runs with them.
fn state(master: &Master) -> (Vec<String>, String) {
    let files = ["routes/backends.cfg", "routes/hosts.map"];
    (files.iter().map(|name| fs::read_to_string(master.path(name)).unwrap()).collect(), master.worker())
}

/// Nothing of a change lies about.
#[track_caller]
fn nothing_is_left(master: &Master) {
    let directories = ["", "routes", "haproxy.cfg.history"].map(|name| master.path(name));
    let entries = directories.iter().filter_map(|path| fs::read_dir(path).ok()).flatten();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let left: Vec<String> = names
        .filter(|name| name.starts_with('.') || ["change.json", "undo.json", "next.json"].contains(&&**name))
        .collect();
    assert_eq!(left, Vec::<String>::new());
}

// --- routes that come and go

#[test]
fn routes_come_and_go_over_http_without_a_request_that_fails() {
    let (master, serve) = served();
    let (steady, other) = (url(web_server("steady")), web_server("other"));
    serve.post("steady.example", &steady).expect(201);
    let traffic = master.traffic(3, "steady.example", "steady");
    for turn in 0..10 {
        let host = format!("h{turn}.example");
        let other = format!("http://localhost:{other}");
        let added = serve.post(&host, &other).expect(201);
        assert_eq!(added.headers["location"], format!("/api/routes/{host}"));
        assert_eq!((&added.json()["reloaded"], master.get(&host)), (&json!(true), Ok("other".into())));
        serve.put(&host, &steady).expect(200);
        assert_eq!(master.get(&host), Ok("steady".into()));
        let removed = serve.delete(&host).expect(200).json();
        assert_eq!(
            (&removed["reloaded"], master.get(&host)),
            (&json!(false), Ok("one".into())),
            "{removed:#}"
        );
        serve.put(&host, &steady).expect(201);
        assert_eq!(master.get(&host), Ok("steady".into()));
    }
    let (requests, failures) = traffic.stop();
    assert_eq!(failures, NONE, "of {requests} requests");
    assert!(requests > 40, "{requests} requests");
    // The commands have the same table.
    let list = master.run(&["routes", "list", "--json"]).expect(0).json();
    assert_eq!(list, serve.list(&[]).expect(200).json());
    assert_eq!(list["routes"].as_array().unwrap().len(), 11);
    serve.expect("the count of routes", |health| health["routeCount"] == 11);
    nothing_is_left(&master);
}

#[test]
fn a_change_says_what_is_so_now_and_the_same_again_changes_nothing() {
    let (master, serve) = served();
    let app = url(web_server("app"));
    let order = json!({"host": "A.Example", "url": format!("{app}/"), "check": "/up"});
    let added = serve.change("POST", ROUTES, &[], &order).expect(201).json();
    let route = json!({"host": "a.example", "url": app, "check": "/up"});
    let expected = json!({
        "success": true,
        "message": format!("`a.example` goes to {app}, as version 2; HAProxy was reloaded"),
        "route": route,
        "version": serve.list(&[]).json()["version"],
        "reloaded": true,
        "configVersion": 2,
    });
    assert_eq!(added, expected);
    let worker = master.worker();
    let again = serve.change("POST", ROUTES, &[], &order).expect(200).json();
    assert_eq!((&again["configVersion"], &again["reloaded"]), (&Value::Null, &json!(false)), "{again:#}");
    assert!(again["message"].as_str().unwrap().ends_with("already; nothing was changed"), "{again:#}");
    let one = serve.ask_as_admin("GET", "/api/routes/a.EXAMPLE", &[], "").expect(200);
    assert_eq!((one.json(), &one.headers["etag"]), (route, &serve.list(&[]).headers["etag"]));
    assert_eq!(master.worker(), worker);
    let gone = serve.delete("a.example").expect(200).json();
    assert_eq!(gone["route"], Value::Null);
    serve.delete("a.example").expect(404).is_problem("`a.example` is not routed");
    serve.ask_as_admin("GET", "/api/routes/a.example", &[], "").expect(404).is_problem("`a.example` is not");
    let history = serve.ask_as_admin("GET", "/api/history?kind=action", &[], "").expect(200).json();
    let told = history["entries"].as_array().unwrap().iter();
    let told: Vec<_> =
        told.map(|entry| (entry["from"].as_str().unwrap(), &entry["to"], &entry["why"])).collect();
    let route = format!("route a.example to {app}");
    let succeeded = json!("succeeded");
    assert_eq!(
        told,
        [("remove a.example", &succeeded, &json!("version 3")), (&*route, &succeeded, &json!("version 2"))]
    );
}

#[test]
fn a_reader_that_has_the_table_is_told_so() {
    let (_master, serve) = served();
    let empty = serve.list(&[]).expect(200);
    let tag = empty.headers["etag"].clone();
    assert_eq!(tag, format!("\"{}\"", empty.json()["version"].as_str().unwrap()));
    assert_eq!(
        (&empty.json()["routes"], &*empty.headers["cache-control"]),
        (&json!([]), "private, no-cache")
    );
    let same = serve.list(&[&format!("If-None-Match: W/\"x\", {tag}")]).expect(304);
    assert_eq!((same.body.as_str(), &same.headers["etag"]), ("", &tag));
    serve.post("a.example", &url(web_server("app"))).expect(201);
    let other = serve.list(&[&format!("If-None-Match: {tag}")]).expect(200);
    assert_ne!(other.headers["etag"], tag);
    serve.list(&["If-None-Match: tag"]).expect(200);
    serve.list(&["If-Match: tag"]).expect(412).is_problem("look at them again");
    serve.list(&["If-Match: \"x\""]).expect(412).is_problem("look at them again");
}

#[test]
fn of_two_clients_with_the_same_etag_one_wins() {
    let (master, serve) = served();
    let app = url(web_server("app"));
    serve.post("first.example", &app).expect(201);
    for turn in 0..5 {
        let known = format!("If-Match: {}", serve.list(&[]).headers["etag"]);
        let statuses: Vec<(String, u16)> = thread::scope(|scope| {
            let (serve, known, app) = (&serve, &known, &app);
            let ask = move |who: &'static str| {
                let host = format!("{who}{turn}.example");
                let order = json!({"host": host, "url": app});
                (host, serve.change("POST", ROUTES, &[known], &order).status)
            };
            let clients = ["a", "b", "c"].map(|who| scope.spawn(move || ask(who)));
            clients.into_iter().map(|client| client.join().unwrap()).collect()
        });
        let count = |status| statuses.iter().filter(|(_, other)| *other == status).count();
        assert_eq!((count(201), count(412)), (1, 2), "{statuses:?}");
        for (host, status) in statuses {
            let expected = if status == 201 { "app" } else { "one" };
            assert_eq!(master.get(&host), Ok(expected.into()), "{host}");
        }
    }
}

#[test]
fn what_a_client_expects_of_the_table_has_to_be_so() {
    let (master, serve) = served();
    let app = url(web_server("app"));
    let stale = format!("If-Match: {}", serve.list(&[]).headers["etag"]);
    serve.post("a.example", &app).expect(201);
    let before = state(&master);
    let (known, target) = ("/api/routes/a.example", json!({"url": app}));
    for (method, path, header, body) in [
        ("PUT", known, &*stale, &target),
        ("DELETE", known, &stale, &Value::Null),
        ("DELETE", known, "If-Match: W/\"x\"", &Value::Null),
        ("PUT", "/api/routes/b.example", "If-Match: *", &target),
        ("DELETE", "/api/routes/b.example", "If-Match: *", &Value::Null),
        ("PUT", known, "If-None-Match: *", &target),
    ] {
        let answer = serve.change(method, path, &[header], body).expect(412);
        answer.is_problem("look at them again");
    }
    assert_eq!(state(&master), before);
    serve.change("PUT", "/api/routes/b.example", &["If-None-Match: *"], &target).expect(201);
    serve.change("PUT", "/api/routes/b.example", &["If-Match: *"], &target).expect(200);
    let current = format!("If-Match: \"x\", {}", serve.list(&[]).headers["etag"]);
    serve.change("DELETE", "/api/routes/b.example", &[&current], &Value::Null).expect(200);
}

// --- what is refused

#[test]
fn what_is_refused_changes_nothing() {
    let (master, serve) = served();
    let app = url(web_server("app"));
    serve.post("a.example", &app).expect(201);
    let before = state(&master);
    let taken = serve.post("a.example", "http://127.0.0.1:1").expect(409);
    let problem =
        taken.is_problem(&format!("`a.example` is routed to {app} already; send PUT /api/routes/a.example"));
    assert_eq!(problem["type"], "urn:supervisor-haproxy:route-taken");
    let rejected = serve.post("b.example", "http://no-such-host.invalid:80").expect(422);
    let problem = rejected.is_problem("no-such-host.invalid");
    assert_eq!(problem["type"], "urn:supervisor-haproxy:rejected");
    assert!(problem["detail"].as_str().unwrap().contains("nothing was changed: HAProxy does not accept it"));
    assert_eq!(state(&master), before);
    nothing_is_left(&master);

    let path = master.path("routes/backends.cfg");
    let mine = fs::read_to_string(&path)
        .unwrap()
        .replace("    mode http\n", "    mode http\n    timeout server 1s\n");
    fs::write(&path, &mine).unwrap();
    for answer in [serve.post("c.example", &app), serve.list(&[])] {
        let problem = answer.expect(409).is_problem("line 5 of the backends is not what `routes` writes");
        assert_eq!(problem["type"], "urn:supervisor-haproxy:refused");
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), mine);
    serve.expect("a count that nobody knows", |health| health["routeCount"].is_null());
}

#[test]
fn no_word_smuggles_a_directive_in() {
    let (master, serve) = served();
    let before = state(&master);
    for host in [
        "a b",
        "a\nb c",
        "a\rb",
        "a;b",
        "a\\",
        "#a",
        "a:80",
        "*.a",
        "",
        "ä.example",
        "a\tb",
        "a\"b",
        "a\u{0}",
    ] {
        serve.post(host, "http://127.0.0.1:1").expect(400).is_problem("host `");
    }
    for path in ["a%20b", "a%0Ab", "%2e%2e%2fx", "a%00", "*", "a:80", "a%3b", "%23", "..%2f..%2fetc%2fpasswd"]
    {
        let path = format!("{ROUTES}/{path}");
        serve
            .change("PUT", &path, &[], &json!({"url": "http://127.0.0.1:1"}))
            .expect(400)
            .is_problem("host `");
        serve.change("DELETE", &path, &[], &Value::Null).expect(400).is_problem("host `");
        serve.ask_as_admin("GET", &path, &[], "").expect(400).is_problem("host `");
    }
    serve.ask_as_admin("GET", "/api/routes/%ff", &[], "").expect(400).is_problem("");
    for url in [
        "http://a:1\n    server b c:1",
        "http://a:1 check",
        "http://a:1#",
        "http://a/x",
        "http://$HOME:1",
        "http://u:p@a:1",
        "http://127.1:1",
        "https://a:1",
        "file:///etc/passwd",
        "",
    ] {
        serve.post("a.example", url).expect(400).is_problem("url `");
        serve.put("a.example", url).expect(400).is_problem("url `");
    }
    for check in ["/a b", "/\n    server b c:1", "/#", "/\"", "/%[env(x)]", "/$HOME", "health", ""] {
        let order = json!({"host": "a.example", "url": "http://127.0.0.1:1", "check": check});
        serve.change("POST", ROUTES, &[], &order).expect(400).is_problem("check `");
    }
    for order in [
        json!([]),
        json!({}),
        json!({"host": "a", "url": 1}),
        json!({"host": "a", "url": "http://a", "x": 1}),
    ] {
        serve.change("POST", ROUTES, &[], &order).expect(400).is_problem("");
    }
    serve.ask_as_admin("POST", ROUTES, &["Content-Type: text/plain"], "{}").expect(415).is_problem("");
    let long = "x".repeat(20_000);
    serve.post(&long, "http://a:1").expect(413).is_problem("the body is longer");
    assert_eq!(state(&master), before);
    assert_eq!(serve.list(&[]).json()["routes"], json!([]));
}

#[test]
fn without_the_keys_nothing_is_told_or_changed() {
    let (master, serve) = served();
    let before = state(&master);
    let token = format!("Authorization: Bearer {TOKEN}");
    let one = "/api/routes/a.example";
    for path in [ROUTES, one, VALIDATE] {
        serve.get(path).expect(401).is_problem("a token is missing");
    }
    for (method, path) in [("POST", ROUTES), ("PUT", one), ("DELETE", one)] {
        let body = r#"{"host":"a.example","url":"http://127.0.0.1:1"}"#;
        let kind = "Content-Type: application/json";
        serve.ask(method, path, &[kind], body).expect(401).is_problem("token");
        serve.ask(method, path, &[kind, &token], body).expect(403).is_problem("X-Admin-Key");
        serve.ask(method, path, &[kind, &token, "X-Admin-Key: wrong"], body).expect(403).is_problem("wrong");
    }
    assert_eq!(state(&master), before);
}

#[test]
fn where_serve_has_no_routes_it_says_so() {
    let master = Master::start();
    let directory = master.path("haproxy.cfg").parent().unwrap().to_owned();
    let serve = Serve::start(&directory, &master.path("admin.sock"), &[]);
    serve.list(&[]).expect(501).is_problem("serve was started without --routes DIR");
    serve.post("a.example", "http://127.0.0.1:1").expect(501).is_problem("--routes");
    serve.ask_as_admin("GET", VALIDATE, &[], "").expect(501).is_problem("without --config FILE");
    assert_eq!(serve.expect_status("HEALTHY")["routeCount"], 1, "its backends");
}

// --- while others are at work

#[test]
fn commands_and_clients_wait_for_each_other() {
    let (master, serve) = served_slowly("read line < gate", &["--lock-timeout", "0.2"]);
    make_gate(&master);
    let app = url(web_server("app"));
    let (first, second) = thread::scope(|scope| {
        let first = scope.spawn(|| serve.post("a.example", &app));
        eventually("a change under way", || master.path("haproxy.cfg.history/lock").exists().then_some(()));
        eventually("its draft", || master.path("routes/.backends.cfg.new").exists().then_some(()));
        master
            .run(&["routes", "add", "b.example", &app, "--lock-timeout", "0.1"])
            .expect(75)
            .complains("another change is under way, by ");
        let second = serve.post("b.example", &app);
        assert_eq!(serve.list(&[]).expect(200).json()["routes"], json!([]), "who reads does not wait");
        open_gate(&master);
        (first.join().unwrap(), second)
    });
    first.expect(201);
    let second = second.expect(503);
    let problem = second.is_problem("others are changing routes");
    assert_eq!(problem["type"], "urn:supervisor-haproxy:locked");
    assert_eq!(second.headers["retry-after"], "5");
    // And the other way round.
    let haproxy = text(master.path("slow"));
    let socket = text(master.path("master.sock"));
    let command = master.begin_with(
        &["routes", "add", "c.example", "http://127.0.0.1:1"],
        &["--haproxy", &haproxy, "--master-socket", &socket],
    );
    eventually("its draft", || master.path("routes/.backends.cfg.new").exists().then_some(()));
    let locked = serve.post("d.example", &app).expect(503);
    locked.is_problem(&format!("(pid {})", command.id()));
    assert!(locked.headers.contains_key("retry-after"));
    open_gate(&master);
    command.wait().expect(0);
}

fn make_gate(master: &Master) {
    nix::unistd::mkfifo(&master.path("gate"), nix::sys::stat::Mode::S_IRWXU).unwrap();
}

fn open_gate(master: &Master) {
    open(&master.path("gate"));
}

/// Nobody writes to it before somebody reads.
fn open(gate: &Path) {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = fs::OpenOptions::new();
    let options = options.write(true).custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits());
    eventually("somebody at the gate", || options.open(gate).ok()).write_all(b"go\n").unwrap();
}

/// Sends a change, and leaves.
fn begin(serve: &Serve, host: &str, url: &str) -> std::os::unix::net::UnixStream {
    let body = json!({"host": host, "url": url}).to_string();
    let mut stream = serve.connect();
    let text = format!(
        "POST {ROUTES} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nX-Admin-Key: {}\r\nContent-Type: \
         application/json\r\nContent-Length: {}\r\n\r\n{body}",
        crate::support::ADMIN_KEY,
        body.len()
    );
    stream.write_all(text.as_bytes()).unwrap();
    stream
}

#[test]
fn a_change_goes_on_where_its_client_has_gone() {
    let (master, serve) = served_slowly("read line < gate", &[]);
    make_gate(&master);
    let client = begin(&serve, "a.example", &url(web_server("app")));
    eventually("its draft", || master.path("routes/.backends.cfg.new").exists().then_some(()));
    drop(client);
    open_gate(&master);
    eventually("the route", || (master.get("a.example") == Ok("app".into())).then_some(()));
    eventually("its end", || (!master.path("haproxy.cfg.history/change.json").exists()).then_some(()));
    serve.list(&[]).expect(200);
}

#[test]
fn serve_ends_after_the_change_under_way() {
    let (master, mut serve) = served_slowly("read line < gate", &[]);
    make_gate(&master);
    let _client = begin(&serve, "a.example", &url(web_server("app")));
    eventually("its draft", || master.path("routes/.backends.cfg.new").exists().then_some(()));
    let gate = master.path("gate");
    serve.ask_to_end();
    eventually("its farewell", || serve.log().contains("ended by a signal").then_some(()));
    open(&gate);
    assert_eq!(serve.end(), Some(0));
    assert_eq!(master.get("a.example"), Ok("app".into()), "{}", serve.log());
    nothing_is_left(&master);
}

#[test]
fn serve_does_not_wait_for_a_program_that_hangs_and_leaves_nothing_changed() {
    let (master, mut serve) = served_slowly("echo $$ > own-pid; exec sleep 1000", &[]);
    let before = state(&master);
    let _client = begin(&serve, "a.example", "http://127.0.0.1:1");
    let pid =
        eventually("its program", || fs::read_to_string(master.path("own-pid")).ok()?.trim().parse().ok());
    assert_eq!(serve.end(), Some(0));
    eventually("the end of the program", || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
        stat.map_or(true, |stat: String| stat.contains(") Z ")).then_some(())
    });
    let _: i32 = pid;
    assert_eq!(state(&master), before);
    assert!(serve.log().contains("a change of routes is still under way"), "{}", serve.log());
    // Drafts may lie there; the next change clears them away.
    master.run(&["config", "recover"]).expect(0).says("no change was cut off");
    nothing_is_left(&master);
}

/// A HAProxy that has heard nothing of the new files of a change: `serve` was killed while it reloaded.
fn cut_off(app: &str) -> Master {
    let master = Master::start();
    master.script("reload", &format!("echo $$ > {0}; exec sleep 1000", text(master.path("reloading"))));
    let serve = serve_with(&master, "haproxy", &["--reload-command", &text(master.path("reload"))]);
    let _client = begin(&serve, "a.example", app);
    let pid = eventually("the reload", || {
        fs::read_to_string(master.path("reloading")).ok()?.trim().parse::<i32>().ok()
    });
    // With SIGKILL.
    drop(serve);
    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    assert_eq!(master.get("a.example"), Ok("one".into()));
    master
}

#[test]
fn a_change_that_was_cut_off_is_finished_by_the_next_start() {
    let app = url(web_server("app"));
    let master = cut_off(&app);
    let serve = serve_with(&master, "haproxy", &[]);
    eventually("its end", || {
        serve.log().contains("a change that was cut off (route a.example to").then_some(())
    });
    assert!(serve.log().contains("a change of HAProxy's configuration is unfinished; "), "{}", serve.log());
    assert_eq!(master.get("a.example"), Ok("app".into()));
    serve.post("b.example", &app).expect(201);
    assert_eq!((master.get("a.example"), master.get("b.example")), (Ok("app".into()), Ok("app".into())));
    nothing_is_left(&master);
}

#[test]
fn a_change_that_was_cut_off_waits_until_haproxy_answers() {
    let master = cut_off(&url(web_server("app")));
    let (socket, hidden) = (master.path("admin.sock"), master.path("hidden.sock"));
    fs::rename(&socket, &hidden).unwrap();
    let mut serve = begin_serve(&master, "haproxy", &[]);
    for_a_while(Duration::from_secs(2), || {
        assert!(master.path("haproxy.cfg.history/change.json").exists(), "{}", serve.log());
    });
    assert_eq!(serve.end(), Some(0));
    let serve = begin_serve(&master, "haproxy", &[]);
    fs::rename(&hidden, &socket).unwrap();
    eventually("its end", || {
        serve.log().contains("a change that was cut off (route a.example to").then_some(())
    });
    assert_eq!(master.get("a.example"), Ok("app".into()));
    nothing_is_left(&master);
}

// --- when HAProxy does not do what it should

#[test]
fn a_change_that_haproxy_does_not_take_is_put_back_and_where_that_fails_it_is_said() {
    let master = Master::start();
    let before = state(&master);
    let failed_once = text(master.path("failed-once"));
    let again =
        format!("test -e {failed_once} && {} || {{ touch {failed_once}; exit 3; }}", master.reload_command());
    {
        let serve = serve_with(&master, "haproxy", &["--reload-command", &again]);
        let undone = serve.post("a.example", "http://127.0.0.1:1").expect(502);
        let problem = undone.is_problem("the configuration of before is back in its place and in force");
        assert_eq!(problem["type"], "urn:supervisor-haproxy:undone");
        assert_eq!(state(&master).0, before.0);
        nothing_is_left(&master);
    }
    let serve = serve_with(&master, "haproxy", &["--reload-command", "echo no such unit; exit 5"]);
    let stuck = serve.post("a.example", "http://127.0.0.1:1").expect(500);
    let problem = stuck.is_problem("BUT HAPROXY DID NOT TAKE IT");
    assert_eq!(problem["type"], "urn:supervisor-haproxy:stuck");
    assert!(problem["detail"].as_str().unwrap().contains("no such unit"), "{problem:#}");
    assert!(serve.log().contains(" error: route a.example to"), "{}", serve.log());
    assert_eq!(state(&master).0, before.0, "its files are those of before");
}

#[test]
fn while_haproxy_is_left_alone_no_change_begins() {
    let (master, serve) = {
        let master = Master::start();
        let options = ["--breaker-threshold", "2", "--breaker-reset", "60"];
        let serve = serve_with(&master, "haproxy", &options);
        (master, serve)
    };
    serve.post("a.example", "http://127.0.0.1:1").expect(201);
    let files = state(&master).0;
    master.stop();
    serve.expect("an open circuit", |health| health["circuitState"] == "OPEN");
    for answer in [
        serve.post("b.example", "http://127.0.0.1:1"),
        serve.put("a.example", "http://127.0.0.1:2"),
        serve.delete("a.example"),
    ] {
        let answer = answer.expect(503);
        assert_eq!(answer.is_problem("left alone")["type"], "urn:supervisor-haproxy:circuit-open");
        let pause: u64 = answer.headers["retry-after"].parse().unwrap();
        assert!((1..=60).contains(&pause), "{answer:?}");
    }
    assert_eq!(serve.list(&[]).expect(200).json()["routes"].as_array().unwrap().len(), 1, "it may be read");
    let now = ["routes/backends.cfg", "routes/hosts.map"];
    assert_eq!(now.map(|name| fs::read_to_string(master.path(name)).unwrap()).to_vec(), files);
    nothing_is_left(&master);
}

// --- whether the configuration is valid

fn validation(serve: &Serve) -> Answer {
    serve.ask_as_admin("GET", VALIDATE, &[], "")
}

#[test]
fn haproxy_says_whether_it_would_start_and_why_not() {
    let (master, serve) = served();
    let valid = validation(&serve).expect(200).json();
    assert_eq!(
        (&valid["success"], &valid["valid"], &valid["message"], &valid["errors"]),
        (&json!(true), &json!(true), &json!("HAProxy configuration is valid"), &json!([]))
    );
    let main = master.path("haproxy.cfg");
    let wrong = master.configuration("one") + "    frobnicate\n";
    fs::write(&main, &wrong).unwrap();
    let invalid = validation(&serve).expect(200).json();
    let place = format!("[{}:{}] : unknown keyword 'frobnicate'", main.display(), wrong.lines().count());
    assert_eq!((&invalid["success"], &invalid["valid"]), (&json!(true), &json!(false)), "{invalid:#}");
    assert!(invalid["message"].as_str().unwrap().contains(&place), "{invalid:#}");
    assert!(invalid["errors"][0].as_str().unwrap().contains(&place), "{invalid:#}");
    // What was odd is told where it is valid, too.
    fs::write(&main, master.configuration("one") + "\nfrontend twice\n    mode tcp\n    http-request deny\n")
        .unwrap();
    let odd = validation(&serve).expect(200).json();
    assert_eq!(odd["valid"], true, "{odd:#}");
    assert!(!odd["warnings"].as_array().unwrap().is_empty(), "{odd:#}");
}

#[test]
fn a_program_that_is_missing_or_hangs_is_a_problem_and_no_answer() {
    let master = Master::start();
    let directory = master.path("haproxy.cfg").parent().unwrap().to_owned();
    let ask = |program: &str, options: &[&str]| {
        let main = text(master.path("haproxy.cfg"));
        let all = [&["--config", &main, "--haproxy", program], options].concat();
        validation(&Serve::start(&directory, &master.path("admin.sock"), &all))
    };
    let missing = ask("/no/such/haproxy", &[]).expect(502);
    assert_eq!(
        missing.is_problem("`/no/such/haproxy -c` cannot be run")["type"],
        "urn:supervisor-haproxy:unchecked"
    );
    let killed = ask(&text(master.script("killed", "kill -9 $$")), &[]).expect(502);
    killed.is_problem("was ended by a signal");
    let hangs = text(master.script("hangs", "echo so far; exec sleep 1000"));
    let late = ask(&hangs, &["--change-timeout", "2"]).expect(504);
    let problem = late.is_problem("did not end within 2s, and was killed");
    assert_eq!(problem["type"], "urn:supervisor-haproxy:check-timeout");
    assert!(problem["detail"].as_str().unwrap().ends_with("so far"), "{problem:#}");
}

#[test]
fn of_many_who_ask_at_once_most_share_an_answer() {
    let master = Master::start();
    let (haproxy, runs) = (text(master.path("haproxy")), text(master.path("runs")));
    // The monitor's own run is the first of them.
    master.script("counted", &format!("echo run >> {runs}; exec {haproxy} \"$@\""));
    let serve = serve_with(&master, "counted", &[]);
    let before = fs::read_to_string(&runs).unwrap().lines().count();
    let answers: Vec<Value> = thread::scope(|scope| {
        let asking: Vec<_> =
            (0..100).map(|_| scope.spawn(|| validation(&serve).expect(200).json())).collect();
        asking.into_iter().map(|asking| asking.join().unwrap()).collect()
    });
    assert!(answers.iter().all(|answer| answer["valid"] == true));
    let count = fs::read_to_string(Path::new(&runs)).unwrap().lines().count() - before;
    assert!((1..=50).contains(&count), "{count} runs for 100 who asked");
}
