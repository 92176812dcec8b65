//! Every error of the API, as problem+json (RFC 9457) with a stable type.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::domain::exception::ReviewRefusal;
use crate::domain::log_fault::LogFault;
use crate::domain::request::RequestRefusal;
use crate::gate::grants::GrantRefusal;
use crate::gate::key_alone::KeyAloneRefusal;
use crate::gate::{CeremonyRefusal, Crowding, GateError, Repetition};
use crate::integrations::cloud_run::CloudRunError;
use crate::integrations::workload_oidc::Refusal;
use crate::storage::StorageError;

/// What every problem's `type` begins with; the stable code follows.
pub const PROBLEM_TYPE_PREFIX: &str = "urn:countersign:problem:";

/// An error as the caller gets it.
#[derive(Debug, Clone)]
pub struct Problem {
    /// The HTTP status.
    pub status: StatusCode,
    /// The stable name, in snake_case.
    pub code: &'static str,
    /// What happened and what to do, in a sentence or two.
    pub detail: String,
    /// After how many seconds the same request may succeed.
    pub retry_after: Option<u32>,
}

/// The JSON form of a problem.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ProblemBody {
    /// `urn:countersign:problem:` and a stable code.
    #[serde(rename = "type")]
    #[schema(example = "urn:countersign:problem:token_expired")]
    pub kind: String,
    /// The code in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened, to what, and what to do now.
    pub detail: String,
}

impl Problem {
    /// A problem with a code and a sentence.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), retry_after: None }
    }

    /// Something of ours failed: the cause goes to the log once, the caller gets a sentence.
    pub fn unavailable(what: &str, cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(%cause, "{what}");
        let detail = format!("{what}. Nothing was changed; try again in a few seconds.");
        Self {
            retry_after: Some(5),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", detail)
        }
    }

    /// The body is over the limit; nothing in it was looked at.
    pub fn body_too_large() -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            "The body is larger than 64 KiB. Shorten the texts, and link to what is long.",
        )
    }

    /// There is no such thing, or the caller may not know.
    pub fn not_found() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "There is nothing of this name that you may see. An approval can be read by the repository that asked and by those who may sign it.",
        )
    }
}

/// Begins with a capital, unless it begins with the name of a member, and ends with a full stop.
pub fn sentence(error: &dyn std::fmt::Display) -> String {
    let text = error.to_string();
    let first_word = text.split(' ').next().unwrap_or_default();
    let mut characters = text.chars();
    let sentence = match characters.next() {
        Some(first) if !first_word.contains(['_', '.', '[']) => {
            first.to_uppercase().to_string() + characters.as_str()
        }
        _ => text,
    };
    if sentence.ends_with(['.', '!', '?']) { sentence } else { sentence + "." }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let words = self.code.replace('_', " ");
        let body = ProblemBody {
            kind: format!("{PROBLEM_TYPE_PREFIX}{}", self.code),
            title: sentence(&words).trim_end_matches('.').to_owned(),
            status: self.status.as_u16(),
            detail: self.detail,
        };
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<&Refusal> for Problem {
    fn from(refusal: &Refusal) -> Self {
        let status = match refusal {
            Refusal::KeysUnavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::RefusedEvent(_) => StatusCode::FORBIDDEN,
            _ => StatusCode::UNAUTHORIZED,
        };
        let retry_after = refusal.is_temporary().then_some(5);
        Self { retry_after, ..Self::new(status, refusal.code(), sentence(refusal)) }
    }
}

impl From<RequestRefusal> for Problem {
    fn from(refusal: RequestRefusal) -> Self {
        let status = match &refusal {
            RequestRefusal::RequesterNotAllowed { .. } => StatusCode::FORBIDDEN,
            RequestRefusal::ServiceBusy { .. } | RequestRefusal::TrustUnpinned { .. } => {
                StatusCode::CONFLICT
            }
            RequestRefusal::ServiceNotCovered { .. }
            | RequestRefusal::JobNotCovered { .. }
            | RequestRefusal::JobMissing(_)
            | RequestRefusal::ImageNotAllowed { .. }
            | RequestRefusal::CommitsUnknown { .. }
            | RequestRefusal::Text { .. }
            | RequestRefusal::Steps(_)
            | RequestRefusal::StepsOfNewService(_)
            | RequestRefusal::PlanFixed { .. }
            | RequestRefusal::Expiry { .. }
            | RequestRefusal::Template { .. }
            | RequestRefusal::ToolNotDeclared { .. }
            | RequestRefusal::Arguments { .. }
            | RequestRefusal::PlainSecret { .. }
            | RequestRefusal::PlainCredential { .. }
            | RequestRefusal::After(..) => StatusCode::UNPROCESSABLE_ENTITY,
        };
        let is_busy = matches!(refusal, RequestRefusal::ServiceBusy { .. });
        let retry_after = is_busy.then_some(15);
        Self { retry_after, ..Self::new(status, refusal.code(), sentence(&refusal)) }
    }
}

impl From<Repetition> for Problem {
    fn from(repetition: Repetition) -> Self {
        let status = match repetition {
            Repetition::OtherBody => StatusCode::UNPROCESSABLE_ENTITY,
            Repetition::TokenReused | Repetition::TokenBeforeRecovery => StatusCode::UNAUTHORIZED,
        };
        Self::new(status, repetition.code(), sentence(&repetition))
    }
}

impl From<CeremonyRefusal> for Problem {
    fn from(refusal: CeremonyRefusal) -> Self {
        let status = match refusal {
            CeremonyRefusal::UnknownStatement
            | CeremonyRefusal::StatementUsed
            | CeremonyRefusal::StatementExpired
            | CeremonyRefusal::UnknownEnrolment
            | CeremonyRefusal::AlreadyRegistered
            | CeremonyRefusal::SignatureVoid(_)
            | CeremonyRefusal::NoCredential
            | CeremonyRefusal::NotEndorsed
            | CeremonyRefusal::KeyNotAccepted { .. }
            | CeremonyRefusal::NoCommonKey
            | CeremonyRefusal::AlreadyEndorsed
            | CeremonyRefusal::NothingToEndorse
            | CeremonyRefusal::AlreadyExplained
            | CeremonyRefusal::LinkOver
            | CeremonyRefusal::NothingToRecover
            | CeremonyRefusal::NotFrozen
            | CeremonyRefusal::Review(ReviewRefusal::Closed)
            | CeremonyRefusal::KeyAlone(KeyAloneRefusal::DirectoryReachable)
            | CeremonyRefusal::RecoveryStale => StatusCode::CONFLICT,
            CeremonyRefusal::OtherCredential
            | CeremonyRefusal::OwnKey
            | CeremonyRefusal::SuspendedCredential
            | CeremonyRefusal::RevokedCredential
            | CeremonyRefusal::UnreadableCredential(_)
            | CeremonyRefusal::MayNotFreeze
            | CeremonyRefusal::Review(ReviewRefusal::OwnGlass | ReviewRefusal::NotAnApprover)
            | CeremonyRefusal::OwnKeyMissing
            | CeremonyRefusal::KeyAlone(_)
            | CeremonyRefusal::OtherPerson => StatusCode::FORBIDDEN,
            CeremonyRefusal::UnknownCredential => StatusCode::NOT_FOUND,
            CeremonyRefusal::ReasonTooLong
            | CeremonyRefusal::NothingSaid
            | CeremonyRefusal::LossAhead
            | CeremonyRefusal::ReasonMissing
            | CeremonyRefusal::FreezeOfNothing
            | CeremonyRefusal::AgentGrant => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Self::new(status, refusal.code(), sentence(&refusal))
    }
}

impl From<GateError> for Problem {
    fn from(error: GateError) -> Self {
        use crate::domain::approval::TransitionRefusal::{
            AccountUnknown, AlreadyDecided, Closed, CommitsUnknown, Expired, MayNotBreakGlass,
            NoBreakGlass, NotAnApprover, NotPossible, NothingToWithdraw, OwnCommits, OwnRequest,
            WindowOver,
        };
        match error {
            GateError::Request(refusal) => refusal.into(),
            GateError::Repetition(repetition) => repetition.into(),
            GateError::Ceremony(refusal) => refusal.into(),
            GateError::Grant(refusal) => {
                let status = match *refusal {
                    GrantRefusal::Closed(_)
                    | GrantRefusal::RanOut(_)
                    | GrantRefusal::Held(_)
                    | GrantRefusal::NotAuthorised(_) => StatusCode::CONFLICT,
                    GrantRefusal::OtherAudience(_)
                    | GrantRefusal::OtherArguments
                    | GrantRefusal::OtherAction => StatusCode::FORBIDDEN,
                };
                Self::new(status, refusal.code(), sentence(&refusal))
            }
            GateError::Crowding(refusal) => {
                let (status, retry_after) = match &refusal {
                    Crowding::TooFast { wait_seconds, .. } => {
                        (StatusCode::TOO_MANY_REQUESTS, u32::try_from(*wait_seconds).ok())
                    }
                    Crowding::OlderWaits(_)
                    | Crowding::OtherRollout(_)
                    | Crowding::BatchFull(_)
                    | Crowding::TooManyWait { .. } => (StatusCode::CONFLICT, None),
                };
                Self { retry_after, ..Self::new(status, refusal.code(), sentence(&refusal)) }
            }
            GateError::Transition(refusal) => {
                let status = match &refusal {
                    NotAnApprover(_) | OwnRequest(_) | MayNotBreakGlass(_) | NoBreakGlass(_)
                    | OwnCommits(_) | AccountUnknown(_) | CommitsUnknown => StatusCode::FORBIDDEN,
                    Closed(_) | Expired(_) | AlreadyDecided(_) | NothingToWithdraw(_)
                    | NotPossible(..) | WindowOver(_) => StatusCode::CONFLICT,
                };
                Self::new(status, refusal.code(), sentence(&refusal))
            }
            GateError::Member(refusal) => {
                let detail = sentence(&refusal);
                Self { detail, ..Self::from(*refusal.error) }
            }
            GateError::Assertion(refusal) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, refusal.code(), sentence(&refusal))
            }
            GateError::Recovery(refusal) => {
                Self::new(StatusCode::FORBIDDEN, refusal.code(), sentence(&refusal))
            }
            GateError::NotFound => Self::not_found(),
            GateError::Storage(error) => error.into(),
            GateError::Canonical(error) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "not_canonical", sentence(&error))
            }
        }
    }
}

impl From<LogFault> for Problem {
    fn from(fault: LogFault) -> Self {
        Self {
            retry_after: fault.is_passing().then_some(5),
            ..Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                fault.code(),
                format!("{} Nothing was changed.", sentence(&fault)),
            )
        }
    }
}

impl From<StorageError> for Problem {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::InvalidCursor => Self::new(
                StatusCode::BAD_REQUEST,
                "invalid_cursor",
                "This cursor is not one that the gate gave out. Begin without a cursor.",
            ),
            StorageError::Conflict => Self {
                retry_after: Some(1),
                ..Self::new(
                    StatusCode::CONFLICT,
                    "conflict",
                    "The approval changed at this very moment. Read it again and decide anew.",
                )
            },
            StorageError::Log(fault) => fault.into(),
            // While two versions run side by side, another try may reach the newer one.
            error @ StorageError::Newer(_) => Self {
                retry_after: Some(2),
                ..Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "newer_version_needed",
                    sentence(&error),
                )
            },
            StorageError::Commit(cause) => {
                tracing::error!(%cause, "a commit was not confirmed");
                Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "outcome_unknown",
                    "The gate's database did not confirm this. It may have been recorded all the same: look again before you repeat it.",
                )
            }
            other => match other.outage() {
                Some(outage) => {
                    tracing::error!(cause = %other, "the database cannot be used");
                    LogFault::Unavailable(outage).into()
                }
                None => Self::unavailable("The gate's database did not answer as it must", &other),
            },
        }
    }
}

impl From<CloudRunError> for Problem {
    fn from(error: CloudRunError) -> Self {
        tracing::warn!(%error, "Cloud Run could not be read");
        let detail = format!(
            "The running service could not be read from Cloud Run: {error}. Nothing was stored; try again, and if it stays so, check the gate's permissions."
        );
        Self {
            retry_after: Some(10),
            ..Self::new(StatusCode::BAD_GATEWAY, "cloud_run_unreadable", detail)
        }
    }
}
