//! `countersign audit`: check the ledger, write it out for an auditor, and check what was written out.

mod completeness;
mod database;
mod export;
mod folder;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::cli::{USAGE, failed};
use crate::config::Config;

pub use export::{Exported, export};
pub use folder::check_folder;

/// Something does not hold.
const INVALID: u8 = 1;
/// Something is not explained.
const INCOMPLETE: u8 = 3;

/// The commands.
#[derive(Subcommand)]
pub enum AuditCommand {
    /// Check an exported folder offline, or the database of a gate, and say what does not hold.
    Verify(VerifyArguments),
    /// Write everything that happened in a period into a folder that can be checked offline.
    Export(ExportArguments),
    /// List everything that changed of the services in a period, and what no approval explains of it.
    Completeness(CompletenessArguments),
}

/// The options of `countersign audit completeness`.
#[derive(Args)]
pub struct CompletenessArguments {
    /// The configuration file of the gate.
    #[arg(long, env = "COUNTERSIGN_CONFIG")]
    config: PathBuf,
    /// The first day (2026-01-01, UTC), or a moment (2026-01-01T12:00:00Z).
    #[arg(long)]
    from: String,
    /// The last day, with all of it (UTC), or a moment.
    #[arg(long)]
    to: String,
    /// Answer with one JSON object.
    #[arg(long)]
    json: bool,
}

/// The options of `countersign audit verify`.
#[derive(Args)]
pub struct VerifyArguments {
    /// A folder that `countersign audit export` wrote.
    #[arg(requires = "trust")]
    folder: Option<PathBuf>,
    /// What is taken as given when a folder is checked (`countersign config trust`).
    #[arg(long, requires = "folder")]
    trust: Option<PathBuf>,
    /// Answer with one JSON object.
    #[arg(long)]
    json: bool,
    /// Without a folder: the configuration file of the gate whose database is checked.
    #[arg(long, env = "COUNTERSIGN_CONFIG")]
    config: Option<PathBuf>,
}

/// The options of `countersign audit export`.
#[derive(Args)]
pub struct ExportArguments {
    /// The configuration file of the gate.
    #[arg(long, env = "COUNTERSIGN_CONFIG")]
    config: PathBuf,
    /// The first day (2026-01-01, UTC), or a moment (2026-01-01T12:00:00Z).
    #[arg(long)]
    from: String,
    /// The last day, with all of it (UTC), or a moment.
    #[arg(long)]
    to: String,
    /// The folder to make; it must not be there yet, or be empty.
    #[arg(long)]
    out: PathBuf,
}

/// Runs the command.
pub async fn run(command: AuditCommand) -> ExitCode {
    match command {
        AuditCommand::Verify(VerifyArguments { folder: Some(folder), trust, json, .. }) => {
            folder::run(&folder, &trust.unwrap_or_default(), json)
        }
        AuditCommand::Verify(VerifyArguments { config: Some(config), json, .. }) => {
            database::verify(&config, json).await
        }
        AuditCommand::Verify(_) => usage(
            "name a folder and --trust, or the --config of the gate whose database is checked",
        ),
        AuditCommand::Export(arguments) => export::run(&arguments).await,
        AuditCommand::Completeness(arguments) => completeness::run(&arguments).await,
    }
}

fn load(config: &std::path::Path) -> Result<Config, ExitCode> {
    Config::load_from_process(config).map_err(|error| failed(&error.to_string()))
}

fn usage(why: &str) -> ExitCode {
    failed(why);
    ExitCode::from(USAGE)
}
