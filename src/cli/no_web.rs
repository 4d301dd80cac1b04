//! In the place of `serve.rs` in a build without it.

use super::Failure;
use super::serve_args::ServeArgs;

pub(super) fn run(_: &ServeArgs) -> Result<u8, Failure> {
    Err(Failure::Usage(vec!["serve: this program was built without the feature `web`".into()]))
}
