//! Groups of names: the first pattern that a name matches, in the order of the file, gives its group.

use regex::{Regex, RegexBuilder};

use super::remark::FaultKind;

/// The groups of one section.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Groups(Vec<Group>);

/// A group and what belongs to it.
#[derive(Clone, Debug)]
pub struct Group {
    /// Its name, in lower case, as keys are.
    pub name: String,
    pattern: Regex,
}

impl PartialEq for Group {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.pattern.as_str() == other.pattern.as_str()
    }
}

impl Eq for Group {}

impl Groups {
    pub(super) fn new(groups: Vec<Group>) -> Self {
        Self(groups)
    }

    /// The group of a frontend, a backend or a server. As in haproxystats, the pattern may match anywhere in the
    /// name, and `name` is as it goes into the path: with underscores for its dots.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|group| group.pattern.is_match(name)).map(|group| group.name.as_str())
    }

    /// All groups, in the order of the file.
    #[must_use]
    pub fn as_slice(&self) -> &[Group] {
        &self.0
    }
}

impl Group {
    pub(super) fn new(name: String, pattern: &str) -> Result<Self, FaultKind> {
        let compiled = RegexBuilder::new(&translated(pattern)).size_limit(MAX_SIZE).build();
        let pattern = compiled
            .map_err(|error| FaultKind::Pattern { pattern: pattern.to_owned(), reason: reason(&error) })?;
        Ok(Self { name, pattern })
    }
}

/// Of memory, for one pattern. Those that people write need some kilobytes.
const MAX_SIZE: usize = 1 << 20;

/// Python's syntax in the words of the crate `regex`, where a pattern would be another or none: in a class `[`,
/// `&` and `~` are themselves, `\Z` is the end, and `\<` and `\>` are no word boundaries.
fn translated(pattern: &str) -> String {
    let mut text = String::with_capacity(pattern.len());
    let mut letters = pattern.chars().peekable();
    let mut class = false;
    while let Some(letter) = letters.next() {
        match (letter, class) {
            ('\\', _) => match letters.next() {
                Some('Z') if !class => text.push_str("\\z"),
                Some(sign @ ('<' | '>')) => text.push(sign),
                Some(other) => text.extend(['\\', other]),
                None => text.push('\\'),
            },
            ('[', false) => {
                class = true;
                text.push('[');
                text.extend(letters.next_if_eq(&'^'));
                // The first bracket is no end.
                if letters.next_if_eq(&']').is_some() {
                    text.push_str("\\]");
                }
            }
            (']', true) => {
                class = false;
                text.push(']');
            }
            ('[' | '&' | '~', true) => text.extend(['\\', letter]),
            (other, _) => text.push(other),
        }
    }
    text
}

/// The last line of what the crate says; the others show the pattern.
fn reason(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(_) => "it needs too much memory; use smaller counts in `{}`".into(),
        error => {
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default();
            last.strip_prefix("error: ").unwrap_or(last).to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        Group::new("g".into(), pattern).unwrap().pattern.is_match(name)
    }

    #[test]
    fn patterns_match_as_pythons_search_does() {
        for (pattern, name) in [
            ("", "x"),
            ("example", "www_example_com"),
            ("^foo-", "foo-1"),
            ("1$", "www1"),
            (r"1\Z", "www1"),
            ("(?i)WWW", "www1"),
            (r"^\w+-\d{2}$", "web-01"),
            ("(?P<n>a|b)x", "bx"),
            ("[[]", "["),
            ("[]a]x", "]x"),
            ("[^]a]x", "bx"),
            ("^[a&&b]$", "&"),
            ("^[a~~b]$", "~"),
            (r"\<a\>", "<a>"),
            (r"a\/b\-c", "a/b-c"),
            ("ü", "aüb"),
        ] {
            assert!(matches(pattern, name), "{pattern:?} {name:?}");
        }
        for (pattern, name) in [("^foo-", "a-foo-"), ("1$", "www12"), (r"[^\]]x", "]x"), (r"\<a", "a")] {
            assert!(!matches(pattern, name), "{pattern:?} {name:?}");
        }
    }

    #[test]
    fn what_cannot_be_matched_in_linear_time_is_refused() {
        let refused = |pattern: &str| Group::new("g".into(), pattern).unwrap_err().to_string();
        for (pattern, reason) in [
            ("^(?!foo)", "look-around, including look-ahead and look-behind, is not supported"),
            ("(?<=a)b", "look-around, including look-ahead and look-behind, is not supported"),
            (r"(a)\1", "backreferences are not supported"),
            ("(a", "unclosed group"),
            ("*a", "repetition operator missing expression"),
        ] {
            assert_eq!(refused(pattern), format!("the pattern `{pattern}` cannot be used: {reason}"));
        }
        assert!(refused("(a{1000}){1000}").contains("too much memory"));
    }

    #[test]
    fn the_first_group_that_matches_is_the_one() {
        let group = |name: &str, pattern| Group::new(name.into(), pattern).unwrap();
        let groups = Groups::new(vec![group("z", "^foo"), group("a", "o")]);
        assert_eq!((groups.find("foo"), groups.find("woo"), groups.find("x")), (Some("z"), Some("a"), None));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in any::<String>(), signs in "[\\[\\]\\\\^&~Z<>(?){}a1,]{0,20}") {
            let _ = Group::new("g".into(), &text);
            let _ = Group::new("g".into(), &signs);
        }
    }
}
