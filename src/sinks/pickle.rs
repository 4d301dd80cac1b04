//! Graphite's pickle protocol: a list `[(path, (time, value)), …]` as Python pickles it, behind its length.
//!
//! Only what such a list needs is here, a dozen operations of pickle's protocol 2, which Python 2.3 and all later ones
//! read. Sources: "The Pickle Protocol" in Graphite's documentation for the frame, Python's `pickletools` for the
//! operations.

use super::Value;

/// What relays of carbon send at once (`MAX_DATAPOINTS_PER_MESSAGE`).
const MOST_DATAPOINTS: usize = 500;

/// After which a frame is ended; carbon breaks the connection at 1 MiB (`PICKLE_RECEIVER_MAX_LENGTH`).
const LONG: usize = 64 * 1024;

const PROTOCOL_2: &[u8] = b"\x80\x02";
const EMPTY_LIST: u8 = b']';
const MARK: u8 = b'(';
/// Puts all since the mark into the list.
const APPENDS: u8 = b'e';
const STOP: u8 = b'.';
/// A length of four bytes, the least first, and UTF-8.
const BINUNICODE: u8 = b'X';
/// Four bytes, the least first, with a sign.
const BININT: u8 = b'J';
/// A length of one byte, then so many bytes, the least first, with a sign.
const LONG1: u8 = 0x8a;
/// IEEE 754, the sign first.
const BINFLOAT: u8 = b'G';
/// Makes one of the last two.
const TUPLE2: u8 = 0x86;

/// Datapoints on their way into frames.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pickles {
    /// The operations of the frame that is not ended yet.
    items: Vec<u8>,
    count: usize,
}

impl Pickles {
    /// Takes a datapoint, and appends the frame to `out` that is full with it, if any.
    pub(super) fn add(&mut self, path: [&str; 3], time: u64, value: Value, out: &mut Vec<u8>) {
        push_text(&mut self.items, path);
        push_integer(&mut self.items, time.into());
        match value {
            Value::Integer(value) => push_integer(&mut self.items, value.into()),
            Value::Real(value) => {
                self.items.push(BINFLOAT);
                self.items.extend(value.to_be_bytes());
            }
        }
        self.items.extend([TUPLE2, TUPLE2]);
        self.count += 1;
        if self.count == MOST_DATAPOINTS || self.items.len() >= LONG {
            self.finish(out);
        }
    }

    /// Appends what waits, if anything does, as a frame.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        if self.count == 0 {
            return;
        }
        let around = PROTOCOL_2.len() + [EMPTY_LIST, MARK, APPENDS, STOP].len();
        out.extend(length(self.items.len() + around).to_be_bytes());
        out.extend_from_slice(PROTOCOL_2);
        out.extend([EMPTY_LIST, MARK]);
        out.append(&mut self.items);
        out.extend([APPENDS, STOP]);
        self.count = 0;
    }
}

fn push_text(out: &mut Vec<u8>, parts: [&str; 3]) {
    out.push(BINUNICODE);
    out.extend(length(parts.iter().map(|part| part.len()).sum()).to_le_bytes());
    for part in parts {
        out.extend_from_slice(part.as_bytes());
    }
}

/// Wide enough for all times and values.
fn push_integer(out: &mut Vec<u8>, value: i128) {
    if let Ok(value) = i32::try_from(value) {
        out.push(BININT);
        out.extend(value.to_le_bytes());
        return;
    }
    let bytes = value.to_le_bytes();
    // As many as it takes with one bit for the sign.
    let bits = 129 - value.unsigned_abs().leading_zeros();
    let used = usize::try_from(bits.div_ceil(8)).unwrap_or(bytes.len());
    out.extend([LONG1, u8::try_from(used).unwrap_or_default()]);
    out.extend(bytes.iter().take(used));
}

/// A frame is shorter than 64 KiB and one datapoint, and that is made of names of HAProxy.
fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use proptest::prelude::*;

    use super::*;

    type Point = (String, u64, Value);

    fn pickled(points: &[Point]) -> Vec<u8> {
        let (mut pickles, mut out) = (Pickles::default(), Vec::new());
        for (path, time, value) in points {
            pickles.add(["", path, ""], *time, *value, &mut out);
        }
        pickles.finish(&mut out);
        out
    }

    fn frames(mut bytes: &[u8]) -> Vec<&[u8]> {
        let mut frames = Vec::new();
        while let Some((length, rest)) = bytes.split_first_chunk() {
            let (frame, rest) = rest.split_at(u32::from_be_bytes(*length) as usize);
            frames.push(frame);
            bytes = rest;
        }
        frames
    }

    #[test]
    fn the_bytes_are_those_of_the_operations() {
        let points = [("a.b".to_owned(), 7, Value::Integer(-1)), ("c".to_owned(), 7, Value::Real(0.5))];
        let expected = b"\x80\x02](\
            X\x03\0\0\0a.bJ\x07\0\0\0J\xff\xff\xff\xff\x86\x86\
            X\x01\0\0\0cJ\x07\0\0\0G\x3f\xe0\0\0\0\0\0\0\x86\x86e.";
        assert_eq!(frames(&pickled(&points)), [expected]);
        assert!(pickled(&[]).is_empty());
    }

    #[test]
    fn a_path_may_come_in_parts() {
        let (mut pickles, mut out) = (Pickles::default(), Vec::new());
        pickles.add(["a.", "b", ";c=d"], 7, Value::Integer(1), &mut out);
        pickles.finish(&mut out);
        assert_eq!(out, pickled(&[("a.b;c=d".to_owned(), 7, Value::Integer(1))]));
    }

    #[test]
    fn integers_take_as_many_bytes_as_they_need() {
        for (value, expected) in [
            (0, &b"J\0\0\0\0"[..]),
            (i128::from(i32::MAX), b"J\xff\xff\xff\x7f"),
            (i128::from(i32::MIN), b"J\0\0\0\x80"),
            (1 << 31, b"\x8a\x05\0\0\0\x80\0"),
            (-(1 << 31) - 1, b"\x8a\x05\xff\xff\xff\x7f\xff"),
            ((1 << 39) - 1, b"\x8a\x05\xff\xff\xff\xff\x7f"),
            (i128::from(i64::MAX), b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f"),
            (i128::from(u64::MAX), b"\x8a\x09\xff\xff\xff\xff\xff\xff\xff\xff\0"),
        ] {
            let mut out = Vec::new();
            push_integer(&mut out, value);
            assert_eq!(out, expected, "{value}");
        }
    }

    #[test]
    fn a_frame_is_ended_by_its_count_or_its_length() {
        let short: Vec<Point> = (0..1001).map(|n| (format!("p{n}"), n, Value::Integer(1))).collect();
        let datapoints = |frame: &[u8]| frame.windows(2).filter(|pair| *pair == [TUPLE2, TUPLE2]).count();
        let bytes = pickled(&short);
        assert_eq!(frames(&bytes).into_iter().map(datapoints).collect::<Vec<_>>(), [500, 500, 1]);
        let long: Vec<Point> = (0..100).map(|n| ("x".repeat(2000), n, Value::Integer(1))).collect();
        let bytes = pickled(&long);
        let frames = frames(&bytes);
        assert!(frames.len() == 4 && frames.iter().all(|frame| frame.len() < LONG + 2100));
    }

    /// What Python reads: `repr` of each datapoint, a line each.
    fn read_by_python(bytes: &[u8]) -> Vec<String> {
        const READER: &str = "import pickle, struct, sys\n\
            file = sys.stdin.buffer\n\
            while head := file.read(4):\n\
            \x20   frame = file.read(struct.unpack('!L', head)[0])\n\
            \x20   for point in pickle.loads(frame): print(ascii(point))\n";
        let mut python = Command::new("python3")
            .args(["-c", READER])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is not installed");
        let mut stdin = python.stdin.take().unwrap();
        stdin.write_all(bytes).unwrap();
        drop(stdin);
        let output = python.wait_with_output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn python_reads_the_same_datapoints() {
        let integers = [0, 1, -1, 255, 65536, 1 << 31, -(1 << 31) - 1, 1 << 47, i64::MAX, i64::MIN];
        let integers = integers.map(|value| (value.to_string(), Value::Integer(value)));
        let reals = [("0.1", 0.1), ("-2.5", -2.5), ("2.7670116110564327e+19", 2.767_011_611_056_432_7e19)];
        let reals = reals.map(|(text, value)| (text.to_owned(), Value::Real(value)));
        let time = 1_457_298_067;
        let mut points: Vec<Point> = Vec::new();
        let mut expected = Vec::new();
        for (text, value) in integers.into_iter().chain(reals) {
            points.push(("lb.a;b=c".to_owned(), time, value));
            expected.push(format!("('lb.a;b=c', ({time}, {text}))"));
        }
        points.push(("é".to_owned(), u64::MAX, Value::Integer(1)));
        expected.push("('\\xe9', (18446744073709551615, 1))".to_owned());
        assert_eq!(read_by_python(&pickled(&points)), expected);
    }

    #[test]
    fn python_reads_all_frames() {
        let points: Vec<Point> = (0..1234).map(|n| (format!("p{n}"), n, Value::Real(0.5))).collect();
        let read = read_by_python(&pickled(&points));
        assert_eq!(read.len(), 1234);
        assert_eq!(read[1233], "('p1233', (1233, 0.5))");
    }

    proptest! {
        /// As `decode_long` in Python's `pickle.py` reads them.
        #[test]
        fn integers_read_back(value in any::<i64>(), shift in 0_u32..64) {
            let value = i128::from(value >> shift);
            let mut out = Vec::new();
            push_integer(&mut out, value);
            let bytes = if out[0] == BININT { &out[1..] } else { &out[2..] };
            prop_assert!(out[0] == BININT || usize::from(out[1]) == bytes.len());
            let sign = if bytes.last().unwrap() & 0x80 == 0 { 0 } else { 0xff };
            let mut wide = [sign; 16];
            wide[..bytes.len()].copy_from_slice(bytes);
            prop_assert_eq!(i128::from_le_bytes(wide), value);
        }
    }
}
