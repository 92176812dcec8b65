//! Which rules were in force in the period, as far as its entries tell it: each came into force by the signatures
//! that those before it ask for, and nothing was asked for under others.

use crate::domain::ledger::Record;
use crate::domain::rulebook::{RULES_IN_FORCE, Rulebook};
use crate::proof::verify::Verified;

/// The rules that entries of the period put into force.
#[derive(Default)]
pub(super) struct RulesTold(Vec<Told>);

struct Told {
    entry: u64,
    rules: Rulebook,
    approval: Option<String>,
    /// Whether the evidence of that approval shows what was signed.
    is_shown: bool,
}

impl RulesTold {
    /// Takes in the next entry.
    ///
    /// # Errors
    /// What does not hold of one that puts rules into force.
    pub(super) fn take(&mut self, index: u64, record: &Record) -> Result<(), &'static str> {
        if record.kind != RULES_IN_FORCE {
            return Ok(());
        }
        let rules =
            Rulebook::of_value(&record.data["rules"]).map_err(|_| "its rules cannot be read")?;
        let approval = record.approval.as_ref().map(|approval| approval.id.to_string());
        if approval.is_none() && !self.0.is_empty() {
            return Err("it puts rules into force that nobody signed");
        }
        let is_shown = approval.is_none();
        self.0.push(Told { entry: index, rules, approval, is_shown });
        Ok(())
    }

    /// Holds an approval, whose first entry has this index, to the rules that were in force then.
    ///
    /// # Errors
    /// What does not hold.
    pub(super) fn check(&mut self, verified: &Verified, asked: u64) -> Result<(), &'static str> {
        let (subject, policy) = (verified.subject(), verified.policy());
        let then = self.0.iter().rev().find(|told| told.entry < asked);
        if let Some(Told { rules, .. }) = then {
            let is_theirs = match subject.rule_change() {
                Some(change) => change.before == *rules,
                None => {
                    let rules = rules.environments.get(&subject.environment);
                    rules == Some(&policy.without_suspensions())
                }
            };
            if !is_theirs {
                return Err("it was asked for under rules that were not in force then");
            }
        }
        let id = subject.approval.as_str();
        let place = self.0.iter().position(|told| told.approval.as_deref() == Some(id));
        let (Some(place), Some(change)) = (place, subject.rule_change()) else {
            return if place.is_none() { Ok(()) } else { Err("it is no change of the rules") };
        };
        let before = place.checked_sub(1).map(|before| &self.0[before].rules);
        let is_signed = verified.is_approved()
            && change.after == self.0[place].rules
            && before.is_none_or(|before| change.before == *before);
        if !is_signed {
            return Err("the rules that came into force are not those that were signed");
        }
        self.0[place].is_shown = true;
        Ok(())
    }

    /// The entry of rules for which no approval was shown.
    pub(super) fn unsigned(&self) -> Option<u64> {
        self.0.iter().find(|told| !told.is_shown).map(|told| told.entry)
    }
}
