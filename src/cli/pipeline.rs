//! What `pull` and `process` have in common: the configuration, what is printed of it, logging, and what the service
//! manager is told.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use log::{LevelFilter, info, warn};
use sd_notify::NotifyState;

use super::commands::PipelineArgs;
use super::screen::Screen;
use super::{Failure, logging};
use crate::control::Vigil;
use crate::stats::settings::{self, LogLevel, Part, Settings, Warning};

/// How a daemon begins.
pub(super) enum Begin {
    /// With this configuration.
    With(Box<Settings>),
    /// Not at all: it was to print something, and has.
    Printed,
}

/// Reads the configuration and starts logging, or prints what is asked for.
pub(super) fn begin(args: &PipelineArgs, folder: Option<&Path>, part: Part) -> Result<Begin, Failure> {
    if args.print {
        Screen::new().line(settings::defaults(part).trim_end());
        return Ok(Begin::Printed);
    }
    let (settings, warnings) = Settings::read(args.file.as_deref(), folder)
        .map_err(|faults| Failure::Usage(faults.iter().map(ToString::to_string).collect()))?;
    if args.print_conf {
        super::warn(&warnings);
        Screen::new().line(settings.effective(part).trim_end());
        return Ok(Begin::Printed);
    }
    let level = if part == Part::Pull { settings.pull.log_level } else { settings.process.log_level };
    logging::start_at(args.log_format, filter(level));
    // The other program's section is its own to warn of.
    let other = if part == Part::Pull { Part::Process } else { Part::Pull };
    let is_others = |warning: &Warning| {
        warning.section.as_deref().is_some_and(|section| other.has(section) && !part.has(section))
    };
    for warning in warnings.iter().filter(|warning| !is_others(warning)) {
        warn!("{warning}");
    }
    Ok(Begin::With(Box::new(settings)))
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Critical | LogLevel::Error => LevelFilter::Error,
        LogLevel::Warning => LevelFilter::Warn,
        LogLevel::Info => LevelFilter::Info,
        LogLevel::Debug => LevelFilter::Debug,
    }
}

/// Tells systemd (`sd_notify(3)`), where it has started this.
pub(super) fn notify(state: NotifyState<'_>) {
    // Whoever asked to be told and cannot be is not helped by an end.
    let _ = sd_notify::notify(&[state]);
}

/// Waits as [`Vigil::wait`] does, with signs of life for the service manager as often as it wants them.
pub(super) fn wait(vigil: &mut Vigil, until: Instant) -> io::Result<bool> {
    let beat = sd_notify::watchdog_enabled().map(|limit| limit / 2);
    loop {
        notify(NotifyState::Watchdog);
        let next = beat.map_or(until, |beat| until.min(Instant::now() + beat));
        if vigil.wait(next)? {
            return Ok(true);
        }
        if next == until || Instant::now() < next {
            return Ok(false);
        }
    }
}

/// What was said last about what is not as it should be.
pub(super) struct Said {
    /// What is said when it is again.
    well: &'static str,
    last: Option<(String, Instant)>,
}

/// The same is said again after this long.
const REMINDER: Duration = Duration::from_secs(60);

impl Said {
    pub(super) fn new(well: &'static str) -> Self {
        Self { well, last: None }
    }

    /// Says what is new.
    pub(super) fn tell(&mut self, result: Result<(), String>) {
        match result {
            Ok(()) if self.last.take().is_some() => info!("{}", self.well),
            Ok(()) => {}
            Err(problem) => {
                let is_old = |(said, at): &(String, Instant)| *said == problem && at.elapsed() < REMINDER;
                if !self.last.as_ref().is_some_and(is_old) {
                    warn!("{problem}");
                    self.last = Some((problem, Instant::now()));
                }
            }
        }
    }
}

/// This machine's name, with its dots.
pub(super) fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The words of a program of haproxystats as those of a command, where this is called by its name.
pub(super) fn as_command(program: &Path, words: &[OsString]) -> Option<Vec<OsString>> {
    let command = match program.file_name()?.to_str()? {
        "haproxystats-pull" => "pull",
        "haproxystats-process" => "process",
        _ => return None,
    };
    let version = words.iter().skip(1).any(|word| word == "-v" || word == "--version");
    let rest = words.iter().skip(1).cloned();
    let own = std::iter::once("supervisor-haproxy".into());
    Some(if version {
        own.chain(["--version".into()]).collect()
    } else {
        own.chain([command.into()]).chain(rest).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(program: &str, rest: &[&str]) -> Option<Vec<String>> {
        let words: Vec<_> = [program].iter().chain(rest).map(Into::into).collect();
        let command = as_command(Path::new(program), &words)?;
        Some(command.into_iter().map(|word| word.into_string().unwrap()).collect())
    }

    #[test]
    fn the_names_of_haproxystats_stand_for_commands() {
        assert_eq!(
            words("/usr/bin/haproxystats-pull", &["-f", "/etc/h.conf"]).unwrap(),
            ["supervisor-haproxy", "pull", "-f", "/etc/h.conf"]
        );
        assert_eq!(
            words("haproxystats-process", &["-d", "/etc/h.d", "-P"]).unwrap(),
            ["supervisor-haproxy", "process", "-d", "/etc/h.d", "-P"]
        );
        assert_eq!(words("haproxystats-process", &["-v"]).unwrap(), ["supervisor-haproxy", "--version"]);
        assert_eq!(words("supervisor-haproxy", &["pull"]), None);
    }
}
