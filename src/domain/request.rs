//! From what a workload asks for to the canonical deployment.

use jiff::{SignedDuration, Timestamp};

use crate::domain::canonical::CanonicalError;
use crate::domain::deployment::{Commit, Deployment, Plan, Preconditions};
use crate::domain::ids::ApprovalId;
use crate::domain::image::ImageReference;
use crate::domain::observation::{ObservedService, Readiness};
use crate::domain::plan::{InvalidSteps, OnFailure, StepPlan, check_reach, check_steps};
use crate::domain::policy::Policy;
use crate::domain::rollout::shares_at;
use crate::domain::separation::Shipped;
use crate::domain::service::ServiceName;
use crate::domain::subject::{FrozenSubject, Requester};
use crate::domain::template::{images, propose, refuse_credentials};
use crate::domain::text::is_deceptive;
use crate::domain::words::{Words, check_asking, check_trust};

/// The longest reason, in characters: a few sentences.
pub const LONGEST_REASON: usize = 1_000;
/// The longest title, in characters: one line on a phone and a half.
pub const LONGEST_TITLE: usize = 200;
/// The longest body, in bytes. It is signed with every decision, so it is kept readable.
pub const LONGEST_BODY: usize = 16 * 1024;
/// The most links.
pub const MOST_LINKS: usize = 20;
/// The longest link, in bytes.
pub const LONGEST_LINK: usize = 2_000;
/// The shortest time that a request may be open: less cannot be read and signed.
pub const SHORTEST_EXPIRY: SignedDuration = SignedDuration::from_secs(30);

/// A deployment as a workload asks for it.
#[derive(Clone, PartialEq, Debug)]
pub struct DeploymentRequest {
    /// The service or the worker pool to roll out to.
    pub service: ServiceName,
    /// The image to roll out.
    pub image: ImageReference,
    /// Changes of the revision template, in the API's JSON.
    pub template: Option<serde_json::Value>,
    /// The steps of the traffic.
    pub steps: Option<Vec<StepPlan>>,
    /// What happens when a step fails.
    pub on_failure: Option<OnFailure>,
    /// The approval after whose success it begins.
    pub after: Option<ApprovalId>,
    /// Why, and until when.
    pub words: Words,
}

/// Why a request is refused. Nothing was stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestRefusal {
    /// The environment does not cover the service.
    #[error(
        "the environment {environment} does not cover the service {service}: name one of its services, or have it added to the gate's configuration"
    )]
    ServiceNotCovered { environment: String, service: String },
    /// The environment does not cover the job.
    #[error(
        "the environment {environment} does not cover the job {job}: name one of its jobs, or have it added to the gate's configuration"
    )]
    JobNotCovered { environment: String, job: String },
    /// A job that runs has to be there.
    #[error(
        "the job {0} does not exist: create it first, with whatever image, since people sign what changes of it"
    )]
    JobMissing(String),
    /// The environment does not allow the image's repository.
    #[error(
        "the environment {environment} does not allow images of {repository}; it allows {allowed}"
    )]
    ImageNotAllowed { environment: String, repository: String, allowed: String },
    /// The workload may not ask here.
    #[error(
        "this token may not ask for {environment}: no requester rule of the environment matches its claims ({seen})"
    )]
    RequesterNotAllowed { environment: String, seen: String },
    /// A text is missing, too long or otherwise not acceptable.
    #[error("{field} {problem}")]
    Text { field: &'static str, problem: String },
    /// The steps do not rise to 100.
    #[error(transparent)]
    Steps(#[from] InvalidSteps),
    /// A new service has no old revision to share with.
    #[error(
        "{0} does not exist yet, so there is nothing to share with: leave steps out or make them [100]"
    )]
    StepsOfNewService(String),
    /// The environment's plan is the only one.
    #[error(
        "the environment {environment} sets the plan of every rollout: leave steps and on_failure out"
    )]
    PlanFixed { environment: String },
    /// The expiry is out of bounds.
    #[error("expires_in must be between {shortest} and {longest} seconds for this environment")]
    Expiry { shortest: i64, longest: u64 },
    /// The template holds what may not be signed.
    #[error("{field} {problem}")]
    Template { field: String, problem: String },
    /// A value looks like a credential.
    #[error(
        "{place} looks like a credential. Plain values become part of the signed deployment and so of \
         pages, exports and proofs. Put it into Secret Manager and reference it by version: \
         {{\"name\": …, \"valueSource\": {{\"secretKeyRef\": {{\"secret\": …, \"version\": \"1\"}}}}}}"
    )]
    PlainCredential { place: String },
    /// The environment declares no such tool.
    #[error(
        "the environment {environment} declares no tool {tool:?}; it declares {known}: ask for one of those, or have this one declared in the gate's configuration"
    )]
    ToolNotDeclared { environment: String, tool: String, known: String },
    /// The arguments do not fit the tool.
    #[error("the arguments of {tool} are refused: {place} {problem}")]
    Arguments { tool: String, place: String, problem: String },
    /// An argument is a secret.
    #[error(
        "{place} is a secret, or looks like one, and arguments are signed, shown and kept: name the secret at a place that the tool declares for it, as {{\"reference\": …, \"sha256\": …}}"
    )]
    PlainSecret { place: String },
    /// The environment asks for pinned anchors, and there are none.
    #[error(
        "the environment {environment} asks for pinned trust, and nothing is pinned in the gate's configuration: whoever runs the gate runs `countersign keys bootstrap` and writes what it prints into [trust]"
    )]
    TrustUnpinned { environment: String },
    /// Nobody signs for their own commits, and whose they are is not known.
    #[error(
        "in the environment {environment} nobody signs for commits that they had a hand in, and who had one in these is not known: {why}"
    )]
    CommitsUnknown { environment: String, why: String },
    /// What it is to come after cannot come before it.
    #[error("after {0} nothing can begin: {1}")]
    After(ApprovalId, String),
    /// The service is changing right now.
    #[error(
        "{service} is changing just now, so there is no steady state to compare with ({why}): try again in a minute"
    )]
    ServiceBusy { service: String, why: String },
}

/// When, where and under which name a request is frozen.
pub struct Occasion<'a> {
    /// The approval's new identifier.
    pub id: ApprovalId,
    /// The origin of the gate.
    pub audience: &'a str,
    /// What GitHub says of the commit, if it was asked.
    pub commit: Option<Commit>,
    /// What it ships, where the rules ask who had a hand in it.
    pub shipped: Option<Shipped>,
    /// When it was asked.
    pub requested_at: Timestamp,
}

/// Why a request cannot be frozen.
#[derive(Debug, thiserror::Error)]
pub enum FreezeError {
    /// The request is refused.
    #[error(transparent)]
    Refused(#[from] RequestRefusal),
    /// It has no canonical form.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
}

impl RequestRefusal {
    /// The stable name of the refusal.
    pub fn code(&self) -> &'static str {
        match self {
            Self::ServiceNotCovered { .. } => "service_not_covered",
            Self::JobNotCovered { .. } => "job_not_covered",
            Self::JobMissing(_) => "job_missing",
            Self::ImageNotAllowed { .. } => "image_not_allowed",
            Self::RequesterNotAllowed { .. } => "requester_not_allowed",
            Self::Text { .. } => "invalid_text",
            Self::Steps(_) | Self::StepsOfNewService(_) => "invalid_steps",
            Self::PlanFixed { .. } => "plan_fixed",
            Self::Expiry { .. } => "invalid_expiry",
            Self::Template { .. } => "invalid_template",
            Self::PlainCredential { .. } => "plain_credential",
            Self::ToolNotDeclared { .. } => "tool_not_declared",
            Self::Arguments { .. } => "invalid_arguments",
            Self::PlainSecret { .. } => "plain_secret",
            Self::TrustUnpinned { .. } => "trust_unpinned",
            Self::CommitsUnknown { .. } => "commits_unknown",
            Self::After(..) => "invalid_after",
            Self::ServiceBusy { .. } => "service_busy",
        }
    }
}

impl DeploymentRequest {
    /// Checks everything that can be checked without looking at the running service.
    pub fn check(&self, policy: &Policy, requester: &Requester) -> Result<(), RequestRefusal> {
        check_asking(policy, requester)?;
        self.check_contents(policy)
    }

    /// Checks what is asked for, whoever asks.
    pub fn check_contents(&self, policy: &Policy) -> Result<(), RequestRefusal> {
        if !policy.services.contains(&self.service) {
            let (environment, service) = (policy.environment.clone(), self.service.to_string());
            return Err(RequestRefusal::ServiceNotCovered { environment, service });
        }
        check_trust(policy)?;
        check_images(policy, self.template.as_ref(), &self.image)?;
        self.words.check()?;
        self.check_plan(policy)?;
        self.words.lifetime(policy).map(|_| ())
    }

    /// The plan is one that can be carried out, and one that the environment allows.
    fn check_plan(&self, policy: &Policy) -> Result<(), RequestRefusal> {
        let steps = self.steps(policy);
        let has_own = self.steps.is_some() && steps != policy.steps();
        let steps = policy.plan.with_checks(steps);
        check_reach(&steps, &self.service)?;
        check_steps(&steps)?;
        if policy.plan.fixed && (has_own || self.on_failure.is_some()) {
            return Err(RequestRefusal::PlanFixed { environment: policy.environment.clone() });
        }
        Ok(policy.plan.check(&steps, &self.service)?)
    }

    fn steps(&self, policy: &Policy) -> Vec<StepPlan> {
        self.steps.clone().unwrap_or_else(|| policy.steps())
    }

    /// The steps for the service as it was seen. A new one has nothing to share with, so what a policy
    /// says of its last step is all that is left of its steps.
    fn steps_for(
        &self,
        policy: &Policy,
        observed: Option<&ObservedService>,
    ) -> Result<Vec<StepPlan>, RequestRefusal> {
        let mut steps = self.steps(policy);
        match observed {
            None if self.steps.is_none() => {
                steps.drain(..steps.len().saturating_sub(1));
            }
            None if steps.len() != 1 => {
                return Err(RequestRefusal::StepsOfNewService(self.service.to_string()));
            }
            Some(observed) => {
                let tags = steps.iter().filter_map(|step| step.tag.as_ref());
                let mut taken = tags.filter(|tag| observed.tags.iter().any(|one| one.tag == **tag));
                if let Some(tag) = taken.next() {
                    return Err(RequestRefusal::Steps(InvalidSteps(format!(
                        "the tag {tag} is another revision's already: choose one that nobody uses"
                    ))));
                }
            }
            None => {}
        }
        Ok(steps)
    }

    /// Freezes the request against the service as it was just seen, `None` if it does not exist.
    pub fn freeze(
        &self,
        policy: &Policy,
        observed: Option<&ObservedService>,
        requester: Requester,
        occasion: Occasion<'_>,
    ) -> Result<FrozenSubject, FreezeError> {
        self.check(policy, &requester)?;
        check_shipped(policy, &requester, occasion.shipped.as_ref())?;
        let lifetime = self.words.lifetime(policy)?;
        let facts = self.words.facts(policy, requester, &occasion, lifetime)?;
        let id = &facts.approval;
        let revision = revision_name(&self.service, id);
        let preconditions = self.preconditions(observed)?;
        let (running, before) = match &preconditions {
            Preconditions::Absent {} => (None, [].as_slice()),
            Preconditions::Present { running, serving, .. } => (Some(running), serving.as_slice()),
        };
        let steps = policy.plan.with_checks(self.steps_for(policy, observed)?).into_iter();
        let service = self.service.service();
        let steps = steps.map(|step| {
            let traffic = shares_at(step.percent, &revision, before);
            step.for_revision(&revision, service).with_traffic(traffic)
        });
        let steps = steps.collect();
        let template = self.template.as_ref();
        let proposed = propose(running, template, &self.image, &revision, id.as_str())?;
        let on_failure = self.on_failure.unwrap_or(policy.plan.on_failure);
        let plan = Plan {
            revision,
            steps,
            rollback: before.to_vec(),
            on_failure,
            rollback_window_seconds: policy.plan.rollback_window_seconds,
        };
        Ok(FrozenSubject::freeze(Deployment {
            facts,
            service: self.service.clone(),
            image: self.image.clone(),
            proposed,
            plan,
            preconditions,
            commit: occasion.commit,
            shipped: occasion.shipped,
            after: self.after.clone(),
        })?)
    }

    fn preconditions(
        &self,
        observed: Option<&ObservedService>,
    ) -> Result<Preconditions, RequestRefusal> {
        let Some(observed) = observed else { return Ok(Preconditions::Absent {}) };
        let busy = |why: &str| RequestRefusal::ServiceBusy {
            service: self.service.to_string(),
            why: why.to_owned(),
        };
        if observed.readiness == Readiness::Reconciling {
            return Err(busy("Cloud Run is still working on an earlier change"));
        }
        let total: u32 = observed.serving.iter().map(|share| u32::from(share.percent)).sum();
        if total != 100 {
            return Err(busy("the shares of its revisions do not sum to 100"));
        }
        let running = format!("running {}", self.service.kind().noun());
        credentials_that_run(&observed.template, &running)?;
        Ok(Preconditions::Present {
            uid: observed.uid.clone(),
            generation: observed.generation,
            serving: observed.serving.clone(),
            running: observed.template.clone(),
        })
    }
}

/// The policy allows every image. Containers beside the main one run with the same rights, so the rule is the same.
pub(super) fn check_images(
    policy: &Policy,
    template: Option<&serde_json::Value>,
    image: &ImageReference,
) -> Result<(), RequestRefusal> {
    let beside = template.map(images).unwrap_or_default();
    match beside.iter().chain([image]).find(|one| !policy.admits_image(one)) {
        None => Ok(()),
        Some(image) => Err(RequestRefusal::ImageNotAllowed {
            environment: policy.environment.clone(),
            repository: image.repository().to_owned(),
            allowed: policy.images.join(", "),
        }),
    }
}

/// Refuses what looks like a credential in a template that runs, since it would be signed and shown as well.
pub(super) fn credentials_that_run(
    template: &serde_json::Value,
    whose: &str,
) -> Result<(), RequestRefusal> {
    refuse_credentials(template).map_err(|refusal| match refusal {
        RequestRefusal::PlainCredential { place } => {
            RequestRefusal::PlainCredential { place: format!("{place} of the {whose}") }
        }
        other => other,
    })
}

/// Where nobody signs for their own commits, it is known whose they are, of exactly the commit that the token names.
pub(super) fn check_shipped(
    policy: &Policy,
    requester: &Requester,
    shipped: Option<&Shipped>,
) -> Result<(), RequestRefusal> {
    let is_known = shipped.is_some_and(|shipped| shipped.is_of(requester));
    if policy.separation.is_none() || is_known {
        return Ok(());
    }
    Err(RequestRefusal::CommitsUnknown {
        environment: policy.environment.clone(),
        why: "the token names no repository_id, sha and actor_id of GitHub: ask from a job of GitHub Actions".to_owned(),
    })
}

/// Whether an address is what it seems: parsers drop spaces around it and line breaks within, and
/// take what stands before an `@` for a user, however much it looks like the host.
pub(super) fn is_plain_https(link: &str) -> bool {
    let is_clear = !link.contains(|letter: char| letter.is_whitespace() || is_deceptive(letter));
    is_clear
        && url::Url::parse(link).is_ok_and(|url| {
            let names_user = !url.username().is_empty() || url.password().is_some();
            url.scheme() == "https" && url.has_host() && !names_user
        })
}

/// The claims that requester rules usually match, so that a refused author sees what to compare.
pub(super) fn seen_claims(requester: &Requester) -> String {
    let mut seen = vec![format!("issuer {}", requester.issuer)];
    for name in ["repository", "repository_id", "ref", "event_name", "sub"] {
        if let Some(value) = requester.claim(name) {
            seen.push(format!("{name} {value}"));
        }
    }
    if requester.claims.contains_key("act") {
        seen.push("act, so that acts_for of a rule has to say who is behind it".to_owned());
    }
    seen.join(", ")
}

/// The name of the revision that an approval creates: known before, and unlike any other.
///
/// At most 62 of the 63 characters that Cloud Run allows: the service's 49, a hyphen and 12 of
/// the approval's random letters (60 bits).
pub fn revision_name(service: &ServiceName, id: &ApprovalId) -> String {
    format!("{}-{}", service.service(), &id.as_str()[4..16])
}

/// The letters of its approval in the name of a revision that has the form of those that approvals create.
pub fn letters_of_revision<'a>(service: &ServiceName, revision: &'a str) -> Option<&'a str> {
    let letters = revision.strip_prefix(service.service())?.strip_prefix('-')?;
    (letters.len() == 12 && letters.bytes().all(|byte| byte.is_ascii_alphanumeric()))
        .then_some(letters)
}
