//! Breaking the glass: a yes at once, by rules of its own, whatever is frozen or closed.

use jiff::Timestamp;

use super::{Approval, TransitionRefusal};
use crate::domain::person::Person;

impl Approval {
    /// Whether this person could break the glass now, and why not: as long as nothing has begun, also where
    /// everybody has signed and it is held. Whoever signed a yes takes it back first: a person says one thing.
    pub fn may_break_glass(
        &self,
        person: &Person,
        name: &str,
        groups: &[String],
        github_id: Option<u64>,
        now: Timestamp,
    ) -> Result<(), TransitionRefusal> {
        self.must_not_have_begun()?;
        if now >= self.runs_out_at() {
            return Err(TransitionRefusal::Expired(self.runs_out_at()));
        }
        let environment = &self.subject.environment;
        let glass = self.policy.break_glass.as_ref();
        let glass = glass.ok_or_else(|| TransitionRefusal::NoBreakGlass(environment.clone()))?;
        if self.policy.was_asked_by(self.subject.subject(), person) {
            return Err(TransitionRefusal::OwnRequest(name.to_owned()));
        }
        if !glass.admits(person, groups) {
            return Err(TransitionRefusal::MayNotBreakGlass(name.to_owned()));
        }
        self.must_be_separate(person, name, github_id)?;
        if self.standing_of(person).is_some() {
            return Err(TransitionRefusal::AlreadyDecided(name.to_owned()));
        }
        if self.is_glass_broken() {
            return Err(TransitionRefusal::Closed(self.status()));
        }
        Ok(())
    }
}
