//! Python's `%` formatting with a dictionary on its right, as far as configurations use it: `%(name)s`,
//! `%(number)02d` and `%%`.

use thiserror::Error;

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Term {
    Text(String),
    Number(i64),
}

/// Why a text cannot be expanded. Tells the directive only: the text around it may be a password.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FormatError {
    /// There is no such name.
    #[error("`%({0})` is not known")]
    Unknown(String),
    /// Python, too, can make nothing of it.
    #[error("`%{0}` cannot be expanded; a percent sign of its own is written `%%`")]
    Directive(String),
    /// An end in the middle of a directive.
    #[error("a `%` has no end; write `%(name)s` for a name, `%%` for a percent sign")]
    Unfinished,
}

/// `text % dictionary`.
pub(super) fn expand(text: &str, lookup: &dyn Fn(&str) -> Option<Term>) -> Result<String, FormatError> {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        expanded.push_str(before);
        rest = if let Some(after) = after.strip_prefix('%') {
            expanded.push('%');
            after
        } else {
            let (directive, after) = Directive::cut(after)?;
            expanded.push_str(&directive.show(lookup)?);
            after
        };
    }
    Ok(expanded + rest)
}

/// One `%(name)…`: `flags`, `width`, `precision` and `conversion` are those of printf.
struct Directive<'a> {
    /// All of it, behind the percent sign.
    text: &'a str,
    name: &'a str,
    flags: &'a str,
    width: usize,
    precision: Option<usize>,
    conversion: char,
}

/// Nobody pads to more; a slip of the finger must not cost memory.
const MAX_WIDTH: usize = 1000;

impl<'a> Directive<'a> {
    /// Cuts a directive off the front of what follows a percent sign.
    fn cut(text: &'a str) -> Result<(Self, &'a str), FormatError> {
        let first = text.chars().next().ok_or(FormatError::Unfinished)?;
        let inner = text.strip_prefix('(').ok_or_else(|| FormatError::Directive(first.to_string()))?;
        let (name, rest) = name(inner).ok_or(FormatError::Unfinished)?;
        let (flags, rest) = split_behind(rest, |c| "#0- +".contains(c));
        let (width, rest) = split_behind(rest, |c| c.is_ascii_digit());
        let (precision, rest) = precision(rest);
        let mut letters = rest.strip_prefix(['h', 'l', 'L']).unwrap_or(rest).chars();
        let conversion = letters.next().ok_or(FormatError::Unfinished)?;
        let rest = letters.as_str();
        let text = text.strip_suffix(rest).unwrap_or(text);
        let too_large = || FormatError::Directive(text.to_owned());
        let width = size(width).ok_or_else(too_large)?;
        let precision = precision.map(|digits| size(digits).ok_or_else(too_large)).transpose()?;
        Ok((Self { text, name, flags, width, precision, conversion }, rest))
    }

    fn show(&self, lookup: &dyn Fn(&str) -> Option<Term>) -> Result<String, FormatError> {
        let term = lookup(self.name).ok_or_else(|| FormatError::Unknown(self.name.to_owned()))?;
        match (self.conversion, term) {
            ('s', Term::Text(text)) => Ok(self.padded(&self.shortened(&text))),
            ('s', Term::Number(number)) => Ok(self.padded(&self.shortened(&number.to_string()))),
            ('d' | 'i' | 'u', Term::Number(number)) => Ok(self.number(number)),
            _ => Err(FormatError::Directive(self.text.to_owned())),
        }
    }

    fn has(&self, flag: char) -> bool {
        self.flags.contains(flag)
    }

    fn shortened(&self, text: &str) -> String {
        text.chars().take(self.precision.unwrap_or(usize::MAX)).collect()
    }

    fn number(&self, number: i64) -> String {
        let sign = match number {
            ..0 => "-",
            _ if self.has('+') => "+",
            _ if self.has(' ') => " ",
            _ => "",
        };
        let zeros = self.has('0') && !self.has('-');
        let width = if zeros { self.width.saturating_sub(sign.len()) } else { 0 };
        let digits = width.max(self.precision.unwrap_or_default());
        self.padded(&format!("{sign}{:0digits$}", number.unsigned_abs()))
    }

    fn padded(&self, text: &str) -> String {
        let width = self.width;
        if self.has('-') { format!("{text:<width$}") } else { format!("{text:>width$}") }
    }
}

/// Splits at the parenthesis that closes the one before `text`.
fn name(text: &str) -> Option<(&str, &str)> {
    let mut depth = 1_usize;
    let closing = |(at, letter)| {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        (depth == 0).then_some(at)
    };
    let end = text.char_indices().find_map(closing)?;
    Some((text.get(..end)?, text.get(end + 1..)?))
}

/// No digits are zero.
fn size(digits: &str) -> Option<usize> {
    if digits.is_empty() { Some(0) } else { digits.parse().ok().filter(|size| *size <= MAX_WIDTH) }
}

fn split_behind(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    let end = text.find(|c| !belongs(c)).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

fn precision(text: &str) -> (Option<&str>, &str) {
    let Some(rest) = text.strip_prefix('.') else { return (None, text) };
    let (digits, rest) = split_behind(rest, |c| c.is_ascii_digit());
    (Some(digits), rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<String, FormatError> {
        expand(text, &|name| match name {
            "a" => Some(Term::Text("xyz".into())),
            "a(b)" => Some(Term::Text("nested".into())),
            "n" => Some(Term::Number(7)),
            "m" => Some(Term::Number(-3)),
            _ => None,
        })
    }

    #[test]
    fn names_are_expanded_as_python_does_it() {
        for (text, expanded) in [
            ("", ""),
            ("100%% of %(a)s", "100% of xyz"),
            ("%%(a)s", "%(a)s"),
            ("%(a)s%(a)s", "xyzxyz"),
            ("%(a(b))s", "nested"),
            ("%(a)5s|%(a)-5s|%(a).2s|%(a)05s", "  xyz|xyz  |xy|  xyz"),
            ("%(n)s %(n)d %(n)i %(n)u %(n)ld", "7 7 7 7 7"),
            ("%(n)02d|%(m)05d|%(n)+d|%(n) d", "07|-0003|+7| 7"),
            ("%(n).3d|%(n)-05d|%(m)08.3d|%(m)5.2d", "007|7    |-0000003|  -03"),
        ] {
            assert_eq!(read(text), Ok(expanded.into()), "{text:?}");
        }
    }

    #[test]
    fn what_has_no_meaning_is_refused_without_the_text_around_it() {
        assert_eq!(read("secret %(b)s"), Err(FormatError::Unknown("b".into())));
        for (text, directive) in [
            ("100% secret", " "),
            ("%secret", "s"),
            ("%(a)d secret", "(a)d"),
            ("%(a)y secret", "(a)y"),
            ("%(a)%", "(a)%"),
            ("%(n)9999d", "(n)9999d"),
            ("%(n)99999999999999999999999d", "(n)99999999999999999999999d"),
        ] {
            assert_eq!(read(text), Err(FormatError::Directive(directive.into())), "{text:?}");
        }
        for text in ["50%", "%(a", "%(a)", "%(a)05"] {
            assert_eq!(read(text), Err(FormatError::Unfinished), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in any::<String>(), signs in "[%()nam0-9.sdlé+ -]{0,30}") {
            let _ = read(&text);
            let _ = read(&signs);
        }
    }
}
