//! The use cases: one function, one transaction.
//!
//! Nothing here talks to the network. What a use case must know of the outside is read before
//! and handed in; what it causes outside is a job that it commits and the worker does.

pub mod agent_credentials;
pub mod authorise;
pub mod batch;
pub mod cancel;
pub mod decide;
pub mod drift;
pub mod endorse;
pub mod enrol;
pub mod evidence;
pub mod exceptions;
pub mod first_key;
pub mod freezes;
pub mod grants;
pub mod intervene;
pub mod key_alone;
pub mod keys;
pub mod loss;
mod newest;
pub mod notices;
mod orders;
pub mod own_key;
pub mod recover;
pub mod refusals;
pub mod request;
pub mod revoke;
pub mod rollout;
pub mod rule;
pub mod rule_changes;
pub mod rules_in_force;
pub mod runs_asked;
pub mod served;
pub mod sign_in;
pub mod signature;
pub mod start;
pub mod trail;
pub mod watch;
pub mod witnessed;

use crate::domain::approval::{Approval, TransitionRefusal};
use crate::domain::batch::{LARGEST_BATCH, MOST_IN_BATCH};
use crate::domain::canonical::CanonicalError;
use crate::domain::exception::ReviewRefusal;
use crate::domain::ids::ApprovalId;
use crate::domain::key_rules::KeyRefusal;
use crate::domain::request::{FreezeError, RequestRefusal};
use crate::gate::grants::GrantRefusal;
use crate::gate::key_alone::KeyAloneRefusal;
use crate::proof::assertion::AssertionRefusal;
use crate::proof::public_key::PublicKeyRefusal;
use crate::proof::recovery::RecoveryRefusal;
use crate::storage::StorageError;

/// Why a use case did nothing.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// The request may not be made like this.
    #[error(transparent)]
    Request(#[from] RequestRefusal),
    /// The approval does not allow it now.
    #[error(transparent)]
    Transition(#[from] TransitionRefusal),
    /// The assertion does not hold.
    #[error(transparent)]
    Assertion(#[from] AssertionRefusal),
    /// The ceremony does not hold.
    #[error(transparent)]
    Ceremony(#[from] CeremonyRefusal),
    /// One of a batch does not allow it, and so nothing was done about any of them.
    #[error(transparent)]
    Member(#[from] MemberRefusal),
    /// The grant is not taken.
    #[error(transparent)]
    Grant(Box<GrantRefusal>),
    /// The recovery of the log does not hold.
    #[error(transparent)]
    Recovery(#[from] RecoveryRefusal),
    /// The idempotency key or the token was used for something else.
    #[error(transparent)]
    Repetition(#[from] Repetition),
    /// Other requests stand in the way.
    #[error(transparent)]
    Crowding(#[from] Crowding),
    /// There is no such thing, or the caller may not know that there is.
    #[error("there is no approval of this name that you may see")]
    NotFound,
    /// The database did not do it.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A value has no canonical form.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
}

impl From<KeyAloneRefusal> for GateError {
    fn from(refusal: KeyAloneRefusal) -> Self {
        CeremonyRefusal::from(refusal).into()
    }
}

impl From<GrantRefusal> for GateError {
    fn from(refusal: GrantRefusal) -> Self {
        Self::Grant(Box::new(refusal))
    }
}

impl From<FreezeError> for GateError {
    fn from(error: FreezeError) -> Self {
        match error {
            FreezeError::Refused(refusal) => Self::Request(refusal),
            FreezeError::Canonical(error) => Self::Canonical(error),
        }
    }
}

/// Why one deployment of a batch cannot be signed with the others.
#[derive(Debug, thiserror::Error)]
#[error("nothing was signed, because of {target} in {environment} ({approval}): {error}")]
pub struct MemberRefusal {
    /// The approval.
    pub approval: ApprovalId,
    /// Its service, as people call it.
    pub target: String,
    /// Its environment.
    pub environment: String,
    /// What does not allow it.
    pub error: Box<GateError>,
}

impl GateError {
    /// The same about one of several, if it is a refusal and no fault of ours.
    #[must_use]
    pub fn of_member(self, approval: &Approval) -> Self {
        match self {
            Self::Transition(_) | Self::Ceremony(_) => MemberRefusal {
                approval: approval.id().clone(),
                target: approval.subject.subject().target_name().to_owned(),
                environment: approval.subject.environment.clone(),
                error: Box::new(self),
            }
            .into(),
            other => other,
        }
    }

    /// The stable name of what speaks against a signature, if that is why.
    pub fn signature_code(&self) -> Option<&'static str> {
        match self {
            Self::Assertion(refusal) => Some(refusal.code()),
            Self::Ceremony(refusal) => Some(refusal.code()),
            Self::Transition(refusal) => Some(refusal.code()),
            Self::Member(refusal) => refusal.error.signature_code(),
            _ => None,
        }
    }
}

/// A key or a token that was used before, for something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Repetition {
    /// The same idempotency key came with another body.
    #[error(
        "this Idempotency-Key was used for another request: send the same body again, or choose a new key for a new request"
    )]
    OtherBody,
    /// The same token came with another idempotency key.
    #[error(
        "this token was already used under another Idempotency-Key: ask the issuer for a fresh token for each request"
    )]
    TokenReused,
    /// The token was issued before the log was recovered.
    #[error(
        "this token was issued before the log of this gate was recovered, and what it was used for may be lost: ask the issuer for a fresh token"
    )]
    TokenBeforeRecovery,
}

impl Repetition {
    /// The stable name of the refusal.
    pub fn code(self) -> &'static str {
        match self {
            Self::OtherBody => "idempotency_key_reused",
            Self::TokenReused => "token_reused",
            Self::TokenBeforeRecovery => "token_before_recovery",
        }
    }
}

/// Requests that still wait for people and leave no room for another.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Crowding {
    /// The environment takes one request for a service or a job at a time.
    #[error(
        "an older request for {0} still waits for people, and this environment takes one at a time (newer_request = \"refuse\"): wait until it is decided, or cancel it"
    )]
    OlderWaits(String),
    /// Another rollout of the service runs.
    #[error("another rollout of {0} runs: wait for its end, or stop that one")]
    OtherRollout(String),
    /// One requester asks faster than the environment allows.
    #[error(
        "{requester} asked {most} times for {environment} within an hour, as often as its requests_per_hour allows: ask again in {wait_seconds} seconds, and not for the same thing"
    )]
    TooFast {
        /// Who asks.
        requester: String,
        /// The environment.
        environment: String,
        /// How often it may.
        most: u64,
        /// After how long it may again.
        wait_seconds: u64,
    },
    /// A batch has all that one signature covers.
    #[error(
        "the batch {0:?} of this run has no room: one signature covers at most {most} deployments of {kib} KiB together. Name another batch, or none",
        most = MOST_IN_BATCH,
        kib = LARGEST_BATCH / 1024
    )]
    BatchFull(String),
    /// As many wait as the environment allows.
    #[error(
        "{most} requests for {environment} already wait for people, as many as its max_pending allows: cancel those that nobody needs, or have them decided"
    )]
    TooManyWait {
        /// The environment.
        environment: String,
        /// How many may wait.
        most: u64,
    },
}

impl Crowding {
    /// The stable name of the refusal.
    pub fn code(&self) -> &'static str {
        match self {
            Self::OlderWaits(_) => "older_request_pending",
            Self::OtherRollout(_) => "other_rollout",
            Self::BatchFull(_) => "batch_full",
            Self::TooFast { .. } => "too_many_requests",
            Self::TooManyWait { .. } => "too_many_pending",
        }
    }
}

/// Why a signing or enrolment ceremony ends without effect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CeremonyRefusal {
    /// The gate made no such statement for this person and session.
    #[error("this page is out of date: load it again, read it and sign what it shows then")]
    UnknownStatement,
    /// The statement was signed before.
    #[error("this was already signed and sent: load the page again to see where it stands")]
    StatementUsed,
    /// The five minutes are over.
    #[error(
        "the signature came more than five minutes after you asked for it: press the button again"
    )]
    StatementExpired,
    /// The person has no key that may sign.
    #[error("you have no key registered here: register one on the keys page, then come back")]
    NoCredential,
    /// The person's keys wait for other approvers.
    #[error(
        "your key waits for other approvers to endorse it, and signs nothing before: ask one of them to open the keys of all approvers, and compare the code of the key with the one on your keys page"
    )]
    NotEndorsed,
    /// None of the person's keys is what the rules of the environment ask for.
    #[error("the key {name:?} does not sign here: {refusal}")]
    KeyNotAccepted {
        /// What the person calls it.
        name: String,
        /// What speaks against it.
        refusal: KeyRefusal,
    },
    /// Each of several deployments may be signed, but with no key that signs all of them.
    #[error(
        "none of your keys may sign all of these at once, since their environments ask for different ones: sign each on its own page"
    )]
    NoCommonKey,
    /// Nobody endorses a key of their own.
    #[error("a key is endorsed by somebody else than its owner: ask another approver")]
    OwnKey,
    /// The person endorsed the key before.
    #[error("you endorsed this key before, and a person counts once: ask another approver")]
    AlreadyEndorsed,
    /// The key waits for nobody.
    #[error("this key does not wait for endorsements: nothing was signed")]
    NothingToEndorse,
    /// The key that signed is not one of those that the statement names.
    #[error(
        "the key that signed is not one of your registered keys: use one of those on your keys page"
    )]
    OtherCredential,
    /// The key was suspended.
    #[error(
        "this key is suspended because its signature counter went backwards, as a copied key's would: use another key and revoke this one"
    )]
    SuspendedCredential,
    /// The key was revoked.
    #[error(
        "this key was revoked and signs nothing any more: use another of your keys, or register a new one on the keys page"
    )]
    RevokedCredential,
    /// There is no such key, or the person may not revoke it.
    #[error(
        "there is no key of this name that you may revoke: your own keys are on the keys page, and those of others can be revoked by whoever may sign in some environment"
    )]
    UnknownCredential,
    /// Somebody else's key is revoked without a word.
    #[error(
        "say in a few words why you revoke the key of somebody else: they and the auditors read it"
    )]
    ReasonMissing,
    /// The stored public key cannot be read.
    #[error("the stored public key of this key cannot be used ({0}): register the key again")]
    UnreadableCredential(PublicKeyRefusal),
    /// The enrolment is unknown, over, or of another person or session.
    #[error(
        "this registration is over or was begun in another session: begin again on the keys page"
    )]
    UnknownEnrolment,
    /// No key that the person has signed for the new one.
    #[error(
        "you have a key already, and none of your keys signed that the new one is yours too: begin again on the keys page and use a key that you have when you are asked for it, or report it as lost first"
    )]
    OwnKeyMissing,
    /// The key is said to be lost from a later time on.
    #[error("the key cannot be lost since a time that lies ahead: say since when, in UTC")]
    LossAhead,
    /// A signature that stands in the approval counts for nothing any more.
    #[error(
        "the signature of {0} on this counts no more, since its key was given up: {0} takes it back and signs again with another key, or the pipeline asks again"
    )]
    SignatureVoid(String),
    /// The directory vouched for somebody else.
    #[error(
        "the sign-in that should vouch for the key was by another person: begin again on the keys page"
    )]
    OtherPerson,
    /// The key is registered already.
    #[error("this key is registered already")]
    AlreadyRegistered,
    /// A credential for an agent without a name, of an impossible length, or where it may not be.
    #[error(
        "give the agent a name of 1 to 60 plain characters, at most 90 days, and an environment that lets agents with credentials ask and in which you may sign"
    )]
    AgentGrant,
    /// The change was explained, by enough people or in these words by this person.
    #[error(
        "this change is explained already, or you signed this explanation before: two different people sign the same one"
    )]
    AlreadyExplained,
    /// A link that works once is used up.
    #[error(
        "this link is unknown, was opened before, or is older than 15 minutes: ask whoever runs the gate for a new one"
    )]
    LinkOver,
    /// The log lost nothing.
    #[error(
        "there is nothing to recover: the database has every entry that was seen, or was recovered already"
    )]
    NothingToRecover,
    /// A freeze of nothing, or without a reason.
    #[error(
        "say in 1 to 1000 characters why, name what you freeze (an environment of this gate, or all; everybody, one token issuer, or one agent or requester), and an end that lies ahead, or none"
    )]
    FreezeOfNothing,
    /// The person may not freeze this, nor lift it.
    #[error(
        "you may not freeze this, nor lift it: operators may everywhere ([roles] in the configuration), and approvers in the environments in which they may sign"
    )]
    MayNotFreeze,
    /// There is no such freeze any more.
    #[error("this freeze is not in force: it was lifted or is over. Load the page again")]
    NotFrozen,
    /// The statement of a recovery is not what is so now.
    #[error(
        "what this page shows is no longer so: the database or the head outside is another one by now. Run `countersign recover` again"
    )]
    RecoveryStale,
    /// Nobody breaks the glass, and nobody signs for it, without a word.
    #[error("say why, in your own words: it is signed, and everybody who may sign here reads it")]
    NothingSaid,
    /// The person may not sign for this exception.
    #[error(transparent)]
    Review(ReviewRefusal),
    /// Nobody is signed in with a key alone, or not for this.
    #[error(transparent)]
    KeyAlone(#[from] KeyAloneRefusal),
    /// The reason is too long.
    #[error("the reason is longer than 1000 characters")]
    ReasonTooLong,
}

impl CeremonyRefusal {
    /// The stable name of the refusal.
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownStatement => "stale_page",
            Self::StatementUsed => "statement_used",
            Self::StatementExpired => "statement_expired",
            Self::NoCredential => "no_credential",
            Self::NotEndorsed => "not_endorsed",
            Self::KeyNotAccepted { refusal, .. } => refusal.code(),
            Self::NoCommonKey => "no_common_key",
            Self::OwnKey => "own_key",
            Self::AlreadyEndorsed => "already_endorsed",
            Self::NothingToEndorse => "nothing_to_endorse",
            Self::OtherCredential => "other_credential",
            Self::SuspendedCredential => "credential_suspended",
            Self::RevokedCredential => "credential_revoked",
            Self::UnknownCredential => "unknown_credential",
            Self::UnreadableCredential(_) => "credential_unreadable",
            Self::UnknownEnrolment => "unknown_enrolment",
            Self::OwnKeyMissing => "own_key_missing",
            Self::LossAhead => "invalid_time",
            Self::SignatureVoid(_) => "signature_void",
            Self::OtherPerson => "other_person",
            Self::AlreadyRegistered => "already_registered",
            Self::AgentGrant => "invalid_agent_credential",
            Self::AlreadyExplained => "already_explained",
            Self::LinkOver => "link_over",
            Self::NothingToRecover => "nothing_to_recover",
            Self::FreezeOfNothing => "invalid_freeze",
            Self::MayNotFreeze => "may_not_freeze",
            Self::NotFrozen => "not_frozen",
            Self::RecoveryStale => "recovery_stale",
            Self::NothingSaid => "reason_missing",
            Self::Review(refusal) => refusal.code(),
            Self::KeyAlone(refusal) => refusal.code(),
            Self::ReasonTooLong | Self::ReasonMissing => "invalid_text",
        }
    }
}
