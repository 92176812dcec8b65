//! What of services changed and no approval explains: found, written down, and explained by people. Nothing
//! here changes Cloud Run.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use serde_json::json;
use tokio::sync::Notify;

use crate::domain::digest::Digest;
use crate::domain::drift::{
    DRIFT_EXPLAINED, DRIFT_FOUND, DriftExplanation, Finding, FrozenExplanation, Judgement,
    LONGEST_EXPLANATION, RecordedExplanation, RolloutSeen, SERVICE_OBSERVED, ServiceState,
    Sighting, judge,
};
use crate::domain::observation::{ObservedService, Readiness};
use crate::domain::policy::Policy;
use crate::domain::service::ServiceName;
use crate::domain::statement::Decider;
use crate::gate::decide::{RelyingParty, encode};
use crate::gate::endorse::signing_keys;
use crate::gate::signature::{check, give_out, note_refusal};
use crate::gate::{CeremonyRefusal, GateError, refusals};
use crate::proof::assertion::UnverifiedAssertion;
use crate::proof::evidence::Trust;
use crate::proof::jwk::thumbprint;
use crate::randomness;
use crate::storage::{Credential, KeptSighting, Session, Storage};

/// Services that somebody says were changed, with who it was: looked at before their turn.
#[derive(Default)]
pub struct ChangesSeen {
    waiting: Mutex<BTreeMap<ServiceName, String>>,
    arrived: Notify,
}

impl ChangesSeen {
    /// Notes that somebody changed a service.
    pub fn note(&self, service: ServiceName, who: String) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(service, who);
        self.arrived.notify_one();
    }

    /// Takes everything that was noted.
    pub fn take(&self) -> BTreeMap<ServiceName, String> {
        std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until something was noted.
    pub async fn arrived(&self) {
        self.arrived.notified().await;
    }
}

/// What the ledger explains of a service at one moment.
#[derive(PartialEq)]
pub struct Explained {
    newest: Option<KeptSighting>,
    rollouts: Vec<RolloutSeen>,
}

/// Reads what the ledger explains of a service, before it is observed.
///
/// # Errors
/// If the ledger cannot be read.
pub async fn explained(storage: &Storage, service: &ServiceName) -> Result<Explained, GateError> {
    let newest = storage.newest_sighting(service).await?;
    let after = newest.as_ref().map(|kept| kept.entry);
    Ok(Explained { rollouts: storage.rollouts_since(service, after).await?, newest })
}

/// Judges a service as it was just observed, and writes down what is new of it. Gives the index of the entry
/// if it is one about a change that no approval explains. `before` was read before the service was observed:
/// if the ledger says something else by now, nothing is said, and it is looked at again. `changed_by` is who
/// changed it, if somebody said so.
///
/// # Errors
/// If the ledger cannot be read or written.
pub async fn look(
    storage: &Storage,
    (environment, service): (&str, &ServiceName),
    before: &Explained,
    observed: Option<&ObservedService>,
    changed_by: Option<String>,
    now: Timestamp,
) -> Result<Option<u64>, GateError> {
    // Half of a change is no state; it is looked at again when it took effect.
    if observed.is_some_and(|observed| observed.readiness == Readiness::Reconciling) {
        return Ok(None);
    }
    let state = observed.map(ServiceState::from);
    // A rollout that went on meanwhile explains more, or less, than the moment of the observation needs.
    if explained(storage, service).await? != *before {
        return Ok(None);
    }
    let Explained { newest, rollouts } = before;
    let after = newest.as_ref().map(|kept| kept.entry);
    let judgement = match newest {
        // Nobody knows what was before the first look.
        None => Judgement::Unchanged,
        Some(kept) => judge(service.kind(), kept.sighting.state.as_ref(), state.as_ref(), rollouts),
    };
    let (kind, explained_by, unexplained) = match judgement {
        Judgement::Unchanged if newest.is_some() => return Ok(None),
        Judgement::UnderWay => return Ok(None),
        Judgement::Unchanged => (SERVICE_OBSERVED, None, Vec::new()),
        Judgement::Explained(approval) => (SERVICE_OBSERVED, Some(approval), Vec::new()),
        Judgement::Drift(facts) => (DRIFT_FOUND, None, facts),
    };
    let last_modifier = observed.map(|observed| observed.last_modifier.clone());
    let is_drift = kind == DRIFT_FOUND;
    let sighting = Sighting {
        service: service.clone(),
        environment: environment.to_owned(),
        state,
        explained_by,
        unexplained,
        changed_by: changed_by.or(last_modifier.filter(|who| !who.is_empty())).filter(|_| is_drift),
    };
    let mut writer = storage.begin().await?;
    // Another gate may have seen the same meanwhile.
    if writer.newest_sighting(service).await? != after {
        return Ok(None);
    }
    let index = writer.next_entry();
    writer.record(kind, json!(sighting), now).await?;
    writer.commit().await?;
    if !is_drift {
        return Ok(None);
    }
    tracing::error!(
        index,
        service = service.as_str(),
        environment,
        what = sighting.unexplained.join(" "),
        "a service was changed and no approval explains it"
    );
    Ok(Some(index))
}

/// A statement that explains a change, and the keys that may sign it.
pub struct PreparedExplanation {
    /// What is to be signed.
    pub statement: FrozenExplanation,
    /// The keys that may sign it.
    pub keys: Vec<Credential>,
}

fn about(entry: u64) -> String {
    format!("drift:{entry}")
}

/// Makes the statement with which this person explains a change that was found in the environment of
/// `policy`, where they may sign.
///
/// # Errors
/// For a text that is none, a person who signed for this text already, and as for all signatures.
pub async fn prepare(
    storage: &Storage,
    trust: &Trust,
    session: &Session,
    policy: &Policy,
    finding: &Finding,
    explanation: &str,
    now: Timestamp,
) -> Result<PreparedExplanation, GateError> {
    let explanation = explanation.trim();
    if explanation.is_empty() {
        return Err(CeremonyRefusal::ReasonMissing.into());
    }
    if explanation.chars().count() > LONGEST_EXPLANATION {
        return Err(CeremonyRefusal::ReasonTooLong.into());
    }
    let person = &session.profile.person;
    refuse_second(finding, explanation, session)?;
    let keys = signing_keys(storage, trust, policy.enrolment.endorsements, person).await?;
    let decider = Decider {
        approver: person.clone(),
        credentials: keys.iter().map(|key| encode(&key.id)).collect(),
        sign_in_digest: Digest::of(&session.id_token),
    };
    let nonce = randomness::token::<32>();
    let statement = FrozenExplanation::of_finding(
        (finding.entry, finding.entry_hash),
        finding.found.clone(),
        explanation.to_owned(),
        decider,
        (&trust.origin, nonce),
        now,
    )?;
    give_out(storage, session, about(finding.entry), &statement).await?;
    Ok(PreparedExplanation { statement, keys })
}

fn refuse_second(
    finding: &Finding,
    explanation: &str,
    session: &Session,
) -> Result<(), CeremonyRefusal> {
    let is_own = |one: &RecordedExplanation| {
        one.by == session.profile.person && one.explanation == explanation
    };
    if finding.settled().is_some() || finding.explanations.iter().any(is_own) {
        return Err(CeremonyRefusal::AlreadyExplained);
    }
    Ok(())
}

/// Checks an assertion over such a statement and writes the explanation into the ledger. Nonce, signature
/// counter and entry commit together.
///
/// # Errors
/// As for all signatures.
pub async fn explain(
    storage: &Storage,
    relying_party: &RelyingParty,
    session: &Session,
    finding: &Finding,
    nonce: &str,
    unverified: &UnverifiedAssertion,
    now: Timestamp,
) -> Result<(), GateError> {
    let about = about(finding.entry);
    let outcome =
        try_to_explain(storage, relying_party, session, finding, nonce, unverified, now).await;
    let named = (refusals::DRIFT_EXPLANATION, "about", about.as_str());
    note_refusal(storage, session, named, unverified, &outcome, now);
    outcome
}

async fn try_to_explain(
    storage: &Storage,
    relying_party: &RelyingParty,
    session: &Session,
    finding: &Finding,
    nonce: &str,
    unverified: &UnverifiedAssertion,
    now: Timestamp,
) -> Result<(), GateError> {
    let about = about(finding.entry);
    let signed =
        check::<DriftExplanation>(storage, relying_party, session, &about, nonce, unverified, now)
            .await?;
    let explanation = signed.statement.predicate();
    refuse_second(finding, &explanation.explanation, session)?;
    let recorded = RecordedExplanation::new(
        explanation,
        &session.profile.name,
        signed.kept(),
        thumbprint(&session.issuer_key),
    );
    let mut writer = storage.begin().await?;
    signed.use_up(&mut writer, now).await?;
    writer.record(DRIFT_EXPLAINED, json!(recorded), now).await?;
    writer.commit().await?;
    tracing::warn!(
        entry = finding.entry,
        by = session.profile.person.subject,
        "a change that no approval explains was explained"
    );
    Ok(())
}
