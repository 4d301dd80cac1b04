//! A Graphite that takes any number of connections, each as it is told to, and counts what arrives.

use std::collections::{BTreeMap, VecDeque};
use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use nix::libc::linger;
use nix::sys::socket::{setsockopt, sockopt};

use super::{DEADLINE, eventually, pause};

/// What is done with one connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Manner {
    /// All is read.
    Read,
    /// All is read, in small pieces with pauses between.
    ReadSlowly,
    /// It is reset after so many bytes.
    Reset(usize),
    /// It is kept open, and nothing is read.
    Hang,
}

/// What came over a connection, to its end.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Delivery {
    /// The value of each path; a path that comes twice is an error, unless it was cut off.
    pub(crate) values: BTreeMap<String, f64>,
    /// The time of all its lines.
    pub(crate) time: u64,
}

#[derive(Debug)]
pub(crate) struct Sink {
    pub(crate) address: SocketAddr,
    hall: Arc<Mutex<Hall>>,
}

#[derive(Debug, Default)]
struct Hall {
    manners: VecDeque<Manner>,
    texts: Vec<String>,
    /// Lines of each text.
    counts: Vec<usize>,
    /// Whether of a text no more than its last line is kept.
    is_counting: bool,
    accepted: usize,
    reading: usize,
    held: Vec<TcpStream>,
}

impl Sink {
    /// Reads all.
    pub(crate) fn start() -> Self {
        Self::with("127.0.0.1:0", &[])
    }

    /// Reads all, and keeps of each delivery its time and the number of its lines: some are too large for more.
    pub(crate) fn counting() -> Self {
        let sink = Self::start();
        sink.hall.lock().unwrap().is_counting = true;
        sink
    }

    /// Listens at `address`; begins with these manners, and reads all that comes then.
    pub(crate) fn with(address: &str, manners: &[Manner]) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let hall =
            Arc::new(Mutex::new(Hall { manners: manners.iter().copied().collect(), ..Hall::default() }));
        let sink = Self { address, hall: Arc::clone(&hall) };
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, hall) = (stream.unwrap(), Arc::clone(&hall));
                let manner = {
                    let mut hall = hall.lock().unwrap();
                    hall.accepted += 1;
                    hall.reading += 1;
                    hall.manners.pop_front().unwrap_or(Manner::Read)
                };
                thread::spawn(move || take(stream, manner, &hall));
            }
        });
        sink
    }

    /// How many connections were accepted.
    pub(crate) fn accepted(&self) -> usize {
        self.hall.lock().unwrap().accepted
    }

    /// How many connections were read to their end.
    pub(crate) fn count(&self) -> usize {
        self.hall.lock().unwrap().texts.len()
    }

    /// How many lines each delivery had.
    pub(crate) fn counts(&self) -> Vec<usize> {
        self.hall.lock().unwrap().counts.clone()
    }

    /// Waits until so many connections were read to their end.
    #[track_caller]
    pub(crate) fn wait_for(&self, count: usize) {
        eventually(&format!("{count} deliveries, beyond {}", self.count()), || {
            (self.count() >= count).then_some(())
        });
    }

    /// What has arrived so far, once nothing is on its way, in the order of its end.
    #[track_caller]
    pub(crate) fn deliveries(&self) -> Vec<Delivery> {
        eventually("the end of all connections", || (self.hall.lock().unwrap().reading == 0).then_some(()));
        self.hall.lock().unwrap().texts.iter().map(|text| Delivery::of(text)).collect()
    }

    /// The times of what has arrived.
    #[track_caller]
    pub(crate) fn times(&self) -> Vec<u64> {
        self.deliveries().iter().map(|delivery| delivery.time).collect()
    }
}

fn take(mut stream: TcpStream, manner: Manner, hall: &Mutex<Hall>) {
    match manner {
        Manner::Read | Manner::ReadSlowly => {
            let text = read(&mut stream, matches!(manner, Manner::ReadSlowly));
            let mut hall = hall.lock().unwrap();
            hall.counts.push(text.matches('\n').count());
            let last = text.lines().next_back().filter(|_| hall.is_counting);
            let kept = last.map(|line| format!("{line}\n"));
            hall.texts.push(kept.unwrap_or(text));
            hall.reading -= 1;
        }
        Manner::Reset(bytes) => {
            let mut some = vec![0; bytes];
            stream.read_exact(&mut some).unwrap();
            setsockopt(&stream, sockopt::Linger, &linger { l_onoff: 1, l_linger: 0 }).unwrap();
            drop(stream);
            hall.lock().unwrap().reading -= 1;
        }
        Manner::Hang => {
            let mut hall = hall.lock().unwrap();
            hall.held.push(stream);
            hall.reading -= 1;
        }
    }
}

/// All that comes; where the sender was killed, that may be half a line.
fn read(stream: &mut TcpStream, slowly: bool) -> String {
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let (mut bytes, mut buffer) = (Vec::new(), vec![0; if slowly { 8 * 1024 } else { 64 * 1024 }]);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => panic!("the sink: {error}"),
        }
        if slowly {
            pause();
        }
    }
    String::from_utf8(bytes).unwrap()
}

impl Delivery {
    #[track_caller]
    fn of(text: &str) -> Self {
        let mut delivery = Self::default();
        for line in text.split_inclusive('\n') {
            // What is cut off does not count.
            let Some(line) = line.strip_suffix('\n') else { break };
            let [path, value, time] = line.split(' ').collect::<Vec<_>>().try_into().expect(line);
            let time = time.parse().expect(line);
            assert!(delivery.values.is_empty() || delivery.time == time, "{line} beside {}", delivery.time);
            delivery.time = time;
            let value: f64 = value.parse().expect(line);
            assert!(value.is_finite(), "{line}");
            assert_eq!(delivery.values.insert(path.to_owned(), value), None, "twice: {line}");
        }
        delivery
    }
}
