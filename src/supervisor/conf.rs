//! supervisord's configuration, as supervisor 4.2.5 reads it (its `options.py`): where it is, its main and its
//! included files, and of their entries those that concern us. The text's syntax is [`crate::ini`]'s.
//!
//! Values are expanded when they are asked for, so that what is wrong in other people's sections stops nobody.
//! An included file that cannot be read stops nobody either who gets his answer from the main file, as
//! supervisorctl does.

mod error;
mod format;
mod listener;
mod server;
mod table;
mod words;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

pub use error::{ConfError, ConfFault};
pub use format::FormatError;
pub use listener::EventListener;
pub use words::WordsError;

use crate::ini::{Document, Style};
use table::{Place, Scope, Section, Setting, Table};

/// A configuration, main file and included ones. Holds passwords, and is therefore not shown.
#[derive(Clone)]
pub struct Conf {
    files: Vec<PathBuf>,
    /// What supervisorctl sees: it knows no `[include]`.
    main: Table,
    /// What supervisord sees.
    all: Table,
    /// Those variables of the environment that the files mention, where they are set.
    variables: BTreeMap<String, String>,
    /// Why not all included files were read.
    fault: Option<ConfError>,
}

impl fmt::Debug for Conf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Conf").field(&self.files).finish()
    }
}

/// supervisor's `UnhosedConfigParser`.
const STYLE: Style = Style { inline_comments: &[';', '#'], strict: false };

/// What a look-up of variables is given as: `std::env::var` behind `ok()`, or a table of a test.
type Variable<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Conf {
    /// Where supervisorctl would look, in its order, were it in the place of `executable`; then where buildout's
    /// `collective.recipe.supervisor` puts the file. No look is taken.
    #[must_use]
    pub fn places(executable: Option<&Path>) -> Vec<PathBuf> {
        let home = executable.map(|path| dirname(dirname(path)));
        let beside = |tail: &'static str| home.map(|home| home.join(tail));
        let own = |path: &'static str| Some(PathBuf::from(path));
        let mut places = Vec::new();
        for place in [
            beside("etc/supervisord.conf"),
            beside("supervisord.conf"),
            own("supervisord.conf"),
            own("etc/supervisord.conf"),
            own("/etc/supervisord.conf"),
            own("/etc/supervisor/supervisord.conf"),
            beside("parts/supervisor/supervisord.conf"),
            own("parts/supervisor/supervisord.conf"),
        ] {
            places.extend(place.filter(|place| !places.contains(place)));
        }
        places
    }

    /// Reads the main file and what it includes. `variable` looks up what the files mention as `%(ENV_x)s`, and
    /// HOME for a `~`. Fails for the main file only; see [`Self::fault`] for the others.
    pub fn read(path: &Path, variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfError> {
        let mut conf = Self {
            files: Vec::new(),
            main: Table::default(),
            all: Table::default(),
            variables: variable("HOME").map(|home| ("HOME".to_owned(), home)).into_iter().collect(),
            fault: None,
        };
        let text = fs::read(path).map_err(|error| ConfError::io(path, &error))?;
        conf.add(path, &text, variable)?;
        conf.main = conf.all.clone();
        conf.main.inherit();
        conf.fault = conf.include(variable).err();
        conf.all.inherit();
        Ok(conf)
    }

    /// The main file, as it was named.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.files.first().map_or(Path::new(""), PathBuf::as_path)
    }

    /// The main file and the included ones that were read, each once, in supervisord's order.
    #[must_use]
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Why some included files were not read; supervisord would not start either, were it in our place. What
    /// may depend on them is refused with this.
    #[must_use]
    pub fn fault(&self) -> Option<&ConfError> {
        self.fault.as_ref()
    }

    fn whole(&self) -> Result<(), ConfError> {
        self.fault.clone().map_or(Ok(()), Err)
    }

    fn add(&mut self, path: &Path, bytes: &[u8], variable: Variable) -> Result<(), ConfError> {
        let error = |line, fault| ConfError { path: path.to_owned(), line: Some(line), fault };
        let text = str::from_utf8(bytes)
            .map_err(|utf8| error(line_at(bytes, utf8.valid_up_to()), ConfFault::Encoding))?;
        let document = Document::parse(text, STYLE).map_err(|ini| error(ini.line, ini.fault.into()))?;
        let set = |name: &str| Some((name.to_owned(), variable(name)?));
        self.variables.extend(mentioned(text).filter_map(set));
        self.all.merge(&document, path);
        if !self.files.iter().any(|file| file == path) {
            self.files.push(path.to_owned());
        }
        Ok(())
    }

    fn include(&mut self, variable: Variable) -> Result<(), ConfError> {
        let Some(section) = self.main.section("include") else { return Ok(()) };
        let names = self.scope().with("host_node_name", host_node_name());
        let patterns = section.needed("files")?.expand("files", &names)?;
        for pattern in patterns.split_whitespace() {
            for path in matches(&directory(self.path()).join(pattern))? {
                self.add_included(&path, variable)?;
            }
        }
        Ok(())
    }

    /// supervisord passes over what it cannot open. Where that is for want of permission, it may have more of it
    /// than we have, and read the file.
    fn add_included(&mut self, path: &Path, variable: Variable) -> Result<(), ConfError> {
        match fs::read(path) {
            Ok(bytes) => self.add(path, &bytes, variable),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::IsADirectory) => {
                Ok(())
            }
            Err(error) => Err(ConfError::io(path, &error)),
        }
    }

    /// The names that stand for something everywhere, but `here`.
    fn scope(&self) -> Scope {
        Scope::default().with_environment(&self.variables)
    }

    /// An absolute path without `.` and `..`, as supervisor makes it. `~` is HOME.
    fn normalized(&self, path: &str, at: &Place, key: &'static str) -> Result<PathBuf, ConfError> {
        let Some(rest) = path.strip_prefix('~') else { return Ok(absolute(Path::new(path))) };
        match self.variables.get("HOME") {
            Some(home) if rest.is_empty() || rest.starts_with('/') => {
                Ok(absolute(Path::new(&format!("{home}{rest}"))))
            }
            _ => Err(at.error(ConfFault::Tilde { key })),
        }
    }
}

/// The variables that a text mentions.
fn mentioned(text: &str) -> impl Iterator<Item = &str> {
    text.split("%(ENV_").skip(1).filter_map(|rest| rest.split_once(')')).map(|(name, _)| name)
}

/// The files that a pattern means, as Python's `glob` sorts and finds them: no dot files, and `**` is no more
/// than `*`.
fn matches(pattern: &Path) -> Result<Vec<PathBuf>, ConfError> {
    let options = glob::MatchOptions {
        case_sensitive: true,
        require_literal_separator: true,
        require_literal_leading_dot: true,
    };
    let mut text = pattern.to_string_lossy().into_owned();
    while text.contains("**") {
        text = text.replace("**", "*");
    }
    let found = glob::glob_with(&text, options)
        // A bracket that does not close is one.
        .or_else(|_| glob::glob_with(&text.replace('[', "[[]"), options));
    let Ok(found) = found else { return Ok(Vec::new()) };
    let file = |result: glob::GlobResult| result.map_err(|error| ConfError::io(error.path(), error.error()));
    let mut files: Vec<PathBuf> = found.map(file).collect::<Result<_, _>>()?;
    files.sort_by(|one, other| one.as_os_str().cmp(other.as_os_str()));
    Ok(files)
}

fn line_at(bytes: &[u8], end: usize) -> usize {
    bytes.iter().take(end).filter(|byte| **byte == b'\n').count() + 1
}

/// Where relative paths in a file begin.
fn directory(file: &Path) -> PathBuf {
    dirname(&absolute(file)).to_owned()
}

/// Python's: nothing is above `/`, and a bare name lies in the empty path.
fn dirname(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

/// Python's `abspath`: symbolic links are left alone, so `a/../b` is `b`.
fn absolute(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut plain = PathBuf::new();
    for component in path.components() {
        if component == Component::ParentDir {
            plain.pop();
        } else {
            plain.push(component);
        }
    }
    plain
}

/// Python's `platform.node()`.
fn host_node_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::*;

    /// A directory with these files, the first of which is the main file.
    pub(super) fn directory_with(files: &[(&str, &str)]) -> TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text.replace("DIR", &directory.path().display().to_string())).unwrap();
        }
        directory
    }

    fn variable(name: &str) -> Option<String> {
        let value = match name {
            "HOME" => "/home/zope",
            "PORT" => "9002",
            "SECRET" => "s3cret",
            _ => return None,
        };
        Some(value.to_owned())
    }

    /// `DIR` stands for the directory, in the files and in what comes back.
    pub(super) fn with<T>(
        files: &[(&str, &str)],
        look: impl Fn(&Conf) -> Result<T, ConfError>,
    ) -> Result<T, String> {
        let directory = directory_with(files);
        let said =
            |error: ConfError| error.to_string().replace(&directory.path().display().to_string(), "DIR");
        let conf = Conf::read(&directory.path().join(files[0].0), &variable).map_err(said)?;
        look(&conf).map_err(said)
    }

    pub(super) const DEBIAN: &str = "\
; supervisor config file

[unix_http_server]
file=/var/run/supervisor.sock   ; (the path to the socket file)
chmod=0700                       ; sockef file mode (default 0700)

[supervisord]
logfile=/var/log/supervisor/supervisord.log ; (main log file;default $CWD/supervisord.log)
pidfile=/var/run/supervisord.pid ; (supervisord pidfile;default supervisord.pid)
childlogdir=/var/log/supervisor            ; ('AUTO' child log dir, default $TEMP)

; the below section must remain in the config file for RPC
; (supervisorctl/web interface) to work, additional interfaces may be
; added by defining them in separate rpcinterface: sections
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface

[supervisorctl]
serverurl=unix:///var/run/supervisor.sock ; use a unix:// URL  for a unix socket

; The [include] section can just contain the \"files\" setting.  This
; setting can list multiple files (separated by whitespace or
; newlines).  It can also contain wildcards.  The filenames are
; interpreted as relative to this file.  Included files *cannot*
; include files themselves.

[include]
files = DIR/conf.d/*.conf
";

    /// What collective.recipe.supervisor 2.0.0 makes of a buildout.
    pub(super) const BUILDOUT: &str = "\
[supervisord]
childlogdir = /srv/plone/var/log
logfile = /srv/plone/var/log/supervisord.log
logfile_maxbytes = 50MB
logfile_backups = 10
loglevel = info
pidfile = /srv/plone/var/supervisord.pid
umask = 022
nodaemon = false
nocleanup = false



[inet_http_server]
port = 127.0.0.1:9001
username = admin
password = secret

[supervisorctl]
serverurl = http://127.0.0.1:9001
username = admin
password = secret

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface

[program:instance1]
command = /srv/plone/bin/instance1 console
process_name = instance1
directory = /srv/plone
priority = 10
redirect_stderr = true


[eventlistener:HaProxy]
command = /srv/plone/bin/supervisor-haproxy tcp://localhost:8800 instance1:plone01/plone0101
events = PROCESS_STATE
process_name=HaProxy
environment=SUPERVISOR_USERNAME='admin',SUPERVISOR_PASSWORD='secret',SUPERVISOR_SERVER_URL='http://127.0.0.1:9001'
buffer_size = 256
priority = -7
";

    #[test]
    fn places_are_those_of_supervisorctl_and_of_buildout() {
        let shown = |executable: Option<&str>| {
            let places = Conf::places(executable.map(Path::new));
            places.iter().map(|place| place.display().to_string()).collect::<Vec<_>>().join(" ")
        };
        let common =
            "supervisord.conf etc/supervisord.conf /etc/supervisord.conf /etc/supervisor/supervisord.conf";
        assert_eq!(shown(None), format!("{common} parts/supervisor/supervisord.conf"));
        assert_eq!(
            shown(Some("/srv/plone/bin/supervisor-haproxy")),
            format!(
                "/srv/plone/etc/supervisord.conf /srv/plone/supervisord.conf {common} \
                 /srv/plone/parts/supervisor/supervisord.conf parts/supervisor/supervisord.conf"
            )
        );
        assert!(shown(Some("bin/x")).starts_with("etc/supervisord.conf supervisord.conf /etc"));
        assert!(shown(Some("x")).starts_with("etc/supervisord.conf supervisord.conf /etc"));
    }

    fn files(conf: &Conf, directory: &TempDir) -> Vec<String> {
        let short = |path: &PathBuf| path.strip_prefix(directory.path()).unwrap().display().to_string();
        conf.files().iter().map(short).collect()
    }

    #[test]
    fn included_files_are_sorted_and_dot_files_are_not_included() {
        for (patterns, expected) in [
            ("DIR/conf.d/*.conf", "a.conf b.conf"),
            ("conf.d/*.conf", "a.conf b.conf"),
            ("%(here)s/conf.d/*.conf", "a.conf b.conf"),
            ("conf.d/b.conf conf.d/*.conf none", "b.conf a.conf"),
            ("\n  conf.d/b.conf\n  ; comment\n  conf.d/a.conf", "b.conf a.conf"),
            ("conf.d/*", "[c.ini a.conf b.conf"),
            ("conf.d/**.conf", "a.conf b.conf"),
            ("conf.d/[c.ini", "[c.ini"),
            ("conf.d/[!a].conf", "b.conf"),
            ("conf.d/**/d.conf", "sub/d.conf"),
        ] {
            let main = format!("[include]\nfiles = {patterns}\n");
            let directory = directory_with(&[
                ("main.conf", &main),
                ("conf.d/b.conf", "[include]\nfiles = ../other.conf\n"),
                ("conf.d/a.conf", ""),
                ("conf.d/.hidden.conf", ""),
                ("conf.d/[c.ini", ""),
                ("conf.d/sub/d.conf", ""),
                ("other.conf", ""),
            ]);
            let conf = Conf::read(&directory.path().join("main.conf"), &variable).unwrap();
            let mut expected: Vec<String> =
                expected.split(' ').map(|name| format!("conf.d/{name}")).collect();
            expected.insert(0, "main.conf".into());
            assert_eq!((files(&conf, &directory), conf.fault()), (expected, None), "{patterns}");
        }
    }

    #[test]
    fn the_later_file_wins_and_here_is_where_a_file_is() {
        let directory = directory_with(&[
            (
                "main.conf",
                "[a]\nk = main %(here)s\nl = main %(here)s\n[include]\nfiles = d/x.conf d/y.conf\n",
            ),
            ("d/x.conf", "[b]\n[a]\nl = x %(here)s\n[DEFAULT]\nm = inherited\n"),
            ("d/y.conf", "[b]\nk = y\n"),
        ]);
        let conf = Conf::read(&directory.path().join("d/../main.conf"), &variable).unwrap();
        let section = conf.all.section("a").unwrap();
        let value = |key: &'static str| section.get(key).unwrap().expand(key, &conf.scope()).unwrap();
        let here = directory.path().display();
        assert_eq!(value("k"), format!("main {here}"));
        assert_eq!(value("l"), format!("x {here}/d"));
        assert_eq!(value("m"), "inherited");
        assert_eq!(section.place.line, 1);
        assert!(conf.all.section("b").unwrap().get("k").is_some());
        assert!(conf.main.section("a").unwrap().get("m").is_none());
        assert!(conf.path().ends_with("d/../main.conf"));
    }

    #[test]
    fn files_that_cannot_be_read_are_named() {
        let read = |text: &str| with(&[("main.conf", text)], |_| Ok(())).unwrap_err();
        assert!(read("[s]\n\nk").starts_with("DIR/main.conf:3: expected `key = value`; a line that goes on"));
        let directory = directory_with(&[("main.conf", "")]);
        let said = |name: &str| Conf::read(&directory.path().join(name), &variable).unwrap_err().to_string();
        assert!(
            said("none").ends_with(
                "/none: no such file; name the one that supervisord is started with, as in `supervisord -c FILE`"
            ),
            "{}",
            said("none")
        );
        assert!(said("").contains("directory"), "{}", said(""));
        fs::write(directory.path().join("latin1"), b"[s]\nk = 1\n; caf\xe9\n").unwrap();
        assert!(
            said("latin1")
                .ends_with("/latin1:3: not UTF-8, as which supervisor reads it; save the file as UTF-8")
        );
        let denied = ConfError::io(Path::new("/etc/x.conf"), &io::ErrorKind::PermissionDenied.into());
        assert_eq!(
            denied.to_string(),
            "/etc/x.conf: permission denied; run this as root, or as the user that supervisord runs as"
        );
    }

    #[test]
    fn a_fault_of_an_included_file_is_kept_for_those_whom_it_concerns() {
        let fault = |main: &str| {
            let files = [("main.conf", main), ("bad.conf", "\u{feff}[s]")];
            with(&files, |conf| conf.fault().cloned().map_or(Ok(()), Err)).unwrap_err()
        };
        assert_eq!(
            fault("[include]"),
            "DIR/main.conf:1: `[include]` has no `files`, which supervisord needs"
        );
        assert_eq!(
            fault("[include]\nfiles = *.conf"),
            "DIR/bad.conf:1: the file begins with a byte order mark, which Python does not skip; save it without"
        );
        assert_eq!(
            fault("[s]\n[include]\nfiles = %(ENV_CONF)s"),
            "DIR/main.conf:3: `files`: `%(ENV_CONF)s`: CONF is not set; supervisord's environment is not this one, \
             so set CONF here to what supervisord has"
        );
        assert_eq!(
            fault("[include]\nfiles = %(there)s"),
            "DIR/main.conf:2: `files`: `%(there)s` is not known; there is `%(here)s`, `%(host_node_name)s`, and \
             `%(ENV_x)s` for a variable x of the environment"
        );
        assert_eq!(
            fault("[include]\nfiles = 100%"),
            "DIR/main.conf:2: `files`: a `%` has no end; write `%(name)s` for a name, `%%` for a percent sign"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_file_panics(values in prop::collection::vec("[%()hersENV_A1~/:.,='\"\\\\ {}#-]{0,20}", 8)) {
            let keys = ["file", "port", "password", "serverurl", "command", "environment", "events", "files"];
            let heads = ["unix_http_server", "inet_http_server", "supervisorctl", "eventlistener:e", "include"];
            let entries: String = keys.iter().zip(&values).map(|(key, value)| format!("{key} = {value}\n")).collect();
            let text: String = heads.iter().map(|head| format!("[{head}]\nusername = u\n{entries}")).collect();
            let _ = with(&[("main.conf", &text)], |conf| conf.client().map(|_| ()).and(conf.unix_socket()));
            let _ = with(&[("main.conf", &text)], Conf::event_listeners);
        }
    }
}
