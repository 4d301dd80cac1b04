//! What may be typed behind `history`.

use std::path::PathBuf;

use clap::ValueHint;

/// All kinds of entries; the same in a build that cannot read them.
pub(in crate::cli) const KINDS: [&str; 7] =
    ["server", "haproxy", "circuit", "recovery", "program", "action", "message"];

#[derive(Clone, Debug, clap::Args)]
// Its doc comments are help texts.
#[allow(clippy::doc_markdown, rustdoc::broken_intra_doc_links)]
pub(in crate::cli) struct TimelineArgs {
    /// The file that `serve` writes; by default the one that it writes by default
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(in crate::cli) file: Option<PathBuf>,

    /// The last ones, so many at most
    #[arg(long, value_name = "COUNT", default_value = "100", value_parser = clap::value_parser!(u32).range(1..))]
    pub(in crate::cli) limit: u32,

    /// Only those since then: a time as in 2026-11-21T17:00:00Z or 2026-11-21 (UTC), or so long ago, as in 90s, 30m, 12h
    /// or 7d
    #[arg(long, value_name = "TIME")]
    pub(in crate::cli) since: Option<String>,

    /// Only those of this kind
    #[arg(long, value_name = "KIND", value_parser = KINDS)]
    pub(in crate::cli) kind: Option<String>,

    /// Only those about this server, as in app/web1, program, or haproxy; * stands for any text
    #[arg(long, value_name = "SUBJECT")]
    pub(in crate::cli) subject: Option<String>,

    /// Go on with what comes, until Ctrl-C
    #[arg(short, long)]
    pub(in crate::cli) follow: bool,

    /// Print JSON: one object a line
    #[arg(long)]
    pub(in crate::cli) json: bool,
}
