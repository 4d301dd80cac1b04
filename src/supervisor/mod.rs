//! supervisord, from both sides: the event-listener protocol on stdin and stdout (a pure codec and the one
//! owner of the two), and its XML-RPC interface (requests and replies; [`crate::net`] carries them).

mod codec;
mod event;
mod process;
mod rpc;
pub mod stdio;
mod xml;

pub use codec::{Decoder, MAX_HEADER, MAX_PAYLOAD, ProtocolError, READY, RESULT_OK};
pub use event::{Event, Header, ProcessChange, Topic};
pub use process::{Pid, ProcessDetails, ProcessInfo, ProcessName, ProcessState};
pub use rpc::{
    Call, Credentials, RpcError, ServerUrl, ServerUrlError, details, done, is_whole, pid, processes, version,
};
