//! Whether HAProxy would start with its configuration: `haproxy -c`.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use thiserror::Error;

use super::child::{ChildFault, Ended, run};

/// HAProxy's program and what it is started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// The program, by name or path.
    pub program: PathBuf,
    /// Files, or directories whose files `*.cfg` are read, as `-f` takes them.
    pub files: Vec<PathBuf>,
}

/// Why HAProxy has not said whether it takes its configuration.
#[derive(Debug, Error)]
pub enum CheckFault {
    /// It was not run to its end.
    #[error("`{} -c` {fault}", program.display())]
    Child {
        /// The program.
        program: PathBuf,
        /// Why not.
        #[source]
        fault: ChildFault,
    },
    /// A signal has ended it, so that its words are not all of them.
    #[error("`{} -c` was ended by a signal ({status})", program.display())]
    Signal {
        /// The program.
        program: PathBuf,
        /// As in `signal: 9 (SIGKILL)`.
        status: String,
    },
}

/// What HAProxy says of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Whether it would start: its exit code decides, its words are for people.
    pub is_valid: bool,
    /// All that it said, or where that is nothing, how it ended.
    pub said: String,
}

impl Configuration {
    /// Has HAProxy check it, for so long, or until `stop` is set. Blocks meanwhile.
    pub fn check(&self, within: Duration, stop: &AtomicBool) -> Result<Checked, CheckFault> {
        let program = || self.program.clone();
        let mut command = Command::new(&self.program);
        command.arg("-c");
        for file in &self.files {
            command.arg("-f").arg(file);
        }
        let ended =
            run(command, within, stop).map_err(|fault| CheckFault::Child { program: program(), fault })?;
        match ended.status.code() {
            Some(_) => Ok(Checked::of(&self.program.display().to_string(), ended)),
            None => Err(CheckFault::Signal { program: program(), status: ended.status.to_string() }),
        }
    }
}

impl Checked {
    fn of(program: &str, ended: Ended) -> Self {
        let Ended { status, said } = ended;
        let said = if said.is_empty() { format!("`{program} -c` says nothing ({status})") } else { said };
        Self { is_valid: status.success(), said }
    }

    /// What keeps HAProxy from starting, a line for each: `config : parsing [FILE:LINE] : what`.
    #[must_use]
    pub fn alerts(&self) -> Vec<&str> {
        self.of_level("[ALERT]")
    }

    /// What does not, and is odd.
    #[must_use]
    pub fn warnings(&self) -> Vec<&str> {
        self.of_level("[WARNING]")
    }

    /// The alerts in one line; where there are none, all that was said.
    #[must_use]
    pub fn why(&self) -> String {
        let alerts = self.alerts();
        let lines = if alerts.is_empty() { self.said.lines().collect() } else { alerts };
        lines.join("; ")
    }

    /// HAProxy's lines are `[LEVEL]    (PID) : what`.
    fn of_level(&self, level: &str) -> Vec<&str> {
        let lines = self.said.lines().filter_map(|line| line.split_once(level));
        lines.map(|(_, line)| line.split_once(" : ").map_or(line, |(_, what)| what).trim()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::played::write_script;
    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    fn check(program: &str) -> Result<Checked, CheckFault> {
        let configuration = Configuration { program: program.into(), files: vec!["/a".into(), "/b".into()] };
        configuration.check(LONG, &AtomicBool::new(false))
    }

    /// What a program with this text makes of it.
    fn played(script: &str) -> Result<Checked, CheckFault> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("haproxy");
        write_script(&path, script);
        check(path.to_str().unwrap())
    }

    #[test]
    fn haproxy_gets_all_files_and_its_exit_code_decides() {
        let checked = played("echo \"$@\"").unwrap();
        assert_eq!(checked, Checked { is_valid: true, said: "-c -f /a -f /b".into() });
        assert!(!played("echo Configuration file is valid; exit 1").unwrap().is_valid);
        let checked = played("exit 1").unwrap();
        assert!(!checked.is_valid && checked.why().ends_with("haproxy -c` says nothing (exit status: 1)"));
    }

    #[test]
    fn of_what_haproxy_says_the_alerts_are_told() {
        let said = "[NOTICE]   (7) : haproxy version is 2.6.12\n[ALERT]    (7) : config : [/h.cfg:13] : 'server' \
                    expects <name>\n[WARNING]  (7) : odd\n[ALERT]    (7) : config : Fatal errors found";
        let checked = Checked { is_valid: false, said: said.into() };
        let alerts = ["config : [/h.cfg:13] : 'server' expects <name>", "config : Fatal errors found"];
        assert_eq!((checked.alerts(), checked.warnings()), (alerts.to_vec(), vec!["odd"]));
        assert_eq!(checked.why(), alerts.join("; "));
        let said = "cannot read\nat all".into();
        assert_eq!(Checked { is_valid: false, said }.why(), "cannot read; at all");
    }

    #[test]
    fn a_program_that_is_not_there_or_is_killed_has_said_nothing() {
        let fault = check("/no/haproxy").unwrap_err().to_string();
        assert!(fault.starts_with("`/no/haproxy -c` cannot be run: No such file"), "{fault}");
        let fault = played("kill -9 $$").unwrap_err().to_string();
        assert!(fault.ends_with("haproxy -c` was ended by a signal (signal: 9 (SIGKILL))"), "{fault}");
    }
}
