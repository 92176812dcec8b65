//! What an author of rules should look at again, although nothing of it is forbidden.

use jiff::Timestamp;
use serde::Serialize;

use super::{Policy, Principal, RequesterMatch, RuleProgress, TrustLevel, matches_pattern};
use crate::domain::key_rules::{KeyFacts, KeyRefusal};
use crate::domain::person::Person;
use crate::domain::window::Windows;

/// Somebody with keys, and the groups of the newest sign-in that is known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyOwner {
    /// Who.
    pub person: Person,
    /// Their groups.
    pub groups: Vec<String>,
    /// Their keys that were not given up.
    pub keys: Vec<KeyFacts>,
}

/// One finding.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct PolicyFinding {
    /// The environment.
    pub environment: String,
    /// Its stable name.
    pub code: &'static str,
    /// What it is, and what to do.
    pub sentence: String,
}

impl Policy {
    /// What the text of the rules says without anything beside it.
    pub fn findings(&self) -> Vec<PolicyFinding> {
        let mut found = Vec::new();
        let rules = &self.enrolment;
        if rules.requires_pinned_trust && rules.trust == TrustLevel::Unpinned {
            found.push(self.finding(
                "trust_unpinned",
                "asks for pinned trust, and nothing is pinned: nothing can be asked for here until [trust] pins a key".to_owned(),
            ));
        }
        for (index, requester) in self.requesters.iter().enumerate() {
            let other = self.requesters.iter().enumerate().find(|(at, other)| {
                *at != index
                    && other.admits_all_of(requester)
                    && (*at < index || *other != requester)
            });
            if let Some((other, _)) = other {
                let (number, other) = (index + 1, other + 1);
                found.push(self.finding(
                    "requester_redundant",
                    format!("requester {number} changes nothing: whoever it lets ask, requester {other} does as well; remove the one that you do not mean"),
                ));
            }
        }
        for (index, rule) in self.rules.iter().enumerate() {
            let mut seen = Vec::new();
            for principal in &rule.from {
                if seen.contains(&principal) {
                    let (number, who) = (index + 1, principal.in_words());
                    found.push(self.finding(
                        "signer_repeated",
                        format!("rule {number} lists {who} twice, who counts once all the same"),
                    ));
                }
                seen.push(principal);
            }
        }
        found
    }

    /// The windows that do not open within a year.
    pub fn never_open(&self, now: Timestamp) -> Vec<PolicyFinding> {
        let alone = |open| Windows { open, closed: self.windows.closed.clone() };
        let mut found = Vec::new();
        for (index, window) in self.windows.open.iter().enumerate() {
            if alone(vec![window.clone()]).never_opens(now) {
                let (number, words) = (index + 1, window.in_words());
                found.push(self.finding(
                    "window_never_open",
                    format!("window {number}, {words}, does not open within a year: change it, or the closed times of its calendars"),
                ));
            }
        }
        if self.windows.open.is_empty() && self.windows.never_opens(now) {
            found.push(
                self.finding(
                    "window_never_open",
                    "its calendars close it for a year or more: nothing that is approved begins"
                        .to_owned(),
                ),
            );
        }
        found
    }

    /// Who may sign by the rules and has no key that is what is asked for, and who they are that have one.
    pub fn with_keys(
        &self,
        known: &[KeyOwner],
        now: Timestamp,
    ) -> (Vec<(Person, Vec<String>)>, Vec<PolicyFinding>) {
        let (mut signers, mut found) = (Vec::new(), Vec::new());
        for KeyOwner { person, groups, keys } in known {
            match self.refused_keys(keys, now) {
                None => signers.push((person.clone(), groups.clone())),
                Some(refusal) if self.admits_approver(person, groups) => found.push(self.finding(
                    refusal.code(),
                    format!("no key of the person {} can sign now: {refusal}", person.subject),
                )),
                Some(_) => {}
            }
        }
        (signers, found)
    }

    /// Why none of these keys of one person signs.
    fn refused_keys(&self, keys: &[KeyFacts], now: Timestamp) -> Option<KeyRefusal> {
        let rules = self.keys.as_ref()?;
        let (accepted, refused): (Vec<_>, Vec<_>) =
            keys.iter().map(|key| (key, rules.accept(key))).partition(|(_, one)| one.is_ok());
        if accepted.is_empty() {
            return refused.into_iter().find_map(|(_, one)| one.err());
        }
        let waiting = accepted.iter().map(|(key, _)| rules.accept_age(key, now));
        let (old, young): (Vec<_>, Vec<_>) = waiting.partition(Result::is_ok);
        let too_few = rules.accept_number(accepted.len()).err();
        too_few.or_else(|| young.into_iter().find_map(Result::err).filter(|_| old.is_empty()))
    }

    /// Who would have to sign and has no key: `known` are the people who have one, with the groups of the
    /// newest sign-in that is known.
    pub fn without_keys(&self, known: &[(Person, Vec<String>)]) -> Vec<PolicyFinding> {
        let mut found = Vec::new();
        for (index, (rule, progress)) in self.rules.iter().zip(self.progress(known)).enumerate() {
            let number = index + 1;
            for principal in &rule.from {
                if let Principal::Person(subject) = principal
                    && !known.iter().any(|(person, _)| person.subject == *subject)
                {
                    found.push(self.finding(
                        "person_without_key",
                        format!("rule {number} lists the person {subject}, who has no key that may sign: they have to sign in and register one"),
                    ));
                }
            }
            let RuleProgress { met, needed } = progress;
            if met < needed {
                found.push(self.finding(
                    "too_few_keys",
                    format!(
                        "rule {number} needs {}, and those who have a key make up {met} of them, by their groups when they last signed in: nothing can be approved until more register one",
                        rule.in_words()
                    ),
                ));
            }
        }
        found
    }

    fn finding(&self, code: &'static str, sentence: String) -> PolicyFinding {
        PolicyFinding { environment: self.environment.clone(), code, sentence }
    }
}

impl RequesterMatch {
    /// Whether it lets everybody ask whom `other` lets ask.
    fn admits_all_of(&self, other: &Self) -> bool {
        self.issuer == other.issuer
            && self.acts_for == other.acts_for
            && self.claims.iter().all(|(name, allowed)| {
                let others = other.claims.get(name);
                others.is_some_and(|others| {
                    others.iter().all(|value| allowed.iter().any(|pattern| covers(pattern, value)))
                })
            })
    }
}

/// Whether everything that `value` matches is matched by `pattern`.
fn covers(pattern: &str, value: &str) -> bool {
    match value.strip_suffix('*') {
        Some(prefix) => pattern.ends_with('*') && matches_pattern(pattern, prefix),
        None => matches_pattern(pattern, value),
    }
}
