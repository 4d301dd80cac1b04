//! What the documents tell users to write is taken by the programs that it is written for: backends by HAProxy,
//! the listener's command lines by the listener, those of the commands by their declared arguments.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use clap::{CommandFactory, Parser};
use supervisor_haproxy::cli::Args;

use crate::support::BINARY;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

const GLOBAL: &str = "global\n    stats socket /run/haproxy/admin.sock level admin\n";
const DEFAULTS: &str =
    "defaults\n    mode http\n    timeout connect 1s\n    timeout client 1s\n    timeout server 1s\n";

pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(path)).unwrap()
}

/// The literal blocks of a text in reStructuredText, without their indentation.
pub(crate) fn blocks(text: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if !line.trim_end().ends_with("::") || line.trim_start().starts_with(".. ") {
            continue;
        }
        let indentation = |line: &str| line.len() - line.trim_start().len();
        // What belongs to an item of a numbered list begins behind its number.
        let number = line.split_once(". ").map_or(0, |(number, _)| number.len());
        let is_item = line.starts_with(|c: char| c.is_ascii_digit());
        let outer = if is_item { number + 2 } else { indentation(line) };
        let mut block = Vec::new();
        while let Some(line) = lines.next_if(|line| line.is_empty() || indentation(line) > outer) {
            block.push(line);
        }
        let inner = block.iter().filter(|line| !line.is_empty()).map(|line| indentation(line)).min();
        let lines = block.iter().map(|line| line.get(inner.unwrap_or_default()..).unwrap_or_default());
        blocks.push(lines.collect::<Vec<_>>().join("\n").trim().to_owned() + "\n");
    }
    blocks
}

fn has_section(block: &str, name: &str) -> bool {
    block.lines().any(|line| line.split_whitespace().next() == Some(name) && !line.starts_with(' '))
}

fn haproxy_blocks(text: &str) -> Vec<String> {
    let sections = ["global", "defaults", "frontend", "backend", "listen"];
    blocks(text)
        .into_iter()
        .filter(|block| sections.iter().any(|name| block.split_whitespace().next() == Some(name)))
        .collect()
}

/// With what is missing: HAProxy refuses times that are not set, and a frontend without its backend.
fn completed(block: &str) -> String {
    let mut text = String::new();
    for (name, section) in [("global", GLOBAL), ("defaults", DEFAULTS)] {
        if !has_section(block, name) {
            text += section;
        }
    }
    text += block;
    if has_section(block, "frontend") && !has_section(block, "backend") {
        text += "\nbackend app\n    server web1 127.0.0.1:8081\n";
    }
    let backend = block.lines().find_map(|line| line.strip_prefix("backend "));
    if let Some(backend) = backend.filter(|_| !has_section(block, "frontend")) {
        text += "\nfrontend test\n    bind 127.0.0.1:80\n    default_backend ";
        text += backend.trim();
        text.push('\n');
    }
    text
}

/// Warnings count as well: nobody should meet one with a line from here.
#[track_caller]
fn accepted_by_haproxy(configuration: &str) {
    let directory = tempfile::tempdir().unwrap();
    let (path, map) = (directory.path().join("haproxy.cfg"), directory.path().join("hosts.map"));
    // `routes init` makes it.
    fs::write(&map, "").unwrap();
    let configuration = configuration.replace("/etc/haproxy/routes/hosts.map", map.to_str().unwrap());
    fs::write(&path, &configuration).unwrap();
    let Output { status, stdout, stderr } =
        Command::new("haproxy").args(["-c", "-f"]).arg(&path).output().expect("haproxy is not installed");
    let said = String::from_utf8_lossy(&stdout) + String::from_utf8_lossy(&stderr);
    assert!(status.success() && !said.contains("[WARNING]"), "{configuration}\n{said}");
}

#[test]
fn haproxy_takes_each_backend_of_the_documents() {
    for (document, least) in [
        ("docs/recipes.rst", 4),
        ("README.rst", 1),
        ("docs/statistics.rst", 1),
        ("docs/configuration.rst", 2),
    ] {
        let blocks = haproxy_blocks(&read(document));
        assert!(blocks.len() >= least, "{document} has {} blocks for HAProxy", blocks.len());
        for block in blocks {
            accepted_by_haproxy(&completed(&block));
        }
    }
}

/// The listener's arguments: behind its name in a `command`, or in brackets in buildout's form.
fn listener_arguments(text: &str) -> Vec<String> {
    let mut in_listener = false;
    let mut found = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            in_listener = line.starts_with("[eventlistener:");
        }
        let Some((before, after)) = line.split_once("supervisor-haproxy ") else { continue };
        if let Some((_, arguments)) = before.split_once("command").filter(|_| in_listener) {
            assert!(arguments.trim_start().starts_with('='), "{line}");
            found.push(after.to_owned());
        }
        if before.ends_with("${buildout:bin-directory}/") {
            let arguments = after.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
            found.push(arguments.unwrap_or_else(|| panic!("no brackets: {line}")).to_owned());
        }
    }
    found
}

#[test]
fn the_listener_takes_each_command_line_of_the_documents() {
    for (document, least) in [("docs/recipes.rst", 2), ("README.rst", 3), ("supervisor.conf.example", 1)] {
        let lines = listener_arguments(&read(document));
        assert!(lines.len() >= least, "{document} has {} command lines", lines.len());
        for line in lines {
            let output = Command::new(BINARY)
                .arg("--dry-run")
                .args(line.split_whitespace())
                .env_remove("SUPERVISOR_SERVER_URL")
                .stdin(Stdio::null())
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{document}: {line}\n{said}");
            assert_eq!(output.stdout, b"READY\n", "{document}: {line}");
        }
    }
}

/// The words of each command, in literal blocks and in the running text, where the name of a command alone is none.
/// What a line prints elsewhere is no part of it.
fn commands(text: &str) -> Vec<Vec<String>> {
    let declared = Args::command();
    let names: Vec<&str> = declared.get_subcommands().map(clap::Command::get_name).collect();
    let inline = text.split("``supervisor-haproxy ").skip(1).filter_map(|rest| rest.split_once("``"));
    let inline = inline.map(|(arguments, _)| arguments).filter(|arguments| arguments.contains(' '));
    let inline = inline.map(|arguments| format!("supervisor-haproxy {arguments}"));
    let lines = blocks(text);
    let lines = lines.iter().flat_map(|block| block.lines());
    let lines = lines.map(|line| {
        ["$ ", "sudo ", "* * * * * "].iter().fold(line, |line, start| line.trim_start_matches(start))
    });
    lines
        .map(ToOwned::to_owned)
        .chain(inline)
        .map(|line| words(line.split(" > ").next().unwrap()))
        .filter(|words| words.first().is_some_and(|program| program.ends_with("supervisor-haproxy")))
        .filter(|words| words.get(1).is_some_and(|name| names.contains(&name.as_str())))
        .collect()
}

/// As a shell cuts them, with single quotes at most.
pub(crate) fn words(line: &str) -> Vec<String> {
    let (mut words, mut quoted) = (vec![String::new()], false);
    for letter in line.chars() {
        match letter {
            '\'' => quoted = !quoted,
            letter if letter.is_whitespace() && !quoted => words.push(String::new()),
            letter => words.last_mut().unwrap().push(letter),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn each_command_of_the_documents_is_one() {
    for (document, least) in [
        ("docs/recipes.rst", 5),
        ("README.rst", 7),
        ("docs/statistics.rst", 8),
        ("docs/configuration.rst", 9),
    ] {
        let commands = commands(&read(document));
        assert!(commands.len() >= least, "{document} has {} commands", commands.len());
        for words in commands {
            if let Err(error) = Args::try_parse_from(&words) {
                panic!("{document}: {}\n{error}", words.join(" "));
            }
        }
    }
}

#[test]
fn blocks_are_found_with_what_is_in_them() {
    let text = "A::\n\n    backend b\n        server s 1:1\n\n    x\n\nB\n\n::\n\n    global\n\n.. note::\n\n   no\n";
    assert_eq!(blocks(text), ["backend b\n    server s 1:1\n\nx\n", "global\n"]);
    assert_eq!(haproxy_blocks(text).len(), 2);
}
