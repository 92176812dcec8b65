//! Asks what the signed plan wants to know between two steps.

use std::time::Duration;

use futures::future::join_all;

use crate::domain::check::{Check, CheckOutcome, CheckResult, HttpCheck, Reading};
use crate::domain::deployment::Deployment;
use crate::domain::observation::ObservedService;
use crate::domain::plan::Step;
use crate::worker::Worker;

/// Between two attempts of one check.
const BETWEEN_ATTEMPTS: Duration = Duration::from_secs(1);

/// What the checks of the step with this index find now, in their order. Nothing is changed by asking, so
/// that a crash in between costs no more than asking again.
pub(super) async fn ask(
    worker: &Worker,
    deployment: &Deployment,
    index: usize,
    service: Option<&ObservedService>,
) -> Vec<CheckResult> {
    let Some(step) = deployment.plan.steps.get(index) else { return Vec::new() };
    let number = u32::try_from(index + 1).unwrap_or(u32::MAX);
    let asking = step.checks.iter().map(|check| async move {
        let reading = match check {
            Check::Http(http) => {
                let address = address_of(deployment, step, service);
                probe(worker, check, http, address).await
            }
            Check::Prometheus(_) | Check::CloudMonitoring(_) => {
                let read = worker.outside.metrics.read(check, worker.clock.now()).await;
                read.unwrap_or_else(|| Reading::Nothing("it reads no metrics".to_owned()))
            }
        };
        check.judge(&reading, number, worker.clock.now())
    });
    let results = join_all(asking).await;
    for result in &results {
        let (approval, found) = (&deployment.approval, result.in_words());
        match result.outcome {
            CheckOutcome::Passed => tracing::info!(%approval, step = number, found, "a check"),
            _ => tracing::warn!(%approval, step = number, found, "a check"),
        }
    }
    results
}

/// The address that the step's tag gives the new revision, once it is in effect.
fn address_of<'a>(
    deployment: &Deployment,
    step: &Step,
    service: Option<&'a ObservedService>,
) -> Option<&'a str> {
    let address = service?.tag_addresses.get(step.tag.as_ref()?)?;
    (address.revision == deployment.plan.revision).then_some(address.uri.as_str())
}

/// Asks until an answer passes, or as often as was signed.
async fn probe(worker: &Worker, check: &Check, http: &HttpCheck, address: Option<&str>) -> Reading {
    let Some(address) = address else {
        return Reading::Nothing("Cloud Run shows no address for the tag".to_owned());
    };
    let mut attempt = 1;
    loop {
        let reading = worker.outside.probe.ask(address, http).await;
        let passes = check.judge(&reading, 0, worker.clock.now()).passed();
        if passes || attempt >= http.attempts {
            return reading;
        }
        attempt += 1;
        tokio::time::sleep(BETWEEN_ATTEMPTS).await;
    }
}
