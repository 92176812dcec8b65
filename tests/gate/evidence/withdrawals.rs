//! Evidence of approvals in which somebody took a signature back, good and bad.

use std::sync::Arc;

use countersign::domain::approval::State;
use countersign::domain::decision::Verdict;
use countersign::domain::digest::Digest;
use countersign::domain::ledger::Record;
use countersign::domain::statement::PREDICATE_TYPE;
use countersign::proof::verify::{Code, verify};

use crate::evidence::codes::{Add, sample, text};
use crate::evidence::keys::Keys;
use crate::evidence::maker::{Maker, Signer};

/// Somebody takes a yes back, and signs again.
pub fn again(keys: &Arc<Keys>) -> Maker {
    let mut maker = Maker::short(keys);
    let alice = |verdict| Signer { subject: "u-alice", group: "release-managers", verdict };
    maker.signers.extend([alice(Verdict::Withdraw), alice(Verdict::Approve)]);
    maker
}

pub fn add_bad(add: &mut Add<'_>) {
    let keeps_it_approved = |record: &mut Record| {
        let at = record.at;
        if record.kind == "approval.withdrawn" {
            record.approval.as_mut().unwrap().state = State::Approved { at };
        }
    };
    add("approved by a signature that was taken back", Code::QuorumNotMet, &|maker| {
        *maker = again(&maker.keys);
        maker.signers.pop();
        maker.rolls_out = false;
        maker.edit_record = keeps_it_approved;
    });
    add("approved between a withdrawal and the next yes", Code::QuorumNotMet, &|maker| {
        *maker = again(&maker.keys);
        maker.edit_record = keeps_it_approved;
    });
    add("a withdrawal of another statement", Code::StatementMismatch, &|maker| {
        *maker = again(&maker.keys);
        maker.edit_statement = |statement| {
            let withdraws = &mut statement.predicate.withdraws;
            *withdraws = withdraws.map(|_| Digest::of("another"));
        };
    });
    add("a withdrawal of nothing", Code::StatementMismatch, &|maker| {
        *maker = again(&maker.keys);
        maker.edit_statement = |statement| statement.predicate.withdraws = None;
    });
    add("a withdrawal in the form of a decision", Code::StatementMismatch, &|maker| {
        *maker = again(&maker.keys);
        maker.edit_statement = |statement| statement.predicate_type = PREDICATE_TYPE.into();
    });
    add("a yes that names what it takes back", Code::StatementMismatch, &|maker| {
        maker.edit_statement = |statement| statement.predicate.withdraws = Some(Digest::of("it"));
    });
    add("a signature taken back by somebody else", Code::StatementMismatch, &|maker| {
        *maker = again(&maker.keys);
        maker.signers.pop();
        maker.edit_statement = |statement| {
            if statement.predicate.withdraws.is_some() {
                statement.predicate.approver = sample("u-carol");
            }
        };
        maker.edit_record = |record| {
            let decisions = &mut record.approval.as_mut().unwrap().decisions;
            if let Some(withdrawal) = decisions.get_mut(2) {
                withdrawal.person = sample("u-carol");
            }
        };
        maker.rolls_out = false;
    });
}

#[test]
fn who_signs_again_counts_and_who_does_not_counts_no_more() {
    let keys = Keys::new();
    let again = verify(text(&again(&keys).make()).as_bytes(), &keys.trust()).unwrap();
    assert_eq!((again.is_approved(), again.decisions().len()), (true, 4));
    let mut pending = self::again(&keys);
    pending.signers.pop();
    pending.rolls_out = false;
    let pending = verify(text(&pending.make()).as_bytes(), &keys.trust()).unwrap();
    assert_eq!((pending.is_approved(), pending.state().status().as_str()), (false, "pending"));
}
