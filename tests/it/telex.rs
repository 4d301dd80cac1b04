//! What `serve` sends by itself: reports for Telex and on a schedule, alerts, and what it does with URLs that strangers
//! send. A real HAProxy with its statistics page; the chat is a thread of the test.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};

use clap::{CommandFactory, Parser};
use regex::Regex;
use serde_json::{Value, json};
use supervisor_haproxy::alerts::Destination;
use supervisor_haproxy::cli::Args;
use tempfile::TempDir;

use crate::recipes::{read, words};
use crate::support::{
    Answer, FakeHaproxy, Haproxy, Post, Receiver, Reply, Serve, eventually, free_port, head, secret,
};

const PASSWORD: &str = "pa55word-of-the-page";
const JSON: &[&str] = &["Content-Type: application/json"];

struct World {
    // It goes first, while its directory is there.
    haproxy: Haproxy,
    directory: TempDir,
    /// Of the statistics, as CSV.
    page: String,
}

/// `web1` is not checked and ready; `dead` is checked, fails, and is in maint.
fn world_at(directory: TempDir, sections: &str) -> World {
    let port = free_port();
    let page = format!(
        "frontend page\n  mode http\n  timeout client 5s\n  bind 127.0.0.1:{port}\n  stats enable\n  stats uri /stats\n  \
         stats auth me:{PASSWORD}\n{sections}"
    );
    let servers = ["web1 127.0.0.1:1", "dead 127.0.0.1:1 check inter 100ms fall 1"];
    let haproxy = Haproxy::start_with(directory.path(), &page, &servers);
    haproxy.ask("set server app/web1 state ready");
    haproxy.expect_status("web1", "no check");
    World { directory, haproxy, page: format!("http://127.0.0.1:{port}/stats;csv") }
}

fn world() -> World {
    world_at(tempfile::tempdir().unwrap(), "")
}

impl World {
    fn serve(&self, options: &[&str]) -> Serve {
        let serve = Serve::start(self.directory.path(), &self.haproxy.socket, options);
        serve.expect_status("HEALTHY");
        serve
    }
}

/// With leave for all of loopback.
const OPEN: &[&str] = &["--telex", "--allow-host", "127.0.0.1:*", "--telex-stats-allow", "127.0.0.1:*"];

fn document(return_url: &str, settings: &[(&str, &str)]) -> String {
    let settings = settings
        .iter()
        .map(|(label, value)| json!({ "label": label, "type": "text", "required": true, "default": value }));
    json!({ "channel_id": "c", "return_url": return_url, "settings": settings.collect::<Vec<_>>() })
        .to_string()
}

fn of_page<'a>(page: &'a str, password: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![("interval", "* * * * *"), ("stats_endpoint", page), ("username", "me"), ("password", password)]
}

fn tick(serve: &Serve, return_url: &str, settings: &[(&str, &str)]) -> Answer {
    serve.ask("POST", "/tick", JSON, &document(return_url, settings))
}

const SOCKET: &[(&str, &str)] = &[("stats_endpoint", "socket")];

#[track_caller]
fn says(serve: &Serve, text: &str) {
    eventually(&format!("`{text}` in the log"), || serve.log().contains(text).then_some(()));
}

/// How many messages of a kind ended so.
fn tally(serve: &Serve, kind: &str, result: &str) -> Option<String> {
    let metrics = serve.get("/metrics").body;
    let series = format!("supervisor_haproxy_messages_total{{kind=\"{kind}\",result=\"{result}\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&series)).map(str::to_owned)
}

#[track_caller]
fn expect_tally(serve: &Serve, kind: &str, result: &str, count: usize) {
    let what = format!("{count} {kind} {result}");
    eventually(&what, || (tally(serve, kind, result) == Some(count.to_string())).then_some(()));
}

/// A port that tells whether somebody came.
fn trap() -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    listener
}

#[track_caller]
fn is_untouched(trap: &TcpListener) {
    assert_eq!(trap.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "somebody came");
}

// --- Telex

#[test]
fn telex_is_told_the_settings_and_where_ticks_go() {
    let world = world();
    let serve = world.serve(&[OPEN, &["--every", "*/7 * * * *"]].concat());
    let answer = serve.get("/integration.json").expect(200);
    assert_eq!(answer.headers["access-control-allow-origin"], "*");
    let data = answer.json()["data"].clone();
    assert_eq!(data["descriptions"]["app_url"], "http://x");
    assert_eq!((&data["tick_url"], &data["integration_type"]), (&json!("http://x/tick"), &json!("interval")));
    let settings: Vec<(&str, &str)> = data["settings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|setting| (setting["label"].as_str().unwrap(), setting["default"].as_str().unwrap()))
        .collect();
    let expected =
        [("interval", "*/7 * * * *"), ("stats_endpoint", "socket"), ("username", ""), ("password", "")];
    assert_eq!(settings, expected);
    let proxied = serve.send(
        b"GET /integration.json HTTP/1.1\r\nHost: lb.example.com\r\nX-Forwarded-Proto: https\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(proxied.json()["data"]["tick_url"], "https://lb.example.com/tick");
    let hostless = serve.send(b"GET /integration.json HTTP/1.1\r\nHost: a@b\r\nConnection: close\r\n\r\n");
    hostless.expect(400).is_problem("`Host`");
}

#[test]
fn a_tick_is_accepted_and_its_report_is_that_of_the_page() {
    let (world, chat) = (world(), Receiver::start(&[]));
    let serve = world.serve(OPEN);
    let answer = tick(&serve, &chat.url("/v1/webhooks/c"), &of_page(&world.page, PASSWORD)).expect(202);
    assert_eq!(answer.json(), json!({ "status": "accepted" }));
    let post = &chat.expect(1)[0];
    assert_eq!(post.line, "POST /v1/webhooks/c HTTP/1.1");
    assert_eq!(
        (&*post.headers["content-type"], &*post.headers["accept"]),
        ("application/json", "application/json")
    );
    let report = post.json();
    let members: Vec<&str> = report.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, ["event_name", "message", "status", "username"]);
    assert_eq!((&report["username"], &report["status"]), (&json!("supervisor-haproxy"), &json!("success")));
    let message = report["message"].as_str().unwrap();
    for text in [
        ": all is well\n",
        "\napp/web1 no check",
        "\napp/dead MAINT",
        ", sessions 0 (0 now)",
        "queue 0 (most 0)",
        "failed checks 0",
        "errors of frontends: requests 0, connections 0, responses 0, denied ",
    ] {
        assert!(message.contains(text), "no `{text}` in {message}");
    }
    world.haproxy.ask("set server app/dead state ready");
    world.haproxy.expect_status("dead", "DOWN");
    tick(&serve, &chat.url("/"), &of_page(&world.page, PASSWORD)).expect(202);
    let report = chat.expect(2)[1].json();
    assert_eq!(report["status"], "error");
    assert!(report["message"].as_str().unwrap().contains("! server `app/dead` is DOWN: L4CON"), "{report:#}");
}

#[test]
fn the_own_socket_is_a_source_without_a_password() {
    let (world, chat) = (world(), Receiver::start(&[]));
    let serve = world.serve(&["--telex", "--allow-host", "127.0.0.1:*"]);
    tick(&serve, &chat.url("/"), SOCKET).expect(202);
    let report = chat.expect(1)[0].json();
    assert!(report["message"].as_str().unwrap().contains("\napp/web1 no check"), "{report:#}");
    // And the page is not: nobody has allowed any.
    let answer = tick(&serve, &chat.url("/"), &of_page(&world.page, PASSWORD)).expect(403);
    assert!(
        answer.is_problem("--telex-stats-allow 127.0.0.1:")["type"]
            .as_str()
            .unwrap()
            .ends_with(":target-refused")
    );
}

#[test]
fn what_cannot_be_fetched_is_told_to_the_channel_and_the_password_to_nobody() {
    let (world, chat) = (world(), Receiver::start(&[]));
    let serve = world.serve(&[OPEN, &["--verbose"]].concat());
    let wrong = format!("not-{PASSWORD}");
    tick(&serve, &chat.url("/"), &of_page(&world.page, &wrong)).expect(202);
    let html = world.page.trim_end_matches(";csv").to_owned();
    tick(&serve, &chat.url("/"), &of_page(&html, PASSWORD)).expect(202);
    let closed = format!("http://127.0.0.1:{}/", free_port());
    tick(&serve, &chat.url("/"), &of_page(&closed, PASSWORD)).expect(202);
    let posts = chat.expect(3);
    for (post, why) in
        posts.iter().zip(["HTTP status 401", "not HAProxy's statistics page", "Connection refused"])
    {
        assert_eq!(post.json()["status"], "error");
        assert!(post.body.contains(why), "no `{why}` in {post:#?}");
    }
    says(&serve, "HTTP status 401");
    let with_user = world.page.replace("http://", &format!("http://me:{PASSWORD}@"));
    let refused = tick(&serve, &chat.url("/"), &of_page(&with_user, PASSWORD)).expect(403);
    for text in [serve.log(), refused.body, posts[0].body.clone(), format!("{posts:?}")] {
        assert!(!text.contains(PASSWORD), "{text}");
    }
}

#[test]
fn a_tick_without_what_it_takes_is_a_bad_request() {
    let (world, chat) = (world(), Receiver::start(&[]));
    let serve = world.serve(OPEN);
    let all = of_page(&world.page, PASSWORD);
    for missing in ["stats_endpoint", "username", "password"] {
        let rest: Vec<_> = all.iter().copied().filter(|(label, _)| *label != missing).collect();
        tick(&serve, &chat.url("/"), &rest).expect(400).is_problem(&format!("`{missing}` is missing"));
    }
    let twice = [&all[..], &all[1..2]].concat();
    tick(&serve, &chat.url("/"), &twice).expect(400).is_problem("more than once");
    for url in
        ["", "x", "ftp://127.0.0.1/", "file:///etc/passwd", "http://", "http://a b/", "http://h:99999/"]
    {
        tick(&serve, url, &all).expect(400).is_problem("`return_url`");
    }
    let number =
        json!({ "return_url": chat.url("/"), "settings": [{ "label": "stats_endpoint", "default": 7 }] });
    serve
        .ask("POST", "/tick", JSON, &number.to_string())
        .expect(400)
        .is_problem("`stats_endpoint` is missing");
    let deep = "[".repeat(16_000);
    for body in [
        "",
        "{",
        "null",
        "[]",
        "{}",
        "{\"return_url\":7,\"settings\":[]}",
        "\u{0}",
        "{\"settings\":[{}]}",
        "{\"return_url\":\"http://127.0.0.1/\",\"settings\":{}}",
        &deep,
    ] {
        serve.ask("POST", "/tick", JSON, body).expect(400).is_problem("");
    }
    serve.ask("POST", "/tick", JSON, &" ".repeat(20_000)).expect(413).is_problem("16384");
    serve.ask("POST", "/tick", &["Content-Type: text/plain"], "{}").expect(415).is_problem("");
    serve.ask("GET", "/tick", &[], "").expect(405);
    assert_eq!(tally(&serve, "tick", "accepted"), None);
    assert_eq!(chat.posts().len(), 0);
}

#[test]
fn without_telex_both_paths_are_closed() {
    let directory = tempfile::tempdir().unwrap();
    let haproxy = FakeHaproxy::start(directory.path());
    let serve = Serve::start(directory.path(), &haproxy.path, &[]);
    serve.get("/integration.json").expect(403).is_problem("without --telex");
    tick(&serve, "https://ping.telex.im/", SOCKET).expect(403).is_problem("without --telex");
}

// --- URLs of strangers

#[test]
fn no_way_to_write_a_host_inside_makes_it_an_allowed_one() {
    let (world, trap) = (world(), trap());
    let port = trap.local_addr().unwrap().port();
    let options =
        ["--telex", "--allow-host", "ping.telex.im,*.example.com", "--telex-stats-allow", "lb.example.com"];
    let serve = world.serve(&options);
    for host in [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "localhost",
        "LOCALHOST.",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "0.0.0.0",
        "[::]",
        "169.254.169.254",
        "[fe80::1]",
        "[fd00:ec2::254]",
        "10.0.0.1",
        "metadata.google.internal",
        "ping.telex.im.nip.io",
        "example.com",
        "127.0.0.1.nip.io",
        "ping.telex.im@127.0.0.1",
        "user:word@ping.telex.im",
        "ping.telex.im:80@127.0.0.1",
    ] {
        let url = format!("http://{host}:{port}/");
        let answer = tick(&serve, &url, SOCKET).expect(403);
        answer.is_problem("`return_url`");
        let answer = tick(&serve, "https://ping.telex.im/", &of_page(&url, PASSWORD)).expect(403);
        answer.is_problem("`stats_endpoint`");
    }
    // Another port than those of the schemes is another service.
    tick(&serve, "https://ping.telex.im:8443/", SOCKET).expect(403);
    assert_eq!(tally(&serve, "tick", "accepted"), None);
    is_untouched(&trap);
}

#[test]
fn a_name_that_is_allowed_and_means_loopback_is_not_connected_to() {
    let (world, trap, chat) = (world(), trap(), Receiver::start(&[]));
    let port = trap.local_addr().unwrap().port();
    let inside = format!("http://localhost:{port}/");
    let serve =
        world.serve(&["--telex", "--allow-host", "localhost:*", "--telex-stats-allow", "localhost:*"]);
    tick(&serve, &inside, SOCKET).expect(202);
    says(&serve, "`localhost` has the address 127.0.0.1, which is loopback");
    expect_tally(&serve, "tick", "lost", 1);
    is_untouched(&trap);
    drop(serve);
    let options = ["--telex", "--allow-host", "127.0.0.1:*", "--telex-stats-allow", "localhost:*"];
    let serve = world.serve(&options);
    tick(&serve, &chat.url("/"), &of_page(&inside, PASSWORD)).expect(202);
    assert!(chat.expect(1)[0].body.contains("which is loopback"));
    is_untouched(&trap);
    drop(serve);
    // With leave for the addresses, too, it is.
    let chat_url = chat.url("/").replace("127.0.0.1", "localhost");
    let serve = world.serve(&["--telex", "--allow-host", "localhost:*,127.0.0.1,::1"]);
    tick(&serve, &chat_url, SOCKET).expect(202);
    chat.expect(2);
}

#[test]
fn a_redirect_to_loopback_is_not_followed() {
    let (world, trap) = (world(), trap());
    let location = format!("Location: http://{}/\r\n", trap.local_addr().unwrap());
    let chat = Receiver::start(&[head(307, &location)]);
    let source = Receiver::start(&[head(302, &location)]);
    let serve = world.serve(OPEN);
    tick(&serve, &chat.url("/"), SOCKET).expect(202);
    says(&serve, "HTTP status 307: redirects are not followed");
    expect_tally(&serve, "tick", "lost", 1);
    tick(&serve, &chat.url("/"), &of_page(&source.url("/stats"), PASSWORD)).expect(202);
    assert!(chat.expect(2)[1].body.contains("no statistics: HTTP status 302"));
    is_untouched(&trap);
}

#[test]
fn a_page_without_end_is_cut_off_and_an_answer_without_end_is_not_read() {
    let world = world();
    let source = Receiver::start(&[Reply::Endless]);
    let chat = Receiver::start(&[Reply::Endless]);
    let serve = world.serve(OPEN);
    let before = serve.memory();
    tick(&serve, &chat.url("/"), &of_page(&source.url("/stats"), PASSWORD)).expect(202);
    assert!(chat.expect(1)[0].body.contains("the reply is longer than 16777216 bytes"));
    expect_tally(&serve, "tick", "delivered", 1);
    let more = serve.memory().saturating_sub(before);
    assert!(more < 64 << 20, "{more} bytes more");
}

#[test]
fn who_accepts_and_says_nothing_is_given_up_and_tried_again() {
    let (world, chat) = (world(), Receiver::start(&[Reply::Silence]));
    let serve = world.serve(OPEN);
    tick(&serve, &chat.url("/"), SOCKET).expect(202);
    chat.expect(1);
    serve.get("/api/health/haproxy").expect(200);
    let posts = chat.expect(2);
    assert_eq!(posts[0].body, posts[1].body);
    says(&serve, "no complete reply within 10s");
    expect_tally(&serve, "tick", "delivered", 1);
}

#[test]
fn whoever_sends_many_ticks_is_told_to_come_back() {
    let (world, chat) = (world(), Receiver::start(&[Reply::Silence]));
    let serve = world.serve(OPEN);
    tick(&serve, &chat.url("/"), SOCKET).expect(202);
    // One is on its way, and what comes now waits.
    chat.expect(1);
    let mut answers: Vec<Answer> = Vec::new();
    while answers.last().is_none_or(|last| last.status != 429) {
        answers.push(tick(&serve, &chat.url("/"), SOCKET));
        assert!(answers.len() < 1000, "nobody was told that there are too many");
    }
    let count = |status| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!((count(202), count(202) + count(503) + count(429)), (32, answers.len()), "{answers:#?}");
    assert!(count(503) > 0);
    for answer in answers.iter().filter(|answer| answer.status != 202) {
        assert!(answer.headers["retry-after"].parse::<u64>().unwrap() > 0);
        answer.is_problem("too many");
    }
}

#[test]
fn a_certificate_that_nobody_vouches_for_is_no_receiver() {
    let chat = Receiver::start(&[]);
    let directory = tempfile::tempdir().unwrap();
    let script = "openssl req -x509 -days 2 -nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -subj /CN=x \
                  -addext subjectAltName=IP:127.0.0.1 -keyout k -out c && cat k c > both.pem";
    let made = Command::new("sh").args(["-c", script]).current_dir(directory.path()).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let (port, pem) = (free_port(), directory.path().join("both.pem"));
    let sections = format!(
        "listen tls\n  mode http\n  timeout client 5s\n  timeout connect 5s\n  timeout server 5s\n  bind 127.0.0.1:{port} \
         ssl crt {}\n  server chat {}\n",
        pem.display(),
        chat.address
    );
    let world = world_at(directory, &sections);
    let serve = world.serve(OPEN);
    tick(&serve, &format!("https://127.0.0.1:{port}/"), SOCKET).expect(202);
    says(&serve, "invalid peer certificate");
    assert_eq!(chat.posts().len(), 0);
}

// --- reports and alerts

/// The JSON form of all that came.
fn alerts(posts: &[Post]) -> Vec<Value> {
    posts.iter().map(Post::json).collect()
}

#[test]
fn a_report_comes_each_time_the_clock_says_so_in_the_form_that_is_asked_for() {
    let (world, chat, programs) = (world(), Receiver::start(&[]), Receiver::start(&[]));
    let to = format!("slack+{},text+{},{}", chat.url("/slack"), chat.url("/text"), programs.url("/json"));
    let serve = world.serve(&["--report-to", &to, "--every", "* * * * * *"]);
    // The first may come before HAProxy was asked.
    let tells = |text: &str| text.contains("\napp/web1 no check").then_some(());
    let report = |path: &str| chat.posts().into_iter().rfind(|post| post.line.contains(path));
    eventually("text in a document", || tells(report("/slack")?.json()["text"].as_str()?));
    eventually("text", || tells(&report("/text")?.body));
    let documents = eventually("two reports on two servers", || {
        let mut documents = alerts(&programs.posts());
        documents
            .retain(|document| document["details"]["servers"].as_array().is_some_and(|all| all.len() == 2));
        (documents.len() >= 2).then_some(documents)
    });
    assert_ne!(documents[0]["event_id"], documents[1]["event_id"]);
    assert_eq!(documents[0]["event"], "haproxy-report");
    // Webhooks have their secrets in their paths.
    assert!(!serve.log().contains("/slack"), "{}", serve.log());
}

/// Waits for an alert that says this.
#[track_caller]
fn expect_alert(chat: &Receiver, text: &str) -> Value {
    let says = |alert: &Value| alert["message"].as_str().is_some_and(|message| message.contains(text));
    eventually(&format!("an alert with `{text}`"), || alerts(&chat.posts()).into_iter().find(says))
}

#[test]
fn what_fails_is_told_and_so_is_that_it_is_well_again() {
    let (mut world, chat) = (world(), Receiver::start(&[]));
    let serve = world.serve(&["--alert-to", &chat.url("/"), "--digest", "0.2"]);
    world.haproxy.ask("set server app/dead state ready");
    // It is UP for a moment, which may be a message of its own.
    let alert = expect_alert(&chat, "`app/dead` is DOWN");
    assert_eq!((&alert["event"], &alert["status"]), (&json!("haproxy-alert"), &json!("error")));
    let change = &alert["details"]["changes"][0];
    assert_eq!((&change["subject"], &change["failing"]), (&json!("`app/dead`"), &json!(true)));
    world.haproxy.ask("set server app/dead state maint");
    let alert = expect_alert(&chat, "`app/dead` is MAINT again (was DOWN)");
    assert_eq!(alert["status"], "success");
    world.haproxy.stop();
    let alert = expect_alert(&chat, "HAProxy is UNHEALTHY (was HEALTHY): ");
    assert_eq!(alert["status"], "error");
    world.haproxy.launch();
    expect_alert(&chat, "again (was UNHEALTHY)");
    drop(serve);
}

#[test]
fn a_server_that_flaps_is_one_message() {
    const ROUNDS: u64 = 10;
    let (world, chat) = (world(), Receiver::start(&[]));
    let mut serve = world.serve(&["--alert-to", &chat.url("/"), "--digest", "10m"]);
    for state in ["maint", "ready"].repeat(10) {
        world.haproxy.ask(&format!("set server app/web1 state {state}"));
        let status = if state == "maint" { "MAINT" } else { "no check" };
        serve.expect(status, |health| health["metrics"]["serverStates"]["app/web1"]["status"] == status);
    }
    assert_eq!(chat.posts().len(), 0, "the window is open");
    assert_eq!(serve.end(), Some(0));
    let alerts = alerts(&chat.posts());
    assert_eq!(alerts.len(), 1, "{alerts:#?}");
    let changes = alerts[0]["details"]["changes"].as_array().unwrap();
    assert_eq!(changes.len(), 1, "{changes:#?}");
    assert_eq!((&changes[0]["changes"], &changes[0]["course"]), (&json!(2 * ROUNDS), &json!("flapping")));
    assert!(alerts[0]["message"].as_str().unwrap().ends_with("`app/web1` is no check and flaps: 20 changes"));
}

#[test]
fn a_receiver_that_is_busy_gets_the_same_message_again_and_can_tell_who_sent_it() {
    let busy = [head(503, ""), head(429, "Retry-After: 2\r\n")];
    let (world, chat) = (world(), Receiver::start(&busy));
    let key = secret(world.directory.path(), "webhook", "a-key-of-the-test-0123\n");
    let to = chat.url("/");
    let options = ["--alert-to", &to, "--digest", "0.2", "--webhook-secret-file", key.to_str().unwrap()];
    let serve = world.serve(&options);
    world.haproxy.ask("set server app/web1 state maint");
    let posts = chat.expect(3);
    expect_tally(&serve, "alert", "delivered", 1);
    expect_tally(&serve, "alert", "retried", 2);
    says(&serve, "HTTP status 503; it is tried again in 1s");
    for post in &posts {
        assert_eq!(post.body, posts[0].body);
        let signature = &post.headers["x-supervisor-haproxy-signature"];
        assert!(is_genuine("a-key-of-the-test-0123", &post.body, signature));
        assert!(!is_genuine("a-key-of-the-test-0124", &post.body, signature));
        assert!(!is_genuine("a-key-of-the-test-0123", &format!("{} ", post.body), signature));
    }
    assert_eq!(chat.posts().len(), 3);
}

/// What the page on alerts tells receivers to do.
fn is_genuine(key: &str, body: &str, signature: &str) -> bool {
    let page = read("docs/alerts.rst");
    let (_, rest) = page.split_once("    import hashlib").unwrap();
    let (code, _) = rest.split_once("\n\nA receiver").unwrap();
    let code: String = format!("    import hashlib{code}")
        .lines()
        .map(|line| line.get(4..).unwrap_or("").to_owned() + "\n")
        .collect();
    let code = code
        + "\nimport sys\nprint(is_genuine(sys.argv[1].encode(), sys.stdin.buffer.read(), sys.argv[2]))\n";
    let mut python = Command::new("python3")
        .args(["-c", &code, key, signature])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all(body.as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    match String::from_utf8(output.stdout).unwrap().trim() {
        "True" => true,
        "False" => false,
        other => panic!("{other}"),
    }
}

#[test]
fn what_is_given_up_is_in_the_log_and_the_history_and_without_the_path() {
    let (world, chat) = (world(), Receiver::start(&[head(404, "")]));
    let to = format!("slack+{}", chat.url("/services/T0P5ECRET"));
    let serve = world.serve(&["--alert-to", &to, "--digest", "0.2"]);
    world.haproxy.ask("set server app/web1 state maint");
    says(&serve, &format!("alert for {} is lost: HTTP status 404", chat.url("")));
    expect_tally(&serve, "alert", "lost", 1);
    assert!(!serve.log().contains("T0P5ECRET"), "{}", serve.log());
    assert_eq!(chat.posts().len(), 1);
    let told = eventually("an entry", || {
        let document = serve.ask_as_admin("GET", "/api/history?kind=message", &[], "").expect(200).json();
        document["entries"].get(0).cloned()
    });
    assert_eq!(
        (&told["subject"], &told["from"], &told["to"], &told["why"]),
        (&json!(chat.url("")), &json!("alert"), &json!("lost"), &json!("HTTP status 404"))
    );
}

// --- the page

#[test]
fn the_page_on_alerts_names_what_there_is() {
    let page = read("docs/alerts.rst");
    let found = |pattern: &str| -> BTreeSet<String> {
        Regex::new(pattern).unwrap().captures_iter(&page).map(|found| found[1].to_owned()).collect()
    };
    let command = Args::command();
    let serve = command.find_subcommand("serve").unwrap();
    let known: BTreeSet<String> =
        serve.get_arguments().filter_map(|argument| argument.get_long()).map(str::to_owned).collect();
    // `report --json` is another command's.
    let told = found("(?:^|[ `(])--([a-z-]+)");
    let unknown: Vec<&String> = told.difference(&known).filter(|option| *option != "json").collect();
    assert_eq!(unknown, Vec::<&String>::new());
    for option in [
        "telex",
        "allow-host",
        "telex-stats-allow",
        "report-to",
        "every",
        "alert-to",
        "digest",
        "webhook-secret-file",
    ] {
        assert!(told.contains(option), "--{option} is not on the page");
    }
    for form in found("(?m)^``([a-z]+)\\+`` ") {
        let destination: Result<Destination, _> = format!("{form}+https://h/").parse();
        assert!(destination.is_ok(), "{form}");
    }
    let commands: Vec<&str> = page.lines().filter_map(|line| line.trim().strip_prefix("$ ")).collect();
    assert!(commands.len() >= 3, "{commands:?}");
    for command in commands {
        if let Err(error) = Args::try_parse_from(words(command)) {
            panic!("{command}\n{error}");
        }
    }
}
