//! The page on which an approver endorses the key of somebody else.

use askama::Template;
use askama_web::WebTemplate;

use crate::domain::digest::Digest;
use crate::domain::ids::short_code;
use crate::web::paths;

use super::keys::{KeyView, PersonsKeys, key_views};
use super::{Frame, Inert, Surroundings};

/// What is endorsed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Enrolment {
    /// Whose key it is, with that key alone.
    pub person: PersonsKeys,
    /// The ledger's record of the enrolment.
    pub record: String,
    /// Its SHA-256: what is signed.
    pub digest: Digest,
    /// Whether it is the key of the person who looks.
    pub is_own: bool,
}

/// `GET /keys/{credential}/endorsement`.
#[derive(Template, WebTemplate)]
#[template(path = "endorsement.html")]
pub struct EndorsementPage {
    frame: Frame,
    name: Inert,
    email: Option<Inert>,
    subject: Inert,
    keys: Vec<KeyView>,
    record: Inert,
    digest: String,
    code: String,
    turn: Turn,
}

/// What the person who looks can do.
enum Turn {
    /// Nothing: it waits for nobody, or not for them.
    Nothing,
    /// Nothing: it is their own.
    Own,
    /// Register a key first.
    NeedsKey,
    /// Sign.
    Sign,
}

impl EndorsementPage {
    /// Draws one enrolment.
    pub fn new(enrolment: &Enrolment, around: Surroundings<'_>) -> Self {
        let Enrolment { person, record, digest, is_own } = enrolment;
        let waits = person.keys.iter().any(|key| key.endorse_at.is_some());
        let has_key = around.viewer.is_some_and(|viewer| !viewer.keys.is_empty());
        let turn = match (is_own, waits, has_key) {
            (true, _, _) => Turn::Own,
            (false, false, _) => Turn::Nothing,
            (false, true, false) => Turn::NeedsKey,
            (false, true, true) => Turn::Sign,
        };
        Self {
            frame: Frame::new("Endorse a key", paths::ALL_KEYS, around),
            name: Inert::new(&person.name),
            email: person.email.as_deref().map(Inert::new),
            subject: Inert::new(&person.subject),
            keys: key_views(&person.keys, around.now),
            record: Inert::new(record),
            digest: digest.to_string(),
            code: short_code(digest),
            turn,
        }
    }
}
