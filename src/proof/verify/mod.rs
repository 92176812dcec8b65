//! Verifies the evidence of an approval: bytes and trust anchors in, verdict out. The worker runs this
//! before every call to Cloud Run, and `countersign verify` for anybody.
//!
//! The checks, their order and their codes are those of `tests/data/evidence/README.md`.

mod decisions;
mod enrolment;
mod failure;
mod form;
mod ledger;
mod outcome;
mod requester;
mod sign_in;

use jiff::Timestamp;

use crate::domain::approval::{State, Status};
use crate::domain::decision::{Decision, Verdict};
use crate::domain::deployment::FrozenDeployment;
use crate::domain::ledger::Record;
use crate::domain::policy::Policy;
use crate::proof::checkpoint::{Checkpoint, TrustedLog};
use crate::proof::evidence::{Evidence, Trust};

pub use failure::{Code, Failure};
use form::Form;

/// Evidence that holds, from its first byte to its last. Only [`verify`] and [`verify_evidence`] make one.
#[derive(Clone, Debug)]
pub struct Verified {
    deployment: FrozenDeployment,
    policy: Policy,
    records: Vec<Record>,
    last: Last,
    deciders: Vec<Decider>,
    checkpoint: Checkpoint,
    checks: Vec<String>,
}

/// What the last entry of the approval says.
#[derive(Clone, Debug)]
struct Last {
    version: u64,
    state: State,
    decisions: Vec<Decision>,
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

impl Verified {
    /// What was asked for.
    pub fn deployment(&self) -> &FrozenDeployment {
        &self.deployment
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

    /// Its decisions then.
    pub fn decisions(&self) -> &[Decision] {
        &self.last.decisions
    }

    /// Who decided, with the keys that they signed with.
    pub fn deciders(&self) -> &[Decider] {
        &self.deciders
    }

    /// The signed tree head that everything is included in.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// What was checked and holds, in sentences.
    pub fn checks(&self) -> &[String] {
        &self.checks
    }

    /// Whether the people whose signatures the policy asks for said yes, and none said no.
    pub fn is_approved(&self) -> bool {
        was_approved(self.last.state.status())
    }

    /// When the last record was written.
    pub fn as_of(&self) -> Option<Timestamp> {
        self.records.last().map(|record| record.at)
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
    let form = Form::read(evidence)?;
    check_audience(&form, trust)?;
    check_policy(&form)?;
    let log = TrustedLog::parse(&trust.log)
        .ok_or_else(|| Code::CheckpointInvalid.because("the pinned log key cannot be read"))?;
    let checkpoint = ledger::check_checkpoint(&form, &log)?;
    ledger::check_inclusion(&form, &checkpoint)?;
    ledger::check_signatures(&form, &log.key)?;
    let chain = ledger::check_chain(&form)?;
    requester::check(&form, &chain, trust)?;
    let credentials = enrolment::check(&form, trust)?;
    let sign_ins = sign_in::check(&form, &chain, trust)?;
    let statements = decisions::check_statements(&form, &chain)?;
    decisions::check_times(&chain, &statements)?;
    decisions::check_sign_ins(&form, &chain, &statements, &sign_ins, trust)?;
    let used = decisions::check_credentials(&form, &chain, &statements, &credentials)?;
    decisions::check_assertions(&form, &statements, &credentials, &used, trust)?;
    decisions::check_all_used(&used, &credentials)?;
    outcome::check_state(&chain)?;
    outcome::check_quorum(&chain)?;
    let deciders = chain
        .decisions()
        .iter()
        .zip(&used)
        .map(|(decision, &used)| credentials[used].decider(decision))
        .collect();
    let checks = held(&form, &chain, &checkpoint, trust);
    let last = Last {
        version: chain.version(),
        state: chain.state().clone(),
        decisions: chain.decisions().to_vec(),
    };
    Ok(Verified {
        deployment: chain.deployment,
        policy: chain.policy,
        records: chain.records,
        last,
        deciders,
        checkpoint,
        checks,
    })
}

fn check_audience(form: &Form<'_>, trust: &Trust) -> Result<(), Failure> {
    let audience = form.deployment.get("audience").and_then(serde_json::Value::as_str);
    if audience == Some(trust.origin.as_str()) {
        return Ok(());
    }
    Err(Code::AudienceMismatch.because(format!(
        "the deployment was made for another gate than {}: {}",
        trust.origin,
        audience.unwrap_or("nobody")
    )))
}

fn check_policy(form: &Form<'_>) -> Result<(), Failure> {
    let named = form.deployment.get("policy_digest").and_then(serde_json::Value::as_str);
    if named != Some(form.policy_digest.to_string().as_str()) {
        return Err(Code::PolicyMismatch
            .because("the policy is not the one that the signed deployment names by digest"));
    }
    match (form.policy.get("environment"), form.deployment.get("environment")) {
        (Some(ruled), Some(asked)) if ruled == asked && ruled.is_string() => Ok(()),
        _ => Err(Code::PolicyMismatch.because("the policy is one of another environment")),
    }
}

/// What the verification came to, for whoever reads it.
fn held(
    form: &Form<'_>,
    chain: &ledger::Chain,
    checkpoint: &Checkpoint,
    trust: &Trust,
) -> Vec<String> {
    let entries = form.entries.len() + form.credentials.len();
    let decided = chain.decisions().len();
    let mut held = vec![
        "The file is canonical to its last byte and was made for this gate.".to_owned(),
        format!(
            "All {entries} ledger entries are in the log of {} entries whose head the pinned key signed, and it signed each entry in its place.",
            checkpoint.size()
        ),
        format!(
            "The approval's {} entries follow each other without a gap, from the request to {}.",
            form.entries.len(),
            chain.state().status().as_str()
        ),
        format!(
            "The requester's token is of {}, its signature holds, and the policy lets it ask for this.",
            chain.deployment.requester.issuer_url
        ),
    ];
    if decided > 0 {
        let keys = form.credentials.len();
        held.push(format!("{}: made with user verification, each vouched for by the directory {} in a sign-in that names it, each recorded before it signed.", count(keys, "key"), trust.login.issuer));
        held.push(format!("{}: over exactly this deployment, within five minutes of its statement, under a sign-in of at most fifteen minutes whose groups the directory signed; the WebAuthn assertion verifies.", count(decided, "decision")));
    }
    if was_approved(chain.state().status()) {
        let yes = chain.decisions().iter().filter(|one| one.verdict == Verdict::Approve).count();
        let rules: Vec<String> = chain.policy.rules.iter().map(|rule| rule.in_words()).collect();
        held.push(format!(
            "The policy of {} asks for {}; {} of different people meet it, and nobody said no.",
            chain.policy.environment,
            rules.join(" and "),
            count(yes, "yes")
        ));
    }
    held
}

fn count(number: usize, what: &str) -> String {
    let plural = match what {
        "yes" => "yeses".to_owned(),
        other => format!("{other}s"),
    };
    if number == 1 { format!("1 {what}") } else { format!("{number} {plural}") }
}
