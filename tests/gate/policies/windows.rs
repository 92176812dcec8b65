//! What `countersign policy` says of windows.

use serde_json::Value;

use super::{Files, RULES, said};

fn with(window: &str) -> String {
    let line = format!("expires_in = \"8h\"\nwindow = [{{ {window}, time_zone = \"UTC\" }}]");
    RULES.replace("expires_in = \"8h\"", &line)
}

#[test]
fn differences_tell_of_windows() {
    let files = Files::new();
    let monday = "days = [\"mon\"], from = \"09:00\", to = \"17:00\"";
    let (old, new) = (with(monday), with(&monday.replace("17:00", "18:00")));
    let closed = "[calendar.moves]\ntime_zone = \"UTC\"\nclosed = [{ from = \"2026-12-24\", to = \"2026-12-24\" }]\n\n[environment.production]\ncalendars = [\"moves\"]";
    let closed = old.replace("[environment.production]", closed);
    for (before, after, says) in [
        (RULES, &*old, "narrower  it is open only Monday, 09:00 to 17:00 (UTC) now"),
        (&old, RULES, "wider     it is open at any time of the week now"),
        (&old, &new, "wider     open now: Monday, 09:00 to 18:00 (UTC)"),
        (&old, &new, "narrower  no longer open: Monday, 09:00 to 17:00 (UTC)"),
        (&old, &closed, "narrower  closed now: 2026-12-24 00:00 to 2026-12-25 00:00 (UTC)"),
        (&closed, &old, "wider     no longer closed: 2026-12-24 00:00"),
    ] {
        files.write("before.toml", before);
        files.write("after.toml", after);
        let (code, text) = said(&files.policy(&["diff", "before.toml", "after.toml"]));
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains(says), "{says}\n{text}");
    }
}

#[test]
fn a_window_that_never_opens_is_found_and_a_closed_one_explained() {
    let files = Files::new();
    let always = "days = [\"mon\", \"tue\", \"wed\", \"thu\", \"fri\", \"sat\", \"sun\"], from = \"00:00\", to = \"00:00\"";
    let closed = "[calendar.moves]\ntime_zone = \"UTC\"\nclosed = [{ from = \"2020-01-01\", to = \"2999-12-31\", reason = \"Gone\" }]\n\n[environment.production]\ncalendars = [\"moves\"]";
    let check = |text: &str| {
        files.write("old.toml", text);
        said(&files.policy(&["check", "--config", "old.toml"]))
    };
    let (code, text) = check(&with(always));
    assert!(code == Some(0) && !text.contains("never"), "{text}");
    let (code, text) = check(&with(always).replace("[environment.production]", closed));
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("does not open within a year") && text.contains("window_never_open"),
        "{text}"
    );
    let (_, text) = check(&RULES.replace("[environment.production]", closed));
    assert!(text.contains("its calendars close it for a year or more"), "{text}");
    let (code, text) = files.explain("u-dan", &[]);
    assert_eq!(code, Some(0), "{text}");
    let says = "Nothing begins now: production is closed by its calendar moves, “Gone”.";
    assert!(text.contains(says), "{text}");
    let (_, text) = files.explain("u-dan", &["--json"]);
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(answer["hold"]["code"], "closed", "{answer:#}");
}

#[test]
fn differences_and_explanations_tell_of_the_glass() {
    let files = Files::new();
    let glass = |rules: &str, within: &str| {
        let section =
            format!("break_glass = {{ rules = [{rules}], explain_within = \"{within}\" }}");
        RULES.replace("expires_in = \"8h\"", &format!("expires_in = \"8h\"\n{section}"))
    };
    let one = "{ from = [\"group:on-call\"], count = 1 }";
    let old = glass(one, "24h");
    let later = glass(one, "48h");
    let bridged = old.replace("\"24h\" }", "\"24h\", outage_grace = \"4h\" }");
    let others = glass("{ from = [\"person:u-dan\"], count = 1 }", "24h");
    for (before, after, says) in [
        (RULES, &*old, "wider     the glass may be broken now, by 1 of on-call"),
        (&old, RULES, "narrower  the glass may no longer be broken"),
        (&old, &others, "different the glass may be broken by 1 of u-dan; before, by 1 of on-call"),
        (
            &old,
            &bridged,
            "wider     seconds for which a last sign-in counts for breaking the glass while the directory cannot be reached: 14400",
        ),
        (
            &old,
            &later,
            "wider     seconds within which somebody else signs for a broken glass: 172800",
        ),
    ] {
        files.write("before.toml", before);
        files.write("after.toml", after);
        let (code, text) = said(&files.policy(&["diff", "before.toml", "after.toml"]));
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains(says), "{says}\n{text}");
    }
    files.write("old.toml", &old);
    let (_, text) = files.explain("u-eve", &["--group", "on-call"]);
    assert!(text.contains("u-eve may break the glass (1 of on-call)."), "{text}");
    let (_, text) = files.explain("u-dan", &[]);
    assert!(text.contains("u-dan may not break the glass (1 of on-call)."), "{text}");
}
