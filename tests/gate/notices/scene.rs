//! A gate that tells receivers of the sandbox, and what they heard.

use std::time::Duration;

use countersign::clock::Clock;
use countersign::randomness;
use reqwest::Method;
use serde_json::{Value, json};
use standardwebhooks::Webhook;

use crate::support::gate::{Engine, Gate};

/// What the webhooks of a test share with the gate.
pub const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

/// A message that a receiver got.
pub struct Told {
    pub id: String,
    pub payload: Value,
    pub status: Value,
    headers: Value,
}

impl Told {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers[name].as_str()
    }
}

/// A configuration with these webhooks, and with a channel of Slack if asked for.
pub fn with(webhooks: &str, slack: bool) -> impl FnOnce(String) -> String {
    let webhooks = webhooks.to_owned();
    move |config| {
        let value =
            |key: &str| config.split(key).nth(1).unwrap().split('"').next().unwrap().to_owned();
        let sandbox = value("endpoint = \"");
        let folder = value("log_key_file = \"").replace("/log-key", "");
        std::fs::write(format!("{folder}/webhook-secret"), SECRET).unwrap();
        std::fs::write(format!("{folder}/slack"), format!("{sandbox}/receiver/slack")).unwrap();
        let webhooks = webhooks.replace("SANDBOX", &sandbox);
        let config = match slack {
            true => config.replace(
                "expires_in = \"8h\"",
                "expires_in = \"8h\"\nslack_webhook_file = \"slack\"",
            ),
            false => config,
        };
        format!("{config}\n{webhooks}")
    }
}

pub async fn told(engine: Engine, webhooks: &str, slack: bool) -> Gate {
    Gate::start_with(engine, with(webhooks, slack)).await
}

pub async fn tell(gate: &Gate, receiver: &str, lever: Value) {
    gate.sandbox(Method::PUT, &format!("/_sandbox/receiver/{receiver}"), Some(lever)).await;
}

/// Everything that a receiver was sent so far. What has a signature was signed as Standard Webhooks'
/// own library has it.
pub async fn heard(gate: &Gate, receiver: &str) -> Vec<Told> {
    let path = format!("/_sandbox/receiver/{receiver}");
    let messages = gate.sandbox(Method::GET, &path, None).await;
    let told = messages.as_array().unwrap().iter().map(|message| {
        let headers = message["headers"].clone();
        let body = message["body"].as_str().unwrap();
        let text = |name: &str| headers[name].as_str().unwrap_or_default().to_owned();
        if headers["webhook-signature"].is_string() {
            assert_signed(&headers, body);
        }
        assert_eq!(headers["content-type"], "application/json");
        Told {
            id: text("webhook-id"),
            payload: serde_json::from_str(body).unwrap(),
            status: message["status"].clone(),
            headers,
        }
    });
    told.collect()
}

fn assert_signed(headers: &Value, body: &str) {
    let webhook = Webhook::new(SECRET).unwrap();
    let mut map = reqwest::header::HeaderMap::new();
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        map.insert(name, headers[name].as_str().unwrap().parse().unwrap());
    }
    // Some tests move the gate's clock, and the library goes by the machine's.
    let sent: i64 = headers["webhook-timestamp"].as_str().unwrap().parse().unwrap();
    if (Clock::system().now().as_second() - sent).abs() > 240 {
        let id = headers["webhook-id"].as_str().unwrap();
        let signature = webhook.sign(id, sent, body.as_bytes()).unwrap();
        assert_eq!(headers["webhook-signature"], signature);
        return;
    }
    webhook.verify(body.as_bytes(), &map).unwrap();
    let other = format!("whsec_{}", data_encoding::BASE64.encode(&randomness::bytes::<24>()));
    let other = Webhook::new(&other).unwrap();
    other.verify(body.as_bytes(), &map).unwrap_err();
    webhook.verify(format!("{body} ").as_bytes(), &map).unwrap_err();
}

/// Waits until a receiver was sent so many messages, in the order of the ledger, and no more.
pub async fn calls_of(gate: &Gate, receiver: &str, count: usize) -> Vec<Told> {
    for _ in 0..300 {
        let mut told = heard(gate, receiver).await;
        assert!(told.len() <= count, "more than {count}: {:#}", told.last().unwrap().payload);
        if told.len() == count {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let later = heard(gate, receiver).await.len();
            assert_eq!(later, count, "one more came");
            // One receiver is told one thing after the other.
            told.sort_by_key(|one| one.payload["data"]["entry"].as_u64());
            return told;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let told = heard(gate, receiver).await;
    let told: Vec<&Value> = told.iter().map(|one| &one.payload).collect();
    panic!("{receiver} heard {} of {count}: {:#}", told.len(), json!(told));
}

/// How the health of the gate shows a receiver.
pub async fn standing(gate: &Gate, receiver: &str) -> Value {
    let health = crate::support::gate::send(gate.http.get(gate.url("/health/ready"))).await;
    assert_eq!(health.status, 200, "{health:?}");
    let all = health.body["receivers"].as_array().cloned().unwrap_or_default();
    all.into_iter().find(|one| one["name"] == receiver).unwrap_or_default()
}
