//! `countersign recover`: the way back after a restored backup, or a failover that lost commits.

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::app::App;
use crate::cli::{USAGE, failed, keys, logging, serve, shutdown_signal};
use crate::clock::Clock;
use crate::config::Config;
use crate::domain::approval::Status;
use crate::domain::ledger::{Frontier, Record};
use crate::domain::recovery::{FrozenRecovery, RECOVERY_LIFETIME, lineage};
use crate::domain::rulebook::RuleHistory;
use crate::domain::text::one_line;
use crate::gate::recover::{make_links, prepare};
use crate::gate::{CeremonyRefusal, GateError};
use crate::proof::log_head::SeenHead;
use crate::proof::recovery::RecoveryRefusal;
use crate::server::Front;
use crate::storage::{ApprovalFilter, Storage};

/// How often is looked whether everybody has signed.
const PAUSE: Duration = Duration::from_millis(500);
/// How many entries are verified at once.
const AT_ONCE: u64 = 500;

/// Says on this terminal what the database lost, gives the links of those who must sign, and waits until
/// the gate goes on. Exit code 0: it does; 1: it does not, and says why; 2: this is no terminal.
#[expect(clippy::print_stderr, reason = "a command line speaks to its terminal")]
pub async fn run(config: &Path) -> ExitCode {
    if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
        eprintln!(
            "countersign: the links of a recovery are shown on a terminal alone, so that no log keeps them: run `countersign recover` by hand, without pipes"
        );
        return ExitCode::from(USAGE);
    }
    logging::start_quietly();
    match try_recover(config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => failed(&why),
    }
}

async fn try_recover(path: &Path) -> Result<(), String> {
    let config = Config::load_from_process(path).map_err(|error| error.to_string())?;
    if config.pins.endorsers.is_empty() {
        return Err("trust.endorsers pins nobody's key, so nobody can sign for a recovery, and neither the database nor the log key can stand in for a person. Bring the lost part back; or write the public key of an approver whose key this backup knows into trust.endorsers (it is on the page of keys; compare its code with its owner) and run this again; or begin a new log: an empty database, a new log key, another [log] head".to_owned());
    }
    let (stop, stopped) = watch::channel(false);
    let storage = serve::open(&config).await;
    let storage = storage.map_err(|error| serve::unusable(&config, &error))?;
    let ruled = serve::ruled(&config, &storage, &RuleHistory::default()).await?;
    let config = Arc::clone(&ruled.config);
    let app = serve::build(&ruled, storage, Clock::system(), stopped.clone())?;
    let seen = app.seen_head().await.map_err(|error| error.to_string())?;
    let seen = seen.ok_or("no head of the log is kept outside the database ([log] head), so nothing says that anything is lost: start the gate")?;
    whole(&app.storage).await?;
    let statement = prepare(&app.storage, &app.trust, &seen, app.now()).await;
    let statement = statement.map_err(|error| not_prepared(&error))?;
    tell(&app, &seen, &statement).await?;
    let listener = keys::listen(&config, &app).await?;
    let gate: JoinHandle<Result<(), String>> = match listener {
        Some(listener) => {
            let front = Front::open(listener, stopped.clone());
            tokio::spawn(serve::serve_app(app.clone(), ruled, front, stopped))
        }
        // Another gate of this database serves the page and goes on; this process only follows.
        None => {
            let log = std::sync::Arc::clone(&app.log);
            tokio::spawn(async move {
                log.begin().await;
                log.run(stopped).await;
                Ok(())
            })
        }
    };
    let mut shutdown = shutdown_signal();
    let outcome = match give_links(&app, &config, &statement).await {
        Ok(()) => wait(&app, &seen, &statement, &mut shutdown).await,
        Err(why) => Err(why),
    };
    if outcome.is_ok() {
        print_pins(&app, &statement);
        stay(&mut shutdown).await;
    }
    let _ = stop.send(true);
    gate.await.map_err(|error| error.to_string())??;
    outcome
}

/// Every entry that is left is one that the log key signed in its place: else nobody is asked to sign
/// for going on from it.
async fn whole(storage: &Storage) -> Result<(), String> {
    let fault = |error: &dyn std::fmt::Display| {
        format!(
            "what is left of the log is not whole ({error}): restore another backup; a log with a hole in it cannot go on"
        )
    };
    let head = storage.head().await.map_err(|error| fault(&error))?;
    let mut tree = Frontier::default();
    while tree.size() < head.size() {
        let count = u32::try_from((head.size() - tree.size()).min(AT_ONCE)).unwrap_or(1);
        tree = storage.follow(&tree, count).await.map_err(|error| fault(&error))?.tree;
    }
    if tree == head { Ok(()) } else { Err(fault(&"its head is not that of its entries")) }
}

fn not_prepared(error: &GateError) -> String {
    match error {
        GateError::Ceremony(CeremonyRefusal::NothingToRecover) => {
            format!("{error}: start the gate")
        }
        GateError::Recovery(RecoveryRefusal::TooFew { found, needed }) => format!(
            "{needed} people with pinned keys must sign, and the log that is left knows {found} of them by the entries of their keys: restore a newer backup, or pin keys in trust.endorsers that it knows"
        ),
        other => other.to_string(),
    }
}

#[expect(clippy::print_stdout, reason = "the answer of a command goes to standard output")]
async fn tell(app: &App, seen: &SeenHead, statement: &FrozenRecovery) -> Result<(), String> {
    let say = |error: &dyn std::fmt::Display| error.to_string();
    let recovery = statement.predicate();
    let kept = recovery.database.size;
    println!(
        "The log {} had {} entries when it was last seen; the database has {kept}.\n",
        recovery.outside.name, seen.size
    );
    match recovery.lost() {
        Some(lost) => println!("    lost      {lost} entries, at the end of the log"),
        None => println!("    lost      unknown: the first {} entries are other ones", seen.size),
    }
    let last = match kept.checked_sub(1) {
        Some(last) => app.storage.entry(last).await.map_err(|error| say(&error))?,
        None => None,
    };
    let last = last.and_then(|entry| Record::parse(&entry.record).ok());
    println!(
        "    since     {}",
        last.map_or("the beginning".to_owned(), |record| record.at.to_string())
    );
    match recovery.revoked.as_slice() {
        [] => println!("    revoked   no revocation that is known outside is lost"),
        keys => println!("    revoked   {}: lost, and revoked again", keys.join(", ")),
    }
    let statuses = vec![Status::Approved, Status::Executing];
    let filter = ApprovalFilter { statuses, limit: u32::MAX, ..ApprovalFilter::default() };
    let open = app.storage.approvals(&filter).await.map_err(|error| say(&error))?.approvals;
    let open: Vec<String> = open.iter().map(|one| one.approval.id().to_string()).collect();
    match open.as_slice() {
        [] => println!("    rollouts  none was under way then"),
        ids => println!("    rollouts  under way then, and looked at again: {}", ids.join(", ")),
    }
    println!("    goes on   as {}\n", recovery.new_name);
    println!(
        "If the lost part can still be brought back, bring it back instead (Ctrl-C gives up).\n"
    );
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the links are for this terminal and no log")]
async fn give_links(app: &App, config: &Config, statement: &FrozenRecovery) -> Result<(), String> {
    let links = make_links(&app.storage, &app.trust, statement).await;
    let links = links.map_err(|error| error.to_string())?;
    let who = match links.len() {
        1 => "One person with a pinned key must sign".to_owned(),
        count => format!("{count} people with pinned keys must sign, each through one link"),
    };
    println!("{who}. A link works once, within {} minutes:\n", RECOVERY_LIFETIME.as_mins());
    for token in links {
        println!("    {}/recovery#{token}", config.relying_party.origin);
    }
    let mut people: Vec<String> = statement
        .predicate()
        .signers
        .iter()
        .map(|signer| one_line(&signer.person.subject))
        .collect();
    people.sort();
    people.dedup();
    println!("\nWho can sign: {}. This waits.", people.join(", "));
    Ok(())
}

/// Waits until the gate goes on under the new name.
async fn wait(
    app: &App,
    seen: &SeenHead,
    statement: &FrozenRecovery,
    shutdown: &mut watch::Receiver<bool>,
) -> Result<(), String> {
    let recovery = statement.predicate();
    let (_, recoveries) = lineage(&recovery.new_name);
    loop {
        if app.storage.log_fault().is_none() && app.storage.lineage().recoveries >= recoveries {
            return Ok(());
        }
        if app.now() >= recovery.expires_at {
            let again = prepare(&app.storage, &app.trust, seen, app.now()).await;
            // Signed in time, and a long log is still being verified.
            let is_signed =
                matches!(again, Err(GateError::Ceremony(CeremonyRefusal::NothingToRecover)));
            if !is_signed {
                return Err(
                    "not everybody signed in time, and nothing changed: run this again".to_owned()
                );
            }
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            _ = shutdown.wait_for(|stop| *stop) => return Err("given up: the gate goes on only if everybody has signed already".to_owned()),
        }
    }
}

#[expect(clippy::print_stdout, reason = "the answer of a command goes to standard output")]
fn print_pins(app: &App, statement: &FrozenRecovery) {
    let recovery = statement.predicate();
    let (_, recoveries) = lineage(&recovery.new_name);
    println!("The log was recovered: the gate decides and rolls out again.\n");
    println!(
        "    entry     {}, which says what was lost and who signed for it",
        recovery.database.size
    );
    println!(
        "Whoever verifies this gate's evidence reads that entry, and then pins in trust.json:\n"
    );
    println!("    \"log\": \"{}\"\n", app.trust.after(recoveries).log);
    println!(
        "The gate's configuration stays as it is. Evidence from before keeps the old name, and is verified with it."
    );
}

/// The person who signed last still looks at a page of this gate.
#[expect(clippy::print_stdout, reason = "a command line speaks to its terminal")]
async fn stay(shutdown: &mut watch::Receiver<bool>) {
    println!("\nStop this with Ctrl-C, and start the gate as usual where it does not run already.");
    let _ = shutdown.wait_for(|stop| *stop).await;
}
