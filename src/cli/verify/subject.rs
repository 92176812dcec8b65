//! What was asked for, in lines.

use super::{Lines, shares};
use crate::domain::action::Action;
use crate::domain::deployment::Deployment;
use crate::domain::job::JobExecution;
use crate::domain::policy::PolicyChange;
use crate::domain::rule_change::RuleChange;
use crate::domain::rulebook::rulebook_changes;
use crate::domain::workflow_run::WorkflowRun;

pub(super) fn describe_rollout(lines: &mut Lines, deployment: &Deployment) {
    lines.add("service", deployment.service.as_str());
    lines.add("image", &deployment.image.to_string());
    lines.add("revision", &deployment.plan.revision);
    for step in &deployment.plan.steps {
        lines.add("traffic", &format!("{} %: {}", step.percent, shares(&step.traffic)));
        for detail in step.details() {
            lines.add("then", &detail);
        }
    }
    let way_back = shares(&deployment.plan.rollback);
    lines.add("way back", if way_back.is_empty() { "none: the service is new" } else { &way_back });
    if !deployment.plan.rollback.is_empty() {
        lines.add("on failure", deployment.plan.on_failure.in_words());
        if let Some(before) = &deployment.after {
            lines.add("after", &format!("{before} has succeeded"));
        }
    }
}

pub(super) fn describe_job(lines: &mut Lines, execution: &JobExecution) {
    lines.add("job", execution.job.as_str());
    lines.add("image", &execution.image.to_string());
    let none = "none: the job is only updated, and nothing runs";
    lines.add("execution", execution.execution.as_deref().unwrap_or(none));
}

pub(super) fn describe_action(lines: &mut Lines, action: &Action) {
    lines.add("tool", &action.tool);
    for (name, value) in &action.arguments {
        lines.add("argument", &format!("{name}: {value}"));
    }
    let words = [("summary", &action.summary), ("effect", &action.effect), ("undo", &action.undo)];
    for (name, text) in words {
        if let Some(text) = text {
            lines.add(name, &format!("{text:?} (the requester's words)"));
        }
    }
}

pub(super) fn describe_rules(lines: &mut Lines, change: &RuleChange) {
    for PolicyChange { environment, effect, sentence } in
        rulebook_changes(&change.before, &change.after)
    {
        lines.add(effect.as_str(), &format!("{environment}: {sentence}"));
    }
    for (name, rules) in [("rules before", &change.before), ("rules after", &change.after)] {
        lines.add(name, &rules.digest().map(|digest| digest.to_string()).unwrap_or_default());
    }
}

pub(super) fn describe_run(lines: &mut Lines, run: &WorkflowRun) {
    lines.add("run", &format!("{}, attempt {}", run.run, run.attempt));
    lines.add("repository", &format!("{} ({})", run.repository.name, run.repository.id));
    lines.add("workflow", &run.workflow);
    lines.add("commit", &run.commit);
    lines.add("event", &run.event);
    for (name, account) in [("actor", &run.actor), ("started by", &run.triggering_actor)] {
        if let Some(account) = account {
            lines.add(name, &format!("{} ({})", account.login, account.id));
        }
    }
    lines.add("webhook", &format!("{} (the gate's own word)", run.delivery.id));
    lines.add("its digest", &run.delivery.body_digest.to_string());
}
