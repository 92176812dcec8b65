//! What was tried and did not hold, as the ledger tells it: who, what, and the stable code. Never a token.

use jiff::Timestamp;
use serde_json::json;

use crate::domain::person::Person;
use crate::integrations::workload_oidc::{Refused, VerifiedRequester};
use crate::storage::{Refusal, Storage};

/// A workload's token that does not hold.
pub const TOKEN: &str = "token.refused";
/// A webhook that is not GitHub's, or of nothing that is pinned.
pub const WEBHOOK: &str = "webhook.refused";
/// A request of a workload whose token holds.
pub const REQUEST: &str = "request.refused";
/// A sign-in.
pub const SIGN_IN: &str = "sign_in.refused";
/// A key that a person wanted to register.
pub const CREDENTIAL: &str = "credential.refused";
/// A decision.
pub const DECISION: &str = "decision.refused";
/// What an approver signed about a rollout.
pub const INTERVENTION: &str = "intervention.refused";
/// A credential for an agent.
pub const AGENT_CREDENTIAL: &str = "agent_credential.refused";
/// A grant.
pub const GRANT: &str = "grant.refused";
/// A freeze, or its end.
pub const FREEZE: &str = "freeze.refused";
/// An endorsement of another person's key.
pub const ENDORSEMENT: &str = "endorsement.refused";
/// A second signature for a broken glass.
pub const EXCEPTION_REVIEW: &str = "exception_review.refused";
/// An explanation of a change that no approval explains.
pub const DRIFT_EXPLANATION: &str = "drift_explanation.refused";

/// Counts a refused token: of a known issuer by issuer and code, with what it signed if it did.
pub fn of_token(storage: &Storage, refused: &Refused, now: Timestamp) {
    let code = refused.refusal.code();
    let Some(issuer) = &refused.issuer else {
        return storage.note_stranger(TOKEN, code, now);
    };
    let about = match &refused.signed {
        Some(signed) => {
            json!({"issuer": issuer, "subject": signed.subject, "requester": signed.requester})
        }
        None => json!({"issuer": issuer}),
    };
    storage.note_refusal(Refusal { kind: TOKEN, code, about, at: now });
}

/// Counts a request that a workload may not make.
pub fn of_request(
    storage: &Storage,
    requester: &VerifiedRequester,
    code: &'static str,
    now: Timestamp,
) {
    let about = json!({
        "issuer": requester.issuer_name(),
        "subject": requester.subject(),
        "requester": requester.requester_key(),
    });
    storage.note_refusal(Refusal { kind: REQUEST, code, about, at: now });
}

/// Counts what was refused to a person whom the directory vouched for.
pub fn of_person(
    storage: &Storage,
    kind: &'static str,
    person: &Person,
    code: &'static str,
    now: Timestamp,
) {
    storage.note_refusal(Refusal { kind, code, about: json!({"person": person}), at: now });
}
