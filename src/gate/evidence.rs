//! Gathers the evidence of an approval from storage. Nothing here judges it: `proof` does.

use data_encoding::HEXLOWER;
use jiff::Timestamp;

use crate::domain::decision::SignedDecision;
use crate::domain::freeze::RecordedFreeze;
use crate::domain::ledger::{Entry, Frontier, Record};
use crate::domain::recovery::successor;
use crate::gate::GateError;
use crate::gate::decide::encode;
use crate::gate::witnessed::{cosignatures, newest_cosigned};
use crate::proof::base64url;
use crate::proof::evidence::{
    CredentialEvidence, DecisionEvidence, EVIDENCE_SCHEMA, EndorsementEvidence, EntryEvidence,
    Evidence, SignIn, SignedToken, Trust,
};
use crate::proof::verify::ActEvidence;
use crate::storage::{Storage, StoredApproval};

/// The name with which a gate's log begins: its origin without the scheme (C2SP tlog-checkpoint).
pub fn log_name(origin: &str) -> String {
    let host = origin.split_once("://").map_or(origin, |(_, host)| host);
    format!("{host}/log")
}

/// The name of a gate's log now, which has another one after each recovery.
pub fn current_log_name(storage: &Storage, origin: &str) -> String {
    successor(&log_name(origin), storage.lineage().recoveries)
}

/// Everything that proves an approval as it is stored to whoever has these anchors, with proofs that lead
/// to the newest head that covers it and that witnesses signed; without witnesses, to the tree as it is now.
///
/// # Errors
/// [`GateError::NotFound`] if a row that the evidence needs is not there.
pub async fn gather(
    storage: &Storage,
    trust: &Trust,
    stored: &StoredApproval,
) -> Result<Evidence, GateError> {
    let head = storage.head().await?;
    let last = storage.last_entry_of(stored.approval.id()).await?;
    let least = last.map_or(0, |last| last + 1);
    let cosigned = newest_cosigned(storage, trust, least, &head).await?;
    gather_at(storage, trust, stored, &cosigned.unwrap_or(head)).await
}

/// The same as it was in the tree of `head`, which may have grown since: what came later is left out.
///
/// # Errors
/// As [`gather`].
pub async fn gather_at(
    storage: &Storage,
    trust: &Trust,
    stored: &StoredApproval,
    head: &Frontier,
) -> Result<Evidence, GateError> {
    let approval = &stored.approval;
    let (token, key) = storage.requester_token(approval.id()).await?.ok_or(GateError::NotFound)?;
    let mut signed = storage.signed_decisions(approval.id()).await?;
    let mut own_entries = storage.entries_of(approval.id()).await?;
    own_entries.retain(|entry| entry.index < head.size());
    let last = own_entries.last().map(|last| Record::parse(&last.record)).transpose()?;
    if let Some(told) = last.and_then(|last| last.approval) {
        signed.truncate(told.decisions.len());
    }
    let mut entries = Vec::with_capacity(own_entries.len());
    for entry in own_entries {
        entries.push(entry_evidence(storage, entry, head).await?);
    }
    let name = current_log_name(storage, &trust.origin);
    let checkpoint = storage.sign_checkpoint(&name, head);
    let needed = approval.policy.enrolment.endorsements;
    let (policy, _) = approval.policy.canonical()?;
    Ok(Evidence {
        schema: EVIDENCE_SCHEMA.to_owned(),
        deployment: approval.subject.text().to_owned(),
        policy,
        requester: SignedToken { token, key },
        credentials: credentials_of(storage, trust, needed, &signed, head).await?,
        decisions: signed.into_iter().map(decision_evidence).collect(),
        entries,
        checkpoint,
        cosignatures: cosignatures(storage, trust, head).await?,
    })
}

/// Everything that proves a freeze or its end beside its entry, at this index and time: the sign-in that its
/// signature rests on and how its key became its person's, with proofs that lead to the head of `tree`.
///
/// # Errors
/// [`GateError::NotFound`] if a row that it needs is not there.
pub async fn gather_act(
    storage: &Storage,
    trust: &Trust,
    (index, at): (u64, Timestamp),
    recorded: &RecordedFreeze,
    tree: &Frontier,
) -> Result<ActEvidence, GateError> {
    let (id_token, issuer_key) = storage.freeze_sign_in(index).await?.ok_or(GateError::NotFound)?;
    let bytes = |text: &str| base64url::decode(text).ok_or(GateError::NotFound);
    let signed = SignedDecision {
        statement: recorded.statement.clone(),
        credential_id: bytes(&recorded.signed_with)?,
        authenticator_data: bytes(&recorded.authenticator_data)?,
        client_data_json: bytes(&recorded.client_data_json)?,
        signature: bytes(&recorded.signature)?,
        user_handle: recorded.user_handle.as_deref().map(bytes).transpose()?,
        id_token,
        issuer_key,
        decided_at: at,
    };
    let needed = trust.endorsements;
    let signatures = std::slice::from_ref(&signed);
    Ok(ActEvidence {
        index,
        at,
        sign_in_key: recorded.sign_in_key.clone(),
        credentials: credentials_of(storage, trust, needed, signatures, tree).await?,
        signed: decision_evidence(signed),
        tree: (tree.size(), tree.root()),
    })
}

/// The enrolment of each credential that signed, in the order of first use: for decisions, then for
/// the endorsements of the credentials before it. An anchor of `trust` ends the chain.
async fn credentials_of(
    storage: &Storage,
    trust: &Trust,
    needed: u8,
    signed: &[SignedDecision],
    head: &Frontier,
) -> Result<Vec<CredentialEvidence>, GateError> {
    let mut ids: Vec<Vec<u8>> = Vec::new();
    let note = |ids: &mut Vec<Vec<u8>>, id: &Vec<u8>| {
        if !ids.contains(id) {
            ids.push(id.clone());
        }
    };
    signed.iter().for_each(|decision| note(&mut ids, &decision.credential_id));
    let mut credentials = Vec::new();
    while let Some(id) = ids.get(credentials.len()).cloned() {
        let credential = storage.credential(&id).await?.ok_or(GateError::NotFound)?;
        let entry = storage.enrolment_of(&id).await?.ok_or(GateError::NotFound)?;
        let needed = if trust.is_anchor(&credential.public_key) { 0 } else { needed };
        let mut endorsements = Vec::new();
        for kept in storage.endorsements_of(&id).await?.into_iter().take(needed.into()) {
            note(&mut ids, &kept.signed.credential_id);
            let entry = storage.entry(kept.entry).await?.ok_or(GateError::NotFound)?;
            endorsements.push(EndorsementEvidence {
                signed: decision_evidence(kept.signed),
                entry: entry_evidence(storage, entry, head).await?,
            });
        }
        credentials.push(CredentialEvidence {
            registration: credential.registration,
            sign_in: SignIn { id_token: credential.id_token, key: credential.issuer_key },
            entry: entry_evidence(storage, entry, head).await?,
            endorsements,
        });
    }
    Ok(credentials)
}

async fn entry_evidence(
    storage: &Storage,
    entry: Entry,
    head: &Frontier,
) -> Result<EntryEvidence, GateError> {
    let previous_root = match entry.index.checked_sub(1) {
        None => Frontier::default().root(),
        Some(before) => storage.entry(before).await?.ok_or(GateError::NotFound)?.root,
    };
    let inclusion = storage.inclusion(entry.index, head.size()).await?;
    Ok(EntryEvidence {
        index: entry.index,
        record: entry.record,
        salt: HEXLOWER.encode(&entry.salt),
        previous_root: previous_root.to_string(),
        signature: HEXLOWER.encode(&entry.signature),
        inclusion: inclusion.iter().map(ToString::to_string).collect(),
    })
}

fn decision_evidence(signed: SignedDecision) -> DecisionEvidence {
    DecisionEvidence {
        credential_id: encode(&signed.credential_id),
        authenticator_data: encode(&signed.authenticator_data),
        client_data_json: encode(&signed.client_data_json),
        signature: encode(&signed.signature),
        user_handle: signed.user_handle.as_deref().map(encode),
        statement: signed.statement,
        sign_in: SignIn { id_token: signed.id_token, key: signed.issuer_key },
    }
}
