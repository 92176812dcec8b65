//! The sandbox of the Cloud Run Admin API, against Google's description and Google's own clients.

mod clients;
mod contract;
mod faults;
mod knative;
mod refusals;
mod rollout;
mod worker_pools;

use std::time::Duration;

use countersign::clock::Clock;
use countersign::sandbox::cloud_run::CloudRun;
use countersign::sandbox::google_accounts;
use countersign::sandbox::journal::Journal;
use serde_json::{Value, json};

pub const PARENT: &str = "projects/demo/locations/europe-west1";
pub const WEB: &str = "projects/demo/locations/europe-west1/services/web";

/// A sandbox on a port of its own, and a client that talks to it.
pub struct Sandbox {
    pub address: String,
    pub run: CloudRun,
    /// The sandbox's clock.
    pub clock: Clock,
    client: reqwest::Client,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Sandbox {
    /// An empty sandbox.
    pub async fn empty(state_file: Option<std::path::PathBuf>) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let clock = Clock::system();
        let journal = Journal::new(clock.clone());
        let run = CloudRun::new(clock.clone(), journal.clone(), state_file).unwrap();
        run.set_ready_delay(jiff::SignedDuration::from_millis(30));
        let accounts = journal.watch(google_accounts::routes(clock.clone()));
        let router = run.router().merge(accounts).merge(journal.router());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, run, clock, client: reqwest::Client::new(), server }
    }

    /// A sandbox with the service [`WEB`] running.
    pub async fn with_web() -> Self {
        let sandbox = Self::empty(None).await;
        sandbox.run.seed_service(WEB, &template('1')).unwrap();
        sandbox
    }

    /// Sends a call and answers with status and body.
    pub async fn call(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        self.try_call(method, path, body).await.unwrap()
    }

    pub async fn try_call(
        &self,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> reqwest::Result<(u16, Value)> {
        let url = format!("http://{}{path}", self.address);
        let mut request = self.client.request(method.parse().unwrap(), url);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await?;
        Ok((answer.status().as_u16(), answer.json().await?))
    }

    pub async fn get(&self, path: &str) -> Value {
        let (status, body) = self.call("GET", path, None).await;
        assert_eq!(status, 200, "GET {path}: {body}");
        body
    }

    pub async fn web(&self) -> Value {
        self.get(&format!("/v2/{WEB}")).await
    }

    /// Patches [`WEB`] with a mask and expects the operation.
    pub async fn patch(&self, mask: &str, body: Value) -> Value {
        let path = format!("/v2/{WEB}?updateMask={mask}");
        let (status, operation) = self.call("PATCH", &path, Some(body)).await;
        assert_eq!(status, 200, "{operation}");
        operation
    }

    /// Waits for an operation to be done.
    pub async fn done(&self, operation: &Value) -> Value {
        let path = format!("/v2/{}:wait", operation["name"].as_str().unwrap());
        let (status, done) = self.call("POST", &path, Some(json!({ "timeout": "20s" }))).await;
        assert_eq!((status, &done["done"]), (200, &json!(true)), "{done}");
        done
    }

    /// Adds a fault to the next call that matches.
    pub async fn fault(&self, method: &str, fault: Value) {
        let rule = json!({ "match": { "method": method, "path": WEB }, "fault": fault });
        let (status, body) = self.call("POST", "/_sandbox/faults", Some(rule)).await;
        assert_eq!(status, 201, "{body}");
    }

    /// The calls in the journal with this method.
    pub async fn journal(&self, method: &str) -> Vec<Value> {
        let journal = self.get(&format!("/_sandbox/journal?method={method}&path=/v2/")).await;
        journal["calls"].as_array().unwrap().clone()
    }
}

/// An image named by a digest of one repeated digit.
pub fn image(digit: char) -> String {
    format!("europe-docker.pkg.dev/demo/app/web@sha256:{}", digit.to_string().repeat(64))
}

pub fn template(digit: char) -> Value {
    json!({ "containers": [{ "image": image(digit) }] })
}

/// A target of traffic to a named revision.
pub fn target(revision: &str, percent: u32) -> Value {
    json!({ "type": "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION", "revision": revision, "percent": percent })
}

/// The last part of a resource name.
pub fn short(name: &Value) -> String {
    name.as_str().unwrap().rsplit('/').next().unwrap().to_owned()
}

/// The longest that any one step of these tests may take, so that a hang fails.
pub const PATIENCE: Duration = Duration::from_secs(60);
