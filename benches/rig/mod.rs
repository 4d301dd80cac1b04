//! What the benches stand on: a real HAProxy and a real supervisord of their own, the pipes of a listener, and
//! tables of what was measured.

#![allow(dead_code, reason = "each bench is a crate of its own and uses a part of this")]

pub(crate) mod figures;
pub(crate) mod haproxy;
pub(crate) mod pipes;
pub(crate) mod supervisord;

use std::time::Duration;

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

/// Lets others run. A bench looks again and again at peers that cannot be waited for.
#[allow(clippy::disallowed_methods, reason = "no poll tells when HAProxy changes a server's state")]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}
