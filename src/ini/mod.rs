//! Python's INI dialect: what its `configparser` makes of a text, with the line of everything. Pure; which file a
//! text is from, and what its values mean, is the caller's to know.
//!
//! The rules are those of Python 3.11's `RawConfigParser._read`, oddities included, because people's files have
//! been tried against that and nothing else.

mod interpolation;

pub use interpolation::{InterpolationError, InterpolationFault};

use thiserror::Error;

/// How a `ConfigParser` was set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// What begins a comment behind white space, within a line. Whole lines of comment begin with `#` or `;`
    /// in every style.
    pub inline_comments: &'static [char],
    /// Whether a section or an entry that is there twice is an error. Otherwise sections are merged and the
    /// later entry wins.
    pub strict: bool,
}

impl Style {
    /// `ConfigParser()` as Python 3 has it: no inline comments, strict.
    pub const PYTHON3: Self = Self { inline_comments: &[], strict: true };
}

/// A text that was read, or several, one laid over the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    defaults: Section,
    sections: Vec<Section>,
    /// How many texts it was made of.
    texts: usize,
}

/// What stands beneath one `[name]`, all of its headers taken together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// What stands between the brackets, spaces included.
    pub name: String,
    /// The line of its first header, from 1. 0 for a [`Document::defaults`] that is not in the text.
    pub line: usize,
    /// Which text that header is in: 0, but see [`Document::overlay`].
    pub text: usize,
    entries: Vec<(String, Entry)>,
}

/// One value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// The value without the white space around it, lines joined by `\n`. May be empty.
    pub value: String,
    /// The line of its key, from 1.
    pub line: usize,
    /// Which text it is in: 0, but see [`Document::overlay`].
    pub text: usize,
}

/// Where an option of a section comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// From the section, and no other has it.
    Own,
    /// From the section, in place of what `[DEFAULT]` has under this name.
    Overriding,
    /// From `[DEFAULT]`.
    Inherited,
}

/// Why a text is no INI.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}: {fault}")]
pub struct IniError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub fault: IniFault,
}

/// What is wrong with a line. Never says what the line holds: it may be a password.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum IniFault {
    /// U+FEFF, which Python takes for a letter of an entry.
    #[error("the file begins with a byte order mark, which Python does not skip; save it without")]
    ByteOrderMark,
    /// An entry before the first header.
    #[error("expected a `[section]` before the first entry")]
    NoSection,
    /// Neither header nor entry.
    #[error("expected `key = value`; a line that goes on with a value is indented deeper than its key")]
    NoDelimiter,
    /// `= value`.
    #[error("nothing stands before the `=` or `:`")]
    NoKey,
    /// The section was there before.
    #[error("section `[{name}]` is there already, on line {first}")]
    DuplicateSection {
        /// Its name.
        name: String,
        /// The line of its first header.
        first: usize,
    },
    /// The entry was there before.
    #[error("`{key}` is there already, on line {first}")]
    DuplicateEntry {
        /// Its key.
        key: String,
        /// The line that was first.
        first: usize,
    },
}

/// The section whose entries all others inherit.
const DEFAULT: &str = "DEFAULT";

impl Document {
    /// Reads a text. Lines end with `\n`, `\r\n` or `\r`.
    pub fn parse(text: &str, style: Style) -> Result<Self, IniError> {
        if text.starts_with('\u{feff}') {
            return Err(IniError { line: 1, fault: IniFault::ByteOrderMark });
        }
        let mut reader = Reader::new(style);
        for (number, line) in (1..).zip(text.replace("\r\n", "\n").split(['\n', '\r'])) {
            reader.line(line, number).map_err(|fault| IniError { line: number, fault })?;
        }
        Ok(reader.finish())
    }

    /// Lays a later text over this one, as a `ConfigParser` does that reads one file after the other: what is in
    /// both is as the later has it, in the place that it had. Gives the number that is the `text` of what the
    /// later text brings, 1 for the second text.
    pub fn overlay(&mut self, later: Self) -> usize {
        let first = self.texts;
        self.texts += later.texts;
        self.defaults.overlay(later.defaults, first);
        for section in later.sections {
            if let Some(own) = self.sections.iter_mut().find(|own| own.name == section.name) {
                own.overlay(section, first);
            } else {
                let mut own =
                    Section { text: section.text + first, ..Section::new(&section.name, section.line) };
                own.overlay(section, first);
                self.sections.push(own);
            }
        }
        first
    }

    /// All sections but `[DEFAULT]`, in the order of the text.
    pub fn sections(&self) -> impl Iterator<Item = &Section> {
        self.sections.iter()
    }

    /// The section of this name.
    #[must_use]
    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name)
    }

    /// `[DEFAULT]`; empty where the text has none.
    #[must_use]
    pub fn defaults(&self) -> &Section {
        &self.defaults
    }

    /// An entry of a section, or else what it inherits. `None` where there is no such section.
    #[must_use]
    pub fn get(&self, section: &str, key: &str) -> Option<&Entry> {
        let section = self.section(section)?;
        section.get(key).or_else(|| self.defaults.get(key))
    }

    /// The options of a section, those of `[DEFAULT]` first, as Python's `items` has them; nothing where there is
    /// no such section. `[DEFAULT]` is one here, and all it has is its own.
    pub fn options<'a>(&'a self, section: &str) -> impl Iterator<Item = (&'a str, &'a Entry, Origin)> {
        let named = self.section(section);
        let section = if section == DEFAULT { Some(&self.defaults) } else { named };
        let inherited = self.defaults.entries().filter(move |_| named.is_some()).map(move |(key, entry)| {
            match named.and_then(|section| section.get(key)) {
                Some(own) => (key, own, Origin::Overriding),
                None => (key, entry, Origin::Inherited),
            }
        });
        let own = section.into_iter().flat_map(Section::entries);
        let own = own.filter(move |(key, _)| named.is_none() || self.defaults.get(key).is_none());
        inherited.chain(own.map(|(key, entry)| (key, entry, Origin::Own)))
    }
}

impl Section {
    fn new(name: &str, line: usize) -> Self {
        Self { name: name.to_owned(), line, text: 0, entries: Vec::new() }
    }

    /// `later` stands in a text whose number is `first` more than it says.
    fn overlay(&mut self, later: Self, first: usize) {
        if self.line == 0 {
            (self.line, self.text) = (later.line, later.text + first);
        }
        for (key, entry) in later.entries {
            let slot = self.slot(&key);
            if let Some((_, own)) = self.entries.get_mut(slot) {
                *own = Entry { text: entry.text + first, ..entry };
            }
        }
    }

    /// The section's own entry, without what `[DEFAULT]` gives. `key` is in lower case.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|(own, _)| own == key).map(|(_, entry)| entry)
    }

    /// The section's own keys and entries, in the order of the text.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(key, entry)| (key.as_str(), entry))
    }

    /// The index of the entry, which is made where there is none.
    fn slot(&mut self, key: &str) -> usize {
        self.entries.iter().position(|(own, _)| own == key).unwrap_or_else(|| {
            self.entries.push((key.to_owned(), Entry::default()));
            self.entries.len() - 1
        })
    }
}

/// The state from line to line.
struct Reader {
    style: Style,
    /// `[DEFAULT]` is the first.
    sections: Vec<Section>,
    /// The section that entries go to.
    section: Option<usize>,
    /// Its entry that an indented line goes on with.
    entry: Option<usize>,
    /// The indentation of the last header or key.
    indent: usize,
}

impl Reader {
    fn new(style: Style) -> Self {
        Self { style, sections: vec![Section::new(DEFAULT, 0)], section: None, entry: None, indent: 0 }
    }

    fn line(&mut self, line: &str, number: usize) -> Result<(), IniFault> {
        let comment = self.style.comment(line);
        let text = strip(comment.and_then(|start| line.get(..start)).unwrap_or(line));
        let indent = line.chars().take_while(|c| is_space(*c)).count();
        let deeper = indent > self.indent;
        match self.open_value() {
            // A line of comment is no part of a value; an empty one is.
            _ if text.is_empty() && comment.is_some() => {}
            None if text.is_empty() => {}
            Some(value) if text.is_empty() => value.push('\n'),
            Some(value) if deeper => {
                value.push('\n');
                value.push_str(text);
            }
            _ => {
                self.indent = indent;
                self.header_or_entry(text, number)?;
            }
        }
        Ok(())
    }

    /// The value that may go on.
    fn open_value(&mut self) -> Option<&mut String> {
        let section = self.sections.get_mut(self.section?)?;
        section.entries.get_mut(self.entry?).map(|(_, entry)| &mut entry.value)
    }

    fn header_or_entry(&mut self, text: &str, number: usize) -> Result<(), IniFault> {
        match header(text) {
            Some(name) => self.open_section(name, number),
            None => self.open_entry(text, number),
        }
    }

    fn open_section(&mut self, name: &str, number: usize) -> Result<(), IniFault> {
        self.entry = None;
        let known = self.sections.iter().position(|section| section.name == name);
        if let Some(section) = known.and_then(|at| self.sections.get_mut(at)) {
            let again = section.name != DEFAULT;
            if again && self.style.strict {
                return Err(IniFault::DuplicateSection { name: name.to_owned(), first: section.line });
            }
            section.line = if section.line == 0 { number } else { section.line };
        } else {
            self.sections.push(Section::new(name, number));
        }
        self.section = known.or(Some(self.sections.len() - 1));
        Ok(())
    }

    fn open_entry(&mut self, text: &str, number: usize) -> Result<(), IniFault> {
        let section = self.section.and_then(|at| self.sections.get_mut(at)).ok_or(IniFault::NoSection)?;
        let (key, value) = text.split_once(['=', ':']).ok_or(IniFault::NoDelimiter)?;
        let key = strip(key).to_lowercase();
        if key.is_empty() {
            return Err(IniFault::NoKey);
        }
        if let Some(first) = section.get(&key).map(|entry| entry.line).filter(|_| self.style.strict) {
            return Err(IniFault::DuplicateEntry { key, first });
        }
        let slot = section.slot(&key);
        if let Some((_, entry)) = section.entries.get_mut(slot) {
            *entry = Entry { value: strip(value).to_owned(), line: number, text: 0 };
        }
        self.entry = Some(slot);
        Ok(())
    }

    fn finish(mut self) -> Document {
        for (_, entry) in self.sections.iter_mut().flat_map(|section| &mut section.entries) {
            entry.value.truncate(entry.value.trim_end_matches(is_space).len());
        }
        let defaults = self.sections.remove(0);
        Document { defaults, sections: self.sections, texts: 1 }
    }
}

/// What stands between the first bracket and the last. Python looks at nothing behind that.
fn header(text: &str) -> Option<&str> {
    let (name, _) = text.strip_prefix('[')?.rsplit_once(']')?;
    (!name.is_empty()).then_some(name)
}

impl Style {
    /// Where the comment of a line begins.
    fn comment(self, line: &str) -> Option<usize> {
        if strip(line).starts_with(['#', ';']) { Some(0) } else { self.inline_comment(line) }
    }

    /// Python compares the first `;` with the first `#`, then the second ones, and is content with the first
    /// comment that a round shows. So in `a;b ;c #d` the comment begins at `#`.
    fn inline_comment(self, line: &str) -> Option<usize> {
        let mut finds: Vec<_> =
            self.inline_comments.iter().map(|prefix| line.match_indices(*prefix)).collect();
        loop {
            let round: Vec<usize> = finds.iter_mut().filter_map(Iterator::next).map(|(at, _)| at).collect();
            if round.is_empty() {
                return None;
            }
            if let Some(start) = round.into_iter().filter(|at| follows_space(line, *at)).min() {
                return Some(start);
            }
        }
    }
}

fn follows_space(line: &str, at: usize) -> bool {
    line.get(..at).is_some_and(|before| before.chars().next_back().is_none_or(is_space))
}

/// Python's `str.isspace`, which counts four separators that Unicode's `White_Space` leaves out.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

fn strip(text: &str) -> &str {
    text.trim_matches(is_space)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SUPERVISOR: Style = Style { inline_comments: &[';', '#'], strict: false };

    fn read(text: &str, style: Style) -> Document {
        Document::parse(text, style).unwrap()
    }

    /// All that a text holds, as `line key=value`.
    fn shown(text: &str, style: Style) -> Vec<String> {
        let document = read(text, style);
        let section = |section: &Section| {
            let head = format!("{} [{}]", section.line, section.name);
            let entry = |(key, entry): (&str, &Entry)| format!("{} {key}={}", entry.line, entry.value);
            [vec![head], section.entries().map(entry).collect()].concat()
        };
        document.sections().flat_map(section).collect()
    }

    fn refused(text: &str, style: Style) -> String {
        Document::parse(text, style).unwrap_err().to_string()
    }

    #[test]
    fn sections_and_entries_are_read_with_their_lines() {
        let text = "; head\n[b]\nKey = Value\n\n[a]\nurl: http://h:1 \nempty =\nmore=x=y\n";
        let expected = ["2 [b]", "3 key=Value", "5 [a]", "6 url=http://h:1", "7 empty=", "8 more=x=y"];
        assert_eq!(shown(text, SUPERVISOR), expected);
        assert_eq!(shown(text, Style::PYTHON3), expected);
        assert_eq!(shown(&text.replace('\n', "\r\n"), SUPERVISOR), expected);
        assert_eq!(shown(&text.replace('\n', "\r"), SUPERVISOR), expected);
        assert!(shown("", SUPERVISOR).is_empty());
    }

    #[test]
    fn a_value_goes_on_where_a_line_is_indented_deeper_than_its_key() {
        for (text, value) in [
            ("[s]\nk = a\n  b\n\tc", "a\nb\nc"),
            ("[s]\nk =\n  b", "\nb"),
            ("[s]\nk = a\n\n  b\n\n", "a\n\nb"),
            ("[s]\nk = a\n; comment\n  # another\n  b", "a\nb"),
            ("[s]\nk = a\n  [b]\n  c = d", "a\n[b]\nc = d"),
            ("  [s]\n  k = a\n   b", "a\nb"),
            ("[s]\n\u{a0}k = a\n\u{a0}\u{2003}b\x1c", "a\nb"),
            ("[s]\nk = a \\\n  b", "a \\\nb"),
        ] {
            let document = read(text, SUPERVISOR);
            let entry = document.get("s", "k").unwrap();
            assert_eq!(entry.value, value, "{text:?}");
        }
        let text = "[s]\n  k = a\n  l = b\nm = c";
        assert_eq!(shown(text, SUPERVISOR), ["1 [s]", "2 k=a", "3 l=b", "4 m=c"]);
        assert_eq!(shown("[s]\n   k = a\n  [t]\n", SUPERVISOR), ["1 [s]", "2 k=a", "3 [t]"]);
    }

    #[test]
    fn inline_comments_follow_white_space_where_the_style_has_them() {
        for (line, with, without) in [
            ("k = a ; b", "a", "a ; b"),
            ("k = a\t# b", "a", "a\t# b"),
            ("k = a;b#c", "a;b#c", "a;b#c"),
            ("k = a#b #c", "a#b", "a#b #c"),
            ("k = a;b ;c #d", "a;b ;c", "a;b ;c #d"),
            ("k = ; b", "", "; b"),
            ("k = a\n  b ; c", "a\nb", "a\nb ; c"),
        ] {
            let text = format!("[s]\n{line}\n");
            assert_eq!(read(&text, SUPERVISOR).get("s", "k").unwrap().value, with, "{line:?}");
            assert_eq!(read(&text, Style::PYTHON3).get("s", "k").unwrap().value, without, "{line:?}");
        }
        assert_eq!(shown("[s] ; comment\nk=v", SUPERVISOR), ["1 [s]", "2 k=v"]);
        assert_eq!(shown("[s] ; no ] comment", Style::PYTHON3), ["1 [s] ; no ]"]);
    }

    #[test]
    fn the_strict_refuse_what_is_there_twice_and_the_others_merge() {
        let text = "[a]\nk = 1\n[b]\n[a]\nK = 2\n";
        assert_eq!(shown(text, SUPERVISOR), ["1 [a]", "5 k=2", "3 [b]"]);
        assert_eq!(refused(text, Style::PYTHON3), "line 4: section `[a]` is there already, on line 1");
        assert_eq!(refused("[a]\nk = 1\nK: 2\n", Style::PYTHON3), "line 3: `k` is there already, on line 2");
    }

    #[test]
    fn default_gives_to_all_sections_and_is_none() {
        let text = "[a]\nk = own\n[DEFAULT]\nk = 1\nl = 2\n[DEFAULT]\nm = 3\n";
        let document = read(text, Style::PYTHON3);
        assert_eq!(document.sections().count(), 1);
        assert_eq!(document.get("a", "k").unwrap().value, "own");
        assert_eq!(document.get("a", "m"), Some(&Entry { value: "3".into(), line: 7, text: 0 }));
        assert_eq!(document.section("a").unwrap().get("m"), None);
        assert_eq!((document.defaults().line, document.get("b", "l")), (3, None));
    }

    #[test]
    fn a_later_text_is_laid_over_an_earlier_one() {
        let mut document = read("[a]\nk = 1\nl = 2\n", Style::PYTHON3);
        assert_eq!(
            document.overlay(read("[DEFAULT]\nd = 1\n[b]\nm = 3\n[a]\nn = 4\nK = 5\n", Style::PYTHON3)),
            1
        );
        assert_eq!(document.overlay(read("\n[b]\nd = 6\n", Style::PYTHON3)), 2);
        let shown = |section| {
            let option = |(key, entry, origin): (&str, &Entry, Origin)| {
                format!("{}:{} {key}={} {origin:?}", entry.text, entry.line, entry.value)
            };
            document.options(section).map(option).collect::<Vec<_>>()
        };
        assert_eq!(shown("a"), ["1:2 d=1 Inherited", "1:7 k=5 Own", "0:3 l=2 Own", "1:6 n=4 Own"]);
        assert_eq!(shown("b"), ["2:3 d=6 Overriding", "1:4 m=3 Own"]);
        assert_eq!(shown("DEFAULT"), ["1:2 d=1 Own"]);
        assert!(shown("c").is_empty());
        let place = |section: &Section| (section.text, section.line);
        assert_eq!(document.sections().map(place).collect::<Vec<_>>(), [(0, 1), (1, 3)]);
        assert_eq!(place(document.defaults()), (1, 1));
    }

    #[test]
    fn names_of_sections_are_taken_as_they_are() {
        for (line, name) in [("[ a ]", " a "), ("[a] b", "a"), ("[a]b]", "a]b"), ("[Program:X]", "Program:X")]
        {
            let document = read(line, SUPERVISOR);
            assert!(document.section(name).is_some(), "{line:?}");
        }
    }

    #[test]
    fn what_python_refuses_is_refused_with_its_line() {
        for (text, error) in [
            ("\n# x\nk = v", "line 3: expected a `[section]` before the first entry"),
            (
                "\u{feff}[s]",
                "line 1: the file begins with a byte order mark, which Python does not skip; save it without",
            ),
            ("[s]\nk = v\n= v", "line 3: nothing stands before the `=` or `:`"),
            (
                "[s]\nsecret",
                "line 2: expected `key = value`; a line that goes on with a value is indented deeper than its key",
            ),
        ] {
            assert_eq!(refused(text, SUPERVISOR), error);
        }
        assert!(refused("[s]\nk = v\nl", SUPERVISOR).starts_with("line 3"));
        assert!(refused("[s]\n[]", SUPERVISOR).starts_with("line 2"));
        assert!(refused("[s]\n  k", SUPERVISOR).starts_with("line 2"), "there is no value to go on with");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in any::<String>(), lines in "([\\[\\]=:;# \t\r\na-b\u{85}]|DEFAULT){0,60}") {
            for style in [SUPERVISOR, Style::PYTHON3] {
                let _ = Document::parse(&text, style);
                let _ = Document::parse(&lines, style);
            }
        }
    }
}
