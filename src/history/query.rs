//! Which entries somebody wants to see.

use std::str::FromStr;

use jiff::Timestamp;

use super::{Entry, Kind};

/// A subject, or several: a `*` stands for any text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(String);

/// No subject is longer.
const LONGEST: usize = 512;
/// Each makes a search longer.
const STARS: usize = 8;

impl Pattern {
    /// The text that the subject is, unless it stands for several.
    pub(super) fn exact(&self) -> Option<&str> {
        (!self.0.contains('*')).then_some(&*self.0)
    }

    fn matches(&self, subject: &str) -> bool {
        let mut parts = self.0.split('*');
        let Some(mut rest) = subject.strip_prefix(parts.next().unwrap_or_default()) else { return false };
        let Some(last) = parts.next_back() else { return rest.is_empty() };
        // The first place where a part fits leaves the most for those behind it.
        for part in parts {
            let Some((_, behind)) = rest.split_once(part) else { return false };
            rest = behind;
        }
        rest.ends_with(last)
    }
}

impl FromStr for Pattern {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_good = (1..=LONGEST).contains(&text.chars().count()) && text.matches('*').count() <= STARS;
        let expected = "expected a subject as in `app/web1`, of up to 512 characters, with up to eight `*`";
        is_good.then(|| Self(text.to_owned())).ok_or(expected)
    }
}

/// What is wanted; nothing that is `None` matters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// So many at most; 0 is none.
    pub limit: usize,
    /// Only those before the entry with this id.
    pub before: Option<i64>,
    /// Only those after the entry with this id.
    pub after: Option<i64>,
    /// Only those that are not older.
    pub since: Option<Timestamp>,
    /// Only those of this kind.
    pub kind: Option<Kind>,
    /// Only those about this.
    pub subject: Option<Pattern>,
}

impl Query {
    /// Whether it asks for this entry, whatever the limit.
    #[must_use]
    pub fn matches(&self, entry: &Entry) -> bool {
        let Self { limit: _, before, after, since, kind, subject } = self;
        before.is_none_or(|before| entry.id < before)
            && after.is_none_or(|after| entry.id > after)
            && since.is_none_or(|since| entry.time >= since)
            && kind.is_none_or(|kind| entry.kind == kind)
            && subject.as_ref().is_none_or(|subject| subject.matches(&entry.subject))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::entry::tests::note;
    use super::*;

    fn matches(pattern: &str, subject: &str) -> bool {
        pattern.parse::<Pattern>().unwrap().matches(subject)
    }

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, subject) in [
            ("app/web1", "app/web1"),
            ("app/*", "app/web1"),
            ("*web*", "app/web1"),
            ("*", "x"),
            ("a*b*b", "abb"),
        ] {
            assert!(matches(pattern, subject), "{pattern} {subject}");
        }
        for (pattern, subject) in [
            ("app/web1", "app/web10"),
            ("app/*", "api/web1"),
            ("*1", "app/web12"),
            ("a*b*b", "ab"),
            ("aa*a", "aa"),
        ] {
            assert!(!matches(pattern, subject), "{pattern} {subject}");
        }
    }

    #[test]
    fn a_pattern_has_an_end() {
        for text in ["", &"x".repeat(513), "*********"] {
            assert!(text.parse::<Pattern>().is_err(), "{text}");
        }
    }

    #[test]
    fn all_that_is_asked_for_has_to_be_so() {
        let time: Timestamp = "2026-11-21T17:00:00Z".parse().unwrap();
        let entry = Entry::new(7, time, note("app/web1"));
        let all = Query::default();
        let later = time + std::time::Duration::from_secs(1);
        assert!(all.matches(&entry));
        for (query, expected) in [
            (Query { before: Some(8), after: Some(6), since: Some(time), ..all.clone() }, true),
            (Query { before: Some(7), ..all.clone() }, false),
            (Query { after: Some(7), ..all.clone() }, false),
            (Query { since: Some(later), ..all.clone() }, false),
            (Query { kind: Some(Kind::Haproxy), ..all.clone() }, false),
            (Query { kind: Some(Kind::Server), subject: "app/*".parse().ok(), ..all.clone() }, true),
            (Query { subject: "web1".parse().ok(), ..all.clone() }, false),
        ] {
            assert_eq!(query.matches(&entry), expected, "{query:?}");
        }
    }

    proptest! {
        #[test]
        fn a_pattern_fits_as_a_regular_expression_would(pattern in "[ab*]{1,8}", subject in "[ab]{0,8}") {
            let expression = format!("^{}$", pattern.replace('*', ".*"));
            let expected = regex::Regex::new(&expression).unwrap().is_match(&subject);
            prop_assert_eq!(matches(&pattern, &subject), expected);
        }
    }
}
