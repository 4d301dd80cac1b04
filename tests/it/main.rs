//! Tests of the real binary: over pipes against a scripted HAProxy, and between a real supervisord and a real
//! HAProxy. With `HAPROXY_VERSION` set (2.2, 2.6, 3.0 or 3.2), the real HAProxy runs in Docker.

mod command_line;
mod e2e;
mod faults;
mod protocol;
mod rooms;
mod support;
