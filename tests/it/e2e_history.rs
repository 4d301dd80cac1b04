//! The history of a real HAProxy: what `serve` has seen change, by `history` and over HTTP, also after `serve` was killed.

use std::path::Path;
use std::thread;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Haproxy, Run, Running, Serve, TOKEN, eventually};

struct World {
    // It goes first, while its directory is there.
    haproxy: Haproxy,
    directory: TempDir,
}

/// `web1` is not checked, `dead` is, and both are in maint.
fn world() -> World {
    let directory = tempfile::tempdir().unwrap();
    let servers = ["web1 127.0.0.1:1", "dead 127.0.0.1:1 check inter 100ms fall 1"];
    World { haproxy: Haproxy::start(directory.path(), &servers), directory }
}

impl World {
    fn here(&self) -> &Path {
        self.directory.path()
    }

    fn serve(&self, options: &[&str]) -> Serve {
        let serve = Serve::start(self.here(), &self.haproxy.socket, options);
        serve.expect("a first check", |health| health["metrics"]["version"].is_string());
        serve
    }

    /// Of the file, the oldest first.
    #[track_caller]
    fn history(&self, options: &[&str]) -> Vec<Value> {
        let run =
            Run::of(self.here(), &[&["history", "--file", "history.sqlite", "--json"], options].concat());
        entries(&run.expect(0).out)
    }

    /// Waits for an entry of the file.
    #[track_caller]
    fn expect(&self, subject: &str, from: &str, to: &str) -> Value {
        let what = format!("{subject} {from} {to} in {:#?}", self.history(&[]));
        eventually(&what, || {
            self.history(&["--subject", subject])
                .into_iter()
                .rfind(|entry| entry["from"] == from && entry["to"] == to)
        })
    }
}

fn entries(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn ask(serve: &Serve, path: &str) -> Value {
    serve.ask("GET", path, &[&format!("Authorization: Bearer {TOKEN}")], "").expect(200).json()["entries"]
        .clone()
}

#[test]
fn a_server_that_goes_down_and_up_is_in_the_file_and_over_http() {
    let world = world();
    let serve = world.serve(&[]);
    world.haproxy.ask("set server app/dead state ready");
    let down = eventually("the server down", || {
        world.history(&["--subject", "app/dead"]).into_iter().find(|entry| entry["to"] == "DOWN")
    });
    assert_eq!((&down["kind"], &down["subject"]), (&json!("server"), &json!("app/dead")));
    assert!(down["why"].as_str().unwrap().starts_with("L4CON"), "{down:#}");
    world.haproxy.ask("set server app/dead state maint");
    world.expect("app/dead", "DOWN", "MAINT");
    world.haproxy.ask("set server app/web1 state ready");
    world.expect("app/web1", "MAINT", "no check");

    let file = world.history(&["--kind", "server"]);
    let mut told = ask(&serve, "/api/history?kind=server").as_array().unwrap().clone();
    told.reverse();
    assert_eq!(told, file, "the same, in the other order");
    assert!(file.iter().map(|entry| entry["id"].as_i64()).is_sorted());
    let first = file[0]["id"].as_i64().unwrap();
    assert_eq!(ask(&serve, &format!("/api/history?before={}&kind=server", first + 1)), json!([file[0]]));
    assert_eq!(ask(&serve, "/api/history?subject=app%2Fweb1&limit=1")[0]["to"], "no check");
    assert_eq!(ask(&serve, "/api/history?subject=*/web2"), json!([]));
}

#[test]
fn it_survives_a_kill_and_goes_on() {
    let world = world();
    let serve = world.serve(&[]);
    world.haproxy.ask("set server app/web1 state ready");
    let before = world.expect("app/web1", "MAINT", "no check");
    serve.kill();
    assert!(world.history(&[]).contains(&before), "nobody runs, and it is there");
    let serve = world.serve(&[]);
    world.haproxy.ask("set server app/web1 state drain");
    let after = world.expect("app/web1", "no check", "DRAIN");
    assert!(after["id"].as_i64() > before["id"].as_i64(), "{before:#} {after:#}");
    let told = ask(&serve, "/api/history?subject=app/web1");
    assert_eq!(told, json!([after, before]));
}

#[test]
fn an_haproxy_that_is_gone_and_brought_back_is_told_with_the_attempt() {
    let mut world = world();
    let [way, how] = world.haproxy.recovery();
    let serve = world.serve(&[&*way, &*how, "--recover-unvalidated", "--breaker-threshold", "1"]);
    world.haproxy.kill();
    serve.expect("a recovery", |health| health["recoveryAttempts"] == 1);
    let attempt = world.expect("haproxy", "unhealthy", "recovered");
    assert_eq!(attempt["kind"], "recovery");
    let why = attempt["why"].as_str().unwrap();
    let expected = "unhealthy in 3 checks in a row; after ";
    assert!(why.starts_with(expected) && why.ends_with(" s, HAProxy answers again"), "{why}");
    let opened = world.expect("haproxy", "CLOSED", "OPEN");
    assert_eq!(opened["kind"], "circuit");
    assert!(opened["why"].as_str().unwrap().starts_with("haproxy unix://"), "{opened:#}");
    world.expect("haproxy", "OPEN", "CLOSED");
    // What HAProxy becomes then depends on what its servers are.
    let told = world.history(&["--kind", "haproxy"]);
    assert!(told.iter().any(|entry| entry["to"] == "UNHEALTHY" && entry["why"].is_string()), "{told:#?}");
    serve.kill();
    assert!(world.history(&["--kind", "recovery"]).contains(&attempt));
}

#[test]
fn readers_and_the_writer_do_not_get_into_each_others_way() {
    let world = world();
    let serve = world.serve(&["--check-interval", "0.02"]);
    let mut follower =
        Running::start(world.here(), &["history", "--file=history.sqlite", "--follow", "--json"]);
    let lines = follower.lines();
    lines.expect("UNKNOWN");
    thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| scope.spawn(|| (0..30).map(|_| world.history(&[]).len()).collect::<Vec<_>>()))
            .collect();
        for state in ["ready", "drain", "maint"].iter().cycle().take(60) {
            world.haproxy.ask(&format!("set server app/web1 state {state}"));
            serve.get("/healthz").expect(200);
        }
        for reader in readers {
            assert!(reader.join().unwrap().is_sorted(), "nothing that was there goes");
        }
    });
    world.haproxy.ask("set server app/web1 state maint");
    world.haproxy.ask("set server app/dead state ready");
    // HAProxy may show it UP for the moment until its first check.
    eventually("the server down", || {
        world.history(&["--subject", "app/dead"]).into_iter().find(|entry| entry["to"] == "DOWN")
    });
    lines.expect("\"to\":\"DOWN\"");
    let metrics = serve.get("/metrics").body;
    assert!(metrics.contains("supervisor_haproxy_history_write_failures_total 0\n"), "{metrics}");
    follower.signal(nix::sys::signal::Signal::SIGINT);
    follower.wait().expect(0);
}
