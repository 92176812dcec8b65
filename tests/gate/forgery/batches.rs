//! Rows of approvals that were approved in a batch, by one signature for all of it.

use countersign::proof::verify::Code::{
    AssertionInvalid, ChainBroken, RequesterNotAllowed, SignInMismatch, StatementMismatch,
};
use serde_json::json;

use super::Bite::Without;
use super::{Act, Attack, Bite, Place, Scene};

impl Scene {
    /// Two approvals that alice approved with one signature, which the worker has not seen yet.
    pub async fn approved_together(&mut self) -> (String, String) {
        let batch = json!({"batch": format!("batch {}", self.gate.unique())});
        let ids = [self.gate.asked(batch.clone()).await, self.gate.asked(batch).await];
        let page = format!("/approvals/{}/batch", ids[0]);
        let yes = json!({"decision": "approve", "approvals": ids});
        let browser = &mut self.alice.browser;
        let statement = browser.post(&format!("{page}/statements"), &yes).await.unwrap();
        let signed = self.alice.signed(&statement, &[]).unwrap();
        self.alice.browser.post(&format!("{page}/decisions"), &signed).await.unwrap();
        let [first, second] = ids;
        (first, second)
    }
}

fn deployment(
    name: &'static str,
    bite: Bite,
    edit: fn(&mut countersign::domain::deployment::Deployment),
) -> Attack {
    let wrote = "approvals.deployment and its copies";
    Attack { name, wrote, act: Act::DeploymentOfBatch(edit), code: "chain_broken", bite }
}

fn decision(
    name: &'static str,
    wrote: &'static str,
    bite: Bite,
    sql: fn(&Place<'_>) -> Vec<String>,
) -> Attack {
    Attack { name, wrote, act: Act::Batch(sql), code: "statement_mismatch", bite }
}

fn update(place: &Place<'_>, change: &str) -> Vec<String> {
    vec![format!("UPDATE decisions SET {change} WHERE approval_id = '{}'", place.id)]
}

pub fn attacks() -> Vec<Attack> {
    vec![
        deployment(
            "another image of one in a batch",
            Without(&[ChainBroken, StatementMismatch]),
            |deployment| {
                let repository = deployment.image.repository().to_owned();
                let digest = "b".repeat(64);
                deployment.image = format!("{repository}@sha256:{digest}").parse().unwrap();
            },
        ),
        deployment(
            "a service that the policy does not name, of one in a batch",
            Without(&[ChainBroken, RequesterNotAllowed, StatementMismatch]),
            |deployment| {
                deployment.service =
                    "projects/demo/locations/europe-west1/services/bank".parse().unwrap();
            },
        ),
        decision(
            "a batch that lists something else",
            "decisions.statement",
            Without(&[StatementMismatch, AssertionInvalid]),
            |place| update(place, "statement = replace(statement, 'Fixes', 'Breaks')"),
        ),
        decision(
            "a batch in the form of a decision on one",
            "decisions.statement",
            Without(&[StatementMismatch, AssertionInvalid]),
            |place| {
                update(place, "statement = replace(statement, 'batch-decision:v1', 'decision:v1')")
            },
        ),
        decision(
            "the statement of a batch that it is not in",
            "decisions.statement",
            Without(&[StatementMismatch, SignInMismatch, AssertionInvalid]),
            |place| {
                let of_others = format!(
                    "(SELECT statement FROM decisions WHERE statement LIKE '%batch-decision:v1%' \
                     AND approval_id NOT IN ('{}', '{}') ORDER BY position LIMIT 1)",
                    place.id, place.donor
                );
                update(place, &format!("statement = {of_others}"))
            },
        ),
    ]
}
