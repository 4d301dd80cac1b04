//! What the benches stand on: a real HAProxy and a real supervisord of their own, the pipes of a listener, and
//! tables of what was measured; web apps and those who use them; large dumps, and where their datapoints go.

#![allow(dead_code, reason = "each bench is a crate of its own and uses a part of this")]

pub(crate) mod chart;
pub(crate) mod command;
pub(crate) mod ending;
pub(crate) mod figures;
pub(crate) mod haproxy;
pub(crate) mod pipes;
pub(crate) mod proc;
pub(crate) mod sink;
pub(crate) mod snapshot;
pub(crate) mod spool;
pub(crate) mod supervisord;
pub(crate) mod web;

use std::net::TcpListener;
use std::time::{Duration, Instant};

/// What a bench's steps give. Whatever fails ends the bench: half a measurement is none.
pub(crate) type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Whether `cargo bench` asks. `cargo test --all-targets` runs benches too, and is to be quick.
pub(crate) fn is_asked_for() -> bool {
    let asked = std::env::args().any(|argument| argument == "--bench");
    if !asked {
        println!("nothing is measured without `cargo bench`");
    }
    asked
}

/// Between two looks, and the resolution of all figures that come from looking.
const LOOK: Duration = Duration::from_millis(1);
const PATIENCE: Duration = Duration::from_secs(30);

/// Looks again and again, until there is something.
pub(crate) fn wait_until<T>(what: &str, mut look: impl FnMut() -> Outcome<Option<T>>) -> Outcome<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            return Err(format!("{what}: not within {PATIENCE:?}").into());
        }
        pause(LOOK);
    }
}

/// Ports of the loopback interface, below those that the kernel gives to outgoing connections: they stay free
/// while their program is down.
pub(crate) fn free_ports<const N: usize>() -> Outcome<[u16; N]> {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")?;
    let end: u16 = range.split_whitespace().next().ok_or("no range of ports")?.parse()?;
    // Two benches at the same time begin at different ports.
    let begin = 10_000 + u16::try_from(std::process::id() % 10_000)?;
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let ports: Vec<u16> = (begin..end.max(begin)).filter(free).take(N).collect();
    ports.try_into().map_err(|_| "not enough free ports".into())
}

/// Lets others run. A bench looks again and again at peers that cannot be waited for.
#[allow(clippy::disallowed_methods, reason = "no poll tells when HAProxy changes a server's state")]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}
