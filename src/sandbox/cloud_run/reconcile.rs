//! Reconciling: what was asked for takes effect when its time has come.
//!
//! Nothing runs in the background: whoever looks at the state first settles what is due. So the
//! sandbox's clock alone decides, and a restart in between changes nothing.

use jiff::Timestamp;
use serde_json::Value;

use super::state::{Health, Service, State};
use super::{operation, render, traffic};

/// Puts every change into effect that is due, and answers whether there was any. The addresses of tags begin
/// with `tags`, or are those that Cloud Run gives.
pub fn settle(state: &mut State, now: Timestamp, tags: Option<&str>) -> bool {
    let is_due = |service: &Service| {
        let due = service.pending.as_ref().and_then(|pending| pending.due);
        due.is_some_and(|due| due <= now)
    };
    let due: Vec<String> = state
        .services
        .iter()
        .filter(|(_, service)| is_due(service))
        .map(|(name, _)| name.clone())
        .collect();
    for name in &due {
        settle_service(state, name, tags);
    }
    !due.is_empty()
}

fn settle_service(state: &mut State, name: &str, tags: Option<&str>) {
    let Some(mut service) = state.services.remove(name) else { return };
    let Some(pending) = service.pending.take() else { return };
    service.version = state.next();
    let at = pending.due.unwrap_or(service.updated);
    if pending.deletes {
        let mut last = render::service(&service);
        last["deleteTime"] = Value::String(super::schema::rfc3339(at));
        for operation in &pending.operations {
            operation::end(state, operation, &last, None);
        }
        return;
    }
    settle_revisions(&mut service, at);
    settle_routes(&mut service, tags);
    service.observed_generation = service.generation;
    service.transition = at;
    let rendered = render::service(&service);
    let failure = failure(&service).map(str::to_owned);
    for operation in &pending.operations {
        operation::end(state, operation, &rendered, failure.as_deref());
    }
    state.services.insert(name.to_owned(), service);
}

/// Why the service as a whole is not ready, once it is settled. As in Knative, a newest revision
/// that failed keeps the service failed even if all traffic goes to a sound one.
pub fn failure(service: &Service) -> Option<&str> {
    [&service.configuration, &service.routes].into_iter().find_map(|health| match health {
        Health::Failed(message) => Some(message.as_str()),
        _ => None,
    })
}

fn settle_revisions(service: &mut Service, at: Timestamp) {
    let version = service.version;
    for revision in service.revisions.values_mut() {
        if revision.health == Health::Reconciling {
            revision.health = revision.fails.clone().map_or(Health::Ready, Health::Failed);
            revision.updated = at;
            revision.version = version;
        }
    }
    let latest = service.latest_created.as_ref().and_then(|id| service.revisions.get(id));
    match latest.map(|latest| (latest.id.clone(), latest.health.clone())) {
        Some((id, Health::Failed(problem))) => {
            let message =
                format!("Revision '{id}' is not ready and cannot serve traffic. {problem}");
            service.configuration = Health::Failed(message);
        }
        Some((id, _)) => {
            service.latest_ready = Some(id);
            service.configuration = Health::Ready;
        }
        None => service.configuration = Health::Failed("The newest revision is gone.".to_owned()),
    }
}

/// Moves the traffic, if every revision that it should go to is ready; it stays otherwise.
fn settle_routes(service: &mut Service, tags: Option<&str>) {
    let targets = traffic::targets(service.name.family, &mut service.spec);
    let problem = targets.iter().find_map(|target| unready(service, target));
    if let Some(problem) = problem {
        service.routes = Health::Failed(problem);
        return;
    }
    service.traffic_statuses = traffic::statuses(&targets, &render::uri(&service.name), tags);
    service.routes = Health::Ready;
}

fn unready(service: &Service, target: &Value) -> Option<String> {
    let named = target["revision"].as_str();
    let id = named.or(service.latest_ready.as_deref());
    let Some(id) = id else { return Some("No revision is ready to serve traffic.".to_owned()) };
    match service.revisions.get(id).map(|revision| &revision.health) {
        Some(Health::Ready) => None,
        Some(_) => Some(format!("Revision '{id}' is not ready and cannot serve traffic.")),
        None => Some(format!("Revision '{id}' does not exist.")),
    }
}
