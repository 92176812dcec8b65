//! Whose commits a rollout ships: what GitHub's API says of those between what serves and what is to serve.
//!
//! An account is a number. Where GitHub maps an address to none, nobody knows who that is, and the answer is
//! none at all: a contributor who is overlooked could sign for their own commits.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::stream::{StreamExt, TryStreamExt, iter};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::GitHub;
use crate::domain::separation::Shipped;
use crate::domain::workflow_run::Account;

/// As many commits as GitHub's comparison gives without pages. Whoever ships more does not know what they ship.
pub const MOST_COMMITS: usize = 250;
/// The largest page.
const PAGE: usize = 100;
/// GitHub asks for few requests at once ("Best practices for using the REST API").
const AT_ONCE: usize = 8;
/// A pipeline waits for the answer meanwhile.
const TIMEOUT: Duration = Duration::from_secs(25);
/// The address that GitHub gives out for an account that shows none: number, plus sign, name.
const NO_REPLY: &str = "@users.noreply.github.com";

/// What is asked about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Range {
    /// GitHub's number of the repository.
    pub repository: u64,
    /// The commits that serve.
    pub since: BTreeSet<String>,
    /// The commit that is to serve.
    pub commit: String,
    /// The run that asks, and its attempt.
    pub run: (u64, u64),
    /// Whoever the run's token says started it.
    pub actor: Account,
}

/// Why it is not known who had a hand in it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unattributed {
    /// More than anybody looks at.
    #[error(
        "it ships {0} commits, and GitHub is asked about {MOST_COMMITS} at most: ship what lies between in parts"
    )]
    TooMany(u64),
    /// GitHub maps somebody to no account.
    #[error(
        "GitHub maps {who} of the commit {commit} to no account: have the address added to the account whose it is, or the commit written anew"
    )]
    Unmapped {
        /// Who.
        who: String,
        /// The commit.
        commit: String,
    },
    /// GitHub does not know what it was asked about.
    #[error("GitHub does not know {0}")]
    NotThere(String),
    /// GitHub gave no answer that can be used.
    #[error("{0}")]
    Unanswered(String),
}

#[derive(Deserialize)]
struct Comparison {
    status: Standing,
    total_commits: u64,
    commits: Vec<Listed>,
}

/// How one commit stands to another.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Standing {
    Ahead,
    Behind,
    Diverged,
    Identical,
}

/// A commit as lists have it.
#[derive(Clone, Deserialize)]
struct Listed {
    sha: String,
    commit: Said,
    author: Option<Named>,
    committer: Option<Named>,
}

/// What the commit itself says.
#[derive(Clone, Deserialize)]
struct Said {
    message: String,
    author: Option<Signed>,
    committer: Option<Signed>,
}

#[derive(Clone, Deserialize)]
struct Signed {
    email: Option<String>,
}

/// An account, or an empty object where there is none.
#[derive(Clone, Deserialize)]
struct Named {
    id: Option<u64>,
    login: Option<String>,
}

#[derive(Deserialize)]
struct ListedPull {
    number: u64,
    merged_at: Option<String>,
    base: Base,
}

#[derive(Deserialize)]
struct Base {
    repo: Option<BaseRepository>,
}

#[derive(Deserialize)]
struct BaseRepository {
    id: u64,
}

#[derive(Deserialize)]
struct Pull {
    merged_by: Option<Named>,
}

#[derive(Deserialize)]
struct Started {
    actor: Option<Named>,
    triggering_actor: Option<Named>,
}

fn account(named: Option<&Named>) -> Option<Account> {
    let named = named?;
    Some(Account { id: named.id?, login: named.login.clone()? })
}

impl GitHub {
    /// The commits and everybody who had a hand in them.
    ///
    /// # Errors
    /// If it cannot be said of everybody who they are.
    pub async fn shipped(&self, range: &Range) -> Result<Shipped, Unattributed> {
        let asking = self.attribute(range);
        let answer = tokio::time::timeout(TIMEOUT, asking).await;
        answer.unwrap_or_else(|_| Err(Unattributed::Unanswered("no answer in time".to_owned())))
    }

    async fn attribute(&self, range: &Range) -> Result<Shipped, Unattributed> {
        let Range { repository, since, commit, .. } = range;
        let mut commits = BTreeMap::new();
        for base in since.iter().filter(|base| *base != commit) {
            let (standing, shipped) = self.between(*repository, base, commit).await?;
            commits.extend(shipped.into_iter().map(|one| (one.sha.clone(), one)));
            if standing == Standing::Diverged {
                // What is left out is a change of what serves as well.
                let (_, left_out) = self.between(*repository, commit, base).await?;
                commits.extend(left_out.into_iter().map(|one| (one.sha.clone(), one)));
            }
        }
        if commits.len() > MOST_COMMITS {
            return Err(too_many(commits.len()));
        }
        let mut accounts = self.who_started(range).await?;
        accounts.extend(self.contributors(*repository, &commits).await?);
        accounts.extend(self.mergers(*repository, commits.keys()).await?);
        let accounts: BTreeMap<u64, Account> =
            accounts.into_iter().map(|account| (account.id, account)).collect();
        Ok(Shipped {
            repository: *repository,
            since: since.iter().cloned().collect(),
            commit: commit.clone(),
            commits: u64::try_from(commits.len()).unwrap_or(u64::MAX),
            accounts: accounts.into_values().collect(),
        })
    }

    /// What `head` has and `base` has not ("Compare two commits").
    async fn between(
        &self,
        repository: u64,
        base: &str,
        head: &str,
    ) -> Result<(Standing, Vec<Listed>), Unattributed> {
        let mut commits = Vec::new();
        for page in 1.. {
            let path = format!("/compare/{base}...{head}?per_page={PAGE}&page={page}");
            let what = || format!("how the commit {head} follows {base}");
            let found: Comparison = self.read(repository, &path, what).await?;
            let total = usize::try_from(found.total_commits).unwrap_or(usize::MAX);
            if total > MOST_COMMITS {
                return Err(too_many(total));
            }
            let is_empty = found.commits.is_empty();
            commits.extend(found.commits);
            if commits.len() >= total {
                return Ok((found.status, commits));
            }
            if is_empty {
                break;
            }
        }
        Err(Unattributed::Unanswered(format!(
            "it did not list all commits between {base} and {head}"
        )))
    }

    /// Who started the run first and who started this attempt ("Get a workflow run attempt"), and whoever its
    /// token names.
    async fn who_started(&self, range: &Range) -> Result<Vec<Account>, Unattributed> {
        let (run, attempt) = range.run;
        let path = format!("/actions/runs/{run}/attempts/{attempt}");
        let what = || format!("the attempt {attempt} of the run {run}");
        let started: Started = self.read(range.repository, &path, what).await?;
        let both = [started.actor, started.triggering_actor].map(|one| account(one.as_ref()));
        let [Some(first), Some(again)] = both else {
            return Err(Unattributed::Unmapped {
                who: format!("who started the run {run}"),
                commit: range.commit.clone(),
            });
        };
        Ok(vec![range.actor.clone(), first, again])
    }

    /// Authors, committers, and co-authors by the trailers of the messages.
    async fn contributors(
        &self,
        repository: u64,
        commits: &BTreeMap<String, Listed>,
    ) -> Result<Vec<Account>, Unattributed> {
        let mut found = Vec::new();
        let mut by_address: BTreeMap<String, Account> = BTreeMap::new();
        for one in commits.values() {
            for (role, named, signed) in [
                ("the author", &one.author, &one.commit.author),
                ("the committer", &one.committer, &one.commit.committer),
            ] {
                let account = account(named.as_ref()).ok_or_else(|| unmapped(role, &one.sha))?;
                let address = signed.as_ref().and_then(|signed| signed.email.as_ref());
                if let Some(address) = address {
                    by_address.insert(address.to_lowercase(), account.clone());
                }
                found.push(account);
            }
        }
        let mut looked_up: BTreeMap<String, &str> = BTreeMap::new();
        for one in commits.values() {
            for address in co_authors(&one.commit.message) {
                let address = address.ok_or_else(|| unmapped("a co-author", &one.sha))?;
                match by_address.get(&address).cloned().or_else(|| no_reply(&address)) {
                    Some(account) => found.push(account),
                    None => {
                        looked_up.insert(address, &one.sha);
                    }
                }
            }
        }
        let asking: Vec<_> = looked_up
            .iter()
            .map(|(address, commit)| self.whose_address(repository, address, commit))
            .collect();
        found.extend(iter(asking).buffered(AT_ONCE).try_collect::<Vec<_>>().await?);
        Ok(found)
    }

    /// The account that GitHub maps an address to, by another commit of that author ("List commits").
    async fn whose_address(
        &self,
        repository: u64,
        address: &str,
        commit: &str,
    ) -> Result<Account, Unattributed> {
        let query: String = url::form_urlencoded::byte_serialize(address.as_bytes()).collect();
        let path = format!("/commits?author={query}&per_page=1");
        let found: Vec<Listed> =
            self.read(repository, &path, || "the repository's commits".to_owned()).await?;
        let theirs = found.iter().find(|one| {
            let signed = one.commit.author.as_ref().and_then(|signed| signed.email.as_ref());
            signed.is_some_and(|email| email.to_lowercase() == address)
        });
        let account = theirs.and_then(|one| account(one.author.as_ref()));
        account.ok_or_else(|| unmapped("a co-author", commit))
    }

    /// Who merged the pull requests that the commits came with.
    async fn mergers(
        &self,
        repository: u64,
        commits: impl Iterator<Item = &String>,
    ) -> Result<Vec<Account>, Unattributed> {
        let asking: Vec<_> = commits.map(|commit| self.merged_pulls(repository, commit)).collect();
        let numbers: Vec<Vec<u64>> = iter(asking).buffered(AT_ONCE).try_collect().await?;
        let numbers: BTreeSet<u64> = numbers.into_iter().flatten().collect();
        let asking: Vec<_> =
            numbers.into_iter().map(|number| self.merger(repository, number)).collect();
        iter(asking).buffered(AT_ONCE).try_collect().await
    }

    /// The merged pull requests of a commit ("List pull requests associated with a commit").
    async fn merged_pulls(&self, repository: u64, commit: &str) -> Result<Vec<u64>, Unattributed> {
        let path = format!("/commits/{commit}/pulls?per_page={PAGE}");
        let what = || format!("the pull requests of the commit {commit}");
        let found: Vec<ListedPull> = self.read(repository, &path, what).await?;
        if found.len() >= PAGE {
            return Err(Unattributed::Unanswered(format!(
                "the commit {commit} came with {PAGE} pull requests or more"
            )));
        }
        let is_ours = |pull: &ListedPull| {
            let base = pull.base.repo.as_ref();
            pull.merged_at.is_some() && base.is_none_or(|base| base.id == repository)
        };
        Ok(found.into_iter().filter(is_ours).map(|pull| pull.number).collect())
    }

    /// Who merged a pull request ("Get a pull request").
    async fn merger(&self, repository: u64, number: u64) -> Result<Account, Unattributed> {
        let path = format!("/pulls/{number}");
        let what = || format!("the pull request {number}");
        let pull: Pull = self.read(repository, &path, what).await?;
        account(pull.merged_by.as_ref()).ok_or_else(|| Unattributed::Unmapped {
            who: "who merged it".to_owned(),
            commit: format!("that came with the pull request {number}"),
        })
    }

    /// Reads something of a repository. `what` it is says a refusal.
    async fn read<T: DeserializeOwned>(
        &self,
        repository: u64,
        path: &str,
        what: impl Fn() -> String + Send,
    ) -> Result<T, Unattributed> {
        let route = format!("/repositories/{repository}{path}");
        self.client.get::<T, _, ()>(route, None).await.map_err(|error| match error {
            octocrab::Error::GitHub { ref source, .. }
                if [404, 422].contains(&source.status_code.as_u16()) =>
            {
                Unattributed::NotThere(what())
            }
            other => Unattributed::Unanswered(format!("{}: {other}", what())),
        })
    }
}

fn too_many(count: usize) -> Unattributed {
    Unattributed::TooMany(u64::try_from(count).unwrap_or(u64::MAX))
}

fn unmapped(who: &str, commit: &str) -> Unattributed {
    Unattributed::Unmapped { who: who.to_owned(), commit: commit.to_owned() }
}

/// The addresses of the co-authors that a message names, in lower case; none where a trailer has no address.
/// Every line counts that looks like a trailer, wherever it stands.
fn co_authors(message: &str) -> impl Iterator<Item = Option<String>> {
    message.lines().filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("co-authored-by").then(|| {
            let (_, rest) = value.rsplit_once('<')?;
            let (address, _) = rest.split_once('>')?;
            (!address.trim().is_empty()).then(|| address.trim().to_lowercase())
        })
    })
}

/// The account whose number stands in an address that GitHub itself gave out.
fn no_reply(address: &str) -> Option<Account> {
    let (id, login) = address.strip_suffix(NO_REPLY)?.split_once('+')?;
    Some(Account { id: id.parse().ok()?, login: login.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn co_authors_are_found_wherever_they_stand() {
        let found = |message: &str| co_authors(message).collect::<Vec<_>>();
        let one = |address: &str| vec![Some(address.to_owned())];
        assert_eq!(
            found("Send it once\n\nCo-authored-by: Erin <Erin@Example.com>"),
            one("erin@example.com")
        );
        assert_eq!(
            found("a\n\nco-AUTHORED-by : x <y> <erin@example.com> \n\nmore"),
            one("erin@example.com")
        );
        assert_eq!(
            found("a\r\n\r\nCo-authored-by: Erin <e@x>\r\nCo-authored-by: Bob <b@x>"),
            [Some("e@x".to_owned()), Some("b@x".to_owned())]
        );
        assert_eq!(found("a\n\nCo-authored-by: Erin"), [None]);
        assert_eq!(found("a\n\nCo-authored-by: Erin < >"), [None]);
        assert!(found("This was co-authored by Erin <erin@example.com>").is_empty());
    }

    #[test]
    fn only_what_github_gave_out_names_an_account() {
        let erin = Account { id: 9001, login: "erin".to_owned() };
        assert_eq!(no_reply("9001+erin@users.noreply.github.com"), Some(erin));
        for address in [
            "erin@users.noreply.github.com",
            "9001+erin@users.noreply.github.com.example",
            "9001+erin@example.com",
            "x+erin@users.noreply.github.com",
        ] {
            assert_eq!(no_reply(address), None, "{address}");
        }
    }
}
