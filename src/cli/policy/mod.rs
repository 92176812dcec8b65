//! `countersign policy`: what the rules of a configuration allow, before they count.
//!
//! Only `replay` needs a database. Nothing here needs the secrets beside a configuration, so that
//! whoever reviews a change of the rules can run it.

mod check;
mod diff;
mod explain;
mod replay;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::cli::{USAGE, failed};
use crate::config::load_rules;
use crate::domain::policy::Policy;

/// The answer is no: findings, a refusal, differences.
const NO: u8 = 1;

/// The commands.
#[derive(Subcommand)]
pub enum PolicyCommand {
    /// Say what contradicts itself, what nobody can meet, and who would have to sign without a key.
    ///
    /// Exit code 0: the rules can be used, whatever was warned of; 1: they cannot; 2: they cannot be read.
    Check(CheckArguments),
    /// Say whether a request would be allowed, by which rule, and whether a person may sign it.
    ///
    /// Exit code 0: it would, and the person may; 1: not so; 2: a file cannot be read.
    Explain(ExplainArguments),
    /// Say whose rights differ between two configurations: environments, roles, anchors, who reads, how tokens are read.
    ///
    /// Exit code 0: nothing differs; 1: something does; 2: a file cannot be read.
    Diff(DiffArguments),
    /// Say which approvals of the past would have ended otherwise under a new configuration.
    ///
    /// Exit code 0: none; 1: some; 2: it cannot be told.
    Replay(ReplayArguments),
}

/// The options of `countersign policy check`.
#[derive(Args)]
pub struct CheckArguments {
    /// The configuration file.
    #[arg(long, env = "COUNTERSIGN_CONFIG")]
    config: PathBuf,
    /// Answer with one JSON object.
    #[arg(long)]
    json: bool,
}

/// The options of `countersign policy explain`.
#[derive(Args)]
pub struct ExplainArguments {
    /// The configuration file.
    #[arg(long, env = "COUNTERSIGN_CONFIG")]
    config: PathBuf,
    /// The environment.
    #[arg(long)]
    environment: String,
    /// The person who would sign: the directory's `sub` of them.
    #[arg(long = "as", value_name = "PERSON")]
    person: String,
    /// A group of the person, as the directory names it; once for each.
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<String>,
    /// The body of the request, as POST /v1/approvals takes it.
    #[arg(long)]
    request: PathBuf,
    /// The configured name of the issuer of the token that would ask.
    #[arg(long, requires = "claims")]
    issuer: Option<String>,
    /// The claims of that token, as a JSON object in a file.
    #[arg(long, requires = "issuer")]
    claims: Option<PathBuf>,
    /// Answer with one JSON object.
    #[arg(long)]
    json: bool,
}

/// The options of `countersign policy diff`.
#[derive(Args)]
pub struct DiffArguments {
    /// The configuration file before.
    old: PathBuf,
    /// The configuration file after.
    new: PathBuf,
    /// Answer with one JSON object.
    #[arg(long)]
    json: bool,
}

/// The options of `countersign policy replay`.
#[derive(Args)]
pub struct ReplayArguments {
    /// The configuration file with the rules to try.
    new: PathBuf,
    /// The configuration file of the gate whose approvals are played again.
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

/// Runs the command.
pub async fn run(command: PolicyCommand) -> ExitCode {
    let outcome = match command {
        PolicyCommand::Check(arguments) => check::run(&arguments).await,
        PolicyCommand::Explain(arguments) => explain::run(&arguments),
        PolicyCommand::Diff(arguments) => diff::run(&arguments),
        PolicyCommand::Replay(arguments) => replay::run(&arguments).await,
    };
    outcome.unwrap_or_else(|why| {
        failed(&why);
        ExitCode::from(USAGE)
    })
}

fn rules_of(path: &Path) -> Result<BTreeMap<String, Policy>, String> {
    load_rules(path).map(|rules| rules.environments).map_err(|error| error.to_string())
}

/// Prints the answer of a command, and says whether it is a yes.
#[expect(clippy::print_stdout, reason = "the answer of a command goes to standard output")]
fn answer(is_yes: bool, text: &str) -> ExitCode {
    println!("{}", text.trim_end());
    if is_yes { ExitCode::SUCCESS } else { ExitCode::from(NO) }
}
