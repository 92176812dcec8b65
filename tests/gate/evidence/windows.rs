//! Evidence of approvals under windows, good and bad.

use std::sync::Arc;

use countersign::domain::window::{ClosedTime, Window, Windows};
use countersign::proof::verify::verify;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::evidence::broken_glass::glass;
use crate::evidence::codes::text;
use crate::evidence::keys::Keys;
use crate::evidence::maker::Maker;
use crate::sample_approval;

fn shows(at: Timestamp, minutes: i64, form: &str) -> String {
    let then = at + SignedDuration::from_mins(minutes);
    TimeZone::UTC.to_datetime(then).strftime(form).to_string()
}

/// A window in which the whole rollout lies, if it is wide enough: the rollout begins at `now`.
fn window(from: i64, to: i64) -> Windows {
    let now = sample_approval::now();
    let day = |text: &str| serde_json::from_value(text.into()).unwrap();
    let days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"].map(day).to_vec();
    let time = |minutes| shows(now, minutes, "%H:%M").parse().unwrap();
    let open = vec![Window { days, from: time(from), to: time(to), time_zone: "Etc/UTC".into() }];
    Windows { open, closed: Vec::new() }
}

pub fn closed(from: i64, to: i64) -> Windows {
    let time = |minutes| shows(sample_approval::now(), minutes, "%Y-%m-%dT%H:%M").parse().unwrap();
    let calendar = "moves".to_owned();
    let (from, to) = (time(from), time(to));
    let closed = ClosedTime { calendar, from, to, time_zone: "Etc/UTC".into(), reason: None };
    Windows { open: Vec::new(), closed: vec![closed] }
}

/// Everything lies in its window, and the closed time is over.
pub fn in_its_window(keys: &Arc<Keys>) -> Maker {
    let mut maker = Maker::short(keys);
    maker.policy.windows = window(-120, 120);
    maker.policy.windows.closed = closed(-500, -400).closed;
    maker
}

#[test]
fn a_rollout_in_its_window_is_approved() {
    let keys = Keys::new();
    let found = verify(text(&in_its_window(&keys).make()).as_bytes(), &keys.trust()).unwrap();
    assert!(found.is_approved());
    assert!(found.checks().iter().any(|held| held.contains("lies in the windows")));
    // What waits outside of its window is not refused: nothing went forward yet.
    let mut waits = Maker::short(&keys);
    waits.policy.windows = window(-300, -200);
    waits.rolls_out = false;
    assert!(verify(text(&waits.make()).as_bytes(), &keys.trust()).unwrap().is_approved());
}

#[test]
fn what_began_outside_of_its_window_is_not_approved() {
    let keys = Keys::new();
    let mut elsewhere = window(-300, 300);
    elsewhere.open[0].time_zone = "Europe/Atlantis".into();
    for windows in [window(-300, -10), window(10, 300), closed(-10, 300), elsewhere] {
        let mut maker = Maker::short(&keys);
        maker.policy.windows = windows.clone();
        let found = verify(text(&maker.make()).as_bytes(), &keys.trust()).unwrap();
        assert!(!found.is_approved(), "{windows:?}");
        let why = found.outside_windows().unwrap();
        assert!(why.contains("goes forward at 2026-11-24T14:00:00Z"), "{why}");
        // By the rules alone, although others may break the glass.
        let mut maker = Maker::short(&keys);
        maker.policy.windows = windows;
        maker.policy.break_glass = glass("group:release-managers", 1);
        let found = verify(text(&maker.make()).as_bytes(), &keys.trust()).unwrap();
        assert!(!found.is_approved() && found.outside_windows().is_some());
    }
}
