//! The list of approvals: what waits for whom.

use std::collections::BTreeMap;

use askama::Template;
use askama_web::WebTemplate;

use crate::domain::approval::{Approval, Status};
use crate::domain::ids::ApprovalId;
use crate::domain::sentence::status_sentence;
use crate::domain::subject::Subject;
use crate::web::paths;

use super::approval::{StatusView, headline_of};
use super::decisions::refusal;
use super::{Frame, Inert, Moment, Surroundings};

/// `GET /`.
#[derive(Template, WebTemplate)]
#[template(path = "inbox.html")]
pub struct InboxPage {
    frame: Frame,
    has_key: bool,
    /// How many keys wait for the endorsement of the person who looks.
    waiting_keys: usize,
    /// How many approvals belong here that only a newer version of the gate can show.
    newer: u32,
    sections: Vec<Section>,
}

/// Approvals that have something in common.
struct Section {
    /// Its anchor.
    id: &'static str,
    title: &'static str,
    /// What to say when there is none.
    empty: &'static str,
    items: Vec<Item>,
}

/// One approval in the list.
struct Item {
    href: String,
    headline: Inert,
    status: StatusView,
    sentence: Inert,
    /// The requester's own headline.
    title: Option<Inert>,
    place: String,
    requester: Inert,
    requested: Moment,
    expires: Option<Moment>,
    short_code: String,
    id: ApprovalId,
    /// The batch that it waits in, and with how many others.
    batch: Option<(String, u64)>,
}

impl InboxPage {
    /// Sorts `approvals`, which the person may all read and which come newest first.
    pub fn new(approvals: &[Approval], around: Surroundings<'_>) -> Self {
        let mut sections = [
            ("mine", "Waiting for you", "Nothing waits for your signature."),
            ("others", "Waiting for others", "Nothing waits for anybody else."),
            ("running", "Under way", "Nothing is under way."),
            ("recent", "Recent", "Nothing was decided yet. A pipeline asks, and it shows up here."),
        ]
        .map(|(id, title, empty)| Section { id, title, empty, items: Vec::new() });
        for approval in approvals {
            let section = match approval.status() {
                Status::Pending if waits_for_viewer(approval, around) => 0,
                Status::Pending if around.now < approval.subject.expires_at => 1,
                Status::Approved | Status::Executing => 2,
                _ => 3,
            };
            sections[section].items.push(item(approval, around));
        }
        Self {
            frame: Frame::new("Inbox", paths::INBOX, around),
            has_key: around.viewer.is_none_or(|viewer| !viewer.keys.is_empty()),
            waiting_keys: 0,
            newer: 0,
            sections: sections.into(),
        }
    }

    /// The same where so many approvals are missing, since a newer version of the gate was asked for them.
    pub fn with_newer(self, newer: u32) -> Self {
        Self { newer, ..self }
    }

    /// The same with so many keys of others that wait for the person who looks.
    pub fn with_waiting_keys(self, waiting_keys: usize) -> Self {
        Self { waiting_keys, ..self }
    }
}

impl InboxPage {
    /// The same with how many wait in the batch of each approval that waits in one with others.
    pub fn with_batches(mut self, waiting: &BTreeMap<ApprovalId, u64>) -> Self {
        for item in self.sections.iter_mut().flat_map(|section| &mut section.items) {
            let count = waiting.get(&item.id);
            item.batch = count.map(|count| (paths::batch(&item.id), count.saturating_sub(1)));
        }
        self
    }
}

fn waits_for_viewer(approval: &Approval, around: Surroundings<'_>) -> bool {
    around
        .viewer
        .is_some_and(|viewer| !viewer.is_auditor && refusal(approval, viewer, around).is_none())
}

fn item(approval: &Approval, around: Surroundings<'_>) -> Item {
    let asked = &approval.subject;
    let pending = approval.status() == Status::Pending;
    Item {
        href: paths::approval(approval.id()),
        headline: Inert::new(&headline_of(approval)),
        status: StatusView::of(approval),
        sentence: Inert::new(&status_sentence(approval, around.freezes, around.now)),
        title: asked.title.as_deref().map(Inert::new),
        place: match asked.subject() {
            Subject::Deployment(deployment) => deployment.service.place(),
            Subject::JobExecution(execution) => {
                format!("{}, {}", execution.job.project(), execution.job.location())
            }
            Subject::Action(action) => format!("Tool {}", action.tool),
            Subject::WorkflowRun(run) => format!("GitHub Actions, {}", run.host),
            Subject::RuleChange(_) => "This gate".to_owned(),
        },
        requester: Inert::new(asked.requester.display_name()),
        requested: Moment::new(asked.requested_at, around.now),
        expires: pending.then(|| Moment::new(asked.expires_at, around.now)),
        short_code: asked.short_code(),
        id: approval.id().clone(),
        batch: None,
    }
}
