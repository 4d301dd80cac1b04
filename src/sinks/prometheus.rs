//! Prometheus' text format: <https://prometheus.io/docs/instrumenting/exposition_formats/>. Samples have no time:
//! node exporter refuses a file with one.

use std::fmt::Display;
use std::io::Write;

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// It only grows, until it begins anew.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Counters of how many values were at most so large, their number and their sum.
    Histogram,
}

impl MetricKind {
    fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Appends what comes before all samples of a metric, once. `name` and `help` are ours: nothing in them is escaped.
pub fn write_family(out: &mut Vec<u8>, name: impl Display, kind: MetricKind, help: &str) {
    // A vector takes all that it is given, here and below.
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {}", kind.word());
}

/// Appends a sample. `labels` are parts with commas between them, each of [`write_label`].
pub fn write_sample<'l>(
    out: &mut Vec<u8>,
    name: impl Display,
    labels: impl IntoIterator<Item = &'l str>,
    value: impl Display,
) {
    let _ = write!(out, "{name}");
    let mut before = '{';
    for part in labels.into_iter().filter(|part| !part.is_empty()) {
        let _ = write!(out, "{before}{part}");
        before = ',';
    }
    let end = if before == ',' { "}" } else { "" };
    let _ = writeln!(out, "{end} {value}");
}

/// Appends `name="value"`, behind a comma where `out` has one already.
pub fn write_label(out: &mut String, name: &str, value: &str) {
    if !out.is_empty() {
        out.push(',');
    }
    out.push_str(name);
    out.push_str("=\"");
    for character in value.chars() {
        match character {
            '\\' => out.push_str(r"\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str(r"\n"),
            character => out.push(character),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_a_head_and_a_line_for_each_sample() {
        let mut out = Vec::new();
        write_family(&mut out, "a_total", MetricKind::Counter, "So many.");
        write_sample(&mut out, "a_total", [], 1);
        write_sample(&mut out, "a_total", ["", "b=\"c\"", "", "d=\"e\""], 2.5);
        let text =
            "# HELP a_total So many.\n# TYPE a_total counter\na_total 1\na_total{b=\"c\",d=\"e\"} 2.5\n";
        assert_eq!(String::from_utf8(out).unwrap(), text);
    }

    #[test]
    fn what_would_end_a_label_is_escaped() {
        let mut labels = String::new();
        write_label(&mut labels, "a", "\\ \" \n é");
        write_label(&mut labels, "b", "");
        assert_eq!(labels, r#"a="\\ \" \n é",b="""#);
    }
}
