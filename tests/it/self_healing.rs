//! `serve` restarts an HAProxy that does not answer: HAProxy, a program behind it, the listener and `serve` itself under
//! one real supervisord.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    ADMIN_KEY, BINARY, Program, Run, Serve, Supervisord, TOKEN, eventually, secret, write_script,
};

struct Stage {
    // Ends before the directory goes.
    supervisord: Supervisord,
    directory: TempDir,
}

fn configuration(directory: &Path) -> String {
    let path = |name: &str| directory.join(name).display().to_string();
    format!(
        "global\n  stats socket {} mode 600 level admin\n\
         defaults\n  mode http\n  timeout connect 1s\n  timeout client 60s\n  timeout server 60s\n\
         frontend front\n  bind {}\n  default_backend app\n\
         backend app\n  server web 127.0.0.1:1 disabled\n",
        path("haproxy.sock"),
        path("front.sock")
    )
}

impl Stage {
    /// Ready when the listener has set the program's server ready, and `serve` has seen it.
    fn set(options: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let here = directory.path();
        fs::write(here.join("haproxy.cfg"), configuration(here)).unwrap();
        secret(here, "token", TOKEN);
        secret(here, "key", ADMIN_KEY);
        let serve = format!(
            "{BINARY} serve --listen %(here)s/serve.sock --socket %(here)s/haproxy.sock --config %(here)s/haproxy.cfg \
             --token-file %(here)s/token --admin-key-file %(here)s/key --recover-program haproxy \
             --history %(here)s/history.sqlite --check-interval 0.1 --timeout 0.5 --breaker-reset 0.5 --recover-backoff 0.2 {options}"
        );
        let programs = [
            // Nobody but `serve` is to bring it back, also when it dies in its first second.
            Program::new("haproxy", "haproxy -db -f %(here)s/haproxy.cfg")
                .with("autorestart=false\nstartsecs=0\nstopwaitsecs=1\npriority=-9"),
            Program::idle("web"),
            // It would recover an HAProxy that is slow to start.
            Program::new("serve", &serve).with("redirect_stderr=true\nautostart=false"),
        ];
        let listener = format!("{} web:app/web", here.join("haproxy.sock").display());
        Supervisord::configure(here, &listener, &programs);
        let stage = Self { supervisord: Supervisord::start(here), directory };
        eventually("HAProxy", || UnixStream::connect(stage.path("haproxy.sock")).ok());
        stage.supervisord.ctl(&["start", "serve"]);
        stage.expect("a server that is ready", is_ready);
        stage
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn health(&self) -> Option<Value> {
        let answer = Serve::get_at(&self.path("serve.sock"), "/api/health/haproxy")?;
        Some(answer.expect(200).json()["health"].clone())
    }

    #[track_caller]
    fn expect(&self, what: &str, mut is_so: impl FnMut(&Value) -> bool) -> Value {
        eventually(&format!("{what} in {:#}", self.health().unwrap_or_default()), || {
            self.health().filter(|health| is_so(health))
        })
    }

    fn recover(&self, body: &str) -> crate::support::Answer {
        Serve::recover_at(&self.path("serve.sock"), body).unwrap()
    }

    fn signal_haproxy(&self, signal: Signal) {
        kill(self.supervisord.pid("haproxy"), signal).unwrap();
    }

    fn break_configuration(&self) {
        fs::write(self.path("haproxy.cfg"), configuration(self.directory.path()) + "  server broken\n")
            .unwrap();
    }

    fn mend_configuration(&self) {
        fs::write(self.path("haproxy.cfg"), configuration(self.directory.path())).unwrap();
    }
}

/// The configuration has it in maint: whoever sees this, sees what the listener has set.
fn is_ready(health: &Value) -> bool {
    health["metrics"]["serverStates"]["app/web"]["status"] == "no check"
}

fn outcomes(health: &Value) -> Vec<&str> {
    let attempts = health["recovery"]["attempts"].as_array().unwrap();
    attempts.iter().map(|attempt| attempt["outcome"].as_str().unwrap()).collect()
}

#[test]
fn an_haproxy_that_was_killed_is_restarted_and_its_servers_are_as_they_were() {
    let stage = Stage::set("");
    let before = stage.supervisord.pid("haproxy");
    stage.signal_haproxy(Signal::SIGKILL);
    let health = stage.expect("a recovery", |health| health["recoveryAttempts"] == 1 && is_ready(health));
    assert_eq!((outcomes(&health), &health["status"]), (vec!["recovered"], &json!("HEALTHY")));
    assert_eq!(health["recovery"]["attempts"][0]["cause"], "unhealthy");
    assert_ne!(stage.supervisord.pid("haproxy"), before);
    let file = stage.path("history.sqlite").display().to_string();
    let words = ["history", "--file", &file, "--kind", "recovery", "--json"];
    let entry = eventually("the attempt in the history", || {
        let run = Run::of(stage.directory.path(), &words).expect(0);
        (!run.out.is_empty()).then(|| run.json())
    });
    assert_eq!((&entry["from"], &entry["to"]), (&json!("unhealthy"), &json!("recovered")), "{entry:#}");
    assert!(
        entry["why"].as_str().unwrap().starts_with("unhealthy in 3 checks in a row; after "),
        "{entry:#}"
    );
}

#[test]
fn an_haproxy_that_hangs_is_restarted() {
    let stage = Stage::set("");
    let before = stage.supervisord.pid("haproxy");
    stage.signal_haproxy(Signal::SIGSTOP);
    let health = stage.expect("a recovery", |health| health["recoveryAttempts"] == 1 && is_ready(health));
    assert_eq!(outcomes(&health), ["recovered"]);
    assert_ne!(stage.supervisord.pid("haproxy"), before);
}

#[test]
fn nothing_is_restarted_into_a_configuration_that_is_not_valid() {
    let stage = Stage::set("");
    let before = stage.supervisord.pid("haproxy");
    stage.break_configuration();
    stage.expect("a look at it", |health| health["lastCheck"]["details"]["configValid"] == false);
    let refused = stage.recover("").expect(409);
    let problem = refused.is_problem("haproxy.cfg:13");
    assert_eq!(problem["type"], "urn:supervisor-haproxy:invalid-configuration");
    assert_eq!(stage.supervisord.pid("haproxy"), before, "it was not touched");

    stage.signal_haproxy(Signal::SIGKILL);
    let health = stage.expect("further attempts", |health| health["recoveryAttempts"].as_u64() >= Some(3));
    assert!(outcomes(&health).iter().all(|outcome| *outcome == "invalid-configuration"), "{health:#}");
    assert!(health["recovery"]["attempts"][1]["error"].as_str().unwrap().contains("haproxy.cfg:13"));
    assert_eq!(stage.supervisord.state("haproxy"), "EXITED");
    assert_eq!(health["status"], "UNHEALTHY");

    stage.mend_configuration();
    let health = stage.expect("a recovery", is_ready);
    assert_eq!(outcomes(&health).last(), Some(&"recovered"));
    assert_eq!(health["lastCheck"]["details"]["configValid"], true);
}

#[test]
fn who_asks_for_a_restart_gets_it_and_the_hour_has_no_more_than_its_limit() {
    let stage = Stage::set("--recover-limit 1");
    let before = stage.supervisord.pid("haproxy");
    let answer = stage.recover(r#"{"reason":"a new certificate"}"#).expect(200);
    let expected =
        json!({"success": true, "message": "HAProxy service recovered successfully", "action": "restart"});
    assert_eq!(answer.json(), expected);
    assert_ne!(stage.supervisord.pid("haproxy"), before);
    let health = stage.expect("the servers", is_ready);
    let attempt = &health["recovery"]["attempts"][0];
    assert_eq!((&attempt["cause"], &attempt["reason"]), (&json!("asked"), &json!("a new certificate")));

    let after = stage.supervisord.pid("haproxy");
    let refused = stage.recover("").expect(429);
    refused.is_problem("no more restarts");
    assert!((3000..=3600).contains(&refused.headers["retry-after"].parse::<u32>().unwrap()), "{refused:?}");
    assert_eq!(stage.supervisord.pid("haproxy"), after);
    stage.signal_haproxy(Signal::SIGKILL);
    let health = stage.expect("the limit", |health| health["recovery"]["waits"].as_u64() > Some(3000));
    assert_eq!(health["recoveryAttempts"], 1);
    assert_eq!(stage.supervisord.state("haproxy"), "EXITED");
}

#[test]
fn of_many_who_ask_at_once_one_is_obeyed() {
    let stage = Stage::set("--recover-limit 1000 --recover-after 1000");
    // A stop that takes its whole second keeps the first one busy while the others come.
    stage.signal_haproxy(Signal::SIGSTOP);
    let statuses: Vec<u16> = thread::scope(|scope| {
        let asking: Vec<_> = (0..8).map(|_| scope.spawn(|| stage.recover("").status)).collect();
        asking.into_iter().map(|asking| asking.join().unwrap()).collect()
    });
    let count = |status| statuses.iter().filter(|other| **other == status).count();
    assert_eq!((count(200), count(503)), (1, 7), "{statuses:?}");
    let health = stage.expect("the servers", is_ready);
    assert_eq!(health["recoveryAttempts"], 1);
}

/// systemd is no process that a test can have of its own, so its `systemctl` is played: it says how it was called, fails
/// once, and then starts what it is asked for. HAProxy is a real one.
#[test]
fn a_unit_of_systemd_is_restarted_by_systemctl() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    fs::write(path("haproxy.cfg"), configuration(directory.path())).unwrap();
    let start = format!("haproxy -D -f {} -p {}", path("haproxy.cfg"), path("pid"));
    let script = format!(
        "echo \"$*\" >> {called}\ntest $(wc -l < {called}) -gt 1 && exec {start}\necho Unit edge.service not \
         found. >&2\nexit 5",
        called = path("called")
    );
    fs::create_dir(path("bin")).unwrap();
    write_script(path("bin/systemctl").as_ref(), &script);
    let run =
        |line: &str| assert!(Command::new("sh").args(["-c", line]).status().unwrap().success(), "{line}");
    let pid = || Pid::from_raw(fs::read_to_string(path("pid")).unwrap().trim().parse().unwrap());
    run(&start);
    let first = pid();
    let search = format!("{}:{}", path("bin"), std::env::var("PATH").unwrap());
    let config = path("haproxy.cfg");
    let options = ["--recover-unit", "edge.service", "--config", &config, "--recover-backoff", "0.2"];
    let socket = directory.path().join("haproxy.sock");
    let serve = Serve::start_with(directory.path(), &socket, &options, &[("PATH", &search)]);
    serve.expect("an answer", |health| health["lastCheck"]["details"]["apiConnected"] == true);
    kill(first, Signal::SIGKILL).unwrap();
    let health = serve.expect("a recovery", |health| outcomes(health).contains(&"recovered"));
    assert_eq!(outcomes(&health), ["failed", "recovered"]);
    assert_eq!(health["recovery"]["action"], "`systemctl restart edge.service`");
    let why = health["recovery"]["attempts"][0]["error"].as_str().unwrap();
    assert!(why.ends_with("exit status: 5: Unit edge.service not found."), "{why}");
    assert_eq!(fs::read_to_string(path("called")).unwrap(), "restart -- edge.service\n".repeat(2));
    assert_ne!(pid(), first);
    kill(pid(), Signal::SIGTERM).unwrap();
}
