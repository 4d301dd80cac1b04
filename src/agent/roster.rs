//! The programs that stand for servers, and which of them an operator means.

use std::fmt;
use std::str::FromStr;

use glob::Pattern;
use thiserror::Error;

use super::{Mapping, similar};
use crate::haproxy::ServerRef;
use crate::supervisor::ProcessName;

/// A program and the servers that stand for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The program.
    pub program: ProcessName,
    /// Its servers, each once; never empty.
    pub servers: Vec<ServerRef>,
    /// Whether supervisord knows it. Otherwise it stands in a rule only.
    pub listed: bool,
}

/// All members, in supervisord's order; those that it does not know come last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    members: Vec<Member>,
}

/// A TARGET argument: `program`, `group:program`, `group:*`, `backend/server` or `all`; `*`, `?` and `[…]`
/// match as in file names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    text: String,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    All,
    Server { backend: Pattern, server: Pattern },
    Program { group: Option<Pattern>, process: Pattern },
}

/// Why a text is no target.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TargetError {
    /// Nothing, or nothing on one side of the `:` or `/`.
    #[error("expected a program, `group:program`, `group:*`, `backend/server` or `all`")]
    Form,
    /// A bracket without its other half.
    #[error("{0}")]
    Pattern(String),
}

/// A target that is none of the members.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{target}` {why}")]
pub struct NoSuchTarget {
    target: String,
    why: String,
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let kind = if text == "all" {
            Kind::All
        } else if let Some((backend, server)) = text.split_once('/') {
            Kind::Server { backend: pattern(backend)?, server: pattern(server)? }
        } else if let Some((group, process)) = text.split_once(':') {
            Kind::Program { group: Some(pattern(group)?), process: pattern(process)? }
        } else {
            Kind::Program { group: None, process: pattern(text)? }
        };
        Ok(Self { text: text.to_owned(), kind })
    }
}

fn pattern(text: &str) -> Result<Pattern, TargetError> {
    if text.is_empty() {
        return Err(TargetError::Form);
    }
    Pattern::new(text).map_err(|error| TargetError::Pattern(error.msg.to_owned()))
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Target {
    /// Every member.
    #[must_use]
    pub fn all() -> Self {
        Self { text: "all".into(), kind: Kind::All }
    }

    /// The member, if this means it: with all its servers, or with those alone that are named.
    fn of(&self, member: &Member) -> Option<Member> {
        let named = |server: &ServerRef| match &self.kind {
            Kind::Server { backend, server: name } => {
                backend.matches(server.backend()) && name.matches(server.server())
            }
            Kind::All | Kind::Program { .. } => self.means(&member.program),
        };
        let servers: Vec<ServerRef> = member.servers.iter().filter(|server| named(server)).cloned().collect();
        (!servers.is_empty()).then(|| Member { servers, ..member.clone() })
    }

    fn means(&self, program: &ProcessName) -> bool {
        match &self.kind {
            Kind::All => true,
            Kind::Server { .. } => false,
            Kind::Program { group, process } => {
                group.as_ref().is_none_or(|group| group.matches(&program.group))
                    && process.matches(&program.process)
            }
        }
    }
}

impl Roster {
    /// `names` are all processes of supervisord, none where it does not answer.
    #[must_use]
    pub fn new(mapping: &Mapping, names: &[ProcessName]) -> Self {
        let listed = names.iter().map(|name| (name.clone(), mapping.servers(name).0, true));
        let idle = mapping.idle_rules(names).filter_map(|rule| {
            let name = rule.fixed_process()?;
            let servers = mapping.servers(&name).0;
            Some((name, servers, false))
        });
        let mut members: Vec<Member> = Vec::new();
        for (program, servers, listed) in listed.chain(idle) {
            if !servers.is_empty() && members.iter().all(|member| member.program != program) {
                members.push(Member { program, servers, listed });
            }
        }
        Self { members }
    }

    /// While supervisord does not answer, HAProxy's servers tell which programs there should be.
    #[must_use]
    pub fn behind_servers<'a>(mapping: &Mapping, servers: impl Iterator<Item = &'a ServerRef>) -> Self {
        let mut roster = Self::new(mapping, &[]);
        for server in servers {
            for program in mapping.behind(server) {
                add(&mut roster.members, Member { program, servers: vec![server.clone()], listed: false });
            }
        }
        roster
    }

    /// All members.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The programs that stand behind a server.
    pub fn behind<'a>(&'a self, server: &'a ServerRef) -> impl Iterator<Item = &'a Member> {
        self.members.iter().filter(move |member| member.servers.contains(server))
    }

    /// The members that the targets mean, in the order of the targets and each once. A target that names a
    /// server means that server alone among those of its program. All targets that mean nobody are told.
    pub fn select(&self, targets: &[Target]) -> Result<Vec<Member>, Vec<NoSuchTarget>> {
        let mut selected: Vec<Member> = Vec::new();
        let mut errors = Vec::new();
        for target in targets {
            let found: Vec<Member> = self.members.iter().filter_map(|member| target.of(member)).collect();
            if found.is_empty() {
                errors.push(self.explain(target));
            }
            for member in found {
                add(&mut selected, member);
            }
        }
        if errors.is_empty() { Ok(selected) } else { Err(errors) }
    }

    /// As [`Self::select`], but of each program all servers: it cannot be stopped for one of them.
    pub fn select_whole(&self, targets: &[Target]) -> Result<Vec<Member>, Vec<NoSuchTarget>> {
        let selected = self.select(targets)?;
        let whole = |member: Member| {
            self.members.iter().find(|other| other.program == member.program).cloned().unwrap_or(member)
        };
        Ok(selected.into_iter().map(whole).collect())
    }

    fn explain(&self, target: &Target) -> NoSuchTarget {
        let (what, names): (_, Vec<String>) = match &target.kind {
            Kind::Server { .. } => {
                let servers = self.members.iter().flat_map(|member| &member.servers);
                ("is no server that stands for a program", servers.map(ToString::to_string).collect())
            }
            Kind::All | Kind::Program { .. } => {
                let programs = self.members.iter().map(|member| member.program.to_string());
                ("is no program that a server stands for", programs.collect())
            }
        };
        let why = match similar(&target.text, names.iter().map(String::as_str)) {
            names if names.is_empty() => format!("{what}; there are none"),
            names => format!("{what}; there are {names}"),
        };
        NoSuchTarget { target: target.text.clone(), why }
    }
}

fn add(selected: &mut Vec<Member>, member: Member) {
    let Some(known) = selected.iter_mut().find(|known| known.program == member.program) else {
        selected.push(member);
        return;
    };
    for server in member.servers {
        if !known.servers.contains(&server) {
            known.servers.push(server);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ProcessName {
        let (group, process) = text.split_once(':').unwrap_or((text, text));
        ProcessName { group: group.into(), process: process.into() }
    }

    fn roster(rules: &[&str], names: &[&str]) -> Roster {
        let rules = rules.iter().map(|rule| rule.parse().unwrap()).collect();
        Roster::new(&Mapping::new(rules), &names.iter().map(|text| name(text)).collect::<Vec<_>>())
    }

    fn usual() -> Roster {
        roster(
            &["web_*=app/web_*", "web_*=all/web_*", "api:api/a1", "gone:api/a2"],
            &["web:web_1", "web:web_2", "blue:web_1", "api", "cron"],
        )
    }

    fn targets(texts: &[&str]) -> Vec<Target> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn shown(members: &[Member]) -> Vec<String> {
        let servers =
            |member: &Member| member.servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        members.iter().map(|member| format!("{}={}", member.program, servers(member))).collect()
    }

    fn select(texts: &[&str]) -> Vec<String> {
        shown(&usual().select(&targets(texts)).unwrap())
    }

    #[test]
    fn members_are_the_mapped_programs_and_those_of_rules_without_one() {
        let roster = usual();
        assert_eq!(
            shown(roster.members()),
            [
                "web:web_1=app/web_1,all/web_1",
                "web:web_2=app/web_2,all/web_2",
                "blue:web_1=app/web_1,all/web_1",
                "api=api/a1",
                "gone=api/a2"
            ]
        );
        assert!(!roster.members()[4].listed && roster.members()[3].listed);
        let behind = "app/web_1".parse().unwrap();
        assert_eq!(roster.behind(&behind).count(), 2);
    }

    #[test]
    fn without_supervisord_the_servers_tell_the_programs() {
        let rules = ["web_*=app/web*", "all_*=*/x*y", "api:api/a1", "any*=pool/p", "blue:b=app/b"];
        let mapping = Mapping::new(rules.iter().map(|rule| rule.parse().unwrap()).collect());
        let servers: Vec<ServerRef> =
            ["app/web1", "2/x2y", "2/x3y", "pool/p", "api/a1", "app/other", "app/b"]
                .iter()
                .map(|server| server.parse().unwrap())
                .collect();
        let roster = Roster::behind_servers(&mapping, servers.iter());
        assert_eq!(
            shown(roster.members()),
            ["api=api/a1", "blue:b=app/b", "web_1=app/web1", "all_2=2/x2y"],
            "which of any* is meant cannot be told"
        );
    }

    #[test]
    fn a_target_is_a_program_a_group_a_wildcard_or_a_server() {
        assert_eq!(select(&["api"]), ["api=api/a1"]);
        assert_eq!(select(&["web:web_1"]), ["web:web_1=app/web_1,all/web_1"]);
        assert_eq!(select(&["web:*"]).len(), 2);
        assert_eq!(select(&["web_1"]).len(), 2, "in any group");
        assert_eq!(select(&["*_2", "a*"]), ["web:web_2=app/web_2,all/web_2", "api=api/a1"]);
        assert_eq!(select(&["app/web_2"]), ["web:web_2=app/web_2"]);
        assert_eq!(select(&["*/a?"]), ["api=api/a1", "gone=api/a2"]);
        assert_eq!(select(&["all"]).len(), 5);
    }

    #[test]
    fn nobody_is_meant_twice() {
        assert_eq!(select(&["api", "all"]).len(), 5);
        assert_eq!(select(&["app/web_2", "all/web_2"]), ["web:web_2=app/web_2,all/web_2"]);
    }

    #[test]
    fn a_program_is_stopped_with_all_its_servers() {
        let members = usual().select_whole(&targets(&["app/web_2"])).unwrap();
        assert_eq!(shown(&members), ["web:web_2=app/web_2,all/web_2"]);
    }

    #[test]
    fn targets_that_mean_nobody_are_all_told_with_what_there_is() {
        let errors = usual().select(&targets(&["api", "cron", "app/web_9"])).unwrap_err();
        let said: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            said[0],
            "`cron` is no program that a server stands for; there are `api`, `blue:web_1`, `gone`, `web:web_1`, `web:web_2`"
        );
        assert!(said[1].starts_with("`app/web_9` is no server that stands for a program; there are"));
        let nothing = roster(&[], &[]).select(&[Target::all()]).unwrap_err();
        assert!(nothing[0].to_string().ends_with("there are none"));
    }

    #[test]
    fn what_means_nothing_is_refused() {
        for text in ["", "/", "a/", ":a", "a:"] {
            assert_eq!(text.parse::<Target>(), Err(TargetError::Form), "{text}");
        }
        assert!(matches!("web[".parse::<Target>(), Err(TargetError::Pattern(_))));
    }
}
