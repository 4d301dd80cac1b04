//! Any PROGRAM and SOCKET argument is taken or refused, and none smuggles a command into HAProxy.
#![no_main]

use libfuzzer_sys::fuzz_target;
use supervisor_haproxy::agent::{Override, Rule};
use supervisor_haproxy::haproxy::{AdminState, Command};
use supervisor_haproxy::net::Endpoint;
use supervisor_haproxy::supervisor::{ProcessName, ServerUrl};

fuzz_target!(|words: (String, String)| {
    let (argument, process) = words;
    let _ = argument.parse::<Override>();
    let _ = argument.parse::<ServerUrl>();
    if let Ok(endpoint) = argument.parse::<Endpoint>() {
        assert_eq!(endpoint.to_string().parse(), Ok(endpoint));
    }
    let name = ProcessName { group: process.clone(), process };
    if let Ok(rule) = argument.parse::<Rule>()
        && let Some(Ok(server)) = rule.server(&name)
    {
        let line = Command::SetState { server, state: AdminState::Maint, gate: false }.line();
        assert_eq!(line.matches(['\n', ';', '\\', '\0']).count(), 1, "only its own end: {line:?}");
        assert_eq!(line.split(' ').count(), 5);
    }
});
