//! `show stat` as rows with named columns.

use std::borrow::Cow;

use crate::haproxy::{DumpError, Field, Fields};

/// The rows of a `show stat`, one after the other. Versions add columns in the middle and at the end, so each is
/// found by its name.
pub struct Rows<'a> {
    fields: Fields<'a>,
    names: Vec<Cow<'a, str>>,
    record: Vec<Field<'a>>,
    number: usize,
}

impl<'a> Rows<'a> {
    /// Reads the header row.
    pub fn read(stat: &'a str) -> Result<Self, DumpError> {
        let mut fields = Fields::new(stat);
        let mut record = Vec::new();
        fields.record(usize::MAX, &mut record);
        let names: Vec<Cow<'_, str>> = record.iter().map(Field::text).collect();
        if names.first().is_none_or(|name| name != "# pxname") {
            return Err(DumpError::Header("# pxname,"));
        }
        if names.get(1).is_none_or(|name| name != "svname") {
            return Err(DumpError::Column("svname"));
        }
        Ok(Self { fields, names, record, number: 0 })
    }

    /// Where a column stands, if this HAProxy has it.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|column| column == name)
    }

    /// Goes on to the next row; `false` at the end.
    pub fn advance(&mut self) -> Result<bool, DumpError> {
        while self.fields.record(usize::MAX, &mut self.record) {
            if self.record.iter().all(Field::is_empty) {
                continue;
            }
            self.number += 1;
            if self.fields.is_cut() {
                return Err(self.damaged("it is cut off".into()));
            }
            // The last column has no name: each line ends with a comma.
            let named = self.names.iter().rposition(|name| !name.is_empty()).map_or(0, |last| last + 1);
            if self.record.len() < named {
                return Err(self.damaged(format!("{} of {named} fields", self.record.len())));
            }
            return Ok(true);
        }
        Ok(false)
    }

    /// The text in a column of this row; empty where there is none.
    #[must_use]
    pub fn get(&self, column: Option<usize>) -> Cow<'a, str> {
        column.and_then(|column| self.record.get(column)).map(Field::text).unwrap_or_default()
    }

    /// Name of the proxy, and of the server (or `FRONTEND`, `BACKEND`).
    #[must_use]
    pub fn names(&self) -> (Cow<'a, str>, Cow<'a, str>) {
        (self.get(Some(0)), self.get(Some(1)))
    }

    fn damaged(&self, what: String) -> DumpError {
        DumpError::Row { row: self.number, what }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(text: &str) -> Result<Vec<String>, String> {
        let mut rows = Rows::read(text).map_err(|error| error.to_string())?;
        let mut names = Vec::new();
        while rows.advance().map_err(|error| error.to_string())? {
            names.push(format!("{}={}", rows.names().1, rows.get(rows.column("scur"))));
        }
        Ok(names)
    }

    #[test]
    fn columns_are_found_by_name() {
        assert_eq!(servers("# pxname,svname,scur,\na,b,1,\n\n"), Ok(vec!["b=1".into()]));
        assert_eq!(servers("# pxname,svname,x,scur,\na,\"b,c\",,2,\n"), Ok(vec!["b,c=2".into()]));
        assert_eq!(servers("# pxname,svname,\na,b,\n"), Ok(vec!["b=".into()]), "a column may be missing");
    }

    #[test]
    fn damage_is_named() {
        let error = |text| servers(text).unwrap_err();
        assert_eq!(error(""), "no header row that begins with `# pxname,`");
        assert_eq!(error("<html>"), "no header row that begins with `# pxname,`");
        assert_eq!(error("# pxname,x,\n"), "column `svname` is missing in the header row");
        assert_eq!(error("# pxname,svname,scur,\na,b,1,\na,c\n"), "row 2: 2 of 3 fields");
        assert_eq!(error("# pxname,svname,scur,\na,b,1"), "row 1: it is cut off");
    }
}
