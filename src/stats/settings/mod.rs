//! What the statistics commands are to do: haproxystats' configuration, as its 0.5.2 reads it, with options of our
//! own beside. Files are read here, and nothing else is done. The text's syntax is [`crate::ini`]'s, the options
//! and their defaults are in `table.rs`.
//!
//! All that is wrong is told at once. What haproxystats takes is taken, where it has a meaning; what it passes over
//! in silence, such as an option that it does not know, is a warning.

mod groups;
mod kafka;
mod names;
mod print;
mod reader;
mod remark;
mod table;
mod value;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use groups::{Group, Groups};
pub use kafka::{Compression, Kafka};
pub use remark::{Fault, FaultKind, Remark, Warning, WarningKind};
pub use table::defaults;

use super::aggregate::{Scope, metrics};
use super::delivery::Retry;
use crate::net::Endpoint;
use print::Printed;
use reader::Reader;
use table::{GRAPHITE, KAFKA, LOCAL_STORE, PATHS, PROCESS, PROMETHEUS, PULL, STATSD};

/// The file that is read where none is named.
pub const DEFAULT_PATH: &str = "/etc/haproxystats.conf";

/// A whole configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// `[paths]`.
    pub paths: Paths,
    /// `[pull]`.
    pub pull: Pull,
    /// `[process]`.
    pub process: Process,
    /// How metrics are named; also from `[graphite]`, but needed without that sink, too.
    pub naming: Naming,
    /// The sink of `[graphite]`. haproxystats always has it; here it is left out where the section is in no file
    /// and one of `[statsd]`, `[prometheus]` and `topic` in `[kafka]` is.
    pub graphite: Option<Graphite>,
    /// The sink of `[statsd]`, if the section is there.
    pub statsd: Option<Statsd>,
    /// The sink of `[local-store]`, if the section is there.
    pub local_store: Option<LocalStore>,
    /// The sink of `[prometheus]`, if the section is there.
    pub prometheus: Option<Prometheus>,
    /// Kafka as a sink and as a source, if the section is there. A build without the feature `kafka` refuses the
    /// section.
    pub kafka: Option<Kafka>,
    printed: Printed,
}

/// Directories that other options build on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// Nothing follows it by itself; values name it as `${paths:base-dir}`.
    pub base_dir: PathBuf,
}

/// How statistics are fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pull {
    /// How much is logged.
    pub log_level: LogLevel,
    /// A directory all of whose unix sockets are asked. haproxystats asks nobody where this is not set and
    /// `servers` is empty.
    pub socket_dir: Option<PathBuf>,
    /// Sockets beside those.
    pub servers: Vec<Endpoint>,
    /// The cluster that this machine is one of: its snapshots in Kafka are added up with those of the others.
    pub cluster: Option<String>,
    /// Bytes that are read at once.
    pub buffer_limit: usize,
    /// How often a connection is tried again.
    pub retries: Retries,
    /// How long connecting may take.
    pub timeout: Duration,
    /// The wait before connecting is tried again.
    pub interval: Duration,
    /// From one pull to the next, in whole seconds.
    pub pull_interval: Duration,
    /// How long a whole pull may take; `None` where there is no limit but the next pull.
    pub pull_timeout: Option<Duration>,
    /// Where whole snapshots go to. A relative path is one from the working directory, as all but those of files
    /// of names.
    pub dst_dir: PathBuf,
    /// Where they grow.
    pub tmp_dst_dir: PathBuf,
    /// Threads that write, 1 to 256.
    pub workers: usize,
    /// At how many snapshots in `dst_dir` pulling is suspended.
    pub queue_size: usize,
    /// Whether a snapshot is kept in which a dump is missing. haproxystats drops it.
    pub keep_partial: bool,
}

/// How snapshots are processed.
#[derive(Clone, Debug, PartialEq)]
pub struct Process {
    /// How much is logged.
    pub log_level: LogLevel,
    /// Where snapshots come from.
    pub src_dir: PathBuf,
    /// How many snapshots are worked on at once, 1 to 256.
    pub workers: usize,
    /// Those of [`metrics::FRONTEND`] that are wanted; `None` for all.
    pub frontend_metrics: Option<Vec<String>>,
    /// Those of [`metrics::BACKEND`] that are wanted; `None` for all. haproxystats gives the averages in any case.
    pub backend_metrics: Option<Vec<String>>,
    /// Those of [`metrics::SERVER`] that are wanted; `None` for all. haproxystats gives the averages in any case.
    pub server_metrics: Option<Vec<String>>,
    /// Whether servers are also summed up across backends.
    pub aggr_server_metrics: bool,
    /// Frontends that are left out.
    pub exclude_frontends: Option<Exclusions>,
    /// Backends that are left out, with their servers.
    pub exclude_backends: Option<Exclusions>,
    /// Whether each HAProxy process has metrics of its own.
    pub per_process_metrics: bool,
    /// Whether usage is also given as a part of its limit.
    pub calculate_percentages: bool,
    /// How often haproxystats looks whether its workers live.
    pub liveness_check_interval: Duration,
}

/// Names that are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exclusions {
    /// The file, an absolute path. It was relative to the folder of the configuration that names it.
    pub path: PathBuf,
    /// One a line, without comments. haproxystats compares them with underscores for dots on both sides.
    pub names: BTreeSet<String>,
}

/// How a metric's path begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Naming {
    /// The first part.
    pub namespace: String,
    /// Whether the host name follows.
    pub prefix_hostname: bool,
    /// Whether that is the whole host name, with underscores for its dots, or what is before the first dot.
    pub fqdn: bool,
    /// Whether and how metrics are grouped.
    pub grouping: Option<Grouping>,
}

/// Groups of metrics, beneath a name of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grouping {
    /// What stands before the group.
    pub namespace: String,
    /// Whether a grouped metric is sent under its own path, too.
    pub double_writes: bool,
    /// `[frontend-groups]`.
    pub frontends: Groups,
    /// `[backend-groups]`.
    pub backends: Groups,
    /// `[server-groups]`.
    pub servers: Groups,
}

/// The sink that is Graphite.
#[derive(Clone, Debug, PartialEq)]
pub struct Graphite {
    /// A name, or an address without brackets.
    pub server: String,
    /// Its port.
    pub port: u16,
    /// What is spoken.
    pub protocol: Protocol,
    /// Whether metrics have tags instead of long names.
    pub tags: bool,
    /// How often connecting is tried again.
    pub retries: Retries,
    /// The wait before the first time.
    pub interval: Duration,
    /// By what the wait grows each time.
    pub backoff: f64,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long a write may take.
    pub write_timeout: Duration,
    /// How long it may take to read the rest and to close the connection. haproxystats does not wait for that.
    pub close_timeout: Duration,
    /// After all tries, the wait before the next ones.
    pub delay: Duration,
    /// How many metrics haproxystats keeps in memory when it cannot send.
    pub queue_size: usize,
}

/// The sink that is statsd, over UDP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statsd {
    /// A name, or an address without brackets.
    pub server: String,
    /// Its port.
    pub port: u16,
    /// The first part of a metric's path; by default Graphite's.
    pub namespace: String,
    /// Whether metrics have tags, as Datadog has them.
    pub tags: bool,
    /// The most bytes of a datagram.
    pub packet_size: usize,
}

/// The sink that is a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalStore {
    /// Each snapshot has a directory in it.
    pub dir: PathBuf,
}

/// The sink that is a text file of Prometheus' node exporter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prometheus {
    /// The file.
    pub file: PathBuf,
}

/// How often something is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retries {
    /// So many times, after the first.
    Times(u32),
    /// Until it succeeds; written -1.
    Forever,
}

impl Default for Retries {
    fn default() -> Self {
        Self::Times(0)
    }
}

/// How much is logged, in Python's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Only what ends the program.
    Critical,
    /// What went wrong.
    Error,
    /// What may be wrong.
    Warning,
    /// What is done.
    #[default]
    Info,
    /// All.
    Debug,
}

/// How Graphite is spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// Lines over TCP.
    #[default]
    Tcp,
    /// Lines over UDP.
    Udp,
    /// Pickles over TCP.
    Pickle,
}

/// Of which program's options is spoken, in haproxystats' division.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Of both.
    All,
    /// `[pull]` and `[DEFAULT]`.
    Pull,
    /// All but `[pull]`.
    Process,
}

impl Part {
    /// Whether it reads this section itself.
    #[must_use]
    pub fn has(self, section: &str) -> bool {
        match self {
            Self::All => true,
            Self::Pull => [PULL, table::DEFAULT].contains(&section),
            Self::Process => section != PULL,
        }
    }
}

impl Process {
    /// What is told of a snapshot.
    #[must_use]
    pub fn scope(&self) -> Scope {
        let excluded = |exclusions: &Option<Exclusions>| {
            exclusions.iter().flat_map(|exclusions| exclusions.names.iter().cloned()).collect()
        };
        Scope {
            frontend_metrics: self.frontend_metrics.clone(),
            backend_metrics: self.backend_metrics.clone(),
            server_metrics: self.server_metrics.clone(),
            excluded_frontends: excluded(&self.exclude_frontends),
            excluded_backends: excluded(&self.exclude_backends),
            aggr_server_metrics: self.aggr_server_metrics,
            per_process: self.per_process_metrics,
            percentages: self.calculate_percentages,
        }
    }
}

impl Graphite {
    /// When it is tried again.
    #[must_use]
    pub fn retry(&self) -> Retry {
        let retries = match self.retries {
            Retries::Times(times) => Some(times),
            Retries::Forever => None,
        };
        Retry { retries, interval: self.interval, backoff: self.backoff, delay: self.delay }
    }

    /// Where it listens.
    #[must_use]
    pub fn endpoint(&self) -> Endpoint {
        Endpoint::Tcp { host: self.server.clone(), port: self.port }
    }
}

impl Statsd {
    /// Where it listens.
    #[must_use]
    pub fn endpoint(&self) -> Endpoint {
        Endpoint::Tcp { host: self.server.clone(), port: self.port }
    }
}

impl Settings {
    /// Reads a configuration: `file`, or else [`DEFAULT_PATH`], which may be missing; then, each over those before,
    /// the files of `folder` whose names end with `.conf`. Gives all that is wrong, in the order of the files.
    pub fn read(file: Option<&Path>, folder: Option<&Path>) -> Result<(Self, Vec<Warning>), Vec<Fault>> {
        Self::settle(Reader::open(file, folder)?)
    }

    /// Reads a text as if it were in a file of this path, which need not exist.
    pub fn parse(path: &Path, text: &str) -> Result<(Self, Vec<Warning>), Vec<Fault>> {
        let document = reader::parse(path, text)?;
        Self::settle(Reader::over_defaults(vec![(path.to_owned(), document)])?)
    }

    /// The configuration as `-P` prints it: all options that are known or that a section of ours has, with all
    /// that their values name put in. Read as a configuration, [`Part::All`] of it is the same again.
    #[must_use]
    pub fn effective(&self, part: Part) -> String {
        self.printed.text(part)
    }

    fn settle(mut reader: Reader) -> Result<(Self, Vec<Warning>), Vec<Fault>> {
        let naming = Naming::read(&mut reader);
        let kafka = reader.has(KAFKA).then(|| Kafka::read(&mut reader));
        let others = reader.has(STATSD)
            || reader.has(PROMETHEUS)
            || kafka.as_ref().is_some_and(|kafka| kafka.topic.is_some());
        let wants_graphite = reader.has(GRAPHITE) || !others;
        let graphite = Graphite::read(&mut reader);
        let settings = Self {
            paths: Paths::read(&mut reader),
            pull: Pull::read(&mut reader),
            process: Process::read(&mut reader),
            graphite: wants_graphite.then_some(graphite),
            statsd: reader.has(STATSD).then(|| Statsd::read(&mut reader, &naming)),
            local_store: reader.has(LOCAL_STORE).then(|| LocalStore::read(&mut reader)),
            prometheus: reader.has(PROMETHEUS).then(|| Prometheus::read(&mut reader)),
            kafka,
            naming,
            printed: Printed::new(&reader, wants_graphite),
        };
        reader.look_for_strangers();
        reader.finish().map(|warnings| (settings, warnings))
    }
}

impl Paths {
    fn read(reader: &mut Reader) -> Self {
        let base_dir: PathBuf = reader.get(PATHS, "base-dir", value::path);
        let changed = reader.document.get(PATHS, "base-dir").is_some_and(|entry| entry.text != 0);
        if changed
            && base_dir != Path::new("/var/lib/haproxystats")
            && !reader::named(&reader.document, PATHS, "base-dir")
        {
            reader.warn(PATHS, "base-dir", WarningKind::BaseDir);
        }
        Self { base_dir }
    }
}

impl Pull {
    fn read(reader: &mut Reader) -> Self {
        let pull = Self {
            log_level: reader.get(PULL, "loglevel", value::log_level),
            socket_dir: reader.optional(PULL, "socket-dir", value::path),
            servers: servers(reader),
            cluster: reader.optional(PULL, "cluster", value::cluster),
            buffer_limit: reader.get(PULL, "buffer-limit", value::whole(1, i64::MAX)),
            retries: reader.get(PULL, "retries", value::retries),
            timeout: reader.get(PULL, "timeout", value::limit),
            interval: reader.get(PULL, "interval", value::wait),
            pull_interval: reader.get(PULL, "pull-interval", value::seconds),
            pull_timeout: pull_timeout(reader),
            dst_dir: reader.get(PULL, "dst-dir", value::path),
            tmp_dst_dir: reader.get(PULL, "tmp-dst-dir", value::path),
            workers: reader.get(PULL, "workers", value::whole(1, 256)),
            queue_size: reader.get(PULL, "queue-size", value::whole(1, i64::MAX)),
            keep_partial: reader.get(PULL, "keep-partial", value::flag),
        };
        // Where one is wrong, both may be empty.
        if pull.dst_dir == pull.tmp_dst_dir && pull.dst_dir != Path::new("") {
            reader.fault(PULL, later(reader, "dst-dir", "tmp-dst-dir"), FaultKind::SameDirectory);
        }
        if pull.pull_timeout.is_some_and(|limit| limit >= pull.pull_interval) {
            reader.warn(PULL, later(reader, "pull-timeout", "pull-interval"), WarningKind::LongPull);
        }
        pull
    }
}

/// Which of two options of `[pull]` a file has, or the later file.
fn later(reader: &Reader, one: &'static str, other: &'static str) -> &'static str {
    let place = |key| reader.document.get(PULL, key).map(|entry| (entry.text, entry.line));
    if place(one) > place(other) { one } else { other }
}

fn servers(reader: &mut Reader) -> Vec<Endpoint> {
    let mut servers: Vec<Endpoint> = Vec::new();
    for server in reader.optional(PULL, "servers", value::servers).unwrap_or_default() {
        if servers.contains(&server) {
            reader.warn(PULL, "servers", WarningKind::Twice(server.to_string()));
        } else {
            servers.push(server);
        }
    }
    servers
}

/// haproxystats cuts the fraction off to see whether there is a limit.
fn pull_timeout(reader: &mut Reader) -> Option<Duration> {
    let limit = reader.get(PULL, "pull-timeout", value::wait);
    let none = limit < Duration::from_secs(1);
    if none && !limit.is_zero() {
        reader.warn(PULL, "pull-timeout", WarningKind::NoLimit);
    }
    (!none).then_some(limit)
}

impl Process {
    fn read(reader: &mut Reader) -> Self {
        Self {
            log_level: reader.get(PROCESS, "loglevel", value::log_level),
            src_dir: reader.get(PROCESS, "src-dir", value::path),
            workers: reader.get(PROCESS, "workers", value::whole(1, 256)),
            frontend_metrics: reader.optional(PROCESS, "frontend-metrics", names::metrics(metrics::FRONTEND)),
            backend_metrics: reader.optional(PROCESS, "backend-metrics", names::metrics(metrics::BACKEND)),
            server_metrics: reader.optional(PROCESS, "server-metrics", names::metrics(metrics::SERVER)),
            aggr_server_metrics: reader.get(PROCESS, "aggr-server-metrics", value::flag),
            exclude_frontends: reader.exclusions(PROCESS, "exclude-frontends"),
            exclude_backends: reader.exclusions(PROCESS, "exclude-backends"),
            per_process_metrics: reader.get(PROCESS, "per-process-metrics", value::flag),
            calculate_percentages: reader.get(PROCESS, "calculate-percentages", value::flag),
            liveness_check_interval: reader.get(PROCESS, "liveness-check-interval", value::limit),
        }
    }
}

impl Naming {
    fn read(reader: &mut Reader) -> Self {
        Self {
            namespace: reader.get(GRAPHITE, "namespace", value::name),
            prefix_hostname: reader.get(GRAPHITE, "prefix-hostname", value::flag),
            fqdn: reader.get(GRAPHITE, "fqdn", value::flag),
            grouping: Grouping::read(reader),
        }
    }
}

impl Grouping {
    /// haproxystats, too, refuses groups without a namespace and a namespace without groups.
    fn read(reader: &mut Reader) -> Option<Self> {
        const NAMESPACE: &str = "group-namespace";
        let frontends = groups(reader, table::FRONTEND_GROUPS);
        let backends = groups(reader, table::BACKEND_GROUPS);
        let servers = groups(reader, table::SERVER_GROUPS);
        let double_writes =
            reader.optional(GRAPHITE, "group-namespace-double-writes", value::flag).unwrap_or_default();
        let section = table::GROUPS.into_iter().find(|section| reader.has(section));
        let wanted = reader.document.get(GRAPHITE, NAMESPACE).is_some();
        match section {
            None if wanted => reader.fault(GRAPHITE, NAMESPACE, FaultKind::NoGroups),
            Some(section) if !wanted => reader.fault_of_section(section, FaultKind::NoGroupNamespace),
            _ => {}
        }
        let namespace = reader.optional(GRAPHITE, NAMESPACE, value::name)?;
        Some(Self { namespace, double_writes, frontends, backends, servers })
    }
}

fn groups(reader: &mut Reader, section: &'static str) -> Groups {
    Groups::new(group_names(reader, section).iter().filter_map(|name| group(reader, section, name)).collect())
}

/// Without those that `[DEFAULT]` has, too: they are no groups, even where the section has them itself.
fn group_names(reader: &mut Reader, section: &'static str) -> Vec<String> {
    use crate::ini::Origin;
    let with = |wanted| {
        let options = reader.document.options(section);
        let names = options.filter(move |(.., origin)| *origin == wanted).map(|(key, ..)| key.to_owned());
        names.collect::<Vec<_>>()
    };
    let (names, taken) = (with(Origin::Own), with(Origin::Overriding));
    for name in taken {
        reader.warn(section, &name, WarningKind::GroupName);
    }
    names
}

fn group(reader: &mut Reader, section: &'static str, key: &str) -> Option<Group> {
    let entry = reader.entry(section, key)?;
    let group = value::name(key).and_then(|name| Group::new(name, &entry.value));
    group.map_err(|kind| reader.fault_at(&entry, section, key, kind)).ok()
}

impl Graphite {
    fn read(reader: &mut Reader) -> Self {
        Self {
            server: reader.get(GRAPHITE, "server", value::host),
            port: reader.get(GRAPHITE, "port", value::whole(1, 65535)),
            protocol: reader.get(GRAPHITE, "protocol", value::protocol),
            tags: reader.get(GRAPHITE, "tags", value::flag),
            retries: reader.get(GRAPHITE, "retries", value::retries),
            interval: reader.get(GRAPHITE, "interval", value::wait),
            backoff: reader.get(GRAPHITE, "backoff", value::factor),
            connect_timeout: reader.get(GRAPHITE, "connect-timeout", value::limit),
            write_timeout: reader.get(GRAPHITE, "write-timeout", value::limit),
            close_timeout: reader.get(GRAPHITE, "close-timeout", value::limit),
            delay: reader.get(GRAPHITE, "delay", value::wait),
            queue_size: reader.get(GRAPHITE, "queue-size", value::whole(1, i64::MAX)),
        }
    }
}

impl Statsd {
    fn read(reader: &mut Reader, naming: &Naming) -> Self {
        reader.get(STATSD, "protocol", value::only_udp);
        let namespace = reader.optional(STATSD, "namespace", value::name);
        Self {
            server: reader.get(STATSD, "server", value::host),
            port: reader.get(STATSD, "port", value::whole(1, 65535)),
            namespace: namespace.unwrap_or_else(|| naming.namespace.clone()),
            tags: reader.get(STATSD, "tags", value::flag),
            // The least that every network takes is 512; more than 65507 is no datagram of IPv4.
            packet_size: reader.get(STATSD, "packet-size", value::whole(512, 65507)),
        }
    }
}

impl LocalStore {
    fn read(reader: &mut Reader) -> Self {
        Self { dir: reader.get(LOCAL_STORE, "dir", value::path) }
    }
}

impl Prometheus {
    fn read(reader: &mut Reader) -> Self {
        if reader.document.get(PROMETHEUS, "file").is_none() {
            let example = "/var/lib/prometheus/node-exporter/haproxy.prom";
            reader.fault_of_section(PROMETHEUS, FaultKind::Needed { key: "file", example });
        }
        Self { file: reader.get(PROMETHEUS, "file", value::path) }
    }
}

#[cfg(test)]
mod tests;
