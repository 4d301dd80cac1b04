//! Whether a program may be begun: not too many at a time, and enough servers stay up.

use super::{Course, Sight, Terms, Verb};
use crate::agent::Member;
use crate::haproxy::{Look, ServerRef};

pub(super) struct Admission<'a> {
    terms: &'a Terms,
    sight: &'a Sight,
    under_way: usize,
    /// The servers of all programs under way: those that still serve soon will not.
    leaving: Vec<ServerRef>,
    patient: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Room {
    Now,
    /// When another program has made room.
    Later,
    Never(String),
}

impl<'a> Admission<'a> {
    /// `patient` to wait for a peer that cannot be seen, even where nothing is under way.
    pub(super) fn new(terms: &'a Terms, courses: &[Course], sight: &'a Sight, patient: bool) -> Self {
        let under_way = || courses.iter().filter(|course| course.is_under_way());
        let leaving = under_way().flat_map(|course| course.member().servers.clone()).collect();
        Self { terms, sight, under_way: under_way().count(), leaving, patient }
    }

    pub(super) fn room_for(&self, member: &Member) -> Room {
        if self.under_way >= self.terms.batch {
            return Room::Later;
        }
        if let Some(server) = member.servers.iter().find(|server| !self.exists(server)) {
            return Room::Never(format!("no HAProxy has a server `{server}`"));
        }
        if let Some(why) = self.blind_spot() {
            return if self.under_way > 0 || self.patient { Room::Later } else { Room::Never(why) };
        }
        match self.shortage(member) {
            None => Room::Now,
            Some(_) if self.terms.force => Room::Now,
            Some(_) if self.under_way > 0 => Room::Later,
            Some(why) => Room::Never(why),
        }
    }

    /// Whether some HAProxy has it, or may have it for all that can be seen.
    fn exists(&self, server: &ServerRef) -> bool {
        self.sight.looks.iter().any(|look| look.as_ref().is_ok_and(|look| look.servers.contains_key(server)))
            || self.sight.looks.iter().any(Result::is_err)
    }

    /// A peer that cannot be seen. An HAProxy may be missing where the operator says so, supervisord never.
    fn blind_spot(&self) -> Option<String> {
        let haproxies = self.sight.looks.iter().filter(|_| !self.terms.force);
        let silent = haproxies.filter_map(|look| look.as_ref().err());
        self.sight.processes.as_ref().err().into_iter().chain(silent).next().cloned()
    }

    /// A backend that would be left with too few servers.
    fn shortage(&self, member: &Member) -> Option<String> {
        if self.terms.verb == Verb::Start {
            return None;
        }
        let looks = self.sight.looks.iter().filter_map(|look| look.as_ref().ok());
        looks.flat_map(|look| member.servers.iter().map(move |server| (look, server))).find_map(
            |(look, server)| {
                let backend = server.backend();
                let stays = |name: &ServerRef| !member.servers.contains(name) && !self.leaving.contains(name);
                let left = serving(look, backend).filter(|name| stays(name)).count();
                let loses = serving(look, backend).any(|name| member.servers.contains(name));
                (loses && left < self.terms.min_ready).then(|| shortage(backend, left, self.terms.min_ready))
            },
        )
    }
}

fn serving<'a>(look: &'a Look, backend: &'a str) -> impl Iterator<Item = &'a ServerRef> {
    let servers = look.servers.iter().filter(move |(name, _)| name.backend() == backend);
    servers.filter(|(_, seen)| seen.is_serving()).map(|(name, _)| name)
}

fn shortage(backend: &str, left: usize, wanted: usize) -> String {
    let left = match left {
        0 => "no server".to_owned(),
        1 => "1 server".to_owned(),
        more => format!("{more} servers"),
    };
    format!(
        "backend `{backend}` would have {left} up, and --min-ready asks for {wanted}; --force goes on all the same"
    )
}
