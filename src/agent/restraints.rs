//! What stands above the wishes of programs: holds of operators and claims of commands that run. Each keeps a
//! server from being more available than it says.

use std::collections::BTreeMap;
use std::time::Instant;

use super::{Hold, Holds};
use crate::haproxy::{AdminState, ServerRef};

/// A running command's lease on a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Which command.
    pub by: String,
    /// The server is not to be more available than this.
    pub state: AdminState,
    /// When it ends by itself.
    pub until: Instant,
}

/// A claim that was neither renewed nor given up: its command has ended without a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expired {
    /// Which server.
    pub server: ServerRef,
    /// Which command.
    pub by: String,
}

#[derive(Debug, Default)]
pub(super) struct Restraints {
    holds: Holds,
    claims: BTreeMap<ServerRef, Claim>,
}

impl Restraints {
    /// The most available state that a server may have.
    pub(super) fn least(&self, server: &ServerRef) -> AdminState {
        let held = self.holds.get(server).map(|_| AdminState::Maint);
        let claimed = self.claims.get(server).map(|claim| claim.state);
        held.max(claimed).unwrap_or(AdminState::Ready)
    }

    pub(super) fn holds(&self) -> &Holds {
        &self.holds
    }

    pub(super) fn claim_of(&self, server: &ServerRef) -> Option<&Claim> {
        self.claims.get(server)
    }

    pub(super) fn hold(&mut self, hold: &Hold) {
        self.holds.insert(hold.clone());
    }

    pub(super) fn release(&mut self, server: &ServerRef) {
        self.holds.remove(server);
    }

    pub(super) fn claim(&mut self, server: &ServerRef, claim: &Claim) {
        self.claims.insert(server.clone(), claim.clone());
    }

    /// A command that was replaced as claimant cannot end the claim of its successor.
    pub(super) fn unclaim(&mut self, server: &ServerRef, by: &str) {
        if self.claims.get(server).is_some_and(|claim| claim.by == by) {
            self.claims.remove(server);
        }
    }

    /// When the next claim ends by itself.
    pub(super) fn due_at(&self) -> Option<Instant> {
        self.claims.values().map(|claim| claim.until).min()
    }

    /// Ends the claims whose time is over.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Expired> {
        let mut expired = Vec::new();
        self.claims.retain(|server, claim| {
            let lasts = now < claim.until;
            if !lasts {
                expired.push(Expired { server: server.clone(), by: claim.by.clone() });
            }
            lasts
        });
        expired
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn server(name: &str) -> ServerRef {
        name.parse().unwrap()
    }

    fn claim(by: &str, state: AdminState, until: Instant) -> Claim {
        Claim { by: by.into(), state, until }
    }

    #[test]
    fn the_least_available_restraint_counts() {
        let (now, a) = (Instant::now(), server("app/a"));
        let mut restraints = Restraints::default();
        assert_eq!(restraints.least(&a), AdminState::Ready);
        restraints.claim(&a, &claim("x", AdminState::Drain, now));
        assert_eq!(restraints.least(&a), AdminState::Drain);
        restraints.hold(&Hold { server: a.clone(), by: "root".into(), reason: String::new(), since: 0 });
        assert_eq!(restraints.least(&a), AdminState::Maint);
        restraints.release(&a);
        assert_eq!(restraints.least(&a), AdminState::Drain);
    }

    #[test]
    fn a_claim_ends_at_its_time_and_not_by_another_command() {
        let (now, a, b) = (Instant::now(), server("app/a"), server("app/b"));
        let later = now + Duration::from_secs(1);
        let mut restraints = Restraints::default();
        assert_eq!(restraints.due_at(), None);
        restraints.claim(&a, &claim("x", AdminState::Drain, now));
        restraints.claim(&b, &claim("x", AdminState::Drain, later));
        assert_eq!(restraints.due_at(), Some(now));
        assert_eq!(restraints.expire(now), [Expired { server: a, by: "x".into() }]);
        restraints.claim(&b, &claim("y", AdminState::Maint, later));
        restraints.unclaim(&b, "x");
        assert_eq!(restraints.least(&b), AdminState::Maint);
        restraints.unclaim(&b, "y");
        assert_eq!((restraints.least(&b), restraints.due_at()), (AdminState::Ready, None));
    }
}
