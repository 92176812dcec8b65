//! Rows that follow from single entries.

use serde_json::{Value, json};

use super::Table;
use crate::domain::approval::State;
use crate::domain::digest::Digest;
use crate::domain::key_sign_in::SIGNED_IN_WITH_KEY;
use crate::domain::ledger::Record;

/// Every entry in plain words.
pub(super) const EVENTS: Table = Table {
    name: "events",
    columns: &["index", "at", "kind", "who", "approval", "status", "sentence", "leaf"],
};
/// What happened to keys.
pub(super) const KEYS: Table = Table {
    name: "keys",
    columns: &[
        "index",
        "at",
        "kind",
        "person",
        "credential",
        "aaguid",
        "backup_eligible",
        "reason",
    ],
};
/// Who signed in.
pub(super) const SIGN_INS: Table = Table {
    name: "sign_ins",
    columns: &["index", "at", "issuer", "subject", "name", "groups", "auth_time"],
};
/// What was done at Cloud Run.
pub(super) const ROLLOUTS: Table = Table {
    name: "rollouts",
    columns: &[
        "index",
        "at",
        "approval",
        "kind",
        "call",
        "step",
        "steps_done",
        "result",
        "reason",
        "traffic",
        "uri",
    ],
};

/// The rows that one entry gives.
pub(super) fn rows(
    index: u64,
    record: &Record,
    leaf: &Digest,
) -> Vec<(&'static Table, Vec<Value>)> {
    let status = record.approval.as_ref().map(|approval| approval.state.status());
    let event = vec![
        json!(index),
        json!(record.at),
        json!(record.kind),
        json!(record.party()),
        json!(record.subject()),
        json!(status),
        json!(record.sentence()),
        json!(leaf),
    ];
    let mut rows: Vec<(&'static Table, Vec<Value>)> = vec![(&EVENTS, event)];
    let data = &record.data;
    if record.kind.starts_with("credential.") {
        let row = vec![
            json!(index),
            json!(record.at),
            json!(record.kind),
            json!(record.party()),
            data["credential"].clone(),
            data["aaguid"].clone(),
            data["backup_eligible"].clone(),
            data["reason"].clone(),
        ];
        rows.push((&KEYS, row));
    }
    if record.kind == "person.signed_in" || record.kind == SIGNED_IN_WITH_KEY {
        let row = vec![
            json!(index),
            json!(record.at),
            data["person"]["issuer"].clone(),
            data["person"]["subject"].clone(),
            data["name"].clone(),
            data["groups"].clone(),
            data["auth_time"].clone(),
        ];
        rows.push((&SIGN_INS, row));
    }
    if record.kind.starts_with("rollout.")
        && let Some(approval) = &record.approval
    {
        let about = [json!(index), json!(record.at), json!(approval.id), json!(record.kind)];
        rows.push((&ROLLOUTS, about.into_iter().chain(rollout(&approval.state)).collect()));
    }
    rows
}

/// Call, step, steps done, result, reason, traffic, address.
fn rollout(state: &State) -> [Value; 7] {
    let mut row = [const { Value::Null }; 7];
    let progress = match state {
        State::Executing { progress, .. } | State::NeedsAttention { progress, .. } => {
            Some(progress)
        }
        _ => None,
    };
    if let Some(progress) = progress {
        let call = progress.intent.as_ref().map(|intent| json!(intent.call)).unwrap_or_default();
        row[0] = call["kind"].clone();
        row[1] = call["step"].clone();
        row[2] = json!(progress.steps_done);
    }
    match state {
        State::Succeeded { serving, .. } => {
            row[3] = json!("succeeded");
            if let Some(serving) = serving {
                row[5] = json!(serving.traffic);
                row[6] = json!(Some(&serving.uri).filter(|uri| !uri.is_empty()));
            }
        }
        State::Failed { reason, .. }
        | State::RolledBack { reason, .. }
        | State::NeedsAttention { reason, .. } => {
            row[3] = json!(state.status());
            row[4] = json!(reason);
        }
        _ => {}
    }
    row
}
