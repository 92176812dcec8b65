//! What GitHub is shown of an approval: deployment, check run, comment, each with the way to find it again
//! after a call whose outcome is not known.

use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::app::{AppError, GitHubApp};

/// GitHub's word for what a deployment does; ours differs from Actions' own `deploy`, by which each finds its own.
pub const TASK: &str = "deploy:countersign";
/// The most that one page holds. A commit with more deployments of ours than that is made a new one.
const PAGE: &str = "per_page=100";
/// How many pages of comments are looked through for ours: a thousand comments.
const MOST_PAGES: u32 = 10;

#[derive(Deserialize)]
struct Numbered {
    id: u64,
}

#[derive(Deserialize)]
struct DeploymentAnswer {
    id: u64,
    #[serde(default)]
    payload: Value,
}

#[derive(Deserialize)]
struct StatusAnswer {
    state: String,
    #[serde(default)]
    description: Option<String>,
}

#[derive(Deserialize)]
struct CheckRuns {
    check_runs: Vec<CheckRunAnswer>,
}

#[derive(Deserialize)]
struct CheckRunAnswer {
    id: u64,
    #[serde(default)]
    external_id: Option<String>,
    app: Option<Numbered>,
}

#[derive(Deserialize)]
struct CommentAnswer {
    id: u64,
    #[serde(default)]
    body: String,
    performed_via_github_app: Option<Numbered>,
}

#[derive(Deserialize)]
struct PullAnswer {
    number: u64,
    state: String,
    base: PullBase,
}

#[derive(Deserialize)]
struct PullBase {
    repo: Numbered,
}

impl GitHubApp {
    /// Makes a deployment ("Create a deployment"), which says in its payload whose it is.
    pub async fn create_deployment(
        &self,
        repository: u64,
        sha: &str,
        environment: &str,
        approval: &str,
        description: &str,
    ) -> Result<u64, AppError> {
        let body = json!({
            "ref": sha,
            "task": TASK,
            "environment": environment,
            "description": description,
            "payload": {"countersign": approval},
            // What ships is this commit, and a person decides: nothing is merged, no check is waited for.
            "auto_merge": false,
            "required_contexts": [],
        });
        let made: Numbered = self.send(repository, Method::POST, "/deployments", &body).await?;
        Ok(made.id)
    }

    /// The deployment of an approval, if there is one.
    pub async fn find_deployment(
        &self,
        repository: u64,
        sha: &str,
        approval: &str,
    ) -> Result<Option<u64>, AppError> {
        let path = format!("/deployments?sha={sha}&task={TASK}&{PAGE}");
        let found: Vec<DeploymentAnswer> = self.get(repository, &path).await?;
        let ours = found.into_iter().find(|one| match &one.payload {
            // GitHub gives a payload back as it was sent, and has been seen to give its text.
            Value::String(text) => text.contains(approval),
            payload => payload["countersign"] == approval,
        });
        Ok(ours.map(|one| one.id))
    }

    /// Adds a status to a deployment ("Create a deployment status").
    pub async fn create_status(
        &self,
        repository: u64,
        deployment: u64,
        status: &Value,
    ) -> Result<(), AppError> {
        let path = format!("/deployments/{deployment}/statuses");
        let _: Numbered = self.send(repository, Method::POST, &path, status).await?;
        Ok(())
    }

    /// The newest status of a deployment: its state and description.
    pub async fn newest_status(
        &self,
        repository: u64,
        deployment: u64,
    ) -> Result<Option<(String, String)>, AppError> {
        let path = format!("/deployments/{deployment}/statuses?per_page=1");
        let found: Vec<StatusAnswer> = self.get(repository, &path).await?;
        let newest = found.into_iter().next();
        Ok(newest.map(|one| (one.state, one.description.unwrap_or_default())))
    }

    /// Makes a check run ("Create a check run").
    pub async fn create_check_run(&self, repository: u64, run: &Value) -> Result<u64, AppError> {
        let made: Numbered = self.send(repository, Method::POST, "/check-runs", run).await?;
        Ok(made.id)
    }

    /// Changes a check run ("Update a check run"). The same change again changes nothing.
    pub async fn update_check_run(
        &self,
        repository: u64,
        id: u64,
        run: &Value,
    ) -> Result<(), AppError> {
        let path = format!("/check-runs/{id}");
        let _: Numbered = self.send(repository, Method::PATCH, &path, run).await?;
        Ok(())
    }

    /// The App's own check run of an approval, if there is one.
    pub async fn find_check_run(
        &self,
        repository: u64,
        sha: &str,
        approval: &str,
    ) -> Result<Option<u64>, AppError> {
        let path = format!("/commits/{sha}/check-runs?app_id={}&filter=all&{PAGE}", self.id);
        let found: CheckRuns = self.get(repository, &path).await?;
        let ours = found.check_runs.into_iter().find(|run| {
            run.external_id.as_deref() == Some(approval) && self.is_own(run.app.as_ref())
        });
        Ok(ours.map(|run| run.id))
    }

    /// The pull request of this repository that a commit came with, an open one first.
    pub async fn pull_of(&self, repository: u64, sha: &str) -> Result<Option<u64>, AppError> {
        let path = format!("/commits/{sha}/pulls?{PAGE}");
        let mut found: Vec<PullAnswer> = self.get(repository, &path).await?;
        found.retain(|pull| pull.base.repo.id == repository);
        found.sort_by_key(|pull| (pull.state != "open", std::cmp::Reverse(pull.number)));
        Ok(found.first().map(|pull| pull.number))
    }

    /// Writes a comment ("Create an issue comment").
    pub async fn create_comment(
        &self,
        repository: u64,
        pull: u64,
        text: &str,
    ) -> Result<u64, AppError> {
        let path = format!("/issues/{pull}/comments");
        let made: Numbered =
            self.send(repository, Method::POST, &path, &json!({"body": text})).await?;
        Ok(made.id)
    }

    /// Writes a comment anew ("Update an issue comment"). The same text again changes nothing.
    pub async fn update_comment(
        &self,
        repository: u64,
        comment: u64,
        text: &str,
    ) -> Result<(), AppError> {
        let path = format!("/issues/comments/{comment}");
        let _: Numbered =
            self.send(repository, Method::PATCH, &path, &json!({"body": text})).await?;
        Ok(())
    }

    /// The App's own comment with this mark, if there is one.
    pub async fn find_comment(
        &self,
        repository: u64,
        pull: u64,
        mark: &str,
    ) -> Result<Option<u64>, AppError> {
        for page in 1..=MOST_PAGES {
            let path = format!("/issues/{pull}/comments?{PAGE}&page={page}");
            let found: Vec<CommentAnswer> = self.get(repository, &path).await?;
            let is_last = found.len() < 100;
            let ours = found.into_iter().find(|one| {
                one.body.contains(mark) && self.is_own(one.performed_via_github_app.as_ref())
            });
            if ours.is_some() || is_last {
                return Ok(ours.map(|one| one.id));
            }
        }
        Ok(None)
    }

    fn is_own(&self, app: Option<&Numbered>) -> bool {
        app.is_some_and(|app| app.id == self.id)
    }
}
