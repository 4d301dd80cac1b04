//! `push` and `report` beside a real HAProxy.

use std::fs;
use std::io::Read;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Act, BINARY, DEADLINE, FakeHaproxy, Haproxy, Run, Running, eventually, free_port};

/// A Graphite that takes one connection.
struct Carbon {
    backend: String,
    reader: JoinHandle<String>,
}

impl Carbon {
    fn start(address: &str) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let backend = format!("{}::my.system", listener.local_addr().unwrap());
        let reader = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(DEADLINE)).unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            text
        });
        Self { backend, reader }
    }

    fn lines(self) -> Vec<String> {
        self.reader.join().unwrap().lines().map(str::to_owned).collect()
    }
}

/// A statsd, or a Graphite that takes datagrams.
struct Receiver {
    socket: UdpSocket,
    backend: String,
}

impl Receiver {
    fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let backend = format!("localhost:{}::my.system", socket.local_addr().unwrap().port());
        Self { socket, backend }
    }

    /// What has arrived, once the sender has ended: on one machine, nothing is on its way then.
    fn datagrams(&self) -> Vec<String> {
        self.socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let mut buffer = [0; 4096];
        let received =
            std::iter::from_fn(|| self.socket.recv(&mut buffer).ok().map(|count| buffer[..count].to_vec()));
        received.map(|packet| String::from_utf8(packet).unwrap()).collect()
    }
}

fn haproxy() -> (TempDir, Haproxy) {
    let directory = tempfile::tempdir().unwrap();
    let haproxy = Haproxy::start(directory.path(), &["web1 127.0.0.1:1", "web.2 127.0.0.1:1"]);
    (directory, haproxy)
}

/// The first label of this machine's name, as `hostname` prints it.
fn host() -> String {
    rustix::system::uname().nodename().to_str().unwrap().split('.').next().unwrap().to_owned()
}

/// `path value`, without what comes before the process's number and without the time, which is near the present one.
fn shortened(lines: &[String]) -> Vec<String> {
    let prefix = format!("my.system.{}.", host());
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let shorten = |line: &String| {
        let (point, time) = line.rsplit_once(' ').unwrap();
        assert!(now - time.parse::<u64>().unwrap() < 60, "{line}");
        point.strip_prefix(&prefix).unwrap_or_else(|| panic!("{line}")).to_owned()
    };
    lines.iter().map(shorten).collect()
}

#[test]
fn graphite_over_tcp_has_each_value_once() {
    let (directory, haproxy) = haproxy();
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let carbon = Carbon::start(address);
        let socket = haproxy.socket.to_str().unwrap();
        let words =
            ["push", "--backend", &carbon.backend, "--type", "G", "--protocol", "tcp", "--sockets", socket];
        let run = Run::of(directory.path(), &words).expect(0);
        assert_eq!((run.out.as_str(), run.err.as_str()), ("", ""));
        let points = shortened(&carbon.lines());
        for expected in [
            "1.app.web1.scur 0",
            "1.app.web1.rate 0",
            "1.app.web.2.status.MAINT 1",
            "1.app.web.2.status.UP 0",
            "1.app.BACKEND.status.DOWN 1",
            "1.app.BACKEND.hrsp_5xx 0",
            "1.front.FRONTEND.req_rate 0",
        ] {
            assert_eq!(
                points.iter().filter(|point| *point == expected).count(),
                1,
                "{expected}: {points:#?}"
            );
        }
        assert!(points[0].starts_with("1.Idle_pct "), "{points:#?}");
        assert!(!points.iter().any(|point| point.contains("FRONTEND.status")), "{points:#?}");
    }
}

#[test]
fn statsd_takes_datagrams_of_whole_lines() {
    let (directory, haproxy) = haproxy();
    let (statsd, socket) = (Receiver::start(), haproxy.socket.to_str().unwrap());
    let words = ["push", "--backend", &statsd.backend, "--type", "S", "--sockets", socket, "--verbose"];
    let run = Run::of(directory.path(), &words).expect(0);
    let datagrams = statsd.datagrams();
    assert!(datagrams.len() > 1, "{datagrams:#?}");
    let prefix = format!("my.system.{}.1.", host());
    for line in datagrams.iter().flat_map(|datagram| datagram.split('\n')) {
        assert!(line.starts_with(&prefix) && line.ends_with("|g") && !line.contains(' '), "{line:?}");
        assert!(run.out.lines().any(|said| said == line), "{line} in {run:?}");
    }
    assert!(datagrams.iter().all(|datagram| datagram.len() <= 1432));
    assert!(datagrams.concat().contains(&format!("{prefix}app.web.2.status.MAINT:1|g")));
}

#[test]
fn the_programs_name_stands_for_the_command() {
    let (directory, haproxy) = haproxy();
    let socket = haproxy.socket.file_name().unwrap().to_str().unwrap();
    for (name, is_tcp) in
        [("hap-monitor", false), ("hap-monitor-cron.py", false), ("hap-monitor-cronTCP.py", true)]
    {
        let program = directory.path().join(name);
        symlink(BINARY, &program).unwrap();
        let run = |backend: &str| {
            let mut command = Command::new(&program);
            command.current_dir(directory.path()).args([
                "--backend",
                backend,
                "--type",
                "G",
                "--sockets",
                socket,
            ]);
            let output = command.output().unwrap();
            assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        };
        let lines = if is_tcp {
            let carbon = Carbon::start("127.0.0.1:0");
            run(&carbon.backend);
            carbon.lines()
        } else {
            let receiver = Receiver::start();
            run(&receiver.backend);
            receiver.datagrams().concat().lines().map(str::to_owned).collect()
        };
        let points = shortened(&lines);
        assert!(points.contains(&"1.app.web1.scur 0".to_owned()), "{name}: {points:#?}");
        assert_eq!(points.contains(&"1.app.web1.rate 0".to_owned()), is_tcp, "{name}");
    }
    let output = Command::new(directory.path().join("hap-monitor")).arg("--verbose").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(said.contains("error: --backend HOST:PORT::SCOPE is missing\n"), "{said}");
    assert!(said.contains("error: --sockets SOCKET... is missing\n"), "{said}");
}

#[test]
fn a_dead_socket_does_not_stop_the_others() {
    let (directory, haproxy) = haproxy();
    let silent = FakeHaproxy::start(directory.path());
    silent.on("show info", [Act::Hang(b"Name: HAProxy\n".to_vec())]);
    let carbon = Carbon::start("127.0.0.1:0");
    let run = Run::of(
        directory.path(),
        &[
            "push",
            "--backend",
            &carbon.backend,
            "--type",
            "G",
            "--protocol",
            "tcp",
            "--timeout",
            "2",
            "--sockets",
            "dead.sock",
            "fake.sock",
            haproxy.socket.to_str().unwrap(),
        ],
    );
    let here = directory.path().display();
    run.expect(1)
        .complains(&format!("error: haproxy unix://{here}/dead.sock: show info;show stat: cannot connect: No such"))
        .complains(&format!(
            "error: haproxy unix://{here}/fake.sock: show info;show stat: no complete reply within 2s (14 bytes"
        ));
    assert!(shortened(&carbon.lines()).contains(&"1.app.web1.scur 0".to_owned()));
}

#[test]
fn long_replies_are_taken_whole() {
    let directory = tempfile::tempdir().unwrap();
    let haproxy = FakeHaproxy::start(directory.path());
    let rows: String = (0..20_000).map(|number| format!("app,s{number},{number},\n")).collect();
    let reply = format!("Process_num: 3\n\n# pxname,svname,scur,\n{rows}\n");
    haproxy.on("show info", [Act::Reply(reply.into_bytes())]);
    let carbon = Carbon::start("127.0.0.1:0");
    let words =
        ["push", "--backend", &carbon.backend, "--type", "G", "--protocol", "tcp", "--sockets", "fake.sock"];
    Run::of(directory.path(), &words).expect(0);
    let points = shortened(&carbon.lines());
    assert_eq!(points.len(), 20_000);
    assert_eq!(points[19_999], "3.app.s19999.scur 19999");
}

#[test]
fn a_backend_that_is_not_there_is_named() {
    let (directory, haproxy) = haproxy();
    let nobody = format!("127.0.0.1:{}", free_port());
    let push = |kind, protocol| {
        let backend = format!("{nobody}::x");
        let socket = haproxy.socket.to_str().unwrap();
        let words =
            ["push", "--backend", &backend, "--type", kind, "--protocol", protocol, "--sockets", socket];
        Run::of(directory.path(), &words).expect(1)
    };
    push("G", "tcp").complains(&format!("error: graphite {nobody}: cannot connect: Connection refused"));
    push("G", "udp").complains(&format!("error: graphite {nobody}: the connection broke after "));
    push("S", "udp").complains(&format!("error: statsd {nobody}: the connection broke after "));
}

// --- report

/// A HAProxy with a web page, and servers that are not checked, but for `dead`.
fn haproxy_with_page() -> (TempDir, Haproxy, String) {
    let directory = tempfile::tempdir().unwrap();
    haproxy_with_page_at(directory, "")
}

/// `options` are those of the page's `bind`.
fn haproxy_with_page_at(directory: TempDir, options: &str) -> (TempDir, Haproxy, String) {
    let port = free_port();
    let page = format!(
        "frontend page\n  mode http\n  timeout client 5s\n  bind 127.0.0.1:{port}{options}\n  stats enable\n  \
         stats uri /stats\n  stats auth me:secret\n"
    );
    let servers = ["web1 127.0.0.1:1", "dead 127.0.0.1:1 check inter 100ms fall 1"];
    let haproxy = Haproxy::start_with(directory.path(), &page, &servers);
    haproxy.ask("set server app/web1 state ready");
    haproxy.expect_status("web1", "no check");
    (directory, haproxy, format!("127.0.0.1:{port}/stats;csv"))
}

#[test]
fn a_report_tells_what_is_down() {
    let (directory, haproxy, _) = haproxy_with_page();
    let socket = haproxy.socket.to_str().unwrap();
    let heading = format!("HAProxy unix://{socket}, version ");
    let run = Run::of(directory.path(), &["report", socket]).expect(0).says(&heading).says("\nall is well\n");
    let run = run.has_row(&["app/web1", "no", "check"]).has_row(&["app/dead", "MAINT"]).omits("\x1b");
    assert_eq!(run.err, "");

    haproxy.ask("set server app/dead state ready");
    haproxy.expect_status("dead", "DOWN");
    let run = Run::of(directory.path(), &["report", socket]).expect(1).omits("all is well");
    run.has_row(&["app/dead", "DOWN"]).says("!: server `app/dead` is DOWN: L4CON");
    let forced = Running::start_with(directory.path(), &["report", socket], &[("CLICOLOR_FORCE", "1")]);
    forced.wait().expect(1).says("\x1b[31mDOWN\x1b[0m");

    let json = Run::of(directory.path(), &["report", "--json", socket]).expect(1).json();
    assert_eq!(json["well"], false);
    let [report] = &json["reports"].as_array().unwrap()[..] else { panic!("{json}") };
    assert_eq!(report["source"], format!("unix://{socket}"));
    assert!(
        report["version"].is_string() && report["uptime_seconds"].is_u64() && report["error"].is_null(),
        "{report}"
    );
    let dead =
        report["servers"].as_array().unwrap().iter().find(|server| server["server"] == "dead").unwrap();
    assert_eq!(
        (&dead["health"], &dead["check"], &dead["queue_peak"]),
        (&json!("down"), &json!("L4CON"), &json!(0))
    );
    assert_eq!(report["totals"]["backends"]["status_5xx"], 0);
    assert_eq!(report["problems"].as_array().map(Vec::len), Some(1), "{report}");
}

#[test]
fn errors_are_told_by_kind_and_may_be_tolerated() {
    use std::io::Write;
    let (directory, haproxy, _) = haproxy_with_page();
    let socket = haproxy.socket.to_str().unwrap();
    let mut client = std::os::unix::net::UnixStream::connect(haproxy.socket.with_extension("front")).unwrap();
    client.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut reply = String::new();
    client.read_to_string(&mut reply).unwrap();
    assert!(reply.contains(" 503 "), "{reply}");
    // HAProxy counts it after it has answered.
    eventually("its count", || (haproxy.count("app", 2, "hrsp_5xx") == 1).then_some(()));
    let run = Run::of(directory.path(), &["report", socket]).expect(1);
    let run = run.says("!: backend `app` has 1 connection error, 1 5xx response in 1 request\n");
    run.has_row(&["backend", "app", "UP", "1", "0", "1", "0", "0", "1"]).has_row(&[
        "all",
        "frontends",
        "0",
        "0",
    ]);
    Run::of(directory.path(), &["report", socket, "--tolerate", "99.9"]).expect(1);
    Run::of(directory.path(), &["report", socket, "--tolerate", "100%"]).expect(0);
}

#[test]
fn the_page_is_asked_with_a_name_and_a_password() {
    let (directory, _haproxy, page) = haproxy_with_page();
    let report = |arguments: &[&str], password: &[(&str, &str)]| {
        Running::start_with(directory.path(), &[&["report"], arguments].concat(), password).wait()
    };
    let (url, with_user) = (format!("http://{page}"), format!("http://me@{page}"));
    let told = format!("HAProxy {url}\n");
    report(&[&format!("http://me:secret@{page}")], &[])
        .expect(0)
        .says(&told)
        .has_row(&["app/web1", "no", "check"]);
    fs::write(directory.path().join("password"), "secret\n").unwrap();
    report(&[&with_user, "--password-file", "password"], &[]).expect(0).says(&told);
    let variable = [("SUPERVISOR_HAPROXY_REPORT_PASSWORD", "secret")];
    report(&[&url, "--user", "me"], &variable).expect(0).says(&told);
    let wrong = [("SUPERVISOR_HAPROXY_REPORT_PASSWORD", "wrong")];
    for run in [report(&[&url, "--user", "me"], &wrong), report(&[&url], &[])] {
        run.expect(1).says(&format!("!: {url}: HTTP status 401: name and password are wanted, or wrong"));
    }
    let html = format!("http://me:secret@{}", page.trim_end_matches(";csv"));
    report(&[&html], &[]).expect(1).says("this is no `show stat`, nor HAProxy's statistics page with `;csv`");

    for (arguments, complaint) in [
        (&[&*with_user][..], "error: the password of `me` is missing; pass --password-file FILE, or set "),
        (&[&with_user, "--user", "you"], "error: --user: the URL names a user already"),
        (&[&url, "--password-file", "password"], "error: --password-file: whose password is it?"),
        (&[&with_user, "--password-file", "none"], "error: --password-file none: No such file"),
        (&["--csv", "x", "--user", "me"], "error: --user goes with a URL"),
        (&["http://"], "error: URL: the host is missing"),
        (&["localhost:1"], "error: SOCKET `localhost:1`: expected `tcp://HOST:PORT`"),
        (&["/a", "--csv", "x"], "error: the argument '[SOCKET|URL]' cannot be used with '--csv <FILE>'"),
    ] {
        let run = report(arguments, &[]).expect(2).complains(complaint);
        assert!(!run.err.contains("secret"), "{run:?}");
    }
}

/// An authority, `ca.pem`, and what HAProxy needs to be the host of this name, `site.pem`.
fn certify(directory: &Path, name: &str) {
    let script = format!(
        "set -e
         new='openssl req -x509 -days 2 -nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -subj'
         $new /CN=authority -keyout ca.key -out ca.pem
         $new /CN=site -keyout site.key -out site.crt -CA ca.pem -CAkey ca.key \\
             -addext basicConstraints=critical,CA:FALSE -addext subjectAltName=DNS:{name}
         cat site.crt site.key > site.pem"
    );
    let output = Command::new("sh").args(["-c", &script]).current_dir(directory).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_page_over_https_is_read_only_from_whom_the_host_trusts() {
    let directory = tempfile::tempdir().unwrap();
    certify(directory.path(), "localhost");
    let options = format!(" ssl crt {}", directory.path().join("site.pem").display());
    let (directory, _haproxy, page) = haproxy_with_page_at(directory, &options);
    let authority = directory.path().join("ca.pem");
    let trusting = [("SSL_CERT_FILE", authority.to_str().unwrap())];
    let report = |host: &str, variables: &[(&str, &str)]| {
        let url = format!("https://me:secret@{}", page.replace("127.0.0.1", host));
        Running::start_with(directory.path(), &["report", &url], variables).wait()
    };
    report("localhost", &trusting).expect(0).has_row(&["app/web1", "no", "check"]);
    report("localhost", &[]).expect(1).says("invalid peer certificate: UnknownIssuer");
    report("127.0.0.1", &trusting).expect(1).says("invalid peer certificate: certificate not valid for name");
}

#[test]
fn a_saved_show_stat_is_read() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/haproxystats/1457298067");
    let run = Run::of(&data, &["report", "--csv", "admin1.sock_stat"]).expect(1);
    run.has_row(&["plone01/plone0101", "UP", "12s", "272", "6", "L4OK", "1", "0", "0", "3ms"])
        .says("!: server `plone01/down.server` is DOWN: L4CON, Connection refused\n")
        .says("!: frontend `www.example.com` has 52 5xx responses in 533 requests\n")
        .has_row(&["all", "frontends", "3", "0", "0", "0", "89"]);
    let tolerant = ["report", "--csv", "admin1.sock_stat", "--json", "--tolerate", "20"];
    let json = Run::of(&data, &tolerant).expect(1).json();
    let problems = &json["reports"][0]["problems"];
    assert_eq!(problems.as_array().map(Vec::len), Some(1), "{problems}");
    assert_eq!(json["reports"][0]["version"], Value::Null);
    Run::of(&data, &["report", "--csv", "none"]).expect(2).complains("error: --csv none: No such file");
}

#[test]
fn the_sockets_are_those_of_the_listener() {
    let (directory, haproxy) = haproxy();
    haproxy.ask("set server app/web1 state ready");
    let socket = haproxy.socket.display();
    let text = format!(
        "[eventlistener:l]\ncommand={BINARY} {socket},/no/such web1:app/web1\nevents=PROCESS_STATE\n"
    );
    fs::write(directory.path().join("supervisord.conf"), text).unwrap();
    Run::of(directory.path(), &["report"])
        .expect(1)
        .says(&format!("HAProxy unix://{socket}, version "))
        .says("HAProxy unix:///no/such\n")
        .says("!: unix:///no/such: show info;show stat: cannot connect: No such file");
    let elsewhere = tempfile::tempdir().unwrap();
    let options = ["report", "--socket", haproxy.socket.to_str().unwrap()];
    Run::of(elsewhere.path(), &options).expect(0).says("all is well");
}
