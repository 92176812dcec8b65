//! One sentence for every state of an approval: who has to do what next.

mod job;

use jiff::{SignedDuration, Timestamp};

use crate::domain::approval::{Approval, State};
use crate::domain::check::results_in_words;
use crate::domain::deployment::Deployment;
use crate::domain::hold::{Freezes, hold_now};
use crate::domain::ids::ApprovalId;
use crate::domain::intervention::Orders;
use crate::domain::plan::in_words;
use crate::domain::rollout::{Call, Progress, Serving, Watched};
use crate::domain::service::ServiceName;
use crate::domain::subject::Subject;

/// What an approval waits for and who has to act while these freezes are in force, for pages, the API and the pipeline's log.
///
/// Plain text of one or two sentences. It can hold words that people or Cloud Run wrote (names,
/// reasons), so whoever shows it must escape it like any other text.
pub fn status_sentence(approval: &Approval, freezes: &Freezes, now: Timestamp) -> String {
    let plain = without_hold(approval, now);
    let Some(hold) = hold_now(approval, freezes, now) else { return plain };
    let hold = hold.sentence();
    match &approval.state {
        State::Pending {} => {
            format!("{plain} For now nothing that is signed begins: {hold}")
        }
        State::Approved { .. } => format!(
            "Everybody who has to sign has signed, and {} is held: {hold} It begins by \
             itself then, if that is before {}.",
            Words::of(approval.subject.subject()).held,
            moment(approval.runs_out_at())
        ),
        _ => format!(
            "{} stands still: {hold} It goes on by itself then.",
            match approval.subject.job_execution().map(|asked| asked.execution.is_some()) {
                Some(true) => "The job",
                Some(false) => "The update of the job",
                None => "The rollout",
            }
        ),
    }
}

/// The sentence of a state that nothing holds.
fn without_hold(approval: &Approval, now: Timestamp) -> String {
    let requester = approval.subject.requester.display_name();
    match &approval.state {
        State::Pending {} => pending(approval, now),
        State::Approved { .. } if now >= approval.runs_out_at() => {
            let words = Words::of(approval.subject.subject());
            format!(
                "It was signed, but {} before {}. {requester} has to ask again.",
                words.not_begun,
                moment(approval.runs_out_at())
            )
        }
        State::Approved { .. } => approved(approval),
        State::Executing { progress, orders, .. } => {
            executing(approval.subject.subject(), progress, orders, now)
        }
        State::Succeeded { serving: Some(serving), .. } => {
            succeeded(approval.subject.subject(), serving)
        }
        State::Succeeded { execution: Some(execution), .. } => job::succeeded(execution),
        State::Succeeded { updated: Some(_), .. } => {
            job::updated(approval.subject.subject().target_name())
        }
        State::Succeeded { serving: None, .. } if approval.subject.workflow_run().is_some() => {
            "Everybody who has to sign has signed, and GitHub is told to let the run on. Nothing is \
             left to do here."
                .to_owned()
        }
        State::Succeeded { serving: None, .. } if approval.subject.rule_change().is_some() => {
            "The new rules are in force for whatever is asked for from now on. Nothing is left to do."
                .to_owned()
        }
        State::Succeeded { serving: None, .. } => format!(
            "{requester} used its one grant for exactly what was signed. Nothing is left to do."
        ),
        State::Failed { reason, .. } if approval.subject.rule_change().is_some() => {
            format!("The change did not come into force: {}. The gate asks again if it is still needed.", clause(reason))
        }
        State::NeedsAttention { reason, .. } if approval.subject.rule_change().is_some() => format!(
            "The old rules stay in force: {}. Whoever looks after the gate has to find out why.",
            clause(reason)
        ),
        State::Rejected { name, reason, .. } if approval.subject.rule_change().is_some() => {
            let why = reason.as_ref().map(|reason| format!(": “{}”", reason.trim()));
            format!(
                "{name} rejected it{} The old rules stay in force. Put the configuration file right; the gate asks again tomorrow if it still says the same.",
                why.unwrap_or_else(|| ".".to_owned())
            )
        }
        State::Failed { reason, .. } => match approval.subject.job_execution() {
            Some(asked) => job::failed(asked, reason, requester),
            None => format!(
                "The rollout failed: {}. {requester} has to remove the cause and ask again.",
                clause(reason)
            ),
        },
        State::RolledBack { reason, .. } => format!(
            "The rollout did not stay, and what served before serves again: {}. {requester} has to \
             remove the cause and ask again.",
            clause(reason)
        ),
        State::NeedsAttention { reason, .. } => format!(
            "Somebody who looks after {} has to look at it in Cloud Run: {}. The gate changes \
             nothing more by itself; on its page an approver signs what becomes of it.",
            approval.subject.subject().target_name(),
            clause(reason)
        ),
        State::Rejected { name, reason: Some(reason), .. } => format!(
            "{name} rejected it: “{}” Nothing was changed; {requester} may change the request \
             and ask again.",
            reason.trim()
        ),
        State::Rejected { name, reason: None, .. } => format!(
            "{name} rejected it without giving a reason. Nothing was changed; {requester} may \
             ask {name} and then ask again."
        ),
        State::Expired { at } => expired(approval, *at),
        State::Cancelled { .. } if approval.subject.workflow_run().is_some() => {
            "The run waits no more at GitHub, so there is nothing to sign. If it is started again, it \
             asks again."
                .to_owned()
        }
        State::Cancelled { .. } if approval.subject.rule_change().is_some() => {
            "The configuration file says the rules in force again, so there is nothing to sign.".to_owned()
        }
        State::Cancelled { .. } => format!(
            "{requester} took the request back. Nothing was changed; nobody has to do anything."
        ),
        State::Superseded { by, .. } if approval.subject.rule_change().is_some() => {
            format!("The configuration file says something else by now: decide on {by} instead.")
        }
        State::Superseded { by, .. } => superseded(approval.subject.subject(), by),
        State::Withdrawn { .. } => format!(
            "A signature was taken back before the rollout began. Nothing was changed; \
             {requester} may ask again."
        ),
    }
}

/// How a kind of subject is spoken of.
struct Words {
    not_begun: &'static str,
    missed: &'static str,
    held: &'static str,
}

impl Words {
    fn of(subject: &Subject) -> Self {
        match subject {
            Subject::Deployment(_) => Self {
                not_begun: "the rollout did not begin",
                missed: "The rollout did not begin",
                held: "the rollout",
            },
            Subject::JobExecution(asked) => job::words(asked),
            Subject::Action(_) => Self {
                not_begun: "its grant was not used",
                missed: "Its grant was not used",
                held: "its grant",
            },
            Subject::WorkflowRun(_) => Self {
                not_begun: "the run was not let on",
                missed: "The run was not let on",
                held: "the run",
            },
            Subject::RuleChange(_) => Self {
                not_begun: "the rules did not come into force",
                missed: "The rules did not come into force",
                held: "the change",
            },
        }
    }
}

fn approved(approval: &Approval) -> String {
    if approval.is_glass_broken() {
        return format!(
            "The glass was broken for it, so that nothing holds {}. Somebody else has to sign for that \
             afterwards.",
            Words::of(approval.subject.subject()).held
        );
    }
    match approval.subject.subject() {
        Subject::Deployment(deployment) => match &deployment.after {
            None => {
                "Everybody who has to sign has signed. The rollout begins by itself; nobody has \
                     to do anything."
                    .to_owned()
            }
            Some(before) => format!(
                "Everybody who has to sign has signed. The rollout begins by itself when {before} has \
                 succeeded, if that is before {}.",
                moment(approval.runs_out_at())
            ),
        },
        Subject::JobExecution(asked) => job::approved(asked),
        Subject::WorkflowRun(_) => {
            "Everybody who has to sign has signed. The gate tells GitHub by \
             itself; nobody has to do anything."
                .to_owned()
        }
        Subject::RuleChange(_) => "Everybody who has to sign has signed. The new rules come into \
             force by themselves; nobody has to do anything."
            .to_owned(),
        Subject::Action(_) => format!(
            "Everybody who has to sign has signed. {} may use the grant once, until {}.",
            approval.subject.requester.display_name(),
            moment(approval.runs_out_at())
        ),
    }
}

fn pending(approval: &Approval, now: Timestamp) -> String {
    let expires_at = approval.subject.expires_at;
    if now >= expires_at {
        return expired(approval, expires_at);
    }
    let missing: Vec<String> = approval
        .progress()
        .iter()
        .zip(&approval.policy.rules)
        .filter(|(progress, _)| progress.met < progress.needed)
        .map(|(progress, rule)| {
            let names: Vec<String> = rule.from.iter().map(ToString::to_string).collect();
            let count = progress.needed - progress.met;
            let more = if progress.met > 0 { " more" } else { "" };
            let plural = if count == 1 { "" } else { "s" };
            format!("{count}{more} signature{plural} from {}{}", names.join(" or "), rule.place())
        })
        .collect();
    if missing.is_empty() {
        // A policy without rules is never met; configuration refuses it, this only words it.
        return "Nobody can sign this: the environment names nobody who may.".to_owned();
    }
    format!("Waiting for {}, until {}.", missing.join(" and "), moment(expires_at))
}

fn executing(subject: &Subject, progress: &Progress, orders: &Orders, now: Timestamp) -> String {
    let deployment = match subject {
        Subject::Deployment(deployment) => deployment,
        Subject::JobExecution(execution) => return job::executing(execution, progress),
        Subject::Action(_) | Subject::WorkflowRun(_) | Subject::RuleChange(_) => {
            return "It is under way. Nobody has to do anything.".to_owned();
        }
    };
    let (plan, service) = (&deployment.plan, subject.target_name());
    if let Some(reason) = &orders.restore {
        return format!(
            "{}. The gate is restoring what served before; nobody has to do anything yet.",
            clause(reason)
        );
    }
    if let Some(reason) = &progress.restoring {
        return format!(
            "A step failed: {}. The gate is restoring what served before; nobody has to do \
             anything yet.",
            clause(reason)
        );
    }
    let found = progress.results_of(progress.steps_done);
    let checked = match found.is_empty() {
        true => String::new(),
        false => format!(" Its checks: {}.", results_in_words(found)),
    };
    if let Some(watched) = progress.watched(plan) {
        return watching(deployment, &watched, orders, now) + &checked;
    }
    let doing = match progress.intent.as_ref().map(|intent| intent.call) {
        Some(Call::CreateService {}) => {
            format!("creating the {} {service}", deployment.service.kind().noun())
        }
        Some(Call::Restore {}) => "restoring what served before".to_owned(),
        Some(Call::MoveTraffic { step }) => moving(deployment, step),
        _ if !progress.revision_ready => format!("creating the revision {}", plan.revision),
        Some(Call::CreateRevision {}) | None if progress.steps_done < plan.steps.len() => {
            moving(deployment, progress.steps_done)
        }
        _ => "checking that everything serves as signed".to_owned(),
    };
    let before = checked.replacen("Its checks", "The checks before", 1);
    format!("The gate is {doing}. Nobody has to do anything.{before}")
}

fn watching(
    deployment: &Deployment,
    watched: &Watched<'_>,
    orders: &Orders,
    now: Timestamp,
) -> String {
    let plan = &deployment.plan;
    let Watched { number, step, until, .. } = watched;
    let left = until.duration_since(now);
    let (percent, of) = (step.percent, plan.steps.len());
    let share = share_in_words(&deployment.service, percent);
    let serves = format!("{} serves {share} (step {number} of {of})", plan.revision);
    if left.is_positive() {
        let minutes = SignedDuration::from_mins(left.as_secs() / 60);
        let left =
            if left.as_mins() > 0 { in_words(minutes) } else { "less than a minute".to_owned() };
        return format!(
            "{serves} and is watched until {}, {left} from now. Nobody has to do anything.",
            moment(*until)
        );
    }
    if watched.waits_for_people(orders, now) {
        return format!(
            "{serves} and pauses there, as was signed. One of those who may sign has to sign on its page that it goes on, or that it stops."
        );
    }
    if !step.checks.is_empty() && !watched.is_checked() {
        return format!("{serves} and is checked now. Nobody has to do anything.");
    }
    format!("{serves} and was watched for {}. Nobody has to do anything.", in_words(step.bake()))
}

fn moving(deployment: &Deployment, step: usize) -> String {
    let plan = &deployment.plan;
    let percent = plan.steps.get(step).map_or(100, |step| step.percent);
    format!(
        "giving {} {} (step {} of {})",
        plan.revision,
        share_in_words(&deployment.service, percent),
        step + 1,
        plan.steps.len()
    )
}

fn share_in_words(service: &ServiceName, percent: u8) -> String {
    format!("{percent} % of the {}", service.kind().shared())
}

fn succeeded(subject: &Subject, serving: &Serving) -> String {
    let Subject::Deployment(deployment) = subject else { return "It is done.".to_owned() };
    let service = &deployment.service;
    let percent = serving
        .traffic
        .iter()
        .find(|share| share.revision == serving.revision)
        .map_or(0, |share| share.percent);
    format!(
        "{} serves {} with {}, exactly as signed. Nothing is left to do.",
        service.service(),
        serving.revision,
        share_in_words(service, percent)
    )
}

fn expired(approval: &Approval, at: Timestamp) -> String {
    let missed = if approval.suffices().is_some() {
        Words::of(approval.subject.subject()).missed
    } else {
        "Not everybody who has to sign signed"
    };
    format!(
        "{missed} before it expired on {}. Nothing was changed; {} has to ask again.",
        moment(at),
        approval.subject.requester.display_name()
    )
}

fn superseded(subject: &Subject, by: &ApprovalId) -> String {
    let target = if subject.job_execution().is_some() { "job" } else { "service" };
    format!("A newer request for the same {target} took its place: decide on {by} instead.")
}

/// A time as sentences say it: `24 November 2026, 14:32 UTC`.
pub(crate) fn moment(at: Timestamp) -> String {
    at.strftime("%-d %B %Y, %H:%M UTC").to_string()
}

/// A reason without its last full stop, to stand inside a sentence of ours.
fn clause(reason: &str) -> &str {
    reason.trim().trim_end_matches('.')
}
