//! `countersign exec`: runs a command after people signed exactly this command, and not otherwise.
//!
//! 1. The program is looked for, and it and the files are hashed. That, the words and the directory are the
//!    arguments of an action ([`crate::domain::command`]), which is asked for and waited for as any other.
//! 2. The evidence is read and verified here, against anchors of this machine: people signed these very
//!    arguments, computed anew from what lies here now.
//! 3. The approval is used up ([`using`]), in the gate's ledger. From here on it is never run by anybody else.
//! 4. Program and files are hashed once more, and the command takes the place of this process.
//!
//! What is signed is the command, not the world: variables, what the program reads beside the files that are
//! named, and the machine itself are as whoever controls the job makes them. And between the last look at a file
//! and its use lie some microseconds, in which whoever may write to it still can.

pub mod call;
pub mod ending;
mod proof;
mod using;

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Map, Value, json};
use tokio::sync::watch;

use crate::cli::request::connection::Connection;
use crate::cli::request::following::Following;
use crate::cli::request::outcome::Outcome;
use crate::cli::request::progress::Progress;
use crate::cli::request::report::Ended;
use crate::cli::request::{Ask, announce, chosen_key, warn_of_token};
use crate::cli::shutdown_signal;
use crate::client::{Approval, Grant};
use crate::config::overrides::environment;
use crate::domain::approval::Status;
use crate::domain::command::{Command, RUN_COMMAND};
use crate::proof::evidence::Trust;
use crate::randomness;
use call::{Named, become_command};
use ending::{NotRun, Reason, exit_codes, report_start};
use proof::Expected;
use using::{Using, not_used, used_before};

/// The options of `countersign exec`.
#[derive(clap::Args)]
#[command(after_help = exit_codes())]
pub struct ExecArguments {
    #[command(flatten)]
    connection: Connection,
    /// What is taken as given when the evidence is verified before anything runs (`countersign config trust`).
    #[arg(long, value_name = "PATH", env = "COUNTERSIGN_TRUST")]
    trust: PathBuf,
    /// The environment whose rules apply.
    #[arg(long)]
    environment: String,
    /// A file that the command depends on: what it holds is signed. May be repeated. The program itself always is.
    #[arg(long = "file", value_name = "PATH")]
    files: Vec<PathBuf>,
    /// Let it run on this machine alone, by its name.
    #[arg(long)]
    on_this_host: bool,
    /// Why it should run, in a sentence that the approver reads.
    #[arg(long, default_value = "No reason was given.")]
    reason: String,
    /// The name under which the gate's configuration declares commands ([[action]] with template = "command").
    #[arg(long, default_value = RUN_COMMAND)]
    tool: String,
    /// How long it may stay open, 8h or 30m; the environment's own if absent.
    #[arg(long)]
    expires_in: Option<String>,
    /// A webhook of the gate's configuration that is told of everything about this approval.
    #[arg(long, value_name = "NAME")]
    notify: Option<String>,
    /// The key under which the gate takes this request once. Derived from pipeline, job, environment and command if
    /// absent: a job that runs again goes on with what it asked for before, and never runs it twice.
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    #[command(flatten)]
    following: Following,
    /// Write one JSON object into this file: why the command was not run, or, right before, that it is started.
    #[arg(long, value_name = "PATH")]
    report: Option<PathBuf>,
    /// The command, behind --: a program and its arguments, as they are and without a shell.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Asks, waits, verifies, and becomes the command. Exit codes: [`ending`].
pub async fn run(arguments: ExecArguments) -> ExitCode {
    let report = arguments.report.clone();
    let not_run = match approved(arguments).await {
        Ok(ready) => ready.start(report.as_deref()),
        Err(not_run) => not_run,
    };
    not_run.speak(report.as_deref())
}

/// A command that was approved for this process alone.
struct Ready {
    named: Named,
    command: Command,
    approval: Approval,
    grant: Grant,
    evidence: PathBuf,
    shutdown: watch::Receiver<bool>,
}

async fn approved(arguments: ExecArguments) -> Result<Ready, NotRun> {
    let variables = environment();
    let ExecArguments { files, on_this_host, command: words, .. } = &arguments;
    let named = Named::new(words.clone(), files.clone(), *on_this_host, &variables);
    let command = named.read()?;
    let signed = command.arguments();
    let trust = read_trust(&arguments.trust)?;
    let body = body(&arguments, &signed);
    let ExecArguments { connection, environment, tool, idempotency_key, mut following, .. } =
        arguments;
    let saved_as = following.evidence.take();
    let client = connection.open(&variables)?;
    let (progress, mut shutdown) = (Progress::begin(), shutdown_signal());
    let key = chosen_key(idempotency_key, &variables, &body, &progress)?;
    warn_of_token(&client, &progress);
    let deadline = following.deadline();
    let ask = Ask { client: &client, body: &body, key: &key, deadline };
    let asked = ask.until_answered(&following, &progress, &mut shutdown).await?;
    announce(&asked, &progress);
    let ended = following.follow(&client, &asked.id, deadline, &progress, &mut shutdown).await;
    let approval = match ended.approval {
        Some(approval) if ended.outcome == Outcome::Done => *approval,
        approval => return Err(not_approved(Ended { approval, ..ended }, &key)),
    };
    if approval.status == Some(Status::Succeeded) {
        return Err(used_before(&approval));
    }
    let expected = Expected {
        approval: &asked.id,
        environment: &environment,
        tool: &tool,
        arguments: &signed,
    };
    let using = Using { client: &client, trust: &trust, expected, deadline, progress: &progress };
    let work = proved_and_used(&using, &approval, (&named, &command), saved_as);
    let (grant, evidence) = tokio::select! {
        used = progress.beside(work) => used?,
        _ = shutdown.wait_for(|stop| *stop) => {
            let why = format!("interrupted while the approval was being used up: the same command with --idempotency-key {key} finds out whether it was, and runs it only if it was not");
            let reason = Reason::Ended(Outcome::StillOpen);
            return Err(NotRun::because(reason, "interrupted", why).of(&approval));
        }
    };
    Ok(Ready { named, command, approval, grant, evidence, shutdown })
}

/// Verifies, writes the evidence down, and only then uses the approval up.
async fn proved_and_used(
    using: &Using<'_>,
    approval: &Approval,
    (named, command): (&Named, &Command),
    saved_as: Option<PathBuf>,
) -> Result<(Grant, PathBuf), NotRun> {
    let proved = using.expected.prove(using.client, using.trust, using.progress).await;
    let proved = proved.map_err(|not_run| not_run.of(approval))?;
    match proved.verified.state().status() {
        Status::Approved => {}
        Status::Succeeded => return Err(used_before(approval)),
        _ => return Err(not_used(approval)),
    }
    // What changed by now is not run, and the approval stays for what was signed.
    unchanged(named, command).map_err(|not_run| not_run.of(approval))?;
    let evidence = saved_as.unwrap_or_else(|| place_for(&approval.id.to_string()));
    save(&evidence, &proved.file).map_err(|not_run| not_run.of(approval))?;
    Ok((using.use_up(approval).await?, evidence))
}

impl Ready {
    /// Becomes the command, or says why it could not.
    fn start(self, report: Option<&Path>) -> NotRun {
        let Self { named, command, approval, grant, evidence, shutdown } = self;
        // The approval is used up. A crash from here on leaves a command that is not run, by anybody.
        let gone = |reason: Reason, code: &str, why: String| {
            let why =
                format!("{why}. Its approval is used up: ask anew with another --idempotency-key");
            let mut not_run = NotRun::because(reason, code, why).of(&approval);
            not_run.evidence = Some(evidence.clone());
            not_run
        };
        if *shutdown.borrow() {
            let reason = Reason::Ended(Outcome::StillOpen);
            return gone(
                reason,
                "interrupted",
                "interrupted right before it was started".to_owned(),
            );
        }
        if let Some(path) = report
            && let Err(error) = report_start(path, &approval, &evidence)
        {
            let why = format!("the report cannot be written to {}: {error}", path.display());
            return gone(Reason::Ended(Outcome::Broken), "report_not_written", why);
        }
        if let Err(changed) = unchanged(&named, &command) {
            let (code, why) = changed.error.unwrap_or_default();
            return gone(changed.reason, &code, why);
        }
        let variables = [
            ("COUNTERSIGN_APPROVAL", OsStr::new(approval.id.as_str())),
            ("COUNTERSIGN_EVIDENCE", evidence.as_os_str()),
            ("COUNTERSIGN_GRANT", OsStr::new(&grant.token)),
        ];
        let error = become_command(&command, &variables);
        let why = format!("{} cannot be started: {error}", command.program.path);
        gone(Reason::NotStarted, "not_started", why)
    }
}

/// A wait that ended without an approval. One that was only left says how to go on, which is not by waiting alone.
fn not_approved(ended: Ended, key: &str) -> NotRun {
    let mut not_run = NotRun::from(ended);
    if not_run.reason == Reason::Ended(Outcome::StillOpen) {
        let (code, why) = not_run
            .error
            .take()
            .unwrap_or_else(|| ("timeout".to_owned(), "--timeout passed.".to_owned()));
        let why = format!(
            "{why} The request stays: the same command with --idempotency-key {key} goes on with it"
        );
        not_run.error = Some((code, why));
    }
    not_run
}

/// What is asked for, as POST /v1/approvals takes it.
fn body(arguments: &ExecArguments, signed: &Map<String, Value>) -> Value {
    let subject = json!({"kind": "action", "tool": arguments.tool, "arguments": signed});
    let mut body = json!({
        "environment": arguments.environment, "subject": subject, "reason": arguments.reason,
    });
    for (name, value) in [("expires_in", &arguments.expires_in), ("notify", &arguments.notify)] {
        if let Some(value) = value {
            body[name] = json!(value);
        }
    }
    body
}

fn read_trust(path: &Path) -> Result<Trust, NotRun> {
    let unusable =
        |why: String| NotRun::usage(format!("the trust anchors {}: {why}", path.display()));
    let file = std::fs::read(path).map_err(|error| unusable(error.to_string()))?;
    Trust::read(&file).map_err(|error| unusable(error.to_string()))
}

/// Looks at everything again.
fn unchanged(named: &Named, command: &Command) -> Result<(), NotRun> {
    let changed = |why: String| NotRun::because(Reason::Changed, "changed", why);
    let now = named.read().map_err(|not_run| {
        changed(not_run.error.map_or_else(String::new, |(_, sentence)| sentence))
    })?;
    command.difference(&now).map_or(Ok(()), |difference| Err(changed(difference)))
}

/// Where the evidence goes if nobody says where: the command may read it, so it stays.
fn place_for(approval: &str) -> PathBuf {
    let unique = randomness::token::<8>();
    std::env::temp_dir().join(format!("{approval}-{unique}.evidence.json"))
}

/// Writes the evidence for its owner alone: tokens are in it, spent ones.
fn save(path: &Path, evidence: &[u8]) -> Result<(), NotRun> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let written = options.open(path).and_then(|mut file| file.write_all(evidence));
    written.map_err(|error| {
        let why = format!("the evidence cannot be written to {}: {error}", path.display());
        NotRun::because(Reason::Ended(Outcome::Broken), "evidence_not_written", why)
    })
}
