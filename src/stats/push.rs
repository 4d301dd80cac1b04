//! The datapoints of `push`: those that HAP-Monitor sends, under the same names.

use super::columns::Rows;
use crate::haproxy::DumpError;

/// A value under its name.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// `scope.host.1.proxy.server.scur`; the dots of names are kept.
    pub path: String,
    /// Never infinite, never `NaN`.
    pub value: f64,
}

const COLUMNS: [&str; 13] = [
    "scur", "qcur", "chkfail", "hrsp_1xx", "hrsp_2xx", "hrsp_3xx", "hrsp_4xx", "hrsp_5xx", "req_rate",
    "qtime", "ctime", "rtime", "ttime",
];

/// In this form alone: `UP 1/3` or `no check` has no gauge.
const STATUSES: [&str; 3] = ["UP", "DOWN", "MAINT"];

/// The datapoints in the texts of `show info` and `show stat`, below `prefix`; those of the column `rate` if it is
/// asked for. A field that is empty or no number has none, nor has a column that this HAProxy lacks. The status of
/// a server is the same in all processes, and told by the first.
pub fn points(prefix: &str, info: &str, stat: &str, rate: bool) -> Result<Vec<Point>, DumpError> {
    let process: u32 = field(info, "Process_num").and_then(|text| text.parse().ok()).unwrap_or(1);
    let mut points = Vec::new();
    let mut add = |name: &str, value: f64| {
        points.push(Point { path: format!("{prefix}.{process}.{name}"), value });
    };
    if let Some(idle) = field(info, "Idle_pct").and_then(number) {
        add("Idle_pct", idle);
    }
    let mut rows = Rows::read(stat)?;
    let names = COLUMNS.into_iter().chain(rate.then_some("rate"));
    let columns: Vec<(&str, usize)> =
        names.filter_map(|name| rows.column(name).map(|column| (name, column))).collect();
    let status = rows.column("status").filter(|_| process == 1);
    while rows.advance()? {
        let (proxy, server) = rows.names();
        for (name, column) in &columns {
            if let Some(value) = number(&rows.get(Some(*column))) {
                add(&format!("{proxy}.{server}.{name}"), value);
            }
        }
        let shown = rows.get(status);
        if STATUSES.contains(&&*shown) {
            for one in STATUSES {
                add(&format!("{proxy}.{server}.status.{one}"), f64::from(u8::from(one == shown)));
            }
        }
    }
    Ok(points)
}

/// A value in `show info`.
fn field<'a>(info: &'a str, key: &str) -> Option<&'a str> {
    let mut pairs = info.lines().filter_map(|line| line.split_once(": "));
    pairs.find(|(name, _)| *name == key).map(|(_, value)| value.trim())
}

fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|value: &f64| value.is_finite())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    fn data(name: &str) -> String {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    fn expected(name: &str) -> BTreeMap<String, f64> {
        let text = data(name);
        let pairs = text.lines().map(|line| line.split_once(' ').unwrap());
        pairs.map(|(path, value)| (path.to_owned(), value.parse().unwrap())).collect()
    }

    fn snapshot(rate: bool) -> Vec<Point> {
        let socket = |number: u8| {
            let part = |part| data(&format!("haproxystats/1457298067/admin{number}.sock_{part}"));
            points("my.system.HOST", &part("info"), &part("stat"), rate).unwrap()
        };
        (1..=3).flat_map(socket).collect()
    }

    #[test]
    fn the_datapoints_are_those_of_hap_monitor() {
        for (name, rate) in [("hap-monitor/udp.expected", false), ("hap-monitor/tcp.expected", true)] {
            let points = snapshot(rate);
            let expected = expected(name);
            assert_eq!(points.len(), expected.len(), "{name}: none comes twice");
            let found: BTreeMap<String, f64> =
                points.into_iter().map(|point| (point.path, point.value)).collect();
            assert_eq!(found, expected, "{name}");
        }
    }

    fn shown(info: &str, stat: &str) -> String {
        let points = points("p", info, stat, true).unwrap();
        points.iter().map(|point| format!("{}={} ", point.path, point.value)).collect()
    }

    #[test]
    fn each_rule_by_itself() {
        let header = "# pxname,svname,scur,status,rate,chkfail,\n";
        for (info, rows, expected) in [
            ("", "", ""),
            ("Idle_pct: 7\n", "", "p.1.Idle_pct=7 "),
            ("Process_num: 2\nIdle_pct: 7\n", "", "p.2.Idle_pct=7 "),
            ("Idle_pct: x\n", "", ""),
            ("", "a.b,c.d,1,,,,\n", "p.1.a.b.c.d.scur=1 "),
            ("", "a,b,,,3,-4,\n", "p.1.a.b.chkfail=-4 p.1.a.b.rate=3 "),
            ("", "a,b,nan,UP 1/3,inf,x,\n", ""),
            ("", "a,b,,no check,,,\n", ""),
            ("", "a,b,,DOWN,,,\n", "p.1.a.b.status.UP=0 p.1.a.b.status.DOWN=1 p.1.a.b.status.MAINT=0 "),
            ("Process_num: 2\n", "a,b,,DOWN,,,\n", ""),
        ] {
            assert_eq!(shown(info, &format!("{header}{rows}\n")), expected, "{info:?} {rows:?}");
        }
    }

    #[test]
    fn a_row_that_is_cut_off_is_an_error() {
        let error = points("p", "", "# pxname,svname,scur,\na,b,1", false).unwrap_err();
        assert_eq!(error.to_string(), "row 1: it is cut off");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(info in "[A-Z_a-z0-9: \n]{0,60}", stat in "[a1,\"\n# -]{0,120}", cut in 0_usize..4000) {
            let _ = points("p", &info, &stat, true);
            let mut whole = data("haproxystats/1457298067/admin1.sock_stat");
            let cut = cut.min(whole.len());
            whole.insert_str(cut, &stat);
            let _ = points("p", &format!("Process_num: {info}"), &whole, true);
            whole.truncate(cut);
            let _ = points("p", &info, &whole, true);
        }
    }
}
