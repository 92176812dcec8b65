//! The command line: one file per command.

pub mod audit;
pub mod config;
pub mod demo;
pub mod keys;
pub mod logging;
pub mod recover;
pub mod sandbox;
pub mod serve;
pub mod verify;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A human-approval gate for CI/CD.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the gate.
    Serve {
        /// The configuration file.
        #[arg(long, env = "COUNTERSIGN_CONFIG")]
        config: PathBuf,
    },
    /// Try the whole thing on this machine: a gate, a sandbox of Cloud Run, token issuers and a directory.
    Demo(demo::DemoArguments),
    /// Run the sandbox alone.
    Sandbox(sandbox::SandboxArguments),
    /// Look at the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Verify the evidence of an approval: offline, against trust anchors alone.
    Verify(verify::VerifyArguments),
    /// Set up who may endorse keys.
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Have people with pinned keys sign for going on after the database lost entries for good.
    Recover {
        /// The configuration file.
        #[arg(long, env = "COUNTERSIGN_CONFIG")]
        config: PathBuf,
    },
    /// Check the ledger, or write it out for an auditor.
    #[command(subcommand)]
    Audit(audit::AuditCommand),
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Check the configuration and print what it comes to, without secrets.
    Check {
        /// The configuration file.
        #[arg(long, env = "COUNTERSIGN_CONFIG")]
        config: PathBuf,
    },
    /// Print what auditors pin to verify this gate's evidence (trust.json).
    Trust {
        /// The configuration file.
        #[arg(long, env = "COUNTERSIGN_CONFIG")]
        config: PathBuf,
    },
}

#[derive(Subcommand)]
enum KeysCommand {
    /// Give the first approver a link that works once, and print what to pin of their key.
    Bootstrap {
        /// The configuration file.
        #[arg(long, env = "COUNTERSIGN_CONFIG")]
        config: PathBuf,
    },
}

/// Runs the command that the process was started with.
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    // One TLS library for everything (aws-lc-rs); a second installation can only be this same one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return failed(&format!("the process cannot start its threads: {error}")),
    };
    runtime.block_on(dispatch(arguments.command))
}

async fn dispatch(command: Command) -> ExitCode {
    match command {
        Command::Serve { config } => serve::run(&config).await,
        Command::Demo(arguments) => demo::run(arguments).await,
        Command::Sandbox(arguments) => sandbox::run(arguments).await,
        Command::Config(ConfigCommand::Check { config }) => config::check(&config),
        Command::Config(ConfigCommand::Trust { config }) => config::trust(&config).await,
        Command::Verify(arguments) => verify::run(&arguments),
        Command::Keys(KeysCommand::Bootstrap { config }) => keys::bootstrap(&config).await,
        Command::Recover { config } => recover::run(&config).await,
        Command::Audit(command) => audit::run(command).await,
    }
}

/// Says on standard error why the command failed.
#[expect(clippy::print_stderr, reason = "a command line speaks to its terminal")]
fn failed(why: &str) -> ExitCode {
    eprintln!("countersign: {why}");
    ExitCode::FAILURE
}

/// Turns true when the process is asked to stop: SIGTERM, or Ctrl-C.
pub fn shutdown_signal() -> tokio::sync::watch::Receiver<bool> {
    let (stop, receiver) = tokio::sync::watch::channel(false);
    tokio::spawn(async move {
        let terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate());
        match terminate {
            Ok(mut terminate) => {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = tokio::signal::ctrl_c() => {}
                }
            }
            Err(_) => {
                let _ = tokio::signal::ctrl_c().await;
            }
        }
        let _ = stop.send(true);
    });
    receiver
}
