//! `pull` of 16 sockets, each of an HAProxy with 100 frontends, 1,000 backends and 10,000 servers, every second: the
//! CPU time that it takes itself, and its peak memory. Beside it a plain copy: one socket after the other read into a
//! file. In place of HAProxy, threads of the bench send a dump made before, in pieces as large as its own; at last a real
//! one has 16 such sockets. Snapshots go into a temporary directory and, if there is one, a file system in
//! memory; they leave the spool as soon as they are seen.

#![allow(clippy::print_stdout, reason = "a table is what a bench is for")]

mod rig;

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::sys::statfs::{
    BTRFS_SUPER_MAGIC, EXT4_SUPER_MAGIC, OVERLAYFS_SUPER_MAGIC, TMPFS_MAGIC, XFS_SUPER_MAGIC, statfs,
};

use rig::command::{Daemon, command};
use rig::figures::{Table, Times, aim, millis};
use rig::haproxy::{self, Haproxy};
use rig::snapshot::{self, LARGE};
use rig::spool::Spool;
use rig::{Outcome, proc, wait_until};

const SOCKETS: usize = 16;
/// How often, and how many seconds apart.
const PULLS: usize = 12;
const INTERVAL: u64 = 1;
/// The same with a real HAProxy, which 16 dumps may keep busy for longer than a second.
const REAL_PULLS: usize = 8;
const REAL_INTERVAL: u64 = 2;
/// What HAProxy writes at once (`tune.bufsize`).
const PIECE: usize = 16 * 1024;
/// What the plain copy reads at once.
const CHUNK: usize = 64 * 1024;
/// A tenth of one core, at a pull each second.
const AIM: Duration = Duration::from_millis(100);
/// In KiB.
const AIM_MEMORY: u64 = 24 << 10;
const MEMORY: &str = "/dev/shm";
const PULLED: &str = "pulled";

fn main() -> Outcome<()> {
    if !rig::is_asked_for() {
        return Ok(());
    }
    let sockets = tempfile::tempdir()?;
    let bytes = SOCKETS * haproxies(sockets.path())?;
    let (dump, real) = real_haproxy()?;
    let mut rows = Vec::new();
    let place = tempfile::tempdir()?;
    rows.push((file_system(place.path())?, Course::new(place.path(), sockets.path()).run(Some(bytes))?));
    if let Ok(place) = tempfile::tempdir_in(MEMORY) {
        rows.push((file_system(place.path())?, Course::new(place.path(), sockets.path()).run(Some(bytes))?));
    }
    let place = tempfile::tempdir()?;
    let sockets = real.directory().join(PULLED);
    let course = Course { interval: REAL_INTERVAL, pulls: REAL_PULLS, ..Course::new(place.path(), &sockets) };
    rows.push((format!("{}, a real HAProxy", file_system(place.path())?), course.run(None)?));
    tell(bytes, &rows);
    tell_aims(&rows);
    println!(
        "\n  HAProxy {} itself: {} for one dump of this size",
        haproxy::version()?,
        millis(dump.median())
    );
    Ok(())
}

/// What lies beneath a directory.
fn file_system(directory: &Path) -> Outcome<String> {
    let kind = statfs(directory)?.filesystem_type();
    Ok(match kind {
        EXT4_SUPER_MAGIC => "ext4".into(),
        TMPFS_MAGIC => "tmpfs".into(),
        OVERLAYFS_SUPER_MAGIC => "overlay".into(),
        XFS_SUPER_MAGIC => "xfs".into(),
        BTRFS_SUPER_MAGIC => "btrfs".into(),
        _ => format!("{kind:?}"),
    })
}

/// What pulls into a directory took.
#[derive(Default)]
struct Pulls {
    cpu: Times,
    /// From the moment when it was due until it lay in the spool.
    wall: Times,
    /// CPU time of the plain copy.
    copy: Times,
    /// In KiB.
    peak: u64,
}

/// Gives the bytes of one.
fn haproxies(directory: &Path) -> Outcome<usize> {
    let info = Arc::new(snapshot::info(1));
    let stat = Arc::new(snapshot::stat(1, LARGE)?);
    for number in 0..SOCKETS {
        let listener = UnixListener::bind(directory.join(format!("haproxy{number:02}.sock")))?;
        let (info, stat) = (Arc::clone(&info), Arc::clone(&stat));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // Who went away has not got it all, and the bench will see that.
                let _ = serve(stream, &info, &stat);
            }
        });
    }
    Ok(info.len() + stat.len())
}

fn serve(mut stream: UnixStream, info: &str, stat: &str) -> io::Result<()> {
    let mut request = [0; 64];
    let count = stream.read(&mut request)?;
    let is_info = request.get(..count).is_some_and(|request| request.starts_with(b"show info"));
    let reply = if is_info { info } else { stat };
    reply.as_bytes().chunks(PIECE).try_for_each(|piece| stream.write_all(piece))
}

/// One whose sockets lie in [`PULLED`], and how long it takes for one dump.
fn real_haproxy() -> Outcome<(Times, Haproxy)> {
    let socket = |number| format!(" stats socket DIR/{PULLED}/haproxy{number:02}.sock level user\n");
    let sockets: String = (0..SOCKETS).map(socket).collect();
    let haproxy = Haproxy::start_with(&[PULLED], &format!("{}global\n{sockets}", LARGE.sections()?))?;
    let mut times = Times::default();
    for _ in 0..PULLS {
        let begun = Instant::now();
        haproxy::ask(&haproxy.socket(), "show stat")?;
        times.push(begun.elapsed());
    }
    Ok((times, haproxy))
}

/// Pulls from sockets into a directory.
struct Course<'a> {
    directory: &'a Path,
    sockets: &'a Path,
    /// In seconds.
    interval: u64,
    pulls: usize,
}

impl<'a> Course<'a> {
    fn new(directory: &'a Path, sockets: &'a Path) -> Self {
        Self { directory, sockets, interval: INTERVAL, pulls: PULLS }
    }

    /// `bytes` is what a snapshot is to have, where that is known.
    fn run(&self, bytes: Option<usize>) -> Outcome<Pulls> {
        let Self { directory, sockets, interval, pulls } = *self;
        let spool = Spool::make(directory)?;
        // Without a limit, a pull may take until the next one is due.
        let text = format!(
            "[DEFAULT]\nloglevel = warning\n[pull]\nsocket-dir = {}\ndst-dir = {}\ntmp-dst-dir = {}\n\
             pull-interval = {interval}\npull-timeout = 0\n",
            sockets.display(),
            spool.ready.display(),
            spool.drafts.display()
        );
        let mut daemon = Daemon::start(command("pull", &directory.join("pull.conf"), &text)?)?;
        let (mut all, mut before) = (Pulls::default(), Duration::ZERO);
        for number in 0..=pulls {
            let (path, wall) = next(&mut daemon, &spool)?;
            let cpu = proc::cpu(daemon.pid())?;
            check(&path, bytes)?;
            fs::remove_dir_all(&path)?;
            // The first one has the start in it.
            if number > 0 {
                all.cpu.push(cpu.saturating_sub(before));
                all.wall.push(wall);
                all.copy.push(copy(sockets, directory)?);
            }
            before = cpu;
        }
        all.peak = proc::memory(daemon.pid(), "VmHWM")?;
        Ok(all)
    }
}

/// Waits for a snapshot; tells how long after its time it came.
fn next(daemon: &mut Daemon, spool: &Spool) -> Outcome<(PathBuf, Duration)> {
    wait_until("a snapshot", || {
        daemon.check()?;
        let Some(found) = fs::read_dir(&spool.ready)?.next() else { return Ok(None) };
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let path = found?.path();
        let time = path.file_name().and_then(|name| name.to_str()).ok_or("no name")?.parse()?;
        Ok(Some((path, now.saturating_sub(Duration::from_secs(time)))))
    })
}

fn check(snapshot: &Path, bytes: Option<usize>) -> Outcome<()> {
    let files = fs::read_dir(snapshot)?.map(|file| Ok(file?.metadata()?.len()));
    let lengths: Vec<u64> = files.collect::<Outcome<_>>()?;
    let sum: u64 = lengths.iter().sum();
    let is_right = lengths.len() == 2 * SOCKETS && bytes.is_none_or(|bytes| sum == bytes as u64);
    if is_right { Ok(()) } else { Err(format!("{} files, {sum} bytes", lengths.len()).into()) }
}

/// The least that a pull can be; gives its CPU time.
fn copy(sockets: &Path, directory: &Path) -> Outcome<Duration> {
    let to = directory.join("copy");
    fs::create_dir(&to)?;
    let begun = proc::own_cpu()?;
    let mut buffer = vec![0; CHUNK];
    for socket in fs::read_dir(sockets)? {
        let socket = socket?;
        for (end, request) in [("info", "show info\n"), ("stat", "show stat\n")] {
            let mut name = socket.file_name();
            name.push(end);
            let mut file = File::create(to.join(name))?;
            let mut stream = UnixStream::connect(socket.path())?;
            stream.write_all(request.as_bytes())?;
            loop {
                match stream.read(&mut buffer)? {
                    0 => break,
                    count => file.write_all(buffer.get(..count).unwrap_or_default())?,
                }
            }
        }
    }
    let time = proc::own_cpu()?.saturating_sub(begun);
    fs::remove_dir_all(&to)?;
    Ok(time)
}

fn tell(bytes: usize, rows: &[(String, Pulls)]) {
    let mut table = Table::new(
        format!("a pull of {SOCKETS} × {} rows, {bytes} bytes", LARGE.rows()),
        &["into", "CPU time, median", "min", "max", "plain copy", "due to stored", "peak memory"],
    );
    for (what, pulls) in rows {
        table.row([
            what.clone(),
            millis(pulls.cpu.median()),
            millis(pulls.cpu.min()),
            millis(pulls.cpu.max()),
            millis(pulls.copy.median()),
            millis(pulls.wall.median()),
            format!("{} KiB", pulls.peak),
        ]);
    }
    table.print();
}

fn tell_aims(rows: &[(String, Pulls)]) {
    println!();
    for (what, pulls) in rows {
        println!("  {what}: {}", aim("≤ 10 % of one core, each second", pulls.cpu.median() <= AIM));
    }
    let peak = rows.iter().map(|(_, pulls)| pulls.peak).max().unwrap_or_default();
    println!("  peak memory, {}", aim("≤ 24 MiB", peak <= AIM_MEMORY));
}
