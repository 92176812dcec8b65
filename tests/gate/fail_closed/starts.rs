//! Faults that a gate finds when it starts.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::{Fault, Scene};
use crate::support::database::storage;
use crate::support::gate::{Engine, on_both_engines};

on_both_engines!(a_log_key_that_cannot_be_read, a_head_that_cannot_be_kept);

#[tokio::test(flavor = "multi_thread")]
async fn a_database_file_that_is_read_only() {
    let scene = Scene::new(Engine::Sqlite).await;
    let file = scene.gate.servers.files.folder.join("gate.db");
    let readable = async |_: &mut Scene| set_mode(&file, 0o444);
    let writable = async |_: &mut Scene| set_mode(&file, 0o600);
    waits_for_its_database(scene, "can be read and not written", readable, writable).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_is_away() {
    let scene = Scene::new(Engine::Postgres).await;
    let (begin, end) = (
        async |scene: &mut Scene| Fault::Away.begin(scene).await,
        async |scene: &mut Scene| Fault::Away.end(scene).await,
    );
    waits_for_its_database(scene, "cannot be reached", begin, end).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_is_read_only() {
    let scene = Scene::new(Engine::Postgres).await;
    let (begin, end) = (
        async |scene: &mut Scene| Fault::ReadOnly.begin(scene).await,
        async |scene: &mut Scene| Fault::ReadOnly.end(scene).await,
    );
    waits_for_its_database(scene, "can be read and not written", begin, end).await;
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// A gate that starts while its database is away answers everybody with the reason, and begins when
/// it is back.
async fn waits_for_its_database(
    mut scene: Scene,
    words: &str,
    begin: impl AsyncFnOnce(&mut Scene),
    end: impl AsyncFnOnce(&mut Scene),
) {
    let (id, signed) = scene.signed().await;
    scene.process.stop().await;
    begin(&mut scene).await;
    scene.process.start_again_to_refuse().await;
    scene.stopped(words).await;
    scene.gate.ask(json!({})).await.assert_problem(503, "database_unavailable");
    let refused = scene.send(&id, &signed).await.unwrap_err();
    assert!(refused.contains("database_unavailable"), "{refused}");
    for path in ["/", "/signed-out", &format!("/approvals/{id}")] {
        let request = scene.gate.http.get(scene.gate.url(path)).header("accept", "text/html");
        let page = request.send().await.unwrap();
        assert_eq!(page.status(), 503);
        assert!(page.headers().contains_key("content-security-policy"));
        assert!(page.text().await.unwrap().contains(words), "{path}");
    }
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(scene.gate.changes_of_cloud_run().await, 0);
    end(&mut scene).await;
    scene.going_on().await;
    scene.succeeds(&id, &signed).await;
    has_told_its_starts(scene, 2).await;
}

/// Stops the gate, whose ledger must tell so many starts.
async fn has_told_its_starts(mut scene: Scene, starts: usize) {
    scene.process.stop().await;
    let storage = storage(&scene.gate).await;
    let entries = storage.entries(0, 1000).await.unwrap();
    let told = entries.iter().filter(|entry| entry.record.contains("gate.started")).count();
    assert_eq!(told, starts);
    storage.close().await;
    drop(storage);
    scene.gate.finish().await;
}

/// It does not start, since nothing can be signed without it; whoever starts it finds the reason.
async fn a_log_key_that_cannot_be_read(engine: Engine) {
    let mut scene = Scene::new(engine).await;
    let (id, signed) = scene.signed().await;
    scene.process.stop().await;
    let key = scene.gate.servers.files.folder.join("log-key");
    let right = std::fs::read_to_string(&key).unwrap();
    let faults: [(&str, &dyn Fn()); 3] = [
        ("cannot be read", &|| std::fs::remove_file(&key).unwrap()),
        ("cannot be read", &|| {
            std::fs::write(&key, &right).unwrap();
            set_mode(&key, 0o000);
        }),
        ("is not 32 bytes in hexadecimal", &|| {
            set_mode(&key, 0o600);
            std::fs::write(&key, &right[2..]).unwrap();
        }),
    ];
    for (words, fault) in faults {
        fault();
        let logged = scene.process.log().len();
        scene.process.start_again_somehow();
        let (status, log) = scene.process.ended().await;
        assert!(!status.success());
        let log = &log[logged..];
        assert!(log.contains("log_key_file") && log.contains(words), "{log}");
    }
    assert_eq!(scene.gate.changes_of_cloud_run().await, 0);
    std::fs::write(&key, &right).unwrap();
    scene.process.start_again().await;
    scene.succeeds(&id, &signed).await;
    has_told_its_starts(scene, 2).await;
}

/// The gate starts, says so, and writes down that it began as soon as it can: before anything else.
async fn a_head_that_cannot_be_kept(engine: Engine) {
    let mut scene = Scene::new(engine).await;
    let (id, signed) = scene.signed().await;
    scene.process.stop().await;
    Fault::NoHead.begin(&mut scene).await;
    scene.process.start_again_to_refuse().await;
    scene.stopped(Fault::NoHead.told_as().1).await;
    let refused = scene.send(&id, &signed).await.unwrap_err();
    assert!(refused.contains("log_head_unavailable"), "{refused}");
    Fault::NoHead.end(&mut scene).await;
    scene.going_on().await;
    scene.succeeds(&id, &signed).await;
    has_told_its_starts(scene, 2).await;
}
