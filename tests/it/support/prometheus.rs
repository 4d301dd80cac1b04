//! A real Prometheus that scrapes `serve`.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::serve::send_to_port;
use super::{eventually, free_port};

/// A Prometheus of the test's own.
pub(crate) struct Prometheus {
    child: Child,
    port: u16,
}

impl Prometheus {
    /// Scrapes a port of this machine each second, and keeps what it has in this directory.
    pub(crate) fn start(directory: &Path, target: u16) -> Self {
        let port = free_port();
        let configuration = format!(
            "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: serve\n  static_configs:\n  \
             - targets: ['127.0.0.1:{target}']\n"
        );
        fs::write(directory.join("prometheus.yml"), configuration).unwrap();
        let child = Command::new("prometheus")
            .current_dir(directory)
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data", "--log.level=error"])
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdin(Stdio::null())
            .spawn()
            .expect("prometheus is in Debian's package of that name, and run-tests installs it");
        Self { child, port }
    }

    /// What it answers to a path below `/api/v1/`; none while it does not.
    pub(crate) fn get(&self, path: &str) -> Option<Value> {
        // A client of HTTP/1.0 gets no chunks.
        let answer = send_to_port(self.port, format!("GET /api/v1/{path} HTTP/1.0\r\n\r\n").as_bytes())?;
        serde_json::from_str(&answer.body).ok()
    }

    /// The values that a query finds now.
    #[track_caller]
    pub(crate) fn query(&self, query: &str) -> Vec<String> {
        let escaped: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let answer = eventually("an answer of prometheus", || self.get(&format!("query?query={escaped}")));
        assert_eq!(answer["status"], "success", "{query}\n{answer}");
        let found = answer["data"]["result"].as_array().unwrap();
        found.iter().map(|one| one["value"][1].as_str().unwrap().to_owned()).collect()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
