//! Statements: the exact bytes that a key signs. A decision is one; [`crate::domain::endorsement`],
//! [`crate::domain::intervention`] and [`crate::domain::recovery`] are others.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::domain::batch::{FEWEST_IN_BATCH, MOST_IN_BATCH};
use crate::domain::canonical::{CanonicalError, from_canonical_json, to_canonical_json};
use crate::domain::decision::Verdict;
use crate::domain::digest::Digest;
use crate::domain::person::Person;
use crate::domain::subject::{self, FrozenSubject};
use crate::domain::time;

/// in-toto Statement v1.
pub const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// Names the form of our predicate.
pub const PREDICATE_TYPE: &str = "urn:countersign:predicate:decision:v1";
/// Names the same form where a person takes an earlier yes back.
pub const WITHDRAWAL_TYPE: &str = "urn:countersign:predicate:withdrawal:v1";
/// Names the same form where a person breaks the glass.
pub const BREAK_GLASS_TYPE: &str = "urn:countersign:predicate:break-glass:v1";
/// Names the form in which one decision is on every deployment of a list.
pub const BATCH_TYPE: &str = "urn:countersign:predicate:batch-decision:v1";
/// The payload type of the pre-authentication encoding (DSSE v1).
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
/// How long a statement may be signed. Long enough to read it and find the key, short enough that
/// a page left open on a desk is no standing permission.
pub const STATEMENT_LIFETIME: SignedDuration = SignedDuration::from_mins(5);

/// An in-toto statement, with a decision as its predicate where no other is named.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement<P = Predicate> {
    /// [`STATEMENT_TYPE`].
    #[serde(rename = "_type")]
    pub statement_type: String,
    /// What the statement is about, each by digest: the image too, where one is to run. Of a batch, those of
    /// its deployments, one after the other.
    pub subject: Vec<Subject>,
    /// [`PREDICATE_TYPE`], [`WITHDRAWAL_TYPE`], [`BREAK_GLASS_TYPE`] or [`BATCH_TYPE`].
    #[serde(rename = "predicateType")]
    pub predicate_type: String,
    /// What is said.
    pub predicate: P,
}

/// What the statement is about (in-toto ResourceDescriptor).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// The image's repository, or the approval's id.
    pub name: String,
    /// Its digest.
    pub digest: SubjectDigest,
}

/// The digest of a subject, by algorithm.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubjectDigest {
    /// SHA-256.
    pub sha256: Digest,
}

/// One person's decision, on one whole subject or on each of several.
///
/// The texts are only ever read by [`from_canonical_json`], which refuses members that are not listed here.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Predicate {
    /// What the person says.
    pub decision: Verdict,
    /// SHA-256 of the statement that is taken back, where one is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub withdraws: Option<Digest>,
    /// Why, in the person's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What was asked for, in full.
    #[serde(flatten)]
    pub on: DecidedOn,
    /// Since when the gate cannot reach the directory, if the person signed in with their key alone.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "time::deserialize_some"
    )]
    pub directory_unreachable_since: Option<Timestamp>,
    /// Who decides.
    pub approver: Person,
    /// The credentials that may sign it, base64url.
    pub credentials: Vec<String>,
    /// SHA-256 of the ID token of the person's sign-in: the directory's own word for the groups.
    pub sign_in_digest: Digest,
    /// The origin of the gate that it is meant for.
    pub audience: String,
    /// 32 random bytes, base64url: makes the challenge random and single-use.
    pub nonce: String,
    /// When it was made.
    #[serde(deserialize_with = "time::deserialize")]
    pub issued_at: Timestamp,
    /// Until when it may be signed.
    #[serde(deserialize_with = "time::deserialize")]
    pub expires_at: Timestamp,
}

/// What a decision is on, in full.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum DecidedOn {
    /// One subject.
    One {
        /// What was asked for, under the name of the first kind that there was.
        #[serde(rename = "deployment")]
        subject: subject::Subject,
        /// The digest of the policy that rules.
        policy_digest: Digest,
    },
    /// Several deployments, each of which names its own policy.
    Batch {
        /// Each in full, in the order in which they were asked for.
        deployments: Vec<subject::Subject>,
    },
}

/// What a person wants to say about a deployment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Saying {
    /// What it is.
    pub decision: Verdict,
    /// Why, in the person's words.
    pub reason: Option<String>,
    /// SHA-256 of the statement that is taken back, where one is.
    pub withdraws: Option<Digest>,
    /// Since when the gate cannot reach the directory, if the person signed in with their key alone.
    pub directory_unreachable_since: Option<Timestamp>,
}

/// Who is to sign a new statement.
pub struct Decider {
    /// Who it is.
    pub approver: Person,
    /// The credentials that may sign, base64url.
    pub credentials: Vec<String>,
    /// SHA-256 of the ID token of the sign-in.
    pub sign_in_digest: Digest,
}

/// A statement with its canonical bytes.
#[derive(Clone, PartialEq, Debug)]
pub struct Frozen<P> {
    statement: Statement<P>,
    text: String,
}

/// A statement of a decision.
pub type FrozenStatement = Frozen<Predicate>;

/// What every predicate says of its own signing.
pub trait Signable: Serialize + DeserializeOwned {
    /// The credentials that may sign it, base64url.
    fn credentials(&self) -> &[String];
    /// Makes the challenge random and single-use.
    fn nonce(&self) -> &str;
    /// Until when it may be signed.
    fn expires_at(&self) -> Timestamp;
    /// Since when the gate cannot reach the directory, if it says that. Whoever signed in with a key alone signs
    /// nothing that does not.
    fn directory_unreachable_since(&self) -> Option<Timestamp> {
        None
    }
}

/// What a statement beside an approval says of who signs it, so that one check serves them all.
pub trait Act: Signable {
    /// Who says it.
    fn signer(&self) -> &Person;
    /// SHA-256 of the ID token of the signer's sign-in.
    fn sign_in_digest(&self) -> &Digest;
    /// The origin of the gate that it is meant for.
    fn audience(&self) -> &str;
    /// When it was made, and until when it may be signed.
    fn lifetime(&self) -> (Timestamp, Timestamp);
}

impl Signable for Predicate {
    fn credentials(&self) -> &[String] {
        &self.credentials
    }

    fn nonce(&self) -> &str {
        &self.nonce
    }

    fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    fn directory_unreachable_since(&self) -> Option<Timestamp> {
        self.directory_unreachable_since
    }
}

impl FrozenStatement {
    /// Makes the statement that `decider` may sign about `asked` from `now` on.
    pub fn prepare(
        asked: &FrozenSubject,
        saying: Saying,
        decider: Decider,
        nonce: String,
        now: Timestamp,
    ) -> Result<Self, CanonicalError> {
        let on =
            DecidedOn::One { subject: asked.subject().clone(), policy_digest: asked.policy_digest };
        Self::prepare_on(on, &[asked], saying, decider, nonce, now)
    }

    /// Makes the statement that `decider` may sign about all of `asked` at once from `now` on, until the
    /// first of them expires.
    pub fn prepare_batch(
        asked: &[&FrozenSubject],
        saying: Saying,
        decider: Decider,
        nonce: String,
        now: Timestamp,
    ) -> Result<Self, CanonicalError> {
        let deployments = asked.iter().map(|one| one.subject().clone()).collect();
        Self::prepare_on(DecidedOn::Batch { deployments }, asked, saying, decider, nonce, now)
    }

    fn prepare_on(
        on: DecidedOn,
        asked: &[&FrozenSubject],
        saying: Saying,
        decider: Decider,
        nonce: String,
        now: Timestamp,
    ) -> Result<Self, CanonicalError> {
        let latest = now.saturating_add(STATEMENT_LIFETIME).unwrap_or(now);
        let ends = asked.iter().map(|one| one.expires_at);
        let predicate = Predicate {
            decision: saying.decision,
            withdraws: saying.withdraws,
            reason: saying.reason,
            directory_unreachable_since: saying.directory_unreachable_since,
            approver: decider.approver,
            credentials: decider.credentials,
            sign_in_digest: decider.sign_in_digest,
            audience: asked.first().map(|one| one.audience.clone()).unwrap_or_default(),
            nonce,
            issued_at: now,
            expires_at: ends.fold(latest, Timestamp::min),
            on,
        };
        let statement = Statement {
            statement_type: STATEMENT_TYPE.to_owned(),
            subject: asked.iter().flat_map(|one| subjects_of(one)).collect(),
            predicate_type: type_of(&predicate).to_owned(),
            predicate,
        };
        Self::freeze(statement)
    }

    /// Whether it is a decision on exactly `asked`, alone or as one of a batch: types and subjects are those
    /// of such a statement, it names an earlier statement if it takes one back, and gives a reason if it breaks
    /// the glass, which alone is done while the directory cannot be reached.
    pub fn is_about(&self, asked: &FrozenSubject) -> bool {
        let predicate = self.predicate();
        let takes_back = predicate.decision == Verdict::Withdraw;
        let holds_it = match &predicate.on {
            DecidedOn::One { subject, policy_digest } => {
                subject == asked.subject()
                    && *policy_digest == asked.policy_digest
                    && self.statement.subject == subjects_of(asked)
            }
            DecidedOn::Batch { deployments } => {
                matches!(predicate.decision, Verdict::Approve | Verdict::Reject)
                    && deployments.contains(asked.subject())
                    && self.is_batch(deployments)
            }
        };
        holds_it
            && self.statement.statement_type == STATEMENT_TYPE
            && self.statement.predicate_type == type_of(predicate)
            && predicate.audience == asked.audience
            && predicate.withdraws.is_some() == takes_back
            && match predicate.decision {
                Verdict::BreakGlass => has_words(&predicate.reason),
                _ => predicate.directory_unreachable_since.is_none(),
            }
    }

    /// Whether these are deployments for one gate, each approval once, and the statement's subjects are
    /// theirs: no two readers find different deployments for one approval in it.
    fn is_batch(&self, deployments: &[subject::Subject]) -> bool {
        let audience = &self.predicate().audience;
        let approvals: BTreeSet<_> = deployments.iter().map(|one| &one.facts().approval).collect();
        let frozen = deployments.iter().map(|one| FrozenSubject::freeze(one.clone()));
        let subjects = frozen.map(|one| one.map(|one| subjects_of(&one)));
        (FEWEST_IN_BATCH..=MOST_IN_BATCH).contains(&deployments.len())
            && approvals.len() == deployments.len()
            && deployments.iter().all(|one| one.deployment().is_some())
            && deployments.iter().all(|one| one.facts().audience == *audience)
            && subjects
                .collect::<Result<Vec<_>, _>>()
                .is_ok_and(|subjects| subjects.concat() == self.statement.subject)
    }
}

impl<P: Serialize + DeserializeOwned> Frozen<P> {
    /// A statement with its canonical text.
    pub fn freeze(statement: Statement<P>) -> Result<Self, CanonicalError> {
        let text = to_canonical_json(&statement)?;
        Ok(Self { statement, text })
    }

    /// Reads a statement back from its canonical text, and from no other text.
    pub fn thaw(text: &str) -> Result<Self, CanonicalError> {
        Ok(Self { statement: from_canonical_json(text)?, text: text.to_owned() })
    }

    /// The canonical JSON.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The facts.
    pub fn statement(&self) -> &Statement<P> {
        &self.statement
    }

    /// What is said.
    pub fn predicate(&self) -> &P {
        &self.statement.predicate
    }

    /// The WebAuthn challenge: SHA-256 of the pre-authentication encoding. Random through the
    /// nonce, and a commitment to every byte of the statement.
    pub fn challenge(&self) -> Digest {
        Digest::of(pre_authentication_encoding(PAYLOAD_TYPE, self.text.as_bytes()))
    }
}

/// Whether a reason says something.
fn has_words(reason: &Option<String>) -> bool {
    reason.as_ref().is_some_and(|reason| !reason.trim().is_empty())
}

fn type_of(predicate: &Predicate) -> &'static str {
    match (&predicate.on, predicate.decision) {
        (DecidedOn::Batch { .. }, _) => BATCH_TYPE,
        (DecidedOn::One { .. }, Verdict::Approve | Verdict::Reject) => PREDICATE_TYPE,
        (DecidedOn::One { .. }, Verdict::Withdraw) => WITHDRAWAL_TYPE,
        (DecidedOn::One { .. }, Verdict::BreakGlass) => BREAK_GLASS_TYPE,
    }
}

/// The image that is to run, if one is, and whatever is asked for under its approval's id.
pub(super) fn subjects_of(asked: &FrozenSubject) -> Vec<Subject> {
    let subject = |name: String, sha256| Subject { name, digest: SubjectDigest { sha256 } };
    let image = asked.subject().image();
    let image = image.map(|image| subject(image.repository().to_owned(), *image.digest()));
    let whole = subject(asked.approval.to_string(), *asked.digest());
    image.into_iter().chain([whole]).collect()
}

/// DSSE v1 pre-authentication encoding: `DSSEv1 LEN(type) type LEN(body) body`.
pub fn pre_authentication_encoding(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut encoded =
        format!("DSSEv1 {} {} {} ", payload_type.len(), payload_type, payload.len()).into_bytes();
    encoded.extend_from_slice(payload);
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pre_authentication_encoding_is_the_one_of_dsse() {
        // The example of the DSSE v1 protocol document.
        assert_eq!(
            pre_authentication_encoding("http://example.com/HelloWorld", b"hello world"),
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        );
    }
}
