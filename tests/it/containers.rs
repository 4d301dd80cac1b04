//! The program in Docker: its image, all that `docker/compose.yaml` brings up, and the role in `contrib/ansible/` in a
//! Debian. `./run-tests` has made packages before, and the variable of `packages` names them.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use crate::packages::{directory, package, run, say, tarball, text};
use crate::support::{Answer, ask_port, eventually, free_port};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const TOKEN: &str = "try-supervisor-haproxy";

fn compose(arguments: &[&str]) -> Command {
    let mut command = Command::new(Path::new(ROOT).join("docker/compose"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// A container that ends with the test.
struct Container(String);

impl Container {
    fn start(options: &[&str]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("supervisor-haproxy-test-container-{}-{count}", std::process::id());
        let run = ["run", "--detach", "--network", "none", "--label", "supervisor-haproxy.test=1", "--name"];
        say("docker", &[&run[..], &[&name], options].concat());
        Self(name)
    }

    fn try_sh(&self, line: &str) -> Output {
        Command::new("docker")
            .args(["exec", &self.0, "sh", "-ec", line])
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    #[track_caller]
    fn sh(&self, line: &str) -> String {
        say("docker", &["exec", &self.0, "sh", "-ec", line])
    }

    #[track_caller]
    fn inspect(&self, format: &str) -> String {
        say("docker", &["inspect", "--format", format, &self.0]).trim_end().to_owned()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["rm", "--force", "--volumes", &self.0]).output();
    }
}

// --- the image

#[test]
#[ignore = "needs packages: ./run-tests"]
fn the_image_has_the_program_only_runs_as_nobody_and_tells_its_health() {
    let (_directory, root) = tarball();
    let program = root.join("supervisor-haproxy");
    let image = run(&mut compose(&["image", "--program", text(&program)]));
    let image = image.trim_end();
    // The first check of health would be after ten seconds.
    let serve = Container::start(&["--health-interval", "1s", image, "serve", "--socket", "/nowhere.sock"]);
    eventually("its health", || (serve.inspect("{{.State.Health.Status}}") == "healthy").then_some(()));
    assert_eq!(serve.inspect("{{.Config.User}}"), "65532:65532");
    let processes = say("docker", &["top", &serve.0, "-o", "pid,uid,args"]);
    let process: Vec<&str> = processes.lines().nth(1).unwrap().split_whitespace().skip(1).collect();
    assert_eq!(process[..3], ["65532", "/supervisor-haproxy", "serve"], "{processes}");
    let list = say("sh", &["-c", &format!("docker export {} | tar -t", serve.0)]);
    // Docker brings its own: names of the container, and places for the kernel's file systems.
    let dockers = ["dev/", "etc/", "proc/", "sys/", ".dockerenv"];
    let own: BTreeSet<&str> =
        list.lines().filter(|name| !dockers.iter().any(|one| name.starts_with(one))).collect();
    let expected = [
        "licenses/",
        "licenses/LICENSE-APACHE",
        "licenses/LICENSE-MIT",
        "licenses/THIRD-PARTY",
        "supervisor-haproxy",
    ];
    assert_eq!(own, BTreeSet::from(expected));
    say("docker", &["stop", &serve.0]);
    assert_eq!(serve.inspect("{{.State.ExitCode}}"), "0", "it has ended by itself");
}

// --- all of it

/// What `docker/compose up` has brought up.
struct Everything {
    site: u16,
    prometheus: u16,
}

impl Everything {
    fn up(program: &Path) -> Self {
        let everything = Self { site: free_port(), prometheus: free_port() };
        let mut command = compose(&["up", "--haproxy", "2.6", "--program", text(program)]);
        command.env("SITE_PORT", everything.site.to_string());
        command.env("PROMETHEUS_PORT", everything.prometheus.to_string());
        let said = run(command.env_remove("TOKEN"));
        assert!(said.contains("dashboard   http://127.0.0.1:8000/"), "{said}");
        everything
    }

    fn apps(line: &str) -> String {
        let containers = Self::containers("apps");
        say("docker", &["exec", containers.trim_end(), "sh", "-ec", line])
    }

    /// All containers of a service, or with `""` those of all services.
    fn containers(service: &str) -> String {
        let project = "label=com.docker.compose.project=supervisor-haproxy-try";
        let service = format!("label=com.docker.compose.service={service}");
        let mut words = vec!["ps", "--all", "--quiet", "--filter", project];
        if !service.ends_with('=') {
            words.extend(["--filter", &service]);
        }
        say("docker", &words)
    }
}

impl Drop for Everything {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for id in Self::containers("").lines() {
                let log = Command::new("docker").args(["logs", "--tail", "30", id]).output().unwrap();
                let log = [log.stdout, log.stderr].concat();
                eprintln!("--- log of {id}\n{}", String::from_utf8_lossy(&log));
            }
        }
        let _ = compose(&["down"]).output();
    }
}

fn ask(port: u16, method: &str, path: &str) -> Option<Answer> {
    ask_port(port, method, path, &[&format!("Authorization: Bearer {TOKEN}")])
}

/// A server as the overview of `serve` has it.
fn server(name: &str) -> Option<Value> {
    let overview = ask(8000, "GET", "/api/overview")?.json();
    overview["servers"].as_array()?.iter().find(|server| server["server"] == name).cloned()
}

/// Who answers a request through HAProxy.
fn visited(site: u16) -> Option<String> {
    let answer = ask(site, "GET", "/")?;
    (answer.status == 200).then(|| answer.body.trim_end().to_owned())
}

#[test]
#[ignore = "needs packages: ./run-tests"]
fn one_command_brings_up_all_there_is_to_try_and_another_takes_it_away() {
    let (_directory, root) = tarball();
    let everything = Everything::up(&root.join("supervisor-haproxy"));
    let site = everything.site;
    let mut seen = BTreeSet::new();
    eventually("all three web servers", || {
        seen.extend(visited(site));
        (seen.len() == 3).then_some(())
    });
    eventually("all to agree", || {
        let all = ask(8000, "GET", "/api/overview")?.json()["servers"].clone();
        let all = all.as_array()?;
        (all.len() == 3 && all.iter().all(|server| server["agrees"] == true)).then_some(())
    });
    // A program that is stopped is out of traffic.
    Everything::apps("supervisorctl stop web2");
    let is_out = |server: &Value| {
        server["programState"] == "STOPPED" && server["admin"] == "maint" && server["status"] == "MAINT"
    };
    eventually("web2 in maint", || server("web2").filter(|server| is_out(server)));
    for _ in 0..6 {
        assert_ne!(visited(site).unwrap(), "web2");
    }
    // The dashboard answers, and does what it is asked for.
    let page = ask(8000, "GET", "/").unwrap();
    assert!(page.status == 200 && page.headers["content-type"].starts_with("text/html"), "{page:?}");
    let job =
        ask(8000, "POST", "/api/programs/web1/restart").unwrap().expect(202).json()["job"]["id"].clone();
    eventually("a restart without a lost request", || {
        assert!(visited(site).is_some());
        let job = ask(8000, "GET", &format!("/api/jobs/{job}"))?.json()["job"].clone();
        assert_ne!(job["state"], "failed", "{job}");
        (job["state"] == "succeeded").then_some(())
    });
    let query = |name: &str| {
        let answer = ask(everything.prometheus, "GET", &format!("/api/v1/query?query={name}"))?.json();
        Some(answer["data"]["result"][0]["value"][1].as_str()?.to_owned())
    };
    for metric in
        ["supervisor_haproxy_up", "supervisor_haproxy_supervisord_up", "supervisor_haproxy_listener_up"]
    {
        eventually(metric, || query(metric).filter(|value| value == "1"));
    }
    run(&mut compose(&["down"]));
    assert_eq!(Everything::containers(""), "");
    let volumes = say("docker", &["volume", "ls", "--quiet"]);
    assert!(!volumes.contains("supervisor-haproxy-try"), "{volumes}");
}

// --- Ansible

/// A Debian with supervisord and Ansible, without a network, and with a stand-in for systemd.
fn debian() -> Container {
    let image = say(Path::new(ROOT).join("docker/stage"), &[]);
    let packages = format!("{}:/packages:ro", directory().display());
    let role = format!("{ROOT}/contrib/ansible:/ansible:ro");
    let systemctl = format!("{ROOT}/tests/data/systemctl:/usr/bin/systemctl:ro");
    let volumes = ["--volume", &packages, "--volume", &role, "--volume", &systemctl];
    let options = [&volumes[..], &[image.trim_end(), "sleep", "1000"]].concat();
    let debian = Container::start(&options);
    debian.sh("supervisord --configuration /etc/supervisor/supervisord.conf");
    debian
}

const PLAY: &str = r#"
- hosts: all
  roles:
    - role: supervisor_haproxy
      supervisor_haproxy_programs: ["*=app/*"]
      supervisor_haproxy_socket: /run/h.sock
      supervisor_haproxy_options: [--enforce]
      supervisor_haproxy_environment: {SUPERVISOR_USERNAME: admin, SUPERVISOR_PASSWORD: "50%"}
      supervisor_haproxy_statistics:
        pull: {socket-dir: /run/haproxy, pull-interval: 7}
        graphite: {server: graphite.example.com, port: 2003}
      supervisor_haproxy_serve: {LISTEN: "127.0.0.1:8000"}
  vars:
    ansible_service_mgr: systemd
"#;

/// Runs the play with these variables.
fn play(debian: &Container, variables: &str) -> Output {
    debian.try_sh(&format!(
        "cat >/play.yml <<'END'\n{PLAY}\nEND\nexport ANSIBLE_ROLES_PATH=/ansible/roles LC_ALL=C.UTF-8 HOME=/root\n\
         ansible-playbook --inventory localhost, --connection local --extra-vars '{variables}' /play.yml"
    ))
}

/// How many tasks have changed something, of a run that ended well.
#[track_caller]
fn changed(output: &Output) -> u32 {
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let count = said.rsplit_once("changed=").and_then(|(_, rest)| rest.split(' ').next());
    count.unwrap_or_else(|| panic!("{said}")).parse().unwrap()
}

/// Installs, looks at what is there then, and does it once more.
#[track_caller]
fn installs(debian: &Container, variable: &str, ending: &str, program: &str) {
    let variables =
        format!("{variable}=/packages/{}", package(ending).file_name().unwrap().to_str().unwrap());
    assert!(changed(&play(debian, &variables)) >= 4);
    assert!(debian.sh("supervisor-haproxy --version").starts_with("supervisor-haproxy "));
    let section = debian.sh("cat /etc/supervisor/conf.d/supervisor-haproxy.conf");
    let command = format!("\ncommand = {program} --enforce /run/h.sock *=app/*\n");
    assert!(section.contains(&command), "{section}");
    eventually("the listener", || {
        debian.sh("supervisorctl status haproxy || true").contains("RUNNING").then_some(())
    });
    let environment = debian.sh("tr '\\0' '\\n' </proc/$(supervisorctl pid haproxy)/environ");
    assert!(environment.contains("SUPERVISOR_PASSWORD=50%\n"), "{environment}");
    assert!(debian.sh(&format!("{program} pull --print-conf")).contains("pull-interval = 7\n"));
    let options = debian.sh("cat /etc/default/supervisor-haproxy-serve");
    assert!(options.ends_with("\nSUPERVISOR_HAPROXY_SERVE_LISTEN=127.0.0.1:8000\n"), "{options}");
    let units = debian.sh("cat /units/log");
    for unit in ["pull", "process", "serve"] {
        for verb in ["enable", "start"] {
            assert!(units.contains(&format!("{verb} supervisor-haproxy-{unit}\n")), "{units}");
        }
    }
    let pid = debian.sh("supervisorctl pid haproxy");
    assert_eq!(changed(&play(debian, &variables)), 0, "the second run");
    assert_eq!(debian.sh("supervisorctl pid haproxy"), pid, "nothing is restarted for nothing");
    assert_eq!(debian.sh("cat /units/log"), units, "nor units");
}

#[test]
#[ignore = "needs packages: ./run-tests"]
fn ansible_installs_the_package_and_changes_nothing_the_second_time() {
    let debian = debian();
    installs(&debian, "supervisor_haproxy_package", ".deb", "/usr/bin/supervisor-haproxy");
    // A wrong configuration is refused, and the old one stays.
    let before = debian.sh("cat /etc/haproxystats.conf");
    let name = package(".deb").file_name().unwrap().to_str().unwrap().to_owned();
    let wrong = format!(
        r#"{{"supervisor_haproxy_package": "/packages/{name}", "supervisor_haproxy_statistics": {{"pull": {{"pull-interval": "x"}}}}}}"#
    );
    let output = play(&debian, &wrong);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success() && said.contains("pull-interval"), "{said}");
    assert_eq!(debian.sh("cat /etc/haproxystats.conf"), before);
}

#[test]
#[ignore = "needs packages: ./run-tests"]
fn ansible_installs_the_static_program_and_wants_to_know_which_of_both() {
    let debian = debian();
    let output = play(&debian, "x=y");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success() && said.contains("set either supervisor_haproxy_package"), "{said}");
    installs(&debian, "supervisor_haproxy_archive", "-linux.tar.gz", "/usr/local/bin/supervisor-haproxy");
    let units = debian.sh("ls /etc/systemd/system");
    for unit in ["pull", "process", "serve"] {
        assert!(units.contains(&format!("supervisor-haproxy-{unit}.service")), "{units}");
    }
    assert!(debian.sh("id haproxystats").contains("gid="));
}
