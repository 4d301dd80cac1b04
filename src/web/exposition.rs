//! Prometheus' text format, read: whether a file of somebody else's may be passed on, and the same metrics as OpenMetrics
//! 1.0 (<https://prometheus.io/docs/specs/om/open_metrics_spec/>) for who asks for that.
//!
//! The two differ in what stands above the samples: in OpenMetrics the family of a counter has no `_total`, which only its
//! samples have. So samples are passed on as they are, without a copy: they may be many megabytes. A counter whose name
//! does not end so, or whose family would have the name of another, is of the type `unknown`: that is no lie, and valid.

use std::collections::BTreeSet;

use axum::body::Bytes;
use axum::http::HeaderMap;
use axum::http::header::ACCEPT;
use memchr::memmem;

/// All metrics of a listener begin so, and none of others.
const LISTENER: &str = "supervisor_haproxy_listener_";
/// This one is told of the listener, and not by it.
const UP: &str = "supervisor_haproxy_listener_up";

// --- who asks for what

/// Whether a client would rather have OpenMetrics 1.0 than the text format.
pub(super) fn wants_open_metrics(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let ranges: Vec<Range<'_>> = values.flat_map(|value| value.split(',')).map(Range::parse).collect();
    let best = |is_so: &dyn Fn(&Range<'_>) -> bool| {
        ranges.iter().filter(|range| is_so(range)).map(|range| range.quality).max().unwrap_or(0)
    };
    let open =
        best(&|range| range.kind == "application/openmetrics-text" && matches!(range.version, "" | "1.0.0"));
    let text = best(&|range| range.kind == "text/plain");
    open > 0 && open >= text
}

/// A media range of `Accept` (RFC 9110, 12.5.1), as far as it matters here.
struct Range<'a> {
    kind: String,
    version: &'a str,
    /// In thousandths.
    quality: u16,
}

impl<'a> Range<'a> {
    fn parse(text: &'a str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
        let mut range = Self { kind, version: "", quality: 1000 };
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            match &*name.trim().to_ascii_lowercase() {
                "version" => range.version = value.trim().trim_matches('"'),
                "q" => range.quality = quality(value.trim()),
                _ => {}
            }
        }
        range
    }
}

/// What is no quality is none.
fn quality(text: &str) -> u16 {
    let value = text.parse::<f64>().ok().filter(|value| (0.0..=1.0).contains(value)).unwrap_or_default();
    // From 0 to 1000.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let thousandths = (value * 1000.0) as u16;
    thousandths
}

// --- as OpenMetrics

/// What stands above the samples of a metric, and where.
struct Head<'a> {
    start: usize,
    end: usize,
    name: &'a str,
    kind: &'a str,
    help: &'a str,
}

/// The same metrics as OpenMetrics. What they are of is whole lines of the text format, each metric in one piece.
pub(super) fn open_metrics(pieces: &[Bytes]) -> Vec<Bytes> {
    let texts: Vec<&str> =
        pieces.iter().map(|piece| std::str::from_utf8(piece).unwrap_or_default()).collect();
    let heads: Vec<Vec<Head<'_>>> = texts.iter().map(|text| heads(text)).collect();
    let mut names: BTreeSet<&str> = heads.iter().flatten().map(|head| head.name).collect();
    let mut out = Vec::new();
    for (piece, heads) in pieces.iter().zip(&heads) {
        for (head, next) in heads.iter().zip(heads.iter().skip(1).map(|next| next.start).chain([piece.len()]))
        {
            out.push(Bytes::from(head.as_open_metrics(&mut names)));
            out.push(piece.slice(head.end..next));
        }
    }
    out.push(Bytes::from_static(b"# EOF\n"));
    out
}

/// Each begins at a line that begins with `#`: no label holds a raw line end.
fn heads(text: &str) -> Vec<Head<'_>> {
    let later = memmem::find_iter(text.as_bytes(), b"\n# HELP ").map(|at| at + 1);
    let first = text.starts_with("# HELP ").then_some(0);
    first.into_iter().chain(later).filter_map(|start| Head::parse(text, start)).collect()
}

impl<'a> Head<'a> {
    fn parse(text: &'a str, start: usize) -> Option<Self> {
        let (help, rest) = text.get(start..)?.split_once('\n')?;
        let (kind, _) = rest.split_once('\n')?;
        let end = start + help.len() + kind.len() + 2;
        let (name, help) = help.strip_prefix("# HELP ")?.split_once(' ')?;
        let kind = kind.strip_prefix("# TYPE ")?.strip_prefix(name)?.trim_start();
        Some(Self { start, end, name, kind, help })
    }

    /// `names` are those that are taken.
    fn as_open_metrics(&self, names: &mut BTreeSet<&'a str>) -> String {
        let (family, kind) = match (self.kind, self.name.strip_suffix("_total")) {
            ("counter", Some(family)) if names.insert(family) => (family, "counter"),
            ("counter", _) => (self.name, "unknown"),
            (kind, _) => (self.name, kind),
        };
        // A quote has to be escaped here, and must not be in the text format.
        let help = self.help.replace('"', "\\\"");
        format!("# HELP {family} {help}\n# TYPE {family} {kind}\n")
    }
}

// --- what a listener tells

/// Fails with what is wrong, and where, unless all of it is metrics of a listener in the text format.
pub(super) fn check_listener(text: &str) -> Result<(), String> {
    let mut reader = Reader::default();
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let checked = match line.strip_suffix('\n') {
            Some(line) => reader.line(line),
            None => Err("it is cut off"),
        };
        checked.map_err(|why| format!("line {}: {why}", number + 1))?;
    }
    Ok(())
}

#[derive(Default)]
struct Reader<'a> {
    families: BTreeSet<&'a str>,
    name: &'a str,
    /// Empty before it was told.
    kind: &'a str,
    /// All of the family, so that none is there twice.
    series: BTreeSet<&'a str>,
}

impl<'a> Reader<'a> {
    fn line(&mut self, line: &'a str) -> Result<(), &'static str> {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').ok_or("a HELP without a text")?;
            return self.begin(name, help);
        }
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').ok_or("a TYPE without a type")?;
            return self.declare(name, kind);
        }
        self.sample(line)
    }

    fn begin(&mut self, name: &'a str, help: &str) -> Result<(), &'static str> {
        if !name.starts_with(LISTENER) || name == UP || !name.bytes().all(is_name) {
            return Err("the name of a metric that is no listener's");
        }
        if !self.families.insert(name) {
            return Err("a metric that was there before");
        }
        if help.chars().any(char::is_control) || has_bad_escape(help) {
            return Err("a HELP with a character that belongs into none");
        }
        (self.name, self.kind) = (name, "");
        self.series.clear();
        Ok(())
    }

    fn declare(&mut self, name: &str, kind: &'a str) -> Result<(), &'static str> {
        if name != self.name || !self.kind.is_empty() || !["counter", "gauge", "histogram"].contains(&kind) {
            return Err("a TYPE that does not belong there");
        }
        self.kind = kind;
        Ok(())
    }

    fn sample(&mut self, line: &'a str) -> Result<(), &'static str> {
        let (series, value) = line.rsplit_once(' ').ok_or("neither a comment nor a sample")?;
        let (name, labels) = match series.split_once('{') {
            Some((name, labels)) => (name, labels.strip_suffix('}').ok_or("labels without an end")?),
            None => (series, ""),
        };
        if !self.owns(name) {
            return Err("a sample of another metric than the one above it");
        }
        if !are_labels(labels) {
            return Err("labels that are none");
        }
        if !is_value(value, self.kind) {
            return Err("a value that is none");
        }
        if self.series.insert(series) { Ok(()) } else { Err("a sample that was there before") }
    }

    fn owns(&self, name: &str) -> bool {
        let Some(end) = name.strip_prefix(self.name).filter(|_| !self.name.is_empty()) else { return false };
        match self.kind {
            "histogram" => ["_bucket", "_sum", "_count"].contains(&end),
            "counter" | "gauge" => end.is_empty(),
            _ => false,
        }
    }
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'
}

fn is_value(text: &str, kind: &str) -> bool {
    let digits = |byte: u8| byte.is_ascii_digit() || b"+-.eE".contains(&byte);
    let number = text.parse::<f64>().ok().filter(|_| text.bytes().all(digits));
    number.is_some_and(|number| kind == "gauge" || number >= 0.0)
}

/// `name="value"`, with commas between them.
fn are_labels(mut text: &str) -> bool {
    let mut names = BTreeSet::new();
    while !text.is_empty() {
        let Some((name, rest)) = text.split_once("=\"") else { return false };
        let Some(end) = end_of_value(rest) else { return false };
        let (value, rest) = rest.split_at(end);
        let is_good = !name.is_empty() && name.bytes().all(is_name) && names.insert(name);
        if !is_good || value.chars().any(char::is_control) || has_bad_escape(value) {
            return false;
        }
        text = match rest.strip_prefix("\",") {
            Some("") => return false,
            Some(rest) => rest,
            None if rest == "\"" => "",
            None => return false,
        };
    }
    true
}

/// Where the first quote is that no backslash escapes.
fn end_of_value(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    text.bytes().position(|byte| {
        let is_end = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        is_end
    })
}

/// A backslash has to be followed by one of three characters.
fn has_bad_escape(text: &str) -> bool {
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character == '\\' && !matches!(characters.next(), Some('\\' | '"' | 'n')) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn asks(accept: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        for value in accept {
            headers.append(ACCEPT, value.parse().unwrap());
        }
        wants_open_metrics(&headers)
    }

    #[test]
    fn openmetrics_is_for_those_who_would_rather_have_it() {
        // What Prometheus 2.42 and 3 send.
        assert!(asks(&[
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                        text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
        ]));
        assert!(
            asks(&["application/openmetrics-text"])
                && asks(&["text/plain;q=0.3", "Application/OpenMetrics-Text;q=0.4"])
        );
        for accept in [
            &[][..],
            &["*/*"],
            &["text/plain"],
            &["application/openmetrics-text;q=0"],
            &["application/openmetrics-text;version=0.0.1"],
            &["application/openmetrics-text;q=0.1,text/plain"],
            &["application/openmetrics-text;q=x"],
            &[";;=,,"],
        ] {
            assert!(!asks(accept), "{accept:?}");
        }
    }

    fn converted(pieces: &[&str]) -> String {
        let pieces: Vec<Bytes> =
            pieces.iter().map(|piece| Bytes::copy_from_slice(piece.as_bytes())).collect();
        String::from_utf8(open_metrics(&pieces).concat()).unwrap()
    }

    #[test]
    fn the_family_of_a_counter_has_no_total() {
        let text = "# HELP a_total So \"many\".\n# TYPE a_total counter\na_total{x=\"# HELP\"} 1\na_total 2\n\
                    # HELP b B.\n# TYPE b gauge\nb 3\n";
        let expected = "# HELP a So \\\"many\\\".\n# TYPE a counter\na_total{x=\"# HELP\"} 1\na_total 2\n\
                        # HELP b B.\n# TYPE b gauge\nb 3\n# EOF\n";
        assert_eq!(converted(&[text]), expected);
        assert_eq!(converted(&[]), "# EOF\n");
    }

    #[test]
    fn a_counter_that_openmetrics_cannot_name_is_of_unknown_type() {
        let counter = |name: &str| format!("# HELP {name} X.\n# TYPE {name} counter\n{name} 1\n");
        let text = converted(&[
            &counter("plain"),
            &counter("same_total"),
            "# HELP same X.\n# TYPE same gauge\nsame 1\n",
        ]);
        for line in ["# TYPE plain unknown", "# TYPE same_total unknown", "# TYPE same gauge", "same_total 1"]
        {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }

    const GOOD: &str = "# HELP supervisor_haproxy_listener_x_total X.\n# TYPE supervisor_haproxy_listener_x_total counter\n\
                        supervisor_haproxy_listener_x_total{a=\"b \\\"\\n}\",c=\"\"} 1\n\
                        # HELP supervisor_haproxy_listener_y_seconds Y.\n\
                        # TYPE supervisor_haproxy_listener_y_seconds histogram\n\
                        supervisor_haproxy_listener_y_seconds_bucket{le=\"+Inf\"} 1\n\
                        supervisor_haproxy_listener_y_seconds_sum 0.5\n\
                        supervisor_haproxy_listener_y_seconds_count 1\n";

    #[test]
    fn what_a_listener_writes_is_taken_and_all_else_is_not() {
        assert_eq!(check_listener(GOOD), Ok(()));
        assert_eq!(check_listener(""), Ok(()));
        let x = "supervisor_haproxy_listener_x_total";
        for (from, to, why) in [
            (x, "supervisor_haproxy_up", "line 1: the name of a metric that is no listener's"),
            (x, "supervisor_haproxy_listener_up", "line 1: the name of a metric that is no listener's"),
            ("counter", "summary", "line 2: a TYPE that does not belong there"),
            ("} 1\n#", "} 1 1700000000\n#", "line 3: labels without an end"),
            ("} 1\n#", "} -1\n#", "line 3: a value that is none"),
            ("} 1\n#", "} infinity\n#", "line 3: a value that is none"),
            ("a=\"b", "a=b", "line 3: labels that are none"),
            ("c=\"\"", "a=\"\"", "line 3: labels that are none"),
            ("\\n}", "\\x}", "line 3: labels that are none"),
            ("x_total{", "z_total{", "line 3: a sample of another metric than the one above it"),
            ("_sum 0.5", "_min 0.5", "line 7: a sample of another metric than the one above it"),
            (
                "# HELP supervisor_haproxy_listener_y",
                "\n# HELP supervisor_haproxy_listener_y",
                "line 4: neither",
            ),
            ("_count 1\n", "_count 1", "line 8: it is cut off"),
            ("_count 1\n", "_count 1\n# EOF\n", "line 9: a sample of another"),
        ] {
            let error = check_listener(&GOOD.replacen(from, to, 9)).expect_err(to);
            assert!(error.starts_with(why), "{to}: {error}");
        }
        let twice = GOOD.to_owned() + GOOD;
        assert_eq!(check_listener(&twice).unwrap_err(), "line 9: a metric that was there before");
        let line = "supervisor_haproxy_listener_y_seconds_sum 0.5\n";
        let twice = GOOD.replace(line, &line.repeat(2));
        assert_eq!(check_listener(&twice).unwrap_err(), "line 8: a sample that was there before");
    }

    proptest! {
        #[test]
        fn no_text_makes_the_readers_panic(cut in 0..GOOD.len(), text in "[ -~\n#é]{0,60}") {
            let damaged = format!("{}{text}{}", &GOOD[..cut], &GOOD[cut..]);
            let _ = check_listener(&damaged);
            let _ = converted(&[&damaged, &text]);
        }
    }
}
