//! `countersign policy replay`: which approvals of the past would have ended otherwise.

use std::process::ExitCode;

use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::{ReplayArguments, answer, rules_of};
use crate::config::Config;
use crate::domain::approval::Approval;
use crate::domain::period::Period;
use crate::domain::policy::{Ending, Replayed, replay};
use crate::storage::{ApprovalFilter, LARGEST_PAGE, Storage, StorageError};

/// Plays the approvals that were asked for in a period again, under the rules of another configuration.
pub(super) async fn run(arguments: &ReplayArguments) -> Result<ExitCode, String> {
    let rules = rules_of(&arguments.new)?;
    let period =
        Period::parse(&arguments.from, &arguments.to).map_err(|error| error.to_string())?;
    let config = Config::load_from_process(&arguments.config).map_err(|error| error.to_string())?;
    let storage = Storage::open_beside(config.database.expose_secret(), config.log_key.clone())
        .await
        .map_err(|error| format!("the database cannot be read: {error}"))?;
    let approvals = asked_in(&storage, period).await;
    storage.close().await;
    let approvals = approvals.map_err(|error| format!("the approvals cannot be read: {error}"))?;
    let played: Vec<(&Approval, Replayed)> = approvals
        .iter()
        .filter_map(|approval| {
            let policy = rules.get(&approval.subject.environment);
            Some((approval, replay(approval, policy)?))
        })
        .collect();
    let different: Vec<_> = played.iter().filter(|(_, replayed)| replayed.differs()).collect();
    let pending = approvals.len() - played.len();
    let text = if arguments.json {
        let different = different.iter().map(|(approval, replayed)| machine(approval, replayed));
        json!({
            "played": played.len(),
            "pending": pending,
            "different": different.collect::<Vec<_>>(),
        })
        .to_string()
    } else {
        let mut text = String::new();
        for (approval, replayed) in &different {
            text.push_str(&in_words(approval, replayed));
        }
        text.push_str(&format!(
            "{} of {} approvals would have ended otherwise; on {pending} people may still decide.\n",
            different.len(),
            played.len()
        ));
        text
    };
    Ok(answer(different.is_empty(), &text))
}

/// The approvals that were asked for in a period, the newest first.
async fn asked_in(storage: &Storage, period: Period) -> Result<Vec<Approval>, StorageError> {
    let mut filter = ApprovalFilter { limit: LARGEST_PAGE, ..ApprovalFilter::default() };
    let mut found = Vec::new();
    loop {
        let page = storage.approvals(&filter).await?;
        let is_older = page.approvals.last().is_some_and(|last| last.created_at < period.from);
        found.extend(
            page.approvals
                .into_iter()
                .filter(|stored| period.contains(stored.created_at))
                .map(|stored| stored.approval),
        );
        filter.cursor = page.next_cursor;
        if is_older || filter.cursor.is_none() {
            return Ok(found);
        }
    }
}

fn in_words(approval: &Approval, replayed: &Replayed) -> String {
    let asked = &approval.subject;
    let why = replayed.now.why().map(|why| format!(": {why}")).unwrap_or_default();
    format!(
        "{} ({} in {}, {}): {} then, {} now{why}\n",
        approval.id(),
        asked.subject().target_name(),
        asked.environment,
        asked.requested_at,
        replayed.then.as_str(),
        replayed.now.as_str(),
    )
}

fn machine(approval: &Approval, replayed: &Replayed) -> Value {
    let ending =
        |ending: &Ending| json!({"ending": ending.as_str().replace(' ', "_"), "why": ending.why()});
    json!({
        "id": approval.id().as_str(),
        "environment": approval.subject.environment,
        "service": approval.subject.subject().target(),
        "requested_at": approval.subject.requested_at,
        "then": ending(&replayed.then),
        "now": ending(&replayed.now),
    })
}
