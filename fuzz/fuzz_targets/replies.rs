//! Any reply of HAProxy is understood or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use supervisor_haproxy::haproxy::{ServerState, Survey, accepted};

fuzz_target!(|bytes: &[u8]| {
    let _ = accepted(bytes);
    let _ = ServerState::parse(bytes);
    let _ = Survey::parse(bytes);
    let header = b"Pid: 1\n\n# pxname,svname,qcur,scur,status,lastchg,type,check_status,last_chk,\n";
    if let Ok(survey) = Survey::parse(&[&header[..], bytes, b"\n\n"].concat()) {
        for row in survey.rows {
            assert!(!row.server.backend().contains([';', '\n', ' ', '\\']));
        }
    }
});
