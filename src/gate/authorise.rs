//! Whether a rollout is authorised, from bytes alone.
//!
//! The database is not believed: what it says is only the place where the bytes are found. The
//! worker asks this before every call to Cloud Run, however often it asked before.

mod finding;
mod given_up;
mod suspended;

use jiff::Timestamp;
use serde_json::Value;

use crate::domain::action::{Action, ActionType};
use crate::domain::approval::State;
use crate::domain::attestation::NoteName;
use crate::domain::deployment::Deployment;
use crate::domain::digest::Digest;
use crate::domain::job::JobExecution;
use crate::domain::json_schema::fits;
use crate::domain::ledger::{CALL_ANNOUNCED, ROLLOUT_BEGUN, RUN_LET_ON};
use crate::domain::policy::TrustLevel;
use crate::domain::rule_change::RuleChange;
use crate::domain::subject::Subject;
use crate::domain::workflow_run::WorkflowRun;
use crate::gate::evidence::{gather, gather_at};
use crate::gate::newest::refuse_later_entries;
use crate::gate::orders::first_unsigned;
use crate::gate::rules_in_force::were_in_force;
use crate::proof::checkpoint::TrustedLog;
use crate::proof::evidence::Trust;
use crate::proof::verify::{Code, Verified, verify_evidence};
use crate::storage::{Storage, StoredApproval};

pub use finding::NotAuthorised;

/// A deployment whose evidence was verified just now. Only [`authorise`] makes one, and nothing
/// calls Cloud Run without one.
#[derive(Debug)]
pub struct Authorised {
    deployment: Deployment,
    attestor: Option<NoteName>,
}

impl Authorised {
    /// What may be rolled out.
    pub fn deployment(&self) -> &Deployment {
        &self.deployment
    }

    /// For which attestor its image is attested first, as the policy says under which people signed.
    pub fn attestor(&self) -> Option<&NoteName> {
        self.attestor.as_ref()
    }
}

/// The execution of a job whose evidence was verified just now. Only [`authorise_job`] makes one, and nothing
/// starts a job without one.
#[derive(Debug)]
pub struct AuthorisedJob {
    execution: JobExecution,
    attestor: Option<NoteName>,
}

impl AuthorisedJob {
    /// What may run.
    pub fn execution(&self) -> &JobExecution {
        &self.execution
    }

    /// For which attestor its image is attested first, as the policy says under which people signed.
    pub fn attestor(&self) -> Option<&NoteName> {
        self.attestor.as_ref()
    }
}

/// An action whose evidence was verified just now. Only [`authorise_action`] makes one, and nothing gives
/// or takes a grant without one.
#[derive(Debug)]
pub struct AuthorisedAction {
    action: Action,
    digest: Digest,
    declared: ActionType,
    runs_out: Timestamp,
}

impl AuthorisedAction {
    /// What may be done.
    pub fn action(&self) -> &Action {
        &self.action
    }

    /// SHA-256 of its canonical JSON.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Its tool, as the policy declares it under which people signed.
    pub fn declared(&self) -> &ActionType {
        &self.declared
    }

    /// Until when it may be done, by the signed entries.
    pub fn runs_out(&self) -> Timestamp {
        self.runs_out
    }
}

/// A run of GitHub Actions whose evidence was verified just now. Only [`authorise_run`] makes one, and no run
/// that asked for nothing else is let on without one.
#[derive(Debug)]
pub struct AuthorisedRun {
    run: WorkflowRun,
}

impl AuthorisedRun {
    /// What may go on.
    pub fn run(&self) -> &WorkflowRun {
        &self.run
    }
}

/// A change of the rules whose evidence was verified just now. Only [`authorise_rule_change`] makes one, and no
/// rules come into force without one.
#[derive(Debug)]
pub struct AuthorisedRuleChange {
    change: RuleChange,
}

impl AuthorisedRuleChange {
    /// What may come into force.
    pub fn change(&self) -> &RuleChange {
        &self.change
    }
}

/// A rollout that may go on, because the evidence of its approval holds.
///
/// # Errors
/// As [`verify_approved`], and [`NotAuthorised::OtherKind`] for what is no rollout.
pub async fn authorise(
    storage: &Storage,
    trust: &Trust,
    stored: &StoredApproval,
) -> Result<Authorised, NotAuthorised> {
    let verified = verify_approved(storage, trust, stored).await?;
    match verified.subject().subject() {
        Subject::Deployment(deployment) => Ok(Authorised {
            deployment: (**deployment).clone(),
            attestor: verified.policy().attestor.clone(),
        }),
        other @ (Subject::JobExecution(_)
        | Subject::Action(_)
        | Subject::WorkflowRun(_)
        | Subject::RuleChange(_)) => Err(NotAuthorised::OtherKind(other.kind())),
    }
}

/// An execution of a job that may be started, because the evidence of its approval holds.
///
/// # Errors
/// As [`authorise`].
pub async fn authorise_job(
    storage: &Storage,
    trust: &Trust,
    stored: &StoredApproval,
) -> Result<AuthorisedJob, NotAuthorised> {
    let verified = verify_approved(storage, trust, stored).await?;
    let subject = verified.subject().subject();
    let execution = subject.job_execution().ok_or(NotAuthorised::OtherKind(subject.kind()))?;
    let attestor = verified.policy().attestor.clone();
    Ok(AuthorisedJob { execution: execution.clone(), attestor })
}

/// An action that may be done, because the evidence of its approval holds and its arguments fit what the
/// policy declares.
///
/// # Errors
/// As [`authorise`].
pub async fn authorise_action(
    storage: &Storage,
    trust: &Trust,
    stored: &StoredApproval,
) -> Result<AuthorisedAction, NotAuthorised> {
    let verified = verify_approved(storage, trust, stored).await?;
    let subject = verified.subject();
    let Some(action) = subject.action() else {
        return Err(NotAuthorised::OtherKind(subject.subject().kind()));
    };
    let declared = verified.policy().action(&action.tool);
    let declared = declared.ok_or(NotAuthorised::Row("the tool's declaration"))?.clone();
    fits(&declared.schema, &Value::Object(action.arguments.clone()))
        .map_err(|misfit| NotAuthorised::Arguments(misfit.at))?;
    Ok(AuthorisedAction {
        action: action.clone(),
        digest: *subject.digest(),
        declared,
        runs_out: ran_out(&verified),
    })
}

/// A run that may be let on, because the evidence of its approval holds. That makes no rollout of it.
///
/// # Errors
/// As [`authorise`].
pub async fn authorise_run(
    storage: &Storage,
    trust: &Trust,
    stored: &StoredApproval,
) -> Result<AuthorisedRun, NotAuthorised> {
    let verified = verify_approved(storage, trust, stored).await?;
    let subject = verified.subject().subject();
    let run = subject.workflow_run().ok_or(NotAuthorised::OtherKind(subject.kind()))?;
    Ok(AuthorisedRun { run: run.clone() })
}

/// A change of the rules that may come into force, because the evidence of its approval holds under the rules
/// that are in force now.
///
/// # Errors
/// As [`authorise`].
pub async fn authorise_rule_change(
    storage: &Storage,
    trust: &Trust,
    stored: &StoredApproval,
) -> Result<AuthorisedRuleChange, NotAuthorised> {
    let verified = verify_approved(storage, trust, stored).await?;
    let subject = verified.subject().subject();
    let change = subject.rule_change().ok_or(NotAuthorised::OtherKind(subject.kind()))?.clone();
    Ok(AuthorisedRuleChange { change })
}

/// Until when what was approved had to begin, by the signed entries.
fn ran_out(verified: &Verified) -> Timestamp {
    let mut ran_out = verified.subject().expires_at;
    for record in verified.records() {
        if let Some(State::Approved { at }) = record.approval.as_ref().map(|it| &it.state) {
            ran_out = verified.policy().must_begin_before(*at).min(ran_out);
        }
    }
    ran_out
}

/// Gathers the evidence of an approval, verifies it against `trust`, and compares it with the row.
///
/// # Errors
/// What does not hold. [`NotAuthorised::Storage`] says that it could not be told, and
/// [`NotAuthorised::NotWitnessed`] that it may hold a little later.
async fn verify_approved(
    storage: &Storage,
    trust: &Trust,
    stored: &StoredApproval,
) -> Result<Verified, NotAuthorised> {
    storage.refuse_if_stopped().map_err(NotAuthorised::Storage)?;
    let trust = &trust.after(storage.lineage().recoveries);
    let head = storage.head().await.map_err(NotAuthorised::from)?;
    let evidence = gather_at(storage, trust, stored, &head).await?;
    // Witnesses sign a moment later than the newest entry is written, so they are asked about below.
    let unwitnessed = Trust { witnesses_required: 0, ..trust.clone() };
    let verified = verify_evidence(&evidence, &unwitnessed)?;
    if let Some(why) = verified.outside_windows() {
        return Err(NotAuthorised::OutsideWindow(why.to_owned()));
    }
    if !verified.is_approved() {
        return Err(NotAuthorised::NotApproved(verified.state().status().as_str()));
    }
    compare(&verified, stored)?;
    let policy = verified.policy();
    if policy.enrolment.requires_pinned_trust && trust.level() == TrustLevel::Unpinned {
        return Err(NotAuthorised::Unpinned(policy.environment.clone()));
    }
    let asked = evidence.entries.first().map_or(0, |entry| entry.index);
    if !were_in_force(&storage.rules(), asked, verified.subject(), policy) {
        return Err(NotAuthorised::OtherRules(policy.environment.clone()));
    }
    refuse_begun_late(&verified)?;
    if let Some(place) = first_unsigned(verified.records()) {
        let entry = evidence.entries.get(place).map_or(0, |entry| entry.index);
        return Err(NotAuthorised::UnsignedOrder(entry));
    }
    given_up::refuse(storage, trust, &evidence, &verified).await?;
    suspended::refuse(trust, &verified)?;
    let last = evidence.entries.last().map_or(0, |entry| entry.index);
    let log = TrustedLog::parse(&trust.log)
        .ok_or_else(|| NotAuthorised::Incomplete("the pinned log key cannot be read".to_owned()))?;
    let id = stored.approval.id();
    refuse_later_entries(storage, &log.key, id, last, verified.checkpoint()).await?;
    refuse_unwitnessed(storage, trust, stored, &verified).await?;
    Ok(verified)
}

/// The evidence of an approval as it is now, verified: for those who tell others of it. Whether anything may be
/// done upon it, [`authorise`] says.
///
/// # Errors
/// As [`authorise`], as far as the evidence goes.
pub async fn prove(
    storage: &Storage,
    trust: &Trust,
    stored: &StoredApproval,
) -> Result<Verified, NotAuthorised> {
    let trust = &Trust { witnesses_required: 0, ..trust.after(storage.lineage().recoveries) };
    let head = storage.head().await.map_err(NotAuthorised::from)?;
    Ok(verify_evidence(&gather_at(storage, trust, stored, &head).await?, trust)?)
}

/// The row says since when an approval was approved; how long that counts, the signed entries say.
fn refuse_begun_late(verified: &Verified) -> Result<(), NotAuthorised> {
    let expires_at = verified.subject().expires_at;
    let mut ran_out = expires_at;
    for record in verified.records() {
        let state = record.approval.as_ref().map(|approval| &approval.state);
        match state {
            Some(State::Approved { at }) => {
                ran_out = verified.policy().must_begin_before(*at).min(expires_at);
            }
            Some(State::Executing { .. } | State::Succeeded { .. })
                if [ROLLOUT_BEGUN, RUN_LET_ON].contains(&&*record.kind) && record.at >= ran_out =>
            {
                return Err(NotAuthorised::BegunLate { begun: record.at, ran_out });
            }
            _ => {}
        }
    }
    Ok(())
}

/// Where witnesses are required, what an auditor can download must hold for the same anchors before the
/// first call: from then on somebody outside knows the log with this approval in it. Later the rollout goes
/// on, since every step writes entries, and one that stops half-way for a witness that is down helps nobody.
async fn refuse_unwitnessed(
    storage: &Storage,
    trust: &Trust,
    stored: &StoredApproval,
    verified: &Verified,
) -> Result<(), NotAuthorised> {
    let has_begun = verified.records().iter().any(|record| record.kind == CALL_ANNOUNCED);
    if trust.witnesses_required == 0 || has_begun {
        return Ok(());
    }
    match verify_evidence(&gather(storage, trust, stored).await?, trust) {
        Ok(_) => Ok(()),
        Err(failure) if failure.code() == Code::NotWitnessed => {
            Err(NotAuthorised::NotWitnessed(failure))
        }
        Err(failure) => Err(failure.into()),
    }
}

/// The row is what the worker goes by, so it must say what was proved.
fn compare(verified: &Verified, stored: &StoredApproval) -> Result<(), NotAuthorised> {
    let approval = &stored.approval;
    let same = [
        ("what was asked for", approval.subject == *verified.subject()),
        ("the policy", approval.policy == *verified.policy()),
        ("the version", approval.version == verified.version()),
        ("the state", approval.state == *verified.state()),
        ("the list of decisions", approval.decisions == verified.decisions()),
    ];
    match same.into_iter().find(|(_, same)| !same) {
        Some((what, _)) => Err(NotAuthorised::Row(what)),
        None => Ok(()),
    }
}
