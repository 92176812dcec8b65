//! The SLSA Verification Summary of an approval, so that verifiers which know nothing of this gate can
//! consume its verdict (<https://slsa.dev/spec/v1.0/verification_summary>).

use jiff::Timestamp;
use serde::Serialize;

use crate::domain::approval::{Approval, Status};
use crate::domain::canonical::{CanonicalError, to_canonical_json};
use crate::domain::digest::Digest;
use crate::domain::statement::{STATEMENT_TYPE, Subject, SubjectDigest};
use crate::domain::subject::FrozenSubject;

/// The predicate of SLSA 1.0.
pub const PREDICATE_TYPE: &str = "https://slsa.dev/verification_summary/v1";
/// What this gate verified. Not one of SLSA's levels: those are about how something was built.
const LEVEL: &str = "COUNTERSIGN_HUMAN_APPROVED";

#[derive(Serialize)]
struct Statement {
    #[serde(rename = "_type")]
    statement_type: &'static str,
    subject: [Subject; 1],
    #[serde(rename = "predicateType")]
    predicate_type: &'static str,
    predicate: Predicate,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Predicate {
    verifier: Verifier,
    time_verified: Timestamp,
    resource_uri: String,
    policy: Descriptor,
    input_attestations: [Descriptor; 1],
    verification_result: &'static str,
    verified_levels: Vec<&'static str>,
    slsa_version: &'static str,
}

#[derive(Serialize)]
struct Verifier {
    id: String,
}

#[derive(Serialize)]
struct Descriptor {
    uri: String,
    digest: SubjectDigest,
}

/// Whether an approval with this status has a verdict, and whether it is a yes. One that is still
/// open has none.
pub fn verdict(status: Status) -> Option<bool> {
    match status {
        Status::Pending => None,
        Status::Approved
        | Status::Executing
        | Status::Succeeded
        | Status::Failed
        | Status::RolledBack
        | Status::NeedsAttention => Some(true),
        Status::Rejected
        | Status::Expired
        | Status::Cancelled
        | Status::Superseded
        | Status::Withdrawn => Some(false),
    }
}

/// The statement's canonical JSON. `evidence` is the digest of the evidence file that it sums up.
///
/// # Errors
/// If something in it has no canonical form, which nothing in an approval lacks.
pub fn summarise(
    approval: &Approval,
    approved: bool,
    evidence: Digest,
    now: Timestamp,
) -> Result<String, CanonicalError> {
    let asked = &approval.subject;
    let origin = &asked.audience;
    let page = format!("{origin}/approvals/{}", asked.approval);
    let descriptor = |uri, sha256| Descriptor { uri, digest: SubjectDigest { sha256 } };
    to_canonical_json(&Statement {
        statement_type: STATEMENT_TYPE,
        subject: [about(asked)],
        predicate_type: PREDICATE_TYPE,
        predicate: Predicate {
            verifier: Verifier { id: origin.clone() },
            time_verified: now,
            resource_uri: asked.subject().target().to_owned(),
            policy: descriptor(
                format!("{origin}/environments/{}", asked.environment),
                asked.policy_digest,
            ),
            input_attestations: [descriptor(page, evidence)],
            verification_result: if approved { "PASSED" } else { "FAILED" },
            verified_levels: if approved { vec![LEVEL] } else { Vec::new() },
            slsa_version: "1.0",
        },
    })
}

/// The image that is to run; of anything else what was asked for itself.
fn about(asked: &FrozenSubject) -> Subject {
    let (name, sha256) = match asked.subject().image() {
        Some(image) => (image.repository().to_owned(), *image.digest()),
        None => (asked.approval.to_string(), *asked.digest()),
    };
    Subject { name, digest: SubjectDigest { sha256 } }
}
