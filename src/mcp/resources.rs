//! What agents can read beside the tools: the rules of their environments, their approvals, the proofs.

use rmcp::model::{
    ErrorData, ListResourcesResult, ReadResourceResponse, ReadResourceResult, Resource,
    ResourceContents, ResourceTemplate,
};

use crate::api::approvals::find_readable;
use crate::api::bearer::Reader;
use crate::api::environments::policies_of;
use crate::api::evidence::gather_as;
use crate::api::problem::Problem;
use crate::app::App;
use crate::domain::canonical::to_canonical_json;
use crate::domain::ids::ApprovalId;
use crate::gate::GateError;
use crate::integrations::workload_oidc::VerifiedRequester;
use crate::mcp::answers::ApprovalAnswer;
use crate::storage::ApprovalFilter;

/// Addresses of a scheme of our own: they are read here, with the caller's token, and nowhere else.
const SCHEME: &str = "countersign://";
const JSON: &str = "application/json";
/// How many approvals a page of the list has.
const PAGE: u32 = 50;

fn policy_uri(environment: &str) -> String {
    format!("{SCHEME}environments/{environment}/policy")
}

fn approval_uri(id: &ApprovalId) -> String {
    format!("{SCHEME}approvals/{id}")
}

/// The address of the evidence of an approval.
pub fn evidence_uri(id: &ApprovalId) -> String {
    format!("{SCHEME}approvals/{id}/evidence")
}

/// The forms of the addresses.
pub fn templates() -> Vec<ResourceTemplate> {
    let template = |uri: &str, name: &str, about: &str| {
        let template = ResourceTemplate::new(format!("{SCHEME}{uri}"), name);
        template.with_description(about).with_mime_type(JSON)
    };
    vec![
        template(
            "environments/{environment}/policy",
            "policy",
            "The rules of an environment, in the canonical text whose digest is signed with each approval",
        ),
        template("approvals/{id}", "approval", "An approval that you asked for, as it is now"),
        template(
            "approvals/{id}/evidence",
            "evidence",
            "What proves an approval: one file that `countersign verify` checks offline",
        ),
    ]
}

/// The policies of the caller's environments, then the caller's approvals, newest first.
pub async fn list(
    app: &App,
    requester: &VerifiedRequester,
    cursor: Option<String>,
) -> Result<ListResourcesResult, ErrorData> {
    let reader = Reader::Workload(Box::new(requester.clone()));
    let mut found = Vec::new();
    if cursor.is_none() {
        found.extend(policies_of(app, &reader).map(|policy| {
            let name = format!("The rules of {}", policy.environment);
            Resource::new(policy_uri(&policy.environment), name).with_mime_type(JSON)
        }));
    }
    let filter = ApprovalFilter {
        requester_keys: Some(vec![requester.requester_key().to_owned()]),
        cursor,
        limit: PAGE,
        ..ApprovalFilter::default()
    };
    let page =
        app.storage.approvals(&filter).await.map_err(|error| protocol_error(&error.into()))?;
    found.extend(page.approvals.iter().map(|stored| {
        // The name is made of facts: titles are the requester's words.
        let asked = &stored.approval.subject;
        let target = asked.subject().target_name();
        let name = format!("{target} in {}, {}", asked.environment, asked.short_code());
        Resource::new(approval_uri(stored.approval.id()), name).with_mime_type(JSON)
    }));
    let mut list = ListResourcesResult::with_all_items(found);
    list.next_cursor = page.next_cursor;
    Ok(list)
}

/// Reads one of them. What does not exist and what the caller may not see look alike.
pub async fn read(
    app: &App,
    reader: &Reader,
    uri: &str,
) -> Result<ReadResourceResponse, ErrorData> {
    let text = text_of(app, reader, uri).await.map_err(|problem| protocol_error(&problem))?;
    let contents = ResourceContents::text(text, uri).with_mime_type(JSON);
    Ok(ReadResourceResult::new(vec![contents]).into())
}

async fn text_of(app: &App, reader: &Reader, uri: &str) -> Result<String, Problem> {
    let path = uri.strip_prefix(SCHEME).ok_or_else(Problem::not_found)?;
    let parts: Vec<&str> = path.split('/').collect();
    match parts[..] {
        ["environments", environment, "policy"] => {
            let policy = policies_of(app, reader).find(|policy| policy.environment == environment);
            let canonical = policy.ok_or_else(Problem::not_found)?.canonical();
            Ok(canonical.map_err(GateError::from)?.0)
        }
        ["approvals", id] => {
            let stored = find_readable(app, reader, id).await?;
            let answer = ApprovalAnswer::new(app, &stored.approval, app.now());
            Ok(to_canonical_json(&answer).map_err(GateError::from)?)
        }
        ["approvals", id, "evidence"] => {
            let (_, evidence) = gather_as(app, reader, id).await?;
            Ok(to_canonical_json(&evidence).map_err(GateError::from)?)
        }
        _ => Err(Problem::not_found()),
    }
}

/// Resources have no results that say no: the protocol's error carries our code.
fn protocol_error(problem: &Problem) -> ErrorData {
    let data = Some(serde_json::json!({"code": problem.code}));
    if problem.status.is_server_error() {
        ErrorData::internal_error(problem.detail.clone(), data)
    } else if problem.code == "not_found" {
        ErrorData::resource_not_found(problem.detail.clone(), data)
    } else {
        ErrorData::invalid_params(problem.detail.clone(), data)
    }
}
