//! What was signed, changed in the one row that the gate reads it from.

use countersign::domain::deployment::{Deployment, Preconditions};
use countersign::proof::verify::Code::{
    AudienceMismatch, ChainBroken, PolicyMismatch, RequesterMismatch, RequesterNotAllowed,
    StatementMismatch,
};
use jiff::SignedDuration;
use serde_json::json;

use super::Bite::Without;
use super::{Act, Attack, Bite};

fn attack(name: &'static str, code: &'static str, bite: Bite, edit: fn(&mut Deployment)) -> Attack {
    Attack {
        name,
        wrote: "approvals.deployment and its copies",
        act: Act::Deployment(edit),
        code,
        bite,
    }
}

/// What finds it first, and what would find it then.
const TWO: Bite = Without(&[ChainBroken, StatementMismatch]);

pub fn attacks() -> Vec<Attack> {
    vec![
        attack("another image", "chain_broken", TWO, |deployment| {
            let digest = "a".repeat(64);
            let repository = deployment.image.repository().to_owned();
            deployment.image = format!("{repository}@sha256:{digest}").parse().unwrap();
        }),
        attack(
            "an image of another repository",
            "chain_broken",
            Without(&[ChainBroken, RequesterNotAllowed, StatementMismatch]),
            |deployment| {
                let digest = deployment.image.digest();
                deployment.image = format!("evil.example/app/web@sha256:{digest}").parse().unwrap();
            },
        ),
        attack("another command in the template", "chain_broken", TWO, |deployment| {
            deployment.proposed["containers"][0]["command"] = json!(["/bin/sh"]);
        }),
        attack("another service account", "chain_broken", TWO, |deployment| {
            deployment.proposed["serviceAccount"] = json!("owner@demo.example");
        }),
        attack("another service", "chain_broken", TWO, |deployment| {
            deployment.service = crate::support::gate::NEW_SERVICE.parse().unwrap();
        }),
        attack(
            "a service that the policy does not name",
            "chain_broken",
            Without(&[ChainBroken, RequesterNotAllowed, StatementMismatch]),
            |deployment| {
                deployment.service =
                    "projects/demo/locations/europe-west1/services/bank".parse().unwrap();
            },
        ),
        attack("everything in one step", "chain_broken", TWO, |deployment| {
            deployment.plan.steps.drain(..2);
        }),
        attack("another way back", "chain_broken", TWO, |deployment| {
            deployment.plan.rollback[0].revision = "web-00001-bad".into();
        }),
        attack("another name of the revision", "chain_broken", TWO, |deployment| {
            deployment.plan.revision.push('x');
        }),
        attack("another state that must hold before", "chain_broken", TWO, |deployment| {
            let Preconditions::Present { generation, .. } = &mut deployment.preconditions else {
                panic!("the service exists")
            };
            *generation += 1;
        }),
        attack(
            "another requester",
            "chain_broken",
            Without(&[ChainBroken, RequesterMismatch, StatementMismatch]),
            |deployment| {
                deployment.requester.claims.insert("actor".into(), json!("mallory"));
            },
        ),
        attack("another reason", "chain_broken", TWO, |deployment| {
            deployment.reason.push_str(", and nothing else");
        }),
        attack("a later expiry", "chain_broken", TWO, |deployment| {
            deployment.expires_at += SignedDuration::from_hours(24);
        }),
        attack("an earlier expiry", "chain_broken", TWO, |deployment| {
            deployment.expires_at -= SignedDuration::from_hours(1);
        }),
        attack(
            "another time of the request",
            "chain_broken",
            Without(&[ChainBroken, RequesterMismatch, StatementMismatch]),
            |deployment| {
                deployment.requested_at += SignedDuration::from_hours(24);
            },
        ),
        attack(
            "another gate",
            "audience_mismatch",
            Without(&[AudienceMismatch, ChainBroken, StatementMismatch]),
            |deployment| {
                deployment.audience = "https://gate.evil.example".into();
            },
        ),
        attack(
            "another environment",
            "policy_mismatch",
            Without(&[PolicyMismatch, ChainBroken, StatementMismatch]),
            |deployment| {
                deployment.environment = "staging".into();
            },
        ),
    ]
}
