//! Which of a person's keys may sign where. What stands in the database decides here only whom the page
//! lets sign; before a rollout the same rules are applied to verified evidence ([`crate::proof::verify`]).

use jiff::Timestamp;

use crate::domain::key_rules::{Aaguid, KeyFacts, KeyRefusal, KeyRules, Vouching};
use crate::domain::person::Person;
use crate::domain::policy::Policy;
use crate::gate::decide::encode;
use crate::gate::endorse::{missing, signing_keys};
use crate::gate::{CeremonyRefusal, GateError};
use crate::proof::attestation::vouching;
use crate::proof::evidence::Trust;
use crate::proof::registration;
use crate::storage::{Credential, RecordedRevocation, Storage};

/// The keys with which a person may sign now under the rules of an environment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AcceptedKeys {
    /// The keys, never none.
    pub keys: Vec<Credential>,
    /// Until when they may although their owner has too few, since another one was given up.
    pub until: Option<Timestamp>,
}

/// What rules ask about a key, under these anchors.
pub fn facts_of(key: &Credential, trust: &Trust) -> KeyFacts {
    let registration = registration::read(key.registration.as_bytes(), &trust.origin, &trust.rp_id);
    let vouching = match registration {
        Ok(read) => vouching(&read, &trust.attestation_roots, key.created_at),
        Err(why) => Vouching::Nobody(why.to_string()),
    };
    KeyFacts {
        backup_eligible: key.backup_eligible,
        aaguid: Aaguid(key.aaguid),
        vouching,
        suspended: None,
        enrolled_at: key.created_at,
    }
}

/// The same with what is known against its model by now.
pub fn facts_now(key: &Credential, trust: &Trust) -> KeyFacts {
    let suspended = trust.against(Aaguid(key.aaguid)).map(str::to_owned);
    KeyFacts { suspended, ..facts_of(key, trust) }
}

/// The keys of a person that may sign now under `policy`.
///
/// # Errors
/// [`CeremonyRefusal::NoCredential`], [`CeremonyRefusal::NotEndorsed`] or [`CeremonyRefusal::KeyNotAccepted`]
/// if there is none; the last says what would do.
pub async fn accepted_keys(
    storage: &Storage,
    trust: &Trust,
    policy: &Policy,
    person: &Person,
    now: Timestamp,
) -> Result<AcceptedKeys, GateError> {
    let needed = policy.enrolment.endorsements.max(trust.endorsements);
    let usable = signing_keys(storage, trust, needed, person).await?;
    let rules = &policy.keys.clone().unwrap_or_default();
    let refused = |key: &Credential, refusal: KeyRefusal| {
        let name = key.name.clone();
        GateError::from(CeremonyRefusal::KeyNotAccepted { name, refusal })
    };
    let (accepted, others): (Vec<_>, Vec<_>) =
        usable.into_iter().partition(|key| rules.accept(&facts_now(key, trust)).is_ok());
    if accepted.is_empty()
        && let Some(key) = others.first()
        && let Err(refusal) = rules.accept(&facts_now(key, trust))
    {
        return Err(refused(key, refusal));
    }
    let (ready, young): (Vec<_>, Vec<_>) = accepted
        .iter()
        .cloned()
        .partition(|key| rules.accept_age(&facts_now(key, trust), now).is_ok());
    let until = match rules.accept_number(accepted.len()) {
        Ok(()) => None,
        Err(refusal) => {
            let oldest = accepted.iter().map(|key| key.created_at).min().unwrap_or(now);
            let missing = usize::from(rules.needed()) - accepted.len();
            let until = graced(storage, trust, needed, rules, person, oldest, now).await?;
            // The one that ends first of those that are needed.
            let until = until.get(missing - 1).copied();
            Some(until.ok_or_else(|| refused(&accepted[0], refusal))?)
        }
    };
    match (ready.is_empty(), young.first()) {
        (true, Some(key)) => match rules.accept_age(&facts_now(key, trust), now) {
            Err(refusal) => Err(refused(key, refusal)),
            Ok(()) => Err(CeremonyRefusal::NoCredential.into()),
        },
        _ => Ok(AcceptedKeys { keys: ready, until }),
    }
}

/// Until when each key counts that its owner gave up and could not replace yet, the longest first. They had
/// it together with the key that was enrolled at `with`.
async fn graced(
    storage: &Storage,
    trust: &Trust,
    needed: u8,
    rules: &KeyRules,
    person: &Person,
    with: Timestamp,
    now: Timestamp,
) -> Result<Vec<Timestamp>, GateError> {
    let mut ends = Vec::new();
    let revocations = storage.revocations().await?;
    for key in storage.credentials_of(person).await? {
        let Some(found) = revocation_of(&revocations, &key) else { continue };
        let counts = found.at > with
            && rules.counts_still(found.at, now)
            && rules.accept(&facts_now(&key, trust)).is_ok()
            && missing(storage, trust, needed, &key).await? == 0;
        if counts {
            ends.push(rules.grace_ends(found.at));
        }
    }
    ends.sort_unstable_by(|one, other| other.cmp(one));
    Ok(ends)
}

/// The entry that took a key out of use.
pub fn revocation_of<'a>(
    revocations: &'a [RecordedRevocation],
    key: &Credential,
) -> Option<&'a RecordedRevocation> {
    let id = encode(&key.id);
    revocations.iter().find(|found| found.revocation.credential == id)
}
