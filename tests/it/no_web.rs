//! A build without `serve` says so to whoever wants it, or its history.

use crate::support::Run;

#[test]
fn the_commands_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    for words in [&["serve", "--socket", "/run/h.sock"][..], &["history"]] {
        let advice = format!("error: {}: this program was built without the feature `web`\n", words[0]);
        Run::of(directory.path(), words).expect(2).complains(&advice);
    }
}
