//! The pipeline's part: what a job does with the public API.

use std::time::Duration;

use serde_json::{Value, json};

use crate::domain::digest::Digest;
use crate::randomness;
use crate::sandbox::{DEMO_REPOSITORY, DEMO_SERVICE};

/// How long one request waits for news, in seconds.
const WAIT: u64 = 50;

/// A pipeline with its token issuer.
pub struct Pipeline {
    http: reqwest::Client,
    gate: String,
    sandbox: String,
}

/// What the gate answered to the request.
pub struct Asked {
    /// The approval's id.
    pub id: String,
    /// Its page.
    pub url: String,
    /// What to compare with the page.
    pub short_code: String,
    /// The digest of the whole deployment.
    pub deployment_digest: String,
}

/// Waits until the gate answers that it is ready.
pub async fn until_ready(gate: &str) -> Result<(), String> {
    let http = client()?;
    for _ in 0..200 {
        if let Ok(answer) = http.get(format!("{gate}/health/ready")).send().await
            && answer.status().is_success()
        {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    Err("the gate did not become ready".to_owned())
}

/// An HTTP client as a job has one.
pub fn client() -> Result<reqwest::Client, String> {
    reqwest::Client::builder()
        .timeout(Duration::from_secs(WAIT + 10))
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|error| format!("no HTTP client: {error}"))
}

impl Pipeline {
    /// A pipeline that asks this gate with tokens of this sandbox.
    pub fn new(gate: &str, sandbox: &str) -> Result<Self, String> {
        Ok(Self { http: client()?, gate: gate.to_owned(), sandbox: sandbox.to_owned() })
    }

    /// Asks for the sample deployment.
    pub async fn ask(&self) -> Result<Asked, String> {
        let key = randomness::token::<12>();
        let digest = Digest::of(&key);
        let body = json!({
            "environment": "production",
            "subject": {
                "kind": "deployment",
                "service": DEMO_SERVICE,
                "image": format!("{DEMO_REPOSITORY}@sha256:{digest}"),
                "template": {"containers": [{
                    "env": [{"name": "GREETING", "value": "hello, world"}],
                    "resources": {"limits": {"cpu": "2", "memory": "512Mi"}, "cpuIdle": true},
                }]},
            },
            "reason": "Fixes the checkout on phones, which fails for one customer in twenty",
            "title": "web 2.4.1",
            "body": "Smoke tests are green on staging since this morning.\nThe second CPU is for the image resizing.",
            "links": [{"title": "Pull request 218", "url": "https://github.com/demo/web/pull/218"}],
        });
        let request = self.http.post(format!("{}/v1/approvals", self.gate)).json(&body);
        let answer = self.send(request.header("Idempotency-Key", &key)).await?;
        let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
        Ok(Asked {
            id: text("id"),
            url: text("url"),
            short_code: text("short_code"),
            deployment_digest: text("deployment_digest"),
        })
    }

    /// Waits until the approval ends, and tells each new sentence.
    pub async fn wait(&self, id: &str, tell: impl Fn(&str)) -> Result<Value, String> {
        let mut version = 0;
        loop {
            let url = format!("{}/v1/approvals/{id}?wait={WAIT}&version={version}", self.gate);
            let answer = self.send(self.http.get(url)).await?;
            version = answer["version"].as_u64().unwrap_or_default();
            tell(answer["status_sentence"].as_str().unwrap_or_default());
            if !matches!(answer["status"].as_str(), Some("pending" | "approved" | "executing")) {
                return Ok(answer);
            }
        }
    }

    /// The evidence file.
    pub async fn evidence(&self, id: &str) -> Result<String, String> {
        let url = format!("{}/v1/approvals/{id}/evidence", self.gate);
        Ok(self.send(self.http.get(url)).await?.to_string())
    }

    /// What Cloud Run itself says of the service.
    pub async fn observe_cloud_run(&self, service: &str) -> Result<Value, String> {
        read(self.http.get(format!("{}/v2/{service}", self.sandbox))).await
    }

    /// Sends with a fresh token, as a job should.
    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Value, String> {
        let minted =
            read(self.http.post(format!("{}/tokens", self.sandbox)).json(&json!({}))).await?;
        let token = minted["token"].as_str().ok_or("the issuer gave no token")?;
        read(request.bearer_auth(token)).await
    }
}

/// Sends and reads JSON; a problem becomes its own sentence.
pub async fn read(request: reqwest::RequestBuilder) -> Result<Value, String> {
    read_answer(request.send().await.map_err(|error| format!("no answer: {error}"))?).await
}

/// The JSON of an answer that says yes.
pub async fn read_answer(answer: reqwest::Response) -> Result<Value, String> {
    let (status, url) = (answer.status(), answer.url().path().to_owned());
    let text = answer.text().await.map_err(|error| format!("no whole answer: {error}"))?;
    let value: Value = serde_json::from_str(&text).unwrap_or(Value::String(text));
    if status.is_success() {
        return Ok(value);
    }
    let detail = value["detail"].as_str().map_or_else(|| value.to_string(), str::to_owned);
    let code = value["type"].as_str().and_then(|kind| kind.rsplit(':').next()).unwrap_or("no code");
    Err(format!("{url} answered {status} ({code}): {detail}"))
}
