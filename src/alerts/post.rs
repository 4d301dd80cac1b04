//! Fetches and posts: names are looked up once, each address is judged, and one of those very addresses is connected
//! to, so that a name that means something else a moment later changes nothing. No redirect is followed, no proxy is
//! asked, certificates are verified, and time and size have limits.

use std::fmt::Debug;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::guard::Guard;
use crate::net::{Address, Endpoint, HttpUrl, Limits, addresses_within, get_from, post};

/// `show stat` of 40,000 servers; those who have more have a socket.
const MAX_PAGE: usize = 16 * 1024 * 1024;

/// What names mean.
pub(super) trait Resolve: Debug + Send + Sync {
    /// At least one address; or why there is none. Blocks for `time` at most.
    fn resolve(&self, host: &str, port: u16, time: Duration) -> Result<Vec<SocketAddr>, String>;
}

/// The system's own way.
#[derive(Debug)]
pub(super) struct System;

impl Resolve for System {
    fn resolve(&self, host: &str, port: u16, time: Duration) -> Result<Vec<SocketAddr>, String> {
        let endpoint = Endpoint::Tcp { host: host.to_owned(), port };
        let found = addresses_within(&endpoint, time).map_err(|fault| fault.to_string())?;
        let sockets = found.into_iter().filter_map(|address| match address {
            Address::Tcp(address) => Some(address),
            Address::Unix(_) => None,
        });
        Ok(sockets.collect())
    }
}

/// Why something was not delivered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Setback {
    /// Another attempt may help; not before this long, where the receiver says so.
    Later(String, Option<Duration>),
    /// None will.
    Never(String),
}

#[derive(Clone, Debug)]
pub(super) struct Wire {
    pub(super) resolver: Arc<dyn Resolve>,
    /// For a look-up, and again for what follows.
    pub(super) time: Duration,
}

impl Wire {
    /// A page, from where the guard lets it come from.
    pub(super) fn fetch(&self, guard: &Guard, url: &HttpUrl) -> Result<Vec<u8>, String> {
        let addresses = self.look_up(guard, url).map_err(|setback| match setback {
            Setback::Later(why, _) | Setback::Never(why) => why,
        })?;
        let limits = Limits { time: self.time, bytes: MAX_PAGE };
        get_from(&addresses, url, limits).map_err(|fault| fault.to_string())
    }

    /// Posts. Without a guard, to wherever an operator's own URL leads.
    pub(super) fn post(
        &self,
        guard: Option<&Guard>,
        url: &HttpUrl,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<(), Setback> {
        let addresses = guard.map(|guard| self.look_up(guard, url)).transpose()?;
        match post(addresses.as_deref(), url, headers, body, self.time) {
            Ok(reply) => judge(reply.status, reply.retry_after),
            Err(fault) => Err(Setback::Later(fault.to_string(), None)),
        }
    }

    /// The addresses that may be connected to: all that the name has, or none.
    fn look_up(&self, guard: &Guard, url: &HttpUrl) -> Result<Vec<SocketAddr>, Setback> {
        let found = self.resolver.resolve(url.host(), url.port(), self.time);
        let addresses = found.map_err(|why| Setback::Later(why, None))?;
        guard.judge_addresses(url, &addresses).map_err(|refusal| Setback::Never(refusal.to_string()))?;
        Ok(addresses)
    }
}

/// What an answer means.
fn judge(status: u16, retry_after: Option<Duration>) -> Result<(), Setback> {
    match status {
        200..=299 => Ok(()),
        300..=399 => Err(Setback::Never(format!("HTTP status {status}: redirects are not followed"))),
        408 | 425 | 429 | 500..=599 => Err(Setback::Later(format!("HTTP status {status}"), retry_after)),
        _ => Err(Setback::Never(format!("HTTP status {status}"))),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read, Write};
    use std::net::{Ipv4Addr, TcpListener};
    use std::sync::Mutex;
    use std::thread;

    use super::*;

    /// A name server that a stranger owns: each look-up gives the next answer, the last for ever.
    #[derive(Debug)]
    struct Names(Mutex<Vec<Vec<SocketAddr>>>);

    impl Resolve for Names {
        fn resolve(&self, _: &str, _: u16, _: Duration) -> Result<Vec<SocketAddr>, String> {
            let mut answers = self.0.lock().unwrap();
            let answer = if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() };
            if answer.is_empty() { Err("no such name".into()) } else { Ok(answer) }
        }
    }

    fn wire(answers: &[&[SocketAddr]]) -> Wire {
        let answers = answers.iter().map(|answer| answer.to_vec()).collect();
        Wire { resolver: Arc::new(Names(Mutex::new(answers))), time: Duration::from_secs(10) }
    }

    fn guard(entries: &[&str]) -> Guard {
        Guard::new(entries.iter().map(|entry| entry.parse().unwrap()).collect(), "--allow-host")
    }

    /// Gives one client this answer; gives what the client sent.
    fn server(answer: &'static str) -> (SocketAddr, thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let thread = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut sent = vec![0; 4096];
            let length = stream.read(&mut sent).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8_lossy(&sent[..length]).into_owned()
        });
        (address, thread)
    }

    /// A port at loopback, which tells whether somebody has come.
    fn trap() -> TcpListener {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        listener
    }

    #[track_caller]
    fn is_untouched(trap: &TcpListener) {
        assert_eq!(trap.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    }

    fn url(text: &str) -> HttpUrl {
        text.parse().unwrap()
    }

    #[test]
    fn a_name_that_means_loopback_is_not_connected_to() {
        let trap = trap();
        let inside = trap.local_addr().unwrap();
        let port = inside.port();
        let guard = guard(&["127.0.0.1.nip.io:*"]);
        let url = url(&format!("http://127.0.0.1.nip.io:{port}/"));
        let outside = SocketAddr::new(Ipv4Addr::new(1, 1, 1, 1).into(), port);
        let mapped = format!("[::ffff:127.0.0.1]:{port}").parse().unwrap();
        for answer in [&[inside][..], &[outside, inside], &[mapped]] {
            let setback = wire(&[answer]).post(Some(&guard), &url, &[], b"").unwrap_err();
            assert!(matches!(&setback, Setback::Never(why) if why.contains("is loopback")), "{setback:?}");
            let why = wire(&[answer]).fetch(&guard, &url).unwrap_err();
            assert!(why.contains("is loopback"), "{why}");
        }
        is_untouched(&trap);
    }

    #[test]
    fn a_name_is_looked_up_once_and_that_is_where_it_goes() {
        let (good, thread) = server("HTTP/1.1 204 No Content\r\n\r\n");
        let trap = trap();
        // Good when it is judged, and another one when somebody would look again.
        let wire = wire(&[&[good], &[trap.local_addr().unwrap()]]);
        // The name is none that the system's resolver knows.
        let url = url(&format!("http://rebind.invalid:{}/hook", good.port()));
        let guard = guard(&["rebind.invalid:*", "127.0.0.1"]);
        wire.post(Some(&guard), &url, &[("X-A", "b")], b"body").unwrap();
        let sent = thread.join().unwrap();
        assert!(sent.starts_with("POST /hook HTTP/1.1\r\n"), "{sent}");
        let sent = sent.to_ascii_lowercase();
        assert!(sent.contains("host: rebind.invalid:") && sent.contains("x-a: b"), "{sent}");
        is_untouched(&trap);
    }

    #[test]
    fn a_redirect_is_not_followed() {
        let trap = trap();
        let answer = format!(
            "HTTP/1.1 307 x\r\nLocation: http://{}/\r\nContent-Length: 0\r\n\r\n",
            trap.local_addr().unwrap()
        );
        let answer: &'static str = answer.leak();
        let guard = guard(&["127.0.0.1:*"]);
        let (address, _) = server(answer);
        let setback = wire(&[&[address]]).post(Some(&guard), &url(&format!("http://{address}/")), &[], b"x");
        assert_eq!(setback, Err(Setback::Never("HTTP status 307: redirects are not followed".into())));
        let (address, _) = server(answer);
        let page = wire(&[&[address]]).fetch(&guard, &url(&format!("http://{address}/")));
        assert_eq!(page, Err("HTTP status 307".into()));
        is_untouched(&trap);
    }

    #[test]
    fn what_may_pass_is_tried_again() {
        let wait = Some(Duration::from_secs(7));
        for status in [408, 425, 429, 500, 503, 599] {
            let expected = Setback::Later(format!("HTTP status {status}"), wait);
            assert_eq!(judge(status, wait), Err(expected));
        }
        for status in [300, 301, 308, 400, 401, 403, 404, 410, 600] {
            assert!(matches!(judge(status, wait), Err(Setback::Never(_))), "{status}");
        }
        assert!([200, 202, 204].into_iter().all(|status| judge(status, None) == Ok(())));
        let setback = wire(&[&[]]).post(Some(&guard(&["a.b"])), &url("http://a.b/"), &[], b"");
        assert_eq!(setback, Err(Setback::Later("no such name".into(), None)));
    }
}
