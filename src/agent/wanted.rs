//! What is wanted of each server. Events, deaths and answers of XML-RPC change it; it is level-triggered, so
//! whatever HAProxy could not take yet is still known here.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::{Actions, Mapping};
use crate::haproxy::{AdminState, NameError, ServerRef};
use crate::supervisor::{Pid, ProcessChange, ProcessInfo, ProcessName, ProcessState};

/// What is known of a pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It runs, and its end will be told by [`Wanted::died`].
    Alive,
    /// It has ended, or is a zombie.
    Dead,
    /// It cannot be watched from here.
    Unknown,
}

/// A server's wanted state, where it changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Which server.
    pub server: ServerRef,
    /// What is wanted of it now.
    pub state: AdminState,
}

/// Why an event was not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Staleness {
    /// A later event of this process, or this one, was handled before.
    Serial {
        /// The latest serial that was handled.
        latest: u64,
    },
    /// It speaks of a time when another process, or none, stood in the place of this one, which is alive.
    Alive(Pid),
}

/// What an event led to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reaction {
    /// Servers of which something else is wanted now.
    pub wishes: Vec<Wish>,
    /// All servers that the process stands for.
    pub servers: Vec<ServerRef>,
    /// Set where the event was not followed.
    pub stale: Option<Staleness>,
    /// Names that a rule's wildcard could not turn into HAProxy's; told at first sight of the process.
    pub bad_names: Vec<NameError>,
    /// Whether the process was never seen before.
    pub is_new: bool,
}

/// What a list of all processes led to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyncOutcome {
    /// Servers of which something else is wanted now.
    pub wishes: Vec<Wish>,
    /// Whether an event overtook the list, so that it should be asked for again.
    pub doubtful: bool,
    /// See [`Reaction::bad_names`].
    pub bad_names: Vec<NameError>,
}

/// A moment in the order of events; see [`Wanted::mark`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(u64);

/// The wanted state of all mapped servers.
#[derive(Debug)]
pub struct Wanted {
    mapping: Mapping,
    actions: Actions,
    processes: BTreeMap<ProcessName, Process>,
    servers: BTreeMap<ServerRef, Server>,
    handled: u64,
    leaving: bool,
}

#[derive(Debug)]
struct Process {
    state: ProcessState,
    pid: Option<Pid>,
    life: Life,
    since: Instant,
    serial: Option<u64>,
    /// Number of the event that spoke of it last.
    touched: Mark,
    wish: AdminState,
    servers: Vec<ServerRef>,
}

#[derive(Debug)]
struct Server {
    processes: BTreeSet<ProcessName>,
    wish: Option<AdminState>,
}

/// After EXITED, supervisord may be about to start the program again; it takes two rounds of its loop.
const RESTART_GRACE: Duration = Duration::from_secs(2);

impl Process {
    fn new(now: Instant, servers: Vec<ServerRef>) -> Self {
        Self {
            state: ProcessState::Unknown,
            pid: None,
            life: Life::Unknown,
            since: now,
            serial: None,
            touched: Mark(0),
            wish: AdminState::Ready,
            servers,
        }
    }

    /// The state, unless its process is known to be gone already.
    fn effective(&self) -> ProcessState {
        match (self.life, self.state) {
            (Life::Dead, ProcessState::Running | ProcessState::Starting) => ProcessState::Exited,
            (Life::Dead, ProcessState::Stopping) => ProcessState::Stopped,
            (_, state) => state,
        }
    }

    fn alive(&self) -> Option<Pid> {
        self.pid.filter(|_| self.life == Life::Alive)
    }

    /// Why an event is older than what is known.
    fn staleness(&self, change: &ProcessChange, serial: Option<u64>) -> Option<Staleness> {
        match (serial, self.serial) {
            (Some(serial), Some(latest)) if serial <= latest => return Some(Staleness::Serial { latest }),
            _ => {}
        }
        self.alive().filter(|pid| contradicts(change, *pid)).map(Staleness::Alive)
    }

    /// Whether supervisord will have news soon.
    fn in_transition(&self, now: Instant) -> bool {
        match self.state {
            ProcessState::Starting | ProcessState::Stopping | ProcessState::Backoff => true,
            ProcessState::Running => self.life == Life::Dead,
            ProcessState::Exited => now < self.since + RESTART_GRACE,
            ProcessState::Stopped | ProcessState::Fatal | ProcessState::Unknown => false,
        }
    }
}

/// Whether an event cannot be about the process that lives: supervisord starts no second one beside it.
fn contradicts(change: &ProcessChange, alive: Pid) -> bool {
    match (change.state, change.pid) {
        (ProcessState::Unknown | ProcessState::Running | ProcessState::Stopping, None) => false,
        (_, Some(pid)) => pid != alive,
        (_, None) => true,
    }
}

impl Wanted {
    /// Nothing is known of any process, and nothing wanted yet.
    #[must_use]
    pub fn new(mapping: Mapping, actions: Actions) -> Self {
        let servers = mapping.fixed_servers().map(|server| (server, Server::new())).collect();
        let processes = BTreeMap::new();
        Self { mapping, actions, processes, servers, handled: 0, leaving: false }
    }

    /// Follows an event, unless it is older than what is known. `life` is that of the pid it names.
    pub fn event(
        &mut self,
        now: Instant,
        change: &ProcessChange,
        serial: Option<u64>,
        life: Life,
    ) -> Reaction {
        self.handled += 1;
        let (is_new, bad_names) = self.meet(now, &change.name);
        let touched = Mark(self.handled);
        let Some(process) = self.processes.get_mut(&change.name) else {
            return Reaction { bad_names, is_new, ..Reaction::default() };
        };
        let servers = process.servers.clone();
        let stale = process.staleness(change, serial);
        if stale.is_some() {
            return Reaction { servers, stale, bad_names, is_new, ..Reaction::default() };
        }
        process.serial = serial.or(process.serial);
        process.touched = touched;
        let wishes = self.set(now, &change.name, change.state, change.pid, life, is_new);
        Reaction { wishes, servers, bad_names, is_new, stale: None }
    }

    /// The process's end was seen. Gives its name where it was one of ours.
    pub fn died(&mut self, pid: Pid) -> Option<(ProcessName, Vec<Wish>)> {
        let found = self.processes.iter_mut().find(|(_, process)| process.alive() == Some(pid));
        let name = found.map(|(name, process)| {
            process.life = Life::Dead;
            name.clone()
        })?;
        let wishes = self.rethink(&name, false);
        Some((name, wishes))
    }

    /// A group was removed from supervisord: its processes count no longer. A server that is left without any
    /// keeps what was wanted of it last.
    pub fn group_removed(&mut self, group: &str) -> Vec<Wish> {
        self.handled += 1;
        let gone: Vec<ProcessName> =
            self.processes.keys().filter(|name| name.group == group).cloned().collect();
        gone.iter().flat_map(|name| self.forget(name)).collect()
    }

    /// The order of things when a list of processes is asked for; see [`Self::sync`].
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark(self.handled)
    }

    /// Follows a list of all processes that was asked for at `asked`. What an event has told since then is
    /// newer, or maybe not: it stays, and the outcome is doubtful.
    pub fn sync(&mut self, now: Instant, asked: Mark, list: &[(ProcessInfo, Life)]) -> SyncOutcome {
        let mut outcome = SyncOutcome::default();
        for (info, life) in list {
            let (is_new, bad_names) = self.meet(now, &info.name);
            outcome.bad_names.extend(bad_names);
            match self.processes.get(&info.name) {
                None => {}
                Some(process) if process.touched > asked => outcome.doubtful = true,
                Some(_) => {
                    outcome.wishes.extend(self.set(now, &info.name, info.state, info.pid, *life, is_new));
                }
            }
        }
        outcome.wishes.extend(self.drop_absent(asked, list));
        outcome
    }

    /// The listener is about to end: no STOPPED will follow a STOPPING any more.
    pub fn leave(&mut self) {
        self.leaving = true;
    }

    /// supervisord is about to end, and all programs with it.
    pub fn give_up_all(&mut self) -> Vec<Wish> {
        let state = AdminState::Maint;
        let mut wishes = Vec::new();
        for (server, entry) in &mut self.servers {
            if entry.wish != Some(state) {
                entry.wish = Some(state);
                wishes.push(Wish { server: server.clone(), state });
            }
        }
        wishes
    }

    /// Whether supervisord is about to have news of a mapped program.
    #[must_use]
    pub fn in_transition(&self, now: Instant) -> bool {
        self.processes.values().any(|process| process.in_transition(now))
    }

    /// The pid that is alive and stands behind a name.
    #[must_use]
    pub fn alive(&self, name: &ProcessName) -> Option<Pid> {
        self.processes.get(name)?.alive()
    }

    /// All pids that are alive: [`Self::died`] waits for each.
    #[must_use]
    pub fn all_alive(&self) -> BTreeSet<Pid> {
        self.processes.values().filter_map(Process::alive).collect()
    }

    /// Whether a rule is about this process.
    #[must_use]
    pub fn concerns(&self, name: &ProcessName) -> bool {
        let (servers, errors) = self.mapping.servers(name);
        !servers.is_empty() || !errors.is_empty()
    }

    /// The mapping.
    #[must_use]
    pub fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    /// Whether a server of HAProxy stands for a program: one that was named or seen.
    #[must_use]
    pub fn has_server(&self, server: &ServerRef) -> bool {
        self.servers.contains_key(server)
    }

    /// Makes a mapped process known; whether it is new, and which of its names are bad.
    fn meet(&mut self, now: Instant, name: &ProcessName) -> (bool, Vec<NameError>) {
        if self.processes.contains_key(name) {
            return (false, Vec::new());
        }
        let (servers, bad_names) = self.mapping.servers(name);
        if servers.is_empty() && bad_names.is_empty() {
            return (false, bad_names);
        }
        for server in &servers {
            let entry = self.servers.entry(server.clone()).or_insert_with(Server::new);
            entry.processes.insert(name.clone());
        }
        self.processes.insert(name.clone(), Process::new(now, servers));
        (true, bad_names)
    }

    fn set(
        &mut self,
        now: Instant,
        name: &ProcessName,
        state: ProcessState,
        pid: Option<Pid>,
        life: Life,
        is_new: bool,
    ) -> Vec<Wish> {
        let Some(process) = self.processes.get_mut(name) else { return Vec::new() };
        if process.state != state {
            process.since = now;
        }
        process.state = state;
        process.pid = pid.filter(|_| state.has_process());
        process.life = if process.pid.is_some() { life } else { Life::Unknown };
        self.rethink(name, is_new)
    }

    /// Derives a process's wish from its state, and its servers' wishes from that.
    fn rethink(&mut self, name: &ProcessName, is_new: bool) -> Vec<Wish> {
        let leaving = self.leaving;
        let Some(process) = self.processes.get_mut(name) else { return Vec::new() };
        let state = process.effective();
        let action = self.actions.action(state);
        // A drain must not lift a server out of maint: who stops in STARTING or BACKOFF was never in.
        let was_out = !is_new && process.wish == AdminState::Maint;
        let stays_out = state == ProcessState::Stopping && (was_out || leaving);
        process.wish = if stays_out { AdminState::Maint } else { action };
        let servers = process.servers.clone();
        servers.iter().filter_map(|server| self.weigh(server)).collect()
    }

    /// The least available wish of a server's processes wins.
    fn weigh(&mut self, server: &ServerRef) -> Option<Wish> {
        let entry = self.servers.get_mut(server)?;
        let wishes = entry.processes.iter().filter_map(|name| self.processes.get(name));
        let state = wishes.map(|process| process.wish).max()?;
        let changed = entry.wish != Some(state);
        entry.wish = Some(state);
        changed.then(|| Wish { server: server.clone(), state })
    }

    fn drop_absent(&mut self, asked: Mark, list: &[(ProcessInfo, Life)]) -> Vec<Wish> {
        let present: BTreeSet<&ProcessName> = list.iter().map(|(info, _)| &info.name).collect();
        let absent =
            |(name, process): &(&ProcessName, &Process)| process.touched <= asked && !present.contains(name);
        let gone: Vec<ProcessName> =
            self.processes.iter().filter(absent).map(|(name, _)| name.clone()).collect();
        gone.iter().flat_map(|name| self.forget(name)).collect()
    }

    fn forget(&mut self, name: &ProcessName) -> Vec<Wish> {
        let Some(process) = self.processes.remove(name) else { return Vec::new() };
        for server in &process.servers {
            if let Some(entry) = self.servers.get_mut(server) {
                entry.processes.remove(name);
            }
        }
        process.servers.iter().filter_map(|server| self.weigh(server)).collect()
    }
}

impl Server {
    fn new() -> Self {
        Self { processes: BTreeSet::new(), wish: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ProcessName {
        let (group, process) = text.split_once(':').unwrap_or((text, text));
        ProcessName { group: group.into(), process: process.into() }
    }

    fn pid(number: u32) -> Option<Pid> {
        Pid::new(number)
    }

    /// Drives a `Wanted` in the words of supervisord and shows wishes as `server=state`.
    struct Bench {
        wanted: Wanted,
        now: Instant,
        serial: u64,
    }

    impl Bench {
        fn new(rules: &[&str]) -> Self {
            let rules = rules.iter().map(|rule| rule.parse().unwrap()).collect();
            let wanted = Wanted::new(Mapping::new(rules), Actions::new(Vec::new()));
            Self { wanted, now: Instant::now(), serial: 0 }
        }

        fn react(&mut self, serial: u64, process: &str, state: &str, number: u32, life: Life) -> Reaction {
            let state = state.parse().unwrap();
            let change = ProcessChange { name: name(process), state, pid: pid(number) };
            self.wanted.event(self.now, &change, Some(serial), life)
        }

        fn event(&mut self, process: &str, state: &str, number: u32) -> Vec<String> {
            self.serial += 1;
            let reaction = self.react(self.serial, process, state, number, Life::Alive);
            assert_eq!(reaction.stale, None);
            shown(&reaction.wishes)
        }

        fn sync(&mut self, asked: Mark, list: &[(&str, &str, u32, Life)]) -> SyncOutcome {
            let list: Vec<(ProcessInfo, Life)> = list
                .iter()
                .map(|(process, state, number, life)| {
                    let state = state.parse().unwrap();
                    (ProcessInfo { name: name(process), state, pid: pid(*number) }, *life)
                })
                .collect();
            self.wanted.sync(self.now, asked, &list)
        }
    }

    fn shown(wishes: &[Wish]) -> Vec<String> {
        wishes.iter().map(|wish| format!("{}={}", wish.server, wish.state)).collect()
    }

    #[test]
    fn a_program_goes_through_its_life() {
        let mut bench = Bench::new(&["web:app/a1"]);
        assert_eq!(bench.event("web", "STARTING", 0), ["app/a1=maint"]);
        assert_eq!(bench.event("web", "RUNNING", 5), ["app/a1=ready"]);
        assert_eq!(bench.event("web", "STOPPING", 5), ["app/a1=drain"]);
        assert_eq!(bench.event("web", "STOPPED", 5), ["app/a1=maint"]);
        assert!(bench.event("other", "RUNNING", 6).is_empty());
    }

    #[test]
    fn the_death_is_followed_before_any_event_and_events_after_it_change_nothing() {
        let mut bench = Bench::new(&["web:app/a1"]);
        bench.event("web", "RUNNING", 5);
        assert!(!bench.wanted.in_transition(bench.now));
        let (who, wishes) = bench.wanted.died(pid(5).unwrap()).unwrap();
        assert_eq!((who, shown(&wishes)), (name("web"), vec!["app/a1=maint".to_owned()]));
        assert!(bench.wanted.in_transition(bench.now), "supervisord will tell soon");
        assert!(bench.event("web", "EXITED", 5).is_empty());
        assert!(bench.event("web", "STARTING", 0).is_empty());
        assert_eq!(bench.event("web", "RUNNING", 6), ["app/a1=ready"]);
        assert_eq!(bench.wanted.died(pid(5).unwrap()), None);
    }

    #[test]
    fn running_with_a_dead_pid_is_no_reason_for_ready() {
        let mut bench = Bench::new(&["web:app/a1"]);
        let reaction = bench.react(1, "web", "RUNNING", 5, Life::Dead);
        assert_eq!(shown(&reaction.wishes), ["app/a1=maint"]);
        let reaction = bench.react(2, "web", "RUNNING", 5, Life::Unknown);
        assert_eq!(shown(&reaction.wishes), ["app/a1=ready"], "where pids cannot be watched, events count");
    }

    #[test]
    fn a_drain_does_not_lift_a_server_out_of_maint() {
        let mut bench = Bench::new(&["web:app/a1"]);
        bench.event("web", "STARTING", 0);
        assert!(bench.event("web", "STOPPING", 5).is_empty());
        assert!(bench.event("web", "STOPPED", 5).is_empty());
    }

    #[test]
    fn an_older_or_repeated_event_never_overrides_a_newer_one() {
        let mut bench = Bench::new(&["web:app/a1"]);
        bench.react(7, "web", "STOPPED", 0, Life::Unknown);
        for serial in [3, 7] {
            let reaction = bench.react(serial, "web", "RUNNING", 5, Life::Unknown);
            assert_eq!(reaction.stale, Some(Staleness::Serial { latest: 7 }));
            assert!(reaction.wishes.is_empty());
        }
    }

    #[test]
    fn events_of_a_time_before_the_living_process_are_stale() {
        let mut bench = Bench::new(&["web:app/a1"]);
        let asked = bench.wanted.mark();
        bench.sync(asked, &[("web", "RUNNING", 9, Life::Alive)]);
        for (state, number) in
            [("STARTING", 0), ("RUNNING", 5), ("EXITED", 5), ("BACKOFF", 0), ("STOPPED", 5)]
        {
            let reaction = bench.react(bench.serial + 1, "web", state, number, Life::Dead);
            assert_eq!(reaction.stale, Some(Staleness::Alive(pid(9).unwrap())), "{state}");
        }
        assert!(bench.event("web", "RUNNING", 9).is_empty());
        assert_eq!(bench.event("web", "STOPPING", 9), ["app/a1=drain"]);
        assert_eq!(bench.event("web", "STOPPED", 9), ["app/a1=maint"]);
    }

    #[test]
    fn the_least_available_program_of_a_server_wins() {
        let mut bench = Bench::new(&["web:app/a1", "cache:app/a1", "web:all/w"]);
        assert_eq!(bench.event("web", "RUNNING", 5), ["app/a1=ready", "all/w=ready"]);
        assert_eq!(bench.event("cache", "STOPPED", 0), ["app/a1=maint"]);
        assert_eq!(bench.event("cache", "RUNNING", 6), ["app/a1=ready"]);
        assert_eq!(bench.event("web", "STOPPING", 5), ["app/a1=drain", "all/w=drain"]);
        assert_eq!(bench.event("cache", "STOPPED", 6), ["app/a1=maint"]);
    }

    #[test]
    fn programs_of_one_name_in_two_groups_are_two() {
        let mut bench = Bench::new(&["web:app/a1", "blue:web=app/b1"]);
        assert_eq!(bench.event("blue:web", "RUNNING", 5), ["app/a1=ready", "app/b1=ready"]);
        assert_eq!(bench.event("green:web", "STOPPED", 0), ["app/a1=maint"]);
        assert_eq!(shown(&bench.wanted.group_removed("green")), ["app/a1=ready"]);
        assert!(bench.wanted.group_removed("blue").is_empty(), "the last wish stays");
    }

    #[test]
    fn a_list_of_processes_is_followed_and_repeating_it_changes_nothing() {
        let mut bench = Bench::new(&["*=app/*"]);
        let list = [
            ("a", "RUNNING", 5, Life::Alive),
            ("b", "RUNNING", 6, Life::Dead),
            ("c", "FATAL", 0, Life::Unknown),
        ];
        let asked = bench.wanted.mark();
        let outcome = bench.sync(asked, &list);
        assert_eq!(shown(&outcome.wishes), ["app/a=ready", "app/b=maint", "app/c=maint"]);
        assert_eq!(bench.sync(asked, &list), SyncOutcome::default());
    }

    #[test]
    fn an_event_that_overtook_the_list_stays() {
        let mut bench = Bench::new(&["web:app/a1"]);
        bench.event("web", "RUNNING", 5);
        let asked = bench.wanted.mark();
        bench.event("web", "STOPPING", 5);
        let outcome = bench.sync(asked, &[("web", "RUNNING", 5, Life::Alive)]);
        assert!(outcome.doubtful && outcome.wishes.is_empty());
        let outcome = bench.sync(bench.wanted.mark(), &[("web", "STOPPED", 0, Life::Unknown)]);
        assert_eq!((outcome.doubtful, shown(&outcome.wishes)), (false, vec!["app/a1=maint".to_owned()]));
    }

    #[test]
    fn a_process_that_the_list_lacks_counts_no_longer() {
        let mut bench = Bench::new(&["web:app/a1"]);
        bench.event("blue:web", "STOPPED", 0);
        bench.event("green:web", "RUNNING", 6);
        let asked = bench.wanted.mark();
        let outcome = bench.sync(asked, &[("green:web", "RUNNING", 6, Life::Alive)]);
        assert_eq!(shown(&outcome.wishes), ["app/a1=ready"]);
    }

    #[test]
    fn on_leaving_a_stopping_program_is_out_at_once() {
        let mut bench = Bench::new(&["web:app/a1", "api:app/a2", "idle:app/a3"]);
        bench.event("web", "RUNNING", 5);
        bench.event("api", "RUNNING", 6);
        bench.wanted.leave();
        let asked = bench.wanted.mark();
        let outcome =
            bench.sync(asked, &[("web", "STOPPING", 5, Life::Alive), ("api", "RUNNING", 6, Life::Alive)]);
        assert_eq!(shown(&outcome.wishes), ["app/a1=maint"]);
        assert_eq!(shown(&bench.wanted.give_up_all()), ["app/a2=maint", "app/a3=maint"]);
    }

    #[test]
    fn a_transition_ends_with_its_news() {
        let mut bench = Bench::new(&["web:app/a1"]);
        for (state, number, expected) in [
            ("STARTING", 0, true),
            ("BACKOFF", 0, true),
            ("RUNNING", 5, false),
            ("STOPPING", 5, true),
            ("STOPPED", 5, false),
            ("FATAL", 0, false),
            ("EXITED", 0, true),
        ] {
            // A living process would make the events that follow it stale.
            if let Some(alive) = bench.wanted.alive(&name("web"))
                && state != "STOPPING"
                && state != "STOPPED"
            {
                bench.wanted.died(alive);
            }
            bench.event("web", state, number);
            assert_eq!(bench.wanted.in_transition(bench.now), expected, "{state}");
        }
        assert!(!bench.wanted.in_transition(bench.now + RESTART_GRACE));
    }
}
