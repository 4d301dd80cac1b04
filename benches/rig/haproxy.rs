//! A real HAProxy in a directory of its own, reached through its admin socket only.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::Outcome;

/// Ends with its owner.
#[derive(Debug)]
pub(crate) struct Haproxy {
    process: Child,
    directory: TempDir,
}

/// What a bench's HAProxy has in common with the others.
const PREAMBLE: &str = "defaults\n mode http\n timeout connect 1s\n timeout client 5s\n timeout server 5s\n";

impl Haproxy {
    /// Starts one whose configuration ends with `sections`, in which `DIR` stands for its directory, and waits
    /// until it answers.
    pub(crate) fn start(sections: &str) -> Outcome<Self> {
        Self::start_with(&[], sections)
    }

    /// The same, with further directories in its own.
    pub(crate) fn start_with(directories: &[&str], sections: &str) -> Outcome<Self> {
        let directory = tempfile::tempdir()?;
        let at = directory.path();
        for name in directories {
            fs::create_dir(at.join(name))?;
        }
        let configuration = at.join("haproxy.cfg");
        let sections = sections.replace("DIR", &at.display().to_string());
        let global = format!("global\n stats socket {}/admin.sock level admin\n", at.display());
        fs::write(&configuration, [&global, PREAMBLE, &sections].concat())?;
        let process = Command::new("haproxy")
            .args(["-db", "-q", "-f"])
            .arg(&configuration)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("haproxy: {error}"))?;
        let mut haproxy = Self { process, directory };
        haproxy.wait()?;
        Ok(haproxy)
    }

    fn wait(&mut self) -> Outcome<()> {
        let deadline = Instant::now() + Duration::from_secs(20);
        while ask(&self.socket(), "show info").is_err() {
            if let Some(status) = self.process.try_wait()? {
                let configuration = fs::read_to_string(self.directory().join("haproxy.cfg"))?;
                return Err(
                    format!("haproxy ended with {status}; its configuration:\n{configuration}").into()
                );
            }
            if Instant::now() >= deadline {
                return Err("haproxy does not answer".into());
            }
        }
        Ok(())
    }

    /// The admin socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.directory().join("admin.sock")
    }

    /// What `show stat` says of a server, as in `UP 1/2`.
    pub(crate) fn status(&self, server: &str) -> Outcome<String> {
        let reply = ask(&self.socket(), "show stat -1 4 -1")?;
        let mut rows = reply.lines().map(|line| line.split(','));
        let header: Vec<&str> = rows.next().ok_or("no header")?.collect();
        let column = |name| header.iter().position(|cell| *cell == name).ok_or("no such column");
        let (name, status) = (column("svname")?, column("status")?);
        let mut row = rows.find(|row| row.clone().nth(name) == Some(server)).ok_or("no such server")?;
        Ok(row.nth(status).unwrap_or_default().to_owned())
    }

    /// Goes with this HAProxy.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Connects, sends one line, reads to the end and closes: the least that any client must do.
pub(crate) fn ask(socket: &Path, command: &str) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.write_all(format!("{command}\n").as_bytes())?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply)?;
    Ok(reply)
}

/// As in `haproxy 2.6.12`.
pub(crate) fn version() -> Outcome<String> {
    let output = Command::new("haproxy").arg("-v").output().map_err(|error| format!("haproxy: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let words = text.split_whitespace();
    Ok(words.skip_while(|word| *word != "version").nth(1).unwrap_or("of an unknown version").to_owned())
}
