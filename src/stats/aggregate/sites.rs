//! `show stat` of the processes: frontends, backends and servers.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::metrics::{self, Metrics};
use super::number::{Read, to_real};
use super::rows::{Row, Rows};
use super::{Datapoint, Fault, Number, Scope, Sink, Subject};

/// The sums of all rows.
#[derive(Clone, Debug)]
pub(super) struct Sites<'s> {
    scope: &'s Scope,
    excluded_frontends: HashSet<String>,
    excluded_backends: HashSet<String>,
    frontends: Table,
    backends: Table,
    servers: Table,
    /// The backend of each server.
    backend_of: Vec<usize>,
    /// How many servers each backend has.
    servers_of: Vec<u32>,
}

/// How many datapoints were told of each kind.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) frontends: usize,
    pub(super) backends: usize,
    pub(super) servers: usize,
}

impl<'s> Sites<'s> {
    pub(super) fn new(scope: &'s Scope) -> Self {
        let without_dots = |names: &[String]| names.iter().map(|name| name.replace('.', "_")).collect();
        Self {
            scope,
            excluded_frontends: without_dots(&scope.excluded_frontends),
            excluded_backends: without_dots(&scope.excluded_backends),
            frontends: Table::new(metrics::FRONTEND),
            backends: Table::new(metrics::BACKEND),
            servers: Table::new(metrics::SERVER),
            backend_of: Vec::new(),
            servers_of: Vec::new(),
        }
    }

    /// Adds the rows of one process.
    pub(super) fn add(&mut self, text: &str) -> Result<(), Fault> {
        if text.trim().is_empty() {
            return Err(Fault::Empty);
        }
        if !text.starts_with("# pxname,") {
            return Err(Fault::Header);
        }
        let mut rows = Rows::new(text);
        let columns = rows.next()?.as_ref().map(Columns::find).ok_or(Fault::Header)??;
        rows.want(columns.wanted());
        self.frontends.begin(&columns.frontend);
        self.backends.begin(&columns.backend);
        self.servers.begin(&columns.server_cells);
        let mut is_read = false;
        while let Some(row) = rows.next()? {
            if row.width != columns.width {
                return Err(Fault::Width { row: row.number, width: row.width, expected: columns.width });
            }
            self.add_row(&columns, &row)?;
            is_read = true;
        }
        if is_read { Ok(()) } else { Err(Fault::NoRows) }
    }

    fn add_row(&mut self, columns: &Columns, row: &Row<'_>) -> Result<(), Fault> {
        let (proxy, server) = (row.text(columns.proxy), row.text(columns.server));
        if proxy.is_empty() || server.is_empty() {
            return Err(Fault::name(row.number, ""));
        }
        match row.bytes(columns.kind) {
            b"0" => {
                let at = self.frontends.find(proxy, "", row.number)?;
                self.frontends.add(at, &columns.frontend, row)
            }
            b"1" => {
                let at = self.backend(proxy, row.number)?;
                self.backends.add(at, &columns.backend, row)
            }
            b"2" => {
                let at = self.server(proxy, server, row.number)?;
                self.servers.add(at, &columns.server_cells, row)
            }
            // A listener of a frontend.
            b"3" => Ok(()),
            _ => Err(Fault::value(row.number, "type", row.text(columns.kind))),
        }
    }

    fn backend(&mut self, name: &str, row: usize) -> Result<usize, Fault> {
        let at = self.backends.find(name, "", row)?;
        self.servers_of.resize(self.backends.len().max(self.servers_of.len()), 0);
        Ok(at)
    }

    fn server(&mut self, backend: &str, name: &str, row: usize) -> Result<usize, Fault> {
        let at = self.servers.find(backend, name, row)?;
        // A server that was not there before: what stands in front of the others is one of a backend.
        if at == self.backend_of.len() {
            let backend = self.backend(backend, row)?;
            self.backend_of.push(backend);
            if let Some(count) = self.servers_of.get_mut(backend) {
                *count += 1;
            }
        }
        Ok(at)
    }

    /// Tells of all frontends, backends and servers.
    pub(super) fn emit<E>(&self, sink: &mut Sink<'_, E>) -> Result<Counts, E> {
        let mut counts = Counts::default();
        let mut told = Vec::new();
        self.emit_frontends(&mut counts, &mut told, sink)?;
        self.emit_backends(&mut counts, &mut told, sink)?;
        self.emit_servers(&mut counts, &mut told, sink)?;
        if self.scope.aggr_server_metrics {
            self.emit_servers_in_all(&mut counts, &mut told, sink)?;
        }
        Ok(counts)
    }

    fn emit_frontends<E>(
        &self,
        counts: &mut Counts,
        told: &mut Vec<Datapoint>,
        sink: &mut Sink<'_, E>,
    ) -> Result<(), E> {
        let chosen = self.frontends.choose(self.scope.frontend_metrics.as_deref());
        for at in 0..self.frontends.len() {
            let (name, _) = self.frontends.name(at);
            if !is_in(&self.excluded_frontends, name) {
                counts.frontends += chosen.count();
                self.frontends.tell(at, &chosen, told);
                sink(Subject::Frontend(name), told)?;
            }
        }
        Ok(())
    }

    fn emit_backends<E>(
        &self,
        counts: &mut Counts,
        told: &mut Vec<Datapoint>,
        sink: &mut Sink<'_, E>,
    ) -> Result<(), E> {
        let chosen = self.backends.choose(self.scope.backend_metrics.as_deref());
        for (at, servers) in self.servers_of.iter().enumerate() {
            let (name, _) = self.backends.name(at);
            if is_in(&self.excluded_backends, name) {
                continue;
            }
            told.clear();
            // Only a dump that leaves rows out has servers without their backend.
            if self.backends.rows(at) > 0 {
                counts.backends += chosen.count();
                self.backends.tell(at, &chosen, told);
            }
            if *servers > 0 {
                counts.servers += 1;
                told.push(Datapoint { metric: "TotalServers", value: Number::Integer((*servers).into()) });
            }
            sink(Subject::Backend(name), told)?;
        }
        Ok(())
    }

    fn emit_servers<E>(
        &self,
        counts: &mut Counts,
        told: &mut Vec<Datapoint>,
        sink: &mut Sink<'_, E>,
    ) -> Result<(), E> {
        let chosen = self.servers.choose(self.scope.server_metrics.as_deref());
        for at in 0..self.servers.len() {
            let (backend, server) = self.servers.name(at);
            if !is_in(&self.excluded_backends, backend) {
                counts.servers += chosen.count();
                self.servers.tell(at, &chosen, told);
                sink(Subject::Server { backend, server }, told)?;
            }
        }
        Ok(())
    }

    fn emit_servers_in_all<E>(
        &self,
        counts: &mut Counts,
        told: &mut Vec<Datapoint>,
        sink: &mut Sink<'_, E>,
    ) -> Result<(), E> {
        let all = self.servers.by_server();
        let chosen = all.choose(None);
        for at in 0..all.len() {
            let (_, server) = all.name(at);
            counts.servers += chosen.count();
            all.tell(at, &chosen, told);
            sink(Subject::ServerInAll(server), told)?;
        }
        Ok(())
    }
}

fn is_in(excluded: &HashSet<String>, name: &str) -> bool {
    !excluded.is_empty() && excluded.contains(&name.replace('.', "_"))
}

/// Where in a row things stand.
struct Columns {
    width: usize,
    proxy: usize,
    server: usize,
    kind: usize,
    frontend: Plan,
    backend: Plan,
    server_cells: Plan,
}

impl Columns {
    fn find(header: &Row<'_>) -> Result<Self, Fault> {
        let width = header.width;
        let names: HashMap<&str, usize> = (0..width).rev().map(|at| (header.text(at), at)).collect();
        let find = |name: &'static str| names.get(name).copied().ok_or(Fault::Column(name));
        Ok(Self {
            width,
            proxy: find("# pxname")?,
            server: find("svname")?,
            kind: find("type")?,
            frontend: Plan::new(metrics::FRONTEND, &names),
            backend: Plan::new(metrics::BACKEND, &names),
            server_cells: Plan::new(metrics::SERVER, &names),
        })
    }
}

impl Columns {
    /// So many fields have all that is looked at.
    fn wanted(&self) -> usize {
        let plans = [&self.frontend, &self.backend, &self.server_cells];
        let metrics = plans.into_iter().flat_map(Plan::steps).map(|step| step.column);
        metrics.chain([self.proxy, self.server, self.kind]).max().map_or(0, |last| last + 1)
    }
}

/// Which column goes to which cell.
struct Plan {
    lbtot: Option<usize>,
    always: Vec<Step>,
    /// Only of rows with `lbtot` above 0.
    busy: Vec<Step>,
}

#[derive(Clone, Copy)]
struct Step {
    column: usize,
    cell: usize,
    metric: &'static str,
}

impl Plan {
    fn new(metrics: Metrics, names: &HashMap<&str, usize>) -> Self {
        let steps = metrics
            .names()
            .enumerate()
            .filter_map(|(cell, metric)| Some(Step { column: *names.get(metric)?, cell, metric }));
        let first_busy = metrics.sums.len() + metrics.means.len();
        let (always, busy) = steps.partition(|step| step.cell < first_busy);
        Self { lbtot: names.get("lbtot").copied(), always, busy }
    }

    fn steps(&self) -> impl Iterator<Item = &Step> {
        self.always.iter().chain(&self.busy)
    }
}

/// The sums of all frontends, backends or servers.
#[derive(Clone, Debug)]
struct Table {
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
struct Chosen {
    sums: Vec<(usize, &'static str)>,
    means: Vec<(usize, &'static str)>,
    busy_means: Vec<(usize, &'static str)>,
}

impl Chosen {
    fn count(&self) -> usize {
        self.sums.len() + self.means.len() + self.busy_means.len()
    }
}

impl Table {
    fn new(metrics: Metrics) -> Self {
        Self {
            metrics,
            is_there: vec![false; metrics.count()],
            names: Names::default(),
            cells: Vec::new(),
            wide: BTreeMap::new(),
            rows: Vec::new(),
        }
    }

    fn len(&self) -> usize {
        self.rows.len()
    }

    fn rows(&self, at: usize) -> u32 {
        self.rows.get(at).map_or(0, |(rows, _)| *rows)
    }

    fn name(&self, at: usize) -> (&str, &str) {
        self.names.get(at)
    }

    /// The next text begins, with these columns.
    fn begin(&mut self, plan: &Plan) {
        self.names.next = 0;
        for step in plan.steps() {
            if let Some(is_there) = self.is_there.get_mut(step.cell) {
                *is_there = true;
            }
        }
    }

    /// The place of a name, a new one if need be.
    fn find(&mut self, proxy: &str, server: &str, row: usize) -> Result<usize, Fault> {
        let at = self.names.find(proxy, server, row)?;
        if at == self.rows.len() {
            self.rows.push((0, 0));
            self.cells.resize(self.cells.len() + self.metrics.count(), 0);
        }
        Ok(at)
    }

    fn add(&mut self, at: usize, plan: &Plan, row: &Row<'_>) -> Result<(), Fault> {
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
    fn choose(&self, list: Option<&[String]>) -> Chosen {
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
    fn tell(&self, at: usize, chosen: &Chosen, told: &mut Vec<Datapoint>) {
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
    fn by_server(&self) -> Self {
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
