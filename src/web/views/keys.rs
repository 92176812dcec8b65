//! A person's own keys, and those of everybody.

use askama::Template;
use askama_web::WebTemplate;
use jiff::Timestamp;

use crate::domain::key_rules::Vouching;
use crate::domain::loss::LossReport;
use crate::web::paths;

use super::{Frame, Inert, Moment, Surroundings};

/// One key, as the page needs to know it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyListing {
    /// The credential's id, base64url.
    pub id: String,
    /// The name that the person gave it.
    pub name: String,
    /// The model, if the gate knows it.
    pub model: Option<String>,
    /// The authenticator's AAGUID in its usual form, if it told one.
    pub aaguid: Option<String>,
    /// Who vouches for the authenticator; none if nobody does and no environment asks for it.
    pub vouching: Option<Vouching>,
    /// Whether the private key can never leave the authenticator (WebAuthn's BE flag is not set).
    pub is_device_bound: bool,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When it last signed.
    pub last_used_at: Option<Timestamp>,
    /// Whether it may sign.
    pub status: KeyStatus,
    /// Its public key, as COSE in base64url: what is pinned of an endorser.
    pub public_key: String,
    /// The short code of its enrolment's record: what owner and endorsers compare.
    pub code: String,
    /// Who endorsed it.
    pub endorsed_by: EndorsedBy,
    /// Where the person who looks can endorse it, if it waits for them.
    pub endorse_at: Option<String>,
}

/// Whose word a key rests on beside the directory's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EndorsedBy {
    /// Nobody's is asked for.
    NobodyNeeded,
    /// It is pinned in the configuration.
    Anchor,
    /// These people's, by name.
    People(Vec<String>),
}

/// Whether a key may sign.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KeyStatus {
    /// It may.
    Active,
    /// The directory has not vouched for it yet.
    Unconfirmed,
    /// Other approvers have to endorse it first.
    Waiting {
        /// How many.
        missing: usize,
    },
    /// The gate stopped it: its counter went backwards.
    Suspended,
    /// FIDO's metadata says this against its model.
    ModelSuspended(String),
    /// Its owner reported that it is lost, since when and when.
    Lost {
        /// Since when.
        since: Timestamp,
        /// When it was reported.
        reported: Timestamp,
    },
    /// It was given up; by whom, where the ledger tells it.
    Revoked(Option<RevokedBy>),
}

/// What an environment's rules say of the keys of the person who looks, where they say something.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyNote {
    /// The environment.
    pub environment: String,
    /// What it is.
    pub says: KeyNoteSays,
}

/// What rules say of a person's keys.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KeyNoteSays {
    /// There are too few since one was given up, and they sign until then all the same.
    SignUntil(Timestamp),
    /// None of them signs, for this reason.
    Refused(String),
}

/// Who gave a key up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RevokedBy {
    /// The name of the person.
    pub name: String,
    /// When.
    pub at: Timestamp,
    /// Why, in that person's words.
    pub reason: String,
}

/// Somebody with their keys.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PersonsKeys {
    /// The name, as the directory said when they registered.
    pub name: String,
    /// The e-mail address, if the directory says that it is verified.
    pub email: Option<String>,
    /// The directory's own name for the person.
    pub subject: String,
    /// Their keys.
    pub keys: Vec<KeyListing>,
}

/// `GET /keys`.
#[derive(Template, WebTemplate)]
#[template(path = "keys.html")]
pub struct KeysPage {
    frame: Frame,
    message: Option<Inert>,
    notes: Vec<NoteView>,
    keys: Vec<KeyView>,
    is_approver: bool,
    asks_why: bool,
    today: String,
}

/// `GET /keys/all`.
#[derive(Template, WebTemplate)]
#[template(path = "keys_all.html")]
pub struct AllKeysPage {
    frame: Frame,
    message: Option<Inert>,
    people: Vec<PersonView>,
    asks_why: bool,
    today: String,
}

struct NoteView {
    environment: Inert,
    until: Option<Moment>,
    refused: Option<Inert>,
}

/// `GET /keys/losses/{ceremony}`: what is reported, before the directory is asked to vouch for it.
#[derive(Template, WebTemplate)]
#[template(path = "loss.html")]
pub struct LossPage {
    frame: Frame,
    name: Inert,
    credential: String,
    since: Moment,
    /// Since when, exactly as it is signed.
    signed_since: String,
    /// The names of the other keys with which its owner can sign the report.
    others: Vec<Inert>,
    /// The sign-in that vouches for it in their place.
    confirm: String,
    ceremony: String,
}

impl LossPage {
    /// For the key of this name and what is reported of it under the name `ceremony`; `others` are the names of the keys
    /// that can sign it.
    pub fn new(
        (name, report): (&str, &LossReport),
        others: Vec<String>,
        ceremony: &str,
        around: Surroundings<'_>,
    ) -> Self {
        Self {
            frame: Frame::new("Report a lost key", paths::KEYS, around),
            name: Inert::new(name),
            credential: report.credential.clone(),
            since: Moment::new(report.since, around.now),
            signed_since: report.since.to_string(),
            others: others.iter().map(|name| Inert::new(name)).collect(),
            confirm: paths::vouching_sign_in(ceremony),
            ceremony: ceremony.to_owned(),
        }
    }
}

struct PersonView {
    name: Inert,
    email: Option<Inert>,
    subject: Inert,
    keys: Vec<KeyView>,
}

pub(super) struct KeyView {
    pub(super) id: String,
    pub(super) name: Inert,
    pub(super) model: Inert,
    pub(super) maker: Inert,
    pub(super) kind: &'static str,
    pub(super) created: Moment,
    pub(super) last_used: Option<Moment>,
    pub(super) status: &'static str,
    pub(super) explanation: Inert,
    pub(super) tone: &'static str,
    pub(super) code: String,
    pub(super) public_key: String,
    pub(super) endorsed_by: Inert,
    pub(super) endorse_at: Option<String>,
    /// Where it is revoked, unless it was.
    pub(super) revocations: Option<String>,
    /// Where its owner reports it as lost, unless it was given up.
    pub(super) losses: Option<String>,
    /// Whether it is the only one that its owner can still sign with.
    pub(super) is_last: bool,
}

impl KeysPage {
    /// Lists `keys` with what the environments say of them; `message` is a sentence above the list, after a
    /// registration for example. `is_approver` says whether the person may see the keys of others.
    pub fn new(
        keys: &[KeyListing],
        notes: &[KeyNote],
        message: Option<&str>,
        is_approver: bool,
        around: Surroundings<'_>,
    ) -> Self {
        let note = |note: &KeyNote| NoteView {
            environment: Inert::new(&note.environment),
            until: match note.says {
                KeyNoteSays::SignUntil(until) => Some(Moment::new(until, around.now)),
                KeyNoteSays::Refused(_) => None,
            },
            refused: match &note.says {
                KeyNoteSays::SignUntil(_) => None,
                KeyNoteSays::Refused(why) => Some(Inert::new(why)),
            },
        };
        Self {
            frame: Frame::new("Your keys", paths::KEYS, around),
            message: message.map(Inert::new),
            notes: notes.iter().map(note).collect(),
            keys: key_views(keys, around.now),
            is_approver,
            asks_why: false,
            today: to_the_minute(around.now),
        }
    }
}

impl AllKeysPage {
    /// Lists `people` with their keys.
    pub fn new(people: &[PersonsKeys], message: Option<&str>, around: Surroundings<'_>) -> Self {
        let person = |person: &PersonsKeys| PersonView {
            name: Inert::new(&person.name),
            email: person.email.as_deref().map(Inert::new),
            subject: Inert::new(&person.subject),
            keys: key_views(&person.keys, around.now),
        };
        Self {
            frame: Frame::new("Keys of all approvers", paths::ALL_KEYS, around),
            message: message.map(Inert::new),
            people: people.iter().map(person).collect(),
            asks_why: true,
            today: to_the_minute(around.now),
        }
    }
}

/// `GET /keys/first`.
#[derive(Template, WebTemplate)]
#[template(path = "first_key.html")]
pub struct FirstKeyPage {
    frame: Frame,
    is_signed_in: bool,
}

impl FirstKeyPage {
    /// For whoever opened the link.
    pub fn new(around: Surroundings<'_>) -> Self {
        let frame = Frame::new("The first key", paths::FIRST_KEY, around);
        Self { frame, is_signed_in: around.viewer.is_some() }
    }
}

pub(super) fn key_views(keys: &[KeyListing], now: Timestamp) -> Vec<KeyView> {
    let active = keys.iter().filter(|key| key.status == KeyStatus::Active).count();
    let mut views: Vec<KeyView> = keys.iter().map(|key| key_view(key, now)).collect();
    for (view, key) in views.iter_mut().zip(keys) {
        view.is_last = active == 1 && key.status == KeyStatus::Active;
    }
    views
}

fn key_view(key: &KeyListing, now: Timestamp) -> KeyView {
    let model = match (&key.model, &key.aaguid) {
        (Some(model), _) => model.clone(),
        (None, Some(aaguid)) => format!("Unknown model, AAGUID {aaguid}"),
        (None, None) => "Unknown model".to_owned(),
    };
    let (status, explanation, tone) = match &key.status {
        KeyStatus::Active => ("Can sign", String::new(), "good"),
        KeyStatus::Unconfirmed => (
            "Not confirmed",
            "Your directory has not vouched for this key: the second sign-in was not finished. \
             Register the key again."
                .to_owned(),
            "waiting",
        ),
        KeyStatus::Waiting { missing } => ("Waits for endorsement", waits(*missing), "waiting"),
        KeyStatus::Suspended => (
            "Suspended",
            "The key's counter went backwards, which a copied key would cause too. Tell the \
             people who run this gate, and register another key."
                .to_owned(),
            "bad",
        ),
        KeyStatus::ModelSuspended(status) => ("Suspended", model_suspended(status), "bad"),
        KeyStatus::Lost { since, reported } => ("Lost", lost(*since, *reported, now), "over"),
        KeyStatus::Revoked(None) => ("Revoked", "It signs nothing any more.".to_owned(), "over"),
        KeyStatus::Revoked(Some(by)) => ("Revoked", revoked_by(by, now), "over"),
    };
    let is_revoked = matches!(key.status, KeyStatus::Revoked(_) | KeyStatus::Lost { .. });
    KeyView {
        id: key.id.clone(),
        name: Inert::new(&key.name),
        model: Inert::new(&model),
        maker: Inert::new(&vouched_for(key.vouching.as_ref())),
        kind: if key.is_device_bound {
            "Device-bound: it exists on this one authenticator only"
        } else {
            "Synced: copies can exist on other devices of the same account"
        },
        created: Moment::new(key.created_at, now),
        last_used: key.last_used_at.map(|at| Moment::new(at, now)),
        code: key.code.clone(),
        public_key: key.public_key.clone(),
        endorsed_by: Inert::new(&endorsed_by(&key.endorsed_by)),
        endorse_at: key.endorse_at.clone(),
        status,
        explanation: Inert::new(&explanation),
        tone,
        losses: (!is_revoked).then(|| paths::losses(&key.id)),
        revocations: (!is_revoked).then(|| paths::revocations(&key.id)),
        is_last: false,
    }
}

fn model_suspended(status: &str) -> String {
    format!(
        "FIDO’s metadata says of its model: {status}. Keys of this model sign nothing here, whoever has them: register one of another model, and then revoke this one."
    )
}

fn waits(missing: usize) -> String {
    let who = match missing {
        1 => "another approver endorses".to_owned(),
        count => format!("{count} other approvers endorse"),
    };
    format!(
        "It signs nothing until {who} it. They compare its code with the one that its owner sees."
    )
}

fn vouched_for(vouching: Option<&Vouching>) -> String {
    match vouching {
        Some(Vouching::Maker(name)) => format!("Attested by {name}, whose root is pinned"),
        Some(Vouching::Stranger(name)) => format!("Attested by {name:?}, whose root is not pinned"),
        Some(Vouching::Nobody(why)) => format!("Not attested: {why}"),
        None => "Nobody here asks who made it".to_owned(),
    }
}

fn endorsed_by(by: &EndorsedBy) -> String {
    match by {
        EndorsedBy::NobodyNeeded => {
            "nobody: this gate asks for no endorsements, the directory alone vouches".to_owned()
        }
        EndorsedBy::Anchor => "nobody needed: the key is pinned in the configuration".to_owned(),
        EndorsedBy::People(names) if names.is_empty() => "nobody yet".to_owned(),
        EndorsedBy::People(names) => names.join(", "),
    }
}

/// A time as the browser's field for times reads it: `2026-11-24T13:45`.
fn to_the_minute(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M").to_string()
}

fn lost(since: Timestamp, reported: Timestamp, now: Timestamp) -> String {
    let moment = |at| Moment::new(at, now).absolute;
    format!(
        "Reported on {} as lost since {}. It signs nothing any more, and what it signed since then counts for nothing that had not begun.",
        moment(reported),
        moment(since)
    )
}

fn revoked_by(by: &RevokedBy, now: Timestamp) -> String {
    let RevokedBy { name, at, reason } = by;
    let moment = Moment::new(*at, now);
    format!("{name} revoked it on {}: {reason}. It signs nothing any more.", moment.absolute)
}
