//! Who may break the glass: fewer who have to is wider.

use super::{Changes, Effect};
use crate::domain::policy::{BreakGlass, Rule};

impl Changes {
    /// Who may break the glass, and how soon somebody else has to sign for it.
    pub(super) fn of_break_glass(&mut self, old: Option<&BreakGlass>, new: Option<&BreakGlass>) {
        match (old, new) {
            (None, None) => {}
            (None, Some(new)) => {
                let who = new.in_words();
                self.add(Effect::Wider, format!("the glass may be broken now, by {who}"));
            }
            (Some(_), None) => {
                self.add(Effect::Narrower, "the glass may no longer be broken");
            }
            (Some(old), Some(new)) => {
                let words = |glass: &BreakGlass| -> Vec<String> {
                    glass.rules.iter().map(Rule::in_words).collect()
                };
                if words(old) != words(new) {
                    let (before, after) = (old.in_words(), new.in_words());
                    let sentence =
                        format!("the glass may be broken by {after}; before, by {before}");
                    self.add(Effect::Different, sentence);
                }
                self.of_amount(
                    (old.explain_within_seconds, new.explain_within_seconds),
                    Effect::Wider,
                    "seconds within which somebody else signs for a broken glass",
                );
            }
        }
        let grace = |glass: Option<&BreakGlass>| {
            let seconds = glass.and_then(|glass| glass.outage_grace_seconds);
            seconds.map_or(0, |seconds| u64::from(seconds.get()))
        };
        self.of_amount(
            (grace(old), grace(new)),
            Effect::Wider,
            "seconds for which a last sign-in counts for breaking the glass while the directory cannot be reached",
        );
    }
}
