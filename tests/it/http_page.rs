//! `docs/http.rst` is held to what `serve` has: paths, metrics, problems, options and commands.

use std::collections::BTreeSet;

use clap::{CommandFactory, Parser};
use regex::Regex;
use supervisor_haproxy::cli::Args;
use supervisor_haproxy::web::document;

use crate::recipes::{read, words};

const PAGE: &str = "docs/http.rst";

/// What stands in the first group, wherever the pattern matches.
fn found(pattern: &str, text: &str) -> BTreeSet<String> {
    Regex::new(pattern).unwrap().captures_iter(text).map(|found| found[1].to_owned()).collect()
}

/// The part of the page between two texts.
fn between(start: &str, end: &str) -> String {
    let page = read(PAGE);
    let (_, rest) = page.split_once(start).unwrap();
    rest.split_once(end).unwrap().0.to_owned()
}

#[test]
fn the_table_of_endpoints_is_that_of_the_document() {
    let document = serde_json::to_value(document()).unwrap();
    let operations = document["paths"].as_object().unwrap().iter().flat_map(|(path, item)| {
        item.as_object().unwrap().keys().map(move |method| format!("{} {path}", method.to_uppercase()))
    });
    let told = found("(?m)^``((?:GET|POST|PUT|DELETE) [^`]+)``", &between("\nEndpoints\n", "All documents"));
    assert_eq!(told, operations.collect());
}

#[test]
fn the_table_of_metrics_has_each_of_them() {
    let files = [
        "src/health/metrics.rs",
        "src/overview/metrics.rs",
        "src/listen/tally.rs",
        "src/web/routes/metrics.rs",
    ];
    let code = files.map(|file| read(file).split("#[cfg(test)]").next().unwrap().to_owned()).concat();
    let told = found("(?m)^``(supervisor_haproxy_[a-z_]+)", &between("\nMetrics\n", "\nTokens\n"));
    assert_eq!(told, found("\"(supervisor_haproxy_[a-z_]+)\"", &code));
}

#[test]
fn the_table_of_problems_has_each_of_them() {
    let told = found("(?m)^[45]\\d\\d +``([a-z-]+)``", &between("\nErrors\n", "\nMetrics\n"));
    assert_eq!(told, found("\"urn:supervisor-haproxy:([a-z-]+)\",", &read("src/web/problem.rs")));
}

#[test]
fn the_page_names_no_option_that_there_is_not() {
    let command = Args::command();
    let commands = ["serve", "history"].map(|name| command.find_subcommand(name).unwrap());
    let arguments = commands.iter().flat_map(|command| command.get_arguments());
    let known: BTreeSet<String> =
        arguments.filter_map(|argument| argument.get_long()).map(str::to_owned).collect();
    // Of other commands, the listener, Docker and the shells of others.
    let others = [
        "help",
        "json",
        "force",
        "metrics-file",
        "rm",
        "network",
        "volume",
        "group-add",
        "serve",
        "no-healthcheck",
    ]
    .map(str::to_owned)
    .into();
    let told = found("(?:^|[ `(])--([a-z-]+)", &read(PAGE));
    let unknown: Vec<_> = told.difference(&known.union(&others).cloned().collect()).cloned().collect();
    assert_eq!(unknown, Vec::<String>::new());
}

#[test]
fn the_commands_of_the_page_are_taken() {
    let page = read(PAGE);
    let commands = page.lines().filter_map(|line| {
        line.trim()
            .trim_start_matches("$ ")
            .trim_start_matches("command = ")
            .split_once("supervisor-haproxy serve")
    });
    let commands: Vec<String> = commands
        .filter(|(before, _)| before.is_empty() || before.ends_with('/'))
        .map(|(_, rest)| format!("supervisor-haproxy serve{rest}"))
        .collect();
    assert!(commands.len() >= 3, "{commands:?}");
    for command in commands {
        if let Err(error) = Args::try_parse_from(words(&command)) {
            panic!("{command}\n{error}");
        }
    }
}
