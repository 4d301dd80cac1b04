//! Tests of the real binary: over pipes against a scripted HAProxy, and between a real supervisord and a real
//! HAProxy. With `HAPROXY_VERSION` set (2.2, 2.6, 3.0 or 3.2), the real HAProxy runs in Docker.

// A test fails by panicking, and says so on stderr.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used
)]

mod command_line;
#[cfg(feature = "web")]
mod containers;
#[cfg(feature = "web")]
mod dashboard;
mod delivery;
mod e2e;
mod e2e_commands;
mod e2e_config;
mod e2e_files;
#[cfg(feature = "web")]
mod e2e_history;
#[cfg(feature = "web")]
mod e2e_overview;
mod e2e_pipeline;
mod e2e_push;
mod e2e_rollouts;
#[cfg(feature = "web")]
mod e2e_routes;
#[cfg(feature = "web")]
mod e2e_serve;
mod faults;
#[cfg(feature = "web")]
mod grafana;
#[cfg(feature = "web")]
mod history;
#[cfg(feature = "web")]
mod hostile_http;
mod housekeeping;
#[cfg(feature = "web")]
mod http_page;
#[cfg(feature = "kafka")]
mod kafka;
#[cfg(feature = "kafka")]
mod kafka_commands;
mod manual;
mod nagios;
#[cfg(not(feature = "kafka"))]
mod no_kafka;
#[cfg(not(feature = "web"))]
mod no_web;
#[cfg(feature = "web")]
mod openapi;
mod orders;
mod packages;
mod peers;
mod pipeline_faults;
mod protocol;
mod recipes;
mod rooms;
#[cfg(feature = "web")]
mod self_healing;
mod sinks;
mod statistics;
mod support;
#[cfg(feature = "web")]
mod telex;
