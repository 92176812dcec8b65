//! What a failed check means.

use super::failure::Failure;

/// Hears the outcome of every check.
pub(super) trait Judge {
    /// Goes on, or ends the verification.
    ///
    /// # Errors
    /// The failure that ends it.
    fn pass(&self, outcome: Result<(), Failure>) -> Result<(), Failure>;

    /// Goes on if something holds, or hears why it does not.
    ///
    /// # Errors
    /// The failure that ends it.
    fn require(&self, holds: bool, failure: impl FnOnce() -> Failure) -> Result<(), Failure> {
        self.pass(if holds { Ok(()) } else { Err(failure()) })
    }
}

/// The judge of the program: the first failure is the end.
pub(super) struct Strict;

impl Judge for Strict {
    fn pass(&self, outcome: Result<(), Failure>) -> Result<(), Failure> {
        outcome
    }
}

/// For tests, which show with it that a forgery that is refused would be believed but for the very
/// check that refuses it. It is in no release, and nothing of the program names it.
#[cfg(debug_assertions)]
pub(super) struct AllBut<'a>(pub &'a [super::Code]);

#[cfg(debug_assertions)]
impl Judge for AllBut<'_> {
    fn pass(&self, outcome: Result<(), Failure>) -> Result<(), Failure> {
        outcome.or_else(
            |failure| {
                if self.0.contains(&failure.code()) { Ok(()) } else { Err(failure) }
            },
        )
    }
}
