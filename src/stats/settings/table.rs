//! Every section and option, with its default: what `-p` prints, what all files are laid over, and what is known
//! when a name is misspelt.
//!
//! The defaults are haproxystats' and written as it writes them. Its paths do not follow `base-dir` by default,
//! and its `[pull]` and `[graphite]` have retries and waits of their own, which win over a file's `[DEFAULT]`.

use super::Part;
use crate::ini::{Document, IniError, Style};

/// A section that is known.
pub(super) struct Known {
    pub(super) name: &'static str,
    /// Whether the section is there without being in a file.
    pub(super) always: bool,
    options: &'static [(&'static str, Preset)],
}

/// What an option is where no file says it.
#[derive(Clone, Copy)]
enum Preset {
    Is(&'static str),
    /// It is not there; it could be this.
    Unset(&'static str),
}

use Preset::{Is, Unset};

pub(super) const DEFAULT: &str = "DEFAULT";
pub(super) const PATHS: &str = "paths";
pub(super) const PULL: &str = "pull";
pub(super) const PROCESS: &str = "process";
pub(super) const GRAPHITE: &str = "graphite";
pub(super) const LOCAL_STORE: &str = "local-store";
pub(super) const STATSD: &str = "statsd";
pub(super) const PROMETHEUS: &str = "prometheus";
pub(super) const KAFKA: &str = "kafka";
pub(super) const FRONTEND_GROUPS: &str = "frontend-groups";
pub(super) const BACKEND_GROUPS: &str = "backend-groups";
pub(super) const SERVER_GROUPS: &str = "server-groups";

/// The sections whose keys are names of groups.
pub(super) const GROUPS: [&str; 3] = [FRONTEND_GROUPS, BACKEND_GROUPS, SERVER_GROUPS];

/// How options of `[kafka]` begin that are handed on to librdkafka.
pub(super) const RDKAFKA: &str = "rdkafka.";

/// In the order in which they are printed: by name, those that always are there first.
pub(super) const SECTIONS: &[Known] = &[
    Known {
        name: DEFAULT,
        always: true,
        options: &[
            ("interval", Is("2")),
            ("loglevel", Is("info")),
            ("retries", Is("2")),
            ("timeout", Is("1")),
        ],
    },
    Known {
        name: GRAPHITE,
        always: true,
        options: &[
            ("backoff", Is("2")),
            ("close-timeout", Is("10.0")),
            ("connect-timeout", Is("1.0")),
            ("delay", Is("10")),
            ("fqdn", Is("true")),
            ("group-namespace", Unset("groups")),
            ("group-namespace-double-writes", Unset("false")),
            ("interval", Is("1.8")),
            ("namespace", Is("loadbalancers")),
            ("port", Is("3002")),
            ("prefix-hostname", Is("true")),
            ("protocol", Is("tcp")),
            ("queue-size", Is("1000000")),
            ("retries", Is("3")),
            ("server", Is("127.0.0.1")),
            ("tags", Is("false")),
            ("write-timeout", Is("1.0")),
        ],
    },
    Known { name: PATHS, always: true, options: &[("base-dir", Is("/var/lib/haproxystats"))] },
    Known {
        name: PROCESS,
        always: true,
        options: &[
            ("aggr-server-metrics", Is("false")),
            ("backend-metrics", Unset("stot scur")),
            ("calculate-percentages", Is("false")),
            ("exclude-backends", Unset("/etc/haproxystats-exclude-backends")),
            ("exclude-frontends", Unset("/etc/haproxystats-exclude-frontends")),
            ("frontend-metrics", Unset("stot scur")),
            ("liveness-check-interval", Is("10")),
            ("per-process-metrics", Is("false")),
            ("server-metrics", Unset("stot scur")),
            ("src-dir", Is("/var/lib/haproxystats/incoming")),
            ("workers", Is("4")),
        ],
    },
    Known {
        name: PULL,
        always: true,
        options: &[
            ("buffer-limit", Is("6291456")),
            ("cluster", Unset("edge")),
            ("dst-dir", Is("/var/lib/haproxystats/incoming")),
            ("interval", Is("0.5")),
            ("keep-partial", Is("false")),
            ("pull-interval", Is("10")),
            ("pull-timeout", Is("2")),
            ("queue-size", Is("360")),
            ("retries", Is("1")),
            ("servers", Unset("tcp://127.0.0.1:5555,unix:///run/haproxy.sock")),
            ("socket-dir", Unset("/run/haproxy")),
            ("timeout", Is("0.1")),
            ("tmp-dst-dir", Is("/var/lib/haproxystats/incoming.tmp")),
            ("workers", Is("8")),
        ],
    },
    Known { name: BACKEND_GROUPS, always: false, options: &[] },
    Known { name: FRONTEND_GROUPS, always: false, options: &[] },
    #[cfg(feature = "kafka")]
    Known {
        name: KAFKA,
        always: false,
        options: &[
            ("brokers", Unset("kafka-1.example.com:9092, kafka-2.example.com:9092")),
            ("client-id", Is("supervisor-haproxy")),
            ("cluster-wait", Is("5")),
            ("compression", Is("lz4")),
            ("group", Is("haproxystats")),
            ("message-timeout", Is("5")),
            ("raw-topic", Is("haproxystats-raw")),
            ("rdkafka.socket.keepalive.enable", Unset("true")),
            ("topic", Unset("haproxystats")),
        ],
    },
    Known { name: LOCAL_STORE, always: false, options: &[("dir", Is("/var/lib/haproxystats/local-store"))] },
    Known {
        name: PROMETHEUS,
        always: false,
        options: &[("file", Unset("/var/lib/prometheus/node-exporter/haproxy.prom"))],
    },
    Known { name: SERVER_GROUPS, always: false, options: &[] },
    Known {
        name: STATSD,
        always: false,
        options: &[
            ("namespace", Unset("loadbalancers")),
            ("packet-size", Is("1432")),
            ("port", Is("8125")),
            ("protocol", Is("udp")),
            ("server", Is("127.0.0.1")),
            ("tags", Is("false")),
        ],
    },
];

impl Known {
    pub(super) fn named(name: &str) -> Option<&'static Self> {
        SECTIONS.iter().find(|section| section.name == name)
    }

    pub(super) fn is_groups(&self) -> bool {
        GROUPS.contains(&self.name)
    }

    /// Whether an option of this name is read.
    pub(super) fn has(&self, key: &str) -> bool {
        self.keys().any(|own| own == key) || (self.name == KAFKA && key.starts_with(RDKAFKA))
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &'static str> {
        self.options.iter().map(|(key, _)| *key)
    }

    /// The default of an option that has one.
    pub(super) fn preset(&self, key: &str) -> Option<&'static str> {
        self.options.iter().find_map(|(own, preset)| match preset {
            Is(text) if *own == key => Some(*text),
            _ => None,
        })
    }

    /// The section as a file would have it; what is not there as a comment.
    fn text(&self) -> String {
        let mark = |unset| if unset { "# " } else { "" };
        let option = |(key, preset): &(&str, Preset)| {
            let (unset, text) = match preset {
                Is(text) => (!self.always, text),
                Unset(text) => (true, text),
            };
            format!("{}{key} = {text}\n", mark(unset))
        };
        let pattern = if self.is_groups() { "# group = ^pattern\n" } else { "" };
        let options: String = self.options.iter().map(option).collect();
        format!("{}[{}]\n{options}{pattern}\n", mark(!self.always), self.name)
    }
}

/// All options with their defaults, as `-p` prints them. Read as a configuration, this is the same as none.
#[must_use]
pub fn defaults(part: Part) -> String {
    SECTIONS.iter().filter(|section| part.has(section.name)).map(Known::text).collect()
}

/// What the files are laid over: the defaults of all sections that are always there, and of those of the others
/// that a file has.
pub(super) fn base(present: impl Fn(&str) -> bool) -> Result<Document, IniError> {
    let section = |known: &Known| {
        let set = known.options.iter().filter_map(|(key, preset)| match preset {
            Is(text) => Some(format!("{key} = {text}\n")),
            Unset(_) => None,
        });
        let options: String = set.collect();
        // A header alone would only take its place from the one in the file.
        if options.is_empty() { options } else { format!("[{}]\n{options}", known.name) }
    };
    let there = SECTIONS.iter().filter(|known| known.always || present(known.name));
    Document::parse(&there.map(section).collect::<String>(), Style::PYTHON3)
}
