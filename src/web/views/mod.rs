//! What each page shows, computed from domain values by pure functions.

mod action;
pub mod agents;
pub mod approval;
pub mod audit;
pub mod batch;
mod calls;
mod decisions;
mod difference;
pub mod drift;
pub mod endorsement;
pub mod environments;
pub mod exceptions;
pub mod inbox;
mod inert;
pub mod interventions;
mod job;
pub mod key_sign_in;
pub mod keys;
mod label;
mod moment;
pub mod notices;
pub mod problem;
pub mod recovery;
mod requester;
mod rollout;
pub mod rules;
mod run;
mod traffic;

use jiff::Timestamp;

use crate::domain::exception::Exception;
use crate::domain::hold::Freezes;
use crate::domain::person::Profile;
use crate::domain::policy::TrustLevel;
use crate::web::{assets, paths};

pub use inert::Inert;
pub use moment::Moment;

/// The person who looks at a page.
#[derive(Clone, Debug)]
pub struct Viewer {
    /// Who it is, as the directory said at the sign-in.
    pub profile: Profile,
    /// The names of the person's keys that may sign now.
    pub keys: Vec<String>,
    /// Why none of them signs where the person looks, and what would do, if so.
    pub keys_refused: Option<String>,
    /// Until when they may sign there although another key has to be registered.
    pub keys_until: Option<Timestamp>,
    /// When the directory signed their sign-in, if it said that.
    pub signed_in_at: Option<Timestamp>,
    /// When the session ends.
    pub session_ends_at: Timestamp,
    /// Whether they may read the ledger.
    pub reads_ledger: bool,
    /// Whether they are an auditor, who signs nothing.
    pub is_auditor: bool,
}

/// What a page is drawn in: for whom, when, and with which notice.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// The person who looks, if signed in.
    pub viewer: Option<&'a Viewer>,
    /// A notice above every page, in our words: that this gate is a demo, for example.
    pub notice: Option<&'a str>,
    /// Why nothing is decided and nothing rolled out now, above every page too.
    pub alarm: Option<&'a str>,
    /// Whether anchors are pinned; a page says it if not.
    pub trust: TrustLevel,
    /// What is frozen, as is verified.
    pub freezes: &'a Freezes,
    /// Where the glass was broken.
    pub exceptions: &'a [Exception],
    /// The time that pages count from.
    pub now: Timestamp,
}

/// The frame of a page: what `base.html` needs.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The page's title, before the product's name.
    pub title: String,
    /// Where style and scripts are.
    pub assets: String,
    /// The notice above the page.
    pub notice: Option<String>,
    /// Why nothing works just now.
    pub alarm: Option<String>,
    /// Whether nothing is pinned that whose key is whose could be checked against.
    pub is_unpinned: bool,
    /// The name of the person who is signed in.
    pub viewer: Option<Inert>,
    /// Whether there is a ledger to read for them.
    pub reads_ledger: bool,
    /// Since when the directory cannot be reached, if they signed in with their key alone.
    pub key_alone: Option<Moment>,
    /// What is frozen, one sentence each.
    pub frozen: Vec<Inert>,
    /// Broken glass that nobody else has signed for, one sentence each.
    pub exceptions: Vec<Inert>,
    /// Signing in from here leads back here.
    pub sign_in: String,
    /// The path of the page, to mark its link.
    pub here: String,
}

impl Frame {
    pub(crate) fn new(title: &str, here: &str, around: Surroundings<'_>) -> Self {
        Self {
            title: Inert::new(title).without_markup(),
            assets: assets::base(),
            notice: around.notice.map(str::to_owned),
            alarm: around.alarm.map(str::to_owned),
            is_unpinned: around.trust == TrustLevel::Unpinned,
            viewer: around.viewer.map(|viewer| Inert::new(&viewer.profile.name)),
            reads_ledger: around.viewer.is_some_and(|viewer| viewer.reads_ledger),
            key_alone: around.viewer.and_then(|viewer| {
                let since = viewer.profile.directory_unreachable_since?;
                Some(Moment::new(since, around.now))
            }),
            frozen: frozen(around),
            exceptions: exceptions::open(around),
            sign_in: paths::sign_in(here),
            here: here.to_owned(),
        }
    }
}

/// What is frozen, for those who may read of it.
fn frozen(around: Surroundings<'_>) -> Vec<Inert> {
    if !around.viewer.is_some_and(|viewer| viewer.reads_ledger) {
        return Vec::new();
    }
    let freezes = around.freezes.in_force(around.now);
    freezes
        .map(|(_, freeze)| Inert::new(&format!("Frozen: {}.", freeze.scope.in_words())))
        .collect()
}
