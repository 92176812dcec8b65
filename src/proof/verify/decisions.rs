//! Decisions: who signed what, when, under which sign-in, with which key.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::endorsement::Link;
use super::enrolment::Enrolled;
use super::failure::{Code, Failure};
use super::form::{Form, UnverifiedDecision, UnverifiedSigned};
use super::judge::Judge;
use super::keys::Spare;
use super::ledger::Chain;
use super::sign_in::{LEEWAY, VerifiedSignIn};
use crate::domain::decision::{Decision, Verdict, assertion_digest, standing};
use crate::domain::digest::Digest;
use crate::domain::policy::BreakGlass;
use crate::domain::statement::{FrozenStatement, STATEMENT_LIFETIME, Signable};
use crate::proof::assertion::{
    AssertionRefusal, Expectation, UnverifiedAssertion, verify_from_record,
};
use crate::proof::evidence::Trust;

/// How old a sign-in may be when its person decides: the life of a session.
const OLDEST_SIGN_IN: SignedDuration = SignedDuration::from_mins(15);

/// As many statements as recorded decisions, each about exactly this deployment, saying exactly what
/// was recorded.
pub(super) fn check_statements(form: &Form<'_>, chain: &Chain<'_>) -> Result<(), Failure> {
    let mismatch = |sentence: &str| Err(Code::StatementMismatch.because(sentence));
    let recorded = &chain.last.decisions;
    if form.decisions.len() != recorded.len() {
        return mismatch("there are not as many signed decisions as the ledger recorded");
    }
    let mut nonces = BTreeSet::new();
    for (place, (signed, recorded)) in form.decisions.iter().zip(recorded).enumerate() {
        if !is_recorded(signed, recorded) {
            return mismatch("a signed decision is not the one that the ledger recorded");
        }
        if !signed.statement.is_about(&form.subject) {
            return mismatch("a signed statement is not about exactly what was asked for");
        }
        if !says(&signed.statement, recorded) {
            return mismatch("a signed statement does not say what the ledger recorded");
        }
        if !nonces.insert(&signed.statement.predicate().nonce) {
            return mismatch("two statements have the same nonce");
        }
        let before = standing(&chain.last.decisions[..place]);
        let before = before.into_iter().find(|earlier| earlier.person == recorded.person);
        match (recorded.verdict, before) {
            (Verdict::Approve | Verdict::Reject | Verdict::BreakGlass, None) => {}
            (Verdict::Approve | Verdict::Reject | Verdict::BreakGlass, Some(_)) => {
                return mismatch("one person decided twice");
            }
            (Verdict::Withdraw, stands) => {
                let stands = stands.map(|yes| yes.statement_digest);
                if stands != signed.statement.predicate().withdraws {
                    return mismatch("what is taken back is not what the person had signed");
                }
            }
        }
    }
    Ok(())
}

fn is_recorded(signed: &UnverifiedDecision<'_>, recorded: &Decision) -> bool {
    let assertion = assertion_digest(
        &signed.authenticator_data,
        &signed.client_data_json,
        &signed.signature,
        signed.user_handle.as_deref(),
    );
    recorded.statement_digest == Digest::of(signed.statement.text())
        && recorded.credential == signed.credential_id
        && assertion.is_ok_and(|digest| digest == recorded.assertion_digest)
}

fn says(statement: &FrozenStatement, recorded: &Decision) -> bool {
    let predicate = statement.predicate();
    predicate.approver == recorded.person
        && predicate.decision == recorded.verdict
        && predicate.reason == recorded.reason
        && predicate.directory_unreachable_since == recorded.directory_unreachable_since
        && predicate.credentials.contains(&recorded.credential)
}

/// Each was signed within its few minutes, by the time of its entry. Never compared with now: a long
/// rollout cannot run out of the approval that it rests on.
pub(super) fn check_times(form: &Form<'_>, chain: &Chain<'_>) -> Result<(), Failure> {
    let decided = chain.last.decisions.iter().zip(&chain.decided);
    for (signed, (recorded, moment)) in form.decisions.iter().zip(decided) {
        let predicate = signed.statement.predicate();
        let (begins, ends) = (predicate.issued_at, predicate.expires_at);
        let is_in_time = begins <= recorded.decided_at
            && recorded.decided_at < ends
            && ends.duration_since(begins) <= STATEMENT_LIFETIME
            && ends <= form.subject.expires_at
            && recorded.decided_at == moment.at;
        if !is_in_time {
            return Err(Code::StatementTime.because(format!(
                "the statement of {} was signed outside the time that it allows",
                recorded.person.subject
            )));
        }
    }
    Ok(())
}

/// Each rests on the sign-in whose digest it signed, of the same person, a short time before; or, where the glass is
/// broken while the directory cannot be reached, not longer before than the policy lets it be.
pub(super) fn check_sign_ins(
    form: &Form<'_>,
    chain: &Chain<'_>,
    sign_ins: &[VerifiedSignIn],
    trust: &Trust,
) -> Result<(), Failure> {
    let decided = form.decisions.iter().zip(&chain.last.decisions);
    let (claim, must_be_signed) = (&trust.login.groups_claim, form.policy.groups_must_be_signed);
    let grace = form.policy.break_glass.as_ref().and_then(BreakGlass::outage_grace);
    for ((signed, recorded), sign_in) in decided.zip(sign_ins) {
        let predicate = signed.statement.predicate();
        let holds = predicate.sign_in_digest == signed.sign_in.digest()
            && Some(&predicate.approver) == sign_in.person().as_ref()
            && sign_in.groups(claim, must_be_signed).as_ref() == Some(&recorded.groups)
            && sign_in.github_id(form.policy.github_id_claim()) == recorded.github_id
            && match predicate.directory_unreachable_since {
                None => is_recent(sign_in, recorded.decided_at),
                Some(_) => grace
                    .is_some_and(|grace| is_at_most_so_old(sign_in, recorded.decided_at, grace)),
            };
        if !holds {
            return Err(Code::SignInMismatch.because(format!(
                "the sign-in is not the one that {} signed with the decision, or too old",
                recorded.person.subject
            )));
        }
    }
    Ok(())
}

/// Whether a sign-in was a short time ago.
pub(super) fn is_recent(sign_in: &VerifiedSignIn, at: Timestamp) -> bool {
    is_at_most_so_old(sign_in, at, OLDEST_SIGN_IN)
}

fn is_at_most_so_old(sign_in: &VerifiedSignIn, at: Timestamp, oldest: SignedDuration) -> bool {
    sign_in.issued_at().is_some_and(|issued_at| {
        let age = at.duration_since(issued_at);
        age >= -LEEWAY && age <= oldest.saturating_add(LEEWAY)
    })
}

/// Each was signed with a key that was its person's before. Gives the credential of each decision.
pub(super) fn check_credentials(
    form: &Form<'_>,
    chain: &Chain<'_>,
    credentials: &[Enrolled],
    judge: &impl Judge,
) -> Result<Vec<usize>, Failure> {
    let decided = form.decisions.iter().zip(&chain.decided);
    decided
        .map(|(signed, moment)| {
            let not_theirs = || {
                Code::CredentialNotEnrolled.because(format!(
                    "the key {} was not enrolled for the person who signed with it, or only later",
                    signed.credential_id
                ))
            };
            let is_theirs = |place: &usize| {
                let credential = &credentials[*place];
                credential.person == signed.statement.predicate().approver
                    && credential.index < moment.index
            };
            let mut places = (0..credentials.len())
                .filter(|place| credentials[*place].id == signed.credential_id);
            let theirs = places.clone().find(is_theirs);
            judge.require(theirs.is_some(), not_theirs)?;
            theirs.or_else(|| places.next()).ok_or_else(not_theirs)
        })
        .collect()
}

/// Each assertion verifies over its statement.
pub(super) fn check_assertions(
    form: &Form<'_>,
    credentials: &[Enrolled],
    used: &[usize],
    trust: &Trust,
) -> Result<(), Failure> {
    for (signed, &used) in form.decisions.iter().zip(used) {
        check_assertion(signed, &credentials[used], trust).map_err(|refusal| {
            Code::AssertionInvalid.because(format!("a signature does not hold: {refusal}"))
        })?;
    }
    Ok(())
}

/// The assertion verifies over its statement, with this credential.
pub(super) fn check_assertion<P: Signable>(
    signed: &UnverifiedSigned<'_, P>,
    credential: &Enrolled,
    trust: &Trust,
) -> Result<(), AssertionRefusal> {
    let expectation = Expectation {
        challenge: *signed.statement.challenge().as_bytes(),
        origin: &trust.origin,
        rp_id: &trust.rp_id,
        credentials: &[credential.record()],
        device_bound: false,
    };
    let unverified = UnverifiedAssertion {
        id: signed.credential_id.to_owned(),
        raw_id: signed.credential_id.to_owned(),
        authenticator_data: signed.authenticator_data.clone(),
        client_data_json: signed.client_data_json.clone(),
        signature: signed.signature.clone(),
        user_handle: signed.user_handle.clone(),
    };
    verify_from_record(&expectation, &unverified).map(|_| ())
}

/// The credentials are those that signed, in the order of their first use, and no others: for decisions,
/// then for interventions, then the other keys that the approvers must have, then for the endorsements of each credential in turn.
pub(super) fn check_all_used(
    signers: &[(usize, u64)],
    spares: &[Spare],
    links: &[Link],
    credentials: &[Enrolled],
) -> Result<(), Failure> {
    let mut next = 0;
    let endorsers = links.iter().map(|link| link.by);
    let spares = spares.iter().map(|spare| spare.place);
    let in_order =
        signers.iter().map(|(place, _)| *place).chain(spares).chain(endorsers).all(|one| {
            let is_new = one == next;
            next += usize::from(is_new);
            is_new || one < next
        });
    if in_order && next == credentials.len() {
        Ok(())
    } else {
        Err(Code::UnusedCredential.because("the enrolments are not those of the keys that signed, each once, in the order of their first use"))
    }
}
