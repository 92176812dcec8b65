//! AI agents at `/mcp`: the official SDK runs the whole story, and nothing that an agent can hold or say
//! approves anything.

mod acting;
mod attacks;
pub mod credentials;
mod injections;
mod refusals;
mod stories;
mod waiting;

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::gate::{Answer, Gate, SERVICE, send};

/// An agent that speaks the protocol by hand, to say what no SDK would.
pub struct Agent<'a> {
    gate: &'a Gate,
    token: String,
    /// Where it reaches the gate: the origin, or one of several instances.
    address: String,
}

/// The revision that needs the least around a message.
const REVISION: &str = "2025-11-25";

impl<'a> Agent<'a> {
    pub async fn new(gate: &'a Gate) -> Self {
        Self::with_token(gate, gate.token(json!({"issuer": "agent"})).await)
    }

    pub fn with_token(gate: &'a Gate, token: String) -> Self {
        Self { gate, token, address: gate.servers.gate.clone() }
    }

    /// The same agent at another instance of the gate, as a balancer leads there.
    pub fn at(&self, address: &str) -> Self {
        Self { gate: self.gate, token: self.token.clone(), address: address.to_owned() }
    }

    /// A request with everything that the transport asks for, and this body.
    pub fn post(&self, body: String) -> reqwest::RequestBuilder {
        let request = self.gate.http.post(format!("{}/mcp", self.address));
        let host = self.gate.servers.gate.trim_start_matches("http://");
        request
            .bearer_auth(&self.token)
            .header("Host", host)
            .header("Accept", "application/json, text/event-stream")
            .header("Content-Type", "application/json")
            .header("MCP-Protocol-Version", REVISION)
            .body(body)
    }

    /// Calls a method.
    pub async fn call(&self, method: &str, params: Value) -> Answer {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        send(self.post(body.to_string())).await
    }

    /// Calls a tool and gives its result.
    pub async fn tool(&self, name: &str, arguments: Value) -> Value {
        let answer = self.call("tools/call", json!({"name": name, "arguments": arguments})).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        let result = answer.body["result"].clone();
        assert!(result.is_object(), "{name}: {answer:?}");
        result
    }

    /// Asks for a deployment; `changes` replace members of the arguments.
    pub async fn request(&self, changes: Value) -> Value {
        let mut arguments = json!({
            "environment": "production",
            "service": SERVICE,
            "image": image(self.gate.unique()),
            "reason": "Fixes the checkout on phones",
        });
        for (name, value) in changes.as_object().unwrap() {
            arguments[name] = value.clone();
        }
        self.tool("request_deployment", arguments).await
    }

    /// Asks, and expects that it is stored.
    pub async fn asked(&self, changes: Value) -> String {
        let result = self.request(changes).await;
        assert_eq!(result["isError"], false, "{result:#}");
        result["structuredContent"]["approval"]["id"].as_str().unwrap().to_owned()
    }
}

pub fn image(number: u64) -> String {
    format!("europe-docker.pkg.dev/demo/app/web@sha256:{number:064x}")
}

/// Asserts that a tool refused with this code, in words that a model can read.
pub fn assert_refused(result: &Value, code: &str) {
    assert_eq!(result["isError"], true, "{result:#}");
    assert_eq!(result["structuredContent"]["code"], code, "{result:#}");
    let text = result["content"][0]["text"].as_str().unwrap();
    let said: Value = serde_json::from_str(text).unwrap();
    assert_eq!(said, result["structuredContent"]);
    assert!(said["detail"].as_str().unwrap().len() > 20, "{text}");
}
