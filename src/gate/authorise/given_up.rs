//! Keys that were given up since they signed.

use super::NotAuthorised;
use crate::domain::decision::standing;
use crate::domain::ledger::CALL_ANNOUNCED;
use crate::gate::GateError;
use crate::gate::loss::lost_since;
use crate::proof::evidence::{Evidence, Trust};
use crate::proof::verify::Verified;
use crate::storage::Storage;

/// A key that was revoked before the first call counts no more, although its signature was good when
/// it was made; one that was lost, from the time on that its owner reported. Later the rollout goes on:
/// stopping half-way would help nobody, and whoever wants that can move the traffic back. The keys' rows are
/// not asked: the signed entries say it, and what is known outside the database of those that are no longer
/// in it.
pub(super) async fn refuse(
    storage: &Storage,
    trust: &Trust,
    evidence: &Evidence,
    verified: &Verified,
) -> Result<(), NotAuthorised> {
    let mut entries = evidence.entries.iter().zip(verified.records());
    let first_call = entries.find(|(_, record)| record.kind == CALL_ANNOUNCED);
    let first_call = first_call.map_or(u64::MAX, |(entry, _)| entry.index);
    // A signature that was taken back counts for nothing, whatever became of its key.
    let revocations = storage.revocations().await.map_err(GateError::from)?;
    for decision in standing(verified.decisions()) {
        let credential = &decision.credential;
        let entry = revocations.iter().find(|found| found.revocation.credential == *credential);
        let is_known_outside =
            storage.revoked_at(credential).is_some_and(|index| index < first_call);
        match entry.filter(|found| found.index < first_call) {
            Some(found) => match lost_since(storage, trust, found).await? {
                // What a key signed before it was lost still counts.
                Some(since) if decision.decided_at < since => {}
                Some(_) => return Err(NotAuthorised::Lost(Box::new(found.clone()))),
                None => return Err(NotAuthorised::Revoked(Box::new(found.clone()))),
            },
            None if is_known_outside => {
                return Err(NotAuthorised::RevokedBefore(credential.clone()));
            }
            None => {}
        }
    }
    refuse_given_up(storage, verified)
}

/// Evidence shows that a person had other keys when they decided. That one of them had been revoked before
/// shows only where the evidence says it, so the log is asked as well.
fn refuse_given_up(storage: &Storage, verified: &Verified) -> Result<(), NotAuthorised> {
    for other in verified.other_keys() {
        let revoked = storage.revoked_at(&other.credential);
        if other.revoked.is_none() && revoked.is_some_and(|index| index < other.decided) {
            let person = other.person.subject.clone();
            return Err(NotAuthorised::OtherKeyGivenUp(person, other.credential.clone()));
        }
    }
    Ok(())
}
