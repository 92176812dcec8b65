//! The canonical deployment: every fact of one rollout, frozen when it is asked for, signed as a whole.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::domain::canonical::{CanonicalError, from_canonical_json, to_canonical_json};
use crate::domain::digest::Digest;
use crate::domain::ids::{ApprovalId, short_code};
use crate::domain::image::ImageReference;
use crate::domain::observation::TrafficShare;
pub use crate::domain::plan::{Plan, Step};
use crate::domain::service::ServiceName;
use crate::domain::time;

/// Names the form of the bytes, so that a later form can never be mistaken for this one.
pub const DEPLOYMENT_SCHEMA: &str = "countersign/deployment/v1";

/// Everything that a decision signs about one rollout. Its canonical JSON is what pages show,
/// what the worker executes and what the deployment digest is the SHA-256 of.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deployment {
    /// [`DEPLOYMENT_SCHEMA`].
    pub schema: String,
    /// The approval's random identifier: no two deployments are ever the same bytes.
    pub approval: ApprovalId,
    /// The origin of the gate that froze it.
    pub audience: String,
    /// The environment whose policy rules.
    pub environment: String,
    /// Where it goes.
    pub service: ServiceName,
    /// What goes there.
    pub image: ImageReference,
    /// The complete revision template that is sent to Cloud Run, in the API's JSON.
    pub proposed: Value,
    /// How it goes there, and the way back.
    pub plan: Plan,
    /// What must still be so when the first change is made.
    pub preconditions: Preconditions,
    /// Who asks, as their token says.
    pub requester: Requester,
    /// What GitHub says of the commit that the token names, where the gate may ask.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<Commit>,
    /// Why, in the requester's words.
    pub reason: String,
    /// A headline, in the requester's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// More about it, in the requester's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Where to read more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<Link>,
    /// The digest of the canonical policy in force when it was asked.
    pub policy_digest: Digest,
    /// When it was asked.
    #[serde(deserialize_with = "time::deserialize")]
    pub requested_at: Timestamp,
    /// Until when it may be decided and its rollout be begun.
    #[serde(deserialize_with = "time::deserialize")]
    pub expires_at: Timestamp,
}

/// What must hold before the first change of the world.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "service", rename_all = "snake_case", deny_unknown_fields)]
pub enum Preconditions {
    /// The service does not exist; the rollout creates it.
    Absent {},
    /// The service is as it was when the deployment was asked for.
    Present {
        /// Cloud Run's identifier of the service.
        uid: String,
        /// The generation that was seen.
        generation: i64,
        /// The shares that served.
        serving: Vec<TrafficShare>,
        /// The running revision template, in the API's JSON.
        running: Value,
    },
}

/// The workload that asks.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requester {
    /// The configured name of the token issuer.
    pub issuer: String,
    /// The token issuer's URL.
    pub issuer_url: String,
    /// The token's `sub`.
    pub subject: String,
    /// Who counts as the same requester: issuer and the configured claim, `github:1001` for example.
    pub key: String,
    /// Every claim of the verified token.
    pub claims: Map<String, Value>,
}

impl Requester {
    /// A claim that is a text.
    pub fn claim(&self, name: &str) -> Option<&str> {
        self.claims.get(name).and_then(Value::as_str)
    }

    /// The repository if the token names one, else the subject.
    pub fn display_name(&self) -> &str {
        self.claim("repository").or_else(|| self.claim("name")).unwrap_or(&self.subject)
    }
}

/// A commit, as GitHub's API describes it. Its texts are its author's, not the gate's.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Commit {
    /// The first line of its message.
    pub headline: String,
    /// The author's name, as git has it: a claim and no identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// When the author made it.
    #[serde(
        default,
        deserialize_with = "time::deserialize_some",
        skip_serializing_if = "Option::is_none"
    )]
    pub authored_at: Option<Timestamp>,
    /// Its page.
    pub url: String,
}

/// A link that the requester gives.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// What it is called.
    pub title: String,
    /// Where it leads, https only.
    pub url: String,
}

/// A deployment together with its canonical bytes and their digest.
#[derive(Clone, PartialEq, Debug)]
pub struct FrozenDeployment {
    deployment: Deployment,
    text: String,
    digest: Digest,
}

impl FrozenDeployment {
    /// Freezes a deployment.
    pub fn freeze(deployment: Deployment) -> Result<Self, CanonicalError> {
        let text = to_canonical_json(&deployment)?;
        let digest = Digest::of(&text);
        Ok(Self { deployment, text, digest })
    }

    /// Reads a frozen deployment back from its canonical text, and from no other text.
    pub fn thaw(text: &str) -> Result<Self, CanonicalError> {
        let deployment: Deployment = from_canonical_json(text)?;
        Ok(Self { deployment, text: text.to_owned(), digest: Digest::of(text) })
    }

    /// The facts.
    pub fn deployment(&self) -> &Deployment {
        &self.deployment
    }

    /// The canonical JSON.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// SHA-256 of the canonical JSON.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The digest's first characters, for people to compare.
    pub fn short_code(&self) -> String {
        short_code(&self.digest)
    }
}

impl std::ops::Deref for FrozenDeployment {
    type Target = Deployment;

    fn deref(&self) -> &Deployment {
        &self.deployment
    }
}
