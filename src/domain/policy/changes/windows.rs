//! When something approved may begin: more time is wider, more closed times are narrower.

use super::{Changes, Effect};
use crate::domain::window::{ClosedTime, Window, Windows};

impl Changes {
    /// The windows of the week, and the closed times of calendars.
    pub(super) fn of_windows(&mut self, old: &Windows, new: &Windows) {
        let words = |windows: &Windows| -> Vec<String> {
            windows.open.iter().map(Window::in_words).collect()
        };
        let (before, after) = (words(old), words(new));
        match (before.is_empty(), after.is_empty()) {
            (false, true) => self.add(Effect::Wider, "it is open at any time of the week now"),
            (true, false) => {
                self.add(Effect::Narrower, format!("it is open only {} now", after.join("; ")));
            }
            _ => self.of_times(&before, &after, "open", Effect::Wider),
        }
        let words = |windows: &Windows| -> Vec<String> {
            windows.closed.iter().map(ClosedTime::in_words).collect()
        };
        self.of_times(&words(old), &words(new), "closed", Effect::Narrower);
    }

    fn of_times(&mut self, old: &[String], new: &[String], what: &str, more: Effect) {
        for added in new.iter().filter(|one| !old.contains(one)) {
            self.add(more, format!("{what} now: {added}"));
        }
        for removed in old.iter().filter(|one| !new.contains(one)) {
            self.add(more.opposite(), format!("no longer {what}: {removed}"));
        }
    }
}
