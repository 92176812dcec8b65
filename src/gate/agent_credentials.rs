//! An approver issues a credential for an agent, and an agent comes with one.
//!
//! The secret is shown to the issuer once and kept nowhere; the ledger has its digest, in an entry that
//! holds what the issuer signed. Whoever comes with the secret gets a token of the gate's own, which
//! stands in the evidence of what was asked for with it.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::domain::agent_credential::{
    AGENT_CREDENTIAL_ISSUED, AGENT_ISSUER, AgentCredential, AgentGrant, FrozenAgentCredential,
    ISSUED_BY_ISSUER, ISSUED_BY_SUBJECT, IssuedAgentCredential, LONGEST_AGENT_NAME,
    LONGEST_VALIDITY, revocation_name,
};
use crate::domain::digest::Digest;
use crate::domain::ledger::CREDENTIAL_REVOKED;
use crate::domain::policy::Policy;
use crate::domain::statement::Decider;
use crate::gate::decide::{RelyingParty, encode};
use crate::gate::keys::accepted_keys;
use crate::gate::signature::{check, give_out, note_refusal};
use crate::gate::{CeremonyRefusal, GateError, refusals};
use crate::proof::assertion::UnverifiedAssertion;
use crate::proof::evidence::Trust;
use crate::proof::jwk::{ed25519_key, thumbprint};
use crate::proof::{base64url, jwk};
use crate::randomness;
use crate::storage::{Credential, KeptAgentCredential, Revocation, Session, Storage};

/// What the bearer value of a credential begins with, so that scanners of secrets find a lost one.
pub const PREFIX: &str = "csa_";
/// What statements about new credentials are about.
const ABOUT: &str = "agent-credential";
/// How long the gate's own token lives: the request that it is made for.
const TOKEN_LIFETIME: SignedDuration = SignedDuration::from_mins(5);

/// Why a credential is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AgentRefusal {
    /// There is none like it. Which part is wrong is nobody's business.
    #[error("this is no credential of this gate: ask an approver for one")]
    Unknown,
    /// Its time is over.
    #[error("this credential's time is over: ask an approver for a new one")]
    Expired,
    /// Somebody revoked it, or the key that signed it.
    #[error("this credential was revoked: ask an approver for a new one")]
    Revoked,
}

impl AgentRefusal {
    /// The stable name of the refusal.
    pub fn code(self) -> &'static str {
        match self {
            Self::Unknown => "unknown_agent_credential",
            Self::Expired => "agent_credential_expired",
            Self::Revoked => "agent_credential_revoked",
        }
    }
}

/// A statement that issues a credential, and the secret that nobody sees again.
pub struct PreparedCredential {
    /// What is to be signed.
    pub statement: FrozenAgentCredential,
    /// The keys that may sign it.
    pub keys: Vec<Credential>,
    /// base64url.
    pub secret: String,
}

/// Whether agents with credentials may ask here, and this person may issue them.
pub fn may_issue(policy: &Policy, session: &Session) -> bool {
    let profile = &session.profile;
    policy.requesters.iter().any(|requester| requester.issuer == AGENT_ISSUER)
        && policy.admits_approver(&profile.person, &profile.groups)
}

/// Makes the statement with which this person issues a credential for `agent` in the environment of
/// `policy`.
///
/// # Errors
/// [`CeremonyRefusal::AgentGrant`] for a name or time that is none, and as for all signatures.
pub async fn prepare(
    storage: &Storage,
    trust: &Trust,
    session: &Session,
    policy: &Policy,
    agent: &str,
    valid_for: SignedDuration,
    now: Timestamp,
) -> Result<PreparedCredential, GateError> {
    let agent = agent.trim();
    let is_named = (1..=LONGEST_AGENT_NAME).contains(&agent.chars().count())
        && agent.chars().all(|character| character.is_ascii_graphic() || character == ' ');
    let is_short = valid_for.is_positive() && valid_for <= LONGEST_VALIDITY;
    if !is_named || !is_short || !may_issue(policy, session) {
        return Err(CeremonyRefusal::AgentGrant.into());
    }
    let person = &session.profile.person;
    let keys = accepted_keys(storage, trust, policy, person, now).await?.keys;
    let issuer = Decider {
        approver: person.clone(),
        credentials: keys.iter().map(|key| encode(&key.id)).collect(),
        sign_in_digest: Digest::of(&session.id_token),
    };
    let secret = randomness::token::<32>();
    let grant = AgentGrant {
        agent: agent.to_owned(),
        environment: policy.environment.clone(),
        valid_until: now.saturating_add(valid_for).unwrap_or(now),
        secret_digest: Digest::of(&secret),
    };
    let nonce = randomness::token::<32>();
    let statement = FrozenAgentCredential::of_grant(grant, issuer, &trust.origin, nonce, now)?;
    give_out(storage, session, ABOUT.to_owned(), &statement).await?;
    Ok(PreparedCredential { statement, keys, secret })
}

/// Checks an assertion over such a statement and writes the credential into the ledger; gives its index
/// there. Nonce, signature counter and entry commit together.
pub async fn issue(
    storage: &Storage,
    relying_party: &RelyingParty,
    session: &Session,
    nonce: &str,
    unverified: &UnverifiedAssertion,
    now: Timestamp,
) -> Result<u64, GateError> {
    let outcome = try_to_issue(storage, relying_party, session, nonce, unverified, now).await;
    let named = (refusals::AGENT_CREDENTIAL, "about", ABOUT);
    note_refusal(storage, session, named, unverified, &outcome, now);
    outcome
}

async fn try_to_issue(
    storage: &Storage,
    relying_party: &RelyingParty,
    session: &Session,
    nonce: &str,
    unverified: &UnverifiedAssertion,
    now: Timestamp,
) -> Result<u64, GateError> {
    let signed =
        check::<AgentCredential>(storage, relying_party, session, ABOUT, nonce, unverified, now)
            .await?;
    let issued = IssuedAgentCredential::new(
        signed.statement.predicate(),
        &session.profile.name,
        signed.kept(),
        thumbprint(&session.issuer_key),
    );
    let mut writer = storage.begin().await?;
    signed.use_up(&mut writer, now).await?;
    let index = writer.next_entry();
    writer.record(AGENT_CREDENTIAL_ISSUED, json!(issued), now).await?;
    writer.commit().await?;
    tracing::info!(index, agent = issued.grant.agent, "a credential for an agent was issued");
    Ok(index)
}

/// Ends a credential, at once and for good. False: there is none, or it ended before.
pub async fn revoke(
    storage: &Storage,
    session: &Session,
    index: u64,
    reason: &str,
    now: Timestamp,
) -> Result<bool, GateError> {
    let Some(kept) = storage.agent_credential(index).await? else { return Ok(false) };
    if storage.is_agent_credential_revoked(index).await? {
        return Ok(false);
    }
    let profile = &session.profile;
    let revocation = Revocation {
        credential: revocation_name(index),
        person: kept.issued.by,
        by: profile.person.clone(),
        by_name: profile.name.clone(),
        reason: reason.to_owned(),
        loss: None,
    };
    let mut writer = storage.begin().await?;
    writer.record(CREDENTIAL_REVOKED, json!(revocation), now).await?;
    writer.commit().await?;
    tracing::warn!(index, by = profile.person.subject, "a credential of an agent was revoked");
    Ok(true)
}

/// The credential that a bearer value is, if it is good now.
///
/// # Errors
/// Inside, an [`AgentRefusal`]; outside, that the database did not answer.
pub async fn present(
    storage: &Storage,
    bearer: &str,
    now: Timestamp,
) -> Result<Result<KeptAgentCredential, AgentRefusal>, GateError> {
    let parts = bearer.strip_prefix(PREFIX).and_then(|rest| rest.split_once('_'));
    let parts = parts.and_then(|(index, secret)| Some((index.parse::<u64>().ok()?, secret)));
    let Some((index, secret)) = parts else { return Ok(Err(AgentRefusal::Unknown)) };
    let kept = storage.agent_credential(index).await?;
    // Digests are compared, so that what the time of comparing tells is of no use.
    let Some(kept) = kept.filter(|kept| kept.issued.grant.secret_digest == Digest::of(secret))
    else {
        return Ok(Err(AgentRefusal::Unknown));
    };
    if now >= kept.issued.grant.valid_until {
        return Ok(Err(AgentRefusal::Expired));
    }
    let key_is_revoked = storage.revoked_at(&kept.issued.signed_with).is_some();
    if key_is_revoked || storage.is_agent_credential_revoked(index).await? {
        return Ok(Err(AgentRefusal::Revoked));
    }
    Ok(Ok(kept))
}

/// The key that the gate's own tokens are signed with, in the form of RFC 7638.
pub fn own_key(storage: &Storage) -> String {
    ed25519_key(&storage.log_public_key().0)
}

/// The token that stands for this credential in one request (RFC 7519), of the issuer `issuer` for
/// `audience`.
pub fn own_token(
    storage: &Storage,
    kept: &KeptAgentCredential,
    issuer: &str,
    audience: &str,
    now: Timestamp,
) -> String {
    let KeptAgentCredential { index, issued, .. } = kept;
    let header = json!({"alg": "EdDSA", "kid": jwk::thumbprint(&own_key(storage)), "typ": "JWT"});
    let claims = json!({
        "iss": issuer,
        "aud": audience,
        "sub": format!("{ABOUT}:{index}"),
        "name": issued.grant.agent,
        "environment": issued.grant.environment,
        ISSUED_BY_ISSUER: issued.by.issuer,
        ISSUED_BY_SUBJECT: issued.by.subject,
        "jti": randomness::token::<16>(),
        "iat": now.as_second(),
        "exp": now.saturating_add(TOKEN_LIFETIME).unwrap_or(now).as_second(),
    });
    let encode = |part: serde_json::Value| base64url::encode(part.to_string().as_bytes());
    let input = format!("{}.{}", encode(header), encode(claims));
    let signature = base64url::encode(&storage.sign_token(&input));
    format!("{input}.{signature}")
}
