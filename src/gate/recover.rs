//! The log goes on after the database lost entries: people whose keys are pinned in the configuration
//! read what is gone and sign for going on from what is left.
//!
//! It needs no sign-in, which would have to be written into a log that nobody may write to: a link that
//! works once leads to the page, and a pinned key signs. Everything that a link's row says is compared
//! with what is so, since whoever writes into the database can write such rows too.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::json;

use crate::domain::digest::Digest;
use crate::domain::ledger::{CREDENTIAL_REVOKED, Record, Revoked};
use crate::domain::recovery::{
    FrozenRecovery, Kept, LOG_RECOVERED, Lineage, RECOVERY_LIFETIME, RecordedRecovery, Recovery,
    RecoverySignature, Signer, lineage, successor,
};
use crate::gate::decide::encode;
use crate::gate::{CeremonyRefusal, GateError};
use crate::proof::assertion::UnverifiedAssertion;
use crate::proof::base64url;
use crate::proof::checkpoint::TrustedLog;
use crate::proof::evidence::Trust;
use crate::proof::log_head::SeenHead;
use crate::proof::recovery::{
    Recoveries, RecoveryRefusal, check_signature, check_statement, needed, verify,
};
use crate::randomness;
use crate::storage::{RecoveryLink, Revocation, Storage, StorageError};

/// What the entry of a new key is called.
const REGISTERED: &str = "credential.registered";
/// Why a key is revoked once more.
const KNOWN_OUTSIDE: &str =
    "revoked before the recovery of the log, as was known outside the database; revoked again";

/// Where a recovery stands.
pub struct Standing {
    /// What is signed.
    pub statement: FrozenRecovery,
    /// Who has signed it.
    pub signed: Vec<Signer>,
    /// How many people must.
    pub needed: usize,
    /// The link of whoever asks.
    link: RecoveryLink,
}

/// Makes the statement with which the log of this database goes on from `seen`, the head outside.
///
/// # Errors
/// [`CeremonyRefusal::NothingToRecover`] if the database has all of what was seen, or goes on after a
/// recovery already; [`RecoveryRefusal::TooFew`] if it knows too few people whose keys are pinned.
pub async fn prepare(
    storage: &Storage,
    trust: &Trust,
    seen: &SeenHead,
    now: Timestamp,
) -> Result<FrozenRecovery, GateError> {
    let expires_at = now.saturating_add(RECOVERY_LIFETIME).unwrap_or(now);
    let nonce = randomness::token::<32>();
    let recovery = describe(storage, trust, seen, (nonce, now, expires_at)).await?;
    let people: BTreeSet<_> = recovery.signers.iter().map(|signer| &signer.person).collect();
    let (found, needed) = (people.len(), needed(trust));
    if found < needed {
        return Err(RecoveryRefusal::TooFew { found, needed }.into());
    }
    Ok(FrozenRecovery::of(recovery)?)
}

/// Makes links to a statement, one for each person who must sign: tokens of 256 random bits in
/// base64url, of which only the hashes are stored.
pub async fn make_links(
    storage: &Storage,
    trust: &Trust,
    statement: &FrozenRecovery,
) -> Result<Vec<String>, GateError> {
    let mut tokens = Vec::new();
    for _ in 0..needed(trust) {
        let token = randomness::token::<32>();
        let expires_at = statement.predicate().expires_at;
        storage.put_recovery_link(&Digest::of(&token), statement.text(), expires_at).await?;
        tokens.push(token);
    }
    Ok(tokens)
}

/// Opens a link, once, and gives the secret by which the browser that did is known from then on.
///
/// # Errors
/// [`CeremonyRefusal::LinkOver`] unless the link is there, in time and unopened.
pub async fn open(storage: &Storage, token: &str, now: Timestamp) -> Result<String, GateError> {
    let secret = randomness::token::<32>();
    if storage.open_recovery_link(&Digest::of(token), &Digest::of(&secret), now).await? {
        tracing::warn!("a link to a recovery of the log was opened");
        Ok(secret)
    } else {
        Err(CeremonyRefusal::LinkOver.into())
    }
}

/// What the recovery says whose link this browser opened, and who signed it. It is still what is so.
///
/// # Errors
/// [`CeremonyRefusal::LinkOver`] without a link that is still good, [`CeremonyRefusal::RecoveryStale`] if
/// the statement is not what this gate would make now.
pub async fn standing(
    storage: &Storage,
    trust: &Trust,
    seen: &SeenHead,
    secret: &str,
    now: Timestamp,
) -> Result<Standing, GateError> {
    let link = storage.recovery_link_of(&Digest::of(secret), now).await?;
    let link = link.ok_or(CeremonyRefusal::LinkOver)?;
    let statement =
        FrozenRecovery::thaw(&link.statement).map_err(|_| CeremonyRefusal::RecoveryStale)?;
    check_statement(&statement, trust)?;
    let said = statement.predicate();
    let lifetime = said.expires_at.duration_since(said.issued_at);
    if now < said.issued_at || now >= said.expires_at || lifetime > RECOVERY_LIFETIME {
        return Err(RecoveryRefusal::Time.into());
    }
    let moment = (said.nonce.clone(), said.issued_at, said.expires_at);
    if describe(storage, trust, seen, moment).await? != *said {
        return Err(CeremonyRefusal::RecoveryStale.into());
    }
    let (signed, _) = signatures_of(storage, trust, seen, &statement).await?;
    Ok(Standing { needed: needed(trust), statement, signed, link })
}

/// The signatures that came so far and hold, of one person each.
async fn signatures_of(
    storage: &Storage,
    trust: &Trust,
    seen: &SeenHead,
    statement: &FrozenRecovery,
) -> Result<(Vec<Signer>, Vec<RecoverySignature>), GateError> {
    let (mut signed, mut signatures): (Vec<Signer>, _) = (Vec::new(), Vec::new());
    let links = storage.recovery_links(statement.text()).await?;
    for signature in links.into_iter().filter_map(|link| link.signature) {
        let Ok(signer) = check_signature(statement, &signature, trust, &seen.revoked) else {
            continue;
        };
        if signed.iter().all(|one| one.person != signer.person) {
            signed.push(signer.clone());
            signatures.push(signature);
        }
    }
    Ok((signed, signatures))
}

/// Takes one person's signature, and carries the recovery out if it is the last that was needed; true then.
///
/// # Errors
/// What does not hold. Nothing changed then.
pub async fn sign(
    storage: &Storage,
    trust: &Trust,
    seen: &SeenHead,
    secret: &str,
    unverified: &UnverifiedAssertion,
    now: Timestamp,
) -> Result<bool, GateError> {
    let standing = standing(storage, trust, seen, secret, now).await?;
    let statement = &standing.statement;
    let signature = RecoverySignature {
        credential: unverified.raw_id.clone(),
        authenticator_data: encode(&unverified.authenticator_data),
        client_data_json: encode(&unverified.client_data_json),
        signature: encode(&unverified.signature),
        user_handle: unverified.user_handle.as_deref().map(encode),
    };
    let checked = check_signature(statement, &signature, trust, &seen.revoked);
    let signer = checked.inspect_err(|refusal| {
        let code = refusal.code();
        tracing::warn!(code, "a signature for a recovery of the log was refused");
    })?;
    // Once more through one's own link: what was cut off before its end goes on.
    let is_own =
        standing.link.signature.as_ref().is_some_and(|own| own.credential == signature.credential);
    if !is_own {
        if standing.signed.iter().any(|one| one.person == signer.person) {
            return Err(RecoveryRefusal::SamePerson.into());
        }
        if !storage.sign_recovery_link(&standing.link.token, &signature).await? {
            return Err(CeremonyRefusal::LinkOver.into());
        }
        tracing::warn!(person = signer.person.subject, "a recovery of the log was signed");
    }
    // Two people may sign at the same moment: whoever reads last sees both.
    let (signed, signatures) = signatures_of(storage, trust, seen, statement).await?;
    if signed.len() < standing.needed {
        return Ok(false);
    }
    match carry_out(storage, trust, seen, statement, signatures, now).await {
        // The other one did.
        Err(GateError::Storage(StorageError::Conflict)) => Ok(true),
        other => other.map(|()| true),
    }
}

/// Writes the recovery: its entry, the revocations again, and the end of everything that was open.
async fn carry_out(
    storage: &Storage,
    trust: &Trust,
    seen: &SeenHead,
    statement: &FrozenRecovery,
    signatures: Vec<RecoverySignature>,
    now: Timestamp,
) -> Result<(), GateError> {
    let recovery = statement.predicate();
    let by = signatures.first().map(|signature| &signature.credential);
    let by = recovery.signers.iter().find(|signer| Some(&signer.credential) == by);
    let by = by.ok_or(RecoveryRefusal::KeyNotPinned)?.person.clone();
    let recorded = RecordedRecovery { statement: statement.text().to_owned(), signatures };
    // By the rules of those who will read it: what they would refuse is not written.
    verify(&Record::of_event(LOG_RECOVERED, json!(recorded), now), trust, &seen.revoked)?;
    let kept = &recovery.database;
    let mut writer = storage.begin_recovery(kept.size, &kept.root).await?;
    writer.record(LOG_RECOVERED, json!(recorded), now).await?;
    writer.void_what_is_open(now).await?;
    for credential in &recovery.revoked {
        let Some(id) = base64url::decode(credential) else { continue };
        // Of a key whose enrolment is lost there is nothing to revoke here. It stays known outside.
        let Some(known) = storage.credential(&id).await? else { continue };
        let revocation = Revocation {
            credential: credential.clone(),
            person: known.person,
            by: by.clone(),
            by_name: by.subject.clone(),
            reason: KNOWN_OUTSIDE.to_owned(),
            loss: None,
        };
        writer.revoke_credential(&id, &revocation, now).await?;
    }
    // The point of no return in the database. A crash before it leaves everything as it was: stopped, and
    // the links are good until their time is over. After it the entry stands, and the gate is still
    // stopped until whoever follows the log has verified it and replaced the head outside.
    writer.commit().await?;
    tracing::warn!(
        name = recovery.new_name,
        lost = recovery.lost(),
        "the log was recovered and goes on under a new name"
    );
    Ok(())
}

/// Learns how often the log was recovered from its own entries, in a process that does not follow it.
///
/// # Errors
/// [`RecoveryRefusal`] if one of them does not hold.
pub async fn learn_lineage(storage: &Storage, trust: &Trust) -> Result<Lineage, GateError> {
    let mut records = Vec::new();
    for kind in [LOG_RECOVERED, CREDENTIAL_REVOKED] {
        records.extend(storage.signed_records(kind).await?);
    }
    records.sort_by_key(|(index, _)| *index);
    let log = TrustedLog::parse(&trust.log).ok_or(RecoveryRefusal::OtherLog)?;
    let last = successor(lineage(&log.name).0, u32::MAX);
    let mut recoveries = Recoveries::default();
    for (index, record) in records {
        let below = storage.tree_at(index).await?;
        recoveries.pass((index, below.root()), &record, trust, &last)?;
    }
    storage.learn_lineage(recoveries.lineage());
    Ok(recoveries.lineage())
}

/// What a recovery says now: the head outside, what the database has, and who may sign.
async fn describe(
    storage: &Storage,
    trust: &Trust,
    seen: &SeenHead,
    (nonce, issued_at, expires_at): (String, Timestamp, Timestamp),
) -> Result<Recovery, GateError> {
    let log = TrustedLog::parse(&trust.log).ok_or(RecoveryRefusal::OtherLog)?;
    let (first, _) = lineage(&log.name);
    let recoveries = seen.lineage.recoveries;
    let outside = seen.named(first);
    let head = storage.head().await?;
    let has_all = head.size() >= seen.size && storage.tree_at(seen.size).await?.root() == seen.root;
    let records = storage.signed_records(LOG_RECOVERED).await?;
    let is_recovered = records.iter().any(|(_, record)| names(record, &outside.name, seen));
    if has_all || is_recovered {
        return Err(CeremonyRefusal::NothingToRecover.into());
    }
    let mut known = Revoked::new();
    for found in storage.revocations().await? {
        known.insert(found.revocation.credential, found.index);
    }
    let revoked: Vec<String> =
        seen.revoked.keys().filter(|one| !known.contains_key(*one)).cloned().collect();
    known.extend(seen.revoked.clone());
    Ok(Recovery {
        signers: signers(storage, trust, &known).await?,
        outside,
        database: Kept { size: head.size(), root: head.root() },
        new_name: successor(first, recoveries.saturating_add(1)),
        revoked,
        audience: trust.origin.clone(),
        nonce,
        issued_at,
        expires_at,
    })
}

/// Whether this is the record of a recovery that takes the place of the head `seen` of this name.
fn names(record: &Record, name: &str, seen: &SeenHead) -> bool {
    let statement = record.data["statement"].as_str();
    let statement = statement.and_then(|text| FrozenRecovery::thaw(text).ok());
    statement.is_some_and(|statement| {
        let outside = &statement.predicate().outside;
        (outside.name.as_str(), outside.size, outside.root) == (name, seen.size, seen.root)
    })
}

/// The pinned keys that the log knows as somebody's, by the entries of their enrolments.
async fn signers(
    storage: &Storage,
    trust: &Trust,
    revoked: &Revoked,
) -> Result<Vec<Signer>, GateError> {
    let mut signers = Vec::new();
    for (_, record) in storage.signed_records(REGISTERED).await? {
        let data = &record.data;
        let Ok(person) = serde_json::from_value(data["person"].clone()) else { continue };
        let text = |name: &str| data[name].as_str().unwrap_or_default().to_owned();
        let signer = Signer {
            person,
            credential: text("credential"),
            public_key: text("public_key"),
            backup_eligible: data["backup_eligible"].as_bool().unwrap_or_default(),
        };
        if trust.endorsers.contains(&signer.public_key) && !revoked.contains_key(&signer.credential)
        {
            signers.push(signer);
        }
    }
    Ok(signers)
}
