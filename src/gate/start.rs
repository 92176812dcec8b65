//! The gate starts: under which program and configuration, and with which rules.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::domain::digest::Digest;
use crate::domain::rulebook::{RULES_IN_FORCE, Rulebook};
use crate::gate::GateError;
use crate::gate::rules_in_force::data_of;
use crate::storage::{Storage, Writer};

/// What the entry about a start is called.
const STARTED: &str = "gate.started";
/// What the entry about an environment's rules is called.
const POLICY_CHANGED: &str = "policy.changed";

/// Records a start before anything is served: the version, the digest of the configuration, every policy that
/// is not the one that was recorded last, and the rules that bind from now on, if none did before and what is
/// pinned lets them.
///
/// # Errors
/// If the ledger cannot be written. Nothing else is written before it can.
pub async fn record(
    storage: &Storage,
    rules: &Rulebook,
    configuration: &Digest,
    now: Timestamp,
) -> Result<(), GateError> {
    let mut writer = storage.begin_start().await?;
    let started =
        json!({"version": env!("CARGO_PKG_VERSION"), "configuration_digest": configuration});
    writer.record(STARTED, started, now).await?;
    let mut recorded = recorded_digests(&mut writer).await?;
    for (environment, policy) in &rules.environments {
        let (text, digest) = policy.canonical()?;
        let previous = recorded.remove(environment);
        if previous != Some(digest) {
            let policy: Value = serde_json::from_str(&text).unwrap_or_default();
            let data = json!({"environment": environment, "policy_digest": digest, "policy": policy, "previous": previous});
            writer.record(POLICY_CHANGED, data, now).await?;
        }
    }
    for (environment, previous) in recorded {
        let data = json!({"environment": environment, "policy_digest": null, "policy": null, "previous": previous});
        writer.record(POLICY_CHANGED, data, now).await?;
    }
    bind(storage, &mut writer, rules, now).await?;
    writer.commit().await?;
    storage.started();
    Ok(())
}

/// Writes the first rulebook that binds: from here on rules change only with signatures. Trust on first use,
/// since before there is nobody whose signature could be asked for.
async fn bind(
    storage: &Storage,
    writer: &mut Writer,
    rules: &Rulebook,
    now: Timestamp,
) -> Result<(), GateError> {
    let is_bound = storage.rules().current().is_some();
    // One that was not verified yet may be another gate's, which began at the same moment. It is read in a
    // second; what this process then runs with is what it says, or it begins again with that.
    let verified = storage.known_tree().map_or(0, |tree| tree.size());
    let is_told = writer.has_kind_since(RULES_IN_FORCE, verified).await?;
    if !is_bound && !is_told && rules.anchors.bind() {
        writer.record(RULES_IN_FORCE, data_of(rules), now).await?;
        let digest = rules.digest()?;
        tracing::info!(%digest, "these rules bind from now on: they change only with the signatures that they ask for");
    }
    Ok(())
}

/// The digest of each environment's rules as they were recorded last; none for one that is gone.
async fn recorded_digests(writer: &mut Writer) -> Result<BTreeMap<String, Digest>, GateError> {
    let mut digests = BTreeMap::new();
    for record in writer.records_of_kind(POLICY_CHANGED).await? {
        let Some(environment) = record.data["environment"].as_str() else { continue };
        match record.data["policy_digest"].as_str().and_then(|text| text.parse().ok()) {
            Some(digest) => digests.insert(environment.to_owned(), digest),
            None => digests.remove(environment),
        };
    }
    Ok(digests)
}
