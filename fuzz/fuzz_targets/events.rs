//! Any bytes on stdin: the same events come out however they are cut.
#![no_main]

use libfuzzer_sys::fuzz_target;
use supervisor_haproxy::supervisor::{Decoder, Event, ProtocolError};

fn decode<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Event>, Option<ProtocolError>) {
    let mut decoder = Decoder::default();
    let mut events = Vec::new();
    for piece in pieces {
        decoder.feed(piece);
        loop {
            match decoder.next_event() {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(error) => return (events, Some(error)),
            }
        }
    }
    (events, None)
}

fuzz_target!(|bytes: &[u8]| {
    let (whole, first) = decode(std::iter::once(bytes));
    let (pieces, second) = decode(bytes.chunks(3));
    assert_eq!(whole, pieces);
    assert_eq!(first.is_some(), second.is_some());
});
