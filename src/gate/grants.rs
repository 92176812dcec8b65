//! Grants of approved actions: given to their requester, and used up once.

use jiff::Timestamp;
use serde_json::json;

use crate::domain::approval::{Approval, Status, Transition};
use crate::domain::canonical::to_canonical_json;
use crate::domain::digest::Digest;
use crate::domain::grant::GrantClaims;
use crate::domain::hold::{Freezes, Hold, hold_of};
use crate::domain::ids::ApprovalId;
use crate::gate::GateError;
use crate::gate::authorise::{AuthorisedAction, NotAuthorised, authorise_action};
use crate::gate::rollout::freezes_within;
use crate::proof::evidence::Trust;
use crate::proof::grant::{GrantKeys, VerifiedGrant};
use crate::randomness;
use crate::storage::{Storage, StorageError};

/// A grant as its requester gets it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Grant {
    /// The token.
    pub token: String,
    /// Who takes it.
    pub audience: String,
    /// Until when it can be used.
    pub expires_at: Timestamp,
}

/// Why a grant is not taken.
#[derive(Debug, thiserror::Error)]
pub enum GrantRefusal {
    /// It was used, or what it was given for is over.
    #[error("the approval of this grant is {}: a grant is used once, and nothing was changed", .0.as_str().replace('_', " "))]
    Closed(Status),
    /// The approval ran out.
    #[error("the approval of this grant ran out at {0}: ask again")]
    RanOut(Timestamp),
    /// It is frozen, or the windows of its environment are closed.
    #[error("{}: nothing may be done with a grant until then", .0.sentence().trim_end_matches('.'))]
    Held(Hold),
    /// It was made for somebody else than who presents it.
    #[error("this grant was made for the audience {0}, and not for the one that is named here")]
    OtherAudience(String),
    /// It was given for other arguments.
    #[error(
        "the arguments are not those that people signed: nothing may be done with them, and the grant was not used"
    )]
    OtherArguments,
    /// It says something else than the approval.
    #[error("this grant does not say what its approval says: nothing may be done with it")]
    OtherAction,
    /// The evidence of the approval does not hold.
    #[error("the evidence of the approval does not hold ({code}): {finding}", code = .0.code(), finding = .0)]
    NotAuthorised(NotAuthorised),
}

impl GrantRefusal {
    /// The stable name of the refusal.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Closed(Status::Succeeded) => "grant_used",
            Self::Closed(_) => "approval_closed",
            Self::RanOut(_) => "approval_expired",
            Self::Held(hold) => hold.code(),
            Self::OtherAudience(_) => "other_audience",
            Self::OtherArguments => "other_arguments",
            Self::OtherAction => "invalid_grant",
            Self::NotAuthorised(_) => "not_authorised",
        }
    }
}

/// Gives a grant for an approved action, if the evidence of its approval holds: a row that says so is
/// not enough. As often as its requester asks, since the approval is used up once however many there are.
///
/// # Errors
/// [`GrantRefusal::NotAuthorised`] and [`GrantRefusal::RanOut`].
pub async fn give(
    storage: &Storage,
    trust: &Trust,
    keys: &GrantKeys,
    id: &ApprovalId,
    now: Timestamp,
) -> Result<Grant, GateError> {
    let (approval, authorised) = authorised(storage, trust, id, now).await?;
    refuse_held(&approval, &storage.freezes(), now)?;
    let action = authorised.action();
    let (iat, exp) = GrantClaims::times(now, authorised.runs_out());
    let audience = authorised.declared().audience.clone();
    let token = keys.sign(&GrantClaims {
        iss: action.audience.clone(),
        aud: audience.clone(),
        sub: action.requester.key.clone(),
        jti: randomness::token::<16>(),
        iat,
        nbf: iat,
        exp,
        approval: action.approval.clone(),
        environment: action.environment.clone(),
        tool: action.tool.clone(),
        action_digest: *authorised.digest(),
        arguments_digest: Digest::of(to_canonical_json(&action.arguments)?),
    })?;
    let expires_at = Timestamp::from_second(exp).unwrap_or(now);
    Ok(Grant { token, audience, expires_at })
}

/// What whoever takes a grant says beside it.
pub struct Presented<'a> {
    /// Who takes it.
    pub audience: &'a str,
    /// What the tool is about to be called with, by SHA-256 of its canonical JSON.
    pub arguments_digest: Digest,
}

/// Uses a grant up: the approval ends, with its entry, in one transaction. Of any number of callers one gets
/// an answer that is no error, and it has to be had before anything is done.
///
/// # Errors
/// A [`GrantRefusal`]; nothing was changed then.
pub async fn consume(
    storage: &Storage,
    trust: &Trust,
    grant: &VerifiedGrant,
    presented: &Presented<'_>,
    now: Timestamp,
) -> Result<Approval, GateError> {
    let claims = grant.claims();
    if claims.aud != presented.audience {
        return Err(GrantRefusal::OtherAudience(claims.aud.clone()).into());
    }
    if claims.arguments_digest != presented.arguments_digest {
        return Err(GrantRefusal::OtherArguments.into());
    }
    let (verified, authorised) = authorised(storage, trust, &claims.approval, now).await?;
    let action = authorised.action();
    let is_same = claims.action_digest == *authorised.digest()
        && claims.tool == action.tool
        && claims.environment == action.environment
        && claims.sub == action.requester.key
        && claims.aud == authorised.declared().audience
        && claims.arguments_digest == Digest::of(to_canonical_json(&action.arguments)?);
    if !is_same {
        return Err(GrantRefusal::OtherAction.into());
    }
    let mut writer = storage.begin().await?;
    let stored = writer.approval(&claims.approval).await?.ok_or(GateError::NotFound)?;
    // What was verified is what is written on top of; anything else was changed in between.
    if stored.approval != verified {
        return Err(GrantRefusal::Closed(stored.approval.status()).into());
    }
    // One that is not verified yet came in at this very moment: asked again, it is known.
    let freezes = freezes_within(storage, &mut writer).await?.ok_or(StorageError::Conflict)?;
    refuse_held(&stored.approval, &freezes, now)?;
    let transition = stored.approval.consume(now)?;
    let approval =
        writer.apply(Transition { data: json!({"grant": claims.jti}), ..transition }, now).await?;
    // The point of no return: after this commit the grant is used, whether the caller hears of it or not.
    writer.commit().await?;
    Ok(approval)
}

fn refuse_held(approval: &Approval, freezes: &Freezes, now: Timestamp) -> Result<(), GateError> {
    match hold_of(approval, freezes, now) {
        None => Ok(()),
        Some(hold) => Err(GrantRefusal::Held(hold).into()),
    }
}

/// The approval as it is stored, and what its evidence proves.
async fn authorised(
    storage: &Storage,
    trust: &Trust,
    id: &ApprovalId,
    now: Timestamp,
) -> Result<(Approval, AuthorisedAction), GateError> {
    let mut stored = storage.approval(id).await?.ok_or(GateError::NotFound)?;
    loop {
        if stored.approval.status() != Status::Approved {
            return Err(GrantRefusal::Closed(stored.approval.status()).into());
        }
        let finding = match authorise_action(storage, trust, &stored).await {
            Ok(authorised) if now >= authorised.runs_out() => {
                return Err(GrantRefusal::RanOut(authorised.runs_out()).into());
            }
            Ok(authorised) => return Ok((stored.approval, authorised)),
            Err(NotAuthorised::Storage(error)) => return Err(error.into()),
            Err(finding) => finding,
        };
        // Somebody else may have used it up between two of our reads: what is so now is looked at then.
        let again = storage.approval(id).await?.ok_or(GateError::NotFound)?;
        if again.approval == stored.approval {
            return Err(GrantRefusal::NotAuthorised(finding).into());
        }
        stored = again;
    }
}
