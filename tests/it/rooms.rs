//! `docs/architecture.md` names the rooms of the code and what each may use; the code is held to it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The table of rooms: each with what it may use, in the order of the page.
fn table() -> Vec<(String, Vec<String>)> {
    let page = fs::read_to_string(Path::new(ROOT).join("docs/architecture.md")).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| `") && line.contains("/`"));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').collect();
        let names = |cell: &str| {
            cell.split('`')
                .skip(1)
                .step_by(2)
                .map(|name| name.trim_end_matches('/').to_owned())
                .collect::<Vec<_>>()
        };
        (names(cells[0]).remove(0), names(cells.last().unwrap()))
    })
    .collect()
}

/// All files of code below a directory.
pub(crate) fn sources(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let (directories, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let nested = directories.iter().flat_map(|directory| sources(directory));
    files.into_iter().filter(|path| path.extension().is_some_and(|end| end == "rs")).chain(nested).collect()
}

/// The rooms that a source names: `crate::room` in code, whatever follows it.
fn used_rooms(source: &str) -> Vec<String> {
    let code: String = source.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let after = code.split("crate::").skip(1);
    after
        .map(|rest| rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect::<String>())
        .filter(|room| !room.is_empty())
        .collect()
}

#[test]
fn every_room_is_on_the_page_and_every_room_of_the_page_exists() {
    let mut listed: Vec<String> = table().into_iter().map(|(room, _)| room).collect();
    let entries = fs::read_dir(Path::new(ROOT).join("src")).unwrap().map(|entry| entry.unwrap());
    let mut rooms: Vec<String> = entries
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    listed.sort();
    rooms.sort();
    assert_eq!(listed, rooms);
}

#[test]
fn arrows_point_down_the_table() {
    let table = table();
    let order: BTreeMap<&str, usize> =
        table.iter().enumerate().map(|(at, (room, _))| (room.as_str(), at)).collect();
    for (room, may_use) in &table {
        for below in may_use {
            assert!(
                order[below.as_str()] > order[room.as_str()],
                "the page lets `{room}` use `{below}` above it"
            );
        }
        for path in sources(&Path::new(ROOT).join("src").join(room)) {
            let source = fs::read_to_string(&path).unwrap();
            for used in used_rooms(&source) {
                let allowed = used == *room || may_use.contains(&used);
                assert!(allowed, "{}: `{room}` may not use `{used}`", path.display());
            }
        }
    }
}

#[test]
fn the_deciding_rooms_do_nothing_but_decide() {
    for room in ["agent", "watch", "haproxy"] {
        for path in sources(&Path::new(ROOT).join("src").join(room)) {
            if path.ends_with("tests.rs") {
                continue;
            }
            let source = fs::read_to_string(&path).unwrap();
            let code = source.split("#[cfg(test)]").next().unwrap();
            for word in ["Instant::now", "std::net", "std::fs", "mio::", "nix::", "info!", "warn!", "error!"]
            {
                assert!(!code.contains(word), "{}: `{word}` in a room that only decides", path.display());
            }
        }
    }
}
