//! Evidence of approvals for which the glass was broken, good and bad.

use std::num::NonZeroU32;
use std::sync::Arc;

use countersign::domain::approval::State;
use countersign::domain::decision::Verdict;
use countersign::domain::policy::{BreakGlass, Rule};
use countersign::domain::statement::{PREDICATE_TYPE, Statement};
use countersign::proof::verify::{Code, verify};
use jiff::SignedDuration;
use serde_json::{Map, Value, json};

use crate::evidence::codes::{Add, text};
use crate::evidence::keys::Keys;
use crate::evidence::maker::{Maker, Signer};
use crate::evidence::windows::closed;

pub fn glass(from: &str, count: u8) -> Option<BreakGlass> {
    let rules = vec![Rule { from: vec![from.parse().unwrap()], count, environment: None }];
    Some(BreakGlass { rules, explain_within_seconds: 3_600, outage_grace_seconds: None })
}

/// Alice of the release managers breaks the glass, and nobody else signs.
fn alone(maker: &mut Maker) {
    maker.signers = vec![Signer {
        subject: "u-alice",
        group: "release-managers",
        verdict: Verdict::BreakGlass,
    }];
    maker.policy.break_glass = glass("group:release-managers", 1);
}

/// While everything is closed.
pub fn broken(keys: &Arc<Keys>) -> Maker {
    let mut maker = Maker::short(keys);
    alone(&mut maker);
    maker.policy.windows = closed(-10, 300);
    maker
}

/// While the directory could not be reached: the sign-in is `age` old, and the policy lets it be an hour.
fn in_outage(maker: &mut Maker, age: fn(&mut Map<String, Value>)) {
    alone(maker);
    let grace = NonZeroU32::new(3_600);
    let glass = maker.policy.break_glass.as_mut().unwrap();
    glass.outage_grace_seconds = grace;
    maker.edit_id_token = age;
    maker.edit_statement = say_outage;
}

fn say_outage(statement: &mut Statement) {
    let since = statement.predicate.issued_at - SignedDuration::from_mins(2);
    statement.predicate.directory_unreachable_since = Some(since);
}

fn older(claims: &mut Map<String, Value>, seconds: i64) {
    let issued = claims["iat"].as_i64().unwrap();
    claims.insert("iat".into(), json!(issued - seconds));
}

/// Somebody with a key alone, whose last sign-in is 55 minutes old.
pub fn broken_in_outage(keys: &Arc<Keys>) -> Maker {
    let mut maker = Maker::short(keys);
    in_outage(&mut maker, |claims| older(claims, 3_300));
    maker
}

pub fn add_bad(add: &mut Add<'_>) {
    add("a last sign-in older than the policy lets it be", Code::SignInMismatch, &|maker| {
        in_outage(maker, |claims| older(claims, 3_660));
    });
    add("a last sign-in where the policy lets none count", Code::SignInMismatch, &|maker| {
        in_outage(maker, |claims| older(claims, 60));
        maker.policy.break_glass.as_mut().unwrap().outage_grace_seconds = None;
    });
    add("an old sign-in and no word of an outage", Code::SignInMismatch, &|maker| {
        in_outage(maker, |claims| older(claims, 3_300));
        maker.edit_statement = |_| ();
    });
    add("an outage and a sign-in of somebody else", Code::SignInMismatch, &|maker| {
        in_outage(maker, |claims| {
            claims.insert("sub".into(), json!("u-bob"));
        });
    });
    add("a yes by the rules in an outage", Code::StatementMismatch, &|maker| {
        in_outage(maker, |_| ());
        maker.signers[0].verdict = Verdict::Approve;
        maker.rolls_out = false;
    });
    add("a yes for a list in an outage", Code::StatementMismatch, &|maker| {
        in_outage(maker, |_| ());
        maker.signers[0].verdict = Verdict::Approve;
        maker.rolls_out = false;
        maker.others = 1;
    });
    add("an outage that the log tells nothing of", Code::StatementMismatch, &|maker| {
        in_outage(maker, |_| ());
        maker.edit_record = |record| {
            for decision in &mut record.approval.as_mut().unwrap().decisions {
                decision.directory_unreachable_since = None;
            }
        };
    });
    add("an outage that the log alone tells of", Code::StatementMismatch, &|maker| {
        alone(maker);
        maker.edit_record = |record| {
            for decision in &mut record.approval.as_mut().unwrap().decisions {
                decision.directory_unreachable_since = Some(decision.decided_at);
            }
        };
    });
    add("the glass broken where nobody may", Code::QuorumNotMet, &|maker| {
        alone(maker);
        maker.policy.break_glass = None;
    });
    add("the glass broken by somebody of no rule for it", Code::QuorumNotMet, &|maker| {
        alone(maker);
        maker.policy.break_glass = glass("group:on-call", 1);
    });
    add("the glass broken by one of two", Code::QuorumNotMet, &|maker| {
        alone(maker);
        maker.policy.break_glass = glass("group:release-managers", 2);
    });
    add("a yes that is to break the glass", Code::QuorumNotMet, &|maker| {
        alone(maker);
        maker.signers[0].verdict = Verdict::Approve;
        maker.rolls_out = false;
        maker.edit_record = |record| {
            let at = record.at;
            let approval = record.approval.as_mut().unwrap();
            if !approval.decisions.is_empty() {
                approval.state = State::Approved { at };
            }
        };
    });
    add("the glass broken without a word", Code::StatementMismatch, &|maker| {
        alone(maker);
        maker.edit_statement = |statement| statement.predicate.reason = Some("  ".into());
    });
    add("the glass broken in the form of a decision", Code::StatementMismatch, &|maker| {
        alone(maker);
        maker.edit_statement = |statement| statement.predicate_type = PREDICATE_TYPE.into();
    });
    add("the glass broken for a list", Code::StatementMismatch, &|maker| {
        alone(maker);
        maker.others = 1;
    });
}

#[test]
fn a_broken_glass_is_approved_and_says_so() {
    let keys = Keys::new();
    let found = verify(text(&broken(&keys).make()).as_bytes(), &keys.trust()).unwrap();
    assert!(found.is_approved() && found.is_by_break_glass());
    assert!(found.checks().iter().any(|held| held.starts_with("It was by breaking the glass")));
    assert!(!found.checks().iter().any(|held| held.contains("lies in the windows")));
}

#[test]
fn a_glass_that_was_broken_in_an_outage_says_so() {
    let keys = Keys::new();
    let found = verify(text(&broken_in_outage(&keys).make()).as_bytes(), &keys.trust()).unwrap();
    assert!(found.is_approved() && found.is_by_break_glass());
    assert!(found.deciders()[0].decision.directory_unreachable_since.is_some());
    let says = "a last sign-in of at most 3600 seconds before";
    assert!(found.checks().iter().any(|held| held.contains(says)), "{:#?}", found.checks());
}
