//! `push` and `report` beside a real HAProxy.

use std::io::Read;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::symlink;
use std::process::Command;
use std::thread::JoinHandle;
use std::time::Duration;

use tempfile::TempDir;

use crate::support::{Act, BINARY, DEADLINE, FakeHaproxy, Haproxy, Run};

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
            "0.3",
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
            "error: haproxy unix://{here}/fake.sock: show info;show stat: no complete reply within 300ms (14 bytes"
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
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
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
