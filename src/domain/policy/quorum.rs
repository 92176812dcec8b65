//! Which people meet which rules: each person counts once, and for one rule only.

use std::collections::{BTreeMap, BTreeSet};

use super::{Policy, Rule, RuleProgress};
use crate::domain::decision::{Decision, Verdict};
use crate::domain::person::Person;

/// Rules that must all be met, and nothing else of a policy.
#[derive(Clone, Copy)]
pub(super) struct Quorum<'a>(pub &'a [Rule]);

/// By which rules of a policy the people who signed suffice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sufficient {
    /// By its rules.
    ByRules,
    /// By its rules for breaking the glass, whatever the others say.
    ByBreakGlass,
}

impl Policy {
    /// By which rules what these people signed suffices, if it does. `standing` are the decisions that nobody took
    /// back, of people who count. A yes counts for the rules alone, a broken glass for its own rules alone.
    pub fn suffices(&self, standing: &[&Decision]) -> Option<Sufficient> {
        let signers = |verdict: Verdict| -> Vec<(Person, Vec<String>)> {
            let theirs = standing.iter().filter(|decision| decision.verdict == verdict);
            theirs.map(|one| (one.person.clone(), one.groups.clone())).collect()
        };
        let glass = self.break_glass.as_ref().map(|glass| Quorum(&glass.rules));
        if glass.is_some_and(|glass| glass.is_met(&signers(Verdict::BreakGlass))) {
            Some(Sufficient::ByBreakGlass)
        } else {
            self.is_met(&signers(Verdict::Approve)).then_some(Sufficient::ByRules)
        }
    }
}

impl Quorum<'_> {
    /// Whether this person may sign for at least one rule.
    pub fn admits(self, person: &Person, groups: &[String]) -> bool {
        self.0.iter().any(|rule| rule.admits(person, groups))
    }

    /// How far each rule is met by these people, each of whom counts once and for one rule only, among the
    /// rules of one environment.
    pub fn progress(self, signers: &[(Person, Vec<String>)]) -> Vec<RuleProgress> {
        let mut seen = BTreeSet::new();
        let people: Vec<&(Person, Vec<String>)> =
            signers.iter().filter(|(person, _)| seen.insert(person.clone())).collect();
        let environments: BTreeSet<&Option<String>> =
            self.0.iter().map(|rule| &rule.environment).collect();
        let met: BTreeMap<usize, usize> =
            environments.into_iter().flat_map(|one| self.seated(one.as_deref(), &people)).collect();
        let rules = self.0.iter().enumerate();
        rules
            .map(|(rule, Rule { count, .. })| RuleProgress {
                met: met.get(&rule).copied().unwrap_or_default(),
                needed: usize::from(*count),
            })
            .collect()
    }

    /// How many places of each rule of one environment are filled.
    ///
    /// People are matched to the places of the rules so that as many places as possible are
    /// filled (augmenting paths of a bipartite matching); a person who could stand for two rules
    /// is used where they are needed.
    fn seated(
        self,
        environment: Option<&str>,
        people: &[&(Person, Vec<String>)],
    ) -> Vec<(usize, usize)> {
        let rules = self.0.iter().enumerate();
        let own: Vec<(usize, &Rule)> =
            rules.filter(|(_, rule)| rule.environment.as_deref() == environment).collect();
        let places: Vec<usize> = own
            .iter()
            .flat_map(|(rule, Rule { count, .. })| std::iter::repeat_n(*rule, usize::from(*count)))
            .collect();
        let mut holder: Vec<Option<usize>> = vec![None; places.len()];
        for person in 0..people.len() {
            let mut visited = vec![false; places.len()];
            self.seat(person, people, &places, &mut holder, &mut visited);
        }
        let filled = |rule: usize| {
            (0..places.len())
                .filter(|&place| places[place] == rule && holder[place].is_some())
                .count()
        };
        own.iter().map(|(rule, _)| (*rule, filled(*rule))).collect()
    }

    fn seat(
        self,
        person: usize,
        people: &[&(Person, Vec<String>)],
        places: &[usize],
        holder: &mut [Option<usize>],
        visited: &mut [bool],
    ) -> bool {
        for place in 0..places.len() {
            let (identity, groups) = people[person];
            if visited[place] || !self.0[places[place]].admits(identity, groups) {
                continue;
            }
            visited[place] = true;
            let free = match holder[place] {
                None => true,
                Some(other) => self.seat(other, people, places, holder, visited),
            };
            if free {
                holder[place] = Some(person);
                return true;
            }
        }
        false
    }

    /// Whether all rules are met. No rules are never met: no rules is not a yes.
    pub fn is_met(self, signers: &[(Person, Vec<String>)]) -> bool {
        !self.0.is_empty()
            && self.progress(signers).iter().all(|rule| rule.needed > 0 && rule.met >= rule.needed)
    }
}
