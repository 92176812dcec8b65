//! Whether what a rollout is told to do was signed.
//!
//! The state of an approval holds what people told its rollout. Who signed it, the verified records say:
//! the worker follows nothing that stands there without the entry of an intervention.

use crate::domain::approval::{State, Status};
use crate::domain::intervention::{Act, FrozenIntervention, INTERVENED, Intervention, Orders};
use crate::domain::ledger::Record;

/// The index of the first record whose orders nobody signed, or that goes on with a rollout which was over
/// without anybody's signature. `records` are verified, with the interventions in them.
pub(super) fn first_unsigned(records: &[Record]) -> Option<usize> {
    let mut signed = Orders::default();
    let mut before = Status::Pending;
    records.iter().position(|record| {
        let act = act_of(record);
        match act {
            Some((Act::GoOn, steps)) => signed.go_on_after = Some(steps),
            Some((Act::Restore, _)) => {
                (signed.restore, signed.overrides) = (Some(String::new()), true);
            }
            Some((Act::ObserveAgain, _)) => signed.observe_again = true,
            Some((Act::Accept, _)) | None => {}
        }
        let Some(approval) = &record.approval else { return false };
        let was = std::mem::replace(&mut before, approval.state.status());
        let State::Executing { orders, .. } = &approval.state else { return false };
        let is_reopened =
            matches!(was, Status::NeedsAttention | Status::Succeeded) && act.is_none();
        is_reopened || !is_covered(orders, &signed)
    })
}

/// Whether each of these orders was signed.
fn is_covered(orders: &Orders, signed: &Orders) -> bool {
    (orders.go_on_after.is_none() || orders.go_on_after == signed.go_on_after)
        && (orders.restore.is_none() || signed.restore.is_some())
        && (!orders.overrides || signed.overrides)
        && (!orders.observe_again || signed.observe_again)
}

/// What a record of an intervention was signed for, and how many steps served then.
fn act_of(record: &Record) -> Option<(Act, u64)> {
    let statement = record.data["signed"]["statement"].as_str();
    let statement = statement.filter(|_| record.kind == INTERVENED);
    let statement = FrozenIntervention::thaw(statement?).ok()?;
    let Intervention { act, steps_done, .. } = statement.predicate();
    Some((*act, *steps_done))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::approval::State;
    use crate::domain::rollout::Progress;

    /// A record of a rollout with these orders.
    fn record(kind: &str, orders: Value, statement: &str) -> Record {
        let digest = "0".repeat(64);
        let state = State::Executing {
            since: Timestamp::UNIX_EPOCH,
            progress: Progress::default(),
            orders: serde_json::from_value(orders).unwrap(),
        };
        let approval = json!({
            "id": format!("apr_{}", "a".repeat(26)), "version": 1, "deployment_digest": digest,
            "policy_digest": digest, "state": state, "decisions": [],
        });
        Record {
            schema: String::new(),
            kind: kind.to_owned(),
            at: Timestamp::UNIX_EPOCH,
            approval: serde_json::from_value(approval).unwrap(),
            data: json!({"name": "Alice", "signed": {"statement": statement}}),
        }
    }

    fn statement(act: &str, steps: u64) -> String {
        let digest = "0".repeat(64);
        let time = "2026-11-24T14:00:00Z";
        let statement = json!({
            "_type": "", "subject": [], "predicateType": "", "predicate": {
                "act": act, "steps_done": steps, "approver": {"issuer": "", "subject": ""},
                "credentials": [], "sign_in_digest": digest, "audience": "", "nonce": "",
                "issued_at": time, "expires_at": time,
            },
        });
        crate::domain::canonical::to_canonical_json(&statement).unwrap()
    }

    #[test]
    fn nothing_is_told_without_a_signature() {
        let begun = record("rollout.begun", json!({}), "");
        for (orders, act, steps) in [
            (json!({"restore": "Because"}), "restore", 0),
            (json!({"restore": "Because", "overrides": true}), "restore", 0),
            (json!({"go_on_after": 1}), "go_on", 1),
            (json!({"observe_again": true}), "observe_again", 0),
        ] {
            let signed = record(INTERVENED, orders.clone(), &statement(act, steps));
            let later = record("rollout.observed", orders.clone(), "");
            assert_eq!(first_unsigned(&[begun.clone(), signed.clone(), later.clone()]), None);
            // In no entry before, in none of another kind, for no other act.
            assert_eq!(first_unsigned(&[begun.clone(), later, signed]), Some(1));
            let kind = record("rollout.observed", orders.clone(), &statement(act, steps));
            assert_eq!(first_unsigned(&[begun.clone(), kind]), Some(1));
            let other = record(INTERVENED, orders, &statement("accept", steps));
            assert_eq!(first_unsigned(&[begun.clone(), other]), Some(1));
        }
        let other_pause = record(INTERVENED, json!({"go_on_after": 2}), &statement("go_on", 1));
        assert_eq!(first_unsigned(&[begun, other_pause]), Some(1));
    }
}
