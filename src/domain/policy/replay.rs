//! How an approval of the past would have ended under other rules.

use jiff::{SignedDuration, Timestamp};

use super::Policy;
use crate::domain::approval::{Approval, Status};
use crate::domain::decision::{Verdict, standing};
use crate::domain::image::ImageReference;
use crate::domain::subject::Subject;

/// How far people's part of an approval came.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ending {
    /// It could not have been asked for, and why.
    Refused(String),
    /// Somebody who may sign said no.
    Rejected,
    /// The rules were met.
    Approved,
    /// The rules were not met before it ended, and what they still wanted.
    NotApproved(String),
}

impl Ending {
    /// The word for it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Refused(_) => "refused",
            Self::Rejected => "rejected",
            Self::Approved => "approved",
            Self::NotApproved(_) => "not approved",
        }
    }

    /// More about it, where there is more.
    pub fn why(&self) -> Option<&str> {
        match self {
            Self::Refused(why) | Self::NotApproved(why) => Some(why),
            Self::Rejected | Self::Approved => None,
        }
    }

    fn is_like(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

/// An approval under the rules that it had, and under others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Replayed {
    /// How it ended.
    pub then: Ending,
    /// How it would have ended.
    pub now: Ending,
}

impl Replayed {
    /// Whether it would have ended otherwise.
    pub fn differs(&self) -> bool {
        !self.then.is_like(&self.now)
    }
}

/// Plays the decisions of an approval, which is over for the people who sign, under the rules that its
/// environment has in `new`. `None`: people may still decide on it.
pub fn replay(approval: &Approval, new: Option<&Policy>) -> Option<Replayed> {
    if approval.status() == Status::Pending {
        return None;
    }
    let then = play(approval, &approval.policy);
    let now = match new {
        Some(policy) => play(approval, policy),
        None => Ending::Refused("the environment is gone".to_owned()),
    };
    Some(Replayed { then, now })
}

fn play(approval: &Approval, policy: &Policy) -> Ending {
    let subject = approval.subject.subject();
    if !policy.admits(subject) {
        let requester = approval.subject.requester.display_name();
        return Ending::Refused(format!("{requester} may not ask"));
    }
    if !policy.covers(subject) {
        return Ending::Refused(match subject {
            Subject::Deployment(deployment) if policy.services.contains(&deployment.service) => {
                not_deployed(&deployment.image)
            }
            Subject::JobExecution(execution) if policy.jobs.contains(&execution.job) => {
                not_deployed(&execution.image)
            }
            Subject::Deployment(_)
            | Subject::JobExecution(_)
            | Subject::Action(_)
            | Subject::WorkflowRun(_)
            | Subject::RuleChange(_) => {
                format!("{} is not covered", subject.target())
            }
        });
    }
    let expires_at = expires_at(approval, policy);
    let mut counted = Vec::new();
    for decision in standing(&approval.decisions) {
        let counts = policy.admits_signer(&decision.person, &decision.groups)
            && !policy.was_asked_by(subject, &decision.person)
            && policy.separates(subject, &decision.person, decision.github_id).is_none()
            && decision.decided_at < expires_at;
        match decision.verdict {
            Verdict::Reject if counts => return Ending::Rejected,
            Verdict::Approve | Verdict::BreakGlass if counts => counted.push(decision),
            Verdict::Approve | Verdict::BreakGlass | Verdict::Reject | Verdict::Withdraw => {}
        }
    }
    if policy.suffices(&counted).is_some() {
        return Ending::Approved;
    }
    let yes = counted.iter().filter(|decision| decision.verdict == Verdict::Approve);
    let signers: Vec<_> = yes.map(|one| (one.person.clone(), one.groups.clone())).collect();
    let progress = policy.progress(&signers);
    let missing =
        policy.rules.iter().zip(progress).filter(|(_, progress)| progress.met < progress.needed);
    let missing: Vec<String> = missing
        .map(|(rule, progress)| format!("{}, of which {} signed", rule.in_words(), progress.met))
        .collect();
    Ending::NotApproved(missing.join("; "))
}

fn not_deployed(image: &ImageReference) -> String {
    format!("images of {} may not be deployed", image.repository())
}

/// Rules that keep requests open for less long cut them off sooner; longer ones change nothing, since
/// nobody could sign any more.
fn expires_at(approval: &Approval, policy: &Policy) -> Timestamp {
    let asked = &approval.subject;
    let seconds = i64::try_from(policy.expires_in_seconds).unwrap_or(i64::MAX);
    let longest = asked
        .requested_at
        .checked_add(SignedDuration::from_secs(seconds))
        .unwrap_or(Timestamp::MAX);
    asked.expires_at.min(longest)
}
