//! The document of `serve` and what it does, held against each other by schemathesis: hundreds of requests that the
//! document allows, and hundreds that it does not, to a real `serve` before a real HAProxy.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::support::{ADMIN_KEY, BINARY, Master, TOKEN, eventually, free_port, secret};

/// Where pip has installed it.
fn schemathesis() -> PathBuf {
    let here = || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/schemathesis");
    std::env::var_os("SCHEMATHESIS_DIR").map_or_else(here, PathBuf::from).join("bin/st")
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn schemathesis_finds_nothing_that_the_document_does_not_say() {
    let master = Master::start();
    let path = |name: &str| master.path(name).display().to_string();
    let here = master.path("");
    let port = free_port();
    let files = format!("{},{}", path("haproxy.cfg"), path("routes/backends.cfg"));
    let mut serve = Command::new(BINARY);
    serve
        .args(["serve", "--history", &path("history.sqlite")])
        .arg("--listen")
        .arg(format!("127.0.0.1:{port}"));
    serve.args(["--socket", &path("admin.sock"), "--config", &files, "--haproxy", &path("haproxy")]);
    serve.args(["--routes", &path("routes"), "--master-socket", &path("master.sock")]);
    serve.args(["--telex", "--allow-host", "ping.telex.im", "--recover", "true", "--recover-limit", "1000"]);
    // What a reload may look like to a check is not what is looked for here.
    serve.args(["--breaker-threshold", "1000"]);
    serve.arg("--token-file").arg(secret(&here, "token", TOKEN));
    serve.arg("--admin-key-file").arg(secret(&here, "key", ADMIN_KEY));
    let log = File::create(master.path("serve.log")).unwrap();
    let _serve = Killed(serve.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap());
    eventually("a first check", || {
        fs::read_to_string(master.path("serve.log")).unwrap().contains("HEALTHY").then_some(())
    });

    let settings = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/openapi/schemathesis.toml");
    let mut command = Command::new(schemathesis());
    command.arg("--config-file").arg(settings).arg("run");
    command.arg(format!("http://127.0.0.1:{port}/openapi.json"));
    command.args(["--header", &format!("Authorization: Bearer {TOKEN}")]);
    command.args(["--header", &format!("X-Admin-Key: {ADMIN_KEY}"), "--no-color"]);
    let output = command.current_dir(&here).stdin(Stdio::null()).output().unwrap_or_else(|error| {
        panic!("{}: {error}; run-tests installs it with pip", command.get_program().to_string_lossy())
    });
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let log = fs::read_to_string(master.path("serve.log")).unwrap();
    assert!(output.status.success() && said.contains("No issues found"), "{said}\n--- log of serve\n{log}");
    assert!(!log.contains(TOKEN) && !log.contains(ADMIN_KEY));
}
