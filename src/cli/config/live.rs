//! `countersign config check --live`: whether Cloud Run would let the gate roll out.
//!
//! Per covered service and job: it is read, the permissions are asked for, and a change is tried with
//! `validateOnly`. Nothing is changed and nothing runs by any of it.

use std::fmt::Write as _;

use crate::config::Config;
use crate::domain::job::JobName;
use crate::domain::observation::{ObservedJob, ObservedService, TrafficShare};
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

/// What an approval of a job needs on it.
const NEEDED_OF_JOBS: [&str; 4] =
    ["run.jobs.get", "run.jobs.update", "run.jobs.run", "run.executions.get"];

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

/// Asks about every service and every job of every environment, one after the other.
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
        for job in &policy.jobs {
            let _ = writeln!(report.text, "    {job}");
            match cloud_run.observe_job(job).await {
                Ok(Some(observed)) => examine_job(&cloud_run, job, &observed, &mut report).await,
                Ok(None) => report.bad(
                    "does not exist, and the gate creates no jobs: nobody can ask for it until somebody else has created it",
                ),
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
    let missing = cloud_run.missing_permissions(service, &needed).await;
    tell_permissions(missing, service.kind().noun(), &needed, report);
    if let Some(share) = observed.serving.first()
        && let Err(error) = cloud_run.observe_revision(service, &share.revision).await
    {
        report.bad(&error.to_string());
    }
    tell_trial(cloud_run.try_change(service).await, service.as_str(), report);
}

async fn examine_job(
    cloud_run: &CloudRun,
    job: &JobName,
    observed: &ObservedJob,
    report: &mut Report,
) {
    let last = observed.last_execution();
    report.good(&match last {
        Some(name) => format!("is read: its last execution is {name}"),
        None => "is read: it has not run yet".to_owned(),
    });
    let missing = cloud_run.missing_job_permissions(job, &NEEDED_OF_JOBS).await;
    tell_permissions(missing, "job", &NEEDED_OF_JOBS, report);
    if let Some(name) = last
        && let Err(error) = cloud_run.observe_execution(job, name).await
    {
        report.bad(&error.to_string());
    }
    tell_trial(cloud_run.try_job_change(job).await, job.as_str(), report);
}

fn tell_permissions(
    missing: Result<Vec<&'static str>, CloudRunError>,
    what: &str,
    needed: &[&str],
    report: &mut Report,
) {
    let needed = needed.join(", ");
    match missing {
        Ok(missing) if missing.is_empty() => report.good(&format!("the gate has {needed}")),
        Ok(missing) => report.bad(&format!(
            "the gate's account lacks {}: grant it roles/run.developer on this {what}, or a role of your own with {needed}",
            missing.join(", ")
        )),
        Err(error) => report.bad(&error.to_string()),
    }
}

fn tell_trial(tried: Result<bool, CloudRunError>, name: &str, report: &mut Report) {
    match tried {
        Ok(true) => report.good("a change would be accepted (tried with validateOnly)"),
        Ok(false) => {
            report.bad(&format!("{name} was deleted between two looks: run the check again"));
        }
        Err(error @ CloudRunError::Refused(_)) => report.bad(&error.to_string()),
        Err(error) => report.bad(&format!("a change could not be tried: {error}")),
    }
}

fn serving(shares: &[TrafficShare]) -> String {
    if shares.is_empty() {
        return "nothing serves".to_owned();
    }
    let shares: Vec<String> =
        shares.iter().map(|share| format!("{} {} %", share.revision, share.percent)).collect();
    format!("{} serves", shares.join(", "))
}
