//! What a message with a raw snapshot says of itself. A snapshot is several files, and a file is cut into parts that
//! are small enough for any broker.
//!
//! The payload is the bytes of the part; the rest stands in the message's headers, as text:
//!
//! | header | |
//! |---|---|
//! | `format` | `1` |
//! | `host` | the machine that pulled |
//! | `cluster` | its cluster; left out where there is none |
//! | `time` | epoch seconds of the pull |
//! | `number` | tells several pulls of one second apart, from 0 |
//! | `files` | how many files the snapshot has |
//! | `file` | the name of this one, such as `haproxy.sock_stat` |
//! | `parts` | how many parts this file has; an empty file has one, which is empty |
//! | `part` | which of them this is, from 1 |
//! | `crc32` | of the payload, in eight hexadecimal digits (as in IEEE 802.3, zlib and gzip) |
//!
//! The message's key is the cluster, or the host where there is none: what is to be added up is in one partition.

use thiserror::Error;

/// Bytes of a part: half of what brokers take by default (`message.max.bytes`, 1 MB), for those that were told to take
/// less.
pub const PART: usize = 512 * 1024;

/// What this program writes, and all that it reads.
const FORMAT: &str = "1";

/// Files of a snapshot: two for each process of an HAProxy, of which there can be 64, on a machine with ten of them.
const MAX_FILES: u32 = 2048;

/// Parts of a file: a dump of 64 MiB in parts of 64 KiB.
const MAX_PARTS: u32 = 1024;

/// Bytes of a host's or a cluster's name, and of a file's: `HOST@FILE` has to be a file's name, too.
const MAX_NAME: usize = 100;
const MAX_FILE: usize = 150;

/// Which snapshot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    /// The machine that pulled.
    pub host: String,
    /// Epoch seconds of the pull.
    pub time: u64,
    /// Tells several pulls of one second apart.
    pub number: u32,
}

/// A part of a file of a snapshot, without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Which snapshot.
    pub id: Id,
    /// Its cluster.
    pub cluster: Option<String>,
    /// Files of the snapshot.
    pub files: u32,
    /// Name of this file.
    pub file: String,
    /// Which part, from 1.
    pub part: u32,
    /// Parts of this file.
    pub parts: u32,
}

/// Why a message is none of ours, or not as it was sent.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Damage {
    /// It is not there, or no text.
    #[error("header `{0}` is missing")]
    Missing(&'static str),
    /// It makes no sense.
    #[error("header `{name}` is `{}`", value.escape_debug())]
    Header {
        /// Which.
        name: &'static str,
        /// What it says, the beginning.
        value: String,
    },
    /// The bytes are not those that were sent.
    #[error("the payload does not have the checksum that header `crc32` tells")]
    Checksum,
    /// It says something else than the parts before it.
    #[error("it does not agree with other parts of the snapshot on `{0}`")]
    Contradiction(&'static str),
}

impl Part {
    /// Names and values, for a part with these bytes.
    #[must_use]
    pub fn headers(&self, payload: &[u8]) -> Vec<(&'static str, String)> {
        let mut headers = vec![
            ("format", FORMAT.to_owned()),
            ("host", self.id.host.clone()),
            ("time", self.id.time.to_string()),
            ("number", self.id.number.to_string()),
            ("files", self.files.to_string()),
            ("file", self.file.clone()),
            ("parts", self.parts.to_string()),
            ("part", self.part.to_string()),
            ("crc32", format!("{:08x}", crc32(payload))),
        ];
        headers.extend(self.cluster.clone().map(|cluster| ("cluster", cluster)));
        headers
    }

    /// The key of the message.
    #[must_use]
    pub fn key(&self) -> &str {
        self.cluster.as_deref().unwrap_or(&self.id.host)
    }

    /// Reads headers, and holds the payload to them.
    pub fn read(headers: &[(&str, &[u8])], payload: &[u8]) -> Result<Self, Damage> {
        let headers = Headers(headers);
        headers.checked("format", |text| (text == FORMAT).then_some(()))?;
        let part = Self {
            id: Id {
                host: headers.checked("host", name)?,
                time: headers.checked("time", |text| text.parse().ok())?,
                number: headers.checked("number", |text| text.parse().ok())?,
            },
            cluster: headers.get("cluster").map(|_| headers.checked("cluster", name)).transpose()?,
            files: headers.checked("files", |text| count(text, MAX_FILES))?,
            file: headers.checked("file", file)?,
            parts: headers.checked("parts", |text| count(text, MAX_PARTS))?,
            part: headers.checked("part", |text| count(text, MAX_PARTS))?,
        };
        if part.part > part.parts {
            return Err(Damage::Contradiction("parts"));
        }
        let checksum = headers.checked("crc32", |text| u32::from_str_radix(text, 16).ok())?;
        if checksum == crc32(payload) { Ok(part) } else { Err(Damage::Checksum) }
    }
}

struct Headers<'h>(&'h [(&'h str, &'h [u8])]);

impl Headers<'_> {
    fn get(&self, name: &str) -> Option<&[u8]> {
        self.0.iter().find(|(own, _)| *own == name).map(|(_, value)| *value)
    }

    fn checked<T>(&self, name: &'static str, read: impl FnOnce(&str) -> Option<T>) -> Result<T, Damage> {
        let value = self.get(name).and_then(|value| str::from_utf8(value).ok());
        let value = value.ok_or(Damage::Missing(name))?;
        read(value).ok_or_else(|| Damage::Header { name, value: value.chars().take(64).collect() })
    }
}

/// A host's name without what a message takes for no name.
#[must_use]
pub fn plain(host: &str) -> String {
    let begin = host.trim_start_matches('.').chars().take(MAX_NAME);
    let plain: String = begin.map(|c| if is_usual(c) { c } else { '_' }).collect();
    if plain.is_empty() { "unknown".to_owned() } else { plain }
}

fn is_usual(character: char) -> bool {
    character.is_ascii_alphanumeric() || ['.', '-', '_'].contains(&character)
}

/// A name that is safe as a file's.
fn name(text: &str) -> Option<String> {
    let fits = (1..=MAX_NAME).contains(&text.len()) && !text.starts_with('.');
    (fits && text.chars().all(is_usual)).then(|| text.to_owned())
}

fn file(text: &str) -> Option<String> {
    let bad = |c: char| c == '/' || c.is_control();
    let fits = text.len() <= MAX_FILE && !text.starts_with('.') && !text.contains(bad);
    let is_dump = ["_info", "_stat"].iter().any(|end| text.len() > end.len() && text.ends_with(end));
    (fits && is_dump).then(|| text.to_owned())
}

fn count(text: &str, most: u32) -> Option<u32> {
    text.parse().ok().filter(|count| (1..=most).contains(count))
}

/// The checksum of IEEE 802.3, bit by bit in a table of a byte's.
#[allow(clippy::indexing_slicing, reason = "it is a constant, and would not build")]
const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut at = 0;
    let mut byte: u32 = 0;
    while at < table.len() {
        let (mut sum, mut bit) = (byte, 0);
        while bit < 8 {
            sum = if sum & 1 == 1 { (sum >> 1) ^ 0xedb8_8320 } else { sum >> 1 };
            bit += 1;
        }
        table[at] = sum;
        at += 1;
        byte += 1;
    }
    table
};

fn crc32(bytes: &[u8]) -> u32 {
    let step = |sum: u32, byte: &u8| {
        let [low, ..] = sum.to_le_bytes();
        // The table has an entry for each byte.
        TABLE.get(usize::from(low ^ byte)).map_or(0, |entry| entry ^ (sum >> 8))
    };
    !bytes.iter().fold(u32::MAX, step)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn part() -> Part {
        Part {
            id: Id { host: "lb-01.example.com".into(), time: 1000, number: 2 },
            cluster: Some("edge".into()),
            files: 2,
            file: "a.sock_info".into(),
            part: 1,
            parts: 3,
        }
    }

    fn read(headers: &[(&'static str, String)], payload: &[u8]) -> Result<Part, Damage> {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        Part::read(&headers, payload)
    }

    #[test]
    fn the_checksum_is_everybodys() {
        assert_eq!((crc32(b""), crc32(b"123456789")), (0, 0xcbf4_3926));
    }

    #[test]
    fn what_is_written_is_read() {
        let mut part = part();
        assert_eq!(read(&part.headers(b"x"), b"x"), Ok(part.clone()));
        assert_eq!(part.key(), "edge");
        part.cluster = None;
        assert_eq!(read(&part.headers(b""), b""), Ok(part.clone()));
        assert_eq!(part.key(), "lb-01.example.com");
    }

    #[test]
    fn any_host_has_a_name() {
        for (host, name) in [("lb-1.x", "lb-1.x"), ("..a b/ü", "a_b__"), ("", "unknown"), ("...", "unknown")]
        {
            assert_eq!((plain(host).as_str(), super::name(&plain(host)).is_some()), (name, true));
        }
    }

    #[test]
    fn what_is_damaged_says_where() {
        for (name, value) in [
            ("format", "2"),
            ("host", "a/b"),
            ("host", ".."),
            ("cluster", ""),
            ("time", "-1"),
            ("number", "99999999999"),
            ("files", "0"),
            ("files", "2049"),
            ("file", "../a_info"),
            ("file", "_info"),
            ("file", ".a_info"),
            ("file", "a"),
            ("parts", "1025"),
            ("part", "0"),
            ("crc32", "x"),
        ] {
            let mut headers = part().headers(b"x");
            headers.retain(|(own, _)| *own != name);
            if name != "cluster" {
                assert_eq!(read(&headers, b"x"), Err(Damage::Missing(name)));
            }
            headers.push((name, value.to_owned()));
            assert_eq!(read(&headers, b"x"), Err(Damage::Header { name, value: value.into() }));
        }
        assert_eq!(read(&part().headers(b"x"), b"y"), Err(Damage::Checksum));
        let beyond = Part { part: 4, ..part() };
        assert_eq!(read(&beyond.headers(b"x"), b"x"), Err(Damage::Contradiction("parts")));
    }

    proptest! {
        #[test]
        fn no_headers_panic_and_what_is_taken_is_safe(
            headers in prop::collection::vec(
                ("(format|host|cluster|time|number|files?|parts?|crc32)", "[0-9a-z./_\\n]{0,12}|1|a_info"), 0..14),
            payload in any::<Vec<u8>>(),
        ) {
            let headers: Vec<_> =
                headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
            if let Ok(part) = Part::read(&headers, &payload) {
                prop_assert!(!part.file.contains('/') && !part.id.host.contains('/'));
            }
        }
    }
}
