//! A snapshot of which is known what haproxystats made of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::{Files, names};

/// By names of series.
pub(crate) type Values = BTreeMap<String, f64>;

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/haproxystats")
}

/// Where its files are; its name is when it was taken.
pub(crate) fn directory() -> PathBuf {
    data().join("1457298067")
}

pub(crate) fn files() -> Files {
    let read = |name: String| (name.clone(), fs::read(directory().join(name)).unwrap());
    names(&directory()).into_iter().map(read).collect()
}

/// What haproxystats made of it, as if it had been on this host: by paths, as Graphite has them.
pub(crate) fn expected(host: &str) -> Values {
    let text = fs::read_to_string(data().join("default.expected")).unwrap();
    let points = text.lines().map(|line| {
        let [path, value, _time] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
        let path = path.replacen(".lb-01_example_com.", &format!(".{}.", host.replace('.', "_")), 1);
        (path, value.parse::<f64>().unwrap())
    });
    let expected = without_clocks(points.filter(|(_, value)| !value.is_nan()).collect());
    assert!(expected.len() > 500);
    expected
}

/// Without what no two readings have in common.
pub(crate) fn without_clocks(values: Values) -> Values {
    values.into_iter().filter(|(name, _)| !name.contains("WallClockTime")).collect()
}

/// The same by the names that series have with tags, which `join` makes of a name and its tags.
pub(crate) fn expected_with_tags(host: &str, join: impl Fn(&str, &[(&str, String)]) -> String) -> Values {
    let (all, prefix) = (dotted(), format!("loadbalancers.{}.haproxy.", host.replace('.', "_")));
    let dotted = |name: &str| all[name].clone();
    let named = |(path, value): (String, f64)| {
        let parts: Vec<&str> = path.strip_prefix(&prefix).unwrap().split('.').collect();
        let (kind, mut tags, metric) = match parts[..] {
            ["backend", backend, "server", server, metric] => {
                ("backend.server", vec![("backend", dotted(backend)), ("server", dotted(server))], metric)
            }
            [kind @ ("frontend" | "backend"), name, metric] => (kind, vec![(kind, dotted(name))], metric),
            [kind @ ("daemon" | "haproxystats"), metric] => (kind, vec![], metric),
            _ => panic!("{path}"),
        };
        tags.insert(0, ("host", host.to_owned()));
        (join(&format!("loadbalancers.haproxy.{kind}.{metric}"), &tags), value)
    };
    expected(host).into_iter().map(named).collect()
}

/// The names of frontends, backends and servers, by what they are in a path.
fn dotted() -> BTreeMap<String, String> {
    let files = files();
    let stats = files.iter().filter(|(name, _)| name.ends_with("_stat"));
    let rows = stats.flat_map(|(_, bytes)| std::str::from_utf8(bytes).unwrap().lines());
    let names = rows.flat_map(|row| row.split(',').take(2));
    names.map(|name| (name.replace('.', "_"), name.to_owned())).collect()
}

/// As carbon keeps it: tags sorted by their names.
pub(crate) fn graphite_name(name: &str, tags: &[(&str, String)]) -> String {
    let mut tags: Vec<String> = tags.iter().map(|(tag, value)| format!(";{tag}={value}")).collect();
    tags.sort();
    name.to_owned() + &tags.concat()
}

/// As statsd keeps it: the first colon of each tag is where its value begins.
pub(crate) fn statsd_name(name: &str, tags: &[(&str, String)]) -> String {
    tags.iter().fold(name.to_owned(), |name, (tag, value)| format!("{name};{tag}={value}"))
}
