//! What is asked for, frozen when it is asked for and signed as a whole.
//!
//! Every subject says the same of who asks, why, where and until when ([`Facts`]); what it would do is its
//! own. Its canonical JSON is one object that holds both, told apart by its `schema`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::domain::action::Action;
use crate::domain::canonical::{CanonicalError, from_canonical_json, to_canonical_json};
use crate::domain::deployment::{Commit, Deployment};
use crate::domain::digest::Digest;
use crate::domain::ids::{ApprovalId, short_code};
use crate::domain::image::ImageReference;
use crate::domain::job::JobExecution;
use crate::domain::rule_change::RuleChange;
use crate::domain::rulebook::RULES_ENVIRONMENT;
use crate::domain::separation::Shipped;
use crate::domain::time;
use crate::domain::workflow_run::WorkflowRun;

/// One thing that people can approve.
///
/// The texts are only ever read by [`from_canonical_json`], which refuses members that are not listed here.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "schema")]
pub enum Subject {
    /// A rollout of a Cloud Run service, which the gate itself carries out.
    #[serde(rename = "countersign/deployment/v1")]
    Deployment(Box<Deployment>),
    /// One execution of a Cloud Run job, which the gate itself starts.
    #[serde(rename = "countersign/job_execution/v1")]
    JobExecution(Box<JobExecution>),
    /// An act of whoever asks, for which the gate gives a grant.
    #[serde(rename = "countersign/action/v1")]
    Action(Box<Action>),
    /// A run of GitHub Actions that waits at an environment, which the gate answers.
    #[serde(rename = "countersign/workflow_run/v1")]
    WorkflowRun(Box<WorkflowRun>),
    /// A change of the rules themselves, which the gate takes up.
    #[serde(rename = "countersign/policy_change/v1")]
    RuleChange(Box<RuleChange>),
}

/// What every subject says.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Facts {
    /// The approval's random identifier: no two subjects are ever the same bytes.
    pub approval: ApprovalId,
    /// The origin of the gate that froze it.
    pub audience: String,
    /// The environment whose policy rules.
    pub environment: String,
    /// Who asks, as their token says; of a run or a change of the rules, which have none, what follows from
    /// their other facts.
    pub requester: Requester,
    /// Why, in the requester's words.
    pub reason: String,
    /// A headline, in the requester's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// For whom the requester says that it acts. Nothing hangs on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acts_for: Option<String>,
    /// More about it, in the requester's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Where to read more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<Link>,
    /// The digest of the canonical policy in force when it was asked.
    pub policy_digest: Digest,
    /// When it was asked.
    #[serde(deserialize_with = "time::deserialize")]
    pub requested_at: Timestamp,
    /// Until when it may be decided and begun.
    #[serde(deserialize_with = "time::deserialize")]
    pub expires_at: Timestamp,
}

/// The workload that asks.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requester {
    /// The configured name of the token issuer.
    pub issuer: String,
    /// The token issuer's URL.
    pub issuer_url: String,
    /// The token's `sub`.
    pub subject: String,
    /// Who counts as the same requester: issuer and the configured claim, `github:1001` for example.
    pub key: String,
    /// Every claim of the verified token.
    pub claims: Map<String, Value>,
}

impl Requester {
    /// A claim that is a text.
    pub fn claim(&self, name: &str) -> Option<&str> {
        self.claims.get(name).and_then(Value::as_str)
    }

    /// The repository if the token names one, else the subject.
    pub fn display_name(&self) -> &str {
        self.claim("repository").or_else(|| self.claim("name")).unwrap_or(&self.subject)
    }

    /// Whether this is one of its names: what it is shown as, its token's subject, or its key.
    pub fn is_called(&self, name: &str) -> bool {
        let claims = ["repository", "name"].map(|claim| self.claim(claim));
        let names = [Some(self.subject.as_str()), Some(self.key.as_str())];
        names.into_iter().chain(claims).flatten().any(|known| known == name)
    }
}

/// A link that the requester gives.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// What it is called.
    pub title: String,
    /// Where it leads, https only.
    pub url: String,
}

impl Subject {
    /// What every subject says.
    pub fn facts(&self) -> &Facts {
        match self {
            Self::Deployment(deployment) => &deployment.facts,
            Self::JobExecution(execution) => &execution.facts,
            Self::Action(action) => &action.facts,
            Self::WorkflowRun(run) => &run.facts,
            Self::RuleChange(change) => &change.facts,
        }
    }

    /// The name of its kind, as requests and answers say it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Deployment(_) => "deployment",
            Self::JobExecution(_) => "job_execution",
            Self::Action(_) => "action",
            Self::WorkflowRun(_) => "workflow_run",
            Self::RuleChange(_) => "policy_change",
        }
    }

    /// What it is about, for lists: the whole name of a service or a job, the tool of an action, the repository of a run;
    /// the rules, of a change of them.
    pub fn target(&self) -> &str {
        match self {
            Self::Deployment(deployment) => deployment.service.as_str(),
            Self::JobExecution(execution) => execution.job.as_str(),
            Self::Action(action) => &action.tool,
            Self::WorkflowRun(run) => &run.repository.name,
            Self::RuleChange(_) => RULES_ENVIRONMENT,
        }
    }

    /// The same as people call it: a service or a job by its last name.
    pub fn target_name(&self) -> &str {
        match self {
            Self::Deployment(deployment) => deployment.service.service(),
            Self::JobExecution(execution) => execution.job.job(),
            Self::Action(action) => &action.tool,
            Self::WorkflowRun(run) => &run.repository.name,
            Self::RuleChange(_) => RULES_ENVIRONMENT,
        }
    }

    /// The rollout, if it is one.
    pub fn deployment(&self) -> Option<&Deployment> {
        if let Self::Deployment(deployment) = self { Some(deployment) } else { None }
    }

    /// The execution of a job, if it is one.
    pub fn job_execution(&self) -> Option<&JobExecution> {
        if let Self::JobExecution(execution) = self { Some(execution) } else { None }
    }

    /// The action, if it is one.
    pub fn action(&self) -> Option<&Action> {
        if let Self::Action(action) = self { Some(action) } else { None }
    }

    /// The run, if it is one.
    pub fn workflow_run(&self) -> Option<&WorkflowRun> {
        if let Self::WorkflowRun(run) = self { Some(run) } else { None }
    }

    /// The change of the rules, if it is one.
    pub fn rule_change(&self) -> Option<&RuleChange> {
        if let Self::RuleChange(change) = self { Some(change) } else { None }
    }

    /// The image that it brings into Cloud Run, if it does.
    pub fn image(&self) -> Option<&ImageReference> {
        match self {
            Self::Deployment(deployment) => Some(&deployment.image),
            Self::JobExecution(execution) => Some(&execution.image),
            Self::Action(_) | Self::WorkflowRun(_) | Self::RuleChange(_) => None,
        }
    }

    /// Whether the gate itself carries it out at Cloud Run.
    pub fn is_carried_out(&self) -> bool {
        self.image().is_some()
    }

    /// What GitHub says of the commit that it was asked for from, where that is known.
    pub fn commit(&self) -> Option<&Commit> {
        match self {
            Self::Deployment(deployment) => deployment.commit.as_ref(),
            Self::JobExecution(execution) => execution.commit.as_ref(),
            Self::Action(_) | Self::WorkflowRun(_) | Self::RuleChange(_) => None,
        }
    }

    /// What it ships and who had a hand in it, where that was asked.
    pub fn shipped(&self) -> Option<&Shipped> {
        match self {
            Self::Deployment(deployment) => deployment.shipped.as_ref(),
            Self::JobExecution(execution) => execution.shipped.as_ref(),
            Self::Action(_) | Self::WorkflowRun(_) | Self::RuleChange(_) => None,
        }
    }
}

impl From<Deployment> for Subject {
    fn from(deployment: Deployment) -> Self {
        Self::Deployment(Box::new(deployment))
    }
}

impl From<JobExecution> for Subject {
    fn from(execution: JobExecution) -> Self {
        Self::JobExecution(Box::new(execution))
    }
}

impl From<Action> for Subject {
    fn from(action: Action) -> Self {
        Self::Action(Box::new(action))
    }
}

impl From<WorkflowRun> for Subject {
    fn from(run: WorkflowRun) -> Self {
        Self::WorkflowRun(Box::new(run))
    }
}

impl From<RuleChange> for Subject {
    fn from(change: RuleChange) -> Self {
        Self::RuleChange(Box::new(change))
    }
}

/// A subject together with its canonical bytes and their digest.
#[derive(Clone, PartialEq, Debug)]
pub struct FrozenSubject {
    subject: Subject,
    text: String,
    digest: Digest,
}

impl FrozenSubject {
    /// Freezes a subject.
    pub fn freeze(subject: impl Into<Subject>) -> Result<Self, CanonicalError> {
        let subject = subject.into();
        let text = to_canonical_json(&subject)?;
        let digest = Digest::of(&text);
        Ok(Self { subject, text, digest })
    }

    /// Reads a frozen subject back from its canonical text, and from no other text.
    pub fn thaw(text: &str) -> Result<Self, CanonicalError> {
        let subject: Subject = from_canonical_json(text)?;
        Ok(Self { subject, text: text.to_owned(), digest: Digest::of(text) })
    }

    /// What is asked for.
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// The rollout, if it is one.
    pub fn deployment(&self) -> Option<&Deployment> {
        self.subject.deployment()
    }

    /// The execution of a job, if it is one.
    pub fn job_execution(&self) -> Option<&JobExecution> {
        self.subject.job_execution()
    }

    /// The action, if it is one.
    pub fn action(&self) -> Option<&Action> {
        self.subject.action()
    }

    /// The run, if it is one.
    pub fn workflow_run(&self) -> Option<&WorkflowRun> {
        self.subject.workflow_run()
    }

    /// The change of the rules, if it is one.
    pub fn rule_change(&self) -> Option<&RuleChange> {
        self.subject.rule_change()
    }

    /// The canonical JSON.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// SHA-256 of the canonical JSON.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The digest's first characters, for people to compare.
    pub fn short_code(&self) -> String {
        short_code(&self.digest)
    }
}

impl std::ops::Deref for FrozenSubject {
    type Target = Facts;

    fn deref(&self) -> &Facts {
        self.subject.facts()
    }
}
