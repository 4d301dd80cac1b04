//! `show info` of the processes.

use super::metrics::{DAEMON, PERCENTAGES, Percentage, is_mean_of_daemon};
use super::number::to_real;
use super::{Datapoint, Fault, Number, Scope, Sink, Subject};

const CPU_USAGE: &str = "CpuUsagePct";

const PERCENTILES: [(&str, f64); 5] = [
    ("25PercentileCpuUsagePct", 0.25),
    ("50PercentileCpuUsagePct", 0.5),
    ("75PercentileCpuUsagePct", 0.75),
    ("95PercentileCpuUsagePct", 0.95),
    ("99PercentileCpuUsagePct", 0.99),
];

/// What all processes tell of themselves.
#[derive(Clone, Debug, Default)]
pub(super) struct Daemon(Vec<Process>);

/// One process; its values are in the order of [`DAEMON`].
#[derive(Clone, Debug)]
struct Process {
    number: Option<i64>,
    values: [Option<i64>; DAEMON.len()],
}

impl Daemon {
    /// Reads `Key: value` lines. Values that are no integers are passed over, as are keys that nobody asked for.
    pub(super) fn add(&mut self, text: &str) -> Result<(), Fault> {
        if text.trim().is_empty() {
            return Err(Fault::Empty);
        }
        if !text.ends_with("\n\n") {
            return Err(Fault::Unfinished);
        }
        let mut process = Process { number: None, values: [None; DAEMON.len()] };
        let mut is_read = false;
        for (key, value) in text.lines().filter_map(|line| line.split_once(": ")) {
            let Ok(value) = value.trim().parse::<i64>() else { continue };
            is_read = true;
            process.set(key, value);
        }
        self.0.push(process);
        if is_read { Ok(()) } else { Err(Fault::NoKeys) }
    }

    /// Tells of all processes together and of each; gives how many datapoints that was.
    pub(super) fn emit<E>(&self, scope: &Scope, sink: &mut Sink<'_, E>) -> Result<usize, E> {
        let together = self.together(scope);
        let mut count = together.len();
        sink(Subject::Daemon, &together)?;
        if !scope.per_process {
            return Ok(count);
        }
        for process in &self.0 {
            if let Some(number) = process.number {
                let alone = process.alone(scope);
                count += alone.len();
                sink(Subject::Process(number), &alone)?;
            }
        }
        Ok(count)
    }

    fn together(&self, scope: &Scope) -> Vec<Datapoint> {
        let mut told = Vec::new();
        for metric in DAEMON {
            let value =
                if is_mean_of_daemon(metric) { self.mean(metric) } else { self.sum(metric).map(narrow) };
            told.extend(value.map(|value| Datapoint { metric, value }));
        }
        told.extend(self.cpu_usage());
        if scope.percentages {
            told.extend(PERCENTAGES.iter().filter_map(|share| percentage(share, |metric| self.sum(metric))));
        }
        told
    }

    fn values(&self, metric: &str) -> impl Iterator<Item = i64> {
        self.0.iter().filter_map(move |process| process.get(metric))
    }

    /// `None` where no process has it.
    fn sum(&self, metric: &str) -> Option<i128> {
        self.values(metric).map(i128::from).reduce(|sum, value| sum + value)
    }

    fn mean(&self, metric: &str) -> Option<Number> {
        let count = u32::try_from(self.values(metric).count()).unwrap_or(u32::MAX);
        Number::mean(to_real_sum(self.sum(metric)?), count)
    }

    /// How the load is spread, where there is more than one process to spread it over.
    fn cpu_usage(&self) -> Vec<Datapoint> {
        let mut usages: Vec<i64> = self.values("Idle_pct").map(cpu_usage).collect();
        if usages.len() < 2 {
            return Vec::new();
        }
        usages.sort_unstable();
        let nearest = |share| Some(Number::Integer(*usages.get(nearest(share, usages.len()))?));
        let percentiles = PERCENTILES.map(|(metric, share)| (metric, nearest(share)));
        let deviation = [("StdCpuUsagePct", Number::real(standard_deviation(&usages)))];
        let told = percentiles.into_iter().chain(deviation);
        told.filter_map(|(metric, value)| Some(Datapoint { metric, value: value? })).collect()
    }
}

impl Process {
    fn set(&mut self, key: &str, value: i64) {
        if key == "Process_num" {
            self.number = Some(value);
        }
        let at = DAEMON.iter().position(|metric| *metric == key);
        if let Some(place) = at.and_then(|at| self.values.get_mut(at)) {
            *place = Some(value);
        }
    }

    fn get(&self, metric: &str) -> Option<i64> {
        *self.values.get(DAEMON.iter().position(|known| *known == metric)?)?
    }

    fn alone(&self, scope: &Scope) -> Vec<Datapoint> {
        let integer = |(metric, value): (&'static str, Option<i64>)| {
            Some(Datapoint { metric, value: Number::Integer(value?) })
        };
        let mut told: Vec<Datapoint> = DAEMON.iter().copied().zip(self.values).filter_map(integer).collect();
        told.extend(integer((CPU_USAGE, self.get("Idle_pct").map(cpu_usage))));
        if scope.percentages {
            let value = |metric: &str| self.get(metric).map(i128::from);
            told.extend(PERCENTAGES.iter().filter_map(|share| percentage(share, value)));
        }
        told
    }
}

fn cpu_usage(idle: i64) -> i64 {
    100_i64.saturating_sub(idle)
}

/// A whole number, rounded towards 0; 0 where there is no limit.
fn percentage(share: &Percentage, value: impl Fn(&str) -> Option<i128>) -> Option<Datapoint> {
    let (of, limit) = (value(share.of)?, value(share.limit)?);
    let value = if limit == 0 { 0 } else { 100 * of / limit };
    Some(Datapoint { metric: share.metric, value: narrow(value) })
}

fn narrow(value: i128) -> Number {
    i64::try_from(value).map_or_else(|_| Number::Real(to_real_sum(value)), Number::Integer)
}

#[allow(clippy::cast_precision_loss, reason = "beyond 2^53, the nearest float is near enough")]
fn to_real_sum(value: i128) -> f64 {
    value as f64
}

/// The place of a percentile among so many sorted values; half-way between two, the even place counts.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn nearest(share: f64, count: usize) -> usize {
    (share * count.saturating_sub(1) as f64).round_ties_even() as usize
}

/// Of a sample: divided by one less than their number.
fn standard_deviation(values: &[i64]) -> f64 {
    let count = f64::from(u32::try_from(values.len()).unwrap_or(u32::MAX));
    let mean = values.iter().copied().map(to_real).sum::<f64>() / count;
    let squares = values.iter().map(|value| (to_real(*value) - mean).powi(2)).sum::<f64>();
    (squares / (count - 1.0)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(text: &str) -> String {
        text.to_owned() + "\n\n"
    }

    fn together(texts: &[&str], scope: &Scope) -> Vec<(&'static str, String)> {
        let mut daemon = Daemon::default();
        for text in texts {
            daemon.add(&info(text)).unwrap();
        }
        daemon
            .together(scope)
            .into_iter()
            .map(|datapoint| (datapoint.metric, datapoint.value.to_string()))
            .collect()
    }

    #[test]
    fn the_nearest_percentile_is_at_an_even_place_when_two_are_as_near() {
        let places = |count| PERCENTILES.map(|(_, share)| nearest(share, count));
        assert_eq!(places(2), [0, 0, 1, 1, 1]);
        assert_eq!(places(3), [0, 1, 2, 2, 2]);
        assert_eq!(places(4), [1, 2, 2, 3, 3]);
        assert_eq!(places(7), [2, 3, 4, 6, 6]);
        assert_eq!(places(101), [25, 50, 75, 95, 99]);
    }

    #[test]
    fn cpu_usage_is_spread_over_two_processes_or_more() {
        let scope = Scope::default();
        assert_eq!(together(&["Idle_pct: 90"], &scope), [("Idle_pct", "90.0".into())]);
        let told = together(&["Idle_pct: 90", "Idle_pct: 60"], &scope);
        assert_eq!(told[0], ("Idle_pct", "75.0".into()));
        assert_eq!(told[2], ("50PercentileCpuUsagePct", "10".into()));
        assert_eq!(told[3], ("75PercentileCpuUsagePct", "40".into()));
        assert_eq!(told[6], ("StdCpuUsagePct", "21.213203435596427".into()));
    }

    #[test]
    fn shares_are_whole_and_0_without_a_limit_and_left_out_without_a_key() {
        let scope = Scope { percentages: true, ..Scope::default() };
        let text = "CurrConns: 2\nMaxconn: 3\nSslRate: 5\nSslRateLimit: 0\nConnRate: 1\nCurrSslConns: 0\nMaxSslConns: 9";
        let told = together(&[text, "CurrConns: 0"], &scope);
        let shares: Vec<_> = told.iter().filter(|(metric, _)| metric.ends_with("Percentage")).collect();
        assert_eq!(
            shares,
            [
                &("ConnPercentage", "66".into()),
                &("SslConnPercentage", "0".into()),
                &("SslRatePercentage", "0".into())
            ]
        );
    }

    #[test]
    fn keys_that_some_lack_are_of_the_others() {
        let texts = [
            "Tasks: 3\nIdle_pct: 40\nZlibMemUsage: 9223372036854775807",
            "Tasks: 4\nZlibMemUsage: 1",
            "Name: x\nPid: 1",
        ];
        let told = together(&texts, &Scope::default());
        assert_eq!(
            told,
            [
                ("Idle_pct", "40.0".into()),
                ("Tasks", "7".into()),
                ("ZlibMemUsage", "9.223372036854776e+18".into())
            ]
        );
    }

    #[test]
    fn what_is_no_whole_reply_is_refused() {
        let fault = |text: &str| Daemon::default().add(text).unwrap_err();
        assert_eq!(fault(""), Fault::Empty);
        assert_eq!(fault("\n\n"), Fault::Empty);
        assert_eq!(fault("Pid: 1\n"), Fault::Unfinished);
        assert_eq!(fault("Pid: x\n\n"), Fault::NoKeys);
    }
}
