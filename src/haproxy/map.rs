//! Maps at runtime: words that may be written into one, and what `show map` shows.

use std::fmt;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::{Info, Refusal, ReplyError, dump};

/// A map, by the path of its file exactly as HAProxy's configuration has it: that is how HAProxy names it. It holds
/// nothing that could end the argument `map(…)` of a configuration or a command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapFile(String);

/// Why a path cannot be that of a map.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MapFileError {
    /// HAProxy would look for it elsewhere.
    #[error("`{}` is not absolute", .0.display())]
    Relative(PathBuf),
    /// It could be misread.
    #[error("`{}` holds something else than ASCII letters, digits and `/ _ . + -`, which HAProxy may misread", .0.display())]
    Character(PathBuf),
}

impl MapFile {
    /// Checks the path.
    pub fn new(path: &Path) -> Result<Self, MapFileError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '.' | '+' | '-');
        match path.to_str() {
            _ if !path.is_absolute() => Err(MapFileError::Relative(path.to_owned())),
            Some(text) if text.chars().all(allowed) => Ok(Self(text.to_owned())),
            _ => Err(MapFileError::Character(path.to_owned())),
        }
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        Path::new(&self.0)
    }
}

impl fmt::Display for MapFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a process has in a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapContents {
    /// Who answered.
    pub info: Info,
    /// Keys and values, in HAProxy's order.
    pub entries: Vec<(String, String)>,
}

impl MapContents {
    /// Reads the reply to [`super::Command::ShowMap`]. Where no part of the configuration uses the map, that is
    /// [`Refusal::Other`].
    pub fn parse(reply: &[u8]) -> Result<Self, ReplyError> {
        let text = dump(reply)?;
        let (info, map) = text.split_once("\n\n").ok_or(ReplyError::Truncated(reply.len()))?;
        let rows = map.lines().filter(|line| !line.is_empty());
        let entries = rows.map(|line| entry(line).ok_or_else(|| no_entry(line))).collect::<Result<_, _>>()?;
        Ok(Self { info: Info::parse(info), entries })
    }
}

/// `0x563820d7fe00 key value`, where the value goes on to the end.
fn entry(line: &str) -> Option<(String, String)> {
    let (_, rest) = line.strip_prefix("0x")?.split_once(' ')?;
    let (key, value) = rest.split_once(' ')?;
    Some((key.to_owned(), value.to_owned()))
}

fn no_entry(line: &str) -> ReplyError {
    ReplyError::Refused(Refusal::Other(line.chars().take(200).flat_map(char::escape_debug).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_and_the_process_are_read() {
        let contents = MapContents::parse(b"Pid: 7\nStopping: 1\n\n0xaf a.b x\n0xb0 c d e\n\n").unwrap();
        assert_eq!((contents.info.pid, contents.info.stopping), (Some(7), true));
        assert_eq!(contents.entries, [("a.b".into(), "x".into()), ("c".into(), "d e".into())]);
        assert_eq!(MapContents::parse(b"Pid: 7\n\n\n").unwrap().entries, []);
    }

    #[test]
    fn a_map_that_nobody_uses_and_half_a_reply_are_errors() {
        let unknown = b"Pid: 7\n\nUnknown map identifier. Please use #<id> or <file>.\n\n";
        let Err(ReplyError::Refused(Refusal::Other(text))) = MapContents::parse(unknown) else { panic!() };
        assert_eq!(text, "Unknown map identifier. Please use #<id> or <file>.");
        assert!(MapContents::parse(b"Pid: 7\n\n0xaf a.b x\n").is_err());
        assert!(MapContents::parse(b"").is_err());
    }

    #[test]
    fn a_path_that_could_be_misread_is_none() {
        assert!(MapFile::new(Path::new("/etc/haproxy/routes/hosts.map")).is_ok());
        assert!(matches!(MapFile::new(Path::new("hosts.map")), Err(MapFileError::Relative(_))));
        for text in ["/a b", "/a;b", "/a)b", "/a,b", "/a\nb", "/a\\b", "/a\"b", "/a'b", "/a#b", "/a$b", "/ä"]
        {
            assert!(matches!(MapFile::new(Path::new(text)), Err(MapFileError::Character(_))), "{text}");
        }
    }
}
