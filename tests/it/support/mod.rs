//! What the tests stand on: the listener over pipes, a scripted HAProxy, and real peers in a directory of
//! their own. Nothing here waits for a fixed time: it waits for a state, under a deadline.

#[cfg(feature = "web")]
mod browser;
mod commands;
mod disk;
mod fake;
mod haproxy;
#[cfg(feature = "kafka")]
mod kafka;
pub(crate) mod known;
mod listener;
mod master;
mod pipeline;
mod programs;
#[cfg(feature = "web")]
mod prometheus;
#[cfg(feature = "web")]
mod receiver;
#[cfg(feature = "web")]
mod serve;
mod services;
mod sink;
#[cfg(feature = "web")]
mod stage;
mod supervisord;

use std::time::{Duration, Instant};

#[cfg(feature = "web")]
pub(crate) use browser::{Browser, DOWN, ENTER, ESCAPE, Look, TAB};
pub(crate) use commands::{Run, Running};
pub(crate) use disk::Disk;
pub(crate) use fake::{Act, FakeHaproxy, servers_state, survey};
pub(crate) use haproxy::{Haproxy, free_port};
#[cfg(feature = "kafka")]
pub(crate) use kafka::{Broker, committed, read_topic, take_away};
pub(crate) use listener::{BINARY, Listener, event};
pub(crate) use master::{Master, web_server};
pub(crate) use pipeline::{Daemon, Files, Pipeline, instant_haproxy, names, snapshot};
pub(crate) use programs::{copy_program, write_script};
#[cfg(feature = "web")]
pub(crate) use prometheus::Prometheus;
#[cfg(feature = "web")]
pub(crate) use receiver::{Post, Receiver, Reply, head};
#[cfg(feature = "web")]
pub(crate) use serve::{ADMIN_KEY, Answer, Serve, TOKEN, ask_port, secret};
pub(crate) use services::{Carbon, Statsd, check_metrics};
pub(crate) use sink::{Delivery, Manner, Sink};
#[cfg(feature = "web")]
pub(crate) use stage::{BELOW, Stage};
pub(crate) use supervisord::{Program, Supervisord, World};

/// Longer than anything takes on a busy machine; only a failure waits so long.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Waits until `probe` gives a value.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(start.elapsed() < DEADLINE, "waited {DEADLINE:?} for: {what}");
        pause();
    }
}

/// Between two looks at something that tells nobody when it changes.
#[allow(clippy::disallowed_methods)]
pub(crate) fn pause() {
    std::thread::sleep(Duration::from_millis(5));
}

/// Watches something that must stay as it is for a while.
#[track_caller]
pub(crate) fn for_a_while(length: Duration, mut holds: impl FnMut()) {
    let start = Instant::now();
    while start.elapsed() < length {
        holds();
        pause();
    }
}
