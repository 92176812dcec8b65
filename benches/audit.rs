//! What an audit costs: database bytes per approval, and exporting and checking a period with many of
//! them. Each approval has a request, a signature and a rollout, all of it genuine.
//!
//! `cargo bench --bench audit` takes 10,000 approvals; `-- --approvals 100` another number, `-- --json`
//! prints one line. A tenth of them is measured first, so that it shows whether memory stays flat. The
//! check runs as a process of its own, as an auditor would run it.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark prints, and stops at the first surprise"
)]

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign::cli::audit::export;
use countersign::domain::approval::Approval;
use countersign::domain::decision::{Decision, SignedDecision, Verdict, assertion_digest};
use countersign::domain::digest::Digest;
use countersign::domain::ids::ApprovalId;
use countersign::domain::log_key::LogKey;
use countersign::domain::period::Period;
use countersign::domain::person::Person;
use countersign::domain::policy::{Policy, RequesterMatch, Rule};
use countersign::domain::rollout::{Answer, Call, Intent, Outcome, Progress};
use countersign::domain::statement::{Decider, FrozenStatement, Saying};
use countersign::domain::subject::FrozenSubject;
use countersign::proof::assertion::UnverifiedAssertion;
use countersign::proof::base64url;
use countersign::proof::jwk::thumbprint;
use countersign::proof::registration;
use countersign::proof::user_handle::user_handle;
use countersign::randomness;
use countersign::sandbox::authenticator::SoftwareAuthenticator;
use countersign::storage::{AskedWith, Credential, CredentialStatus, NewApproval, Storage};
use jiff::SignedDuration;
use serde_json::{Map, Value, json};

#[expect(dead_code, reason = "the benchmark needs a part of what tests share")]
#[path = "../tests/gate/evidence/keys.rs"]
mod keys;
#[expect(dead_code, reason = "the benchmark needs a part of what tests share")]
#[path = "../tests/gate/sample_approval.rs"]
mod sample_approval;

use keys::{CLIENT, DIRECTORY, Keys, ORIGIN, RP_ID};

/// How many approvals, if nobody says.
const APPROVALS: u64 = 10_000;

/// The one who signs everything.
struct Signer {
    person: Person,
    authenticator: SoftwareAuthenticator,
    credential: Vec<u8>,
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let after = arguments.iter().skip_while(|argument| *argument != "--approvals").nth(1);
    let count = after.map_or(APPROVALS, |number| number.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let keys = Keys::new();
    let seed: [u8; 32] = randomness::bytes();
    let log_key = Arc::new(LogKey::from_seed(&seed).unwrap());
    let mut trust = keys.trust();
    let log_name = countersign::gate::evidence::log_name(ORIGIN);
    trust.log = log_key.public().verifier_key(&log_name);
    // Nobody watches this log while it is measured.
    trust.witnesses.clear();
    trust.witnesses_required = 0;
    std::fs::write(folder.path().join("trust.json"), json!(trust).to_string()).unwrap();
    let database = folder.path().join("gate.db");
    let url = format!("sqlite://{}", database.display());
    let storage = Storage::open(&url, log_key.clone()).await.unwrap();
    let mut signer = enrol(&storage, &keys).await;
    let empty = size_of(&database);
    let (mut made, mut stages) = (0, Vec::new());
    for target in [count / 10, count] {
        let started = Instant::now();
        while made < target {
            approve(&storage, &keys, &mut signer, made).await;
            made += 1;
        }
        let filled = started.elapsed();
        let out = folder.path().join(format!("export-{target}"));
        std::fs::create_dir_all(out.join("evidence")).unwrap();
        let period = Period::parse("2026-01-01", "2026-12-31").unwrap();
        let started = Instant::now();
        export(&storage, &trust, period, &out, sample_approval::now()).await.map(|_| ()).unwrap();
        let exported = started.elapsed();
        let (checked, peak) = check(folder.path(), &out);
        stages.push(json!({
            "approvals": target,
            "filled_s": filled.as_secs_f64(),
            "exported_and_checked_s": exported.as_secs_f64(),
            "verified_s": checked.as_secs_f64(),
            "verify_peak_mib": peak,
            "export_bytes_per_approval": folder_size(&out) / target.max(1),
        }));
    }
    storage.close().await;
    let bytes = (size_of(&database) - empty) / count;
    let report =
        json!({"benchmark": "audit", "database_bytes_per_approval": bytes, "stages": stages});
    if arguments.iter().any(|argument| argument == "--json") {
        println!("{report}");
    } else {
        println!("{report:#}");
    }
}

fn size_of(file: &Path) -> u64 {
    let size = |path: &Path| std::fs::metadata(path).map_or(0, |found| found.len());
    size(file) + size(&file.with_extension("db-wal"))
}

fn folder_size(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    let sizes = entries.map(|entry| match entry.file_type().unwrap().is_dir() {
        true => folder_size(&entry.path()),
        false => entry.metadata().unwrap().len(),
    });
    sizes.sum()
}

/// Checks a folder in a process of its own: how long it took, and the most memory that it had in MiB.
fn check(folder: &Path, out: &Path) -> (Duration, f64) {
    let started = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_countersign"))
        .args(["audit", "verify"])
        .arg(out)
        .arg("--trust")
        .arg(folder.join("trust.json"))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let status_file = format!("/proc/{}/status", child.id());
    let mut peak = 0.0_f64;
    let status = loop {
        // Where there is no /proc the peak is told as 0.
        let status = std::fs::read_to_string(&status_file).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
        peak = peak.max(kib.unwrap_or_default() / 1024.0);
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let took = started.elapsed();
    assert!(status.success(), "the export does not hold");
    (took, peak)
}

fn policy() -> Policy {
    let deployment = sample_approval::deployment();
    let claims = [("repository_id".to_owned(), vec!["712345".to_owned()])];
    let from = vec!["group:release-managers".parse().unwrap()];
    Policy {
        services: vec![deployment.service],
        images: vec![deployment.image.repository().to_owned()],
        requesters: vec![RequesterMatch {
            issuer: "github".into(),
            claims: claims.into_iter().collect(),
            acts_for: None,
        }],
        rules: vec![Rule { from, count: 1, environment: None }],
        ..sample_approval::policy()
    }
}

fn id_token(keys: &Keys, nonce: &str, at: jiff::Timestamp) -> String {
    let at = at.as_second();
    let claims = json!({
        "iss": DIRECTORY, "aud": CLIENT, "sub": "u-alice", "nonce": nonce,
        "iat": at, "exp": at + 300, "name": "Alice", "groups": ["release-managers"],
    });
    keys.directory.sign(claims.as_object().unwrap())
}

async fn enrol(storage: &Storage, keys: &Keys) -> Signer {
    let at = sample_approval::deployment().requested_at;
    let mut authenticator = SoftwareAuthenticator::new();
    let options = json!({
        "rp": {"id": RP_ID, "name": "Countersign"},
        "user": {"id": base64url::encode(&user_handle(DIRECTORY, "u-alice")), "name": "a", "displayName": "a"},
        "challenge": randomness::token::<32>(),
        "pubKeyCredParams": [{"type": "public-key", "alg": -7}],
    });
    let response = authenticator.create(&options, ORIGIN).unwrap().to_string();
    let read = registration::read(response.as_bytes(), ORIGIN, RP_ID).unwrap().credential;
    let nonce = base64url::encode(Digest::of(&response).as_bytes());
    let person = Person { issuer: DIRECTORY.into(), subject: "u-alice".into() };
    let credential = Credential {
        id: read.credential_id.clone(),
        person: person.clone(),
        name: "Key".into(),
        public_key: read.public_key.cose().to_vec(),
        sign_count: 0,
        backup_eligible: read.flags.backup_eligible(),
        backup_state: false,
        aaguid: read.aaguid,
        transports: Vec::new(),
        registration: response,
        id_token: id_token(keys, &nonce, at),
        issuer_key: keys.directory.text(),
        status: CredentialStatus::Active,
        created_at: at,
        last_used_at: None,
    };
    let data = json!({
        "person": person,
        "credential": base64url::encode(&credential.id),
        "public_key": base64url::encode(&credential.public_key),
        "aaguid": data_encoding::HEXLOWER.encode(&credential.aaguid),
        "backup_eligible": credential.backup_eligible,
        "registration_digest": Digest::of(&credential.registration),
        "sign_in_digest": Digest::of(&credential.id_token),
        "sign_in_key": thumbprint(&credential.issuer_key),
    });
    let mut writer = storage.begin().await.unwrap();
    writer.insert_credential(&credential).await.unwrap();
    writer.record("credential.registered", data, at).await.unwrap();
    writer.commit().await.unwrap();
    Signer { person, authenticator, credential: credential.id }
}

/// One approval from request to success, in one commit: the ledger has all of its entries.
async fn approve(storage: &Storage, keys: &Keys, signer: &mut Signer, number: u64) {
    let (frozen, asked) = request(keys, number);
    let start = frozen.requested_at;
    let at = start + SignedDuration::from_secs(60);
    let (decision, signed) = sign(keys, signer, &frozen, at);
    let mut writer = storage.begin().await.unwrap();
    let transition = Approval::request(frozen, policy());
    let stored = writer.create(transition, &asked, start).await.unwrap();
    let transition = stored.approval.decide(decision, at).unwrap();
    let id = transition.approval.id().clone();
    writer.insert_decision(&id, &signer.person, &signed).await.unwrap();
    let approval = writer.apply(transition, at).await.unwrap();
    let later = sample_approval::now();
    let approval = writer.apply(approval.begin(later).unwrap(), later).await.unwrap();
    let call = Call::CreateRevision {};
    let intent = Intent { call, etag: Some("\"e1\"".into()), at: later, answer: None };
    let answered = Intent { answer: Some(Answer::Accepted { at: later }), ..intent.clone() };
    let mut approval = approval;
    for intent in [intent, answered] {
        let progress = Progress { intent: Some(intent), ..Progress::default() };
        approval = writer.apply(approval.advance(progress).unwrap(), later).await.unwrap();
    }
    let steps_done = approval.subject.deployment().unwrap().plan.steps.len();
    let seen =
        Progress { revision_ready: true, steps_done, generation: Some(45), ..Progress::default() };
    let approval = writer.apply(approval.advance(seen).unwrap(), later).await.unwrap();
    let outcome = Outcome::Succeeded(sample_approval::serving());
    writer.apply(approval.finish(outcome, later).unwrap(), later).await.unwrap();
    writer.commit().await.unwrap();
}

fn request(keys: &Keys, number: u64) -> (FrozenSubject, NewApproval) {
    let mut deployment = sample_approval::deployment();
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    deployment.approval = ApprovalId::from_random(id);
    deployment.audience = ORIGIN.into();
    deployment.policy_digest = policy().canonical().unwrap().1;
    let asked = deployment.requested_at.as_second();
    let own = json!({
        "iss": deployment.requester.issuer_url, "sub": deployment.requester.subject, "aud": ORIGIN,
        "iat": asked - 5, "nbf": asked - 5, "exp": asked + 300, "jti": number.to_string(),
    });
    let own: Map<String, Value> = own.as_object().unwrap().clone();
    deployment.requester.claims.extend(own);
    let token = keys.workload.sign(&deployment.requester.claims);
    let frozen = FrozenSubject::freeze(deployment).unwrap();
    let new = NewApproval {
        requester_key: frozen.requester.key.clone(),
        idempotency_key: number.to_string(),
        request_digest: Digest::of(frozen.text()),
        asked_with: AskedWith::Token {
            token,
            key: keys.workload.text(),
            key_thumbprint: thumbprint(&keys.workload.text()),
        },
        notify: None,
    };
    (frozen, new)
}

fn sign(
    keys: &Keys,
    signer: &mut Signer,
    frozen: &FrozenSubject,
    at: jiff::Timestamp,
) -> (Decision, SignedDecision) {
    let id_token = id_token(keys, "n", at - SignedDuration::from_secs(40));
    let credential = base64url::encode(&signer.credential);
    let decider = Decider {
        approver: signer.person.clone(),
        credentials: vec![credential.clone()],
        sign_in_digest: Digest::of(&id_token),
    };
    let (issued, nonce) = (at - SignedDuration::from_secs(20), randomness::token::<32>());
    let saying = Saying {
        decision: Verdict::Approve,
        reason: None,
        withdraws: None,
        directory_unreachable_since: None,
    };
    let statement = FrozenStatement::prepare(frozen, saying, decider, nonce, issued).unwrap();
    let challenge = base64url::encode(statement.challenge().as_bytes());
    let options = json!({"challenge": challenge, "rpId": RP_ID});
    let assertion = signer.authenticator.assert(&options, ORIGIN).unwrap();
    let assertion: UnverifiedAssertion = serde_json::from_value(assertion).unwrap();
    let decision = Decision {
        person: signer.person.clone(),
        name: "Alice".into(),
        groups: vec!["release-managers".into()],
        github_id: None,
        verdict: Verdict::Approve,
        reason: None,
        directory_unreachable_since: None,
        decided_at: at,
        statement_digest: Digest::of(statement.text()),
        credential,
        assertion_digest: assertion_digest(
            &assertion.authenticator_data,
            &assertion.client_data_json,
            &assertion.signature,
            assertion.user_handle.as_deref(),
        )
        .unwrap(),
        sign_in_key: thumbprint(&keys.directory.text()),
    };
    let signed = SignedDecision {
        statement: statement.text().to_owned(),
        credential_id: signer.credential.clone(),
        authenticator_data: assertion.authenticator_data,
        client_data_json: assertion.client_data_json,
        signature: assertion.signature,
        user_handle: assertion.user_handle,
        id_token,
        issuer_key: keys.directory.text(),
        decided_at: at,
    };
    (decision, signed)
}
