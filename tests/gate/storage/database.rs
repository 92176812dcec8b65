//! A database without a gate, and what tests of storage write into it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use countersign::domain::approval::{Approval, Transition};
use countersign::domain::decision::{Decision, SignedDecision, Verdict};
use countersign::domain::deployment::Deployment;
use countersign::domain::digest::Digest;
use countersign::domain::ids::ApprovalId;
use countersign::domain::log_key::LogKey;
use countersign::domain::person::{Person, Profile};
use countersign::domain::policy::{Policy, Rule};
use countersign::domain::statement::{Decider, FrozenStatement, Saying};
use countersign::domain::subject::FrozenSubject;
use countersign::storage::audit::{AuditReport, verify_ledger};
use countersign::storage::{
    AskedWith, Credential, CredentialStatus, NewApproval, Session, Storage, StoredApproval,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use sqlx::{AnyConnection, AssertSqlSafe, Connection, Executor};
use tempfile::TempDir;

use crate::sample_approval::{deployment, policy};
use crate::support::gate::Engine;
use crate::support::postgres::fresh_database;

pub use crate::sample_approval::{now, person};

/// A database of one test.
pub struct Database {
    pub engine: Engine,
    pub url: String,
    counter: AtomicU8,
    _folder: TempDir,
}

impl Database {
    pub async fn new(engine: Engine) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = match engine {
            Engine::Sqlite => format!("sqlite://{}", folder.path().join("gate.db").display()),
            Engine::Postgres => fresh_database().await,
        };
        Self { engine, url, counter: AtomicU8::new(1), _folder: folder }
    }

    pub async fn open(&self) -> Storage {
        Storage::open(&self.url, log_key()).await.unwrap()
    }

    /// Runs SQL beside the gate, as somebody who has the database in their hands would: no foreign
    /// key stops them. Each statement must find its row.
    pub async fn tamper(&self, statements: &[&str]) {
        sqlx::any::install_default_drivers();
        let mut connection = AnyConnection::connect(&self.url).await.unwrap();
        let unguarded = match self.engine {
            Engine::Sqlite => "PRAGMA foreign_keys = OFF",
            Engine::Postgres => "SET session_replication_role = replica",
        };
        connection.execute(unguarded).await.unwrap();
        for sql in statements {
            let done = connection.execute(AssertSqlSafe((*sql).to_owned())).await.unwrap();
            assert!(done.rows_affected() > 0, "it changed nothing: {sql}");
        }
        connection.close().await.unwrap();
    }

    /// Runs one statement beside the gate, whatever it changes.
    pub async fn execute(&self, sql: &'static str) {
        sqlx::any::install_default_drivers();
        let mut connection = AnyConnection::connect(&self.url).await.unwrap();
        connection.execute(sql).await.unwrap();
        connection.close().await.unwrap();
    }

    pub async fn audit(&self) -> AuditReport {
        let storage = self.open().await;
        let report = verify_ledger(&storage).await.unwrap();
        storage.close().await;
        report
    }

    /// A new request, different from every other.
    pub fn request(&self) -> Transition {
        self.request_with(|_| {})
    }

    pub fn request_with(&self, change: impl FnOnce(&mut Deployment)) -> Transition {
        let mut deployment = deployment();
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        deployment.approval = ApprovalId::from_random([number; 16]);
        deployment.policy_digest = one_must_sign().canonical().unwrap().1;
        change(&mut deployment);
        Approval::request(FrozenSubject::freeze(deployment).unwrap(), one_must_sign())
    }
}

pub fn log_key() -> Arc<LogKey> {
    Arc::new(LogKey::from_seed(&[7; 32]).unwrap())
}

/// A policy that one signature meets.
pub fn one_must_sign() -> Policy {
    let from = vec!["group:release-managers".parse().unwrap()];
    Policy { rules: vec![Rule { from, count: 1, environment: None }], ..policy() }
}

/// How a request was made: each under its own key.
pub fn asked(transition: &Transition) -> NewApproval {
    let deployment = &transition.approval.subject;
    NewApproval {
        requester_key: deployment.requester.key.clone(),
        idempotency_key: format!("key of {}", deployment.approval),
        request_digest: Digest::of(deployment.text()),
        asked_with: AskedWith::Token {
            token: "header.claims.signature".into(),
            key: "{}".into(),
            key_thumbprint: "thumbprint".into(),
        },
        notify: None,
    }
}

/// Stores a request.
pub async fn create(storage: &Storage, transition: Transition) -> StoredApproval {
    let asked = asked(&transition);
    let mut writer = storage.begin().await.unwrap();
    let stored = writer.create(transition, &asked, now()).await.unwrap();
    writer.commit().await.unwrap();
    stored
}

/// Stores a change.
pub async fn apply(storage: &Storage, transition: Transition) -> Approval {
    let mut writer = storage.begin().await.unwrap();
    let approval = writer.apply(transition, now()).await.unwrap();
    writer.commit().await.unwrap();
    approval
}

pub fn session(subject: &str) -> Session {
    let profile = Profile {
        person: person(subject),
        name: subject.into(),
        email: None,
        groups: vec!["release-managers".into()],
        github_id: None,
        gate_groups: false,
        directory_unreachable_since: None,
    };
    Session {
        id: Digest::of(subject),
        profile,
        id_token: format!("header.{subject}.signature"),
        issuer_key: "{}".into(),
        auth_time: None,
        created_at: now(),
        expires_at: now() + SignedDuration::from_mins(15),
    }
}

/// A person signs in, as the gate records it.
pub async fn sign_in(storage: &Storage, subject: &str) -> Session {
    let session = session(subject);
    let data = json!({
        "person": session.profile.person,
        "name": session.profile.name,
        "groups": session.profile.groups,
        "auth_time": session.auth_time,
        "sign_in_digest": Digest::of(&session.id_token),
    });
    let mut writer = storage.begin().await.unwrap();
    writer.insert_session(&session).await.unwrap();
    writer.record("person.signed_in", data, now()).await.unwrap();
    writer.commit().await.unwrap();
    session
}

pub fn credential(subject: &str) -> Credential {
    Credential {
        id: format!("key of {subject}").into_bytes(),
        person: person(subject),
        name: "Blue key".into(),
        public_key: vec![1, 2, 3],
        sign_count: 5,
        backup_eligible: false,
        backup_state: false,
        aaguid: [4; 16],
        transports: vec!["usb".into()],
        registration: "{}".into(),
        id_token: format!("header.{subject}.enrolment"),
        issuer_key: "{}".into(),
        status: CredentialStatus::Active,
        created_at: now(),
        last_used_at: None,
    }
}

fn encode(bytes: &[u8]) -> String {
    data_encoding::BASE64URL_NOPAD.encode(bytes)
}

/// A person registers a key, as the gate records it.
pub async fn register(storage: &Storage, subject: &str) -> Credential {
    let credential = credential(subject);
    let data = json!({
        "person": credential.person,
        "credential": encode(&credential.id),
        "public_key": encode(&credential.public_key),
        "aaguid": data_encoding::HEXLOWER.encode(&credential.aaguid),
        "backup_eligible": credential.backup_eligible,
        "registration_digest": Digest::of(&credential.registration),
        "sign_in_digest": Digest::of(&credential.id_token),
    });
    let mut writer = storage.begin().await.unwrap();
    writer.insert_credential(&credential).await.unwrap();
    writer.record("credential.registered", data, now()).await.unwrap();
    writer.commit().await.unwrap();
    credential
}

/// A person's decision, and what proves it but for the signature, which storage does not judge.
pub fn decision(
    approval: &Approval,
    subject: &str,
    verdict: Verdict,
    at: Timestamp,
) -> (Person, Decision, SignedDecision) {
    let (session, credential) = (session(subject), credential(subject));
    let decider = Decider {
        approver: session.profile.person.clone(),
        credentials: vec![encode(&credential.id)],
        sign_in_digest: Digest::of(&session.id_token),
    };
    let nonce = format!("nonce of {subject}");
    let saying = Saying {
        decision: verdict,
        reason: None,
        withdraws: None,
        directory_unreachable_since: None,
    };
    let statement =
        FrozenStatement::prepare(&approval.subject, saying, decider, nonce, at).unwrap();
    let signed = SignedDecision {
        statement: statement.text().into(),
        credential_id: credential.id.clone(),
        authenticator_data: vec![1; 37],
        client_data_json: b"{}".to_vec(),
        signature: vec![2; 70],
        user_handle: None,
        id_token: session.id_token.clone(),
        issuer_key: session.issuer_key.clone(),
        decided_at: at,
    };
    let decision = Decision {
        person: session.profile.person.clone(),
        name: session.profile.name.clone(),
        groups: session.profile.groups.clone(),
        github_id: None,
        verdict,
        reason: None,
        directory_unreachable_since: None,
        decided_at: at,
        statement_digest: Digest::of(statement.text()),
        credential: encode(&credential.id),
        assertion_digest: signed.assertion_digest().unwrap(),
        sign_in_key: "thumbprint".into(),
    };
    (session.profile.person, decision, signed)
}

/// Records a person's decision.
pub async fn decide(
    storage: &Storage,
    approval: Approval,
    subject: &str,
    verdict: Verdict,
) -> Approval {
    let (person, decision, signed) = decision(&approval, subject, verdict, now());
    let mut writer = storage.begin().await.unwrap();
    writer.insert_decision(approval.id(), &person, &signed).await.unwrap();
    let approval = writer.apply(approval.decide(decision, now()).unwrap(), now()).await.unwrap();
    writer.commit().await.unwrap();
    approval
}

/// An approval that waits for its rollout, and so has a job.
pub async fn approved(storage: &Storage, database: &Database) -> Approval {
    let stored = create(storage, database.request()).await;
    decide(storage, stored.approval, "alice", Verdict::Approve).await
}
