//! A HAProxy that does as it is told, for faults that a real one cannot be made to show.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::{eventually, for_a_while};

/// What the fake does with one connection.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Sends these bytes and closes.
    Reply(Vec<u8>),
    /// Sends these bytes and keeps the connection open for good.
    Hang(Vec<u8>),
    /// Closes with unread input, which resets the connection.
    Reset,
    /// Sends this many bytes and closes.
    Flood(usize),
}

#[derive(Debug, Default)]
struct Script {
    /// Acts for commands that begin with the text; the last act of a list goes on for ever.
    acts: Vec<(String, VecDeque<Act>)>,
    lines: Vec<String>,
    /// Reads that the lines took, to see that each came in one piece.
    reads: Vec<usize>,
    held: Vec<UnixStream>,
}

#[derive(Debug)]
pub(crate) struct FakeHaproxy {
    pub(crate) path: PathBuf,
    script: Arc<Mutex<Script>>,
}

impl FakeHaproxy {
    /// Takes setters in silence, and shows `app/a1` to `app/a3` in maint without checks.
    pub(crate) fn start(directory: &Path) -> Self {
        Self::start_slow(directory, Duration::ZERO)
    }

    /// Lets each connection wait in the kernel's queue before it is accepted.
    pub(crate) fn start_slow(directory: &Path, delay: Duration) -> Self {
        let path = directory.join("fake.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let script = Arc::new(Mutex::new(Script::default()));
        let fake = Self { path, script: Arc::clone(&script) };
        fake.on("set server", [Act::Reply(b"\n".to_vec())]);
        fake.on("show servers state", [Act::Reply(servers_state(1).into())]);
        fake.on("show info", [Act::Reply(survey("MAINT").into())]);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (script, stream) = (Arc::clone(&script), stream.unwrap());
                for_a_while(delay, || {});
                thread::spawn(move || serve(stream, &script));
            }
        });
        fake
    }

    /// Sets the acts for commands that begin with `command`.
    pub(crate) fn on(&self, command: &str, acts: impl IntoIterator<Item = Act>) {
        let mut script = self.script.lock().unwrap();
        script.acts.retain(|(known, _)| known != command);
        script.acts.push((command.to_owned(), acts.into_iter().collect()));
        // The longest beginning wins.
        script.acts.sort_by_key(|(known, _)| std::cmp::Reverse(known.len()));
    }

    /// The commands that changed something, so far.
    pub(crate) fn setters(&self) -> Vec<String> {
        let script = self.script.lock().unwrap();
        script.lines.iter().filter(|line| line.starts_with("set ")).cloned().collect()
    }

    /// Waits until as many commands as these have changed something: they are to be these. An event may be answered
    /// before, where the machine is busy.
    #[track_caller]
    pub(crate) fn expect_all<T: AsRef<str>>(&self, expected: impl AsRef<[T]>) {
        let expected: Vec<&str> = expected.as_ref().iter().map(AsRef::as_ref).collect();
        self.expect_count(expected.len());
        assert_eq!(self.setters(), expected);
    }

    /// Waits until this was the last one.
    #[track_caller]
    pub(crate) fn expect_last(&self, line: &str) {
        eventually(&format!("`{line}` as the last of {:?}", self.setters()), || {
            (self.setters().last()? == line).then_some(())
        });
    }

    /// Waits for so many; more are too many.
    #[track_caller]
    pub(crate) fn expect_count(&self, count: usize) {
        eventually(&format!("{count} setters, not {:?}", self.setters()), || {
            (self.setters().len() >= count).then_some(())
        });
        assert_eq!(self.setters().len(), count, "{:?}", self.setters());
    }

    /// How often it was asked a command that begins so.
    #[cfg(feature = "web")]
    pub(crate) fn asked(&self, command: &str) -> usize {
        self.script.lock().unwrap().lines.iter().filter(|line| line.starts_with(command)).count()
    }

    /// Waits until it was asked a command that begins so, so often.
    #[track_caller]
    pub(crate) fn expect_asked(&self, command: &str, count: usize) {
        eventually(&format!("{count} times `{command}`"), || {
            let script = self.script.lock().unwrap();
            (script.lines.iter().filter(|line| line.starts_with(command)).count() >= count).then_some(())
        });
    }

    /// Waits for this setter.
    #[track_caller]
    pub(crate) fn expect(&self, line: &str) {
        eventually(&format!("`{line}` among {:?}", self.setters()), || {
            self.setters().iter().any(|sent| sent == line).then_some(())
        });
    }

    /// How many reads each command took.
    pub(crate) fn reads(&self) -> Vec<usize> {
        self.script.lock().unwrap().reads.clone()
    }
}

fn serve(mut stream: UnixStream, script: &Arc<Mutex<Script>>) {
    let Some((line, reads)) = read_line(&mut stream) else { return };
    let act = {
        let mut script = script.lock().unwrap();
        script.lines.push(line.clone());
        script.reads.push(reads);
        let entry = script.acts.iter_mut().find(|(command, _)| line.starts_with(command.as_str()));
        let acts = &mut entry.unwrap_or_else(|| panic!("no act for `{line}`")).1;
        if acts.len() > 1 { acts.pop_front() } else { acts.front().cloned() }
    };
    match act.unwrap() {
        Act::Reply(bytes) => drop(stream.write_all(&bytes)),
        Act::Hang(bytes) => {
            // Who was killed meanwhile does not read it.
            let _ = stream.write_all(&bytes);
            script.lock().unwrap().held.push(stream);
        }
        Act::Reset => {}
        Act::Flood(count) => drop(stream.write_all(&vec![b'x'; count])),
    }
}

fn read_line(stream: &mut UnixStream) -> Option<(String, usize)> {
    let mut bytes = Vec::new();
    let mut reads = 0;
    while !bytes.contains(&b'\n') {
        let mut chunk = [0; 16 * 1024];
        let count = stream.read(&mut chunk).ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&chunk[..count]);
        reads += 1;
    }
    let line = bytes.split(|byte| *byte == b'\n').next()?.to_vec();
    Some((String::from_utf8(line).unwrap().trim_end().to_owned(), reads))
}

/// `show servers state` with this admin mask for every server.
pub(crate) fn servers_state(admin: u32) -> String {
    let header = "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_check_state\n";
    let rows: String =
        (1..=3).map(|number| format!("2 app {number} a{number} 127.0.0.1 2 {admin} 0\n")).collect();
    format!("{header}{rows}\n")
}

/// `show info` and `show stat` with this status for every server.
pub(crate) fn survey(status: &str) -> String {
    let info =
        "Name: HAProxy\nVersion: 2.6.12\nPid: 7\nStart_time_sec: 1000\nUptime_sec: 50\nStopping: 0\n\n";
    let header = "# pxname,svname,qcur,scur,status,lastchg,type,check_status,last_chk,\n";
    let rows: String = (1..=3).map(|number| format!("app,a{number},0,0,{status},5,2,,,\n")).collect();
    format!("{info}{header}{rows}\n")
}
