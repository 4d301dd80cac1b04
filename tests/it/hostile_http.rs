//! What clients may do to `serve` that no honest one does. HAProxy is a scripted one, and always well.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tempfile::TempDir;

use crate::support::{ADMIN_KEY, Act, FakeHaproxy, Run, Serve, TOKEN, eventually};

const RECOVER: &str = "/api/health/haproxy/recover";
const STATS: &str = "/api/health/haproxy/stats";
/// What is there without clients, and what a thousand of them may add.
const ROOM: u64 = 64 * 1024 * 1024;

fn served(options: &[&str]) -> (TempDir, Serve) {
    served_with("", options)
}

fn served_with(rows: &str, options: &[&str]) -> (TempDir, Serve) {
    let directory = tempfile::tempdir().unwrap();
    let haproxy = FakeHaproxy::start(directory.path());
    let header = "# pxname,svname,type,status,scur,qcur,lastchg,check_status,last_chk,";
    let reply = format!("Name: HAProxy\nVersion: 2.6.12\nPid: 7\nCurrConns: 1\n\n{header}\n{rows}\n");
    haproxy.on("show info", [Act::Reply(reply.into_bytes())]);
    let serve = Serve::start(directory.path(), &haproxy.path, options);
    serve.expect_status("HEALTHY");
    (directory, serve)
}

/// Reads until the other side closes; gives what came.
fn rest(mut stream: UnixStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A reset is an end, too.
    match stream.read_to_end(&mut bytes) {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("it was not closed: {error}"),
        _ => bytes,
    }
}

// --- who is let in

#[test]
fn without_the_token_nothing_closed_opens() {
    let (_directory, serve) = served(&[]);
    let nearly = &TOKEN[..TOKEN.len() - 1];
    let cases: &[&[&str]] = &[
        &[],
        &["Authorization: Bearer"],
        &["Authorization: Bearer "],
        &["Authorization: Bearer wrong"],
        &[&format!("Authorization: Bearer {nearly}")],
        &[&format!("Authorization: Bearer {TOKEN}x")],
        &[&format!("Authorization: Basic {TOKEN}")],
        &[&format!("Authorization: {TOKEN}")],
        &[&format!("Authorization: Bearer {ADMIN_KEY}")],
        &[&format!("Authorization: Bearer {TOKEN}"), "Authorization: Bearer x"],
        &[&format!("X-Admin-Key: {ADMIN_KEY}")],
        &[&format!("Cookie: token={TOKEN}")],
    ];
    for headers in cases {
        for (method, path) in [("GET", STATS), ("HEAD", STATS), ("POST", RECOVER)] {
            let answer = serve.ask(method, path, headers, "").expect(401);
            assert_eq!(answer.headers["www-authenticate"], "Bearer");
            if method != "HEAD" {
                answer.is_problem("token");
            }
        }
    }
    serve.get(&format!("{STATS}?token={TOKEN}&access_token={TOKEN}")).expect(401);
    serve.ask("GET", STATS, &[&format!("authorization: bearer {TOKEN}")], "").expect(200);
}

#[test]
fn without_the_admin_key_nothing_is_restarted() {
    let (directory, serve) = served(&["--recover", "touch restarted", "--recover-unvalidated"]);
    let token = format!("Authorization: Bearer {TOKEN}");
    let key = format!("X-Admin-Key: {ADMIN_KEY}");
    for headers in
        [&[&*token][..], &[&token, "X-Admin-Key: wrong"], &[&token, &key, &key], &[&token, "X-Admin-Key:"]]
    {
        serve.ask("POST", RECOVER, headers, "").expect(403).is_problem("key");
    }
    assert_eq!(serve.health()["recoveryAttempts"], 0);
    assert!(!directory.path().join("restarted").exists());
    assert!(!serve.log().contains(TOKEN) && !serve.log().contains(ADMIN_KEY), "{}", serve.log());
}

#[test]
fn what_would_let_everybody_in_is_refused_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let run = |words: &[&str]| {
        Run::of(directory.path(), &[&["serve", "--socket", "/no/such.sock"], words].concat()).expect(2)
    };
    for address in ["0.0.0.0:0", "[::]:0", "10.1.2.3:8000"] {
        run(&["--listen", address]).complains("other machines may connect there, and there is no token");
    }
    std::fs::write(directory.path().join("short"), "secret\n").unwrap();
    let path = directory.path().join("short");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    run(&["--token-file", "short"]).complains("it has fewer than 16 characters");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    run(&["--token-file", "short"]).complains("anybody on this machine may read it");
    run(&["--token", "x"]).complains("unexpected argument '--token'");
}

// --- what is asked

#[test]
fn paths_that_are_not_there_are_not_found_however_they_are_written() {
    let (_directory, serve) = served(&[]);
    for path in [
        "/nothing",
        "//healthz",
        "/healthz/",
        "/./healthz",
        "/x/../healthz",
        "/%68ealthz",
        "/healthz%00",
        "/healthz%2f",
        "/HEALTHZ",
        "/api/health/haproxy/../haproxy/stats",
        "/api/health/haproxy/%73tats",
        "/api/health/haproxy;/stats",
        "/../../etc/passwd",
        "/..%2f..%2fetc%2fpasswd",
        "/\\..\\etc",
    ] {
        serve.get(path).expect(404).is_problem("there is nothing at this path");
    }
    let metrics = serve.get("/metrics").body;
    assert!(metrics.contains("http_requests_total{route=\"\",code=\"404\"}"), "all of them are one route");
    assert!(!metrics.contains("passwd"), "{metrics}");
}

#[test]
fn methods_that_a_path_does_not_take_are_named_with_those_that_it_does() {
    let (_directory, serve) = served(&[]);
    for (method, path, allowed) in
        [("POST", "/healthz", "GET,HEAD"), ("DELETE", "/metrics", "GET,HEAD"), ("GET", RECOVER, "POST")]
    {
        let answer = serve.ask(method, path, &[], "").expect(405);
        answer.is_problem("the methods that stand in `Allow`");
        assert_eq!(answer.headers["allow"], allowed);
    }
    serve.ask("TRACE", "/healthz", &[], "").expect(405);
    serve.ask("OPTIONS", "/healthz", &[], "").expect(405);
}

#[test]
fn a_body_that_is_no_order_restarts_nothing() {
    let (_directory, serve) = served(&["--recover", "false", "--recover-unvalidated"]);
    for (kind, body, status) in [
        ("application/json", "{", 400),
        ("application/json", "{\"reason\": \"\\ud800\"}", 400),
        ("application/json", "\u{0}", 400),
        ("application/json", "[1]", 422),
        ("application/json", "{\"reason\": 1}", 422),
        ("application/json", "{\"command\": \"rm\"}", 422),
        ("text/plain", "{}", 415),
        ("application/x-www-form-urlencoded", "reason=x", 415),
    ] {
        let answer =
            serve.ask_as_admin("POST", RECOVER, &[&format!("Content-Type: {kind}")], body).expect(status);
        answer.is_problem("");
    }
    serve.recover(&"[".repeat(10_000)).expect(422).is_problem("");
    assert_eq!(serve.health()["recoveryAttempts"], 0);
    serve.recover("{\"reason\": \"one\\nline\"}").expect(502);
    assert_eq!(serve.health()["recoveryAttempts"], 1);
    assert!(serve.log().contains("asked for: one\\nline\n"), "a reason cannot forge a line: {}", serve.log());
}

// --- how much is sent

#[test]
fn a_body_has_its_limit_whatever_it_says_of_itself() {
    let (_directory, serve) = served(&["--recover", "false", "--recover-unvalidated"]);
    let json = "Content-Type: application/json";
    let long = format!("{{\"reason\": \"{}\"}}", "x".repeat(20_000));
    serve.recover(&long).expect(413).is_problem("the body is longer than 16384 bytes");
    serve
        .ask_as_admin("POST", RECOVER, &[json, "Content-Length: 10000000000"], "")
        .expect(413)
        .is_problem("");
    let chunks = format!("{:x}\r\n{}\r\n", 16_000, "x".repeat(16_000)).repeat(64);
    let head = format!(
        "POST {RECOVER} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nX-Admin-Key: {ADMIN_KEY}\r\n{json}\r\n\
         Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    );
    serve.send((head + &chunks).as_bytes()).expect(413).is_problem("");
    assert_eq!(serve.health()["recoveryAttempts"], 0);
}

#[test]
fn a_head_has_its_limit() {
    let (_directory, serve) = served(&[]);
    let before = serve.memory();
    for head in [
        format!("GET /healthz HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(64 * 1024)),
        format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(64 * 1024)),
        format!("GET /healthz HTTP/1.1\r\nHost: x\r\n{}\r\n", "A: b\r\n".repeat(1000)),
    ] {
        let status = serve.send(head.as_bytes()).status;
        assert!([414, 431].contains(&status), "{status}");
    }
    let mut endless = serve.connect();
    endless.write_all(b"GET /healthz HTTP/1.1\r\nX: ").unwrap();
    let piece = vec![b'x'; 64 * 1024];
    let sent = (0..1024).take_while(|_| endless.write_all(&piece).is_ok()).count();
    assert!(sent < 1024, "it took 64 MiB of one line");
    assert!(serve.memory() < before + ROOM);
    serve.get("/healthz").expect(200);
}

#[test]
fn two_lengths_of_a_body_are_one_too_many() {
    let (_directory, serve) = served(&[]);
    let smuggled = "GET /api/health/haproxy/stats HTTP/1.1\r\nHost: x\r\n\r\n";
    for lines in [
        "Content-Length: 1\r\nContent-Length: 2",
        "Content-Length: 1, 2",
        "Content-Length: -1",
        "Content-Length: 0x5",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: chunked, identity",
    ] {
        let text = format!("POST /healthz HTTP/1.1\r\nHost: x\r\n{lines}\r\n\r\n{smuggled}");
        let mut stream = serve.connect();
        stream.write_all(text.as_bytes()).unwrap();
        let said = String::from_utf8_lossy(&rest(stream)).into_owned();
        assert!(
            said.starts_with("HTTP/1.1 400 ") && said.matches("HTTP/1.1 ").count() == 1,
            "{lines}: {said}"
        );
    }
    // Of both, RFC 9112 (6.1) lets a server take the encoding, if it closes the connection behind the answer.
    let both = format!(
        "POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}"
    );
    let mut stream = serve.connect();
    stream.write_all(both.as_bytes()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let said = String::from_utf8_lossy(&rest(stream)).into_owned();
    assert!(!said.contains("HTTP/1.1 200 "), "{said}");
}

#[test]
fn bytes_of_any_kind_end_in_an_answer_or_an_end() {
    let (_directory, serve) = served(&["--client-timeout", "0.2"]);
    let mut runner = TestRunner::new(Config { cases: 64, ..Config::default() });
    let pieces = prop::sample::select(vec![
        "GET ",
        "POST ",
        "/healthz",
        "/metrics",
        " HTTP/1.1\r\n",
        " HTTP/1.0\r\n",
        " HTTP/9.9\r\n",
        "Host: x\r\n",
        "\r\n",
        "\n",
        "\0",
        "Content-Length: 3\r\n",
        "Transfer-Encoding: chunked\r\n",
        "ffffffffffffffff\r\n",
        "é",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "\x16\x03\x01",
        ": ",
        "Expect: 100-continue\r\n",
    ]);
    runner
        .run(&prop::collection::vec(pieces, 0..12), |pieces| {
            let mut stream = serve.connect();
            let _ = stream.write_all(pieces.concat().as_bytes());
            let said = rest(stream);
            prop_assert!(
                said.is_empty() || said.starts_with(b"HTTP/1."),
                "{:?}",
                String::from_utf8_lossy(&said)
            );
            Ok(())
        })
        .unwrap();
    eventually("an answer in time", || serve.try_get("/healthz")).expect(200);
}

// --- how slowly, and by how many

#[test]
fn who_sends_slowly_or_nothing_is_sent_away() {
    // Long enough for all of them to come.
    let (_directory, serve) = served(&["--client-timeout", "3"]);
    let mut clients: Vec<UnixStream> = (0..200).map(|_| serve.connect()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        if number % 2 == 0 {
            client.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-").unwrap();
        }
    }
    let mut slow = clients.pop().unwrap();
    serve.get("/healthz").expect(200);
    // A byte now and then does not buy time.
    slow.set_nonblocking(true).unwrap();
    eventually("the end of the slow one", || {
        let _ = slow.write(b"x");
        let mut byte = [0];
        match slow.read(&mut byte) {
            Ok(0) => Some(()),
            Err(error) if error.kind() != ErrorKind::WouldBlock => Some(()),
            _ => None,
        }
    });
    for client in clients {
        assert_eq!(String::from_utf8_lossy(&rest(client)), "", "it is closed without an answer");
    }
    serve.get("/healthz").expect(200);
}

#[test]
fn who_uses_a_connection_again_may_rest_between_requests_for_as_long_as_the_limit() {
    let (_directory, serve) = served(&["--client-timeout", "3"]);
    let mut stream = serve.connect();
    for _ in 0..3 {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"ok\n") {
            let mut bytes = [0; 512];
            let count = stream.read(&mut bytes).unwrap();
            assert!(count > 0, "{}", String::from_utf8_lossy(&answer));
            answer.extend_from_slice(&bytes[..count]);
        }
    }
    assert_eq!(rest(stream), b"");
}

#[test]
fn a_thousand_idle_clients_cost_little_and_one_too_many_is_told_so() {
    let (_directory, serve) = served(&["--max-connections", "1010"]);
    let before = serve.memory();
    let connect = || {
        let mut client = serve.connect();
        // Who is one too many is told so and sent away at once.
        client.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").ok()?;
        let mut answer = [0; 512];
        let count = client.read(&mut answer).ok()?;
        answer[..count].starts_with(b"HTTP/1.1 200").then_some(client)
    };
    let mut idle: Vec<UnixStream> = (0..1000).map(|_| connect().unwrap()).collect();
    for path in ["/healthz", "/metrics", "/readyz", "/api/health/haproxy"] {
        serve.get(path).expect(200);
    }
    assert!(serve.memory() < before + ROOM, "{} before, {} now", before, serve.memory());
    // Those that were answered before may not have left yet.
    let last = eventually("the last of them", || {
        idle.extend(connect());
        Some(serve.get("/healthz")).filter(|answer| answer.status == 503)
    });
    last.is_problem("there are too many connections");
    assert_eq!(last.headers["retry-after"], "1");
    assert!(idle.len() <= 1010, "{}", idle.len());
    drop(idle);
    eventually("room again", || (serve.get("/healthz").status == 200).then_some(()));
}

#[test]
fn who_asks_for_much_and_reads_nothing_holds_nobody_up() {
    let rows: String = (0..5000).map(|number| format!("app,s{number},2,no check,0,0,1,,,\n")).collect();
    let (_directory, serve) = served_with(&rows, &[]);
    let size = serve.get("/metrics").expect(200).body.len();
    assert!(size > 500_000, "{size}");
    let before = serve.memory();
    let greedy: Vec<UnixStream> = (0..200)
        .map(|_| {
            let mut stream = serve.connect();
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            // It has begun.
            assert_eq!(stream.read(&mut [0; 1]).unwrap(), 1);
            stream
        })
        .collect();
    serve.get("/healthz").expect(200);
    assert_eq!(
        serve.get("/metrics").expect(200).body.matches("supervisor_haproxy_server_state{").count(),
        5000
    );
    let more = serve.memory().saturating_sub(before);
    assert!(more < ROOM, "{more} bytes more for {} clients that wait for {size} bytes each", greedy.len());
}

#[test]
fn who_listens_and_reads_nothing_is_dropped_and_nothing_kept_for_it() {
    let rows: String = (0..1500).map(|number| format!("app,s{number},2,no check,0,0,1,,,\n")).collect();
    let (_directory, serve) = served_with(&rows, &["--client-timeout", "1"]);
    let head = format!("GET /api/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n");
    let listen = || {
        let mut stream = serve.connect();
        stream.write_all(head.as_bytes()).unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).unwrap();
        (&status == b"HTTP/1.1 200").then_some(stream)
    };
    let before = serve.memory();
    let deaf: Vec<UnixStream> = (0..64).map(|_| listen().unwrap()).collect();
    // None of them reads on, and their room is given to others.
    let others: Vec<UnixStream> = (0..8).map(|_| eventually("room again", listen)).collect();
    let more = serve.memory().saturating_sub(before);
    assert!(more < 2 * ROOM, "{more} bytes more for {} clients", deaf.len() + others.len());
    serve.get("/healthz").expect(200);
}

#[test]
fn the_end_is_orderly_with_clients_that_do_not_go() {
    let (_directory, mut serve) = served(&[]);
    let (idle, mut begun) = (serve.connect(), serve.connect());
    begun.write_all(b"GET /healthz HTTP/1.1\r\nHo").unwrap();
    assert_eq!(serve.end(), Some(0));
    assert!(!serve.socket.exists());
    assert!(serve.log().contains("ended by a signal"), "{}", serve.log());
    drop((idle, begun));
}

#[test]
fn a_port_is_served_as_well_as_a_socket() {
    let directory = tempfile::tempdir().unwrap();
    let haproxy = FakeHaproxy::start(directory.path());
    let serve = Serve::start(directory.path(), &haproxy.path, &[]);
    let port = crate::support::free_port();
    let socket = haproxy.path.to_str().unwrap();
    let words = ["serve", "--history=off", "--socket", socket, "--listen", &format!("localhost:{port}")];
    let other = crate::support::Running::start(directory.path(), &words);
    let ask = |path: &str| crate::support::ask_port(port, "GET", path, &[]);
    eventually("serve at a port", || ask("/healthz")).expect(200);
    // It has neither a token nor a key: what is closed stays closed.
    ask(STATS).unwrap().expect(403).is_problem("serve has no token");
    drop((serve, other));
}

// --- while HAProxy does not answer

#[test]
fn a_circuit_that_is_half_open_lets_one_question_through_however_many_ask() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let haproxy = FakeHaproxy::start(here);
    let routes = here.join("routes").display().to_string();
    std::fs::create_dir(&routes).unwrap();
    Run::of(here, &["routes", "init", "--routes", &routes]).expect(0);
    let config = format!("{routes}/backends.cfg");
    let way = ["--config", &config, "--routes", &routes, "--haproxy", "true"];
    let breaker = ["--breaker-threshold", "1", "--breaker-reset", "0.1", "--timeout", "2"];
    haproxy.on("show info", [Act::Hang(Vec::new())]);
    let serve = Serve::start(here, &haproxy.path, &[&way[..], &breaker].concat());
    let order = r#"{"host": "a.example", "url": "http://127.0.0.1:1"}"#;
    let half_open = |serve: &Serve| {
        let health = serve.health();
        let since = health["circuitDetails"]["lastStateChange"].clone();
        (health["circuitState"] == "HALF_OPEN").then_some(since)
    };
    // The question takes two seconds; on a machine that is too slow for this, one of the next ones will do.
    let (before, after) = eventually("a question that lasts", || {
        let since = half_open(&serve)?;
        let before = haproxy.asked("show");
        for _ in 0..10 {
            let answer =
                serve.ask_as_admin("POST", "/api/routes", &["Content-Type: application/json"], order);
            assert_eq!(answer.expect(503).is_problem("")["type"], "urn:supervisor-haproxy:circuit-open");
            serve.ask_as_admin("GET", STATS, &[], "").expect(503);
            serve.get("/readyz").expect(503);
        }
        let after = haproxy.asked("show");
        (half_open(&serve)? == since).then_some((before, after))
    });
    assert!(after - before <= 1, "{before} questions before, and {after} after");
}
