//! A webhook of GitHub, believed only after its signature over the raw bytes was verified.

use aws_lc_rs::hmac;
use data_encoding::HEXLOWER_PERMISSIVE;
use secrecy::ExposeSecret;
use serde::Deserialize;

use super::app::GitHubApp;
use crate::domain::digest::Digest;

/// GitHub's own names of its deliveries are UUIDs.
const LONGEST_ID: usize = 64;
/// An environment of GitHub has at most this many characters.
const LONGEST_ENVIRONMENT: usize = 255;

/// What stands in the headers of a delivery, before anything was verified.
#[derive(Clone, Copy, Debug)]
pub struct UnverifiedDelivery<'a> {
    /// `X-Hub-Signature-256`.
    pub signature: &'a str,
    /// `X-GitHub-Delivery`.
    pub id: &'a str,
    /// `X-GitHub-Event`.
    pub event: &'a str,
    /// The body, byte for byte as it came.
    pub body: &'a [u8],
}

/// A delivery of a pinned repository whose signature was verified. Only [`GitHubApp::verify`] makes one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifiedDelivery {
    id: String,
    digest: Digest,
    signature_digest: Digest,
    event: Event,
}

/// What GitHub says happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A run waits at an environment for the gate's word.
    RuleRequested(RuleRequested),
    /// Something that concerns the gate not at all.
    Other(String),
}

/// A run that waits at an environment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RuleRequested {
    /// GitHub's number of the repository.
    pub repository: u64,
    /// GitHub's number of the run.
    pub run: u64,
    /// The environment, by GitHub's name.
    pub environment: String,
    /// GitHub's number of its deployment.
    pub deployment: u64,
}

/// Why a delivery is not believed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DeliveryRefusal {
    /// The signature is missing or is not one over these bytes.
    #[error(
        "the signature is not one that the webhook's secret makes of this body: compare the secret with the one at GitHub"
    )]
    Signature,
    /// A header is missing or is none that GitHub sends.
    #[error("the headers are not those of a delivery of GitHub")]
    Headers,
    /// The body is not what GitHub sends with this event.
    #[error("the body is not the payload of this event: {0}")]
    Payload(String),
    /// It is about a repository or an installation that is not pinned.
    #[error(
        "the repository or installation is not listed in [[github.app.installation]] of the configuration"
    )]
    NotPinned,
}

impl DeliveryRefusal {
    /// The stable name of the refusal.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Signature => "webhook_signature_invalid",
            Self::Headers => "webhook_headers_invalid",
            Self::Payload(_) => "webhook_payload_invalid",
            Self::NotPinned => "webhook_repository_not_pinned",
        }
    }
}

/// `deployment_protection_rule`, as far as it is used. The address to answer to is read for the run's number
/// alone, which stands nowhere else, and never called.
#[derive(Deserialize)]
struct RulePayload {
    action: String,
    environment: String,
    deployment_callback_url: String,
    deployment: Numbered,
    repository: Numbered,
    installation: Numbered,
}

#[derive(Deserialize)]
struct Numbered {
    id: u64,
}

impl VerifiedDelivery {
    /// GitHub's name of this delivery, which a repetition has too.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// SHA-256 of its body.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// SHA-256 of its signature as the header has it, in lower case.
    pub fn signature_digest(&self) -> &Digest {
        &self.signature_digest
    }

    /// What it says.
    pub fn event(&self) -> &Event {
        &self.event
    }
}

impl GitHubApp {
    /// Verifies a delivery: the signature over the raw bytes first, in constant time, and nothing is parsed
    /// before it holds.
    ///
    /// # Errors
    /// A [`DeliveryRefusal`]; nothing of the delivery counts then.
    pub fn verify(
        &self,
        unverified: UnverifiedDelivery<'_>,
    ) -> Result<VerifiedDelivery, DeliveryRefusal> {
        let UnverifiedDelivery { signature, id, event, body } = unverified;
        let tag = signature.strip_prefix("sha256=").ok_or(DeliveryRefusal::Signature)?;
        let tag = HEXLOWER_PERMISSIVE.decode(tag.as_bytes());
        let tag = tag.map_err(|_| DeliveryRefusal::Signature)?;
        let secret = self.webhook_secret.expose_secret().as_bytes();
        hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, secret), body, &tag)
            .map_err(|_| DeliveryRefusal::Signature)?;
        let is_plain = |text: &str| {
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            (1..=LONGEST_ID).contains(&text.len()) && text.bytes().all(fits)
        };
        if !is_plain(id) || !is_plain(event) {
            return Err(DeliveryRefusal::Headers);
        }
        let event = match event {
            "deployment_protection_rule" => self.rule(body)?,
            other => Event::Other(other.to_owned()),
        };
        Ok(VerifiedDelivery {
            id: id.to_owned(),
            digest: Digest::of(body),
            signature_digest: Digest::of(signature.to_ascii_lowercase()),
            event,
        })
    }

    fn rule(&self, body: &[u8]) -> Result<Event, DeliveryRefusal> {
        let payload: RulePayload = serde_json::from_slice(body)
            .map_err(|error| DeliveryRefusal::Payload(error.to_string()))?;
        let repository = payload.repository.id;
        if self.installation_of(repository) != Some(payload.installation.id) {
            return Err(DeliveryRefusal::NotPinned);
        }
        if payload.action != "requested" {
            return Ok(Event::Other(format!("deployment_protection_rule.{}", payload.action)));
        }
        let run = run_of(&payload.deployment_callback_url).ok_or_else(|| {
            DeliveryRefusal::Payload("its callback address names no run".to_owned())
        })?;
        let environment = payload.environment;
        let is_short = (1..=LONGEST_ENVIRONMENT).contains(&environment.chars().count());
        if !is_short || environment.chars().any(char::is_control) {
            return Err(DeliveryRefusal::Payload("its environment has no usable name".to_owned()));
        }
        let deployment = payload.deployment.id;
        Ok(Event::RuleRequested(RuleRequested { repository, run, environment, deployment }))
    }
}

/// The number of the run in `.../actions/runs/NUMBER/deployment_protection_rule`.
fn run_of(callback: &str) -> Option<u64> {
    let rest = callback.strip_suffix("/deployment_protection_rule")?;
    let (_, run) = rest.rsplit_once("/actions/runs/")?;
    run.bytes().all(|byte| byte.is_ascii_digit()).then(|| run.parse().ok())?
}
