//! `[[environment.NAME.window]]`, `environment.NAME.calendars` and `[calendar.NAME]`: when something approved may
//! begin.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::config::check::Check;
use crate::domain::request::LONGEST_REASON;
use crate::domain::window::{ClockTime, ClosedTime, Day, LocalTime, Window, Windows, is_time_zone};

/// The closed times of each calendar, by its name.
pub(super) type Calendars = BTreeMap<String, Vec<ClosedTime>>;

/// `[[environment.NAME.window]]`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowSection {
    /// The days on which it opens.
    pub days: Vec<Day>,
    /// When it opens.
    pub from: String,
    /// When it closes.
    pub to: String,
    /// Where the clock hangs.
    pub time_zone: String,
}

/// `[calendar.NAME]`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalendarSection {
    /// Where its clock hangs.
    pub time_zone: String,
    /// The times in which nothing begins.
    #[serde(default)]
    pub closed: Vec<ClosedSection>,
}

/// `[[calendar.NAME.closed]]`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClosedSection {
    /// The first day, or a time of it.
    pub from: String,
    /// The last day, with all of it, or a time of it.
    pub to: String,
    /// Why.
    pub reason: Option<String>,
}

/// Every calendar of the file.
pub(super) fn calendars(
    check: &mut Check,
    sections: BTreeMap<String, CalendarSection>,
) -> Calendars {
    let mut calendars = Calendars::new();
    for (name, section) in sections {
        let key = format!("calendar.{name}");
        if let Some(fault) = fault_of_zone(&section.time_zone) {
            check.problem(&format!("{key}.time_zone"), fault);
        }
        let mut closed = Vec::new();
        for (index, one) in section.closed.into_iter().enumerate() {
            let mut complain = |fault: String| {
                check.problem(&format!("{key}.closed"), format!("number {} {fault}", index + 1));
            };
            let (from, to) = (edge(&one.from, false), edge(&one.to, true));
            for (text, edge) in [(&one.from, from), (&one.to, to)] {
                if edge.is_none() {
                    complain(format!(
                        "has {text:?}, which is no day and no time: write \"2026-12-24\" or \"2026-12-24T18:00\""
                    ));
                }
            }
            let reason = one.reason.filter(|reason| !reason.trim().is_empty());
            if reason.as_ref().is_some_and(|reason| reason.chars().count() > LONGEST_REASON) {
                complain(format!("has a reason of more than {LONGEST_REASON} characters"));
            }
            let (Some(from), Some(to)) = (from, to) else { continue };
            if to <= from {
                complain("is over before it begins: write the earlier time as from".to_owned());
            }
            let (calendar, time_zone) = (name.clone(), section.time_zone.clone());
            closed.push(ClosedTime { calendar, from, to, time_zone, reason });
        }
        calendars.insert(name, closed);
    }
    calendars
}

/// A day with all of it, or a time.
fn edge(text: &str, is_end: bool) -> Option<LocalTime> {
    LocalTime::of_day(text, is_end).or_else(|| text.parse().ok())
}

fn fault_of_zone(name: &str) -> Option<String> {
    (!is_time_zone(name)).then(|| {
        format!("{name:?} is no time zone: write an IANA name as it is spelled there, such as \"Europe/Berlin\" or \"UTC\"")
    })
}

/// The windows of an environment, with the closed times of the calendars that it names. What must be changed goes to
/// `problem`, with its key.
pub(super) fn windows(
    problem: &mut dyn FnMut(&str, String),
    sections: Vec<WindowSection>,
    named: &[String],
    calendars: &Calendars,
) -> Windows {
    let mut windows = Windows::default();
    for (index, section) in sections.into_iter().enumerate() {
        let mut complain =
            |fault: String| problem("window", format!("number {} {fault}", index + 1));
        let days: BTreeSet<Day> = section.days.iter().copied().collect();
        if days.is_empty() {
            complain("opens on no day: list some, such as [\"mon\", \"tue\"]".to_owned());
        }
        if let Some(fault) = fault_of_zone(&section.time_zone) {
            complain(format!("names a time zone that there is not: {fault}"));
        }
        let mut time = |text: &str| {
            let read = text.parse::<ClockTime>();
            read.map_err(|error| complain(format!("has a wrong time: {error}"))).ok()
        };
        let (from, to) = (time(&section.from), time(&section.to));
        let (Some(from), Some(to)) = (from, to) else { continue };
        let days = days.into_iter().collect();
        windows.open.push(Window { days, from, to, time_zone: section.time_zone });
    }
    let mut seen = BTreeSet::new();
    for name in named {
        match calendars.get(name) {
            None => problem(
                "calendars",
                format!(
                    "names {name:?}, and there is no [calendar.{name}]: add it, or remove the name"
                ),
            ),
            Some(_) if !seen.insert(name) => {
                problem("calendars", format!("names {name:?} twice: remove one of them"));
            }
            Some(closed) => windows.closed.extend(closed.iter().cloned()),
        }
    }
    windows
}
