//! Sections and entries of one or several files, and what the names in their values stand for.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::format::{self, FormatError, Term};
use super::{ConfError, ConfFault, directory};
use crate::ini::{self, Document};

/// Sections of one or several files, the later entries in place of the earlier.
#[derive(Clone, Default)]
pub(super) struct Table {
    defaults: BTreeMap<String, Setting>,
    sections: Vec<Section>,
}

#[derive(Clone)]
pub(super) struct Section {
    pub(super) name: String,
    pub(super) place: Place,
    settings: BTreeMap<String, Setting>,
}

/// An entry before its expansion.
#[derive(Clone)]
pub(super) struct Setting {
    pub(super) text: String,
    pub(super) place: Place,
}

#[derive(Clone)]
pub(super) struct Place {
    pub(super) file: Arc<Path>,
    pub(super) line: usize,
}

impl Table {
    pub(super) fn merge(&mut self, document: &Document, path: &Path) {
        let file: Arc<Path> = path.into();
        let place = |line| Place { file: file.clone(), line };
        let settings = |section: &ini::Section| -> Vec<(String, Setting)> {
            let setting =
                |entry: &ini::Entry| Setting { text: entry.value.clone(), place: place(entry.line) };
            section.entries().map(|(key, entry)| (key.to_owned(), setting(entry))).collect()
        };
        self.defaults.extend(settings(document.defaults()));
        for section in document.sections() {
            let settings = settings(section);
            if let Some(own) = self.sections.iter_mut().find(|own| own.name == section.name) {
                own.settings.extend(settings);
            } else {
                let (name, place) = (section.name.clone(), place(section.line));
                self.sections.push(Section { name, place, settings: settings.into_iter().collect() });
            }
        }
    }

    pub(super) fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name)
    }

    /// The sections whose names begin so, in the order of the files.
    pub(super) fn sections(&self, prefix: &'static str) -> impl Iterator<Item = &Section> {
        self.sections.iter().filter(move |section| section.name.starts_with(prefix))
    }

    /// Gives to each section what `[DEFAULT]` has for it; when all files are there. A `%(here)s` in `[DEFAULT]`
    /// stays that of its file; supervisord makes it that of the file which first has a section without the key.
    pub(super) fn inherit(&mut self) {
        for section in &mut self.sections {
            for (key, setting) in &self.defaults {
                section.settings.entry(key.clone()).or_insert_with(|| setting.clone());
            }
        }
    }
}

impl Section {
    pub(super) fn get(&self, key: &str) -> Option<&Setting> {
        self.settings.get(key)
    }

    pub(super) fn needed(&self, key: &'static str) -> Result<&Setting, ConfError> {
        let fault = || ConfFault::NoEntry { section: self.name.clone(), key };
        self.get(key).ok_or_else(|| self.place.error(fault()))
    }
}

impl Setting {
    pub(super) fn expand(&self, key: &'static str, scope: &Scope) -> Result<String, ConfError> {
        scope.expand(&self.text, &self.place, key)
    }
}

impl Place {
    pub(super) fn error(&self, fault: ConfFault) -> ConfError {
        ConfError { path: self.file.to_path_buf(), line: Some(self.line), fault }
    }
}

/// What names stand for.
#[derive(Clone, Default)]
pub(super) struct Scope(BTreeMap<String, Term>);

impl Scope {
    pub(super) fn with(mut self, name: &str, text: impl Into<String>) -> Self {
        self.0.insert(name.to_owned(), Term::Text(text.into()));
        self
    }

    pub(super) fn with_number(mut self, name: &str, number: i64) -> Self {
        self.0.insert(name.to_owned(), Term::Number(number));
        self
    }

    pub(super) fn with_environment(mut self, environment: &BTreeMap<String, String>) -> Self {
        let term = |(name, value): (&String, &String)| (format!("ENV_{name}"), Term::Text(value.clone()));
        self.0.extend(environment.iter().map(term));
        self
    }

    /// `%(here)s` is the directory of the file that says it, as supervisord has it.
    pub(super) fn expand(&self, text: &str, at: &Place, key: &'static str) -> Result<String, ConfError> {
        let here = || Term::Text(directory(&at.file).to_string_lossy().into_owned());
        let lookup = |name: &str| if name == "here" { Some(here()) } else { self.0.get(name).cloned() };
        format::expand(text, &lookup).map_err(|error| at.error(self.fault(error, key)))
    }

    fn fault(&self, error: FormatError, key: &'static str) -> ConfFault {
        let FormatError::Unknown(name) = error else { return ConfFault::Format { key, error } };
        match name.strip_prefix("ENV_") {
            Some(variable) => ConfFault::UnsetVariable { key, variable: variable.to_owned() },
            None => ConfFault::UnknownName { key, name, known: self.known() },
        }
    }

    fn known(&self) -> String {
        let names = self.0.keys().map(String::as_str).filter(|name| !name.starts_with("ENV_"));
        let mut names: Vec<&str> = names.chain(["here"]).collect();
        names.sort_unstable();
        let names: String = names.iter().map(|name| format!("`%({name})s`, ")).collect();
        format!("{names}and `%(ENV_x)s` for a variable x of the environment")
    }
}
