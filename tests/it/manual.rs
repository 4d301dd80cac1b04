//! The man pages in `man/` and the completions in `completions/` are those of the declared arguments. `just man`
//! writes them anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};

use clap::{Arg, Command, CommandFactory};
use clap_complete::{Generator, Shell};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use supervisor_haproxy::cli::Args;
use supervisor_haproxy::supervisor::Conf;

use crate::support::BINARY;

const NAME: &str = "supervisor-haproxy";
const SHELLS: [Shell; 3] = [Shell::Bash, Shell::Zsh, Shell::Fish];
const DIRECTORIES: [&str; 2] = ["man", "completions"];

/// All files by their paths in the project.
type Files = BTreeMap<PathBuf, Vec<u8>>;

#[test]
fn man_pages_and_completions_are_those_of_the_declarations() {
    let expected = generated();
    if std::env::var_os("UPDATE").is_some() {
        write(&expected);
    }
    let present = present();
    let paths: BTreeSet<&PathBuf> = expected.keys().chain(present.keys()).collect();
    let problems: Vec<String> = paths
        .into_iter()
        .filter_map(|path| {
            let what = match (expected.get(path), present.get(path)) {
                (Some(_), None) => "is missing",
                (None, Some(_)) => "belongs to no command",
                (expected, present) if expected != present => "differs from what is declared",
                _ => return None,
            };
            Some(format!("`{}` {what}", path.display()))
        })
        .collect();
    assert!(problems.is_empty(), "{}; `just man` writes all of them anew", problems.join("\n"));
}

#[test]
fn the_command_prints_the_same_completions() {
    for shell in SHELLS {
        let output =
            Process::new(BINARY).args(["completions", &shell.to_string()]).stdin(Stdio::null()).output();
        assert!(output.unwrap().stdout == completions(shell), "{shell}");
    }
}

fn write(files: &Files) {
    for directory in DIRECTORIES {
        let directory = root().join(directory);
        // What no command has any more goes.
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir(&directory).unwrap();
    }
    for (path, bytes) in files {
        fs::write(root().join(path), bytes).unwrap();
    }
}

fn present() -> Files {
    let mut files = Files::new();
    for directory in DIRECTORIES {
        for entry in fs::read_dir(root().join(directory)).into_iter().flatten() {
            let entry = entry.unwrap();
            let bytes = fs::read(entry.path()).unwrap();
            files.insert(Path::new(directory).join(entry.file_name()), bytes);
        }
    }
    files
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn generated() -> Files {
    let mut files = Files::new();
    let mut all = declared();
    all.build();
    let page = |name: &str, text: String| (Path::new("man").join(format!("{name}.1")), text.into_bytes());
    for command in all.get_subcommands() {
        let own = command.get_subcommands();
        for command in std::iter::once(command).chain(own) {
            files.extend([page(command.get_display_name().unwrap(), command_page(command.clone()))]);
        }
    }
    files.extend([page(NAME, main_page(all))]);
    for shell in SHELLS {
        files.insert(Path::new("completions").join(shell.file_name(NAME)), completions(shell));
    }
    files
}

fn completions(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), NAME, &mut script);
    script
}

// --- a page

/// With what reads better on a page than on a terminal.
fn declared() -> Command {
    Args::command().subcommand_help_heading("COMMANDS").disable_help_subcommand(true)
}

fn main_page(command: Command) -> String {
    let variables = variables(&command);
    let mut page = Page::begin(command);
    page.section(Man::render_subcommands_section);
    page.after_help();
    page.environment(&variables);
    page.files();
    page.see_also(&["haproxy(1)", "supervisord(1)", "supervisorctl(1)"]);
    page.text
}

fn command_page(command: Command) -> String {
    let has_own = command.has_subcommands();
    let mut page = Page::begin(command.subcommand_help_heading("COMMANDS"));
    if has_own {
        page.section(Man::render_subcommands_section);
    }
    page.after_help();
    page.see_also(&["supervisor-haproxy(1)"]);
    page.text
}

struct Page {
    man: Man,
    /// What is left of the help's last paragraphs: titles and their lines.
    sections: Vec<(&'static str, Vec<String>)>,
    text: String,
}

impl Page {
    /// Title, name, synopsis, description and options. Neither a date nor the version stands on a page: it is
    /// renewed when it says something else.
    fn begin(mut command: Command) -> Self {
        let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let (further, sections) = sections(&after);
        let about = command.get_long_about().or(command.get_about()).unwrap().to_string();
        let about = about.trim_end_matches('.').to_owned() + ".";
        let usage = command.render_usage().to_string().replace("Usage:", "");
        let long_about = [vec![about], further].concat().join("\n\n");
        let command = command.long_about(long_about).override_usage(usage).mut_args(for_paper);
        // An empty date would be left out, and the next argument be taken for it.
        let man = Man::new(command).date(" ").source(NAME).manual("User Commands");
        let mut page = Self { man, sections, text: String::new() };
        page.section(Man::render_title);
        page.section(Man::render_name_section);
        page.section(Man::render_synopsis_section);
        page.section(Man::render_description_section);
        page.section(Man::render_options_section);
        page
    }

    fn section(&mut self, render: impl FnOnce(&Man, &mut dyn Write) -> io::Result<()>) {
        let mut bytes = Vec::new();
        render(&self.man, &mut bytes).unwrap();
        self.add(&String::from_utf8(bytes).unwrap());
    }

    fn own(&mut self, title: &str, write: impl FnOnce(&mut Roff)) {
        let mut roff = Roff::new();
        roff.control("SH", [title]);
        write(&mut roff);
        self.add(&roff.render());
    }

    /// Each part begins with the same two lines, which a page needs once.
    fn add(&mut self, text: &str) {
        let preamble = Roff::new().render();
        let own = text.strip_prefix(&preamble).unwrap();
        if self.text.is_empty() {
            self.text = preamble;
        }
        self.text.extend(own.lines().map(|line| in_bold(line) + "\n"));
    }

    fn after_help(&mut self) {
        for (title, lines) in std::mem::take(&mut self.sections) {
            self.own(title, |roff| match title {
                "EXIT STATUS" => exit_codes(roff, &lines.concat()),
                _ => paragraphs(roff, &lines),
            });
        }
    }

    fn environment(&mut self, variables: &[String]) {
        self.own("ENVIRONMENT", |roff| {
            roff.text([roman(
                "Each option of the listener is a variable, too; the option counts where both are given. \
                 1, true, yes or on turns a switch on; --verbose and --quiet are counts.",
            )]);
            literal(roff, variables);
            for (name, text) in [
                (
                    "SUPERVISOR_SERVER_URL",
                    "Where the listener asks for all states; supervisord sets it where it has a server.",
                ),
                (
                    "SUPERVISOR_USERNAME, SUPERVISOR_PASSWORD",
                    "For that server, where it wants them; they have to be set in the listener's section.",
                ),
                ("NO_COLOR", "If set, commands print no colours. They print none to a file or a pipe."),
            ] {
                item(roff, name, text);
            }
        });
    }

    fn files(&mut self) {
        // As if it were installed there.
        let places = Conf::places(Some(Path::new("PREFIX/bin/supervisor-haproxy")));
        self.own("FILES", |roff| {
            roff.text([roman(
                "Without --configuration, commands take the first of these that is there. PREFIX stands for the \
                 directory above the one that this program is in.",
            )]);
            literal(roff, &places.iter().map(|place| place.display().to_string()).collect::<Vec<_>>());
            roff.control("PP", []);
            roff.text([roman(
                "Holds are kept beside supervisord's unix socket, with .holds at the end of its name, unless \
                 --holds-file names another file, as in",
            )]);
            literal(roff, &["/run/supervisor.sock.holds".to_owned()]);
        });
    }

    fn see_also(&mut self, pages: &[&str]) {
        self.own("SEE ALSO", |roff| {
            let names = pages.iter().flat_map(|page| {
                let (name, section) = page.split_once('(').unwrap();
                [bold(name), roman(format!("({section}")), roman(", ")]
            });
            roff.text(names.take(pages.len() * 3 - 1).collect::<Vec<_>>());
        });
    }
}

/// What stands in backquotes.
fn in_bold(line: &str) -> String {
    assert!(line.matches('`').count().is_multiple_of(2), "{line}");
    let parts = line.split('`').enumerate();
    parts.map(|(at, part)| if at % 2 == 1 { format!("\\fB{part}\\fR") } else { part.to_owned() }).collect()
}

/// Positional arguments come first, and variables have a section of their own.
fn for_paper(arg: Arg) -> Arg {
    let arg = arg.hide_env(true);
    match arg.get_help_heading() {
        Some(_) => arg,
        None if arg.is_positional() => arg.help_heading("Arguments"),
        None => arg.help_heading("Options"),
    }
}

fn variables(command: &Command) -> Vec<String> {
    let names = command.get_arguments().filter_map(Arg::get_env);
    names.map(|name| name.to_str().unwrap().to_owned()).collect()
}

/// The last lines of a help text: those that belong to the description, then each label's.
fn sections(after: &str) -> (Vec<String>, Vec<(&'static str, Vec<String>)>) {
    const TITLES: [(&str, &str); 4] = [
        ("Example, in supervisord's configuration:", "EXAMPLE"),
        ("States:", "STATES"),
        ("Signals:", "SIGNALS"),
        ("Exit codes:", "EXIT STATUS"),
    ];
    let (mut further, mut sections) = (Vec::new(), Vec::<(&str, Vec<String>)>::new());
    for line in after.lines().filter(|line| !line.is_empty()) {
        let labelled = TITLES.iter().find_map(|(label, title)| Some((title, line.strip_prefix(label)?)));
        match (labelled, sections.last_mut()) {
            (Some((title, rest)), _) => sections.push((title, vec![rest.trim_start().to_owned()])),
            (None, Some((_, lines))) => lines.push(line.to_owned()),
            (None, None) => further.push(line.to_owned()),
        }
    }
    (further, sections)
}

/// What is indented is to stay as it is.
fn paragraphs(roff: &mut Roff, lines: &[String]) {
    for lines in lines.chunk_by(|one, next| one.starts_with(' ') == next.starts_with(' ')) {
        if lines.iter().any(|line| line.starts_with(' ')) {
            literal(roff, lines);
            continue;
        }
        for line in lines.iter().filter(|line| !line.is_empty()) {
            roff.control("PP", []).text([roman(line)]);
        }
    }
}

/// A line for each.
fn literal(roff: &mut Roff, lines: &[String]) {
    roff.control("PP", []).control("nf", []);
    for line in lines {
        roff.text([roman(line)]);
    }
    roff.control("fi", []).control("PP", []);
}

/// `0 this, 1 that.`, where a code follows a comma.
fn exit_codes(roff: &mut Roff, text: &str) {
    let parts: Vec<&str> = text.trim_end_matches('.').split(", ").collect();
    for parts in parts.chunk_by(|_, next| !next.starts_with(|c: char| c.is_ascii_digit())) {
        let text = parts.join(", ");
        let (code, meaning) = text.split_once(' ').unwrap();
        item(roff, code, meaning);
    }
}

fn item(roff: &mut Roff, name: &str, text: &str) {
    roff.control("TP", []).text([bold(name)]).text([roman(text)]);
}
