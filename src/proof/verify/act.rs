//! Statements beside approvals that people sign (a freeze, say), by the same checks as the decisions in
//! evidence: who signed, under which sign-in, with which key, and how that key became theirs.

use super::decisions::{check_assertion, is_recent};
use super::failure::{Code, Failure};
use super::form::{UnverifiedSigned, credential, entries_of, signed};
use super::judge::Strict;
use super::ledger::{Moment, check_inclusion, check_signatures};
use super::{endorsement, enrolment, sign_in};
use crate::domain::digest::Digest;
use crate::domain::ledger::Revoked;
use crate::domain::person::Person;
use crate::domain::statement::{Act, STATEMENT_LIFETIME};
use crate::proof::checkpoint::TrustedLog;
use crate::proof::evidence::{CredentialEvidence, DecisionEvidence, Trust};

/// What proves such a statement, as it is gathered. Nothing in it is believed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ActEvidence {
    /// The index of its entry.
    pub index: u64,
    /// The time of its entry.
    pub at: jiff::Timestamp,
    /// The thumbprint of the directory's key that its entry names.
    pub sign_in_key: String,
    /// The statement, the assertion over it and the sign-in.
    pub signed: DecisionEvidence,
    /// The enrolments of the key that signed and of those that endorsed it, up to the anchors.
    pub credentials: Vec<CredentialEvidence>,
    /// Size and root of the verified tree that the proofs of their entries lead to.
    pub tree: (u64, Digest),
}

/// Whoever signed, with the groups that the directory signed. Only [`verify_act`] makes one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ActSigner {
    person: Person,
    groups: Vec<String>,
}

impl ActSigner {
    /// Who it is.
    pub fn person(&self) -> &Person {
        &self.person
    }

    /// The groups of the sign-in.
    pub fn groups(&self) -> &[String] {
        &self.groups
    }
}

/// Verifies who signed a statement, against anchors. That it is about what its entry says, and that its signer
/// may say it, is for the caller to see to. `revoked` are the keys that are known to be revoked.
///
/// # Errors
/// The first check that fails, by the codes of evidence.
pub fn verify_act<P: Act>(
    evidence: &ActEvidence,
    trust: &Trust,
    revoked: &Revoked,
) -> Result<ActSigner, Failure> {
    let act: UnverifiedSigned<'_, P> = signed(&evidence.signed)?;
    let keys = evidence.credentials.iter().map(credential).collect::<Result<Vec<_>, _>>()?;
    let moment = Moment { index: evidence.index, at: evidence.at };
    if act.statement.predicate().audience() != trust.origin {
        return Err(Code::AudienceMismatch.because("the statement was made for another gate"));
    }
    let log = TrustedLog::parse(&trust.log)
        .ok_or_else(|| Code::CheckpointInvalid.because("the pinned log key cannot be read"))?;
    check_inclusion(entries_of(&keys), (evidence.tree.0, &evidence.tree.1))?;
    check_signatures(entries_of(&keys), &log.key)?;
    let enrolled = enrolment::check(&keys, trust, &Strict)?;
    let of_endorsements = sign_in::check_of_keys(&keys, trust, &Strict)?;
    let own = sign_in::verify(act.sign_in, Some(&evidence.sign_in_key), &trust.login, &Strict)?;
    endorsement::check_words(&keys, &enrolled, trust)?;
    check_time(&act, moment)?;
    endorsement::check_times(&keys)?;
    let person = act.statement.predicate().signer();
    let groups = own.groups(&trust.login.groups_claim, false).filter(|_| {
        *act.statement.predicate().sign_in_digest() == act.sign_in.digest()
            && own.person().as_ref() == Some(person)
            && is_recent(&own, moment.at)
    });
    let groups = groups.ok_or_else(|| {
        Code::SignInMismatch
            .because("the sign-in is not the one that was signed with the statement, or too old")
    })?;
    endorsement::check_sign_ins(&keys, &of_endorsements)?;
    let used = find_key(&act, moment, &enrolled, revoked)?;
    let links = endorsement::check_credentials(&keys, &enrolled)?;
    let (needed, anchors) = (trust.endorsements, &enrolled);
    endorsement::check_chains(needed, &[(used, moment.index)], anchors, &links, trust)?;
    check_assertion(&act, &enrolled[used], trust).map_err(|refusal| {
        Code::AssertionInvalid.because(format!("a signature does not hold: {refusal}"))
    })?;
    endorsement::check_assertions(&keys, &enrolled, &links, trust)?;
    Ok(ActSigner { person: person.clone(), groups })
}

/// It was signed within its few minutes, by the time of its entry.
fn check_time<P: Act>(act: &UnverifiedSigned<'_, P>, moment: Moment) -> Result<(), Failure> {
    let (begins, ends) = act.statement.predicate().lifetime();
    let is_in_time = begins <= moment.at
        && moment.at < ends
        && ends.duration_since(begins) <= STATEMENT_LIFETIME;
    if is_in_time {
        return Ok(());
    }
    Err(Code::StatementTime.because("the statement was signed outside the time that it allows"))
}

/// The place of the key that signed: one that was its person's before, is named in the statement, and was not
/// revoked before.
fn find_key<P: Act>(
    act: &UnverifiedSigned<'_, P>,
    moment: Moment,
    enrolled: &[enrolment::Enrolled],
    revoked: &Revoked,
) -> Result<usize, Failure> {
    let predicate = act.statement.predicate();
    let id = act.credential_id;
    let was_revoked = revoked.get(id).is_some_and(|index| *index < moment.index);
    let is_named = predicate.credentials().iter().any(|named| named == id);
    let place = enrolled.iter().position(|one| {
        one.id == id && one.person == *predicate.signer() && one.index < moment.index
    });
    place.filter(|_| is_named && !was_revoked).ok_or_else(|| {
        Code::CredentialNotEnrolled.because(format!(
            "the key {id} was not enrolled for the person who signed with it, only later, or was revoked before"
        ))
    })
}
