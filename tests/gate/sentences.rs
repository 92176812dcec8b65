//! Every state has a sentence that says who has to do what next.

use countersign::domain::approval::Approval;
use countersign::domain::decision::Verdict;
use countersign::domain::hold::Freezes;
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
        .map(|(name, approval)| {
            format!("{name}: {}", status_sentence(approval, Freezes::NONE, now()))
        })
        .collect();
    insta::assert_snapshot!(words.join("\n"), @r"
    asked: Waiting for 2 signatures from release-managers and 1 signature from security, until 24 November 2026, 15:54 UTC.
    signed once: Waiting for 1 more signature from release-managers and 1 signature from security, until 24 November 2026, 15:54 UTC.
    one left: Waiting for 1 signature from security, until 24 November 2026, 15:54 UTC.
    ");
    let late = now() + SignedDuration::from_hours(3);
    insta::assert_snapshot!(status_sentence(&pending(), Freezes::NONE, late), @r"Not everybody who has to sign signed before it expired on 24 November 2026, 15:54 UTC. Nothing was changed; acme/checkout has to ask again.");
    let mut nobody = policy();
    nobody.rules.clear();
    insta::assert_snapshot!(status_sentence(&Approval { policy: nobody, ..pending() }, Freezes::NONE, now()), @r"Nobody can sign this: the environment names nobody who may.");
}

#[test]
fn every_other_state_says_what_is_next() {
    let words: Vec<String> = after_pending()
        .iter()
        .map(|(name, approval)| {
            format!("{name}: {}", status_sentence(approval, Freezes::NONE, now()))
        })
        .collect();
    insta::assert_snapshot!(words.join("\n"), @r"
    approved: Everybody who has to sign has signed. The rollout begins by itself; nobody has to do anything.
    creating: The gate is creating the revision checkout-00042-k7q. Nobody has to do anything.
    moving: The gate is giving checkout-00042-k7q 50 % of the traffic (step 2 of 3). Nobody has to do anything.
    checking: The gate is checking that everything serves as signed. Nobody has to do anything.
    restoring: A step failed: Cloud Run says: the container did not listen on port 8080. The gate is restoring what served before; nobody has to do anything yet.
    succeeded: checkout serves checkout-00042-k7q with 100 % of the traffic, exactly as signed. Nothing is left to do.
    failed: The rollout failed: Cloud Run says: the container did not listen on port 8080. acme/checkout has to remove the cause and ask again.
    rolled_back: The rollout failed, and what served before serves again: Cloud Run says: the container did not listen on port 8080. acme/checkout has to remove the cause and ask again.
    needs_attention: Somebody who looks after checkout has to look at it in Cloud Run: somebody changed the service while it was rolled out. The gate changes nothing more by itself.
    rejected: Bob Lindqvist rejected it: “The load test ran against v1. Run it again.” Nothing was changed; acme/checkout may change the request and ask again.
    expired: Not everybody who has to sign signed before it expired on 24 November 2026, 14:00 UTC. Nothing was changed; acme/checkout has to ask again.
    cancelled: acme/checkout took the request back. Nothing was changed; nobody has to do anything.
    superseded: A newer request for the same service took its place: decide on apr_baeaqcaibaeaqcaibaeaqcaiba instead.
    withdrawn: A signature was taken back before the rollout began. Nothing was changed; acme/checkout may ask again.
    ");
}
