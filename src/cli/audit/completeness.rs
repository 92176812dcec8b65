//! `countersign audit completeness`: everything that changed of the services in a period, and what no
//! approval explains of it.

use std::process::ExitCode;

use jiff::Timestamp;
use secrecy::ExposeSecret;
use serde::Serialize;
use serde_json::json;

use crate::cli::audit::{CompletenessArguments, INCOMPLETE, load, usage};
use crate::cli::failed;
use crate::config::Config;
use crate::domain::drift::Finding;
use crate::domain::observation::ListedRevision;
use crate::domain::period::Period;
use crate::domain::service::ServiceName;
use crate::integrations::cloud_run::CloudRun;
use crate::storage::{KeptSighting, Storage};

/// One change of the population.
#[derive(Serialize)]
struct Change {
    service: String,
    at: Timestamp,
    /// `revision`, `traffic`, or `unwatched` for a time of which nobody knows.
    kind: &'static str,
    what: String,
    /// The approval or the signed explanation; none for what is unmatched.
    explained_by: Option<String>,
}

/// Lists the population. Exit code 0: all of it is matched; 3: some is not; 1: it could not be read.
#[expect(clippy::print_stdout, reason = "the answer of a command goes to standard output")]
pub(super) async fn run(arguments: &CompletenessArguments) -> ExitCode {
    let period = match Period::parse(&arguments.from, &arguments.to) {
        Ok(period) => period,
        Err(error) => return usage(&error.to_string()),
    };
    let config = match load(&arguments.config) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let changes = match population(&config, period).await {
        Ok(changes) => changes,
        Err(why) => return failed(&why),
    };
    let unmatched = changes.iter().filter(|change| change.explained_by.is_none()).count();
    if arguments.json {
        println!(
            "{}",
            json!({
                "from": period.from,
                "until": period.until,
                "changes": changes,
                "unmatched": unmatched,
            })
        );
    } else {
        for change in &changes {
            let Change { service, at, kind, what, explained_by } = change;
            let by = explained_by.as_deref().unwrap_or("UNMATCHED");
            println!("{at}  {service}  {kind}: {what}  {by}");
        }
        println!(
            "{} changes from {} to before {} (UTC), {unmatched} unmatched",
            changes.len(),
            period.from,
            period.until
        );
    }
    if unmatched == 0 { ExitCode::SUCCESS } else { ExitCode::from(INCOMPLETE) }
}

/// Everything that changed in the period, in order.
async fn population(config: &Config, period: Period) -> Result<Vec<Change>, String> {
    let url = config.database.expose_secret();
    let storage = Storage::open_beside(url, config.log_key.clone())
        .await
        .map_err(|error| format!("the database {}: {error}", config.database_shown()))?;
    let cloud_run = CloudRun::new(config.cloud_run.clone());
    let services = config.environments.values().flat_map(|policy| &policy.services);
    let mut changes = Vec::new();
    for service in services {
        changes.extend(changes_of(&storage, &cloud_run, service, period).await?);
    }
    storage.close().await;
    changes.sort_by(|one, other| (one.at, &one.service).cmp(&(other.at, &other.service)));
    Ok(changes)
}

async fn changes_of(
    storage: &Storage,
    cloud_run: &CloudRun,
    service: &ServiceName,
    period: Period,
) -> Result<Vec<Change>, String> {
    let say = |error: &dyn std::fmt::Display| format!("{service}: {error}");
    // Read before the ledger, so that what is read there explains it.
    let revisions = cloud_run.list_revisions(service).await.map_err(|error| say(&error))?;
    let rollouts = storage.rollouts_since(service, None).await.map_err(|error| say(&error))?;
    let findings = storage.findings().await.map_err(|error| say(&error))?;
    let findings: Vec<Finding> =
        findings.into_iter().filter(|finding| finding.found.service == *service).collect();
    let sightings = storage.sightings(period.until).await.map_err(|error| say(&error))?;
    let sightings: Vec<KeptSighting> =
        sightings.into_iter().filter(|kept| kept.sighting.service == *service).collect();
    let change = |at, kind, what: String, explained_by| Change {
        service: service.to_string(),
        at,
        kind,
        what,
        explained_by,
    };
    let (noun, shared) = (service.kind().noun(), service.kind().shared());
    let mut changes = Vec::new();
    for ListedRevision { name, created_at, creator } in revisions {
        if period.contains(created_at) {
            let made = rollouts.iter().find(|rollout| rollout.plan.revision == name);
            let made = made.map(|rollout| rollout.approval.to_string());
            let explained_by = made.or_else(|| explained_later(&sightings, &findings, created_at));
            let what = format!("{name} was created by {creator}");
            changes.push(change(created_at, "revision", what, explained_by));
        }
    }
    for finding in findings.iter().filter(|finding| period.contains(finding.at)) {
        let what = finding.found.unexplained.join(" ");
        changes.push(change(finding.at, shared, what, explanation(finding)));
    }
    for kept in sightings.iter().filter(|kept| period.contains(kept.at)) {
        if let Some(approval) = &kept.sighting.explained_by {
            let what = format!("a rollout left the {noun} as it was signed");
            changes.push(change(kept.at, shared, what, Some(approval.to_string())));
        }
    }
    let watched_since = sightings.first().map(|kept| kept.at);
    if watched_since.is_none_or(|since| since > period.from) {
        let what = match watched_since {
            Some(since) => format!("nobody looked at the {shared} before {since}"),
            None => format!("nobody looked at the {shared}: the configuration has no [drift]"),
        };
        changes.push(change(period.from, "unwatched", what, None));
    }
    Ok(changes)
}

fn explanation(finding: &Finding) -> Option<String> {
    finding.settled().map(|text| format!("explanation of entry {}: {text}", finding.entry))
}

/// What two people signed about the first look after this moment: whatever was changed before it, it found.
fn explained_later(
    sightings: &[KeptSighting],
    findings: &[Finding],
    at: Timestamp,
) -> Option<String> {
    let next = sightings.iter().find(|kept| kept.at >= at)?;
    findings.iter().find(|finding| finding.entry == next.entry).and_then(explanation)
}
