//! A person reports that a key of theirs is lost, and since when. The directory vouches for the report in a
//! sign-in that is made for it, as for a new key: so it takes no key. Or another key of theirs signs it
//! ([`signed`]). No session alone reports one.

pub mod signed;

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::domain::approval::Approval;
use crate::domain::decision::{Decision, standing};
use crate::domain::endorsement::{ENDORSED, OWN_KEY_SIGNED};
use crate::domain::loss::{LOSS_SCHEMA, LossReport, RecordedLoss, VouchedLoss};
use crate::domain::person::Profile;
use crate::gate::decide::{RelyingParty, encode};
use crate::gate::enrol::{CEREMONY_LIFETIME, nonce_of};
use crate::gate::sign_in::profile_of;
use crate::gate::{CeremonyRefusal, GateError};
use crate::integrations::login_oidc::VerifiedSignIn;
use crate::proof::base64url;
use crate::proof::evidence::{Trust, TrustedLogin};
use crate::proof::verify::verify_loss;
use crate::randomness;
use crate::storage::{
    Ceremony, Credential, CredentialStatus, RecordedRevocation, Revocation, Session, Storage,
    Writer,
};

/// Why the ledger says that it was revoked.
const LOST: &str = "reported as lost by its owner";
/// Why those keys are revoked that a key brought in while it was lost.
const BROUGHT_IN: &str = "a key that was lost by then signed for it";

/// A report that waits for its sign-in.
pub struct Reported {
    /// The ceremony to sign in for.
    pub ceremony: String,
    /// The OpenID nonce that the sign-in must carry: base64url of SHA-256 of the report.
    pub nonce: String,
}

/// What a ceremony keeps of a report beside its text, and by which it is told from a registration.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reporting {
    lost: String,
}

/// Whether a ceremony is of a loss.
pub fn is_of_loss(ceremony: &Ceremony) -> bool {
    serde_json::from_str::<Reporting>(&ceremony.state).is_ok()
}

/// Takes a report, and keeps it until the directory vouches for it.
///
/// # Errors
/// [`CeremonyRefusal::UnknownCredential`] if it is no key of this person, [`CeremonyRefusal::RevokedCredential`]
/// if it signs nothing any more anyway, [`CeremonyRefusal::LossAhead`] if `since` is later than now.
pub async fn report(
    storage: &Storage,
    party: &RelyingParty,
    session: &Session,
    credential_id: &[u8],
    since: Timestamp,
    now: Timestamp,
) -> Result<Reported, GateError> {
    let person = &session.profile.person;
    let key = storage.credential(credential_id).await?;
    let key = key.filter(|key| key.person == *person);
    let key = key.ok_or(CeremonyRefusal::UnknownCredential)?;
    let credential = encode(&key.id);
    if key.status == CredentialStatus::Revoked || storage.revoked_at(&credential).is_some() {
        return Err(CeremonyRefusal::RevokedCredential.into());
    }
    if since > now {
        return Err(CeremonyRefusal::LossAhead.into());
    }
    let report = LossReport {
        schema: LOSS_SCHEMA.to_owned(),
        credential: credential.clone(),
        person: person.clone(),
        since,
        audience: party.origin.clone(),
        nonce: randomness::token::<32>(),
    };
    let text = report.text()?;
    let nonce = nonce_of(&text);
    let ceremony = Ceremony {
        id: randomness::token::<16>(),
        person: person.clone(),
        session: session.id,
        state: json!(Reporting { lost: credential }).to_string(),
        registration: Some(text),
        verified: None,
        expires_at: now.saturating_add(CEREMONY_LIFETIME).unwrap_or(now),
    };
    storage.put_ceremony(&ceremony).await?;
    Ok(Reported { ceremony: ceremony.id, nonce })
}

/// The report of this session that waits for its sign-in under this name.
///
/// # Errors
/// [`CeremonyRefusal::UnknownEnrolment`] if there is none.
pub async fn waiting(
    storage: &Storage,
    session: &Session,
    ceremony: &str,
    now: Timestamp,
) -> Result<LossReport, GateError> {
    let found = storage.ceremony(ceremony, now).await?;
    let found = found.filter(|found| found.session == session.id && is_of_loss(found));
    let report = found.and_then(|found| LossReport::read(&found.registration?));
    report.ok_or_else(|| CeremonyRefusal::UnknownEnrolment.into())
}

/// Writes the loss down, when the directory's ID token vouches for the report: the key is out of use for good,
/// and with it the keys that were brought in by it while it was lost.
///
/// # Errors
/// What does not hold; nothing is changed then.
pub async fn finish(
    storage: &Storage,
    trust: &Trust,
    ceremony_id: &str,
    sign_in: &VerifiedSignIn,
    now: Timestamp,
) -> Result<(), GateError> {
    let mut writer = storage.begin().await?;
    let ceremony =
        writer.take_ceremony(ceremony_id, now).await?.ok_or(CeremonyRefusal::UnknownEnrolment)?;
    let profile = profile_of(sign_in);
    if ceremony.person != profile.person {
        return Err(CeremonyRefusal::OtherPerson.into());
    }
    let report = ceremony.registration.ok_or(CeremonyRefusal::UnknownEnrolment)?;
    let read = LossReport::read(&report).ok_or(CeremonyRefusal::UnknownEnrolment)?;
    let loss = VouchedLoss {
        report,
        id_token: sign_in.id_token().to_owned(),
        issuer_key: sign_in.key().to_owned(),
    };
    // A key of the directory that nobody has pinned yet keeps nobody from reporting a loss: whoever reads it
    // with these anchors takes it for a revocation then.
    let login = TrustedLogin { keys: Vec::new(), ..trust.login.clone() };
    let unpinned = Trust { login, ..trust.clone() };
    verify_loss(&loss, (&read.credential, &profile.person), now, &unpinned)
        .map_err(|_| CeremonyRefusal::UnknownEnrolment)?;
    record(storage, &mut writer, (&read, RecordedLoss::Vouched(loss)), &profile, now).await?;
    Ok(writer.commit().await?)
}

/// Writes a loss that was reported as it must be into a change that is not committed, with the keys that it brought in.
async fn record(
    storage: &Storage,
    writer: &mut Writer,
    (report, loss): (&LossReport, RecordedLoss),
    owner: &Profile,
    now: Timestamp,
) -> Result<(), GateError> {
    let id = base64url::decode(&report.credential).ok_or(CeremonyRefusal::UnknownEnrolment)?;
    let revocation = Revocation {
        credential: report.credential.clone(),
        person: owner.person.clone(),
        by: owner.person.clone(),
        by_name: owner.name.clone(),
        reason: LOST.to_owned(),
        loss: Some(loss),
    };
    if !writer.revoke_credential(&id, &revocation, now).await? {
        return Err(CeremonyRefusal::RevokedCredential.into());
    }
    for key in brought_in(storage, &report.credential, report.since).await? {
        let also = Revocation {
            credential: encode(&key.id),
            person: key.person,
            reason: BROUGHT_IN.to_owned(),
            loss: None,
            ..revocation.clone()
        };
        writer.revoke_credential(&key.id, &also, now).await?;
    }
    let (lost, since) = (&report.credential, report.since);
    tracing::warn!(credential = lost, person = owner.person.subject, %since, "a key was reported as lost");
    Ok(())
}

/// The keys of anybody that rest on what a key signed since it is lost, and on what those signed for.
async fn brought_in(
    storage: &Storage,
    lost: &str,
    since: Timestamp,
) -> Result<Vec<Credential>, GateError> {
    let mut signed = storage.signed_records(ENDORSED).await?;
    signed.extend(storage.signed_records(OWN_KEY_SIGNED).await?);
    signed.retain(|(_, record)| record.at >= since);
    let mut names = BTreeSet::from([lost.to_owned()]);
    loop {
        let before = names.len();
        for (_, record) in &signed {
            let text = |name: &str| record.data[name].as_str();
            if let (Some(by), Some(of)) = (text("signed_with"), text("credential"))
                && names.contains(by)
            {
                names.insert(of.to_owned());
            }
        }
        if names.len() == before {
            break;
        }
    }
    names.remove(lost);
    let mut keys = Vec::with_capacity(names.len());
    for id in names.iter().filter_map(|name| base64url::decode(name)) {
        keys.extend(storage.credential(&id).await?);
    }
    Ok(keys)
}

/// Whether what a key signed at `signed_at` counts for nothing because of this entry. A loss that neither the directory
/// vouched for nor another key signed is a revocation, after which nothing counts that it ever signed.
pub async fn voids(
    storage: &Storage,
    trust: &Trust,
    found: &RecordedRevocation,
    signed_at: Timestamp,
) -> Result<bool, GateError> {
    let since = lost_since(storage, trust, found).await?;
    Ok(since.is_none_or(|since| signed_at >= since))
}

/// Since when a key is lost, if its owner reported that.
pub async fn lost_since(
    storage: &Storage,
    trust: &Trust,
    found: &RecordedRevocation,
) -> Result<Option<Timestamp>, GateError> {
    let Revocation { credential, person, loss, .. } = &found.revocation;
    match loss {
        None => Ok(None),
        Some(RecordedLoss::Vouched(loss)) => {
            Ok(verify_loss(loss, (credential, person), found.at, trust).ok())
        }
        Some(RecordedLoss::Signed(loss)) => signed::verify(storage, trust, found, loss).await,
    }
}

/// The first signature that stands in an approval and counts for nothing any more, with the entry that says so.
pub async fn void_signature<'a>(
    storage: &Storage,
    trust: &Trust,
    approval: &'a Approval,
) -> Result<Option<(&'a Decision, RecordedRevocation)>, GateError> {
    let standing = standing(&approval.decisions);
    if standing.is_empty() {
        return Ok(None);
    }
    let revocations = storage.revocations().await?;
    for decision in standing {
        let is_its =
            |found: &&RecordedRevocation| found.revocation.credential == decision.credential;
        for found in revocations.iter().filter(is_its) {
            if voids(storage, trust, found, decision.decided_at).await? {
                return Ok(Some((decision, found.clone())));
            }
        }
    }
    Ok(None)
}
