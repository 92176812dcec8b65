//! One object of Google Cloud Storage, by its JSON API: read with its generation, and replaced only while
//! it is the generation that was read (<https://cloud.google.com/storage/docs/request-preconditions>).
//!
//! Google's own client would bring a gRPC stack along for these two calls.

use std::fmt;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode, header};
use url::Url;

use crate::integrations::cloud_credentials::{CloudCredentials, GoogleAccount};
use crate::integrations::outbound::{OutboundError, OutboundHttp};

/// Where Google's Cloud Storage is.
pub const GOOGLE_STORAGE: &str = "https://storage.googleapis.com/";

/// Read and write objects, and nothing of buckets.
const SCOPE: &str = "https://www.googleapis.com/auth/devstorage.read_write";

/// What an answer tells the generation of its object by.
const GENERATION: &str = "x-goog-generation";

/// The pauses between attempts that Cloud Storage was too busy for. It takes one write a second of each
/// object, and rollouts may ask for more (<https://cloud.google.com/storage/quotas>).
const PAUSES: [Duration; 4] = [
    Duration::from_millis(200),
    Duration::from_millis(400),
    Duration::from_millis(800),
    Duration::from_millis(1600),
];

/// An object's name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ObjectName {
    bucket: String,
    object: String,
}

/// Why a text names no object.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ObjectNameError {
    /// It does not begin with `gs://`, or names no object.
    #[error("write gs://BUCKET/OBJECT")]
    Form,
    /// The bucket's name cannot be one.
    #[error(
        "a bucket's name has 3 to 222 lower-case letters, digits, hyphens, underscores and dots, \
         and begins and ends with a letter or digit"
    )]
    Bucket,
    /// The object's name cannot be one.
    #[error(
        "an object's name has at most 1024 bytes without control characters, and is neither empty \
         nor a dot or two"
    )]
    Object,
}

impl ObjectName {
    /// Reads `gs://BUCKET/OBJECT`, by the rules for names of
    /// <https://cloud.google.com/storage/docs/buckets#naming> and
    /// <https://cloud.google.com/storage/docs/objects#naming>.
    ///
    /// # Errors
    /// Says which rule it breaks.
    pub fn parse(text: &str) -> Result<Self, ObjectNameError> {
        let named = text.strip_prefix("gs://").and_then(|rest| rest.split_once('/'));
        let (bucket, object) = named.ok_or(ObjectNameError::Form)?;
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let is_bucket = (3..=222).contains(&bucket.len())
            && bucket.bytes().all(|byte| is_plain(byte) || b"-_.".contains(&byte))
            && bucket.bytes().next().is_some_and(is_plain)
            && bucket.bytes().last().is_some_and(is_plain);
        if !is_bucket {
            return Err(ObjectNameError::Bucket);
        }
        let is_object = (1..=1024).contains(&object.len())
            && !object.chars().any(char::is_control)
            && ![".", ".."].contains(&object);
        if !is_object {
            return Err(ObjectNameError::Object);
        }
        Ok(Self { bucket: bucket.to_owned(), object: object.to_owned() })
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "gs://{}/{}", self.bucket, self.object)
    }
}

/// How an object is reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ObjectSettings {
    /// Its name.
    pub name: ObjectName,
    /// Where Cloud Storage is: [`GOOGLE_STORAGE`], or a sandbox.
    pub endpoint: Url,
    /// Whose rights are used: the same as at Cloud Run.
    pub account: GoogleAccount,
}

/// What an object holds, and which generation of it that is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Held {
    /// The object's bytes.
    pub text: String,
    /// Grows with every write.
    pub generation: u64,
}

/// The object cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// No answer came. A write may have arrived.
    #[error(transparent)]
    NoAnswer(#[from] OutboundError),
    /// It answered with something else than the object.
    #[error("Cloud Storage answered {status}: {message}")]
    Answer {
        /// The HTTP status.
        status: StatusCode,
        /// What it says.
        message: String,
    },
    /// There are no credentials to ask with.
    #[error("there are no Google credentials to reach Cloud Storage with: {0}")]
    Credentials(String),
}

/// An object of Cloud Storage. Clones share their credentials.
#[derive(Clone, Debug)]
pub struct CloudObject {
    settings: ObjectSettings,
    http: OutboundHttp,
    credentials: CloudCredentials,
}

impl CloudObject {
    /// Touches neither the network nor the credentials: they are looked for at the first call.
    pub fn new(settings: ObjectSettings, http: OutboundHttp) -> Self {
        let credentials = CloudCredentials::new(settings.account.clone(), SCOPE);
        Self { settings, http, credentials }
    }

    /// Its name.
    pub fn name(&self) -> &ObjectName {
        &self.settings.name
    }

    /// What the object holds now; none if it does not exist.
    ///
    /// # Errors
    /// If it cannot be told.
    pub async fn read(&self) -> Result<Option<Held>, ObjectError> {
        let mut url = self.address(&["storage", "v1", "b"]);
        self.extend(&mut url, &["o", &self.settings.name.object]);
        url.query_pairs_mut().append_pair("alt", "media");
        let answer = self.send(Method::GET, &url, "").await?;
        match answer.status() {
            StatusCode::NOT_FOUND => return Ok(None),
            StatusCode::OK => {}
            _ => return Err(said(&answer)),
        }
        let generation = answer.headers().get(GENERATION).and_then(|value| value.to_str().ok());
        let generation = generation.and_then(|text| text.parse().ok());
        let text = String::from_utf8(answer.body().clone()).ok();
        match (text, generation) {
            (Some(text), Some(generation)) => Ok(Some(Held { text, generation })),
            _ => Err(said(&answer)),
        }
    }

    /// Replaces what the object holds, if it is this generation still (0: if it does not exist). False:
    /// it is another one by now, which may be this very text if an earlier attempt's answer was lost.
    ///
    /// # Errors
    /// If it was not done, or nobody knows whether it was.
    pub async fn replace(&self, generation: u64, text: &str) -> Result<bool, ObjectError> {
        let mut url = self.address(&["upload", "storage", "v1", "b"]);
        self.extend(&mut url, &["o"]);
        url.query_pairs_mut()
            .append_pair("uploadType", "media")
            .append_pair("name", &self.settings.name.object)
            .append_pair("ifGenerationMatch", &generation.to_string());
        let answer = self.send(Method::POST, &url, text).await?;
        match answer.status() {
            StatusCode::OK => Ok(true),
            StatusCode::PRECONDITION_FAILED => Ok(false),
            _ => Err(said(&answer)),
        }
    }

    fn address(&self, path: &[&str]) -> Url {
        let mut url = self.settings.endpoint.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path).push(&self.settings.name.bucket);
        }
        url
    }

    /// Adds path segments, in which a slash of an object's name is no separator.
    fn extend(&self, url: &mut Url, path: &[&str]) {
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.extend(path);
        }
    }

    /// Sends, and again after a pause while Cloud Storage is too busy or does not answer: both calls can
    /// be repeated, since a write names the generation that it replaces.
    async fn send(
        &self,
        method: Method,
        url: &Url,
        text: &str,
    ) -> Result<Response<Vec<u8>>, ObjectError> {
        let credentials = self.credentials.headers().await.map_err(ObjectError::Credentials)?;
        let mut pauses = PAUSES.into_iter();
        loop {
            let mut request = Request::new(text.as_bytes().to_vec());
            *request.method_mut() = method.clone();
            *request.uri_mut() = url.as_str().parse().map_err(|error: http::uri::InvalidUri| {
                OutboundError::Unusable(error.to_string())
            })?;
            request.headers_mut().extend(credentials.clone());
            let json = header::HeaderValue::from_static("application/json");
            request.headers_mut().insert(header::CONTENT_TYPE, json);
            let answer = self.http.send(request).await;
            let is_passing = answer.as_ref().map_or_else(is_silence, is_busy);
            match (is_passing, pauses.next()) {
                (true, Some(pause)) => tokio::time::sleep(pause).await,
                _ => return Ok(answer?),
            }
        }
    }
}

fn is_silence(error: &OutboundError) -> bool {
    matches!(error, OutboundError::NoAnswer { .. })
}

/// The statuses that Google asks to repeat (<https://cloud.google.com/storage/docs/retry-strategy>).
fn is_busy(answer: &Response<Vec<u8>>) -> bool {
    let status = answer.status();
    status.is_server_error()
        || [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS].contains(&status)
}

/// Google's own words, if they are in its usual form.
fn said(answer: &Response<Vec<u8>>) -> ObjectError {
    /// Of an answer that is not in that form.
    const LONGEST: usize = 200;
    let body = serde_json::from_slice::<serde_json::Value>(answer.body()).unwrap_or_default();
    let message = body["error"]["message"].as_str().map(str::to_owned);
    let raw = || String::from_utf8_lossy(answer.body()).chars().take(LONGEST).collect();
    ObjectError::Answer { status: answer.status(), message: message.unwrap_or_else(raw) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_objects() {
        for good in ["gs://abc/head.json", "gs://a-b_c.example.com/a/b c?#%.json", "gs://abc/..a"] {
            assert_eq!(ObjectName::parse(good).unwrap().to_string(), good);
        }
        for (bad, error) in [
            ("", ObjectNameError::Form),
            ("gs:/abc/head", ObjectNameError::Form),
            ("s3://abc/head", ObjectNameError::Form),
            ("gs://abc", ObjectNameError::Form),
            ("gs:///head", ObjectNameError::Bucket),
            ("gs://ab/head", ObjectNameError::Bucket),
            ("gs://Abc/head", ObjectNameError::Bucket),
            ("gs://-abc/head", ObjectNameError::Bucket),
            ("gs://abc./head", ObjectNameError::Bucket),
            ("gs://user@abc/head", ObjectNameError::Bucket),
            ("gs://abc/", ObjectNameError::Object),
            ("gs://abc/..", ObjectNameError::Object),
            ("gs://abc/a\nb", ObjectNameError::Object),
            (&format!("gs://abc/{}", "a".repeat(1025)), ObjectNameError::Object),
        ] {
            assert_eq!(ObjectName::parse(bad), Err(error), "{bad}");
        }
    }

    #[test]
    fn every_name_is_one_segment_of_the_address() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let settings = ObjectSettings {
            name: ObjectName::parse("gs://abc/a/b?c#d e.json").unwrap(),
            endpoint: GOOGLE_STORAGE.parse().unwrap(),
            account: GoogleAccount::ANONYMOUS,
        };
        let object = CloudObject::new(settings, OutboundHttp::new().unwrap());
        let mut url = object.address(&["storage", "v1", "b"]);
        object.extend(&mut url, &["o", &object.settings.name.object]);
        let expected = "https://storage.googleapis.com/storage/v1/b/abc/o/a%2Fb%3Fc%23d%20e.json";
        assert_eq!(url.as_str(), expected);
    }
}
