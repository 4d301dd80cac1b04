//! The listener's side of the event protocol, bytes in and events out (supervisord's manual, "Event Listeners
//! and Event Notifications"; what it does beyond the manual is in `docs/peers.md`).

use thiserror::Error;

use super::{Event, Header, Topic, event};

/// Says that the next event may come.
pub const READY: &[u8] = b"READY\n";

/// Accepts an event. Not a byte may follow but [`READY`]: a line end here makes supervisord give the listener
/// up for good.
pub const RESULT_OK: &[u8] = b"RESULT 2\nOK";

/// The longest header line; real ones have some 150 bytes.
pub const MAX_HEADER: usize = 64 * 1024;

/// The longest payload that is believed. XML-RPC lets operators send megabytes of `REMOTE_COMMUNICATION`;
/// beyond this, `len` is damaged.
pub const MAX_PAYLOAD: usize = 256 * 1024 * 1024;

/// The stream from supervisord cannot be read on: where the next event begins is unknown.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ProtocolError {
    /// A header without a token that it must have.
    #[error("header `{key}` missing in `{line}`")]
    Missing {
        /// The token's name.
        key: &'static str,
        /// The header line, shortened.
        line: String,
    },
    /// A token that should be a number.
    #[error("`{key}:{text}` is not a number from 0 on")]
    Number {
        /// The token's name.
        key: &'static str,
        /// What stood there, shortened.
        text: String,
    },
    /// An absurd length.
    #[error("`len:{0}` is more than the {MAX_PAYLOAD} characters that any event has")]
    Length(usize),
    /// A header that does not end.
    #[error("no line end within {MAX_HEADER} bytes; this is no event header: `{0}`")]
    Endless(String),
    /// A header that is no text.
    #[error("the header is not UTF-8: `{0}`")]
    HeaderEncoding(String),
    /// A payload of another form.
    #[error("expected `{expected}`, found `{found}`")]
    Payload {
        /// The form.
        expected: &'static str,
        /// What stood there, shortened.
        found: String,
    },
    /// A payload that is no text.
    #[error("the payload of {0} is not UTF-8")]
    PayloadEncoding(String),
    /// The end of the stream within an event.
    #[error("the stream ended within an event, after {0} bytes of it")]
    Truncated(usize),
}

impl ProtocolError {
    pub(super) fn missing(key: &'static str, line: &str) -> Self {
        Self::Missing { key, line: excerpt(line) }
    }

    pub(super) fn number(key: &'static str, text: &str) -> Self {
        Self::Number { key, text: excerpt(text) }
    }

    pub(super) fn payload(expected: &'static str, found: &str) -> Self {
        Self::Payload { expected, found: excerpt(found) }
    }
}

/// Cuts the stream into events. Memory is bounded: payloads of no interest are counted and dropped.
#[derive(Debug, Default)]
pub struct Decoder {
    /// Bytes not yet understood.
    buffer: Vec<u8>,
    /// The event whose payload is being read.
    reading: Option<Reading>,
}

#[derive(Debug)]
struct Reading {
    header: Header,
    /// Code points still to begin.
    missing: usize,
    /// Bytes that the last code point still lacks.
    owed: u8,
    kept: Vec<u8>,
    /// Bytes of the payload read so far.
    read: usize,
}

impl Decoder {
    /// Takes what was read from stdin.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole event; `None` until more bytes come. After an error the stream is lost.
    pub fn next_event(&mut self) -> Result<Option<Event>, ProtocolError> {
        if self.reading.is_none() {
            self.reading = self.header()?.map(Reading::new);
        }
        let Some(reading) = &mut self.reading else { return Ok(None) };
        let taken = reading.take(&self.buffer);
        self.buffer.drain(..taken);
        if reading.is_whole() { self.reading.take().map(Reading::finish).transpose() } else { Ok(None) }
    }

    /// At the end of the stream: an error if it ended within an event.
    pub fn finish(&self) -> Result<(), ProtocolError> {
        match (self.buffer.len(), &self.reading) {
            (0, None) => Ok(()),
            (bytes, reading) => {
                Err(ProtocolError::Truncated(bytes + reading.as_ref().map_or(0, |reading| reading.read)))
            }
        }
    }

    fn header(&mut self) -> Result<Option<Header>, ProtocolError> {
        let end = memchr::memchr(b'\n', &self.buffer);
        if end.unwrap_or(self.buffer.len()) > MAX_HEADER {
            return Err(ProtocolError::Endless(lossy_excerpt(&self.buffer)));
        }
        let Some(end) = end else { return Ok(None) };
        let line: Vec<u8> = self.buffer.drain(..=end).take(end).collect();
        let text = str::from_utf8(&line).map_err(|_| ProtocolError::HeaderEncoding(lossy_excerpt(&line)))?;
        let header = Header::parse(text)?;
        if header.length > MAX_PAYLOAD { Err(ProtocolError::Length(header.length)) } else { Ok(Some(header)) }
    }
}

impl Reading {
    fn new(header: Header) -> Self {
        Self { missing: header.length, header, owed: 0, kept: Vec::new(), read: 0 }
    }

    fn is_whole(&self) -> bool {
        self.missing == 0 && self.owed == 0
    }

    /// Takes bytes up to the end of the payload; gives how many.
    fn take(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.iter().take_while(|byte| self.belongs(**byte)).count();
        let taken = bytes.get(..count).unwrap_or_default();
        self.read += count;
        let room = self.header.kept().saturating_sub(self.kept.len()).min(count);
        self.kept.extend_from_slice(taken.get(..room).unwrap_or_default());
        count
    }

    /// Whether the next byte is part of the payload. A byte that no UTF-8 has there counts as a character, as
    /// Python would decode it to one.
    fn belongs(&mut self, byte: u8) -> bool {
        let continues = byte & 0b1100_0000 == 0b1000_0000;
        if self.owed > 0 && continues {
            self.owed -= 1;
            return true;
        }
        self.owed = 0;
        if self.missing == 0 {
            return false;
        }
        self.missing -= 1;
        self.owed = match byte {
            0b1100_0000..=0b1101_1111 => 1,
            0b1110_0000..=0b1110_1111 => 2,
            0b1111_0000..=0b1111_0111 => 3,
            _ => 0,
        };
        true
    }

    fn finish(self) -> Result<Event, ProtocolError> {
        let Self { header, kept, read, .. } = self;
        if header.is_remote() {
            return Ok(Event { topic: event::remote(&kept, kept.len() == read), header });
        }
        let payload =
            String::from_utf8(kept).map_err(|_| ProtocolError::PayloadEncoding(header.event_name.clone()))?;
        Ok(Event { topic: Topic::parse(&header.event_name, &payload)?, header })
    }
}

fn excerpt(text: &str) -> String {
    const LONGEST: usize = 200;
    text.chars().take(LONGEST).flat_map(char::escape_debug).collect()
}

fn lossy_excerpt(bytes: &[u8]) -> String {
    const ENOUGH: usize = 800;
    excerpt(&String::from_utf8_lossy(bytes.get(..ENOUGH.min(bytes.len())).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::supervisor::{Pid, ProcessChange, ProcessName, ProcessState};

    /// An event as supervisord writes it.
    fn wire(name: &str, serial: u64, payload: &str) -> Vec<u8> {
        let length = payload.chars().count();
        format!(
            "ver:3.0 server:supervisor serial:{serial} pool:ha poolserial:{serial} eventname:{name} \
             len:{length}\n{payload}"
        )
        .into_bytes()
    }

    fn decode(bytes: &[u8]) -> Result<Vec<Event>, ProtocolError> {
        let mut decoder = Decoder::default();
        decoder.feed(bytes);
        let mut events = Vec::new();
        while let Some(event) = decoder.next_event()? {
            events.push(event);
        }
        decoder.finish().map(|()| events)
    }

    fn topic(name: &str, payload: &str) -> Topic {
        decode(&wire(name, 7, payload)).unwrap().remove(0).topic
    }

    fn change(group: &str, process: &str, state: ProcessState, pid: u32) -> Topic {
        let name = ProcessName { group: group.into(), process: process.into() };
        Topic::Process(ProcessChange { name, state, pid: Pid::new(pid) })
    }

    #[test]
    fn every_payload_of_supervisord_is_understood() {
        use ProcessState::{Backoff, Exited, Fatal, Running, Starting, Stopped, Stopping, Unknown};
        let table = [
            ("STARTING", "from_state:STOPPED tries:0", Starting, 0),
            ("RUNNING", "from_state:STARTING pid:1234", Running, 1234),
            ("BACKOFF", "from_state:STARTING tries:1", Backoff, 0),
            ("STOPPING", "from_state:RUNNING pid:1234", Stopping, 1234),
            ("EXITED", "from_state:RUNNING expected:0 pid:1234", Exited, 1234),
            ("STOPPED", "from_state:BACKOFF pid:0", Stopped, 0),
            ("FATAL", "from_state:BACKOFF", Fatal, 0),
            ("UNKNOWN", "from_state:STOPPING", Unknown, 0),
        ];
        for (event, rest, state, pid) in table {
            let payload = format!("processname:web_00 groupname:web {rest}");
            assert_eq!(
                topic(&format!("PROCESS_STATE_{event}"), &payload),
                change("web", "web_00", state, pid)
            );
        }
        assert_eq!(topic("PROCESS_GROUP_REMOVED", "groupname:web\n"), Topic::GroupRemoved("web".into()));
        assert_eq!(topic("SUPERVISOR_STATE_CHANGE_STOPPING", ""), Topic::SupervisorStopping);
        assert_eq!(topic("TICK_5", "when:1763690000"), Topic::Other);
        assert_eq!(topic("PROCESS_STATE_PAUSED", "what ever"), Topic::Other, "a later supervisord's");
    }

    fn remote(kind: &str, data: &str) -> Topic {
        Topic::Remote { kind: kind.into(), data: data.into() }
    }

    #[test]
    fn what_others_send_is_taken_as_it_is() {
        let told = |payload: &str| topic("REMOTE_COMMUNICATION", payload);
        assert_eq!(told("type:a b:c type:d\none\ntwo\n"), remote("a b:c type:d", "one\ntwo\n"));
        assert_eq!(told("type:\n"), remote("", ""));
        assert_eq!(told("type:x"), Topic::Other);
        assert_eq!(told(""), Topic::Other);
        let bytes = b"eventname:REMOTE_COMMUNICATION len:8\ntype:x\n\xff";
        assert_eq!(decode(bytes).unwrap().remove(0).topic, remote("x", "\u{fffd}"));
    }

    #[test]
    fn what_others_send_is_kept_up_to_its_cap() {
        let told =
            |length: usize| topic("REMOTE_COMMUNICATION", &format!("type:x\n{}", "\u{e9}".repeat(length)));
        let longest = (event::MAX_REMOTE - "type:x\n".len()) / 2;
        assert_eq!(told(longest), remote("x", &"\u{e9}".repeat(longest)));
        assert_eq!(told(longest + 1), Topic::RemoteCut { kind: "x".into() });
        let endless = "type:".to_owned() + &"x".repeat(event::MAX_REMOTE);
        assert_eq!(topic("REMOTE_COMMUNICATION", &endless), Topic::Other);
    }

    #[test]
    fn odd_names_are_read_as_meant() {
        let payload = "processname:sp_a b:c groupname:x groupname:gr\u{fc}\u{df}e from_state:STARTING pid:5";
        let expected = change("gr\u{fc}\u{df}e", "sp_a b:c groupname:x", ProcessState::Running, 5);
        assert_eq!(topic("PROCESS_STATE_RUNNING", payload), expected);
    }

    #[test]
    fn an_identifier_with_spaces_and_tokens_does_no_harm() {
        let line = b"ver:3.0 server:sup er:vis\xc3\xb6r len:9 serial:0 pool:ha poolserial:3 eventname:TICK_5 len:0\n";
        let header = decode(line).unwrap().remove(0).header;
        assert_eq!((header.length, header.serial, header.pool_serial), (0, Some(0), Some(3)));
    }

    #[test]
    fn len_counts_characters_and_a_log_that_looks_like_an_event_is_none() {
        let mut bytes = wire("PROCESS_LOG_STDOUT", 1, "\u{1f980} processname:a groupname:a from_state:X\n");
        bytes.extend(wire(
            "REMOTE_COMMUNICATION",
            2,
            "type:x\nver:3.0 eventname:PROCESS_STATE_FATAL len:0\n",
        ));
        bytes.extend(wire(
            "PROCESS_STATE_FATAL",
            3,
            "processname:caf\u{e9} groupname:caf\u{e9} from_state:BACKOFF",
        ));
        let topics: Vec<Topic> = decode(&bytes).unwrap().into_iter().map(|event| event.topic).collect();
        let fatal = change("caf\u{e9}", "caf\u{e9}", ProcessState::Fatal, 0);
        let told = remote("x", "ver:3.0 eventname:PROCESS_STATE_FATAL len:0\n");
        assert_eq!(topics, [Topic::Other, told, fatal]);
    }

    #[test]
    fn damage_is_named() {
        let error = |bytes: &[u8]| decode(bytes).unwrap_err().to_string();
        assert_eq!(
            error(b"ver:3.0 server:supervisor serial:21\n"),
            "header `len` missing in `ver:3.0 server:supervisor serial:21`"
        );
        assert_eq!(error(b"eventname:A len:-1\n"), "`len:-1` is not a number from 0 on");
        assert_eq!(error(b"eventname:A len:1 serial:x\n"), "`serial:x` is not a number from 0 on");
        assert_eq!(
            error(b"eventname:A len:999999999999\n"),
            "`len:999999999999` is more than the 268435456 characters that any event has"
        );
        assert_eq!(error(b"len:0\n"), "header `eventname` missing in `len:0`");
        assert_eq!(error(b"\xff len:0\n"), "the header is not UTF-8: `\u{fffd} len:0`");
        assert!(error(&vec![b'x'; MAX_HEADER + 1]).starts_with("no line end within 65536 bytes"));
        assert_eq!(
            error(b"eventname:PROCESS_STATE_RUNNING len:5\nhello"),
            "expected `processname:\u{2026} groupname:\u{2026} from_state:\u{2026}`, found `hello`"
        );
        assert_eq!(
            error(b"eventname:PROCESS_STATE_RUNNING len:1\n\xff"),
            "the payload of PROCESS_STATE_RUNNING is not UTF-8"
        );
        assert_eq!(
            error(b"eventname:TICK_5 len:5\nab"),
            "the stream ended within an event, after 2 bytes of it"
        );
        assert_eq!(error(b"eventname:TI"), "the stream ended within an event, after 12 bytes of it");
    }

    #[test]
    fn a_huge_payload_of_no_interest_is_not_kept() {
        let mut decoder = Decoder::default();
        decoder.feed(format!("eventname:REMOTE_COMMUNICATION len:{}\n", 64 << 20).as_bytes());
        for _ in 0..64 {
            assert_eq!(decoder.next_event(), Ok(None));
            decoder.feed(&vec![b'x'; 1 << 20]);
            assert!(decoder.buffer.capacity() <= 4 << 20);
        }
        assert_eq!(decoder.next_event().unwrap().unwrap().topic, Topic::Other);
    }

    proptest! {
        #[test]
        fn events_are_the_same_however_they_are_cut(
            payloads in prop::collection::vec("\\PC{0,20}", 1..4), cut in 1_usize..40)
        {
            let both = |text: &String| [wire("PROCESS_LOG", 1, text), wire("REMOTE_COMMUNICATION", 2, text)];
            let bytes: Vec<u8> = payloads.iter().flat_map(both).flatten().collect();
            let mut decoder = Decoder::default();
            let mut count = 0;
            for piece in bytes.chunks(cut) {
                decoder.feed(piece);
                while decoder.next_event().unwrap().is_some() {
                    count += 1;
                }
            }
            prop_assert_eq!(count, 2 * payloads.len());
            prop_assert_eq!(decoder.finish(), Ok(()));
        }

        #[test]
        fn names_survive_the_round_trip(process in "[^\n]{1,30}", group in "[^ :/\n]{1,30}", pid in 1_u32..) {
            let payload = format!("processname:{process} groupname:{group} from_state:STARTING pid:{pid}");
            prop_assert_eq!(
                topic("PROCESS_STATE_RUNNING", &payload),
                change(&group, &process, ProcessState::Running, pid)
            );
        }

        #[test]
        fn words_of_others_survive_the_round_trip(kind in "[^\n]{0,20}", data in "(?s).{0,60}") {
            let payload = format!("type:{kind}\n{data}");
            prop_assert_eq!(topic("REMOTE_COMMUNICATION", &payload), remote(&kind, &data));
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = decode(&bytes);
            let _ = decode(&[b"eventname:PROCESS_STATE_RUNNING len:9\n", &bytes[..]].concat());
            let _ = decode(&[b"eventname:REMOTE_COMMUNICATION len:9\n", &bytes[..]].concat());
        }
    }
}
