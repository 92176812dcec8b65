//! What the protocol's methods lead to. What is not here, the gate does not know.

use std::borrow::Cow;

use axum::http::request::Parts;
use rmcp::ServerHandler;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, ErrorData, Implementation,
    ListResourceTemplatesResult, ListResourcesResult, ListToolsResult, PaginatedRequestParams,
    ProtocolVersion, ReadResourceRequestParams, ReadResourceResponse, ServerCapabilities,
    ServerConfig,
};
use rmcp::service::{RequestContext, RoleServer};

use crate::api::bearer::Reader;
use crate::app::App;
use crate::integrations::workload_oidc::VerifiedRequester;
use crate::mcp::entrance::REVISIONS;
use crate::mcp::tools::{INSTRUCTIONS, tools};
use crate::mcp::{calls, resources};

/// One request's server: it keeps nothing.
pub struct AgentServer {
    app: App,
}

impl AgentServer {
    /// A server of this gate.
    pub fn new(app: App) -> Self {
        Self { app }
    }
}

/// Who asks, as the entrance found out. Without it nothing is answered.
fn requester(context: &RequestContext<RoleServer>) -> Result<VerifiedRequester, ErrorData> {
    let parts = context.extensions.get::<Parts>();
    let verified = parts.and_then(|parts| parts.extensions.get::<VerifiedRequester>()).cloned();
    verified.ok_or_else(|| ErrorData::internal_error("The request came without its sender.", None))
}

fn reader(context: &RequestContext<RoleServer>) -> Result<Reader, ErrorData> {
    Ok(Reader::Workload(Box::new(requester(context)?)))
}

impl ServerHandler for AgentServer {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder().enable_tools().enable_resources().build();
        let gate = Implementation::new("countersign", env!("CARGO_PKG_VERSION"));
        ServerConfig::new(capabilities)
            .with_protocol_version(ProtocolVersion::V_2025_11_25)
            .with_server_info(gate.with_title("Countersign"))
            .with_instructions(INSTRUCTIONS)
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        Cow::Borrowed(&REVISIONS)
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(tools().to_vec()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let requester = requester(&context)?;
        calls::call(&self.app, requester, request, &context).await
    }

    async fn list_resources(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let cursor = request.and_then(|request| request.cursor);
        resources::list(&self.app, &requester(&context)?, cursor).await
    }

    async fn list_resource_templates(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        Ok(ListResourceTemplatesResult::with_all_items(resources::templates()))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        resources::read(&self.app, &reader(&context)?, &request.uri).await
    }
}
