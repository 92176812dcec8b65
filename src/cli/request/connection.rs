//! Which gate is asked, and with whose tokens.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::outcome::Outcome;
use super::report::Ended;
use crate::client::tokens::{Platform, Tokens, Wish};
use crate::client::{Client, gate_address};

/// The heading of the options of which one is enough.
const TOKEN: &str = "Identity token (found by itself on the platforms below)";

/// Where the gate is and who we are.
#[derive(clap::Args)]
pub struct Connection {
    /// The gate's address, https://gate.example.com.
    #[arg(long, env = "COUNTERSIGN_GATE", value_parser = gate_address)]
    gate: String,
    /// The audience to ask tokens for; the gate's address if absent.
    #[arg(long)]
    audience: Option<String>,
    /// A file that holds the token, read again for each call (a projected token of Kubernetes).
    #[arg(
        long,
        value_name = "PATH",
        group = "token",
        help_heading = TOKEN
    )]
    token_file: Option<PathBuf>,
    /// A variable that holds the token (GitLab's id_tokens); COUNTERSIGN_TOKEN is looked at by itself.
    #[arg(
        long,
        value_name = "NAME",
        group = "token",
        help_heading = TOKEN
    )]
    token_env: Option<String>,
    /// A command line for sh that prints a token for $COUNTERSIGN_AUDIENCE, run for each call.
    #[arg(
        long,
        value_name = "COMMAND",
        group = "token",
        help_heading = TOKEN
    )]
    token_command: Option<String>,
    /// The platform that gives the token.
    #[arg(
        long,
        value_name = "PLATFORM",
        group = "token",
        value_enum,
        help_heading = TOKEN
    )]
    token_from: Option<Platform>,
}

impl Connection {
    /// A client of the gate.
    pub fn open(self, environment: &BTreeMap<String, String>) -> Result<Client, Ended> {
        let Self { gate, audience, token_file, token_env, token_command, token_from } = self;
        let wish = Wish {
            file: token_file,
            variable: token_env,
            program: token_command,
            platform: token_from,
        };
        let audience = audience.unwrap_or_else(|| gate.clone());
        let tokens = Tokens::find(wish, audience, environment)
            .map_err(|why| Ended::without_approval(Outcome::NoToken, "no_token", why))?;
        Client::new(gate, tokens)
            .map_err(|why| Ended::without_approval(Outcome::Broken, "no_connection", why))
    }
}
