//! Programs beside their servers, as `serve` shows them: [`Observer`] is the one thread that looks at both peers again and
//! again and publishes what it saw, and [`Desk`] runs the operator's commands for those who ask over HTTP. `view.rs`,
//! `sessions.rs` and `programs.rs` decide and do no I/O. Who shows that to whom is not known here: see `web`.

mod desk;
mod job;
mod metrics;
mod observer;
mod programs;
mod sessions;
mod view;

pub use desk::{Commands, Declined, Desk};
pub use job::{Action, Job, JobState, Subject};
pub use observer::{Observer, Settings, Watch};
pub use programs::ProgramChange;
pub use sessions::Sessions;
pub use view::{Overview, Peer, ServerView};

/// Somebody who wants to know what changes. Must not block.
pub trait Listener: std::fmt::Debug + Send + Sync {
    /// At least one thing has changed.
    fn hear(&self, news: &[News]);
}

/// What has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// A program of supervisord's, between two looks.
    Program(ProgramChange),
    /// What somebody asked for has begun or ended.
    Action(Job),
}
