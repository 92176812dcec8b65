//! Why keys do not count.

use jiff::Timestamp;

use super::Aaguid;
use crate::domain::sentence::moment;

/// Why a key does not count in an environment. Each names what would do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyRefusal {
    /// It may be copied.
    #[error(
        "copies of it can exist on other devices, and only keys that never leave their authenticator sign here: use a security key or a device-bound passkey"
    )]
    NotDeviceBound,
    /// It cannot be copied.
    #[error(
        "it exists on one authenticator only, and only synced passkeys sign here: use a passkey of your phone's or computer's account"
    )]
    NotSynced,
    /// Its model is not one of those that may sign.
    #[error("its model ({0}) is not one of those that may sign here: use one of {1}")]
    ModelNotAllowed(Aaguid, String),
    /// Its model may not sign.
    #[error("its model ({0}) may not sign here: use a key of another one")]
    ModelDenied(Aaguid),
    /// FIDO's metadata says something against its model.
    #[error(
        "its model ({0}) is suspended, since FIDO's metadata says of it: {1}. Use a key of another model"
    )]
    ModelSuspended(Aaguid, String),
    /// Nobody vouches for its authenticator, for this reason.
    #[error(
        "no maker vouches for its authenticator ({0}), and only keys sign here that one vouches for: register a security key of such a maker, and let the browser pass its attestation on"
    )]
    NotAttested(String),
    /// Whoever vouches for it is nobody whose root is pinned.
    #[error(
        "its authenticator is vouched for by {0:?}, and only makers count here whose roots are pinned: use a key of one of those, or have whoever runs the gate pin this root in [trust] attestation_roots"
    )]
    MakerUnknown(String),
    /// It is too young.
    #[error("it was registered a short time ago and signs from {} on", moment(*.0))]
    CoolingDown(Timestamp),
    /// Its owner has too few keys.
    #[error(
        "whoever signs here has at least {needed} such keys, so that losing one is no emergency, and there are {has}: register another one on the keys page"
    )]
    TooFewKeys {
        /// How many it takes.
        needed: u8,
        /// How many there are.
        has: usize,
    },
}

impl KeyRefusal {
    /// The stable name of the reason.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotDeviceBound => "key_not_device_bound",
            Self::NotSynced => "key_not_synced",
            Self::ModelNotAllowed(..) => "key_model_not_allowed",
            Self::ModelDenied(_) => "key_model_denied",
            Self::ModelSuspended(..) => "key_model_suspended",
            Self::NotAttested(_) => "key_not_attested",
            Self::MakerUnknown(_) => "key_maker_unknown",
            Self::CoolingDown(_) => "key_cooling_down",
            Self::TooFewKeys { .. } => "too_few_keys",
        }
    }
}
