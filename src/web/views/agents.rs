//! The page on which approvers issue and revoke credentials of agents.

use askama::Template;
use askama_web::WebTemplate;
use jiff::Timestamp;

use crate::storage::KeptAgentCredential;
use crate::web::paths;

use super::moment::Moment;
use super::{Frame, Inert, Surroundings};

/// A credential, and whether somebody ended it.
pub struct AgentListing {
    /// The credential.
    pub kept: KeptAgentCredential,
    /// Whether it, or the key that signed it, was revoked.
    pub is_revoked: bool,
}

/// `GET /agents`.
#[derive(Template, WebTemplate)]
#[template(path = "agents.html")]
pub struct AgentsPage {
    frame: Frame,
    message: Option<&'static str>,
    credentials: Vec<CredentialView>,
    environments: Vec<String>,
}

struct CredentialView {
    index: u64,
    agent: Inert,
    environment: Inert,
    by: Inert,
    issued: Moment,
    valid_until: Moment,
    status: &'static str,
    tone: &'static str,
    is_good: bool,
}

impl AgentsPage {
    /// Draws these credentials, newest first. `environments` are those in which the person may issue one.
    pub fn new(
        listings: &[AgentListing],
        environments: Vec<String>,
        message: Option<&'static str>,
        around: Surroundings<'_>,
    ) -> Self {
        let now = around.now;
        let credentials = listings.iter().rev().map(|listing| view(listing, now)).collect();
        let frame = Frame::new("Credentials of agents", paths::AGENTS, around);
        Self { frame, message, credentials, environments }
    }
}

fn view(listing: &AgentListing, now: Timestamp) -> CredentialView {
    let KeptAgentCredential { index, at, issued } = &listing.kept;
    let grant = &issued.grant;
    let (status, tone) = match (listing.is_revoked, now >= grant.valid_until) {
        (true, _) => ("Revoked", "bad"),
        (false, true) => ("Over", "neutral"),
        (false, false) => ("Good", "good"),
    };
    CredentialView {
        index: *index,
        agent: Inert::new(&grant.agent),
        environment: Inert::new(&grant.environment),
        by: Inert::new(&issued.by_name),
        issued: Moment::new(*at, now),
        valid_until: Moment::new(grant.valid_until, now),
        status,
        tone,
        is_good: tone == "good",
    }
}
