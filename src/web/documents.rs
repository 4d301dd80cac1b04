//! The documents that clients get, and how they are made of what the monitor publishes. What is not known is null, and
//! nothing is made up.

use std::collections::BTreeMap;
use std::time::Instant;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::changes::Changed;
use crate::agent::Circuit;
use crate::alerts::{OWN_SOCKET, PASSWORD, STATS_ENDPOINT, TickOrder, USERNAME};
use crate::config_change::{Host, Routes, Target};
use crate::exec::Checked;
use crate::health::{self, Attempt, Cause, Health, Reading, Verdict};
use crate::history::{self, Entry};
use crate::stats::Report;

/// How HAProxy fares: UNKNOWN before it was asked, DEGRADED where a server or a backend is down, UNHEALTHY where it
/// does not answer.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Status {
    Healthy,
    Degraded,
    Unhealthy,
    Unknown,
}

impl From<health::Status> for Status {
    fn from(status: health::Status) -> Self {
        match status {
            health::Status::Healthy => Self::Healthy,
            health::Status::Degraded => Self::Degraded,
            health::Status::Unhealthy => Self::Unhealthy,
            health::Status::Unknown => Self::Unknown,
        }
    }
}

/// The same of the system as a whole.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum SystemStatus {
    Healthy,
    Degraded,
    Unhealthy,
    Unknown,
}

impl From<health::Status> for SystemStatus {
    fn from(status: health::Status) -> Self {
        match status {
            health::Status::Healthy => Self::Healthy,
            health::Status::Degraded => Self::Degraded,
            health::Status::Unhealthy => Self::Unhealthy,
            health::Status::Unknown => Self::Unknown,
        }
    }
}

/// The circuit breaker before HAProxy.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum CircuitState {
    /// HAProxy is asked.
    Closed,
    /// HAProxy is left alone.
    Open,
    /// HAProxy is being asked once, which decides.
    HalfOpen,
}

impl From<Circuit> for CircuitState {
    fn from(circuit: Circuit) -> Self {
        match circuit {
            Circuit::Closed => Self::Closed,
            Circuit::Open => Self::Open,
            Circuit::HalfOpen => Self::HalfOpen,
        }
    }
}

/// An RFC 3339 timestamp in UTC.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(value_type = String, format = DateTime)]
pub(super) struct Time(String);

impl From<Timestamp> for Time {
    fn from(at: Timestamp) -> Self {
        Self(format!("{at:.3}"))
    }
}

// --- system

/// The system at a glance.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SystemHealth {
    status: SystemStatus,
    timestamp: Time,
    services: Services,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Services {
    haproxy: Service,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Service {
    status: Status,
    circuit_state: CircuitState,
    #[schema(required)]
    last_check: Option<Time>,
    metrics: ServiceMetrics,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServiceMetrics {
    /// Routes with `--routes`, otherwise backends that HAProxy has.
    #[schema(required)]
    route_count: Option<usize>,
    connections: ServiceConnections,
}

#[derive(Serialize, ToSchema)]
pub(super) struct ServiceConnections {
    #[schema(required)]
    current: Option<u64>,
    #[schema(required)]
    total: Option<u64>,
    #[schema(required)]
    limit: Option<u64>,
}

impl SystemHealth {
    pub(super) fn of(health: &Health, now: Timestamp) -> Self {
        let number = |key| health.reading.as_ref().and_then(|reading| reading.number(key));
        let status = health.judgement.status;
        Self {
            status: status.into(),
            timestamp: now.into(),
            services: Services {
                haproxy: Service {
                    status: status.into(),
                    circuit_state: health.circuit.circuit.into(),
                    last_check: health.check.as_ref().map(|check| check.at.into()),
                    metrics: ServiceMetrics {
                        route_count: health.route_count(),
                        connections: ServiceConnections {
                            current: number(CURRENT),
                            total: number(TOTAL),
                            limit: number(LIMIT),
                        },
                    },
                },
            },
        }
    }
}

/// Keys of `show info`.
const CURRENT: &str = "CurrConns";
const TOTAL: &str = "CumConns";
const LIMIT: &str = "Maxconn";
const CONNECTION_RATE: &str = "ConnRate";
const REQUESTS: &str = "CumReq";

// --- HAProxy

/// HAProxy's health in detail.
#[derive(Serialize, ToSchema)]
pub(super) struct HaproxyHealth {
    success: bool,
    health: Details,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
// The names are those of the document.
#[allow(clippy::struct_field_names)]
pub(super) struct Details {
    timestamp: Time,
    status: Status,
    circuit_state: CircuitState,
    metrics: Metrics,
    last_check: LastCheck,
    /// Routes with `--routes`, otherwise backends that HAProxy has.
    #[schema(required)]
    route_count: Option<usize>,
    /// Failures in a row.
    failure_count: u32,
    /// Attempts of recovery since the start of `serve`.
    recovery_attempts: u64,
    circuit_details: CircuitDetails,
    /// What is not well, a line for each; the first hundred.
    problems: Vec<String>,
    recovery: RecoveryDetails,
}

/// Null is what HAProxy has not told: it does not answer, or its version has no such figure.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Metrics {
    connections: Connections,
    requests: Requests,
    errors: ErrorCounts,
    /// By `backend/server`.
    server_states: BTreeMap<String, ServerState>,
    /// In seconds.
    #[schema(required)]
    uptime: Option<u64>,
    #[schema(required)]
    version: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Connections {
    #[schema(required)]
    current: Option<u64>,
    #[schema(required)]
    total: Option<u64>,
    /// In the last second.
    #[schema(required)]
    rate: Option<u64>,
    #[schema(required)]
    limit: Option<u64>,
}

impl Connections {
    pub(super) fn of(reading: Option<&Reading>) -> Self {
        let number = |key| reading.and_then(|reading| reading.number(key));
        Self {
            current: number(CURRENT),
            total: number(TOTAL),
            rate: number(CONNECTION_RATE),
            limit: number(LIMIT),
        }
    }
}

#[derive(Serialize, ToSchema)]
pub(super) struct Requests {
    #[schema(required)]
    total: Option<u64>,
    /// In the last second.
    #[schema(required)]
    rate: Option<u64>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct ErrorCounts {
    /// Requests that could not be read, and connections to servers and responses that failed.
    #[schema(required)]
    total: Option<u64>,
    /// A second, since the check before.
    #[schema(required)]
    rate: Option<f64>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct ServerState {
    /// In HAProxy's words.
    status: String,
    /// Connections and responses that failed.
    errors: u64,
    /// Under way.
    connections: u64,
}

/// The last time HAProxy was asked.
#[derive(Serialize, ToSchema)]
pub(super) struct LastCheck {
    #[schema(required)]
    timestamp: Option<Time>,
    status: Status,
    details: CheckDetails,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct CheckDetails {
    /// Null without `--recover-container`, or where Docker does not tell.
    #[schema(required)]
    container_running: Option<bool>,
    /// Null where it cannot be told.
    #[schema(required)]
    process_running: Option<bool>,
    #[schema(required)]
    api_connected: Option<bool>,
    /// Whether HAProxy takes the configuration on the disk; null without `--config`.
    #[schema(required)]
    config_valid: Option<bool>,
    /// In milliseconds.
    #[schema(required)]
    response_time: Option<f64>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct CircuitDetails {
    failure_count: u32,
    failure_threshold: u32,
    #[schema(required)]
    last_state_change: Option<Time>,
    #[schema(required)]
    last_failure: Option<Time>,
}

/// What is done about an HAProxy that does not answer.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RecoveryDetails {
    enabled: bool,
    /// How HAProxy is restarted.
    #[schema(required)]
    action: Option<String>,
    /// In how many seconds there may be another attempt, where one is due and has to wait.
    #[schema(required)]
    waits: Option<u64>,
    /// The last fifty, the oldest first.
    attempts: Vec<AttemptDetails>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct AttemptDetails {
    timestamp: Time,
    /// `unhealthy`, or `asked`.
    cause: &'static str,
    /// What was given as the reason by who asked for it.
    #[schema(required)]
    reason: Option<String>,
    /// `recovered`, `invalid-configuration`, `failed` or `not-verified`.
    outcome: &'static str,
    /// What went wrong.
    #[schema(required)]
    error: Option<String>,
    seconds: f64,
}

/// A page of problems says no more than a screen of them.
pub(super) const MAX_PROBLEMS: usize = 100;

impl HaproxyHealth {
    pub(super) fn of(health: &Health, now: Timestamp) -> Self {
        let status = health.judgement.status;
        let circuit = &health.circuit;
        let details = Details {
            timestamp: now.into(),
            status: status.into(),
            circuit_state: circuit.circuit.into(),
            metrics: Metrics::of(health.reading.as_deref(), health.error_rate),
            last_check: LastCheck::of(health),
            route_count: health.route_count(),
            failure_count: circuit.failures,
            recovery_attempts: health.recovery.count,
            circuit_details: CircuitDetails {
                failure_count: circuit.failures,
                failure_threshold: circuit.threshold,
                last_state_change: circuit.changed.map(Time::from),
                last_failure: circuit.last_failure.map(Time::from),
            },
            problems: health.judgement.problems.iter().take(MAX_PROBLEMS).cloned().collect(),
            recovery: RecoveryDetails::of(health, Instant::now()),
        };
        Self { success: true, health: details }
    }
}

impl Metrics {
    fn of(reading: Option<&Reading>, error_rate: Option<f64>) -> Self {
        let number = |key| reading.and_then(|reading| reading.number(key));
        let servers = reading.into_iter().flat_map(Reading::servers).map(|(server, figures)| {
            let state = ServerState {
                status: server.status.clone(),
                errors: figures.errors,
                connections: server.sessions_now,
            };
            (format!("{}/{}", server.backend, server.server), state)
        });
        Self {
            connections: Connections::of(reading),
            requests: Requests {
                total: number(REQUESTS),
                rate: reading.and_then(|reading| reading.request_rate),
            },
            errors: ErrorCounts { total: reading.map(Reading::errors), rate: error_rate },
            server_states: servers.collect(),
            uptime: reading.and_then(|reading| reading.info.uptime),
            version: reading.and_then(|reading| reading.info.version.clone()),
        }
    }
}

impl LastCheck {
    fn of(health: &Health) -> Self {
        let check = health.check.as_ref();
        Self {
            timestamp: check.map(|check| check.at.into()),
            status: check.map_or(health::Status::Unknown, |check| check.status).into(),
            details: CheckDetails {
                container_running: health.container_running,
                process_running: check.and_then(|check| check.process_running),
                api_connected: check.map(|check| check.error.is_none()),
                config_valid: health.configuration_valid,
                response_time: check.map(|check| check.took.as_secs_f64() * 1e3),
            },
        }
    }
}

impl RecoveryDetails {
    fn of(health: &Health, now: Instant) -> Self {
        let recovery = &health.recovery;
        let until = match recovery.verdict {
            Some(Verdict::Backoff(until) | Verdict::Exhausted(until)) => Some(until),
            _ => None,
        };
        Self {
            enabled: recovery.action.is_some(),
            action: recovery.action.clone(),
            waits: until.map(|until| until.saturating_duration_since(now).as_secs()),
            attempts: recovery.attempts.iter().map(AttemptDetails::of).collect(),
        }
    }
}

impl AttemptDetails {
    fn of(attempt: &Attempt<Timestamp>) -> Self {
        let (cause, reason) = match &attempt.cause {
            Cause::Unhealthy(_) => ("unhealthy", None),
            Cause::Asked(reason) => ("asked", reason.clone()),
        };
        let error = attempt.outcome.why();
        Self {
            timestamp: attempt.at.into(),
            cause,
            reason,
            outcome: attempt.outcome.word(),
            error: (!error.is_empty()).then(|| error.to_owned()),
            seconds: attempt.took.as_secs_f64(),
        }
    }
}

// --- statistics

/// What HAProxy counts, by server and proxy: the same as `report --json` has.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct HaproxyStatistics<'a> {
    success: bool,
    /// When HAProxy told it.
    timestamp: Time,
    version: Option<&'a str>,
    uptime_seconds: Option<u64>,
    #[schema(value_type = Object)]
    stats: &'a Report,
}

impl<'a> HaproxyStatistics<'a> {
    pub(super) fn of(reading: &'a Reading, at: Timestamp) -> Self {
        Self {
            success: true,
            timestamp: at.into(),
            version: reading.info.version.as_deref(),
            uptime_seconds: reading.info.uptime,
            stats: &reading.report,
        }
    }
}

// --- recovery

/// Why somebody has HAProxy restarted; it is logged and kept with the attempt.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RecoveryOrder {
    pub(super) reason: Option<String>,
}

/// HAProxy was restarted and answers.
#[derive(Serialize, ToSchema)]
pub(super) struct Recovered {
    success: bool,
    message: &'static str,
    action: &'static str,
}

impl Recovered {
    pub(super) const DONE: Self =
        Self { success: true, message: "HAProxy service recovered successfully", action: "restart" };
}

// --- validation

/// What HAProxy says of its configuration on the disk.
#[derive(Serialize, ToSchema)]
pub(super) struct Validation {
    /// It was asked.
    success: bool,
    /// Whether it would start.
    valid: bool,
    message: String,
    /// What keeps it from starting, in its own words.
    errors: Vec<String>,
    /// What does not, and is odd.
    warnings: Vec<String>,
}

impl Validation {
    pub(super) fn of(checked: &Checked) -> Self {
        let own = |lines: Vec<&str>| lines.into_iter().map(str::to_owned).collect();
        let message =
            if checked.is_valid { "HAProxy configuration is valid".to_owned() } else { checked.why() };
        Self {
            success: true,
            valid: checked.is_valid,
            message,
            errors: own(checked.alerts()),
            warnings: own(checked.warnings()),
        }
    }
}

// --- routes

/// All routes.
#[derive(Serialize, ToSchema)]
pub(super) struct RouteTable {
    /// Another one for another table; in quotes, it is the `ETag`.
    version: String,
    /// In the order of their hosts.
    routes: Vec<Route>,
}

impl RouteTable {
    pub(super) fn of(routes: &Routes) -> Self {
        let list = routes.iter().map(|(host, target)| Route::of(host, target));
        Self { version: routes.tag(), routes: list.collect() }
    }
}

/// Where the requests for a host go.
#[derive(Serialize, ToSchema)]
pub(super) struct Route {
    host: String,
    url: String,
    /// The page by which the server is checked.
    #[schema(required)]
    check: Option<String>,
}

impl Route {
    pub(super) fn of(host: &Host, target: &Target) -> Self {
        let check = target.check().map(ToString::to_string);
        Self { host: host.to_string(), url: target.to_string(), check }
    }
}

/// Which route is meant.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct HostName {
    /// The name as requests have it, without a port.
    #[allow(dead_code)]
    #[param(
        max_length = 253,
        example = "www.example.com",
        pattern = "^[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?([.][A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*$"
    )]
    host: String,
}

/// What a change expects of what there is.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(super) struct IfMatch {
    /// The `ETag` that the table must have, or one of several; `*` where what the path names must be there.
    #[allow(dead_code)]
    #[param(rename = "If-Match", required = false, example = "\"0123456789ab\"")]
    if_match: String,
}

/// What a reader knows already.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(super) struct IfKnown {
    /// The `ETag` that is known already, or several. What is none is taken for one that is not known.
    #[allow(dead_code)]
    #[param(rename = "If-None-Match", required = false, example = "\"0123456789ab\"")]
    if_none_match: String,
}

/// What must not be there.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(super) struct IfNoneMatch {
    /// `*` where the host must not be routed, or an `ETag` that the table must not have.
    #[allow(dead_code)]
    #[param(rename = "If-None-Match", required = false, example = "*")]
    if_none_match: String,
}

/// A route that is to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewRoute {
    /// The name as requests have it, without a port.
    #[schema(
        example = "www.example.com",
        max_length = 253,
        pattern = "^[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?([.][A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*$"
    )]
    pub(super) host: String,
    /// The server: `http://HOST:PORT`.
    #[schema(example = "http://127.0.0.1:8080")]
    pub(super) url: String,
    /// A page that HAProxy asks the server for; without it, the server is taken to be up.
    #[schema(example = "/health", max_length = 512, pattern = "^/[A-Za-z0-9/_.~?=&+,:@-]*$")]
    pub(super) check: Option<String>,
}

/// Where requests are to go.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewTarget {
    /// The server: `http://HOST:PORT`.
    #[schema(example = "http://127.0.0.1:8080")]
    pub(super) url: String,
    /// A page that HAProxy asks the server for; without it, the server is taken to be up.
    #[schema(example = "/health", max_length = 512, pattern = "^/[A-Za-z0-9/_.~?=&+,:@-]*$")]
    pub(super) check: Option<String>,
}

/// A change of routes that is in force.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RouteChange {
    success: bool,
    message: String,
    /// What is so now; null where the route is gone.
    #[schema(required)]
    route: Option<Route>,
    /// Of the table from now on; in quotes, it is the `ETag`.
    version: String,
    /// Whether HAProxy was reloaded for it.
    reloaded: bool,
    /// The number that `config history` has for it; null where all was so already.
    #[schema(required)]
    config_version: Option<u64>,
}

impl RouteChange {
    pub(super) fn of(changed: &Changed, what: &str, route: Option<Route>) -> Self {
        let Changed { done, tag } = changed;
        Self {
            success: true,
            message: done.tell(what),
            route,
            version: tag.clone(),
            reloaded: done.is_reloaded,
            config_version: done.version,
        }
    }
}

// --- Telex

/// What Telex is told of an integration.
#[derive(Serialize, ToSchema)]
pub(super) struct Integration {
    data: IntegrationData,
}

#[derive(Serialize, ToSchema)]
pub(super) struct IntegrationData {
    descriptions: Descriptions,
    integration_type: &'static str,
    integration_category: &'static str,
    is_active: bool,
    key_features: [&'static str; 4],
    author: &'static str,
    settings: [IntegrationSetting; 4],
    target_url: &'static str,
    /// Where ticks go.
    tick_url: String,
}

// The names are those of the document.
#[allow(clippy::struct_field_names)]
#[derive(Serialize, ToSchema)]
pub(super) struct Descriptions {
    app_name: &'static str,
    app_description: &'static str,
    app_logo: String,
    /// Where this program is reached.
    app_url: String,
    background_color: &'static str,
}

#[derive(Serialize, ToSchema)]
pub(super) struct IntegrationSetting {
    label: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    required: bool,
    default: String,
}

impl Integration {
    pub(super) fn at(base: &str, interval: &str) -> Self {
        let setting = |label, required, default: &str| IntegrationSetting {
            label,
            kind: "text",
            required,
            default: default.to_owned(),
        };
        Self {
            data: IntegrationData {
                descriptions: Descriptions {
                    app_name: "HAProxy",
                    app_description: "Reports on the servers behind HAProxy, and on its errors",
                    app_logo: String::new(),
                    app_url: base.to_owned(),
                    background_color: "#ffffff",
                },
                integration_type: "interval",
                integration_category: "Monitoring & Logging",
                is_active: true,
                key_features: [
                    "The state of each server, and for how long it has had it",
                    "Sessions, queues and response times",
                    "Failed health checks",
                    "Errors by their kind",
                ],
                author: "supervisor-haproxy",
                settings: [
                    setting("interval", true, interval),
                    setting(STATS_ENDPOINT, true, OWN_SOCKET),
                    setting(USERNAME, false, ""),
                    setting(PASSWORD, false, ""),
                ],
                target_url: "",
                tick_url: format!("{base}/tick"),
            },
        }
    }
}

/// What an integration sends when a report is due.
#[derive(Deserialize, ToSchema)]
pub(super) struct TickRequest {
    /// Not looked at: the return URL has it.
    #[allow(dead_code)]
    channel_id: Option<String>,
    /// Where the report goes.
    return_url: String,
    settings: Vec<TickSetting>,
}

#[derive(Deserialize, ToSchema)]
pub(super) struct TickSetting {
    label: String,
    /// The value.
    #[schema(value_type = String)]
    default: Option<serde_json::Value>,
}

impl TickRequest {
    /// Only texts are values of what is needed.
    pub(super) fn order(self) -> TickOrder {
        let settings = self.settings.into_iter().filter_map(|setting| match setting.default? {
            serde_json::Value::String(value) => Some((setting.label, value)),
            _ => None,
        });
        TickOrder { return_url: self.return_url, settings: settings.collect() }
    }
}

/// The report will be made and sent.
#[derive(Serialize, ToSchema)]
pub(super) struct Accepted {
    status: &'static str,
}

impl Accepted {
    pub(super) const DONE: Self = Self { status: "accepted" };
}

// --- history

/// What has changed, the newest first.
#[derive(Serialize, ToSchema)]
pub(super) struct History {
    entries: Vec<HistoryEntry>,
}

impl From<Vec<Entry>> for History {
    fn from(entries: Vec<Entry>) -> Self {
        Self { entries: entries.into_iter().map(HistoryEntry::from).collect() }
    }
}

/// What an entry is about: a server, HAProxy itself, the circuit breaker before it, an attempt to bring it back, a program
/// of supervisord's, what somebody asked for, or a message that was lost.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum HistoryKind {
    Server,
    Haproxy,
    Circuit,
    Recovery,
    Program,
    Action,
    Message,
}

/// One thing that happened.
#[derive(Serialize, ToSchema)]
pub(super) struct HistoryEntry {
    /// Grows from entry to entry, also across restarts; there may be gaps.
    id: i64,
    time: Time,
    kind: HistoryKind,
    /// Which one: `app/web1`, or `haproxy`.
    subject: String,
    /// What it was; of an action, what was asked for; of a recovery, its cause, and of a message, what it was.
    from: String,
    /// What it is, or how it ended.
    to: String,
    #[schema(required)]
    why: Option<String>,
}

impl From<Entry> for HistoryEntry {
    fn from(entry: Entry) -> Self {
        let Entry { id, time, kind, subject, from, to, why } = entry;
        Self { id, time: time.into(), kind: kind.into(), subject, from, to, why }
    }
}

impl From<history::Kind> for HistoryKind {
    fn from(kind: history::Kind) -> Self {
        match kind {
            history::Kind::Server => Self::Server,
            history::Kind::Haproxy => Self::Haproxy,
            history::Kind::Circuit => Self::Circuit,
            history::Kind::Recovery => Self::Recovery,
            history::Kind::Program => Self::Program,
            history::Kind::Action => Self::Action,
            history::Kind::Message => Self::Message,
        }
    }
}
