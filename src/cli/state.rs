//! `ready`, `drain` and `maint`: a server's state, set by hand at every HAProxy, and waited for.

use std::time::{Duration, Instant};

use super::commands::StateArgs;
use super::hold::servers_of;
use super::screen::{DOUBTFUL, GOOD, Screen, paint};
use super::{FAILED, Failure, INTERRUPTED, TIMEOUT, site, warn};
use crate::agent::rollout::{Action, Sight};
use crate::agent::{Member, roster};
use crate::control::{Errand, Interrupts, Lock, Site};
use crate::haproxy::{AdminState, Held, Kind, Seen, ServerRef};
use crate::supervisor::ProcessState;

/// What was set shows at the next look; a state that does not within this time was set by somebody else.
const SETTLE: Duration = Duration::from_secs(3);
/// HAProxy closes sessions a moment after it was told to.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);

pub(super) fn run(state: AdminState, args: &StateArgs) -> Result<u8, Failure> {
    if state == AdminState::Ready && args.shutdown_sessions {
        return Err(Failure::Usage(vec!["--shutdown-sessions is for `drain` and `maint`".into()]));
    }
    let site = site::find(&args.site)?.site;
    let mut errand = Errand::new(site, super::hold::who(), None)?;
    let members = members(&errand, args)?;
    if !args.force {
        refuse(state, &members, errand.site(), errand.sight())?;
    }
    let programs = members.iter().map(|member| &member.program);
    let lock = Lock::take(&errand.site().supervisord.endpoint, programs)
        .map_err(|error| Failure::Refused(vec![error.to_string()]))?;
    if let Err(why) = &errand.sight().processes {
        warn([format!("{why}; what the programs do is not known, and is not looked at")]);
    }
    let servers = servers_of(&members);
    // From here on, Ctrl-C is noticed between two looks.
    let interrupts = Interrupts::new()?;
    let problems = set(state, &mut errand, &servers)?;
    if !problems.is_empty() {
        report(state, &mut errand, &servers, &mut Screen::new())?;
        return Err(Failure::Failed(problems));
    }
    if args.wait {
        wait(state, args, &mut errand, &servers, &lock, interrupts)
    } else {
        Ok(report(state, &mut errand, &servers, &mut Screen::new())?)
    }
}

fn members(errand: &Errand, args: &StateArgs) -> Result<Vec<Member>, Failure> {
    let sight = errand.sight();
    roster(&errand.site().mapping, sight).select(&args.targets).map_err(|errors| {
        // Who does not answer may know what is meant.
        let silent = sight.processes.as_ref().err().into_iter();
        let silent = silent.chain(sight.looks.iter().filter_map(|look| look.as_ref().err()));
        Failure::Usage(errors.iter().map(ToString::to_string).chain(silent.cloned()).collect())
    })
}

/// What would do harm, or not last.
fn refuse(state: AdminState, members: &[Member], site: &Site, sight: &Sight) -> Result<(), Failure> {
    let each = members.iter().flat_map(|member| {
        held(state, member, sight)
            .into_iter()
            .chain(unanswered(state, member, sight))
            .chain(set_back(state, member, site, sight))
    });
    let mut reasons: Vec<String> = each.collect();
    if reasons.is_empty() {
        return Ok(());
    }
    reasons.push("--force does it all the same".into());
    Err(Failure::Refused(reasons))
}

fn held(state: AdminState, member: &Member, sight: &Sight) -> Vec<String> {
    if state == AdminState::Maint {
        return Vec::new();
    }
    let held = member.servers.iter().filter_map(|server| sight.holds.get(server));
    held.map(|hold| format!("{} is {hold}; `release` it first", hold.server)).collect()
}

fn unanswered(state: AdminState, member: &Member, sight: &Sight) -> Option<String> {
    let program = sight.process(&member.program)?.info.state;
    (state == AdminState::Ready && program != ProcessState::Running)
        .then(|| format!("`{}` is {program}: nobody would answer; start it", member.program))
}

fn set_back(state: AdminState, member: &Member, site: &Site, sight: &Sight) -> Option<String> {
    let wanted = site.actions.action(sight.process(&member.program)?.info.state);
    let enforces = site.listener.as_ref().is_some_and(|listener| listener.enforces);
    (enforces && wanted != state).then(|| {
        format!(
            "the listener runs with --enforce and would set `{}` back to {wanted}; use `hold`",
            member.program
        )
    })
}

/// Tells every HAProxy that answers; gives what went wrong.
fn set(state: AdminState, errand: &mut Errand, servers: &[ServerRef]) -> std::io::Result<Vec<String>> {
    let gate = errand.site().gate;
    let mut problems: Vec<String> =
        errand.sight().looks.iter().filter_map(|look| look.clone().err()).collect();
    let mut actions = Vec::new();
    for server in servers {
        let seen = seen(errand.sight(), server);
        if seen.is_empty() && problems.is_empty() {
            problems.push(format!("no HAProxy has a server `{server}`"));
        }
        actions.extend(seen.into_iter().map(|(haproxy, seen)| Action::Set {
            haproxy,
            server: server.clone(),
            state,
            gate: gate && state == AdminState::Ready && seen.waits_for_checks(),
        }));
    }
    problems.extend(errand.perform(actions)?.into_iter().map(|(_, failure)| failure.to_string()));
    Ok(problems)
}

fn seen<'a>(sight: &'a Sight, server: &ServerRef) -> Vec<(usize, &'a Seen)> {
    let looks = sight.looks.iter().enumerate();
    looks.filter_map(|(haproxy, look)| Some((haproxy, look.as_ref().ok()?.servers.get(server)?))).collect()
}

/// Whether HAProxy holds what was set, or is further out.
fn is_set(state: AdminState, held: Held) -> bool {
    match state {
        AdminState::Ready => held == Held::Ready,
        AdminState::Drain => held != Held::Ready,
        AdminState::Maint => held == Held::Maint,
    }
}

/// Whether there is nothing left to wait for. The status of a drained server is not asked: where it is DOWN, it
/// never shows DRAIN.
fn is_reached(state: AdminState, seen: &Seen) -> bool {
    is_set(state, seen.held) && if state == AdminState::Ready { seen.is_serving() } else { seen.is_idle() }
}

/// What there is to wait for, and for how long.
struct Wait<'a> {
    state: AdminState,
    servers: &'a [ServerRef],
    began: Instant,
    timeout: Duration,
    /// Whether the sessions that are left at the end may be closed.
    may_shut_down: bool,
    shut_down: Option<Instant>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    Reached,
    /// It was set, and is not so any more.
    Lost(String),
    ShutDown,
    TimeIsUp,
    GoOn,
}

impl Wait<'_> {
    fn judge(&self, now: Instant, sight: &Sight) -> Verdict {
        if self.servers.iter().all(|server| self.is_reached(sight, server)) {
            return Verdict::Reached;
        }
        let settled = now >= self.began + SETTLE;
        if let Some(why) = lost(self.state, sight, self.servers).filter(|_| settled) {
            return Verdict::Lost(why);
        }
        match self.shut_down {
            _ if now < self.began + self.timeout => Verdict::GoOn,
            None if self.may_shut_down => Verdict::ShutDown,
            Some(at) if now < at + SHUTDOWN_GRACE => Verdict::GoOn,
            _ => Verdict::TimeIsUp,
        }
    }

    fn is_reached(&self, sight: &Sight, server: &ServerRef) -> bool {
        let looks = sight.looks.iter().all(Result::is_ok);
        looks && seen(sight, server).iter().all(|(_, seen)| is_reached(self.state, seen))
    }

    fn activity(&self, sight: &Sight) -> String {
        let waiting = self.servers.iter().filter(|server| !self.is_reached(sight, server)).count();
        let what = activity(self.state, sight, self.servers);
        format!("waiting for {waiting} of {} ({what})", self.servers.len())
    }
}

fn wait(
    state: AdminState,
    args: &StateArgs,
    errand: &mut Errand,
    servers: &[ServerRef],
    lock: &Lock,
    mut interrupts: Interrupts,
) -> Result<u8, Failure> {
    let mut screen = Screen::new();
    let mut wait = Wait {
        state,
        servers,
        began: Instant::now(),
        timeout: args.timeout,
        may_shut_down: args.shutdown_sessions && state != AdminState::Ready,
        shut_down: None,
    };
    loop {
        errand.look()?;
        let now = Instant::now();
        match wait.judge(now, errand.sight()) {
            Verdict::Reached => return Ok(report(state, errand, servers, &mut screen)?),
            Verdict::Lost(why) => return Err(Failure::Failed(vec![why])),
            Verdict::TimeIsUp => return time_is_up(state, args, errand, servers, &mut screen),
            Verdict::ShutDown => {
                wait.shut_down = Some(now);
                shut_down_sessions(errand, servers)?;
            }
            Verdict::GoOn => screen.transient(&wait.activity(errand.sight())),
        }
        if interrupts.count() > 0 {
            report(state, errand, servers, &mut screen)?;
            warn(["interrupted; what was set stays set"]);
            return Ok(INTERRUPTED);
        }
        lock.greet();
        errand.pause(false)?;
    }
}

fn activity(state: AdminState, sight: &Sight, servers: &[ServerRef]) -> String {
    if state == AdminState::Ready { sight.statuses(servers) } else { sight.load(servers) }
}

/// A server that is not what it was set to, and so by somebody else.
fn lost(state: AdminState, sight: &Sight, servers: &[ServerRef]) -> Option<String> {
    let seen = servers
        .iter()
        .flat_map(|server| seen(sight, server).into_iter().map(move |(_, seen)| (server, seen)));
    seen.filter(|(_, seen)| !is_set(state, seen.held))
        .map(|(server, seen)| {
            format!(
                "{server} was set to {state} and is {}: its program has changed, or somebody else sets it",
                seen.row.status
            )
        })
        .next()
}

fn shut_down_sessions(errand: &mut Errand, servers: &[ServerRef]) -> Result<(), Failure> {
    let sight = errand.sight();
    let busy = servers.iter().flat_map(|server| {
        let seen = seen(sight, server).into_iter().filter(|(_, seen)| !seen.is_idle());
        seen.map(move |(haproxy, _)| Action::ShutdownSessions { haproxy, server: server.clone() })
    });
    let failures = errand.perform(busy.collect())?;
    let problems: Vec<String> = failures.into_iter().map(|(_, failure)| failure.to_string()).collect();
    if problems.is_empty() { Ok(()) } else { Err(Failure::Failed(problems)) }
}

fn time_is_up(
    state: AdminState,
    args: &StateArgs,
    errand: &mut Errand,
    servers: &[ServerRef],
    screen: &mut Screen,
) -> Result<u8, Failure> {
    report(state, errand, servers, screen)?;
    let what = activity(state, errand.sight(), servers);
    super::complain([format!("not reached within {:?}: {what}", args.timeout)]);
    Ok(TIMEOUT)
}

/// A line for each server at each HAProxy, and the exit code.
fn report(
    state: AdminState,
    errand: &mut Errand,
    servers: &[ServerRef],
    screen: &mut Screen,
) -> std::io::Result<u8> {
    errand.look()?;
    let (site, sight) = (errand.site(), errand.sight());
    let mut code = 0;
    for server in servers {
        for (haproxy, seen) in seen(sight, server) {
            let style = if is_reached(state, seen) { GOOD } else { DOUBTFUL };
            let at = site.haproxies.get(haproxy).filter(|_| site.haproxies.len() > 1);
            let at = at.map_or_else(String::new, |haproxy| format!("  {haproxy}"));
            screen.line(format!("{server}{at}  {}", paint(style, outcome(seen))));
            if !is_set(state, seen.held) {
                code = FAILED;
            }
        }
    }
    if state != AdminState::Ready {
        warn(bare_backends(sight, servers));
    }
    Ok(code)
}

/// The servers' backends that have nobody left for new requests.
pub(super) fn bare_backends(sight: &Sight, servers: &[ServerRef]) -> Vec<String> {
    let mut backends: Vec<&str> = servers.iter().map(ServerRef::backend).collect();
    backends.sort_unstable();
    backends.dedup();
    let is_bare = |backend: &&str| {
        sight.looks.iter().flatten().any(|look| {
            let mut of_it = look.servers.iter().filter(|(server, _)| server.backend() == *backend).peekable();
            of_it.peek().is_some() && !of_it.any(|(_, seen)| seen.is_serving())
        })
    };
    let bare = backends.into_iter().filter(is_bare);
    bare.map(|backend| format!("backend `{backend}` has no server left that takes new requests")).collect()
}

/// HAProxy's status, and what it does not tell.
fn outcome(seen: &Seen) -> String {
    let more = match (seen.held, seen.row.status.kind) {
        (Held::Ready, Kind::Down) => " until its checks pass",
        (Held::Drain, Kind::Down) => ", and drained when it comes up",
        _ => "",
    };
    let sessions = match seen.row.sessions {
        0 => String::new(),
        1 => ", 1 session".into(),
        count => format!(", {count} sessions"),
    };
    let queue =
        if seen.row.queue == 0 { String::new() } else { format!(", {} in the queue", seen.row.queue) };
    format!("{}{more}{sessions}{queue}", seen.row.status)
}
