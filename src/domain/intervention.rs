//! Interventions: an approver signs what becomes of a rollout that runs, stands still or is over.
//!
//! Each is an entry of the approval's own chain that holds the statement and its signature. What it
//! leads to is signed already: the plan, or the way back.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::canonical::CanonicalError;
use crate::domain::digest::Digest;
use crate::domain::person::Person;
use crate::domain::statement::{
    Decider, Frozen, STATEMENT_LIFETIME, STATEMENT_TYPE, Signable, Statement, subjects_of,
};
use crate::domain::subject::FrozenSubject;

/// Names the form of the predicate.
pub const INTERVENTION_TYPE: &str = "urn:countersign:predicate:intervention:v1";
/// What the ledger calls an intervention.
pub const INTERVENED: &str = "rollout.intervened";

/// What an approver can sign about a rollout.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// It goes on after the step at which it pauses.
    GoOn,
    /// It stops, and what served before serves again.
    Restore,
    /// What is there is looked at again, and the rollout goes on from it.
    ObserveAgain,
    /// Nothing more is done: what is there stays.
    Accept,
}

impl Act {
    /// Every act.
    pub const ALL: [Self; 4] = [Self::GoOn, Self::Restore, Self::ObserveAgain, Self::Accept];

    /// The snake_case name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::GoOn => "go_on",
            Self::Restore => "restore",
            Self::ObserveAgain => "observe_again",
            Self::Accept => "accept",
        }
    }

    /// Whether what was asked for gets further by it: for the way back it does not matter who wrote what.
    pub fn goes_on(self) -> bool {
        self != Self::Restore
    }

    /// What the person signed for, after "signed that".
    pub fn in_words(self) -> &'static str {
        match self {
            Self::GoOn => "the rollout goes on",
            Self::Restore => "what served before serves again",
            Self::ObserveAgain => {
                "the service is looked at again and the rollout goes on from there"
            }
            Self::Accept => "the service stays as it is",
        }
    }
}

/// What an intervention says beside its subjects, the image and the deployment.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Intervention {
    /// What is to become of the rollout.
    pub act: Act,
    /// How many steps serve when it is signed: another number means another pause.
    pub steps_done: u64,
    /// Why, in the person's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who signs.
    pub approver: Person,
    /// The credentials that may sign it, base64url.
    pub credentials: Vec<String>,
    /// SHA-256 of the ID token of the person's sign-in.
    pub sign_in_digest: Digest,
    /// The origin of the gate that it is meant for.
    pub audience: String,
    /// 32 random bytes, base64url.
    pub nonce: String,
    /// When it was made.
    #[serde(deserialize_with = "crate::domain::time::deserialize")]
    pub issued_at: Timestamp,
    /// Until when it may be signed.
    #[serde(deserialize_with = "crate::domain::time::deserialize")]
    pub expires_at: Timestamp,
}

impl Signable for Intervention {
    fn credentials(&self) -> &[String] {
        &self.credentials
    }

    fn nonce(&self) -> &str {
        &self.nonce
    }

    fn expires_at(&self) -> Timestamp {
        self.expires_at
    }
}

/// A statement of an intervention.
pub type FrozenIntervention = Frozen<Intervention>;

/// What a person wants to sign.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wish {
    /// What is to become of the rollout.
    pub act: Act,
    /// Why, in the person's words.
    pub reason: Option<String>,
}

impl FrozenIntervention {
    /// Makes the statement that `decider` may sign about the rollout of `asked` from `now` on.
    pub fn about(
        asked: &FrozenSubject,
        wish: Wish,
        steps_done: usize,
        decider: Decider,
        nonce: String,
        now: Timestamp,
    ) -> Result<Self, CanonicalError> {
        Self::freeze(Statement {
            statement_type: STATEMENT_TYPE.to_owned(),
            subject: subjects_of(asked),
            predicate_type: INTERVENTION_TYPE.to_owned(),
            predicate: Intervention {
                act: wish.act,
                steps_done: u64::try_from(steps_done).unwrap_or(u64::MAX),
                reason: wish.reason,
                approver: decider.approver,
                credentials: decider.credentials,
                sign_in_digest: decider.sign_in_digest,
                audience: asked.audience.clone(),
                nonce,
                issued_at: now,
                expires_at: now.saturating_add(STATEMENT_LIFETIME).unwrap_or(now),
            },
        })
    }

    /// Whether it is one about exactly this deployment, for the gate that froze it.
    pub fn is_about(&self, asked: &FrozenSubject) -> bool {
        let statement = self.statement();
        statement.statement_type == STATEMENT_TYPE
            && statement.predicate_type == INTERVENTION_TYPE
            && statement.subject == subjects_of(asked)
            && statement.predicate.audience == asked.audience
    }
}

/// What people signed of a rollout that runs, as far as it bears on what comes next.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Orders {
    /// The number of steps after which it may go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub go_on_after: Option<u64>,
    /// Why what served before is to serve again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore: Option<String>,
    /// Whether it serves again whatever is there now: who signed had seen that it is not as signed.
    #[serde(default, skip_serializing_if = "is_false")]
    pub overrides: bool,
    /// Whether what is there now counts as what the last step left.
    #[serde(default, skip_serializing_if = "is_false")]
    pub observe_again: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands the member over like this")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

impl Orders {
    /// Whether nobody signed anything.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
