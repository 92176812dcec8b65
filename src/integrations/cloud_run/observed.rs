//! What the official client's answers say, in the words of the domain.

use std::collections::{BTreeMap, HashMap};

use google_cloud_run_v2::model::condition::State;
use google_cloud_run_v2::model::{
    Condition, Revision, Service, TrafficTarget, TrafficTargetAllocationType,
};

use jiff::Timestamp;

use super::template::{is_reserved, observed_template};
use crate::domain::observation::{
    ListedRevision, ObservedRevision, ObservedService, Readiness, TagAddress, TrafficShare,
    TrafficTag,
};

/// The service, or why the answer cannot be relied on.
pub(super) fn service(service: &Service) -> Result<ObservedService, String> {
    if service.uid.is_empty() || service.etag.is_empty() || service.generation == 0 {
        return Err("the answer has no uid, etag or generation".to_owned());
    }
    let template = service.template.as_ref().ok_or("the answer has no template")?;
    let template = observed_template(template).map_err(|error| error.to_string())?;
    // "Latest" means the newest revision that can serve; before there is one, the newest.
    let latest = match service.latest_ready_revision.as_str() {
        "" => &service.latest_created_revision,
        ready => ready,
    };
    let statuses = service.traffic_statuses.iter();
    let serving = statuses.map(|status| Target {
        revision: resolved(&status.r#type, &status.revision, latest),
        percent: status.percent,
        tag: &status.tag,
    });
    let everything =
        [TrafficTarget::new().set_type(TrafficTargetAllocationType::Latest).set_percent(100)];
    let targets = if service.traffic.is_empty() { &everything[..] } else { &service.traffic };
    let wanted: Vec<Target<'_>> = targets
        .iter()
        .map(|target| Target {
            revision: resolved(&target.r#type, &target.revision, latest),
            percent: target.percent,
            tag: &target.tag,
        })
        .collect();
    Ok(ObservedService {
        uid: service.uid.clone(),
        generation: service.generation,
        etag: service.etag.clone(),
        readiness: service_readiness(service),
        serving: shares(serving)?,
        tags: tags(&wanted),
        tag_addresses: tag_addresses(service, latest),
        wanted: shares(wanted.into_iter())?,
        template,
        latest_created_revision: short_name(&service.latest_created_revision).to_owned(),
        annotations: annotations(&service.annotations),
        uri: service.uri.clone(),
        last_modifier: service.last_modifier.clone(),
    })
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

/// A target of traffic, asked for or in effect.
struct Target<'a> {
    revision: &'a str,
    percent: i32,
    tag: &'a str,
}

fn resolved<'a>(kind: &TrafficTargetAllocationType, revision: &'a str, latest: &'a str) -> &'a str {
    let is_latest = *kind == TrafficTargetAllocationType::Latest || revision.is_empty();
    short_name(if is_latest { latest } else { revision })
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
        _ => Err(format!("the answer gives {revision} {percent} percent of the traffic")),
    };
    by_revision.into_iter().map(share).collect()
}

/// Where the tags lead to that are in effect.
fn tag_addresses(service: &Service, latest: &str) -> BTreeMap<String, TagAddress> {
    let tagged = service.traffic_statuses.iter().filter(|status| !status.tag.is_empty());
    let tagged = tagged.map(|status| {
        let revision = resolved(&status.r#type, &status.revision, latest).to_owned();
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

fn service_readiness(service: &Service) -> Readiness {
    if service.reconciling || service.observed_generation != service.generation {
        return Readiness::Reconciling;
    }
    readiness(service.terminal_condition.as_ref(), &service.conditions)
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
