//! What the master of HAProxy's processes says: the outcome of a reload, and which processes there are.

/// What `reload` answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reloaded {
    /// A new worker has taken over.
    Worked,
    /// The old worker goes on; HAProxy's own words on why.
    Failed(Vec<String>),
    /// Up to 2.6 nothing is said: [`Processes`] tells.
    Unsaid,
}

/// Reads the reply to `reload`. From 2.7 on it says `Success=` and what was logged meanwhile.
#[must_use]
pub fn reloaded(reply: &[u8]) -> Reloaded {
    let text = String::from_utf8_lossy(reply);
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    match lines.next() {
        None => Reloaded::Unsaid,
        Some("Success=1") => Reloaded::Worked,
        Some("Success=0") => Reloaded::Failed(complaints(lines)),
        Some(other) => Reloaded::Failed(vec![plain(other)]),
    }
}

/// Errors, where there are any; all that was said otherwise.
fn complaints<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<String> {
    let lines: Vec<String> = lines.filter(|line| *line != "--").map(plain).collect();
    let alerts: Vec<String> = lines.iter().filter(|line| line.starts_with("[ALERT]")).cloned().collect();
    if alerts.is_empty() { lines } else { alerts }
}

/// With its control characters made visible.
fn plain(line: &str) -> String {
    line.chars().flat_map(|c| if c.is_control() { c.escape_debug().collect() } else { vec![c] }).collect()
}

/// What `show proc` tells of reloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Processes {
    /// How often the master has been reloaded.
    pub reloads: u64,
    /// The worker of the last reload. After one that failed there is none: a worker counts the reloads that it has
    /// outlived, whatever the heading above it says.
    pub new_worker: Option<u32>,
}

impl Processes {
    /// Reads the reply to `show proc`; `None` where there is no row of a master.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let rows: Vec<Row> = text.lines().filter_map(row).collect();
        let reloads = rows.iter().find(|row| row.kind == "master")?.reloads;
        let new = rows.iter().find(|row| row.kind == "worker" && row.reloads == 0);
        Some(Self { reloads, new_worker: new.map(|row| row.pid) })
    }
}

struct Row {
    pid: u32,
    kind: String,
    reloads: u64,
}

/// Columns come and go with the versions; the reloads stand before the uptime in all of them, but
/// for a remark in brackets.
fn row(line: &str) -> Option<Row> {
    let mut in_brackets = false;
    let outside = |c: char| {
        in_brackets = (in_brackets || c == '[') && c != ']';
        if in_brackets || c == ']' { ' ' } else { c }
    };
    let text: String = line.chars().map(outside).collect();
    let fields: Vec<&str> = text.split_whitespace().collect();
    let pid = fields.first()?.parse().ok()?;
    let uptime = fields.iter().position(|field| is_time(field))?;
    let reloads = fields.get(uptime.checked_sub(1)?)?.parse().ok()?;
    Some(Row { pid, kind: (*fields.get(1)?).to_owned(), reloads })
}

/// As in `0d00h00m07s`.
fn is_time(field: &str) -> bool {
    field.starts_with(|c: char| c.is_ascii_digit()) && field.contains('d') && field.ends_with('s')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outcome_of_a_reload_is_read_in_the_words_of_every_version() {
        assert_eq!(reloaded(b""), Reloaded::Unsaid);
        assert_eq!(reloaded(b"\n"), Reloaded::Unsaid);
        assert_eq!(reloaded(b"Success=1\n--\n[NOTICE]   (1) : Loading success.\n\n"), Reloaded::Worked);
        let failed = b"Success=0\n--\n[NOTICE]   (1) : x\n[ALERT]    (1) : config : unknown keyword\n\n";
        assert_eq!(
            reloaded(failed),
            Reloaded::Failed(vec!["[ALERT]    (1) : config : unknown keyword".into()])
        );
        assert_eq!(reloaded(b"Success=0\n--\nodd\x1b\n"), Reloaded::Failed(vec!["odd\\u{1b}".into()]));
        assert_eq!(reloaded(b"Permission denied\n"), Reloaded::Failed(vec!["Permission denied".into()]));
    }

    #[test]
    fn a_failed_reload_is_seen_in_the_table_of_every_version() {
        let old_2_2 = "#<PID>          <type>          <relative PID>  <reloads>       <uptime>        <version>\n\
            1               master          0               3               0d00h00m05s     2.2.9\n\
            # workers\n# old workers\n\
            11              worker          [was: 1]        2               0d00h00m04s     2.2.9\n# programs\n\n";
        let new_2_2 = "1     master   0    1    0d00h00m02s  2.2.9\n# workers\n\
            11    worker   1    0    0d00h00m01s  2.2.9\n\n";
        let old_2_6 = "1     master   2 [failed: 1]   0d00h00m05s     2.6.12\n# workers\n\
            12    worker   1               0d00h00m05s     2.6.12\n\n";
        let new_3_2 = "1     master   3 [failed: 0]   0d00h00m08s     3.2.26-1\n# workers\n\
            23    worker   0               0d00h00m01s     3.2.26-1\n\
            # old workers\n8     worker   1               0d00h10m01s     3.2.26-1\n\n";
        let seen = |reloads, new_worker| Some(Processes { reloads, new_worker });
        assert_eq!(Processes::parse(old_2_2), seen(3, None));
        assert_eq!(Processes::parse(new_2_2), seen(1, Some(11)));
        assert_eq!(Processes::parse(old_2_6), seen(2, None));
        assert_eq!(Processes::parse(new_3_2), seen(3, Some(23)));
        assert_eq!(Processes::parse("Unknown command: 'show proc'\n\n"), None);
    }
}
