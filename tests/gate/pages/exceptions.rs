//! The page of exceptions, the banner of every page, and breaking the glass on the page of an approval.

use askama::Template;
use countersign::domain::approval::Approval;
use countersign::domain::exception::{BrokenGlass, Exception, RecordedReview};
use countersign::domain::policy::{BreakGlass, Policy, Rule};
use countersign::web::views::exceptions::ExceptionsPage;
use countersign::web::views::inbox::InboxPage;
use countersign::web::views::{Surroundings, Viewer};
use jiff::SignedDuration;
use serde_json::json;

use super::{HOSTILE, around, assert_well_made, bob, page};
use crate::sample_approval::{minutes_ago, now, pending, person, policy};

fn exception(entry: u64, words: &str, hours_left: i64) -> Exception {
    Exception {
        entry,
        at: minutes_ago(90),
        glass: BrokenGlass {
            approval: pending().id().clone(),
            environment: "production".into(),
            target: "checkout".into(),
            by: person("u-carol"),
            by_name: words.into(),
            reason: words.into(),
            breakers: vec![person("u-carol")],
            directory_unreachable_since: None,
            explain_before: now() + SignedDuration::from_hours(hours_left),
        },
        review: None,
        is_told_overdue: hours_left < 0,
    }
}

/// One that is open, one that is overdue, and one that is closed.
pub fn exceptions(words: &str) -> Vec<Exception> {
    let mut closed = exception(17, words, 20);
    let review = RecordedReview {
        entry: 17,
        approval: closed.glass.approval.clone(),
        environment: "production".into(),
        explanation: words.into(),
        by: person("u-bob"),
        by_name: words.into(),
        statement: String::new(),
        signed_with: String::new(),
        authenticator_data: String::new(),
        client_data_json: String::new(),
        signature: String::new(),
        sign_in_key: String::new(),
    };
    closed.review = Some((minutes_ago(5), review));
    vec![exception(41, words, 22), exception(29, words, -1), closed]
}

/// The page with them, for somebody who may sign for those that are open.
pub fn exceptions_page(words: &str, around: Surroundings<'_>) -> String {
    let exceptions = exceptions(words);
    let shown: Vec<_> = exceptions.iter().map(|one| (one, one.review.is_none())).collect();
    let around = Surroundings { exceptions: &exceptions, ..around };
    ExceptionsPage::new(&shown, around).render().unwrap()
}

/// A request that waits in an environment that is closed, where release managers may break the glass.
pub fn closed() -> Approval {
    let rules = vec![Rule {
        from: vec!["group:release-managers".parse().unwrap()],
        count: 1,
        environment: None,
    }];
    let closed = json!({"closed": [{
        "calendar": "holidays", "from": "2026-11-23T00:00", "to": "2026-11-30T09:00",
        "time_zone": "Europe/Berlin", "reason": "The data centre moves",
    }]});
    let policy = Policy {
        break_glass: Some(BreakGlass {
            rules,
            explain_within_seconds: 86_400,
            outage_grace_seconds: None,
        }),
        windows: serde_json::from_value(closed).unwrap(),
        ..policy()
    };
    Approval { policy, ..pending() }
}

#[test]
fn what_is_open_is_on_every_page_and_hostile_words_do_nothing() {
    let bob = Viewer { reads_ledger: true, ..bob() };
    let shown = exceptions_page(HOSTILE, around(Some(&bob)));
    assert_well_made("exceptions", &shown);
    assert_eq!(shown.matches("Sign and close it").count(), 2);
    let exceptions = exceptions(HOSTILE);
    let with = |around| Surroundings { exceptions: &exceptions, ..around };
    let inbox = InboxPage::new(&[], with(around(Some(&bob)))).render().unwrap();
    assert_well_made("inbox", &inbox);
    for page in [&shown, &inbox] {
        assert!(page.contains("&#60;script&#62;alert(1)&#60;/script&#62;"), "{page}");
        assert!(!page.contains('\u{202e}'), "{page}");
        assert_eq!(page.matches("Somebody else has to sign for it before").count(), 1, "{page}");
        assert_eq!(page.matches("it is overdue").count(), 1, "{page}");
    }
    // Nobody else learns of it.
    let stranger = InboxPage::new(&[], with(around(None))).render().unwrap();
    assert!(!stranger.contains("broke the glass"), "{stranger}");
    let none = ExceptionsPage::new(&[], around(Some(&bob))).render().unwrap();
    assert!(none.contains("The glass was never broken."), "{none}");
    assert_well_made("no exceptions", &none);
}

#[test]
fn the_page_says_what_breaking_the_glass_overrides() {
    let shown = page(&closed(), Some(&bob()));
    assert_well_made("closed", &shown);
    for words in [
        "Break the glass…",
        "closed by its calendar holidays, “The data centre moves”. It opens Monday 09:00 (Europe/Berlin).",
        "somebody else has to sign for it within 1 day",
    ] {
        assert!(shown.contains(words), "no {words:?} in {shown}");
    }
    let nobody = Approval { policy: policy(), ..closed() };
    assert!(!page(&nobody, Some(&bob())).contains("Break the glass"));
}
