//! Forgery: somebody who can write anything into the database tries to get something rolled out that
//! nobody approved. Every attack runs against a gate and its worker while they work, and is refused for
//! its own reason before anything is called.
//!
//! That each test bites is shown with the forged evidence itself: with the named checks of the verifier
//! switched off it would be believed.

mod again;
pub mod attacker;
mod batches;
mod deployments;
mod deputies;
mod enrolments;
mod leaves;
mod plants;
mod rows;

use std::time::Duration;

use countersign::cli::demo::approver::Approver;
use countersign::config::Config;
use countersign::domain::deployment::Deployment;
use countersign::gate::evidence::gather;
use countersign::proof::evidence::{Evidence, Trust};
use countersign::proof::verify::{Code, Verified, verify_evidence, verify_without};
use countersign::storage::Storage;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::evidence::codes::text;
use crate::forgery::attacker::Attacker;
use crate::support::bundles::{case, leave};
use crate::support::gate::{Engine, Gate, on_both_engines};

on_both_engines!(
    forged_rows_roll_out_nothing,
    forged_deployments_roll_out_nothing,
    forged_enrolments_roll_out_nothing,
    planted_rows_roll_out_nothing,
    forged_batches_roll_out_nothing,
    a_gate_that_is_led_astray_rolls_out_nothing,
);

async fn forged_rows_roll_out_nothing(engine: Engine) {
    assert_refused(engine, rows::attacks()).await;
}

async fn forged_deployments_roll_out_nothing(engine: Engine) {
    assert_refused(engine, deployments::attacks()).await;
}

async fn forged_enrolments_roll_out_nothing(engine: Engine) {
    assert_refused(engine, enrolments::attacks()).await;
}

async fn planted_rows_roll_out_nothing(engine: Engine) {
    assert_refused(engine, plants::attacks()).await;
}

async fn forged_batches_roll_out_nothing(engine: Engine) {
    assert_refused(engine, batches::attacks()).await;
}

async fn a_gate_that_is_led_astray_rolls_out_nothing(engine: Engine) {
    assert_refused(engine, deputies::attacks()).await;
}

#[test]
fn there_are_at_least_forty_forgeries() {
    let groups = [
        rows::attacks(),
        deployments::attacks(),
        enrolments::attacks(),
        plants::attacks(),
        batches::attacks(),
        deputies::attacks(),
    ];
    let count: usize = groups.iter().map(Vec::len).sum();
    assert!(count >= 40, "only {count}");
}

/// The code of a refusal that a browser of the demo was given.
fn code_of(refusal: Result<Value, String>) -> String {
    let refusal = refusal.expect_err("it was accepted");
    let code = refusal.split_once('(').and_then(|(_, rest)| rest.split_once(')'));
    code.unwrap_or_else(|| panic!("{refusal}")).0.to_owned()
}

/// What an attack writes, and into what.
enum Act {
    /// SQL about an approval that was approved and has not begun.
    Sql(fn(&Place<'_>) -> Vec<String>),
    /// The deployment of such an approval, in every column that repeats it.
    Deployment(fn(&mut Deployment)),
    /// SQL about an approval that was approved in a batch, with one signature for it and the donor.
    Batch(fn(&Place<'_>) -> Vec<String>),
    /// The deployment of an approval that was approved in a batch.
    DeploymentOfBatch(fn(&mut Deployment)),
    /// A story of its own.
    Plant(plants::Plant),
    /// One in which the gate itself is led to write.
    Deputy(deputies::Deputy),
}

/// Where SQL is to strike.
pub struct Place<'a> {
    /// The approval.
    pub id: &'a str,
    /// Another one that was approved, with good rows to take.
    pub donor: &'a str,
    attacker: &'a Attacker,
}

impl Place<'_> {
    /// So many zero bytes, as SQL.
    pub fn zeros(&self, length: usize) -> String {
        self.attacker.bytes(&vec![0; length])
    }
}

/// What shows that the attack would succeed.
enum Bite {
    /// With these checks switched off the verifier finds the forged evidence to be of an approval.
    Without(&'static [Code]),
    /// The verifier believes it as it is: what refuses it stands beside the verifier.
    Believed(&'static str),
    /// There is no forged evidence that could be verified: what refuses it, in words.
    Elsewhere(&'static str),
}

struct Attack {
    name: &'static str,
    wrote: &'static str,
    act: Act,
    /// The code that it is refused with.
    code: &'static str,
    bite: Bite,
}

/// A gate and everybody around it.
pub struct Scene {
    gate: Gate,
    attacker: Attacker,
    alice: Approver,
    donor: String,
}

impl Scene {
    async fn new(engine: Engine) -> Self {
        let gate = Gate::start(engine).await;
        let mut attacker = Attacker::new(&gate, engine).await;
        attacker.hold_jobs().await;
        let mut alice = gate.approver("alice").await;
        gate.approver("bob").await;
        let donor = gate.asked(json!({})).await;
        alice.approve(&donor).await.unwrap();
        Self { gate, attacker, alice, donor }
    }

    /// An approval that alice approved with a key of her own, which the worker has not seen yet.
    async fn approved(&mut self) -> String {
        let id = self.gate.asked(json!({})).await;
        self.alice.approve(&id).await.unwrap();
        id
    }

    /// Carries an attack out. Gives the approval that it is about, and the code if it was refused at once.
    async fn carry_out(&mut self, act: &Act) -> (String, Option<String>) {
        if !matches!(act, Act::Deployment(_) | Act::DeploymentOfBatch(_)) {
            // Rows about keys stay changed, so everybody else's key is another one.
            self.alice = self.gate.approver("alice").await;
        }
        match act {
            Act::Sql(sql) => {
                let id = self.approved().await;
                let place = Place { id: &id, donor: &self.donor, attacker: &self.attacker };
                for statement in sql(&place) {
                    self.attacker.run(&statement).await;
                }
                (id, None)
            }
            Act::Deployment(edit) => {
                let id = self.approved().await;
                self.attacker.edit_deployment(&id, edit).await;
                (id, None)
            }
            Act::Batch(sql) => {
                let (id, donor) = self.approved_together().await;
                let place = Place { id: &id, donor: &donor, attacker: &self.attacker };
                for statement in sql(&place) {
                    self.attacker.run(&statement).await;
                }
                (id, None)
            }
            Act::DeploymentOfBatch(edit) => {
                let (id, _) = self.approved_together().await;
                self.attacker.edit_deployment(&id, edit).await;
                (id, None)
            }
            Act::Plant(plant) => (self.plant(*plant).await, None),
            Act::Deputy(deputy) => self.deputise(*deputy).await,
        }
    }

    /// Why the gate does nothing more at all, if it found the log itself at fault.
    async fn log_fault(&self) -> Option<String> {
        let ready = self.gate.get("/health/ready").await.body.to_string();
        if !ready.contains("Nothing is decided or rolled out") {
            return None;
        }
        let refused = self.gate.ask(json!({})).await;
        let code =
            refused.body["type"].as_str().and_then(|address| address.rsplit([':', '/']).next());
        code.filter(|code| LOG_FAULTS.contains(code)).map(str::to_owned)
    }

    /// Lets the worker have the job, and waits until it refused it. Gives the code.
    async fn refused(&mut self, id: &str) -> String {
        self.attacker.release(id).await;
        for _ in 0..200 {
            if let Some(code) = self.log_fault().await {
                return code;
            }
            // Read as the attacker does: who may see it hangs on rows that may be forged.
            let row = format!("SELECT state FROM approvals WHERE id = '{id}'");
            let state: Value = self.attacker.read(&row).await.unwrap().parse().unwrap();
            let status = state["status"].as_str().unwrap_or_default();
            let reason = state["reason"].as_str().unwrap_or_default();
            if status == "needs_attention" {
                let code = reason.split_once("the evidence does not hold (");
                let code = code.and_then(|(_, rest)| rest.split_once(')'));
                return code.map_or(reason, |(code, _)| code).to_owned();
            }
            if ["succeeded", "rolled_back", "failed", "expired"].contains(&status) {
                return format!("it ended as {status}: {reason}");
            }
            let error = format!("SELECT last_error FROM jobs WHERE approval_id = '{id}'");
            if let Some(error) = self.attacker.read(&error).await {
                // It is tried again and again, which helps nobody any more.
                let give_up = format!("DELETE FROM jobs WHERE approval_id = '{id}'");
                self.attacker.run(&give_up).await;
                let codes = [
                    ("is not what the gate writes", "impossible_row"),
                    ("has no row", "row_missing"),
                    ("through a newer version of the gate", "newer_version_needed"),
                    // The worker read the damaged part of the log before the follower did, and found it so.
                    ("find out who writes to the database beside the gate", "log_entry_invalid"),
                ];
                let code = codes.iter().find(|(part, _)| error.contains(part));
                return code.map_or(error.clone(), |(_, code)| (*code).to_owned());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        "nothing happened".to_owned()
    }
}

/// What the follower of the log may find before the worker looks at the evidence: then the gate stops
/// altogether. Which of the two comes first is a matter of milliseconds. Only an attack that wrote into the
/// ledger, in the same database, explains such a code.
const LOG_FAULTS: [&str; 3] = ["log_shrunk", "log_forked", "log_entry_invalid"];

/// What was refused, for the table.
struct Refused {
    attack: Attack,
    id: String,
    code: String,
}

/// Tries every attack, shows the table, and holds it against what was expected. A gate that finds its log
/// at fault does nothing more, sooner or later, so that after an attack on the log the next one meets another gate.
async fn assert_refused(engine: Engine, attacks: Vec<Attack>) {
    let (mut table, mut wrong) = (Vec::new(), Vec::new());
    let mut attacks = attacks.into_iter().peekable();
    while attacks.peek().is_some() {
        let mut scene = Scene::new(engine).await;
        let mut all = Vec::new();
        for attack in attacks.by_ref() {
            let (id, at_once) = scene.carry_out(&attack.act).await;
            let code = match at_once {
                Some(code) => code,
                None => scene.refused(&id).await,
            };
            let may_stop_the_gate = attack.wrote.contains("ledger");
            all.push(Refused { attack, id, code });
            if may_stop_the_gate {
                break;
            }
        }
        hold_against(scene, all, &mut table, &mut wrong).await;
    }
    show(engine, &table);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

async fn hold_against(
    scene: Scene,
    all: Vec<Refused>,
    table: &mut Vec<[String; 4]>,
    wrong: &mut Vec<String>,
) {
    assert_eq!(scene.gate.changes_of_cloud_run().await, 0, "something was rolled out");
    let config =
        Config::load(&scene.gate.servers.files.config, &std::collections::BTreeMap::new()).unwrap();
    scene.gate.servers.stop().await;
    let database = config.database.expose_secret();
    let storage = Storage::open(database, config.log_key.clone()).await.unwrap();
    let mut is_damaged = false;
    for one in all {
        is_damaged |= one.attack.wrote.contains("ledger");
        let bites = bite(&storage, &config.trust(), &one).await;
        let expected = match one.attack.bite {
            Bite::Without(codes) => join(codes),
            Bite::Believed(what) => format!("(believed; {what})"),
            Bite::Elsewhere(what) => format!("({what})"),
        };
        let is_of_the_log = is_damaged && LOG_FAULTS.contains(&one.code.as_str());
        let is_expected = one.code == one.attack.code || is_of_the_log;
        if !is_expected || bites != expected {
            wrong.push(format!(
                "{}: refused with {}, not {}; believed without {bites}, not {expected}",
                one.attack.name, one.code, one.attack.code
            ));
        }
        table.push([one.attack.name.to_owned(), one.attack.wrote.to_owned(), one.code, bites]);
    }
    storage.close().await;
}

fn join(codes: &[Code]) -> String {
    codes.iter().map(|code| code.as_str()).collect::<Vec<_>>().join(" + ")
}

/// What has to be switched off until the verifier believes the forged evidence.
async fn bite(storage: &Storage, trust: &Trust, refused: &Refused) -> String {
    if let Bite::Elsewhere(what) = refused.attack.bite {
        return format!("({what})");
    }
    let stored = match storage.approval(&refused.id.parse().unwrap()).await {
        Ok(stored) => stored.unwrap(),
        Err(error) => return format!("(unreadable: {error})"),
    };
    let mut evidence = match gather(storage, trust, &stored).await {
        Ok(evidence) => evidence,
        Err(error) => return format!("(not to be gathered: {error})"),
    };
    // The entry that the refusal wrote was not there when the worker looked.
    if evidence.entries.last().is_some_and(|entry| entry.record.contains("\"rollout.ended\"")) {
        evidence.entries.pop();
    }
    leave(&format!("forgery-{}", refused.id), &case(refused.attack.name, &text(&evidence), trust));
    match (&refused.attack.bite, verify_evidence(&evidence, trust)) {
        (Bite::Believed(what), Ok(verified)) if verified.is_approved() => {
            format!("(believed; {what})")
        }
        (_, Ok(verified)) => format!("(genuine, {})", verified.state().status().as_str()),
        (_, Err(_)) => without(&evidence, trust),
    }
}

fn without(evidence: &Evidence, trust: &Trust) -> String {
    let mut off = Vec::new();
    loop {
        match verify_without(&off, evidence, trust).as_ref().map(Verified::is_approved) {
            Ok(true) => return join(&off),
            Ok(false) => return format!("{}, and it is of no approval", join(&off)),
            Err(failure) if off.contains(&failure.code()) => {
                return format!("{}, and it cannot be read without", join(&off));
            }
            Err(failure) => off.push(failure.code()),
        }
    }
}

#[expect(clippy::print_stdout, reason = "the table is what the run shows")]
fn show(engine: Engine, table: &[[String; 4]]) {
    println!("\n{} forgeries against {engine:?}, 0 calls that change Cloud Run:\n", table.len());
    println!("| attack | what was written | refused with | believed only without |");
    println!("| --- | --- | --- | --- |");
    for [name, wrote, code, bites] in table {
        println!("| {name} | {wrote} | `{code}` | {bites} |");
    }
}
