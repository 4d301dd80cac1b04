//! Kafka: a message for each subject of a reading, in JSON.
//!
//! ```text
//! {"time":1457298067,"host":"lb-01.example.com","cluster":null,"kind":"backend.server","backend":"be",
//!  "server":"s1","group":"web","metrics":{"scur":1,"qtime":0.5}}
//! ```
//!
//! A message is one line without a line end, and its keys have this order:
//!
//! | key | |
//! |---|---|
//! | `time` | epoch seconds of the pull |
//! | `host` | whose the numbers are, with its dots; `null` for a cluster's sums |
//! | `cluster` | the cluster that the host is one of, or whose sums these are; else `null` |
//! | `kind` | `daemon`, `daemon.process`, `frontend`, `backend`, `backend.server`, `server` or `haproxystats` |
//! | `process`, `frontend`, `backend`, `server` | those that tell it from others of its kind; names as HAProxy has them |
//! | `group` | the group of the settings that it is in, if it is in one |
//! | `metrics` | numbers by HAProxy's names; what haproxystats adds has its names |
//!
//! The message's key is the host, or the cluster where there is no host: all of one are in one partition, in the order
//! of time. Each message has been acknowledged by all brokers that keep it before the next reading is sent; what is sent
//! again after an error is there twice, and the same.

use super::Outlet;
use crate::sinks::SinkError;
use crate::sinks::kafka::{Message, Producer};
use crate::stats::aggregate::graphite::Kind;
use crate::stats::aggregate::{Datapoint, Subject};
use crate::stats::{Naming, Reading, settings};

/// Sends readings to a topic, as JSON.
#[derive(Debug)]
pub struct KafkaOutlet {
    producer: Producer,
    host: String,
    cluster: Option<String>,
    naming: Naming,
}

impl KafkaOutlet {
    /// Connects to nobody yet; `None` where no topic is wanted. `host` is this machine's whole name and `cluster` its
    /// cluster, for readings that are not another's.
    #[must_use]
    pub fn new(
        settings: &settings::Kafka,
        host: &str,
        cluster: Option<&str>,
        naming: Naming,
    ) -> Option<Self> {
        let topic = settings.topic.as_deref()?;
        let compression = settings.compression.name();
        let producer = Producer::new(settings.cluster(), topic, compression, settings.message_timeout);
        Some(Self { producer, host: host.to_owned(), cluster: cluster.map(str::to_owned), naming })
    }
}

impl Outlet<Reading<'_>> for KafkaOutlet {
    fn deliver(&mut self, reading: &Reading<'_>) -> Result<(), SinkError> {
        let (host, cluster) = whose(reading, &self.host, self.cluster.as_deref());
        let lines = Lines::new(reading.time, host, cluster, &self.naming);
        let key = host.or(cluster).unwrap_or_default();
        let mut batch = self.producer.begin()?;
        let mut line = Vec::new();
        lines.write_all(reading, &mut line, &mut |payload| {
            batch.send(Message { key, headers: &[], payload })
        })?;
        batch.finish()
    }
}

/// The host and the cluster that a reading is of.
fn whose<'a>(
    reading: &'a Reading<'_>,
    host: &'a str,
    cluster: Option<&'a str>,
) -> (Option<&'a str>, Option<&'a str>) {
    match reading.origin.as_deref() {
        Some(origin) if reading.is_cluster => (None, Some(origin)),
        Some(origin) => (Some(origin), None),
        None => (Some(host), cluster),
    }
}

/// Writes the messages of one reading.
struct Lines<'a> {
    /// All that they have in common.
    head: Vec<u8>,
    naming: &'a Naming,
}

impl<'a> Lines<'a> {
    fn new(time: u64, host: Option<&str>, cluster: Option<&str>, naming: &'a Naming) -> Self {
        let mut head = format!("{{\"time\":{time}").into_bytes();
        for (key, name) in [("host", host), ("cluster", cluster)] {
            match name {
                Some(name) => write_pair(&mut head, key, name),
                None => head.extend_from_slice(format!(",\"{key}\":null").as_bytes()),
            }
        }
        Self { head, naming }
    }

    fn write_all<E>(
        &self,
        reading: &Reading<'_>,
        line: &mut Vec<u8>,
        send: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        // They come in two parts, and are one subject.
        let mut own = Vec::new();
        reading.emit(&mut |subject, datapoints| {
            if subject == Subject::Own {
                own.extend_from_slice(datapoints);
                return Ok(());
            }
            self.write(subject, datapoints, line);
            send(line)
        })?;
        self.write(Subject::Own, &own, line);
        send(line)
    }

    /// The message of a subject, in place of what was in `line`.
    fn write(&self, subject: Subject<'_>, datapoints: &[Datapoint], line: &mut Vec<u8>) {
        line.clear();
        line.extend_from_slice(&self.head);
        write_pair(line, "kind", subject.kind());
        for (key, name) in subject.labels() {
            write_pair(line, key, &name);
        }
        if let Some(group) = group(self.naming, subject) {
            write_pair(line, "group", group);
        }
        line.extend_from_slice(b",\"metrics\":");
        let mut before = b"{\"";
        for Datapoint { metric, value } in datapoints {
            line.extend_from_slice(before);
            line.extend_from_slice(metric.as_bytes());
            line.extend_from_slice(b"\":");
            value.write(line);
            before = b",\"";
        }
        line.extend_from_slice(if datapoints.is_empty() { b"{}}" } else { b"}}" });
    }
}

fn write_pair(out: &mut Vec<u8>, key: &str, value: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\":");
    // A vector takes all that it is given, and a text is always JSON.
    let _ = serde_json::to_writer(out, value);
}

/// As haproxystats groups them: a server goes with its backend.
fn group<'a>(naming: &'a Naming, subject: Subject<'_>) -> Option<&'a str> {
    let (kind, name) = match subject {
        Subject::Frontend(name) => (Kind::Frontend, name),
        Subject::Backend(name) | Subject::Server { backend: name, .. } => (Kind::Backend, name),
        Subject::ServerInAll(name) => (Kind::Server, name),
        Subject::Daemon | Subject::Process(_) | Subject::Own => return None,
    };
    naming.group_of(kind, name)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::fs;
    use std::path::Path;

    use serde_json::Value;

    use super::*;
    use crate::stats::Snapshot;
    use crate::stats::aggregate::{Number, Scope};
    use crate::stats::settings::Settings;

    const STAT: &str = "# pxname,svname,scur,qtime,type,\nbe,s1,3,5,2,\nbe,s2,3,0,2,\nbe,BACKEND,6,0,1,\n\
                        \"q\"\"x\",FRONTEND,3,0,0,\n\n";

    fn naming(text: &str) -> Naming {
        let (settings, _) = Settings::parse(Path::new("/C"), text).unwrap();
        Naming::new(&settings.naming, "lb")
    }

    fn messages(origin: Option<&str>, naming: &Naming) -> Vec<Value> {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in [("a_stat", STAT), ("a_info", "Name: HAProxy\nProcess_num: 1\nCurrConns: 3\n\n")]
        {
            fs::write(directory.path().join(name), text).unwrap();
        }
        if let Some(origin) = origin {
            fs::write(directory.path().join(".origin"), origin).unwrap();
        }
        let snapshot = Snapshot { time: 1000, number: 0, path: directory.path().to_owned() };
        let scope = Scope { per_process: true, aggr_server_metrics: true, ..Scope::default() };
        let reading = Reading::of(&snapshot, &scope).unwrap();
        let (host, cluster) = whose(&reading, "lb-01.example.com", Some("edge"));
        let lines = Lines::new(reading.time, host, cluster, naming);
        let mut told = Vec::new();
        let Ok(()) = lines.write_all::<Infallible>(&reading, &mut Vec::new(), &mut |line| {
            assert!(!line.contains(&b'\n'));
            told.push(serde_json::from_slice(line).unwrap());
            Ok(())
        });
        told
    }

    fn of<'m>(messages: &'m [Value], kind: &str) -> Vec<&'m Value> {
        messages.iter().filter(|message| message["kind"] == kind).collect()
    }

    #[test]
    fn each_subject_has_one_message_that_says_what_it_is() {
        let told = messages(None, &naming(""));
        let one = |kind: &str| *of(&told, kind).first().unwrap();
        let server = one("backend.server");
        assert_eq!((&server["backend"], &server["server"]), (&"be".into(), &"s1".into()));
        assert_eq!((&server["metrics"]["scur"], &server["time"]), (&3.into(), &1000.into()));
        assert_eq!((&server["host"], &server["cluster"]), (&"lb-01.example.com".into(), &"edge".into()));
        assert!(server.get("group").is_none() && server["metrics"].get("pxname").is_none());
        assert_eq!(one("daemon")["metrics"]["CurrConns"], 3);
        assert_eq!(one("daemon.process")["process"], "1");
        assert_eq!((of(&told, "backend.server").len(), of(&told, "server").len()), (2, 2));
        let own = of(&told, "haproxystats");
        assert_eq!(own.len(), 1);
        assert!(own[0]["metrics"]["MetricsServer"].is_i64(), "{own:?}");
        assert!(own[0]["metrics"]["WallClockTimeAllStats"].is_f64(), "{own:?}");
    }

    #[test]
    fn another_machines_numbers_are_its_own_and_a_clusters_are_nobodys() {
        let told = messages(Some("lb-02\n"), &naming(""));
        assert_eq!((&told[0]["host"], &told[0]["cluster"]), (&"lb-02".into(), &Value::Null));
        let told = messages(Some("core\ncluster\n"), &naming(""));
        assert_eq!((&told[0]["host"], &told[0]["cluster"]), (&Value::Null, &"core".into()));
    }

    #[test]
    fn groups_are_told_and_a_server_goes_with_its_backend() {
        let text =
            "[graphite]\ngroup-namespace = g\n[backend-groups]\nweb = ^be\n[server-groups]\nodd = s1\n";
        let told = messages(None, &naming(text));
        for (kind, group) in [("backend", "web"), ("backend.server", "web"), ("server", "odd")] {
            assert_eq!(of(&told, kind)[0]["group"], group, "{kind}");
        }
        assert!(of(&told, "daemon")[0].get("group").is_none());
    }

    #[test]
    fn names_and_numbers_are_json_whatever_they_are() {
        let naming = naming("");
        let lines = Lines::new(7, Some("a\"b\\c\u{1}"), None, &naming);
        let mut line = Vec::new();
        let datapoints =
            [i64::MIN, i64::MAX].map(|value| Datapoint { metric: "m", value: Number::Integer(value) });
        for value in [1e300, -1e-300, 0.1, 2.0, f64::from(u32::MAX) * 1e9].map(Number::Real) {
            let datapoint = Datapoint { metric: "m", value };
            lines.write(Subject::Frontend("ü\t\"x"), &[datapoint], &mut line);
            let message: Value = serde_json::from_slice(&line).unwrap();
            assert_eq!((&message["host"], &message["frontend"]), (&"a\"b\\c\u{1}".into(), &"ü\t\"x".into()));
            assert!(message["metrics"]["m"].is_f64());
        }
        lines.write(Subject::Daemon, &datapoints, &mut line);
        serde_json::from_slice::<Value>(&line).unwrap();
        lines.write(Subject::Daemon, &[], &mut line);
        assert!(line.ends_with(b",\"kind\":\"daemon\",\"metrics\":{}}"));
    }
}
