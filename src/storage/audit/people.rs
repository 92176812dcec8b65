//! Keys and sign-ins: whether the rows are those that the ledger saw made.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::domain::agent_credential::AGENT_REVOCATION;
use crate::domain::digest::Digest;
use crate::domain::endorsement::ENDORSED;
use crate::domain::key_sign_in::SIGNED_IN_WITH_KEY;
use crate::domain::ledger::{CREDENTIAL_REVOKED, Record};
use crate::domain::person::{Person, Profile};
use crate::storage::audit::endorsements::Endorsements;
use crate::storage::audit::{Audit, PAGE};
use crate::storage::error::Result;
use crate::storage::people::{
    Credential, CredentialRow, CredentialStatus, Session, SessionRow, credential_columns,
    session_columns,
};

/// What the entries tell about people. A company has some hundreds of keys, and sessions live for
/// minutes, so that this is small however long the ledger is.
#[derive(Default)]
pub(super) struct People {
    /// Every key that was ever registered, suspended or revoked, by its id in base64url.
    keys: BTreeMap<String, Key>,
    pub(super) endorsements: Endorsements,
    /// The sessions whose sign-in has not gone by yet, by the digest of the ID token and the time.
    sessions: BTreeMap<(Digest, Timestamp), (Digest, Profile, Option<Timestamp>)>,
}

/// What the ledger tells of one key.
#[derive(Default)]
struct Key {
    /// When it was registered, and what was recorded then.
    registered: Option<(Timestamp, Value)>,
    suspended: bool,
    revoked: bool,
}

impl Key {
    fn status(&self) -> CredentialStatus {
        match (self.revoked, self.suspended) {
            (true, _) => CredentialStatus::Revoked,
            (false, true) => CredentialStatus::Suspended,
            (false, false) => CredentialStatus::Active,
        }
    }
}

impl People {
    /// Takes in what one entry tells.
    pub(super) fn learn(&mut self, index: u64, record: &Record) {
        let data = &record.data;
        match record.kind.as_str() {
            "credential.registered" => self.key(data).registered = Some((record.at, data.clone())),
            "credential.suspended" => self.key(data).suspended = true,
            CREDENTIAL_REVOKED if !is_of_agent(data) => self.key(data).revoked = true,
            ENDORSED => {
                let keys = &self.keys;
                let is_revoked = |id: &str| keys.get(id).is_some_and(|key| key.revoked);
                self.endorsements.learn(index, record, is_revoked);
            }
            "person.signed_in" | SIGNED_IN_WITH_KEY => self.sign_in(record),
            _ => {}
        }
    }

    /// Whether this key was registered for this person.
    pub(super) fn registered(&self, credential: &str, person: &Person) -> bool {
        let registered = self.keys.get(credential).and_then(|key| key.registered.as_ref());
        registered.is_some_and(|(_, data)| data["person"] == json!(person))
    }

    fn key(&mut self, data: &Value) -> &mut Key {
        let id = data["credential"].as_str().unwrap_or_default();
        self.keys.entry(id.to_owned()).or_default()
    }

    fn sign_in(&mut self, record: &Record) {
        let data = &record.data;
        let digest = data["sign_in_digest"].as_str().and_then(|text| text.parse().ok());
        let Some(digest) = digest else { return };
        let place = (digest, record.at);
        let is_theirs = self.sessions.get(&place).is_some_and(|(_, profile, auth_time)| {
            data["person"] == json!(profile.person)
                && data["name"] == json!(profile.name)
                && data["groups"] == json!(profile.groups)
                && data["auth_time"] == json!(auth_time)
        });
        if is_theirs {
            self.sessions.remove(&place);
        }
    }
}

/// Agents' credentials are entries and nothing else: there is no row to compare.
fn is_of_agent(data: &Value) -> bool {
    data["credential"].as_str().is_some_and(|name| name.starts_with(AGENT_REVOCATION))
}

impl Audit {
    /// Remembers the sessions that there are, before their entries go by.
    pub(super) async fn load_sessions(&mut self) -> Result<()> {
        const SQL: &str = session_columns!("ORDER BY id");
        let rows: Vec<SessionRow> = sqlx::query_as(SQL).fetch_all(&mut *self.snapshot).await?;
        for row in rows {
            if let Some(session) = self.findings.readable(Session::try_from(row))? {
                let place = (Digest::of(&session.id_token), session.created_at);
                let about = (session.id, session.profile, session.auth_time);
                if let Some((id, ..)) = self.people.sessions.insert(place, about) {
                    let wrong = "is one of two sessions of the same sign-in";
                    self.findings.row("session_unrecorded", "sessions", id, wrong);
                }
            }
        }
        Ok(())
    }

    /// Compares every key with its registration, and tells which sessions nobody signed in for.
    pub(super) async fn check_people(&mut self) -> Result<()> {
        for (id, ..) in std::mem::take(&mut self.people.sessions).into_values() {
            let wrong = "is of a sign-in that the ledger tells nothing of";
            self.findings.row("session_unrecorded", "sessions", id, wrong);
        }
        self.check_credentials().await?;
        for id in std::mem::take(&mut self.people.keys).into_keys() {
            let wrong = "is gone although the ledger tells of it";
            self.findings.row("credential_missing", "credentials", id, wrong);
        }
        Ok(())
    }

    async fn check_credentials(&mut self) -> Result<()> {
        const SQL: &str = credential_columns!("WHERE id > $1 ORDER BY id LIMIT $2");
        let mut after = Vec::new();
        loop {
            let rows: Vec<CredentialRow> = sqlx::query_as(SQL)
                .bind(after)
                .bind(i64::from(PAGE))
                .fetch_all(&mut *self.snapshot)
                .await?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = last.id.clone();
            for row in rows {
                let id = data_encoding::BASE64URL_NOPAD.encode(&row.id);
                let told = self.people.keys.remove(&id).unwrap_or_default();
                if let Some(credential) = self.findings.readable(Credential::try_from(row))? {
                    self.check_credential(&id, &credential, &told);
                }
            }
        }
    }

    fn check_credential(&mut self, id: &str, credential: &Credential, told: &Key) {
        let Some((at, data)) = &told.registered else {
            let wrong = "is a key that the ledger never saw registered";
            self.findings.row("credential_unrecorded", "credentials", id, wrong);
            return;
        };
        let mut differing = differences(credential, data);
        if *at != credential.created_at {
            differing.push("created_at");
        }
        for column in differing {
            let wrong = format!("has another {column} than was registered");
            self.findings.row("credential_mismatch", "credentials", id, wrong);
        }
        if told.status() != credential.status {
            let (stored, told) = (credential.status.as_str(), told.status().as_str());
            let wrong = format!("is {stored} where the ledger tells that it is {told}");
            self.findings.row("credential_status_mismatch", "credentials", id, wrong);
        }
    }
}

/// What of a key is not as its registration's entry says, by the names in the entry.
fn differences(credential: &Credential, recorded: &Value) -> Vec<&'static str> {
    let encode = |bytes: &[u8]| data_encoding::BASE64URL_NOPAD.encode(bytes);
    let values = [
        ("person", json!(credential.person)),
        ("public_key", json!(encode(&credential.public_key))),
        ("aaguid", json!(data_encoding::HEXLOWER.encode(&credential.aaguid))),
        ("backup_eligible", json!(credential.backup_eligible)),
        ("registration_digest", json!(Digest::of(&credential.registration))),
        ("sign_in_digest", json!(Digest::of(&credential.id_token))),
    ];
    values.into_iter().filter(|(name, is)| recorded[*name] != *is).map(|(name, _)| name).collect()
}
