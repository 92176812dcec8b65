//! What GitHub is told of an approval. Whatever others wrote stands in code spans: there GitHub makes no links
//! of it, mentions nobody and draws nothing.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::domain::approval::{Approval, State};
use crate::domain::decision::Verdict;
use crate::domain::hold::Freezes;
use crate::domain::sentence::status_sentence;
use crate::domain::service::ServiceKind;
use crate::domain::text::one_line;

/// GitHub takes descriptions of deployment statuses of at most this many characters.
const LONGEST_DESCRIPTION: usize = 140;
/// What a table shows of a text that others wrote.
const LONGEST_QUOTE: usize = 300;

/// What a deployment is called.
pub(super) fn deployment_title(approval: &Approval) -> String {
    let subject = approval.subject.subject();
    match subject.image() {
        Some(image) => cut(&format!("{image} to {}", subject.target_name())),
        None => cut(&one_line(subject.target_name())),
    }
}

/// A deployment status ("Create a deployment status"). GitHub itself alone can set `waiting`; `pending` is
/// its word for it that an App may use.
pub(super) fn deployment_status(approval: &Approval, origin: &str) -> Value {
    let (state, description) = match &approval.state {
        State::Pending {} => ("pending", "Waits for people to read and sign it".to_owned()),
        State::Approved { .. } => ("queued", "Signed; the rollout begins by itself".to_owned()),
        State::Executing { .. } => ("in_progress", "The rollout runs".to_owned()),
        State::Succeeded { .. } => ("success", "What was signed is done".to_owned()),
        State::Failed { reason, .. } => ("failure", format!("It failed: {reason}")),
        State::RolledBack { reason, .. } => ("failure", format!("Rolled back: {reason}")),
        State::NeedsAttention { .. } => ("error", "Somebody has to look at the service".to_owned()),
        State::Rejected { name, .. } => ("failure", format!("Rejected by {name}")),
        State::Expired { .. } => ("inactive", "It expired; nothing was changed".to_owned()),
        State::Cancelled { .. } => ("inactive", "The pipeline took it back".to_owned()),
        State::Superseded { .. } => ("inactive", "A newer request took its place".to_owned()),
        State::Withdrawn { .. } => ("inactive", "A signature was taken back".to_owned()),
    };
    let mut status = json!({
        "state": state,
        "description": cut(&one_line(&description)),
        "log_url": page(approval, origin),
        "environment": approval.subject.environment,
    });
    if let State::Succeeded { serving: Some(serving), .. } = &approval.state
        && !serving.uri.is_empty()
    {
        status["environment_url"] = serving.uri.clone().into();
    }
    status
}

/// A check run ("Update a check run"): the plan, who decided, and where the evidence is.
pub(super) fn check_run(
    approval: &Approval,
    origin: &str,
    freezes: &Freezes,
    now: Timestamp,
) -> Value {
    let (status, conclusion) = standing(&approval.state);
    let mut run = json!({
        "name": format!("Countersign: {}", heading(approval)),
        "external_id": approval.id(),
        "details_url": page(approval, origin),
        "started_at": second(approval.subject.requested_at),
        "status": status,
        "output": {
            "title": title(approval),
            "summary": summary(approval, origin, freezes, now),
        },
    });
    if let Some((conclusion, at)) = conclusion {
        run["conclusion"] = conclusion.into();
        run["completed_at"] = second(at).into();
    }
    run
}

/// The comment of a pull request that these approvals belong to, the newest first.
pub(super) fn comment(
    approvals: &[Approval],
    origin: &str,
    freezes: &Freezes,
    now: Timestamp,
) -> String {
    let mut text = mark(origin);
    for approval in approvals {
        let heading = heading(approval);
        text += &format!("\n\n### {heading}: {}\n\n", title(approval));
        text += &summary(approval, origin, freezes, now);
    }
    text
}

/// What goes where.
fn heading(approval: &Approval) -> String {
    let subject = &approval.subject;
    format!("{} to {}", one_line(subject.subject().target_name()), subject.environment)
}

/// Marks the comment as this gate's, for whoever looks for it.
pub(super) fn mark(origin: &str) -> String {
    format!("<!-- countersign of {origin} -->")
}

fn page(approval: &Approval, origin: &str) -> String {
    format!("{origin}/approvals/{}", approval.id())
}

/// GitHub's `status` of a check run, and its `conclusion` with the time.
fn standing(state: &State) -> (&'static str, Option<(&'static str, Timestamp)>) {
    match state {
        State::Pending {} => ("queued", None),
        State::Approved { .. } | State::Executing { .. } => ("in_progress", None),
        State::Succeeded { at, .. } => ("completed", Some(("success", *at))),
        State::Failed { at, .. } | State::RolledBack { at, .. } | State::Rejected { at, .. } => {
            ("completed", Some(("failure", *at)))
        }
        State::NeedsAttention { at, .. } => ("completed", Some(("action_required", *at))),
        State::Expired { at } => ("completed", Some(("timed_out", *at))),
        State::Cancelled { at } | State::Superseded { at, .. } | State::Withdrawn { at, .. } => {
            ("completed", Some(("cancelled", *at)))
        }
    }
}

fn title(approval: &Approval) -> String {
    let words = approval.status().as_str().replace('_', " ");
    match &approval.state {
        State::Pending {} => "waits for signatures".to_owned(),
        State::Executing { progress, .. } => match approval.subject.job_execution() {
            Some(asked) if asked.execution.is_some() => "runs".to_owned(),
            Some(_) => "is updated".to_owned(),
            None => {
                let steps = approval.subject.deployment().map_or(0, |one| one.plan.steps.len());
                format!("step {} of {steps}", progress.steps_done)
            }
        },
        _ => words,
    }
}

fn summary(approval: &Approval, origin: &str, freezes: &Freezes, now: Timestamp) -> String {
    let subject = &approval.subject;
    let mut text = format!("{}\n\n| | |\n| --- | --- |\n", quoted_sentence(approval, freezes, now));
    let mut row = |name: &str, value: String| text += &format!("| {name} | {value} |\n");
    match subject.deployment() {
        Some(deployment) => {
            let steps = deployment.plan.steps.iter();
            let steps: Vec<String> = steps.map(|step| format!("{} %", step.percent)).collect();
            let (service, shared) = match deployment.service.kind() {
                ServiceKind::Service => ("Service", "Traffic"),
                ServiceKind::WorkerPool => ("Worker pool", "Instances"),
            };
            row(service, code(deployment.service.as_str()));
            row("Image", code(&deployment.image.to_string()));
            row("Revision", code(&deployment.plan.revision));
            row(shared, steps.join(", "));
        }
        None => row("What", code(subject.subject().target())),
    }
    if let Some(execution) = subject.job_execution() {
        row("Image", code(&execution.image.to_string()));
        match &execution.execution {
            Some(name) => row("Execution", code(name)),
            None => row("Execution", "none: the job is only updated".to_owned()),
        }
    }
    if let Some(run) = subject.workflow_run() {
        row("Run", format!("{}, attempt {}", run.run, run.attempt));
        row("Workflow", code(&run.workflow));
    }
    row("Code", code(&subject.short_code()));
    row("Asked by", code(subject.requester.display_name()));
    row("Reason, in their words", code(&subject.reason));
    for decision in &approval.decisions {
        let verdict = match decision.verdict {
            Verdict::Approve => "Approved by",
            Verdict::Reject => "Rejected by",
            Verdict::Withdraw => "Taken back by",
            Verdict::BreakGlass => "Glass broken by",
        };
        let at = second(decision.decided_at);
        row(verdict, format!("{}, {at}", code(&decision.name)));
    }
    let progress = approval.policy.rules.iter().zip(approval.progress());
    for (rule, progress) in progress.filter(|(_, progress)| progress.met < progress.needed) {
        row("Still needed", format!("{} ({} so far)", code(&rule.in_words()), progress.met));
    }
    let page = page(approval, origin);
    text += &format!(
        "\n[Read it]({page}) · [Evidence]({page}/evidence), which `countersign verify` checks offline"
    );
    text
}

/// The sentence of the state, which may hold words of others.
fn quoted_sentence(approval: &Approval, freezes: &Freezes, now: Timestamp) -> String {
    code(&status_sentence(approval, freezes, now))
}

/// A text as a code span of one line, fit for a table. A run of backticks longer than any in the text ends it.
fn code(text: &str) -> String {
    let mut text: String = one_line(text).replace('|', "\\|");
    if text.chars().count() > LONGEST_QUOTE {
        text = text.chars().take(LONGEST_QUOTE).collect::<String>() + "…";
    }
    let mut longest = 0;
    let mut run = 0;
    for character in text.chars() {
        run = if character == '`' { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    let fence = "`".repeat(longest + 1);
    let pad = if longest > 0 { " " } else { "" };
    if text.trim().is_empty() {
        "(nothing)".to_owned()
    } else {
        format!("{fence}{pad}{text}{pad}{fence}")
    }
}

fn cut(text: &str) -> String {
    if text.chars().count() <= LONGEST_DESCRIPTION {
        return text.to_owned();
    }
    text.chars().take(LONGEST_DESCRIPTION - 1).collect::<String>() + "…"
}

/// GitHub's times have whole seconds.
fn second(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_stays_within_its_code_span() {
        let cases = [
            ("plain", "`plain`"),
            ("a `b` c", "`` a `b` c ``"),
            ("``` @octocat", "```` ``` @octocat ````"),
            ("a | b", "`a \\| b`"),
            ("two\nlines", "`two[U+000A]lines`"),
            ("\u{202e}back", "`[U+202E]back`"),
            ("  ", "(nothing)"),
        ];
        for (text, span) in cases {
            assert_eq!(code(text), span);
        }
        assert_eq!(code(&"x".repeat(400)).chars().count(), LONGEST_QUOTE + 3);
    }

    #[test]
    fn descriptions_fit() {
        assert_eq!(cut(&"x".repeat(140)).chars().count(), 140);
        assert_eq!(cut(&"x".repeat(200)).chars().count(), 140);
    }
}
