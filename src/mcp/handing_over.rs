//! Pointing the person at the agent's side to the page, where their client offers to open addresses
//! (URL elicitation, revision 2026-07-28). Whatever the client answers counts for nothing: it says
//! that somebody looked, and only a key on the page decides.

use std::collections::BTreeMap;

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, ElicitRequest, ElicitRequestParams, InputRequest,
    InputRequiredResult, ProtocolVersion,
};
use rmcp::service::{RequestContext, RoleServer};

use crate::app::App;
use crate::domain::approval::Approval;
use crate::domain::subject::Subject;

/// The name of our one question.
const QUESTION: &str = "approval_page";

/// Which round of a call this is, and what the client can do.
pub struct Round {
    opens_pages: bool,
    state: Option<String>,
    is_answer: bool,
}

impl Round {
    /// The round of this request.
    pub fn of(request: &CallToolRequestParams, context: &RequestContext<RoleServer>) -> Self {
        let speaks_it = context.protocol_version() == Some(ProtocolVersion::V_2026_07_28);
        let offers = context
            .client_capabilities()
            .and_then(|capabilities| capabilities.elicitation)
            .is_some_and(|elicitation| elicitation.url.is_some());
        Self {
            opens_pages: speaks_it && offers,
            state: request.request_state.clone(),
            is_answer: request.input_responses.is_some(),
        }
    }

    /// The idempotency key of the first round, as the client gives it back. It is the caller's own word,
    /// as if it stood among the arguments.
    pub fn state(&self) -> Option<&str> {
        self.state.as_deref()
    }

    /// Whether the client can be asked to show the page.
    pub fn may_hand_over(&self) -> bool {
        self.opens_pages && !self.is_answer
    }
}

/// Asks the client to show the page of what was just asked for.
pub fn hand_over(app: &App, approval: &Approval, idempotency_key: String) -> CallToolResponse {
    let asked = &approval.subject;
    let kind = match asked.subject() {
        Subject::Deployment(_) => "A deployment",
        Subject::JobExecution(asked) if asked.execution.is_none() => "An update",
        Subject::JobExecution(_) => "An execution",
        Subject::Action(_) => "A call",
        Subject::WorkflowRun(_) => "A run",
        Subject::RuleChange(_) => "A change",
    };
    // Our words alone: nothing that the requester wrote speaks to the person here.
    let message = format!(
        "{kind} of {} in {} waits for a person who may sign it. The page shows what would \
         change; compare its code with {}.",
        asked.subject().target_name(),
        asked.environment,
        asked.short_code()
    );
    let page = ElicitRequestParams::UrlElicitationParams {
        meta: None,
        message,
        url: app.approval_url(approval.id()),
        elicitation_id: approval.id().to_string(),
    };
    let question = InputRequest::Elicitation(ElicitRequest::new(page));
    let questions = BTreeMap::from([(QUESTION.to_owned(), question)]);
    InputRequiredResult::new(Some(questions), Some(idempotency_key)).into()
}
