//! Small disks, which fill up soon.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A small file system, until it is dropped.
#[derive(Debug)]
pub(crate) struct Disk(PathBuf);

impl Disk {
    /// Mounts 1 MiB here, which anybody may write to.
    pub(crate) fn at(path: &Path) -> Self {
        let options = "size=1m,mode=1777";
        as_root(&["mount", "-t", "tmpfs", "-o", options, "tmpfs", path.to_str().unwrap()]);
        Self(path.to_owned())
    }

    /// Takes all of its space; gives the file that has it.
    pub(crate) fn fill(&self) -> PathBuf {
        let path = self.0.join("ballast");
        let full = io::copy(&mut io::repeat(0), &mut File::create(&path).unwrap()).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        path
    }

    /// Takes all but so many pages.
    pub(crate) fn fill_but(&self, pages: u64) -> PathBuf {
        let path = self.fill();
        let ballast = File::options().write(true).open(&path).unwrap();
        let taken = ballast.metadata().unwrap().len();
        ballast.set_len(taken.saturating_sub(pages * 4096)).unwrap();
        path
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        as_root(&["umount", "--lazy", self.0.to_str().unwrap()]);
    }
}

fn as_root(words: &[&str]) {
    let sudo: &[&str] = if nix::unistd::geteuid().is_root() { &[] } else { &["sudo", "-n"] };
    let words = [sudo, words].concat();
    let output = Command::new(words[0]).args(&words[1..]).output().unwrap();
    assert!(output.status.success(), "{words:?}, which only root may: {output:?}");
}
