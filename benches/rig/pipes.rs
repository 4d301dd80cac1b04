//! supervisord's side of an event listener's pipes, and what the kernel knows of the listener.

use std::fs;
use std::io::{Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use super::{Outcome, proc};

/// What a listener writes when it has followed an event and asks for the next.
pub(crate) const ACCEPTED: &[u8] = b"RESULT 2\nOKREADY\n";

/// A listener whose supervisord is this bench.
#[derive(Debug)]
pub(crate) struct Listener {
    process: Child,
    input: Option<ChildStdin>,
    output: ChildStdout,
    serial: u64,
}

/// What a process has; memory in KiB.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) resident: u64,
    pub(crate) anonymous: u64,
    pub(crate) files: usize,
}

impl Listener {
    /// Gives the time from before the exec to its READY, too. The log of it goes where `command` says.
    pub(crate) fn start(command: &mut Command) -> Outcome<(Self, Duration)> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let begun = Instant::now();
        let mut process = command.spawn()?;
        let mut output = process.stdout.take().ok_or("no stdout")?;
        expect(&mut output, b"READY\n")?;
        let time = begun.elapsed();
        let input = process.stdin.take();
        Ok((Self { process, input, output, serial: 0 }, time))
    }

    /// Sends an event of a process's state; gives the time until it was answered.
    pub(crate) fn tell(&mut self, state: &str, payload: &str) -> Outcome<Duration> {
        let (serial, length) = (self.serial, payload.len());
        self.serial += 1;
        let bytes = format!(
            "ver:3.0 server:supervisor serial:{serial} pool:haproxy poolserial:{serial} \
             eventname:PROCESS_STATE_{state} len:{length}\n{payload}"
        );
        let input = self.input.as_mut().ok_or("no stdin")?;
        let begun = Instant::now();
        input.write_all(bytes.as_bytes())?;
        expect(&mut self.output, ACCEPTED)?;
        Ok(begun.elapsed())
    }

    /// In KiB, as [`proc::memory`].
    pub(crate) fn memory(&self, key: &str) -> Outcome<u64> {
        proc::memory(self.process.id(), key)
    }

    pub(crate) fn size(&self) -> Outcome<Size> {
        let files = fs::read_dir(format!("/proc/{}/fd", self.process.id()))?.count();
        Ok(Size { resident: self.memory("VmRSS")?, anonymous: self.memory("RssAnon")?, files })
    }

    /// For how long it has run on a CPU.
    pub(crate) fn cpu(&self) -> Outcome<Duration> {
        proc::cpu(self.process.id())
    }
}

impl Drop for Listener {
    /// The end of stdin is what ends a listener whose supervisord is gone.
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.process.wait();
    }
}

fn expect(output: &mut ChildStdout, words: &[u8]) -> Outcome<()> {
    let mut bytes = [0; ACCEPTED.len()];
    let bytes = bytes.get_mut(..words.len()).ok_or("too many words")?;
    output.read_exact(bytes)?;
    if bytes == words { Ok(()) } else { Err(format!("answer {:?}", String::from_utf8_lossy(bytes)).into()) }
}
