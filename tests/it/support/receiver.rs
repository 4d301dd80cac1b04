//! A chat or a webhook: takes one POST for each connection, keeps it, and answers as it is told to.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;

use super::{DEADLINE, eventually};

/// How one request is answered.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// With this head.
    Head(String),
    /// With a body that does not end before the client goes.
    Endless,
    /// Not at all: the connection stays open.
    Silence,
}

/// A request that came.
#[derive(Clone, Debug)]
pub(crate) struct Post {
    /// `POST /path HTTP/1.1`.
    pub(crate) line: String,
    /// By names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Post {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }
}

#[derive(Debug)]
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    hall: Arc<Mutex<Hall>>,
}

#[derive(Debug, Default)]
struct Hall {
    replies: VecDeque<Reply>,
    posts: Vec<Post>,
    /// Those that get no answer.
    held: Vec<TcpStream>,
}

impl Receiver {
    /// Answers with these in turn, and then with 200.
    pub(crate) fn start(replies: &[Reply]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let hall = Arc::new(Mutex::new(Hall { replies: replies.to_vec().into(), ..Hall::default() }));
        let shared = Arc::clone(&hall);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let shared = Arc::clone(&shared);
                // What is no request is no post.
                thread::spawn(move || take(stream.unwrap(), &shared));
            }
        });
        Self { address, hall }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn posts(&self) -> Vec<Post> {
        self.hall.lock().unwrap().posts.clone()
    }

    /// Waits until so many have come, and gives them.
    #[track_caller]
    pub(crate) fn expect(&self, count: usize) -> Vec<Post> {
        eventually(&format!("{count} posts"), || Some(self.posts()).filter(|posts| posts.len() >= count))
    }
}

fn take(stream: TcpStream, hall: &Mutex<Hall>) -> Option<()> {
    stream.set_read_timeout(Some(DEADLINE)).ok()?;
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let post = read(&mut reader)?;
    let reply = {
        let mut hall = hall.lock().unwrap();
        hall.posts.push(post);
        hall.replies.pop_front()
    };
    answer(stream, reply, hall);
    Some(())
}

fn read(reader: &mut impl BufRead) -> Option<Post> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|length| *length > 0)?;
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let mut lines = lines.into_iter();
    let line = lines.next()?;
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| {
            Some((line.split_once(": ")?.0.to_ascii_lowercase(), line.split_once(": ")?.1.to_owned()))
        })
        .collect();
    let mut body = vec![0; headers.get("content-length").map_or(0, |length| length.parse().unwrap())];
    reader.read_exact(&mut body).ok()?;
    Some(Post { line, headers, body: String::from_utf8(body).unwrap() })
}

fn answer(mut stream: TcpStream, reply: Option<Reply>, hall: &Mutex<Hall>) {
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    match reply {
        None => drop(stream.write_all(ok.as_bytes())),
        Some(Reply::Head(head)) => drop(stream.write_all(head.as_bytes())),
        Some(Reply::Silence) => hall.lock().unwrap().held.push(stream),
        Some(Reply::Endless) => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
            while stream.write_all(&[b'x'; 8192]).is_ok() {}
        }
    }
}

/// A head without a body.
pub(crate) fn head(status: u16, header: &str) -> Reply {
    Reply::Head(format!("HTTP/1.1 {status} x\r\n{header}Content-Length: 0\r\nConnection: close\r\n\r\n"))
}
