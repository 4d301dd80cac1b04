//! The two peers, asked and told by blocking calls.

use std::io;
use std::time::Duration;

use super::Site;
use crate::agent::rollout::Failure;
use crate::haproxy::{Command, Look, ReplyError};
use crate::net::{Fault, Limits, Outcome, Peer, Question, Switchboard};
use crate::supervisor::{self, Call, Credentials, ProcessDetails, RpcError};

/// What all of them show at one moment; an error says in words why nothing.
#[derive(Debug)]
pub struct Looks {
    /// All processes of supervisord.
    pub processes: Result<Vec<ProcessDetails>, String>,
    /// Each HAProxy, in the order of the site.
    pub looks: Vec<Result<Look, String>>,
}

/// The largest reply that is taken: `show stat` and `show servers state` of 100,000 servers have 35 MB.
pub(super) const MAX_REPLY: usize = 64 * 1024 * 1024;

/// supervisord and every HAProxy.
#[derive(Debug)]
pub struct Peers {
    board: Switchboard,
    haproxies: Vec<(String, Peer)>,
    supervisord: (String, Peer),
    credentials: Option<Credentials>,
    timeout: Duration,
}

impl Peers {
    /// Nothing is sent yet.
    pub fn new(site: &Site) -> io::Result<Self> {
        let mut board = Switchboard::new()?;
        let haproxies = site.haproxies.iter();
        let haproxies = haproxies
            .map(|endpoint| (format!("haproxy {endpoint}"), board.connect(endpoint.clone())))
            .collect();
        let endpoint = &site.supervisord.endpoint;
        let supervisord = (format!("supervisord {endpoint}"), board.connect(endpoint.clone()));
        let credentials = site.supervisord.credentials.clone();
        Ok(Self { board, haproxies, supervisord, credentials, timeout: site.timeout })
    }

    /// How an HAProxy is called in messages.
    #[must_use]
    pub fn name(&self, haproxy: usize) -> &str {
        self.haproxies.get(haproxy).map_or("haproxy", |(name, _)| name)
    }

    /// How many HAProxy sockets there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.haproxies.len()
    }

    /// Looks at all of them at the same time.
    pub fn look(&mut self) -> io::Result<Looks> {
        let (_, supervisord) = self.supervisord;
        let mut questions = vec![(supervisord, Call::AllProcessInfo.question(self.credentials.as_ref()))];
        questions.extend(self.haproxies.iter().map(|(_, peer)| (*peer, self.command(&Command::Look))));
        let mut outcomes = self.board.ask_all(questions)?.into_iter();
        let processes = outcomes.next().map(|outcome| self.understand_processes(outcome));
        let looks = self.haproxies.iter().zip(outcomes).map(|((name, _), outcome)| look(name, outcome));
        let looks = looks.collect();
        Ok(Looks { processes: processes.unwrap_or_else(|| Err("not asked".into())), looks })
    }

    /// Looks at supervisord, and leaves every HAProxy alone.
    pub fn look_at_programs(&mut self) -> io::Result<Result<Vec<ProcessDetails>, String>> {
        let (_, supervisord) = self.supervisord;
        let outcome =
            self.board.ask(supervisord, Call::AllProcessInfo.question(self.credentials.as_ref()))?;
        Ok(self.understand_processes(outcome))
    }

    /// One command for one HAProxy, and what its reply is taken for.
    pub fn tell<T>(
        &mut self,
        haproxy: usize,
        command: &Command,
        read: impl FnOnce(&[u8]) -> Result<T, ReplyError>,
    ) -> io::Result<Result<T, Failure>> {
        let question = self.command(command);
        let Some((name, peer)) = self.haproxies.get(haproxy) else {
            return Ok(Err(Failure::Permanent(format!("there is no HAProxy number {haproxy}"))));
        };
        let outcome = self.board.ask(*peer, question)?;
        Ok(understand(name, command, outcome, read))
    }

    /// One call of supervisord, and what its reply is taken for.
    pub fn call_supervisord<T>(
        &mut self,
        call: &Call,
        read: impl FnOnce(&[u8]) -> Result<T, RpcError>,
    ) -> io::Result<Result<T, Failure>> {
        let question = call.question(self.credentials.as_ref());
        let (name, peer) = &self.supervisord;
        let outcome = self.board.ask(*peer, question)?;
        let what = format!("{name}: {call}");
        Ok(match outcome {
            Err(fault) => Err(Failure::Passing(format!("{what}: {}", in_words(&fault)))),
            Ok(reply) => read(&reply).map_err(|error| rpc_failure(&what, &error)),
        })
    }

    /// Lets time pass; a signal ends it early.
    pub fn pause(&mut self, length: Duration) -> io::Result<()> {
        self.board.pause(length)
    }

    fn understand_processes(&self, outcome: Outcome) -> Result<Vec<ProcessDetails>, String> {
        let (name, _) = &self.supervisord;
        let reply = outcome.map_err(|fault| format!("{name}: {}", in_words(&fault)))?;
        supervisor::details(&reply).map_err(|error| format!("{name}: {}", with_advice(&error)))
    }

    fn command(&self, command: &Command) -> Question {
        let limits = Limits { time: self.timeout, bytes: MAX_REPLY };
        Question { request: command.line().into_bytes(), limits, ..Question::default() }
    }
}

/// Why there is no reply, and what the operator can do about it.
pub(super) fn in_words(fault: &Fault) -> String {
    match fault {
        Fault::Connect(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            format!("{fault}; run this as root, or as a user that may write to the socket")
        }
        _ => fault.to_string(),
    }
}

fn look(name: &str, outcome: Outcome) -> Result<Look, String> {
    let reply = outcome.map_err(|fault| format!("{name}: {}", in_words(&fault)))?;
    let look = Look::parse(&reply).map_err(|error| format!("{name}: {}: {error}", Command::Look))?;
    // What it says is true of connections that are about to end, and of no others.
    if look.info.stopping {
        Err(format!("{name}: the process that answers is being replaced"))
    } else {
        Ok(look)
    }
}

fn understand<T>(
    name: &str,
    command: &Command,
    outcome: Outcome,
    read: impl FnOnce(&[u8]) -> Result<T, ReplyError>,
) -> Result<T, Failure> {
    let reply =
        outcome.map_err(|fault| Failure::Passing(format!("{name}: {command}: {}", in_words(&fault))))?;
    read(&reply).map_err(|error| {
        let what = format!("{name}: {command}: {error}");
        match error {
            ReplyError::Refused(refusal) if refusal.is_permanent() => Failure::Permanent(what),
            _ => Failure::Passing(what),
        }
    })
}

// Faults of supervisord (supervisor/xmlrpc.py, `Faults`).

/// The process was started and was gone within the call. supervisord goes on with its `startretries`, and what
/// becomes of it shows in its state.
const SPAWN_ERROR: i64 = 50;
/// Faults that no further try will change: `BAD_NAME`, `NO_FILE`, `NOT_EXECUTABLE`, `FAILED`,
/// `ABNORMAL_TERMINATION`.
const PERMANENT: [i64; 5] = [10, 20, 21, 30, 40];

/// Reads the reply to a start or a stop: what is so already is no failure, and what the state will tell is none
/// yet.
pub(super) fn accepted(reply: &[u8]) -> Result<(), RpcError> {
    match supervisor::done(reply) {
        Err(error) if error.is_no_change() => Ok(()),
        Err(RpcError::Fault { code: SPAWN_ERROR, .. }) => Ok(()),
        result => result,
    }
}

fn rpc_failure(what: &str, error: &RpcError) -> Failure {
    let text = format!("{what}: {}", with_advice(error));
    match error {
        RpcError::Unauthorized => Failure::Permanent(text),
        RpcError::Fault { code, .. } if PERMANENT.contains(code) => Failure::Permanent(text),
        // A process that changes its state in the middle of a call gives HTTP status 500: what is so now shows
        // at the next look.
        RpcError::Fault { .. } | RpcError::ShuttingDown | RpcError::Malformed(_) => Failure::Passing(text),
    }
}

fn with_advice(error: &RpcError) -> String {
    match error {
        RpcError::Unauthorized => format!(
            "{error}; give `username` and `password` in [supervisorctl], or --supervisor-url \
             http://USER:PASSWORD@HOST:PORT"
        ),
        RpcError::ShuttingDown => format!("{error} or restarting"),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(code: i64) -> Vec<u8> {
        let body = format!(
            "<methodResponse><fault><value><struct><member><name>faultCode</name><value><int>{code}</int></value>\
             </member><member><name>faultString</name><value><string>WHY: web</string></value></member></struct>\
             </value></fault></methodResponse>"
        );
        format!("HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
    }

    fn failure(reply: &[u8]) -> Failure {
        rpc_failure("supervisord x: call", &accepted(reply).unwrap_err())
    }

    #[test]
    fn what_is_so_already_is_no_failure() {
        assert_eq!((accepted(&fault(60)), accepted(&fault(70))), (Ok(()), Ok(())));
        assert_eq!(accepted(&fault(SPAWN_ERROR)), Ok(()), "it may come up at the next try");
    }

    #[test]
    fn faults_that_pass_are_told_from_those_that_do_not() {
        for code in PERMANENT {
            let expected = format!("supervisord x: call: fault {code}: WHY: web");
            assert_eq!(failure(&fault(code)), Failure::Permanent(expected));
        }
        assert_eq!(
            failure(&fault(6)),
            Failure::Passing("supervisord x: call: supervisord is shutting down or restarting".into())
        );
        assert!(matches!(failure(&fault(99)), Failure::Passing(_)), "unknown ones may pass");
        // supervisord's answer when a process changes its state in the middle of a call.
        let race = b"HTTP/1.0 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(failure(race), Failure::Passing("supervisord x: call: HTTP status 500".into()));
        let closed = b"HTTP/1.0 401 Unauthorized\r\nContent-Length: 0\r\n\r\n";
        assert!(
            matches!(failure(closed), Failure::Permanent(text) if text.contains("`username` and `password`"))
        );
    }

    #[test]
    fn an_haproxy_on_its_way_out_is_not_believed() {
        let reply = |stopping: u8| {
            format!(
                "Pid: 7\nStopping: {stopping}\n\n1\n# be_id be_name srv_name srv_admin_state srv_check_state\n\n\
                 # pxname,svname,qcur,scur,status,lastchg,type,check_status,last_chk,\n\n"
            )
        };
        assert!(look("haproxy x", Ok(reply(0).into_bytes())).is_ok());
        assert_eq!(
            look("haproxy x", Ok(reply(1).into_bytes())).unwrap_err(),
            "haproxy x: the process that answers is being replaced"
        );
    }

    #[test]
    fn a_refusal_is_for_good_where_only_haproxys_configuration_can_help() {
        let command = Command::Level;
        let read = |reply: &[u8]| crate::haproxy::accepted(reply);
        let tell = |reply: &[u8]| understand("haproxy x", &command, Ok(reply.to_vec()), read).unwrap_err();
        assert!(matches!(tell(b"No such server.\n\n"), Failure::Permanent(_)));
        assert!(matches!(tell(b"Permission denied\n\n"), Failure::Permanent(_)));
        assert!(matches!(tell(b"Proxy is disabled.\n\n"), Failure::Passing(_)));
        assert!(matches!(tell(b""), Failure::Passing(_)));
    }

    #[test]
    fn a_socket_that_is_not_for_this_user_says_who_may() {
        let connect = |kind: io::ErrorKind| in_words(&Fault::Connect(kind.into()));
        assert_eq!(
            connect(io::ErrorKind::PermissionDenied),
            "cannot connect: permission denied; run this as root, or as a user that may write to the socket"
        );
        assert_eq!(connect(io::ErrorKind::ConnectionRefused), "cannot connect: connection refused");
    }
}
