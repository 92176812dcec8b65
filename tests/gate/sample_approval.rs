//! An approval in every state, for tests of sentences and pages.

use std::collections::BTreeMap;

use countersign::domain::approval::{Approval, State};
use countersign::domain::decision::{Decision, Verdict};
use countersign::domain::deployment::{Commit, Deployment, Plan, Preconditions};
use countersign::domain::digest::Digest;
use countersign::domain::ids::ApprovalId;
use countersign::domain::observation::TrafficShare;
use countersign::domain::person::{Person, Profile};
use countersign::domain::plan::{OnFailure, StepPlan};
use countersign::domain::policy::{EnrolmentRules, NewerRequest, POLICY_SCHEMA, Policy, Rule};
use countersign::domain::role::Roles;
use countersign::domain::rollout::{
    Answer, Call, Intent, Progress, RecordedCall, Serving, shares_at,
};
use countersign::domain::rule_change::RuleChange;
use countersign::domain::rulebook::{RULEBOOK_SCHEMA, RULES_ENVIRONMENT, Rulebook};
use countersign::domain::subject::{Facts, FrozenSubject, Link, Requester};
use countersign::domain::workflow_run::{Account, Delivery, Repository, WorkflowRun};
use countersign::web::views::Viewer;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

pub const REVISION: &str = "checkout-00042-k7q";

pub fn now() -> Timestamp {
    "2026-11-24T14:00:00Z".parse().unwrap()
}

pub fn minutes_ago(minutes: i64) -> Timestamp {
    now() - SignedDuration::from_mins(minutes)
}

pub fn share(revision: &str, percent: u8) -> TrafficShare {
    TrafficShare { revision: revision.into(), percent }
}

fn image(content: &str) -> String {
    format!("europe-docker.pkg.dev/acme-prod/shop/checkout@sha256:{}", Digest::of(content))
}

pub fn running() -> Value {
    json!({
        "serviceAccount": "checkout@acme-prod.iam.gserviceaccount.com",
        "timeout": "300s",
        "maxInstanceRequestConcurrency": 80,
        "scaling": {"minInstanceCount": 1, "maxInstanceCount": 20},
        "executionEnvironment": "EXECUTION_ENVIRONMENT_GEN2",
        "labels": {"team": "payments"},
        "containers": [{
            "image": image("before"),
            "ports": [{"containerPort": 8080, "name": "http1"}],
            "env": [
                {"name": "LOG_LEVEL", "value": "info"},
                {"name": "PAYMENTS_URL", "value": "https://payments.acme.example/v1"},
                {"name": "LEGACY_TAX", "value": "true"},
                {"name": "STRIPE_KEY", "valueSource": {"secretKeyRef": {"secret": "stripe-key", "version": "6"}}}
            ],
            "resources": {"limits": {"cpu": "1", "memory": "512Mi"}, "cpuIdle": true}
        }]
    })
}

pub fn proposed() -> Value {
    let mut template = running();
    let container = &mut template["containers"][0];
    container["image"] = json!(image("after"));
    container["env"] = json!([
        {"name": "LOG_LEVEL", "value": "info"},
        {"name": "PAYMENTS_URL", "value": "https://payments.acme.example/v2"},
        {"name": "STRIPE_KEY", "valueSource": {"secretKeyRef": {"secret": "stripe-key", "version": "7"}}},
        {"name": "FEATURE_EXPRESS", "value": "on"}
    ]);
    container["resources"]["limits"]["memory"] = json!("1Gi");
    template["scaling"]["maxInstanceCount"] = json!(40);
    template
}

pub fn policy() -> Policy {
    let rule = |names: &[&str], count| Rule {
        from: names.iter().map(|name| name.parse().unwrap()).collect(),
        count,
        environment: None,
    };
    Policy {
        schema: POLICY_SCHEMA.into(),
        environment: "production".into(),
        services: vec![],
        jobs: vec![],
        images: vec![],
        requesters: vec![],
        rules: vec![rule(&["group:release-managers"], 2), rule(&["group:security"], 1)],
        expires_in_seconds: 7200,
        execute_within_seconds: 3600,
        newer_request: NewerRequest::Supersede,
        max_pending: 100,
        default_steps: vec![100],
        plan: Default::default(),
        enrolment: EnrolmentRules::default(),
        keys: None,
        actions: vec![],
        requests_per_hour: None,
        windows: Default::default(),
        break_glass: None,
        workflow_runs: vec![],
        github_accounts: Default::default(),
        separation: None,
        groups_must_be_signed: false,
        attestor: None,
    }
}

/// The rules of a gate with these environments that pins nothing.
pub fn rulebook(environments: BTreeMap<String, Policy>) -> Rulebook {
    let anchors = json!({
        "endorsements": 0, "endorsers": [], "recovery_signatures": 1, "workload_issuers": [],
        "login": {"issuer": "https://id", "client_id": "c", "groups_claim": "groups", "keys": []},
        "witnesses": [], "witnesses_required": 0,
    });
    Rulebook {
        schema: RULEBOOK_SCHEMA.to_owned(),
        environments,
        roles: Roles::default(),
        anchors: serde_json::from_value(anchors).unwrap(),
        settings: serde_json::Map::new(),
    }
}

/// A change of the rules that lowers a count, drops a rule, makes an operator and pins another endorser.
pub fn rule_change() -> RuleChange {
    let before = rulebook([("production".to_owned(), policy())].into());
    let mut after = before.clone();
    let production = after.environments.get_mut("production").unwrap();
    production.rules.truncate(1);
    production.rules[0].count = 1;
    production.max_pending = 7;
    after.roles.operators = vec!["group:platform".parse().unwrap()];
    after.anchors.endorsers = vec!["pQECAyYgASFYIA".to_owned()];
    let quorum = before.quorum(&after);
    let facts = Facts {
        environment: RULES_ENVIRONMENT.to_owned(),
        requester: RuleChange::requester("https://gate.example.com"),
        audience: "https://gate.example.com".to_owned(),
        reason: "The gate's configuration file says other rules than those in force.".to_owned(),
        title: None,
        acts_for: None,
        body: None,
        links: Vec::new(),
        policy_digest: quorum.canonical().unwrap().1,
        ..deployment().facts
    };
    RuleChange { facts, before, after }
}

/// The same, waiting for signatures.
pub fn pending_rules() -> Approval {
    let change = rule_change();
    let quorum = change.before.quorum(&change.after);
    Approval::request(FrozenSubject::freeze(change).unwrap(), quorum).approval
}

pub fn deployment() -> Deployment {
    let before = [share("checkout-00041-zed", 100)];
    let step =
        |percent| StepPlan::of_percent(percent).with_traffic(shares_at(percent, REVISION, &before));
    let claims = json!({
        "repository": "acme/checkout",
        "repository_id": "712345",
        "ref": "refs/heads/main",
        "sha": "5f3c9a17e0b84d2f9c6a1b7d8e2f4a60c3d5e7f9",
        "job_workflow_ref": "acme/checkout/.github/workflows/deploy.yml@refs/heads/main",
        "run_id": "9876543210",
        "run_attempt": "1",
        "event_name": "push",
        "actor": "mira"
    });
    let facts = Facts {
        acts_for: None,
        approval: ApprovalId::from_random([9; 16]),
        audience: "https://gate.acme.example".into(),
        environment: "production".into(),
        requester: Requester {
            issuer: "github".into(),
            issuer_url: "https://token.actions.githubusercontent.com".into(),
            subject: "repo:acme/checkout:ref:refs/heads/main".into(),
            key: "github:712345".into(),
            claims: claims.as_object().unwrap().clone(),
        },
        reason: "Express checkout for returning customers. Payments API v2 is live since Monday.".into(),
        title: Some("Checkout 4.2: express checkout".into()),
        body: Some("What is in it\n- one-tap payment for saved cards\n- the old tax table is gone\n\nLoad test: 1,200 requests per second, p99 180 ms.".into()),
        links: vec![Link {
            title: "Changes since 4.1".into(),
            url: "https://github.com/acme/checkout/compare/v4.1...v4.2".into(),
        }],
        policy_digest: policy().canonical().unwrap().1,
        requested_at: minutes_ago(6),
        expires_at: now() + SignedDuration::from_mins(114),
    };
    Deployment {
        facts,
        service: "projects/acme-prod/locations/europe-west1/services/checkout".parse().unwrap(),
        image: image("after").parse().unwrap(),
        proposed: proposed(),
        plan: Plan {
            revision: REVISION.into(),
            steps: vec![step(10), step(50), step(100)],
            rollback: before.to_vec(),
            on_failure: OnFailure::Restore,
            rollback_window_seconds: 0,
        },
        preconditions: Preconditions::Present {
            uid: "c0ffee".into(),
            generation: 41,
            serving: before.to_vec(),
            running: running(),
        },
        after: None,
        commit: Some(Commit {
            headline: "Offer one-tap payment for saved cards".into(),
            author: Some("Mira Example".into()),
            authored_at: None,
            url: "https://github.com/acme/checkout/commit/5f3c9a17".into(),
        }),
        shipped: None,
    }
}

/// A run that waits at the environment of [`run_policy`].
pub fn workflow_run() -> WorkflowRun {
    let host = "github.com".to_owned();
    let repository = Repository { id: 712345, name: "acme/checkout".into() };
    let mira = Account { id: 9001, login: "mira".into() };
    let facts = Facts {
        requester: WorkflowRun::requester_of(&host, &repository),
        reason: "Offer one-tap payment for saved cards".into(),
        title: None,
        body: None,
        links: vec![],
        policy_digest: run_policy().canonical().unwrap().1,
        ..deployment().facts
    };
    WorkflowRun {
        facts,
        host,
        repository,
        run: 9_876_543_210,
        attempt: 1,
        workflow: ".github/workflows/deploy.yml@main".into(),
        branch: "main".into(),
        commit: "5f3c9a17e0b84d2f9c6a1b7d8e2f4a60c3d5e7f9".into(),
        event: "push".into(),
        actor: Some(mira.clone()),
        triggering_actor: Some(mira),
        delivery: Delivery {
            id: "0b989ba4-242f-11e5-81e1-c7b6966d2516".into(),
            body_digest: Digest::of("body"),
            signature_digest: Digest::of("signature"),
        },
    }
}

/// One that lets people sign for runs.
pub fn run_policy() -> Policy {
    let listed =
        json!({"repository_id": ["712345"], "branch": ["main", "release/*"], "event": ["push"]});
    Policy { workflow_runs: vec![serde_json::from_value(listed).unwrap()], ..policy() }
}

/// A run that waits for signatures.
pub fn pending_run(run: WorkflowRun) -> Approval {
    Approval::request(FrozenSubject::freeze(run).unwrap(), run_policy()).approval
}

pub fn approval_of(deployment: Deployment) -> Approval {
    Approval::request(FrozenSubject::freeze(deployment).unwrap(), policy()).approval
}

pub fn pending() -> Approval {
    approval_of(deployment())
}

pub fn person(subject: &str) -> Person {
    Person { issuer: "https://login.acme.example".into(), subject: subject.into() }
}

pub fn decision(name: &str, group: &str, verdict: Verdict, reason: Option<&str>) -> Decision {
    Decision {
        person: person(&name.to_lowercase().replace(' ', ".")),
        name: name.into(),
        groups: vec![group.into()],
        github_id: None,
        verdict,
        reason: reason.map(str::to_owned),
        directory_unreachable_since: None,
        decided_at: minutes_ago(2),
        statement_digest: Digest::of(name),
        credential: "Xo3kq2M0T4aVb6yQpLz8dw".into(),
        assertion_digest: Digest::of("assertion"),
        sign_in_key: "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs".into(),
    }
}

pub fn viewer(name: &str, groups: &[&str], keys: &[&str]) -> Viewer {
    Viewer {
        keys_refused: None,
        keys_until: None,
        profile: Profile {
            person: person(&name.to_lowercase().replace(' ', ".")),
            name: name.into(),
            email: None,
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            github_id: None,
            gate_groups: false,
            directory_unreachable_since: None,
        },
        signed_in_at: Some(minutes_ago(3)),
        keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        reads_ledger: false,
        is_auditor: false,
        session_ends_at: now() + SignedDuration::from_mins(12),
    }
}

pub fn signed_once() -> Approval {
    let yes = decision("Alice Moreau", "release-managers", Verdict::Approve, None);
    pending().decide(yes, minutes_ago(2)).unwrap().approval
}

/// Alice took her yes back.
pub fn taken_back() -> Approval {
    let why = Some("The migration is not reviewed yet.");
    let back = decision("Alice Moreau", "release-managers", Verdict::Withdraw, why);
    signed_once().decide(back, minutes_ago(1)).unwrap().approval
}

pub fn approved() -> Approval {
    let mut approval = signed_once();
    for (name, group) in [("Bob Lindqvist", "release-managers"), ("Carol Ndiaye", "security")] {
        let yes = decision(name, group, Verdict::Approve, None);
        approval = approval.decide(yes, minutes_ago(1)).unwrap().approval;
    }
    approval
}

pub fn in_state(state: State) -> Approval {
    Approval { state, ..approved() }
}

pub fn progress(revision_ready: bool, steps_done: usize, call: Option<Call>) -> Progress {
    let intent = call.map(|call| Intent { call, etag: None, at: minutes_ago(0), answer: None });
    Progress { revision_ready, steps_done, intent, ..Progress::default() }
}

pub fn executing(progress: Progress) -> Approval {
    in_state(State::Executing { since: minutes_ago(1), progress, orders: Default::default() })
}

/// A call that was taken, one whose outcome is not known, and one after which the gate stopped.
pub fn calls() -> Vec<RecordedCall> {
    let call = |call, minutes, answer| RecordedCall {
        call,
        etag: Some("\"BwYk3fX9uQ0=/2026\"".into()),
        announced_at: minutes_ago(minutes),
        answer,
    };
    let reason = "Cloud Run gave no clear answer: the connection was closed <b>.".to_owned();
    vec![
        call(Call::CreateRevision {}, 4, Some(Answer::Accepted { at: minutes_ago(4) })),
        call(
            Call::MoveTraffic { step: 0 },
            2,
            Some(Answer::Unknown { at: minutes_ago(2), reason }),
        ),
        call(Call::MoveTraffic { step: 0 }, 1, None),
    ]
}

pub fn serving() -> Serving {
    Serving {
        revision: REVISION.into(),
        uri: "https://checkout-4f2k7q-ew.a.run.app".into(),
        traffic: vec![share(REVISION, 100)],
        generation: 45,
        image_digest: None,
        checks: vec![],
        observed_at: minutes_ago(0),
    }
}

/// One approval in each state that is not pending, with a name for it.
pub fn after_pending() -> Vec<(&'static str, Approval)> {
    let reason = || "Cloud Run says: the container did not listen on port 8080.".to_owned();
    let at = minutes_ago(0);
    let rejection = decision(
        "Bob Lindqvist",
        "release-managers",
        Verdict::Reject,
        Some("The load test ran against v1. Run it again."),
    );
    vec![
        ("approved", approved()),
        ("creating", executing(progress(false, 0, Some(Call::CreateRevision {})))),
        ("moving", executing(progress(true, 1, Some(Call::MoveTraffic { step: 1 })))),
        ("checking", executing(progress(true, 3, None))),
        ("restoring", executing(Progress { restoring: Some(reason()), ..progress(true, 1, None) })),
        (
            "succeeded",
            in_state(State::Succeeded {
                at,
                serving: Some(serving()),
                execution: None,
                updated: None,
            }),
        ),
        ("failed", in_state(State::Failed { at, reason: reason(), execution: None })),
        ("rolled_back", in_state(State::RolledBack { at, reason: reason() })),
        (
            "needs_attention",
            in_state(State::NeedsAttention {
                at,
                reason: "somebody changed the service while it was rolled out".into(),
                progress: progress(true, 1, None),
            }),
        ),
        ("rejected", signed_once().decide(rejection, minutes_ago(1)).unwrap().approval),
        ("expired", Approval { state: State::Expired { at }, ..signed_once() }),
        ("cancelled", Approval { state: State::Cancelled { at }, ..pending() }),
        (
            "superseded",
            Approval {
                state: State::Superseded { at, by: ApprovalId::from_random([8; 16]) },
                ..pending()
            },
        ),
        ("withdrawn", in_state(State::Withdrawn { at, by: person("alice.moreau") })),
    ]
}
