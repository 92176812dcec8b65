//! Whether whoever signs had no hand in what is shipped.

use super::{Approval, TransitionRefusal};
use crate::domain::person::Person;
use crate::domain::separation::Separated;

impl Approval {
    /// Whether this person had no hand in what is shipped, where the rules ask for that.
    pub(super) fn must_be_separate(
        &self,
        person: &Person,
        name: &str,
        github_id: Option<u64>,
    ) -> Result<(), TransitionRefusal> {
        match self.policy.separates(self.subject.subject(), person, github_id) {
            None => Ok(()),
            Some(Separated::Contributor) => Err(TransitionRefusal::OwnCommits(name.to_owned())),
            Some(Separated::AccountUnknown) => {
                Err(TransitionRefusal::AccountUnknown(name.to_owned()))
            }
            Some(Separated::CommitsUnknown) => Err(TransitionRefusal::CommitsUnknown),
        }
    }
}
