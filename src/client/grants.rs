//! Grants, as whoever asked for an action gets and uses them.

use reqwest::Method;
use serde_json::{Map, Value, json};

use super::{Approval, Call, Client, Failure};

/// A grant of an approved action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The token.
    pub token: String,
    /// Who takes it.
    pub audience: String,
}

impl Approval {
    /// The grant that its requester has: of an action that is approved, and not used up yet.
    pub fn grant(&self) -> Option<Grant> {
        let text = |name: &str| self.whole["grant"][name].as_str().map(str::to_owned);
        Some(Grant { token: text("token")?, audience: text("audience")? })
    }
}

impl Client {
    /// Uses a grant up for a call with these arguments. Only after an `Ok` may it be made.
    ///
    /// # Errors
    /// [`Failure::Refused`]: it was not used up by this. Without an answer it may have been.
    pub async fn consume(
        &self,
        grant: &Grant,
        audience: &str,
        arguments: &Map<String, Value>,
    ) -> Result<(), Failure> {
        let body = json!({"grant": grant.token, "audience": audience, "arguments": arguments});
        // The grant says everything: whoever holds it may use it.
        let call = Call { body: Some(&body), has_token: false, ..Call::new(Method::POST) };
        let answer = self.send("/v1/grants/consume", call).await?;
        let used: Value = serde_json::from_slice(&answer).unwrap_or_default();
        if used["status"] == "succeeded" && used["arguments"].as_object() == Some(arguments) {
            return Ok(());
        }
        // Something in front of the gate said 200, and nobody knows what became of the call.
        Err(Failure::no_answer("what answered the use of the grant is no gate"))
    }
}
