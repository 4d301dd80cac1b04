//! How a metric's path begins, settled once: the namespace, the host, the groups.

use std::borrow::Cow;

use super::aggregate::paths::{self, Groups, Kind, Paths};
use super::aggregate::{Subject, graphite};
use super::reading::Reading;
use super::settings;

/// The names that all outlets use.
#[derive(Clone, Debug, PartialEq)]
pub struct Naming {
    namespace: String,
    host: Option<String>,
    grouping: Option<settings::Grouping>,
}

impl Naming {
    /// `host` is this machine's name, with its dots.
    #[must_use]
    pub fn new(settings: &settings::Naming, host: &str) -> Self {
        let host = if settings.fqdn { host } else { host.split('.').next().unwrap_or(host) };
        Self {
            namespace: settings.namespace.clone(),
            host: settings.prefix_hostname.then(|| host.to_owned()),
            grouping: settings.grouping.clone(),
        }
    }

    /// The first part of a path, or parts.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Whose a reading is, with the dots of the name: another's is always told, this machine's where it is wanted.
    #[must_use]
    pub fn host<'a>(&'a self, reading: &'a Reading<'_>) -> Option<&'a str> {
        reading.origin.as_deref().or(self.host.as_deref())
    }

    /// The same beneath another namespace.
    #[must_use]
    pub fn within(&self, namespace: &str) -> Self {
        Self { namespace: namespace.to_owned(), ..self.clone() }
    }

    /// The group of a name, if there is one.
    #[must_use]
    pub fn group_of(&self, kind: Kind, name: &str) -> Option<&str> {
        self.grouping.as_ref()?.group_of(kind, &name.replace('.', "_"))
    }

    /// What tells a series of a reading from others of its metric: the host, the subject's labels, its group. They are
    /// as they are, dots included.
    pub fn labels<'a>(
        &'a self,
        reading: &'a Reading<'_>,
        subject: Subject<'a>,
    ) -> impl Iterator<Item = (&'static str, Cow<'a, str>)> {
        let host = self.host(reading).map(|host| ("host", host.into()));
        let group = self.group(subject).map(|group| ("group", group.into()));
        host.into_iter().chain(subject.labels()).chain(group)
    }

    /// The group of a subject, if there is one; a server in a backend is in the backend's.
    fn group(&self, subject: Subject<'_>) -> Option<&str> {
        match subject {
            Subject::Daemon | Subject::Process(_) | Subject::Own => None,
            Subject::Frontend(name) => self.group_of(Kind::Frontend, name),
            Subject::Backend(name) | Subject::Server { backend: name, .. } => {
                self.group_of(Kind::Backend, name)
            }
            Subject::ServerInAll(name) => self.group_of(Kind::Server, name),
        }
    }

    /// The paths of a reading's subjects, as haproxystats has them.
    #[must_use]
    pub fn paths<'a>(&'a self, reading: &'a Reading<'_>) -> Paths<'a> {
        Paths::new(self.of(reading))
    }

    /// Writes the lines of a reading, with haproxystats' paths.
    #[must_use]
    pub fn lines<'a>(&'a self, reading: &'a Reading<'_>) -> graphite::Lines<'a> {
        graphite::Lines::new(self.of(reading), reading.time)
    }

    fn of<'a>(&'a self, reading: &'a Reading<'_>) -> paths::Naming<'a> {
        let groups = self.grouping.as_ref().map(|grouping| paths::Grouping {
            namespace: &grouping.namespace,
            double_writes: grouping.double_writes,
            groups: grouping,
        });
        paths::Naming { namespace: &self.namespace, host: self.host(reading), groups }
    }
}

impl Groups for settings::Grouping {
    fn group_of(&self, kind: Kind, name: &str) -> Option<&str> {
        match kind {
            Kind::Frontend => self.frontends.find(name),
            Kind::Backend => self.backends.find(name),
            Kind::Server => self.servers.find(name),
        }
    }
}
