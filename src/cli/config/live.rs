//! `countersign config check --live`: whether Cloud Run would let the gate roll out.
//!
//! Per covered service: it is read, the permissions are asked for, and a change is tried with
//! `validateOnly`. Nothing is changed by any of it.

use std::fmt::Write as _;

use crate::config::Config;
use crate::domain::observation::{ObservedService, TrafficShare};
use crate::domain::service::{ServiceKind, ServiceName};
use crate::integrations::cloud_run::{CloudRun, CloudRunError};

/// What every rollout needs on its service or worker pool, and `countersign audit completeness` of it: the list of
/// its revisions.
fn needed(kind: ServiceKind) -> [&'static str; 4] {
    let [get, update] = match kind {
        ServiceKind::Service => ["run.services.get", "run.services.update"],
        ServiceKind::WorkerPool => ["run.workerpools.get", "run.workerpools.update"],
    };
    [get, update, "run.revisions.get", "run.revisions.list"]
}

/// What was found.
pub struct Report {
    /// One block per environment; a line that begins with `!` is a problem.
    pub text: String,
    /// How many problems.
    pub problems: usize,
}

impl Report {
    fn good(&mut self, sentence: &str) {
        let _ = writeln!(self.text, "      {sentence}");
    }

    fn bad(&mut self, sentence: &str) {
        let _ = writeln!(self.text, "    ! {sentence}");
        self.problems += 1;
    }
}

/// Asks about every service of every environment, one after the other.
pub async fn ask(config: &Config) -> Report {
    let cloud_run = CloudRun::new(config.cloud_run.clone());
    let mut report = Report { text: "\ncloud run, asked just now\n".to_owned(), problems: 0 };
    for (name, policy) in &config.environments {
        let _ = writeln!(report.text, "  environment {name}");
        for service in &policy.services {
            let _ = writeln!(report.text, "    {service}");
            match cloud_run.observe_service(service).await {
                Ok(Some(observed)) => examine(&cloud_run, service, &observed, &mut report).await,
                Ok(None) => report.good(&format!(
                    "does not exist yet: the first approval creates it, for which the gate needs {} in the project; that cannot be tried without a template",
                    match service.kind() {
                        ServiceKind::Service => "run.services.create",
                        ServiceKind::WorkerPool => "run.workerpools.create",
                    }
                )),
                Err(error) => report.bad(&error.to_string()),
            }
        }
    }
    report
}

async fn examine(
    cloud_run: &CloudRun,
    service: &ServiceName,
    observed: &ObservedService,
    report: &mut Report,
) {
    report.good(&format!("is read: {}", serving(&observed.serving)));
    let needed = needed(service.kind());
    match cloud_run.missing_permissions(service, &needed).await {
        Ok(missing) if missing.is_empty() => {
            report.good(&format!("the gate has {}", needed.join(", ")));
        }
        Ok(missing) => report.bad(&format!(
            "the gate's account lacks {}: grant it roles/run.developer on this {}, or a role of your own with {}",
            missing.join(", "),
            service.kind().noun(),
            needed.join(", ")
        )),
        Err(error) => report.bad(&error.to_string()),
    }
    if let Some(share) = observed.serving.first()
        && let Err(error) = cloud_run.observe_revision(service, &share.revision).await
    {
        report.bad(&error.to_string());
    }
    match cloud_run.try_change(service).await {
        Ok(true) => report.good("a change would be accepted (tried with validateOnly)"),
        Ok(false) => report.bad(&gone(service)),
        Err(error @ CloudRunError::Refused(_)) => report.bad(&error.to_string()),
        Err(error) => report.bad(&format!("a change could not be tried: {error}")),
    }
}

fn gone(service: &ServiceName) -> String {
    format!("{service} was deleted between two looks: run the check again")
}

fn serving(shares: &[TrafficShare]) -> String {
    if shares.is_empty() {
        return "nothing serves".to_owned();
    }
    let shares: Vec<String> =
        shares.iter().map(|share| format!("{} {} %", share.revision, share.percent)).collect();
    format!("{} serves", shares.join(", "))
}
