//! Models of keys against which something became known since they signed.

use super::NotAuthorised;
use crate::domain::decision::standing;
use crate::domain::key_rules::Aaguid;
use crate::domain::ledger::CALL_ANNOUNCED;
use crate::proof::evidence::Trust;
use crate::proof::verify::Verified;

/// What was known when something was asked for stands in its policy, and evidence is judged by it. What this
/// process knows by now counts until the first call; later the rollout goes on, as after a key was given up.
pub(super) fn refuse(trust: &Trust, verified: &Verified) -> Result<(), NotAuthorised> {
    if verified.records().iter().any(|record| record.kind == CALL_ANNOUNCED) {
        return Ok(());
    }
    let stands = standing(verified.decisions());
    for decider in verified.deciders().iter().filter(|one| stands.contains(&&one.decision)) {
        if let Some(status) = trust.against(Aaguid(decider.aaguid)) {
            let who = decider.decision.name.clone();
            return Err(NotAuthorised::ModelSuspended(who, status.to_owned()));
        }
    }
    Ok(())
}
