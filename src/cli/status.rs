//! `status`: each program beside its servers.

use std::time::Duration;

use anstyle::Style;
use serde_json::{Value, json};

use super::commands::StatusArgs;
use super::screen::{BAD, DOUBTFUL, GOOD, Screen, Table, paint};
use super::{FAILED, Failure, site};
use crate::agent::rollout::Sight;
use crate::agent::{Accord, Standing, Target, roster, standings};
use crate::control::{Errand, Interrupts, Site};
use crate::haproxy::{Kind, ServerRef};
use crate::supervisor::{ProcessDetails, ProcessState};

/// Between two pages of `--watch`.
const REFRESH: Duration = Duration::from_secs(1);

pub(super) fn run(args: &StatusArgs) -> Result<u8, Failure> {
    let mut errand = Errand::new(site::find(&args.site)?.site, super::hold::who(), None)?;
    let mut screen = Screen::new();
    if !args.watch {
        return show(args, &errand, &mut screen);
    }
    let mut interrupts = Interrupts::new()?;
    while interrupts.count() == 0 {
        if !args.json {
            screen.page();
        }
        show(args, &errand, &mut screen)?;
        errand.peers().pause(REFRESH)?;
        errand.look()?;
    }
    Ok(0)
}

fn show(args: &StatusArgs, errand: &Errand, screen: &mut Screen) -> Result<u8, Failure> {
    let (site, sight) = (errand.site(), errand.sight());
    let roster = roster(&site.mapping, sight);
    let all = [Target::all()];
    let targets = if args.targets.is_empty() { &all[..] } else { &args.targets[..] };
    let members = match roster.select(targets) {
        Ok(members) => members,
        // What is meant may become known again; until then there is something to be told.
        Err(_) if sight.processes.is_err() => Vec::new(),
        Err(errors) => return Err(Failure::Usage(errors.iter().map(ToString::to_string).collect())),
    };
    let standings = standings(&roster, &members, &site.actions, sight, &errand.owners());
    let problems = errand.problems();
    if args.json {
        screen.line(as_json(site, &standings, &problems));
    } else {
        let problems = problems.iter().map(|problem| format!("{}: {problem}", paint(BAD, "!")));
        let lines = table(site, &standings).lines().into_iter().chain(remarks(&standings, sight));
        for line in lines.chain(problems) {
            screen.line(line);
        }
    }
    let all_well = problems.is_empty() && standings.iter().all(|standing| standing.accord == Accord::Agrees);
    Ok(if all_well { 0 } else { FAILED })
}

// --- for people

fn table(site: &Site, standings: &[Standing<'_>]) -> Table {
    let several = site.haproxies.len() > 1;
    let mut names = vec!["", "PROGRAM", "STATE", "FOR", "SERVER"];
    names.extend(several.then_some("HAPROXY"));
    names.extend(["ADMIN", "STATUS", "CHECK", "SESSIONS", "QUEUE", "SINCE"]);
    let mut table = Table::headed(&names);
    for standing in standings {
        table.row(row(site, several, standing));
    }
    table
}

fn row(site: &Site, several: bool, standing: &Standing<'_>) -> Vec<(String, Style)> {
    let plain = |text: String| (text, Style::new());
    let (mark, mark_style) = mark(&standing.accord);
    let state = standing.process.map(|process| process.info.state);
    let mut cells = vec![
        (mark.to_owned(), mark_style),
        plain(standing.program.to_string()),
        (state.map_or_else(|| "?".into(), |state| state.to_string()), state.map_or(BAD, state_style)),
        plain(
            standing
                .process
                .and_then(|process| process.uptime().or(process.downtime()))
                .map_or_else(String::new, span),
        ),
        plain(standing.server.to_string()),
    ];
    if several {
        cells.push(plain(site.haproxies.get(standing.haproxy).map_or_else(String::new, ToString::to_string)));
    }
    let Some(seen) = standing.seen else {
        cells.push(("?".into(), BAD));
        return cells;
    };
    let admin = if standing.hold.is_some() { "maint (held)" } else { seen.held.state().word() };
    let since = seen.row.last_change.map(Duration::from_secs);
    cells.extend([
        plain(admin.to_owned()),
        (seen.row.status.to_string(), status_style(seen.row.status.kind)),
        plain(seen.row.check_status.to_string()),
        plain(seen.row.sessions.to_string()),
        plain(seen.row.queue.to_string()),
        plain(since.map_or_else(String::new, span)),
    ]);
    cells
}

fn mark(accord: &Accord) -> (&'static str, Style) {
    match accord {
        Accord::Agrees => ("", Style::new()),
        Accord::Unknown(_) => ("?", DOUBTFUL),
        Accord::Doubtful(_) => ("!", DOUBTFUL),
        Accord::Wrong(_) => ("!", BAD),
    }
}

fn state_style(state: ProcessState) -> Style {
    match state {
        ProcessState::Running => GOOD,
        ProcessState::Fatal | ProcessState::Backoff | ProcessState::Unknown | ProcessState::Exited => BAD,
        _ => DOUBTFUL,
    }
}

fn status_style(kind: Kind) -> Style {
    match kind {
        kind if kind.is_serving() => GOOD,
        Kind::Down => BAD,
        _ => DOUBTFUL,
    }
}

fn remarks(standings: &[Standing<'_>], sight: &Sight) -> Vec<String> {
    let differences = standings.iter().filter_map(|standing| match &standing.accord {
        Accord::Wrong(why) => Some(format!("{}: {}: {why}", paint(BAD, "!"), standing.server)),
        Accord::Doubtful(why) => Some(format!("{}: {}: {why}", paint(DOUBTFUL, "!"), standing.server)),
        Accord::Agrees | Accord::Unknown(_) => None,
    });
    let shown = |server: &&ServerRef| standings.iter().any(|standing| standing.server == *server);
    let holds = sight.holds.iter().filter(|hold| shown(&&hold.server));
    let mut lines: Vec<String> = differences.collect();
    lines.extend(holds.map(|hold| format!("{} is {hold}", hold.server)));
    lines.dedup();
    lines
}

/// Two units at most: `3d04h`, `2h05m`, `12m`, `40s`.
pub(super) fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{:02}s", seconds % 60),
        (0, _, _) => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{days}d{:02}h", hours % 24),
    }
}

// --- for machines

fn as_json(site: &Site, standings: &[Standing<'_>], problems: &[String]) -> Value {
    let servers: Vec<Value> = standings.iter().map(|standing| one(site, standing)).collect();
    json!({ "servers": servers, "problems": problems })
}

fn one(site: &Site, standing: &Standing<'_>) -> Value {
    let Standing { program, process, haproxy, server, seen, hold, accord, .. } = standing;
    let (agrees, remark) = match accord {
        Accord::Agrees => (Some(true), None),
        Accord::Unknown(why) => (None, Some(why)),
        Accord::Wrong(why) | Accord::Doubtful(why) => (Some(false), Some(why)),
    };
    json!({
        "program": program.process,
        "group": program.group,
        "state": process.map(|process| process.info.state.word()),
        "pid": process.and_then(|process| process.info.pid),
        "uptime": process.and_then(ProcessDetails::uptime).map(|time| time.as_secs()),
        "haproxy": site.haproxies.get(*haproxy).map(ToString::to_string),
        "server": server.to_string(),
        "admin": seen.map(|seen| seen.held.state().word()),
        "status": seen.map(|seen| &*seen.row.status.text),
        "check": seen.map(|seen| &*seen.row.check_status),
        "last_check": seen.map(|seen| &*seen.row.last_check),
        "sessions": seen.map(|seen| seen.row.sessions),
        "queue": seen.map(|seen| seen.row.queue),
        "since": seen.and_then(|seen| seen.row.last_change),
        "hold": hold.map(|hold| json!({ "by": hold.by, "reason": hold.reason, "since": hold.since })),
        "agrees": agrees,
        "remark": remark,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_has_two_units_at_most() {
        let shown = |seconds| span(Duration::from_secs(seconds));
        assert_eq!(shown(0), "0s");
        assert_eq!(shown(59), "59s");
        assert_eq!(shown(61), "1m01s");
        assert_eq!(shown(3660), "1h01m");
        assert_eq!(shown(90_000), "1d01h");
    }
}
