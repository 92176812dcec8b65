//! Whether a rollout is authorised, from bytes alone.
//!
//! The database is not believed: what it says is only the place where the bytes are found. The
//! worker asks this before every call to Cloud Run, however often it asked before.

use jiff::Timestamp;
use serde_json::Value;

use crate::domain::action::{Action, ActionType};
use crate::domain::approval::State;
use crate::domain::decision::{Decision, standing};
use crate::domain::deployment::Deployment;
use crate::domain::digest::Digest;
use crate::domain::json_schema::fits;
use crate::domain::ledger::{CALL_ANNOUNCED, ROLLOUT_BEGUN, RUN_LET_ON};
use crate::domain::policy::TrustLevel;
use crate::domain::subject::Subject;
use crate::domain::workflow_run::WorkflowRun;
use crate::gate::GateError;
use crate::gate::evidence::{gather, gather_at};
use crate::gate::newest::refuse_later_entries;
use crate::gate::orders::first_unsigned;
use crate::proof::checkpoint::TrustedLog;
use crate::proof::evidence::{Evidence, Trust};
use crate::proof::verify::{Code, Failure, Verified, verify_evidence};
use crate::storage::{RecordedRevocation, Storage, StorageError, StoredApproval};

/// A deployment whose evidence was verified just now. Only [`authorise`] makes one, and nothing
/// calls Cloud Run without one.
#[derive(Debug)]
pub struct Authorised {
    deployment: Deployment,
}

impl Authorised {
    /// What may be rolled out.
    pub fn deployment(&self) -> &Deployment {
        &self.deployment
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

/// What does not hold.
#[derive(Debug, thiserror::Error)]
pub enum NotAuthorised {
    /// A check of the evidence failed.
    #[error(transparent)]
    Evidence(#[from] Failure),
    /// The evidence holds and is not one of an approval.
    #[error("the evidence holds, and it is not one of an approval: it ends in {0}")]
    NotApproved(&'static str),
    /// The arguments of an action are none that its tool takes.
    #[error("what was approved calls its tool with something that it does not take: {0}")]
    Arguments(String),
    /// What was approved is something else than a rollout.
    #[error("what was approved is no rollout: it is of the kind {0}")]
    OtherKind(&'static str),
    /// The stored row says something else than the evidence.
    #[error("the stored approval is not the one that the evidence proves: {0} differs")]
    Row(&'static str),
    /// A key that signed was revoked before anything was rolled out, as is known outside the database.
    #[error(
        "the key {0} with which it was signed was revoked before the rollout began: ask again, and have the new request signed with a key that is still good"
    )]
    RevokedBefore(String),
    /// A key that signed was revoked before anything was rolled out.
    #[error(
        "{} revoked a key of {} with which it was signed, at {} ({:?}), before the rollout began: ask again, and have the new request signed with a key that is still good",
        .0.revocation.by_name, .0.revocation.person.subject, .0.at, .0.revocation.reason
    )]
    Revoked(Box<RecordedRevocation>),
    /// A key that had to be there beside the one that signed had been given up before.
    #[error(
        "{0} is said to have had the key {1} beside the one that they signed with, and it had been given up before: ask again, and have the new request signed when the key is replaced"
    )]
    OtherKeyGivenUp(String, String),
    /// The rollout began after the approval had run out.
    #[error(
        "the rollout began at {begun}, and the approval ran out at {ran_out}: ask again and have it signed again"
    )]
    BegunLate {
        /// When it began, as the log says.
        begun: Timestamp,
        /// Until when it had to.
        ran_out: Timestamp,
    },
    /// Something began or went forward while the policy had everything closed.
    #[error("it went forward outside the windows of its policy: {0}")]
    OutsideWindow(String),
    /// An entry tells the rollout what nobody signed.
    #[error("entry {0} of the log tells the rollout what no approver signed")]
    UnsignedOrder(u64),
    /// The policy asks for pinned anchors, and this gate has none.
    #[error(
        "the environment {0} asks for pinned trust, and nothing is pinned in this gate's configuration: write [trust] again as it was, and ask again"
    )]
    Unpinned(String),
    /// Too few witnesses have signed a head that covers the approval yet.
    #[error("the rollout begins when enough witnesses have signed the log: {0}")]
    NotWitnessed(Failure),
    /// After the approval's last entry the log is not whole.
    #[error(
        "entry {0} of the log is missing, or not the one that the log key signed there: what it says of this approval is not known"
    )]
    LogGap(u64),
    /// The approval's own chain of entries ends before the approval does.
    #[error("entry {0} of the log is a later one of this approval, and not in its evidence")]
    Outdated(u64),
    /// A row that the evidence needs is gone, or is none that the gate writes.
    #[error("the evidence is not complete: {0}")]
    Incomplete(String),
    /// The evidence could not be read now.
    #[error(transparent)]
    Storage(StorageError),
}

impl NotAuthorised {
    /// The stable name of the finding: that of the failed check, where there is one.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Evidence(failure) => failure.code().as_str(),
            Self::NotApproved(_) => "not_approved",
            Self::Arguments(_) => "invalid_arguments",
            Self::OtherKind(_) => "other_kind",
            Self::Row(_) => "row_mismatch",
            Self::RevokedBefore(_) => "credential_revoked",
            Self::Revoked(_) => "credential_revoked",
            Self::OtherKeyGivenUp(..) => "key_not_accepted",
            Self::BegunLate { .. } => "begun_late",
            Self::OutsideWindow(_) => "outside_window",
            Self::UnsignedOrder(_) => "order_unsigned",
            Self::Unpinned(_) => "trust_unpinned",
            Self::NotWitnessed(failure) => failure.code().as_str(),
            Self::LogGap(_) => "log_gap",
            Self::Outdated(_) => "evidence_outdated",
            Self::Incomplete(_) => "evidence_incomplete",
            Self::Storage(StorageError::Log(fault)) => fault.code(),
            Self::Storage(_) => "evidence_unreadable",
        }
    }
}

impl From<StorageError> for NotAuthorised {
    fn from(error: StorageError) -> Self {
        GateError::from(error).into()
    }
}

impl From<GateError> for NotAuthorised {
    fn from(error: GateError) -> Self {
        match error {
            // A database that fails is asked again; a row that is not what the gate writes stays so.
            GateError::Storage(
                error @ (StorageError::ImpossibleRow { .. } | StorageError::Missing { .. }),
            ) => Self::Incomplete(error.to_string()),
            GateError::Storage(error) => Self::Storage(error),
            GateError::NotFound => {
                Self::Incomplete("a row that it needs is not in the database".to_owned())
            }
            other => Self::Incomplete(other.to_string()),
        }
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
        Subject::Deployment(deployment) => Ok(Authorised { deployment: (**deployment).clone() }),
        other @ (Subject::Action(_) | Subject::WorkflowRun(_)) => {
            Err(NotAuthorised::OtherKind(other.kind()))
        }
    }
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
    refuse_begun_late(&verified)?;
    if let Some(place) = first_unsigned(verified.records()) {
        let entry = evidence.entries.get(place).map_or(0, |entry| entry.index);
        return Err(NotAuthorised::UnsignedOrder(entry));
    }
    refuse_revoked(storage, &evidence, &verified).await?;
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

/// A key that was revoked before the first call counts no more, although its signature was good when
/// it was made. Later the rollout goes on: stopping half-way would help nobody, and whoever wants that
/// can move the traffic back. The keys' rows are not asked: the signed entries say it, and what is known
/// outside the database of those that are no longer in it.
async fn refuse_revoked(
    storage: &Storage,
    evidence: &Evidence,
    verified: &Verified,
) -> Result<(), NotAuthorised> {
    let mut entries = evidence.entries.iter().zip(verified.records());
    let first_call = entries.find(|(_, record)| record.kind == CALL_ANNOUNCED);
    let first_call = first_call.map_or(u64::MAX, |(entry, _)| entry.index);
    // A signature that was taken back counts for nothing, whatever became of its key.
    let standing = standing(verified.decisions());
    let revocations = storage.revocations().await.map_err(GateError::from)?;
    let revoked = revocations.into_iter().find(|found| {
        let signed = |decision: &&Decision| decision.credential == found.revocation.credential;
        found.index < first_call && standing.iter().any(signed)
    });
    if let Some(found) = revoked {
        return Err(NotAuthorised::Revoked(Box::new(found)));
    }
    for decision in standing {
        let revoked_at = storage.revoked_at(&decision.credential);
        if revoked_at.is_some_and(|index| index < first_call) {
            return Err(NotAuthorised::RevokedBefore(decision.credential.clone()));
        }
    }
    refuse_given_up(storage, verified)
}

/// Evidence shows that a person had other keys when they decided. That one of them had been revoked before
/// shows only where the evidence says it, so the log is asked as well.
fn refuse_given_up(storage: &Storage, verified: &Verified) -> Result<(), NotAuthorised> {
    for other in verified.other_keys() {
        let revoked = storage.revoked_at(&other.credential);
        if other.revoked.is_none() && revoked.is_some_and(|index| index < other.decided) {
            let person = other.person.subject.clone();
            return Err(NotAuthorised::OtherKeyGivenUp(person, other.credential.clone()));
        }
    }
    Ok(())
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
