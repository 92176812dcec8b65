//! Decisions: what proves each one is there, and is what the ledger names.

use std::collections::BTreeMap;

use crate::domain::decision::{Decision, SignedDecision, Verdict};
use crate::domain::digest::Digest;
use crate::domain::person::Person;
use crate::domain::statement::FrozenStatement;
use crate::domain::subject::FrozenSubject;
use crate::storage::approvals::decision_rows;
use crate::storage::audit::Audit;
use crate::storage::error::Result;

impl Audit {
    /// Compares the decisions that the ledger tells of one approval with what is kept of them.
    pub(super) async fn check_decisions(
        &mut self,
        id: &str,
        told: &[Decision],
        deployment: Option<&FrozenSubject>,
    ) -> Result<()> {
        let (mut order, mut signed) = (Vec::new(), Vec::new());
        for row in decision_rows(&mut self.snapshot, id).await? {
            order.push(Person { issuer: row.issuer.clone(), subject: row.subject.clone() });
            signed.push(self.findings.readable(SignedDecision::try_from(row))?);
        }
        let order = numbered(order.iter());
        let told_order = numbered(told.iter().map(|decision| &decision.person));
        let mut kept: BTreeMap<Nth, _> = order.iter().cloned().zip(signed).collect();
        if told_order != order
            && told.len() == order.len()
            && told_order.iter().all(|nth| kept.contains_key(nth))
        {
            let wrong = "have another order than their entries in the ledger";
            self.findings.row("decision_mismatch", "decisions", id, wrong);
        }
        for (decision, nth) in told.iter().zip(&told_order) {
            let row = name(id, &decision.person);
            if !self.people.registered(&decision.credential, &decision.person) {
                let wrong = "was made with a key that the ledger never saw registered for them";
                self.findings.row("decision_credential_unknown", "decisions", &row, wrong);
            }
            match kept.remove(nth) {
                None => {
                    let wrong = "is gone, and with it the proof of a decision that was recorded";
                    self.findings.row("decision_missing", "decisions", row, wrong);
                }
                Some(None) => {}
                Some(Some(signed)) => {
                    for column in differences(decision, &signed, deployment) {
                        let wrong = format!("has another {column} than the recorded decision");
                        self.findings.row("decision_mismatch", "decisions", &row, wrong);
                    }
                }
            }
        }
        for (person, _) in kept.keys() {
            let wrong = "is a decision that the ledger tells nothing of";
            self.findings.row("decision_unrecorded", "decisions", name(id, person), wrong);
        }
        Ok(())
    }
}

/// A person, and how often they decided up to here: who takes a yes back may decide again.
type Nth = (Person, usize);

fn numbered<'a>(people: impl Iterator<Item = &'a Person>) -> Vec<Nth> {
    let mut counts = BTreeMap::new();
    let numbered = people.map(|person| {
        let count = counts.entry(person).or_insert(0);
        *count += 1;
        (person.clone(), *count)
    });
    numbered.collect()
}

/// The key of a decision's row, for people.
fn name(id: &str, person: &Person) -> String {
    format!("{id} of {} ({})", person.subject, person.issuer)
}

/// The columns of a kept decision that do not prove the recorded one.
fn differences(
    decision: &Decision,
    signed: &SignedDecision,
    asked: Option<&FrozenSubject>,
) -> Vec<&'static str> {
    let credential = data_encoding::BASE64URL_NOPAD.encode(&signed.credential_id);
    let statement = FrozenStatement::thaw(&signed.statement).ok();
    let says_the_same = statement.as_ref().is_some_and(|statement| {
        let predicate = statement.predicate();
        predicate.approver == decision.person
            && predicate.decision == decision.verdict
            && predicate.withdraws.is_some() == (decision.verdict == Verdict::Withdraw)
            && predicate.reason == decision.reason
            && asked.is_none_or(|frozen| statement.is_about(frozen))
    });
    let is_same_statement = decision.statement_digest == Digest::of(&signed.statement);
    let is_signed_sign_in = statement.is_none_or(|statement| {
        statement.predicate().sign_in_digest == Digest::of(&signed.id_token)
    });
    let columns = [
        ("statement", is_same_statement && says_the_same),
        ("credential_id", decision.credential == credential),
        ("signature", signed.assertion_digest().is_ok_and(|own| own == decision.assertion_digest)),
        ("decided_at", decision.decided_at == signed.decided_at),
        ("id_token", is_signed_sign_in),
    ];
    columns.into_iter().filter(|(_, same)| !same).map(|(column, _)| column).collect()
}
