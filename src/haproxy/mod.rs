//! HAProxy's admin socket: names that may reach it, one typed command each, what it replies, and the parsers
//! of `show info`, `show stat` and `show servers state`. Nothing here opens a socket; see [`crate::net`].

mod command;
mod csv;
mod info;
mod look;
mod map;
mod master;
mod name;
mod reply;
mod servers_state;
mod stat;
mod status;

pub use command::{AdminState, Command, MAX_LINE};
pub use csv::{Field, Fields};
pub use info::Info;
pub use look::{Look, Seen};
pub use map::{MapContents, MapFile, MapFileError};
pub use master::{Processes, Reloaded, reloaded};
pub use name::{NameError, ServerRef, Word};
pub use reply::{Refusal, ReplyError, accepted, dump, level};
pub use servers_state::{Held, ServerState};
pub use stat::StatRow;
pub use status::{Kind, Status};

use thiserror::Error;

/// A dump that is not what HAProxy writes, or not all of it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DumpError {
    /// The header row is not there.
    #[error("no header row that begins with `{0}`")]
    Header(&'static str),
    /// The header row lacks a column.
    #[error("column `{0}` is missing in the header row")]
    Column(&'static str),
    /// A row that is cut off or damaged; counted from 1 after the header.
    #[error("row {row}: {what}")]
    Row {
        /// Number of the row.
        row: usize,
        /// What is wrong with it.
        what: String,
    },
    /// A state file format that is newer than this program.
    #[error("format version `{0}` is unknown, expected `1`")]
    Version(String),
}

/// What one look at HAProxy gave: which process answered, and all its servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    /// The answering process.
    pub info: Info,
    /// One row for each server.
    pub rows: Vec<StatRow>,
}

impl Survey {
    /// Takes the reply to [`Command::Survey`] apart: `show info`, then `show stat`.
    pub fn parse(reply: &[u8]) -> Result<Self, ReplyError> {
        let text = dump(reply)?;
        let (info, stat) = info_and_stat(&text)?;
        Ok(Self { info: Info::parse(info), rows: stat::parse(stat)? })
    }
}

/// Cuts the text of `show info;show stat` in two.
pub fn info_and_stat(text: &str) -> Result<(&str, &str), DumpError> {
    let stat = text.find("# pxname,").ok_or(DumpError::Header("# pxname,"))?;
    Ok(text.split_at(stat))
}
