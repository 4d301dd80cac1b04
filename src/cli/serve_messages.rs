//! Reports and alerts of `serve`: what was typed, checked.

use super::serve_args::MessageArgs;
use crate::alerts::{Allowed, Destination, Format, Guard, Guards, Schedule, Settings, Signer};
use crate::web::Secret;

/// Where the key for signatures may be, so that no list of processes shows it.
const WEBHOOK_SECRET: &str = "SUPERVISOR_HAPROXY_SERVE_WEBHOOK_SECRET";

/// What is to be sent to whom; none where nothing is.
pub(super) fn settings(
    args: &MessageArgs,
    source: String,
    variable: &dyn Fn(&str) -> Option<String>,
    problems: &mut Vec<String>,
) -> Option<Settings> {
    let reports = destinations("--report-to", &args.report_to, problems);
    let alerts = destinations("--alert-to", &args.alert_to, problems);
    let ticks = guards(args, problems);
    let has_json = reports.iter().chain(&alerts).any(|to| to.format == Format::Json);
    let signer = signer(args, has_json, variable, problems);
    let every = args.every.parse::<Schedule>();
    let every = every.map_err(|error| problems.push(format!("--every {}: {error}", args.every))).ok()?;
    let is_anything = ticks.is_some() || !reports.is_empty() || !alerts.is_empty();
    let window = args.digest;
    is_anything.then_some(Settings { source, ticks, reports, every, alerts, window, signer })
}

/// The problems do not show the URL, which is a secret where it is a webhook's.
fn destinations(option: &str, texts: &[String], problems: &mut Vec<String>) -> Vec<Destination> {
    let texts = texts.iter().map(|text| text.trim()).filter(|text| !text.is_empty());
    let mut read = |(at, text): (usize, &str)| match text.parse() {
        Ok(destination) => Some(destination),
        Err(error) => {
            problems
                .push(format!("{option}, value {}: {error}, with `slack+` or another form in front", at + 1));
            None
        }
    };
    texts.enumerate().filter_map(&mut read).collect()
}

fn allowed(option: &'static str, texts: &[String], problems: &mut Vec<String>) -> Guard {
    let texts = texts.iter().map(|text| text.trim()).filter(|text| !text.is_empty());
    let mut read = |text: &str| match text.parse::<Allowed>() {
        Ok(entry) => Some(entry),
        Err(error) => {
            problems.push(format!("{option} {text}: {error}"));
            None
        }
    };
    Guard::new(texts.filter_map(&mut read).collect(), option)
}

fn guards(args: &MessageArgs, problems: &mut Vec<String>) -> Option<Guards> {
    let lists = [("--allow-host", &args.allow_host), ("--telex-stats-allow", &args.telex_stats_allow)];
    if !args.telex {
        let given = lists.iter().filter(|(_, list)| !list.is_empty());
        problems
            .extend(given.map(|(option, _)| format!("{option} goes with --telex, and with nothing else")));
        return None;
    }
    if args.allow_host.is_empty() {
        problems.push(
            "--telex: whoever reaches this program may send ticks, so say where their reports may go: --allow-host \
             ping.telex.im"
                .into(),
        );
    }
    let [receivers, sources] = lists.map(|(option, list)| allowed(option, list, problems));
    Some(Guards { receivers, sources })
}

fn signer(
    args: &MessageArgs,
    has_json: bool,
    variable: &dyn Fn(&str) -> Option<String>,
    problems: &mut Vec<String>,
) -> Option<Signer> {
    let (place, secret) = match (&args.webhook_secret_file, variable(WEBHOOK_SECRET)) {
        (Some(file), _) => (format!("--webhook-secret-file {}", file.display()), Secret::read(file)),
        (None, Some(text)) => (WEBHOOK_SECRET.to_owned(), Secret::new(&text)),
        (None, None) => return None,
    };
    if !has_json {
        problems.push(format!("{place}: only messages in the form json are signed, and nobody gets any"));
    }
    let secret = secret.map_err(|error| problems.push(format!("{place}: {error}"))).ok()?;
    Signer::new(secret.reveal())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::args::Args;
    use super::super::commands::Command;
    use super::*;

    fn read(words: &[&str], variables: &[(&str, &str)]) -> Result<Option<Settings>, Vec<String>> {
        let words = [&["supervisor-haproxy", "serve", "--socket", "/run/h.sock"], words].concat();
        let Some(Command::Serve(args)) = Args::try_parse_from(words).unwrap().command else { panic!() };
        let variable = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        let mut problems = Vec::new();
        let settings = settings(&args.messages, "lb1".into(), &variable, &mut problems);
        if problems.is_empty() { Ok(settings) } else { Err(problems) }
    }

    #[track_caller]
    fn is_refused(words: &[&str], expected: &str) {
        let problems = read(words, &[]).unwrap_err();
        assert!(problems.len() == 1 && problems[0].contains(expected), "{problems:#?}");
    }

    #[test]
    fn without_a_word_nothing_is_sent() {
        assert!(read(&[], &[]).unwrap().is_none());
        assert!(read(&["--every", "0 8 * * *", "--digest", "5m"], &[]).unwrap().is_none());
    }

    #[test]
    fn ticks_need_an_allow_list() {
        is_refused(&["--telex"], "say where their reports may go");
        let settings = read(&["--telex", "--allow-host", "ping.telex.im"], &[]).unwrap().unwrap();
        assert!(settings.ticks.is_some());
        is_refused(&["--allow-host", "ping.telex.im"], "--allow-host goes with --telex");
        is_refused(&["--telex-stats-allow", "lb:8404"], "--telex-stats-allow goes with --telex");
        is_refused(&["--telex", "--allow-host", "*"], "--allow-host *: expected");
    }

    #[test]
    fn receivers_have_a_form_and_a_url_that_no_problem_shows() {
        let words = ["--report-to", "slack+https://h/a,https://h/b", "--alert-to", "telex+https://h/c"];
        let settings = read(&words, &[]).unwrap().unwrap();
        let formats: Vec<Format> =
            settings.reports.iter().chain(&settings.alerts).map(|to| to.format).collect();
        assert_eq!(formats, [Format::Slack, Format::Json, Format::Telex]);
        let problems = read(&["--report-to", "https://h/a,irc+https://h/T0P5ECRET"], &[]).unwrap_err();
        assert!(problems[0].starts_with("--report-to, value 2: expected"), "{problems:?}");
        assert!(!problems[0].contains("T0P5ECRET"), "{problems:?}");
    }

    #[test]
    fn a_schedule_is_checked_at_the_start() {
        is_refused(
            &["--report-to", "https://h/", "--every", "0 0 30 2 *"],
            "--every 0 0 30 2 *: that time never comes",
        );
        is_refused(&["--every", "soon"], "--every soon: expected a cron expression");
    }

    #[test]
    fn a_key_for_signatures_needs_somebody_who_gets_signatures() {
        let key = [(WEBHOOK_SECRET, "0123456789abcdef")];
        assert!(read(&["--alert-to", "https://h/"], &key).unwrap().unwrap().signer.is_some());
        let problems = read(&["--alert-to", "slack+https://h/"], &key).unwrap_err();
        assert!(problems[0].contains("only messages in the form json are signed"), "{problems:?}");
        let problems = read(&["--alert-to", "https://h/"], &[(WEBHOOK_SECRET, "short")]).unwrap_err();
        assert!(problems[0].contains("fewer than 16"), "{problems:?}");
    }
}
