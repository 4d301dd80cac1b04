//! The document of programs beside their servers. What is not known is null, and nothing is made up.

use std::collections::BTreeMap;
use std::time::Instant;

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::App;
use super::documents::{CircuitState, Connections, MAX_PROBLEMS, Status, Time};
use crate::agent::Hold;
use crate::haproxy::AdminState;
use crate::health::Health;
use crate::overview::{Desk, Job, JobState, Overview, Peer, ServerView};
use crate::supervisor::ProcessDetails;

/// Programs beside their servers, HAProxy, supervisord, and what was asked for.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Overview)]
pub(super) struct OverviewDocument {
    timestamp: Time,
    host: String,
    program_version: &'static str,
    haproxy: HaproxyView,
    /// Null where `serve` knows no supervisord.
    #[schema(required)]
    supervisord: Option<SupervisordView>,
    servers: Vec<ServerDocument>,
    /// What keeps this from being the whole truth; the first hundred.
    problems: Vec<String>,
    actions: Actions,
    /// The last fifty, the newest first.
    jobs: Vec<JobDocument>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct HaproxyView {
    address: String,
    status: Status,
    /// What is not well.
    #[schema(required)]
    message: Option<String>,
    circuit_state: CircuitState,
    #[schema(required)]
    circuit_since: Option<Time>,
    /// In how many seconds HAProxy is asked again, where it is left alone.
    #[schema(required)]
    retry_after: Option<u64>,
    #[schema(required)]
    version: Option<String>,
    /// In seconds.
    #[schema(required)]
    uptime: Option<u64>,
    #[schema(required)]
    last_check: Option<Time>,
    connections: Connections,
}

#[derive(Serialize, ToSchema)]
pub(super) struct SupervisordView {
    address: String,
    /// Why it does not answer.
    #[schema(required)]
    problem: Option<String>,
}

/// A server, and the program that it stands for.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServerDocument {
    /// As supervisorctl writes it.
    #[schema(required)]
    program: Option<String>,
    /// In supervisord's words.
    #[schema(required)]
    program_state: Option<&'static str>,
    #[schema(required)]
    pid: Option<u32>,
    /// In seconds.
    #[schema(required)]
    program_uptime: Option<u64>,
    backend: String,
    server: String,
    /// What holds and programs ask for.
    #[schema(required)]
    wanted: Option<StateWord>,
    /// What HAProxy was asked for.
    #[schema(required)]
    admin: Option<StateWord>,
    /// In HAProxy's words.
    #[schema(required)]
    status: Option<String>,
    /// The result of the last health check; empty without.
    #[schema(required)]
    check: Option<String>,
    #[schema(required)]
    sessions: Option<u64>,
    #[schema(required)]
    queue: Option<u64>,
    /// Seconds since the last change between UP and DOWN.
    #[schema(required)]
    since: Option<u64>,
    #[schema(required)]
    hold: Option<HoldDocument>,
    #[schema(required)]
    agrees: Option<bool>,
    /// Why it does not agree, and what to do about it.
    #[schema(required)]
    remark: Option<String>,
}

/// A state that a server can be set to.
#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum StateWord {
    Ready,
    Drain,
    Maint,
}

impl From<AdminState> for StateWord {
    fn from(state: AdminState) -> Self {
        match state {
            AdminState::Ready => Self::Ready,
            AdminState::Drain => Self::Drain,
            AdminState::Maint => Self::Maint,
        }
    }
}

#[derive(Serialize, ToSchema)]
pub(super) struct HoldDocument {
    by: String,
    reason: String,
    #[schema(required)]
    since: Option<Time>,
}

/// Whether servers and programs can be changed here.
#[derive(Serialize, ToSchema)]
pub(super) struct Actions {
    allowed: bool,
    /// Why not.
    #[schema(required)]
    why: Option<&'static str>,
}

/// What somebody asked for.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Job)]
pub(super) struct JobDocument {
    id: u64,
    /// `ready`, `drain`, `maint` or `restart`.
    action: &'static str,
    /// `backend/server`, or a program.
    subject: String,
    state: JobWord,
    started_at: Time,
    #[schema(required)]
    ended_at: Option<Time>,
    /// The last of what the command says, twenty at most.
    lines: Vec<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum JobWord {
    Running,
    Succeeded,
    Failed,
}

/// An answer about one of them.
#[derive(Serialize, ToSchema)]
pub(super) struct JobAnswer {
    job: JobDocument,
}

/// How many sessions each server had at the last checks that HAProxy answered.
#[derive(Serialize, ToSchema)]
#[schema(as = SessionCounts)]
pub(super) struct SessionsDocument {
    /// From one check to the next, in seconds.
    interval: f64,
    /// By `backend/server`: sixty at most, the oldest first.
    servers: BTreeMap<String, Vec<u64>>,
}

/// Why nothing can be done here; none where it can.
pub(super) fn why_no_actions(app: &App) -> Option<&'static str> {
    if app.keys.token.is_none() {
        return Some("serve has no token: start it with --token-file FILE");
    }
    app.overview.desk().is_none().then_some(
        "serve knows no programs: start it with --supervisor-conf FILE, or with --map and --supervisor-url",
    )
}

impl OverviewDocument {
    pub(super) fn of(app: &App) -> Self {
        let (health, overview, now) = (app.watch.latest(), app.overview.latest(), Timestamp::now());
        let jobs = app.overview.desk().map(Desk::jobs).unwrap_or_default();
        let why = why_no_actions(app);
        let Overview { supervisord, servers, problems, .. } = &*overview;
        Self {
            timestamp: now.into(),
            host: app.host.clone(),
            program_version: env!("CARGO_PKG_VERSION"),
            haproxy: HaproxyView::of(app.haproxy.clone(), &health, Instant::now()),
            supervisord: supervisord.as_ref().map(SupervisordView::of),
            servers: servers.iter().map(ServerDocument::of).collect(),
            problems: problems.iter().take(MAX_PROBLEMS).cloned().collect(),
            actions: Actions { allowed: why.is_none(), why },
            jobs: jobs.into_iter().map(JobDocument::from).collect(),
        }
    }
}

impl HaproxyView {
    fn of(address: String, health: &Health, now: Instant) -> Self {
        let reading = health.reading.as_deref();
        let circuit = &health.circuit;
        Self {
            address,
            status: health.judgement.status.into(),
            message: health.judgement.problems.first().cloned(),
            circuit_state: circuit.circuit.into(),
            circuit_since: circuit.changed.map(Time::from),
            retry_after: circuit.retry_at.map(|at| at.saturating_duration_since(now).as_secs()),
            version: reading.and_then(|reading| reading.info.version.clone()),
            uptime: reading.and_then(|reading| reading.info.uptime),
            last_check: health.check.as_ref().map(|check| check.at.into()),
            connections: Connections::of(reading),
        }
    }
}

impl SupervisordView {
    fn of(peer: &Peer) -> Self {
        Self { address: peer.address.clone(), problem: peer.problem.clone() }
    }
}

impl ServerDocument {
    fn of(view: &ServerView) -> Self {
        let ServerView { server, program, process, row, .. } = view;
        let (row, process) = (row.as_ref(), process.as_ref());
        Self {
            program: program.as_ref().map(ToString::to_string),
            program_state: process.map(|process| process.info.state.word()),
            pid: process.and_then(|process| process.info.pid).map(u32::from),
            program_uptime: process.and_then(ProcessDetails::uptime).map(|time| time.as_secs()),
            backend: server.backend().to_owned(),
            server: server.server().to_owned(),
            wanted: view.wanted.map(StateWord::from),
            admin: view.admin.map(StateWord::from),
            status: row.map(|row| row.status.to_string()),
            check: row.map(|row| row.check_status.to_string()),
            sessions: row.map(|row| row.sessions),
            queue: row.map(|row| row.queue),
            since: row.and_then(|row| row.last_change),
            hold: view.hold.as_ref().map(HoldDocument::of),
            agrees: view.agrees,
            remark: view.remark.clone(),
        }
    }
}

impl HoldDocument {
    fn of(hold: &Hold) -> Self {
        let since = i64::try_from(hold.since).ok().and_then(|since| Timestamp::from_second(since).ok());
        Self { by: hold.by.clone(), reason: hold.reason.clone(), since: since.map(Time::from) }
    }
}

impl From<Job> for JobDocument {
    fn from(job: Job) -> Self {
        Self {
            id: job.id,
            action: job.action.word(),
            subject: job.subject.to_string(),
            state: match job.state {
                JobState::Running => JobWord::Running,
                JobState::Succeeded => JobWord::Succeeded,
                JobState::Failed => JobWord::Failed,
            },
            started_at: job.started_at.into(),
            ended_at: job.ended_at.map(Time::from),
            lines: job.lines,
        }
    }
}

impl From<Job> for JobAnswer {
    fn from(job: Job) -> Self {
        Self { job: job.into() }
    }
}

impl SessionsDocument {
    pub(super) fn of(app: &App) -> Self {
        let overview = app.overview.latest();
        let servers = overview.sessions.servers();
        let servers = servers.map(|(server, counts)| (server.to_string(), counts.iter().copied().collect()));
        Self { interval: app.overview.interval().as_secs_f64(), servers: servers.collect() }
    }
}
