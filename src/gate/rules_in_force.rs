//! Whether an entry puts a rulebook into force, from bytes alone: the first that binds, and each later one by
//! the signatures that the rulebook before it asks for.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::domain::decision::{Verdict, standing};
use crate::domain::ledger::{ApprovalRecord, Frontier, Record, Revoked};
use crate::domain::policy::Policy;
use crate::domain::rulebook::{InForce, RULES_IN_FORCE, RuleHistory, Rulebook};
use crate::domain::subject::{FrozenSubject, Subject};
use crate::gate::GateError;
use crate::gate::evidence::gather_at;
use crate::gate::loss::voids;
use crate::proof::evidence::Trust;
use crate::proof::verify::{Failure, Verified, verify_evidence};
use crate::storage::{Storage, StorageError};

/// Why an entry puts no rules into force.
#[derive(Debug, thiserror::Error)]
pub enum NotInForce {
    /// It is in another form.
    #[error("it is not in the form of one")]
    Malformed,
    /// It names no approval, and rules are in force already.
    #[error("nobody signed it, and rules are in force already")]
    Unsigned,
    /// What proves it is not there.
    #[error("what proves its signatures is not complete: {0}")]
    Incomplete(GateError),
    /// The evidence of its approval does not hold under the rules before.
    #[error("its signatures do not hold under the rules before it: {0}")]
    Evidence(#[from] Failure),
    /// It was not approved.
    #[error("the change was not approved")]
    NotApproved,
    /// It is about other rules than those before it and those that it holds.
    #[error("what was signed is not the change from the rules before it to those that it holds")]
    OtherChange,
    /// A key that signed was revoked before.
    #[error("the key {0} that signed it had been revoked before")]
    Revoked(String),
}

/// What an entry holds that puts these rules into force.
pub fn data_of(rules: &Rulebook) -> Value {
    json!({ "rules": rules })
}

/// Every rulebook that was in force, each verified from bytes against the one before, and what does not hold
/// of entries that say they put one into force. `head` is the tree that proofs lead to.
///
/// # Errors
/// If it could not be told.
pub async fn on_record(
    storage: &Storage,
    trust: &Trust,
    head: &Frontier,
    revoked: &Revoked,
) -> Result<(RuleHistory, Vec<(u64, NotInForce)>), StorageError> {
    let (mut history, mut findings) = (RuleHistory::default(), Vec::new());
    for (index, record) in storage.signed_records(RULES_IN_FORCE).await? {
        if index >= head.size() {
            continue;
        }
        match judge(storage, trust, &history, (index, &record), head, revoked).await {
            Ok(Ok(in_force)) => history.push(in_force),
            Ok(Err(finding)) => findings.push((index, finding)),
            Err(GateError::Storage(error)) if error.outage().is_some() => return Err(error),
            Err(error) => findings.push((index, NotInForce::Incomplete(error))),
        }
    }
    Ok((history, findings))
}

/// Judges the entry at `index`, of this kind and signed by the log key in its place. `history` is what was in
/// force before it, and `head` the tree that proofs lead to.
///
/// # Errors
/// The inner error says what does not hold: the rules before it stay in force. The outer one says that it
/// could not be read.
async fn judge(
    storage: &Storage,
    trust: &Trust,
    history: &RuleHistory,
    (index, record): (u64, &Record),
    head: &Frontier,
    revoked: &Revoked,
) -> Result<Result<InForce, NotInForce>, GateError> {
    let Ok(rules) = Rulebook::of_value(&record.data["rules"]) else {
        return Ok(Err(NotInForce::Malformed));
    };
    let digest = rules.digest()?;
    let begun = |approval: Option<&ApprovalRecord>, by: Vec<String>| InForce {
        entry: index,
        at: record.at,
        digest,
        rules: Arc::new(rules.clone()),
        approval: approval.map(|approval| approval.id.clone()),
        by,
    };
    let Some(before) = history.current() else {
        let is_first = record.approval.is_none() && rules.anchors.bind();
        return Ok(if is_first { Ok(begun(None, Vec::new())) } else { Err(NotInForce::Malformed) });
    };
    let Some(approval) = &record.approval else { return Ok(Err(NotInForce::Unsigned)) };
    let stored = storage.approval(&approval.id).await?.ok_or(GateError::NotFound)?;
    let trust = trust.under(&before.rules.anchors).after(storage.lineage().recoveries);
    // Witnesses are asked before it is written, by the rules of that time.
    let trust = Trust { witnesses_required: 0, ..trust };
    let evidence = gather_at(storage, &trust, &stored, head).await?;
    let verified = match verify_evidence(&evidence, &trust) {
        Ok(verified) => verified,
        Err(failure) => return Ok(Err(failure.into())),
    };
    let is_in_it = evidence.entries.iter().any(|entry| entry.index == index);
    let is_this = is_in_it
        && is_change(verified.subject(), verified.policy(), &before.rules)
        && verified.subject().rule_change().is_some_and(|change| change.after == rules);
    Ok(match (verified.is_approved(), is_this) {
        (false, _) => Err(NotInForce::NotApproved),
        (_, false) => Err(NotInForce::OtherChange),
        (true, true) => match given_up_before(storage, &trust, &verified, index, revoked).await? {
            Some(key) => Err(NotInForce::Revoked(key)),
            None => Ok(begun(Some(approval), names(&verified))),
        },
    })
}

/// Whether a subject is a change of `before`, asked for under the rules that `before` has for it.
fn is_change(subject: &FrozenSubject, policy: &Policy, before: &Rulebook) -> bool {
    subject
        .rule_change()
        .is_some_and(|change| change.before == *before && change.is_ruled_by(policy))
}

/// A key with which somebody signed whose word counts, and which had been given up before the entry at `index`.
/// What a key signed before it was lost counts still.
async fn given_up_before(
    storage: &Storage,
    trust: &Trust,
    verified: &Verified,
    index: u64,
    revoked: &Revoked,
) -> Result<Option<String>, GateError> {
    let revocations = storage.revocations().await?;
    for decision in standing(verified.decisions()) {
        let credential = &decision.credential;
        let mut told = revocations.iter();
        let entry = told.find(|found| found.revocation.credential == *credential);
        let is_given_up = match entry {
            Some(found) => {
                found.index < index && voids(storage, trust, found, decision.decided_at).await?
            }
            None => revoked.get(credential).is_some_and(|at| *at < index),
        };
        if is_given_up {
            return Ok(Some(credential.clone()));
        }
    }
    Ok(None)
}

fn names(verified: &Verified) -> Vec<String> {
    let standing = standing(verified.decisions()).into_iter();
    let yes = standing.filter(|decision| decision.verdict == Verdict::Approve);
    yes.map(|decision| decision.name.clone()).collect()
}

/// Whether the rules under which something was asked for, in the entry at `index`, were in force then. Where
/// no rules are bound, any are.
pub fn were_in_force(
    history: &RuleHistory,
    index: u64,
    subject: &FrozenSubject,
    policy: &Policy,
) -> bool {
    let Some(in_force) = history.at(index) else { return true };
    match subject.subject() {
        Subject::RuleChange(_) => is_change(subject, policy, &in_force.rules),
        Subject::Deployment(_)
        | Subject::JobExecution(_)
        | Subject::Action(_)
        | Subject::WorkflowRun(_) => {
            let rules = in_force.rules.environments.get(&subject.environment);
            rules == Some(&policy.without_suspensions())
        }
    }
}
