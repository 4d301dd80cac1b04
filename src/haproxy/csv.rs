//! HAProxy's CSV, cut into fields and records without copies. HAProxy quotes a field only when it must, doubles
//! quotes inside, and up to 2.9 lets line ends (even empty lines) stand inside quotes.

use memchr::{memchr, memchr2};

/// One field as it stands on the wire.
#[derive(Clone, Copy, Debug)]
pub struct Field<'a> {
    raw: &'a str,
    quoted: bool,
}

impl<'a> Field<'a> {
    /// Whether nothing stands there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    /// What it says, without quotes.
    #[must_use]
    pub fn text(&self) -> std::borrow::Cow<'a, str> {
        if self.quoted && self.raw.contains("\"\"") {
            self.raw.replace("\"\"", "\"").into()
        } else {
            self.raw.into()
        }
    }
}

/// Cuts a text into fields and records.
pub struct Fields<'a> {
    rest: &'a str,
    is_cut: bool,
}

impl<'a> Fields<'a> {
    /// Begins at the start of the text.
    #[must_use]
    pub fn new(rest: &'a str) -> Self {
        Self { rest, is_cut: false }
    }

    /// What has not been read yet.
    #[must_use]
    pub fn rest(&self) -> &'a str {
        self.rest
    }

    /// Whether the text ended within a record: each has a line end, and each quote a second one.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Puts the first fields of the next record into `record`, and passes over the others; `false` at the end.
    pub fn record(&mut self, needed: usize, record: &mut Vec<Field<'a>>) -> bool {
        record.clear();
        if self.rest.is_empty() {
            return false;
        }
        while record.len() < needed {
            let (field, end) = self.field();
            record.push(field);
            if end != Some(b',') {
                self.is_cut = end.is_none();
                return true;
            }
        }
        self.skip_record();
        true
    }

    /// Passes over the rest of a record, line ends within quotes included.
    fn skip_record(&mut self) {
        while let Some(at) = memchr2(b'\n', b'"', self.rest.as_bytes()) {
            let rest = self.rest.get(at + 1..).unwrap_or_default();
            if self.rest.as_bytes().get(at) == Some(&b'\n') {
                self.rest = rest;
                return;
            }
            self.rest = rest.get(closing_quote(rest) + 1..).unwrap_or_default();
        }
        (self.rest, self.is_cut) = ("", true);
    }

    /// The next field and the byte that ended it.
    fn field(&mut self) -> (Field<'a>, Option<u8>) {
        if let Some(inside) = self.rest.strip_prefix('"') {
            let close = closing_quote(inside);
            self.rest = inside.get(close + 1..).unwrap_or_default();
            let raw = inside.get(..close).unwrap_or_default();
            // Nothing stands between the quote and the field's end.
            return (Field { raw, quoted: true }, self.rest_of_field().1);
        }
        let (raw, end) = self.rest_of_field();
        (Field { raw, quoted: false }, end)
    }

    /// What stands before the end of the field, and the byte that is its end.
    fn rest_of_field(&mut self) -> (&'a str, Option<u8>) {
        // Fields are short: a search that prepares itself would take longer.
        let bytes = self.rest.as_bytes();
        let at = bytes.iter().position(|byte| matches!(byte, b',' | b'\n')).unwrap_or(bytes.len());
        let (text, end) = (self.rest.get(..at).unwrap_or_default(), self.rest.as_bytes().get(at).copied());
        self.rest = self.rest.get(at + 1..).unwrap_or_default();
        (text, end)
    }
}

/// Where the quote stands that is not one of a doubled pair; the end of the text where there is none.
fn closing_quote(inside: &str) -> usize {
    let bytes = inside.as_bytes();
    let mut at = 0;
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr(b'"', rest)) {
        at += found;
        if bytes.get(at + 1) != Some(&b'"') {
            return at;
        }
        at += 2;
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn as_csv(records: &[Vec<String>]) -> String {
        let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
        for record in records {
            writer.write_record(record).unwrap();
        }
        String::from_utf8(writer.into_inner().unwrap()).unwrap()
    }

    proptest! {
        /// The `csv` crate is the oracle of what the fields are.
        #[test]
        fn fields_are_cut_as_csv_says(records in prop::collection::vec(
            prop::collection::vec("[a\",\n é]{0,6}", 2..5), 1..5))
        {
            let text = as_csv(&records);
            let (mut fields, mut fields_of_one) = (Fields::new(&text), Vec::new());
            for record in &records {
                prop_assert!(fields.record(usize::MAX, &mut fields_of_one));
                let found: Vec<String> =
                    fields_of_one.iter().map(|field| field.text().into_owned()).collect();
                prop_assert_eq!(&found, record);
            }
            prop_assert!(!fields.record(usize::MAX, &mut fields_of_one));
        }

        #[test]
        fn a_record_that_is_read_in_part_ends_where_the_whole_one_does(
            records in prop::collection::vec(prop::collection::vec("[a\",\n ]{0,6}", 2..5), 2..5), needed in 1_usize..4)
        {
            let text = as_csv(&records);
            let (mut fields, mut first) = (Fields::new(&text), Vec::new());
            for record in &records {
                prop_assert!(fields.record(needed, &mut first));
                let found: Vec<String> = first.iter().map(|field| field.text().into_owned()).collect();
                prop_assert_eq!(&found[..], &record[..needed.min(record.len())]);
            }
            prop_assert_eq!((fields.rest, fields.is_cut), ("", false));
        }
    }
}
