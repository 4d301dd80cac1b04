//! The dashboard in a real browser: what it shows, that it is live, what somebody without a mouse or without eyes has of
//! it, and that others' texts stay texts. Most tests give it documents that a real `serve` could not be made to give.

use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    BELOW, Browser, DOWN, ENTER, ESCAPE, Look, Serve, Stage, TAB, TOKEN, World, eventually,
};

const LIGHT: Look = Look { name: "light", width: 1440, height: 900, scheme: "light" };
const DARK: Look = Look { name: "dark", width: 1440, height: 900, scheme: "dark" };
const PHONE: Look = Look { name: "phone", width: 360, height: 780, scheme: "light" };
const DARK_PHONE: Look = Look { name: "phone-dark", width: 360, height: 780, scheme: "dark" };

const HOSTILE: &str = "<img src=x onerror=\"document.title='broken into'\"><script>alert(1)</script>";

struct Scene {
    stage: Stage,
    _serve: Serve,
    _directory: TempDir,
}

/// `serve` without an HAProxy: the documents are the test's.
fn scene(overview: &Value) -> Scene {
    let directory = tempfile::tempdir().unwrap();
    let serve = Serve::start(directory.path(), &directory.path().join("none.sock"), &[]);
    let stage = Stage::before(&serve.socket);
    stage.tell(overview);
    stage.set("GET /api/overview/sessions", 200, json!({ "interval": 5, "servers": sessions(overview) }));
    stage.set("GET /api/history", 200, json!({ "entries": history() }));
    Scene { stage, _serve: serve, _directory: directory }
}

impl Scene {
    /// As somebody who has given the token before.
    fn open(&self) -> Browser {
        let browser = Browser::open(&self.stage.url());
        browser.run(&format!("sessionStorage.setItem('supervisor-haproxy-token', '{TOKEN}')"));
        browser.reload();
        browser.expect("document.getElementById('forget').hidden", false);
        browser.expect("document.querySelectorAll('tr.server').length > 0", true);
        browser
    }
}

/// Waves, by which each server's line is another.
fn sessions(overview: &Value) -> Value {
    let servers = overview["servers"].as_array().unwrap().iter().enumerate();
    let slope = |at: usize, length: usize| (at % length).abs_diff(length / 2);
    let wave = |number: usize| (0..60).map(|at| slope(at + number * 5, 31 + number) + slope(at, 7)).collect();
    let counts = |number, server: &Value| if server["sessions"] == 0 { vec![0; 60] } else { wave(number) };
    servers
        .map(|(number, server)| (name(server), json!(counts(number, server))))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn name(server: &Value) -> String {
    format!("{}/{}", server["backend"].as_str().unwrap(), server["server"].as_str().unwrap())
}

/// One that is well.
fn server(backend: &str, server: &str) -> Value {
    json!({ "program": format!("{backend}:{server}"), "programState": "RUNNING", "pid": 4711, "programUptime": 93_111,
        "backend": backend, "server": server, "wanted": "ready", "admin": "ready", "status": "UP", "check": "L7OK",
        "sessions": 12, "queue": 0, "since": 93_000, "hold": null, "agrees": true, "remark": null })
}

/// With other members.
fn with(mut server: Value, members: &Value) -> Value {
    for (name, value) in members.as_object().unwrap() {
        server[name] = value.clone();
    }
    server
}

fn servers() -> Vec<Value> {
    let held = json!({ "programState": "STOPPED", "wanted": "maint", "admin": "maint", "status": "MAINT", "sessions": 0,
        "since": 310, "programUptime": null,
        "hold": { "by": "anna@web-3", "reason": "core dump of the leak is to be looked at first", "since": "2026-11-21T15:12:09Z" } });
    let down = json!({ "programState": "BACKOFF", "status": "DOWN", "check": "L4CON", "wanted": "maint", "sessions": 0,
        "agrees": false, "since": 17, "remark": "the program is BACKOFF and its server ready: requests are lost",
        "programUptime": null });
    let bare = json!({ "program": null, "programState": null, "pid": null, "programUptime": null, "wanted": null,
        "agrees": null, "status": "no check", "check": "" });
    let mut servers: Vec<Value> = (1..=5).map(|number| server("plone", &format!("client{number}"))).collect();
    servers[1] = with(servers[1].take(), &held);
    servers[2] = with(
        servers[2].take(),
        &json!({ "admin": "drain", "status": "DRAIN", "since": 41, "sessions": 4,
        "agrees": false, "remark": "in the hands of restart plone:*" }),
    );
    servers[3] = with(servers[3].take(), &down);
    servers.extend((1..=4).map(|number| server("api", &format!("gunicorn{number}"))));
    servers[7] =
        with(servers[7].take(), &json!({ "status": "UP 1/3", "check": "L7STS", "since": 4, "queue": 2 }));
    servers.push(with(server("static", "nginx1"), &bare));
    servers
}

fn overview(servers: &[Value]) -> Value {
    json!({
        "timestamp": "2026-11-21T17:00:00Z", "host": "web-3.example.org", "programVersion": "0.1.0",
        "haproxy": { "address": "unix:///run/haproxy/admin.sock", "status": "DEGRADED",
            "message": "server plone/client4 is DOWN", "circuitState": "CLOSED",
            "circuitSince": "2026-11-21T15:20:00Z", "retryAfter": null, "version": "2.6.12", "uptime": 93_113,
            "lastCheck": "2026-11-21T17:00:00Z",
            "connections": { "current": 53, "total": 1_048_232, "rate": 31, "limit": 2000 } },
        "supervisord": { "address": "unix:///run/supervisor.sock", "problem": null },
        "servers": servers, "problems": [], "actions": { "allowed": true, "why": null },
        "jobs": [job("running"), { "id": 6, "action": "drain", "subject": "api/gunicorn2", "state": "succeeded",
            "startedAt": "2026-11-21T16:40:00Z", "endedAt": "2026-11-21T16:40:01Z", "lines": ["api/gunicorn2: drain"] }],
    })
}

fn job(state: &str) -> Value {
    json!({ "id": 7, "action": "restart", "subject": "plone:client3", "state": state,
        "startedAt": "2026-11-21T16:59:19Z", "endedAt": null,
        "lines": ["plone:client3: draining, 6 sessions left", "plone:client3: draining, 4 sessions left"] })
}

fn entry(id: u64, kind: &str, subject: &str, from: &str, to: &str) -> Value {
    let time = format!("2026-11-21T16:{:02}:{:02}Z", id / 60 % 60, id % 60);
    json!({ "id": id, "time": time, "kind": kind, "subject": subject, "from": from, "to": to, "why": "L4CON" })
}

fn history() -> Vec<Value> {
    vec![
        entry(3003, "server", "plone/client4", "UP", "DOWN"),
        entry(3002, "haproxy", "haproxy", "HEALTHY", "DEGRADED"),
        entry(3001, "program", "plone:client4", "RUNNING", "BACKOFF"),
        entry(3000, "action", "plone/client3", "ready", "drain"),
    ]
}

/// The row of a server, for `querySelector`.
fn row(name: &str) -> String {
    format!("tr[data-name='{name}']")
}

fn dots(name: &str) -> String {
    format!("{} .dots", row(name))
}

/// Opens the menu of a row, and chooses; by script, for tests that are about something else.
fn choose(browser: &Browser, name: &str, action: &str) {
    browser.click(&dots(name));
    browser.click(&format!("#menu [data-action={action}]"));
    browser.expect("document.getElementById('confirm').open", true);
}

/// Nothing was fetched from elsewhere, and nothing was refused.
#[track_caller]
fn is_clean(browser: &Browser, url: &str) {
    assert_eq!(browser.complaints(), Vec::<String>::new());
    let foreign =
        browser.fetched().into_iter().filter(|name| !name.starts_with(url) && !name.starts_with("data:"));
    assert_eq!(foreign.collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn the_page_comes_whole_with_a_policy_that_lets_nothing_else_in() {
    let directory = tempfile::tempdir().unwrap();
    let serve = Serve::start(directory.path(), &directory.path().join("none.sock"), &[]);
    let page = serve.get("/").expect(200);
    let header = |name: &str| page.headers.get(name).map_or("", String::as_str).to_owned();
    assert_eq!(header("content-type"), "text/html; charset=utf-8");
    assert_eq!(header("referrer-policy"), "no-referrer");
    assert_eq!(header("x-content-type-options"), "nosniff");
    let policy = header("content-security-policy");
    for part in [
        "default-src 'none'",
        "connect-src 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'none'",
    ] {
        assert!(policy.contains(part), "{part}: {policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert!(page.body.starts_with("<!DOCTYPE html>\n<html lang=\"en\">") && page.body.ends_with("</html>\n"));
    for word in [TOKEN, directory.path().to_str().unwrap()] {
        assert!(!page.body.contains(word), "the page is open to all, and holds no data");
    }
    serve.ask("POST", "/", &[], "").expect(405);
}

#[test]
fn all_that_is_known_is_shown() {
    let scene = scene(&overview(&servers()));
    let browser = scene.open();
    browser.expect_text("#status", "DEGRADED");
    browser.expect("document.title", "▲ DEGRADED, 4 not well – web-3.example.org");
    for (selector, text) in [
        ("#status-message", "server plone/client4 is DOWN"),
        ("#count", "6 of 10 up"),
        ("#circuit", "closed"),
        ("#connections", "53 of 2,000"),
        ("#version", "2.6.12"),
        ("#supervisord", "answers"),
        ("#hold-list", "core dump of the leak"),
        ("#hold-list", "anna@web-3"),
        ("#job-list", "draining, 4 sessions left"),
        ("#entries", "UP → DOWN"),
    ] {
        browser.expect_text(selector, text);
    }
    let down = browser.text(&row("plone/client4"));
    for text in [
        "client4",
        "DOWN",
        "for 17 s",
        "ready",
        "wanted: maint",
        "L4CON",
        "plone:client4",
        "BACKOFF",
        "requests are lost",
    ] {
        assert!(down.contains(text), "no {text} in {down}");
    }
    browser.look(LIGHT);
    browser.expect("document.querySelectorAll('.spark polyline[points*=\\',\\']').length", 10);
    let label = "document.querySelector('.spark').getAttribute('aria-label').slice(0, 38)";
    browser.expect(label, "sessions in the last 60 checks: betwee");
    is_clean(&browser, &scene.stage.url());
}

#[test]
fn a_filter_and_a_switch_leave_what_is_looked_for() {
    let scene = scene(&overview(&servers()));
    let browser = scene.open();
    let names = "[...document.querySelectorAll('tr.server')].map((row) => row.dataset.name).join(' ')";
    browser.click("#only-unwell");
    browser.expect(names, "api/gunicorn3 plone/client2 plone/client3 plone/client4");
    let filter = |text: &str| {
        browser.run(&format!(
            "const i = document.getElementById('filter'); i.value = {}; i.dispatchEvent(new Event('input'))",
            json!(text)
        ));
    };
    filter("anna");
    browser.expect(names, "plone/client2");
    browser.click("#only-unwell");
    filter("API gunicorn4");
    browser.expect(names, "api/gunicorn4");
    browser.expect_text("#table-foot", "1 of 10 servers.");
    filter("nothing is called so");
    browser.expect_text("#table-foot", "No server matches.");
}

#[test]
fn axe_finds_nothing_and_nothing_overflows_in_any_look() {
    let scene = scene(&overview(&servers()));
    let browser = scene.open();
    browser.expect_text("#entries", "UP → DOWN");
    for look in [LIGHT, DARK, PHONE, DARK_PHONE] {
        browser.look(look);
        let what = look.name;
        assert_eq!(browser.violations(), json!([]), "{what}");
        let fits = "document.documentElement.scrollWidth <= innerWidth";
        assert_eq!(browser.value(fits), true, "{what} scrolls sideways");
        // What is drawn somewhere is drawn within the page, and not over its neighbour.
        let strays = browser.run(
            "const cells = [...document.querySelectorAll('.fact, .panel, tr.server > *, .list > li')].filter((e) => e.checkVisibility());
             return cells.filter((e) => { const r = e.getBoundingClientRect(); return r.width < 8 || r.left < 0 || r.right > innerWidth + 0.5 || e.scrollWidth > e.clientWidth + 1; })
               .map((e) => `${e.tagName} ${e.className}: ${e.innerText}`)",
        );
        assert_eq!(strays, json!([]), "{what}");
        let path = browser.screenshot(what);
        assert!(fs::metadata(&path).unwrap().len() > 10_000, "{} is blank", path.display());
    }
    browser.look(PHONE);
    let tops = browser.run(
        "const [a, b] = [...document.querySelectorAll('tr.server')].slice(0, 2).map((e) => e.getBoundingClientRect());
         return [a.left === b.left, b.top >= a.bottom, document.querySelector('thead').getBoundingClientRect().width <= 1]",
    );
    assert_eq!(tops, json!([true, true, true]), "rows are cards, one below the other");
    let roles = ["table", "tr.server", "tr.server th", "tr.server td"].map(|selector| browser.role(selector));
    assert_eq!(
        roles,
        ["table", "row", "rowheader", "cell"],
        "and still rows of a table for those who do not see it"
    );
    is_clean(&browser, &scene.stage.url());
}

#[test]
fn axe_finds_nothing_in_what_comes_up() {
    let mut open = overview(&servers());
    open["haproxy"]["status"] = json!("UNHEALTHY");
    open["haproxy"]["circuitState"] = json!("OPEN");
    open["haproxy"]["retryAfter"] = json!(8);
    open["problems"] = json!(["supervisord unix:///run/supervisor.sock: connection refused"]);
    let scene = scene(&open);
    let browser = scene.open();
    browser.expect_text("#circuit-rest", "asked again in 8 s");
    browser.expect_text("#problem-list", "connection refused");
    for look in [LIGHT, DARK, PHONE] {
        browser.look(look);
        browser.click(&dots("plone/client1"));
        assert_eq!(browser.violations(), json!([]), "the menu, {}", look.name);
        browser.click("#menu [data-action=restart]");
        assert_eq!(browser.violations(), json!([]), "the question, {}", look.name);
        browser.screenshot(&format!("question-{}", look.name));
        browser.click("#confirm-no");
    }
    scene.stage.cut(true);
    browser.expect_text("#live", "not live");
    assert_eq!(browser.violations(), json!([]), "not live");
    browser.screenshot("not-live");
}

#[test]
fn what_others_write_stays_a_text() {
    let mut servers = servers();
    servers[0]["server"] = json!(HOSTILE);
    servers[0]["program"] = json!(HOSTILE);
    servers[0]["backend"] = json!("plone' or \"x\"");
    servers[1]["hold"] = json!({ "by": HOSTILE, "reason": HOSTILE, "since": HOSTILE });
    servers[2]["remark"] = json!(HOSTILE);
    servers[3]["status"] = json!(HOSTILE);
    let mut hostile = overview(&servers);
    for member in ["host", "programVersion"] {
        hostile[member] = json!(HOSTILE);
    }
    for member in ["status", "message", "circuitState", "version"] {
        hostile["haproxy"][member] = json!(HOSTILE);
    }
    hostile["problems"] = json!([HOSTILE]);
    hostile["jobs"][0]["lines"] = json!([HOSTILE]);
    hostile["jobs"][0]["subject"] = json!(HOSTILE);
    let scene = scene(&hostile);
    let entry = json!({ "id": 9, "time": HOSTILE, "kind": HOSTILE, "subject": HOSTILE, "from": HOSTILE, "to": HOSTILE, "why": HOSTILE });
    scene.stage.set("GET /api/history", 200, json!({ "entries": [entry] }));
    let browser = scene.open();
    for selector in ["#host", "#status", "#problem-list", "#hold-list", "#job-list", "#entries", "#table"] {
        browser.expect_text(selector, HOSTILE);
    }
    browser.click("tr[data-name^='plone\\' or'] .dots");
    browser.click("#menu [data-action=drain]");
    browser.expect_text("#confirm-title", HOSTILE);
    browser.click("#confirm-no");
    assert_eq!(browser.value("document.querySelectorAll('img, body script:not([type=module])').length"), 0);
    assert_ne!(browser.value("document.title"), "broken into");
    assert_eq!(browser.complaints(), Vec::<String>::new(), "the policy had nothing to refuse");
    // Should a script of somebody else's come in nevertheless, it does not run.
    let refused =
        browser.run("try { document.body.innerHTML = '<b>x</b>'; return false } catch { return true }");
    assert_eq!(refused, true, "no text is taken as HTML");
}

#[test]
fn a_server_that_goes_down_is_seen_and_said_without_a_reload() {
    let scene = scene(&overview(&servers()));
    let browser = scene.open();
    browser.run(
        "window.isTheSame = true; window.spoken = [];
        new MutationObserver(() => window.spoken.push(document.getElementById('said').textContent))
          .observe(document.getElementById('said'), { childList: true })",
    );
    let mut servers = servers();
    // What changes at each check is not said.
    servers[0]["sessions"] = json!(13);
    scene.stage.tell(&overview(&servers));
    browser.expect_text(&format!("{} .sessions", row("plone/client1")), "13");
    servers[0] = with(servers[0].take(), &json!({ "status": "DOWN", "since": 0 }));
    scene.stage.tell(&overview(&servers));
    browser.expect_text(&row("plone/client1"), "DOWN");
    browser.expect("document.title.slice(0, 22)", "▲ DEGRADED, 5 not well");
    assert_eq!(browser.value("[window.isTheSame, window.spoken]"), json!([true, ["plone/client1 is DOWN."]]));
    scene.stage.happen(&entry(3004, "server", "plone/client1", "UP", "DOWN"));
    browser.expect_text("#entries li:first-child", "plone/client1");
    browser.expect("document.querySelectorAll('#entries li').length", 5);
}

#[test]
fn the_focus_stays_where_it_is_while_all_around_it_changes() {
    let scene = scene(&overview(&servers()));
    let browser = scene.open();
    browser.run(&format!("document.querySelector({}).focus()", json!(dots("api/gunicorn2"))));
    let mut servers = servers();
    for server in &mut servers {
        *server = with(server.take(), &json!({ "status": "DOWN", "sessions": 99, "remark": "x" }));
    }
    servers.remove(0);
    servers.insert(4, server("plone", "client9"));
    servers.push(server("another", "one"));
    scene.stage.tell(&overview(&servers));
    browser.expect_text(&row("another/one"), "UP");
    assert_eq!(
        browser.value("document.activeElement.getAttribute('aria-label')"),
        "Actions for api/gunicorn2"
    );
    // Where what had it is gone, it is at the table and not nowhere.
    servers.retain(|server| server["backend"] != "api");
    scene.stage.tell(&overview(&servers));
    browser.expect("document.querySelectorAll('tr.server').length", servers.len());
    assert_eq!(browser.value("document.activeElement.id"), "servers");
}

#[test]
fn a_stream_that_ends_is_opened_again_and_nobody_notices() {
    let scene = scene(&overview(&servers()));
    let browser = scene.open();
    browser.run(
        "window.flickers = 0;
        for (const id of ['stale', 'content', 'live-word']) new MutationObserver(() => window.flickers++)
          .observe(document.getElementById(id), { attributes: true, childList: true })",
    );
    for end in [1, 2] {
        scene.stage.end_streams();
        eventually("another stream", || (scene.stage.streams() > end).then_some(()));
    }
    let mut later = overview(&servers());
    later["haproxy"]["status"] = json!("HEALTHY");
    scene.stage.tell(&later);
    browser.expect_text("#status", "HEALTHY");
    assert_eq!(
        browser.value("[window.flickers, document.getElementById('live').dataset.live]"),
        json!([0, "yes"])
    );
    is_clean(&browser, &scene.stage.url());
}

#[test]
fn a_page_that_is_not_live_says_so_and_comes_back_by_itself() {
    let scene = scene(&overview(&servers()));
    let browser = scene.open();
    scene.stage.cut(true);
    browser.expect_text("#live", "not live");
    browser.expect_text("#stale", "Last seen ");
    assert!(browser.text(&row("plone/client1")).contains("UP"), "what was known stays");
    choose(&browser, "plone/client1", "drain");
    browser.expect_text("#confirm-warning", "This page is not live");
    browser.press([ESCAPE]);
    scene.stage.resume();
    browser.expect("document.getElementById('live-word').textContent", "live");
    assert!(!browser.is_shown("#stale"));
}

#[test]
fn the_token_is_asked_for_kept_for_the_tab_and_forgotten() {
    let scene = scene(&overview(&servers()));
    scene.stage.need(TOKEN);
    let browser = Browser::open(&scene.stage.url());
    browser.expect_text("#ask", "This page needs the token");
    browser.expect("document.activeElement.id", "token");
    browser.look(PHONE);
    assert_eq!(browser.violations(), json!([]));
    browser.press("wrong-token-0123456789".chars().chain([ENTER]));
    browser.expect_text("#ask-error", "the token is wrong");
    assert!(!browser.is_shown("#content"));
    browser.press(TOKEN.chars().chain([ENTER]));
    browser.expect_text("#status", "DEGRADED");
    let kept =
        "JSON.stringify([Object.values(sessionStorage), Object.values(localStorage), document.cookie])";
    assert_eq!(browser.value(kept), json!([[TOKEN], [], ""]).to_string());
    assert!(scene.stage.requests().iter().all(|request| !request.contains(TOKEN)), "it is in no URL");
    browser.reload();
    browser.expect_text("#status", "DEGRADED");
    browser.click("#forget");
    browser.expect_text("#ask", "This page needs the token");
    assert_eq!(browser.value(kept), json!([[], [], ""]).to_string());
    assert!(!browser.is_shown("#content"), "what only its holder may see is gone");
}

#[test]
fn actions_that_are_not_allowed_say_why() {
    let mut closed = overview(&servers());
    closed["actions"] =
        json!({ "allowed": false, "why": "serve has no token: start it with --token-file FILE" });
    let scene = scene(&closed);
    let browser = scene.open();
    browser.expect_text("#no-actions", "serve has no token");
    browser.click(&dots("plone/client1"));
    browser.expect_text("#menu-why", "serve has no token");
    let disabled =
        "[...document.querySelectorAll('#menu [role=menuitem]')].map((item) => item.ariaDisabled).join()";
    assert_eq!(browser.value(disabled), "true,true,true,true");
    browser.press([ENTER]);
    assert_eq!(browser.value("document.getElementById('confirm').open"), false);
    browser.press([ESCAPE]);
    scene.stage.tell(&overview(&servers()));
    browser.expect("document.getElementById('no-actions').hidden", true);
    browser.click(&dots("static/nginx1"));
    browser.expect_text("#menu [data-action=restart]", "no program stands for this server");
    assert_eq!(browser.value(disabled), ",,,true");
}

#[test]
fn a_question_says_what_will_happen_and_its_answer_is_told() {
    let scene = scene(&overview(&servers()));
    let browser = scene.open();
    choose(&browser, "api/gunicorn1", "drain");
    browser.expect_text("#confirm", "Drain api/gunicorn1?");
    browser.expect_text("#confirm", "No new requests go to it; sessions in progress (12) end by themselves.");
    assert!(!browser.is_shown("#confirm-warning"));
    let path = "POST /api/servers/api/gunicorn1/drain";
    scene.stage.set(
        path,
        409,
        json!({ "title": "Busy", "status": 409, "detail": "a job about api/gunicorn1 is running" }),
    );
    browser.click("#confirm-yes");
    browser.expect_text("#confirm-error", "Not done: a job about api/gunicorn1 is running.");
    scene.stage.set_with(
        path,
        503,
        "Retry-After: 8",
        json!({ "status": 503, "detail": "the circuit breaker is open" }),
    );
    browser.click("#confirm-yes");
    browser.expect_text("#confirm-error", "Not done: the circuit breaker is open. Try again in 8 s.");
    let mut begun = job("running");
    begun["id"] = json!(8);
    begun["action"] = json!("drain");
    begun["subject"] = json!("api/gunicorn1");
    scene.stage.set(path, 202, json!({ "job": begun }));
    browser.click("#confirm-yes");
    browser.expect("document.getElementById('confirm').open", false);
    browser.expect_text("#toast", "Drain: api/gunicorn1: begun");
    browser.expect_text("#job-list li:first-child", "drain api/gunicorn1");
    begun["state"] = json!("failed");
    begun["lines"] = json!(["error: no such server"]);
    let mut later = overview(&servers());
    later["jobs"].as_array_mut().unwrap().insert(0, begun);
    scene.stage.tell(&later);
    browser.expect_text("#toast", "drain api/gunicorn1: failed");
    browser.expect_text("#job-list li:first-child", "error: no such server");
    choose(&browser, "static/nginx1", "maint");
    browser.expect_text("#confirm-warning", "It is the only server of static that is up");
    browser.press([ESCAPE]);
    choose(&browser, "api/gunicorn1", "restart");
    browser.expect_text("#confirm-title", "Restart api:gunicorn1?");
}

#[test]
fn the_timeline_is_filtered_by_kind_and_goes_back_in_time() {
    let scene = scene(&overview(&servers()));
    let many: Vec<Value> = (1..=50).rev().map(|id| entry(id, "server", "app/web1", "UP", "DOWN")).collect();
    scene.stage.set("GET /api/history", 200, json!({ "entries": many }));
    let browser = scene.open();
    browser.expect("document.querySelectorAll('#entries li').length", 50);
    scene.stage.set(
        "GET /api/history",
        200,
        json!({ "entries": [entry(0, "server", "app/first", "UP", "DOWN")] }),
    );
    browser.click("#older");
    browser.expect_text("#entries li:last-child", "app/first");
    assert!(scene.stage.requests().contains(&"GET /api/history?limit=50&before=1".to_owned()));
    assert!(!browser.is_shown("#older"), "that was all");
    browser.run("const kind = document.getElementById('kind'); kind.value = 'haproxy'; kind.dispatchEvent(new Event('change'))");
    scene.stage.set("GET /api/history", 200, json!({ "entries": [] }));
    eventually("the question", || {
        scene.stage.requests().contains(&"GET /api/history?limit=50&kind=haproxy".to_owned()).then_some(())
    });
}

#[test]
fn what_happens_while_the_history_is_asked_for_is_kept() {
    let scene = scene(&overview(&servers()));
    let browser = scene.open();
    let subjects = "[...document.querySelectorAll('#entries b')].map((b) => b.textContent).join(' ')";
    let before = "plone/client4 haproxy plone:client4 plone/client3";
    browser.expect(subjects, before);
    // Another stream, and the history is asked for anew.
    scene.stage.hold("GET /api/history");
    let streams = scene.stage.streams();
    scene.stage.end_streams();
    eventually("another stream", || (scene.stage.streams() > streams).then_some(()));
    scene.stage.happen(&entry(3004, "server", "plone/client1", "UP", "DOWN"));
    scene.stage.happen(&entry(3005, "server", "plone/client1", "DOWN", "UP"));
    browser.expect(subjects, format!("plone/client1 plone/client1 {before}"));
    scene.stage.release();
    let loads = "performance.getEntriesByName(new URL('api/history?limit=50', document.baseURI).href)\
        .filter((load) => load.responseEnd > 0).length";
    browser.expect(loads, 2);
    assert_eq!(browser.value(subjects), format!("plone/client1 plone/client1 {before}"));
}

#[test]
fn what_happens_before_the_first_answer_hides_nothing_of_it() {
    let scene = scene(&overview(&servers()));
    let many: Vec<Value> = (1..=50).rev().map(|id| entry(id, "server", "app/web1", "UP", "DOWN")).collect();
    scene.stage.set("GET /api/history", 200, json!({ "entries": many }));
    scene.stage.hold("GET /api/history");
    let browser = scene.open();
    let count = "document.querySelectorAll('#entries li').length";
    browser.expect(count, 0);
    scene.stage.happen(&entry(50, "server", "app/web1", "UP", "DOWN"));
    scene.stage.happen(&entry(51, "server", "app/newest", "UP", "DOWN"));
    browser.expect(count, 2);
    scene.stage.release();
    browser.expect(count, 51);
    assert!(browser.text("#entries li:first-child").contains("app/newest"));
    assert!(browser.is_shown("#older"), "there is more than that");
}

#[test]
fn another_kind_begins_anew_at_its_newest_entries() {
    let scene = scene(&overview(&servers()));
    let browser = scene.open();
    let ids =
        "[...document.querySelectorAll('#entries time')].map((t) => t.dateTime.slice(14, 19)).join(' ')";
    let choose = |kind: &str| {
        browser.run(&format!(
            "const kind = document.getElementById('kind'); kind.value = '{kind}'; kind.dispatchEvent(new Event('change'))"
        ));
    };
    browser.expect(ids, "50:03 50:02 50:01 50:00");
    let page = |ids: &[u64]| {
        let entries = ids.iter().map(|id| entry(*id, "server", "app/web1", "UP", "DOWN")).collect::<Vec<_>>();
        json!({ "entries": entries })
    };
    scene.stage.set("GET /api/history", 200, page(&[3003, 2990]));
    choose("server");
    browser.expect(ids, "50:03 49:50");
    // Between its entries there may be others of other kinds, further down than this page goes.
    scene.stage.set("GET /api/history", 200, page(&[3003, 3002]));
    choose("");
    browser.expect(ids, "50:03 50:02");
}

#[test]
fn a_serve_without_a_history_is_no_error() {
    let scene = scene(&overview(&servers()));
    scene.stage.set(
        "GET /api/history",
        404,
        json!({ "status": 404, "detail": "there is nothing at this path" }),
    );
    let browser = scene.open();
    browser.expect_text("#no-entries", "This serve keeps no history.");
    browser.expect_text("#status", "DEGRADED");
}

#[test]
fn a_server_of_two_programs_has_a_row_for_each_and_is_counted_once() {
    let mut servers =
        vec![server("app", "web1"), server("app", "web1"), server("app", "web10"), server("app", "web2")];
    servers[1]["program"] = json!("app:other");
    let scene = scene(&overview(&servers));
    let browser = scene.open();
    browser.expect_text("#count", "3 of 3 up");
    let programs = "[...document.querySelectorAll('tr.server')].map((row) => row.querySelector('.program span').textContent).join(' ')";
    browser.expect(programs, "app:web1 app:other app:web2 app:web10");
    servers.remove(0);
    scene.stage.tell(&overview(&servers));
    browser.expect(programs, "app:other app:web2 app:web10");
}

#[test]
fn the_page_may_live_below_a_path() {
    let scene = scene(&overview(&servers()));
    let url = scene.stage.url().trim_end_matches('/').to_owned() + BELOW;
    let browser = Browser::open(&url);
    browser.expect_text("#status", "DEGRADED");
    browser.expect_text("#entries", "UP → DOWN");
    is_clean(&browser, &url);
}

#[test]
fn two_thousand_servers_stay_usable() {
    let mut servers: Vec<Value> = (0..2000)
        .map(|number| server(&format!("pool{}", number / 100), &format!("node{number:04}")))
        .collect();
    servers[1503]["status"] = json!("DOWN");
    let scene = scene(&overview(&servers));
    let browser = scene.open();
    let count = "document.querySelectorAll('tr.server').length";
    browser.expect(count, 201);
    browser
        .expect_text("#table-foot", "The first 201 of 2,000 servers; all that are not well are among them.");
    assert!(browser.text(&row("pool15/node1503")).contains("DOWN"));
    browser.click("#more");
    browser.expect(count, 401);
    browser.click("#all");
    browser.expect(count, 2000);
    // One server changes, and one row does.
    browser.run("window.touched = new Set();
        new MutationObserver((changes) => { for (const { target } of changes) {
            const element = target.nodeType === 1 ? target : target.parentElement;
            if (!element.closest('.spark')) window.touched.add(element.closest('tr')?.dataset.name ?? element.tagName);
        } }).observe(document.getElementById('table'), { subtree: true, childList: true, attributes: true, characterData: true })");
    servers[1700]["sessions"] = json!(77);
    scene.stage.tell(&overview(&servers));
    browser.expect_text(&format!("{} .sessions", row("pool17/node1700")), "77");
    assert_eq!(browser.value("[...window.touched]"), json!(["pool17/node1700"]));
    browser.run("const i = document.getElementById('filter'); i.value = 'node1999'; i.dispatchEvent(new Event('input'))");
    browser.expect(count, 1);
    assert_eq!(browser.violations(), json!([]));
}

#[test]
fn colours_can_be_chosen_and_stay_so() {
    let scene = scene(&overview(&servers()));
    let browser = scene.open();
    browser.look(LIGHT);
    let ground = "getComputedStyle(document.body).backgroundColor";
    let light = browser.value(ground);
    browser.run("const theme = document.getElementById('theme'); theme.value = 'dark'; theme.dispatchEvent(new Event('change'))");
    assert_ne!(browser.value(ground), light);
    assert_eq!(browser.violations(), json!([]), "dark by choice");
    browser.reload();
    browser.expect("document.documentElement.dataset.theme", "dark");
    assert_ne!(browser.value(ground), light);
}

#[test]
fn all_of_it_is_within_reach_of_the_keyboard() {
    let scene = scene(&overview(&servers()));
    let browser = scene.open();
    browser.look(LIGHT);
    browser.run("document.activeElement.blur()");
    browser.press([TAB]);
    browser.expect("document.activeElement.className", "skip");
    for selector in [
        "#sections a[href='#jobs']",
        "#theme",
        "#filter",
        "#only-unwell",
        "[aria-label='Actions for plone/client1']",
    ] {
        browser.tab_to(selector);
        let outline = browser.value("getComputedStyle(document.activeElement).outlineStyle");
        assert_ne!(outline, "none", "the focus at {selector} is not seen");
    }
    let current = "document.activeElement.dataset.action ?? document.activeElement.getAttribute('aria-label') ?? document.activeElement.id";
    browser.press([ENTER]);
    browser.expect(current, "drain");
    browser.press([DOWN, DOWN, DOWN, DOWN, DOWN]);
    browser.expect(current, "ready");
    browser.press([ESCAPE]);
    browser.expect(current, "Actions for plone/client1");
    browser.press([ENTER, ENTER]);
    browser.expect(current, "confirm-no");
    browser.press([ENTER]);
    browser.expect(current, "Actions for plone/client1");
    for selector in ["summary", "#entries", "#kind", "footer a"] {
        browser.tab_to(selector);
    }
    assert!(
        scene.stage.requests().iter().all(|request| !request.starts_with("POST")),
        "nothing was done by the way"
    );
}

// --- with a real supervisord, a real HAProxy and the listener

/// `serve` that knows the world's programs, and the page of it.
fn real(world: &World) -> (Serve, Stage, Browser) {
    let conf = world.directory().join("supervisord.conf").display().to_string();
    let serve = Serve::start(world.directory(), &world.haproxy.socket, &["--supervisor-conf", &conf]);
    let stage = Stage::before(&serve.socket);
    let browser = Browser::open(&stage.url());
    browser.expect("document.activeElement.id", "token");
    browser.press(TOKEN.chars().chain([ENTER]));
    browser.expect_text("#live", "live");
    // Being asked for the token is a complaint, and a history that is not kept is another.
    browser.expect("document.querySelector('#entries li, #no-entries:not([hidden])') !== null", true);
    browser.complaints();
    (serve, stage, browser)
}

#[test]
fn a_drain_by_keyboard_alone_is_a_drain_in_haproxy() {
    let world = World::apps(&["web1", "web2"], "");
    let (_serve, stage, browser) = real(&world);
    browser.expect_text(&row("app/web1"), "agrees");
    browser.tab_to("[aria-label='Actions for app/web1']");
    browser.press([ENTER]);
    browser.expect("document.activeElement.dataset.action", "drain");
    browser.press([ENTER]);
    browser.expect_text("#confirm", "Drain app/web1?");
    assert_eq!(world.haproxy.admin("web1"), "ready", "a question is no order");
    browser.press([TAB, ENTER]);
    world.haproxy.expect("web1", "drain");
    browser.expect_text(&format!("{} .set", row("app/web1")), "drain");
    browser.expect_text(&format!("{} .state", row("app/web1")), "DRAIN");
    browser.expect_text("#job-list li:first-child", "succeeded");
    browser.expect_text("#entries", "drain → succeeded");
    assert_eq!(browser.value("document.activeElement.getAttribute('aria-label')"), "Actions for app/web1");
    assert_eq!(world.haproxy.admin("web2"), "ready");
    // And back, the same way.
    browser.press([ENTER, DOWN, ENTER]);
    browser.expect_text("#confirm", "Make app/web1 ready?");
    browser.press([TAB, ENTER]);
    world.haproxy.expect("web1", "ready");
    browser.expect_text(&row("app/web1"), "agrees");
    is_clean(&browser, &stage.url());
}

#[test]
fn what_happens_to_a_program_is_seen_without_a_reload() {
    let world = World::apps(&["web1", "web2"], "");
    let (_serve, stage, browser) = real(&world);
    browser.expect_text(&row("app/web2"), "UP");
    browser.run("window.isTheSame = true");
    let entries = "document.querySelectorAll('#entries li').length";
    let before = browser.value(entries).as_u64().unwrap();
    world.supervisord.ctl(&["stop", "web2"]);
    for text in ["MAINT", "STOPPED", "maint"] {
        browser.expect_text(&row("app/web2"), text);
    }
    browser.expect_text("#count", "1 of 2 up");
    world.supervisord.ctl(&["start", "web2"]);
    browser.expect_text(&row("app/web2"), "RUNNING");
    browser.expect_text("#count", "2 of 2 up");
    browser.expect(&format!("{entries} > {before}"), true);
    // Who looks while it ends has that in two steps.
    browser.expect_text("#entries", "→ STOPPED");
    let steps = browser.text("#entries");
    let in_two = ["RUNNING → STOPPING", "STOPPING → STOPPED"].iter().all(|step| steps.contains(step));
    assert!(steps.contains("RUNNING → STOPPED") || in_two, "{steps}");
    assert_eq!(browser.value("window.isTheSame"), true);
    is_clean(&browser, &stage.url());
}

#[test]
fn a_restart_from_the_page_is_a_new_process_and_tells_how_it_goes() {
    let world = World::apps(&["web1", "web2"], "");
    let before = world.supervisord.pid("web2");
    let (_serve, stage, browser) = real(&world);
    browser.expect_text(&row("app/web2"), "agrees");
    choose(&browser, "app/web2", "restart");
    browser.expect_text("#confirm", "The program web2 stands behind app/web2.");
    browser.click("#confirm-yes");
    browser.expect_text("#job-list li:first-child", "restart web2");
    browser.expect_text("#toast", "restart web2: succeeded");
    browser.expect_text("#job-list li:first-child", "1 of 1 restarted");
    assert_ne!(world.supervisord.pid("web2"), before);
    is_clean(&browser, &stage.url());
}

#[test]
fn a_hold_with_a_hostile_reason_is_shown_as_it_was_written() {
    let world = World::idle(&["web1", "web2"]);
    world.expect_running("web1");
    let (_serve, stage, browser) = real(&world);
    world.run(&["hold", "web1", "--reason", HOSTILE]).expect(0);
    browser.expect_text("#hold-list", HOSTILE);
    browser.expect_text(&row("app/web1"), "Held by root");
    browser.expect_text("#n-holds", "1");
    // What is refused is told in the words of the command.
    choose(&browser, "app/web1", "ready");
    browser.click("#confirm-yes");
    browser.expect_text("#job-list li:first-child", "failed");
    browser.expect_text("#job-list li:first-child", "`release` it first");
    is_clean(&browser, &stage.url());
}

#[test]
fn an_haproxy_that_is_gone_is_told_with_its_breaker() {
    let mut world = World::idle(&["web1"]);
    world.expect_running("web1");
    let (_serve, stage, browser) = real(&world);
    browser.expect_text("#status", "HEALTHY");
    world.haproxy.stop();
    browser.expect_text("#status", "UNHEALTHY");
    browser.expect_text("#circuit", "open");
    browser.expect("document.title.slice(0, 11)", "✕ UNHEALTHY");
    assert!(browser.text(&row("app/web1")).contains("RUNNING"), "what is known stays");
    world.haproxy.launch();
    browser.expect_text("#status", "HEALTHY");
    browser.expect_text("#circuit", "closed");
    is_clean(&browser, &stage.url());
}
