//! Everything that can go wrong at a write to Cloud Run, in pairs: failed and did not happen, failed
//! and happened all the same.
//!
//! Changes are in effect at once here, so that a rollout makes the same calls every time: before
//! each write and after each write the revision is read, then the service.

mod outside;

use jiff::SignedDuration;
use reqwest::Method;
use serde_json::{Value, json};

use countersign::cli::demo::approver::Approver;

use crate::support::cloud_run::{Signed, fault_at};
use crate::support::gate::{Engine, Gate, NEW_SERVICE, SERVICE, on_both_engines};

on_both_engines!(
    faults_at_the_revision,
    faults_at_the_first_step,
    faults_at_the_last_step,
    faults_at_a_restore,
    faults_at_a_new_service,
    refusals_are_final,
    an_earlier_attempt_may_still_arrive,
    what_hangs_is_given_up,
    a_revision_that_does_not_start_gets_no_traffic,
    reads_that_fail,
);

/// What every write must survive.
pub fn passing_faults() -> Vec<Value> {
    let status = |code| json!({"kind": "status", "code": code, "message": "Said Google."});
    let after = |code| json!({"kind": "status_after_effect", "code": code});
    let mut faults: Vec<Value> = [409, 412, 429, 500, 503, 504].map(status).into();
    faults.extend([500, 503, 504].map(after));
    faults.push(json!({"kind": "lost_reply"}));
    faults.push(json!({"kind": "delay", "milliseconds": 200}));
    faults.push(json!({"kind": "delay", "milliseconds": 200, "after": true}));
    faults
}

/// One of the writes of a rollout.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Write {
    Revision,
    /// The step with this index, of three.
    Step(u64),
    /// After the second step was refused.
    Restore,
    NewService,
}

impl Write {
    fn is_new_service(self) -> bool {
        self == Self::NewService
    }

    /// The fault at this write.
    fn fault(self, fault: Value) -> Value {
        match self {
            Self::Revision => fault_at("PATCH", SERVICE, 1, fault),
            Self::Step(index) => fault_at("PATCH", SERVICE, 2 + index, fault),
            Self::Restore => fault_at("PATCH", SERVICE, 4, fault),
            Self::NewService => fault_at("POST", "/services", 1, fault),
        }
    }
}

/// A gate, an approver, and what they did.
struct Scene {
    gate: Gate,
    alice: Approver,
}

/// A rollout that ended.
struct Ended {
    signed: Signed,
    approval: Value,
}

impl Ended {
    /// Asserts how it ended, and that the reason names its cause.
    fn assert(&self, status: &str, words: &str) {
        let sentence = self.approval["status_sentence"].as_str().unwrap();
        assert_eq!(self.approval["status"], status, "{sentence}");
        assert!(sentence.contains(words), "no \"{words}\" in: {sentence}");
    }
}

impl Scene {
    async fn new(engine: Engine) -> Self {
        let gate = Gate::start(engine).await;
        gate.ready_delay(0).await;
        let alice = gate.approver("alice").await;
        Self { gate, alice }
    }

    /// Asks for a rollout that comes to `write`, approves it under these faults and gives its id.
    async fn begin(&mut self, write: Write, faults: &[Value]) -> (String, Signed) {
        let changes = match write.is_new_service() {
            true => json!({"subject": {"service": NEW_SERVICE, "steps": [100]}}),
            false => json!({}),
        };
        let id = self.gate.asked(changes).await;
        let signed = self.gate.signed(&id).await;
        self.gate.clear_journal().await;
        if write == Write::Restore {
            let refused = json!({"kind": "status", "code": 400, "message": "No."});
            self.gate.fault(Write::Step(1).fault(refused)).await;
        }
        for fault in faults {
            self.gate.fault(fault.clone()).await;
        }
        assert_eq!(self.alice.approve(&id).await.unwrap()["status"], "approved");
        (id, signed)
    }

    async fn ended(&self, id: &str, signed: Signed) -> Ended {
        let approval = self.gate.ended(id).await;
        self.gate.no_faults().await;
        Ended { signed, approval }
    }

    /// A whole rollout under these faults.
    async fn rollout(&mut self, write: Write, faults: &[Value]) -> Ended {
        let (id, signed) = self.begin(write, faults).await;
        self.ended(&id, signed).await
    }

    /// Deletes the service that this gate created, so that it can be created once more.
    async fn delete(&self, service: &str) {
        self.gate.sandbox(Method::DELETE, &format!("/v2/{service}"), None).await;
    }

    async fn finish(self) {
        self.gate.finish().await;
    }
}

/// Every passing fault at one write: the rollout ends as it would have without.
async fn passes(engine: Engine, write: Write) {
    let mut scene = Scene::new(engine).await;
    for fault in passing_faults() {
        let ended = scene.rollout(write, &[write.fault(fault.clone())]).await;
        let signed = &ended.signed;
        let (status, writes) = match write {
            Write::Restore => {
                ("rolled_back", vec![signed.rollback(), signed.step(0), signed.rollback()])
            }
            Write::Revision | Write::Step(_) | Write::NewService => {
                ("succeeded", signed.whole_plan())
            }
        };
        assert_eq!(ended.approval["status"], status, "{fault}: {:#}", ended.approval);
        scene.gate.assert_writes(signed, &writes).await;
        if write.is_new_service() {
            scene.delete(NEW_SERVICE).await;
        }
    }
    scene.finish().await;
}

async fn faults_at_the_revision(engine: Engine) {
    passes(engine, Write::Revision).await;
}

async fn faults_at_the_first_step(engine: Engine) {
    passes(engine, Write::Step(0)).await;
}

async fn faults_at_the_last_step(engine: Engine) {
    passes(engine, Write::Step(2)).await;
}

async fn faults_at_a_restore(engine: Engine) {
    passes(engine, Write::Restore).await;
}

async fn faults_at_a_new_service(engine: Engine) {
    passes(engine, Write::NewService).await;
}

async fn refusals_are_final(engine: Engine) {
    let mut scene = Scene::new(engine).await;
    for code in [400, 403, 404] {
        let refused = json!({"kind": "status", "code": code, "message": "Said Google."});
        for (write, status) in [
            (Write::Revision, "failed"),
            (Write::Step(0), "rolled_back"),
            (Write::Step(2), "rolled_back"),
            (Write::Restore, "needs_attention"),
            (Write::NewService, "failed"),
        ] {
            let ended = scene.rollout(write, &[write.fault(refused.clone())]).await;
            ended.assert(status, "Said Google");
            let signed = &ended.signed;
            let writes = match write {
                Write::Revision | Write::NewService => vec![],
                Write::Step(0) => vec![signed.rollback()],
                Write::Step(_) => {
                    let steps = [signed.step(0), signed.step(1)];
                    [signed.rollback()]
                        .into_iter()
                        .chain(steps)
                        .chain([signed.rollback()])
                        .collect()
                }
                Write::Restore => vec![signed.rollback(), signed.step(0)],
            };
            scene.gate.assert_writes(signed, &writes).await;
            let told = scene.gate.journal().await;
            assert_eq!(
                told.iter()
                    .filter(|call| call["status"] == code
                        && call["method"] != "GET"
                        && call["response"]["error"]["message"] == "Said Google.")
                    .count(),
                1,
                "{code} {write:?}"
            );
        }
    }
    scene.finish().await;
}

async fn an_earlier_attempt_may_still_arrive(engine: Engine) {
    let mut scene = Scene::new(engine).await;
    for write in [Write::Revision, Write::NewService] {
        let unknown = json!({"kind": "status", "code": 504});
        let refused = json!({"kind": "status", "code": 403, "message": "Said Google."});
        let mut second = write.fault(refused);
        second["match"]["nth"] = json!(2);
        let ended = scene.rollout(write, &[write.fault(unknown), second]).await;
        ended.assert("needs_attention", "Said Google");
        ended.assert("needs_attention", "earlier attempt");
        scene.gate.assert_writes(&ended.signed, &[]).await;
    }
    scene.finish().await;
}

async fn what_hangs_is_given_up(engine: Engine) {
    let mut scene = Scene::new(engine).await;
    for (write, status, words) in [
        (Write::Revision, "rolled_back", "did not become ready in time"),
        (Write::Step(0), "rolled_back", "10 % did not take effect in time"),
        (Write::Step(2), "rolled_back", "100 % did not take effect in time"),
        (Write::Restore, "needs_attention", "does not serve again"),
        (Write::NewService, "failed", "nothing to go back to"),
    ] {
        scene.alice.sign_in("alice").await.unwrap();
        let stuck = json!({"kind": "stuck_reconciling"});
        let (id, signed) = scene.begin(write, &[write.fault(stuck)]).await;
        let service = if write.is_new_service() { NEW_SERVICE } else { SERVICE };
        scene
            .gate
            .until("the service hangs", async || {
                let shown = scene.gate.sandbox(Method::GET, &format!("/v2/{service}"), None).await;
                let journal = scene.gate.journal().await;
                let hit = journal.iter().any(|call| call["faults"] == json!(["stuck_reconciling"]));
                hit && shown["reconciling"] == true
            })
            .await;
        // Not before its time.
        scene.gate.servers.clock.shift(SignedDuration::from_mins(7));
        tokio::time::sleep(std::time::Duration::from_millis(400)).await;
        assert_eq!(scene.gate.approval(&id).await["status"], "executing", "{write:?}");
        scene.gate.servers.clock.shift(SignedDuration::from_mins(2));
        let ended = scene.ended(&id, signed).await;
        ended.assert(status, words);
        let signed = &ended.signed;
        let mut writes = match write {
            Write::Revision => vec![signed.rollback()],
            Write::Step(0) | Write::Restore => {
                vec![signed.rollback(), signed.step(0), signed.rollback()]
            }
            Write::Step(_) | Write::NewService => signed.whole_plan(),
        };
        if matches!(write, Write::Step(2)) {
            writes.push(signed.rollback());
        }
        scene.gate.assert_effects(signed, &writes).await;
    }
    scene.finish().await;
}

async fn a_revision_that_does_not_start_gets_no_traffic(engine: Engine) {
    let mut scene = Scene::new(engine).await;
    let fails = json!({"kind": "revision_fails", "message": "It crashed at once."});
    let ended = scene.rollout(Write::Revision, &[Write::Revision.fault(fails.clone())]).await;
    ended.assert("rolled_back", "It crashed at once");
    ended.assert("rolled_back", "no traffic was moved");
    scene.gate.assert_writes(&ended.signed, &[ended.signed.rollback()]).await;
    let ended = scene.rollout(Write::NewService, &[Write::NewService.fault(fails)]).await;
    ended.assert("failed", "It crashed at once");
    scene.gate.assert_writes(&ended.signed, &ended.signed.whole_plan()).await;
    // The next one makes it good, though the service is not ready when it is asked for.
    let ended = scene.rollout(Write::Revision, &[]).await;
    ended.assert("succeeded", "");
    scene.finish().await;
}

async fn reads_that_fail(engine: Engine) {
    let mut scene = Scene::new(engine).await;
    // Every read of a rollout, one after the other, fails in every way once: it goes on.
    for fault in [
        json!({"kind": "status", "code": 500}),
        json!({"kind": "status", "code": 429}),
        json!({"kind": "lost_reply"}),
    ] {
        let faults: Vec<Value> = [1, 4, 7, 10, 13, 16, 19, 22]
            .map(|nth| fault_at("GET", SERVICE, nth, fault.clone()))
            .into();
        let ended = scene.rollout(Write::Revision, &faults).await;
        ended.assert("succeeded", "");
        scene.gate.assert_writes(&ended.signed, &ended.signed.whole_plan()).await;
    }
    let forbidden = json!({"kind": "status", "code": 403, "message": "Said Google."});
    let first = fault_at("GET", SERVICE, 1, forbidden.clone());
    scene.rollout(Write::Revision, &[first]).await.assert("failed", "Said Google");
    let third = fault_at("GET", SERVICE, 6, forbidden);
    scene.rollout(Write::Revision, &[third]).await.assert("needs_attention", "Said Google");
    scene.finish().await;
}
