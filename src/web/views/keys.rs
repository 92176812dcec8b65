//! A person's own keys.

use askama::Template;
use askama_web::WebTemplate;
use jiff::Timestamp;

use crate::web::paths;

use super::{Frame, Inert, Moment, Surroundings};

/// One key, as the page needs to know it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyListing {
    /// The name that the person gave it.
    pub name: String,
    /// The model, if the gate knows it.
    pub model: Option<String>,
    /// The authenticator's AAGUID in its usual form, if it told one.
    pub aaguid: Option<String>,
    /// Whether the private key can never leave the authenticator (WebAuthn's BE flag is not set).
    pub is_device_bound: bool,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When it last signed.
    pub last_used_at: Option<Timestamp>,
    /// Whether it may sign.
    pub status: KeyStatus,
}

/// Whether a key may sign.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyStatus {
    /// It may.
    Active,
    /// The directory has not vouched for it yet.
    Unconfirmed,
    /// The gate stopped it: its counter went backwards.
    Suspended,
    /// It was taken away.
    Revoked,
}

/// `GET /keys`.
#[derive(Template, WebTemplate)]
#[template(path = "keys.html")]
pub struct KeysPage {
    frame: Frame,
    message: Option<Inert>,
    keys: Vec<KeyView>,
}

struct KeyView {
    name: Inert,
    model: Inert,
    kind: &'static str,
    created: Moment,
    last_used: Option<Moment>,
    status: &'static str,
    explanation: &'static str,
    tone: &'static str,
}

impl KeysPage {
    /// Lists `keys`; `message` is a sentence above the list, after a registration for example.
    pub fn new(keys: &[KeyListing], message: Option<&str>, around: Surroundings<'_>) -> Self {
        Self {
            frame: Frame::new("Your keys", paths::KEYS, around),
            message: message.map(Inert::new),
            keys: keys.iter().map(|key| key_view(key, around.now)).collect(),
        }
    }
}

fn key_view(key: &KeyListing, now: Timestamp) -> KeyView {
    let model = match (&key.model, &key.aaguid) {
        (Some(model), _) => model.clone(),
        (None, Some(aaguid)) => format!("Unknown model, AAGUID {aaguid}"),
        (None, None) => "Unknown model".to_owned(),
    };
    let (status, explanation, tone) = match key.status {
        KeyStatus::Active => ("Can sign", "", "good"),
        KeyStatus::Unconfirmed => (
            "Not confirmed",
            "Your directory has not vouched for this key: the second sign-in was not finished. \
             Register the key again.",
            "waiting",
        ),
        KeyStatus::Suspended => (
            "Suspended",
            "The key's counter went backwards, which a copied key would cause too. Tell the \
             people who run this gate, and register another key.",
            "bad",
        ),
        KeyStatus::Revoked => ("Revoked", "This key can no longer sign.", "over"),
    };
    KeyView {
        name: Inert::new(&key.name),
        model: Inert::new(&model),
        kind: if key.is_device_bound {
            "Device-bound: it exists on this one authenticator only"
        } else {
            "Synced: copies can exist on other devices of the same account"
        },
        created: Moment::new(key.created_at, now),
        last_used: key.last_used_at.map(|at| Moment::new(at, now)),
        status,
        explanation,
        tone,
    }
}
