//! One execution of a job: what it changes, and what became of it.

use serde_json::{Map, Value};

use crate::domain::approval::{Approval, Status};
use crate::domain::job::{Execution, JobExecution};
use crate::domain::rollout::RecordedCall;

use super::calls::{CallView, calls};
use super::difference::{Difference, difference};
use super::rollout::{AttestedView, attested, before_words};
use super::{Inert, Moment, Surroundings};

/// What the page shows of an execution alone.
pub struct JobView {
    pub project: String,
    pub region: String,
    pub job: String,
    pub image: Inert,
    pub execution: Inert,
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
}

/// The execution as it was recorded last.
pub struct SeenView {
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
            execution: Inert::new(&asked.execution),
            new_noun: None,
            difference: changes(asked),
            before_words: before_words(approval),
            unchanged_words: "Nothing. The job runs with exactly the settings that it has.",
            attestor: approval.policy.attestor.as_ref().map(|note| Inert::new(note.as_str())),
            attested: attested(approval, around),
            calls: calls(recorded, approval.status(), around),
            is_running: matches!(approval.status(), Status::Executing | Status::NeedsAttention),
            seen: approval.state.execution().map(|seen| SeenView::new(seen, around)),
        }
    }
}

impl SeenView {
    fn new(seen: &Execution, around: Surroundings<'_>) -> Self {
        let moment = |at| Moment::new(at, around.now);
        Self {
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
    format!("Run {job}{with} once in {environment}")
}
