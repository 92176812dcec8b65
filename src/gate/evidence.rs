//! Gathers the evidence of an approval from storage. Nothing here judges it: `proof` does.

use data_encoding::HEXLOWER;
use jiff::Timestamp;

use crate::domain::decision::{SignedDecision, Verdict};
use crate::domain::freeze::RecordedFreeze;
use crate::domain::key_rules::KeyRules;
use crate::domain::ledger::{Entry, Frontier, Record};
use crate::domain::person::Person;
use crate::domain::recovery::successor;
use crate::gate::GateError;
use crate::gate::decide::encode;
use crate::gate::keys::{facts_of, revocation_of};
use crate::gate::witnessed::{cosignatures, newest_cosigned};
use crate::proof::base64url;
use crate::proof::evidence::{
    Asker, CredentialEvidence, DecisionEvidence, EVIDENCE_SCHEMA, EndorsementEvidence,
    EntryEvidence, Evidence, RecordedIntervention, SignIn, SignedToken, Trust,
};
use crate::proof::verify::ActEvidence;
use crate::storage::{Credential, RecordedRevocation, Storage, StoredApproval};

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
    // A run has no token, and nothing stands where one would.
    let requester = match token.is_empty() {
        true => Asker::SAID,
        false => Asker::Token(SignedToken { token, key }),
    };
    let mut signed = storage.signed_decisions(approval.id()).await?;
    let mut own_entries = storage.entries_of(approval.id()).await?;
    own_entries.retain(|entry| entry.index < head.size());
    let decided = decided(&own_entries)?;
    signed.truncate(decided.len());
    let intervened = intervened_with(&own_entries)?;
    let mut entries = Vec::with_capacity(own_entries.len());
    for entry in own_entries {
        entries.push(entry_evidence(storage, entry, head).await?);
    }
    let name = current_log_name(storage, &trust.origin);
    let checkpoint = storage.sign_checkpoint(&name, head);
    let (policy, _) = approval.policy.canonical()?;
    let asked = (approval.policy.enrolment.endorsements, approval.policy.keys.as_ref());
    Ok(Evidence {
        schema: EVIDENCE_SCHEMA.to_owned(),
        deployment: approval.subject.text().to_owned(),
        policy,
        requester,
        credentials: credentials_of(storage, trust, asked, (&signed, &intervened), &decided, head)
            .await?,
        decisions: signed.into_iter().map(decision_evidence).collect(),
        entries,
        checkpoint,
        cosignatures: cosignatures(storage, trust, head).await?,
    })
}

/// Whoever decided, with the place and the time of the entry in which the decision first appears.
struct Decided {
    person: Person,
    index: u64,
    at: Timestamp,
    /// Whether an earlier yes was taken back, for which every key is good.
    withdraws: bool,
}

fn decided(own: &[Entry]) -> Result<Vec<Decided>, GateError> {
    let mut decided = Vec::new();
    for entry in own {
        let record = Record::parse(&entry.record)?;
        let decisions = record.approval.map(|approval| approval.decisions).unwrap_or_default();
        let new = decisions.into_iter().skip(decided.len());
        let new: Vec<Decided> = new
            .map(|one| Decided {
                person: one.person,
                index: entry.index,
                at: record.at,
                withdraws: one.verdict == Verdict::Withdraw,
            })
            .collect();
        decided.extend(new);
    }
    Ok(decided)
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
    let sign_in_key = recorded.sign_in_key.clone();
    gather_signed(storage, trust, (index, at), (signed, sign_in_key), tree).await
}

/// Everything that proves a statement that the entry at this index and time holds, with the sign-in that it rests on:
/// how its key became its person's. `sign_in_key` is the thumbprint of the directory's key that the entry names.
///
/// # Errors
/// [`GateError::NotFound`] if a row that it needs is not there.
pub async fn gather_signed(
    storage: &Storage,
    trust: &Trust,
    (index, at): (u64, Timestamp),
    (signed, sign_in_key): (SignedDecision, String),
    tree: &Frontier,
) -> Result<ActEvidence, GateError> {
    let needed = trust.endorsements;
    let signatures = std::slice::from_ref(&signed);
    Ok(ActEvidence {
        index,
        at,
        sign_in_key,
        credentials: credentials_of(storage, trust, (needed, None), (signatures, &[]), &[], tree)
            .await?,
        signed: decision_evidence(signed),
        tree: (tree.size(), tree.root()),
    })
}

/// The raw ids of the credentials with which approvers intervened, in the order of their entries.
fn intervened_with(own_entries: &[Entry]) -> Result<Vec<Vec<u8>>, GateError> {
    let mut used = Vec::new();
    for entry in own_entries {
        let held = RecordedIntervention::of_record(&Record::parse(&entry.record)?);
        used.extend(held.and_then(|one| base64url::decode(&one.signed.credential_id)));
    }
    Ok(used)
}

/// The enrolment of each credential that signed, in the order of first use: for decisions, then for
/// interventions, then the other keys that whoever decided must have, then for the endorsements of the credentials before it. An anchor of
/// `trust` ends the chain.
async fn credentials_of(
    storage: &Storage,
    trust: &Trust,
    (needed, keys): (u8, Option<&KeyRules>),
    (signed, intervened): (&[SignedDecision], &[Vec<u8>]),
    decided: &[Decided],
    head: &Frontier,
) -> Result<Vec<CredentialEvidence>, GateError> {
    let mut ids: Vec<Vec<u8>> = Vec::new();
    let note = |ids: &mut Vec<Vec<u8>>, id: &Vec<u8>| {
        if !ids.contains(id) {
            ids.push(id.clone());
        }
    };
    signed.iter().for_each(|decision| note(&mut ids, &decision.credential_id));
    intervened.iter().for_each(|id| note(&mut ids, id));
    let revocations = if keys.is_some() { storage.revocations().await? } else { Vec::new() };
    if let Some(rules) = keys.filter(|rules| rules.needed() > 1) {
        let others = Others { storage, trust, needed, rules, revocations: &revocations };
        for (signed, decided) in signed.iter().zip(decided) {
            for id in others.of(&signed.credential_id, decided, &ids).await? {
                note(&mut ids, &id);
            }
        }
    }
    let last_decided = decided.last().map_or(0, |last| last.index);
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
        let revoked = revocation_of(&revocations, &credential).map(|found| found.index);
        let revoked = match revoked.filter(|index| *index < last_decided) {
            None => None,
            Some(index) => {
                let entry = storage.entry(index).await?.ok_or(GateError::NotFound)?;
                Some(entry_evidence(storage, entry, head).await?)
            }
        };
        credentials.push(CredentialEvidence {
            registration: credential.registration,
            sign_in: SignIn::of_text(credential.id_token, credential.issuer_key),
            entry: entry_evidence(storage, entry, head).await?,
            endorsements,
            revoked,
        });
    }
    Ok(credentials)
}

/// What shows that whoever decided had other keys than the one that signed.
struct Others<'a> {
    storage: &'a Storage,
    trust: &'a Trust,
    needed: u8,
    rules: &'a KeyRules,
    revocations: &'a [RecordedRevocation],
}

impl Others<'_> {
    /// As many other keys of the person as the rules ask for, if there are: those that are `listed` already
    /// first, in that order, as whoever verifies it takes them; then those in use.
    async fn of(
        &self,
        signer: &[u8],
        decided: &Decided,
        listed: &[Vec<u8>],
    ) -> Result<Vec<Vec<u8>>, GateError> {
        if decided.withdraws {
            return Ok(Vec::new());
        }
        let signer_enrolled = self.storage.enrolment_of(signer).await?.map(|entry| entry.index);
        let mut held = Vec::new();
        for key in self.storage.credentials_of(&decided.person).await? {
            if key.id == signer || !self.counts(&key, decided.index).await? {
                continue;
            }
            let revoked = revocation_of(self.revocations, &key);
            let revoked = revoked.filter(|revoked| revoked.index < decided.index);
            let is_held = revoked.is_none_or(|revoked| {
                Some(revoked.index) > signer_enrolled
                    && self.rules.counts_still(revoked.at, decided.at)
            });
            let place = listed.iter().position(|id| *id == key.id).unwrap_or(usize::MAX);
            held.extend(is_held.then_some((place, revoked.is_some(), key.id)));
        }
        held.sort();
        held.truncate(usize::from(self.rules.needed()) - 1);
        Ok(held.into_iter().map(|(_, _, id)| id).collect())
    }

    /// Whether a key is one of those that the rules ask for, and was before the entry at `before`.
    async fn counts(&self, key: &Credential, before: u64) -> Result<bool, GateError> {
        let enrolled = self.storage.enrolment_of(&key.id).await?;
        if enrolled.is_none_or(|entry| entry.index >= before)
            || self.rules.accept(&facts_of(key, self.trust)).is_err()
        {
            return Ok(false);
        }
        if self.needed == 0 || self.trust.is_anchor(&key.public_key) {
            return Ok(true);
        }
        let endorsements = self.storage.endorsements_of(&key.id).await?;
        let before = endorsements.iter().filter(|kept| kept.entry < before).count();
        Ok(before >= usize::from(self.needed))
    }
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

/// A signed statement with the sign-in that it rests on, as evidence has it.
pub(super) fn decision_evidence(signed: SignedDecision) -> DecisionEvidence {
    DecisionEvidence {
        credential_id: encode(&signed.credential_id),
        authenticator_data: encode(&signed.authenticator_data),
        client_data_json: encode(&signed.client_data_json),
        signature: encode(&signed.signature),
        user_handle: signed.user_handle.as_deref().map(encode),
        statement: signed.statement,
        sign_in: SignIn::of_text(signed.id_token, signed.issuer_key),
    }
}
