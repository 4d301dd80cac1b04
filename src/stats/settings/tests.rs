use std::fs;

use proptest::prelude::*;

use super::*;

const CONF: &str = "/etc/haproxystats.conf";

fn read(text: &str) -> Result<(Settings, Vec<Warning>), Vec<Fault>> {
    Settings::parse(Path::new(CONF), text)
}

/// The settings of a text that there is nothing to say about.
fn settings(text: &str) -> Settings {
    let (settings, warnings) = read(text).unwrap();
    assert_eq!(warnings, [], "{text}");
    settings
}

fn shown<K: std::fmt::Display>(remarks: &[Remark<K>]) -> Vec<String> {
    remarks.iter().map(|remark| remark.to_string().replace(CONF, "C")).collect()
}

/// The faults of a text, with `C` for the file.
fn faults(text: &str) -> Vec<String> {
    shown(&read(text).expect_err(text))
}

fn warnings(text: &str) -> Vec<String> {
    shown(&read(text).unwrap().1)
}

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/haproxystats").join(name)
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

#[test]
fn the_defaults_are_haproxystats() {
    let read = settings("");
    assert_eq!(read.paths.base_dir, Path::new("/var/lib/haproxystats"));
    let pull = Pull {
        log_level: LogLevel::Info,
        socket_dir: None,
        servers: Vec::new(),
        cluster: None,
        buffer_limit: 6_291_456,
        retries: Retries::Times(1),
        timeout: seconds(0.1),
        interval: seconds(0.5),
        pull_interval: seconds(10.0),
        pull_timeout: Some(seconds(2.0)),
        dst_dir: "/var/lib/haproxystats/incoming".into(),
        tmp_dst_dir: "/var/lib/haproxystats/incoming.tmp".into(),
        workers: 8,
        queue_size: 360,
        keep_partial: false,
    };
    assert_eq!(read.pull, pull);
    let process = Process {
        log_level: LogLevel::Info,
        src_dir: "/var/lib/haproxystats/incoming".into(),
        workers: 4,
        frontend_metrics: None,
        backend_metrics: None,
        server_metrics: None,
        aggr_server_metrics: false,
        exclude_frontends: None,
        exclude_backends: None,
        per_process_metrics: false,
        calculate_percentages: false,
        liveness_check_interval: seconds(10.0),
    };
    assert_eq!(read.process, process);
    let naming =
        Naming { namespace: "loadbalancers".into(), prefix_hostname: true, fqdn: true, grouping: None };
    assert_eq!(read.naming, naming);
    let graphite = Graphite {
        server: "127.0.0.1".into(),
        port: 3002,
        protocol: Protocol::Tcp,
        tags: false,
        retries: Retries::Times(3),
        interval: seconds(1.8),
        backoff: 2.0,
        connect_timeout: seconds(1.0),
        write_timeout: seconds(1.0),
        close_timeout: seconds(10.0),
        delay: seconds(10.0),
        queue_size: 1_000_000,
    };
    assert_eq!(read.graphite, Some(graphite));
    assert_eq!((read.statsd, read.local_store, read.prometheus), (None, None, None));
}

#[test]
fn the_files_beside_the_recorded_data_are_read() {
    let (read, warnings) = Settings::read(Some(&data("default.conf")), None).unwrap();
    assert_eq!((read, warnings), (settings(""), Vec::new()));

    let (read, warnings) = Settings::read(Some(&data("all-options.conf")), None).unwrap();
    assert_eq!(warnings, []);
    let process = &read.process;
    assert!(process.aggr_server_metrics && process.per_process_metrics && process.calculate_percentages);
    let excluded = |exclusions: &Option<Exclusions>| {
        let exclusions = exclusions.clone().unwrap();
        (exclusions.path, exclusions.names.into_iter().collect::<Vec<_>>())
    };
    assert_eq!(excluded(&process.exclude_backends), (data("exclude-backends.txt"), vec!["broken".into()]));
    assert_eq!(excluded(&process.exclude_frontends), (data("exclude-frontends.txt"), vec!["bar-001".into()]));
    let grouping = read.naming.grouping.clone().unwrap();
    assert!(!read.naming.fqdn && grouping.double_writes && read.graphite.is_some());
    assert_eq!(grouping.namespace, "flavor");
    assert_eq!(grouping.frontends.find("foo-001"), Some("abc"));
    assert_eq!(grouping.frontends.find("www_example_com"), Some("www"));
    assert_eq!(grouping.backends.find("a-plone"), None);
    assert_eq!((grouping.servers.find("plone1"), grouping.servers.find("plone2")), (Some("odd"), None));
}

#[test]
fn every_option_is_read() {
    let read = settings(
        "[DEFAULT]\nloglevel = DEBUG\n\
         [paths]\nbase-dir = /srv/stats\n\
         [pull]\nloglevel = warning\nsocket-dir = /run/haproxy\nservers = tcp://h:1, unix:///run/a\n\
         cluster = edge-1\n\
         buffer-limit = 1_000\nretries = -1\ntimeout = .5\ninterval = 0\npull-interval = +5\npull-timeout = 4.5\n\
         dst-dir = ${paths:base-dir}/in\ntmp-dst-dir = ${paths:base-dir}/tmp\nworkers = 256\nqueue-size = 1\n\
         [process]\nsrc-dir = ${pull:dst-dir}\nworkers = 1\nfrontend-metrics = stot\n  scur\n\
         backend-metrics = act\nserver-metrics = throttle\naggr-server-metrics = Yes\n\
         per-process-metrics = 1\ncalculate-percentages = ON\nliveness-check-interval = 0.5\n\
         [graphite]\nserver = ::1\nport = 2003\nretries = 0\ninterval = 2\nconnect-timeout = 3\n\
         write-timeout = 4\ndelay = 0\nbackoff = 1.5\nnamespace = a.b\nprefix-hostname = no\nfqdn = off\n\
         queue-size = 7\nprotocol = pickle\ntags = true\n\
         [statsd]\nserver = statsd\nport = 8126\ntags = on\npacket-size = 512\n\
         [local-store]\ndir = store\n[prometheus]\nfile = /p.prom\n",
    );
    assert_eq!(read.paths.base_dir, Path::new("/srv/stats"));
    let pull = Pull {
        log_level: LogLevel::Warning,
        socket_dir: Some("/run/haproxy".into()),
        servers: vec!["tcp://h:1".parse().unwrap(), "/run/a".parse().unwrap()],
        cluster: Some("edge-1".into()),
        buffer_limit: 1000,
        retries: Retries::Forever,
        timeout: seconds(0.5),
        interval: seconds(0.0),
        pull_interval: seconds(5.0),
        pull_timeout: Some(seconds(4.5)),
        dst_dir: "/srv/stats/in".into(),
        tmp_dst_dir: "/srv/stats/tmp".into(),
        workers: 256,
        queue_size: 1,
        keep_partial: false,
    };
    assert_eq!(read.pull, pull);
    let names = |names: &[&str]| Some(names.iter().map(ToString::to_string).collect::<Vec<_>>());
    let process = Process {
        log_level: LogLevel::Debug,
        src_dir: "/srv/stats/in".into(),
        workers: 1,
        frontend_metrics: names(&["stot", "scur"]),
        backend_metrics: names(&["act"]),
        server_metrics: names(&["throttle"]),
        aggr_server_metrics: true,
        exclude_frontends: None,
        exclude_backends: None,
        per_process_metrics: true,
        calculate_percentages: true,
        liveness_check_interval: seconds(0.5),
    };
    assert_eq!(read.process, process);
    let naming = Naming { namespace: "a.b".into(), prefix_hostname: false, fqdn: false, grouping: None };
    assert_eq!(read.naming, naming);
    let graphite = read.graphite.unwrap();
    assert_eq!(graphite.endpoint().to_string(), "tcp://[::1]:2003");
    let expected = Graphite {
        server: "::1".into(),
        port: 2003,
        protocol: Protocol::Pickle,
        tags: true,
        retries: Retries::Times(0),
        interval: seconds(2.0),
        backoff: 1.5,
        connect_timeout: seconds(3.0),
        write_timeout: seconds(4.0),
        close_timeout: seconds(10.0),
        delay: seconds(0.0),
        queue_size: 7,
    };
    assert_eq!(graphite, expected);
    let statsd =
        Statsd { server: "statsd".into(), port: 8126, namespace: "a.b".into(), tags: true, packet_size: 512 };
    assert_eq!(read.statsd, Some(statsd));
    assert_eq!(read.local_store, Some(LocalStore { dir: "store".into() }));
    assert_eq!(read.prometheus, Some(Prometheus { file: "/p.prom".into() }));
}

#[test]
fn graphite_is_a_sink_unless_others_are_there_without_it() {
    for (text, graphite) in [
        ("", true),
        ("[local-store]", true),
        ("[statsd]", false),
        ("[prometheus]\nfile = p", false),
        ("[statsd]\n[graphite]", true),
    ] {
        assert_eq!(settings(text).graphite.is_some(), graphite, "{text:?}");
    }
    let read = settings("[statsd]");
    let statsd = Statsd {
        server: "127.0.0.1".into(),
        port: 8125,
        namespace: "loadbalancers".into(),
        tags: false,
        packet_size: 1432,
    };
    assert_eq!(read.statsd, Some(statsd));
    let store = settings("[local-store]").local_store.unwrap();
    assert_eq!(store.dir, Path::new("/var/lib/haproxystats/local-store"));
}

#[cfg(feature = "kafka")]
#[test]
fn kafka_needs_brokers_and_hands_options_on() {
    let read = settings("[kafka]\nbrokers = a:1");
    assert!(read.graphite.is_some(), "without a topic, Kafka is the way and not the end");
    assert!(settings("[kafka]\nbrokers = a:1\ntopic = t").graphite.is_none(), "now it is a sink");
    let expected = Kafka {
        brokers: vec!["a:1".into()],
        topic: None,
        raw_topic: "haproxystats-raw".into(),
        group: "haproxystats".into(),
        compression: Compression::Lz4,
        message_timeout: seconds(5.0),
        cluster_wait: seconds(5.0),
        client_id: "supervisor-haproxy".into(),
        options: std::collections::BTreeMap::new(),
    };
    assert_eq!(read.kafka, Some(expected));
    let text = "[kafka]\nbrokers = a:1, [::1]:2\ntopic = t\nraw-topic = r\ngroup = g h\ncompression = gzip\n\
                message-timeout = 0.5\ncluster-wait = 0\nclient-id = c\n\
                rdkafka.socket.timeout.ms = 1000\nRDKAFKA.sasl.username = a$$b\n";
    let read = settings(text);
    let kafka = read.kafka.clone().unwrap();
    assert_eq!(
        (kafka.group.as_str(), kafka.compression.name(), kafka.client_id.as_str()),
        ("g h", "gzip", "c")
    );
    assert_eq!((kafka.message_timeout, kafka.cluster_wait), (seconds(0.5), seconds(0.0)));
    assert_eq!(kafka.cluster().brokers, "a:1,[::1]:2");
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(kafka.cluster().options, [pair("sasl.username", "a$b"), pair("socket.timeout.ms", "1000")]);
    assert_eq!(settings(&read.effective(Part::All)), read);
}

#[cfg(feature = "kafka")]
#[test]
fn what_is_wrong_with_kafka_is_told_with_the_rest() {
    let text = "[pull]\ncluster = a/b\n[kafka]\ntopic = a b\ncompression = zip\nmessage-timeout = 0.01\n\
                rdkafka.acks = 0\nrdkafka.socket.timeout = 1\nbroker = a:1\n";
    let plain =
        "only letters, digits, `.`, `-` and `_` make a name here, 249 of them at most (100 for a cluster)";
    assert_eq!(
        faults(text),
        [
            &format!("C:2: [pull] cluster: `a/b`: {plain}"),
            "C:3: [kafka]: the section needs `brokers`, as in `brokers = kafka-1.example.com:9092`",
            &format!("C:4: [kafka] topic: `a b`: {plain}"),
            "C:5: [kafka] compression: expected `none`, `gzip`, `snappy` or `lz4`, found `zip`",
            "C:6: [kafka] message-timeout: expected a number of seconds, from 0.1 to 900, found `0.01`",
            "C:7: [kafka] rdkafka.acks: this is set by the program itself; take the option out",
            "C:8: [kafka] rdkafka.socket.timeout: librdkafka says: \
             No such configuration property: \"socket.timeout\"",
        ]
    );
    assert_eq!(
        warnings("[kafka]\nbrokers = a:1\nbroker = a:1"),
        ["C:3: [kafka] broker: not an option of this section; did you mean `brokers`?"]
    );
}

#[cfg(not(feature = "kafka"))]
#[test]
fn a_build_without_kafka_says_so() {
    let fault =
        "C:1: [kafka]: this build has no Kafka; build it with `--features kafka`, or take the section out";
    assert_eq!(faults("[kafka]\nbrokers = a:1"), [fault]);
}

#[test]
fn all_wrong_values_are_told_at_once_in_their_order() {
    let text = "[graphite]\nport = 0\nfqdn = maybe\n[pull]\nworkers = 257\nservers = tcp://h\n\
                dst-dir = ${paths:base}/in\n[prometheus]\n";
    assert_eq!(
        faults(text),
        [
            "C:2: [graphite] port: expected a whole number from 1 to 65535, found `0`",
            "C:3: [graphite] fqdn: expected `true` or `false` (or yes, no, on, off, 1, 0), found `maybe`",
            "C:5: [pull] workers: expected a whole number from 1 to 256, found `257`",
            "C:6: [pull] servers: `tcp://h`: the port must be a number from 1 to 65535",
            "C:7: [pull] dst-dir: `${paths:base}`: there is no option `base` in section `[paths]`; \
             a dollar sign of its own is written `$$`",
            "C:8: [prometheus]: the section needs `file`, as in \
             `file = /var/lib/prometheus/node-exporter/haproxy.prom`",
        ]
    );
}

#[test]
fn each_fault_says_where_what_and_what_to_do() {
    for (text, fault) in [
        (
            "[pull]\nretries = -2",
            "2: [pull] retries: expected a whole number of at least 0, or -1 for no end of tries, found `-2`",
        ),
        (
            "[pull]\nbuffer-limit = 0",
            "2: [pull] buffer-limit: expected a whole number of at least 1, found `0`",
        ),
        (
            "[pull]\ntimeout = 0",
            "2: [pull] timeout: expected a number of seconds, above 0 and up to 31536000, found `0`",
        ),
        (
            "[pull]\ninterval = -1",
            "2: [pull] interval: expected a number of seconds, from 0 to 31536000, found `-1`",
        ),
        (
            "[pull]\npull-interval = 2.5",
            "2: [pull] pull-interval: expected a whole number from 1 to 31536000, found `2.5`",
        ),
        (
            "[pull]\npull-timeout = nan",
            "2: [pull] pull-timeout: expected a number of seconds, from 0 to 31536000, found `nan`",
        ),
        (
            "[pull]\nsocket-dir =",
            "2: [pull] socket-dir: the value is empty; give one, or leave the option out",
        ),
        (
            "[pull]\nservers = /a,,/b",
            "2: [pull] servers: an item of the list is empty; take the extra comma away",
        ),
        ("[pull]\ndst-dir = a\0b", "2: [pull] dst-dir: the path holds a NUL byte"),
        (
            "[pull]\ntmp-dst-dir = /var/lib/haproxystats/incoming",
            "2: [pull] tmp-dst-dir: `dst-dir` and `tmp-dst-dir` must be two directories, on one file system",
        ),
        (
            "[process]\nloglevel = loud",
            "2: [process] loglevel: expected `debug`, `info`, `warning`, `error` or `critical`, found `loud`",
        ),
        (
            "[process]\nserver-metrics = stot qtim",
            "2: [process] server-metrics: unknown metrics, in a list that white space separates: `qtim` (did you mean `qtime`?)",
        ),
        (
            "[process]\nfrontend-metrics = ",
            "2: [process] frontend-metrics: the value is empty; give one, or leave the option out",
        ),
        ("[graphite]\nserver = a b", "2: [graphite] server: `a b` is neither a host name nor an address"),
        (
            "[graphite]\nbackoff = 0",
            "2: [graphite] backoff: expected a number above 0 and up to 1000000, found `0`",
        ),
        (
            "[graphite]\nnamespace = a b",
            "2: [graphite] namespace: `a b`: a name in a metric's path can have no white space, no empty part between dots and no `;`",
        ),
        (
            "[graphite]\nprotocol = sctp",
            "2: [graphite] protocol: expected `tcp`, `udp` or `pickle`, found `sctp`",
        ),
        ("[statsd]\nprotocol = tcp", "2: [statsd] protocol: expected `udp`, found `tcp`"),
        (
            "[statsd]\npacket-size = 100",
            "2: [statsd] packet-size: expected a whole number from 512 to 65507, found `100`",
        ),
        (
            "[graphite]\ngroup-namespace = g",
            "2: [graphite] group-namespace: needs at least one of the sections `[frontend-groups]`, `[backend-groups]` and `[server-groups]`",
        ),
        (
            "\n[server-groups]\na = b",
            "2: [server-groups]: needs `group-namespace` in `[graphite]`, as in `group-namespace = groups`",
        ),
        (
            "[graphite]\ngroup-namespace = g\n[server-groups]\na = (?=b)",
            "4: [server-groups] a: the pattern `(?=b)` cannot be used: look-around, including look-ahead and look-behind, is not supported",
        ),
        (
            "[graphite]\ngroup-namespace = g\n[server-groups]\na b = c",
            "4: [server-groups] a b: `a b`: a name in a metric's path can have no white space, no empty part between dots and no `;`",
        ),
        (
            "[pull]\ndst-dir = ${tmp-dst-dir}x\ntmp-dst-dir = $x",
            "2: [pull] dst-dir: in `tmp-dst-dir` of `[pull]`, line 3: a `$` must be followed by `$` or `{`; a dollar sign of its own is written `$$`",
        ),
        (
            "[pull]\nworkers",
            "2: expected `key = value`; a line that goes on with a value is indented deeper than its key",
        ),
        ("[pull]\nworkers = 1\nWorkers = 2", "3: `workers` is there already, on line 2"),
    ] {
        assert_eq!(faults(text)[0], format!("C:{fault}"), "{text:?}");
    }
}

#[test]
fn what_haproxystats_passes_over_is_a_warning() {
    for (text, warning) in [
        (
            "[graphite]\nqueue_size = 1",
            "2: [graphite] queue_size: not an option of this section; did you mean `queue-size`?",
        ),
        ("[process]\ncolour = 1", "2: [process] colour: not an option of this section"),
        ("[Graphite]\na = 1", "1: [Graphite]: not a section of this program; did you mean `[graphite]`?"),
        ("\n[kafka-of-others]", "2: [kafka-of-others]: not a section of this program"),
        (
            "[DEFAULT]\nretries = 5",
            "2: [DEFAULT] retries: changes nothing, as in haproxystats; other defaults win over it: set it in [graphite] and [pull]",
        ),
        (
            "[DEFAULT]\nsrc-dir = x",
            "2: [DEFAULT] src-dir: changes nothing, as in haproxystats; other defaults win over it: set it in [process]",
        ),
        (
            "[paths]\nbase-dir = /srv",
            "2: [paths] base-dir: changes no other path, as in haproxystats; write `dst-dir = ${paths:base-dir}/incoming` and so on",
        ),
        (
            "[pull]\npull-timeout = 0.5",
            "2: [pull] pull-timeout: below one second there is no limit, as in haproxystats; write 1 or more, or 0 for no limit",
        ),
        (
            "[pull]\npull-interval = 2",
            "2: [pull] pull-interval: `pull-timeout` should be less than `pull-interval`, or pulls are skipped",
        ),
        (
            "[pull]\nservers = /a,unix:///a",
            "2: [pull] servers: `unix:///a` is in the list twice; it is asked once",
        ),
        (
            "[process]\nexclude-backends = none.txt",
            "2: [process] exclude-backends: /etc/none.txt cannot be read, and nothing is excluded: No such file or directory (os error 2)",
        ),
        (
            "[graphite]\ngroup-namespace = g\n[server-groups]\ntimeout = 1",
            "4: [server-groups] timeout: no group, as `[DEFAULT]` has an option of this name; choose another name",
        ),
    ] {
        assert_eq!(warnings(text), [format!("C:{warning}")], "{text:?}");
    }
}

#[test]
fn what_others_need_is_not_warned_of() {
    settings(
        "[DEFAULT]\nretries = 2\nown = 1\nloglevel = error\n[paths]\nbase-dir = /srv\nlog = ${base-dir}/log\n\
         dump = 1\nretries = 3\n[process]\nown = ${paths:DUMP}\n[pull]\nsocket-dir = ${paths:log}\n",
    );
}

#[test]
fn groups_keep_the_order_of_the_file_and_leave_default_out() {
    let text = "[DEFAULT]\nall = .\n[graphite]\ngroup-namespace = g\n[backend-groups]\nZ = ^a\nb = a\nc =\n";
    let grouping = settings(text).naming.grouping.unwrap();
    let names: Vec<_> = grouping.backends.as_slice().iter().map(|group| group.name.as_str()).collect();
    assert_eq!(names, ["z", "b", "c"]);
    assert_eq!(grouping.backends.find("ba"), Some("b"));
    assert_eq!(grouping.backends.find("x"), Some("c"));
    assert!(!grouping.double_writes && grouping.frontends.as_slice().is_empty());
}

#[test]
fn files_of_a_folder_are_laid_over_the_main_file() {
    let directory = tempfile::tempdir().unwrap();
    let place = |name: &str| directory.path().join(name);
    fs::create_dir(place("conf.d")).unwrap();
    fs::create_dir(place("conf.d/lists")).unwrap();
    for (name, text) in [
        ("main.conf", "[pull]\nworkers = 1\n[process]\nworkers = x\n"),
        ("conf.d/b.conf", "[pull]\nworkers = 3\n"),
        ("conf.d/a.conf", "[pull]\nworkers = 2\n[process]\nworkers = 5\nexclude-backends = lists/x\n"),
        ("conf.d/lists/x", "a\n # b\n\n  c d \n"),
        ("conf.d/.hidden.conf", "x"),
        ("conf.d/other.ini", "x"),
    ] {
        fs::write(place(name), text).unwrap();
    }
    let (read, warnings) = Settings::read(Some(&place("main.conf")), Some(&place("conf.d"))).unwrap();
    assert_eq!((read.pull.workers, read.process.workers, warnings), (3, 5, vec![]));
    let exclusions = read.process.exclude_backends.clone().unwrap();
    assert_eq!(exclusions.names.into_iter().collect::<Vec<_>>(), ["a", "c d"]);
    assert_eq!(exclusions.path, place("conf.d/lists/x"));
    assert_eq!(settings(&read.effective(Part::All)), read);

    fs::write(place("conf.d/lists/x"), b"\xff").unwrap();
    fs::write(place("conf.d/c.conf"), b"[pull]\n\xff").unwrap();
    fs::write(place("conf.d/d.conf"), b"x").unwrap();
    let refused = |file: &Path, folder: &Path| {
        let faults = Settings::read(Some(file), Some(folder)).unwrap_err();
        let shown = faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        shown.replace(&directory.path().display().to_string(), "DIR")
    };
    assert_eq!(
        refused(&place("none.conf"), &place("conf.d")),
        "DIR/none.conf: no such file; without `-f`, /etc/haproxystats.conf is read where it exists\n\
         DIR/conf.d/c.conf:2: not UTF-8; save the file as UTF-8\n\
         DIR/conf.d/d.conf:1: expected a `[section]` before the first entry"
    );
    assert_eq!(
        refused(&place("main.conf"), &place("none")),
        "DIR/none: cannot list this folder: No such file or directory (os error 2)"
    );
    fs::remove_file(place("conf.d/c.conf")).unwrap();
    fs::remove_file(place("conf.d/d.conf")).unwrap();
    assert_eq!(
        refused(&place("main.conf"), &place("conf.d")),
        "DIR/conf.d/a.conf:5: [process] exclude-backends: not UTF-8; save the file as UTF-8"
    );
}

#[test]
fn the_defaults_are_printed_and_mean_nothing_else() {
    for part in [Part::All, Part::Pull, Part::Process] {
        assert_eq!(settings(&defaults(part)), settings(""), "{part:?}");
    }
    let process = defaults(Part::Process);
    assert!(
        process.starts_with(
            "[DEFAULT]\ninterval = 2\nloglevel = info\nretries = 2\ntimeout = 1\n\n[graphite]\n"
        )
    );
    assert!(
        process.contains("# group-namespace = ")
            && process.contains("# [statsd]\n")
            && !process.contains("[pull]")
    );
    // What is shown as an example or behind a comment is understood as well.
    let all: String =
        defaults(Part::All).lines().map(|line| format!("{}\n", line.trim_start_matches("# "))).collect();
    let (read, warnings) = read(&all).unwrap();
    assert!(read.statsd.is_some() && read.naming.grouping.is_some() && read.pull.servers.len() == 2);
    assert!(
        warnings.iter().all(|warning| matches!(warning.kind, WarningKind::NoExclusions { .. })),
        "{warnings:?}"
    );
}

#[test]
fn the_effective_configuration_is_printed_and_means_the_same() {
    let text = "[DEFAULT]\nloglevel = debug\n[paths]\nbase-dir = /srv\n[pull]\ndst-dir = ${paths:base-dir}/$$in\n\
                [process]\nfrontend-metrics = stot\n  scur\n\n  bin\nexclude-backends = x\n[statsd]\n\
                [graphite]\ngroup-namespace = g\n[server-groups]\nz = ^a$$\nb = a\n[local-store]\n";
    let (before, _) = read(text).unwrap();
    let printed = before.effective(Part::All);
    assert_eq!(read(&printed).unwrap().0, before);
    assert!(printed.contains("[server-groups]\nz = ^a$$\nb = a\n\n[statsd]\n"), "{printed}");
    assert!(printed.contains("frontend-metrics = stot\n\tscur\n\t\n\tbin\n"), "{printed}");
    assert!(printed.contains("exclude-backends = /etc/x\n"));
    let pull = "[DEFAULT]\ninterval = 2\nloglevel = debug\nretries = 2\ntimeout = 1\n\n\
                [pull]\nbuffer-limit = 6291456\ndst-dir = /srv/$$in\ninterval = 0.5\n\
                keep-partial = false\nloglevel = debug\n";
    assert!(before.effective(Part::Pull).starts_with(pull), "{printed}");
    assert!(!before.effective(Part::Process).contains("[pull]"));

    for name in ["default.conf", "all-options.conf"] {
        let (before, _) = Settings::read(Some(&data(name)), None).unwrap();
        assert_eq!(settings(&before.effective(Part::All)), before, "{name}");
    }
    let text = "[server-groups]\na = 0\ngroup-namespace = g\n[DEFAULT]\ngroup-namespace = g\na = 0\n";
    let (overridden, warnings) = read(text).unwrap();
    assert_eq!(warnings.len(), 2, "neither is a group: {warnings:?}");
    assert_eq!(read(&overridden.effective(Part::All)).unwrap().0, overridden);
    let alone = settings("[statsd]\n");
    assert_eq!(settings(&alone.effective(Part::All)), alone);
}

proptest! {
    #[test]
    fn no_text_panics_and_what_is_read_is_printed_to_mean_the_same(
        text in any::<String>(),
        lines in prop::collection::vec(
            "(\\[(DEFAULT|pull|process|graphite|statsd|kafka|server-groups|local-store|x)\\]|\
             (workers|loglevel|servers|dst-dir|group-namespace|tags|a|timeout) = ?[a-z0-9$\\{\\}:./, -]{0,8}|\
             tags = true|group-namespace = g|workers = \\$\\{a\\}|a = [0-9]|  [a-z$]{0,3}| ?#)",
            0..12,
        ),
    ) {
        let _ = read(&text);
        if let Ok((before, _)) = read(&lines.join("\n")) {
            let (after, _) = read(&before.effective(Part::All)).unwrap();
            prop_assert_eq!(after, before);
        }
    }
}
