//! What a rollout does next, from what is recorded and what Cloud Run shows.
//!
//! The one function behind the first attempt, the retry and the recovery after a crash: each looks
//! at the world and asks it. It knows nothing of attempts that are not recorded.

mod traffic;

use jiff::{SignedDuration, Timestamp};

use crate::domain::check::CheckResult;
use crate::domain::deployment::{Deployment, Preconditions};
use crate::domain::intervention::Orders;
use crate::domain::observation::{ObservedRevision, ObservedService, Readiness, TrafficShare};
use crate::domain::platform_defaults::template_difference;
use crate::domain::rollout::{Call, Outcome, Progress};
use crate::domain::template::APPROVAL_ANNOTATION;

/// How long Cloud Run may work on one change. Its own limit for a container to start is four
/// minutes (startup probe); what takes twice that is stuck.
pub(in crate::domain) const RECONCILE_PATIENCE: SignedDuration = SignedDuration::from_mins(8);

/// What Cloud Run shows at one moment. The revision is read before the service, so that the service
/// is never older than a revision that is there.
#[derive(Clone, Debug)]
pub struct World {
    /// The service, if there is one.
    pub service: Option<ObservedService>,
    /// The revision that the plan names, if there is one.
    pub revision: Option<ObservedRevision>,
    /// What the checks of the step that is watched found just before, if they were asked.
    pub checks: Option<Vec<CheckResult>>,
    /// When it was looked at.
    pub now: Timestamp,
}

/// What to do next.
#[derive(Clone, PartialEq, Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one at a time, and it is used at once")]
pub enum Action {
    /// Announce this call and make it.
    Make(Call),
    /// Cloud Run works on it: look again in a moment.
    Wait,
    /// The step is watched until this time: look again and again.
    WaitUntil(Timestamp),
    /// The time of the step with this index is over: ask its checks, and look at the world again.
    Check {
        /// Index into the plan's steps, from 0.
        step: usize,
    },
    /// It goes on when somebody has signed that it does: look again and again.
    WaitForPeople,
    /// Nothing is to be called: this is to be written down.
    Write(Change),
}

/// What is written into the ledger after a look at the world.
#[derive(Clone, PartialEq, Debug)]
pub enum Change {
    /// Something that was asked for is in effect, or must be undone: look again after it.
    Record(Progress),
    /// The rollout is over.
    End(Outcome),
}

/// What to do next. Pure: the same records and the same world give the same answer.
pub fn next_action(
    deployment: &Deployment,
    progress: &Progress,
    orders: &Orders,
    world: &World,
) -> Action {
    let rollout = Rollout { deployment, progress, orders, world };
    if let (Some(why), None) = (&orders.restore, &progress.restoring) {
        // The announced call stays on record: whether it still arrives may not be known.
        let (restoring, served_at) = (Some(why.clone()), None);
        return record(Progress { restoring, served_at, ..progress.clone() });
    }
    match (&deployment.preconditions, &world.service) {
        (Preconditions::Absent {}, None) => rollout.create_service(),
        (Preconditions::Present { .. }, None) => rollout.surprised("it was deleted".to_owned()),
        (_, Some(service)) => rollout.of_service(service),
    }
}

/// Everything that the decision rests on.
struct Rollout<'a> {
    deployment: &'a Deployment,
    progress: &'a Progress,
    orders: &'a Orders,
    world: &'a World,
}

impl Rollout<'_> {
    /// The service is to be made and is not there.
    fn create_service(&self) -> Action {
        if self.progress.generation.is_some() {
            return self.surprised("it was deleted".to_owned());
        }
        self.first_call(Call::CreateService {})
    }

    fn first_call(&self, call: Call) -> Action {
        first_call(call, self.progress, self.deployment.expires_at, self.world.now)
    }

    fn of_service(&self, service: &ObservedService) -> Action {
        if let Preconditions::Present { uid, .. } = &self.deployment.preconditions
            && *uid != service.uid
        {
            return self
                .surprised(format!("it was deleted and made anew, by {}", service.last_modifier));
        }
        if let (Some(reason), true) = (&self.progress.restoring, self.orders.overrides) {
            return self.restoring(service, reason);
        }
        if let Some(revision) = &self.world.revision {
            if !self.is_ours(revision) {
                return end(Outcome::NeedsAttention(format!(
                    "a revision {} exists that this approval did not make",
                    revision.name
                )));
            }
            if let Some(reason) = &self.progress.restoring {
                return self.restoring(service, reason);
            }
            return self.of_revision(service, revision);
        }
        if let Some(reason) = &self.progress.restoring {
            return self.restoring(service, reason);
        }
        self.without_revision(service)
    }

    /// Whether the revision is the one that this approval makes: its name is random, its
    /// annotation names the approval, its image is the signed one.
    fn is_ours(&self, revision: &ObservedRevision) -> bool {
        let marked = revision.annotations.get(APPROVAL_ANNOTATION).map(String::as_str);
        marked == Some(self.deployment.approval.as_str())
            && revision.image == self.deployment.image.to_string()
    }

    /// Whether the service's last change with a mark was ours.
    fn is_marked(&self, service: &ObservedService) -> bool {
        service.annotations.get(APPROVAL_ANNOTATION).map(String::as_str)
            == Some(self.deployment.approval.as_str())
    }

    /// The service is there and the new revision is not, so nothing has been changed yet, or the
    /// change is just arriving.
    fn without_revision(&self, service: &ObservedService) -> Action {
        if self.progress.revision_ready {
            return self
                .surprised(format!("the revision {} is gone", self.deployment.plan.revision));
        }
        if self.progress.intent.is_some() && self.is_marked(service) {
            return match &service.readiness {
                Readiness::Failed(why) => self.undo(service, why),
                Readiness::Reconciling | Readiness::Ready if self.is_overdue() => {
                    self.surprised("it took the change, but the new revision never appeared".into())
                }
                Readiness::Reconciling | Readiness::Ready => Action::Wait,
            };
        }
        match &self.deployment.preconditions {
            Preconditions::Absent {} => self.too_late(&format!(
                "it did not exist when this was asked for, and {} has created it since",
                service.last_modifier
            )),
            Preconditions::Present { generation, serving, .. } => {
                let by = &service.last_modifier;
                if service.generation != *generation {
                    return self.too_late(&format!(
                        "it was changed after this was asked for, by {by} (generation {} instead of {generation})",
                        service.generation
                    ));
                }
                if service.serving != *serving {
                    let (now, then) = (in_words(&service.serving), in_words(serving));
                    let what = format!("it serves {now} now, not {then}; {by} changed it last");
                    return self.too_late(&what);
                }
                match service.readiness {
                    Readiness::Reconciling if self.world.now < self.deployment.expires_at => {
                        Action::Wait
                    }
                    _ => self.first_call(Call::CreateRevision {}),
                }
            }
        }
    }

    /// The service changed before our first change took effect. A call of ours that was announced
    /// cannot arrive any more: it names a service or an etag that is not there.
    fn too_late(&self, what: &str) -> Action {
        let service = self.deployment.service.service();
        end(Outcome::Failed(format!("{service} is not as it was: {what}. Nothing was changed")))
    }

    /// The new revision is there.
    fn of_revision(&self, service: &ObservedService, revision: &ObservedRevision) -> Action {
        let progress = self.progress;
        // A revision cannot be changed, but somebody who may deploy could have made one with our name
        // and our mark before us. The service's template is that of its newest revision.
        let signed = &self.deployment.proposed;
        if service.latest_created_revision == self.deployment.plan.revision
            && let Some(path) = template_difference(&service.template, signed)
        {
            return self.surprised(format!("its template is not the signed one at {path}"));
        }
        if !progress.revision_ready {
            return match &revision.readiness {
                Readiness::Failed(why) => self.undo(service, why),
                Readiness::Reconciling if self.is_overdue() => {
                    self.undo(service, "it did not become ready in time")
                }
                Readiness::Reconciling => Action::Wait,
                Readiness::Ready => self.revision_is_ready(service),
            };
        }
        if service.latest_created_revision != self.deployment.plan.revision {
            return self.surprised(format!(
                "{} deployed {} in the middle of the rollout",
                service.last_modifier, service.latest_created_revision
            ));
        }
        if let Readiness::Failed(why) = &revision.readiness {
            return self.fail(why.clone());
        }
        self.traffic(service)
    }

    fn revision_is_ready(&self, service: &ObservedService) -> Action {
        // A new service comes up with everything on its first revision: that is its one step.
        if matches!(self.deployment.preconditions, Preconditions::Absent {}) {
            return self.step_in_effect(service, 0);
        }
        if !self.is_as_left(service) {
            return self.traffic_surprise(service);
        }
        match &service.readiness {
            Readiness::Reconciling if self.is_overdue() => {
                let why = format!("the {} is not ready in time", self.kind().noun());
                return self.undo(service, &why);
            }
            Readiness::Reconciling => return Action::Wait,
            Readiness::Failed(why) => return self.undo(service, why),
            Readiness::Ready => {}
        }
        record(Progress {
            revision_ready: true,
            generation: Some(service.generation),
            intent: None,
            ..self.progress.clone()
        })
    }

    /// Whether the announced call has had all the time that it may take.
    fn is_overdue(&self) -> bool {
        self.progress
            .intent
            .as_ref()
            .is_some_and(|intent| self.world.now.duration_since(intent.at) > RECONCILE_PATIENCE)
    }

    /// The world is not as signed. Before the first change that is a failure that harmed nobody;
    /// after it a person has to look.
    fn surprised(&self, what: String) -> Action {
        let service = self.deployment.service.service();
        let progress = self.progress;
        let untouched = progress.intent.is_none() && progress.generation.is_none();
        end(if untouched {
            Outcome::Failed(format!("{service} is not as it was: {what}. Nothing was changed"))
        } else {
            Outcome::NeedsAttention(format!("{service} is not as this approval left it: {what}"))
        })
    }
}

/// The first change of the world. Its outcome may be unknown from an earlier attempt; what makes the
/// repetition harmless is that Cloud Run lets a name be taken and an etag be used only once.
pub(in crate::domain) fn first_call(
    call: Call,
    progress: &Progress,
    expires_at: Timestamp,
    now: Timestamp,
) -> Action {
    if now < expires_at {
        return Action::Make(call);
    }
    end(match progress.intent {
        None => Outcome::Failed(format!(
            "the approval expired at {expires_at} before the first change could be made"
        )),
        Some(_) => Outcome::NeedsAttention(format!(
            "the approval expired at {expires_at}, and whether the first change will still \
             arrive at Cloud Run is not known"
        )),
    })
}

fn end(outcome: Outcome) -> Action {
    Action::Write(Change::End(outcome))
}

fn record(progress: Progress) -> Action {
    Action::Write(Change::Record(progress))
}

/// Whether two lists give the same shares, in whatever order.
fn same_shares(left: &[TrafficShare], right: &[TrafficShare]) -> bool {
    let sorted = |shares: &[TrafficShare]| {
        let mut shares: Vec<TrafficShare> =
            shares.iter().filter(|share| share.percent > 0).cloned().collect();
        shares.sort();
        shares
    };
    sorted(left) == sorted(right)
}

fn in_words(shares: &[TrafficShare]) -> String {
    let words: Vec<String> =
        shares.iter().map(|share| format!("{} {} %", share.revision, share.percent)).collect();
    if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }
}
