//! The rulebook: everything in a configuration that decides who may do what. Once trust is pinned it changes
//! only with the signatures that the rulebook in force asks for, whoever can write the configuration file.
//!
//! Where the gate listens, its secrets, its notice and who is told what happened are no rules.

mod changes;
mod history;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::domain::anchors::Anchors;
use crate::domain::canonical::{CanonicalError, from_canonical_json, to_canonical_json};
use crate::domain::digest::Digest;
use crate::domain::key_rules::KeyRules;
use crate::domain::plan::PlanRules;
use crate::domain::policy::{
    EnrolmentRules, NewerRequest, POLICY_SCHEMA, Policy, Rule, TrustLevel,
};
use crate::domain::role::Roles;
use crate::domain::window::Windows;

pub use changes::rulebook_changes;
pub use history::{InForce, RuleHistory};

/// Names the form of a rulebook's bytes.
pub const RULEBOOK_SCHEMA: &str = "countersign/rulebook/v1";
/// What the entry is called that puts a rulebook into force.
pub const RULES_IN_FORCE: &str = "rules.in_force";
/// What stands where approvals name their environment. No environment can be called so.
pub const RULES_ENVIRONMENT: &str = "the rules";
/// How long people have to sign a change of the rules, in seconds: a week.
const EXPIRES_IN: u64 = 7 * 24 * 3600;
/// A change that everybody signed takes effect within this time, in seconds, or not at all.
const EXECUTE_WITHIN: u64 = 3600;

/// The rules of one gate, as one value. Its canonical JSON is what its digest names.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rulebook {
    /// [`RULEBOOK_SCHEMA`].
    pub schema: String,
    /// The rules of each environment, by its name.
    pub environments: BTreeMap<String, Policy>,
    /// Who has a role beside them.
    pub roles: Roles,
    /// Where chains of trust end.
    pub anchors: Anchors,
    /// What else decides rights, as the configuration writes it: how issuers' tokens are read, which services
    /// outside are believed and called. Compared here, read by [`crate::config`] alone.
    pub settings: Map<String, Value>,
}

impl Rulebook {
    /// The canonical text and its digest.
    pub fn canonical(&self) -> Result<(String, Digest), CanonicalError> {
        let text = to_canonical_json(self)?;
        let digest = Digest::of(&text);
        Ok((text, digest))
    }

    /// Its digest.
    pub fn digest(&self) -> Result<Digest, CanonicalError> {
        Ok(self.canonical()?.1)
    }

    /// Reads a rulebook that stands as a value in a record.
    pub fn of_value(value: &Value) -> Result<Self, CanonicalError> {
        let read: Self = from_canonical_json(&to_canonical_json(value)?)?;
        Ok(read)
    }

    /// Whether `other` differs in nothing but what single environments say of what they cover already.
    /// A service or a job that an environment takes over was anybody's or nobody's before, so that is not its own affair.
    fn is_confined(&self, other: &Self) -> bool {
        let services = |book: &Self| -> Vec<_> {
            let environments = book.environments.iter();
            let covered = |policy: &Policy| (policy.services.clone(), policy.jobs.clone());
            environments.map(|(name, policy)| (name.clone(), covered(policy))).collect()
        };
        (&self.roles, &self.anchors, &self.settings)
            == (&other.roles, &other.anchors, &other.settings)
            && services(self) == services(other)
    }

    /// The environments whose rules must be met for a change from this rulebook to `after`: those that it
    /// touches, and all of them wherever it touches more than single environments.
    fn touched<'a>(&'a self, after: &'a Self) -> impl Iterator<Item = (&'a String, &'a Policy)> {
        let is_confined = self.is_confined(after);
        let environments = self.environments.iter();
        environments.filter(move |(name, policy)| {
            !is_confined || after.environments.get(*name) != Some(*policy)
        })
    }

    /// The rules of a change from this rulebook, which is in force, to `after`: each rule of every environment
    /// that it touches, and the strictest of what they ask of keys. A person counts once for each environment.
    pub fn quorum(&self, after: &Self) -> Policy {
        let mut rules = Vec::new();
        let mut keys: Option<KeyRules> = None;
        let mut groups_must_be_signed = false;
        let mut enrolment = EnrolmentRules {
            endorsements: self.anchors.endorsements,
            trust: TrustLevel::Pinned,
            requires_pinned_trust: true,
        };
        for (name, policy) in self.touched(after) {
            let named = |rule: &Rule| Rule { environment: Some(name.clone()), ..rule.clone() };
            rules.extend(policy.rules.iter().map(named));
            keys = KeyRules::strictest(keys, policy.keys.as_ref());
            groups_must_be_signed |= policy.groups_must_be_signed;
            enrolment.endorsements = enrolment.endorsements.max(policy.enrolment.endorsements);
        }
        Policy {
            schema: POLICY_SCHEMA.to_owned(),
            environment: RULES_ENVIRONMENT.to_owned(),
            services: Vec::new(),
            jobs: Vec::new(),
            images: Vec::new(),
            requesters: Vec::new(),
            rules,
            expires_in_seconds: EXPIRES_IN,
            execute_within_seconds: EXECUTE_WITHIN,
            newer_request: NewerRequest::Supersede,
            max_pending: 1,
            default_steps: Vec::new(),
            plan: PlanRules::default(),
            enrolment,
            keys,
            attestor: None,
            actions: Vec::new(),
            requests_per_hour: None,
            workflow_runs: Vec::new(),
            github_accounts: BTreeMap::new(),
            separation: None,
            groups_must_be_signed,
            windows: Windows::default(),
            break_glass: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::person::Person;

    fn policy(name: &str, rules: &[(&str, u8)]) -> Policy {
        let rules = rules.iter().map(|(from, count)| Rule {
            from: vec![from.parse().unwrap()],
            count: *count,
            environment: None,
        });
        Policy {
            environment: name.to_owned(),
            rules: rules.collect(),
            keys: None,
            ..book(Vec::new()).quorum(&book(Vec::new()))
        }
    }

    fn book(policies: Vec<Policy>) -> Rulebook {
        let anchors = json!({
            "endorsements": 0, "endorsers": [], "recovery_signatures": 1, "workload_issuers": [],
            "login": {"issuer": "i", "client_id": "c", "groups_claim": "groups", "keys": ["k"]},
            "witnesses": [], "witnesses_required": 0,
        });
        Rulebook {
            schema: RULEBOOK_SCHEMA.to_owned(),
            environments: policies.into_iter().map(|one| (one.environment.clone(), one)).collect(),
            roles: Roles::default(),
            anchors: serde_json::from_value(anchors).unwrap(),
            settings: Map::new(),
        }
    }

    fn two() -> Rulebook {
        book(vec![
            policy("production", &[("group:managers", 2)]),
            policy("staging", &[("group:engineers", 1)]),
        ])
    }

    fn needed(change: impl FnOnce(&mut Rulebook)) -> Vec<String> {
        let (before, mut after) = (two(), two());
        change(&mut after);
        let words = before.quorum(&after).rules;
        words.iter().map(Rule::in_words).collect()
    }

    #[test]
    fn whoever_is_touched_has_to_sign() {
        let production = "2 of managers for production";
        let staging = "1 of engineers for staging";
        let of = |book: &mut Rulebook, name: &str| {
            book.environments.get_mut(name).unwrap().max_pending = 7
        };
        assert_eq!(needed(|book| of(book, "production")), [production]);
        assert_eq!(needed(|book| of(book, "staging")), [staging]);
        let all = [production, staging];
        let service = || "projects/p/locations/l/services/s".parse().unwrap();
        let changes: [fn(&mut Rulebook); 6] = [
            |book| book.roles.operators.push("person:eve".parse().unwrap()),
            |book| book.anchors.endorsers.push("eve".to_owned()),
            |book| drop(book.settings.insert("github".to_owned(), json!("https://eve"))),
            |book| drop(book.environments.remove("production")),
            |book| {
                drop(
                    book.environments.insert("new".to_owned(), policy("new", &[("person:eve", 1)])),
                )
            },
            |book| {
                let names = ["production", "staging"].map(str::to_owned);
                let swapped = names.each_ref().map(|name| book.environments.remove(name).unwrap());
                book.environments = names.into_iter().zip(swapped.into_iter().rev()).collect();
            },
        ];
        for change in changes {
            assert_eq!(needed(change), all);
        }
        assert_eq!(
            needed(|book| book.environments.get_mut("staging").unwrap().services.push(service())),
            all
        );
    }

    #[test]
    fn a_person_counts_once_for_each_environment() {
        let mut after = two();
        after.roles.auditors.push("group:auditors".parse().unwrap());
        let quorum = two().quorum(&after);
        let signer = |subject: &str, groups: &[&str]| {
            let person = Person { issuer: "i".to_owned(), subject: subject.to_owned() };
            (person, groups.iter().map(|group| (*group).to_owned()).collect::<Vec<_>>())
        };
        let alice = signer("alice", &["managers", "engineers"]);
        let bob = signer("bob", &["managers"]);
        assert!(!quorum.is_met(std::slice::from_ref(&alice)));
        assert!(!quorum.is_met(&[bob.clone(), signer("carol", &["managers"])]));
        assert!(quorum.is_met(&[alice, bob]));
    }
}
