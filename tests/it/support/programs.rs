//! Programs that tests write and have run. Another process writes them: a child that another test starts meanwhile would
//! have the file open for writing until its exec, and nobody could run it (ETXTBSY, execve(2)).

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Writes a shell script.
pub(crate) fn write_script(path: &Path, text: &str) {
    let mut install = Command::new("install");
    let mut child =
        install.args(["-m", "755", "/dev/stdin"]).arg(path).stdin(Stdio::piped()).spawn().unwrap();
    write!(child.stdin.take().unwrap(), "#!/bin/sh\n{text}\n").unwrap();
    assert!(child.wait().unwrap().success(), "{}", path.display());
}

/// Copies a program to where it is to be run.
pub(crate) fn copy_program(from: &Path, to: &Path) {
    let status = Command::new("install").args(["-m", "755"]).args([from, to]).status().unwrap();
    assert!(status.success(), "{}", to.display());
}
