//! The table of routes, and the two files that hold it: backends for HAProxy, and the map from hosts to them.
//!
//! The files are the truth. They are read strictly: what is not exactly what is written here was changed by hand, and
//! is refused rather than overwritten.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use super::digest::Digest;
use super::route::{Host, Target};
use crate::haproxy::{Command, MapFile, Word};

/// The first lines of both files.
const HEADER: &str = "\
# Written by `supervisor-haproxy routes`, which refuses to work with this file when somebody else has changed it.
";

/// Which host is served by which target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes(BTreeMap<Host, Target>);

/// The text of both files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Texts {
    /// A backend for each target.
    pub backends: String,
    /// A line for each host.
    pub map: String,
}

/// Why two files are no table of routes.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RoutesError {
    /// Not what is written here.
    #[error("line {line} of the {file} is not what `routes` writes: `{}`; put it back (`config history`, `config rollback`), or move what is your own into another file", .text.escape_debug())]
    Foreign {
        /// `backends` or `map`.
        file: &'static str,
        /// From 1 on.
        line: usize,
        /// The line.
        text: String,
    },
    /// The map names a backend that is not there, or a backend is not used.
    #[error(
        "the map and the backends do not belong together: `{0}` is in one of them only; put both back (`config history`, `config rollback`)"
    )]
    Torn(String),
}

/// Why a route is not added or removed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RouteError {
    /// It goes elsewhere.
    #[error("`{0}` is routed to {1} already; pass --replace to route it anew")]
    Taken(Host, String),
    /// Nothing to remove.
    #[error("`{0}` is not routed; `supervisor-haproxy routes list` shows what is")]
    Missing(Host),
}

impl Routes {
    /// Reads both files.
    pub fn parse(texts: &Texts) -> Result<Self, RoutesError> {
        let targets = targets(&texts.backends);
        let pairs = texts.map.lines().filter_map(|line| line.split_once(' '));
        let known = pairs
            .filter_map(|(host, backend)| Some((host.parse::<Host>().ok()?, targets.get(backend)?.clone())));
        let routes = Self(known.collect());
        // Whatever was not understood is missing now.
        routes.compare(texts).map(|()| routes)
    }

    fn compare(&self, texts: &Texts) -> Result<(), RoutesError> {
        let expected = self.texts();
        if expected == *texts {
            return Ok(());
        }
        let names = |text: &str| backend_names(text).map(str::to_owned).collect::<Vec<_>>();
        let used: Vec<&str> = texts.map.lines().filter_map(|line| Some(line.split_once(' ')?.1)).collect();
        let defined = names(&texts.backends);
        let unused = defined.iter().find(|name| !used.contains(&name.as_str())).cloned();
        let is_ours = |name: &&str| name.starts_with("route:") && !defined.iter().any(|other| other == name);
        let torn = unused.or_else(|| used.into_iter().find(is_ours).map(str::to_owned));
        Err(torn.map_or_else(|| foreign(&expected, texts), RoutesError::Torn))
    }

    /// Both files.
    #[must_use]
    pub fn texts(&self) -> Texts {
        let mut targets: Vec<&Target> = self.0.values().collect();
        targets.sort_unstable();
        targets.dedup();
        let backends: String = targets.into_iter().map(backend).collect();
        let map: String =
            self.0.iter().map(|(host, target)| format!("{host} {}\n", target.backend())).collect();
        Texts { backends: format!("{HEADER}{backends}"), map: format!("{HEADER}{map}") }
    }

    /// What this table is known by: another one for another table, the same for the same.
    #[must_use]
    pub fn tag(&self) -> String {
        let Texts { backends, map } = self.texts();
        Digest::of(format!("{backends}\n{map}").as_bytes()).short().to_owned()
    }

    /// The hosts in their order, each with its target.
    pub fn iter(&self) -> impl Iterator<Item = (&Host, &Target)> {
        self.0.iter()
    }

    /// Where requests for a host go.
    #[must_use]
    pub fn get(&self, host: &Host) -> Option<&Target> {
        self.0.get(host)
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Adds a route; one that goes elsewhere only gives way if it may be replaced.
    pub fn add(&mut self, host: Host, target: Target, replace: bool) -> Result<(), RouteError> {
        match self.0.get(&host) {
            Some(other) if *other != target && !replace => {
                let check = other.check().map_or_else(String::new, |check| format!(" (check {check})"));
                Err(RouteError::Taken(host, format!("{other}{check}")))
            }
            _ => {
                self.0.insert(host, target);
                Ok(())
            }
        }
    }

    /// Takes a route away.
    pub fn remove(&mut self, host: &Host) -> Result<(), RouteError> {
        self.0.remove(host).map(|_| ()).ok_or_else(|| RouteError::Missing(host.clone()))
    }

    /// Whether a running map, as [`super::Running::map`] shows it, is this table.
    #[must_use]
    pub fn is_in_force(&self, shown: &[(String, String)]) -> bool {
        let mut shown: Vec<_> = shown.to_vec();
        shown.sort_unstable();
        let wanted = self.0.iter().map(|(host, target)| (host.to_string(), target.backend()));
        shown.into_iter().eq(wanted)
    }

    /// The names of its backends.
    pub(super) fn backends(&self) -> BTreeSet<String> {
        self.0.values().map(Target::backend).collect()
    }
}

/// What makes the map of a running HAProxy the one of this file, command by command.
pub(super) fn sync(map: &MapFile, file: &str, shown: &[(String, String)]) -> Vec<Command> {
    let lines = file.lines().filter(|line| !line.starts_with('#'));
    let wanted: BTreeMap<&str, &str> = lines.filter_map(|line| line.split_once(' ')).collect();
    let mut commands = Vec::new();
    // What others have put there may be a word that no command may have; it stays, and is told of.
    let word = |text: &str| Word::new("map", text).ok();
    for (key, value) in shown {
        commands.extend(match (wanted.get(key.as_str()), word(key)) {
            (None, Some(key)) => Some(Command::DelMap(map.clone(), key)),
            (Some(other), Some(key)) if *other != value.as_str() => {
                word(other).map(|value| Command::SetMap(map.clone(), key, value))
            }
            _ => None,
        });
    }
    let is_missing = |key: &&str| !shown.iter().any(|(other, _)| other == key);
    let missing = wanted.iter().filter(|(key, _)| is_missing(key));
    commands.extend(
        missing.filter_map(|(key, value)| Some(Command::AddMap(map.clone(), word(key)?, word(value)?))),
    );
    commands
}

fn backend(target: &Target) -> String {
    let mut text = format!("\nbackend {}\n    mode http\n", target.backend());
    let check = target.check();
    text.extend(check.map(|path| format!("    option httpchk GET {path}\n")));
    let end = check.map_or("", |_| " check");
    text + &format!("    server app {}{end}\n", target.address())
}

fn backend_names(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| line.strip_prefix("backend "))
}

/// The targets of the backends, by the names of these; what is not understood is left out.
fn targets(text: &str) -> BTreeMap<String, Target> {
    let blocks = text.split("\nbackend ").skip(1);
    blocks.filter_map(target).map(|target| (target.backend(), target)).collect()
}

fn target(block: &str) -> Option<Target> {
    let option = |start: &str| block.lines().find_map(|line| line.strip_prefix(start));
    let address = option("    server app ")?.split(' ').next()?;
    let check = option("    option httpchk GET ").map(str::parse).transpose().ok()?;
    let (host, port) = address.rsplit_once(':')?;
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    Target::new(&format!("http://{host}:{port}"), check).ok()
}

/// The first line that differs.
fn foreign(expected: &Texts, found: &Texts) -> RoutesError {
    let (file, expected, found) = if expected.backends == found.backends {
        ("map", &expected.map, &found.map)
    } else {
        ("backends", &expected.backends, &found.backends)
    };
    let mut lines = expected.split('\n').map(Some).chain(std::iter::repeat(None));
    let differs = found.split('\n').enumerate().find(|(_, line)| lines.next().flatten() != Some(line));
    let (at, text) = differs.unwrap_or((found.split('\n').count(), ""));
    RoutesError::Foreign { file, line: at + 1, text: text.chars().take(200).collect() }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    fn routes(list: &[(&str, &str, Option<&str>)]) -> Routes {
        let mut routes = Routes::default();
        for (host, url, check) in list {
            let check = check.map(|path| path.parse().unwrap());
            routes.add(host.parse().unwrap(), Target::new(url, check).unwrap(), false).unwrap();
        }
        routes
    }

    #[test]
    fn the_files_are_these() {
        let routes = routes(&[
            ("www.example.com", "http://10.0.0.1:8080", Some("/health")),
            ("example.com", "http://10.0.0.1:8080", Some("/health")),
            ("v6.example.com", "http://[::1]:81", None),
        ]);
        let Texts { backends, map } = routes.texts();
        let digits = &Digest::of(b"/health").to_string()[..8];
        assert_eq!(
            backends,
            format!(
                "{HEADER}
backend route:10.0.0.1:8080:{digits}
    mode http
    option httpchk GET /health
    server app 10.0.0.1:8080 check

backend route:::1:81
    mode http
    server app ::1:81
"
            )
        );
        assert_eq!(
            map,
            format!(
                "{HEADER}\
                 example.com route:10.0.0.1:8080:{digits}\n\
                 v6.example.com route:::1:81\n\
                 www.example.com route:10.0.0.1:8080:{digits}\n"
            )
        );
    }

    #[test]
    fn what_was_changed_by_hand_is_named_and_refused() {
        let Texts { backends, map } = routes(&[("a", "http://b:1", None)]).texts();
        let read = |backends: &str, map: &str| {
            Routes::parse(&Texts { backends: backends.into(), map: map.into() }).unwrap_err().to_string()
        };
        let with_option = backends.replace("    server", "    timeout server 5s\n    server");
        assert!(
            read(&with_option, &map)
                .starts_with("line 5 of the backends is not what `routes` writes: `    timeout")
        );
        assert!(read(&backends, &map.replace("a ", "A ")).starts_with("line 2 of the map"));
        assert!(read(&backends, &format!("{map}c d\n")).starts_with("line 3 of the map"));
        assert!(read(&backends, "").contains("`route:b:1` is in one of them only"));
        assert!(read(HEADER, &map).contains("`route:b:1` is in one of them only"));
        assert!(read("", &map).contains("is in one of them only"));
    }

    #[test]
    fn a_route_gives_way_only_when_it_may() {
        let mut table = routes(&[("a", "http://b:1", None)]);
        let (host, same): (Host, _) = ("A".parse().unwrap(), Target::new("http://b:1/", None).unwrap());
        let other = Target::new("http://b:2", None).unwrap();
        let tag = table.tag();
        table.add(host.clone(), same, false).unwrap();
        assert_eq!(table.tag(), tag, "the same again is no change");
        let error = table.add(host.clone(), other.clone(), false).unwrap_err().to_string();
        assert_eq!(error, "`a` is routed to http://b:1 already; pass --replace to route it anew");
        table.add(host.clone(), other, true).unwrap();
        assert_ne!(table.tag(), tag);
        table.remove(&host).unwrap();
        assert_eq!(table.remove(&host), Err(RouteError::Missing(host)));
        assert_eq!(table, Routes::default());
    }

    #[test]
    fn a_running_map_is_led_to_the_table_and_only_where_it_differs() {
        let table =
            routes(&[("a", "http://x:1", None), ("b", "http://x:1", None), ("c", "http://x:2", None)]);
        let map = MapFile::new(Path::new("/m")).unwrap();
        let shown = |pairs: &[(&str, &str)]| {
            let pairs: Vec<_> = pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
            sync(&map, &table.texts().map, &pairs).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let whole = [("a", "route:x:1"), ("b", "route:x:1"), ("c", "route:x:2")];
        assert_eq!(shown(&whole), Vec::<String>::new());
        assert_eq!(
            shown(&[("a", "route:x:1"), ("c", "route:x:1"), ("d", "route:x:1")]),
            ["set map /m c route:x:2", "del map /m d", "add map /m b route:x:1"]
        );
    }

    fn text() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<String>(),
            "[a-z0-9.:*_ #;\\\\\"'$%\n\r\t-]{0,20}",
            "[a-z]{1,5}(\\.[a-z]{1,5}){0,2}",
            "http://[a-z0-9.-]{1,8}(:[0-9]{1,5})?[ -~\n]{0,4}",
            "/[ -~\n]{0,10}",
        ]
    }

    proptest! {
        /// Whatever is accepted, each line is one of these shapes, and there are as many of each as there must be.
        #[test]
        fn no_text_smuggles_in_a_directive(which in 0..3, good in accepted(), text in text()) {
            let (host, url, check) = good;
            let (host, url, check) = match which {
                0 => (text, url, check),
                1 => (host, text, check),
                _ => (host, url, Some(text)),
            };
            let Ok(host) = host.parse::<Host>() else { return Ok(()) };
            let check = check.map(|path| path.parse()).transpose();
            let Ok(Ok(target)) = check.map(|check| Target::new(&url, check)) else { return Ok(()) };
            let mut table = Routes::default();
            table.add(host, target, false).unwrap();
            shaped(&table.texts())?;
        }

        #[test]
        fn what_was_written_is_read(list in prop::collection::vec(accepted(), 0..8)) {
            let mut table = Routes::default();
            for (host, url, check) in list {
                let check = check.map(|path| path.parse().unwrap());
                let _ = table.add(host.parse().unwrap(), Target::new(&url, check).unwrap(), true);
            }
            shaped(&table.texts())?;
            prop_assert_eq!(Routes::parse(&table.texts()), Ok(table));
        }
    }

    fn accepted() -> impl Strategy<Value = (String, String, Option<String>)> {
        let url = "http://([a-z0-9]{1,3}(\\.[a-z0-9]{1,3}){0,2}[g-w]|\\[::[1-9]\\])(:[1-9][0-9]{0,3})?/?";
        ("[a-zA-Z0-9]{1,4}(\\.[a-z0-9_]{1,4}){0,2}", url, prop::option::of("/[a-zA-Z0-9/._~?=&+,:@-]{0,9}"))
    }

    fn shaped(texts: &Texts) -> Result<(), TestCaseError> {
        let shape = |pattern: &str| regex::Regex::new(&format!("^(?:{pattern})$")).unwrap();
        let backends = shape(
            "|backend route:[a-z0-9._:-]+|    mode http|    option httpchk GET /[!-~]*|    server app [a-z0-9._:-]+:[0-9]+( check)?",
        );
        let map = shape("[a-z0-9._-]+ route:[a-z0-9._:-]+");
        let lines = |text: &str| {
            text.strip_prefix(HEADER).unwrap().split('\n').map(str::to_owned).collect::<Vec<_>>()
        };
        let (backend_lines, mut map_lines) = (lines(&texts.backends), lines(&texts.map));
        prop_assert_eq!(map_lines.pop().unwrap(), "");
        for line in &backend_lines {
            prop_assert!(backends.is_match(line), "{:?}", line);
        }
        for line in &map_lines {
            prop_assert!(map.is_match(line), "{:?}", line);
        }
        let count = |start: &str| backend_lines.iter().filter(|line| line.starts_with(start)).count();
        let names: std::collections::BTreeSet<&str> =
            map_lines.iter().map(|line| line.split_once(' ').unwrap().1).collect();
        prop_assert_eq!((count("backend "), count("    server ")), (names.len(), names.len()));
        Ok(())
    }
}
