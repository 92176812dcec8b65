//! Commits, how they follow each other, and the pull requests that brought them.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{GitHub, Kept, not_found};

/// An account.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Account {
    id: u64,
    login: String,
}

/// Whoever wrote or committed something: an address, and the account that it is mapped to, if it is.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Someone {
    email: String,
    account: Option<Account>,
}

/// A commit.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Commit {
    repository: u64,
    sha: String,
    #[serde(default)]
    parents: Vec<String>,
    author: Someone,
    committer: Someone,
    #[serde(default)]
    message: String,
}

impl Commit {
    fn view(&self) -> Value {
        let signed = |someone: &Someone| json!({"name": "Somebody", "email": someone.email, "date": "2026-03-02T09:30:00Z"});
        json!({
            "sha": self.sha,
            "html_url": format!("https://github.com/demo/web/commit/{}", self.sha),
            "url": format!("/repositories/{}/commits/{}", self.repository, self.sha),
            "parents": self.parents.iter().map(|sha| json!({"sha": sha})).collect::<Vec<_>>(),
            "author": self.author.account,
            "committer": self.committer.account,
            "commit": {
                "message": self.message,
                "author": signed(&self.author),
                "committer": signed(&self.committer),
            },
        })
    }
}

/// `POST /_sandbox/github/commits`: commits, in the places of those with the same names.
pub(super) async fn add(
    State(github): State<GitHub>,
    Json(commits): Json<Vec<Commit>>,
) -> StatusCode {
    let mut kept = github.kept();
    for commit in commits {
        kept.commits.retain(|one| one.sha != commit.sha);
        kept.commits.push(commit);
    }
    StatusCode::NO_CONTENT
}

/// A commit that nobody added is one of a demo.
pub(super) async fn read(
    State(github): State<GitHub>,
    Path((id, sha)): Path<(String, String)>,
) -> Json<Value> {
    let known = github.kept().commits.iter().find(|commit| commit.sha == sha).map(Commit::view);
    Json(known.unwrap_or_else(|| {
        json!({
            "sha": sha,
            "html_url": format!("https://github.com/demo/web/commit/{sha}"),
            "url": format!("/repositories/{id}/commits/{sha}"),
            "commit": {
                "message": "Send the checkout's address form once\n\nIt was sent twice on slow phones.",
                "author": {"name": "Erin Example", "email": "erin@example.com", "date": "2026-03-02T09:30:00Z"},
            },
        })
    }))
}

#[derive(Deserialize)]
pub(super) struct ListQuery {
    author: Option<String>,
    #[serde(default = "thirty")]
    per_page: usize,
    #[serde(default = "first")]
    page: usize,
}

fn thirty() -> usize {
    30
}

fn first() -> usize {
    1
}

impl ListQuery {
    fn page(&self, values: Vec<Value>) -> Vec<Value> {
        let size = self.per_page.clamp(1, 100);
        values.into_iter().skip(self.page.saturating_sub(1) * size).take(size).collect()
    }
}

/// The commits of an author, by an address.
pub(super) async fn list(
    State(github): State<GitHub>,
    Path(repository): Path<u64>,
    Query(query): Query<ListQuery>,
) -> Json<Vec<Value>> {
    let kept = github.kept();
    let is_theirs = |commit: &&Commit| {
        let address = query.author.as_ref();
        commit.repository == repository
            && address.is_none_or(|one| commit.author.email.eq_ignore_ascii_case(one))
    };
    let found = kept.commits.iter().rev().filter(is_theirs).map(Commit::view).collect();
    Json(query.page(found))
}

impl Kept {
    /// A commit with everything before it; none where one of them is not there.
    fn history(&self, repository: u64, sha: &str) -> Option<BTreeSet<String>> {
        let mut seen = BTreeSet::new();
        let mut next = vec![sha.to_owned()];
        while let Some(sha) = next.pop() {
            if seen.contains(&sha) {
                continue;
            }
            let is_it = |one: &&Commit| one.repository == repository && one.sha == sha;
            next.extend(self.commits.iter().find(is_it)?.parents.iter().cloned());
            seen.insert(sha);
        }
        Some(seen)
    }
}

/// "Compare two commits": what the head has and the base has not, oldest first.
pub(super) async fn compare(
    State(github): State<GitHub>,
    Path((repository, both)): Path<(u64, String)>,
    Query(query): Query<ListQuery>,
) -> Response {
    let kept = github.kept();
    let Some((base, head)) = both.split_once("...") else { return not_found() };
    let histories = kept.history(repository, base).zip(kept.history(repository, head));
    let Some((before, after)) = histories else { return not_found() };
    let ahead = after.difference(&before).count();
    let behind = before.difference(&after).count();
    let status = match (ahead, behind) {
        (0, 0) => "identical",
        (_, 0) => "ahead",
        (0, _) => "behind",
        _ => "diverged",
    };
    let is_new = |commit: &&Commit| after.contains(&commit.sha) && !before.contains(&commit.sha);
    let commits = kept.commits.iter().filter(is_new).map(Commit::view).collect();
    Json(json!({
        "status": status,
        "ahead_by": ahead,
        "behind_by": behind,
        "total_commits": ahead,
        "commits": query.page(commits),
    }))
    .into_response()
}

/// "Get a pull request", which alone says who merged it.
pub(super) async fn pull(
    State(github): State<GitHub>,
    Path((repository, number)): Path<(u64, u64)>,
) -> Response {
    let kept = github.kept();
    let is_it =
        |pull: &&super::Thing| pull.repository == repository && pull.value["number"] == number;
    let Some(pull) = kept.pulls.iter().rev().find(is_it) else { return not_found() };
    let mut answer = pull.value.clone();
    answer["merged"] = (!answer["merged_at"].is_null()).into();
    if let Some((_, account)) = kept.mergers.iter().rev().find(|(one, _)| *one == number) {
        answer["merged_by"] = json!(account);
    }
    Json(answer).into_response()
}
