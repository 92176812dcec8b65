//! The `countersign` binary: parse the command line, call one function.

use std::process::ExitCode;

fn main() -> ExitCode {
    countersign::cli::run()
}
