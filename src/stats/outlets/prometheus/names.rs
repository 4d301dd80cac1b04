//! What each metric is called in Prometheus. Names and kinds are those of HAProxy's own exporter (2.6), so that what was
//! built for it works; where it has none, they are made as it makes them.
//!
//! It calls four things counters that are none: `pipes_used_total` and `pipes_free_total` are of now, and the two
//! `http_comp_bytes_…_total` of the process are rates. They are left so.

use crate::sinks::MetricKind;
use MetricKind::{Counter, Gauge};

/// What is told of a kind of subject.
#[derive(Debug)]
pub(super) struct Group {
    /// [`crate::stats::aggregate::Subject::kind`].
    pub(super) subject: &'static str,
    /// How its names begin.
    pub(super) prefix: &'static str,
    pub(super) entries: &'static [Entry],
}

/// A metric. Those of one name stand together, and differ by a label.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// HAProxy's or haproxystats' name.
    pub(super) metric: &'static str,
    /// The name, after the group's prefix.
    pub(super) name: &'static str,
    pub(super) kind: MetricKind,
    unit: Unit,
    /// Name and value of a label that tells it from others of its name.
    pub(super) label: Option<(&'static str, &'static str)>,
    pub(super) help: &'static str,
}

/// What HAProxy counts it in, where that is no base unit.
#[derive(Clone, Copy, Debug)]
enum Unit {
    Base,
    Milliseconds,
    Mebibytes,
}

impl Entry {
    const fn new(kind: MetricKind, metric: &'static str, name: &'static str, help: &'static str) -> Self {
        Self { metric, name, kind, unit: Unit::Base, label: None, help }
    }

    const fn of(self, label: &'static str, value: &'static str) -> Self {
        Self { label: Some((label, value)), ..self }
    }

    const fn counted_in(self, unit: Unit) -> Self {
        Self { unit, ..self }
    }

    /// The same in its base unit.
    pub(super) fn scale(&self, value: f64) -> f64 {
        match self.unit {
            Unit::Base => value,
            Unit::Milliseconds => value / 1e3,
            Unit::Mebibytes => value * 1_048_576.0,
        }
    }
}

const fn gauge(metric: &'static str, name: &'static str, help: &'static str) -> Entry {
    Entry::new(Gauge, metric, name, help)
}

const fn counter(metric: &'static str, name: &'static str, help: &'static str) -> Entry {
    Entry::new(Counter, metric, name, help)
}

const fn responses(metric: &'static str, code: &'static str) -> Entry {
    counter(metric, "http_responses_total", "HTTP responses, by the class of their status.").of("code", code)
}

const fn average(metric: &'static str, name: &'static str, help: &'static str) -> Entry {
    gauge(metric, name, help).counted_in(Unit::Milliseconds)
}

const fn cpu_usage(metric: &'static str, percentile: &'static str) -> Entry {
    let help = "How busy the processes are: this share of them, in percent, is at most as busy.";
    gauge(metric, "cpu_usage_percent", help).of("percentile", percentile)
}

const fn datapoints(metric: &'static str, part: &'static str) -> Entry {
    gauge(metric, "datapoints", "Datapoints that the snapshot gave.").of("part", part)
}

const fn reading(metric: &'static str, part: &'static str) -> Entry {
    gauge(metric, "reading_seconds", "How long reading the snapshot took.").of("part", part)
}

/// The time of the snapshot, in epoch seconds: no datapoint, but where files have no times it has to be one.
pub(super) const SNAPSHOT_TIME: &str = "SnapshotTime";

/// In the order in which they are written.
pub(super) const GROUPS: &[Group] = &[
    Group { subject: "daemon", prefix: "haproxy_process_", entries: PROCESS },
    // The sum over `haproxy_process_…` would count all of it twice.
    Group { subject: "daemon.process", prefix: "haproxy_worker_", entries: PROCESS },
    Group { subject: "frontend", prefix: "haproxy_frontend_", entries: SITE },
    Group { subject: "backend", prefix: "haproxy_backend_", entries: SITE },
    Group { subject: "backend.server", prefix: "haproxy_server_", entries: SITE },
    Group { subject: "server", prefix: "haproxy_server_all_backends_", entries: SITE },
    Group { subject: "haproxystats", prefix: "haproxystats_", entries: OWN },
];

/// `show info`.
const PROCESS: &[Entry] = &[
    counter("CompressBpsIn", "http_comp_bytes_in_total", "Bytes per second that go into HTTP compression."),
    counter("CompressBpsOut", "http_comp_bytes_out_total", "Bytes per second that HTTP compression emits."),
    gauge("CompressBpsRateLim", "limit_http_comp", "Bytes per second above which nothing is compressed."),
    gauge("ConnRate", "current_connection_rate", "Connections of the last second."),
    gauge("ConnRateLimit", "limit_connection_rate", "Most connections per second."),
    counter("CumConns", "connections_total", "Connections since the start."),
    counter("CumReq", "requests_total", "Requests since the start."),
    counter("CumSslConns", "ssl_connections_total", "TLS connections since the start, of both sides."),
    gauge("CurrConns", "current_connections", "Connections that are open."),
    gauge("CurrSslConns", "current_ssl_connections", "TLS connections that are open, of both sides."),
    gauge("Hard_maxconn", "hard_max_connections", "Most connections that memory and files allow."),
    gauge(
        "Idle_pct",
        "idle_time_percent",
        "Part of the last second without work, the mean of the processes.",
    ),
    gauge("MaxConnRate", "max_connection_rate", "Most connections that a second has had."),
    gauge("MaxSessRate", "max_session_rate", "Most sessions that a second has had."),
    gauge("MaxSslConns", "max_ssl_connections", "Most TLS connections; 0 is no limit."),
    gauge("MaxSslRate", "max_ssl_rate", "Most TLS connections that a second has had."),
    gauge("MaxZlibMemUsage", "max_zlib_memory", "Bytes of memory that HTTP compression may take."),
    gauge("Maxconn", "max_connections", "Most connections."),
    gauge("Maxpipes", "max_pipes", "Most pipes for splicing."),
    gauge("Maxsock", "max_sockets", "Most sockets."),
    gauge("Memmax_MB", "max_memory_bytes", "Most memory; 0 is no limit.").counted_in(Unit::Mebibytes),
    counter("PipesFree", "pipes_free_total", "Pipes that are open and unused."),
    counter("PipesUsed", "pipes_used_total", "Pipes in use."),
    gauge("Run_queue", "current_run_queue", "Tasks that want to run."),
    gauge("SessRate", "current_session_rate", "Sessions of the last second."),
    gauge("SessRateLimit", "limit_session_rate", "Most sessions per second."),
    gauge("SslBackendKeyRate", "current_backend_ssl_key_rate", "TLS keys of the last second, to servers."),
    gauge("SslBackendMaxKeyRate", "max_backend_ssl_key_rate", "Most TLS keys of a second, to servers."),
    counter("SslCacheLookups", "ssl_cache_lookups_total", "TLS sessions that were looked up in the cache."),
    counter("SslCacheMisses", "ssl_cache_misses_total", "TLS sessions that the cache did not have."),
    gauge("SslFrontendKeyRate", "current_frontend_ssl_key_rate", "TLS keys of the last second, to clients."),
    gauge("SslFrontendMaxKeyRate", "max_frontend_ssl_key_rate", "Most TLS keys of a second, to clients."),
    gauge("SslFrontendSessionReuse_pct", "frontend_ssl_reuse", "Percent of TLS sessions without a new key."),
    gauge("SslRate", "current_ssl_rate", "TLS connections of the last second."),
    gauge("SslRateLimit", "limit_ssl_rate", "Most TLS connections per second."),
    gauge("Tasks", "current_tasks", "Tasks, sleeping ones too."),
    gauge("Ulimit-n", "max_fds", "Most open files."),
    gauge("Uptime_sec", "uptime_seconds", "Time since the start, the mean of the processes."),
    gauge("ZlibMemUsage", "current_zlib_memory", "Bytes of memory that HTTP compression has."),
    // From here on, not HAProxy's.
    cpu_usage("25PercentileCpuUsagePct", "25"),
    cpu_usage("50PercentileCpuUsagePct", "50"),
    cpu_usage("75PercentileCpuUsagePct", "75"),
    cpu_usage("95PercentileCpuUsagePct", "95"),
    cpu_usage("99PercentileCpuUsagePct", "99"),
    gauge("CpuUsagePct", "cpu_usage_percent", "Part of the last second with work."),
    gauge("StdCpuUsagePct", "cpu_usage_percent_stddev", "Standard deviation of the processes' CPU usage."),
    gauge("ConnPercentage", "connections_used_percent", "Open connections as part of their limit."),
    gauge("ConnRatePercentage", "connection_rate_used_percent", "Connection rate as part of its limit."),
    gauge("SslConnPercentage", "ssl_connections_used_percent", "TLS connections as part of their limit."),
    gauge("SslRatePercentage", "ssl_rate_used_percent", "TLS connection rate as part of its limit."),
];

/// `show stat`.
const SITE: &[Entry] = &[
    gauge("TotalServers", "servers", "Servers, whatever their state."),
    gauge("act", "active_servers", "Servers that are up and no backup."),
    gauge("bck", "backup_servers", "Backup servers that are up."),
    counter("bin", "bytes_in_total", "Bytes of requests."),
    counter("bout", "bytes_out_total", "Bytes of responses."),
    counter("chkdown", "check_up_down_total", "Times that checks have taken it down."),
    counter("chkfail", "check_failures_total", "Health checks that failed."),
    counter("cli_abrt", "client_aborts_total", "Transfers that the client ended early."),
    counter("comp_byp", "http_comp_bytes_bypassed_total", "Bytes that could have been compressed."),
    counter("comp_in", "http_comp_bytes_in_total", "Bytes that went into HTTP compression."),
    counter("comp_out", "http_comp_bytes_out_total", "Bytes that HTTP compression emitted."),
    counter("comp_rsp", "http_comp_responses_total", "Responses that were compressed."),
    gauge("conn_rate", "connections_rate_current", "Connections of the last second."),
    gauge("conn_rate_max", "connections_rate_max", "Most connections that a second has had."),
    counter("conn_tot", "connections_total", "Connections."),
    average("ctime", "connect_time_average_seconds", "Time to connect, of the last 1024 requests."),
    counter("dcon", "denied_connections_total", "Connections that a rule has refused."),
    counter("downtime", "downtime_seconds_total", "Time in which it was down."),
    counter("dreq", "requests_denied_total", "Requests that a rule has refused."),
    counter("dresp", "responses_denied_total", "Responses that a rule has refused."),
    counter("dses", "denied_sessions_total", "Sessions that a rule has refused."),
    counter("econ", "connection_errors_total", "Connections to servers that failed."),
    counter("ereq", "request_errors_total", "Requests that were not understood."),
    counter("eresp", "response_errors_total", "Responses that were not understood or not taken."),
    responses("hrsp_1xx", "1xx"),
    responses("hrsp_2xx", "2xx"),
    responses("hrsp_3xx", "3xx"),
    responses("hrsp_4xx", "4xx"),
    responses("hrsp_5xx", "5xx"),
    responses("hrsp_other", "other"),
    counter("intercepted", "intercepted_requests_total", "Requests that HAProxy itself has answered."),
    counter("lbtot", "loadbalanced_total", "Requests that load balancing has sent here."),
    gauge("qcur", "current_queue", "Requests that wait."),
    gauge("qmax", "max_queue", "Most requests that have waited at once."),
    average("qtime", "queue_time_average_seconds", "Time of waiting, of the last 1024 requests."),
    gauge("rate", "current_session_rate", "Sessions of the last second."),
    gauge("rate_lim", "limit_session_rate", "Most sessions per second."),
    gauge("rate_max", "max_session_rate", "Most sessions that a second has had."),
    gauge("req_rate", "http_requests_rate_current", "HTTP requests of the last second."),
    gauge("req_rate_max", "http_requests_rate_max", "Most HTTP requests that a second has had."),
    counter("req_tot", "http_requests_total", "HTTP requests."),
    average("rtime", "response_time_average_seconds", "Time to respond, of the last 1024 requests."),
    gauge("scur", "current_sessions", "Sessions that are open."),
    gauge("slim", "limit_sessions", "Most sessions."),
    gauge("smax", "max_sessions", "Most sessions that were open at once."),
    counter("srv_abrt", "server_aborts_total", "Transfers that the server ended early."),
    counter("stot", "sessions_total", "Sessions."),
    gauge("throttle", "current_throttle", "Percent of its weight that a server has while it starts slowly."),
    average("ttime", "total_time_average_seconds", "Time of all, of the last 1024 requests."),
    gauge("weight", "weight", "Weight in load balancing."),
    counter("wredis", "redispatch_warnings_total", "Requests that went to another server."),
    counter("wretr", "retry_warnings_total", "Connections to servers that were tried again."),
];

/// The pipeline itself.
const OWN: &[Entry] = &[
    gauge(SNAPSHOT_TIME, "snapshot_time_seconds", "When all of this was so, in seconds since 1970."),
    datapoints("MetricsHAProxy", "haproxy"),
    datapoints("MetricsFrontend", "frontends"),
    datapoints("MetricsBackend", "backends"),
    datapoints("MetricsServer", "servers"),
    reading("WallClockTimeHAProxy", "haproxy"),
    reading("WallClockTimeFrontends", "frontends"),
    reading("WallClockTimeBackends", "backends"),
    reading("WallClockTimeServers", "servers"),
    reading("WallClockTimeAllStats", "all"),
    gauge("FailedSockets", "failed_sockets", "Sockets that are not in all of this, as they failed."),
];
