//! `countersign wait ID`: goes on waiting for what somebody asked for before, here or elsewhere.

use std::process::ExitCode;

use crate::cli::request::connection::Connection;
use crate::cli::request::following::Following;
use crate::cli::request::outcome::exit_codes;
use crate::cli::request::progress::Progress;
use crate::cli::shutdown_signal;
use crate::config::overrides::environment;
use crate::domain::ids::ApprovalId;

/// The options of `countersign wait`.
#[derive(clap::Args)]
#[command(after_help = exit_codes())]
pub struct WaitArguments {
    /// The approval, apr_….
    id: ApprovalId,
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    following: Following,
    /// Answer with one JSON object on standard output.
    #[arg(long)]
    json: bool,
}

/// Waits. Exit codes: [`crate::cli::request::outcome::Outcome`].
pub async fn run(arguments: WaitArguments) -> ExitCode {
    let WaitArguments { id, connection, following, json } = arguments;
    let ended = match connection.open(&environment()) {
        Ok(client) => {
            let (progress, mut shutdown) = (Progress::begin(), shutdown_signal());
            following.follow(&client, &id, following.deadline(), &progress, &mut shutdown).await
        }
        Err(ended) => ended,
    };
    ended.speak(json)
}
