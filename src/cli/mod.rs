//! The command line: one file per command.

pub mod audit;
pub mod config;
pub mod demo;
pub mod exec;
pub mod keys;
pub mod logging;
pub mod policy;
pub mod recover;
pub mod request;
pub mod sandbox;
pub mod serve;
pub mod verify;
pub mod wait;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The exit code of a command that cannot be carried out as it was given. `request`, `wait` and `exec` tell a
/// pipeline more, and have tables of their own.
const USAGE: u8 = 2;

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
    /// Ask for a deployment from a pipeline's job or a shell, and wait for it.
    Request(Box<request::RequestArguments>),
    /// Go on waiting for an approval that was asked for before.
    Wait(wait::WaitArguments),
    /// Run a command after people have signed exactly this command, and not otherwise.
    Exec(Box<exec::ExecArguments>),
    /// Verify the evidence of an approval: offline, against trust anchors alone.
    Verify(verify::VerifyArguments),
    /// Set up who may endorse keys.
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Look at the rules before they count: what they allow, what changes, what they would have done.
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
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
        /// Also ask Cloud Run whether it would let the gate roll out, and change nothing.
        #[arg(long)]
        live: bool,
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
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return unusable(&error),
    };
    // One TLS library for everything (aws-lc-rs); a second installation can only be this same one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return failed(&format!("the process cannot start its threads: {error}")),
    };
    runtime.block_on(dispatch(arguments.command))
}

/// Help, or what is wrong with the command line. Of `request` and `wait` each exit code has a meaning,
/// and clap's own 2 is somebody's signed no; of `exec` it could be the command's.
fn unusable(error: &clap::Error) -> ExitCode {
    let _ = error.print();
    let word = std::env::args_os().nth(1).unwrap_or_default();
    if error.use_stderr() && (word == "request" || word == "wait") {
        return request::outcome::Outcome::Usage.into();
    }
    if error.use_stderr() && word == "exec" {
        return ExitCode::from(exec::ending::NOT_RUN);
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(1))
}

async fn dispatch(command: Command) -> ExitCode {
    match command {
        Command::Serve { config } => serve::run(&config).await,
        Command::Demo(arguments) => demo::run(arguments).await,
        Command::Sandbox(arguments) => sandbox::run(arguments).await,
        Command::Config(ConfigCommand::Check { config, live }) => {
            config::check(&config, live).await
        }
        Command::Request(arguments) => request::run(*arguments).await,
        Command::Wait(arguments) => wait::run(arguments).await,
        Command::Exec(arguments) => exec::run(*arguments).await,
        Command::Policy(command) => policy::run(command).await,
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
