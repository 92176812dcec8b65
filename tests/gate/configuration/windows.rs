//! Windows and calendars that nobody can have meant.

use jiff::SignedDuration;

use super::{Folder, assert_refused};

const EXPIRES: &str = "expires_in = \"8h\"";

fn with_window(window: &str) -> String {
    format!("{EXPIRES}\nwindow = [{{ {window} }}]")
}

const GOOD: &str =
    "days = [\"tue\", \"mon\"], from = \"09:00\", to = \"17:00\", time_zone = \"Europe/Berlin\"";

#[test]
fn windows_name_days_times_and_a_place() {
    let key = "environment.production.window";
    for (part, replacement, says) in [
        ("\"tue\", \"mon\"", "", "opens on no day"),
        ("09:00", "9:00", "\"9:00\" is no time: write it as 09:00"),
        ("17:00", "24:00", "\"24:00\" is no time"),
        ("Europe/Berlin", "europe/berlin", "no time zone"),
        ("Europe/Berlin", "CEST", "an IANA name"),
        ("Europe/Berlin", "+01:00", "an IANA name"),
    ] {
        let window = GOOD.replace(part, replacement);
        assert_refused(EXPIRES, &with_window(&window), key, says);
    }
    let unknown = Folder::with(EXPIRES, &with_window(&GOOD.replace("mon", "monday")));
    assert!(unknown.refused().join(" ").contains("monday"));
    let config = Folder::with(EXPIRES, &with_window(GOOD)).accepted();
    let windows = &config.environments["production"].windows;
    assert_eq!(windows.open[0].in_words(), "Monday, Tuesday, 09:00 to 17:00 (Europe/Berlin)");
    // Without any, the frozen rules say nothing of them, as before there were windows.
    let config = Folder::with(EXPIRES, EXPIRES).accepted();
    let (text, _) = config.environments["production"].canonical().unwrap();
    assert!(!text.contains("windows"), "{text}");
}

#[test]
fn calendars_close_what_names_them() {
    let named = format!("{EXPIRES}\ncalendars = [\"holidays\"]");
    let key = "environment.production.calendars";
    assert_refused(EXPIRES, &named, key, "there is no [calendar.holidays]");
    let calendar = |zone: &str, closed: &str| {
        format!(
            "[calendar.holidays]\ntime_zone = \"{zone}\"\nclosed = [{{ {closed} }}]\n\n[environment.production]\ncalendars = [\"holidays\"]"
        )
    };
    let environment = "[environment.production]";
    let day = "from = \"2026-12-24\", to = \"2026-12-26\", reason = \"Christmas\"";
    let refused = |text: &str, key: &str, says: &str| assert_refused(environment, text, key, says);
    refused(&calendar("Berlin", day), "calendar.holidays.time_zone", "no time zone");
    let key = "calendar.holidays.closed";
    for (from, to, says) in [
        ("2026-12-24", "2026-12-23", "over before it begins"),
        ("2026-12-24T18:00", "2026-12-24T18:00", "over before it begins"),
        ("24.12.2026", "2026-12-26", "no day and no time"),
        ("2026-02-29", "2026-12-26", "no day and no time"),
        ("2026-12-24", "2026-12-26T25:00", "no day and no time"),
    ] {
        let closed = format!("from = \"{from}\", to = \"{to}\"");
        refused(&calendar("Europe/Berlin", &closed), key, says);
    }
    let config = Folder::with(environment, &calendar("Europe/Berlin", day)).accepted();
    let closed = &config.environments["production"].windows.closed[0];
    assert_eq!(
        closed.in_words(),
        "2026-12-24 00:00 to 2026-12-27 00:00 (Europe/Berlin): “Christmas”"
    );
    assert!(config.environments["staging"].windows.is_empty());
}

#[test]
fn the_glass_is_broken_by_somebody_and_explained_in_time() {
    let with = |section: &str| format!("{EXPIRES}\nbreak_glass = {{ {section} }}");
    let good = "rules = [{ from = [\"group:on-call\"], count = 1 }], explain_within = \"24h\"";
    let refused = |part: &str, replacement: &str, key: &str, says: &str| {
        let key = format!("environment.production.break_glass.{key}");
        assert_refused(EXPIRES, &with(&good.replace(part, replacement)), &key, says);
    };
    refused(
        "{ from = [\"group:on-call\"], count = 1 }",
        "",
        "rules",
        "nobody could break the glass",
    );
    refused("count = 1", "count = 0", "rules", "rule 1 has the count 0");
    refused("[\"group:on-call\"]", "[]", "rules", "empty from");
    refused("[\"group:on-call\"], count = 1", "[\"person:a\"], count = 2", "rules", "lists 1");
    for time in ["4m", "8d", "soon", ""] {
        refused("24h", time, "explain_within", "between 5 minutes and 7 days");
    }
    let unsaid = Folder::with(EXPIRES, &with("rules = [{ from = [\"group:a\"], count = 1 }]"));
    assert!(unsaid.refused().join(" ").contains("explain_within"));
    for time in ["25h", "2d", "soon", "", "-1h"] {
        let good = format!("{good}, outage_grace = \"{time}\"");
        let key = "environment.production.break_glass.outage_grace";
        assert_refused(EXPIRES, &with(&good), key, "no time of at most 24 hours");
    }
    for (time, seconds) in [("24h", 86_400), ("90m", 5_400)] {
        let good = format!("{good}, outage_grace = \"{time}\"");
        let config = Folder::with(EXPIRES, &with(&good)).accepted();
        let glass = config.environments["production"].break_glass.as_ref().unwrap();
        assert_eq!(glass.outage_grace(), Some(SignedDuration::from_secs(seconds)));
    }
    // None is what is so without a word, and then the frozen rules say nothing of it.
    for silent in [good.to_owned(), format!("{good}, outage_grace = \"0s\"")] {
        let config = Folder::with(EXPIRES, &with(&silent)).accepted();
        let (text, _) = config.environments["production"].canonical().unwrap();
        assert!(text.contains("break_glass") && !text.contains("outage"), "{text}");
    }
    let config = Folder::with(EXPIRES, &with(good)).accepted();
    let glass = config.environments["production"].break_glass.as_ref().unwrap();
    assert_eq!((glass.in_words(), glass.explain_within_seconds), ("1 of on-call".into(), 86_400));
    // Without it the frozen rules say nothing of it, and nobody may.
    let (text, _) = config.environments["staging"].canonical().unwrap();
    assert!(!text.contains("break_glass"), "{text}");
}
