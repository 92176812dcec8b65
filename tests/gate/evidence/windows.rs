//! Evidence of approvals under windows, good and bad.

use std::sync::Arc;

use countersign::domain::window::{ClosedTime, Window, Windows};
use countersign::proof::verify::verify;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::evidence::broken_glass::glass;
use crate::evidence::codes::text;
use crate::evidence::keys::Keys;
use crate::evidence::maker::Maker;
use crate::sample_approval;
use crate::support::bundles::{case, leave};

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

/// Zones with halves of hours, one that is put by half an hour, one that is none, and one in another spelling.
const ZONES: [&str; 6] = [
    "Etc/UTC",
    "Europe/Berlin",
    "America/St_Johns",
    "Australia/Lord_Howe",
    "Europe/Atlantis",
    "europe/berlin",
];

/// Windows over midnight and all day, and some in which the sample's rollout lies in one zone or another.
const HOURS: [(&str, &str); 5] = [
    ("00:00", "00:00"),
    ("02:15", "15:01"),
    ("22:30", "02:45"),
    ("14:00", "14:01"),
    ("15:00", "14:00"),
];

fn window_of(day: &str, (from, to): (&str, &str), time_zone: &str) -> Windows {
    let days = vec![serde_json::from_value(day.into()).unwrap()];
    let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
    let open = vec![Window { days, from, to, time_zone: time_zone.to_owned() }];
    Windows { open, closed: Vec::new() }
}

fn closed_in(time_zone: &str, (from, to): (&str, &str)) -> Windows {
    let (calendar, time_zone) = ("moves".to_owned(), time_zone.to_owned());
    let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
    Windows {
        open: Vec::new(),
        closed: vec![ClosedTime { calendar, from, to, time_zone, reason: None }],
    }
}

/// What an environment's windows could be, in every zone.
fn many_windows(closed: [(&str, &str); 2]) -> Vec<Windows> {
    let mut all = Vec::new();
    for zone in ZONES {
        for day in ["sun", "mon", "tue"] {
            all.extend(HOURS.map(|hours| window_of(day, hours, zone)));
        }
        all.extend(closed.map(|times| closed_in(zone, times)));
    }
    all
}

#[test]
fn both_verifiers_judge_rollouts_by_the_same_clocks() {
    let keys = Keys::new();
    let closed =
        [("2026-11-24T14:00", "2026-11-24T14:01"), ("2026-11-24T15:00", "2026-11-25T00:00")];
    let judged = many_windows(closed).into_iter().map(|windows| {
        let mut maker = Maker::short(&keys);
        let name = serde_json::to_string(&windows).unwrap();
        maker.policy.windows = windows;
        case(&name, text(&maker.make()).as_str(), &keys.trust())
    });
    let cases: Vec<Value> = judged.collect();
    let approved = cases.iter().filter(|case| case["verdict"] == "approved").count();
    assert!(approved >= 10 && cases.len() >= approved + 50, "{approved} of {}", cases.len());
    leave("windows", &cases.into());
}

/// Every some minutes around the moments at which clocks are put forward and back.
#[test]
fn both_verifiers_read_the_same_clocks() {
    let changes = [
        "2026-03-29T01:00:00Z",
        "2026-10-25T01:00:00Z",
        "2026-04-04T15:00:00Z",
        "2026-11-01T04:30:00Z",
    ];
    let around = |change: &str| {
        let change: Timestamp = change.parse().unwrap();
        (-40..40).map(move |place| change + SignedDuration::from_secs(place * 431))
    };
    let moments: Vec<Timestamp> = changes.into_iter().flat_map(around).collect();
    for windows in many_windows([
        ("2026-03-29T02:10", "2026-03-29T03:00"),
        ("2026-10-25T02:00", "2026-10-25T02:59"),
    ]) {
        let judged = moments.iter().map(|at| json!([at.as_second(), windows.is_open(*at)]));
        let judged: Vec<Value> = judged.collect();
        leave("clocks", &json!({"windows": windows, "moments": judged}));
    }
}
