//! When an environment is open: windows of the week, and the closed times of calendars.
//!
//! What a clock on the wall of a place shows decides, by the time zones of the IANA database that is built in.
//! Where it is put forward, the times that it skips open nothing; where it is put back, it shows an hour twice,
//! and both count. So whoever has the database decides the same from the frozen rules and a time alone.

mod words;

use std::fmt;
use std::str::FromStr;

use jiff::civil::{DateTime, Time, Weekday};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Span, Timestamp};
use serde::{Deserialize, Serialize};

/// How far ahead an opening is looked for: first where it usually is, then for as long as anybody plans.
const HORIZONS: [i32; 2] = [8, 366];

/// When something approved may begin or take a step. Without windows it is always open, but for closed times.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Windows {
    /// The windows of the week: one of them has to be open.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub open: Vec<Window>,
    /// The closed times of the calendars that the environment names: none of them may be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub closed: Vec<ClosedTime>,
}

/// A window that opens on the same days of every week.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// The days on which it opens, from Monday on.
    pub days: Vec<Day>,
    /// When it opens.
    pub from: ClockTime,
    /// When it closes: on the next day, if that is not later than `from`.
    pub to: ClockTime,
    /// Where the clock hangs: an IANA name such as `Europe/Berlin`.
    pub time_zone: String,
}

/// A time in which nothing begins.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClosedTime {
    /// The calendar that it stands in.
    pub calendar: String,
    /// When it begins.
    pub from: LocalTime,
    /// When it is over.
    pub to: LocalTime,
    /// Where the clock hangs.
    pub time_zone: String,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A day of the week.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

/// What a clock shows: `09:00`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClockTime(Time);

/// What a clock and a calendar beside it show: `2026-12-24T00:00`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LocalTime(DateTime);

/// The text is no such time.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no time: write it as {1}")]
pub struct InvalidLocalTime(String, &'static str);

/// Why it is not open, and when it will be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Closure {
    /// The closed time, if it is one; none outside the windows.
    pub closed: Option<ClosedTime>,
    /// When it opens, if it does within a year.
    pub opens: Option<Opening>,
}

/// A moment at which it opens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opening {
    /// When.
    pub at: Timestamp,
    /// Whose clock says so.
    pub time_zone: String,
}

impl Windows {
    /// Whether nothing is said, so that it is always open.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty() && self.closed.is_empty()
    }

    /// Whether something may begin now.
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.is_told()
            && self.closed_by(now).is_none()
            && (self.open.is_empty() || self.open.iter().any(|window| window.is_open(now)))
    }

    /// Why nothing may begin now, if so.
    pub fn closure(&self, now: Timestamp) -> Option<Closure> {
        if self.is_open(now) {
            return None;
        }
        Some(Closure { closed: self.closed_by(now).cloned(), opens: self.opens_at(now) })
    }

    /// The next moment at which it opens, if there is one within a year.
    pub fn opens_at(&self, now: Timestamp) -> Option<Opening> {
        HORIZONS.into_iter().find_map(|days| {
            let horizon = SignedDuration::from_hours(24 * i64::from(days));
            let end = now.saturating_add(horizon).unwrap_or(Timestamp::MAX);
            let mut moments = self.moments(now, days, end);
            moments.sort();
            let mut ahead = moments.into_iter().filter(|at| now < *at && *at < end);
            let at = ahead.find(|at| self.is_open(*at))?;
            let windows = self.open.iter().filter(|window| window.is_open(at));
            let zones = windows.map(|window| &window.time_zone);
            let zones = zones.chain(self.closed.iter().map(|closed| &closed.time_zone));
            Some(Opening { at, time_zone: zones.into_iter().next()?.clone() })
        })
    }

    /// Whether it is neither open now nor opens within a year.
    pub fn never_opens(&self, now: Timestamp) -> bool {
        !self.is_open(now) && self.opens_at(now).is_none()
    }

    /// Whether every time zone is known. Where one is not, nothing is open.
    fn is_told(&self) -> bool {
        let open = self.open.iter().map(|window| &window.time_zone);
        open.chain(self.closed.iter().map(|closed| &closed.time_zone))
            .all(|name| is_time_zone(name))
    }

    fn closed_by(&self, now: Timestamp) -> Option<&ClosedTime> {
        self.closed.iter().find(|closed| closed.covers(now))
    }

    /// Every moment around the days from `now` to `end` at which it could open: a window does, a closed time is over, or a
    /// clock is put forward or back.
    fn moments(&self, now: Timestamp, days: i32, end: Timestamp) -> Vec<Timestamp> {
        let mut moments = Vec::new();
        for window in &self.open {
            let Some(zone) = zone(&window.time_zone) else { continue };
            let today = zone.to_datetime(now).date();
            for day in 0..=days {
                let date = today.saturating_add(Span::new().days(day));
                moments.extend(shown_at(&zone, date.to_datetime(window.from.0)));
            }
            moments.extend(put_at(&zone, now, end));
        }
        for closed in &self.closed {
            let Some(zone) = zone(&closed.time_zone) else { continue };
            moments.extend(shown_at(&zone, closed.to.0));
            moments.extend(put_at(&zone, now, end));
        }
        moments
    }
}

/// When a clock shows this: at one moment, at two, or around the moment at which it is put forward over it.
fn shown_at(zone: &TimeZone, local: DateTime) -> impl Iterator<Item = Timestamp> {
    let found = |which: fn(jiff::tz::AmbiguousTimestamp) -> Result<Timestamp, jiff::Error>| {
        which(zone.to_ambiguous_timestamp(local)).ok()
    };
    let earlier = found(jiff::tz::AmbiguousTimestamp::earlier);
    earlier.into_iter().chain(found(jiff::tz::AmbiguousTimestamp::later))
}

/// When a clock is put forward or back.
fn put_at(zone: &TimeZone, from: Timestamp, end: Timestamp) -> impl Iterator<Item = Timestamp> {
    let changes = zone.following(from).map(|change| change.timestamp());
    changes.take_while(move |at| *at < end)
}

/// The time zone of this very name.
fn zone(name: &str) -> Option<TimeZone> {
    let found = TimeZoneDatabase::bundled().get(name).ok()?;
    (found.iana_name() == Some(name)).then_some(found)
}

/// Whether there is a time zone of this name, in this spelling.
pub fn is_time_zone(name: &str) -> bool {
    zone(name).is_some()
}

impl Window {
    /// Whether it is open now.
    fn is_open(&self, now: Timestamp) -> bool {
        let Some(zone) = zone(&self.time_zone) else { return false };
        let local = zone.to_datetime(now);
        let (time, today) = (local.time(), local.weekday());
        let opens_on = |day: Weekday| self.days.contains(&Day::from(day));
        let (from, to) = (self.from.0, self.to.0);
        if from < to {
            opens_on(today) && from <= time && time < to
        } else {
            opens_on(today) && from <= time || opens_on(today.previous()) && time < to
        }
    }
}

impl ClosedTime {
    /// Whether it covers this moment.
    fn covers(&self, now: Timestamp) -> bool {
        zone(&self.time_zone).is_some_and(|zone| {
            let local = zone.to_datetime(now);
            self.from.0 <= local && local < self.to.0
        })
    }

    /// Whether it is over.
    pub fn is_over(&self, now: Timestamp) -> bool {
        zone(&self.time_zone).is_some_and(|zone| self.to.0 <= zone.to_datetime(now))
    }
}

impl From<Weekday> for Day {
    fn from(day: Weekday) -> Self {
        match day {
            Weekday::Monday => Self::Mon,
            Weekday::Tuesday => Self::Tue,
            Weekday::Wednesday => Self::Wed,
            Weekday::Thursday => Self::Thu,
            Weekday::Friday => Self::Fri,
            Weekday::Saturday => Self::Sat,
            Weekday::Sunday => Self::Sun,
        }
    }
}

impl LocalTime {
    /// Midnight at which this day begins, or the next one.
    pub fn of_day(text: &str, next: bool) -> Option<Self> {
        let date: jiff::civil::Date = text.parse().ok()?;
        let date = if next { date.tomorrow().ok()? } else { date };
        let midnight = Self(date.to_datetime(Time::midnight()));
        // Other spellings of a day, and days with times, are no days.
        (text.len() == "2026-12-24".len()).then_some(midnight)
    }
}

impl fmt::Display for ClockTime {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0.strftime("%H:%M"))
    }
}

impl FromStr for ClockTime {
    type Err = InvalidLocalTime;

    fn from_str(text: &str) -> Result<Self, InvalidLocalTime> {
        let time = Time::strptime("%H:%M", text).ok().map(Self);
        time.filter(|time| time.to_string() == text)
            .ok_or_else(|| InvalidLocalTime(text.to_owned(), "09:00"))
    }
}

impl fmt::Display for LocalTime {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0.strftime("%Y-%m-%dT%H:%M"))
    }
}

impl FromStr for LocalTime {
    type Err = InvalidLocalTime;

    fn from_str(text: &str) -> Result<Self, InvalidLocalTime> {
        let time = DateTime::strptime("%Y-%m-%dT%H:%M", text).ok().map(Self);
        // As of all times in documents: the years that every language's calendar has.
        time.filter(|time| time.to_string() == text && (1..=9998).contains(&time.0.year()))
            .ok_or_else(|| InvalidLocalTime(text.to_owned(), "2026-12-24 or 2026-12-24T18:00"))
    }
}

impl TryFrom<String> for ClockTime {
    type Error = InvalidLocalTime;

    fn try_from(text: String) -> Result<Self, InvalidLocalTime> {
        text.parse()
    }
}

impl TryFrom<String> for LocalTime {
    type Error = InvalidLocalTime;

    fn try_from(text: String) -> Result<Self, InvalidLocalTime> {
        text.parse()
    }
}

impl From<ClockTime> for String {
    fn from(time: ClockTime) -> Self {
        time.to_string()
    }
}

impl From<LocalTime> for String {
    fn from(time: LocalTime) -> Self {
        time.to_string()
    }
}

#[cfg(test)]
mod tests;
