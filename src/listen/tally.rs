//! What the listener has done, counted for Prometheus.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::link::Link;
use crate::agent::{Answer, Circuit, Note, Reconciler, Step, Trouble};
use crate::haproxy::{AdminState, Kind, ServerRef};
use crate::sinks::{MetricKind, write_family, write_label, write_sample};

/// supervisord has some thirty events; what comes beyond this many names is counted as `other`.
const MOST_NAMES: usize = 64;
const OTHER: &str = "other";

/// What is counted over all HAProxies.
#[derive(Debug)]
pub(super) struct Tally {
    started: f64,
    events: BTreeMap<String, u64>,
    deaths: u64,
}

impl Default for Tally {
    fn default() -> Self {
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { started: started.as_secs_f64(), events: BTreeMap::new(), deaths: 0 }
    }
}

impl Tally {
    pub(super) fn event(&mut self, name: &str) {
        let is_known = self.events.contains_key(name) || self.events.len() < MOST_NAMES;
        *self.events.entry(if is_known { name } else { OTHER }.to_owned()).or_default() += 1;
    }

    pub(super) fn death(&mut self) {
        self.deaths += 1;
    }

    /// All of it as text.
    pub(super) fn text(&self, links: &[Link]) -> Vec<u8> {
        let mut out = Vec::new();
        self.write_own(&mut out);
        write_haproxies(&mut out, links);
        out
    }

    fn write_own(&self, out: &mut Vec<u8>) {
        let name = "supervisor_haproxy_listener_info";
        write_family(out, name, MetricKind::Gauge, "The version of the listener.");
        write_sample(out, name, [&*label("version", env!("CARGO_PKG_VERSION"))], 1);
        let name = "supervisor_haproxy_listener_start_time_seconds";
        write_family(out, name, MetricKind::Gauge, "When the listener was started, in epoch seconds.");
        write_sample(out, name, [], self.started);
        let name = "supervisor_haproxy_listener_deaths_total";
        write_family(out, name, MetricKind::Counter, "Deaths of programs that the kernel has told.");
        write_sample(out, name, [], self.deaths);
        if !self.events.is_empty() {
            let name = "supervisor_haproxy_listener_events_total";
            write_family(out, name, MetricKind::Counter, "Events of supervisord, by their names.");
            for (event, count) in &self.events {
                write_sample(out, name, [&*label("event", event)], count);
            }
        }
    }
}

fn label(name: &str, value: &str) -> String {
    let mut label = String::new();
    write_label(&mut label, name, value);
    label
}

/// What is counted for each HAProxy.
#[derive(Debug)]
pub(super) struct LinkTally {
    /// The label with the address.
    place: String,
    commands: BTreeMap<(&'static str, &'static str), u64>,
    transitions: BTreeMap<&'static str, u64>,
    lag: Lag,
}

impl LinkTally {
    pub(super) fn new(place: &str) -> Self {
        let (commands, transitions) = (BTreeMap::new(), BTreeMap::new());
        Self { place: label("haproxy", place), commands, transitions, lag: Lag::default() }
    }

    pub(super) fn command(&mut self, step: &Step, result: &Result<Answer, Trouble>) {
        let command = match step {
            Step::Set { .. } => "set",
            Step::Look(_) => "look",
            Step::Names(..) => "names",
            Step::Survey => "survey",
        };
        let result = match result {
            Ok(_) => "done",
            Err(Trouble::Refused(_)) => "refused",
            Err(Trouble::Silence(_)) => "silent",
            Err(Trouble::Gibberish(_)) => "not_understood",
        };
        *self.commands.entry((command, result)).or_default() += 1;
    }

    pub(super) fn transition(&mut self, to: Kind) {
        *self.transitions.entry(to.word()).or_default() += 1;
    }

    pub(super) fn want(&mut self, now: Instant, server: &ServerRef, state: AdminState) {
        self.lag.want(now, server, state);
    }

    pub(super) fn forget(&mut self, server: &ServerRef) {
        self.lag.waiting.remove(server);
    }

    pub(super) fn note(&mut self, now: Instant, note: &Note) {
        if let Note::Told { server, state, .. } | Note::Already(server, state) = note {
            self.lag.taken(now, server, *state);
        }
    }
}

/// How long it takes from an event or a death until HAProxy has taken what follows from it.
#[derive(Debug, Default)]
struct Lag {
    /// What is wanted and was not taken yet, and since when.
    waiting: BTreeMap<ServerRef, (AdminState, Instant)>,
    /// For each bound, how many took longer than the one before and not longer than it.
    buckets: [u64; BOUNDS.len()],
    count: u64,
    sum: Duration,
    longest: Duration,
}

/// In milliseconds: one command takes less than one, and an HAProxy that is restarted some seconds.
const BOUNDS: [u64; 13] = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 5000, 15_000, 60_000];

impl Lag {
    /// Who wants the same again has wanted it since then.
    fn want(&mut self, now: Instant, server: &ServerRef, state: AdminState) {
        match self.waiting.get(server) {
            Some((known, _)) if *known == state => {}
            _ => drop(self.waiting.insert(server.clone(), (state, now))),
        }
    }

    fn taken(&mut self, now: Instant, server: &ServerRef, state: AdminState) {
        let Some((wanted, since)) = self.waiting.get(server) else { return };
        if *wanted != state {
            return;
        }
        let lag = now.saturating_duration_since(*since);
        self.waiting.remove(server);
        let bucket = BOUNDS.iter().position(|bound| lag <= Duration::from_millis(*bound));
        if let Some(bucket) = bucket.and_then(|bucket| self.buckets.get_mut(bucket)) {
            *bucket += 1;
        }
        self.count += 1;
        self.sum += lag;
        self.longest = self.longest.max(lag);
    }

    fn write(&self, out: &mut Vec<u8>, place: &str) {
        let bucket = format!("{LAG}_bucket");
        let mut sum = 0;
        for (bound, count) in BOUNDS.iter().zip(&self.buckets) {
            sum += count;
            let bound = format!("{:?}", Duration::from_millis(*bound).as_secs_f64());
            write_sample(out, &bucket, [place, &label("le", &bound)], sum);
        }
        write_sample(out, &bucket, [place, &label("le", "+Inf")], self.count);
        write_sample(out, format!("{LAG}_sum"), [place], self.sum.as_secs_f64());
        write_sample(out, format!("{LAG}_count"), [place], self.count);
    }
}

const LAG: &str = "supervisor_haproxy_listener_reconcile_seconds";
const CIRCUITS: [Circuit; 3] = [Circuit::Closed, Circuit::Open, Circuit::HalfOpen];
const STATES: [AdminState; 3] = [AdminState::Ready, AdminState::Drain, AdminState::Maint];

fn write_haproxies(out: &mut Vec<u8>, links: &[Link]) {
    let all = || links.iter().map(Link::account);
    let name = "supervisor_haproxy_listener_commands_total";
    if all().any(|(tally, _)| !tally.commands.is_empty()) {
        write_family(out, name, MetricKind::Counter, "Commands for HAProxy, by what became of them.");
    }
    for (tally, _) in all() {
        for ((command, result), count) in &tally.commands {
            let (command, result) = (label("command", command), label("result", result));
            write_sample(out, name, [&*tally.place, &command, &result], count);
        }
    }
    let name = "supervisor_haproxy_listener_server_transitions_total";
    if all().any(|(tally, _)| !tally.transitions.is_empty()) {
        write_family(out, name, MetricKind::Counter, "Changes of servers, by what they became.");
    }
    for (tally, _) in all() {
        for (to, count) in &tally.transitions {
            write_sample(out, name, [&*tally.place, &label("to", to)], count);
        }
    }
    let help = "From an event or a death to the state that HAProxy has taken.";
    write_family(out, LAG, MetricKind::Histogram, help);
    all().for_each(|(tally, _)| tally.lag.write(out, &tally.place));
    let name = "supervisor_haproxy_listener_reconcile_longest_seconds";
    write_family(out, name, MetricKind::Gauge, "The longest of these times.");
    for (tally, _) in all() {
        write_sample(out, name, [&*tally.place], tally.lag.longest.as_secs_f64());
    }
    let name = "supervisor_haproxy_listener_breaker_state";
    write_family(
        out,
        name,
        MetricKind::Gauge,
        "The circuit breaker before HAProxy: 1 for the state that it has.",
    );
    for (tally, reconciler) in all() {
        for circuit in CIRCUITS {
            let is_so = u8::from(circuit == reconciler.circuit());
            write_sample(out, name, [&*tally.place, &label("state", circuit.word())], is_so);
        }
    }
    write_wanted(out, &all().collect::<Vec<_>>());
}

fn write_wanted(out: &mut Vec<u8>, all: &[(&LinkTally, &Reconciler)]) {
    let name = "supervisor_haproxy_listener_servers_wanted";
    write_family(out, name, MetricKind::Gauge, "Servers, by the state that is wanted of them.");
    for (tally, reconciler) in all {
        for state in STATES {
            let count = reconciler.wanted().filter(|(_, wanted)| *wanted == state).count();
            write_sample(out, name, [&*tally.place, &label("state", state.word())], count);
        }
    }
    let name = "supervisor_haproxy_listener_servers_pending";
    write_family(out, name, MetricKind::Gauge, "Servers whose state HAProxy has not taken yet.");
    for (tally, reconciler) in all {
        write_sample(out, name, [&*tally.place], reconciler.pending().count());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lag_counts_from_the_first_wish_for_what_was_taken() {
        let (start, server) = (Instant::now(), "a/x".parse().unwrap());
        let at = |ms| start + Duration::from_millis(ms);
        let mut lag = Lag::default();
        lag.taken(at(0), &server, AdminState::Ready);
        assert_eq!(lag.count, 0, "nobody has asked for it");
        lag.want(at(0), &server, AdminState::Maint);
        lag.want(at(10), &server, AdminState::Ready);
        lag.want(at(20), &server, AdminState::Ready);
        lag.taken(at(25), &server, AdminState::Maint);
        assert_eq!(lag.count, 0, "that is not wanted any more");
        lag.taken(at(30), &server, AdminState::Ready);
        lag.taken(at(40), &server, AdminState::Ready);
        assert_eq!(
            (lag.count, lag.sum, lag.longest),
            (1, Duration::from_millis(20), Duration::from_millis(20))
        );
        let mut out = Vec::new();
        lag.write(&mut out, "haproxy=\"h\"");
        let text = String::from_utf8(out).unwrap();
        for line in [
            "_bucket{haproxy=\"h\",le=\"0.01\"} 0\n",
            "_bucket{haproxy=\"h\",le=\"0.025\"} 1\n",
            "_bucket{haproxy=\"h\",le=\"1.0\"} 1\n",
            "_bucket{haproxy=\"h\",le=\"+Inf\"} 1\n",
            "_sum{haproxy=\"h\"} 0.02\n",
            "_count{haproxy=\"h\"} 1\n",
        ] {
            assert!(text.contains(&format!("{LAG}{line}")), "{line} in {text}");
        }
    }

    #[test]
    fn names_of_events_cannot_fill_the_memory() {
        let mut tally = Tally::default();
        for number in 0..1000 {
            tally.event(&format!("E{number}"));
        }
        assert_eq!((tally.events.len(), tally.events[OTHER]), (MOST_NAMES + 1, 1000 - MOST_NAMES as u64));
    }
}
