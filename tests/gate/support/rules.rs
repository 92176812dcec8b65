//! Rules that change while a test runs.

use std::time::Duration;

use countersign::cli::demo::approver::Approver;
use serde_json::Value;

use crate::support::gate::Gate;

impl Gate {
    /// These people sign the change of the rules that waits, and it comes into force.
    pub async fn sign_rules(&self, approvers: &mut [&mut Approver]) {
        let id = self.rule_change().await;
        for approver in approvers {
            approver.approve(&id).await.unwrap();
        }
        self.rules_wait_for(false).await;
    }

    /// The approval of the change of the rules that waits.
    pub async fn rule_change(&self) -> String {
        for _ in 0..200 {
            let waiting = self.rules().await["waiting"].as_str().map(str::to_owned);
            if let Some(id) = waiting {
                return id;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("nobody is asked about the rules");
    }

    /// The rules in force, as the API says it.
    pub async fn rules(&self) -> Value {
        self.get("/v1/environments").await.body["rules"].clone()
    }

    /// Waits until the rules of the configuration file wait for signatures, or no longer do.
    pub async fn rules_wait_for(&self, wait: bool) {
        for _ in 0..400 {
            // Whoever asks while the gate takes up other rules may be cut off.
            let asked = self.http.get(self.url("/health/ready")).send().await;
            let answer: Value = match asked {
                Ok(answer) => answer.json().await.unwrap_or_default(),
                Err(_) => Value::Null,
            };
            if answer["status"] == "ok" && answer["rules"]["changes_wait"] == wait {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the rules of the file do not come to wait: {wait}");
    }
}
