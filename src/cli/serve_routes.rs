//! Routes of `serve`: where they are and how HAProxy takes them, from what was typed.

use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use super::Failure;
use super::commands::{ChangeArgs, FilesArgs, ProgramArgs, ReachArgs};
use super::config::{places, reach, setup};
use super::serve_args::ServeArgs;
use crate::config_change::Places;
use crate::health::{RouteCount, RouteTable};
use crate::web::Routing;

/// The same as the commands make of their options; none without `--routes`.
pub(super) fn routing(args: &ServeArgs, problems: &mut Vec<String>) -> Option<Routing> {
    let routes = args.routes.routes.as_ref()?;
    if args.config.is_empty() {
        problems.push(
            "--routes needs HAProxy's configuration: pass each of its files with --config, as in --config \
             /etc/haproxy/haproxy.cfg,/etc/haproxy/routes/backends.cfg"
                .into(),
        );
        return None;
    }
    match settings(&as_typed(args, routes)) {
        Ok(routing) => Some(routing),
        Err(failure) => {
            problems.extend(failure.parts().1.iter().cloned());
            None
        }
    }
}

/// What would be typed behind `routes add`.
fn as_typed(args: &ServeArgs, routes: &Path) -> ChangeArgs {
    let own = &args.routes;
    ChangeArgs {
        files: FilesArgs {
            files: args.config.clone(),
            routes: routes.to_owned(),
            history: own.config_history.clone(),
        },
        program: ProgramArgs { haproxy: args.haproxy.clone(), timeout: own.change_timeout },
        process: ReachArgs {
            socket: args.socket.clone(),
            master_socket: own.master_socket.clone(),
            pid_file: own.pid_file.clone(),
            master_pid: None,
            reload_command: own.reload_command.clone(),
            lock_timeout: own.lock_timeout,
            keep: own.keep,
        },
    }
}

fn settings(args: &ChangeArgs) -> Result<Routing, Failure> {
    Ok(Routing {
        places: places(&args.files)?,
        setup: setup(args)?,
        reach: reach(&args.program, &args.process)?,
    })
}

/// Counts the routes that the files hold, and reads them again only where they have changed.
#[derive(Debug)]
pub(super) struct Counter {
    places: Places,
    last: Mutex<Option<(Stamp, RouteCount)>>,
}

/// What tells one state of both files from another.
type Stamp = [Option<(SystemTime, u64)>; 2];

impl Counter {
    pub(super) fn new(places: Places) -> Self {
        Self { places, last: Mutex::default() }
    }

    fn stamp(&self) -> Stamp {
        let of = |path: &Path| {
            let metadata = fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        };
        [of(&self.places.backends), of(self.places.map.path())]
    }
}

impl RouteTable for Counter {
    fn count(&self) -> RouteCount {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        // First: what changes meanwhile is read again.
        let stamp = self.stamp();
        if let Some((_, count)) = last.filter(|(known, _)| *known == stamp) {
            return count;
        }
        let routes = self.places.load();
        let count = routes.map_or(RouteCount::Unknown, |routes| RouteCount::Known(routes.count()));
        // Between two renames, both files are not those of one table: they are looked at again.
        *last = matches!(count, RouteCount::Known(_)).then_some((stamp, count));
        count
    }
}
