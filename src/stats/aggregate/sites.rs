//! `show stat` of the processes: frontends, backends and servers.

use std::collections::{HashMap, HashSet};

use super::metrics;
use super::rows::{Row, Rows};
use super::table::{Plan, Table};
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
        self.frontends.begin(&columns.frontend_metrics);
        self.backends.begin(&columns.backend_metrics);
        self.servers.begin(&columns.server_metrics);
        // An HAProxy without any proxy has no rows.
        while let Some(row) = rows.next()? {
            if row.width != columns.width {
                return Err(Fault::Width { row: row.number, width: row.width, expected: columns.width });
            }
            self.add_row(&columns, &row)?;
        }
        Ok(())
    }

    fn add_row(&mut self, columns: &Columns, row: &Row<'_>) -> Result<(), Fault> {
        let (proxy, server) = (row.text(columns.proxy), row.text(columns.server));
        if proxy.is_empty() || server.is_empty() {
            return Err(Fault::name(row.number, ""));
        }
        match row.bytes(columns.kind) {
            b"0" => {
                let at = self.frontends.find(proxy, "", row.number)?;
                self.frontends.add(at, &columns.frontend_metrics, row)
            }
            b"1" => {
                let at = self.backend(proxy, row.number)?;
                self.backends.add(at, &columns.backend_metrics, row)
            }
            b"2" => {
                let at = self.server(proxy, server, row.number)?;
                self.servers.add(at, &columns.server_metrics, row)
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
    frontend_metrics: Plan,
    backend_metrics: Plan,
    server_metrics: Plan,
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
            frontend_metrics: Plan::new(metrics::FRONTEND, &names),
            backend_metrics: Plan::new(metrics::BACKEND, &names),
            server_metrics: Plan::new(metrics::SERVER, &names),
        })
    }
}

impl Columns {
    /// So many fields have all that is looked at.
    fn wanted(&self) -> usize {
        let plans = [&self.frontend_metrics, &self.backend_metrics, &self.server_metrics];
        let metrics = plans.into_iter().flat_map(Plan::steps).map(|step| step.column);
        metrics.chain([self.proxy, self.server, self.kind]).max().map_or(0, |last| last + 1)
    }
}
