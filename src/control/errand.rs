//! A command at work: it looks, does what is decided, and looks again.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use super::peers::{Looks, accepted as call_accepted};
use super::probe::Probing;
use super::{Interrupts, Lock, Peers, Probe, Site, epoch_seconds};
use crate::agent::rollout::{Action, Failure, Rollout, Sight};
use crate::agent::{Holds, KIND, Order};
use crate::haproxy::{AdminState, Command, ServerRef, accepted};
use crate::supervisor::{self, Call, ProcessName, ProcessState};

/// What a command sees of the world, and what it does to it.
#[derive(Debug)]
pub struct Errand {
    site: Site,
    peers: Peers,
    /// In whose name the listener is told.
    by: String,
    probe: Option<Probe>,
    probing: BTreeMap<ProcessName, Probing>,
    sight: Sight,
    claims: BTreeMap<ServerRef, AdminState>,
    renew_at: Option<Instant>,
    quiet_turns: u32,
    look_took: Duration,
}

/// A claim ends by itself after this many seconds: a command that was killed leaves nothing drained behind.
const CLAIM_SECONDS: u32 = 10;
const RENEW_AFTER: Duration = Duration::from_secs(3);
/// A reason is for people, and most of a long one is somebody else's words.
const MAX_REASON: usize = 300;
/// Between two looks while things move, and the most that it becomes while they do not.
const FASTEST: Duration = Duration::from_millis(20);
const SLOWEST: Duration = Duration::from_millis(200);
/// Looks without news before the pace slackens.
const PATIENT_TURNS: u32 = 100;

impl Errand {
    /// Takes a first look, whatever it shows.
    pub fn new(site: Site, by: String, probe: Option<Probe>) -> io::Result<Self> {
        let mut errand = Self::prepare(site, by, probe)?;
        errand.look()?;
        Ok(errand)
    }

    /// Has seen nothing yet, and asked nobody.
    pub fn prepare(site: Site, by: String, probe: Option<Probe>) -> io::Result<Self> {
        let nothing = Sight {
            processes: Err("supervisord was not asked yet".into()),
            looks: Vec::new(),
            holds: Holds::default(),
            probes: BTreeMap::new(),
        };
        Ok(Self {
            peers: Peers::new(&site)?,
            site,
            by,
            probe,
            probing: BTreeMap::new(),
            sight: nothing,
            claims: BTreeMap::new(),
            renew_at: None,
            quiet_turns: 0,
            look_took: Duration::ZERO,
        })
    }

    /// What was seen last.
    #[must_use]
    pub fn sight(&self) -> &Sight {
        &self.sight
    }

    /// What it works on.
    #[must_use]
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// The peers, for what is no look.
    pub fn peers(&mut self) -> &mut Peers {
        &mut self.peers
    }

    /// Looks at all peers at the same time.
    pub fn look(&mut self) -> io::Result<&Sight> {
        let began = Instant::now();
        let looks = self.peers.look()?;
        self.look_took = began.elapsed();
        Ok(self.see(looks))
    }

    /// Looks at supervisord, and leaves every HAProxy alone, for this reason.
    pub fn look_at_programs(&mut self, why: &str) -> io::Result<&Sight> {
        let processes = self.peers.look_at_programs()?;
        let looks = vec![Err(why.to_owned()); self.site.haproxies.len()];
        Ok(self.see(Looks { processes, looks }))
    }

    fn see(&mut self, looks: Looks) -> &Sight {
        let Looks { processes, looks } = looks;
        let processes = processes
            .map(|list| list.into_iter().map(|details| (details.info.name.clone(), details)).collect());
        let mut probes = std::mem::take(&mut self.sight.probes);
        probes.extend(self.probed());
        self.sight = Sight { processes, looks, holds: self.holds(), probes };
        &self.sight
    }

    /// What keeps what was seen from being the whole truth.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let sight = &self.sight;
        let silent = sight.processes.as_ref().err().cloned();
        let looks = sight.looks.iter().filter_map(|look| look.as_ref().err().cloned());
        let holds = self.site.holds.as_ref().and_then(|file| file.load().err());
        silent.into_iter().chain(looks).chain(holds.map(|error| error.to_string())).collect()
    }

    /// Which programs other commands are at work on.
    #[must_use]
    pub fn owners(&self) -> BTreeMap<ProcessName, String> {
        let supervisord = &self.site.supervisord.endpoint;
        let names = self.sight.processes.iter().flatten().map(|(name, _)| name);
        names.filter_map(|name| Some((name.clone(), Lock::owner(supervisord, name)?))).collect()
    }

    /// Holds that cannot be read are told by `status` and `check`; here they must not stop anything.
    fn holds(&self) -> Holds {
        self.site.holds.as_ref().and_then(|file| file.load().ok()).unwrap_or_default()
    }

    /// Goes on with a rollout until it is over, or has been interrupted twice. `show` is called at each turn.
    pub fn roll_out(
        &mut self,
        rollout: &mut Rollout,
        lock: &Lock,
        interrupts: &mut Interrupts,
        mut show: impl FnMut(Instant, &Rollout, &Sight),
    ) -> io::Result<()> {
        while !rollout.is_over() && interrupts.count() < 2 {
            let now = Instant::now();
            if interrupts.count() > 0 && !rollout.is_interrupted() {
                rollout.interrupt();
            }
            self.look()?;
            let actions = rollout.advance(now, &self.sight);
            let moved = actions.iter().any(|action| !matches!(action, Action::Probe(_)));
            for (action, failure) in self.perform(actions)? {
                rollout.failed(now, &action, &failure);
            }
            show(now, rollout, &self.sight);
            lock.greet();
            self.pause(moved)?;
        }
        self.unclaim_all()
    }

    /// Carries actions out, one after the other; gives those that failed.
    pub fn perform(&mut self, actions: Vec<Action>) -> io::Result<Vec<(Action, Failure)>> {
        let mut failures = Vec::new();
        for action in actions {
            if let Err(failure) = self.act(&action)? {
                failures.push((action, failure));
            }
        }
        self.renew_claims()?;
        Ok(failures)
    }

    fn act(&mut self, action: &Action) -> io::Result<Result<(), Failure>> {
        match action {
            Action::Set { haproxy, server, state, gate } => {
                let command = Command::SetState { server: server.clone(), state: *state, gate: *gate };
                self.peers.tell(*haproxy, &command, accepted)
            }
            Action::ShutdownSessions { haproxy, server } => {
                self.peers.tell(*haproxy, &Command::ShutdownSessions(server.clone()), accepted)
            }
            Action::Claim(servers, state) => self.claim(servers, *state).map(Ok),
            Action::Unclaim(servers) => self.unclaim(servers).map(Ok),
            Action::Stop(program) => self.peers.call_supervisord(&Call::Stop(program.clone()), call_accepted),
            Action::Start(program) => {
                self.peers.call_supervisord(&Call::Start(program.clone()), call_accepted)
            }
            Action::Hold(servers, reason) => self.hold(servers, reason),
            Action::Probe(program) => {
                self.begin_probe(program);
                Ok(Ok(()))
            }
        }
    }

    // --- probes

    /// Asks a program aside: a page that warms it up may take long, and the others are to go on.
    fn begin_probe(&mut self, program: &ProcessName) {
        let Some(probe) = self.probe.clone() else { return };
        if self.probing.get(program).is_some_and(|under_way| !under_way.is_stale()) {
            return;
        }
        let (servers, _) = self.site.mapping.servers(program);
        let found = self.sight.looks.iter().flatten().find_map(|look| {
            servers
                .iter()
                .find_map(|server| Some((server.clone(), look.servers.get(server)?.address.clone())))
        });
        if let Some((server, address)) = found {
            self.probing.insert(program.clone(), Probing::begin(probe, program.clone(), server, address));
        }
    }

    /// The results that have come since the last look.
    fn probed(&mut self) -> BTreeMap<ProcessName, Result<(), String>> {
        let probing = self.probing.iter_mut();
        probing.filter_map(|(program, under_way)| Some((program.clone(), under_way.result()?))).collect()
    }

    // --- the listener

    /// Whether the listener runs and takes orders.
    #[must_use]
    pub fn is_heard(&self) -> bool {
        self.site.listener.as_ref().is_some_and(|listener| {
            let processes = self.sight.processes.as_ref().ok();
            let details = processes.and_then(|processes| processes.get(&listener.name));
            listener.hears_orders
                && details.is_some_and(|details| details.info.state == ProcessState::Running)
        })
    }

    /// Tells the listener, through supervisord. It cannot be told from here whether it has heard.
    pub fn order(&mut self, order: &Order) -> io::Result<Result<(), Failure>> {
        let call = Call::RemoteCommEvent { kind: KIND.into(), data: order.to_json() };
        self.peers.call_supervisord(&call, supervisor::done)
    }

    /// Without a listener, nobody would lift the servers out of maint.
    fn hold(&mut self, servers: &[ServerRef], reason: &str) -> io::Result<Result<(), Failure>> {
        if !self.is_heard() {
            return Ok(Ok(()));
        }
        let reason = reason.chars().filter(|c| !c.is_control()).take(MAX_REASON).collect();
        let (servers, by) = (servers.to_vec(), self.by.clone());
        self.order(&Order::Hold { servers, by, reason, since: epoch_seconds() })
    }

    fn claim(&mut self, servers: &[ServerRef], state: AdminState) -> io::Result<()> {
        self.claims.extend(servers.iter().map(|server| (server.clone(), state)));
        self.send_claim(servers.to_vec(), state)
    }

    fn unclaim(&mut self, servers: &[ServerRef]) -> io::Result<()> {
        self.claims.retain(|server, _| !servers.contains(server));
        if self.is_heard() {
            // If this is lost, the claim ends by itself.
            let _ = self.order(&Order::Unclaim { servers: servers.to_vec(), by: self.by.clone() })?;
        }
        Ok(())
    }

    fn unclaim_all(&mut self) -> io::Result<()> {
        let servers: Vec<ServerRef> = self.claims.keys().cloned().collect();
        if servers.is_empty() { Ok(()) } else { self.unclaim(&servers) }
    }

    fn renew_claims(&mut self) -> io::Result<()> {
        let now = Instant::now();
        if self.claims.is_empty() || self.renew_at.is_none_or(|at| now < at) {
            return Ok(());
        }
        for state in [AdminState::Drain, AdminState::Maint] {
            let claims = self.claims.iter().filter(|(_, claimed)| **claimed == state);
            let servers: Vec<ServerRef> = claims.map(|(server, _)| server.clone()).collect();
            if !servers.is_empty() {
                self.send_claim(servers, state)?;
            }
        }
        Ok(())
    }

    fn send_claim(&mut self, servers: Vec<ServerRef>, state: AdminState) -> io::Result<()> {
        self.renew_at = Some(Instant::now() + RENEW_AFTER);
        if self.is_heard() {
            let order = Order::Claim { servers, state, by: self.by.clone(), seconds: CLAIM_SECONDS };
            // Without it, the listener may report a drift. What is set is looked at again in any case.
            let _ = self.order(&order)?;
        }
        Ok(())
    }

    // --- pace

    /// Waits for the next look: shortly while things move.
    pub fn pause(&mut self, moved: bool) -> io::Result<()> {
        self.quiet_turns = if moved { 0 } else { self.quiet_turns.saturating_add(1) };
        let slack = self.quiet_turns.saturating_sub(PATIENT_TURNS).min(9) + 1;
        // Who has thousands of programs or servers has other things to do than to answer.
        self.peers.pause((FASTEST * slack).min(SLOWEST).max(self.look_took * 4))
    }
}
