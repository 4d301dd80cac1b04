//! PROGRAM arguments: which supervised process stands for which server of HAProxy.

use std::str::FromStr;

use thiserror::Error;

use crate::haproxy::{NameError, ServerRef};
use crate::supervisor::ProcessName;

/// One PROGRAM argument.
///
/// The classic form `program:backend/server` matches the process name in any group, as the Python program of
/// this name has it. The form `[group:]program=backend/server` can name the group, and a `*` in the program
/// matches any text, which every `*` on the right then repeats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    text: String,
    group: Option<String>,
    program: Pattern,
    target: Target,
}

/// Why an argument is no mapping.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MappingError {
    /// Neither form.
    #[error("expected `program:backend/server` or `[group:]program=backend/server`")]
    Form,
    /// Nothing before the colon or the equals sign.
    #[error("the program's name is empty")]
    EmptyProgram,
    /// A group pattern.
    #[error("`*` may stand in the program's name only; leave the group out to match any group")]
    Group,
    /// Two wildcards.
    #[error("the program's name may hold one `*` only")]
    Wildcards,
    /// A wildcard on the right that has nothing to repeat.
    #[error("`*` on the right repeats what a `*` in the program's name matched, and there is none")]
    NothingToRepeat,
    /// A name that HAProxy would not take.
    #[error(transparent)]
    Server(#[from] NameError),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    Exact(String),
    Wildcard { prefix: String, suffix: String },
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    Fixed(ServerRef),
    /// Backend and server with `*` for what was matched.
    Repeat(String, String),
}

impl FromStr for Rule {
    type Err = MappingError;

    fn from_str(text: &str) -> Result<Self, MappingError> {
        // The classic form goes first: what it could say must go on to mean the same.
        match (classic(text), text.contains('=')) {
            (Ok(rule), _) => Ok(rule),
            (Err(_), true) => extended(text),
            (Err(error), false) => Err(error),
        }
    }
}

fn classic(text: &str) -> Result<Rule, MappingError> {
    let (program, target) = text.split_once(':').ok_or(MappingError::Form)?;
    let (backend, server) = target.split_once('/').ok_or(MappingError::Form)?;
    if program.is_empty() {
        return Err(MappingError::EmptyProgram);
    }
    Ok(Rule {
        text: text.to_owned(),
        group: None,
        program: Pattern::Exact(program.to_owned()),
        target: Target::Fixed(ServerRef::new(backend, server)?),
    })
}

fn extended(text: &str) -> Result<Rule, MappingError> {
    let (left, right) = text.split_once('=').ok_or(MappingError::Form)?;
    let (group, program) = match left.split_once(':') {
        Some((group, program)) => (Some(group), program),
        None => (None, left),
    };
    if group.is_some_and(|group| group.contains('*')) {
        return Err(MappingError::Group);
    }
    let (backend, server) = right.split_once('/').ok_or(MappingError::Form)?;
    let program = Pattern::new(program)?;
    let target = Target::new(backend, server, &program)?;
    Ok(Rule { text: text.to_owned(), group: group.map(str::to_owned), program, target })
}

impl Pattern {
    fn new(text: &str) -> Result<Self, MappingError> {
        if text.is_empty() {
            return Err(MappingError::EmptyProgram);
        }
        match text.split_once('*') {
            None => Ok(Self::Exact(text.to_owned())),
            Some((_, suffix)) if suffix.contains('*') => Err(MappingError::Wildcards),
            Some((prefix, suffix)) => {
                Ok(Self::Wildcard { prefix: prefix.to_owned(), suffix: suffix.to_owned() })
            }
        }
    }

    /// What the wildcard stands for in `name`; `""` for an exact match.
    fn matched<'a>(&self, name: &'a str) -> Option<&'a str> {
        match self {
            Self::Exact(exact) => (exact == name).then_some(""),
            Self::Wildcard { prefix, suffix } => {
                name.strip_prefix(prefix.as_str())?.strip_suffix(suffix.as_str())
            }
        }
    }
}

impl Target {
    fn new(backend: &str, server: &str, program: &Pattern) -> Result<Self, MappingError> {
        let repeats = backend.contains('*') || server.contains('*');
        if !repeats {
            return Ok(Self::Fixed(ServerRef::new(backend, server)?));
        }
        if matches!(program, Pattern::Exact(_)) {
            return Err(MappingError::NothingToRepeat);
        }
        // What surrounds the wildcards can be checked now; any letter may stand for what they match.
        ServerRef::new(&backend.replace('*', "x"), &server.replace('*', "x"))?;
        Ok(Self::Repeat(backend.to_owned(), server.to_owned()))
    }

    fn server(&self, matched: &str) -> Result<ServerRef, NameError> {
        match self {
            Self::Fixed(server) => Ok(server.clone()),
            Self::Repeat(backend, server) => {
                ServerRef::new(&backend.replace('*', matched), &server.replace('*', matched))
            }
        }
    }
}

impl Rule {
    /// The server that stands for a process: `None` where the rule is not about it, an error where the
    /// wildcard matched text that HAProxy has in no name.
    #[must_use]
    pub fn server(&self, name: &ProcessName) -> Option<Result<ServerRef, NameError>> {
        if self.group.as_ref().is_some_and(|group| *group != name.group) {
            return None;
        }
        self.program.matched(&name.process).map(|matched| self.target.server(matched))
    }

    /// The program's name, or what stands before its `*`, or else behind it.
    #[must_use]
    pub fn program(&self) -> &str {
        match &self.program {
            Pattern::Exact(name) => name,
            Pattern::Wildcard { prefix, suffix } => {
                if prefix.is_empty() {
                    suffix
                } else {
                    prefix
                }
            }
        }
    }

    /// The process that the rule means, where it can be told without seeing one: of a rule for any group, the
    /// group is taken to have the program's name.
    #[must_use]
    pub fn fixed_process(&self) -> Option<ProcessName> {
        match &self.program {
            Pattern::Exact(process) => {
                let group = self.group.clone().unwrap_or_else(|| process.clone());
                Some(ProcessName { group, process: process.clone() })
            }
            Pattern::Wildcard { .. } => None,
        }
    }

    /// The process that the rule means by a server, the group taken as by [`Self::fixed_process`]: `None` where
    /// the server is none of the rule's, or any of many processes could be meant.
    #[must_use]
    pub fn process_behind(&self, server: &ServerRef) -> Option<ProcessName> {
        let (Pattern::Wildcard { prefix, suffix }, Target::Repeat(backend, name)) =
            (&self.program, &self.target)
        else {
            return self.fixed_process().filter(|process| self.server(process) == Some(Ok(server.clone())));
        };
        let (target, text) = (format!("{backend}/{name}"), server.to_string());
        let stars = target.matches('*').count();
        let length = text.len().checked_sub(target.len() - stars)?.checked_div(stars)?;
        let first = target.find('*')?;
        let matched = text.get(first..first + length)?;
        let process = format!("{prefix}{matched}{suffix}");
        let group = self.group.clone().unwrap_or_else(|| process.clone());
        (self.target.server(matched).as_ref() == Ok(server)).then_some(ProcessName { group, process })
    }

    /// The argument as it was typed.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// All PROGRAM arguments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mapping {
    rules: Vec<Rule>,
    own: Option<ProcessName>,
}

impl Mapping {
    /// A process may match several rules, and several processes one server.
    #[must_use]
    pub fn new(rules: Vec<Rule>) -> Self {
        Self { rules, own: None }
    }

    /// Passes over the listener itself, whatever the rules say: a `*` would match it.
    #[must_use]
    pub fn without_own(self, name: Option<ProcessName>) -> Self {
        Self { own: name, ..self }
    }

    /// The listener's own group, where it is known.
    #[must_use]
    pub fn own_group(&self) -> Option<&str> {
        self.own.as_ref().map(|own| own.group.as_str())
    }

    /// The servers of one process, each once; and what its name cannot be turned into.
    #[must_use]
    pub fn servers(&self, name: &ProcessName) -> (Vec<ServerRef>, Vec<NameError>) {
        let mut servers = Vec::new();
        let mut errors = Vec::new();
        if self.own.as_ref() == Some(name) {
            return (servers, errors);
        }
        for found in self.rules.iter().filter_map(|rule| rule.server(name)) {
            match found {
                Ok(server) if servers.contains(&server) => {}
                Ok(server) => servers.push(server),
                Err(error) => errors.push(error),
            }
        }
        (servers, errors)
    }

    /// The servers that can be told without seeing a process.
    pub fn fixed_servers(&self) -> impl Iterator<Item = ServerRef> {
        self.rules.iter().filter_map(|rule| match &rule.target {
            Target::Fixed(server) => Some(server.clone()),
            Target::Repeat(..) => None,
        })
    }

    /// The processes that the rules mean by a server, as far as that can be told without seeing one.
    pub fn behind<'a>(&'a self, server: &'a ServerRef) -> impl Iterator<Item = ProcessName> + 'a {
        let own = self.own.as_ref();
        self.rules
            .iter()
            .filter_map(|rule| rule.process_behind(server))
            .filter(move |process| Some(process) != own)
    }

    /// The rules that match none of these processes.
    pub fn idle_rules<'a>(&'a self, names: &'a [ProcessName]) -> impl Iterator<Item = &'a Rule> {
        self.rules.iter().filter(|rule| names.iter().all(|name| rule.server(name).is_none()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(group: &str, process: &str) -> ProcessName {
        ProcessName { group: group.into(), process: process.into() }
    }

    fn server(rule: &str, group: &str, process: &str) -> Option<String> {
        let rule: Rule = rule.parse().unwrap();
        rule.server(&name(group, process)).map(|server| server.unwrap().to_string())
    }

    fn refused(rule: &str) -> String {
        rule.parse::<Rule>().unwrap_err().to_string()
    }

    #[test]
    fn the_classic_form_matches_the_process_in_any_group() {
        let rule = "instance1:plone01/plone0101";
        assert_eq!(server(rule, "instance1", "instance1"), Some("plone01/plone0101".into()));
        assert_eq!(server(rule, "zope", "instance1"), Some("plone01/plone0101".into()));
        assert_eq!(server(rule, "instance1", "instance10"), None);
        assert_eq!(
            server("a=b:be/s", "g", "a=b"),
            Some("be/s".into()),
            "an equals sign is a letter like others"
        );
        assert_eq!(server("a:b:be/s", "g", "a"), Some("b:be/s".into()), "HAProxy's names may hold a colon");
    }

    #[test]
    fn the_extended_form_names_the_group_and_repeats_the_wildcard() {
        let rule = "zope:instance*=plone/instance*";
        assert_eq!(server(rule, "zope", "instance12"), Some("plone/instance12".into()));
        assert_eq!(server(rule, "other", "instance12"), None);
        assert_eq!(server("web_*=app-*/web*", "any", "web_03"), Some("app-03/web03".into()));
        assert_eq!(server("*_app=be/s-*", "any", "blue_app"), Some("be/s-blue".into()));
        assert_eq!(server("web=app/a1", "any", "web"), Some("app/a1".into()));
        assert_eq!(server("caf\u{e9}=app/a1", "any", "caf\u{e9}"), Some("app/a1".into()));
    }

    #[test]
    fn what_haproxy_would_not_take_is_refused_at_the_door() {
        assert!(refused("web:app/a1 state ready; set server app/a2").contains("holds ' '"));
        assert!(refused("web:app/a1/b").contains("holds '/'"));
        assert!(refused("web:app/").contains("server name is empty"));
        assert_eq!(refused("web"), "expected `program:backend/server` or `[group:]program=backend/server`");
        assert_eq!(refused("web:app"), refused("web"));
        assert_eq!(refused(":app/a1"), "the program's name is empty");
        assert_eq!(refused("=app/a1"), "the program's name is empty");
        assert!(refused("g*:web=app/a1").contains("leave the group out"));
        assert!(refused("*a*=app/a1").contains("one `*` only"));
        assert!(refused("web=app/a*").contains("there is none"));
        assert!(refused("web*=app/a;*").contains("holds ';'"));
    }

    #[test]
    fn a_match_that_makes_no_name_of_haproxy_is_an_error() {
        let mapping = Mapping::new(vec!["web*=app/a*".parse().unwrap()]);
        let (servers, errors) = mapping.servers(&name("g", "web;x"));
        assert_eq!((servers.len(), errors.len()), (0, 1));
    }

    #[test]
    fn a_process_may_have_several_servers_each_once() {
        let rules = ["web:app/a1", "web:app/a2", "web=app/a1", "*=all/*"];
        let mapping = Mapping::new(rules.map(|rule| rule.parse().unwrap()).to_vec());
        assert!(mapping.clone().without_own(Some(name("g", "web"))).servers(&name("g", "web")).0.is_empty());
        let (servers, _) = mapping.servers(&name("g", "web"));
        let servers: Vec<String> = servers.iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["app/a1", "app/a2", "all/web"]);
        let names = [name("g", "other")];
        let idle: Vec<&str> = mapping.idle_rules(&names).map(Rule::text).collect();
        assert_eq!(idle, ["web:app/a1", "web:app/a2", "web=app/a1"]);
    }

    proptest! {
        #[test]
        fn no_argument_panics_and_none_gets_past_haproxys_names(text in ".{0,40}", process in ".{0,20}") {
            if let Ok(rule) = text.parse::<Rule>()
                && let Some(Ok(server)) = rule.server(&name("g", &process))
            {
                let allowed = |c: char| c.is_ascii_alphanumeric() || "_:.-/".contains(c);
                prop_assert!(server.to_string().chars().all(allowed));
            }
        }
    }
}
