//! Lists of metrics in a configuration, and which known name is near to one that is not.

use super::remark::FaultKind;
use crate::stats::aggregate::metrics::Metrics;

/// A list of names that white space separates, each of which is known; each once, in its order.
pub(super) fn metrics(known: Metrics) -> impl Fn(&str) -> Result<Vec<String>, FaultKind> {
    move |text| {
        let mut names: Vec<String> = Vec::new();
        let mut unknown = Vec::new();
        for name in text.split_whitespace() {
            if !known.names().any(|other| other == name) {
                unknown.push((name.to_owned(), near(name, known.names())));
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
    use crate::stats::aggregate::metrics;

    #[test]
    fn metrics_are_known_or_told_with_the_nearest_name() {
        let read = |text: &str| super::metrics(metrics::FRONTEND)(text).map_err(|fault| fault.to_string());
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
