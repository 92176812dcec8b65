//! What a rollout changes, how it goes out and what serves in the end.

use serde_json::Value;
use url::Url;

use crate::domain::approval::{Approval, State, Status};
use crate::domain::deployment::{Deployment, Preconditions};
use crate::domain::rollout::{RecordedCall, Serving};
use crate::domain::service::ServiceKind;

use super::calls::{CallView, calls};
use super::difference::{Difference, difference};
use super::traffic::{ShareView, StepView, shares, steps};
use super::{Inert, Moment, Surroundings};

/// What the page shows of a deployment alone.
pub struct RolloutView {
    pub project: String,
    pub region: String,
    pub image: Inert,
    pub revision: Inert,
    /// What is to be created, if it does not exist yet.
    pub new_noun: Option<&'static str>,
    pub service: String,
    pub full_name: String,
    pub is_worker_pool: bool,
    pub difference: Difference,
    pub steps: Vec<StepView>,
    pub on_failure: &'static str,
    pub after: Option<String>,
    pub attestor: Option<Inert>,
    pub attested: Option<AttestedView>,
    pub calls: Vec<CallView>,
    pub is_rolling: bool,
    pub before_words: &'static str,
    pub unchanged_words: &'static str,
    pub result: Option<ResultView>,
}

/// The attestation of the image for Binary Authorization.
pub struct AttestedView {
    pub occurrence: Inert,
    pub at: Moment,
}

/// The attestation that something under way has.
pub(super) fn attested(approval: &Approval, around: Surroundings<'_>) -> Option<AttestedView> {
    let (State::Executing { progress, .. } | State::NeedsAttention { progress, .. }) =
        &approval.state
    else {
        return None;
    };
    progress.attested.as_ref().map(|one| AttestedView {
        occurrence: Inert::new(&one.occurrence),
        at: Moment::new(one.at, around.now),
    })
}

/// What serves after a rollout that succeeded.
pub struct ResultView {
    pub revision: Inert,
    pub uri: Inert,
    pub href: Option<String>,
    pub traffic: Vec<ShareView>,
    pub observed: Moment,
}

impl RolloutView {
    pub(super) fn new(
        approval: &Approval,
        deployment: &Deployment,
        recorded: &[RecordedCall],
        around: Surroundings<'_>,
    ) -> Self {
        Self {
            project: deployment.service.project().to_owned(),
            region: deployment.service.location().to_owned(),
            image: Inert::new(&deployment.image.to_string()),
            revision: Inert::new(&deployment.plan.revision),
            new_noun: running(deployment).is_none().then(|| deployment.service.kind().noun()),
            service: deployment.service.service().to_owned(),
            full_name: deployment.service.to_string(),
            is_worker_pool: deployment.service.kind() == ServiceKind::WorkerPool,
            difference: difference(running(deployment), &deployment.proposed),
            steps: steps(&approval.state, deployment, around),
            on_failure: deployment.plan.on_failure.in_words(),
            after: deployment.after.as_ref().map(ToString::to_string),
            attestor: approval.policy.attestor.as_ref().map(|note| Inert::new(note.as_str())),
            attested: attested(approval, around),
            calls: calls(recorded, approval.status(), around),
            // While something moves, how far it is comes first.
            is_rolling: matches!(approval.status(), Status::Executing | Status::NeedsAttention),
            before_words: before_words(approval),
            unchanged_words: "Nothing. The new revision has exactly the settings of the running one.",
            result: match &approval.state {
                State::Succeeded { serving: Some(serving), .. } => Some(result(serving, around)),
                _ => None,
            },
        }
    }
}

/// What the settings are called that something new is compared with.
pub(super) fn before_words(approval: &Approval) -> &'static str {
    if approval.status() == Status::Pending { "running now" } else { "running before" }
}

fn running(deployment: &Deployment) -> Option<&Value> {
    match &deployment.preconditions {
        Preconditions::Absent {} => None,
        Preconditions::Present { running, .. } => Some(running),
    }
}

/// What happens where, in one line.
pub(super) fn headline(deployment: &Deployment) -> String {
    let service = deployment.service.service();
    let environment = &deployment.environment;
    let changes = difference(running(deployment), &deployment.proposed).changes;
    if running(deployment).is_none() {
        format!("Create {service} in {environment}")
    } else if changes.iter().any(|change| change.label.words == "Container image") {
        format!("Deploy a new image of {service} to {environment}")
    } else if changes.is_empty() {
        format!("Deploy {service} again, unchanged, to {environment}")
    } else {
        format!("Change the settings of {service} in {environment}")
    }
}

fn result(serving: &Serving, around: Surroundings<'_>) -> ResultView {
    let followed = Url::parse(&serving.uri)
        .ok()
        .filter(|url| matches!(url.scheme(), "https" | "http"))
        .map(String::from);
    ResultView {
        revision: Inert::new(&serving.revision),
        uri: Inert::new(&serving.uri),
        href: followed,
        traffic: shares(&serving.traffic, &serving.revision),
        observed: Moment::new(serving.observed_at, around.now),
    }
}
