//! What grows and who makes room: `contrib/logrotate/` with a real logrotate and supervisord, `contrib/tmpfiles/` with a
//! real systemd-tmpfiles.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::packages::run;
use crate::recipes::read;
use crate::support::{World, eventually};

#[test]
fn logrotate_moves_the_log_and_nothing_that_is_said_is_lost() {
    let world = World::idle(&["web1"]);
    world.expect_running("web1");
    let here = world.directory();
    let ctl = format!("supervisorctl --configuration {}", here.join("supervisord.conf").display());
    let text = read("contrib/logrotate/supervisor-haproxy")
        .replace("/var/log/supervisor/haproxy.log", &here.join("listener.log").display().to_string())
        .replace("/var/log/supervisor/", &here.join("none").display().to_string())
        .replace("$(supervisorctl ", &format!("$({ctl} "));
    fs::write(here.join("rotate"), text).unwrap();
    // The directory of a test is everybody's, which logrotate would refuse.
    fs::set_permissions(here, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let before = world.supervisord.log();
    run(Command::new("logrotate")
        .args(["--force", "--state"])
        .arg(here.join("state"))
        .arg(here.join("rotate")));
    let old = fs::read_to_string(here.join("listener.log.1")).unwrap();
    assert!(old.starts_with(&before) && !before.is_empty(), "{old}");
    world.supervisord.ctl(&["stop", "web1"]);
    eventually("a line in the new file", || world.supervisord.log().contains("app/web1").then_some(()));
    assert_eq!(world.supervisord.state("listener"), "RUNNING");
}

/// A directory in which nothing has changed for so many days.
fn aged(path: &Path, days: u64) {
    fs::create_dir_all(path).unwrap();
    fs::write(path.join("reason"), "x").unwrap();
    let time = SystemTime::now() - Duration::from_secs(days * 86_400);
    for path in [&path.join("reason"), path] {
        File::open(path).unwrap().set_modified(time).unwrap();
    }
}

#[test]
fn what_was_set_aside_goes_after_a_month_and_the_spool_stays() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    for (name, days) in [
        ("quarantine/1", 31),
        ("quarantine/2", 29),
        ("local-store/1", 8),
        ("local-store/2", 6),
        ("incoming/1", 1000),
    ] {
        aged(&here.join(name), days);
    }
    let text =
        read("contrib/tmpfiles/haproxystats.conf").replace("/var/lib/haproxystats", here.to_str().unwrap());
    fs::write(here.join("rules.conf"), text).unwrap();
    run(Command::new("systemd-tmpfiles").arg("--clean").arg(here.join("rules.conf")));
    for (name, stays) in [
        ("quarantine/1", false),
        ("quarantine/2", true),
        ("local-store/1", false),
        ("local-store/2", true),
        ("incoming/1", true),
    ] {
        assert_eq!(here.join(name).exists(), stays, "{name}");
    }
}
