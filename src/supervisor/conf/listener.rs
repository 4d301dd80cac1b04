//! `[eventlistener:NAME]`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::words::{self, WordsError};
use super::{Conf, ConfError, ConfFault, Scope, Section, Setting, host_node_name};

/// What concerns us of one section.
#[derive(Clone, PartialEq, Eq)]
pub struct EventListener {
    /// What stands behind the colon of the section's name: the group's name.
    pub name: String,
    /// What supervisord calls its (first) process; the same, unless `process_name` says otherwise.
    pub process: String,
    /// The file that begins the section.
    pub file: PathBuf,
    /// The line of its header, from 1.
    pub line: usize,
    /// The words of its command, for its first process.
    pub command: Vec<String>,
    /// What it is told of, in upper case.
    pub events: Vec<String>,
    /// How many events supervisord keeps for it; 10 unless it says otherwise.
    pub buffer_size: usize,
    /// How many processes it has.
    pub numprocs: usize,
    /// supervisord refuses to start where this is true.
    pub redirect_stderr: bool,
    /// A path, `NONE` or, by default, `AUTO`; as it is written.
    pub stdout_logfile: String,
    /// `true`, `false` or, by default, `unexpected`; `yes` and the like are made the same.
    pub autorestart: String,
    /// What supervisord adds to its own environment: `environment` of `[supervisord]`, and over it that of the
    /// section. May hold passwords.
    pub environment: BTreeMap<String, String>,
    /// Who it runs as, where that is not supervisord's user.
    pub user: Option<String>,
}

impl std::fmt::Debug for EventListener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EventListener({} at {}:{})", self.name, self.file.display(), self.line)
    }
}

impl EventListener {
    /// Whether a word of its command is this program, in whichever directory.
    #[must_use]
    pub fn runs(&self, program: &str) -> bool {
        runs(&self.command, program)
    }
}

fn runs(words: &[String], program: &str) -> bool {
    words.iter().any(|word| Path::new(word).file_name().is_some_and(|name| name == program))
}

impl Conf {
    /// All event listeners, in the order of the files. Fails at the first that cannot be understood.
    pub fn event_listeners(&self) -> Result<Vec<EventListener>, ConfError> {
        self.whole()?;
        self.all.sections(PREFIX).map(|section| self.listener(section)).collect()
    }

    /// The event listeners that run a program. Others may be as they are.
    pub fn event_listeners_running(&self, program: &str) -> Result<Vec<EventListener>, ConfError> {
        self.whole()?;
        let sections = self.all.sections(PREFIX).filter(|section| self.may_run(section, program));
        sections.map(|section| self.listener(section)).collect()
    }

    /// Where the command cannot be understood, its text decides.
    fn may_run(&self, section: &Section, program: &str) -> bool {
        match self.values(section).and_then(|values| values.process()?.0.command()) {
            Ok(words) => runs(&words, program),
            Err(_) => section.get("command").is_some_and(|setting| setting.text.contains(program)),
        }
    }

    fn listener(&self, section: &Section) -> Result<EventListener, ConfError> {
        let pool = Values { section, scope: self.scope().with_environment(&self.environment()?) };
        let values = self.values(section)?;
        let (process, own) = values.process()?;
        let mut environment = self.environment()?;
        environment.extend(own);
        let name = name(section)?;
        Ok(EventListener {
            process: process
                .text("process_name")?
                .map_or_else(|| name.clone(), |text| text.trim().to_owned()),
            name,
            file: section.place.file.to_path_buf(),
            line: section.place.line,
            command: process.command()?,
            events: pool.events()?,
            buffer_size: pool.buffer_size()?,
            numprocs: usize::try_from(values.number("numprocs", 1)?).unwrap_or_default(),
            redirect_stderr: pool.flag("redirect_stderr")?,
            stdout_logfile: process.stdout_logfile()?,
            autorestart: values.autorestart()?,
            environment,
            user: values.text("user")?,
        })
    }

    /// A section with the names that its processes have.
    fn values<'a>(&self, section: &'a Section) -> Result<Values<'a>, ConfError> {
        let group = section.name.strip_prefix(PREFIX).unwrap_or_default();
        let scope = self
            .scope()
            .with_environment(&self.environment()?)
            .with("group_name", group)
            .with("program_name", group.trim())
            .with("host_node_name", host_node_name());
        Ok(Values { section, scope })
    }

    /// `environment` of `[supervisord]`, which all children get and all that is read after it may name.
    /// supervisord expands it twice, the first time without the host's name.
    pub(super) fn environment(&self) -> Result<BTreeMap<String, String>, ConfError> {
        let section = self.all.section("supervisord");
        let Some(setting) = section.and_then(|section| section.get(ENVIRONMENT)) else {
            return Ok(BTreeMap::new());
        };
        let text = setting.expand(ENVIRONMENT, &self.scope())?;
        let scope = self.scope().with("host_node_name", host_node_name());
        pairs(setting, &scope.expand(&text, &setting.place, ENVIRONMENT)?)
    }
}

const PREFIX: &str = "eventlistener:";
const ENVIRONMENT: &str = "environment";

/// A section and what the names in its values stand for.
struct Values<'a> {
    section: &'a Section,
    scope: Scope,
}

impl Values<'_> {
    fn text(&self, key: &'static str) -> Result<Option<String>, ConfError> {
        self.section.get(key).map(|setting| setting.expand(key, &self.scope)).transpose()
    }

    /// The error of an entry, at its line.
    fn error(&self, key: &'static str, fault: ConfFault) -> ConfError {
        self.section.get(key).map_or(&self.section.place, |setting| &setting.place).error(fault)
    }

    fn number(&self, key: &'static str, default: i64) -> Result<i64, ConfError> {
        let Some(text) = self.text(key)? else { return Ok(default) };
        text.trim().parse().map_err(|_| self.error(key, ConfFault::Number { key }))
    }

    fn flag(&self, key: &'static str) -> Result<bool, ConfError> {
        let Some(text) = self.text(key)? else { return Ok(false) };
        boolean(&text).ok_or_else(|| self.error(key, ConfFault::Flag { key }))
    }

    fn buffer_size(&self) -> Result<usize, ConfError> {
        const KEY: &str = "buffer_size";
        let size = usize::try_from(self.number(KEY, 10)?).unwrap_or_default();
        if size == 0 { Err(self.error(KEY, ConfFault::BufferSize)) } else { Ok(size) }
    }

    fn events(&self) -> Result<Vec<String>, ConfError> {
        const KEY: &str = "events";
        let text = self.section.needed(KEY)?.expand(KEY, &self.scope)?;
        let events: Vec<String> = text.split(',').map(|event| event.trim().to_uppercase()).collect();
        let empty = events.iter().any(String::is_empty);
        if empty { Err(self.error(KEY, ConfFault::EmptyEvent)) } else { Ok(events) }
    }

    fn autorestart(&self) -> Result<String, ConfError> {
        const KEY: &str = "autorestart";
        let text = self.text(KEY)?.unwrap_or_else(|| UNEXPECTED.to_owned()).to_lowercase();
        match boolean(&text) {
            Some(restart) => Ok(restart.to_string()),
            None if text == UNEXPECTED => Ok(text),
            None => Err(self.error(KEY, ConfFault::Autorestart)),
        }
    }

    /// Expanded twice: supervisord does so.
    fn stdout_logfile(&self) -> Result<String, ConfError> {
        const KEY: &str = "stdout_logfile";
        let Some(setting) = self.section.get(KEY) else { return Ok("AUTO".to_owned()) };
        self.scope.expand(&setting.expand(KEY, &self.scope)?, &setting.place, KEY)
    }

    /// Words as supervisord splits them when it starts a process.
    fn command(&self) -> Result<Vec<String>, ConfError> {
        const KEY: &str = "command";
        let setting = self.section.needed(KEY)?;
        let words = words::split(&setting.expand(KEY, &self.scope)?)
            .map_err(|error| words_error(setting, KEY, error))?;
        if words.is_empty() { Err(setting.place.error(ConfFault::EmptyCommand)) } else { Ok(words) }
    }

    /// The values of the first process, and the environment that is its own.
    fn process(&self) -> Result<(Self, BTreeMap<String, String>), ConfError> {
        let scope = self
            .scope
            .clone()
            .with_number("process_num", self.number("numprocs_start", 0)?)
            .with_number("numprocs", self.number("numprocs", 1)?);
        let environment = match self.section.get(ENVIRONMENT) {
            Some(setting) => pairs(setting, &setting.expand(ENVIRONMENT, &scope)?)?,
            None => BTreeMap::new(),
        };
        let scope = scope.with_environment(&environment);
        Ok((Self { section: self.section, scope }, environment))
    }
}

const UNEXPECTED: &str = "unexpected";

/// supervisor's `process_or_group_name`: these signs would break its protocol and its web pages.
fn name(section: &Section) -> Result<String, ConfError> {
    let name = section.name.strip_prefix(PREFIX).unwrap_or_default().trim();
    let fault = || ConfFault::ListenerName { section: section.name.clone() };
    if name.contains([' ', ':', '/']) { Err(section.place.error(fault())) } else { Ok(name.to_owned()) }
}

fn boolean(text: &str) -> Option<bool> {
    match text.to_lowercase().as_str() {
        "yes" | "true" | "on" | "1" => Some(true),
        "no" | "false" | "off" | "0" => Some(false),
        _ => None,
    }
}

fn pairs(setting: &Setting, text: &str) -> Result<BTreeMap<String, String>, ConfError> {
    words::pairs(text).map_err(|error| words_error(setting, ENVIRONMENT, error))
}

fn words_error(setting: &Setting, key: &'static str, error: WordsError) -> ConfError {
    setting.place.error(ConfFault::Words { key, error })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{BUILDOUT, DEBIAN, with};
    use super::*;

    fn listener(text: &str) -> Result<EventListener, String> {
        let mut listeners = with(&[("main.conf", text)], Conf::event_listeners)?;
        assert_eq!(listeners.len(), 1);
        Ok(listeners.remove(0))
    }

    /// A whole section, with more lines.
    fn section(more: &str) -> Result<EventListener, String> {
        listener(&format!("[eventlistener:l]\ncommand = c\nevents = TICK_5\n{more}\n"))
    }

    fn command(text: &str) -> Result<Vec<String>, String> {
        listener(&format!("[eventlistener:l]\nevents = TICK_5\ncommand = {text}\n"))
            .map(|found| found.command)
    }

    fn pairs_of(environment: &BTreeMap<String, String>) -> String {
        environment.iter().map(|(key, value)| format!("{key}={value};")).collect()
    }

    #[test]
    fn buildouts_listener_is_understood() {
        let found = listener(BUILDOUT).unwrap();
        assert_eq!(
            (found.name.as_str(), found.line, found.buffer_size, found.numprocs),
            ("HaProxy", 35, 256, 1)
        );
        let program = "/srv/plone/bin/supervisor-haproxy";
        assert_eq!(found.command, [program, "tcp://localhost:8800", "instance1:plone01/plone0101"]);
        assert_eq!(found.events, ["PROCESS_STATE"]);
        assert_eq!((found.redirect_stderr, found.user.as_deref()), (false, None));
        assert_eq!((found.stdout_logfile.as_str(), found.autorestart.as_str()), ("AUTO", "unexpected"));
        assert_eq!(
            pairs_of(&found.environment),
            "SUPERVISOR_PASSWORD=secret;SUPERVISOR_SERVER_URL=http://127.0.0.1:9001;SUPERVISOR_USERNAME=admin;"
        );
        assert!(found.runs("supervisor-haproxy") && !found.runs("haproxy"));
        assert!(!format!("{found:?}").contains("secret"));
    }

    #[test]
    fn debians_listener_is_in_a_file_of_its_own() {
        let own = "; ours\n[eventlistener:haproxy]\ncommand = %(here)s/supervisor-haproxy /run/h.sock a:b/c ; why\n\
                   events = PROCESS_STATE, tick_5\n  ,PROCESS_GROUP\nautorestart = Yes\nuser = haproxy\n";
        let files = [("main.conf", DEBIAN), ("conf.d/haproxy.conf", own), ("conf.d/x.conf", "[program:x]\n")];
        let found = with(&files, Conf::event_listeners).unwrap().remove(0);
        assert!(found.file.ends_with("conf.d/haproxy.conf") && found.line == 2);
        assert!(found.command[0].ends_with("conf.d/supervisor-haproxy"), "{:?}", found.command);
        assert_eq!(found.command[1..], ["/run/h.sock", "a:b/c"]);
        assert_eq!(found.events, ["PROCESS_STATE", "TICK_5", "PROCESS_GROUP"]);
        assert_eq!((found.autorestart.as_str(), found.user.as_deref()), ("true", Some("haproxy")));
    }

    #[test]
    fn a_command_is_expanded_and_split() {
        let words = |text: &str| command(text).unwrap().join("|");
        assert_eq!(words("%(program_name)s-%(group_name)s %(numprocs)s %(process_num)02d"), "l-l|1|00");
        assert_eq!(words("a 'b c' d#e 100%%"), "a|b c|d#e|100%");
        assert_eq!(words("a\n  b\n\n  c"), "a|b|c");
        assert_eq!(words("a \\\n  b"), "a|\nb", "a backslash at a line's end makes the line end a letter");
        assert_eq!(words("%(ENV_HOME)s/x\nenvironment = HOME=\"/own\""), "/own/x");
        assert_eq!(words("%(process_num)d\nnumprocs_start = 5\nnumprocs = 2"), "5");
        assert!(!words("%(host_node_name)s").is_empty());
    }

    #[test]
    fn the_environment_of_supervisord_lies_beneath() {
        let text = "[supervisord]\nenvironment = A=\"1,2\",B='%(ENV_PORT)s',P=\"50%%%%\"\n\
                    [eventlistener:l]\ncommand = %(ENV_A)s %(ENV_B)s %(ENV_C)s\nevents = TICK_5\n\
                    environment = B=\"own %(ENV_B)s\",\n    C=%(program_name)s\n";
        let found = listener(text).unwrap();
        assert_eq!(pairs_of(&found.environment), "A=1,2;B=own 9002;C=l;P=50%;");
        assert_eq!(found.command, ["1,2", "own", "9002", "l"]);
    }

    #[test]
    fn values_are_what_supervisord_takes_them_for() {
        assert_eq!(section("buffer_size = %(ENV_PORT)s").unwrap().buffer_size, 9002);
        assert_eq!(section("numprocs = 3").unwrap().numprocs, 3);
        assert_eq!(section("").unwrap().process, "l");
        assert_eq!(section("process_name = %(program_name)s_%(process_num)02d").unwrap().process, "l_00");
        assert!(section("redirect_stderr = ON").unwrap().redirect_stderr);
        assert_eq!(section("autorestart = 0").unwrap().autorestart, "false");
        assert_eq!(section("autorestart = Unexpected").unwrap().autorestart, "unexpected");
        assert_eq!(
            section("stdout_logfile = /l/%(program_name)s_%%(process_num)02d").unwrap().stdout_logfile,
            "/l/l_00"
        );
        assert_eq!(section("stdout_logfile = NONE").unwrap().stdout_logfile, "NONE");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let refused = |more: &str| section(more).unwrap_err();
        for (more, error) in [
            (
                "buffer_size = 0",
                "`buffer_size` must be at least 1; twice the number of programs and 64 is a good size",
            ),
            ("buffer_size = many", "`buffer_size` must be a whole number"),
            ("numprocs = x", "`numprocs` must be a whole number"),
            ("redirect_stderr = maybe", "`redirect_stderr` must be `true` or `false`"),
            ("autorestart = never", "`autorestart` must be `true`, `false` or `unexpected`"),
            (
                "events = A,",
                "`events`: a name is empty; write `events = PROCESS_STATE,PROCESS_GROUP`, without a comma at the end",
            ),
            (
                "environment = A=b@c,D=e",
                "`environment`: expected `KEY=\"value\",KEY=\"value\"`; most signs in a value need the quotes",
            ),
            ("environment = A=\"b", "`environment`: a quote is not closed"),
            ("command = a 'b", "`command`: a quote is not closed"),
            ("command = a \\", "`command`: nothing follows the backslash at the end"),
            ("command = ; none", "`command` is empty"),
            (
                "command = %(x)s",
                "`command`: `%(x)s` is not known; there is `%(group_name)s`, `%(here)s`, `%(host_node_name)s`, \
                 `%(numprocs)s`, `%(process_num)s`, `%(program_name)s`, and `%(ENV_x)s` for a variable x of the \
                 environment",
            ),
            (
                "user = %(ENV_WHO)s",
                "`user`: `%(ENV_WHO)s`: WHO is not set; supervisord's environment is not this one, so set WHO here \
                 to what supervisord has",
            ),
        ] {
            assert_eq!(refused(more), format!("DIR/main.conf:4: {error}"));
        }
        assert_eq!(
            listener("[eventlistener:l]\ncommand = c").unwrap_err(),
            "DIR/main.conf:1: `[eventlistener:l]` has no `events`, which supervisord needs"
        );
        assert_eq!(
            listener("[eventlistener:l m]\ncommand = c\nevents = E").unwrap_err(),
            "DIR/main.conf:1: `[eventlistener:l m]`: the name may hold no space, colon or slash"
        );
    }

    #[test]
    fn other_peoples_listeners_may_be_as_they_are() {
        let text = "[eventlistener:other]\ncommand = /bin/%(ENV_NOTHING)s\nbuffer_size = many\n\
                    [eventlistener:empty]\n\
                    [eventlistener:quote]\ncommand = memmon 'x\n\
                    [eventlistener:mine]\ncommand = nice /opt/supervisor-haproxy /s a:b/c\nevents = E\n\
                    [eventlistener:like]\ncommand = /opt/supervisor-haproxy-old /s\n";
        let running = |text: &str| {
            let found =
                with(&[("main.conf", text)], |conf| conf.event_listeners_running("supervisor-haproxy"))?;
            Ok::<_, String>(found.into_iter().map(|listener| listener.name).collect::<Vec<_>>())
        };
        assert_eq!(running(text), Ok(vec!["mine".to_owned()]));
        for (broken, line) in
            [("command = supervisor-haproxy 'x", 2), ("events =", 3), ("environment = A", 3)]
        {
            let text = format!("[eventlistener:mine]\ncommand = supervisor-haproxy\n{broken}\n");
            let text = if line == 2 { text.replacen("command = supervisor-haproxy\n", "", 1) } else { text };
            let error = running(&text).unwrap_err();
            assert!(error.starts_with(&format!("DIR/main.conf:{line}: ")), "{error}");
        }
        assert!(running("[include]\nfiles = %(x)s").is_err(), "ours may be in a file that could not be read");
    }
}
