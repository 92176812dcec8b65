//! Whether a recovery of the log was signed for: by people whose keys are pinned, over exactly the head
//! that was lost and exactly what is left, a short time before it was written.
//!
//! The log key alone cannot make one, nor can whoever writes into the database.

use std::collections::BTreeSet;

use crate::domain::digest::Digest;
use crate::domain::ledger::{Record, Revoked};
use crate::domain::recovery::{
    FrozenRecovery, LOG_RECOVERED, Lineage, RECOVERY_LIFETIME, RecordedRecovery, Recovery,
    RecoverySignature, Signer, lineage, successor,
};
use crate::proof::assertion::{
    AssertionRefusal, CredentialRecord, Expectation, UnverifiedAssertion, verify_from_record,
};
use crate::proof::base64url;
use crate::proof::checkpoint::TrustedLog;
use crate::proof::evidence::Trust;
use crate::proof::public_key::PublicKey;
use crate::proof::user_handle::user_handle;
use jiff::Timestamp;

/// A recovery that enough people with pinned keys signed for. Only [`verify`] makes one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifiedRecovery {
    recovery: Recovery,
    recoveries: u32,
    at: Timestamp,
}

impl VerifiedRecovery {
    /// What was signed.
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// How the log stands after it.
    pub fn lineage(&self) -> Lineage {
        Lineage { recoveries: self.recoveries, recovered_at: Some(self.at) }
    }

    /// Checks that it is the next entry on top of a tree, of a log that was recovered so often before.
    ///
    /// # Errors
    /// [`RecoveryRefusal::OtherTree`] or [`RecoveryRefusal::OtherLog`].
    pub fn stands_on(
        &self,
        size: u64,
        root: &Digest,
        before: Lineage,
    ) -> Result<(), RecoveryRefusal> {
        let kept = &self.recovery.database;
        if (kept.size, kept.root) != (size, *root) {
            return Err(RecoveryRefusal::OtherTree);
        }
        // It goes on from a head outside that was at least as new as what is left.
        if self.recoveries <= before.recoveries {
            return Err(RecoveryRefusal::OtherLog);
        }
        Ok(())
    }
}

/// What does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecoveryRefusal {
    /// The entry, the statement or a signature is in another form.
    #[error("it is not in the form of a recovery")]
    Malformed,
    /// It was made for another gate, or does not go on where the log was.
    #[error("it is a recovery of another log, or goes on under a name that is not the next one")]
    OtherLog,
    /// The tree below its entry is not the one that it says is left.
    #[error("the entries before it are not those that the people who signed it said are left")]
    OtherTree,
    /// It was signed or carried out too late, or at no time.
    #[error("it was not signed and carried out within the {} minutes of its statement", RECOVERY_LIFETIME.as_mins())]
    Time,
    /// A key that signed is none of those that are pinned and named in the statement.
    #[error(
        "a key that is not pinned in trust.endorsers signed it: only those can bring a log back"
    )]
    KeyNotPinned,
    /// A key that signed was revoked.
    #[error("a key that was revoked signed it: use another pinned key")]
    KeyRevoked,
    /// One person signed twice, with one key or with two.
    #[error("one person signed it twice, and counts once: another person has to sign too")]
    SamePerson,
    /// Too few people signed.
    #[error("{found} of {needed} people signed it")]
    TooFew {
        /// How many did.
        found: usize,
        /// How many must.
        needed: usize,
    },
    /// An assertion does not verify.
    #[error("a signature does not hold: {0}")]
    Assertion(AssertionRefusal),
}

impl RecoveryRefusal {
    /// The stable name.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed => "recovery_malformed",
            Self::OtherLog => "recovery_of_another_log",
            Self::OtherTree => "recovery_of_another_tree",
            Self::Time => "recovery_expired",
            Self::KeyNotPinned => "recovery_key_not_pinned",
            Self::KeyRevoked => "recovery_key_revoked",
            Self::SamePerson => "recovery_person_twice",
            Self::TooFew { .. } => "recovery_signatures_missing",
            Self::Assertion(_) => "recovery_signature_invalid",
        }
    }
}

/// How many people must sign for a recovery.
pub fn needed(trust: &Trust) -> usize {
    usize::from(trust.recovery_signatures.max(1))
}

/// Checks that a statement is one of this gate about going on from the head that it names to the next name.
pub fn check_statement(statement: &FrozenRecovery, trust: &Trust) -> Result<u32, RecoveryRefusal> {
    let recovery = statement.predicate();
    if !statement.is_well_formed() {
        return Err(RecoveryRefusal::Malformed);
    }
    let log = TrustedLog::parse(&trust.log).ok_or(RecoveryRefusal::OtherLog)?;
    let (first, _) = lineage(&log.name);
    let (of, before) = lineage(&recovery.outside.name);
    let recoveries = before.checked_add(1).ok_or(RecoveryRefusal::OtherLog)?;
    let is_next = of == first && recovery.new_name == successor(first, recoveries);
    if is_next && recovery.audience == trust.origin {
        Ok(recoveries)
    } else {
        Err(RecoveryRefusal::OtherLog)
    }
}

/// Checks one person's signature over a statement, and says who signed. `revoked` are the keys that are
/// known to be revoked.
///
/// # Errors
/// What does not hold.
pub fn check_signature<'a>(
    statement: &'a FrozenRecovery,
    signature: &RecoverySignature,
    trust: &Trust,
    revoked: &Revoked,
) -> Result<&'a Signer, RecoveryRefusal> {
    let recovery = statement.predicate();
    let signer = recovery.signers.iter().find(|one| one.credential == signature.credential);
    let signer = signer.filter(|signer| trust.endorsers.contains(&signer.public_key));
    let signer = signer.ok_or(RecoveryRefusal::KeyNotPinned)?;
    if revoked.contains_key(&signer.credential) || recovery.revoked.contains(&signer.credential) {
        return Err(RecoveryRefusal::KeyRevoked);
    }
    let decode = |text: &str| base64url::decode(text).ok_or(RecoveryRefusal::Malformed);
    let public_key = PublicKey::from_cose(&decode(&signer.public_key)?)
        .map_err(|_| RecoveryRefusal::KeyNotPinned)?;
    let record = CredentialRecord {
        id: decode(&signer.credential)?,
        public_key,
        user_handle: user_handle(&signer.person.issuer, &signer.person.subject).to_vec(),
        backup_eligible: signer.backup_eligible,
        sign_count: 0,
    };
    let expectation = Expectation {
        challenge: *statement.challenge().as_bytes(),
        origin: &trust.origin,
        rp_id: &trust.rp_id,
        credentials: &[record],
        device_bound: false,
    };
    let unverified = UnverifiedAssertion {
        id: signature.credential.clone(),
        raw_id: signature.credential.clone(),
        authenticator_data: decode(&signature.authenticator_data)?,
        client_data_json: decode(&signature.client_data_json)?,
        signature: decode(&signature.signature)?,
        user_handle: signature.user_handle.as_deref().map(decode).transpose()?,
    };
    verify_from_record(&expectation, &unverified).map_err(RecoveryRefusal::Assertion)?;
    Ok(signer)
}

/// Verifies the record of a recovery against anchors alone. Where it stands in the log, and that the log
/// key signed it there, is for the caller to see to.
///
/// # Errors
/// What does not hold.
pub fn verify(
    record: &Record,
    trust: &Trust,
    revoked: &Revoked,
) -> Result<VerifiedRecovery, RecoveryRefusal> {
    if record.kind != LOG_RECOVERED || record.approval.is_some() {
        return Err(RecoveryRefusal::Malformed);
    }
    let recorded: RecordedRecovery =
        serde_json::from_value(record.data.clone()).map_err(|_| RecoveryRefusal::Malformed)?;
    let statement =
        FrozenRecovery::thaw(&recorded.statement).map_err(|_| RecoveryRefusal::Malformed)?;
    let recoveries = check_statement(&statement, trust)?;
    let recovery = statement.predicate();
    let (begins, ends) = (recovery.issued_at, recovery.expires_at);
    if record.at < begins || record.at >= ends || ends.duration_since(begins) > RECOVERY_LIFETIME {
        return Err(RecoveryRefusal::Time);
    }
    let mut people = BTreeSet::new();
    let mut keys = BTreeSet::new();
    for signature in &recorded.signatures {
        let signer = check_signature(&statement, signature, trust, revoked)?;
        if !people.insert(&signer.person) || !keys.insert(&signer.public_key) {
            return Err(RecoveryRefusal::SamePerson);
        }
    }
    let (found, needed) = (people.len(), needed(trust));
    if found < needed {
        return Err(RecoveryRefusal::TooFew { found, needed });
    }
    Ok(VerifiedRecovery { recovery: recovery.clone(), recoveries, at: record.at })
}

/// The recoveries of a log, as its entries go by in order.
#[derive(Default)]
pub struct Recoveries {
    lineage: Lineage,
    revoked: Revoked,
}

impl Recoveries {
    /// How the log stands after the entries so far.
    pub fn lineage(&self) -> Lineage {
        self.lineage
    }

    /// Passes one entry that stands on top of the tree `below` (size and root) in the log that is called
    /// `name` today.
    ///
    /// # Errors
    /// If it is a recovery that does not hold.
    pub fn pass(
        &mut self,
        below: (u64, Digest),
        record: &Record,
        trust: &Trust,
        name: &str,
    ) -> Result<(), RecoveryRefusal> {
        if let Some(credential) = record.revokes() {
            self.revoked.entry(credential.to_owned()).or_insert(below.0);
        }
        if record.kind != LOG_RECOVERED {
            return Ok(());
        }
        let verified = verify(record, trust, &self.revoked)?;
        verified.stands_on(below.0, &below.1, self.lineage)?;
        self.lineage = verified.lineage();
        // A log that goes on under an older name than its entries say hides a recovery.
        if self.lineage.recoveries > lineage(name).1 {
            return Err(RecoveryRefusal::OtherLog);
        }
        Ok(())
    }
}
