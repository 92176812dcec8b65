//! Google's audit log tells of a change as it is made: a log sink writes the entries to a Pub/Sub topic, and a
//! push subscription posts them here with an OpenID Connect token of its service account.
//!
//! What comes is believed to be Google's and is acted on by looking at the service, and by nothing else.

use data_encoding::BASE64;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::domain::service::ServiceName;
use crate::integrations::outbound::OutboundHttp;
use crate::integrations::workload_oidc::{Refusal, Verifier, WorkloadIssuer};

/// Who may post changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEventSettings {
    /// The issuer of the push subscription's tokens, for the gate's audience.
    pub issuer: WorkloadIssuer,
    /// The e-mail address of the service account that the subscription posts as.
    pub service_account: String,
}

/// Verifies and reads what a push subscription posts.
pub struct AuditEvents {
    verifier: Verifier,
    service_account: String,
}

/// A change that somebody made, as the audit log tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToldChange {
    /// What was changed.
    pub service: ServiceName,
    /// By whom.
    pub who: String,
}

/// Why a message is not taken.
#[derive(Debug, thiserror::Error)]
pub enum AuditEventRefusal {
    /// The token does not hold.
    #[error(transparent)]
    Token(#[from] Refusal),
    /// It is of another account.
    #[error("the token is of another account than the one that [drift.push] names")]
    OtherAccount,
    /// The body is none of Pub/Sub's.
    #[error("the body is no message that a push subscription posts")]
    Malformed,
}

#[derive(Deserialize)]
struct Push {
    message: Message,
}

#[derive(Deserialize)]
struct Message {
    data: String,
}

impl AuditEvents {
    /// Takes what these settings allow.
    pub fn new(settings: &AuditEventSettings, http: OutboundHttp) -> Self {
        let verifier = Verifier::new(vec![settings.issuer.clone()], http);
        Self { verifier, service_account: settings.service_account.clone() }
    }

    /// Verifies the bearer token, and reads what was changed. None: the entry is about no change of a
    /// service.
    ///
    /// # Errors
    /// If the token or the body is not one that the subscription sends.
    pub async fn read(
        &self,
        bearer: &str,
        body: &[u8],
        now: Timestamp,
    ) -> Result<Option<ToldChange>, AuditEventRefusal> {
        let verified = self.verifier.verify(bearer, now).await;
        let verified = verified.map_err(|refused| refused.refusal)?;
        let email = verified.claim("email").and_then(Value::as_str);
        let is_verified = verified.claim("email_verified").and_then(Value::as_bool) == Some(true);
        if email != Some(self.service_account.as_str()) || !is_verified {
            return Err(AuditEventRefusal::OtherAccount);
        }
        let push: Push = serde_json::from_slice(body).map_err(|_| AuditEventRefusal::Malformed)?;
        let entry = BASE64.decode(push.message.data.as_bytes()).ok();
        let entry = entry.and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
        let entry = entry.ok_or(AuditEventRefusal::Malformed)?;
        Ok(told_change(&entry))
    }
}

/// What a `LogEntry` with an `AuditLog` payload says was changed. Both versions of the API leave entries:
/// `projects/P/locations/R/services/S`, and `namespaces/P/services/S` with the region in the resource; of worker
/// pools `…/workerPools/W` and `…/workerpools/W`.
fn told_change(entry: &Value) -> Option<ToldChange> {
    let payload = &entry["protoPayload"];
    let method = payload["methodName"].as_str()?;
    let is_read = ["Get", "List"]
        .iter()
        .any(|verb| method.rsplit('.').next().is_some_and(|last| last.starts_with(verb)));
    if payload["serviceName"] != "run.googleapis.com" || is_read {
        return None;
    }
    let resource = payload["resourceName"].as_str()?;
    let name = resource.split("/revisions/").next().unwrap_or(resource);
    let service = name.parse().ok().or_else(|| {
        let (project, named) = name.strip_prefix("namespaces/")?.split_once('/')?;
        let named = match named.split_once('/')? {
            ("services", service) => format!("services/{service}"),
            ("workerpools", pool) => format!("workerPools/{pool}"),
            _ => return None,
        };
        let labels = &entry["resource"]["labels"];
        let region = labels["location"].as_str()?;
        let project = labels["project_id"].as_str().unwrap_or(project);
        format!("projects/{project}/locations/{region}/{named}").parse().ok()
    })?;
    let who =
        payload["authenticationInfo"]["principalEmail"].as_str().unwrap_or("somebody unknown");
    Some(ToldChange { service, who: who.chars().take(200).collect() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(method: &str, resource: &str) -> Value {
        json!({
            "protoPayload": {
                "serviceName": "run.googleapis.com",
                "methodName": method,
                "resourceName": resource,
                "authenticationInfo": {"principalEmail": "mallory@example.com"},
            },
            "resource": {"labels": {"project_id": "demo", "location": "europe-west1"}},
        })
    }

    #[test]
    fn both_versions_of_the_api_are_read() {
        let service = "projects/demo/locations/europe-west1/services/web";
        for (method, resource) in [
            ("google.cloud.run.v2.Services.UpdateService", service),
            ("google.cloud.run.v1.Services.ReplaceService", "namespaces/demo/services/web"),
            ("google.cloud.run.v2.Revisions.DeleteRevision", &format!("{service}/revisions/web-1")),
        ] {
            let told = told_change(&entry(method, resource)).unwrap();
            assert_eq!(
                (told.service.as_str(), told.who.as_str()),
                (service, "mallory@example.com")
            );
        }
        let pool = "projects/demo/locations/europe-west1/workerPools/mail";
        for (method, resource) in [
            ("google.cloud.run.v2.WorkerPools.UpdateWorkerPool", pool),
            (
                "google.cloud.run.v1.WorkerPools.ReplaceWorkerPool",
                "namespaces/demo/workerpools/mail",
            ),
        ] {
            assert_eq!(told_change(&entry(method, resource)).unwrap().service.as_str(), pool);
        }
        for (method, resource) in [
            ("google.cloud.run.v2.WorkerPools.GetWorkerPool", pool),
            ("google.cloud.run.v2.Services.GetService", service),
            ("google.cloud.run.v2.Services.ListServices", service),
            ("google.cloud.run.v2.Jobs.RunJob", "projects/demo/locations/europe-west1/jobs/a"),
        ] {
            assert_eq!(told_change(&entry(method, resource)), None, "{method}");
        }
        assert_eq!(told_change(&json!({})), None);
    }
}
