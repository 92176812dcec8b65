//! The pipeline's part: what a job does with the public API.

use std::time::Duration;

use serde_json::{Value, json};
use url::Url;

use crate::client::tokens::Tokens;
use crate::client::{Approval, Client, News, Waited};
use crate::domain::digest::Digest;
use crate::domain::ids::ApprovalId;
use crate::randomness;
use crate::sandbox::{DEMO_REPOSITORY, DEMO_SERVICE};

/// Longer than any answer of a server on this machine takes.
const ANSWER: Duration = Duration::from_secs(60);

/// A pipeline with its token issuer.
pub struct Pipeline {
    client: Client,
    sandbox: String,
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

/// An HTTP client as a person or a test has one.
pub fn client() -> Result<reqwest::Client, String> {
    reqwest::Client::builder()
        .timeout(ANSWER)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|error| format!("no HTTP client: {error}"))
}

impl Pipeline {
    /// A pipeline that asks this gate with tokens of this sandbox, as a job of GitHub Actions does.
    pub fn new(gate: &str, sandbox: &str) -> Result<Self, String> {
        let tokens = format!("{sandbox}/github/runner-token");
        let tokens = Url::parse(&tokens).map_err(|error| format!("{tokens}: {error}"))?;
        let tokens = Tokens::of_github(tokens, "demo", gate.to_owned());
        Ok(Self { client: Client::new(gate.to_owned(), tokens)?, sandbox: sandbox.to_owned() })
    }

    /// Asks for the sample deployment.
    pub async fn ask(&self) -> Result<Approval, String> {
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
        self.client.ask(&body, &key).await.map_err(|failure| failure.to_string())
    }

    /// Waits until the approval ends, and tells each new sentence.
    pub async fn wait(&self, id: &ApprovalId, tell: impl Fn(&str)) -> Result<Approval, String> {
        let tell = |news: News<'_>| {
            if let News::Changed(approval) = news {
                tell(&approval.sentence);
            }
        };
        match self.client.wait(id, None, &tell).await {
            Ok(Waited::Ended(approval) | Waited::StillOpen(approval)) => Ok(approval),
            Err(failure) => Err(failure.to_string()),
        }
    }

    /// The evidence file.
    pub async fn evidence(&self, id: &ApprovalId) -> Result<Vec<u8>, String> {
        self.client.evidence(id).await.map_err(|failure| failure.to_string())
    }

    /// What Cloud Run itself says of the service.
    pub async fn observe_cloud_run(&self, service: &str) -> Result<Value, String> {
        read(client()?.get(format!("{}/v2/{service}", self.sandbox))).await
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
