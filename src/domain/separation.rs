//! Author-aware separation of duties: whoever had a hand in the commits that a rollout ships does not count as
//! one of its approvers.
//!
//! Whose hands they were says GitHub, when it is asked for, and the gate freezes the answer into what people
//! sign ([`Shipped`]). Whose the accounts are says the directory, in a claim of the ID token, or the policy.
//! What either leaves open counts against whoever would sign.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::canonical::to_canonical_json;
use crate::domain::person::Person;
use crate::domain::policy::Policy;
use crate::domain::subject::{Requester, Subject};
use crate::domain::workflow_run::Account;

/// GitHub's numbers are far shorter; up to here every reader of JSON tells one number from the next.
const LONGEST_ACCOUNT_NUMBER: usize = 15;

/// What an environment says of it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeparationRules {
    /// The claim of the ID token that holds the number of the person's account at GitHub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub github_id_claim: Option<String>,
    /// The commit that counts as served where no approval says which one does, by the repository's number.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub bases: BTreeMap<String, String>,
}

/// The commits that a rollout ships and everybody who had a hand in them, by GitHub's word when it was asked for.
///
/// Of a history that only grew these are the commits since those that serve. Where it was rewritten, those that
/// it leaves out count as well, since taking a commit away is a change of what serves. A return to a commit
/// that served before ships nothing new: who started the run is all there is then.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shipped {
    /// GitHub's number of the repository.
    pub repository: u64,
    /// The commits that serve, ascending.
    pub since: Vec<String>,
    /// The commit that is to serve.
    pub commit: String,
    /// How many commits that is.
    pub commits: u64,
    /// Who wrote, committed or merged one of them, or started the run, by the accounts' numbers in ascending order.
    pub accounts: Vec<Account>,
}

impl Shipped {
    /// Whether it is about what this requester's token names, and counts whoever the token says started the run.
    pub fn is_of(&self, requester: &Requester) -> bool {
        let claims = |name, value: &str| requester.claim(name) == Some(value);
        claims("sha", &self.commit)
            && claims("repository_id", &self.repository.to_string())
            && self.accounts.iter().any(|account| claims("actor_id", &account.id.to_string()))
    }
}

/// Why the signature of a person does not count for what is shipped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Separated {
    /// They had a hand in it.
    Contributor,
    /// Nobody says which account at GitHub is theirs.
    AccountUnknown,
    /// Nobody says whose commits these are.
    CommitsUnknown,
}

/// The number of an account at GitHub in a claim: a whole number, or the same as text.
pub fn github_id(claim: &Value) -> Option<u64> {
    let text = to_canonical_json(claim).ok()?;
    let number = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(&text);
    let is_plain = (1..=LONGEST_ACCOUNT_NUMBER).contains(&number.len())
        && number.bytes().all(|byte| byte.is_ascii_digit())
        && !number.starts_with('0');
    is_plain.then(|| number.parse().ok()).flatten()
}

impl Policy {
    /// The claim that names people's accounts at GitHub, where it matters here whose they are.
    pub fn github_id_claim(&self) -> Option<&str> {
        self.separation.as_ref()?.github_id_claim.as_deref()
    }

    /// Why this person does not count as an approver of this, if it is so. `github_id` is the account that the
    /// directory says is theirs.
    pub fn separates(
        &self,
        subject: &Subject,
        person: &Person,
        github_id: Option<u64>,
    ) -> Option<Separated> {
        self.separation.as_ref()?;
        match subject {
            Subject::Deployment(_) | Subject::JobExecution(_) => {}
            // Nothing is shipped.
            Subject::Action(_) | Subject::RuleChange(_) => return None,
            // What a run ships where the gate does not roll it out, nobody tells.
            Subject::WorkflowRun(_) => return Some(Separated::CommitsUnknown),
        }
        let requester = &subject.facts().requester;
        let Some(shipped) = subject.shipped().filter(|shipped| shipped.is_of(requester)) else {
            return Some(Separated::CommitsUnknown);
        };
        let listed = self.github_accounts.iter().filter(|(_, owner)| **owner == person.subject);
        let own: Vec<String> = listed
            .map(|(account, _)| account.clone())
            .chain(github_id.map(|id| id.to_string()))
            .collect();
        if own.is_empty() {
            return Some(Separated::AccountUnknown);
        }
        let is_own = |account: &Account| own.contains(&account.id.to_string());
        shipped.accounts.iter().any(is_own).then_some(Separated::Contributor)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_account_is_a_plain_number() {
        for (claim, number) in [
            (json!(583231), Some(583_231)),
            (json!("583231"), Some(583_231)),
            (json!(999_999_999_999_999_u64), Some(999_999_999_999_999)),
            (json!(0), None),
            (json!("0583231"), None),
            (json!(" 583231"), None),
            (json!("octocat"), None),
            (json!(""), None),
            (json!("\"7\""), None),
            (json!(-7), None),
            (json!(7.5), None),
            (json!("1e3"), None),
            (json!(9_999_999_999_999_999_u64), None),
            (json!([7]), None),
            (json!({"id": 7}), None),
            (json!(true), None),
            (json!(null), None),
        ] {
            assert_eq!(github_id(&claim), number, "{claim}");
        }
    }
}
