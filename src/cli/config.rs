//! `countersign config check`: whether the gate would start with a configuration, and what it says.

use std::path::Path;
use std::process::ExitCode;

use crate::cli::failed;
use crate::config::Config;

/// Checks file and environment without network or database. Exit code 0: the gate can start with
/// them; 1: it cannot, and standard error says why.
#[expect(clippy::print_stdout, reason = "the answer of a command goes to standard output")]
#[expect(clippy::print_stderr, reason = "warnings must not mix with the answer")]
pub fn check(path: &Path) -> ExitCode {
    match Config::load_from_process(path) {
        Ok(config) => {
            print!("{}", config.summary());
            for warning in &config.warnings {
                eprintln!("countersign: warning: {warning}");
            }
            ExitCode::SUCCESS
        }
        Err(error) => failed(&error.to_string()),
    }
}
