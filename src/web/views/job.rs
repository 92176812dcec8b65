//! One execution of a job, or a change of it alone: what it changes, and what became of it.

use serde_json::{Map, Value};

use crate::domain::approval::{Approval, Status};
use crate::domain::job::{Execution, JobExecution, Updated};
use crate::domain::rollout::RecordedCall;

use super::calls::{CallView, calls};
use super::difference::{Difference, difference};
use super::rollout::{AttestedView, attested, before_words};
use super::{Inert, Moment, Surroundings};

const NOT_STARTED: &str = "The job does not start yet if you approve: others have to sign as well.";
const NOT_UPDATED: &str = "The job is not updated yet if you approve: others have to sign as well.";

/// What the page shows of a job alone.
pub struct JobView {
    pub project: String,
    pub region: String,
    pub job: String,
    pub image: Inert,
    /// The execution's name; none where nothing runs.
    pub execution: Option<Inert>,
    pub new_noun: Option<&'static str>,
    pub difference: Difference,
    pub before_words: &'static str,
    pub unchanged_words: &'static str,
    pub attestor: Option<Inert>,
    pub attested: Option<AttestedView>,
    pub calls: Vec<CallView>,
    /// While it is under way, what becomes of it comes first.
    pub is_running: bool,
    pub seen: Option<SeenView>,
    pub updated: Option<UpdatedView>,
}

/// The job as it was seen after a change that runs nothing.
pub struct UpdatedView {
    pub generation: i64,
    pub observed: Moment,
}

/// The execution as it was recorded last.
pub struct SeenView {
    pub name: Inert,
    pub tasks: String,
    pub started: Option<Moment>,
    pub completed: Option<Moment>,
    pub observed: Moment,
}

impl JobView {
    pub(super) fn new(
        approval: &Approval,
        asked: &JobExecution,
        recorded: &[RecordedCall],
        around: Surroundings<'_>,
    ) -> Self {
        Self {
            project: asked.job.project().to_owned(),
            region: asked.job.location().to_owned(),
            job: asked.job.job().to_owned(),
            image: Inert::new(&asked.image.to_string()),
            execution: asked.execution.as_deref().map(Inert::new),
            new_noun: None,
            difference: changes(asked),
            before_words: before_words(approval),
            unchanged_words: match asked.execution {
                Some(_) => "Nothing. The job runs with exactly the settings that it has.",
                None => {
                    "Nothing. The job keeps exactly the settings that it has, and does not run."
                }
            },
            attestor: approval.policy.attestor.as_ref().map(|note| Inert::new(note.as_str())),
            attested: attested(approval, around),
            calls: calls(recorded, approval.status(), around),
            is_running: matches!(approval.status(), Status::Executing | Status::NeedsAttention),
            seen: approval.state.execution().map(|seen| SeenView::new(seen, around)),
            updated: approval.state.updated().map(|seen| UpdatedView::new(seen, around)),
        }
    }
}

impl UpdatedView {
    fn new(seen: &Updated, around: Surroundings<'_>) -> Self {
        Self { generation: seen.generation, observed: Moment::new(seen.observed_at, around.now) }
    }
}

impl SeenView {
    fn new(seen: &Execution, around: Surroundings<'_>) -> Self {
        let moment = |at| Moment::new(at, around.now);
        Self {
            name: Inert::new(&seen.name),
            tasks: match seen.completed_at {
                Some(_) => seen.in_words(),
                None => format!("running: {}", seen.in_words()),
            },
            started: seen.started_at.map(moment),
            completed: seen.completed_at.map(moment),
            observed: moment(seen.observed_at),
        }
    }
}

/// The settings that change: those of the tasks and those of their execution beside each other, so that a
/// container of a job reads as one of a service does.
fn changes(asked: &JobExecution) -> Difference {
    let running = beside_each_other(&asked.preconditions.running);
    difference(Some(&running), &beside_each_other(&asked.proposed))
}

fn beside_each_other(template: &Value) -> Value {
    let empty = Map::new();
    let members = template.as_object().unwrap_or(&empty);
    let task = members.get("template").and_then(Value::as_object).unwrap_or(&empty);
    let others = members.iter().filter(|(name, _)| *name != "template");
    let named = |(name, value): (&String, &Value)| {
        // A service's timeout is that of a request.
        let name = if name == "timeout" { "taskTimeout" } else { name };
        (name.to_owned(), value.clone())
    };
    task.iter().chain(others).map(named).collect()
}

/// What happens where, in one line.
pub(super) fn headline(asked: &JobExecution) -> String {
    let (job, environment) = (asked.job.job(), &asked.environment);
    let changes = changes(asked).changes;
    let with = if changes.iter().any(|change| change.label.words == "Container image") {
        " with a new image"
    } else if changes.is_empty() {
        ", unchanged,"
    } else {
        " with other settings"
    };
    match asked.execution {
        Some(_) => format!("Run {job}{with} once in {environment}"),
        None => {
            let with = with.trim_end_matches(',');
            format!("Update {job}{with} in {environment}, and run nothing")
        }
    }
}

/// What an approval that is complete leads to, and what it does not as long as others have to sign.
pub(super) fn next_words(asked: &JobExecution, is_held: bool) -> [&'static str; 2] {
    match (&asked.execution, is_held) {
        (Some(_), true) => [
            "Your approval is the last that is needed: the job starts by itself as soon as nothing holds it any more.",
            NOT_STARTED,
        ],
        (Some(_), false) => [
            "Your approval is the last that is needed: the job starts right after it, by itself.",
            NOT_STARTED,
        ],
        (None, true) => [
            "Your approval is the last that is needed: the job is updated by itself as soon as nothing holds that any more. Nothing runs.",
            NOT_UPDATED,
        ],
        (None, false) => [
            "Your approval is the last that is needed: the job is updated right after it, by itself. Nothing runs.",
            NOT_UPDATED,
        ],
    }
}
