//! `show stat`: the rows of the servers.

use super::csv::{Field, Fields};
use super::{DumpError, ServerRef, Status};

/// What is needed of a server's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatRow {
    /// Which server.
    pub server: ServerRef,
    /// Its state.
    pub status: Status,
    /// `L4OK`, `L7STS`, …; empty without health checks.
    pub check_status: Box<str>,
    /// The last check's own words, of changing wording; empty without.
    pub last_check: Box<str>,
    /// Seconds since the last change between UP and DOWN.
    pub last_change: Option<u64>,
    /// Requests (in TCP mode, connections) that it is working on.
    pub sessions: u64,
    /// Requests that wait for it.
    pub queue: u64,
}

#[cfg(test)]
impl StatRow {
    /// A row for tests, of a server that is not checked and has nothing to do.
    pub(crate) fn example(server: ServerRef, status: &str) -> Self {
        Self {
            server,
            status: Status::from(status),
            check_status: "".into(),
            last_check: "".into(),
            last_change: None,
            sessions: 0,
            queue: 0,
        }
    }
}

/// HAProxy's type number of a server's row.
const SERVER: &str = "2";

/// 2.6 has 128, 3.4 some more.
const USUAL_COLUMNS: usize = 160;

/// Reads the rows of type server. Columns are found by their names in the header: versions add some in the
/// middle and at the end.
pub(super) fn parse(text: &str) -> Result<Vec<StatRow>, DumpError> {
    let mut fields = Fields::new(text);
    let mut record = Vec::with_capacity(USUAL_COLUMNS);
    fields.record(usize::MAX, &mut record);
    let columns = Columns::find(&record)?;
    let mut rows = Vec::new();
    let mut number = 0;
    while fields.record(columns.needed, &mut record) {
        if record.iter().all(Field::is_empty) {
            continue;
        }
        number += 1;
        if fields.is_cut() {
            return Err(DumpError::Row { row: number, what: "it is cut off".into() });
        }
        if columns.get(&record, columns.kind) == SERVER {
            rows.push(columns.row(&record).map_err(|what| DumpError::Row { row: number, what })?);
        }
    }
    Ok(rows)
}

struct Columns {
    proxy: usize,
    server: usize,
    status: usize,
    last_change: usize,
    kind: usize,
    check_status: usize,
    last_check: usize,
    sessions: usize,
    queue: usize,
    /// How many columns it takes to have all of these.
    needed: usize,
}

impl Columns {
    fn find(header: &[Field<'_>]) -> Result<Self, DumpError> {
        let find = |name: &'static str| {
            header.iter().position(|field| field.text() == name).ok_or(DumpError::Column(name))
        };
        let mut columns = Self {
            proxy: find("# pxname").map_err(|_| DumpError::Header("# pxname,"))?,
            server: find("svname")?,
            status: find("status")?,
            last_change: find("lastchg")?,
            kind: find("type")?,
            check_status: find("check_status")?,
            last_check: find("last_chk")?,
            sessions: find("scur")?,
            queue: find("qcur")?,
            needed: 0,
        };
        let Self {
            proxy, server, status, last_change, kind, check_status, last_check, sessions, queue, ..
        } = columns;
        let last = [proxy, server, status, last_change, kind, check_status, last_check, sessions, queue]
            .into_iter()
            .max();
        columns.needed = last.map_or(0, |last| last + 1);
        Ok(columns)
    }

    fn get<'a>(&self, record: &[Field<'a>], column: usize) -> std::borrow::Cow<'a, str> {
        debug_assert!(column < self.needed);
        record.get(column).map(Field::text).unwrap_or_default()
    }

    fn row(&self, record: &[Field<'_>]) -> Result<StatRow, String> {
        if record.len() < self.needed {
            return Err(format!("{} of the first {} fields", record.len(), self.needed));
        }
        let get = |column| self.get(record, column);
        let server =
            ServerRef::new(&get(self.proxy), &get(self.server)).map_err(|error| error.to_string())?;
        Ok(StatRow {
            server,
            status: Status::from(get(self.status).as_ref()),
            check_status: without_mark(&get(self.check_status)).into(),
            last_check: get(self.last_check).into(),
            last_change: get(self.last_change).parse().ok(),
            sessions: count("scur", &get(self.sessions))?,
            queue: count("qcur", &get(self.queue))?,
        })
    }
}

/// An empty field counts nothing; anything else that is no number must not be taken for `no sessions`.
fn count(column: &str, text: &str) -> Result<u64, String> {
    if text.is_empty() {
        return Ok(0);
    }
    text.parse().map_err(|_| format!("{column} is `{}`", text.escape_debug()))
}

/// A check that is under way stands as `* ` before the last result.
fn without_mark(check: &str) -> &str {
    check.strip_prefix("* ").unwrap_or(check)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEADER: &str = "# pxname,svname,qcur,scur,status,lastchg,type,check_status,-,last_chk,extra,\n";

    fn rows(text: &str) -> Result<Vec<StatRow>, String> {
        parse(&format!("{HEADER}{text}\n")).map_err(|error| error.to_string())
    }

    #[test]
    fn servers_are_read_by_column_name_and_other_rows_passed_over() {
        let text = "fe,FRONTEND,,1,OPEN,,0,,,,,\nbe,s1,2,3,UP 1/3,17,2,* L4OK,,,,\nbe,BACKEND,0,0,UP,17,1,,,,,\n\
                    be,BACKEND,,,MAINT,,2,,,,,\n";
        let rows = rows(text).unwrap();
        assert_eq!(rows.len(), 2, "a server may be named BACKEND: its type tells");
        assert_eq!(rows[0].server.to_string(), "be/s1");
        assert_eq!((&*rows[0].status.text, &*rows[0].check_status), ("UP 1/3", "L4OK"));
        assert_eq!(rows[0].last_change, Some(17));
        assert_eq!((rows[0].queue, rows[0].sessions), (2, 3));
        assert_eq!((rows[1].queue, rows[1].sessions), (0, 0));
        assert_eq!(rows[1].last_change, None);
    }

    #[test]
    fn quoted_fields_hold_commas_quotes_and_empty_lines() {
        let rows =
            rows("be,s,0,0,DOWN,1,2,L7RSP,,\"one, \"\"two\"\"\n\nthree\",,\nbe,t,0,0,UP,1,2,,,,,\n").unwrap();
        assert_eq!(&*rows[0].last_check, "one, \"two\"\n\nthree");
        assert_eq!(rows[1].server.server(), "t");
    }

    #[test]
    fn damaged_rows_are_named_and_longer_ones_taken() {
        assert_eq!(rows("be,s,0,0,UP,1,2\n").unwrap_err(), "row 1: 7 of the first 10 fields");
        assert_eq!(rows("be,s,0,0,DOWN,1,2,L4CON,,\"cut off\n").unwrap_err(), "row 1: it is cut off");
        assert_eq!(rows("be,s,0,0,DOWN,1,2,L4CON,,,\"cut off\n").unwrap_err(), "row 1: it is cut off");
        assert_eq!(
            parse(&format!("{HEADER}be,s,0,0,UP,1,2,,,,")).unwrap_err().to_string(),
            "row 1: it is cut off"
        );
        assert!(rows("be,s t,0,0,UP,1,2,,,,,\n").unwrap_err().contains("holds ' '"));
        assert_eq!(rows("be,s,0,0,UP,1,2,,,,,,,,\n").unwrap().len(), 1);
        assert_eq!(rows("be,s,0,x,UP,1,2,,,,,\n").unwrap_err(), "row 1: scur is `x`");
        assert_eq!(parse("nonsense\n"), Err(DumpError::Header("# pxname,")));
        assert_eq!(parse("# pxname,svname,\n"), Err(DumpError::Column("status")));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "[a2,\"\n# ]{0,200}") {
            let _ = parse(&text);
            let _ = rows(&text);
        }
    }
}
