//! What this program tells Prometheus of itself and of what it sees. HAProxy's own metrics are in
//! [`crate::stats::outlets::Exposition`].

use std::collections::BTreeMap;

use super::{Health, Reading, Status};
use crate::agent::Circuit;
use crate::sinks::{MetricKind, write_family, write_label, write_sample};

/// A family of metrics and its samples, each with the value of its one label.
struct Family<'a> {
    name: &'a str,
    kind: MetricKind,
    help: &'a str,
    label: &'a str,
}

impl Family<'_> {
    fn write<'v>(&self, out: &mut Vec<u8>, samples: impl IntoIterator<Item = (&'v str, f64)>) {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return;
        }
        write_family(out, self.name, self.kind, self.help);
        for (value, sample) in samples {
            let mut label = String::new();
            if !self.label.is_empty() {
                write_label(&mut label, self.label, value);
            }
            write_sample(out, self.name, [&*label], sample);
        }
    }
}

fn gauge(out: &mut Vec<u8>, name: &str, help: &str, value: Option<f64>) {
    Family { name, kind: MetricKind::Gauge, help, label: "" }.write(out, value.map(|value| ("", value)));
}

/// One series for each value that there could be; 1 for the one that is.
fn states<'v>(
    out: &mut Vec<u8>,
    (name, label, help): (&str, &str, &str),
    all: impl IntoIterator<Item = &'v str>,
    now: &str,
) {
    let samples = all.into_iter().map(|state| (state, truth(state == now)));
    Family { name, kind: MetricKind::Gauge, help, label }.write(out, samples);
}

fn counts(out: &mut Vec<u8>, (name, label, help): (&str, &str, &str), counts: &BTreeMap<&'static str, u64>) {
    let samples = counts.iter().map(|(value, count)| (*value, float(*count)));
    Family { name, kind: MetricKind::Counter, help, label }.write(out, samples);
}

fn truth(is_so: bool) -> f64 {
    if is_so { 1.0 } else { 0.0 }
}

/// Prometheus has no other numbers.
#[allow(clippy::cast_precision_loss)]
fn float(count: u64) -> f64 {
    count as f64
}

/// Appends what does not depend on the number of servers.
pub fn write_own(health: &Health, out: &mut Vec<u8>) {
    let version = [(env!("CARGO_PKG_VERSION"), 1.0)];
    let help = "The version of this program.";
    let name = "supervisor_haproxy_build_info";
    Family { name, kind: MetricKind::Gauge, help, label: "version" }.write(out, version);
    write_checks(health, out);
    write_circuit(health, out);
    let Health { counters, .. } = health;
    let name = "supervisor_haproxy_server_transitions_total";
    counts(
        out,
        (name, "to", "Changes of servers between two checks, by what they became."),
        &counters.transitions,
    );
    let name = "supervisor_haproxy_recoveries_total";
    counts(out, (name, "outcome", "Attempts of recovery, by how they ended."), &counters.recoveries);
    let help = "Whether HAProxy takes the configuration that is on the disk.";
    gauge(out, "supervisor_haproxy_configuration_valid", help, health.configuration_valid.map(truth));
}

fn write_checks(health: &Health, out: &mut Vec<u8>) {
    let words = Status::ALL.map(Status::word);
    let help = "How HAProxy fares: 1 for the status that it has.";
    states(out, ("supervisor_haproxy_status", "status", help), words, health.judgement.status.word());
    let check = health.check.as_ref();
    let help = "Whether HAProxy answered the last check.";
    gauge(out, "supervisor_haproxy_up", help, check.map(|check| truth(check.error.is_none())));
    let help = "How long the last check took.";
    gauge(
        out,
        "supervisor_haproxy_check_duration_seconds",
        help,
        check.map(|check| check.took.as_secs_f64()),
    );
    let help = "When the last check ended, in epoch seconds.";
    let at = check.map(|check| check.at.as_duration().as_secs_f64());
    gauge(out, "supervisor_haproxy_last_check_timestamp_seconds", help, at);
    let help = "Checks by their result; those that the breaker kept from being made are left_alone.";
    counts(out, ("supervisor_haproxy_checks_total", "result", help), &health.counters.checks);
}

fn write_circuit(health: &Health, out: &mut Vec<u8>) {
    let words = [Circuit::Closed, Circuit::Open, Circuit::HalfOpen].map(Circuit::word);
    let help = "The circuit breaker before HAProxy: 1 for the state that it has.";
    states(out, ("supervisor_haproxy_breaker_state", "state", help), words, health.circuit.circuit.word());
    let failures = f64::from(health.circuit.failures);
    let help = "Failures of HAProxy in a row.";
    gauge(out, "supervisor_haproxy_breaker_failures", help, Some(failures));
    let help = "Changes of the circuit breaker, by what it became.";
    counts(out, ("supervisor_haproxy_breaker_changes_total", "to", help), &health.counters.circuits);
}

/// Appends the state of each server, a line for each.
pub(super) fn write_servers(reading: &Reading, out: &mut Vec<u8>) {
    const NAME: &str = "supervisor_haproxy_server_state";
    if reading.rows.is_empty() {
        return;
    }
    write_family(out, NAME, MetricKind::Gauge, "The state that HAProxy shows of a server: always 1.");
    let mut labels = String::new();
    for row in &reading.rows {
        labels.clear();
        write_label(&mut labels, "proxy", row.server.backend());
        write_label(&mut labels, "server", row.server.server());
        write_label(&mut labels, "state", row.status.kind.word());
        write_sample(out, NAME, [&*labels], 1);
    }
}

#[cfg(test)]
mod tests {
    use super::super::reading::tests::reading;
    use super::*;

    fn lines(write: impl FnOnce(&mut Vec<u8>)) -> Vec<String> {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out)
            .unwrap()
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn before_the_first_check_nothing_is_made_up() {
        let lines = lines(|out| write_own(&Health::default(), out));
        assert!(lines.contains(&"supervisor_haproxy_status{status=\"UNKNOWN\"} 1".into()), "{lines:#?}");
        assert!(lines.contains(&"supervisor_haproxy_breaker_state{state=\"CLOSED\"} 1".into()), "{lines:#?}");
        for absent in ["_up", "_check_", "_configuration_valid", "_total"] {
            assert!(!lines.iter().any(|line| line.contains(absent)), "{absent} in {lines:#?}");
        }
    }

    #[test]
    fn each_server_has_the_state_that_haproxy_shows() {
        assert_eq!(
            lines(|out| write_servers(&reading("UP,9,2", "DOWN 1/2,9,2"), out)),
            [
                "supervisor_haproxy_server_state{proxy=\"app\",server=\"web1\",state=\"DOWN\"} 1",
                "supervisor_haproxy_server_state{proxy=\"app\",server=\"web2\",state=\"MAINT\"} 1",
            ]
        );
    }
}
