//! Somebody who can write anything into the database while the gate runs.

use std::collections::BTreeMap;

use countersign::config::Config;
use countersign::domain::canonical::to_canonical_json;
use countersign::domain::deployment::Deployment;
use countersign::domain::digest::Digest;
use countersign::domain::subject::Subject;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sqlx::{AnyConnection, AssertSqlSafe, Connection, Executor, Row};

use crate::support::gate::{Engine, Gate, send};

/// A connection of the attacker's own, beside the gate's.
pub struct Attacker {
    connection: AnyConnection,
    engine: Engine,
}

impl Attacker {
    pub async fn new(gate: &Gate, engine: Engine) -> Self {
        let config = Config::load(&gate.servers.files.config, &BTreeMap::new()).unwrap();
        sqlx::any::install_default_drivers();
        let connection = AnyConnection::connect(config.database.expose_secret()).await.unwrap();
        Self { connection, engine }
    }

    /// Runs SQL as it stands.
    pub async fn run(&mut self, sql: &str) {
        let done = self.connection.execute(AssertSqlSafe(sql.to_owned())).await;
        done.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// Reads one value as text; bytes in hexadecimal, `None` for NULL or no row.
    pub async fn read(&mut self, sql: &str) -> Option<String> {
        let row = sqlx::query(AssertSqlSafe(sql.to_owned()));
        let row = row.fetch_optional(&mut self.connection).await;
        let row = row.unwrap_or_else(|error| panic!("{sql}: {error}"))?;
        if let Ok(text) = row.try_get::<Option<String>, _>(0) {
            return text;
        }
        if let Ok(number) = row.try_get::<Option<i64>, _>(0) {
            return number.map(|number| number.to_string());
        }
        let bytes: Option<Vec<u8>> = row.try_get(0).unwrap();
        bytes.map(|bytes| data_encoding::HEXLOWER.encode(&bytes))
    }

    pub async fn number(&mut self, sql: &str) -> i64 {
        self.read(sql).await.unwrap().parse().unwrap()
    }

    /// Bytes as this database writes them.
    pub fn bytes(&self, bytes: &[u8]) -> String {
        let hex = data_encoding::HEXLOWER.encode(bytes);
        match self.engine {
            Engine::Sqlite => format!("x'{hex}'"),
            Engine::Postgres => format!("decode('{hex}', 'hex')"),
        }
    }

    /// Keeps the worker from every new job until the attack is through.
    pub async fn hold_jobs(&mut self) {
        let hold = "UPDATE jobs SET due_at = 9000000000000000 WHERE approval_id = NEW.approval_id";
        let sql = match self.engine {
            Engine::Sqlite => {
                format!("CREATE TRIGGER hold AFTER INSERT ON jobs BEGIN {hold}; END")
            }
            Engine::Postgres => format!(
                "CREATE FUNCTION hold() RETURNS trigger AS $$ BEGIN {hold}; RETURN NEW; END $$ \
                 LANGUAGE plpgsql; \
                 CREATE TRIGGER hold AFTER INSERT ON jobs FOR EACH ROW EXECUTE FUNCTION hold()"
            ),
        };
        self.run(&sql).await;
    }

    pub async fn release(&mut self, id: &str) {
        self.run(&format!("UPDATE jobs SET due_at = 0 WHERE approval_id = '{id}'")).await;
    }

    /// A job for an approval that has none.
    pub async fn plant_job(&mut self, id: &str) {
        let values = format!("VALUES ('{id}', 9000000000000000, 0, 0)");
        let columns = "approval_id, due_at, epoch, attempts";
        self.run(&format!("DELETE FROM jobs WHERE approval_id = '{id}'")).await;
        self.run(&format!("INSERT INTO jobs ({columns}) {values}")).await;
    }

    /// Makes a row say that the approval is approved, with a job.
    pub async fn approve_row(&mut self, id: &str) {
        let state = r#"{"status":"approved","at":"2026-01-01T00:00:00Z"}"#;
        self.run(&format!(
            "UPDATE approvals SET status = 'approved', state = '{state}', \
             version = CASE WHEN version = 1 THEN 2 ELSE version END WHERE id = '{id}'"
        ))
        .await;
        self.plant_job(id).await;
    }

    /// The deployment of an approval, changed everywhere in its row, so that the row is one that the gate
    /// could have written.
    pub async fn edit_deployment(&mut self, id: &str, edit: impl FnOnce(&mut Deployment)) {
        let text = self.read(&format!("SELECT deployment FROM approvals WHERE id = '{id}'")).await;
        let mut subject: Subject = serde_json::from_str(&text.unwrap()).unwrap();
        let Subject::Deployment(deployment) = &mut subject else { panic!("{subject:?}") };
        edit(deployment);
        let deployment = deployment.clone();
        let text = to_canonical_json(&subject).unwrap();
        self.run(&format!(
            "UPDATE approvals SET deployment = '{}', deployment_digest = '{}', environment = '{}', \
             service = '{}', requester_key = '{}', policy_digest = '{}', expires_at = {} \
             WHERE id = '{id}'",
            quoted(&text),
            Digest::of(&text),
            quoted(&deployment.environment),
            deployment.service,
            quoted(&deployment.requester.key),
            deployment.policy_digest,
            deployment.expires_at.as_microsecond(),
        ))
        .await;
    }

    /// A session of a person who is signed in somewhere else, under a secret that the attacker knows.
    pub async fn steal_session(&mut self, gate: &Gate, subject: &str) -> Intruder {
        let secret = format!("stolen-{}", gate.unique());
        let (id, columns) = (
            Digest::of(&secret),
            "profile, id_token, issuer_key, auth_time, created_at, expires_at",
        );
        self.run(&format!(
            "INSERT INTO sessions (id, {columns}) SELECT '{id}', {columns} FROM sessions \
             WHERE profile LIKE '%{subject}%' ORDER BY created_at DESC LIMIT 1"
        ))
        .await;
        Intruder { cookie: format!("__Host-countersign-session={secret}"), session: id.to_string() }
    }
}

/// Text between quotes of SQL.
pub fn quoted(text: &str) -> String {
    text.replace('\'', "''")
}

/// A browser with a session that is not its own.
pub struct Intruder {
    cookie: String,
    pub session: String,
}

impl Intruder {
    /// Posts as a page of the gate would; the code of the problem if it is refused.
    pub async fn post(&self, gate: &Gate, path: &str, body: &Value) -> Result<Value, String> {
        let request = gate
            .http
            .post(gate.url(path))
            .header("cookie", &self.cookie)
            .header("origin", &gate.servers.gate)
            .header("sec-fetch-site", "same-origin")
            .json(body);
        let answer = send(request).await;
        if answer.status.is_success() { Ok(answer.body) } else { Err(answer.code().to_owned()) }
    }

    pub async fn statement(&self, gate: &Gate, id: &str) -> Result<Value, String> {
        let yes = json!({"decision": "approve"});
        self.post(gate, &format!("/approvals/{id}/statements"), &yes).await
    }

    pub async fn decide(&self, gate: &Gate, id: &str, decision: &Value) -> Result<Value, String> {
        self.post(gate, &format!("/approvals/{id}/decisions"), decision).await
    }
}
