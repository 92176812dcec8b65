//! For whom a workload asks. Whoever that is counts as a requester and decides nothing of it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::domain::agent_credential::issuer_of_credential;
use crate::domain::person::Person;
use crate::domain::subject::Requester;

use super::{Policy, RequesterMatch};

/// The claim of a token that somebody else uses than its subject (RFC 8693, section 4.1).
const ACTOR: &str = "act";

/// Which claim names the person for whom a workload acts, and whose name that is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActsFor {
    /// The directory that calls the person so: an OpenID provider's issuer URL.
    pub directory: String,
    /// The claim that holds the directory's own name of the person.
    pub claim: String,
}

impl ActsFor {
    fn person(&self, claims: &Map<String, Value>) -> Option<Person> {
        let subject = claims.get(&self.claim)?.as_str()?.to_owned();
        Some(Person { issuer: self.directory.clone(), subject })
    }
}

impl RequesterMatch {
    /// Whether nobody stands behind these claims whom the gate cannot name. Where somebody does, they could
    /// otherwise sign what they asked for themselves.
    pub(super) fn knows_who_is_behind(&self, claims: &Map<String, Value>) -> bool {
        match &self.acts_for {
            Some(acts_for) => acts_for.person(claims).is_some(),
            None => !claims.contains_key(ACTOR),
        }
    }
}

impl Policy {
    /// The people who ask through this requester: who issued its credential, and for whom its token says
    /// that it acts.
    pub fn people_behind(&self, requester: &Requester) -> Vec<Person> {
        let Requester { issuer, claims, .. } = requester;
        let admitting = self.requesters.iter().filter(|one| one.admits(issuer, claims));
        let mut people: Vec<Person> = issuer_of_credential(requester).into_iter().collect();
        people.extend(admitting.filter_map(|one| one.acts_for.as_ref()?.person(claims)));
        people
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const DIRECTORY: &str = "https://login.example.com";

    fn workload(acts_for: Option<&str>) -> RequesterMatch {
        let acts_for =
            acts_for.map(|claim| ActsFor { directory: DIRECTORY.into(), claim: claim.into() });
        RequesterMatch { issuer: "agents".into(), claims: Default::default(), acts_for }
    }

    fn admits(one: &RequesterMatch, claims: Value) -> bool {
        one.admits("agents", claims.as_object().unwrap())
    }

    #[test]
    fn whoever_acts_for_somebody_unnamed_may_not_ask() {
        let plain = workload(None);
        assert!(admits(&plain, json!({"sub": "bot"})));
        for act in [json!({"sub": "bot"}), json!({}), json!("bot"), json!(null)] {
            assert!(!admits(&plain, json!({"sub": "alice", "act": act})), "{act}");
        }
        let named = workload(Some("sub"));
        assert!(admits(&named, json!({"sub": "alice", "act": {"sub": "bot"}})));
        for person in [json!(null), json!(7), json!(["alice"]), json!({"sub": "alice"})] {
            assert!(!admits(&workload(Some("for")), json!({"sub": "bot", "for": person})));
        }
        assert!(!admits(&workload(Some("for")), json!({"sub": "bot"})), "the claim is missing");
    }
}
