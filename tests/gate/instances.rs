//! Several gates on one PostgreSQL: any of them can finish what another began, and each signed step
//! takes effect once whatever happens to them.

use std::time::{Duration, Instant};

use countersign::cli::demo::approver::Approver;
use countersign::randomness;
use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::balancer::Balancer;
use crate::support::cloud_run::{FOR_EVER, fault_at};
use crate::support::gate::{Answer, Engine, Gate, on_both_engines, send};
use crate::support::process::{GateProcess, free_port};

on_both_engines!(a_shutdown_answers_waiters_at_once, a_shutdown_ends_in_the_middle_of_a_call);

/// How long a lease lasts that nobody keeps: half a minute, and what it takes to notice.
const LEASE_OVER: Duration = Duration::from_secs(33);

/// Some gates behind a balancer.
pub struct Fleet {
    pub gate: Gate,
    balancer: Balancer,
    pub instances: Vec<GateProcess>,
}

impl Fleet {
    pub async fn of(size: usize) -> Self {
        Self::configured(size, |config| config).await
    }

    /// The same with another configuration.
    pub async fn configured(size: usize, edit: impl FnOnce(String) -> String) -> Self {
        let port = free_port();
        let gate = Gate::around(Engine::Postgres, port).await;
        gate.servers.files.edit_config(edit).unwrap();
        let mut instances = vec![GateProcess::start_another(&gate).await];
        for index in 1..size {
            instances.push(match index % 2 {
                0 => GateProcess::start_another(&gate).await,
                _ => GateProcess::start_beside(&gate).await,
            });
        }
        let balancer = Balancer::start(port, &instances[0].address).await;
        Self { gate, balancer, instances }
    }

    /// Sends browsers and pipelines to this instance from now on.
    pub async fn choose(&self, index: usize) {
        self.balancer.choose(&self.instances[index].address).await;
    }

    /// Reads a path of the API at one instance.
    pub async fn get_at(&self, index: usize, path: &str) -> Answer {
        let token = self.gate.token(json!({})).await;
        let url = format!("{}{path}", self.instances[index].address);
        send(self.gate.http.get(url).bearer_auth(token)).await
    }

    pub async fn finish(self) {
        join_all(self.instances.into_iter().map(GateProcess::end)).await;
        self.gate.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_releases_waiters_of_every_instance() {
    let fleet = Fleet::of(3).await;
    let mut alice = fleet.gate.approver("alice").await;
    let mut times = Vec::new();
    for _ in 0..9 {
        let id = fleet.gate.asked(json!({})).await;
        let path = format!("/v1/approvals/{id}?wait=30&version=1");
        let waiting = async {
            let answers = join_all((0..3).map(|index| fleet.get_at(index, &path))).await;
            (answers, Instant::now())
        };
        let deciding = async {
            tokio::time::sleep(Duration::from_millis(400)).await;
            let no = json!({"decision": "reject", "reason": "Not today"});
            let statement = alice.statement(&id, no).await.unwrap();
            let posted = Instant::now();
            alice.sign(&id, &statement, &[]).await.unwrap();
            posted
        };
        let ((answers, released), posted) = tokio::join!(waiting, deciding);
        for answer in answers {
            assert_eq!(answer.body["status"], "rejected", "{answer:?}");
        }
        times.push(released - posted);
    }
    // Polls alone would take longer in most rounds for the last of three; a busy machine is slow in some.
    times.sort();
    assert!(times[4] < Duration::from_millis(500), "half the time of a poll and less: {times:?}");
    fleet.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_instance_begins_another_finishes() {
    let fleet = Fleet::of(3).await;
    let mut alice = Approver::new(&fleet.gate.servers.gate).unwrap();
    // A sign-in: begun at the first instance, come back to at the second.
    let begun = fleet.gate.http.get(fleet.gate.url("/sign-in?return_to=/keys")).send();
    let begun = begun.await.unwrap();
    let cookies: Vec<String> = begun
        .headers()
        .get_all("set-cookie")
        .iter()
        .map(|line| line.to_str().unwrap().split(';').next().unwrap().to_owned())
        .collect();
    let directory = format!("{}&login_hint=alice", begun.headers()["location"].to_str().unwrap());
    let back = fleet.gate.http.get(directory).send().await.unwrap();
    let callback = back.headers()["location"].to_str().unwrap().to_owned();
    fleet.choose(1).await;
    let answer = fleet.gate.http.get(callback).header("cookie", cookies.join("; ")).send().await;
    let answer = answer.unwrap();
    assert!(answer.status().is_redirection(), "{answer:?}");
    assert!(answer.headers()["location"].to_str().unwrap().ends_with("/keys"), "{answer:?}");
    // A registration: asked for at the second, made at the third, vouched for at the first.
    alice.sign_in("alice").await.unwrap();
    let begun = alice.browser.post("/keys/ceremonies", &json!({"name": "Key"})).await.unwrap();
    let key = alice.authenticator.create(&begun["creation_options"], &fleet.gate.servers.gate);
    fleet.choose(2).await;
    let ceremony = format!("/keys/ceremonies/{}", begun["id"].as_str().unwrap());
    let received = alice.browser.post(&ceremony, &key.unwrap()).await.unwrap();
    fleet.choose(0).await;
    alice.browser.open(received["continue"].as_str().unwrap(), "alice").await.unwrap();
    // A decision: the statement from the first, the signature to the second, once more to the third.
    let id = fleet.gate.asked(json!({})).await;
    let statement = alice.statement(&id, json!({"decision": "approve"})).await.unwrap();
    let decision = alice.signed(&statement, &[]).unwrap();
    let path = format!("/approvals/{id}/decisions");
    fleet.choose(1).await;
    assert_eq!(alice.browser.post(&path, &decision).await.unwrap()["status"], "approved");
    fleet.choose(2).await;
    let again = alice.browser.post(&path, &decision).await.unwrap_err();
    assert!(again.contains("409"), "{again}");
    assert_eq!(fleet.gate.ended(&id).await["status"], "succeeded");
    // The same request with the same key at another instance is the same approval.
    let body = fleet.gate.request_body(json!({}));
    let token = fleet.gate.token(json!({})).await;
    let first = fleet.gate.ask_as(&token, "the-key", &body).await;
    fleet.choose(0).await;
    let second = fleet.gate.ask_as(&token, "the-key", &body).await;
    assert_eq!((second.status.as_u16(), second.id()), (200, first.id()));
    fleet.finish().await;
}

/// Freezes the others, so that it is certain which instance takes the next job.
async fn freeze_all_but(fleet: &Fleet, index: usize) {
    for (other, instance) in fleet.instances.iter().enumerate() {
        if other != index {
            instance.freeze().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_instance_does_nothing_twice() {
    let fleet = Fleet::of(3).await;
    fleet.gate.ready_delay(0).await;
    let mut alice = fleet.gate.approver("alice").await;
    let id = fleet.gate.asked(json!({})).await;
    let signed = fleet.gate.signed(&id).await;
    fleet.gate.clear_journal().await;
    // The second write is held for longer than the lease, and its instance frozen meanwhile.
    let held = json!({"kind": "delay", "milliseconds": LEASE_OVER.as_millis() as u64 + 4000});
    let held = fleet.gate.fault(fault_at("PATCH", "", 2, held)).await;
    freeze_all_but(&fleet, 0).await;
    alice.approve(&id).await.unwrap();
    fleet.gate.until_hit(held).await;
    fleet.instances[0].freeze().await;
    fleet.instances[1].thaw().await;
    fleet.instances[2].thaw().await;
    fleet.choose(1).await;
    let ended = fleet.gate.ended(&id).await;
    assert_eq!(ended["status"], "succeeded", "{ended:#}");
    fleet
        .gate
        .until("the late call is answered", async || {
            fleet.gate.journal().await.iter().all(|call| call["status"].is_u64())
        })
        .await;
    fleet.instances[0].thaw().await;
    // It wakes up, sees that the job is not its own, and is as good as the others.
    fleet.choose(0).await;
    let id = fleet.gate.asked(json!({})).await;
    fleet.gate.assert_effects(&signed, &signed.whole_plan()).await;
    alice.approve(&id).await.unwrap();
    assert_eq!(fleet.gate.ended(&id).await["status"], "succeeded");
    fleet.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lease_of_a_dead_instance_runs_out() {
    let mut fleet = Fleet::of(2).await;
    fleet.gate.ready_delay(0).await;
    let mut alice = fleet.gate.approver("alice").await;
    let id = fleet.gate.asked(json!({})).await;
    let signed = fleet.gate.signed(&id).await;
    fleet.gate.clear_journal().await;
    let held = json!({"kind": "delay", "milliseconds": FOR_EVER});
    let held = fleet.gate.fault(fault_at("PATCH", "", 3, held)).await;
    fleet.instances[1].freeze().await;
    alice.approve(&id).await.unwrap();
    fleet.gate.until_hit(held).await;
    fleet.instances[0].kill().await;
    let dead_since = Instant::now();
    fleet.instances[1].thaw().await;
    fleet.choose(1).await;
    let ended = fleet.gate.ended(&id).await;
    assert_eq!(ended["status"], "succeeded", "{ended:#}");
    assert!(dead_since.elapsed() < Duration::from_secs(60), "{:?}", dead_since.elapsed());
    fleet.gate.assert_writes(&signed, &signed.whole_plan()).await;
    fleet.instances[0].start_again().await;
    fleet.finish().await;
}

/// What happens to an instance while it works.
#[derive(Clone, Copy, PartialEq)]
enum Havoc {
    /// It is killed and started again.
    Killed,
    /// It is held still for a moment.
    Frozen,
    /// It is held still for longer than its lease lasts.
    FrozenForLong,
}

/// Numbers that the seed decides, so that what happened can happen again.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % limit
    }
}

impl Fleet {
    async fn suffer(&mut self, havoc: Havoc, dice: &mut Dice) {
        let index = dice.below(3) as usize;
        tokio::time::sleep(Duration::from_millis(40 + dice.below(200))).await;
        if havoc == Havoc::Killed {
            self.instances[index].kill().await;
            tokio::time::sleep(Duration::from_millis(dice.below(100))).await;
            self.instances[index].start_again().await;
            return;
        }
        self.instances[index].freeze().await;
        // Browsers are sent to another one, as a load balancer would.
        self.choose((index + 1) % 3).await;
        let long = LEASE_OVER + Duration::from_millis(dice.below(1000));
        let short = Duration::from_millis(100 + dice.below(900));
        tokio::time::sleep(if havoc == Havoc::FrozenForLong { long } else { short }).await;
        self.instances[index].thaw().await;
    }
}

/// Two approvals for different digests, one after the other, while their gates suffer.
async fn every_step_takes_effect_once(havocs: &[Havoc]) {
    let seed = u64::from_be_bytes(randomness::bytes());
    eprintln!("the seed is {seed}");
    let mut dice = Dice(seed);
    let mut fleet = Fleet::of(3).await;
    let mut alice = fleet.gate.approver("alice").await;
    for _ in 0..2 {
        let id = fleet.gate.asked(json!({})).await;
        let signed = fleet.gate.signed(&id).await;
        fleet.gate.clear_journal().await;
        alice.approve(&id).await.unwrap();
        for havoc in havocs {
            fleet.suffer(*havoc, &mut dice).await;
        }
        let ended = fleet.gate.ended(&id).await;
        assert_eq!(ended["status"], "succeeded", "{ended:#}");
        fleet.gate.assert_effects(&signed, &signed.whole_plan()).await;
    }
    fleet.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_step_takes_effect_once_though_gates_are_killed() {
    every_step_takes_effect_once(&[Havoc::Killed; 6]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_step_takes_effect_once_though_gates_freeze() {
    use Havoc::{Frozen, Killed};
    every_step_takes_effect_once(&[Frozen, Frozen, Killed, Frozen, Frozen, Frozen]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_step_takes_effect_once_though_gates_sleep_past_their_leases() {
    every_step_takes_effect_once(&[Havoc::FrozenForLong]).await;
}

async fn a_shutdown_answers_waiters_at_once(engine: Engine) {
    let gate = Gate::around(engine, free_port()).await;
    let mut process = GateProcess::start(&gate).await;
    let id = gate.asked(json!({})).await;
    let path = format!("/v1/approvals/{id}?wait=60&version=1");
    let waiting = join_all((0..20).map(|_| gate.get(&path)));
    let stopping = async {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        process.stop().await
    };
    let (answers, (status, took)) = tokio::join!(waiting, stopping);
    for answer in answers {
        assert_eq!((answer.status.as_u16(), &answer.body["status"]), (200, &json!("pending")));
    }
    assert_eq!(status.code(), Some(0));
    assert!(took < Duration::from_secs(2), "nobody is kept waiting: {took:?}");
    gate.finish().await;
}

async fn a_shutdown_ends_in_the_middle_of_a_call(engine: Engine) {
    let gate = Gate::around(engine, free_port()).await;
    let mut process = GateProcess::start(&gate).await;
    gate.ready_delay(0).await;
    let mut alice = gate.approver("alice").await;
    let id = gate.asked(json!({})).await;
    let signed = gate.signed(&id).await;
    gate.clear_journal().await;
    let held = json!({"kind": "delay", "milliseconds": FOR_EVER});
    let held = gate.fault(fault_at("PATCH", "", 2, held)).await;
    alice.approve(&id).await.unwrap();
    gate.until_hit(held).await;
    let (status, took) = process.stop().await;
    assert_eq!(status.code(), Some(0));
    assert!(took < Duration::from_secs(8), "{took:?}");
    process.start_again().await;
    // Who is asked to stop gives its jobs back: nobody waits for a lease to run out.
    let restarted = Instant::now();
    let ended = gate.ended(&id).await;
    assert_eq!(ended["status"], "succeeded", "{ended:#}");
    assert!(restarted.elapsed() < Duration::from_secs(15), "{:?}", restarted.elapsed());
    gate.assert_writes(&signed, &signed.whole_plan()).await;
    process.end().await;
    gate.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_instance_keeps_nobody_from_writing() {
    let fleet = Fleet::of(2).await;
    // Frozen again and again at moments when it writes; the other one must be able to write.
    let busy = fleet.instances[0].address.clone();
    for round in 0..6_u64 {
        let bodies: Vec<Value> = (0..8).map(|_| fleet.gate.request_body(json!({}))).collect();
        let tokens = join_all((0..8).map(|_| fleet.gate.token(json!({})))).await;
        let asking = bodies.iter().zip(&tokens).enumerate().map(|(number, (body, token))| {
            let key = format!("busy-{round}-{number}");
            let request = fleet.gate.http.request(Method::POST, format!("{busy}/v1/approvals"));
            request.bearer_auth(token).header("Idempotency-Key", key).json(body).send()
        });
        let asking = join_all(asking);
        let freezing = async {
            tokio::time::sleep(Duration::from_millis(10 + 7 * round)).await;
            fleet.instances[0].freeze().await;
            fleet.choose(1).await;
            let started = Instant::now();
            let asked = fleet.gate.ask(json!({})).await;
            assert_eq!(asked.status.as_u16(), 201, "{asked:?}");
            assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
            fleet.instances[0].thaw().await;
        };
        let (_answers, ()) = tokio::join!(asking, freezing);
    }
    fleet.finish().await;
}
