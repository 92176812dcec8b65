//! Endorsements: who signed for whose key, in chains that end at the pinned anchors.
//!
//! An endorsement is a signed statement as a decision is, and what is asked of both gives the same codes.

use std::collections::BTreeSet;

use serde_json::json;

use super::decisions::{check_assertion, is_recent};
use super::enrolment::Enrolled;
use super::failure::{Code, Failure};
use super::form::{UnverifiedCredential, UnverifiedEndorsement, endorsements};
use super::sign_in::VerifiedSignIn;
use crate::domain::canonical::CanonicalError;
use crate::domain::decision::assertion_digest;
use crate::domain::digest::Digest;
use crate::domain::endorsement::{ENDORSED, RecordedEndorsement};
use crate::domain::statement::STATEMENT_LIFETIME;
use crate::proof::evidence::Trust;
use crate::proof::jwk::thumbprint;

/// An endorsement by the places of two credentials: the endorsed one, and the one that signed.
#[derive(Clone, Copy)]
pub(super) struct Link {
    pub of: usize,
    pub by: usize,
    /// The place of its entry in the log.
    index: u64,
}

/// Each is of exactly one enrolment, recorded as it was signed, by somebody else than the key's owner,
/// and each person counts once for a key.
pub(super) fn check_words(
    keys: &[UnverifiedCredential<'_>],
    credentials: &[Enrolled],
    trust: &Trust,
) -> Result<(), Failure> {
    for (credential, enrolled) in keys.iter().zip(credentials) {
        let mut people = BTreeSet::from([&enrolled.person]);
        for endorsement in &credential.endorsements {
            let is_new = people.insert(&endorsement.signed.statement.predicate().endorser);
            let why = match says(credential, enrolled, endorsement, trust) {
                Ok(()) if is_new => continue,
                Ok(()) => "it is by the owner of the key, or by one person twice",
                Err(why) => why,
            };
            let id = &enrolled.id;
            let sentence = format!("an endorsement of the key {id} does not hold: {why}");
            return Err(Code::EndorsementInvalid.because(sentence));
        }
    }
    Ok(())
}

fn says(
    credential: &UnverifiedCredential<'_>,
    enrolled: &Enrolled,
    endorsement: &UnverifiedEndorsement<'_>,
    trust: &Trust,
) -> Result<(), &'static str> {
    let signed = &endorsement.signed;
    let predicate = signed.statement.predicate();
    let unwritable = |_: CanonicalError| "a value of it has no canonical form";
    let record = credential.entry.record.text().map_err(unwritable)?;
    let is_about = signed.statement.is_about(&enrolled.id, &record)
        && predicate.audience == trust.origin
        && predicate.credentials.iter().any(|one| one == signed.credential_id);
    if !is_about {
        return Err("its statement is not about exactly this enrolment, for this gate");
    }
    let assertion = assertion_digest(
        &signed.authenticator_data,
        &signed.client_data_json,
        &signed.signature,
        signed.user_handle.as_deref(),
    );
    let said = RecordedEndorsement {
        credential: enrolled.id.clone(),
        endorser: predicate.endorser.clone(),
        signed_with: signed.credential_id.to_owned(),
        statement_digest: Digest::of(signed.statement.text()),
        assertion_digest: assertion.map_err(unwritable)?,
        sign_in_key: thumbprint(&signed.sign_in.key),
    };
    let noted = &endorsement.entry.record;
    if noted.kind == ENDORSED && noted.approval.is_none() && noted.data == json!(said) {
        Ok(())
    } else {
        Err("the log recorded another one")
    }
}

/// Each was signed within its few minutes, by the time of its entry.
pub(super) fn check_times(keys: &[UnverifiedCredential<'_>]) -> Result<(), Failure> {
    for endorsement in endorsements(keys) {
        let predicate = endorsement.signed.statement.predicate();
        let (begins, ends) = (predicate.issued_at, predicate.expires_at);
        let at = endorsement.entry.record.at;
        if at < begins || at >= ends || ends.duration_since(begins) > STATEMENT_LIFETIME {
            return Err(Code::StatementTime.because(format!(
                "the endorsement of {} was signed outside the time that its statement allows",
                predicate.endorser.subject
            )));
        }
    }
    Ok(())
}

/// Each rests on the sign-in whose digest it signed, of the same person, a short time before.
pub(super) fn check_sign_ins(
    keys: &[UnverifiedCredential<'_>],
    sign_ins: &[VerifiedSignIn],
) -> Result<(), Failure> {
    for (endorsement, sign_in) in endorsements(keys).zip(sign_ins) {
        let predicate = endorsement.signed.statement.predicate();
        let holds = predicate.sign_in_digest == endorsement.signed.sign_in.digest()
            && Some(&predicate.endorser) == sign_in.person().as_ref()
            && is_recent(sign_in, endorsement.entry.record.at);
        if !holds {
            return Err(Code::SignInMismatch.because(format!(
                "the sign-in is not the one that {} signed with the endorsement, or too old",
                predicate.endorser.subject
            )));
        }
    }
    Ok(())
}

/// Each was signed with a key that was its person's before.
pub(super) fn check_credentials(
    keys: &[UnverifiedCredential<'_>],
    credentials: &[Enrolled],
) -> Result<Vec<Link>, Failure> {
    let mut links = Vec::new();
    for (of, credential) in keys.iter().enumerate() {
        for endorsement in &credential.endorsements {
            let signed = &endorsement.signed;
            let index = endorsement.entry.index;
            let is_theirs = |one: &Enrolled| {
                one.id == signed.credential_id
                    && one.person == signed.statement.predicate().endorser
                    && one.index < index
            };
            let by = credentials.iter().position(is_theirs).ok_or_else(|| {
                Code::CredentialNotEnrolled.because(format!(
                    "the key {} was not enrolled for the person who endorsed with it, or only later",
                    signed.credential_id
                ))
            })?;
            links.push(Link { of, by, index });
        }
    }
    Ok(links)
}

/// Each key is an anchor, or has the endorsements that it needs, each by a key that counted before;
/// and whoever decided or intervened signed with a key that counted before. `needed` is how many
/// endorsements a new key needed then, `signers` are the places of the keys that signed, each with the index
/// of the entry in which it signed.
pub(super) fn check_chains(
    needed: u8,
    signers: &[(usize, u64)],
    credentials: &[Enrolled],
    links: &[Link],
    trust: &Trust,
) -> Result<(), Failure> {
    if needed < trust.endorsements {
        return Err(Code::NotEndorsed.because(format!(
            "the policy asked for {needed} endorsements of a new key, and the anchors ask for {}",
            trust.endorsements
        )));
    }
    let counts_from = counts_from(credentials, links, needed, trust);
    let not_endorsed = |place: usize| {
        Code::NotEndorsed.because(format!(
            "the key {} did not have {needed} endorsements before it signed, by keys that counted before, in chains that end at an anchor",
            credentials[place].id
        ))
    };
    if let Some(place) = counts_from.iter().position(Option::is_none) {
        return Err(not_endorsed(place));
    }
    for &(place, index) in signers {
        if counts_from[place].is_none_or(|from| from >= index) {
            return Err(not_endorsed(place));
        }
    }
    Ok(())
}

/// From which entry on each key counts; `None` for one that never does.
pub(super) fn counts_from(
    credentials: &[Enrolled],
    links: &[Link],
    needed: u8,
    trust: &Trust,
) -> Vec<Option<u64>> {
    let mut own = vec![Vec::new(); credentials.len()];
    links.iter().for_each(|link| own[link.of].push(link));
    let mut known: Vec<Option<u64>> = vec![None; credentials.len()];
    // A key is settled once its endorsers are; in a circle nobody ever is.
    loop {
        let before = known.iter().flatten().count();
        for (place, credential) in credentials.iter().enumerate() {
            known[place] = known[place].or_else(|| {
                if credential.is_anchor(trust) {
                    return Some(credential.index);
                }
                let holds = |link: &&Link| known[link.by].is_some_and(|from| from < link.index);
                let is_endorsed =
                    own[place].len() == usize::from(needed) && own[place].iter().all(holds);
                let latest = own[place].iter().map(|link| link.index).max();
                is_endorsed.then(|| latest.map_or(credential.index, |at| at.max(credential.index)))
            });
        }
        if known.iter().flatten().count() == before {
            return known;
        }
    }
}

/// Each assertion verifies over its statement.
pub(super) fn check_assertions(
    keys: &[UnverifiedCredential<'_>],
    credentials: &[Enrolled],
    links: &[Link],
    trust: &Trust,
) -> Result<(), Failure> {
    for (endorsement, link) in endorsements(keys).zip(links) {
        check_assertion(&endorsement.signed, &credentials[link.by], trust).map_err(|refusal| {
            Code::AssertionInvalid.because(format!("an endorsement does not hold: {refusal}"))
        })?;
    }
    Ok(())
}
