//! A real supervisord in a directory of its own, and its XML-RPC.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::Outcome;

/// Ends with its owner, and its programs with it.
#[derive(Debug)]
pub(crate) struct Supervisord {
    process: Child,
    directory: TempDir,
}

const CONFIGURATION: &str = "supervisord.conf";

/// What every configuration begins with; `DIR` stands for the directory.
const PREAMBLE: &str = "\
[supervisord]
nodaemon=true
logfile=DIR/supervisord.log
pidfile=DIR/supervisord.pid
childlogdir=DIR
[unix_http_server]
file=DIR/supervisor.sock
[supervisorctl]
serverurl=unix://DIR/supervisor.sock
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
";

impl Supervisord {
    /// Starts one whose configuration ends with `sections`, in which `DIR` stands for its directory.
    pub(crate) fn start(sections: &str) -> Outcome<Self> {
        let directory = tempfile::tempdir()?;
        let configuration = directory.path().join(CONFIGURATION);
        let text = [PREAMBLE, sections].concat().replace("DIR", &directory.path().display().to_string());
        fs::write(&configuration, text)?;
        let process = Command::new("supervisord")
            .arg("-c")
            .arg(&configuration)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("supervisord: {error}"))?;
        Ok(Self { process, directory })
    }

    /// Goes with this supervisord.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The file that `supervisorctl -c` takes.
    pub(crate) fn configuration(&self) -> PathBuf {
        self.directory().join(CONFIGURATION)
    }

    /// Calls a method with one name and one flag, as `startProcess` and `stopProcess` have them.
    pub(crate) fn call(&self, method: &str, name: &str, wait: bool) -> Outcome<()> {
        let body = format!(
            "<?xml version='1.0'?><methodCall><methodName>supervisor.{method}</methodName><params>\
             <param><value><string>{name}</string></value></param>\
             <param><value><boolean>{}</boolean></value></param></params></methodCall>",
            u8::from(wait)
        );
        let mut stream = UnixStream::connect(self.socket())?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        let length = body.len();
        let head =
            format!("POST /RPC2 HTTP/1.0\r\nContent-Type: text/xml\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all([head, body].concat().as_bytes())?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply)?;
        if reply.contains("<boolean>1</boolean>") { Ok(()) } else { Err(format!("{method}: {reply}").into()) }
    }

    fn socket(&self) -> PathBuf {
        self.directory().join("supervisor.sock")
    }
}

impl Drop for Supervisord {
    /// Asks it to end, for its programs end only with it; it is killed if it does not within some seconds.
    fn drop(&mut self) {
        if let Ok(pid) = i32::try_from(self.process.id()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        let deadline = Instant::now() + Duration::from_secs(15);
        while matches!(self.process.try_wait(), Ok(None)) {
            if Instant::now() >= deadline {
                let _ = self.process.kill();
            }
            super::pause(Duration::from_millis(20));
        }
    }
}

/// As in `4.2.5`.
pub(crate) fn version() -> Outcome<String> {
    let output = Command::new("supervisord").arg("-v").output();
    let output = output.map_err(|error| format!("supervisord: {error}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
