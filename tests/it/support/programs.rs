//! Programs that tests have run. Another process writes them, for a reason that is told in `played`.

use std::path::Path;
use std::process::Command;

#[path = "../../../src/exec/played.rs"]
mod played;

pub(crate) use played::write_script;

/// Copies a program to where it is to be run.
pub(crate) fn copy_program(from: &Path, to: &Path) {
    let status = Command::new("install").args(["-m", "755"]).args([from, to]).status().unwrap();
    assert!(status.success(), "{}", to.display());
}
