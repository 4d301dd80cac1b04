//! What the series of a subject are called: by haproxystats' paths, or by a name that all subjects of a kind share and
//! tags that tell them apart.

use crate::sinks::{Dialect, Series};
use crate::stats::aggregate::Subject;
use crate::stats::aggregate::paths::Paths;
use crate::stats::{Naming, Reading};

/// Names the series of one reading.
pub(super) struct Names<'a> {
    dialect: Dialect,
    naming: &'a Naming,
    reading: &'a Reading<'a>,
    /// Where there are no tags.
    paths: Option<Paths<'a>>,
}

impl<'a> Names<'a> {
    pub(super) fn new(dialect: Dialect, tags: bool, naming: &'a Naming, reading: &'a Reading<'a>) -> Self {
        Self { dialect, naming, reading, paths: (!tags).then(|| naming.paths(reading)) }
    }

    /// One, or two where a member of a group is written twice. With tags nothing is: the group is a tag.
    pub(super) fn of(&mut self, subject: Subject<'_>) -> Vec<Series> {
        let dialect = self.dialect;
        if let Some(paths) = &mut self.paths {
            return paths.of(subject).iter().map(|path| Series::plain(dialect, path)).collect();
        }
        let name = format!("{}.haproxy.{}.", self.naming.namespace(), subject.kind());
        vec![Series::tagged(dialect, &name, self.naming.labels(self.reading, subject))]
    }
}
