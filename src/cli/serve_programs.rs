//! The programs that `serve` knows beside HAProxy: what was typed, and how its commands are told the same.

use std::path::PathBuf;

use super::Failure;
use super::commands::SiteArgs;
use super::serve_args::{ProgramsArgs, ServeArgs};
use super::site::{self, Found};
use crate::control::Site;
use crate::overview::Commands;

/// What is known of programs, and where their listener tells its metrics.
#[derive(Debug, Default)]
pub(super) struct Programs {
    pub(super) site: Option<Site>,
    pub(super) commands: Option<Commands>,
    pub(super) listener_metrics: Option<PathBuf>,
}

pub(super) fn find(
    args: &ServeArgs,
    variable: &dyn Fn(&str) -> Option<String>,
    problems: &mut Vec<String>,
) -> Programs {
    let listener_metrics = args.programs.listener_metrics.clone();
    if !are_given(&args.programs) {
        return Programs { listener_metrics, ..Programs::default() };
    }
    let given = site_args(args, variable);
    match site::find_with(&given, variable) {
        Ok(found) => Programs {
            commands: Some(commands(&given, &found)),
            listener_metrics: listener_metrics.or_else(|| metrics_file(&found)),
            // Here it is `serve` that says how patient it is.
            site: Some(Site { timeout: args.timeout, ..found.site }),
        },
        Err(Failure::Usage(found)) => {
            problems.extend(found);
            Programs::default()
        }
        Err(failure) => {
            problems.extend(failure.parts().1.iter().cloned());
            Programs::default()
        }
    }
}

fn are_given(programs: &ProgramsArgs) -> bool {
    programs.supervisor_conf.is_some() || programs.listener.is_some() || !programs.map.is_empty()
}

fn site_args(args: &ServeArgs, variable: &dyn Fn(&str) -> Option<String>) -> SiteArgs {
    let programs = &args.programs;
    let own = || variable("SUPERVISOR_SERVER_URL").filter(|_| programs.supervisor_conf.is_none());
    SiteArgs {
        configuration: programs.supervisor_conf.clone(),
        listener: programs.listener.clone(),
        socket: vec![args.socket.clone()],
        map: programs.map.clone(),
        supervisor_url: args.supervisor_url.clone().or_else(own),
    }
}

/// What tells a command the same. Where there is a listener, the sockets are the listener's: `serve` may have one of
/// its own that may change nothing, and a program is not stopped before all of its HAProxies have let it go.
fn commands(given: &SiteArgs, found: &Found) -> Commands {
    let configuration = given.configuration.iter().map(|path| format!("--configuration={}", path.display()));
    let listener = given.listener.iter().map(|name| format!("--listener={name}"));
    let map = given.map.iter().map(|rule| format!("--map={rule}"));
    let url = given.supervisor_url.iter().map(|url| format!("--supervisor-url={}", without_password(url)));
    let socket = given.socket.iter().filter(|_| found.listener.is_none());
    let socket = socket.map(|socket| format!("--socket={socket}"));
    let credentials = found.site.supervisord.credentials.as_ref().filter(|_| given.supervisor_url.is_some());
    let variables = credentials.map(|credentials| {
        [("SUPERVISOR_USERNAME", &credentials.user), ("SUPERVISOR_PASSWORD", &credentials.password)]
            .map(|(name, value)| (name.to_owned(), value.clone()))
    });
    Commands {
        options: configuration.chain(listener).chain(map).chain(url).chain(socket).collect(),
        variables: variables.into_iter().flatten().collect(),
    }
}

/// All users of the machine can read command lines.
fn without_password(url: &str) -> String {
    let Some(rest) = url.strip_prefix("http://") else { return url.to_owned() };
    let authority = rest.split('/').next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("http://{host}")
}

/// A relative path is one in the listener's directory, which is not known here.
fn metrics_file(found: &Found) -> Option<PathBuf> {
    let file = found.listener.as_ref()?.settings.metrics_file.clone()?;
    file.is_absolute().then_some(file)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use clap::Parser;

    use super::super::args::Args;
    use super::super::commands::Command;
    use super::*;

    fn read(words: &[&str], variables: &[(&str, &str)]) -> Result<Programs, Vec<String>> {
        let words = [&["supervisor-haproxy", "serve", "--socket", "/run/h.sock"], words].concat();
        let Some(Command::Serve(args)) = Args::try_parse_from(words).unwrap().command else { panic!() };
        let mut problems = Vec::new();
        let variable = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        let programs = find(&args, &variable, &mut problems);
        if problems.is_empty() { Ok(programs) } else { Err(problems) }
    }

    fn configuration(directory: &Path, options: &str) -> String {
        let path = directory.join("supervisord.conf");
        let text = format!(
            "[unix_http_server]\nfile=/run/s.sock\n[supervisorctl]\nserverurl=unix:///run/s.sock\n\
             [eventlistener:h]\ncommand=supervisor-haproxy {options} /run/a.sock,/run/b.sock web=app/web\n\
             events=PROCESS_STATE\n"
        );
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    #[test]
    fn without_an_option_no_program_is_known() {
        let programs = read(&["--supervisor-url", "unix:///run/s.sock"], &[]).unwrap();
        assert!(programs.site.is_none() && programs.commands.is_none());
    }

    #[test]
    fn the_configuration_tells_all_and_a_command_takes_the_listeners_sockets() {
        let directory = tempfile::tempdir().unwrap();
        let path = configuration(directory.path(), "--metrics-file /run/l.prom");
        let programs = read(&["--supervisor-conf", &path, "--timeout", "7"], &[]).unwrap();
        let site = programs.site.unwrap();
        assert_eq!(site.haproxies, ["/run/h.sock".parse().unwrap()], "serve has its own");
        assert_eq!(
            (site.timeout.as_secs(), site.supervisord.endpoint.to_string()),
            (7, "unix:///run/s.sock".into())
        );
        let commands = programs.commands.unwrap();
        assert_eq!(commands.options, [format!("--configuration={path}")]);
        assert_eq!(commands.variables, []);
        assert_eq!(programs.listener_metrics.as_deref(), Some(Path::new("/run/l.prom")));
    }

    #[test]
    fn a_password_is_on_no_command_line() {
        let words = ["--map", "web=app/web", "--supervisor-url", "http://me:secret@localhost:9001/RPC2"];
        let commands = read(&words, &[]).unwrap().commands.unwrap();
        let expected =
            ["--map=web=app/web", "--supervisor-url=http://localhost:9001", "--socket=/run/h.sock"];
        assert_eq!(commands.options, expected);
        let expected = [("SUPERVISOR_USERNAME", "me"), ("SUPERVISOR_PASSWORD", "secret")];
        assert_eq!(commands.variables, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let variables = [
            ("SUPERVISOR_SERVER_URL", "http://localhost:9001"),
            ("SUPERVISOR_USERNAME", "me"),
            ("SUPERVISOR_PASSWORD", "secret"),
        ];
        let programs = read(&["--map", "web=app/web"], &variables).unwrap();
        assert_eq!(programs.commands.unwrap(), commands);
    }

    #[test]
    fn what_is_wrong_is_told_with_the_rest() {
        let problems = read(&["--supervisor-conf", "/no/such.conf"], &[]).unwrap_err();
        assert!(problems[0].contains("/no/such.conf"), "{problems:?}");
        let directory = tempfile::tempdir().unwrap();
        let path = configuration(directory.path(), "");
        let problems = read(&["--supervisor-conf", &path, "--listener", "other"], &[]).unwrap_err();
        assert!(problems[0].contains("no [eventlistener:other]"), "{problems:?}");
    }
}
