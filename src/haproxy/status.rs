//! The `status` column of `show stat` for a server.

use std::fmt;

/// What a server's status says, without its counters and names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Takes traffic; also `UP 1/3`, which is on its way down.
    Up,
    /// Takes traffic and is not checked.
    NoCheck,
    /// Up, but takes no new sessions by its own wish (`http-check disable-on-404`).
    Nolb,
    /// Up, but takes no new sessions by an operator's wish.
    Drain,
    /// Takes no traffic; also `DOWN 1/2`, which is on its way up.
    Down,
    /// In maintenance by a command or the configuration.
    Maint,
    /// In maintenance because the server it tracks is.
    MaintVia,
    /// In maintenance because its name does not resolve.
    MaintResolution,
    /// A text that no version known here writes.
    Unknown,
}

/// A status with the text that HAProxy wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its meaning.
    pub kind: Kind,
    /// `UP 1/3`, `MAINT (via web/web1)`.
    pub text: Box<str>,
}

impl Kind {
    /// For machines: the words of HAProxy's own exporter, and those that it has none for.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Up => "UP",
            Self::NoCheck => "NO_CHECK",
            Self::Nolb => "NOLB",
            Self::Drain => "DRAIN",
            Self::Down => "DOWN",
            Self::Maint | Self::MaintVia | Self::MaintResolution => "MAINT",
            Self::Unknown => "UNKNOWN",
        }
    }

    /// Whether HAProxy sends new requests there.
    #[must_use]
    pub fn is_serving(self) -> bool {
        matches!(self, Self::Up | Self::NoCheck)
    }
}

impl From<&str> for Status {
    fn from(text: &str) -> Self {
        Self { kind: kind(text), text: text.into() }
    }
}

fn kind(text: &str) -> Kind {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    match word {
        "UP" => Kind::Up,
        "no" if rest == "check" => Kind::NoCheck,
        "NOLB" => Kind::Nolb,
        "DRAIN" => Kind::Drain,
        "DOWN" => Kind::Down,
        "MAINT" if rest.starts_with("(via ") => Kind::MaintVia,
        "MAINT" if rest == "(resolution)" => Kind::MaintResolution,
        "MAINT" => Kind::Maint,
        _ => Kind::Unknown,
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_that_haproxy_writes_has_its_meaning() {
        let table = [
            ("UP", Kind::Up),
            ("UP 1/3", Kind::Up),
            ("UP -1/3", Kind::Up),
            ("no check", Kind::NoCheck),
            ("NOLB", Kind::Nolb),
            ("NOLB 2/3", Kind::Nolb),
            ("DRAIN", Kind::Drain),
            ("DRAIN -1/3", Kind::Drain),
            ("DRAIN (agent)", Kind::Drain),
            ("DOWN", Kind::Down),
            ("DOWN 1/2", Kind::Down),
            ("DOWN (agent)", Kind::Down),
            ("MAINT", Kind::Maint),
            ("MAINT (via be/srv)", Kind::MaintVia),
            ("MAINT (resolution)", Kind::MaintResolution),
            ("", Kind::Unknown),
            ("up", Kind::Unknown),
            ("no", Kind::Unknown),
        ];
        for (text, kind) in table {
            assert_eq!(Status::from(text).kind, kind, "{text:?}");
        }
    }
}
