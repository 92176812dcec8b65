//! Every state has a sentence that says who has to do what next.

use countersign::domain::approval::Approval;
use countersign::domain::decision::Verdict;
use countersign::domain::sentence::status_sentence;
use jiff::SignedDuration;

use crate::sample_approval::{
    after_pending, decision, minutes_ago, now, pending, policy, signed_once,
};

fn approved_by(name: &str, group: &str, approval: Approval) -> Approval {
    let yes = decision(name, group, Verdict::Approve, None);
    approval.decide(yes, minutes_ago(1)).unwrap().approval
}

#[test]
fn pending_names_those_it_waits_for() {
    let mut all = vec![("asked", pending()), ("signed once", signed_once())];
    all.push(("one left", approved_by("Bob", "release-managers", signed_once())));
    let words: Vec<String> = all
        .iter()
        .map(|(name, approval)| format!("{name}: {}", status_sentence(approval, now())))
        .collect();
    insta::assert_snapshot!(words.join("\n"), @"");
    let late = now() + SignedDuration::from_hours(3);
    insta::assert_snapshot!(status_sentence(&pending(), late), @"");
    let mut nobody = policy();
    nobody.rules.clear();
    insta::assert_snapshot!(status_sentence(&Approval { policy: nobody, ..pending() }, now()), @"");
}

#[test]
fn every_other_state_says_what_is_next() {
    let words: Vec<String> = after_pending()
        .iter()
        .map(|(name, approval)| format!("{name}: {}", status_sentence(approval, now())))
        .collect();
    insta::assert_snapshot!(words.join("\n"), @"");
}
