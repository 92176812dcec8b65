//! What a rollout ships and who had a hand in it, read when it is asked for, where the environment wants to know.

use std::collections::BTreeSet;

use axum::http::StatusCode;
use serde_json::Value;

use crate::api::problem::Problem;
use crate::app::App;
use crate::domain::observation::ObservedService;
use crate::domain::policy::Policy;
use crate::domain::request::RequestRefusal;
use crate::domain::separation::Shipped;
use crate::domain::service::ServiceName;
use crate::domain::workflow_run::Account;
use crate::gate::served::served_commit;
use crate::integrations::github::commits::{Range, Unattributed};
use crate::integrations::workload_oidc::VerifiedRequester;

/// What ran before, as far as an approval can say which commit that was.
pub(super) enum Before<'a> {
    /// These revisions of a service serve.
    Serves(&'a ServiceName, &'a ObservedService),
    /// No approval says it, and why.
    Unsaid(String),
}

/// Who had a hand in what this request ships; none where nobody asks.
///
/// # Errors
/// If it cannot be said of everybody who they are. Nothing is stored then.
pub(super) async fn shipped_by(
    app: &App,
    policy: &Policy,
    before: Before<'_>,
    verified: &VerifiedRequester,
) -> Result<Option<Shipped>, Problem> {
    if policy.separation.is_none() {
        return Ok(None);
    }
    let unknown = |why: String| RequestRefusal::CommitsUnknown {
        environment: policy.environment.clone(),
        why,
    };
    let named = app.github.as_ref().zip(job_of(app, verified));
    let (github, job) = named.ok_or_else(|| {
        unknown("the token is of no job of GitHub Actions: ask from one".to_owned())
    })?;
    let since = since(app, policy, before, job.repository).await?;
    let range = Range { since, ..job };
    match github.shipped(&range).await {
        Ok(shipped) => Ok(Some(shipped)),
        Err(Unattributed::Unanswered(why)) => {
            tracing::warn!(why, "who had a hand in what is shipped could not be read");
            let detail = format!(
                "Who had a hand in the commits that this ships could not be read at GitHub: {why}. Nothing was stored; try again, and if it stays so, check the token of [github], which has to read contents, pull requests and Actions."
            );
            let problem = Problem::new(StatusCode::BAD_GATEWAY, "github_unreadable", detail);
            Err(Problem { retry_after: Some(10), ..problem })
        }
        Err(refused) => Err(unknown(refused.to_string()).into()),
    }
}

/// The job that asks, if it is one of GitHub Actions.
fn job_of(app: &App, verified: &VerifiedRequester) -> Option<Range> {
    let claim = |name: &str| verified.claim(name).and_then(Value::as_str);
    let number = |name: &str| claim(name)?.parse::<u64>().ok();
    let commit = claim("sha").filter(|sha| is_commit(sha))?.to_owned();
    let range = Range {
        repository: number("repository_id")?,
        since: BTreeSet::new(),
        commit,
        run: (number("run_id")?, number("run_attempt")?),
        actor: Account { id: number("actor_id")?, login: claim("actor")?.to_owned() },
    };
    app.workloads.is_github(verified.issuer_name()).then_some(range)
}

fn is_commit(sha: &str) -> bool {
    sha.len() >= 40 && sha.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The commits that serve: of the approvals whose rollouts made the revisions, or as the environment says.
async fn since(
    app: &App,
    policy: &Policy,
    before: Before<'_>,
    repository: u64,
) -> Result<BTreeSet<String>, Problem> {
    let bases = policy.separation.as_ref().map(|rules| &rules.bases);
    let base = bases.and_then(|bases| bases.get(&repository.to_string()));
    let say = format!(
        "say from which commit on they count, in separation.bases of the environment, for the repository {repository}"
    );
    let unknown = |why: String| RequestRefusal::CommitsUnknown {
        environment: policy.environment.clone(),
        why,
    };
    let (service, observed) = match before {
        Before::Serves(service, observed) => (service, observed),
        Before::Unsaid(why) => {
            let base = base.cloned().ok_or_else(|| unknown(format!("{why}: {say}")))?;
            return Ok(BTreeSet::from([base]));
        }
    };
    let mut since = BTreeSet::new();
    for share in observed.serving.iter().filter(|share| share.percent > 0) {
        let served = served_commit(&app.storage, &app.trust, service, &share.revision).await?;
        let served = served.filter(|one| one.repository == repository && is_commit(&one.commit));
        let why =
            || format!("no approval says which commit {} was made from: {say}", share.revision);
        let commit = served.map(|one| one.commit).or_else(|| base.cloned());
        since.insert(commit.ok_or_else(|| unknown(why()))?);
    }
    Ok(since)
}
