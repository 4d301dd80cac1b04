//! `docs/peers.md` names tests that there are.

use std::fs;
use std::path::Path;

use crate::recipes::read;
use crate::rooms::sources;

/// `room::a_sentence` between backticks is a test.
fn named(page: &str) -> Vec<&str> {
    let quoted = page.split('`').skip(1).step_by(2);
    let names = quoted.filter_map(|text| text.split_once("::").map(|(_, name)| name));
    names.filter(|name| name.contains('_')).collect()
}

#[test]
fn each_fact_has_a_test_that_there_is() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = ["src", "tests/it"].map(|name| sources(&root.join(name))).concat();
    let code: String = files.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let page = read("docs/peers.md");
    let named = named(&page);
    assert!(named.len() > 100, "{} tests", named.len());
    let missing: Vec<_> = named.into_iter().filter(|name| !code.contains(&format!("fn {name}("))).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}
