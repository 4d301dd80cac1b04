//! One exchange at a time with one peer: its name is resolved aside, then [`Exchange`] does the rest.

use std::sync::Arc;
use std::time::Instant;

use mio::{Registry, Token, Waker};

use super::exchange::{Exchange, Fault, Kept, Limits, Question};
use super::{Endpoint, Resolver};

/// A whole reply, or why there is none.
pub type Outcome = Result<Vec<u8>, Fault>;

/// Calls one peer.
#[derive(Debug)]
pub struct Caller {
    resolver: Resolver,
    token: Token,
    call: Option<Call>,
}

#[derive(Debug)]
struct Call {
    begun: Instant,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Resolving(Question),
    Talking(Exchange<Kept>),
}

impl Caller {
    /// `token` marks this peer's events in the poll that `waker` belongs to.
    #[must_use]
    pub fn new(endpoint: Endpoint, token: Token, waker: Arc<Waker>) -> Self {
        Self { resolver: Resolver::new(endpoint, waker), token, call: None }
    }

    /// Begins a call, in place of the one that may be under way. Gives its outcome if that is known at once.
    pub fn call(&mut self, question: Question, now: Instant, registry: &Registry) -> Option<Outcome> {
        self.call = Some(Call { begun: now, stage: Stage::Resolving(question) });
        self.advance(now, registry)
    }

    /// Goes on with the call under way, after its token was reported, its deadline has passed or the waker
    /// was woken. Gives the outcome once it is known.
    pub fn advance(&mut self, now: Instant, registry: &Registry) -> Option<Outcome> {
        let mut call = self.call.take()?;
        match self.step(&mut call, now, registry) {
            Ok(None) => {
                self.call = Some(call);
                None
            }
            Ok(Some(reply)) => Some(Ok(reply)),
            Err(fault) => {
                if fault.is_unreachable() {
                    self.resolver.forget();
                }
                Some(Err(fault))
            }
        }
    }

    fn step(&mut self, call: &mut Call, now: Instant, registry: &Registry) -> Result<Option<Vec<u8>>, Fault> {
        if let Stage::Resolving(question) = &mut call.stage {
            let deadline = call.begun + question.limits.time;
            let Some(addresses) = self.resolver.addresses().map_err(Fault::Resolve)? else {
                let expired = now >= deadline;
                return if expired { Err(Fault::ResolveTimeout(question.limits.time)) } else { Ok(None) };
            };
            let Question { request, is_whole, limits } = std::mem::take(question);
            let (ask, kept) = ((request, limits), Kept::new(is_whole));
            call.stage =
                Stage::Talking(Exchange::start(addresses, ask, kept, deadline, (registry, self.token))?);
            return Ok(None);
        }
        let Stage::Talking(exchange) = &mut call.stage else { return Ok(None) };
        match exchange.advance(registry)? {
            Some(reply) => Ok(Some(reply.bytes)),
            None => exchange.expired(now).map_or(Ok(None), Err),
        }
    }

    /// Whether no call is under way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.call.is_none()
    }

    /// When the call under way began.
    #[must_use]
    pub fn begun(&self) -> Option<Instant> {
        self.call.as_ref().map(|call| call.begun)
    }

    /// When to call [`Self::advance`] at the latest.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.call.as_ref().map(|call| match &call.stage {
            Stage::Resolving(Question { limits: Limits { time, .. }, .. }) => call.begun + *time,
            Stage::Talking(exchange) => exchange.deadline(),
        })
    }
}
