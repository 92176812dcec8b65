//! What differs between two texts of the rules: who may do more than before, and who less.

mod break_glass;
mod keys;
mod windows;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use crate::domain::check::Check;
use crate::domain::plan::PlanRules;
use crate::domain::workflow_run::run_in_words;

use super::{EnrolmentRules, NewerRequest, Policy, Principal, RequesterMatch, Rule, TrustLevel};

/// One difference between the rules of an environment before and after.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct PolicyChange {
    /// The environment.
    pub environment: String,
    /// Which way it goes.
    pub effect: Effect,
    /// What differs, in a sentence without its full stop.
    pub sentence: String,
}

/// Which way a difference goes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Somebody may do more than before, or less is needed for the same.
    Wider,
    /// Somebody may do less, or more is needed.
    Narrower,
    /// Neither.
    Different,
}

impl Effect {
    fn opposite(self) -> Self {
        match self {
            Self::Wider => Self::Narrower,
            Self::Narrower => Self::Wider,
            Self::Different => Self::Different,
        }
    }

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Wider => "wider",
            Self::Narrower => "narrower",
            Self::Different => "different",
        }
    }
}

/// Every difference between the environments of `old` and those of `new`, by environment.
pub fn policy_changes(
    old: &BTreeMap<String, Policy>,
    new: &BTreeMap<String, Policy>,
) -> Vec<PolicyChange> {
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let mut changes = Changes::default();
    for name in names {
        changes.environment.clone_from(name);
        match (old.get(name), new.get(name)) {
            (Some(old), Some(new)) => changes.of_environment(old, new),
            (None, Some(new)) => {
                let rules: Vec<String> = new.rules.iter().map(Rule::in_words).collect();
                let rules = rules.join(" and ");
                changes.add(Effect::Wider, format!("is new, and needs {rules}"));
            }
            (Some(_), None) => {
                changes.add(Effect::Narrower, "is gone: nothing can be asked for there");
            }
            (None, None) => {}
        }
    }
    changes.found
}

#[derive(Default)]
struct Changes {
    environment: String,
    found: Vec<PolicyChange>,
}

impl Changes {
    fn add(&mut self, effect: Effect, sentence: impl Into<String>) {
        let environment = self.environment.clone();
        self.found.push(PolicyChange { environment, effect, sentence: sentence.into() });
    }

    fn of_environment(&mut self, old: &Policy, new: &Policy) {
        self.of_lists(&old.services, &new.services, "the service", ("is", "covered"));
        self.of_lists(&old.jobs, &new.jobs, "the job", ("is", "covered"));
        self.of_lists(&old.images, &new.images, "images of", ("may", "be deployed"));
        let tools = |policy: &Policy| -> Vec<String> {
            policy.actions.iter().map(|action| action.tool.clone()).collect()
        };
        self.of_lists(&tools(old), &tools(new), "the tool", ("may", "be asked for"));
        for action in &new.actions {
            if old.action(&action.tool).is_some_and(|before| before != action) {
                self.add(Effect::Different, format!("the tool {} is declared anew", action.tool));
            }
        }
        let words = |requesters: &[RequesterMatch]| -> Vec<String> {
            requesters.iter().map(RequesterMatch::in_words).collect()
        };
        self.of_lists(
            &words(&old.requesters),
            &words(&new.requesters),
            "workloads of",
            ("may", "ask"),
        );
        let runs = |policy: &Policy| -> Vec<String> {
            policy.workflow_runs.iter().map(run_in_words).collect()
        };
        self.of_lists(&runs(old), &runs(new), "runs with", ("may", "be signed for"));
        let accounts = |policy: &Policy| -> Vec<String> {
            let accounts = policy.github_accounts.iter();
            accounts.map(|(account, person)| format!("{account} of {person}")).collect()
        };
        // Whoever started a run cannot sign it, so that one more is one less who may.
        self.of_lists(
            &accounts(new),
            &accounts(old),
            "runs started by the account",
            ("may", "be signed for by its owner"),
        );
        self.of_separation(old, new);
        match (old.groups_must_be_signed, new.groups_must_be_signed) {
            (false, true) => {
                self.add(Effect::Narrower, "only groups count that the directory signed")
            }
            (true, false) => {
                self.add(Effect::Wider, "groups count now that the directory did not sign")
            }
            _ => {}
        }
        self.of_signers(old, new);
        self.of_rules(&old.rules, &new.rules);
        self.of_enrolment(&old.enrolment, &new.enrolment);
        self.of_keys(old.keys.as_ref(), new.keys.as_ref());
        self.of_amount(
            (old.expires_in_seconds, new.expires_in_seconds),
            Effect::Wider,
            "seconds that a request stays open",
        );
        self.of_amount(
            (old.execute_within_seconds, new.execute_within_seconds),
            Effect::Wider,
            "seconds within which an approved rollout begins",
        );
        self.of_amount(
            (old.max_pending, new.max_pending),
            Effect::Wider,
            "requests that may wait at once",
        );
        if old.attestor != new.attestor {
            let words = |policy: &Policy| match &policy.attestor {
                Some(note) => format!("approved images are attested for {note}"),
                None => "approved images are attested for no attestor".to_owned(),
            };
            let (before, after) = (words(old), words(new));
            self.add(Effect::Different, format!("{after}; before, {before}"));
        }
        let unlimited = |policy: &Policy| policy.requests_per_hour.unwrap_or(u64::MAX);
        if unlimited(old) != unlimited(new) {
            let effect =
                if unlimited(new) > unlimited(old) { Effect::Wider } else { Effect::Narrower };
            let words = |policy: &Policy| match policy.requests_per_hour {
                Some(count) => count.to_string(),
                None => "any number".to_owned(),
            };
            let (before, after) = (words(old), words(new));
            self.add(
                effect,
                format!("requests of one requester within an hour: {after}; before, {before}"),
            );
        }
        if old.newer_request != new.newer_request {
            let (before, after) = (in_words(old.newer_request), in_words(new.newer_request));
            let sentence =
                format!("a newer request for the same service {after}; before, it {before}");
            self.add(Effect::Different, sentence);
        }
        if old.default_steps != new.default_steps {
            let (before, after) = (&old.default_steps, &new.default_steps);
            let sentence =
                format!("the steps of a request that names none are {after:?}; before, {before:?}");
            self.add(Effect::Different, sentence);
        } else if old.plan.steps != new.plan.steps {
            let sentence = "what happens between the steps of a request that names none is another";
            self.add(Effect::Different, sentence);
        }
        self.of_plan(&old.plan, &new.plan);
        self.of_windows(&old.windows, &new.windows);
        self.of_break_glass(old.break_glass.as_ref(), new.break_glass.as_ref());
    }

    /// Whether anybody signs for their own commits.
    fn of_separation(&mut self, old: &Policy, new: &Policy) {
        match (&old.separation, &new.separation) {
            (None, Some(_)) => {
                self.add(Effect::Narrower, "nobody signs for commits that they had a hand in now")
            }
            (Some(_), None) => {
                self.add(Effect::Wider, "people may sign for commits that they had a hand in now")
            }
            (Some(before), Some(after)) => {
                if before.github_id_claim != after.github_id_claim {
                    self.add(
                        Effect::Different,
                        "another claim of the directory says whose the accounts at GitHub are",
                    );
                }
                if before.bases != after.bases {
                    self.add(
                        Effect::Different,
                        "the commits from which on it counts who had a hand in them are others",
                    );
                }
            }
            (None, None) => {}
        }
    }

    /// What requests may say of their plans.
    fn of_plan(&mut self, old: &PlanRules, new: &PlanRules) {
        for (before, after, effect, what) in [
            (old.fixed, new.fixed, Effect::Narrower, "every rollout takes the environment's steps"),
            (
                old.tags,
                new.tags,
                Effect::Wider,
                "steps may give a new revision an address of its own",
            ),
        ] {
            match (before, after) {
                (false, true) => self.add(effect, format!("{what} now")),
                (true, false) => self.add(effect.opposite(), format!("no longer so: {what}")),
                _ => {}
            }
        }
        self.of_amount(
            (old.shortest_bake_seconds.into(), new.shortest_bake_seconds.into()),
            Effect::Narrower,
            "seconds that each step before the last is watched at least",
        );
        let longest = |rules: &PlanRules| rules.longest_bake().as_secs().unsigned_abs();
        self.of_amount(
            (longest(old), longest(new)),
            Effect::Wider,
            "seconds that a step may be watched",
        );
        self.of_checks(old, new);
        self.of_amount(
            (old.rollback_window_seconds.into(), new.rollback_window_seconds.into()),
            Effect::Wider,
            "seconds after a success in which one approver may sign the way back",
        );
        if old.on_failure != new.on_failure {
            let sentence =
                format!("where a request says nothing else: {}", new.on_failure.in_words());
            self.add(Effect::Different, sentence.trim_end_matches('.'));
        }
    }

    /// What is checked between steps.
    fn of_checks(&mut self, old: &PlanRules, new: &PlanRules) {
        for (before, after, effect, what) in [
            (old, new, Effect::Narrower, "at every step it is checked now"),
            (new, old, Effect::Wider, "at every step it is no longer checked"),
        ] {
            let here = |check: &&Check| !before.checks.contains(check);
            for check in after.checks.iter().filter(here) {
                self.add(effect, format!("{what}: {}", check.in_words()));
            }
        }
        if old.metrics != new.metrics {
            let (before, after) = (old.metrics_in_words(), new.metrics_in_words());
            let sentence = format!("checks may read {after}; before, {before}");
            self.add(Effect::Different, sentence);
        }
    }

    /// What makes a key count.
    fn of_enrolment(&mut self, old: &EnrolmentRules, new: &EnrolmentRules) {
        self.of_amount(
            (u64::from(old.endorsements), u64::from(new.endorsements)),
            Effect::Narrower,
            "endorsements that a new key needs",
        );
        match (old.trust, new.trust) {
            (TrustLevel::Unpinned, TrustLevel::Pinned) => {
                self.add(Effect::Narrower, "anchors are pinned now");
            }
            (TrustLevel::Pinned, TrustLevel::Unpinned) => {
                self.add(Effect::Wider, "anchors are no longer pinned");
            }
            _ => {}
        }
        match (old.requires_pinned_trust, new.requires_pinned_trust) {
            (false, true) => {
                self.add(Effect::Narrower, "nothing is done without pinned anchors now")
            }
            (true, false) => self.add(Effect::Wider, "pinned anchors are no longer required"),
            _ => {}
        }
    }

    /// Members of a list that give somebody or something a right.
    fn of_lists<T: PartialEq + fmt::Display>(
        &mut self,
        old: &[T],
        new: &[T],
        what: &str,
        (may, right): (&str, &str),
    ) {
        for added in new.iter().filter(|one| !old.contains(one)) {
            self.add(Effect::Wider, format!("{what} {added} {may} {right} now"));
        }
        for removed in old.iter().filter(|one| !new.contains(one)) {
            self.add(Effect::Narrower, format!("{what} {removed} {may} no longer {right}"));
        }
    }

    /// Who may sign at all.
    fn of_signers(&mut self, old: &Policy, new: &Policy) {
        let signers = |policy: &Policy| -> BTreeSet<Principal> {
            policy.rules.iter().flat_map(|rule| rule.from.iter().cloned()).collect()
        };
        let (old, new) = (signers(old), signers(new));
        for added in new.difference(&old) {
            self.add(Effect::Wider, format!("{} may sign now", added.in_words()));
        }
        for removed in old.difference(&new) {
            self.add(Effect::Narrower, format!("{} may no longer sign", removed.in_words()));
        }
    }

    /// What has to be met. Rules out of the same people are one rule whose count changed.
    fn of_rules(&mut self, old: &[Rule], new: &[Rule]) {
        let mut unmatched: Vec<&Rule> = new.iter().collect();
        let same_people = |one: &Rule, other: &Rule| {
            one.from.iter().collect::<BTreeSet<_>>() == other.from.iter().collect::<BTreeSet<_>>()
        };
        let mut gone = Vec::new();
        for before in old {
            let same = unmatched.iter().position(|after| same_people(before, after));
            match same.map(|at| unmatched.remove(at)) {
                None => gone.push(before),
                Some(after) if after.count == before.count => {}
                Some(after) => {
                    let effect =
                        if after.count < before.count { Effect::Wider } else { Effect::Narrower };
                    let sentence =
                        format!("{} must sign; before, {}", after.in_words(), before.in_words());
                    self.add(effect, sentence);
                }
            }
        }
        for before in gone {
            self.add(Effect::Wider, format!("no longer needed: {}", before.in_words()));
        }
        for after in unmatched {
            self.add(Effect::Narrower, format!("needed as well: {}", after.in_words()));
        }
    }

    /// A number of which more is `more`.
    fn of_amount(&mut self, (old, new): (u64, u64), more: Effect, what: &str) {
        let less = if more == Effect::Wider { Effect::Narrower } else { Effect::Wider };
        if old != new {
            let effect = if new > old { more } else { less };
            self.add(effect, format!("{what}: {new}; before, {old}"));
        }
    }
}

fn in_words(newer: NewerRequest) -> &'static str {
    match newer {
        NewerRequest::Supersede => "takes the place of an older one that waits",
        NewerRequest::Queue => "waits beside older ones",
        NewerRequest::Refuse => "is refused while an older one waits",
    }
}
