//! The rows of a `show stat`, cut into fields. Nearly all rows hold no quote: they are cut at their commas, 64
//! bytes at a time. The others go through the reader that knows quotes.

use memchr::memchr2;

use super::Fault;
use super::number::{self, Read};
use crate::haproxy::{Field, Fields};

/// Reads one row after the other.
pub(super) struct Rows<'a> {
    rest: &'a str,
    /// Where the fields of the row end; beyond them, anything.
    ends: Vec<usize>,
    /// How many fields are looked at; the others are only counted.
    wanted: usize,
    /// The row, when its quotes had to be taken off.
    unquoted: String,
    /// Number of the next row, the header being 0.
    number: usize,
}

/// Fields with one byte between them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row<'r> {
    text: &'r str,
    ends: &'r [usize],
    /// Number of fields. HAProxy writes a comma after the last one, too: an empty field at the end is not counted.
    pub(super) width: usize,
    /// Counted from 1 after the header.
    pub(super) number: usize,
}

impl<'r> Row<'r> {
    pub(super) fn bytes(&self, column: usize) -> &'r [u8] {
        let (start, end) = self.bounds(column);
        self.text.as_bytes().get(start..end).unwrap_or_default()
    }

    pub(super) fn text(&self, column: usize) -> &'r str {
        let (start, end) = self.bounds(column);
        self.text.get(start..end).unwrap_or_default()
    }

    /// A field that is a number, or empty and so 0.
    #[inline]
    pub(super) fn count(&self, column: usize) -> Option<Read> {
        let (start, end) = self.bounds(column);
        let short = self.text.as_bytes().get(..end).and_then(<[u8]>::last_chunk);
        if let (Some(bytes), Some(len @ ..=8)) = (short, end.checked_sub(start))
            && let Some(value) = number::read_short(*bytes, len)
        {
            return Some(Read::Integer(value));
        }
        number::read(self.bytes(column))
    }

    #[inline]
    fn bounds(&self, column: usize) -> (usize, usize) {
        let start = match column {
            0 => 0,
            _ => self.ends.get(column - 1).map_or(usize::MAX, |end| end + 1),
        };
        (start, self.ends.get(column).copied().unwrap_or_default())
    }
}

impl<'a> Rows<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { rest: text, ends: Vec::new(), wanted: usize::MAX, unquoted: String::new(), number: 0 }
    }

    /// From the next row on, only so many fields are looked at.
    pub(super) fn want(&mut self, fields: usize) {
        self.wanted = fields;
    }

    /// The next row; `None` after the empty line that ends the dump.
    pub(super) fn next(&mut self) -> Result<Option<Row<'_>>, Fault> {
        let number = self.number;
        self.number += 1;
        let text = self.rest;
        let found = memchr2(b'\n', b'"', text.as_bytes());
        let Some((at, line, rest)) = found.and_then(|at| Some((at, text.get(..at)?, text.get(at + 1..)?)))
        else {
            return Err(if text.is_empty() { Fault::Unfinished } else { Fault::Cut { row: number } });
        };
        if text.as_bytes().get(at) == Some(&b'"') {
            return self.quoted(number).map(Some);
        }
        self.rest = rest;
        if line.is_empty() {
            let is_end = rest.bytes().all(|byte| byte == b'\n');
            return if is_end { Ok(None) } else { Err(Fault::Beyond { row: number }) };
        }
        let last = cut(line.as_bytes(), self.wanted, &mut self.ends);
        let width = if line.ends_with(',') { last } else { last + 1 };
        let ends = self.ends.get(..=last).unwrap_or(&self.ends);
        Ok(Some(Row { text: line, ends, width, number }))
    }

    fn quoted(&mut self, number: usize) -> Result<Row<'_>, Fault> {
        let (mut fields, mut record) = (Fields::new(self.rest), Vec::new());
        fields.record(usize::MAX, &mut record);
        if fields.is_cut() {
            return Err(Fault::Cut { row: number });
        }
        self.rest = fields.rest();
        let width = record.len() - usize::from(record.last().is_some_and(Field::is_empty));
        self.ends.clear();
        self.unquoted.clear();
        for field in record {
            self.unquoted.push_str(&field.text());
            self.ends.push(self.unquoted.len());
            self.unquoted.push(',');
        }
        Ok(Row { text: &self.unquoted, ends: &self.ends, width, number })
    }
}

/// As many bytes as a mask has bits.
const BLOCK: usize = 64;

/// Finds where the first fields of a line without quotes end, and gives the number of the last field.
fn cut(line: &[u8], wanted: usize, ends: &mut Vec<usize>) -> usize {
    let (blocks, rest) = line.as_chunks::<BLOCK>();
    let mut last_block = [0; BLOCK];
    for (to, from) in last_block.iter_mut().zip(rest) {
        *to = *from;
    }
    let (mut fields, mut at) = (0, 0);
    for block in blocks.iter().chain([&last_block]) {
        let commas = commas(block);
        if fields < wanted {
            place(commas, at, fields, ends);
        }
        fields += commas.count_ones() as usize;
        at += BLOCK;
    }
    if let Some(end) = ends.get_mut(fields) {
        *end = line.len();
    }
    fields
}

const ONES: u64 = 0x0101_0101_0101_0101;
const LOWS: u64 = 0x7f * ONES;

/// A bit for each byte that is a comma.
#[inline]
fn commas(block: &[u8; BLOCK]) -> u64 {
    let (words, _) = block.as_chunks::<8>();
    words.iter().rev().fold(0, |mask, word| {
        let other = u64::from_le_bytes(*word) ^ (u64::from(b',') * ONES);
        // The highest bit of each byte that is a comma; then these bits side by side.
        let found = !(((other & LOWS) + LOWS) | other | LOWS);
        (mask << 8) | ((found >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56)
    })
}

/// Writes the places of the bits to `ends`, and anything behind them. Always eight at a time: a loop that ends with
/// the last bit would end where no processor foresees it.
#[inline]
fn place(mut mask: u64, at: usize, first: usize, ends: &mut Vec<usize>) {
    // One more: the end of the line may come behind.
    if ends.len() <= first + BLOCK {
        ends.resize(first + 2 * BLOCK, 0);
    }
    let (groups, _) = ends.get_mut(first..).unwrap_or_default().as_chunks_mut::<8>();
    for group in groups {
        for end in group {
            // The highest bit is found either way; with it, there always is one to find.
            *end = at + (mask | 1 << 63).trailing_zeros() as usize;
            mask &= mask.wrapping_sub(1);
        }
        if mask == 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<Vec<Vec<String>>, Fault> {
        let (mut rows, mut found) = (Rows::new(text), Vec::new());
        while let Some(row) = rows.next()? {
            found.push((0..row.width).map(|column| row.text(column).to_owned()).collect());
        }
        Ok(found)
    }

    #[test]
    fn a_dump_ends_with_an_empty_line() {
        assert_eq!(read("a,b,\n\n").unwrap(), [["a", "b"]]);
        assert_eq!(read("a,b\n\n\n").unwrap(), [["a", "b"]]);
        assert_eq!(read("a,b,\n"), Err(Fault::Unfinished));
        assert_eq!(read("a,b,\nc,"), Err(Fault::Cut { row: 1 }));
        assert_eq!(read("a,b,\nc,\"d"), Err(Fault::Cut { row: 1 }));
        assert_eq!(read("a,b,\n\nc,d,\n\n"), Err(Fault::Beyond { row: 1 }));
        assert_eq!(read(""), Err(Fault::Unfinished));
    }

    #[test]
    fn quotes_are_taken_off() {
        assert_eq!(
            read("a,\"b\n\n,\"\"c\"\"\",d\ne,f,\n\n").unwrap(),
            [vec!["a", "b\n\n,\"c\"", "d"], vec!["e", "f"]]
        );
    }

    proptest! {
        /// The `csv` crate is the oracle of what the fields are.
        #[test]
        fn rows_are_cut_as_csv_says(records in prop::collection::vec(
            prop::collection::vec("[a\",\n é0-9]{0,12}", 3), 1..5))
        {
            let mut writer = csv::WriterBuilder::new().from_writer(Vec::new());
            for record in &records {
                // A last field that is empty is one that is not there.
                writer.write_record(record.iter().map(String::as_str).chain(["end"])).unwrap();
            }
            let text = String::from_utf8(writer.into_inner().unwrap()).unwrap() + "\n";
            let found = read(&text).unwrap();
            let expected: Vec<Vec<String>> =
                records.into_iter().map(|mut record| { record.push("end".into()); record }).collect();
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "[a,\"\né]{0,60}") {
            let _ = read(&text);
        }
    }
}
