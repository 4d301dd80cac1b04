//! Graphite's plaintext: a line `path value time` for each datapoint, with the paths of haproxystats.

use super::{Datapoint, Subject};

/// How paths begin.
#[derive(Clone, Copy)]
pub struct Naming<'a> {
    /// The first part, or parts: dots are kept.
    pub namespace: &'a str,
    /// The host's name, or none.
    pub host: Option<&'a str>,
    /// The groups, if there are any.
    pub groups: Option<Grouping<'a>>,
}

/// Frontends, backends and servers that have a path by their group.
#[derive(Clone, Copy)]
pub struct Grouping<'a> {
    /// Stands before the group.
    pub namespace: &'a str,
    /// Whether members have their path without a group, too.
    pub double_writes: bool,
    /// Who is in which group.
    pub groups: &'a dyn Groups,
}

/// What may be in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A frontend.
    Frontend,
    /// A backend; the servers in it are in its group.
    Backend,
    /// A server across backends.
    Server,
}

/// Tells the group of a name.
pub trait Groups {
    /// The group, if there is one. `name` has underscores for dots.
    fn group_of(&self, kind: Kind, name: &str) -> Option<&str>;
}

impl<F: Fn(Kind, &str) -> Option<&'static str>> Groups for F {
    fn group_of(&self, kind: Kind, name: &str) -> Option<&str> {
        self(kind, name)
    }
}

/// Most metrics and values are shorter than this together.
const USUAL_LINE: usize = 32;

/// Writes the lines of one snapshot.
pub struct Lines<'a> {
    naming: Naming<'a>,
    /// `namespace.host.haproxy.`
    root: String,
    /// A space, the time and a line end, of this length together; then the path of the next line.
    between: String,
    tail: usize,
    /// The backend of the last server, and the paths of that backend.
    backend: Option<String>,
    backend_paths: Paths,
    paths: Paths,
    /// A name with underscores for dots.
    name: String,
}

/// One path, or two with double writes.
#[derive(Default)]
struct Paths {
    texts: [String; 2],
    count: usize,
}

impl Paths {
    fn clear(&mut self) {
        self.count = 0;
    }

    fn add(&mut self) -> Option<&mut String> {
        let text = self.texts.get_mut(self.count)?;
        text.clear();
        self.count += 1;
        Some(text)
    }

    fn all(&self) -> &[String] {
        self.texts.get(..self.count).unwrap_or_default()
    }

    fn push(&mut self, part: &str) {
        for text in self.texts.iter_mut().take(self.count) {
            text.push_str(part);
            text.push('.');
        }
    }
}

impl<'a> Lines<'a> {
    /// Of a snapshot that was taken at `time`, in epoch seconds.
    #[must_use]
    pub fn new(naming: Naming<'a>, time: u64) -> Self {
        let host = naming.host.map(|host| format!("{}.", host.replace('.', "_"))).unwrap_or_default();
        let between = format!(" {time}\n");
        Self {
            naming,
            root: format!("{}.{host}haproxy.", naming.namespace),
            tail: between.len(),
            between,
            backend: None,
            backend_paths: Paths::default(),
            paths: Paths::default(),
            name: String::new(),
        }
    }

    /// Appends the lines of a subject to `out`.
    pub fn write(&mut self, subject: Subject<'_>, datapoints: &[Datapoint], out: &mut Vec<u8>) {
        self.find_paths(subject);
        for path in self.paths.all() {
            // The end of a line and the path of the next one are always the same: one copy.
            self.between.truncate(self.tail);
            self.between.push_str(path);
            let (between, line) = (self.between.as_bytes(), self.between.len() + USUAL_LINE);
            out.reserve(datapoints.len() * line);
            out.extend_from_slice(path.as_bytes());
            for Datapoint { metric, value } in datapoints {
                out.extend_from_slice(metric.as_bytes());
                out.push(b' ');
                value.write(out);
                out.extend_from_slice(between);
            }
            out.truncate(out.len() - path.len());
        }
    }

    fn find_paths(&mut self, subject: Subject<'_>) {
        match subject {
            Subject::Daemon => self.without_group(&["daemon"]),
            Subject::Process(number) => self.without_group(&["daemon", "process", &number.to_string()]),
            Subject::Own => self.without_group(&["haproxystats"]),
            Subject::Frontend(name) => self.with_group(Kind::Frontend, "frontend", name),
            Subject::Backend(name) => self.with_group(Kind::Backend, "backend", name),
            Subject::ServerInAll(name) => self.with_group(Kind::Server, "server", name),
            Subject::Server { backend, server } => self.in_backend(backend, server),
        }
    }

    fn without_group(&mut self, parts: &[&str]) {
        self.paths.clear();
        if let Some(path) = self.paths.add() {
            path.push_str(&self.root);
        }
        for part in parts {
            self.paths.push(part);
        }
    }

    fn with_group(&mut self, kind: Kind, word: &str, name: &str) {
        set_name(&mut self.name, name);
        let grouping = self.naming.groups.as_ref();
        let group =
            grouping.and_then(|grouping| Some((grouping, grouping.groups.group_of(kind, &self.name)?)));
        self.paths.clear();
        if let Some((grouping, group)) = group
            && let Some(path) = self.paths.add()
        {
            path.extend([&self.root, grouping.namespace, ".", group, "."]);
        }
        if group.is_none_or(|(grouping, _)| grouping.double_writes)
            && let Some(path) = self.paths.add()
        {
            path.push_str(&self.root);
        }
        self.paths.push(word);
        self.paths.push(&self.name);
    }

    fn in_backend(&mut self, backend: &str, server: &str) {
        if self.backend.as_deref() != Some(backend) {
            self.with_group(Kind::Backend, "backend", backend);
            self.paths.push("server");
            std::mem::swap(&mut self.paths, &mut self.backend_paths);
            self.backend = Some(backend.to_owned());
        }
        set_name(&mut self.name, server);
        self.paths.clear();
        for base in self.backend_paths.all() {
            if let Some(path) = self.paths.add() {
                path.push_str(base);
            }
        }
        self.paths.push(&self.name);
    }
}

/// A dot would begin a new part of the path.
fn set_name(to: &mut String, name: &str) {
    to.clear();
    for (number, part) in name.split('.').enumerate() {
        if number > 0 {
            to.push('_');
        }
        to.push_str(part);
    }
}
