//! haproxystats' paths: what stands before the metric. One for each subject, or two with double writes.

use super::Subject;

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

/// Finds the paths of the subjects of one snapshot.
pub struct Paths<'a> {
    naming: Naming<'a>,
    /// `namespace.host.haproxy.`
    root: String,
    /// The backend of the last server, and the paths of all servers in it.
    backend: Option<String>,
    beneath: Texts,
    texts: Texts,
    /// A name with underscores for dots.
    name: String,
}

/// One path, or two with double writes.
#[derive(Default)]
struct Texts {
    texts: [String; 2],
    count: usize,
}

impl Texts {
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

impl<'a> Paths<'a> {
    /// All of them begin as `naming` says.
    #[must_use]
    pub fn new(naming: Naming<'a>) -> Self {
        let host = naming.host.map(|host| format!("{}.", host.replace('.', "_"))).unwrap_or_default();
        Self {
            naming,
            root: format!("{}.{host}haproxy.", naming.namespace),
            backend: None,
            beneath: Texts::default(),
            texts: Texts::default(),
            name: String::new(),
        }
    }

    /// Those of a subject, each with the dot at its end.
    pub fn of(&mut self, subject: Subject<'_>) -> &[String] {
        match subject {
            Subject::Daemon => self.without_group(&["daemon"]),
            Subject::Process(number) => self.without_group(&["daemon", "process", &number.to_string()]),
            Subject::Own => self.without_group(&["haproxystats"]),
            Subject::Frontend(name) => self.with_group(Kind::Frontend, "frontend", name),
            Subject::Backend(name) => self.with_group(Kind::Backend, "backend", name),
            Subject::ServerInAll(name) => self.with_group(Kind::Server, "server", name),
            Subject::Server { backend, server } => self.in_backend(backend, server),
        }
        self.texts.all()
    }

    fn without_group(&mut self, parts: &[&str]) {
        self.texts.clear();
        if let Some(path) = self.texts.add() {
            path.push_str(&self.root);
        }
        for part in parts {
            self.texts.push(part);
        }
    }

    fn with_group(&mut self, kind: Kind, word: &str, name: &str) {
        set_name(&mut self.name, name);
        let grouping = self.naming.groups.as_ref();
        let group =
            grouping.and_then(|grouping| Some((grouping, grouping.groups.group_of(kind, &self.name)?)));
        self.texts.clear();
        if let Some((grouping, group)) = group
            && let Some(path) = self.texts.add()
        {
            path.extend([&self.root, grouping.namespace, ".", group, "."]);
        }
        if group.is_none_or(|(grouping, _)| grouping.double_writes)
            && let Some(path) = self.texts.add()
        {
            path.push_str(&self.root);
        }
        self.texts.push(word);
        self.texts.push(&self.name);
    }

    fn in_backend(&mut self, backend: &str, server: &str) {
        if self.backend.as_deref() != Some(backend) {
            self.with_group(Kind::Backend, "backend", backend);
            self.texts.push("server");
            std::mem::swap(&mut self.texts, &mut self.beneath);
            self.backend = Some(backend.to_owned());
        }
        set_name(&mut self.name, server);
        self.texts.clear();
        for base in self.beneath.all() {
            if let Some(path) = self.texts.add() {
                path.push_str(base);
            }
        }
        self.texts.push(&self.name);
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
