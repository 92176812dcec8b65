//! The calls about worker pools: as those about services, with shares of the instances where a service has shares of
//! the traffic, and without tags. How many instances there are is no part of a revision, so that no mask names it.

use google_cloud_run_v2::model::{
    InstanceSplit, InstanceSplitAllocationType, WorkerPool, WorkerPoolRevisionTemplate,
};
use google_cloud_wkt::FieldMask;

use super::error::{Attempt, CloudRunError};
use super::{Change, Clients, STEP_ANNOTATION, call_once, found, observed};
use crate::domain::observation::{ObservedService, TrafficShare};
use crate::domain::service::ServiceName;

pub(super) async fn observe(
    clients: &Clients,
    attempt: &Attempt<'_>,
) -> Result<Option<ObservedService>, CloudRunError> {
    let found = read(clients, attempt).await?;
    let observed = found.as_ref().map(observed::worker_pool).transpose();
    observed.map_err(|problem| attempt.unknown(&problem))
}

async fn read(
    clients: &Clients,
    attempt: &Attempt<'_>,
) -> Result<Option<WorkerPool>, CloudRunError> {
    let call = clients.worker_pools.get_worker_pool().set_name(attempt.resource).send();
    found(call_once(attempt, call).await?, attempt)
}

pub(super) async fn create(
    clients: &Clients,
    attempt: &Attempt<'_>,
    name: &ServiceName,
    change: Change<'_>,
) -> Result<(), CloudRunError> {
    let call = clients
        .worker_pools
        .create_worker_pool()
        .set_parent(name.parent())
        .set_worker_pool_id(name.service())
        .set_worker_pool(changed(change, attempt)?)
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
    let mask = change.mask("instance_splits");
    let pool = changed(change, attempt)?.set_name(attempt.resource).set_etag(etag);
    let call = clients.worker_pools.update_worker_pool().set_worker_pool(pool);
    let call = call.set_update_mask(mask).send();
    call_once(attempt, call).await?.map_err(|error| attempt.failed(&error))?;
    Ok(())
}

/// As [`super::CloudRun::try_change`].
pub(super) async fn try_change(
    clients: &Clients,
    attempt: &Attempt<'_>,
) -> Result<bool, CloudRunError> {
    let Some(mut pool) = read(clients, attempt).await? else { return Ok(false) };
    pool.annotations.insert(STEP_ANNOTATION.to_owned(), "trial".to_owned());
    if let Some(template) = &mut pool.template {
        // The name is taken; the rollout gives its own.
        template.revision.clear();
    }
    let call = clients
        .worker_pools
        .update_worker_pool()
        .set_worker_pool(pool)
        .set_update_mask(FieldMask::default().set_paths(["template", "annotations"]))
        .set_validate_only(true);
    call_once(attempt, call.send()).await?.map_err(|error| attempt.failed(&error))?;
    Ok(true)
}

fn changed(change: Change<'_>, attempt: &Attempt<'_>) -> Result<WorkerPool, CloudRunError> {
    // Nobody can ask for one; what was signed is never quietly left out.
    if let Some(tag) = change.tags.first() {
        let problem = format!("a worker pool has no tags, and {} is asked for", tag.tag);
        return Err(attempt.refused(&problem));
    }
    Ok(WorkerPool::new()
        .set_or_clear_template(change.template::<WorkerPoolRevisionTemplate>(attempt)?)
        .set_instance_splits(instance_splits(change.shares))
        .set_annotations(change.annotations))
}

fn instance_splits(shares: &[TrafficShare]) -> Vec<InstanceSplit> {
    let split = |share: &TrafficShare| {
        InstanceSplit::new()
            .set_type(InstanceSplitAllocationType::Revision)
            .set_revision(&share.revision)
            .set_percent(i32::from(share.percent))
    };
    shares.iter().map(split).collect()
}
