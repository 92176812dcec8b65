//! The sentences of a job: of its execution, or of a change of it that runs nothing.

use super::{Words, clause};
use crate::domain::job::{Execution, JobExecution};
use crate::domain::rollout::Progress;

/// How one is spoken of.
pub(super) fn words(asked: &JobExecution) -> Words {
    match asked.execution {
        Some(_) => Words {
            not_begun: "the job was not started",
            missed: "The job was not started",
            held: "the job",
        },
        None => Words {
            not_begun: "the job was not updated",
            missed: "The job was not updated",
            held: "the update of the job",
        },
    }
}

/// Everybody has signed.
pub(super) fn approved(asked: &JobExecution) -> String {
    let does = match asked.execution {
        Some(_) => "starts the job by itself",
        None => "updates the job by itself and runs nothing",
    };
    format!("Everybody who has to sign has signed. The gate {does}; nobody has to do anything.")
}

/// While it runs or is updated, or is about to.
pub(super) fn executing(asked: &JobExecution, progress: &Progress) -> String {
    let job = asked.job.job();
    match (&asked.execution, &progress.execution) {
        (Some(name), Some(_)) => format!(
            "{job} runs as the execution {name}, and the gate looks until it ends. Nobody has to do \
             anything."
        ),
        (Some(name), None) => {
            format!(
                "The gate is starting {job} as the execution {name}. Nobody has to do anything."
            )
        }
        (None, _) => {
            format!("The gate is updating {job}, and runs nothing. Nobody has to do anything.")
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

/// It was updated.
pub(super) fn updated(job: &str) -> String {
    format!("{job} has exactly what was signed, and nothing ran. Nothing is left to do.")
}

/// It did not start or was not updated, or did not end well.
pub(super) fn failed(asked: &JobExecution, reason: &str, requester: &str) -> String {
    let what = if asked.execution.is_some() { "The job" } else { "The update of the job" };
    format!("{what} failed: {}. {requester} has to remove the cause and ask again.", clause(reason))
}
