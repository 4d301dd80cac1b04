//! What is said, and the form in which each kind of receiver takes it. Pure.

use std::fmt;
use std::str::FromStr;

use hmac::{Hmac, KeyInit, Mac};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sha2::Sha256;

use super::digest::Summary;
use crate::net::{HttpUrl, HttpUrlError};
use crate::stats::{Errors, Health, Report, Server};

/// Lines of a report or an alert: nobody reads more of them in a chat, and the JSON form has all.
const MAX_LINES: usize = 50;
/// What Discord takes, in characters; others take more than [`MAX_LINES`] make.
const MAX_DISCORD: usize = 2000;
/// Who speaks, where a chat shows that.
const NAME: &str = "supervisor-haproxy";
/// Of the body, by which a receiver knows who sent it.
pub const SIGNATURE: &str = "X-Supervisor-Haproxy-Signature";

/// How a receiver wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `username`, `event_name`, `message`, `status`.
    Telex,
    /// `text`, as Slack and those that are like it take it.
    Slack,
    /// `content`.
    Discord,
    /// The message itself.
    Text,
    /// All there is to know.
    Json,
}

const FORMATS: [(&str, Format); 5] = [
    ("telex", Format::Telex),
    ("slack", Format::Slack),
    ("discord", Format::Discord),
    ("text", Format::Text),
    ("json", Format::Json),
];

/// Where to send, and in which form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The form.
    pub format: Format,
    /// The place.
    pub url: HttpUrl,
}

impl FromStr for Destination {
    type Err = HttpUrlError;

    /// `slack+https://…`; without a format, JSON.
    fn from_str(text: &str) -> Result<Self, HttpUrlError> {
        let named = FORMATS.iter().find_map(|(name, format)| {
            text.strip_prefix(name).and_then(|rest| rest.strip_prefix('+')).map(|url| (*format, url))
        });
        let (format, url) = named.unwrap_or((Format::Json, text));
        Ok(Self { format, url: url.parse()? })
    }
}

/// What it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// How all fare.
    Report,
    /// What has changed.
    Alert,
}

impl Event {
    /// As receivers know it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Report => "haproxy-report",
            Self::Alert => "haproxy-alert",
        }
    }
}

/// One thing that is said, whoever hears it.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// The same each time that it is sent.
    pub id: String,
    /// When it was made.
    pub at: Timestamp,
    /// What it is about.
    pub event: Event,
    /// Of which HAProxy.
    pub source: String,
    /// Whether something is not well.
    pub is_bad: bool,
    /// For people.
    pub text: String,
    /// For programs.
    pub details: Value,
}

/// The body of a POST.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// Its media type.
    pub kind: &'static str,
    /// Itself.
    pub bytes: Vec<u8>,
}

impl Message {
    /// How HAProxy fares; or why that is not known.
    #[must_use]
    pub fn report(id: String, at: Timestamp, source: &str, report: Result<&Report, &str>) -> Self {
        let (text, details) = match report {
            Ok(report) => (report_text(source, report), serde_json::to_value(report).unwrap_or_default()),
            Err(why) => (format!("HAProxy {source}: no statistics: {why}"), json!({ "error": why })),
        };
        let is_bad = report.map_or(true, |report| !report.problems.is_empty());
        Self { id, at, event: Event::Report, source: source.to_owned(), is_bad, text, details }
    }

    /// What has changed.
    #[must_use]
    pub fn alert(id: String, at: Timestamp, source: &str, summary: &Summary) -> Self {
        let mut lines = vec![format!("HAProxy {source}:")];
        push_some(&mut lines, &summary.lines, ToString::to_string);
        let details = json!({ "changes": summary.lines });
        let is_bad = summary.is_bad();
        let (event, source, text) = (Event::Alert, source.to_owned(), lines.join("\n"));
        Self { id, at, event, source, is_bad, text, details }
    }

    /// What is sent to a receiver.
    #[must_use]
    pub fn body(&self, format: Format) -> Body {
        let status = if self.is_bad { "error" } else { "success" };
        let document = match format {
            Format::Text => {
                return Body { kind: "text/plain; charset=utf-8", bytes: self.text.clone().into() };
            }
            Format::Telex => json!({
                "username": NAME, "event_name": self.event.name(), "message": self.text, "status": status,
            }),
            Format::Slack => json!({ "text": slack(&self.text) }),
            // Nobody is called by what stands in a check's text.
            Format::Discord => {
                json!({ "content": cut(&self.text, MAX_DISCORD), "allowed_mentions": { "parse": [] } })
            }
            Format::Json => json!({
                "event_id": self.id, "event": self.event.name(), "time": self.at.to_string(), "source": self.source,
                "status": status, "message": self.text, "details": self.details,
            }),
        };
        Body { kind: "application/json", bytes: document.to_string().into() }
    }
}

/// What Slack takes for its own is written as it wants it.
fn slack(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

fn push_some<T>(lines: &mut Vec<String>, all: &[T], line: impl Fn(&T) -> String) {
    lines.extend(all.iter().take(MAX_LINES).map(line));
    let more = all.len().saturating_sub(MAX_LINES);
    if more > 0 {
        lines.push(format!("… and {more} more"));
    }
}

fn report_text(source: &str, report: &Report) -> String {
    let verdict = match report.problems.len() {
        0 => "all is well".to_owned(),
        1 => "1 problem".to_owned(),
        count => format!("{count} problems"),
    };
    let mut lines = vec![format!("HAProxy {source}: {verdict}")];
    push_some(&mut lines, &report.problems, |problem| format!("! {problem}"));
    let mut servers: Vec<&Server> = report.servers.iter().collect();
    servers.sort_by_key(|server| server.health != Health::Down);
    push_some(&mut lines, &servers, |server| server_line(server));
    lines.push(errors_line("frontends", report.totals.frontends));
    lines.push(errors_line("backends", report.totals.backends));
    lines.join("\n")
}

fn server_line(server: &Server) -> String {
    let Server { backend, server: name, status, sessions, sessions_now, queue, queue_peak, .. } = server;
    let since = server.since.and_then(|since| SignedDuration::try_from(since).ok());
    let since = since.map(|since| format!(" for {since:#}")).unwrap_or_default();
    let failed = server.failed_checks.map(|failed| format!(", failed checks {failed}")).unwrap_or_default();
    let response = server.response.map(|time| format!(", response {time} ms")).unwrap_or_default();
    format!(
        "{backend}/{name} {status}{since}, sessions {sessions} ({sessions_now} now){failed}, queue {queue} (most \
         {queue_peak}){response}"
    )
}

fn errors_line(side: &str, errors: Errors) -> String {
    let Errors { request, connection, response, denied, status_5xx } = errors;
    format!(
        "errors of {side}: requests {request}, connections {connection}, responses {response}, denied {denied}, 5xx \
         {status_5xx}"
    )
}

/// The key that a receiver and this program share. Never shown.
#[derive(Clone)]
pub struct Signer(Hmac<Sha256>);

impl Signer {
    /// Takes it as it stands.
    pub fn new(secret: &str) -> Option<Self> {
        Hmac::new_from_slice(secret.as_bytes()).ok().map(Self)
    }

    /// The value of the header: `sha256=` and the HMAC (RFC 2104) of the body, in hexadecimal digits.
    #[must_use]
    pub fn sign(&self, body: &[u8]) -> String {
        let digest = self.0.clone().chain_update(body).finalize().into_bytes();
        digest.iter().fold("sha256=".to_owned(), |text, byte| text + &format!("{byte:02x}"))
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer(…)")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn server(number: usize, health: Health, status: &str) -> Server {
        Server {
            backend: "app".into(),
            server: format!("web{number}"),
            status: status.into(),
            health,
            since: Some(Duration::from_secs(3725)),
            sessions: 120,
            sessions_now: 3,
            check: "L4CON".into(),
            last_check: String::new(),
            failed_checks: Some(2),
            queue: 1,
            queue_peak: 7,
            response: Some(12),
        }
    }

    fn report(servers: Vec<Server>, problems: &[&str]) -> Report {
        let problems = problems.iter().map(ToString::to_string).collect();
        Report { servers, problems, ..Report::default() }
    }

    fn message(report: Result<&Report, &str>) -> Message {
        Message::report("id-1".into(), "2026-01-02T03:04:05Z".parse().unwrap(), "lb1", report)
    }

    fn with_text(text: &str) -> Message {
        Message { text: text.into(), ..message(Err("")) }
    }

    fn json_of(message: &Message, format: Format) -> Value {
        serde_json::from_slice(&message.body(format).bytes).unwrap()
    }

    #[test]
    fn a_report_has_every_figure_and_what_is_down_first() {
        let servers = vec![server(1, Health::Up, "UP"), server(2, Health::Down, "DOWN")];
        let mut report = report(servers, &["server `app/web2` is DOWN: L4CON"]);
        report.totals.frontends.denied = 9;
        report.totals.backends = Errors { request: 1, connection: 2, response: 3, denied: 4, status_5xx: 5 };
        let expected = "HAProxy lb1: 1 problem\n\
            ! server `app/web2` is DOWN: L4CON\n\
            app/web2 DOWN for 1h 2m 5s, sessions 120 (3 now), failed checks 2, queue 1 (most 7), response 12 ms\n\
            app/web1 UP for 1h 2m 5s, sessions 120 (3 now), failed checks 2, queue 1 (most 7), response 12 ms\n\
            errors of frontends: requests 0, connections 0, responses 0, denied 9, 5xx 0\n\
            errors of backends: requests 1, connections 2, responses 3, denied 4, 5xx 5";
        assert_eq!(message(Ok(&report)).text, expected);
    }

    #[test]
    fn what_is_not_known_of_a_server_is_left_out() {
        let bare =
            Server { since: None, failed_checks: None, response: None, ..server(1, Health::Up, "no check") };
        assert_eq!(server_line(&bare), "app/web1 no check, sessions 120 (3 now), queue 1 (most 7)");
    }

    #[test]
    fn telex_gets_its_four_members_and_success_or_error() {
        let well = message(Ok(&report(vec![], &[])));
        let document = json_of(&well, Format::Telex);
        let expected = json!({
            "username": "supervisor-haproxy", "event_name": "haproxy-report",
            "message": well.text, "status": "success",
        });
        assert_eq!(document, expected);
        assert_eq!(json_of(&message(Ok(&report(vec![], &["x"]))), Format::Telex)["status"], "error");
        let silent = json_of(&message(Err("no route to host")), Format::Telex);
        assert_eq!(silent["status"], "error");
        assert_eq!(silent["message"], "HAProxy lb1: no statistics: no route to host");
    }

    #[test]
    fn what_slack_would_obey_is_only_shown() {
        let document = json_of(&with_text("<!channel> a & b"), Format::Slack);
        assert_eq!(document, json!({ "text": "&lt;!channel&gt; a &amp; b" }));
    }

    #[test]
    fn discord_gets_what_it_takes_and_calls_nobody() {
        let document = json_of(&with_text(&"ä".repeat(3000)), Format::Discord);
        assert_eq!(document["content"].as_str().unwrap().chars().count(), 2000);
        assert!(document["content"].as_str().unwrap().ends_with('…'));
        assert_eq!(document["allowed_mentions"], json!({ "parse": [] }));
        assert_eq!(json_of(&with_text("short"), Format::Discord)["content"], "short");
    }

    #[test]
    fn programs_get_all_of_it() {
        let report = report((0..60).map(|number| server(number, Health::Up, "UP")).collect(), &[]);
        let message = message(Ok(&report));
        let document = json_of(&message, Format::Json);
        for (member, value) in [
            ("event_id", "id-1"),
            ("event", "haproxy-report"),
            ("time", "2026-01-02T03:04:05Z"),
            ("source", "lb1"),
            ("status", "success"),
        ] {
            assert_eq!(document[member], value);
        }
        assert_eq!(document["details"]["servers"].as_array().unwrap().len(), 60);
        assert_eq!(message.text.lines().count(), 1 + MAX_LINES + 1 + 2);
        assert!(message.text.contains("\n… and 10 more\n"));
        assert_eq!(message.body(Format::Text).bytes, message.text.as_bytes());
    }

    #[test]
    fn the_signature_is_that_of_the_rfc() {
        // RFC 4231, test case 2.
        let signer = Signer::new("Jefe").unwrap();
        assert_eq!(
            signer.sign(b"what do ya want for nothing?"),
            "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert_eq!(format!("{signer:?}"), "Signer(…)");
    }

    #[test]
    fn a_destination_is_a_format_and_a_url() {
        let read =
            |text: &str| text.parse::<Destination>().map(|found| (found.format, found.url.to_string()));
        let url = "https://h/x".to_owned();
        for (name, format) in FORMATS {
            assert_eq!(read(&format!("{name}+https://h/x")), Ok((format, url.clone())));
        }
        assert_eq!(read("https://h/x"), Ok((Format::Json, url)));
        for text in ["", "slack", "slack+", "irc+https://h/", "slack+ftp://h/"] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn whatever_a_check_says_the_form_is_whole(text in any::<String>()) {
            let message = with_text(&text);
            prop_assert_eq!(&json_of(&message, Format::Telex)["message"], &json!(text));
            let shown = json_of(&message, Format::Slack)["text"].as_str().unwrap().to_owned();
            let has_command = shown.contains(['<', '>']);
            prop_assert!(!has_command);
            let content = json_of(&message, Format::Discord)["content"].as_str().unwrap().chars().count();
            prop_assert!(content <= MAX_DISCORD);
        }
    }
}
