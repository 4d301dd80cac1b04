//! Streams to the two peers: where to connect, name resolution, and one request with its whole reply under a
//! deadline, for a loop of its own or for those who wait. What is said over a stream lives in [`crate::haproxy`] and
//! [`crate::supervisor`].

mod caller;
mod endpoint;
mod exchange;
mod http;
mod resolve;
mod switchboard;

pub use caller::{Caller, Outcome};
pub use endpoint::{Endpoint, EndpointError};
pub use exchange::{Exchange, Fault, Limits, Phase, Question, Receive};
pub use http::{HttpFault, HttpUrl, HttpUrlError, PostReply, get, get_from, post};
pub use resolve::{Address, Resolver, addresses_within};
pub use switchboard::{Peer, Switchboard};
