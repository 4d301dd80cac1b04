//! `serve` beside a real HAProxy: what it tells is what HAProxy tells.

use std::collections::BTreeSet;
use std::io::Write;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use supervisor_haproxy::web::document;
use tempfile::TempDir;

use crate::support::{ADMIN_KEY, Answer, DEADLINE, Haproxy, Running, Serve, TOKEN, eventually, for_a_while};

/// `web1` is not checked, `dead` is, and both are in maint.
fn haproxy() -> (TempDir, Haproxy) {
    let directory = tempfile::tempdir().unwrap();
    let servers = ["web1 127.0.0.1:1", "dead 127.0.0.1:1 check inter 100ms fall 1"];
    let haproxy = Haproxy::start(directory.path(), &servers);
    haproxy.ask("set server app/web1 state ready");
    haproxy.expect_status("web1", "no check");
    (directory, haproxy)
}

fn served(options: &[&str]) -> (TempDir, Haproxy, Serve) {
    let (directory, haproxy) = haproxy();
    let serve = Serve::start(directory.path(), &haproxy.socket, options);
    (directory, haproxy, serve)
}

fn info(haproxy: &Haproxy, key: &str) -> String {
    let text = haproxy.ask("show info");
    let prefix = format!("{key}: ");
    text.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap().to_owned()
}

/// The paths of all members, as `a.b`.
fn members(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    if let Value::Object(object) = value {
        for (name, value) in object {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            members(value, &path, found);
            found.insert(path);
        }
    }
}

fn has(document: &Value, expected: &[&str]) {
    let mut found = BTreeSet::new();
    members(document, "", &mut found);
    for path in expected {
        assert!(found.contains(*path), "no {path} in {document:#}");
    }
}

#[test]
fn the_system_is_told_at_a_glance() {
    let (_directory, haproxy, serve) = served(&[]);
    serve.expect_status("HEALTHY");
    let document = serve.get("/api/health/system").expect(200).json();
    let service = &document["services"]["haproxy"];
    assert_eq!((&document["status"], &service["status"]), (&json!("healthy"), &json!("HEALTHY")));
    assert_eq!(service["circuitState"], "CLOSED");
    assert_eq!(service["metrics"]["routeCount"], 1);
    assert_eq!(service["metrics"]["connections"]["limit"].to_string(), info(&haproxy, "Maxconn"));
    has(&service["metrics"], &["connections.current", "connections.total"]);
    assert!(service["lastCheck"].is_string() && document["timestamp"].is_string(), "{document:#}");
}

#[test]
fn haproxy_is_told_in_detail() {
    let (_directory, haproxy, serve) = served(&[]);
    serve.expect_status("HEALTHY");
    let health = serve.health();
    let expected = [
        "timestamp",
        "status",
        "circuitState",
        "metrics.connections.current",
        "metrics.connections.total",
        "metrics.connections.rate",
        "metrics.connections.limit",
        "metrics.requests.total",
        "metrics.requests.rate",
        "metrics.errors.total",
        "metrics.errors.rate",
        "metrics.serverStates.app/web1.status",
        "metrics.serverStates.app/web1.errors",
        "metrics.serverStates.app/web1.connections",
        "metrics.uptime",
        "metrics.version",
        "lastCheck.timestamp",
        "lastCheck.status",
        "lastCheck.details.containerRunning",
        "lastCheck.details.processRunning",
        "lastCheck.details.apiConnected",
        "lastCheck.details.configValid",
        "lastCheck.details.responseTime",
        "routeCount",
        "failureCount",
        "recoveryAttempts",
        "circuitDetails.failureCount",
        "circuitDetails.failureThreshold",
        "circuitDetails.lastStateChange",
        "circuitDetails.lastFailure",
    ];
    has(&health, &expected);
    assert_eq!(health["metrics"]["version"], info(&haproxy, "Version"));
    assert_eq!(health["metrics"]["serverStates"]["app/web1"]["status"], "no check");
    assert_eq!(health["metrics"]["serverStates"]["app/dead"]["status"], "MAINT");
    let details = &health["lastCheck"]["details"];
    assert_eq!((&details["processRunning"], &details["apiConnected"]), (&json!(true), &json!(true)));
    let unknown =
        (&details["containerRunning"], &details["configValid"], &health["circuitDetails"]["lastFailure"]);
    assert_eq!(unknown, (&Value::Null, &Value::Null, &Value::Null), "nothing is made up");
}

#[test]
fn a_request_that_fails_is_an_error_of_its_server() {
    let (_directory, haproxy, serve) = served(&[]);
    let before = serve.expect_status("HEALTHY");
    assert_eq!(before["metrics"]["errors"]["total"], 0);
    let mut client = std::os::unix::net::UnixStream::connect(haproxy.socket.with_extension("front")).unwrap();
    client.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let after = serve.expect("an error", |health| health["metrics"]["errors"]["total"] == 1);
    assert_eq!(after["metrics"]["serverStates"]["app/web1"]["errors"], 1);
    assert!(after["metrics"]["errors"]["rate"].is_number(), "{after:#}");
    assert_eq!(after["status"], "HEALTHY", "errors of the past do not degrade");
}

#[test]
fn a_server_that_goes_down_degrades_and_is_named() {
    let (_directory, haproxy, serve) = served(&[]);
    serve.expect_status("HEALTHY");
    haproxy.ask("set server app/dead state ready");
    let health = serve.expect_status("DEGRADED");
    let problem = health["problems"][0].as_str().unwrap();
    assert!(problem.starts_with("server `app/dead` is DOWN: L4CON"), "{problem}");
    serve.get("/readyz").expect(200);
    let metrics = serve.get("/metrics").body;
    assert!(metrics.contains("supervisor_haproxy_status{status=\"DEGRADED\"} 1"), "{metrics}");
    haproxy.ask("set server app/dead state maint");
    serve.expect_status("HEALTHY");
    haproxy.ask("set server app/web1 state maint");
    let health = serve.expect_status("DEGRADED");
    assert_eq!(health["problems"], json!(["backend `app` is DOWN"]), "whoever took its servers out");
}

#[test]
fn prometheus_gets_what_promtool_finds_good() {
    let (_directory, haproxy, serve) = served(&[]);
    serve.expect_status("HEALTHY");
    haproxy.ask("set server app/web1 state drain");
    // An answer counts those that were given before it.
    serve.get("/metrics").expect(200);
    let metrics = eventually("the state of web1", || {
        let answer = serve.get("/metrics").expect(200);
        let line = "supervisor_haproxy_server_state{proxy=\"app\",server=\"web1\",state=\"DRAIN\"} 1\n";
        answer.body.contains(line).then_some(answer)
    });
    assert_eq!(metrics.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let connections = format!("haproxy_process_max_connections {}\n", info(&haproxy, "Maxconn"));
    for line in [
        &*connections,
        "haproxy_server_current_sessions{proxy=\"app\",server=\"web1\"} 0\n",
        "supervisor_haproxy_server_transitions_total{to=\"DRAIN\"} 1\n",
        "supervisor_haproxy_breaker_state{state=\"CLOSED\"} 1\n",
        "supervisor_haproxy_up 1\n",
        "supervisor_haproxy_http_requests_total{route=\"/metrics\",code=\"200\"} ",
    ] {
        assert!(metrics.body.contains(line), "no {line} in {}", metrics.body);
    }
    assert!(metrics.body.contains("supervisor_haproxy_checks_total{result=\""), "{}", metrics.body);
    check_metrics(&metrics.body);
}

fn check_metrics(text: &str) {
    let mut child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is in Debian's package `prometheus`, and run-tests installs it");
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert_eq!((output.status.code(), String::from_utf8_lossy(&said)), (Some(0), "".into()));
}

#[test]
fn statistics_are_for_those_who_have_the_token() {
    let (_directory, _haproxy, serve) = served(&[]);
    serve.expect_status("HEALTHY");
    let path = "/api/health/haproxy/stats";
    let refused = serve.get(path).expect(401);
    refused.is_problem("a token is missing");
    assert_eq!(refused.headers["www-authenticate"], "Bearer");
    serve.ask("GET", path, &["Authorization: Bearer wrong"], "").expect(401).is_problem("the token is wrong");
    let document =
        serve.ask("GET", path, &[&format!("Authorization: Bearer {TOKEN}")], "").expect(200).json();
    let servers = document["stats"]["servers"].as_array().unwrap();
    let names: Vec<&str> = servers.iter().map(|server| server["server"].as_str().unwrap()).collect();
    assert_eq!(names, ["web1", "dead"]);
    has(&document, &["success", "timestamp", "version", "uptimeSeconds", "stats.totals.backends.status_5xx"]);
}

fn statistics(serve: &Serve) -> Answer {
    serve.ask_as_admin("GET", "/api/health/haproxy/stats", &[], "")
}

#[test]
fn an_haproxy_that_is_gone_is_left_alone_and_asked_again() {
    let (_directory, mut haproxy, serve) = served(&["--breaker-reset", "2"]);
    serve.expect_status("HEALTHY");
    haproxy.stop();
    let health = serve.expect("an open circuit", |health| health["circuitState"] == "OPEN");
    assert_eq!(health["status"], "UNHEALTHY");
    assert_eq!(health["metrics"]["connections"]["current"], Value::Null, "what is not known is not told");
    assert_eq!(health["metrics"]["serverStates"], json!({}));
    assert_eq!(health["lastCheck"]["details"]["apiConnected"], false);
    assert_ne!(health["lastCheck"]["details"]["processRunning"], true);
    assert!(health["failureCount"].as_u64() >= Some(3), "{health:#}");
    assert!(health["circuitDetails"]["lastFailure"].is_string(), "{health:#}");
    let refused = eventually("a circuit that is open", || {
        Some(statistics(&serve)).filter(|answer| answer.body.contains("circuit-open"))
    });
    let refused = refused.expect(503);
    refused.is_problem("cannot connect");
    assert!(["1", "2"].contains(&&*refused.headers["retry-after"]), "{refused:?}");
    serve.get("/readyz").expect(503).is_problem("cannot connect");
    serve.get("/healthz").expect(200);
    assert_eq!(serve.get("/api/health/system").json()["status"], "unhealthy");
    let metrics = serve.get("/metrics").expect(200).body;
    assert!(
        metrics.contains("supervisor_haproxy_up 0\n") && !metrics.contains("haproxy_process_"),
        "{metrics}"
    );
    check_metrics(&metrics);

    haproxy.launch();
    let health = serve.expect("a closed circuit", |health| health["circuitState"] == "CLOSED");
    assert_eq!(health["failureCount"], 0);
    serve.get("/readyz").expect(200);
    statistics(&serve).expect(200);
    let metrics = serve.get("/metrics").body;
    assert!(metrics.contains("supervisor_haproxy_breaker_changes_total{to=\"HALF_OPEN\"}"), "{metrics}");
}

#[test]
fn an_haproxy_that_hangs_makes_nobody_wait() {
    let (_directory, haproxy, serve) = served(&["--timeout", "20"]);
    serve.expect_status("HEALTHY");
    haproxy.signal_worker(Signal::SIGSTOP);
    let last_check = |serve: &Serve| serve.health()["lastCheck"]["timestamp"].clone();
    // A check that was answered before may be told late.
    eventually("answers to all while a check hangs", || {
        let before = last_check(&serve);
        for_a_while(Duration::from_millis(300), || {});
        for path in ["/healthz", "/metrics", "/api/health/system", "/api/health/haproxy"] {
            serve.get(path).expect(200);
        }
        statistics(&serve).expect(200);
        (last_check(&serve) == before).then_some(())
    });
    haproxy.signal_worker(Signal::SIGCONT);
    serve.expect_status("HEALTHY");
}

#[test]
fn an_haproxy_that_hangs_is_unhealthy_and_its_process_is_there() {
    let (_directory, haproxy, serve) = served(&["--timeout", "0.5"]);
    serve.expect_status("HEALTHY");
    haproxy.signal_worker(Signal::SIGSTOP);
    let health = serve.expect_status("UNHEALTHY");
    let details = &health["lastCheck"]["details"];
    assert_eq!((&details["processRunning"], &details["apiConnected"]), (&json!(true), &json!(false)));
    haproxy.signal_worker(Signal::SIGCONT);
    serve.expect_status("HEALTHY");
}

#[test]
fn an_haproxy_that_was_killed_is_brought_back() {
    let (directory, mut haproxy) = haproxy();
    let [way, how] = haproxy.recovery();
    let serve = Serve::start(directory.path(), &haproxy.socket, &[&*way, &*how, "--recover-unvalidated"]);
    let health = serve.expect_status("HEALTHY");
    let container = &health["lastCheck"]["details"]["containerRunning"];
    assert_eq!(container, &if way == "--recover-container" { json!(true) } else { Value::Null });
    haproxy.kill();
    let health = serve.expect("a recovery", |health| health["recoveryAttempts"] == 1);
    let attempt = &health["recovery"]["attempts"][0];
    assert_eq!(
        (&attempt["cause"], &attempt["outcome"]),
        (&json!("unhealthy"), &json!("recovered")),
        "{health:#}"
    );
    // Its servers are in maint again, as its configuration has it.
    assert_eq!(
        (&health["status"], &health["circuitState"]),
        (&json!("DEGRADED"), &json!("CLOSED")),
        "{health:#}"
    );
}

#[test]
fn systemd_hears_of_the_beginning_and_the_end() {
    let (directory, haproxy) = haproxy();
    let notices = UnixDatagram::bind(directory.path().join("notify.sock")).unwrap();
    notices.set_read_timeout(Some(DEADLINE)).unwrap();
    let next = || {
        let mut bytes = [0; 256];
        let count = notices.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..count]).trim().to_owned()
    };
    let path = directory.path().join("notify.sock");
    let socket = haproxy.socket.to_str().unwrap();
    let words = ["serve", "--history=off", "--listen", "127.0.0.1:0", "--socket", socket];
    let serve = Running::start_with(directory.path(), &words, &[("NOTIFY_SOCKET", path.to_str().unwrap())]);
    assert_eq!(next(), "READY=1");
    serve.signal(Signal::SIGTERM);
    let rest = std::iter::repeat_with(next).find(|notice| notice != "WATCHDOG=1");
    assert_eq!(rest.as_deref(), Some("STOPPING=1"));
    serve.wait().expect(0);
}

// --- the document

/// What the document has for a schema, references resolved.
fn resolved<'d>(document: &'d Value, schema: &'d Value) -> &'d Value {
    let Some(reference) = schema["$ref"].as_str() else { return schema };
    document.pointer(reference.trim_start_matches('#')).unwrap_or_else(|| panic!("no {reference}"))
}

/// Whether a value is of a schema, as far as the document's own words go; gives where it is not.
fn fault(document: &Value, schema: &Value, value: &Value, place: &str) -> Option<String> {
    let schema = resolved(document, schema);
    if let Some(choices) = schema["oneOf"].as_array() {
        let fits = choices.iter().any(|schema| fault(document, schema, value, place).is_none());
        return (!fits).then(|| format!("{place}: {value} is none of {choices:?}"));
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => panic!("{place}: no type in {schema}"),
    };
    let is = |kind: &&str| match *kind {
        "null" => value.is_null(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        kind => panic!("{place}: type {kind}"),
    };
    if !types.iter().any(is) {
        return Some(format!("{place}: {value} is no {types:?}"));
    }
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        return Some(format!("{place}: {value} is none of {allowed:?}"));
    }
    let missing = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let missing = missing.filter(|name| value.is_object() && value.get(*name).is_none());
    let missing = missing.map(|name| format!("{place}: no {name}")).next();
    let members = value.as_object().into_iter().flatten().find_map(|(name, value)| {
        let known = schema["properties"].get(name).or(schema.get("additionalProperties"));
        match known {
            Some(schema) => fault(document, schema, value, &format!("{place}.{name}")),
            None if schema.get("properties").is_some() => Some(format!("{place}.{name} is not documented")),
            None => None,
        }
    });
    let items = value.as_array().into_iter().flatten();
    missing.or(members).or_else(|| {
        items.into_iter().find_map(|item| fault(document, &schema["items"], item, &format!("{place}[]")))
    })
}

#[track_caller]
fn is_as_documented(document: &Value, operation: &Value, what: &str, answer: &Answer) {
    let responses = &operation["responses"];
    let response = responses.get(answer.status.to_string()).or(responses.get("default")).unwrap();
    let kind = answer.headers["content-type"].split(';').next().unwrap().to_owned();
    let content = &response["content"];
    let schema = content.get(&kind).unwrap_or_else(|| panic!("{what}: {kind} is none of {content}"));
    if kind.ends_with("json") {
        assert_eq!(fault(document, &schema["schema"], &answer.json(), what), None, "{answer:#?}");
    }
}

#[test]
fn each_operation_of_the_document_answers_as_it_says() {
    let recovery = ["--recover", "false", "--recover-unvalidated"];
    let telex = ["--telex", "--allow-host", "ping.telex.im"];
    let (_directory, mut haproxy, serve) = served(&[&recovery[..], &telex].concat());
    serve.expect_status("HEALTHY");
    let document = serve.get("/openapi.json").expect(200).json();
    assert_eq!(document, serde_json::to_value(self::document()).unwrap());
    let ask_all = |expected: &[(&str, u16)]| {
        for (path, item) in document["paths"].as_object().unwrap() {
            let at = &*path.replace("{host}", "a.example");
            for (method, operation) in item.as_object().unwrap() {
                // It does not end.
                if path == "/api/events" {
                    continue;
                }
                let method = method.to_uppercase();
                let is_closed = operation.get("security").is_some();
                let stranger = serve.ask(&method, at, &[], "");
                assert_eq!(stranger.status == 401, is_closed, "{path}: {stranger:?}");
                is_as_documented(&document, operation, path, &stranger);
                let answer = serve.ask_as_admin(&method, at, &[], "");
                // A serve that knows no programs runs no commands.
                let usual = if path.contains('{') { if method == "GET" { 404 } else { 403 } } else { 200 };
                let other =
                    expected.iter().find(|(other, _)| other == path).map_or(usual, |(_, status)| *status);
                assert_eq!(answer.status, other, "{path}: {answer:?}");
                is_as_documented(&document, operation, path, &answer);
            }
        }
    };
    let recover = "/api/health/haproxy/recover";
    // What it was not started with; routes have tests of their own.
    let missing =
        ["/api/routes", "/api/routes/{host}", "/api/health/haproxy/validate"].map(|path| (path, 501));
    ask_all(&[&missing[..], &[(recover, 502), ("/tick", 415)]].concat());
    haproxy.stop();
    serve.expect("an open circuit", |health| health["circuitState"] == "OPEN");
    let silent = [(recover, 502), ("/tick", 415), ("/readyz", 503), ("/api/health/haproxy/stats", 503)];
    ask_all(&[&missing[..], &silent].concat());
    assert_eq!(document["paths"].as_object().unwrap().len(), 23);
    assert!(!serve.log().contains(TOKEN) && !serve.log().contains(ADMIN_KEY));
}
