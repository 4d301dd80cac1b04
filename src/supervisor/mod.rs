//! supervisord, from both sides: the event-listener protocol on stdin and stdout (a pure codec and the one
//! owner of the two), its XML-RPC interface (requests and replies; [`crate::net`] carries them), and its
//! configuration files.

mod codec;
mod conf;
mod event;
mod process;
mod rpc;
pub mod stdio;
mod xml;

pub use codec::{Decoder, MAX_HEADER, MAX_PAYLOAD, ProtocolError, READY, RESULT_OK};
pub use conf::{Conf, ConfError, ConfFault, EventListener, FormatError, WordsError};
pub use event::{Event, Header, MAX_REMOTE, ProcessChange, Topic};
pub use process::{Pid, ProcessDetails, ProcessInfo, ProcessName, ProcessState};
pub use rpc::{
    Call, Credentials, RpcError, ServerUrl, ServerUrlError, details, done, is_whole, pid, processes, version,
};
