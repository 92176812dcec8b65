use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn window(days: &[Day], from: &str, to: &str, time_zone: &str) -> Window {
    Window {
        days: days.to_vec(),
        from: from.parse().unwrap(),
        to: to.parse().unwrap(),
        time_zone: time_zone.to_owned(),
    }
}

fn closed(from: &str, to: &str, time_zone: &str) -> ClosedTime {
    ClosedTime {
        calendar: "holidays".to_owned(),
        from: from.parse().unwrap(),
        to: to.parse().unwrap(),
        time_zone: time_zone.to_owned(),
        reason: Some("Christmas".to_owned()),
    }
}

const EVERY_DAY: [Day; 7] = [Day::Mon, Day::Tue, Day::Wed, Day::Thu, Day::Fri, Day::Sat, Day::Sun];
const BERLIN: &str = "Europe/Berlin";

fn weekdays() -> Windows {
    let open = vec![window(&EVERY_DAY[..4], "09:00", "17:00", BERLIN)];
    Windows { open, closed: Vec::new() }
}

/// Looks at every few minutes of a week, so that nothing rests on the search for openings alone.
fn next_open_minute(windows: &Windows, now: Timestamp) -> Option<Timestamp> {
    let minutes = (1..=8 * 24 * 60).map(|minute| now + SignedDuration::from_mins(minute));
    minutes.into_iter().find(|at| windows.is_open(*at))
}

#[test]
fn without_windows_it_is_always_open() {
    let always = Windows::default();
    assert!(always.is_empty() && always.is_open(at("2026-11-29T03:00:00Z")));
    assert_eq!(always.closure(at("2026-11-29T03:00:00Z")), None);
}

#[test]
fn a_window_is_open_from_its_first_moment_to_before_its_last() {
    let windows = weekdays();
    // Monday, 30 November 2026, in winter: an hour before UTC.
    for (time, is_open) in [
        ("2026-11-30T07:59:59.999999Z", false),
        ("2026-11-30T08:00:00Z", true),
        ("2026-11-30T15:59:59.999999Z", true),
        ("2026-11-30T16:00:00Z", false),
        ("2026-12-04T10:00:00Z", false),
        ("2026-12-06T10:00:00Z", false),
        // In summer: two.
        ("2026-06-01T07:00:00Z", true),
        ("2026-06-01T15:00:00Z", false),
    ] {
        assert_eq!(windows.is_open(at(time)), is_open, "{time}");
    }
}

#[test]
fn what_is_closed_says_when_it_opens() {
    let friday = at("2026-12-04T12:00:00Z");
    let closure = weekdays().closure(friday).unwrap();
    assert_eq!(
        closure.sentence("production", friday),
        "production is outside its windows. It opens Monday 09:00 (Europe/Berlin)."
    );
    let windows = Windows {
        closed: vec![closed("2026-12-07T00:00", "2026-12-14T12:30", BERLIN)],
        ..weekdays()
    };
    let closure = windows.closure(friday).unwrap();
    assert!(closure.closed.is_none());
    assert_eq!(closure.opens.as_ref().unwrap().at, at("2026-12-14T11:30:00Z"));
    let monday = at("2026-12-07T10:00:00Z");
    assert_eq!(
        windows.closure(monday).unwrap().sentence("production", monday),
        "production is closed by its calendar holidays, “Christmas”. It opens Monday 14 December 2026, 12:30 (Europe/Berlin)."
    );
}

#[test]
fn a_window_can_go_over_midnight() {
    let night =
        Windows { open: vec![window(&[Day::Sat], "22:00", "06:00", BERLIN)], closed: Vec::new() };
    for (time, is_open) in [
        ("2026-12-05T20:59:00Z", false),
        ("2026-12-05T21:00:00Z", true),
        ("2026-12-06T04:59:00Z", true),
        ("2026-12-06T05:00:00Z", false),
        ("2026-12-06T21:30:00Z", false),
        // In the morning of the Saturday itself it has not opened yet.
        ("2026-12-05T03:00:00Z", false),
    ] {
        assert_eq!(night.is_open(at(time)), is_open, "{time}");
    }
    let whole =
        Windows { open: vec![window(&[Day::Sun], "00:00", "00:00", "UTC")], closed: Vec::new() };
    assert!(whole.is_open(at("2026-12-06T00:00:00Z")));
    assert!(whole.is_open(at("2026-12-06T23:59:59Z")));
    assert!(!whole.is_open(at("2026-12-07T00:00:00Z")));
}

#[test]
fn a_clock_that_is_put_forward_opens_nothing_that_it_skips() {
    // On 29 March 2026 the clock goes from 02:00 to 03:00 at 01:00 UTC.
    let all =
        |from, to| Windows { open: vec![window(&EVERY_DAY, from, to, BERLIN)], closed: Vec::new() };
    let before = at("2026-03-29T00:30:00Z");
    let skipped = all("02:00", "03:00");
    assert!(!skipped.is_open(at("2026-03-29T00:59:59Z")));
    assert!(!skipped.is_open(at("2026-03-29T01:00:00Z")));
    assert_eq!(skipped.opens_at(before).unwrap().at, at("2026-03-30T00:00:00Z"));
    // Half of this one is skipped: it opens when the clock shows more than its beginning.
    let half = all("02:30", "03:30");
    assert_eq!(half.opens_at(before).unwrap().at, at("2026-03-29T01:00:00Z"));
    assert!(half.is_open(at("2026-03-29T01:29:00Z")));
    assert!(!half.is_open(at("2026-03-29T01:30:00Z")));
}

#[test]
fn a_clock_that_is_put_back_shows_an_hour_twice() {
    // On 25 October 2026 the clock goes from 03:00 to 02:00 at 01:00 UTC.
    let windows =
        Windows { open: vec![window(&EVERY_DAY, "02:15", "02:45", BERLIN)], closed: Vec::new() };
    let first = at("2026-10-25T00:00:00Z");
    assert_eq!(windows.opens_at(first).unwrap().at, at("2026-10-25T00:15:00Z"));
    let between = at("2026-10-25T00:50:00Z");
    assert!(!windows.is_open(between));
    assert_eq!(windows.opens_at(between).unwrap().at, at("2026-10-25T01:15:00Z"));
    // A closed day of this place is closed for all of its 25 hours.
    let closed = Windows {
        open: Vec::new(),
        closed: vec![closed("2026-10-25T00:00", "2026-10-26T00:00", BERLIN)],
    };
    assert!(closed.is_open(at("2026-10-24T21:59:59Z")));
    for hour in 0..25 {
        let time = at("2026-10-24T22:00:00Z") + SignedDuration::from_hours(hour);
        assert!(!closed.is_open(time), "{time}");
    }
    assert!(closed.is_open(at("2026-10-25T23:00:00Z")));
    let opening = closed.opens_at(at("2026-10-25T12:00:00Z")).unwrap();
    assert_eq!(opening.at, at("2026-10-25T23:00:00Z"));
}

#[test]
fn the_opening_that_is_told_is_the_first() {
    let mut many = weekdays();
    many.open.push(window(&[Day::Fri], "23:30", "01:00", "America/New_York"));
    many.closed.push(closed("2026-10-26T00:00", "2026-10-28T12:00", "Asia/Kathmandu"));
    for hour in 0..(3 * 7 * 24) {
        let now = at("2026-10-12T00:00:00Z") + SignedDuration::from_hours(hour);
        if many.is_open(now) {
            assert_eq!(many.closure(now), None);
            continue;
        }
        let told = many.opens_at(now).map(|opening| opening.at);
        assert_eq!(told, next_open_minute(&many, now), "{now}");
    }
}

#[test]
fn what_nobody_can_tell_is_closed() {
    let now = at("2026-11-30T10:00:00Z");
    let unknown = Windows {
        open: vec![window(&EVERY_DAY, "00:00", "00:00", "Europe/Atlantis")],
        closed: Vec::new(),
    };
    assert!(!unknown.is_open(now));
    let sentence = unknown.closure(now).unwrap().sentence("production", now);
    assert!(sentence.contains("does not open within a year"), "{sentence}");
    let calendar = Windows {
        open: Vec::new(),
        closed: vec![closed("2020-01-01T00:00", "2020-01-02T00:00", "Europe/Atlantis")],
    };
    assert!(!calendar.is_open(now));
    assert!(is_time_zone("UTC") && is_time_zone("America/New_York"));
    for name in ["europe/berlin", "CEST", "", "+01:00", "Etc/Unknown "] {
        assert!(!is_time_zone(name), "{name}");
    }
}

#[test]
fn times_have_one_spelling() {
    for text in ["9:00", "24:00", "09:00:00", "09:60", "", " 09:00"] {
        assert!(text.parse::<ClockTime>().is_err(), "{text}");
    }
    for text in ["2026-12-24", "2026-12-24T9:00", "2026-12-24 09:00", "2026-02-29T00:00"] {
        assert!(text.parse::<LocalTime>().is_err(), "{text}");
    }
    let text = r#"{"days":["mon"],"from":"09:00","time_zone":"UTC","to":"17:00"}"#;
    let read: Window = crate::domain::canonical::from_canonical_json(text).unwrap();
    assert_eq!(read.in_words(), "Monday, 09:00 to 17:00 (UTC)");
    assert_eq!(LocalTime::of_day("2026-12-31", true).unwrap().to_string(), "2027-01-01T00:00");
    assert!(LocalTime::of_day("2026-12-31T10:00", false).is_none());
}
