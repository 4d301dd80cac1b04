//! `push`: HAProxy's statistics, sent once. It takes the place of HAP-Monitor's scripts, whose names and options it
//! answers to.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use super::Failure;
use super::commands::PushArgs;
use super::screen::Screen;
use crate::control::{Statistics, epoch_seconds, statistics};
use crate::net::Endpoint;
use crate::sinks::{
    Dialect, Gauges, Graphite, LONGEST_DATAGRAM, Protocol, Series, SinkError, Statsd, Timeouts, Value,
    write_line,
};
use crate::stats::{Point, points};

pub(super) fn run(args: &PushArgs) -> Result<u8, Failure> {
    let settings = Settings::read(args).map_err(Failure::Usage)?;
    let mut problems = Vec::new();
    let prefix = format!("{}.{}", settings.scope, short_host());
    let mut found = Vec::new();
    for (socket, result) in settings.sockets.iter().zip(statistics(&settings.sockets, settings.timeout)?) {
        match result.and_then(|texts| understand(&prefix, &texts, settings.rate)) {
            Ok(points) => found.extend(points),
            Err(why) => problems.push(format!("haproxy {socket}: {why}")),
        }
    }
    if let Err(error) = settings.send(&found, args.verbose) {
        problems.push(error.to_string());
    }
    if problems.is_empty() { Ok(0) } else { Err(Failure::Failed(problems)) }
}

fn understand(prefix: &str, texts: &Statistics, rate: bool) -> Result<Vec<Point>, String> {
    points(prefix, &texts.info, &texts.stat, rate).map_err(|error| error.to_string())
}

/// This host's name up to its first dot.
fn short_host() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    name.split('.').next().unwrap_or_default().to_owned()
}

// --- what is typed

/// A script of HAP-Monitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Script {
    Udp,
    Tcp,
}

impl Script {
    /// The one in whose place a program of this name is called.
    pub(super) fn of(program: &Path) -> Option<Self> {
        let name = program.file_name()?.to_str()?;
        match name.strip_suffix(".py").unwrap_or(name) {
            "hap-monitor" | "hap-monitor-cron" => Some(Self::Udp),
            "hap-monitor-cronTCP" => Some(Self::Tcp),
            _ => None,
        }
    }
}

/// The words of a script as those of this command.
pub(super) fn as_command(words: Vec<OsString>) -> Vec<OsString> {
    let options = words.into_iter().skip(1);
    ["supervisor-haproxy", "push"].map(OsString::from).into_iter().chain(options).collect()
}

#[derive(Debug, PartialEq, Eq)]
struct Settings {
    target: Target,
    endpoint: Endpoint,
    scope: String,
    sockets: Vec<Endpoint>,
    rate: bool,
    timeout: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Graphite(Protocol),
    Statsd,
}

impl Settings {
    fn read(args: &PushArgs) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let mut keep = |problem: String| problems.push(problem);
        let backend = args.backend.as_deref();
        if backend.is_none() {
            keep("--backend HOST:PORT::SCOPE is missing".into());
        }
        let backend = backend.and_then(|text| {
            self::backend(text).map_err(|error| keep(format!("--backend `{text}`: {error}"))).ok()
        });
        let target = target(args).map_err(&mut keep).ok();
        if args.sockets.is_empty() {
            keep("--sockets SOCKET... is missing".into());
        }
        let sockets = args.sockets.iter().filter_map(|text| {
            socket(text).map_err(|error| keep(format!("--sockets `{text}`: {error}"))).ok()
        });
        let sockets = sockets.collect();
        if args.timeout.is_zero() {
            keep("--timeout `0`: nothing can answer within no time".into());
        }
        match (backend, target) {
            (Some((endpoint, scope)), Some(target)) if problems.is_empty() => {
                let rate = args.is_tcp_script || target == Target::Graphite(Protocol::Tcp);
                Ok(Self { target, endpoint, scope, sockets, rate, timeout: args.timeout })
            }
            _ => Err(problems),
        }
    }

    fn send(&self, points: &[Point], verbose: bool) -> Result<(), SinkError> {
        if points.is_empty() {
            return Ok(());
        }
        let timeouts = Timeouts { connect: self.timeout, write: self.timeout, close: self.timeout };
        let mut screen = verbose.then(Screen::new);
        let mut say = |bytes: &[u8]| {
            if let Some(screen) = &mut screen {
                screen.line(String::from_utf8_lossy(bytes).trim_end());
            }
        };
        match self.target {
            Target::Graphite(protocol) => {
                let lines = lines(points, epoch_seconds());
                say(&lines);
                let mut graphite = Graphite::open(&self.endpoint, protocol, timeouts)?;
                graphite.send(&lines)?;
                graphite.close()
            }
            Target::Statsd => {
                let gauges = gauges(points);
                gauges.datagrams().for_each(say);
                Statsd::open(&self.endpoint, timeouts)?.send(&gauges)
            }
        }
    }
}

fn lines(points: &[Point], now: u64) -> Vec<u8> {
    let mut lines = Vec::new();
    for point in points {
        write_line(&mut lines, &point.path, point.value, now);
    }
    lines
}

fn gauges(points: &[Point]) -> Gauges {
    let mut gauges = Gauges::new(LONGEST_DATAGRAM);
    for point in points {
        gauges.set(&Series::plain(Dialect::Statsd, &point.path), "", Value::Real(point.value));
    }
    gauges
}

fn backend(text: &str) -> Result<(Endpoint, String), String> {
    const FORM: &str = "expected HOST:PORT::SCOPE, as in `graphite.example.com:2003::my.system`";
    let (authority, scope) = text.rsplit_once("::").ok_or(FORM)?;
    if scope.contains(']') || authority.is_empty() {
        return Err(FORM.into());
    }
    let endpoint = Endpoint::tcp(authority).map_err(|error| error.to_string())?;
    let is_word = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    if scope.is_empty() || !scope.chars().all(is_word) || scope.split('.').any(str::is_empty) {
        return Err(format!(
            "the scope `{scope}` is none: it has letters, digits, `-`, `_`, and dots between"
        ));
    }
    Ok((endpoint, scope.to_owned()))
}

fn target(args: &PushArgs) -> Result<Target, String> {
    let protocol = match args.protocol.as_deref() {
        None => None,
        Some("udp") => Some(Protocol::Udp),
        Some("tcp") => Some(Protocol::Tcp),
        Some(other) => return Err(format!("--protocol `{other}`: expected `udp` or `tcp`")),
    };
    match (args.kind.as_str(), protocol) {
        ("G" | "g", Some(protocol)) => Ok(Target::Graphite(protocol)),
        ("G" | "g", None) if args.is_tcp_script => Ok(Target::Graphite(Protocol::Tcp)),
        ("G" | "g", None) => Ok(Target::Graphite(Protocol::Udp)),
        ("S" | "s", Some(Protocol::Tcp)) => {
            Err("--protocol `tcp`: statsd takes datagrams; `tcp` goes with `--type G`".into())
        }
        ("S" | "s", _) => Ok(Target::Statsd),
        (other, _) => Err(format!("--type `{other}`: expected `G` (Graphite) or `S` (statsd)")),
    }
}

/// As everywhere, and a path that is not absolute, which HAP-Monitor takes, too.
fn socket(text: &str) -> Result<Endpoint, String> {
    let relative = !text.is_empty() && !text.contains(':') && !text.starts_with('/');
    let absolute = if relative { std::path::absolute(text).ok() } else { None };
    let text = absolute.as_deref().and_then(Path::to_str).unwrap_or(text);
    text.parse().map_err(|error: crate::net::EndpointError| error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, FromArgMatches};

    use super::super::args::Args;
    use super::super::commands::Command;
    use super::*;

    fn typed(words: &[&str], is_tcp_script: bool) -> Result<Settings, Vec<String>> {
        let words = ["supervisor-haproxy", "push"].iter().chain(words);
        let matches = Args::command().try_get_matches_from(words).unwrap();
        let Some(Command::Push(mut args)) = Args::from_arg_matches(&matches).unwrap().command else {
            panic!()
        };
        args.is_tcp_script = is_tcp_script;
        Settings::read(&args)
    }

    #[test]
    fn what_the_scripts_take_is_taken() {
        let words =
            ["--backend", "g:2003::my.system", "--type", "G", "--sockets", "/a", "tcp://b:1", "--verbose"];
        let expected = Settings {
            target: Target::Graphite(Protocol::Udp),
            endpoint: "tcp://g:2003".parse().unwrap(),
            scope: "my.system".into(),
            sockets: vec!["/a".parse().unwrap(), "tcp://b:1".parse().unwrap()],
            rate: false,
            timeout: Duration::from_secs(5),
        };
        assert_eq!(typed(&words, false), Ok(expected));
        let of = |words: &[&str], script| {
            let all = [&["--backend", "[::1]:1::x", "--sockets", "/a"], words].concat();
            typed(&all, script).map(|settings| (settings.target, settings.rate))
        };
        let (tcp, udp) = (Target::Graphite(Protocol::Tcp), Target::Graphite(Protocol::Udp));
        for (words, script, expected) in [
            (&[][..], false, (Target::Statsd, false)),
            (&["--type", "s", "--protocol", "udp"], false, (Target::Statsd, false)),
            (&["--type", "g"], false, (udp, false)),
            (&["--type=G", "--protocol=tcp"], false, (tcp, true)),
            (&["--type", "G"], true, (tcp, true)),
            (&["--type", "G", "--protocol", "udp"], true, (udp, true)),
            (&["--type", "S"], true, (Target::Statsd, true)),
        ] {
            assert_eq!(of(words, script), Ok(expected), "{words:?}");
        }
    }

    #[test]
    fn a_path_may_be_relative() {
        let here = std::env::current_dir().unwrap().join("h.sock");
        assert_eq!(socket("h.sock"), Ok(Endpoint::Unix(here)));
        assert!(socket("localhost:1").unwrap_err().starts_with("expected `tcp://HOST:PORT`"));
        assert!(socket("").is_err());
    }

    #[test]
    fn the_scope_comes_after_the_last_two_colons() {
        let read = |text| backend(text).map(|(endpoint, scope)| format!("{endpoint} {scope}"));
        assert_eq!(read("h:1::a.b"), Ok("tcp://h:1 a.b".into()));
        assert_eq!(read("[fe80::1]:1::a"), Ok("tcp://[fe80::1]:1 a".into()));
        for (text, error) in [
            ("h:1", "expected HOST:PORT::SCOPE"),
            ("[::1]:1", "expected HOST:PORT::SCOPE"),
            ("::a", "expected HOST:PORT::SCOPE"),
            ("h::a", "the port must be"),
            ("h:x::a", "the port must be"),
            (":1::a", "the host is missing"),
            ("h:1::", "the scope `` is none"),
            ("h:1::a b", "the scope `a b` is none"),
            ("h:1::a..b", "the scope `a..b` is none"),
        ] {
            let found = read(text).unwrap_err();
            assert!(found.starts_with(error), "{text}: {found}");
        }
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        assert_eq!(
            typed(&["--type", "X", "--timeout", "0"], false).unwrap_err(),
            [
                "--backend HOST:PORT::SCOPE is missing",
                "--type `X`: expected `G` (Graphite) or `S` (statsd)",
                "--sockets SOCKET... is missing",
                "--timeout `0`: nothing can answer within no time",
            ]
        );
        let words = ["--backend", "h", "--protocol", "tcp", "--sockets", "/a", "b:1", "unix://c"];
        let problems = typed(&words, false).unwrap_err();
        let begins: Vec<&str> = problems.iter().map(|problem| problem.split(": ").next().unwrap()).collect();
        assert_eq!(begins, ["--backend `h`", "--protocol `tcp`", "--sockets `b:1`", "--sockets `unix://c`"]);
    }

    #[test]
    fn the_names_of_the_scripts_are_known() {
        let of = |name: &str| Script::of(Path::new(name));
        assert_eq!(of("/usr/local/bin/hap-monitor"), Some(Script::Udp));
        assert_eq!(of("hap-monitor-cron.py"), Some(Script::Udp));
        assert_eq!(of("hap-monitor.py"), Some(Script::Udp));
        assert_eq!(of("./hap-monitor-cronTCP.py"), Some(Script::Tcp));
        assert_eq!(of("supervisor-haproxy"), None);
        assert_eq!(of("hap-monitor-2"), None);
    }
}
