//! How a metric's path begins, settled once: the namespace, the host, the groups.

use super::aggregate::graphite::{self, Groups, Kind};
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

    /// Writes the lines of a reading, with haproxystats' paths.
    #[must_use]
    pub fn lines<'a>(&'a self, reading: &'a Reading<'_>) -> graphite::Lines<'a> {
        let groups = self.grouping.as_ref().map(|grouping| graphite::Grouping {
            namespace: &grouping.namespace,
            double_writes: grouping.double_writes,
            groups: grouping,
        });
        let host = self.host(reading);
        graphite::Lines::new(graphite::Naming { namespace: &self.namespace, host, groups }, reading.time)
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
