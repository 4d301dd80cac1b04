//! How a program and its server stand to each other: what is wanted, what is seen, and whether the two agree.

use std::collections::BTreeMap;

use super::note::near_names;
use super::rollout::Sight;
use super::{Actions, Hold, Mapping, Member, Roster};
use crate::haproxy::{AdminState, Held, Kind, Seen, ServerRef};
use crate::supervisor::{ProcessDetails, ProcessName};

/// One server at one HAProxy, and its program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing<'a> {
    /// The program.
    pub program: &'a ProcessName,
    /// What supervisord tells of it.
    pub process: Option<&'a ProcessDetails>,
    /// Number of the HAProxy in [`Sight::looks`].
    pub haproxy: usize,
    /// The server.
    pub server: &'a ServerRef,
    /// What HAProxy shows of it.
    pub seen: Option<&'a Seen>,
    /// By whom it is held.
    pub hold: Option<&'a Hold>,
    /// What is asked of it, by its hold or its programs; none where that is not known.
    pub wanted: Option<AdminState>,
    /// Whether it is as it should be.
    pub accord: Accord,
}

/// Whether what is seen is what is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accord {
    /// It is.
    Agrees,
    /// It cannot be told, and why.
    Unknown(String),
    /// Requests are lost, or go where no program answers; in words.
    Wrong(String),
    /// Less is used than could be; in words.
    Doubtful(String),
}

/// The programs that stand for servers, as far as what was seen tells.
#[must_use]
pub fn roster(mapping: &Mapping, sight: &Sight) -> Roster {
    if let Ok(processes) = &sight.processes {
        return Roster::new(mapping, &processes.keys().cloned().collect::<Vec<_>>());
    }
    let servers = sight.looks.iter().flatten().flat_map(|look| look.servers.keys());
    Roster::behind_servers(mapping, servers)
}

/// All of the members' servers, at each HAProxy. `owners` are the commands that are at work on programs.
#[must_use]
pub fn standings<'a>(
    roster: &'a Roster,
    members: &'a [Member],
    actions: &Actions,
    sight: &'a Sight,
    owners: &BTreeMap<ProcessName, String>,
) -> Vec<Standing<'a>> {
    let each = members.iter().flat_map(|member| member.servers.iter().map(move |server| (member, server)));
    each.flat_map(|(member, server)| (0..sight.looks.len()).map(move |haproxy| (member, server, haproxy)))
        .map(|(member, server, haproxy)| {
            let process = sight.process(&member.program);
            let seen = sight.looks.get(haproxy).and_then(|look| look.as_ref().ok()?.servers.get(server));
            let hold = sight.holds.get(server);
            let view = View { roster, actions, sight, owners, server, haproxy, seen, hold };
            let accord = view.accord(member);
            let wanted = hold.map(|_| AdminState::Maint).or_else(|| view.wanted());
            Standing { program: &member.program, process, haproxy, server, seen, hold, wanted, accord }
        })
        .collect()
}

struct View<'a> {
    roster: &'a Roster,
    actions: &'a Actions,
    sight: &'a Sight,
    owners: &'a BTreeMap<ProcessName, String>,
    server: &'a ServerRef,
    haproxy: usize,
    seen: Option<&'a Seen>,
    hold: Option<&'a Hold>,
}

impl View<'_> {
    fn accord(&self, member: &Member) -> Accord {
        let silent = self.sight.processes.as_ref().err();
        let silent = silent.or_else(|| self.sight.looks.get(self.haproxy)?.as_ref().err());
        if let Some(why) = silent {
            return Accord::Unknown(why.clone());
        }
        let Some(seen) = self.seen else {
            return Accord::Wrong(format!("HAProxy has no server `{}`{}", self.server, self.near()));
        };
        if !member.listed {
            return Accord::Wrong(format!("supervisord has no program `{}`", member.program));
        }
        match (self.hold, self.wanted()) {
            (Some(hold), _) => held(seen, hold),
            (None, Some(wanted)) => self.explain(member, compare(wanted, seen, self.server)),
            (None, None) => Accord::Agrees,
        }
    }

    fn near(&self) -> String {
        let look = self.sight.looks.get(self.haproxy).and_then(|look| look.as_ref().ok());
        let known: Vec<ServerRef> = look.into_iter().flat_map(|look| look.servers.keys()).cloned().collect();
        near_names(self.server, &known)
    }

    /// What differs because a command is at work needs no advice.
    fn explain(&self, member: &Member, accord: Accord) -> Accord {
        match (accord, self.owners.get(&member.program)) {
            (Accord::Doubtful(_), Some(owner)) => Accord::Doubtful(format!("in the hands of {owner}")),
            (accord, _) => accord,
        }
    }

    /// What the least available program behind the server asks for.
    fn wanted(&self) -> Option<AdminState> {
        let programs = self.roster.behind(self.server);
        let states = programs.filter_map(|member| self.sight.process(&member.program));
        states.map(|details| self.actions.action(details.info.state)).max()
    }
}

fn held(seen: &Seen, hold: &Hold) -> Accord {
    match seen.held {
        Held::Maint => Accord::Agrees,
        _ => Accord::Wrong(format!("{hold}, but it is {}", seen.row.status)),
    }
}

fn compare(wanted: AdminState, seen: &Seen, server: &ServerRef) -> Accord {
    use AdminState::{Drain, Maint, Ready};
    match (wanted, seen.held) {
        (Ready, Held::Ready) => up(seen),
        (Ready, Held::Drain | Held::Maint) => Accord::Doubtful(format!(
            "its program runs, but it is {}, set by hand or left behind by a command that was killed; \
             `supervisor-haproxy ready {server}` puts it right",
            word(seen.held)
        )),
        (Drain, Held::Drain | Held::Maint) | (Maint, Held::Maint) => Accord::Agrees,
        (Drain | Maint, _) if seen.is_serving() => Accord::Wrong(format!(
            "its program does not run, but it takes traffic; `supervisor-haproxy maint {server}` puts it right"
        )),
        (Drain | Maint, held) => Accord::Doubtful(format!(
            "its program does not run, but it is {} and not {wanted}; `supervisor-haproxy {wanted} {server}` \
                 puts it right",
            word(held)
        )),
    }
}

fn up(seen: &Seen) -> Accord {
    let check = seen.check();
    match seen.row.status.kind {
        Kind::Up | Kind::NoCheck | Kind::Unknown => Accord::Agrees,
        // An agent's word stands beside the checks.
        Kind::Down if seen.row.check_status.ends_with("OK") && !seen.row.status.text.contains("agent") => {
            Accord::Doubtful(format!(
                "its program runs, but HAProxy has it {} until enough of its checks have passed (the last one did: {})",
                seen.row.status, check
            ))
        }
        _ if check.is_empty() => {
            Accord::Doubtful(format!("its program runs, but HAProxy has it {}", seen.row.status))
        }
        _ => {
            Accord::Doubtful(format!("its program runs, but HAProxy has it {} ({})", seen.row.status, check))
        }
    }
}

fn word(held: Held) -> &'static str {
    match held {
        Held::Ready => "ready",
        Held::Drain => "drained",
        Held::Maint => "in maint",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::{Holds, Mapping, Target};
    use crate::haproxy::{Info, Look, StatRow};
    use crate::supervisor::{ProcessInfo, ProcessState};

    fn name(process: &str) -> ProcessName {
        ProcessName { group: process.into(), process: process.into() }
    }

    struct Bench {
        sight: Sight,
        owners: BTreeMap<ProcessName, String>,
    }

    impl Bench {
        /// `web` and `cache` stand for `app/web`.
        fn new(state: ProcessState, status: &str, held: Held) -> Self {
            let details = |process: &str, state| {
                let info = ProcessInfo { name: name(process), state, pid: None };
                let spawn_error = String::new();
                let (started, ended) = (None, None);
                (name(process), ProcessDetails { info, started, ended, now: 0, spawn_error, exit_status: 0 })
            };
            let server: ServerRef = "app/web".parse().unwrap();
            let row = StatRow { check_status: "L4CON".into(), ..StatRow::example(server.clone(), status) };
            let seen = Seen { held, checked: true, address: None, row };
            let look = Look { info: Info::default(), servers: BTreeMap::from([(server, seen)]) };
            let processes = [details("web", state), details("cache", ProcessState::Running)];
            let sight = Sight {
                processes: Ok(processes.into()),
                looks: vec![Ok(look)],
                holds: Holds::default(),
                probes: BTreeMap::new(),
            };
            Self { sight, owners: BTreeMap::new() }
        }

        fn accord_of(&self, rules: &[&str]) -> Accord {
            let mapping = Mapping::new(rules.iter().map(|rule| rule.parse().unwrap()).collect());
            let roster = Roster::new(&mapping, &[name("web"), name("cache")]);
            let members = roster.select(&[Target::all()]).unwrap();
            let actions = Actions::new(Vec::new());
            standings(&roster, &members, &actions, &self.sight, &self.owners).remove(0).accord.clone()
        }

        fn hold(&mut self) {
            let server = "app/web".parse().unwrap();
            self.sight.holds.insert(Hold { server, by: "root".into(), reason: String::new(), since: 0 });
        }

        fn accord(&self) -> Accord {
            self.accord_of(&["web:app/web", "cache:app/web"])
        }
    }

    fn accord(state: ProcessState, status: &str, held: Held) -> Accord {
        Bench::new(state, status, held).accord()
    }

    #[test]
    fn what_is_as_it_should_be_agrees() {
        use ProcessState::{Running, Starting, Stopped, Stopping};
        for (state, status, held) in [
            (Running, "UP", Held::Ready),
            (Running, "no check", Held::Ready),
            (Stopping, "DRAIN", Held::Drain),
            (Stopping, "MAINT", Held::Maint),
            (Starting, "MAINT", Held::Maint),
            (Stopped, "MAINT", Held::Maint),
        ] {
            assert_eq!(accord(state, status, held), Accord::Agrees, "{state} {status}");
        }
    }

    #[test]
    fn a_server_without_its_program_is_wrong_where_it_takes_traffic() {
        let Accord::Wrong(why) = accord(ProcessState::Fatal, "UP", Held::Ready) else { panic!() };
        assert!(why.contains("takes traffic"), "{why}");
        assert!(matches!(accord(ProcessState::Fatal, "DOWN", Held::Ready), Accord::Doubtful(_)));
        assert!(matches!(accord(ProcessState::Stopped, "DRAIN", Held::Drain), Accord::Doubtful(_)));
    }

    #[test]
    fn a_program_without_its_server_is_doubtful_and_says_what_to_do() {
        let Accord::Doubtful(why) = accord(ProcessState::Running, "DRAIN", Held::Drain) else { panic!() };
        assert!(
            why.starts_with("its program runs, but it is drained, set by hand or left behind by a command")
        );
        assert!(why.contains("`supervisor-haproxy ready app/web`"));
        assert_eq!(
            accord(ProcessState::Running, "DOWN", Held::Ready),
            Accord::Doubtful("its program runs, but HAProxy has it DOWN (L4CON)".into())
        );
    }

    #[test]
    fn a_server_in_the_hands_of_a_command_says_so() {
        let mut bench = Bench::new(ProcessState::Running, "DRAIN", Held::Drain);
        bench.owners.insert(name("web"), "pid 7 (`restart`)".into());
        assert_eq!(bench.accord(), Accord::Doubtful("in the hands of pid 7 (`restart`)".into()));
    }

    #[test]
    fn a_hold_is_right_in_maint_and_wrong_elsewhere() {
        let mut bench = Bench::new(ProcessState::Running, "MAINT", Held::Maint);
        bench.hold();
        assert_eq!(bench.accord(), Accord::Agrees);
        let mut bench = Bench::new(ProcessState::Running, "UP", Held::Ready);
        bench.hold();
        assert_eq!(
            bench.accord(),
            Accord::Wrong("held by root since 1970-01-01T00:00:00Z, but it is UP".into())
        );
    }

    #[test]
    fn what_is_missing_is_wrong_and_what_is_silent_unknown() {
        let mut bench = Bench::new(ProcessState::Running, "UP", Held::Ready);
        assert!(
            matches!(bench.accord_of(&["web:app/other"]), Accord::Wrong(why) if why.contains("no server"))
        );
        assert!(
            matches!(bench.accord_of(&["gone:app/web"]), Accord::Wrong(why) if why.contains("no program"))
        );
        bench.sight.looks[0] = Err("haproxy x: gone".into());
        assert_eq!(bench.accord(), Accord::Unknown("haproxy x: gone".into()));
        bench.sight.processes = Err("supervisord x: gone".into());
        assert_eq!(bench.accord(), Accord::Unknown("supervisord x: gone".into()));
    }
}
