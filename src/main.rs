//! The binary: everything lives in the library, so that tests, benches and fuzz targets reach it.

use std::process::ExitCode;

fn main() -> ExitCode {
    supervisor_haproxy::cli::main()
}
