//! Where things are: the commands ask nobody twice. supervisord's configuration names its own server, and in
//! the listener's section HAProxy's sockets and the programs; options override each of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{ArgAction, CommandFactory, FromArgMatches};

use super::Failure;
use super::args::{Args, ListenArgs};
use super::commands::SiteArgs;
use super::listen::{self, read_all};
use crate::agent::checkup::subscribes;
use crate::agent::{Actions, Mapping, Rule};
use crate::control::{ListenerRef, Site};
use crate::listen::Settings;
use crate::net::Endpoint;
use crate::store::HoldsFile;
use crate::supervisor::{Conf, EventListener, ProcessName, ServerUrl};

/// This program's name in a listener's `command`.
const PROGRAM: &str = "supervisor-haproxy";
/// For one exchange with HAProxy, where no listener's section says otherwise.
const TIMEOUT: Duration = Duration::from_secs(2);

/// What was found, and where.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) site: Site,
    pub(super) listener: Option<FoundListener>,
}

/// The listener's section and what its command means.
#[derive(Debug)]
pub(super) struct FoundListener {
    pub(super) section: EventListener,
    pub(super) settings: Settings,
}

pub(super) fn find(args: &SiteArgs) -> Result<Found, Failure> {
    find_with(args, &|name| std::env::var(name).ok())
}

/// With these variables.
pub(super) fn find_with(
    args: &SiteArgs,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Found, Failure> {
    let conf = conf(args, variable)?;
    let listener = match &conf {
        Some(conf) => listener(args, conf)?,
        None => None,
    };
    let site = site(args, conf.as_ref(), listener.as_ref(), variable)?;
    Ok(Found { site, listener })
}

/// HAProxy's sockets alone, for which nothing else has to be known.
pub(super) fn haproxies(args: &SiteArgs) -> Result<Vec<Endpoint>, Failure> {
    let mut problems = Vec::new();
    let sockets = read_all("--socket", args.socket.iter().map(String::as_str), &mut problems);
    if !problems.is_empty() {
        return Err(Failure::Usage(problems));
    }
    if !sockets.is_empty() {
        return Ok(sockets);
    }
    let Some(conf) = conf(args, &|name| std::env::var(name).ok())? else { return Ok(sockets) };
    Ok(listener(args, &conf)?.map(|listener| listener.settings.haproxies).unwrap_or_default())
}

/// supervisord's configuration; none where everything is given by hand.
fn conf(args: &SiteArgs, variable: &dyn Fn(&str) -> Option<String>) -> Result<Option<Conf>, Failure> {
    let given = !args.socket.is_empty() && !args.map.is_empty() && args.supervisor_url.is_some();
    let path = match &args.configuration {
        Some(path) => path.clone(),
        None if given => return Ok(None),
        None => look_for_conf(&Conf::places(std::env::current_exe().ok().as_deref()))?,
    };
    Conf::read(&path, variable).map(Some).map_err(|error| Failure::Usage(vec![error.to_string()]))
}

fn look_for_conf(places: &[PathBuf]) -> Result<PathBuf, Failure> {
    places.iter().find(|place| place.exists()).cloned().ok_or_else(|| {
        let places: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
        Failure::Usage(vec![format!(
            "supervisord's configuration is at none of {}; pass it with -c FILE, or pass --socket, --map and \
             --supervisor-url",
            places.join(", ")
        )])
    })
}

/// The section whose command runs this program. It may be missing where options stand for what it would tell.
fn listener(args: &SiteArgs, conf: &Conf) -> Result<Option<FoundListener>, Failure> {
    let usage = |text: String| Failure::Usage(vec![text]);
    let mut sections = conf.event_listeners_running(PROGRAM).map_err(|error| usage(error.to_string()))?;
    if let Some(name) = &args.listener {
        sections.retain(|section| section.name == *name);
    }
    let found = sections.pop();
    if let (Some(one), Some(_)) = (&found, sections.first()) {
        let names = sections.iter().chain([one]).map(|section| format!("`{}`", section.name));
        let names = names.collect::<Vec<_>>().join(", ");
        return Err(usage(format!(
            "{}: several listeners run {PROGRAM}: {names}; pass --listener NAME",
            conf.path().display()
        )));
    }
    match found {
        Some(section) => understand(section, conf).map(Some),
        None if args.listener.is_none() && !args.socket.is_empty() && !args.map.is_empty() => Ok(None),
        None => Err(usage(no_listener(args, conf))),
    }
}

fn no_listener(args: &SiteArgs, conf: &Conf) -> String {
    let files: Vec<String> = conf.files().iter().map(|file| file.display().to_string()).collect();
    let which = args.listener.as_ref().map_or_else(
        || format!("no [eventlistener:…] whose command runs {PROGRAM}"),
        |name| format!("no [eventlistener:{name}] that runs {PROGRAM}"),
    );
    format!("there is {which} in {}; pass another file with -c, or --socket and --map", files.join(", "))
}

/// Reads a listener's command as the listener itself does.
fn understand(section: EventListener, conf: &Conf) -> Result<FoundListener, Failure> {
    let place = format!("{}:{}: [eventlistener:{}]", section.file.display(), section.line, section.name);
    let wrong = |problem: String| format!("{place}: {problem}");
    let args = parse(&section.command, &section.environment)
        .map_err(|error| Failure::Usage(vec![wrong(error.to_string().trim_end().to_owned())]))?;
    let socket = conf.unix_socket().map_err(|error| Failure::Usage(vec![error.to_string()]))?;
    // What supervisord tells its children.
    let variable = |name: &str| match name {
        "SUPERVISOR_PROCESS_NAME" => Some(section.process.clone()),
        "SUPERVISOR_GROUP_NAME" => Some(section.name.clone()),
        "SUPERVISOR_SERVER_URL" => socket.as_ref().map(|path| format!("unix://{}", path.display())),
        _ => section.environment.get(name).cloned(),
    };
    let settings = listen::settings(&args, variable)
        .map_err(|problems| Failure::Usage(problems.into_iter().map(wrong).collect()))?;
    Ok(FoundListener { section, settings })
}

/// The words of a listener's command, and the options that its environment stands for.
fn parse(command: &[String], environment: &BTreeMap<String, String>) -> Result<ListenArgs, clap::Error> {
    let is_program = |word: &String| Path::new(word).file_name().is_some_and(|name| name == PROGRAM);
    let words: Vec<String> = command.iter().skip_while(|word| !is_program(word)).cloned().collect();
    // The variables of this shell are not the listener's.
    let declared = Args::command().mut_args(|arg| arg.env(None::<&'static str>));
    let further = from_environment(&words, environment);
    let matches = declared.try_get_matches_from(words.into_iter().chain(further))?;
    let listen = Args::from_arg_matches(&matches)?.listen;
    listen.ok_or_else(|| clap::Error::new(clap::error::ErrorKind::MissingRequiredArgument))
}

fn from_environment(words: &[String], environment: &BTreeMap<String, String>) -> Vec<String> {
    let command = Args::command();
    let given = |long: &str| {
        let option = format!("--{long}");
        words.iter().any(|word| *word == option || word.starts_with(&format!("{option}=")))
    };
    let set = command.get_arguments().filter_map(|arg| {
        let value = environment.get(arg.get_env()?.to_str()?)?;
        let long = arg.get_long().filter(|long| !given(long))?;
        match arg.get_action() {
            ArgAction::SetTrue => super::args::switch(value).is_ok_and(|on| on).then(|| format!("--{long}")),
            ArgAction::Count => None,
            _ => Some(format!("--{long}={value}")),
        }
    });
    set.collect()
}

fn site(
    args: &SiteArgs,
    conf: Option<&Conf>,
    listener: Option<&FoundListener>,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Site, Failure> {
    let mut problems = Vec::new();
    let sockets = read_all::<Endpoint>("--socket", args.socket.iter().map(String::as_str), &mut problems);
    let rules = read_all::<Rule>("--map", args.map.iter().map(String::as_str), &mut problems);
    let supervisord = server_url(args, conf, variable).map_err(|problem| problems.push(problem)).ok();
    let (Some(supervisord), true) = (supervisord, problems.is_empty()) else {
        return Err(Failure::Usage(problems));
    };
    let settings = listener.map(|listener| &listener.settings);
    let given = |settings: Option<&Settings>, own: Vec<Endpoint>| {
        settings.filter(|_| own.is_empty()).map_or(own, |settings| settings.haproxies.clone())
    };
    Ok(Site {
        haproxies: given(settings, sockets),
        mapping: match settings {
            Some(settings) if rules.is_empty() => settings.mapping.clone(),
            _ => Mapping::new(rules),
        },
        actions: settings.map_or_else(|| Actions::new(Vec::new()), |settings| settings.actions.clone()),
        gate: settings.is_none_or(|settings| settings.reconciler.gate),
        timeout: settings.map_or(TIMEOUT, |settings| settings.timeout),
        holds: match settings {
            Some(settings) => settings.holds.clone(),
            None => HoldsFile::beside(&supervisord.endpoint),
        },
        listener: listener.map(listener_ref),
        supervisord,
    })
}

fn server_url(
    args: &SiteArgs,
    conf: Option<&Conf>,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<ServerUrl, String> {
    if let Some(url) = &args.supervisor_url {
        let mut url: ServerUrl = url.parse().map_err(|error| format!("--supervisor-url: {error}"))?;
        url.credentials = url.credentials.or_else(|| listen::credentials(variable));
        return Ok(url);
    }
    let Some(conf) = conf else { return Err("--supervisor-url is missing".into()) };
    conf.client().map_err(|error| error.to_string())?.ok_or_else(|| {
        format!(
            "{}: supervisord has no server of its own; give it a [unix_http_server] section, or pass \
             --supervisor-url",
            conf.path().display()
        )
    })
}

fn listener_ref(listener: &FoundListener) -> ListenerRef {
    let section = &listener.section;
    ListenerRef {
        name: ProcessName { group: section.name.clone(), process: section.process.clone() },
        hears_orders: subscribes(&listener.section, "REMOTE_COMMUNICATION"),
        enforces: listener.settings.reconciler.enforce,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_place_that_has_a_configuration_counts() {
        let directory = tempfile::tempdir().unwrap();
        let places: Vec<PathBuf> =
            ["a.conf", "b.conf", "c.conf"].map(|name| directory.path().join(name)).into();
        let [a, b, c] = [&places[0], &places[1], &places[2]];
        let failure = look_for_conf(&places).unwrap_err();
        let said = format!(
            "supervisord's configuration is at none of {}, {}, {}; pass it with -c FILE, or pass --socket, --map and \
             --supervisor-url",
            a.display(),
            b.display(),
            c.display()
        );
        assert_eq!(failure.parts(), (2, &[said][..]));
        std::fs::write(c, "").unwrap();
        std::fs::write(b, "").unwrap();
        assert_eq!(look_for_conf(&places).unwrap(), *b);
    }
}
