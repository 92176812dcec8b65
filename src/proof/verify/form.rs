//! The form of the file: canonical JSON, canonical texts in it, canonical encodings. What the texts
//! say is looked at by the check that needs it.

use serde_json::{Map, Value};

use super::failure::{Code, Failure};
use crate::domain::canonical::from_canonical_json;
use crate::domain::deployment::DEPLOYMENT_SCHEMA;
use crate::domain::digest::Digest;
use crate::domain::ledger::{RECORD_SCHEMA, entry_hash, leaf_hash};
use crate::domain::policy::POLICY_SCHEMA;
use crate::proof::base64url;
use crate::proof::evidence::{
    CredentialEvidence, DecisionEvidence, EVIDENCE_SCHEMA, EntryEvidence, Evidence, SignIn,
    SignedToken,
};
use crate::proof::jwk::is_canonical_key;
use crate::proof::token::parts;

/// A file holds a few dozen entries of a few KiB. What is larger costs more to refuse late.
const MOST_BYTES: usize = 4 * 1024 * 1024;
/// Larger numbers are not told apart by every reader of JSON (RFC 8259, section 6).
const LARGEST_INDEX: u64 = (1 << 53) - 1;

/// The file, decoded. Nothing in it is believed.
pub(super) struct Form<'a> {
    pub deployment_text: &'a str,
    pub deployment: Map<String, Value>,
    pub policy_text: &'a str,
    pub policy: Map<String, Value>,
    pub policy_digest: Digest,
    pub requester: &'a SignedToken,
    pub decisions: Vec<UnverifiedDecision<'a>>,
    pub credentials: Vec<UnverifiedCredential<'a>>,
    pub entries: Vec<UnverifiedEntry<'a>>,
    pub checkpoint: &'a str,
}

pub(super) struct UnverifiedEntry<'a> {
    pub index: u64,
    pub record: &'a str,
    pub entry_hash: Digest,
    pub leaf: Digest,
    pub previous_root: Digest,
    pub signature: Vec<u8>,
    pub inclusion: Vec<Digest>,
}

pub(super) struct UnverifiedDecision<'a> {
    pub statement: &'a str,
    pub credential_id: &'a str,
    pub authenticator_data: Vec<u8>,
    pub client_data_json: Vec<u8>,
    pub signature: Vec<u8>,
    pub user_handle: Option<Vec<u8>>,
    pub sign_in: &'a SignIn,
}

pub(super) struct UnverifiedCredential<'a> {
    pub registration: &'a str,
    pub sign_in: &'a SignIn,
    pub entry: UnverifiedEntry<'a>,
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

impl<'a> Form<'a> {
    pub(super) fn read(evidence: &'a Evidence) -> Result<Self, Failure> {
        if evidence.schema != EVIDENCE_SCHEMA {
            return Err(malformed(format!("the file's schema is not {EVIDENCE_SCHEMA}")));
        }
        let requester = &evidence.requester;
        check_token("requester", &requester.token, &requester.key)?;
        Ok(Self {
            deployment_text: &evidence.deployment,
            deployment: object("deployment", &evidence.deployment, Some(DEPLOYMENT_SCHEMA))?,
            policy_text: &evidence.policy,
            policy: object("policy", &evidence.policy, Some(POLICY_SCHEMA))?,
            policy_digest: Digest::of(&evidence.policy),
            requester,
            decisions: evidence.decisions.iter().map(decision).collect::<Result<_, _>>()?,
            credentials: evidence.credentials.iter().map(credential).collect::<Result<_, _>>()?,
            entries: evidence.entries.iter().map(entry).collect::<Result<_, _>>()?,
            checkpoint: &evidence.checkpoint,
        })
    }

    /// The approval's entries, then those of the credentials.
    pub(super) fn all_entries(&self) -> impl Iterator<Item = &UnverifiedEntry<'a>> {
        self.entries.iter().chain(self.credentials.iter().map(|credential| &credential.entry))
    }
}

/// A text that is a canonical JSON object, of this schema where it has one.
fn object(what: &str, text: &str, schema: Option<&str>) -> Result<Map<String, Value>, Failure> {
    let members: Map<String, Value> =
        from_canonical_json(text).map_err(|error| malformed(format!("a {what}: {error}")))?;
    match schema {
        Some(schema) if members.get("schema").and_then(Value::as_str) != Some(schema) => {
            Err(malformed(format!("the schema of a {what} is not {schema}")))
        }
        Some(_) | None => Ok(members),
    }
}

fn check_token(of: &str, token: &str, key: &str) -> Result<(), Failure> {
    parts(token).map_err(|error| malformed(format!("the token of a {of}: {error}")))?;
    if is_canonical_key(key) {
        Ok(())
    } else {
        Err(malformed(format!("the key of the token of a {of} is not in the form of RFC 7638")))
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

fn entry(evidence: &EntryEvidence) -> Result<UnverifiedEntry<'_>, Failure> {
    if evidence.index > LARGEST_INDEX {
        return Err(malformed("the index of an entry is not below 2^53"));
    }
    object("record", &evidence.record, Some(RECORD_SCHEMA))?;
    let entry_hash = entry_hash(&hex("the salt", &evidence.salt)?, &evidence.record);
    let hashes = evidence.inclusion.iter().map(|hash| hex("a hash of the proof", hash));
    Ok(UnverifiedEntry {
        index: evidence.index,
        record: &evidence.record,
        entry_hash,
        leaf: leaf_hash(&entry_hash),
        previous_root: Digest::from_bytes(hex("the root before", &evidence.previous_root)?),
        signature: hex::<64>("the signature", &evidence.signature)?.to_vec(),
        inclusion: hashes.map(|hash| hash.map(Digest::from_bytes)).collect::<Result<_, _>>()?,
    })
}

fn decision(evidence: &DecisionEvidence) -> Result<UnverifiedDecision<'_>, Failure> {
    object("statement", &evidence.statement, None)?;
    check_token("decision", &evidence.sign_in.id_token, &evidence.sign_in.key)?;
    bytes("the credential", &evidence.credential_id)?;
    Ok(UnverifiedDecision {
        statement: &evidence.statement,
        credential_id: &evidence.credential_id,
        authenticator_data: bytes("the authenticator data", &evidence.authenticator_data)?,
        client_data_json: bytes("the client data", &evidence.client_data_json)?,
        signature: bytes("the signature", &evidence.signature)?,
        user_handle: match &evidence.user_handle {
            Some(handle) => Some(bytes("the user handle", handle)?),
            None => None,
        },
        sign_in: &evidence.sign_in,
    })
}

fn credential(evidence: &CredentialEvidence) -> Result<UnverifiedCredential<'_>, Failure> {
    check_token("credential", &evidence.sign_in.id_token, &evidence.sign_in.key)?;
    Ok(UnverifiedCredential {
        registration: &evidence.registration,
        sign_in: &evidence.sign_in,
        entry: entry(&evidence.entry)?,
    })
}
