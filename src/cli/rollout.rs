//! `restart`, `stop` and `start`: from what was typed to a rollout, and how it is shown.

use std::time::{Duration, Instant};

use super::commands::{InArgs, OnFailure, OutArgs, RolloutArgs};
use super::screen::{BAD, DOUBTFUL, GOOD, Screen, paint};
use super::{FAILED, Failure, INTERRUPTED, PARTIAL, REFUSED, site, warn};
use crate::agent::rollout::{Course, Ending, Rollout, Sight, Tally, Terms, Verb};
use crate::agent::{Member, roster};
use crate::control::{Errand, Interrupts, Lock, Site};

/// Without a terminal, a wait is told of so often.
const REPORT_EVERY: Duration = Duration::from_secs(10);

pub(super) fn run(
    verb: Verb,
    args: &RolloutArgs,
    out: Option<&OutArgs>,
    back: Option<&InArgs>,
) -> Result<u8, Failure> {
    let site = site::find(&args.site)?.site;
    refuse_to_fight(&site, args.force)?;
    let probe = back.and_then(|back| back.probe.clone());
    let mut errand = Errand::new(site, super::hold::who_now(), probe.clone())?;
    let members = members(&errand, args)?;
    if let Some(probe) = probe.filter(|probe| !probe.names_the_program() && members.len() > 1) {
        return Err(Failure::Usage(vec![format!(
            "--probe `{probe}` asks the same for {} programs; write {{address}} in it, where HAProxy sends a \
             server's requests",
            members.len()
        )]));
    }
    let terms = terms(verb, args, out, back, members.len(), errand.site().gate);
    warn(remarks(&terms, &members, errand.sight()));
    let mut rollout = Rollout::new(Instant::now(), terms, members);
    if args.dry_run {
        return Ok(show_plan(verb, &rollout, errand.sight()));
    }
    let programs = rollout.courses().iter().map(|course| &course.member().program);
    let lock = Lock::take(&errand.site().supervisord.endpoint, programs)
        .map_err(|error| Failure::Refused(vec![error.to_string()]))?;
    let mut interrupts = Interrupts::new()?;
    let mut display = Display::new(verb, rollout.courses().len());
    errand.roll_out(&mut rollout, &lock, &mut interrupts, |now, rollout, sight| {
        display.show(now, rollout, sight);
    })?;
    drop(lock);
    Ok(display.close(&rollout, errand.sight()))
}

/// A listener that sets back what others set, and does not hear that they do it on purpose.
fn refuse_to_fight(site: &Site, force: bool) -> Result<(), Failure> {
    match &site.listener {
        Some(listener) if listener.enforces && !listener.hears_orders && !force => {
            Err(Failure::Refused(vec![format!(
                "the listener `{}` runs with --enforce and would set back what this command sets; add \
                 REMOTE_COMMUNICATION to its `events=`, so that it hears of it",
                listener.name
            )]))
        }
        _ => Ok(()),
    }
}

fn members(errand: &Errand, args: &RolloutArgs) -> Result<Vec<Member>, Failure> {
    if let Err(why) = &errand.sight().processes {
        return Err(Failure::Failed(vec![why.clone()]));
    }
    Ok(roster(&errand.site().mapping, errand.sight()).select_whole(&args.targets)?)
}

fn terms(
    verb: Verb,
    args: &RolloutArgs,
    out: Option<&OutArgs>,
    back: Option<&InArgs>,
    count: usize,
    gate: bool,
) -> Terms {
    let time = |time: Option<Duration>| time.unwrap_or_default();
    Terms {
        verb,
        batch: args.batch.of(count),
        min_ready: out.map_or(0, |out| out.min_ready),
        force: args.force,
        keep_going: args.on_failure == OnFailure::Continue,
        drain_timeout: time(out.map(|out| out.drain_timeout)),
        shutdown_sessions: out.is_some_and(|out| out.shutdown_sessions),
        stop_timeout: time(out.map(|out| out.stop_timeout)),
        up_timeout: time(back.map(|back| back.up_timeout)),
        probe: back.is_some_and(|back| back.probe.is_some()),
        gate,
    }
}

/// What may lose requests in spite of all care.
fn remarks(terms: &Terms, members: &[Member], sight: &Sight) -> Vec<String> {
    let unchecked = |member: &&Member| {
        let looks = sight.looks.iter().flatten();
        looks
            .flat_map(|look| member.servers.iter().filter_map(|server| look.servers.get(server)))
            .any(|seen| !seen.checked)
    };
    if terms.verb == Verb::Stop || terms.probe {
        return Vec::new();
    }
    let blind = members.iter().filter(unchecked).map(|member| {
        format!(
            "the server of `{}` has no health check: it takes traffic as soon as its program is RUNNING; give it \
             `check` in HAProxy's configuration, or pass --probe",
            member.program
        )
    });
    blind.collect()
}

// --- the plan

fn show_plan(verb: Verb, rollout: &Rollout, sight: &Sight) -> u8 {
    let mut screen = Screen::new();
    let mut refused = 0;
    for (number, (course, refusal)) in rollout.courses().iter().zip(rollout.refusals(sight)).enumerate() {
        let Member { program, servers, .. } = course.member();
        let servers = servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let state = sight.state(program);
        let load = sight.load(&course.member().servers);
        screen.line(format!("{}. {program} ({state}), {servers} ({load}): {}", number + 1, steps(verb)));
        if let Some(why) = refusal {
            refused += 1;
            screen.line(format!("   {}: {why}", paint(BAD, "refused")));
        }
    }
    screen.line("nothing was done: this was a dry run");
    if refused > 0 { REFUSED } else { 0 }
}

fn steps(verb: Verb) -> &'static str {
    match verb {
        Verb::Restart => "drain, maint, stop, start, ready, up",
        Verb::Stop => "drain, maint, stop",
        Verb::Start => "start, ready, up",
    }
}

fn past(verb: Verb) -> &'static str {
    match verb {
        Verb::Restart => "restarted",
        Verb::Stop => "stopped",
        Verb::Start => "started",
    }
}

// --- the display

struct Display {
    screen: Screen,
    verb: Verb,
    began: Instant,
    /// Whether the end of each program was told.
    told: Vec<bool>,
    told_of_interrupt: bool,
    report_at: Instant,
}

impl Display {
    fn new(verb: Verb, count: usize) -> Self {
        let now = Instant::now();
        Self {
            screen: Screen::new(),
            verb,
            began: now,
            told: vec![false; count],
            told_of_interrupt: false,
            report_at: now + REPORT_EVERY,
        }
    }

    fn show(&mut self, now: Instant, rollout: &Rollout, sight: &Sight) {
        if rollout.is_interrupted() && !std::mem::replace(&mut self.told_of_interrupt, true) {
            self.screen.line(
                "interrupted: what is not stopped yet is put back, the rest comes back first; Ctrl-C again leaves \
                 at once",
            );
        }
        self.tell_endings(now, rollout);
        let under_way = rollout.courses().iter().filter(|course| course.is_under_way());
        let activities: Vec<String> = under_way
            .map(|course| {
                let elapsed = seconds(course.elapsed(now));
                format!("{}: {} ({elapsed})", course.member().program, course.activity(sight))
            })
            .collect();
        if self.screen.is_terminal() {
            self.screen.transient(&activities.join("   "));
        } else if now >= self.report_at {
            self.report_at = now + REPORT_EVERY;
            for activity in activities {
                self.screen.line(format!("     {activity}"));
            }
        }
    }

    fn tell_endings(&mut self, now: Instant, rollout: &Rollout) {
        let count = self.told.len();
        for (number, course) in rollout.courses().iter().enumerate() {
            let Some(ending) = course.ending() else { continue };
            let told = self.told.get_mut(number).map(|told| std::mem::replace(told, true));
            if told == Some(false) {
                let program = &course.member().program;
                let text = ending_text(self.verb, ending, course, now);
                self.screen.line(format!("{:>3}/{count}  {program}  {text}", number + 1));
                for remark in course.remarks() {
                    self.screen.line(format!("       {}: {remark}", paint(DOUBTFUL, "note")));
                }
            }
        }
    }

    /// The summary, and the exit code that says the same.
    fn close(mut self, rollout: &Rollout, sight: &Sight) -> u8 {
        self.tell_endings(Instant::now(), rollout);
        for course in rollout.courses().iter().filter(|course| course.ending().is_none()) {
            let program = &course.member().program;
            let activity = course.activity(sight);
            self.screen.line(format!("       {program}  {}: {activity}", paint(BAD, "left in the middle")));
        }
        let tally = rollout.tally();
        self.screen.line(format!("{} in {}", summary(self.verb, tally), seconds(self.began.elapsed())));
        exit_code(rollout.is_interrupted(), tally)
    }
}

fn ending_text(verb: Verb, ending: &Ending, course: &Course, now: Instant) -> String {
    let elapsed = seconds(course.elapsed(now));
    match ending {
        Ending::Done => format!("{} in {elapsed}{}", paint(GOOD, past(verb)), timings(course)),
        Ending::Failed(why) => format!("{} after {elapsed}: {why}", paint(BAD, "failed")),
        Ending::Refused(why) => format!("{}: {why}", paint(BAD, "refused")),
        Ending::Untouched => "not touched".into(),
        Ending::Restored => format!("put back as it was after {elapsed}"),
    }
}

fn timings(course: &Course) -> String {
    let timings = course.timings();
    let parts = [
        ("drained", timings.drain),
        ("stopped", timings.stop),
        ("RUNNING", timings.start),
        ("up", timings.up),
    ];
    let parts = parts.iter().filter_map(|(what, time)| Some(format!("{what} {}", seconds((*time)?))));
    match parts.collect::<Vec<_>>().join(", ") {
        parts if parts.is_empty() => String::new(),
        parts => format!("  ({parts})"),
    }
}

fn summary(verb: Verb, tally: Tally) -> String {
    let total = tally.done + tally.failed + tally.refused + tally.untouched;
    let rest = [(tally.failed, "failed"), (tally.refused, "refused"), (tally.untouched, "not touched")];
    let rest = rest.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!(", {count} {what}"));
    format!("{} of {total} {}{}", tally.done, past(verb), rest.collect::<String>())
}

fn exit_code(interrupted: bool, tally: Tally) -> u8 {
    match tally {
        _ if interrupted => INTERRUPTED,
        Tally { failed: 0, refused: 0, untouched: 0, .. } => 0,
        Tally { done: 1.., .. } => PARTIAL,
        Tally { failed: 0, .. } => REFUSED,
        Tally { .. } => FAILED,
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.1}s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_tells_all_some_none_and_refused() {
        let tally = |done, failed, refused, untouched| Tally { done, failed, refused, untouched };
        assert_eq!(exit_code(false, tally(3, 0, 0, 0)), 0);
        assert_eq!(exit_code(false, tally(1, 1, 0, 1)), PARTIAL);
        assert_eq!(exit_code(false, tally(1, 0, 1, 0)), PARTIAL);
        assert_eq!(exit_code(false, tally(0, 1, 0, 2)), FAILED);
        assert_eq!(exit_code(false, tally(0, 0, 1, 2)), REFUSED);
        assert_eq!(exit_code(true, tally(1, 0, 0, 2)), INTERRUPTED);
    }

    #[test]
    fn the_summary_names_what_there_is() {
        let tally = Tally { done: 1, failed: 1, refused: 0, untouched: 2 };
        assert_eq!(summary(Verb::Stop, tally), "1 of 4 stopped, 1 failed, 2 not touched");
        assert_eq!(summary(Verb::Restart, Tally { done: 2, ..Tally::default() }), "2 of 2 restarted");
    }
}
