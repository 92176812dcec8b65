//! The page of a batch: every deployment in full, and one decision on all of them.

use askama::Template;
use askama_web::WebTemplate;

use crate::domain::approval::Approval;
use crate::domain::deployment::Deployment;
use crate::domain::sentence::status_sentence;
use crate::storage::Batch;
use crate::web::paths;

use super::action::ActionView;
use super::approval::{StatusView, headline_of};
use super::decisions::{RuleView, rules};
use super::requester::{RequesterView, Words};
use super::rollout::RolloutView;
use super::rules::RuleChangeView;
use super::run::RunView;
use super::{Frame, Inert, Moment, Surroundings};

/// `GET /approvals/{id}/batch`.
#[derive(Template, WebTemplate)]
#[template(path = "batch.html")]
pub struct BatchPage {
    frame: Frame,
    /// The approval in whose address the page is.
    id: String,
    /// Tells whether something happened since.
    state: String,
    label: Inert,
    requester: Inert,
    arrival: Arrival,
    /// What the person can sign together, each in full.
    members: Vec<MemberView>,
    /// The others.
    others: Vec<OtherView>,
    keys: Vec<Inert>,
    /// Why the members cannot be signed together, if so.
    why_not: Option<Inert>,
}

/// How many have asked, of how many.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arrival {
    /// How many have asked.
    pub arrived: usize,
    /// How many their requester announced.
    pub announced: Option<u8>,
}

/// One deployment that the person can sign.
struct MemberView {
    /// Follows every anchor of this member, so that no two are alike.
    place: String,
    /// Follows the anchor of what labels a part of this member: no two parts are called alike.
    labelled: String,
    number: usize,
    id: String,
    href: String,
    headline: Inert,
    title: Inert,
    environment: Inert,
    digest: String,
    short_code: String,
    canonical: Inert,
    rollout: RolloutView,
    requester: RequesterView,
    words: Words,
    /// None: the partial of the requester asks for it.
    action: Option<ActionView>,
    /// None: as above.
    run: Option<RunView>,
    change: Option<RuleChangeView>,
    requested: Moment,
    expires: Moment,
    rules: Vec<RuleView>,
}

/// One that the person cannot sign here.
struct OtherView {
    href: String,
    headline: Inert,
    status: StatusView,
    sentence: Inert,
    why: Option<Inert>,
}

/// What is known of the members for the person who looks.
pub struct Sorted<'a> {
    /// What they can sign.
    pub members: Vec<&'a Approval>,
    /// What they can see and not sign, with the reason if it is theirs.
    pub others: Vec<(&'a Approval, Option<String>)>,
    /// The names of the keys that sign all of the first.
    pub keys: Vec<String>,
    /// Why nothing is signed together, if so.
    pub why_not: Option<String>,
}

impl Arrival {
    /// How many of a batch have asked.
    pub fn of(batch: &Batch) -> Self {
        Self { arrived: batch.asked().count(), announced: batch.announced }
    }

    /// How many are still to ask.
    fn missing(self) -> usize {
        usize::from(self.announced.unwrap_or_default()).saturating_sub(self.arrived)
    }
}

/// Changes whenever a member comes or changes, since versions only grow.
pub fn state_of(batch: &Batch) -> String {
    let versions = batch.members.iter().map(|one| one.approval.version);
    format!("{}.{}", batch.members.len(), versions.sum::<u64>())
}

impl BatchPage {
    /// Draws the batch under the address of one of its approvals.
    pub fn new(
        batch: &Batch,
        address: &str,
        sorted: &Sorted<'_>,
        around: Surroundings<'_>,
    ) -> Self {
        let first = batch.members.first().map(|one| &one.approval.subject.requester);
        let members = sorted.members.iter().enumerate();
        Self {
            frame: Frame::new("Asked for together", address, around),
            id: address.split('/').nth(2).unwrap_or_default().to_owned(),
            state: state_of(batch),
            label: Inert::new(&batch.label),
            requester: Inert::new(first.map_or("", |requester| requester.display_name())),
            arrival: Arrival::of(batch),
            members: members
                .filter_map(|(place, one)| {
                    Some(MemberView::new(place + 1, one, one.subject.deployment()?, around))
                })
                .collect(),
            others: sorted.others.iter().map(|(one, why)| other(one, why, around)).collect(),
            keys: sorted.keys.iter().map(|name| Inert::new(name)).collect(),
            why_not: sorted.why_not.as_deref().map(Inert::new),
        }
    }
}

impl MemberView {
    fn new(
        number: usize,
        approval: &Approval,
        deployment: &Deployment,
        around: Surroundings<'_>,
    ) -> Self {
        let asked = &approval.subject;
        Self {
            place: format!("-{number}"),
            labelled: format!(" member-{number}"),
            number,
            id: approval.id().to_string(),
            href: paths::approval(approval.id()),
            headline: Inert::new(&headline_of(approval)),
            title: Inert::new(asked.title.as_deref().unwrap_or(&asked.reason)),
            environment: Inert::new(&asked.environment),
            digest: asked.digest().to_string(),
            short_code: asked.short_code(),
            canonical: Inert::new(asked.text()),
            rollout: RolloutView::new(approval, deployment, &[], around),
            requester: RequesterView::new(asked.subject(), &approval.policy),
            words: Words::new(asked.subject()),
            action: None,
            run: None,
            change: None,
            requested: Moment::new(asked.requested_at, around.now),
            expires: Moment::new(asked.expires_at, around.now),
            rules: rules(approval),
        }
    }
}

fn other(approval: &Approval, why: &Option<String>, around: Surroundings<'_>) -> OtherView {
    OtherView {
        href: paths::approval(approval.id()),
        headline: Inert::new(&headline_of(approval)),
        status: StatusView::of(approval),
        sentence: Inert::new(&status_sentence(approval, around.freezes, around.now)),
        why: why.as_deref().map(Inert::new),
    }
}
