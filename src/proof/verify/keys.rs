//! Whether the keys that signed are what the rules ask for: of the right kind and model, enrolled long
//! enough before, and not the only one that its person has.

use jiff::Timestamp;

use super::OtherKey;
use super::endorsement::{Link, counts_from};
use super::enrolment::Enrolled;
use super::failure::{Code, Failure};
use super::form::Form;
use super::judge::Judge;
use super::ledger::{Chain, Moment};
use crate::domain::decision::Verdict;
use crate::domain::key_rules::{KeyRefusal, KeyRules};
use crate::proof::evidence::Trust;

/// Another key of whoever decided, by the place of its credential.
pub(super) struct Spare {
    pub place: usize,
    /// The entry in which the decision first appears.
    decided: u64,
    /// The entry before it that revoked the key, and until when it counts all the same.
    revoked: Option<(u64, Timestamp)>,
}

impl Spare {
    pub(super) fn told(&self, credentials: &[Enrolled]) -> OtherKey {
        let key = &credentials[self.place];
        OtherKey {
            person: key.person.clone(),
            credential: key.id.clone(),
            decided: self.decided,
            revoked: self.revoked.map(|(entry, _)| entry),
            counts_until: self.revoked.map(|(_, until)| until),
        }
    }
}

/// Each key that signed a yes or a no is accepted, was old enough, and was not the only one; `used` are those
/// keys. Gives the others that show it.
pub(super) fn check(
    form: &Form<'_>,
    chain: &Chain<'_>,
    credentials: &[Enrolled],
    used: &[usize],
    links: &[Link],
    trust: &Trust,
    judge: &impl Judge,
) -> Result<Vec<Spare>, Failure> {
    let Some(rules) = &form.policy.keys else { return Ok(Vec::new()) };
    let counts = counts_from(credentials, links, form.policy.enrolment.endorsements, trust);
    let mut spares = Vec::new();
    let decisions = chain.last.decisions.iter().zip(&chain.decided);
    for (&place, (decision, decided)) in used.iter().zip(decisions) {
        if decision.verdict == Verdict::Withdraw {
            continue;
        }
        let signer = &credentials[place];
        let others = (0..credentials.len()).filter(|&other| {
            let key = &credentials[other];
            let counts = counts[other].is_some_and(|from| from < decided.index);
            other != place
                && key.person == signer.person
                && counts
                && is_held(rules, key, signer, *decided)
        });
        let others: Vec<usize> = others.take(usize::from(rules.needed()) - 1).collect();
        judge.pass(accept(rules, signer, others.len(), *decided))?;
        spares.extend(others.into_iter().map(|place| {
            Spare {
                place,
                decided: decided.index,
                revoked: revoked_before(&credentials[place], *decided)
                    .map(|revoked| (revoked.index, rules.grace_ends(revoked.at))),
            }
        }));
    }
    Ok(spares)
}

fn accept(
    rules: &KeyRules,
    signer: &Enrolled,
    others: usize,
    decided: Moment,
) -> Result<(), Failure> {
    let not_accepted = |refusal: KeyRefusal| {
        Code::KeyNotAccepted.because(format!(
            "the key {} of {} does not count here: {refusal}",
            signer.id, signer.person.subject
        ))
    };
    if revoked_before(signer, decided).is_some() {
        let sentence = format!("the key {} was revoked before it signed", signer.id);
        return Err(Code::KeyNotAccepted.because(sentence));
    }
    rules.accept(&signer.facts()).map_err(not_accepted)?;
    rules.accept_age(&signer.facts(), decided.at).map_err(not_accepted)?;
    rules.accept_number(others + 1).map_err(not_accepted)
}

/// Whether a key counts as one that the owner of `signer` had when they decided: one that was in use, or
/// one that they could not replace yet since they gave it up, and had together with the one that signed.
fn is_held(rules: &KeyRules, key: &Enrolled, signer: &Enrolled, decided: Moment) -> bool {
    let is_in_use = revoked_before(key, decided).is_none_or(|revoked| {
        revoked.index > signer.index && rules.counts_still(revoked.at, decided.at)
    });
    is_in_use && rules.accept(&key.facts()).is_ok()
}

fn revoked_before(key: &Enrolled, decided: Moment) -> Option<Moment> {
    key.revoked.filter(|revoked| revoked.index < decided.index)
}

/// Which decisions relied on the time that a person has to replace a key, one sentence each.
pub(super) fn graces(other_keys: &[OtherKey]) -> impl Iterator<Item = String> {
    other_keys.iter().filter_map(|key| {
        let until = key.counts_until?;
        Some(format!(
            "{} had given up the key {} when they signed and had too few left: what was left went on signing until {until}.",
            key.person.subject, key.credential
        ))
    })
}

/// What the rules asked for, in a sentence.
pub(super) fn held(rules: &KeyRules) -> String {
    format!("Each key that signed is what the policy asks for: {}.", rules.in_words().join("; "))
}
