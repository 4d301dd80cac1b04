//! Versions of the configuration: what is known of each, and which are let go.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::digest::Digest;

/// The whole configuration at one time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// From 1 on.
    pub number: u64,
    /// Seconds since the epoch.
    pub at: u64,
    /// Who made it.
    pub by: String,
    /// How it came about.
    pub what: What,
    /// In words, as in `added www.example.com`.
    pub note: String,
    /// All its files.
    pub files: Vec<Kept>,
}

/// How a version came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// It was there before a change, made by somebody else.
    Found,
    /// `config apply`.
    Apply,
    /// `config rollback`.
    Rollback,
    /// A change of routes.
    Routes,
}

impl What {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::Apply => "apply",
            Self::Rollback => "rollback",
            Self::Routes => "routes",
        }
    }
}

/// One file of a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Where it belongs.
    pub path: PathBuf,
    /// What it holds.
    pub digest: Digest,
    /// In bytes.
    pub size: u64,
    /// Its permissions.
    pub mode: u32,
}

impl Version {
    /// Whether another one has the same files with the same contents.
    #[must_use]
    pub fn is_same_as(&self, files: &[Kept]) -> bool {
        let contents = |files: &[Kept]| -> BTreeSet<(PathBuf, Digest)> {
            files.iter().map(|file| (file.path.clone(), file.digest.clone())).collect()
        };
        contents(&self.files) == contents(files)
    }

    /// One digest for all its files.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut files: Vec<&Kept> = self.files.iter().collect();
        files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        let text: String =
            files.iter().map(|file| format!("{} {}\n", file.digest, file.path.display())).collect();
        Digest::of(text.as_bytes())
    }

    /// How many bytes its files have.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }
}

/// Which versions are let go, oldest first. Changes of routes are many, and must not push out those of the rest: of
/// each sort the newest `keep` stay.
pub(super) fn expendable(versions: &[Version], keep: usize) -> Vec<u64> {
    let is_of_routes = |version: &&Version| version.what == What::Routes;
    let (routes, others): (Vec<&Version>, Vec<&Version>) = versions.iter().partition(is_of_routes);
    let old = |mut sort: Vec<&Version>| {
        sort.sort_unstable_by_key(|version| std::cmp::Reverse(version.number));
        sort.into_iter().skip(keep).map(|version| version.number).collect::<Vec<_>>()
    };
    let mut numbers = [old(routes), old(others)].concat();
    numbers.sort_unstable();
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(number: u64, what: What) -> Version {
        Version { number, at: 0, by: String::new(), what, note: String::new(), files: Vec::new() }
    }

    #[test]
    fn of_each_sort_the_newest_stay() {
        let mut versions: Vec<Version> = (3..9).map(|number| version(number, What::Routes)).collect();
        versions.extend([version(1, What::Found), version(2, What::Apply), version(9, What::Rollback)]);
        assert_eq!(expendable(&versions, 2), [1, 3, 4, 5, 6]);
        assert_eq!(expendable(&versions, 20), Vec::<u64>::new());
    }

    #[test]
    fn versions_are_the_same_by_names_and_contents() {
        let kept = |path: &str, text: &str| Kept {
            path: path.into(),
            digest: Digest::of(text.as_bytes()),
            size: 1,
            mode: 0o644,
        };
        let mut one = version(1, What::Found);
        one.files = vec![kept("/a", "x"), kept("/b", "y")];
        assert!(one.is_same_as(&[kept("/b", "y"), kept("/a", "x")]));
        for other in [
            vec![kept("/a", "x")],
            vec![kept("/a", "x"), kept("/b", "z")],
            vec![kept("/a", "y"), kept("/b", "x")],
        ] {
            assert!(!one.is_same_as(&other));
            assert_ne!(one.digest(), Version { files: other, ..one.clone() }.digest());
        }
    }
}
