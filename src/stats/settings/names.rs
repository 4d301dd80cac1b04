//! Names of metrics, as haproxystats 0.5.2 knows them, and which known name is near to one that is not.

use super::remark::FaultKind;

/// What can be asked of frontends.
pub const FRONTEND_METRICS: &[&str] = &[
    "bin",
    "bout",
    "comp_byp",
    "comp_in",
    "comp_out",
    "comp_rsp",
    "conn_rate",
    "conn_rate_max",
    "conn_tot",
    "dcon",
    "dreq",
    "dresp",
    "dses",
    "ereq",
    "hrsp_1xx",
    "hrsp_2xx",
    "hrsp_3xx",
    "hrsp_4xx",
    "hrsp_5xx",
    "hrsp_other",
    "intercepted",
    "rate",
    "rate_lim",
    "rate_max",
    "req_rate",
    "req_rate_max",
    "req_tot",
    "scur",
    "slim",
    "smax",
    "stot",
];

/// What can be asked of backends, averages included.
pub const BACKEND_METRICS: &[&str] = &[
    "act",
    "bck",
    "bin",
    "bout",
    "chkdown",
    "cli_abrt",
    "comp_byp",
    "comp_in",
    "comp_out",
    "comp_rsp",
    "ctime",
    "downtime",
    "dreq",
    "dresp",
    "econ",
    "eresp",
    "hrsp_1xx",
    "hrsp_2xx",
    "hrsp_3xx",
    "hrsp_4xx",
    "hrsp_5xx",
    "hrsp_other",
    "intercepted",
    "lbtot",
    "qcur",
    "qmax",
    "qtime",
    "rate",
    "rate_max",
    "req_tot",
    "rtime",
    "scur",
    "slim",
    "smax",
    "srv_abrt",
    "stot",
    "ttime",
    "weight",
    "wredis",
    "wretr",
];

/// What can be asked of servers, averages included.
pub const SERVER_METRICS: &[&str] = &[
    "bin",
    "bout",
    "chkdown",
    "chkfail",
    "cli_abrt",
    "ctime",
    "dresp",
    "econ",
    "eresp",
    "hrsp_1xx",
    "hrsp_2xx",
    "hrsp_3xx",
    "hrsp_4xx",
    "hrsp_5xx",
    "hrsp_other",
    "lbtot",
    "qcur",
    "qmax",
    "qtime",
    "rate",
    "rate_max",
    "rtime",
    "scur",
    "slim",
    "smax",
    "srv_abrt",
    "stot",
    "throttle",
    "ttime",
    "weight",
    "wredis",
    "wretr",
];

/// A list of names that white space separates, each of which is known; each once, in its order.
pub(super) fn metrics(known: &'static [&'static str]) -> impl Fn(&str) -> Result<Vec<String>, FaultKind> {
    move |text| {
        let mut names: Vec<String> = Vec::new();
        let mut unknown = Vec::new();
        for name in text.split_whitespace() {
            if !known.contains(&name) {
                unknown.push((name.to_owned(), near(name, known.iter().copied())));
            } else if !names.iter().any(|other| other == name) {
                names.push(name.to_owned());
            }
        }
        match (names.is_empty(), unknown.is_empty()) {
            (_, false) => Err(FaultKind::Metrics(unknown)),
            (true, true) => Err(FaultKind::Empty),
            (false, true) => Ok(names),
        }
    }
}

/// The nearest of these names, where it can be a slip of the finger, or the wrong one of `-` and `_`.
pub(super) fn near(wanted: &str, names: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let plain = |name: &str| name.to_lowercase().replace('_', "-");
    let wanted = plain(wanted);
    let distance = |name: &'static str| (strsim::damerau_levenshtein(&wanted, &plain(name)), name);
    let (distance, name) = names.map(distance).min_by_key(|(distance, _)| *distance)?;
    (distance <= 2 && distance < wanted.chars().count().div_ceil(2)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_known_or_told_with_the_nearest_name() {
        let read = |text: &str| metrics(FRONTEND_METRICS)(text).map_err(|fault| fault.to_string());
        assert_eq!(read("stot  bin\nstot"), Ok(vec!["stot".into(), "bin".into()]));
        assert_eq!(read(" "), Err("the value is empty; give one, or leave the option out".into()));
        assert_eq!(
            read("bin, chkfail stots"),
            Err("unknown metrics, in a list that white space separates: `bin,` (did you mean `bin`?), `chkfail`, \
                 `stots` (did you mean `stot`?)"
                .into())
        );
    }

    #[test]
    fn a_name_is_near_that_a_slip_of_the_finger_makes() {
        let names = || ["queue-size", "fqdn", "dir"].into_iter();
        assert_eq!(near("queue_size", names()), Some("queue-size"));
        assert_eq!(near("FQDN", names()), Some("fqdn"));
        assert_eq!(near("fdqn", names()), Some("fqdn"));
        assert_eq!(near("xyz", names()), None);
        assert_eq!(near("", names()), None);
    }
}
