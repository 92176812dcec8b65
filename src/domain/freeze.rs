//! Freezes: a person signs that nothing approved begins in an environment, in all of them, or of one
//! requester or agent, until its end or until somebody signs that it may again.
//!
//! A freeze is an entry of the ledger and no row. It stops what is approved and has not been done: a rollout
//! that runs makes no further step. It never stops the way back.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::agent_credential::AGENT_ISSUER;
use crate::domain::canonical::{CanonicalError, to_canonical_json};
use crate::domain::decision::SignedDecision;
use crate::domain::digest::Digest;
use crate::domain::ledger::Record;
use crate::domain::person::Person;
use crate::domain::statement::{
    Act, Decider, Frozen, STATEMENT_LIFETIME, STATEMENT_TYPE, Signable, Statement, Subject,
    SubjectDigest,
};
use crate::domain::subject::Requester;
use crate::domain::time;
use crate::domain::workflow_run::RUN_ISSUER;

/// Names the form of the predicate that begins a freeze.
pub const FREEZE_TYPE: &str = "urn:countersign:predicate:freeze:v1";
/// Names the form of the predicate that lifts one.
pub const LIFT_TYPE: &str = "urn:countersign:predicate:freeze-lift:v1";
/// What the ledger calls the beginning of a freeze.
pub const FREEZE_BEGUN: &str = "freeze.begun";
/// What the ledger calls its end by a signature.
pub const FREEZE_LIFTED: &str = "freeze.lifted";

/// What is frozen: the requests of somebody in some environment.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FreezeScope {
    /// The one environment; every one where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// Whose requests.
    pub requesters: FrozenRequesters,
}

/// Whose requests are frozen.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum FrozenRequesters {
    /// Everybody's.
    Everybody {},
    /// Of all whom one token issuer knows: all agents with credentials, for example.
    Issuer {
        /// What environments call it.
        issuer: String,
    },
    /// Of one requester: an agent or a repository.
    Requester {
        /// What environments call the token issuer.
        issuer: String,
        /// The agent's name, the repository, or the token's subject.
        name: String,
    },
}

impl FreezeScope {
    /// Everything.
    pub fn everything() -> Self {
        Self { environment: None, requesters: FrozenRequesters::Everybody {} }
    }

    /// Whether it covers what this requester asks for in this environment.
    pub fn covers(&self, environment: &str, requester: &Requester) -> bool {
        self.is_in(environment)
            && match &self.requesters {
                FrozenRequesters::Everybody {} => true,
                FrozenRequesters::Issuer { issuer } => *issuer == requester.issuer,
                // A run has no token, and its repository is called the same by whoever issues them.
                FrozenRequesters::Requester { issuer, name } => {
                    (*issuer == requester.issuer || requester.issuer == RUN_ISSUER)
                        && requester.is_called(name)
                }
            }
    }

    /// Whether nothing that anybody asks for in this environment begins.
    pub fn covers_everybody(&self, environment: &str) -> bool {
        self.is_in(environment) && matches!(self.requesters, FrozenRequesters::Everybody {})
    }

    fn is_in(&self, environment: &str) -> bool {
        self.environment.as_ref().is_none_or(|frozen| frozen == environment)
    }

    /// What is frozen, as a clause: `the agent Release assistant in production`.
    pub fn in_words(&self) -> String {
        let place = match &self.environment {
            Some(environment) => format!("in {environment}"),
            None => "in every environment".to_owned(),
        };
        match &self.requesters {
            FrozenRequesters::Everybody {} => match &self.environment {
                Some(environment) => environment.clone(),
                None => "every environment".to_owned(),
            },
            FrozenRequesters::Issuer { issuer } if issuer == AGENT_ISSUER => {
                format!("every agent with a credential {place}")
            }
            FrozenRequesters::Issuer { issuer } => format!("every requester of {issuer} {place}"),
            FrozenRequesters::Requester { issuer, name } if issuer == AGENT_ISSUER => {
                format!("the agent {name} {place}")
            }
            FrozenRequesters::Requester { issuer, name } => format!("{name} of {issuer} {place}"),
        }
    }
}

/// What is said of a freeze.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum FreezeChange {
    /// It begins.
    Begin {
        /// What is frozen.
        scope: FreezeScope,
        /// Why, in the person's words.
        reason: String,
        /// When it ends by itself, if it does.
        #[serde(
            default,
            skip_serializing_if = "Option::is_none",
            deserialize_with = "time::deserialize_some"
        )]
        until: Option<Timestamp>,
    },
    /// It ends.
    Lift {
        /// Which one: SHA-256 of the statement that began it.
        freeze: Digest,
        /// What that one froze, for whoever signs.
        scope: FreezeScope,
        /// Why, in the person's words.
        reason: String,
    },
}

impl FreezeChange {
    /// What is frozen, or was.
    pub fn scope(&self) -> &FreezeScope {
        match self {
            Self::Begin { scope, .. } | Self::Lift { scope, .. } => scope,
        }
    }

    /// Why.
    pub fn reason(&self) -> &str {
        match self {
            Self::Begin { reason, .. } | Self::Lift { reason, .. } => reason,
        }
    }

    /// The kind of the entry that it makes.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Begin { .. } => FREEZE_BEGUN,
            Self::Lift { .. } => FREEZE_LIFTED,
        }
    }

    fn predicate_type(&self) -> &'static str {
        match self {
            Self::Begin { .. } => FREEZE_TYPE,
            Self::Lift { .. } => LIFT_TYPE,
        }
    }

    /// What the statement is about: what is to be frozen, or the freeze that is to end.
    fn subject(&self) -> Result<Vec<Subject>, CanonicalError> {
        let (name, sha256) = match self {
            Self::Begin { scope, .. } => ("scope", Digest::of(to_canonical_json(scope)?)),
            Self::Lift { freeze, .. } => ("freeze", *freeze),
        };
        Ok(vec![Subject { name: name.to_owned(), digest: SubjectDigest { sha256 } }])
    }
}

/// What a person signs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FreezeStatement {
    /// What is said.
    pub change: FreezeChange,
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

impl Signable for FreezeStatement {
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

impl Act for FreezeStatement {
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

/// A statement that begins or lifts a freeze.
pub type FrozenFreeze = Frozen<FreezeStatement>;

impl FrozenFreeze {
    /// Makes the statement that `signer` may sign from `now` on.
    pub fn of_change(
        change: FreezeChange,
        signer: Decider,
        audience: &str,
        nonce: String,
        now: Timestamp,
    ) -> Result<Self, CanonicalError> {
        Self::freeze(Statement {
            statement_type: STATEMENT_TYPE.to_owned(),
            subject: change.subject()?,
            predicate_type: change.predicate_type().to_owned(),
            predicate: FreezeStatement {
                change,
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

    /// Whether type, predicate type and subject are exactly those of what it says.
    pub fn is_well_formed(&self) -> bool {
        let (statement, change) = (self.statement(), &self.predicate().change);
        statement.statement_type == STATEMENT_TYPE
            && statement.predicate_type == change.predicate_type()
            && change.subject().is_ok_and(|subject| subject == statement.subject)
    }

    /// The name of the freeze that it begins.
    pub fn id(&self) -> Digest {
        Digest::of(self.text())
    }
}

/// What the ledger says of it: everything but the sign-in that its signature rests on. Binary members are
/// unpadded base64url.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedFreeze {
    /// Who signed.
    pub by: Person,
    /// That person's name, as the directory said.
    pub by_name: String,
    /// The signed statement.
    pub statement: String,
    /// The credential that signed.
    pub signed_with: String,
    /// Its public key: COSE.
    pub public_key: String,
    /// Whether that key may be backed up.
    pub backup_eligible: bool,
    /// WebAuthn authenticator data.
    pub authenticator_data: String,
    /// WebAuthn client data.
    pub client_data_json: String,
    /// The signature over authenticator data and the hash of the client data.
    pub signature: String,
    /// The user handle, if the authenticator gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_handle: Option<String>,
    /// The RFC 7638 thumbprint of the directory's key that signed the sign-in.
    pub sign_in_key: String,
}

impl RecordedFreeze {
    /// What is recorded of what `by` signed, with this public key. `sign_in_key` as in the member.
    pub fn new(
        by: &Person,
        by_name: &str,
        signed: &SignedDecision,
        (public_key, backup_eligible): (String, bool),
        sign_in_key: String,
    ) -> Self {
        let encode = |bytes: &[u8]| data_encoding::BASE64URL_NOPAD.encode(bytes);
        Self {
            by: by.clone(),
            by_name: by_name.to_owned(),
            statement: signed.statement.clone(),
            signed_with: encode(&signed.credential_id),
            public_key,
            backup_eligible,
            authenticator_data: encode(&signed.authenticator_data),
            client_data_json: encode(&signed.client_data_json),
            signature: encode(&signed.signature),
            user_handle: signed.user_handle.as_deref().map(encode),
            sign_in_key,
        }
    }

    /// What an entry says of a freeze, if that can be read: its statement is one of its own kind.
    pub fn of_record(record: &Record) -> Option<(Self, FrozenFreeze)> {
        if record.approval.is_some() || ![FREEZE_BEGUN, FREEZE_LIFTED].contains(&&*record.kind) {
            return None;
        }
        let recorded: Self = serde_json::from_value(record.data.clone()).ok()?;
        let statement = FrozenFreeze::thaw(&recorded.statement).ok()?;
        let predicate = statement.predicate();
        let is_own = statement.is_well_formed()
            && predicate.change.kind() == record.kind
            && predicate.signer == recorded.by;
        is_own.then_some((recorded, statement))
    }
}
