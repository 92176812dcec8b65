//! The sentences of a job's execution.

use super::clause;
use crate::domain::job::{Execution, JobExecution};
use crate::domain::rollout::Progress;

/// While it runs, or is about to.
pub(super) fn executing(asked: &JobExecution, progress: &Progress) -> String {
    let (job, name) = (asked.job.job(), &asked.execution);
    match &progress.execution {
        Some(_) => format!(
            "{job} runs as the execution {name}, and the gate looks until it ends. Nobody has to do \
             anything."
        ),
        None => {
            format!(
                "The gate is starting {job} as the execution {name}. Nobody has to do anything."
            )
        }
    }
}

/// It ran, and ended well.
pub(super) fn succeeded(execution: &Execution) -> String {
    format!(
        "It ran once, exactly as signed, as the execution {}: {}. Nothing is left to do.",
        execution.name,
        execution.in_words()
    )
}

/// It did not start, or did not end well.
pub(super) fn failed(reason: &str, requester: &str) -> String {
    format!(
        "The job failed: {}. {requester} has to remove the cause and ask again.",
        clause(reason)
    )
}
