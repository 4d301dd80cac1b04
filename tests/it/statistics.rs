//! `docs/statistics.rst` and the units in `systemd/` are held to what the program and systemd take.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

use clap::Parser;
use supervisor_haproxy::cli::Args;
use supervisor_haproxy::stats::settings::{Part, Settings, defaults};

use crate::recipes::{blocks, read, words};
use crate::support::BINARY;

const PAGE: &str = "docs/statistics.rst";

/// The page is of the build that has all.
const IS_WITH_KAFKA: bool = cfg!(feature = "kafka");

/// Options by section and name, with their defaults; an empty one is none.
type Options = BTreeMap<(String, String), String>;

/// `key = value` below `[section]`; what is a comment counts if `comments` do.
fn options(text: &str, comments: bool) -> Options {
    let mut section = String::new();
    let mut options = Options::new();
    for line in text.lines() {
        let line = if comments { line.trim_start_matches("# ") } else { line };
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            name.clone_into(&mut section);
        } else if let Some((key, value)) = line.split_once(" = ") {
            options.insert((section.clone(), key.to_owned()), value.to_owned());
        }
    }
    options
}

/// What the program says: all names from `-p`, and the defaults that are in effect once all sections are there.
fn declared() -> Options {
    let needed = [("prometheus", "file", "/x.prom"), ("kafka", "brokers", "x:1")];
    let needed = needed.into_iter().filter(|(section, ..)| IS_WITH_KAFKA || *section != "kafka");
    let mut all_sections = String::from("[graphite]\n[statsd]\n[local-store]\n");
    for (section, key, value) in needed.clone() {
        writeln!(all_sections, "[{section}]\n{key} = {value}").unwrap();
    }
    let (settings, _) = Settings::parse(Path::new("/x.conf"), &all_sections).unwrap();
    let mut in_effect = options(&settings.effective(Part::All), false);
    for (section, key, _) in needed {
        in_effect.remove(&(section.into(), key.into()));
    }
    let names =
        options(&defaults(Part::All), true).into_keys().filter(|(section, _)| !section.ends_with("-groups"));
    names.map(|name| (name.clone(), in_effect.remove(&name).unwrap_or_default())).collect()
}

/// The page without its comments, which have no mark but two dots.
fn page() -> String {
    let text = read(PAGE);
    let mut in_comment = false;
    let mut shown = String::new();
    for line in text.lines() {
        if !line.starts_with(' ') && !line.is_empty() {
            in_comment = line.starts_with(".. ") && !line.contains("::") && !line.starts_with(".. _");
        }
        if !in_comment {
            shown += line;
            shown.push('\n');
        }
    }
    shown
}

/// What the page says: tables below a heading that is the name of a section.
fn documented() -> Options {
    let page = page();
    let mut heading = None;
    let (mut before, mut columns, mut rules) = ("", Vec::new(), 0);
    let mut options = Options::new();
    for line in page.lines() {
        if line.starts_with("~~~") || line.starts_with("---") {
            heading = before.strip_prefix("``[").and_then(|rest| rest.strip_suffix("]``"));
        }
        if line.starts_with("===") && line.contains(' ') {
            columns = line.split(' ').map(str::len).collect();
            rules = (rules + 1) % 3;
        } else if let (Some(section), 2) = (heading, rules) {
            // Its rows are between the second rule and the third.
            let cells: String = line.chars().take(columns[0] + 1 + columns[1]).collect();
            if let Some((key, default)) = cells.strip_prefix("``").and_then(|rest| rest.split_once("`` ")) {
                options.insert((section.to_owned(), key.to_owned()), default.trim().to_owned());
            }
        }
        before = line;
    }
    options.retain(|(section, _), _| IS_WITH_KAFKA || section != "kafka");
    options
}

#[test]
fn the_tables_have_each_option_with_its_default() {
    let (declared, documented) = (declared(), documented());
    let names = |options: &Options| options.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(&documented), names(&declared), "{PAGE}");
    assert_eq!(documented, declared, "{PAGE}");
}

#[test]
fn each_configuration_of_the_page_is_taken_without_a_word() {
    let page = blocks(&page());
    let sections = ["[pull]", "[process]", "[graphite]", "[statsd]", "[kafka]"];
    let found: Vec<_> = page
        .iter()
        .filter(|block| sections.iter().any(|name| block.starts_with(name)))
        .filter(|block| IS_WITH_KAFKA || !block.contains("[kafka]"))
        .collect();
    assert!(found.len() >= 2, "{} configurations", found.len());
    for block in found {
        match Settings::parse(Path::new("page.conf"), block) {
            Ok((_, warnings)) => assert!(warnings.is_empty(), "{block}\n{warnings:?}"),
            Err(faults) => panic!("{block}\n{faults:?}"),
        }
    }
}

/// The words behind `command =` of a `[program:…]`, also of one that is commented out.
fn program_commands(text: &str) -> Vec<Vec<String>> {
    let lines = text.lines().map(|line| line.trim().trim_start_matches(';'));
    let commands = lines.filter_map(|line| line.strip_prefix("command = "));
    commands.map(words).filter(|words| words[0].ends_with("supervisor-haproxy")).collect()
}

#[test]
fn supervisord_is_given_commands_that_there_are() {
    for document in [PAGE, "supervisor.conf.example"] {
        let commands = program_commands(&read(document));
        for name in ["pull", "process"] {
            let command = commands.iter().find(|words| words.get(1).is_some_and(|word| word == name));
            let command = command.unwrap_or_else(|| panic!("{document} has no {name}"));
            if let Err(error) = Args::try_parse_from(command) {
                panic!("{document}: {command:?}\n{error}");
            }
        }
    }
}

const UNITS: [&str; 3] = [
    "supervisor-haproxy-pull.service",
    "supervisor-haproxy-process.service",
    "supervisor-haproxy-serve.service",
];

/// The directives of a unit, without comments.
fn unit(name: &str) -> Vec<String> {
    let text = read(&format!("systemd/{name}"));
    text.lines().filter(|line| line.contains('=') && !line.starts_with('#')).map(str::to_owned).collect()
}

#[test]
fn the_units_start_commands_that_there_are() {
    for name in UNITS {
        let unit = unit(name);
        let start = unit.iter().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
        assert!(Args::try_parse_from(words(start)).is_ok(), "{name}: {start}");
    }
}

/// The two of the statistics differ in what they start, not in what they may do.
#[test]
fn the_units_are_alike() {
    let [pull, process, _] = UNITS.map(|name| unit(name).into_iter().collect::<BTreeSet<_>>());
    let differing = pull.symmetric_difference(&process).map(|line| line.split('=').next().unwrap());
    let differing: BTreeSet<&str> = differing.collect();
    assert_eq!(
        differing,
        BTreeSet::from(["After", "Description", "Documentation", "ExecStart", "SupplementaryGroups"])
    );
}

/// What systemd itself makes of the units; it need not run for that.
#[test]
fn systemd_takes_the_units_and_finds_them_safe() {
    let directory = tempfile::tempdir().unwrap();
    for name in UNITS {
        let path = directory.path().join(name);
        // The program is not installed where tests run.
        let text = read(&format!("systemd/{name}")).replace("/usr/local/bin/supervisor-haproxy", BINARY);
        fs::write(&path, text).unwrap();
        let analyze = |arguments: &[&str]| {
            let output = Command::new("systemd-analyze").args(arguments).arg(&path).output();
            let output = output.expect("systemd-analyze is not installed");
            let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
            // Of other units of this machine nothing is to be heard.
            let said: String = said.lines().filter(|line| line.contains(name)).collect();
            assert!(output.status.success(), "systemd-analyze {}: {said}", arguments.join(" "));
            said
        };
        assert_eq!(analyze(&["verify", "--man=no", "--generators=no", "--recursive-errors=no"]), "");
        // Tenths: 1.3 is what is left when a service needs the network and a group.
        analyze(&["security", "--offline=yes", "--threshold=15", "--no-pager"]);
    }
}
