//! What the gate did to Cloud Run, read from the sandbox's journal, and faults to do it under.

use std::collections::BTreeSet;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::gate::Gate;

/// Longer than any test: a call that is held for so long never arrives.
pub const FOR_EVER: u64 = 3_600_000;

/// Revisions and their shares.
pub type Shares = BTreeSet<(String, u64)>;

/// A fault for the nth call of this method from now on whose path contains `path`.
pub fn fault_at(method: &str, path: &str, nth: u64, fault: Value) -> Value {
    json!({"match": {"method": method, "path": path, "nth": nth}, "fault": fault})
}

/// What was signed.
pub struct Signed {
    deployment: Value,
}

impl Signed {
    pub fn revision(&self) -> &str {
        self.deployment["plan"]["revision"].as_str().unwrap()
    }

    /// The shares that are restored.
    pub fn rollback(&self) -> Shares {
        shares(&self.deployment["plan"]["rollback"])
    }

    /// The shares of a step.
    pub fn step(&self, index: usize) -> Shares {
        shares(&self.deployment["plan"]["steps"][index]["traffic"])
    }

    /// The writes of a rollout that goes through: the revision, then each step.
    pub fn whole_plan(&self) -> Vec<Shares> {
        let steps = self.deployment["plan"]["steps"].as_array().unwrap();
        let steps = steps.iter().map(|step| shares(&step["traffic"]));
        let is_new = self.rollback().is_empty();
        if is_new { steps.collect() } else { [self.rollback()].into_iter().chain(steps).collect() }
    }
}

/// Shares by revision, without those of nothing.
fn shares(targets: &Value) -> Shares {
    let targets = targets.as_array().map(Vec::as_slice).unwrap_or_default();
    let share = |target: &Value| {
        let percent = target["percent"].as_u64().unwrap_or(0);
        (target["revision"].as_str().unwrap_or_default().to_owned(), percent)
    };
    targets.iter().map(share).filter(|(_, percent)| *percent > 0).collect()
}

/// The shares that a write asks for: of the traffic of a service, or of the instances of a worker pool.
fn asked(request: &Value) -> Shares {
    shares(request.get("instanceSplits").unwrap_or(&request["traffic"]))
}

/// The shares that a service or a worker pool serves; the latest revision by its name.
fn served(service: &Value) -> Shares {
    let latest = service["latestReadyRevision"].as_str().unwrap_or_default();
    let latest = latest.rsplit('/').next().unwrap_or_default();
    let named = |(revision, percent): (String, u64)| {
        (if revision.is_empty() { latest.to_owned() } else { revision }, percent)
    };
    let statuses = service.get("instanceSplitStatuses").unwrap_or(&service["trafficStatuses"]);
    shares(statuses).into_iter().map(named).collect()
}

fn is_write(call: &Value) -> bool {
    call["method"] == "PATCH" || call["method"] == "POST"
}

fn is_read_of_service(call: &Value) -> bool {
    call["method"] == "GET" && !call["path"].as_str().unwrap().contains("/revisions/")
}

impl Gate {
    /// Adds a fault and gives its number.
    pub async fn fault(&self, rule: Value) -> u64 {
        let added = self.sandbox(Method::POST, "/_sandbox/faults", Some(rule)).await;
        added["id"].as_u64().unwrap_or_else(|| panic!("{added}"))
    }

    /// Holds the nth call from now on of this method for a service, until the faults end.
    pub async fn hold(&self, method: &str, nth: u64) -> u64 {
        self.fault(fault_at(method, "/services/", nth, json!({"kind": "hold"}))).await
    }

    /// Ends all faults, and lets go of the calls that are held.
    pub async fn no_faults(&self) {
        self.sandbox(Method::DELETE, "/_sandbox/faults", None).await;
    }

    /// How long a change takes until it is in effect, from now on.
    pub async fn ready_delay(&self, milliseconds: u64) {
        let delay = json!({"milliseconds": milliseconds});
        self.sandbox(Method::POST, "/_sandbox/ready-delay", Some(delay)).await;
    }

    /// Waits until a fault hit a call.
    pub async fn until_hit(&self, id: u64) {
        self.until("the fault hits", async || {
            let faults = self.sandbox(Method::GET, "/_sandbox/faults", None).await;
            let mut faults = faults["faults"].as_array().unwrap().iter();
            faults.any(|fault| fault["id"] == id && fault["hits"] != 0)
        })
        .await;
    }

    /// Waits until something holds.
    pub async fn until(&self, what: &str, holds: impl AsyncFn() -> bool) {
        for _ in 0..4000 {
            if holds().await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{what}: not within 40 seconds");
    }

    /// The calls to Cloud Run since the journal was cleared, in the order of arrival.
    pub async fn journal(&self) -> Vec<Value> {
        let journal = self.sandbox(Method::GET, "/_sandbox/journal?path=/v2/", None).await;
        journal["calls"].as_array().unwrap().clone()
    }

    pub async fn clear_journal(&self) {
        self.sandbox(Method::DELETE, "/_sandbox/journal", None).await;
    }

    /// What the approval's deployment says.
    pub async fn signed(&self, id: &str) -> Signed {
        let evidence = self.get(&format!("/v1/approvals/{id}/evidence")).await.body;
        let text = evidence["deployment"].as_str().unwrap_or_else(|| panic!("{evidence:#}"));
        Signed { deployment: serde_json::from_str(text).unwrap() }
    }

    /// What each write that took effect asked for.
    pub async fn effective_writes(&self) -> Vec<Shares> {
        let journal = self.journal().await;
        let effective = journal.iter().filter(|call| is_write(call) && took_effect(call));
        effective.map(|call| asked(&call["request"])).collect()
    }

    /// Asserts that the writes which took effect are exactly these, in this order, and that nothing
    /// served that was not signed; that each write was made on what the gate had just read.
    pub async fn assert_writes(&self, signed: &Signed, expected: &[Shares]) {
        self.assert_effects(signed, expected).await;
        assert_observed_first(&self.journal().await);
    }

    /// The same where several gates write, one of which may be late: what it read does not hold any
    /// more, and Cloud Run refuses it.
    pub async fn assert_effects(&self, signed: &Signed, expected: &[Shares]) {
        let journal = self.journal().await;
        assert_eq!(self.effective_writes().await, expected, "{:#?}", outline(&journal));
        let patches = journal.iter().filter(|call| call["method"] == "PATCH" && took_effect(call));
        let etags: BTreeSet<&str> =
            patches.clone().map(|call| call["request"]["etag"].as_str().unwrap()).collect();
        assert_eq!(etags.len(), patches.count(), "an etag was used twice");
        let mut allowed = signed.whole_plan();
        allowed.extend([signed.rollback(), Shares::new()]);
        for call in journal.iter().filter(|call| is_read_of_service(call) && took_effect(call)) {
            let served = served(&call["response"]);
            assert!(
                allowed.contains(&served),
                "nobody signed {served:?}: {:#?}",
                outline(&journal)
            );
        }
    }
}

/// Whether the sandbox carried a call out, whatever its caller was told.
fn took_effect(call: &Value) -> bool {
    let faults = call["faults"].as_array().unwrap();
    call["status"] == 200 || faults.iter().any(|fault| fault == "status_after_effect")
}

/// Before each write the service was read, and the write is conditional on what was read last: no
/// write is a repetition in the dark.
fn assert_observed_first(journal: &[Value]) {
    for (position, call) in journal.iter().enumerate().filter(|(_, call)| is_write(call)) {
        let read = journal[..position].iter().rev().take_while(|before| !is_write(before));
        let read = read.filter(|before| before["status"].is_u64()).find(|c| is_read_of_service(c));
        let read = read.unwrap_or_else(|| panic!("a blind write: {:#?}", outline(journal)));
        if call["method"] == "PATCH" {
            assert_eq!(
                call["request"]["etag"],
                read["response"]["etag"],
                "{:#?}",
                outline(journal)
            );
        } else {
            assert_eq!(read["status"], 404, "{:#?}", outline(journal));
        }
    }
}

/// The journal in a line for each call.
fn outline(journal: &[Value]) -> Vec<String> {
    let line = |call: &Value| {
        let path = call["path"].as_str().unwrap_or_default();
        let path = path.split("/europe-west1").nth(1).unwrap_or(path);
        let (status, faults) = (&call["status"], &call["faults"]);
        let asked = asked(&call["request"]);
        let served = served(&call["response"]);
        format!("{} {path} {status} {faults} asked {asked:?} served {served:?}", call["method"])
    };
    journal.iter().map(line).collect()
}
