//! Any reply of HAProxy is understood or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use supervisor_haproxy::haproxy::{Look, ServerRef, ServerState, Survey, accepted, level};
use supervisor_haproxy::stats::{Report, points};

const INFO: &[u8] = b"Pid: 1\n\n";
const STATE: &[u8] =
    b"1\n# be_id be_name srv_id srv_name srv_addr srv_admin_state srv_check_state srv_port\n";
const STAT: &[u8] = b"# pxname,svname,qcur,scur,status,lastchg,type,check_status,last_chk,\n";

fuzz_target!(|bytes: &[u8]| {
    let _ = accepted(bytes);
    let _ = level(bytes);
    let _ = ServerState::parse(bytes);
    let _ = Survey::parse(bytes);
    let _ = Look::parse(bytes);
    if let Ok(survey) = Survey::parse(&[INFO, STAT, bytes, b"\n\n"].concat()) {
        survey.rows.iter().for_each(|row| is_harmless(&row.server));
    }
    let text = String::from_utf8_lossy(bytes);
    let _ = Report::read(&text, 0.0);
    let _ = points("a.b", &text, &text, true);
    // One half stands for the states, the other for the rows.
    let (states, rows) = bytes.split_at(bytes.len() / 2);
    if let Ok(look) = Look::parse(&[INFO, STATE, states, b"\n", STAT, rows, b"\n\n"].concat()) {
        look.servers.keys().for_each(is_harmless);
    }
});

fn is_harmless(server: &ServerRef) {
    assert!(!server.to_string().contains([';', '\n', ' ', '\\']));
}
