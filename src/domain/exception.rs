//! Exceptions: somebody broke the glass, and somebody else has to sign for it afterwards.
//!
//! An exception is an entry of the ledger and no row. It stays open, on every page, until a second person, whom the
//! rules of the approval let sign and who did not break the glass, has signed a statement of their own.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::approval::Approval;
use crate::domain::canonical::{CanonicalError, to_canonical_json};
use crate::domain::decision::{Decision, SignedDecision, Verdict, standing};
use crate::domain::digest::Digest;
use crate::domain::ids::ApprovalId;
use crate::domain::person::Person;
use crate::domain::statement::{
    Act, Decider, Frozen, STATEMENT_LIFETIME, STATEMENT_TYPE, Signable, Statement, Subject,
    SubjectDigest,
};
use crate::domain::time;

/// Names the form of the predicate with which a second person closes an exception.
pub const EXCEPTION_REVIEW_TYPE: &str = "urn:countersign:predicate:exception-review:v1";
/// What the ledger calls that the glass was broken.
pub const EXCEPTION_OPENED: &str = "exception.opened";
/// What it calls that nobody else signed for it in time.
pub const EXCEPTION_OVERDUE: &str = "exception.overdue";
/// What it calls that somebody did.
pub const EXCEPTION_CLOSED: &str = "exception.closed";

/// What the ledger says of a broken glass.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrokenGlass {
    /// The approval.
    pub approval: ApprovalId,
    /// Its environment.
    pub environment: String,
    /// What it is about, as people call it.
    pub target: String,
    /// Whose signature it was that made them enough.
    pub by: Person,
    /// That person's name, as the directory said.
    pub by_name: String,
    /// Why, in that person's words.
    pub reason: String,
    /// Everybody who broke it.
    pub breakers: Vec<Person>,
    /// Since when the gate could not reach the directory then, if one of them signed in with a key alone.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "time::deserialize_some"
    )]
    pub directory_unreachable_since: Option<Timestamp>,
    /// Until when somebody else has to sign for it.
    #[serde(deserialize_with = "time::deserialize")]
    pub explain_before: Timestamp,
}

impl BrokenGlass {
    /// What is to be said of an approval for which the glass was broken just now, if it was.
    pub fn of(approval: &Approval, now: Timestamp) -> Option<Self> {
        let glass = approval.policy.break_glass.as_ref().filter(|_| approval.is_glass_broken())?;
        let breaks = |decision: &&Decision| decision.verdict == Verdict::BreakGlass;
        let breakers: Vec<&Decision> =
            standing(&approval.decisions).into_iter().filter(breaks).collect();
        let last = breakers.last()?;
        Some(Self {
            approval: approval.id().clone(),
            environment: approval.subject.environment.clone(),
            target: approval.subject.subject().target_name().to_owned(),
            by: last.person.clone(),
            by_name: last.name.clone(),
            reason: last.reason.clone().unwrap_or_default(),
            breakers: breakers.iter().map(|decision| decision.person.clone()).collect(),
            directory_unreachable_since: breakers
                .iter()
                .find_map(|decision| decision.directory_unreachable_since),
            explain_before: glass.explain_before(now),
        })
    }
}

/// What a second person signs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExceptionReview {
    /// The ledger's entry about the broken glass.
    pub entry: u64,
    /// What it says.
    pub exception: BrokenGlass,
    /// What they found, in their words.
    pub explanation: String,
    /// Who says it.
    pub signer: Person,
    /// The credentials that may sign it, base64url.
    pub credentials: Vec<String>,
    /// SHA-256 of the ID token of the signer's sign-in.
    pub sign_in_digest: Digest,
    /// The origin of the gate that it is meant for.
    pub audience: String,
    /// 32 random bytes, base64url.
    pub nonce: String,
    /// When it was made.
    #[serde(deserialize_with = "time::deserialize")]
    pub issued_at: Timestamp,
    /// Until when it may be signed.
    #[serde(deserialize_with = "time::deserialize")]
    pub expires_at: Timestamp,
}

impl Signable for ExceptionReview {
    fn credentials(&self) -> &[String] {
        &self.credentials
    }

    fn nonce(&self) -> &str {
        &self.nonce
    }

    fn expires_at(&self) -> Timestamp {
        self.expires_at
    }
}

impl Act for ExceptionReview {
    fn signer(&self) -> &Person {
        &self.signer
    }

    fn sign_in_digest(&self) -> &Digest {
        &self.sign_in_digest
    }

    fn audience(&self) -> &str {
        &self.audience
    }

    fn lifetime(&self) -> (Timestamp, Timestamp) {
        (self.issued_at, self.expires_at)
    }
}

/// A statement that closes an exception.
pub type FrozenReview = Frozen<ExceptionReview>;

impl FrozenReview {
    /// Makes the statement that `signer` may sign from `now` on, about the exception of this entry.
    pub fn of_exception(
        (entry, exception): (u64, BrokenGlass),
        explanation: String,
        signer: Decider,
        (audience, nonce): (&str, String),
        now: Timestamp,
    ) -> Result<Self, CanonicalError> {
        let sha256 = Digest::of(to_canonical_json(&exception)?);
        let name = exception.approval.to_string();
        Self::freeze(Statement {
            statement_type: STATEMENT_TYPE.to_owned(),
            subject: vec![Subject { name, digest: SubjectDigest { sha256 } }],
            predicate_type: EXCEPTION_REVIEW_TYPE.to_owned(),
            predicate: ExceptionReview {
                entry,
                exception,
                explanation,
                signer: signer.approver,
                credentials: signer.credentials,
                sign_in_digest: signer.sign_in_digest,
                audience: audience.to_owned(),
                nonce,
                issued_at: now,
                expires_at: now.saturating_add(STATEMENT_LIFETIME).unwrap_or(now),
            },
        })
    }
}

/// What the ledger says of the second signature: everything that proves it but the sign-in. Binary members are
/// unpadded base64url.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedReview {
    /// The ledger's entry about the broken glass.
    pub entry: u64,
    /// The approval.
    pub approval: ApprovalId,
    /// Its environment.
    pub environment: String,
    /// What was found.
    pub explanation: String,
    /// Who signed.
    pub by: Person,
    /// That person's name, as the directory said.
    pub by_name: String,
    /// The signed statement.
    pub statement: String,
    /// The credential that signed.
    pub signed_with: String,
    /// WebAuthn authenticator data.
    pub authenticator_data: String,
    /// WebAuthn client data.
    pub client_data_json: String,
    /// The signature over authenticator data and the hash of the client data.
    pub signature: String,
    /// The RFC 7638 thumbprint of the directory's key that signed the person's sign-in.
    pub sign_in_key: String,
}

impl RecordedReview {
    /// What is recorded of what was signed. `sign_in_key` as in the member.
    pub fn new(
        review: &ExceptionReview,
        by_name: &str,
        signed: &SignedDecision,
        sign_in_key: String,
    ) -> Self {
        let encode = |bytes: &[u8]| data_encoding::BASE64URL_NOPAD.encode(bytes);
        Self {
            entry: review.entry,
            approval: review.exception.approval.clone(),
            environment: review.exception.environment.clone(),
            explanation: review.explanation.clone(),
            by: review.signer.clone(),
            by_name: by_name.to_owned(),
            statement: signed.statement.clone(),
            signed_with: encode(&signed.credential_id),
            authenticator_data: encode(&signed.authenticator_data),
            client_data_json: encode(&signed.client_data_json),
            signature: encode(&signed.signature),
            sign_in_key,
        }
    }
}

/// What the ledger says when nobody else signed in time.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OverdueException {
    /// The ledger's entry about the broken glass.
    pub entry: u64,
    /// The approval.
    pub approval: ApprovalId,
    /// Its environment.
    pub environment: String,
}

/// An exception as it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Exception {
    /// The index of its entry.
    pub entry: u64,
    /// When the glass was broken.
    pub at: Timestamp,
    /// What happened.
    pub glass: BrokenGlass,
    /// When somebody else signed for it, and what.
    pub review: Option<(Timestamp, RecordedReview)>,
    /// Whether the ledger says that it is overdue.
    pub is_told_overdue: bool,
}

/// Where an exception stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExceptionStatus {
    /// Somebody else has to sign for it.
    Open,
    /// Somebody else had to, and the time is over.
    Overdue,
    /// Somebody else did.
    Closed,
}

impl Exception {
    /// Where it stands.
    pub fn status(&self, now: Timestamp) -> ExceptionStatus {
        match &self.review {
            Some(_) => ExceptionStatus::Closed,
            None if now < self.glass.explain_before => ExceptionStatus::Open,
            None => ExceptionStatus::Overdue,
        }
    }

    /// Why this person may not sign for it, if so. `approval` is the one that it is about.
    pub fn refuse_review(
        &self,
        approval: &Approval,
        person: &Person,
        groups: &[String],
    ) -> Result<(), ReviewRefusal> {
        if self.review.is_some() {
            return Err(ReviewRefusal::Closed);
        }
        let broke = self.glass.breakers.contains(person) || self.glass.by == *person;
        if broke || approval.policy.was_asked_by(approval.subject.subject(), person) {
            return Err(ReviewRefusal::OwnGlass);
        }
        if approval.policy.admits_approver(person, groups) {
            Ok(())
        } else {
            Err(ReviewRefusal::NotAnApprover)
        }
    }
}

/// Why somebody cannot close an exception.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReviewRefusal {
    /// Somebody did.
    #[error("somebody else signed for this exception already: nothing is left to do")]
    Closed,
    /// They broke the glass, or asked for what it was broken for.
    #[error(
        "you broke this glass, or it was broken for what was asked on your behalf: somebody else has to sign for it"
    )]
    OwnGlass,
    /// They may not sign there.
    #[error(
        "you may not sign for this exception: none of the rules of its environment names you or one of your groups"
    )]
    NotAnApprover,
}

impl ReviewRefusal {
    /// The stable name of the refusal.
    pub fn code(self) -> &'static str {
        match self {
            Self::Closed => "exception_closed",
            Self::OwnGlass => "own_exception",
            Self::NotAnApprover => "not_an_approver",
        }
    }
}
