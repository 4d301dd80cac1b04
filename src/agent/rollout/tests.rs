//! Rollouts over a small world that does what HAProxy and supervisord do.

use super::*;
use crate::agent::Hold;
use crate::haproxy::{Held, Info, Seen, StatRow, Status};
use crate::supervisor::{Pid, ProcessInfo, ProcessState};

const TURN: Duration = Duration::from_millis(100);

/// Each server belongs to the program of its name.
struct World {
    now: Instant,
    looks: Vec<Result<Look, String>>,
    processes: BTreeMap<ProcessName, ProcessDetails>,
    /// Why supervisord cannot be seen.
    silence: Option<String>,
    holds: Holds,
    probes: BTreeMap<ProcessName, Result<(), String>>,
    /// What a start leads to, turn by turn.
    life: Vec<ProcessState>,
    steps: BTreeMap<ProcessName, usize>,
    /// Whether a set server shows it.
    obeys: bool,
    /// Whether a server with checks comes up.
    comes_up: bool,
    log: Vec<String>,
}

fn name(process: &str) -> ProcessName {
    ProcessName { group: process.into(), process: process.into() }
}

fn server(process: &str) -> ServerRef {
    ServerRef::new("app", process).unwrap()
}

fn seen(status: &str, held: Held) -> Seen {
    Seen { held, checked: true, address: None, row: StatRow::example(server("any"), status) }
}

fn details(process: &str, state: ProcessState, pid: u32) -> ProcessDetails {
    let info = ProcessInfo { name: name(process), state, pid: Pid::new(pid) };
    let spawn_error = if state == ProcessState::Fatal { "Exited too quickly".into() } else { String::new() };
    ProcessDetails { info, started: None, ended: None, now: 0, spawn_error, exit_status: 3 }
}

impl World {
    fn new(programs: &[&str]) -> Self {
        let servers = programs.iter().map(|program| (server(program), seen("UP", Held::Ready))).collect();
        let processes =
            programs.iter().map(|program| (name(program), details(program, ProcessState::Running, 1)));
        Self {
            now: Instant::now(),
            looks: vec![Ok(Look { info: Info::default(), servers })],
            processes: processes.collect(),
            silence: None,
            holds: Holds::default(),
            probes: BTreeMap::new(),
            life: vec![ProcessState::Starting, ProcessState::Running],
            steps: BTreeMap::new(),
            obeys: true,
            comes_up: true,
            log: Vec::new(),
        }
    }

    fn server(&mut self, process: &str) -> &mut Seen {
        self.looks[0].as_mut().unwrap().servers.get_mut(&server(process)).unwrap()
    }

    fn state(&self, process: &str) -> ProcessState {
        self.processes[&name(process)].info.state
    }

    fn sight(&self) -> Sight {
        let processes = match &self.silence {
            Some(why) => Err(why.clone()),
            None => Ok(self.processes.clone()),
        };
        let (looks, holds, probes) = (self.looks.clone(), self.holds.clone(), self.probes.clone());
        Sight { processes, looks, holds, probes }
    }

    /// One turn: the rollout sees, decides, and the world follows.
    fn turn(&mut self, rollout: &mut Rollout) {
        self.now += TURN;
        let actions = rollout.advance(self.now, &self.sight());
        for action in actions {
            self.follow(&action);
        }
        let starting: Vec<ProcessName> = self.steps.keys().cloned().collect();
        for name in starting {
            self.live(&name);
        }
    }

    fn live(&mut self, name: &ProcessName) {
        let step = self.steps.get_mut(name).unwrap();
        if let Some(state) = self.life.get(*step) {
            *step += 1;
            let pid = self.processes[name].info.pid.map_or(2, |pid| pid.get().max(2));
            self.processes.insert(name.clone(), details(&name.process, *state, pid));
        }
        if self.processes[name].info.state == ProcessState::Running && self.comes_up {
            for look in self.looks.iter_mut().flatten() {
                let seen = look.servers.get_mut(&server(&name.process)).unwrap();
                if &*seen.row.status.text == "DOWN" {
                    seen.row.status = Status::from("UP");
                }
            }
        }
    }

    fn follow(&mut self, action: &Action) {
        match action {
            Action::Set { haproxy, server, state, gate } => {
                let gate = if *gate { ", gated" } else { "" };
                self.log.push(format!("{}: {state}{gate}", server.server()));
                if self.obeys {
                    let seen = self.looks[*haproxy].as_mut().unwrap().servers.get_mut(server).unwrap();
                    let (held, status) = match state {
                        AdminState::Ready if !gate.is_empty() => (Held::Ready, "DOWN"),
                        AdminState::Ready => (Held::Ready, "UP"),
                        AdminState::Drain => (Held::Drain, "DRAIN"),
                        AdminState::Maint => (Held::Maint, "MAINT"),
                    };
                    (seen.held, seen.row.status) = (held, Status::from(status));
                }
            }
            Action::ShutdownSessions { server, .. } => {
                self.log.push(format!("{}: shutdown", server.server()));
                self.server(server.server()).row.sessions = 0;
            }
            Action::Claim(servers, state) => self.log.push(format!("{}: claim {state}", servers[0].server())),
            Action::Hold(servers, _) => self.log.push(format!("{}: hold", servers[0].server())),
            Action::Unclaim(servers) => self.log.push(format!("{}: unclaim", servers[0].server())),
            Action::Stop(name) => {
                self.log.push(format!("{name}: stop"));
                self.processes.insert(name.clone(), details(&name.process, ProcessState::Stopped, 0));
            }
            Action::Start(name) => {
                self.log.push(format!("{name}: start"));
                self.steps.insert(name.clone(), 0);
            }
            Action::Probe(name) => self.log.push(format!("{name}: probe")),
        }
    }

    /// Turns until it is over.
    #[track_caller]
    fn finish(&mut self, rollout: &mut Rollout) {
        for _ in 0..10_000 {
            if rollout.is_over() {
                return;
            }
            self.turn(rollout);
        }
        panic!("it never ends: {:#?}", self.log);
    }

    /// Turns until this was done.
    #[track_caller]
    fn until(&mut self, rollout: &mut Rollout, line: &str) {
        for _ in 0..1000 {
            if self.log.iter().any(|logged| logged == line) {
                return;
            }
            self.turn(rollout);
        }
        panic!("`{line}` never happens: {:#?}", self.log);
    }

    fn turns(&mut self, rollout: &mut Rollout, length: Duration) {
        for _ in 0..(length.as_millis() / TURN.as_millis()) {
            self.turn(rollout);
        }
    }

    fn position(&self, line: &str) -> usize {
        self.log
            .iter()
            .position(|logged| logged == line)
            .unwrap_or_else(|| panic!("no `{line}`: {:#?}", self.log))
    }
}

fn terms(verb: Verb) -> Terms {
    Terms {
        verb,
        batch: 1,
        min_ready: 1,
        force: false,
        keep_going: false,
        drain_timeout: Duration::from_secs(8),
        shutdown_sessions: false,
        stop_timeout: Duration::from_secs(20),
        up_timeout: Duration::from_secs(10),
        probe: false,
        gate: true,
    }
}

fn rollout(terms: Terms, world: &World) -> Rollout {
    let members = world.processes.keys().map(|name| Member {
        program: name.clone(),
        servers: vec![server(&name.process)],
        listed: true,
    });
    Rollout::new(world.now, terms, members.collect())
}

fn endings(rollout: &Rollout) -> Vec<&Ending> {
    rollout.courses().iter().map(|course| course.ending().unwrap()).collect()
}

#[track_caller]
fn failure(rollout: &Rollout, number: usize) -> &str {
    match rollout.courses()[number].ending() {
        Some(Ending::Failed(why) | Ending::Refused(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_after_the_other_is_drained_parted_stopped_started_and_up() {
    let mut world = World::new(&["a", "b"]);
    let mut rollout = rollout(terms(Verb::Restart), &world);
    world.finish(&mut rollout);
    let of = |program: &str| {
        [
            format!("{program}: claim drain"),
            format!("{program}: drain"),
            format!("{program}: claim maint"),
            format!("{program}: maint"),
            format!("{program}: stop"),
            format!("{program}: unclaim"),
            format!("{program}: start"),
            format!("{program}: ready, gated"),
        ]
    };
    assert_eq!(world.log, [of("a"), of("b")].concat());
    assert_eq!(endings(&rollout), [&Ending::Done, &Ending::Done]);
    assert_eq!(rollout.tally(), Tally { done: 2, ..Tally::default() });
    assert!(rollout.courses()[0].timings().up.is_some());
}

#[test]
fn the_listener_is_told_a_turn_before_a_server_is_touched() {
    let mut world = World::new(&["a", "b"]);
    let mut rollout = rollout(terms(Verb::Restart), &world);
    world.turns(&mut rollout, TURN);
    assert_eq!(world.log, ["a: claim drain"]);
    world.turns(&mut rollout, TURN);
    assert_eq!(world.log, ["a: claim drain", "a: drain"]);
}

#[test]
fn nothing_is_stopped_while_a_session_is_left() {
    let mut world = World::new(&["a", "b"]);
    world.server("a").row.sessions = 1;
    let mut rollout = rollout(terms(Verb::Stop), &world);
    world.turns(&mut rollout, Duration::from_secs(5));
    assert_eq!(world.log, ["a: claim drain", "a: drain"]);
    world.server("a").row.sessions = 0;
    world.server("a").row.queue = 1;
    world.turns(&mut rollout, TURN * 2);
    assert_eq!(world.log.len(), 2, "a request that waits for it is one too");
    world.server("a").row.queue = 0;
    world.until(&mut rollout, "a: stop");
}

#[test]
fn a_persistent_session_that_slips_in_is_waited_for_in_maint() {
    let mut world = World::new(&["a", "b"]);
    let mut rollout = rollout(terms(Verb::Stop), &world);
    world.until(&mut rollout, "a: maint");
    world.server("a").row.sessions = 1;
    world.turns(&mut rollout, Duration::from_secs(2));
    assert_eq!(world.state("a"), ProcessState::Running);
    world.server("a").row.sessions = 0;
    world.until(&mut rollout, "a: stop");
}

#[test]
fn sessions_that_never_end_are_left_behind_in_time_and_told() {
    let mut world = World::new(&["a", "b"]);
    world.server("a").row.sessions = 3;
    let mut rollout = rollout(terms(Verb::Stop), &world);
    world.turns(&mut rollout, Duration::from_secs(5));
    assert!(!world.log.contains(&"a: maint".to_owned()), "persistent sessions have most of the time");
    world.until(&mut rollout, "a: maint");
    world.turns(&mut rollout, Duration::from_millis(1500));
    assert_eq!(world.state("a"), ProcessState::Running);
    world.until(&mut rollout, "a: stop");
    assert_eq!(rollout.courses()[0].remarks(), ["3 sessions left after 8s"]);
}

#[test]
fn sessions_that_never_end_can_be_shut_down() {
    let mut world = World::new(&["a", "b"]);
    world.server("a").row.sessions = 3;
    let mut rollout = rollout(Terms { shutdown_sessions: true, ..terms(Verb::Stop) }, &world);
    world.until(&mut rollout, "a: stop");
    assert!(world.position("a: shutdown") < world.position("a: stop"));
    assert_eq!(world.log.iter().filter(|line| *line == "a: shutdown").count(), 1);
    assert_eq!(rollout.courses()[0].remarks(), ["3 sessions closed after 8s"]);
}

#[test]
fn a_server_that_is_down_is_drained_all_the_same() {
    let mut world = World::new(&["a", "b"]);
    let mut rollout = rollout(terms(Verb::Restart), &world);
    world.until(&mut rollout, "a: drain");
    world.server("a").row.status = Status::from("DOWN");
    world.until(&mut rollout, "a: stop");
    world.finish(&mut rollout);
}

#[test]
fn a_server_in_maint_is_not_drained_first() {
    let mut world = World::new(&["a", "b"]);
    *world.server("a") = seen("MAINT", Held::Maint);
    let mut rollout = rollout(terms(Verb::Restart), &world);
    world.until(&mut rollout, "a: stop");
    assert_eq!(world.log, ["a: claim maint", "a: stop"]);
}

#[test]
fn a_program_that_dies_at_its_start_ends_the_rollout_and_the_next_is_not_touched() {
    let mut world = World::new(&["a", "b"]);
    world.life = vec![ProcessState::Starting, ProcessState::Backoff, ProcessState::Fatal];
    let mut rollout = rollout(terms(Verb::Restart), &world);
    world.finish(&mut rollout);
    assert_eq!(failure(&rollout, 0), "FATAL after its start: Exited too quickly; its servers are in maint");
    assert_eq!(endings(&rollout)[1], &Ending::Untouched);
    assert_eq!((world.server("a").held, world.server("b").held), (Held::Maint, Held::Ready));
    assert!(!world.log.iter().any(|line| line.starts_with("b:")));
}

#[test]
fn a_program_that_dies_before_it_is_up_leaves_its_server_in_maint() {
    let mut world = World::new(&["a", "b"]);
    world.comes_up = false;
    world.life = vec![ProcessState::Running, ProcessState::Running, ProcessState::Exited];
    let mut rollout = rollout(terms(Verb::Restart), &world);
    world.finish(&mut rollout);
    assert_eq!(failure(&rollout, 0), "EXITED after its start with exit status 3; its servers are in maint");
    assert_eq!(world.server("a").held, Held::Maint);
}

#[test]
fn with_keep_going_the_next_is_begun_all_the_same() {
    let mut world = World::new(&["a", "b", "c"]);
    world.comes_up = false;
    let mut rollout = rollout(Terms { keep_going: true, ..terms(Verb::Restart) }, &world);
    world.until(&mut rollout, "b: drain");
    world.comes_up = true;
    world.finish(&mut rollout);
    assert_eq!(failure(&rollout, 0), "RUNNING, but not up within 10s: app/a is DOWN");
    assert_eq!(rollout.tally(), Tally { done: 2, failed: 1, ..Tally::default() });
}

#[test]
fn enough_servers_stay_up() {
    let mut world = World::new(&["a", "b", "c"]);
    let mut rollout = rollout(Terms { min_ready: 2, batch: 3, ..terms(Verb::Restart) }, &world);
    world.finish(&mut rollout);
    assert_eq!(rollout.tally().done, 3);
    assert!(world.position("a: ready, gated") < world.position("b: drain"), "there was no room for two");
}

#[test]
fn a_batch_goes_at_the_same_time_where_there_is_room() {
    let mut world = World::new(&["a", "b", "c", "d"]);
    let mut rollout = rollout(Terms { min_ready: 2, batch: 2, ..terms(Verb::Restart) }, &world);
    world.finish(&mut rollout);
    assert!(world.position("b: drain") < world.position("a: stop"));
    assert!(world.position("a: ready, gated") < world.position("c: drain"));
}

#[test]
fn the_last_server_of_a_backend_is_not_taken() {
    let mut world = World::new(&["a"]);
    let mut refused = rollout(terms(Verb::Restart), &world);
    world.finish(&mut refused);
    assert!(
        failure(&refused, 0).starts_with("backend `app` would have no server up, and --min-ready asks for 1")
    );
    assert!(world.log.is_empty());
    let mut forced = rollout(Terms { force: true, ..terms(Verb::Restart) }, &world);
    world.finish(&mut forced);
    assert_eq!(forced.tally().done, 1);
}

#[test]
fn a_server_that_is_not_up_may_be_taken_whatever_the_others_do() {
    let mut world = World::new(&["a"]);
    *world.server("a") = seen("DOWN", Held::Ready);
    let mut rollout = rollout(terms(Verb::Restart), &world);
    world.finish(&mut rollout);
    assert_eq!(rollout.tally().done, 1);
}

/// A program that was started and is on its way, with its server in maint.
fn started() -> (World, Rollout) {
    let mut world = World::new(&["a"]);
    world.life = vec![ProcessState::Starting; 1000];
    let mut rollout = rollout(Terms { force: true, ..terms(Verb::Restart) }, &world);
    world.until(&mut rollout, "a: start");
    world.turns(&mut rollout, TURN * 3);
    assert_eq!(world.log.last().unwrap(), "a: start");
    (world, rollout)
}

#[test]
fn what_the_listener_has_brought_up_meanwhile_is_not_taken_out_again() {
    let (mut world, mut rollout) = started();
    world.processes.insert(name("a"), details("a", ProcessState::Running, 2));
    *world.server("a") = seen("UP", Held::Ready);
    world.finish(&mut rollout);
    assert_eq!(world.log.last().unwrap(), "a: start");
    assert_eq!(endings(&rollout), [&Ending::Done]);
}

#[test]
fn a_look_at_supervisord_that_is_older_than_that_at_haproxy_takes_nothing_out() {
    let (mut world, mut rollout) = started();
    *world.server("a") = seen("DOWN", Held::Ready);
    world.turn(&mut rollout);
    assert_eq!(world.log.last().unwrap(), "a: start");
    world.turn(&mut rollout);
    assert_eq!(world.log.last().unwrap(), "a: maint", "it is not RUNNING now either");
}

#[test]
fn an_haproxy_that_was_restarted_in_the_middle_is_told_again() {
    let mut world = World::new(&["a", "b"]);
    let mut rollout = rollout(terms(Verb::Restart), &world);
    world.until(&mut rollout, "a: drain");
    *world.server("a") = seen("UP", Held::Ready);
    world.server("a").row.sessions = 1;
    world.turns(&mut rollout, TURN);
    assert_eq!(world.log.iter().filter(|line| *line == "a: drain").count(), 2);
    world.server("a").row.sessions = 0;
    world.until(&mut rollout, "a: stop");
    world.finish(&mut rollout);
    assert_eq!(rollout.tally().done, 2);
}

#[test]
fn an_haproxy_that_is_gone_stops_nothing_and_is_waited_for() {
    let mut world = World::new(&["a", "b"]);
    let mut rollout = rollout(terms(Verb::Restart), &world);
    world.until(&mut rollout, "a: drain");
    let gone = std::mem::replace(&mut world.looks[0], Err("haproxy x: cannot connect".into()));
    world.turns(&mut rollout, Duration::from_secs(3));
    assert_eq!(world.state("a"), ProcessState::Running);
    world.looks[0] = gone;
    world.finish(&mut rollout);
    assert_eq!(rollout.tally().done, 2);
}

#[test]
fn an_haproxy_that_stays_away_ends_the_rollout_with_nothing_stopped() {
    let mut world = World::new(&["a", "b"]);
    let mut rollout = rollout(terms(Verb::Restart), &world);
    world.until(&mut rollout, "a: drain");
    world.looks[0] = Err("haproxy x: cannot connect".into());
    world.finish(&mut rollout);
    assert_eq!(
        failure(&rollout, 0),
        "haproxy x: cannot connect; its servers could not be put back as they were"
    );
    assert_eq!(world.state("a"), ProcessState::Running);
}

#[test]
fn of_several_haproxies_all_are_drained_before_the_stop_and_all_are_ready_after_it() {
    let mut world = World::new(&["a", "b"]);
    let second = world.looks[0].clone();
    world.looks.push(second);
    let mut rollout = rollout(terms(Verb::Restart), &world);
    let sessions = |world: &mut World, count| {
        world.looks[1].as_mut().unwrap().servers.get_mut(&server("a")).unwrap().row.sessions = count;
    };
    sessions(&mut world, 1);
    world.turns(&mut rollout, Duration::from_secs(2));
    assert_eq!(world.state("a"), ProcessState::Running);
    sessions(&mut world, 0);
    world.finish(&mut rollout);
    assert_eq!(world.log.iter().filter(|line| *line == "a: ready, gated").count(), 2);
}

#[test]
fn a_supervisord_that_is_restarted_in_the_middle_is_waited_for() {
    let mut world = World::new(&["a", "b"]);
    let mut rollout = rollout(terms(Verb::Restart), &world);
    world.until(&mut rollout, "a: start");
    world.silence = Some("supervisord is shutting down or restarting".into());
    world.steps.clear();
    world.turns(&mut rollout, Duration::from_secs(3));
    // It starts everything but this one, which has `autostart=false`.
    world.silence = None;
    world.processes.insert(name("a"), details("a", ProcessState::Stopped, 0));
    world.finish(&mut rollout);
    assert_eq!(world.log.iter().filter(|line| *line == "a: start").count(), 2);
    assert_eq!(rollout.tally().done, 2);
}

#[test]
fn between_two_programs_a_silent_peer_is_waited_for_but_not_for_ever() {
    let mut world = World::new(&["a", "b"]);
    let mut rollout = rollout(terms(Verb::Restart), &world);
    world.until(&mut rollout, "a: ready, gated");
    world.turns(&mut rollout, TURN * 2);
    world.server("b").row.sessions = 0;
    let mut waiting = self::rollout(terms(Verb::Restart), &world);
    world.silence = Some("supervisord x: cannot connect".into());
    world.finish(&mut waiting);
    assert_eq!(failure(&waiting, 0), "supervisord x: cannot connect", "at the begin there is no waiting");
}

#[test]
fn a_stop_that_supervisord_did_not_hear_is_repeated() {
    let mut world = World::new(&["a", "b"]);
    let mut rollout = rollout(terms(Verb::Stop), &world);
    world.until(&mut rollout, "a: stop");
    world.processes.insert(name("a"), details("a", ProcessState::Running, 1));
    world.log.clear();
    rollout.failed(world.now, &Action::Stop(name("a")), &Failure::Passing("no answer".into()));
    world.until(&mut rollout, "a: stop");
    world.finish(&mut rollout);
}

#[test]
fn a_refusal_for_good_puts_the_servers_back() {
    let mut world = World::new(&["a", "b"]);
    let mut rollout = rollout(terms(Verb::Restart), &world);
    world.until(&mut rollout, "a: stop");
    world.processes.insert(name("a"), details("a", ProcessState::Running, 1));
    rollout.failed(world.now, &Action::Stop(name("a")), &Failure::Permanent("no rights".into()));
    world.finish(&mut rollout);
    assert_eq!(failure(&rollout, 0), "no rights");
    assert_eq!(world.server("a").held, Held::Ready);
    assert_eq!(endings(&rollout)[1], &Ending::Untouched);
}

#[test]
fn a_state_that_somebody_else_sets_back_ends_the_rollout() {
    let mut world = World::new(&["a", "b"]);
    world.obeys = false;
    let mut rollout = rollout(terms(Verb::Restart), &world);
    world.finish(&mut rollout);
    assert_eq!(failure(&rollout, 0), "app/a was set to maint and is UP: somebody else sets it");
    assert_eq!(world.state("a"), ProcessState::Running);
}

#[test]
fn an_interrupt_puts_back_what_was_not_stopped_and_begins_nothing_more() {
    let mut world = World::new(&["a", "b"]);
    world.server("a").row.sessions = 1;
    let mut rollout = rollout(terms(Verb::Restart), &world);
    world.until(&mut rollout, "a: drain");
    rollout.interrupt();
    world.finish(&mut rollout);
    assert_eq!(endings(&rollout), [&Ending::Restored, &Ending::Untouched]);
    assert_eq!(world.server("a").held, Held::Ready);
    assert_eq!(world.log.last().unwrap(), "a: ready");
}

#[test]
fn an_interrupt_after_the_stop_lets_the_program_come_back() {
    let mut world = World::new(&["a", "b"]);
    let mut rollout = rollout(terms(Verb::Restart), &world);
    world.until(&mut rollout, "a: stop");
    rollout.interrupt();
    world.finish(&mut rollout);
    assert_eq!(endings(&rollout), [&Ending::Done, &Ending::Untouched]);
}

#[test]
fn a_held_server_stays_in_maint_and_is_not_waited_for() {
    let mut world = World::new(&["a", "b", "c"]);
    *world.server("a") = seen("MAINT", Held::Maint);
    world.holds.insert(Hold { server: server("a"), by: "root".into(), reason: "disk".into(), since: 0 });
    let mut rollout = rollout(terms(Verb::Restart), &world);
    world.finish(&mut rollout);
    assert_eq!(rollout.tally().done, 3);
    assert_eq!(
        rollout.courses()[0].remarks(),
        ["app/a stays in maint: held by root since 1970-01-01T00:00:00Z: disk"]
    );
    assert_eq!(world.server("a").held, Held::Maint);
}

#[test]
fn a_probe_has_to_succeed_before_there_is_traffic() {
    let mut world = World::new(&["a", "b"]);
    let mut rollout = rollout(Terms { probe: true, ..terms(Verb::Restart) }, &world);
    world.until(&mut rollout, "a: probe");
    assert_eq!(world.server("a").held, Held::Maint);
    assert!(!world.log.contains(&"a: unclaim".to_owned()), "the listener has to wait too");
    world.probes.insert(name("a"), Err("HTTP status 503".into()));
    world.turns(&mut rollout, TURN * 5);
    assert_eq!(world.server("a").held, Held::Maint);
    world.probes.insert(name("a"), Ok(()));
    world.until(&mut rollout, "a: ready, gated");
    world.finish(&mut rollout);
    assert_eq!(
        failure(&rollout, 1),
        "its probe did not succeed within 10s: not asked; its servers stay in maint, and where a listener runs, \
         held: `release` lets them in"
    );
    assert!(world.position("b: hold") < world.position("b: unclaim"), "there is no gap for the listener");
    assert_eq!(world.server("b").held, Held::Maint);
}

#[test]
fn a_stopped_program_is_started_without_a_drain() {
    let mut world = World::new(&["a", "b"]);
    world.processes.insert(name("a"), details("a", ProcessState::Stopped, 0));
    *world.server("a") = seen("no check", Held::Ready);
    world.server("a").checked = false;
    let mut rollout = rollout(terms(Verb::Start), &world);
    world.finish(&mut rollout);
    assert_eq!(world.log, ["a: maint", "a: start", "a: ready"], "b runs already");
    assert_eq!(rollout.tally().done, 2);
}

#[test]
fn a_program_that_supervisord_lacks_is_said_so() {
    let mut world = World::new(&["a", "b"]);
    let mut rollout = rollout(Terms { keep_going: true, ..terms(Verb::Restart) }, &world);
    world.processes.remove(&name("a"));
    world.finish(&mut rollout);
    assert_eq!(failure(&rollout, 0), "supervisord has no program `a`");
}

#[test]
fn a_server_that_haproxy_lacks_is_said_so_before_anything_is_touched() {
    let mut world = World::new(&["a", "b"]);
    world.looks[0].as_mut().unwrap().servers.remove(&server("a"));
    let mut rollout = rollout(terms(Verb::Restart), &world);
    world.finish(&mut rollout);
    assert_eq!(failure(&rollout, 0), "no HAProxy has a server `app/a`");
    assert!(world.log.is_empty());
}
