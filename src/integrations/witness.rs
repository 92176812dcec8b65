//! Witnesses of the log, as C2SP tlog-witness has them: each remembers the newest tree head that it signed,
//! and signs the next one if a proof says that the log only grew.

use std::sync::{Mutex, MutexGuard, PoisonError};

use data_encoding::BASE64;
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use url::Url;

use crate::domain::digest::Digest;
use crate::integrations::outbound::{OutboundError, OutboundHttp};
use crate::proof::cosignature::Witness;

/// How far a witness's clock may be ahead of ours. What says that it was signed later than that was not.
const TOLERATED_SKEW: SignedDuration = SignedDuration::from_secs(60);

/// A witness, as configured.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WitnessSettings {
    /// Its verifier key (C2SP signed-note, type 4).
    pub key: String,
    /// What stands before `/add-checkpoint`.
    pub url: Url,
}

impl WitnessSettings {
    /// What it is called.
    pub fn name(&self) -> &str {
        self.key.split('+').next().unwrap_or_default()
    }
}

/// How a witness stands.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Standing {
    /// The newest head that it signed for this process: its size, and when, by its clock.
    pub signed: Option<(u64, Timestamp)>,
    /// Why it did not sign the newest offer.
    pub fault: Option<String>,
    /// Whether that is a sign that the log shrank or forked.
    pub is_alarm: bool,
}

/// The witnesses and how they stand.
pub struct Witnesses {
    http: OutboundHttp,
    settings: Vec<WitnessSettings>,
    standings: Mutex<Vec<Standing>>,
}

/// A tree head that is offered.
pub struct Offer<'a> {
    /// The size of the tree that the witness signed last.
    pub old: u64,
    /// The proof that this one goes on from there (RFC 6962, section 2.1.2).
    pub proof: &'a [Digest],
    /// What is signed of the head.
    pub text: &'a str,
    /// The signed head.
    pub checkpoint: &'a str,
}

/// What a witness answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// It signed: the base64 of its line, which verifies, and its time.
    Cosigned(String, Timestamp),
    /// The head that it signed last has this size.
    Conflict(u64),
}

/// A witness that did not sign.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// Nothing came back.
    #[error(transparent)]
    NoAnswer(#[from] OutboundError),
    /// It does not know this log.
    #[error("it does not know this log: give its operator the log's verifier key")]
    UnknownLog,
    /// It knows another key of this log.
    #[error("it knows this log under another key: give its operator the log's verifier key")]
    OtherKey,
    /// It does not believe that the log only grew.
    #[error(
        "it says that the log does not go on from the {0} entries that it signed before: they were changed, or another log has this name"
    )]
    Inconsistent(u64),
    /// It answered something else.
    #[error("it answered {0}: {1:?}")]
    Other(StatusCode, String),
    /// It says that it signed, and no line of its key verifies.
    #[error("no line of its answer is a signature of its key over this head")]
    NotSigned,
    /// Its time is to come.
    #[error("it signed with the time {0}, which is to come: its clock or this machine's is wrong")]
    Future(Timestamp),
}

impl Witnesses {
    /// These witnesses, asked over `http`.
    pub fn new(settings: Vec<WitnessSettings>, http: OutboundHttp) -> Self {
        let standings = Mutex::new(vec![Standing::default(); settings.len()]);
        Self { http, settings, standings }
    }

    /// As they are configured.
    pub fn settings(&self) -> &[WitnessSettings] {
        &self.settings
    }

    /// How each stands, by its name, in the order of the configuration.
    pub fn standings(&self) -> Vec<(String, Standing)> {
        let names = self.settings.iter().map(|settings| settings.name().to_owned());
        names.zip(self.lock().iter().cloned()).collect()
    }

    /// Notes how the witness in this place stands.
    pub fn note(&self, place: usize, change: impl FnOnce(&mut Standing)) {
        if let Some(standing) = self.lock().get_mut(place) {
            change(standing);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Standing>> {
        self.standings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Offers a tree head to a witness (tlog-witness, `add-checkpoint`), and verifies what comes back.
    ///
    /// # Errors
    /// If it did not sign, and did not say which head it signed last.
    pub async fn offer(
        &self,
        settings: &WitnessSettings,
        offer: &Offer<'_>,
        now: Timestamp,
    ) -> Result<Answer, WitnessError> {
        let mut body = format!("old {}\n", offer.old);
        for hash in offer.proof {
            body += &BASE64.encode(hash.as_bytes());
            body.push('\n');
        }
        body.push('\n');
        body += offer.checkpoint;
        let url = format!("{}/add-checkpoint", settings.url.as_str().trim_end_matches('/'));
        let request = http::Request::post(url)
            .header(http::header::CONTENT_TYPE, "text/plain; charset=utf-8")
            .body(body.into_bytes())
            .map_err(|error| OutboundError::Unusable(error.to_string()))?;
        let answer = self.http.send(request).await?;
        let text = String::from_utf8_lossy(answer.body());
        match answer.status() {
            StatusCode::OK => signed(settings, offer, &text, now),
            StatusCode::CONFLICT => match size(&text) {
                Some(size) => Ok(Answer::Conflict(size)),
                None => Err(WitnessError::Other(StatusCode::CONFLICT, beginning(&text))),
            },
            StatusCode::NOT_FOUND => Err(WitnessError::UnknownLog),
            StatusCode::FORBIDDEN => Err(WitnessError::OtherKey),
            StatusCode::UNPROCESSABLE_ENTITY => Err(WitnessError::Inconsistent(offer.old)),
            other => Err(WitnessError::Other(other, beginning(&text))),
        }
    }
}

/// The cosignature in an answer. Lines of other keys are passed over, as tlog-witness asks.
fn signed(
    settings: &WitnessSettings,
    offer: &Offer<'_>,
    text: &str,
    now: Timestamp,
) -> Result<Answer, WitnessError> {
    let witness = Witness::parse(&settings.key);
    let found = witness.as_ref().and_then(|witness| witness.find(text, offer.text));
    let (cosignature, at) = found.ok_or(WitnessError::NotSigned)?;
    if at.duration_since(now) > TOLERATED_SKEW {
        return Err(WitnessError::Future(at));
    }
    Ok(Answer::Cosigned(cosignature.to_owned(), at))
}

/// A size in its one spelling, and a line feed.
fn size(text: &str) -> Option<u64> {
    let line = text.strip_suffix('\n')?;
    line.parse().ok().filter(|size: &u64| size.to_string() == line)
}

/// As much of an answer as fits a log.
fn beginning(text: &str) -> String {
    text.chars().take(200).collect()
}
