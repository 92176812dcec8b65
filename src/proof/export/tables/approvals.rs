//! Rows that follow from the verified evidence of an approval, and the policies.

use data_encoding::HEXLOWER;
use serde_json::{Value, json};

use super::{Population, Table};
use crate::domain::decision::standing;
use crate::domain::deployment::Preconditions;
use crate::domain::digest::Digest;
use crate::domain::ledger::Record;
use crate::domain::subject::{FrozenSubject, Subject};
use crate::proof::verify::Verified;

/// The population of changes.
pub(super) const APPROVALS: Table = Table {
    name: "approvals",
    columns: &[
        "approval",
        "environment",
        "service",
        "image",
        "revision",
        "requested_at",
        "requester_issuer",
        "requester",
        "requester_subject",
        "actor_id",
        "reason",
        "changes",
        "steps",
        "status",
        "ended_at",
        "approvers",
        "deployment_digest",
        "policy_digest",
        "version",
        "entries_in_period",
        "evidence",
    ],
};
/// Who signed.
pub(super) const DECISIONS: Table = Table {
    name: "decisions",
    columns: &[
        "approval",
        "decided_at",
        "decision",
        "approver_issuer",
        "approver",
        "name",
        "groups",
        "reason",
        "requester",
        "actor_id",
        "credential",
        "aaguid",
        "backup_eligible",
        "statement_digest",
        "assertion_digest",
    ],
};
/// The rules.
pub(super) const POLICIES: Table = Table {
    name: "policies",
    columns: &["environment", "policy_digest", "recorded_at", "previous", "policy"],
};

/// One approval.
pub(super) fn approval(verified: &Verified, population: &Population) -> Vec<Value> {
    let asked = verified.subject();
    let deployment = asked.deployment();
    let requester = &asked.requester;
    let state = json!(verified.state());
    let approvers = standing(verified.decisions());
    let approvers = approvers.iter().map(|decision| &decision.person.subject);
    let steps = deployment.map(|it| it.plan.steps.iter().map(|step| step.percent));
    let changes = match asked.subject() {
        Subject::Deployment(deployment) => match &deployment.preconditions {
            Preconditions::Absent {} => changes(&Value::Null, &deployment.proposed),
            Preconditions::Present { running, .. } => changes(running, &deployment.proposed),
        },
        Subject::JobExecution(execution) => {
            changes(&execution.preconditions.running, &execution.proposed)
        }
        Subject::Action(action) => changes(&Value::Null, &json!(action.arguments)),
        Subject::WorkflowRun(_) => Vec::new(),
        Subject::RuleChange(change) => changes(&json!(change.before), &json!(change.after)),
    };
    vec![
        json!(asked.approval),
        json!(asked.environment),
        json!(asked.subject().target()),
        json!(asked.subject().image()),
        json!(deployment.map(|it| &it.plan.revision)),
        json!(asked.requested_at),
        json!(requester.issuer_url),
        json!(requester.key),
        json!(requester.subject),
        json!(actor_id(asked)),
        json!(asked.reason),
        json!(changes),
        json!(steps.map(Iterator::collect::<Vec<_>>)),
        json!(verified.state().status()),
        state["at"].clone(),
        json!(approvers.collect::<Vec<_>>()),
        json!(asked.digest()),
        json!(asked.policy_digest),
        json!(verified.version()),
        json!(population.entries.iter().map(|(index, _)| index).collect::<Vec<_>>()),
        json!(crate::proof::export::evidence_file(asked.approval.as_str())),
    ]
}

/// Its decisions, each beside the ids of whoever asked: separation of duties.
pub(super) fn decisions(verified: &Verified) -> Vec<Vec<Value>> {
    let asked = verified.subject();
    let rows = verified.deciders().iter().map(|decider| {
        let decision = &decider.decision;
        vec![
            json!(asked.approval),
            json!(decision.decided_at),
            json!(decision.verdict),
            json!(decision.person.issuer),
            json!(decision.person.subject),
            json!(decision.name),
            json!(decision.groups),
            json!(decision.reason),
            json!(asked.requester.key),
            json!(actor_id(asked)),
            json!(decision.credential),
            json!(HEXLOWER.encode(&decider.aaguid)),
            json!(decider.backup_eligible),
            json!(decision.statement_digest),
            json!(decision.assertion_digest),
        ]
    });
    rows.collect()
}

/// A change of the rules that an entry tells, with the digest of the new ones.
pub(super) fn policy_of_entry(record: &Record) -> Option<(Option<Digest>, Vec<Value>)> {
    if record.kind != "policy.changed" {
        return None;
    }
    let data = &record.data;
    let digest = data["policy_digest"].as_str().and_then(|text| text.parse().ok());
    let [environment, policy_digest, previous, policy] =
        ["environment", "policy_digest", "previous", "policy"].map(|name| data[name].clone());
    Some((digest, vec![environment, policy_digest, json!(record.at), previous, policy]))
}

/// The rules that an approval was decided under, which no entry of the period tells.
pub(super) fn policy_in_force(verified: &Verified) -> Vec<Value> {
    let policy = verified.policy();
    let digest = verified.subject().policy_digest;
    vec![json!(policy.environment), json!(digest), Value::Null, Value::Null, json!(policy)]
}

/// What changes between two values: the path (RFC 6901), what was there, what comes.
/// The account at GitHub that asked, by its number: the token's, or whoever started this attempt of a run.
fn actor_id(asked: &FrozenSubject) -> Option<String> {
    match asked.workflow_run() {
        Some(run) => run.accounts().last().map(|account| account.id.to_string()),
        None => asked.requester.claim("actor_id").map(str::to_owned),
    }
}

fn changes(before: &Value, after: &Value) -> Vec<Value> {
    let mut found = Vec::new();
    compare(before, after, String::new(), &mut found);
    found
}

fn compare(before: &Value, after: &Value, path: String, found: &mut Vec<Value>) {
    match (before, after) {
        (before, after) if before == after => {}
        (Value::Object(before), Value::Object(after)) => {
            let names =
                before.keys().chain(after.keys().filter(|name| !before.contains_key(*name)));
            let mut names: Vec<&String> = names.collect();
            names.sort_unstable();
            for name in names {
                let step = name.replace('~', "~0").replace('/', "~1");
                let value = |object: &serde_json::Map<String, Value>| {
                    object.get(name).cloned().unwrap_or_default()
                };
                compare(&value(before), &value(after), format!("{path}/{step}"), found);
            }
        }
        (Value::Array(before), Value::Array(after)) if before.len() == after.len() => {
            for (place, (before, after)) in before.iter().zip(after).enumerate() {
                compare(before, after, format!("{path}/{place}"), found);
            }
        }
        (before, after) => found.push(json!({"path": path, "before": before, "after": after})),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_name_their_place() {
        let before = json!({"a": [{"b": 1}, {"c/d": 2}], "gone": true, "same": [1]});
        let after = json!({"a": [{"b": 1}, {"c/d": 3}], "new": null, "same": [1], "list": [1]});
        let expected = json!([
            {"path": "/a/1/c~1d", "before": 2, "after": 3},
            {"path": "/gone", "before": true, "after": null},
            {"path": "/list", "before": null, "after": [1]},
        ]);
        assert_eq!(json!(changes(&before, &after)), expected);
    }
}
