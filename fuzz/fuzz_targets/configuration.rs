//! Any text is a configuration or is refused, in both styles of INI; each section and entry has a line of the text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use supervisor_haproxy::ini::{Document, Style};

/// As supervisord reads its files.
const SUPERVISOR: Style = Style { inline_comments: &[';', '#'], strict: false };

fuzz_target!(|text: &str| {
    let lines = text.split(['\n', '\r']).count();
    for style in [SUPERVISOR, Style::PYTHON3] {
        match Document::parse(text, style) {
            Ok(document) => is_sound(&document, lines),
            Err(error) => assert!((1..=lines).contains(&error.line)),
        }
        // What the strict take, the others take for the same.
        if let Ok(document) = Document::parse(text, Style { strict: true, ..style }) {
            assert_eq!(Document::parse(text, Style { strict: false, ..style }), Ok(document));
        }
    }
});

fn is_sound(document: &Document, lines: usize) {
    for section in document.sections() {
        assert!((1..=lines).contains(&section.line));
        for (key, entry) in section.entries() {
            assert!((1..=lines).contains(&entry.line));
            assert_eq!(document.get(&section.name, key), Some(entry));
        }
    }
}
