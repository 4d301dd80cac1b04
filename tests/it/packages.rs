//! What people install: the wheel under pip and zc.buildout, the package for Debian in a clean one, the static program in
//! an empty root. `packaging/build` makes them and `./run-tests` calls both; the variable names the directory that has them.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use clap::CommandFactory;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use supervisor_haproxy::cli::Args;
use tempfile::TempDir;

use crate::support::{BINARY, Haproxy, Program, World, copy_program, eventually, free_port, write_script};

const VERSION: &str = env!("CARGO_PKG_VERSION");
const VARIABLE: &str = "SUPERVISOR_HAPROXY_PACKAGES";

/// The names that the program answers to.
const NAMES: [&str; 6] = [
    "hap-monitor",
    "hap-monitor-cron",
    "hap-monitor-cronTCP",
    "haproxystats-process",
    "haproxystats-pull",
    "supervisor-haproxy",
];

pub(crate) fn directory() -> PathBuf {
    let named = std::env::var_os(VARIABLE).map(PathBuf::from);
    named.unwrap_or_else(|| panic!("{VARIABLE} names no directory of packages; packaging/build makes one"))
}

fn names(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// The one package with this ending.
pub(crate) fn package(ending: &str) -> PathBuf {
    let all = names(&directory());
    let found: Vec<&String> = all.iter().filter(|name| name.ends_with(ending)).collect();
    let [name] = found[..] else { panic!("one `*{ending}` is expected in {all:?}") };
    directory().join(name)
}

/// What a command prints on stdout, which must end well.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

#[track_caller]
pub(crate) fn say(program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> String {
    run(Command::new(program).args(arguments))
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

// --- all of them

#[test]
fn the_version_stands_in_cargo_toml_alone() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap();
    let versions: Vec<String> =
        read("Cargo.toml").lines().filter(|line| line.starts_with("version = ")).map(str::to_owned).collect();
    assert_eq!(
        versions,
        [format!("version = \"{VERSION}\"")],
        "packaging/build and python/ take the first such line"
    );
    let project = read("python/pyproject.toml");
    assert!(project.contains("dynamic = [\"version\"]"), "{project}");
    assert!(project.contains("path = \"../Cargo.toml\""), "{project}");
    for path in ["python/pyproject.toml", "python/README.md", "python/src/supervisor_haproxy/__init__.py"] {
        assert!(!read(path).contains(VERSION), "{path} has a version of its own");
    }
}

#[test]
#[ignore = "needs packages: ./run-tests"]
fn a_release_is_these_files_and_the_checksums_are_theirs() {
    let expected = [
        "SHA256SUMS".to_owned(),
        format!("supervisor-haproxy-{VERSION}-x86_64-linux.tar.gz"),
        format!("supervisor-haproxy-{VERSION}.cdx.json"),
        format!("supervisor-haproxy-{VERSION}.tar.gz"),
        format!("supervisor-haproxy_{VERSION}-1_amd64.deb"),
        format!(
            "supervisor_haproxy-{VERSION}-py2.py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.musllinux_1_1_x86_64.whl"
        ),
    ];
    assert_eq!(names(&directory()), BTreeSet::from(expected));
    let checked = run(Command::new("sha256sum").args(["--check", "SHA256SUMS"]).current_dir(directory()));
    assert_eq!(checked.lines().filter(|line| line.ends_with(": OK")).count(), 5, "{checked}");
}

/// A release takes as long as optimizing does; what comes before it does not.
#[test]
#[ignore = "needs packages: ./run-tests"]
fn what_is_no_release_is_told_all_that_is_missing_and_nothing_is_built() {
    let directory = tempfile::tempdir().unwrap();
    let clone = directory.path().join("clone");
    say("git", &["clone", "--quiet", "--no-tags", env!("CARGO_MANIFEST_DIR"), text(&clone)]);
    fs::write(clone.join("new"), "").unwrap();
    let out = directory.path().join("out");
    let output = Command::new(clone.join("packaging/release")).arg(&out).output().unwrap();
    let said = refusal(&output);
    assert!(said.contains("\n  something is not committed: see git status\n"), "{said}");
    assert!(said.contains(&format!("\n  the commit has no tag `v{VERSION}`\n")), "{said}");
    assert!(!out.exists());
}

#[test]
#[ignore = "needs packages: ./run-tests"]
fn the_bill_of_materials_has_what_the_program_is_made_of() {
    let bill: serde_json::Value = serde_json::from_slice(&fs::read(package(".cdx.json")).unwrap()).unwrap();
    assert_eq!(bill["bomFormat"], "CycloneDX");
    assert!(!bill.to_string().contains("file:///"), "it names directories of the machine that made it");
    assert_eq!(bill["metadata"]["component"]["name"], "supervisor-haproxy");
    assert_eq!(bill["metadata"]["component"]["version"], VERSION);
    let components = bill["components"].as_array().unwrap();
    let names: BTreeSet<&str> = components.iter().map(|one| one["name"].as_str().unwrap()).collect();
    for crate_name in ["clap", "rdkafka-sys", "rustls", "tokio"] {
        assert!(names.contains(crate_name), "no {crate_name} in {names:?}");
    }
    assert!(!names.contains("proptest"), "the crates of tests are no part of the program: {names:?}");
    let unlicensed: Vec<_> = components.iter().filter(|one| one["licenses"].is_null()).collect();
    assert!(unlicensed.is_empty(), "{unlicensed:?}");
}

// --- the wheel

/// A Python environment of its own.
struct Environment(TempDir);

impl Environment {
    /// With these packages from the index.
    fn with(packages: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        say("python3", &["-m", "venv", text(directory.path())]);
        let environment = Self(directory);
        if !packages.is_empty() {
            environment.pip(packages);
        }
        environment
    }

    fn pip(&self, packages: &[&str]) -> String {
        say(
            self.path("bin/pip"),
            &[&["install", "--quiet", "--disable-pip-version-check"], packages].concat(),
        )
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

/// Ends with the test.
struct Process(Child);

impl Process {
    fn start(command: &mut Command) -> Self {
        Self(command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")))
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.0.id()).unwrap())
    }

    /// A file of proc(5).
    fn proc(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.0.id()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            let _ = kill(self.pid(), Signal::SIGTERM);
            let _ = self.0.wait();
        }
    }
}

#[test]
#[ignore = "needs packages: ./run-tests"]
fn pip_installs_the_program_under_all_of_its_names() {
    let environment = Environment::with(&[]);
    environment.pip(&["--no-index", text(&package(".whl"))]);
    for name in NAMES {
        assert!(environment.path("bin").join(name).is_file(), "{name}");
    }
    let says = |name: &str, arguments: &[&str]| say(environment.path("bin").join(name), arguments);
    assert_eq!(says("supervisor-haproxy", &["--version"]), format!("supervisor-haproxy {VERSION}\n"));
    assert_eq!(
        says("python", &["-m", "supervisor_haproxy", "--version"]),
        format!("supervisor-haproxy {VERSION}\n")
    );
    assert!(says("haproxystats-pull", &["--help"]).contains("supervisor-haproxy pull"));
    assert!(says("haproxystats-process", &["--help"]).contains("supervisor-haproxy process"));
    for name in ["hap-monitor", "hap-monitor-cron", "hap-monitor-cronTCP"] {
        assert!(says(name, &["--help"]).contains("supervisor-haproxy push"), "{name}");
    }
    let own =
        say(environment.path("bin/python"), &["-c", "import supervisor_haproxy as s; print(s.__file__)"]);
    let own = names(Path::new(own.trim_end()).parent().unwrap());
    for file in ["LICENSE-APACHE", "LICENSE-MIT", "THIRD-PARTY"] {
        assert!(own.contains(file), "no {file} in {own:?}");
    }
    says("pip", &["uninstall", "--quiet", "--yes", "supervisor-haproxy"]);
    assert!(!environment.path("bin/supervisor-haproxy").exists());
}

/// Nothing of Python is left between supervisord and the program.
#[test]
#[ignore = "needs packages: ./run-tests"]
fn the_command_of_the_wheel_becomes_the_program() {
    let environment = Environment::with(&[]);
    environment.pip(&["--no-index", text(&package(".whl"))]);
    let mut command = Command::new(environment.path("bin/supervisor-haproxy"));
    command
        .args(["/nowhere.sock", "web:app/web"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut process = Process::start(&mut command);
    let mut ready = [0; 6];
    process.0.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
    assert_eq!(&ready, b"READY\n");
    let program = fs::read_link(process.proc("exe")).unwrap();
    assert!(program.ends_with("supervisor_haproxy/bin/supervisor-haproxy"), "{program:?}");
    let status = fs::read_to_string(process.proc("status")).unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap().trim();
    let ignored = u64::from_str_radix(ignored, 16).unwrap();
    assert_eq!(ignored & (1 << (Signal::SIGXFSZ as i32 - 1)), 0, "{status}");
    kill(process.pid(), Signal::SIGTERM).unwrap();
    let code = eventually("the end of the program", || process.0.try_wait().unwrap());
    assert_eq!(code.code(), Some(0));
}

#[test]
#[ignore = "needs packages: ./run-tests"]
fn a_program_that_an_installer_left_without_its_mode_starts_all_the_same() {
    let environment = Environment::with(&[]);
    environment.pip(&["--no-index", text(&package(".whl"))]);
    let script = environment.path("bin/supervisor-haproxy");
    let find = "import supervisor_haproxy as s; print(s.PROGRAM)";
    let program = PathBuf::from(say(environment.path("bin/python"), &["-c", find]).trim_end());
    fs::set_permissions(&program, PermissionsExt::from_mode(0o640)).unwrap();
    assert_eq!(say(&script, &["--version"]), format!("supervisor-haproxy {VERSION}\n"));
    fs::remove_file(&program).unwrap();
    let output = Command::new(&script).arg("--version").output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(1), &b""[..]), "{complaint}");
    assert!(
        complaint.contains("cannot be started: No such file or directory; install the wheel"),
        "{complaint}"
    );
}

/// hatchling's own words for it, as pip calls it.
fn build(environment: &Environment, target: &str, out: &Path, variables: &[(&str, &str)]) -> Output {
    let code = format!("from hatchling import build; build.build_{target}({:?})", text(out));
    let mut command = Command::new(environment.path("bin/python"));
    command.args(["-c", &code]).envs(variables.iter().copied());
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/python")).output().unwrap()
}

/// What was said by something that failed.
#[track_caller]
fn refusal(output: &Output) -> String {
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
#[ignore = "needs packages: ./run-tests"]
fn what_is_not_supported_is_refused_in_words() {
    let environment = Environment::with(&["hatchling"]);
    let out = environment.path("out");
    let project = concat!(env!("CARGO_MANIFEST_DIR"), "/python");
    let editable = ["install", "--no-build-isolation", "--no-deps", "--editable", project];
    let said = refusal(&Command::new(environment.path("bin/pip")).args(editable).output().unwrap());
    assert!(said.contains("an editable install is not supported"), "{said}");
    let said = refusal(&build(&environment, "sdist", &out, &[]));
    assert!(said.contains("there is no source distribution"), "{said}");
    for (binary, problem) in [
        ("/etc/passwd", "/etc/passwd: no 64 bit little endian ELF file"),
        ("/nowhere", "SUPERVISOR_HAPROXY_BINARY names `/nowhere`, which is no file"),
    ] {
        let said = refusal(&build(&environment, "wheel", &out, &[("SUPERVISOR_HAPROXY_BINARY", binary)]));
        assert!(said.contains(problem), "{said}");
    }
    let path = text(&environment.path("bin")).to_owned();
    let said = refusal(&build(&environment, "wheel", &out, &[("PATH", &path)]));
    assert!(said.contains("cargo is missing; get Rust from https://rustup.rs"), "{said}");
}

/// With a cargo that builds nothing, as that would take minutes.
#[test]
#[ignore = "needs packages: ./run-tests"]
fn a_wheel_that_is_built_here_is_for_machines_like_this_one() {
    let environment = Environment::with(&["hatchling"]);
    let cargo = environment.path("bin/cargo");
    let script = format!(
        "echo \"$PWD $*\" >&2\necho '{{\"executable\":null}}'\necho '{{\"executable\":\"{BINARY}\"}}'\n\
         echo '{{\"reason\":\"build-finished\"}}'"
    );
    write_script(&cargo, &script);
    let out = environment.path("out");
    let output = build(&environment, "wheel", &out, &[("PATH", text(&environment.path("bin")))]);
    let called = format!("{} build --release --locked --bin supervisor-haproxy", env!("CARGO_MANIFEST_DIR"));
    assert!(
        output.status.success() && String::from_utf8_lossy(&output.stderr).contains(&called),
        "{output:?}"
    );
    let expected = format!("supervisor_haproxy-{VERSION}-py2.py3-none-linux_{}.whl", std::env::consts::ARCH);
    assert_eq!(names(&out), BTreeSet::from([expected]));
}

/// As the README has it.
fn buildout(rpc: u16, haproxy: u16) -> String {
    format!(
        "[buildout]\n\
         parts = supervisor\n\
         versions = versions\n\
         find-links = {packages}\n\
         \n\
         [versions]\n\
         supervisor-haproxy = {VERSION}\n\
         \n\
         [supervisor]\n\
         recipe = collective.recipe.supervisor\n\
         port = 127.0.0.1:{rpc}\n\
         programs =\n    10 instance1 /bin/sleep [1000]\n\
         plugins +=\n    supervisor-haproxy\n\
         eventlisteners +=\n    \
             HaProxy PROCESS_STATE ${{buildout:bin-directory}}/supervisor-haproxy [tcp://localhost:{haproxy} instance1:app/plone0101]\n",
        packages = directory().display(),
    )
}

#[test]
#[ignore = "needs packages: ./run-tests"]
fn a_buildout_with_the_listener_as_a_plugin_keeps_haproxy_in_step() {
    let environment = Environment::with(&["zc.buildout"]);
    let here = tempfile::tempdir().unwrap();
    let (rpc, admin) = (free_port(), free_port());
    let global = format!("  stats socket ipv4@127.0.0.1:{admin} level admin");
    let haproxy = Haproxy::start_with(here.path(), &global, &["plone0101 127.0.0.1:1"]);
    fs::write(here.path().join("buildout.cfg"), buildout(rpc, admin)).unwrap();
    run(Command::new(environment.path("bin/buildout")).current_dir(here.path()));
    let bin = here.path().join("bin");
    for name in NAMES.iter().chain(&["supervisorctl", "supervisord"]) {
        assert!(bin.join(name).is_file(), "{name} is not in {:?}", names(&bin));
    }
    let mut supervisord = Command::new(bin.join("supervisord"));
    let log = fs::File::create(here.path().join("supervisord.out")).unwrap();
    supervisord.arg("--nodaemon").stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    let supervisord = Process::start(&mut supervisord);
    let ctl = |arguments: &[&str]| {
        let output = Command::new(bin.join("supervisorctl")).args(arguments).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    haproxy.expect("plone0101", "ready");
    assert!(ctl(&["status", "HaProxy"]).contains("RUNNING"), "{}", ctl(&["status"]));
    assert!(ctl(&["stop", "instance1"]).contains("stopped"));
    haproxy.expect("plone0101", "maint");
    assert!(ctl(&["start", "instance1"]).contains("started"));
    haproxy.expect("plone0101", "ready");
    drop(supervisord);
    haproxy.expect("plone0101", "maint");
}

// --- the static program

/// The tarball, unpacked.
pub(crate) fn tarball() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    run(Command::new("tar").arg("-xf").arg(package("-linux.tar.gz")).arg("-C").arg(directory.path()));
    let root = directory.path().join(format!("supervisor-haproxy-{VERSION}-x86_64-linux"));
    (directory, root)
}

#[test]
#[ignore = "needs packages: ./run-tests"]
fn the_tarball_has_the_program_with_its_documents() {
    let (_directory, root) = tarball();
    let expected = [
        "CHANGELOG.md",
        "LICENSE-APACHE",
        "LICENSE-MIT",
        "README.rst",
        "THIRD-PARTY",
        "completions",
        "contrib",
        "docs",
        "man",
        "supervisor-haproxy",
        "supervisor.conf.example",
        "systemd",
    ];
    assert_eq!(names(&root), BTreeSet::from(expected.map(str::to_owned)));
    assert_eq!(
        say(root.join("supervisor-haproxy"), &["--version"]),
        format!("supervisor-haproxy {VERSION}\n")
    );
    let licences = fs::read_to_string(root.join("THIRD-PARTY")).unwrap();
    for owner in ["\nclap ", "\nrdkafka-sys ", "librdkafka - Apache Kafka C driver library", "\ntokio "] {
        assert!(licences.contains(owner), "{owner:?} is missing");
    }
}

/// The listener in a directory that holds nothing else: no libraries, no /etc, no /proc, no /tmp.
#[test]
#[ignore = "needs packages: ./run-tests"]
fn the_static_program_listens_in_an_empty_root() {
    let (_directory, unpacked) = tarball();
    let root = tempfile::tempdir().unwrap();
    copy_program(&unpacked.join("supervisor-haproxy"), &root.path().join("supervisor-haproxy"));
    let (rpc, admin) = (free_port(), free_port());
    let enter = if nix::unistd::geteuid().is_root() { "chroot" } else { "unshare --map-root-user --root" };
    let listener = format!("tcp://localhost:{admin} web:app/web");
    let world = World::edited(
        &format!("  stats socket ipv4@127.0.0.1:{admin} level admin"),
        &["web 127.0.0.1:1"],
        &[Program::idle("web")],
        &listener,
        |_, configuration| {
            let command = format!("command={enter} {} /supervisor-haproxy -v ", root.path().display());
            let text = configuration.replace(&format!("command={BINARY} -v "), &command);
            assert!(text.contains(&command), "{text}");
            text.replace("[eventlistener:listener]", &format!(
                "[inet_http_server]\nport=127.0.0.1:{rpc}\n\n[eventlistener:listener]\nserverurl=http://127.0.0.1:{rpc}"
            ))
        },
    );
    world.expect_running("web");
    assert_eq!(names(root.path()), BTreeSet::from(["supervisor-haproxy".to_owned()]));
    let pid = world.supervisord.pid("listener");
    assert_eq!(fs::read_link(format!("/proc/{pid}/root")).unwrap(), fs::canonicalize(root.path()).unwrap());
    world.supervisord.ctl(&["stop", "web"]);
    world.haproxy.expect("web", "maint");
    world.supervisord.ctl(&["start", "web"]);
    world.expect_running("web");
    let log = world.supervisord.log();
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
}

// --- the package for Debian

/// A Debian with HAProxy and without supervisor-haproxy, in Docker and without a network, until the test ends.
struct Debian(String);

impl Debian {
    fn start() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("supervisor-haproxy-test-deb-{}-{count}", std::process::id());
        let volume = format!("{}:/packages:ro", directory().display());
        let image = "supervisor-haproxy/haproxy:2.6";
        say(
            "docker",
            &[
                &[
                    "run",
                    "--detach",
                    "--network",
                    "none",
                    "--label",
                    "supervisor-haproxy.test=1",
                    "--name",
                    &name,
                ][..],
                &["--volume", &volume, "--entrypoint", "sleep", image, "1000"],
            ]
            .concat(),
        );
        Self(name)
    }

    /// What a line of shell prints, which must end well.
    #[track_caller]
    fn sh(&self, line: &str) -> String {
        say("docker", &["exec", &self.0, "sh", "-ec", line])
    }

    /// All files but those that each installation of anything changes.
    fn files(&self) -> BTreeSet<String> {
        let list =
            self.sh("find / -xdev ! -path '/var/lib/dpkg/*' ! -path '/var/log/*' ! -path '/var/cache/*'");
        list.lines().map(str::to_owned).collect()
    }
}

impl Drop for Debian {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["rm", "--force", &self.0]).output();
    }
}

const CONFFILE: &str = "/etc/default/supervisor-haproxy-serve";

#[test]
#[ignore = "needs packages: ./run-tests"]
fn a_clean_debian_installs_the_package_and_is_clean_after_its_removal() {
    let debian = Debian::start();
    let before = debian.files();
    let package = format!("/packages/{}", package(".deb").file_name().unwrap().to_str().unwrap());
    debian.sh(&format!("dpkg --install {package}"));
    assert_eq!(debian.sh("supervisor-haproxy --version"), format!("supervisor-haproxy {VERSION}\n"));
    assert!(debian.sh("haproxystats-pull --help").contains("supervisor-haproxy pull"));
    assert!(debian.sh("hap-monitor-cron --help").contains("supervisor-haproxy push"));
    let installed = debian.sh("dpkg --listfiles supervisor-haproxy");
    let installed: BTreeSet<&str> = installed.lines().collect();
    for name in NAMES {
        assert!(installed.contains(&*format!("/usr/bin/{name}")), "{name} in {installed:?}");
        assert!(installed.contains(&*format!("/usr/share/man/man1/{name}.1.gz")), "{name} in {installed:?}");
    }
    assert!(
        installed.contains("/usr/share/doc/supervisor-haproxy/contrib/nagios/commands.cfg"),
        "{installed:?}"
    );
    assert_eq!(debian.sh("dpkg --verify supervisor-haproxy | grep -v /usr/share || true"), "");
    // What the administrator has written stays through an upgrade and a removal, and goes with a purge.
    debian.sh(&format!("echo SUPERVISOR_HAPROXY_SERVE_LISTEN=127.0.0.1:9999 >>{CONFFILE}"));
    debian.sh(&format!("dpkg --install {package}"));
    debian.sh("dpkg --remove supervisor-haproxy");
    let left: Vec<String> = debian.files().difference(&before).cloned().collect();
    assert_eq!(left, [CONFFILE]);
    assert!(debian.sh(&format!("tail -n 1 {CONFFILE}")).contains("127.0.0.1:9999"));
    debian.sh("dpkg --purge supervisor-haproxy");
    assert_eq!(debian.files(), before);
}

/// With a real HAProxy of the same Debian.
#[test]
#[ignore = "needs packages: ./run-tests"]
fn the_installed_package_speaks_with_the_haproxy_beside_it() {
    let debian = Debian::start();
    debian.sh("dpkg --install /packages/*.deb");
    let configuration = "global\\n  stats socket /run/h.sock level admin\\ndefaults\\n  mode http\\n  timeout connect 1s\\n  \
                         timeout client 1s\\n  timeout server 1s\\nbackend app\\n  server web 127.0.0.1:1\\n";
    debian.sh(&format!("printf '{configuration}' >/run/h.cfg; haproxy -D -f /run/h.cfg"));
    let report = debian.sh("supervisor-haproxy report /run/h.sock --json || true");
    assert!(report.contains("\"web\""), "{report}");
}

/// The package's files, unpacked.
fn unpacked() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    run(Command::new("dpkg-deb").arg("--extract").arg(package(".deb")).arg(directory.path()));
    directory
}

#[test]
#[ignore = "needs packages: ./run-tests"]
fn the_units_of_the_package_start_its_program() {
    let root = unpacked();
    for name in ["pull", "process", "serve"] {
        let path = root.path().join(format!("usr/lib/systemd/system/supervisor-haproxy-{name}.service"));
        let unit = fs::read_to_string(path).unwrap();
        let start = format!("ExecStart=/usr/bin/supervisor-haproxy {name}");
        assert!(unit.lines().any(|line| line.starts_with(&start)), "{unit}");
        assert!(!unit.contains("/usr/local"), "{unit}");
    }
    let example = root.path().join("usr/share/doc/supervisor-haproxy/examples/supervisor.conf");
    assert!(fs::read_to_string(example).unwrap().contains("\ncommand = /usr/bin/supervisor-haproxy "));
}

/// systemd makes the user that two units have.
#[test]
#[ignore = "needs packages: ./run-tests"]
fn the_package_brings_the_user_of_its_units() {
    let root = unpacked();
    let option = format!("--root={}", root.path().display());
    say("systemd-sysusers", &[&option, "haproxystats.conf"]);
    let users = fs::read_to_string(root.path().join("etc/passwd")).unwrap();
    assert!(users.contains(":/var/lib/haproxystats:"), "{users}");
    let unit = root.path().join("usr/lib/systemd/system/supervisor-haproxy-pull.service");
    assert!(fs::read_to_string(unit).unwrap().contains("\nUser=haproxystats\n"));
}

#[test]
fn the_defaults_of_the_package_are_variables_that_serve_knows() {
    let text = fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/packaging/deb/supervisor-haproxy-serve.default"
    ));
    let text = text.unwrap();
    let named: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix('#')?.split_once('='))
        .map(|(name, _)| name)
        .collect();
    assert!(named.len() >= 2, "{named:?}");
    let declared = Args::command();
    let serve = declared.find_subcommand("serve").unwrap();
    let known: Vec<&str> =
        serve.get_arguments().filter_map(|argument| argument.get_env()?.to_str()).collect();
    for name in named {
        assert!(known.contains(&name), "{name} is none of {known:?}");
    }
}

#[test]
#[ignore = "needs packages: ./run-tests"]
fn the_package_depends_on_nothing_but_the_c_library() {
    let depends = say("dpkg-deb", &["--field", text(&package(".deb")), "Depends"]);
    let packages: BTreeSet<&str> =
        depends.split(',').map(|one| one.split_whitespace().next().unwrap()).collect();
    assert!(packages.is_subset(&BTreeSet::from(["libc6", "libgcc-s1"])), "{depends}");
}

#[test]
#[ignore = "needs packages: ./run-tests"]
fn lintian_finds_no_error_in_the_package() {
    let found = say("lintian", &["--fail-on", "error,warning", "--allow-root", text(&package(".deb"))]);
    assert_eq!(found, "");
}
