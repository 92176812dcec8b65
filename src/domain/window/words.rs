//! Windows and closed times, in words.

use jiff::{SignedDuration, Timestamp};

use super::{ClosedTime, Closure, Day, Opening, Window, Windows, zone};

impl Day {
    fn in_words(self) -> &'static str {
        match self {
            Self::Mon => "Monday",
            Self::Tue => "Tuesday",
            Self::Wed => "Wednesday",
            Self::Thu => "Thursday",
            Self::Fri => "Friday",
            Self::Sat => "Saturday",
            Self::Sun => "Sunday",
        }
    }
}

impl Window {
    /// `Monday, Tuesday, 09:00 to 17:00 (Europe/Berlin)`.
    pub fn in_words(&self) -> String {
        let days: Vec<&str> = self.days.iter().map(|day| day.in_words()).collect();
        let days = if days.len() == 7 { "every day".to_owned() } else { days.join(", ") };
        let next = if self.from < self.to { "" } else { " of the next day" };
        format!("{days}, {} to {}{next} ({})", self.from, self.to, self.time_zone)
    }
}

impl ClosedTime {
    /// `2026-12-24 00:00 to 2026-12-27 00:00 (Europe/Berlin): “Christmas”`.
    pub fn in_words(&self) -> String {
        let [from, to] = [self.from, self.to].map(|time| time.to_string().replace('T', " "));
        let reason = self.reason.as_ref().map(|reason| format!(": “{}”", reason.trim()));
        format!("{from} to {to} ({}){}", self.time_zone, reason.unwrap_or_default())
    }
}

impl Windows {
    /// Each window, then each closed time that is not over.
    pub fn in_words(&self, now: Timestamp) -> Vec<String> {
        let open = self.open.iter().map(|window| format!("open {}", window.in_words()));
        let coming = self.closed.iter().filter(|closed| !closed.is_over(now));
        let closed = coming.map(|one| format!("closed by {}, {}", one.calendar, one.in_words()));
        open.chain(closed).collect()
    }
}

impl Opening {
    /// `Monday 09:00 (Europe/Berlin)`, and with its date where that is not the next Monday.
    pub fn in_words(&self, now: Timestamp) -> String {
        let form = if self.at.duration_since(now) < SignedDuration::from_hours(6 * 24) {
            "%A %H:%M"
        } else {
            "%A %-d %B %Y, %H:%M"
        };
        // A name without a zone opens nothing.
        let local = zone(&self.time_zone).map(|zone| zone.to_datetime(self.at));
        let local = local.map(|local| local.strftime(form).to_string());
        format!("{} ({})", local.unwrap_or_else(|| self.at.to_string()), self.time_zone)
    }
}

impl Closure {
    /// What closes an environment, and when it opens: `production is outside its windows. It opens Monday 09:00
    /// (Europe/Berlin).`
    pub fn sentence(&self, environment: &str, now: Timestamp) -> String {
        let why = match &self.closed {
            None => format!("{environment} is outside its windows."),
            Some(ClosedTime { calendar, reason: Some(reason), .. }) => {
                format!("{environment} is closed by its calendar {calendar}, “{}”.", reason.trim())
            }
            Some(ClosedTime { calendar, reason: None, .. }) => {
                format!("{environment} is closed by its calendar {calendar}.")
            }
        };
        match &self.opens {
            Some(opening) => format!("{why} It opens {}.", opening.in_words(now)),
            None => format!(
                "{why} It does not open within a year: whoever looks after its rules has to change its windows."
            ),
        }
    }
}
