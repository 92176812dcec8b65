//! The clock: the one place that asks the system what time it is.
//!
//! Everything else takes the time as an argument, so that a test can hold it still,
//! move it, or let two gates disagree about it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};

/// A source of the current time. Clones share one offset from the system's clock.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    offset_microseconds: Arc<AtomicI64>,
}

impl Clock {
    /// The system's clock as it is.
    pub fn system() -> Self {
        Self::default()
    }

    /// The current time, in whole microseconds: the precision that storage keeps.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks the system")]
    pub fn now(&self) -> Timestamp {
        let system = Timestamp::now().as_microsecond();
        let shifted = system + self.offset_microseconds.load(Ordering::Relaxed);
        Timestamp::from_microsecond(shifted).unwrap_or(Timestamp::MAX)
    }

    /// Moves this clock, and every clone of it, by `by` against the system's clock.
    pub fn shift(&self, by: SignedDuration) {
        let microseconds = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        self.offset_microseconds.fetch_add(microseconds, Ordering::Relaxed);
    }
}
