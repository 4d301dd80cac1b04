//! From what was seen of HAProxy to one word, and the reasons for it.

use super::Reading;
use crate::stats::Health;

/// How HAProxy fares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// It was not asked yet.
    #[default]
    Unknown,
    /// It answers, and all that is there to serve does.
    Healthy,
    /// It answers, and something does not serve that nobody took out: a server that is down, a backend without a
    /// server that could be used, a frontend that takes no connections.
    Degraded,
    /// It does not answer as it should.
    Unhealthy,
}

impl Status {
    /// All of them, each once.
    pub const ALL: [Self; 4] = [Self::Healthy, Self::Degraded, Self::Unhealthy, Self::Unknown];

    /// As the documents have it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Healthy => "HEALTHY",
            Self::Degraded => "DEGRADED",
            Self::Unhealthy => "UNHEALTHY",
            Self::Unknown => "UNKNOWN",
        }
    }

    /// Whether HAProxy answers and takes connections.
    #[must_use]
    pub fn answers(self) -> bool {
        matches!(self, Self::Healthy | Self::Degraded)
    }
}

/// A status and why it is none better.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// The word.
    pub status: Status,
    /// A line for each reason.
    pub problems: Vec<String>,
}

/// Judges the last answer; none is that nobody has asked.
#[must_use]
pub fn judge(answer: Option<Result<&Reading, &str>>) -> Judgement {
    match answer {
        None => Judgement::default(),
        Some(Err(why)) => Judgement { status: Status::Unhealthy, problems: vec![why.to_owned()] },
        Some(Ok(reading)) => {
            let status = if is_whole(reading) { Status::Healthy } else { Status::Degraded };
            Judgement { status, problems: reading.report.problems.clone() }
        }
    }
}

fn is_whole(reading: &Reading) -> bool {
    let proxies = reading.report.proxies.iter().map(|proxy| proxy.health);
    let servers = reading.report.servers.iter().map(|server| server.health);
    proxies.chain(servers).all(|health| health != Health::Down)
}

#[cfg(test)]
mod tests {
    use super::super::reading::tests::reading;
    use super::*;

    fn judged(from: &str, to: &str) -> (Status, Vec<String>) {
        let Judgement { status, problems } = judge(Some(Ok(&reading(from, to))));
        (status, problems)
    }

    #[test]
    fn what_an_operator_took_out_is_not_held_against_haproxy() {
        assert_eq!(judged("", ""), (Status::Healthy, vec![]));
        assert_eq!(judged("UP,9,2", "DRAIN,9,2"), (Status::Healthy, vec![]));
    }

    #[test]
    fn a_server_that_is_down_degrades() {
        let problem = "server `app/web1` is DOWN: L4OK".to_owned();
        assert_eq!(judged("UP,9,2", "DOWN,9,2"), (Status::Degraded, vec![problem]));
    }

    #[test]
    fn a_backend_without_a_usable_server_degrades_whoever_took_them_out() {
        let problem = "backend `app` is DOWN".to_owned();
        assert_eq!(judged("UP,9,1", "DOWN,9,1"), (Status::Degraded, vec![problem]));
    }

    #[test]
    fn a_frontend_that_takes_no_connections_degrades() {
        assert_eq!(judged("OPEN", "FULL").0, Status::Degraded);
    }

    #[test]
    fn errors_of_the_past_do_not_count() {
        // 11 errors of 7 requests are in the reading already.
        assert_eq!(reading("", "").errors(), 14);
        assert_eq!(judged("", "").0, Status::Healthy);
    }

    #[test]
    fn silence_is_unhealthy_and_before_the_first_question_nothing_is_known() {
        let judgement = judge(Some(Err("no reply")));
        assert_eq!((judgement.status, judgement.problems), (Status::Unhealthy, vec!["no reply".to_owned()]));
        assert_eq!(judge(None).status, Status::Unknown);
    }
}
