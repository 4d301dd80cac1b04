//! The one owner of stdin and stdout. supervisord reads protocol there: a single stray byte makes it give the
//! listener up for good, so stdout is taken away from everybody else.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, RawFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{Decoder, Event, ProtocolError, READY, RESULT_OK};

/// supervisord's end of the line.
#[derive(Debug)]
pub struct Channel {
    input: File,
    output: File,
    decoder: Decoder,
    chunk: Vec<u8>,
}

/// What reading gave.
#[derive(Debug)]
pub enum Input {
    /// A whole event.
    Event(Event),
    /// Nothing more for now.
    Nothing,
    /// supervisord has closed the line.
    End,
}

/// How much is read at once; a pipe holds 64 KiB.
const CHUNK: usize = 64 * 1024;

impl Channel {
    /// Takes stdin and stdout over. From here on, whatever else writes to stdout ends up on stderr.
    pub fn take_over() -> io::Result<Self> {
        let input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        // The one place that may name stdout.
        #[allow(clippy::disallowed_methods)]
        let output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        nix::unistd::dup2_stdout(io::stderr())?;
        Ok(Self { input, output, decoder: Decoder::default(), chunk: vec![0; CHUNK] })
    }

    /// The file descriptor to wait on.
    #[must_use]
    pub fn input_fd(&self) -> RawFd {
        self.input.as_raw_fd()
    }

    /// Asks for the next event.
    pub fn ready(&mut self) -> io::Result<()> {
        self.output.write_all(READY)
    }

    /// Accepts the event that was read last and asks for the next one, in a single write.
    pub fn accept_and_ready(&mut self) -> io::Result<()> {
        self.output.write_all(&[RESULT_OK, READY].concat())
    }

    /// Accepts the event that was read last and asks for no further one.
    pub fn accept(&mut self) -> io::Result<()> {
        self.output.write_all(RESULT_OK)
    }

    /// The next event, if it is there already. Never blocks: stdin is shared with nobody knows whom, so it is
    /// not made nonblocking but asked before each read.
    pub fn next_input(&mut self) -> io::Result<Result<Input, ProtocolError>> {
        loop {
            match self.decoder.next_event() {
                Ok(Some(event)) => return Ok(Ok(Input::Event(event))),
                Ok(None) => {}
                Err(error) => return Ok(Err(error)),
            }
            if !self.is_readable()? {
                return Ok(Ok(Input::Nothing));
            }
            let count = self.input.read(&mut self.chunk)?;
            if count == 0 {
                return Ok(self.decoder.finish().map(|()| Input::End));
            }
            self.decoder.feed(self.chunk.get(..count).unwrap_or_default());
        }
    }

    fn is_readable(&self) -> io::Result<bool> {
        let mut fds = [PollFd::new(self.input.as_fd(), PollFlags::POLLIN)];
        loop {
            match poll(&mut fds, PollTimeout::ZERO) {
                Ok(count) => return Ok(count > 0),
                Err(nix::errno::Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
