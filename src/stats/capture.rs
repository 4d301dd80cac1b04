//! One pull: `show info` and `show stat` of every HAProxy at the same time, each over a connection of its own and
//! straight into a file, so that the memory it takes does not grow with the number of servers.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::{Events, Poll, Registry, Token, Waker};

use crate::net::{Endpoint, Exchange, Fault, Limits, Receive, Resolver};

/// An HAProxy to pull from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its socket; any level will do.
    pub endpoint: Endpoint,
    /// What its files are called, before `_info` and `_stat`.
    pub name: String,
}

/// What a pull may cost.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For connecting, with the look-up of the name.
    pub timeout: Duration,
    /// Further tries after a failure.
    pub retries: u32,
    /// Between two tries.
    pub interval: Duration,
    /// For all of it.
    pub total: Duration,
    /// Bytes of one dump.
    pub bytes: usize,
}

/// A dump that did not come; in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Miss {
    /// Number of the source.
    pub source: usize,
    /// What was asked for: `show info` or `show stat`.
    pub request: &'static str,
    /// Why.
    pub why: String,
}

/// The two dumps: how their files end, how they are asked for, and how they begin.
const DUMPS: [(&str, &str, &str); 2] =
    [("_info", "show info\n", "Name: "), ("_stat", "show stat\n", "# pxname,")];

/// As much of a dump as tells what it is.
const HEAD: usize = 64;

/// A name was looked up.
const WAKER: Token = Token(usize::MAX);

/// Pulls from all sources into files of a directory. What did not come whole is told, and its file removed.
/// Blocks for up to [`Patience::total`].
pub fn capture(sources: &[Source], directory: &Path, patience: &Patience) -> io::Result<Vec<Miss>> {
    let mut poll = Poll::new()?;
    let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
    let begun = Instant::now();
    let mut fetches: Vec<Fetch> = Vec::new();
    for (source, Source { endpoint, name }) in sources.iter().enumerate() {
        for (dump, (end, ..)) in DUMPS.iter().enumerate() {
            let resolver = Resolver::new(endpoint.clone(), Arc::clone(&waker));
            let token = Token(fetches.len());
            let path = directory.join(format!("{name}{end}"));
            fetches.push(Fetch { source, dump, path, token, resolver, tries: 0, stage: Stage::Due(begun) });
        }
    }
    let mut events = Events::with_capacity(256);
    let end = begun + patience.total;
    loop {
        let now = Instant::now();
        // Nobody else is disturbed: with many sockets, asking each whether it has something would be most of the work.
        let stirred: BTreeSet<Token> = events.iter().map(Event::token).collect();
        let is_woken = stirred.contains(&WAKER);
        for fetch in &mut fetches {
            let is_due = fetch.due_at().is_some_and(|at| at <= now);
            if is_due || stirred.contains(&fetch.token) || (is_woken && fetch.is_resolving()) {
                fetch.advance(now, end, poll.registry(), patience);
            }
        }
        let Some(due) = fetches.iter().filter_map(Fetch::due_at).min() else { break };
        match poll.poll(&mut events, Some(due.saturating_duration_since(Instant::now()))) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
    }
    Ok(fetches.into_iter().filter_map(Fetch::miss).collect())
}

struct Fetch {
    source: usize,
    dump: usize,
    path: PathBuf,
    token: Token,
    resolver: Resolver,
    tries: u32,
    stage: Stage,
}

enum Stage {
    Due(Instant),
    Resolving(Instant),
    Talking(Exchange<Page>),
    Over(Result<(), String>),
}

impl Fetch {
    fn due_at(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Due(at) | Stage::Resolving(at) => Some(*at),
            Stage::Talking(exchange) => Some(exchange.deadline()),
            Stage::Over(_) => None,
        }
    }

    fn is_resolving(&self) -> bool {
        matches!(self.stage, Stage::Resolving(_))
    }

    fn advance(&mut self, now: Instant, end: Instant, registry: &Registry, patience: &Patience) {
        if let Stage::Due(at) = self.stage
            && now >= at
        {
            self.tries += 1;
            self.stage = Stage::Resolving(end.min(now + patience.timeout));
        }
        let result = match &mut self.stage {
            Stage::Resolving(deadline) => {
                let deadline = *deadline;
                self.connect(now, deadline, registry, patience)
            }
            Stage::Talking(exchange) => {
                if exchange.is_connected() {
                    exchange.allow(end, patience.total);
                }
                proceed(exchange, now, registry, self.dump)
            }
            Stage::Due(_) | Stage::Over(_) => return,
        };
        match result {
            Ok(false) => {}
            Ok(true) => self.stage = Stage::Over(Ok(())),
            Err(_) if self.tries <= patience.retries && now + patience.interval < end => {
                self.resolver.forget();
                self.stage = Stage::Due(now + patience.interval);
            }
            Err(why) => self.stage = Stage::Over(Err(why)),
        }
    }

    /// Begins to talk, once the address is known.
    fn connect(
        &mut self,
        now: Instant,
        deadline: Instant,
        registry: &Registry,
        patience: &Patience,
    ) -> Result<bool, String> {
        let addresses = self.resolver.addresses().map_err(|error| Fault::Resolve(error).to_string())?;
        let Some(addresses) = addresses else {
            let late = now >= deadline;
            return if late { Err(Fault::ResolveTimeout(patience.timeout).to_string()) } else { Ok(false) };
        };
        let page = Page::create(&self.path).map_err(|error| Fault::Unkept(error).to_string())?;
        let request = DUMPS.get(self.dump).map(|(_, request, _)| request.as_bytes().to_vec());
        let limits = Limits { time: patience.timeout, bytes: patience.bytes };
        let ask = (request.unwrap_or_default(), limits);
        let exchange = Exchange::start(addresses, ask, page, deadline, (registry, self.token));
        self.stage = Stage::Talking(exchange.map_err(|fault| fault.to_string())?);
        Ok(false)
    }

    fn miss(self) -> Option<Miss> {
        let why = match self.stage {
            Stage::Over(Ok(())) => return None,
            Stage::Over(Err(why)) => why,
            _ => "not asked".into(),
        };
        // What is left of it must not be taken for a dump.
        let _ = std::fs::remove_file(&self.path);
        let request = DUMPS.get(self.dump).map_or("", |(_, request, _)| request.trim_end());
        Some(Miss { source: self.source, request, why })
    }
}

/// Whether the dump is there, whole.
fn proceed(
    exchange: &mut Exchange<Page>,
    now: Instant,
    registry: &Registry,
    dump: usize,
) -> Result<bool, String> {
    match exchange.advance(registry).map_err(|fault| fault.to_string())? {
        Some(page) => page.judge(DUMPS.get(dump).map_or("", |(_, _, begin)| begin)).map(|()| true),
        None => exchange.expired(now).map_or(Ok(false), |fault| Err(fault.to_string())),
    }
}

/// A dump on its way into its file.
#[derive(Debug)]
struct Page {
    file: File,
    head: Vec<u8>,
    tail: [u8; 2],
    length: usize,
}

impl Page {
    fn create(path: &Path) -> io::Result<Self> {
        Ok(Self { file: File::create(path)?, head: Vec::with_capacity(HEAD), tail: [0; 2], length: 0 })
    }

    /// A dump ends with an empty line; one that does not was cut off, however clean the end of the connection.
    fn judge(&self, begin: &str) -> Result<(), String> {
        if self.length == 0 {
            return Err("the connection was closed without a reply".into());
        }
        if !self.head.starts_with(begin.as_bytes()) {
            let line = self.head.split(|byte| *byte == b'\n').next().unwrap_or_default();
            let line = String::from_utf8_lossy(line).escape_debug().to_string();
            return Err(format!("the reply begins with `{line}` and not with `{begin}`"));
        }
        if self.tail == *b"\n\n" {
            Ok(())
        } else {
            Err(format!("the reply is cut off after {} bytes", self.length))
        }
    }
}

impl Receive for Page {
    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        let room = HEAD.saturating_sub(self.head.len());
        self.head.extend(bytes.iter().take(room));
        for byte in bytes.iter().skip(bytes.len().saturating_sub(2)) {
            self.tail = [self.tail[1], *byte];
        }
        self.length += bytes.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;
    use std::thread;

    use super::*;

    const INFO: &str = "Name: HAProxy\nPid: 7\n\n";
    const STAT: &str = "# pxname,svname,\nfe,FRONTEND,\n\n";

    const PATIENCE: Patience = Patience {
        timeout: Duration::from_millis(500),
        retries: 0,
        interval: Duration::from_millis(10),
        total: Duration::from_secs(10),
        bytes: 1000,
    };

    type Answer = Box<dyn Fn(usize, &str) -> Option<String> + Send>;

    /// Answers connections with what `answer` makes of the request; `None` is silence.
    fn haproxy(path: &Path, answer: impl Fn(usize, &str) -> Option<String> + Send + 'static) {
        let listener = UnixListener::bind(path).unwrap();
        thread::spawn(move || {
            let mut silent = Vec::new();
            for (count, stream) in listener.incoming().enumerate() {
                let mut stream = stream.unwrap();
                let mut bytes = [0; 100];
                let length = stream.read(&mut bytes).unwrap();
                match answer(count, std::str::from_utf8(&bytes[..length]).unwrap()) {
                    Some(text) => drop(stream.write_all(text.as_bytes())),
                    None => silent.push(stream),
                }
            }
        });
    }

    fn usual(request: &str) -> String {
        if request == "show info\n" { INFO } else { STAT }.to_owned()
    }

    fn run(patience: &Patience, haproxies: Vec<Answer>) -> (Vec<String>, Vec<String>) {
        let directory = tempfile::tempdir().unwrap();
        let mut sources = Vec::new();
        for (number, answer) in haproxies.into_iter().enumerate() {
            let path = directory.path().join(format!("{number}.sock"));
            haproxy(&path, answer);
            sources.push(Source { endpoint: Endpoint::Unix(path), name: format!("h{number}") });
        }
        let files = directory.path().join("files");
        std::fs::create_dir(&files).unwrap();
        let misses = capture(&sources, &files, patience).unwrap();
        let mut found: Vec<String> = std::fs::read_dir(&files)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        found.sort();
        (
            found,
            misses
                .into_iter()
                .map(|miss| format!("{}: {}: {}", miss.source, miss.request, miss.why))
                .collect(),
        )
    }

    #[test]
    fn both_dumps_of_every_source_are_there() {
        let (found, misses) =
            run(&PATIENCE, vec![Box::new(|_, ask| Some(usual(ask))), Box::new(|_, ask| Some(usual(ask)))]);
        assert_eq!(found, ["h0_info", "h0_stat", "h1_info", "h1_stat"]);
        assert!(misses.is_empty(), "{misses:?}");
    }

    #[test]
    fn what_is_not_whole_is_told_and_leaves_no_file() {
        let stat = |reply: &'static str| -> Answer {
            Box::new(
                move |_, ask| if ask == "show info\n" { Some(usual(ask)) } else { Some(reply.to_owned()) },
            )
        };
        let long: &'static str = Box::leak("# pxname,".repeat(1000).into_boxed_str());
        let silent: Answer = Box::new(|_, ask| Some(usual(ask)).filter(|text| text == INFO));
        let answers = vec![
            stat("# pxname,svname,\nfe,FRONTEND,\n"),
            stat(""),
            stat("Permission denied\n\n"),
            stat(long),
            silent,
        ];
        let patience = Patience { total: Duration::from_secs(3), ..PATIENCE };
        let (found, misses) = run(&patience, answers);
        assert_eq!(found, ["h0_info", "h1_info", "h2_info", "h3_info", "h4_info"]);
        assert_eq!(
            misses,
            [
                "0: show stat: the reply is cut off after 30 bytes",
                "1: show stat: the connection was closed without a reply",
                "2: show stat: the reply begins with `Permission denied` and not with `# pxname,`",
                "3: show stat: the reply is longer than 1000 bytes",
                "4: show stat: no complete reply within 3s (0 bytes so far)",
            ]
        );
    }

    #[test]
    fn a_failure_is_tried_again() {
        let patience = Patience { retries: 3, ..PATIENCE };
        let flaky: Answer =
            Box::new(|count, ask| if count < 3 { Some(String::new()) } else { Some(usual(ask)) });
        let (found, misses) = run(&patience, vec![flaky]);
        assert_eq!((found.len(), misses), (2, vec![]));
    }

    #[test]
    fn a_dump_may_take_longer_than_a_connection() {
        let patience = Patience { timeout: Duration::from_millis(20), ..PATIENCE };
        let slow: Answer = Box::new(|_, ask| {
            let (_keep, never) = std::sync::mpsc::channel::<()>();
            let _ = never.recv_timeout(Duration::from_millis(100));
            Some(usual(ask))
        });
        let (found, misses) = run(&patience, vec![slow]);
        assert_eq!((found.len(), misses), (2, vec![]));
    }

    #[test]
    fn a_name_is_looked_up_and_its_addresses_tried_in_turn() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("tcp://localhost:{}", listener.local_addr().unwrap().port());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, mut bytes) = (stream.unwrap(), [0; 100]);
                let length = stream.read(&mut bytes).unwrap();
                stream.write_all(usual(std::str::from_utf8(&bytes[..length]).unwrap()).as_bytes()).unwrap();
            }
        });
        let source = Source { endpoint: endpoint.parse().unwrap(), name: "named".into() };
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(capture(&[source], directory.path(), &PATIENCE).unwrap(), []);
        assert_eq!(std::fs::read_to_string(directory.path().join("named_stat")).unwrap(), STAT);
    }

    #[test]
    fn nobody_there_is_told_in_time() {
        let source = Source { endpoint: "/nonexistent/socket".parse().unwrap(), name: "gone".into() };
        let directory = tempfile::tempdir().unwrap();
        let patience = Patience { retries: 1000, total: Duration::from_millis(100), ..PATIENCE };
        let misses = capture(&[source], directory.path(), &patience).unwrap();
        assert_eq!(misses.len(), 2);
        assert!(misses[0].why.starts_with("cannot connect: "), "{misses:?}");
    }
}
