//! Logs on stderr: as lines for people, or as one JSON object a line for machines.
//!
//! Lines are kept until [`log::Log::flush`]: the listener tells its peers first and flushes when a turn of its
//! loop is done, with one write for all lines of the turn. `pull` and `process` write each at once.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use env_logger::{Builder, Logger, Target};
use log::kv::{Key, Value, VisitSource};
use log::{LevelFilter, Log, Metadata, Record};
use serde_json::{Map, json};

use super::args::{LogFormat, LoggingArgs};

/// Starts logging for the listener. Lines carry the time in UTC: supervisord's log of a listener's stderr has none.
pub(super) fn start(args: &LoggingArgs) {
    start_with(args.log_format, level(args.verbose, args.quiet), false);
}

/// Starts logging for a command that goes on and on: each line is written at once.
pub(super) fn start_at(format: LogFormat, level: LevelFilter) {
    start_with(format, level, true);
}

fn start_with(format: LogFormat, level: LevelFilter, is_immediate: bool) {
    let lines = Lines::default();
    let mut builder = Builder::new();
    builder.target(Target::Pipe(Box::new(lines.clone()))).filter_level(level);
    match format {
        LogFormat::Text => builder.format(|out, record| {
            let level = record.level().as_str().to_ascii_lowercase();
            writeln!(out, "{} {level}: {}", out.timestamp_millis(), record.args())
        }),
        LogFormat::Json => builder.format(|out, record| {
            let time = out.timestamp_millis().to_string();
            writeln!(out, "{}", json_line(&time, record))
        }),
    };
    let logger = builder.build();
    log::set_max_level(logger.filter());
    // It fails only where a logger is set already, and that one does as well.
    let _ = log::set_boxed_logger(Box::new(Buffered { logger, lines, is_immediate }));
}

/// Lines that wait for a flush.
#[derive(Clone, Debug, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Buffered {
    logger: Logger,
    lines: Lines,
    is_immediate: bool,
}

impl Log for Buffered {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.logger.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        self.logger.log(record);
        if self.is_immediate {
            self.flush();
        }
    }

    fn flush(&self) {
        let mut lines = self.lines.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever reads the log is gone if this fails: there is nobody left to tell.
        let _ = io::stderr().write_all(&lines);
        lines.clear();
    }
}

fn level(verbose: u8, quiet: u8) -> LevelFilter {
    match i16::from(verbose) - i16::from(quiet) {
        ..=-2 => LevelFilter::Error,
        -1 => LevelFilter::Warn,
        0 => LevelFilter::Info,
        1 => LevelFilter::Debug,
        2.. => LevelFilter::Trace,
    }
}

fn json_line(time: &str, record: &Record<'_>) -> serde_json::Value {
    let mut fields = Fields(Map::new());
    // A visitor that fails at nothing never makes the visit fail.
    let _ = record.key_values().visit(&mut fields);
    let Fields(mut map) = fields;
    map.insert("time".into(), json!(time));
    map.insert("level".into(), json!(record.level().as_str().to_ascii_lowercase()));
    map.insert("message".into(), json!(record.args().to_string()));
    serde_json::Value::Object(map)
}

struct Fields(Map<String, serde_json::Value>);

impl<'kvs> VisitSource<'kvs> for Fields {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), log::kv::Error> {
        let value = value.to_u64().map_or_else(|| json!(value.to_string()), |number| json!(number));
        self.0.insert(key.to_string(), value);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_move_the_level() {
        assert_eq!(level(0, 0), LevelFilter::Info);
        assert_eq!(level(1, 0), LevelFilter::Debug);
        assert_eq!(level(9, 0), LevelFilter::Trace);
        assert_eq!(level(0, 1), LevelFilter::Warn);
        assert_eq!(level(0, 9), LevelFilter::Error);
    }

    #[test]
    fn a_json_line_holds_its_fields() {
        let pairs = [("server", Value::from("be/s")), ("lasted", Value::from(7_u64))];
        let record = Record::builder()
            .args(format_args!("a \"quoted\" word"))
            .level(log::Level::Warn)
            .key_values(&pairs)
            .build();
        assert_eq!(
            json_line("2026-01-01T00:00:00.000Z", &record).to_string(),
            r#"{"lasted":7,"level":"warn","message":"a \"quoted\" word","server":"be/s","time":"2026-01-01T00:00:00.000Z"}"#
        );
    }
}
