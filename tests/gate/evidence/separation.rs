//! Whoever had a hand in the commits that ship counts for nothing, whatever the gate recorded.

use std::sync::Arc;

use countersign::domain::separation::{SeparationRules, Shipped};
use countersign::domain::workflow_run::Account;
use serde_json::{Map, Value, json};

use crate::evidence::codes::text;
use crate::evidence::keys::Keys;
use crate::evidence::maker::Maker;
use crate::support::bundles;

type Verdict = (&'static str, Option<&'static str>);
type Change = fn(&mut Maker);

const APPROVED: Verdict = ("approved", None);
const NO_QUORUM: Verdict = ("invalid", Some("quorum_not_met"));
const OTHER_SIGN_IN: Verdict = ("invalid", Some("sign_in_mismatch"));
const MALFORMED: Verdict = ("invalid", Some("malformed"));

const ALICE: u64 = 101;
const CAROL: u64 = 103;
const MIRA: u64 = 9001;

/// The directory says whose the accounts are.
fn with_accounts(claims: &mut Map<String, Value>) {
    let id = if claims["sub"] == "u-alice" { json!(ALICE) } else { json!(CAROL.to_string()) };
    claims.insert("github_id".into(), id);
}

fn accounts(ids: &[u64]) -> Vec<Account> {
    ids.iter().map(|id| Account { id: *id, login: format!("account-{id}") }).collect()
}

/// The evidence of a deployment of Mira's commits that Alice and Carol approved.
fn of_mira(keys: &Arc<Keys>) -> Maker {
    let mut maker = Maker::short(keys);
    let claims = &mut maker.deployment.requester.claims;
    claims.insert("actor_id".into(), json!(MIRA.to_string()));
    let commit = claims["sha"].as_str().unwrap().to_owned();
    maker.deployment.shipped = Some(Shipped {
        repository: 712_345,
        since: vec!["0".repeat(40)],
        commit,
        commits: 2,
        accounts: accounts(&[7, MIRA]),
    });
    maker.policy.separation =
        Some(SeparationRules { github_id_claim: Some("github_id".into()), ..Default::default() });
    maker.edit_id_token = with_accounts;
    maker
}

fn shipped(maker: &mut Maker) -> &mut Shipped {
    maker.deployment.shipped.as_mut().unwrap()
}

const CASES: [(&str, Verdict, Change); 21] = [
    ("of somebody else", APPROVED, |_| {}),
    ("of an approver", NO_QUORUM, |it| shipped(it).accounts = accounts(&[ALICE, MIRA])),
    ("of the other approver", NO_QUORUM, |it| shipped(it).accounts = accounts(&[CAROL, MIRA])),
    ("of an approver, where nobody asks", APPROVED, |it| {
        shipped(it).accounts = accounts(&[ALICE, MIRA]);
        it.policy.separation = None;
    }),
    ("that nobody looked at", NO_QUORUM, |it| it.deployment.shipped = None),
    ("of another commit", NO_QUORUM, |it| shipped(it).commit = "1".repeat(40)),
    ("of another repository", NO_QUORUM, |it| shipped(it).repository = 7),
    ("without who started the run", NO_QUORUM, |it| shipped(it).accounts = accounts(&[7])),
    ("of nobody", NO_QUORUM, |it| shipped(it).accounts.clear()),
    ("where the token says not who started the run", NO_QUORUM, |it| {
        it.deployment.requester.claims.remove("actor_id");
    }),
    ("where the directory names no account", NO_QUORUM, |it| it.edit_id_token = |_| {}),
    ("where the directory names one account", NO_QUORUM, |it| {
        it.edit_id_token = |claims| {
            with_accounts(claims);
            if claims["sub"] == "u-carol" {
                claims.remove("github_id");
            }
        };
    }),
    ("where the account is a name", NO_QUORUM, |it| {
        it.edit_id_token = |claims| {
            claims.insert("github_id".into(), json!("octocat"));
        };
    }),
    ("where the account has a zero in front", NO_QUORUM, |it| {
        it.edit_id_token = |claims| {
            claims.insert("github_id".into(), json!("0101"));
        };
    }),
    ("where the policy lists the accounts", APPROVED, |it| {
        it.edit_id_token = |_| {};
        it.policy.github_accounts =
            [("101".into(), "u-alice".into()), ("103".into(), "u-carol".into())].into();
    }),
    ("of the second account that the policy lists", NO_QUORUM, |it| {
        shipped(it).accounts = accounts(&[102, MIRA]);
        it.policy.github_accounts = [("102".into(), "u-alice".into())].into();
    }),
    ("where no claim is named", NO_QUORUM, |it| {
        it.policy.separation = Some(SeparationRules::default());
    }),
    ("where an account was recorded that the directory did not name", OTHER_SIGN_IN, |it| {
        it.edit_record = |record| {
            let approval = record.approval.as_mut().unwrap();
            approval.decisions.iter_mut().for_each(|decision| decision.github_id = Some(55));
        };
    }),
    ("where no account was recorded", OTHER_SIGN_IN, |it| {
        it.edit_record = |record| {
            let approval = record.approval.as_mut().unwrap();
            approval.decisions.iter_mut().for_each(|decision| decision.github_id = None);
        };
    }),
    ("where an account was recorded and nobody asks", OTHER_SIGN_IN, |it| {
        it.policy.separation = None;
        it.edit_record = |record| {
            let approval = record.approval.as_mut().unwrap();
            approval.decisions.iter_mut().for_each(|decision| decision.github_id = Some(ALICE));
        };
    }),
    ("with a member more", MALFORMED, |it| {
        it.edit_evidence = |evidence| {
            evidence.deployment =
                evidence.deployment.replace(r#""commits":2"#, r#""commits":2,"count":2"#);
        };
    }),
];

/// Each is left for the second verifier as well.
#[test]
fn nobody_counts_for_commits_that_they_had_a_hand_in() {
    let keys = Keys::new();
    let mut left = Vec::new();
    for (name, expected, change) in CASES {
        let mut maker = of_mira(&keys);
        change(&mut maker);
        let file = text(&maker.make());
        assert_eq!(bundles::verdict(file.as_bytes(), &keys.trust()), expected, "commits {name}");
        left.push(bundles::case(name, &file, &keys.trust()));
    }
    bundles::leave("separation", &left.into());
}
