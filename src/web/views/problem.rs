//! Pages for what did not work, and for those who are not signed in.

use askama::Template;
use askama_web::WebTemplate;

use super::{Frame, Inert, Surroundings};

/// A page for an error: what happened, and what to do now.
#[derive(Template, WebTemplate)]
#[template(path = "problem.html")]
pub struct ProblemPage {
    frame: Frame,
    status: u16,
    title: Inert,
    detail: Inert,
    action: Option<Action>,
    request_id: Option<Inert>,
}

/// What to do next, as a link.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Action {
    /// What it does.
    pub label: &'static str,
    /// A path of this gate.
    pub href: String,
}

impl ProblemPage {
    /// `title` and `detail` as in the problem document (RFC 9457); `here` is the path that was
    /// asked for, for a sign-in that leads back; `request_id` is what to tell the operator.
    pub fn new(
        status: u16,
        title: &str,
        detail: &str,
        action: Option<Action>,
        request_id: Option<&str>,
        here: &str,
        around: Surroundings<'_>,
    ) -> Self {
        Self {
            frame: Frame::new(title, here, around),
            status,
            title: Inert::new(title),
            detail: Inert::new(detail),
            action,
            request_id: request_id.map(Inert::new),
        }
    }
}

/// For somebody who is not signed in: what this is, and the way in.
#[derive(Template, WebTemplate)]
#[template(path = "signed_out.html")]
pub struct SignedOutPage {
    frame: Frame,
    just_left: bool,
}

impl SignedOutPage {
    /// `return_to` is where the sign-in leads back to; `just_left` after a sign-out.
    pub fn new(return_to: &str, just_left: bool, around: Surroundings<'_>) -> Self {
        Self { frame: Frame::new("Sign in", return_to, around), just_left }
    }
}
