//! The command line: declarations, one file per command, and the only place that prints errors and picks exit
//! codes.

mod args;
mod listen;
mod logging;

use std::process::ExitCode;

use clap::Parser;
use log::error;

pub use args::Args;

/// Exit code for wrong arguments, as clap has it.
const USAGE: u8 = 2;

/// Runs the program: 0 when all went well, 1 for a failure, 2 for wrong arguments.
#[must_use]
pub fn main() -> ExitCode {
    let args = Args::parse();
    logging::start(&args.logging);
    let code = run(&args);
    log::logger().flush();
    code
}

fn run(args: &Args) -> ExitCode {
    match listen::run(&args.listen) {
        Ok(()) => ExitCode::SUCCESS,
        Err(listen::Error::Usage(problems)) => {
            for problem in problems {
                error!("{problem}");
            }
            error!("see `supervisor-haproxy --help`");
            ExitCode::from(USAGE)
        }
        Err(listen::Error::Run(failure)) => {
            error!("{failure}");
            ExitCode::FAILURE
        }
    }
}
