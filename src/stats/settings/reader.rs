//! Takes options out of the files that were read, and collects all that is wrong with them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::names::near;
use super::remark::{Fault, FaultKind, Remark, Warning, WarningKind};
use super::table::{self, Known};
use super::{DEFAULT_PATH, Exclusions};
use crate::ini::{Document, Entry, Style};

/// Whose options these are where no file has them. The first of all texts.
const BUILT_IN: &str = "built-in defaults";

/// All files, one laid over the other, over the defaults.
pub(super) struct Reader {
    pub(super) document: Document,
    /// The files, by the numbers that the document has for them.
    paths: Vec<PathBuf>,
    /// With the numbers of their files, to put them in order.
    faults: Vec<(usize, Fault)>,
    warnings: Vec<(usize, Warning)>,
    /// The sections that a file has, each with the number of the first such file and its line there.
    present: BTreeMap<String, (usize, usize)>,
}

impl Reader {
    /// Reads the files. Where one cannot be read, all those are told for which that is so.
    pub(super) fn open(file: Option<&Path>, folder: Option<&Path>) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        let mut texts = Vec::new();
        let mut collect = |wrong: Vec<Fault>| faults.extend(wrong);
        for path in places(file, folder).map_err(&mut collect).unwrap_or_default() {
            let document = read(&path).map_err(&mut collect).unwrap_or_default();
            texts.extend(document.map(|document| (path, document)));
        }
        if faults.is_empty() { Self::over_defaults(texts) } else { Err(faults) }
    }

    /// Lays these texts over the defaults.
    pub(super) fn over_defaults(texts: Vec<(PathBuf, Document)>) -> Result<Self, Vec<Fault>> {
        let mut present = BTreeMap::new();
        for (at, (_, document)) in texts.iter().enumerate() {
            for section in document.sections() {
                // The defaults are the first of all texts.
                present.entry(section.name.clone()).or_insert((at + 1, section.line));
            }
        }
        let base = table::base(|name| present.contains_key(name));
        let mut document =
            base.map_err(|error| whole_file(Path::new(BUILT_IN), Some(error.line), error.fault.into()))?;
        let mut paths = vec![PathBuf::from(BUILT_IN)];
        for (path, text) in texts {
            document.overlay(text);
            paths.push(path);
        }
        Ok(Self { document, paths, faults: Vec::new(), warnings: Vec::new(), present })
    }

    /// Whether a file has this section.
    pub(super) fn has(&self, section: &str) -> bool {
        self.present.contains_key(section)
    }

    /// What was found, in the order of the files and of their lines.
    pub(super) fn finish(mut self) -> Result<Vec<Warning>, Vec<Fault>> {
        if self.faults.is_empty() { Ok(sorted(&mut self.warnings)) } else { Err(sorted(&mut self.faults)) }
    }

    /// An option that has to be there. What is given in place of a wrong one is never used.
    pub(super) fn get<T: Default>(
        &mut self,
        section: &'static str,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, FaultKind>,
    ) -> T {
        self.optional(section, key, parse).unwrap_or_default()
    }

    /// An option; `None` where it is not there or wrong.
    pub(super) fn optional<T>(
        &mut self,
        section: &'static str,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, FaultKind>,
    ) -> Option<T> {
        let entry = self.entry(section, key)?;
        match parse(&entry.value) {
            Ok(value) => Some(value),
            Err(kind) => {
                self.fault_at(&entry, section, key, kind);
                None
            }
        }
    }

    /// An option with all that its value names put in.
    pub(super) fn entry(&mut self, section: &str, key: &str) -> Option<Entry> {
        match self.document.interpolated(section, key)? {
            Ok(entry) => Some(entry),
            Err(error) => {
                let raw = self.document.get(section, key)?.clone();
                let elsewhere = (error.text, error.line) != (raw.text, raw.line);
                self.fault_at(
                    &raw,
                    section,
                    key,
                    FaultKind::Interpolation { error: Box::new(error), elsewhere },
                );
                None
            }
        }
    }

    pub(super) fn fault_at(&mut self, entry: &Entry, section: &str, key: &str, kind: FaultKind) {
        let fault = self.remark((entry.text, entry.line), section, Some(key), kind);
        self.faults.push((entry.text, fault));
    }

    /// A fault of an option, at its place, or else at that of its section.
    pub(super) fn fault(&mut self, section: &str, key: &str, kind: FaultKind) {
        match self.document.get(section, key).cloned() {
            Some(entry) => self.fault_at(&entry, section, key, kind),
            None => self.fault_of_section(section, kind),
        }
    }

    pub(super) fn fault_of_section(&mut self, name: &str, kind: FaultKind) {
        let place = self.present.get(name).copied().unwrap_or_default();
        let fault = self.remark(place, name, None, kind);
        self.faults.push((place.0, fault));
    }

    pub(super) fn warn(&mut self, section: &str, key: &str, kind: WarningKind) {
        let place = self.document.get(section, key).map(|entry| (entry.text, entry.line)).unwrap_or_default();
        self.warn_at(place, section, Some(key), kind);
    }

    fn warn_at(&mut self, place: (usize, usize), section: &str, key: Option<&str>, kind: WarningKind) {
        let warning = self.remark(place, section, key, kind);
        self.warnings.push((place.0, warning));
    }

    fn remark<K>(
        &self,
        (text, line): (usize, usize),
        section: &str,
        key: Option<&str>,
        kind: K,
    ) -> Remark<K> {
        Remark {
            path: self.path(text).to_owned(),
            line: (text != 0).then_some(line),
            section: Some(section.to_owned()),
            option: key.map(str::to_owned),
            kind,
        }
    }

    fn path(&self, text: usize) -> &Path {
        self.paths.get(text).map_or(Path::new(BUILT_IN), PathBuf::as_path)
    }

    /// The file that an option names, relative to the folder of the configuration that names it.
    pub(super) fn beside(&self, entry: &Entry, path: &Path) -> PathBuf {
        let folder = self.path(entry.text).parent().unwrap_or(Path::new(""));
        let path = folder.join(path);
        std::path::absolute(&path).unwrap_or(path)
    }

    /// A file of names that an option names.
    pub(super) fn exclusions(&mut self, section: &'static str, key: &'static str) -> Option<Exclusions> {
        let path = self.optional(section, key, super::value::path)?;
        let entry = self.document.get(section, key)?.clone();
        let path = self.beside(&entry, &path);
        let names = match fs::read(&path) {
            Ok(bytes) => String::from_utf8(bytes).ok(),
            // haproxystats goes on without it as well.
            Err(error) => {
                let reason = error.to_string();
                self.warn(section, key, WarningKind::NoExclusions { path: path.clone(), reason });
                return Some(Exclusions { path, names: BTreeSet::new() });
            }
        };
        let Some(text) = names else {
            self.fault_at(&entry, section, key, FaultKind::Encoding);
            return None;
        };
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        Some(Exclusions { path, names: lines.map(str::to_owned).collect() })
    }

    /// Tells of what nobody reads. Others' programs may read it, so it is no fault.
    pub(super) fn look_for_strangers(&mut self) {
        let sections: Vec<_> = self.document.sections().cloned().collect();
        for section in &sections {
            let place = (section.text, section.line);
            match Known::named(&section.name) {
                Some(known) if known.is_groups() => {}
                Some(known) => self.look_for_strange_options(known),
                None => {
                    let near = near(&section.name, table::SECTIONS.iter().map(|known| known.name));
                    self.warn_at(place, &section.name, None, WarningKind::UnknownSection(near));
                }
            }
        }
        self.look_at_defaults();
    }

    /// What another value names, or what `[DEFAULT]` has, is no stranger.
    fn look_for_strange_options(&mut self, known: &'static Known) {
        let document = self.document.clone();
        let own = document.section(known.name).into_iter().flat_map(crate::ini::Section::entries);
        for (key, _) in own {
            let expected = known.has(key) || document.defaults().get(key).is_some();
            if !expected && !named(&document, known.name, key) {
                self.warn(known.name, key, WarningKind::UnknownOption(near(key, known.keys())));
            }
        }
    }

    /// An option of `[DEFAULT]` that sections have a default of their own for.
    fn look_at_defaults(&mut self) {
        let entries: Vec<_> =
            self.document.defaults().entries().map(|(key, entry)| (key.to_owned(), entry.clone())).collect();
        for (key, entry) in entries {
            let sections: Vec<_> = table::SECTIONS
                .iter()
                .filter(|known| known.name != table::DEFAULT && known.preset(&key).is_some())
                .filter(|known| known.always || self.has(known.name))
                .map(|known| known.name)
                .collect();
            let usual = Known::named(table::DEFAULT).and_then(|known| known.preset(&key))
                == Some(entry.value.as_str());
            if entry.text != 0
                && !usual
                && !sections.is_empty()
                && !named(&self.document, table::DEFAULT, &key)
            {
                let kind = WarningKind::NoEffect(sections);
                self.warn_at((entry.text, entry.line), table::DEFAULT, Some(&key), kind);
            }
        }
    }
}

/// Whether a value names this option.
pub(super) fn named(document: &Document, section: &str, key: &str) -> bool {
    let (plain, full) = (format!("${{{key}}}"), format!("{section}:{key}}}"));
    let names = |(own, entry): (&str, &Entry)| {
        let text = entry.value.to_lowercase();
        own != key && (text.contains(&plain) || text.contains(&full.to_lowercase()))
    };
    document.defaults().entries().any(names)
        || document.sections().any(|section| section.entries().any(names))
}

fn sorted<K: Clone>(remarks: &mut [(usize, Remark<K>)]) -> Vec<Remark<K>> {
    remarks.sort_by_key(|(text, remark)| (*text, remark.line));
    remarks.iter().map(|(_, remark)| remark.clone()).collect()
}

/// The file, and those of the folder, in the order of their names.
fn places(file: Option<&Path>, folder: Option<&Path>) -> Result<Vec<PathBuf>, Vec<Fault>> {
    let mut places = vec![file.unwrap_or(Path::new(DEFAULT_PATH)).to_owned()];
    let Some(folder) = folder else { return Ok(places) };
    let cannot = |error: std::io::Error| whole_file(folder, None, FaultKind::Folder(error.to_string()));
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(cannot)? {
        let name = entry.map_err(cannot)?.file_name();
        let text = name.to_string_lossy();
        if text.ends_with(".conf") && !text.starts_with('.') {
            found.push(folder.join(&name));
        }
    }
    found.sort();
    places.append(&mut found);
    Ok(places)
}

/// A file's text; `None` for the default file that is not there.
fn read(path: &Path) -> Result<Option<Document>, Vec<Fault>> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && path == Path::new(DEFAULT_PATH) => {
            return Ok(None);
        }
        Err(error) => return Err(whole_file(path, None, FaultKind::io(&error))),
    };
    let text = str::from_utf8(&bytes).map_err(|error| {
        let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let line = before.split(|byte| *byte == b'\n').count();
        whole_file(path, Some(line), FaultKind::Encoding)
    })?;
    parse(path, text).map(Some)
}

pub(super) fn parse(path: &Path, text: &str) -> Result<Document, Vec<Fault>> {
    Document::parse(text, Style::PYTHON3)
        .map_err(|error| whole_file(path, Some(error.line), FaultKind::Ini(error.fault)))
}

fn whole_file(path: &Path, line: Option<usize>, kind: FaultKind) -> Vec<Fault> {
    vec![Remark { path: path.to_owned(), line, section: None, option: None, kind }]
}
