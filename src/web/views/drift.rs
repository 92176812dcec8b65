//! The page of changes that no approval explains.

use askama::Template;
use askama_web::WebTemplate;
use jiff::Timestamp;

use crate::domain::drift::Finding;
use crate::domain::person::Person;
use crate::web::paths;

use super::moment::Moment;
use super::{Frame, Inert, Surroundings};

/// `GET /drift`.
#[derive(Template, WebTemplate)]
#[template(path = "drift.html")]
pub struct DriftPage {
    frame: Frame,
    is_watching: bool,
    open: usize,
    findings: Vec<FindingView>,
}

struct FindingView {
    entry: u64,
    service: String,
    place: String,
    environment: Inert,
    at: Moment,
    facts: Vec<Inert>,
    changed_by: Option<Inert>,
    serving: Vec<(String, u8)>,
    explanations: Vec<ExplanationView>,
    settled: bool,
    may_explain: bool,
}

struct ExplanationView {
    text: Inert,
    /// The same text, for the form that signs it as well.
    value: String,
    by: Inert,
    may_join: bool,
}

impl DriftPage {
    /// Draws these changes. `own` are the environments in which the person may sign.
    pub fn new(
        findings: &[Finding],
        own: &[String],
        is_watching: bool,
        around: Surroundings<'_>,
    ) -> Self {
        let viewer = around.viewer.map(|viewer| viewer.profile.person.clone());
        let viewer = viewer.as_ref();
        let views: Vec<FindingView> =
            findings.iter().map(|finding| view(finding, own, viewer, around.now)).collect();
        let open = views.iter().filter(|finding| !finding.settled).count();
        let frame = Frame::new("Changes without approval", paths::DRIFT, around);
        Self { frame, is_watching, open, findings: views }
    }
}

fn view(finding: &Finding, own: &[String], viewer: Option<&Person>, now: Timestamp) -> FindingView {
    let found = &finding.found;
    let settled = finding.settled().is_some();
    let may_explain = !settled && own.contains(&found.environment);
    let signed_by_viewer = |text: &str| {
        let mut same = finding.explanations.iter().filter(|one| one.explanation == text);
        same.any(|one| Some(&one.by) == viewer)
    };
    let explanations = finding.explanations.iter().map(|one| ExplanationView {
        text: Inert::new(&one.explanation),
        value: one.explanation.clone(),
        by: Inert::new(&one.by_name),
        may_join: may_explain && !signed_by_viewer(&one.explanation),
    });
    let serving = found.state.iter().flat_map(|state| &state.serving);
    FindingView {
        entry: finding.entry,
        service: found.service.service().to_owned(),
        place: found.service.place(),
        environment: Inert::new(&found.environment),
        at: Moment::new(finding.at, now),
        facts: found.unexplained.iter().map(|fact| Inert::new(fact)).collect(),
        changed_by: found.changed_by.as_deref().map(Inert::new),
        serving: serving.map(|share| (share.revision.clone(), share.percent)).collect(),
        explanations: explanations.collect(),
        settled,
        may_explain,
    }
}
