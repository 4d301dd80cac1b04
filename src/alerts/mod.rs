//! What `serve` tells others by itself: reports at their times or when an integration asks for one, and alerts when
//! something changes. `digest`, `guard`, `message`, `queue`, `schedule` and `tick` decide and do no I/O; `post` connects,
//! and [`Outbox`] has the threads. Who asks over HTTP is not known here: see `web`.

mod desk;
mod digest;
mod guard;
mod message;
mod post;
mod queue;
mod schedule;
mod tick;

pub use desk::{Desk, Outbox, Settings, Tallies, Tally, Ticks};
pub use digest::{Change, Course, Digest, Line, State, Summary};
pub use guard::{Allowed, AllowedError, Guard, Refusal};
pub use message::{Body, Destination, Event, Format, Message, SIGNATURE, Signer};
pub use schedule::{Schedule, ScheduleError};
pub use tick::{Guards, OWN_SOCKET, PASSWORD, STATS_ENDPOINT, TickFault, TickOrder, USERNAME};
