//! The calls about services.

use google_cloud_run_v2::model::{
    RevisionTemplate, Service, TrafficTarget, TrafficTargetAllocationType,
};
use google_cloud_wkt::FieldMask;

use super::error::{Attempt, CloudRunError};
use super::{Change, Clients, STEP_ANNOTATION, call_once, found, observed};
use crate::domain::observation::{ObservedService, TrafficShare, TrafficTag};
use crate::domain::service::ServiceName;

pub(super) async fn observe(
    clients: &Clients,
    attempt: &Attempt<'_>,
) -> Result<Option<ObservedService>, CloudRunError> {
    let found = read(clients, attempt).await?;
    let observed = found.as_ref().map(observed::service).transpose();
    observed.map_err(|problem| attempt.unknown(&problem))
}

async fn read(clients: &Clients, attempt: &Attempt<'_>) -> Result<Option<Service>, CloudRunError> {
    let call = clients.services.get_service().set_name(attempt.resource).send();
    found(call_once(attempt, call).await?, attempt)
}

pub(super) async fn create(
    clients: &Clients,
    attempt: &Attempt<'_>,
    name: &ServiceName,
    change: Change<'_>,
) -> Result<(), CloudRunError> {
    let call = clients
        .services
        .create_service()
        .set_parent(name.parent())
        .set_service_id(name.service())
        .set_service(changed(change, attempt)?)
        .send();
    call_once(attempt, call).await?.map_err(|error| attempt.failed(&error))?;
    Ok(())
}

pub(super) async fn patch(
    clients: &Clients,
    attempt: &Attempt<'_>,
    etag: &str,
    change: Change<'_>,
) -> Result<(), CloudRunError> {
    let mask = change.mask("traffic");
    let service = changed(change, attempt)?.set_name(attempt.resource).set_etag(etag);
    let call = clients.services.update_service().set_service(service).set_update_mask(mask);
    call_once(attempt, call.send()).await?.map_err(|error| attempt.failed(&error))?;
    Ok(())
}

/// As [`super::CloudRun::try_change`].
pub(super) async fn try_change(
    clients: &Clients,
    attempt: &Attempt<'_>,
) -> Result<bool, CloudRunError> {
    let Some(mut service) = read(clients, attempt).await? else { return Ok(false) };
    service.annotations.insert(STEP_ANNOTATION.to_owned(), "trial".to_owned());
    if let Some(template) = &mut service.template {
        // The name is taken; the rollout gives its own.
        template.revision.clear();
    }
    let call = clients
        .services
        .update_service()
        .set_service(service)
        .set_update_mask(FieldMask::default().set_paths(["template", "annotations"]))
        .set_validate_only(true);
    call_once(attempt, call.send()).await?.map_err(|error| attempt.failed(&error))?;
    Ok(true)
}

fn changed(change: Change<'_>, attempt: &Attempt<'_>) -> Result<Service, CloudRunError> {
    Ok(Service::new()
        .set_or_clear_template(change.template::<RevisionTemplate>(attempt)?)
        .set_traffic(traffic_targets(change.shares, change.tags))
        .set_annotations(change.annotations))
}

/// Explicit traffic by revision. Tags stay where they are, each as a target without a share: they
/// are public addresses, and a change of the traffic that leaves them out would take them away. One
/// that followed the latest revision stays on the revision that it names now, because the new one
/// must not get an address that nobody signed.
fn traffic_targets(shares: &[TrafficShare], tags: &[TrafficTag]) -> Vec<TrafficTarget> {
    let to = |revision: &str| {
        TrafficTarget::new().set_type(TrafficTargetAllocationType::Revision).set_revision(revision)
    };
    let shares =
        shares.iter().map(|share| to(&share.revision).set_percent(i32::from(share.percent)));
    let tags = tags.iter().map(|tag| to(&tag.revision).set_tag(&tag.tag));
    shares.chain(tags).collect()
}
