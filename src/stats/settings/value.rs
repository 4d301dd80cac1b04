//! Values as Python's `getint`, `getfloat` and `getboolean` read them, and those that haproxystats makes of them.

use std::path::PathBuf;
use std::time::Duration;

use super::remark::FaultKind;
use super::{Compression, LogLevel, Protocol, Retries};
use crate::net::Endpoint;

/// Python's `int(text)`; what is too large for us is at the end of our range.
fn int(text: &str) -> Option<i64> {
    let text = text.trim();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let digits = without_underscores(digits)?;
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: i64 = digits.parse().unwrap_or(i64::MAX);
    Some(if negative { -number } else { number })
}

/// Python's `float(text)`; infinity and `nan` are left out, as no option has a meaning for them.
fn float(text: &str) -> Option<f64> {
    let number: f64 = without_underscores(text.trim())?.parse().ok()?;
    number.is_finite().then_some(number)
}

/// An underscore stands between two digits.
fn without_underscores(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let digit = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_digit);
    let misplaced =
        |at: usize| bytes.get(at) == Some(&b'_') && !(digit(at.checked_sub(1)) && digit(Some(at + 1)));
    (!(0..bytes.len()).any(misplaced)).then(|| text.replace('_', ""))
}

/// A whole number of this range.
pub(super) fn whole<T: TryFrom<i64>>(least: i64, most: i64) -> impl Fn(&str) -> Result<T, FaultKind> {
    move |text| {
        let number = int(text).filter(|number| (least..=most).contains(number));
        let number = number.and_then(|number| T::try_from(number).ok());
        number.ok_or_else(|| {
            let range = if most == i64::MAX {
                format!("of at least {least}")
            } else {
                format!("from {least} to {most}")
            };
            FaultKind::Whole { range, value: text.to_owned() }
        })
    }
}

pub(super) fn retries(text: &str) -> Result<Retries, FaultKind> {
    match int(text).map(u32::try_from) {
        Some(Ok(times)) => Ok(Retries::Times(times)),
        Some(Err(_)) if int(text) == Some(-1) => Ok(Retries::Forever),
        _ => Err(FaultKind::Whole {
            range: "of at least 0, or -1 for no end of tries".into(),
            value: text.to_owned(),
        }),
    }
}

/// Nobody waits for longer.
const YEAR: f64 = 31_536_000.0;

/// A wait that may be none.
pub(super) fn wait(text: &str) -> Result<Duration, FaultKind> {
    let seconds = float(text).filter(|seconds| (0.0..=YEAR).contains(seconds));
    let wait = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    wait.ok_or_else(|| FaultKind::Number { range: "of seconds, from 0 to 31536000", value: text.to_owned() })
}

/// A time that something may take.
pub(super) fn limit(text: &str) -> Result<Duration, FaultKind> {
    wait(text).ok().filter(|limit| !limit.is_zero()).ok_or_else(|| FaultKind::Number {
        range: "of seconds, above 0 and up to 31536000",
        value: text.to_owned(),
    })
}

/// How long brokers are waited for; librdkafka takes no more.
pub(super) fn patience(text: &str) -> Result<Duration, FaultKind> {
    wait(text)
        .ok()
        .filter(|time| (100..=900_000).contains(&time.as_millis()))
        .ok_or_else(|| FaultKind::Number { range: "of seconds, from 0.1 to 900", value: text.to_owned() })
}

pub(super) fn seconds(text: &str) -> Result<Duration, FaultKind> {
    whole(1, 31_536_000)(text).map(Duration::from_secs)
}

pub(super) fn factor(text: &str) -> Result<f64, FaultKind> {
    float(text)
        .filter(|factor| (f64::MIN_POSITIVE..=1e6).contains(factor))
        .ok_or_else(|| FaultKind::Number { range: "above 0 and up to 1000000", value: text.to_owned() })
}

pub(super) fn flag(text: &str) -> Result<bool, FaultKind> {
    match text.trim().to_lowercase().as_str() {
        "1" | "yes" | "true" | "on" => Ok(true),
        "0" | "no" | "false" | "off" => Ok(false),
        _ => Err(FaultKind::Flag(text.to_owned())),
    }
}

/// The names that Python's `logging` has.
pub(super) fn log_level(text: &str) -> Result<LogLevel, FaultKind> {
    match text.trim().to_lowercase().as_str() {
        "critical" | "fatal" => Ok(LogLevel::Critical),
        "error" => Ok(LogLevel::Error),
        "warning" | "warn" => Ok(LogLevel::Warning),
        "info" => Ok(LogLevel::Info),
        "debug" | "notset" => Ok(LogLevel::Debug),
        _ => Err(word("`debug`, `info`, `warning`, `error` or `critical`", text)),
    }
}

pub(super) fn protocol(text: &str) -> Result<Protocol, FaultKind> {
    match text.trim() {
        "tcp" => Ok(Protocol::Tcp),
        "udp" => Ok(Protocol::Udp),
        "pickle" => Ok(Protocol::Pickle),
        _ => Err(word("`tcp`, `udp` or `pickle`", text)),
    }
}

pub(super) fn only_udp(text: &str) -> Result<(), FaultKind> {
    if text.trim() == "udp" { Ok(()) } else { Err(word("`udp`", text)) }
}

fn word(expected: &'static str, value: &str) -> FaultKind {
    FaultKind::Word { expected, value: value.to_owned() }
}

/// A path that is relative to where the program was started is left so, as haproxystats does.
pub(super) fn path(text: &str) -> Result<PathBuf, FaultKind> {
    match text.trim() {
        "" => Err(FaultKind::Empty),
        path if path.contains('\0') => Err(FaultKind::Nul),
        path => Ok(PathBuf::from(path)),
    }
}

/// `tcp://HOST:PORT` and `unix:///PATH`, separated by commas.
pub(super) fn servers(text: &str) -> Result<Vec<Endpoint>, FaultKind> {
    if text.trim().is_empty() {
        return Err(FaultKind::Empty);
    }
    text.split(',').map(|server| endpoint(server.trim())).collect()
}

/// haproxystats takes `unix:/path` and a slash behind a port as well.
fn endpoint(server: &str) -> Result<Endpoint, FaultKind> {
    if server.is_empty() {
        return Err(FaultKind::EmptyItem);
    }
    let parsed = match (server.strip_prefix("unix:/"), server.strip_prefix("tcp://")) {
        (Some(path), _) if !path.starts_with('/') => format!("/{path}").parse(),
        (_, Some(authority)) => Endpoint::tcp(authority.trim_end_matches('/')),
        _ => server.parse(),
    };
    parsed.map_err(|error| FaultKind::Server { server: server.to_owned(), error })
}

/// A name or an address; one of IPv6 may be in brackets.
pub(super) fn host(text: &str) -> Result<String, FaultKind> {
    let text = text.trim();
    let authority = if text.contains(':') && !text.starts_with('[') {
        format!("[{text}]:1")
    } else {
        format!("{text}:1")
    };
    match Endpoint::tcp(&authority) {
        _ if text.is_empty() => Err(FaultKind::Empty),
        Ok(Endpoint::Tcp { host, .. }) => Ok(host),
        _ => Err(FaultKind::Host(text.to_owned())),
    }
}

/// Kafka's `HOST:PORT`, separated by commas.
pub(super) fn brokers(text: &str) -> Result<Vec<String>, FaultKind> {
    if text.trim().is_empty() {
        return Err(FaultKind::Empty);
    }
    text.split(',').map(|broker| self::broker(broker.trim())).collect()
}

fn broker(broker: &str) -> Result<String, FaultKind> {
    if broker.is_empty() {
        return Err(FaultKind::EmptyItem);
    }
    match Endpoint::tcp(broker) {
        Ok(_) => Ok(broker.to_owned()),
        Err(error) => Err(FaultKind::Server { server: broker.to_owned(), error }),
    }
}

/// The name of a cluster, which is also a file's.
pub(super) fn cluster(text: &str) -> Result<String, FaultKind> {
    // Behind a machine's name, it is a part of a file's name.
    plain(text).and_then(|name| if name.len() <= 100 { Ok(name) } else { Err(FaultKind::Plain(name)) })
}

/// What Kafka takes for the name of a topic; as a file's name and in a path, it means nothing else.
pub(super) fn plain(text: &str) -> Result<String, FaultKind> {
    let usual = |c: char| c.is_ascii_alphanumeric() || ['.', '-', '_'].contains(&c);
    match text.trim() {
        "" => Err(FaultKind::Empty),
        name if name.len() <= 249 && name.chars().all(usual) && !name.starts_with('.') => Ok(name.to_owned()),
        name => Err(FaultKind::Plain(name.to_owned())),
    }
}

/// Text of a line.
pub(super) fn text(text: &str) -> Result<String, FaultKind> {
    match text.trim() {
        "" => Err(FaultKind::Empty),
        text if text.contains('\0') => Err(FaultKind::Nul),
        text => Ok(text.to_owned()),
    }
}

pub(super) fn compression(text: &str) -> Result<Compression, FaultKind> {
    match text.trim() {
        "none" => Ok(Compression::None),
        "gzip" => Ok(Compression::Gzip),
        "snappy" => Ok(Compression::Snappy),
        "lz4" => Ok(Compression::Lz4),
        _ => Err(word("`none`, `gzip`, `snappy` or `lz4`", text)),
    }
}

/// A part of a metric's path, or several with dots between them.
pub(super) fn name(text: &str) -> Result<String, FaultKind> {
    let bad = |c: char| c.is_whitespace() || c.is_control() || c == ';';
    match text.trim() {
        "" => Err(FaultKind::Empty),
        name if name.contains(bad) || name.split('.').any(str::is_empty) => {
            Err(FaultKind::Name(name.to_owned()))
        }
        name => Ok(name.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_read_as_python_does_it() {
        for (text, number) in [
            ("1_000", Some(1000)),
            ("+5", Some(5)),
            ("-1", Some(-1)),
            ("007", Some(7)),
            (" 8 ", Some(8)),
            ("-0", Some(0)),
            ("99999999999999999999", Some(i64::MAX)),
            ("1__0", None),
            ("_1", None),
            ("1_", None),
            ("+_1", None),
            ("+-1", None),
            ("1.0", None),
            ("0x10", None),
            ("1e3", None),
            ("", None),
            ("+", None),
        ] {
            assert_eq!(int(text), number, "{text:?}");
        }
        for (text, number) in [
            ("1_0.5", Some(10.5)),
            (".5", Some(0.5)),
            ("5.", Some(5.0)),
            ("+1e-1", Some(0.1)),
            ("1_.5", None),
            ("1e_3", None),
            ("nan", None),
            ("-inf", None),
            ("infinity", None),
            ("1e999", None),
            ("1,5", None),
            ("1s", None),
            ("", None),
        ] {
            assert_eq!(float(text), number, "{text:?}");
        }
        assert_eq!(retries("-1"), Ok(Retries::Forever));
        assert_eq!(retries("0"), Ok(Retries::Times(0)));
        assert!(retries("-2").is_err() && retries("4294967296").is_err() && retries("x").is_err());
    }

    #[test]
    fn truth_values_are_pythons() {
        for (text, value) in
            [("1", true), ("Yes", true), ("TRUE", true), ("on", true), ("0", false), ("off", false)]
        {
            assert_eq!(flag(text), Ok(value), "{text:?}");
        }
        assert!(["", "y", "t", "2", "true x"].iter().all(|text| flag(text).is_err()));
    }

    #[test]
    fn servers_are_what_haproxystats_takes() {
        let read =
            |text: &str| servers(text).unwrap().iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        assert_eq!(
            read("tcp://h:1 , tcp://[::1]:2,\nunix:///run/a"),
            "tcp://h:1 tcp://[::1]:2 unix:///run/a"
        );
        assert_eq!(read("unix:/run/a,tcp://h:1/,/run/b"), "unix:///run/a tcp://h:1 unix:///run/b");
        assert_eq!(servers(" "), Err(FaultKind::Empty));
        assert_eq!(servers("/a,"), Err(FaultKind::EmptyItem));
        for server in ["http://h:1", "tcp://h", "tcp://h:0", "unix://run/a", "h:1"] {
            assert!(matches!(servers(server), Err(FaultKind::Server { .. })), "{server:?}");
        }
    }

    #[test]
    fn hosts_are_names_and_addresses() {
        for (text, read) in [("graphite.example", "graphite.example"), ("::1", "::1"), ("[::1]", "::1")] {
            assert_eq!(host(text), Ok(read.into()));
        }
        for text in ["", "a b", "h:1", "http://h", "[::1]:2", "[h]"] {
            assert!(host(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn names_do_not_break_a_line() {
        assert_eq!(name("a.b-c_d"), Ok("a.b-c_d".into()));
        for text in ["", "a b", "a\nb", ".a", "a.", "a..b", "a;b=c"] {
            assert!(name(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn brokers_topics_and_clusters_are_what_kafka_takes() {
        assert_eq!(brokers("a:1 , [::1]:9092"), Ok(vec!["a:1".into(), "[::1]:9092".into()]));
        assert_eq!((brokers(" "), brokers("a:1,")), (Err(FaultKind::Empty), Err(FaultKind::EmptyItem)));
        for text in ["a", "a:x", "http://a:1", "/a"] {
            assert!(matches!(brokers(text), Err(FaultKind::Server { .. })), "{text:?}");
        }
        assert_eq!(plain("edge-1.a_B"), Ok("edge-1.a_B".into()));
        for text in ["", "..", "a/b", "a b", "ü", &"x".repeat(250)] {
            assert!(plain(text).is_err(), "{text:?}");
        }
        assert!(compression("lz4").is_ok() && compression("zip").is_err() && text("\0").is_err());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in any::<String>(), signs in "[0-9_+.e:/\\[\\],a-]{0,20}") {
            for text in [text, signs] {
                let _ = (whole::<u16>(1, 9)(&text), retries(&text), wait(&text), factor(&text));
                let _ = (brokers(&text), plain(&text), compression(&text));
                let _ = (servers(&text), host(&text), name(&text), path(&text), log_level(&text));
            }
        }
    }
}
