//! Calls to several peers at once, for those who wait for the answers and have nothing else to do.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token, Waker};

use super::caller::{Caller, Outcome};
use super::{Endpoint, Question};

/// Calls any number of peers, one call for each at a time.
#[derive(Debug)]
pub struct Switchboard {
    poll: Poll,
    waker: Arc<Waker>,
    callers: Vec<Caller>,
}

/// One of a switchboard's peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Peer(usize);

const WAKER: Token = Token(usize::MAX);

impl Switchboard {
    /// Fails where the kernel has no epoll or no more file descriptors.
    pub fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        Ok(Self { poll, waker, callers: Vec::new() })
    }

    /// A further peer; nothing is sent yet.
    pub fn connect(&mut self, endpoint: Endpoint) -> Peer {
        let number = self.callers.len();
        self.callers.push(Caller::new(endpoint, Token(number), Arc::clone(&self.waker)));
        Peer(number)
    }

    /// Asks all of them at the same time, each at most once, and gives the outcomes in the same order. Blocks
    /// until the last has answered or run out of its own time.
    pub fn ask_all(&mut self, questions: Vec<(Peer, Question)>) -> io::Result<Vec<Outcome>> {
        let peers: Vec<Peer> = questions.iter().map(|(peer, _)| *peer).collect();
        let now = Instant::now();
        let mut outcomes: Vec<Option<Outcome>> = Vec::new();
        for (Peer(number), question) in questions {
            let caller = self.callers.get_mut(number);
            outcomes.push(caller.and_then(|caller| caller.call(question, now, self.poll.registry())));
        }
        let mut events = Events::with_capacity(64);
        while outcomes.iter().any(Option::is_none) {
            self.wait(&mut events)?;
            let now = Instant::now();
            for (Peer(number), outcome) in peers.iter().zip(&mut outcomes).filter(|(_, o)| o.is_none()) {
                if let Some(caller) = self.callers.get_mut(*number) {
                    *outcome = caller.advance(now, self.poll.registry());
                }
            }
        }
        Ok(outcomes.into_iter().flatten().collect())
    }

    /// Asks one.
    pub fn ask(&mut self, peer: Peer, question: Question) -> io::Result<Outcome> {
        let outcome = self.ask_all(vec![(peer, question)])?.pop();
        outcome.ok_or_else(|| io::Error::other("a call ended without an outcome"))
    }

    /// Lets time pass; a signal ends it early.
    pub fn pause(&mut self, length: Duration) -> io::Result<()> {
        match self.poll.poll(&mut Events::with_capacity(1), Some(length)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => Ok(()),
        }
    }

    fn wait(&mut self, events: &mut Events) -> io::Result<()> {
        let now = Instant::now();
        let deadline = self.callers.iter().filter_map(Caller::deadline).min();
        let timeout = deadline.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        match self.poll.poll(events, Some(timeout)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    use super::super::{Fault, Limits};
    use super::*;

    fn question(text: &str, time: Duration) -> Question {
        let limits = Limits { time, bytes: 1000 };
        Question { request: text.as_bytes().to_vec(), limits, ..Question::default() }
    }

    /// Answers each connection with what it was sent, once `count` of them stand.
    fn echo_when_all_are_there(count: usize) -> Endpoint {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            let streams: Vec<_> = (0..count).map(|_| listener.accept().unwrap().0).collect();
            for mut stream in streams {
                let mut text = [0; 4];
                stream.read_exact(&mut text).unwrap();
                stream.write_all(&text).unwrap();
            }
        });
        Endpoint::Tcp { host: "127.0.0.1".into(), port }
    }

    #[test]
    fn all_are_asked_at_the_same_time_and_the_outcomes_keep_their_order() {
        let mut board = Switchboard::new().unwrap();
        let endpoint = echo_when_all_are_there(2);
        let (one, two) = (board.connect(endpoint.clone()), board.connect(endpoint));
        let nobody = board.connect("/nonexistent/socket".parse().unwrap());
        let time = Duration::from_secs(10);
        let questions = vec![
            (one, question("one\n", time)),
            (nobody, question("x", time)),
            (two, question("two\n", time)),
        ];
        let outcomes = board.ask_all(questions).unwrap();
        let [one, nobody, two] = &outcomes[..] else { panic!("{outcomes:?}") };
        assert_eq!(
            (one.as_ref().unwrap().as_slice(), two.as_ref().unwrap().as_slice()),
            (&b"one\n"[..], &b"two\n"[..])
        );
        assert!(matches!(nobody, Err(Fault::Connect(_))), "{nobody:?}");
    }

    #[test]
    fn each_has_its_own_time() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = silent.local_addr().unwrap().port();
        let mut board = Switchboard::new().unwrap();
        let peer = board.connect(Endpoint::Tcp { host: "127.0.0.1".into(), port });
        let outcome = board.ask(peer, question("hm\n", Duration::from_millis(50))).unwrap();
        assert_eq!(outcome.unwrap_err().to_string(), "no complete reply within 50ms (0 bytes so far)");
    }
}
