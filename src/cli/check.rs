//! `check`: the doctor.

use std::fmt;

use serde_json::{Value, json};

use super::Failure;
use super::commands::CheckArgs;
use super::screen::{BAD, DOUBTFUL, GOOD, Screen, Table};
use super::site::{self, Found};
use crate::agent::checkup::{Finding, Level, judge_listener, judge_mapping, judge_servers};
use crate::agent::rollout::Failure as Refusal;
use crate::agent::{Accord, Standing, Target, roster, standings};
use crate::control::Errand;
use crate::haproxy::{self, Command, Held, Seen};
use crate::supervisor::{self, Call, ProcessInfo};

/// Nagios's exit code for what cannot be told.
const NAGIOS_UNKNOWN: u8 = 3;
/// What Nagios's line is about.
const HAPROXY: &str = "HAPROXY";
pub(super) const SERVE: &str = "SERVE";
pub(super) const SPOOL: &str = "SPOOL";

pub(super) fn run(args: &CheckArgs) -> Result<u8, Failure> {
    match examine(args) {
        Ok(report) => Ok(report.print(args)),
        Err(failure) if args.nagios => {
            let (_, problems) = failure.parts();
            Screen::new().line(format!("{} UNKNOWN - {}", service(args), one_line(&problems.join("; "))));
            Ok(NAGIOS_UNKNOWN)
        }
        Err(failure) => Err(failure),
    }
}

/// What was found.
#[derive(Debug)]
pub(super) struct Report {
    /// What it is about, in Nagios's line.
    pub(super) service: &'static str,
    /// What that line says where nothing is wrong.
    pub(super) summary: String,
    pub(super) findings: Vec<Finding>,
    pub(super) counts: Vec<Count>,
}

/// A figure, for programs.
#[derive(Debug)]
pub(super) struct Count {
    pub(super) name: &'static str,
    pub(super) value: u64,
    /// `s`, `ms`, or nothing.
    pub(super) unit: &'static str,
    /// Above which there is a warning, and above which it is critical.
    pub(super) limits: [Option<u64>; 2],
}

fn examine(args: &CheckArgs) -> Result<Report, Failure> {
    match (&args.spool, &args.serve) {
        (Some(spool), _) => super::check_spool::examine(spool, &args.limits),
        (_, Some(address)) => super::check_serve::examine(address),
        _ => examine_servers(args),
    }
}

fn service(args: &CheckArgs) -> &'static str {
    match (&args.spool, &args.serve) {
        (Some(_), _) => SPOOL,
        (_, Some(_)) => SERVE,
        _ => HAPROXY,
    }
}

fn examine_servers(args: &CheckArgs) -> Result<Report, Failure> {
    let Found { site, listener } = site::find(&args.site)?;
    let mut errand = Errand::new(site, super::hold::who(), None)?;
    let mut findings = vec![supervisord(&mut errand)?];
    for haproxy in 0..errand.peers().count() {
        findings.extend(haproxy_findings(&mut errand, haproxy)?);
    }
    let (site, sight) = (errand.site(), errand.sight());
    let processes: Option<Vec<ProcessInfo>> =
        sight.processes.as_ref().ok().map(|list| list.values().map(|details| details.info.clone()).collect());
    findings
        .extend(listener.iter().flat_map(|listener| judge_listener(&listener.section, processes.as_deref())));
    let names: Vec<_> = processes.iter().flatten().map(|info| info.name.clone()).collect();
    let roster = roster(&site.mapping, sight);
    if processes.is_some() {
        findings.extend(judge_mapping(&site.mapping, &roster, &names));
    }
    findings.extend(
        site.holds
            .as_ref()
            .and_then(|file| file.load().err())
            .map(|error| Finding::new(Level::Fail, "holds", error.to_string())),
    );
    let members = roster.select(&[Target::all()]).unwrap_or_default();
    let standings = standings(&roster, &members, &site.actions, sight, &errand.owners());
    findings.extend(judge_servers(&standings, site.gate));
    let summary = format!("{} servers agree with their programs", standings.len());
    Ok(Report { service: HAPROXY, summary, findings, counts: counts(&standings) })
}

fn supervisord(errand: &mut Errand) -> Result<Finding, Failure> {
    let subject = format!("supervisord {}", errand.site().supervisord.endpoint);
    let version = errand.peers().call_supervisord(&Call::Version, supervisor::version)?;
    Ok(match (&errand.sight().processes, version) {
        (Err(why), _) => Finding::new(Level::Fail, subject, why.as_str()),
        (Ok(list), version) => {
            let version = version.map_or_else(|_| String::new(), |version| format!("{version} "));
            Finding::new(Level::Ok, subject, format!("{version}answers, and has {} processes", list.len()))
        }
    })
}

fn haproxy_findings(errand: &mut Errand, haproxy: usize) -> Result<Vec<Finding>, Failure> {
    let subject = errand.peers().name(haproxy).to_owned();
    let finding = |level, text: String| Finding::new(level, subject.clone(), text);
    let info = match errand.sight().looks.get(haproxy) {
        Some(Ok(look)) => look.info.clone(),
        Some(Err(why)) => return Ok(vec![finding(Level::Fail, why.clone())]),
        None => return Ok(Vec::new()),
    };
    let mut findings = Vec::new();
    match errand.peers().tell(haproxy, &Command::Level, haproxy::level)? {
        Ok(level) if level == "admin" => {}
        Ok(level) => findings.push(finding(
            Level::Fail,
            format!("its socket has level {level}, which may set nothing; write `level admin` on its `stats socket` line"),
        )),
        Err(Refusal::Passing(why) | Refusal::Permanent(why)) => findings.push(finding(Level::Warn, why)),
    }
    if info.processes > 1 {
        let text = format!(
            "{} processes share this socket and answer in turn; give each its own (`stats socket … process N`) and name them all",
            info.processes
        );
        findings.push(finding(Level::Fail, text));
    }
    if findings.is_empty() {
        let version = info.version.unwrap_or_default();
        findings.push(finding(Level::Ok, format!("HAProxy {version} answers, and may be told")));
    }
    Ok(findings)
}

/// Servers in all, that serve, that are drained, in maint, held, and that do not agree.
fn counts(standings: &[Standing<'_>]) -> Vec<Count> {
    let count = |is_so: &dyn Fn(&Standing<'_>) -> bool| standings.iter().filter(|one| is_so(one)).count();
    let held = |state: Held| move |one: &Standing<'_>| one.seen.is_some_and(|seen| seen.held == state);
    let counts = [
        ("servers", standings.len()),
        ("up", count(&|one| one.seen.is_some_and(Seen::is_serving))),
        ("drain", count(&held(Held::Drain))),
        ("maint", count(&held(Held::Maint))),
        ("held", count(&|one| one.hold.is_some())),
        ("disagree", count(&|one| one.accord != Accord::Agrees)),
    ];
    counts.map(|(name, value)| Count { name, value: value as u64, unit: "", limits: [None; 2] }).into()
}

impl fmt::Display for Count {
    /// `'label'=value[UOM];[warn];[crit]` of the Monitoring Plugins Development Guidelines.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}'={}{}", self.name, self.value, self.unit)?;
        let limits = self.limits.iter().flatten();
        limits.into_iter().try_for_each(|limit| write!(f, ";{limit}"))
    }
}

impl Report {
    fn worst(&self) -> Level {
        self.findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok)
    }

    fn print(&self, args: &CheckArgs) -> u8 {
        let mut screen = Screen::new();
        if args.nagios {
            screen.line(self.nagios());
        } else if args.json {
            screen.line(self.json());
        } else {
            let mut table = Table::default();
            for Finding { level, subject, text } in &self.findings {
                let style = match level {
                    Level::Ok => GOOD,
                    Level::Warn => DOUBTFUL,
                    Level::Fail => BAD,
                };
                let plain = |text: &String| (text.clone(), anstyle::Style::new());
                table.row(vec![(level.word().to_owned(), style), plain(subject), plain(text)]);
            }
            table.lines().iter().for_each(|line| screen.line(line));
        }
        match self.worst() {
            Level::Ok => 0,
            Level::Warn => 1,
            Level::Fail => 2,
        }
    }

    fn json(&self) -> Value {
        let findings = self.findings.iter().map(|Finding { level, subject, text }| {
            json!({ "level": level.word(), "subject": subject, "text": text })
        });
        let counts: serde_json::Map<String, Value> =
            self.counts.iter().map(|count| (count.name.to_owned(), json!(count.value))).collect();
        json!({ "level": self.worst().word(), "findings": findings.collect::<Vec<_>>(), "counts": counts })
    }

    /// The first finding of the worst level, how many more there are, and performance data (Monitoring Plugins
    /// Development Guidelines).
    fn nagios(&self) -> String {
        let worst = self.worst();
        let word = match worst {
            Level::Ok => "OK",
            Level::Warn => "WARNING",
            Level::Fail => "CRITICAL",
        };
        let bad: Vec<&Finding> =
            self.findings.iter().filter(|finding| worst > Level::Ok && finding.level == worst).collect();
        let text = match bad.first() {
            None => self.summary.clone(),
            Some(first) => {
                let more =
                    if bad.len() > 1 { format!(" (and {} more)", bad.len() - 1) } else { String::new() };
                format!("{}: {}{more}", first.subject, first.text)
            }
        };
        let data: Vec<String> = self.counts.iter().map(ToString::to_string).collect();
        format!("{} {word} - {} | {}", self.service, one_line(&text), data.join(" "))
    }
}

/// Nagios ends the text at a `|`, and the line at its end.
fn one_line(text: &str) -> String {
    text.replace('|', "/").split_whitespace().collect::<Vec<_>>().join(" ")
}
