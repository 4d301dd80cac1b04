//! What `serve` tells Prometheus of programs and their servers. The labels `proxy` and `server` are those of HAProxy's own
//! exporter, so that both can be joined.

use std::collections::BTreeMap;

use super::{Overview, ServerView};
use crate::haproxy::{AdminState, ServerRef};
use crate::sinks::{MetricKind, write_family, write_label, write_sample};
use crate::supervisor::ProcessState;

const STATES: [AdminState; 3] = [AdminState::Ready, AdminState::Drain, AdminState::Maint];

/// Appends what is wanted and seen of each server, whether the two agree, and the states of programs.
pub(super) fn write_overview(overview: &Overview, out: &mut Vec<u8>) {
    let servers = by_server(overview);
    let help = "What programs and holds want of a server: 1 for the state that it is to have.";
    write_states(out, "supervisor_haproxy_server_wanted", help, &servers, |view| view.wanted);
    let help = "What HAProxy was told of a server: 1 for the state that it has.";
    write_states(out, "supervisor_haproxy_server_seen", help, &servers, |view| view.admin);
    write_agreement(out, &servers);
    write_programs(out, overview);
    write_supervisord(out, overview);
}

/// Each server once: several programs may stand behind one, and then the worst counts.
fn by_server(overview: &Overview) -> BTreeMap<&ServerRef, &ServerView> {
    let mut servers: BTreeMap<&ServerRef, &ServerView> = BTreeMap::new();
    for view in &overview.servers {
        let known = servers.entry(&view.server).or_insert(view);
        if view.agrees == Some(false) {
            *known = view;
        }
    }
    servers
}

fn labels(server: &ServerRef) -> String {
    let mut labels = String::new();
    write_label(&mut labels, "proxy", server.backend());
    write_label(&mut labels, "server", server.server());
    labels
}

fn write_states(
    out: &mut Vec<u8>,
    name: &str,
    help: &str,
    servers: &BTreeMap<&ServerRef, &ServerView>,
    state: impl Fn(&ServerView) -> Option<AdminState>,
) {
    let known = servers.iter().filter_map(|(server, view)| Some((server, state(view)?)));
    let mut known = known.peekable();
    if known.peek().is_none() {
        return;
    }
    write_family(out, name, MetricKind::Gauge, help);
    for (server, now) in known {
        let labels = labels(server);
        for state in STATES {
            let mut label = String::new();
            write_label(&mut label, "state", state.word());
            write_sample(out, name, [&*labels, &label], u8::from(state == now));
        }
    }
}

fn write_agreement(out: &mut Vec<u8>, servers: &BTreeMap<&ServerRef, &ServerView>) {
    const NAME: &str = "supervisor_haproxy_server_agrees";
    let known = servers.iter().filter_map(|(server, view)| Some((server, view.agrees?)));
    let mut known = known.peekable();
    if known.peek().is_none() {
        return;
    }
    write_family(out, NAME, MetricKind::Gauge, "Whether a server is as its programs and holds want it.");
    for (server, agrees) in known {
        write_sample(out, NAME, [&*labels(server)], u8::from(agrees));
    }
}

fn write_programs(out: &mut Vec<u8>, overview: &Overview) {
    const NAME: &str = "supervisor_haproxy_program_state";
    if overview.programs.is_empty() {
        return;
    }
    write_family(out, NAME, MetricKind::Gauge, "supervisord's programs: 1 for the state that each has.");
    for (name, now) in &overview.programs {
        let mut labels = String::new();
        write_label(&mut labels, "group", &name.group);
        write_label(&mut labels, "program", &name.process);
        for state in ProcessState::ALL {
            let mut label = String::new();
            write_label(&mut label, "state", state.word());
            write_sample(out, NAME, [&*labels, &label], u8::from(state == *now));
        }
    }
}

fn write_supervisord(out: &mut Vec<u8>, overview: &Overview) {
    const NAME: &str = "supervisor_haproxy_supervisord_up";
    if let Some(peer) = &overview.supervisord {
        write_family(out, NAME, MetricKind::Gauge, "Whether supervisord answered when it was last asked.");
        write_sample(out, NAME, [], u8::from(peer.problem.is_none()));
    }
}
