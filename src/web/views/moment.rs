//! Times, as pages write them.

use jiff::Timestamp;

/// One moment: for machines, in full, and counted from now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Moment {
    /// RFC 3339 in UTC, whole seconds: the `datetime` attribute.
    pub datetime: String,
    /// `24 Nov 2026, 14:32 UTC`.
    pub absolute: String,
    /// `in 3 hours`, `5 minutes ago`.
    pub relative: String,
}

impl Moment {
    /// Words `at` as seen from `now`.
    pub fn new(at: Timestamp, now: Timestamp) -> Self {
        Self {
            datetime: at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            absolute: at.strftime("%-d %b %Y, %H:%M UTC").to_string(),
            relative: relative(at.as_second() - now.as_second()),
        }
    }
}

fn relative(seconds: i64) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    let distance = seconds.unsigned_abs();
    let (count, unit) = match distance {
        0..MINUTE => {
            return if seconds > 0 { "in less than a minute" } else { "just now" }.to_owned();
        }
        MINUTE..HOUR => (distance / MINUTE, "minute"),
        HOUR..DAY => (distance / HOUR, "hour"),
        _ => (distance / DAY, "day"),
    };
    let plural = if count == 1 { "" } else { "s" };
    if seconds > 0 {
        format!("in {count} {unit}{plural}")
    } else {
        format!("{count} {unit}{plural} ago")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_in_words() {
        let now: Timestamp = "2026-11-24T14:00:00Z".parse().unwrap();
        let words = |at: &str| Moment::new(at.parse().unwrap(), now).relative;
        assert_eq!(words("2026-11-24T14:00:00Z"), "just now");
        assert_eq!(words("2026-11-24T14:00:59Z"), "in less than a minute");
        assert_eq!(words("2026-11-24T14:01:00Z"), "in 1 minute");
        assert_eq!(words("2026-11-24T11:30:00Z"), "2 hours ago");
        assert_eq!(words("2026-11-26T15:00:00Z"), "in 2 days");
        let moment = Moment::new("2026-11-24T14:32:10.5Z".parse().unwrap(), now);
        assert_eq!(moment.absolute, "24 Nov 2026, 14:32 UTC");
        assert_eq!(moment.datetime, "2026-11-24T14:32:10Z");
    }
}
