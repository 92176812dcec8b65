//! Verifies the evidence of an approval: bytes and trust anchors in, verdict out. The worker runs this
//! before every call to Cloud Run, and `countersign verify` for anybody.
//!
//! The checks, their order and their codes are those of `tests/data/evidence/README.md`.

mod act;
mod decisions;
mod endorsement;
mod enrolment;
mod failure;
mod form;
mod interventions;
mod judge;
mod keys;
mod last_sign_in;
mod ledger;
mod loss;
mod outcome;
mod requester;
mod sign_in;
mod witness;

use jiff::Timestamp;

use crate::domain::approval::{State, Status};
use crate::domain::decision::{Decision, Verdict, standing};
use crate::domain::ledger::{ApprovalRecord, Record};
use crate::domain::person::Person;
use crate::domain::policy::Policy;
use crate::domain::subject::{FrozenSubject, Subject};
use crate::proof::checkpoint::{Checkpoint, TrustedLog};
use crate::proof::evidence::{Evidence, Trust};

pub use act::{ActEvidence, ActSigner, verify_act};
pub use failure::{Code, Failure};
use form::Form;
use judge::{Judge, Strict};
pub use last_sign_in::{LastSignIn, verify_last_sign_in};
use ledger::Chain;
pub(crate) use ledger::successor_sentence;
pub use loss::{verify_loss, verify_signed_loss};
pub use witness::{Cosigned, verify_cosignatures};

/// Evidence that holds, from its first byte to its last. Only [`verify`] and [`verify_evidence`] make one.
#[derive(Clone, Debug)]
pub struct Verified {
    subject: FrozenSubject,
    policy: Policy,
    records: Vec<Record>,
    last: ApprovalRecord,
    deciders: Vec<Decider>,
    other_keys: Vec<OtherKey>,
    checkpoint: Checkpoint,
    cosigned: Vec<Cosigned>,
    by_break_glass: bool,
    outside_windows: Option<String>,
    checks: Vec<String>,
}

/// A person who decided, and the key that they signed with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decider {
    /// The decision.
    pub decision: Decision,
    /// The authenticator's model; all zero when it does not say.
    pub aaguid: [u8; 16],
    /// Whether the key may be copied to other devices.
    pub backup_eligible: bool,
    /// The attestation statement's format, `none` or `packed` for example.
    pub attestation: String,
}

/// A key that somebody who decided had beside the one that they signed with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OtherKey {
    /// Whose it is.
    pub person: Person,
    /// The credential's id, base64url.
    pub credential: String,
    /// The entry in which the decision first appears.
    pub decided: u64,
    /// The entry that had revoked it a short time before, where it counts all the same.
    pub revoked: Option<u64>,
    /// Until when it does then: the decision relied on the time that its owner has to replace it.
    pub counts_until: Option<Timestamp>,
}

impl Verified {
    /// What was asked for.
    pub fn subject(&self) -> &FrozenSubject {
        &self.subject
    }

    /// The rules that were in force.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The records of the approval, in order, complete to the last that the evidence holds.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// The version of the approval after its last record.
    pub fn version(&self) -> u64 {
        self.last.version
    }

    /// Its state then.
    pub fn state(&self) -> &State {
        &self.last.state
    }

    /// Its decisions then, those that were taken back and the taking back among them.
    pub fn decisions(&self) -> &[Decision] {
        &self.last.decisions
    }

    /// Who decided, with the keys that they signed with.
    pub fn deciders(&self) -> &[Decider] {
        &self.deciders
    }

    /// The other keys that those who decided had to have.
    pub fn other_keys(&self) -> &[OtherKey] {
        &self.other_keys
    }

    /// The signed tree head that everything is included in.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The witnesses that cosigned it.
    pub fn cosigned(&self) -> &[Cosigned] {
        &self.cosigned
    }

    /// Whether enough people broke the glass, so that the policy's rules for that were met and nothing held it.
    pub fn is_by_break_glass(&self) -> bool {
        self.by_break_glass
    }

    /// What was checked and holds, in sentences.
    pub fn checks(&self) -> &[String] {
        &self.checks
    }

    /// Whether the people whose signatures the policy asks for said yes, none said no, and nothing began while the
    /// policy had everything closed.
    pub fn is_approved(&self) -> bool {
        was_approved(self.last.state.status()) && self.outside_windows.is_none()
    }

    /// What began or went forward while the policy's windows were closed, and nobody broke the glass for it: no gate
    /// that goes by its rules does that.
    pub fn outside_windows(&self) -> Option<&str> {
        self.outside_windows.as_deref()
    }
}

/// Whether an approval in this state had everything that its policy asks for.
fn was_approved(status: Status) -> bool {
    match status {
        Status::Approved
        | Status::Executing
        | Status::Succeeded
        | Status::Failed
        | Status::RolledBack
        | Status::NeedsAttention => true,
        Status::Pending
        | Status::Rejected
        | Status::Expired
        | Status::Cancelled
        | Status::Superseded
        | Status::Withdrawn => false,
    }
}

/// Verifies an evidence file.
///
/// # Errors
/// The first check that fails.
pub fn verify(file: &[u8], trust: &Trust) -> Result<Verified, Failure> {
    verify_evidence(&form::parse(file)?, trust)
}

/// Verifies evidence that was gathered in this process.
///
/// # Errors
/// The first check that fails.
pub fn verify_evidence(evidence: &Evidence, trust: &Trust) -> Result<Verified, Failure> {
    judge(evidence, trust, &Strict)
}

/// Verifies evidence with some checks switched off, so that a test can show which of them a forgery
/// fails on. Debug builds alone have it.
///
/// # Errors
/// The first check that fails and is not switched off.
#[cfg(debug_assertions)]
pub fn verify_without(
    switched_off: &[Code],
    evidence: &Evidence,
    trust: &Trust,
) -> Result<Verified, Failure> {
    judge(evidence, trust, &judge::AllBut(switched_off))
}

fn judge(evidence: &Evidence, trust: &Trust, judge: &impl Judge) -> Result<Verified, Failure> {
    let held_by_entries = form::interventions(evidence)?;
    let form = Form::read(evidence, &held_by_entries)?;
    judge.pass(check_audience(&form, trust))?;
    judge.pass(check_policy(&form))?;
    let log = TrustedLog::parse(&trust.log)
        .ok_or_else(|| Code::CheckpointInvalid.because("the pinned log key cannot be read"))?;
    let checkpoint = ledger::check_checkpoint(&form, &log)?;
    let cosigned = witness::check_cosignatures(form.cosignatures, &checkpoint, trust)?;
    judge.pass(witness::check_required(&cosigned, trust))?;
    judge.pass(ledger::check_inclusion(
        form.all_entries(),
        (checkpoint.size(), checkpoint.root()),
    ))?;
    judge.pass(ledger::check_signatures(form.all_entries(), &log.key))?;
    let chain = ledger::check_chain(&form, judge)?;
    requester::check(&form, trust, judge)?;
    let credentials = enrolment::check(&form.credentials, trust, judge)?;
    let sign_ins = sign_in::check(&form, &chain, trust, judge)?;
    judge.pass(endorsement::check_words(&form.credentials, &credentials, trust))?;
    judge.pass(decisions::check_statements(&form, &chain))?;
    judge.pass(interventions::check_statements(&form))?;
    judge.pass(decisions::check_times(&form, &chain))?;
    judge.pass(interventions::check_times(&form))?;
    judge.pass(endorsement::check_times(&form.credentials))?;
    judge.pass(decisions::check_sign_ins(&form, &chain, &sign_ins.decisions, trust))?;
    judge.pass(interventions::check_sign_ins(&form, &sign_ins.interventions))?;
    judge.pass(endorsement::check_sign_ins(&form.credentials, &sign_ins.endorsements))?;
    let used = decisions::check_credentials(&form, &chain, &credentials, judge)?;
    let intervened = interventions::check_credentials(&form, &credentials)?;
    let links = endorsement::check_credentials(&form.credentials, &credentials)?;
    let decided = used.iter().zip(&chain.decided).map(|(place, moment)| (*place, moment.index));
    let signers: Vec<(usize, u64)> = decided.chain(intervened.iter().copied()).collect();
    let needed = form.policy.enrolment.endorsements;
    judge.pass(endorsement::check_chains(needed, &signers, &credentials, &links, trust))?;
    let spares = keys::check(&form, &chain, &credentials, &used, &links, trust, judge)?;
    judge.pass(decisions::check_assertions(&form, &credentials, &used, trust))?;
    judge.pass(interventions::check_assertions(&form, &credentials, &intervened, trust))?;
    judge.pass(endorsement::check_assertions(&form.credentials, &credentials, &links, trust))?;
    judge.pass(decisions::check_all_used(&signers, &spares, &links, &credentials))?;
    judge.pass(outcome::check_state(&chain))?;
    judge.pass(outcome::check_quorum(&form))?;
    judge.pass(interventions::check_people(&form, &sign_ins.interventions, trust))?;
    let deciders = chain.last.decisions.iter().zip(&used);
    let deciders = deciders.map(|(decision, &used)| credentials[used].decider(decision)).collect();
    let by_break_glass = outcome::is_glass_broken(&form, chain.last);
    let outside_windows = outcome::outside_windows(&form);
    let mut checks = held(&form, &chain, &checkpoint, trust);
    checks.insert(2, witness::held(&cosigned, trust));
    let other_keys: Vec<OtherKey> = spares.iter().map(|spare| spare.told(&credentials)).collect();
    checks.extend(keys::graces(&other_keys));
    let last = chain.last.clone();
    Ok(Verified {
        subject: form.subject,
        policy: form.policy,
        records: form.entries.into_iter().map(|entry| entry.record).collect(),
        last,
        deciders,
        other_keys,
        checkpoint,
        cosigned,
        by_break_glass,
        outside_windows,
        checks,
    })
}

fn check_audience(form: &Form<'_>, trust: &Trust) -> Result<(), Failure> {
    let audience = &form.subject.audience;
    if *audience == trust.origin {
        return Ok(());
    }
    Err(Code::AudienceMismatch.because(format!(
        "the {} was made for another gate than {}: {audience}",
        form.subject.subject().kind(),
        trust.origin
    )))
}

fn check_policy(form: &Form<'_>) -> Result<(), Failure> {
    if form.subject.policy_digest != form.policy_digest {
        return Err(Code::PolicyMismatch
            .because("the policy is not the one that the signed bytes name by digest"));
    }
    if form.policy.environment != form.subject.environment {
        return Err(Code::PolicyMismatch.because("the policy is one of another environment"));
    }
    Ok(())
}

/// What the verification came to, for whoever reads it.
fn held(form: &Form<'_>, chain: &Chain<'_>, checkpoint: &Checkpoint, trust: &Trust) -> Vec<String> {
    let status = chain.last.state.status();
    let entries = form.all_entries().count();
    let decided = chain.last.decisions.len();
    let mut held = vec![
        "The file is canonical to its last byte and was made for this gate.".to_owned(),
        format!(
            "All {entries} ledger entries are in the log of {} entries whose head the pinned key signed, and it signed each entry in its place.",
            checkpoint.size()
        ),
        format!(
            "The approval's {} entries follow each other without a gap, from the request to {}.",
            form.entries.len(),
            status.as_str()
        ),
        asked(form),
    ];
    if decided > 0 {
        let keys = form.credentials.len();
        held.push(format!("{}: made with user verification, each vouched for by the directory {} in a sign-in that names it, each recorded before it signed.", count(keys, "key"), trust.login.issuer));
        held.push(endorsed(form, trust));
        if let Some(rules) = &form.policy.keys {
            held.push(keys::held(rules));
        }
        held.push(format!("{}: over exactly this {}, within five minutes of its statement, under a sign-in of at most {} {}; the WebAuthn assertion verifies.", count(decided, "decision"), form.subject.subject().kind(), oldest_sign_in(form), groups(form)));
    }
    held.extend(in_outages(form));
    if !form.interventions.is_empty() {
        held.push(format!("{}: over exactly this deployment, within five minutes of its statement, by somebody whom a rule names; what the rollout did because of it stands in no entry before.", count(form.interventions.len(), "intervention")));
    }
    if was_approved(status) {
        held.push(sufficed(form, chain));
        let shipped = form.subject.subject().shipped();
        if let Some(shipped) = shipped.filter(|_| form.policy.separation.is_some()) {
            held.push(format!(
                "None of them is one of the {} that had a hand in what ships, by GitHub's word when it was asked for.",
                count(shipped.accounts.len(), "account")
            ));
        }
        let is_free = form.policy.windows.is_empty() || outcome::is_glass_broken(form, chain.last);
        if !is_free && outcome::outside_windows(form).is_none() {
            held.push(
                "Whatever began and every step forward lies in the windows of the policy."
                    .to_owned(),
            );
        }
    }
    held
}

/// Who said yes, and why that is enough.
fn sufficed(form: &Form<'_>, chain: &Chain<'_>) -> String {
    let environment = &form.policy.environment;
    if let Some(glass) = form.policy.break_glass.as_ref()
        && outcome::is_glass_broken(form, chain.last)
    {
        return format!(
            "It was by breaking the glass: the policy of {environment} lets {} do that, with a reason, which is met; neither freezes nor windows held it, and nobody said no.",
            glass.in_words()
        );
    }
    let yes = standing(&chain.last.decisions);
    let yes = yes.iter().filter(|one| one.verdict == Verdict::Approve).count();
    let rules: Vec<String> = form.policy.rules.iter().map(|rule| rule.in_words()).collect();
    format!(
        "The policy of {environment} asks for {}; {} said yes, which meets it, and nobody said no.",
        rules.join(" and "),
        if yes == 1 { "1 person".to_owned() } else { format!("{yes} people") }
    )
}

/// What shows who asked.
fn asked(form: &Form<'_>) -> String {
    let requester = &form.subject.requester;
    match form.subject.subject() {
        Subject::Deployment(_) | Subject::JobExecution(_) | Subject::Action(_) => format!(
            "The requester's token is of {}, its signature holds, and the policy lets it ask for this.",
            requester.issuer_url
        ),
        Subject::WorkflowRun(run) => format!(
            "That run {} of {} waited is the gate's own statement, signed by its log key when it was written: it names the webhook by its hashes, and no signature of GitHub can be checked here. The policy lets people sign for this run.",
            run.run, requester.subject
        ),
        Subject::RuleChange(_) => "Nobody asked for this change: the gate says that its configuration file held it. The rules that people signed under are those that the rulebook before it asks for; that it was in force then, the log says.".to_owned(),
    }
}

/// How old the sign-ins are that decisions rest on.
fn oldest_sign_in(form: &Form<'_>) -> &'static str {
    match in_outages(form) {
        None => "fifteen minutes",
        Some(_) => "fifteen minutes, or in an outage of the directory as the policy says,",
    }
}

/// What was decided while the directory could not be reached.
fn in_outages(form: &Form<'_>) -> Option<String> {
    let since = |signed: &form::UnverifiedDecision<'_>| {
        signed.statement.predicate().directory_unreachable_since
    };
    let times: Vec<Timestamp> = form.decisions.iter().filter_map(since).collect();
    let (first, grace) =
        times.iter().min().zip(form.policy.break_glass.as_ref()?.outage_grace_seconds)?;
    Some(format!(
        "{} with a key alone: since {first}, by the gate's own word, it could not reach the directory. The groups are those of a last sign-in of at most {grace} seconds before, as the policy allows for breaking the glass.",
        count(times.len(), "decision"),
    ))
}

/// Whose word the groups are.
fn groups(form: &Form<'_>) -> String {
    let is_ours = |signed: &&form::UnverifiedDecision<'_>| signed.sign_in.gate_groups.is_some();
    match form.decisions.iter().filter(is_ours).count() {
        0 => "whose groups the directory signed".to_owned(),
        count => format!(
            "whose groups the directory signed or, {count} times, are the gate's own word, which read them there"
        ),
    }
}

/// What the keys rest on beside the directory.
fn endorsed(form: &Form<'_>, trust: &Trust) -> String {
    let level = trust.level().as_str();
    match form.policy.enrolment.endorsements {
        0 => format!(
            "No key needs the endorsement of another approver: whose it is rests on the directory's signature alone ({level})."
        ),
        needed => format!(
            "Each key that is no pinned anchor was endorsed before by {} of other approvers, in chains that end at the anchors ({level}).",
            count(needed.into(), "key")
        ),
    }
}

fn count(number: usize, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        _ if what.ends_with('s') => format!("{number} {what}es"),
        _ => format!("{number} {what}s"),
    }
}
