//! The gate is killed at a named moment and started again: it goes on by itself, and what was signed
//! takes effect exactly once.
//!
//! With changes that are in effect at once, a rollout makes the same calls every time, so the nth
//! call of a kind names a moment: it is held at the sandbox, and the process is killed.

mod between;
mod jobs;

use std::time::Duration;

use countersign::domain::rollout::recorded_calls;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::cloud_run::{FOR_EVER, fault_at};
use crate::support::gate::{Engine, Gate, NEW_SERVICE};
use crate::support::process::{GateProcess, free_port};

/// Declares each named moment as a test on SQLite and on PostgreSQL.
macro_rules! killed {
    ($($name:ident: $crash:expr;)*) => {
        mod killed_on_sqlite {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                goes_on_after(Engine::Sqlite, $crash).await;
            })*
        }
        mod killed_on_postgres {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                goes_on_after(Engine::Postgres, $crash).await;
            })*
        }
    };
}

killed! {
    as_soon_as_the_decision_is_answered: Plain.killed(Answered);
    reading_the_revision_first: Plain.killed(Reading(1));
    reading_the_service_first: Plain.killed(Reading(2));
    the_revision_is_made_and_not_recorded: Plain.killed(Reading(4));
    the_revision_is_recorded: Plain.killed(Reading(6));
    the_first_step_serves_and_is_not_recorded: Plain.killed(Reading(8));
    the_first_step_is_recorded: Plain.killed(Reading(10));
    the_second_step_serves_and_is_not_recorded: Plain.killed(Reading(12));
    the_second_step_is_recorded: Plain.killed(Reading(14));
    the_last_step_serves_and_is_not_recorded: Plain.killed(Reading(16));
    all_is_recorded_and_the_end_is_not: Plain.killed(Reading(18));

    the_revision_is_sent_and_lost: Plain.killed(Lost(1));
    the_first_step_is_sent_and_lost: Plain.killed(Lost(2));
    the_second_step_is_sent_and_lost: Plain.killed(Lost(3));
    the_last_step_is_sent_and_lost: Plain.killed(Lost(4));

    the_revision_is_sent_and_arrives_late: Plain.killed(Late(1));
    the_first_step_is_sent_and_arrives_late: Plain.killed(Late(2));
    the_second_step_is_sent_and_arrives_late: Plain.killed(Late(3));
    the_last_step_is_sent_and_arrives_late: Plain.killed(Late(4));

    the_revision_is_made_and_not_answered: Plain.killed(Unanswered(1));
    the_first_step_is_made_and_not_answered: Plain.killed(Unanswered(2));
    the_second_step_is_made_and_not_answered: Plain.killed(Unanswered(3));
    the_last_step_is_made_and_not_answered: Plain.killed(Unanswered(4));

    the_revision_is_reconciling: Plain.killed(Reconciling(1));
    the_first_step_is_reconciling: Plain.killed(Reconciling(2));
    the_last_step_is_reconciling: Plain.killed(Reconciling(4));

    the_revision_failed_and_is_not_recorded: RevisionFails.killed(Reading(4));
    a_step_is_refused_and_the_restore_not_begun: StepRefused.killed(Reading(12));
    the_restore_is_sent_and_lost: StepRefused.killed(Lost(4));
    the_restore_is_sent_and_arrives_late: StepRefused.killed(Late(4));
    the_restore_is_made_and_not_answered: StepRefused.killed(Unanswered(4));
    the_restore_is_reconciling: StepRefused.killed(Reconciling(4));
    the_restore_serves_and_the_end_is_not_recorded: StepRefused.killed(Reading(14));

    a_signed_restore_is_sent_and_lost: Stopped.killed(Lost(3));
    a_signed_restore_is_sent_and_arrives_late: Stopped.killed(Late(3));
    a_signed_restore_is_made_and_not_answered: Stopped.killed(Unanswered(3));

    a_step_is_watched: Watched.killed(Serving);
    a_step_waits_for_people: Paused.killed(Serving);
    going_on_was_just_signed: Paused.killed(WentOn);
    a_step_after_the_pause_is_sent_and_lost: Paused.killed(Lost(3));
    a_step_after_the_watch_is_made_and_not_answered: Watched.killed(Unanswered(3));

    the_new_service_is_read: NewService.killed(Reading(2));
    the_new_service_is_sent_and_lost: NewService.killed(Lost(1));
    the_new_service_is_sent_and_arrives_late: NewService.killed(Late(1));
    the_new_service_is_sent_and_arrives_during_the_next_attempt: NewService.killed(Crossing(1));
    the_new_service_is_made_and_not_answered: NewService.killed(Unanswered(1));
    the_new_service_is_reconciling: NewService.killed(Reconciling(1));
    the_new_service_serves_and_is_not_recorded: NewService.killed(Reading(4));
}

use Moment::*;
use Rollout::*;

/// When the process is killed. Numbers count the calls of the rollout from 1.
#[derive(Clone, Copy)]
enum Moment {
    /// The approver just got the answer to the decision.
    Answered,
    /// The nth read does not come back.
    Reading(u64),
    /// The nth write was sent and never arrives.
    Lost(u64),
    /// The nth write was sent and arrives when the next process has long looked.
    Late(u64),
    /// The nth write was sent and arrives while the next process makes its own attempt.
    Crossing(u64),
    /// The nth write took effect, and its answer did not come yet.
    Unanswered(u64),
    /// The nth write was answered, and Cloud Run is putting it into effect.
    Reconciling(u64),
    /// The first step serves, and nothing is to be done for now.
    Serving,
    /// An approver just signed that it goes on after the first step.
    WentOn,
}

/// How the rollout would go by itself.
#[derive(Clone, Copy)]
enum Rollout {
    /// The revision and three steps.
    Plain,
    /// The revision does not start.
    RevisionFails,
    /// The second step is refused, and the first is undone.
    StepRefused,
    /// An approver stops it while the first step is watched.
    Stopped,
    /// The first step is watched for a while.
    Watched,
    /// After the first step somebody has to sign that it goes on.
    Paused,
    /// A service that does not exist is created.
    NewService,
}

/// How long [`Watched`] watches its first step.
const WATCH_SECONDS: i64 = 3;

struct Crash {
    rollout: Rollout,
    moment: Moment,
}

impl Rollout {
    fn killed(self, moment: Moment) -> Crash {
        Crash { rollout: self, moment }
    }

    fn changes(self) -> Value {
        match self {
            NewService => json!({"subject": {"service": NEW_SERVICE, "steps": [100]}}),
            Stopped => json!({"subject": {"steps": [{"percent": 10, "bake": "1h"}, 100]}}),
            Watched => {
                let bake = format!("{WATCH_SECONDS}s");
                json!({"subject": {"steps": [{"percent": 10, "bake": bake}, 100]}})
            }
            Paused => json!({"subject": {"steps": [{"percent": 10, "pause": true}, 100]}}),
            Plain | RevisionFails | StepRefused => json!({}),
        }
    }

    /// The method and the path of its writes.
    fn write(self) -> (&'static str, &'static str) {
        match self {
            NewService => ("POST", "/services"),
            Plain | RevisionFails | StepRefused | Stopped | Watched | Paused => {
                ("PATCH", "/services/web")
            }
        }
    }

    fn faults(self) -> Option<Value> {
        let refused = json!({"kind": "status", "code": 400, "message": "No."});
        match self {
            Plain | NewService | Stopped | Watched | Paused => None,
            RevisionFails => Some(fault_at("PATCH", "", 1, json!({"kind": "revision_fails"}))),
            StepRefused => Some(fault_at("PATCH", "", 3, refused)),
        }
    }
}

impl Moment {
    /// What holds the process at this moment.
    fn fault(self, (method, path): (&str, &str)) -> Option<Value> {
        let delay = |milliseconds| json!({"kind": "delay", "milliseconds": milliseconds});
        let unanswered = json!({"kind": "delay", "milliseconds": 3000, "after": true});
        match self {
            Answered | Reconciling(_) | Serving | WentOn => None,
            Reading(nth) => Some(fault_at("GET", "/services/", nth, delay(FOR_EVER))),
            Lost(nth) => Some(fault_at(method, path, nth, delay(FOR_EVER))),
            Late(nth) => Some(fault_at(method, path, nth, delay(4000))),
            Crossing(nth) => Some(fault_at(method, path, nth, delay(3000))),
            Unanswered(nth) => Some(fault_at(method, path, nth, unanswered)),
        }
    }
}

/// The whole story of one crash.
async fn goes_on_after(engine: Engine, Crash { rollout, moment }: Crash) {
    let (gate, mut process) = gate_and_process(engine).await;
    let mut alice = gate.approver("alice").await;
    let id = gate.asked(rollout.changes()).await;
    let signed = gate.signed(&id).await;
    gate.clear_journal().await;
    if let Some(fault) = rollout.faults() {
        gate.fault(fault).await;
    }
    let held = match moment.fault(rollout.write()) {
        Some(fault) => Some(gate.fault(fault).await),
        None => None,
    };
    let is_slow = matches!(moment, Reconciling(_));
    gate.ready_delay(if is_slow { 1500 } else { 0 }).await;

    assert_eq!(alice.approve(&id).await.unwrap()["status"], "approved");
    let served = async || gate.approval(&id).await["rollout"]["steps_done"] == 1;
    if matches!(rollout, Stopped | Paused) || matches!(moment, Serving) {
        gate.until("the step serves", served).await;
    }
    let go_on = json!({"act": "go_on"});
    match (rollout, moment) {
        (Stopped, _) => {
            alice.intervene(&id, &json!({"act": "restore"})).await.unwrap();
        }
        (Paused, WentOn | Lost(_)) => {
            alice.intervene(&id, &go_on).await.unwrap();
        }
        _ => {}
    }
    if let Some(held) = held {
        gate.until_hit(held).await;
    }
    match moment {
        Unanswered(_) => until_in_effect(&gate, rollout).await,
        Reconciling(nth) => until_answered(&gate, nth).await,
        _ => {}
    }
    process.kill().await;
    if let Crossing(nth) = moment {
        let (method, path) = rollout.write();
        let slower = json!({"kind": "delay", "milliseconds": 4000});
        gate.fault(fault_at(method, path, nth, slower)).await;
    }
    gate.ready_delay(0).await;
    end_leases(&gate, engine).await;
    process.start_again().await;
    if let (Paused, Serving) = (rollout, moment) {
        // It still waits for people, and for nobody else.
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(served().await);
        assert_eq!(gate.effective_writes().await, [signed.rollback(), signed.step(0)]);
        alice.intervene(&id, &go_on).await.unwrap();
    }

    let ended = gate.ended(&id).await;
    if matches!(moment, Late(_) | Crossing(_) | Unanswered(_)) {
        gate.until("every call is answered", async || {
            gate.journal().await.iter().all(|call| call["status"].is_u64())
        })
        .await;
    }
    let whole = signed.whole_plan();
    let (status, writes) = match rollout {
        Plain | NewService | Watched | Paused => ("succeeded", whole),
        RevisionFails => ("rolled_back", vec![signed.rollback()]),
        StepRefused | Stopped => {
            ("rolled_back", vec![signed.rollback(), signed.step(0), signed.rollback()])
        }
    };
    assert_eq!(ended["status"], status, "{ended:#}");
    assert_eq!(ended["decisions"].as_array().unwrap().len(), 1);
    gate.assert_writes(&signed, &writes).await;
    if let Watched = rollout {
        assert_watched(&gate).await;
    }
    assert_calls_are_told(&gate, &id, moment).await;
    process.end().await;
    gate.finish().await;
}

/// The crash did not shorten the time for which the first step was watched: the second write is that of the
/// first step.
async fn assert_watched(gate: &Gate) {
    let writes = gate.calls("PATCH", "/services/web").await;
    let at = |call: &Value| call["time"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let between = at(&writes[2]).duration_since(at(&writes[1]));
    assert!(between.as_secs() >= WATCH_SECONDS, "{between:#}");
}

/// The evidence tells every call, and of the one that the process did not survive, that nothing is known.
async fn assert_calls_are_told(gate: &Gate, id: &str, moment: Moment) {
    let calls = recorded_calls(gate.proved(id).await.records());
    let unanswered = calls.iter().filter(|call| call.answer.is_none()).count();
    let expected = match moment {
        Answered | Reading(_) | Serving | WentOn => 0..=0,
        // Killed right after the answer: before or after it was written down.
        Reconciling(_) => 0..=1,
        Lost(_) | Late(_) | Crossing(_) | Unanswered(_) => 1..=1,
    };
    assert!(expected.contains(&unanswered), "{calls:#?}");
}

/// The surroundings, and the gate in a process of its own.
async fn gate_and_process(engine: Engine) -> (Gate, GateProcess) {
    let gate = Gate::around(engine, free_port()).await;
    let process = GateProcess::start(&gate).await;
    (gate, process)
}

/// Waits until the write that is held without an answer took effect: it is one more than those that
/// were answered.
async fn until_in_effect(gate: &Gate, rollout: Rollout) {
    let (before, service) = match rollout {
        NewService => (0, NEW_SERVICE),
        Plain | RevisionFails | StepRefused | Stopped | Watched | Paused => {
            (1, crate::support::gate::SERVICE)
        }
    };
    let writes = gate.journal().await;
    let answered = writes.iter().filter(|call| call["method"] != "GET" && call["status"] == 200);
    let generation = (before + answered.count() + 1).to_string();
    gate.until("the write takes effect", async || {
        let shown = gate.sandbox(Method::GET, &format!("/v2/{service}"), None).await;
        shown["generation"] == generation.as_str()
    })
    .await;
}

/// Waits until the nth write was answered.
async fn until_answered(gate: &Gate, nth: u64) {
    gate.until("the write is answered", async || {
        let calls = gate.journal().await;
        let answered =
            calls.iter().filter(|call| call["method"] != "GET" && call["status"].is_u64());
        answered.count() as u64 >= nth
    })
    .await;
}

/// Lets the leases of a dead process be over. On PostgreSQL they last half a minute, which
/// `instances` waits for; on SQLite the next process ends them itself.
async fn end_leases(gate: &Gate, engine: Engine) {
    use sqlx::{Connection, Executor};
    if engine == Engine::Postgres {
        let url = gate.servers.files.folder.join("database-url");
        let url = std::fs::read_to_string(url).unwrap();
        let mut connection = sqlx::PgConnection::connect(url.trim()).await.unwrap();
        connection
            .execute("UPDATE jobs SET lease_until = 1 WHERE lease_until IS NOT NULL")
            .await
            .unwrap();
    }
}
