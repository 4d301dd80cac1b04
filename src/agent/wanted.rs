//! What is wanted of each server. Events, deaths and answers of XML-RPC change what its programs ask for, and
//! orders what keeps it from that; the less available counts. It is level-triggered, so whatever HAProxy could
//! not take yet is still known here.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::restraints::Restraints;
use super::{Actions, Claim, Expired, Hold, Holds, Mapping};
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

/// What the end of holds or claims led to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Relief {
    /// Servers of which something else is wanted now.
    pub wishes: Vec<Wish>,
    /// Servers of which nothing is wanted any more, because nothing is known of their programs, or they have
    /// none. They are to be left as they are.
    pub free: Vec<ServerRef>,
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
    restraints: Restraints,
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

#[derive(Debug, Default)]
struct Server {
    /// Whether a rule has named it, and not an order alone.
    is_mapped: bool,
    processes: BTreeSet<ProcessName>,
    /// What its processes ask for, or asked for last.
    asked: Option<AdminState>,
    /// What is wanted of it.
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

    /// Whether it asks for a drain because it stops.
    fn drains_to_stop(&self) -> bool {
        self.wish == AdminState::Drain && self.effective() == ProcessState::Stopping
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
        let servers = mapping.fixed_servers().map(|server| (server, Server::mapped())).collect();
        let (processes, restraints) = (BTreeMap::new(), Restraints::default());
        Self { mapping, actions, processes, servers, restraints, handled: 0, leaving: false }
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
        for (server, entry) in self.servers.iter_mut().filter(|(_, entry)| entry.is_mapped) {
            entry.asked = Some(state);
            if entry.wish != Some(state) {
                entry.wish = Some(state);
                wishes.push(Wish { server: server.clone(), state });
            }
        }
        wishes
    }

    /// Servers stay in maint from now on, whatever their programs do.
    pub fn hold(&mut self, holds: &[Hold]) -> Vec<Wish> {
        for hold in holds {
            self.restraints.hold(hold);
        }
        self.restrain(holds.iter().map(|hold| &hold.server))
    }

    /// Servers are held no longer.
    pub fn release(&mut self, servers: &[ServerRef]) -> Relief {
        for server in servers {
            self.restraints.release(server);
        }
        self.relieve(servers)
    }

    /// A command claims servers, or renews its claim. It replaces those of other commands.
    pub fn claim(&mut self, servers: &[ServerRef], claim: &Claim) -> Vec<Wish> {
        for server in servers {
            self.restraints.claim(server, claim);
        }
        self.restrain(servers.iter())
    }

    /// A command needs its claims no longer; those of others stay.
    pub fn unclaim(&mut self, servers: &[ServerRef], by: &str) -> Relief {
        for server in servers {
            self.restraints.unclaim(server, by);
        }
        self.relieve(servers)
    }

    /// Ends the claims that were not renewed in time, and tells which.
    pub fn expire_claims(&mut self, now: Instant) -> (Relief, Vec<Expired>) {
        let expired = self.restraints.expire(now);
        let servers: Vec<ServerRef> = expired.iter().map(|expired| expired.server.clone()).collect();
        (self.relieve(&servers), expired)
    }

    /// When [`Self::expire_claims`] has something to do.
    #[must_use]
    pub fn claims_due_at(&self) -> Option<Instant> {
        self.restraints.due_at()
    }

    /// What is held.
    #[must_use]
    pub fn holds(&self) -> &Holds {
        self.restraints.holds()
    }

    /// The claim on a server.
    #[must_use]
    pub fn claim_of(&self, server: &ServerRef) -> Option<&Claim> {
        self.restraints.claim_of(server)
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
        self.servers.get(server).is_some_and(|entry| entry.is_mapped)
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
            let entry = self.servers.entry(server.clone()).or_default();
            entry.is_mapped = true;
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
        entry.asked = wishes.map(|process| process.wish).max().or(entry.asked);
        self.settle(server)
    }

    /// What is wanted of a server: what its processes ask for, or less where it is held or claimed. A hold and
    /// a claim need no process.
    fn settle(&mut self, server: &ServerRef) -> Option<Wish> {
        let least = self.restraints.least(server);
        let entry = self.servers.get_mut(server)?;
        let mut wish = entry.asked.max(Some(least).filter(|least| *least > AdminState::Ready));
        // Who stops while its server is out, for whatever reason, does not come in again for that.
        let lifts = (entry.wish, wish) == (Some(AdminState::Maint), Some(AdminState::Drain));
        let mut processes = entry.processes.iter().filter_map(|name| self.processes.get(name));
        if lifts && processes.any(Process::drains_to_stop) {
            wish = Some(AdminState::Maint);
        }
        let before = std::mem::replace(&mut entry.wish, wish);
        wish.filter(|_| wish != before).map(|state| Wish { server: server.clone(), state })
    }

    fn restrain<'a>(&mut self, servers: impl Iterator<Item = &'a ServerRef>) -> Vec<Wish> {
        let mut wishes = Vec::new();
        for server in servers {
            self.servers.entry(server.clone()).or_default();
            wishes.extend(self.settle(server));
        }
        wishes
    }

    fn relieve(&mut self, servers: &[ServerRef]) -> Relief {
        let mut relief = Relief::default();
        for server in servers {
            let was_wanted = self.is_wanted(server);
            relief.wishes.extend(self.settle(server));
            if was_wanted && !self.is_wanted(server) {
                relief.free.push(server.clone());
            }
            if !self.is_wanted(server) && !self.has_server(server) {
                self.servers.remove(server);
            }
        }
        relief
    }

    fn is_wanted(&self, server: &ServerRef) -> bool {
        self.servers.get(server).is_some_and(|entry| entry.wish.is_some())
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
    fn mapped() -> Self {
        Self { is_mapped: true, ..Self::default() }
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

    fn server(name: &str) -> ServerRef {
        name.parse().unwrap()
    }

    fn hold(server_name: &str) -> Hold {
        Hold { server: server(server_name), by: "root".into(), reason: "disk".into(), since: 0 }
    }

    /// What wishes a relief gives, and which servers it leaves.
    fn relief(relief: &Relief) -> (Vec<String>, Vec<String>) {
        (shown(&relief.wishes), relief.free.iter().map(ToString::to_string).collect())
    }

    fn claim(bench: &mut Bench, name: &str, state: AdminState, by: &str, seconds: u64) -> Vec<String> {
        let until = bench.now + Duration::from_secs(seconds);
        shown(&bench.wanted.claim(&[server(name)], &Claim { by: by.into(), state, until }))
    }

    #[test]
    fn a_held_server_follows_its_program_only_after_its_release() {
        let mut bench = Bench::new(&["web:app/a1"]);
        bench.event("web", "RUNNING", 5);
        assert_eq!(shown(&bench.wanted.hold(&[hold("app/a1")])), ["app/a1=maint"]);
        assert!(bench.wanted.hold(&[hold("app/a1")]).is_empty());
        assert!(bench.wanted.died(pid(5).unwrap()).unwrap().1.is_empty());
        assert!(bench.event("web", "RUNNING", 6).is_empty());
        let list = [("web", "RUNNING", 6, Life::Alive)];
        assert_eq!(bench.sync(bench.wanted.mark(), &list), SyncOutcome::default());
        let released = bench.wanted.release(&[server("app/a1")]);
        assert_eq!(relief(&released), (vec!["app/a1=ready".into()], vec![]));
        assert_eq!(bench.event("web", "STOPPING", 6), ["app/a1=drain"]);
    }

    #[test]
    fn a_release_shows_what_the_program_did_meanwhile() {
        for (state, number, wishes) in
            [("STOPPED", 0, &[][..]), ("STOPPING", 5, &[]), ("RUNNING", 5, &["app/a1=ready"])]
        {
            let mut bench = Bench::new(&["web:app/a1"]);
            bench.wanted.hold(&[hold("app/a1")]);
            bench.event("web", state, number);
            let released = bench.wanted.release(&[server("app/a1")]);
            assert_eq!(shown(&released.wishes), wishes, "{state}: out is out, also for who stops");
            assert!(released.free.is_empty(), "{state}");
        }
    }

    #[test]
    fn who_stops_after_a_release_is_drained_only_if_it_was_in() {
        let mut bench = Bench::new(&["web:app/a1"]);
        bench.event("web", "RUNNING", 5);
        bench.wanted.hold(&[hold("app/a1")]);
        bench.event("web", "STOPPING", 5);
        assert_eq!(bench.wanted.release(&[server("app/a1")]), Relief::default());
        let list = [("web", "STOPPING", 5, Life::Alive)];
        assert!(bench.sync(bench.wanted.mark(), &list).wishes.is_empty());
        assert!(bench.event("web", "STOPPED", 5).is_empty());
        assert_eq!(bench.event("web", "RUNNING", 6), ["app/a1=ready"]);
    }

    #[test]
    fn what_is_released_before_its_program_is_known_is_left_to_the_list() {
        let mut bench = Bench::new(&["web:app/a1"]);
        assert_eq!(shown(&bench.wanted.hold(&[hold("app/a1")])), ["app/a1=maint"]);
        let released = bench.wanted.release(&[server("app/a1")]);
        assert_eq!(relief(&released), (vec![], vec!["app/a1".into()]));
        let outcome = bench.sync(bench.wanted.mark(), &[("web", "STOPPED", 0, Life::Unknown)]);
        assert_eq!(shown(&outcome.wishes), ["app/a1=maint"]);
        assert_eq!(bench.wanted.release(&[server("app/a1")]), Relief::default(), "it was not held");
    }

    #[test]
    fn a_server_without_a_program_can_be_held_and_is_left_as_it_is() {
        let mut bench = Bench::new(&["web_*=app/w*"]);
        assert_eq!(shown(&bench.wanted.hold(&[hold("app/w1"), hold("x/y")])), ["app/w1=maint", "x/y=maint"]);
        assert!(!bench.wanted.has_server(&server("app/w1")));
        assert!(
            bench.event("web_1", "RUNNING", 5).is_empty(),
            "a wildcard's server that was not seen before"
        );
        assert!(bench.wanted.has_server(&server("app/w1")));
        assert!(bench.wanted.give_up_all().is_empty(), "neither is for supervisord to give up");
        let released = bench.wanted.release(&[server("x/y")]);
        assert_eq!(relief(&released), (vec![], vec!["x/y".into()]));
        assert!(bench.wanted.holds().get(&server("x/y")).is_none());
    }

    #[test]
    fn a_claim_limits_what_programs_ask_for() {
        let mut bench = Bench::new(&["web:app/a1"]);
        bench.event("web", "RUNNING", 5);
        assert_eq!(claim(&mut bench, "app/a1", AdminState::Drain, "x", 10), ["app/a1=drain"]);
        assert!(claim(&mut bench, "app/a1", AdminState::Drain, "x", 20).is_empty(), "a renewal");
        assert_eq!(bench.wanted.claims_due_at(), Some(bench.now + Duration::from_secs(20)));
        assert!(bench.event("web", "STOPPING", 5).is_empty());
        assert_eq!(bench.event("web", "STOPPED", 5), ["app/a1=maint"]);
        assert_eq!(bench.event("web", "RUNNING", 6), ["app/a1=drain"]);
        assert_eq!(claim(&mut bench, "app/a1", AdminState::Maint, "y", 10), ["app/a1=maint"]);
        assert_eq!(bench.wanted.unclaim(&[server("app/a1")], "x"), Relief::default(), "y has it now");
        let given_up = bench.wanted.unclaim(&[server("app/a1")], "y");
        assert_eq!(shown(&given_up.wishes), ["app/a1=ready"]);
    }

    #[test]
    fn a_claim_ends_by_itself_and_a_hold_does_not() {
        let mut bench = Bench::new(&["web:app/a1"]);
        bench.event("web", "RUNNING", 5);
        claim(&mut bench, "app/a1", AdminState::Drain, "x", 10);
        claim(&mut bench, "app/new", AdminState::Drain, "x", 10);
        bench.wanted.hold(&[hold("app/a1")]);
        let nothing = bench.wanted.expire_claims(bench.now + Duration::from_secs(9));
        assert_eq!(nothing, (Relief::default(), vec![]));
        let (ended, expired) = bench.wanted.expire_claims(bench.now + Duration::from_secs(10));
        assert_eq!(relief(&ended), (vec![], vec!["app/new".into()]));
        assert_eq!(expired.len(), 2);
        assert_eq!(bench.wanted.claims_due_at(), None);
        assert_eq!(shown(&bench.wanted.release(&[server("app/a1")]).wishes), ["app/a1=ready"]);
    }

    #[test]
    fn at_the_end_of_supervisord_a_claimed_server_is_given_up_too() {
        let mut bench = Bench::new(&["web:app/a1"]);
        bench.event("web", "RUNNING", 5);
        claim(&mut bench, "app/a1", AdminState::Drain, "x", 10);
        assert_eq!(shown(&bench.wanted.give_up_all()), ["app/a1=maint"]);
        let (ended, _) = bench.wanted.expire_claims(bench.now + Duration::from_secs(10));
        assert_eq!(ended, Relief::default());
    }

    #[test]
    fn a_removed_group_leaves_a_held_server_held() {
        let mut bench = Bench::new(&["web:app/a1"]);
        bench.event("web", "RUNNING", 5);
        bench.wanted.hold(&[hold("app/a1")]);
        assert!(bench.wanted.group_removed("web").is_empty());
        assert_eq!(
            shown(&bench.wanted.release(&[server("app/a1")]).wishes),
            ["app/a1=ready"],
            "the last wish"
        );
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
