//! The configuration as `-P` prints it: sections and options by name, as haproxystats has it, but groups in the
//! order of the file, which counts.

use super::Part;
use super::reader::Reader;
use super::table::{DEFAULT, GRAPHITE, Known, PROCESS, SECTIONS};
use super::value;
use crate::ini::{Entry, Origin};

/// Sections, each with its options and their values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Printed(Vec<(&'static str, Vec<(String, String)>)>);

impl Printed {
    /// Of what is known, all that is there.
    pub(super) fn new(reader: &Reader, graphite: bool) -> Self {
        let there = |known: &&Known| known.always || reader.has(known.name);
        let wanted = |known: &&Known| known.name != GRAPHITE || graphite;
        let sections = SECTIONS.iter().filter(there).filter(wanted);
        let mut sections: Vec<_> = sections.map(|known| (known.name, options(reader, known))).collect();
        sections.sort_by_key(|(name, _)| (*name != DEFAULT, *name));
        Self(sections)
    }

    pub(super) fn text(&self, part: Part) -> String {
        let option = |(key, value): &(String, String)| format!("{key} = {value}\n");
        let section = |(name, options): &(&str, Vec<(String, String)>)| {
            format!("[{name}]\n{}\n", options.iter().map(option).collect::<String>())
        };
        self.0.iter().filter(|(name, _)| part.has(name)).map(section).collect()
    }
}

/// Groups in the order of the file, which counts; all else, also what is no group in their sections, by name.
fn options(reader: &Reader, known: &Known) -> Vec<(String, String)> {
    let is_group = |origin| known.is_groups() && origin == Origin::Own;
    let all = reader.document.options(known.name);
    let wanted = all.filter(|(.., origin)| !known.is_groups() || *origin != Origin::Inherited);
    let (groups, mut others): (Vec<_>, Vec<_>) = wanted.partition(|(.., origin)| is_group(*origin));
    others.sort_by_key(|(key, ..)| *key);
    let all = groups.into_iter().chain(others);
    all.map(|(key, entry, _)| (key.to_owned(), written(reader, known, key, entry))).collect()
}

/// What cannot be expanded is shown as it is: nobody reads it, or it would have been refused.
fn written(reader: &Reader, known: &Known, key: &str, raw: &Entry) -> String {
    let Some(Ok(entry)) = reader.document.interpolated(known.name, key) else { return indented(&raw.value) };
    let file = known.name == PROCESS && key.starts_with("exclude-");
    match value::path(&entry.value) {
        Ok(path) if file => escaped(&reader.beside(raw, &path).to_string_lossy()),
        _ => escaped(&entry.value),
    }
}

fn escaped(value: &str) -> String {
    indented(&value.replace('$', "$$"))
}

/// A value of several lines goes on deeper than its key, as Python writes it.
fn indented(value: &str) -> String {
    value.replace('\n', "\n\t")
}
