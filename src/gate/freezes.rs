//! A person freezes, and a person lifts a freeze: both by a signature, both as an entry of the ledger.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::json;

use crate::domain::digest::Digest;
use crate::domain::freeze::{
    FREEZE_LIFTED, FreezeChange, FreezeStatement, FrozenFreeze, FrozenRequesters, RecordedFreeze,
};
use crate::domain::ledger::{Frontier, Record, Revoked};
use crate::domain::policy::Policy;
use crate::domain::request::LONGEST_REASON;
use crate::domain::role::Authority;
use crate::domain::statement::Decider;
use crate::domain::time::is_writable;
use crate::gate::decide::{RelyingParty, encode};
use crate::gate::endorse::signing_keys;
use crate::gate::evidence::gather_act;
use crate::gate::signature::{check, give_out, note_refusal};
use crate::gate::{CeremonyRefusal, GateError, refusals};
use crate::proof::assertion::UnverifiedAssertion;
use crate::proof::evidence::Trust;
use crate::proof::jwk::thumbprint;
use crate::proof::verify::verify_act;
use crate::randomness;
use crate::storage::{Credential, Session, Storage};

/// What statements about freezes are about.
const ABOUT: &str = "freeze";
/// The longest name of a requester that is frozen, in characters: repositories have longer ones than agents.
const LONGEST_NAME: usize = 300;

/// Makes the statement with which this person freezes something or lifts a freeze, and gives the keys that
/// may sign it. Not refused while the gate is stopped for another reason than its database: whoever wants to
/// stop things must not be stopped.
///
/// # Errors
/// [`CeremonyRefusal::MayNotFreeze`], [`CeremonyRefusal::FreezeOfNothing`] or [`CeremonyRefusal::NotFrozen`],
/// and as for all signatures.
pub async fn prepare(
    storage: &Storage,
    trust: &Trust,
    authority: &Authority,
    session: &Session,
    change: FreezeChange,
    now: Timestamp,
) -> Result<(FrozenFreeze, Vec<Credential>), GateError> {
    check_change(storage, authority, session, &change, now)?;
    let person = &session.profile.person;
    let keys = signing_keys(storage, trust, trust.endorsements, person).await?;
    let signer = Decider {
        approver: person.clone(),
        credentials: keys.iter().map(|key| encode(&key.id)).collect(),
        sign_in_digest: Digest::of(&session.id_token),
    };
    let nonce = randomness::token::<32>();
    let statement = FrozenFreeze::of_change(change, signer, &trust.origin, nonce, now)?;
    give_out(storage, session, ABOUT.to_owned(), &statement).await?;
    Ok((statement, keys))
}

fn check_change(
    storage: &Storage,
    authority: &Authority,
    session: &Session,
    change: &FreezeChange,
    now: Timestamp,
) -> Result<(), CeremonyRefusal> {
    let reason = change.reason().trim();
    if reason.is_empty() || reason.chars().count() > LONGEST_REASON || !is_meant(change, authority)
    {
        return Err(CeremonyRefusal::FreezeOfNothing);
    }
    match change {
        FreezeChange::Begin { until: Some(until), .. } if *until <= now || !is_writable(*until) => {
            return Err(CeremonyRefusal::FreezeOfNothing);
        }
        FreezeChange::Lift { freeze, scope, .. } => {
            let freezes = storage.freezes();
            let known = freezes.get(freeze).filter(|known| known.is_in_force(now));
            if known.is_none_or(|known| known.scope != *scope) {
                return Err(CeremonyRefusal::NotFrozen);
            }
        }
        FreezeChange::Begin { .. } => {}
    }
    let profile = &session.profile;
    if authority.may_freeze(&profile.person, &profile.groups, change.scope()) {
        Ok(())
    } else {
        Err(CeremonyRefusal::MayNotFreeze)
    }
}

/// Whether a new freeze names an environment and a token issuer that there are. One that is lifted may name
/// what is no longer in the configuration.
fn is_meant(change: &FreezeChange, authority: &Authority) -> bool {
    let FreezeChange::Begin { scope, .. } = change else { return true };
    let is_known = |policy: &Policy, issuer: &str| {
        policy.requesters.iter().any(|requester| requester.issuer == issuer)
    };
    let policies: &BTreeMap<String, Policy> = &authority.policies;
    let covered: Vec<&Policy> = policies
        .values()
        .filter(|policy| scope.environment.as_ref().is_none_or(|name| *name == policy.environment))
        .collect();
    !covered.is_empty()
        && match &scope.requesters {
            FrozenRequesters::Everybody {} => true,
            FrozenRequesters::Issuer { issuer } => {
                covered.iter().any(|policy| is_known(policy, issuer))
            }
            FrozenRequesters::Requester { issuer, name } => {
                (1..=LONGEST_NAME).contains(&name.chars().count())
                    && !name.chars().any(char::is_control)
                    && covered.iter().any(|policy| is_known(policy, issuer))
            }
        }
}

/// Checks an assertion over such a statement and writes it into the ledger; gives the index of its entry.
/// Nonce, signature counter and entry commit together.
pub async fn sign(
    storage: &Storage,
    relying_party: &RelyingParty,
    authority: &Authority,
    session: &Session,
    nonce: &str,
    unverified: &UnverifiedAssertion,
    now: Timestamp,
) -> Result<u64, GateError> {
    let outcome =
        try_to_sign(storage, relying_party, authority, session, nonce, unverified, now).await;
    let named = (refusals::FREEZE, "about", ABOUT);
    note_refusal(storage, session, named, unverified, &outcome, now);
    outcome
}

async fn try_to_sign(
    storage: &Storage,
    relying_party: &RelyingParty,
    authority: &Authority,
    session: &Session,
    nonce: &str,
    unverified: &UnverifiedAssertion,
    now: Timestamp,
) -> Result<u64, GateError> {
    let signed =
        check::<FreezeStatement>(storage, relying_party, session, ABOUT, nonce, unverified, now)
            .await?;
    let change = &signed.statement.predicate().change;
    // Somebody else may have lifted it since, and the configuration may be another one.
    check_change(storage, authority, session, change, now)?;
    let profile = &session.profile;
    let sign_in_key = thumbprint(&session.issuer_key);
    let key = &signed.credential;
    let recorded = RecordedFreeze::new(
        &profile.person,
        &profile.name,
        signed.kept(),
        key_of(key),
        sign_in_key,
    );
    let mut writer = storage.begin().await?;
    signed.use_up(&mut writer, now).await?;
    let index = writer.next_entry();
    writer.insert_freeze_sign_in(signed.kept()).await?;
    writer.record(change.kind(), json!(recorded), now).await?;
    writer.commit().await?;
    let (by, what) = (&profile.person.subject, change.scope().in_words());
    tracing::warn!(index, by, what, kind = change.kind(), "a freeze was signed");
    Ok(index)
}

fn key_of(key: &Credential) -> (String, bool) {
    (encode(&key.public_key), key.backup_eligible)
}

/// Why an entry does not lift a freeze.
#[derive(Debug, thiserror::Error)]
pub enum NotLifted {
    /// It is in another form, or another one than was signed.
    #[error("it is not in the form of one")]
    Malformed,
    /// The sign-in that it rests on, or another row that proves it, is not there.
    #[error("what proves its signature is not complete: {0}")]
    Incomplete(GateError),
    /// Its signature does not hold.
    #[error(transparent)]
    Signature(#[from] crate::proof::verify::Failure),
    /// Whoever signed it may not lift it.
    #[error("{0} may not lift it, by the groups of the sign-in and the roles and rules of today")]
    NotAllowed(String),
}

/// Verifies the entry at `index`, which lifts a freeze, from bytes alone: who signed it, under which sign-in,
/// with which key, and whether they may. `tree` has been verified and covers everything before it.
///
/// # Errors
/// What does not hold; the freeze goes on then. The outer error says that it could not be read.
pub async fn verify_lift(
    storage: &Storage,
    trust: &Trust,
    authority: &Authority,
    (index, record): (u64, &Record),
    tree: &Frontier,
    revoked: &Revoked,
) -> Result<Result<(), NotLifted>, GateError> {
    let read = RecordedFreeze::of_record(record).filter(|_| record.kind == FREEZE_LIFTED);
    let Some((recorded, statement)) = read else { return Ok(Err(NotLifted::Malformed)) };
    let evidence = match gather_act(storage, trust, (index, record.at), &recorded, tree).await {
        Ok(evidence) => evidence,
        Err(GateError::Storage(error)) if error.outage().is_some() => return Err(error.into()),
        Err(error) => return Ok(Err(NotLifted::Incomplete(error))),
    };
    let signer = match verify_act::<FreezeStatement>(&evidence, trust, revoked) {
        Ok(signer) => signer,
        Err(failure) => return Ok(Err(failure.into())),
    };
    let scope = statement.predicate().change.scope();
    Ok(if authority.may_freeze(signer.person(), signer.groups(), scope) {
        Ok(())
    } else {
        Err(NotLifted::NotAllowed(signer.person().subject.clone()))
    })
}
