//! Sums of rows under names: which column goes to which cell, and what is told of the cells.

use std::collections::{BTreeMap, HashMap};

use super::metrics::Metrics;
use super::number::{Read, to_real};
use super::rows::Row;
use super::{Datapoint, Fault, Number};

/// Which column goes to which cell.
pub(super) struct Plan {
    lbtot: Option<usize>,
    always: Vec<Step>,
    /// Only of rows with `lbtot` above 0.
    busy: Vec<Step>,
}

#[derive(Clone, Copy)]
pub(super) struct Step {
    pub(super) column: usize,
    cell: usize,
    metric: &'static str,
}

impl Plan {
    pub(super) fn new(metrics: Metrics, names: &HashMap<&str, usize>) -> Self {
        let steps = metrics
            .names()
            .enumerate()
            .filter_map(|(cell, metric)| Some(Step { column: *names.get(metric)?, cell, metric }));
        let first_busy = metrics.sums.len() + metrics.means.len();
        let (always, busy) = steps.partition(|step| step.cell < first_busy);
        Self { lbtot: names.get("lbtot").copied(), always, busy }
    }

    pub(super) fn steps(&self) -> impl Iterator<Item = &Step> {
        self.always.iter().chain(&self.busy)
    }
}

/// The sums of all frontends, backends or servers.
#[derive(Clone, Debug)]
pub(super) struct Table {
    metrics: Metrics,
    /// Which metrics any text has.
    is_there: Vec<bool>,
    names: Names,
    /// A cell for each metric, row after row.
    cells: Vec<i64>,
    /// What did not fit into a cell, on top of what stands there.
    wide: BTreeMap<usize, f64>,
    /// How many rows were added up, and how many of them busy.
    rows: Vec<(u32, u32)>,
}

/// Which datapoints are told of each row of a table.
pub(super) struct Chosen {
    sums: Vec<(usize, &'static str)>,
    means: Vec<(usize, &'static str)>,
    busy_means: Vec<(usize, &'static str)>,
}

impl Chosen {
    pub(super) fn count(&self) -> usize {
        self.sums.len() + self.means.len() + self.busy_means.len()
    }
}

impl Table {
    pub(super) fn new(metrics: Metrics) -> Self {
        Self {
            metrics,
            is_there: vec![false; metrics.count()],
            names: Names::default(),
            cells: Vec::new(),
            wide: BTreeMap::new(),
            rows: Vec::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn rows(&self, at: usize) -> u32 {
        self.rows.get(at).map_or(0, |(rows, _)| *rows)
    }

    pub(super) fn name(&self, at: usize) -> (&str, &str) {
        self.names.get(at)
    }

    /// The next text begins, with these columns.
    pub(super) fn begin(&mut self, plan: &Plan) {
        self.names.next = 0;
        for step in plan.steps() {
            if let Some(is_there) = self.is_there.get_mut(step.cell) {
                *is_there = true;
            }
        }
    }

    /// The place of a name, a new one if need be.
    pub(super) fn find(&mut self, proxy: &str, server: &str, row: usize) -> Result<usize, Fault> {
        let at = self.names.find(proxy, server, row)?;
        if at == self.rows.len() {
            self.rows.push((0, 0));
            self.cells.resize(self.cells.len() + self.metrics.count(), 0);
        }
        Ok(at)
    }

    pub(super) fn add(&mut self, at: usize, plan: &Plan, row: &Row<'_>) -> Result<(), Fault> {
        self.add_cells(at, &plan.always, row)?;
        let lbtot = plan.lbtot.and_then(|column| row.count(column));
        let is_busy = match lbtot {
            Some(Read::Integer(count)) => count > 0,
            Some(Read::Wide(count)) => count > 0.0,
            None => false,
        };
        if is_busy {
            self.add_cells(at, &plan.busy, row)?;
        }
        if let Some((rows, busy)) = self.rows.get_mut(at) {
            *rows += 1;
            *busy += u32::from(is_busy);
        }
        Ok(())
    }

    fn add_cells(&mut self, at: usize, steps: &[Step], row: &Row<'_>) -> Result<(), Fault> {
        let first = at * self.metrics.count();
        let cells = self.cells.get_mut(first..).unwrap_or_default();
        for step in steps {
            let value = row
                .count(step.column)
                .ok_or_else(|| Fault::value(row.number, step.metric, row.text(step.column)))?;
            let Some(cell) = cells.get_mut(step.cell) else { continue };
            add(cell, value, first + step.cell, &mut self.wide);
        }
        Ok(())
    }

    /// The metrics that there are; of the sums, those in the list.
    pub(super) fn choose(&self, list: Option<&[String]>) -> Chosen {
        let is_listed = |name: &str| list.is_none_or(|list| list.iter().any(|listed| listed == name));
        let there = self.metrics.names().enumerate().zip(&self.is_there);
        let mut there = there.map(|(metric, is_there)| (metric, *is_there));
        let mut take = |count: usize| -> Vec<_> {
            there.by_ref().take(count).filter(|(_, is_there)| *is_there).map(|(metric, _)| metric).collect()
        };
        let mut sums = take(self.metrics.sums.len());
        sums.retain(|(_, name)| is_listed(name));
        let (means, busy_means) = (take(self.metrics.means.len()), take(self.metrics.busy_means.len()));
        Chosen { sums, means, busy_means }
    }

    /// Puts the datapoints of a row into `told`.
    pub(super) fn tell(&self, at: usize, chosen: &Chosen, told: &mut Vec<Datapoint>) {
        told.clear();
        let first = at * self.metrics.count();
        let cells = self.cells.get(first..).unwrap_or_default();
        let (rows, busy) = self.rows.get(at).copied().unwrap_or_default();
        let sum = |cell| match (cells.get(cell).copied().unwrap_or_default(), self.wide.get(&(first + cell)))
        {
            (sum, None) => Some(Number::Integer(sum)),
            (sum, Some(wide)) => Number::real(to_real(sum) + wide),
        };
        let mean = |cell, count| match sum(cell)? {
            Number::Integer(sum) => Number::mean(to_real(sum), count),
            Number::Real(sum) => Number::mean(sum, count),
        };
        let point = |metric, value: Option<Number>| Some(Datapoint { metric, value: value? });
        told.extend(chosen.sums.iter().filter_map(|&(cell, metric)| point(metric, sum(cell))));
        told.extend(chosen.means.iter().filter_map(|&(cell, metric)| point(metric, mean(cell, rows))));
        if busy > 0 {
            told.extend(
                chosen.busy_means.iter().filter_map(|&(cell, metric)| point(metric, mean(cell, busy))),
            );
        }
    }

    /// The same, with servers of one name in all backends added up.
    pub(super) fn by_server(&self) -> Self {
        let mut all = Self { is_there: self.is_there.clone(), ..Self::new(self.metrics) };
        let count = self.metrics.count();
        for (at, (cells, (rows, busy))) in self.cells.chunks_exact(count).zip(&self.rows).enumerate() {
            let Ok(to) = all.find("", self.name(at).1, 0) else { continue };
            let (from, first) = (at * count, to * count);
            for ((offset, value), cell) in
                cells.iter().enumerate().zip(all.cells.get_mut(first..).unwrap_or_default())
            {
                add(cell, Read::Integer(*value), first + offset, &mut all.wide);
            }
            for (place, wide) in self.wide.range(from..from + count) {
                *all.wide.entry(first + place - from).or_default() += wide;
            }
            if let Some(sum) = all.rows.get_mut(to) {
                *sum = (sum.0 + rows, sum.1 + busy);
            }
        }
        all
    }
}

#[inline]
fn add(cell: &mut i64, value: Read, place: usize, wide: &mut BTreeMap<usize, f64>) {
    match value {
        Read::Integer(value) => match cell.checked_add(value) {
            Some(sum) => *cell = sum,
            None => *wide.entry(place).or_default() += to_real(value),
        },
        Read::Wide(value) => *wide.entry(place).or_default() += value,
    }
}

/// Names in the order in which they came.
#[derive(Clone, Debug, Default)]
struct Names {
    text: String,
    /// Where the parts of each name end.
    ends: Vec<(usize, usize)>,
    places: HashMap<Box<str>, usize>,
    /// The place that comes after the last one found. All processes have the same configuration, mostly, and tell
    /// of it in the same order.
    next: usize,
    key: String,
}

impl Names {
    fn get(&self, at: usize) -> (&str, &str) {
        let start = at.checked_sub(1).and_then(|before| self.ends.get(before)).map_or(0, |ends| ends.1);
        let (middle, end) = self.ends.get(at).copied().unwrap_or((start, start));
        (self.text.get(start..middle).unwrap_or_default(), self.text.get(middle..end).unwrap_or_default())
    }

    fn find(&mut self, proxy: &str, server: &str, row: usize) -> Result<usize, Fault> {
        let at = if self.next < self.ends.len() && self.get(self.next) == (proxy, server) {
            self.next
        } else {
            self.look_up(proxy, server, row)?
        };
        self.next = at + 1;
        Ok(at)
    }

    fn look_up(&mut self, proxy: &str, server: &str, row: usize) -> Result<usize, Fault> {
        self.key.clear();
        let chars = [proxy, "\n", server].into_iter().flat_map(str::chars);
        self.key.extend(chars.map(|char| if char == '.' { '_' } else { char }));
        if let Some(at) = self.places.get(self.key.as_str()) {
            return Ok(*at);
        }
        for name in [proxy, server] {
            if name.contains(|char: char| char.is_whitespace() || char.is_control()) {
                return Err(Fault::name(row, name));
            }
        }
        let at = self.ends.len();
        self.text.push_str(proxy);
        let middle = self.text.len();
        self.text.push_str(server);
        self.ends.push((middle, self.text.len()));
        self.places.insert(self.key.as_str().into(), at);
        Ok(at)
    }
}
