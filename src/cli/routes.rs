//! `routes`: which host is served by which server.

use anstyle::Style;
use serde::Serialize;

use super::commands::{AddArgs, InitArgs, ListArgs, RemoveArgs, RoutesCommand};
use super::config::{at, open, places, report};
use super::screen::{Screen, Table};
use super::{Failure, warn};
use crate::config_change::{Check, Host, Routes, Target};

pub(super) fn run(command: &RoutesCommand) -> Result<u8, Failure> {
    match command {
        RoutesCommand::Init(args) => init(args),
        RoutesCommand::Add(args) => add(args),
        RoutesCommand::Remove(args) => remove(args),
        RoutesCommand::List(args) => list(args),
    }
}

fn init(args: &InitArgs) -> Result<u8, Failure> {
    let made = places(&args.files)?.found()?;
    let mut screen = Screen::new();
    for path in &made {
        screen.line(format!("`{}` is made", path.display()));
    }
    if made.is_empty() {
        screen.line("both files are there already");
    }
    Ok(0)
}

fn host(text: &str) -> Result<Host, String> {
    text.parse().map_err(|error| format!("HOST `{}`: {error}", text.escape_debug()))
}

/// All that is wrong is told at once.
fn route(args: &AddArgs) -> Result<(Host, Target), Failure> {
    let host = host(&args.host);
    let check = args.check.as_deref().map(str::parse::<Check>).transpose();
    let check = check.map_err(|error| {
        format!("--check `{}`: {error}", args.check.as_deref().unwrap_or_default().escape_debug())
    });
    let target = Target::new(&args.url, check.clone().ok().flatten());
    let target = target.map_err(|error| format!("URL `{}`: {error}", args.url.escape_debug()));
    match (host, target, check) {
        (Ok(host), Ok(target), Ok(_)) => Ok((host, target)),
        (host, target, check) => {
            let problems = [host.err(), target.err(), check.err()];
            Err(Failure::Usage(problems.into_iter().flatten().collect()))
        }
    }
}

fn add(args: &AddArgs) -> Result<u8, Failure> {
    let (host, target) = route(args)?;
    let places = places(&args.change.files)?;
    let (text, note) = (format!("`{host}` goes to {target}"), format!("route {host} to {target}"));
    let done = open(&args.change)?.route(&places, &note, args.if_match.as_deref(), |routes| {
        Ok(routes.add(host, target, args.replace)?)
    })?;
    report(&done, &text);
    Ok(0)
}

fn remove(args: &RemoveArgs) -> Result<u8, Failure> {
    let host = host(&args.host).map_err(|problem| Failure::Usage(vec![problem]))?;
    let places = places(&args.change.files)?;
    let done = open(&args.change)?.route(
        &places,
        &format!("remove {host}"),
        args.if_match.as_deref(),
        |routes| Ok(routes.remove(&host)?),
    )?;
    report(&done, &format!("`{host}` is not routed"));
    Ok(0)
}

fn list(args: &ListArgs) -> Result<u8, Failure> {
    let places = places(&args.files)?;
    let routes = places.look()?;
    let mut screen = Screen::new();
    if args.json {
        screen.line(serde_json::to_string(&as_json(&routes)).map_err(std::io::Error::from)?);
    } else {
        table(&routes).lines().into_iter().for_each(|line| screen.line(line));
    }
    // The file is what counts; HAProxy may not run, or not use the map yet.
    match at(&args.socket)?.map(&places.map) {
        Ok(shown) if !routes.is_in_force(&shown) => warn([
            "the map of the running HAProxy is another one than its file; the next `routes add` or `routes remove` \
             puts it right",
        ]),
        Ok(_) => {}
        Err(why) => warn([why]),
    }
    Ok(0)
}

fn table(routes: &Routes) -> Table {
    let mut table = Table::headed(&["HOST", "URL", "CHECK"]);
    for (host, target) in routes.iter() {
        let check = target.check().map_or_else(String::new, ToString::to_string);
        table.row([host.to_string(), target.to_string(), check].map(|text| (text, Style::new())).into());
    }
    table
}

fn as_json(routes: &Routes) -> impl Serialize {
    #[derive(Serialize)]
    struct All {
        version: String,
        routes: Vec<Each>,
    }
    #[derive(Serialize)]
    struct Each {
        host: String,
        url: String,
        check: Option<String>,
    }
    let each = |(host, target): (&Host, &Target)| Each {
        host: host.to_string(),
        url: target.to_string(),
        check: target.check().map(ToString::to_string),
    };
    All { version: routes.tag(), routes: routes.iter().map(each).collect() }
}
