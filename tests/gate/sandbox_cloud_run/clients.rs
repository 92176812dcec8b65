//! Google's official clients, Rust and Python, against the sandbox.

use std::path::Path;
use std::time::Duration;

use google_cloud_auth::credentials::anonymous;
use google_cloud_gax::exponential_backoff::ExponentialBackoffBuilder;
use google_cloud_gax::paginator::ItemPaginator as _;
use google_cloud_lro::Poller as _;
use google_cloud_run_v2::client::{Revisions, Services};
use google_cloud_run_v2::model::condition::State;
use google_cloud_run_v2::model::{
    Container, RevisionTemplate, Service, TrafficTarget, TrafficTargetAllocationType,
};
use google_cloud_wkt::FieldMask;

use super::{PARENT, PATIENCE, Sandbox, image};

async fn services(sandbox: &Sandbox) -> Services {
    let often = ExponentialBackoffBuilder::new()
        .with_initial_delay(Duration::from_millis(20))
        .with_maximum_delay(Duration::from_millis(50))
        .build()
        .unwrap();
    Services::builder()
        .with_endpoint(format!("http://{}", sandbox.address))
        .with_credentials(anonymous::Builder::new().build())
        .with_polling_backoff_policy(often)
        .build()
        .await
        .unwrap()
}

fn revision_template(digit: char) -> RevisionTemplate {
    RevisionTemplate::new().set_containers([Container::new().set_image(image(digit))])
}

fn to(revision: &str, percent: i32) -> TrafficTarget {
    TrafficTarget::new()
        .set_type(TrafficTargetAllocationType::Revision)
        .set_revision(revision)
        .set_percent(percent)
}

#[tokio::test]
async fn the_official_rust_client_rolls_out_on_the_cloud_run_sandbox() {
    let sandbox = Sandbox::empty(None).await;
    let client = services(&sandbox).await;
    let made = client
        .create_service()
        .set_parent(PARENT)
        .set_service_id("rust")
        .set_service(Service::new().set_template(revision_template('1')))
        .poller()
        .until_done()
        .await
        .unwrap();
    assert_eq!(made.terminal_condition.as_ref().unwrap().state, State::ConditionSucceeded);
    let name = format!("{PARENT}/services/rust");
    let service = client.get_service().set_name(&name).send().await.unwrap();
    assert_eq!((service.generation, service.observed_generation), (1, 1));
    let mut list = client.list_services().set_parent(PARENT).by_item();
    assert_eq!(list.next().await.unwrap().unwrap().name, name);

    let first = service.latest_ready_revision.rsplit('/').next().unwrap().to_owned();
    let wanted = Service::new()
        .set_name(&name)
        .set_etag(&service.etag)
        .set_template(revision_template('2').set_revision("rust-two"))
        .set_traffic([to(&first, 100)]);
    let changed = client
        .update_service()
        .set_service(wanted.clone())
        .set_update_mask(FieldMask::default().set_paths(["template", "traffic"]))
        .poller()
        .until_done()
        .await
        .unwrap();
    assert!(changed.latest_ready_revision.ends_with("/rust-two"));
    assert_eq!(changed.traffic_statuses[0].revision, first);
    assert_eq!(changed.traffic_statuses[0].percent, 100);

    let stale = client.update_service().set_service(wanted).send().await.unwrap_err();
    assert_eq!(stale.http_status_code(), Some(409));
    assert_eq!(stale.status().unwrap().code, google_cloud_gax::error::rpc::Code::Aborted);

    let revisions = Revisions::builder()
        .with_endpoint(format!("http://{}", sandbox.address))
        .with_credentials(anonymous::Builder::new().build())
        .build()
        .await
        .unwrap();
    let mut items = revisions.list_revisions().set_parent(&name).by_item();
    let mut images = Vec::new();
    while let Some(revision) = items.next().await {
        images.push(revision.unwrap().containers[0].image.clone());
    }
    images.sort();
    assert_eq!(images, [image('1'), image('2')]);
    client.delete_service().set_name(&name).poller().until_done().await.unwrap();
    let gone = client.get_service().set_name(&name).send().await.unwrap_err();
    assert_eq!(gone.http_status_code(), Some(404));
}

#[tokio::test]
async fn the_official_python_client_rolls_out_on_the_cloud_run_sandbox() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join("tests/.cache/python/bin/python");
    assert!(
        python.exists(),
        "Google's Python client is not there: run tests/run, which installs it"
    );
    let sandbox = Sandbox::empty(None).await;
    let script = tokio::process::Command::new(python)
        .arg(root.join("tests/clients/cloud_run_python.py"))
        .args([&sandbox.address, PARENT])
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PATIENCE, script).await.unwrap().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
}
