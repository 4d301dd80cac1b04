//! Any PROGRAM and SOCKET argument, order and list of holds is taken or refused, and none smuggles a command into
//! HAProxy or a line into the log.
#![no_main]

use libfuzzer_sys::fuzz_target;
use supervisor_haproxy::agent::{Holds, Order, Override, Rule};
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
    match Order::parse(&argument) {
        Ok(order) => {
            assert!(!order.by().contains(char::is_control));
            assert_eq!(Order::parse(&order.to_json()), Ok(order));
        }
        Err(error) => assert!(!error.to_string().contains(char::is_control)),
    }
    if let Ok(holds) = Holds::parse(&argument) {
        assert_eq!(Holds::parse(&holds.to_json()), Ok(holds));
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
