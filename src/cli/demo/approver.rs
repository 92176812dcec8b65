//! The approver's part: what a person does with a browser and a key, by the public pages alone.

use serde_json::{Value, json};

use crate::cli::demo::browser::Browser;
use crate::sandbox::authenticator::{Fault, SoftwareAuthenticator};

/// A person with a browser and a software authenticator.
pub struct Approver {
    /// The browser.
    pub browser: Browser,
    /// The key.
    pub authenticator: SoftwareAuthenticator,
    gate: String,
    person: String,
}

impl Approver {
    /// Somebody who has not signed in yet.
    pub fn new(gate: &str) -> Result<Self, String> {
        let authenticator = SoftwareAuthenticator::new();
        Ok(Self {
            browser: Browser::new(gate)?,
            authenticator,
            gate: gate.to_owned(),
            person: String::new(),
        })
    }

    /// Signs in at the directory.
    pub async fn sign_in(&mut self, person: &str) -> Result<(), String> {
        self.person = person.to_owned();
        self.browser.open("/sign-in?return_to=/keys", person).await.map(|_| ())
    }

    /// Registers a key and has the directory vouch for it.
    pub async fn register_key(&mut self) -> Result<(), String> {
        let mut own = self.authenticator.clone();
        self.register_key_on(&mut own).await
    }

    /// The same on another authenticator; the key that is there already signs for the new one.
    pub async fn register_key_on(
        &mut self,
        other: &mut SoftwareAuthenticator,
    ) -> Result<(), String> {
        let begun = self.begin_registration().await?;
        let registration = other
            .create(&begun["creation_options"], &self.gate)
            .map_err(|error| format!("the authenticator made no key: {error}"))?;
        let id = begun["id"].as_str().unwrap_or_default();
        let next = self.hand_in(id, &registration).await?;
        let person = self.person.clone();
        self.browser.open(&next, &person).await.map(|_| ())
    }

    /// Asks for the options of a new key.
    pub async fn begin_registration(&mut self) -> Result<Value, String> {
        let name = json!({"name": "Software key of the demo"});
        self.browser.post("/keys/ceremonies", &name).await
    }

    /// Hands in a new key, and signs for it where that is asked for. Gives where the directory vouches for it.
    pub async fn hand_in(&mut self, ceremony: &str, key: &Value) -> Result<String, String> {
        let address = format!("/keys/ceremonies/{ceremony}");
        let mut received = self.browser.post(&address, key).await?;
        if received["own_key"].is_object() {
            let signed = self.signed(&received["own_key"], &[])?;
            received = self.browser.post(&format!("{address}/signatures"), &signed).await?;
        }
        let next = received["continue"].as_str();
        Ok(next.ok_or("the gate did not say where to go on")?.to_owned())
    }

    /// Reports a key as lost since then (`2026-11-24T13:45`, UTC), signs in for it, and gives the page that
    /// says so.
    pub async fn report_loss(&mut self, credential: &str, since: &str) -> Result<String, String> {
        let path = format!("/keys/{credential}/losses");
        let page = self.browser.submit(&path, &[("since", since)], &self.person).await?;
        let confirm = page.split("href=\"/sign-in?ceremony=").nth(1);
        let confirm = confirm.and_then(|rest| rest.split('"').next());
        let confirm = confirm.ok_or_else(|| format!("the page leads to no sign-in: {page}"))?;
        let person = self.person.clone();
        self.browser.open(&format!("/sign-in?ceremony={confirm}"), &person).await
    }

    /// Revokes a key, one's own or another's, and gives the page that says so.
    pub async fn revoke(&mut self, credential: &str, reason: &str) -> Result<String, String> {
        let path = format!("/keys/{credential}/revocations");
        self.browser.submit(&path, &[("reason", reason)], &self.person).await
    }

    /// Endorses the key of somebody else.
    pub async fn endorse(&mut self, credential: &str) -> Result<Value, String> {
        let statement = self.endorsement(credential).await?;
        self.sign_endorsement(credential, &statement, &[]).await
    }

    /// Fetches a fresh statement that endorses a key.
    pub async fn endorsement(&mut self, credential: &str) -> Result<Value, String> {
        self.browser.post(&format!("/keys/{credential}/statements"), &json!({})).await
    }

    /// Signs such a statement and sends the signature.
    pub async fn sign_endorsement(
        &mut self,
        credential: &str,
        statement: &Value,
        faults: &[Fault],
    ) -> Result<Value, String> {
        let signed = self.signed(statement, faults)?;
        self.browser.post(&format!("/keys/{credential}/endorsements"), &signed).await
    }

    /// Opens the approval's page and gives the short code that it shows.
    pub async fn read_page(&mut self, id: &str) -> Result<String, String> {
        let person = self.person.clone();
        let page = self.browser.open(&format!("/approvals/{id}"), &person).await?;
        let code = page.split("id=\"short-code\">").nth(1).and_then(|rest| rest.split('<').next());
        code.map(str::to_owned).ok_or_else(|| "the page shows no short code".to_owned())
    }

    /// Signs a yes.
    pub async fn approve(&mut self, id: &str) -> Result<Value, String> {
        self.approve_with(id, &[]).await
    }

    /// Signs a yes with an authenticator that does something wrong.
    pub async fn approve_with(&mut self, id: &str, faults: &[Fault]) -> Result<Value, String> {
        let statement = self.statement(id, json!({"decision": "approve"})).await?;
        self.sign(id, &statement, faults).await
    }

    /// Signs a yes or a no: `{"decision": "reject", "reason": "…"}`.
    pub async fn decide(&mut self, id: &str, decision: Value) -> Result<Value, String> {
        let statement = self.statement(id, decision).await?;
        self.sign(id, &statement, &[]).await
    }

    /// Fetches a fresh statement.
    pub async fn statement(&mut self, id: &str, decision: Value) -> Result<Value, String> {
        self.browser.post(&format!("/approvals/{id}/statements"), &decision).await
    }

    /// Signs a statement and sends the signature.
    pub async fn sign(
        &mut self,
        id: &str,
        statement: &Value,
        faults: &[Fault],
    ) -> Result<Value, String> {
        let decision = self.signed(statement, faults)?;
        self.browser.post(&format!("/approvals/{id}/decisions"), &decision).await
    }

    /// Intervenes in a rollout: `{"act": "restore", "reason": "…"}`.
    pub async fn intervene(&mut self, id: &str, wish: &Value) -> Result<Value, String> {
        let statement = self.intervention(id, wish).await?;
        self.sign_intervention(id, &statement, &[]).await
    }

    /// Fetches a fresh statement about a rollout.
    pub async fn intervention(&mut self, id: &str, wish: &Value) -> Result<Value, String> {
        self.browser.post(&format!("/approvals/{id}/interventions/statements"), wish).await
    }

    /// Signs such a statement and sends the signature.
    pub async fn sign_intervention(
        &mut self,
        id: &str,
        statement: &Value,
        faults: &[Fault],
    ) -> Result<Value, String> {
        let signed = self.signed(statement, faults)?;
        self.browser.post(&format!("/approvals/{id}/interventions"), &signed).await
    }

    /// Signs a statement and keeps the signature.
    pub fn signed(&mut self, statement: &Value, faults: &[Fault]) -> Result<Value, String> {
        let options = &statement["request_options"];
        let assertion = self.authenticator.assert_with(options, &self.gate, faults);
        let assertion =
            assertion.map_err(|error| format!("the authenticator did not sign: {error}"))?;
        Ok(json!({"nonce": statement["nonce"], "credential": assertion}))
    }
}
