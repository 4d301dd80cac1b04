//! A change that is cut off between any two of its steps, with a HAProxy that is played by the test. What a real one
//! makes of it is in `tests/it/e2e_config.rs`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use tempfile::TempDir;

use super::desk::Wish;
use super::transaction::Progress;
use super::*;
use crate::exec::Checked;

const KEEP: usize = 20;

/// What a HAProxy runs with; `None` where none runs. It refuses to load what holds `bad`, and `-c` refuses `wrong`.
#[derive(Clone, Debug, Default)]
struct Fake(Rc<RefCell<Option<BTreeMap<PathBuf, String>>>>, Vec<PathBuf>);

impl Peer for Fake {
    fn ready(&mut self) -> Result<(), String> {
        self.0.borrow().as_ref().map(|_| ()).ok_or_else(|| "nobody".into())
    }

    fn check(&mut self, files: &[PathBuf]) -> Result<Checked, String> {
        let wrong = files.iter().find(|path| fs::read_to_string(path).unwrap().contains("wrong"));
        let said = wrong.map(|path| format!("[{}:1]: unknown keyword", path.display()));
        Ok(Checked { is_valid: said.is_none(), said: said.unwrap_or_default() })
    }

    fn activate(&mut self, _: &How) -> Activated {
        let loaded = load(&self.1);
        let mut running = self.0.borrow_mut();
        match running.as_mut() {
            None => Activated::Nobody("nobody".into()),
            Some(_) if loaded.values().any(|text| text.contains("bad")) => {
                Activated::Failed("cannot bind".into())
            }
            Some(running) => {
                *running = loaded;
                Activated::Worked
            }
        }
    }
}

fn load(paths: &[PathBuf]) -> BTreeMap<PathBuf, String> {
    paths.iter().filter_map(|path| Some((path.clone(), fs::read_to_string(path).ok()?))).collect()
}

struct Place {
    directory: TempDir,
    running: Fake,
}

impl Place {
    /// Two files, and a HAProxy that runs with them.
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = fs::canonicalize(directory.path()).unwrap();
        let paths = vec![path.join("a.cfg"), path.join("b.cfg")];
        let place = Self { directory, running: Fake(Rc::default(), paths) };
        place.write("old", "old");
        place.start();
        place
    }

    fn start(&self) {
        *self.running.0.borrow_mut() = Some(load(&self.running.1));
    }

    fn write(&self, a: &str, b: &str) {
        for (path, text) in self.running.1.iter().zip([a, b]) {
            fs::write(path, text).unwrap();
        }
    }

    /// What the files hold, what HAProxy runs with.
    fn files(&self) -> Vec<String> {
        load(&self.running.1).into_values().collect()
    }

    fn runs_with(&self) -> Vec<String> {
        self.running.0.borrow().as_ref().unwrap().values().cloned().collect()
    }

    fn setup(&self) -> Setup {
        Setup {
            files: self.running.1.clone(),
            map: None,
            archive: self.directory.path().join("history"),
            keep: KEEP,
            lock_timeout: Duration::ZERO,
            by: "anna".into(),
            at: 1_760_000_000,
        }
    }

    fn open(&self) -> Result<(Desk<Fake>, Option<String>), ChangeError> {
        Desk::open(self.setup(), self.running.clone())
    }

    fn desk(&self) -> Desk<Fake> {
        self.open().unwrap().0
    }

    fn wish(&self, text: &str) -> Wish {
        let file = |path: &PathBuf| (path.clone(), Some(text.as_bytes().to_vec().into()));
        Wish {
            what: What::Apply,
            note: "both".into(),
            how: How::Reload,
            files: self.running.1.iter().map(file).collect(),
        }
    }

    /// Begins a change of both files and is killed after so many steps; whether it had ended before.
    fn killed_after(&self, steps: usize, text: &str) -> bool {
        let mut desk = self.desk();
        let mut transaction = desk.begin(self.wish(text)).unwrap().unwrap();
        for _ in 0..steps {
            match transaction.advance(&mut desk) {
                Ok(Progress::Going) => {}
                Ok(Progress::Ended(_)) | Err(_) => return true,
            }
        }
        false
    }

    fn leftovers(&self) -> Vec<String> {
        let names = |path: PathBuf| {
            fs::read_dir(path).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap())
        };
        let mut names: Vec<String> = names(self.directory.path().into())
            .chain(names(self.directory.path().join("history")))
            .filter(|name| {
                name.starts_with('.') || ["next.json", "change.json", "undo.json"].contains(&name.as_str())
            })
            .collect();
        names.sort();
        names
    }

    /// Opens the desk after a kill: nothing is left of the change, and HAProxy runs with what the files hold. Gives
    /// what that is, and what is said about it.
    fn comes_to_rest(&self) -> (Vec<String>, Option<String>) {
        let (_, remark) = self.open().unwrap();
        assert_eq!(self.leftovers(), Vec::<String>::new());
        if self.running.0.borrow().is_some() {
            assert_eq!(self.files(), self.runs_with());
        }
        (self.files(), remark)
    }

    /// Nothing stands in the way of the next change.
    fn takes_the_next_one(&self) {
        let mut desk = self.desk();
        desk.change(self.wish("next")).unwrap();
        assert_eq!(self.runs_with(), ["next", "next"]);
    }
}

/// Kills a change after each of its steps; gives how each came to rest.
fn each_kill(text: &str, between: impl Fn(&Place)) -> Vec<(Vec<String>, Option<String>)> {
    let mut outcomes = Vec::new();
    for steps in 0.. {
        let place = Place::new();
        let has_ended = place.killed_after(steps, text);
        between(&place);
        outcomes.push(place.comes_to_rest());
        place.start();
        place.takes_the_next_one();
        if has_ended {
            break;
        }
    }
    outcomes
}

fn is(files: &[String], text: &str) -> bool {
    files.iter().all(|file| file == text)
}

#[test]
fn killed_after_any_step_the_old_configuration_or_the_new_one_is_whole_and_in_force() {
    let outcomes = each_kill("new", |_| {});
    let whole = |(files, _): &(Vec<String>, _)| is(files, "old") || is(files, "new");
    assert!(outcomes.iter().all(whole), "{outcomes:?}");
    let remarks: Vec<&str> = outcomes.iter().filter_map(|(_, remark)| remark.as_deref()).collect();
    let [undone, finished] = ["undone", "finished"].map(|word| {
        remarks
            .iter()
            .filter(|r| **r == format!("a change that was cut off (both by anna) is {word}"))
            .count()
    });
    // Four preparations, of which the last announces it; two files, the reload, the end.
    assert_eq!((outcomes.len(), undone, finished), (9, 1, 3), "{outcomes:#?}");
    assert!(is(&outcomes[4].0, "old") && is(&outcomes[5].0, "new"), "{outcomes:#?}");
}

#[test]
fn killed_while_it_is_undone_it_is_undone() {
    let outcomes = each_kill("bad", |_| {});
    assert!(outcomes.iter().all(|(files, _)| is(files, "old")), "{outcomes:#?}");
    assert!(outcomes.len() > 10, "{outcomes:#?}");
}

#[test]
fn where_haproxy_has_ended_too_the_old_files_are_put_back() {
    let outcomes = each_kill("new", |place| *place.running.0.borrow_mut() = None);
    for (files, remark) in outcomes.iter().filter(|(_, remark)| remark.is_some()) {
        assert!(is(files, "old"), "{remark:?}");
    }
    assert_eq!(outcomes.iter().filter(|(_, remark)| remark.is_some()).count(), 4);
}

#[test]
fn killed_again_and_again_while_it_is_put_right_it_comes_to_rest() {
    for first in 5..8 {
        for second in 0..8 {
            for text in ["new", "bad"] {
                let place = Place::new();
                place.killed_after(first, text);
                // The next one begins to put it right, and is killed as well.
                let archive = Archive::open(&place.directory.path().join("history")).unwrap();
                let (aim, journal) = archive.unfinished().unwrap().unwrap();
                let mut transaction = super::transaction::Transaction::resume(aim, journal);
                let mut desk = Desk::take(place.setup(), place.running.clone()).unwrap();
                for _ in 0..second {
                    if !matches!(transaction.advance(&mut desk), Ok(Progress::Going)) {
                        break;
                    }
                }
                drop(desk);
                let (files, _) = place.comes_to_rest();
                assert!(is(&files, if text == "bad" { "old" } else { "new" }), "{first} {second} {files:?}");
            }
        }
    }
}

#[test]
fn an_invalid_change_touches_nothing_and_names_the_file_that_it_was_meant_for() {
    let place = Place::new();
    let mut desk = place.desk();
    let a = &place.running.1[0];
    let error = desk.apply(a, b"wrong".to_vec()).unwrap_err().to_string();
    assert!(error.contains(&format!("[{}:1]: unknown keyword", a.display())), "{error}");
    assert_eq!(
        (place.files(), place.runs_with()),
        (vec!["old".into(), "old".into()], vec!["old".into(), "old".into()])
    );
    assert_eq!(place.leftovers(), Vec::<String>::new());
    assert_eq!(desk.archive.versions().unwrap().len(), 1);
}

#[test]
fn what_haproxy_does_not_take_is_undone_and_is_no_version() {
    let place = Place::new();
    let mut desk = place.desk();
    let error = desk.apply(&place.running.1[0], b"bad".to_vec()).unwrap_err();
    assert!(matches!(&error, ChangeError::Undone(why) if why == "cannot bind"), "{error}");
    assert_eq!(
        (place.files(), place.runs_with()),
        (vec!["old".into(), "old".into()], vec!["old".into(), "old".into()])
    );
    assert_eq!(desk.archive.versions().unwrap().len(), 1);
}

#[test]
fn where_even_the_old_one_is_not_taken_that_is_said_and_tried_again() {
    let place = Place::new();
    place.write("old bad", "old");
    let mut desk = place.desk();
    let error = desk.apply(&place.running.1[1], b"bad".to_vec()).unwrap_err();
    assert!(matches!(&error, ChangeError::Stuck { .. }), "{error}");
    assert_eq!(place.files(), ["old bad", "old"]);
    drop(desk);
    assert!(matches!(place.open().unwrap_err(), ChangeError::Stuck { .. }), "still");
    place.write("mended", "old");
    let remark = place.open().unwrap().1;
    assert_eq!(remark.unwrap(), "a change that was cut off (apply b.cfg by anna) is undone");
    assert_eq!(place.runs_with(), ["mended", "old"]);
}

#[test]
fn what_somebody_else_has_changed_meanwhile_is_left_as_it_is() {
    let place = Place::new();
    assert!(!place.killed_after(5, "new"));
    place.write("mine", "old");
    let (desk, remark) = place.open().unwrap();
    assert!(remark.unwrap().contains("was changed by somebody else since; all is left as it is"));
    drop(desk);
    assert_eq!(place.files(), ["mine", "old"]);
    place.takes_the_next_one();
}

#[test]
fn each_change_is_a_version_and_a_rollback_is_one_too() {
    let place = Place::new();
    let mut desk = place.desk();
    let [a, b] = &place.running.1[..] else { panic!() };
    assert_eq!(desk.apply(a, b"one".to_vec()).unwrap(), Done { version: Some(2), is_reloaded: true });
    assert_eq!(desk.apply(b, b"two".to_vec()).unwrap().version, Some(3));
    assert_eq!(desk.apply(b, b"two".to_vec()).unwrap(), Done { version: None, is_reloaded: false });
    place.write("one", "by hand");
    assert_eq!(desk.apply(a, b"three".to_vec()).unwrap().version, Some(5));
    let versions = desk.archive.versions().unwrap();
    let list: Vec<_> =
        versions.iter().map(|v| (v.number, v.what.word(), v.by.as_str(), v.note.as_str())).collect();
    assert_eq!(
        list,
        [
            (1, "found", "-", "what was there at first"),
            (2, "apply", "anna", "apply a.cfg"),
            (3, "apply", "anna", "apply b.cfg"),
            (4, "found", "-", "changed outside of `config`"),
            (5, "apply", "anna", "apply a.cfg"),
        ]
    );
    assert_eq!(desk.roll_back(None).unwrap().0, 4);
    assert_eq!(place.runs_with(), ["one", "by hand"]);
    assert_eq!(desk.roll_back(Some(1)).unwrap(), (1, Done { version: Some(7), is_reloaded: true }));
    assert_eq!(place.runs_with(), ["old", "old"]);
    let error = desk.roll_back(Some(99)).unwrap_err().to_string();
    assert_eq!(error, "nothing was changed: there is no version 99; there are 1, 2, 3, 4, 5, 6, 7");
}

#[test]
fn the_history_is_bounded_and_contents_go_with_their_versions() {
    let place = Place::new();
    let mut desk = place.desk();
    for turn in 0..KEEP + 5 {
        desk.apply(&place.running.1[0], format!("{turn}").into_bytes()).unwrap();
    }
    let numbers: Vec<u64> = desk.archive.versions().unwrap().iter().map(|version| version.number).collect();
    assert_eq!(numbers, (7..=26).collect::<Vec<_>>());
    // One for each, and the other file's.
    assert_eq!(fs::read_dir(place.directory.path().join("history/objects")).unwrap().count(), KEEP + 1);
}

#[test]
fn what_was_being_written_is_removed() {
    let place = Place::new();
    drop(place.desk());
    for name in
        [".a.cfg.new", ".b.cfg.old", "history/.next.json.new", "history/objects/.00.new", "history/next.json"]
    {
        fs::write(place.directory.path().join(name), "half").unwrap();
    }
    assert_eq!(place.comes_to_rest(), (vec!["old".into(), "old".into()], None));
    assert_eq!(fs::read_dir(place.directory.path().join("history/objects")).unwrap().count(), 0);
}

#[test]
fn a_damaged_content_is_not_put_back() {
    let place = Place::new();
    place.write("first", "old");
    let mut desk = place.desk();
    desk.apply(&place.running.1[0], b"new".to_vec()).unwrap();
    for entry in fs::read_dir(place.directory.path().join("history/objects")).unwrap() {
        fs::write(entry.unwrap().path(), "damaged").unwrap();
    }
    let error = desk.roll_back(Some(1)).unwrap_err().to_string();
    assert!(
        error.starts_with("nothing was changed: the content ") && error.contains("missing in"),
        "{error}"
    );
    assert_eq!(place.runs_with(), ["new", "old"]);
}

#[test]
fn a_file_that_haproxy_does_not_read_is_refused() {
    let place = Place::new();
    let error = place.desk().apply("/etc/passwd".as_ref(), b"new".to_vec()).unwrap_err().to_string();
    assert!(
        error.starts_with("nothing was changed: `/etc/passwd` is none of the files that HAProxy is"),
        "{error}"
    );
}
