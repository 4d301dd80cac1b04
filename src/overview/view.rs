//! What is published: one value, whole, that nobody changes any more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use super::Sessions;
use super::metrics::write_overview;
use crate::agent::rollout::Sight;
use crate::agent::{Accord, Hold, Standing, roster, standings};
use crate::control::Site;
use crate::haproxy::{AdminState, Kind, Seen, ServerRef, StatRow};
use crate::health::Health;
use crate::supervisor::{ProcessDetails, ProcessName, ProcessState};

/// Programs beside their servers at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overview {
    /// supervisord; none where it is not known where it is.
    pub supervisord: Option<Peer>,
    /// All servers: those of programs first, in the order of the programs.
    pub servers: Vec<ServerView>,
    /// All programs of supervisord, whether a server stands for them or not.
    pub programs: BTreeMap<ProcessName, ProcessState>,
    /// What keeps this from being the whole truth.
    pub problems: Vec<String>,
    /// Of the last checks.
    pub sessions: Arc<Sessions>,
    /// The same as metrics, made when they are asked for.
    pub(super) metrics: OnceLock<Arc<[u8]>>,
}

/// Somebody who is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Where it is.
    pub address: String,
    /// Why it does not answer.
    pub problem: Option<String>,
}

/// A server, and the program that it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerView {
    /// The server.
    pub server: ServerRef,
    /// Its program; none where none is known.
    pub program: Option<ProcessName>,
    /// What supervisord tells of the program.
    pub process: Option<ProcessDetails>,
    /// What its hold or its programs ask for.
    pub wanted: Option<AdminState>,
    /// What HAProxy was asked for.
    pub admin: Option<AdminState>,
    /// What HAProxy shows of it; none where HAProxy was not asked or has no such server.
    pub row: Option<StatRow>,
    /// By whom it is held.
    pub hold: Option<Hold>,
    /// Whether it is as it should be; none where that cannot be told.
    pub agrees: Option<bool>,
    /// Why not.
    pub remark: Option<String>,
}

impl Overview {
    /// What a site's peers show. `known` are the servers that HAProxy had when it last answered.
    pub(super) fn of_site(
        site: &Site,
        sight: &Sight,
        owners: &BTreeMap<ProcessName, String>,
        known: &BTreeSet<ServerRef>,
    ) -> Self {
        let roster = roster(&site.mapping, sight);
        let standings = standings(&roster, roster.members(), &site.actions, sight, owners);
        let mut servers: Vec<ServerView> = standings.iter().map(ServerView::of_standing).collect();
        let ours: BTreeSet<&ServerRef> = standings.iter().map(|standing| standing.server).collect();
        let others = known.iter().filter(|server| !ours.contains(server));
        servers.extend(others.map(|server| ServerView::of_seen(server, seen(sight, server))));
        let processes = sight.processes.as_ref();
        let address = site.supervisord.endpoint.to_string();
        Self {
            supervisord: Some(Peer { address, problem: processes.err().cloned() }),
            servers,
            programs: processes.map(states).unwrap_or_default(),
            ..Self::default()
        }
    }

    /// What HAProxy alone shows.
    pub(super) fn of_health(health: &Health, known: &BTreeSet<ServerRef>) -> Self {
        let rows = health.reading.iter().flat_map(|reading| &reading.rows);
        let rows: BTreeMap<&ServerRef, &StatRow> = rows.map(|row| (&row.server, row)).collect();
        let servers = known.iter().map(|server| ServerView::of_row(server, rows.get(server).copied()));
        let check = health.check.as_ref();
        let problem = check.and_then(|check| check.error.clone());
        Self { servers: servers.collect(), problems: problem.into_iter().collect(), ..Self::default() }
    }

    /// In Prometheus' text format; made once.
    #[must_use]
    pub fn exposition(&self) -> Arc<[u8]> {
        Arc::clone(self.metrics.get_or_init(|| {
            let mut out = Vec::new();
            write_overview(self, &mut out);
            out.into()
        }))
    }

    /// A server by its names.
    #[must_use]
    pub fn server(&self, backend: &str, server: &str) -> Option<&ServerRef> {
        let mut servers = self.servers.iter().map(|view| &view.server);
        servers.find(|known| known.backend() == backend && known.server() == server)
    }

    /// A program that a server stands for, as supervisorctl writes it or as `group:process`.
    #[must_use]
    pub fn program(&self, text: &str) -> Option<&ProcessName> {
        let mut programs = self.servers.iter().filter_map(|view| view.program.as_ref());
        programs.find(|name| {
            name.to_string() == text || text.split_once(':') == Some((&name.group, &name.process))
        })
    }
}

fn seen<'a>(sight: &'a Sight, server: &ServerRef) -> Option<&'a Seen> {
    sight.looks.iter().flatten().find_map(|look| look.servers.get(server))
}

fn states(processes: &BTreeMap<ProcessName, ProcessDetails>) -> BTreeMap<ProcessName, ProcessState> {
    processes.iter().map(|(name, details)| (name.clone(), details.info.state)).collect()
}

impl ServerView {
    pub(super) fn nameless(server: &ServerRef) -> Self {
        Self {
            server: server.clone(),
            program: None,
            process: None,
            wanted: None,
            admin: None,
            row: None,
            hold: None,
            agrees: None,
            remark: None,
        }
    }

    fn of_standing(standing: &Standing<'_>) -> Self {
        let (agrees, remark) = match &standing.accord {
            Accord::Agrees => (Some(true), None),
            Accord::Unknown(why) => (None, Some(why.clone())),
            Accord::Wrong(why) | Accord::Doubtful(why) => (Some(false), Some(why.clone())),
        };
        Self {
            program: Some(standing.program.clone()),
            process: standing.process.cloned(),
            wanted: standing.wanted,
            hold: standing.hold.cloned(),
            agrees,
            remark,
            ..Self::of_seen(standing.server, standing.seen)
        }
    }

    fn of_seen(server: &ServerRef, seen: Option<&Seen>) -> Self {
        let admin = seen.map(|seen| seen.held.state());
        Self { admin, row: seen.map(|seen| seen.row.clone()), ..Self::nameless(server) }
    }

    fn of_row(server: &ServerRef, row: Option<&StatRow>) -> Self {
        let admin = row.and_then(|row| admin(row.status.kind));
        Self { admin, row: row.cloned(), ..Self::nameless(server) }
    }
}

/// What a status tells of what was asked: DOWN hides a drain beneath it, and inherited maintenance hides everything.
fn admin(kind: Kind) -> Option<AdminState> {
    match kind {
        Kind::Up | Kind::NoCheck | Kind::Nolb => Some(AdminState::Ready),
        Kind::Drain => Some(AdminState::Drain),
        Kind::Maint => Some(AdminState::Maint),
        Kind::Down | Kind::MaintVia | Kind::MaintResolution | Kind::Unknown => None,
    }
}
