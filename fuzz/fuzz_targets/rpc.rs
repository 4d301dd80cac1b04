//! Any reply of supervisord's XML-RPC is understood or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use supervisor_haproxy::supervisor::{done, is_whole, pid, processes};

fuzz_target!(|bytes: &[u8]| {
    let _ = is_whole(bytes);
    let _ = pid(bytes);
    let head = b"HTTP/1.0 200 OK\r\n\r\n<methodResponse><params><param><value>";
    let reply = [&head[..], bytes].concat();
    let _ = processes(&reply);
    let _ = done(&reply);
});
