//! Which metrics there are, and how the values of several processes become one. The names are those of HAProxy's
//! columns and keys.

/// The metrics of frontends, backends or servers.
#[derive(Clone, Copy, Debug)]
pub struct Metrics {
    /// Added up over all rows. These are the ones that [`super::Scope`] chooses from.
    pub sums: &'static [&'static str],
    /// The mean over all rows.
    pub means: &'static [&'static str],
    /// The mean over the rows with `lbtot` above 0: the others have had nothing to measure. Without any such row
    /// there is no datapoint.
    pub busy_means: &'static [&'static str],
}

impl Metrics {
    /// All names: sums, means, and means over busy rows.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.sums.iter().chain(self.means).chain(self.busy_means).copied()
    }

    /// How many there are.
    pub(super) const fn count(&self) -> usize {
        self.sums.len() + self.means.len() + self.busy_means.len()
    }
}

/// Of frontends.
pub const FRONTEND: Metrics = Metrics {
    sums: &[
        "bin",
        "bout",
        "comp_byp",
        "comp_in",
        "comp_out",
        "comp_rsp",
        "conn_rate",
        "conn_rate_max",
        "conn_tot",
        "dcon",
        "dreq",
        "dresp",
        "dses",
        "ereq",
        "hrsp_1xx",
        "hrsp_2xx",
        "hrsp_3xx",
        "hrsp_4xx",
        "hrsp_5xx",
        "hrsp_other",
        "intercepted",
        "rate",
        "rate_lim",
        "rate_max",
        "req_rate",
        "req_rate_max",
        "req_tot",
        "scur",
        "slim",
        "smax",
        "stot",
    ],
    means: &[],
    busy_means: &[],
};

/// Of backends.
pub const BACKEND: Metrics = Metrics {
    sums: &[
        "bin",
        "bout",
        "chkdown",
        "cli_abrt",
        "comp_byp",
        "comp_in",
        "comp_out",
        "comp_rsp",
        "downtime",
        "dreq",
        "dresp",
        "econ",
        "eresp",
        "hrsp_1xx",
        "hrsp_2xx",
        "hrsp_3xx",
        "hrsp_4xx",
        "hrsp_5xx",
        "hrsp_other",
        "intercepted",
        "lbtot",
        "qcur",
        "qmax",
        "rate",
        "rate_max",
        "req_tot",
        "scur",
        "slim",
        "smax",
        "srv_abrt",
        "stot",
        "wredis",
        "wretr",
    ],
    means: &["act", "bck", "weight"],
    busy_means: &["ctime", "qtime", "rtime", "ttime"],
};

/// Of servers, in their backend and across all backends.
pub const SERVER: Metrics = Metrics {
    sums: &[
        "bin",
        "bout",
        "chkdown",
        "chkfail",
        "cli_abrt",
        "dresp",
        "econ",
        "eresp",
        "hrsp_1xx",
        "hrsp_2xx",
        "hrsp_3xx",
        "hrsp_4xx",
        "hrsp_5xx",
        "hrsp_other",
        "lbtot",
        "qcur",
        "qmax",
        "rate",
        "rate_max",
        "scur",
        "slim",
        "smax",
        "srv_abrt",
        "stot",
        "wredis",
        "wretr",
    ],
    means: &["throttle", "weight"],
    busy_means: &["ctime", "qtime", "rtime", "ttime"],
};

/// Of the processes: added up, or the mean where it makes no sense to add them.
pub const DAEMON: &[&str] = &[
    "CompressBpsIn",
    "CompressBpsOut",
    "CompressBpsRateLim",
    "ConnRate",
    "ConnRateLimit",
    "CumConns",
    "CumReq",
    "CumSslConns",
    "CurrConns",
    "CurrSslConns",
    "Hard_maxconn",
    "Idle_pct",
    "MaxConnRate",
    "MaxSessRate",
    "MaxSslConns",
    "MaxSslRate",
    "MaxZlibMemUsage",
    "Maxconn",
    "Maxpipes",
    "Maxsock",
    "Memmax_MB",
    "PipesFree",
    "PipesUsed",
    "Run_queue",
    "SessRate",
    "SessRateLimit",
    "SslBackendKeyRate",
    "SslBackendMaxKeyRate",
    "SslCacheLookups",
    "SslCacheMisses",
    "SslFrontendKeyRate",
    "SslFrontendMaxKeyRate",
    "SslFrontendSessionReuse_pct",
    "SslRate",
    "SslRateLimit",
    "Tasks",
    "Ulimit-n",
    "Uptime_sec",
    "ZlibMemUsage",
];

/// Whether the mean over the processes is told, not the sum.
pub(super) fn is_mean_of_daemon(metric: &str) -> bool {
    matches!(metric, "Idle_pct" | "Uptime_sec")
}

/// What is told as a share of its limit.
pub(super) struct Percentage {
    pub(super) metric: &'static str,
    pub(super) of: &'static str,
    pub(super) limit: &'static str,
}

/// All shares.
pub(super) const PERCENTAGES: [Percentage; 4] = [
    Percentage { metric: "ConnPercentage", of: "CurrConns", limit: "Maxconn" },
    Percentage { metric: "ConnRatePercentage", of: "ConnRate", limit: "ConnRateLimit" },
    Percentage { metric: "SslConnPercentage", of: "CurrSslConns", limit: "MaxSslConns" },
    Percentage { metric: "SslRatePercentage", of: "SslRate", limit: "SslRateLimit" },
];
