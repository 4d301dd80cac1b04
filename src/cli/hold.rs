//! `hold` and `release`: an operator's word that outweighs what programs do. The listener keeps it, so it is
//! told through supervisord, and what it made of it is looked at.

use std::time::{Duration, Instant};

use super::commands::{HoldArgs, ReleaseArgs, SiteArgs};
use super::screen::{GOOD, Screen, paint};
use super::state::bare_backends;
use super::{Failure, site, warn};
use crate::agent::{Member, Order, Target, roster};
use crate::control::{Errand, epoch_seconds};
use crate::haproxy::{Held, ServerRef};

/// The listener is told within milliseconds, and tells HAProxy at once.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn hold(args: &HoldArgs) -> Result<u8, Failure> {
    let (mut errand, servers) = prepare(&args.site, &args.targets)?;
    let (by, reason, since) = (who(), args.reason.clone(), epoch_seconds());
    let order = Order::Hold { servers: servers.clone(), by, reason, since };
    order.check().map_err(|error| Failure::Usage(vec![error.to_string()]))?;
    send(&mut errand, &order)?;
    let missing = await_all(&mut errand, &servers, |errand, server| {
        is_held(errand, server) && shows(errand, server, |held| held == Held::Maint)
    })?;
    if !missing.is_empty() {
        return Err(not_followed(&errand, &missing, "held"));
    }
    report(&servers, "held in maint");
    warn(unseen(&errand, &servers));
    warn(bare_backends(errand.sight(), &servers));
    if errand.site().holds.is_none() {
        warn(["the hold ends with the listener: it has no file to keep it in; give it --holds-file PATH"]);
    }
    Ok(0)
}

pub(super) fn release(args: &ReleaseArgs) -> Result<u8, Failure> {
    let (mut errand, mut servers) = prepare(&args.site, &args.targets)?;
    if let Some(file) = &errand.site().holds {
        file.load().map_err(|error| Failure::Failed(vec![error.to_string()]))?;
        servers.retain(|server| errand.sight().holds.get(server).is_some());
        if servers.is_empty() {
            return Err(Failure::Refused(vec!["none of these servers is held".into()]));
        }
    }
    send(&mut errand, &Order::Release { servers: servers.clone(), by: who() })?;
    let missing = await_all(&mut errand, &servers, is_released)?;
    if !missing.is_empty() {
        return Err(not_followed(&errand, &missing, "released"));
    }
    report(&servers, "released");
    Ok(0)
}

fn prepare(site: &SiteArgs, targets: &[Target]) -> Result<(Errand, Vec<ServerRef>), Failure> {
    let errand = Errand::new(site::find(site)?.site, who(), None)?;
    if let Some(why) = why_not_heard(&errand) {
        return Err(Failure::Refused(vec![why]));
    }
    let members = roster(&errand.site().mapping, errand.sight()).select(targets)?;
    Ok((errand, servers_of(&members)))
}

/// The servers of several members, each once.
pub(super) fn servers_of(members: &[Member]) -> Vec<ServerRef> {
    let mut servers: Vec<ServerRef> = Vec::new();
    for server in members.iter().flat_map(|member| &member.servers) {
        if !servers.contains(server) {
            servers.push(server.clone());
        }
    }
    servers
}

fn why_not_heard(errand: &Errand) -> Option<String> {
    let Some(listener) = &errand.site().listener else {
        return Some(
            "no listener is known, and without one nobody keeps a hold; pass supervisord's configuration with -c"
                .into(),
        );
    };
    if let Err(why) = &errand.sight().processes {
        return Some(why.clone());
    }
    if !listener.hears_orders {
        return Some(format!(
            "the listener `{}` does not hear of holds: add REMOTE_COMMUNICATION to its `events=`, then \
             `supervisorctl update`",
            listener.name
        ));
    }
    let state = errand.sight().state(&listener.name);
    (!errand.is_heard()).then(|| {
        format!("the listener `{}` is {state}, and nobody else keeps a hold; start it", listener.name)
    })
}

fn send(errand: &mut Errand, order: &Order) -> Result<(), Failure> {
    errand.order(order)?.map_err(|failure| Failure::Failed(vec![failure.to_string()]))
}

/// Looks until it is so for every server, or for too long; gives those for which it is not.
fn await_all(
    errand: &mut Errand,
    servers: &[ServerRef],
    is_so: impl Fn(&Errand, &ServerRef) -> bool,
) -> Result<Vec<ServerRef>, Failure> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        errand.look()?;
        let missing: Vec<ServerRef> =
            servers.iter().filter(|server| !is_so(errand, server)).cloned().collect();
        if missing.is_empty() || Instant::now() >= deadline {
            return Ok(missing);
        }
        errand.pause(true)?;
    }
}

/// Whether the listener keeps a hold of it; taken for true where it keeps none anywhere.
fn is_held(errand: &Errand, server: &ServerRef) -> bool {
    errand.site().holds.is_none() || errand.sight().holds.get(server).is_some()
}

/// Whether the listener keeps no hold of it any more; taken for true where it keeps none anywhere.
fn is_released(errand: &Errand, server: &ServerRef) -> bool {
    errand.site().holds.is_none() || errand.sight().holds.get(server).is_none()
}

fn shows(errand: &Errand, server: &ServerRef, is_so: impl Fn(Held) -> bool) -> bool {
    errand
        .sight()
        .looks
        .iter()
        .flatten()
        .all(|look| look.servers.get(server).is_none_or(|seen| is_so(seen.held)))
}

/// Where the hold does not show yet, or never will.
fn unseen(errand: &Errand, servers: &[ServerRef]) -> Vec<String> {
    let looks = &errand.sight().looks;
    let silent = looks.iter().filter_map(|look| look.as_ref().err());
    let mut remarks: Vec<String> =
        silent.map(|why| format!("{why}; the listener sets it when this HAProxy answers")).collect();
    let lacking =
        |server: &&ServerRef| looks.iter().flatten().all(|look| !look.servers.contains_key(*server));
    if remarks.is_empty() {
        remarks.extend(
            servers.iter().filter(lacking).map(|server| format!("no HAProxy has a server `{server}`")),
        );
    }
    remarks
}

fn not_followed(errand: &Errand, servers: &[ServerRef], what: &str) -> Failure {
    let file = errand.site().holds.as_ref();
    let file = file.map_or_else(String::new, |file| format!("; holds are kept in {}", file.path().display()));
    let servers = servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    Failure::Failed(vec![format!(
        "the listener was told, but {servers} is not {what} after {PATIENCE:?}; its log tells why{file}"
    )])
}

fn report(servers: &[ServerRef], what: &str) {
    let mut screen = Screen::new();
    for server in servers {
        screen.line(format!("{server}  {}", paint(GOOD, what)));
    }
}

/// In whose name a command is at work: it may have to be looked for.
pub(super) fn who_now() -> String {
    format!("{} (pid {})", who(), std::process::id())
}

/// In whose name this is done: the login behind a `sudo` counts.
pub(super) fn who() -> String {
    let user = nix::unistd::User::from_uid(nix::unistd::getuid()).ok().flatten().map(|user| user.name);
    let login = std::env::var("SUDO_USER").ok().filter(|_| nix::unistd::getuid().is_root());
    let name = login.or(user).unwrap_or_else(|| nix::unistd::getuid().to_string());
    let plain = |c: &char| !c.is_control();
    name.chars().filter(plain).take(100).collect()
}
