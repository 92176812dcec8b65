//! The gate's client of Cloud Run against the sandbox: what it reads, what it sends, how it fails.

mod failures;
mod templates;
mod writes;

use std::collections::BTreeMap;

use countersign::domain::deployment::Deployment;
use countersign::domain::ids::ApprovalId;
use countersign::domain::observation::{ObservedService, Readiness, TrafficShare, TrafficTag};
use countersign::domain::policy::{
    EnrolmentRules, NewerRequest, POLICY_SCHEMA, Policy, RequesterMatch,
};
use countersign::domain::request::{DeploymentRequest, Occasion};
use countersign::domain::service::{ServiceKind, ServiceName};
use countersign::domain::subject::{FrozenSubject, Requester};
use countersign::domain::words::Words;
use countersign::integrations::cloud_credentials::GoogleAccount;
use countersign::integrations::cloud_run::{CloudRun, CloudRunSettings, check_template};
use countersign::sandbox::{DEMO_REPOSITORY, DEMO_SERVICE};
use serde_json::{Value, json};

use crate::sandbox_cloud_run::{Sandbox, WEB, image, short, target, template};

fn client_of(address: &str) -> CloudRun {
    CloudRun::new(CloudRunSettings {
        endpoint: Some(format!("http://{address}").parse().unwrap()),
        account: GoogleAccount::ANONYMOUS,
        accounts_by_name: BTreeMap::new(),
    })
}

fn client(sandbox: &Sandbox) -> CloudRun {
    client_of(&sandbox.address)
}

fn web() -> ServiceName {
    WEB.parse().unwrap()
}

fn share(revision: &str, percent: u8) -> TrafficShare {
    TrafficShare { revision: revision.to_owned(), percent }
}

/// What a request for [`WEB`] freezes to, with these changes of the template.
fn frozen(observed: Option<&ObservedService>, changes: Option<Value>) -> FrozenSubject {
    let policy = Policy {
        schema: POLICY_SCHEMA.to_owned(),
        environment: "production".to_owned(),
        services: vec![DEMO_SERVICE.parse().unwrap()],
        jobs: vec![],
        images: vec![DEMO_REPOSITORY.to_owned()],
        requesters: vec![RequesterMatch {
            issuer: "github".to_owned(),
            claims: Default::default(),
            acts_for: None,
        }],
        rules: Vec::new(),
        expires_in_seconds: 3600,
        execute_within_seconds: 3600,
        newer_request: NewerRequest::Supersede,
        max_pending: 100,
        default_steps: vec![10, 100],
        plan: Default::default(),
        enrolment: EnrolmentRules::default(),
        keys: None,
        actions: Vec::new(),
        requests_per_hour: None,
        windows: Default::default(),
        break_glass: None,
        workflow_runs: Vec::new(),
        github_accounts: Default::default(),
        separation: None,
        groups_must_be_signed: false,
        attestor: None,
    };
    let request = DeploymentRequest {
        service: web(),
        image: image('2').parse().unwrap(),
        template: changes.map(|changes| check_template(ServiceKind::Service, &changes).unwrap()),
        steps: None,
        on_failure: None,
        after: None,
        words: Words { reason: "A test".to_owned(), ..Words::default() },
    };
    let requester = Requester {
        issuer: "github".to_owned(),
        issuer_url: "https://token.actions.githubusercontent.com".to_owned(),
        subject: "repo:acme/web".to_owned(),
        key: "github:1001".to_owned(),
        claims: Default::default(),
    };
    let occasion = Occasion {
        id: ApprovalId::from_random([7; 16]),
        audience: "http://localhost:8080",
        commit: None,
        shipped: None,
        requested_at: "2026-11-24T14:00:00Z".parse().unwrap(),
    };
    request.freeze(&policy, observed, requester, occasion).unwrap()
}

/// The service once nothing is being worked on any more.
async fn settled(cloud_run: &CloudRun) -> ObservedService {
    for _ in 0..200 {
        let observed = cloud_run.observe_service(&web()).await.unwrap().unwrap();
        if observed.readiness != Readiness::Reconciling {
            return observed;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("the service never settled");
}

/// The service as it is, and what a plain request for it freezes to.
async fn asked(cloud_run: &CloudRun) -> (ObservedService, Deployment) {
    let observed = settled(cloud_run).await;
    let deployment = frozen(Some(&observed), None).deployment().unwrap().clone();
    (observed, deployment)
}

#[tokio::test]
async fn cloud_run_is_observed_as_it_is() {
    let sandbox = Sandbox::with_web().await;
    let cloud_run = client(&sandbox);
    let first = short(&sandbox.web().await["latestReadyRevision"]);
    let observed = cloud_run.observe_service(&web()).await.unwrap().unwrap();
    assert_eq!(observed.readiness, Readiness::Ready);
    assert_eq!((observed.generation, observed.uid.len()), (1, 36));
    // The sandbox's service follows the latest revision, which has a name.
    assert_eq!(observed.serving, [share(&first, 100)]);
    assert_eq!(observed.wanted, observed.serving);
    assert_eq!((observed.tags.as_slice(), &observed.latest_created_revision), (&[][..], &first));
    assert_eq!(observed.last_modifier, "deployer@demo.iam.gserviceaccount.com");
    assert!(observed.uri.starts_with("https://web-"), "{}", observed.uri);
    assert_eq!(observed.template["containers"][0]["image"], image('1'));
    let revision = cloud_run.observe_revision(&web(), &first).await.unwrap().unwrap();
    assert_eq!((revision.name, revision.image), (first, image('1')));
    assert_eq!(revision.readiness, Readiness::Ready);
    assert_eq!(sandbox.journal("GET").await.len(), 3);
}

#[tokio::test]
async fn what_does_not_exist_on_cloud_run_is_none() {
    let sandbox = Sandbox::with_web().await;
    let cloud_run = client(&sandbox);
    let absent: ServiceName = format!("{WEB}-absent").parse().unwrap();
    assert_eq!(cloud_run.observe_service(&absent).await.unwrap(), None);
    assert_eq!(cloud_run.observe_revision(&absent, "x-1").await.unwrap(), None);
    assert_eq!(cloud_run.observe_revision(&web(), "web-absent").await.unwrap(), None);
}

#[tokio::test]
async fn a_change_on_cloud_run_is_reconciling_until_it_is_in_effect_or_failed() {
    let sandbox = Sandbox::with_web().await;
    let cloud_run = client(&sandbox);
    let first = short(&sandbox.web().await["latestReadyRevision"]);
    sandbox.fault("PATCH", json!({ "kind": "revision_fails", "message": "It crashed." })).await;
    sandbox.run.set_ready_delay(jiff::SignedDuration::from_hours(1));
    let mut named = template('2');
    named["revision"] = json!("web-two");
    sandbox.patch("template", json!({ "template": named })).await;
    let during = cloud_run.observe_service(&web()).await.unwrap().unwrap();
    assert_eq!(during.readiness, Readiness::Reconciling);
    let revision = cloud_run.observe_revision(&web(), "web-two").await.unwrap().unwrap();
    assert_eq!(revision.readiness, Readiness::Reconciling);
    sandbox.clock.shift(jiff::SignedDuration::from_hours(1));
    let after = settled(&cloud_run).await;
    let revision = cloud_run.observe_revision(&web(), "web-two").await.unwrap().unwrap();
    for readiness in [after.readiness, revision.readiness] {
        let Readiness::Failed(why) = readiness else { panic!("{readiness:?}") };
        assert!(why.contains("It crashed."), "{why}");
    }
    assert_eq!(after.latest_created_revision, "web-two");
    assert_eq!(after.serving, [share(&first, 100)]);
}

#[tokio::test]
async fn shares_and_tags_are_observed_by_revision() {
    let sandbox = Sandbox::with_web().await;
    let cloud_run = client(&sandbox);
    let first = short(&sandbox.web().await["latestReadyRevision"]);
    let mut tagged = target(&first, 30);
    tagged["tag"] = json!("stable");
    let latest = "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST";
    let mut named = template('2');
    named["revision"] = json!("web-two");
    let traffic = json!([
        { "type": latest, "percent": 60 },
        { "type": latest, "tag": "newest" },
        tagged,
        target(&first, 10),
    ]);
    sandbox.patch("template,traffic", json!({ "template": named, "traffic": traffic })).await;
    let observed = settled(&cloud_run).await;
    let mut expected = [share(&first, 40), share("web-two", 60)];
    expected.sort();
    assert_eq!(observed.serving, expected);
    assert_eq!(observed.wanted, expected);
    let tag = |tag: &str, revision: &str| TrafficTag { tag: tag.into(), revision: revision.into() };
    assert_eq!(observed.tags, [tag("newest", "web-two"), tag("stable", &first)]);
}
