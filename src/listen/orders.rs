//! Orders of the program's own commands: what the listener does when one comes, what it says about it, and how
//! holds outlive it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use log::{Level, debug, info, log, warn};

use super::Listener;
use crate::agent::{Claim, Hold, Holds, MAX_HOLDS, Order, Relief, order};
use crate::haproxy::{AdminState, ServerRef};
use crate::store::HoldsFile;
use crate::supervisor::MAX_REMOTE;

/// Orders so far, and where holds are kept.
#[derive(Debug)]
pub(super) struct Orders {
    file: Option<HoldsFile>,
    /// The file is there and was not understood: it is not to be overwritten.
    is_damaged: bool,
    /// What a restart would make of the holds if they were not saved; set where they are to be.
    unsaved: Option<&'static str>,
    /// The number of the latest order; supervisord may bring one again.
    latest: Option<u64>,
}

impl Orders {
    pub(super) fn new(file: Option<HoldsFile>) -> Self {
        Self { file, is_damaged: false, unsaved: None, latest: None }
    }

    fn load(&mut self) -> Holds {
        let Some(file) = &self.file else { return Holds::default() };
        file.load_own().unwrap_or_else(|error| {
            warn!("{error}; nothing is held for now");
            self.is_damaged = true;
            Holds::default()
        })
    }

    /// Whether an order is the latest so far.
    fn is_news(&mut self, serial: Option<u64>) -> bool {
        let is_news = serial.is_none() || serial > self.latest;
        self.latest = self.latest.max(serial);
        is_news
    }

    fn save(&mut self, holds: &Holds) {
        let (Some(file), Some(otherwise)) = (&self.file, self.unsaved.take()) else { return };
        if std::mem::take(&mut self.is_damaged) {
            match file.set_aside() {
                Ok(Some(aside)) => warn!("`{}` was moved to `{}`", file.path().display(), aside.display()),
                Ok(None) => {}
                Err(error) => {
                    self.is_damaged = true;
                    return warn!("{error}; {otherwise}; another place can be named with `--holds-file`");
                }
            }
        }
        if let Err(error) = file.save(holds) {
            warn!("{error}; {otherwise}; another place can be named with `--holds-file`");
        }
    }
}

impl Listener {
    /// What was held before this start is held again.
    pub(super) fn take_up_holds(&mut self) {
        let holds: Vec<Hold> = self.orders.load().iter().cloned().collect();
        let mut reasons: BTreeMap<String, Vec<ServerRef>> = BTreeMap::new();
        for hold in &holds {
            reasons.entry(who_and_why(&hold.by, &hold.reason)).or_default().push(hold.server.clone());
        }
        for (who_and_why, servers) in reasons {
            info!("still held by {who_and_why}: {}", list(&servers));
        }
        let wishes = self.wanted.hold(&holds);
        self.wish(&wishes);
    }

    /// Follows an order; gives the servers that it names.
    pub(super) fn follow_remote(
        &mut self,
        now: Instant,
        kind: &str,
        data: &str,
        serial: Option<u64>,
    ) -> Vec<ServerRef> {
        if kind != order::KIND {
            return Vec::new();
        }
        let order = match Order::parse(data) {
            Ok(order) => order,
            Err(error) => {
                warn!("an order cannot be read and is not followed: {error}");
                return Vec::new();
            }
        };
        let servers = order.servers().to_vec();
        if self.orders.is_news(serial) {
            self.follow_order(now, order);
        } else {
            debug!("order of `{}`: not followed, serial {:?} was later", order.by(), self.orders.latest);
        }
        servers
    }

    fn follow_order(&mut self, now: Instant, order: Order) {
        match order {
            Order::Hold { servers, by, reason, since } => {
                info!("held by {}: {}", who_and_why(&by, &reason), list(&servers));
                let hold = |server| Hold { server, by: by.clone(), reason: reason.clone(), since };
                self.hold(&servers.into_iter().map(hold).collect::<Vec<_>>());
            }
            Order::Release { servers, by } => {
                info!("released by {by}: {}", list(&servers));
                self.release(now, &servers);
            }
            Order::Claim { servers, state, by, seconds } => self.claim(now, &servers, state, by, seconds),
            Order::Unclaim { servers, by } => {
                info!("claimed by {by} no longer: {}", list(&servers));
                let relief = self.wanted.unclaim(&servers, &by);
                self.relieve(now, &relief);
            }
        }
    }

    fn hold(&mut self, holds: &[Hold]) {
        let known = self.wanted.holds();
        if known.len() + holds.iter().filter(|hold| known.get(&hold.server).is_none()).count() > MAX_HOLDS {
            warn!(
                "that would be more than {MAX_HOLDS} holds: not followed; release what is not there any more"
            );
            return;
        }
        if holds.iter().any(|hold| known.get(&hold.server) != Some(hold)) {
            self.orders.unsaved = Some("a restart of this listener will not know of this hold");
        }
        if self.orders.file.is_none() {
            warn!(
                "holds are not kept across a restart of this listener: supervisord has no unix socket to keep them \
                 beside; name a file with `--holds-file`"
            );
        }
        let wishes = self.wanted.hold(holds);
        self.wish(&wishes);
    }

    fn release(&mut self, now: Instant, servers: &[ServerRef]) {
        let (held, free): (Vec<ServerRef>, _) =
            servers.iter().cloned().partition(|server| self.wanted.holds().get(server).is_some());
        if !free.is_empty() {
            info!("not held before: {}", list(&free));
        }
        if !held.is_empty() {
            self.orders.unsaved = Some("a restart of this listener will hold again what was released");
        }
        let relief = self.wanted.release(&held);
        self.relieve(now, &relief);
    }

    fn claim(&mut self, now: Instant, servers: &[ServerRef], state: AdminState, by: String, seconds: u32) {
        let claim = Claim { by, state, until: now + Duration::from_secs(seconds.into()) };
        let is_same = |known: &Claim| (&known.by, known.state) == (&claim.by, claim.state);
        let is_renewal = servers.iter().all(|server| self.wanted.claim_of(server).is_some_and(is_same));
        log!(
            if is_renewal { Level::Debug } else { Level::Info },
            "claimed by {}: {} {state}, for {seconds} s",
            claim.by,
            list(servers)
        );
        let wishes = self.wanted.claim(servers, &claim);
        self.wish(&wishes);
    }

    pub(super) fn expire_claims(&mut self, now: Instant) {
        if self.wanted.claims_due_at().is_none_or(|at| now < at) {
            return;
        }
        let (relief, expired) = self.wanted.expire_claims(now);
        let mut claimants: BTreeMap<String, Vec<ServerRef>> = BTreeMap::new();
        for expired in expired {
            claimants.entry(expired.by).or_default().push(expired.server);
        }
        for (by, servers) in claimants {
            warn!(
                "the claim of {by} on {} has expired: its command ended without a word; following the programs \
                 again",
                list(&servers)
            );
        }
        self.relieve(now, &relief);
    }

    /// Servers follow their programs again; where those are not known, supervisord is asked.
    fn relieve(&mut self, now: Instant, relief: &Relief) {
        self.wish(&relief.wishes);
        for server in &relief.free {
            self.links.iter_mut().for_each(|link| link.forget(server));
        }
        let (known, strange): (Vec<ServerRef>, _) =
            relief.free.iter().cloned().partition(|server| self.wanted.has_server(server));
        if !known.is_empty() {
            info!("left as they are until supervisord tells of their programs: {}", list(&known));
            self.want_sync(now);
        }
        if !strange.is_empty() {
            // A wildcard may stand for them, and its program be unknown yet.
            warn!("left as they are, for no program is known that they stand for: {}", list(&strange));
            self.want_sync(now);
        }
    }

    /// Saves holds that have changed. HAProxy was told before, and supervisord is answered after.
    pub(super) fn save_holds(&mut self) {
        self.orders.save(self.wanted.holds());
    }
}

/// An order that was too long to be kept.
pub(super) fn tell_cut(kind: &str, length: usize) {
    if kind == order::KIND {
        warn!("an order of {length} characters is not followed: {MAX_REMOTE} bytes are kept of one at most");
    }
}

/// The beginning of a text that may be long.
pub(super) fn brief(text: &str) -> String {
    const LONGEST: usize = 80;
    text.chars().take(LONGEST).collect()
}

fn who_and_why(by: &str, reason: &str) -> String {
    if reason.is_empty() { by.to_owned() } else { format!("{by}: {reason}") }
}

/// Servers in one line, however many there are.
fn list(servers: &[ServerRef]) -> String {
    const SHOWN: usize = 20;
    let names: Vec<String> = servers.iter().take(SHOWN).map(ToString::to_string).collect();
    let more = servers.len().saturating_sub(SHOWN);
    if more > 0 { format!("{} and {more} more", names.join(", ")) } else { names.join(", ") }
}
