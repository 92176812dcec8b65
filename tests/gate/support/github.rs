//! The gate as an App at the sandbox's GitHub.

use std::path::{Path, PathBuf};

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::hmac;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair, RsaKeyPair};
use data_encoding::{BASE64, HEXLOWER};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::gate::{Answer, Engine, Gate, send};

/// The repository of the sandbox's usual requester.
pub const REPOSITORY: u64 = 1001;
/// The App's installation.
pub const INSTALLATION: u64 = 4200;
/// The App.
pub const APP: u64 = 77;
/// The secret of its webhook.
pub const SECRET: &str = "a secret of at least thirty-two characters";
/// The commit of the sandbox's usual job.
pub const PULL: u64 = 218;

fn kept_key() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("github-app.pk8")
}

/// The App's key, made once for all tests: one takes a busy machine seconds.
fn key() -> RsaKeyPair {
    if let Ok(kept) = std::fs::read(kept_key()) {
        return RsaKeyPair::from_pkcs8(&kept).unwrap();
    }
    let key = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let beside = tempfile::NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    std::fs::write(beside.path(), key.as_der().unwrap().as_ref()).unwrap();
    beside.persist(kept_key()).unwrap();
    key
}

/// The App's private key, PEM.
pub fn private_key() -> String {
    let der = key().as_der().unwrap();
    let text = BASE64.encode(der.as_ref());
    let lines = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap());
    let lines: Vec<&str> = lines.collect();
    let (begin, end) = ("-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----");
    format!("{begin}\n{}\n{end}\n", lines.join("\n"))
}

/// The configuration of the demo, with the App.
pub fn with_app(config: String) -> String {
    let folder = config.lines().find_map(|line| line.strip_prefix("log_key_file = \"")).unwrap();
    let folder = Path::new(folder.strip_suffix("/log-key\"").unwrap());
    std::fs::write(folder.join("app.pem"), private_key()).unwrap();
    std::fs::write(folder.join("webhook-secret"), SECRET).unwrap();
    let app = format!(
        "[github.app]\nid = {APP}\nprivate_key_file = \"app.pem\"\n\
         webhook_secret_file = \"webhook-secret\"\n\
         [[github.app.installation]]\nid = {INSTALLATION}\nrepositories = [{REPOSITORY}]\n\n[audit]"
    );
    let config = config.replace("[audit]", &app);
    assert!(config.contains("[github.app]"), "{config}");
    config
}

impl Gate {
    /// A gate that is an App at GitHub.
    pub async fn start_with_app(engine: Engine) -> Self {
        let gate = Self::start_with(engine, with_app).await;
        gate.register_app(&[REPOSITORY]).await;
        gate
    }

    /// Registers the App at GitHub, installed in these repositories.
    pub async fn register_app(&self, repositories: &[u64]) {
        let app = json!({
            "id": APP,
            "public_key": BASE64.encode(key().public_key().as_ref()),
            "installation": INSTALLATION,
            "repositories": repositories,
        });
        self.sandbox(Method::POST, "/_sandbox/github/app", Some(app)).await;
    }

    /// A pull request of this repository that a commit came with.
    pub async fn pull_request(&self, sha: &str) {
        let pull = json!({"repository": REPOSITORY, "sha": sha, "number": PULL});
        self.sandbox(Method::POST, "/_sandbox/github/pulls", Some(pull)).await;
    }

    /// What GitHub keeps of a kind, in the order it was made.
    pub async fn at_github(&self, kind: &str) -> Vec<Value> {
        let all = self.sandbox(Method::GET, "/_sandbox/github", None).await;
        let things = all[kind].as_array().unwrap().iter();
        things.map(|thing| thing["value"].clone()).collect()
    }

    /// The states that deployments got, in order.
    pub async fn states_at_github(&self) -> Vec<String> {
        let statuses = self.at_github("statuses").await;
        statuses.iter().map(|status| status["state"].as_str().unwrap().to_owned()).collect()
    }

    /// Sends a webhook with these headers and body.
    pub async fn webhook(&self, signature: &str, id: &str, event: &str, body: &[u8]) -> Answer {
        let request = self
            .http
            .post(self.url("/v1/github/webhooks"))
            .header("content-type", "application/json")
            .header("x-hub-signature-256", signature)
            .header("x-github-delivery", id)
            .header("x-github-event", event);
        send(request.body(body.to_vec())).await
    }
}

/// The signature that GitHub sends with a body.
pub fn signature_of(secret: &str, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    format!("sha256={}", HEXLOWER.encode(hmac::sign(&key, body).as_ref()))
}
