//! Attestations for Binary Authorization: the gate's word to Google Cloud that an image was approved, so that
//! Cloud Run itself refuses what nobody approved, whoever asks for it.
//!
//! An attestation speaks of an image alone and not of a service or a time: it is a backstop behind the gate,
//! and no approval. It is made after the evidence was verified and before the first change.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::domain::canonical::{CanonicalError, to_canonical_json};
use crate::domain::image::ImageReference;
use crate::domain::time;

/// What the signed text of Google's attestations says that it is.
const PAYLOAD_TYPE: &str = "Google cloud binauthz container signature";

/// The note of an attestor in Artifact Analysis: `projects/PROJECT/notes/NOTE`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NoteName(String);

/// It is no name of a note.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0:?} is no note of an attestor: write projects/PROJECT/notes/NOTE")]
pub struct InvalidNoteName(String);

impl NoteName {
    /// The project that the note is in, where attestations for it are kept.
    pub fn project(&self) -> &str {
        self.0.split('/').nth(1).unwrap_or_default()
    }

    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for NoteName {
    type Error = InvalidNoteName;

    fn try_from(text: String) -> Result<Self, InvalidNoteName> {
        let plain = |part: &str| {
            let may_stand = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
            !part.is_empty() && part.len() <= 256 && part.bytes().all(may_stand)
        };
        match text.split('/').collect::<Vec<_>>()[..] {
            ["projects", project, "notes", note] if plain(project) && plain(note) => Ok(Self(text)),
            _ => Err(InvalidNoteName(text)),
        }
    }
}

impl From<NoteName> for String {
    fn from(name: NoteName) -> Self {
        name.0
    }
}

impl fmt::Display for NoteName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// An attestation that was made, or found made.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attested {
    /// For which attestor.
    pub note: NoteName,
    /// What Artifact Analysis calls it: `projects/PROJECT/occurrences/ID`.
    pub occurrence: String,
    /// When it was seen there.
    #[serde(deserialize_with = "time::deserialize")]
    pub at: Timestamp,
}

/// What is signed: Red Hat's "simple signing" form as Google reads it, in canonical JSON so that the same
/// image has the same text every time.
///
/// # Errors
/// None in practice: texts have a canonical form.
pub fn payload(image: &ImageReference) -> Result<String, CanonicalError> {
    to_canonical_json(&json!({
        "critical": {
            "identity": {"docker-reference": image.repository()},
            "image": {"docker-manifest-digest": format!("sha256:{}", image.digest())},
            "type": PAYLOAD_TYPE,
        }
    }))
}

/// The image as Artifact Analysis names it.
pub fn resource(image: &ImageReference) -> String {
    format!("https://{image}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signed_text_is_what_google_reads() {
        let digest = "a".repeat(64);
        let image: ImageReference =
            format!("europe-docker.pkg.dev/demo/app/web@sha256:{digest}").parse().unwrap();
        assert_eq!(
            payload(&image).unwrap(),
            format!(
                r#"{{"critical":{{"identity":{{"docker-reference":"europe-docker.pkg.dev/demo/app/web"}},"image":{{"docker-manifest-digest":"sha256:{digest}"}},"type":"Google cloud binauthz container signature"}}}}"#
            )
        );
        assert_eq!(
            resource(&image),
            format!("https://europe-docker.pkg.dev/demo/app/web@sha256:{digest}")
        );
    }
}
