//! Jobs and their leases: one owner at a time, and who lost a lease writes nothing.

use countersign::domain::approval::{Approval, Status};
use countersign::domain::decision::Verdict;
use countersign::domain::ids::ApprovalId;
use countersign::domain::rollout::Outcome;
use countersign::gate::rollout::{Begun, begin};
use countersign::storage::{Job, Storage};
use jiff::{SignedDuration, Timestamp};

use super::database::{Database, apply, approved, create, decide, decision, now};
use crate::support::gate::{Engine, on_both_engines};

on_both_engines!(
    a_job_stands_while_there_is_work,
    a_lease_has_one_owner,
    many_workers_share_the_jobs,
    a_lost_lease_refuses_the_write,
    errors_are_counted_in_a_row,
    leases_are_given_back,
    a_withdrawal_and_a_beginning_exclude_each_other,
    who_held_the_job_before_a_withdrawal_holds_no_later_one,
);

const LEASE: SignedDuration = SignedDuration::from_secs(30);

fn seconds(seconds: i64) -> Timestamp {
    now() + SignedDuration::from_secs(seconds)
}

async fn claim(storage: &Storage, owner: &str, at: Timestamp) -> Option<Job> {
    storage.claim_job(owner, at, LEASE).await.unwrap()
}

async fn a_job_stands_while_there_is_work(engine: Engine) {
    let database = Database::new(engine).await;
    let storage = database.open().await;
    create(&storage, database.request()).await;
    assert_eq!(storage.jobs_open().await.unwrap(), 0, "people have not decided");
    let approval = approved(&storage, &database).await;
    assert_eq!(storage.jobs_open().await.unwrap(), 1);
    let approval = apply(&storage, approval.begin(now()).unwrap()).await;
    assert_eq!(storage.jobs_open().await.unwrap(), 1, "the rollout runs");
    let outcome = Outcome::Failed("it does not start".into());
    apply(&storage, approval.finish(outcome, now()).unwrap()).await;
    assert_eq!(storage.jobs_open().await.unwrap(), 0);
}

async fn a_lease_has_one_owner(engine: Engine) {
    let database = Database::new(engine).await;
    let storage = database.open().await;
    let approval = approved(&storage, &database).await;
    assert_eq!(claim(&storage, "early", seconds(-1)).await, None, "it is not due yet");
    let first = claim(&storage, "first", now()).await.unwrap();
    assert_eq!((&first.approval, first.attempts), (approval.id(), 0));
    assert_eq!(claim(&storage, "second", seconds(29)).await, None);
    // Kept in time, it lasts longer.
    assert!(storage.renew_job(&first, seconds(20), LEASE).await.unwrap());
    assert_eq!(claim(&storage, "second", seconds(49)).await, None);
    let second = claim(&storage, "second", seconds(50)).await.unwrap();
    assert_eq!(second.epoch, first.epoch + 1);
    // The first owner slept too long, and finds out at whatever it does next.
    assert!(!storage.renew_job(&first, seconds(51), LEASE).await.unwrap());
    assert!(!storage.reschedule_job(&first, seconds(51), None).await.unwrap());
    assert!(storage.renew_job(&second, seconds(51), LEASE).await.unwrap());
    // The same name with another epoch is another owner.
    let impostor = Job { epoch: second.epoch - 1, ..second };
    assert!(!storage.renew_job(&impostor, seconds(51), LEASE).await.unwrap());
}

async fn many_workers_share_the_jobs(engine: Engine) {
    let database = Database::new(engine).await;
    let storage = database.open().await;
    for _ in 0..4 {
        approved(&storage, &database).await;
    }
    let workers = (0..12).map(|number| {
        let storage = storage.clone();
        tokio::spawn(async move { claim(&storage, &format!("worker {number}"), now()).await })
    });
    let mut claimed: Vec<_> = futures::future::join_all(workers)
        .await
        .into_iter()
        .filter_map(|outcome| outcome.unwrap())
        .map(|job| job.approval)
        .collect();
    claimed.sort();
    claimed.dedup();
    assert_eq!(claimed.len(), 4, "each job was claimed, and by one worker");
    assert_eq!(claim(&storage, "late", now()).await, None);
}

async fn a_lost_lease_refuses_the_write(engine: Engine) {
    let database = Database::new(engine).await;
    let storage = database.open().await;
    let approval = approved(&storage, &database).await;
    let first = claim(&storage, "first", now()).await.unwrap();
    let second = claim(&storage, "second", seconds(31)).await.unwrap();
    let mut writer = storage.begin().await.unwrap();
    assert!(!writer.hold_job(&first).await.unwrap());
    drop(writer);
    let mut writer = storage.begin().await.unwrap();
    assert!(writer.hold_job(&second).await.unwrap());
    let approval = writer.apply(approval.begin(now()).unwrap(), now()).await.unwrap();
    writer.commit().await.unwrap();
    // A job that is done is nobody's.
    let outcome = Outcome::Failed("it does not start".into());
    apply(&storage, approval.finish(outcome, now()).unwrap()).await;
    let mut writer = storage.begin().await.unwrap();
    assert!(!writer.hold_job(&second).await.unwrap());
    drop(writer);
    assert!(!storage.reschedule_job(&second, now(), None).await.unwrap());
}

async fn errors_are_counted_in_a_row(engine: Engine) {
    let database = Database::new(engine).await;
    let storage = database.open().await;
    approved(&storage, &database).await;
    for attempts in 0..3 {
        let job = claim(&storage, "worker", now()).await.unwrap();
        assert_eq!(job.attempts, attempts);
        assert!(storage.reschedule_job(&job, now(), Some("no answer")).await.unwrap());
    }
    let job = claim(&storage, "worker", now()).await.unwrap();
    assert!(storage.reschedule_job(&job, seconds(5), None).await.unwrap());
    assert_eq!(claim(&storage, "worker", seconds(4)).await, None, "it is due later");
    assert_eq!(claim(&storage, "worker", seconds(5)).await.unwrap().attempts, 0);
}

async fn leases_are_given_back(engine: Engine) {
    let database = Database::new(engine).await;
    let storage = database.open().await;
    approved(&storage, &database).await;
    approved(&storage, &database).await;
    let first = claim(&storage, "first", now()).await.unwrap();
    let other = claim(&storage, "other", now()).await.unwrap();
    storage.release_jobs_of("first").await.unwrap();
    assert!(!storage.renew_job(&first, now(), LEASE).await.unwrap(), "it is nobody's");
    assert!(storage.renew_job(&other, now(), LEASE).await.unwrap(), "the other's stays");
    assert_eq!(claim(&storage, "second", now()).await.unwrap().approval, first.approval);
}

/// Takes Alice's yes back, if that is still possible inside the change.
async fn withdraw(storage: &Storage, id: &ApprovalId) -> Option<Approval> {
    let mut writer = storage.begin().await.unwrap();
    let stored = writer.approval(id).await.unwrap().unwrap().approval;
    let (person, withdrawal, signed) = decision(&stored, "alice", Verdict::Withdraw, now());
    let transition = stored.decide(withdrawal, now()).ok()?;
    writer.insert_decision(id, &person, &signed).await.unwrap();
    let approval = writer.apply(transition, now()).await.unwrap();
    writer.commit().await.unwrap();
    Some(approval)
}

async fn a_withdrawal_and_a_beginning_exclude_each_other(engine: Engine) {
    let database = Database::new(engine).await;
    let storage = database.open().await;
    for turn in 0..20 {
        let id = approved(&storage, &database).await.id().clone();
        let job = claim(&storage, "worker", now()).await.unwrap();
        let (ours, theirs) = (storage.clone(), storage.clone());
        let named = id.clone();
        let withdrawal = async move { withdraw(&ours, &named).await.is_some() };
        let beginning = async move { matches!(begin(&theirs, &job, now()).await, Ok(Begun::Now)) };
        // Each is first every other time, as far as that can be said.
        let (withdrawn, begun) = if turn % 2 == 0 {
            let (first, second) = (tokio::spawn(withdrawal), tokio::spawn(beginning));
            (first.await.unwrap(), second.await.unwrap())
        } else {
            let (first, second) = (tokio::spawn(beginning), tokio::spawn(withdrawal));
            let begun = first.await.unwrap();
            (second.await.unwrap(), begun)
        };
        assert!(withdrawn != begun, "withdrawn: {withdrawn}, begun: {begun}");
        let approval = storage.approval(&id).await.unwrap().unwrap().approval;
        let jobs = storage.jobs_open().await.unwrap();
        if begun {
            assert_eq!((approval.status(), jobs), (Status::Executing, 1));
            let outcome = Outcome::Failed("the next turn needs the service".into());
            apply(&storage, approval.finish(outcome, now()).unwrap()).await;
        } else {
            assert_eq!((approval.status(), jobs), (Status::Pending, 0));
        }
    }
}

async fn who_held_the_job_before_a_withdrawal_holds_no_later_one(engine: Engine) {
    let database = Database::new(engine).await;
    let storage = database.open().await;
    let id = approved(&storage, &database).await.id().clone();
    let before = claim(&storage, "worker", now()).await.unwrap();
    let pending = withdraw(&storage, &id).await.unwrap();
    assert_eq!(claim(&storage, "worker", seconds(60)).await, None);
    decide(&storage, pending, "alice", Verdict::Approve).await;
    let after = claim(&storage, "worker", now()).await.unwrap();
    assert!(after.epoch > before.epoch, "{} and {}", after.epoch, before.epoch);
    assert!(!storage.renew_job(&before, now(), LEASE).await.unwrap());
    assert!(matches!(begin(&storage, &before, now()).await.unwrap(), Begun::Lost));
    assert!(matches!(begin(&storage, &after, now()).await.unwrap(), Begun::Now));
}
