//! The evidence of an approval: one file that proves it to somebody who believes neither the gate
//! nor its database. `tests/data/evidence/README.md` describes every member and every check.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::domain::agent_credential::AGENT_ISSUER;
pub use crate::domain::anchors::{Anchors, TrustedIssuer, TrustedLogin};
use crate::domain::intervention::INTERVENED;
use crate::domain::key_rules::Aaguid;
use crate::domain::ledger::Record;
use crate::domain::policy::TrustLevel;
use crate::domain::recovery::{lineage, successor};
use crate::proof::base64url;
use crate::proof::certificate::unusable_root;
use crate::proof::checkpoint::TrustedLog;
pub use crate::proof::cosignature::unusable_witness;
use crate::proof::jwk::is_canonical_key;
use crate::proof::metadata::Metadata;
use crate::proof::public_key::PublicKey;

/// Names the form of the file.
pub const EVIDENCE_SCHEMA: &str = "countersign/evidence/v1";
/// Names the form of the trust anchors.
pub const TRUST_SCHEMA: &str = "countersign/trust/v1";

/// The file. Its canonical JSON is the only form that is accepted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// [`EVIDENCE_SCHEMA`].
    pub schema: String,
    /// The canonical deployment, as text.
    pub deployment: String,
    /// The canonical policy that was in force, as text.
    pub policy: String,
    /// Who asked: the workload's token, or that the gate says it.
    pub requester: Asker,
    /// The signed decisions, in the order of the record.
    pub decisions: Vec<DecisionEvidence>,
    /// The enrolments of the credentials that signed, in the order of their first use: for decisions,
    /// then the other keys of the approvers, where the policy asks for more than one, then for the
    /// endorsements of those before, up to the anchors.
    pub credentials: Vec<CredentialEvidence>,
    /// The approval's own chain of ledger entries, complete up to its last.
    pub entries: Vec<EntryEvidence>,
    /// The signed tree head that all inclusion proofs lead to (C2SP tlog-checkpoint).
    pub checkpoint: String,
    /// What witnesses signed of it, by their verifier keys in ascending order, each once.
    pub cosignatures: Vec<Cosignature>,
}

/// A witness says that it saw the log grow up to the tree head and never shrink (C2SP tlog-cosignature).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Cosignature {
    /// The witness's verifier key, `name+hash+base64` (C2SP signed-note).
    pub witness: String,
    /// What stands in the note behind the witness's name: base64 of key hash, time and signature.
    pub cosignature: String,
}

/// What shows who asked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(untagged)]
pub enum Asker {
    /// The workload's token, which its issuer signed.
    Token(SignedToken),
    /// Nothing that anybody else signed: of a run of GitHub Actions the gate itself says, in the approval's
    /// first entry, that GitHub's webhook came. That webhook's HMAC is made with a secret that the gate knows.
    Said(GateStatement),
}

/// Says that the gate says it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GateStatement {
    /// By whom: always `gate`.
    pub said_by: Gate,
}

/// The gate, as the one who says something.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Gate {
    /// The gate.
    Gate,
}

impl Asker {
    /// That the gate says it.
    pub const SAID: Self = Self::Said(GateStatement { said_by: Gate::Gate });

    /// The token, if there is one.
    pub fn token(&self) -> Option<&SignedToken> {
        match self {
            Self::Token(token) => Some(token),
            Self::Said(_) => None,
        }
    }
}

/// A token and the key that verified it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignedToken {
    /// The compact JWS as it was received.
    pub token: String,
    /// The JSON Web Key in the form that RFC 7638 hashes, as text.
    pub key: String,
}

/// A sign-in: the ID token and the directory's key that signed it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignIn {
    /// The ID token as it was received.
    pub id_token: String,
    /// The JSON Web Key in the form that RFC 7638 hashes, as text.
    pub key: String,
    /// The groups, where the gate read them at the directory because the ID token does not hold them: the gate's
    /// own word, which nobody else signed. In the place of those of the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate_groups: Option<Vec<String>>,
}

/// One signed decision. Binary members are unpadded base64url.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DecisionEvidence {
    /// The canonical in-toto statement, as text. The challenge is SHA-256 of its DSSE
    /// pre-authentication encoding with the type application/vnd.in-toto+json.
    pub statement: String,
    /// The credential that signed.
    pub credential_id: String,
    /// WebAuthn authenticator data.
    pub authenticator_data: String,
    /// WebAuthn client data.
    pub client_data_json: String,
    /// The signature over authenticator data and the hash of the client data.
    pub signature: String,
    /// The user handle, if the authenticator gave one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_handle: Option<String>,
    /// The sign-in that gave the groups; the ID token's SHA-256 is in the statement.
    pub sign_in: SignIn,
}

/// What an entry of the kind `rollout.intervened` holds beside the approval.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedIntervention {
    /// The person's name, as the directory said: the gate's label.
    pub name: String,
    /// The signed statement and the sign-in that it rests on, in the form of a decision's.
    pub signed: DecisionEvidence,
}

impl RecordedIntervention {
    /// What a record holds, if it is one of an intervention that can be read.
    pub fn of_record(record: &Record) -> Option<Self> {
        let is_one = record.kind == INTERVENED;
        is_one.then(|| serde_json::from_value(record.data.clone()).ok()).flatten()
    }
}

/// One credential and how it became a person's.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CredentialEvidence {
    /// The browser's answer when the key was made, as it was received.
    pub registration: String,
    /// The sign-in whose nonce names that answer.
    pub sign_in: SignIn,
    /// The ledger's entry about it.
    pub entry: EntryEvidence,
    /// The signatures of other approvers for it, in the order of the record: as many as the policy
    /// asks for, and none for an anchor.
    pub endorsements: Vec<EndorsementEvidence>,
    /// The entry that revoked it before the last decision, where the policy asks for something of keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<EntryEvidence>,
}

/// One approver's signature for the key of another.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EndorsementEvidence {
    /// The signed statement and the sign-in that it rests on, in the form of a decision's.
    pub signed: DecisionEvidence,
    /// The ledger's entry about it.
    pub entry: EntryEvidence,
}

/// One entry of the ledger with the proof of its place. Hashes are lower-case hexadecimal.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EntryEvidence {
    /// Its place, from 0.
    pub index: u64,
    /// The record, canonical JSON as text.
    pub record: String,
    /// 32 random bytes, hexadecimal.
    pub salt: String,
    /// The root of the tree before it.
    pub previous_root: String,
    /// The log key's signature, hexadecimal.
    pub signature: String,
    /// The path from the leaf to the checkpoint's root (RFC 6962, section 2.1.1).
    pub inclusion: Vec<String>,
}

/// What a verifier takes as given.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trust {
    /// [`TRUST_SCHEMA`].
    pub schema: String,
    /// For whoever reads the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The gate's origin: the audience of deployments, and where assertions are made.
    pub origin: String,
    /// The RP id whose SHA-256 authenticator data begins with.
    pub rp_id: String,
    /// The log's verifier key (C2SP signed-note), `name+hash+base64`.
    pub log: String,
    /// How many other approvers must have signed for each key that is not an anchor itself.
    pub endorsements: u8,
    /// The keys that need nobody's signature: COSE public keys of credentials, base64url.
    pub endorsers: Vec<String>,
    /// How many people with such keys must have signed for each recovery of the log.
    #[serde(default = "one_signature", skip_serializing_if = "is_one_signature")]
    pub recovery_signatures: u8,
    /// The directory.
    pub login: TrustedLogin,
    /// Who may vouch for workloads.
    pub workload_issuers: Vec<TrustedIssuer>,
    /// The witnesses of the log that are believed: verifier keys (C2SP signed-note, type 4).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub witnesses: Vec<String>,
    /// How many of them must have signed the tree head.
    #[serde(default, skip_serializing_if = "is_none")]
    pub witnesses_required: u8,
    /// The makers of authenticators who are believed: the certificates of their roots, as DER in base64url.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attestation_roots: Vec<String>,
    /// What FIDO says against models of authenticators, as a running gate knows it, for what is to be signed or begun
    /// now. It is in no file of anchors: evidence is judged by what its policy says was known then.
    #[serde(skip)]
    pub metadata: Option<Arc<Metadata>>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands the member over like this")]
fn is_none(count: &u8) -> bool {
    *count == 0
}

/// What is asked for where the file does not say it.
fn one_signature() -> u8 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_one_signature(count: &u8) -> bool {
    *count == one_signature()
}

/// A file of trust anchors that cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InvalidTrust {
    /// It is not JSON of this form.
    #[error("it is not JSON of the form {TRUST_SCHEMA}: {0}")]
    Form(String),
    /// It is a file of another form.
    #[error("its schema is {0:?} and not {TRUST_SCHEMA:?}")]
    Schema(String),
    /// Its log key cannot be read.
    #[error("its log is no verifier key of a signed note (NAME+HASH+BASE64, Ed25519)")]
    Log,
    /// Two workload issuers have one name.
    #[error(
        "two workload issuers are called {0:?}: which of them a deployment names cannot be known"
    )]
    Issuers(String),
    /// A pinned endorser cannot be read.
    #[error("endorser {0} is no COSE public key of a credential in base64url, or is listed twice")]
    Endorser(usize),
    /// A pinned witness cannot be read.
    #[error(
        "witness {0} is no verifier key of a witness (NAME+HASH+BASE64, type 4), or its key is listed twice"
    )]
    Witness(usize),
    /// A pinned maker cannot be read.
    #[error(
        "attestation root {0} is no certificate of an authority (DER in base64url), or is listed twice"
    )]
    AttestationRoot(usize),
    /// More witnesses are asked for than there are.
    #[error("it asks for {0} witnesses and pins {1}")]
    WitnessesRequired(u8, usize),
    /// A pinned key cannot be read.
    #[error(
        "a key of {0} is not in the form that RFC 7638 hashes (required members, sorted, no spaces)"
    )]
    Key(String),
}

impl Trust {
    /// Reads a file of trust anchors.
    ///
    /// # Errors
    /// When it is not one that can be verified against.
    pub fn read(file: &[u8]) -> Result<Self, InvalidTrust> {
        let trust: Self =
            serde_json::from_slice(file).map_err(|error| InvalidTrust::Form(error.to_string()))?;
        if trust.schema != TRUST_SCHEMA {
            return Err(InvalidTrust::Schema(trust.schema));
        }
        if TrustedLog::parse(&trust.log).is_none() {
            return Err(InvalidTrust::Log);
        }
        if let Some(place) = unusable_endorser(&trust.endorsers) {
            return Err(InvalidTrust::Endorser(place));
        }
        if let Some(place) = unusable_witness(&trust.witnesses) {
            return Err(InvalidTrust::Witness(place));
        }
        if let Some(place) = unusable_root(&trust.attestation_roots) {
            return Err(InvalidTrust::AttestationRoot(place));
        }
        if usize::from(trust.witnesses_required) > trust.witnesses.len() {
            let (required, pinned) = (trust.witnesses_required, trust.witnesses.len());
            return Err(InvalidTrust::WitnessesRequired(required, pinned));
        }
        let login = (&trust.login.issuer, &trust.login.keys);
        let workloads = trust.workload_issuers.iter().map(|issuer| (&issuer.name, &issuer.keys));
        for (issuer, keys) in std::iter::once(login).chain(workloads) {
            if !keys.iter().all(|key| is_canonical_key(key)) {
                return Err(InvalidTrust::Key(issuer.clone()));
            }
        }
        let mut names = BTreeSet::new();
        match trust.workload_issuers.iter().find(|issuer| !names.insert(&issuer.name)) {
            Some(twice) => Err(InvalidTrust::Issuers(twice.name.clone())),
            None => Ok(trust),
        }
    }

    /// The same anchors for the same log after so many recoveries, which has another name then.
    pub fn after(&self, recoveries: u32) -> Self {
        let Some(log) = TrustedLog::parse(&self.log) else { return self.clone() };
        let name = successor(lineage(&log.name).0, recoveries);
        Self { log: log.key.verifier_key(&name), ..self.clone() }
    }

    /// The same gate under other anchors, such as those that were in force before a change of the rules. The
    /// gate itself stays an issuer of what its agents ask with.
    pub fn under(&self, anchors: &Anchors) -> Self {
        let own = self.workload_issuers.iter().filter(|issuer| issuer.name == AGENT_ISSUER);
        let others = anchors.workload_issuers.iter();
        Self {
            endorsements: anchors.endorsements,
            endorsers: anchors.endorsers.clone(),
            recovery_signatures: anchors.recovery_signatures,
            login: anchors.login.clone(),
            workload_issuers: others.chain(own).cloned().collect(),
            witnesses: anchors.witnesses.clone(),
            witnesses_required: anchors.witnesses_required,
            attestation_roots: anchors.attestation_roots.clone(),
            ..self.clone()
        }
    }

    /// Whether something is pinned that stands for people: the directory's keys, or endorsers whom
    /// new keys need.
    pub fn level(&self) -> TrustLevel {
        TrustLevel::of(self.endorsements, &self.endorsers, &self.login.keys)
    }

    /// Whether this COSE public key is an anchor: it needs nobody's endorsement.
    pub fn is_anchor(&self, public_key: &[u8]) -> bool {
        let key = base64url::encode(public_key);
        self.endorsers.contains(&key)
    }

    /// What FIDO says against a model now, if its keys sign nothing because of it.
    pub fn against(&self, model: Aaguid) -> Option<&str> {
        self.metadata.as_ref()?.against(model)
    }

    /// What these anchors leave open, in sentences.
    pub fn not_pinned(&self) -> Vec<String> {
        let login = ("the directory", &self.login.issuer, &self.login.keys);
        let workloads = self
            .workload_issuers
            .iter()
            .map(|issuer| ("the token issuer", &issuer.issuer, &issuer.keys));
        std::iter::once(login)
            .chain(workloads)
            .filter(|(_, _, keys)| keys.is_empty())
            .map(|(what, issuer, _)| {
                format!(
                    "No key of {what} {issuer} is pinned: that its keys are its own is the word of the gate, which read them from there and recorded their thumbprints."
                )
            })
            .collect()
    }
}

/// The place (from 1) of the first endorser that is no COSE key of a credential, or stands there twice.
pub fn unusable_endorser(endorsers: &[String]) -> Option<usize> {
    let is_key = |text: &String| {
        base64url::decode(text).is_some_and(|bytes| PublicKey::from_cose(&bytes).is_ok())
    };
    let mut seen = std::collections::BTreeSet::new();
    let unusable = endorsers.iter().position(|text| !is_key(text) || !seen.insert(text));
    unusable.map(|place| place + 1)
}
