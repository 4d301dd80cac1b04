//! Where supervisord listens, and what supervisorctl would connect to.

use std::path::PathBuf;

use super::{Conf, ConfError, ConfFault, Scope, Section, Setting, host_node_name};
use crate::net::Endpoint;
use crate::supervisor::{Credentials, ServerUrl, ServerUrlError};

/// supervisorctl's default, where `[supervisorctl]` says nothing.
const DEFAULT_URL: &str = "http://localhost:9001";

/// Hosts that mean each interface.
const ANY: [&str; 4] = ["", "*", "0.0.0.0", "[::]"];

/// A name and password, as far as the configuration tells them.
#[derive(Default)]
struct Login {
    user: Option<String>,
    /// `None` also where supervisord knows no more than a hash.
    password: Option<String>,
}

impl Conf {
    /// What supervisorctl would connect to: `[supervisorctl]` of the main file, or else supervisord's unix
    /// socket, its port, or supervisorctl's default. `None` where none of these sections is there. A password
    /// that `[supervisorctl]` does not have is taken from the section that its URL points to.
    pub fn client(&self) -> Result<Option<ServerUrl>, ConfError> {
        let section = self.main.section("supervisorctl");
        let Some((url, server)) = self.address(section)? else { return Ok(None) };
        let login = section.map(|section| self.client_login(section)).transpose()?.unwrap_or_default();
        let credentials = match (login, url.credentials) {
            (Login { user: Some(user), password: Some(password) }, _) => Some(Credentials { user, password }),
            (_, Some(written)) => Some(written),
            (login, None) => {
                let other = server.map(|section| self.server_login(section)).transpose()?;
                login.completed(other.unwrap_or_default())
            }
        };
        Ok(Some(ServerUrl { endpoint: url.endpoint, credentials }))
    }

    /// `file` of `[unix_http_server]`; `None` without that section.
    pub fn unix_socket(&self) -> Result<Option<PathBuf>, ConfError> {
        let Some(section) = self.all.sections(UNIX).next() else { return self.whole().map(|()| None) };
        self.socket_path(section).map(Some)
    }

    /// Where to connect, and the section of the server there.
    fn address(&self, section: Option<&Section>) -> Result<Option<(ServerUrl, Option<&Section>)>, ConfError> {
        if let Some(url) = section.map(|section| self.client_url(section)).transpose()?.flatten() {
            let server = self.server_at(&url.endpoint);
            return Ok(Some((url, server)));
        }
        match self.server()? {
            Some((endpoint, server)) => Ok(Some((ServerUrl { endpoint, credentials: None }, Some(server)))),
            None => Ok(section.and(DEFAULT_URL.parse().ok()).map(|url| (url, None))),
        }
    }

    fn client_url(&self, section: &Section) -> Result<Option<ServerUrl>, ConfError> {
        const KEY: &str = "serverurl";
        let Some(setting) = section.get(KEY).filter(|setting| !setting.text.is_empty()) else {
            return Ok(None);
        };
        let written = setting.expand(KEY, &self.scope())?;
        let url = match written.strip_prefix("unix://") {
            Some(path) => format!("unix://{}", self.normalized(path, &setting.place, KEY)?.display()),
            None => written,
        };
        let error = |error| setting.place.error(ConfFault::Url { key: KEY, error });
        url.parse().map(Some).map_err(error)
    }

    fn client_login(&self, section: &Section) -> Result<Login, ConfError> {
        let text = |key| {
            let text = section.get(key).map(|setting| setting.expand(key, &self.scope())).transpose()?;
            Ok(text.filter(|text| !text.is_empty()))
        };
        Ok(Login { user: text("username")?, password: text("password")? })
    }

    /// The first unix socket, or else the first port, as supervisord prefers them for its children.
    fn server(&self) -> Result<Option<(Endpoint, &Section)>, ConfError> {
        let section = self.all.sections(UNIX).chain(self.all.sections(INET)).next();
        match section {
            Some(section) => self.endpoint(section).map(|endpoint| Some((endpoint, section))),
            None => self.whole().map(|()| None),
        }
    }

    /// The section of the server that listens there. One that cannot be understood is none.
    fn server_at(&self, endpoint: &Endpoint) -> Option<&Section> {
        let mut sections = self.all.sections(UNIX).chain(self.all.sections(INET));
        let wanted = local(endpoint);
        sections.find(|section| self.endpoint(section).is_ok_and(|found| local(&found) == wanted))
    }

    fn endpoint(&self, section: &Section) -> Result<Endpoint, ConfError> {
        if section.name.starts_with(UNIX) {
            let path = self.socket_path(section)?;
            let place = &section.needed("file")?.place;
            let error = |error| ConfFault::Url { key: "file", error: ServerUrlError::Endpoint(error) };
            format!("unix://{}", path.display()).parse().map_err(|fault| place.error(error(fault)))
        } else {
            let setting = section.needed("port")?;
            let port = self.server_text(setting, "port")?;
            inet(&port).ok_or_else(|| setting.place.error(ConfFault::Port))
        }
    }

    fn socket_path(&self, section: &Section) -> Result<PathBuf, ConfError> {
        let setting = section.needed("file")?;
        let path = self.server_text(setting, "file")?;
        self.normalized(path.trim(), &setting.place, "file")
    }

    fn server_login(&self, section: &Section) -> Result<Login, ConfError> {
        let text = |key| section.get(key).map(|setting| self.server_text(setting, key)).transpose();
        match (text("username")?, text("password")?) {
            // supervisord asks nobody for a password then.
            (Some(user), Some(_)) if user.is_empty() => Ok(Login::default()),
            (Some(user), Some(password)) if password.starts_with("{SHA}") => {
                Ok(Login { user: Some(user), password: None })
            }
            (None, None) => Ok(Login::default()),
            (user @ Some(_), password @ Some(_)) => Ok(Login { user, password }),
            _ => Err(section.place.error(ConfFault::Incomplete { section: section.name.clone() })),
        }
    }

    /// `environment` of `[supervisord]` counts for servers, so it is read where a name is to be expanded.
    fn server_text(&self, setting: &Setting, key: &'static str) -> Result<String, ConfError> {
        let scope = if setting.text.contains('%') { self.server_scope()? } else { Scope::default() };
        setting.expand(key, &scope)
    }

    fn server_scope(&self) -> Result<Scope, ConfError> {
        Ok(self.scope().with_environment(&self.environment()?))
    }
}

/// Sections may have a name of their own behind these and a colon.
const UNIX: &str = "unix_http_server";
const INET: &str = "inet_http_server";

impl Login {
    /// Fills in what is missing, unless it is somebody else's.
    fn completed(self, other: Self) -> Option<Credentials> {
        let same = self.user.is_none() || self.user == other.user;
        let user = self.user.or(other.user)?;
        let password = self.password.or(other.password.filter(|_| same))?;
        Some(Credentials { user, password })
    }
}

/// `9001`, `:9001`, `*:9001` or `HOST:9001`; where it is any address, from here it is localhost.
fn inet(text: &str) -> Option<Endpoint> {
    let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
    let host = host.trim().to_lowercase();
    let host = if ANY.contains(&host.as_str()) { "localhost" } else { &host };
    Endpoint::tcp(&format!("{host}:{}", port.trim())).ok()
}

/// The same for each name that this machine has for itself, and that a socket has.
fn local(endpoint: &Endpoint) -> Endpoint {
    match endpoint {
        Endpoint::Unix(path) => Endpoint::Unix(path.canonicalize().unwrap_or_else(|_| path.clone())),
        Endpoint::Tcp { host, port } if is_own(host) => {
            Endpoint::Tcp { host: "localhost".into(), port: *port }
        }
        Endpoint::Tcp { host, port } => Endpoint::Tcp { host: host.to_lowercase(), port: *port },
    }
}

fn is_own(host: &str) -> bool {
    let own = host_node_name();
    host.starts_with("127.") || ["localhost", "::1", &own].iter().any(|name| host.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{BUILDOUT, DEBIAN, with};
    use super::*;

    /// The endpoint, and who we are there.
    fn client(text: &str) -> Result<Option<String>, String> {
        let login = |login: Credentials| format!(" {}:{}", login.user, login.password);
        let shown =
            |url: ServerUrl| format!("{}{}", url.endpoint, url.credentials.map(login).unwrap_or_default());
        with(&[("main.conf", text)], Conf::client).map(|url| url.map(shown))
    }

    fn connects(text: &str) -> String {
        client(text).unwrap().unwrap()
    }

    #[test]
    fn supervisorctl_of_the_main_file_says_where() {
        assert_eq!(connects(DEBIAN), "unix:///var/run/supervisor.sock");
        assert_eq!(connects(BUILDOUT), "tcp://127.0.0.1:9001 admin:secret");
        for (url, endpoint) in [
            ("unix:///a/./b/../s", "unix:///a/s"),
            ("unix://~/s", "unix:///home/zope/s"),
            ("unix://%(ENV_HOME)s/s ; comment", "unix:///home/zope/s"),
            ("http://localhost:%(ENV_PORT)s", "tcp://localhost:9002"),
            ("http://localhost", "tcp://localhost:80"),
            ("http://u:p@h:1", "tcp://h:1 u:p"),
        ] {
            assert_eq!(connects(&format!("[supervisorctl]\nserverurl = {url}\n")), endpoint);
        }
        let files = [
            ("main.conf", "[unix_http_server]\nfile = %(here)s/s\n[include]\nfiles = *.inc\n"),
            ("x.inc", "[supervisorctl]\nserverurl = http://h:1\n[broken"),
        ];
        let url = with(&files, Conf::client).unwrap().unwrap();
        assert!(matches!(url.endpoint, Endpoint::Unix(path) if path.ends_with("s")));
    }

    #[test]
    fn without_supervisorctl_the_servers_say_where() {
        let unix = "[unix_http_server]\nfile = /run/s\nusername = u\npassword = 1%%\n";
        let inet = "[inet_http_server]\nport = *:9001\n";
        assert_eq!(client("[supervisord]\n"), Ok(None));
        assert_eq!(connects("[supervisorctl]\n"), "tcp://localhost:9001");
        assert_eq!(connects("[supervisorctl]\nusername = u\npassword = p"), "tcp://localhost:9001 u:p");
        assert_eq!(connects(&format!("{inet}{unix}")), "unix:///run/s u:1%");
        assert_eq!(
            connects(&format!("{unix}[supervisorctl]\nserverurl =\nprompt = x")),
            "unix:///run/s u:1%"
        );
        for (port, endpoint) in [
            ("9001", "localhost:9001"),
            (":9001", "localhost:9001"),
            ("0.0.0.0:9001", "localhost:9001"),
            ("127.0.0.1:%(ENV_PORT)s", "127.0.0.1:9002"),
            ("Example.org:9001", "example.org:9001"),
        ] {
            assert_eq!(
                connects(&format!("[inet_http_server]\nport = {port}\n")),
                format!("tcp://{endpoint}")
            );
        }
        let named =
            "[supervisord]\nenvironment = RUN=\"/run/x\"\n[unix_http_server:x]\nfile = %(ENV_RUN)s/s\n";
        assert_eq!(connects(named), "unix:///run/x/s");
    }

    #[test]
    fn a_password_that_supervisorctl_does_not_have_is_the_servers() {
        let server = "[unix_http_server]\nfile = /run/s\nusername = u\npassword = %(ENV_SECRET)s\n\
                      [inet_http_server]\nport = 9001\nusername = i\npassword = {SHA}8cb2237d0679ca88\n";
        for (ctl, login) in [
            ("unix:///run/s", "unix:///run/s u:s3cret"),
            ("unix:///run/./s\nusername = u", "unix:///run/s u:s3cret"),
            ("unix:///run/s\nusername =\npassword =", "unix:///run/s u:s3cret"),
            ("unix:///run/s\nusername = other", "unix:///run/s"),
            ("unix:///run/s\npassword = own", "unix:///run/s u:own"),
            ("unix:///run/s\nusername = a\npassword = b", "unix:///run/s a:b"),
            ("unix:///run/other", "unix:///run/other"),
            ("http://127.0.0.1:9001", "tcp://127.0.0.1:9001"),
            ("http://127.0.0.1:9001\npassword = plain", "tcp://127.0.0.1:9001 i:plain"),
            ("http://elsewhere:9001\npassword = plain", "tcp://elsewhere:9001"),
        ] {
            assert_eq!(connects(&format!("{server}[supervisorctl]\nserverurl = {ctl}\n")), login, "{ctl}");
        }
        let open = "[unix_http_server]\nfile = /run/s\nusername =\npassword =\n";
        assert_eq!(connects(open), "unix:///run/s");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let refused = |text: &str| client(text).unwrap_err();
        assert_eq!(
            refused("[supervisorctl]\nserverurl = https://h:1"),
            "DIR/main.conf:2: `serverurl`: expected `unix:///PATH` or `http://HOST:PORT`"
        );
        assert_eq!(
            refused("[supervisorctl]\nserverurl = http://h:%(ENV_NOPORT)s"),
            "DIR/main.conf:2: `serverurl`: `%(ENV_NOPORT)s`: NOPORT is not set; supervisord's environment is not \
             this one, so set NOPORT here to what supervisord has"
        );
        assert_eq!(
            refused("[supervisorctl]\nserverurl = unix://~bob/s"),
            "DIR/main.conf:2: `serverurl`: a `~` stands for HOME, which must be set, and not for any other user's; \
             write the path in full"
        );
        assert_eq!(
            refused("[inet_http_server]\nport = x"),
            "DIR/main.conf:2: `port` must be `9001`, `*:9001` or `HOST:9001`, with a number from 1 to 65535"
        );
        assert_eq!(
            refused("\n[unix_http_server]\n"),
            "DIR/main.conf:2: `[unix_http_server]` has no `file`, which supervisord needs"
        );
        assert_eq!(
            refused("[inet_http_server]\nport = 1\npassword = p"),
            "DIR/main.conf:1: `[inet_http_server]` has only one of `username` and `password`; supervisord needs \
             both or neither"
        );
        assert_eq!(
            refused("[inet_http_server]\nport = 1\nusername = u\npassword = s3cr%et"),
            "DIR/main.conf:4: `password`: `%e` cannot be expanded; a percent sign of its own is written `%%`"
        );
        let long = format!("[unix_http_server]\nfile = /{}", "x".repeat(107));
        assert_eq!(
            refused(&long),
            "DIR/main.conf:2: `file`: the path is longer than the 107 bytes that a unix socket can have"
        );
        assert!(refused("[include]\nfiles = %(x)s").contains("`files`"), "the server may be there");
    }

    #[test]
    fn the_socket_is_that_of_the_server() {
        let socket = |text: &str| with(&[("main.conf", text)], Conf::unix_socket);
        assert_eq!(socket(DEBIAN), Ok(Some("/var/run/supervisor.sock".into())));
        assert_eq!(socket(BUILDOUT), Ok(None));
        assert_eq!(socket("[unix_http_server]\nfile = ~/../s"), Ok(Some("/home/s".into())));
        let relative = std::env::current_dir().unwrap().join("s");
        assert_eq!(socket("[unix_http_server]\nfile = ./s"), Ok(Some(relative)));
        assert!(socket("[unix_http_server]\nfile = %(program_name)s").is_err());
    }
}
