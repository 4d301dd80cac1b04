//! `If-Match` and `If-None-Match` (RFC 9110, 13.1): what a client expects of what there is.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::{HeaderName, IF_MATCH, IF_NONE_MATCH};
use axum::http::request::Parts;

/// What a client expects; nothing where it sends neither.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Preconditions {
    /// Of these it has to be one.
    matching: Option<Tags>,
    /// Of these it must be none.
    unlike: Option<Tags>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Tags {
    /// `*`: whatever there is.
    Any,
    /// `"a", W/"b"`: each, and whether it is weak.
    These(Vec<(bool, String)>),
    /// No list of tags. A reader loses nothing by it, and a change is not made: nobody knows what was expected.
    Unclear,
}

impl Preconditions {
    fn read(headers: &HeaderMap) -> Self {
        Self { matching: tags(headers, &IF_MATCH), unlike: tags(headers, &IF_NONE_MATCH) }
    }

    /// Whether a change may be made. `tag` is that of the whole table, which each of its routes has, too; `exists` is
    /// whether what the path names is there.
    pub(super) fn hold(&self, tag: &str, exists: bool) -> bool {
        self.matches(tag, exists) && !self.is_known(tag, exists) && self.unlike != Some(Tags::Unclear)
    }

    /// Whether `If-Match` allows it. A weak tag is never the same as another (RFC 9110, 8.8.3.2).
    pub(super) fn matches(&self, tag: &str, exists: bool) -> bool {
        match &self.matching {
            None => true,
            Some(Tags::Any) => exists,
            Some(Tags::Unclear) => false,
            Some(Tags::These(list)) => list.iter().any(|(is_weak, text)| !is_weak && text == tag),
        }
    }

    /// Whether `If-None-Match` names what is there: whoever reads has it already.
    pub(super) fn is_known(&self, tag: &str, exists: bool) -> bool {
        match &self.unlike {
            None | Some(Tags::Unclear) => false,
            Some(Tags::Any) => exists,
            Some(Tags::These(list)) => list.iter().any(|(_, text)| text == tag),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Preconditions {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::read(&parts.headers))
    }
}

/// Several headers are one list (RFC 9110, 5.3).
fn tags(headers: &HeaderMap, name: &HeaderName) -> Option<Tags> {
    if !headers.contains_key(name) {
        return None;
    }
    let values: Option<Vec<&str>> = headers.get_all(name).iter().map(|value| value.to_str().ok()).collect();
    Some(match values.map(|values| values.join(",")) {
        Some(text) if text.trim() == "*" => Tags::Any,
        Some(text) => list(&text).map_or(Tags::Unclear, Tags::These),
        None => Tags::Unclear,
    })
}

/// `"a", W/"b"`; a comma may stand within quotes.
fn list(text: &str) -> Option<Vec<(bool, String)>> {
    let mut found = Vec::new();
    let mut rest = text.trim_matches(is_between);
    while !rest.is_empty() {
        let (is_weak, quoted) = rest.strip_prefix("W/").map_or((false, rest), |rest| (true, rest));
        let (tag, behind) = quoted.strip_prefix('"')?.split_once('"')?;
        if tag.contains(|c: char| c.is_control() || c == ' ') {
            return None;
        }
        found.push((is_weak, tag.to_owned()));
        if !behind.trim_start().is_empty() && !behind.trim_start().starts_with(',') {
            return None;
        }
        rest = behind.trim_start_matches(is_between);
    }
    (!found.is_empty()).then_some(found)
}

/// Lists may have empty elements (RFC 9110, 5.6.1.2).
fn is_between(c: char) -> bool {
    matches!(c, ' ' | '\t' | ',')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[(&'static str, &str)]) -> Preconditions {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        Preconditions::read(&headers)
    }

    #[track_caller]
    fn hold(lines: &[(&'static str, &str)], exists: bool) -> bool {
        read(lines).hold("abc", exists)
    }

    #[test]
    fn without_a_word_all_is_allowed() {
        assert!(hold(&[], true) && hold(&[], false));
        assert!(!read(&[]).is_known("abc", true));
    }

    #[test]
    fn a_change_may_ask_for_one_of_several_versions() {
        for value in ["\"abc\"", "\"x\", \"abc\"", " ,\"abc\" ,, ", "\"a,b\",\"abc\""] {
            assert!(hold(&[("if-match", value)], true), "{value}");
        }
        for value in ["\"abd\"", "W/\"abc\"", "\"\"", "\"ABC\""] {
            assert!(!hold(&[("if-match", value)], true), "{value}");
        }
        assert!(hold(&[("if-match", "\"x\""), ("if-match", "\"abc\"")], true), "two lines are one list");
    }

    #[test]
    fn a_star_is_for_what_is_there() {
        assert!(hold(&[("if-match", "*")], true) && !hold(&[("if-match", "*")], false));
        assert!(!hold(&[("if-none-match", "*")], true) && hold(&[("if-none-match", " * ")], false));
    }

    #[test]
    fn who_reads_has_a_weak_tag_as_well() {
        for value in ["\"abc\"", "W/\"abc\"", "\"x\", W/\"abc\"", "*"] {
            assert!(read(&[("if-none-match", value)]).is_known("abc", true), "{value}");
        }
        assert!(!read(&[("if-none-match", "\"x\"")]).is_known("abc", true));
    }

    #[test]
    fn what_is_no_list_of_tags_keeps_a_change_from_being_made_and_nobody_from_reading() {
        for value in
            ["", "abc", "\"abc", "\"a\" \"b\"", "*, \"a\"", "w/\"a\"", "W/", ",", "\"a\"x", "\"a b\""]
        {
            for header in ["if-match", "if-none-match"] {
                assert!(
                    !hold(&[(header, value)], true) && !hold(&[(header, value)], false),
                    "{header}: {value}"
                );
            }
            assert!(!read(&[("if-none-match", value)]).is_known("abc", true), "{value}");
        }
    }
}
