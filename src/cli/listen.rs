//! The listener's command: from what was typed to what it needs, all problems at once.

use std::str::FromStr;
use std::time::Duration;

use super::args::ListenArgs;
use crate::agent::{Actions, BreakerSettings, Mapping, Override, ReconcilerSettings, Rule};
use crate::listen::{self, ListenError, Settings};
use crate::net::Endpoint;
use crate::store::HoldsFile;
use crate::supervisor::{Credentials, ProcessName, ServerUrl};

/// How the command fails.
#[derive(Debug)]
pub(super) enum Error {
    /// The arguments are wrong; a line for each problem.
    Usage(Vec<String>),
    /// The listener cannot go on.
    Run(ListenError),
}

pub(super) fn run(args: &ListenArgs) -> Result<(), Error> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let settings = settings(args, variable).map_err(Error::Usage)?;
    listen::run(&settings).map_err(Error::Run)
}

/// Checks everything and collects what is wrong.
pub(super) fn settings(
    args: &ListenArgs,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Settings, Vec<String>> {
    let mut problems = Vec::new();
    let haproxies = read_all::<Endpoint>("SOCKET", args.socket.split(','), &mut problems);
    let rules = read_all::<Rule>("PROGRAM", args.programs.iter().map(String::as_str), &mut problems);
    let overrides = read_all::<Override>("--action", args.actions.iter().map(String::as_str), &mut problems);
    if args.timeout.is_zero() {
        problems.push("--timeout: `0` gives HAProxy no time at all; leave it out for 2 seconds".into());
    }
    if args.breaker_reset.is_zero() {
        problems
            .push("--breaker-reset: `0` would never leave HAProxy alone; leave it out for 1 second".into());
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let url = server_url(&variable);
    let holds = holds_file(args, url.as_ref().ok());
    let supervisord = if args.no_sync { Err("--no-sync was given".into()) } else { url };
    Ok(Settings {
        haproxies,
        mapping: Mapping::new(rules).without_own(own_name(&variable)),
        actions: Actions::new(overrides),
        reconciler: ReconcilerSettings {
            gate: !args.no_gate,
            enforce: args.enforce,
            dry_run: args.dry_run,
            poll_interval: nonzero(args.poll_interval),
            breaker: BreakerSettings { threshold: args.breaker_threshold, reset: args.breaker_reset },
        },
        timeout: args.timeout,
        report_all: args.report_all,
        supervisord,
        sync_interval: nonzero(args.sync_interval),
        holds,
        // An empty environment variable is as good as none.
        metrics_file: args.metrics_file.clone().filter(|path| !path.as_os_str().is_empty()),
    })
}

/// The file that was named, or else the one beside supervisord's unix socket, which is used for this even where
/// XML-RPC is not.
fn holds_file(args: &ListenArgs, url: Option<&ServerUrl>) -> Option<HoldsFile> {
    // An empty environment variable is as good as none.
    match args.holds_file.as_ref().filter(|path| !path.is_empty()) {
        Some(path) => Some(HoldsFile::new(path)),
        None => HoldsFile::beside(&url?.endpoint),
    }
}

fn nonzero(duration: Duration) -> Option<Duration> {
    Some(duration).filter(|duration| !duration.is_zero())
}

pub(super) fn read_all<'a, T: FromStr<Err: std::fmt::Display>>(
    what: &str,
    texts: impl Iterator<Item = &'a str>,
    problems: &mut Vec<String>,
) -> Vec<T> {
    texts
        .filter_map(|text| match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                problems.push(format!("{what} `{}`: {error}", text.escape_debug()));
                None
            }
        })
        .collect()
}

/// What supervisord calls this very process.
fn own_name(variable: &impl Fn(&str) -> Option<String>) -> Option<ProcessName> {
    let (group, process) = (variable("SUPERVISOR_GROUP_NAME")?, variable("SUPERVISOR_PROCESS_NAME")?);
    Some(ProcessName { group, process })
}

/// supervisord tells its children where its XML-RPC is; user and password are set by hand in `environment=`.
pub(super) fn server_url(variable: &dyn Fn(&str) -> Option<String>) -> Result<ServerUrl, String> {
    let text = variable("SUPERVISOR_SERVER_URL").ok_or(
        "SUPERVISOR_SERVER_URL is not set; give supervisord a [unix_http_server] or [inet_http_server] section",
    )?;
    let mut url: ServerUrl = text.parse().map_err(|error| format!("SUPERVISOR_SERVER_URL: {error}"))?;
    url.credentials = credentials(variable).or(url.credentials);
    Ok(url)
}

/// Where no list of processes shows them.
pub(super) fn credentials(variable: &dyn Fn(&str) -> Option<String>) -> Option<Credentials> {
    let (user, password) = (variable("SUPERVISOR_USERNAME")?, variable("SUPERVISOR_PASSWORD")?);
    Some(Credentials { user, password })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::Args;

    fn read(words: &[&str], variables: &[(&str, &str)]) -> Result<Settings, Vec<String>> {
        let words = ["supervisor-haproxy"].iter().chain(words);
        let args = Args::try_parse_from(words).unwrap();
        settings(args.listen.as_ref().unwrap(), |name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_classic_command_line_works_unchanged() {
        let settings = read(
            &["tcp://localhost:8800", "instance1:plone01/plone0101", "instance2:plone01/plone0102"],
            &[("SUPERVISOR_SERVER_URL", "unix:///run/supervisor.sock")],
        )
        .unwrap();
        assert_eq!(settings.haproxies, ["tcp://localhost:8800".parse().unwrap()]);
        assert_eq!(settings.mapping.fixed_servers().count(), 2);
        assert!(settings.reconciler.gate && !settings.reconciler.enforce && !settings.reconciler.dry_run);
        assert_eq!(settings.reconciler.poll_interval, Some(Duration::from_secs(5)));
        assert!(settings.supervisord.is_ok());
    }

    #[test]
    fn the_shipped_example_is_accepted() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/supervisor.conf.example");
        let example = std::fs::read_to_string(path).unwrap();
        let command = example
            .lines()
            .filter_map(|line| line.strip_prefix("command"))
            .find_map(|rest| rest.split_once("supervisor-haproxy ").map(|(_, arguments)| arguments));
        let words: Vec<&str> = command.unwrap().split_whitespace().collect();
        read(&words, &[]).unwrap();
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let words = ["localhost,tcp://h:1", "web", "a:b/c d", "--action", "UP=ready", "--timeout", "0"];
        let problems = read(&words, &[]).unwrap_err();
        assert_eq!(problems.len(), 5, "{problems:#?}");
        assert!(problems[0].starts_with("SOCKET `localhost`: expected `tcp://HOST:PORT`"));
        assert!(problems[2].starts_with("PROGRAM `a:b/c d`: the server name `c d` holds ' '"));
    }

    #[test]
    fn why_xml_rpc_is_not_used_is_told() {
        let socket_and_program = ["/run/h.sock", "a:b/c"];
        let reason = |words: &[&str], url: &'static str| {
            let variables = [("SUPERVISOR_SERVER_URL", url)];
            read(words, if url.is_empty() { &[] } else { &variables }).unwrap().supervisord.unwrap_err()
        };
        assert!(reason(&socket_and_program, "").contains("[unix_http_server]"));
        assert!(reason(&socket_and_program, "https://h").contains("expected `unix:///PATH`"));
        assert_eq!(reason(&["--no-sync", "/run/h.sock", "a:b/c"], "http://h:1"), "--no-sync was given");
    }

    #[test]
    fn holds_are_kept_beside_supervisords_socket_or_where_it_was_said() {
        let holds = |words: &[&str], url: &str| {
            let words = [words, &["/run/h.sock", "a:b/c"]].concat();
            let settings = read(&words, &[("SUPERVISOR_SERVER_URL", url)]).unwrap();
            settings.holds.map(|file| file.path().display().to_string())
        };
        let socket = "unix:///run/supervisor.sock";
        assert_eq!(holds(&[], socket).as_deref(), Some("/run/supervisor.sock.holds"));
        assert_eq!(holds(&["--no-sync"], socket).as_deref(), Some("/run/supervisor.sock.holds"));
        assert_eq!(holds(&["--holds-file", ""], socket).as_deref(), Some("/run/supervisor.sock.holds"));
        assert_eq!(holds(&["--holds-file", "/srv/holds"], socket).as_deref(), Some("/srv/holds"));
        assert_eq!(holds(&[], "http://localhost:9001"), None);
        assert_eq!(holds(&["--holds-file", "/srv/holds"], "").as_deref(), Some("/srv/holds"));
    }

    #[test]
    fn credentials_come_from_the_environment() {
        let variables = [
            ("SUPERVISOR_SERVER_URL", "http://localhost:9001"),
            ("SUPERVISOR_USERNAME", "me"),
            ("SUPERVISOR_PASSWORD", "secret"),
        ];
        let url = read(&["/run/h.sock", "a:b/c"], &variables).unwrap().supervisord.unwrap();
        assert_eq!(url.credentials, Some(Credentials { user: "me".into(), password: "secret".into() }));
    }
}
