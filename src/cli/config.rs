//! `countersign config`: whether the gate would start with a configuration, what it says, and what
//! whoever verifies the gate's evidence pins.

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

/// Prints the trust anchors that follow from a configuration, for auditors to keep.
#[expect(clippy::print_stdout, reason = "the answer of a command goes to standard output")]
pub fn trust(path: &Path) -> ExitCode {
    let trust = match Config::load_from_process(path) {
        Ok(config) => config.trust(),
        Err(error) => return failed(&error.to_string()),
    };
    match serde_json::to_string_pretty(&trust) {
        Ok(text) => println!("{text}"),
        Err(error) => return failed(&format!("the trust anchors have no JSON form: {error}")),
    }
    ExitCode::SUCCESS
}
