//! The sandbox's identity servers on a port of their own, and a count of what was asked of them.

use std::path::Path;
use std::sync::{Arc, Mutex, Once};

use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use countersign::clock::Clock;
use countersign::integrations::outbound::OutboundHttp;
use countersign::sandbox::identity::{Identity, Settings};
use serde_json::{Value, json};

pub const GATE: &str = "http://localhost:8080";
pub const SECRET: &str = "a secret + with signs & such";

pub struct IdentityServer {
    pub base: String,
    pub clock: Clock,
    pub http: reqwest::Client,
    asked: Arc<Mutex<Vec<String>>>,
}

impl IdentityServer {
    pub async fn start() -> Self {
        Self::start_in(None).await
    }

    pub async fn start_in(data_dir: Option<&Path>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::serve(listener, data_dir).await
    }

    /// Serves on this listener; the same port again is the same issuer again.
    pub async fn serve(listener: tokio::net::TcpListener, data_dir: Option<&Path>) -> Self {
        install_tls();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let clock = Clock::system();
        let mut settings = Settings::new(&base, GATE, SECRET, clock.clone());
        settings.data_dir = data_dir.map(Path::to_path_buf);
        let asked = Arc::new(Mutex::new(Vec::new()));
        let router = Identity::new(settings)
            .unwrap()
            .router()
            .layer(middleware::from_fn_with_state(asked.clone(), note));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .tls_certs_only([])
            .build()
            .unwrap();
        Self { base, clock, http, asked }
    }

    pub fn outbound(&self) -> OutboundHttp {
        OutboundHttp::new().unwrap()
    }

    /// How often this path was asked for.
    pub fn asked(&self, path: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|asked| *asked == path).count()
    }

    pub async fn post(&self, path: &str, body: Value) -> reqwest::Response {
        self.http.post(format!("{}{path}", self.base)).json(&body).send().await.unwrap()
    }

    /// A workload token with these changes to the default claims.
    pub async fn token(&self, changes: Value) -> String {
        let answer = self.post("/tokens", changes).await;
        assert_eq!(answer.status(), 200);
        let answer: Value = answer.json().await.unwrap();
        answer["token"].as_str().unwrap().to_owned()
    }

    pub async fn rotate(&self, issuer: &str, withdraw: bool) {
        let lever = json!({ "issuer": issuer, "withdraw": withdraw });
        assert_eq!(self.post("/_sandbox/rotate-keys", lever).await.status(), 200);
    }

    pub async fn outage(&self, begins: bool) {
        let lever = if begins { json!({ "seconds": 3600 }) } else { json!({ "off": true }) };
        assert_eq!(self.post("/_sandbox/identity-outage", lever).await.status(), 200);
    }
}

async fn note(
    State(asked): State<Arc<Mutex<Vec<String>>>>,
    request: Request,
    next: Next,
) -> Response {
    asked.lock().unwrap().push(request.uri().path().to_owned());
    next.run(request).await
}

fn install_tls() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Another test of the same process may have been first.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    });
}
