//! Agent credentials: an approver signs that an agent may ask in one environment for a while.
//!
//! The credential itself is an entry of the ledger, which the log key signed: rows alone make none. Who
//! issued one counts as a requester of whatever is asked for with it, and cannot approve that.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::canonical::CanonicalError;
use crate::domain::decision::SignedDecision;
use crate::domain::digest::Digest;
use crate::domain::person::Person;
use crate::domain::statement::{
    Decider, Frozen, STATEMENT_LIFETIME, STATEMENT_TYPE, Signable, Statement, Subject,
    SubjectDigest,
};
use crate::domain::subject::Requester;

/// What environments call the issuer of agent credentials, which is the gate, in their rules.
pub const AGENT_ISSUER: &str = "agent-credential";
/// Names the form of the predicate.
pub const AGENT_CREDENTIAL_TYPE: &str = "urn:countersign:predicate:agent-credential:v1";
/// What the ledger calls the issue of one.
pub const AGENT_CREDENTIAL_ISSUED: &str = "agent_credential.issued";
/// A credential that lives longer than a quarter is one that nobody remembers.
pub const LONGEST_VALIDITY: SignedDuration = SignedDuration::from_hours(90 * 24);
/// The longest name of an agent, in characters.
pub const LONGEST_AGENT_NAME: usize = 60;

/// What a credential lets whom do.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentGrant {
    /// What people call the agent.
    pub agent: String,
    /// The one environment in which it may ask.
    pub environment: String,
    /// Until when.
    pub valid_until: Timestamp,
    /// SHA-256 of the secret, which is shown once and kept nowhere.
    pub secret_digest: Digest,
}

/// What the issuer of a credential signs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentCredential {
    /// What it lets whom do.
    pub grant: AgentGrant,
    /// Who issues it.
    pub issuer: Person,
    /// The credentials that may sign it, base64url.
    pub credentials: Vec<String>,
    /// SHA-256 of the ID token of the issuer's sign-in.
    pub sign_in_digest: Digest,
    /// The origin of the gate that it is meant for.
    pub audience: String,
    /// 32 random bytes, base64url.
    pub nonce: String,
    /// When it was made.
    pub issued_at: Timestamp,
    /// Until when it may be signed.
    pub expires_at: Timestamp,
}

impl Signable for AgentCredential {
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

/// A statement that issues a credential.
pub type FrozenAgentCredential = Frozen<AgentCredential>;

impl FrozenAgentCredential {
    /// Makes the statement that `issuer` may sign from `now` on.
    pub fn of_grant(
        grant: AgentGrant,
        issuer: Decider,
        audience: &str,
        nonce: String,
        now: Timestamp,
    ) -> Result<Self, CanonicalError> {
        let digest = SubjectDigest { sha256: grant.secret_digest };
        Self::freeze(Statement {
            statement_type: STATEMENT_TYPE.to_owned(),
            subject: vec![Subject { name: grant.agent.clone(), digest }],
            predicate_type: AGENT_CREDENTIAL_TYPE.to_owned(),
            predicate: AgentCredential {
                grant,
                issuer: issuer.approver,
                credentials: issuer.credentials,
                sign_in_digest: issuer.sign_in_digest,
                audience: audience.to_owned(),
                nonce,
                issued_at: now,
                expires_at: now.saturating_add(STATEMENT_LIFETIME).unwrap_or(now),
            },
        })
    }
}

/// What the ledger says of a credential: everything that proves it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuedAgentCredential {
    /// What it lets whom do.
    pub grant: AgentGrant,
    /// Who issued it.
    pub by: Person,
    /// That person's name, as the directory said.
    pub by_name: String,
    /// The credential that signed, base64url.
    pub signed_with: String,
    /// The signed statement.
    pub statement: String,
    /// The assertion over it, base64url.
    pub authenticator_data: String,
    /// As above.
    pub client_data_json: String,
    /// As above.
    pub signature: String,
    /// The RFC 7638 thumbprint of the directory's key that signed the issuer's sign-in.
    pub sign_in_key: String,
}

impl IssuedAgentCredential {
    /// What is recorded of what `by` signed. `sign_in_key` as in the member.
    pub fn new(
        credential: &AgentCredential,
        by_name: &str,
        signed: &SignedDecision,
        sign_in_key: String,
    ) -> Self {
        let encode = |bytes: &[u8]| data_encoding::BASE64URL_NOPAD.encode(bytes);
        Self {
            grant: credential.grant.clone(),
            by: credential.issuer.clone(),
            by_name: by_name.to_owned(),
            signed_with: encode(&signed.credential_id),
            statement: signed.statement.clone(),
            authenticator_data: encode(&signed.authenticator_data),
            client_data_json: encode(&signed.client_data_json),
            signature: encode(&signed.signature),
            sign_in_key,
        }
    }
}

/// What the names of revoked agent credentials begin with. A key's id is base64url, without a colon.
pub const AGENT_REVOCATION: &str = "agent:";

/// The name under which the log's list of what is revoked holds the credential of the entry `index`.
pub fn revocation_name(index: u64) -> String {
    format!("{AGENT_REVOCATION}{index}")
}

/// The names of the claims that say who issued the credential.
pub const ISSUED_BY_ISSUER: &str = "issued_by_issuer";
/// As above.
pub const ISSUED_BY_SUBJECT: &str = "issued_by_subject";

/// Who issued the credential that a request was made with. They asked, through the agent.
pub fn issuer_of_credential(requester: &Requester) -> Option<Person> {
    let claim = |name: &str| requester.claims.get(name).and_then(Value::as_str).map(str::to_owned);
    let is_ours = requester.issuer == AGENT_ISSUER;
    let person =
        || Some(Person { issuer: claim(ISSUED_BY_ISSUER)?, subject: claim(ISSUED_BY_SUBJECT)? });
    is_ours.then(person).flatten()
}
