//! In the place of `history.rs` in a build without it.

use super::Failure;
use super::commands::TimelineArgs;

pub(super) fn run(_: &TimelineArgs) -> Result<u8, Failure> {
    Err(Failure::Usage(vec!["history: this program was built without the feature `web`".into()]))
}
