//! A run of GitHub Actions that waits at an environment: what people sign where the run itself asked for nothing
//! that could be signed in its place.
//!
//! No token says who asks. GitHub told the gate by a signed webhook that the run waits, and the gate read the
//! run's facts at GitHub's API. Both are the gate's own word, in a ledger entry that its log key signed: a
//! webhook's signature is made with a secret that the gate has as well, so it proves nothing to anybody else.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::domain::digest::Digest;
use crate::domain::subject::{Facts, Requester};

/// What stands in the place of a token issuer's name. No token issuer can be called so.
pub const RUN_ISSUER: &str = "github-webhook";
/// What a policy says of a run by: each is one of the run's facts.
pub const RUN_FACTS: [&str; 4] = ["repository_id", "workflow", "branch", "event"];
/// What the ledger says when a verified webhook came.
pub const RUN_WAITS: &str = "github.run_waits";

/// Everything that a decision signs about one run.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct WorkflowRun {
    /// Who asks, why, where and until when.
    #[serde(flatten)]
    pub facts: Facts,
    /// `github.com`, or the host of a GitHub Enterprise Server.
    pub host: String,
    /// The repository.
    pub repository: Repository,
    /// GitHub's number of the run.
    pub run: u64,
    /// Which attempt waits: 1, and one more each time the run is started again.
    pub attempt: u64,
    /// The workflow file by its path, then `@`, then the branch or tag that it was taken from.
    pub workflow: String,
    /// The branch, or the tag.
    pub branch: String,
    /// The commit that it runs on.
    pub commit: String,
    /// What started it.
    pub event: String,
    /// Who started it first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<Account>,
    /// Who started this attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub triggering_actor: Option<Account>,
    /// The webhook that said that it waits.
    pub delivery: Delivery,
}

/// A repository at GitHub. Its name can come to mean another one, its number cannot.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Repository {
    /// GitHub's number.
    pub id: u64,
    /// `owner/name`.
    pub name: String,
}

/// An account at GitHub.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// GitHub's number.
    pub id: u64,
    /// Its name when it was read.
    pub login: String,
}

/// A webhook whose signature held, by hashes: whoever has it can compare.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delivery {
    /// GitHub's name of it (`X-GitHub-Delivery`).
    pub id: String,
    /// SHA-256 of its body, byte for byte.
    pub body_digest: Digest,
    /// SHA-256 of its `X-Hub-Signature-256`, in lower case.
    pub signature_digest: Digest,
}

/// What the ledger says of a verified webhook when it comes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunWaits {
    /// The webhook.
    pub delivery: Delivery,
    /// GitHub's number of the repository.
    pub repository: u64,
    /// GitHub's number of the run.
    pub run: u64,
    /// The environment that it waits at.
    pub environment: String,
}

/// Which runs may be signed for: one of the listed values of each fact that is named. A value that ends in `*`
/// matches what begins like it.
pub type RunMatch = BTreeMap<String, Vec<String>>;

/// Which runs these are: `branch main, event push, repository_id 1001`.
pub fn run_in_words(listed: &RunMatch) -> String {
    let facts = listed.iter().map(|(name, values)| format!("{name} {}", values.join(" or ")));
    facts.collect::<Vec<_>>().join(", ")
}

impl WorkflowRun {
    /// Who asks, as far as that can be said without a token: the repository, by GitHub's word.
    pub fn requester_of(host: &str, repository: &Repository) -> Requester {
        Requester {
            issuer: RUN_ISSUER.to_owned(),
            issuer_url: format!("https://{host}"),
            subject: repository.name.clone(),
            key: Self::requester_key(repository.id),
            claims: Map::new(),
        }
    }

    /// Who counts as the same requester: the repository.
    pub fn requester_key(repository: u64) -> String {
        format!("{RUN_ISSUER}:{repository}")
    }

    /// Whether what it says of who asks follows from its other facts.
    pub fn is_consistent(&self) -> bool {
        self.facts.requester == Self::requester_of(&self.host, &self.repository)
    }

    /// What the ledger's first entry about it holds.
    pub fn recorded(&self) -> Value {
        json!({"delivery": self.delivery})
    }

    /// What the gate remembers it by: one approval for each attempt and environment.
    pub fn idempotency_key(run: u64, attempt: u64, environment: &str) -> String {
        format!("run {run} attempt {attempt} in {environment}")
    }

    /// A fact by the name that policies have for it.
    pub fn fact(&self, name: &str) -> Option<String> {
        match name {
            "repository_id" => Some(self.repository.id.to_string()),
            "workflow" => Some(self.workflow_path().to_owned()),
            "branch" => Some(self.branch.clone()),
            "event" => Some(self.event.clone()),
            _ => None,
        }
    }

    /// The workflow file without its branch or tag.
    pub fn workflow_path(&self) -> &str {
        self.workflow.split_once('@').map_or(&self.workflow, |(path, _)| path)
    }

    /// The accounts that started it, each once.
    pub fn accounts(&self) -> Vec<&Account> {
        let mut accounts: Vec<&Account> = self.actor.iter().chain(&self.triggering_actor).collect();
        accounts.dedup_by_key(|account| account.id);
        accounts
    }

    /// Its page.
    pub fn page(&self) -> String {
        format!("https://{}/{}/actions/runs/{}", self.host, self.repository.name, self.run)
    }
}

impl Deref for WorkflowRun {
    type Target = Facts;

    fn deref(&self) -> &Facts {
        &self.facts
    }
}

impl DerefMut for WorkflowRun {
    fn deref_mut(&mut self) -> &mut Facts {
        &mut self.facts
    }
}
