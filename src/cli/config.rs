//! `config`: changes of HAProxy's configuration, its versions, and the way back.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anstyle::Style;
use jiff::Timestamp;
use serde::Serialize;

use super::commands::{
    ApplyArgs, ChangeArgs, ConfigCommand, FilesArgs, HistoryArgs, ProgramArgs, ReachArgs, RecoverArgs,
    RollbackArgs, ValidateArgs,
};
use super::hold::who_now;
use super::screen::{GOOD, Screen, Table, paint};
use super::{Failure, warn};
use crate::config_change::{
    Activated, Archive, ArchiveError, ChangeError, Desk, Digest, Done, FileSet, How, Peer, Places, Reach,
    Running, Setup, Version, Way,
};
use crate::control::epoch_seconds;
use crate::exec::Checked;
use crate::haproxy::MapFile;
use crate::net::Endpoint;

/// The largest file that is taken: no configuration is as large.
const MAX_BYTES: u64 = 64 * 1024 * 1024;
/// Where Debian's unit has the master.
const MASTER_SOCKET: &str = "/run/haproxy-master.sock";
const PID_FILE: &str = "/run/haproxy.pid";

pub(super) fn run(command: &ConfigCommand) -> Result<u8, Failure> {
    match command {
        ConfigCommand::Apply(args) => apply(args),
        ConfigCommand::Validate(args) => validate(args),
        ConfigCommand::History(args) => history(args),
        ConfigCommand::Rollback(args) => roll_back(args),
        ConfigCommand::Recover(args) => recover(args),
    }
}

impl From<ChangeError> for Failure {
    fn from(error: ChangeError) -> Self {
        let problems = vec![error.to_string()];
        match error {
            ChangeError::Lock(crate::config_change::LockError::Taken { .. }) => Self::Late(problems),
            ChangeError::Invalid(_)
            | ChangeError::Unchecked(_)
            | ChangeError::Outdated(_)
            | ChangeError::NotReady(_)
            | ChangeError::Refused(_)
            | ChangeError::Routes(_)
            | ChangeError::Route(_) => Self::Refused(problems),
            ChangeError::Stuck { .. } | ChangeError::Halfway(_) => Self::Broken(problems),
            ChangeError::Lock(_)
            | ChangeError::File(_)
            | ChangeError::Archive(_)
            | ChangeError::Undone(_)
            | ChangeError::Foreign(_) => Self::Failed(problems),
        }
    }
}

impl From<ArchiveError> for Failure {
    fn from(error: ArchiveError) -> Self {
        Self::Failed(vec![error.to_string()])
    }
}

// --- where things are

/// The routes' two files.
pub(super) fn places(args: &FilesArgs) -> Result<Places, Failure> {
    let routes = absolute(&args.routes)?;
    let map = MapFile::new(&routes.join("hosts.map"));
    let map = map.map_err(|error| Failure::Usage(vec![format!("--routes: {error}")]))?;
    Ok(Places { backends: routes.join("backends.cfg"), map })
}

/// Versions outlive the directory that a command is typed in.
fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(|error| Failure::Usage(vec![format!("`{}`: {error}", path.display())]))
}

fn files(args: &FilesArgs) -> Result<Vec<PathBuf>, Failure> {
    args.files.iter().map(|path| absolute(path)).collect()
}

fn set(args: &FilesArgs) -> Result<FileSet, Failure> {
    Ok(FileSet::read(&files(args)?).map_err(ChangeError::from)?)
}

fn archive(args: &FilesArgs) -> Result<PathBuf, Failure> {
    match (&args.history, &files(args)?[..]) {
        (Some(directory), _) => absolute(directory),
        (None, files) => {
            let mut name = files.first().cloned().map(OsString::from).unwrap_or_default();
            name.push(".history");
            Ok(name.into())
        }
    }
}

/// The configuration and its archive, in the name of whoever has started this program.
pub(super) fn setup(args: &ChangeArgs) -> Result<Setup, Failure> {
    Ok(Setup {
        files: files(&args.files)?,
        map: Some(places(&args.files)?.map),
        archive: archive(&args.files)?,
        keep: args.process.keep,
        lock_timeout: args.process.lock_timeout,
        by: who_now(),
        at: epoch_seconds(),
    })
}

fn endpoint(name: &str, text: &str) -> Result<Endpoint, Failure> {
    text.parse().map_err(|error| Failure::Usage(vec![format!("{name} `{text}`: {error}")]))
}

/// The HAProxy that answers at a socket.
pub(super) fn at(socket: &str) -> Result<Running, Failure> {
    let socket = endpoint("--socket", socket)?;
    Ok(Running::new(Reach {
        program: PathBuf::new(),
        socket,
        ways: Vec::new(),
        timeout: Duration::ZERO,
        stop: Arc::default(),
    })?)
}

fn running(program: &ProgramArgs, process: &ReachArgs) -> Result<Running, Failure> {
    Ok(Running::new(reach(program, process)?)?)
}

/// How the HAProxy that runs is asked and reloaded.
pub(super) fn reach(program: &ProgramArgs, process: &ReachArgs) -> Result<Reach, Failure> {
    let socket = endpoint("--socket", &process.socket)?;
    Ok(Reach {
        program: program.haproxy.clone(),
        socket,
        ways: ways(process)?,
        timeout: program.timeout,
        stop: Arc::default(),
    })
}

/// Those that were given; where none was, those of a package.
fn ways(args: &ReachArgs) -> Result<Vec<Way>, Failure> {
    let master = |text: &str| endpoint("--master-socket", text).map(Way::Master);
    let mut ways = Vec::new();
    ways.extend(args.master_socket.as_deref().map(master).transpose()?);
    ways.extend(args.pid_file.clone().map(Way::PidFile));
    ways.extend(args.master_pid.map(Way::Pid));
    ways.extend(args.reload_command.clone().map(Way::Shell));
    if ways.is_empty() {
        ways = vec![master(MASTER_SOCKET)?, Way::PidFile(PID_FILE.into())];
    }
    Ok(ways)
}

/// Opens the desk; what was cut off before is finished or undone then, and that is said.
pub(super) fn open(args: &ChangeArgs) -> Result<Desk<Running>, Failure> {
    let running = running(&args.program, &args.process)?;
    let (desk, remark) = Desk::open(setup(args)?, running)?;
    warn(remark);
    Ok(desk)
}

// --- apply, rollback, recover

fn apply(args: &ApplyArgs) -> Result<u8, Failure> {
    let targets = targets(args)?;
    let contents = args.sources.iter().map(|source| content(source)).collect::<Result<Vec<_>, _>>()?;
    let names: Vec<String> = targets.iter().map(|target| format!("`{}`", target.display())).collect();
    let done = open(&args.change)?.apply_all(targets.into_iter().zip(contents).collect())?;
    let verb = if names.len() == 1 { "is" } else { "are" };
    report(&done, &format!("{} {verb} in force", names.join(", ")));
    Ok(0)
}

/// A file of HAProxy's for each that was named.
fn targets(args: &ApplyArgs) -> Result<Vec<PathBuf>, Failure> {
    let (sources, to) = (args.sources.len(), args.to.len());
    if sources == 1 && to <= 1 {
        return Ok(vec![target(args.to.first().map(PathBuf::as_path), &args.change.files)?]);
    }
    let usage = |problem: String| Err(Failure::Usage(vec![problem]));
    if sources != to {
        return usage(format!("{sources} FILE need as many --to, in the same order, and there are {to}"));
    }
    let targets = args.to.iter().map(|path| absolute(path)).collect::<Result<Vec<_>, _>>()?;
    let twice = targets
        .iter()
        .enumerate()
        .find(|(at, target)| targets.iter().take(*at).any(|other| other == *target));
    match twice {
        Some((_, target)) => usage(format!("--to `{}` is there twice", target.display())),
        None if args.sources.iter().filter(|source| *source == Path::new("-")).count() > 1 => {
            usage("stdin can be one file only".into())
        }
        None => Ok(targets),
    }
}

fn roll_back(args: &RollbackArgs) -> Result<u8, Failure> {
    let (number, done) = open(&args.change)?.roll_back(args.number)?;
    report(&done, &format!("the configuration of version {number} is in force"));
    Ok(0)
}

fn recover(args: &RecoverArgs) -> Result<u8, Failure> {
    let opened = if args.files_only {
        Desk::open(setup(&args.change)?, Nobody).map(|(_, remark)| remark)
    } else {
        let running = running(&args.change.program, &args.change.process)?;
        Desk::open(setup(&args.change)?, running).map(|(_, remark)| remark)
    };
    let remark = opened?;
    Screen::new().line(remark.as_deref().unwrap_or("no change was cut off"));
    Ok(0)
}

/// A HAProxy that is left alone.
struct Nobody;

impl Peer for Nobody {
    fn ready(&mut self) -> Result<(), String> {
        Err("HAProxy is left alone".into())
    }

    fn check(&mut self, _: &[PathBuf]) -> Result<Checked, String> {
        Err("HAProxy is left alone".into())
    }

    fn activate(&mut self, _: &How) -> Activated {
        Activated::Nobody("HAProxy is left alone".into())
    }
}

/// What a change came to.
pub(super) fn report(done: &Done, what: &str) {
    Screen::new().line(paint(GOOD, done.tell(what)));
}

/// Which file is meant: the only one, or the one that was named.
fn target(to: Option<&Path>, args: &FilesArgs) -> Result<PathBuf, Failure> {
    match (to, &files(args)?[..]) {
        (Some(target), _) => absolute(target),
        (None, [only]) if !only.is_dir() => Ok(only.clone()),
        (None, _) => {
            let files = set(args)?.files();
            let names: Vec<String> = files.iter().map(|file| format!("`{}`", file.display())).collect();
            Err(Failure::Usage(vec![format!(
                "which file is it to replace? Pass --to with one of {}",
                names.join(", ")
            )]))
        }
    }
}

fn content(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        io::stdin().take(MAX_BYTES + 1).read_to_end(&mut bytes)
    } else {
        fs::File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes))
    };
    match read {
        Ok(_) if bytes.len() as u64 <= MAX_BYTES => Ok(bytes),
        Ok(_) => {
            Err(Failure::Usage(vec![format!("`{}`: it is longer than {MAX_BYTES} bytes", path.display())]))
        }
        Err(error) => Err(Failure::Usage(vec![format!("`{}`: cannot be read: {error}", path.display())])),
    }
}

// --- validate

fn validate(args: &ValidateArgs) -> Result<u8, Failure> {
    let set = set(&args.files)?;
    let files = match &args.source {
        None => set.files(),
        Some(source) => {
            let target = target(args.to.as_deref(), &args.files)?;
            if !set.takes(&target) {
                let target = target.display();
                return Err(Failure::Usage(vec![format!("--to `{target}`: HAProxy is not started with it")]));
            }
            set.with(&[(target, Some(absolute(source)?))])
        }
    };
    let socket = Endpoint::Unix(PathBuf::new());
    let reach = Reach {
        program: args.program.haproxy.clone(),
        socket,
        ways: Vec::new(),
        timeout: args.program.timeout,
        stop: Arc::default(),
    };
    match Running::new(reach)?.check(&files) {
        Ok(checked) if checked.is_valid => Screen::new().line(paint(GOOD, "valid")),
        Ok(checked) => {
            return Err(Failure::Failed(vec![format!("HAProxy does not accept it:\n{}", checked.said)]));
        }
        Err(why) => return Err(Failure::Failed(vec![why])),
    }
    Ok(0)
}

// --- history

fn history(args: &HistoryArgs) -> Result<u8, Failure> {
    let versions = Archive::at(&archive(&args.files)?).versions()?;
    let current = current(&versions, &args.files)?;
    let mut screen = Screen::new();
    if args.json {
        screen.line(serde_json::to_string(&as_json(&versions, current)).map_err(io::Error::from)?);
        return Ok(0);
    }
    if versions.is_empty() {
        screen.line("no versions yet: the first change keeps what is there as version 1");
        return Ok(0);
    }
    table(&versions, current).lines().into_iter().for_each(|line| screen.line(line));
    if current.is_none() {
        warn([
            "what is there now is none of these: it was changed outside of `config`; the next change keeps it",
        ]);
    }
    Ok(0)
}

/// The newest version that is what the files hold now.
fn current(versions: &[Version], args: &FilesArgs) -> Result<Option<u64>, Failure> {
    let is_there = |version: &Version| {
        version
            .files
            .iter()
            .all(|file| fs::read(&file.path).is_ok_and(|bytes| Digest::of(&bytes) == file.digest))
    };
    let files = set(args)?.files();
    let has_all =
        |version: &&Version| files.iter().all(|path| version.files.iter().any(|file| file.path == *path));
    Ok(versions.iter().rev().filter(has_all).find(|version| is_there(version)).map(|version| version.number))
}

fn time(at: u64) -> String {
    let at = i64::try_from(at).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    at.map_or_else(|| "-".into(), |at| at.to_string())
}

fn table(versions: &[Version], current: Option<u64>) -> Table {
    let mut table = Table::headed(&["VERSION", "TIME", "BY", "WHAT", "FILES", "SIZE", "DIGEST", "NOTE"]);
    let plain = |text: String| (text, Style::new());
    for version in versions.iter().rev() {
        let is_current = current == Some(version.number);
        let mark = if is_current { " *" } else { "" };
        table.row(vec![
            (format!("{}{mark}", version.number), if is_current { GOOD } else { Style::new() }),
            plain(time(version.at)),
            plain(version.by.clone()),
            plain(version.what.word().into()),
            plain(version.files.len().to_string()),
            plain(version.size().to_string()),
            plain(version.digest().short().into()),
            plain(version.note.clone()),
        ]);
    }
    table
}

fn as_json(versions: &[Version], current: Option<u64>) -> impl Serialize {
    #[derive(Serialize)]
    struct Each {
        #[serde(flatten)]
        version: Version,
        size: u64,
        digest: String,
        current: bool,
    }
    let each = |version: &Version| Each {
        version: version.clone(),
        size: version.size(),
        digest: version.digest().to_string(),
        current: current == Some(version.number),
    };
    versions.iter().rev().map(each).collect::<Vec<_>>()
}
