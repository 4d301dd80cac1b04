//! Where `serve` keeps the history, and `history` looks for it, unless somebody says otherwise.

use std::path::{Path, PathBuf};

/// Where services have theirs.
const SYSTEM: &str = "/var/lib/supervisor-haproxy";
const OWN: &str = "supervisor-haproxy";
const NAME: &str = "history.sqlite";

/// Where this user's `serve` keeps it; none for a user who has no place for such things.
pub(super) fn own(variable: &dyn Fn(&str) -> Option<String>, is_root: bool) -> Option<PathBuf> {
    // systemd.exec(5): several are separated by colons.
    let service = variable("STATE_DIRECTORY");
    let service = service.as_deref().and_then(|paths| paths.split(':').next()).map(PathBuf::from);
    let system = || is_root.then(|| PathBuf::from(SYSTEM));
    // XDG Base Directory Specification: what is not absolute does not count.
    let state = || variable("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || variable("HOME").map(|home| Path::new(&home).join(".local/state"));
    let users = || state().or_else(home).map(|path| path.join(OWN));
    service.or_else(system).or_else(users).map(|directory| directory.join(NAME))
}

/// Where it may be, the likeliest first.
pub(super) fn all(variable: &dyn Fn(&str) -> Option<String>, is_root: bool) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = own(variable, is_root).into_iter().collect();
    let system = Path::new(SYSTEM).join(NAME);
    if !all.contains(&system) {
        all.push(system);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own_of(variables: &[(&str, &str)], is_root: bool) -> Option<String> {
        let variable = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        own(&variable, is_root).map(|path| path.display().to_string())
    }

    #[test]
    fn each_user_has_a_place_of_its_own() {
        let home = ("HOME", "/home/me");
        let system = "/var/lib/supervisor-haproxy/history.sqlite";
        for (variables, is_root, expected) in [
            (&[("STATE_DIRECTORY", "/var/lib/a:/var/lib/b"), home][..], true, "/var/lib/a/history.sqlite"),
            (&[home], true, system),
            (&[home], false, "/home/me/.local/state/supervisor-haproxy/history.sqlite"),
            (&[("XDG_STATE_HOME", "/s"), home], false, "/s/supervisor-haproxy/history.sqlite"),
            (
                &[("XDG_STATE_HOME", "s"), home],
                false,
                "/home/me/.local/state/supervisor-haproxy/history.sqlite",
            ),
        ] {
            assert_eq!(own_of(variables, is_root).as_deref(), Some(expected), "{variables:?}");
        }
        assert_eq!(own_of(&[], false), None);
    }

    #[test]
    fn whoever_has_none_sees_that_of_the_service() {
        let paths = |is_root| all(&|name| (name == "HOME").then(|| "/h".into()), is_root);
        assert_eq!(paths(false).len(), 2);
        assert_eq!(paths(true), [Path::new("/var/lib/supervisor-haproxy/history.sqlite")]);
    }
}
