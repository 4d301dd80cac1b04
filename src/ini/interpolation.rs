//! What Python 3 calls extended interpolation: `${key}`, `${section:key}`, and `$$` for a dollar sign.
//!
//! Values are expanded when they are asked for, as Python does it, so that what is wrong with one that nobody needs
//! stops nobody.

use thiserror::Error;

use super::{DEFAULT, Document, Entry};

/// Why a value has no meaning, and where: at the value whose text is wrong, which need not be the one that was
/// asked for.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{fault}")]
pub struct InterpolationError {
    /// The section through which the text was come upon.
    pub section: String,
    /// The key of the text.
    pub key: String,
    /// The line of the key, from 1.
    pub line: usize,
    /// Which text it is in; see [`Document::overlay`].
    pub text: usize,
    /// What is wrong.
    pub fault: Box<InterpolationFault>,
}

/// What is wrong with a value. Never says more of it than the reference: it may be a password.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InterpolationFault {
    /// There is no such option.
    #[error(
        "`${{{reference}}}`: there is no option `{key}` in section `[{section}]`; \
         a dollar sign of its own is written `$$`"
    )]
    NoOption {
        /// What stands in the braces.
        reference: String,
        /// Where the option would be.
        section: String,
        /// Its name.
        key: String,
    },
    /// There is no such section.
    #[error("`${{{reference}}}`: there is no section `[{section}]`")]
    NoSection {
        /// What stands in the braces.
        reference: String,
        /// The section that it names.
        section: String,
    },
    /// A colon too many.
    #[error("`${{{0}}}`: expected `${{key}}` or `${{section:key}}`, with no further colon")]
    Colons(String),
    /// `${` and no end, or nothing in the braces.
    #[error("expected `${{key}}` or `${{section:key}}`; a dollar sign of its own is written `$$`")]
    Reference,
    /// A dollar sign before neither `$` nor `{`.
    #[error("a `$` must be followed by `$` or `{{`; a dollar sign of its own is written `$$`")]
    Dollar,
    /// Values that name each other in more than ten steps, or in a circle.
    #[error("values name each other more than {MAX_DEPTH} deep, or in a circle")]
    Depth,
    /// More than anybody needs; Python would go on until there is no memory left.
    #[error("the value becomes longer than {MAX_LENGTH} bytes or names more than {MAX_REFERENCES} others")]
    Size,
}

/// Python's `MAX_INTERPOLATION_DEPTH`.
const MAX_DEPTH: usize = 10;
/// Ten values of which each names the next ten times are 10^10; this ends it.
const MAX_LENGTH: usize = 1 << 20;
const MAX_REFERENCES: usize = 10_000;

impl Document {
    /// An option of a section, inherited ones included, with all that its value names put in; `None` where there is
    /// no such option. The place is that of the option. `key` is in lower case.
    #[must_use]
    pub fn interpolated(&self, section: &str, key: &str) -> Option<Result<Entry, InterpolationError>> {
        let value = self.find(section, key)?;
        let mut expansion = Expansion { document: self, text: String::new(), references: 0 };
        let added = expansion.add(value, 1);
        Some(added.map(|()| Entry { value: expansion.text, ..*value.entry }))
    }

    fn find<'a>(&'a self, section: &str, key: &str) -> Option<Value<'a>> {
        let defaults = &self.defaults;
        let section = if section == DEFAULT { defaults } else { self.section(section)? };
        let find = |(own, _): &(&str, &Entry)| *own == key;
        let (key, entry) = section.entries().find(find).or_else(|| defaults.entries().find(find))?;
        Some(Value { section: &section.name, key, entry })
    }
}

/// A value, and the section through which it was come upon.
#[derive(Clone, Copy)]
struct Value<'a> {
    section: &'a str,
    key: &'a str,
    entry: &'a Entry,
}

struct Expansion<'a> {
    document: &'a Document,
    text: String,
    references: usize,
}

impl<'a> Expansion<'a> {
    fn add(&mut self, value: Value<'a>, depth: usize) -> Result<(), InterpolationError> {
        let wrong = |fault| value.error(fault);
        if depth > MAX_DEPTH {
            return Err(wrong(InterpolationFault::Depth));
        }
        let mut rest = value.entry.value.as_str();
        while let Some((before, after)) = rest.split_once('$') {
            self.push(before).map_err(wrong)?;
            rest = match after.chars().next() {
                Some('$') => {
                    self.push("$").map_err(wrong)?;
                    after.get(1..).unwrap_or_default()
                }
                Some('{') => {
                    let (reference, after) =
                        braced(after).ok_or_else(|| wrong(InterpolationFault::Reference))?;
                    let named = value.named(reference, self.document).map_err(wrong)?;
                    self.reference(named, depth)
                        .map_err(|fault| fault.unwrap_or_else(|| wrong(InterpolationFault::Size)))?;
                    after
                }
                _ => return Err(wrong(InterpolationFault::Dollar)),
            };
        }
        self.push(rest).map_err(wrong)
    }

    /// An error of `None` is one of the value that names this one.
    fn reference(&mut self, named: Value<'a>, depth: usize) -> Result<(), Option<InterpolationError>> {
        self.references += 1;
        if self.references > MAX_REFERENCES {
            return Err(None);
        }
        // Without a dollar sign no step deeper is taken, so the eleventh value may be a plain one.
        if named.entry.value.contains('$') {
            self.add(named, depth + 1).map_err(Some)
        } else {
            self.push(&named.entry.value).map_err(|_| None)
        }
    }

    fn push(&mut self, text: &str) -> Result<(), InterpolationFault> {
        if self.text.len() + text.len() > MAX_LENGTH {
            return Err(InterpolationFault::Size);
        }
        self.text.push_str(text);
        Ok(())
    }
}

/// Splits `{reference}rest`.
fn braced(text: &str) -> Option<(&str, &str)> {
    text.strip_prefix('{')?.split_once('}').filter(|(reference, _)| !reference.is_empty())
}

impl<'a> Value<'a> {
    /// What a reference in this value names.
    fn named(&self, reference: &str, document: &'a Document) -> Result<Value<'a>, InterpolationFault> {
        let (section, key) = match reference.split(':').collect::<Vec<_>>().as_slice() {
            [key] => (self.section, key.to_lowercase()),
            [section, key] => (*section, key.to_lowercase()),
            _ => return Err(InterpolationFault::Colons(reference.to_owned())),
        };
        document.find(section, &key).ok_or_else(|| {
            let (reference, section) = (reference.to_owned(), section.to_owned());
            if section == DEFAULT || document.section(&section).is_some() {
                InterpolationFault::NoOption { reference, section, key }
            } else {
                InterpolationFault::NoSection { reference, section }
            }
        })
    }

    fn error(&self, fault: InterpolationFault) -> InterpolationError {
        InterpolationError {
            section: self.section.to_owned(),
            key: self.key.to_owned(),
            line: self.entry.line,
            text: self.entry.text,
            fault: Box::new(fault),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ini::Style;

    /// What became of `[s] k`, or the error with its place.
    fn read(text: &str) -> Result<String, String> {
        let document = Document::parse(text, Style::PYTHON3).unwrap();
        let value = document.interpolated("s", "k").unwrap();
        let place =
            |error: InterpolationError| format!("{} [{}] {}: {error}", error.line, error.section, error.key);
        value.map(|entry| entry.value).map_err(place)
    }

    /// `[s]` with `k`, which names `a1`, which names `a2`, and so on to a last plain value.
    fn chain(steps: usize) -> String {
        let link = |at: usize| format!("a{at} = ${{a{}}}\n", at + 1);
        let links: String = (1..steps).map(link).collect();
        format!("[s]\nk = ${{a1}}\n{links}a{steps} = end\n")
    }

    #[test]
    fn values_are_put_in_as_python_does_it() {
        for (text, value) in [
            ("[s]\nk = a$$b$$$$", "a$b$$"),
            ("[s]\nk = ${a}/${A}\na = 1", "1/1"),
            ("[DEFAULT]\na = d\n[s]\nk = ${a}", "d"),
            ("[DEFAULT]\nk = ${a}\na = d\n[s]\na = own", "own"),
            ("[DEFAULT]\na = d\n[s]\nk = ${t:a}\n[t]", "d"),
            ("[s]\nk = ${t:a}\na = mine\n[t]\na = ${b}\nb = theirs", "theirs"),
            ("[s]\nk = ${DEFAULT:a}\na = own\n[DEFAULT]\na = ${b}\nb = d", "d"),
            ("[s]\nk = ${a}\na = $$x", "$x"),
            ("[s]\nk = ${a}{b}\na = $$", "${b}"),
            ("[s]\nk = }${ a }\n[DEFAULT]\n a = 1\n[t]", ""),
            ("[s]\nk = x${a}\n  y${a}\na =", "x\ny"),
            ("[s]\nk = ${a\n  b}", ""),
            ("[ t ]\na = 1\n[s]\nk = ${ t :A}", "1"),
            ("[s]\nk = 100% {} %(a)s", "100% {} %(a)s"),
        ] {
            let read = read(text);
            if value.is_empty() {
                assert!(read.unwrap_err().contains("there is no option"), "{text:?}");
            } else {
                assert_eq!(read, Ok(value.into()), "{text:?}");
            }
        }
    }

    #[test]
    fn what_has_no_meaning_is_told_with_the_place_of_the_text_that_is_wrong() {
        let dollar = "; a dollar sign of its own is written `$$`";
        for (text, error) in [
            ("[s]\nk = $", format!("2 [s] k: a `$` must be followed by `$` or `{{`{dollar}")),
            ("[s]\nk = ${a}\n\na = $$$b", format!("4 [s] a: a `$` must be followed by `$` or `{{`{dollar}")),
            ("[s]\nk = ${a", format!("2 [s] k: expected `${{key}}` or `${{section:key}}`{dollar}")),
            ("[s]\nk = ${}", format!("2 [s] k: expected `${{key}}` or `${{section:key}}`{dollar}")),
            ("[s]\nk = ${B}", format!("2 [s] k: `${{B}}`: there is no option `b` in section `[s]`{dollar}")),
            ("[s]\nk = ${S:a}", "2 [s] k: `${S:a}`: there is no section `[S]`".into()),
            (
                "[s]\nk = ${t:}\n[t]",
                format!("2 [s] k: `${{t:}}`: there is no option `` in section `[t]`{dollar}"),
            ),
            (
                "[s]\nk = ${a:b:c}",
                "2 [s] k: `${a:b:c}`: expected `${key}` or `${section:key}`, with no further colon".into(),
            ),
            ("[s]\nk = ${k}", "2 [s] k: values name each other more than 10 deep, or in a circle".into()),
            (
                "[DEFAULT]\na = ${b}\n[s]\nk = ${a}",
                format!("2 [s] a: `${{b}}`: there is no option `b` in section `[s]`{dollar}"),
            ),
        ] {
            assert_eq!(read(text), Err(error), "{text:?}");
        }
        let document = Document::parse("[s]", Style::PYTHON3).unwrap();
        assert_eq!((document.interpolated("s", "k"), document.interpolated("t", "k")), (None, None));
    }

    #[test]
    fn ten_steps_are_taken_and_the_eleventh_value_is_a_plain_one() {
        assert_eq!(read(&chain(10)), Ok("end".into()));
        assert!(read(&chain(11)).unwrap_err().contains("10 deep"));
    }

    #[test]
    fn a_value_of_values_of_values_does_not_grow_for_ever() {
        for last in ["", "x"] {
            let link = |at: usize| format!("a{at} = {}\n", format!("${{a{}}}", at + 1).repeat(50));
            let links: String = (1..9).map(link).collect();
            let error = read(&format!("[s]\nk = ${{a1}}\n{links}a9 = {last}\n")).unwrap_err();
            assert!(error.contains("names more than 10000 others"), "{error}");
        }
        let long = format!("[s]\nk = {}\na = {}\n", "${a}".repeat(2000), "x".repeat(1000));
        assert!(read(&long).unwrap_err().contains("longer than 1048576 bytes"));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in any::<String>(), signs in "[\\[\\]=:\\$\\{\\} \na-bk]{0,60}") {
            for text in [text, format!("[s]\nk = {signs}"), signs] {
                let Ok(document) = Document::parse(&text, Style::PYTHON3) else { continue };
                for section in document.sections() {
                    for (key, _, _) in document.options(&section.name) {
                        prop_assert!(document.interpolated(&section.name, key).is_some());
                    }
                }
            }
        }
    }
}
