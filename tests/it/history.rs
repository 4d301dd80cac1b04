//! The history where things are not as they should be: full disks, damaged files, users who may not, and many changes at
//! once. HAProxy is a script here.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    Act, BINARY, Disk, FakeHaproxy, Run, Running, Serve, TOKEN, copy_program, eventually, survey,
};

struct World {
    directory: TempDir,
    haproxy: FakeHaproxy,
}

/// All servers are in maint.
fn world() -> World {
    let directory = tempfile::tempdir().unwrap();
    World { haproxy: FakeHaproxy::start(directory.path()), directory }
}

impl World {
    fn here(&self) -> &Path {
        self.directory.path()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.here().join(name)
    }

    /// One that finds no HAProxy unhealthy because the machine is busy.
    fn serve(&self, options: &[&str]) -> Serve {
        let options = [&["--timeout", "20"], options].concat();
        let serve = Serve::start(self.here(), &self.haproxy.path, &options);
        serve.expect("an answer", |health| health["metrics"]["version"].is_string());
        serve
    }

    /// One that is not to start.
    #[track_caller]
    fn refused(&self, history: &str) -> Run {
        let (socket, listen) = (self.haproxy.path.to_str().unwrap(), self.path("s.sock"));
        let listen = listen.to_str().unwrap();
        let words = ["serve", "--listen", listen, "--socket", socket, "--history", history];
        Run::of(self.here(), &words).expect(2)
    }

    /// From here on, all servers are so.
    fn set(&self, status: &str) {
        self.haproxy.on("show info", [Act::Reply(survey(status).into())]);
    }

    /// Of one file, the oldest first.
    #[track_caller]
    fn history(&self, file: &Path, options: &[&str]) -> Vec<Value> {
        let file = file.to_str().unwrap();
        let run = Run::of(self.here(), &[&["history", "--file", file, "--json"], options].concat()).expect(0);
        run.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[track_caller]
    fn expect(&self, file: &Path, to: &str) {
        eventually(&format!("{to} in {:#?}", self.history(file, &[])), || {
            let entries = self.history(file, &["--kind", "server"]);
            (entries.iter().filter(|entry| entry["to"] == to).count() == 3).then_some(())
        });
    }
}

fn ask(serve: &Serve, path: &str) -> Vec<Value> {
    let answer = serve.ask("GET", path, &[&format!("Authorization: Bearer {TOKEN}")], "").expect(200);
    answer.json()["entries"].as_array().unwrap().clone()
}

fn metric(serve: &Serve, name: &str) -> u64 {
    let metrics = serve.get("/metrics").expect(200).body;
    let line =
        metrics.lines().find_map(|line| line.strip_prefix(&format!("supervisor_haproxy_history_{name} ")));
    line.unwrap_or_else(|| panic!("no {name} in {metrics}")).parse().unwrap()
}

#[track_caller]
fn says(serve: &Serve, text: &str) {
    eventually(&format!("`{text}` in the log"), || serve.log().contains(text).then_some(()));
}

// --- what goes wrong

#[test]
fn while_the_disk_is_full_entries_wait_and_nothing_else_does() {
    let world = world();
    let mount = world.path("disk");
    fs::create_dir(&mount).unwrap();
    let disk = Disk::at(&mount);
    let file = mount.join("h.sqlite");
    let serve = world.serve(&["--history", file.to_str().unwrap()]);
    eventually("a first entry", || (world.history(&file, &[]).len() == 1).then_some(()));
    let ballast = disk.fill();
    world.set("DRAIN");
    eventually("a failure", || (metric(&serve, "write_failures_total") > 0).then_some(()));
    world.set("MAINT");
    eventually("both changes over HTTP", || {
        (ask(&serve, "/api/history?kind=server").len() == 6).then_some(())
    });
    assert_eq!(metric(&serve, "waiting_entries"), 6);
    assert_eq!(world.history(&file, &["--kind", "server"]), Vec::<Value>::new(), "it can be read");
    let before = serve.health()["lastCheck"]["timestamp"].clone();
    serve.expect("another check", |health| health["lastCheck"]["timestamp"] != before);
    says(&serve, "entries wait in memory until it can be written");
    assert_eq!(serve.log().matches(" error: ").count(), 1, "{}", serve.log());
    fs::remove_file(ballast).unwrap();
    world.expect(&file, "DRAIN");
    world.expect(&file, "MAINT");
    says(&serve, "is written again");
    assert_eq!(metric(&serve, "waiting_entries"), 0);
    assert_eq!(metric(&serve, "entries_total{result=\"lost\"}"), 0);
}

#[test]
fn a_disk_that_is_full_at_the_start_is_no_reason_not_to() {
    let world = world();
    let mount = world.path("disk");
    fs::create_dir(&mount).unwrap();
    let disk = Disk::at(&mount);
    let ballast = disk.fill();
    let file = mount.join("h.sqlite");
    let mut serve = world.serve(&["--history", file.to_str().unwrap()]);
    says(&serve, "entries wait in memory until it can be written");
    world.set("DRAIN");
    eventually("the changes over HTTP", || {
        (ask(&serve, "/api/history?kind=server").len() == 3).then_some(())
    });
    fs::remove_file(ballast).unwrap();
    world.expect(&file, "DRAIN");
    assert_eq!(serve.end(), Some(0));
}

#[test]
fn what_is_not_written_at_the_end_is_said() {
    let world = world();
    let mount = world.path("disk");
    fs::create_dir(&mount).unwrap();
    let disk = Disk::at(&mount);
    let _ballast = disk.fill();
    let mut serve = world.serve(&["--history", mount.join("h.sqlite").to_str().unwrap()]);
    eventually("an entry", || (ask(&serve, "/api/history").len() == 1).then_some(()));
    assert_eq!(serve.end(), Some(0));
    assert!(serve.log().contains("history: 1 entries are lost: history file"), "{}", serve.log());
}

#[test]
fn a_damaged_file_is_set_aside_and_serve_goes_on() {
    let world = world();
    let file = world.path("history.sqlite");
    fs::write(&file, "this is no database, but somebody has put it here").unwrap();
    Run::of(world.here(), &["history", "--file", "history.sqlite"]).expect(1).complains("is damaged");
    let serve = world.serve(&[]);
    says(&serve, "history.sqlite.damaged`");
    world.set("DRAIN");
    world.expect(&file, "DRAIN");
    let aside = fs::read_to_string(world.path("history.sqlite.damaged")).unwrap();
    assert!(aside.starts_with("this is no database"), "{aside}");
    // The same while it runs.
    fs::write(world.path("new"), "x".repeat(10_000)).unwrap();
    fs::rename(world.path("new"), &file).unwrap();
    world.set("MAINT");
    says(&serve, "history.sqlite.damaged-1`");
    eventually("a new file", || file.exists().then_some(()));
    world.expect(&file, "MAINT");
    assert!(world.path("history.sqlite.damaged-1").exists());
}

#[test]
fn a_file_that_was_named_and_cannot_be_kept_is_refused_at_the_start() {
    let world = world();
    world.refused("no/such/h.sqlite").complains("--history: history file `");
    world.refused("no/such/h.sqlite").complains("No such file or directory");
    world.refused(".").complains("is no regular file; name a file");
    let serve = world.serve(&[]);
    world.refused("history.sqlite").complains("another `serve` writes it");
    serve.kill();
    sqlite(&world.path("history.sqlite"), "PRAGMA user_version = 99");
    world.refused("history.sqlite").complains("was written by a newer version of this program");
    sqlite(&world.path("other.sqlite"), "CREATE TABLE mails (x)");
    world.refused("other.sqlite").complains("is the database of another program");
    let run = Run::of(world.here(), &["history", "--file", "history.sqlite"]).expect(1);
    run.complains("was written by a newer version");
}

fn sqlite(file: &Path, statement: &str) {
    let connection = rusqlite::Connection::open(file).unwrap();
    connection.execute_batch(statement).unwrap();
}

#[test]
fn one_that_nobody_named_is_kept_where_there_is_a_place_or_in_memory() {
    let world = world();
    let serve = |state: &Path| {
        let socket = world.path("s.sock").display().to_string();
        let words = ["serve", "--listen", &socket, "--socket", world.haproxy.path.to_str().unwrap()];
        let running =
            Running::start_with(world.here(), &words, &[("STATE_DIRECTORY", state.to_str().unwrap())]);
        // Without a token, whoever may connect may read.
        let entries = eventually("an entry over HTTP", || {
            let answer = Serve::get_at(Path::new(&socket), "/api/history")?.expect(200).json();
            answer["entries"].as_array().filter(|entries| !entries.is_empty()).cloned()
        });
        assert_eq!(entries[0]["subject"], "haproxy");
        running.signal(Signal::SIGTERM);
        running.wait().expect(0).err
    };
    let log = serve(&world.path("state/deep"));
    assert!(log.contains("state/deep/history.sqlite"), "{log}");
    assert_eq!(world.history(&world.path("state/deep/history.sqlite"), &[]).len(), 1);
    fs::write(world.path("file"), "").unwrap();
    let log = serve(&world.path("file/no"));
    assert!(log.contains("the history is kept in memory only"), "{log}");
    let words: &[&str] = &["history", "--json"];
    let found = Running::start_with(
        world.here(),
        words,
        &[("STATE_DIRECTORY", world.path("state/deep").to_str().unwrap())],
    );
    assert_eq!(found.wait().expect(0).json()["to"], "HEALTHY");
}

#[test]
fn history_that_is_off_is_in_memory_and_over_http() {
    let world = world();
    let serve = world.serve(&["--history", "off", "--history-limit", "2"]);
    world.set("DRAIN");
    eventually("two entries", || {
        let entries = ask(&serve, "/api/history");
        (entries.len() == 2 && entries.iter().all(|entry| entry["to"] == "DRAIN")).then_some(())
    });
    assert!(!world.path("history.sqlite").exists() && !world.path("off").exists());
    assert!(!serve.get("/metrics").body.contains("supervisor_haproxy_history_"));
}

#[test]
fn killed_at_any_moment_it_keeps_what_it_had() {
    let world = world();
    let file = world.path("history.sqlite");
    let mut before = 0;
    for round in 1..=10 {
        let states = ["DOWN", "MAINT", "DRAIN"].repeat(400);
        world.haproxy.on("show info", states.into_iter().map(|state| many(40, state)));
        let serve = world.serve(&["--check-interval", "0.01"]);
        eventually("more entries", || {
            (metric(&serve, "entries_total{result=\"written\"}") > 100 * round).then_some(())
        });
        serve.kill();
        let ids: Vec<i64> = world
            .history(&file, &["--limit", "100000", "--subject", "app/web1"])
            .iter()
            .map(|entry| entry["id"].as_i64().unwrap())
            .collect();
        assert!(ids.len() > before && ids.windows(2).all(|pair| pair[0] < pair[1]), "{ids:?}");
        before = ids.len();
        assert!(!world.path("history.sqlite.damaged").exists());
    }
}

// --- who reads

/// Runs the program as a user who may read in the directory, and write nowhere in it.
fn as_nobody(world: &World, words: &[&str]) -> Output {
    let binary = world.path("program");
    if !binary.exists() {
        copy_program(BINARY.as_ref(), &binary);
    }
    fs::set_permissions(world.here(), fs::Permissions::from_mode(0o755)).unwrap();
    let sudo: &[&str] = if nix::unistd::geteuid().is_root() { &[] } else { &["sudo", "-n"] };
    let change = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let all = [sudo, &change, &[binary.to_str().unwrap()], words].concat();
    Command::new(all[0]).args(&all[1..]).current_dir("/").env_remove("HOME").output().unwrap()
}

/// A copy from the middle of a transaction, with its journal: what a kill may leave.
fn cut_off(file: &Path, directory: &Path) -> PathBuf {
    let connection = rusqlite::Connection::open(file).unwrap();
    let change = "PRAGMA cache_size = 1; BEGIN IMMEDIATE; CREATE TABLE more (x); WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL \
        SELECT x + 1 FROM c WHERE x < 50000) INSERT INTO more SELECT x FROM c";
    connection.execute_batch(change).unwrap();
    let journal = file.with_extension("sqlite-journal");
    for path in [file, &journal] {
        fs::copy(path, directory.join(path.file_name().unwrap())).unwrap();
    }
    directory.join(file.file_name().unwrap())
}

#[test]
fn whoever_may_read_the_file_needs_no_right_to_write_beside_it() {
    let world = world();
    let serve = world.serve(&[]);
    let file = world.path("history.sqlite");
    world.set("DRAIN");
    world.expect(&file, "DRAIN");
    let words = ["history", "--json", "--file", file.to_str().unwrap()];
    let expected = Run::of(world.here(), &words).expect(0).out;
    let read = || {
        let output = as_nobody(&world, &words);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(read(), expected, "while it is written");
    serve.kill();
    assert_eq!(read(), expected, "when nobody writes it");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let refused = as_nobody(&world, &words);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(1) && said.contains("Permission denied"), "{refused:?}");
    // What was cut off has to be undone first, by somebody who may.
    fs::create_dir(world.path("cut")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let copy = cut_off(&file, &world.path("cut"));
    let words = ["history", "--json", "--file", copy.to_str().unwrap()];
    let refused = as_nobody(&world, &words);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(
        refused.status.code() == Some(1) && said.contains("the next start of `serve` puts it right"),
        "{refused:?}"
    );
    assert_eq!(Run::of(world.here(), &words).expect(0).out, expected);
    let missing = as_nobody(&world, &["history", "--file", "/no/such.sqlite"]);
    let said = String::from_utf8_lossy(&missing.stderr);
    assert!(said.contains("there is none; `serve` writes it"), "{said}");
}

#[test]
fn people_get_lines_under_each_other_with_colours_on_a_terminal_only() {
    let world = world();
    let serve = world.serve(&[]);
    world.set("DRAIN");
    world.expect(&world.path("history.sqlite"), "DRAIN");
    serve.kill();
    let words = ["history", "--file", "history.sqlite"];
    let plain = Run::of(world.here(), &words).expect(0).out;
    let rows: Vec<&str> = plain.lines().collect();
    assert_eq!(rows.len(), 5, "{plain}");
    assert!(rows[0].starts_with("TIME ") && rows[0].ends_with("WHY"), "{plain}");
    assert!(rows[1].contains("  haproxy   haproxy  UNKNOWN → HEALTHY"), "{plain}");
    assert!(rows[4].contains("  server    app/a3   MAINT → DRAIN"), "{plain}");
    let painted = Running::start_on_terminal(world.here(), &words, &[]).wait().expect(0).out;
    assert!(painted.contains("\x1b[32mUNKNOWN → HEALTHY"), "{painted}");
    let is_like = |options: &[&str], count: usize| {
        let run = Run::of(world.here(), &[&words[..], options].concat()).expect(0);
        assert_eq!(run.out.lines().count(), count, "{run:#?}");
    };
    is_like(&["--limit", "2"], 3);
    is_like(&["--kind", "haproxy"], 2);
    is_like(&["--subject", "app/a*"], 4);
    is_like(&["--since", "1h"], 5);
    is_like(&["--since", "2999-01-01"], 0);
    let wrong = |options: &[&str], problem: &str| {
        Run::of(world.here(), &[&words[..], options].concat()).expect(2).complains(problem);
    };
    wrong(&["--since", "soon"], "--since `soon`: expected a time as in");
    wrong(&["--kind", "x"], "possible values: server, haproxy, circuit");
    wrong(&["--subject", ""], "--subject: expected a subject");
    wrong(&["--limit", "0"], "--limit");
}

#[test]
fn who_follows_hears_of_what_comes_also_in_a_new_file() {
    let world = world();
    let serve = world.serve(&[]);
    let file = world.path("history.sqlite");
    eventually("a first entry", || (file.exists() && world.history(&file, &[]).len() == 1).then_some(()));
    let words = ["history", "--file", "history.sqlite", "--follow", "--limit", "1"];
    let mut follower = Running::start(world.here(), &words);
    let lines = follower.lines();
    lines.expect("UNKNOWN → HEALTHY");
    world.set("DRAIN");
    lines.expect("app/a3");
    serve.kill();
    fs::remove_file(&file).unwrap();
    let _serve = world.serve(&[]);
    lines.expect("UNKNOWN → HEALTHY");
    follower.signal(Signal::SIGINT);
    follower.wait().expect(0);
}

#[test]
fn over_http_the_token_is_needed_and_what_is_wrong_is_told() {
    let world = world();
    let serve = world.serve(&[]);
    serve.get("/api/history").expect(401).is_problem("a token is missing");
    let refused = |query: &str, detail: &str| {
        let path = format!("/api/history?{query}");
        serve
            .ask("GET", &path, &[&format!("Authorization: Bearer {TOKEN}")], "")
            .expect(400)
            .is_problem(detail);
    };
    refused("limit=1001", "limit: expected a number from 1 to 1000");
    refused("kind=x", "there are server, haproxy, circuit");
    refused("since=1h", "there are limit, before, kind and subject");
    eventually("an entry", || (ask(&serve, "/api/history").len() == 1).then_some(()));
    eventually("it is in the file", || (metric(&serve, "waiting_entries") == 0).then_some(()));
    fs::remove_file(world.path("history.sqlite")).unwrap();
    assert_eq!(ask(&serve, "/api/history"), Vec::<Value>::new());
    fs::write(world.path("history.sqlite"), "x".repeat(9999)).unwrap();
    let answer = serve.ask("GET", "/api/history", &[&format!("Authorization: Bearer {TOKEN}")], "");
    answer.expect(503).is_problem("is damaged");
}

// --- how much

/// `show info` and `show stat` of so many servers.
fn many(count: usize, status: &str) -> Act {
    let three = survey(status);
    let (head, _) = three.split_once("app,a1").unwrap();
    let rows: String = (0..count).map(|at| format!("app,web{at},0,0,{status},5,2,,,\n")).collect();
    Act::Reply(format!("{head}{rows}\n").into())
}

#[test]
fn ten_thousand_servers_that_change_at_once_are_all_there() {
    const COUNT: usize = 10_000;
    let world = world();
    world.haproxy.on("show info", [many(COUNT, "UP")]);
    let serve = world.serve(&[]);
    eventually("the servers", || {
        let states = serve.health()["metrics"]["serverStates"].as_object().map(serde_json::Map::len);
        (states == Some(COUNT)).then_some(())
    });
    world.haproxy.on("show info", [many(COUNT, "DOWN")]);
    serve.expect("all down", |health| health["metrics"]["serverStates"]["app/web9999"]["status"] == "DOWN");
    let before = serve.health()["lastCheck"]["timestamp"].clone();
    serve.expect("further checks", |health| health["lastCheck"]["timestamp"] != before);
    let (mut found, mut page) = (BTreeSet::new(), String::new());
    loop {
        let entries = ask(&serve, &format!("/api/history?kind=server&limit=1000{page}"));
        let Some(last) = entries.last() else { break };
        page = format!("&before={}", last["id"]);
        assert!(entries.iter().all(|entry| (&entry["from"], &entry["to"]) == (&json!("UP"), &json!("DOWN"))));
        found.extend(entries.iter().map(|entry| entry["subject"].as_str().unwrap().to_owned()));
    }
    assert_eq!(found, (0..COUNT).map(|at| format!("app/web{at}")).collect());
    eventually("all in the file", || (metric(&serve, "waiting_entries") == 0).then_some(()));
    assert!(metric(&serve, "entries_total{result=\"written\"}") >= u64::try_from(COUNT).unwrap());
    assert_eq!(metric(&serve, "entries_total{result=\"lost\"}"), 0);
    let file = world.path("history.sqlite");
    let words =
        ["history", "--limit", "20000", "--kind", "server", "--json", "--file", file.to_str().unwrap()];
    let output = Command::new(BINARY).args(words).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), COUNT);
}

#[test]
fn the_limit_bounds_the_file() {
    let world = world();
    let serve = world.serve(&["--history-limit", "50", "--check-interval", "0.01"]);
    let file = world.path("history.sqlite");
    let written = |count: u64| {
        let mut down = false;
        eventually("entries", || {
            down = !down;
            world.set(if down { "DOWN" } else { "MAINT" });
            (metric(&serve, "entries_total{result=\"written\"}") >= count).then_some(())
        });
    };
    written(150);
    let size = fs::metadata(&file).unwrap().len();
    written(600);
    assert!(fs::metadata(&file).unwrap().len() <= size + 2 * 4096, "it has {size} bytes at first");
    assert_eq!(world.history(&file, &["--limit", "1000"]).len(), 50);
}
