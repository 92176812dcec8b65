//! A container image, named by digest and by nothing else.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::domain::digest::Digest;

/// `REPOSITORY@sha256:DIGEST`: the only name of an image that cannot come to mean another one.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageReference {
    repository: String,
    digest: Digest,
}

/// The text does not name an image by digest.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidImage {
    /// A tag, or nothing, stands where the digest belongs.
    #[error(
        "the image {0:?} is not named by digest: a tag can come to mean another image after \
         somebody approved it. Use REPOSITORY@sha256:DIGEST, as your build printed it"
    )]
    NotByDigest(String),
    /// The digest is there and is not a SHA-256 digest.
    #[error("the image {0:?} does not end in @sha256: and 64 lower-case hexadecimal characters")]
    Digest(String),
    /// The repository is empty or holds other characters than a registry allows.
    #[error(
        "the image {0:?} does not start with a registry and repository, such as europe-docker.pkg.dev/project/repository/image"
    )]
    Repository(String),
}

impl ImageReference {
    /// The registry and repository, without the digest.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The digest of the image's manifest.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }
}

impl FromStr for ImageReference {
    type Err = InvalidImage;

    fn from_str(text: &str) -> Result<Self, InvalidImage> {
        let shown = || text.chars().take(300).collect::<String>();
        let (repository, digest) =
            text.split_once('@').ok_or_else(|| InvalidImage::NotByDigest(shown()))?;
        let hexadecimal =
            digest.strip_prefix("sha256:").ok_or_else(|| InvalidImage::Digest(shown()))?;
        let digest = hexadecimal.parse().map_err(|_| InvalidImage::Digest(shown()))?;
        // A tag beside the digest is ignored by registries, so it could only mislead a reader.
        let last = repository.rsplit('/').next().unwrap_or_default();
        let known =
            |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-' | b'/' | b':');
        let plain = repository.len() <= 255
            && repository.contains('/')
            && repository.bytes().all(known)
            && repository.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
        if !plain {
            return Err(InvalidImage::Repository(shown()));
        }
        if last.contains(':') {
            return Err(InvalidImage::NotByDigest(shown()));
        }
        Ok(Self { repository: repository.to_owned(), digest })
    }
}

impl TryFrom<String> for ImageReference {
    type Error = InvalidImage;

    fn try_from(text: String) -> Result<Self, InvalidImage> {
        text.parse()
    }
}

impl From<ImageReference> for String {
    fn from(image: ImageReference) -> Self {
        image.to_string()
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}@sha256:{}", self.repository, self.digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_digest_names_an_image() {
        let digest = "a".repeat(64);
        let name = format!("europe-docker.pkg.dev/demo/app/web@sha256:{digest}");
        assert_eq!(name.parse::<ImageReference>().unwrap().to_string(), name);
        for bad in [
            "europe-docker.pkg.dev/demo/app/web".to_owned(),
            "europe-docker.pkg.dev/demo/app/web:latest".to_owned(),
            format!("europe-docker.pkg.dev/demo/app/web:v1@sha256:{digest}"),
            format!("europe-docker.pkg.dev/demo/app/web@sha256:{}", digest.to_uppercase()),
            format!("europe-docker.pkg.dev/demo/app/web@sha512:{digest}"),
            format!("web@sha256:{digest}"),
            format!("a//b@sha256:{digest}"),
            format!("a/b c@sha256:{digest}"),
            format!("a/b@sha256:{digest}@sha256:{digest}"),
        ] {
            assert!(bad.parse::<ImageReference>().is_err(), "{bad}");
        }
    }
}
