//! Names of series: what each protocol lets stand in them, and how it writes tags. What would end a name or a tag
//! early becomes an underscore.

use std::borrow::Cow;

/// Whose rules a name follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Graphite's; with tags as `name;tag=value`. Source: "Graphite Tag Support" in Graphite's documentation, and
    /// `TaggedSeries` in carbon's `util.py`, which drops a series that breaks them.
    Graphite,
    /// statsd's; with tags as in `name:1|g|#tag:value,tag:value`. Source: "Datagram Format and Shell Usage" in
    /// Datadog's documentation; statsd itself takes them since 0.9.
    Statsd,
}

/// The name of a series but for the metric, which stands in its middle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Series {
    pub(super) before: String,
    pub(super) after: String,
}

impl Series {
    /// A path without tags; it ends with a dot if a metric is to follow.
    #[must_use]
    pub fn plain(dialect: Dialect, path: &str) -> Self {
        Self { before: clean(path, dialect.ends_a_name()), after: String::new() }
    }

    /// A name, as `plain` has its path, and tags. The names of tags have letters only.
    pub fn tagged<'t>(
        dialect: Dialect,
        name: &str,
        tags: impl IntoIterator<Item = (&'static str, Cow<'t, str>)>,
    ) -> Self {
        let mut series = Self::plain(dialect, name);
        let (first, next, is) = dialect.marks();
        for (tag, value) in tags {
            let mark = if series.after.is_empty() { first } else { next };
            series.after.extend([mark, tag, is, &dialect.tag_value(&value)]);
        }
        series
    }
}

impl Dialect {
    fn ends_a_name(self) -> fn(char) -> bool {
        match self {
            Self::Graphite => |character| character == ';',
            Self::Statsd => |character| matches!(character, ':' | '|' | '@'),
        }
    }

    /// What stands before the first tag, before each other one, and between its name and its value.
    fn marks(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Graphite => (";", ";", "="),
            Self::Statsd => ("|#", ",", ":"),
        }
    }

    /// No value is empty: carbon would drop the series, and others the tag.
    fn tag_value(self, value: &str) -> String {
        let value = match self {
            Self::Graphite => clean(value, |character| character == ';'),
            Self::Statsd => clean(value, |character| matches!(character, ',' | '|')),
        };
        match (self, value.strip_prefix('~')) {
            (Self::Graphite, Some(rest)) => format!("_{rest}"),
            _ if value.is_empty() => "_".to_owned(),
            _ => value,
        }
    }
}

/// Without white space and control characters, which end a line or a word of it, and without what `ends` the text.
pub(super) fn clean(text: &str, ends: fn(char) -> bool) -> String {
    text.chars().map(|c| if c.is_whitespace() || c.is_control() || ends(c) { '_' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Dialect::{Graphite, Statsd};
    use super::*;

    fn text(series: &Series) -> String {
        format!("{}M{}", series.before, series.after)
    }

    fn tagged(dialect: Dialect, value: &str) -> String {
        text(&Series::tagged(dialect, "lb.", [("host", value.into()), ("server", "s:1".into())]))
    }

    #[test]
    fn a_path_has_nothing_that_ends_it() {
        assert_eq!(text(&Series::plain(Graphite, "a b;c=~d:e|f@\n.")), "a_b_c=~d:e|f@_.M");
        assert_eq!(text(&Series::plain(Statsd, "a b;c=~d:e|f@\n.")), "a_b;c=~d_e_f__.M");
    }

    #[test]
    fn tags_follow_the_metric() {
        assert_eq!(tagged(Graphite, "lb-1.example.com"), "lb.M;host=lb-1.example.com;server=s:1");
        assert_eq!(tagged(Statsd, "lb-1.example.com"), "lb.M|#host:lb-1.example.com,server:s:1");
        assert_eq!(text(&Series::tagged(Graphite, "lb.", [])), "lb.M");
        assert_eq!(text(&Series::tagged(Statsd, "lb.", [])), "lb.M");
    }

    #[test]
    fn a_value_that_breaks_graphites_rules_is_mended() {
        for (value, expected) in
            [("", "_"), ("~a", "_a"), ("a~", "a~"), ("a;b=c", "a_b=c"), ("a b\n", "a_b_"), ("!^=", "!^=")]
        {
            assert_eq!(tagged(Graphite, value), format!("lb.M;host={expected};server=s:1"), "{value:?}");
        }
    }

    #[test]
    fn a_value_that_would_end_statsds_tag_is_mended() {
        for (value, expected) in
            [("", "_"), ("~a", "~a"), ("a,b|#c", "a_b_#c"), ("a b\n", "a_b_"), ("a:b", "a:b")]
        {
            assert_eq!(tagged(Statsd, value), format!("lb.M|#host:{expected},server:s:1"), "{value:?}");
        }
    }

    proptest! {
        /// By the rules of carbon's `TaggedSeries.parse_carbon`.
        #[test]
        fn whatever_the_value_carbon_reads_two_tags(value in any::<String>()) {
            let name = tagged(Graphite, &value);
            let segments: Vec<&str> = name.split(';').collect();
            prop_assert_eq!(segments.len(), 3);
            for segment in &segments[1..] {
                let (tag, value) = segment.split_once('=').unwrap();
                prop_assert!(["host", "server"].contains(&tag) && !value.is_empty() && !value.starts_with('~'));
            }
            prop_assert_eq!(name.split_whitespace().count(), 1);
        }

        #[test]
        fn whatever_the_value_statsd_reads_two_tags(value in any::<String>()) {
            let name = tagged(Statsd, &value);
            let (_, tags) = name.split_once("|#").unwrap();
            prop_assert_eq!(tags.split(',').count(), 2);
            prop_assert!(!tags.contains('|') && name.split_whitespace().count() == 1);
        }
    }
}
