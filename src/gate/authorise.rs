//! Whether a rollout is authorised, from bytes alone.
//!
//! The database is not believed: what it says is only the place where the bytes are found. The
//! worker asks this before every call to Cloud Run, however often it asked before.

use serde_json::Value;

use crate::domain::decision::{SignedDecision, Verdict};
use crate::domain::deployment::FrozenDeployment;
use crate::domain::digest::Digest;
use crate::domain::ledger::{EntryFault, Frontier, Record, entry_hash};
use crate::domain::person::Person;
use crate::domain::policy::Policy;
use crate::domain::statement::FrozenStatement;
use crate::gate::decide::{RelyingParty, encode, record_of};
use crate::proof::assertion::{
    AssertionRefusal, Expectation, UnverifiedAssertion, verify_from_record,
};
use crate::storage::{Storage, StorageError, StoredApproval};

/// A deployment whose evidence was verified just now. Only [`authorise`] makes one, and nothing
/// calls Cloud Run without one.
#[derive(Debug)]
pub struct Authorised {
    deployment: FrozenDeployment,
}

impl Authorised {
    /// What may be rolled out.
    pub fn deployment(&self) -> &FrozenDeployment {
        &self.deployment
    }
}

/// What does not hold.
#[derive(Debug, thiserror::Error)]
pub enum NotAuthorised {
    /// The rules are not those that the signed deployment names.
    #[error("the stored policy is not the one that the signed deployment names")]
    Policy,
    /// The deployment was frozen by another gate.
    #[error("the deployment was made for another gate: {0}")]
    Audience(String),
    /// A statement cannot be read or says something else than the deployment.
    #[error("a signed statement is not about exactly this deployment")]
    Statement,
    /// A statement was signed outside its few minutes.
    #[error("a statement was signed outside the time that it allows")]
    StatementTime,
    /// The credential is not one that the statement names or belongs to somebody else.
    #[error("the key {0} may not sign for the person that the statement names")]
    Credential(String),
    /// An assertion does not hold.
    #[error("a signature does not hold: {0}")]
    Assertion(#[from] AssertionRefusal),
    /// The sign-in is not the one whose digest was signed.
    #[error("the stored sign-in is not the one that was signed with the decision")]
    SignIn,
    /// Somebody signed a no.
    #[error("a signed rejection is among the decisions")]
    Rejected,
    /// The rules are not met by the signatures.
    #[error("the signatures do not meet the rules of the environment")]
    Quorum,
    /// An entry of the ledger does not hold.
    #[error("the ledger does not hold: {0}")]
    Ledger(String),
    /// The evidence could not be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl NotAuthorised {
    /// The stable name of the finding.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Policy => "policy_mismatch",
            Self::Audience(_) => "audience_mismatch",
            Self::Statement => "statement_mismatch",
            Self::StatementTime => "statement_time",
            Self::Credential(_) => "credential_not_allowed",
            Self::Assertion(refusal) => refusal.code(),
            Self::SignIn => "sign_in_mismatch",
            Self::Rejected => "rejected",
            Self::Quorum => "quorum_not_met",
            Self::Ledger(_) => "ledger_broken",
            Self::Storage(_) => "evidence_unreadable",
        }
    }
}

/// What the gate knows by itself and not from its database.
#[derive(Clone, Debug)]
pub struct Roots {
    /// Where assertions must come from.
    pub relying_party: RelyingParty,
    /// The claim of the ID token that names groups.
    pub groups_claim: String,
}

/// Verifies the evidence of an approval from bytes: statements, assertions, sign-ins, quorum, ledger.
pub async fn authorise(
    storage: &Storage,
    roots: &Roots,
    stored: &StoredApproval,
) -> Result<Authorised, NotAuthorised> {
    let deployment = &stored.approval.deployment;
    if deployment.audience != roots.relying_party.origin {
        return Err(NotAuthorised::Audience(deployment.audience.clone()));
    }
    let (_, policy_digest) =
        stored.approval.policy.canonical().map_err(|_| NotAuthorised::Policy)?;
    if policy_digest != deployment.policy_digest {
        return Err(NotAuthorised::Policy);
    }
    let mut signers = Vec::new();
    for signed in storage.signed_decisions(&deployment.approval).await? {
        signers.push(verify_decision(storage, roots, deployment, &signed).await?);
    }
    meets(&stored.approval.policy, &signers)?;
    verify_ledger(storage, stored).await?;
    Ok(Authorised { deployment: deployment.clone() })
}

fn meets(policy: &Policy, signers: &[(Person, Vec<String>)]) -> Result<(), NotAuthorised> {
    if policy.is_met(signers) { Ok(()) } else { Err(NotAuthorised::Quorum) }
}

/// One decision: who really signed a yes, and which groups their sign-in names.
async fn verify_decision(
    storage: &Storage,
    roots: &Roots,
    deployment: &FrozenDeployment,
    signed: &SignedDecision,
) -> Result<(Person, Vec<String>), NotAuthorised> {
    let statement =
        FrozenStatement::thaw(&signed.statement).map_err(|_| NotAuthorised::Statement)?;
    let predicate = statement.predicate();
    let is_about = predicate.deployment == *deployment.deployment()
        && predicate.policy_digest == deployment.policy_digest
        && predicate.audience == roots.relying_party.origin
        && statement.is_well_formed(deployment);
    if !is_about {
        return Err(NotAuthorised::Statement);
    }
    if predicate.decision != Verdict::Approve {
        return Err(NotAuthorised::Rejected);
    }
    // Compared with the time of the decision, never with now: a long rollout cannot run out of
    // the approval that it rests on.
    if signed.decided_at < predicate.issued_at || signed.decided_at >= predicate.expires_at {
        return Err(NotAuthorised::StatementTime);
    }
    let key = encode(&signed.credential_id);
    let credential = storage
        .credential(&signed.credential_id)
        .await?
        .filter(|known| known.person == predicate.approver && predicate.credentials.contains(&key))
        .ok_or_else(|| NotAuthorised::Credential(key.clone()))?;
    let record = record_of(&credential).map_err(|_| NotAuthorised::Credential(key.clone()))?;
    let expectation = Expectation {
        challenge: *statement.challenge().as_bytes(),
        origin: &roots.relying_party.origin,
        rp_id: &roots.relying_party.id,
        credentials: &[record],
        device_bound: false,
    };
    let unverified = UnverifiedAssertion {
        id: key.clone(),
        raw_id: key,
        authenticator_data: signed.authenticator_data.clone(),
        client_data_json: signed.client_data_json.clone(),
        signature: signed.signature.clone(),
        user_handle: signed.user_handle.clone(),
    };
    verify_from_record(&expectation, &unverified)?;
    if Digest::of(&signed.id_token) != predicate.sign_in_digest {
        return Err(NotAuthorised::SignIn);
    }
    let groups = groups_of(&signed.id_token, &predicate.approver, &roots.groups_claim)?;
    Ok((predicate.approver.clone(), groups))
}

/// The groups that an ID token names. Its bytes are those whose digest the person signed; its
/// issuer and subject must be the person's.
fn groups_of(
    id_token: &str,
    person: &Person,
    groups_claim: &str,
) -> Result<Vec<String>, NotAuthorised> {
    let payload = id_token.split('.').nth(1).ok_or(NotAuthorised::SignIn)?;
    let payload = data_encoding::BASE64URL_NOPAD.decode(payload.as_bytes());
    let claims: Value = payload
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .ok_or(NotAuthorised::SignIn)?;
    let is_theirs =
        claims["iss"] == person.issuer.as_str() && claims["sub"] == person.subject.as_str();
    if !is_theirs {
        return Err(NotAuthorised::SignIn);
    }
    let groups = claims.get(groups_claim).and_then(Value::as_array).into_iter().flatten();
    Ok(groups.filter_map(Value::as_str).map(str::to_owned).collect())
}

/// The approval's own chain of entries: each hashed, signed by the log in its place and linked to
/// the one before, the last one saying what the stored row says.
async fn verify_ledger(storage: &Storage, stored: &StoredApproval) -> Result<(), NotAuthorised> {
    let broken = |why: &str| NotAuthorised::Ledger(why.to_owned());
    let approval = &stored.approval;
    let entries = storage.entries_of(approval.id()).await?;
    let log_key = storage.log_public_key();
    let mut previous = None;
    let mut version = 0;
    for entry in &entries {
        if entry_hash(&entry.salt, &entry.record) != entry.entry_hash {
            return Err(NotAuthorised::Ledger(
                EntryFault::Record { index: entry.index }.to_string(),
            ));
        }
        let previous_root = match entry.index.checked_sub(1) {
            None => Frontier::default().root(),
            Some(before) => {
                let before = storage.entries(before, 1).await?;
                before
                    .first()
                    .map(|entry| entry.root)
                    .ok_or_else(|| broken("an entry is missing"))?
            }
        };
        if !log_key.verify_entry(entry.index, &previous_root, &entry.leaf(), &entry.signature) {
            return Err(NotAuthorised::Ledger(
                EntryFault::Signature { index: entry.index }.to_string(),
            ));
        }
        let record = Record::parse(&entry.record).map_err(|_| broken("a record cannot be read"))?;
        let said = record.approval.ok_or_else(|| broken("an entry is about something else"))?;
        let follows = said.id == *approval.id()
            && said.previous == previous
            && said.version == version + 1
            && said.deployment_digest == *approval.deployment.digest()
            && said.policy_digest == approval.deployment.policy_digest;
        if !follows {
            return Err(broken(
                "an entry of this approval is missing or does not follow the one before",
            ));
        }
        previous = Some(entry.entry_hash);
        version = said.version;
        if version == approval.version
            && (said.state != approval.state || said.decisions != approval.decisions)
        {
            return Err(broken("the stored state is not the one that the last entry says"));
        }
    }
    if version == approval.version {
        Ok(())
    } else {
        Err(broken("the stored version is not that of the last entry"))
    }
}
