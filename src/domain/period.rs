//! A period of whole days or moments, in UTC.

use jiff::Timestamp;
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;

/// From a moment on, and until before another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Period {
    /// The first moment that belongs to it.
    pub from: Timestamp,
    /// The first that does not any more.
    pub until: Timestamp,
}

/// The text is neither a day nor a moment.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InvalidPeriod {
    /// One of the two texts cannot be read.
    #[error("{0:?} is neither a day such as 2026-03-31 nor a moment such as 2026-03-31T12:00:00Z")]
    Moment(String),
    /// There is nothing between them.
    #[error("the period ends before it begins")]
    Empty,
}

impl Period {
    /// The period from `first` to `last`, both days included. In place of a day there may be a
    /// moment (RFC 3339); the last one does not belong to the period any more.
    ///
    /// # Errors
    /// If a text cannot be read, or nothing is between the two.
    pub fn parse(first: &str, last: &str) -> Result<Self, InvalidPeriod> {
        let period = Self { from: begin(first)?, until: end(last)? };
        if period.from < period.until { Ok(period) } else { Err(InvalidPeriod::Empty) }
    }

    /// Whether a moment belongs to it.
    pub fn contains(&self, at: Timestamp) -> bool {
        self.from <= at && at < self.until
    }
}

/// The first moment of a day (UTC), or the moment itself.
pub fn begin(text: &str) -> Result<Timestamp, InvalidPeriod> {
    let day = text.parse::<Date>().ok().filter(|_| is_day(text));
    day.and_then(midnight).or_else(|| moment(text)).ok_or_else(|| invalid(text))
}

/// The first moment after a day (UTC), or the moment itself.
pub fn end(text: &str) -> Result<Timestamp, InvalidPeriod> {
    let day = text.parse::<Date>().ok().filter(|_| is_day(text));
    let next = day.and_then(|day| day.tomorrow().ok()).and_then(midnight);
    next.or_else(|| moment(text)).ok_or_else(|| invalid(text))
}

/// `2026-03-31`: the parser takes more than that.
fn is_day(text: &str) -> bool {
    text.len() == 10
}

fn moment(text: &str) -> Option<Timestamp> {
    text.parse().ok().filter(|_| text.ends_with('Z'))
}

fn midnight(day: Date) -> Option<Timestamp> {
    TimeZone::UTC.to_timestamp(day.to_datetime(Time::midnight())).ok()
}

fn invalid(text: &str) -> InvalidPeriod {
    InvalidPeriod::Moment(text.chars().take(40).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_whole_and_in_utc() {
        let period = Period::parse("2026-01-01", "2026-03-31").unwrap();
        assert_eq!(period.from.to_string(), "2026-01-01T00:00:00Z");
        assert_eq!(period.until.to_string(), "2026-04-01T00:00:00Z");
        assert!(period.contains("2026-03-31T23:59:59.999Z".parse().unwrap()));
        assert!(!period.contains(period.until));
        let period = Period::parse("2026-01-01T12:00:00Z", "2026-01-01").unwrap();
        assert_eq!(period.from.to_string(), "2026-01-01T12:00:00Z");
        for (first, last) in [
            ("2026-02-30", "2026-03-31"),
            ("01.02.2026", "2026-03-31"),
            ("2026-1-1", "2026-03-31"),
            ("2026-01-01T00:00:00+01:00", "2026-03-31"),
            ("", "2026-03-31"),
            ("2026-04-02", "2026-04-01"),
        ] {
            assert!(Period::parse(first, last).is_err(), "{first} {last}");
        }
    }
}
