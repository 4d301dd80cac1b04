//! What one program's course sees of the peers, and how its servers are made to be as they should.

use std::collections::BTreeMap;
use std::time::Instant;

use super::{Action, Sight, Terms};
use crate::haproxy::{AdminState, Held, Seen, ServerRef};
use crate::supervisor::{ProcessDetails, ProcessName};

pub(super) struct Scene<'a> {
    pub(super) now: Instant,
    pub(super) sight: &'a Sight,
    pub(super) terms: &'a Terms,
    pub(super) servers: &'a [ServerRef],
}

impl Sight {
    /// Whether every peer answered.
    pub(super) fn is_whole(&self) -> bool {
        self.processes.is_ok() && self.looks.iter().all(Result::is_ok)
    }

    /// What supervisord tells of a program.
    #[must_use]
    pub fn process(&self, program: &ProcessName) -> Option<&ProcessDetails> {
        self.processes.as_ref().ok()?.get(program)
    }

    /// supervisord's word for a program, or why there is none.
    #[must_use]
    pub fn state(&self, program: &ProcessName) -> String {
        match &self.processes {
            Err(why) => why.clone(),
            Ok(processes) => match processes.get(program) {
                Some(details) if !details.spawn_error.is_empty() => {
                    format!("{}: {}", details.info.state, details.spawn_error)
                }
                Some(details) => details.info.state.to_string(),
                None => "unknown to supervisord".into(),
            },
        }
    }

    /// Sessions and requests that wait, at all HAProxy sockets together.
    #[must_use]
    pub fn load(&self, servers: &[ServerRef]) -> String {
        let seen: Vec<&Seen> = self.seen(servers).map(|(_, _, seen)| seen).collect();
        let sessions: u64 = seen.iter().map(|seen| seen.row.sessions).sum();
        let queue: u64 = seen.iter().map(|seen| seen.row.queue).sum();
        let sessions = format!("{sessions} session{}", if sessions == 1 { "" } else { "s" });
        if queue == 0 { sessions } else { format!("{sessions} and {queue} in the queue") }
    }

    /// What keeps the servers from being up, in HAProxy's words.
    #[must_use]
    pub fn statuses(&self, servers: &[ServerRef]) -> String {
        let silent = self.looks.iter().filter_map(|look| look.as_ref().err().cloned());
        let down = self.seen(servers).filter(|(_, _, seen)| !seen.is_serving());
        let down = down.map(|(_, server, seen)| match &*seen.check() {
            "" => format!("{server} is {}", seen.row.status),
            check => format!("{server} is {} ({check})", seen.row.status),
        });
        silent.chain(down).collect::<Vec<_>>().join(", ")
    }

    /// What each HAProxy holds of the servers.
    pub(super) fn held(&self, servers: &[ServerRef]) -> BTreeMap<(usize, ServerRef), Held> {
        self.seen(servers).map(|(haproxy, server, seen)| ((haproxy, server.clone()), seen.held)).collect()
    }

    /// The servers as each HAProxy shows them. One that an HAProxy does not have gets no requests from it.
    fn seen<'a>(
        &'a self,
        servers: &'a [ServerRef],
    ) -> impl Iterator<Item = (usize, &'a ServerRef, &'a Seen)> {
        self.looks.iter().enumerate().flat_map(move |(haproxy, look)| {
            let look = look.as_ref().ok();
            servers.iter().filter_map(move |server| Some((haproxy, server, look?.servers.get(server)?)))
        })
    }
}

impl Scene<'_> {
    fn seen(&self) -> impl Iterator<Item = (usize, &ServerRef, &Seen)> {
        self.sight.seen(self.servers)
    }

    /// Whether every HAProxy answers, or the operator does not care.
    fn sees_all(&self) -> bool {
        self.terms.force || self.sight.looks.iter().all(Result::is_ok)
    }

    /// Tells each HAProxy that holds a server otherwise.
    pub(super) fn ensure(&self, state: AdminState, actions: &mut Vec<Action>) {
        for (haproxy, server, seen) in self.seen() {
            let due = match state {
                AdminState::Ready => seen.held != Held::Ready && self.sight.holds.get(server).is_none(),
                // A server in maint is further out already.
                AdminState::Drain => seen.held == Held::Ready,
                AdminState::Maint => seen.held != Held::Maint,
            };
            if due {
                let gate = state == AdminState::Ready && self.terms.gate && seen.waits_for_checks();
                actions.push(Action::Set { haproxy, server: server.clone(), state, gate });
            }
        }
    }

    pub(super) fn is_drained(&self) -> bool {
        // The status is not asked: a server that is DOWN never shows DRAIN.
        self.sees_all() && self.seen().all(|(_, _, seen)| seen.held != Held::Ready && seen.is_idle())
    }

    pub(super) fn holds_everywhere(&self, held: Held) -> bool {
        self.sees_all() && self.seen().all(|(_, _, seen)| seen.held == held)
    }

    pub(super) fn is_idle(&self) -> bool {
        self.seen().all(|(_, _, seen)| seen.is_idle())
    }

    /// Whether every server that nobody holds takes requests.
    pub(super) fn is_up(&self) -> bool {
        let mut free = self.seen().filter(|(_, server, _)| self.sight.holds.get(server).is_none());
        self.sees_all() && free.all(|(_, _, seen)| seen.held == Held::Ready && seen.is_serving())
    }

    /// Who holds which of the servers.
    pub(super) fn held_by(&self) -> Vec<String> {
        let holds = self.servers.iter().filter_map(|server| Some((server, self.sight.holds.get(server)?)));
        holds.map(|(server, hold)| format!("{server} stays in maint: {hold}")).collect()
    }

    pub(super) fn why_not(&self, held: Held) -> String {
        if let Some(why) = self.sight.looks.iter().find_map(|look| look.as_ref().err()) {
            return why.clone();
        }
        let other = self.seen().find(|(_, _, seen)| seen.held != held);
        other.map_or_else(String::new, |(_, server, seen)| {
            format!("{server} was set to maint and is {}: somebody else sets it", seen.row.status)
        })
    }

    pub(super) fn shut_down_sessions(&self, actions: &mut Vec<Action>) {
        let busy = self.seen().filter(|(_, _, seen)| !seen.is_idle());
        actions.extend(
            busy.map(|(haproxy, server, _)| Action::ShutdownSessions { haproxy, server: server.clone() }),
        );
    }

    /// Tells each HAProxy what it held before; whether all of them hold it again.
    pub(super) fn put_back(
        &self,
        before: &BTreeMap<(usize, ServerRef), Held>,
        actions: &mut Vec<Action>,
    ) -> bool {
        let mut done = self.sight.looks.iter().all(Result::is_ok);
        for (haproxy, server, seen) in self.seen() {
            let Some(held) = before.get(&(haproxy, server.clone())) else { continue };
            if seen.held != *held {
                done = false;
                let state = held.state();
                // Its program was never stopped, so there is nothing to wait for.
                actions.push(Action::Set { haproxy, server: server.clone(), state, gate: false });
            }
        }
        done
    }
}
