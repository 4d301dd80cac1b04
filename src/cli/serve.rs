//! `serve`: health, metrics, recovery and routes over HTTP.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::{LevelFilter, info, warn};
use sd_notify::NotifyState;

use super::pipeline::{notify, wait};
use super::serve_args::ServeArgs;
use super::serve_history::Scribe;
use super::serve_programs::Programs;
use super::serve_routes::{self, Counter};
use super::{Failure, history_file, listen, logging, serve_messages, serve_programs};
use crate::agent::BreakerSettings;
use crate::alerts::{self, Outbox};
use crate::control::Vigil;
use crate::exec::Configuration;
use crate::health::{self, Action, Monitor, RecoverySettings, RouteTable};
use crate::history::{self, Book, HistoryError, Keeper};
use crate::net::Endpoint;
use crate::overview::{self, Observer};
use crate::supervisor::{ProcessName, ServerUrl};
use crate::web::{self, Keys, Listen, Secret, SecretError, Server, Sources, Telex};

/// Where the secrets may be, so that no list of processes shows them.
const TOKEN: &str = "SUPERVISOR_HAPROXY_SERVE_TOKEN";
const ADMIN_KEY: &str = "SUPERVISOR_HAPROXY_SERVE_ADMIN_KEY";
/// Nothing is done at that time: a wait has to have an end.
const HOUR: Duration = Duration::from_secs(60 * 60);

pub(super) fn run(args: &ServeArgs) -> Result<u8, Failure> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let All { mut health, mut web, messages, programs } =
        settings(args, &variable).map_err(Failure::Usage)?;
    let level = if args.verbose { LevelFilter::Debug } else { LevelFilter::Info };
    logging::start_at(args.log_format, level);
    if health.action.is_some() && health.configuration.is_none() {
        warn!("HAProxy is restarted without a look at its configuration: there is no --config");
    }
    // Before there is any other thread, so that signals come here.
    let mut vigil = Vigil::new()?;
    let (book, keeper) = history(args, &variable)?;
    health.listeners.push(Arc::new(book.clone()));
    let outbox = messages.map(Outbox::new);
    if let Some(outbox) = &outbox {
        health.listeners.extend(outbox.listener());
        let interval = args.messages.every.clone();
        web.telex = outbox.ticks().map(|ticks| Telex { ticks, interval });
        web.tallies = Some(outbox.tallies());
    }
    let monitor = Monitor::start(health)?;
    let desk = outbox.map(|outbox| outbox.start(&monitor.watch(), &book)).transpose()?;
    let observer = Observer::start(observer_settings(args, programs, book.clone()), monitor.watch())?;
    let sources = Sources { health: monitor.watch(), overview: observer.watch(), history: book };
    let server = Server::start(web, sources)?;
    info!("serving at {}, about haproxy {}", server.address(), args.socket);
    notify(NotifyState::Ready);
    while !wait(&mut vigil, Instant::now() + HOUR)? {}
    notify(NotifyState::Stopping);
    info!("ended by a signal");
    // Commands have their time to end while the others do.
    observer.stop();
    server.end();
    monitor.end();
    observer.end();
    if let Some(desk) = desk {
        desk.end();
    }
    // The last one, as all others have something for it.
    if let Some(keeper) = keeper {
        keeper.end();
    }
    Ok(0)
}

/// What keeps the history from its file: a file that was named is needed, and the one that nobody named is not.
fn history(
    args: &ServeArgs,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<(Book, Option<Keeper>), Failure> {
    let limit = usize::try_from(args.history_limit).unwrap_or(usize::MAX);
    let in_memory = || (Book::in_memory(limit), None);
    let start = |file: PathBuf| Keeper::start(&history::Settings { file, limit });
    let keeper = match &args.history {
        Some(file) if file.as_os_str() == "off" => return Ok(in_memory()),
        Some(file) => {
            start(file.clone()).map_err(|error| Failure::Usage(vec![format!("--history: {error}")]))?
        }
        None => match default_history(variable).and_then(start) {
            Ok(keeper) => keeper,
            Err(error) => {
                warn!("{error}; the history is kept in memory only (--history FILE, or --history off)");
                return Ok(in_memory());
            }
        },
    };
    let book = keeper.book();
    info!("history is kept in `{}`", book.file().unwrap_or(Path::new("")).display());
    Ok((book, Some(keeper)))
}

/// The file, whose directory is there.
fn default_history(variable: &dyn Fn(&str) -> Option<String>) -> Result<PathBuf, HistoryError> {
    let system = |path: &Path, cause| HistoryError::System { path: path.to_owned(), cause };
    let path = history_file::own(variable, rustix::process::geteuid().is_root());
    let nowhere = || system(Path::new("history.sqlite"), io::Error::other("this user has no home"));
    let path = path.ok_or_else(nowhere)?;
    let directory = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(directory).map_err(|cause| system(&path, cause))?;
    Ok(path)
}

/// For each part of the program, what it is to do; nothing is sent where there are no messages.
#[derive(Debug)]
struct All {
    health: health::Settings,
    web: web::Settings,
    messages: Option<alerts::Settings>,
    programs: Programs,
}

fn observer_settings(args: &ServeArgs, programs: Programs, book: Book) -> overview::Settings {
    let Programs { site, commands, .. } = programs;
    overview::Settings {
        site,
        commands,
        interval: args.check_interval,
        listener: Some(Arc::new(Scribe(book))),
    }
}

/// All that was typed, checked; all problems at once.
fn settings(args: &ServeArgs, variable: &dyn Fn(&str) -> Option<String>) -> Result<All, Vec<String>> {
    let mut problems = Vec::new();
    let haproxy = args.socket.parse::<Endpoint>().map_err(|error| format!("--socket: {error}"));
    let haproxy = haproxy.map_err(|problem| problems.push(problem)).ok();
    let listen = args.listen.parse::<Listen>().map_err(|error| format!("--listen: {error}"));
    let listen = listen.map_err(|problem| problems.push(problem)).ok();
    let routing = serve_routes::routing(args, &mut problems);
    let keys = keys(args, variable, &mut problems);
    let action = action(args, variable).map_err(|problem| problems.push(problem)).unwrap_or_default();
    let messages = serve_messages::settings(&args.messages, host_name(), variable, &mut problems);
    let programs = serve_programs::find(args, variable, &mut problems);
    if listen.as_ref().is_some_and(Listen::is_exposed) && keys.token.is_none() {
        problems.push(format!(
            "--listen {}: other machines may connect there, and there is no token; pass --token-file FILE, or listen at \
             127.0.0.1",
            args.listen
        ));
    }
    if action.is_some() && args.config.is_empty() && !args.recover_unvalidated {
        problems.push(
            "a recovery looks at HAProxy's configuration first: pass it with --config FILE, or --recover-unvalidated"
                .into(),
        );
    }
    match (haproxy, listen) {
        (Some(haproxy), Some(listen)) if problems.is_empty() => {
            let web = web_settings(args, listen, keys, &haproxy);
            let mut health = health_settings(args, haproxy, action);
            let counter = routing.as_ref().map(|routing| Counter::new(routing.places.clone()));
            health.routes = counter.map(|counter| Arc::new(counter) as Arc<dyn RouteTable>);
            let configuration = health.configuration.clone();
            let listener_metrics = programs.listener_metrics.clone();
            let web = web::Settings { listener_metrics, configuration, routing, ..web };
            Ok(All { health, web, messages, programs })
        }
        _ => Err(problems),
    }
}

fn health_settings(args: &ServeArgs, haproxy: Endpoint, action: Option<Action>) -> health::Settings {
    let files = &args.config;
    let configuration = Configuration { program: args.haproxy.clone(), files: files.clone() };
    health::Settings {
        haproxy,
        timeout: args.timeout,
        interval: args.check_interval,
        breaker: BreakerSettings { threshold: args.breaker_threshold, reset: args.breaker_reset },
        configuration: (!files.is_empty()).then_some(configuration),
        action,
        recovery: RecoverySettings {
            after: args.recover_after,
            backoff: args.recover_backoff,
            per_hour: args.recover_limit.into(),
        },
        recovery_time: args.recover_timeout,
        routes: None,
        listeners: Vec::new(),
    }
}

fn web_settings(args: &ServeArgs, listen: Listen, keys: Keys, haproxy: &Endpoint) -> web::Settings {
    web::Settings {
        listen,
        socket_mode: args.socket_mode,
        keys,
        max_connections: usize::try_from(args.max_connections).unwrap_or(usize::MAX),
        client_timeout: args.client_timeout,
        telex: None,
        tallies: None,
        host: host_name(),
        haproxy: haproxy.to_string(),
        listener_metrics: None,
        configuration: None,
        check_time: args.routes.change_timeout,
        routing: None,
    }
}

/// What receivers of messages know the machine by.
fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn keys(args: &ServeArgs, variable: &dyn Fn(&str) -> Option<String>, problems: &mut Vec<String>) -> Keys {
    let mut secret = |option: &str, file: Option<&Path>, name: &str| {
        let found = match (file, variable(name)) {
            (Some(file), _) => Some((format!("{option} {}", file.display()), Secret::read(file))),
            (None, Some(text)) => Some((name.to_owned(), Secret::new(&text))),
            (None, None) => None,
        };
        found.and_then(|(place, secret): (String, Result<Secret, SecretError>)| {
            secret.map_err(|error| problems.push(format!("{place}: {error}"))).ok()
        })
    };
    Keys {
        token: secret("--token-file", args.token_file.as_deref(), TOKEN),
        admin_key: secret("--admin-key-file", args.admin_key_file.as_deref(), ADMIN_KEY),
    }
}

fn action(args: &ServeArgs, variable: &dyn Fn(&str) -> Option<String>) -> Result<Option<Action>, String> {
    let way = &args.way;
    let shell = way.recover.clone().map(Action::Shell);
    let unit = way.recover_unit.clone().map(Action::Unit);
    let container = way.recover_container.clone().map(Action::Container);
    if let Some(action) = shell.or(unit).or(container) {
        return Ok(Some(action));
    }
    let Some(program) = &way.recover_program else { return Ok(None) };
    let (group, process) = program.split_once(':').unwrap_or((program, program));
    let name = ProcessName { group: group.to_owned(), process: process.to_owned() };
    let supervisord = supervisord(args, variable).map_err(|problem| {
        format!("--recover-program needs supervisord: pass --supervisor-url URL; {problem}")
    })?;
    Ok(Some(Action::Program { supervisord, name }))
}

fn supervisord(args: &ServeArgs, variable: &dyn Fn(&str) -> Option<String>) -> Result<ServerUrl, String> {
    let url = args.supervisor_url.clone();
    let named = |name: &str| match name {
        "SUPERVISOR_SERVER_URL" => url.clone().or_else(|| variable(name)),
        _ => variable(name),
    };
    listen::server_url(&named)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::args::Args;
    use super::super::commands::Command;
    use super::*;

    fn read(words: &[&str], variables: &[(&str, &str)]) -> Result<All, Vec<String>> {
        let words = [&["supervisor-haproxy", "serve", "--socket", "/run/h.sock"], words].concat();
        let Some(Command::Serve(args)) = Args::try_parse_from(words).unwrap().command else { panic!() };
        settings(&args, &|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn other_machines_need_a_token() {
        let problems = read(&["--listen", "0.0.0.0:8000"], &[]).unwrap_err();
        assert!(problems[0].starts_with("--listen 0.0.0.0:8000: other machines may connect"), "{problems:?}");
        let token = [(TOKEN, "0123456789abcdef")];
        assert!(read(&["--listen", "0.0.0.0:8000"], &token).is_ok());
        assert!(read(&[], &[]).is_ok() && read(&["--listen", "/run/s.sock"], &[]).is_ok());
    }

    #[test]
    fn a_recovery_looks_at_the_configuration_first() {
        let problems = read(&["--recover", "true"], &[]).unwrap_err();
        assert!(problems[0].contains("pass it with --config FILE"), "{problems:?}");
        let All { health, .. } = read(&["--recover", "true", "--config", "/a,/b"], &[]).unwrap();
        assert_eq!(health.configuration.unwrap().files, [Path::new("/a"), Path::new("/b")]);
        let All { health, .. } = read(&["--recover-unit", "haproxy", "--recover-unvalidated"], &[]).unwrap();
        assert_eq!((health.configuration, health.action), (None, Some(Action::Unit("haproxy".into()))));
    }

    #[test]
    fn a_program_is_restarted_by_the_supervisord_that_runs_this_one() {
        let words = ["--recover-program", "edge:haproxy", "--recover-unvalidated"];
        let problems = read(&words, &[]).unwrap_err();
        assert!(problems[0].contains("pass --supervisor-url URL"), "{problems:?}");
        let name = |settings: All| match settings.health.action {
            Some(Action::Program { supervisord, name }) => {
                (supervisord.endpoint.to_string(), name.to_string())
            }
            other => panic!("{other:?}"),
        };
        let own = [("SUPERVISOR_SERVER_URL", "unix:///run/s.sock")];
        let expected = ("unix:///run/s.sock".to_owned(), "edge:haproxy".to_owned());
        assert_eq!(name(read(&words, &own).unwrap()), expected);
        let words = [&words[..], &["--supervisor-url", "unix:///other"]].concat();
        assert_eq!(name(read(&words, &own).unwrap()).0, "unix:///other");
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let words = ["--listen", "x", "--token-file", "/no/such", "--recover-program", "haproxy"];
        let problems = read(&words, &[(ADMIN_KEY, "short")]).unwrap_err();
        let expected =
            ["--listen: expected", "--token-file /no/such: cannot be read", ADMIN_KEY, "--recover-program"];
        assert_eq!(problems.len(), expected.len(), "{problems:#?}");
        for (problem, start) in problems.iter().zip(expected) {
            assert!(problem.starts_with(start), "{problem}");
        }
    }
}
