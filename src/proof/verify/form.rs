//! The form of the file: canonical JSON, canonical texts of known forms in it, canonical encodings.

use super::failure::{Code, Failure};
use crate::domain::canonical::from_canonical_json;
use crate::domain::digest::Digest;
use crate::domain::endorsement::Endorsement;
use crate::domain::intervention::{INTERVENED, Intervention};
use crate::domain::ledger::{RECORD_SCHEMA, Record, entry_hash, leaf_hash};
use crate::domain::policy::{POLICY_SCHEMA, Policy};
use crate::domain::statement::{Frozen, Predicate, Signable};
use crate::domain::subject::FrozenSubject;
use crate::proof::base64url;
use crate::proof::evidence::{
    Asker, Cosignature, CredentialEvidence, DecisionEvidence, EVIDENCE_SCHEMA, EndorsementEvidence,
    EntryEvidence, Evidence, RecordedIntervention, SignIn,
};
use crate::proof::jwk::is_canonical_key;

/// A file holds a few dozen entries of a few KiB. What is larger costs more to refuse late.
const MOST_BYTES: usize = 4 * 1024 * 1024;
/// How many random bytes a statement's nonce has.
const NONCE_LENGTH: usize = 32;

/// The file, decoded. Nothing in it is believed.
pub(super) struct Form<'a> {
    pub subject: FrozenSubject,
    pub policy: Policy,
    pub policy_digest: Digest,
    pub requester: &'a Asker,
    pub decisions: Vec<UnverifiedDecision<'a>>,
    pub credentials: Vec<UnverifiedCredential<'a>>,
    pub entries: Vec<UnverifiedEntry>,
    pub interventions: Vec<UnverifiedIntervention<'a>>,
    pub checkpoint: &'a str,
    pub cosignatures: &'a [Cosignature],
}

pub(super) struct UnverifiedEntry {
    pub index: u64,
    pub record: Record,
    pub entry_hash: Digest,
    pub leaf: Digest,
    pub previous_root: Digest,
    pub signature: [u8; 64],
    pub inclusion: Vec<Digest>,
}

/// A statement that a key is said to have signed.
pub(super) struct UnverifiedSigned<'a, P> {
    pub statement: Frozen<P>,
    pub credential_id: &'a str,
    pub authenticator_data: Vec<u8>,
    pub client_data_json: Vec<u8>,
    pub signature: Vec<u8>,
    pub user_handle: Option<Vec<u8>>,
    pub sign_in: &'a SignIn,
}

pub(super) type UnverifiedDecision<'a> = UnverifiedSigned<'a, Predicate>;

pub(super) struct UnverifiedEndorsement<'a> {
    pub signed: UnverifiedSigned<'a, Endorsement>,
    pub entry: UnverifiedEntry,
}

pub(super) struct UnverifiedIntervention<'a> {
    /// The place of its entry among those of the approval.
    pub place: usize,
    pub signed: UnverifiedSigned<'a, Intervention>,
}

pub(super) struct UnverifiedCredential<'a> {
    pub registration: &'a str,
    pub sign_in: &'a SignIn,
    pub entry: UnverifiedEntry,
    pub revoked: Option<UnverifiedEntry>,
    pub endorsements: Vec<UnverifiedEndorsement<'a>>,
}

fn malformed(sentence: impl Into<String>) -> Failure {
    Code::Malformed.because(sentence)
}

/// Reads the file, and no other spelling of it.
pub(super) fn parse(file: &[u8]) -> Result<Evidence, Failure> {
    if file.len() > MOST_BYTES {
        return Err(malformed("the file is larger than 4 MiB"));
    }
    let text = std::str::from_utf8(file).map_err(|_| malformed("the file is not UTF-8"))?;
    from_canonical_json(text)
        .map_err(|error| malformed(format!("the file is not evidence in canonical JSON: {error}")))
}

/// What the entries of interventions hold, each with the place of its entry.
pub(super) fn interventions(
    evidence: &Evidence,
) -> Result<Vec<(usize, RecordedIntervention)>, Failure> {
    let mut found = Vec::new();
    for (place, entry) in evidence.entries.iter().enumerate() {
        // A record that cannot be read is refused where all of them are read.
        let Ok(record) = Record::parse(&entry.record) else { continue };
        if record.kind == INTERVENED {
            let held = RecordedIntervention::of_record(&record);
            let held = held.ok_or_else(|| malformed("the entry of an intervention holds none"))?;
            found.push((place, held));
        }
    }
    Ok(found)
}

impl<'a> Form<'a> {
    pub(super) fn read(
        evidence: &'a Evidence,
        interventions: &'a [(usize, RecordedIntervention)],
    ) -> Result<Self, Failure> {
        if evidence.schema != EVIDENCE_SCHEMA {
            return Err(malformed(format!("the file's schema is not {EVIDENCE_SCHEMA}")));
        }
        if let Some(token) = evidence.requester.token() {
            check_key(&token.key)?;
        }
        let subject = FrozenSubject::thaw(&evidence.deployment)
            .map_err(|error| malformed(format!("the deployment: {error}")))?;
        let policy: Policy = from_canonical_json(&evidence.policy)
            .map_err(|error| malformed(format!("the policy: {error}")))?;
        check_schema("policy", &policy.schema, POLICY_SCHEMA)?;
        Ok(Self {
            subject,
            policy,
            policy_digest: Digest::of(&evidence.policy),
            requester: &evidence.requester,
            decisions: evidence.decisions.iter().map(signed).collect::<Result<_, _>>()?,
            credentials: evidence.credentials.iter().map(credential).collect::<Result<_, _>>()?,
            entries: evidence.entries.iter().map(entry).collect::<Result<_, _>>()?,
            interventions: interventions
                .iter()
                .map(|(place, one)| {
                    Ok(UnverifiedIntervention { place: *place, signed: signed(&one.signed)? })
                })
                .collect::<Result<_, _>>()?,
            checkpoint: &evidence.checkpoint,
            cosignatures: &evidence.cosignatures,
        })
    }

    /// The approval's entries, then those of the credentials, each with those of its endorsements.
    pub(super) fn all_entries(&self) -> impl Iterator<Item = &UnverifiedEntry> {
        self.entries.iter().chain(entries_of(&self.credentials))
    }
}

/// The endorsements of all these keys, in the order of the file.
pub(super) fn endorsements<'k, 'a>(
    keys: &'k [UnverifiedCredential<'a>],
) -> impl Iterator<Item = &'k UnverifiedEndorsement<'a>> {
    keys.iter().flat_map(|key| &key.endorsements)
}

/// The entries of keys, each with the one that revoked it and those of its endorsements.
pub(super) fn entries_of<'k>(
    keys: &'k [UnverifiedCredential<'_>],
) -> impl Iterator<Item = &'k UnverifiedEntry> {
    keys.iter().flat_map(|key| {
        let endorsements = key.endorsements.iter().map(|one| &one.entry);
        std::iter::once(&key.entry).chain(&key.revoked).chain(endorsements)
    })
}

fn check_schema(what: &str, found: &str, expected: &str) -> Result<(), Failure> {
    if found == expected {
        Ok(())
    } else {
        Err(malformed(format!("the schema of a {what} is not {expected}")))
    }
}

fn check_key(key: &str) -> Result<(), Failure> {
    if is_canonical_key(key) {
        Ok(())
    } else {
        Err(malformed("the key of a token is not in the form of RFC 7638"))
    }
}

fn bytes(what: &str, text: &str) -> Result<Vec<u8>, Failure> {
    base64url::decode(text)
        .ok_or_else(|| malformed(format!("{what} of a decision is not canonical base64url")))
}

fn hex<const LENGTH: usize>(what: &str, text: &str) -> Result<[u8; LENGTH], Failure> {
    let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).ok();
    bytes.and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| {
        malformed(format!("{what} of an entry is not {LENGTH} bytes of lower-case hexadecimal"))
    })
}

fn entry(evidence: &EntryEvidence) -> Result<UnverifiedEntry, Failure> {
    let record = Record::parse(&evidence.record)
        .map_err(|error| malformed(format!("the record of entry {}: {error}", evidence.index)))?;
    check_schema("record", &record.schema, RECORD_SCHEMA)?;
    if record.kind == INTERVENED && RecordedIntervention::of_record(&record).is_none() {
        return Err(malformed(format!("entry {} holds no intervention", evidence.index)));
    }
    let entry_hash = entry_hash(&hex("the salt", &evidence.salt)?, &evidence.record);
    let hashes = evidence.inclusion.iter();
    let hashes = hashes.map(|hash| hex("a hash of the proof", hash).map(Digest::from_bytes));
    Ok(UnverifiedEntry {
        index: evidence.index,
        record,
        entry_hash,
        leaf: leaf_hash(&entry_hash),
        previous_root: Digest::from_bytes(hex("the root before", &evidence.previous_root)?),
        signature: hex("the signature", &evidence.signature)?,
        inclusion: hashes.collect::<Result<_, _>>()?,
    })
}

/// One signed statement, decoded.
pub(super) fn signed<P: Signable>(
    evidence: &DecisionEvidence,
) -> Result<UnverifiedSigned<'_, P>, Failure> {
    let statement: Frozen<P> = Frozen::thaw(&evidence.statement)
        .map_err(|error| malformed(format!("a statement: {error}")))?;
    if bytes("the nonce", statement.predicate().nonce())?.len() != NONCE_LENGTH {
        return Err(malformed(format!(
            "the nonce of a statement is not {NONCE_LENGTH} bytes long"
        )));
    }
    check_key(&evidence.sign_in.key)?;
    bytes("the credential", &evidence.credential_id)?;
    let handle = evidence.user_handle.as_deref();
    Ok(UnverifiedSigned {
        statement,
        credential_id: &evidence.credential_id,
        authenticator_data: bytes("the authenticator data", &evidence.authenticator_data)?,
        client_data_json: bytes("the client data", &evidence.client_data_json)?,
        signature: bytes("the signature", &evidence.signature)?,
        user_handle: handle.map(|handle| bytes("the user handle", handle)).transpose()?,
        sign_in: &evidence.sign_in,
    })
}

fn endorsement(evidence: &EndorsementEvidence) -> Result<UnverifiedEndorsement<'_>, Failure> {
    Ok(UnverifiedEndorsement { signed: signed(&evidence.signed)?, entry: entry(&evidence.entry)? })
}

/// One key, decoded.
pub(super) fn credential(
    evidence: &CredentialEvidence,
) -> Result<UnverifiedCredential<'_>, Failure> {
    check_key(&evidence.sign_in.key)?;
    Ok(UnverifiedCredential {
        registration: &evidence.registration,
        sign_in: &evidence.sign_in,
        entry: entry(&evidence.entry)?,
        revoked: evidence.revoked.as_ref().map(entry).transpose()?,
        endorsements: evidence.endorsements.iter().map(endorsement).collect::<Result<_, _>>()?,
    })
}
