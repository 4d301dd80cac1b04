//! What keeps HAProxy from following supervisord, or will one day: the doctor's judgement.

use super::{Accord, Mapping, Roster, Standing};
use crate::supervisor::{EventListener, ProcessInfo, ProcessName, ProcessState};

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How it is.
    pub level: Level,
    /// What was looked at.
    pub subject: String,
    /// What was found, and what to do about it.
    pub text: String,
}

/// How a thing is, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Ok,
    /// It works, but not always or not as well as it could.
    Warn,
    /// It does not work.
    Fail,
}

impl Level {
    /// As it is printed.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

impl Finding {
    /// A finding of any level.
    pub fn new(level: Level, subject: impl Into<String>, text: impl Into<String>) -> Self {
        Self { level, subject: subject.into(), text: text.into() }
    }
}

/// Events that the listener needs, and what it lacks without them.
const EVENTS: [(&str, Level, &str); 4] = [
    ("PROCESS_STATE", Level::Fail, "it never hears that a program starts or stops"),
    ("PROCESS_GROUP", Level::Warn, "it learns of added and removed programs a minute late"),
    ("SUPERVISOR_STATE_CHANGE", Level::Warn, "it learns of a shutdown late"),
    (
        "REMOTE_COMMUNICATION",
        Level::Warn,
        "`hold` cannot reach it, and `restart` may be taken for somebody's drift",
    ),
];

/// Room in the listener's buffer for one start of everything: STARTING and RUNNING of each program, and some.
#[must_use]
pub fn buffer_needed(programs: usize) -> usize {
    2 * programs + 64
}

/// The listener's section, beside what supervisord runs.
#[must_use]
pub fn judge_listener(section: &EventListener, processes: Option<&[ProcessInfo]>) -> Vec<Finding> {
    let faults = judge_events(section)
        .into_iter()
        .chain(judge_settings(section))
        .chain(judge_buffer(section, processes.map_or(0, <[ProcessInfo]>::len)))
        .chain(processes.and_then(|list| judge_state(section, list)));
    let subject = format!("listener `{}`", section.name);
    let mut findings: Vec<Finding> =
        faults.map(|(level, text)| Finding::new(level, subject.clone(), text)).collect();
    if findings.is_empty() {
        findings.push(Finding::new(Level::Ok, subject, "runs, and is set up as it should be"));
    }
    findings
}

fn judge_events(section: &EventListener) -> Vec<(Level, String)> {
    let missing = EVENTS.iter().filter(|(event, _, _)| !subscribes(section, event));
    missing
        .map(|(event, level, without)| {
            (*level, format!("is not subscribed to {event}: {without}; add it to `events=`"))
        })
        .collect()
}

fn judge_settings(section: &EventListener) -> Vec<(Level, String)> {
    let table = [
        (
            section.redirect_stderr,
            Level::Fail,
            "has redirect_stderr=true: its log would end up in its protocol; remove it",
        ),
        (
            !section.stdout_logfile.eq_ignore_ascii_case("NONE"),
            Level::Warn,
            "logs its protocol (stdout_logfile is not NONE): up to 500 MB of READY and RESULT; set \
             stdout_logfile=NONE",
        ),
        (
            section.numprocs > 1,
            Level::Fail,
            "runs several times (numprocs): each sees a part of the events, in no order; set numprocs=1",
        ),
        (
            section.autorestart.eq_ignore_ascii_case("false"),
            Level::Warn,
            "is not started again when it ends (autorestart=false); set autorestart=true",
        ),
    ];
    let faults = table.into_iter().filter(|(is_so, _, _)| *is_so);
    faults.map(|(_, level, text)| (level, text.to_owned())).collect()
}

fn judge_buffer(section: &EventListener, processes: usize) -> Option<(Level, String)> {
    let needed = buffer_needed(processes);
    (section.buffer_size < needed).then(|| {
        let room = section.buffer_size;
        let text = format!(
            "has room for {room} events, and a start of everything may need {needed}; set buffer_size={needed}"
        );
        (Level::Warn, text)
    })
}

/// Whether a listener gets an event: `PROCESS_STATE` stands for all whose names begin so, `EVENT` for all.
#[must_use]
pub fn subscribes(section: &EventListener, event: &str) -> bool {
    section.events.iter().any(|name| name == event || name == "EVENT")
}

fn judge_state(section: &EventListener, processes: &[ProcessInfo]) -> Option<(Level, String)> {
    let found = processes.iter().find(|info| info.name.group == section.name);
    match found.map(|info| info.state) {
        Some(ProcessState::Running) => None,
        Some(ProcessState::Starting) => {
            let text = "is STARTING, until it has run for its startsecs; look again, and see its log if that goes on";
            Some((Level::Warn, text.into()))
        }
        Some(state) => {
            let name = ProcessName { group: section.name.clone(), process: section.process.clone() };
            Some((Level::Fail, format!("is {state}; `supervisorctl start {name}`, and see its log")))
        }
        None => {
            let text = "is in the configuration, but supervisord does not run it; `supervisorctl update`";
            Some((Level::Fail, text.into()))
        }
    }
}

/// The mapping beside the programs that there are.
#[must_use]
pub fn judge_mapping(mapping: &Mapping, roster: &Roster, names: &[ProcessName]) -> Vec<Finding> {
    let idle = mapping.idle_rules(names).map(|rule| {
        let near = super::similar(rule.program(), names.iter().map(|name| name.process.as_str()));
        Finding::new(
            Level::Fail,
            format!("mapping `{}`", rule.text()),
            format!("stands for no program of supervisord; there are {near}"),
        )
    });
    let mut findings: Vec<Finding> = idle.collect();
    if findings.is_empty() {
        let count = roster.members().len();
        findings.push(Finding::new(Level::Ok, "mapping", format!("{count} programs stand for servers")));
    }
    findings
}

fn judge_program(standing: &Standing<'_>) -> Option<Finding> {
    let state = standing.process?.info.state;
    let finding =
        |level, text: String| Some(Finding::new(level, format!("program {}", standing.program), text));
    let program = standing.program;
    match state {
        ProcessState::Running | ProcessState::Starting | ProcessState::Stopping => None,
        ProcessState::Stopped | ProcessState::Exited => {
            finding(Level::Warn, format!("is {state}; `supervisor-haproxy start {program}` brings it back"))
        }
        ProcessState::Backoff | ProcessState::Fatal | ProcessState::Unknown => {
            finding(Level::Fail, format!("is {state}; `supervisorctl tail {program} stderr` may tell why"))
        }
    }
}

/// Each server beside its program.
#[must_use]
pub fn judge_servers(standings: &[Standing<'_>], gate: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    for standing in standings {
        let subject = format!("server {}", standing.server);
        findings.extend(judge_program(standing));
        match &standing.accord {
            Accord::Agrees if standing.hold.is_some() => {
                let text = standing.hold.map(ToString::to_string).unwrap_or_default();
                findings.push(Finding::new(Level::Ok, subject.clone(), text));
            }
            Accord::Agrees | Accord::Unknown(_) => {}
            Accord::Doubtful(why) => findings.push(Finding::new(Level::Warn, subject.clone(), why.as_str())),
            Accord::Wrong(why) => findings.push(Finding::new(Level::Fail, subject.clone(), why.as_str())),
        }
        if gate && standing.seen.is_some_and(|seen| !seen.checked) {
            let text = "has no health check: it takes traffic as soon as its program is RUNNING, which is before most \
                        programs answer; add `check` to its line";
            findings.push(Finding::new(Level::Warn, subject, text));
        }
    }
    findings.dedup();
    let agree = standings.iter().filter(|standing| standing.accord == Accord::Agrees).count();
    if agree == standings.len() && agree > 0 {
        findings.push(Finding::new(Level::Ok, "servers", format!("{agree} agree with their programs")));
    }
    findings
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn section() -> EventListener {
        EventListener {
            name: "haproxy".into(),
            process: "haproxy".into(),
            file: "/etc/supervisord.conf".into(),
            line: 1,
            command: Vec::new(),
            events: EVENTS.iter().map(|(event, _, _)| (*event).to_owned()).collect(),
            buffer_size: 1000,
            numprocs: 1,
            redirect_stderr: false,
            stdout_logfile: "NONE".into(),
            autorestart: "true".into(),
            environment: BTreeMap::new(),
            user: None,
        }
    }

    fn process(name: &str, state: ProcessState) -> ProcessInfo {
        ProcessInfo { name: ProcessName { group: name.into(), process: name.into() }, state, pid: None }
    }

    fn judge(section: &EventListener) -> Vec<(Level, String)> {
        let processes = [process("haproxy", ProcessState::Running), process("web", ProcessState::Running)];
        let findings = judge_listener(section, Some(&processes));
        findings.into_iter().map(|finding| (finding.level, finding.text)).collect()
    }

    fn levels(section: &EventListener) -> Vec<Level> {
        judge(section).into_iter().map(|(level, _)| level).collect()
    }

    #[test]
    fn the_recommended_section_is_well() {
        assert_eq!(judge(&section()), [(Level::Ok, "runs, and is set up as it should be".into())]);
        let all = EventListener { events: vec!["EVENT".into()], ..section() };
        assert_eq!(levels(&all), [Level::Ok], "EVENT stands for all");
    }

    #[test]
    fn each_fault_of_a_section_is_told_with_what_to_do() {
        let without = |event: &str| {
            let events = section().events.into_iter().filter(|name| name != event).collect();
            EventListener { events, ..section() }
        };
        assert_eq!(levels(&without("PROCESS_STATE")), [Level::Fail]);
        assert_eq!(levels(&without("REMOTE_COMMUNICATION")), [Level::Warn]);
        assert_eq!(levels(&EventListener { redirect_stderr: true, ..section() }), [Level::Fail]);
        assert_eq!(levels(&EventListener { stdout_logfile: "AUTO".into(), ..section() }), [Level::Warn]);
        assert_eq!(levels(&EventListener { numprocs: 2, ..section() }), [Level::Fail]);
        assert_eq!(levels(&EventListener { autorestart: "false".into(), ..section() }), [Level::Warn]);
        let small = EventListener { buffer_size: 10, ..section() };
        assert!(judge(&small)[0].1.ends_with("set buffer_size=68"), "{:?}", judge(&small));
    }

    #[test]
    fn a_listener_that_does_not_run_is_a_failure() {
        let stopped = [process("haproxy", ProcessState::Stopped)];
        assert_eq!(judge_listener(&section(), Some(&stopped))[0].level, Level::Fail);
        assert_eq!(judge_listener(&section(), Some(&[]))[0].level, Level::Fail);
        let starting = [process("haproxy", ProcessState::Starting)];
        assert_eq!(judge_listener(&section(), Some(&starting))[0].level, Level::Warn, "that passes");
        assert_eq!(judge_listener(&section(), None)[0].level, Level::Ok, "nobody told otherwise");
    }

    #[test]
    fn a_rule_without_a_program_is_a_failure_that_names_what_there_is() {
        let mapping = Mapping::new(vec!["wbe:app/a".parse().unwrap(), "web:app/b".parse().unwrap()]);
        let names = [ProcessName { group: "web".into(), process: "web".into() }];
        let findings = judge_mapping(&mapping, &Roster::new(&mapping, &names), &names);
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].level, Level::Fail);
        assert!(
            findings[0].subject.contains("wbe:app/a") && findings[0].text.contains("`web`"),
            "{findings:?}"
        );
    }
}
