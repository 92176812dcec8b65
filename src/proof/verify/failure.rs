//! What does not hold, by a stable code and a sentence.

use std::fmt;

/// The checks, by the codes of their failures.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[expect(missing_docs, reason = "tests/data/evidence/README.md says what each checks")]
pub enum Code {
    Malformed,
    AudienceMismatch,
    PolicyMismatch,
    CheckpointInvalid,
    CosignatureInvalid,
    NotWitnessed,
    EntryNotIncluded,
    EntrySignatureInvalid,
    ChainBroken,
    RequesterMismatch,
    IssuerKeyNotPinned,
    TokenSignatureInvalid,
    RequesterNotAllowed,
    EnrolmentInvalid,
    SignInInvalid,
    EndorsementInvalid,
    StatementMismatch,
    StatementTime,
    SignInMismatch,
    CredentialNotEnrolled,
    NotEndorsed,
    KeyNotAccepted,
    AssertionInvalid,
    UnusedCredential,
    StateMismatch,
    QuorumNotMet,
}

impl Code {
    /// Every code, in the order of the checks.
    pub const ALL: [Self; 26] = [
        Self::Malformed,
        Self::AudienceMismatch,
        Self::PolicyMismatch,
        Self::CheckpointInvalid,
        Self::CosignatureInvalid,
        Self::NotWitnessed,
        Self::EntryNotIncluded,
        Self::EntrySignatureInvalid,
        Self::ChainBroken,
        Self::RequesterMismatch,
        Self::IssuerKeyNotPinned,
        Self::TokenSignatureInvalid,
        Self::RequesterNotAllowed,
        Self::EnrolmentInvalid,
        Self::SignInInvalid,
        Self::EndorsementInvalid,
        Self::StatementMismatch,
        Self::StatementTime,
        Self::SignInMismatch,
        Self::CredentialNotEnrolled,
        Self::NotEndorsed,
        Self::KeyNotAccepted,
        Self::AssertionInvalid,
        Self::UnusedCredential,
        Self::StateMismatch,
        Self::QuorumNotMet,
    ];

    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::AudienceMismatch => "audience_mismatch",
            Self::PolicyMismatch => "policy_mismatch",
            Self::CheckpointInvalid => "checkpoint_invalid",
            Self::CosignatureInvalid => "cosignature_invalid",
            Self::NotWitnessed => "not_witnessed",
            Self::EntryNotIncluded => "entry_not_included",
            Self::EntrySignatureInvalid => "entry_signature_invalid",
            Self::ChainBroken => "chain_broken",
            Self::RequesterMismatch => "requester_mismatch",
            Self::IssuerKeyNotPinned => "issuer_key_not_pinned",
            Self::TokenSignatureInvalid => "token_signature_invalid",
            Self::RequesterNotAllowed => "requester_not_allowed",
            Self::EnrolmentInvalid => "enrolment_invalid",
            Self::SignInInvalid => "sign_in_invalid",
            Self::EndorsementInvalid => "endorsement_invalid",
            Self::NotEndorsed => "not_endorsed",
            Self::KeyNotAccepted => "key_not_accepted",
            Self::StatementMismatch => "statement_mismatch",
            Self::StatementTime => "statement_time",
            Self::SignInMismatch => "sign_in_mismatch",
            Self::CredentialNotEnrolled => "credential_not_enrolled",
            Self::AssertionInvalid => "assertion_invalid",
            Self::UnusedCredential => "unused_credential",
            Self::StateMismatch => "state_mismatch",
            Self::QuorumNotMet => "quorum_not_met",
        }
    }

    /// The failure of this check.
    pub(super) fn because(self, sentence: impl Into<String>) -> Failure {
        Failure { code: self, sentence: sentence.into() }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// The first check that failed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{sentence}")]
pub struct Failure {
    code: Code,
    sentence: String,
}

impl Failure {
    /// Which check.
    pub fn code(&self) -> Code {
        self.code
    }
}
