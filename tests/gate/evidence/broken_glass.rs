//! Evidence of approvals for which the glass was broken, good and bad.

use std::sync::Arc;

use countersign::domain::approval::State;
use countersign::domain::decision::Verdict;
use countersign::domain::policy::{BreakGlass, Rule};
use countersign::domain::statement::PREDICATE_TYPE;
use countersign::proof::verify::{Code, verify};

use crate::evidence::codes::{Add, text};
use crate::evidence::keys::Keys;
use crate::evidence::maker::{Maker, Signer};
use crate::evidence::windows::closed;

pub fn glass(from: &str, count: u8) -> Option<BreakGlass> {
    let rules = vec![Rule { from: vec![from.parse().unwrap()], count, environment: None }];
    Some(BreakGlass { rules, explain_within_seconds: 3_600 })
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

pub fn add_bad(add: &mut Add<'_>) {
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
