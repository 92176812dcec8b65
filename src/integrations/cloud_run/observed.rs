//! What the official client's answers say, in the words of the domain.

use std::collections::{BTreeMap, HashMap};

use google_cloud_run_v2::model::condition::State;
use google_cloud_run_v2::model::{
    Condition, InstanceSplitAllocationType, Revision, Service, TrafficTargetAllocationType,
    WorkerPool,
};

use jiff::Timestamp;

use super::template::{is_reserved, observed_template};
use crate::domain::observation::{
    ListedRevision, ObservedRevision, ObservedService, Readiness, TagAddress, TrafficShare,
    TrafficTag,
};
use crate::domain::service::ServiceKind;

/// The service, or why the answer cannot be relied on.
pub(super) fn service(service: &Service) -> Result<ObservedService, String> {
    let template = service.template.as_ref().ok_or(NO_TEMPLATE)?;
    let template = observed_template(ServiceKind::Service, template);
    let latest = latest(&service.latest_ready_revision, &service.latest_created_revision);
    let statuses = service.traffic_statuses.iter();
    let serving = statuses.map(|status| Target {
        revision: resolved(is_latest(&status.r#type), &status.revision, latest),
        percent: status.percent,
        tag: &status.tag,
    });
    let wanted = service.traffic.iter().map(|target| Target {
        revision: resolved(is_latest(&target.r#type), &target.revision, latest),
        percent: target.percent,
        tag: &target.tag,
    });
    let wanted = or_everything(wanted.collect(), latest);
    checked(ObservedService {
        uid: service.uid.clone(),
        generation: service.generation,
        etag: service.etag.clone(),
        readiness: match service.reconciling || service.observed_generation != service.generation {
            true => Readiness::Reconciling,
            false => readiness(service.terminal_condition.as_ref(), &service.conditions),
        },
        serving: shares(serving)?,
        tags: tags(&wanted),
        tag_addresses: tag_addresses(service, latest),
        wanted: shares(wanted.into_iter())?,
        template: template.map_err(|error| error.to_string())?,
        latest_created_revision: short_name(&service.latest_created_revision).to_owned(),
        annotations: annotations(&service.annotations),
        uri: service.uri.clone(),
        last_modifier: service.last_modifier.clone(),
    })
}

/// The worker pool, or why the answer cannot be relied on. It has no addresses.
pub(super) fn worker_pool(pool: &WorkerPool) -> Result<ObservedService, String> {
    let template = pool.template.as_ref().ok_or(NO_TEMPLATE)?;
    let template = observed_template(ServiceKind::WorkerPool, template);
    let latest = latest(&pool.latest_ready_revision, &pool.latest_created_revision);
    let target = |kind: &InstanceSplitAllocationType, revision, percent| Target {
        revision: resolved(*kind == InstanceSplitAllocationType::Latest, revision, latest),
        percent,
        tag: "",
    };
    let serving = pool.instance_split_statuses.iter();
    let serving = serving.map(|one| target(&one.r#type, &one.revision, one.percent));
    let wanted = pool.instance_splits.iter();
    let wanted = wanted.map(|one| target(&one.r#type, &one.revision, one.percent));
    checked(ObservedService {
        uid: pool.uid.clone(),
        generation: pool.generation,
        etag: pool.etag.clone(),
        readiness: match pool.reconciling || pool.observed_generation != pool.generation {
            true => Readiness::Reconciling,
            false => readiness(pool.terminal_condition.as_ref(), &pool.conditions),
        },
        serving: shares(serving)?,
        wanted: shares(or_everything(wanted.collect(), latest).into_iter())?,
        tags: Vec::new(),
        tag_addresses: BTreeMap::new(),
        template: template.map_err(|error| error.to_string())?,
        latest_created_revision: short_name(&pool.latest_created_revision).to_owned(),
        annotations: annotations(&pool.annotations),
        uri: String::new(),
        last_modifier: pool.last_modifier.clone(),
    })
}

const NO_TEMPLATE: &str = "the answer has no template";

fn checked(observed: ObservedService) -> Result<ObservedService, String> {
    if observed.uid.is_empty() || observed.etag.is_empty() || observed.generation == 0 {
        return Err("the answer has no uid, etag or generation".to_owned());
    }
    Ok(observed)
}

/// "Latest" means the newest revision that can serve; before there is one, the newest.
fn latest<'a>(ready: &'a str, created: &'a str) -> &'a str {
    if ready.is_empty() { created } else { ready }
}

fn is_latest(kind: &TrafficTargetAllocationType) -> bool {
    *kind == TrafficTargetAllocationType::Latest
}

/// Where nothing is asked for, everything goes to the latest revision.
fn or_everything<'a>(targets: Vec<Target<'a>>, latest: &'a str) -> Vec<Target<'a>> {
    if targets.is_empty() {
        return vec![Target { revision: short_name(latest), percent: 100, tag: "" }];
    }
    targets
}

/// The revision.
pub(super) fn revision(revision: &Revision) -> ObservedRevision {
    let main = revision.containers.iter().position(|container| !container.ports.is_empty());
    let main = revision.containers.get(main.unwrap_or(0));
    ObservedRevision {
        name: short_name(&revision.name).to_owned(),
        image: main.map(|container| container.image.clone()).unwrap_or_default(),
        readiness: revision_readiness(revision),
        annotations: annotations(&revision.annotations),
    }
}

/// The revision as a list shows it, or why the answer cannot be relied on.
pub(super) fn listed(revision: &Revision) -> Result<ListedRevision, String> {
    let name = short_name(&revision.name).to_owned();
    let created = revision.create_time.as_ref();
    let created = created.and_then(|at| Timestamp::new(at.seconds(), at.nanos()).ok());
    let created_at =
        created.ok_or_else(|| format!("the answer has no time at which {name} was created"))?;
    Ok(ListedRevision { name, created_at, creator: revision.creator.clone() })
}

/// A target of traffic or of instances, asked for or in effect.
struct Target<'a> {
    revision: &'a str,
    percent: i32,
    tag: &'a str,
}

fn resolved<'a>(is_latest: bool, revision: &'a str, latest: &'a str) -> &'a str {
    short_name(if is_latest || revision.is_empty() { latest } else { revision })
}

/// Shares by revision, in the order of their names, without those of zero percent.
fn shares<'a>(targets: impl Iterator<Item = Target<'a>>) -> Result<Vec<TrafficShare>, String> {
    let mut by_revision: BTreeMap<&str, i32> = BTreeMap::new();
    for target in targets.filter(|target| target.percent != 0) {
        let sum = by_revision.entry(target.revision).or_default();
        *sum = sum.saturating_add(target.percent);
    }
    let share = |(revision, percent): (&str, i32)| match u8::try_from(percent) {
        Ok(percent @ 0..=100) => Ok(TrafficShare { revision: revision.to_owned(), percent }),
        _ => Err(format!("the answer gives {revision} a share of {percent} percent")),
    };
    by_revision.into_iter().map(share).collect()
}

/// Where the tags lead to that are in effect.
fn tag_addresses(service: &Service, latest: &str) -> BTreeMap<String, TagAddress> {
    let tagged = service.traffic_statuses.iter().filter(|status| !status.tag.is_empty());
    let tagged = tagged.map(|status| {
        let is_latest = is_latest(&status.r#type);
        let revision = resolved(is_latest, &status.revision, latest).to_owned();
        (status.tag.clone(), TagAddress { revision, uri: status.uri.clone() })
    });
    tagged.collect()
}

fn tags(targets: &[Target<'_>]) -> Vec<TrafficTag> {
    let tagged = targets.iter().filter(|target| !target.tag.is_empty());
    let mut tags: Vec<TrafficTag> = tagged
        .map(|target| TrafficTag {
            tag: target.tag.to_owned(),
            revision: target.revision.to_owned(),
        })
        .collect();
    tags.sort();
    tags
}

fn revision_readiness(revision: &Revision) -> Readiness {
    if revision.reconciling || revision.observed_generation != revision.generation {
        return Readiness::Reconciling;
    }
    let ready = revision.conditions.iter().find(|condition| condition.r#type == "Ready");
    readiness(ready, &revision.conditions)
}

/// The readiness that a terminal condition tells; without one that ended, the change goes on.
pub(super) fn readiness(terminal: Option<&Condition>, all: &[Condition]) -> Readiness {
    match terminal.map(|condition| (&condition.state, condition)) {
        Some((State::ConditionSucceeded, _)) => Readiness::Ready,
        Some((State::ConditionFailed, condition)) => {
            let failed = all.iter().filter(|other| other.state == State::ConditionFailed);
            let messages = std::iter::once(condition).chain(failed).map(|other| &other.message);
            let message = messages.into_iter().find(|message| !message.is_empty());
            Readiness::Failed(message.map_or_else(
                || "Cloud Run says that it failed and not why; its logs may".to_owned(),
                Clone::clone,
            ))
        }
        _ => Readiness::Reconciling,
    }
}

/// Without the platform's own, which no caller may write back.
pub(super) fn annotations(all: &HashMap<String, String>) -> BTreeMap<String, String> {
    let own = all.iter().filter(|(key, _)| !is_reserved(key));
    own.map(|(key, value)| (key.clone(), value.clone())).collect()
}

pub(super) fn short_name(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}
