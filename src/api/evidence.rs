//! `GET /v1/approvals/{id}/evidence`: what proves the decisions, byte for byte.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use data_encoding::HEXLOWER;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::api::approvals::find_readable;
use crate::api::bearer::authenticate_reader;
use crate::api::problem::{Problem, ProblemBody};
use crate::app::App;
use crate::domain::approval::Status;
use crate::domain::decision::SignedDecision;
use crate::domain::digest::Digest;
use crate::domain::ledger::Entry;
use crate::domain::person::Person;
use crate::gate::decide::encode;
use crate::storage::{Credential, StoredApproval};

/// Names the form of the file.
const EVIDENCE_SCHEMA: &str = "countersign/evidence/v1";

/// What proves an approval.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Evidence {
    schema: &'static str,
    /// The approval.
    approval: String,
    /// Where it stands.
    status: Status,
    /// The canonical deployment, as text.
    deployment: String,
    /// SHA-256 of that text, hexadecimal.
    deployment_digest: String,
    /// The canonical policy that was in force, as text.
    policy: String,
    /// SHA-256 of that text, hexadecimal.
    policy_digest: String,
    /// The origin that assertions must name.
    origin: String,
    /// The RP id whose SHA-256 the authenticator data begins with.
    rp_id: String,
    /// The decisions.
    decisions: Vec<SignedDecisionView>,
    /// The keys that signed them.
    credentials: Vec<CredentialView>,
    /// The approval's own entries of the ledger.
    entries: Vec<EntryView>,
    /// The public key that signs entries of the ledger, hexadecimal.
    log_public_key: String,
}

/// One signed decision. Binary members are unpadded base64url.
#[derive(Serialize, utoipa::ToSchema)]
struct SignedDecisionView {
    /// The canonical in-toto statement, as text. The challenge is SHA-256 of its DSSE
    /// pre-authentication encoding with the type application/vnd.in-toto+json.
    statement: String,
    credential_id: String,
    authenticator_data: String,
    client_data_json: String,
    signature: String,
    user_handle: Option<String>,
    /// The ID token of the sign-in; its SHA-256 is in the statement.
    id_token: String,
    decided_at: String,
}

/// One key.
#[derive(Serialize, utoipa::ToSchema)]
struct CredentialView {
    id: String,
    #[schema(value_type = Object)]
    person: Person,
    /// COSE_Key, unpadded base64url.
    public_key: String,
    /// Hexadecimal.
    aaguid: String,
    backup_eligible: bool,
    /// The browser's answer when the key was made, as text.
    registration: String,
    /// The ID token whose nonce is base64url of SHA-256 of that text.
    id_token: String,
    /// The directory's key that signed the ID token (JWK).
    #[schema(value_type = Object)]
    issuer_key: Box<RawValue>,
}

/// One entry of the ledger. Hashes are hexadecimal.
#[derive(Serialize, utoipa::ToSchema)]
struct EntryView {
    index: u64,
    record: String,
    salt: String,
    entry_hash: String,
    root: String,
    signature: String,
}

/// The evidence of an approval.
#[utoipa::path(
    get, path = "/v1/approvals/{id}/evidence", tag = "approvals", operation_id = "readEvidence",
    params(("id" = String, Path)),
    responses(
        (status = 200, description = "The evidence, as one file", body = Evidence),
        (status = "4XX", description = "Refused", body = ProblemBody, content_type = "application/problem+json"),
    ),
    security(("workload" = []))
)]
pub async fn evidence(
    State(app): State<App>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let reader = authenticate_reader(&app, &headers).await?;
    let stored = find_readable(&app, &reader, &id).await?;
    let evidence = gather(&app, &stored).await?;
    let name = format!("attachment; filename=\"{}.evidence.json\"", stored.approval.id());
    let mut response = Json(evidence).into_response();
    if let Ok(name) = HeaderValue::try_from(name) {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, name);
    }
    Ok(response)
}

async fn gather(app: &App, stored: &StoredApproval) -> Result<Evidence, Problem> {
    let approval = &stored.approval;
    let signed = app.storage.signed_decisions(approval.id()).await?;
    let mut credentials = Vec::new();
    for decision in &signed {
        if let Some(credential) = app.storage.credential(&decision.credential_id).await? {
            credentials.push(CredentialView::new(credential));
        }
    }
    let entries = app.storage.entries_of(approval.id()).await?;
    let (policy, policy_digest) = approval
        .policy
        .canonical()
        .map_err(|error| Problem::unavailable("The stored policy cannot be read", &error))?;
    let log_public_key = HEXLOWER.encode(&app.storage.log_public_key().0);
    Ok(Evidence {
        schema: EVIDENCE_SCHEMA,
        approval: approval.id().to_string(),
        status: approval.status(),
        deployment: approval.deployment.text().to_owned(),
        deployment_digest: Digest::of(approval.deployment.text()).to_string(),
        policy,
        policy_digest: policy_digest.to_string(),
        origin: app.relying_party.origin.clone(),
        rp_id: app.relying_party.id.clone(),
        decisions: signed.into_iter().map(SignedDecisionView::new).collect(),
        credentials,
        entries: entries.into_iter().map(EntryView::new).collect(),
        log_public_key,
    })
}

impl SignedDecisionView {
    fn new(signed: SignedDecision) -> Self {
        Self {
            credential_id: encode(&signed.credential_id),
            authenticator_data: encode(&signed.authenticator_data),
            client_data_json: encode(&signed.client_data_json),
            signature: encode(&signed.signature),
            user_handle: signed.user_handle.as_deref().map(encode),
            statement: signed.statement,
            id_token: signed.id_token,
            decided_at: signed.decided_at.to_string(),
        }
    }
}

impl CredentialView {
    fn new(credential: Credential) -> Self {
        let issuer_key = RawValue::from_string(credential.issuer_key);
        Self {
            id: encode(&credential.id),
            person: credential.person,
            public_key: encode(&credential.public_key),
            aaguid: HEXLOWER.encode(&credential.aaguid),
            backup_eligible: credential.backup_eligible,
            registration: credential.registration,
            id_token: credential.id_token,
            issuer_key: issuer_key.unwrap_or_else(|_| RawValue::NULL.to_owned()),
        }
    }
}

impl EntryView {
    fn new(entry: Entry) -> Self {
        Self {
            index: entry.index,
            salt: HEXLOWER.encode(&entry.salt),
            entry_hash: entry.entry_hash.to_string(),
            root: entry.root.to_string(),
            signature: HEXLOWER.encode(&entry.signature),
            record: entry.record,
        }
    }
}
