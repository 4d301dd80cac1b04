//! Whom `pull` asks, and what the files of each are called.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::capture::Source;
use crate::net::Endpoint;

/// A directory of sockets that cannot be listed.
#[derive(Debug, Error)]
#[error("the sockets in `{}` cannot be listed: {source}", path.display())]
pub struct SourcesError {
    /// The directory.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// All unix sockets of a directory, and the further servers. haproxystats' names: that of the socket's file, or
/// `HOST:PORT`; where two would have the same one, a file's name is its whole path with underscores for slashes.
pub fn sources(directory: Option<&Path>, servers: &[Endpoint]) -> Result<Vec<Source>, SourcesError> {
    let mut endpoints = directory.map_or(Ok(Vec::new()), sockets)?;
    for server in servers {
        if !endpoints.contains(server) {
            endpoints.push(server.clone());
        }
    }
    let mut counts = BTreeMap::new();
    for endpoint in &endpoints {
        *counts.entry(short_name(endpoint)).or_insert(0) += 1;
    }
    let name = |endpoint: &Endpoint| match counts.get(&short_name(endpoint)) {
        Some(1) => short_name(endpoint),
        _ => long_name(endpoint),
    };
    Ok(endpoints.iter().map(|endpoint| Source { name: name(endpoint), endpoint: endpoint.clone() }).collect())
}

fn sockets(directory: &Path) -> Result<Vec<Endpoint>, SourcesError> {
    let error = |source| SourcesError { path: directory.to_owned(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(error)? {
        let path = entry.map_err(error)?.path();
        // As haproxystats does, a link to a socket is followed; what is gone by now is none.
        if fs::metadata(&path).is_ok_and(|data| data.file_type().is_socket()) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found.into_iter().map(Endpoint::Unix).collect())
}

fn short_name(endpoint: &Endpoint) -> String {
    match endpoint {
        Endpoint::Unix(path) => shown(&path.file_name().unwrap_or_default().to_string_lossy()),
        Endpoint::Tcp { .. } => long_name(endpoint),
    }
}

fn long_name(endpoint: &Endpoint) -> String {
    match endpoint {
        Endpoint::Unix(path) => shown(path.to_string_lossy().trim_start_matches('/')),
        Endpoint::Tcp { .. } => shown(endpoint.to_string().trim_start_matches("tcp://")),
    }
}

/// As the name of a file that is no hidden one: those are not a snapshot's.
fn shown(name: &str) -> String {
    let name = name.replace('/', "_");
    if name.starts_with('.') { format!("_{name}") } else { name }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    fn names(directory: Option<&Path>, servers: &[&str]) -> Vec<String> {
        let servers: Vec<Endpoint> = servers.iter().map(|server| server.parse().unwrap()).collect();
        sources(directory, &servers).unwrap().into_iter().map(|source| source.name).collect()
    }

    #[test]
    fn files_are_named_as_haproxystats_names_them() {
        assert_eq!(
            names(None, &["unix:///run/haproxy/admin1.sock", "tcp://lb:5555", "tcp://[::1]:5555"]),
            ["admin1.sock", "lb:5555", "[::1]:5555"]
        );
    }

    #[test]
    fn two_of_one_name_are_told_apart() {
        assert_eq!(
            names(None, &["/run/a/admin.sock", "/run/b/admin.sock", "/run/c/.admin"]),
            ["run_a_admin.sock", "run_b_admin.sock", "_.admin"]
        );
    }

    #[test]
    fn a_directory_gives_its_sockets_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let _listeners = ["b.sock", "a.sock"].map(|name| UnixListener::bind(path(name)).unwrap());
        fs::write(path("haproxy.pid"), "7").unwrap();
        fs::create_dir(path("old")).unwrap();
        std::os::unix::fs::symlink(path("nobody"), path("dangling")).unwrap();
        let twice = path("a.sock");
        assert_eq!(
            names(Some(directory.path()), &[twice.to_str().unwrap(), "tcp://lb:1"]),
            ["a.sock", "b.sock", "lb:1"]
        );
        let error = sources(Some(&path("none")), &[]).unwrap_err().to_string();
        assert!(error.contains("none` cannot be listed: No such file"), "{error}");
    }
}
