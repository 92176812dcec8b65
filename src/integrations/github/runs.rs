//! Runs of GitHub Actions, and the answer to an environment that waits for the gate.

use http::Method;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use super::app::{AppError, GitHubApp};

/// GitHub takes comments of at most this many characters with an answer.
const LONGEST_COMMENT: usize = 1024;

/// A run, as GitHub's API describes it now.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct Run {
    /// Its number.
    pub id: u64,
    /// Which attempt runs: 1, and one more with each re-run.
    pub run_attempt: u64,
    /// The number in its name, counted by workflow.
    pub run_number: u64,
    /// The commit.
    pub head_sha: String,
    /// The branch, or the tag.
    pub head_branch: Option<String>,
    /// What started it.
    pub event: String,
    /// The workflow file, by its path in the repository.
    pub path: String,
    /// The workflow's name.
    pub name: Option<String>,
    /// What GitHub calls it: the headline of its commit or of its pull request.
    pub display_title: Option<String>,
    /// `waiting` while an environment is to be decided.
    pub status: Option<String>,
    /// Its page.
    pub html_url: String,
    /// When this attempt began.
    pub run_started_at: Option<Timestamp>,
    /// Who started it first.
    pub actor: Option<Account>,
    /// Who started this attempt.
    pub triggering_actor: Option<Account>,
    /// The repository.
    pub repository: RunRepository,
}

/// An account of GitHub.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct Account {
    /// Its number.
    pub id: u64,
    /// Its name now.
    pub login: String,
}

/// The repository of a run.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct RunRepository {
    /// Its number.
    pub id: u64,
    /// `owner/name`.
    pub full_name: String,
    /// Whose it is.
    pub owner: Account,
}

#[derive(Deserialize)]
struct PendingDeployment {
    environment: PendingEnvironment,
}

#[derive(Deserialize)]
struct PendingEnvironment {
    name: Option<String>,
}

impl GitHubApp {
    /// A run as it is now.
    pub async fn run(&self, repository: u64, run: u64) -> Result<Run, AppError> {
        self.get(repository, &format!("/actions/runs/{run}")).await
    }

    /// Whether a run still waits at this environment.
    pub async fn is_waiting(
        &self,
        repository: u64,
        run: u64,
        environment: &str,
    ) -> Result<bool, AppError> {
        let path = format!("/actions/runs/{run}/pending_deployments");
        let pending: Vec<PendingDeployment> = self.get(repository, &path).await?;
        Ok(pending.iter().any(|one| one.environment.name.as_deref() == Some(environment)))
    }

    /// Answers an environment that waits ("Review custom deployment protection rules for a workflow run"). The
    /// address is made of pinned numbers.
    pub async fn answer_rule(
        &self,
        repository: u64,
        run: u64,
        environment: &str,
        approved: bool,
        comment: &str,
    ) -> Result<(), AppError> {
        let path = format!("/actions/runs/{run}/deployment_protection_rule");
        let comment: String = comment.chars().take(LONGEST_COMMENT).collect();
        let state = if approved { "approved" } else { "rejected" };
        let body = json!({"environment_name": environment, "state": state, "comment": comment});
        self.call(repository, Method::POST, &path, Some(&body)).await?;
        Ok(())
    }
}
