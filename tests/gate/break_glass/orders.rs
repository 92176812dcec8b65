//! No order of events meets a quorum that neither the rules nor those for breaking the glass do.

use countersign::domain::approval::{Approval, Status};
use countersign::domain::decision::{Decision, Verdict};
use countersign::domain::digest::Digest;
use countersign::domain::hold::{Freezes, hold_of};
use countersign::domain::person::Person;
use countersign::domain::policy::{BreakGlass, Policy, Rule};
use countersign::domain::subject::FrozenSubject;
use countersign::domain::window::Windows;
use jiff::SignedDuration;
use proptest::prelude::*;

use crate::sample_approval;

const PEOPLE: [(&str, &[&str]); 5] = [
    ("u-alice", &["release-managers"]),
    ("u-bob", &["release-managers", "on-call"]),
    ("u-carol", &["security", "release-managers"]),
    ("u-dan", &["on-call"]),
    ("u-eve", &["interns"]),
];

fn rule(from: &[&str], count: u8) -> Rule {
    Rule { from: from.iter().map(|name| name.parse().unwrap()).collect(), count, environment: None }
}

/// Two release managers and somebody of security; or two who are on call, one of them Bob. It is never open.
fn policy() -> Policy {
    let closed = serde_json::json!({"closed": [{
        "calendar": "c", "from": "2000-01-01T00:00", "to": "2999-01-01T00:00", "time_zone": "UTC",
    }]});
    Policy {
        rules: vec![rule(&["group:release-managers"], 2), rule(&["group:security"], 1)],
        break_glass: Some(BreakGlass {
            rules: vec![rule(&["group:on-call"], 1), rule(&["person:u-bob"], 1)],
            explain_within_seconds: 3_600,
            outage_grace_seconds: None,
        }),
        windows: serde_json::from_value::<Windows>(closed).unwrap(),
        ..sample_approval::policy()
    }
}

fn admits(rule: &Rule, person: usize) -> bool {
    let (subject, groups) = PEOPLE[person];
    let names = rule.from.iter().map(|one| String::from(one.clone()));
    names.into_iter().any(|name| match name.split_once(':').unwrap() {
        ("group", group) => groups.contains(&group),
        (_, person) => person == subject,
    })
}

/// By trying everything: somebody for each place of each rule, and nobody twice.
fn can_be_met(rules: &[Rule], people: &[usize]) -> bool {
    let places: Vec<&Rule> =
        rules.iter().flat_map(|rule| std::iter::repeat_n(rule, usize::from(rule.count))).collect();
    fn seat(places: &[&Rule], people: &[usize]) -> bool {
        let Some((first, rest)) = places.split_first() else { return true };
        people.iter().enumerate().any(|(at, person)| {
            let mut others = people.to_vec();
            others.remove(at);
            admits(first, *person) && seat(rest, &others)
        })
    }
    !places.is_empty() && seat(&places, people)
}

fn decision(person: usize, verdict: Verdict, at: jiff::Timestamp) -> Decision {
    let (subject, groups) = PEOPLE[person];
    Decision {
        person: Person { issuer: "https://id".into(), subject: subject.into() },
        name: subject.into(),
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        github_id: None,
        verdict,
        reason: Some("because".into()),
        directory_unreachable_since: None,
        decided_at: at,
        statement_digest: Digest::of(format!("{person}{at}")),
        credential: "c".into(),
        assertion_digest: Digest::of("a"),
        sign_in_key: "k".into(),
    }
}

fn events() -> impl Strategy<Value = Vec<(usize, Verdict)>> {
    let verdict = prop_oneof![
        4 => Just(Verdict::Approve),
        4 => Just(Verdict::BreakGlass),
        2 => Just(Verdict::Withdraw),
    ];
    prop::collection::vec((0..PEOPLE.len(), verdict), 1..14)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn no_order_meets_what_the_rules_do_not(events in events()) {
        let policy = policy();
        let asked = FrozenSubject::freeze(sample_approval::deployment()).unwrap();
        let begin = asked.requested_at;
        let mut approval: Approval = Approval::request(asked, policy.clone()).approval;
        let mut standing: [Option<Verdict>; PEOPLE.len()] = [None; PEOPLE.len()];
        for (number, (person, verdict)) in events.into_iter().enumerate() {
            let at = begin + SignedDuration::from_secs(i64::try_from(number).unwrap() + 1);
            match approval.clone().decide(decision(person, verdict, at), at) {
                Ok(transition) => {
                    standing[person] = (verdict != Verdict::Withdraw).then_some(verdict);
                    approval = transition.approval;
                }
                Err(refusal) => prop_assert!(refusal.to_string().len() > 20),
            }
            let who = |verdict| -> Vec<usize> {
                (0..PEOPLE.len()).filter(|person| standing[*person] == Some(verdict)).collect()
            };
            let by_rules = can_be_met(&policy.rules, &who(Verdict::Approve));
            let glass = policy.break_glass.as_ref().unwrap();
            let by_glass = can_be_met(&glass.rules, &who(Verdict::BreakGlass));
            prop_assert_eq!(approval.status() == Status::Approved, by_rules || by_glass);
            prop_assert_eq!(approval.is_glass_broken(), by_glass);
            // Only a broken glass goes through closed windows.
            prop_assert_eq!(hold_of(&approval, Freezes::NONE, at).is_none(), by_glass);
        }
    }
}
