//! What `serve` tells Prometheus of programs and their servers. The labels `proxy` and `server` are those of HAProxy's own
//! exporter, so that both can be joined.

use std::collections::BTreeMap;

use super::{Overview, Peer, ServerView};
use crate::haproxy::{AdminState, ServerRef};
use crate::sinks::{MetricKind, write_family, write_label, write_sample};

/// Appends what is wanted and seen of each server, whether the two agree, and the states of programs; nothing where
/// nothing is known of programs. Of the states that there could be, only the one that is has a series: with 10,000
/// servers, those of the others would be megabytes of zeros.
pub(super) fn write_overview(overview: &Overview, out: &mut Vec<u8>) {
    let Some(supervisord) = &overview.supervisord else { return };
    let servers = by_server(overview);
    let help = "The state that programs and holds want of a server: always 1.";
    write_states(out, "supervisor_haproxy_server_wanted", help, &servers, |view| view.wanted);
    let help = "The state that HAProxy was told of a server: always 1.";
    write_states(out, "supervisor_haproxy_server_seen", help, &servers, |view| view.admin);
    write_agreement(out, &servers);
    write_programs(out, overview);
    write_supervisord(out, supervisord);
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
        let mut labels = labels(server);
        write_label(&mut labels, "state", now.word());
        write_sample(out, name, [&*labels], 1);
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
    write_family(out, NAME, MetricKind::Gauge, "The state of a program of supervisord: always 1.");
    for (name, now) in &overview.programs {
        let mut labels = String::new();
        write_label(&mut labels, "group", &name.group);
        write_label(&mut labels, "program", &name.process);
        write_label(&mut labels, "state", now.word());
        write_sample(out, NAME, [&*labels], 1);
    }
}

fn write_supervisord(out: &mut Vec<u8>, supervisord: &Peer) {
    const NAME: &str = "supervisor_haproxy_supervisord_up";
    write_family(out, NAME, MetricKind::Gauge, "Whether supervisord answered when it was last asked.");
    write_sample(out, NAME, [], u8::from(supervisord.problem.is_none()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervisor::{ProcessName, ProcessState};

    fn view(server: &str, wanted: Option<AdminState>, agrees: Option<bool>) -> ServerView {
        ServerView { wanted, admin: wanted, agrees, ..ServerView::nameless(&server.parse().unwrap()) }
    }

    fn lines(overview: &Overview) -> Vec<String> {
        let mut out = Vec::new();
        write_overview(overview, &mut out);
        let text = String::from_utf8(out).unwrap();
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    }

    #[test]
    fn a_server_of_several_programs_agrees_when_all_of_them_do() {
        let name = ProcessName { group: "g".into(), process: "p\"".into() };
        let ready = Some(AdminState::Ready);
        let overview = Overview {
            supervisord: Some(Peer { address: "s".into(), problem: None }),
            servers: vec![
                view("a/x", ready, Some(true)),
                view("a/x", ready, Some(false)),
                view("a/x", ready, Some(true)),
                view("a/y", None, None),
            ],
            programs: [(name, ProcessState::Exited)].into(),
            ..Overview::default()
        };
        assert_eq!(
            lines(&overview),
            [
                "supervisor_haproxy_server_wanted{proxy=\"a\",server=\"x\",state=\"ready\"} 1",
                "supervisor_haproxy_server_seen{proxy=\"a\",server=\"x\",state=\"ready\"} 1",
                "supervisor_haproxy_server_agrees{proxy=\"a\",server=\"x\"} 0",
                "supervisor_haproxy_program_state{group=\"g\",program=\"p\\\"\",state=\"EXITED\"} 1",
                "supervisor_haproxy_supervisord_up 1",
            ]
        );
    }

    #[test]
    fn without_supervisord_there_is_nothing_to_tell() {
        let overview =
            Overview { servers: vec![view("a/x", Some(AdminState::Ready), None)], ..Overview::default() };
        assert_eq!(lines(&overview), [""; 0]);
    }
}
