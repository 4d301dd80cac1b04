//! What a reading says, by metric: Prometheus wants all samples of a metric together, and a reading tells one subject
//! after the other.
//!
//! Values are kept, not text: a column of numbers for each metric and the labels once for each subject, which is
//! 16 bytes for a sample where a line has 80. To ask the reading again for each metric would need no memory at all,
//! and a second and a half where there are 10,000 servers.

use std::collections::HashMap;
use std::convert::Infallible;

use super::names::{Entry, GROUPS, Group, SNAPSHOT_TIME};
use crate::sinks::{write_family, write_label, write_sample};
use crate::stats::Reading;
use crate::stats::aggregate::{Aggregate, Datapoint, Number, Subject};

/// All metrics, in the order in which they are written.
#[derive(Debug)]
pub(super) struct Catalogue {
    columns: Vec<Column>,
    /// By kind of subject and metric.
    places: HashMap<(&'static str, &'static str), usize>,
}

/// A metric of a kind of subject.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: String,
    /// A label that all samples have.
    pub(super) label: String,
    pub(super) entry: &'static Entry,
}

impl Catalogue {
    pub(super) fn new() -> Self {
        let all = || GROUPS.iter().flat_map(|group| group.entries.iter().map(move |entry| (group, entry)));
        let places = all().enumerate().map(|(at, (group, entry))| ((group.subject, entry.metric), at));
        Self {
            columns: all().map(|(group, entry)| Column::new(group, entry)).collect(),
            places: places.collect(),
        }
    }

    pub(super) fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Writes all samples in pieces, those of a metric together. Each machine has a label, which may be empty.
    pub(super) fn write<E>(
        &self,
        machines: &[(&str, &Samples)],
        write: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut family = "";
        let mut line = Vec::new();
        for (at, column) in self.columns().iter().enumerate() {
            for (machine, samples) in machines {
                for (labels, value) in samples.column(at) {
                    if family != column.name {
                        family = &column.name;
                        write_family(&mut line, family, column.entry.kind, column.entry.help);
                    }
                    write_sample(&mut line, family, [*machine, labels, &column.label], value);
                    write(&line)?;
                    line.clear();
                }
            }
        }
        Ok(())
    }

    fn place(&self, subject: Subject<'_>, metric: &'static str) -> Option<usize> {
        self.places.get(&(subject.kind(), metric)).copied()
    }
}

impl Column {
    fn new(group: &Group, entry: &'static Entry) -> Self {
        let mut label = String::new();
        if let Some((name, value)) = entry.label {
            write_label(&mut label, name, value);
        }
        Self { name: format!("{}{}", group.prefix, entry.name), label, entry }
    }
}

/// The samples of a reading.
#[derive(Debug, Default)]
pub(super) struct Samples {
    /// Labels of each subject.
    subjects: Vec<String>,
    /// For each column, subjects and values.
    columns: Vec<Vec<(u32, f64)>>,
}

impl Samples {
    pub(super) fn of(reading: &Reading<'_>, catalogue: &Catalogue) -> Self {
        let mut samples = Self::none(catalogue);
        let Ok(()) = reading.emit::<Infallible>(&mut |subject, datapoints| {
            samples.add(catalogue, subject, datapoints);
            Ok(())
        });
        let value = Number::Integer(i64::try_from(reading.time).unwrap_or(i64::MAX));
        samples.add(catalogue, Subject::Own, &[Datapoint { metric: SNAPSHOT_TIME, value }]);
        // They are kept until the next reading.
        samples.columns.iter_mut().for_each(Vec::shrink_to_fit);
        samples
    }

    /// What HAProxy tells, without what the pipeline tells of itself.
    pub(super) fn of_haproxy(aggregate: &Aggregate<'_>, catalogue: &Catalogue) -> Self {
        let mut samples = Self::none(catalogue);
        let Ok(()) = aggregate.emit::<Infallible>(&mut |subject, datapoints| {
            if subject != Subject::Own {
                samples.add(catalogue, subject, datapoints);
            }
            Ok(())
        });
        samples
    }

    fn none(catalogue: &Catalogue) -> Self {
        Self { subjects: Vec::new(), columns: vec![Vec::new(); catalogue.columns.len()] }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.columns.iter().map(Vec::len).sum()
    }

    /// Labels and values of a column.
    pub(super) fn column(&self, at: usize) -> impl Iterator<Item = (&str, f64)> {
        let samples = self.columns.get(at).into_iter().flatten();
        samples.map(|(subject, value)| {
            let labels = usize::try_from(*subject).ok().and_then(|at| self.subjects.get(at));
            (labels.map_or("", String::as_str), *value)
        })
    }

    fn add(&mut self, catalogue: &Catalogue, subject: Subject<'_>, datapoints: &[Datapoint]) {
        let id = self.subject(subject);
        for Datapoint { metric, value } in datapoints {
            let Some(at) = catalogue.place(subject, metric) else { continue };
            if let (Some(column), Some(to)) = (catalogue.columns.get(at), self.columns.get_mut(at)) {
                to.push((id, column.entry.scale(value.to_f64())));
            }
        }
    }

    fn subject(&mut self, subject: Subject<'_>) -> u32 {
        let mut labels = String::new();
        for (name, value) in subject.labels() {
            // HAProxy's exporter has one word for both.
            let name = if matches!(name, "frontend" | "backend") { "proxy" } else { name };
            write_label(&mut labels, name, &value);
        }
        if matches!(subject, Subject::Process(_)) {
            self.forget(&labels);
        }
        self.subjects.push(labels);
        // No snapshot has as many rows.
        u32::try_from(self.subjects.len() - 1).unwrap_or(u32::MAX)
    }

    /// Several processes on a machine are all number 1 of their own. One sample too many would spoil the whole file; the last
    /// one counts, as it does in Graphite.
    fn forget(&mut self, labels: &str) {
        let Some(at) = self.subjects.iter().position(|known| known == labels) else { return };
        for column in &mut self.columns {
            column.retain(|(subject, _)| usize::try_from(*subject) != Ok(at));
        }
        if let Some(known) = self.subjects.get_mut(at) {
            known.clear();
        }
    }
}
