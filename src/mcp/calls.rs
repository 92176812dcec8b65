//! What each tool does: what the API does for the same caller, said to an agent.

use axum::http::StatusCode;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorData, JsonObject,
    Resource,
};
use rmcp::service::{RequestContext, RoleServer};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::api::approvals::{cancel_as, find_readable};
use crate::api::ask::{ask, count_refusal, is_idempotency_key};
use crate::api::bearer::Reader;
use crate::api::body::Object;
use crate::api::environments::environments_of;
use crate::api::evidence::gather_as;
use crate::api::problem::Problem;
use crate::app::App;
use crate::domain::canonical::to_canonical_json;
use crate::domain::digest::Digest;
use crate::gate::GateError;
use crate::integrations::workload_oidc::VerifiedRequester;
use crate::mcp::answers::{ApprovalAnswer, answered, refused};
use crate::mcp::handing_over::{Round, hand_over};
use crate::mcp::resources;
use crate::mcp::schemas::body_of;
use crate::mcp::tools::{ApprovalArguments, NoArguments, tools};
use crate::mcp::waiting::{WaitArguments, wait};
use crate::proof::verify::{Verified, verify_evidence};

/// Where the proof is and whether it holds.
#[derive(Serialize, utoipa::ToSchema)]
pub struct EvidenceAnswer {
    /// What to do now.
    next: &'static str,
    /// The approval.
    id: String,
    /// Whether every check of the evidence holds, by the same verifier that runs offline.
    holds: bool,
    /// Whether the signatures in it approve the request.
    is_approved: bool,
    /// What does not hold, by its stable code and a sentence.
    failure: Option<String>,
    /// SHA-256 of the file, hexadecimal. The file grows with the ledger: read later, it is another one.
    sha256: String,
    /// Bytes of the file.
    size: usize,
    /// The resource that holds the file.
    resource: String,
    /// Where the same is downloaded with the same token.
    download: String,
}

/// Calls a tool. What is refused is a result that the agent reads; only a tool that does not exist is
/// an error of the protocol.
pub async fn call(
    app: &App,
    requester: VerifiedRequester,
    request: CallToolRequestParams,
    context: &RequestContext<RoleServer>,
) -> Result<CallToolResponse, ErrorData> {
    let round = Round::of(&request, context);
    let called = Called { app, requester, arguments: request.arguments.unwrap_or_default() };
    let answer = match request.name.as_ref() {
        "list_environments" => called.list_environments().await.map(Into::into),
        "request_deployment" => called.request("deployment", &round).await,
        "request_job_execution" => called.request("job_execution", &round).await,
        "request_signoff" => called.request("action", &round).await,
        "get_approval" => called.get_approval().await.map(Into::into),
        "wait_for_approval" => called.wait_for_approval(context).await.map(Into::into),
        "cancel_approval" => called.cancel_approval().await.map(Into::into),
        "get_evidence" => called.get_evidence().await.map(Into::into),
        _ => return Err(unknown_tool()),
    };
    Ok(answer.unwrap_or_else(|problem| {
        tracing::info!(code = problem.code, tool = %request.name, "a tool call was refused");
        refused(&problem).into()
    }))
}

fn unknown_tool() -> ErrorData {
    let names: Vec<&str> = tools().iter().map(|tool| tool.name.as_ref()).collect();
    let message = format!("There is no such tool. The tools are {}.", names.join(", "));
    ErrorData::invalid_params(message, None)
}

/// One call: who, with what.
struct Called<'a> {
    app: &'a App,
    requester: VerifiedRequester,
    arguments: JsonObject,
}

impl Called<'_> {
    fn reader(&self) -> Reader {
        Reader::Workload(Box::new(self.requester.clone()))
    }

    fn read<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        serde_json::from_value(Value::Object(self.arguments.clone()))
            .map_err(|error| malformed(&error))
    }

    async fn list_environments(&self) -> Result<CallToolResult, Problem> {
        let NoArguments {} = self.read()?;
        Ok(answered(&environments_of(self.app, &self.reader()).await?))
    }

    async fn request(&self, kind: &str, round: &Round) -> Result<CallToolResponse, Problem> {
        let asked = self.ask(kind, round).await;
        if let Err(problem) = &asked {
            count_refusal(self.app, &self.requester, problem);
        }
        asked
    }

    async fn ask(&self, kind: &str, round: &Round) -> Result<CallToolResponse, Problem> {
        let mut arguments = self.arguments.clone();
        let chosen = arguments.remove("idempotency_key").filter(|key| !key.is_null());
        let json = body_of(kind, arguments).ok_or_else(|| malformed(&"unknown field `subject`"))?;
        let Object(body) =
            serde_json::from_value(json.clone()).map_err(|error| malformed(&error))?;
        let key = match (chosen, round.state()) {
            (Some(chosen), _) => checked_key(&chosen)?,
            (None, Some(state)) => checked_key(&json!(state))?,
            (None, None) => self.key_of(&json)?,
        };
        let (stored, is_new) = ask(self.app, &self.requester, &key, &json, body).await?;
        let answer = ApprovalAnswer::new(self.app, &stored.approval, self.app.now());
        if is_new && round.may_hand_over() {
            return Ok(hand_over(self.app, &stored.approval, key));
        }
        Ok(answered(&answer).into())
    }

    /// What names a request that its caller gave no name: the token, which is good for one request.
    fn key_of(&self, json: &Value) -> Result<String, Problem> {
        let named = json!({"token": self.requester.token_id(), "request": json});
        let canonical = to_canonical_json(&named).map_err(GateError::from)?;
        Ok(format!("mcp:{}", Digest::of(canonical)))
    }

    async fn get_approval(&self) -> Result<CallToolResult, Problem> {
        let ApprovalArguments { id } = self.read()?;
        let stored = find_readable(self.app, &self.reader(), &id).await?;
        Ok(answered(&ApprovalAnswer::for_requester(self.app, &stored.approval).await))
    }

    async fn wait_for_approval(
        &self,
        context: &RequestContext<RoleServer>,
    ) -> Result<CallToolResult, Problem> {
        let arguments: WaitArguments = self.read()?;
        let stored = find_readable(self.app, &self.reader(), &arguments.id).await?;
        let approval = wait(self.app, stored.approval, arguments.patience(), context).await?;
        Ok(answered(&ApprovalAnswer::for_requester(self.app, &approval).await))
    }

    async fn cancel_approval(&self) -> Result<CallToolResult, Problem> {
        let ApprovalArguments { id } = self.read()?;
        let approval = cancel_as(self.app, &self.requester, &id).await?;
        Ok(answered(&ApprovalAnswer::new(self.app, &approval, self.app.now())))
    }

    async fn get_evidence(&self) -> Result<CallToolResult, Problem> {
        let ApprovalArguments { id } = self.read()?;
        let (stored, evidence) = gather_as(self.app, &self.reader(), &id).await?;
        let file = to_canonical_json(&evidence).map_err(GateError::from)?;
        let verdict = verify_evidence(&evidence, &self.app.trust);
        let id = stored.approval.id();
        let resource = resources::evidence_uri(id);
        let answer = EvidenceAnswer {
            next: match &verdict {
                Ok(_) => "Hand the address in download to whoever wants to check it.",
                Err(_) => "Do not rely on this approval. Tell a person who looks after the gate.",
            },
            id: id.to_string(),
            holds: verdict.is_ok(),
            is_approved: verdict.as_ref().is_ok_and(Verified::is_approved),
            failure: verdict.err().map(|failure| failure.to_string()),
            sha256: Digest::of(&file).to_string(),
            size: file.len(),
            resource: resource.clone(),
            download: format!("{}/v1/approvals/{id}/evidence", self.app.relying_party.origin),
        };
        let link = Resource::new(resource, format!("{id}.evidence.json"));
        let link = link.with_mime_type("application/json");
        let mut result = answered(&answer);
        result.content.push(ContentBlock::resource_link(link));
        Ok(result)
    }
}

fn malformed(error: &dyn std::fmt::Display) -> Problem {
    let detail = format!(
        "The arguments are not what this tool takes: {error}. tools/list has its input schema, and an example in its description."
    );
    Problem::new(StatusCode::BAD_REQUEST, "malformed_request", detail)
}

fn checked_key(key: &Value) -> Result<String, Problem> {
    let key = key.as_str().filter(|key| is_idempotency_key(key));
    key.map(str::to_owned).ok_or_else(|| {
        Problem::new(
            StatusCode::BAD_REQUEST,
            "invalid_idempotency_key",
            "The idempotency_key must be a text of 1 to 255 visible ASCII characters. Or leave it out.",
        )
    })
}
