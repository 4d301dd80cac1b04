//! The rules, one by one; and what haproxystats 0.5.2 made of the same snapshot.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::graphite::{Grouping, Groups, Kind, Lines, Naming};
use super::*;

const TIME: u64 = 1_457_298_067;

const PLAIN: Naming<'_> = Naming { namespace: "lb", host: None, groups: None };

/// The texts of the snapshot whose datapoints are known.
fn known() -> [Vec<String>; 2] {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/haproxystats");
    ["info", "stat"].map(|what| {
        let read = |number| {
            let name = format!("{TIME}/admin{number}.sock_{what}");
            fs::read_to_string(directory.join(name)).unwrap()
        };
        (1..=3).map(read).collect()
    })
}

fn lines(
    infos: &[String],
    stats: &[String],
    scope: &Scope,
    naming: Naming<'_>,
) -> Result<String, SnapshotError> {
    let texts = |texts: &'_ [String]| texts.iter().map(|text| text.clone().leak() as &str).collect();
    let snapshot = Snapshot { time: TIME, infos: texts(infos), stats: texts(stats) };
    let (mut lines, mut out) = (Lines::new(naming, snapshot.time), Vec::new());
    aggregate(&snapshot, scope, &mut |subject, datapoints| lines.write(subject, datapoints, &mut out))?;
    Ok(String::from_utf8(out).unwrap())
}

/// Name and time of each datapoint, with its value; a name that comes twice is an error.
fn datapoints(text: &str) -> BTreeMap<(String, String), f64> {
    let mut all = BTreeMap::new();
    for line in text.lines() {
        let [name, value, time] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
        let value: f64 = value.parse().unwrap();
        if value.is_nan() || name.contains("WallClockTime") {
            continue;
        }
        assert_eq!(all.insert((name.to_owned(), time.to_owned()), value), None, "{line}");
    }
    all
}

fn meets(expected: &str, scope: &Scope, naming: Naming<'_>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/haproxystats").join(expected);
    let [infos, stats] = known();
    let told = lines(&infos, &stats, scope, naming).unwrap();
    assert!(told.lines().all(|line| line.ends_with(" 1457298067")));
    let (told, expected) = (datapoints(&told), datapoints(&fs::read_to_string(path).unwrap()));
    let differing = |one: &BTreeMap<(String, String), f64>, other: &BTreeMap<(String, String), f64>| {
        one.iter()
            .filter(|(name, value)| other.get(*name) != Some(value))
            .map(|(name, value)| format!("{name:?} {value}"))
            .collect::<Vec<_>>()
    };
    assert_eq!((differing(&expected, &told), differing(&told, &expected)), (Vec::new(), Vec::new()));
    assert!(expected.len() > 500);
}

#[test]
fn the_known_snapshot_gives_the_known_datapoints() {
    let naming = Naming { namespace: "loadbalancers", host: Some("lb-01_example_com"), groups: None };
    meets("default.expected", &Scope::default(), naming);
}

/// As in `all-options.conf`.
fn all_options() -> Scope {
    Scope {
        excluded_frontends: vec!["bar-001".into()],
        excluded_backends: vec!["broken".into()],
        aggr_server_metrics: true,
        per_process: true,
        percentages: true,
        ..Scope::default()
    }
}

fn known_group(kind: Kind, name: &str) -> Option<&'static str> {
    match kind {
        Kind::Frontend if name.starts_with("foo-") => Some("abc"),
        Kind::Frontend if name.contains("example") => Some("www"),
        Kind::Backend if name.starts_with("plone") => Some("xyz"),
        Kind::Server if name.ends_with('1') => Some("odd"),
        _ => None,
    }
}

#[test]
fn the_known_snapshot_with_all_options_gives_the_known_datapoints() {
    let groups = Grouping { namespace: "flavor", double_writes: true, groups: &known_group };
    let naming = Naming { namespace: "loadbalancers", host: Some("lb-01"), groups: Some(groups) };
    meets("all-options.expected", &all_options(), naming);
}

const HEADER: &str = "# pxname,svname,type,scur,lbtot,weight,qtime,throttle,\n";

fn stat(rows: &str) -> String {
    format!("{HEADER}{rows}\n\n")
}

/// `path value` of each datapoint but those of the pipeline itself.
fn told(stats: &[String], scope: &Scope, naming: Naming<'_>) -> Vec<String> {
    let lines = lines(&[], stats, scope, naming).unwrap();
    let own = lines.lines().filter(|line| !line.contains(".haproxystats."));
    own.map(|line| line.trim_start_matches("lb.haproxy.").trim_end_matches(" 1457298067").to_owned())
        .collect()
}

#[test]
fn means_are_over_all_rows_and_times_over_busy_ones() {
    let one = "b,s,2,1,0,10,50,,\nb,BACKEND,1,5,7,3,2,,";
    let two = "b,s,2,2,4,20,9,100,\nb,BACKEND,1,5,8,4,3,,";
    let three = "b,s,2,,1,,2,,\nb,BACKEND,1,,0,,9,,";
    assert_eq!(
        told(&[one, two, three].map(stat), &Scope::default(), PLAIN),
        [
            "backend.b.lbtot 15",
            "backend.b.scur 10",
            "backend.b.weight 2.3333333333333335",
            "backend.b.qtime 2.5",
            "backend.b.TotalServers 1",
            "backend.b.server.s.lbtot 5",
            "backend.b.server.s.scur 3",
            "backend.b.server.s.throttle 33.333333333333336",
            "backend.b.server.s.weight 10.0",
            "backend.b.server.s.qtime 5.5",
        ]
    );
}

#[test]
fn a_mean_of_nothing_is_not_told_but_counted() {
    let text = lines(&[], &[stat("b,s,2,0,0,1,0,0,")], &Scope::default(), PLAIN).unwrap();
    assert!(!text.contains("qtime"), "{text}");
    // Five metrics, `TotalServers` and the count itself.
    assert!(text.contains("MetricsServer 7 "), "{text}");
    assert!(text.contains("MetricsBackend 1 "), "no row of the backend: {text}");
}

#[test]
fn listeners_are_passed_over_and_a_server_may_be_named_like_a_proxy() {
    let rows = "f,FRONTEND,0,1,,,,,\nf,sock-1,3,1,,,,,\nb,FRONTEND,2,2,0,,,,\nb,BACKEND,2,3,0,,,,\nb,BACKEND,1,4,0,,,,";
    let told = told(&[stat(rows)], &Scope::default(), PLAIN);
    let scur: Vec<_> = told.iter().filter(|line| line.contains(".scur ")).collect();
    assert_eq!(
        scur,
        [
            "frontend.f.scur 1",
            "backend.b.scur 4",
            "backend.b.server.FRONTEND.scur 2",
            "backend.b.server.BACKEND.scur 3"
        ]
    );
}

#[test]
fn processes_may_differ_in_their_rows_and_in_their_order() {
    let one = "a,s,2,1,0,,,,\nb,s,2,10,0,,,,\na,t,2,100,0,,,,";
    let two = "b,s,2,20,0,,,,\na,t,2,200,0,,,,\na,s,2,2,0,,,,\nc,s,2,7,0,,,,";
    let scope = Scope { aggr_server_metrics: true, ..Scope::default() };
    let told = told(&[one, two].map(stat), &scope, PLAIN);
    let some: Vec<_> =
        told.iter().filter(|line| line.contains(".scur ") || line.contains("TotalServers")).collect();
    assert_eq!(
        some,
        [
            "backend.a.TotalServers 2",
            "backend.b.TotalServers 1",
            "backend.c.TotalServers 1",
            "backend.a.server.s.scur 3",
            "backend.b.server.s.scur 30",
            "backend.a.server.t.scur 300",
            "backend.c.server.s.scur 7",
            "server.s.scur 40",
            "server.t.scur 300",
        ]
    );
}

#[test]
fn names_that_differ_by_dots_are_one() {
    let scope = Scope {
        excluded_backends: vec!["x_y".into()],
        excluded_frontends: vec!["x.y".into()],
        ..Scope::default()
    };
    let rows = "a.b,FRONTEND,0,1,,,,,\na_b,FRONTEND,0,2,,,,,\nx_y,FRONTEND,0,1,,,,,\nx.y,s,2,1,0,,,,\nx.y,BACKEND,1,1,0,,,,";
    assert_eq!(told(&[stat(rows)], &scope, PLAIN), ["frontend.a_b.scur 3"]);
}

#[test]
fn lists_choose_sums_and_means_are_always_told() {
    let some = || Some(vec!["scur".to_owned(), "bin".to_owned()]);
    let scope = Scope {
        frontend_metrics: some(),
        backend_metrics: Some(Vec::new()),
        server_metrics: some(),
        aggr_server_metrics: true,
        ..Scope::default()
    };
    let rows = "f,FRONTEND,0,1,2,3,4,5,\nb,s,2,1,2,3,4,5,\nb,BACKEND,1,1,2,3,4,5,";
    assert_eq!(
        told(&[stat(rows)], &scope, PLAIN),
        [
            "frontend.f.scur 1",
            "backend.b.weight 3.0",
            "backend.b.qtime 4.0",
            "backend.b.TotalServers 1",
            "backend.b.server.s.scur 1",
            "backend.b.server.s.throttle 5.0",
            "backend.b.server.s.weight 3.0",
            "backend.b.server.s.qtime 4.0",
            "server.s.lbtot 2",
            "server.s.scur 1",
            "server.s.throttle 5.0",
            "server.s.weight 3.0",
            "server.s.qtime 4.0",
        ]
    );
}

struct Numbered;

impl Groups for Numbered {
    fn group_of(&self, kind: Kind, name: &str) -> Option<&str> {
        let known = [(Kind::Backend, "b_1", "one"), (Kind::Server, "s_1", "two")];
        known.into_iter().find(|known| (known.0, known.1) == (kind, name)).map(|known| known.2)
    }
}

#[test]
fn members_of_a_group_move_there_and_stay_too_with_double_writes() {
    let rows = "b.1,s.1,2,1,0,,,,\nb.2,s.1,2,2,0,,,,";
    let scope = Scope { aggr_server_metrics: true, ..Scope::default() };
    let scur = |double_writes| -> Vec<String> {
        let grouping = Grouping { namespace: "group", double_writes, groups: &Numbered };
        let told = told(&[stat(rows)], &scope, Naming { groups: Some(grouping), ..PLAIN });
        told.into_iter().filter(|line| line.contains(".scur ")).collect()
    };
    assert_eq!(
        scur(false),
        [
            "group.one.backend.b_1.server.s_1.scur 1",
            "backend.b_2.server.s_1.scur 2",
            "group.two.server.s_1.scur 3"
        ]
    );
    assert_eq!(
        scur(true),
        [
            "group.one.backend.b_1.server.s_1.scur 1",
            "backend.b_1.server.s_1.scur 1",
            "backend.b_2.server.s_1.scur 2",
            "group.two.server.s_1.scur 3",
            "server.s_1.scur 3"
        ]
    );
}

#[test]
fn sums_beyond_64_bits_are_told_as_real_numbers() {
    let scope = Scope { aggr_server_metrics: true, ..Scope::default() };
    let told = told(
        &[
            stat("b,s,2,9223372036854775807,0,,,,"),
            stat("b,s,2,18446744073709551615,0,,,,"),
            stat("b,s,2,1,0,,,,"),
        ],
        &scope,
        PLAIN,
    );
    assert_eq!(told[1..3], ["backend.b.server.s.lbtot 0", "backend.b.server.s.scur 2.7670116110564327e+19"]);
    assert!(told.contains(&"server.s.scur 2.7670116110564327e+19".into()));
}

#[test]
fn a_column_that_some_lack_is_0_there_and_one_that_all_lack_is_left_out() {
    let old = "# pxname,svname,type,scur,\nb,s,2,4,\n\n".to_owned();
    let told = told(&[old, stat("b,s,2,1,2,10,3,,")], &Scope::default(), PLAIN);
    assert_eq!(
        told,
        [
            "backend.b.TotalServers 1",
            "backend.b.server.s.lbtot 2",
            "backend.b.server.s.scur 5",
            "backend.b.server.s.throttle 0.0",
            "backend.b.server.s.weight 5.0",
            "backend.b.server.s.qtime 3.0",
        ]
    );
}

#[test]
fn an_haproxy_without_proxies_has_no_rows() {
    let told = lines(&[], &[format!("{HEADER}\n")], &Scope::default(), PLAIN).unwrap();
    assert!(told.contains("MetricsFrontend 1 ") && !told.contains(".frontend."), "{told}");
}

#[test]
fn what_is_damaged_is_named() {
    let fault = |stats: &[&str]| {
        let stats: Vec<String> = stats.iter().map(|text| (*text).to_owned()).collect();
        lines(&[], &stats, &Scope::default(), PLAIN).unwrap_err().to_string()
    };
    let good = stat("b,s,2,1,2,10,3,,");
    let rows = |rows: &str| fault(&[&stat(rows)]);
    assert_eq!(fault(&[&good, ""]), "`show stat` number 2: it is empty");
    assert_eq!(
        fault(&["Name: HAProxy\n\n"]),
        "`show stat` number 1: no header row that begins with `# pxname,`"
    );
    assert_eq!(
        fault(&["# pxname,svname,\n\n"]),
        "`show stat` number 1: column `type` is missing in the header row"
    );
    assert_eq!(fault(&[HEADER]), "`show stat` number 1: it is cut off: the empty line at its end is missing");
    assert_eq!(fault(&[good.trim_end()]), "`show stat` number 1: row 1: it is cut off");
    assert_eq!(
        fault(&[&good, &good[..good.len() - 1]]),
        "`show stat` number 2: it is cut off: the empty line at its end is missing"
    );
    assert_eq!(
        rows("b,s,2,1,2,10,3,,\nb,s,2,1,"),
        "`show stat` number 1: row 2: 4 fields under a header of 8"
    );
    assert_eq!(rows("b,s,2,1,2,10,3,,,"), "`show stat` number 1: row 1: 9 fields under a header of 8");
    assert_eq!(rows("b,s,2,x,2,10,3,,"), "`show stat` number 1: row 1: scur is `x`");
    assert_eq!(rows("b,s,9,1,2,10,3,,"), "`show stat` number 1: row 1: type is `9`");
    assert_eq!(rows("b c,s,2,1,2,10,3,,"), "`show stat` number 1: row 1: `b c` is no name");
    assert_eq!(rows("b,,2,1,2,10,3,,"), "`show stat` number 1: row 1: `` is no name");
    let info = lines(&["Pid: 1".into()], &[], &Scope::default(), PLAIN).unwrap_err();
    assert_eq!((info.text, info.fault), (Text::Info(0), Fault::Unfinished));
}

#[test]
fn nothing_is_told_of_a_snapshot_with_a_damaged_text() {
    let [infos, stats] = known();
    let cut = stats[2][..1000].to_owned();
    let texts: Vec<&str> = stats[..2].iter().chain([&cut]).map(String::as_str).collect();
    let snapshot = Snapshot { time: TIME, infos: infos.iter().map(String::as_str).collect(), stats: texts };
    let mut is_told = false;
    let error = aggregate(&snapshot, &Scope::default(), &mut |_, _| is_told = true).unwrap_err();
    assert_eq!((error.text, is_told), (Text::Stat(2), false));
}

/// What the `csv` crate and a map make of the same texts: sums, by kind, names and metric.
fn oracle(stats: &[String]) -> BTreeMap<String, i64> {
    let mut sums = BTreeMap::new();
    for text in stats {
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let header = reader.headers().unwrap().clone();
        for record in reader.records() {
            let record = record.unwrap();
            let get = |name: &str| &record[header.iter().position(|column| column == name).unwrap()];
            let (proxy, server) = (get("# pxname"), get("svname"));
            let (metrics, path) = match get("type") {
                "0" => (metrics::FRONTEND, format!("frontend.{proxy}")),
                "1" => (metrics::BACKEND, format!("backend.{proxy}")),
                _ => (metrics::SERVER, format!("backend.{proxy}.server.{server}")),
            };
            for metric in metrics.sums.iter().filter(|metric| header.iter().any(|column| column == **metric))
            {
                let value = get(metric).parse().unwrap_or(0);
                *sums.entry(format!("{path}.{metric}")).or_default() += value;
            }
        }
    }
    sums
}

fn text_of(rows: &[(usize, usize, usize, [Option<u32>; 5])]) -> String {
    let mut text = "# pxname,svname,stot,type,bin,\"scur\",last_chk,lbtot,bout,\n".to_owned();
    for (kind, proxy, server, values) in rows {
        let [stot, bin, scur, lbtot, bout] =
            values.map(|value| value.map(|value| value.to_string()).unwrap_or_default());
        let server = ["FRONTEND".to_owned(), "BACKEND".to_owned(), format!("s{server}")][*kind].clone();
        let check = ["", "\"Layer7, \"\"wrong\"\"\n\nstatus\""][usize::from(stot.ends_with('1'))];
        writeln!(text, "p{proxy},{server},{stot},{kind},{bin},{scur},{check},{lbtot},{bout},").unwrap();
    }
    text + "\n"
}

proptest! {
    #[test]
    fn sums_are_those_of_the_oracle(texts in prop::collection::vec(prop::collection::vec(
        (0_usize..3, 0_usize..3, 0_usize..3, prop::array::uniform5(prop::option::of(any::<u32>()))), 1..12), 1..4))
    {
        let stats: Vec<String> = texts.iter().map(|rows| text_of(rows)).collect();
        let told = told(&stats, &Scope::default(), PLAIN);
        let sums: BTreeMap<String, i64> = told
            .iter()
            .filter(|line| !line.contains("TotalServers"))
            .map(|line| { let (path, value) = line.split_once(' ').unwrap(); (path.to_owned(), value.parse().unwrap()) })
            .collect();
        prop_assert_eq!(sums, oracle(&stats));
    }

    #[test]
    fn no_text_makes_it_panic(info in "[A-z: 0-9\n]{0,80}", rows in "[abf,\"\n019. é-]{0,120}") {
        let scope = all_options();
        let _ = lines(&[info.clone() + "\n\n"], &[stat(&rows), rows.clone()], &scope, PLAIN);
        let _ = lines(&[info], &[stat(&rows)], &scope, PLAIN);
    }

    /// A snapshot that was cut anywhere but in its last line end is never taken for a whole one.
    #[test]
    fn a_cut_text_is_refused(share in 0.0..1.0) {
        let [infos, stats] = known();
        for (what, text) in [("info", &infos[0]), ("stat", &stats[0])] {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
            let cut = text[..(text.len() as f64 * share) as usize].to_owned();
            let (infos, stats) = if what == "info" { (vec![cut], vec![]) } else { (vec![], vec![cut]) };
            prop_assert!(lines(&infos, &stats, &Scope::default(), PLAIN).is_err());
        }
    }
}
