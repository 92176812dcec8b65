//! Which people meet which rules: each person counts once, and for one rule only.

use std::collections::BTreeSet;

use super::{Rule, RuleProgress};
use crate::domain::decision::{Decision, Verdict};
use crate::domain::person::Person;

use super::Policy;

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

    /// How far each rule is met by these people.
    ///
    /// People are matched to the places of the rules so that as many places as possible are
    /// filled (augmenting paths of a bipartite matching); a person who could stand for two rules
    /// is used where they are needed.
    pub fn progress(self, signers: &[(Person, Vec<String>)]) -> Vec<RuleProgress> {
        let mut seen = BTreeSet::new();
        let people: Vec<&(Person, Vec<String>)> =
            signers.iter().filter(|(person, _)| seen.insert(person.clone())).collect();
        let places: Vec<usize> = self
            .0
            .iter()
            .enumerate()
            .flat_map(|(rule, Rule { count, .. })| std::iter::repeat_n(rule, usize::from(*count)))
            .collect();
        let mut holder: Vec<Option<usize>> = vec![None; places.len()];
        for person in 0..people.len() {
            let mut visited = vec![false; places.len()];
            self.seat(person, &people, &places, &mut holder, &mut visited);
        }
        (0..self.0.len())
            .map(|rule| RuleProgress {
                met: (0..places.len())
                    .filter(|&place| places[place] == rule && holder[place].is_some())
                    .count(),
                needed: usize::from(self.0[rule].count),
            })
            .collect()
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
