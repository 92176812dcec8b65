//! Which claims a workload token must have, and what they must say. Pure: claims in, verdict out.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use super::{Refusal, WorkloadIssuer, WorkloadKind};
use crate::proof::token::{numeric_date, sole_audience};

/// Clocks of well-run machines differ by less than a second; half a minute covers the others,
/// and is half of what libraries allow by default.
pub(super) const LEEWAY: SignedDuration = SignedDuration::from_secs(30);

/// Replay records are kept until a token's expiry, so that expiry may not be far away.
/// Jobs get minutes, Kubernetes and cloud identities an hour.
const MAX_LIFETIME: SignedDuration = SignedDuration::from_hours(24);

/// What the claims of an acceptable token say.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) subject: String,
    pub(super) requester: String,
    pub(super) token_id: Option<String>,
    pub(super) issued_at: Timestamp,
    pub(super) expires_at: Timestamp,
    pub(super) verified_at: Timestamp,
}

/// Checks the claims of a token whose signature was verified with a key of `issuer`.
pub(super) fn check(
    issuer: &WorkloadIssuer,
    claims: &Map<String, Value>,
    now: Timestamp,
) -> Result<Checked, Refusal> {
    check_audience(&issuer.audience, claims)?;
    let (issued_at, expires_at) = check_times(claims, now)?;
    let subject = text(claims, "sub")?.ok_or(Refusal::MissingSubject)?;
    let claim = issuer.requester_claim();
    let requester = claims
        .get(claim)
        .and_then(Value::as_str)
        // Nobody is named with control characters, and a database may be unable to hold them.
        .filter(|value| !value.is_empty() && !value.contains(char::is_control))
        .ok_or_else(|| Refusal::MissingRequesterClaim {
            claim: claim.to_owned(),
            issuer: issuer.name.clone(),
        })?
        .to_owned();
    check_event(issuer, claims)?;
    let token_id = match claims.get("jti") {
        None => None,
        Some(Value::String(id)) if !id.is_empty() => Some(id.clone()),
        Some(_) => return Err(Refusal::MalformedClaim("jti")),
    };
    Ok(Checked { subject, requester, token_id, issued_at, expires_at, verified_at: now })
}

fn check_audience(expected: &str, claims: &Map<String, Value>) -> Result<(), Refusal> {
    let expected_text = || expected.to_owned();
    match claims.get("aud") {
        None | Some(Value::Null) => Err(Refusal::MissingAudience { expected: expected_text() }),
        Some(found) => match (sole_audience(claims), found) {
            (Some(audience), _) if audience == expected => Ok(()),
            (Some(_), _) => Err(Refusal::WrongAudience { expected: expected_text() }),
            (None, Value::Array(_)) => Err(Refusal::AudienceIsList { expected: expected_text() }),
            (None, _) => Err(Refusal::MalformedClaim("aud")),
        },
    }
}

fn check_times(
    claims: &Map<String, Value>,
    now: Timestamp,
) -> Result<(Timestamp, Timestamp), Refusal> {
    let expires_at = time(claims, "exp")?.ok_or(Refusal::MissingExpiry)?;
    if now.duration_since(expires_at) >= LEEWAY {
        return Err(Refusal::Expired(expires_at));
    }
    let issued_at = time(claims, "iat")?.ok_or(Refusal::MissingIssuedAt)?;
    if expires_at <= issued_at {
        return Err(Refusal::EndsBeforeItBegins);
    }
    if expires_at.duration_since(issued_at) > MAX_LIFETIME {
        return Err(Refusal::LivesTooLong);
    }
    if let Some(not_before) = time(claims, "nbf")?
        && not_before.duration_since(now) > LEEWAY
    {
        return Err(Refusal::NotYetValid(not_before));
    }
    if issued_at.duration_since(now) > LEEWAY {
        return Err(Refusal::IssuedInFuture(issued_at));
    }
    Ok((issued_at, expires_at))
}

/// Some events run with the repository's rights on what an outsider wrote.
fn check_event(issuer: &WorkloadIssuer, claims: &Map<String, Value>) -> Result<(), Refusal> {
    match (text(claims, "event_name")?, issuer.kind) {
        (Some(event), _) if issuer.refused_events.contains(&event) => {
            Err(Refusal::RefusedEvent(event))
        }
        (None, WorkloadKind::Github) => Err(Refusal::MissingEvent),
        (Some(_), _) | (None, WorkloadKind::Generic) => Ok(()),
    }
}

/// A text claim; an empty one counts as absent.
fn text(claims: &Map<String, Value>, name: &'static str) -> Result<Option<String>, Refusal> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::String(value)) if value.is_empty() => Ok(None),
        Some(Value::String(value)) => Ok(Some(value.clone())),
        Some(_) => Err(Refusal::MalformedClaim(name)),
    }
}

fn time(claims: &Map<String, Value>, name: &'static str) -> Result<Option<Timestamp>, Refusal> {
    numeric_date(claims, name).map_err(|_| Refusal::MalformedClaim(name))
}
